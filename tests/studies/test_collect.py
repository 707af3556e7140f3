"""Reading many cases at once: frames, datasets, and what other libraries read of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from support.places import Place
from support.proxy import FaultProxy
from support.variants import HEATING, variant

from idfkit_fs import Case, Study, cache
from idfkit_fs.errors import CaseNotFoundError, NotReportedError
from idfkit_fs.studies.collect import Collector, Found, Selection
from idfkit_fs.studies.layout import job_path

TEMPERATURE = "Zone Mean Air Temperature"
OUTDOORS = "Site Outdoor Air Drybulb Temperature"
METER = "DistrictHeatingWater:Facility"
COLUMN = f"ROOM:{TEMPERATURE} [C](Hourly)"
HOURS = 48


@pytest.fixture
def ok(collected: Study) -> list[str]:
    return list(collected.status().ok)


def test_series_of_many_cases(collected: Study) -> None:
    with pytest.warns(UserWarning, match="2 of 5 cases have no data: broken: EnergyPlus ended it with an error; later"):
        frame = collected.timeseries("zone mean*")
    assert frame.index.names == ["case", "time"]
    assert frame.attrs["units"] == {COLUMN: "C", COLUMN.replace("ROOM", "HALL"): "C"}
    assert frame.attrs["keys"] == {COLUMN: "ROOM", COLUMN.replace("ROOM", "HALL"): "HALL"}
    assert set(frame.attrs["without_data"]) == {"broken", "later"}
    for case in ("thick", "thin 1", "other"):
        one = collected.result(case).timeseries("zone mean*")
        pd.testing.assert_frame_equal(frame.loc[case].dropna(axis=1, how="all"), one, check_exact=True)
    assert len(frame) == 3 * HOURS


def test_a_case_without_the_series_is_told_of_and_the_others_are_read(collected: Study) -> None:
    cases = ["thick", "other"]
    with pytest.warns(UserWarning, match=r"1 of 2 cases have no data: other: There is no key value 'room'; .*'HALL'"):
        frame = collected.timeseries(TEMPERATURE, keys="room", cases=cases)
    assert list(frame.columns) == [COLUMN]
    assert set(frame.index.unique("case")) == {"thick"}


def test_what_no_case_has_is_an_error_that_names_the_nearest(collected: Study) -> None:
    with pytest.raises(
        NotReportedError,
        match=r"data: other, thick, thin 1: There is no .*nearest are 'Zone Mean Air Temperature', .*; broken: Energy",
    ):
        collected.timeseries("Zone Mean Air Temprature")
    with pytest.raises(NotReportedError, match=r"the nearest are 'End Uses', 'End Uses By"):
        collected.tabular("AnnualBuilding*", "End Use", cases="thick")
    with pytest.raises(CaseNotFoundError, match="did you mean 'thick'"):
        collected.timeseries(TEMPERATURE, cases=["thik"])
    with pytest.raises(NotReportedError, match="later: it has not been run"):
        collected.tabular(cases=["later"])


@pytest.mark.filterwarnings("ignore:2 of 5 cases")
def test_cells_of_many_cases(collected: Study, ok: list[str]) -> None:
    frame = collected.tabular(*HEATING)
    assert frame.index.name == "case" and list(frame.index) == ok
    for case in ok:
        pd.testing.assert_frame_equal(
            frame.loc[[case]].reset_index(drop=True), collected.result(case).tabular(*HEATING), check_exact=True
        )
    assert frame["number"]["thin 1"] > frame["number"]["thick"]


def test_a_dataset_of_many_cases(collected: Study, ok: list[str], tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="2 of 5 cases"):
        dataset = collected.to_xarray([TEMPERATURE, OUTDOORS, METER])
    assert dict(dataset.sizes) == {"case": 3, "key": 2, "time": HOURS}
    assert dataset[TEMPERATURE].dims == ("case", "key", "time")
    assert dataset[OUTDOORS].dims == dataset[METER].dims == ("case", "time")
    assert dataset[TEMPERATURE].attrs["units"] == "degC" and dataset[METER].attrs["cell_methods"] == "time: sum"
    assert list(dataset["case"].values) == ok
    assert dataset["insulation_m"].sel(case="thin 1") == 0.05 and np.isnan(dataset["insulation_m"].sel(case="other"))
    assert pd.isna(dataset["note"].values[0]) and list(dataset["note"].values[1:]) == ["good", "3"]
    assert dataset["storeys"].sel(case="other") == 2
    for case in ok:
        one = collected.result(case)
        key = "HALL" if case == "other" else "ROOM"
        told = one.timeseries([TEMPERATURE, METER])
        np.testing.assert_array_equal(dataset[TEMPERATURE].sel(case=case, key=key, time=told.index), told.iloc[:, 0])
        np.testing.assert_array_equal(dataset[METER].sel(case=case), told.iloc[:, 1])
    assert dataset[TEMPERATURE].sel(case="thick", key="HALL").isnull().all()
    assert dataset.attrs["without_data"].startswith("broken: EnergyPlus ended it with an error; later")
    dataset.to_netcdf(tmp_path / "study.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "study.nc", engine="h5netcdf") as again:
        np.testing.assert_array_equal(again[TEMPERATURE], dataset[TEMPERATURE])


@pytest.mark.filterwarnings("ignore:3 of 5 cases")
def test_names_may_come_from_anything_that_gives_them(collected: Study) -> None:
    frame = collected.timeseries(iter([TEMPERATURE]), keys=np.array(["ROOM"]), environment=iter(["year"]))
    pd.testing.assert_frame_equal(frame, collected.timeseries(TEMPERATURE, keys="room"))
    for nothing in ({"variables": []}, {"keys": ()}, {"environment": []}):
        with pytest.raises(ValueError, match="The list of names is empty"):
            collected.timeseries(**nothing)


def test_series_of_different_schedules_are_not_put_into_one_column(study: Study, epw: Path) -> None:
    scheduled = variant()
    next(iter(scheduled["Output:Variable"])).schedule_name = "Occupancy"
    study.add_cases([Case("always", variant(), epw), Case("sometimes", scheduled, epw)])
    study.run()
    with pytest.raises(
        ValueError, match="not the same in all cases: its reporting schedules are 'always' and 'OCCUPANCY'"
    ):
        study.timeseries(TEMPERATURE)
    always, sometimes = (study.timeseries(TEMPERATURE, cases=case).count().item() for case in ("always", "sometimes"))
    assert 0 < sometimes < always == HOURS


def test_parameters_of_every_kind(study: Study, epw: Path, tmp_path: Path) -> None:
    given = {
        "a": {"mixed": 1, "large": 2**70, "number": 2**60 + 1, "flag": True, "list": [1, 2]},
        "b": {"mixed": "x", "large": 1, "number": 0.5, "flag": False},
    }
    study.add_cases(Case(case, variant(), epw, parameters) for case, parameters in given.items())
    study.run()
    dataset = study.to_xarray(TEMPERATURE)
    study.to_parquet(tmp_path / "dataset", TEMPERATURE)
    frame = pd.read_parquet(tmp_path / "dataset").groupby("case").first()
    for told in (dataset.to_dataframe().groupby("case").first(), frame):
        assert [*told["mixed"]] == ["1", "x"] and [*told["large"]] == [str(2**70), "1"]
        assert [*told["flag"]] == [True, False] and told["list"]["a"] == "[1, 2]"


def test_parameters_are_read_at_once_where_they_are_consolidated(
    shaky_place: Place, proxy: FaultProxy, epw: Path, tmp_path: Path
) -> None:
    study = Study(shaky_place.url, storage_options=shaky_place.options)
    study.add_cases(Case(f"case-{number}", variant(0.1 + number / 10), epw, {"number": number}) for number in range(3))
    study.run()

    def of_jobs() -> int:
        proxy.reset_counters()
        assert [*study.to_xarray(TEMPERATURE)["number"].values] == [0, 1, 2]
        study.to_parquet(tmp_path, TEMPERATURE, overwrite=True)
        return sum("_study/jobs/case" in line for line in proxy.request_lines)

    assert of_jobs() == 2 * 3
    study.consolidate()
    assert of_jobs() == 0


def test_a_case_whose_job_is_lost_is_left_out(study: Study, epw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study.add_cases(Case(f"case-{number}", variant(0.1 + number / 10), epw, {"number": number}) for number in range(3))
    study.run()
    study.fs.write_bytes(job_path("case-0"), b"{")
    find = Collector.find

    def removed_meanwhile(collector: Collector, selection: Selection) -> Found:
        study.remove("case-1")
        return find(collector, selection)

    monkeypatch.setattr(Collector, "find", removed_meanwhile)
    with pytest.warns(UserWarning, match="2 of 3 cases have no data: case-0: .* is not the job of a case"):
        dataset = study.to_xarray(TEMPERATURE)
    assert [*dataset["case"].values] == ["case-2"] and [*dataset["number"].values] == [2]


def test_what_is_read_is_let_go_of(study: Study, epw: Path, empty_cache: Path) -> None:
    """A study without sidecars must not keep all of its databases in the cache."""
    study.add_cases(
        Case(f"case-{number}", variant(0.1 + number / 100), epw, exclude=["*.parquet"]) for number in range(3)
    )
    study.run()
    assert len(study.timeseries(TEMPERATURE)) == 3 * HOURS
    assert cache.info(empty_cache).in_use == 0


def test_several_frequencies_in_a_study(study: Study, epw: Path) -> None:
    daily = variant()
    for variable in daily["Output:Variable"]:
        variable.reporting_frequency = "Daily"
    study.add_cases([Case("daily", daily, epw), Case("hourly", variant(), epw)])
    study.run()
    with pytest.raises(ValueError, match="hourly in 'hourly', daily in 'daily'; choose one with frequency="):
        study.timeseries(TEMPERATURE)
    with pytest.warns(
        UserWarning,
        match="daily: 'Zone Mean Air Temperature' is not reported at the frequency 'hourly'; it is reported at daily",
    ):
        frame = study.timeseries(TEMPERATURE, frequency="hourly")
    assert set(frame.index.unique("case")) == {"hourly"}


def test_a_parameter_must_not_hide_a_column(study: Study, epw: Path, tmp_path: Path) -> None:
    study.add("case", variant(), epw, parameters={"time": "noon"})
    study.run()
    for collect in (lambda: study.to_xarray(), lambda: study.to_parquet(tmp_path / "x")):
        with pytest.raises(ValueError, match="parameter 'time' has the name of another column"):
            collect()


def test_a_damaged_run_is_told_of(study: Study, epw: Path) -> None:
    study.add_cases([Case("good", variant(0.1), epw), Case("bad", variant(0.2), epw)])
    study.run()
    for name in ("tabular.parquet", "timeseries-hourly.parquet", "eplus.sql"):
        study.fs.write_bytes(f"bad/{name}", b"PAR1 not any more")
    with (
        pytest.warns(UserWarning, match="Reading the whole database of s3://.*/bad"),
        pytest.warns(UserWarning, match="1 of 2 cases have no data: bad: The file differs"),
    ):
        frame = study.timeseries(TEMPERATURE)
    assert set(frame.index.unique("case")) == {"good"}


def test_a_refused_login_stops_all(shaky_place: Place, proxy: FaultProxy, epw: Path) -> None:
    study = Study(shaky_place.url, storage_options=shaky_place.options)
    study.add("case", variant(), epw)
    study.run()
    proxy.answer_status(403, count=None, on=r"run\.json")
    with pytest.raises(PermissionError):
        study.timeseries(TEMPERATURE)


def test_bars_show_how_far_reading_is(
    collected: Study, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    collected.timeseries(TEMPERATURE, progress=True)
    collected.to_xarray(TEMPERATURE, progress=True)
    bars = capsys.readouterr().err
    for word in ("Opening", "Reading", "Describing"):
        assert f"{word} {collected.url.rpartition('/')[2]}: 100 %" in bars
