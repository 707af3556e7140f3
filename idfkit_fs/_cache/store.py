"""Local copies of files: whole, checked, of one version each, shared by processes, and bounded together.

Nothing here knows a store. The adapters enter a [Slot][idfkit_fs._cache.store.Slot] for one version of one file, and find a
sound copy there or fetch one into it. A cache directory holds

- ``entries/<kk>/<key>/``: a copy, and ``.entry.json`` beside it, whose own time is that of the last use;
- ``locks/<key>``: whoever fills, checks or drops an entry holds its lock;
- ``processes/<id>/``: what a process is fetching, and an empty file for each entry that it uses. The process holds
  ``<id>.lock`` as long as it lives, so what a dead one left is told apart, and cleared away.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import hashlib
import json
import math
import multiprocessing.util
import os
import re
import shutil
import tempfile
import threading
import time
import uuid
import warnings
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, ClassVar, NoReturn

from idfkit_fs._util.files import digest_of
from idfkit_fs.errors import CacheDirectoryError, CacheUnusableError, IdfkitFsError

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["Cache", "CacheInfo", "LocalCopy", "Slot", "Version", "temporary_directory", "unusable"]

_ENTRY = ".entry.json"
_OVERHEAD = 256  # what an entry takes beside its file, in bytes, and rather less than that
# The directory may hold what is not ours; only what has a name of our own form is ever removed.
_PART, _KEY, _PROCESS = re.compile("[0-9a-f]{2}"), re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{32}")
_FIT_NAME = re.compile(r"\w[\w .()+=@,-]*")
_LONGEST_NAME = 200  # bytes; most disks take 255
_FIT_SUFFIX = re.compile(r"[.]\w{1,10}")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one file.

    Attributes:
        identity: What no other version of any file has.
        name: The file's name.
        size: Size in bytes; None if it is not known.
        sha256: SHA-256 of its bytes, in hexadecimal; None if it is not known.
        known: Whether the identity is the store's word, which can be compared with what it says later.
    """

    identity: str
    name: str
    size: int | None = None
    sha256: str | None = None
    known: bool = True

    @property
    def key(self) -> str:
        """The entry's key; of fixed length, and without anything of the identity to be read in it."""
        return hashlib.sha256(repr((self.identity, self.name)).encode()).hexdigest()

    @property
    def local_name(self) -> str:
        """The file's own name where it fits any disk; it may be too long, or a query with a signature in it."""
        if _FIT_NAME.fullmatch(self.name) and len(self.name.encode()) < _LONGEST_NAME:
            return self.name
        suffix = _FIT_SUFFIX.fullmatch(Path(self.name).suffix)
        return f"file{suffix[0] if suffix else ''}"


class LocalCopy:
    """A local file that stays where it is until it is released, or this object is collected.

    Args:
        path: The file.
        release: What lets it go.
    """

    def __init__(self, path: Path, release: Callable[[], object] = lambda: None) -> None:
        self.path = path
        self.release = weakref.finalize(self, release)
        self.release.atexit = False

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_exc: object) -> None:
        self.release()

    def for_good(self) -> Path:
        """The path, for somebody who will not say when it is no longer needed: it stays until this process ends."""
        self.release.detach()
        return self.path

    def read_bytes(self) -> bytes:
        """The whole copy."""
        with _as_unusable(self.path):
            return self.path.read_bytes()

    def open(self) -> IO[bytes]:
        """The copy as a file object, which outlives the release."""
        with _as_unusable(self.path):
            return self.path.open("rb")


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What a cache holds.

    Attributes:
        directory: Where it is.
        files: How many files it holds.
        bytes: Their sizes together, in bytes.
        in_use: How many of them a living process uses.
        max_bytes: What it may hold, in bytes.
    """

    directory: Path
    files: int
    bytes: int
    in_use: int
    max_bytes: int


@contextlib.contextmanager
def _as_unusable(path: Path) -> Iterator[None]:
    """What this disk refuses must not be taken for the store's word."""
    try:
        yield
    except IdfkitFsError:
        raise
    except (OSError, NotImplementedError) as exc:
        raise unusable(exc, path) from exc


def unusable(exc: Exception, path: Path) -> CacheUnusableError:
    """What to say of a disk that does not take a copy."""
    said = getattr(exc, "strerror", None) or str(exc)
    remedy = "make room (idfkit-fs cache prune), or choose another directory (the option cache_storage)"
    return CacheUnusableError(getattr(exc, "errno", None) or errno.EIO, f"{said}; {remedy}", str(path))


def temporary_directory() -> Path:
    """A directory for a cache that ends with this process."""
    with _processes_guard:
        return _temporary_directory(os.getpid())


@functools.cache
def _temporary_directory(pid: int) -> Path:
    with _as_unusable(Path(os.environ.get("TMPDIR", "/tmp"))):  # noqa: S108 - only named
        directory = tempfile.mkdtemp(prefix=f"idfkit-fs-cache-{pid}-")
    # Unlike atexit, this is for the workers of multiprocessing too, and not for a forked child of another kind.
    multiprocessing.util.Finalize(None, shutil.rmtree, args=(directory, True), exitpriority=0)
    return Path(directory)


@dataclass(frozen=True)
class Cache:
    """A cache directory, and what it may hold.

    Many threads and processes may share one.

    Attributes:
        lasting_directory: Where it is; created, for this user only, when it is first needed. None for one that ends
            with the process.
        max_bytes: What it may hold, in bytes.
    """

    lasting_directory: Path | None
    max_bytes: int

    # Once a process, whichever instance noticed.
    _warned: ClassVar[set[tuple[Path, int | None]]] = set()

    @property
    def directory(self) -> Path:
        """Where it is."""
        return self.lasting_directory or temporary_directory()

    def warn(self, why: CacheUnusableError) -> None:
        """Say once that this cache cannot be used."""
        if (self.directory, why.errno) not in self._warned:
            self._warned.add((self.directory, why.errno))
            warnings.warn(f"Reading without the cache in {self.directory}: {why.strerror}", stacklevel=2)

    def enter(self, version: Version) -> Slot | None:
        """Take the place of one version of a file.

        Returns:
            The slot, which nobody else enters until it is left; None if somebody else is in it now.

        Raises:
            CacheUnusableError: If the disk does not let us.
            CacheDirectoryError: If the directory is not private to this user.
        """
        with _as_unusable(self.directory):
            process = _process(self.directory)
            lock = self.lock(version.key)
            if not _taken(lock):
                return None
            try:
                return Slot(self, process, version, lock)
            except BaseException:
                lock.release()
                raise

    def recall(self, version: Version) -> bytes | None:
        """The bytes that were remembered last; None if there are none, or they have gone bad, or cannot be read."""
        with self._only_warning(), self._entered(version) as slot:
            return None if slot.copy is None else slot.copy.read_bytes()
        return None

    def remember(self, version: Version, data: bytes) -> None:
        """Keep bytes, in place of what was remembered before, if the disk takes them."""
        if self.recall(version) == data:
            return
        with self._only_warning():
            with self._entered(version) as slot, _as_unusable(self.directory):
                slot.begin().write_bytes(data)
                slot.keep(len(data), hashlib.sha256(data).hexdigest())
            self.kept(len(data))

    @contextlib.contextmanager
    def _only_warning(self) -> Iterator[None]:
        try:
            yield
        except CacheUnusableError as exc:
            self.warn(exc)

    @contextlib.contextmanager
    def _entered(self, version: Version) -> Iterator[Slot]:
        patience = time.monotonic() + 10
        while (slot := self.enter(version)) is None:
            if time.monotonic() > patience:
                raise CacheUnusableError(
                    errno.EBUSY, "Another process holds a record, and gets no further", str(self.directory)
                )
            time.sleep(0.001)
        try:
            yield slot
        finally:
            if slot.copy:
                slot.copy.release()
            slot.leave()

    def growth(self, version: Version) -> tuple[int, ...]:
        """What changes as long as somebody fetches a version of a file, in any process."""
        stamps: list[int] = []
        with contextlib.suppress(OSError):  # what vanishes meanwhile is growth too
            partial = (self.directory / "processes").glob(f"*/{_partial_name(version.key)}*/*")
            stamps.extend(path.stat().st_mtime_ns for path in partial)
        return tuple(stamps)

    def info(self) -> CacheInfo:
        """What the cache holds."""
        if not self._is_there():
            return CacheInfo(self.directory, 0, 0, 0, self.max_bytes)
        with _as_unusable(self.directory):
            _process(self.directory).sweep()
            entries = list(self._entries())
            used = self._used()
            in_use = sum(entry.path.name in used for entry in entries)
            return CacheInfo(self.directory, len(entries), sum(entry.size for entry in entries), in_use, self.max_bytes)

    def prune(self, max_bytes: int) -> int:
        """Drop the least recently used entries that nobody uses, until the rest is within a bound.

        Returns:
            How many bytes were freed.
        """
        if not self._is_there():
            return 0
        with _as_unusable(self.directory):
            process = _process(self.directory)
            process.sweep()
            entries = sorted(self._entries(), key=lambda entry: entry.used)
            excess = sum(entry.size for entry in entries) - max_bytes
            used = self._used()
            freed = 0
            for entry in entries:
                if excess <= freed:
                    break
                if entry.path.name not in used and self._drop(entry, process):
                    freed += entry.size
            # What is in use now is to be looked at again with the next file.
            process.unaccounted = 0 if excess <= freed and max_bytes <= self.max_bytes else math.inf
            return freed

    def kept(self, size: int) -> None:
        """Take note of a new entry, and make room for it if need be."""
        # Looking through the whole cache after each small file would cost more than the file, so some room is kept.
        room = self.max_bytes // 32
        with contextlib.suppress(CacheUnusableError), _as_unusable(self.directory):  # the file is good all the same
            process = _process(self.directory)
            process.unaccounted += size + _OVERHEAD
            if process.unaccounted > room:
                self.prune(self.max_bytes - room)

    def make_room(self, size: int) -> None:
        """Give back what this cache took of a disk that has not *size* bytes left."""
        missing = size - shutil.disk_usage(self.directory).free
        if missing <= 0:
            return
        held = sum(entry.size for entry in self._entries())
        if held < missing or self.prune(held - missing) < missing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def entry(self, key: str) -> Path:
        """The directory of an entry."""
        return self.directory / "entries" / key[:2] / key

    def lock(self, key: str) -> BaseFileLock:
        """The lock of an entry."""
        return _file_lock(self.directory / "locks" / key)

    def _is_there(self) -> bool:
        if self.directory.exists():
            _refuse_unless_private(self.directory)
        return (self.directory / "entries").is_dir()

    def _entries(self) -> Iterator[_Entry]:
        parts = [part for part in os.scandir(self.directory / "entries") if _PART.fullmatch(part.name)]
        for found in (found for part in parts for found in os.scandir(part) if _KEY.fullmatch(found.name)):
            size = used = 0
            with contextlib.suppress(OSError):  # another process dropped it, or it was never whole
                for file in os.scandir(found):
                    size += file.stat().st_size
                    used = file.stat().st_mtime_ns if file.name == _ENTRY else used
            yield _Entry(Path(found.path), size, used)

    def _used(self) -> set[str]:
        """The keys of what any process uses."""
        used: set[str] = set()
        for process in os.scandir(self.directory / "processes"):
            with contextlib.suppress(OSError):
                used.update(os.listdir(process))
        return used

    def _drop(self, entry: _Entry, process: _Process) -> bool:
        key = entry.path.name
        lock = self.lock(key)
        if not _taken(lock):
            return False
        try:
            # Somebody may have used it since it was looked at.
            if key in self._used() or _last_use(entry.path) != entry.used:
                return False
            _discard(entry.path, process.directory)
            _unlink(Path(lock.lock_file))
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
    """The place of one version of one file in a cache, held until it is left.

    Attributes:
        copy: The sound copy that is there; None if there is none, and one has to be fetched.
    """

    def __init__(self, cache: Cache, process: _Process, version: Version, lock: BaseFileLock) -> None:
        self._cache = cache
        self._process = process
        self._version = version
        self._lock = lock
        self._entry = cache.entry(version.key)
        self._partial: Path | None = None
        process.use(version.key)
        self.copy: LocalCopy | None = None
        try:
            if self._is_sound():
                self.copy = self._handed_out()
        finally:
            if self.copy is None:
                process.release(version.key)

    def begin(self) -> Path:
        """Where to fetch the file to, aside from every reader.

        Raises:
            CacheUnusableError: If there is no room for it.
        """
        with _as_unusable(self._cache.directory):
            self._cache.make_room(self._version.size or 0)
            self._partial = self._process.directory / (_partial_name(self._version.key) + uuid.uuid4().hex)
            self._partial.mkdir(mode=0o700)
            return self._fetched()

    def digest(self) -> tuple[int, str]:
        """Size in bytes and SHA-256 of the file that was fetched."""
        with _as_unusable(self._cache.directory):
            return digest_of(self._fetched())

    def _fetched(self) -> Path:
        assert self._partial is not None  # noqa: S101 - begin() comes first
        return self._partial / self._version.local_name

    def keep(self, size: int, sha256: str) -> LocalCopy:
        """Let the file that was fetched become the entry.

        One that is beyond the cache's bound, or that nobody could tell to be the same next time, is only lent.

        Args:
            size: Its size in bytes.
            sha256: Its SHA-256.

        Returns:
            The copy, as every reader sees it from now on.
        """
        partial = self._fetched().parent
        if size > self._cache.max_bytes or not self._version.known:
            self._partial = None
            self.copy = LocalCopy(partial / self._version.local_name, functools.partial(self._give_back, partial))
            return self.copy
        with _as_unusable(self._cache.directory):
            self._stamp(partial, size, sha256)
            self._entry.parent.mkdir(mode=0o700, exist_ok=True)
            _discard(self._entry, self._process.directory)
            os.rename(partial, self._entry)
            self._process.use(self._version.key)
            self.copy = self._handed_out()
        return self.copy

    def leave(self) -> None:
        """Let others in."""
        if self._partial is not None:
            self._give_back(self._partial)
        with contextlib.suppress(OSError):
            if not self._entry.exists():
                _unlink(Path(self._lock.lock_file))
            self._lock.release()

    def _give_back(self, partial: Path) -> None:
        if self._process.is_this():
            shutil.rmtree(partial, ignore_errors=True)

    def _handed_out(self) -> LocalCopy:
        release = functools.partial(self._process.release, self._version.key)
        return LocalCopy(self._entry / self._version.local_name, release)

    def _is_sound(self) -> bool:
        """Whether a copy stands there that is the one which was put there, to the last byte.

        Bytes that were changed since show in the file's times; the hash decides whether only the times did.
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
        # In the past, so that whatever is written to it later shows, however coarse the disk's clock is.
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
    """Take an entry away at once, then remove it; a reader never sees half of it gone."""
    trash = process_directory / f"trash-{uuid.uuid4().hex}"
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, trash)
        shutil.rmtree(trash, ignore_errors=True)
        _unlink(trash)  # if it was a file


@dataclass(eq=False)
class _Process:
    """What this process fetches and uses in one cache directory.

    Attributes:
        directory: Holds its partial files, and an empty file for each entry that it uses.
        unaccounted: Bytes that it added since it last looked whether the cache is within its bound.
    """

    directory: Path
    unaccounted: float = math.inf
    _uses: Counter[str] = field(default_factory=Counter)
    _released: deque[str] = field(default_factory=deque)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._pid = os.getpid()
        self._alive = _file_lock(self.directory.with_suffix(".lock"))
        self._alive.acquire(timeout=-1)  # another process may be looking whether we live
        self.directory.mkdir(mode=0o700)
        self.sweep()
        atexit.register(self.end)

    def is_this(self) -> bool:
        """Whether this is the process that it speaks of: a forked child takes copies along that are its parent's."""
        return os.getpid() == self._pid

    def use(self, key: str) -> None:
        """Keep an entry from being dropped."""
        with self._guard:
            self._let_go()
            if not self._uses[key]:
                (self.directory / key).touch()
            self._uses[key] += 1

    def release(self, key: str) -> None:
        """Undo one [use][]."""
        if not self.is_this():
            return
        self._released.append(key)
        # The garbage collector calls this too, perhaps in the middle of a change by the same thread.
        if self._guard.acquire(blocking=False):
            try:
                self._let_go()
            finally:
                self._guard.release()

    def _let_go(self) -> None:
        while self._released:
            key = self._released.popleft()
            self._uses[key] -= 1
            if not self._uses[key]:
                del self._uses[key]
                _unlink(self.directory / key)

    def sweep(self) -> None:
        """Clear away what is no longer used: what dead processes left, and what this one let go."""
        with self._guard:
            self._let_go()
        for name in {path.stem for path in self.directory.parent.iterdir() if _PROCESS.fullmatch(path.stem)}:
            lock = _file_lock(self.directory.with_name(f"{name}.lock"))
            if _taken(lock):
                _end_of(self.directory.with_name(name), lock)

    def end(self) -> None:
        """Clear away what this process leaves; another one does so if it cannot."""
        if self.is_this() and self._alive.is_locked:
            _end_of(self.directory, self._alive)


def _end_of(process_directory: Path, lock: BaseFileLock) -> None:
    shutil.rmtree(process_directory, ignore_errors=True)
    if not process_directory.exists():  # else somebody still writes to it, and the lock tells the next one to look
        _unlink(Path(lock.lock_file))
    with contextlib.suppress(OSError):
        lock.release()


_processes: dict[Path, _Process] = {}
_processes_guard = threading.Lock()


def _process(directory: Path) -> _Process:
    """This process's part in a cache directory, which is made and checked when it is first needed."""
    with _processes_guard:
        known = _processes.get(directory)
        if known is not None and not known.directory.exists():
            known.end()  # somebody removed the whole cache
            known = None
        if known is None:
            for part in ("", "entries", "locks", "processes"):
                _make_private(directory / part)
            known = _processes[directory] = _Process(directory / "processes" / uuid.uuid4().hex)
        return known


def _forget_processes() -> None:
    """A forked child has a life of its own, and may have been forked while another thread held the guard."""
    global _processes_guard
    _processes_guard = threading.Lock()
    _processes.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_processes)


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_unless_private(directory)


def _refuse_unless_private(directory: Path) -> None:
    if not hasattr(os, "geteuid"):
        return
    stat = directory.stat()
    if stat.st_uid != os.geteuid():
        _refuse(directory, f"belongs to another user (id {stat.st_uid})")
    if stat.st_mode & 0o022:
        _refuse(directory, "is open to others")


def _refuse(directory: Path, why: str) -> NoReturn:
    message = (
        f"The cache directory {why}, who could change what you read; make it your own and close it "
        "(chmod go-w), or choose another one (the option cache_storage)"
    )
    raise CacheDirectoryError(errno.EACCES, message, str(directory))


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _file_lock(path: Path) -> BaseFileLock:
    from filelock import FileLock

    # A plan may take a lock in one thread and release it in another.
    return FileLock(path, timeout=0, thread_local=False)


def _taken(lock: BaseFileLock) -> bool:
    from filelock import Timeout

    try:
        lock.acquire()
    except Timeout:
        return False
    return True
