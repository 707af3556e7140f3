"""Run the cases of a study in this process or on an executor, and report how each was run."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from idfkit.exceptions import EnergyPlusNotFoundError

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.interrupts import in_thread, run_coroutine
from idfkit_fs._util.parallel import THREADS
from idfkit_fs._util.progress import progress_bar
from idfkit_fs._util.urls import last_name
from idfkit_fs.errors import IdfkitFsError, RecordError
from idfkit_fs.studies.job import Job
from idfkit_fs.studies.layout import short_key
from idfkit_fs.studies.plan import Planned, Source
from idfkit_fs.studies.report import CaseRun, RunReport, incomplete
from idfkit_fs.studies.stored import read_job
from idfkit_fs.studies.worker import async_run_case, run_case

__all__ = ["NO_WORKER", "check_executor", "run_cases"]

# Errors that every other case would meet too.
_HOPELESS = (PermissionError, EnergyPlusNotFoundError)
NO_WORKER = (
    "A script that starts processes needs the line if __name__ == '__main__': above what it does, because each process "
    "imports the script. If it has that line, a worker was killed, perhaps for its memory: try again"
)
"""What to do if all processes of an executor ended before they had done anything."""
# Cases that download inputs or publish while the processors simulate others.
_AHEAD = 2

Start = Callable[[Planned, Job | None], "Future[CaseRun] | asyncio.Task[CaseRun]"]


def check_executor(executor: object) -> None:
    """Refuse what looks like an executor, before it is given anything to do.

    Args:
        executor: What the caller gave; None is fine.

    Raises:
        TypeError: If it is not a ``concurrent.futures.Executor``: then nothing promises that its futures say when they
            are done, and cases would be submitted whose ends are never reported.
        SystemExit: In a worker process that is only importing the script, which has no guard. The script's own process
            says so.
    """
    if executor is not None and not isinstance(executor, Executor):
        kind = type(executor)
        name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        raise TypeError(
            f"executor must be a concurrent.futures.Executor, not {name}; a Dask client has get_executor(), Ray and "
            "submitit need an adapter (docs/engines/other.md), and run_case(url, case) is a function for any engine"
        )
    # As multiprocessing itself finds out; its error would be pages of tracebacks, one of each worker.
    if isinstance(executor, ProcessPoolExecutor) and getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(1)


def run_cases(
    fs: FsspecFileSystem,
    cases: Sequence[Planned],
    sources: Mapping[str, Source] | None,
    executor: Executor | None,
    max_workers: int | None,
    progress: bool,
) -> RunReport:
    """Run cases. Each job is read shortly before its case begins, so the first case begins at once.

    Of cases that ask for the same run, one is simulated; the others wait for it, and are copied.

    Args:
        fs: The study.
        cases: The cases.
        sources: Runs that exist already, by the beginnings of their jobs' hashes; None to copy none, of no case.
        executor: Where to run them; None for this process.
        max_workers: The number of simulations at the same time in this process; by default the number of processors
            that this process may use.
        progress: Whether to show a progress bar.

    Returns:
        How each case was run.

    Raises:
        IncompleteRunError: If some cases could not be run, for a reason outside EnergyPlus.
    """

    async def run(done: Callable[[int], Any]) -> _Cases:
        engine = _here(fs, max_workers) if executor is None else _on_executor(fs, executor)
        cases_run = _Cases(fs, engine, sources, done)
        await cases_run.run(cases)
        return cases_run

    with progress_bar(len(cases), f"Running {last_name(fs.url())}", "case", progress) as done:
        ended = run_coroutine(run(done))
    report = RunReport(tuple(sorted(ended.runs)))
    if ended.errors:
        if not ended.runs and all(isinstance(error, BrokenExecutor) for error in ended.errors.values()):
            broken = incomplete(report, ended.errors, "could not be run", f". {NO_WORKER}")
            raise broken from None  # where the pool noticed it does not help the user
        damaged = all(isinstance(error, RecordError) for error in ended.errors.values())
        remedy = (
            "; add these cases again with overwrite=True" if damaged else "; run the study again to run these cases"
        )
        raise incomplete(report, ended.errors, "could not be run", remedy)
    return report


class _Engine(NamedTuple):
    """What runs cases.

    Attributes:
        start: Starts one case.
        places: The cases whose jobs are being read, and in this process those that are under way too.
        keeps_place: Whether a case keeps its place until it has ended.
    """

    start: Start
    places: asyncio.Semaphore
    keeps_place: bool


class _Cases:
    """Starts cases, and collects how each was run.

    Args:
        fs: The study.
        engine: What runs the cases.
        sources: Runs that exist already, by the beginnings of their jobs' hashes; None to copy none, of no case.
        done: Called with the number of cases that have just ended.

    Attributes:
        runs: How the cases were run.
        errors: The errors of the cases that could not be run.
    """

    def __init__(
        self,
        fs: FsspecFileSystem,
        engine: _Engine,
        sources: Mapping[str, Source] | None,
        done: Callable[[int], Any],
    ) -> None:
        self.runs: list[CaseRun] = []
        self.errors: dict[str, BaseException] = {}
        self._fs = fs
        self._engine = engine
        self._sources = sources
        self._done = done
        self._started: set[Future[CaseRun] | asyncio.Task[CaseRun]] = set()
        self._same: dict[str, asyncio.Future[Source | None]] = {}
        self._stopped = False

    async def run(self, cases: Iterable[Planned]) -> None:
        """Run all cases; cancelling cancels those that have been started."""
        before = asyncio.Event()
        before.set()
        async with asyncio.TaskGroup() as tasks:
            for planned in cases:
                await self._engine.places.acquire()
                if self._stopped:
                    break
                read = asyncio.Event()
                tasks.create_task(self._run(planned, before, read))
                before = read

    async def _run(self, planned: Planned, before: asyncio.Event, read: asyncio.Event) -> None:
        """Read a job, then run the case, or wait for one that asks for the same. The first of them is the first given.

        Args:
            planned: The case.
            before: Set when the case before has found out which one it waits for.
            read: Set for this case.
        """
        with contextlib.ExitStack() as place:
            place.callback(self._engine.places.release)
            try:
                job = await self._read(planned)
                await before.wait()
                if job is None or self._sources is None:
                    await self._run_one(planned, job, place)
                    return
                if job.model is None and planned.retry_failed:  # adopted: nothing to run again
                    self._done(1)
                    return
                planned = replace(planned, source=self._sources.get(short_key(job.key)))
                first = self._same.get(job.key)
                if first is None:
                    self._same[job.key] = asyncio.get_running_loop().create_future()
            finally:
                read.set()
            if first is None:
                await self._run_first(planned, job, job.key, place)
                return
        await self._run_after(planned, job.key, first)

    async def _read(self, planned: Planned) -> Job | None:
        """The job of a case; None if it does not matter now, or cannot be read: running the case says why."""
        if self._sources is None:
            return None
        try:
            return await in_thread(read_job, self._fs, planned.case)
        except (IdfkitFsError, OSError):
            return None

    async def _run_first(self, planned: Planned, job: Job | None, key: str, place: contextlib.ExitStack) -> None:
        """Run a case that others may be waiting for."""
        source, ended = None, self._same[key]
        try:
            if await self._run_one(planned, job, place) == "ok":
                source = Source(self._fs.url(planned.case), self._fs.storage_options)
        finally:
            if source is None:
                del self._same[key]
            ended.set_result(source)

    async def _run_after(self, planned: Planned, key: str, first: asyncio.Future[Source | None]) -> None:
        """Copy a case from the one that asks for the same, when that one has ended; run it if that one is not ok."""
        while (source := await asyncio.shield(first)) is None:
            other = self._same.get(key)
            if other is None:
                self._same[key] = asyncio.get_running_loop().create_future()
                break
            first = other
        with contextlib.ExitStack() as place:
            await self._engine.places.acquire()
            place.callback(self._engine.places.release)
            # The job was read a while ago, so it is read again.
            if source is None:
                await self._run_first(planned, None, key, place)
            else:
                await self._run_one(replace(planned, source=source), None, place)

    async def _run_one(self, planned: Planned, job: Job | None, place: contextlib.ExitStack) -> str | None:
        """Run one case; its state, or None if it could not be run."""
        if self._stopped:
            return None
        try:
            started = self._engine.start(planned, job)
        except (RuntimeError, TypeError) as exc:  # the executor is broken, was shut down, or returns no future
            self.errors[planned.case] = exc
            self._stop()
            return None
        self._started.add(started)
        if not self._engine.keeps_place:
            place.close()
        try:
            run = await asyncio.wrap_future(started)
        except Exception as exc:  # noqa: BLE001 - raised at the end; the other cases go on
            self.errors[planned.case] = exc
            if isinstance(exc, _HOPELESS) or isinstance(exc.__cause__, _HOPELESS):
                self._stop()
            return None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._stopped or (task and task.cancelling()):
                raise
            self.errors[planned.case] = RuntimeError("the executor cancelled the case")
            return None
        finally:
            self._started.discard(started)
            self._done(1)
        self.runs.append(run)
        return run.state

    def _stop(self) -> None:
        """Start no further case, and cancel the others; an executor does not cancel a case that is running already."""
        self._stopped = True
        for started in [*self._started]:
            started.cancel()


def _on_executor(fs: FsspecFileSystem, executor: Executor) -> _Engine:
    """Run cases on an executor, which has a queue of its own."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="idfkit-fs-plan"))
    url, options = fs.url(), fs.storage_options

    def start(planned: Planned, _job: Job | None) -> Future[CaseRun]:
        future = executor.submit(_run_with_token, uuid.uuid4().hex, url, options, planned)
        if not isinstance(future, Future):  # no further case is submitted to such an adapter
            kind = type(future).__name__
            raise TypeError(f"the executor's submit() returned {kind}, and not a concurrent.futures.Future")
        return future

    return _Engine(start, asyncio.Semaphore(THREADS), keeps_place=False)


def _run_with_token(_token: str, url: str, storage_options: dict[str, Any], planned: Planned) -> CaseRun:
    """Run a case. Dask returns the same result, or error, for a call with the same arguments, so a token differs."""
    return run_case(url, planned.case, storage_options, retry_failed=planned.retry_failed, source=planned.source)


def _here(fs: FsspecFileSystem, max_workers: int | None) -> _Engine:
    """Run a case as a task of the running loop: EnergyPlus is a process, and cancelling the task ends it."""
    workers = max_workers or _processors()
    simulating = asyncio.Semaphore(workers)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(workers + 2 * _AHEAD, thread_name_prefix="idfkit-fs-run"))
    loop.set_exception_handler(_ignore_cancelled)

    def start(planned: Planned, job: Job | None) -> asyncio.Task[CaseRun]:
        retry_failed, source = planned.retry_failed, planned.source
        run = async_run_case(fs, planned.case, retry_failed=retry_failed, source=source, gate=simulating, job=job)
        return loop.create_task(run)

    return _Engine(start, asyncio.Semaphore(workers + _AHEAD), keeps_place=True)


def _processors() -> int:
    """The number of processors that this process may use; a container or a job may limit it."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        count = min(count, max(1, int(quota) // int(period)))
    return count


def _ignore_cancelled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Do not log a cancelled ``gather()`` of idfkit's as an error that was never retrieved."""
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)
