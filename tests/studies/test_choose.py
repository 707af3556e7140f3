"""Which cases are meant: decided from names and parameters alone."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idfkit_fs.errors import CaseNotFoundError
from idfkit_fs.studies.choose import Cases, Choice

URL = "memory://choose"
ROWS: dict[str, dict[str, Any]] = {
    "base": {"city": "chicago", "storeys": 1, "glazing": None},
    "wwr-0.2": {"wwr": 0.2, "city": "chicago", "storeys": 2, "ideal": True, "start": "2026-01-01"},
    "wwr-0.4": {"wwr": 0.4, "city": "miami", "storeys": 3, "ideal": False, "glazing": "low-e"},
    "wwr-[1]": {"wwr": 1, "city": "1", "storeys": 3, "layers": [1, 2]},
}


def choose(cases: Cases, rows: Mapping[str, Mapping[str, Any]] = ROWS) -> list[str]:
    return Choice.of(cases).among([*rows], URL, lambda names: {name: rows[name] for name in names})


def refusal(cases: Cases, rows: Mapping[str, Mapping[str, Any]] = ROWS) -> str:
    with pytest.raises(CaseNotFoundError) as told:
        choose(cases, rows)
    assert told.value.filename == URL
    return str(told.value.strerror)


def fits(pattern: str, name: str) -> bool:
    """What patterns mean, in the plainest words."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return fits(pattern[1:], name) or (bool(name) and fits(pattern, name[1:]))
    return bool(name) and pattern[0] in ("?", name[0]) and fits(pattern[1:], name[1:])


names = st.text("ab[]!-.^\n", min_size=1, max_size=6)


@given(st.lists(names, unique=True), st.lists(st.text("ab[]!-.^\n*?", min_size=1, max_size=5), min_size=1))
def test_a_pattern_matches_as_its_two_characters_say(known: list[str], wanted: list[str]) -> None:
    expected = [[case for case in known if fits(one, case)] for one in wanted]
    if all(expected):
        found = choose(wanted, {case: {} for case in known})
        assert found == [*dict.fromkeys(case for of_one in expected for case in of_one)]
    else:
        refusal(wanted, {case: {} for case in known})


def test_a_pattern_takes_no_time_on_names_that_nearly_match() -> None:
    assert refusal("*a" * 60 + "*b", {"a" * 200: {}}).startswith("The study has no case that matches '*a*a")


@pytest.mark.parametrize(
    ("cases", "chosen"),
    [
        ("base", ["base"]),
        (["wwr-0.4", "base", "wwr-0.4"], ["wwr-0.4", "base"]),
        (("base", "wwr-0.?"), ["base", "wwr-0.2", "wwr-0.4"]),
        (pd.Index(["wwr-0.4", "base"]), ["wwr-0.4", "base"]),
        (np.array(["base"]), ["base"]),
        ((name for name in ["base"]), ["base"]),
        ([], []),
        ("wwr-[1]", ["wwr-[1]"]),
        ("*[1]", ["wwr-[1]"]),
        ({"wwr": 0.4}, ["wwr-0.4"]),
        ({"wwr": 1.0}, ["wwr-[1]"]),
        ({"wwr": np.float64(0.4)}, ["wwr-0.4"]),
        ({"storeys": np.arange(2, 9)}, ["wwr-0.2", "wwr-0.4", "wwr-[1]"]),
        ({"storeys": pd.Series([2.0])}, ["wwr-0.2"]),
        ({"storeys": (each for each in (1, 2))}, ["base", "wwr-0.2"]),
        ({"city": "1"}, ["wwr-[1]"]),
        ({"city": ["miami", "nowhere"], "storeys": {3}}, ["wwr-0.4"]),
        ({"ideal": True}, ["wwr-0.2"]),
        ({"start": dt.date(2026, 1, 1)}, ["wwr-0.2"]),
        ({"layers": [[1, 2]]}, ["wwr-[1]"]),
        ({"glazing": None}, ["base", "wwr-0.2", "wwr-[1]"]),
        ({"glazing": [math.nan, "low-e"]}, [*ROWS]),
        ({"wwr": lambda wwr: wwr > 0.3}, ["wwr-0.4", "wwr-[1]"]),
        ({"case": "wwr-*", "city": "chicago"}, ["wwr-0.2"]),
        ({"case": ["base", "wwr-0.4"], "storeys": lambda storeys: storeys < 9}, ["base", "wwr-0.4"]),
        ({"case": lambda case: case.endswith("]")}, ["wwr-[1]"]),
        ({"case": "base"}, ["base"]),
        (lambda row: row["storeys"] == 3 and row["case"] != "wwr-0.4", ["wwr-[1]"]),
    ],
)
def test_names_and_filters_choose(cases: Cases, chosen: list[str]) -> None:
    assert choose(cases) == chosen


@pytest.mark.parametrize(
    ("cases", "words"),
    [
        ("bse", "The study has no case 'bse'; did you mean 'base'?"),
        (["base", "other"], "The study has no case 'other'"),
        ("wrw-0.*", "The study has no case that matches 'wrw-0.*'; did you mean 'wwr-0."),
        ("*xyz*", "The study has no case that matches '*xyz*'; the cases are base, wwr-0.2, wwr-0.4 and 1 more"),
        ({"wrw": 0.4}, "No case has a parameter 'wrw'; did you mean 'wwr'?"),
        ({"u_value": None}, "No case has a parameter 'u_value'; the parameters are city, storeys, glazing and 4 more"),
        ({"wwr": 0.5}, "No case has such a value of 'wwr'; the values are 0.2, 0.4, 1"),
        ({"city": 1}, "No case has such a value of 'city'; the values are 'chicago', 'miami', '1'"),
        ({"ideal": 1}, "No case has such a value of 'ideal'; the values are True, False"),
        ({"storeys": True}, "No case has such a value of 'storeys'"),
        ({"storeys": []}, "No case has such a value of 'storeys'"),
        ({"case": "wwr-*", "city": "chcago"}, "No case of these names has such a value of 'city'"),
        ({"case": "bse", "city": "chicago"}, "The study has no case 'bse'; did you mean 'base'?"),
        ({"wwr": 0.2, "city": "miami"}, "No case fits all conditions at the same time"),
        (lambda row: False, "No case fits the filter"),
    ],
)
def test_what_chooses_no_case_says_why(cases: Cases, words: str) -> None:
    assert refusal(cases).startswith(words)


@pytest.mark.parametrize("cases", ["*", {"wwr": 0.4}, lambda row: True])
def test_a_study_without_cases_says_so(cases: Cases) -> None:
    assert refusal(cases, {}) == (
        "The study has no cases" if cases != "*" else "The study has no case that matches '*'"
    )


@pytest.mark.parametrize(
    ("cases", "error", "words"),
    [
        ({}, ValueError, "The filter is empty.*say '\\*'"),
        ({"wwr": math.inf}, ValueError, "this value of 'wwr': infinity"),
        ({"wwr": b"0.4"}, ValueError, "this value of 'wwr': JSON cannot hold bytes"),
        (7, TypeError, "by a mapping of parameters, or by a function, not by int"),
        ([1, 2], TypeError, "Names of cases are texts, not int"),
        (pd.Series([True, False]), TypeError, "Names of cases are texts, not bool"),
    ],
)
def test_what_can_choose_nothing_is_refused(cases: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        choose(cases)


@pytest.mark.parametrize(
    "cases", [lambda row: row["wwr"] > 0.3, {"city": lambda city: city > 3}], ids=["of all", "of one"]
)
def test_a_function_that_fails_keeps_its_error_and_names_the_case(cases: Cases) -> None:
    with pytest.raises((KeyError, TypeError)) as told:
        choose(cases)
    assert told.value.__notes__[0].startswith("The filter failed on case 'base' with {'city': 'chicago'")


def test_parameters_are_read_only_where_they_decide() -> None:
    asked: list[Sequence[str]] = []

    def parameters_of(names: Sequence[str]) -> dict[str, dict[str, Any]]:
        asked.append(names)
        return {name: ROWS[name] for name in names if name != "base"}  # removed meanwhile

    def ask(cases: Cases) -> list[str]:
        return Choice.of(cases).among([*ROWS], URL, parameters_of)

    ask("*")
    ask({"case": "base"})
    assert asked == []
    assert ask({"case": ["base", "*0.2"], "city": "chicago"}) == ["wwr-0.2"]
    assert asked == [["base", "wwr-0.2"]]
    with pytest.raises(CaseNotFoundError, match="None of the named cases exists any more"):
        ask({"case": "base", "city": "chicago"})


@pytest.mark.parametrize(
    ("cases", "named", "needs_listing"),
    [
        (["a", "b"], ("a", "b"), False),
        (["a", "b*"], ("a",), True),
        ({"case": ["a"], "wwr": 1}, (), True),
        ({"case": ["a"]}, ("a",), False),
        (lambda row: True, (), True),
    ],
)
def test_names_need_no_listing(cases: Any, named: tuple[str, ...], needs_listing: bool) -> None:
    choice = Choice.of(cases)
    assert (choice.named, choice.needs_listing) == (named, needs_listing)
