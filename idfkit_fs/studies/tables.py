"""Values and cells of many cases as pandas, xarray and Parquet objects."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from idfkit_fs._outputs.clock import Times
from idfkit_fs._outputs.datasets import Array, arrays_of, coordinates_of, keys_of
from idfkit_fs._outputs.frames import attributes_of
from idfkit_fs._outputs.series import Series
from idfkit_fs._outputs.sidecars import ENVIRONMENT, TIME, series_field
from idfkit_fs._outputs.values import Values
from idfkit_fs.studies.collect import Found
from idfkit_fs.studies.columns import COUNTS, FIGURES
from idfkit_fs.studies.display import first_names
from idfkit_fs.studies.rows import Table

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "FrameRows",
    "Grid",
    "GridValues",
    "Part",
    "cells_frame",
    "parquet_schema",
    "parquet_table",
    "summary_frame",
]

CASE = "case"
_TEXTS = (CASE, "state", "message")


class FrameRows:
    """The rows of a DataFrame of many cases. All values are in one array, which is filled as cases are read.

    Args:
        found: The series and times of each case.
    """

    def __init__(self, found: Found) -> None:
        self._found = found
        self._row_of = {column: row for row, column in enumerate(attributes_of(_listed(found))["units"])}
        starts = itertools.accumulate((len(when.times) for when in found.when.values()), initial=0)
        bounds = zip(found.when, itertools.pairwise(starts), strict=True)
        self._rows_of = {case: slice(start, stop) for case, (start, stop) in bounds}
        rows = sum(len(when.times) for when in found.when.values())
        self._values = np.full((len(self._row_of), rows), np.nan)

    def put(self, case: str, values: Values) -> None:
        """Fill in the values of a case."""
        rows = self._rows_of[case]
        for series, column in zip(values.series, values.columns, strict=True):
            self._values[self._row_of[series.column], rows] = column

    def frame(self, cases: Sequence[str]) -> pd.DataFrame:
        """One column a series; the index is the case, the environment if a case has several, and the time.

        Args:
            cases: The cases that were filled in.
        """
        found, values = self._found.of(cases), self._values
        attributes = attributes_of(_listed(found))
        columns = [*attributes["units"]]
        if len(cases) < len(self._rows_of):
            chosen = [self._row_of[column] for column in columns]
            values = np.concatenate([values[chosen, self._rows_of[case]] for case in cases], axis=1)
        frame = pd.DataFrame(values.T, _index(found), columns, copy=False)
        frame.attrs |= attributes
        return frame


def _index(found: Found) -> pd.MultiIndex:
    """The index of a frame, made of small numbers: the one of pandas.concat takes several times as much memory."""
    cases, distinct = [*found.when], {id(when): when for when in found.when.values()}
    times = _united_times(distinct.values())
    times = times[~np.isnat(times)]
    levels: dict[str, pd.Index] = {CASE: pd.Index(cases)}
    rows = [len(when.times) for when in found.when.values()]
    codes = [np.repeat(np.arange(len(cases), dtype=_code_type(len(cases))), rows)]

    def add(name: str, level: pd.Index, numbers_of: Callable[[Values], npt.NDArray[Any]]) -> None:
        levels[name] = level
        numbers = {key: numbers_of(when).astype(_code_type(len(level))) for key, when in distinct.items()}
        codes.append(np.concatenate([numbers[id(when)] for when in found.when.values()]))

    if any(when.has_several_environments for when in distinct.values()):
        names = pd.Index([*dict.fromkeys(name for when in distinct.values() for name in when.environments)])
        add(ENVIRONMENT, names, lambda when: names.get_indexer(when.environments))
    add(
        TIME,
        pd.DatetimeIndex(times),
        lambda when: np.where(np.isnat(when.times), -1, np.searchsorted(times, when.times)),
    )
    return pd.MultiIndex([*levels.values()], codes, names=[*levels], verify_integrity=False)


def _code_type(count: int) -> np.dtype[Any]:
    """The smallest type for numbers of so many things, and -1."""
    return np.min_scalar_type(-count - 1)


def _united_times(whens: Iterable[Values]) -> Times:
    return np.unique(np.concatenate([when.times for when in whens]))


def _listed(found: Found) -> Iterator[Series]:
    """The series of all cases; of cases with the same ones, once."""
    distinct = {id(reading.series): reading.series for reading in found.readings.values()}
    return itertools.chain.from_iterable(distinct.values())


def cells_frame(cells: Mapping[str, pa.Table]) -> pd.DataFrame:
    """One row a cell; the index is the case.

    Raises:
        ValueError: If a number has different units in different cases: each column of numbers would mix them.
    """
    frame = pa.concat_tables(cells.values()).to_pandas(use_threads=False)
    frame.index = pd.Index([*cells], name=CASE).repeat([len(of_case) for of_case in cells.values()])
    numbers = frame.loc[frame["number"].notna()]
    names = ["report", "report_for", "table", "row", "column"]
    several = numbers.groupby(names)["units"].nunique()
    if (several > 1).any():
        place = several.index[several > 1][0]
        cell = numbers.set_index(names, append=True).xs(place, level=names)["units"]
        by_units = {units: [*dict.fromkeys(of_units.index)] for units, of_units in cell.groupby(cell)}
        which = "; ".join(f"{units or 'no units'} in {first_names(cases)}" for units, cases in by_units.items())
        raise ValueError(
            f"The cases have different units, such as of {', '.join(place[2:])!r}: {which}. Their models differ in "
            "OutputControl:Table:Style; read the cases of each unit alone, with cases="
        )
    return frame


def summary_frame(table: Table) -> pd.DataFrame:
    """One row a case; the index is the case. A column's type does not depend on which cases miss a value.

    Figures are floats, counts are nullable integers. A parameter or a metric whose values are of one type has that
    type, nullable where integers or booleans are missing; any other column holds objects.
    """
    series = {name: pd.Series(values, dtype=_pandas_type(name, values)) for name, values in table.columns.items()}
    frame = pd.DataFrame(series).set_index(CASE)
    frame.attrs["units"] = table.units
    return frame


def _pandas_type(name: str, values: Sequence[Any]) -> str | None:
    """The type of a column; None for texts, whose type depends on the release of pandas."""
    if name in COUNTS:
        return "Int64"
    if name in FIGURES or name == "runtime_seconds":
        return "float64"
    kinds = {*map(type, values)}
    complete = type(None) not in kinds
    kinds.discard(type(None))
    if kinds == {str} or name in _TEXTS:
        return None
    if kinds == {bool}:
        return "bool" if complete else "boolean"
    if kinds == {int} and all(value is None or abs(value) < 2**63 for value in values):
        return "int64" if complete else "Int64"
    if kinds <= {float} or (kinds == {int, float} and all(_is_exact(value) for value in values)):
        return "float64"
    return "object"


def _is_exact(value: Any) -> bool:
    return value is None or isinstance(value, float) or abs(value) <= 2**53


@dataclass(frozen=True)
class Part:
    """Which series of a case are which rows of an array, and at which times.

    Attributes:
        series: The series.
        rows: The number of the key value of each.
        where: The positions of their times.
    """

    series: tuple[Series, ...]
    rows: tuple[int, ...]
    where: slice | npt.NDArray[np.intp]

    def put(self, values: Values, target: npt.NDArray[np.float64]) -> None:
        """Fill in the values of the case; *target* has one row a key value."""
        columns = dict(zip(values.series, values.columns, strict=True))
        for row, series in zip(self.rows, self.series, strict=True):
            target[row, self.where] = columns[series]


class Grid:
    """The variables, key values and times of a dataset of many cases.

    Args:
        found: The series and times of each case.

    Attributes:
        arrays: The variables.
        keys: The key values of all variables that have some.
        times: The times of all cases.

    Raises:
        ValueError: If a case has several values for the same time, or a variable is not the same in all cases.
    """

    def __init__(self, found: Found) -> None:
        self.found = found
        distinct = {id(when): (case, when) for case, when in found.when.items()}
        for case, when in distinct.values():
            if len(np.unique(when.times)) < len(when.times):
                names = ", ".join(dict.fromkeys(map(repr, when.environments)))
                raise ValueError(
                    f"Case {case!r} has several values for the same time, from {names}; choose one with environment="
                )
        self.times = _united_times(when for _, when in distinct.values())
        self._where = {key: _where(self.times, when.times) for key, (_, when) in distinct.items()}
        self._arrays_of: dict[int, dict[str, Array]] = {}
        first_with = {}
        for case, reading in found.readings.items():
            if id(reading.series) not in self._arrays_of:
                arrays = {array.name: array for array in arrays_of(reading.series)}
                self._arrays_of[id(reading.series)] = first_with[case] = arrays
        self.arrays = _united(first_with)
        self.keys = keys_of(self.arrays)
        self._row_of = {key: row for row, key in enumerate(self.keys)}
        self._parts: dict[tuple[str, int, int], Part] = {}

    def shape(self, array: Array) -> tuple[int, int]:
        """How many key values, and how many times an array has for each case."""
        return len(self.keys) if array.has_keys else 1, len(self.times)

    def part(self, array: Array, case: str) -> Part:
        """What a case has of a variable."""
        series, when = id(self.found.readings[case].series), id(self.found.when[case])
        known = self._parts.get((array.name, series, when))
        if known is None:
            own = self._arrays_of[series].get(array.name, Array(array.name)).series
            rows = [self._row_of[key] for key in own] if array.has_keys else [0][: len(own)]
            known = Part(tuple(own.values())[: len(rows)], tuple(rows), self._where[when])
            self._parts[array.name, series, when] = known
        return known

    def dataset(self, values: Mapping[str, Any], parameters: Mapping[str, Mapping[str, Any]]) -> xr.Dataset:
        """One array a variable with the dimensions case, key and time; parameters are coordinates of the cases.

        Args:
            values: The values of each variable; one without key values has no dimension key.
            parameters: The parameters of each case.

        Raises:
            ValueError: If a parameter has the name of a variable.
        """
        import xarray as xr

        variables = {}
        for array in self.arrays:
            dims = (CASE, "key", TIME) if array.has_keys else (CASE, TIME)
            variables[array.name] = (dims, values[array.name], array.attributes)
        cases = [*self.found.readings]
        given = _parameters([parameters[case] for case in cases], {*variables, CASE, "key", TIME})
        coordinates = coordinates_of(self.times, self.keys)
        coordinates[CASE] = (CASE, np.array(cases, dtype=object))
        coordinates |= {name: (CASE, column.to_numpy(zero_copy_only=False)) for name, column in given.items()}
        return xr.Dataset(variables, coordinates)


class GridValues:
    """The values of a dataset in memory, which are filled in as cases are read.

    Args:
        found: The series and times of each case.
    """

    def __init__(self, found: Found) -> None:
        self._grid = grid = Grid(found)
        self._number_of = {case: number for number, case in enumerate(found.readings)}
        self._filled = {array.name: np.full((len(found.when), *grid.shape(array)), np.nan) for array in grid.arrays}

    def put(self, case: str, values: Values) -> None:
        """Fill in the values of a case."""
        for array in self._grid.arrays:
            self._grid.part(array, case).put(values, self._filled[array.name][self._number_of[case]])

    def dataset(self, cases: Sequence[str], parameters: Mapping[str, Mapping[str, Any]]) -> xr.Dataset:
        """The dataset of the cases that were filled in."""
        grid, filled = self._grid, self._filled
        if len(cases) < len(self._number_of):
            grid = Grid(grid.found.of(cases))
            filled = {array.name: self._taken(array, grid, cases) for array in grid.arrays}
        return grid.dataset(
            {array.name: filled[array.name] if array.has_keys else filled[array.name][:, 0] for array in grid.arrays},
            parameters,
        )

    def _taken(self, array: Array, grid: Grid, cases: Sequence[str]) -> npt.NDArray[np.float64]:
        """The values of a variable for some cases, whose times and key values are those of another grid."""
        filled, row_of = self._filled[array.name], {key: row for row, key in enumerate(self._grid.keys)}
        numbers = [self._number_of[case] for case in cases]
        keys = grid.keys if array.has_keys else [*array.series][:1]
        rows = [row_of.get(key, 0) for key in keys] if filled.shape[1] > 1 else [0] * len(keys)
        where = np.searchsorted(self._grid.times, grid.times)
        taken: npt.NDArray[np.float64] = filled[np.ix_(np.array(numbers), np.array(rows), where)]
        return taken


def _where(times: Times, of_case: Times) -> slice | npt.NDArray[np.intp]:
    """The positions of a case's times: a slice if they are next to each other, so that few bytes say which."""
    where = np.searchsorted(times, of_case)
    if len(where) and np.array_equal(where, np.arange(where[0], where[0] + len(where))):
        return slice(int(where[0]), int(where[0]) + len(where))
    return where


def _united(by_case: Mapping[str, Mapping[str, Array]]) -> list[Array]:
    """The variables of all cases, each with the key values of all cases.

    Args:
        by_case: The variables of each case; of cases with the same ones, one is enough.
    """
    united: dict[str, tuple[str, Array]] = {}
    for case, arrays in by_case.items():
        for name, array in arrays.items():
            first_case, first = united.setdefault(name, (case, Array(name, {**array.series})))
            if first.attributes != array.attributes:
                raise ValueError(
                    f"{name!r} is not the same in all cases: {first.attributes} in {first_case!r} and "
                    f"{array.attributes} in {case!r}; read the cases of each kind alone, with cases="
                )
            first.series |= {key: series for key, series in array.series.items() if key not in first.series}
    return [array for _, array in united.values()]


def _parameters(of_cases: Sequence[Mapping[str, Any]], taken: set[str]) -> dict[str, pa.Array]:
    """Each parameter of all cases, as one column: of one type, or as JSON texts."""
    names = dict.fromkeys(name for given in of_cases for name in given)
    for name in names:
        if name in taken:
            raise ValueError(
                f"The parameter {name!r} has the name of another column; add the cases with another parameter name"
            )
    return {name: _of_one_type([given.get(name) for given in of_cases]) for name in names}


def _of_one_type(values: Sequence[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    with contextlib.suppress(OverflowError, pa.ArrowException):  # a number that is too large
        if kinds == {int, float}:
            return pa.array(values, pa.float64())
        if kinds in ({bool}, {int}, {float}, {str}):
            return pa.array(values)
    return pa.array(map(_text, values), pa.string())


def _text(value: Any) -> str | None:
    return value if isinstance(value, str | None) else json.dumps(value)


def parquet_schema(series: Iterable[Sequence[Series]], parameters: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
    """The columns for all cases: case, environment, time, series, and parameters.

    Raises:
        ValueError: If a parameter has the name of another column.
    """
    fields = {
        CASE: pa.field(CASE, pa.string()),
        ENVIRONMENT: pa.field(ENVIRONMENT, pa.string()),
        TIME: pa.field(TIME, pa.timestamp("us")),
    }
    fields |= {each.column: series_field(each) for of_case in series for each in of_case}
    given = _parameters([*parameters.values()], {*fields})
    fields |= {name: pa.field(name, column.type) for name, column in given.items()}
    return pa.schema([*fields.values()])


def parquet_table(case: str, values: Values, parameters: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """The rows of one case, with the columns for all cases."""
    rows = len(values.times)
    columns: dict[str, Any] = {
        CASE: pa.array([case] * rows, pa.string()),
        ENVIRONMENT: pa.array(values.environments, pa.string()),
        TIME: pa.array(values.times),
    }
    columns |= {
        series.column: pa.array(column, from_pandas=True)
        for series, column in zip(values.series, values.columns, strict=True)
    }
    for field in schema:
        if field.name not in columns:
            given = parameters.get(field.name)
            columns[field.name] = pa.array(
                [_text(given) if pa.types.is_string(field.type) else given] * rows, field.type
            )
    return pa.table([columns[field.name] for field in schema], schema=schema)
