import idfkit_fs

result = idfkit_fs.open_result("s3://my-bucket/windows/wwr-0.4")

temperatures = result.timeseries("Zone Mean Air Temperature", keys="OFFICE*", frequency="hourly")
print(temperatures.shape, temperatures.columns[0])

heating = result.tabular("AnnualBuildingUtilityPerformanceSummary", "End Uses", "Heating", "District Heating Water")
print(heating[["value", "units"]].to_string(index=False))
