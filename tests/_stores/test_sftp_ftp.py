"""sftp and ftp: one thread, connections that get lost, and whole runs."""

from __future__ import annotations

import socket
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from idfkit.simulation import SimulationResult
from support import servers
from support.servers import FILE_PASSWORD, Store
from support.waiting import Pauses

from idfkit_fs import FsspecFileSystem, open_result, publish
from idfkit_fs._stores.threads import one_at_a_time
from idfkit_fs.errors import IdfkitFsError, NotFoundError, PermissionDeniedError, StoreError

THREADS = 16


@pytest.fixture(params=["sftp", "ftp"])
def store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(request.param)


@pytest.fixture
def fs(store: Store) -> FsspecFileSystem:
    return FsspecFileSystem.from_url(f"{store.url}/{uuid.uuid4().hex[:12]}", **store.storage_options)


@pytest.fixture
def made_up_run(tmp_path: Path) -> SimulationResult:
    directory = tmp_path / "run"
    directory.mkdir()
    word = "EnergyPlus Completed Successfully-- 0 Warning; 0 Severe Errors; Elapsed Time=00hr 00min  1.00sec\n"
    (directory / "eplus.end").write_text(word)
    (directory / "eplus.err").write_text(f"************* Beginning Simulation\n************* {word}")
    for number in range(3 * THREADS):
        (directory / f"zone-{number}.csv").write_bytes(bytes([number]) * 200_000)
    return SimulationResult(directory, success=True, exit_code=0, stdout="out", stderr="", runtime_seconds=1.0)


def test_a_run_is_published_and_opened_with_many_threads(store: Store, made_up_run: SimulationResult) -> None:
    url = f"{store.url}/{uuid.uuid4().hex[:12]}/case [1] a#b %20 é+&"
    publish(made_up_run, url, storage_options=store.storage_options, include=["*"])
    result = open_result(url, storage_options=store.storage_options)
    assert (result.success, result.stdout) == (True, "out")
    assert result.record is not None and len(result.record.files) == 3 * THREADS + 2
    fs = FsspecFileSystem.from_url(url, **store.storage_options)
    names = [f"zone-{number}.csv" for number in range(3 * THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(fs.read_bytes, names)) == [bytes([number]) * 200_000 for number in range(3 * THREADS)]


def test_many_threads_write_and_read_different_files(fs: FsspecFileSystem) -> None:
    def live(number: int) -> bool:
        path, data = f"deep/{number % 5}/{number}.csv", bytes([number]) * 100_000
        fs.write_bytes(path, data)
        return fs.exists(path) and fs.read_bytes(path) == data and path in fs.glob("", "**/*.csv")

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(live, range(40)))


def test_an_interrupted_download_leaves_no_answer_behind(fs: FsspecFileSystem) -> None:
    """Such as a full disk: the next call must not take the rest of the transfer for its own answer."""
    fs.write_bytes("big.sql", b"b" * 5_000_000)
    fs.write_bytes("small.csv", b"small")

    class FullDisk:
        def write(self, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    key = fs.key("big.sql")
    if "ftp" in fs.fs.protocol and "sftp" not in fs.fs.protocol:
        with pytest.raises(OSError, match="No space"), one_at_a_time(fs.fs):
            fs.fs.ftp.retrbinary(f"RETR {key}", FullDisk().write)
    else:
        with pytest.raises(OSError, match="No space"), one_at_a_time(fs.fs):
            fs.fs.ftp.getfo(key, FullDisk())
    assert fs.read_bytes("small.csv") == b"small"
    assert fs.read_bytes("big.sql") == b"b" * 5_000_000
    assert fs.glob("", "*") == ["big.sql", "small.csv"]


@pytest.mark.parametrize("name", ["a#b", "a?b", "a?b#c", "50%20", "a#", "é +&"])
def test_a_root_with_the_marks_of_a_url(store: Store, name: str) -> None:
    """fsspec drops what follows ``?``, and hands ``#`` on as an option."""
    url = f"{store.url}/{uuid.uuid4().hex[:12]}/{name}"
    fs = FsspecFileSystem.from_url(url, **store.storage_options)
    fs.write_bytes("x.csv", b"1")
    assert store.raw.get(f"{url.removeprefix(store.url)[1:]}/x.csv") == b"1"
    borrowed = FsspecFileSystem(fs.fs, url)
    assert borrowed.read_bytes("x.csv") == borrowed.read_bytes(f"{url}/x.csv") == b"1"
    assert borrowed == fs and fs.glob(url, "*") == [f"{url}/x.csv"]


def test_a_closed_connection_is_opened_again(fs: FsspecFileSystem) -> None:
    fs.write_bytes("a.csv", b"1")
    if hasattr(fs.fs, "client"):
        fs.fs.client.close()
    else:
        fs.fs.ftp.sock.shutdown(socket.SHUT_RDWR)
    assert fs.read_bytes("a.csv") == b"1"


def test_a_server_that_closes_idle_connections(tmp_path: Path) -> None:
    for _ in range(5):
        with servers.ftp_server(idle_seconds=1) as store, Pauses() as pauses:
            try:
                fs = FsspecFileSystem.from_url(f"{store.url}/x", **store.storage_options)
                fs.write_bytes("a.csv", b"1")
                assert fs.fs.ftp.sock.recv(100).startswith(b"421")  # waits for the server's farewell
                assert fs.read_bytes("a.csv") == b"1"
            except (IdfkitFsError, AssertionError):
                if pauses.longest < 0.5:  # else the connection may have been idle between two commands of one call
                    raise
            else:
                return


@pytest.mark.parametrize("depth", [1, 4])
def test_two_clients_create_the_same_directories(store: Store, depth: int) -> None:
    """Each with a connection of its own, so that no lock keeps them apart."""
    url = f"{store.url}/{uuid.uuid4().hex[:12]}"
    clients = [FsspecFileSystem(other_client(store), url) for _ in range(2)]
    barrier = threading.Barrier(2, timeout=120)

    def write(number: int) -> None:
        for turn in range(10):
            barrier.wait()
            clients[number].write_bytes(f"{turn}/{'/'.join('abcd'[:depth])}/{number}.csv", b"1")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(2)))
    assert len(clients[0].glob("", "**/*.csv")) == 20


def other_client(store: Store) -> Any:
    return fsspec.filesystem(store.name, host=servers.HOST, skip_instance_cache=True, **store.storage_options)


def test_a_file_where_a_directory_is_needed(fs: FsspecFileSystem) -> None:
    fs.write_bytes("a", b"1")
    with pytest.raises(StoreError):
        fs.write_bytes("a/b.csv", b"1")
    assert fs.read_bytes("a") == b"1"


def test_a_file_is_created_once(fs: FsspecFileSystem) -> None:
    assert fs.create_exclusive("deep/er/a.csv", b"1")
    assert not fs.create_exclusive("deep/er/a.csv", b"2")
    assert fs.read_bytes("deep/er/a.csv") == b"1"


def test_a_wrong_password(store: Store) -> None:
    options = {**store.storage_options, "password": "wrong-password"}
    with pytest.raises(PermissionDeniedError) as caught:
        FsspecFileSystem.from_url(f"{store.url}/x", **options)
    assert "wrong-password" not in str(caught.value)


def test_missing_files(fs: FsspecFileSystem) -> None:
    for read in (fs.read_bytes, fs.remove, lambda path: fs.copy(path, "b.csv")):
        with pytest.raises(NotFoundError):
            read("missing/a.csv")


def test_the_password_is_never_shown(store: Store, fs: FsspecFileSystem) -> None:
    url = f"{store.url.replace('://', f'://tester:{FILE_PASSWORD}@')}/x"
    options = {name: value for name, value in store.storage_options.items() if name not in ("username", "password")}
    for other in (fs, FsspecFileSystem.from_url(url, **options)):
        with pytest.raises(NotFoundError) as caught:
            other.read_bytes("missing.csv")
        assert FILE_PASSWORD not in repr(other) + repr(caught.value) + str(caught.value)


def test_a_name_with_a_line_break_is_an_error_of_ours(ftp: Store) -> None:
    """ftplib refuses it by ``ValueError``: it would send two commands."""
    fs = FsspecFileSystem.from_url(f"{ftp.url}/{uuid.uuid4().hex}", **ftp.storage_options)
    with pytest.raises(StoreError):
        fs.write_bytes("a\r\nDELE b.csv", b"1")
    assert fs.exists("b.csv") is False


# --- the lock --------------------------------------------------------------------------------------------------------


def test_one_lock_for_a_filesystem_and_what_is_stacked_on_it(sftp: Store, tmp_path: Path) -> None:
    options = sftp.storage_options
    host = fsspec.filesystem("sftp", host=servers.HOST, **options)
    stacked = fsspec.filesystem("dir", path=f"/{servers.BUCKET}", fs=host)
    cached = fsspec.filesystem("simplecache", fs=host, cache_storage=str(tmp_path))  # else a temporary one
    assert one_at_a_time(stacked) is one_at_a_time(host) is one_at_a_time(cached)
    assert one_at_a_time(other_client(sftp)) is not one_at_a_time(host)


def test_stores_for_many_threads_have_no_lock(moto: Store) -> None:
    for fs in (fsspec.filesystem("memory"), fsspec.filesystem("file"), fsspec.filesystem("s3", **moto.storage_options)):
        entered: list[Any] = []
        barrier = threading.Barrier(4, timeout=120)

        def enter(_number: int, fs: Any = fs, barrier: Any = barrier, entered: list[Any] = entered) -> None:
            with one_at_a_time(fs):
                entered.append(barrier.wait())  # ends only if all four are inside

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(enter, range(4)))
        assert sorted(entered) == [0, 1, 2, 3]
