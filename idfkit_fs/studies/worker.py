"""Run one case of a study: the function that an engine calls on each of its workers."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple, get_args

from idfkit import IDFDocument
from idfkit.exceptions import EnergyPlusNotFoundError, IdfKitError, SimulationError
from idfkit.simulation import EnergyPlusConfig, SimulationResult
from idfkit.versions import version_string

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.ending import Ending, read_counts
from idfkit_fs._outputs.naming import output_name
from idfkit_fs._util.interrupts import current_stop, in_thread, run_coroutine, stopped_by
from idfkit_fs._util.messages import redact
from idfkit_fs._util.urls import Location
from idfkit_fs._util.versioned_json import READ_AT_MOST
from idfkit_fs.errors import (
    CaseExistsError,
    CaseNotFoundError,
    DamagedRunError,
    ModelError,
    NotFoundError,
    PermissionDeniedError,
    RecordError,
)
from idfkit_fs.runs.check import check_files, damage_of
from idfkit_fs.runs.files import RunFileSystem
from idfkit_fs.runs.installation import find_installation
from idfkit_fs.runs.model import parse_model, version_of
from idfkit_fs.runs.publish import Guard, Publication
from idfkit_fs.runs.record import RECORD_NAME, RunRecord
from idfkit_fs.runs.register import Register, read_record, read_register, remove_run
from idfkit_fs.runs.result import RunResult, open_result, result_of
from idfkit_fs.runs.simulate import LocalRun
from idfkit_fs.studies.job import Job, Metric, Outcome, Summary, state_of
from idfkit_fs.studies.layout import INPUTS, Ended, EndedRun, check_case, outcome_path
from idfkit_fs.studies.plan import Source
from idfkit_fs.studies.report import CaseRun
from idfkit_fs.studies.stored import read_job, read_study, retire
from idfkit_fs.studies.summary import summarise

__all__ = ["async_run_case", "finish_case", "guard_of", "run_case"]


def run_case(
    url: Location,
    case: str,
    storage_options: dict[str, Any] | None = None,
    *,
    retry_failed: bool = False,
    source: Source | None = None,
) -> CaseRun:
    """Run one case of a study on this machine.

    Running a finished case again does nothing. A worker may die at any moment: the case then stays pending, never half
    done. If two workers run the same case at the same time, one of the two runs remains, complete.

    Args:
        url: The study's URL.
        case: The case's name.
        storage_options: The storage options for the URL, as its fsspec filesystem takes them.
        retry_failed: Whether to run the case again if it failed.
        source: A run that may answer the same job; if it does, it is copied instead of simulated.

    Returns:
        How the case was run. A case that EnergyPlus ends with an error is ``failed``; it raises no exception.

    Raises:
        CaseNotFoundError: If the study has no such case.
        StudyNotFoundError: If there is no study.
        CaseExistsError: If the case was replaced or removed while it ran, or a run that the study did not make exists
            at its URL.
        ModelError: If the case was adopted and is to be run, so that its model is unknown. What is wrong with a model
            fails the case instead.
        RecordError: If the study or the job is damaged, or of a newer format.
        EnergyPlusNotFoundError: If EnergyPlus is not installed.
        SimulationError: If the outputs are cut, because EnergyPlus was killed, for example by the system when memory
            ran out, or because the disk was full; the case stays pending.
        PublishError: If the run could not be published; the case stays pending.

    Examples:
        >>> executor.submit(run_case, "s3://bucket/study-001", "case-42")  # doctest: +SKIP
    """
    fs = FsspecFileSystem.from_url(url, **(storage_options or {}))
    return run_coroutine(async_run_case(fs, case, retry_failed=retry_failed, source=source))


async def async_run_case(
    fs: FsspecFileSystem,
    case: str,
    *,
    retry_failed: bool = False,
    source: Source | None = None,
    gate: AbstractAsyncContextManager[Any] | None = None,
    job: Job | None = None,
) -> CaseRun:
    """Run one case, as [run_case][idfkit_fs.run_case] does. Cancelling stops EnergyPlus and publishes nothing.

    Args:
        fs: The study.
        case: The case's name.
        retry_failed: Whether to run the case again if it failed.
        source: A run that may answer the same job.
        gate: Entered while EnergyPlus runs, such as a semaphore; the steps before and after wait for the store.
        job: The job of the case, if it has just been read.

    Returns:
        How the case was run.
    """
    check_case(case)
    task = await in_thread(_look_up, fs, case, retry_failed, job)
    finished = task.finished
    if finished and (finished.success or not retry_failed):
        with contextlib.suppress(FileNotFoundError, DamagedRunError):  # a damaged run is run again
            await in_thread(check_files, result_of(task.run_fs, finished))
            state = await in_thread(task.complete_outcome, finished)
            if state is not None:
                return CaseRun(case, state, "found")
    await in_thread(task.check_free)
    if source is not None:
        reused = await in_thread(task.copy, source)
        if reused:
            return CaseRun(case, reused, "reused")
    return CaseRun(case, await _simulate(task, gate or contextlib.nullcontext()), "simulated")


def guard_of(fs: FsspecFileSystem, case: str) -> Guard:
    """What is to be respected when a run is published as that of a case.

    Raises:
        CaseNotFoundError: If the study has no such case.
        StoreError: If the store failed, refused access, or did not answer.
    """
    return _look_up(fs, case)


def finish_case(fs: FsspecFileSystem, case: str, files: RunResult | None = None) -> Ended | None:
    """Write the outcome of a case whose run exists already, unless it has one.

    Args:
        fs: The study.
        case: The case's name.
        files: The same run where its files are nearer; None to read those of the study.

    Returns:
        The state of the case; None if its run does not exist.

    Raises:
        CaseNotFoundError: If the study has no such case.
        CaseExistsError: If the case was replaced or removed meanwhile.
        StoreError: If the store failed, refused access, or did not answer.
    """
    task = _look_up(fs, case)
    return task.complete_outcome(task.finished, files) if task.finished else None


@dataclasses.dataclass(frozen=True)
class _Task:
    """A case to run, and the run that exists at its URL.

    Attributes:
        fs: The study.
        job: What to run.
        metrics: The metrics for its summary.
        existing: The run that exists.
        retry_failed: Whether a run that failed is to be replaced.
    """

    fs: FsspecFileSystem
    job: Job
    metrics: tuple[Metric, ...]
    existing: Register
    retry_failed: bool = False

    @property
    def finished(self) -> RunRecord | None:
        """The record of the run that exists, if it answers this very job."""
        record = self.existing.record
        return record if record and record.job == self.job.key else None

    @property
    def run_fs(self) -> FsspecFileSystem:
        """A filesystem with the run's URL as its root."""
        return self.fs.joinpath(self.job.case)

    @property
    def inputs(self) -> RunFileSystem:
        """The inputs of the job."""
        files = (self.job.model, self.job.weather, *self.job.files.values())
        return RunFileSystem.of(self.fs.joinpath(INPUTS), tuple(file for file in files if file is not None))

    @property
    def publication(self) -> Publication:
        """How to publish the run: it replaces a failed run, or one that answers an older job."""
        return Publication(self.run_fs, self.job.include, self.job.exclude, overwrite=True, progress=False, guard=self)

    def will_do(self, record: RunRecord) -> bool:
        """Whether another worker has run the case meanwhile."""
        known = self.existing.record
        if (known is not None and record.id == known.id) or record.job != self.job.key:
            return False
        if self.retry_failed and not record.success:
            return False
        return not damage_of(result_of(self.run_fs, record))

    def retire(self, record: RunRecord) -> None:
        """Make the outcome of a run void that is being replaced."""
        retire(self.fs, self.job.case, record)

    def check(self) -> None:
        """Refuse to publish a run of a job that was replaced or removed.

        The client that does that looks at the run's register afterwards, and finds the claim if it came first.
        """
        if not self._is_wanted():
            raise self.replaced()

    def _is_wanted(self) -> bool:
        job = self._job_now()
        return job is not None and job.key == self.job.key

    def _job_now(self) -> Job | None:
        """The job of the case; None if it was removed, which S3 reports as a refusal to logins that may not list."""
        try:
            return read_job(self.fs, self.job.case)
        except CaseNotFoundError:
            return None
        except PermissionDeniedError as exc:
            if not exc.may_be_missing:
                raise
            return None

    def replaced(self) -> CaseExistsError:
        """The error for a case that is not what this worker began with."""
        return CaseExistsError.for_url(self.fs.url(), f"Case {self.job.case!r} was replaced or removed while it ran")

    def complete_outcome(self, record: RunRecord, files: RunResult | None = None) -> Ended | None:
        """Write the outcome of a finished run if the worker that ran it died before it could.

        Returns:
            The state of the case; None if the run was replaced or removed meanwhile.
        """
        path = self.job.outcome_path(record)
        try:
            outcome = self.fs.fetch_start(path, READ_AT_MOST)
        except (NotFoundError, PermissionDeniedError) as exc:
            if isinstance(exc, PermissionDeniedError) and not exc.may_be_missing:
                raise
            try:
                state = self.write_outcome(record, self.summarise_published(files or result_of(self.run_fs, record)))
            except (NotFoundError, DamagedRunError):
                if self._has_run(record):
                    raise
                return None
            if self._has_run(record):
                return state
            self._take_back(path)
            return None
        if outcome and self._is_of_job(outcome, path):
            return state_of(record)
        if outcome:
            retire(self.fs, self.job.case, record)
        # Void: another client began to replace the run, or changed the job's parameters. The same run, with an id of
        # its own, can have an outcome.
        renewed = record.model_copy(update={"id": uuid.uuid4().hex})
        register = read_register(self.run_fs)
        same = register.record is not None and register.record.id == record.id
        if not same or self.run_fs.swap(RECORD_NAME, renewed.to_json(), register.tag) is None:
            return None
        return self.complete_outcome(renewed, files)

    def _is_of_job(self, outcome: bytes, path: str) -> bool:
        """Whether an outcome has the parameters of the job: a client that was replacing them may have died."""
        try:
            return Outcome.from_json(outcome, redact(self.fs.url(path))).parameters == self.job.parameters
        except RecordError:
            return False

    def _take_back(self, path: str) -> None:
        """Remove the outcome of a run that is gone; a void one stays, or a slower worker could create it again."""
        found = self.fs.read_tagged(path)
        if found is not None and found[0]:
            self.fs.remove_tagged(path, found[1])

    def _has_run(self, record: RunRecord) -> bool:
        now = read_record(self.run_fs)
        return now is not None and now.id == record.id

    def check_free(self) -> None:
        """Refuse to simulate what has no model, and to replace a run that the study did not make.

        Raises:
            ModelError: If the case was adopted.
            CaseExistsError: If a run exists at the case's URL that is not that of an older job of the case.
        """
        case, record, url = self.job.case, self.existing.record, self.run_fs.url()
        if self.job.model is None:
            raise ModelError(
                f"Case {case!r} cannot be run: it was adopted, and its model is unknown; adopt a run again, or add the "
                "case with its model and overwrite=True"
            )
        if record is None or self.finished:
            return
        # Inputs are kept, so the model of an older job is among them.
        if record.job is None or not self.fs.is_readable(f"{INPUTS}/{record.model_sha256}.idf"):
            raise CaseExistsError.for_foreign_run(url, case)

    def copy(self, source: Source) -> Ended | None:
        """Copy a successful run that answers the same job; None if there is none, or if it is damaged.

        Nor is one copied that another EnergyPlus made than this worker would run, or that may have read other files.
        """
        if self.job.external_files == "leave":
            return None
        try:
            found = open_result(source.url, storage_options=source.storage_options)
            if found.record is None or found.record.job != self.job.key or not found.success:
                return None
            if not self.would_run(found.record.energyplus_version):
                return None
            copied = self.publication.copy(found, self.existing)
            return self.write_outcome(copied.record, self.summarise_published(copied))
        except (FileNotFoundError, DamagedRunError, ModelError, RecordError):
            return None

    def would_run(self, version: str | None) -> bool:
        """Whether this worker would run that version of EnergyPlus; the model's own where none is installed."""
        if version is None or self.job.model is None:
            return False
        with self.inputs.local_copy(self.job.model.name) as model:
            wanted = version_of(model.read_bytes())
        try:
            return version == version_string(find_installation(wanted).version)
        except EnergyPlusNotFoundError:
            return version.split(".")[:2] == version_string(wanted).split(".")[:2]

    def summarise_published(self, result: RunResult) -> Summary:
        """Summarise a run from its files in the store."""
        names = [] if result.record is None else [entry.name for entry in result.record.files]
        counts = read_counts(names, result.output_prefix, result.files.read_bytes)
        ending = Ending(result.success, False, result.message, *counts)
        with result.local_sql() or contextlib.nullcontext() as sql:
            return summarise(sql, ending, self.metrics)

    def summarise_local(self, result: SimulationResult, ending: Ending) -> Summary:
        """Summarise a run from its files on this machine."""
        directory = Path(result.run_dir)
        sql = output_name(os.listdir(directory), result.output_prefix, ".sql")
        return summarise(None if sql is None else directory / sql, ending, self.metrics)

    def write_outcome(self, record: RunRecord | None, summary: Summary) -> Ended:
        """Write how a run ended: the last step of a case."""
        assert record is not None  # noqa: S101 - for the type checker
        state, path = state_of(record), self.job.outcome_path(record)
        outcome = Outcome(
            case=self.job.case,
            state=state,
            key=self.job.key,
            parameters=self.job.parameters,
            record=record.model_copy(update={"files": (), "stdout": "", "stderr": "", "sidecar_ends": {}}),
            summary=summary,
        )
        created = self.fs.create_exclusive(path, outcome.to_json())
        job = self._job_now()
        if job is not None and job.asks_for_same(self.job) and (created or self.fs.fetch_start(path, 1)):
            return state
        if created:  # for a job that did not exist any more at that moment
            self.fs.remove_if_exists([path])
        if job is not None and job.key == self.job.key:  # other parameters, or metrics
            finished = finish_case(self.fs, self.job.case)
            if finished is not None:
                return finished
        register = read_register(self.run_fs)
        gone = register.record is None or register.record.id != record.id
        if job is None and not gone:
            gone = remove_run(self.run_fs, register)
        if gone:  # only this worker could still have created the outcomes that were made void
            run = EndedRun.of(self.job.key, record.id)
            self.fs.remove_if_exists([outcome_path(state, self.job.case, run) for state in get_args(Ended)])
        raise self.replaced()


def _look_up(fs: FsspecFileSystem, case: str, retry_failed: bool = False, known: Job | None = None) -> _Task:
    """Request study, job and record at the same time; the job unless it is known."""
    publication = Publication(fs.joinpath(case), include=None, exclude=(), overwrite=True, progress=False)
    with ThreadPoolExecutor(3) as pool:
        stop = current_stop()
        study = pool.submit(stopped_by(stop, read_study, fs))
        read = pool.submit(stopped_by(stop, lambda: known or read_job(fs, case)))
        existing = pool.submit(stopped_by(stop, publication.find_existing))
    described, job = study.result(), read.result()
    return _Task(fs, job, described.metrics + job.metrics, existing.result(), retry_failed)


async def _simulate(task: _Task, gate: AbstractAsyncContextManager[Any]) -> Ended:
    job = task.job
    assert job.model is not None  # noqa: S101 - checked before
    inputs = await in_thread(_fetch, task)
    facts = {
        "id": uuid.uuid4().hex,
        "inputs": tuple(file.model_copy(update={"name": path}) for path, file in sorted(job.files.items())),
        "model_sha256": job.model.sha256,
        "weather_sha256": job.weather.sha256 if job.weather else None,
        "job": job.key,
    }
    with inputs.in_use:
        async with gate:
            options = {**job.options, "energyplus": inputs.energyplus}
            run = LocalRun(task.publication, inputs.weather, options, facts, inputs.files)
            start = time.monotonic()
            given_up: Ending | None = None
            try:
                if isinstance(inputs.model, ModelError):
                    result, given_up = run.given_up(inputs.model, 0.0)
                else:
                    result = await run.async_energyplus(inputs.model)
            except Exception as exc:
                if _blames_machine(exc):
                    raise
                result, given_up = run.given_up(exc, time.monotonic() - start)
    try:
        ending = await in_thread(run.ending, result) if given_up is None else given_up
        if ending.cut:
            # Nothing is kept: outputs that a full disk has cut must not go on filling it.
            await in_thread(run.remove)
            raise SimulationError(f"{ending.message} (the case stays pending)", exit_code=result.exit_code)
        summary = await in_thread(task.summarise_local, result, ending)
    except BaseException as exc:
        await run.abandon(exc)
        raise
    try:
        published = await run.async_publish(result, task.existing, ending)
    except CaseExistsError:  # the case was replaced or removed: the run is not needed any more
        await in_thread(run.remove)
        raise
    record = published.record
    if record is None or record.id == facts["id"]:
        return await in_thread(task.write_outcome, record, summary)
    state = await in_thread(task.complete_outcome, record)  # another worker was quicker
    if state is None:
        raise task.replaced()
    return state


class _Inputs(NamedTuple):
    """What to run, on this machine.

    Attributes:
        model: The model; or why it cannot be run.
        weather: The weather file.
        files: The local file for each path beside the model.
        energyplus: The EnergyPlus that runs it.
        in_use: Keeps the local copies in the cache until it is closed.
    """

    model: IDFDocument | ModelError
    weather: Path | None
    files: dict[str, Path]
    energyplus: EnergyPlusConfig
    in_use: contextlib.ExitStack


def _fetch(task: _Task) -> _Inputs:
    """Fetch the inputs through the cache."""
    job = task.job
    assert job.model is not None  # noqa: S101 - checked before
    files = task.inputs
    with contextlib.ExitStack() as stack:

        def fetch(name: str) -> Path:
            return stack.enter_context(files.local_copy(name))

        model: IDFDocument | ModelError
        try:
            parsed = parse_model(fetch(job.model.name).read_bytes())
            energyplus = find_installation(parsed.version)
            model = parsed.to_run(energyplus, job.options)
        except ModelError as exc:
            model, energyplus = exc, find_installation()
        weather = fetch(job.weather.name) if job.weather else None
        others = {path: fetch(file.name) for path, file in job.files.items()}
        return _Inputs(model, weather, others, energyplus, stack.pop_all())


def _blames_machine(exc: Exception) -> bool:
    """Whether a run failed because of this machine, and not because of what it should run.

    The model was parsed before, so a ModelError is about a file that could not be placed beside it.
    """
    blamed = exc.__cause__ if isinstance(exc, IdfKitError) else exc
    return isinstance(blamed, OSError | MemoryError | ModelError) and not isinstance(blamed, TimeoutError)
