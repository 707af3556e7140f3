"""A storage backend of one's own: files as rows of one SQLite database, as an fsspec filesystem.

fsspec asks for little: list, read, write, copy, remove. With that, idfkit-fs has everything it needs:

    fs = FsspecFileSystem(SqliteFileSystem("results.db"), "study-001")
    simulate(model, "weather.epw", output_dir="case-42", fs=fs)

``test_custom_backend.py`` beside it checks that it keeps the contract of a filesystem.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from fsspec.spec import AbstractFileSystem


class SqliteFileSystem(AbstractFileSystem):
    """Files in a table of a SQLite database; keys only, a directory exists while a file is below it.

    Args:
        database: Path of the database; made if it is missing.
    """

    protocol = "sqlite"

    def __init__(self, database: str, **storage_options: Any) -> None:
        super().__init__(database=database, **storage_options)
        self.database = database
        self._do("CREATE TABLE IF NOT EXISTS files (key TEXT PRIMARY KEY, data BLOB NOT NULL)")

    def _do(self, statement: str, *values: Any) -> list[Any]:
        """Run one statement on a connection of its own, so that threads and forks share none."""
        with closing(sqlite3.connect(self.database, timeout=30)) as connection, connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() or [None] * max(cursor.rowcount, 0)

    def ls(self, path: str, detail: bool = True, **_options: Any) -> list[Any]:
        """List a directory, or the file itself; raise where there is neither."""
        path = self._strip_protocol(path)
        below = f"{path}/" if path else ""
        rows = self._do(
            "SELECT key, length(data) FROM files WHERE key = ? OR substr(key, 1, ?) = ?", path, len(below), below
        )
        found = {}
        for key, size in rows:
            name, *deeper = key.removeprefix(below).split("/")
            if key == path or not deeper:
                found[key] = {"name": key, "size": size, "type": "file"}
            else:
                found.setdefault(below + name, {"name": below + name, "size": 0, "type": "directory"})
        if not found:
            raise FileNotFoundError(path)
        entries = [found[key] for key in sorted(found)]
        return entries if detail else [entry["name"] for entry in entries]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_options: Any) -> bytes:
        """Read a file, or a part of it."""
        rows = self._do("SELECT data FROM files WHERE key = ?", self._strip_protocol(path))
        if not rows:
            raise FileNotFoundError(path)
        data: bytes = rows[0][0]
        return data[start:end]

    def pipe_file(self, path: str, value: bytes, **_options: Any) -> None:
        """Write a file in one transaction."""
        self._do("INSERT OR REPLACE INTO files VALUES (?, ?)", self._strip_protocol(path), value)

    def cp_file(self, path1: str, path2: str, **_options: Any) -> None:
        """Copy a file inside the database."""
        self.pipe_file(path2, self.cat_file(path1))

    def rm_file(self, path: str) -> None:
        """Remove a file."""
        if not self._do("DELETE FROM files WHERE key = ?", self._strip_protocol(path)):
            raise FileNotFoundError(path)
