from idfkit_fs import Study

study = Study("s3://my-bucket/tutorial")

# A cell of EnergyPlus's tabular reports, from every case
windows = study.tabular("InputVerification*", "Window-Wall Ratio", "Gross Window-Wall Ratio", "Total")
print(windows[["number", "units"]].to_string())

# A time series, from every case: one column per case, in °C
series = study.timeseries("Zone Mean Air Temperature", keys="OFFICE PERIMETER 1", frequency="hourly")
(heading,) = series.columns
temperatures = series[heading].unstack("case")
print(heading)
print(temperatures.loc["2007-07-02 12:00":"2007-07-02 15:00"].round(1).to_string())
