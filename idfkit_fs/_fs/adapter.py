"""What the sync and the async adapter share: identity, paths, and every decision of every method.

Each method of the protocol is written once, here, as a *plan*: a generator that yields the I/O it wants done as
[Step][idfkit_fs._fs.adapter.Step] objects, gets the outcome sent (or the translated error thrown) back in, and returns
the method's result. The twins only differ in how they perform a step, so they cannot drift apart.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import pickle
import re
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from fsspec.spec import AbstractFileSystem

from idfkit_fs._cache.options import open_cache
from idfkit_fs._cache.store import Cache, LocalCopy, Slot, Version, unusable
from idfkit_fs._fs.globbing import parse_glob
from idfkit_fs._fs.paths import Root
from idfkit_fs._stores.backends import (
    cached_filesystem,
    copied,
    expected_size,
    found_files,
    in_memory,
    is_file,
    is_local,
    is_object_store,
    options_of,
    protocols,
    stripper,
    tuned,
    unfit,
    unstripped,
    url_protocols,
    version_of,
)
from idfkit_fs._stores.identity import store_identity
from idfkit_fs._stores.make import make_filesystem
from idfkit_fs._stores.translate import translate
from idfkit_fs._util.messages import redact, secrets_of
from idfkit_fs._util.urls import Location, StrPath, UPathLike, chain_protocols, is_url, repair
from idfkit_fs.errors import (
    BucketNotFoundError,
    CacheUnusableError,
    ExistsError,
    IsDirectoryError,
    LocationError,
    StorageOptionsError,
    StoreError,
)

__all__ = ["Adapter", "Plan", "Step"]

T = TypeVar("T")
_INHERITED: list[Any] = []
_TEMPORARY = re.compile(r"\.idfkit-fs-[0-9a-f]{32}\.tmp")
_DISK_IS_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Seconds: between two tries to enter a slot, and until one that makes no progress is given up.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05
_PATIENCE = 30


class Step:
    """One piece of I/O: a method of the fsspec filesystem by name, or a function of the local machine.

    ``about`` is the key that an error should name; the first argument unless given.
    """

    __slots__ = ("about", "args", "call", "kwargs")

    def __init__(self, call: str | Callable[..., Any], *args: Any, about: str = "", **kwargs: Any) -> None:
        self.call = call
        self.args = args
        self.kwargs = kwargs
        self.about = about or args[0]


Plan = Generator[Step, Any, T]


class Adapter:
    """An fsspec filesystem and a root in it; the base of both adapters.

    Args:
        fs: Any fsspec filesystem. It is borrowed: never closed, its options never changed.
        root: The place in it that paths are relative to, such as ``"bucket/study-001"``; a full URL does too.

    Raises:
        LocationError: If *root* names no place (empty, or only slashes), or is a URL of another filesystem.
        TypeError: If *fs* is no fsspec filesystem.
    """

    def __init__(self, fs: AbstractFileSystem, root: StrPath) -> None:
        if not isinstance(fs, AbstractFileSystem):
            raise TypeError(f"fs must be an fsspec filesystem, not {type(fs).__name__}; from_url() takes a URL")
        text = repair(root)
        if is_url(text) and chain_protocols(text)[-1] not in url_protocols(fs):
            raise LocationError(f"{redact(text)!r} is no URL of {type(fs).__name__} ({', '.join(url_protocols(fs))})")
        self._bind(fs, text, None, options_of(fs))

    def _bind(self, fs: AbstractFileSystem, root: str, url: str | None, options: dict[str, Any]) -> None:
        key = _root_key(fs, root)
        if "simplecache" in protocols(fs):
            # Its syntax and options, but not its cache: that shows files of which it has a part, or an old version.
            url = url or _url_of(fs, key)
            fs = cached_filesystem(fs)
        self._reads_copies = url is not None and chain_protocols(url)[0] == "simplecache"
        self._fs = fs
        self._pid = os.getpid()
        self._storage_options = options
        if self._reads_copies:
            _ = self._cache  # a wrong option is to be told of now
        self._secrets = secrets_of(options)
        self._is_local = is_local(fs)
        self._makes_directories = not is_object_store(fs)
        self._given_url = url
        self._root = Root(key, url or _url_of(fs, key), url_protocols(fs), stripper(fs), self._is_local, unfit(fs))

    @classmethod
    def _bound(cls, fs: AbstractFileSystem, root: str, url: str | None, options: dict[str, Any]) -> Self:
        """An adapter of this class, whatever the arguments of its constructor are."""
        adapter = cls.__new__(cls)
        adapter._bind(fs, root, url, options)
        return adapter

    @classmethod
    def from_url(cls, url: Location, **storage_options: Any) -> Self:
        """Route a URL to its store, as fsspec does.

        Args:
            url: Such as ``"s3://bucket/study-001"``, ``"simplecache::gs://bucket/x"``, ``"memory://x"``, or a plain
                local path. A URL that ``pathlib`` collapsed (``s3:/bucket``) is repaired. A ``UPath`` does too.
            **storage_options: What the store's fsspec class takes. For a chained URL, a dictionary for each protocol.

        Returns:
            An adapter of this class.

        Raises:
            LocationError: If the URL names no bucket or directory.
            MissingExtraError: If the protocol's package is not installed.
            StorageOptionsError: If an option is unknown to the store.

        Examples:
            >>> FsspecFileSystem.from_url("memory://study-001")
            FsspecFileSystem('memory://study-001')
        """
        if isinstance(url, UPathLike):
            if storage_options:
                raise StorageOptionsError("a UPath carries its own storage options; give them to it")
            return cls.from_upath(url)
        text = repair(url)
        behind = text.removeprefix("simplecache::")
        if not behind:
            raise LocationError(
                "the URL is empty; give a bucket or directory, such as 's3://bucket/study'"
            )  # fsspec would take the working directory
        if behind != text and not is_url(behind):
            text = f"simplecache::file://{os.path.abspath(behind)}"
        fs, key, effective = make_filesystem(text, storage_options)
        return cls._bound(fs, key, text.rstrip("/") if is_url(text) else None, effective)

    @classmethod
    def from_upath(cls, path: UPathLike) -> Self:
        """Take filesystem, path and options from a `UPath` (universal-pathlib).

        Args:
            path: A ``upath.UPath``.

        Returns:
            An adapter of this class, with the path as its root.
        """
        options = options_of(path.fs)
        if "simplecache" not in protocols(path.fs):  # whose options lie flat in a path
            options = dict(path.storage_options) or options
        return cls._bound(path.fs, path.path, None, options)

    @property
    def fs(self) -> AbstractFileSystem:
        """The fsspec filesystem underneath."""
        if os.getpid() != self._pid:
            # A forked child must not use its parent's connections; unpickling makes fsspec build its own. Nor may it
            # close them, as collecting them would: that takes the parent's sockets off the event loop that both share.
            _INHERITED.append((self._fs, dict(getattr(type(self._fs), "_cache", {}))))
            self._fs = pickle.loads(pickle.dumps(self._fs))
            self._pid = os.getpid()
        return self._fs

    @property
    def _is_here(self) -> bool:
        """Whether files are read where they are, on this machine's own disk."""
        return self._is_local and not self._reads_copies

    @property
    def reads_in_place(self) -> bool:
        """Whether files are read where they are, on this machine's own disk."""
        return self._is_here

    @property
    def cache(self) -> Cache:
        """The local cache that copies of this store's files go to."""
        return self._cache

    @property
    def identity(self) -> str | None:
        """Text that no other store has; None if that cannot be known."""
        return store_identity(self.fs)

    def key(self, path: StrPath) -> str:
        """The store's own key of a path."""
        return self._root.to_key(path)

    @property
    def _read_cache(self) -> Cache | None:
        return self._cache if self._reads_copies else None

    @functools.cached_property
    def _cache(self) -> Cache:
        return open_cache(self._storage_options.get("simplecache", {}))

    @property
    def storage_options(self) -> dict[str, Any]:
        """The options that reach this store, for pandas, xarray or dask beside ``url()``. They may hold secrets."""
        return copied(self._storage_options)

    def url(self, path: StrPath = "") -> str:
        """The full URL of a path, for pandas, xarray or dask beside ``storage_options``.

        Args:
            path: Relative to the root, or a full URL below it.

        Returns:
            The URL, chained as the filesystem's own was.

        Raises:
            LocationError: If the path leaves the root.

        Examples:
            >>> FsspecFileSystem.from_url("memory://study-001").url("case-42/eplus.sql")
            'memory://study-001/case-42/eplus.sql'
        """
        return self._root.to_url(path)

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
        return self._bound(self.fs, self._root.to_key(path), self.url(path), self._storage_options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({redact(self._root.url, self._secrets)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Adapter) or type(self) is not type(other):
            return NotImplemented
        return (self.fs, self._root.key, self._read_cache) == (other.fs, other._root.key, other._read_cache)

    def __hash__(self) -> int:
        return hash((type(self), self._root.key))

    def __reduce__(self) -> Any:
        return self._bound, (self._fs, self._root.key, self._given_url, self._storage_options)

    def _translated(self, exc: Exception, step: Step, handled: BaseException | None) -> Exception:
        url = redact(f"{self._root.url}/{self._root.relative(step.about)}".rstrip("/"), self._secrets)
        only_bucket = not self._makes_directories and step.call in ("find", "pipe_file", "put_file")
        return translate(
            exc,
            url,
            bucket=self._root.bucket,
            only_bucket=only_bucket,
            conditional=step.kwargs.get("mode") == "create",
            secrets=self._secrets,
            handled=handled,
        )

    # The plans, one for each method of the protocol.

    def _read_bytes(self, path: StrPath) -> Plan[bytes]:
        if self._reads_copies:
            try:
                copy = yield from self._local_copy(path, self._cache)
                with copy:
                    data: bytes = yield Step(copy.read_bytes, about=self._root.to_key(path))
                    return data
            except CacheUnusableError as exc:
                self._cache.warn(exc)
        return (yield from self._fetch(path))

    def _fetch(self, path: StrPath) -> Plan[bytes]:
        """Read a whole file from the store itself."""
        data: bytes = yield Step("cat_file", self._root.to_file_key(path), **tuned(self._fs, "cat_file"))
        return data

    def _fetch_ranges(self, path: StrPath, ranges: Sequence[tuple[int, int]]) -> Plan[list[bytes]]:
        """Read parts of a file, each from its first byte to before its last, from the store itself."""
        starts, stops = [start for start, _ in ranges], [stop for _, stop in ranges]
        key = self._root.to_file_key(path)
        parts = yield Step("cat_ranges", [key] * len(ranges), starts, stops, on_error="raise", about=key)
        for part in parts:
            if isinstance(part, Exception):  # which older releases of fsspec return
                yield Step(_raise, part, about=key)
        return parts  # type: ignore[no-any-return]  # what a step gives is Any

    def _write_bytes(self, path: StrPath, data: bytes) -> Plan[None]:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be bytes, not {type(data).__name__}; write_text() takes text")
        target = self._root.to_file_key(path)
        yield from self._place(target, lambda key: Step("pipe_file", key, bytes(data), about=target))

    def _put_file(self, local: str, path: StrPath, **kwargs: Any) -> Plan[None]:
        """Upload a local file."""
        kwargs = {**tuned(self._fs, "put_file"), **kwargs}
        target = self._root.to_file_key(path)
        if in_memory(self._fs):
            # Its put_file shows a growing file.
            data = yield Step(Path(local).read_bytes, about=target)
            yield from self._place(target, lambda key: Step("pipe_file", key, data))
        else:
            yield from self._place(target, lambda key: Step("put_file", local, key, about=target, **kwargs))

    def _create(self, path: StrPath, data: bytes) -> Plan[bool]:
        """Write a file where none stands; whether it is there now because of this.

        Of several that do so at once, one succeeds, where the store knows conditional writes.
        """
        target = self._root.to_file_key(path)
        if self._is_local:
            yield Step("makedirs", target.rpartition("/")[0], exist_ok=True)
            write = self._create_here(target, data)
        else:
            write = self._place(target, lambda key: Step("pipe_file", key, data, mode="create"))
        try:
            yield from write
        except ExistsError:
            # An answer that got lost on its way made fsspec's class ask again.
            try:
                return (yield from self._fetch(path)) == data
            except FileNotFoundError:
                return False  # what stood there is gone by now
        return True

    def _create_here(self, target: str, data: bytes) -> Plan[None]:
        """Write a local file whole, where none stands: a link takes no place that is taken."""
        temporary = f"{target.rpartition('/')[0]}/{_temporary_name()}"
        try:
            yield Step("pipe_file", temporary, data, about=target)
            yield Step(_link, temporary, target, about=target)
        finally:
            _unlink(temporary)

    def _exists(self, path: StrPath) -> Plan[bool]:
        return (yield from self._type(self._root.to_key(path))) is not None

    def _makedirs(self, path: StrPath, exist_ok: bool) -> Plan[None]:
        key = self._root.to_key(path)
        if self._makes_directories:
            yield Step("makedirs", key, exist_ok=exist_ok)
            # Not every filesystem looks whether it is a directory that is there already.
            if exist_ok and (yield from self._type(key)) == "file":
                raise ExistsError(errno.EEXIST, "makedirs() found a file there", self.url(path))

    def _copy(self, src: StrPath, dst: StrPath) -> Plan[None]:
        source, target = self._root.to_file_key(src), self._root.to_file_key(dst)
        info = yield from self._info(source)
        if info["type"] == "directory":
            raise IsDirectoryError(errno.EISDIR, "copy() takes a file, not a directory", self.url(src))
        if source != target:
            yield from self._copy_key(source, target)

    def _copy_key(self, source: str, target: str) -> Plan[None]:
        """Copy a file of this store, whose key need not be below the root."""
        try:
            yield from self._place(target, lambda key: Step("cp_file", source, key))
        except NotImplementedError:
            data = yield Step("cat_file", source)
            yield from self._place(target, lambda key: Step("pipe_file", key, data))

    def _glob(self, path: StrPath, pattern: str) -> Plan[list[str]]:
        parsed = parse_glob(pattern)
        base = self._root.to_key(path)
        shown = self._root.clean(path).rstrip("/")
        start = "/".join([base.rstrip("/"), *parsed.below])
        keys = yield from self._files_below(start, parsed.recursive)
        names = [key.removeprefix(base).lstrip("/") for key in keys if not _TEMPORARY.fullmatch(key.rpartition("/")[2])]
        return sorted(f"{shown}/{name}" if shown else name for name in names if parsed.matches(name))

    def _remove(self, path: StrPath) -> Plan[None]:
        key = self._root.to_file_key(path)
        info = yield from self._info(key)
        if info["type"] == "directory":
            raise IsDirectoryError(errno.EISDIR, "remove() takes a file, not a directory", self.url(path))
        yield Step("rm_file", key)

    # Local copies.

    def _version(self, path: StrPath) -> Plan[Version]:
        """Which version of a file the store has now."""
        key = self._root.to_file_key(path)
        info = yield from self._info(key)
        if info["type"] == "directory":
            raise IsDirectoryError(errno.EISDIR, "A directory stands there, not a file", self.url(path))
        version = version_of(info)
        return Version(
            # A file of which the store says no version is fetched each time, beside those that are in use.
            identity=repr((store_identity(self._fs), key, version or uuid.uuid4().hex)),
            name=key.rpartition("/")[2],
            size=expected_size(info),
            known=version is not None,
        )

    def _local_copy(self, path: StrPath, cache: Cache) -> Plan[LocalCopy]:
        """A local copy of the version that the store has now, fetched unless it is there."""
        key = self._root.to_file_key(path)
        for is_last in (False, True):
            version = yield from self._version(path)
            slot = yield from self._slot(key, version, cache)
            try:
                if slot.copy:
                    return slot.copy
                # The size in a record may be wrong by now, and lead to a wrong request, so it is not relied on twice.
                expected = None if is_last and version.sha256 else version.size
                size, sha256 = yield from self._download(key, slot, expected)
                if (yield from self._is(path, version, size, sha256)):
                    copy: LocalCopy = yield Step(slot.keep, size, sha256, about=key)
                    break
            except StoreError as exc:
                # Such as a range beyond the end of a file that has become shorter meanwhile.
                if type(exc) is not StoreError or (is_last and exc.errno != errno.EBUSY):
                    raise
                size = None
            finally:
                slot.leave()
        else:
            raise self._changed(path, version, size)
        yield Step(cache.kept, size, about=key)
        return copy

    def _slot(self, key: str, version: Version, cache: Cache) -> Plan[Slot]:
        """Wait until nobody else fills the entry. No thread waits: there may be fewer of them than readers."""
        pause, growth, patience = _SHORTEST_PAUSE, None, time.monotonic() + _PATIENCE
        while (slot := (yield Step(cache.enter, version, about=key))) is None:
            yield Step(time.sleep, pause, about=key)
            # Whoever only looks is gone at once; whoever fetches takes long.
            pause = min(1.1 * pause, _LONGEST_PAUSE)
            if time.monotonic() > patience:
                before, growth = growth, (yield Step(cache.growth, version, about=key))
                if growth == before:
                    raise CacheUnusableError(errno.EBUSY, "Another process fetches the file, and gets no further", key)
                patience = time.monotonic() + _PATIENCE
        return slot  # type: ignore[no-any-return]  # what a step gives is Any

    def _download(self, key: str, slot: Slot, size: int | None) -> Plan[tuple[int, str]]:
        """Fetch a file into a slot; its size and hash."""
        partial = yield Step(slot.begin, about=key)
        try:
            if in_memory(self.fs):
                # Its get_file takes a file for a directory.
                data = yield Step("cat_file", key)
                yield Step(partial.write_bytes, data, about=key)
            else:
                yield Step("get_file", key, str(partial), **tuned(self._fs, "get_file", size))
        except StoreError as exc:
            cause = exc.__cause__
            if exc.errno in _DISK_IS_FULL or (isinstance(cause, OSError) and cause.filename == str(partial)):
                raise unusable(OSError(exc.errno, os.strerror(exc.errno or errno.EIO)), partial) from exc
            raise
        digest: tuple[int, str] = yield Step(slot.digest, about=key)
        return digest

    def _is(self, path: StrPath, version: Version, size: int, sha256: str) -> Plan[bool]:
        """Whether what was fetched is whole, and of one version."""
        if version.sha256 is not None:
            return (size, sha256) == (version.size, version.sha256)
        if version.size not in (None, size):
            return False
        # It may have come in several ranges, while somebody overwrote it.
        return not version.known or (yield from self._version(path)) == version

    def _changed(self, path: StrPath, version: Version, size: int | None) -> Exception:  # noqa: ARG002 - a run's record tells more
        return CacheUnusableError(errno.EBUSY, "The file changes while it is fetched", redact(self.url(path)))

    # What the plans have in common.

    def _info(self, key: str) -> Plan[dict[str, Any]]:
        """What the store itself says about a key now, never an old listing."""
        self._forget(key)
        info: dict[str, Any] = yield Step("info", key)
        return info

    def _type(self, key: str) -> Plan[str | None]:
        """File, directory or other; None if the store says that there is nothing."""
        try:
            kind: str = (yield from self._info(key))["type"]
        except FileNotFoundError:
            return None
        return kind

    def _forget(self, key: str) -> None:
        fs = self.fs
        fs.invalidate_cache(key)
        fs.invalidate_cache(fs._parent(key))

    def _place(self, key: str, write: Callable[[str], Step]) -> Plan[None]:
        """Write so that a reader sees the old bytes or the new: object stores do so, local files need a rename."""
        parent = key.rpartition("/")[0]
        if self._is_local:
            yield Step("makedirs", parent, exist_ok=True)
            temporary = f"{parent}/{_temporary_name()}"
            try:
                yield write(temporary)
                yield Step(os.replace, temporary, key, about=key)
            except BaseException:
                _unlink(temporary)
                raise
            return
        try:
            yield write(key)
        except FileNotFoundError:
            if not self._makes_directories:
                raise
            yield Step("makedirs", parent, exist_ok=True)
            yield write(key)

    def _files_below(self, start: str, recursive: bool) -> Plan[list[str]]:
        """Keys of the files below a directory; none if it is not there, an error if it cannot be seen."""
        self._forget(start)
        if recursive and not self._makes_directories:
            listing = yield Step("find", start, detail=True)
            return [key for key in found_files(listing) if key.startswith(f"{start}/")]
        found: list[str] = []
        directories = [start]
        while directories:
            directory = directories.pop()
            try:
                entries = yield Step("ls", directory, detail=True)
            except BucketNotFoundError:
                raise
            except FileNotFoundError:
                continue
            inside = [entry for entry in entries if entry["name"].startswith(f"{directory}/")]
            found += [entry["name"] for entry in inside if is_file(entry)]
            if recursive:
                directories += [entry["name"] for entry in inside if entry["type"] == "directory"]
        return found


def _raise(exc: Exception) -> None:
    raise exc


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError as exc:  # a disk that has no links
        if os.path.exists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from exc
        os.replace(source, target)


def _temporary_name() -> str:
    return f".idfkit-fs-{uuid.uuid4().hex}.tmp"


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _root_key(fs: AbstractFileSystem, root: str) -> str:
    """The root in the filesystem's own form, normalised."""
    if is_local(fs):
        key: str = os.path.abspath(fs._strip_protocol(root)).replace("\\", "/")
    else:
        key = stripper(fs)(root) if is_url(root) else root
    protocol, separator, rest = key.rpartition("://")
    rooted = fs.root_marker == "/" or (rest.startswith("/") and not is_object_store(fs))
    segments = [part for part in rest.split("/") if part not in ("", ".")]
    if not segments or ".." in segments or not root.strip("/"):
        raise LocationError(
            f"root {redact(root)!r} names no place; give a bucket or directory, such as 's3://bucket/study'"
        )
    anchor = "/" if rooted and not os.path.splitdrive(key)[0] else ""
    return protocol + separator + anchor + "/".join(segments)


def _url_of(fs: AbstractFileSystem, key: str) -> str:
    """The URL of a key in a filesystem that was handed to us, with the caches it came in."""
    cached = cached_filesystem(fs)
    if cached is not None:
        return f"{protocols(fs)[0]}::{_url_of(cached, key)}"
    return repair(unstripped(fs, key))
