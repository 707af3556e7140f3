"""Meters that EnergyPlus reports to their file only: each value is in the series of its own frequency, and none is lost."""

from __future__ import annotations

import operator
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from idfkit.simulation import ESOResult, SimulationResult, SQLResult
from support.models import LIGHTS, MODELS, Ran, Twins

from idfkit_fs import RunResult, publish
from idfkit_fs._outputs.database import Database
from idfkit_fs._outputs.series import parse_frequency
from idfkit_fs._outputs.source import DatabaseSource
from idfkit_fs._outputs.values import Period
from idfkit_fs.errors import UnreadableDatabaseError

METERS = [name for name in MODELS if name.startswith("meters")]


# The last value of a time step, which is the only meter of that frequency.
LAST = """
    SELECT max(ReportDataIndex) FROM ReportData JOIN ReportDataDictionary USING (ReportDataDictionaryIndex)
    WHERE ReportingFrequency = 'Zone Timestep'
"""


class Value(NamedTuple):
    environment: str
    time: datetime
    value: float


class Entry(NamedTuple):
    """A series of the dictionary."""

    index: int
    name: str
    key: str
    frequency: str
    is_meter: bool


def end_of(frequency: str, year: int, month: int, day: int, hour: int, minute: int) -> datetime:
    """The end of the interval of a frequency that a step of ``Time`` is in."""
    end = datetime(year or 2017, month, 1) + timedelta(days=day - 1, hours=hour, minutes=minute)
    within = end - timedelta(minutes=1)
    if frequency == "daily":
        return datetime(within.year, within.month, within.day) + timedelta(days=1)
    if frequency == "monthly":
        return datetime(within.year + within.month // 12, within.month % 12 + 1, 1)
    return datetime(within.year + 1, 1, 1) if frequency == "annual" else end


def read_by_sql(sql: Path) -> dict[Entry, list[Value]]:
    """All values but those of warm-up, read without this package."""
    with closing(sqlite3.connect(sql)) as database:
        steps = {row[0]: row[1:] for row in database.execute("SELECT * FROM Time")}
        names = dict(database.execute("SELECT EnvironmentPeriodIndex, EnvironmentName FROM EnvironmentPeriods"))
        rows = database.execute(
            """
            SELECT ReportDataDictionaryIndex, Name, coalesce(KeyValue, ''), ReportingFrequency, IsMeter, TimeIndex, Value
            FROM ReportData JOIN ReportDataDictionary USING (ReportDataDictionaryIndex) ORDER BY ReportDataIndex
            """
        ).fetchall()
    ends: dict[int, datetime] = {}
    for year, month, day, hour, minute, _, _, kind, _, _, environment, _ in steps.values():
        if kind < 3:
            end = end_of("hourly", year, month, day, hour, minute)
            ends[environment] = max(end, ends.get(environment, end))
    found = defaultdict(list)
    for index, name, key, stored, is_meter, time, value in rows:
        frequency = parse_frequency(stored)
        year, month, day, hour, minute, *_, environment, _ = steps[time]
        known = frequency != "runperiod" and month is not None
        end = end_of(frequency, year, month, day, hour, minute) if known else ends.get(environment)
        if frequency == "annual" and not known:
            end = datetime(end.year, 1, 1) if end else datetime(year + 1, 1, 1) if year else None
        entry = Entry(index, name, key.strip(), frequency, bool(is_meter))
        found[entry].append(Value(names[environment], end or pd.NaT, value))
    return found


class Line(NamedTuple):
    """A value in EnergyPlus's file of meters, with the line before it that has the time."""

    environment: str
    time: list[float]
    value: float

    def ends_at(self, end: datetime, frequency: str) -> bool:
        """Whether that is the end of its interval, as far as the file says."""
        within = end - timedelta(minutes=1)
        kind, _, *fields = self.time
        if frequency in ("timestep", "hourly"):
            month, day, _, hour, _, minute = map(int, fields[:6])
            return kind == 2 and end == datetime(within.year, month, day) + timedelta(hours=hour - 1, minutes=minute)
        if frequency == "daily":
            month, day = map(int, fields[:2])
            return kind == 3 and end == datetime(within.year, month, day) + timedelta(days=1)
        if frequency == "monthly":
            return kind == 4 and (within.month, end.day, end.hour) == (fields[0], 1, 0)
        return kind == {"runperiod": 5, "annual": 6}[frequency]


def read_meter_file(path: Path) -> dict[int, list[Line]]:
    """The values of each series in EnergyPlus's file of meters, by the index in its dictionary."""
    lines = iter(path.read_text("latin-1").splitlines())
    next(line for line in lines if line.startswith("End of Data Dictionary"))
    found, title, time = defaultdict(list), "", [0.0]
    for line in lines:
        number, _, rest = line.partition(",")
        fields = rest.split(",")
        if number == "1":
            title = fields[0].upper()
        elif number.isdigit() and int(number) <= 6:
            numbers = fields if number in ("4", "5", "6") else fields[:-1]
            time = [float(number), *map(float, numbers)]
        elif number.isdigit():
            found[int(number)].append(Line(title, time, float(fields[0])))
    return found


environment = operator.attrgetter("environment")  # sorting by it keeps the order of time


def values_of(result: RunResult, entry: Entry) -> list[Value]:
    frame = result.timeseries(entry.name, keys=entry.key, frequency=entry.frequency, environment="*")
    assert frame.shape[1] == 1
    frame = frame.dropna()
    names = frame.index.get_level_values("environment")
    times = frame.index.get_level_values("time").to_pydatetime()
    values = [Value(*each) for each in zip(names, times, frame.iloc[:, 0].tolist(), strict=True)]
    return sorted(values, key=environment)


@pytest.mark.parametrize("name", [name for name in METERS if name != "meters_warming_up"])
def test_each_value_is_in_the_series_of_its_frequency(ran: Ran, twins: Twins, name: str) -> None:
    sql = ran(name).sql_path
    assert sql is not None
    expected = read_by_sql(Path(str(sql)))
    frequencies = {entry.frequency for entry in expected if entry.is_meter}
    assert frequencies == {"timestep", "hourly", "daily", "monthly", "runperiod", "annual"}
    for result in twins(name):
        assert len(result.data.catalog()) == len(expected)
        for entry, values in expected.items():
            assert values_of(result, entry) == sorted(values, key=environment), entry


@pytest.mark.parametrize("name", [name for name in METERS if name != "meters_warming_up"])
def test_they_are_what_the_meter_file_says(ran: Ran, twins: Twins, name: str) -> None:
    """Its lines have times of their own, so it says what the database does not."""
    run = ran(name)
    assert run.sql_path is not None
    of_index = {entry.index: entry for entry in read_by_sql(Path(str(run.sql_path)))}
    written = read_meter_file(Path(run.run_dir) / "eplus.mtr")
    assert {entry.frequency for entry in map(of_index.get, written) if entry} >= {"hourly", "monthly", "annual"}
    for result in twins(name):
        for index, lines in written.items():
            entry = of_index[index]
            mine = values_of(result, entry)
            lines = sorted(lines, key=environment)
            assert [value.environment for value in mine] == [line.environment for line in lines]
            # The file rounds.
            assert [value.value for value in mine] == pytest.approx([line.value for line in lines], rel=1e-6), entry
            for value, line in zip(mine, lines, strict=True):
                assert line.ends_at(value.time, entry.frequency), (entry, value, line)


@pytest.mark.parametrize("name", ["meters_alone", "meters_every"])
def test_idfkit_reads_the_same_values_from_the_meter_file(ran: Ran, twins: Twins, name: str) -> None:
    written = ESOResult.from_file(Path(ran(name).run_dir) / "eplus.mtr")
    titles = [each.title.upper() for each in written.environments]
    of_index = {entry.index: entry for entry in read_by_sql(Path(str(ran(name).sql_path)))}
    for result in twins(name):
        for column in written.columns:
            entry, title = of_index[column.variable.report_id], titles[column.environment_index]
            mine = [value.value for value in values_of(result, entry) if value.environment == title]
            assert mine == pytest.approx(column.values, rel=1e-6), (entry, title)


@pytest.mark.parametrize("name", ["meters_hourly", "meters_every"])
def test_idfkit_reads_the_same_values_from_the_database(ran: Ran, twins: Twins, name: str) -> None:
    stored = {"timestep": "Zone Timestep", "hourly": "Hourly", "daily": "Daily", "monthly": "Monthly"}
    with SQLResult(str(ran(name).sql_path)) as database:
        for frequency, spelt in stored.items():
            told = database.get_timeseries(LIGHTS, frequency=spelt)
            for result in twins(name):
                frame = result.timeseries(LIGHTS, frequency=frequency, environment="*")
                # It gives the periods in the order in which they ran.
                assert sorted(frame.iloc[:, 0].tolist()) == sorted(told.values)


def test_days_of_warm_up_do_not_matter(twins: Twins) -> None:
    # Of a period that begins at the end of a year, EnergyPlus takes each day of warm-up for a year.
    periods = ["leap", "within", "chicago*"]
    cold = twins("meters_hourly")[0]
    for result in twins("meters_warming_up"):
        for frequency in ("timestep", "hourly", "daily", "monthly", "runperiod"):
            pd.testing.assert_frame_equal(
                result.timeseries(LIGHTS, frequency=frequency, environment=periods),
                cold.timeseries(LIGHTS, frequency=frequency, environment=periods),
                check_exact=True,
            )


def test_one_step_may_stand_for_several_frequencies(ran: Ran, twins: Twins) -> None:
    """The last hour of a year is the end of a day, of a month, of the period and of the year."""
    with closing(sqlite3.connect(str(ran("meters_hourly").sql_path))) as database:
        (several,) = database.execute(
            """
            SELECT max(n) FROM (
                SELECT count(DISTINCT ReportingFrequency) AS n FROM ReportData
                JOIN ReportDataDictionary USING (ReportDataDictionaryIndex) GROUP BY TimeIndex
            )
            """
        ).fetchone()
    assert several >= 5
    for result in twins("meters_hourly"):
        ends = {
            frequency: result.timeseries(LIGHTS, frequency=frequency, environment="other").index[-1]
            for frequency in ("hourly", "daily", "monthly", "runperiod", "annual")
        }
        assert {*ends.values()} == {pd.Timestamp(2018, 1, 1)}
        months = result.timeseries(LIGHTS, frequency="monthly", environment="leap").index
        assert [*months] == [*pd.to_datetime(["2020-03-01", "2020-04-01"])]


@pytest.mark.parametrize("name", MODELS)
def test_no_value_is_lost(ran: Ran, twins: Twins, name: str) -> None:
    """Those that found a row, and those of warm-up that are left out on purpose, are all."""
    sql = Path(str(ran(name).sql_path))
    with closing(sqlite3.connect(sql)) as connection:
        (total,) = connection.execute("SELECT count(Value) FROM ReportData").fetchone()
    database = Database(sql)
    read = left_out = 0
    for times, numbers, _ in database.values():
        for frequency in {series.frequency for series in database.series}:
            mine = np.array([series.frequency == frequency for series in database.series])[numbers]
            rows = [
                timeline.rows(times[mine]) >= 0 for (at, _), timeline in database.timelines.items() if at == frequency
            ]
            placed = np.sum(rows, axis=0) if rows else np.zeros(mine.sum())
            assert (placed <= 1).all()
            read, left_out = read + int((placed == 1).sum()), left_out + int((placed == 0).sum())
    assert read + left_out == total
    assert (left_out > 0) == name.startswith("warm_start") or name == "meters_warming_up"
    filled = 0
    for result in twins(name)[:1]:
        for frequency in dict.fromkeys(series.frequency for series in result.data.catalog()):
            filled += int(result.timeseries(frequency=frequency, environment="*").count().sum())
    assert filled == read


Copied = Callable[[str], Path]


def spoilt(directory: Path, *statements: str) -> SimulationResult:
    with closing(sqlite3.connect(directory / "eplus.sql")) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()
    return SimulationResult(directory, success=True, exit_code=0, stdout="", stderr="", runtime_seconds=1.0)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE ReportData SET TimeIndex = 99999 WHERE ReportDataIndex = 20", "the time of a value of .* is unknown"),
        ("UPDATE ReportData SET TimeIndex = -1 WHERE ReportDataIndex = 20", "the time of a value of .* is unknown"),
        (
            f"UPDATE ReportData SET TimeIndex = TimeIndex - 1 WHERE ReportDataIndex = ({LAST})",
            "two values for the same time",
        ),
        (
            "UPDATE ReportDataDictionary SET ReportingFrequency = 'Fortnightly' WHERE IsMeter",
            "the reporting frequency of .* is unknown: 'Fortnightly'",
        ),
        ("DELETE FROM ReportDataDictionary WHERE IsMeter", "values of a series that its dictionary does not have"),
    ],
)
def test_a_value_that_would_be_lost_is_an_error_not_silence(
    copied: Copied, tmp_path: Path, caplog: pytest.LogCaptureFixture, statement: str, reason: str
) -> None:
    run = spoilt(copied("meters_hourly"), statement)
    result = publish(run, tmp_path / "run")
    assert result.record is not None
    assert not any(file.name.endswith(".parquet") for file in result.record.files)
    (warning,) = [record.getMessage() for record in caplog.records if "without sidecars" in record.getMessage()]
    assert pd.Series([warning]).str.contains(reason).all()
    database = Database(Path(run.run_dir) / "eplus.sql")
    with pytest.raises(UnreadableDatabaseError, match=reason.partition("|")[0]):
        read_all(database)


def read_all(database: Database) -> None:
    source = DatabaseSource(database)
    every = Period(frozenset(environment.name for environment in database.environments), (False, True))
    for frequency in dict.fromkeys(series.frequency for series in database.series):
        source.read(frequency, source.series(frequency), every)
    for _ in database.values():
        pass


def test_values_that_are_null_or_no_number(copied: Copied, tmp_path: Path) -> None:
    """SQLite keeps NaN as NULL: the row stays, without a value."""
    directory = copied("everything")
    before = publish(spoilt(directory), tmp_path / "before", sidecars=False).timeseries(LIGHTS, frequency="hourly")
    run = spoilt(
        directory,
        "UPDATE ReportData SET Value = NULL WHERE ReportDataDictionaryIndex IN (SELECT ReportDataDictionaryIndex "
        f"FROM ReportDataDictionary WHERE Name = '{LIGHTS}' AND ReportingFrequency = 'Hourly') AND TimeIndex % 3 = 0",
    )
    with_sidecars = publish(run, tmp_path / "with", exclude=["*.sql"])
    without = publish(run, tmp_path / "without", sidecars=False)
    for result in (with_sidecars, without):
        after = result.timeseries(LIGHTS, frequency="hourly")
        assert after.index.equals(before.index)
        known = after.iloc[:, 0].notna()
        assert 0 < known.sum() < len(known)
        pd.testing.assert_frame_equal(after[known], before[known], check_exact=True)


def test_the_same_name_and_key_twice_and_every_key_at_several_frequencies(copied: Copied, tmp_path: Path) -> None:
    run = spoilt(
        copied("everything"),
        "INSERT INTO ReportDataDictionary SELECT 9999, IsMeter, Type, IndexGroup, TimestepType, KeyValue, Name, "
        f"ReportingFrequency, ScheduleName, Units FROM ReportDataDictionary WHERE Name = '{LIGHTS}' "
        "AND ReportingFrequency = 'Daily'",
        "INSERT INTO ReportData (TimeIndex, ReportDataDictionaryIndex, Value) SELECT TimeIndex, 9999, 2 * Value "
        "FROM ReportData JOIN ReportDataDictionary USING (ReportDataDictionaryIndex) "
        f"WHERE Name = '{LIGHTS}' AND ReportingFrequency = 'Daily' ORDER BY ReportDataIndex",
    )
    for result in (
        publish(run, tmp_path / "with", exclude=["*.sql"]),
        publish(run, tmp_path / "without", sidecars=False),
    ):
        both = result.timeseries(LIGHTS, frequency="daily")
        assert [*both.columns] == [f"{LIGHTS} [J](Daily)", f"{LIGHTS} [J](Daily #2)"]
        assert (both.iloc[:, 1] == 2 * both.iloc[:, 0]).all()
