"""Whether the backend of ``custom_backend.py`` keeps the contract of a filesystem: run it with pytest."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from custom_backend import SqliteFileSystem

from idfkit_fs import AsyncFsspecFileSystem, FsspecFileSystem
from idfkit_fs.testing import AsyncFileSystemContract, FileSystemContract


class Sqlite:
    """How the suites make the filesystem, and reach its files past it."""

    adapter: type[FsspecFileSystem | AsyncFsspecFileSystem] = FsspecFileSystem

    @pytest.fixture
    def fs(self, tmp_path: Path) -> FsspecFileSystem | AsyncFsspecFileSystem:
        """An empty filesystem for each test."""
        self.database = str(tmp_path / "results.db")
        return self.adapter(SqliteFileSystem(self.database), "study-001")

    def _do(self, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def put_raw(self, key: str, data: bytes) -> None:
        """Store a file."""
        self._do("INSERT OR REPLACE INTO files VALUES (?, ?)", f"study-001/{key}", data)

    def get_raw(self, key: str) -> bytes:
        """Read a file."""
        data: bytes = self._do("SELECT data FROM files WHERE key = ?", f"study-001/{key}")[0][0]
        return data

    def delete_raw(self, key: str) -> None:
        """Remove a file."""
        self._do("DELETE FROM files WHERE key = ?", f"study-001/{key}")


class TestSqlite(Sqlite, FileSystemContract):
    """The sync adapter."""


class TestSqliteAsync(Sqlite, AsyncFileSystemContract):
    """The async adapter."""

    adapter = AsyncFsspecFileSystem
