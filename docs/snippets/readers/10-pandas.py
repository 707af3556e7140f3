import pandas as pd

from idfkit_fs import FsspecFileSystem

fs = FsspecFileSystem.from_url("s3://my-bucket/windows")
column = "OFFICE CORE:Zone Mean Air Temperature [C](Hourly)"

frame = pd.read_parquet(
    fs.url("wwr-0.4/timeseries-hourly.parquet"), columns=["time", column], storage_options=fs.storage_options
)
print(frame.set_index("time").loc["2007-07-02 12:00":"2007-07-02 14:00"].round(1).to_string())

cells = pd.read_parquet(fs.url("wwr-0.4/tabular.parquet"), storage_options=fs.storage_options)
print(cells.query("table == 'End Uses' and row == 'Heating' and number > 0")[["column", "value", "units"]].to_string())
