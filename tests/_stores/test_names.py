"""Keys that the rules for paths cannot name are never listed under another key's name."""

from __future__ import annotations

import uuid

import fsspec
import pytest
from support.servers import Store

from idfkit_fs import FsspecFileSystem

# Beside a key that has a name.
UNNAMEABLE = ("/a.csv", "//a.csv", "sub//a.csv", "sub/./a.csv", "sub/../a.csv", "../a.csv", "./a.csv", "sub\\a.csv")


@pytest.mark.parametrize("server", ["moto", "seaweed", "gcs"])
def test_only_names_that_lead_back_are_listed(server: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(server)
    prefix = uuid.uuid4().hex
    store.raw.put(f"{prefix}/kept.csv", b"kept")
    put = []
    for name in UNNAMEABLE:
        try:
            store.raw.put(f"{prefix}/{name}", b"foreign")
        except Exception:  # noqa: BLE001 - a server that has no such key, or no client for it
            continue
        put.append(name)
    assert put, "the server takes none of the keys"
    fs = FsspecFileSystem.from_url(f"{store.url}/{prefix}", **store.storage_options)
    for path, pattern in (("", "*"), ("", "**/*"), ("", "**/*.csv"), ("sub", "*"), ("sub", "**/*")):
        for found in fs.glob(path, pattern):
            # Servers with real directories below them tidy a key when it is stored.
            stored = f"{prefix}/{found}" in store.raw.keys(prefix)
            assert stored and fs.read_bytes(found) == store.raw.get(f"{prefix}/{found}")
    assert "kept.csv" in fs.glob("", "*")


def test_memory_lists_no_doubled_slash() -> None:
    memory = fsspec.filesystem("memory")
    root = f"/names-{uuid.uuid4().hex}"
    for name in ("/a.csv", "sub//a.csv", "kept.csv"):
        memory.pipe_file(f"{root}/{name}", b"1")
    assert f"{root}//a.csv" in memory.store
    try:
        fs = FsspecFileSystem(memory, root)
        assert fs.glob("", "**/*.csv") == ["kept.csv"]
    finally:
        for key in [key for key in memory.store if key.startswith(root)]:
            del memory.store[key]
