"""Small models that EnergyPlus runs in seconds, built with idfkit: for the examples, the demo and the tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from idfkit import IDFDocument, ZoningScheme, create_block, footprint_rectangle, new_document, set_wwr, write_idf

from idfkit_fs import find_energyplus

ENERGYPLUS_VERSION = (25, 2, 0)

WEATHER_FILES = {
    "chicago": "USA_IL_Chicago-OHare.Intl.AP.725300_TMY3.epw",
    "golden": "USA_CO_Golden-NREL.724666_TMY3.epw",
    "san-francisco": "USA_CA_San.Francisco.Intl.AP.724940_TMY3.epw",
    "sterling": "USA_VA_Sterling-Washington.Dulles.Intl.AP.724030_TMY3.epw",
    "tampa": "USA_FL_Tampa.Intl.AP.722110_TMY3.epw",
}

Frequency = Literal["Timestep", "Hourly", "Daily", "Monthly"]


def weather(name: str = "chicago") -> Path:
    """Find a TMY3 weather file among those that come with EnergyPlus.

    Args:
        name: One of the keys of `WEATHER_FILES`. The models below are located in Chicago.

    Returns:
        The path of the `.epw` file.

    Raises:
        ValueError: If there is no weather file of that name.
        FileNotFoundError: If this EnergyPlus came without its weather files.
    """
    if name not in WEATHER_FILES:
        raise ValueError(f"no weather file {name!r}; choose from {', '.join(WEATHER_FILES)}")
    path = find_energyplus().install_dir / "WeatherData" / WEATHER_FILES[name]
    if not path.is_file():
        raise FileNotFoundError(path)
    return path


def small_office(
    *,
    name: str = "Small office",
    window_to_wall_ratio: float = 0.3,
    insulation_thickness: float = 0.1,
    length: float = 28.0,
    width: float = 18.0,
    storeys: int = 1,
    timestep: int = 4,
    frequency: Frequency = "Hourly",
) -> IDFDocument:
    """Build a small office in Chicago: a core and four perimeter zones per storey, with ideal-loads air systems.

    Args:
        name: The building's name.
        window_to_wall_ratio: Window area over gross wall area, the same on every side; between 0 and 1, exclusive.
        insulation_thickness: Insulation in walls and roof (m); more than 0.
        length: East-west dimension (m).
        width: North-south dimension (m).
        storeys: Number of storeys, 3.5 m each.
        timestep: Time steps per hour.
        frequency: How often variables and meters are reported.

    Returns:
        The model, ready for `idfkit.simulation.simulate`.
    """
    doc = _document(name, timestep)
    create_block(doc, "Office", footprint_rectangle(length, width), 3.5, storeys, zoning=ZoningScheme.CORE_PERIMETER)
    _envelope(doc, insulation_thickness, window_to_wall_ratio)
    _use(doc)
    _outputs(
        doc,
        frequency,
        variables=[
            "Site Outdoor Air Drybulb Temperature",
            "Zone Mean Air Temperature",
            "Zone Lights Electricity Rate",
            "Zone Ideal Loads Supply Air Total Heating Energy",
            "Zone Ideal Loads Supply Air Total Cooling Energy",
        ],
        meters=[
            "Electricity:Facility",
            "InteriorLights:Electricity",
            "InteriorEquipment:Electricity",
            "DistrictHeatingWater:Facility",
            "DistrictCooling:Facility",
        ],
    )
    doc.add("Output:VariableDictionary", key_field="Regular")
    return doc


def one_zone(*, name: str = "One zone") -> IDFDocument:
    """Build the quickest model that still makes sense: one zone of 80 m2 in Chicago with an ideal-loads air system.

    Args:
        name: The building's name.

    Returns:
        The model, ready for `idfkit.simulation.simulate`.
    """
    doc = _document(name, timestep=4)
    create_block(doc, "Room", footprint_rectangle(10.0, 8.0), 3.0)
    _envelope(doc, insulation_thickness=0.1, window_to_wall_ratio=0.2)
    _use(doc)
    _outputs(doc, "Hourly", variables=["Zone Mean Air Temperature"], meters=["DistrictHeatingWater:Facility"])
    return doc


def failing_model() -> IDFDocument:
    """Build a model that EnergyPlus starts on and gives up: one surface has a construction that does not exist.

    Returns:
        The model; its run leaves an `.err` file with severe errors and a fatal one.
    """
    doc = one_zone(name="Failing model")
    next(iter(doc["BuildingSurface:Detailed"])).construction_name = "No such construction"
    return doc


def _document(name: str, timestep: int) -> IDFDocument:
    """Start a model: site, design days, run period and simulation control."""
    doc = new_document(version=ENERGYPLUS_VERSION, strict=False)
    for seeded in ("Building", "SimulationControl"):
        doc.removeidfobjects(list(doc.get_collection(seeded)))
    doc.add("Building", name, terrain="Suburbs", solar_distribution="FullExterior")
    doc.add(
        "SimulationControl",
        do_zone_sizing_calculation="Yes",
        do_system_sizing_calculation="No",
        do_plant_sizing_calculation="No",
        run_simulation_for_sizing_periods="No",
        run_simulation_for_weather_file_run_periods="Yes",
    )
    doc.add("Timestep", number_of_timesteps_per_hour=timestep)
    doc.add("Site:Location", "Chicago Ohare Intl Ap", latitude=41.98, longitude=-87.92, time_zone=-6.0, elevation=201.0)
    doc.add("Site:GroundTemperature:BuildingSurface")  # 18 C all year: EnergyPlus's default, but it wants to be asked
    # The 99.6 % heating and 0.4 % cooling conditions of the weather file's .ddy.
    no_sun = {"solar_model_indicator": "ASHRAEClearSky", "sky_clearness": 0.0}
    tau = {
        "solar_model_indicator": "ASHRAETau",
        "ashrae_clear_sky_optical_depth_for_beam_irradiance_taub_": 0.455,
        "ashrae_clear_sky_optical_depth_for_diffuse_irradiance_taud_": 2.05,
    }
    for season, month, dry_bulb, daily_range, wet_bulb, wind_speed, wind_direction, solar in (
        ("Winter", 1, -20.0, 0.0, -20.0, 4.9, 270.0, no_sun),
        ("Summer", 7, 33.3, 10.5, 23.7, 5.2, 230.0, tau),
    ):
        doc.add(
            "SizingPeriod:DesignDay",
            f"Chicago {season}",
            solar,
            month=month,
            day_of_month=21,
            day_type=f"{season}DesignDay",
            maximum_dry_bulb_temperature=dry_bulb,
            daily_dry_bulb_temperature_range=daily_range,
            humidity_condition_type="WetBulb",
            wetbulb_or_dewpoint_at_maximum_dry_bulb=wet_bulb,
            barometric_pressure=98934.0,
            wind_speed=wind_speed,
            wind_direction=wind_direction,
        )
    doc.add(
        "RunPeriod",
        "Year",
        begin_month=1,
        begin_day_of_month=1,
        end_month=12,
        end_day_of_month=31,
        day_of_week_for_start_day="Monday",
    )
    return doc


def _envelope(doc: IDFDocument, insulation_thickness: float, window_to_wall_ratio: float) -> None:
    """Add windows and constructions to the block; `insulation_thickness` in m."""
    for name, thickness, conductivity, density, specific_heat in (
        ("Brick", 0.1, 0.89, 1920.0, 790.0),
        ("Concrete", 0.15, 1.4, 2240.0, 900.0),
        ("Gypsum", 0.0127, 0.16, 800.0, 1090.0),
        ("Insulation", insulation_thickness, 0.04, 30.0, 1400.0),
        ("Slab insulation", 0.05, 0.035, 30.0, 1400.0),
        ("Roofing", 0.01, 0.16, 1120.0, 1460.0),
    ):
        doc.add(
            "Material",
            name,
            roughness="MediumRough",
            thickness=thickness,
            conductivity=conductivity,
            density=density,
            specific_heat=specific_heat,
        )
    doc.add("WindowMaterial:SimpleGlazingSystem", "Double glazing", u_factor=1.8, solar_heat_gain_coefficient=0.4)

    names = {
        ("Wall", "Outdoors"): "Exterior wall",
        ("Wall", "Surface"): "Partition",
        ("Roof", "Outdoors"): "Roof",
        ("Floor", "Ground"): "Ground floor",
    }
    used = {"Window"}
    for surface in doc["BuildingSurface:Detailed"]:
        key = (str(surface.surface_type), str(surface.outside_boundary_condition))
        surface.construction_name = names.get(key, "Storey floor")
        used.add(surface.construction_name)
    set_wwr(doc, window_to_wall_ratio, construction="Window")

    for name, *layers in (  # from the outside in
        ("Exterior wall", "Brick", "Insulation", "Gypsum"),
        ("Roof", "Roofing", "Insulation", "Concrete"),
        ("Ground floor", "Slab insulation", "Concrete"),
        ("Partition", "Gypsum", "Gypsum"),
        ("Storey floor", "Concrete"),
        ("Window", "Double glazing"),
    ):
        if name in used:  # EnergyPlus warns of the others
            keys = ["outside_layer", *(f"layer_{number}" for number in range(2, len(layers) + 1))]
            doc.add("Construction", name, dict(zip(keys, layers, strict=True)))


def _use(doc: IDFDocument) -> None:
    """Put people, lights, equipment, air and a thermostat into every zone."""
    zones = [zone.name for zone in doc["Zone"]]
    doc.add("ZoneList", "All zones", zones=[{"zone_name": zone} for zone in zones])
    for limits, low, high in (("Fraction", 0.0, 1.0), ("Temperature", -60.0, 200.0), ("Activity", 0.0, 1000.0)):
        doc.add("ScheduleTypeLimits", limits, lower_limit_value=low, upper_limit_value=high, numeric_type="Continuous")
    _schedule(doc, "Occupancy", "Fraction", ("08:00", "18:00"), 0.9, 0.0)
    _schedule(doc, "Lighting", "Fraction", ("07:00", "19:00"), 0.9, 0.05)
    _schedule(doc, "Plug loads", "Fraction", ("08:00", "18:00"), 0.9, 0.3)
    _schedule(doc, "Heating setpoint", "Temperature", ("05:00", "19:00"), 21.0, 16.0)
    _schedule(doc, "Cooling setpoint", "Temperature", ("05:00", "19:00"), 24.0, 29.0)
    doc.add("Schedule:Constant", "Activity", schedule_type_limits_name="Activity", hourly_value=120.0)  # W/person

    in_all_zones = {"zone_or_zonelist_or_space_or_spacelist_name": "All zones"}
    doc.add(
        "People",
        "People",
        in_all_zones,
        number_of_people_schedule_name="Occupancy",
        number_of_people_calculation_method="Area/Person",
        floor_area_per_person=18.0,
        fraction_radiant=0.3,
        activity_level_schedule_name="Activity",
    )
    doc.add(
        "Lights",
        "Lights",
        in_all_zones,
        schedule_name="Lighting",
        design_level_calculation_method="Watts/Area",
        watts_per_floor_area=8.0,
        fraction_radiant=0.4,
        fraction_visible=0.2,
    )
    doc.add(
        "ElectricEquipment",
        "Equipment",
        in_all_zones,
        schedule_name="Plug loads",
        design_level_calculation_method="Watts/Area",
        watts_per_floor_area=8.0,
        fraction_radiant=0.3,
    )
    doc.add(
        "ZoneInfiltration:DesignFlowRate",
        "Infiltration",
        in_all_zones,
        design_flow_rate_calculation_method="AirChanges/Hour",
        air_changes_per_hour=0.2,
    )
    doc.add(
        "HVACTemplate:Thermostat",
        "Thermostat",
        heating_setpoint_schedule_name="Heating setpoint",
        cooling_setpoint_schedule_name="Cooling setpoint",
    )
    for zone in zones:
        doc.add(
            "HVACTemplate:Zone:IdealLoadsAirSystem",
            zone_name=zone,
            template_thermostat_name="Thermostat",
            outdoor_air_method="Flow/Person",
            outdoor_air_flow_rate_per_person=0.01,  # m3/s
            demand_controlled_ventilation_type="OccupancySchedule",
        )


def _schedule(
    doc: IDFDocument, name: str, limits: str, hours: tuple[str, str], working: float, otherwise: float
) -> None:
    """Add a schedule with one value in the working `hours` of weekdays and another for the rest of the year."""
    start, end = hours
    # Heating is sized without people, lights and equipment, but at the working setpoint.
    days = "Weekdays SummerDesignDay" + (" WinterDesignDay" if limits == "Temperature" else "")
    fields: list[str | float] = ["Through: 12/31", f"For: {days}"]
    fields += [f"Until: {start}", otherwise, f"Until: {end}", working, "Until: 24:00", otherwise]
    fields += ["For: AllOtherDays", "Until: 24:00", otherwise]
    doc.add("Schedule:Compact", name, schedule_type_limits_name=limits, data=[{"field": field} for field in fields])


def _outputs(doc: IDFDocument, frequency: Frequency, *, variables: list[str], meters: list[str]) -> None:
    """Ask for variables, meters, every summary report (as HTML) and the database."""
    for variable in variables:
        doc.add("Output:Variable", key_value="*", variable_name=variable, reporting_frequency=frequency)
    for meter in meters:
        doc.add("Output:Meter", key_name=meter, reporting_frequency=frequency)
    doc.add("Output:Table:SummaryReports", reports=[{"report_name": "AllSummary"}])
    doc.add("OutputControl:Table:Style", column_separator="HTML")
    doc.add("Output:SQLite", option_type="SimpleAndTabular")


def main() -> None:
    """Write `office.idf` and `chicago.epw`, which the README and the pages use, into the current directory."""
    Path("office.idf").write_text(write_idf(small_office()), encoding="utf-8")
    shutil.copy(weather(), "chicago.epw")
    print("Wrote office.idf and chicago.epw")


if __name__ == "__main__":
    main()
