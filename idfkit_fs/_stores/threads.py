"""One call at a time for the filesystems that only one thread may use.

fsspec's sftp and ftp classes have one connection, and two threads that use it read each other's answers: both then wait
forever, or take each other's bytes. Archives share one position in one file. Classes that hand their work
to an event loop (s3fs, gcsfs, adlfs, http), local files and memory work with any number of threads.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from types import TracebackType
from typing import Any

from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.backends import OBJECT_STORES, behind, protocols

__all__ = ["one_at_a_time"]

# smb, and jupyter, dbfs, github with their sessions of requests: not known to be safe in several threads.
_ONE_THREAD = frozenset(
    {*("sftp", "ssh", "ftp", "smb", "zip", "tar", "libarchive", "git"), *("jupyter", "jlab", "dbfs", "github", "gist")}
)
# Answers of an FTP server, or fsspec's words for them; after them the connection is as before.
_ANSWERS = frozenset({"error_perm", "FileExistsError", "FileNotFoundError"})


@functools.cache
def _supports_threads(cls: type[AbstractFileSystem]) -> bool:
    """Whether every filesystem of a class works with threads, on top of any other filesystem."""
    names = (cls.protocol,) if isinstance(cls.protocol, str) else cls.protocol
    return not (OBJECT_STORES | {"file", "memory"}).isdisjoint(names)


class _Turn:
    """A lock that is taken around each call, and that opens a lost connection again for the next one.

    An FTP transfer that fails half way leaves an answer behind, which the next command would take for its own.
    """

    def __init__(self, fs: AbstractFileSystem) -> None:
        self._fs = weakref.ref(fs)
        self._lock = threading.RLock()
        self._depth = 0
        self._is_lost = False

    def __enter__(self) -> None:
        self._lock.acquire()
        try:
            fs = self._fs()
            if fs is not None and self._depth == 0 and (self._is_lost or _is_closed(fs)):
                fs._connect()  # noqa: SLF001 - fsspec has no other way to connect again
                self._is_lost = False
        except BaseException:
            self._lock.release()
            raise
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._depth -= 1
        fs = self._fs()
        if exc is not None and fs is not None and type(exc).__name__ not in _ANSWERS and "ftp" in protocols(fs):
            self._is_lost = True
        self._lock.release()


_turns: dict[int, _Turn] = {}


def one_at_a_time(fs: AbstractFileSystem) -> contextlib.AbstractContextManager[None]:
    """What to enter around each call of a filesystem: a lock, if only one thread may use the filesystem.

    Args:
        fs: Any filesystem. Of several that are stacked (an archive on a server), the innermost such one has the lock.

    Returns:
        A context manager that can be entered again and again, and by a thread that has entered it already. It does
        nothing for a filesystem that several threads may use. The same filesystem always has the same one.
    """
    if _supports_threads(type(fs)):  # type: ignore[arg-type]  # mypy finds a metaclass unhashable
        return contextlib.nullcontext()
    alone = [layer for layer in (fs, *behind(fs)) if not _ONE_THREAD.isdisjoint(protocols(layer))]
    if not alone:
        return contextlib.nullcontext()
    innermost = alone[-1]
    # By identity: fsspec's filesystems are equal by their options, and a forked child has one that is equal to its
    # parent's, whose lock another of the parent's threads may have held.
    number = id(innermost)
    turn = _turns.get(number)
    if turn is None:
        # In one step, and without a lock, which a fork might leave locked.
        turn = _turns.setdefault(number, _Turn(innermost))
        weakref.finalize(innermost, _turns.pop, number, None)
    return turn


def _is_closed(fs: AbstractFileSystem) -> bool:
    """Whether an sftp connection was closed by the other side, as servers do to idle ones."""
    client: Any = vars(fs).get("client")
    if not hasattr(client, "get_transport"):
        return False
    transport = client.get_transport()
    return transport is None or not transport.is_active()
