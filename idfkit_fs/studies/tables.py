"""Values and cells of many cases as pandas, xarray and Parquet objects."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from idfkit_fs._outputs.datasets import Array, arrays_of, coordinates_of, keys_of
from idfkit_fs._outputs.frames import attributes_of, series_frame
from idfkit_fs._outputs.series import Series
from idfkit_fs._outputs.sidecars import ENVIRONMENT, TIME, series_field
from idfkit_fs._outputs.values import Values
from idfkit_fs.studies.display import first_names
from idfkit_fs.studies.rows import COUNTS, FIGURES

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["cells_frame", "parquet_bytes", "parquet_schema", "summary_frame", "to_dataset", "values_frame"]

CASE = "case"
_TEXTS = (CASE, "state", "message")


def values_frame(values: Mapping[str, Values]) -> pd.DataFrame:
    """One column a series; the index is the case, the environment if a case has several, and the time."""
    several = any(each.has_several_environments for each in values.values())
    frames = {case: series_frame(each, with_environment=several) for case, each in values.items()}
    frame = pd.concat(frames, names=[CASE])
    frame.attrs |= attributes_of(series for each in values.values() for series in each.series)
    return frame


def cells_frame(cells: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a cell; the index is the case.

    Raises:
        ValueError: If a number has different units in different cases: each column of numbers would mix them.
    """
    frame = pd.concat(cells, names=[CASE]).droplevel(1)
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


def summary_frame(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a case; the index is the case. A column's type does not depend on which cases miss a value.

    Figures are floats, counts are nullable integers. A parameter or a metric whose values are of one type has that
    type, nullable where integers or booleans are missing; any other column holds objects.
    """
    series = {}
    for name in columns:
        values = [row.get(name) for row in rows]
        series[name] = pd.Series(values, dtype=_pandas_type(name, values))
    return pd.DataFrame(series).set_index(CASE)


def _pandas_type(name: str, values: Sequence[Any]) -> str | None:
    """The type of a column; None for texts, whose type depends on the release of pandas."""
    if name in COUNTS:
        return "Int64"
    if name in FIGURES:
        return "float64"
    kinds, complete = {type(value) for value in values if value is not None}, None not in values
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


def to_dataset(values: Mapping[str, Values], parameters: Mapping[str, Mapping[str, Any]]) -> xr.Dataset:
    """One array a variable with the dimensions case, key and time; parameters are coordinates of the cases.

    Raises:
        ValueError: If a case has several values for the same time, or a parameter has the name of a variable.
    """
    import xarray as xr

    for of_case, each in values.items():
        if len(np.unique(each.times)) < len(each.times):
            names = ", ".join(dict.fromkeys(map(repr, each.environments)))
            raise ValueError(
                f"Case {of_case!r} has several values for the same time, from {names}; choose one with environment="
            )
    times = np.unique(np.concatenate([each.times for each in values.values()]))
    by_case = {case: {array.name: array for array in arrays_of(each.series)} for case, each in values.items()}
    arrays = _united(by_case)
    keys = keys_of(arrays)
    variables = {}
    for array in arrays:
        rows = keys if array.has_keys else [""]
        filled = np.full((len(values), len(rows), len(times)), np.nan)
        for number, (case, each) in enumerate(values.items()):
            where = np.searchsorted(times, each.times)
            columns = dict(zip(each.series, each.columns, strict=True))
            own = by_case[case].get(array.name, Array(array.name)).series
            for row, key in enumerate(rows):
                series = own.get(key) if array.has_keys else next(iter(own.values()), None)
                if series is not None:
                    filled[number, row, where] = columns[series]
        dims = (CASE, "key", TIME) if array.has_keys else (CASE, TIME)
        variables[array.name] = (dims, filled if array.has_keys else filled[:, 0], array.attributes)
    given = _parameters([parameters[case] for case in values], {*variables, CASE, "key", TIME})
    coordinates = coordinates_of(times, keys)
    coordinates[CASE] = (CASE, np.array([*values], dtype=object))
    coordinates |= {name: (CASE, column.to_numpy(zero_copy_only=False)) for name, column in given.items()}
    return xr.Dataset(variables, coordinates)


def _united(by_case: Mapping[str, Mapping[str, Array]]) -> list[Array]:
    """The variables of all cases, each with the key values of all cases."""
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


def parquet_bytes(case: str, values: Values, parameters: Mapping[str, Any], schema: pa.Schema) -> bytes:
    """The rows of one case as a Parquet file, with the columns for all cases."""
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
    file = io.BytesIO()
    table = pa.table([columns[field.name] for field in schema], schema=schema)
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()
