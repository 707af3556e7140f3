"""Let a signal end a run in time, with nothing left behind."""

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
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["stoppable"]

# Whoever takes a machine back waits for 30 s or more (Kubernetes, Slurm, AWS Batch), but nobody wants to.
_GRACE_SECONDS = 4.0


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Have SIGTERM, SIGINT and SIGHUP end what runs in here, which must be the last thing that the process does.

    Then the processes it has started are killed and the temporary files removed, and the process exits with 128 and
    the signal's number, within 5 seconds even if something hangs. Without a signal, temporary files that are left
    stay: they are runs that could not be published, and an error names them.
    """
    came: list[int] = []
    over = threading.Event()
    directory = tempfile.mkdtemp(prefix="idfkit-fs-")

    def stop(number: int, _frame: FrameType | None) -> None:
        for handled in handlers:
            signal.signal(handled, signal.SIG_IGN)  # a second one must not break what this one has begun
        logging.disable()  # asyncio tells at length of processes that are killed behind its back
        came.append(number)
        over.set()
        raise SystemExit(128 + number)

    def watch() -> None:
        over.wait()
        if came:
            # A daemon: a process that ends by itself does not wait for it.
            time.sleep(_GRACE_SECONDS)
            _kill_children()
            shutil.rmtree(directory, ignore_errors=True)
            os._exit(128 + came[0])

    before, tempfile.tempdir = tempfile.tempdir, directory
    # Begun here and not by the handler, which may interrupt the beginning of another thread.
    threading.Thread(target=watch, name="idfkit-fs-watch", daemon=True).start()
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
        if came:
            for pid in _kill_children():
                with contextlib.suppress(ChildProcessError):
                    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            shutil.rmtree(directory, ignore_errors=True)
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                print(
                    f"Stopped by {signal.Signals(came[0]).name}; what was under way is still missing", file=sys.stderr
                )
            os._exit(128 + came[0])  # whatever has been raised, and without a word of what else is cut short
        over.set()
        tempfile.tempdir = before
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _signals() -> list[int]:
    """What tells a program to end; a lost terminal too, unless nohup has it ignored."""
    hang_up = getattr(signal, "SIGHUP", None)
    lost = [hang_up] if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN else []
    return [signal.SIGTERM, signal.SIGINT, *lost]


def _kill_children() -> list[int]:
    """Kill whatever this process has started, and what that has started, where the system tells (Linux)."""
    children: dict[int, list[int]] = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # pid (name) state parent ...: see proc(5). The name may hold anything.
            parent = path.read_text("utf-8", "replace").rpartition(")")[2].split()[1]
            children[int(parent)].append(int(path.parent.name))
    found = list(children[os.getpid()])
    for pid in found:
        found.extend(children[pid])
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found
