"""When values hold: the ends of intervals in standard time, whatever the year, the period and the step."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
from support.models import HEATING, LIGHTS, METER, OUTDOORS, TEMPERATURE, Ran, Twins

from idfkit_fs._outputs.series import FREQUENCIES
from idfkit_fs.errors import NotReportedError


def spaced(frame: pd.DataFrame, step: str) -> bool:
    return bool((frame.index == pd.date_range(frame.index[0], frame.index[-1], freq=step)).all())


@pytest.mark.parametrize(
    "name", ["leap_year", "across_new_year", "several_periods", "ten_minutes", "warm_start", "only_run_period"]
)
def test_both_ways_of_reading_tell_the_same_times(twins: Twins, name: str) -> None:
    sidecars, database = twins(name)
    for frequency in dict.fromkeys(series.frequency for series in database.data.catalog()):
        pd.testing.assert_frame_equal(
            sidecars.timeseries(frequency=frequency, environment="*"),
            database.timeseries(frequency=frequency, environment="*"),
            check_exact=True,
        )


def test_a_year_ends_where_the_next_begins(twins: Twins) -> None:
    ends = {
        "detailed": ["2013-12-30 00:15", "2014-01-01 00:00"],
        "timestep": ["2013-12-30 00:15", "2014-01-01 00:00"],
        "hourly": ["2013-12-30 01:00", "2014-01-01 00:00"],
        "daily": ["2013-12-31", "2014-01-01"],
        "monthly": ["2014-01-01", "2014-01-01"],
        "runperiod": ["2014-01-01", "2014-01-01"],
        "annual": ["2014-01-01", "2014-01-01"],
    }
    assert [*ends] == [*FREQUENCIES]
    for result in twins("everything"):
        for frequency, (first, last) in ends.items():
            index = result.timeseries(OUTDOORS, frequency=frequency).index
            assert [index[0], index[-1]] == [pd.Timestamp(first), pd.Timestamp(last)]
            assert index.is_monotonic_increasing and index.is_unique


def test_a_leap_year_has_its_29_february(twins: Twins) -> None:
    result = twins("leap_year")[0]
    hourly = result.timeseries(frequency="hourly")
    assert len(hourly) == 96 and spaced(hourly, "h")
    assert hourly.index[0] == pd.Timestamp(2020, 2, 27, 1) and hourly.index[-1] == pd.Timestamp(2020, 3, 2)
    assert [*result.timeseries(frequency="daily").index] == [
        *pd.to_datetime(["2020-02-28", "2020-02-29", "2020-03-01", "2020-03-02"])
    ]
    assert [*result.timeseries(frequency="monthly").index] == [*pd.to_datetime(["2020-03-01", "2020-04-01"])]
    # The weather of the 29th was copied from the 28th; only within its first hour is it blended with the hour before.
    day = f"Environment:{OUTDOORS} [C](Hourly)"
    np.testing.assert_array_equal(
        hourly.loc["2020-02-29 02:00":"2020-02-29 23:00", day], hourly.loc["2020-02-28 02:00":"2020-02-28 23:00", day]
    )


def test_a_run_period_may_cross_the_year(twins: Twins) -> None:
    result = twins("across_new_year")[0]
    hourly = result.timeseries(METER, frequency="hourly")
    assert len(hourly) == 96 and spaced(hourly, "h")
    assert hourly.index[0] == pd.Timestamp(2017, 12, 30, 1) and hourly.index[-1] == pd.Timestamp(2018, 1, 3)
    assert [*result.timeseries(METER, frequency="monthly").index] == [*pd.to_datetime(["2018-01-01", "2018-02-01"])]
    assert [*result.timeseries(METER, frequency="runperiod").index] == [pd.Timestamp(2018, 1, 3)]
    # EnergyPlus reports the year that has ended.
    annual = result.timeseries(METER, frequency="annual")
    assert [*annual.index] == [pd.Timestamp(2018, 1, 1)]
    assert annual.iloc[0, 0] == pytest.approx(hourly.loc[:"2018-01-01 00:00"].to_numpy().sum())


def test_several_periods_of_one_run(twins: Twins) -> None:
    for result in twins("several_periods"):
        both = result.timeseries(METER)
        assert both.index.names == ["environment", "time"]
        assert both.groupby("environment", sort=False).size().to_dict() == {"YEAR": 48, "JULY": 48, "LAST": 24}
        july = result.timeseries(METER, environment="july")
        assert july.index.name == "time" and july.index[0] == pd.Timestamp(2013, 7, 1, 1)
        pd.testing.assert_frame_equal(july, both.loc["JULY"], check_exact=True)
        assert {*result.timeseries(METER, environment=["last", "YEAR"]).index.unique("environment")} == {"YEAR", "LAST"}
        with pytest.raises(NotReportedError, match="no environment 'juli'; the nearest .*'JULY'"):
            result.timeseries(METER, environment="juli")
        runperiod = result.timeseries(OUTDOORS, frequency="runperiod")
        assert [*runperiod.index.get_level_values("time")] == [
            *pd.to_datetime(["2007-01-03", "2013-07-03", "2008-01-01"])
        ]


def test_sizing_periods_are_kept_apart(ran: Ran, twins: Twins) -> None:
    sidecars, database = twins("several_periods")
    assert sidecars.record is not None
    names = {file.name for file in sidecars.record.files}
    assert {"timeseries-hourly.parquet", "sizing-hourly.parquet", "timeseries-annual.parquet"} <= names
    # No sizing period reaches the end of a year.
    assert "sizing-annual.parquet" not in names
    for kind, expected in (("timeseries", {"YEAR", "JULY", "LAST"}), ("sizing", {"CHICAGO", "COLD"})):
        stored = pd.read_parquet(f"{sidecars.url.removeprefix('file://')}/{kind}-hourly.parquet")
        assert {name.split()[0] for name in stored["environment"].unique()} == expected
    for result in (sidecars, database):
        sizing = result.timeseries(METER, environment=["chicago*", "cold day"])
        assert sizing.groupby("environment", sort=False).size().to_dict() == {
            "CHICAGO WINTER": 24,
            "CHICAGO SUMMER": 24,
            "COLD DAY": 24,
        }
        # For these no year is reported.
        assert [*sizing.groupby("environment", sort=False).head(1).index.get_level_values("time")] == [
            *pd.to_datetime(["2017-01-21 01:00", "2017-07-21 01:00", "2017-01-20 01:00"])
        ]


@pytest.mark.parametrize(("name", "step", "rows"), [("everything", "15min", 192), ("ten_minutes", "10min", 288)])
def test_time_steps_within_an_hour(twins: Twins, name: str, step: str, rows: int) -> None:
    for result in twins(name):
        steps = result.timeseries(HEATING, frequency="timestep")
        hours = result.timeseries(HEATING, frequency="hourly")
        assert len(steps) == rows and spaced(steps, step) and spaced(hours, "h")
        assert steps.index[-1] == hours.index[-1]
        sums = steps.iloc[:, 0].resample("h", closed="right", label="right").sum()
        np.testing.assert_allclose(sums, hours.iloc[:, 0])


@pytest.mark.parametrize("name", ["everything", "ten_minutes"])
def test_steps_of_the_system_are_one_row_a_moment_and_none_is_lost(ran: Ran, twins: Twins, name: str) -> None:
    for result in twins(name):
        frame = result.timeseries([HEATING, OUTDOORS], frequency="detailed", environment="*")
        of_zone = result.timeseries(OUTDOORS, frequency="timestep", environment="*")
        # The system took shorter steps than the zone, and each exists once.
        assert len(frame) > len(of_zone) and frame.index.is_unique
        assert frame.groupby("environment").size().min() >= 96 if name == "everything" else True
        with closing(sqlite3.connect(ran(name).sql_path)) as database:  # type: ignore[arg-type]  # it exists
            for series in result.data.find("*", frequency="detailed"):
                count, total = database.execute(
                    """
                    SELECT count(*), sum(Value) FROM ReportData JOIN ReportDataDictionary
                    USING (ReportDataDictionaryIndex)
                    WHERE Name = ? AND KeyValue = ? AND ReportingFrequency = 'HVAC System Timestep'
                    """,
                    (series.variable, series.key),
                ).fetchone()
                own = result.timeseries(series.variable, keys=series.key, frequency="detailed", environment="*")
                assert own.count().item() == count and own.sum().item() == pytest.approx(total)
        outdoors = frame[f"Environment:{OUTDOORS} [C](Each Call)"].dropna()
        np.testing.assert_array_equal(outdoors, of_zone.iloc[:, 0])
        assert (outdoors.index == of_zone.index).all()


def test_daylight_saving_time_moves_what_is_used_but_not_the_clock(twins: Twins) -> None:
    result = twins("daylight_saving")[0]
    hourly = result.timeseries(LIGHTS, frequency="hourly")
    assert len(hourly) == 168 and spaced(hourly, "h") and spaced(result.timeseries(frequency="timestep"), "15min")
    assert [*result.timeseries(frequency="daily").index] == [*pd.date_range("2010-03-09", "2010-03-15")]
    lights = hourly.iloc[:, 0]
    first = lights[lights > lights.max() / 2].groupby(lambda time: time.day).apply(lambda day: day.index[0].hour)
    # The lights go on at 7 by the clock on the wall: in the hour that ends at 8, and at 7 in the days of daylight saving.
    assert first.to_dict() == {8: 8, 9: 8, 10: 7, 11: 7, 12: 7}


def test_days_of_warm_up_are_left_out(ran: Ran, twins: Twins) -> None:
    cold, _ = twins("cold_start")
    for name in ("warm_start", "warm_start_hourly", "warm_start_daily"):
        with closing(sqlite3.connect(ran(name).sql_path)) as database:  # type: ignore[arg-type]  # it exists
            days = database.execute("SELECT count(*) FROM Time WHERE IntervalType = 2").fetchone()
        assert days[0] > 4
        for result in twins(name):
            for frequency in dict.fromkeys(series.frequency for series in result.data.catalog()):
                for environment in (None, "*"):
                    pd.testing.assert_frame_equal(
                        result.timeseries(TEMPERATURE, frequency=frequency, environment=environment),
                        cold.timeseries(TEMPERATURE, frequency=frequency, environment=environment),
                        check_exact=True,
                    )


def test_a_run_period_whose_end_nothing_tells(twins: Twins) -> None:
    """EnergyPlus dates no value of a whole run period; without any other step, it is not known."""
    for result in twins("only_run_period"):
        frame = result.timeseries(environment="*")
        assert [*frame.index.get_level_values("environment")] == ["YEAR", "JULY", "CHICAGO WINTER", "CHICAGO SUMMER"]
        assert frame.index.get_level_values("time").isna().all() and frame.notna().all().all()
        assert frame.loc["JULY"].iloc[0, 0] > frame.loc["YEAR"].iloc[0, 0]
