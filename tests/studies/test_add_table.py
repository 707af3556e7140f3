"""A parametric study in a line: a table of cases, whose models a function builds."""

from __future__ import annotations

import datetime as dt
import gc
import io
import uuid
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from idfkit import IDFDocument, new_document
from support.variants import variant

from idfkit_fs import Study
from idfkit_fs.errors import CaseExistsError, LocationError, ModelError, StudyNotFoundError
from idfkit_fs.studies.stored import read_job

TABLE = pd.DataFrame({"insulation_m": [0.05, 0.1, 0.2], "storeys": [1, 2, 3], "city": ["chicago", "miami", "chicago"]})


def build(row: dict[str, Any]) -> IDFDocument:
    return variant(row["insulation_m"])


def bare(row: dict[str, Any]) -> IDFDocument:
    """A model that is never run, and that is written quickly."""
    document = new_document((25, 2, 0))
    next(iter(document["Building"])).north_axis = row["north"]
    return document


@pytest.fixture
def study() -> Study:
    return Study(f"memory://{uuid.uuid4().hex}")


def test_a_table_is_added_run_and_collected_in_a_line_each(tmp_path: Path, epw: Path) -> None:
    study = Study(tmp_path)
    study.add_table(TABLE, build, weather=lambda row: epw, name="{city}-{insulation_m:.2f}")
    assert study.run().simulated == ("chicago-0.05", "chicago-0.20", "miami-0.10")
    summary = study.summary()
    assert summary.loc["miami-0.10", ["storeys", "city", "state"]].tolist() == [2, "miami", "ok"]
    heating = summary.sort_values("insulation_m")["heating_district_heating_water_kwh"]
    assert heating.is_monotonic_decreasing and heating.min() > 0
    # Again: nothing changes, and rows that are new are added.
    more = pd.concat([TABLE, pd.DataFrame({"insulation_m": [0.3], "storeys": [4], "city": ["miami"]})])
    study.add_table(more, build, weather=epw, name="{city}-{insulation_m:.2f}")
    assert study.status().pending == ("miami-0.30",)
    assert len(study.cases({"city": "miami"})) == 2


def test_a_row_is_a_dictionary_of_pythons_types(study: Study) -> None:
    rows: list[dict[str, Any]] = []

    def keep(row: dict[str, Any]) -> IDFDocument:
        rows.append(row)
        found = bare({"north": row.pop("north")})  # what it does to its row is its own business
        row["more"] = object()
        return found

    frame = pd.DataFrame(
        {
            "north": [1, 2],
            "wwr": np.array([0.5, np.nan], dtype="float32"),
            "count": pd.array([7, None], dtype="Int64"),
            "city": pd.Categorical(["chicago", "miami"]),
            "start": pd.to_datetime(["2026-01-01", None]),
        },
        index=["a", "b"],
    )
    study.add_table(frame, keep)
    assert [type(value) for value in list(rows[0].values())[:2]] == [float, int]
    assert read_job(study.fs, "a").parameters == {
        "north": 1,
        "wwr": 0.5,
        "count": 7,
        "city": "chicago",
        "start": "2026-01-01T00:00:00",
    }
    assert type(read_job(study.fs, "a").parameters["north"]) is int
    assert read_job(study.fs, "b").parameters == {
        "north": 2,
        "wwr": None,
        "count": None,
        "city": "miami",
        "start": None,
    }


@pytest.mark.parametrize(
    ("frame", "name", "cases"),
    [
        (pd.DataFrame({"north": [1, 2]}), None, ["case-0", "case-1"]),
        (pd.DataFrame({"north": [1, 2, 3]})[lambda frame: frame["north"] != 2], None, ["case-0", "case-2"]),
        (pd.DataFrame({"north": [1, 2]}, index=["b", "a"]), None, ["a", "b"]),
        (pd.DataFrame({"north": [1, 2]}, index=[0.5, 1.5]), "x{index}-{north}", ["x0.5-1", "x1.5-2"]),
        ([{"north": 1}, {"north": 2, "more": 0.5}], None, ["case-0", "case-1"]),
        (({"north": number} for number in (1, 2)), "n{north:02}", ["n01", "n02"]),
        (pl.DataFrame({"north": [1, 2]}).iter_rows(named=True), "n{north}", ["n1", "n2"]),
        (pd.DataFrame({"north": []}), None, []),
    ],
)
def test_names_come_from_the_index_or_a_pattern(study: Study, frame: Any, name: str | None, cases: list[str]) -> None:
    study.add_table(frame, bare, name=name)
    assert study.cases() == cases


@pytest.mark.parametrize(
    ("frame", "name", "error", "words"),
    [
        (TABLE, "{city}", ValueError, r"Rows 0 and 2 of the table both have the name 'chicago'"),
        (TABLE, "{ctiy}", ValueError, r"has \{ctiy\}, and the table no such column; did you mean 'city'"),
        (TABLE, "{city:d}", ValueError, r"'\{city:d\}' cannot name row 0 of the table"),
        (TABLE, "{}", ValueError, "cannot name row 0"),
        (TABLE, "{city}/{storeys}", LocationError, "Row 0 of the table: .*'/'"),
        (TABLE.set_index("insulation_m"), None, ValueError, "Row 0.05 of the table has no name: its index is a float"),
        (TABLE.set_index(["city", "storeys"]), "{city}", ValueError, r"several levels; call reset_index\(\)"),
        (TABLE.set_index("city"), None, ValueError, "Rows 'chicago' and 'chicago'"),
        (TABLE.rename(columns={"city": "storeys"}), None, ValueError, "two columns 'storeys'"),
        (TABLE.rename(columns={"city": "state"}), None, ValueError, "column 'state' already"),
        (TABLE.assign(late=dt.timedelta(1)), None, ValueError, "'late' of case 'case-0': JSON cannot hold a duration"),
        ([{"north": 1}, 2], None, TypeError, "a sequence of mappings, not of int"),
        (TABLE["storeys"], None, TypeError, "a sequence of mappings, not of int"),
        (pl.DataFrame({"north": [1]}), None, TypeError, "a sequence of mappings, not of Series"),
    ],
)
def test_a_table_that_is_wrong_is_refused_before_a_model_is_built(
    study: Study, frame: Any, name: str | None, error: type[Exception], words: str
) -> None:
    def never(row: dict[str, Any]) -> IDFDocument:
        raise AssertionError(row)

    with pytest.raises(error, match=words):
        study.add_table(frame, never, name=name)
    with pytest.raises(StudyNotFoundError):
        study.status()


def fails(row: dict[str, Any]) -> IDFDocument:
    if row["north"] == 2:
        raise KeyError("wwr")
    return bare(row)


@pytest.mark.parametrize(
    ("build", "weather", "words"),
    [
        (fails, None, r"Case 'case-1': build\(\) failed: KeyError: 'wwr'; its row is {'north': 2}"),
        (
            lambda row: bare(row) if row["north"] == 1 else None,
            None,
            r"Case 'case-1': build\(\) returned None; it must",
        ),
        (lambda row: bare(row) if row["north"] == 1 else "none.idf", None, "Case 'case-1'.*no such file"),
        (bare, lambda row: {1: None}[row["north"]], r"Case 'case-1': weather\(\) failed: KeyError: 2"),
    ],
)
def test_a_model_that_cannot_be_built_names_its_case(
    study: Study, build: Callable[..., Any], weather: Any, words: str
) -> None:
    table = [{"north": 1}, {"north": 2}, {"north": 3}]
    with pytest.raises(ModelError, match=words):
        study.add_table(table, build, weather=weather)
    assert study.cases() in ([], ["case-0"])  # it may have been on its way
    study.add_table(table, bare)
    assert study.cases() == ["case-0", "case-1", "case-2"]


def test_one_document_may_be_changed_for_each_row(study: Study) -> None:
    base = new_document((25, 2, 0))

    def turn(row: dict[str, Any]) -> IDFDocument:
        next(iter(base["Building"])).north_axis = row["north"]
        return base

    study.add_table([{"north": number} for number in range(5)], turn)
    models = [read_job(study.fs, case).model for case in study.cases()]
    assert len({model.name for model in models if model is not None}) == 5


def test_a_row_that_changed_is_another_case(study: Study) -> None:
    study.add_table([{"north": 1}, {"north": 2}], bare)
    changed = [{"north": 1}, {"north": 3}]
    with pytest.raises(CaseExistsError, match="another case 'case-1'; pass overwrite=True"):
        study.add_table(changed, bare)
    heating = {"heating": ("report", "table", "row", "column")}
    study.add_table(changed, bare, overwrite=True, exclude=["*.eso"], metrics=heating, annual=True)
    job = read_job(study.fs, "case-1")
    assert (job.parameters, job.exclude, job.options) == ({"north": 3}, ("*.eso",), {"annual": True})
    assert [metric.name for metric in job.metrics] == ["heating"]
    with pytest.raises(ValueError, match="'heating'"):
        study.add_table([{"north": 1, "heating": 2}], bare, metrics=heating)


@pytest.mark.faults
def test_a_thousand_rows_are_never_in_memory_at_once(tmp_path: Path) -> None:
    study = Study(tmp_path)
    most = 0

    def count(row: dict[str, Any]) -> IDFDocument:
        nonlocal most
        if row["north"] % 100 == 99:
            gc.collect()
            most = max(most, sum(type(each) is IDFDocument for each in gc.get_objects()))
        return bare(row)

    before = sum(type(each) is IDFDocument for each in gc.get_objects())
    with redirect_stderr(io.StringIO()) as bar:
        study.add_table(pd.DataFrame({"north": range(1000)}), count, progress=True)
    assert len(study.cases()) == 1000
    assert most - before < 5
    assert ": 100 %" in bar.getvalue()
