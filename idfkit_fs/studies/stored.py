"""Read the JSON objects of a study from its store."""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.messages import redact
from idfkit_fs._util.versioned_json import READ_AT_MOST
from idfkit_fs.errors import (
    BucketNotFoundError,
    CaseNotFoundError,
    LocationError,
    NotFoundError,
    RecordError,
    StudyNotFoundError,
)
from idfkit_fs.runs.record import RunRecord
from idfkit_fs.runs.register import Claim, read_record
from idfkit_fs.studies.job import Job, Outcome, StudyFile, state_of
from idfkit_fs.studies.layout import STUDY, Ended, EndedRun, check_case, job_path, outcome_path

__all__ = ["has_case", "read_job", "read_outcome", "read_study", "retire"]


def read_study(fs: FsspecFileSystem) -> StudyFile:
    """Read the description of the study at a filesystem's root.

    Raises:
        StudyNotFoundError: If there is no study.
        RecordError: If the description is damaged, or of a newer format.
    """
    try:
        data = fs.fetch_start(STUDY, READ_AT_MOST)
    except BucketNotFoundError:
        raise
    except FileNotFoundError as exc:
        raise StudyNotFoundError.for_url(fs.url()) from exc
    return StudyFile.from_json(data, redact(fs.url(STUDY)))


def has_case(fs: FsspecFileSystem, case: object) -> bool:
    """Whether the study at a filesystem's root has a case: one look-up, and another one if it has none.

    Raises:
        StudyNotFoundError: If there is no study.
        StoreError: If the store failed, refused access, or did not answer.
    """
    try:
        if isinstance(case, str) and fs.exists(job_path(check_case(case))):
            return True
    except LocationError:  # no case can have this name
        pass
    read_study(fs)
    return False


def read_job(fs: FsspecFileSystem, case: str) -> Job:
    """Read the job of a case.

    Raises:
        CaseNotFoundError: If the study has no such case.
        RecordError: If the job is damaged, of a newer format, or of another case.
    """
    path = job_path(case)
    try:
        data = fs.fetch_start(path, READ_AT_MOST)
    except FileNotFoundError as exc:
        raise CaseNotFoundError.for_url(fs.url(), f"The study has no case {case!r}") from exc
    url = redact(fs.url(path))
    job = Job.from_json(data, url)
    if job.case != case:
        raise RecordError(f"{url} is the job of another case, {job.case!r}")
    return job


def read_outcome(fs: FsspecFileSystem, case: str, state: Ended, runs: Collection[EndedRun]) -> Outcome:
    """Read the outcome of a case.

    Args:
        fs: The study.
        case: The case's name.
        state: The state in which the case ended.
        runs: The runs that have an outcome; of several, while the case is being replaced, the record decides.

    Raises:
        FileNotFoundError: If there is no such outcome.
        RecordError: If the outcome is damaged, of a newer format, or of another case.
    """
    run = next(iter(runs))
    if len(runs) > 1:
        record = read_record(fs.joinpath(case))
        run = run if record is None or record.job is None else EndedRun.of(record.job, record.id)
    path = outcome_path(state, case, run)
    url = redact(fs.url(path))
    data = fs.fetch_start(path, READ_AT_MOST)
    if not data:  # it became void since it was listed
        raise NotFoundError.for_url(url)
    outcome = Outcome.from_json(data, url)
    if (outcome.case, outcome.state) != (case, state):
        raise RecordError(f"{url} is the outcome of another case, {outcome.case!r}")
    return outcome


def retire(fs: FsspecFileSystem, case: str, run: RunRecord | Claim, known: Collection[str] = ()) -> list[str]:
    """Make the outcome of a run void, before the run is replaced or removed.

    Without it, a worker that is slow could still create the outcome, and the case would count as done.

    Args:
        fs: The study.
        case: The case's name.
        run: The run; or the claim of a publisher, whose run may end in either state.
        known: The paths of outcomes that are known to exist.

    Returns:
        The paths of the outcomes that existed. Their workers have finished: remove them when the run is gone.
    """
    if run.job is None:  # no case of a study
        return []
    existed = []
    states = get_args(Ended) if isinstance(run, Claim) else (state_of(run),)
    for state in states:
        path = outcome_path(state, case, EndedRun.of(run.job, run.id))
        if path in known or not fs.create_exclusive(path, b""):
            fs.write_bytes(path, b"")
            existed.append(path)
    return existed
