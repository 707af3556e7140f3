from idfkit_fs import Study

study = Study("s3://my-bucket/windows")
ds = study.to_xarray("Zone*", frequency="hourly", chunks="auto")  # Dask arrays; no value has been read
print(ds["Zone Mean Air Temperature"].quantile(0.95, "time").mean("key").compute().round(1).values)

ds.to_zarr("s3://my-bucket/zones.zarr", storage_options=study.fs.storage_options)  # pip install zarr
