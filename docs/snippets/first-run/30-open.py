import idfkit_fs

result = idfkit_fs.open_result("s3://my-bucket/first")
print(result.success, result.record.energyplus_version)

temperatures = result.timeseries("Zone Mean Air Temperature")
print(temperatures.describe().loc[["count", "min", "mean", "max"]])

uses = result.tabular("AnnualBuilding*", "End Uses")
print(uses[(uses["units"] == "GJ") & (uses["number"] > 0)][["row", "column", "number", "units"]])
