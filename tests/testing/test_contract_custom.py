"""The contract on a backend that somebody wrote themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from custom_backend import SqliteFileSystem
from support.contracts import Async, Sync


class Custom:
    @pytest.fixture
    def fs(self, tmp_path: Path) -> Any:
        self.backend = SqliteFileSystem(str(tmp_path / "results.db"))
        return self.adapter(self.backend, "study-001")

    def put_raw(self, key: str, data: bytes) -> None:
        self.backend._do("INSERT OR REPLACE INTO files VALUES (?, ?)", f"study-001/{key}", data)

    def get_raw(self, key: str) -> bytes:
        return self.backend._do("SELECT data FROM files WHERE key = ?", f"study-001/{key}")[0][0]

    def delete_raw(self, key: str) -> None:
        self.backend._do("DELETE FROM files WHERE key = ?", f"study-001/{key}")


class TestCustom(Custom, Sync):
    pass


class TestCustomAsync(Custom, Async):
    pass
