"""The local cache as an fsspec filesystem, ``safecache::``, for every reader that knows fsspec.

fsspec finds the class by its entry point, so ``safecache::s3://bucket/run/eplus.sql`` works in pandas, xarray, dask,
polars, pyarrow and duckdb, with the same directory and the same promises as for idfkit-fs itself (``docs/cache.md``).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import io
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.callbacks import Callback
from fsspec.implementations.chained import ChainedFileSystem
from fsspec.spec import AbstractFileSystem

from idfkit_fs._cache.directory import as_unusable, unusable
from idfkit_fs._cache.options import open_cache
from idfkit_fs._cache.store import Cache, LocalCopy, Slot, Version
from idfkit_fs._stores.access import fresh_info, read_file, store_url, translated
from idfkit_fs._stores.backends import expected_size, in_memory, is_local, stripper, tuned, version_of
from idfkit_fs._stores.instances import after_fork, identity_of
from idfkit_fs._stores.make import make_filesystem
from idfkit_fs._stores.threads import one_at_a_time
from idfkit_fs._util.files import digest_of
from idfkit_fs._util.messages import redact
from idfkit_fs.errors import (
    CacheUnusableError,
    DamagedRunError,
    IsDirectoryError,
    MachineError,
    StorageOptionsError,
    StoreError,
)

__all__ = ["CACHE_PROTOCOL", "CacheFileSystem", "cached_copy", "store_version"]

CACHE_PROTOCOL = "safecache"
_MIB = 2**20
_OPEN_FILES = frozenset({errno.EMFILE, errno.ENFILE})
# Options of fsspec's `open` that mean nothing for a file on the local disk, and do not change what is read.
BUFFERING = frozenset(
    {"block_size", "cache_options", "cache_type", "default_cache", "fill_cache", "size"}  # the fourth is dask's
)


def store_version(store: AbstractFileSystem, key: str) -> Version:
    """The version of a file that the store has now.

    Args:
        store: The store's own filesystem.
        key: The file's key in it.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If it is a directory.
    """
    with translated(store, key):
        info = fresh_info(store, key)
    if info["type"] == "directory":
        raise IsDirectoryError.for_url(store_url(store, key))
    version = version_of(info)
    return Version(
        # A file whose store reports no version is downloaded each time, apart from the copies in use.
        identity=repr((identity_of(store).store, key, version or uuid.uuid4().hex)),
        name=key.rpartition("/")[2],
        size=expected_size(info),
        known=version is not None,
    )


def cached_copy(store: AbstractFileSystem, key: str, cache: Cache, recorded: Version | None = None) -> LocalCopy:
    """A local copy of a file, downloaded unless the cache has it.

    Args:
        store: The store's own filesystem.
        key: The file's key in it.
        cache: Where copies are kept.
        recorded: The version that a run's record names, with its SHA-256; None to ask the store which version it has.

    Returns:
        The copy, which is complete and of one version.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedRunError: If the store has another file than the recorded one.
        CacheUnusableError: If the disk fails, or the file changes during each download.
    """
    # The second attempt is for a file that was overwritten during the first.
    for attempt in (1, 2):
        version = recorded or store_version(store, key)
        with cache.slot(version) as slot:
            copy = slot.copy()
            if copy is not None:
                return copy
            # A recorded size may be wrong by now and lead to a wrong request, so the second attempt does without.
            size = None if recorded and attempt == 2 else version.size
            try:
                found = _download(store, key, slot, size, version.size)
            except StoreError as exc:
                # A range beyond the end of a file that became shorter, or parts of two versions.
                if type(exc) is not StoreError or (attempt == 2 and exc.errno != errno.EBUSY):
                    raise
                found = (-1, "")
            if _is_version(store, key, version, *found):
                copy = slot.keep(*found)
                break
    else:
        raise _changed(store, key, version, found[0])
    cache.make_bounded(found[0])
    return copy


class _CutOff(Callback):
    """Ends a download that brings more than a file's size; some SDKs count what they repeat twice."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def call(self, hook_name: str | None = None, **kwargs: Any) -> None:  # noqa: ARG002 - fsspec's signature
        """Look at what has arrived, or is announced."""
        if (self.size or 0) > self._most or self.value > 2 * self._most + _MIB:
            raise StoreError(errno.EBUSY, "The store sends more than the file's size")


def _download(store: AbstractFileSystem, key: str, slot: Slot, size: int | None, most: int | None) -> tuple[int, str]:
    """Download a file into a slot.

    Args:
        store: The store's own filesystem.
        key: The file's key in it.
        slot: Where to.
        size: The size to request; None for whatever the store has.
        most: The size that the file must not exceed.

    Returns:
        Its size in bytes and its SHA-256.
    """
    partial = slot.begin()
    try:
        if in_memory(store):  # its get_file takes a file for a directory
            data = read_file(store, key)
            with as_unusable(partial):
                partial.write_bytes(data)
        else:
            with translated(store, key):
                limit = {} if most is None else {"callback": _CutOff(most)}
                if most is not None and is_local(store) and os.stat(key).st_size > most:  # it copies in one step
                    return -1, ""
                store.get_file(key, str(partial), **limit, **tuned(store, "get_file", size))
    except StoreError as exc:
        cause = exc.__cause__
        of_disk = isinstance(exc, MachineError) and exc.errno not in _OPEN_FILES
        if of_disk or (isinstance(cause, OSError) and cause.filename == str(partial)):
            raise unusable(OSError(exc.errno, os.strerror(exc.errno or errno.EIO)), partial) from exc
        raise
    with as_unusable(partial):
        return digest_of(partial)


def _is_version(store: AbstractFileSystem, key: str, version: Version, size: int, sha256: str) -> bool:
    """Whether a downloaded file is complete, and of one version."""
    if version.sha256 is not None:
        return (size, sha256) == (version.size, version.sha256)
    if size < 0 or version.size not in (None, size):
        return False
    # It may have come in several ranges, while another client overwrote it.
    return not version.known or store_version(store, key) == version


def _changed(store: AbstractFileSystem, key: str, version: Version, size: int) -> Exception:
    url = store_url(store, key)
    if version.sha256 is None:
        return CacheUnusableError(errno.EBUSY, "the file changes while it is downloaded", url)
    return DamagedRunError.for_size(url, None if size < 0 else size, version.size)


class CacheFileSystem(ChainedFileSystem):  # fsspec builds get, cat, cat_ranges, glob, walk and more from these methods
    """A store whose files are read through the local cache. Writes go to the store itself.

    Args:
        target_protocol: The store's protocol; fsspec fills it in from a chained URL.
        target_options: The store's storage options; fsspec fills them in too.
        fs: The store's filesystem, instead of these two.
        fo: Ignored; fsspec passes the path of a chained URL in it.
        **cache_options: ``cache_storage``, ``max_bytes``, ``same_names``; see ``docs/cache.md``.

    Raises:
        StorageOptionsError: If an option is unknown, or no store is given.

    Examples:
        >>> import fsspec
        >>> from idfkit_fs import FsspecFileSystem
        >>> FsspecFileSystem.from_url("memory://study-001").write_text("case-42/a.csv", "hour,degC")
        >>> with fsspec.open("safecache::memory://study-001/case-42/a.csv", "r") as file:
        ...     file.read()
        'hour,degC'
    """

    protocol = CACHE_PROTOCOL
    cachable = False  # its store is shared already, by what its login and endpoint are

    def __init__(
        self,
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        fs: AbstractFileSystem | None = None,
        fo: Any = None,  # noqa: ARG002 - see the docstring
        **cache_options: Any,
    ) -> None:
        if fs is None and target_protocol is None:
            raise StorageOptionsError(f"{CACHE_PROTOCOL}:: needs a store; write {CACHE_PROTOCOL}::s3://bucket/study")
        super().__init__()
        self._store = _store_of(str(target_protocol), target_options or {}) if fs is None else fs
        self._process_id = os.getpid()
        self.cache = open_cache(
            {name: value for name, value in cache_options.items() if name not in ("use_listings_cache", "protocol")}
        )
        self.root_marker = self._store.root_marker
        strip = stripper(self._store)
        # An instance strips the URLs of its store too; fsspec only ever asks the class about the bare prefix.
        self._strip_protocol = functools.partial(_strip, strip)

    @property
    def store(self) -> AbstractFileSystem:
        """The store's own filesystem."""
        if os.getpid() != self._process_id:
            self._store, self._process_id = after_fork(self._store), os.getpid()
        return self._store

    def with_store(self, store: AbstractFileSystem) -> CacheFileSystem:
        """The same cache around another filesystem of the store, such as one with a renewed login."""
        options = {name: value for name, value in self.storage_options.items() if not name.startswith("target_")}
        return type(self)(**{**options, "fs": store})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CacheFileSystem):
            return NotImplemented
        is_same_store = self.store is other.store or identity_of(self.store) == identity_of(other.store)
        return is_same_store and self.cache == other.cache

    def __hash__(self) -> int:
        return hash((type(self), self.cache))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self._store).__name__}, {str(self.cache.lasting_directory)!r})"

    @contextlib.contextmanager
    def _calling(self, path: Any) -> Iterator[AbstractFileSystem]:
        """The store for one call about a path, with mapped errors."""
        store = self.store
        first = path[0] if isinstance(path, list) and path else path
        key = self._strip_protocol(first) if isinstance(first, (str, os.PathLike)) else ""
        with one_at_a_time(store), translated(store, key):
            yield store

    # Reading, through the cache.

    def cached_copy(self, path: str) -> LocalCopy:
        """A local copy of the file that the store has now."""
        with one_at_a_time(self.store):
            return cached_copy(self.store, self._strip_protocol(path), self.cache)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Read a file, or the bytes from *start* to before *end*."""
        try:
            copy = self.cached_copy(path)
            with copy as local, as_unusable(local), local.open("rb") as file:
                first, stop, _ = slice(start, end).indices(os.fstat(file.fileno()).st_size)
                file.seek(first)
                return file.read(max(stop - first, 0))
        except CacheUnusableError as exc:
            self.cache.warn(exc)
        with self._calling(path) as store:
            data: bytes = store.cat_file(self._strip_protocol(path), start=start, end=end, **kwargs)
            return data

    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        """Open a file: for reading through the cache, for anything else by the store."""
        if mode in ("r", "rb", "rt"):
            return super().open(path, mode, **kwargs)
        with self._calling(path) as store:
            return store.open(_without_prefix(path), mode, **kwargs)

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> IO[bytes]:  # noqa: ARG002 - open() serves the others
        key = self._strip_protocol(path)
        unknown = sorted(kwargs.keys() - BUFFERING - {"autocommit", "compression"})
        if unknown:
            raise TypeError(f"open() has no option {unknown[0]!r} for a file that is read through the cache")
        try:
            with self.cached_copy(key) as local, as_unusable(local):
                return _CachedFile(self, key, local)  # an open file can be read to its end, whatever is evicted
        except CacheUnusableError as exc:
            self.cache.warn(exc)
        with self._calling(key) as store:
            if in_memory(store):  # its open files share one position
                return io.BytesIO(read_file(store, key))
            fallback: IO[bytes] = store.open(key, "rb", **tuned(store, "open"))
            return fallback

    # Writing, and everything else, by the store.

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Copy a file, on the store's side where the store can."""
        with self._calling(path1) as store:
            store.cp_file(_without_prefix(path1), _without_prefix(path2), **kwargs)

    def put_file(self, lpath: Any, rpath: str, **kwargs: Any) -> None:
        """Store a local file."""
        with self._calling(rpath) as store:
            store.put_file(lpath, _without_prefix(rpath), **kwargs)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget listings; copies of files are checked at each read."""
        self.store.invalidate_cache(None if path is None else self._strip_protocol(path))

    @property
    def transaction(self) -> Any:
        """The store's own transaction."""
        return self.store.transaction

    def start_transaction(self) -> Any:
        """Begin a transaction of the store."""
        return self.store.start_transaction()

    def end_transaction(self) -> None:
        """Complete the store's transaction."""
        self.store.end_transaction()


def _store_of(protocol: str, options: dict[str, Any]) -> AbstractFileSystem:
    if "target_protocol" in options:  # a longer chain, such as safecache::zip::s3://...
        return fsspec.filesystem(protocol, **options)
    return make_filesystem(f"{protocol}://", options)[0]


class _CachedFile(io.BufferedReader):
    """A local copy, opened for reading; where it is unpickled, the file is opened there."""

    def __init__(self, fs: CacheFileSystem, path: str, local: Path) -> None:
        super().__init__(io.FileIO(local))
        self.fs, self.path = fs, path
        self.size = os.fstat(self.fileno()).st_size

    def __reduce__(self) -> Any:
        position = self.tell()
        digest = _digest_of_open(self)
        self.seek(position)
        return _reopen, (self.fs, self.path, position, digest)


def _reopen(fs: CacheFileSystem, path: str, position: int, digest: str) -> IO[bytes]:
    file: IO[bytes] = fs.open(path, "rb")
    if _digest_of_open(file) != digest:
        file.close()
        url = store_url(fs.store, path)
        raise StoreError(errno.ESTALE, "The file has changed since it was opened; open it again", redact(url))
    file.seek(position)
    return file


def _digest_of_open(file: IO[bytes]) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # a file object has readinto


def _strip(strip: Callable[[Any], Any], path: Any) -> Any:
    return strip(_without_prefix(path))


def _without_prefix(path: Any) -> Any:
    if isinstance(path, list):
        return [_without_prefix(each) for each in path]
    text = os.fspath(path)
    for prefix in (f"{CACHE_PROTOCOL}::", f"{CACHE_PROTOCOL}://"):
        text = text.removeprefix(prefix)
    return text


def _forward(name: str) -> Any:
    """A method that the store itself performs."""

    def method(self: CacheFileSystem, path: Any, *args: Any, **kwargs: Any) -> Any:
        with self._calling(path) as store:
            return getattr(store, name)(_without_prefix(path), *args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"As the store's own ``{name}``."
    return method


# Everything but reading a file is done by the store; what is not here, fsspec builds from these.
for _name in (
    *("info", "ls", "find", "exists", "isfile", "isdir", "created", "modified", "checksum", "ukey", "sign"),
    *("mkdir", "makedirs", "rmdir", "rm_file", "rm", "pipe_file", "touch"),
):
    setattr(CacheFileSystem, _name, _forward(_name))
