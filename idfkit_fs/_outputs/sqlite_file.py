"""An SQLite output of EnergyPlus as a file, before anything is known of its tables."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from urllib.parse import quote

from idfkit_fs._util.bounds import SQL_STEPS, SQL_STEPS_PER_BYTE, SQL_TEXT, SQL_TEXT_PER_BYTE, SQL_VALUE

__all__ = ["connect", "decode", "is_truncated", "problem_of_shape", "uri_of", "why_not"]

# After how many steps SQLite asks whether to go on.
_OFTEN = 100_000
_LONGEST_VIEW = 10_000
# EnergyPlus's views join tables: without parentheses there is no function and no query within the query.
_VIEW = re.compile(r"CREATE VIEW \w+ AS\s+SELECT [\w\s.,*]+\sFROM [\w\s.=']+;?\s*", re.IGNORECASE)
_COMPOUND = re.compile(
    r"\b(?:WITH|UNION|INTERSECT|EXCEPT|VALUES|CROSS|NATURAL)\b|\bSELECT\b.*\bSELECT\b", re.IGNORECASE | re.DOTALL
)
_SOURCE = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)", re.IGNORECASE)


def uri_of(path: Path) -> str:
    """The URI that opens a local file as it is: nothing is written, and no lock or journal is looked for."""
    return f"file:{quote(path.resolve().as_posix(), safe='/:')}?mode=ro&immutable=1"


def connect(path: Path) -> sqlite3.Connection:
    """Open a local file as it is; its texts are decoded by [decode][idfkit_fs._outputs.sqlite_file.decode].

    The file may be from anybody: a query that takes many more steps, or gives much more text, than a file of this size
    needs is ended with a ``sqlite3.DatabaseError``.

    Raises:
        sqlite3.DatabaseError: If the file does not exist; other faults show when it is read.
    """
    connection = sqlite3.connect(uri_of(path), uri=True)
    size = path.stat().st_size
    steps = iter(range((SQL_STEPS + SQL_STEPS_PER_BYTE * size) // _OFTEN))
    connection.set_progress_handler(lambda: next(steps, None) is None, _OFTEN)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, SQL_VALUE)
    connection.text_factory = _Decoder(SQL_TEXT + SQL_TEXT_PER_BYTE * size)
    # The schema's own functions may only compute, and a page that contradicts itself is no page.
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


class _Decoder:
    """Decodes texts, up to a number of bytes in all."""

    def __init__(self, most: int) -> None:
        self._left = most

    def __call__(self, data: bytes) -> str:
        self._left -= len(data)
        if self._left < 0:
            raise sqlite3.DataError("its texts are larger than a file of this size can have")
        return decode(data)


def why_not(error: sqlite3.Error) -> str:
    """Why a file cannot be read, by the error of a query."""
    return "a query takes too long for a file of this size" if str(error) == "interrupted" else str(error)


def problem_of_shape(connection: sqlite3.Connection) -> str | None:
    """What a database has that EnergyPlus's do not, and that could keep a reader busy forever; None if it is fine.

    Args:
        connection: The database.

    Returns:
        A clause about the file.

    Raises:
        sqlite3.DatabaseError: If it is damaged.
    """
    entries = connection.execute("SELECT type, name, rootpage, sql FROM sqlite_master").fetchall()
    tables = {name.lower() for kind, name, page, _ in entries if kind == "table" and page}
    for kind, name, page, sql in entries:
        if kind == "view":
            if not _is_harmless(sql or "", tables):
                return f"its view {name!r} is not one of EnergyPlus's"
        elif kind not in ("table", "index") or not page:
            return f"it has {name!r}, which is neither a table nor an index"
        elif kind == "table":
            hidden = connection.execute("SELECT count(*) FROM pragma_table_xinfo(?) WHERE hidden", (name,)).fetchone()
            if hidden != (0,):
                return f"its table {name!r} has columns that are computed"
    return None


def _is_harmless(sql: str, tables: set[str]) -> bool:
    """Whether a view joins tables, and does nothing else: it calls nothing, and selects from no other view."""
    if len(sql) > _LONGEST_VIEW or not _VIEW.fullmatch(sql) or _COMPOUND.search(sql, len("CREATE VIEW")):
        return False
    return {name.lower() for name in _SOURCE.findall(sql)} <= tables


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
