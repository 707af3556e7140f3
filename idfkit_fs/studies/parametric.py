"""Cases from a table: a row a case, with the row as its parameters and a model that a function builds for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from idfkit import IDFDocument

from idfkit_fs._util.messages import did_you_mean
from idfkit_fs._util.urls import Location, UPathLike
from idfkit_fs.errors import LocationError, ModelError
from idfkit_fs.studies.job import Metrics, checked
from idfkit_fs.studies.layout import check_case
from idfkit_fs.studies.prepare import Case

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CaseTable", "read_table"]

T = TypeVar("T")
_Row = dict[str, Any]


@dataclass(frozen=True)
class CaseTable:
    """The cases of a table. Each model is built when its case is asked for, so that no two need to be in memory.

    Attributes:
        rows: The rows by the names of the cases, with Python's own types, so that a whole number stays one beside
            columns of other numbers.
        build: Builds the model of a row.
        weather: The weather file, or what finds that of a row.
        make_case: Makes the case of a name, a model, a weather file, and parameters.
    """

    rows: Mapping[str, _Row]
    build: Callable[[_Row], IDFDocument | Location]
    weather: Location | Callable[[_Row], Location | None] | None
    make_case: Callable[[str, IDFDocument | Location, Location | None, _Row], Case]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Case]:
        for name, row in self.rows.items():
            model = _call(self.build, row, f"Case {name!r}: build()")
            if not isinstance(model, (IDFDocument, str, os.PathLike, UPathLike)):
                raise ModelError(
                    f"Case {name!r}: build() returned {model!r}; it must return an idfkit document, or a path or URL"
                )
            weather = _call(self.weather, row, f"Case {name!r}: weather()") if callable(self.weather) else self.weather
            yield self.make_case(name, model, weather, row)


def _call(function: Callable[[_Row], T], row: _Row, what: str) -> T:
    try:
        return function({**row})
    except Exception as exc:
        raise ModelError(f"{what} failed: {type(exc).__name__}: {exc}; its row is {row}") from exc


def read_table(
    frame: pd.DataFrame | Iterable[Mapping[str, Any]], name: str | None, metrics: Metrics
) -> dict[str, _Row]:
    """The rows of a table, by the names of their cases; each is checked before the first model is built.

    Args:
        frame: A DataFrame, or mappings.
        name: A pattern for the names; None for those in the index.
        metrics: The metrics of the cases, whose names no parameter can have.

    Raises:
        LocationError: If a row has a name that no case can have.
        TypeError: If *frame* is not a table.
        ValueError: If a row has no name, two rows have the same, or a value cannot be a parameter.

    Examples:
        >>> read_table([{"wwr": 0.2}, {"wwr": 0.4}], "wwr-{wwr}", {})
        {'wwr-0.2': {'wwr': 0.2}, 'wwr-0.4': {'wwr': 0.4}}
    """
    found: dict[str, _Row] = {}
    labels: dict[str, Any] = {}
    for label, row in _labelled_rows(frame):
        case = _name(label, row, name)
        try:
            check_case(case)
        except LocationError as exc:
            raise LocationError(f"Row {label!r} of the table: {exc}") from exc
        if case in found:
            raise ValueError(
                f"Rows {labels[case]!r} and {label!r} of the table both have the name {case!r}; names must differ: "
                "give a pattern with more columns, such as name='{city}-{wwr}'"
            )
        checked(case, row, metrics)
        found[case], labels[case] = row, label
    return found


def _labelled_rows(frame: Any) -> Iterator[tuple[Any, _Row]]:
    if not (hasattr(frame, "iloc") and hasattr(frame, "columns")):
        for number, row in enumerate(frame):
            if not isinstance(row, Mapping):
                raise TypeError(
                    f"A table is a DataFrame of pandas, or a sequence of mappings, not of {type(row).__name__}"
                )
            yield number, {**row}
        return
    columns = [*frame.columns]
    if not frame.columns.is_unique:
        twice = next(column for column in columns if columns.count(column) > 1)
        raise ValueError(f"The table has two columns {twice!r}; give one of them another name")
    if frame.index.nlevels > 1:
        raise ValueError("The index of the table has several levels; call reset_index(), which makes columns of them")
    # Column by column: a row of a DataFrame has one type, and would make 4.0 of 4 beside 0.5.
    cells = [frame[column].tolist() for column in columns]
    for number, label in enumerate(frame.index.tolist()):
        yield label, {column: values[number] for column, values in zip(columns, cells, strict=True)}


def _name(label: Any, row: _Row, pattern: str | None) -> str:
    if pattern is None:
        if isinstance(label, str):
            return str(label)
        if isinstance(label, int) and not isinstance(label, bool):
            return f"case-{label}"
        raise ValueError(
            f"Row {label!r} of the table has no name: its index is a {type(label).__name__}; give a pattern such as "
            "name='wwr-{wwr}'"
        )
    try:
        return pattern.format_map({"index": label, **row})
    except KeyError as exc:
        column = str(exc.args[0])
        near = did_you_mean(column, [*map(str, row), "index"])
        raise ValueError(f"The pattern {pattern!r} has {{{column}}}, and the table no such column{near}") from exc
    except (AttributeError, IndexError, TypeError, ValueError) as exc:
        raise ValueError(f"The pattern {pattern!r} cannot name row {label!r} of the table: {exc}") from exc
