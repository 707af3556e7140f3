"""Plots of a study, drawn by the backends of idfkit's own plots: matplotlib, plotly, or another one."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from idfkit.simulation.plotting import PlotBackend, get_default_backend

from idfkit_fs._util.caller import warn_caller
from idfkit_fs._util.messages import did_you_mean
from idfkit_fs.errors import MissingExtraError, NotReportedError
from idfkit_fs.studies.collect import REASONS, described
from idfkit_fs.studies.columns import Columns
from idfkit_fs.studies.display import counted, first_names

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Point", "backend_or_default", "draw_end_uses", "draw_eui", "draw_load_duration", "points_of"]

T = TypeVar("T")
_ENERGY = "kWh/m²"
_TITLE = "Energy use intensity"
# What a legend names, and the colours that distinguish it.
_MOST_COLOURS = 10
_NAME_LENGTH = 28
_HOUR, _DAY = 3600.0, 86400.0


def backend_or_default(backend: PlotBackend | None) -> PlotBackend:
    """The backend, or else the one that idfkit chooses: matplotlib if it is installed, otherwise plotly.

    Raises:
        MissingExtraError: If neither is installed.
    """
    if backend is not None:
        return backend
    try:
        return get_default_backend()
    except ImportError as exc:
        raise MissingExtraError(
            "Plots need a package that is not installed: pip install 'idfkit-fs[plot]' for matplotlib, or "
            "pip install plotly"
        ) from exc


class Point(NamedTuple):
    """A case of a plot.

    Attributes:
        case: The case's name.
        state: Its state; ``"damaged"`` if its job or outcome cannot be read.
        parameters: The case's parameters.
        message: The error of the case, and why figures are missing.
        eui: Its energy use intensity (kWh/m2).
        floor_area: Its floor area (m2).
        end_uses: The energy of each end use, of all fuels (kWh).
    """

    case: str
    state: str
    parameters: Mapping[str, Any]
    message: str | None = None
    eui: float | None = None
    floor_area: float | None = None
    end_uses: Mapping[str, float] = {}


def points_of(cases: Sequence[str], states: Sequence[str], found: Columns) -> list[Point]:
    """The cases of a study as points of plots."""
    nothing = [None] * len(cases)
    euis, areas = (found.figures.get(name, nothing) for name in ("eui_kwh_m2", "floor_area_m2"))
    end_uses: list[dict[str, float]] = [{} for _ in cases]
    for name, energies in found.end_uses.items():
        use = name.splitlines()[0]
        for of_case, energy in zip(end_uses, energies, strict=True):
            if energy is not None:
                of_case[use] = of_case.get(use, 0.0) + energy
    columns = (cases, states, found.parameters, found.messages, euis, areas, end_uses)
    return [*itertools.starmap(Point, zip(*columns, strict=True))]


def draw_eui(cases: Sequence[Point], parameter: str, backend: PlotBackend) -> Any:
    """Draw the EUI of cases by a parameter; see [Study.plot_eui][idfkit_fs.Study.plot_eui]."""
    known = dict.fromkeys(name for case in cases for name in case.parameters)
    if cases and parameter not in known:
        near = did_you_mean(parameter, known) or (f"; the parameters are {first_names([*known])}" if known else "")
        raise NotReportedError(f"No case has a parameter {parameter!r}{near}")

    def at_of(case: Point) -> _At | str:
        if parameter not in case.parameters:
            return f"it has no parameter {parameter!r}"
        if case.eui is None:
            return case.message or "it has no EUI"
        return _At(case.parameters[parameter], case.parameters, case.eui)

    points = [*_of_cases(cases, at_of).values()]
    is_numeric = all(isinstance(at.x, int | float) and not isinstance(at.x, bool) for at in points)
    places = sorted({at.x for at in points}) if is_numeric else [*dict.fromkeys(_text(at.x) for at in points)]
    lines = _lines(points, parameter, str if is_numeric else _text)
    labels = {"title": _TITLE, "xlabel": parameter, "ylabel": f"EUI ({_ENERGY})"}
    if lines is None:  # points that no line can join
        xs = [at.x if is_numeric else _text(at.x) for at in points]
        order = sorted(range(len(points)), key=lambda number: places.index(xs[number]))
        euis = [points[number].eui for number in order]
        return _finished(
            lambda: backend.line([xs[number] for number in order], euis, **labels),
            [] if is_numeric else places,
            "points",
        )
    series: dict[str, Sequence[float]] = {
        name: [of_line.get(str(place) if is_numeric else place, math.nan) for place in places]
        for name, of_line in lines.items()
    }
    if len(series) > 1:
        kind = "lines" if is_numeric else "points"
        return _finished(lambda: backend.multi_line(places, series, **labels), [] if is_numeric else places, kind)
    (values,) = series.values()
    if is_numeric:
        return _finished(lambda: backend.line(places, values, **labels), [], "lines")
    return _finished(lambda: backend.bar(places, values, **labels), places, "bars")


def draw_end_uses(cases: Sequence[Point], backend: PlotBackend) -> Any:
    """Draw the end uses of cases; see [Study.plot_end_uses][idfkit_fs.Study.plot_end_uses]."""

    def uses(case: Point) -> dict[str, float] | str:
        if not case.floor_area or not case.end_uses:
            return case.message or ("it has no end uses" if case.floor_area else "its floor area is unknown")
        area = case.floor_area
        return {use: energy / area for use, energy in case.end_uses.items()}

    of_cases = _of_cases(cases, uses)
    totals: dict[str, float] = {}
    for of_case in of_cases.values():
        for use, energy in of_case.items():
            totals[use] = totals.get(use, 0.0) + energy
    ordered = sorted((use for use in totals if totals[use]), key=lambda use: -totals[use])
    series: dict[str, Sequence[float]] = {
        use: [of_case.get(use, 0.0) for of_case in of_cases.values()] for use in ordered
    }
    if len(series) > _MOST_COLOURS:
        rest = [series.pop(use) for use in ordered[_MOST_COLOURS - 1 :]]
        series["Other"] = [sum(values) for values in zip(*rest, strict=True)]
    names = [*of_cases]
    labels = {"title": "End uses", "xlabel": "Case", "ylabel": f"Energy ({_ENERGY})"}
    return _finished(lambda: backend.stacked_bar(names, series, **labels), names, "bars")


def draw_load_duration(frame: pd.DataFrame, variable: str, backend: PlotBackend) -> Any:
    """Draw the load duration curves of cases; see [Study.plot_load_duration][idfkit_fs.Study.plot_load_duration].

    Raises:
        ValueError: If there are several series, or they are not of equal intervals of a day or less.
    """
    import numpy as np

    if len(frame.columns) > 1:
        raise ValueError(
            f"{variable!r} stands for {len(frame.columns)} series: {first_names([*frame.columns])}; choose one with "
            "keys="
        )
    (column,) = frame.columns
    units, name = frame.attrs["units"][column], column.rpartition(" [")[0]
    loads, seconds = {}, set()
    for case, of_case in frame[column].groupby(level="case", sort=False):
        times = of_case.index.get_level_values("time").unique().sort_values()
        seconds.add(_interval(np.diff(times.to_numpy()) / np.timedelta64(1, "s"), column))
        loads[str(case)] = np.sort(of_case.dropna().to_numpy())[::-1]
    if len(seconds) > 1:
        raise ValueError(f"{column!r} has intervals of different lengths in different cases; choose cases with cases=")
    (interval,) = seconds
    # The energy of an interval is shown as its mean power.
    factor, shown = {"J": (1e-3 / interval, "kW"), "W": (1e-3, "kW")}.get(units, (1.0, units))
    rows = max(map(len, loads.values()))
    series: dict[str, Sequence[float]] = {
        case: [*(values * factor).tolist(), *[math.nan] * (rows - len(values))] for case, values in loads.items()
    }
    hours = [number * interval / _HOUR for number in range(rows)]
    labels = {"title": f"Load duration: {name}", "xlabel": "Hours", "ylabel": f"{name} ({shown})"}
    return _finished(lambda: backend.multi_line(hours, series, **labels), [], "curves")


class _At(NamedTuple):
    """Where a case is in a plot by a parameter."""

    x: Any
    parameters: Mapping[str, Any]
    eui: float


def _of_cases(cases: Sequence[Point], value_of: Callable[[Point], T | str]) -> dict[str, T]:
    """What is drawn of each case; those that have nothing are left out, with a warning."""
    found: dict[str, T] = {}
    without: dict[str, str] = {}
    for case in cases:
        value = value_of(case) if case.state == "ok" else REASONS.get(case.state) or case.message or "it has no summary"
        if isinstance(value, str):
            without[case.case] = value
        else:
            found[case.case] = value
    if not found:
        if not cases:
            raise NotReportedError("The study has no cases")
        raise NotReportedError(f"None of {counted(len(cases))} has data: {described(without)}")
    if without:
        warn_caller(f"{len(without)} of {counted(len(cases))} have no data: {described(without)}")
    return found


def _lines(points: Sequence[_At], parameter: str, text: Callable[[Any], str]) -> dict[str, dict[str, float]] | None:
    """The values of each line, by their places; None if lines would join too little, or there would be too many."""
    others = dict.fromkeys(name for at in points for name in at.parameters if name != parameter)
    varying = [name for name in others if len({_text(at.parameters.get(name)) for at in points}) > 1]
    lines: dict[str, dict[str, float]] = {}
    for at in points:
        name = ", ".join(f"{name}={_text(at.parameters.get(name))}" for name in varying)
        line = lines.setdefault(name, {})
        if text(at.x) in line:
            return None
        line[text(at.x)] = at.eui
    is_joined = len(lines) == 1 or any(len(line) > 1 for line in lines.values())
    return lines if is_joined and len(lines) <= _MOST_COLOURS else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)


def _interval(steps: Any, column: str) -> float:
    """The length of the intervals in seconds, by the differences of times; between two run periods is a longer one."""
    import numpy as np

    lengths, counts = np.unique(steps, return_counts=True)
    if not len(lengths) or lengths[counts.argmax()] > _DAY or counts.max() < 0.9 * counts.sum():
        raise ValueError(
            f"A load duration curve needs equal intervals of a day or less, which {column!r} does not have; report it "
            "hourly, or choose with frequency="
        )
    return float(lengths[counts.argmax()])


# What backends leave as it comes: markers, room for many or long names, and legends that do not hide what is drawn.


def _finished(draw: Callable[[], Any], names: Sequence[str], kind: str) -> Any:
    mpl = sys.modules.get("matplotlib")
    # A dollar sign in a name is a dollar sign, and begins no formula.
    with contextlib.nullcontext() if mpl is None else mpl.rc_context({"text.parse_math": False}):
        figure = draw()
        if hasattr(figure, "set_size_inches"):
            _finish_matplotlib(figure, names, kind)
        elif hasattr(figure, "update_traces"):
            _finish_plotly(figure, names, kind)
        return figure


def _finish_plotly(figure: Any, names: Sequence[str], kind: str) -> None:
    if kind in ("lines", "points"):
        figure.update_traces(mode="lines+markers" if kind == "lines" else "markers", connectgaps=True)
    if names:  # otherwise names of digits become numbers
        figure.update_xaxes(type="category")


def _finish_matplotlib(figure: Any, names: Sequence[str], kind: str) -> None:
    axes = figure.axes[0]
    for line in axes.lines:
        if kind in ("lines", "points"):
            line.set_marker("o")
            line.set_linestyle("-" if kind == "lines" else "none")
            x, y = line.get_data()
            known = [number for number, value in enumerate(y) if not math.isnan(value)]
            line.set_data([x[number] for number in known], [y[number] for number in known])
    if kind == "curves":
        axes.margins(x=0)
        _tell_apart(axes.lines)
    width, height = figure.get_size_inches()
    if names:
        shown = _short(names)
        axes.set_xlim(-0.7, len(names) - 0.3)
        rotation = 0 if max(map(len, shown)) * len(names) < 60 else 90
        axes.set_xticks(range(len(names)), shown, rotation=rotation, ha="center")
        width, height = max(width, 2 + 0.2 * len(names)), height + 0.06 * max(map(len, shown))
    if axes.get_legend() is not None:
        axes.get_legend().remove()
        handles, labels = axes.get_legend_handles_labels()
        columns = math.ceil(len(labels) / 25)
        width += columns * (0.6 + 0.08 * min(max(map(len, labels)), _NAME_LENGTH))
        order = slice(None, None, -1) if kind == "bars" else slice(None)  # as the bars are stacked
        figure.legend(handles[order], _short(labels)[order], loc="outside right upper", ncols=columns, fontsize="small")
    figure.set_layout_engine("constrained")
    figure.set_size_inches(width, height)


def _tell_apart(lines: Sequence[Any]) -> None:
    """Thinner lines; and where there are more than colours, a range of colours in their order."""
    import matplotlib as mpl

    for number, line in enumerate(lines):
        line.set_linewidth(1.0)
        if len(lines) > _MOST_COLOURS:
            line.set_color(mpl.colormaps["viridis"](number / (len(lines) - 1)))


def _short(names: Sequence[str]) -> list[str]:
    """Names with the middle left out where they are long, unless some would then be the same."""
    half = _NAME_LENGTH // 2
    shown = [name if len(name) <= _NAME_LENGTH else f"{name[: half - 1]}…{name[-half:]}" for name in names]
    return shown if len({*shown}) == len({*names}) else [*names]
