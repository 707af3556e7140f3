"""One simulation for all pages, and for each page a bucket with results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from support import servers
from support.servers import Store
from support.world import World, make_results


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the bucket has when a page begins; the first worker of pytest-xdist makes it for all."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            make_results(tmp_path_factory.mktemp("made")).rename(shared)
    return shared


@pytest.fixture
def world(tmp_path: Path, results: Path) -> Iterator[World]:
    """A reader's machine, and a store of its own, whose bucket ``my-bucket`` has a run and a study."""
    with servers.moto_server() as server:
        store: Store = server.bucket("my-bucket")
        for key in store.raw.keys(""):  # of another page: moto's buckets belong to the process
            store.raw.delete(key)
        yield World(tmp_path, store, results)
