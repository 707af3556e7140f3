"""The cache of results on a good day: its options, what goes through it, and what it says of itself."""

from __future__ import annotations

import asyncio
import gc
import gzip
import http.server
import inspect
import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.cached import SimpleCacheFileSystem
from hypothesis import given
from hypothesis import strategies as st
from support.servers import Store
from support.waiting import wait_until
from upath import UPath

from idfkit_fs import AsyncFsspecFileSystem, FsspecFileSystem, cache
from idfkit_fs._cache.store import Version, temporary_directory
from idfkit_fs._stores.instances import identity_of
from idfkit_fs.errors import LocationError, StorageOptionsError


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def place() -> str:
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for temporary files that a process keeps until it ends."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def cached(place: str, storage: Path, **options: Any) -> FsspecFileSystem:
    return FsspecFileSystem.from_url(f"simplecache::{place}", simplecache={"cache_storage": str(storage), **options})


def copies(storage: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in storage.glob("entries/*/*/[!.]*"))


# --- what goes through it --------------------------------------------------------------------------------------------


def test_every_read_goes_through_and_every_write_around(place: str, storage: Path) -> None:
    fs = cached(place, storage)
    fs.write_bytes("written", b"1")
    fs.write_text("text", "2")
    with fs.open("opened", "w") as file:
        file.write("3")
    fs.copy("written", "copied")
    assert copies(storage) == []

    assert fs.read_bytes("written") == b"1"
    assert fs.read_text("text") == "2"
    assert fs.open("opened").read() == b"3"
    assert copies(storage) == [b"1", b"2", b"3"]
    assert fs.local_path("copied").is_relative_to(storage)
    assert copies(storage) == [b"1", b"1", b"2", b"3"]


def test_the_async_twin_reads_through_the_same_copies(place: str, storage: Path) -> None:
    fs = cached(place, storage)
    fs.write_text("a.csv", "hour,degC")
    twin = AsyncFsspecFileSystem.from_url(f"simplecache::{place}", **fs.storage_options)
    assert asyncio.run(twin.read_text("a.csv")) == fs.read_text("a.csv") == "hour,degC"
    assert copies(storage) == [b"hour,degC"]


def test_a_file_that_changed_is_read_anew(place: str, storage: Path) -> None:
    fs, other = cached(place, storage), FsspecFileSystem.from_url(place)
    for text in ("first", "second", "third"):
        other.write_text("a.csv", text)
        assert fs.read_text("a.csv") == fs.open("a.csv", "r").read() == fs.local_path("a.csv").read_text() == text


def test_a_removed_file_is_gone(place: str, storage: Path) -> None:
    fs = cached(place, storage)
    fs.write_text("a.csv", "x")
    assert fs.read_text("a.csv") == "x"
    fs.remove("a.csv")
    for read in (fs.read_text, fs.open, fs.local_path):
        with pytest.raises(FileNotFoundError) as caught:
            read("a.csv")
        assert caught.value.filename.endswith(f"{place}/a.csv")


def test_a_directory_is_no_file(tmp_path: Path, storage: Path) -> None:
    (tmp_path / "data" / "case").mkdir(parents=True)
    fs = cached(f"file://{tmp_path}/data", storage)
    with pytest.raises(IsADirectoryError):
        fs.read_bytes("case")


def test_without_simplecache_only_local_copies_are_kept(tmp_path: Path, moto: Store, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fs = FsspecFileSystem.from_url(f"{moto.url}/{uuid.uuid4().hex}", **moto.storage_options)
    fs.write_text("a.csv", "x")
    assert fs.read_text("a.csv") == "x"
    assert not (tmp_path / "idfkit-fs").exists()
    assert fs.local_path("a.csv") == fs.local_path("a.csv")
    assert copies(tmp_path / "idfkit-fs") == [b"x"]


def test_a_local_filesystem_needs_no_copy_unless_asked(tmp_path: Path, storage: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    assert FsspecFileSystem.from_url(tmp_path).local_path("a.csv") == tmp_path / "a.csv"
    for url in (f"simplecache::file://{tmp_path}", f"simplecache::{tmp_path}"):
        fs = FsspecFileSystem.from_url(url, simplecache={"cache_storage": storage})
        assert fs.local_path("a.csv").is_relative_to(storage)


def test_an_adapter_keeps_its_cache_when_it_is_sent_on(place: str, storage: Path) -> None:
    fs = cached(place, storage)
    assert pickle.loads(pickle.dumps(fs)) == fs
    assert fs != FsspecFileSystem.from_url(place)
    for other in (pickle.loads(pickle.dumps(fs)), fs.joinpath("case-1")):
        other.write_text("a.csv", "x")
        assert other.local_path("a.csv").is_relative_to(storage)


# --- options ---------------------------------------------------------------------------------------------------------

REFUSED: dict[str, Any] = {
    "cache_check": 5,
    "cache_mapper": str,
    "cache_storage_mode": 0o755,
    "check_files": True,
    "compression": "gzip",
    "expiry_time": 60,
    "target_options": {"anon": True},
    "target_protocol": "s3",
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("adapter", [FsspecFileSystem, AsyncFsspecFileSystem])
def test_an_option_that_cannot_be_honoured_is_refused_by_name(adapter: Any, place: str, name: str) -> None:
    for options in ({"simplecache": {name: REFUSED[name]}}, {name: REFUSED[name]}):
        with pytest.raises(StorageOptionsError, match=name):
            adapter.from_url(f"simplecache::{place}", **options)


def test_every_option_of_simplecache_is_either_honoured_or_refused() -> None:
    parameters = {
        name
        for base in SimpleCacheFileSystem.__mro__
        if base.__module__ == SimpleCacheFileSystem.__module__ and "__init__" in vars(base)
        for name, parameter in inspect.signature(vars(base)["__init__"]).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    # Older versions of fsspec know fewer.
    assert parameters - {"self"} <= {*REFUSED, "fs", "cache_storage", "same_names"}


def test_a_handed_in_simplecache_lends_its_options_and_not_its_cache(
    place: str, storage: Path, temporary_files: Path
) -> None:
    FsspecFileSystem.from_url(place).write_text("a.csv", "x")
    theirs = fsspec.filesystem("simplecache", target_protocol="memory", cache_storage=str(storage))
    fs = FsspecFileSystem(theirs, place)
    assert fs.url("a.csv") == f"safecache::{place}/a.csv"
    assert fs.read_text("a.csv") == "x"
    assert copies(storage) == [b"x"]
    refused = fsspec.filesystem("simplecache", target_protocol="memory", compression="gzip")
    with pytest.raises(StorageOptionsError, match="compression"):
        FsspecFileSystem(refused, place)


@pytest.mark.parametrize("options", [{"compression": None}, {"check_files": False}, {"cache_storage_mode": 0o700}])
def test_an_option_that_asks_for_nothing_else_is_welcome(place: str, storage: Path, options: dict[str, Any]) -> None:
    fs = cached(place, storage, **options)
    fs.write_text("a.csv", "x")
    assert fs.read_text("a.csv") == "x"


@pytest.mark.parametrize("same_names", [True, False])
def test_copies_keep_their_names(place: str, storage: Path, same_names: bool) -> None:
    fs = cached(place, storage, same_names=same_names)
    fs.write_text("case-1/eplus.sql", "1")
    fs.write_text("case-2/eplus.sql", "2")
    paths = [fs.local_path(f"case-{number}/eplus.sql") for number in (1, 2)]
    assert [path.name for path in paths] == ["eplus.sql"] * 2
    assert [path.read_text() for path in paths] == ["1", "2"]


def test_a_temporary_cache_ends_with_its_process(place: str) -> None:
    fs = cached(place, Path("TMP"))
    fs.write_text("a.csv", "x")
    kept = fs.local_path("a.csv")
    assert kept.is_relative_to(temporary_directory())


def test_a_temporary_cache_leaves_nothing_behind(tmp_path: Path) -> None:
    program = """
import multiprocessing, sys
from idfkit_fs import FsspecFileSystem
fs = FsspecFileSystem.from_url("simplecache::" + sys.argv[1], simplecache={"cache_storage": "TMP"})
print(fs.local_path("a.csv").parent.parent.parent.parent)
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(*(path.parent.parent.parent.parent for path in pool.map(fs.local_path, ["a.csv"] * 4)))
    pool.close()
    pool.join()
"""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("x")
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    done = subprocess.run(
        command, env={**os.environ, "TMPDIR": str(tmp_path / "tmp")}, capture_output=True, text=True, check=True
    )
    directories = {Path(line) for line in done.stdout.split()}
    assert len(directories) > 1 and all(path.parent == tmp_path / "tmp" for path in directories)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_one_directory_may_stand_in_a_list(place: str, tmp_path: Path) -> None:
    options = {"cache_storage": [str(tmp_path / "one")]}
    fs = FsspecFileSystem.from_url(f"simplecache::{place}", simplecache=options)
    fs.write_text("a.csv", "x")
    assert fs.local_path("a.csv").is_relative_to(tmp_path / "one")
    with pytest.raises(StorageOptionsError, match="cache_storage"):
        FsspecFileSystem.from_url(f"simplecache::{place}", simplecache={"cache_storage": ["one", "two"]})


@pytest.mark.parametrize("value", [7, object(), "", "file:///tmp/x", "s3://bucket/x", "~no-such-user/x"])
def test_a_directory_that_is_none_is_refused(place: str, value: Any) -> None:
    with pytest.raises(StorageOptionsError, match="cache_storage"):
        FsspecFileSystem.from_url(f"simplecache::{place}", simplecache={"cache_storage": value})


def test_fsspecs_own_configuration_counts(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        fsspec.config.conf, "simplecache", {"cache_storage": str(tmp_path / "conf"), "max_bytes": "1 KB"}
    )
    fs = FsspecFileSystem.from_url(place)
    fs.write_text("a.csv", "x")
    assert fs.local_path("a.csv").is_relative_to(tmp_path / "conf")
    assert cache.info().directory == tmp_path / "conf"
    assert cache.info().max_bytes == 1000


def test_what_is_configured_for_fsspecs_own_cache_is_no_mistake(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf, "simplecache", {"check_files": True, "compression": "gzip"})
    fs = FsspecFileSystem.from_url(f"simplecache::{place}")
    fs.write_text("a.csv", "x")
    assert fs.read_text("a.csv") == "x"


@pytest.mark.parametrize("size", ["10%", True, -1, "-1", "lots", "1 GB 2"])
def test_a_bound_that_is_no_size_is_refused(place: str, size: Any) -> None:
    with pytest.raises(StorageOptionsError, match=re.escape(repr(size))):
        FsspecFileSystem.from_url(f"simplecache::{place}", simplecache={"max_bytes": size})


def test_a_user_without_a_home_has_a_temporary_cache(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> None:
        raise KeyError

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    fs = FsspecFileSystem.from_url(place)
    fs.write_text("a.csv", "x")
    assert fs.local_path("a.csv").is_relative_to(temporary_directory())


def test_a_upath_brings_its_options(storage: Path, place: str, temporary_files: Path) -> None:
    path = UPath(f"simplecache::{place}", cache_storage=str(storage), max_bytes="1 MB")
    fs = FsspecFileSystem.from_url(path)
    fs.write_text("a.csv", "x")
    assert fs.local_path("a.csv").is_relative_to(storage)
    with fsspec.open(fs.url("a.csv"), **fs.storage_options) as file:
        assert file.read() == b"x"
    with pytest.raises(StorageOptionsError, match="compression"):
        FsspecFileSystem.from_url(UPath(f"simplecache::{place}", compression="gzip"))


def test_opening_takes_options_that_do_not_change_the_file(place: str, storage: Path) -> None:
    fs = cached(place, storage)
    fs.write_text("a.csv", "x")
    assert fs.open("a.csv", block_size=1024, cache_type="none").read() == b"x"
    fs.write_bytes("a.csv.gz", gzip.compress(b"x"))
    assert fs.open("a.csv.gz", compression="gzip").read() == b"x"  # by fsspec, as without the cache
    with pytest.raises(TypeError, match="version_id"):
        fs.open("a.csv", version_id="1")


@pytest.mark.parametrize("url", ["simplecache::", "simplecache://", "simplecache://b/x", "simplecache::file://"])
def test_simplecache_alone_is_no_place(url: str) -> None:
    with pytest.raises(LocationError):
        FsspecFileSystem.from_url(url)


# --- bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 400, 1000])
def test_it_stays_within_its_bound(place: str, storage: Path, size: int) -> None:
    fs = cached(place, storage, max_bytes=2000)
    for number in range(30):
        fs.write_bytes(f"{number}.csv", bytes(size))
        fs.read_bytes(f"{number}.csv")
        assert cache.info(storage).bytes <= 2000
    assert f"{number}.csv" in {path.name for path in storage.glob("entries/*/*/*.csv")}


def test_a_file_beyond_the_bound_is_read_all_the_same(place: str, storage: Path) -> None:
    fs = cached(place, storage, max_bytes=100)
    fs.write_bytes("large.csv", bytes(5000))
    assert fs.read_bytes("large.csv") == fs.open("large.csv").read() == bytes(5000)
    assert fs.local_path("large.csv").read_bytes() == bytes(5000)


def test_what_is_dropped_is_what_was_used_longest_ago(place: str, storage: Path) -> None:
    fs = cached(place, storage)
    for name in "abcd":
        fs.write_bytes(name, bytes(1000))
        fs.read_bytes(name)
        time.sleep(0.02)  # no two uses at one tick of the disk's clock
    fs.read_bytes("a")
    each = cache.info(storage).bytes // 4
    assert cache.prune(2 * each, storage) == 2 * each
    assert {path.name for path in storage.glob("entries/*/*/[!.]*")} == {"a", "d"}


def test_a_path_that_was_handed_out_stays(place: str, storage: Path) -> None:
    fs = cached(place, storage)
    fs.write_text("a.csv", "x")
    path = fs.local_path("a.csv")
    assert cache.info(storage).in_use == 1
    assert cache.clear(storage) == 0
    assert path.read_text() == "x"


def test_an_entry_that_lost_its_description_goes_too(place: str, storage: Path) -> None:
    fs = cached(place, storage)
    fs.write_bytes("a.csv", bytes(1000))
    fs.read_bytes("a.csv")
    for path in storage.glob("entries/*/*/.entry.json"):
        path.unlink()
    assert cache.info(storage).files == 1
    assert cache.clear(storage) == 1000
    assert cache.info(storage).files == 0


def test_clearing_leaves_no_lock_behind(place: str, storage: Path) -> None:
    fs = cached(place, storage)
    for number in range(5):
        fs.write_bytes(f"{number}.csv", b"x")
        fs.read_bytes(f"{number}.csv")
    cache.clear(storage)
    assert list((storage / "locks").iterdir()) == []


def test_what_others_have_in_the_directory_stays(place: str, storage: Path) -> None:
    theirs = [storage / part for part in ("processes/hvac/a.idf", "entries/2024/jan/a.csv", "entries/.DS_Store", "a")]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("theirs")
    fs = cached(place, storage, max_bytes=2000)
    for number in range(10):
        fs.write_bytes(f"{number}.csv", bytes(500))
        fs.read_bytes(f"{number}.csv")
        assert cache.info(storage).bytes <= 2000
    cache.clear(storage)
    assert cache.info(storage).files == 0
    assert [path.read_text() for path in theirs] == ["theirs"] * 4


def test_looking_into_any_directory_changes_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert cache.info(tmp_path / "mine").files == cache.clear(tmp_path / "mine") == 0
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_process_that_ends_in_the_middle_of_reading_uses_nothing_afterwards(storage: Path, tmp_path: Path) -> None:
    program = """
import sys, threading
from idfkit_fs import FsspecFileSystem
fs = FsspecFileSystem.from_url("simplecache::" + sys.argv[1], simplecache={"cache_storage": sys.argv[2]})
def read():
    while True:
        for name in names:
            fs.read_bytes(name)
names = fs.glob("", "*")
for _ in range(4):
    threading.Thread(target=read, daemon=True).start()
for name in names:
    fs.read_bytes(name)
"""
    (tmp_path / "data").mkdir()
    for number in range(30):
        (tmp_path / "data" / f"{number}.csv").write_bytes(bytes(1000))
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program, str(tmp_path / "data"), str(storage)], check=False)
    cache.clear(storage)
    assert cache.info(storage).files == 0
    assert len(list((storage / "processes").iterdir())) == 2  # this process, and its lock


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit()"])
def test_a_forked_child_does_not_release_what_its_parent_uses(storage: Path, tmp_path: Path, end: str) -> None:
    program = f"""
import gc, os, sys
from idfkit_fs import FsspecFileSystem, cache
fs = FsspecFileSystem.from_url("simplecache::" + sys.argv[1], simplecache={{"cache_storage": sys.argv[2]}})
copy = fs.local_copy("a.csv")
child = os.fork()
if not child:
    fs.read_bytes("a.csv")
    del copy
    gc.collect()
    {end}
os.waitpid(child, 0)
print(cache.info(sys.argv[2]).in_use, cache.clear(sys.argv[2]), copy.path.exists())
"""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("x")
    command = [sys.executable, "-c", program, str(tmp_path / "data"), str(storage)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0", "True"]


def test_somebody_who_gets_no_further_is_not_waited_for(
    place: str, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idfkit_fs._cache.store.PATIENCE", 0.05)
    fs = cached(place, storage)
    fs.write_text("a.csv", "x")
    with fs.cache.slot(fs.version("a.csv")), pytest.warns(UserWarning, match="makes no progress"):
        assert fs.read_text("a.csv") == "x"
    assert fs.local_path("a.csv").is_relative_to(storage)


async def test_readers_that_gave_up_use_nothing(place: str, storage: Path) -> None:
    fs = AsyncFsspecFileSystem.from_url(f"simplecache::{place}", simplecache={"cache_storage": str(storage)})
    await fs.write_bytes("a.csv", bytes(10**6))
    readers = []  # as a caller that looks at them later keeps their exceptions, and so their frames
    for turns in range(60):
        cache.clear(storage)
        readers.append(asyncio.create_task(fs.read_bytes("a.csv")))
        for _ in range(turns):
            await asyncio.sleep(0 if turns % 2 else 0.0001)
        readers[-1].cancel()
        await asyncio.gather(readers[-1], return_exceptions=True)
        assert len(await asyncio.wait_for(fs.read_bytes("a.csv"), 300)) == 10**6
    readers.clear()

    def nothing_is_used() -> bool:
        gc.collect()
        return cache.info(storage).in_use == 0 and not list(storage.glob("processes/*/*"))

    # The thread of a task that was cancelled may just be ending its own read.
    wait_until(nothing_is_used, "reads that were cancelled to end")


def test_nothing_is_made_by_looking(storage: Path) -> None:
    assert cache.info(storage).files == cache.clear(storage) == cache.prune(cache_storage=storage) == 0
    assert not storage.exists()


# --- versions --------------------------------------------------------------------------------------------------------


class Redirecting(http.server.BaseHTTPRequestHandler):
    """Sends every reader on to a URL that is signed again each time."""

    has_version = True

    def do_HEAD(self) -> None:
        self.answer(b"")

    def do_GET(self) -> None:
        self.answer(b"weather")

    def answer(self, body: bytes) -> None:
        if "signature" not in self.path:
            self.send_response(302)
            self.send_header("Location", f"{self.path}?signature={uuid.uuid4().hex}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", "7")
        if self.has_version:
            self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Versionless(Redirecting):
    has_version = False


@pytest.fixture
def web(request: pytest.FixtureRequest) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), request.param) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/files"
        server.shutdown()


@pytest.mark.parametrize("web", [Redirecting], indirect=True)
def test_a_signature_that_changes_is_no_new_version(web: str, storage: Path) -> None:
    fs = cached(web, storage)
    kept = fs.local_path("a.epw")
    assert kept.read_bytes() == fs.read_bytes("a.epw") == b"weather"
    assert fs.local_path("a.epw") == kept
    assert copies(storage) == [b"weather"]


@pytest.mark.parametrize("web", [Versionless], indirect=True)
def test_a_file_without_version_is_fetched_beside_those_in_use(web: str, storage: Path) -> None:
    fs = cached(web, storage)
    kept = fs.local_path("a.epw")
    for _ in range(3):
        assert fs.read_bytes("a.epw") == b"weather"
    assert kept.read_bytes() == b"weather"
    assert copies(storage) == list((storage / "locks").iterdir()) == []


def test_stores_are_told_apart_and_logins_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(protocol: str, **options: Any) -> str | None:
        return identity_of(fsspec.filesystem(protocol, **options, skip_instance_cache=True)).store

    assert told("memory") is None
    plain = told("s3", key="a", secret="first-secret")
    assert plain == told("s3", key="b", secret="second-secret", token="session")
    assert "secret" not in str(plain)
    assert told("dir", path="/a", fs=fsspec.filesystem("memory")) is None
    assert plain != told("s3", endpoint_url="http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2")
    assert plain != told("s3")
    account = "DefaultEndpointsProtocol=https;AccountName={};AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net"
    assert told("az", connection_string=account.format("one")) != told("az", connection_string=account.format("two"))
    assert "c2VjcmV0" not in str(told("az", connection_string=account.format("one")))


# --- names -----------------------------------------------------------------------------------------------------------


@given(st.text(), st.text(st.characters()))
def test_any_name_has_a_local_one(identity: str, name: str) -> None:
    local = Version(identity, name).local_name
    assert local
    assert "/" not in local and "\0" not in local and local not in (".", "..") and not local.startswith(".")
    assert len(local.encode()) <= 255 and Path(local).name == local


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_no_two_versions_share_a_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (Version(*one).key == Version(*other).key) == (one == other)


def test_a_signature_in_a_url_is_not_in_a_name() -> None:
    assert Version("x", "a.csv?sig=secret").local_name == "file"
    assert Version("x", "näme 1.csv").local_name == "näme 1.csv"
    assert Version("x", "\U00020000" * 100 + ".csv").local_name == "file.csv"
