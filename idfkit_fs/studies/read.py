"""What EnergyPlus reported in many cases: as a DataFrame or as a Dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from idfkit_fs._util.optional_deps import require
from idfkit_fs.studies.chunks import Chunks, check_chunks
from idfkit_fs.studies.collect import Collector, Selection

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import xarray as xr

    from idfkit_fs.runs.result import RunResult
    from idfkit_fs.studies.consolidated_cells import KeptCells

__all__ = ["read_dataset", "read_tabular", "read_timeseries"]

# The functions import studies.tables when the collector has found data: opening a run checks that pandas and pyarrow
# are installed, and says what to install.


def read_timeseries(collector: Collector, selection: Selection) -> pd.DataFrame:
    """Series of many cases; see [Study.timeseries][idfkit_fs.Study.timeseries]."""
    found = collector.find(selection)
    from idfkit_fs.studies.tables import FrameRows

    rows = FrameRows(found)
    frame = rows.frame(collector.read(found.readings, rows.put))
    frame.attrs["without_data"] = collector.without_data
    collector.warn()
    return frame


def read_tabular(
    collector: Collector,
    kept: Mapping[str, KeptCells],
    open_run: Callable[[str], RunResult],
    names: tuple[str, str, str, str],
) -> pd.DataFrame:
    """Cells of tabular reports of many cases; see [Study.tabular][idfkit_fs.Study.tabular]."""

    def read(case: str) -> pa.Table:
        if case in kept:
            return kept[case].cells()
        cells = open_run(case).data.cells()
        from idfkit_fs._outputs.frames import chosen_cells

        report, table, row, column = names
        return chosen_cells(cells, report=report, table=table, row=row, column=column)

    cells = collector.ask_of(read, "Reading")
    from idfkit_fs.studies.tables import cells_frame

    frame = cells_frame(cells)
    frame.attrs["without_data"] = collector.without_data
    collector.warn()
    return frame


def read_dataset(collector: Collector, selection: Selection, chunks: Chunks | None) -> xr.Dataset:
    """Series of many cases as a dataset; see [Study.to_xarray][idfkit_fs.Study.to_xarray]."""
    require("xarray", "xarray", "to_xarray()")
    if chunks is not None:
        require("dask.array", "dask", "to_xarray(chunks=...)")
        chunks = check_chunks(chunks)
    found = collector.find(selection)
    parameters = collector.parameters()
    found = found.of(parameters)
    from idfkit_fs.studies.tables import Grid, GridValues

    if chunks is None:
        values = GridValues(found)
        dataset: xr.Dataset = values.dataset(collector.read(found.readings, values.put), parameters)
    else:
        from idfkit_fs.studies.lazy import lazy_values

        grid = Grid(found)
        dataset = grid.dataset(lazy_values(grid, chunks), parameters)
    if collector.without_data:
        dataset.attrs["without_data"] = collector.reasons()  # a text: a netCDF file cannot hold a dictionary
    collector.warn()
    return dataset
