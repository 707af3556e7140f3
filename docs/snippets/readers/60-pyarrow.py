import pandas as pd
import pyarrow.dataset

from idfkit_fs import FsspecFileSystem

fs = FsspecFileSystem.from_url("s3://my-bucket/windows")
column = "OFFICE CORE:Zone Mean Air Temperature [C](Hourly)"

dataset = pyarrow.dataset.dataset(fs.key("wwr-0.4/timeseries-hourly.parquet"), filesystem=fs.fs)
july = pyarrow.dataset.field("time") > pd.Timestamp(2007, 7, 1)
print(dataset.filter(july).count_rows(), dataset.schema.field(column).metadata[b"units"])
