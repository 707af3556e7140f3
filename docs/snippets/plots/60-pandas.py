from idfkit_fs import Study

study = Study("s3://my-bucket/windows")
demand = study.timeseries("DistrictCooling:Facility").squeeze("columns") / 3.6e6  # kWh in an hour: kW
axes = demand.unstack("case")["2007-07-02":"2007-07-08"].plot(ylabel="Cooling (kW)")
axes.figure.savefig("week.png")
