"""The example models, run by the real EnergyPlus."""

from __future__ import annotations

from pathlib import Path

import pytest
from idfkit import IDFDocument
from idfkit.simulation import ErrorReport, SimulationResult, simulate
from small_office import WEATHER_FILES, failing_model, one_zone, small_office, weather

from idfkit_fs import find_energyplus

REPORT = "AnnualBuildingUtilityPerformanceSummary"
KWH_PER_MJ = 1 / 3.6


def run(model: IDFDocument, directory: Path) -> SimulationResult:
    return simulate(model, weather(), output_dir=directory, energyplus=find_energyplus())


def errors(result: SimulationResult) -> ErrorReport:
    """Read the error file by its name: `result.errors` may read `eplusSqlite.err` instead (idfkit 1.1.1)."""
    return ErrorReport.from_file(result.run_dir / "eplus.err")


def site_energy(result: SimulationResult) -> float:
    """Site energy use intensity (kWh/m2)."""
    assert result.sql is not None
    row, column = "Total Site Energy", "Energy Per Total Building Area"
    return float(result.sql.get_tabular_value(REPORT, "Site and Source Energy", row, column)) * KWH_PER_MJ


def heating(result: SimulationResult) -> float:
    """Heating energy of the year (GJ)."""
    assert result.sql is not None
    return float(result.sql.get_tabular_value(REPORT, "End Uses", "Heating", "District Heating Water"))


def cooling(result: SimulationResult) -> float:
    """Cooling energy of the year (GJ)."""
    assert result.sql is not None
    return float(result.sql.get_tabular_value(REPORT, "End Uses", "Cooling", "District Cooling"))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> SimulationResult:
    return run(small_office(), tmp_path_factory.mktemp("office"))


def assert_clean(result: SimulationResult) -> None:
    report = errors(result)
    assert result.success, report.raw_text
    assert result.exit_code == 0
    assert report.simulation_complete
    assert not report.severe
    assert not report.warnings


def test_small_office_completes(office: SimulationResult) -> None:
    assert_clean(office)
    assert 80 < site_energy(office) < 250
    assert heating(office) > 0
    assert cooling(office) > 0


def test_small_office_has_five_zones_of_504_m2(office: SimulationResult) -> None:
    assert office.sql is not None
    area = office.sql.get_tabular_value(REPORT, "Building Area", "Total Building Area", "Area")
    assert float(area) == pytest.approx(504.0, abs=0.1)
    assert len(small_office()["Zone"]) == 5
    assert len(small_office(storeys=2)["Zone"]) == 10


def test_small_office_keeps_its_setpoints_in_office_hours(office: SimulationResult) -> None:
    assert office.sql is not None
    zones = [zone.name for zone in small_office()["Zone"]]
    for zone in zones:
        series = office.sql.get_timeseries("Zone Mean Air Temperature", zone)
        assert len(series.values) == 8760
        # The first of January is a Monday; the hours that end at 09:00 to 18:00.
        working = [value for hour, value in enumerate(series.values) if hour // 24 % 7 < 5 and 8 <= hour % 24 < 18]
        assert min(working) > 20.5
        assert max(working) < 24.5


def test_parameters_change_the_energy_use_the_right_way(office: SimulationResult, tmp_path: Path) -> None:
    insulated = run(small_office(insulation_thickness=0.3), tmp_path / "insulated")
    glazed = run(small_office(window_to_wall_ratio=0.6), tmp_path / "glazed")
    assert heating(insulated) < heating(office)
    assert cooling(glazed) > cooling(office)
    assert site_energy(insulated) < site_energy(office) < site_energy(glazed)


def test_two_storeys_complete(tmp_path: Path) -> None:
    assert_clean(run(small_office(storeys=2, timestep=4, frequency="Monthly"), tmp_path))


def test_one_zone_completes(tmp_path: Path) -> None:
    result = run(one_zone(), tmp_path)
    assert_clean(result)
    assert 80 < site_energy(result) < 250


def test_failing_model_leaves_an_err_file_that_names_the_cause(tmp_path: Path) -> None:
    result = run(failing_model(), tmp_path)
    assert not result.success
    assert result.exit_code not in (0, None)
    report = errors(result)
    assert report.has_fatal
    assert "NO SUCH CONSTRUCTION" in report.severe[0].message.upper()


@pytest.mark.parametrize("name", WEATHER_FILES)
def test_weather_files_exist(name: str) -> None:
    assert weather(name).suffix == ".epw"


def test_unknown_weather_lists_the_choices() -> None:
    with pytest.raises(ValueError, match="chicago, golden, san-francisco, sterling, tampa"):
        weather("atlantis")
