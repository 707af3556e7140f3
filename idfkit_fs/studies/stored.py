"""Read the JSON objects of a study from its store."""

from __future__ import annotations

from collections.abc import Collection

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.messages import redact
from idfkit_fs._util.versioned_json import READ_AT_MOST
from idfkit_fs.errors import BucketNotFoundError, CaseNotFoundError, RecordError, StudyNotFoundError
from idfkit_fs.studies.job import Job, Outcome, StudyFile
from idfkit_fs.studies.layout import STUDY, Ended, job_path, outcome_path

__all__ = ["read_job", "read_outcome", "read_study"]


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


def read_outcome(fs: FsspecFileSystem, case: str, state: Ended, keys: Collection[str]) -> Outcome:
    """Read the outcome of a case.

    Args:
        fs: The study.
        case: The case's name.
        state: The state in which the case ended.
        keys: The keys of its outcomes; several if the case was replaced while it ran, and then the job decides.

    Raises:
        FileNotFoundError: If there is no such outcome.
        RecordError: If the outcome is damaged, of a newer format, or of another case.
    """
    key = next(iter(keys)) if len(keys) == 1 else read_job(fs, case).key
    path = outcome_path(state, case, key)
    url = redact(fs.url(path))
    outcome = Outcome.from_json(fs.fetch_start(path, READ_AT_MOST), url)
    if (outcome.case, outcome.state) != (case, state):
        raise RecordError(f"{url} is the outcome of another case, {outcome.case!r}")
    return outcome
