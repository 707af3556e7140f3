"""The memory of another process, seen from outside."""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped,unused-ignore]  # its stubs are a package of their own
from wire import SPAWN


class Peak(NamedTuple):
    """The most memory that a process took.

    Attributes:
        grown: MB above what it held when it was ready.
        total: MB with all that it held.
        seconds: What it took from then on.
    """

    grown: float
    total: float
    seconds: float


def peak(target: Callable[..., None], *args: Any) -> Peak:
    """What a fresh process takes once it is ready, looked at every 2 ms.

    The function is called with the arguments and, last, a pipe. It says by the pipe that it is ready, waits for the
    answer, does what is to be measured, and says so.
    """
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(*args, there))
    process.start()
    there.close()
    here.recv()
    memory = psutil.Process(process.pid).memory_info
    baseline = highest = memory().rss
    here.send(None)
    start = time.perf_counter()
    while not here.poll(0.002):
        highest = max(highest, memory().rss)
    here.recv()
    seconds = time.perf_counter() - start
    process.join()
    return Peak((highest - baseline) / 1e6, highest / 1e6, seconds)


def ready(pipe: Connection) -> None:
    """Say that what comes next is to be measured, and wait until it is."""
    pipe.send(None)
    pipe.recv()
