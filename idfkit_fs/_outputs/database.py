"""EnergyPlus's SQLite output (``.sql``), read where it is a local file.

Its tables are described in Output Details and Examples, "eplusout.sql".
"""

from __future__ import annotations

import contextlib
import functools
import math
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from idfkit_fs._outputs.series import Environment, Series, headed, stored_frequency
from idfkit_fs._outputs.sqlite_file import connect, is_truncated, problem_of_shape, uri_of, why_not
from idfkit_fs._util.bounds import SQL_BYTES_PER_ROW
from idfkit_fs.errors import UnreadableDatabaseError

if TYPE_CHECKING:
    import numpy.typing as npt

    from idfkit_fs._outputs.clock import Clock, Timeline

    Batch = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]

__all__ = ["NO_DATABASE", "Cell", "Database", "no_tables"]

T = TypeVar("T")
# EnergyPlus 8.9.0 has a frequency more than names for them (NREL/EnergyPlus issue 6512).
_RENAMED = {"Unknown!!!": "Annual"}
_RUN_PERIOD = 3
_BATCH = 65_536
_STEP_COLUMNS = (
    "TimeIndex",
    "Year",
    "Month",
    "Day",
    "Hour",
    "Minute",
    "Interval",
    "IntervalType",
    "SimulationDays",
    "EnvironmentPeriodIndex",
    "WarmupFlag",
)
_NEEDED = frozenset({"Time", "EnvironmentPeriods", "Simulations"})
# It exists only if Output:SQLite has the option SimpleAndTabular.
_CELLS = "TabularData"
# Where a database names its reports, in the order of the fields of Cell.
_NAMED = ("ReportNameIndex", "ReportForStringIndex", "TableNameIndex", "RowNameIndex", "ColumnNameIndex", "UnitsIndex")


NO_DATABASE = (
    "The run has no SQLite output: the model needs Output:SQLite with the option SimpleAndTabular, and its "
    "OutputControl:Files must not switch SQLite off"
)
"""What to say of a run that EnergyPlus wrote no database for. idfkit adds Output:SQLite where a model has none."""


class _Layout(NamedTuple):
    """The tables that a database has its series in.

    Attributes:
        tables: Their names.
        series: Selects the series: index, name, key value, units, frequency, whether it is a meter, type, schedule.
        values: Selects the values: ``TimeIndex``, the index of the series, the value, and what to sort them by.
    """

    tables: tuple[str, ...]
    series: str
    values: str


_NEW = _Layout(
    ("ReportData", "ReportDataDictionary"),
    """
    SELECT ReportDataDictionaryIndex, Name, KeyValue, Units, ReportingFrequency, IsMeter, Type, ScheduleName
    FROM ReportDataDictionary
    """,
    "SELECT TimeIndex, ReportDataDictionaryIndex AS Number, Value, ReportDataIndex AS Place FROM ReportData",
)
# EnergyPlus 8.0 to 8.2, which number variables and meters each in a table of their own.
_OLD = _Layout(
    ("ReportVariableData", "ReportVariableDataDictionary", "ReportMeterData", "ReportMeterDataDictionary"),
    " UNION ALL ".join(
        f"""
        SELECT 2 * Report{kind}DataDictionaryIndex + {number}, VariableName, KeyValue, VariableUnits,
               ReportingFrequency, {number}, VariableType, ScheduleName
        FROM Report{kind}DataDictionary
        """  # noqa: S608 - only constants are inserted
        for number, kind in enumerate(("Variable", "Meter"))
    ),
    " UNION ALL ".join(
        f"""
        SELECT TimeIndex, 2 * Report{kind}DataDictionaryIndex + {number} AS Number,
               CAST(VariableValue AS REAL) AS Value, TimeIndex AS Place
        FROM Report{kind}Data
        """  # noqa: S608 - only constants are inserted
        for number, kind in enumerate(("Variable", "Meter"))
    ),
)


class Cell(NamedTuple):
    """A cell of a tabular report. Names are not unique in EnergyPlus's tables.

    Attributes:
        report: Such as ``"AnnualBuildingUtilityPerformanceSummary"``.
        report_for: Such as ``"Entire Facility"``.
        table: Such as ``"End Uses"``.
        row: Such as ``"Heating"``.
        column: Such as ``"District Heating Water"``.
        units: Such as ``"GJ"``.
        value: The text that EnergyPlus wrote, without leading and trailing blanks.
    """

    report: str
    report_for: str
    table: str
    row: str
    column: str
    units: str
    value: str

    @property
    def number(self) -> float | None:
        """The value as a number; None if it is not a finite number."""
        try:
            number = float(self.value)
        except ValueError:
            return None
        return number if math.isfinite(number) else None


def no_tables(asked_for: bool) -> str:
    """Why a database has no tabular reports, and what to do.

    Args:
        asked_for: Whether it [was made for them][idfkit_fs._outputs.database.Database.has_cells].

    Returns:
        A sentence without a full stop.

    Examples:
        >>> no_tables(asked_for=False)
        'The run has no tabular reports in its database: give Output:SQLite the option SimpleAndTabular'
    """
    if asked_for:
        return "The run has no tabular reports: add Output:Table:SummaryReports to the model, such as AllSummary"
    return "The run has no tabular reports in its database: give Output:SQLite the option SimpleAndTabular"


class Database:
    """An SQLite output of EnergyPlus.

    Args:
        path: The local file; it must not change while this object is in use.
        name: Its name in error messages; the path by default.

    Raises:
        UnreadableDatabaseError: If the file is truncated, or is not an output of EnergyPlus.
    """

    def __init__(self, path: Path, name: str = "") -> None:
        self._name = name or str(path)
        self._path = path
        if is_truncated(path):
            raise self._unreadable("it is truncated")
        problem = self._ask(problem_of_shape)
        if problem:
            raise self._unreadable(problem)
        self._tables = {name for (name,) in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        self._layout = _OLD if not self._tables.issuperset(_NEW.tables[:1]) and _OLD.tables[0] in self._tables else _NEW
        missing = sorted({*_NEEDED, *self._layout.tables} - self._tables)
        if missing:
            raise self._unreadable(f"it has no table {missing[0]}; databases of EnergyPlus 8.0 and later can be read")

    def cells(self, reports: Collection[str] | None = None) -> list[Cell]:
        """The cells of tabular reports, in EnergyPlus's order.

        Args:
            reports: Names of reports; None for all.

        Returns:
            The cells; an empty list if the model did not request tables in the database.
        """
        if not self.has_cells:
            return []
        # Not its view TabularDataWithStrings, which has other columns in old versions; and no join, which would give
        # each name as often as there are cells.
        names = {index: text or "" for index, text in self._rows("SELECT StringIndex, Value FROM Strings")}
        wanted = [index for index, name in names.items() if reports is not None and name in reports]
        chosen = "" if reports is None else f"WHERE ReportNameIndex IN ({', '.join('?' * len(wanted))})"
        # In old versions, RowId is a column.
        query = f"SELECT {', '.join(_NAMED)}, Value FROM {_CELLS} {chosen} ORDER BY _rowid_"  # noqa: S608 - constants
        called = names.get
        return [
            Cell(
                called(report, ""),
                called(report_for, ""),
                called(table, ""),
                called(row, ""),
                called(column, ""),
                called(units, ""),
                (value or "").strip(),
            )
            for report, report_for, table, row, column, units, value in self._rows(query, wanted)
        ]

    @property
    def has_cells(self) -> bool:
        """Whether the database was made for tabular reports, by the option SimpleAndTabular of Output:SQLite."""
        return _CELLS in self._tables

    def hours_of_run_periods(self) -> float | None:
        """The simulated hours of all run periods, from the rows of time; None where these leave it open.

        The row of a whole run period has its length. Other rows count only if none is missing and none belongs to a
        day of warm-up: EnergyPlus counts the days, and writes a row when it reports a value that has no schedule.
        """
        periods = sum(not environment.sizing for environment in self.environments)
        always = {series.frequency for series in self.series if not series.schedule}
        for frequency, kind in (("runperiod", 4), ("daily", 2), ("hourly", 1)):
            if frequency in always or not periods:
                rows = self._rows(
                    """
                    SELECT sum(Interval), max(SimulationDays) FROM Time JOIN EnvironmentPeriods
                    USING (EnvironmentPeriodIndex) WHERE EnvironmentType = ? AND IntervalType = ?
                    GROUP BY EnvironmentPeriodIndex
                    """,
                    (_RUN_PERIOD, kind),
                )
                if len(rows) == periods and all(minutes == days * 24 * 60 for minutes, days in rows):
                    return float(sum(minutes for minutes, _ in rows)) / 60
        return None

    def totals(self, meters: Collection[str]) -> dict[str, float]:
        """The sum of each meter over all run periods, from the coarsest frequency at which it is reported.

        Args:
            meters: Names of meters, in lower case.

        Returns:
            The sums in the meter's units, by its name in lower case, for those that are reported.
        """
        found: dict[str, int] = {}
        for frequency in ("runperiod", "monthly", "daily", "hourly", "timestep"):
            for series, index in self._indexes.items():
                name = series.variable.lower()
                # A cumulative meter has a key, and counts on from value to value.
                if name in meters and (series.frequency, series.is_meter, series.key) == (frequency, True, ""):
                    found.setdefault(name, index)
        if not found:
            return {}
        sums = dict(
            self._rows(
                f"""
                SELECT Number, sum(Value) FROM ({self._layout.values}) JOIN Time USING (TimeIndex)
                JOIN EnvironmentPeriods USING (EnvironmentPeriodIndex)
                WHERE Number IN ({", ".join(map(str, found.values()))})
                AND EnvironmentType = {_RUN_PERIOD} AND coalesce(WarmupFlag, 0) = 0 GROUP BY Number
                """  # noqa: S608 - only numbers are inserted
            )
        )
        return {name: sums[index] for name, index in found.items() if index in sums}

    @functools.cached_property
    def series(self) -> tuple[Series, ...]:
        """All series, sorted by variable and key value."""
        return tuple(self._indexes)

    @functools.cached_property
    def environments(self) -> tuple[Environment, ...]:
        """The periods that were simulated."""
        return tuple(self._environments.values())

    @property
    def timelines(self) -> Mapping[tuple[str, bool], Timeline]:
        """The rows of each table of series, by frequency and whether it is for sizing periods."""
        return self._clock.timelines

    @functools.cached_property
    def _clock(self) -> Clock:
        import numpy as np

        from idfkit_fs._outputs.clock import Reported, read_clock

        known = {name.lower() for _, name, *_ in self._rows("PRAGMA table_info(Time)")}
        # Before version 8.9 the table has no years.
        selected = ", ".join(name if name.lower() in known else "NULL" for name in _STEP_COLUMNS)
        rows = self._rows(f"SELECT {selected} FROM Time ORDER BY TimeIndex")  # noqa: S608 - constants
        per_hour = self._rows("SELECT max(NumTimestepsPerHour) FROM Simulations")[0][0]
        meters = [series for series in self.series if series.is_meter]
        of_meters: dict[str, list[npt.NDArray[Any]]] = {series.frequency: [] for series in self.series}
        if meters:
            names = sorted({series.frequency for series in meters})
            frequency = np.array([names.index(series.frequency) for series in meters])
            for times, numbers in self._batches("TimeIndex, Number", meters):
                for number, name in enumerate(names):
                    of_meters[name].append(np.unique(times[frequency[numbers] == number]))
        of_variables = {series.frequency for series in self.series if not series.is_meter}
        reported = {
            name: Reported(name in of_variables, np.concatenate([np.array([], int), *found]))
            for name, found in of_meters.items()
        }
        return read_clock(rows, 60 / per_hour if per_hour else 0, self._environments, reported)

    def values(self, chosen: Sequence[Series] | None = None) -> Iterator[Batch]:
        """The values of series, in EnergyPlus's order.

        Args:
            chosen: Some of ``series``; None for all.

        Yields:
            Batches of three arrays: ``TimeIndex``, the number of the series in *chosen*, and the value. Each value has
            a row in one of the timelines, or belongs to a day of warm-up.

        Raises:
            UnreadableDatabaseError: If the file is corrupt, or has a value without a series or a time.
        """
        import numpy as np

        among = self.series if chosen is None else chosen
        names = sorted({series.frequency for series in among})
        if not names:
            return
        placed = np.stack([self._clock.placed(name) for name in names])
        frequency = np.array([names.index(series.frequency) for series in among])
        for times, numbers, values in self._batches("TimeIndex, Number, Value", chosen, "WHERE Value IS NOT NULL"):
            if (numbers < 0).any():
                raise self._unreadable("it has values of a series that its dictionary does not have")
            # The last column is for any other index.
            lost = ~placed[frequency[numbers], np.clip(times, -1, placed.shape[1] - 1)]
            if lost.any():
                heading = among[numbers[lost][0]].column
                raise self._unreadable(f"the time of a value of {heading!r} is unknown: TimeIndex {times[lost][0]}")
            yield times, numbers, values

    def doubled(self, series: Series) -> UnreadableDatabaseError:
        """The error to raise if a series has two values for the same time."""
        return self._unreadable(f"{series.column!r} has two values for the same time")

    def _batches(self, columns: str, chosen: Sequence[Series] | None, where: str = "") -> Iterator[Any]:
        """Columns of the values, of which ``Number`` becomes that of the series; -1 if it is not in the dictionary."""
        # Not its dbapi module, which imports pandas and polars if they are installed.
        import adbc_driver_manager as adbc
        import adbc_driver_sqlite
        import numpy as np
        import pyarrow as pa

        indexes = [self._indexes[series] for series in (self.series if chosen is None else chosen)]
        number_of = np.full(max(indexes, default=0) + 2, -1)
        number_of[indexes] = np.arange(len(indexes))
        among = "" if chosen is None else f"{'AND' if where else 'WHERE'} Number IN ({', '.join(map(str, indexes))})"
        query = f"SELECT {columns} FROM ({self._layout.values}) {where} {among} ORDER BY Place"  # noqa: S608 - no texts
        left = self._most_rows()
        try:
            with (
                adbc_driver_sqlite.connect(uri_of(self._path)) as opened,
                adbc.AdbcConnection(opened) as connection,
                adbc.AdbcStatement(connection) as statement,
            ):
                statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_BATCH)})
                statement.set_sql_query(query)
                stream, _ = statement.execute_query()
                for batch in pa.RecordBatchReader.from_stream(stream):
                    left -= batch.num_rows
                    if left < 0:
                        raise self._unreadable("it has more values than a file of its size can have")
                    if batch.num_rows:
                        # Array.to_numpy() would import pandas too.
                        arrays: list[Any] = [np.from_dlpack(column) for column in batch.columns]
                        times, index, *values = arrays
                        yield times, number_of.take(index, mode="clip"), *values
        except (adbc.Error, pa.ArrowException, OSError) as exc:
            raise self._unreadable(exc) from exc

    def _most_rows(self) -> int:
        """How many values there can be: pages that lead to each other would give values forever.

        The values of a table are given as they come if they are in the order of its own index; others are sorted first,
        and so counted before.
        """
        table = self._layout.tables[0]
        own_index = f"SELECT 1 FROM pragma_table_info('{table}') WHERE pk AND type = 'INTEGER'"  # noqa: S608 - a constant
        if len(self._rows(own_index)) != 1:
            self._rows(f"SELECT sum(1) FROM ({self._layout.values})")  # noqa: S608 - constants
        return self._path.stat().st_size // SQL_BYTES_PER_ROW

    @functools.cached_property
    def _environments(self) -> dict[int, Environment]:
        rows = self._rows("SELECT EnvironmentPeriodIndex, EnvironmentName, EnvironmentType FROM EnvironmentPeriods")
        return {index: Environment(name or "", kind != _RUN_PERIOD) for index, name, kind in rows}

    @functools.cached_property
    def _indexes(self) -> dict[Series, int]:
        """The index of each series in the table ``ReportDataDictionary``."""
        rows = self._rows(f"{self._layout.series} ORDER BY 6, 2, 3, 1")  # is a meter, name, key value, index
        found = []
        for index, name, key, units, stored, is_meter, kind, schedule in rows:
            frequency = stored_frequency(_RENAMED.get(stored, stored) or "")
            if frequency is None:
                raise self._unreadable(f"the reporting frequency of {name!r} is unknown: {stored!r}")
            series = Series(
                variable=(name or "").strip(),
                key=(key or "").strip(),
                units=units or "",
                frequency=frequency,
                is_meter=bool(is_meter),
                averaged=kind == "Avg",
                schedule=(schedule or "").strip(),
            )
            found.append((index, series))
        return dict(zip(headed(series for _, series in found), (index for index, _ in found), strict=True))

    def _rows(self, query: str, parameters: Sequence[str | int] = ()) -> list[Any]:
        return self._ask(lambda connection: connection.execute(query, parameters).fetchall())

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with contextlib.closing(connect(self._path)) as connection:
                return question(connection)
        except sqlite3.DatabaseError as exc:
            raise self._unreadable(why_not(exc)) from exc

    def _unreadable(self, why: object) -> UnreadableDatabaseError:
        return UnreadableDatabaseError(f"{self._name} cannot be read as an SQLite output of EnergyPlus: {why}")
