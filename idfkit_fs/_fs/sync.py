"""The sync adapter: any fsspec filesystem as idfkit's ``FileSystem``."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from fsspec.callbacks import Callback
from fsspec.spec import AbstractFileSystem

from idfkit_fs._cache.options import open_cache
from idfkit_fs._cache.store import LocalCopy, Version
from idfkit_fs._fs.adapter import Adapter, Plan, Step
from idfkit_fs._stores.threads import one_at_a_time
from idfkit_fs._stores.backends import in_memory, tuned
from idfkit_fs._util.messages import redact
from idfkit_fs._util.retry import retry
from idfkit_fs._util.urls import StrPath
from idfkit_fs.errors import CacheUnusableError

__all__ = ["FsspecFileSystem"]

T = TypeVar("T")
# Options of fsspec's `open` that mean nothing where a file is whole on this disk, and change nothing of what is read.
_BUFFERING = frozenset({"block_size", "cache_options", "cache_type"})


class FsspecFileSystem(Adapter):
    """Any fsspec filesystem as [idfkit's FileSystem][idfkit.simulation.fs.FileSystem].

    Paths are relative to the root, or full URLs below it; ``pathlib`` objects and the URLs that ``pathlib`` collapsed
    do too. Instances can be pickled, compared, and shared by threads and processes.

    Args:
        fs: Any fsspec filesystem. It is borrowed: never closed, its options never changed.
        root: The place in it that paths are relative to, such as ``"bucket/study-001"``.

    Raises:
        LocationError: If *root* names no place.
        ValueError: If *fs* was made with ``asynchronous=True``; that is for
            [AsyncFsspecFileSystem][idfkit_fs.AsyncFsspecFileSystem].

    Examples:
        >>> fs = FsspecFileSystem.from_url("memory://study-001")
        >>> fs.write_text("case-42/notes.txt", "south facade glazed")
        >>> fs.glob("case-42", "*.txt")
        ['case-42/notes.txt']
    """

    def _bind(self, fs: AbstractFileSystem, root: str, url: str | None, options: dict[str, Any]) -> None:
        if getattr(fs, "asynchronous", False):
            raise ValueError("this filesystem was made with asynchronous=True; give it to AsyncFsspecFileSystem")
        super()._bind(fs, root, url, options)

    def _run(self, plan: Plan[T]) -> T:
        fs = self.fs
        handled = sys.exception()
        try:
            step = next(plan)
            while True:
                try:
                    if isinstance(step.call, str):
                        with one_at_a_time(fs):
                            outcome = getattr(fs, step.call)(*step.args, **step.kwargs)
                    else:
                        outcome = step.call(*step.args, **step.kwargs)
                except Exception as exc:  # noqa: BLE001 - each SDK has its own; the translator sorts them
                    step = plan.throw(self._translated(exc, step, handled))
                else:
                    step = plan.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            # An interrupt does not reach the plan by itself, and a notebook keeps its traceback, and so the plan.
            plan.close()

    def read_bytes(self, path: StrPath) -> bytes:
        """Read a whole file.

        Args:
            path: Path to the file.

        Returns:
            Its bytes.

        Raises:
            FileNotFoundError: If there is none; ``filename`` holds the URL.
            PermissionError: If the store refuses access.
            ConnectionError: If the store does not answer.
            ValueError: If the path leaves the root; before any I/O.
        """
        return self._run(self._read_bytes(path))

    def write_bytes(self, path: StrPath, data: bytes) -> None:
        """Write a file whole: a reader sees the old bytes or the new.

        Args:
            path: Path to the file. Its parent directories appear where the store has such.
            data: The bytes.

        Raises:
            FileNotFoundError: If the bucket does not exist.
            PermissionError: If the store refuses access.
            ConnectionError: If the store does not answer.
            ValueError: If the path leaves the root; before any I/O.
        """
        self._run(self._write_bytes(path, data))

    def read_text(self, path: StrPath, encoding: str = "utf-8") -> str:
        """Read a whole file as text; raises as [read_bytes][idfkit_fs.FsspecFileSystem.read_bytes] does.

        Args:
            path: Path to the file.
            encoding: The text's encoding. EnergyPlus itself writes Latin-1 in places.

        Returns:
            The text, its line ends as they are in the file.
        """
        return self.read_bytes(path).decode(encoding)

    def write_text(self, path: StrPath, text: str, encoding: str = "utf-8") -> None:
        """Write a file of text; raises as [write_bytes][idfkit_fs.FsspecFileSystem.write_bytes] does.

        Args:
            path: Path to the file.
            text: The text; its line ends are kept.
            encoding: The encoding to write.
        """
        self.write_bytes(path, text.encode(encoding))

    def exists(self, path: StrPath) -> bool:
        """Whether a file, or a directory with something in it, is there now.

        Args:
            path: Path to check.

        Returns:
            False only if the store says that there is nothing.

        Raises:
            PermissionError: If the store refuses access: that is no answer.
            ConnectionError: If the store does not answer.
            ValueError: If the path leaves the root; before any I/O.
        """
        return self._run(self._exists(path))

    def makedirs(self, path: StrPath, *, exist_ok: bool = False) -> None:
        """Create a directory and its parents where the store has directories; elsewhere there is nothing to do.

        Args:
            path: The directory.
            exist_ok: Whether it may be there already.

        Raises:
            FileExistsError: If it is there, *exist_ok* is False, and the store has directories.
        """
        self._run(self._makedirs(path, exist_ok))

    def copy(self, src: StrPath, dst: StrPath) -> None:
        """Copy a file, within the store where the store can.

        Args:
            src: The file.
            dst: Where to; an existing file is replaced.

        Raises:
            FileNotFoundError: If *src* is missing.
        """
        self._run(self._copy(src, dst))

    def glob(self, path: StrPath, pattern: str) -> list[str]:
        """Files below a directory that match a pattern.

        Args:
            path: The directory, taken literally.
            pattern: As in ``pathlib``: ``*`` stays in a segment, ``**`` does not.

        Returns:
            Sorted paths that begin with *path* as it was given, each fit for any method. No directories. Empty if the
            directory is missing.

        Raises:
            PermissionError: If the store refuses to list.
            ValueError: If the pattern is empty, absolute, or has ``..``.
        """
        return self._run(self._glob(path, pattern))

    def remove(self, path: StrPath) -> None:
        """Remove a file.

        Args:
            path: The file.

        Raises:
            FileNotFoundError: If there is none, on every store.
            IsADirectoryError: If it is a directory.
        """
        self._run(self._remove(path))

    def open(self, path: StrPath, mode: str = "rb", **kwargs: Any) -> IO[Any]:
        """Open a file for reading by ranges, or for writing.

        What is written goes to a local temporary file and to the store when the file is closed. If the ``with`` block
        raises, nothing is stored, and the old file stays.

        Args:
            path: Path to the file.
            mode: ``"rb"``, ``"r"``, ``"wb"`` or ``"w"``.
            **kwargs: ``encoding``, ``errors`` and ``newline`` for text; others go to fsspec's ``open`` when reading
                (``block_size`` in bytes, ``cache_type``).

        Returns:
            A file object.

        Raises:
            FileNotFoundError: If it is to be read and there is none.
            ValueError: For any other mode.

        Examples:
            >>> fs = FsspecFileSystem.from_url("memory://study-001")
            >>> with fs.open("case-42/a.csv", "w") as file:
            ...     _ = file.write("hour,degC")
            >>> fs.open("case-42/a.csv", "r").read()
            'hour,degC'
        """
        text = {name: kwargs.pop(name) for name in ("encoding", "errors", "newline") if name in kwargs}
        kind = mode.replace("b", "").replace("t", "")
        if kind not in ("r", "w") or ("b" in mode and ("t" in mode or text)):
            raise ValueError(f"mode must be 'rb', 'r', 'wb' or 'w' (encoding with text only), not {mode!r}")
        key = self._root.to_file_key(path)
        if kind == "r":
            binary: Any = self._reader(key, kwargs)
        elif kwargs:
            raise TypeError(f"open() takes no {', '.join(kwargs)} when writing")
        else:
            binary = _Writer(self, key)
        if "b" in mode:
            return binary  # type: ignore[no-any-return]  # a BufferedReader, BytesIO or _Writer
        try:
            return (io.TextIOWrapper if kind == "r" else _TextWriter)(binary, **{"encoding": "utf-8", **text})
        except BaseException:
            if kind == "w":
                binary.abandoned = True
            binary.close()
            raise

    def _reader(self, key: str, kwargs: dict[str, Any]) -> IO[bytes]:
        if (in_memory(self.fs) or self._reads_copies) and not kwargs.keys() <= _BUFFERING:
            raise TypeError(f"open() takes no {', '.join(kwargs.keys() - _BUFFERING)} here")
        if in_memory(self.fs):
            return io.BytesIO(self.read_bytes(self._root.relative(key)))
        if self._reads_copies:
            try:
                return self._open_copy(key)
            except CacheUnusableError as exc:
                self._cache.warn(exc)
        return io.BufferedReader(_Reader(self, key, kwargs), 1024 * 1024)

    def _open_copy(self, key: str) -> IO[bytes]:
        copy = self._run(self._local_copy(self._root.relative(key), self._cache))
        with copy:
            return copy.open()  # what is open can be read to its end

    def local_path(self, path: StrPath) -> Path:
        """A local copy of a file, for libraries that need one, such as ``sqlite3``.

        The copy is kept in the [cache][idfkit_fs.cache] by the store's version of the file, so asking again downloads
        nothing, and a file that changed is fetched anew. It stays there until this process ends. A local filesystem
        answers with the file itself.

        Args:
            path: Path to the file.

        Returns:
            The path of a complete local file. Do not write to it.

        Raises:
            FileNotFoundError: If there is none.
            CacheUnusableError: If neither the cache nor the temporary directory takes it.
        """
        return self.local_copy(path).for_good()

    @property
    def local_root(self) -> str | None:
        """The root as a path of this machine; None for any other store."""
        return self._root.key if self._is_local else None

    def upload(self, local: StrPath, path: StrPath, *, callback: Callback | None = None) -> None:
        """Store a local file, in bounded memory; raises as [write_bytes][idfkit_fs.FsspecFileSystem.write_bytes] does.

        Args:
            local: The local file.
            path: Where to.
            callback: Told the bytes as they go, where the store's fsspec class does so.
        """
        os.stat(local)  # that the local file is missing must not be taken for the store's word
        self._run(self._put_file(os.fspath(local), path, **({} if callback is None else {"callback": callback})))

    def fetch(self, path: StrPath) -> bytes:
        """Read a whole file from the store itself, never from the cache."""
        return self._run(self._fetch(path))

    def create_exclusive(self, path: StrPath, data: bytes) -> bool:
        """Write a file unless it exists; whether it exists now because of this call."""
        return retry(lambda: self._run(self._create(path, data)))

    def remove_if_exists(self, paths: Iterable[str]) -> None:
        """Remove files, one after the other; those that are missing are skipped."""
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                retry(functools.partial(self.remove, path))

    def copy_from(self, source: FsspecFileSystem, src: StrPath, dst: StrPath) -> None:
        """Copy a file of another filesystem of the same store."""
        self._run(self._copy_key(source._root.to_file_key(src), self._root.to_file_key(dst)))

    def version(self, path: StrPath) -> Version:
        """The version of a file that the store has now."""
        return self._run(self._version(path))

    def read_ranges(self, path: StrPath, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read ranges of a file from the store, each from its first byte to before its last."""
        return self._run(self._fetch_ranges(path, ranges))

    def local_copy(self, path: StrPath) -> LocalCopy:
        """As [local_path][idfkit_fs.FsspecFileSystem.local_path], until the copy is released."""
        if self._is_here:
            self._run(self._version(path))
            return LocalCopy(Path(self._root.to_file_key(path)))
        try:
            return self._run(self._local_copy(path, self._cache))
        except CacheUnusableError as exc:
            self._cache.warn(exc)
            return self._run(self._local_copy(path, open_cache({"cache_storage": "TMP"})))


class _Reader(io.RawIOBase):
    """A file of an fsspec filesystem, whose errors while reading are translated too."""

    def __init__(self, owner: FsspecFileSystem, key: str, kwargs: dict[str, Any]) -> None:
        super().__init__()
        self._owner = owner
        self._key = key
        owner._forget(key)
        self._file = owner._run(self._step("open", key, "rb", **{**tuned(owner.fs, "open"), **kwargs}))
        self.name = redact(owner.url(owner._root.relative(key)))

    def _step(self, call: Any, *args: Any, **kwargs: Any) -> Plan[Any]:
        return (yield Step(call, *args, about=self._key, **kwargs))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._owner._run(self._step(self._file.read, len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position: int = self._file.seek(offset, whence)
        return self._file.tell() if position is None else position

    def tell(self) -> int:
        position: int = self._file.tell()
        return position

    def close(self) -> None:
        if not self.closed and hasattr(self, "_file"):
            self._file.close()
        super().close()


class _Writer(io.BufferedWriter):
    """A local temporary file that becomes the stored one when it is closed, unless its ``with`` block raised.

    One that nobody closed is given up when it is collected: what it holds may be a part.
    """

    def __init__(self, owner: FsspecFileSystem, key: str) -> None:
        handle, self._temporary = tempfile.mkstemp(prefix="idfkit-fs-")
        super().__init__(io.FileIO(handle, "w"))
        self._owner = owner
        self._path = owner._root.relative(key)
        self.abandoned = False

    def __exit__(self, exc_type: object, *_exc: object) -> None:
        self.abandoned = exc_type is not None
        self.close()

    def __del__(self) -> None:
        if not self.closed:
            self.abandoned = True
            warnings.warn(
                f"{self._path!r} was opened for writing and never closed; it is not stored", ResourceWarning, 2
            )
            self.close()

    def close(self) -> None:
        """Store the file."""
        if self.closed:
            return
        try:
            super().close()
            if not self.abandoned:
                self._owner.upload(self._temporary, self._path)
        finally:
            os.unlink(self._temporary)


class _TextWriter(io.TextIOWrapper):
    """Text on a [_Writer][], which must learn what became of its text before it is closed."""

    buffer: _Writer

    def __exit__(self, exc_type: object, *_exc: object) -> None:
        self.buffer.abandoned = exc_type is not None
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(ValueError):  # from one that was never made, for a bad encoding
            if not self.closed:
                self.buffer.__del__()
