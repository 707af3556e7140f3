"""Write a file so that a reader sees the old bytes or the new, on each kind of store."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.access import read_file
from idfkit_fs._stores.backends import in_memory, is_local, is_object_store, tuned
from idfkit_fs._stores.translate import translate
from idfkit_fs._util.files import temporary_beside, write_atomically
from idfkit_fs.errors import NotFoundError

__all__ = ["copy_file", "create_file", "put_file", "write_file"]


def write_file(fs: AbstractFileSystem, key: str, data: bytes) -> None:
    """Write bytes."""
    _write(fs, key, lambda target: fs.pipe_file(target, data))


def put_file(fs: AbstractFileSystem, local: str, key: str, **kwargs: Any) -> None:
    """Upload a local file."""
    if in_memory(fs):  # its put_file shows a growing file
        write_file(fs, key, Path(local).read_bytes())
        return
    _write(fs, key, lambda target: fs.put_file(local, target, **{**tuned(fs, "put_file"), **kwargs}))


def copy_file(fs: AbstractFileSystem, source: str, target: str) -> None:
    """Copy a file, on the store's side where the store can."""
    try:
        _write(fs, target, lambda key: fs.cp_file(source, key))
    except NotImplementedError:
        write_file(fs, target, read_file(fs, source))


def create_file(fs: AbstractFileSystem, key: str, data: bytes) -> None:
    """Write bytes unless the file exists.

    Raises:
        FileExistsError: If it exists, on stores that know conditional writes; others raise their own error for a
            failed condition, or write all the same.
    """
    if not is_local(fs):
        _write(fs, key, lambda target: fs.pipe_file(target, data, mode="create"))
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
    if is_local(fs):
        write_atomically(Path(key), lambda temporary: write(temporary.as_posix()))
        return
    try:
        write(key)
    except Exception as exc:
        # What a missing directory raises differs from backend to backend; for a missing bucket, nothing can be done.
        if is_object_store(fs) or not isinstance(translate(exc, ""), NotFoundError):
            raise
        fs.makedirs(key.rpartition("/")[0], exist_ok=True)
        write(key)
