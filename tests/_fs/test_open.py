"""File objects: what is written exists whole or not at all, and what is read is what exists now."""

from __future__ import annotations

import gc
import io
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import s3fs
from support.servers import Store

from idfkit_fs import FsspecFileSystem
from idfkit_fs.errors import LocationError, PermissionDeniedError, UnreachableError


@pytest.fixture(params=["local", "memory", "moto"])
def fs(request: pytest.FixtureRequest, tmp_path: Path) -> FsspecFileSystem:
    if request.param == "local":
        return FsspecFileSystem.from_url(tmp_path)
    if request.param == "memory":
        return FsspecFileSystem.from_url(f"memory://{uuid.uuid4().hex}")
    store: Store = request.getfixturevalue("moto")
    return FsspecFileSystem.from_url(f"{store.url}/{uuid.uuid4().hex}", **store.storage_options)


def test_text_and_bytes(fs: FsspecFileSystem) -> None:
    with fs.open("case/a.csv", "w", encoding="latin-1", newline="") as file:
        file.write("h,°C\r\n1,21.5\r\n")
    assert fs.read_bytes("case/a.csv") == "h,°C\r\n1,21.5\r\n".encode("latin-1")
    with fs.open("case/a.csv", "r", encoding="latin-1") as file:
        assert list(file) == ["h,°C\n", "1,21.5\n"]
    with fs.open("case/a.csv") as file:
        assert file.seek(2) == 2
        assert file.read(2) == "°C".encode("latin-1")
        assert file.seek(-2, io.SEEK_END) == 12
        assert file.read() == b"\r\n"


def test_a_block_that_raises_stores_nothing(fs: FsspecFileSystem) -> None:
    fs.write_text("a.csv", "old")
    for mode, data in (("w", "part"), ("wb", b"part")):
        with pytest.raises(KeyError), fs.open("a.csv", mode) as file:
            file.write(data)
            raise KeyError
    assert fs.read_text("a.csv") == "old"


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_file_that_nobody_closed_is_not_stored(fs: FsspecFileSystem, mode: str) -> None:
    fs.write_text("a.csv", "old")
    file = fs.open("a.csv", mode)
    file.write("part" if mode == "w" else b"part")
    with pytest.warns(ResourceWarning, match="never closed"):
        del file
        gc.collect()
    assert fs.read_text("a.csv") == "old"


@pytest.mark.parametrize("option", [{"encoding": "utf-9"}, {"newline": "bogus"}])
def test_a_bad_argument_stores_nothing(fs: FsspecFileSystem, option: dict[str, str]) -> None:
    fs.write_text("a.csv", "old")
    for mode in ("w", "r"):
        with pytest.raises((LookupError, ValueError)):
            fs.open("a.csv", mode, **option)
    gc.collect()
    assert fs.read_text("a.csv") == "old"


@pytest.mark.parametrize("mode", ["a", "x", "r+", "rbt", ""])
def test_other_modes_are_refused(fs: FsspecFileSystem, mode: str) -> None:
    with pytest.raises(ValueError, match="mode must be"):
        fs.open("a.csv", mode)


def test_two_readers_of_one_file_do_not_meet(fs: FsspecFileSystem) -> None:
    fs.write_bytes("a.csv", bytes(range(256)) * 100)
    with fs.open("a.csv") as one, fs.open("a.csv") as other:
        assert one.read(10) == other.read(10) == bytes(range(10))


def test_a_borrowed_filesystem_that_listed_reads_what_stands_now(moto: Store) -> None:
    raw = s3fs.S3FileSystem(**moto.storage_options, skip_instance_cache=True)
    fs = FsspecFileSystem(raw, f"{moto.url.removeprefix('s3://')}/{uuid.uuid4().hex}")
    fs.write_bytes("a.csv", b"old")
    raw.ls(fs.url())
    moto.raw.put(fs.url("a.csv").removeprefix(f"{moto.url}/"), b"much longer")
    assert fs.open("a.csv").read() == b"much longer"


def test_a_missing_local_file_is_not_the_stores_fault(fs: FsspecFileSystem, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        fs.upload(tmp_path / "nowhere.sql", "a.sql")
    assert caught.value.filename == str(tmp_path / "nowhere.sql")


def test_local_copies_of_many_threads_are_whole(fs: FsspecFileSystem) -> None:
    data = bytes(range(256)) * 40_000
    fs.write_bytes("a.sql", data)
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(fs.local_path("a.sql").read_bytes())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [copy == data for copy in found] == [True] * 6


def test_a_name_with_colons_in_a_url(fs: FsspecFileSystem) -> None:
    fs.write_text("a::b.csv", "x")
    assert fs.read_text(fs.url("a::b.csv")) == "x"


def test_a_name_that_s3fs_would_cut_is_refused(moto: Store) -> None:
    fs = FsspecFileSystem.from_url(moto.url, **moto.storage_options)
    with pytest.raises(LocationError, match="versionId"):
        fs.write_text("a?versionId=x.csv", "x")


def test_a_url_without_slashes_is_no_local_path() -> None:
    with pytest.raises(LocationError, match="write s3://"):
        FsspecFileSystem.from_url("s3:bucket/x")


def test_what_the_caller_handles_is_not_what_the_store_said(moto: Store) -> None:
    options = {**moto.storage_options, "endpoint_url": "http://127.0.0.1:9"}
    fs = FsspecFileSystem.from_url(moto.url, **options)
    try:
        raise FileNotFoundError("the caller's own")
    except FileNotFoundError:
        with pytest.raises(UnreachableError):
            fs.exists("a.csv")


@pytest.fixture
def http_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(int(self.path.rpartition("/")[2]))

        do_HEAD = do_GET

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_http_tells_refused_from_missing_and_shows_no_password(http_server: str) -> None:
    fs = FsspecFileSystem.from_url(f"http://me:hunter22@{http_server}/d")
    assert fs.exists("404") is False
    for status, kind in (("403", PermissionDeniedError), ("401", PermissionDeniedError), ("503", UnreachableError)):
        with pytest.raises(kind) as caught:
            fs.exists(status)
        shown = "".join(map(str, (caught.value, caught.value.__cause__, repr(caught.value.__cause__), repr(fs))))
        assert "hunter22" not in shown
