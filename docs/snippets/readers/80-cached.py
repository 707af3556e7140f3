import dask.dataframe as dd
import duckdb
import fsspec
import pandas as pd
import polars as pl
import pyarrow.dataset
import xarray as xr

from idfkit_fs import FsspecFileSystem

fs = FsspecFileSystem.from_url("safecache::s3://my-bucket/windows")
url, options = fs.url("wwr-0.4/tabular.parquet"), fs.storage_options
print(url)

pd.read_parquet(url, storage_options=options)  # pandas 3.0 or later for such URLs
dd.read_parquet(url, storage_options=options)
xr.open_dataset(fs.url("wwr-0.4"), engine="energyplus", storage_options=options)

# polars, pyarrow and DuckDB take the filesystem and a key.
filesystem, key = fsspec.url_to_fs(url, **options)
dataset = pyarrow.dataset.dataset(key, filesystem=filesystem)
pl.scan_pyarrow_dataset(dataset)
connection = duckdb.connect()
connection.register_filesystem(filesystem)
print(connection.sql(f"SELECT count(*) > 0 FROM read_parquet('safecache://{key}')").fetchall())
