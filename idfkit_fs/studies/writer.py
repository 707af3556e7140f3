"""Write to a study: add, replace and remove cases."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import get_args

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import progress_bar
from idfkit_fs._util.urls import last_name
from idfkit_fs.errors import CaseExistsError, CaseNotFoundError, RecordError, StudyNotFoundError
from idfkit_fs.runs.record import RECORD_NAME
from idfkit_fs.studies.job import Job, Metric, StudyFile, columns_of_summary
from idfkit_fs.studies.layout import INPUTS, JOBS, STUDY, Ended, job_path, parse_jobs
from idfkit_fs.studies.listing import Listing, read_listing
from idfkit_fs.studies.parameters import parse_parameters
from idfkit_fs.studies.prepare import Case, Inputs
from idfkit_fs.studies.stored import read_job, read_study

__all__ = ["StudyWriter"]

_Prepared = tuple[Job, dict[str, bytes | Path]]


class StudyWriter:
    """Adds and removes cases.

    Args:
        fs: The study.
        metrics: The metrics of the study; None to keep those that it has.
    """

    def __init__(self, fs: FsspecFileSystem, metrics: tuple[Metric, ...] | None) -> None:
        self._fs = fs
        self._metrics = metrics
        self._stored_inputs: set[str] | None = None

    def add(self, cases: Iterable[Case], overwrite: bool, progress: bool) -> None:
        """Add cases; see [Study.add_cases][idfkit_fs.Study.add_cases]."""
        of_study = self._describe()
        inputs = Inputs(self._fs.joinpath(INPUTS), self._list_inputs())
        total = len(cases) if isinstance(cases, Sized) else None
        # One listing shows the jobs of many cases; of a single case, only the job is requested.
        listed = None if total == 1 else {*parse_jobs(self._fs.glob(JOBS, "*"))}

        def add(prepared: _Prepared) -> None:
            job, contents = prepared
            for name, data in contents.items():
                inputs.send(name, data)
            self._add_job(job, overwrite, is_new=listed is not None and job.case not in listed)

        with progress_bar(total, f"Adding to {last_name(self._fs.url())}", "case", progress) as done:
            parallel_map(add, self._prepared(cases, inputs, of_study), done)

    def _prepared(self, cases: Iterable[Case], inputs: Inputs, of_study: Iterable[Metric]) -> Iterator[_Prepared]:
        taken = columns_of_summary(of_study)
        seen: dict[str, Job] = {}
        for case in cases:
            if not isinstance(case, Case):
                raise TypeError(f"add_cases() takes Case objects, not {type(case).__name__}")
            parse_parameters(case.name, case.parameters, taken)
            job, contents = inputs.job_of(case)
            if seen.setdefault(job.case, job) != job:
                raise self._exists(job.case)
            yield job, contents

    def _describe(self) -> tuple[Metric, ...]:
        """Write ``study.json`` unless it exists with the wanted metrics, and return the study's metrics."""
        try:
            existing = read_study(self._fs)
        except StudyNotFoundError:
            if self._fs.create_exclusive(STUDY, StudyFile(metrics=self._metrics or ()).to_json()):
                self._stored_inputs = None  # an older study at this URL was deleted, with its inputs
                return self._metrics or ()
            existing = read_study(self._fs)
        if self._metrics is None or self._metrics == existing.metrics:
            return existing.metrics
        self._fs.write_bytes(STUDY, StudyFile(metrics=self._metrics).to_json())
        return self._metrics

    def _list_inputs(self) -> set[str]:
        """The names of the stored inputs; listed once, and then kept up to date by `Inputs`."""
        if self._stored_inputs is None:
            self._stored_inputs = {path.rpartition("/")[2] for path in self._fs.glob(INPUTS, "*")}
        return self._stored_inputs

    def _add_job(self, job: Job, overwrite: bool, is_new: bool) -> None:
        path, data = job_path(job.case), job.to_json()
        existing: Job | None = None
        try:
            existing = None if is_new else self._job(job.case)
            if existing is None:
                if self._fs.create_exclusive(path, data):
                    return
                existing = self._job(job.case)  # another process was quicker
            if existing is not None and existing.asks_for_same(job):
                return
            if not overwrite:
                raise self._exists(job.case)
        except RecordError:
            if not overwrite:
                raise
        # The outcome goes first: from now on the case is pending, even if this process dies.
        outcomes = self._outcomes_of(job.case, existing)
        self._fs.remove_if_exists(outcomes)
        if existing is None or (existing.key, existing.options) != (job.key, job.options):
            self._fs.remove_if_exists([f"{job.case}/{RECORD_NAME}"])
        self._fs.write_bytes(path, data)
        self._fs.remove_if_exists(outcomes)  # a worker that read the old job may have written one meanwhile

    def remove(self, cases: str | Iterable[str], progress: bool) -> None:
        """Remove cases with their runs; see [Study.remove][idfkit_fs.Study.remove]."""
        listing = read_listing(self._fs)
        names = listing.check(cases)
        with progress_bar(len(names), f"Removing from {last_name(self._fs.url())}", "case", progress) as done:
            parallel_map(lambda case: self._remove(case, listing), names, done)

    def _remove(self, case: str, listing: Listing) -> None:
        job: Job | None = None
        with contextlib.suppress(RecordError):
            job = self._job(case)
        outcomes = {*listing.outcomes_of(case), *self._outcomes_of(case, job)}
        self._fs.remove_if_exists([*outcomes, f"{case}/{RECORD_NAME}"])
        self._fs.remove_if_exists([*self._fs.glob(case, "**"), job_path(case)])
        # A worker that read the job before may have written more; a later one removes its files by itself.
        self._fs.remove_if_exists([*outcomes, *self._fs.glob(case, "**")])

    def _job(self, case: str) -> Job | None:
        try:
            return read_job(self._fs, case)
        except CaseNotFoundError:
            return None

    def _outcomes_of(self, case: str, job: Job | None) -> list[str]:
        """The paths that an outcome of a case can have; from a listing if its job cannot be read."""
        if job is not None:
            return [job.outcome_path(state) for state in get_args(Ended)]
        return read_listing(self._fs).outcomes_of(case)

    def _exists(self, case: str) -> CaseExistsError:
        return CaseExistsError.for_url(
            self._fs.url(job_path(case)), f"The study has another case {case!r}; pass overwrite=True to replace it"
        )
