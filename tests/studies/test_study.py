"""A study from its preparation to its summary, on every store, with real EnergyPlus."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from idfkit import write_epjson, write_idf
from idfkit.simulation import SimulationJob
from support.places import Place
from support.proxy import FaultProxy
from support.servers import Store
from support.variants import HEATING, broken, cases, variant
from upath import UPath

from idfkit_fs import Case, FsspecFileSystem, Study, open_result, run_case
from idfkit_fs.errors import (
    CaseExistsError,
    CaseNotFoundError,
    IncompleteRunError,
    LocationError,
    RecordError,
    RunNotFoundError,
    StudyNotFoundError,
)
from idfkit_fs.runs.simulate import LocalRun
from idfkit_fs.studies import study as study_module
from idfkit_fs.studies.listing import Listing, read_listing
from idfkit_fs.studies.stored import read_job


def test_a_study_from_end_to_end_on_every_store(place: Place, epw: Path) -> None:
    study = Study(place.url, storage_options=place.options, metrics={"heating_gj": HEATING})
    study.add_cases([*cases(2, epw), Case("bad", broken(), epw)])
    study.add("same", variant(0.05), epw)
    assert str(study.status()) == "4 cases: 0 ok, 0 failed, 4 pending"

    report = study.run(max_workers=2)

    assert str(report) == "4 cases: 3 simulated, 1 reused; 1 of them failed"
    elsewhere = Study(place.url, storage_options=place.options)
    assert elsewhere.status().states() == {"bad": "failed", "case-00": "ok", "case-01": "ok", "same": "ok"}
    summary = elsewhere.summary()
    assert list(summary.index) == ["bad", "case-00", "case-01", "same"]
    assert (
        summary.loc["case-00", "heating_gj"] == summary.loc["same", "heating_gj"] > summary.loc["case-01", "heating_gj"]
    )
    assert summary["insulation_m"].dropna().to_dict() == {"case-00": 0.05, "case-01": 0.06}
    assert "invalid Construction Name" in summary.loc["bad", "message"]
    result = elsewhere.result("same")
    assert result.sql is not None
    assert result.sql.get_timeseries("Zone Mean Air Temperature", "ROOM").values
    assert str(elsewhere.run()) == "nothing to run"


@pytest.fixture(scope="module")
def finished(moto: Store, epw: Path) -> Study:
    """A study of two cases that are ok, one that failed, and one that is pending."""
    url = f"{moto.url}/{uuid.uuid4().hex}"
    study = Study(url, storage_options=dict(moto.storage_options), metrics={"heating_gj": HEATING})
    study.add_cases([*cases(2, epw), Case("bad", broken(), epw, {"insulation_m": 9.0})])
    study.run()
    study.add("case-02", variant(0.3), epw, parameters={"insulation_m": 0.3, "tags": ["a", "b"], "city": "Chicago"})
    return study


def test_adding_a_case_again_writes_nothing(shaky_place: Place, proxy: FaultProxy, epw: Path) -> None:
    study = Study(shaky_place.url, storage_options=shaky_place.options)
    study.add_cases(cases(3, epw))
    proxy.reset_counters()
    study.add_cases(cases(3, epw))
    assert {line.split()[0] for line in proxy.request_lines} == {"GET"}


def test_models_and_weather_are_stored_once(study: Study, epw: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other.epw"
    shutil.copy(epw, copy)
    study.add_cases(cases(2, epw))
    study.add("again", variant(0.05), copy, annual=True)
    Study(study.url, storage_options=study.fs.storage_options).add("and-again", variant(0.05), copy)
    names = study.fs.glob("_study/inputs", "*")
    assert sorted(Path(name).suffix for name in names) == [".epw", ".idf", ".idf", ".stat"]
    for name in names:
        assert hashlib.sha256(study.fs.read_bytes(name)).hexdigest() == Path(name).stem


def test_a_model_is_the_same_however_it_is_given(study: Study, epw: Path, tmp_path: Path) -> None:
    (tmp_path / "model.idf").write_text(write_idf(variant()))
    (tmp_path / "model.epJSON").write_text(write_epjson(variant()))
    study.fs.write_text("elsewhere/model.idf", write_idf(variant()))
    for suffix in (".epw", ".stat"):
        study.fs.upload(epw.with_suffix(suffix), f"elsewhere/weather{suffix}")
    study.add("document", variant(), epw)
    study.add("idf", tmp_path / "model.idf", str(epw))
    study.add("epjson", str(tmp_path / "model.epJSON"), epw)
    study.add("url", study.fs.url("elsewhere/model.idf"), study.fs.url("elsewhere/weather.epw"))
    assert len({read_job(study.fs, case).key for case in study.cases()}) == 1


def test_jobs_of_idfkit_become_cases(study: Study, epw: Path) -> None:
    study.add_jobs(
        [
            SimulationJob(variant(), epw, label="annual", annual=True, extra_args=("--annual",), timeout=60.0),
            SimulationJob(variant(), None, output_dir="runs/sizing", design_day=True),
        ]
    )
    assert read_job(study.fs, "annual").options == {"annual": True, "extra_args": ["--annual"], "timeout": 60.0}
    assert read_job(study.fs, "sizing").options == {"design_day": True}
    assert read_job(study.fs, "sizing").weather is None
    with pytest.raises(LocationError, match="label"):
        study.add_jobs([SimulationJob(variant(), epw)])


def test_another_case_under_a_used_name_is_refused_and_replaced_when_asked(study: Study, epw: Path) -> None:
    study.add("case", variant(0.1), epw)
    for other in (
        Case("case", variant(0.2), epw),
        Case("case", variant(0.1), epw, {"x": 1}),
        Case("case", variant(0.1), epw, options={"annual": True}),
        Case("case", variant(0.1), epw, exclude=["*.eso"]),
    ):
        with pytest.raises(CaseExistsError, match="another case 'case'; pass overwrite=True"):
            study.add_cases([other])
    with pytest.raises(CaseExistsError):
        Study(study.url, storage_options=study.fs.storage_options).add_cases(
            [Case("new", variant(0.1)), Case("new", variant(0.2))]
        )
    study.add("case", variant(0.2), epw, overwrite=True)
    assert read_job(study.fs, "case").model.name != read_job(study.fs, "new").model.name


def test_a_wrong_case_among_many_is_named(study: Study, epw: Path) -> None:
    misspelt: Any = {"anual": True}
    with pytest.raises(TypeError, match="no keyword 'anual'; did you mean 'annual'"):
        study.add_cases([*cases(2, epw), Case("wrong", variant(), epw, options=misspelt)])
    assert "wrong" not in study.cases()


def test_the_summary_says_what_idfkit_reads_in_the_results(finished: Study) -> None:
    summary = finished.summary()
    for case in ("case-00", "case-01"):
        sql, row = finished.result(case).sql, summary.loc[case]
        assert sql is not None
        cell = lambda report, table, name, column: float(  # noqa: E731 - a short word for a long call
            sql.get_tabular_value(report, table, name, column)  # noqa: B023 - called in this round
        )
        annual = "AnnualBuildingUtilityPerformanceSummary"
        assert row["floor_area_m2"] == cell(annual, "Building Area", "Total Building Area", "Area")
        assert row["site_energy_kwh"] == pytest.approx(
            cell(annual, "Site and Source Energy", "Total Site Energy", "Total Energy") / 0.0036
        )
        assert row["source_energy_kwh"] == pytest.approx(
            cell(annual, "Site and Source Energy", "Total Source Energy", "Total Energy") / 0.0036
        )
        assert row["hours_simulated"] == 48 and math.isnan(row["eui_kwh_m2"])
        assert row["message"] == "eui_kwh_m2 is missing: 48 hours were simulated, and not a year of 8760 or 8784"
        assert row["heating_gj"] == cell(*HEATING)
        assert row["heating_district_heating_water_kwh"] == pytest.approx(cell(*HEATING) / 0.0036)
        assert row["peak_district_heating_water_w"] == cell(
            "DemandEndUseComponentsSummary", "End Uses", "Total End Uses", "District Heating Water"
        )
        unmet = "Comfort and Setpoint Not Met Summary"
        assert row["unmet_heating_hours"] == cell(
            annual, unmet, "Time Setpoint Not Met During Occupied Heating", "Facility"
        )
        uses = [name for name in summary if name.endswith("_kwh") and not name.startswith(("site", "source"))]
        assert row[uses].sum() == pytest.approx(row["site_energy_kwh"], rel=1e-3)
        record = finished.result(case).record
        assert record is not None
        assert row["runtime_seconds"] == record.runtime_seconds > 0


def test_the_summary_has_a_row_for_every_case(finished: Study) -> None:
    summary = finished.summary()
    assert dict(summary["state"]) == {"bad": "failed", "case-00": "ok", "case-01": "ok", "case-02": "pending"}
    assert dict(summary["insulation_m"]) == {"bad": 9.0, "case-00": 0.05, "case-01": 0.06, "case-02": 0.3}
    assert summary.loc["case-02", "tags"] == ["a", "b"]
    assert summary.loc["bad", "severe_errors"] == 1
    assert summary.loc["bad", "message"].startswith(
        "GetSurfaceData: Errors discovered, program terminates. First severe"
    )
    assert summary.loc[["bad", "case-02"], "eui_kwh_m2"].isna().all()
    assert summary.loc[["case-00", "case-01"], "message"].str.startswith("eui_kwh_m2 is missing: 48 hours").all()
    assert list(summary.columns)[:4] == ["state", "insulation_m", "tags", "city"]


def test_a_summary_is_in_our_units_whatever_the_tables_are_in(study: Study, epw: Path) -> None:
    for units in ("None", "JtoKWH", "InchPound"):
        model = variant()
        style = next(iter(model["OutputControl:Table:Style"]), None) or model.add(
            "OutputControl:Table:Style", column_separator="HTML"
        )
        style.unit_conversion = units
        sqlite = next(iter(model["Output:SQLite"]), None) or model.add("Output:SQLite", option_type="SimpleAndTabular")
        sqlite.unit_conversion_for_tabular_data = "UseOutputControlTableStyle"
        study.add(units, model, epw)
    study.run()
    summary = study.summary()
    for column in (
        "floor_area_m2",
        "site_energy_kwh",
        "heating_district_heating_water_kwh",
        "peak_electricity_w",
    ):
        assert summary[column].notna().all(), column
        assert summary[column].tolist() == pytest.approx([summary.loc["None", column]] * 3, rel=0.02), column


def test_metrics_of_one_case_stand_beside_those_of_the_study(study: Study, epw: Path) -> None:
    version = ("InputVerificationandResultsSummary", "General", "Program Version and Build", "Value")
    study.add("plain", variant(), epw)
    study.add("more", variant(), epw, metrics=[version, ("NoSuchReport", "a", "b", "c")])
    Study(study.url, storage_options=study.fs.storage_options, metrics={"heating": HEATING}).add("last", variant(), epw)
    study.run()
    summary = study.summary()
    assert summary["heating"].notna().all()
    assert summary.loc["more", "General, Program Version and Build, Value"].startswith("EnergyPlus, Version 25")
    assert summary["General, Program Version and Build, Value"].notna().sum() == 1


def test_results_open_side_by_side(finished: Study) -> None:
    results = finished.results()
    assert {case: result.success for case, result in results.items()} == {
        "bad": False,
        "case-00": True,
        "case-01": True,
    }
    assert "invalid Construction Name" in results["bad"].errors.severe[0].message


def test_a_case_that_is_not_there_is_told_from_one_that_is_missing(finished: Study) -> None:
    with pytest.raises(CaseNotFoundError, match="no case 'case-2'; did you mean 'case-02'"):
        finished.result("case-2")
    with pytest.raises(RunNotFoundError, match="'case-02' has no run yet"):
        finished.result("case-02")
    with pytest.raises(CaseNotFoundError, match="case-7"):
        finished.run(["case-00", "case-7"])


def test_a_url_without_a_study_is_told(s3_place: Place) -> None:
    study = Study(s3_place.url, storage_options=s3_place.options)
    for look in (study.status, study.cases, study.summary, study.run, study.results):
        with pytest.raises(StudyNotFoundError, match="There is no study here"):
            look()
    with pytest.raises(StudyNotFoundError):
        run_case(s3_place.url, "case", s3_place.options)


def test_downloaded_cases_open_as_runs(finished: Study, tmp_path: Path) -> None:
    directories = finished.download(["case-00", "bad"], tmp_path / "runs", include=["*.sql", "*.err"])
    assert directories == [tmp_path / "runs" / "case-00", tmp_path / "runs" / "bad"]
    assert sorted(path.name for path in directories[0].iterdir()) == [
        "eplus.err",
        "eplus.sql",
        "eplusSqlite.err",
        "run.json",
    ]
    local = open_result(directories[0])
    assert local.sql is not None
    assert local.sql_path is not None
    assert finished.fs.read_bytes("case-00/eplus.sql") == Path(local.sql_path).read_bytes()


def test_a_study_shows_itself_and_no_secret(finished: Study, s3_place: Place) -> None:
    secret = finished.fs.storage_options["secret"]
    html = finished._repr_html_()
    assert "<th>failed</th><td>1</td><td>bad</td>" in html
    assert secret not in html + repr(finished) + str(finished.status())
    nowhere = Study(f"{s3_place.url}/<b>", storage_options=s3_place.options)
    assert "There is no study here" in nowhere._repr_html_()
    assert "<b>'" not in nowhere._repr_html_()


def test_a_study_pickles(finished: Study) -> None:
    copy = pickle.loads(pickle.dumps(finished))
    assert copy.status() == finished.status()
    assert copy._metrics == finished._metrics


def test_odd_names_are_cases_too(study: Study, epw: Path) -> None:
    names = ["a b #1 [x] 100% é", "x.0123456789abcdef.json", "50+50 & more", "=1+1"]
    study.add_cases(Case(name, variant(), epw) for name in names)
    assert study.cases() == sorted(names)
    study.run()
    assert sorted(study.status().ok) == sorted(names)
    assert study.result(names[0]).success
    study.remove(names[0])
    assert sorted(study.cases()) == sorted(names[1:])
    assert sorted(study.status().ok) == sorted(names[1:])


def test_flags_and_chosen_files_reach_the_run(study: Study, epw: Path) -> None:
    study.add("case", variant(), epw, output_prefix="office", include=["*.sql", "*.err"], exclude=["officeSqlite.err"])
    study.run()
    record = study.result("case").record
    assert record is not None
    assert [file.name for file in record.files] == ["office.err", "office.sql"]
    assert record.flags == {"output_prefix": "office"}
    assert study.summary().loc["case", "site_energy_kwh"] > 0


def test_bars_show_how_far_it_is(study: Study, epw: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    study.add_cases(cases(2, epw), progress=True)
    study.run(progress=True)
    study.summary(progress=True)
    study.results(progress=True)
    study.download(study.cases(), tmp_path, progress=True)
    study.remove(study.cases(), progress=True)
    bars = capsys.readouterr().err
    for word in ("Adding to", "Running", "Collecting", "Opening", "Downloading", "Removing from"):
        assert f"{word} {study.url.rpartition('/')[2]}: 100 %" in bars


def test_a_name_alone_is_one_name(finished: Study, tmp_path: Path) -> None:
    assert list(finished.results("case-00")) == ["case-00"]
    assert str(finished.run("case-00")) == "1 case: 1 done before"
    assert finished.download("case-00", tmp_path, include=["*.end"]) == [tmp_path / "case-00"]
    with pytest.raises(CaseNotFoundError):
        finished.remove("case")


def test_wrong_ways_to_run_are_told(finished: Study) -> None:
    with pytest.raises(ValueError, match="not 'ok'"):
        finished.run(states=("ok",))
    with pytest.raises(ValueError, match="at least 1, not 0"):
        finished.run(max_workers=0)
    assert str(finished.run([], states="failed")) == "nothing to run"


def test_what_could_not_be_added_is_no_case(study: Study, epw: Path) -> None:
    study.add("case", variant(), epw)
    job = study.fs.read_bytes("_study/jobs/case.json")
    for name in ("_study", "_study-x", ".hidden", "nul"):
        study.fs.write_bytes(f"_study/jobs/{name}.json", job)
    assert study.cases() == ["case"]
    with pytest.raises(CaseNotFoundError):
        study.remove("_study")
    assert "case" in study.cases()


def test_a_study_is_given_as_upath_too(study: Study, epw: Path) -> None:
    place = UPath(study.url, **study.fs.storage_options)
    Study(place).add("case", variant(), epw)
    Study(place).run()
    assert Study(place).result("case").success
    assert pickle.loads(pickle.dumps(Study(place))).cases() == study.cases() == ["case"]


def test_a_study_behind_simplecache(study: Study, epw: Path) -> None:
    cached = Study(f"simplecache::{study.url}", storage_options={"s3": study.fs.storage_options})
    cached.add_cases(cases(2, epw))
    cached.run()
    assert cached.summary()["site_energy_kwh"].notna().all()
    assert study.status() == cached.status()
    study.add("case-00", variant(0.3), epw, overwrite=True)
    study.run()
    assert cached.summary().loc["case-00", "site_energy_kwh"] == study.summary().loc["case-00", "site_energy_kwh"]


def test_nothing_stays_of_a_case_that_is_removed_while_it_runs(
    study: Study, epw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.add_cases(cases(2, epw))

    def then_a_worker_runs_it(fs: FsspecFileSystem) -> Listing:
        listing = read_listing(fs)
        run_case(study.url, "case-00", study.fs.storage_options)
        return listing

    with monkeypatch.context() as patch:
        patch.setattr(study_module, "read_listing", then_a_worker_runs_it)
        study.remove("case-00")
    assert study.cases() == ["case-01"]
    assert [path for path in study.fs.glob("", "**") if "case-00" in path] == []
    study.add_cases(cases(2, epw))
    assert study.status().pending == ("case-00", "case-01")


def test_a_worker_clears_up_after_a_case_that_is_gone(study: Study, epw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study.add("case", variant(), epw)
    publish = LocalRun.publish

    def then_it_is_removed(self: LocalRun, *args: Any) -> Any:
        published = publish(self, *args)
        study.fs.remove("_study/jobs/case.json")
        return published

    monkeypatch.setattr(LocalRun, "publish", then_it_is_removed)
    with pytest.raises(CaseExistsError, match="replaced or removed while it ran"):
        run_case(study.url, "case", study.fs.storage_options)
    assert {path.split("/")[1] for path in study.fs.glob("", "**")} == {"study.json", "inputs"}


def test_an_outcome_in_a_wrong_place_is_damaged_and_the_others_show(study: Study, epw: Path) -> None:
    study.add_cases(cases(3, epw))
    study.run()
    first, second, third = study.fs.glob("_study/ok", "*")
    study.fs.copy(second, first)
    study.fs.write_text(third, "[" * 200_000)
    assert dict(study.summary()["state"]) == {"case-00": "damaged", "case-01": "ok", "case-02": "damaged"}
    assert "another case, 'case-01'" in study.summary().loc["case-00", "message"]


@pytest.mark.parametrize("prefix", ["../x", "/tmp/x", "a\\b", ".x"])
def test_no_job_writes_outside_its_directory(study: Study, epw: Path, prefix: str) -> None:
    with pytest.raises(ValueError, match="cannot begin a file name"):
        study.add("case", variant(), epw, output_prefix=prefix)
    study.add("case", variant(), epw, output_prefix="good")
    job = study.fs.read_text("_study/jobs/case.json")
    study.fs.write_text("_study/jobs/case.json", job.replace('"good"', json.dumps(prefix)))
    with pytest.raises(RecordError, match="cannot begin a file name"):
        run_case(study.url, "case", study.fs.storage_options)


def test_an_executor_that_is_shut_down_is_told(study: Study, epw: Path) -> None:
    study.add("case", variant(), epw)
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(IncompleteRunError, match="after shutdown"):
        study.run(executor=executor)


def test_a_study_whose_bucket_was_emptied_begins_anew(study: Study, epw: Path) -> None:
    for _ in range(2):
        study.add("case", variant(), epw)
        study.run()
        assert study.status().ok == ("case",)
        for path in study.fs.glob("", "**"):
            study.fs.remove(path)


def test_wrong_things_to_add_and_download_are_told(finished: Study) -> None:
    with pytest.raises(TypeError, match="takes Case objects, not dict"):
        finished.add_cases([{"name": "x"}])  # type: ignore[list-item]  # that is the point
    with pytest.raises(ValueError, match="column 'wwr' already"):
        finished.add("x", variant(), parameters={"wwr": 1}, metrics={"wwr": HEATING})
    with pytest.raises(LocationError, match="local directory"):
        finished.download("case-00", "s3://bucket/results")
