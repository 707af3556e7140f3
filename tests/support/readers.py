"""What the other processes of these tests do: each function runs in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

import fsspec

from idfkit_fs import AsyncFsspecFileSystem, FsspecFileSystem, open_result
from idfkit_fs.cache import clear, prune

__all__ = [
    "CONTEXT",
    "WAYS",
    "Crowd",
    "clear_all",
    "digest_of_read",
    "digest_of_run",
    "killed_at_each_step",
    "read",
    "read_at_random",
    "sum_by_pandas",
    "survey",
]

T = TypeVar("T")
WAYS = ("read_bytes", "open", "local_path", "async", "fsspec")
# A server that has imported everything once, for workers and commands too; its children begin with no threads and no connections.
CONTEXT: Any = multiprocessing.get_context("spawn" if os.name == "nt" else "forkserver")
if os.name != "nt":
    CONTEXT.set_forkserver_preload(
        [
            "idfkit_fs._stores.s3",
            "idfkit_fs._fs.aio",
            "idfkit_fs.runs.publish",
            "idfkit_fs.studies.study",
            "idfkit_fs._cli.commands",
            "idfkit.simulation.async_runner",
            "idfkit.writers",
            "pandas",
            "filelock",
            "platformdirs",
            "concurrent.futures",
        ]
    )
_PATIENCE = 600.0
_barrier: Any = None


class Crowd:
    """Processes that do one thing, all at the same moment, as often as they are asked."""

    def __init__(self, size: int) -> None:
        self.size = size
        barrier = CONTEXT.Barrier(size)
        self._pool = ProcessPoolExecutor(size, CONTEXT, initializer=_join, initargs=(barrier,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._pool.shutdown()

    def do(self, function: Callable[..., T], *arguments: Any) -> list[T]:
        """What a function returns in each of the processes; its first argument is the process's number."""
        energyplus = os.environ.get("ENERGYPLUS_DIR", "")
        futures = [self._pool.submit(_in_step, energyplus, function, number, *arguments) for number in range(self.size)]
        return [future.result(_PATIENCE) for future in futures]


def _join(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _in_step(energyplus: str, function: Callable[..., T], *arguments: Any) -> T:
    os.environ["ENERGYPLUS_DIR"] = energyplus  # that of the server of forks is another test's
    _barrier.wait(_PATIENCE)
    return function(*arguments)


def read(url: str, options: dict[str, Any], path: str, how: str = "read_bytes") -> bytes:
    """Read a file in one of the ways that there are."""
    if how == "async":
        return asyncio.run(AsyncFsspecFileSystem.from_url(url, **options).read_bytes(path))
    fs = FsspecFileSystem.from_url(url, **options)
    if how == "fsspec":  # as pandas, xarray and dask do
        with fsspec.open(fs.url(path), "rb", **fs.storage_options) as file:
            content: bytes = file.read()
            return content
    if how == "open":
        with fs.open(path) as file:
            data: bytes = file.read()
            return data
    return fs.local_path(path).read_bytes() if how == "local_path" else fs.read_bytes(path)


def digest_of_read(number: int, url: str, options: dict[str, Any], path: str) -> str:
    """Read a file, each process in another way; most without holding it in memory."""
    if number < 2:
        return hashlib.sha256(read(url, options, path, ("read_bytes", "async")[number])).hexdigest()
    return _digest_in_place(FsspecFileSystem.from_url(url, **options), number, path)


def sum_by_pandas(_number: int, url: str, options: dict[str, Any], path: str) -> float:
    """Read a Parquet file as pandas users do: the sum of its values."""
    import pandas as pd

    fs = FsspecFileSystem.from_url(url, **options)
    return float(pd.read_parquet(fs.url(path), storage_options=fs.storage_options).to_numpy().sum())


def digest_of_run(number: int, url: str, options: dict[str, Any], path: str, home: str) -> str:
    """Open a run, query its database and read a file of it, in the same way."""
    os.environ["XDG_CACHE_HOME"] = home
    with open_result(url, storage_options=options) as result:
        assert result.sql is not None and result.sql.list_variables()
        files: Any = result.fs
        if number < 2:
            return hashlib.sha256(files.read_bytes(path)).hexdigest()
        return _digest_in_place(files, number, path)


def _digest_in_place(fs: FsspecFileSystem, number: int, path: str) -> str:
    with fs.open(path) if number % 2 else fs.local_path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # a BufferedReader


def look_at_run(_number: int, url: str, options: dict[str, Any], home: str, immutable: bool) -> list[object]:
    """What there is to be seen in a run, each kind of file once."""
    os.environ["XDG_CACHE_HOME"] = home
    with open_result(url, storage_options=options, immutable=immutable) as result:
        files: Any = result.fs
        assert result.sql is not None and result.csv is not None and result.variables is not None
        return [
            result.success,
            result.errors.simulation_complete,
            result.csv.timestamps[:5],
            len(result.variables.variables),
            len(result.sql.list_variables()),
            hashlib.sha256(files.read_bytes("eplus.sql")).hexdigest(),
            hashlib.sha256(files.open("eplus.sql").read()).hexdigest(),
            str(files.local_path("eplus.sql")),
        ]


def read_at_random(number: int, url: str, options: dict[str, Any], times: int) -> list[tuple[int, str]]:
    """Read some of the files ``0.csv`` to ``19.csv``; each file's number and hash."""
    chance = random.Random(number)
    found = []
    for _ in range(times):
        file, how = chance.randrange(20), chance.choice(["read_bytes", "open", "async"])
        found.append((file, hashlib.sha256(read(url, options, f"{file}.csv", how)).hexdigest()))
    return found


def clear_all(_number: int, cache: str) -> int:
    """Clear a cache."""
    return clear(cache)


def survey(cache: Path) -> list[str]:
    """The processes that have a part in a cache directory; each is a directory and a lock."""
    return sorted(path.name for path in (cache / "processes").iterdir())


def killed_at_each_step(_number: int, url: str, path: str, directory: str) -> list[tuple[str, list[str]]]:
    """Have a reader killed at each of its steps on the disk in turn, and read after each.

    Returns:
        For each step the hash of what was read afterwards, and what is left of processes.
    """
    found = []
    while True:
        cache = Path(directory, str(len(found)))
        options = {"simplecache": {"cache_storage": str(cache)}}
        pid = os.fork()
        if pid == 0:
            _read_until(len(found), url, options, path, str(cache))
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return found
        digest = hashlib.sha256(read(url, options, path)).hexdigest()
        found.append((digest, survey(cache)))


def _read_until(step: int, url: str, options: dict[str, Any], path: str, cache: str) -> None:
    """Fill an entry, use it and drop it; killed before a step, counted from 0, in the cache directory."""
    left = step

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        here = any(isinstance(about, (str, os.PathLike)) and os.fspath(about).startswith(cache) for about in arguments)
        if here or event == "fcntl.flock":
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    code = 1
    with contextlib.suppress(BaseException):
        sys.addaudithook(watch)
        read(url, options, path)
        read(url, options, path)
        prune(0, cache)
        read(url, options, path)
        code = 0
    os._exit(code)
