"""Cases that have ended, without a run of EnergyPlus: the objects that a worker leaves, under as many names as wanted."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable

from idfkit_fs.runs.record import RECORD_NAME, RecordedFile, RunRecord
from idfkit_fs.studies.job import Job, Outcome, StudyFile, Summary, make_job, state_of
from idfkit_fs.studies.layout import STUDY, EndedRun, job_path, outcome_path

__all__ = ["FILES", "make_cases", "make_job_of"]

FILES = ("eplus.end", "eplus.err", "eplus.sql", "eplusTable.htm", *(f"eplus.{number}" for number in range(14)))


def make_job_of(case: str, model: str = "") -> Job:
    """The job of a case; cases with the same *model* ask for the same."""
    sha256 = hashlib.sha256((model or case).encode()).hexdigest()
    return make_job(case, {}, (), model=RecordedFile(name=f"{sha256}.idf", size=0, sha256=sha256))


def make_cases(
    put: Callable[[str, bytes], object],
    cases: Iterable[str],
    *,
    files: Iterable[str] = FILES,
    ended: bool = True,
    success: bool = True,
) -> None:
    """Make the objects of cases that have ended, or are pending; *put* writes an object below the study's URL."""
    put(STUDY, StudyFile(metrics=()).to_json())
    for case in cases:
        job = make_job_of(case)
        put(job_path(case), job.to_json())
        if not ended:
            continue
        contents = {name: f"{name} of {case}".encode() for name in files}
        entries = tuple(
            RecordedFile(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
            for name, data in contents.items()
        )
        record = RunRecord(
            id=uuid.uuid4().hex,
            success=success,
            exit_code=int(not success),
            runtime_seconds=1.0,
            job=job.key,
            model_sha256=job.model.sha256 if job.model else None,
            files=entries,
            generation=1,
        )
        for name, data in contents.items():
            put(f"{case}/{name}", data)
        put(f"{case}/{RECORD_NAME}", record.to_json())
        state = state_of(record)
        outcome = Outcome(
            case=case,
            state=state,
            key=job.key,
            record=record.model_copy(update={"files": ()}),
            summary=Summary(site_energy_kwh=1.0),
        )
        put(outcome_path(state, case, EndedRun.of(job.key, record.id)), outcome.to_json())
