"""The summary of a study as a table: one row a case, with the columns of all cases."""

from __future__ import annotations

import csv
import functools
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from idfkit_fs._util.messages import printable
from idfkit_fs.studies.consolidated import Told
from idfkit_fs.studies.job import Measured, Summary
from idfkit_fs.studies.layout import Ended, State
from idfkit_fs.studies.units import converted

__all__ = ["COUNTS", "FIGURES", "Row", "as_csv", "as_table", "row_of", "units_of_metrics"]

_BEFORE = ("hours_simulated", "floor_area_m2", "site_energy_kwh", "source_energy_kwh", "eui_kwh_m2")
_ON_SITE = ("net_site_energy_kwh", "on_site_electricity_kwh", "surplus_electricity_kwh")
_AFTER = ("unmet_heating_hours", "unmet_cooling_hours")
# With what a formula begins in a spreadsheet (OWASP, CSV Injection), in the wide forms of East Asian texts too.
_FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
COUNTS = ("warnings", "severe_errors")
"""The columns of numbers that are counted."""
FIGURES = frozenset({*_BEFORE, *_ON_SITE, *_AFTER, "runtime_seconds"})
"""The other columns of numbers; those of end uses and peaks come on top."""


@dataclass(frozen=True)
class Row:
    """One case in the table.

    Attributes:
        case: The case's name.
        state: Its state; ``"damaged"`` if its job or outcome cannot be read.
        parameters: The case's parameters.
        summary: The summary that its worker wrote; None for a case without an outcome.
        metrics: The metrics of the case.
        runtime_seconds: Wall-clock time of EnergyPlus (s).
        message: The error of the case, and why figures are missing; None if there is nothing to say.
    """

    case: str
    state: State | Literal["damaged"]
    parameters: dict[str, Any] = field(default_factory=dict)
    summary: Summary | None = None
    metrics: dict[str, Measured] = field(default_factory=dict)
    runtime_seconds: float | None = None
    message: str | None = None


def row_of(case: str, state: Ended, told: Told, measured: Mapping[str, Measured] | None = None) -> Row:
    """The row of a case that has ended.

    Args:
        case: The case's name.
        state: How it ended.
        told: What its outcome says.
        measured: Metrics that the outcome does not have yet.
    """
    summary = told.summary or Summary()
    metrics = {**summary.metrics, **(measured or {})}
    said = [summary.message]
    if state == "ok":  # a run that ended with an error need not explain what else is missing
        said += [*summary.notes, *(metric.problem for metric in metrics.values())]
    message = "; ".join(filter(None, said)) or None
    return Row(case, state, told.parameters, summary, metrics, told.runtime_seconds, message)


def units_of_metrics(rows: Iterable[Row]) -> dict[str, str]:
    """The units of each metric's column: those of the first case that has a number."""
    units: dict[str, str] = {}
    for row in rows:
        for name, metric in row.metrics.items():
            if isinstance(metric.value, float):
                units.setdefault(name, metric.units)
    return units


def as_table(rows: Sequence[Row]) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and rows. An end use that a case does not have is 0 if the case has others; otherwise it is left out.

    Raises:
        ValueError: If a parameter or a metric has the name of another column.
    """
    uses = sorted({name for row in rows for name in _end_uses(row.summary)})
    peaks = sorted({name for row in rows for name in _peaks(row.summary)})
    # Most models have no on-site sources; columns of zeros would say nothing.
    on_site = [*_ON_SITE] if any(row.summary and row.summary.on_site_electricity_kwh for row in rows) else []
    units = units_of_metrics(rows)
    parameters = dict.fromkeys(name for row in rows for name in row.parameters)
    metrics = dict.fromkeys(name for row in rows for name in row.metrics)
    figures = [*_BEFORE, *on_site, *uses, *peaks, *_AFTER]
    taken = dict.fromkeys(["case", "state", *figures, *COUNTS, "runtime_seconds", "message"], "figure")
    for kind, names in (("metric", metrics), ("parameter", parameters)):
        for name in names:
            if name in taken:
                raise ValueError(
                    f"The summary would have two columns {name!r}, a {kind} and a {taken[name]}; rename the {kind}"
                )
        taken |= dict.fromkeys(names, kind)
    columns = ["case", "state", *parameters, *figures, *metrics, *COUNTS, "runtime_seconds", "message"]
    return columns, [_cells(row, on_site, uses, peaks, units) for row in rows]


def _cells(
    row: Row, on_site: Sequence[str], uses: Sequence[str], peaks: Sequence[str], units: Mapping[str, str]
) -> dict[str, Any]:
    cells: dict[str, Any] = {**row.parameters}
    said = [row.message]
    if row.summary:
        for known, own in ((uses, _end_uses(row.summary)), (peaks, _peaks(row.summary))):
            cells |= {**dict.fromkeys(known, 0.0), **own} if own else {}
        cells |= {name: getattr(row.summary, name) for name in (*_BEFORE, *on_site, *_AFTER, *COUNTS)}
    for name, metric in row.metrics.items():
        cells[name] = metric.value
        if isinstance(metric.value, float):
            cells[name] = converted(metric.value, metric.units, units[name])
            if cells[name] is None:
                said.append(
                    f"The metric {name!r} has no value: it is in {metric.units or 'no units'} here, and in "
                    f"{units[name] or 'no units'} in other cases"
                )
    cells |= {"case": row.case, "state": row.state, "runtime_seconds": row.runtime_seconds}
    cells["message"] = "; ".join(filter(None, said)) or None
    return {name: value for name, value in cells.items() if value is not None}


def _end_uses(summary: Summary | None) -> dict[str, float]:
    uses = summary.end_uses_kwh if summary else {}
    return {_column(use, fuel): energy for use, fuels in uses.items() for fuel, energy in fuels.items()}


def _peaks(summary: Summary | None) -> dict[str, float]:
    peaks = summary.peak_demand_w if summary else {}
    return {f"peak_{_word(fuel)}_w": demand for fuel, demand in peaks.items()}


@functools.lru_cache(maxsize=1024)  # the cases of a study have the same few, again and again
def _column(use: str, fuel: str) -> str:
    return f"{_word(use)}_{_word(fuel)}_kwh"


@functools.lru_cache(maxsize=1024)
def _word(text: str) -> str:
    """A name of EnergyPlus as part of a column name: ``"District Heating Water"`` as ``district_heating_water``."""
    return re.sub(r"\W+", "_", text).strip("_").lower()


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A table as CSV. Lists and objects are written as JSON; a value that a row does not have is empty.

    A text that a spreadsheet would take for a formula begins with an apostrophe, and control characters are escaped:
    names and messages may be anybody's. Numbers stay as they are.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_harmless, columns))
    for row in rows:
        writer.writerow(_harmless(_plain(row.get(name, ""))) for name in columns)
    return text.getvalue()


def _harmless(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    shown = printable(value)
    is_formula = shown.lstrip()[:1] in _FORMULA and not _NUMBER.fullmatch(shown)
    return f"'{shown}" if shown and is_formula else shown


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (bool, list, dict)) else value
