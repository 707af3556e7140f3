"""Local copies of files: complete, checked, one per version, shared by processes, and bounded together.

Nothing here knows a store. [cached_copy][idfkit_fs._cache.filesystem.cached_copy] enters a
[Slot][idfkit_fs._cache.store.Slot] for one version of one file, and finds a sound copy there or downloads one into it.
A cache directory holds

- ``entries/<kk>/<key>/``: a copy, and ``.entry.json`` beside it, whose own time is that of the last use;
- ``locks/<key>``: a process that fills, checks or evicts an entry holds its lock;
- ``processes/<id>/``: see [leases][idfkit_fs._cache.leases].
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import math
import os
import re
import shutil
import time
import uuid
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from idfkit_fs._cache.directory import (
    as_unusable,
    file_lock,
    refuse_unless_private,
    temporary_directory,
    try_lock,
    unlink,
)
from idfkit_fs._cache.leases import ProcessDirectory, keys_in_use, process_directory
from idfkit_fs._util.files import digest_of
from idfkit_fs.errors import CacheUnusableError

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["Cache", "CacheInfo", "LocalCopy", "Slot", "Version"]

_ENTRY = ".entry.json"
_OVERHEAD = 256  # bytes that an entry takes beside its file, at most
# The directory may hold other files; only names of this form are ever removed.
_PART, _KEY = re.compile("[0-9a-f]{2}"), re.compile("[0-9a-f]{64}")
_SAFE_NAME = re.compile(r"\w[\w .()+=@,-]*")
_LONGEST_NAME = 200  # bytes; most disks take 255
_SAFE_SUFFIX = re.compile(r"[.]\w{1,10}")
# Seconds: between two attempts to enter a slot, and until a download by another process that makes no progress is
# given up.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one file.

    Attributes:
        identity: Text that no other version of any file has.
        name: The file's name.
        size: Size in bytes; None if it is not known.
        sha256: SHA-256 of its bytes, in hexadecimal; None if it is not known.
        known: Whether the store gave the identity, so that it can be compared with a later answer.
    """

    identity: str
    name: str
    size: int | None = None
    sha256: str | None = None
    known: bool = True

    @property
    def key(self) -> str:
        """The entry's key: of fixed length, and a hash, so that nothing of the identity can be read in it."""
        return hashlib.sha256(repr((self.identity, self.name)).encode()).hexdigest()

    @property
    def local_name(self) -> str:
        """The file's own name where every disk takes it; it may be too long, or a query that contains a signature."""
        if _SAFE_NAME.fullmatch(self.name) and len(self.name.encode()) < _LONGEST_NAME:
            return self.name
        suffix = _SAFE_SUFFIX.fullmatch(Path(self.name).suffix)
        return f"file{suffix[0] if suffix else ''}"


class LocalCopy:
    """A local file that stays where it is until it is released, or this object is garbage collected.

    Args:
        path: The file.
        release: Called once, when the file is no longer needed.
    """

    def __init__(self, path: Path, release: Callable[[], object] = lambda: None) -> None:
        self.path = path
        self.release = weakref.finalize(self, release)
        self.release.atexit = False

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_exc: object) -> None:
        self.release()

    def keep_until_exit(self) -> Path:
        """The path; the file stays until this process ends."""
        self.release.detach()
        return self.path

    def read_bytes(self) -> bytes:
        """The whole file."""
        with as_unusable(self.path):
            return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What a cache holds.

    Attributes:
        directory: The cache directory.
        files: The number of files in it.
        bytes: Their total size, in bytes.
        in_use: How many of them a running process uses.
        max_bytes: The bound, in bytes.
    """

    directory: Path
    files: int
    bytes: int
    in_use: int
    max_bytes: int

    def __str__(self) -> str:
        return f"{self.directory}: {self.files} files, {self.bytes:,} of {self.max_bytes:,} bytes, {self.in_use} in use"


@dataclass(frozen=True)
class Cache:
    """A cache directory and its bound. Many threads and processes may share one.

    Attributes:
        lasting_directory: The directory; it is created, for this user only, when it is first needed. None for a
            temporary one that ends with the process.
        max_bytes: The bound, in bytes.
    """

    lasting_directory: Path | None
    max_bytes: int

    # For each process, whichever instance warned.
    _warned: ClassVar[set[tuple[Path, int | None]]] = set()

    @property
    def directory(self) -> Path:
        """The cache directory."""
        return self.lasting_directory or temporary_directory()

    def warn(self, why: CacheUnusableError) -> None:
        """Warn, once in a process, that this cache cannot be used."""
        if (self.directory, why.errno) not in self._warned:
            self._warned.add((self.directory, why.errno))
            warnings.warn(f"Reading without the cache in {self.directory}: {why.strerror}", stacklevel=2)

    @contextlib.contextmanager
    def slot(self, version: Version) -> Iterator[Slot]:
        """Enter the slot of one version of a file, which no other thread or process enters meanwhile.

        Readers stop waiting for a download by another process that makes no progress for 30 seconds.

        Raises:
            CacheUnusableError: If the disk fails, or the process in the slot makes no progress.
            CacheDirectoryError: If the directory is not private to this user.
        """
        pause, growth, deadline = _SHORTEST_PAUSE, None, time.monotonic() + PATIENCE
        while (slot := self._try_slot(version)) is None:
            time.sleep(pause)
            # A reader that only checks a copy leaves soon; one that downloads takes long.
            pause = min(1.1 * pause, _LONGEST_PAUSE)
            if time.monotonic() > deadline:
                before, growth = growth, self._growth(version)
                if growth == before:
                    raise CacheUnusableError(
                        errno.EBUSY, "another process downloads the file and makes no progress", str(self.directory)
                    )
                deadline = time.monotonic() + PATIENCE
        try:
            yield slot
        finally:
            slot.leave()

    def _try_slot(self, version: Version) -> Slot | None:
        with as_unusable(self.directory):
            process = process_directory(self.directory)
            lock = self._lock(version.key)
            if not try_lock(lock):
                return None
            try:
                return Slot(self, process, version, lock)
            except BaseException:
                lock.release()
                raise

    def _growth(self, version: Version) -> tuple[int, ...]:
        """Numbers that change as long as any process downloads this version."""
        stamps: list[int] = []
        with contextlib.suppress(OSError):  # a file that vanishes meanwhile is progress too
            partial = (self.directory / "processes").glob(f"*/{_partial_name(version.key)}*/*")
            stamps.extend(path.stat().st_mtime_ns for path in partial)
        return tuple(stamps)

    def recall(self, version: Version) -> bytes | None:
        """Bytes that were remembered; None if there are none, or they are damaged, or the disk fails."""
        with self._warning(), self.slot(version) as slot:
            return slot.read()
        return None

    def remember(self, version: Version, data: bytes) -> None:
        """Keep bytes, in place of those that were remembered before, if the disk takes them."""
        with self._warning():
            with self.slot(version) as slot, as_unusable(self.directory):
                if slot.read() == data:
                    return
                slot.begin().write_bytes(data)
                slot.keep(len(data), hashlib.sha256(data).hexdigest()).release()
            self.make_bounded(len(data))

    @contextlib.contextmanager
    def _warning(self) -> Iterator[None]:
        try:
            yield
        except CacheUnusableError as exc:
            self.warn(exc)

    def info(self) -> CacheInfo:
        """What the cache holds."""
        if not self._exists():
            return CacheInfo(self.directory, 0, 0, 0, self.max_bytes)
        with as_unusable(self.directory):
            process_directory(self.directory).sweep()
            entries = list(self._entries())
            used = keys_in_use(self.directory)
            in_use = sum(entry.path.name in used for entry in entries)
            return CacheInfo(self.directory, len(entries), sum(entry.size for entry in entries), in_use, self.max_bytes)

    def prune(self, max_bytes: int) -> int:
        """Evict the least recently used entries that are not in use, until the rest is within a bound.

        Returns:
            How many bytes were freed.
        """
        if not self._exists():
            return 0
        with as_unusable(self.directory):
            process = process_directory(self.directory)
            process.sweep()
            entries = sorted(self._entries(), key=lambda entry: entry.used)
            excess = sum(entry.size for entry in entries) - max_bytes
            used = keys_in_use(self.directory)
            freed = 0
            for entry in entries:
                if excess <= freed:
                    break
                if entry.path.name not in used and self._evict(entry, process):
                    freed += entry.size
            # Where entries in use exceed the bound, the next file makes this process look again.
            process.unaccounted = 0 if excess <= freed and max_bytes <= self.max_bytes else math.inf
            return freed

    def make_bounded(self, size: int) -> None:
        """Take account of a new entry of so many bytes, and evict others if the bound is exceeded."""
        # Looking through the whole cache after each small file would cost more than the file, so a margin is kept.
        margin = self.max_bytes // 32
        with contextlib.suppress(CacheUnusableError), as_unusable(self.directory):  # the copy is good all the same
            process = process_directory(self.directory)
            process.unaccounted += size + _OVERHEAD
            if process.unaccounted > margin:
                self.prune(self.max_bytes - margin)

    def make_room(self, size: int) -> None:
        """Free what this cache holds of a disk that has less than *size* bytes left."""
        missing = size - shutil.disk_usage(self.directory).free
        if missing <= 0:
            return
        held = sum(entry.size for entry in self._entries())
        if held < missing or self.prune(held - missing) < missing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def entry(self, key: str) -> Path:
        """The directory of an entry."""
        return self.directory / "entries" / key[:2] / key

    def _lock(self, key: str) -> BaseFileLock:
        return file_lock(self.directory / "locks" / key)

    def _exists(self) -> bool:
        if self.directory.exists():
            refuse_unless_private(self.directory)
        return (self.directory / "entries").is_dir()

    def _entries(self) -> Iterator[_Entry]:
        parts = [part for part in os.scandir(self.directory / "entries") if _PART.fullmatch(part.name)]
        for found in (found for part in parts for found in os.scandir(part) if _KEY.fullmatch(found.name)):
            size = used = 0
            with contextlib.suppress(OSError):  # another process evicted it, or it was never complete
                for file in os.scandir(found):
                    size += file.stat().st_size
                    used = file.stat().st_mtime_ns if file.name == _ENTRY else used
            yield _Entry(Path(found.path), size, used)

    def _evict(self, entry: _Entry, process: ProcessDirectory) -> bool:
        key = entry.path.name
        lock = self._lock(key)
        if not try_lock(lock):
            return False
        try:
            # It may have been used since it was listed.
            if key in keys_in_use(self.directory) or _last_use(entry.path) != entry.used:
                return False
            _discard(entry.path, process.path)
            unlink(Path(lock.lock_file))
        except OSError:
            return False  # such as a file that is open, on Windows
        else:
            return True
        finally:
            lock.release()


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    size: int
    used: int


def _last_use(entry: Path) -> int:
    with contextlib.suppress(OSError):
        return (entry / _ENTRY).stat().st_mtime_ns
    return 0


def _partial_name(key: str) -> str:
    return f"partial-{key}-"


class Slot:
    """The slot of one version of one file in a cache; [Cache.slot][idfkit_fs._cache.store.Cache.slot] enters it."""

    def __init__(self, cache: Cache, process: ProcessDirectory, version: Version, lock: BaseFileLock) -> None:
        self._cache = cache
        self._process = process
        self._version = version
        self._lock = lock
        self._entry = cache.entry(version.key)
        self._partial: Path | None = None

    def copy(self) -> LocalCopy | None:
        """The sound copy that the cache has; None if it has none, and one has to be downloaded."""
        with as_unusable(self._cache.directory):
            self._process.use(self._version.key)  # before the check, so that it is not evicted meanwhile
            if self._is_sound():
                return self._lease()
            self._process.release(self._version.key)
            return None

    def read(self) -> bytes | None:
        """The bytes of the sound copy that the cache has; None if it has none."""
        return (self._entry / self._version.local_name).read_bytes() if self._is_sound() else None

    def begin(self) -> Path:
        """Where to download the file to; no reader sees it there.

        Raises:
            CacheUnusableError: If the disk has no room for it.
        """
        with as_unusable(self._cache.directory):
            self._cache.make_room(self._version.size or 0)
            self._partial = self._process.path / (_partial_name(self._version.key) + uuid.uuid4().hex)
            self._partial.mkdir(mode=0o700)
            return self._downloaded(self._partial)

    def keep(self, size: int, sha256: str) -> LocalCopy:
        """Make the downloaded file the entry.

        A file that exceeds the cache's bound, or whose version is not known, is only lent.

        Args:
            size: Its size in bytes.
            sha256: Its SHA-256.

        Returns:
            The copy, as every reader sees it from now on.
        """
        partial = self._partial
        assert partial is not None  # noqa: S101 - begin() comes first
        if size > self._cache.max_bytes or not self._version.known:
            self._partial = None
            return LocalCopy(self._downloaded(partial), functools.partial(self._remove_partial, partial))
        with as_unusable(self._cache.directory):
            self._stamp(partial, size, sha256)
            self._entry.parent.mkdir(mode=0o700, exist_ok=True)
            _discard(self._entry, self._process.path)
            os.rename(partial, self._entry)
            self._process.use(self._version.key)
            return self._lease()

    def leave(self) -> None:
        """Let others enter."""
        if self._partial is not None:
            self._remove_partial(self._partial)
        with contextlib.suppress(OSError):
            if not self._entry.exists():
                unlink(Path(self._lock.lock_file))
            self._lock.release()

    def _downloaded(self, partial: Path) -> Path:
        return partial / self._version.local_name

    def _remove_partial(self, partial: Path) -> None:
        if self._process.is_this_process():
            shutil.rmtree(partial, ignore_errors=True)

    def _lease(self) -> LocalCopy:
        release = functools.partial(self._process.release, self._version.key)
        return LocalCopy(self._entry / self._version.local_name, release)

    def _is_sound(self) -> bool:
        """Whether the entry is the file that was downloaded, to the last byte.

        Bytes that were changed since show in the file's times; the hash decides whether only the times changed.
        """
        try:
            entry = json.loads((self._entry / _ENTRY).read_bytes())
            size, sha256, stamp = entry["size"], entry["sha256"], entry["stamp"]
            copy = self._entry / self._version.local_name
            if stamp != _stamp_of(copy):
                if digest_of(copy) != (size, sha256):
                    return False
                self._stamp(self._entry, size, sha256)
            os.utime(self._entry / _ENTRY)
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return True

    def _stamp(self, directory: Path, size: int, sha256: str) -> None:
        copy = directory / self._version.local_name
        # In the past, so that every later write shows, however coarse the disk's clock is.
        past = time.time_ns() - 10**9
        os.utime(copy, ns=(past, past))
        entry = {"size": size, "sha256": sha256, "stamp": _stamp_of(copy)}
        aside = directory / f".{uuid.uuid4().hex}"
        aside.write_text(json.dumps(entry))
        os.replace(aside, directory / _ENTRY)


def _stamp_of(copy: Path) -> list[int]:
    stat = copy.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _discard(path: Path, process_directory: Path) -> None:
    """Move an entry aside, then remove it; a reader never sees half of it removed."""
    trash = process_directory / f"trash-{uuid.uuid4().hex}"
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, trash)
        shutil.rmtree(trash, ignore_errors=True)
        unlink(trash)  # if it was a file
