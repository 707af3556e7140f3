"""Read some columns of a Parquet file, and nothing else of it. What fetches its bytes is the caller's."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fsspec.utils import merge_offset_ranges

from idfkit_fs.errors import SidecarError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["Fetch", "Range", "read_columns", "read_footer"]

Range = tuple[int, int]
Fetch = Callable[[Sequence[Range]], list[bytes]]
"""Gives the bytes of ranges of a file, each from its first byte to before its last."""

_MIB = 2**20
# A footer takes about 700 bytes for each series, and a series of a year of hours some 60 kB.
_LEAST_TAIL, _MOST_TAIL, _SHARE_OF_TAIL = _MIB // 16, _MIB, 64
_LENGTH_AND_MAGIC = 8
# Between two columns that are fetched in one request; and how much one request fetches.
_GAP, _BLOCK = _MIB // 16, 8 * _MIB


def read_footer(size: int, fetch: Fetch) -> pq.ParquetFile:
    """Read what a file says of itself: in one request, or two if that is more than was expected.

    Args:
        size: The file's size in bytes.
        fetch: What fetches its bytes.

    Returns:
        The file, of which only schema and metadata are here.

    Raises:
        SidecarError: If it is no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    start = max(0, size - min(max(_LEAST_TAIL, size // _SHARE_OF_TAIL), _MOST_TAIL))
    tail = fetch([(start, size)])[0]
    if len(tail) < size - start:
        raise SidecarError("it is shorter than it should be")
    length = int.from_bytes(tail[-_LENGTH_AND_MAGIC:-4], "little") + _LENGTH_AND_MAGIC
    if length > len(tail) and length <= size:
        tail = fetch([(size - length, start)])[0] + tail
    try:
        return pq.ParquetFile(_Parts(size, {size - len(tail): tail}))
    except (pa.ArrowException, OSError) as exc:
        raise SidecarError(str(exc)) from exc


def read_columns(size: int, fetch: Fetch, footer: pq.ParquetFile, columns: Sequence[str]) -> pa.Table:
    """Read columns, in requests side by side.

    Args:
        size: The file's size in bytes.
        fetch: What fetches its bytes.
        footer: What [read_footer][idfkit_fs._outputs.parquet.read_footer] gave.
        columns: Names of columns.

    Returns:
        A table of the columns.

    Raises:
        SidecarError: If the bytes are not those of the columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = _ranges_of(footer.metadata, {*columns})
    _, starts, stops = merge_offset_ranges(
        [""] * len(wanted), *map(list, zip(*wanted, strict=True)), max_gap=_GAP, max_block=_BLOCK
    )
    ranges = list(zip(starts, stops, strict=True))
    parts = dict(zip(starts, fetch(ranges), strict=True)) if ranges else {}
    try:
        # Buffering would join ranges, and read what lies between them.
        file = pq.ParquetFile(_Parts(size, parts), metadata=footer.metadata, pre_buffer=False)
        return file.read(list(columns))
    except (pa.ArrowException, OSError) as exc:
        raise SidecarError(str(exc)) from exc


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


class _Parts(io.RawIOBase):
    """A file of which only some parts are here."""

    def __init__(self, size: int, parts: dict[int, bytes]) -> None:
        super().__init__()
        self._size = size
        self._parts = parts
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        filled = 0
        while filled < len(buffer) and (piece := self._at(self._position, len(buffer) - filled)):
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
            self._position += len(piece)
        return filled

    def _at(self, position: int, length: int) -> bytes:
        for start, data in self._parts.items():
            if start <= position < start + len(data):
                return data[position - start : position - start + length]
        return b""
