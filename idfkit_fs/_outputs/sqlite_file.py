"""An SQLite output of EnergyPlus as a file, before anything is known of its tables."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

__all__ = ["connect", "decode", "is_truncated", "uri_of"]


def uri_of(path: Path) -> str:
    """The URI that opens a local file as it is: nothing is written, and no lock or journal is looked for."""
    return f"file:{quote(path.resolve().as_posix(), safe='/:')}?mode=ro&immutable=1"


def connect(path: Path) -> sqlite3.Connection:
    """Open a local file as it is; its texts are decoded by [decode][idfkit_fs._outputs.sqlite_file.decode].

    Raises:
        sqlite3.DatabaseError: If the file does not exist; other faults show when it is read.
    """
    connection = sqlite3.connect(uri_of(path), uri=True)
    connection.text_factory = decode
    return connection


def is_truncated(path: Path) -> bool:
    """Whether a file is shorter than its header says; SQLite would read a missing part as zeros.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        header = file.read(100)
    page, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
    # The value 1 means a page of 64 KiB (Database File Format, 1.3.2).
    return path.stat().st_size < pages * (2**16 if page == 1 else page)


def decode(data: bytes) -> str:
    """Decode a text of EnergyPlus, which is not always UTF-8: its climatic data have a degree sign in Latin-1.

    Examples:
        >>> decode("Büro".encode()), decode("Büro".encode("latin-1"))
        ('Büro', 'Büro')
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
