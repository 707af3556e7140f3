"""The contract on this machine's disk and in memory."""

from __future__ import annotations

import os
import uuid
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from support.contracts import Async, InDirectory, Sync

from idfkit_fs import LocalFileSystem
from idfkit_fs.testing import FileSystemContract

UNFIT = '*?"<>|:' if os.name == "nt" else ""


class Local(InDirectory):
    has_directories = True
    unfit_characters = UNFIT

    @pytest.fixture
    def fs(self) -> Any:
        return self.adapter.from_url(str(self.root))


class TestLocal(Local, Sync):
    pass


class TestLocalAsync(Local, Async):
    pass


class TestLocalDropIn(InDirectory, FileSystemContract):
    has_directories = True
    unfit_characters = UNFIT

    @pytest.fixture
    def fs(self) -> Any:
        return LocalFileSystem(self.root)


class TestLocalDropInOnTheWholeDisk(InDirectory, FileSystemContract):
    """Without a root, as idfkit's own: relative to the working directory, and any absolute path."""

    has_directories = True
    is_rooted = False
    unfit_characters = UNFIT

    @pytest.fixture
    def fs(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.chdir(self.root)
        return LocalFileSystem()


class Memory:
    has_directories = True
    is_shared = False  # another process has a memory of its own

    @pytest.fixture
    def fs(self) -> Any:
        self.root = f"/{uuid.uuid4().hex}"
        return self.adapter.from_url(f"memory:/{self.root}")

    @pytest.fixture(autouse=True)
    def _clean(self) -> Any:
        yield
        MemoryFileSystem().rm(self.root, recursive=True) if MemoryFileSystem().exists(self.root) else None

    def put_raw(self, key: str, data: bytes) -> None:
        MemoryFileSystem().pipe_file(f"{self.root}/{key}", data)

    def get_raw(self, key: str) -> bytes:
        return MemoryFileSystem().cat_file(f"{self.root}/{key}")

    def delete_raw(self, key: str) -> None:
        MemoryFileSystem().rm_file(f"{self.root}/{key}")


class TestMemory(Memory, Sync):
    pass


class TestMemoryAsync(Memory, Async):
    pass
