"""Frames of real runs: the same from sidecars and from the database, and what EnergyPlus and idfkit say themselves."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.models import HEATING, LIGHTS, METER, OUTDOORS, TEMPERATURE, Ran, Twins

from idfkit_fs import publish
from idfkit_fs._outputs.series import FREQUENCIES

MODELS = ["everything", "office", "storeys"]


@pytest.mark.parametrize("name", [*MODELS, "several_periods", "odd_names"])
def test_both_ways_of_reading_give_equal_frames(twins: Twins, name: str) -> None:
    sidecars, database = twins(name)
    assert {*sidecars.data.catalog()} == {*database.data.catalog()}
    frequencies = dict.fromkeys(series.frequency for series in database.data.catalog())
    for frequency in frequencies:
        for environment in (None, "*"):
            ours = sidecars.timeseries(frequency=frequency, environment=environment)
            pd.testing.assert_frame_equal(
                ours, database.timeseries(frequency=frequency, environment=environment), check_exact=True
            )
            assert ours.attrs == database.timeseries(frequency=frequency, environment=environment).attrs
            assert len(ours) and ours.notna().any().all()
    assert name != "everything" or [*frequencies] == [*FREQUENCIES]


@pytest.mark.parametrize("name", MODELS)
def test_both_ways_of_reading_give_equal_tables(twins: Twins, name: str) -> None:
    sidecars, database = twins(name)
    cells = sidecars.tabular()
    assert len(cells) > 1000
    pd.testing.assert_frame_equal(cells, database.tabular(), check_exact=True)
    part = {"report": "annual*", "table": "End Uses", "row": "heat*", "column": "District*"}
    pd.testing.assert_frame_equal(sidecars.tabular(**part), database.tabular(**part), check_exact=True)


@pytest.mark.parametrize("name", ["with_csv", "office"])
def test_columns_are_named_as_in_the_csv(ran: Ran, twins: Twins, name: str) -> None:
    told = pd.read_csv(ran(name).run_dir / "eplus.csv", nrows=0).columns[1:]
    result = twins(name)[0]
    for frequency in dict.fromkeys(series.frequency for series in result.data.catalog()):
        ours = [*result.timeseries(frequency=frequency)]
        label = f"({FREQUENCIES[frequency].label})"
        assert set(ours) == {column for column in told if column.endswith(label)}
        assert len(set(ours)) == len(ours)


def test_values_and_times_are_those_of_the_csv(ran: Ran, twins: Twins) -> None:
    table = pd.read_csv(ran("with_csv").run_dir / "eplus.csv")
    # The CSV is sorted by the day of the year, whatever the environment.
    order = ["CHICAGO WINTER", "CHICAGO SUMMER", "YEAR"]
    for frequency in ("detailed", "timestep", "hourly", "daily", "monthly", "runperiod"):
        frame = twins("with_csv")[0].timeseries(frequency=frequency, environment="*")
        ordered = pd.concat([frame.loc[[environment]] for environment in order]).droplevel("environment")
        for column in frame:
            own, told = ordered[column].dropna(), table[["Date/Time", column]].dropna()
            np.testing.assert_allclose(own, told[column], rtol=1e-12)  # it rounds to 15 digits
            if frequency not in ("monthly", "runperiod"):  # which are in the row of their last step
                # Of parts of minutes, the CSV rounds some up that the database rounds down.
                most = pd.Timedelta(minutes=1 if frequency == "detailed" else 0)
                ends = pd.DatetimeIndex([moment(*text.split()) for text in told["Date/Time"]])
                assert (abs(own.index.map(lambda time: time.replace(year=2000)) - ends) <= most).all()


def moment(day: str, time: str) -> pd.Timestamp:
    """A moment of the CSV, which tells no year, and whose days end at 24:00."""
    end = pd.Timestamp(f"2000/{day}") + pd.Timedelta(time)
    return end.replace(year=2000)


@pytest.mark.parametrize("name", MODELS)
def test_values_and_times_are_those_that_idfkit_reads(ran: Ran, twins: Twins, name: str) -> None:
    database = ran(name).sql
    assert database is not None
    compared = 0
    for series in twins(name)[0].data.catalog():
        # Where two differ by their schedule alone, idfkit takes either; of a run period and a year it has no time.
        if series.frequency in ("runperiod", "annual") or (series.variable == TEMPERATURE and series.schedule):
            continue
        if series.variable == METER and series.frequency == "hourly" and name == "everything":
            continue
        told = database.get_timeseries(
            series.variable, series.key or "*", FREQUENCIES[series.frequency].stored, environment="annual"
        )
        own = twins(name)[0].timeseries(series.variable, keys=series.key, frequency=series.frequency)[series.column]
        own = own.dropna()
        assert own.tolist() == [*told.values]
        assert own.index.to_pydatetime().tolist() == [*told.timestamps]
        assert (series.units, series.variable) == (told.units, told.variable_name)
        compared += len(own)
    assert compared > 200


def test_a_frame_tells_its_units_and_is_in_the_order_of_the_question(twins: Twins) -> None:
    for result in twins("office"):
        frame = result.timeseries([METER, OUTDOORS])
        assert [*frame] == [f"{METER} [J](Hourly)", f"Environment:{OUTDOORS} [C](Hourly)"]
        assert frame.attrs["units"] == dict(zip(frame, ["J", "C"], strict=True))
        assert frame.attrs["keys"] == dict(zip(frame, ["", "Environment"], strict=True))
        assert frame.index.name == "time" and len(frame) == 72


def test_a_scheduled_variable_has_values_when_its_schedule_says(twins: Twins) -> None:
    frame = twins("everything")[0].timeseries(TEMPERATURE, frequency="hourly")
    always, occupied = frame.columns
    assert (always, occupied) == (
        f"ROOM:{TEMPERATURE} [C](Hourly)",
        f"ROOM:{TEMPERATURE} [C](Hourly:OCCUPANCY)",
    )
    assert frame[always].notna().all()
    told = frame[occupied].dropna()
    # Both days are week days.
    assert set(told.index.hour) == set(range(9, 19)) and len(told) == 20
    np.testing.assert_allclose(told, frame[always][told.index])


def test_a_cumulative_meter_is_told_from_the_meter(twins: Twins) -> None:
    frame = twins("everything")[0].timeseries(METER, frequency="hourly", environment="year")
    meter, cumulative = f"{METER} [J](Hourly)", f"Cumulative {METER} [J](Hourly)"
    assert {*frame} == {meter, cumulative}
    assert (frame[cumulative].diff().dropna() > 0).all()
    np.testing.assert_allclose(frame[cumulative].diff().dropna(), frame[meter].iloc[1:])


def test_means_and_sums_are_told_apart(twins: Twins) -> None:
    kinds = {series.variable: series.averaged for series in twins("everything")[0].data.catalog("hourly")}
    assert kinds == {TEMPERATURE: True, OUTDOORS: True, HEATING: False, METER: False, LIGHTS: False}
    hourly = twins("everything")[0].timeseries(HEATING, frequency="hourly").sum()
    # A year's value is not compared: EnergyPlus adds the design days to it.
    for frequency in ("detailed", "timestep", "daily", "monthly", "runperiod"):
        total = twins("everything")[0].timeseries(HEATING, frequency=frequency).sum()
        assert total.iloc[0] == pytest.approx(hourly.iloc[0], rel=1e-9) and total.iloc[0] > 0


def test_the_cells_are_those_that_idfkit_reads(ran: Ran, twins: Twins) -> None:
    database = ran("office").sql
    assert database is not None
    told = database.get_tabular_data()
    cells = twins("office")[0].tabular()
    for ours, theirs in (
        ("report", "report_name"),
        ("report_for", "report_for"),
        ("table", "table_name"),
        ("row", "row_name"),
        ("column", "column_name"),
        ("units", "units"),
    ):
        assert cells[ours].tolist() == [getattr(row, theirs) for row in told]
    assert cells["value"].tolist() == [row.value.strip() for row in told]
    for value, number in zip(cells["value"], cells["number"], strict=True):
        assert math.isnan(number) or float(value) == number
    assert cells["number"].notna().sum() > 500


def test_cells_of_the_same_names_are_rows_of_their_own(ran: Ran, twins: Twins) -> None:
    names = ["report", "report_for", "table", "row", "column"]
    for result in twins("everything"):
        cells = result.tabular()
        # EnergyPlus separates parts of a table by rows without a name.
        doubled = cells[cells.duplicated(names, keep=False)]
        assert len(doubled) > 1
        report, _, table, row, column = doubled.iloc[0][names]
        assert len(result.tabular(report, table, row or "", column)) > 1


def test_one_cell(twins: Twins) -> None:
    (cell,) = twins("office")[0].tabular("AnnualBuilding*", "end uses", "Interior Lighting", "electricity").itertuples()
    assert cell.units == "GJ" and float(cell.value) == cell.number > 0 and cell.report_for == "Entire Facility"


def test_a_database_without_series(twins: Twins) -> None:
    for result in twins("tables_alone"):
        assert result.data.catalog() == () or result.data.catalog() == []
        assert len(result.tabular()) > 1000


def test_many_frames_of_one_result(twins: Twins) -> None:
    """What one question left behind does not change the answer to the next."""
    for result in twins("everything"):
        first = result.timeseries(frequency="hourly")
        again = result.timeseries(frequency="hourly")
        again.iloc[:] = 0.0
        pd.testing.assert_frame_equal(result.timeseries(frequency="hourly"), first, check_exact=True)


def test_several_row_groups_give_the_same_values(
    ran: Ran, twins: Twins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held at once is bounded; a long run is written in parts."""
    import pyarrow.parquet as pq

    monkeypatch.setattr("idfkit_fs._outputs.sidecars._HELD", 300)
    monkeypatch.setattr("idfkit_fs._outputs.database._BATCH", 7)
    for name in ("everything", "ten_minutes", "several_periods"):
        parts = publish(ran(name), tmp_path / name, exclude=["*.sql"])
        sidecar = "timeseries-detailed.parquet"
        assert pq.ParquetFile(tmp_path / name / sidecar).num_row_groups > 2
        for frequency in dict.fromkeys(series.frequency for series in parts.data.catalog()):
            whole = twins(name)[0].timeseries(frequency=frequency, environment="*")
            pd.testing.assert_frame_equal(
                parts.timeseries(frequency=frequency, environment="*"), whole, check_exact=True
            )
