"""Readers with disks of their own: each function runs in a process of its own, which alone sees what it mounts."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import hashlib
import os
import resource
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from idfkit import load_idf
from support.readers import WAYS, read
from support.waiting import wait_until

from idfkit_fs import FsspecFileSystem, Study, open_result, simulate
from idfkit_fs.cache import clear, info
from idfkit_fs.errors import CacheUnusableError, IncompleteRunError, PublishError

Options = dict[str, Any]

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000


def own_mounts() -> None:
    """Mount from now on what only this process and its children see; for all users, root being one of their own."""
    user, group = os.geteuid(), os.getegid()
    flags = _CLONE_NEWNS if user == 0 else _CLONE_NEWNS | _CLONE_NEWUSER
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def can_mount(_number: int, directory: str) -> str:
    """Why this machine cannot mount anything; empty if it can."""
    try:
        own_mounts()
        mount(directory, "size=1m")
    except (OSError, subprocess.CalledProcessError) as exc:
        return repr(exc)
    return ""


def with_mounts(number: int, temporary: str, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    own_mounts()
    return without_mounts(number, temporary, function, arguments)


def without_mounts(_number: int, temporary: str, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    tempfile.tempdir = temporary  # what is left in it goes with the test
    return function(**arguments)


def mount(directory: str, settings: str) -> None:
    """Mount a disk that is gone with this process."""
    Path(directory).mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=700,{settings}", "tmpfs", directory], check=True)


def make_read_only(directory: str) -> None:
    """Have a directory seen without leave to write from now on, even by those who write to it already."""
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)


def fill(directory: str) -> None:
    """Leave no space at all."""
    try:
        with Path(directory, "filler").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
    except OSError:
        return


def warned(action: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What an action returns, and the warnings that it gave."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answer = action()
    return answer, [str(warning.message) for warning in caught]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_all(url: str, options: Options, paths: list[str]) -> Any:
    """Read each file in every way, twice; the hashes, and the warnings."""
    return warned(lambda: [digest(read(url, options, path, how)) for _ in range(2) for how in WAYS for path in paths])


def filled_by_itself(url: str, options: Options, paths: list[str], disk: str, settings: str) -> tuple[Any, ...]:
    """Read files, which together are more than the disk of the cache takes, one after the other."""
    mount(disk, settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fs = FsspecFileSystem.from_url(url, **options)
        found = [hashlib.sha256(fs.read_bytes(path)).hexdigest() for path in paths]
    kept = sorted(path.name for path in Path(disk).glob("entries/*/*/*.sql"))
    return found, [str(warning.message) for warning in caught], kept


def small(url: str, options: Options, paths: list[str], disk: str, settings: str) -> Any:
    """Read through a cache on a small disk."""
    mount(disk, settings)
    answer = read_all(url, options, paths)
    return *answer, sorted(path.name for path in Path(disk).rglob("*.sql"))


def full(url: str, options: Options, paths: list[str], disk: str) -> Any:
    """Read through a cache on a disk that is full to begin with."""
    mount(disk, "size=1m")
    fill(disk)
    return read_all(url, options, paths)


def crowded(url: str, options: Options, paths: list[str], disk: str, settings: str) -> Any:
    """Read files at the same time, each of which would fit alone."""
    mount(disk, settings)
    ready = threading.Barrier(len(paths))

    def one(number: int) -> str:
        ready.wait()
        return digest(read(url, options, paths[number], WAYS[number % len(WAYS)]))

    def everything() -> list[str]:
        with ThreadPoolExecutor(len(paths)) as pool:
            return list(pool.map(one, range(len(paths))))

    return warned(everything)


def read_only(url: str, options: Options, paths: list[str], disk: str, warm: bool) -> Any:
    """Read through a cache that cannot be written to, or no longer."""
    mount(disk, "size=8m")
    if warm:
        read_all(url, options, paths)
    make_read_only(disk)
    return read_all(url, options, paths)


def full_everywhere(url: str, options: Options, paths: list[str], disk: str, temporary: str, filled: bool) -> Any:
    """Read where neither the cache nor the only temporary directory takes a file."""
    for directory in (disk, temporary):
        mount(directory, "size=1m")
        if filled:
            fill(directory)
    # Not the machine's own ones: the sources and their environment may lie below them.
    tempfile._candidate_tempdir_list = lambda: [temporary]
    tempfile.tempdir = None
    fs = FsspecFileSystem.from_url(url, **options)
    (data, opened), said = warned(lambda: (fs.read_bytes(paths[0]), fs.open(paths[0]).read()))
    try:
        fs.local_path(paths[0])
    except CacheUnusableError as exc:
        return [digest(data), digest(opened)], said, str(exc)
    return None


def limited(url: str, options: Options, paths: list[str]) -> Any:
    """Read where no file may grow beyond 1 MB, which nothing tells before it has."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))
    how = [way for way in WAYS if way != "local_path"]
    answer = warned(lambda: [digest(read(url, options, path, way)) for path in paths for way in how])
    try:
        FsspecFileSystem.from_url(url, **options).local_path(paths[0])
    except CacheUnusableError as exc:
        return *answer, str(exc)
    return None


def modes(url: str, options: Options, paths: list[str], disk: str) -> Any:
    """Fill a new cache where everything that is made is open to everybody; the modes of its directories."""
    os.umask(0)
    FsspecFileSystem.from_url(url, **options).local_path(paths[0])
    return {oct(path.stat().st_mode & 0o777) for path in (Path(disk), *Path(disk).rglob("*")) if path.is_dir()}


def forked(url: str, options: Options, paths: list[str], disk: str) -> Any:
    """Fork children that read too and end; what is left when another process has cleared the cache then."""
    told, tell = os.pipe()
    other = _fork(lambda: (os.read(told, 1), clear(disk)))
    fs = FsspecFileSystem.from_url(url, **options)
    copy = fs.local_path(paths[0])
    fs.read_bytes(paths[1])

    def read_too() -> None:
        assert fs.read_bytes(paths[0]) == copy.read_bytes()
        fs.local_path(paths[2])

    for orderly in (False, True):
        _wait(_fork(read_too, orderly))
    os.write(tell, b"!")
    _wait(other)
    found = sorted(path.name for path in Path(disk).glob("entries/*/*/*.sql"))
    return [digest(copy.read_bytes()), digest(fs.read_bytes(paths[0]))], found, info(disk).in_use


def forked_with_a_run(url: str, options: Options, paths: list[str], disk: str) -> Any:
    """The same, with the database of a run open, which the children close."""
    os.environ["XDG_CACHE_HOME"] = str(Path(disk).parent)
    told, tell = os.pipe()
    other = _fork(lambda: (os.read(told, 1), clear(disk)))
    held = [open_result(url, storage_options=options)]
    assert held[0].sql is not None

    def let_go() -> None:
        held.pop().close()
        gc.collect()

    for orderly in (False, True):
        _wait(_fork(let_go, orderly))
    os.write(tell, b"!")
    _wait(other)
    found = sorted(path.name for path in Path(disk).glob("entries/*/*/*.sql"))
    return len(held[0].sql.list_variables()), found, info(disk).in_use


def _fork(action: Callable[[], object], orderly: bool = False) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        action()
        if orderly:
            atexit._run_exitfuncs()  # as a child does that ends by itself
            gc.collect()
        os._exit(0)
    finally:
        os._exit(1)


def _wait(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def studied(url: str, disk: str) -> Any:
    """Run a study where there is too little space for EnergyPlus, and again when there is more."""
    mount(disk, "size=6m")
    study = Study(url)
    reasons = _incomplete(study)
    states, left = study.status().states(), os.listdir(disk)
    subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
    return reasons, states, left, study.run().ok


def studied_with_room_again(url: str, disk: str) -> Any:
    """Run a study on a disk that is full for a moment while EnergyPlus writes, and again."""
    mount(disk, "size=6m")
    study = Study(url)
    meanwhile = threading.Thread(target=_make_room_when_it_was_full, args=(Path(disk),))
    meanwhile.start()
    reasons = _incomplete(study)
    meanwhile.join()
    return reasons, study.status().states(), os.listdir(disk), study.run().ok


def _incomplete(study: Study) -> list[str]:
    try:
        study.run()
    except IncompleteRunError as exc:
        return [str(reason) for reason in exc.errors.values()]
    return []


def _make_room_when_it_was_full(disk: Path) -> None:
    def was_full() -> bool:
        with contextlib.suppress(FileNotFoundError):
            # Its first page was written when there was space.
            return any(b"disk is full" in path.read_bytes() for path in disk.glob("*/*qlite.err"))
        return False

    wait_until(was_full, "EnergyPlus to say that it could not write to its database")
    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)


def simulated(model: str, weather: str, url: str, disk: str) -> Any:
    """Simulate where there is too little space for EnergyPlus: the error, and which files it names."""
    mount(disk, "size=6m")
    try:
        simulate(load_idf(model), weather, output_dir=url)
    except PublishError as exc:
        return str(exc), sorted(os.listdir(exc.local_dir)), exc.local_dir
    return None
