"""Patterns and filters wherever a study's cases are named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.places import Place
from support.proxy import FaultProxy
from support.variants import broken, variant

from idfkit_fs import Case, Study
from idfkit_fs.errors import CaseNotFoundError, ModelError, PermissionDeniedError, RecordError, RunNotFoundError
from idfkit_fs.studies.layout import job_path

TEMPERATURE = "Zone Mean Air Temperature"


@pytest.fixture(scope="module")
def ran(epw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two cases that are ok, one that failed, and one that is pending; not to be changed."""
    directory = tmp_path_factory.mktemp("ran") / "study"
    study = Study(directory)
    study.add_cases(
        [
            Case("thick", variant(0.2), epw, {"insulation_m": 0.2, "city": "chicago"}),
            Case("thin-1", variant(0.05), epw, {"insulation_m": 0.05, "city": "miami"}),
            Case("thin-bad", broken(), epw, {"insulation_m": 0.01, "city": "chicago"}),
        ]
    )
    study.run()
    study.add("thin-later", variant(0.07), epw, parameters={"insulation_m": 0.07, "city": "chicago"})
    return directory


@pytest.fixture
def study(ran: Path, tmp_path: Path) -> Study:
    return Study(shutil.copytree(ran, tmp_path / "study"))


@pytest.mark.filterwarnings("ignore:. of . cases have no data")
def test_cases_are_read_by_patterns_and_filters(ran: Path, tmp_path: Path) -> None:
    study, filtered = Study(ran), {"insulation_m": [0.05, 0.01]}
    assert study.cases("*i?k") == ["thick"]
    assert study.cases(filtered) == ["thin-1", "thin-bad"]
    assert study.cases(lambda row: row["city"] == "chicago") == ["thick", "thin-bad", "thin-later"]
    assert set(study.results("thin-*")) == {"thin-1", "thin-bad"}
    assert set(study.results({"city": "chicago"})) == {"thick", "thin-bad"}
    assert study.timeseries(TEMPERATURE, cases="thin-*").index.unique("case").tolist() == ["thin-1"]
    assert study.timeseries(TEMPERATURE, cases=filtered).attrs["without_data"].keys() == {"thin-bad"}
    assert study.tabular("Ann*", "End Uses", cases="th*-1").index.unique().tolist() == ["thin-1"]
    assert study.to_xarray(TEMPERATURE, cases={"city": "miami"})["case"].values.tolist() == ["thin-1"]
    study.to_parquet(tmp_path / "series", TEMPERATURE, cases={"city": "chicago"})
    assert pd.read_parquet(tmp_path / "series")["case"].unique().tolist() == ["thick"]
    downloaded = study.download({"city": "chicago"}, tmp_path / "runs", include=["*.err"])
    assert [path.name for path in downloaded] == ["thick", "thin-bad"]
    assert study.verify("thin-*").checked == 3
    assert study.verify({"insulation_m": 0.2}).checked == 1


@pytest.mark.parametrize("cases", ["thin", "thin.*", {"city": "tampa"}])
def test_what_fits_no_case_is_an_error_everywhere(ran: Path, tmp_path: Path, cases: object) -> None:
    study, given = Study(ran), {"cases": cases}
    for call in (
        study.cases,
        study.run,
        study.results,
        study.timeseries,
        study.tabular,
        study.to_xarray,
        lambda cases: study.to_parquet(tmp_path, cases=cases),
        lambda cases: study.download(cases, tmp_path),
        study.verify,
        study.remove,
    ):
        with pytest.raises(CaseNotFoundError):
            call(**given)
    assert [*tmp_path.iterdir()] == [] and len(study.cases()) == 4


def test_a_name_is_a_demand_and_a_pattern_chooses(study: Study) -> None:
    with pytest.raises(RunNotFoundError, match="Case 'thin-later' has no run yet"):
        study.results(["thick", "thin-later"])
    with pytest.raises(RunNotFoundError, match=r"None of the cases .* has a run yet \(thin-later\); run the study"):
        study.results("thin-l*")
    # Of a pattern, what is pending; a case that is named is run although it failed.
    assert study.run("th?ck").runs == ()
    assert study.run({"city": "chicago"}).simulated == ("thin-later",)
    assert study.run("thin-*").runs == ()
    assert study.run("thin-*", states=["failed"]).failed == ("thin-bad",)
    assert study.run(["thin-bad", "th?ck"]).failed == ("thin-bad",)


def test_adopted_cases_that_failed_are_left_alone_unless_they_are_named(
    study: Study,
) -> None:
    study.adopt("thin-adopted", f"{study.url}/thin-bad", parameters={"city": "chicago"})
    assert study.run({"case": "thin-ad*", "city": "chicago"}, states=["failed"]).runs == ()
    with pytest.raises(ModelError, match="'thin-adopted' failed, and cannot be run again"):
        study.run("thin-adopted")


def test_remove_takes_what_fits_and_nothing_else(study: Study) -> None:
    with pytest.raises(ValueError, match="The filter is empty"):
        study.remove({})
    with pytest.raises(CaseNotFoundError, match="No case has a parameter 'cty'; did you mean 'city'"):
        study.remove({"cty": None})
    study.remove({"case": "thin-*", "city": "chicago"})
    assert study.cases() == ["thick", "thin-1"]
    study.remove("*")
    assert study.cases() == []


def test_a_filter_does_not_guess_the_parameters_of_a_damaged_job(study: Study) -> None:
    study.fs.write_bytes(job_path("thick"), b"{")
    with pytest.raises(RecordError, match="thick"):
        study.cases({"city": "chicago"})
    assert study.cases({"case": "thin-*", "city": "chicago"}) == ["thin-bad", "thin-later"]


def test_a_login_that_may_not_list_names_its_cases(shaky_place: Place, proxy: FaultProxy, epw: Path) -> None:
    study = Study(shaky_place.url, storage_options=shaky_place.options)
    study.add("case", variant(0.1), epw)
    proxy.answer_status(403, count=None, on="list-type=2")
    assert study.run("case").simulated == ("case",)
    assert set(study.results({"case": ["case"]})) == {"case"}
    for cases in ("c*", {"insulation_m": 0.1}):
        with pytest.raises(PermissionDeniedError, match="ListBucket"):
            study.results(cases)
