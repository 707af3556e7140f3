"""Writing a file where none exists: what keeps two publishers, and two clients that add a case, apart."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.places import Place

from idfkit_fs import FsspecFileSystem
from idfkit_fs.errors import StoreError


def create(fs: FsspecFileSystem, data: bytes) -> bool:
    return fs.create_exclusive("a/b.json", data)


@pytest.fixture
def fs(place: Place) -> FsspecFileSystem:
    return FsspecFileSystem.from_url(place.url, **place.options)


def test_the_first_stays(fs: FsspecFileSystem) -> None:
    assert create(fs, b"first")
    assert not create(fs, b"second")
    assert fs.read_bytes("a/b.json") == b"first"
    assert fs.glob("a", "*") == ["a/b.json"]


def test_the_same_again_is_taken_for_an_answer_that_got_lost(fs: FsspecFileSystem) -> None:
    assert create(fs, b"first")
    assert create(fs, b"first")


# Neither rclone, which ignores conditions, nor moto, which lets others in between comparing and writing.
@pytest.mark.parametrize(
    "place",
    ["local", "memory", "seaweed", "gcs", "azurite_blob"],
    indirect=True,
)
def test_of_many_at_once_one_succeeds(fs: FsspecFileSystem) -> None:
    with ThreadPoolExecutor(8) as pool:
        contents = [str(number).encode() for number in range(8)]
        created = list(pool.map(lambda data: create(fs, data), contents))
    assert [data for data, done in zip(contents, created, strict=True) if done] == [fs.read_bytes("a/b.json")]


def test_a_disk_without_links_does_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_paths: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    fs = FsspecFileSystem.from_url(tmp_path)
    assert create(fs, b"first")
    assert not create(fs, b"second")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]


def test_another_error_is_told_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a file")
    with pytest.raises(StoreError):
        create(FsspecFileSystem.from_url(tmp_path), b"data")
