"""Files in use: which entries of a cache directory the living processes read.

Each process has one directory in the cache, ``processes/<id>/``, with what it is downloading and an empty file for each
entry that it uses. It holds ``<id>.lock`` as long as it lives, so what a dead process left is recognised and removed.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import re
import shutil
import threading
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from idfkit_fs._cache.directory import file_lock, make_private, try_lock, unlink

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["ProcessDirectory", "keys_in_use", "process_directory"]

# The cache directory may hold other files; only names of this form are ever removed.
_PROCESS = re.compile("[0-9a-f]{32}")


@dataclass(eq=False)
class ProcessDirectory:
    """What this process downloads and uses in one cache directory.

    Attributes:
        path: Holds partial files, and an empty file for each entry in use.
        unaccounted: Bytes that this process added since it last checked the bound of the cache.
    """

    path: Path
    unaccounted: float = math.inf
    _uses: Counter[str] = field(default_factory=Counter)
    _released: deque[str] = field(default_factory=deque)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._pid = os.getpid()
        self._alive = file_lock(self.path.with_suffix(".lock"))
        self._alive.acquire(timeout=-1)  # another process may be checking whether this one lives
        self.path.mkdir(mode=0o700)
        self.sweep()
        atexit.register(self.end)

    def is_this_process(self) -> bool:
        """Whether this object belongs to this process: a forked child inherits those of its parent."""
        return os.getpid() == self._pid

    def use(self, key: str) -> None:
        """Keep an entry from being evicted."""
        with self._guard:
            self._apply_releases()
            if not self._uses[key]:
                (self.path / key).touch()
            self._uses[key] += 1

    def release(self, key: str) -> None:
        """Undo one ``use``."""
        if not self.is_this_process():
            return
        self._released.append(key)
        # The garbage collector calls this too, perhaps while the same thread holds the guard.
        if self._guard.acquire(blocking=False):
            try:
                self._apply_releases()
            finally:
                self._guard.release()

    def _apply_releases(self) -> None:
        while self._released:
            key = self._released.popleft()
            self._uses[key] -= 1
            if not self._uses[key]:
                del self._uses[key]
                unlink(self.path / key)

    def sweep(self) -> None:
        """Remove what is no longer used: what dead processes left, and what this one released."""
        with self._guard:
            self._apply_releases()
        for name in {path.stem for path in self.path.parent.iterdir() if _PROCESS.fullmatch(path.stem)}:
            lock = file_lock(self.path.with_name(f"{name}.lock"))
            if try_lock(lock):
                _remove_process(self.path.with_name(name), lock)

    def end(self) -> None:
        """Remove what this process leaves; another process does so if this one cannot."""
        if self.is_this_process() and self._alive.is_locked:
            _remove_process(self.path, self._alive)


def _remove_process(path: Path, lock: BaseFileLock) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():  # else another thread still writes to it, and the lock file marks it for the next process
        unlink(Path(lock.lock_file))
    with contextlib.suppress(OSError):
        lock.release()


def keys_in_use(directory: Path) -> set[str]:
    """The keys of the entries that any process uses in a cache directory."""
    used: set[str] = set()
    for process in os.scandir(directory / "processes"):
        with contextlib.suppress(OSError):
            used.update(os.listdir(process))
    return used


_processes: dict[Path, ProcessDirectory] = {}
_processes_guard = threading.Lock()


def process_directory(directory: Path) -> ProcessDirectory:
    """This process's part of a cache directory, which is created and checked when it is first needed."""
    with _processes_guard:
        known = _processes.get(directory)
        if known is not None and not known.path.exists():
            known.end()  # the whole cache was removed
            known = None
        if known is None:
            for part in ("", "entries", "locks", "processes"):
                make_private(directory / part)
            known = _processes[directory] = ProcessDirectory(directory / "processes" / uuid.uuid4().hex)
        return known


def _forget_processes() -> None:
    """A forked child gets a part of its own; another thread of its parent may have held the guard during the fork."""
    global _processes_guard
    _processes_guard = threading.Lock()
    _processes.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_processes)
