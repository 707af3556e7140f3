"""Series and cells as pandas frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from idfkit_fs._outputs.parquet import decoded
from idfkit_fs._outputs.series import FREQUENCIES, Series, matcher, not_reported
from idfkit_fs._outputs.sidecars import ENVIRONMENT, TIME
from idfkit_fs._outputs.values import Values

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["attributes_of", "chosen_cells", "reports_frame", "series_frame", "variables_frame"]

# pandas leaves out columns in the middle where a terminal is too narrow: the long names of reports and tables.
_CELL_COLUMNS = ["row", "column", "number", "report", "report_for", "table", "value", "units"]
_TABLE = ["report", "report_for", "table"]


def series_frame(values: Values, with_environment: bool | None = None) -> pd.DataFrame:
    """One column per series, indexed by the end of each interval; ``attrs`` has the units and keys of the columns.

    Args:
        values: The series.
        with_environment: Whether the index has a level for the environment; None to add it if there are several.
    """
    if with_environment is None:
        with_environment = values.has_several_environments
    times = pd.DatetimeIndex(values.times, name=TIME)
    environments = pd.Index(values.environments, name=ENVIRONMENT)
    index = pd.MultiIndex.from_arrays([environments, times]) if with_environment else times
    frame = pd.DataFrame(
        {series.column: column for series, column in zip(values.series, values.columns, strict=True)}, index=index
    )
    frame.attrs |= attributes_of(values.series)
    return frame


class _Constant(dict[str, str]):
    """A dict that is not copied: pandas deep-copies ``attrs`` at each step, which takes longer than the step."""

    def __deepcopy__(self, _memo: object) -> Self:
        return self


def attributes_of(series: Iterable[Series]) -> dict[str, dict[str, str]]:
    """The units and key values of series, by the headings of their columns."""
    listed = list(series)
    return {
        "units": _Constant((each.column, each.units) for each in listed),
        "keys": _Constant((each.column, each.key) for each in listed),
    }


def chosen_cells(cells: pa.Table, **names: str) -> pd.DataFrame:
    """The cells that match names.

    Args:
        cells: All cells.
        **names: The names to match: ``report``, ``table``, ``row``, ``column``.

    Raises:
        NotReportedError: If no cell matches; it lists the nearest names.
    """
    rows = np.arange(len(cells))
    for part, name in names.items():
        matches = matcher(name)
        if name == "*":
            continue
        coded = cells.column(part).unify_dictionaries().combine_chunks().dictionary_encode()
        texts, numbers = coded.dictionary.to_pylist(), coded.indices.to_numpy()[rows]
        known = np.flatnonzero(np.bincount(numbers)).tolist()  # in the order in which they are reported
        found = np.zeros(len(texts), bool)
        found[[number for number in known if matches(texts[number])]] = True
        if not found.any():
            raise not_reported(name, (texts[number] for number in known), part)
        rows = rows[found[numbers]]
    return decoded(cells.select(_CELL_COLUMNS).take(rows)).to_pandas(use_threads=False)


def variables_frame(catalog: Iterable[Series]) -> pd.DataFrame:
    """One row a series, variables first; the order does not depend on what the series were read from."""
    order = [*FREQUENCIES]
    listed = sorted(catalog, key=lambda each: (each.is_meter, each.variable, each.key, order.index(each.frequency)))
    rows = [(each.variable, each.frequency, each.units, each.key) for each in listed]
    return pd.DataFrame(rows, columns=["variable", "frequency", "units", "key"])


def reports_frame(cells: pa.Table) -> pd.DataFrame:
    """One row a table of a report, in EnergyPlus's order, with how many rows and columns it has."""
    frame = decoded(cells.select([*_TABLE, "row", "column"])).to_pandas(use_threads=False)
    counts = frame.groupby(_TABLE, sort=False, dropna=False)[["row", "column"]].nunique()
    counts = counts.rename(columns={"row": "rows", "column": "columns"}).reset_index()
    return counts[["report", "report_for", "rows", "columns", "table"]]
