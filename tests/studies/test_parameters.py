"""Parameters as people have them: rows of DataFrames, NumPy's and pandas' values, and what cannot be JSON."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import math
import uuid
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.variants import HEATING, variant

from idfkit_fs import Case, Study
from idfkit_fs.studies.job import Job
from idfkit_fs.studies.parameters import json_value, parse_parameters
from idfkit_fs.studies.stored import read_job


class Glazing(enum.Enum):
    DOUBLE = "double"


class Size(enum.IntEnum):
    LARGE = 3


def case(parameters: Any) -> Case:
    return Case("a", "model.idf", parameters=parameters)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (math.nan, None),
        (np.float64("nan"), None),
        (np.float32("nan"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (np.datetime64("NaT", "ns"), None),
        (np.timedelta64("NaT", "ns"), None),
        (decimal.Decimal("NaN"), None),
        (True, True),
        (np.bool_(False), False),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (2**70, 2**70),
        (np.float64(0.5), 0.5),
        (np.float32(0.25), 0.25),
        (np.longdouble(0.5), 0.5),
        (decimal.Decimal("0.1"), 0.1),
        (np.str_("x"), "x"),
        (Glazing.DOUBLE, "double"),
        (Size.LARGE, 3),
        (Path("a/b"), str(Path("a/b"))),
        (PureWindowsPath("C:/a"), "C:\\a"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (dt.date(2020, 2, 29), "2020-02-29"),
        (dt.time(12, 30), "12:30:00"),
        (dt.datetime(2020, 2, 29, 12, tzinfo=dt.UTC), "2020-02-29T12:00:00+00:00"),
        (pd.Timestamp("2020-02-29 12:00"), "2020-02-29T12:00:00"),
        (np.datetime64("2020-02-29T12:00:00.000000001"), "2020-02-29T12:00:00.000000001"),
        (np.array(3), 3),
        (np.array([1.5, math.nan]), [1.5, None]),
        (np.array(["2020-02-29"], "datetime64[ns]"), ["2020-02-29T00:00:00.000000000"]),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Categorical(["a", None]), ["a", None]),
        ((1, [math.nan, {"x": np.int64(1), 2: pd.NA}]), [1, [None, {"x": 1, "2": None}]]),
    ],
    ids=repr,
)
def test_values_become_json(value: object, plain: object) -> None:
    told = case({"x": value}).parameters["x"]
    assert told == plain and type(told) is type(plain)
    assert json.loads(json.dumps(told)) == plain


def endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (math.inf, "infinity"),
        (np.float32("-inf"), "infinity"),
        (decimal.Decimal("inf"), "more digits"),
        (decimal.Decimal("0.1234567890123456789"), "more digits than a float"),
        (10**400, "pass it as a text"),
        (1j, "cannot hold an object of type complex"),
        (np.complex128(1), "cannot hold an object of type complex"),
        (b"bytes", "decode them"),
        ({1, 2}, "cannot hold an object of type set"),
        pytest.param(object(), "cannot hold an object of type object", id="object"),
        (dt.timedelta(hours=1), "pass its seconds"),
        (pd.Timedelta("1h"), "pass its seconds"),
        (np.timedelta64(1, "ns"), "pass its seconds"),
        (pd.Period("2020"), "cannot hold an object of type Period"),
        (pd.DataFrame({"a": [1]}), "cannot hold an object of type DataFrame"),
        ("\ud800", "surrogate"),
        ([{"x": math.inf}], "infinity"),
        ({1: "a", "1": "b"}, "two of its keys"),
        ({(1,): 2}, "names must be texts"),
        (endless(), "contains itself"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_cannot_be_json_is_refused_by_name(value: object, why: str) -> None:
    with pytest.raises(ValueError, match=rf"^parameter 'x' of case 'a': .*{why}"):
        case({"x": value})


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"state": 1}, "'a': the summary has a column 'state' already"),
        ({"eui_kwh_m2": 1}, "'eui_kwh_m2'"),
        ({"hours_simulated": 1}, "'hours_simulated'"),
        ({("a", "b"): 1}, "names must be texts"),
        ({True: 1}, "names must be texts"),
        ({"": 1}, "it is empty"),
        ({1: 1, "1": 2}, "two parameters '1'"),
        (pd.Series([1, 2], index=["x", "x"]), "two parameters 'x'"),
        ({"\ud800": 1}, "surrogate"),
    ],
    ids=repr,
)
def test_names_that_cannot_be_columns_are_refused(parameters: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        case(parameters)


def test_what_has_no_names_is_refused() -> None:
    with pytest.raises(TypeError, match=r"not list; pass row\._asdict\(\)"):
        case([1, 2])
    row = next(pd.DataFrame({"x": [1]}).itertuples(index=False))
    with pytest.raises(TypeError, match=r"pass row\._asdict\(\)"):
        case(row)
    assert case(row._asdict()).parameters == {"x": 1}


def test_names_become_texts() -> None:
    assert case({1: "a", np.int64(2): "b", np.str_("c"): "c", Glazing.DOUBLE: 1}).parameters == {
        "1": "a",
        "2": "b",
        "c": "c",
        "double": 1,
    }


def test_a_metric_and_a_parameter_cannot_have_one_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="column 'wwr' already, a metric"):
        Case("a", "model.idf", parameters={"wwr": 1}, metrics={"wwr": HEATING})
    study = Study(tmp_path, metrics={"wwr": HEATING})
    with pytest.raises(ValueError, match="'b'.*column 'wwr' already, a metric"):
        study.add("b", variant(), parameters={"wwr": 1}, design_day=True)
    assert not any(tmp_path.iterdir())  # a first case that is refused leaves no study behind


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_infinity=False),
    st.text(max_size=5),
    st.dates(),
    st.decimals(allow_infinity=False, places=3, min_value=-1000, max_value=1000),
    st.sampled_from([pd.NA, pd.NaT, np.float32(0.5), np.int16(3), np.bool_(True), Glazing.DOUBLE]),
    st.datetimes(min_value=dt.datetime(1700, 1, 1), max_value=dt.datetime(2200, 1, 1)).map(pd.Timestamp),
)
_NAMES = st.lists(st.sampled_from(["x", "y", "façade", "n 1", "wwr"]), min_size=1, unique=True)


@settings(max_examples=100, deadline=None)
@given(
    _NAMES.flatmap(
        lambda names: st.lists(st.tuples(*[_SCALARS] * len(names)), min_size=1, max_size=4).map(
            lambda rows: pd.DataFrame(rows, columns=names)
        )
    )
)
def test_any_row_of_a_frame_is_taken_as_it_is(frame: pd.DataFrame) -> None:
    """However pandas hands out the row, the same JSON comes of it, and back from the study's file."""
    for rows in (frame, frame.convert_dtypes()):
        for number in range(len(rows)):
            given = parse_parameters("a", rows.iloc[number], {})
            text = json.dumps(given, allow_nan=False)
            assert json.loads(text) == given
            assert given.keys() == {*rows.columns}
            missing = rows.iloc[number].isna()
            assert {name for name, value in given.items() if value is None} == {*missing.index[missing]}
            assert json_value(dict(given)) == given


def test_a_frame_of_cases_comes_back_from_the_study(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "wwr": [0.2, math.nan],
            "storeys": pd.array([1, None], "Int64"),
            "shaded": pd.array([True, None], "boolean"),
            "city": pd.Categorical(["Chicago", None]),
            "built": pd.to_datetime(["2020-02-29", None]),
            "count": [1, 2],
        },
        index=["one", "two"],
    )
    study = Study(tmp_path)
    study.add_cases(
        Case(str(name), variant(), parameters=row, options={"design_day": True}) for name, row in frame.iterrows()
    )
    study.add("three", variant(), parameters=next(frame.itertuples())._asdict() | {"Index": 3}, design_day=True)
    assert read_job(study.fs, "two").parameters == {
        "wwr": None,
        "storeys": None,
        "shaded": None,
        "city": None,
        "built": None,
        "count": 2,
    }
    summary = study.summary()
    assert summary.loc["one", "built"] == "2020-02-29T00:00:00" and pd.isna(summary.loc["two", "city"])
    assert summary[["wwr", "storeys", "shaded", "count", "Index"]].dtypes.astype(str).tolist() == [
        "float64",
        "Int64",
        "boolean",
        "int64",
        "Int64",
    ]
    assert summary["wwr"].sum() == 0.4 and summary["storeys"].sum() == 2
    summary.to_parquet(tmp_path / "summary.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "summary.parquet"), summary, check_dtype=False, check_index_type=False
    )
    columns, rows = study.summary_rows()
    assert [row.get("wwr") for row in rows] == [0.2, 0.2, None] and {"wwr", "storeys"} <= {*columns}


def test_a_job_of_another_hand_is_checked_too() -> None:
    text = {"case": "a", "model": {"name": "m", "size": 1, "sha256": "0" * 64}, "parameters": {"x": 1}}
    job = Job.model_validate(text | {"idfkit_fs_version": "0"})
    assert job.parameters == {"x": 1}
