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

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["cells_frame", "parquet_bytes", "parquet_schema", "to_dataset", "values_frame"]

CASE = "case"


def values_frame(values: Mapping[str, Values]) -> pd.DataFrame:
    """One column a series; the index is the case, the environment if a case has several, and the time."""
    several = any(each.has_several_environments for each in values.values())
    frames = {case: series_frame(each, with_environment=several) for case, each in values.items()}
    frame = pd.concat(frames, names=[CASE])
    frame.attrs |= attributes_of(series for each in values.values() for series in each.series)
    return frame


def cells_frame(cells: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a cell; the index is the case."""
    return pd.concat(cells, names=[CASE]).droplevel(1)


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
    arrays = _united(by_case.values())
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


def _united(by_case: Iterable[Mapping[str, Array]]) -> list[Array]:
    """The variables of all cases, each with the key values of all cases."""
    united: dict[str, Array] = {}
    for arrays in by_case:
        for name, array in arrays.items():
            first = united.setdefault(name, Array(name, {**array.series}))
            if first.attributes != array.attributes:
                raise ValueError(f"{name!r} is not the same in all cases: {first.attributes} and {array.attributes}")
            first.series |= {key: series for key, series in array.series.items() if key not in first.series}
    return list(united.values())


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
