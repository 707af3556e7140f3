"""Write Parquet sidecars of a run: its tables and series again, so that one of them is read without the others.

EnergyPlus interleaves all series by time, so one series touches nearly every page of the database. Here it is a few
adjacent bytes, and whatever reads Parquet can read it.

- ``tabular.parquet``: one row a cell of every tabular report.
- ``timeseries-<frequency>.parquet``: one column a series, of the run periods; ``sizing-<frequency>.parquet`` likewise
  of the design days and other sizing periods.
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
from idfkit_fs._outputs.series import FREQUENCIES, Environment, Series
from idfkit_fs.errors import UnreadableDatabaseError

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
    "digests_of",
    "series_field",
    "series_name",
    "series_of",
    "write_sidecars",
]

SIDECAR_PACKAGES = ("numpy", "pyarrow", "adbc_driver_sqlite")
"""What writing them needs."""

TABULAR = "tabular.parquet"
TIME, ENVIRONMENT = "time", "environment"
_KEY, _VERSION = b"idfkit_fs", 1
# How many values are held at once (128 MiB). Fewer make more row groups, and so more requests for a series.
_HELD = 2**24
_ZSTD_LEVEL = 3


def series_name(frequency: str, sizing: bool = False) -> str:
    """The name of the sidecar that holds the series of a frequency."""
    return f"{'sizing' if sizing else 'timeseries'}-{frequency}.parquet"


SIDECARS = frozenset({TABULAR, *(series_name(name, sizing) for name in FREQUENCIES for sizing in (False, True))})
"""The names of all that a run may have."""


def can_write() -> bool:
    """Whether the packages are installed that writing sidecars needs."""
    return all(importlib.util.find_spec(package) for package in SIDECAR_PACKAGES)


@dataclass(frozen=True)
class Contents:
    """What a sidecar of series says of itself, in its footer.

    Attributes:
        sql_sha256: SHA-256 of the database that it was made from.
        environments: All periods that were simulated.
        sidecars: The names of all sidecars of series that the database gives.
        digests: For each column a hash of its values, so that parts of two versions of the file are not mixed.
    """

    sql_sha256: str
    environments: tuple[Environment, ...]
    sidecars: tuple[str, ...]
    digests: tuple[str, ...] = ()

    def to_metadata(self) -> dict[bytes, bytes]:
        """As metadata of a Parquet file."""
        return {_KEY: json.dumps({"version": _VERSION, **vars(self)}).encode()}

    @classmethod
    def of(cls, metadata: dict[bytes, bytes] | None) -> Contents | None:
        """Of a Parquet file's metadata; None if they are not ours, or of a newer version."""
        try:
            told = json.loads((metadata or {})[_KEY])
            if told["version"] != _VERSION:
                return None
            environments = tuple(Environment(*each) for each in told["environments"])
            return cls(told["sql_sha256"], environments, tuple(told["sidecars"]), tuple(told["digests"]))
        except (KeyError, TypeError, ValueError):
            return None


def write_sidecars(
    sql: Path,
    sha256: str,
    directory: Path,
    wanted: Collection[str],
    done: Callable[[int], Any] = lambda _count: None,
) -> list[str]:
    """Write the sidecars of a database.

    Args:
        sql: The database.
        sha256: Its hash, in hexadecimal.
        directory: Where to.
        wanted: The names of those to write.
        done: Told how many more values have been read.

    Returns:
        The names of those that were written: of series, what the database has.

    Raises:
        UnreadableDatabaseError: If the database cannot be read, or does not tell of time as EnergyPlus does.
    """
    import pyarrow.parquet as pq

    database = Database(sql)
    tables = _tables(database)
    contents = Contents(sha256, database.environments, tuple(tables))
    names = []
    if TABULAR in wanted:
        table = cells_table(database.cells()).replace_schema_metadata(contents.to_metadata())
        pq.write_table(table, directory / TABULAR, compression="zstd", compression_level=_ZSTD_LEVEL)
        names.append(TABULAR)
    chosen = {directory / name: table for name, table in tables.items() if name in wanted}
    _write_series(database, chosen, contents, done)
    return names + [path.name for path in chosen]


def cells_table(cells: Sequence[Cell]) -> pa.Table:
    """Cells as a table, and the numbers among their values as numbers."""
    import numpy as np
    import pyarrow as pa

    texts = list(zip(*cells, strict=True)) or [()] * len(Cell._fields)
    columns = {name: _texts(text) for name, text in zip(Cell._fields, texts, strict=True)}
    numbers = np.array([cell.number for cell in cells], dtype=float)
    return pa.table({**columns, "number": _array(pa.float64(), numbers)})


# pyarrow.array() imports pandas, which takes a second of each worker's time.


def _array(kind: pa.DataType, values: npt.NDArray[Any]) -> pa.Array:
    """An array of a type that is laid out as in NumPy; NaN and NaT are nulls."""
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


def digests_of(
    times: Times, environments: npt.NDArray[np.object_], columns: Iterable[npt.NDArray[np.float64]]
) -> list[str]:
    """A hash of each column of a sidecar."""
    texts = "\0".join(environments).encode()
    return [_hash(data).hexdigest() for data in (times.tobytes(), texts, *(column.tobytes() for column in columns))]


def _hash(data: bytes = b"") -> Any:
    return hashlib.blake2b(data, digest_size=8)


def _tables(database: Database) -> dict[str, _Table]:
    """The sidecars of series that a database gives, by their names."""
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
            stack.enter_context(_Writer(path, database.series, timeline, chosen, share))
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
    """One sidecar of series while it is written: a window of its rows, which moves on as values come."""

    def __init__(
        self, path: Path, every: Sequence[Series], timeline: Timeline, chosen: list[int], share: float
    ) -> None:
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        self._timeline = timeline
        self._column_of = np.full(len(every), -1)
        self._column_of[chosen] = np.arange(len(chosen))
        self._start = 0
        rows = min(len(timeline.times), int(len(timeline.times) * share) + 1)
        self._window = np.full((len(chosen), rows), np.nan)
        self._digests = [_hash() for _ in chosen]
        series = [every[number] for number in chosen]
        names = pa.dictionary(pa.int32(), pa.string())
        self._schema = pa.schema(
            [pa.field(TIME, pa.timestamp("us")), pa.field(ENVIRONMENT, names), *map(series_field, series)]
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
        """Take a batch of values, of this sidecar and of others."""
        import numpy as np

        columns = np.where(numbers >= 0, self._column_of[numbers], -1)
        rows = self._timeline.rows(times)
        mine = (columns >= 0) & (rows >= 0)
        columns, rows, values = columns[mine], rows[mine], values[mine]
        while len(rows):
            if rows.min() < self._start:
                raise UnreadableDatabaseError(f"the values in {self._path.stem} are not in the order of time")
            end = self._start + self._window.shape[1]
            now = rows < end
            self._window[columns[now], rows[now] - self._start] = values[now]
            columns, rows, values = columns[~now], rows[~now], values[~now]
            if len(rows):
                self._flush()

    def finish(self, contents: Contents) -> None:
        """Write what is left, and the footer."""
        while self._start < len(self._timeline.times):
            self._flush()
        timeline = self._timeline
        when = digests_of(timeline.times, timeline.environment_names, ())
        digests = (*when, *(digest.hexdigest() for digest in self._digests))
        self._file.add_key_value_metadata(Contents(**{**vars(contents), "digests": digests}).to_metadata())

    def _flush(self) -> None:
        import numpy as np
        import pyarrow as pa

        timeline, start = self._timeline, self._start
        stop = min(start + self._window.shape[1], len(timeline.times))
        window = self._window[:, : stop - start]
        for digest, values in zip(self._digests, window, strict=True):
            digest.update(values.tobytes())
        environments = pa.DictionaryArray.from_arrays(
            _array(pa.int32(), timeline.environments[start:stop]), _texts(timeline.names)
        )
        times = _array(pa.timestamp("us"), timeline.times[start:stop])
        columns = [times, environments, *(_array(pa.float64(), values) for values in window)]
        self._file.write_table(pa.table(columns, schema=self._schema), row_group_size=stop - start)
        self._window.fill(np.nan)
        self._start = stop


def series_field(series: Series) -> pa.Field:
    """The column of a series; its metadata are what [series_of][idfkit_fs._outputs.sidecars.series_of] reads."""
    import pyarrow as pa

    told = {
        "variable": series.variable,
        "key": series.key,
        "units": series.units,
        "type": "mean" if series.averaged else "sum",
        "schedule": series.schedule,
        "meter": "yes" if series.is_meter else "",
    }
    return pa.field(series.column, pa.float64(), metadata={name: text for name, text in told.items() if text})


def series_of(schema: pa.Schema, frequency: str) -> list[Series]:
    """The series of a sidecar, in the order of its columns."""
    found = []
    for field in schema:
        told = {name.decode(): text.decode() for name, text in (field.metadata or {}).items()}
        if "variable" in told:
            found.append(
                Series(
                    variable=told["variable"],
                    key=told.get("key", ""),
                    units=told.get("units", ""),
                    frequency=frequency,
                    is_meter="meter" in told,
                    averaged=told.get("type") == "mean",
                    schedule=told.get("schedule", ""),
                    column=field.name,
                )
            )
    return found
