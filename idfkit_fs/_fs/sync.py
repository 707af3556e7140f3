"""The sync adapter: any fsspec filesystem as idfkit's ``FileSystem``."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from fsspec.callbacks import Callback
from fsspec.spec import AbstractFileSystem

from idfkit_fs._cache.filesystem import BUFFERING, CacheFileSystem, cached_copy, store_version
from idfkit_fs._cache.options import open_cache
from idfkit_fs._cache.store import Cache, LocalCopy, Version
from idfkit_fs._fs.file_objects import open_reader, open_writer, parse_mode
from idfkit_fs._fs.globbing import parse_glob
from idfkit_fs._fs.paths import is_nameable
from idfkit_fs._fs.routing import Route, route_filesystem, route_url
from idfkit_fs._fs.swap import read_tagged, remove_tagged, swap_file
from idfkit_fs._fs.writing import copy_file, put_file, write_file
from idfkit_fs._stores.access import forget_listing, fresh_info, read_file
from idfkit_fs._stores.backends import (
    copied,
    expected_size,
    found_files,
    in_memory,
    is_file,
    is_object_store,
    is_plain_disk,
    options_of,
    scan,
    tuned,
    version_of,
)
from idfkit_fs._stores.instances import after_fork, identity_of, renewed
from idfkit_fs._stores.limits import retried_errors
from idfkit_fs._stores.removal import batches_of, remove_batch
from idfkit_fs._stores.threads import one_at_a_time
from idfkit_fs._stores.translate import translate
from idfkit_fs._util.files import is_temporary
from idfkit_fs._util.messages import redact, secrets_of
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.retry import retry
from idfkit_fs._util.urls import Location, StrPath, UPathLike
from idfkit_fs.errors import (
    BucketNotFoundError,
    CacheUnusableError,
    ExistsError,
    IsDirectoryError,
    NotFoundError,
    PermissionDeniedError,
    StorageOptionsError,
    StoreError,
    UnreachableError,
)

__all__ = ["FsspecFileSystem"]

T = TypeVar("T")
A = TypeVar("A", bound="FsspecFileSystem")

_REFUSALS = 5  # of a store that says that a file has changed which has not


class FsspecFileSystem:
    """Any fsspec filesystem as idfkit's ``FileSystem``.

    Paths are relative to the root, or full URLs below it; ``pathlib`` objects and the URLs that ``pathlib`` collapsed
    work too. Instances can be pickled, compared, and shared by threads and processes.

    Args:
        fs: Any fsspec filesystem. It is borrowed: never closed, its options never changed.
        root: The root in it, such as ``"bucket/study-001"``; a full URL works too.

    Raises:
        LocationError: If *root* has no bucket or directory, or is a URL of another filesystem.
        StorageOptionsError: If the SDK of *fs* would ignore a nested option, such as a misspelt encryption.
        TypeError: If *fs* is not an fsspec filesystem.
        ValueError: If *fs* was made with ``asynchronous=True``.

    Examples:
        >>> fs = FsspecFileSystem.from_url("memory://study-001")
        >>> fs.write_text("case-42/notes.txt", "south facade glazed")
        >>> fs.glob("case-42", "*.txt")
        ['case-42/notes.txt']
    """

    def __init__(self, fs: AbstractFileSystem, root: StrPath) -> None:
        if not isinstance(fs, AbstractFileSystem):
            raise TypeError(f"fs must be an fsspec filesystem, not {type(fs).__name__}; from_url() takes a URL")
        self._bind(route_filesystem(fs, os.fspath(root)), None)

    def _bind(self, route: Route, made_from: tuple[str, Mapping[str, Any]] | None) -> None:
        """Take a filesystem and a root; *made_from* are the URL and options that make it again elsewhere."""
        self._fs, self._root, self._options = route
        self._made_from = made_from
        self._pid = os.getpid()
        self._secrets = secrets_of(route.options)

    @classmethod
    def from_url(cls, url: Location, **storage_options: Any) -> Self:
        """Route a URL to its store, as fsspec does.

        Args:
            url: Such as ``"s3://bucket/study-001"``, ``"simplecache::gs://bucket/x"``, ``"memory://x"``, or a plain
                local path. A URL that ``pathlib`` collapsed (``s3:/bucket``) is repaired. A ``UPath`` works too.
            **storage_options: What the store's fsspec class takes. For a chained URL, a dictionary for each protocol.

        Returns:
            An adapter of this class.

        Raises:
            LocationError: If the URL has no bucket or directory.
            MissingExtraError: If the protocol's package is not installed.
            StorageOptionsError: If an option is unknown to the store.

        Examples:
            >>> FsspecFileSystem.from_url("memory://study-001")
            FsspecFileSystem('memory://study-001')
        """
        if isinstance(url, UPathLike):
            if storage_options:
                raise StorageOptionsError("a UPath has its own storage options; give them to it")
            return cls.from_upath(url)
        adapter = cls.__new__(cls)
        made_from = (os.fspath(url), copied(storage_options))
        adapter._bind(route_url(url, storage_options), made_from)  # noqa: SLF001 - of this class
        return adapter

    @classmethod
    def from_upath(cls, path: UPathLike) -> Self:
        """Take filesystem, path and options from a `UPath` (universal-pathlib).

        Args:
            path: A ``upath.UPath``; it becomes the root.

        Returns:
            An adapter of this class.
        """
        options = options_of(path.fs)
        if "simplecache" not in options:  # the options of a chained path are flat
            options = dict(path.storage_options) or options
        adapter = cls.__new__(cls)
        adapter._bind(route_filesystem(path.fs, path.path, options), None)  # noqa: SLF001 - of this class
        return adapter

    def joinpath(self, path: StrPath) -> Self:
        """The same store with its root further down.

        Args:
            path: The new root, relative to this one, or a full URL below it.

        Returns:
            An adapter of this class.

        Examples:
            >>> FsspecFileSystem.from_url("memory://study-001").joinpath("case-42")
            FsspecFileSystem('memory://study-001/case-42')
        """
        below = self.as_subclass(type(self))  # `copy.copy` would pickle, and make the filesystem again
        below._root = self._root.below(path)  # noqa: SLF001 - of this class
        return below

    @property
    def fs(self) -> AbstractFileSystem:
        """The fsspec filesystem underneath; it is a cache's own where the URL says so."""
        if os.getpid() != self._pid:
            self._replace_store(after_fork(self._store))
            self._pid = os.getpid()
        return self._fs

    @property
    def store(self) -> AbstractFileSystem:
        """The store's own filesystem, behind the cache if there is one."""
        fs = self.fs
        return fs.store if isinstance(fs, CacheFileSystem) else fs

    @property
    def _store(self) -> AbstractFileSystem:
        return self._fs.store if isinstance(self._fs, CacheFileSystem) else self._fs

    def _replace_store(self, store: AbstractFileSystem) -> None:
        self._fs = self._fs.with_store(store) if isinstance(self._fs, CacheFileSystem) else store

    @property
    def cache(self) -> Cache:
        """The local cache that copies of this store's files go to."""
        fs = self.fs
        return fs.cache if isinstance(fs, CacheFileSystem) else open_cache({})

    @property
    def reads_in_place(self) -> bool:
        """Whether files are read where they are, on this machine's own disk."""
        return self._root.is_local and not isinstance(self._fs, CacheFileSystem)

    @property
    def local_root(self) -> str | None:
        """The root as a path of this machine; None for any other store."""
        return self._root.key if self._root.is_local else None

    @property
    def identity(self) -> str | None:
        """Text that no other store has; None if that cannot be known."""
        return identity_of(self.store).store

    @property
    def storage_options(self) -> dict[str, Any]:
        """The options that reach this store, for pandas, xarray or dask beside ``url()``. They may contain secrets."""
        return copied(self._options)

    def url(self, path: StrPath = "") -> str:
        """The full URL of a path, for pandas, xarray or dask beside ``storage_options``.

        Args:
            path: Relative to the root, or a full URL below it.

        Returns:
            The URL, chained as the filesystem's own was; a cached store's begins with ``safecache::``.

        Raises:
            LocationError: If the path leaves the root.

        Examples:
            >>> FsspecFileSystem.from_url("memory://study-001").url("case-42/eplus.sql")
            'memory://study-001/case-42/eplus.sql'
        """
        return self._root.to_url(path)

    def key(self, path: StrPath) -> str:
        """The store's own key of a path."""
        return self._root.to_key(path)

    def relative(self, path: StrPath) -> str:
        """A path below the root, relative to it; empty for the root."""
        return self._root.relative(self._root.to_key(path))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({redact(self.url(), self._secrets)!r})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._root.key == other._root.key and self.is_same_store(other) and self._reading() == other._reading()

    def __hash__(self) -> int:
        return hash((type(self), self._root.key))

    @property
    def lists_trees(self) -> bool:
        """Whether the files below a directory are listed at once, a thousand a request, whatever lies between."""
        return is_object_store(self.store)

    def _reading(self) -> Cache | None:
        return self._fs.cache if isinstance(self._fs, CacheFileSystem) else None

    def is_same_store(self, other: FsspecFileSystem) -> bool:
        """Whether another adapter reaches the same store: the same endpoint and account, with the same login."""
        return self.store is other.store or identity_of(self.store) == identity_of(other.store)

    def is_same_place(self, other: FsspecFileSystem) -> bool:
        """Whether another adapter has the same root in the same store."""
        return self.key("") == other.key("") and self.is_same_store(other)

    def __reduce__(self) -> Any:
        # Elsewhere the filesystem is made from URL and options, with the login that it finds there.
        fs = None if self._made_from else self._fs
        return _restore, (type(self), fs, self._made_from, self._root.key, self.url(), self._options, self.facts())

    def facts(self) -> dict[str, Any]:
        """What a subclass knows beside filesystem and root; it is pickled."""
        return {}

    def as_subclass(self, cls: type[A], **facts: Any) -> A:
        """The same filesystem and root as an adapter of a subclass."""
        adapter = cls.__new__(cls)
        vars(adapter).update({**vars(self), **facts})
        return adapter

    # Calls to the store.

    def call(
        self,
        key: str,
        function: Callable[[AbstractFileSystem], T],
        *,
        only_bucket: bool = False,
        conditional: bool = False,
    ) -> T:
        """Call the store, with mapped errors: again after an interrupted transfer, or with a login that was renewed.

        Args:
            key: The key that errors name.
            function: Does the call, given the store's own filesystem. It may be called more than once.
            only_bucket: Whether nothing but the bucket can be missing, as for a write to an object store.
            conditional: Whether the call writes only if the file does not exist.

        Returns:
            What *function* returned.
        """
        handled = sys.exception()

        def attempt() -> T:
            try:
                store = self.store
                with one_at_a_time(store):
                    return function(store)
            except Exception as exc:  # noqa: BLE001 - each SDK has its own classes; the translator sorts them
                raise translate(  # noqa: B904 - it sets the cause
                    exc,
                    redact(self._root.url_of_key(key), self._secrets),
                    bucket=self._root.bucket,
                    only_bucket=only_bucket and is_object_store(self.store),
                    conditional=conditional,
                    secrets=self._secrets,
                    handled=handled,
                )

        try:
            return retry(attempt, on=retried_errors(self._store))
        except PermissionDeniedError:
            store = renewed(self.store)
            if store is None:
                raise
            self._replace_store(store)
            return retry(attempt, on=retried_errors(self._store))

    def _info(self, key: str) -> dict[str, Any]:
        return self.call(key, lambda fs: fresh_info(fs, key))

    # The nine methods of the protocol.

    def read_bytes(self, path: StrPath) -> bytes:
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
        key = self._root.to_file_key(path)
        return self.call(key, lambda _store: read_file(self.fs, key))

    def write_bytes(self, path: StrPath, data: bytes) -> None:
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
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be bytes, not {type(data).__name__}; write_text() takes text")
        key = self._root.to_file_key(path)
        self.call(key, lambda fs: write_file(fs, key, bytes(data)), only_bucket=True)

    def read_text(self, path: StrPath, encoding: str = "utf-8") -> str:
        """Read a whole file as text; raises as [read_bytes][idfkit_fs.FsspecFileSystem.read_bytes].

        Args:
            path: Path to the file.
            encoding: The encoding of the text. EnergyPlus itself writes Latin-1 in some files.

        Returns:
            The text, with the line ends that the file has.
        """
        return self.read_bytes(path).decode(encoding)

    def write_text(self, path: StrPath, text: str, encoding: str = "utf-8") -> None:
        """Write a file of text; raises as [write_bytes][idfkit_fs.FsspecFileSystem.write_bytes].

        Args:
            path: Path to the file.
            text: The text; its line ends are kept.
            encoding: The encoding to write.
        """
        self.write_bytes(path, text.encode(encoding))

    def exists(self, path: StrPath) -> bool:
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
        try:
            self._info(self._root.to_key(path))
        except NotFoundError:
            return False
        return True

    def makedirs(self, path: StrPath, *, exist_ok: bool = False) -> None:
        """Create a directory and its parents where the store has directories; do nothing elsewhere.

        Args:
            path: The directory.
            exist_ok: Whether it may exist already.

        Raises:
            FileExistsError: If it exists, *exist_ok* is False, and the store has directories; or if it is a file.
        """
        key = self._root.to_key(path)
        if is_object_store(self.store):
            return
        self.call(key, lambda fs: fs.makedirs(key, exist_ok=exist_ok))
        # Not every filesystem checks that what exists already is a directory, nor shows an empty one.
        with contextlib.suppress(NotFoundError):
            if exist_ok and self._info(key)["type"] == "file":
                raise ExistsError.for_url(self.url(path), "This is a file, not a directory")

    def copy(self, src: StrPath, dst: StrPath) -> None:
        """Copy a file, on the store's side where the store can.

        Args:
            src: The file.
            dst: The copy; an existing file is replaced.

        Raises:
            FileNotFoundError: If *src* is missing.
            IsADirectoryError: If *src* is a directory.
        """
        source, target = self._root.to_file_key(src), self._root.to_file_key(dst)
        self._check_file(source, src)
        if source != target:
            self.call(source, lambda fs: copy_file(fs, source, target))

    def glob(self, path: StrPath, pattern: str) -> list[str]:
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
        parsed = parse_glob(pattern)
        base = self._root.to_key(path)
        shown = self._root.clean(path).rstrip("/")
        start = "/".join(part for part in (base.rstrip("/"), *parsed.below) if part)
        before = f"{base.rstrip('/')}/" if base else ""
        names = [key.removeprefix(before) for key in self._files_below(start, parsed.recursive)]
        found = [name for name in names if parsed.matches(name) and is_nameable(name) and not is_temporary(name)]
        return sorted(f"{shown}/{name}" if shown else name for name in found)

    def remove(self, path: StrPath) -> None:
        """Remove a file.

        Args:
            path: The file.

        Raises:
            FileNotFoundError: If the file is missing, on every store.
            IsADirectoryError: If it is a directory.
        """
        key = self._root.to_file_key(path)
        self._check_file(key, path)
        self.call(key, lambda fs: fs.rm_file(key))

    def _check_file(self, key: str, path: StrPath) -> None:
        if self._info(key)["type"] == "directory":
            raise IsDirectoryError.for_url(self.url(path))

    def _files_below(self, start: str, recursive: bool) -> list[str]:
        """Keys of the files below a directory; none if it is missing, an error if it cannot be listed."""
        if recursive and is_object_store(self.store):
            listing = self.call(start, lambda fs: _find(fs, start), only_bucket=True)
            return [key for key in found_files(listing) if key.startswith(f"{start}/")]
        found: list[str] = []
        directories = [start]
        while directories:
            directory = directories.pop()
            entries = self._entries(directory)
            inside = [entry for entry in entries if not directory or entry["name"].startswith(f"{directory}/")]
            found += [entry["name"] for entry in inside if is_file(entry)]
            if recursive:
                directories += [entry["name"] for entry in inside if entry["type"] == "directory"]
        return found

    # File objects and local files.

    def open(self, path: StrPath, mode: str = "rb", **kwargs: Any) -> IO[Any]:
        """Open a file for reading by ranges, or for writing.

        What is written goes to a local temporary file, and to the store when the file is closed. If the ``with`` block
        raises, nothing is stored, and the old file remains.

        Args:
            path: Path to the file.
            mode: ``"rb"``, ``"r"``, ``"wb"`` or ``"w"``.
            **kwargs: ``encoding``, ``errors`` and ``newline`` for text; others go to fsspec's ``open`` when reading
                (``block_size`` in bytes, ``cache_type``).

        Returns:
            A file object.

        Raises:
            FileNotFoundError: If it is to be read and is missing.
            ValueError: For any other mode.
            TypeError: For an unknown keyword.

        Examples:
            >>> fs = FsspecFileSystem.from_url("memory://study-001")
            >>> with fs.open("case-42/a.csv", "w") as file:
            ...     _ = file.write("hour,degC")
            >>> fs.open("case-42/a.csv", "r").read()
            'hour,degC'
        """
        text: dict[str, Any] = {name: kwargs.pop(name) for name in ("encoding", "errors", "newline") if name in kwargs}
        kind, is_text = parse_mode(mode, text)
        key = self._root.to_file_key(path)
        name = redact(self._root.url_of_key(key), self._secrets)
        if kind == "w":
            if kwargs:
                raise TypeError(f"open() has no option {next(iter(kwargs))!r} for writing")
            return open_writer(
                lambda local: self.upload(local, self._root.relative(key)), name, text if is_text else None
            )
        file = self.open_binary(path, kwargs)
        return open_reader(file, lambda read: self.call(key, lambda _fs: read()), name, text if is_text else None)

    def open_binary(self, path: StrPath, options: dict[str, Any]) -> Any:
        """Open a file for reading, by the fsspec filesystem."""
        key = self._root.to_file_key(path)
        is_cached, is_memory = isinstance(self.fs, CacheFileSystem), in_memory(self.store)
        unknown = sorted(options.keys() - BUFFERING - ({"compression"} if is_cached else set()))
        if unknown and (is_cached or is_memory):
            raise TypeError(f"open() has no option {unknown[0]!r} for a file that is cached or in memory")
        if is_memory and not is_cached:
            return io.BytesIO(self.call(key, lambda fs: read_file(fs, key)))  # its open files share one position
        tuned_options = {**tuned(self.fs, "open"), **options}
        return self.call(key, lambda _store: _open_fresh(self.fs, key, tuned_options))

    def local_path(self, path: StrPath) -> Path:
        """A local copy of a file, for libraries that need one, such as ``sqlite3``.

        The copy is kept in the [cache][idfkit_fs.cache] by the version that the store reports, so that the next call
        downloads nothing, and a changed file is downloaded again. It stays until this process ends. A local filesystem
        returns the file itself.

        Args:
            path: Path to the file.

        Returns:
            The path of a complete local file. Do not write to it.

        Raises:
            FileNotFoundError: If the file is missing.
            CacheUnusableError: If neither the cache nor the temporary directory can hold it.
        """
        return self.local_copy(path).keep_until_exit()

    # For the rest of this package.

    def local_copy(self, path: StrPath) -> LocalCopy:
        """As [local_path][idfkit_fs.FsspecFileSystem.local_path], until the copy is released."""
        key = self._root.to_file_key(path)
        if self.reads_in_place:
            self.version(path)  # raises if the file is missing or a directory
            return LocalCopy(Path(key))

        def copy(cache: Cache) -> LocalCopy:
            return self.call(key, lambda store: cached_copy(store, key, cache, self.recorded_version(path)))

        cache = self.cache
        try:
            return copy(cache)
        except CacheUnusableError as exc:
            cache.warn(exc)
            return copy(open_cache({"cache_storage": "TMP"}))

    def recorded_version(self, path: StrPath) -> Version | None:  # noqa: ARG002 - for subclasses that know
        """The version of a file that is known without asking the store."""
        return None

    def version(self, path: StrPath) -> Version:
        """The version of a file that the store has now."""
        key = self._root.to_file_key(path)
        return self.call(key, lambda store: store_version(store, key))

    def fetch(self, path: StrPath) -> bytes:
        """Read a whole file from the store itself, never from the cache."""
        key = self._root.to_file_key(path)
        return self.call(key, lambda store: read_file(store, key))

    def fetch_start(self, path: StrPath, count: int) -> bytes:
        """Read the first bytes of a file from the store itself: all of them, if it is no larger than *count*.

        A file whose size another user chose is read this way: nothing beyond is requested.
        """
        key = self._root.to_file_key(path)
        try:
            return self.call(key, lambda store: read_file(store, key, count))
        except StoreError as exc:
            # A store refuses a range of an empty file.
            if type(exc) is StoreError and self._info(key).get("size") == 0:
                return b""
            raise

    def directories(self, path: StrPath = "") -> list[str]:
        """The names of the directories in a directory; none if it is missing."""
        entries = self._entries(self._root.to_key(path))
        return sorted(_name_of(entry) for entry in entries if entry["type"] == "directory")

    def list_sizes(self, directory: StrPath = "") -> dict[str, int | None]:
        """The files in a directory, not below it, and the size of each in bytes; none if it is missing.

        It takes one request for each thousand entries of an object store.

        Returns:
            The sizes by the names, sorted; None for a size that the store does not report.

        Raises:
            PermissionError: If the store refuses to list.
            FileNotFoundError: If the bucket does not exist.

        Examples:
            >>> fs = FsspecFileSystem.from_url("memory://study-002")
            >>> fs.write_text("case-42/notes.txt", "south facade glazed")
            >>> fs.list_sizes("case-42")
            {'notes.txt': 19}
        """
        return {name: expected_size(entry) for name, entry in self._files_in(directory)}

    def list_versions(self, directory: StrPath = "") -> dict[str, tuple[int | None, str | None]]:
        """As [list_sizes][idfkit_fs.FsspecFileSystem.list_sizes], with what the same replies say of each version.

        Returns:
            For each name the size, and a text that changes with the file; None for what the store does not report.
        """
        if is_plain_disk(self.store):
            key = self._root.to_key(directory)
            found = self.call(key, lambda _store: scan(key))
            return {name: found[name] for name in sorted(found) if is_nameable(name) and not is_temporary(name)}
        return {name: (expected_size(entry), version_of(entry)) for name, entry in self._files_in(directory)}

    def _files_in(self, directory: StrPath) -> list[tuple[str, dict[str, Any]]]:
        """The names and entries of the files in a directory, sorted."""
        key = self._root.to_key(directory)
        before = f"{key.rstrip('/')}/" if key else ""
        files = [entry for entry in self._entries(key) if is_file(entry) and entry["name"].startswith(before)]
        named = {entry["name"].removeprefix(before): entry for entry in files}
        return [(name, named[name]) for name in sorted(named) if is_nameable(name) and not is_temporary(name)]

    def _entries(self, key: str) -> list[dict[str, Any]]:
        """What is in a directory; nothing if it is missing, an error if it cannot be listed."""
        try:
            return self.call(key, functools.partial(_ls, directory=key))
        except BucketNotFoundError:
            raise
        except NotFoundError:
            return []

    def read_ranges(self, path: StrPath, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read ranges of a file from the store, each from its first byte to before its last."""
        key = self._root.to_file_key(path)
        return self.call(key, lambda store: _ranges(store, key, ranges))

    def upload(self, local: StrPath, path: StrPath, *, callback: Callback | None = None) -> None:
        """Store a local file, in bounded memory; raises as [write_bytes][idfkit_fs.FsspecFileSystem.write_bytes].

        Args:
            local: The local file.
            path: Where to store it.
            callback: Reports the bytes that were sent, where the store's fsspec class does so.
        """
        os.stat(local)  # a missing local file is not an answer of the store
        key = self._root.to_file_key(path)
        options = {} if callback is None else {"callback": callback}
        self.call(key, lambda fs: put_file(fs, os.fspath(local), key, **options), only_bucket=True)

    def create_exclusive(self, path: StrPath, data: bytes) -> bool:
        """Write a file unless it exists.

        Of several that do so at the same time, one succeeds, where the store knows conditional writes.

        Returns:
            Whether the file exists now because of this call.
        """
        return self.swap(path, data, None) is not None

    def read_tagged(self, path: StrPath) -> tuple[bytes, str] | None:
        """Read a small file from the store itself, with a tag that distinguishes this version from every other.

        Returns:
            The bytes, of a large file the first ones, and the tag, for [swap][idfkit_fs.FsspecFileSystem.swap]; None if
            the file is missing.

        Raises:
            PermissionError: If the store refuses access; S3 does so for a missing file to a login that may not list.
            FileNotFoundError: If the bucket does not exist.
        """
        key = self._root.to_file_key(path)
        return self.call(key, lambda fs: read_tagged(fs, key), only_bucket=True)

    def swap(self, path: StrPath, data: bytes, tag: str | None) -> str | None:
        """Write a small file if it has not changed since it was read.

        Of several that do so at the same time, one succeeds: on S3, GCS and Azure, on a local disk and in memory. A
        store that knows no conditions, or refuses or ignores them, is read first; two that write there at the same
        moment may both succeed.

        Args:
            path: The file.
            data: The new bytes. No two writes may have the same: when a reply was lost, they show whose the file is.
            tag: The tag of the version to replace; None to write the file only if it is missing.

        Returns:
            The tag of the new version; None if the file has changed, and was left as it is.

        Raises:
            ConnectionError: If the store does not answer; the file may have been written.
            PermissionError: If the store refuses access. A file that is missing can be written by a login that may
                neither read nor list.
            StoreError: If the store refuses again and again, although the file has not changed.

        Examples:
            >>> fs = FsspecFileSystem.from_url("memory://study-003")
            >>> first = fs.swap("run.json", b"claimed by A", None)
            >>> second = fs.swap("run.json", b"the record of A", first)
            >>> fs.swap("run.json", b"the record of B", first) is None
            True
            >>> fs.remove_tagged("run.json", first), fs.remove_tagged("run.json", second)
            (False, True)
        """
        key = self._root.to_file_key(path)
        for _ in range(_REFUSALS):
            try:
                return self.call(key, lambda fs: swap_file(fs, key, data, tag), only_bucket=True, conditional=True)
            except ExistsError:
                # A reply that was lost makes the store's class, or ours, try again, and meet its own file.
                try:
                    found = self.read_tagged(path)
                except PermissionDeniedError:  # a login that may not read cannot know that it is its own
                    return None
                if found is not None and found[0] == data:
                    return found[1]
                if (None if found is None else found[1]) != tag:
                    return None
        # Callers read again what has changed, and would do so forever.
        text = (
            "The store refuses to replace a file as if it had changed, and it has not; use the store's own endpoint, "
            "or have the proxy before it pass ETag, If-Match and If-None-Match on as they are"
        )
        raise StoreError.for_url(self.url(path), text)

    def remove_tagged(self, path: StrPath, tag: str) -> bool:
        """Remove a small file if it has not changed since it was read.

        Returns:
            Whether it was removed. False if it has changed, and was left as it is, or is missing: also when the reply
            was lost and the file is found to be missing, as another client may have removed it.

        Raises:
            ConnectionError: If the store does not answer; the file may have been removed.
            PermissionError: If the store refuses access.
        """
        key = self._root.to_file_key(path)
        return self.call(key, lambda fs: remove_tagged(fs, key, tag), conditional=True)

    def is_readable(self, path: StrPath) -> bool:
        """Whether a small file exists that this login may read.

        Unlike `exists`, it needs no right to list, and so it says False of a file that the store hides as it does a
        missing one. Ask it only where that is the safe answer.
        """
        try:
            self.fetch(path)
        except NotFoundError:
            return False
        except PermissionDeniedError as exc:
            if not exc.may_be_missing:
                raise
            return False
        return True

    def remove_if_exists(self, paths: Iterable[StrPath]) -> None:
        """Remove files, in any order: many by one request where the store has one for it (S3, Google).

        Those that are missing are skipped. An object store is not asked first, which takes a right to read, and one to
        list if the file is missing.
        """
        keys = sorted({self._root.to_file_key(path) for path in paths})
        if len(keys) > 1:
            batches = [*batches_of(self.store, keys)]
            if batches:
                keys = [key for left in parallel_map(self._remove_batch, batches) for key in left]
        if len(keys) > 1:
            parallel_map(self._remove_one, keys)
        elif keys:
            self._remove_one(keys[0])

    def _remove_batch(self, keys: Sequence[str]) -> Sequence[str]:
        """Remove many files by one request; those that are left are to be removed one at a time, which says why."""
        try:
            return self.call(keys[0], lambda fs: remove_batch(fs, keys), only_bucket=True)
        except (UnreachableError, BucketNotFoundError):
            raise
        except StoreError:  # some stores have no such request, or refuse some names in it
            return keys

    def _remove_one(self, key: str) -> None:
        with contextlib.suppress(NotFoundError):
            if not is_object_store(self.store) and self._info(key)["type"] == "directory":
                raise IsDirectoryError.for_url(self._root.url_of_key(key))
            self.call(key, functools.partial(_remove, key=key))

    def copy_from(self, source: FsspecFileSystem, src: StrPath, dst: StrPath) -> None:
        """Copy a file of another adapter of the same store."""
        from_key, key = source.key(src), self._root.to_file_key(dst)
        self.call(key, lambda fs: copy_file(fs, from_key, key))


def _restore(
    cls: type[FsspecFileSystem],
    fs: AbstractFileSystem | None,
    made_from: tuple[str, Mapping[str, Any]] | None,
    key: str,
    url: str,
    options: dict[str, Any],
    facts: dict[str, Any],
) -> FsspecFileSystem:
    adapter = cls.__new__(cls)
    if made_from is None:
        assert fs is not None  # noqa: S101 - one of the two is given
        adapter._bind(route_filesystem(fs, key, options), None)  # noqa: SLF001 - of this class
    else:
        adapter._bind(route_url(made_from[0], made_from[1]), made_from)  # noqa: SLF001 - of this class
        adapter._root = adapter._root.below(url)  # noqa: SLF001 - of this class
    vars(adapter).update(facts)
    return adapter


def _remove(fs: AbstractFileSystem, key: str) -> None:
    fs.rm_file(key)


def _find(fs: AbstractFileSystem, start: str) -> Any:
    forget_listing(fs, start)
    return fs.find(start, detail=True)


def _ls(fs: AbstractFileSystem, directory: str) -> list[dict[str, Any]]:
    forget_listing(fs, directory)
    entries: list[dict[str, Any]] = fs.ls(directory, detail=True)
    return entries


def _name_of(entry: Mapping[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rpartition("/")[2]


def _open_fresh(fs: AbstractFileSystem, key: str, options: dict[str, Any]) -> Any:
    forget_listing(fs, key)
    return fs.open(key, "rb", **options)


def _ranges(fs: AbstractFileSystem, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    starts, stops = [start for start, _ in ranges], [stop for _, stop in ranges]
    parts: list[Any] = fs.cat_ranges([key] * len(ranges), starts, stops, on_error="raise")
    for part in parts:
        if isinstance(part, Exception):  # older releases of fsspec return it
            raise part
    return parts
