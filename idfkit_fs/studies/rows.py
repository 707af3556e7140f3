"""The summary of a study as a table: one row a case, with the columns of all cases."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from idfkit_fs.studies.job import Outcome, Summary
from idfkit_fs.studies.layout import State

__all__ = ["Row", "as_csv", "as_table", "as_text", "row_of"]

_BEFORE = ("floor_area_m2", "site_energy_kwh", "source_energy_kwh", "eui_kwh_m2")
_AFTER = ("unmet_heating_hours", "unmet_cooling_hours")
_LAST = ("warnings", "severe_errors")


@dataclass(frozen=True)
class Row:
    """One case in the table.

    Attributes:
        case: The case's name.
        state: Its state; ``"damaged"`` if its job or outcome cannot be read.
        parameters: The case's parameters.
        summary: The summary that its worker wrote; None for a case without an outcome.
        runtime_seconds: Wall-clock time of EnergyPlus (s).
        message: The error of the case; None if there is none.
    """

    case: str
    state: State | Literal["damaged"]
    parameters: dict[str, Any] = field(default_factory=dict)
    summary: Summary | None = None
    runtime_seconds: float | None = None
    message: str | None = None


def row_of(outcome: Outcome) -> Row:
    """The row of a case that has ended."""
    summary, seconds = outcome.summary, outcome.record.runtime_seconds
    return Row(outcome.case, outcome.state, outcome.parameters, summary, seconds, summary.message)


def as_table(rows: list[Row]) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and rows. An end use that a case does not have is 0 if the case has others; otherwise it is left out."""
    uses = sorted({name for row in rows for name in _end_uses(row.summary)})
    peaks = sorted({name for row in rows for name in _peaks(row.summary)})
    parameters = dict.fromkeys(name for row in rows for name in row.parameters)
    metrics = dict.fromkeys(name for row in rows if row.summary for name in row.summary.metrics)
    columns = ["case", "state", *parameters, *_BEFORE, *uses, *peaks, *_AFTER, *metrics, *_LAST]
    columns = [*dict.fromkeys([*columns, "runtime_seconds", "message"])]
    return columns, [_cells(row, uses, peaks) for row in rows]


def _cells(row: Row, uses: Sequence[str], peaks: Sequence[str]) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    if row.summary:
        cells |= row.summary.metrics
        for known, own in ((uses, _end_uses(row.summary)), (peaks, _peaks(row.summary))):
            cells |= {**dict.fromkeys(known, 0.0), **own} if own else {}
        cells |= {name: getattr(row.summary, name) for name in (*_BEFORE, *_AFTER, *_LAST)}
    cells |= row.parameters
    cells |= {"case": row.case, "state": row.state, "runtime_seconds": row.runtime_seconds, "message": row.message}
    return {name: value for name, value in cells.items() if value is not None}


def _end_uses(summary: Summary | None) -> dict[str, float]:
    uses = summary.end_uses_kwh if summary else {}
    return {f"{_word(use)}_{_word(fuel)}_kwh": energy for use, fuels in uses.items() for fuel, energy in fuels.items()}


def _peaks(summary: Summary | None) -> dict[str, float]:
    peaks = summary.peak_demand_w if summary else {}
    return {f"peak_{_word(fuel)}_w": demand for fuel, demand in peaks.items()}


def _word(text: str) -> str:
    """A name of EnergyPlus as part of a column name: ``"District Heating Water"`` as ``district_heating_water``."""
    return re.sub(r"\W+", "_", text).strip("_").lower()


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A table as CSV. Lists and objects are written as JSON; a value that a row does not have is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _plain(value) for name, value in row.items()})
    return text.getvalue()


def as_text(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """A table for people to read: aligned columns, rounded numbers."""
    lines = [list(columns), *([_shown(row.get(name)) for name in columns] for row in rows)]
    numeric = [all(_is_number(row.get(name, 0)) for row in rows) for name in columns]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "" if value is None else " ".join(str(_plain(value)).split())


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (bool, list, dict)) else value
