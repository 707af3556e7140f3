"""Write a file so that a reader sees the old bytes or the new, on each kind of store."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.access import fresh_info, read_file
from idfkit_fs._stores.backends import in_memory, is_archive, is_local, is_object_store, tuned
from idfkit_fs._stores.translate import is_not_found
from idfkit_fs._util.files import temporary_beside, write_atomically

__all__ = ["copy_file", "create_file", "put_file", "write_file"]


def write_file(fs: AbstractFileSystem, key: str, data: bytes) -> None:
    """Write bytes."""
    if _inherits(fs, "pipe_file") and _drops_writes(fs):
        raise NotImplementedError(f"{type(fs).__name__} writes no files: it has neither pipe_file nor _open")
    _write(fs, key, lambda target: fs.pipe_file(target, data))


def put_file(fs: AbstractFileSystem, local: str, key: str, **kwargs: Any) -> None:
    """Upload a local file."""
    # The put_file of memory shows a growing file.
    if in_memory(fs) or (_inherits(fs, "put_file") and _drops_writes(fs)):
        write_file(fs, key, Path(local).read_bytes())
        return
    _write(fs, key, lambda target: fs.put_file(local, target, **{**tuned(fs, "put_file"), **kwargs}))


def _drops_writes(fs: AbstractFileSystem) -> bool:
    """Whether files that it opens silently drop what is written to them, as those of fsspec's base class do."""
    return _inherits(fs, "open") and _inherits(fs, "_open")


def _inherits(fs: AbstractFileSystem, method: str) -> bool:
    # Asked of the object: fsspec's async classes have their sync methods there.
    return getattr(getattr(fs, method), "__func__", None) is getattr(AbstractFileSystem, method)


def copy_file(fs: AbstractFileSystem, source: str, target: str) -> None:
    """Copy a file, on the store's side where the store can."""
    try:
        _write(fs, target, lambda key: fs.cp_file(source, key))
    except NotImplementedError:
        write_file(fs, target, read_file(fs, source))


def create_file(fs: AbstractFileSystem, key: str, data: bytes) -> None:
    """Write bytes unless the file exists: in one step on a local disk with links, elsewhere by looking first.

    Raises:
        FileExistsError: If it exists.
    """
    if not is_local(fs):
        _create(fs, key, data)
        return
    try:
        os.makedirs(os.path.dirname(key), exist_ok=True)
    except FileExistsError as exc:  # of the directory, not of the file
        raise NotADirectoryError(exc.errno, exc.strerror, exc.filename) from exc
    temporary = temporary_beside(Path(key))
    try:
        temporary.write_bytes(data)
        _link(str(temporary), key)
    finally:
        temporary.unlink(missing_ok=True)


def _create(fs: AbstractFileSystem, key: str, data: bytes) -> None:
    try:
        fresh_info(fs, key)
    except Exception as exc:  # each SDK has its own classes
        if not is_not_found(exc):
            raise
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), key)
    write_file(fs, key, data)


def _link(source: str, target: str) -> None:
    """Give a file a second name, which must be free: a link is atomic, and never replaces a file."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError as exc:  # a disk without links
        if os.path.exists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from exc
        os.replace(source, target)


def _write(fs: AbstractFileSystem, key: str, write: Callable[[str], Any]) -> None:
    if is_archive(fs):
        raise NotImplementedError("archives are read-only; publish to a directory, then pack it")
    if is_local(fs):
        write_atomically(Path(key), lambda temporary: write(temporary.as_posix()))
        return
    try:
        write(key)
    except Exception as exc:
        if is_object_store(fs) or not is_not_found(exc):  # of an object store, the bucket is missing
            raise
        _make_directory(fs, key.rpartition("/")[0])
        write(key)


def _make_directory(fs: AbstractFileSystem, path: str) -> None:
    """Create a directory and its parents, any of which another client may create meanwhile.

    An error is left to the write that follows: it knows whether the directory exists.
    """
    try:
        fs.mkdir(path, create_parents=False)
    except Exception as exc:  # noqa: BLE001 - each backend has its own classes
        parent = path.rpartition("/")[0]
        if parent and is_not_found(exc):
            _make_directory(fs, parent)
            with contextlib.suppress(Exception):
                fs.mkdir(path, create_parents=False)
