import duckdb
import fsspec
import polars as pl
import pyarrow.dataset

import idfkit_fs

fs = idfkit_fs.FsspecFileSystem.from_url("safecache::s3://my-bucket")
filesystem, key = fsspec.url_to_fs(fs.url("office/tabular.parquet"), **fs.storage_options)

dataset = pyarrow.dataset.dataset(key, filesystem=filesystem)
print(dataset.count_rows())
print(pl.scan_pyarrow_dataset(dataset).head(1).collect())
print(pl.read_parquet(key, use_pyarrow=True, pyarrow_options={"filesystem": filesystem}).height)

connection = duckdb.connect()
connection.register_filesystem(filesystem)
print(connection.sql(f"SELECT count(*) FROM read_parquet('safecache://{key}')"))
