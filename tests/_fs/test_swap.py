"""Compare and swap: a small file is changed only if it is still what was read."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from support.counting import count_up
from support.places import Place
from support.proxy import FaultProxy
from support.servers import Store

from idfkit_fs import FsspecFileSystem
from idfkit_fs.errors import BucketNotFoundError, PermissionDeniedError, StoreError

NAME = "case 1/run.json"
# Where the store itself compares, or a lock excludes all others; moto compares too, but lets others in before it writes.
ATOMIC = ["local", "memory", "seaweed", "gcs", "azurite_blob"]
# fake-gcs-server, unlike Google, ignores the condition of a removal.
ATOMIC_TOO = [where for where in ATOMIC if where != "gcs"]
OBJECT_STORES = ["moto", "seaweed", "rclone_s3", "gcs", "azurite_blob"]


def adapter(where: str, request: pytest.FixtureRequest, tmp_path: Path) -> FsspecFileSystem:
    if where == "local":
        return FsspecFileSystem.from_url(tmp_path / "results")
    if where == "memory":
        return FsspecFileSystem.from_url(f"memory://{uuid.uuid4().hex}")
    store: Store = request.getfixturevalue(where)
    return FsspecFileSystem.from_url(f"{store.url}/{uuid.uuid4().hex}", **store.storage_options)


@pytest.fixture(params=["local", "memory", *OBJECT_STORES, "sftp"])
def fs(request: pytest.FixtureRequest, tmp_path: Path) -> FsspecFileSystem:
    return adapter(request.param, request, tmp_path)


@pytest.fixture(params=ATOMIC)
def atomic(request: pytest.FixtureRequest, tmp_path: Path) -> FsspecFileSystem:
    return adapter(request.param, request, tmp_path)


@pytest.fixture(params=ATOMIC_TOO)
def removes(request: pytest.FixtureRequest, tmp_path: Path) -> FsspecFileSystem:
    return adapter(request.param, request, tmp_path)


@pytest.fixture
def shaky(shaky_place: Place) -> FsspecFileSystem:
    return FsspecFileSystem.from_url(shaky_place.url, **shaky_place.options)


def created(fs: FsspecFileSystem, data: bytes = b"1") -> str:
    tag = fs.swap(NAME, data, None)
    assert tag is not None
    return tag


def test_a_file_goes_through_its_states(fs: FsspecFileSystem) -> None:
    assert fs.read_tagged(NAME) is None
    first = created(fs, b"claim")
    assert fs.read_tagged(NAME) == (b"claim", first)
    second = fs.swap(NAME, b"record", first)
    assert second not in (None, first)
    assert fs.read_tagged(NAME) == (b"record", second)
    assert fs.read_bytes(NAME) == b"record"
    assert second is not None and fs.remove_tagged(NAME, second) is True
    assert fs.read_tagged(NAME) is None
    assert not fs.exists(NAME)
    assert fs.swap(NAME, b"another claim", None) is not None


def test_what_has_changed_is_left_as_it_is(fs: FsspecFileSystem) -> None:
    stale = created(fs)
    tag = fs.swap(NAME, b"2", stale)
    assert fs.swap(NAME, b"3", stale) is None
    assert fs.swap(NAME, b"3", None) is None
    assert fs.remove_tagged(NAME, stale) is False
    assert fs.read_tagged(NAME) == (b"2", tag)
    assert fs.glob("", "**/*") == [NAME]


def test_a_file_that_is_missing_is_not_replaced(fs: FsspecFileSystem) -> None:
    tag = created(fs)
    assert fs.remove_tagged(NAME, tag) is True
    assert fs.swap(NAME, b"2", tag) is None
    assert fs.remove_tagged(NAME, tag) is False
    assert fs.read_tagged(NAME) is None


def test_what_a_plain_write_changed_is_left_too(fs: FsspecFileSystem) -> None:
    tag = created(fs)
    fs.write_bytes(NAME, b"by another way")
    assert fs.swap(NAME, b"2", tag) is None
    assert fs.remove_tagged(NAME, tag) is False
    assert fs.read_bytes(NAME) == b"by another way"


def test_an_empty_file_has_a_tag(fs: FsspecFileSystem) -> None:
    tag = created(fs, b"")
    assert fs.read_tagged(NAME) == (b"", tag)
    assert fs.swap(NAME, b"2", tag) is not None


@pytest.mark.parametrize("where", OBJECT_STORES)
def test_a_missing_bucket_is_an_error(where: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(where)
    scheme = store.url.partition("://")[0]
    fs = FsspecFileSystem.from_url(f"{scheme}://no-such-bucket/x", **store.storage_options)
    for call in (
        lambda: fs.read_tagged(NAME),
        lambda: fs.swap(NAME, b"1", None),
        lambda: fs.swap(NAME, b"1", "1"),
        lambda: fs.remove_tagged(NAME, "1"),
    ):
        with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
            call()


def test_no_change_is_lost_among_threads(atomic: FsspecFileSystem) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: count_up(atomic, NAME, 5), range(6)))
    assert atomic.read_bytes(NAME).split()[0] == b"30"


def test_threads_that_all_have_compared_do_not_all_write_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are let in right before the write, which fsspec's own class does."""
    inside, most = 0, 0
    write = MemoryFileSystem.pipe_file

    def watched(self: MemoryFileSystem, *arguments: object, **options: object) -> object:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.01)  # time for the others, which must not come in
        inside -= 1
        return write(self, *arguments, **options)

    fs = FsspecFileSystem.from_url(f"memory://{uuid.uuid4().hex}")
    tag = created(fs)
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", watched)
    with ThreadPoolExecutor(4) as pool:
        swapped = list(pool.map(lambda number: fs.swap(NAME, f"{number}".encode() * 2, tag), range(4)))
    assert most == 1 and swapped.count(None) == 3


def test_one_of_many_removes_it(removes: FsspecFileSystem) -> None:
    tag = created(removes)
    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(lambda _: removes.remove_tagged(NAME, tag), range(6))) == 1


def test_a_replacement_and_a_removal_exclude_each_other(removes: FsspecFileSystem) -> None:
    for round_ in range(5):
        tag = created(removes, f"{round_}".encode())
        with ThreadPoolExecutor(2) as pool:
            swapped = pool.submit(removes.swap, NAME, f"{round_} changed".encode(), tag)
            removed = pool.submit(removes.remove_tagged, NAME, tag)
        assert (swapped.result() is None) is removed.result()
        if (left := swapped.result()) is not None:
            assert removes.remove_tagged(NAME, left)


def test_no_change_is_lost_among_processes(tmp_path: Path) -> None:
    fs = FsspecFileSystem.from_url(tmp_path)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(count_up, [fs] * 2, [NAME] * 2, [300] * 2))
    assert int(fs.read_bytes(NAME).split()[0]) == 600


def test_nothing_else_is_left_on_a_disk(tmp_path: Path) -> None:
    fs = FsspecFileSystem.from_url(tmp_path)
    tag = fs.swap(NAME, b"2", created(fs))
    assert os.listdir(tmp_path / "case 1") == ["run.json"]
    assert tag is not None and fs.remove_tagged(NAME, tag)
    assert os.listdir(tmp_path / "case 1") == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_fork_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A child that is forked while the lock is held has the locked file open too."""
    from idfkit_fs._util.files import locked

    fs = FsspecFileSystem.from_url(tmp_path)
    tag = created(fs)
    asleep, wake = os.pipe()
    with locked(tmp_path / NAME):
        child = os.fork()
        if child == 0:
            os.close(wake)
            os.read(asleep, 1)
            os._exit(0)
    try:
        assert fs.swap(NAME, b"2", tag) is not None
    finally:
        os.close(wake)
        os.close(asleep)
        os.waitpid(child, 0)


def test_a_disk_without_locks_compares_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def no_locks(*_arguments: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    fs = FsspecFileSystem.from_url(tmp_path)
    stale = created(fs)
    assert fs.swap(NAME, b"2", stale) is not None
    assert fs.swap(NAME, b"3", stale) is None


def test_a_directory_in_its_place_is_an_error(tmp_path: Path) -> None:
    fs = FsspecFileSystem.from_url(tmp_path)
    fs.write_bytes(f"{NAME}/a.csv", b"1")
    for call in (
        lambda: fs.read_tagged(NAME),
        lambda: fs.swap(NAME, b"1", "1"),
        lambda: fs.remove_tagged(NAME, "1"),
    ):
        with pytest.raises(StoreError):
            call()


class Counted(MemoryFileSystem):
    """Counts what it is asked to do, as a scheduler of steps would stop there."""

    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    calls: ClassVar[list[str]] = []

    def __getattribute__(self, name: str) -> object:
        if name in ("cat_file", "pipe_file", "rm_file", "info", "ls", "find", "open", "exists", "mkdir", "makedirs"):
            type(self).calls.append(name)
        return super().__getattribute__(name)


def test_a_change_in_memory_is_one_step_of_what_wraps_it() -> None:
    fs = FsspecFileSystem(Counted(skip_instance_cache=True), f"/{uuid.uuid4().hex}")
    steps = []
    for change in (
        lambda: created(fs),
        lambda: fs.swap(NAME, b"2", (fs.read_tagged(NAME) or ("", ""))[1]),
        lambda: fs.remove_tagged(NAME, (fs.read_tagged(NAME) or ("", ""))[1]),
    ):
        Counted.calls.clear()
        assert change()
        steps.append(list(Counted.calls))
    assert steps == [["cat_file"], ["cat_file", "cat_file"], ["cat_file", "cat_file"]]  # a read is the first of two


def test_through_other_filesystems(moto: Store) -> None:
    prefix = uuid.uuid4().hex
    s3 = fsspec.filesystem("s3", **moto.storage_options)
    below = FsspecFileSystem(fsspec.filesystem("dir", path=f"{moto.url.partition('://')[2]}/{prefix}", fs=s3), "a")
    direct = FsspecFileSystem(s3, f"{moto.url}/{prefix}/a")
    cached = FsspecFileSystem.from_url(f"simplecache::{moto.url}/{prefix}/a", s3=moto.storage_options)
    tag = created(below)
    assert direct.read_tagged(NAME) == cached.read_tagged(NAME) == (b"1", tag)
    assert cached.read_bytes(NAME) == b"1"
    assert direct.swap(NAME, b"2", tag) is not None
    assert below.swap(NAME, b"3", tag) is cached.swap(NAME, b"3", tag) is None
    assert cached.read_bytes(NAME) == b"2"


# What the wire brings.


@pytest.fixture(params=["moto", "seaweed", "gcs", "azurite_blob"])
def lossy(request: pytest.FixtureRequest) -> Iterator[tuple[FsspecFileSystem, FaultProxy]]:
    store: Store = request.getfixturevalue(request.param)
    target = urlsplit(store.endpoint)
    with FaultProxy(str(target.hostname), int(target.port or 0)) as proxy:
        options = store.through(proxy.endpoint).storage_options
        # The retries that users have.
        options = {name: value for name, value in options.items() if name != "config_kwargs"}
        yield FsspecFileSystem.from_url(f"{store.url}/{uuid.uuid4().hex}", **options), proxy


def test_a_lost_reply_does_not_make_a_change_another_ones(lossy: tuple[FsspecFileSystem, FaultProxy]) -> None:
    fs, proxy = lossy
    proxy.lose_reply(on="^(PUT|POST) ")
    tag = created(fs)
    assert fs.read_tagged(NAME) == (b"1", tag)
    proxy.lose_reply(on="^(PUT|POST) ")
    second = fs.swap(NAME, b"2", tag)
    assert fs.read_tagged(NAME) == (b"2", second)


def test_a_lost_reply_to_a_removal_does_not_remove_what_came_after(lossy: tuple[FsspecFileSystem, FaultProxy]) -> None:
    fs, proxy = lossy
    tag = created(fs)
    proxy.lose_reply(on="^DELETE ")
    assert fs.remove_tagged(NAME, tag) is False  # it cannot be known whose removal it was
    assert fs.read_tagged(NAME) is None
    assert fs.swap(NAME, b"2", None) is not None
    assert fs.remove_tagged(NAME, tag) is False
    assert fs.read_bytes(NAME) == b"2"


def test_a_conflict_of_two_at_the_same_moment_is_tried_again(shaky_place: Place, proxy: FaultProxy) -> None:
    options = {name: value for name, value in shaky_place.options.items() if name != "config_kwargs"}
    fs = FsspecFileSystem.from_url(shaky_place.url, **options)
    tag = created(fs)
    proxy.refuse_conditions(409, "ConditionalRequestConflict", count=1)
    assert fs.swap(NAME, b"2", tag) is not None


@pytest.mark.parametrize(
    ("status", "code"), [(501, "NotImplemented"), (400, "NotImplemented"), (400, "InvalidArgument")]
)
def test_a_store_that_refuses_conditions(shaky: FsspecFileSystem, proxy: FaultProxy, status: int, code: str) -> None:
    proxy.refuse_conditions(status, code)
    stale = created(shaky)
    assert shaky.swap(NAME, b"2", None) is None
    tag = shaky.swap(NAME, b"2", stale)
    assert shaky.read_tagged(NAME) == (b"2", tag)
    assert shaky.swap(NAME, b"3", stale) is None
    assert shaky.remove_tagged(NAME, stale) is False
    assert tag is not None and shaky.remove_tagged(NAME, tag) is True
    assert shaky.read_tagged(NAME) is None


@pytest.mark.parametrize(
    ("status", "code", "error"), [(400, "ExpiredToken", PermissionDeniedError), (403, "AccessDenied", StoreError)]
)
def test_another_refusal_changes_nothing(
    shaky: FsspecFileSystem, proxy: FaultProxy, status: int, code: str, error: type[StoreError]
) -> None:
    tag = created(shaky)
    proxy.refuse_conditions(status, code)
    for call in (lambda: shaky.swap(NAME, b"2", tag), lambda: shaky.remove_tagged(NAME, tag)):
        with pytest.raises(error):
            call()
    proxy.heal()
    assert shaky.read_tagged(NAME) == (b"1", tag)


def test_a_login_that_may_only_write_can_create(shaky: FsspecFileSystem, proxy: FaultProxy) -> None:
    proxy.answer_status(403, count=None, on="^(GET|HEAD) ")
    created(shaky)
    with pytest.raises(PermissionDeniedError):
        shaky.read_tagged(NAME)
    assert shaky.swap(NAME, b"2", None) is None
    proxy.heal()
    assert shaky.read_bytes(NAME) == b"1"


def test_requests(shaky: FsspecFileSystem, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each step at Amazon itself; elsewhere a change reads before, as some servers ignore conditions."""

    def steps() -> list[str]:
        proxy.reset_counters()
        tag = shaky.swap(NAME, b"2", created(shaky))
        assert tag is not None and shaky.read_tagged(NAME) and shaky.remove_tagged(NAME, tag)
        return [line.split()[0] for line in proxy.request_lines]

    assert steps() == ["GET", "PUT", "GET", "PUT", "GET", "GET", "DELETE"]
    monkeypatch.setattr("idfkit_fs._stores.conditional._KNOWN_HOSTS", ("127.0.0.1",))
    assert steps() == ["PUT", "PUT", "GET", "DELETE"]


@pytest.mark.parametrize(
    ("url", "is_known"),
    [
        ("https://s3.eu-west-1.amazonaws.com", True),
        ("https://s3.cn-north-1.amazonaws.com.cn", True),
        ("https://storage.googleapis.com", True),
        ("https://amazonaws.com.example.org", False),
        ("https://notamazonaws.com", False),
        ("http://127.0.0.1:9000", False),
    ],
)
def test_whose_conditions_are_trusted(url: str, is_known: bool) -> None:
    from idfkit_fs._stores.conditional import _is_known

    assert _is_known(url) is is_known


def test_a_store_that_never_takes_its_own_tag_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a proxy that rewrites ETags: callers, which read again what has changed, would do so forever."""
    fs = FsspecFileSystem.from_url(f"memory://weak-{uuid.uuid4().hex}")
    tag = fs.swap("run.json", b"first", None)

    def refuse(*_args: object) -> str:
        raise FileExistsError("412")

    monkeypatch.setattr("idfkit_fs._fs.sync.swap_file", refuse)
    assert fs.swap("run.json", b"second", "another tag") is None
    with pytest.raises(StoreError, match="as if it had changed, and it has not"):
        fs.swap("run.json", b"second", tag)
