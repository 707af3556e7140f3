"""The cache in front of every store: each says enough of a file to tell whether it has changed."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
from idfkit.simulation import SimulationResult
from support.places import Place

from idfkit_fs import AsyncFsspecFileSystem, FsspecFileSystem, publish
from idfkit_fs._util.urls import chain_protocols


@pytest.fixture
def cached(place: Place, tmp_path: Path) -> Place:
    """The place behind a cache of its own."""
    (protocol,) = chain_protocols(place.url)
    options = {"simplecache": {"cache_storage": str(tmp_path / "kept")}, protocol: place.options}
    return Place(f"simplecache::{place.url}", options)


async def test_a_file_is_fetched_once_for_each_version(
    place: Place, cached: Place, local_run: SimulationResult, tmp_path: Path
) -> None:
    publish(local_run, place.url, storage_options=place.options)
    fs = FsspecFileSystem.from_url(cached.url, **cached.options)
    twin = AsyncFsspecFileSystem.from_url(cached.url, **cached.options)
    names = fs.glob("", "*")

    def entries() -> set[int]:
        return {path.stat().st_ino for path in (tmp_path / "kept").glob("entries/*/*/[!.]*")}

    for name in names:
        here = local_run.run_dir / name  # where the record and the sidecars are not
        whole = here.read_bytes() if here.exists() else fs.read_bytes(name)
        assert fs.read_bytes(name) == whole
        kept = entries()
        assert fs.read_bytes(name) == fs.open(name).read() == await twin.read_bytes(name) == whole
        assert fs.local_path(name).read_bytes() == whole
        with fsspec.open(fs.url(name), **fs.storage_options) as file:
            assert file.read() == whole
        assert entries() == kept
    assert len(entries()) == len(names)

    FsspecFileSystem.from_url(place.url, **place.options).write_bytes("eplus.end", b"another")
    assert fs.read_bytes("eplus.end") == await twin.read_bytes("eplus.end") == b"another"
    assert len(entries()) == len(names) + 1
