"""Runs whose database has no tabular reports, or that have no database: what is missing says why, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from idfkit import IDFDocument
from idfkit.simulation import EnergyPlusConfig, SimulationResult, simulate
from small_office import one_zone
from support.models import METER, TEMPERATURE, Ran, Twins, period, silent

import idfkit_fs
from idfkit_fs import RunResult, Study, open_result, publish
from idfkit_fs.errors import NotReportedError

SIMPLE = "no tabular reports in its database: give Output:SQLite the option SimpleAndTabular"
NO_REPORT = "no tabular reports: add Output:Table:SummaryReports to the model"
NO_DATABASE = "no SQLite output: the model needs Output:SQLite with the option SimpleAndTabular"
Simulated = Callable[[str], SimulationResult]


def without_summary_reports() -> IDFDocument:
    model = silent()
    model.removeidfobjects(list(model["Output:Table:SummaryReports"]))
    return model


def switched_off() -> IDFDocument:
    """idfkit adds Output:SQLite where there is none, and EnergyPlus writes none all the same."""
    model = period(one_zone(), (1, 1), (1, 1))
    model.removeidfobjects(list(model["Output:SQLite"]))
    model.add("OutputControl:Files", output_sqlite="No")
    return model


def of_default_option() -> IDFDocument:
    """Without Output:SQLite in the model."""
    model = period(one_zone(), (1, 1), (1, 1))
    model.removeidfobjects(list(model["Output:SQLite"]))
    return model


@pytest.fixture(scope="module")
def simulated(epw: Path, quick_energyplus: EnergyPlusConfig, tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    done: dict[str, SimulationResult] = {}

    def run(name: str) -> SimulationResult:
        if name not in done:
            directory = tmp_path_factory.mktemp(name) / "run"
            done[name] = simulate(globals()[name](), epw, output_dir=directory, energyplus=quick_energyplus)
            assert done[name].success
        return done[name]

    return run


def test_the_option_simple(twins: Twins) -> None:
    for result in twins("series_alone"):
        assert result.success and len(result.timeseries(TEMPERATURE)) == 24
        for names in ((), ("*",), ("AnnualBuildingUtilityPerformanceSummary", "End Uses")):
            with pytest.raises(NotReportedError, match=SIMPLE):
                result.tabular(*names)


def test_no_report_was_asked_for(simulated: Simulated, tmp_path: Path) -> None:
    run = simulated("without_summary_reports")
    for result in (
        publish(run, tmp_path / "sidecars", exclude=["*.sql"]),
        publish(run, tmp_path / "database", sidecars=False),
    ):
        with pytest.raises(NotReportedError, match=NO_REPORT):
            result.tabular()


def test_energyplus_wrote_no_database(simulated: Simulated, tmp_path: Path) -> None:
    run = simulated("switched_off")
    assert run.sql_path is None
    published = publish(run, tmp_path / "run")
    assert published.success and published.sql is None
    for result in (published, open_result(Path(run.run_dir), require_record=False)):
        for read in (result.timeseries, result.tabular, lambda result=result: result.timeseries(METER)):
            with pytest.raises(
                NotReportedError, match=f"{NO_DATABASE}.*OutputControl:Files must not switch SQLite off"
            ):
                read()


def test_the_patterns_are_named_only_where_there_were_some(ran: Ran, simulated: Simulated, tmp_path: Path) -> None:
    left_out = publish(ran("tables_alone"), tmp_path / "left-out", exclude=["*.sql", "*.parquet"])
    with pytest.raises(NotReportedError, match="; or include and exclude kept it and its sidecars out"):
        left_out.tabular()
    plain = open_result(Path(simulated("switched_off").run_dir), require_record=False)
    with pytest.raises(NotReportedError) as told:
        plain.tabular()
    assert "exclude" not in str(told.value)


def test_idfkit_asks_for_tables_where_a_model_has_no_sqlite(simulated: Simulated, tmp_path: Path) -> None:
    result: RunResult = publish(simulated("of_default_option"), tmp_path / "run")
    assert len(result.tabular()) and len(result.timeseries(TEMPERATURE))


def test_series_of_a_database_without_any(twins: Twins) -> None:
    for result in twins("tables_alone"):
        with pytest.raises(NotReportedError, match="no output variable or meter"):
            result.timeseries(TEMPERATURE)


def test_a_study_names_the_reasons(epw: Path, tmp_path: Path) -> None:
    """The cases are successes all the same."""
    simple = period(one_zone(), (1, 1), (1, 1))
    next(iter(simple["Output:SQLite"])).option_type = "Simple"
    study = Study(tmp_path / "study")
    study.add("simple", simple, epw)
    study.add("none", switched_off(), epw)
    study.run()
    assert str(study.status()).startswith("2 cases: 2 ok")
    with pytest.raises(NotReportedError) as told:
        study.tabular()
    assert SIMPLE in str(told.value) and NO_DATABASE in str(told.value)
    with pytest.raises(NotReportedError, match=NO_DATABASE):
        study.timeseries(TEMPERATURE, cases=["none"])
    assert len(study.timeseries(TEMPERATURE, cases=["simple"])) == 24


def test_simulating_to_a_url_says_so_too(epw: Path, eplus: EnergyPlusConfig, tmp_path: Path) -> None:
    result = idfkit_fs.simulate(switched_off(), epw, output_dir=tmp_path / "run", energyplus=eplus)
    assert result.success
    with pytest.raises(NotReportedError, match=NO_DATABASE):
        result.tabular()
