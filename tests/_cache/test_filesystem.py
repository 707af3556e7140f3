"""The cache as an fsspec filesystem, ``safecache::``, under the libraries that read and write through fsspec."""

from __future__ import annotations

import io
import os
import pickle
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import duckdb
import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from support.frames import digest_of_bytes, digest_of_frame, read_frame, read_in_a_forked_child, rest_of
from support.readers import CONTEXT, Crowd
from support.servers import Store
from support.shelves import MIB, Shelf, Tally

from idfkit_fs import FsspecFileSystem
from idfkit_fs.cache import info
from idfkit_fs.errors import IdfkitFsError, NotFoundError, StorageOptionsError, StoreError, UnreachableError

TABLE = pd.DataFrame({"hour": range(1, 8761), "degC": np.random.default_rng(0).normal(20, 3, 8760).round(2)})
TOTAL = pytest.approx(TABLE["degC"].sum())
# For a dask that shares the machine with other tests.
PATIENT = {f"distributed.comm.timeouts.{name}": "300s" for name in ("connect", "tcp")}


def parquet(table: pd.DataFrame) -> bytes:
    data: bytes = table.to_parquet()
    return data


def csv(number: int, lines: int = 1_250_000) -> bytes:
    """A file of 10 MB, in which every line has the same number: a mixture of two would show."""
    return b"number\n" + f"{number:07d}\n".encode() * lines


@pytest.fixture
def stocked(shelf: Shelf) -> Shelf:
    """A shelf with one table in three formats."""
    shelf.put("case.csv", TABLE.to_csv(index=False).encode())
    shelf.put("case.parquet", parquet(TABLE))
    shelf.put("case.nc", bytes(TABLE.to_xarray().to_netcdf(engine="h5netcdf")))
    return shelf


def filesystem(fs: FsspecFileSystem, path: str = "") -> tuple[Any, str]:
    """What fsspec itself makes of a URL and its options."""
    return fsspec.url_to_fs(fs.url(path), **fs.storage_options)  # type: ignore[no-any-return]  # fsspec has no types


# Readers: each returns the sum of a column.


def pandas_csv(fs: FsspecFileSystem) -> Any:
    return pd.read_csv(fs.url("case.csv"), storage_options=fs.storage_options)["degC"].sum()


def pandas_parquet(fs: FsspecFileSystem) -> Any:
    return pd.read_parquet(fs.url("case.parquet"), storage_options=fs.storage_options)["degC"].sum()


def pandas_with_a_filesystem(fs: FsspecFileSystem) -> Any:
    found, key = filesystem(fs, "case.parquet")
    return pd.read_parquet(key, filesystem=found)["degC"].sum()


def fsspec_open(fs: FsspecFileSystem) -> Any:
    with fsspec.open(fs.url("case.csv"), "rt", **fs.storage_options) as file:
        return pd.read_csv(file)["degC"].sum()


def xarray_url(fs: FsspecFileSystem) -> Any:
    with xr.open_dataset(fs.url("case.nc"), engine="h5netcdf", storage_options=fs.storage_options) as found:
        return found["degC"].sum().item()


def xarray_file(fs: FsspecFileSystem) -> Any:
    with (
        fsspec.open(fs.url("case.nc"), **fs.storage_options) as file,
        xr.open_dataset(file, engine="h5netcdf", chunks={}) as found,
    ):
        return found["degC"].sum().compute().item()


def dask_csv(fs: FsspecFileSystem) -> Any:
    return dd.read_csv(fs.url("case.csv"), storage_options=fs.storage_options)["degC"].sum().compute()


def dask_parquet(fs: FsspecFileSystem) -> Any:
    return dd.read_parquet(fs.url("case.parquet"), storage_options=fs.storage_options)["degC"].sum().compute()


def arrow_dataset(fs: FsspecFileSystem) -> Any:
    found, key = filesystem(fs, "case.parquet")
    return pyarrow.dataset.dataset(key, filesystem=found).to_table()["degC"].to_numpy().sum()


def polars_lazy(fs: FsspecFileSystem) -> Any:
    found, key = filesystem(fs, "case.parquet")
    frame = pl.scan_pyarrow_dataset(pyarrow.dataset.dataset(key, filesystem=found))
    return frame.select(pl.col("degC").sum()).collect().item()


def polars_eager(fs: FsspecFileSystem) -> Any:
    found, key = filesystem(fs, "case.parquet")
    return pl.read_parquet(key, use_pyarrow=True, pyarrow_options={"filesystem": found})["degC"].sum()


def duck(fs: FsspecFileSystem) -> Any:
    found, key = filesystem(fs, "case.parquet")
    with duckdb.connect() as connection:
        connection.register_filesystem(found)
        rows = connection.sql(f"SELECT sum(degC) FROM read_parquet('safecache://{key}')").fetchall()
    return rows[0][0]


READERS = [
    *(pandas_csv, pandas_parquet, pandas_with_a_filesystem, fsspec_open, xarray_url, xarray_file),
    *(dask_csv, dask_parquet, arrow_dataset, polars_lazy, polars_eager, duck),
]


@pytest.mark.parametrize("read", READERS)
def test_a_library_downloads_a_file_once(stocked: Shelf, read: Callable[[FsspecFileSystem], Any]) -> None:
    assert read(stocked.fs) == TOTAL
    assert stocked.downloads("case") == 1
    assert info(stocked.cache).files == 1
    assert read(stocked.fs) == TOTAL
    assert stocked.downloads("case") == 1


def test_all_libraries_share_the_copies(stocked: Shelf) -> None:
    for read in READERS:
        assert read(stocked.fs) == TOTAL
    assert stocked.fs.read_bytes("case.parquet") == parquet(TABLE)
    assert stocked.downloads("case") == info(stocked.cache).files == 3


def test_a_dask_worker_of_another_process_shares_the_copies(stocked: Shelf) -> None:
    fs = stocked.fs
    assert dask_parquet(fs) == TOTAL
    options = {"host": "127.0.0.1", "dashboard_address": None}
    with (
        dask.config.set({"temporary_directory": str(stocked.temporary), **PATIENT}),
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, **options) as cluster,
        Client(cluster),
    ):
        assert dask_parquet(fs) == TOTAL
        assert dask_csv(fs) == TOTAL
    assert stocked.downloads("case.parquet") == stocked.downloads("case.csv") == 1


def test_what_libraries_write_goes_to_the_store_and_around_the_cache(shelf: Shelf) -> None:
    fs = shelf.fs
    found, root = filesystem(fs)
    TABLE.to_csv(fs.url("a.csv"), index=False, storage_options=fs.storage_options)
    TABLE.to_parquet(fs.url("a.parquet"), storage_options=fs.storage_options)
    pyarrow.parquet.write_table(pa.Table.from_pandas(TABLE), f"{root}/b.parquet", filesystem=found)
    dd.from_pandas(TABLE, npartitions=2).to_parquet(fs.url("c"), storage_options=fs.storage_options)
    assert info(shelf.cache).files == 0
    raw = shelf.store.raw
    assert raw.get(f"{shelf.name}/a.csv") == TABLE.to_csv(index=False).encode()
    for name in ("a.parquet", "b.parquet"):
        assert pd.read_parquet(io.BytesIO(raw.get(f"{shelf.name}/{name}"))).equals(TABLE)
    assert len(dd.read_parquet(fs.url("c"), storage_options=fs.storage_options)) == len(TABLE)


def test_every_write_of_fsspec_goes_to_the_store(shelf: Shelf, tmp_path: Path) -> None:
    found, root = filesystem(shelf.fs)
    (tmp_path / "here").write_bytes(b"put")
    with found.open(f"{root}/opened", "wb") as file:
        file.write(b"opened")
    with found.open(f"{root}/text", "w") as file:
        file.write("text")
    with found.transaction, found.open(f"{root}/committed", "wb") as file:
        file.write(b"committed")
    found.pipe_file(f"{root}/piped", b"piped")
    found.pipe({f"{root}/several": b"several"})
    found.put_file(str(tmp_path / "here"), f"{root}/put")
    found.put(str(tmp_path / "here"), f"safecache://{root}/put-too")
    found.cp_file(f"{root}/piped", f"{root}/copied")
    found.mv(f"{root}/several", f"{root}/moved")
    found.touch(f"{root}/empty")
    found.get_mapper(root)["mapped"] = b"mapped"
    assert info(shelf.cache).files == 0
    names = {"opened", "text", "committed", "piped", "put", "put-too", "copied", "moved", "empty", "mapped"}
    right = {name: name.encode() for name in names} | {"put-too": b"put", "copied": b"piped", "moved": b"several"}
    right["empty"] = b""
    raw = shelf.store.raw
    assert {name: raw.get(f"{shelf.name}/{name}") for name in names} == right
    assert {key.rpartition("/")[2] for key in raw.keys(shelf.name)} == names
    assert {path.rpartition("/")[2]: data for path, data in found.cat(f"{root}/*").items()} == right
    found.rm(root, recursive=True)
    assert list(raw.keys(shelf.name)) == [] and found.exists(root) is False


def test_a_file_that_is_overwritten_through_it_is_read_anew(shelf: Shelf) -> None:
    found, root = filesystem(shelf.fs)
    for data in (b"first", b"second"):
        found.pipe_file(f"{root}/a", data)
        assert found.cat_file(f"{root}/a") == found.open(f"{root}/a").read() == data
    assert found.cat_file(f"{root}/a", 1, 3) == b"ec" and found.cat_file(f"{root}/a", -2) == b"nd"
    assert found.cat_ranges([f"{root}/a"] * 2, [0, 4], [2, 9]) == [b"se", b"nd"]
    assert (found.head(f"{root}/a", 2), found.tail(f"{root}/a", 2)) == (b"se", b"nd")
    assert shelf.downloads("a") == 2


def test_what_pandas_reads_is_bounded(shelf: Shelf, tally: Tally) -> None:
    size = len(csv(0, 12_500))
    for number in range(8):
        shelf.put(f"{number}.csv", csv(number, 12_500))
    bounded = shelf.but(bounds={"max_bytes": 3 * size + 2_000})
    for number in range(8):
        frame = read_frame(bounded.fs.url(f"{number}.csv"), bounded.fs.storage_options)
        tally.read(bytes(frame["number"].unique().tolist()), bytes([number]))
    kept = info(shelf.cache)
    assert 2 <= kept.files <= 3 and kept.bytes <= 3 * size + 2_000
    read_frame(bounded.fs.url("7.csv"), bounded.fs.storage_options)
    assert [shelf.downloads(f"{number}.csv") for number in range(8)] == [1] * 8


# Crowds and faults.


def test_sixteen_processes_read_a_large_file_with_pandas_and_download_it_about_once(
    seaweed_shelf: Shelf, crowd: Crowd, tmp_path: Path, tally: Tally
) -> None:
    numbers = pd.DataFrame({"degC": np.random.default_rng(1).random(6_600_000)})
    digest = digest_of_bytes(numbers.to_numpy().tobytes())
    data: bytes = numbers.to_parquet(compression=None, use_dictionary=False)
    assert len(data) > 50e6
    seaweed_shelf.put("case.parquet", data)
    fs = seaweed_shelf.fs
    tally.digests([digest_of_frame(0, fs.url("case.parquet"), fs.storage_options)], digest)
    once = seaweed_shelf.downloads("case.parquet")
    seaweed_shelf.proxy.reset_counters()
    fs = seaweed_shelf.but(cache=tmp_path / "theirs").fs
    tally.digests(crowd.do(digest_of_frame, fs.url("case.parquet"), fs.storage_options), digest)
    assert once <= seaweed_shelf.downloads("case.parquet") < 1.5 * once


@pytest.mark.parametrize("moment", [100, 2 * MIB, 8 * MIB, 9 * MIB])
def test_a_process_that_is_killed_while_pandas_reads(shelf: Shelf, moment: int, tally: Tally) -> None:
    data = csv(1)
    shelf.put("case.csv", data)
    fs = shelf.fs
    child = CONTEXT.Process(target=read_frame, args=(fs.url("case.csv"), fs.storage_options))
    shelf.proxy.kill(child, moment)
    child.join()
    tally.fault()
    assert child.exitcode == -signal.SIGKILL
    frame = read_frame(fs.url("case.csv"), fs.storage_options)
    assert len(frame) == 1_250_000
    tally.read(bytes(frame["number"].unique().tolist()), b"\1")


def test_a_file_that_is_overwritten_between_two_reads_of_pandas(any_shelf: Shelf, tally: Tally) -> None:
    fs = any_shelf.fs
    for number in (1, 2):
        any_shelf.put("case.csv", csv(number, 1000))
        any_shelf.put("case.parquet", parquet(pd.DataFrame({"number": [number] * 1000})))
        for name in ("case.csv", "case.parquet"):
            frame = read_frame(fs.url(name), fs.storage_options)
            tally.read(bytes(frame["number"].unique().tolist()), bytes([number]))


@pytest.mark.parametrize("moment", [100, 2 * MIB, 9 * MIB])
def test_a_file_that_is_overwritten_while_pandas_reads(any_shelf: Shelf, moment: int, tally: Tally) -> None:
    any_shelf.put("case.csv", csv(1))
    fs = any_shelf.fs
    any_shelf.proxy.when(moment, lambda: any_shelf.put("case.csv", csv(2)))
    tally.fault()
    frame = read_frame(fs.url("case.csv"), fs.storage_options)
    assert len(frame) == 1_250_000
    tally.read(bytes(frame["number"].unique().tolist()), b"\1", b"\2")
    frame = read_frame(fs.url("case.csv"), fs.storage_options)
    tally.read(bytes(frame["number"].unique().tolist()), b"\2")


# Options, equality, pickles, errors.


def test_options_that_are_unknown_or_missing(shelf: Shelf) -> None:
    url, options = shelf.fs.url("case.csv"), shelf.fs.storage_options
    with pytest.raises(StorageOptionsError, match="'max_byte'; did you mean 'max_bytes'"):
        fsspec.open(url, **{**options, "safecache": {"max_byte": 1}})
    with pytest.raises(StorageOptionsError, match="'expiry_time'"):
        pd.read_csv(url, storage_options={**options, "safecache": {"expiry_time": 60}})
    with pytest.raises(StorageOptionsError, match="'endpoint'; did you mean"):
        fsspec.open(url, **{**options, "s3": {"endpoint": "http://127.0.0.1:1"}})
    for without in ("safecache://", "safecache://bucket/case.csv"):
        with pytest.raises(StorageOptionsError, match="needs a store"):
            fsspec.open(without)
    found, root = filesystem(shelf.fs)
    found.pipe_file(f"{root}/a", b"x")
    with pytest.raises(TypeError, match="no option 'blocksize'"):
        found.open(f"{root}/a", blocksize=1)


def test_equality_names_and_pickles(shelf: Shelf, somebody: Crowd, tmp_path: Path) -> None:
    found, key = filesystem(shelf.fs, "case.csv")
    assert found == filesystem(shelf.fs)[0] == shelf.fs.fs == pickle.loads(pickle.dumps(found))
    assert len({found, filesystem(shelf.fs)[0]}) == 1
    assert found != filesystem(shelf.but(cache=tmp_path / "other").fs)[0]
    assert found != filesystem(shelf.but(changes={"secret": "another"}).fs)[0]
    assert found != found.store
    assert found.unstrip_protocol(key) == f"safecache://{key}"
    for name in (f"safecache://{key}", f"s3://{key}", f"safecache::s3://{key}"):
        assert found._strip_protocol(name) == key
    assert "testing" not in repr(found)

    found.pipe_file(key, b"0123456789")
    with found.open(key) as file:
        assert file.read(4) == b"0123"
        assert somebody.do(rest_of, file) == [b"456789"]
        assert file.read() == b"456789"
        pickled = pickle.dumps(file)
    assert shelf.downloads("case.csv") == 1
    found.pipe_file(key, b"9876543210")
    with pytest.raises(StoreError, match="has changed since it was opened"):
        pickle.loads(pickled)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_reads_through_the_filesystem_of_its_parent(shelf: Shelf, somebody: Crowd) -> None:
    shelf.put("a.csv", b"ab")
    shelf.put("b.csv", b"ba")
    fs = shelf.fs
    other = filesystem(fs, "b.csv")[1]
    assert somebody.do(read_in_a_forked_child, fs.url("a.csv"), fs.storage_options, other) == [0]
    assert shelf.downloads("a.csv") == shelf.downloads("b.csv") == 1


def test_configured_defaults_hold_for_every_reader(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fsspec.config.conf, "safecache", {"cache_storage": str(tmp_path / "configured")})
    shelf.put("a.csv", b"x")
    url = f"{shelf.store.url}/{shelf.name}"
    plain = FsspecFileSystem.from_url(url, **shelf.login)
    with fsspec.open(f"safecache::{url}/a.csv", s3=shelf.login) as file:
        assert file.read() == b"x"
    assert plain.local_path("a.csv").read_bytes() == b"x"
    assert info(tmp_path / "configured").files == shelf.downloads("a.csv") == 1


def test_a_file_in_an_archive_in_the_store(shelf: Shelf) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("inside.csv", "degC\n20\n")
    shelf.put("runs.zip", archive.getvalue())
    url = f"safecache::zip://inside.csv::{shelf.store.url}/{shelf.name}/runs.zip"
    for _ in range(2):
        assert list(
            pd.read_csv(url, storage_options={"s3": shelf.login, "safecache": {"cache_storage": str(shelf.cache)}})[
                "degC"
            ]
        ) == [20]


def test_errors_are_ours_and_show_no_secret(shelf: Shelf) -> None:
    hidden = shelf.but(changes={"secret": "do-not-show-this"})
    fs = hidden.fs
    found, key = filesystem(fs, "missing.csv")
    readers: list[Callable[[], Any]] = [
        lambda: pd.read_csv(fs.url("missing.csv"), storage_options=fs.storage_options),
        *(lambda: found.open(key), lambda: found.cat_file(key), lambda: found.info(key)),
        lambda: found.cp_file(key, f"{key}-copy"),
    ]
    for read in readers:
        with pytest.raises(NotFoundError) as caught:
            read()
        assert "do-not-show-this" not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
    with pytest.raises(IsADirectoryError):
        found.pipe_file(f"{key}/below", b"x")
        found.open(key)
    hidden.proxy.refuse()
    with pytest.raises(UnreachableError) as unreachable:
        readers[0]()
    assert isinstance(unreachable.value, IdfkitFsError) and "do-not-show-this" not in str(unreachable.value)


def test_another_endpoint_in_the_environment_is_another_store(
    moto: Store, seaweed: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    options = {"safecache": {"cache_storage": str(tmp_path)}}
    for _ in range(2):
        for store in (moto, seaweed):
            store.raw.put(f"{tmp_path.name}/a.csv", store.name.encode())
            monkeypatch.setenv("AWS_ENDPOINT_URL", store.storage_options["endpoint_url"])
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.storage_options["key"])
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store.storage_options["secret"])
            with fsspec.open(f"safecache::{store.url}/{tmp_path.name}/a.csv", **options) as file:
                assert file.read() == store.name.encode()


def test_open_files_of_memory_do_not_share_a_position(tmp_path: Path) -> None:
    url = f"safecache::memory://{tmp_path.name}/a"
    options = {"safecache": {"cache_storage": str(tmp_path)}}
    with fsspec.open(url, "wb", **options) as file:
        file.write(b"0123")
    with fsspec.open(url, **options) as one, fsspec.open(url, **options) as other:
        assert (one.read(2), other.read(1), one.read()) == (b"01", b"0", b"23")
