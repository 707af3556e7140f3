"""A study's plots, by idfkit's backends; and idfkit's own plots of a run at a URL."""

from __future__ import annotations

import itertools
import math
import sys
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from idfkit import IDFDocument
from idfkit.simulation.plotting import (
    get_default_backend,
    plot_comfort_hours,
    plot_energy_balance,
    plot_temperature_profile,
)
from idfkit.simulation.plotting.plotly import PlotlyBackend
from matplotlib import pyplot as plt
from plotly import graph_objects
from small_office import one_zone
from support.servers import Store
from support.variants import broken

from idfkit_fs import Case, Study
from idfkit_fs.errors import CaseNotFoundError, MissingExtraError, NotReportedError
from idfkit_fs.studies.plots import Point, draw_end_uses, draw_eui, draw_load_duration

ELECTRICITY = "Electricity:Facility"


def year(insulation_m: float) -> IDFDocument:
    """The quickest model for a whole year, with a meter of electricity."""
    model = one_zone()
    model["Material"]["Insulation"].thickness = insulation_m
    model.add("Output:Meter", key_name=ELECTRICITY, reporting_frequency="Hourly")
    return model


@pytest.fixture(scope="module")
def rooms(moto: Store, epw: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """Two rooms that ran for a year; one that failed, and one that has not been run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        study = Study(f"{moto.url}/{uuid.uuid4().hex}", storage_options=moto.storage_options)
        ended = [Case(f"room-{m}", year(m), epw, {"m": m}, options={"annual": True}) for m in (0.05, 0.2)]
        study.add_cases([*ended, Case("broken", broken(), epw, {"m": 0.9})])
        study.run()
        study.add("later", one_zone(), epw, parameters={"m": 0.7})
        yield study


@pytest.fixture(autouse=True)
def _figures(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    mpl.use("agg")
    yield
    plt.close("all")


def drawn(figure: Any) -> Any:
    """The axes of a figure that can be drawn."""
    figure.canvas.draw()
    return figure.axes[0]


def names_at(axes: Any) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def legend_of(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()] if figure.legends else []


def row(case: str, eui: float | None = 100.0, uses: dict[str, float] | None = None, **parameters: Any) -> Point:
    return Point(case, "ok", parameters, None, eui, 10.0, uses or {})


# --- with real runs --------------------------------------------------------------------------------------------------


def test_eui_by_a_parameter(rooms: Study) -> None:
    with pytest.warns(UserWarning, match=r"2 of 4 cases have no data: .*") as caught:
        figure = rooms.plot_eui("m")
    assert "broken: EnergyPlus ended it with an error" in str(caught[0].message)
    assert "later: it has not been run" in str(caught[0].message) and caught[0].filename == __file__
    axes = drawn(figure)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("m", "EUI (kWh/m²)")
    (line,) = axes.lines
    eui = rooms.summary()["eui_kwh_m2"]
    assert [*line.get_xdata()] == [0.05, 0.2] and [*line.get_ydata()] == [eui["room-0.05"], eui["room-0.2"]]


def test_end_uses_of_each_case(rooms: Study) -> None:
    with pytest.warns(UserWarning, match="2 of 4 cases have no data"):
        figure = rooms.plot_end_uses()
    axes = drawn(figure)
    assert names_at(axes) == ["room-0.05", "room-0.2"] and axes.get_ylabel() == "Energy (kWh/m²)"
    tops = [
        max(bar.get_y() + bar.get_height() for bar in axes.patches if round(bar.get_x() + 0.4) == n) for n in (0, 1)
    ]
    eui = rooms.summary()["eui_kwh_m2"]
    assert tops == pytest.approx([eui["room-0.05"], eui["room-0.2"]], rel=0.01)
    assert {"Interior Lighting", "Interior Equipment"} <= {*legend_of(figure)}


def test_load_duration(rooms: Study) -> None:
    with pytest.warns(UserWarning, match="2 of 4 cases have no data") as caught:
        figure = rooms.plot_load_duration(ELECTRICITY)
    assert caught[0].filename == __file__
    axes = drawn(figure)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Hours", f"{ELECTRICITY} (kW)")
    assert legend_of(figure) == ["room-0.05", "room-0.2"]
    values = rooms.result("room-0.05").timeseries(ELECTRICITY).iloc[:, 0]
    curve = axes.lines[0].get_ydata()
    np.testing.assert_allclose(curve, np.sort(values / 3.6e6)[::-1])
    assert [*axes.lines[0].get_xdata()[:2]] == [0.0, 1.0] and len(curve) == 8760


def test_the_cases_and_the_backend_are_chosen(rooms: Study) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in (
            rooms.plot_eui("m", cases="room-*", backend=PlotlyBackend()),
            rooms.plot_end_uses(cases="room-*", backend=PlotlyBackend()),
            rooms.plot_load_duration(cases="room-*", backend=PlotlyBackend()),
        ):
            assert isinstance(figure, graph_objects.Figure) and len(figure.data) >= 1 and figure.to_json()
    with pytest.raises(CaseNotFoundError):
        rooms.plot_eui("m", cases="x")


def test_idfkits_plots_of_a_run_at_a_url(rooms: Study) -> None:
    result = rooms["room-0.05"]
    zones = [*result.variables().query("variable == 'Zone Mean Air Temperature'")["key"]]
    assert result.url.startswith("s3://") and len(zones) == 1
    with result:
        sql = result.sql
        assert sql is not None
        balance = drawn(plot_energy_balance(sql))
        assert "Interior Lighting" in names_at(balance)
        assert len(drawn(plot_temperature_profile(sql, zones)).lines) == 1
        assert names_at(drawn(plot_comfort_hours(sql, zones)))[:2] == ["Jan", "Feb"]
        assert len(drawn(sql.get_timeseries("Zone Mean Air Temperature", zones[0]).plot()).lines) == 1
    eso = result.eso
    assert eso is not None
    column = eso.get_column("Zone Mean Air Temperature", zones[0])
    assert column is not None and len(drawn(column.plot()).lines) == 1


# --- what to draw ----------------------------------------------------------------------------------------------------


def test_each_combination_of_other_parameters_is_a_line() -> None:
    rows = [row(f"{city}-{wwr}", 100 + wwr, wwr=wwr, city=city) for city in ("c", "m") for wwr in (0.4, 0.2, 0.6)]
    figure = draw_eui(rows, "wwr", get_default_backend())
    axes = drawn(figure)
    assert legend_of(figure) == ["city=c", "city=m"]
    assert [[*line.get_xdata()] for line in axes.lines] == [[0.2, 0.4, 0.6]] * 2
    assert {line.get_linestyle() for line in axes.lines} == {"-"}


def test_a_line_goes_on_where_it_has_no_value() -> None:
    rows = [row("a1", a=1, b="x"), row("a2", a=2, b="y"), row("a3", a=3, b="x"), row("a4", a=4, b="y")]
    axes = drawn(draw_eui(rows, "a", get_default_backend()))
    assert [[*line.get_xdata()] for line in axes.lines] == [[1, 3], [2, 4]]


def test_points_that_no_line_joins() -> None:
    rows = [row(f"case-{n}", 100.0 + n, x=math.sin(n), y=math.cos(n)) for n in range(30)]
    axes = drawn(draw_eui(rows, "x", get_default_backend()))
    (line,) = axes.lines
    assert (line.get_linestyle(), line.get_marker(), len(line.get_xdata())) == ("None", "o", 30)
    assert [*line.get_xdata()] == sorted(line.get_xdata())


def test_a_text_has_a_bar_for_each_value_or_points() -> None:
    backend = get_default_backend()
    axes = drawn(draw_eui([row("1", 90.0, city="chicago"), row("2", 80.0, city="miami")], "city", backend))
    assert names_at(axes) == ["chicago", "miami"] and [bar.get_height() for bar in axes.patches] == [90.0, 80.0]
    rows = [row(f"{city}{n}", city=city, n=n) for city in ("a", "b") for n in (1, 2)]
    figure = draw_eui(rows, "city", backend)
    assert names_at(drawn(figure)) == ["a", "b"] and legend_of(figure) == ["n=1", "n=2"]
    assert {line.get_linestyle() for line in figure.axes[0].lines} == {"None"}
    mixed = [row("1", p=True), row("2", p=None), row("3", p=[1, 2]), row("4", p="x")]
    assert names_at(drawn(draw_eui(mixed, "p", backend))) == ["true", "none", "[1, 2]", "x"]


def test_labels_of_fifty_cases_do_not_overlap() -> None:
    rows = [row(f"a-long-name-of-a-case-number-{n:03}", 100.0, {"Heating": 1.0, "Fans": 2.0}) for n in range(50)]
    axes = drawn(draw_end_uses(rows, get_default_backend()))
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert len(boxes) == 50
    assert all(left.x1 <= right.x0 + 1 for left, right in itertools.pairwise(boxes))
    assert all(box.y0 >= 0 for box in boxes)
    assert len({*names_at(axes)}) == 50 and max(map(len, names_at(axes))) <= 28


def test_names_that_differ_in_the_middle_stay_whole_and_dollars_are_dollars() -> None:
    rows = [row(f"$a^{{-{'x' * 20}-{n}-{'y' * 20}$", 100.0, {"Heating": 1.0}) for n in range(3)]
    axes = drawn(draw_end_uses(rows, get_default_backend()))
    assert names_at(axes) == [each.case for each in rows]
    drawn(draw_eui([row("1", 1.0, **{"$x^$": 1}), row("2", 2.0, **{"$x^$": 2})], "$x^$", get_default_backend()))


def test_the_smallest_of_many_end_uses_are_other() -> None:
    rows = [row(f"case-{k}", 100.0, {f"Use {n}": 10.0 * (n + 1) for n in range(14)} | {"None": 0.0}) for k in "ab"]
    figure = draw_end_uses(rows, get_default_backend())
    axes = drawn(figure)
    assert len(legend_of(figure)) == 10 and legend_of(figure)[0] == "Other" and "None" not in legend_of(figure)
    assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(2 * sum(range(1, 15)))


def frame_of(values: dict[str, list[float]], units: str = "J", freq: str = "h", column: str = ELECTRICITY) -> Any:
    column = f"{column} [{units}](Hourly)"
    times = {case: pd.date_range("2017-01-01", periods=len(of_case), freq=freq) for case, of_case in values.items()}
    frames = {case: pd.DataFrame({column: values[case]}, index=times[case].rename("time")) for case in values}
    frame = pd.concat(frames, names=["case"])
    frame.attrs["units"] = {column: units}
    return frame


@pytest.mark.parametrize(
    ("units", "freq", "shown", "factor"),
    [("J", "h", "kW", 1 / 3.6e6), ("J", "10min", "kW", 1 / 0.6e6), ("W", "h", "kW", 1e-3), ("C", "h", "C", 1.0)],
)
def test_loads_have_units(units: str, freq: str, shown: str, factor: float) -> None:
    frame = frame_of({"a": [3.0, 1.0, 2.0], "b": [5.0, 4.0]}, units, freq)
    axes = drawn(draw_load_duration(frame, ELECTRICITY, get_default_backend()))
    assert axes.get_ylabel() == f"{ELECTRICITY} ({shown})"
    np.testing.assert_allclose(axes.lines[0].get_ydata(), np.array([3.0, 2.0, 1.0]) * factor)
    np.testing.assert_allclose(axes.lines[1].get_ydata(), np.array([5.0, 4.0, np.nan]) * factor)
    np.testing.assert_allclose(axes.lines[0].get_xdata(), np.arange(3) * (1 if freq == "h" else 1 / 6))


def test_what_has_no_load_duration() -> None:
    backend = get_default_backend()
    with pytest.raises(ValueError, match="equal intervals of a day or less"):
        draw_load_duration(frame_of({"a": [1.0] * 12}, freq="MS"), "x", backend)
    with pytest.raises(ValueError, match="equal intervals"):
        draw_load_duration(frame_of({"a": [1.0]}), "x", backend)
    several = pd.concat([frame_of({"a": [1.0] * 3}, column=f"{zone}:T") for zone in "xy"], axis=1)
    with pytest.raises(ValueError, match=r"'T' stands for 2 series: x:T \[J\]\(Hourly\), y:T.*keys="):
        draw_load_duration(several, "T", backend)
    both = pd.concat([frame_of({"a": [1.0] * 3}), frame_of({"b": [1.0] * 3}, freq="30min")])
    both.attrs["units"] = {both.columns[0]: "J"}
    with pytest.raises(ValueError, match="different lengths in different cases"):
        draw_load_duration(both, "x", backend)


def test_nothing_to_draw_is_an_error() -> None:
    backend = get_default_backend()
    with pytest.raises(NotReportedError, match="No case has a parameter 'wr'; did you mean 'wwr'"):
        draw_eui([row("a", wwr=1)], "wr", backend)
    with pytest.raises(NotReportedError, match="None of 1 case has data: a: it has no EUI"):
        draw_eui([row("a", None, wwr=1)], "wwr", backend)
    with pytest.raises(NotReportedError, match="None of 2 cases has data: a, b: it has not been run"):
        draw_end_uses([Point("a", "pending", {}), Point("b", "pending", {})], backend)
    with pytest.raises(NotReportedError, match="The study has no cases"):
        draw_end_uses([], backend)


def test_a_case_without_the_parameter_is_named() -> None:
    with pytest.warns(UserWarning, match=r"1 of 2 cases have no data: b: it has no parameter 'wwr'"):
        draw_eui([row("a", wwr=1), row("b")], "wwr", get_default_backend())


def test_without_a_plotting_library_the_error_says_what_to_install(
    rooms: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("matplotlib", "matplotlib.pyplot", "plotly", "plotly.graph_objects"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'idfkit-fs\[plot\]'"):
        rooms.plot_eui("m")
