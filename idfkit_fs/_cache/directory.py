"""The cache directory on this disk: private to its user, locked between processes, and its errors."""

from __future__ import annotations

import contextlib
import errno
import functools
import multiprocessing.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from idfkit_fs._util.files import room
from idfkit_fs.errors import CacheDirectoryError, CacheUnusableError, IdfkitFsError

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = [
    "as_unusable",
    "file_lock",
    "make_private",
    "refuse_unless_private",
    "temporary_directory",
    "try_lock",
    "unlink",
    "unusable",
]


@contextlib.contextmanager
def as_unusable(path: Path) -> Iterator[None]:
    """Map an error of this disk, so that it does not look like an answer of the store."""
    try:
        yield
    except IdfkitFsError:
        raise
    except (OSError, NotImplementedError) as exc:
        raise unusable(exc, path) from exc


def unusable(exc: Exception, path: Path) -> CacheUnusableError:
    """The error for a disk that cannot keep a copy."""
    reason = getattr(exc, "strerror", None) or str(exc)
    remedy = "free disk space (idfkit-fs cache prune), or choose another directory (the option cache_storage)"
    number = getattr(exc, "errno", None) or errno.EIO
    full = room(path) if number in (errno.ENOSPC, errno.EDQUOT) else ""
    return CacheUnusableError(number, f"{reason}; {remedy}{full}", str(path))


def temporary_directory() -> Path:
    """A directory for a cache that ends with this process."""
    return _temporary_directory(os.getpid())


@functools.cache
def _temporary_directory(pid: int) -> Path:
    with as_unusable(Path(os.environ.get("TMPDIR", "/tmp"))):  # noqa: S108 - only named in an error
        directory = tempfile.mkdtemp(prefix=f"idfkit-fs-cache-{pid}-")
    # Unlike atexit, this also runs in the workers of multiprocessing, and not in a child that was forked otherwise.
    multiprocessing.util.Finalize(None, shutil.rmtree, args=(directory, True), exitpriority=0)
    return Path(directory)


def make_private(directory: Path) -> None:
    """Create a directory for this user alone.

    Raises:
        CacheDirectoryError: If it exists, and another user could change it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_unless_private(directory)


def refuse_unless_private(directory: Path) -> None:
    """Check who may write to a directory.

    Raises:
        CacheDirectoryError: If another user could change it.
    """
    if not hasattr(os, "geteuid"):
        return
    stat = directory.stat()
    if stat.st_uid != os.geteuid():
        _refuse(directory, f"belongs to another user (id {stat.st_uid})")
    if stat.st_mode & 0o022:
        _refuse(directory, "is writable by other users")


def _refuse(directory: Path, why: str) -> NoReturn:
    message = (
        f"The cache directory {why}, who could change what you read; own it and close it to others (chmod go-w), "
        "or choose another directory (the option cache_storage)"
    )
    raise CacheDirectoryError(errno.EACCES, message, str(directory))


def unlink(path: Path) -> None:
    """Remove a file if that is possible."""
    with contextlib.suppress(OSError):
        path.unlink()


def file_lock(path: Path) -> BaseFileLock:
    """A lock between processes; it may be released by another thread than the one that acquired it."""
    from filelock import FileLock  # takes as long to import as fsspec, so it is imported with the first copy

    return FileLock(path, timeout=0, thread_local=False)


def try_lock(lock: BaseFileLock) -> bool:
    """Acquire a lock without waiting; whether that worked."""
    from filelock import Timeout

    try:
        lock.acquire()
    except Timeout:
        return False
    return True
