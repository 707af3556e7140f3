import polars as pl

from idfkit_fs import FsspecFileSystem

fs = FsspecFileSystem.from_url("s3://my-bucket/windows")
column = "OFFICE CORE:Zone Mean Air Temperature [C](Hourly)"

with fs.open("wwr-0.4/timeseries-hourly.parquet") as file:
    frame = pl.read_parquet(file, columns=["time", column])
print(frame[column].max())
