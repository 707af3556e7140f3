import xarray as xr

from idfkit_fs import FsspecFileSystem

fs = FsspecFileSystem.from_url("s3://my-bucket/windows")
ds = xr.open_dataset(fs.url("wwr-0.4"), engine="energyplus", storage_options=fs.storage_options)
print(ds["Zone Mean Air Temperature"].sel(key="OFFICE CORE").max().round(1).item())
