"""The memory of another process, seen from outside."""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import psutil  # type: ignore[import-untyped,unused-ignore]  # its stubs are a package of their own
from wire import SPAWN


def peak(target: Callable[..., None], *args: Any) -> tuple[float, float]:
    """MB above what a fresh process held when it was ready, looked at every 2 ms, and the seconds it then took.

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
    return (highest - baseline) / 1e6, seconds


def ready(pipe: Connection) -> None:
    """Say that what comes next is to be measured, and wait until it is."""
    pipe.send(None)
    pipe.recv()
