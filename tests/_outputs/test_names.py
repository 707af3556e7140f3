"""What a question means: names, keys and frequencies of real runs, and what is said of those that are not there."""

from __future__ import annotations

import pytest
from support.models import HEATING, LIGHTS, METER, OUTDOORS, TEMPERATURE, Twins

from idfkit_fs._outputs.series import Series, choose
from idfkit_fs.errors import NotReportedError

SIDES = ("EAST", "NORTH", "SOUTH", "WEST")


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        (TEMPERATURE, 5),
        (TEMPERATURE.upper(), 5),
        (f"  {TEMPERATURE.lower()} ", 5),
        ("zone*temperature", 5),
        ("*temperature", 6),
        ("*", 26),
        ([TEMPERATURE, "zone mean*"], 5),
        ([METER, OUTDOORS], 2),
        ("*:electricity", 2),
        ((name for name in (METER, LIGHTS)), 2),
    ],
)
def test_names_of_variables(twins: Twins, variables: str, found: int) -> None:
    assert len(twins("office")[0].timeseries(variables).columns) == found


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ("OFFICE CORE", {"CORE"}),
        ("office core", {"CORE"}),
        ("*perimeter*", set(SIDES)),
        (["*_east", "office core", "*CORE"], {"EAST", "CORE"}),
        ("*", {"CORE", *SIDES}),
        (None, {"CORE", *SIDES}),
    ],
)
def test_names_of_keys(twins: Twins, keys: str | None, found: set[str]) -> None:
    for result in twins("office"):
        columns = result.timeseries(TEMPERATURE, keys=keys).columns
        assert {column.split(":")[0].replace("_", " ").split()[-1] for column in columns} == found


def test_an_empty_key_is_that_of_meters(twins: Twins) -> None:
    for result in twins("office"):
        assert all(":" in name.split(" [")[0] and "OFFICE" not in name for name in result.timeseries("*", keys=""))
        assert len(result.timeseries("*", keys="").columns) == 5


def test_signs_of_patterns_are_meant_as_they_are(twins: Twins) -> None:
    column = f"ROOM [1]? (A)*:{TEMPERATURE} [C](Hourly)"
    for result in twins("odd_names"):
        for key in ("Room [1]? (a)*", "room [1]*", "*]? (*", "room*", "*"):
            assert [*result.timeseries(TEMPERATURE, keys=key)] == [column]
        for key in ("Room [1]. (a)*", "Room 1*", "room ???? ???*", "[R]oom*", "room [0-9]*"):
            with pytest.raises(NotReportedError, match="no key value"):
                result.timeseries(TEMPERATURE, keys=key)


@pytest.mark.parametrize("way", ["sidecars", "database"])
def test_a_name_that_is_not_there_is_answered_with_the_nearest(twins: Twins, way: str) -> None:
    result = twins("office")[way == "database"]
    for question, message in (
        ({"variables": "Zone Mean Air Temprature"}, f"'Zone Mean Air Temprature'; the nearest .*'{TEMPERATURE}'"),
        ({"variables": "electricity"}, f"the nearest .*'{METER}'"),
        ({"variables": TEMPERATURE, "keys": "OFFICE CORRE"}, "'OFFICE CORRE'; the nearest .*'OFFICE CORE'"),
        ({"variables": "Qqq"}, "'Qqq'; there are '"),
        ({"environment": "yeer"}, "no environment 'yeer'; the nearest .*'YEAR'"),
        ({"variables": [METER, "nothing"]}, "'nothing'"),
        ({"variables": METER, "keys": "OFFICE CORE"}, "no key value 'OFFICE CORE'; none are reported"),
    ):
        with pytest.raises(NotReportedError, match=message) as caught:
            result.timeseries(**question)
        assert isinstance(caught.value, LookupError)
    for cell, message in (
        ({"report": "AnnualBuilding"}, "no report 'AnnualBuilding'; the nearest .* 'AnnualBuildingUtility"),
        ({"table": "End Use"}, "no table 'End Use'; the nearest .* 'End Uses'"),
        ({"table": "End Uses", "row": "Heatings"}, "no row 'Heatings'; the nearest .*'Heating'"),
        ({"table": "End Uses", "column": "Elektricity"}, "no column 'Elektricity'; the nearest .*'Electricity'"),
    ):
        with pytest.raises(NotReportedError, match=message):
            result.tabular(**cell)


def test_a_frequency_at_which_it_is_not_reported(twins: Twins) -> None:
    for result in twins("everything"):
        with pytest.raises(
            NotReportedError,
            match=f"'{METER}' is not reported at the frequency 'detailed'; it is reported at timestep, hourly, daily",
        ):
            result.timeseries(METER, frequency="Each Call")
        with pytest.raises(NotReportedError, match="'Qqq'"):
            result.timeseries("Qqq", frequency="hourly")
    with pytest.raises(
        NotReportedError, match=f"'{TEMPERATURE}' is not reported at the frequency 'daily'; it is reported at hourly"
    ):
        twins("office")[0].timeseries(TEMPERATURE, frequency="daily")


def test_several_frequencies_need_a_choice(twins: Twins) -> None:
    for result in twins("everything"):
        with pytest.raises(ValueError, match=r"several frequencies: detailed, timestep, .*, annual; choose one with"):
            result.timeseries(HEATING)
        with pytest.raises(ValueError, match="must be one of detailed, .* not 'hurly'; did you mean 'hourly'"):
            result.timeseries(HEATING, frequency="hurly")
        # What is named is reported at one frequency alone, whatever else there is.
        assert len(result.timeseries(f"{METER}*", keys="cumulative").columns) == 1


@pytest.mark.parametrize(
    "spelling",
    ["hourly", "HOURLY", "Zone Timestep", "TimeStep", "timestep", "HVAC System Timestep", "Detailed", "Run Period"],
)
def test_a_frequency_may_be_spelt_as_anywhere_in_energyplus(twins: Twins, spelling: str) -> None:
    assert len(twins("everything")[0].timeseries(HEATING, frequency=spelling))


@pytest.mark.parametrize(
    "question", [{"variables": 3}, {"variables": [None]}, {"keys": [3]}, {"environment": [3]}, {"keys": 3}]
)
def test_what_is_no_name_is_refused(twins: Twins, question: dict[str, object]) -> None:
    for result in twins("office"):
        with pytest.raises(TypeError):
            result.timeseries(**question)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("what", ["variables", "keys", "environment"])
def test_names_of_nothing_are_refused(twins: Twins, what: str) -> None:
    for result in twins("office"):
        with pytest.raises(ValueError, match="The list of names is empty"):
            result.timeseries(**{what: []})  # type: ignore[arg-type]  # mypy sees no keyword here


def test_a_choice_is_in_the_order_of_the_question_each_series_once() -> None:
    catalog = [Series(name, key, "C", "hourly") for name in ("A", "B") for key in ("1", "2")]
    a1, a2, b1, b2 = catalog
    assert choose(catalog, "*") == catalog
    assert choose(catalog, ["b", "*"]) == [b1, b2, a1, a2]
    assert choose(catalog, ["b", "A"], ["2", "1", "*"]) == [b2, b1, a2, a1]
    with pytest.raises(NotReportedError, match="'A'; none are reported"):
        choose([], "A")
