"""Databases of EnergyPlus 8.0 and later: equal values, and years where the database has none."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.models import METER, OUTDOORS, Ran, Twins, publish_as
from support.old_databases import LAYOUTS, old_database

from idfkit_fs import RunResult
from idfkit_fs._outputs.database import Database
from idfkit_fs.errors import UnreadableDatabaseError

FREQUENCIES = ("detailed", "timestep", "hourly", "daily", "monthly", "runperiod")


def both(ran: Ran, name: str, version: str, tmp_path: Path, *changes: str) -> tuple[RunResult, RunResult]:
    """The run in that layout, by its sidecars alone and by its database alone."""
    directory = tmp_path / "old"
    directory.mkdir()
    old_database(Path(str(ran(name).sql_path)), directory / "eplus.sql", version, *changes)
    return (
        publish_as(True, directory, tmp_path / "by-sidecars", sidecars=True, exclude=["*.sql"]),
        publish_as(True, directory, tmp_path / "by-database", sidecars=False),
    )


def without_year(frame: pd.DataFrame) -> pd.DataFrame:
    times = frame.index.get_level_values("time")
    index = [times.month, times.day, times.hour, times.minute]
    if "environment" in frame.index.names:
        index.insert(0, frame.index.get_level_values("environment"))
    return frame.set_axis(pd.MultiIndex.from_arrays(index))


@pytest.mark.parametrize("version", LAYOUTS)
@pytest.mark.parametrize("name", ["everything", "several_periods", "warm_start", "meters_every", "ten_minutes"])
def test_series_are_the_same(ran: Ran, twins: Twins, tmp_path: Path, name: str, version: str) -> None:
    new = twins(name)[0]
    sidecars, database = both(ran, name, version, tmp_path)
    reported = {series.frequency for series in new.data.catalog()} - {"annual"}
    assert {series.frequency for series in database.data.catalog()} == reported
    for frequency in reported:
        expected = new.timeseries(frequency=frequency, environment="*")
        for result in (sidecars, database):
            found = result.timeseries(frequency=frequency, environment="*")
            pd.testing.assert_frame_equal(without_year(found), without_year(expected), check_exact=True)
            assert found.attrs == expected.attrs
        pd.testing.assert_frame_equal(
            sidecars.timeseries(frequency=frequency, environment="*"),
            database.timeseries(frequency=frequency, environment="*"),
            check_exact=True,
        )


@pytest.mark.parametrize("version", LAYOUTS)
def test_cells_are_the_same(ran: Ran, twins: Twins, tmp_path: Path, version: str) -> None:
    expected = twins("everything")[0].tabular()
    for result in both(ran, "everything", version, tmp_path):
        pd.testing.assert_frame_equal(result.tabular(), expected, check_exact=True)


@pytest.mark.parametrize("version", LAYOUTS)
def test_a_new_year_begins_when_the_dates_go_back(ran: Ran, twins: Twins, tmp_path: Path, version: str) -> None:
    new = twins("across_new_year")[0]
    for result in both(ran, "across_new_year", version, tmp_path):
        for frequency in FREQUENCIES[1:]:
            pd.testing.assert_frame_equal(
                result.timeseries(METER, frequency=frequency),
                new.timeseries(METER, frequency=frequency),
                check_exact=True,
            )


@pytest.mark.parametrize("version", LAYOUTS)
def test_a_29_february_is_in_a_leap_year(ran: Ran, twins: Twins, tmp_path: Path, version: str) -> None:
    new = twins("leap_year")[0]
    for result in both(ran, "leap_year", version, tmp_path):
        for frequency in FREQUENCIES:
            found = result.timeseries(OUTDOORS, frequency=frequency)
            assert found.index.is_unique and found.index.is_monotonic_increasing
            expected = new.timeseries(OUTDOORS, frequency=frequency)
            assert (found.index == expected.index - pd.DateOffset(years=4)).all()
            np.testing.assert_array_equal(found, expected)


def test_months_of_several_years_are_each_a_row(ran: Ran, twins: Twins, tmp_path: Path) -> None:
    """Of a period of months alone, with nothing that goes from day to day."""
    only_months = (
        (
            "DELETE FROM ReportVariableData WHERE ReportVariableDataDictionaryIndex NOT IN (SELECT "
            "ReportVariableDataDictionaryIndex FROM ReportVariableDataDictionary WHERE ReportingFrequency = 'Monthly')"
        ),
        "DELETE FROM ReportVariableDataDictionary WHERE ReportingFrequency <> 'Monthly'",
        "DELETE FROM ReportMeterData",
        "DELETE FROM ReportMeterDataDictionary",
        "DELETE FROM Time WHERE IntervalType <> 3",
    )
    expected = twins("across_new_year")[0].timeseries(OUTDOORS, frequency="monthly")
    for result in both(ran, "across_new_year", "8.0", tmp_path, *only_months):
        found = result.timeseries(OUTDOORS, frequency="monthly")
        assert [*found.index] == [*pd.to_datetime(["2018-01-01", "2018-02-01"])]
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_an_index_may_be_a_variable_and_a_meter(ran: Ran, twins: Twins, tmp_path: Path) -> None:
    same = (
        (
            "UPDATE ReportMeterDataDictionary SET ReportMeterDataDictionaryIndex = (SELECT ReportVariableDataDictionaryIndex "
            f"FROM ReportVariableDataDictionary LIMIT 1) WHERE VariableName = '{METER}' AND ReportingFrequency = 'Hourly'"
        ),
        (
            "DELETE FROM ReportMeterDataDictionary WHERE ReportMeterDataDictionaryIndex <> (SELECT "
            "ReportVariableDataDictionaryIndex FROM ReportVariableDataDictionary LIMIT 1)"
        ),
        (
            "UPDATE ReportMeterData SET ReportMeterDataDictionaryIndex = (SELECT ReportMeterDataDictionaryIndex "
            "FROM ReportMeterDataDictionary)"
        ),
    )
    expected = twins("several_periods")[0].timeseries(METER, environment="*")
    for result in both(ran, "several_periods", "8.0", tmp_path, *same):
        pd.testing.assert_frame_equal(
            without_year(result.timeseries(METER, environment="*")), without_year(expected), check_exact=True
        )


@pytest.mark.parametrize("version", LAYOUTS)
@pytest.mark.parametrize("table", ["Time", "EnvironmentPeriods", "Simulations"])
def test_what_cannot_be_read_says_so(ran: Ran, tmp_path: Path, table: str, version: str) -> None:
    old = old_database(Path(str(ran("everything").sql_path)), tmp_path / "a.sql", version, f"DROP TABLE {table}")
    with pytest.raises(UnreadableDatabaseError, match=f"has no table {table}; databases of EnergyPlus 8.0 and later"):
        Database(old)


def test_half_of_the_old_tables_is_not_read_as_if_it_were_all(ran: Ran, tmp_path: Path) -> None:
    sql = Path(str(ran("everything").sql_path))
    old = old_database(sql, tmp_path / "a.sql", "8.0", "DROP TABLE ReportMeterData")
    with pytest.raises(UnreadableDatabaseError, match="has no table ReportMeterData"):
        Database(old)


def test_the_quirks_of_8_9(copied: Callable[[str], Path], twins: Twins, tmp_path: Path) -> None:
    """It has no name for the frequency Annual, and may count years from 0."""
    directory = copied("across_new_year")
    with closing(sqlite3.connect(directory / "eplus.sql")) as database:
        database.execute(
            "UPDATE ReportDataDictionary SET ReportingFrequency = 'Unknown!!!' WHERE ReportingFrequency = 'Annual'"
        )
        database.execute("UPDATE Time SET Year = Year - 2017 WHERE IntervalType < 5")
        database.commit()
    new = twins("across_new_year")[0]
    for result in (
        publish_as(True, directory, tmp_path / "by-sidecars", exclude=["*.sql"]),
        publish_as(True, directory, tmp_path / "by-database", sidecars=False),
    ):
        for frequency in (*FREQUENCIES[1:], "annual"):
            pd.testing.assert_frame_equal(
                result.timeseries(METER, frequency=frequency),
                new.timeseries(METER, frequency=frequency),
                check_exact=True,
            )
