"""Run the cases of a study in this process or on an executor, and report how each was run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from idfkit.exceptions import EnergyPlusNotFoundError

from idfkit_fs._util.interrupts import run_coroutine
from idfkit_fs._util.progress import progress_bar
from idfkit_fs._util.urls import last_name
from idfkit_fs.errors import RecordError
from idfkit_fs.studies.plan import Group, Planned, Source
from idfkit_fs.studies.report import CaseRun, RunReport, incomplete
from idfkit_fs.studies.worker import async_run_case, run_case

__all__ = ["check_executor", "run_cases"]

# Errors that every other case would meet too.
_HOPELESS = (PermissionError, EnergyPlusNotFoundError)
# Cases that download inputs or publish while the processors simulate others.
_AHEAD = 2

Start = Callable[[Planned], "Future[CaseRun] | asyncio.Task[CaseRun]"]


def check_executor(executor: object) -> None:
    """Refuse what looks like an executor, before it is given anything to do.

    Args:
        executor: What the caller gave; None is fine.

    Raises:
        TypeError: If it is no [concurrent.futures.Executor][]: then nothing promises that its futures say when they are
            done, and cases would be submitted that nobody hears of.

    Examples:
        >>> check_executor(print)
        Traceback (most recent call last):
        ...
        TypeError: executor must be a concurrent.futures.Executor, not builtin_function_or_method; ...
    """
    if executor is not None and not isinstance(executor, Executor):
        kind = type(executor)
        name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        raise TypeError(
            f"executor must be a concurrent.futures.Executor, not {name}; a Dask client has get_executor(), Ray and "
            "submitit need an adapter (docs/engines/other.md), and run_case(url, case) is a function for any engine"
        )


def run_cases(
    url: str,
    storage_options: dict[str, Any],
    groups: list[Group],
    executor: Executor | None,
    max_workers: int | None,
    progress: bool,
) -> RunReport:
    """Run groups of cases.

    Args:
        url: The study's URL.
        storage_options: The storage options for the URL.
        groups: Cases that ask for the same run.
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
        if executor is None:
            start = _start_here(url, storage_options, max_workers)
        else:
            start = _start_on_executor(executor, url, storage_options)
        cases = _Cases(start, lambda case: Source(f"{url}/{case}", storage_options), done)
        await cases.run(groups)
        return cases

    with progress_bar(sum(map(len, groups)), f"Running {last_name(url)}", "case", progress) as done:
        cases = run_coroutine(run(done))
    report = RunReport(tuple(sorted(cases.runs)))
    if cases.errors:
        damaged = all(isinstance(error, RecordError) for error in cases.errors.values())
        remedy = (
            "; add these cases again with overwrite=True" if damaged else "; run the study again to run these cases"
        )
        raise incomplete(report, cases.errors, "could not be run", remedy)
    return report


class _Cases:
    """Starts cases, and collects how each was run.

    Args:
        start: Starts one case.
        source_of: The source that a finished case is for others.
        done: Called with the number of cases that have just ended.

    Attributes:
        runs: How the cases were run.
        errors: The errors of the cases that could not be run.
    """

    def __init__(self, start: Start, source_of: Callable[[str], Source], done: Callable[[int], Any]) -> None:
        self.runs: list[CaseRun] = []
        self.errors: dict[str, BaseException] = {}
        self._start = start
        self._source_of = source_of
        self._done = done
        self._started: set[Future[CaseRun] | asyncio.Task[CaseRun]] = set()
        self._stopped = False

    async def run(self, groups: Iterable[Group]) -> None:
        """Run all groups; cancelling cancels the cases that have been started."""
        async with asyncio.TaskGroup() as tasks:
            for group in groups:
                tasks.create_task(self._run_group(group, tasks))

    async def _run_group(self, group: Group, tasks: asyncio.TaskGroup) -> None:
        """Run the cases one after the other until one is ok, then copy the others from it."""
        for number, planned in enumerate(group, start=1):
            if await self._run_one(planned) == "ok":
                source = self._source_of(planned.case)
                for other in group[number:]:
                    tasks.create_task(self._run_one(replace(other, source=source)))
                return

    async def _run_one(self, planned: Planned) -> str | None:
        """Run one case; its state, or None if it could not be run."""
        if self._stopped:
            return None
        try:
            started = self._start(planned)
        except (RuntimeError, TypeError) as exc:  # the executor is broken, was shut down, or returns no future
            self.errors[planned.case] = exc
            self._stop()
            return None
        self._started.add(started)
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


def _start_on_executor(executor: Executor, url: str, storage_options: dict[str, Any]) -> Start:
    """What starts a case on an executor."""

    def start(planned: Planned) -> Future[CaseRun]:
        future = executor.submit(_run_with_token, uuid.uuid4().hex, url, storage_options, planned)
        if not isinstance(future, Future):  # an adapter that is none: no further case is submitted
            kind = type(future).__name__
            raise TypeError(f"the executor's submit() returned {kind}, and not a concurrent.futures.Future")
        return future

    return start


def _run_with_token(_token: str, url: str, storage_options: dict[str, Any], planned: Planned) -> CaseRun:
    """Run a case. Dask returns the same result, or error, for a call with the same arguments: hence the token."""
    return run_case(url, planned.case, storage_options, retry_failed=planned.retry_failed, source=planned.source)


def _start_here(url: str, storage_options: dict[str, Any], max_workers: int | None) -> Start:
    """What starts a case as a task of the running loop: EnergyPlus is a process, and cancelling the task ends it."""
    workers = max_workers or _processors()
    simulating, under_way = asyncio.Semaphore(workers), asyncio.Semaphore(workers + _AHEAD)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(workers + 2 * _AHEAD, thread_name_prefix="idfkit-fs-run"))
    loop.set_exception_handler(_ignore_cancelled)

    async def run(planned: Planned) -> CaseRun:
        async with under_way:
            return await async_run_case(
                url,
                planned.case,
                storage_options,
                retry_failed=planned.retry_failed,
                source=planned.source,
                gate=simulating,
            )

    return lambda planned: loop.create_task(run(planned))


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
