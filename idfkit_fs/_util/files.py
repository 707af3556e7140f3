"""Files on this machine: their hashes, and writing them whole."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["digest_of", "is_temporary", "read_start", "temporary_beside", "write_atomically"]

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


def temporary_beside(target: Path) -> Path:
    """The path of a temporary file in the same directory."""
    return target.with_name(f".idfkit-fs-{uuid.uuid4().hex}.tmp")


def is_temporary(path: str) -> bool:
    """Whether a path is that of such a temporary file."""
    return _TEMPORARY.fullmatch(path.rpartition("/")[2]) is not None
