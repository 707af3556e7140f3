"""pandas, xarray and dask read the place of a cached filesystem by its URL and options, as with plain fsspec."""

from __future__ import annotations

import os
from pathlib import Path

import dask.dataframe as dd
import fsspec
import pandas as pd
import pytest
import xarray as xr
from idfkit.simulation import SimulationResult
from runs.conftest import Place

from idfkit_fs import FsspecFileSystem, publish


@pytest.fixture
def fs(s3_place: Place, local_run: SimulationResult, tmp_path: Path) -> FsspecFileSystem:
    """The cached place of a run, which pandas finds as fsspec's own simplecache in the same directory."""
    publish(local_run, s3_place.url, storage_options=s3_place.options)
    options = {"cache_storage": str(tmp_path / "kept"), "max_bytes": "1 GB"}
    return FsspecFileSystem.from_url(f"simplecache::{s3_place.url}", simplecache=options, s3=s3_place.options)


@pytest.fixture
def csv(local_run: SimulationResult) -> pd.DataFrame:
    return pd.read_csv(local_run.run_dir / "eplus.csv")


def test_pandas(fs: FsspecFileSystem, csv: pd.DataFrame) -> None:
    where = fs.url("eplus.csv")
    assert where.startswith("simplecache::s3://")
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
    assert Path(fsspec.open_local(fs.url("eplus.err"), **fs.storage_options)).read_bytes() == whole
    assert fs.read_bytes("eplus.err") == whole
