"""The listings of a study: which cases exist, and how each ended, without reading an object of a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import get_args

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs.errors import CaseNotFoundError, NotFoundError, RecordError, StudyNotFoundError
from idfkit_fs.runs.record import RECORD_NAME
from idfkit_fs.studies.job import Job, Metric
from idfkit_fs.studies.layout import (
    JOBS,
    Ended,
    EndedRun,
    State,
    job_path,
    outcome_path,
    outcomes_directory,
    parse_jobs,
    parse_marks,
    parse_outcomes,
    short_key,
)
from idfkit_fs.studies.status import StudyStatus
from idfkit_fs.studies.stored import read_job, read_outcome, read_study

__all__ = ["Listing", "read_listing"]

_OUTCOMES: dict[Ended, str] = {state: outcomes_directory(state) for state in get_args(Ended)}


@dataclass(frozen=True)
class Listing:
    """What the listings of a study show.

    Attributes:
        url: The study's URL, for messages.
        cases: The names of the cases, sorted.
        ended: For each state, the cases that ended in it, with their runs.
        metrics: The metrics of the study.
        marks: The marks of clients that are replacing jobs, or were killed while they did, by case.
        void: The outcomes of those cases that are of another job, and do not count.
        versions: What the store says of each job and outcome that changes with it, by its path; not of those of which
            it says nothing.
    """

    url: str
    cases: tuple[str, ...]
    ended: dict[Ended, dict[str, set[EndedRun]]]
    metrics: tuple[Metric, ...] = ()
    marks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    void: Mapping[str, Sequence[str]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def states(self) -> dict[str, State]:
        """The state of each case; sorted."""
        return {case: self.state(case) for case in self.cases}

    def state(self, case: str) -> State:
        """The state of a case."""
        return "ok" if case in self.ended["ok"] else "failed" if case in self.ended["failed"] else "pending"

    def status(self) -> StudyStatus:
        """The cases by their state."""
        states = self.states()
        cases_in = {state: tuple(case for case in states if states[case] == state) for state in get_args(State)}
        return StudyStatus(**cases_in)

    def outcomes_of(self, case: str) -> list[str]:
        """The paths of the outcomes of a case; several if the case was replaced while it ran."""
        return [outcome_path(state, case, run) for state in get_args(Ended) for run in self.ended[state].get(case, ())]

    def told_by(self, case: str) -> str | None:
        """The path of the outcome of a case, or, of a pending one, of its job; None if it has several outcomes."""
        state = self.state(case)
        if state == "pending":
            return job_path(case)
        runs = self.ended[state][case]
        return outcome_path(state, case, next(iter(runs))) if len(runs) == 1 else None


def read_listing(fs: FsspecFileSystem) -> Listing:
    """Request all listings of the study at a filesystem's root at the same time.

    Raises:
        StudyNotFoundError: If there is no study.
        RecordError: If the study is damaged, or of a newer format.
    """
    with ThreadPoolExecutor(4) as pool:
        study = pool.submit(read_study, fs)
        listed = {directory: pool.submit(fs.list_versions, directory) for directory in (JOBS, *_OUTCOMES.values())}
    try:
        metrics = study.result().metrics
    except StudyNotFoundError:
        if fs.exists(RECORD_NAME):
            text = "This is a run, not a study; open it with open_result(), or give the URL of the study"
            raise StudyNotFoundError.for_url(fs.url(), text) from None
        raise
    found = {
        f"{directory}/{name}": version
        for directory, files in listed.items()
        for name, version in files.result().items()
    }
    jobs = [f"{JOBS}/{name}" for name in listed[JOBS].result()]
    cases, marks = tuple(sorted(parse_jobs(jobs))), parse_marks(jobs)
    runs = {
        state: parse_outcomes({name: size for name, (size, _) in listed[directory].result().items()})
        for state, directory in _OUTCOMES.items()
    }
    void = {case: _drop_void(fs, case, runs) for case in marks}
    versions = {path: version for path, (_, version) in found.items() if version is not None}
    return Listing(fs.url(), cases, runs, metrics, marks, void, versions)


def _drop_void(fs: FsspecFileSystem, case: str, runs: dict[Ended, dict[str, set[EndedRun]]]) -> list[str]:
    """Take away what a case whose job is being replaced has of another job: the listing does not show which is new."""
    try:
        job = read_job(fs, case)
    except (CaseNotFoundError, RecordError):
        return []
    paths = []
    for state, of_state in runs.items():
        for run in sorted(of_state.pop(case, ())):
            if _is_of_job(fs, job, state, run):
                of_state.setdefault(case, set()).add(run)
            else:
                paths.append(outcome_path(state, case, run))
    return paths


def _is_of_job(fs: FsspecFileSystem, job: Job, state: Ended, run: EndedRun) -> bool:
    if run.key != short_key(job.key):
        return False
    try:
        return read_outcome(fs, job.case, state, {run}).parameters == job.parameters
    except (NotFoundError, RecordError):
        return False
