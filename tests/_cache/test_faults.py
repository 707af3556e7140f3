"""Faults of readers, writers, stores and disks: readers get the right bytes, or an error that says why."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from idfkit.simulation import SimulationResult
from support.readers import (
    CONTEXT,
    WAYS,
    Crowd,
    clear_all,
    digest_of_read,
    digest_of_run,
    killed_at_each_step,
    look_at_run,
    read,
    read_at_random,
    survey,
)
from support.shelves import MIB, Shelf, Tally, noise, together
from support.signals import inherited_signals
from support.waiting import wait_until

from idfkit_fs import FsspecFileSystem, open_result
from idfkit_fs.cache import clear, info, prune
from idfkit_fs.errors import CacheUnusableError, DamagedRunError, PermissionDeniedError, StoreError, UnreachableError

BIG = 50_000_000

pytestmark = pytest.mark.faults


def add_big_file(run: SimulationResult) -> bytes:
    """Give a run a file of 50 MB."""
    data = noise(BIG // 2).hex().encode()
    Path(run.run_dir, "eplusScreen.csv").write_bytes(data)
    return data


# Readers that die, and readers that come in crowds.


def test_a_reader_that_is_killed_during_a_download_leaves_nothing_behind(
    shelf: Shelf, tmp_path: Path, tally: Tally
) -> None:
    data = noise(6 * MIB)
    shelf.put("eplus.sql", data)
    seed = random.randrange(2**32)
    print(f"{seed=}")  # shown if it fails
    for number, moment in enumerate(random.Random(seed).sample(range(len(data)), 20)):
        mine = shelf.but(cache=tmp_path / str(number))
        child = CONTEXT.Process(target=read, args=(mine.url, mine.options, "eplus.sql", WAYS[number % len(WAYS)]))
        shelf.proxy.kill(child, moment)
        child.join()
        tally.fault()
        assert child.exitcode == -signal.SIGKILL, moment
        tally.read(mine.read("eplus.sql"), data)
        assert len(survey(mine.cache)) == 2, moment  # this process, and its lock


def test_whoever_waits_for_a_reader_that_is_killed_takes_over(shelf: Shelf, tally: Tally) -> None:
    data = noise(6 * MIB)
    shelf.put("eplus.sql", data)
    shelf.read("eplus.sql")  # so that what follows is quick to begin
    clear(shelf.cache)
    child = CONTEXT.Process(target=read, args=(shelf.url, shelf.options, "eplus.sql"))
    started, under_way = threading.Event(), threading.Event()
    shelf.proxy.rate = 20e6
    shelf.proxy.when(MIB, lambda: (started.wait(), under_way.set(), shelf.proxy.when(4 * MIB, child.kill)))
    child.start()
    started.set()
    assert under_way.wait(600)
    tally.fault()
    tally.read(shelf.read("eplus.sql"), data)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert shelf.downloads("eplus.sql") == 3
    assert info(shelf.cache).files == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_reader_that_is_killed_at_any_step_on_the_disk_leaves_nothing_behind(
    somebody: Crowd, tmp_path: Path, tally: Tally
) -> None:
    data = noise(100_000)
    (tmp_path / "eplus.sql").write_bytes(data)
    url = f"simplecache::file://{tmp_path}"
    (found,) = somebody.do(killed_at_each_step, url, "eplus.sql", str(tmp_path / "caches"))
    assert len(found) > 30
    tally.fault(len(found))
    tally.digests([digest for digest, _ in found], hashlib.sha256(data).hexdigest())
    assert [left for _, left in found if len(left) != 2] == []


def test_sixteen_processes_fetch_a_file_about_once(
    seaweed_shelf: Shelf, crowd: Crowd, tmp_path: Path, tally: Tally
) -> None:
    data = noise(BIG)
    digest = hashlib.sha256(data).hexdigest()
    seaweed_shelf.put("eplus.sql", data)
    seaweed_shelf.read("eplus.sql")
    once = seaweed_shelf.downloads("eplus.sql")
    for number in range(3):
        mine = seaweed_shelf.but(cache=tmp_path / str(number))
        mine.proxy.reset_counters()
        tally.digests(crowd.do(digest_of_read, mine.url, mine.options, "eplus.sql"), digest)
        assert once <= mine.downloads("eplus.sql") < 1.5 * once
        shutil.rmtree(mine.cache)


def test_sixteen_processes_open_a_result_that_is_fetched_about_once(
    seaweed_shelf: Shelf, local_run: SimulationResult, crowd: Crowd, tmp_path: Path, tally: Tally
) -> None:
    data = add_big_file(local_run)
    digest = hashlib.sha256(data).hexdigest()
    seaweed_shelf.publish(local_run)
    place = seaweed_shelf.place
    first = open_result(place.url, storage_options=place.options)
    first.fs.read_bytes("eplusScreen.csv")  # type: ignore[union-attr]  # it has one
    once = seaweed_shelf.downloads("eplusScreen.csv")
    for number in range(4):
        home = tmp_path / str(number)
        seaweed_shelf.proxy.reset_counters()
        tally.digests(crowd.do(digest_of_run, place.url, place.options, "eplusScreen.csv", str(home)), digest)
        assert once <= seaweed_shelf.downloads("eplusScreen.csv") < 1.5 * once
        assert seaweed_shelf.downloads("eplus.sql") == 1
        shutil.rmtree(home)


def test_sixteen_threads_fetch_a_file_once(seaweed_shelf: Shelf, tmp_path: Path, tally: Tally) -> None:
    data = noise(10 * MIB)
    seaweed_shelf.put("eplus.sql", data)
    seaweed_shelf.read("eplus.sql")
    once = seaweed_shelf.downloads("eplus.sql")
    with ThreadPoolExecutor(16) as pool:
        for number in range(3):
            mine = seaweed_shelf.but(cache=tmp_path / str(number))
            mine.proxy.reset_counters()
            for got in pool.map(lambda n, mine=mine: mine.read("eplus.sql", WAYS[n % 4]), range(16)):
                tally.read(got, data)
            assert mine.downloads("eplus.sql") == once


def test_two_hundred_tasks_fetch_a_file_once(seaweed_shelf: Shelf, tally: Tally) -> None:
    data = noise(MIB)
    seaweed_shelf.put("eplus.sql", data)
    for got in together(seaweed_shelf.async_fs, "eplus.sql", 200):
        tally.read(got, data)
    assert seaweed_shelf.downloads("eplus.sql") == 1
    assert info(seaweed_shelf.cache).in_use == 0


def test_tasks_that_are_cancelled_keep_nobody_waiting(shelf: Shelf, tally: Tally) -> None:
    data = noise(MIB)
    shelf.put("eplus.sql", data)
    shelf.read("eplus.sql")  # so that there is something to find, and everything is connected
    chance = random.Random(0)

    async def give_up() -> None:
        for _ in range(100):
            readers = [asyncio.create_task(shelf.async_fs.read_bytes("eplus.sql")) for _ in range(4)]
            for _ in range(chance.randrange(60)):
                await asyncio.sleep(0)
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    asyncio.run(give_up())
    tally.fault(400)
    for got in together(shelf.async_fs, "eplus.sql", 2):
        tally.read(got, data)
    # The threads of tasks that were cancelled may just be ending their own reads.
    wait_until(lambda: info(shelf.cache).in_use == 0, "reads that were cancelled to end")
    assert clear(shelf.cache) > len(data)


def test_tasks_that_are_cancelled_while_they_fetch_leave_no_part(shelf: Shelf, tmp_path: Path, tally: Tally) -> None:
    data = noise(6 * MIB)
    shelf.put("eplus.sql", data)

    async def give_up(mine: Shelf, moment: int) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.create_task(mine.async_fs.read_bytes("eplus.sql"))
        mine.proxy.when(moment, lambda: loop.call_soon_threadsafe(reader.cancel))
        with pytest.raises(asyncio.CancelledError):
            await reader

    for number in range(5):
        mine = shelf.but(cache=tmp_path / str(number))
        asyncio.run(give_up(mine, number * MIB))
        tally.fault()
        for got in together(mine.async_fs, "eplus.sql", 2):
            tally.read(got, data)
        assert info(mine.cache).files == 1
        # The thread of the task that was cancelled may just be ending its own read.
        wait_until(lambda mine=mine: not list(mine.cache.glob("processes/*/*")), "a read that was cancelled to end")


INTERRUPTED = """
import json, os, signal, sys, threading
from idfkit_fs import FsspecFileSystem

fs = FsspecFileSystem.from_url(sys.argv[1], **json.loads(sys.argv[2]))
try:
    print(len(fs.read_bytes("eplus.sql")))
except KeyboardInterrupt as exc:
    kept = exc  # as a notebook keeps the last exception, and with it every frame
    print("interrupted", flush=True)
    threading.Timer(300, lambda: os._exit(3)).start()
    print(len(fs.read_bytes("eplus.sql")), flush=True)
    os._exit(0)
"""


def test_a_reader_that_is_interrupted_can_read_again(shelf: Shelf, tally: Tally) -> None:
    shelf.put("eplus.sql", noise(6 * MIB))
    program = [sys.executable, "-c", INTERRUPTED, shelf.url, json.dumps(shelf.options)]
    started = threading.Event()
    shelf.proxy.when(3 * MIB, lambda: (started.wait(), child.send_signal(signal.SIGINT)))
    with inherited_signals():
        child = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    started.set()
    with child:
        printed, _ = child.communicate()
    tally.fault()
    assert printed.split() == ["interrupted", str(6 * MIB)]
    assert child.returncode == 0


def test_a_download_that_is_cut_goes_on(shelf: Shelf, tally: Tally) -> None:
    data = noise(3 * MIB)
    for how in WAYS:
        shelf.put("eplus.sql", data)
        shelf.proxy.cut_response_after(MIB, count=1, on="^GET")
        tally.fault()
        tally.read(shelf.read("eplus.sql", how), data)


def test_a_download_that_is_cut_again_and_again_goes_on_from_where_it_was(shelf: Shelf, tally: Tally) -> None:
    data = noise(3 * MIB)
    shelf.put("eplus.sql", data)
    shelf.proxy.cut_response_after(MIB, on="^GET")
    tally.fault()
    tally.read(shelf.read("eplus.sql"), data)
    assert 1 < shelf.downloads() < 6


def test_a_part_is_not_kept(shelf: Shelf, tally: Tally) -> None:
    data = noise(3 * MIB)
    shelf.put("eplus.sql", data)
    shelf.proxy.cut_response_after(100, on="^GET")
    tally.fault()
    with pytest.raises(UnreachableError):
        shelf.read("eplus.sql")
    assert [path.name for path in shelf.cache.rglob("*") if path.is_file() and path.suffix == ".sql"] == []
    shelf.proxy.heal()
    tally.read(shelf.read("eplus.sql"), data)


# What was overwritten by another machine.


@pytest.mark.parametrize("how", WAYS)
def test_overwritten_between_two_reads(any_shelf: Shelf, how: str, tally: Tally) -> None:
    for seed in range(3):
        data = noise(100_000, seed)
        any_shelf.put("eplus.sql", data)
        tally.fault()
        tally.read(any_shelf.read("eplus.sql", how), data)
        tally.read(any_shelf.read("eplus.sql", how), data)


@pytest.mark.parametrize(
    ("any_shelf", "how", "moment"),
    [
        *(("moto_shelf", how, 5 * MIB) for how in WAYS),
        *((shelf, "read_bytes", 1_000) for shelf in ("moto_shelf", "seaweed_shelf")),
        ("seaweed_shelf", "read_bytes", 5 * MIB),
    ],
    indirect=["any_shelf"],
)
def test_overwritten_during_a_read(any_shelf: Shelf, how: str, moment: int, tally: Tally) -> None:
    old, new = noise(9 * MIB, 1), noise(9 * MIB, 2)
    any_shelf.put("eplus.sql", old)
    any_shelf.proxy.when(moment, lambda: any_shelf.put("eplus.sql", new))
    tally.fault()
    tally.read(any_shelf.read("eplus.sql", how), old, new)
    tally.read(any_shelf.read("eplus.sql", how), new)


@pytest.mark.parametrize("how", WAYS)
def test_overwritten_by_a_shorter_and_by_a_longer_file_during_a_read(shelf: Shelf, how: str, tally: Tally) -> None:
    data = noise(9 * MIB)
    for size in (3 * MIB, 10 * MIB, 0):
        new = noise(size, size)
        shelf.put("eplus.sql", data)
        shelf.proxy.when(5 * MIB, lambda new=new: shelf.put("eplus.sql", new))
        tally.fault()
        tally.read(shelf.read("eplus.sql", how), data, new)


@pytest.mark.parametrize(
    ("any_shelf", "how"),
    [("moto_shelf", "open"), ("moto_shelf", "local_path"), ("seaweed_shelf", "read_bytes"), ("seaweed_shelf", "open")],
    indirect=["any_shelf"],
)
def test_overwritten_over_and_over(any_shelf: Shelf, how: str, tally: Tally) -> None:
    data = noise(9 * MIB)
    written: list[bytes] = []

    def overwrite() -> None:
        written.append(data[len(written) + 1 :] + data[: len(written) + 1])
        any_shelf.put("eplus.sql", written[-1])
        any_shelf.proxy.when(4 * MIB, overwrite)

    overwrite()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it reads without the cache
        try:
            tally.read(any_shelf.read("eplus.sql", how), *written)
        except (CacheUnusableError, StoreError):  # there need not be one
            assert how in ("open", "local_path")
    tally.fault(len(written))
    any_shelf.proxy.forget()
    tally.read(any_shelf.read("eplus.sql", how), written[-1])


@pytest.mark.parametrize("how", WAYS)
def test_overwritten_and_put_back_within_a_second_during_a_read(any_shelf: Shelf, how: str, tally: Tally) -> None:
    old, new = noise(2 * MIB, 1), noise(2 * MIB, 2)

    def overwrite() -> None:
        any_shelf.put("eplus.sql", new)
        any_shelf.proxy.when(MIB // 2 + MIB // 4, lambda: any_shelf.put("eplus.sql", old))

    any_shelf.put("eplus.sql", old)
    any_shelf.proxy.cut_response_after(MIB, count=1, on="^GET")  # so that the rest is asked for
    any_shelf.proxy.when(MIB // 2, overwrite)
    tally.fault(3)
    tally.read(any_shelf.read("eplus.sql", how), old, new)
    any_shelf.proxy.forget()
    any_shelf.put("eplus.sql", old)
    tally.read(any_shelf.read("eplus.sql", how), old)


def test_another_run_published_between_two_reads(shelf: Shelf, local_run: SimulationResult, tally: Tally) -> None:
    big = noise(MIB)
    Path(local_run.run_dir, "eplusScreen.csv").write_bytes(big)
    shelf.publish(local_run)
    place = shelf.place
    result = open_result(place.url, storage_options=place.options)
    assert result.sql is not None
    variables = result.sql.list_variables()
    Path(local_run.run_dir, "eplusScreen.csv").write_bytes(big[::-1])
    database = sqlite3.connect(Path(local_run.run_dir, "eplus.sql"))
    database.execute("DELETE FROM ReportDataDictionary")
    database.commit()
    database.close()
    shelf.publish(local_run)
    tally.fault()
    # What was read stays as it was, what was not is no longer to be had.
    assert result.sql.list_variables() == variables != []
    again = open_result(place.url, storage_options=place.options)
    assert again.sql is not None and again.sql.list_variables() == []
    for how in ("read_bytes", "local_path", "open"):
        with pytest.raises(DamagedRunError, match="another run may have been published over it") as caught:
            getattr(result.fs, how)("eplusScreen.csv")
        assert caught.value.filename == f"{place.url}/eplusScreen.csv"
    result.close()
    again.close()


@pytest.mark.parametrize(
    ("any_shelf", "how"),
    [("moto_shelf", "read_bytes"), ("moto_shelf", "local_path"), ("moto_shelf", "open"), ("seaweed_shelf", "open")],
    indirect=["any_shelf"],
)
def test_another_run_published_during_a_read(
    any_shelf: Shelf, local_run: SimulationResult, how: str, tally: Tally
) -> None:
    place, big = any_shelf.place, Path(local_run.run_dir, "eplusScreen.csv")
    data = noise(9 * MIB)
    big.write_bytes(data)
    any_shelf.publish(local_run)
    result = open_result(place.url, storage_options=place.options)
    big.write_bytes(data[::-1])
    any_shelf.proxy.when(5 * MIB, lambda: any_shelf.publish(local_run))
    tally.fault()
    try:
        got = getattr(result.fs, how)("eplusScreen.csv")
    except DamagedRunError as exc:
        assert exc.filename == f"{place.url}/eplusScreen.csv"  # noqa: PT017 - it need not be raised
    else:
        tally.read(got if how == "read_bytes" else got.read_bytes() if how == "local_path" else got.read(), data)
    again = open_result(place.url, storage_options=place.options)
    tally.read(again.fs.read_bytes("eplusScreen.csv"), data[::-1])  # type: ignore[union-attr]  # it has one


# Entries that were damaged.


def change_a_byte(copy: Path) -> None:
    data = bytearray(copy.read_bytes())
    data[len(data) // 2] ^= 1
    copy.write_bytes(data)


def change_a_byte_and_its_traces(copy: Path) -> None:
    stat = copy.stat()
    change_a_byte(copy)
    os.utime(copy, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replace_by_another(copy: Path) -> None:
    change_a_byte(shutil.copy2(copy, copy.with_name("other")))
    os.replace(copy.with_name("other"), copy)


def make_it_a_directory(copy: Path) -> None:
    copy.unlink()
    copy.mkdir()


def make_the_entry_a_file(copy: Path) -> None:
    shutil.rmtree(copy.parent)
    copy.parent.write_bytes(b"x")


def lead_it_nowhere(copy: Path) -> None:
    copy.unlink()
    copy.symlink_to("nowhere")


def note(text: str) -> Callable[[Path], None]:
    def damage(copy: Path) -> None:
        (copy.parent / ".entry.json").write_text(text)

    return damage


DAMAGES: dict[str, Callable[[Path], object]] = {
    "changed": change_a_byte,
    "changed unseen": change_a_byte_and_its_traces,
    "replaced": replace_by_another,
    "cut": lambda copy: os.truncate(copy, copy.stat().st_size // 2),
    "grown": lambda copy: os.truncate(copy, copy.stat().st_size + 1),
    "emptied": lambda copy: os.truncate(copy, 0),
    "removed": Path.unlink,
    "entry removed": lambda copy: shutil.rmtree(copy.parent),
    "cache removed": lambda copy: shutil.rmtree(copy.parents[3]),
    "a directory": make_it_a_directory,
    "entry a file": make_the_entry_a_file,
    "leading nowhere": lead_it_nowhere,
    "no note": lambda copy: (copy.parent / ".entry.json").unlink(),
    "empty note": note(""),
    "cut note": note('{"size": '),
    "other note": note("[]"),
    "null note": note("null"),
    "note of nothing": note('{"size": null, "sha256": null, "stamp": null}'),
    "binary note": lambda copy: (copy.parent / ".entry.json").write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_found_and_fetched_again(
    shelf: Shelf, how: str, damage: Callable[[Path], object], tally: Tally
) -> None:
    data = noise(100_000)
    shelf.put("eplus.sql", data)
    copy = shelf.fs.local_path("eplus.sql")
    damage(copy)
    tally.fault()
    tally.read(shelf.read("eplus.sql", how), data)
    tally.read(shelf.read("eplus.sql", how), data)
    assert shelf.downloads("eplus.sql") == 2
    assert info(shelf.cache).files == 1


def test_a_damaged_database_is_found_and_fetched_again(shelf: Shelf, local_run: SimulationResult, tally: Tally) -> None:
    shelf.publish(local_run)
    place, database = shelf.place, Path(local_run.run_dir, "eplus.sql").read_bytes()
    for number, damage in enumerate(DAMAGES.values(), 1):
        result = open_result(place.url, storage_options=place.options)
        copy: Path = result.fs.local_path("eplus.sql")  # type: ignore[union-attr]  # it has one
        tally.read(copy.read_bytes(), database)
        damage(copy)
        tally.fault()
        assert result.sql is not None and len(result.sql.get_timeseries("Zone Mean Air Temperature").values) == 8760
        tally.read(result.fs.read_bytes("eplus.sql"), database)  # type: ignore[union-attr]  # it has one
        result.close()
        assert shelf.downloads("eplus.sql") == 1 + number


def test_an_entry_that_was_only_touched_or_moved_is_good(shelf: Shelf, tmp_path: Path, tally: Tally) -> None:
    data = noise(100_000)
    shelf.put("eplus.sql", data)
    os.utime(shelf.fs.local_path("eplus.sql"))
    tally.read(shelf.read("eplus.sql"), data)
    moved = shelf.but(cache=tmp_path / "moved")
    shutil.copytree(shelf.cache, moved.cache)
    tally.read(moved.read("eplus.sql"), data)
    assert shelf.downloads() == 1


def test_what_is_left_of_a_damaged_entry_can_be_cleared_away(shelf: Shelf, tally: Tally) -> None:
    shelf.put("eplus.sql", noise(100_000))
    for damage in (DAMAGES["no note"], DAMAGES["entry a file"], DAMAGES["a directory"]):
        shelf.read("eplus.sql")
        (copy,) = shelf.cache.glob("entries/*/*/eplus.sql")
        damage(copy)
        tally.fault()
        clear(shelf.cache)
        assert list(shelf.cache.glob("entries/*/*")) == []


def remove(directory: Path) -> None:
    """Remove a directory into which another process may be writing: another attempt finds what this one missed."""
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("how", WAYS)
def test_the_cache_directory_is_removed_during_a_download(shelf: Shelf, how: str, tally: Tally) -> None:
    for size in (3 * MIB, 20 * MIB):
        data = noise(size)
        shelf.put("eplus.sql", data)
        shelf.proxy.when(MIB, lambda: remove(shelf.cache))
        tally.fault()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it may say that it reads without the cache
            tally.read(shelf.read("eplus.sql", how), data)
        tally.read(shelf.read("eplus.sql", how), data)


def test_the_cache_directory_is_removed_while_a_database_is_open(
    shelf: Shelf, local_run: SimulationResult, empty_cache: Path, tally: Tally
) -> None:
    shelf.publish(local_run)
    place = shelf.place
    result = open_result(place.url, storage_options=place.options)
    assert result.sql is not None
    shutil.rmtree(empty_cache)
    tally.fault()
    assert len(result.sql.get_timeseries("Zone Mean Air Temperature").values) == 8760
    again = open_result(place.url, storage_options=place.options)
    assert again.sql is not None and again.sql.list_variables()
    result.close()
    again.close()


@pytest.fixture
def unversioned() -> Iterator[list[bytes]]:
    """An HTTP server that tells of its one file nothing but the size, and serves the last one of a list."""
    contents = [b"first"]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(contents[-1])))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(contents[-1])

        do_HEAD = do_GET

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        contents.insert(0, f"http://127.0.0.1:{server.server_port}".encode())
        yield contents
        server.shutdown()
        thread.join()


def test_a_store_that_tells_no_version(unversioned: list[bytes], tmp_path: Path, tally: Tally) -> None:
    url, options = f"simplecache::{unversioned[0].decode()}", {"simplecache": {"cache_storage": str(tmp_path / "c")}}
    for how in WAYS:
        for content in (b"other", b"third"):  # of the same size
            unversioned.append(content)
            tally.fault()
            tally.read(read(url, options, "eplus.sql", how), content)


def test_a_path_of_a_store_that_tells_no_version_keeps_its_bytes(
    unversioned: list[bytes], tmp_path: Path, tally: Tally
) -> None:
    url, options = f"simplecache::{unversioned[0].decode()}", {"simplecache": {"cache_storage": str(tmp_path / "c")}}
    fs = FsspecFileSystem.from_url(url, **options)
    path = fs.local_path("eplus.sql")
    unversioned.append(b"other")
    tally.fault()
    tally.read(fs.read_bytes("eplus.sql"), b"other")
    tally.read(path.read_bytes(), b"first")


# Names and options.


def long_names() -> list[str]:
    segments = "/".join(["segment-of-a-long-path"] * 40)
    return [
        f"{segments}/{'x' * (1000 - 33 - len(segments) - 5)}.sql",
        f"{'x' * 300}.sql",
        f"{'x' * 900}",
        f"case.{'x' * 300}",
        f"{'文' * 100}.sql",  # 300 bytes, but only 100 characters
        f"{'𐐷' * 60}/{'𐐷' * 66}.sql",
    ]


@pytest.mark.parametrize("name", long_names(), ids=range(6))
def test_long_names(shelf: Shelf, name: str, tally: Tally) -> None:
    data = noise(1000)
    shelf.put(name, data)
    for how in WAYS:
        tally.read(shelf.read(name, how), data)
    assert sum(line.startswith("GET") for line in shelf.proxy.request_lines) == 1
    assert shelf.fs.local_path(name).suffix == (".sql" if name.endswith(".sql") else "")


def test_a_run_at_a_path_of_1000_characters(shelf: Shelf, local_run: SimulationResult) -> None:
    shelf.name += "/segment-of-a-long-path" * 41
    shelf.publish(local_run)
    place = shelf.place
    with open_result(place.url, storage_options=place.options) as result:
        assert result.sql is not None and result.sql.list_variables()
        assert result.errors.simulation_complete


@pytest.mark.parametrize("how", WAYS)
def test_one_url_at_two_endpoints(moto_shelf: Shelf, seaweed_shelf: Shelf, how: str, tally: Tally) -> None:
    there = seaweed_shelf.but(name=moto_shelf.name, cache=moto_shelf.cache)
    assert there.url == moto_shelf.url
    for seed, shelf in enumerate((moto_shelf, there)):
        shelf.put("eplus.sql", noise(1000, seed))
    for _ in range(2):
        for seed, shelf in enumerate((moto_shelf, there)):
            tally.read(shelf.read("eplus.sql", how), noise(1000, seed))
    assert info(moto_shelf.cache).files == 2


@pytest.fixture
def two_runs(moto_shelf: Shelf, seaweed_shelf: Shelf, local_run: SimulationResult) -> list[tuple[Shelf, bool]]:
    """Two runs at one URL of two endpoints, and whether each is complete."""
    there = seaweed_shelf.but(name=moto_shelf.name)
    moto_shelf.publish(local_run)
    for suffix in (".err", ".end"):
        path = Path(local_run.run_dir, f"eplus{suffix}")
        text = path.read_text("latin-1")
        assert "Completed Successfully" in text
        path.write_text(text.replace("Completed Successfully", "Terminated--Fatal Error Detected."), "latin-1")
    there.publish(local_run)
    return [(moto_shelf, True), (there, False)]


def test_one_url_of_a_run_at_two_endpoints(two_runs: list[tuple[Shelf, bool]]) -> None:
    for _ in range(2):
        for shelf, complete in two_runs:
            result = open_result(shelf.place.url, storage_options=shelf.place.options, immutable=True)
            assert result.errors.simulation_complete is complete


def test_one_url_of_a_run_at_two_endpoints_that_the_environment_names(
    two_runs: list[tuple[Shelf, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for shelf, complete in two_runs:
        monkeypatch.setenv("AWS_ENDPOINT_URL", shelf.store.endpoint)
        options = {name: shelf.store.storage_options[name] for name in ("key", "secret", "client_kwargs")}
        result = open_result(shelf.place.url, storage_options=options, immutable=True)
        assert result.errors.simulation_complete is complete


@pytest.mark.parametrize("how", WAYS)
def test_two_logins_share_a_copy_but_a_refused_one_gets_nothing(seaweed_shelf: Shelf, how: str, tally: Tally) -> None:
    data = noise(1000)
    seaweed_shelf.put("eplus.sql", data)
    tally.read(seaweed_shelf.read("eplus.sql", how), data)
    for wrong in ({"secret": "wrong-wrong-wrong"}, {"key": "nobody"}, {"anon": True, "key": None, "secret": None}):
        tally.fault()
        with pytest.raises(PermissionDeniedError) as caught:
            seaweed_shelf.but(changes=wrong).read("eplus.sql", how)
        assert isinstance(caught.value, PermissionError)
    tally.read(seaweed_shelf.read("eplus.sql", how), data)
    # The refused logins are asked why: one GET each, which brings nothing.
    assert sum(line.startswith("GET") for line in seaweed_shelf.proxy.request_lines) == 1 + 3


def test_two_logins_that_are_both_good_share_a_copy(shelf: Shelf, tally: Tally) -> None:
    data = noise(1000)
    shelf.put("eplus.sql", data)
    for number in range(3):  # moto takes any
        tally.read(shelf.but(changes={"key": f"key-{number}", "secret": f"secret-{number}"}).read("eplus.sql"), data)
    assert shelf.downloads() == 1


# The store is gone.


@pytest.mark.parametrize("how", WAYS)
def test_a_copy_that_cannot_be_checked_is_not_served(shelf: Shelf, how: str, tally: Tally) -> None:
    shelf.put("eplus.sql", noise(1000))
    tally.read(shelf.read("eplus.sql", how), noise(1000))
    shelf.proxy.refuse()
    tally.fault()
    with pytest.raises(UnreachableError) as caught:
        shelf.read("eplus.sql", how)
    assert isinstance(caught.value, ConnectionError)


def test_what_was_read_of_an_immutable_run_is_readable_without_its_store(
    shelf: Shelf, local_run: SimulationResult, empty_cache: Path, tally: Tally
) -> None:
    shelf.publish(local_run)
    place = shelf.place

    def look(number: int) -> list[object]:
        with Crowd(1) as fresh:
            return fresh.do(look_at_run, place.url, place.options, str(empty_cache.parent), number == 0)[0]

    seen = look(0)
    assert look(0) == seen
    before = shelf.proxy.requests
    assert look(0) == seen
    assert shelf.proxy.requests == before  # nothing at all is asked
    shelf.proxy.refuse()
    tally.fault()
    assert look(0) == seen
    assert look_at_run(0, place.url, place.options, str(empty_cache.parent), True) == seen
    with pytest.raises(ConnectionError):
        look(1)
    with pytest.raises(ConnectionError):
        open_result(place.url, storage_options=place.options)
    result = open_result(place.url, storage_options=place.options, immutable=True)
    with pytest.raises(ConnectionError):
        result.fs.read_bytes("eplus.end")  # type: ignore[union-attr]  # it was not read


def test_an_immutable_run_that_was_never_seen_needs_its_store(shelf: Shelf, local_run: SimulationResult) -> None:
    shelf.publish(local_run)
    shelf.proxy.refuse()
    with pytest.raises(ConnectionError):
        open_result(shelf.place.url, storage_options=shelf.place.options, immutable=True)


# The bound.


def test_what_is_in_use_is_never_dropped(
    shelf: Shelf, local_run: SimulationResult, somebody: Crowd, empty_cache: Path, tally: Tally
) -> None:
    shelf.publish(local_run)
    result = open_result(shelf.place.url, storage_options=shelf.place.options)
    assert result.sql is not None
    files: FsspecFileSystem = result.fs  # type: ignore[assignment]  # a RunFileSystem
    error_file = files.local_path("eplus.err")
    files.read_bytes("eplus.end")
    assert info(empty_cache).in_use == 2
    for clear_it in (lambda: clear(empty_cache), lambda: somebody.do(clear_all, str(empty_cache))):
        clear_it()
        tally.fault()
        assert info(empty_cache).files == info(empty_cache).in_use == 2
        tally.read(error_file.read_bytes(), Path(local_run.run_dir, "eplus.err").read_bytes())
        assert len(result.sql.get_timeseries("Zone Mean Air Temperature").values) == 8760
        database = Path(local_run.run_dir, "eplus.sql").read_bytes()
        shelf.proxy.reset_counters()
        tally.read(files.read_bytes("eplus.sql"), database)
        assert shelf.downloads() == 0
    result.close()
    del result
    gc.collect()
    clear(empty_cache)
    assert [path.name for path in empty_cache.glob("entries/*/*/*.*") if path.name != ".entry.json"] == ["eplus.err"]


def test_the_least_recently_used_goes_first(shelf: Shelf, tally: Tally) -> None:
    shelf.proxy.delay = 0.005  # no two uses at one tick of the disk's clock
    for number in range(6):
        shelf.put(f"{number}.csv", noise(10_000))
        shelf.read(f"{number}.csv")
    for number, how in ((0, "read_bytes"), (2, "open"), (1, "async")):
        tally.read(shelf.read(f"{number}.csv", how), noise(10_000))
    order = [3, 4, 5, 0, 2, 1]
    while order:
        order.pop(0)
        prune(len(order) * 10_500, shelf.cache)  # each with its note
        tally.fault()
        assert {path.stem for path in shelf.cache.glob("entries/*/*/*.csv")} == {str(number) for number in order}


def test_the_cache_stays_within_its_bound(shelf: Shelf, tally: Tally) -> None:
    bounded = shelf.but(bounds={"max_bytes": MIB})
    chance = random.Random(0)
    for number in range(40):
        data = noise(chance.choice([0, 1000, 20_000, 30_000, 300_000, 1_000_000]), number)
        shelf.put(f"{number}.csv", data)
        tally.read(bounded.read(f"{number}.csv", chance.choice(["read_bytes", "open", "async"])), data)
        assert info(shelf.cache).bytes <= MIB, number
    assert info(shelf.cache).bytes > MIB / 3  # it is of use


@pytest.mark.parametrize("max_bytes", [MIB, 0])
def test_a_file_that_is_larger_than_the_bound_is_read_and_not_kept(shelf: Shelf, max_bytes: int, tally: Tally) -> None:
    bounded = shelf.but(bounds={"max_bytes": max_bytes})
    for how in ("read_bytes", "open", "async"):
        data = noise(3 * MIB)
        shelf.put("eplus.sql", data)
        tally.read(bounded.read("eplus.sql", how), data)
        assert info(shelf.cache).bytes <= max_bytes


def test_many_processes_share_a_cache_that_is_too_small(shelf: Shelf, tally: Tally) -> None:
    sizes = [3_000 * number for number in range(1, 21)]
    for number, size in enumerate(sizes):
        shelf.put(f"{number}.csv", noise(size, number))
    bounded = shelf.but(bounds={"max_bytes": sum(sizes) // 4})
    with Crowd(4) as crowd:
        found = crowd.do(read_at_random, bounded.url, bounded.options, 30)
    for number, digest in (pair for pairs in found for pair in pairs):
        tally.digests([digest], hashlib.sha256(noise(sizes[number], number)).hexdigest())
    left = info(shelf.cache)
    # Each process looks through the cache after it has added a 32nd of the bound; what the three others use stays.
    assert left.in_use == 0 and left.bytes <= sum(sizes) / 4 * (1 + 4 / 32) + sum(sizes[-3:])
    shelf.put("last.csv", b"")
    bounded.read("last.csv")  # of a process that has not looked yet
    assert info(shelf.cache).bytes <= sum(sizes) // 4
