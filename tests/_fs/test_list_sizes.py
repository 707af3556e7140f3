"""One listing of a directory: the files in it and their sizes."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from support.places import Place
from support.proxy import FaultProxy
from support.servers import BUCKET, Store

from idfkit_fs import FsspecFileSystem
from idfkit_fs.errors import BucketNotFoundError, PermissionDeniedError

NAMES = ("b.json", "a b#1?.csv", "büro%20[x].csv", "empty")


@pytest.fixture
def fs(place: Place) -> FsspecFileSystem:
    return FsspecFileSystem.from_url(place.url, **place.options)


def check_sizes(fs: FsspecFileSystem) -> None:
    for size, name in enumerate(reversed(NAMES)):
        fs.write_bytes(f"jobs/{name}", b"x" * size)
    fs.write_bytes("jobs/deeper/c.csv", b"1234")
    fs.write_bytes("jobs-2/d.csv", b"1")
    expected = {"a b#1?.csv": 2, "b.json": 3, "büro%20[x].csv": 1, "empty": 0}
    assert fs.list_sizes("jobs") == expected
    assert list(fs.list_sizes("jobs")) == sorted(expected)
    assert fs.joinpath("jobs").list_sizes() == expected
    assert fs.list_sizes() == {}
    assert fs.list_sizes("missing") == {}
    fs.write_bytes("jobs/b.json", b"longer than before")
    fs.remove("jobs/empty")
    assert fs.list_sizes("jobs") == {"a b#1?.csv": 2, "b.json": 18, "büro%20[x].csv": 1}


def test_files_and_sizes(fs: FsspecFileSystem) -> None:
    check_sizes(fs)


def test_versions_are_listed_with_the_same_files_and_sizes(fs: FsspecFileSystem) -> None:
    check_sizes(fs)
    first = fs.list_versions("jobs")
    assert {name: size for name, (size, _) in first.items()} == fs.list_sizes("jobs")
    assert [*first] == [*fs.list_sizes("jobs")]
    assert fs.list_versions("jobs") == first
    fs.write_bytes("jobs/b.json", b"as long as before.")
    (changed,) = (name for name, (_, version) in fs.list_versions("jobs").items() if version != first[name][1])
    assert changed == "b.json"
    assert fs.list_versions("missing") == fs.list_versions("jobs/b.json") == {}


@pytest.mark.skipif(os.name == "nt", reason="needs the right to make links")
def test_a_disk_is_listed_as_fsspec_lists_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = FsspecFileSystem.from_url(str(tmp_path))
    check_sizes(fs)
    jobs = tmp_path / "jobs"
    (jobs / "link to a file").symlink_to(jobs / "b.json")
    (jobs / "link to a directory").symlink_to(jobs / "deeper")
    (jobs / "link to nothing").symlink_to(jobs / "nothing")
    (jobs / f".idfkit-fs-{'0' * 32}.tmp").write_bytes(b"")
    (jobs / "back\\slash").write_bytes(b"")
    os.mkfifo(jobs / "a pipe")
    ours = fs.list_versions("jobs")
    monkeypatch.setattr("idfkit_fs._fs.sync.is_plain_disk", lambda _store: False)
    theirs = fs.list_versions("jobs")
    assert [(name, size) for name, (size, _) in ours.items()] == [(name, size) for name, (size, _) in theirs.items()]
    assert "link to a file" in ours and len(ours) == 4


@pytest.mark.parametrize("server", ["sftp", "ftp"])
def test_on_a_server_of_files(server: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(server)
    check_sizes(FsspecFileSystem.from_url(f"{store.url}/{uuid.uuid4().hex}", **store.storage_options))


def test_through_the_cache(moto: Store) -> None:
    url = f"simplecache::{moto.url}/{uuid.uuid4().hex}"
    check_sizes(FsspecFileSystem.from_url(url, s3=moto.storage_options))


def test_a_thousand_a_request(shaky_place: Place, proxy: FaultProxy, moto: Store) -> None:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    fs = FsspecFileSystem.from_url(shaky_place.url, **shaky_place.options)
    prefix = shaky_place.url.removeprefix(f"{moto.url}/")
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]  # a request for each would take most of a minute
    for number in range(1001):
        backend.put_object(BUCKET, f"{prefix}/jobs/{number:04}.json", b"1")
    proxy.reset_counters()
    assert len(fs.list_sizes("jobs")) == 1001
    assert ["list-type=2" in line for line in proxy.request_lines] == [True, True]


def test_a_file_is_no_directory(fs: FsspecFileSystem) -> None:
    fs.write_bytes("a.csv", b"1")
    assert fs.list_sizes("a.csv") == {}


def test_what_cannot_be_listed_is_an_error(shaky_place: Place, proxy: FaultProxy, moto: Store) -> None:
    with pytest.raises(BucketNotFoundError):
        FsspecFileSystem.from_url("s3://no-such-bucket/x", **moto.storage_options).list_sizes()
    proxy.answer_status(403, count=None)
    with pytest.raises(PermissionDeniedError):
        FsspecFileSystem.from_url(shaky_place.url, **shaky_place.options).list_sizes()


def test_a_link_has_the_size_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"12345")
    os.symlink(tmp_path / "a.csv", tmp_path / "link.csv")
    os.symlink(tmp_path / "missing", tmp_path / "dangling.csv")
    (tmp_path / f".idfkit-fs-{uuid.uuid4().hex}.tmp").write_bytes(b"a write in progress")
    assert FsspecFileSystem.from_url(tmp_path).list_sizes() == {"a.csv": 5, "link.csv": 5}
