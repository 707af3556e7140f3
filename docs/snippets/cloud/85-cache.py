import pandas as pd

import idfkit_fs

cache = {"cache_storage": "results-cache", "max_bytes": "50 GB"}
fs = idfkit_fs.FsspecFileSystem.from_url("safecache::s3://my-bucket/windows", safecache=cache)
for _ in range(2):  # the second time, one small request asks whether the file has changed
    frame = pd.read_parquet(fs.url("wwr-0.4/timeseries-hourly.parquet"), storage_options=fs.storage_options)
print(frame.shape)

directory = idfkit_fs.open_result("s3://my-bucket/windows/wwr-0.4").download("wwr-0.4", include=["*.sql", "*.err"])
print(sorted(path.name for path in directory.iterdir()))
print(idfkit_fs.open_result(directory).success)  # without a network
