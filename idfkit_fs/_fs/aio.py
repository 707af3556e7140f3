"""The async adapter: the sync one in a bounded pool of threads."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, Self, TypeVar

from fsspec.spec import AbstractFileSystem

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.parallel import THREADS
from idfkit_fs._util.urls import Location, StrPath, UPathLike

__all__ = ["AsyncFsspecFileSystem"]

P = ParamSpec("P")
T = TypeVar("T")


@functools.cache
def _pool(_pid: int) -> ThreadPoolExecutor:
    """The threads of this process; a forked child has none of its parent's."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="idfkit-fs-async")


async def _in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a call that changes nothing in a thread; when its task is cancelled, its result is dropped."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_pool(os.getpid()), functools.partial(call, *args, **kwargs))


async def _settled(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a call that writes in a thread; a cancelled task ends only when the write has ended."""
    loop = asyncio.get_running_loop()
    running = loop.run_in_executor(_pool(os.getpid()), functools.partial(call, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        running.exception()  # so that it is not reported as never retrieved
        raise


class AsyncFsspecFileSystem:
    """Any fsspec filesystem as idfkit's ``AsyncFileSystem``.

    The same constructors, methods, results and errors as [FsspecFileSystem][idfkit_fs.FsspecFileSystem]; each call runs
    in one of 32 threads, so the caller's event loop never waits for I/O. When a task is cancelled, a read
    continues and its result is dropped, and a write ends before the task does.

    Args:
        fs: Any fsspec filesystem. It is borrowed: never closed, its options never changed.
        root: The root in it, such as ``"bucket/study-001"``; a full URL works too.

    Raises:
        LocationError: If *root* has no bucket or directory, or is a URL of another filesystem.
        TypeError: If *fs* is not an fsspec filesystem.
        ValueError: If *fs* was made with ``asynchronous=True``.

    Examples:
        >>> fs = AsyncFsspecFileSystem.from_url("memory://study-001")
        >>> asyncio.run(fs.exists("no-such-case"))
        False
    """

    def __init__(self, fs: AbstractFileSystem, root: StrPath) -> None:
        self.sync = FsspecFileSystem(fs, root)

    @classmethod
    def of(cls, sync: FsspecFileSystem) -> Self:
        """The async twin of a sync adapter."""
        adapter = cls.__new__(cls)
        adapter.sync = sync
        return adapter

    @classmethod
    def from_url(cls, url: Location, **storage_options: Any) -> Self:
        """Route a URL to its store, as [FsspecFileSystem.from_url][idfkit_fs.FsspecFileSystem.from_url] does.

        Args:
            url: A URL, a plain local path, or a ``UPath``.
            **storage_options: What the store's fsspec class takes. For a chained URL, a dictionary for each protocol.

        Returns:
            An adapter of this class.

        Raises:
            LocationError: If the URL has no bucket or directory.
            MissingExtraError: If the protocol's package is not installed.
            StorageOptionsError: If an option is unknown to the store.
        """
        return cls.of(FsspecFileSystem.from_url(url, **storage_options))

    @classmethod
    def from_upath(cls, path: UPathLike) -> Self:
        """Take filesystem, path and options from a `UPath` (universal-pathlib); it becomes the root."""
        return cls.of(FsspecFileSystem.from_upath(path))

    def joinpath(self, path: StrPath) -> Self:
        """The same store with its root further down; *path* is relative, or a full URL below the root."""
        return self.of(self.sync.joinpath(path))

    @property
    def fs(self) -> AbstractFileSystem:
        """The fsspec filesystem underneath."""
        return self.sync.fs

    @property
    def storage_options(self) -> dict[str, Any]:
        """The options that reach this store, for pandas, xarray or dask beside ``url()``. They may contain secrets."""
        return self.sync.storage_options

    def url(self, path: StrPath = "") -> str:
        """The full URL of a path, for pandas, xarray or dask beside ``storage_options``.

        Raises:
            LocationError: If the path leaves the root.
        """
        return self.sync.url(path)

    def __repr__(self) -> str:
        return repr(self.sync).replace(type(self.sync).__name__, type(self).__name__, 1)

    def __eq__(self, other: object) -> bool:
        return self.sync == other.sync if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self.sync))

    async def read_bytes(self, path: StrPath) -> bytes:
        """Read a whole file.

        Args:
            path: Path to the file.

        Returns:
            Its bytes.

        Raises:
            FileNotFoundError: If the file is missing; ``filename`` holds the URL.
            PermissionError: If the store refuses access.
            ConnectionError: If the store does not answer.
            ValueError: If the path leaves the root; before any I/O.
        """
        return await _in_thread(self.sync.read_bytes, path)

    async def write_bytes(self, path: StrPath, data: bytes) -> None:
        """Write a whole file: a reader sees the old bytes or the new.

        Args:
            path: Path to the file. Its parent directories are created where the store has directories.
            data: The bytes.

        Raises:
            FileNotFoundError: If the bucket does not exist.
            PermissionError: If the store refuses access.
            ConnectionError: If the store does not answer.
            ValueError: If the path leaves the root; before any I/O.
        """
        await _settled(self.sync.write_bytes, path, data)

    async def read_text(self, path: StrPath, encoding: str = "utf-8") -> str:
        """Read a whole file as text; raises as [read_bytes][idfkit_fs.AsyncFsspecFileSystem.read_bytes].

        Args:
            path: Path to the file.
            encoding: The encoding of the text. EnergyPlus itself writes Latin-1 in some files.

        Returns:
            The text, with the line ends that the file has.
        """
        return await _in_thread(self.sync.read_text, path, encoding)

    async def write_text(self, path: StrPath, text: str, encoding: str = "utf-8") -> None:
        """Write a file of text; raises as [write_bytes][idfkit_fs.AsyncFsspecFileSystem.write_bytes].

        Args:
            path: Path to the file.
            text: The text; its line ends are kept.
            encoding: The encoding to write.
        """
        await _settled(self.sync.write_text, path, text, encoding)

    async def exists(self, path: StrPath) -> bool:
        """Whether a file, or a directory that is not empty, exists now.

        Args:
            path: Path to check.

        Returns:
            False only if the store answers that nothing exists.

        Raises:
            PermissionError: If the store refuses access: that is not an answer.
            ConnectionError: If the store does not answer.
            ValueError: If the path leaves the root; before any I/O.
        """
        return await _in_thread(self.sync.exists, path)

    async def makedirs(self, path: StrPath, *, exist_ok: bool = False) -> None:
        """Create a directory and its parents where the store has directories; do nothing elsewhere.

        Args:
            path: The directory.
            exist_ok: Whether it may exist already.

        Raises:
            FileExistsError: If it exists, *exist_ok* is False, and the store has directories; or if it is a file.
        """
        await _settled(self.sync.makedirs, path, exist_ok=exist_ok)

    async def copy(self, src: StrPath, dst: StrPath) -> None:
        """Copy a file, on the store's side where the store can.

        Args:
            src: The file.
            dst: The copy; an existing file is replaced.

        Raises:
            FileNotFoundError: If *src* is missing.
            IsADirectoryError: If *src* is a directory.
        """
        await _settled(self.sync.copy, src, dst)

    async def glob(self, path: StrPath, pattern: str) -> list[str]:
        """List the files below a directory that match a pattern.

        Args:
            path: The directory, taken literally.
            pattern: As in ``pathlib``: ``*`` does not cross a slash, ``**`` does.

        Returns:
            Sorted paths that begin with *path* as it was given; any method takes them. No directories. Empty if the
            directory is missing.

        Raises:
            PermissionError: If the store refuses to list.
            ValueError: If the pattern is empty, absolute, or contains ``..``.
        """
        return await _in_thread(self.sync.glob, path, pattern)

    async def remove(self, path: StrPath) -> None:
        """Remove a file.

        Args:
            path: The file.

        Raises:
            FileNotFoundError: If the file is missing, on every store.
            IsADirectoryError: If it is a directory.
        """
        await _settled(self.sync.remove, path)
