"""Write the Parquet sidecars of a run: copies of its tables and series, so that one series is read without the others.

EnergyPlus interleaves all series by time, so one series touches nearly every page of the database. In a sidecar it is
a few adjacent bytes, and every Parquet reader can read it.

- ``tabular.parquet``: all tabular reports, one row per cell.
- ``timeseries-<frequency>.parquet``: the run periods, one column per series; ``sizing-<frequency>.parquet``: the same
  for the design days and other sizing periods.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from idfkit_fs._outputs.database import Cell, Database
from idfkit_fs._outputs.parquet import footer_sha256
from idfkit_fs._outputs.series import FREQUENCIES, Environment, Series
from idfkit_fs._outputs.sqlite_file import decode
from idfkit_fs._util.versioned_json import parse_json
from idfkit_fs.errors import SidecarError, UnreadableDatabaseError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from idfkit_fs._outputs.clock import Timeline, Times

    _Table = tuple[Timeline, list[int]]

__all__ = [
    "ENVIRONMENT",
    "SIDECARS",
    "SIDECAR_PACKAGES",
    "TABULAR",
    "TIME",
    "Contents",
    "can_write",
    "cells_table",
    "check_cells",
    "column_digests",
    "series_field",
    "series_name",
    "series_of",
    "when_digests",
    "write_sidecars",
]

SIDECAR_PACKAGES = ("numpy", "pyarrow", "adbc_driver_sqlite")
"""The packages that writing sidecars needs."""

TABULAR = "tabular.parquet"
TIME, ENVIRONMENT = "time", "environment"
_KEY, _VERSION = b"idfkit_fs", 1
# How many values are in memory at the same time (128 MiB). Fewer make more row groups, and more requests per series.
_HELD = 2**24
_ZSTD_LEVEL = 3
# In bytes. No one can find other values with the same digest of this size; twice as many characters are in the footer.
_DIGEST_SIZE = 16


def series_name(frequency: str, sizing: bool = False) -> str:
    """The name of the sidecar with the series of a frequency."""
    return f"{'sizing' if sizing else 'timeseries'}-{frequency}.parquet"


SIDECARS = frozenset({TABULAR, *(series_name(name, sizing) for name in FREQUENCIES for sizing in (False, True))})
"""The names of all sidecars that a run may have."""


def can_write() -> bool:
    """Whether the packages that writing sidecars needs are installed."""
    return all(importlib.util.find_spec(package) for package in SIDECAR_PACKAGES)


@dataclass(frozen=True)
class Contents:
    """The metadata in a sidecar's footer.

    Attributes:
        sql_sha256: SHA-256 of the database that it was made from.
        environments: All periods that were simulated.
        sidecars: The names of all sidecars of series that the database has values for.
        has_cells: Whether the database was made for tabular reports; there may be none all the same.
        digests: The digest of each column's values: of the times, of the environments, then of each series; empty in
            ``tabular.parquet``. The run's record has the hash of the footer, so they prove each column that is read
            without the others.
    """

    sql_sha256: str
    environments: tuple[Environment, ...]
    sidecars: tuple[str, ...]
    has_cells: bool
    digests: tuple[str, ...] = ()

    def to_metadata(self) -> dict[bytes, bytes]:
        """Convert to the metadata of a Parquet file."""
        return {_KEY: json.dumps({"version": _VERSION, **vars(self)}).encode()}

    @classmethod
    def of(cls, metadata: dict[bytes, bytes] | None) -> Contents | None:
        """Read the metadata of a Parquet file; None if it is not a sidecar, or one of a newer version."""
        try:
            content = parse_json((metadata or {})[_KEY])
            if content["version"] != _VERSION:
                return None
            found = cls(
                content["sql_sha256"],
                tuple(Environment(*each) for each in content["environments"]),
                tuple(content["sidecars"]),
                content["has_cells"],
                tuple(content["digests"]),
            )
        except (KeyError, TypeError, ValueError):
            return None
        texts = (found.sql_sha256, *(each.name for each in found.environments), *found.sidecars, *found.digests)
        flags = (found.has_cells, *(each.sizing for each in found.environments))
        is_typed = all(isinstance(text, str) for text in texts) and all(isinstance(flag, bool) for flag in flags)
        return found if is_typed else None


def write_sidecars(
    sql: Path,
    sha256: str,
    directory: Path,
    wanted: Collection[str],
    done: Callable[[int], Any] = lambda _count: None,
) -> dict[str, str]:
    """Write the sidecars of a database.

    Args:
        sql: The database.
        sha256: Its SHA-256, in hexadecimal.
        directory: The directory to write to.
        wanted: The names of the sidecars to write; those of series that the database has no values for are skipped.
        done: Called with the number of values that were read since the last call.

    Returns:
        The names of the sidecars that were written, each with the SHA-256 of its footer for the run's record.

    Raises:
        UnreadableDatabaseError: If the database cannot be read, or a value would be lost: its time is unknown, its
            series has another value for the same time, or values are not in the order of time.
    """
    import pyarrow.parquet as pq

    database = Database(sql)
    tables = _tables(database)
    contents = Contents(sha256, database.environments, tuple(tables), database.has_cells)
    paths = []
    if TABULAR in wanted:
        table = cells_table(database.cells()).replace_schema_metadata(contents.to_metadata())
        pq.write_table(table, directory / TABULAR, compression="zstd", compression_level=_ZSTD_LEVEL)
        paths.append(directory / TABULAR)
    chosen = {directory / name: table for name, table in tables.items() if name in wanted}
    _write_series(database, chosen, contents, done)
    return {path.name: footer_sha256(path) for path in (*paths, *chosen)}


def cells_table(cells: Sequence[Cell]) -> pa.Table:
    """Cells as a table, with a column ``number`` for the values that are numbers."""
    import numpy as np
    import pyarrow as pa

    texts = list(zip(*cells, strict=True)) or [()] * len(Cell._fields)
    columns = {name: _few_texts(text) for name, text in zip(Cell._fields, texts, strict=True)}
    numbers = np.array([cell.number for cell in cells], dtype=float)
    return pa.table({**columns, "number": _array(pa.float64(), numbers)})


def check_cells(schema: pa.Schema) -> None:
    """Check that a table has the columns of cells_table(), with dictionaries of texts.

    Raises:
        SidecarError: If it has others.
    """
    import pyarrow as pa

    texts = [pa.dictionary(pa.int32(), pa.string())] * len(Cell._fields)
    if schema.names != [*Cell._fields, "number"] or schema.types != [*texts, pa.float64()]:
        raise SidecarError("its columns are other than a sidecar's")


# Not pyarrow.array(), which imports pandas: that takes each worker a second.


def _array(kind: pa.DataType, values: npt.NDArray[Any]) -> pa.Array:
    """An Arrow array of a type that has NumPy's memory layout; NaN and NaT become nulls."""
    import numpy as np
    import pyarrow as pa

    known = ~(np.isnan(values) if values.dtype.kind in "fM" else np.zeros(len(values), bool))
    nulls = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [nulls, pa.py_buffer(np.ascontiguousarray(values))])


def _texts(texts: Sequence[str]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(encoded), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])


def _few_texts(texts: Sequence[str]) -> pa.Array:
    """The same as _texts(), more quickly where texts recur."""
    import numpy as np
    import pyarrow as pa

    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    indexes = np.fromiter(map(numbers.__getitem__, texts), np.int32, len(texts))
    return pa.DictionaryArray.from_arrays(_array(pa.int32(), indexes), _texts(list(numbers))).cast(pa.string())


def when_digests(times: Times, environments: npt.NDArray[np.object_]) -> list[str]:
    """The digests of the columns of times and environments of a sidecar."""
    return [_hash(times.tobytes()).hexdigest(), _hash("\0".join(environments).encode()).hexdigest()]


def column_digests(columns: Iterable[npt.NDArray[np.float64]]) -> list[str]:
    """The digests of columns of series of a sidecar."""
    return [_hash(column.tobytes()).hexdigest() for column in columns]


def _hash(data: bytes = b"") -> Any:
    return hashlib.blake2b(data, digest_size=_DIGEST_SIZE)


def _tables(database: Database) -> dict[str, _Table]:
    """The sidecars of series that a database has values for, by name."""
    tables = {}
    for (frequency, sizing), timeline in database.timelines.items():
        chosen = [number for number, series in enumerate(database.series) if series.frequency == frequency]
        if chosen:
            tables[series_name(frequency, sizing)] = (timeline, chosen)
    return tables


def _write_series(
    database: Database, tables: Mapping[Path, _Table], contents: Contents, done: Callable[[int], Any]
) -> None:
    """Write sidecars of series in one pass over the database."""
    total = sum(len(timeline.times) * len(chosen) for timeline, chosen in tables.values())
    share = min(1.0, _HELD / max(total, 1))
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(_Writer(path, database, timeline, chosen, share))
            for path, (timeline, chosen) in tables.items()
        ]
        if writers:
            for times, numbers, values in database.values():
                for writer in writers:
                    writer.take(times, numbers, values)
                done(len(values))
        for writer in writers:
            writer.finish(contents)


class _Writer:
    """Writes one sidecar of series. It holds a window of the rows, and moves it forward as values arrive."""

    def __init__(self, path: Path, database: Database, timeline: Timeline, chosen: list[int], share: float) -> None:
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        self._database = database
        self._timeline = timeline
        self._column_of = np.full(len(database.series), -1)
        self._column_of[chosen] = np.arange(len(chosen))
        self._start = 0
        rows = min(len(timeline.times), int(len(timeline.times) * share) + 1)
        self._window = np.full((len(chosen), rows), np.nan)
        self._digests = [_hash() for _ in chosen]
        self._taken, self._written = (np.zeros(len(chosen), int) for _ in range(2))
        self._series = series = [database.series[number] for number in chosen]
        names = pa.dictionary(pa.int32(), pa.string())
        self._schema = pa.schema(
            # Times last, beside the footer.
            [*map(series_field, series), pa.field(TIME, pa.timestamp("us")), pa.field(ENVIRONMENT, names)]
        )
        self._file = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            compression_level=_ZSTD_LEVEL,
            use_dictionary=[ENVIRONMENT],
            column_encoding={TIME: "DELTA_BINARY_PACKED", **{each.column: "BYTE_STREAM_SPLIT" for each in series}},
            write_statistics=[TIME, ENVIRONMENT],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._file.close()

    def take(self, times: Any, numbers: Any, values: Any) -> None:
        """Add a batch of values; those of other sidecars are ignored."""
        import numpy as np

        columns = np.where(numbers >= 0, self._column_of[numbers], -1)
        rows = self._timeline.rows(times)
        mine = (columns >= 0) & (rows >= 0)
        columns, rows, values = columns[mine], rows[mine], values[mine]
        self._taken += np.bincount(columns, minlength=len(self._taken))
        while len(rows):
            if rows.min() < self._start:
                raise UnreadableDatabaseError(f"The values for {self._path.name} are not in the order of time")
            end = self._start + self._window.shape[1]
            now = rows < end
            self._window[columns[now], rows[now] - self._start] = values[now]
            columns, rows, values = columns[~now], rows[~now], values[~now]
            if len(rows):
                self._flush()

    def finish(self, contents: Contents) -> None:
        """Write the remaining rows, and the metadata for the footer; check that no value is lost."""
        while self._start < len(self._timeline.times):
            self._flush()
        for series, taken, written in zip(self._series, self._taken, self._written, strict=True):
            if taken != written:
                raise self._database.doubled(series)
        timeline = self._timeline
        when = when_digests(timeline.times, timeline.environment_names)
        digests = (*when, *(digest.hexdigest() for digest in self._digests))
        self._file.add_key_value_metadata(Contents(**{**vars(contents), "digests": digests}).to_metadata())

    def _flush(self) -> None:
        import numpy as np
        import pyarrow as pa

        timeline, start = self._timeline, self._start
        stop = min(start + self._window.shape[1], len(timeline.times))
        window = self._window[:, : stop - start]
        self._written += np.count_nonzero(~np.isnan(window), axis=1)
        for digest, values in zip(self._digests, window, strict=True):
            digest.update(values.tobytes())
        environments = pa.DictionaryArray.from_arrays(
            _array(pa.int32(), timeline.environments[start:stop]), _texts(timeline.names)
        )
        times = _array(pa.timestamp("us"), timeline.times[start:stop])
        columns = [*(_array(pa.float64(), values) for values in window), times, environments]
        self._file.write_table(pa.table(columns, schema=self._schema), row_group_size=stop - start)
        self._window.fill(np.nan)
        self._start = stop


def series_field(series: Series) -> pa.Field:
    """The column of a series, with the metadata that [series_of][idfkit_fs._outputs.sidecars.series_of] reads."""
    import pyarrow as pa

    metadata = {
        "variable": series.variable,
        "key": series.key,
        "units": series.units,
        "type": "mean" if series.averaged else "sum",
        "schedule": series.schedule,
        "meter": "yes" if series.is_meter else "",
    }
    return pa.field(series.column, pa.float64(), metadata={name: text for name, text in metadata.items() if text})


def series_of(schema: pa.Schema, frequency: str) -> list[Series]:
    """The series of a sidecar, in the order of its columns.

    Raises:
        SidecarError: If its columns are not those of a sidecar.
    """
    import pyarrow as pa

    names = pa.dictionary(pa.int32(), pa.string())
    types = [*[pa.float64()] * (len(schema) - 2), pa.timestamp("us"), names]
    if schema.names[-2:] != [TIME, ENVIRONMENT] or schema.types != types:
        raise SidecarError("its columns are of other types than a sidecar's")
    found = []
    for field in schema:
        metadata = {decode(name): decode(text) for name, text in (field.metadata or {}).items()}
        if "variable" in metadata:
            found.append(
                Series(
                    variable=metadata["variable"],
                    key=metadata.get("key", ""),
                    units=metadata.get("units", ""),
                    frequency=frequency,
                    is_meter="meter" in metadata,
                    averaged=metadata.get("type") == "mean",
                    schedule=metadata.get("schedule", ""),
                    column=field.name,
                )
            )
    return found
