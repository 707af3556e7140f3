"""The memory of another process, seen from outside."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped,unused-ignore]  # its stubs are a package of their own
from wire import SPAWN

# A process that has imported what is needed anyway, of which each fresh one is a copy: imports take seconds.
READY = multiprocessing.get_context("forkserver")
READY.set_forkserver_preload(
    ["dask.array", "idfkit.simulation", "idfkit_fs.studies.study", "pandas", "pyarrow.parquet", "s3fs", "xarray"]
)


class Peak(NamedTuple):
    """The most memory that a process took.

    Attributes:
        grown: MB above what it held when it was ready.
        total: MB with all that it held.
        seconds: What it took from then on.
        processor: CPU seconds of all its threads, from then on.
    """

    grown: float
    total: float
    seconds: float
    processor: float


def peak(
    target: Callable[..., None], *args: Any, at_start: Callable[[], object] = lambda: None, context: Any = SPAWN
) -> Peak:
    """What a fresh process takes once it is ready, looked at every 2 ms.

    The function is called with the arguments and, last, a pipe. It calls `ready`, does what is to be measured, and
    calls `done`.
    """
    here, there = context.Pipe()
    process = context.Process(target=target, args=(*args, there))
    process.start()
    there.close()
    before = here.recv()
    at_start()
    memory = psutil.Process(process.pid).memory_info
    baseline = highest = memory().rss
    here.send(None)
    start = time.perf_counter()
    while not here.poll(0.002):
        highest = max(highest, memory().rss)
    seconds = time.perf_counter() - start
    after = here.recv()
    process.join()
    return Peak((highest - baseline) / 1e6, highest / 1e6, seconds, after - before)


def ready(pipe: Connection) -> None:
    """Say that what comes next is to be measured, and wait until it is."""
    pipe.send(time.process_time())
    pipe.recv()


def done(pipe: Connection) -> None:
    """Say that it has been done."""
    pipe.send(time.process_time())
