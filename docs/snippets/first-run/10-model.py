from pathlib import Path
from shutil import copy

from idfkit import create_block, footprint_rectangle, new_document, set_wwr, write_idf

import idfkit_fs

model = new_document(version=(25, 2, 0), strict=False)
create_block(model, "Office", footprint_rectangle(10, 8), 3)  # one zone, 10 m x 8 m, 3 m high

# What it is made of, and a fifth of each wall is window.
concrete = {"conductivity": 1.4, "density": 2240, "specific_heat": 900}
wool = {"conductivity": 0.04, "density": 30, "specific_heat": 1400}
model.add("Material", "Concrete", concrete, roughness="MediumRough", thickness=0.15)
model.add("Material", "Wool", wool, roughness="MediumRough", thickness=0.1)
model.add("WindowMaterial:SimpleGlazingSystem", "Glazing", u_factor=1.8, solar_heat_gain_coefficient=0.4)
model.add("Construction", "Shell", outside_layer="Wool", layer_2="Concrete")
model.add("Construction", "Window", outside_layer="Glazing")
for surface in model["BuildingSurface:Detailed"]:
    surface.construction_name = "Shell"
set_wwr(model, 0.2, construction="Window")

# Lights that are always on, and as much heating and cooling as it takes.
zone = next(iter(model["Zone"])).name
model.add("ScheduleTypeLimits", "Fraction", lower_limit_value=0, upper_limit_value=1, numeric_type="Continuous")
model.add("Schedule:Constant", "Always", schedule_type_limits_name="Fraction", hourly_value=1)
model.add(
    "Lights",
    "Lights",
    zone_or_zonelist_or_space_or_spacelist_name=zone,
    schedule_name="Always",
    design_level_calculation_method="Watts/Area",
    watts_per_floor_area=8,
)
model.add("HVACTemplate:Thermostat", "21 to 25", constant_heating_setpoint=21, constant_cooling_setpoint=25)
model.add("HVACTemplate:Zone:IdealLoadsAirSystem", zone_name=zone, template_thermostat_name="21 to 25")

# A year in Chicago, and what to report of it.
model.add("Site:Location", "Chicago", latitude=41.98, longitude=-87.92, time_zone=-6, elevation=201)
model.add("Site:GroundTemperature:BuildingSurface")  # 18 C all year
model.add("Timestep", number_of_timesteps_per_hour=4)
model.add("RunPeriod", "Year", begin_month=1, begin_day_of_month=1, end_month=12, end_day_of_month=31)
model.add("Output:Variable", variable_name="Zone Mean Air Temperature", reporting_frequency="Hourly")
model.add("Output:Meter", key_name="Electricity:Facility", reporting_frequency="Hourly")
model.add("Output:Table:SummaryReports", reports=[{"report_name": "AllSummary"}])
model.add("OutputControl:Table:Style", column_separator="HTML")
Path("office.idf").write_text(write_idf(model), encoding="utf-8")

# EnergyPlus comes with some weather files.
weather = idfkit_fs.find_energyplus().install_dir / "WeatherData"
copy(weather / "USA_IL_Chicago-OHare.Intl.AP.725300_TMY3.epw", "chicago.epw")
print(Path("office.idf").stat().st_size, "bytes of model", Path("chicago.epw").stat().st_size, "bytes of weather")
