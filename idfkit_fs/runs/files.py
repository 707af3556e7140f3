"""The files of one run: checked against the run's record, and read through the cache."""

from __future__ import annotations

import errno
import hashlib
from typing import Any, Self

from idfkit_fs._cache.store import LocalCopy, Version
from idfkit_fs._fs.adapter import Plan
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.files import digest_of
from idfkit_fs._util.messages import redact
from idfkit_fs._util.urls import StrPath
from idfkit_fs.errors import DamagedRunError
from idfkit_fs.runs.record import RecordedFile

__all__ = ["RunFileSystem"]


class RunFileSystem(FsspecFileSystem):
    """Files whose hashes are known, such as those of one run: checked against these, and read through the cache."""

    known: tuple[RecordedFile, ...] | None = None

    @classmethod
    def of(cls, fs: FsspecFileSystem, known: tuple[RecordedFile, ...] | None) -> Self:
        """The files at a filesystem's root; None if nothing is known of them."""
        files = cls._bound(fs.fs, fs._root.key, fs._given_url, fs._storage_options)
        files.known = known
        # A file never changes under its hash, so a copy that has it needs no look at the store.
        files._reads_copies = not fs._is_here and (fs._reads_copies or known is not None)
        return files

    def __reduce__(self) -> Any:
        return _restore_run, (super().__reduce__(), self.known)

    def joinpath(self, path: StrPath) -> Self:
        """A directory within the run; its files are checked likewise."""
        below = super().joinpath(path)
        if self.known is None:
            return below
        start = f"{self._root.relative(below._root.key)}/".lstrip("/")
        inside = (file for file in self.known if file.name.startswith(start))
        return self.of(below, tuple(file.model_copy(update={"name": file.name.removeprefix(start)}) for file in inside))

    def local_copy(self, path: StrPath) -> LocalCopy:
        copy = super().local_copy(path)
        if self._is_here and self.known is not None:
            self._check(path, *digest_of(copy.path))
        return copy

    def _version(self, path: StrPath) -> Plan[Version]:
        entry = self._recorded(path) if self._reads_copies else None
        if entry is None:
            return (yield from super()._version(path))
        return Version(f"sha256:{entry.sha256}", entry.name.rpartition("/")[2], entry.size, entry.sha256)

    def _fetch(self, path: StrPath) -> Plan[bytes]:
        data = yield from super()._fetch(path)
        self._check(path, len(data), hashlib.sha256(data).hexdigest())
        return data

    def _changed(self, path: StrPath, version: Version, size: int | None) -> Exception:
        return (
            super()._changed(path, version, size) if version.sha256 is None else self._damaged(path, version.size, size)
        )

    def _recorded(self, path: StrPath) -> RecordedFile | None:
        name = self._root.relative(self._root.to_key(path))
        return next((file for file in self.known or () if file.name == name), None)

    def _check(self, path: StrPath, size: int, sha256: str) -> None:
        entry = self._recorded(path)
        if entry is not None and (entry.size, entry.sha256) != (size, sha256):
            raise self._damaged(path, entry.size, size)

    def _damaged(self, path: StrPath, expected: int | None, size: int | None) -> DamagedRunError:
        sizes = "" if size in (None, expected) else f" ({size} bytes instead of {expected})"
        message = (
            f"The file is not the one that the run's record names{sizes}; "
            "another run may have been published over it: open the result again, or run it again"
        )
        return DamagedRunError(errno.EIO, message, redact(self.url(path)))


def _restore_run(reduced: Any, known: tuple[RecordedFile, ...] | None) -> RunFileSystem:
    restore, arguments = reduced
    return RunFileSystem.of(restore(*arguments), known)
