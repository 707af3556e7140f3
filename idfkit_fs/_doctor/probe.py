"""Try everything that runs and studies do, in a directory of its own that is removed again."""

from __future__ import annotations

import contextlib
import functools
import random
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from fsspec.spec import AbstractFileSystem

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._fs.writing import put_file
from idfkit_fs._stores.access import fresh_info
from idfkit_fs._stores.backends import in_memory, is_local, is_object_store, without_layers
from idfkit_fs._stores.conditional import conditional_object
from idfkit_fs._stores.identity import backend_package
from idfkit_fs._stores.translate import refuses_condition
from idfkit_fs.errors import (
    BucketNotFoundError,
    ExistsError,
    NotFoundError,
    PermissionDeniedError,
    StoreError,
    UnreachableError,
    UnsupportedError,
)

__all__ = ["SET_CLOCK", "LimitationError", "NotCheckedError", "Probe"]

_MIB = 2**20
# Each byte, and what a text mode or a decoder would change.
_DATA = bytes(range(256)) + b"\r\n\x1a\xff\xfe" * 3
_OTHER = b"overwritten, and of another size"
# The smallest upload in two parts: S3 takes no smaller parts than 5 MiB, and gcsfs splits no smaller file.
_PART = 5 * _MIB
_SIZE = 2 * _PART
_BLOCK = _MIB  # of Azure, which has no smallest one
_SKEW = 60.0  # seconds; stores refuse requests from 15 minutes on
# What is read where nothing may be written: what results and studies begin with.
_KNOWN = ("run.json", "_study/study.json")
_TRIED = 10


class LimitationError(Exception):
    """It works, with a limitation: what it is, and what to do about it."""


class NotCheckedError(Exception):
    """It could not be checked; the text says why."""


class Probe:
    """A directory below the root of a filesystem, and what is written into it.

    Each method that checks something returns what it found, or raises.

    Args:
        fs: The filesystem that is examined. Its cache, if it has one, is passed by: a copy would stay in it.

    Attributes:
        first_error: What the store replied to the first request, if that was an error.
    """

    def __init__(self, fs: FsspecFileSystem) -> None:
        self.root = fs
        self.fs = fs.joinpath(f"_doctor-{secrets.token_hex(6)}")
        self.first_error: StoreError | None = None
        self._names: list[str] = []
        self._directories: list[str] = []
        self._written: tuple[float, float] | None = None
        self._listed = False

    @property
    def package(self) -> str:
        """The backend's package."""
        return backend_package(type(self.fs.store))

    @property
    def prefix(self) -> str:
        """The key of the root."""
        return self.root.key("")

    @property
    def bucket(self) -> str:
        """The bucket or container; the root where a store has none."""
        has_buckets = is_object_store(self.fs.store) and "://" not in self.prefix  # http's keys are URLs
        return self.prefix.partition("/")[0] if has_buckets else self.prefix

    def reach(self) -> str:
        """Send the first request. Every reply will do, a refusal too."""
        try:
            self.fs.glob("", "*")
        except UnreachableError:
            raise
        except StoreError as exc:
            self.first_error = exc
        return "the store answers"

    def find_bucket(self) -> str:
        """Ask for the bucket, or for the root's directory."""
        if isinstance(self.first_error, BucketNotFoundError):
            raise self.first_error
        key = self.bucket
        if not is_object_store(self.fs.store):
            try:
                info = self.fs.call(key, lambda store: fresh_info(store, key))
            except NotFoundError:
                return "the directory is missing; the first write creates it"
            if info["type"] != "directory":
                raise StoreError.for_url(self.root.url(), "This is a file, not a directory; give another URL")
            return "the directory exists"
        if "://" in key:
            raise NotCheckedError("HTTP has no buckets")
        try:
            self.fs.call(key, lambda store: fresh_info(store, key))
        except BucketNotFoundError:
            raise
        except NotFoundError as exc:
            raise BucketNotFoundError.for_url(
                self.root.url(), f"No bucket or container named {key!r}; create it, or check the name"
            ) from exc
        except PermissionDeniedError as exc:
            # Of a missing bucket, gcsfs shows an empty list.
            if self.first_error is None and self.package != "gcsfs":
                return f"{key} exists, as it was listed"
            raise NotCheckedError("this login may not ask for the bucket itself") from exc
        return f"{key} exists"

    def list_files(self) -> str:
        """List the directory, after something was written if possible."""
        if self.first_error is not None:
            raise self.first_error
        found, expected = self.fs.glob("", "**/*"), ["a.bin"] if self._written else []
        if found != expected:
            raise StoreError.for_url(
                self.fs.url(),
                f"The list does not show what was written: {found} instead of {expected}; caches between here and the "
                "store must be switched off",
            )
        self._listed = True
        return "complete at once" if found else "an empty list"

    def write(self) -> str:
        """Write a small file."""
        self._prepare_directories()
        started = datetime.now(UTC).timestamp()
        self._names.append("a.bin")
        try:
            self.fs.write_bytes("a.bin", _DATA)
        except (NotFoundError, PermissionDeniedError, UnsupportedError):  # after any other error it may be there
            self._names.remove("a.bin")
            raise
        self._written = started, datetime.now(UTC).timestamp()
        return f"{len(_DATA)} bytes"

    def read(self) -> str:
        """Read a whole file; one that exists, where none may be written."""
        if self._written is None:
            name = self._existing()
            size = self.root.version(name).size
            data = self.root.fetch(name)
            _expect(size in (None, len(data)), self.root.url(name), "fewer or more bytes came than the file has")
            return f"{len(data)} bytes of {name}"
        _expect(self.fs.fetch("a.bin") == _DATA, self.fs.url("a.bin"), "other bytes came back than were written")
        return "every byte as written"

    def read_ranges(self) -> str:
        """Read two parts of a file."""
        fs, name = (self.root, self._existing()) if self._written is None else (self.fs, "a.bin")
        whole = fs.fetch(name)
        ranges = [(start, stop) for start, stop in ((0, 7), (100, 200)) if stop <= len(whole)]
        parts = fs.read_ranges(name, ranges)
        _expect(parts == [whole[start:stop] for start, stop in ranges], fs.url(name), "a range brought other bytes")
        return ", ".join(f"bytes {start} to {stop}" for start, stop in ranges) or "the file is too short"

    def measure_clock(self) -> str:
        """Compare the store's clock with this machine's, by the time of the file that was written."""
        if self._written is None:
            raise NotCheckedError("nothing was written whose time could be compared")
        key = self.fs.key("a.bin")
        try:
            stamp = self.fs.call(key, lambda store: store.modified(key))
        except UnreachableError:
            raise
        except StoreError as exc:
            raise NotCheckedError("the store does not give the time of a file") from exc
        moment = stamp.replace(tzinfo=stamp.tzinfo or UTC).timestamp()
        before, after = self._written
        skew = moment - after if moment > after else min(0.0, moment + 1 - before)  # stores cut fractions of a second
        if abs(skew) > _SKEW:
            minutes, way = abs(skew) / 60, "behind" if skew > 0 else "ahead of"
            raise LimitationError(
                f"this machine's clock is {minutes:.1f} min {way} the store's; many stores refuse 15 min or more",
                SET_CLOCK,
            )
        return "equal within a second" if abs(skew) < 1 else f"{abs(skew):.0f} s apart"

    def overwrite(self) -> str:
        """Overwrite a file, and look at it at once."""
        self.fs.write_bytes("a.bin", _OTHER)
        size = self.fs.version("a.bin").size
        data = self.fs.fetch("a.bin")
        _expect(data == _OTHER and size in (None, len(_OTHER)), self.fs.url("a.bin"), "the old file is still shown")
        return "seen at once"

    def create(self) -> str:
        """Create a file twice; the store must refuse the second time."""
        name, key = "exclusive.bin", self.fs.key("exclusive.bin")
        self._names.append(name)
        _expect(self.fs.create_exclusive(name, b"first"), self.fs.url(name), "it exists before it was created")
        store = self.fs.store
        refused: bool | None
        if is_local(store) or in_memory(store):
            refused = not self.fs.create_exclusive(name, b"second")
        elif conditional_object(*without_layers(store, key)) is None:
            raise LimitationError("this backend has no conditional write", _ONE_WRITER)
        else:
            refused = self._is_refused(key)
        if refused is None:
            raise LimitationError("the store refuses conditional writes (If-None-Match)", _ONE_WRITER)
        if not refused or self.fs.fetch(name) != b"first":
            raise LimitationError("the store silently overwrites a file that should only be created", _ONE_WRITER)
        return "the second one is refused"

    def _is_refused(self, key: str) -> bool | None:
        """Whether the store refuses to create a file that exists; None if it refuses the condition itself."""

        def create(store: AbstractFileSystem) -> bool | None:
            try:
                store.pipe_file(key, b"second", mode="create")
            except Exception as exc:
                if refuses_condition(exc):
                    return None
                raise
            return False

        try:
            return self.fs.call(key, create, conditional=True)
        except ExistsError:
            return True

    def copy(self) -> str:
        """Copy a file, and compare it."""
        self._names.append("copy.bin")
        self.fs.copy("a.bin", "copy.bin")
        _expect(self.fs.fetch("copy.bin") == self.fs.fetch("a.bin"), self.fs.url("copy.bin"), "the copy differs")
        return "equal"

    def upload_parts(self) -> str:
        """Upload a file in parts, and compare its size and the bytes where the parts meet."""
        if self.package not in ("s3fs", "gcsfs", "adlfs"):
            raise NotCheckedError("this backend uploads every file in one piece")
        part, size = (_BLOCK, 2 * _BLOCK) if self.package == "adlfs" else (_PART, _SIZE)
        data = random.Random(0).randbytes(size)  # noqa: S311 - no secret
        name, key = "multipart.bin", self.fs.key("multipart.bin")
        self._names.append(name)
        self.fs.call(key, lambda store: _upload(store, key, data, part), only_bucket=True)
        seam = (part - 100, part + 100)
        same = self.fs.read_ranges(name, [seam, (size - 100, size)]) == [data[slice(*seam)], data[-100:]]
        _expect(same and self.fs.version(name).size in (None, size), self.fs.url(name), "the parts were joined wrongly")
        return f"2 parts, {size // _MIB} MiB"

    def delete(self) -> str:
        """Remove a file, and check that it is gone."""
        self.fs.remove("a.bin")
        self._names.remove("a.bin")
        try:
            gone = not self.fs.exists("a.bin")
        except PermissionDeniedError:  # the store's answer for a missing file, to a login that may not list
            return "accepted"
        _expect(gone, self.fs.url("a.bin"), "the file still exists after it was removed")
        return "gone at once"

    def clean(self) -> tuple[str, ...]:
        """Remove what is left of the directory; the URLs of what could not be removed."""
        left = self._remove_all(self._names)
        if self._listed and not left:
            late: list[str] = []
            with contextlib.suppress(StoreError):
                late = self.fs.glob("", "**/*")
            left = self._remove_all(late)
        for key in () if left else self._directories:
            with contextlib.suppress(StoreError):
                self.fs.call(key, functools.partial(_rmdir, key=key))
        return tuple(self.fs.url(name) for name in left)

    def _remove_all(self, names: list[str]) -> list[str]:
        """Remove files; the names of those that may still be there."""
        left: list[str] = []
        for position, name in enumerate(names):
            try:
                left += [] if self._remove(name) else [name]
            except UnreachableError:  # each further attempt would wait as long
                return left + names[position:]
        return left

    def _remove(self, name: str) -> bool:
        """Remove a file; whether it is gone, as far as this login can know."""
        key = self.fs.key(name)
        try:
            self.fs.call(key, lambda store: store.rm_file(key))
        except NotFoundError:
            return True
        except UnreachableError:
            raise
        except StoreError:
            with contextlib.suppress(StoreError):
                return not self.fs.exists(name)
            return False
        return True

    def _prepare_directories(self) -> None:
        """Note which directories the first write will create: nobody else may have put anything into them later."""
        if is_object_store(self.fs.store):
            return
        key = self.fs.key("")
        with contextlib.suppress(StoreError):
            while key.strip("/") and not self._is_directory(key):
                self._directories.append(key)
                key = key.rpartition("/")[0]

    def _is_directory(self, key: str) -> bool:
        with contextlib.suppress(NotFoundError):
            self.fs.call(key, lambda store: fresh_info(store, key))
            return True
        return False

    def _existing(self) -> str:
        """A file below the root that can be read, for a login that may write none."""
        for name in _KNOWN:
            with contextlib.suppress(NotFoundError, PermissionDeniedError):
                self.root.version(name)
                return name
        with contextlib.suppress(StoreError):
            for name in self.root.glob("", "*")[:_TRIED]:
                if (self.root.version(name).size or 0) <= _SIZE:
                    return name
        raise NotCheckedError("nothing was written, and there is no file to read")


SET_CLOCK = "set this machine's clock, and let NTP keep it; if it is right, the store's is wrong"
_ONE_WRITER = "let only one client publish a run or add a case at a time, or use another store"


def _expect(condition: bool, url: str, text: str) -> None:
    if not condition:
        raise StoreError.for_url(url, f"The store is not consistent: {text}; use another store, or ask who runs it")


def _upload(store: AbstractFileSystem, key: str, data: bytes, part: int) -> None:
    if backend_package(type(store)) == "adlfs":
        # Of an upload in one call, azure's client decides, and begins to split at 64 MiB.
        with store.open(key, "wb", block_size=part) as file:
            file.write(data)
        return
    with tempfile.TemporaryDirectory(prefix="idfkit-fs-") as directory:
        local = Path(directory, "multipart.bin")
        local.write_bytes(data)
        put_file(store, str(local), key, chunksize=part)


def _rmdir(store: AbstractFileSystem, key: str) -> None:
    store.rmdir(key)
