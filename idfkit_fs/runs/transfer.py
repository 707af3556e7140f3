"""Transfer the files of a run to a store: in parallel, with one progress bar, in bounded memory."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fsspec.callbacks import Callback

from idfkit_fs._cache.store import Version
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.files import digest_of
from idfkit_fs._util.interrupts import current_stop, stopped_by
from idfkit_fs._util.progress import byte_progress_bar
from idfkit_fs._util.urls import last_name
from idfkit_fs.errors import DamagedRunError
from idfkit_fs.runs.files import RunFileSystem
from idfkit_fs.runs.record import RecordedFile

__all__ = ["LaterFiles", "LocalFile", "PublishedFile", "SourceFile", "UnrecordedFile", "raise_if_stopped", "transfer"]

T = TypeVar("T")
_THREADS = 24
# Each upload holds up to this much of a file in memory; larger files are sent in parts, one file at a time.
_LARGE = 4 * 2**20


class SourceFile(Protocol):
    """A file to publish, and where it comes from."""

    @property
    def name(self) -> str:
        """Path within the run."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    @property
    def is_large(self) -> bool:
        """Whether the file is sent in parts, which take memory, so that only one such file is sent at a time."""

    def send(self, fs: FsspecFileSystem, advance: Callable[[int], Any]) -> RecordedFile:
        """Transfer the file, and call *advance* with the number of bytes that were sent since its last call.

        Returns:
            The entry for the run's record.
        """


class LaterFiles(Protocol):
    """Files that another thread still writes."""

    @property
    def names(self) -> frozenset[str]:
        """The names that they may have; not each of them need be written."""

    def files(self) -> Sequence[SourceFile]:
        """Wait for them."""

    def abandon(self) -> None:
        """Say that they are not needed any more."""


class _Entry:
    """The entry of a file for the record: whichever thread asks first hashes the file, and others wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: RecordedFile | None = None

    def of(self, name: str, digest: Callable[[], tuple[int, str]]) -> RecordedFile:
        with self._lock:
            if self._found is None:
                size, sha256 = digest()
                self._found = RecordedFile(name=name, size=size, sha256=sha256)
            return self._found


@dataclass(frozen=True)
class LocalFile:
    """A file on this machine.

    Attributes:
        name: Path within the run.
        path: The local file.
    """

    name: str
    path: Path
    _entry: _Entry = field(default_factory=_Entry, init=False, repr=False, compare=False)

    @functools.cached_property
    def size(self) -> int:
        """Size in bytes."""
        return self.path.stat().st_size

    @property
    def is_large(self) -> bool:
        """Whether the file is sent in parts."""
        return self.size > _LARGE

    @property
    def entry(self) -> RecordedFile:
        """Name, size and hash of the file, which is read once for this."""
        return self._entry.of(self.name, lambda: digest_of(self.path))

    def send(self, fs: FsspecFileSystem, advance: Callable[[int], Any]) -> RecordedFile:
        """Upload the file."""
        _upload(self.path, self.entry, fs, advance)
        return self.entry


@dataclass(frozen=True)
class UnrecordedFile:
    """A file of a run without a record, anywhere. It is read once for its hash, through the cache.

    Attributes:
        source: The files of that run.
        name: Path within the run.
    """

    source: FsspecFileSystem
    name: str
    _entry: _Entry = field(default_factory=_Entry, init=False, repr=False, compare=False)

    @functools.cached_property
    def version(self) -> Version:
        """The version of the file when it was asked for first."""
        return self.source.version(self.name)

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.version.size or 0

    @property
    def is_large(self) -> bool:
        """Whether the file is sent in parts, or takes a large copy on this disk."""
        return self.size > _LARGE

    @property
    def entry(self) -> RecordedFile:
        """Name, size and hash of the file."""

        def digest() -> tuple[int, str]:
            with self.source.local_copy(self.name) as local:
                return digest_of(local)

        return self._entry.of(self.name, digest)

    def has_changed(self) -> bool:
        """Whether the file is not the same any more; one that was gone raises an error."""
        return self.source.version(self.name) != self.version

    def send(self, fs: FsspecFileSystem, advance: Callable[[int], Any]) -> RecordedFile:
        """Upload the file; one that exists already stays as it is."""
        if fs.is_same_place(self.source):
            advance(self.entry.size)
            return self.entry
        with self.source.local_copy(self.name) as local:
            _upload(local, self.entry, fs, advance)
        return self.entry


@dataclass(frozen=True)
class PublishedFile:
    """A file of a run that is published already.

    Attributes:
        run: The files of that run.
        entry: The file's entry in that run's record.
        same_store: Whether the copy goes to the same store, which can then make it by itself.
    """

    run: RunFileSystem
    entry: RecordedFile
    same_store: bool

    @property
    def name(self) -> str:
        """Path within the run."""
        return self.entry.name

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.entry.size

    @property
    def is_large(self) -> bool:
        """Whether the file is sent in parts; one that is copied within a store is not."""
        return self.size > _LARGE and not self.same_store

    def send(self, fs: FsspecFileSystem, advance: Callable[[int], Any]) -> RecordedFile:
        """Copy the file within the store if that is possible, else through this machine.

        Raises:
            DamagedRunError: If the file differs from its record.
        """
        if self.same_store:
            fs.copy_from(self.run, self.name, self.name)
            if fs.version(self.name).size not in (None, self.size):
                raise DamagedRunError.for_url(self.run.url(self.name))
            advance(self.size)
        else:
            with self.run.local_copy(self.name) as local:
                _upload(local, self.entry, fs, advance)
        return self.entry


def transfer(
    files: Sequence[SourceFile],
    fs: FsspecFileSystem,
    stop: threading.Event,
    progress: bool,
    later: LaterFiles | None = None,
) -> tuple[RecordedFile, ...]:
    """Transfer files in parallel: small ones in a pool of threads, and at the same time the large ones in this thread.

    Args:
        files: The files.
        fs: The filesystem that takes them, by their names.
        stop: Set it from another thread to stop before the next file.
        progress: Whether to show a bar.
        later: Files that are still being written, which are sent when they exist. The bar, whose end must be known
            when it begins, does not count them.

    Returns:
        The entries for the record, sorted by name.

    Raises:
        InterruptedError: If *stop* was set.
        StoreError: If the store failed. No transfer is running any more when an error is raised.
    """
    total = sum(file.size for file in files)
    with (
        byte_progress_bar(total, f"Publishing {last_name(fs.url())}", progress) as advance,
        ThreadPoolExecutor(_THREADS, thread_name_prefix="idfkit-fs-publish") as pool,
    ):
        sender = _Sender(fs, stop, pool, later)
        small = [sender.submit(sender.send, file, advance) for file in files if not file.is_large]
        waiting = sender.submit(sender.send_later)
        large = [sender.send(file, advance) for file in files if file.is_large]
        more, others = waiting.result()
        large += [sender.send(file, _uncounted) for file in others]
    if sender.errors:
        raise sender.errors[0]
    entries = [entry for entry in (*large, *(future.result() for future in (*small, *more))) if entry is not None]
    return tuple(sorted(entries, key=lambda entry: entry.name))


class _Sender:
    """Sends files, until one cannot be sent."""

    def __init__(
        self, fs: FsspecFileSystem, stop: threading.Event, pool: ThreadPoolExecutor, later: LaterFiles | None
    ) -> None:
        self._fs, self._stop, self._pool, self._later = fs, stop, pool, later
        self.errors: list[BaseException] = []

    def submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        return self._pool.submit(stopped_by(current_stop(), call, *args))

    def send(self, file: SourceFile, advance: Callable[[int], Any]) -> RecordedFile | None:
        """Send a file; None if this one or another one cannot be sent."""
        if self.errors:
            return None
        try:
            raise_if_stopped(self._stop)
            return file.send(self._fs, advance)
        except BaseException as exc:  # noqa: BLE001 - raised by transfer(), when no transfer is running any more
            self._fail(exc)
            return None

    def send_later(self) -> tuple[list[Future[RecordedFile | None]], list[SourceFile]]:
        """Wait for the files that are still being written, begin to send the small ones, and give the large ones."""
        if self._later is None:
            return [], []
        try:
            found = self._later.files()
        except BaseException as exc:  # noqa: BLE001 - as above
            self._fail(exc)
            return [], []
        small = [self.submit(self.send, file, _uncounted) for file in found if not file.is_large]
        return small, [file for file in found if file.is_large]

    def _fail(self, exc: BaseException) -> None:
        self.errors.append(exc)
        if self._later is not None:
            self._later.abandon()


def _uncounted(_count: int) -> None:
    """Counts nothing."""


def raise_if_stopped(stop: threading.Event) -> None:
    """Raise an error once an event is set.

    Raises:
        InterruptedError: If it is.
    """
    if stop.is_set():
        raise InterruptedError("stopped before all files were sent")


def _upload(local: Path, entry: RecordedFile, fs: FsspecFileSystem, advance: Callable[[int], Any]) -> None:
    counter = _Counter(advance)
    fs.upload(local, entry.name, callback=counter)
    counter.absolute_update(entry.size)


class _Counter(Callback):
    """Reports the bytes of one file as they are sent; an upload that starts again is counted again from zero."""

    def __init__(self, advance: Callable[[int], Any]) -> None:
        super().__init__()
        self._advance = advance

    def set_size(self, size: int) -> None:
        """Start to count; fsspec's uploads call this first."""
        super().set_size(size)
        self.absolute_update(0)

    def relative_update(self, inc: int = 1) -> None:
        """Count more bytes."""
        self.value += inc
        self._advance(inc)

    def absolute_update(self, value: int) -> None:
        """Count up, or down, to a number of bytes."""
        self.relative_update(value - self.value)
