"""Metrics: how they match, what is said of those that do not, those added later, and cases of different units."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.summaries import styled
from support.variants import HEATING, broken, variant

from idfkit_fs import Case, Study
from idfkit_fs._outputs.database import Cell
from idfkit_fs.studies.job import Metric, parse_metrics
from idfkit_fs.studies.rows import as_csv
from idfkit_fs.studies.summary import measure
from idfkit_fs.studies.units import converted

ANNUAL = "AnnualBuildingUtilityPerformanceSummary"
AREA = (ANNUAL, "Building Area", "Total Building Area", "Area")
VERSION = ("InputVerificationandResultsSummary", "General", "Program Version and Build", "Value")


def cell(row: str, value: str, column: str = "Electricity", report_for: str = "Entire Facility") -> Cell:
    return Cell("Report", report_for, "End Uses", row, column, "GJ", value)


CELLS = [cell("Heating", "1.5"), cell("Cooling", "2.5"), cell("HEATING", "3.5", "Gas"), cell("Time of Peak", "-")]


def metric(row: str, column: str = "*", report: str = "report") -> Metric:
    return Metric(name="x", report=report, table="END uses", row=row, column=column)


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        (metric("cooling"), 2.5),
        (metric("Cool*"), 2.5),
        (metric("heating", "gas"), 3.5),
        (metric("*", "G*"), 3.5),
        (metric("time of peak"), "-"),
    ],
    ids=str,
)
def test_a_metric_matches_as_tabular_does(asked: Metric, value: object) -> None:
    measured = measure(asked, CELLS)
    assert (measured.value, measured.units, measured.problem) == (value, "GJ", None)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (metric("Heatin"), "no row 'Heatin'; the nearest is 'HEATING'"),
        (metric("Cooling", "Gas"), "no column 'Gas'; there is 'Electricity'"),
        (metric("Cooling", report="Rep"), "no report 'Rep'; the nearest is 'Report'"),
        (metric("*", "Electricity"), r"3 cells match, such as \(Report, .*Heating.*\) and \(.*Cooling.*\); name one"),
        (metric("heating"), "2 cells match"),
    ],
    ids=str,
)
def test_a_metric_without_a_value_says_why(asked: Metric, why: str) -> None:
    measured = measure(asked, CELLS)
    assert measured.value is None and measured.problem is not None
    assert re.fullmatch(f"The metric 'x' has no value: .*{why}.*", measured.problem), measured.problem


def test_equal_cells_are_one_and_different_ones_of_a_name_are_not() -> None:
    assert measure(metric("Cooling"), [*CELLS, CELLS[1]]).value == 2.5
    other = cell("Cooling", "9.9", report_for="ROOM 2")
    assert "2 cells match" in (measure(metric("Cooling"), [*CELLS, other]).problem or "")
    exact = Metric(name="x", report="Report", table="End Uses", row="Heating", column="Electricity")
    assert measure(exact, [*CELLS, cell("heating", "7")]).value == 1.5


def test_the_default_name_and_cell_of_a_metric() -> None:
    (found,) = parse_metrics([(" Report ", "Table", "Row", "Column")])
    assert found.name == "Table, Row, Column" and found.cell == ("Report", "Table", "Row", "Column")
    assert parse_metrics({"x": ("*", "*", "", "*")})[0].row == ""


@pytest.mark.parametrize(
    ("metrics", "error", "why"),
    [
        ([("report", "table", "row")], ValueError, "must be a tuple"),
        (["four"], ValueError, "must be a tuple"),
        ([5], ValueError, "must be a tuple"),
        ([("a", "b", "c", 1)], ValueError, "must be a tuple"),
        ([("a", " ", "c", "d")], ValueError, "empty name"),
        ({1: HEATING}, TypeError, "must be a str"),
        ({"state": HEATING}, ValueError, "'state'"),
        ({"hours_simulated": HEATING}, ValueError, "'hours_simulated'"),
        ([HEATING, HEATING], ValueError, "two columns"),
    ],
    ids=repr,
)
def test_invalid_metrics_are_refused_when_a_case_is_made(metrics: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        Case("a", "model.idf", metrics=metrics)
    with pytest.raises(error, match=why):
        Study("memory://no-study", metrics=metrics)


def test_metrics_from_a_generator_are_kept() -> None:
    case = Case("a", "model.idf", metrics=(each for each in [HEATING]))
    assert parse_metrics(case.metrics) == parse_metrics(case.metrics) == parse_metrics([HEATING])
    assert pickle.loads(pickle.dumps(case)) == case


def test_units_are_converted_by_the_factors_of_energyplus() -> None:
    assert converted(40840.20, "kBtu", "GJ") == pytest.approx(43.06, abs=0.005)
    assert converted(861.20, "ft2", "m2") == pytest.approx(80, abs=0.001)
    assert converted(1.0, "C", "C") == 1.0 and converted(1.0, "C", "F") is None and converted(1.0, "GJ", "m2") is None


@pytest.fixture(scope="module")
def ran_study(epw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases of different units; one without a run period, one that failed, and one that has not been run."""
    directory = tmp_path_factory.mktemp("study")
    study = Study(directory, metrics={"heating": HEATING})
    study.add_cases(
        [
            Case("si", variant(), epw, {"n": 1}),
            Case("ip", styled(variant(), "InchPound"), epw, {"n": 2}),
            Case("sizing", variant(), None, {"n": 3}, options={"design_day": True}),
            Case("bad", broken(), epw),
        ]
    )
    study.run(max_workers=2)
    study.add("later", variant(0.3), epw, parameters={"n": 4})
    return directory


@pytest.fixture
def study(ran_study: Path, tmp_path: Path) -> Study:
    """A copy of it."""
    return Study(Path(shutil.copytree(ran_study, tmp_path / "study")))


def test_a_metric_has_one_unit_in_the_column(study: Study) -> None:
    summary = study.summary()
    assert summary.attrs["units"] == {"heating": "kBtu"}  # that of the first case, "ip"
    raw = {case: study.result(case).tabular(*HEATING).iloc[0] for case in ("si", "ip")}
    assert (raw["si"]["units"], raw["ip"]["units"]) == ("GJ", "kBtu")
    assert summary.loc["ip", "heating"] == raw["ip"]["number"]
    assert summary.loc["si", "heating"] == pytest.approx(raw["si"]["number"] * 948.45)
    assert summary.loc["si", "heating"] == pytest.approx(summary.loc["ip", "heating"], abs=0.0051 * 948.45)
    assert summary["heating"].dtype == "float64" and pd.isna(summary.loc["bad", "heating"])


def test_units_that_cannot_be_converted_are_told(study: Study) -> None:
    tolerance = (ANNUAL, "Setpoint Not Met Criteria", "*Heating*", "Degrees")
    summary = Study(study.url, metrics={"tolerance": tolerance}).summary()
    assert summary["tolerance"].notna().tolist() == [case == "ip" for case in summary.index]
    assert (
        "'tolerance' has no value: it is in deltaC here, and in deltaF in other cases" in summary.loc["si", "message"]
    )


def test_tabular_does_not_mix_units(study: Study) -> None:
    with pytest.raises(ValueError, match=r"different units.*'End Uses, .*': GJ in .*si.*; kBtu in ip\..*cases="):
        study.tabular(ANNUAL, "End Uses", cases=["si", "ip", "sizing"])
    with pytest.warns(UserWarning, match="have no data"):
        hours = study.tabular("Input*", "General", "Hours Simulated")
    assert hours["number"].to_dict() == {"ip": 48, "si": 48, "sizing": 0}
    assert study.tabular(*HEATING, cases=["si", "sizing"])["units"].unique() == ["GJ"]


def test_metrics_added_later_are_read_from_the_tables(study: Study) -> None:
    study.fs.remove("si/eplus.sql")  # the sidecar must do
    study.fs.remove("ip/tabular.parquet")  # the database must do
    wanted = {"area": AREA, "version": VERSION, "heating": HEATING, "typo": (ANNUAL, "End Use", "x", "y")}
    with pytest.warns(UserWarning, match="Reading the whole database"):
        summary = Study(study.url, metrics=wanted).summary()
    assert summary.loc["si", "area"] == pytest.approx(80 * 10.764961, abs=0.06)  # in ft2, as the first case
    assert summary.attrs["units"]["area"] == "ft2"
    assert summary.loc[["ip", "si", "sizing"], "version"].str.startswith("EnergyPlus").all()
    assert summary.loc[["bad", "later"], "area"].isna().all()
    for case in ("si", "ip"):
        assert (
            "'typo' has no value: There is no table 'End Use'; the nearest are 'End Uses'"
            in summary.loc[case, "message"]
        )
    # A metric of the same name for another cell does not show the old one's value.
    other = Study(study.url, metrics={"heating": AREA}).summary()
    assert other.loc["ip", "heating"] == pytest.approx(861.2)


def test_metrics_that_the_study_got_later_too(study: Study, epw: Path) -> None:
    Study(study.url, metrics={"area": AREA}).add("later", variant(0.3), epw, parameters={"n": 4})
    assert Study(study.url).summary()["area"].notna().sum() == 3


def test_tables_that_are_gone_are_told(study: Study) -> None:
    for name in ("si/eplus.sql", "si/tabular.parquet"):
        study.fs.remove(name)
    summary = Study(study.url, metrics={"area": AREA}).summary()
    assert pd.isna(summary.loc["si", "area"]) and summary.loc["ip", "area"] == pytest.approx(861.2)
    assert "The metric 'area' has no value: the tables of the run cannot be read" in summary.loc["si", "message"]


def test_a_metric_of_a_case_goes_before_the_studys(study: Study, epw: Path) -> None:
    study.add("own", variant(), epw, metrics={"heating": AREA})
    study.run(["own"])
    row = study.summary().loc["own"]  # an area among energies
    assert pd.isna(row["heating"]) and "'heating' has no value: it is in m2 here, and in kBtu in" in row["message"]
    study.remove(["ip", "si"])
    assert study.summary().loc["own", "heating"] == 80


def test_types_do_not_depend_on_which_cases_miss_a_value(study: Study) -> None:
    summary = study.summary()
    assert summary.loc["bad", "hours_simulated"] == 0 and pd.isna(summary.loc["later", "hours_simulated"])
    assert summary.loc[["ip", "si", "sizing"], "hours_simulated"].tolist() == [48, 48, 0]
    assert "only sizing periods" in summary.loc["sizing", "message"] and pd.isna(summary.loc["later", "message"])
    assert "missing" not in summary.loc["bad", "message"]
    assert str(summary["warnings"].dtype) == "Int64" and str(summary["n"].dtype) == "Int64"
    for name in ("eui_kwh_m2", "site_energy_kwh", "runtime_seconds", "peak_electricity_w", "hours_simulated"):
        assert summary[name].dtype == "float64", name
    empty = Study(study.url)
    empty.remove(["si", "ip", "sizing", "bad"])
    pending = empty.summary()
    assert pending["eui_kwh_m2"].dtype == "float64" and str(pending["warnings"].dtype) == "Int64"
    assert pending["message"].isna().all()


def test_csv_and_json_say_what_the_frame_says(study: Study, tmp_path: Path) -> None:
    columns, rows = study.summary_rows()
    summary = study.summary()
    (tmp_path / "summary.csv").write_text(as_csv(columns, rows))
    read = pd.read_csv(tmp_path / "summary.csv", index_col="case", float_precision="round_trip")
    assert [*read.columns] == [*summary.columns] == columns[1:]
    told = json.loads(json.dumps(rows, allow_nan=False))
    for row in told:
        for name in columns[1:]:
            value, of_csv, of_json = summary.loc[row["case"], name], read.loc[row["case"], name], row.get(name)
            assert pd.isna(value) == pd.isna(of_csv) == (of_json is None), (row["case"], name)
            assert of_json is None or (value == of_json and of_csv == of_json), (row["case"], name)


def test_a_record_with_unknown_facts_has_a_row(study: Study) -> None:
    (path,) = study.fs.glob("_study/ok", "si.*")
    outcome = json.loads(study.fs.read_text(path))
    outcome["record"] |= {"runtime_seconds": None, "finished": None}
    study.fs.write_text(path, json.dumps(outcome))
    summary = study.summary()
    assert pd.isna(summary.loc["si", "runtime_seconds"]) and summary.loc["si", "state"] == "ok"
    columns, rows = study.summary_rows()
    assert "runtime_seconds" not in next(row for row in rows if row["case"] == "si")
    assert as_csv(columns, rows) and study._repr_html_()


def test_a_parameter_of_an_end_uses_name_is_told(study: Study, epw: Path) -> None:
    study.add("clash", variant(), epw, parameters={"heating_district_heating_water_kwh": 1})
    with pytest.raises(ValueError, match="two columns 'heating_district_heating_water_kwh', a parameter and a figure"):
        study.summary()
    with pytest.raises(ValueError, match="two columns 'n', a parameter and a metric"):
        clean = Study(study.url, metrics={"n": AREA})
        clean.remove("clash")
        clean.summary()
