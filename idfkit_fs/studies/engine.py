"""Hand the cases of a study to whatever runs them, and tell what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self

from idfkit.exceptions import EnergyPlusNotFoundError

from idfkit_fs._util.progress import progress_bar
from idfkit_fs._util.urls import last_name
from idfkit_fs.errors import IncompleteRunError
from idfkit_fs.studies.layout import counted
from idfkit_fs.studies.worker import CaseRun, Source, async_run_case, run_case

__all__ = ["Planned", "RunReport", "run_cases"]

# What would befall every other case too.
_HOPELESS = (PermissionError, EnergyPlusNotFoundError)
_PAUSE = 0.2
# Cases that are being fetched or published while others are simulated.
_AHEAD = 2


@dataclass(frozen=True)
class Planned:
    """A case that is to be run.

    Attributes:
        case: The case's name.
        source: A run that it may be copied from.
        again: Whether it is run once more if it failed.
    """

    case: str
    source: Source | None = None
    again: bool = False


@dataclass(frozen=True)
class RunReport:
    """What became of the cases that were to be run.

    Attributes:
        runs: One for each case, in the order of their names.
    """

    runs: tuple[CaseRun, ...]

    @property
    def ok(self) -> tuple[str, ...]:
        """The cases that EnergyPlus ended well."""
        return tuple(run.case for run in self.runs if run.state == "ok")

    @property
    def failed(self) -> tuple[str, ...]:
        """The cases that EnergyPlus ended with an error."""
        return tuple(run.case for run in self.runs if run.state == "failed")

    @property
    def simulated(self) -> tuple[str, ...]:
        """The cases for which EnergyPlus ran."""
        return tuple(run.case for run in self.runs if run.how == "simulated")

    @property
    def reused(self) -> tuple[str, ...]:
        """The cases whose run was copied from another case."""
        return tuple(run.case for run in self.runs if run.how == "reused")

    def __str__(self) -> str:
        how: Counter[str] = Counter(run.how for run in self.runs)
        words = {"simulated": "simulated", "reused": "reused", "found": "done before"}
        parts = [f"{how[name]} {word}" for name, word in words.items() if how[name]]
        ended = f"; {len(self.failed)} of them failed in EnergyPlus" if self.failed else ""
        return f"{counted(len(self.runs))}: {', '.join(parts)}{ended}" if self.runs else "nothing to run"


class _Here:
    """Cases side by side in this process: EnergyPlus is a process of its own, and cancelling a case ends it."""

    def __init__(self, max_workers: int | None) -> None:
        workers = max_workers or _processors()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_ignore_cancelled)
        self._loop.set_default_executor(ThreadPoolExecutor(workers + 2 * _AHEAD, thread_name_prefix="idfkit-fs-run"))
        self._processors = asyncio.Semaphore(workers)
        self._desks = asyncio.Semaphore(workers + _AHEAD)
        self._thread = threading.Thread(target=self._loop.run_forever, name="idfkit-fs-study", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def submit(self, url: str, storage_options: dict[str, Any], planned: Planned) -> Future[CaseRun]:
        """As an executor's, but each case is a task."""
        return asyncio.run_coroutine_threadsafe(self._run(url, storage_options, planned), self._loop)

    async def _run(self, url: str, storage_options: dict[str, Any], planned: Planned) -> CaseRun:
        async with self._desks:
            return await async_run_case(
                url,
                planned.case,
                storage_options,
                again=planned.again,
                source=planned.source,
                gate=self._processors,
            )

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_default_executor()


def _processors() -> int:
    """How many this process may use, which in a container or a job is not how many there are."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        count = min(count, max(1, int(quota) // int(period)))
    return count


def _ignore_cancelled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A cancelled gather() of idfkit's would be told of as an error that nobody has looked at."""
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)


def _run_afresh(_token: str, url: str, storage_options: dict[str, Any], planned: Planned) -> CaseRun:
    """Dask takes the same call for the same result, an error among them; so each call has a token of its own."""
    return run_case(url, planned.case, storage_options, again=planned.again, source=planned.source)


class _Rounds:
    """Cases under way on an engine, and what became of the others."""

    def __init__(
        self,
        submit: Callable[[Planned], Future[CaseRun]],
        source_of: Callable[[str], Source],
        done: Callable[[int], Any],
    ) -> None:
        self._submit = submit
        self._source_of = source_of
        self._done = done
        self._ended: SimpleQueue[Future[CaseRun]] = SimpleQueue()
        self._under_way: dict[Future[CaseRun], Sequence[Planned]] = {}
        self._runs: list[CaseRun] = []
        self._errors: dict[str, BaseException] = {}
        self._stopped = False

    def run(self, groups: Iterable[Sequence[Planned]]) -> RunReport:
        """Run groups of cases; the first of each is simulated, and the others are copied from it."""
        try:
            for group in groups:
                self._begin(group)
            while self._under_way:
                with contextlib.suppress(Empty):
                    # A signal may come to another thread, and then wakes nobody here.
                    self._settle(self._ended.get(timeout=_PAUSE))
        except BaseException:
            self._cancel()
            raise
        report = RunReport(tuple(sorted(self._runs)))
        if self._errors:
            raise _incomplete(report, self._errors)
        return report

    def _begin(self, group: Sequence[Planned]) -> None:
        if self._stopped:
            return
        first = group[0]
        try:
            future = self._submit(first)
        except RuntimeError as exc:  # an executor that is broken, or was shut down
            self._errors[first.case] = exc
            self._cancel()
            return
        self._under_way[future] = group
        future.add_done_callback(self._ended.put)

    def _settle(self, future: Future[CaseRun]) -> None:
        first, *others = self._under_way.pop(future)
        self._done(1)
        try:
            run = future.result()
        except CancelledError:
            return
        except Exception as exc:  # noqa: BLE001 - told at the end; the other cases go on
            self._errors[first.case] = exc
            if isinstance(exc, _HOPELESS) or isinstance(exc.__cause__, _HOPELESS):
                self._cancel()
        else:
            self._runs.append(run)
            if run.state == "ok":
                for other in others:
                    self._begin([replace(other, source=self._source_of(first.case))])
                return
        if others:
            self._begin(others)

    def _cancel(self) -> None:
        self._stopped = True
        for future in list(self._under_way):
            future.cancel()


def _incomplete(report: RunReport, errors: dict[str, BaseException]) -> IncompleteRunError:
    case, first = next(iter(errors.items()))
    more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
    error = IncompleteRunError(
        f"Case {case!r}{more} could not be run: {first}. Running the study again takes up the rest"
    )
    error.report, error.errors = report, errors
    error.__cause__ = first
    return error


def run_cases(
    url: str,
    storage_options: dict[str, Any],
    groups: Sequence[Sequence[Planned]],
    executor: Executor | None,
    max_workers: int | None,
    progress: bool,
) -> RunReport:
    """Run cases, each with those that ask for the same run: the first of these is simulated, and then copied.

    Args:
        url: The study's URL.
        storage_options: What reaches it.
        groups: Groups of cases that ask for the same run.
        executor: What runs them; None for this process.
        max_workers: How many at once in this process; by default as many as it may use processors.
        progress: Whether to show a bar.

    Returns:
        What became of the cases.

    Raises:
        IncompleteRunError: If some could not be run, for a reason that is not EnergyPlus's.
    """

    def source_of(case: str) -> Source:
        return Source(f"{url}/{case}", storage_options)

    with progress_bar(sum(map(len, groups)), f"Running {last_name(url)}", "case", progress) as done:
        if executor is None:
            with _Here(max_workers) as here:
                return _Rounds(partial(here.submit, url, storage_options), source_of, done).run(groups)

        def submit(planned: Planned) -> Future[CaseRun]:
            return executor.submit(_run_afresh, uuid.uuid4().hex, url, storage_options, planned)

        return _Rounds(submit, source_of, done).run(groups)
