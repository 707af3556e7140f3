"""Ranges of one file of a run, so that a large file need not be fetched whole."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence

from idfkit_fs._cache.store import Version
from idfkit_fs._outputs.parquet import Fetch, Range
from idfkit_fs.errors import DamagedRunError, StoreError
from idfkit_fs.runs.files import RunFileSystem
from idfkit_fs.runs.record import RecordedFile

__all__ = ["fetching_ranges"]

# A file up to this size is fetched whole: that is one request, as each range is. One series of a year of hours takes
# half of it.
_SMALL = 2**17


@contextlib.contextmanager
def fetching_ranges(files: RunFileSystem, run: str, file: RecordedFile, digests: Sequence[str]) -> Iterator[Fetch]:
    """Fetch ranges of a file that the ``with`` block then verifies.

    A small file is read whole: the filesystem checks its hash, and keeps it in the cache. The hash says nothing about
    a range of a large file, so the block must check what it got. Only if it raises nothing, the ranges are kept in
    the cache, under the store, the path, the run and the digests that they were checked against: no other run can
    change what is kept of this one, and what is kept passes the check again.

    Args:
        files: The run's files.
        run: The id of the run's record.
        file: The file.
        digests: The digests that the block checks the bytes against.

    Yields:
        What fetches the ranges. It raises ``DamagedRunError`` if the file is shorter than the record says, and what
        [read_bytes][idfkit_fs.FsspecFileSystem.read_bytes] raises.
    """
    fetched: dict[Version, bytes] = {}

    def fetch(ranges: Sequence[Range]) -> list[bytes]:
        if file.size <= _SMALL:
            whole = files.read_bytes(file.name)
            return [whole[start:stop] for start, stop in ranges]
        store = None if files.reads_in_place else files.identity
        if store is None:
            return _read(files, file, ranges)
        # Ranges of one call are kept together, because the next call asks for the same ones.
        identity = (store, files.key(file.name), run, file.sha256, *digests, *ranges)
        version = Version(repr(identity), file.name.rpartition("/")[2])
        joined = files.cache.recall(version)
        if joined is None:
            joined = fetched[version] = b"".join(_read(files, file, ranges))
        stream = io.BytesIO(joined)
        return [stream.read(stop - start) for start, stop in ranges]

    yield fetch
    for version, joined in fetched.items():
        files.cache.remember(version, joined)


def _read(files: RunFileSystem, file: RecordedFile, ranges: Sequence[Range]) -> list[bytes]:
    try:
        parts = files.read_ranges(file.name, ranges)
    except StoreError as exc:
        if type(exc) is StoreError:  # what a store says of a range beyond the end
            raise DamagedRunError.for_url(files.url(file.name)) from exc
        raise
    # A server without ranges sends the whole file.
    parts = [
        part[start:stop] if len(part) == file.size else part for part, (start, stop) in zip(parts, ranges, strict=True)
    ]
    if [len(part) for part in parts] != [stop - start for start, stop in ranges]:
        raise DamagedRunError.for_url(files.url(file.name))
    return parts
