"""Read some columns of a Parquet file, and nothing else of it. The caller supplies the function that fetches bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fsspec.spec import AbstractBufferedFile
from fsspec.utils import merge_offset_ranges

from idfkit_fs.errors import SidecarError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["Fetch", "Range", "footer_sha256", "read_columns", "read_footer"]

Range = tuple[int, int]
"""The first byte, and the byte after the last."""
Fetch = Callable[[Sequence[Range]], list[bytes]]
"""Returns the bytes of ranges of a file."""

_MIB = 2**20
# A footer takes about 700 bytes for each series, and a series of a year of hours some 60 kB.
_LEAST_TAIL, _MOST_TAIL, _SHARE_OF_TAIL = _MIB // 16, _MIB, 64
_LENGTH_AND_MAGIC = 8
# The largest gap between two columns that one request fetches together, and the most that one request fetches.
_GAP, _BLOCK = _MIB // 16, 8 * _MIB


def footer_sha256(local: Path) -> str:
    """SHA-256 of the footer of a Parquet file, in hexadecimal.

    Args:
        local: The local file.

    Returns:
        The hash of the metadata, their length and the magic bytes that end the file.
    """
    with local.open("rb") as file:
        file.seek(-_LENGTH_AND_MAGIC, os.SEEK_END)
        file.seek(-_footer_length(file.read()), os.SEEK_END)
        return hashlib.sha256(file.read()).hexdigest()


def read_footer(size: int, fetch: Fetch, sha256: str) -> pq.FileMetaData:
    """Read the footer of a file: in one request, or in two if it is longer than expected.

    Args:
        size: The file's size in bytes.
        fetch: Fetches ranges of the file.
        sha256: The hash that [footer_sha256][idfkit_fs._outputs.parquet.footer_sha256] gave for the file.

    Returns:
        Schema and metadata.

    Raises:
        SidecarError: If the footer has another hash, or is invalid.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    start = max(0, size - min(max(_LEAST_TAIL, size // _SHARE_OF_TAIL), _MOST_TAIL))
    tail = fetch([(start, size)])[0]
    length = _footer_length(tail)
    if len(tail) < length <= size:
        tail = fetch([(size - length, start)])[0] + tail
    footer = tail[-length:]
    if hashlib.sha256(footer).hexdigest() != sha256:
        raise SidecarError("its footer differs from the run's record")
    try:
        return pq.read_metadata(pa.BufferReader(footer))
    except (pa.ArrowException, OSError) as exc:
        raise SidecarError(str(exc)) from exc


def read_columns(size: int, fetch: Fetch, footer: pq.FileMetaData, columns: Sequence[str]) -> pa.Table:
    """Read columns, with requests in parallel.

    Args:
        size: The file's size in bytes.
        fetch: Fetches ranges of the file.
        footer: What [read_footer][idfkit_fs._outputs.parquet.read_footer] returned.
        columns: Names of columns.

    Returns:
        A table of the columns.

    Raises:
        SidecarError: If the bytes are not those of the columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = _ranges_of(footer, {*columns})
    _, starts, stops = merge_offset_ranges(
        [""] * len(wanted), *map(list, zip(*wanted, strict=True)), max_gap=_GAP, max_block=_BLOCK
    )
    ranges = list(zip(starts, stops, strict=True))
    parts = dict(zip(ranges, fetch(ranges), strict=True)) if ranges else {}
    # A file of which only these parts are known; any other read raises ValueError.
    known = AbstractBufferedFile(None, "", size=size, cache_type="parts", cache_options={"data": parts, "strict": True})
    try:
        # With pre_buffer, pyarrow would merge ranges, and read what lies between them.
        return pq.ParquetFile(known, metadata=footer, pre_buffer=False).read(list(columns))
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise SidecarError(str(exc)) from exc


def _footer_length(end: bytes) -> int:
    """The length of the footer, by the bytes that end the file."""
    return int.from_bytes(end[-_LENGTH_AND_MAGIC:-4], "little") + _LENGTH_AND_MAGIC


def _ranges_of(footer: pq.FileMetaData, columns: set[str]) -> list[Range]:
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    numbers = [number for number in range(footer.num_columns) if footer.schema.column(number).path in columns]
    found = []
    for group in groups:
        for chunk in (group.column(number) for number in numbers):
            offsets = [chunk.data_page_offset, chunk.dictionary_page_offset]
            start = min(offset for offset in offsets if offset is not None)
            found.append((start, start + chunk.total_compressed_size))
    return sorted(found)
