"""Tiny models that report in every way that there is, and weather that a year of 366 days needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from idfkit import IDFDocument
from idfkit.simulation import SimulationResult
from small_office import one_zone, small_office

from idfkit_fs import FsspecFileSystem, RunResult
from idfkit_fs.runs.publish import Publication
from idfkit_fs.runs.record import RunRecord

__all__ = [
    "ALL",
    "HEATING",
    "LIGHTS",
    "METER",
    "MODELS",
    "OUTDOORS",
    "TEMPERATURE",
    "Ran",
    "Twins",
    "again",
    "leap_weather",
    "period",
    "publish_as",
    "report",
]

Ran = Callable[[str], SimulationResult]
Twins = Callable[[str], tuple[RunResult, RunResult]]
ALL = ("Detailed", "Timestep", "Hourly", "Daily", "Monthly", "RunPeriod", "Annual")
TEMPERATURE = "Zone Mean Air Temperature"
OUTDOORS = "Site Outdoor Air Drybulb Temperature"
HEATING = "Zone Ideal Loads Supply Air Total Heating Energy"
METER = "Electricity:Facility"
LIGHTS = "InteriorLights:Electricity"
_CUMULATIVE = ("Output:Meter:Cumulative", "Output:Meter:Cumulative:MeterFileOnly")
_AT_SURFACES = (
    "Surface Inside Face Temperature",
    "Surface Outside Face Temperature",
    "Surface Inside Face Convection Heat Transfer Coefficient",
    "Surface Outside Face Convection Heat Transfer Coefficient",
    "Surface Inside Face Net Surface Thermal Radiation Heat Gain Rate",
)


def period(model: IDFDocument, begin: tuple[int, int], end: tuple[int, int], **fields: Any) -> IDFDocument:
    """Have the model's one run period go from one day (month, day) to another."""
    (run_period,) = model["RunPeriod"]
    run_period.begin_month, run_period.begin_day_of_month = begin
    run_period.end_month, run_period.end_day_of_month = end
    for name, value in fields.items():
        setattr(run_period, name, value)
    return model


def again(model: IDFDocument, name: str, begin: tuple[int, int], end: tuple[int, int], kind: str = "RunPeriod") -> None:
    """Add another period to run."""
    model.add(
        kind,
        name,
        begin_month=begin[0],
        begin_day_of_month=begin[1],
        end_month=end[0],
        end_day_of_month=end[1],
        day_of_week_for_start_day="Monday",
    )


def report(model: IDFDocument, variable: str, *frequencies: str, **fields: Any) -> None:
    """Ask for a variable of all keys, or for a meter, at some frequencies."""
    for frequency in frequencies:
        if ":" in variable:
            model.add("Output:Meter", key_name=variable, reporting_frequency=frequency, **fields)
        else:
            model.add("Output:Variable", key_value="*", variable_name=variable, reporting_frequency=frequency, **fields)


def silent() -> IDFDocument:
    """The quickest model, for two days, without any series."""
    model = period(one_zone(), (1, 1), (1, 2))
    for kind in ("Output:Variable", "Output:Meter"):
        model.removeidfobjects(list(model[kind]))
    return model


def with_sizing_periods(model: IDFDocument) -> IDFDocument:
    """Have it run its design days too."""
    (control,) = model["SimulationControl"]
    control.run_simulation_for_sizing_periods = "Yes"
    return model


def with_csv() -> IDFDocument:
    """The last two days of a year and two design days, at whatever frequencies EnergyPlus has in its own CSV."""
    model = with_sizing_periods(period(silent(), (12, 30), (12, 31)))
    for variable in (OUTDOORS, TEMPERATURE, HEATING):
        report(model, variable, *ALL[:-1])
    for meter in (METER, LIGHTS):
        report(model, meter, *ALL[1:-1])
    model.add("OutputControl:Files", output_csv="Yes")
    return model


def everything() -> IDFDocument:
    """That, and what EnergyPlus cannot write to its CSV, or mixes up there."""
    model = with_csv()
    model.removeidfobjects(list(model["OutputControl:Files"]))
    for name in (OUTDOORS, TEMPERATURE, HEATING, METER, LIGHTS):
        report(model, name, "Annual")
    model.add("Output:Meter:Cumulative", key_name=METER, reporting_frequency="Hourly")
    report(model, TEMPERATURE, "Hourly", schedule_name="Occupancy")
    return model


def office() -> IDFDocument:
    """Five zones for three days, hourly."""
    model = period(small_office(), (7, 1), (7, 3))
    model.add("OutputControl:Files", output_csv="Yes")
    return model


def storeys() -> IDFDocument:
    """Ten zones for a day of six time steps an hour."""
    return period(small_office(storeys=2, timestep=6, frequency="Timestep"), (1, 1), (1, 1))


def several_periods() -> IDFDocument:
    """Two winter days, two of July, the last of a year; and of sizing periods a day of the weather file too."""
    model = with_sizing_periods(silent())
    again(model, "July", (7, 1), (7, 2))
    again(model, "Last", (12, 31), (12, 31))
    again(model, "Cold day", (1, 20), (1, 20), kind="SizingPeriod:WeatherFileDays")
    report(model, OUTDOORS, *ALL)
    report(model, METER, "Hourly")
    return model


def warming_up(*frequencies: str, warmup: bool = True) -> IDFDocument:
    """Two winter days and the design days, with or without the days of warm-up before them."""
    model = with_sizing_periods(silent())
    report(model, TEMPERATURE, *frequencies)
    if warmup:
        model.add("Output:Diagnostics", diagnostics=[{"key": "ReportDuringWarmup"}])
    return model


def leap_year() -> IDFDocument:
    """From 27 February to 1 March of 2020."""
    model = period(silent(), (2, 27), (3, 1), begin_year=2020, end_year=2020, day_of_week_for_start_day=None)
    report(model, OUTDOORS, *ALL)
    return model


def across_new_year() -> IDFDocument:
    """From 30 December of 2017 to 2 January of 2018."""
    model = period(silent(), (12, 30), (1, 2), begin_year=2017, end_year=2018, day_of_week_for_start_day=None)
    report(model, OUTDOORS, *ALL)
    report(model, METER, *ALL[1:])
    return model


def daylight_saving() -> IDFDocument:
    """A week of March, of which its days in the middle have daylight saving time."""
    model = period(silent(), (3, 8), (3, 14))
    model.add("RunPeriodControl:DaylightSavingTime", start_date="March 10", end_date="3/12")
    report(model, LIGHTS, "Timestep", "Hourly", "Daily")
    return model


def ten_minutes() -> IDFDocument:
    """Two days of six time steps an hour, and whatever steps the system needs."""
    model = silent()
    next(iter(model["Timestep"])).number_of_timesteps_per_hour = 6
    for variable in (OUTDOORS, HEATING):
        report(model, variable, "Detailed", "Timestep", "Hourly")
    return model


def only_run_period() -> IDFDocument:
    """Of two design days and two periods nothing but one value each."""
    model = with_sizing_periods(silent())
    again(model, "July", (7, 1), (7, 2))
    report(model, TEMPERATURE, "RunPeriod")
    return model


def meters(*frequencies: str, warmup: bool = False, every: bool = False, **fields: Any) -> IDFDocument:
    """Meters that are reported to their file only, beside an output variable at some frequencies.

    Of two design days and four periods: across the end of a year, across a leap day, within that, and in another year.
    """
    model = with_sizing_periods(period(silent(), (12, 30), (1, 1), begin_year=2019, end_year=2020))
    (first,) = model["RunPeriod"]
    first.day_of_week_for_start_day = None
    for name, begin, end, year in (
        ("Leap", (2, 27), (3, 2), 2020),
        ("Within", (2, 28), (2, 29), 2020),
        ("Other", (12, 31), (12, 31), 2017),
    ):
        again(model, name, begin, end)
        added = next(each for each in model["RunPeriod"] if each.name == name)
        added.begin_year = added.end_year = year
        added.day_of_week_for_start_day = None
    report(model, OUTDOORS, *frequencies, **fields)
    for kind in ("Output:Meter", *_CUMULATIVE) if every else ():
        for frequency in ALL[1:]:
            model.add(kind, key_name=METER, reporting_frequency=frequency)
    for frequency in ALL[1:]:
        model.add("Output:Meter:MeterFileOnly", key_name=LIGHTS, reporting_frequency=frequency)
    if warmup:
        model.add("Output:Diagnostics", diagnostics=[{"key": "ReportDuringWarmup"}])
    return model


def tables_alone() -> IDFDocument:
    return silent()


def series_alone() -> IDFDocument:
    """Whose database has no tabular reports."""
    model = period(one_zone(), (1, 1), (1, 1))
    next(iter(model["Output:SQLite"])).option_type = "Simple"
    return model


def odd_names() -> IDFDocument:
    """A zone whose name is a pattern to others."""
    model = period(one_zone(), (1, 1), (1, 1))
    model.rename("Zone", "Room", "Room [1]? (a)*")
    return model


def large() -> IDFDocument:
    """Two months of time steps at every surface: its sidecar is larger than what is fetched whole."""
    model = period(silent(), (1, 1), (2, 28))
    for variable in (TEMPERATURE, *_AT_SURFACES):
        report(model, variable, "Timestep")
    return model


MODELS: dict[str, Callable[[], IDFDocument]] = {
    model.__name__: model
    for model in (
        across_new_year,
        daylight_saving,
        everything,
        large,
        leap_year,
        odd_names,
        office,
        only_run_period,
        series_alone,
        several_periods,
        storeys,
        tables_alone,
        ten_minutes,
        with_csv,
    )
} | {
    "cold_start": lambda: warming_up(*ALL, warmup=False),
    "warm_start": lambda: warming_up(*ALL),
    "warm_start_hourly": lambda: warming_up("Hourly", "Daily"),
    "warm_start_daily": lambda: warming_up("Daily"),
    "meters_alone": meters,
    "meters_hourly": lambda: meters("Hourly"),
    "meters_warming_up": lambda: meters("Hourly", warmup=True),
    "meters_scheduled": lambda: meters("Timestep", "Daily", schedule_name="Occupancy"),
    "meters_coarse": lambda: meters("Monthly", "RunPeriod"),
    "meters_runperiod": lambda: meters("RunPeriod"),
    "meters_every": lambda: meters(*ALL, every=True),
}
"""By the name by which a test asks for their run."""


def leap_weather(epw: Path, target: Path) -> Path:
    """That weather with a 29 February like the day before it, and a header that owns up to it."""
    lines = epw.read_bytes().splitlines(keepends=True)
    eve = [line for line in lines if line.split(b",")[1:3] == [b"2", b"28"]]
    after = lines.index(eve[-1]) + 1
    lines[after:after] = [b",".join([*line.split(b",")[:2], b"29", *line.split(b",")[3:]]) for line in eve]
    head = b"HOLIDAYS/DAYLIGHT SAVINGS,"
    target.write_bytes(b"".join(lines).replace(head + b"No", head + b"Yes"))
    return target


def publish_as(
    success: bool,
    directory: Path,
    target: Path,
    exclude: tuple[str, ...] | list[str] = (),
    sidecars: bool | None = None,
) -> RunResult:
    """Publish a directory whose files `publish` would not take for those of a run that ended so."""
    publication = Publication(FsspecFileSystem.from_url(target), None, exclude, False, False, sidecars)
    return publication.send(directory, RunRecord(success=success, exit_code=None, runtime_seconds=None))
