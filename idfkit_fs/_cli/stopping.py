"""Let a signal end a run quickly, with no process and no file left behind."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

import psutil

__all__ = ["stoppable"]

# Kubernetes, SLURM and AWS Batch wait 30 s or more before they kill a process; a person at a terminal does not.
_GRACE_SECONDS = 4.0


@contextlib.contextmanager
def stoppable(left: str) -> Iterator[None]:
    """Let SIGTERM, SIGINT and SIGHUP end the block, which must be the last thing that the process does.

    After a signal, the processes that this process started are killed, the temporary files are removed, and the process
    exits with 128 plus the signal's number: within 5 seconds, even if something hangs. Without a signal, temporary
    files that are left stay: they are runs that could not be published, and an error names them.

    Args:
        left: What a signal leaves, to be said at the end.
    """
    received: list[int] = []
    over = threading.Event()
    directory = tempfile.mkdtemp(prefix="idfkit-fs-")

    def stop(number: int, _frame: FrameType | None) -> None:
        for handled in handlers:
            signal.signal(handled, signal.SIG_IGN)  # a second signal must not interrupt the cleanup
        logging.disable()  # asyncio logs that its child processes were killed
        received.append(number)
        over.set()
        raise SystemExit(128 + number)

    def end_anyway() -> None:
        over.wait()
        if received:
            time.sleep(_GRACE_SECONDS)  # this thread is a daemon, and ends with a process that exits in time
            _kill_children()
            shutil.rmtree(directory, ignore_errors=True)
            end()

    def end() -> NoReturn:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            print(f"Stopped by {signal.Signals(received[0]).name}; {left}", file=sys.stderr, flush=True)
        os._exit(128 + received[0])  # whatever was raised, and without messages of interrupted threads

    before, tempfile.tempdir = tempfile.tempdir, directory
    # The handler must not start a thread: it may interrupt the start of another one.
    threading.Thread(target=end_anyway, name="idfkit-fs-watch", daemon=True).start()
    handlers: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in _signals()}
            for number in handlers:
                signal.signal(number, stop)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.rmdir(directory)
    finally:
        if received:
            psutil.wait_procs(_kill_children(), timeout=2)
            shutil.rmtree(directory, ignore_errors=True)
            end()
        over.set()
        tempfile.tempdir = before
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _signals() -> list[int]:
    """The signals that end a program, unless they are ignored, as under nohup, or in the background of a script."""
    names = ("SIGTERM", "SIGINT", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def _kill_children() -> list[psutil.Process]:
    """Kill the processes that this process started, and those that they started."""
    children: list[psutil.Process] = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    return children
