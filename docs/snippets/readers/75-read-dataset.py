import dask.dataframe as dd
import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset

from idfkit_fs import FsspecFileSystem

fs = FsspecFileSystem.from_url("s3://my-bucket")
url, options = fs.url("windows-hourly"), fs.storage_options
column = "OFFICE CORE:Zone Mean Air Temperature [C](Hourly)"

# Of a filter on the case, only the row groups of these cases are read.
frame = pd.read_parquet(url, filters=[("case", "==", "wwr-0.4")], storage_options=options)
print("pandas", frame[column].max().round(1), frame["wwr"].unique())

lazy = dd.read_parquet(url, columns=["case", column], storage_options=options)
print("dask", lazy.groupby("case")[column].max().compute().round(1).to_dict())

scan = pl.scan_pyarrow_dataset(pyarrow.dataset.dataset(fs.key("windows-hourly"), filesystem=fs.fs))
print("polars", scan.group_by("case").agg(pl.col(column).max().round(1)).sort("case").collect().rows())

connection = duckdb.connect()
connection.register_filesystem(fs.fs)
query = f"SELECT wwr, round(max(\"{column}\"), 1) FROM '{url}/*.parquet' GROUP BY 1 ORDER BY 1"
print("duckdb", connection.sql(query).fetchall())
