"""Make cases of runs that exist already, without simulating."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from idfkit.simulation import SimulationResult

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.sidecars import SIDECARS
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import progress_bar
from idfkit_fs._util.urls import Location, last_name
from idfkit_fs.errors import (
    CaseExistsError,
    DamagedRunError,
    RecordError,
    RunNotFoundError,
    UnfinishedRunError,
)
from idfkit_fs.runs.check import damage_of
from idfkit_fs.runs.existing import Existing
from idfkit_fs.runs.publish import Publication, read_run
from idfkit_fs.runs.record import RecordedFile
from idfkit_fs.runs.register import read_record
from idfkit_fs.runs.result import RunResult, result_of
from idfkit_fs.studies.job import Job, Metrics, checked, make_job
from idfkit_fs.studies.layout import Ended, check_case
from idfkit_fs.studies.report import CaseRun, RunReport, incomplete
from idfkit_fs.studies.worker import finish_case, guard_of
from idfkit_fs.studies.writer import StudyWriter

__all__ = ["Adoption", "adopt_run", "adopt_runs"]

# Each publishes with threads of its own.
_THREADS = 8
# What is wrong with one run; any other error would meet the others too.
_OF_ONE_RUN = (CaseExistsError, DamagedRunError, RecordError, RunNotFoundError, UnfinishedRunError)


@dataclass(frozen=True)
class Adoption:
    """A run that exists already, and the case to make of it.

    Attributes:
        name: The case's name, which becomes a directory of the study.
        source: The directory of a run, a URL, or a result, as in [publish][idfkit_fs.publish].
        parameters: What describes the case, as in [Case][idfkit_fs.Case].
        metrics: Cells of tabular reports for this case's summary, in addition to the study's metrics.
        output_prefix: The prefix of the run's outputs, if the directory has several runs.

    Raises:
        LocationError: If the name cannot be the name of a case.
        TypeError: If the parameters have no names.
        ValueError: If a metric is invalid, or a parameter cannot be JSON or has the name of another column.

    Examples:
        >>> Adoption("case-7", "runs/7", {"wwr": 0.4}).parameters
        {'wwr': 0.4}
    """

    name: str
    source: SimulationResult | Location
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Metrics = ()
    output_prefix: str | None = None

    def __post_init__(self) -> None:
        check_case(self.name)
        parameters, metrics = checked(self.name, self.parameters, self.metrics)
        object.__setattr__(self, "parameters", parameters)
        object.__setattr__(self, "metrics", {metric.name: metric.cell for metric in metrics})

    def job(self, fingerprint: str) -> Job:
        """The job of the case; *fingerprint* is the hash of the run's outputs."""
        return make_job(self.name, self.parameters, self.metrics, adopted=fingerprint)


def adopt_runs(
    writer: StudyWriter,
    runs: Mapping[str, SimulationResult | Location] | Iterable[Adoption],
    overwrite: bool,
    progress: bool,
) -> RunReport:
    """Adopt many runs; see [Study.adopt_many][idfkit_fs.Study.adopt_many]."""
    adoptions = [Adoption(name, run) for name, run in runs.items()] if isinstance(runs, Mapping) else [*runs]
    names: set[str] = set()
    for adoption in adoptions:
        if not isinstance(adoption, Adoption):
            raise TypeError(f"adopt_many() takes a mapping or Adoption objects, not {type(adoption).__name__}")
        if adoption.name in names:
            raise ValueError(f"Two runs have the name {adoption.name!r}; give each a name of its own")
        names.add(adoption.name)
    errors: dict[str, BaseException] = {}

    def adopt(adoption: Adoption) -> CaseRun | None:
        try:
            return _adopt(writer, adoption, _read(writer, adoption), overwrite)
        except _OF_ONE_RUN as exc:
            errors[adoption.name] = exc
            return None

    writer.describe({adoption.name: adoption.parameters for adoption in adoptions})
    with progress_bar(len(adoptions), f"Adopting into {last_name(writer.fs.url())}", "case", progress) as done:
        adopted = parallel_map(adopt, adoptions, done, threads=_THREADS)
    report = RunReport(tuple(sorted(run for run in adopted if run is not None)))
    if errors:
        raise incomplete(
            report,
            dict(sorted(errors.items())),
            "could not be adopted",
            f"; the other {len(report.runs)} were adopted" if report.runs else "",
        )
    return report


def adopt_run(writer: StudyWriter, adoption: Adoption, overwrite: bool) -> CaseRun:
    """Adopt one run; see [Study.adopt][idfkit_fs.Study.adopt]."""
    run = _read(writer, adoption)
    writer.describe({adoption.name: adoption.parameters})
    return _adopt(writer, adoption, run, overwrite)


def _read(writer: StudyWriter, adoption: Adoption) -> RunResult | Existing:
    run = read_run(adoption.source, writer.fs, adoption.output_prefix)
    if isinstance(run, Existing):
        run.record()  # raises for an unfinished run
    return run


def _adopt(writer: StudyWriter, adoption: Adoption, run: RunResult | Existing, overwrite: bool) -> CaseRun:
    """The job goes first, so that the name is taken; then the run, with its record last; then the outcome."""
    fs, case = writer.fs, adoption.name
    target = fs.joinpath(case)
    source, home = (run.fs, run.fs) if isinstance(run, Existing) else (run.files, run.home)
    job = adoption.job(_fingerprint(run))
    writer.add_job(job, overwrite, keeps_run=target.is_same_place(home))
    state = finish_case(fs, case)
    record = read_record(target)
    if state is not None and record is not None and not damage_of(result_of(target, record)):
        return CaseRun(case, state, "found")
    publication = Publication(target, None, (), overwrite=True, progress=False, guard=guard_of(fs, case))
    published = publication.take_in(run, job=job.key)
    return CaseRun(case, _finish(fs, case, _beside(published, source)), "adopted")


def _beside(published: RunResult, source: FsspecFileSystem) -> RunResult | None:
    """The same run where its files are on this disk, so that a summary need not download them."""
    if not source.reads_in_place or published.record is None:
        return None
    files = tuple(entry for entry in published.record.files if entry.name not in SIDECARS)
    return result_of(source, published.record.model_copy(update={"files": files, "sql_sha256": None, "directory": ""}))


def _finish(fs: FsspecFileSystem, case: str, files: RunResult | None) -> Ended:
    state = finish_case(fs, case, files)
    if state is None:
        raise CaseExistsError.for_url(fs.url(), f"Case {case!r} was replaced or removed while it was adopted")
    return state


def _fingerprint(run: RunResult | Existing) -> str:
    """The hash of a run's outputs: what is adopted again is known by it."""
    entries: Iterable[RecordedFile]
    if isinstance(run, Existing):
        entries = parallel_map(lambda name: run.file(name).entry, run.outputs.names, threads=_THREADS)
    else:
        entries = run.record.files if run.record else ()
    files = sorted((entry.name, entry.sha256) for entry in entries if entry.name not in SIDECARS)
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()
