import dask.dataframe as dd
import fsspec
import pandas as pd

import idfkit_fs

fs = idfkit_fs.FsspecFileSystem.from_url("safecache::s3://my-bucket")
url, options = fs.url("office/tabular.parquet"), fs.storage_options
print(url)  # safecache::s3://my-bucket/office/tabular.parquet

print(len(pd.read_parquet(url, storage_options=options)))
print(len(dd.read_parquet(url, storage_options=options)))
print(len(pd.read_csv(fs.url("office/eplusZsz.csv"), storage_options=options)))
with fsspec.open(url, **options) as file:
    print(file.read(4))
