import pyarrow.parquet

from idfkit_fs import FsspecFileSystem

fs = FsspecFileSystem.from_url("s3://my-bucket/windows")
column = "OFFICE CORE:Zone Mean Air Temperature [C](Hourly)"

with fs.open("wwr-0.4/timeseries-hourly.parquet") as file:
    parquet = pyarrow.parquet.ParquetFile(file)
    table = parquet.read(columns=["time", column])
print(table.num_rows, table.schema.field(column).metadata[b"units"])
