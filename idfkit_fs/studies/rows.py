"""The summary of a study as a table: one row a case, with the columns of all cases."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from idfkit_fs._util.messages import printable
from idfkit_fs.studies.columns import (
    BUILDING_FIGURES,
    COUNTS,
    HOURS_FIGURES,
    ON_SITE_FIGURES,
    Columns,
    energy_column,
)
from idfkit_fs.studies.job import Measured
from idfkit_fs.studies.units import converted

__all__ = ["Table", "as_csv", "as_table"]

# With what a formula begins in a spreadsheet (OWASP, CSV Injection), in the wide forms of East Asian texts too.
_FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


class Table(NamedTuple):
    """The summary of a study.

    Attributes:
        columns: The values of all cases, by the names of the columns; None where a case has none.
        units: The units of each metric's column.
    """

    columns: dict[str, Sequence[Any]]
    units: dict[str, str]

    def rows(self) -> list[dict[str, Any]]:
        """One row a case; a row has no entry where the case has no value."""
        names = [*self.columns]
        return [
            {name: value for name, value in zip(names, values, strict=True) if value is not None}
            for values in zip(*self.columns.values(), strict=True)
        ]


def as_table(cases: Sequence[str], states: Sequence[str], found: Columns) -> Table:
    """Make the table. An end use that a case does not have is 0 if the case has others; otherwise it is left out.

    Args:
        cases: The names of the cases.
        states: Their states; ``"damaged"`` for a case whose job or outcome cannot be read.
        found: What is known of them.

    Raises:
        ValueError: If a parameter or a metric has the name of another column.
    """
    nothing = [None] * len(cases)
    energies = {energy_column(name): values for name, values in found.end_uses.items()}
    end_uses, peaks = _zeros_filled(energies), _zeros_filled(found.peaks)
    # Most models have no on-site sources; columns of zeros would say nothing.
    on_site = ON_SITE_FIGURES if any(found.figures.get("on_site_electricity_kwh", ())) else ()
    parameters = dict.fromkeys(itertools.chain.from_iterable(found.parameters))
    metrics = dict.fromkeys(itertools.chain.from_iterable(found.metrics))
    figures = [*BUILDING_FIGURES, *on_site, *end_uses, *peaks, *HOURS_FIGURES]
    taken = dict.fromkeys(["case", "state", *figures, *COUNTS, "runtime_seconds", "message"], "figure")
    for kind, names in (("metric", metrics), ("parameter", parameters)):
        for name in names:
            if name in taken:
                raise ValueError(
                    f"The summary would have two columns {name!r}, a {kind} and a {taken[name]}; rename the {kind}"
                )
        taken |= dict.fromkeys(names, kind)
    values, messages, units = _metrics(metrics, states, found)
    known: dict[str, Sequence[Any]] = {**found.figures, **found.counts, **end_uses, **peaks}
    columns: dict[str, Sequence[Any]] = {"case": cases, "state": states}
    columns |= {name: [row.get(name) for row in found.parameters] for name in parameters}
    columns |= {name: known.get(name, nothing) for name in figures}
    columns |= values
    columns |= {name: known.get(name, nothing) for name in (*COUNTS, "runtime_seconds")}
    return Table(columns | {"message": messages}, units)


def _zeros_filled(columns: Mapping[str, Sequence[float | None]]) -> dict[str, list[float | None]]:
    """Columns that some case has, sorted, with zeros in the rows that have another of them."""
    used = {name: columns[name] for name in sorted(columns) if columns[name].count(None) < len(columns[name])}
    is_known = [values.count(None) < len(values) for values in zip(*used.values(), strict=True)]
    return {
        name: [0.0 if value is None and known else value for value, known in zip(column, is_known, strict=True)]
        for name, column in used.items()
    }


def _metrics(
    names: Iterable[str], states: Sequence[str], found: Columns
) -> tuple[dict[str, list[Any]], list[str | None], dict[str, str]]:
    """The columns of metrics, the messages with why some have no value, and the units of each column.

    The units are those of the first case that has a number.
    """
    columns: dict[str, list[Any]] = {name: [None] * len(states) for name in names}
    messages, units = [*found.messages], dict[str, str]()
    for number, (state, of_row) in enumerate(zip(states, found.metrics, strict=True)):
        for name, metric in of_row.items():
            value, problem = metric.value, metric.problem if state == "ok" else None
            if isinstance(value, float):
                value, problem = _converted(name, metric, value, units.setdefault(name, metric.units))
            columns[name][number] = value
            if problem:
                messages[number] = "; ".join(filter(None, (messages[number], problem)))
    return columns, messages, units


def _converted(name: str, metric: Measured, number: float, units: str) -> tuple[float | None, str | None]:
    value = converted(number, metric.units, units)
    if value is not None:
        return value, None
    return None, (
        f"The metric {name!r} has no value: it is in {metric.units or 'no units'} here, and in "
        f"{units or 'no units'} in other cases"
    )


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
