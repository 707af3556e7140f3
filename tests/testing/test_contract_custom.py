"""The contract on a backend that a user wrote: the example's own tests, and what runs do beyond it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from custom_backend import SqliteFileSystem
from fsspec.spec import AbstractFileSystem
from test_custom_backend import TestSqlite, TestSqliteAsync

from idfkit_fs import FsspecFileSystem
from idfkit_fs.errors import UnsupportedError

__all__ = ["TestSqlite", "TestSqliteAsync"]


@pytest.mark.parametrize("size", [0, 1, 2**23 + 1])
def test_a_local_file_is_stored_by_a_class_whose_files_cannot_be_written_to(tmp_path: Path, size: int) -> None:
    """fsspec's own put_file writes to an open file, and that of its base class drops it all."""
    (tmp_path / "local").write_bytes(b"x" * size)
    fs = FsspecFileSystem(SqliteFileSystem(str(tmp_path / "results.db")), "study-001")
    fs.upload(tmp_path / "local", "a/uploaded")
    with fs.open("a/written", "wb") as file:
        file.write(b"x" * size)
    assert fs.read_bytes("a/uploaded") == fs.read_bytes("a/written") == b"x" * size


class ReadOnly(AbstractFileSystem):
    """What a class has that only reads."""

    def ls(self, path: str, detail: bool = True, **_options: Any) -> list[Any]:
        raise FileNotFoundError(path)


@pytest.mark.parametrize("method", ["write_bytes", "open", "upload", "create_exclusive"])
def test_a_class_that_cannot_write_says_so(tmp_path: Path, method: str) -> None:
    """Or else a run would be published, and nothing of it would exist."""
    (tmp_path / "local").write_bytes(b"x")
    fs = FsspecFileSystem(ReadOnly(), "study-001")
    with pytest.raises(UnsupportedError, match="ReadOnly writes no files"):
        if method == "open":
            with fs.open("a", "wb") as file:
                file.write(b"x")
        elif method == "upload":
            fs.upload(tmp_path / "local", "a")
        else:
            getattr(fs, method)("a", b"x")
