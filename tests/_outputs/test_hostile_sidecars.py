"""Sidecars that an attacker made: each is refused before it takes time or memory, and a real one is read."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idfkit_fs import RunResult, open_result
from idfkit_fs._outputs import parquet
from idfkit_fs._outputs.database import Cell
from idfkit_fs._outputs.parquet import footer_sha256, packed_end, read_whole, unpacked_end
from idfkit_fs._outputs.series import Environment, Series, headed
from idfkit_fs._outputs.sidecars import TABULAR, Contents, cells_table, column_digests, series_field, when_digests
from idfkit_fs._outputs.thrift import Reader
from idfkit_fs._util.files import digest_of
from idfkit_fs.errors import SidecarError
from idfkit_fs.runs import data
from idfkit_fs.runs.record import RecordedFile, RunRecord

HOURLY = "timeseries-hourly.parquet"
SHA = "0" * 64
SERIES = headed([Series(f"Variable {number}", "OFFICE", "C", "hourly") for number in range(2)])
CONTENTS = Contents(SHA, (Environment("RUN PERIOD 1", sizing=False),), (HOURLY,), has_cells=True)


def published(directory: Path, name: str = HOURLY, **fields: Any) -> RunResult:
    """A run whose record knows the sidecar in a directory as it is, as its maker would have it."""
    size, sha256 = digest_of(directory / name)
    entries = (RecordedFile(name=name, size=size, sha256=sha256),)
    try:
        footers = {name: footer_sha256(directory / name)}
    except OSError:  # its length leads out of the file
        footers = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest()}
    facts = {"files": entries, "sidecar_footers": footers, "sql_sha256": SHA, **fields}
    record = RunRecord(success=True, exit_code=0, runtime_seconds=1, **facts)
    (directory / "run.json").write_bytes(record.to_json())
    return open_result(directory)


def write(
    path: Path,
    rows: int = 24,
    name: str = "RUN PERIOD 1",
    contents: dict[bytes, bytes] | None = None,
    change: Callable[[pa.Table], pa.Table] = lambda table: table,
    **options: Any,
) -> None:
    """Write a sidecar as the package does, with digests that fit, but for what is changed."""
    times = np.arange(rows).astype("datetime64[h]").astype("datetime64[us]")
    values = [np.zeros(rows)] * len(SERIES)
    names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([name]))
    schema = [
        *map(series_field, SERIES),
        pa.field("time", pa.timestamp("us")),
        pa.field("environment", names.type),
    ]
    table = change(pa.table([*map(pa.array, values), pa.array(times), names], schema=pa.schema(schema)))
    when = when_digests(times, np.full(rows if len(name) < 100 else 0, name, object))
    metadata = contents or Contents(**{**vars(CONTENTS), "digests": (*when, *column_digests(values))}).to_metadata()
    encoding = {"time": "DELTA_BINARY_PACKED", **{each.column: "BYTE_STREAM_SPLIT" for each in SERIES}}
    chosen = {"column_encoding": {each: encoding[each] for each in encoding if each in table.column_names}}
    options = {"use_dictionary": ["environment"], "compression": "zstd", "write_statistics": False, **chosen, **options}
    with pq.ParquetWriter(path, table.schema, **options) as writer:
        writer.write_table(table, row_group_size=max(rows, 1))
        writer.add_key_value_metadata(metadata)


def test_the_honest_one_is_read(tmp_path: Path) -> None:
    write(tmp_path / HOURLY, rows=8760)
    frame = published(tmp_path).timeseries("*")
    assert frame.shape == (8760, 2) and not frame.to_numpy().any()


# --- footers, taken apart and put together ------------------------------------------------------------------------------

Fields = dict[int, tuple[int, bytes]]


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def number(value: int) -> bytes:
    return varint(value << 1)


def fields(data: bytes) -> Fields:
    reader, found, field = Reader(data), {}, 0
    while head := reader._byte():
        field, start = field + (head >> 4), reader.position
        reader._value(head & 15, 0)
        found[field] = (head & 15, data[start : reader.position])
    return found


def joined(parts: Fields) -> bytes:
    data, last = b"", 0
    for field, (kind, raw) in sorted(parts.items()):
        data, last = data + bytes([(field - last) << 4 | kind]) + raw, field
    return data + b"\0"


def structures(raw: bytes) -> list[bytes]:
    """The structures in a list."""
    reader = Reader(raw, 1 if raw[0] >> 4 < 15 else 2)
    found = []
    while reader.position < len(raw):
        start = reader.position
        reader.structure()
        found.append(raw[start : reader.position])
    return found


def listed(parts: Iterable[bytes]) -> bytes:
    parts = list(parts)
    return b"\xfc" + varint(len(parts)) + b"".join(parts)


def footer_of(path: Path) -> tuple[bytes, Fields]:
    data = path.read_bytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return data[:start], fields(data[start:-8])


def with_footer(path: Path, data: bytes, footer: Fields) -> None:
    raw = joined(footer)
    path.write_bytes(data + raw + len(raw).to_bytes(4, "little") + b"PAR1")


def change_group(footer: Fields, rows: int, **chunk: int) -> bytes:
    """The first row group, with another number of rows in it and in its columns."""
    group = fields(structures(footer[4][1])[0])
    columns = []
    for column in map(fields, structures(group[1][1])):
        meta = fields(column[3][1])
        meta[5] = (6, number(rows))
        meta |= {field: (6, number(value)) for field, value in zip((9, 7), chunk.values(), strict=False)}
        column[3] = (12, joined(meta))
        columns.append(joined(column))
    group[1], group[3] = (9, listed(columns)), (6, number(rows))
    return joined(group)


def many_rows(footer: Fields) -> None:
    footer[3], footer[4] = (6, number(4 * 10**9)), (9, listed([change_group(footer, 4 * 10**9)]))


def more_rows_than_pages(footer: Fields) -> None:
    footer[3], footer[4] = (6, number(25)), (9, listed([change_group(footer, 25)]))


def rows_of_groups_differ(footer: Fields) -> None:
    footer[3] = (6, number(23))


def the_same_group_often(footer: Fields) -> None:
    footer[3], footer[4] = (6, number(24 * 500)), (9, listed(structures(footer[4][1]) * 500))


def a_column_beyond_the_end(footer: Fields) -> None:
    footer[4] = (9, listed([change_group(footer, 24, start=2**40, size=100)]))


def a_column_of_the_whole_file(footer: Fields) -> None:
    footer[4] = (9, listed([change_group(footer, 24, start=4, size=400)]))


def a_string_of_two_gigabytes(footer: Fields) -> None:
    footer[6] = (8, varint(2**31 - 1) + b"abc")


def a_list_of_a_billion(footer: Fields) -> None:
    footer[4] = (9, b"\xfc" + varint(10**9) + footer[4][1][1:])


def a_million_groups(footer: Fields) -> None:
    empty = joined({1: (9, listed([b"\x26\x00\x00"] * 4)), 2: (6, b"\0"), 3: (6, b"\0")})
    footer[4] = (9, listed([empty] * 100_000))


FOOTERS: dict[Callable[[Fields], None], str] = {
    many_rows: "promises 4,000,000,000 rows",
    more_rows_than_pages: "its pages have other rows than its footer says",
    rows_of_groups_differ: "promises 23 rows",
    the_same_group_often: "share their bytes",
    a_column_beyond_the_end: "share their bytes|outside of the file",
    a_column_of_the_whole_file: "share their bytes",
    a_string_of_two_gigabytes: "thrift|Thrift",
    a_list_of_a_billion: "thrift|Thrift",
    a_million_groups: "too many entries",
}


@pytest.mark.parametrize("change", FOOTERS, ids=lambda change: change.__name__)
def test_a_footer_that_promises_too_much_is_refused(tmp_path: Path, change: Callable[[Fields], None]) -> None:
    path = tmp_path / HOURLY
    write(path)
    data, footer = footer_of(path)
    change(footer)
    with_footer(path, data, footer)
    before = pa.total_allocated_bytes()
    with pytest.raises(SidecarError, match=f"{HOURLY} cannot be used: .*({FOOTERS[change]})"):
        published(tmp_path).timeseries("*")
    assert pa.total_allocated_bytes() - before < 2**20


@pytest.mark.parametrize("length", [2**30, 2**32 - 9, 10_000_000, 0])
def test_a_footer_of_an_impossible_length_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / HOURLY
    write(path)
    path.write_bytes(path.read_bytes()[:-8] + length.to_bytes(4, "little") + b"PAR1")
    with pytest.raises(SidecarError, match=f"{HOURLY} cannot be used"):
        published(tmp_path).timeseries("*")


def test_a_page_that_claims_two_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / HOURLY
    write(path)
    data, footer = footer_of(path)
    group = fields(structures(footer[4][1])[0])
    columns = structures(group[1][1])
    column = fields(columns[-1])
    meta = fields(column[3][1])
    start = Reader(b"\x16" + meta[9][1] + b"\0").structure()[1]
    reader = Reader(data, start)
    reader.structure()
    header = fields(data[start : reader.position])
    header[2] = (5, number(2**31 - 1))
    swollen = joined(header)
    grown = len(swollen) - (reader.position - start)
    meta[7] = (6, number(Reader(b"\x16" + meta[7][1] + b"\0").structure()[1] + grown))
    column[3] = (12, joined(meta))
    group[1] = (9, listed([*columns[:-1], joined(column)]))
    footer[4] = (9, listed([joined(group)]))
    with_footer(path, data[:start] + swollen + data[reader.position :], footer)
    with pytest.raises(SidecarError, match="would become more than"):
        published(tmp_path).timeseries("*")


def test_a_small_file_of_many_equal_values_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "DECODED_BYTES", 2**26)  # so that the test need not fill much memory
    write(tmp_path / HOURLY, rows=7_000_000)
    assert (tmp_path / HOURLY).stat().st_size < 2**18
    result = published(tmp_path)
    with pytest.raises(SidecarError, match="would become more than"):
        result.timeseries("*")


def test_a_long_name_in_many_rows_is_refused(tmp_path: Path) -> None:
    write(tmp_path / HOURLY, rows=8760, name="x" * 2**20)
    with pytest.raises(SidecarError, match="its texts would take 9,185,525,760 bytes"):
        published(tmp_path).timeseries("*")


def renamed(table: pa.Table) -> pa.Table:
    return table.rename_columns(["a", "a", "time", "environment"])


def as_texts(table: pa.Table) -> pa.Table:
    return table.set_column(0, table.schema.field(0).with_type(pa.string()), pa.array(["x"] * len(table)))


def nested_values(table: pa.Table) -> pa.Table:
    return table.set_column(0, SERIES[0].column, pa.array([[1.0]] * len(table)))


@pytest.mark.parametrize(
    "change",
    [
        renamed,
        as_texts,
        nested_values,
        lambda table: table.drop_columns(["time"]),
        lambda table: table.drop_columns(["environment"]),
        lambda table: table.select([0, 1, 3, 2]),
        lambda table: table.set_column(2, "time", table["time"].cast(pa.timestamp("ns"))),
        lambda table: table.set_column(2, "time", table["time"].cast(pa.timestamp("us", "UTC"))),
        lambda table: table.set_column(3, "environment", table["environment"].cast(pa.string())),
    ],
    ids=["same_name", "texts", "nested", "no_time", "no_environment", "order", "ns", "zone", "plain"],
)
def test_other_columns_are_refused(tmp_path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    write(tmp_path / HOURLY, change=change, column_encoding=None, use_dictionary=False)
    with pytest.raises(SidecarError, match="columns"):
        published(tmp_path).timeseries("*")


@pytest.mark.parametrize(
    "content",
    [
        "[" * 900 + "]" * 900,
        '{"version": 1, "a": ' + "[" * 100_000,
        "[]",
        json.dumps({"version": 1, **vars(CONTENTS), "environments": [[1, False]]}),
        json.dumps({"version": 1, **vars(CONTENTS), "environments": ["ab"]}),
        json.dumps({"version": 1, **vars(CONTENTS), "environments": [["a", False, 1]]}),
        json.dumps({"version": 1, **vars(CONTENTS), "sidecars": [[HOURLY]]}),
        json.dumps({"version": 1, **vars(CONTENTS), "digests": [{}]}),
        json.dumps({"version": 1, **vars(CONTENTS), "has_cells": "yes"}),
    ],
    ids=range(9),
)
def test_other_metadata_are_refused(tmp_path: Path, content: str) -> None:
    write(tmp_path / HOURLY, contents={b"idfkit_fs": content.encode()})
    with pytest.raises(SidecarError, match=r"not made from the run's \.sql file"):
        published(tmp_path).timeseries("*")


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (lambda: "x", "damaged"),
        (lambda: base64.b64encode(b"x" * 100).decode(), "damaged"),
        (lambda: packed(b"x" * 1000)[:-8], "cut"),
        (lambda: packed(bytes(2**26)), "too long"),
        (lambda: packed(b""), "its footer differs"),
        (lambda: packed(b"PAR1"), "its footer differs"),
        (lambda: packed(bytes(100) + b"PAR1"), "its footer differs"),
    ],
    ids=range(7),
)
def test_an_end_in_the_record_that_is_none_is_refused(tmp_path: Path, end: Callable[[], str], why: str) -> None:
    write(tmp_path / HOURLY)
    with pytest.raises(SidecarError, match=f"{HOURLY} cannot be used: .*{why}"):
        published(tmp_path, sidecar_ends={HOURLY: end()}).timeseries("*")


def test_an_end_in_the_record_is_only_believed_as_far_as_it_fits(tmp_path: Path) -> None:
    write(tmp_path / HOURLY)
    honest = unpacked_end(packed_end(tmp_path / HOURLY, ("time", "environment")))
    assert (tmp_path / HOURLY).read_bytes().endswith(honest)
    # One that is shorter or longer than it need be says nothing wrong.
    for end in (honest, honest[1:], b"x" + honest, bytes(2**19) + honest):
        assert published(tmp_path, sidecar_ends={HOURLY: packed(end)}).timeseries("*").shape == (24, 2)
    footer = len(honest) - 8 - int.from_bytes(honest[-8:-4], "little")
    for end in (bytes(footer) + honest[footer:], honest[:footer][::-1] + honest[footer:]):
        data._recent_times.clear()  # else they are not read again
        with pytest.raises(SidecarError, match=f"{HOURLY} cannot be used"):
            published(tmp_path, sidecar_ends={HOURLY: packed(end)}).timeseries("*")


def test_missing_digests_are_refused(tmp_path: Path) -> None:
    write(tmp_path / HOURLY, contents=CONTENTS.to_metadata())
    with pytest.raises(SidecarError, match="its values differ"):
        published(tmp_path).timeseries("*")


# --- tabular reports ----------------------------------------------------------------------------------------------------


def write_cells(path: Path, cells: list[Cell], **options: Any) -> None:
    table = cells_table(cells).replace_schema_metadata(CONTENTS.to_metadata())
    pq.write_table(table, path, compression="zstd", **options)


def cell(value: str = "1.5") -> Cell:
    return Cell("Report", "Entire Facility", "End Uses", "Heating", "Gas", "GJ", value)


def test_honest_cells_are_read(tmp_path: Path) -> None:
    write_cells(tmp_path / TABULAR, [cell(), cell("é"), cell("")])
    assert published(tmp_path, TABULAR).tabular()["value"].tolist() == ["1.5", "é", ""]


def test_a_long_text_in_many_cells_is_refused(tmp_path: Path) -> None:
    table = cells_table([cell()] * 1000).replace_schema_metadata(CONTENTS.to_metadata())
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["x" * 2**20]))
    pq.write_table(table.set_column(6, "value", long), tmp_path / TABULAR, compression="zstd")
    assert (tmp_path / TABULAR).stat().st_size < 100_000
    with pytest.raises(SidecarError, match="its texts would take 1,04"):
        published(tmp_path, TABULAR).tabular()


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_texts_that_grow_from_row_to_row_are_refused(tmp_path: Path, encoding: str) -> None:
    write_cells(tmp_path / TABULAR, [cell("x" * 100)] * 100, use_dictionary=False, column_encoding={"value": encoding})
    with pytest.raises(SidecarError, match="of no kind that idfkit-fs writes"):
        published(tmp_path, TABULAR).tabular()


def test_cells_of_no_unicode_and_other_columns_are_refused(tmp_path: Path) -> None:
    table = cells_table([cell()]).replace_schema_metadata(CONTENTS.to_metadata())
    bad = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"], pa.binary()).buffers())
    for changed in (table.set_column(6, "value", bad), table.drop_columns(["units"]), table.append_column("x", bad)):
        pq.write_table(changed, tmp_path / TABULAR)
        with pytest.raises(SidecarError, match=f"{TABULAR} cannot be used"):
            published(tmp_path, TABULAR).tabular()


def test_a_large_file_of_cells_is_not_even_read(tmp_path: Path) -> None:
    with (tmp_path / TABULAR).open("wb") as file:
        file.truncate(10**9)
    record = RunRecord(
        success=True,
        exit_code=0,
        runtime_seconds=1,
        files=(RecordedFile(name=TABULAR, size=10**9, sha256=SHA),),
        sql_sha256=SHA,
    )
    (tmp_path / "run.json").write_bytes(record.to_json())
    with pytest.raises(SidecarError, match="larger than 67,108,864 bytes"):
        open_result(tmp_path).tabular()


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_any_bytes_are_a_table_or_an_error(data: bytes, length: int) -> None:
    with pytest.raises(SidecarError):
        read_whole(b"PAR1" + data + length.to_bytes(4, "little") + b"PAR1")


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_thrift_or_a_value_error(data: bytes) -> None:
    reader = Reader(data)
    try:
        reader.structure()
    except ValueError:
        return
    assert reader.position <= len(data) or data
