from idfkit_fs import Study

study = Study("s3://my-bucket/tutorial")

# A cell of EnergyPlus's tabular reports, from every case
windows = study.tabular("InputVerification*", "Window-Wall Ratio", "Gross Window-Wall Ratio", "Total")
print(windows[["number", "units"]].to_string())

# A time series of every zone, from every case; of the last zone, one column per case, in °C
series = study.timeseries("Zone Mean Air Temperature", frequency="hourly")
heading = series.columns[-1]
temperatures = series[heading].unstack("case")
print(heading)
morning = temperatures[temperatures.index.day_of_year == 183].between_time("03:00", "07:00")  # 2 July
print(morning.round(1).to_string())
