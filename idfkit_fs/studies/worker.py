"""Run one case of a study: what an engine hands to each of its workers."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import os
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from idfkit import IDFDocument, load_idf
from idfkit.exceptions import IdfKitError, SimulationError
from idfkit.simulation import EnergyPlusConfig, SimulationResult

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.messages import redact
from idfkit_fs._util.retry import retry
from idfkit_fs._util.urls import Location
from idfkit_fs.errors import (
    BucketNotFoundError,
    CaseExistsError,
    CaseNotFoundError,
    DamagedRunError,
    RecordError,
    StudyNotFoundError,
)
from idfkit_fs.runs.files import RunFileSystem
from idfkit_fs.runs.publish import ExistingRun, Publication
from idfkit_fs.runs.record import RunRecord, output_name
from idfkit_fs.runs.result import RunResult, open_result, result_of
from idfkit_fs.runs.simulate import LocalRun, find_installation
from idfkit_fs.studies.job import Job, Metric, Outcome, StudyFile, Summary
from idfkit_fs.studies.layout import INPUTS, STUDY, Ended, check_case, job_path
from idfkit_fs.studies.summary import summarise

__all__ = ["CaseRun", "How", "Source", "async_run_case", "read_job", "read_study", "run_case"]

T = TypeVar("T")
# Somebody ended it (SIGHUP, SIGINT, SIGKILL, SIGTERM); a crash of its own is a way to fail.
_KILLED = frozenset({-1, -2, -9, -15})
How = Literal["simulated", "reused", "found"]


@dataclasses.dataclass(frozen=True)
class Source:
    """A run that may have what a case asks for already.

    Attributes:
        url: The run's URL.
        storage_options: What reaches it. They may hold secrets.
    """

    url: str
    storage_options: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)


class CaseRun(NamedTuple):
    """What became of a case.

    Attributes:
        case: The case's name.
        state: Whether EnergyPlus ended it well.
        how: Whether EnergyPlus ran, or the run was copied from another case, or it stood there already.
    """

    case: str
    state: Ended
    how: How


def run_case(
    url: Location,
    case: str,
    storage_options: dict[str, Any] | None = None,
    *,
    again: bool = False,
    source: Source | None = None,
) -> CaseRun:
    """Run one case of a study on this machine.

    A case that is done already is left alone. A worker may die at any moment: then the case is still missing, never
    half done. If two run the same case at once, the run of one of them stands at the end, whole.

    Args:
        url: The study's URL.
        case: The case's name.
        storage_options: What the store's fsspec class takes.
        again: Whether a case that failed is run once more.
        source: A run that may have what the case asks for; it is copied if it does.

    Returns:
        What became of the case. One that EnergyPlus ended with an error is ``failed``, and no exception.

    Raises:
        CaseNotFoundError: If the study has no such case.
        CaseExistsError: If the case was replaced or removed while it ran.
        EnergyPlusNotFoundError: If there is no EnergyPlus here.
        SimulationError: If somebody killed EnergyPlus, such as the system for want of memory.
        PublishError: If the store failed; the case is missing still.

    Examples:
        >>> executor.submit(run_case, "s3://bucket/study-001", "case-42")  # doctest: +SKIP
    """
    return _wait_for(async_run_case(url, case, storage_options, again=again, source=source))


async def async_run_case(
    url: Location,
    case: str,
    storage_options: dict[str, Any] | None = None,
    *,
    again: bool = False,
    source: Source | None = None,
    gate: AbstractAsyncContextManager[Any] | None = None,
) -> CaseRun:
    """As [run_case][idfkit_fs.run_case]; cancelling stops EnergyPlus, and publishes nothing.

    EnergyPlus runs within *gate*, such as a semaphore; what goes on before and after waits for a store.
    """
    check_case(case)
    fs = FsspecFileSystem.from_url(url, **(storage_options or {}))
    task = await asyncio.to_thread(_look, fs, case)
    answer = task.answer
    if answer and (answer.success or not again):
        with contextlib.suppress(FileNotFoundError, DamagedRunError):  # a run that is no longer whole is none
            return CaseRun(case, await asyncio.to_thread(task.note_standing_run, answer), "found")
    if source is not None:
        reused = await asyncio.to_thread(task.copy, source)
        if reused:
            return CaseRun(case, reused, "reused")
    return CaseRun(case, await _simulate(task, gate or contextlib.nullcontext()), "simulated")


@dataclasses.dataclass(frozen=True)
class _Task:
    """A case as it stands: what it is to run, and what is there.

    Attributes:
        fs: The study.
        job: What to run.
        metrics: The cells that its summary is to have.
        standing: What stands there.
    """

    fs: FsspecFileSystem
    job: Job
    metrics: tuple[Metric, ...]
    standing: ExistingRun

    @property
    def answer(self) -> RunRecord | None:
        """The record that stands there, if it answers this very job."""
        record = self.standing.record
        return record if record and record.job == self.job.key else None

    @property
    def place(self) -> FsspecFileSystem:
        """Where the run goes."""
        return self.fs.joinpath(self.job.case)

    @property
    def publication(self) -> Publication:
        """How the run is published: over one that failed, or that answers an older job."""
        return Publication(self.place, self.job.include, self.job.exclude, overwrite=True, progress=False)

    def note_standing_run(self, record: RunRecord) -> Ended:
        """Note how the run ended that stands there, if whoever ran it could not any more."""
        state = _state(record)
        if not retry(lambda: self.fs.exists(self.job.outcome_path(state))):
            self.note(record, self.summarise_published(result_of(self.place, record)))
        return state

    def copy(self, source: Source) -> Ended | None:
        """Copy a run that answers the same job; None if there is none, or it is no longer whole."""
        try:
            found = open_result(source.url, storage_options=source.storage_options)
            if found.record is None or found.record.job != self.job.key or not found.success:
                return None
            copied = self.publication.copy(found, self.standing)
            return self.note(copied.record, self.summarise_published(copied))
        except (FileNotFoundError, DamagedRunError, RecordError):
            return None

    def summarise_published(self, result: RunResult) -> Summary:
        """Summarise a run from its files in the store."""
        err = result.err_path
        text = None if err is None else result.files.read_bytes(err).decode("latin-1")
        with result.local_sql() or contextlib.nullcontext() as sql:
            return summarise(sql, text, self.metrics)

    def summarise_local(self, result: SimulationResult) -> Summary:
        """Summarise a run from its files here."""
        directory = Path(result.run_dir)
        names = os.listdir(directory)
        sql, err = (output_name(names, result.output_prefix, suffix) for suffix in (".sql", ".err"))
        text = None if err is None else (directory / err).read_text("latin-1")
        return summarise(None if sql is None else directory / sql, text, self.metrics)

    def note(self, record: RunRecord | None, summary: Summary) -> Ended:
        """Note how a run ended: the last thing that is written."""
        assert record is not None  # noqa: S101 - for the type checker
        state = _state(record)
        if not record.success and summary.message is None:
            summary = summary.model_copy(update={"message": _last_words(record)})
        outcome = Outcome(
            case=self.job.case,
            state=state,
            key=self.job.key,
            parameters=self.job.parameters,
            record=record.model_copy(update={"files": (), "stdout": "", "stderr": ""}),
            summary=summary,
        )
        path = self.job.outcome_path(state)
        retry(lambda: self.fs.write_bytes(path, outcome.to_json()))
        self._check_that_it_is_wanted(path)
        return state

    def _check_that_it_is_wanted(self, outcome: str) -> None:
        """Take the outcome back if the case was replaced or removed while it ran: whoever did so saw none yet."""
        stale = [outcome]
        try:
            if read_job(self.fs, self.job.case).key == self.job.key:
                return
        except CaseNotFoundError:
            stale += self.fs.glob(self.job.case, "**")
        self.fs.remove_if_exists(stale)
        message = f"Case {self.job.case!r} was replaced or removed while it ran"
        raise CaseExistsError(errno.EEXIST, message, redact(self.fs.url()))


def _look(fs: FsspecFileSystem, case: str) -> _Task:
    """Ask at once for whatever tells how a case stands."""
    with ThreadPoolExecutor(3) as pool:
        study = pool.submit(read_study, fs)
        job = pool.submit(read_job, fs, case)
        place = Publication(fs.joinpath(case), include=None, exclude=(), overwrite=True, progress=False)
        standing = pool.submit(place.find_existing)
    metrics = study.result().metrics + job.result().metrics
    return _Task(fs, job.result(), metrics, standing.result())


def read_study(fs: FsspecFileSystem) -> StudyFile:
    """What holds for the study at a filesystem's root.

    Raises:
        StudyNotFoundError: If there is none.
        RecordError: If it is damaged, or of a newer format.
    """
    try:
        data = retry(lambda: fs.read_bytes(STUDY))
    except BucketNotFoundError:
        raise
    except FileNotFoundError as exc:
        message = "No study stands here; check the URL, or begin one by adding a case"
        raise StudyNotFoundError(2, message, redact(fs.url())) from exc
    return StudyFile.from_json(data, redact(fs.url(STUDY)))


def read_job(fs: FsspecFileSystem, case: str) -> Job:
    """What a case is to run.

    Raises:
        CaseNotFoundError: If the study has no such case.
        RecordError: If the job is damaged, or of a newer format.
    """
    path = job_path(case)
    try:
        data = retry(lambda: fs.read_bytes(path))
    except FileNotFoundError as exc:
        raise CaseNotFoundError(2, f"The study has no case {case!r}", redact(fs.url())) from exc
    job = Job.from_json(data, redact(fs.url(path)))
    if job.case != case:
        raise RecordError(f"{redact(fs.url(path))} is the job of another case, {job.case!r}")
    return job


async def _simulate(task: _Task, gate: AbstractAsyncContextManager[Any]) -> Ended:
    job = task.job
    model, weather, energyplus, inputs = await asyncio.to_thread(_prepare, task)
    facts = {
        "model_sha256": job.model.sha256,
        "weather_sha256": job.weather.sha256 if job.weather else None,
        "job": job.key,
    }
    with inputs:
        async with gate:
            run = LocalRun(task.publication, weather, {**job.options, "energyplus": energyplus}, facts)
            start = time.monotonic()
            try:
                result = await run.async_energyplus(model)
            except IdfKitError as exc:
                result = run.given_up(exc, time.monotonic() - start)
    try:
        if result.exit_code in _KILLED:
            message = f"EnergyPlus was killed by signal {-result.exit_code}, as for want of memory; run the case again"
            raise SimulationError(message, exit_code=result.exit_code)
        summary = await asyncio.to_thread(task.summarise_local, result)
    except BaseException as exc:
        run.abandon(exc)
        raise
    published = await run.async_publish(result, task.standing)
    return await asyncio.to_thread(task.note, published.record, summary)


def _prepare(task: _Task) -> tuple[IDFDocument, Path | None, EnergyPlusConfig, contextlib.ExitStack]:
    """Have the inputs here, from the cache where another case had the same; they may go when the stack is closed."""
    job = task.job
    files = RunFileSystem.of(task.fs.joinpath(INPUTS), (job.model, job.weather) if job.weather else (job.model,))
    energyplus = find_installation()
    with contextlib.ExitStack() as stack:

        def fetch(name: str) -> Path:
            return stack.enter_context(retry(lambda: files.local_copy(name)))

        model = load_idf(str(fetch(job.model.name)))
        return model, fetch(job.weather.name) if job.weather else None, energyplus, stack.pop_all()


def _state(record: RunRecord) -> Ended:
    return "ok" if record.success else "failed"


def _last_words(record: RunRecord) -> str | None:
    """What a run said that left no error in its ``.err`` file, such as one that took too long."""
    lines = [line for line in (record.stderr or record.stdout).splitlines() if line.strip()]
    return lines[-1].strip() if lines else None


def _wait_for(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:  # a notebook's loop is running already
        return pool.submit(asyncio.run, coroutine).result()
