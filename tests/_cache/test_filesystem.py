"""The cache as an fsspec filesystem: what pandas, xarray, dask, polars, pyarrow and duckdb read through it."""

from __future__ import annotations

import io
import pickle
import signal
import warnings
from collections.abc import Callable
from typing import Any

import dask.dataframe as dd
import duckdb
import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset
import pytest
import xarray as xr
from support.readers import CONTEXT, Crowd, sum_by_pandas, survey
from support.servers import BUCKET, Store
from support.shelves import Shelf, Tally

from idfkit_fs import FsspecFileSystem, cache
from idfkit_fs._cache.filesystem import CacheFileSystem
from idfkit_fs.errors import LocationError, NotFoundError, StorageOptionsError

VALUES = 6_250_000  # 50 MB


def frame(seed: int = 0, rows: int = 1000) -> pd.DataFrame:
    return pd.DataFrame({"value": np.random.default_rng(seed).random(rows)})


def parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, compression=None, index=False)
    return buffer.getvalue()


def filesystem_of(fs: FsspecFileSystem, path: str) -> tuple[Any, str]:
    """What fsspec makes of a URL and storage options."""
    found, key = fsspec.url_to_fs(fs.url(path), **fs.storage_options)
    return found, key


def by_duckdb(fs: FsspecFileSystem, path: str) -> float:
    found, key = filesystem_of(fs, path)
    with duckdb.connect() as connection:
        connection.register_filesystem(found)
        return float(connection.sql(f"SELECT sum(value) FROM read_parquet('safecache://{key}')").fetchall()[0][0])


def by_pyarrow(fs: FsspecFileSystem, path: str) -> float:
    found, key = filesystem_of(fs, path)
    return float(pyarrow.dataset.dataset(key, filesystem=found).to_table()["value"].to_numpy().sum())


def by_polars(fs: FsspecFileSystem, path: str) -> float:
    found, key = filesystem_of(fs, path)
    lazy = pl.scan_pyarrow_dataset(pyarrow.dataset.dataset(key, filesystem=found)).select(pl.col("value").sum())
    assert pl.read_parquet(key, use_pyarrow=True, pyarrow_options={"filesystem": found})["value"].len() == 1000
    return float(lazy.collect().item())


def by_dask(fs: FsspecFileSystem, path: str) -> float:
    table = dd.read_parquet(fs.url(path), storage_options=fs.storage_options)
    return float(table["value"].sum().compute(scheduler="threads"))


def by_pandas(fs: FsspecFileSystem, path: str) -> float:
    return float(pd.read_parquet(fs.url(path), storage_options=fs.storage_options)["value"].sum())


READERS: dict[str, Callable[[FsspecFileSystem, str], float]] = {
    "pandas": by_pandas,
    "dask": by_dask,
    "polars": by_polars,
    "pyarrow": by_pyarrow,
    "duckdb": by_duckdb,
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_of_parquet_shares_the_copies(seaweed_shelf: Shelf, reader: str) -> None:
    shelf, table = seaweed_shelf, frame()
    shelf.put("a.parquet", parquet(table))
    expected = pytest.approx(table["value"].sum())
    assert READERS[reader](shelf.fs, "a.parquet") == expected
    first = shelf.downloads("a.parquet")
    assert first > 0
    assert READERS[reader](shelf.fs, "a.parquet") == expected
    assert by_pandas(shelf.fs, "a.parquet") == expected
    assert shelf.fs.read_bytes("a.parquet") == parquet(table)
    assert shelf.downloads("a.parquet") == first
    assert cache.info(shelf.cache).files == 1
    shelf.put("a.parquet", parquet(frame(1)))
    assert READERS[reader](shelf.fs, "a.parquet") == pytest.approx(frame(1)["value"].sum())


def test_csv_and_netcdf_and_what_is_written(shelf: Shelf) -> None:
    fs, table = shelf.fs, frame(rows=50)
    options = fs.storage_options
    table.to_csv(fs.url("a.csv"), storage_options=options, index=False)
    table.to_parquet(fs.url("b.parquet"), storage_options=options)
    assert cache.info(shelf.cache).files == 0  # writes go to the store itself
    for _ in range(2):
        pd.testing.assert_frame_equal(pd.read_csv(fs.url("a.csv"), storage_options=options), table)
        pd.testing.assert_frame_equal(pd.read_parquet(fs.url("b.parquet"), storage_options=options), table)
        assert len(dd.read_csv(fs.url("a.csv"), storage_options=options).compute(scheduler="threads")) == 50
    assert shelf.downloads("a.csv") == 1
    dataset = xr.Dataset({"t": ("x", np.arange(5.0))})
    with fs.open("c.nc", "wb") as file:
        file.write(bytes(dataset.to_netcdf(engine="h5netcdf")))
    with fsspec.open(fs.url("c.nc"), **options) as file, xr.open_dataset(file, engine="h5netcdf") as found:
        xr.testing.assert_equal(found.load(), dataset)
    with xr.open_dataset(fs.url("c.nc"), engine="h5netcdf", storage_options=options) as found:
        xr.testing.assert_equal(found.load(), dataset)


def test_the_bound_holds_for_pandas_too(shelf: Shelf) -> None:
    bounded = shelf.but(bounds={"max_bytes": 20_000})
    for number in range(6):
        shelf.put(f"{number}.parquet", parquet(frame(number)))
        assert by_pandas(bounded.fs, f"{number}.parquet") == pytest.approx(frame(number)["value"].sum())
        assert cache.info(shelf.cache).bytes <= 20_000


def test_sixteen_processes_read_a_file_by_pandas(seaweed_shelf: Shelf, crowd: Crowd, tally: Tally) -> None:
    table = frame(rows=VALUES)
    seaweed_shelf.put("big.parquet", parquet(table))
    seaweed_shelf.fs.read_bytes("big.parquet")
    once = seaweed_shelf.downloads("big.parquet")
    cache.clear(seaweed_shelf.cache)
    seaweed_shelf.proxy.reset_counters()
    found = crowd.do(sum_by_pandas, seaweed_shelf.url, seaweed_shelf.options, "big.parquet")
    assert found == [float(table["value"].sum())] * 16
    assert once <= seaweed_shelf.downloads("big.parquet") < 1.5 * once
    tally.reads += 16


def test_a_reader_that_is_killed_while_pandas_reads(shelf: Shelf, tally: Tally) -> None:
    table = frame(rows=500_000)
    shelf.put("big.parquet", parquet(table))
    for moment in (1_000, 1_500_000, 3_500_000):
        child = CONTEXT.Process(target=sum_by_pandas, args=(0, shelf.url, shelf.options, "big.parquet"))
        shelf.proxy.when(moment, child.kill)
        child.start()
        child.join()
        tally.fault()
        assert child.exitcode == -signal.SIGKILL, moment
        assert by_pandas(shelf.fs, "big.parquet") == pytest.approx(table["value"].sum())
        assert len(survey(shelf.cache)) == 2  # this process, and its lock
        cache.clear(shelf.cache)


def test_a_file_that_is_overwritten_while_pandas_reads(shelf: Shelf, tally: Tally) -> None:
    old, new = frame(1, 1_000_000), frame(2, 1_000_000)
    shelf.put("big.parquet", parquet(old))
    shelf.proxy.when(5_000_000, lambda: shelf.put("big.parquet", parquet(new)))
    tally.fault()
    assert by_pandas(shelf.fs, "big.parquet") in (float(old["value"].sum()), float(new["value"].sum()))
    assert by_pandas(shelf.fs, "big.parquet") == float(new["value"].sum())


def test_files_and_filesystems_can_be_pickled(shelf: Shelf) -> None:
    shelf.put("a.csv", b"hour,degC\n1,21\n")
    found, key = filesystem_of(shelf.fs, "a.csv")
    again = pickle.loads(pickle.dumps(found))
    assert isinstance(again, CacheFileSystem)
    assert again.cat_file(key) == found.cat_file(key) == b"hour,degC\n1,21\n"
    with found.open(key) as file:
        assert file.read(5) == b"hour,"
        other = pickle.loads(pickle.dumps(file))
        assert other.read() == file.read() == b"degC\n1,21\n"
    assert found.cat_file(key, start=5, end=9) == b"degC"
    assert found.cat_ranges([key, key], [0, 5], [4, 9]) == [b"hour", b"degC"]
    assert found.unstrip_protocol(key) == f"safecache://{key}"
    assert found.open(found.unstrip_protocol(key)).read() == found.cat_file(key)
    assert shelf.downloads("a.csv") == 1


def test_what_is_wrong_is_an_error_of_this_package(shelf: Shelf) -> None:
    fs, options = shelf.fs, shelf.fs.storage_options
    with pytest.raises(NotFoundError) as caught:
        pd.read_csv(fs.url("missing.csv"), storage_options=options)
    assert caught.value.filename.endswith("/missing.csv")
    with pytest.raises(StorageOptionsError, match="did you mean 'cache_storage'"):
        fsspec.open(fs.url("a.csv"), safecache={"cache_storrage": "x"}, s3=options["s3"]).open()
    with pytest.raises(StorageOptionsError, match="needs a store"):
        fsspec.filesystem("safecache")
    with pytest.raises(LocationError):
        FsspecFileSystem.from_url("safecache://bucket/x")
    shelf.put("a.csv", b"x")
    found, key = filesystem_of(fs, "a.csv")
    with pytest.raises(TypeError, match="no option 'nonsense'"):
        found.open(key, nonsense=1)
    assert shelf.store.storage_options["secret"] not in repr(found)


def test_the_environment_is_asked_each_time(
    moto: Store, seaweed: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for number, store in enumerate((moto, seaweed, moto)):
        store.raw.put("environment/a.csv", store.name.encode())
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.storage_options["key"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store.storage_options["secret"])
        url = f"safecache::s3://{BUCKET}/environment/a.csv"
        with fsspec.open(url, safecache={"cache_storage": str(tmp_path)}) as file:
            assert file.read() == store.name.encode(), number


def test_a_cache_that_cannot_be_used_is_no_error_for_pandas(shelf: Shelf) -> None:
    shelf.put("a.csv", b"value\n1\n")
    shelf.cache.write_text("a file where the directory should be")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            assert pd.read_csv(shelf.fs.url("a.csv"), storage_options=shelf.fs.storage_options)["value"].sum() == 1
    assert len([each for each in caught if "without the cache" in str(each.message)]) == 1
