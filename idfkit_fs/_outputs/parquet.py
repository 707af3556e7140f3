"""Read some columns of a Parquet file, and nothing else of it. The caller supplies the function that fetches bytes."""

from __future__ import annotations

import base64
import bisect
import hashlib
import itertools
import os
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fsspec.spec import AbstractBufferedFile
from fsspec.utils import merge_offset_ranges

from idfkit_fs._outputs.thrift import Reader
from idfkit_fs._util.bounds import (
    DECODED_BYTES,
    DECODED_RATIO,
    FOOTER_BYTES,
    FOOTER_PER_STRUCTURE,
    FOOTER_UNCHECKED,
    ROWS,
)
from idfkit_fs.errors import SidecarError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = [
    "Fetch",
    "Range",
    "arrow_schema",
    "compressed_size",
    "decoded",
    "footer_of",
    "footer_sha256",
    "packed_end",
    "read_columns",
    "read_end",
    "read_metadata",
    "read_whole",
    "start_of",
    "unpacked_end",
    "with_end",
]

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
# Of Parquet's format: the field of a page's header that describes a page of values, and one of a dictionary; and the
# encodings that we write, of which none makes much of little.
_PAGES = {0: 5, 2: 7}
_ENCODINGS = frozenset({0, 2, 3, 5, 8, 9})


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


def read_end(size: int, fetch: Fetch) -> bytes:
    """Read the end of a file, with its footer: in one request, or in two if the footer is longer than expected.

    Args:
        size: The file's size in bytes.
        fetch: Fetches ranges of the file.

    Raises:
        SidecarError: If the footer is too long.
    """
    start = max(0, size - min(max(_LEAST_TAIL, size // _SHARE_OF_TAIL), _MOST_TAIL))
    end = fetch([(start, size)])[0]
    length = _footer_length(end)
    if FOOTER_BYTES < length <= size:
        raise SidecarError(f"its footer of {length:,} bytes is longer than {FOOTER_BYTES:,}")
    if len(end) < length <= size:
        end = fetch([(size - length, start)])[0] + end
    return end


def footer_of(end: bytes, sha256: str) -> pq.FileMetaData:
    """The footer of a file: its schema and metadata.

    Args:
        end: The end of the file.
        sha256: The hash that [footer_sha256][idfkit_fs._outputs.parquet.footer_sha256] gave for the file.

    Raises:
        SidecarError: If the footer has another hash, or is invalid.
    """
    footer = end[-_footer_length(end) :]
    if hashlib.sha256(footer).hexdigest() != sha256:
        raise SidecarError("its footer differs from the run's record")
    return _parsed(footer)


def start_of(footer: pq.FileMetaData, columns: Collection[str]) -> int:
    """Where the last row group has the first byte of some columns; 0 if it has none of them.

    Raises:
        SidecarError: If the footer contradicts itself.
    """
    return min((chunk.start for chunk in _chunks_of(footer, {*columns})[-len(columns) :]), default=0)


def packed_end(local: Path, columns: Collection[str]) -> str:
    """The end of a file, from the first byte of its last columns on, as a short text.

    Args:
        local: The local file.
        columns: Names of its last columns.
    """
    import pyarrow.parquet as pq

    with local.open("rb") as file:
        file.seek(start_of(pq.read_metadata(local), columns))
        return base64.b64encode(zlib.compress(file.read())).decode()


def unpacked_end(text: str) -> bytes:
    """The end of a file, from what [packed_end][idfkit_fs._outputs.parquet.packed_end] gave.

    Raises:
        SidecarError: If it is something else, or too long.
    """
    unpacker = zlib.decompressobj()
    try:
        end = unpacker.decompress(base64.b64decode(text, validate=True), FOOTER_UNCHECKED)
    except (ValueError, zlib.error) as exc:
        raise SidecarError(f"its end in the run's record is damaged: {exc}") from exc
    if not unpacker.eof:
        raise SidecarError("its end in the run's record is cut, or too long")
    return end


def with_end(fetch: Fetch, size: int, end: bytes) -> Fetch:
    """What fetches ranges of a file whose end is here already.

    Args:
        fetch: Fetches ranges of the file.
        size: The file's size in bytes.
        end: Its last bytes.
    """
    start = size - len(end)

    def fetch_others(ranges: Sequence[Range]) -> list[bytes]:
        others = [(first, min(stop, start)) for first, stop in ranges if first < start]
        fetched = iter(fetch(others) if others else ())
        return [
            (next(fetched) if first < start else b"") + end[max(first - start, 0) : max(stop - start, 0)]
            for first, stop in ranges
        ]

    return fetch_others


def arrow_schema(footer: pq.FileMetaData) -> pa.Schema:
    """The columns as Arrow reads them.

    Raises:
        SidecarError: If the footer describes no such columns.
    """
    import pyarrow as pa

    try:
        return footer.schema.to_arrow_schema()
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise SidecarError(str(exc)) from exc


def read_columns(size: int, fetch: Fetch, footer: pq.FileMetaData, columns: Sequence[str]) -> pa.Table:
    """Read columns, with requests in parallel.

    Args:
        size: The file's size in bytes.
        fetch: Fetches ranges of the file.
        footer: What [footer_of][idfkit_fs._outputs.parquet.footer_of] returned.
        columns: Names of columns.

    Returns:
        A table of the columns.

    Raises:
        SidecarError: If the bytes are not those of the columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    chunks = _chunks_of(footer, {*columns})
    wanted = sorted((chunk.start, chunk.stop) for chunk in chunks)
    _, starts, stops = merge_offset_ranges(
        [""] * len(wanted), *map(list, zip(*wanted, strict=True)), max_gap=_GAP, max_block=_BLOCK
    )
    ranges = list(zip(starts, stops, strict=True))
    parts = dict(zip(ranges, fetch(ranges), strict=True)) if ranges else {}
    _check_chunks(chunks, size, parts)
    # A file of which only these parts are known; any other read raises ValueError.
    known = AbstractBufferedFile(None, "", size=size, cache_type="parts", cache_options={"data": parts, "strict": True})
    try:
        # With pre_buffer, pyarrow would merge ranges, and read what lies between them.
        table = pq.ParquetFile(known, metadata=footer, pre_buffer=False).read(list(columns))
        _check_texts(table, _most_decoded(size))
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise SidecarError(str(exc)) from exc
    if table.num_rows != footer.num_rows:
        raise SidecarError("its pages have other rows than its footer says")
    return table


def compressed_size(footer: pq.FileMetaData, columns: Sequence[str]) -> int:
    """How many bytes columns take in a file."""
    return sum(chunk.stop - chunk.start for chunk in _chunks_of(footer, {*columns}))


def read_whole(data: bytes) -> pa.Table:
    """Read a whole file of texts and numbers.

    Args:
        data: The file.

    Returns:
        A table, with the file's metadata; its texts are dictionaries.

    Raises:
        SidecarError: If it is not a Parquet file, or promises more than it can hold.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    footer = _footer_of(data)
    names = [footer.schema.column(number).path for number in range(footer.num_columns)]
    chunks = _chunks_of(footer, {*names})
    _check_chunks(chunks, len(data), {(0, len(data)): data})
    texts = [chunk.name for chunk in chunks if chunk.is_text]
    try:
        # As dictionaries, because a text that is stored once may be in millions of rows.
        file = pq.ParquetFile(pa.BufferReader(data), metadata=footer, read_dictionary=texts)
        table = file.read(use_threads=False)  # it is small, and many are read in parallel
        _check_texts(table, _most_decoded(len(data)))
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise SidecarError(str(exc)) from exc
    return table


def decoded(table: pa.Table) -> pa.Table:
    """A table with texts instead of dictionaries: it takes more memory, and equal texts have equal bytes."""
    import pyarrow as pa

    kinds = (pa.string() if pa.types.is_dictionary(field.type) else field.type for field in table.schema)
    fields = [field.with_type(kind) for field, kind in zip(table.schema, kinds, strict=True)]
    return table.cast(pa.schema(fields, table.schema.metadata))


def read_metadata(data: bytes) -> dict[bytes, bytes]:
    """The metadata that a whole file has of its writer; no value is read.

    Raises:
        SidecarError: If it is not a Parquet file.
    """
    return _footer_of(data).metadata or {}


def _footer_of(data: bytes) -> pq.FileMetaData:
    length = _footer_length(data)
    if length > len(data):
        raise SidecarError("its footer is longer than the file")
    return _parsed(data[-length:])


def _footer_length(end: bytes) -> int:
    """The length of the footer, by the bytes that end the file."""
    return int.from_bytes(end[-_LENGTH_AND_MAGIC:-4], "little") + _LENGTH_AND_MAGIC


def _parsed(footer: bytes) -> pq.FileMetaData:
    """Parse a footer that another user may have written, and check what it promises.

    Raises:
        SidecarError: If it is invalid, or contradicts itself.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if len(footer) > FOOTER_UNCHECKED:
            reader = Reader(footer)
            reader.structure()
            if reader.structures * FOOTER_PER_STRUCTURE > len(footer):
                raise SidecarError("its footer has too many entries")
        parsed = pq.ParquetFile(pa.BufferReader(footer), thrift_string_size_limit=FOOTER_BYTES).metadata
        schema = parsed.schema
        columns = [schema.column(number) for number in range(parsed.num_columns)]
        rows = [parsed.row_group(number).num_rows for number in range(parsed.num_row_groups)]
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise SidecarError(str(exc)) from exc
    if len({column.path for column in columns}) < len(columns):
        raise SidecarError("it has two columns of the same name")
    if any(column.max_repetition_level or column.max_definition_level > 1 for column in columns):
        raise SidecarError("its columns are nested")
    if parsed.num_rows > ROWS or min(rows, default=0) < 0 or sum(rows) != parsed.num_rows:
        raise SidecarError(f"its footer promises {parsed.num_rows:,} rows; at most {ROWS:,} are read")
    return parsed


class _Chunk(NamedTuple):
    """A column of a row group, as the footer describes it."""

    name: str
    start: int
    stop: int
    rows: int
    is_text: bool


def _chunks_of(footer: pq.FileMetaData, columns: set[str]) -> list[_Chunk]:
    numbers = [number for number in range(footer.num_columns) if footer.schema.column(number).path in columns]
    found = []
    for group in (footer.row_group(number) for number in range(footer.num_row_groups)):
        for chunk in (group.column(number) for number in numbers):
            offsets = [chunk.data_page_offset, chunk.dictionary_page_offset]
            start = min(filter(None, offsets), default=-1)  # 0 means no page too
            if chunk.num_values != group.num_rows or chunk.file_path:
                raise SidecarError("the columns in its footer have different numbers of rows")
            stop = start + chunk.total_compressed_size
            is_text = chunk.physical_type == "BYTE_ARRAY"
            found.append(_Chunk(chunk.path_in_schema, start, stop, group.num_rows, is_text))
    return found


def _check_chunks(chunks: Sequence[_Chunk], size: int, parts: Mapping[Range, bytes]) -> None:
    """Check that the pages have what the footer says, and decode to no more than a file of this size can hold.

    Raises:
        SidecarError: If they do not.
    """
    decoded, starts = 0, sorted(parts)
    ordered = sorted(chunks, key=lambda chunk: chunk.start)
    if any(before.stop > after.start for before, after in itertools.pairwise(ordered)):
        raise SidecarError("two columns of it share their bytes")
    for chunk in chunks:
        first, stop = starts[bisect.bisect_right(starts, (chunk.start, size)) - 1]
        if not first <= chunk.start <= chunk.stop <= stop:
            raise SidecarError("a column lies outside of the file")
        try:
            decoded += 8 * chunk.rows + _decoded_size(parts[first, stop], chunk, first)
        except ValueError as exc:
            raise SidecarError(str(exc)) from exc
        if decoded > _most_decoded(size):
            raise SidecarError(f"its {size:,} bytes would become more than {_most_decoded(size):,} in memory")


def _decoded_size(data: bytes, chunk: _Chunk, first: int) -> int:
    """The size of a column's pages without compression, by their headers.

    Raises:
        ValueError: If they are not those of such a column.
    """
    position, stop, rows, decoded = chunk.start - first, chunk.stop - first, 0, 0
    while position < stop:
        reader = Reader(data, position)
        header = reader.structure()
        kind, plain, packed = (header.get(field, -1) for field in (1, 2, 3))
        page = header.get(_PAGES.get(kind, 0), {})
        values, encoding = page.get(1, -1), page.get(2, -1)
        if min(plain, packed, values) < 0 or encoding not in _ENCODINGS:
            raise ValueError("a page is of no kind that idfkit-fs writes")
        rows += values if kind == 0 else 0
        decoded += plain
        position = reader.position + packed
    if (position, rows) != (stop, chunk.rows):
        raise ValueError("its pages have other rows than its footer says")
    return decoded


def _most_decoded(size: int) -> int:
    return DECODED_BYTES + DECODED_RATIO * size


def _check_texts(table: pa.Table, most: int) -> None:
    """Check texts that are stored once, and are in many rows.

    Raises:
        SidecarError: If all texts together are larger than *most*.
        pyarrow.ArrowException: If they are invalid.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    chunks = [chunk for column in table.columns if pa.types.is_dictionary(column.type) for chunk in column.chunks]
    lengths = [pc.cast(pc.binary_length(chunk.dictionary), pa.int64()) for chunk in chunks]
    for chunk in chunks:
        chunk.validate(full=True)
    total = sum(len(chunk) * (pc.max(each).as_py() or 0) for chunk, each in zip(chunks, lengths, strict=True))
    if total > most:  # if each row had the longest one
        pairs = zip(chunks, lengths, strict=True)
        total = sum(pc.sum(pc.take(each, chunk.indices)).as_py() or 0 for chunk, each in pairs)
    if total > most:
        raise SidecarError(f"its texts would take {total:,} bytes in memory")
