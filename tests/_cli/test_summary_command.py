"""The table of a study: which columns and rows it has, in a terminal and elsewhere."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from support.fabricated import METRIC, add, end
from support.terminal import at_terminal

from idfkit_fs import Study
from idfkit_fs._cli.commands import commands
from idfkit_fs._cli.shared import json_text
from idfkit_fs._cli.table import sort_rows, width_of
from idfkit_fs.studies.job import StudyFile
from idfkit_fs.studies.layout import STUDY


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Three cases that are ok, one that failed, one pending; one has a long name in Japanese."""
    study = Study(tmp_path / "study")
    study.fs.write_bytes(STUDY, StudyFile(metrics=(METRIC,)).to_json())
    for name, wwr, energy in (
        ("wwr-0.2", 0.2, 3000.0),
        ("wwr-0.4", 0.4, 1000.0),
        ("東京-" + "非常に長い名前-" * 5, 0.6, 2000.0),
    ):
        job = add(study, name, wwr=wwr, city="Zürich")
        end(study, job, energy=energy, summary={"eui_kwh_m2": energy / 100, "floor_area_m2": 100.0})
    end(study, add(study, "bad", wwr=0.8, city="Zürich"), "failed")
    add(study, "later", wwr=1.0, city="Zürich")
    return tmp_path / "study"


def summary(made: Path, *arguments: object) -> Result:
    return CliRunner().invoke(commands, ["summary", str(made), *map(str, arguments)])


def cases_of(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [row["case"] for row in json.loads(result.stdout)]


def test_columns_are_chosen_by_names_and_patterns(made: Path) -> None:
    shown = summary(made, "wwr-*", "--columns", "eui_kwh_m2,heating_*,wwr")
    assert shown.stdout.splitlines()[0].split() == [
        *("case", "eui_kwh_m2", "heating_electricity_kwh", "heating_natural_gas_kwh", "wwr")
    ]
    assert shown.stdout.splitlines()[1].split() == ["wwr-0.2", "30", "1500", "1500", "0.2"]
    assert shown.stderr == ""
    wrong = summary(made, "--columns", "eui")
    assert wrong.exit_code == 2 and "no column 'eui'; did you mean" in wrong.stderr


def test_the_units_of_metrics_are_in_the_heading(made: Path) -> None:
    assert summary(made, "--columns", "heating").stdout.splitlines()[0].split() == ["case", "heating", "[kWh]"]


def test_rows_are_sorted_with_those_without_a_value_last(made: Path) -> None:
    tokyo = next(name for name in Study(made).cases() if name.startswith("東"))
    by = {order: cases_of(summary(made, "--json", "--sort", order)) for order in ("eui_kwh_m2", "-eui_kwh_m2", "case")}
    assert by["eui_kwh_m2"] == ["wwr-0.4", tokyo, "wwr-0.2", "bad", "later"]
    assert by["-eui_kwh_m2"] == ["wwr-0.2", tokyo, "wwr-0.4", "bad", "later"]
    assert by["case"] == sorted(by["case"])
    wrong = summary(made, "--sort", "euii_kwh_m2")
    assert wrong.exit_code == 2 and "did you mean 'eui_kwh_m2'?" in wrong.stderr


def test_values_of_several_types_are_sorted() -> None:
    rows: list[dict[str, Any]] = [{"a": "x"}, {"a": [1]}, {"a": 2}, {"a": None}, {}, {"a": True}, {"-a": 1}]
    assert [row.get("a") for row in sort_rows(rows, "a", ["a"])] == [True, 2, [1], "x", None, None, None]
    assert sort_rows(rows, "-a", ["a", "-a"])[0] == {"-a": 1}


def test_rows_are_chosen_by_names_and_by_any_column(made: Path) -> None:
    assert cases_of(summary(made, "wwr-*", "--json")) == ["wwr-0.2", "wwr-0.4"]
    assert cases_of(summary(made, "--where", "eui_kwh_m2>10", "--where", "wwr<0.5", "--json")) == ["wwr-0.2"]
    assert cases_of(summary(made, "--where", "state=failed", "--json")) == ["bad"]
    none = summary(made, "x*")
    assert none.exit_code == 1 and none.stderr.startswith("Error: The study has no case that matches 'x*'")
    misspelt = summary(made, "--where", "wrw>1")
    assert misspelt.exit_code == 1 and "did you mean 'wwr'?" in misspelt.stderr


def test_json_has_each_column_and_null_for_what_is_unknown(made: Path) -> None:
    rows = {row["case"]: row for row in json.loads(summary(made, "--json").stdout)}
    assert len({tuple(row) for row in rows.values()}) == 1
    assert rows["later"]["eui_kwh_m2"] is None and rows["wwr-0.2"]["eui_kwh_m2"] == 30.0
    assert json.loads(json_text({"a": [math.nan, math.inf, 1.5], "b": (1, -math.inf)})) == {
        "a": [None, None, 1.5],
        "b": [1, None],
    }


def test_a_file_has_what_was_chosen_and_all_columns(made: Path, tmp_path: Path) -> None:
    chosen = ("wwr-*", "--sort", "eui_kwh_m2")
    for suffix in (".csv", ".json", ".parquet"):
        assert summary(made, *chosen, "--output", tmp_path / f"s{suffix}").exit_code == 0
    assert [row["case"] for row in csv.DictReader((tmp_path / "s.csv").open(encoding="utf-8"))] == [
        "wwr-0.4",
        "wwr-0.2",
    ]
    table = pd.read_parquet(tmp_path / "s.parquet")
    rows = json.loads((tmp_path / "s.json").read_text())
    assert [*table.index] == [row["case"] for row in rows] == ["wwr-0.4", "wwr-0.2"]
    assert {*table.columns, "case"} == {*rows[0]}
    few = summary(made, "--columns", "wwr", "--output", tmp_path / "few.parquet")
    assert few.exit_code == 0 and [*pd.read_parquet(tmp_path / "few.parquet").columns] == ["wwr"]
    both = summary(made, "--csv", "--json")
    assert both.exit_code == 2 and "cannot be combined" in both.stderr


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_table_fits_the_terminal(made: Path, columns: int) -> None:
    code, shown = at_terminal("summary", made, "--no-progress", columns=columns)
    assert code == 0
    lines, notes = shown.split("\n")[:6], " ".join(shown.split("\n")[6:])
    table = "\n".join(lines)
    assert max(map(width_of, shown.split("\n"))) <= columns and " columns are not shown (" in notes
    heading = lines[0].split()
    assert heading[0] == "case"
    if columns == 80:
        assert heading == ["case", "state", "name", "wwr", "city", "eui_kwh_m2"]
    if columns == 200:
        assert heading[:5] == ["case", "state", "name", "wwr", "city"] and heading[-1] == "message"
        assert "** Fatal ** bad is wrong" in table
    assert "--columns NAME,... or --columns '*'" in notes and "--output FILE" in notes


def test_a_terminal_shows_all_columns_if_asked(made: Path) -> None:
    shown = at_terminal("summary", made, "--no-progress", "--columns", "*")[1]
    elsewhere = summary(made).stdout
    assert shown == elsewhere and "not shown" not in shown
    assert "非常に長い名前-" * 5 in elsewhere
