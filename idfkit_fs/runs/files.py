"""The files of one run: checked against the run's record, and read through the local cache."""

from __future__ import annotations

import hashlib
from typing import Any, Self

from idfkit_fs._cache.filesystem import cached_copy
from idfkit_fs._cache.store import LocalCopy, Version
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.files import digest_of
from idfkit_fs._util.urls import StrPath
from idfkit_fs.errors import CacheUnusableError, DamagedRunError
from idfkit_fs.runs.record import RecordedFile

__all__ = ["RunFileSystem"]


class RunFileSystem(FsspecFileSystem):
    """Files whose hashes are known, such as those of one run.

    Each is checked against its hash. A file never changes under its hash, so one that the local cache has is read
    without asking the store.

    Attributes:
        known: The files; None if nothing is known of them.
    """

    known: tuple[RecordedFile, ...] | None = None

    @classmethod
    def of(cls, fs: FsspecFileSystem, known: tuple[RecordedFile, ...] | None) -> Self:
        """The files at a filesystem's root."""
        return fs.as_subclass(cls, known=known)

    def facts(self) -> dict[str, Any]:
        """What this class knows beside filesystem and root."""
        return {"known": self.known}

    def joinpath(self, path: StrPath) -> Self:
        """A directory within the run; its files are checked too."""
        below = super().joinpath(path)
        if self.known is not None:
            start = f"{self.relative(path)}/".lstrip("/")
            inside = (file for file in self.known if file.name.startswith(start))
            below.known = tuple(file.model_copy(update={"name": file.name.removeprefix(start)}) for file in inside)
        return below

    def recorded_version(self, path: StrPath) -> Version | None:
        """The version of a file that is known without asking the store."""
        entry = self._recorded(path)
        if entry is None or self.reads_in_place:
            return None
        return Version(f"sha256:{entry.sha256}", entry.name.rpartition("/")[2], entry.size, entry.sha256)

    def read_bytes(self, path: StrPath) -> bytes:
        """Read a whole file, from the local cache if it has it.

        Raises:
            DamagedRunError: If the file differs from the record.
        """
        version = self.recorded_version(path)
        if version is None:
            return self.fetch(path) if self._recorded(path) else super().read_bytes(path)
        try:
            key = self.key(path)
            with self.call(key, lambda store: cached_copy(store, key, self.cache, version)) as local:
                return local.read_bytes()
        except CacheUnusableError as exc:
            self.cache.warn(exc)
            return self.fetch(path)

    def fetch(self, path: StrPath) -> bytes:
        """Read a whole file from the store itself.

        Raises:
            DamagedRunError: If the file differs from the record.
        """
        entry = self._recorded(path)
        data = super().fetch(path) if entry is None else self.fetch_start(path, entry.size + 1)
        self._check(path, len(data), hashlib.sha256(data).hexdigest())
        return data

    def local_copy(self, path: StrPath) -> LocalCopy:
        """A local copy of a file.

        Raises:
            DamagedRunError: If the file differs from the record.
        """
        copy = super().local_copy(path)
        if self.reads_in_place and self._recorded(path):
            self._check(path, *digest_of(copy.path))
        return copy

    def open_binary(self, path: StrPath, options: dict[str, Any]) -> Any:
        """Open a file for reading; a recorded one is read from the local cache."""
        version = self.recorded_version(path)
        if version is not None:
            try:
                with self.local_copy(path) as local:
                    return local.open("rb")  # an open file can be read to its end
            except CacheUnusableError as exc:
                self.cache.warn(exc)
        return super().open_binary(path, options)

    def _recorded(self, path: StrPath) -> RecordedFile | None:
        if self.known is None:
            return None
        name = self.relative(path)
        return next((file for file in self.known if file.name == name), None)

    def _check(self, path: StrPath, size: int, sha256: str) -> None:
        entry = self._recorded(path)
        if entry is not None and (entry.size, entry.sha256) != (size, sha256):
            raise DamagedRunError.for_size(self.url(path), size, entry.size)
