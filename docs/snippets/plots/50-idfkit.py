from idfkit.simulation.plotting import plot_comfort_hours, plot_energy_balance, plot_temperature_profile

import idfkit_fs

result = idfkit_fs.open_result("s3://my-bucket/office")
listed = result.variables()
zones = list(listed.loc[listed["variable"] == "Zone Mean Air Temperature", "key"])

plot_energy_balance(result.sql).savefig("energy-balance.png")
plot_temperature_profile(result.sql, zones).savefig("temperatures.png")
plot_comfort_hours(result.sql, zones).savefig("plots-comfort.png")
