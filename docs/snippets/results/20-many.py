from idfkit_fs import Study

study = Study("s3://my-bucket/windows")

electricity = study.timeseries("Electricity:Facility", frequency="hourly")  # the index: case, time
print((electricity.groupby("case").sum() / 3.6e6).round(0).to_string())  # J to kWh

heating = study.tabular("AnnualBuilding*", "End Uses", "Heating", "District Heating Water")  # the index: case
print(heating[["number", "units"]].to_string())

ds = study.to_xarray("Zone Mean Air Temperature")  # the dimensions: case, key, time; wwr is a coordinate
print(dict(ds.sizes))
