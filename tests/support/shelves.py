"""A store that a test can watch and break, a cache in front of it, and a count of what was done to them."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from idfkit.simulation import SimulationResult
from support.places import Place
from support.proxy import FaultProxy
from support.readers import read
from support.servers import Store

from idfkit_fs import AsyncFsspecFileSystem, FsspecFileSystem, publish

MIB = 2**20


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that no part of the file could be taken for."""
    return Random(seed).randbytes(size)


@dataclass
class Tally:
    """What was read and what was broken, for the line at the end of the session."""

    reads: int = 0
    faults: int = 0
    wrong_reads: int = 0

    def read(self, got: bytes, *right: bytes) -> None:
        """Count bytes that were read, and see that they are one of those that may be read."""
        self.reads += 1
        if got not in right:
            self.wrong_reads += 1
            pytest.fail(f"{len(got)} bytes that were never written so; right: {[len(data) for data in right]}")

    def digests(self, got: list[str], *right: str) -> None:
        """The same, for what other processes read; one right hash for each, or one for all."""
        expected = right * len(got) if len(right) == 1 else right
        assert len(got) == len(expected)
        wrong = [digest for digest, known in zip(got, expected, strict=True) if digest != known]
        self.reads += len(got)
        self.wrong_reads += len(wrong)
        assert wrong == []

    def fault(self, count: int = 1) -> None:
        self.faults += count


class WatchedProxy(FaultProxy):
    """Holds everything at an exact moment of a download, does something, and goes on."""

    def __init__(self, target_host: str, target_port: int) -> None:
        super().__init__(target_host, target_port)
        self._due: tuple[int, Callable[[], object]] | None = None
        self._acting = threading.RLock()
        self.failed: list[Exception] = []

    def when(self, down: int, act: Callable[[], object]) -> None:
        """Do something as soon as the server has sent so many bytes more, the last of which have not arrived."""
        self._due = (self.bytes_down + down, act)

    def kill(self, child: Any, down: int) -> None:
        """Start a process, and kill it as soon as the server has sent so many bytes more, however soon that is."""
        started = threading.Event()
        self.when(down, lambda: (started.wait(), child.kill()))
        child.start()
        started.set()

    def forget(self) -> None:
        """Do nothing more: what is due no longer is, and what is being done has been done when this returns."""
        with self._acting:
            self._due = None

    def _count(self, **seen: Any) -> None:
        super()._count(**seen)
        if self._due is None:
            return
        with self._acting:  # ranges side by side come through threads side by side
            if self._due is not None and self.bytes_down >= self._due[0]:
                act, self._due = self._due[1], None
                try:
                    act()
                except Exception as exc:  # noqa: BLE001 - raised in the test's own thread when it ends
                    self.failed.append(exc)


@dataclass
class Shelf:
    """A fresh directory of a store behind a proxy, read through ``simplecache::``.

    Attributes:
        store: The store, as it is reached without the proxy.
        proxy: The proxy that reads go through.
        cache: The cache directory.
        temporary: A directory for temporary files.
        changes: What to change in the options of the store.
        bounds: Further options of the cache.
    """

    store: Store
    proxy: WatchedProxy
    cache: Path
    temporary: Path
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    changes: dict[str, Any] = field(default_factory=dict)
    bounds: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"simplecache::{self.store.url}/{self.name}"

    @property
    def login(self) -> dict[str, Any]:
        """What the store itself takes."""
        return {**self.store.through(self.proxy.endpoint).storage_options, **self.changes}

    @property
    def options(self) -> dict[str, Any]:
        return {"s3": self.login, "simplecache": {"cache_storage": str(self.cache), **self.bounds}}

    @property
    def fs(self) -> FsspecFileSystem:
        return FsspecFileSystem.from_url(self.url, **self.options)

    @property
    def async_fs(self) -> AsyncFsspecFileSystem:
        return AsyncFsspecFileSystem.from_url(self.url, **self.options)

    @property
    def place(self) -> Place:
        """Where a run can be published; its files go through the user's own cache."""
        return Place(f"{self.store.url}/{self.name}", self.login)

    def but(self, **changes: Any) -> Shelf:
        return replace(self, **changes)

    def put(self, path: str, data: bytes) -> None:
        """Write a file as another machine does."""
        self.store.raw.put(f"{self.name}/{path}", data)

    def read(self, path: str, how: str = "read_bytes") -> bytes:
        return read(self.url, self.options, path, how)

    def downloads(self, path: str = "") -> int:
        """How many requests were made for a file's bytes."""
        return sum(line.startswith("GET") and f"{self.name}/{path}" in line for line in self.proxy.request_lines)

    def publish(self, run: SimulationResult) -> None:
        """Publish a run as another machine does."""
        publish(run, self.place.url, storage_options=self.store.storage_options, overwrite=True)


def together(fs: AsyncFsspecFileSystem, path: str, count: int) -> list[bytes]:
    """What many tasks of one event loop read at once."""

    async def read_all() -> list[bytes]:
        async with asyncio.timeout(300):
            return await asyncio.gather(*(fs.read_bytes(path) for _ in range(count)))

    return asyncio.run(read_all())
