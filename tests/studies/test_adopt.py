"""Cases that are made of runs that exist already, and runs that a study did not make."""

from __future__ import annotations

import shutil
from pathlib import Path

import idfkit.simulation
import pandas as pd
import pytest
from idfkit.simulation import EnergyPlusConfig, SimulationResult
from support.fixtures_existing import Left
from support.places import Place
from support.proxy import FaultProxy
from support.variants import HEATING, variant

from idfkit_fs import Adoption, Case, Study, open_result, publish, run_case, simulate
from idfkit_fs.errors import (
    CaseExistsError,
    ExistsError,
    IncompleteRunError,
    LocationError,
    ModelError,
    RunExistsError,
    RunNotFoundError,
    StudyNotFoundError,
    UnfinishedRunError,
)
from idfkit_fs.runs.publish import Publication
from idfkit_fs.studies.stored import read_job


@pytest.fixture
def runs(left: Left) -> dict[str, Path]:
    """Two runs that EnergyPlus completed, in different styles, and one that it ended with an error."""
    return {"bad": left(fails=True, into="bad"), "c": left("office", "C", into="c"), "l": left(into="l")}


def unfinished(directory: Path) -> Path:
    (directory / "eplusout.end").unlink()
    (directory / "eplusout.err").write_text("Program Version,EnergyPlus, Version 25.2.0-x, YMD=2026.11.28 08:54\n")
    return directory


# From directories, URLs and results.


def test_runs_become_cases_on_every_store(place: Place, runs: dict[str, Path]) -> None:
    study = Study(place.url, storage_options=place.options, metrics={"heating_gj": HEATING})
    adoptions = [Adoption(name, run, {"number": number}) for number, (name, run) in enumerate(runs.items())]
    report = study.adopt_many(adoptions)
    assert str(report) == "3 cases: 3 adopted; 1 of them failed"
    assert report.adopted == ("bad", "c", "l") and report.failed == ("bad",)

    elsewhere = Study(place.url, storage_options=place.options)
    assert elsewhere.status().states() == {"bad": "failed", "c": "ok", "l": "ok"}
    summary = elsewhere.summary()
    assert summary["number"].to_dict() == {"bad": 0, "c": 1, "l": 2}
    assert summary.loc["c", "heating_gj"] == summary.loc["l", "heating_gj"] > 0
    assert summary.loc["c", "site_energy_kwh"] == summary.loc["l", "site_energy_kwh"] > 0
    assert "Construction" in summary.loc["bad", "message"]
    assert summary.loc["l", "runtime_seconds"] > 0
    frame = elsewhere.timeseries("Zone Mean Air Temperature", cases=["c", "l"])
    assert frame.loc["c"].equals(frame.loc["l"]) and len(frame) == 96
    assert str(elsewhere.run()) == "nothing to run"
    assert str(elsewhere.run(["c", "l"])) == "2 cases: 2 done before"


def test_parameters_are_those_of_a_case(study: Study, left: Left) -> None:
    run, table = left(), pd.DataFrame({"wwr": [0.4], "glazing": [float("nan")]}, index=["a"])
    study.adopt("a", run, parameters=table.loc["a"])
    assert read_job(study.fs, "a").parameters == {"wwr": 0.4, "glazing": None}
    assert Adoption("b", run, table.loc["a"]).parameters == {"wwr": 0.4, "glazing": None}
    with pytest.raises(ValueError, match="parameter 'x' of case 'b'.*complex"):
        Adoption("b", run, {"x": 1j})


def test_a_parameter_with_the_name_of_a_metric_is_refused_before_anything_is_written(place: Place, left: Left) -> None:
    study = Study(place.url, storage_options=place.options, metrics={"heating_gj": HEATING})
    adoptions = [Adoption("a", left()), Adoption("b", left(), {"heating_gj": 1})]
    with pytest.raises(ValueError, match="Case 'b'.*'heating_gj' already, a metric"):
        study.adopt_many(adoptions)
    assert not study.fs.exists("")


def test_every_kind_of_source(study: Study, left: Left, local_run: SimulationResult, s3_place: Place) -> None:
    run = left()
    elsewhere = s3_place.joinpath("elsewhere")
    result = publish(run, elsewhere.url, storage_options=elsewhere.options)
    study.adopt("directory", run)
    study.adopt("url", elsewhere.url)
    study.adopt("result", result)
    study.adopt("of-idfkit", local_run)
    assert study.status().ok == ("directory", "of-idfkit", "result", "url")
    assert {read_job(study.fs, case).key for case in ("directory", "url", "result")} == {study.result("url").record.job}
    ids = {study.result(case).record.id for case in study.cases()}
    assert len(ids) == 4 and result.record.id not in ids
    of_idfkit = study.result("of-idfkit").record
    assert (of_idfkit.exit_code, of_idfkit.runtime_seconds) == (0, local_run.runtime_seconds)
    assert of_idfkit.file("model.idf") is None and of_idfkit.file("eplus.sql") is not None


def test_a_run_that_plain_idfkit_wrote_into_the_study_is_adopted_in_place(
    study: Study, epw: Path, eplus: EnergyPlusConfig, no_leftovers: Path
) -> None:
    idfkit.simulation.simulate(variant(), epw, output_dir="case-1", fs=study.fs, energyplus=eplus)
    for directory in no_leftovers.glob("idfkit_sim_*"):
        shutil.rmtree(directory)
    before = set(study.fs.glob("case-1", "**"))
    study.adopt("case-1", study.fs.url("case-1"), parameters={"wwr": 0.4})
    assert study.status().ok == ("case-1",)
    assert before < {*study.fs.glob("case-1", "**")}
    assert study.summary().loc["case-1", "wwr"] == 0.4
    study.adopt("case-1", study.fs.url("case-1"), parameters={"wwr": 0.4})
    assert not study.tabular("AnnualBuilding*", "End Uses").empty


def test_a_published_run_at_the_cases_url_is_adopted_in_place(study: Study, left: Left) -> None:
    run = publish(left(), study.fs.url("case-1"), storage_options=study.fs.storage_options)
    study.adopt("case-1", run)
    record = study.result("case-1").record
    assert record.id == run.record.id and record.files == run.record.files
    assert str(study.run(["case-1"])) == "1 case: 1 done before"


# Again, and over what exists.


def test_adopting_the_same_again_changes_nothing(shaky_place: Place, proxy: FaultProxy, runs: dict[str, Path]) -> None:
    study = Study(shaky_place.url, storage_options=shaky_place.options)
    study.adopt_many(runs)
    proxy.reset_counters()
    assert str(study.adopt_many(runs)) == "3 cases: 3 done before; 1 of them failed"
    study.adopt("l", runs["l"])
    assert {line.split()[0] for line in proxy.request_lines} <= {"GET", "HEAD"}


def test_a_case_that_exists_is_replaced_only_when_asked(study: Study, left: Left, epw: Path) -> None:
    study.add("case", variant(), epw)
    with pytest.raises(CaseExistsError, match="overwrite=True"):
        study.adopt("case", left())
    study.run()
    with pytest.raises(CaseExistsError, match="overwrite=True"):
        study.adopt("case", left())
    assert study.result("case").output_prefix == "eplus" and study.result("case").exit_code == 0
    study.adopt("case", left("office", "C", into="office"), overwrite=True)
    assert study.result("case").output_prefix == "office" and study.status().ok == ("case",)
    assert {name.partition("/")[2][:6] for name in study.fs.glob("case", "*.e*")} == {"office"}
    with pytest.raises(CaseExistsError, match="overwrite=True"):
        study.adopt("case", left("office", "C", into="office"), parameters={"new": 1})
    study.add("case", variant(), epw, overwrite=True)
    assert study.status().pending == ("case",)
    assert str(study.run()) == "1 case: 1 simulated"


def test_new_parameters_need_no_new_upload(shaky_place: Place, proxy: FaultProxy, left: Left) -> None:
    study = Study(shaky_place.url, storage_options=shaky_place.options)
    study.adopt("case", left())
    proxy.reset_counters()
    study.adopt("case", left(), parameters={"wwr": 0.4}, overwrite=True)
    assert study.summary().loc["case", "wwr"] == 0.4
    assert not [line for line in proxy.request_lines if line.startswith("PUT") and ".sql" in line]


def test_an_adoption_that_broke_off_is_finished(study: Study, left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Publication, "take_in", dies)
        with pytest.raises(KeyboardInterrupt):
            study.adopt("case", left())
    assert study.status().pending == ("case",)
    with pytest.raises(IncompleteRunError, match="its model is unknown; adopt a run again"):
        study.run()
    study.adopt("case", left())
    assert study.status().ok == ("case",)


# What cannot be adopted.


@pytest.mark.parametrize("kind", ["unfinished", "empty", "missing", "file", "two", "url"])
def test_what_is_no_run_leaves_no_trace(study: Study, left: Left, tmp_path: Path, kind: str) -> None:
    (tmp_path / "empty").mkdir()
    source: Path | str = {
        "unfinished": lambda: unfinished(left()),
        "empty": lambda: tmp_path / "empty",
        "missing": lambda: tmp_path / "missing",
        "file": lambda: left() / "eplusout.sql",
        "two": lambda: (left(), left("office", "C"))[0],
        "url": lambda: study.fs.url("nothing-here"),
    }[kind]()
    with pytest.raises(UnfinishedRunError if kind == "unfinished" else RunNotFoundError):
        study.adopt("case", source)
    with pytest.raises(StudyNotFoundError):
        study.status()
    if kind == "two":
        study.adopt("case", source, output_prefix="office")
        assert study.result("case").output_prefix == "office"


def test_what_cannot_be_adopted_does_not_keep_the_others_out(study: Study, runs: dict[str, Path], left: Left) -> None:
    given = {**runs, "cut": unfinished(left(into="cut")), "none": runs["c"].parent / "none"}
    with pytest.raises(
        IncompleteRunError, match=r"'cut' and 1 more could not be adopted: .*the other 3 were"
    ) as caught:
        study.adopt_many(given)
    assert {name: type(exc) for name, exc in caught.value.errors.items()} == {
        "cut": UnfinishedRunError,
        "none": RunNotFoundError,
    }
    assert study.cases() == ["bad", "c", "l"] == [run.case for run in caught.value.report.runs]


def test_wrong_arguments_are_refused_before_anything_is_written(study: Study, left: Left) -> None:
    run = left()
    with pytest.raises(ValueError, match="Two runs have the name 'a'"):
        study.adopt_many([Adoption("a", run), Adoption("a", run)])
    with pytest.raises(TypeError, match="Adoption objects, not tuple"):
        study.adopt_many([("a", run)])  # type: ignore[list-item]  # that is the point
    with pytest.raises(LocationError, match="cannot be the name of a case"):
        study.adopt_many({"a": run, "a/b": run})
    with pytest.raises(ValueError, match="give the parameter another name"):
        study.adopt("a", run, parameters={"state": 1})
    with pytest.raises(StudyNotFoundError):
        study.status()


def test_a_bar_counts_the_cases(study: Study, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    study.adopt_many(runs, progress=True)
    assert "Adopting into" in capsys.readouterr().err


# What an adopted case is not.


def test_a_failed_adopted_case_is_never_run(study: Study, left: Left) -> None:
    study.adopt("bad", left(fails=True))
    before = study.result("bad").record
    assert str(study.run(states=["failed", "pending"])) == "nothing to run"
    with pytest.raises(ModelError, match=r"'bad' failed.*adopted"):
        study.run(["bad"])
    with pytest.raises(ModelError, match=r"'bad' cannot be run: it was adopted"):
        run_case(study.url, "bad", study.fs.storage_options, retry_failed=True)
    assert study.result("bad").record == before and study.status().failed == ("bad",)


def test_an_adopted_run_answers_for_no_other_case(study: Study, epw: Path, s3_place: Place) -> None:
    other = Study(s3_place.joinpath("other").url, storage_options=s3_place.options)
    other.add("case", variant(), epw)
    other.run()
    study.adopt("adopted", other.fs.url("case"))
    study.add("same-model", variant(), epw)
    assert str(study.run()) == "1 case: 1 simulated"


# Runs that the study did not make.


def test_a_case_is_not_added_over_a_run_unasked(study: Study, left: Left, epw: Path) -> None:
    run = publish(left(), study.fs.url("case"), storage_options=study.fs.storage_options)
    for add in (
        lambda: study.add("case", variant(), epw),
        lambda: study.add_cases([Case("free", variant(), epw), Case("case", variant(), epw)]),
        lambda: study.adopt("case", left("office", "C", into="office")),
    ):
        with pytest.raises(CaseExistsError, match=r"this study did not make.*adopt\(\).*overwrite=True"):
            add()
    assert study.run().runs == () or "case" not in study.cases()
    assert open_result(run.url, storage_options=study.fs.storage_options).record == run.record
    study.add("case", variant(), epw, overwrite=True)
    study.run(["case"])
    assert study.result("case").exit_code == 0


def test_outputs_without_a_record_are_not_overwritten_either(study: Study, left: Left, epw: Path) -> None:
    for path in left().iterdir():
        study.fs.write_bytes(f"case/{path.name}", path.read_bytes())
    with pytest.raises(CaseExistsError, match="this study did not make"):
        study.add("case", variant(), epw)
    study.fs.write_text("notes/readme.md", "mine")
    study.add("notes", variant(), epw)
    study.adopt("case", study.fs.url("case"))
    assert study.status().states() == {"case": "ok", "notes": "pending"}


def test_a_run_that_was_published_at_a_cases_url_is_not_replaced(study: Study, left: Left, epw: Path) -> None:
    study.add("case", variant(), epw)
    run = publish(left(), study.fs.url("case"), storage_options=study.fs.storage_options)
    with pytest.raises(IncompleteRunError, match="this study did not make") as caught:
        study.run()
    assert isinstance(caught.value.errors["case"], CaseExistsError)
    assert study.result("case").record == run.record
    study.add("case", variant(), epw, overwrite=True)
    assert str(study.run()) == "1 case: 1 simulated"


def test_a_run_of_another_study_is_not_replaced(study: Study, epw: Path, s3_place: Place) -> None:
    other = Study(s3_place.joinpath("other").url, storage_options=s3_place.options)
    other.add("case", variant(0.2), epw)
    other.run()
    study.add("case", variant(0.1), epw)
    publish(other.result("case"), study.fs.url("case"), storage_options=study.fs.storage_options)
    with pytest.raises(IncompleteRunError, match="this study did not make"):
        study.run()
    study.adopt("case", study.fs.url("case"), overwrite=True)
    assert study.status().ok == ("case",)


def test_a_run_is_not_mixed_with_a_study(study: Study, left: Left, s3_place: Place, epw: Path) -> None:
    run, options = left(), study.fs.storage_options
    study.adopt("case", run)
    with pytest.raises(ExistsError, match="A study exists here"):
        publish(run, study.url, storage_options=options, overwrite=True)
    with pytest.raises(ExistsError, match="A study exists here"):
        simulate(variant(), epw, output_dir=study.url, storage_options=options, overwrite=True)
    other = left(fails=True, into="other")
    with pytest.raises(RunExistsError, match="A study made this run"):
        publish(other, study.fs.url("case"), storage_options=options, overwrite=True)
    assert study.result("case").success and study.status().ok == ("case",)
    copy = publish(study.result("case"), s3_place.joinpath("copies/case").url, storage_options=options)
    assert not publish(other, copy.url, storage_options=options, overwrite=True).success


def test_a_study_is_not_begun_in_a_run(study: Study, left: Left, s3_place: Place, epw: Path) -> None:
    run = left()
    study.adopt("case", run)
    inside = Study(study.fs.url("case"), storage_options=study.fs.storage_options)
    with pytest.raises(RunExistsError, match="A run exists here"):
        inside.adopt("inside", run)
    with pytest.raises(RunExistsError, match="A run exists here"):
        inside.add("inside", variant(), epw)
    for read in (inside.status, inside.summary, inside.run):
        with pytest.raises(StudyNotFoundError, match="This is a run, not a study"):
            read()
    assert not inside.fs.glob("_study", "**")
