import xarray as xr

ds = xr.open_dataset("s3://my-bucket/windows/wwr-0.4", engine="energyplus")
july = ds["Zone Mean Air Temperature"].sel(key="OFFICE CORE", time="2007-07")
print(july.sizes["time"], float(july.max().round(1)), july.attrs["units"])

urls = [f"s3://my-bucket/windows/wwr-{wwr}" for wwr in (0.2, 0.4, 0.6)]
many = xr.open_mfdataset(urls, engine="energyplus", combine="nested", concat_dim="case", frequency="hourly")
print(dict(many.sizes))

print(xr.open_dataset("runs/office/eplus.sql").sizes["time"])  # the database itself; for its URL, pass the engine too
