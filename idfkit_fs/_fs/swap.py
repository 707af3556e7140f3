"""Change a small file on condition that it is still what was read: compare and swap."""

from __future__ import annotations

import hashlib

from fsspec.spec import AbstractFileSystem

from idfkit_fs._fs.writing import create_file, write_file
from idfkit_fs._stores.access import read_file
from idfkit_fs._stores.translate import is_not_found

__all__ = ["read_tagged", "remove_tagged", "swap_file"]


def read_tagged(fs: AbstractFileSystem, key: str) -> tuple[bytes, str] | None:
    """Read a file, and what tells this version of it from every other; None if it is missing."""
    try:
        data = read_file(fs, key)
    except Exception as exc:  # each SDK has its own classes
        if is_not_found(exc):
            return None
        raise
    return data, hashlib.sha256(data).hexdigest()


def swap_file(fs: AbstractFileSystem, key: str, data: bytes, tag: str | None) -> str | None:
    """Write a file if it is still the version with a tag, or still missing for None; the new tag, or None if not."""
    if tag is None:
        create_file(fs, key, data)
    else:
        found = read_tagged(fs, key)
        if found is None or found[1] != tag:
            return None
        write_file(fs, key, data)
    return hashlib.sha256(data).hexdigest()


def remove_tagged(fs: AbstractFileSystem, key: str, tag: str) -> bool:
    """Remove a file if it is still the version with a tag."""
    found = read_tagged(fs, key)
    if found is None or found[1] != tag:
        return False
    fs.rm_file(key)
    return True
