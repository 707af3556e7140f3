import dask.dataframe as dd

from idfkit_fs import FsspecFileSystem

fs = FsspecFileSystem.from_url("s3://my-bucket/windows")
column = "OFFICE CORE:Zone Mean Air Temperature [C](Hourly)"

frame = dd.read_parquet(
    fs.url("wwr-0.4/timeseries-hourly.parquet"), columns=[column], storage_options=fs.storage_options
)
print(round(frame[column].max().compute(), 1))
