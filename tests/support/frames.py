"""What other processes read with pandas through the cache: each function runs in a process of its own."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import fsspec
import pandas as pd
from support.disks import fill, mount, warned
from support.readers import CONTEXT

from idfkit_fs import FsspecFileSystem

__all__ = ["digest_of_bytes", "digest_of_frame", "full", "read_frame", "read_in_a_forked_child", "rest_of"]

if os.name != "nt":
    CONTEXT.set_forkserver_preload(
        [
            *("idfkit_fs._stores.s3", "idfkit_fs._fs.aio", "idfkit_fs.runs.publish", "idfkit_fs.studies.study"),
            *("idfkit.simulation.async_runner", "idfkit.writers", "pandas", "pyarrow.parquet", "filelock"),
            *("platformdirs", "concurrent.futures"),
        ]
    )


def read_frame(url: str, options: dict[str, Any]) -> pd.DataFrame:
    """Read a CSV or Parquet file by its URL."""
    read: Any = pd.read_parquet if url.endswith(".parquet") else pd.read_csv
    frame: pd.DataFrame = read(url, storage_options=options)
    return frame


def digest_of_frame(_number: int, url: str, options: dict[str, Any]) -> str:
    """The hash of all numbers in a file."""
    return digest_of_bytes(read_frame(url, options).to_numpy().tobytes())


def digest_of_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def rest_of(_number: int, file: Any) -> bytes:
    """What is left of an open file that came from another process."""
    data: bytes = file.read()
    return data


def read_in_a_forked_child(_number: int, url: str, options: dict[str, Any], other: str) -> int:
    """Read a file, then another one in a forked child through the same filesystem; the child's exit code."""
    found, key = fsspec.url_to_fs(url, **options)
    data = found.cat_file(key)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if found.cat_file(key) == data and found.open(other).read() == data[::-1] else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def full(url: str, options: dict[str, Any], paths: list[str], disk: str) -> Any:
    """Read with pandas, twice, through a cache on a disk that is full; the hashes, and the warnings."""
    mount(disk, "size=1m")
    fill(disk)
    fs = FsspecFileSystem.from_url(url, **options)
    return warned(lambda: [digest_of_frame(0, fs.url(path), fs.storage_options) for path in paths * 2])
