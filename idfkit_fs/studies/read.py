"""What EnergyPlus reported in many cases: as a DataFrame, as a Dataset, or as a Parquet dataset in a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.messages import redact
from idfkit_fs._util.optional_deps import require
from idfkit_fs.errors import ExistsError, LocationError
from idfkit_fs.runs.record import RECORD_NAME
from idfkit_fs.studies.collect import Collector, Selection
from idfkit_fs.studies.layout import STUDY

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from idfkit_fs._outputs.values import Values
    from idfkit_fs.runs.result import RunResult
    from idfkit_fs.studies.consolidated_cells import KeptCells

__all__ = ["read_dataset", "read_tabular", "read_timeseries", "write_parquet"]

# The functions import studies.tables when the collector has found data: opening a run checks that pandas and pyarrow
# are installed, and says what to install.


def read_timeseries(collector: Collector, selection: Selection) -> pd.DataFrame:
    """Series of many cases; see [Study.timeseries][idfkit_fs.Study.timeseries]."""
    values = collector.read(collector.find(selection), lambda _case, values: values)
    from idfkit_fs.studies.tables import values_frame

    frame = values_frame(values)
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
    cells = collector.ask_of(
        lambda case: kept[case].cells() if case in kept else open_run(case).tabular(*names), "Reading"
    )
    from idfkit_fs.studies.tables import cells_frame

    frame = cells_frame(cells)
    frame.attrs["without_data"] = collector.without_data
    collector.warn()
    return frame


def read_dataset(collector: Collector, selection: Selection) -> xr.Dataset:
    """Series of many cases as a dataset; see [Study.to_xarray][idfkit_fs.Study.to_xarray]."""
    require("xarray", "xarray", "to_xarray()")
    readings = collector.find(selection)
    parameters = collector.parameters()
    values = collector.read(readings, lambda _case, values: values)
    from idfkit_fs.studies.tables import to_dataset

    dataset: xr.Dataset = to_dataset(values, parameters)
    if collector.without_data:
        dataset.attrs["without_data"] = collector.reasons()  # a text: a netCDF file cannot hold a dictionary
    collector.warn()
    return dataset


def write_parquet(collector: Collector, selection: Selection, target: FsspecFileSystem, overwrite: bool) -> None:
    """Write series of many cases as a Parquet dataset; see [Study.to_parquet][idfkit_fs.Study.to_parquet]."""
    if target.exists(RECORD_NAME) or target.exists(STUDY):
        raise LocationError(
            f"A run or a study exists at {redact(target.url())}; give the Parquet dataset a directory of its own"
        )
    existing = target.glob("", "*.parquet")
    if existing and not overwrite:
        raise ExistsError.for_url(
            target.url(), f"{len(existing)} Parquet files already exist; pass overwrite=True to replace them"
        )
    readings = collector.find(selection)
    parameters = collector.parameters()
    from idfkit_fs.studies.tables import parquet_bytes, parquet_schema

    schema = parquet_schema((reading.series for reading in readings.values()), parameters)

    def write(case: str, values: Values) -> str:
        name = f"{case}.parquet"
        target.write_bytes(name, parquet_bytes(case, values, parameters[case], schema))
        return name

    written = collector.read(readings, write)
    target.remove_if_exists({*existing} - {*written.values()})
    collector.warn()
