"""What a summary says, against an independent reading of the HTML tables of real runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from idfkit import IDFDocument
from idfkit.simulation import EnergyPlusConfig, simulate
from small_office import one_zone
from support.models import Ran, period
from support.summaries import STYLES, Html, metered, short, styled, with_pv

from idfkit_fs._outputs.database import Database
from idfkit_fs._outputs.ending import Ending, read_local_ending
from idfkit_fs.studies.columns import Columns, Row
from idfkit_fs.studies.job import Summary
from idfkit_fs.studies.rows import as_table
from idfkit_fs.studies.summary import summarise

ANNUAL = "Annual Building Utility Performance Summary"
DEMAND = "Demand End Use Components Summary"
INPUTS = "Input Verification and Results Summary"
Runs = Callable[[str], Path]


def only_annual(model: IDFDocument) -> IDFDocument:
    """Have it request one report alone, which does not say how many hours were simulated."""
    model.removeidfobjects(list(model["Output:Table:SummaryReports"]))
    model.add("Output:Table:SummaryReports", reports=[{"report_name": "AnnualBuildingUtilityPerformanceSummary"}])
    return model


def in_style(style: str) -> IDFDocument:
    """A short run with photovoltaics, whose tables have the units of a style."""
    return styled(with_pv(short()), style)


MODELS: dict[str, Callable[[], IDFDocument]] = {
    **{style: partial(in_style, style) for style in STYLES},
    "year": lambda: metered(
        with_pv(one_zone()),
        "Electricity:Facility",
        "DistrictCooling:Facility",
        "DistrictHeatingWater:Facility",
        "InteriorLights:Electricity",
        "ElectricityProduced:Facility",
    ),
    "halves": lambda: metered(two_halves(), "Electricity:Facility", "InteriorLights:Electricity", frequency="Hourly"),
    "annual alone": lambda: only_annual(short()),
}


def two_halves() -> IDFDocument:
    """The same half of a year twice: as many hours as a year."""
    model = period(one_zone(), (1, 1), (6, 29))
    model.add(
        "RunPeriod",
        "Again",
        begin_month=1,
        begin_day_of_month=1,
        end_month=7,
        end_day_of_month=4,
        day_of_week_for_start_day="Monday",
    )
    return model


@pytest.fixture(scope="module")
def runs(epw: Path, quick_energyplus: EnergyPlusConfig, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The directory of a model's run, which is made when the first test asks for it."""
    done: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in done:
            directory = tmp_path_factory.mktemp("run")
            result = simulate(MODELS[name](), epw, output_dir=directory, energyplus=quick_energyplus)
            assert result.success, result.errors.summary()
            done[name] = directory
        return done[name]

    return run


ENDING = Ending(True, False, None, None, None)


def summary_of(directory: Path) -> Summary:
    return summarise(directory / "eplus.sql", read_local_ending(directory, "eplus"))


def assert_as_in_html(summary: Summary, html: Html) -> None:
    """Each figure is within half of the last digit of what the HTML file says."""

    def agrees(figure: float | None, *place: str) -> None:
        value, half = html.step(*place)
        assert figure == pytest.approx(value, abs=half, rel=1e-6), place

    energy, loads = "Site and Source Energy", "Electric Loads Satisfied"
    assert summary.hours_simulated == float(html.text(INPUTS, "General", "Hours Simulated [hrs]", "Value")[0])
    agrees(summary.floor_area_m2, ANNUAL, "Building Area", "Total Building Area", "Area")
    agrees(summary.site_energy_kwh, ANNUAL, energy, "Total Site Energy", "Total Energy")
    agrees(summary.source_energy_kwh, ANNUAL, energy, "Total Source Energy", "Total Energy")
    agrees(summary.on_site_electricity_kwh, ANNUAL, loads, "Total On-Site Electric Sources", "Electricity")
    agrees(summary.surplus_electricity_kwh, ANNUAL, loads, "Surplus Electricity Going To Utility", "Electricity")
    unmet = "Comfort and Setpoint Not Met Summary"
    agrees(summary.unmet_heating_hours, ANNUAL, unmet, "Time Setpoint Not Met During Occupied Heating", "Facility")
    agrees(summary.unmet_cooling_hours, ANNUAL, unmet, "Time Setpoint Not Met During Occupied Cooling", "Facility")
    fuels = [fuel for fuel in html.columns(ANNUAL, "End Uses") if fuel != "Water"]
    for use in html.rows(ANNUAL, "End Uses"):
        if use not in ("", "Total End Uses"):
            for fuel in fuels:
                agrees(summary.end_uses_kwh.get(use, {}).get(fuel, 0.0), ANNUAL, "End Uses", use, fuel)
    for fuel in fuels:
        agrees(summary.peak_demand_w.get(fuel, 0.0), DEMAND, "End Uses", "Total End Uses", fuel)


@pytest.mark.parametrize("style", STYLES)
def test_each_figure_is_that_of_the_html_whatever_its_units(runs: Runs, style: str) -> None:
    summary, html = summary_of(runs(style)), Html(runs(style))
    assert_as_in_html(summary, html)
    net, half = html.step(ANNUAL, "Site and Source Energy", "Net Site Energy", "Total Energy")
    assert summary.site_energy_kwh is not None and summary.on_site_electricity_kwh is not None
    if style == "InchPoundExceptElectricity":
        # EnergyPlus subtracts kWh from kBtu in this cell.
        assert summary.net_site_energy_kwh != pytest.approx(net, rel=0.01)
        net, half = Html(runs("None")).step(ANNUAL, "Site and Source Energy", "Net Site Energy", "Total Energy")
        half *= 2.5
    assert summary.net_site_energy_kwh == pytest.approx(net, abs=half, rel=1e-6)
    assert summary.on_site_electricity_kwh > 0 and summary.surplus_electricity_kwh


def test_all_units_give_the_same_summary(runs: Runs) -> None:
    exact = summary_of(runs("JtoKWH")).model_dump()
    for style in STYLES:
        summary = summary_of(runs(style)).model_dump()
        for name in ("site_energy_kwh", "source_energy_kwh", "net_site_energy_kwh"):
            assert summary[name] == pytest.approx(exact[name], abs=0.0051 / 0.0036), (style, name)
        for name in ("on_site_electricity_kwh", "surplus_electricity_kwh"):
            assert summary[name] == pytest.approx(exact[name], abs=0.00051 / 0.0036), (style, name)
        assert summary["floor_area_m2"] == pytest.approx(80, abs=0.005)
        for fuel, demand in exact["peak_demand_w"].items():
            assert summary["peak_demand_w"][fuel] == pytest.approx(demand, abs=5.1), (style, fuel)


def test_meters_make_energies_finer_than_the_tables(runs: Runs) -> None:
    """Two decimals of GJ are steps of 2.78 kWh. What the model reports anyway is exact."""
    directory = runs("year")
    summary = summary_of(directory)
    assert_as_in_html(summary, Html(directory))
    database = Database(directory / "eplus.sql")
    kwh = {
        series.variable: sum(values.sum() for _, _, values in database.values([series])) / 3.6e6
        for series in database.series
        if series.is_meter and series.frequency == "runperiod"
    }
    used = ("Electricity:Facility", "DistrictCooling:Facility", "DistrictHeatingWater:Facility")
    assert summary.site_energy_kwh == pytest.approx(sum(kwh[name] for name in used), rel=1e-12)
    assert summary.end_uses_kwh["Interior Lighting"]["Electricity"] == pytest.approx(
        kwh["InteriorLights:Electricity"], rel=1e-12
    )
    assert summary.on_site_electricity_kwh == pytest.approx(kwh["ElectricityProduced:Facility"], rel=1e-12)
    assert summary.net_site_energy_kwh == pytest.approx(
        summary.site_energy_kwh - kwh["ElectricityProduced:Facility"], rel=1e-12
    )
    # The other end uses have no meter of their own.
    assert summary.end_uses_kwh["Cooling"]["District Cooling"] * 0.36 == pytest.approx(
        round(summary.end_uses_kwh["Cooling"]["District Cooling"] * 0.36), abs=1e-9
    )


def test_a_year_has_an_eui(runs: Runs) -> None:
    summary = summary_of(runs("year"))
    value, _ = Html(runs("year")).step(ANNUAL, "Site and Source Energy", "Total Site Energy", "Total Energy")
    assert summary.hours_simulated == 8760 and summary.notes == ()
    assert summary.eui_kwh_m2 == pytest.approx(value / 80, abs=0.0051 / 0.0036 / 80)


def test_a_part_of_a_year_has_none_and_says_why(runs: Runs) -> None:
    summary = summary_of(runs("None"))
    assert (summary.hours_simulated, summary.eui_kwh_m2) == (48, None)
    assert summary.notes == ("eui_kwh_m2 is missing: 48 hours were simulated, and not a year of 8760 or 8784",)


def test_several_run_periods_are_added_up_and_are_no_year(runs: Runs) -> None:
    """EnergyPlus's tables add up all run periods; these two have the 8760 hours of a year."""
    summary = summary_of(runs("halves"))
    assert_as_in_html(summary, Html(runs("halves")))
    assert (summary.hours_simulated, summary.eui_kwh_m2) == (8760, None)
    assert summary.notes == ("eui_kwh_m2 is missing: 2 run periods of 8760 hours were simulated, and not one year",)
    database = Database(runs("halves") / "eplus.sql")
    assert summary.end_uses_kwh["Interior Lighting"]["Electricity"] == pytest.approx(
        database.totals({"interiorlights:electricity"})["interiorlights:electricity"] / 3.6e6, rel=1e-12
    )
    assert database.hours_of_run_periods() == 8760


def test_sizing_periods_beside_run_periods_do_not_count(ran: Ran) -> None:
    directory = Path(ran("several_periods").run_dir)
    summary = summary_of(directory)
    assert_as_in_html(summary, Html(directory))
    assert summary.hours_simulated == Database(directory / "eplus.sql").hours_of_run_periods() == 120


def test_design_days_alone_have_no_results(eplus: EnergyPlusConfig, tmp_path: Path) -> None:
    result = simulate(short(), None, design_day=True, output_dir=tmp_path, energyplus=eplus)
    assert result.success
    summary = summary_of(tmp_path)
    assert summary.hours_simulated == 0 and summary.floor_area_m2 == 80
    assert summary.site_energy_kwh is summary.eui_kwh_m2 is summary.unmet_heating_hours is None
    assert summary.end_uses_kwh == summary.peak_demand_w == {}
    assert summary.notes == ("The results are missing: only sizing periods were simulated, and no run period",)


def test_hours_are_those_of_the_times_where_no_table_has_them(runs: Runs, ran: Ran) -> None:
    summary = summary_of(runs("annual alone"))
    assert summary.hours_simulated == 48 and summary.site_energy_kwh
    for name, hours in (("leap_year", 96), ("warm_start", 48), ("only_run_period", 96), ("tables_alone", None)):
        assert Database(Path(ran(name).run_dir) / "eplus.sql").hours_of_run_periods() == hours, name


def test_what_the_model_must_request_is_named(ran: Ran, runs: Runs, tmp_path: Path) -> None:
    simple = summary_of(Path(ran("series_alone").run_dir))
    assert simple.site_energy_kwh is None and simple.hours_simulated == 24
    assert "SimpleAndTabular" in simple.notes[0] and "SimpleAndTabular" in summarise(None, ENDING).notes[0]
    cut = tmp_path / "eplus.sql"
    cut.write_bytes((runs("None") / "eplus.sql").read_bytes()[:100_000])
    assert "truncated" in summarise(cut, ENDING).notes[0]


@pytest.mark.parametrize(
    ("hours", "periods", "area", "why"),
    [
        (8760.0, 1, 100.0, None),
        (8784.0, 1, 100.0, None),
        (17520.0, 1, 100.0, "17520 hours were simulated"),
        (8759.0, 1, 100.0, "8759 hours were simulated"),
        (8760.0, 2, 100.0, "2 run periods of 8760 hours"),
        (None, 1, 100.0, "InputVerificationandResultsSummary"),
        (8760.0, 1, 0.0, "the floor area is 0 m2"),  # such as a plant without zones
        (8760.0, 1, None, "the floor area is unknown"),
    ],
)
def test_when_there_is_an_eui(hours: float | None, periods: int, area: float | None, why: str | None) -> None:
    from idfkit_fs.studies.summary import no_eui

    told = no_eui(hours, periods, area)
    assert told is why is None or (told and why and why in told)


def test_columns_of_on_site_electricity_are_there_where_there_is_any(runs: Runs) -> None:
    with_it, without = summary_of(runs("None")), summary_of(runs("halves"))
    on_site = {"net_site_energy_kwh", "on_site_electricity_kwh", "surplus_electricity_kwh"}
    assert not on_site & {*as_table(["a"], ["ok"], Columns.of([Row(summary=without)])).columns}
    both = as_table(["a", "b"], ["ok", "ok"], Columns.of([Row(summary=without), Row(summary=with_it)]))
    columns, table = both.columns, both.rows()
    assert on_site <= {*columns}
    assert table[0]["on_site_electricity_kwh"] == 0 and table[0]["net_site_energy_kwh"] == table[0]["site_energy_kwh"]
    assert table[1]["net_site_energy_kwh"] < table[1]["site_energy_kwh"]
    assert not math.isnan(table[1]["surplus_electricity_kwh"])
