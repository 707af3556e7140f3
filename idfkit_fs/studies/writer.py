"""Write to a study: add, replace and remove cases."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.naming import stems_in
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import progress_bar
from idfkit_fs._util.urls import last_name
from idfkit_fs.errors import CaseExistsError, CaseNotFoundError, RecordError, RunExistsError, StudyNotFoundError
from idfkit_fs.runs.record import RECORD_NAME
from idfkit_fs.runs.register import Register, Removal, begin_removal, read_register, remove_run
from idfkit_fs.studies.job import Job, Metric, StudyFile, columns_of_summary
from idfkit_fs.studies.layout import INPUTS, JOBS, STUDY, job_path, mark_path, parse_jobs
from idfkit_fs.studies.listing import Listing
from idfkit_fs.studies.parameters import parse_parameters
from idfkit_fs.studies.prepare import Case, Inputs
from idfkit_fs.studies.stored import read_job, read_study, retire

__all__ = ["StudyWriter"]

# Cases that are removed at the same time; if this process is killed, so many may be half removed.
_TOGETHER = 250
# An object store lists the files of about so many cases by one request.
_CASES_A_LISTING = 50

_Prepared = tuple[Job, dict[str, bytes | Path]]


class _Replacement(NamedTuple):
    """A job that is being replaced.

    Attributes:
        mark: The path of the mark that says so.
        outcomes: The outcomes that it has made void, and will remove.
        replaced: The job that existed at first; None if it could not be used.
    """

    mark: str
    outcomes: set[str]
    replaced: Job | None


@dataclass
class _Leaving:
    """A case that is being removed.

    Attributes:
        name: The case's name.
        files: The files at its URL, from there on.
        outcomes: Its outcomes and marks, to be removed with the run's files.
        register: The register of its run, if it was read before the job went.
    """

    name: str
    files: set[str]
    outcomes: set[str]
    register: Register | None = None

    @classmethod
    def of(cls, case: str, listing: Listing, files: set[str]) -> Self:
        """A case of a listing."""
        outcomes = {*listing.outcomes_of(case), *listing.void.get(case, ()), *listing.marks.get(case, ())}
        return cls(case, files, outcomes)


class StudyWriter:
    """Adds and removes cases.

    Args:
        fs: The study.
        metrics: The metrics of the study; None to keep those that it has.

    Attributes:
        fs: The study.
    """

    def __init__(self, fs: FsspecFileSystem, metrics: tuple[Metric, ...] | None) -> None:
        self.fs = fs
        self._metrics = metrics
        self._stored_inputs: set[str] | None = None
        self._broken_off: dict[str, _Replacement] = {}

    def add(self, cases: Iterable[Case], overwrite: bool, progress: bool) -> None:
        """Add cases; see [Study.add_cases][idfkit_fs.Study.add_cases]."""
        existing = self._existing()
        inputs = Inputs(self.fs.joinpath(INPUTS), self._list_inputs())
        total = len(cases) if isinstance(cases, Sized) else None
        # One listing shows the jobs of many cases; of a single case, only the job is requested.
        listed = None if total == 1 else {*parse_jobs(self.fs.glob(JOBS, "*"))}
        occupied = {*(() if listed is None else self.fs.directories())}

        def add(prepared: _Prepared) -> None:
            job, contents = prepared
            for name, data in contents.items():
                inputs.send(name, data)
            is_new = listed is not None and job.case not in listed
            self.add_job(job, overwrite, is_new=is_new, is_free=is_new and job.case not in occupied)

        with progress_bar(total, f"Adding to {last_name(self.fs.url())}", "case", progress) as done:
            parallel_map(add, self._prepared(cases, inputs, existing), done)

    def _prepared(self, cases: Iterable[Case], inputs: Inputs, existing: StudyFile | None) -> Iterator[_Prepared]:
        taken = self._taken(existing)
        seen: dict[str, Job] = {}
        for case in cases:
            if not isinstance(case, Case):
                raise TypeError(f"add_cases() takes Case objects, not {type(case).__name__}")
            parse_parameters(case.name, case.parameters, taken)
            job, contents = inputs.job_of(case)
            if not seen:  # only now: a first case that is refused leaves no study behind
                self._describe(existing)
            if seen.setdefault(job.case, job) != job:
                raise self._exists(job.case)
            yield job, contents
        if not seen:
            self._describe(existing)

    def describe(self, parameters: Mapping[str, Mapping[str, Any]]) -> None:
        """Write ``study.json`` unless it exists with the wanted metrics.

        Args:
            parameters: The parameters of each case that will be added.

        Raises:
            ValueError: If a parameter has the name of a metric of the study; then nothing is written.
            RecordError: If the study is damaged, or of a newer format.
        """
        existing = self._existing()
        taken = self._taken(existing)
        for case, given in parameters.items():
            parse_parameters(case, given, taken)
        self._describe(existing)

    def _taken(self, existing: StudyFile | None) -> dict[str, str]:
        """The names that a parameter cannot have, each with what has it."""
        return columns_of_summary(self._metrics if self._metrics is not None else existing.metrics if existing else ())

    def _existing(self) -> StudyFile | None:
        """The description of the study; None if none exists yet."""
        try:
            return read_study(self.fs)
        except StudyNotFoundError:
            if self.fs.exists(RECORD_NAME):
                text = "A run exists here, which a study would be mixed with; give the URL of a directory of its own"
                raise RunExistsError.for_url(self.fs.url(), text) from None
            self._stored_inputs = None  # an older study at this URL was deleted, with its inputs
            return None

    def _describe(self, existing: StudyFile | None) -> None:
        if existing is None:
            if self.fs.create_exclusive(STUDY, StudyFile(metrics=self._metrics or ()).to_json()):
                return
            existing = read_study(self.fs)
        if self._metrics is not None and self._metrics != existing.metrics:
            self.fs.write_bytes(STUDY, StudyFile(metrics=self._metrics).to_json())

    def _list_inputs(self) -> set[str]:
        """The names of the stored inputs; listed once, and then kept up to date by `Inputs`."""
        if self._stored_inputs is None:
            self._stored_inputs = {path.rpartition("/")[2] for path in self.fs.glob(INPUTS, "*")}
        return self._stored_inputs

    def add_job(
        self, job: Job, overwrite: bool, *, is_new: bool = False, is_free: bool = False, keeps_run: bool = False
    ) -> None:
        """Add a job, or replace the one of the same name.

        Args:
            job: The job.
            overwrite: Whether to replace another job, with its run, or a run that the study did not make.
            is_new: Whether the study is known to have no such case.
            is_free: Whether there is known to be no run at the case's URL.
            keeps_run: Whether the run at the case's URL is the one that the job adopts; its files stay.

        Raises:
            CaseExistsError: If the study has another case of this name, or a run that it did not make exists at the
                case's URL, and *overwrite* is False.
            RecordError: If the existing job is damaged, and *overwrite* is False.
        """
        existing: Job | None = None
        begun = self._begun(job.case)
        try:
            existing = None if is_new else self._job(job.case)
            if existing is None:
                if not (is_free or keeps_run):
                    self._check_free(job.case, overwrite)
                if self.fs.create_exclusive(job_path(job.case), job.to_json()):
                    return
                existing = self._job(job.case)  # another process was quicker
            if existing is not None and existing.asks_for_same(job) and not (begun and overwrite):
                if overwrite:
                    self._remove_foreign(job)
                return
            if not overwrite:
                raise self._exists(job.case)
        except RecordError:
            if not overwrite:
                raise
        begun = begun or _Replacement(mark_path(job.case, uuid.uuid4().hex), set(), existing)
        self._replace(begun, existing, job, keeps_run)

    def _begun(self, case: str) -> _Replacement | None:
        """The replacement of a case's job that the store broke off, unless another client has finished it."""
        begun = self._broken_off.get(case)
        return begun if begun is not None and self.fs.exists(begun.mark) else None

    def _replace(self, begun: _Replacement, existing: Job | None, job: Job, keeps_run: bool) -> None:
        # Should this process die in between, the mark says that the listings alone do not show the case's state. Should
        # the store fail, the next attempt does the rest, although the job is the new one then.
        self._broken_off[job.case] = begun
        self.fs.write_bytes(begun.mark, b"")
        self.fs.write_bytes(job_path(job.case), job.to_json())
        # A worker that read the old job may have gone on meanwhile.
        register = self._retire(job.case, begun.outcomes)
        old = (begun.replaced, existing)
        if not keeps_run and any(each is None or (each.key, each.options) != (job.key, job.options) for each in old):
            self._remove_run(job.case, register, begun.outcomes)
        self.fs.remove_if_exists(begun.outcomes)
        self.fs.remove_if_exists([begun.mark])
        del self._broken_off[job.case]

    def _retire(self, case: str, outcomes: set[str]) -> Register:
        """Make the outcome of a case's run void, also of one that is being published; note those that existed."""
        register = read_register(self.fs.joinpath(case))
        self._retire_run(case, register, outcomes)
        return register

    def _retire_run(self, case: str, register: Register, outcomes: set[str]) -> None:
        run = register.record or register.claim
        if run is not None:
            outcomes.update(retire(self.fs, case, run, outcomes))

    def _check_free(self, case: str, overwrite: bool) -> None:
        """What lies at the URL of a new case was not made by the study: it has had no job so far."""
        names = {path.rpartition("/")[2] for path in self.fs.glob(case, "*")}
        if RECORD_NAME not in names and not stems_in(names):
            return
        register = read_register(self.fs.joinpath(case))
        if register.claim is not None:  # left by a worker that was killed
            return
        if not overwrite:
            raise CaseExistsError.for_foreign_run(self.fs.url(case), case)
        if self._job(case) is not None:  # after the register was read: it may be the run of a job that is new
            return
        if register.record is not None:
            retire(self.fs, case, register.record)
        if not remove_run(self.fs.joinpath(case), register):
            text = f"The run of case {case!r} was replaced while it was to be removed; add the case again"
            raise CaseExistsError.for_url(self.fs.url(case), text)

    def _remove_foreign(self, job: Job) -> None:
        """Take away the record of a run that is not the job's, so that the job can be run."""
        run_fs = self.fs.joinpath(job.case)
        while (record := (register := read_register(run_fs)).record) is not None and record.job != job.key:
            now = self._job(job.case)  # after the record was read: it may be the run of a newer job
            if now is None or now.key != job.key:
                return
            retire(self.fs, job.case, record)
            if remove_run(run_fs, register):
                return

    def _remove_run(self, case: str, register: Register, outcomes: set[str]) -> None:
        """Remove a run with its files: a sidecar that stayed would be of another run."""
        while not remove_run(self.fs.joinpath(case), register):
            register = self._retire(case, outcomes)

    def remove(self, listing: Listing, names: Sequence[str], progress: bool) -> None:
        """Remove cases with their runs; see [Study.remove][idfkit_fs.Study.remove]."""
        with progress_bar(len(names), f"Removing from {last_name(self.fs.url())}", "case", progress) as done:
            files = self._files_of(names, len(listing.cases))
            for start in range(0, len(names), _TOGETHER):
                some = [_Leaving.of(case, listing, files[case]) for case in names[start : start + _TOGETHER]]
                self._remove(some)
                done(len(some))

    def _files_of(self, names: Sequence[str], count: int) -> dict[str, set[str]]:
        """The files at the URLs of some cases of so many, by a listing of each or one of the whole study."""
        found: dict[str, set[str]] = {name: set() for name in names}
        if self.fs.lists_trees and len(names) > count // _CASES_A_LISTING:
            for path in self.fs.glob("", "**"):
                case, _, name = path.partition("/")
                if case in found:
                    found[case].add(name)
            return found
        return dict(zip(names, parallel_map(lambda case: {*self.fs.joinpath(case).glob("", "**")}, names), strict=True))

    def _remove(self, cases: Sequence[_Leaving]) -> None:
        """Remove cases, with one request for many files where the store has one.

        The order is that of a single case: its outcome becomes void, its job goes, then its run, on condition of what
        was read at first; a worker that has read the job and gone on has changed the register.
        """
        ended = [each for each in cases if each.outcomes]  # of the others nothing counts yet

        def read(case: _Leaving) -> None:
            case.register = read_register(self.fs.joinpath(case.name))

        def retire_known(case: _Leaving) -> None:
            if case.register is not None:
                self._retire_run(case.name, case.register, case.outcomes)

        parallel_map(read, ended)  # all of them first: one that must not be removed leaves the others as they are
        parallel_map(retire_known, ended)
        self.fs.remove_if_exists(job_path(each.name) for each in cases)
        removals = parallel_map(self._begin_removal, cases)
        left = [f"{case.name}/{name}" for case, removal in zip(cases, removals, strict=True) for name in removal.files]
        self.fs.remove_if_exists([*left, *(path for case in cases for path in case.outcomes)])
        parallel_map(Removal.finish, removals)

    def _begin_removal(self, case: _Leaving) -> Removal:
        """Claim the URL of a case whose job is gone; a worker that read the job may have gone on until now."""
        register = case.register
        while True:
            if register is None or register.record is None:
                register = self._retire(case.name, case.outcomes)
            removal = begin_removal(self.fs.joinpath(case.name), register, case.files)
            if removal is not None:
                return removal
            register = None

    def _job(self, case: str) -> Job | None:
        try:
            return read_job(self.fs, case)
        except CaseNotFoundError:
            return None

    def _exists(self, case: str) -> CaseExistsError:
        return CaseExistsError.for_url(
            self.fs.url(job_path(case)), f"The study has another case {case!r}; pass overwrite=True to replace it"
        )
