"""Other libraries read a filesystem by its URL and options: pandas, xarray, dask, polars, DuckDB, Arrow."""

from __future__ import annotations

import os
from pathlib import Path

import dask.dataframe as dd
import duckdb
import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset
import pyarrow.parquet
import pytest
import xarray as xr
from idfkit.simulation import SimulationResult
from support.places import Place

from idfkit_fs import FsspecFileSystem, publish


@pytest.fixture
def fs(s3_place: Place, local_run: SimulationResult, tmp_path: Path) -> FsspecFileSystem:
    """A cached filesystem with a run, which pandas reads through the same cache."""
    publish(local_run, s3_place.url, storage_options=s3_place.options)
    options = {"cache_storage": str(tmp_path / "kept"), "max_bytes": "1 GB"}
    return FsspecFileSystem.from_url(f"simplecache::{s3_place.url}", simplecache=options, s3=s3_place.options)


@pytest.fixture
def csv(local_run: SimulationResult) -> pd.DataFrame:
    return pd.read_csv(local_run.run_dir / "eplus.csv")


@pytest.fixture
def plain(s3_place: Place, fs: FsspecFileSystem) -> FsspecFileSystem:
    """The same filesystem without a cache."""
    return FsspecFileSystem.from_url(s3_place.url, **s3_place.options)


def test_pandas(fs: FsspecFileSystem, csv: pd.DataFrame) -> None:
    where = fs.url("eplus.csv")
    assert where.startswith("safecache::s3://")
    for _ in range(2):
        assert pd.read_csv(where, storage_options=fs.storage_options).equals(csv)
        assert pd.read_csv(fs.local_path("eplus.csv")).equals(csv)
        assert pd.read_csv(fs.open("eplus.csv")).equals(csv)
    csv.to_parquet(fs.url("frame.parquet"), storage_options=fs.storage_options)
    assert pd.read_parquet(fs.url("frame.parquet"), storage_options=fs.storage_options).equals(csv)
    assert pd.read_parquet(fs.local_path("frame.parquet")).equals(csv)


def test_dask(fs: FsspecFileSystem, csv: pd.DataFrame) -> None:
    frame = dd.read_csv(fs.url("eplus.csv"), storage_options=fs.storage_options)
    assert len(frame) == len(csv)
    assert frame.iloc[:, -1].sum().compute(scheduler="threads") == pytest.approx(csv.iloc[:, -1].sum())


def test_xarray(fs: FsspecFileSystem, csv: pd.DataFrame) -> None:
    numbers = csv.select_dtypes("number").iloc[:, :3]
    numbers.columns = [f"series-{number}" for number in range(numbers.shape[1])]
    numbers.index.name = "row"
    expected = numbers.to_xarray()
    with fs.open("case.nc", "wb") as file:
        file.write(bytes(expected.to_netcdf(engine="h5netcdf")))
    with xr.open_dataset(fs.url("case.nc"), engine="h5netcdf", storage_options=fs.storage_options) as found:
        xr.testing.assert_equal(found.load(), expected)
    with xr.open_dataset(fs.local_path("case.nc"), engine="h5netcdf") as found:
        xr.testing.assert_equal(found.load(), expected)
    with fs.open("case.nc") as file, xr.open_dataset(file, engine="h5netcdf", chunks={}) as found:
        xr.testing.assert_equal(found.compute(), expected)


def test_pandas_may_come_first_where_directories_are_made_open_to_the_group(
    fs: FsspecFileSystem, csv: pd.DataFrame
) -> None:
    before = os.umask(0o002)
    try:
        assert pd.read_csv(fs.url("eplus.csv"), storage_options=fs.storage_options).equals(csv)
        assert pd.read_csv(fs.open("eplus.csv")).equals(csv)
    finally:
        os.umask(before)


def test_plain_fsspec(fs: FsspecFileSystem, local_run: SimulationResult) -> None:
    whole = (local_run.run_dir / "eplus.err").read_bytes()
    with fsspec.open(fs.url("eplus.err"), **fs.storage_options) as file:
        assert file.read() == whole
    assert fs.read_bytes("eplus.err") == whole


COLUMN = "ROOM:Zone Mean Air Temperature [C](Hourly)"


def test_a_sidecar_is_read_by_whatever_reads_parquet(plain: FsspecFileSystem, csv: pd.DataFrame) -> None:
    url, options = plain.url("timeseries-hourly.parquet"), plain.storage_options
    path = url.removeprefix("s3://")

    frame = pd.read_parquet(url, storage_options=options)
    assert list(frame.columns[-2:]) == ["time", "environment"]
    assert frame["time"].is_monotonic_increasing and frame["time"].iloc[0] == pd.Timestamp(2007, 1, 1, 1)
    # EnergyPlus rounds in its CSV.
    np.testing.assert_allclose(frame[COLUMN], csv[COLUMN], rtol=1e-9)

    assert pd.read_parquet(url, columns=[COLUMN], storage_options=options)[COLUMN].equals(frame[COLUMN])
    mean = pytest.approx(frame[COLUMN].mean())
    assert dd.read_parquet(url, columns=[COLUMN], storage_options=options)[COLUMN].mean().compute() == mean
    assert pl.read_parquet(url, columns=[COLUMN], storage_options=options, use_pyarrow=True)[COLUMN].mean() == mean
    assert pl.read_parquet(plain.open("timeseries-hourly.parquet"))[COLUMN].mean() == mean
    dataset = pyarrow.dataset.dataset(path, filesystem=plain.fs)
    july = dataset.filter(pyarrow.dataset.field("time") > pd.Timestamp(2007, 7, 1)).to_table(columns=[COLUMN])
    assert july.column(0).to_numpy().mean() == pytest.approx(frame[frame["time"] > "2007-07-01"][COLUMN].mean())
    told = pyarrow.parquet.read_schema(path, filesystem=plain.fs).field(COLUMN).metadata
    assert told == {b"variable": b"Zone Mean Air Temperature", b"key": b"ROOM", b"units": b"C", b"type": b"mean"}
    with duckdb.connect() as connection:
        connection.register_filesystem(plain.fs)
        assert connection.sql(f"""SELECT avg("{COLUMN}") FROM read_parquet('{url}')""").fetchall() == [(mean,)]


def test_tables_are_read_by_whatever_reads_parquet(plain: FsspecFileSystem, local_run: SimulationResult) -> None:
    cells = pd.read_parquet(plain.url("tabular.parquet"), storage_options=plain.storage_options)
    rows = local_run.sql.get_tabular_data()  # type: ignore[union-attr]  # it exists
    assert [*cells["value"]] == [row.value.strip() for row in rows]
    assert [*cells["row"]] == [row.row_name for row in rows]
    heating = cells.query("table == 'End Uses' and row == 'Heating' and column == 'District Heating Water'")
    assert heating["number"].iloc[0] > 0 and heating["units"].iloc[0] == "GJ"


def test_plain_csv(plain: FsspecFileSystem, csv: pd.DataFrame) -> None:
    assert pd.read_csv(plain.url("eplus.csv"), storage_options=plain.storage_options).equals(csv)
