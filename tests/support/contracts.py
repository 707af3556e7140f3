"""Where the contract runs: a fresh place on a server, or in this process, for each test."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support.servers import Store

from idfkit_fs import AsyncFsspecFileSystem, FsspecFileSystem
from idfkit_fs.testing import AsyncFileSystemContract, FileSystemContract


class Sync(FileSystemContract):
    """The sync adapter."""

    adapter: ClassVar[Any] = FsspecFileSystem


class Async(AsyncFileSystemContract):
    """The async adapter."""

    adapter: ClassVar[Any] = AsyncFsspecFileSystem

    test_in_another_process = None  # takes a second, and the twins share how they are pickled


class AsyncAlone(Async):
    """What only an async filesystem promises; the rest it has of the sync adapter, which it calls in a thread.

    All of the contract is asserted of the async adapter in memory, on the local disk, on moto and on Azurite.
    """


for _name in dir(FileSystemContract):
    if _name.startswith("test_") and getattr(Async, _name) is getattr(FileSystemContract, _name):
        setattr(AsyncAlone, _name, None)


class OnServer:
    """A fresh prefix in the bucket of a server.

    Attributes:
        server: Name of the server's fixture.
    """

    server: ClassVar[str]
    adapter: ClassVar[Any]
    store: Store

    @pytest.fixture
    def place(self, request: pytest.FixtureRequest) -> str:
        """The URL of the prefix."""
        self.store = request.getfixturevalue(self.server)
        self.prefix = uuid.uuid4().hex[:12]
        return f"{self.store.url}/{self.prefix}"

    @property
    def options(self) -> dict[str, Any]:
        """The server's options, with the retries that users have: moto and rclone answer 500 when calls coincide."""
        options = {**self.store.storage_options}
        if "config_kwargs" in options:
            options["config_kwargs"] = {k: v for k, v in options["config_kwargs"].items() if k != "retries"}
        return options

    @pytest.fixture
    def fs(self, place: str) -> Any:
        """The adapter, made from the URL."""
        return self.adapter.from_url(place, **self.options)

    def put_raw(self, key: str, data: bytes) -> None:
        """By the server's own client."""
        self.store.raw.put(f"{self.prefix}/{key}", data)

    def get_raw(self, key: str) -> bytes:
        """By the server's own client."""
        return self.store.raw.get(f"{self.prefix}/{key}")

    def delete_raw(self, key: str) -> None:
        """By the server's own client."""
        self.store.raw.delete(f"{self.prefix}/{key}")


class InDirectory:
    """A fresh directory of this machine."""

    root: Path

    @pytest.fixture(autouse=True)
    def _root(self, tmp_path: Path) -> None:
        self.root = tmp_path / "root"
        self.root.mkdir()

    def absolute(self, fs: Any, path: str) -> str:
        """Local paths begin with a slash anyway."""
        return f"{self.root}/{path}"

    def put_raw(self, key: str, data: bytes) -> None:
        """By pathlib."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def get_raw(self, key: str) -> bytes:
        """By pathlib."""
        return (self.root / key).read_bytes()

    def delete_raw(self, key: str) -> None:
        """By pathlib."""
        (self.root / key).unlink()
