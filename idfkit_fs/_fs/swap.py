"""Change a small file on condition that it is still what was read: compare and swap.

The tag of a version is what the store says of it (ETag, generation), or else the hash of its bytes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem

from idfkit_fs._fs.writing import create_file, write_file
from idfkit_fs._stores.access import forget_listing, read_file
from idfkit_fs._stores.backends import in_memory, is_archive, is_local, without_layers
from idfkit_fs._stores.conditional import ConditionalObject, conditional_object, is_changed, is_missing_file
from idfkit_fs._stores.translate import refuses_condition, translate
from idfkit_fs._util.bounds import JSON_BYTES
from idfkit_fs._util.files import locked
from idfkit_fs.errors import PermissionDeniedError

__all__ = ["read_tagged", "remove_tagged", "swap_file"]

# Anybody may have put a huge file where a small one belongs.
_AT_MOST = JSON_BYTES + 1
# One a process: a forked child must not wait for what a thread of its parent held.
_memory_locks: dict[int, threading.Lock] = {}


def read_tagged(fs: AbstractFileSystem, key: str) -> tuple[bytes, str] | None:
    """Read a file, and what distinguishes this version of it from every other; None if it is missing."""
    fs, key = without_layers(fs, key)
    there = conditional_object(fs, key)
    try:
        if there is not None:
            return there.read(_AT_MOST)
        data = read_file(fs, key, _AT_MOST)
    except Exception as exc:  # each SDK has its own classes
        if is_missing_file(exc):
            return None
        raise
    return data, _tag_of(data)


def swap_file(fs: AbstractFileSystem, key: str, data: bytes, tag: str | None) -> str:
    """Write a file if it is still the version with a tag, or still missing for None.

    Returns:
        The new version's tag.

    Raises:
        FileExistsError: If it has changed; a store may raise its own error for a failed condition.
    """
    fs, key = without_layers(fs, key)
    there = conditional_object(fs, key)
    if there is None:
        with _unchanged(fs, key, tag) as alone:
            if tag is None:
                create_file(alone, key, data)
            else:
                write_file(alone, key, data)
        return _tag_of(data)
    new = _write_there(there, fs, key, data, tag)
    forget_listing(fs, key)
    return new


def _write_there(there: ConditionalObject, fs: AbstractFileSystem, key: str, data: bytes, tag: str | None) -> str:
    if not there.keeps_conditions():
        try:
            _check(fs, key, tag)
        except Exception as exc:  # each SDK has its own classes
            # A login that may write, but neither read nor list, can still create: only the condition protects.
            if tag is not None or not isinstance(translate(exc, ""), PermissionDeniedError):
                raise
    try:
        return there.write(data, match=tag, missing=tag is None)
    except Exception as exc:  # each SDK has its own classes
        if not refuses_condition(exc):
            raise
    _check(fs, key, tag)
    return there.write(data)


def remove_tagged(fs: AbstractFileSystem, key: str, tag: str) -> bool:
    """Remove a file if it is still the version with a tag; False if it has changed or is missing."""
    fs, key = without_layers(fs, key)
    there = conditional_object(fs, key)
    try:
        if there is None:
            if is_archive(fs):
                raise NotImplementedError("archives are read-only")
            with _unchanged(fs, key, tag) as alone:
                alone.rm_file(key)
        else:
            _remove_there(there, fs, key, tag)
            forget_listing(fs, key)
    except Exception as exc:  # each SDK has its own classes
        if is_changed(exc) or is_missing_file(exc):
            return False
        raise
    return True


def _remove_there(there: ConditionalObject, fs: AbstractFileSystem, key: str, tag: str) -> None:
    if not there.keeps_conditions():
        _check(fs, key, tag)
    try:
        there.remove(match=tag)
    except Exception as exc:  # each SDK has its own classes
        if not refuses_condition(exc):
            raise
    else:
        return
    _check(fs, key, tag)
    there.remove()


@contextlib.contextmanager
def _unchanged(fs: AbstractFileSystem, key: str, tag: str | None) -> Iterator[AbstractFileSystem]:
    """Compare a file, and keep others out on a local disk and in memory while it is changed by what this gives.

    Whether a file is missing, for None, is left to `create_file`.
    """
    if is_local(fs) and tag is not None:
        try:
            with locked(Path(key)) as data:
                if _tag_of(data) != tag:
                    raise _changed(key)
                yield fs
        except FileNotFoundError as exc:
            raise _changed(key) from exc
    elif in_memory(fs):
        # A class that extends fsspec's has its say before the lock, and none of its code runs under it.
        with contextlib.suppress(FileNotFoundError):
            fs.cat_file(key)
        plain = MemoryFileSystem(skip_instance_cache=True)
        plain.store, plain.pseudo_dirs = fs.store, fs.pseudo_dirs
        with _memory_locks.setdefault(os.getpid(), threading.Lock()):
            if tag is not None:
                _check(plain, key, tag)
            yield plain
    else:
        if tag is not None:
            _check(fs, key, tag)
        yield fs


def _check(fs: AbstractFileSystem, key: str, tag: str | None) -> None:
    found = read_tagged(fs, key)
    if (None if found is None else found[1]) != tag:
        raise _changed(key)


def _changed(key: str) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "the file has changed since it was read", key)


def _tag_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
