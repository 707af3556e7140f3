"""Disks that are full, read-only or elsewhere, and directories that are not the reader's own."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from idfkit.simulation import SimulationResult
from support import disks, frames
from support.readers import WAYS, Crowd
from support.shelves import MIB, Shelf, Tally, noise

from idfkit_fs import open_result
from idfkit_fs.cache import clear, info, prune
from idfkit_fs.errors import CacheDirectoryError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts disks as Linux does")


@pytest.fixture(scope="session")
def _mounting(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A machine without the right to mount fails in CI, and skips elsewhere."""
    with Crowd(1) as alone:
        (why,) = alone.do(disks.can_mount, str(tmp_path_factory.mktemp("disk")))
    if why:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)


def elsewhere(function: Callable[..., Any], shelf: Shelf, paths: list[str], **arguments: Any) -> Any:
    """What a function of support.disks returns in a process of its own, which may mount disks if it names one."""
    given = {"url": shelf.url, "options": shelf.options, "paths": paths, **arguments}
    mounts = function not in (disks.forked, disks.forked_with_a_run, disks.limited, disks.modes)
    with Crowd(1) as alone:
        run = disks.with_mounts if mounts else disks.without_mounts
        return alone.do(run, str(shelf.temporary), function, given)[0]


def digests(*data: bytes) -> list[str]:
    return [hashlib.sha256(each).hexdigest() for each in data]


@pytest.fixture
def disk(shelf: Shelf, _mounting: None) -> str:
    """Where the cache is, and a disk can be mounted."""
    shelf.cache.mkdir()
    return str(shelf.cache)


# Disks.


def test_a_cache_that_is_too_small_is_read_past_with_one_warning(shelf: Shelf, disk: str, tally: Tally) -> None:
    small, large = noise(100_000, 1), noise(3 * MIB, 2)
    shelf.put("small.sql", small)
    shelf.put("large.sql", large)
    found, said, kept = elsewhere(disks.small, shelf, ["small.sql", "large.sql"], disk=disk, settings="size=1m")
    tally.fault()
    tally.digests(found, *digests(small, large) * len(WAYS) * 2)
    assert len(said) == 1 and disk in said[0] and "No space left on device" in said[0]
    assert kept == ["small.sql"]
    assert shelf.downloads("small.sql") == 1


def test_pandas_reads_past_a_disk_that_is_full(shelf: Shelf, disk: str, tally: Tally) -> None:
    numbers = np.arange(200_000)
    shelf.put("case.csv", ("number\n" + "\n".join(map(str, numbers))).encode())
    found, said = elsewhere(frames.full, shelf, ["case.csv"], disk=disk)
    tally.fault()
    tally.digests(found, hashlib.sha256(numbers.tobytes()).hexdigest())
    assert len(found) == 2
    assert len(said) == 1 and disk in said[0] and "No space left on device" in said[0]


def test_a_disk_that_the_cache_has_filled_itself_takes_the_next_file(shelf: Shelf, disk: str, tally: Tally) -> None:
    data = [noise(400_000, number) for number in range(6)]
    for number, each in enumerate(data):
        shelf.put(f"{number}.sql", each)
    paths = [f"{number}.sql" for number in range(6)]
    found, said, kept = elsewhere(disks.filled_by_itself, shelf, paths, disk=disk, settings="size=1m")
    tally.fault()
    tally.digests(found, *digests(*data))
    assert said == [] and kept == ["4.sql", "5.sql"]


def test_a_file_that_fits_without_its_note(shelf: Shelf, disk: str, tally: Tally) -> None:
    shelf.put("eplus.sql", noise(MIB))
    found, said, _ = elsewhere(disks.small, shelf, ["eplus.sql"], disk=disk, settings="size=1m")
    tally.fault()
    tally.digests(found, *digests(noise(MIB)) * len(WAYS) * 2)
    assert len(said) == 1


@pytest.mark.parametrize("inodes", [3, 8, 11])
def test_a_disk_that_can_take_no_more_files(shelf: Shelf, disk: str, inodes: int, tally: Tally) -> None:
    shelf.put("eplus.sql", noise(1000))
    found, said, _ = elsewhere(disks.small, shelf, ["eplus.sql"], disk=disk, settings=f"size=1m,nr_inodes={inodes}")
    tally.fault()
    tally.digests(found, *digests(noise(1000)) * len(WAYS) * 2)
    assert len(said) == 1


def test_a_full_disk_is_read_past_with_one_warning(shelf: Shelf, disk: str, tally: Tally) -> None:
    shelf.put("eplus.sql", noise(3 * MIB))
    found, said = elsewhere(disks.full, shelf, ["eplus.sql"], disk=disk)
    tally.fault()
    tally.digests(found, *digests(noise(3 * MIB)) * len(WAYS) * 2)
    assert len(said) == 1


def test_a_disk_that_becomes_full_during_downloads(shelf: Shelf, disk: str, tally: Tally) -> None:
    data = [noise(700_000, number) for number in range(8)]
    for number, each in enumerate(data):
        shelf.put(f"{number}.sql", each)
    shelf.proxy.rate = 4e6  # so that each takes long enough to meet the others
    found, said = elsewhere(disks.crowded, shelf, [f"{n}.sql" for n in range(8)], disk=disk, settings="size=1m")
    tally.fault()
    tally.digests(found, *digests(*data))
    assert len(said) == 1


def test_a_file_that_the_disk_refuses_halfway(shelf: Shelf, tally: Tally) -> None:
    shelf.put("eplus.sql", noise(3 * MIB))
    shelf.put("large.sql", noise(6 * MIB))
    found, said, error = elsewhere(disks.limited, shelf, ["eplus.sql", "large.sql"])
    tally.fault()
    ways = len(WAYS) - 1  # but local_path
    tally.digests(found, *digests(*[noise(3 * MIB)] * ways, *[noise(6 * MIB)] * ways))
    assert len(said) == 1 and "File too large" in said[0]
    assert "File too large" in error
    assert info(shelf.cache).files == 0
    assert list(shelf.cache.glob("processes/*/*")) == []


@pytest.mark.parametrize("warm", [False, True])
def test_a_read_only_disk_is_read_past_with_one_warning(shelf: Shelf, disk: str, warm: bool, tally: Tally) -> None:
    shelf.put("eplus.sql", noise(MIB))
    found, said = elsewhere(disks.read_only, shelf, ["eplus.sql"], disk=disk, warm=warm)
    tally.fault()
    tally.digests(found, *digests(noise(MIB)) * len(WAYS) * 2)
    assert len(said) == 1 and disk in said[0] and "Read-only file system" in said[0]


def test_a_read_only_disk_below_which_the_cache_is_to_be(shelf: Shelf, disk: str, tally: Tally) -> None:
    shelf.put("eplus.sql", noise(MIB))
    below = shelf.but(cache=shelf.cache / "new" / "cache")
    found, said = elsewhere(disks.read_only, below, ["eplus.sql"], disk=disk, warm=False)
    tally.fault()
    tally.digests(found, *digests(noise(MIB)) * len(WAYS) * 2)
    assert len(said) == 1 and "Read-only file system" in said[0]


def test_a_disk_that_is_not_that_of_temporary_files(shelf: Shelf, disk: str, tally: Tally) -> None:
    shelf.put("eplus.sql", noise(6 * MIB))
    found, said, kept = elsewhere(disks.small, shelf, ["eplus.sql"], disk=disk, settings="size=16m")
    tally.digests(found, *digests(noise(6 * MIB)) * len(WAYS) * 2)
    assert said == [] and kept == ["eplus.sql"]
    assert shelf.downloads("eplus.sql") == 1


@pytest.mark.parametrize("filled", [False, True])
def test_where_every_disk_is_full_whatever_needs_no_file_is_read(
    shelf: Shelf, disk: str, tmp_path: Path, filled: bool, tally: Tally
) -> None:
    shelf.put("eplus.sql", noise(3 * MIB))
    temporary = str(tmp_path / "full")
    found, said, error = elsewhere(
        disks.full_everywhere, shelf, ["eplus.sql"], disk=disk, temporary=temporary, filled=filled
    )
    tally.fault()
    tally.digests(found, *digests(noise(3 * MIB)) * 2)
    assert len(said) == 1
    assert "No space left on device" in error or "No usable temporary directory" in error


@pytest.mark.parametrize("below", ["", "cache", "x" * 300])
def test_a_file_where_the_cache_is_to_be(shelf: Shelf, below: str, tally: Tally) -> None:
    shelf.put("eplus.sql", noise(MIB))
    if len(below) < 300:
        shelf.cache.write_bytes(b"")
    blocked = shelf.but(cache=shelf.cache / below)
    for number in range(2):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for how in WAYS:
                tally.fault()
                tally.read(blocked.read("eplus.sql", how), noise(MIB))
        assert len(said) == (number == 0)


# Directories.


def open_to(mode: int) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        directory.chmod(mode)

    return change


def give_away(directory: Path) -> None:
    os.chown(directory, 12345, 12345)


@pytest.fixture(params=["foreign", "open to all", "open to a group", "sticky", "entries open to all"])
def unsafe(request: pytest.FixtureRequest, shelf: Shelf) -> Path:
    """A cache directory that another user could change."""
    if request.param == "foreign" and os.geteuid() != 0:
        shelf.cache = Path("/usr")  # root's
        return shelf.cache
    shelf.cache.mkdir(mode=0o700)
    entries = shelf.cache / "entries"
    if request.param == "foreign":
        give_away(shelf.cache)
    elif request.param == "entries open to all":
        entries.mkdir()
        entries.chmod(0o777)
        return entries
    else:
        shelf.cache.chmod({"open to all": 0o777, "open to a group": 0o775, "sticky": 0o1777}[request.param])
    return shelf.cache


def test_a_directory_that_somebody_else_could_change_is_refused(shelf: Shelf, unsafe: Path, tally: Tally) -> None:
    shelf.put("eplus.sql", noise(1000))
    before = set(unsafe.iterdir())
    attempts: list[Callable[[], object]] = [partial(shelf.read, "eplus.sql", how) for how in WAYS]
    attempts += [lambda: info(shelf.cache), lambda: clear(shelf.cache), lambda: prune(10, shelf.cache)]
    for attempt in attempts:
        tally.fault()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # refused, not read past
            with pytest.raises(CacheDirectoryError) as caught:
                attempt()
        assert isinstance(caught.value, PermissionError)
        assert caught.value.filename == str(unsafe)
        assert ("another user" if os.stat(unsafe).st_uid != os.geteuid() else "writable by other users") in str(
            caught.value
        )
        assert "choose another" in str(caught.value) or "chmod" in str(caught.value)
    assert set(unsafe.iterdir()) == before
    assert shelf.downloads() == 0


def test_the_users_own_directory_is_no_exception(
    shelf: Shelf, local_run: SimulationResult, empty_cache: Path, tally: Tally
) -> None:
    shelf.publish(local_run)
    empty_cache.mkdir(parents=True)
    empty_cache.chmod(0o777)
    tally.fault()
    with pytest.raises(CacheDirectoryError, match="writable by other users"):
        _ = open_result(shelf.place.url, storage_options=shelf.place.options).sql
    empty_cache.chmod(0o755)
    with open_result(shelf.place.url, storage_options=shelf.place.options) as result:
        assert result.sql is not None


def test_a_directory_that_was_made_its_readers_own_is_taken(shelf: Shelf, tally: Tally) -> None:
    shelf.put("eplus.sql", noise(1000))
    shelf.cache.mkdir()
    shelf.cache.chmod(0o775)
    with pytest.raises(CacheDirectoryError):
        shelf.read("eplus.sql")
    shelf.cache.chmod(0o755)
    tally.read(shelf.read("eplus.sql"), noise(1000))
    assert info(shelf.cache).files == 1


def test_what_is_made_is_for_its_user_alone(shelf: Shelf) -> None:
    shelf.put("eplus.sql", noise(1000))
    assert elsewhere(disks.modes, shelf, ["eplus.sql"], disk=str(shelf.cache)) == {"0o700"}


def test_a_fork_does_not_let_go_of_what_its_parent_uses(shelf: Shelf, tally: Tally) -> None:
    paths = [f"{number}.sql" for number in range(3)]
    for number, path in enumerate(paths):
        shelf.put(path, noise(1000, number))
    found, left, in_use = elsewhere(disks.forked, shelf, paths, disk=str(shelf.cache))
    tally.fault()
    tally.digests(found, *digests(noise(1000, 0)))
    assert left == ["0.sql"] and in_use == 1


def test_a_fork_does_not_let_go_of_the_database_that_its_parent_has_open(
    shelf: Shelf, local_run: SimulationResult, empty_cache: Path, tally: Tally
) -> None:
    shelf.publish(local_run)
    given = {"url": shelf.place.url, "options": shelf.place.options}
    variables, left, in_use = elsewhere(disks.forked_with_a_run, shelf, [], disk=str(empty_cache), **given)
    tally.fault()
    assert variables > 0
    assert left == ["eplus.sql"] and in_use == 1
