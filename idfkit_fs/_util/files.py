"""Files on this machine: their hashes, and writing them whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

if sys.platform != "win32":
    import fcntl
from idfkit_fs.errors import IdfkitFsError, MachineError

__all__ = [
    "digest_of",
    "is_temporary",
    "local_errors",
    "locked",
    "read_start",
    "room",
    "temporary_beside",
    "temporary_errors",
    "write_atomically",
]

_OF_DISK = {
    errno.ENOSPC: "The disk is full",
    errno.EDQUOT: "The disk quota is used up",
    errno.EFBIG: "The disk takes no file of this size",
    errno.EROFS: "The disk is read-only",
    errno.EIO: "The disk failed",
}

# What a filesystem without locks answers, such as Lustre mounted without `flock`.
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})
_TEMPORARY = re.compile(r"\.idfkit-fs-[0-9a-f]{32}\.tmp")


def digest_of(local: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 of a local file."""
    with local.open("rb") as file:
        return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()


def read_start(local: Path, count: int) -> bytes:
    """The first bytes of a local file."""
    with local.open("rb") as file:
        return file.read(count)


def write_atomically(target: Path, write: Callable[[Path], Any]) -> None:
    """Write a local file so that a reader sees the old bytes or the new.

    Args:
        target: The file; its parent directories are created.
        write: Called with the path of a temporary file beside it, which is then moved over *target*.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(target)
    try:
        write(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bytes]:
    """Keep out all others that lock the same file, in any thread, process or machine that shares the disk.

    The lock is on the file itself, so that no file of its own is left behind: a process that replaced or removed
    the file held the lock of the old one. Where the filesystem has no locks, no process is kept out.

    Args:
        path: A small file that exists.

    Yields:
        What the file holds, read through the lock: on an SMB share no other open file could read it now.

    Raises:
        FileNotFoundError: If it is missing.
    """
    if sys.platform == "win32":  # an open file cannot be replaced there
        from filelock import FileLock  # takes as long to import as fsspec

        path.stat()
        name = (
            f".idfkit-fs-{uuid.uuid5(uuid.NAMESPACE_URL, path.name).hex}.tmp"  # a temporary file, which is not listed
        )
        with FileLock(path.with_name(name)):  # removed with its release
            yield path.read_bytes()
        return
    while True:
        with _open_to_lock(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as exc:
                if exc.errno not in _NO_LOCKS:
                    raise
            try:
                # Opened again: NFS answers what is known about a path from memory, but asks before it opens one.
                with path.open("rb") as now:
                    is_current = os.path.samestat(os.fstat(file.fileno()), os.fstat(now.fileno()))
                if is_current:
                    yield file.read()
                    return
            finally:
                with contextlib.suppress(OSError):
                    # By name, as a child that was forked meanwhile has the file open too.
                    fcntl.flock(file, fcntl.LOCK_UN)


def _open_to_lock(path: Path) -> IO[bytes]:
    try:
        return path.open("r+b")  # NFS locks only what may be written
    except OSError:
        return path.open("rb")


def temporary_beside(target: Path) -> Path:
    """The path of a temporary file in the same directory."""
    return target.with_name(f".idfkit-fs-{uuid.uuid4().hex}.tmp")


def is_temporary(path: str) -> bool:
    """Whether a path is that of such a temporary file."""
    return path.endswith(".tmp") and _TEMPORARY.fullmatch(path.rpartition("/")[2]) is not None


def room(path: str | Path) -> str:
    """How much free space the disk of a path has, for messages; nothing if that cannot be found."""
    for directory in (Path(path), *Path(path).parents):
        try:
            disk = shutil.disk_usage(directory)
        except OSError:
            continue
        return f"; {directory} has {disk.free / 1e6:.1f} of {disk.total / 1e6:.1f} MB free"
    return ""


@contextlib.contextmanager
def local_errors(path: str | Path, remedy: str) -> Iterator[None]:
    """Say of an error of this machine's disk which path it is about, how much space is free, and what to do.

    Args:
        path: The local file or directory.
        remedy: What to do besides freeing space.

    Raises:
        MachineError: If the disk is full, read-only or failed. Other errors are left as they are.
    """
    try:
        yield
    except IdfkitFsError:
        raise
    except OSError as exc:
        if exc.errno not in _OF_DISK:
            raise
        text = f"{_OF_DISK[exc.errno]}; free space, or {remedy}{room(path)}"
        raise MachineError(exc.errno, text, str(path)) from exc


@contextlib.contextmanager
def temporary_errors() -> Iterator[None]:
    """As [local_errors][idfkit_fs._util.files.local_errors], of the directory for temporary files."""
    try:
        directory = tempfile.gettempdir()
    except FileNotFoundError as exc:  # Python found no directory in which it could write a file
        text = "No directory for temporary files is writable; free space, or set TMPDIR to a directory with room"
        raise MachineError(errno.ENOSPC, text, os.environ.get("TMPDIR", "/tmp")) from exc  # noqa: S108 - only named
    with local_errors(directory, "set TMPDIR to a directory with more room"):
        yield
