"""What a run reports is listed without reading values, and a failed run says first that EnergyPlus failed."""

from __future__ import annotations

import asyncio
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from idfkit import IDFDocument
from idfkit.simulation import EnergyPlusConfig, OutputVariableIndex, SimulationResult, simulate
from support.models import TEMPERATURE, Ran, Twins
from support.places import Place
from support.proxy import FaultProxy

from idfkit_fs import RunResult, open_result, publish
from idfkit_fs.errors import NotReportedError, UnreadableDatabaseError

SEVERE = "NO SUCH CONSTRUCTION"


@pytest.mark.parametrize("name", ["everything", "office", "tables_alone"])
def test_both_lists_are_the_same_from_sidecars_and_from_the_database(twins: Twins, name: str) -> None:
    with_sidecars, without = twins(name)
    pd.testing.assert_frame_equal(with_sidecars.variables(), without.variables())
    pd.testing.assert_frame_equal(with_sidecars.reports(), without.reports())


def test_each_series_that_is_listed_is_read_by_what_the_list_says(twins: Twins) -> None:
    result = twins("office")[0]
    listed = result.variables()
    assert [*listed.columns] == ["variable", "frequency", "units", "key"] and len(listed) > 5
    for row in listed.itertuples():
        frame = result.timeseries(row.variable, keys=row.key, frequency=row.frequency)
        assert [*frame.attrs["units"].values()] == [row.units] and [*frame.attrs["keys"].values()] == [row.key]
    assert len(listed) == sum(len(result.timeseries(frequency=each).columns) for each in listed["frequency"].unique())


def test_each_table_that_is_listed_has_so_many_rows_and_columns(twins: Twins) -> None:
    result = twins("office")[0]
    listed, cells = result.reports(), result.tabular()
    assert [*listed.columns] == ["report", "report_for", "rows", "columns", "table"]
    assert [tuple(row) for row in listed[["report", "report_for", "table"]].to_numpy()] == [
        *dict.fromkeys(map(tuple, cells[["report", "report_for", "table"]].to_numpy()))
    ]
    end_uses = listed[listed["table"] == "End Uses"].iloc[0]
    table = result.tabular(end_uses["report"], "End Uses")
    assert (end_uses["rows"], end_uses["columns"]) == (table["row"].nunique(), table["column"].nunique())
    assert end_uses["rows"] > 10 and end_uses["columns"] > 5


@pytest.mark.parametrize("published", [["*.parquet", "*.sql"], ["*.parquet"]])
def test_lists_cost_no_values(
    whole: Callable[[str], Path], shaky_place: Place, proxy: FaultProxy, published: list[str]
) -> None:
    publish(whole("everything"), shaky_place.url, storage_options=shaky_place.options, include=published)
    expected = open_result(whole("everything")).variables()
    proxy.reset_counters()
    result = open_result(shaky_place.url, storage_options=shaky_place.options)
    pd.testing.assert_frame_equal(result.variables(), expected)
    # The record has the short footers of sidecars themselves.
    assert [line.split()[1].rpartition("/")[2] for line in proxy.request_lines] == ["run.json"]
    proxy.reset_counters()
    assert len(result.reports()) > 20
    assert [line.split()[1].rpartition("/")[2] for line in proxy.request_lines] == ["tabular.parquet"]


def test_it_is_idfkits_property_all_the_same(ran: Ran, s3_place: Place) -> None:
    result = publish(ran("office"), s3_place.url, storage_options=s3_place.options)
    plain = ran("office").variables
    assert plain is not None and isinstance(result.variables, OutputVariableIndex)
    assert (result.variables.variables, result.variables.meters) == (plain.variables, plain.meters)
    assert result.variables.search("air temperature") == plain.search("air temperature") != []
    assert asyncio.run(result.async_variables()) == plain
    copy = pickle.loads(pickle.dumps(result.variables))
    assert copy.meters == plain.meters and len(copy()) == len(result.variables()) > 0
    assert "call it" in repr(result.variables)


def test_a_run_without_an_rdd_lists_what_it_reports(local_run: SimulationResult, s3_place: Place) -> None:
    result = publish(local_run, s3_place.url, storage_options=s3_place.options, exclude=["*.rdd"])
    assert len(result.variables()) > 0
    with pytest.raises(NotReportedError, match=r"no \.rdd file.*result\.variables\(\)"):
        result.variables.search("temperature")
    assert asyncio.run(result.async_variables()) is None


def test_what_is_not_reported_says_where_to_look(twins: Twins) -> None:
    for result in twins("office"):
        with pytest.raises(NotReportedError, match=r"the nearest are.*; result\.variables\(\) lists"):
            result.timeseries("Zone Mean Air Temprature")
        with pytest.raises(NotReportedError, match=r"no report 'x'.*; result\.reports\(\) lists"):
            result.tabular("x")


def test_a_cell_has_its_row_column_and_units_in_80_columns(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = twins("office")[0]
    for cells, shown in (
        (result.tabular("Annual*", "End Uses"), {"row", "column", "units", "value"}),
        (result.tabular("Annual*", "End Uses", "Heating", "Electricity"), {"row", "column", "units", "value"}),
        (result.tabular(), {"row", "column", "units", "value"}),
        (result.tabular("Annual*", "Comfort*"), {"row", "value"}),  # a name of 50 characters
    ):
        with pd.option_context("display.max_columns", 0, "display.width", 80):
            heading, *lines = repr(cells).splitlines()
        assert shown <= {*heading.split()}
        assert max(map(len, [heading, *lines])) <= 80
    with pd.option_context("display.max_columns", 0, "display.width", 80):
        assert {"variable", "key"} <= {*repr(result.variables()).splitlines()[0].split()}
        assert {"report", "table"} <= {*repr(result.reports()).splitlines()[0].split()}


# --- failed runs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def failed(
    bad_model: IDFDocument, epw: Path, eplus: EnergyPlusConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    directory = tmp_path_factory.mktemp("failed") / "run"
    assert not simulate(bad_model, epw, output_dir=directory, energyplus=eplus).success
    return directory


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("database", ["there", "missing", "cut"])
def test_a_failed_run_says_that_energyplus_failed(
    failed: Path, s3_place: Place, tmp_path: Path, database: str, recorded: bool
) -> None:
    local = Path(shutil.copytree(failed, tmp_path / "run"))
    if database == "missing":
        (local / "eplus.sql").unlink()
    elif database == "cut":
        (local / "eplus.sql").write_bytes((local / "eplus.sql").read_bytes()[:5000])
    if recorded:
        publish(local, s3_place.url, storage_options=s3_place.options)
        result = open_result(s3_place.url, storage_options=s3_place.options)
        where = s3_place.url
    else:
        result, where = open_result(local, require_record=False), str(local)
    wrong = UnreadableDatabaseError if database == "cut" else NotReportedError
    questions: list[Callable[[RunResult], object]] = [
        lambda run: run.timeseries(TEMPERATURE),
        lambda run: run.tabular("Annual*"),
        lambda run: run.variables(),
        lambda run: run.reports(),
    ]
    if database == "missing":
        questions += [lambda run: run.sql, lambda run: asyncio.run(run.async_sql())]
    for question in questions:
        with pytest.raises(wrong, match=f"^EnergyPlus failed: .*{SEVERE}.*read .*{where}/eplus.err ") as caught:
            question(result)
        assert str(caught.value).count("EnergyPlus failed") == 1
        assert "result.variables()" not in str(caught.value)


def test_a_successful_run_without_a_database_has_none(local_run: SimulationResult, tmp_path: Path) -> None:
    result = publish(local_run, tmp_path / "run", exclude=["*.sql"])
    assert result.sql is None and len(result.variables()) > 0


def test_what_a_failed_run_has_is_read(ran: Ran, tmp_path: Path) -> None:
    """EnergyPlus may fail after it has reported something."""
    local = Path(shutil.copytree(ran("office").run_dir, tmp_path / "run"))
    for name in ("eplus.end", "eplus.err"):
        text = (
            (local / name)
            .read_text()
            .replace("EnergyPlus Completed Successfully", "EnergyPlus Terminated--Fatal Error Detected")
        )
        (local / name).write_text(text)
    result = publish(local, tmp_path / "published")
    assert not result.success and len(result.timeseries(TEMPERATURE)) > 0 and len(result.reports()) > 20
