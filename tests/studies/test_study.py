"""A study from its preparation to its summary, on every store, with real EnergyPlus."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs.conftest import Place
from studies.variants import HEATING, broken, cases, variant

from idfkit_fs import Case, Study


def test_a_study_from_end_to_end_on_every_store(place: Place, epw: Path) -> None:
    study = Study(place.url, storage_options=place.options, metrics={"heating_gj": HEATING})
    study.add_cases([*cases(2, epw), Case("bad", broken(), epw)])
    study.add("same", variant(0.05), epw)
    assert str(study.status()) == "4 cases: 0 ok, 0 failed, 4 missing"

    report = study.run(max_workers=2)

    assert str(report) == "4 cases: 3 simulated, 1 reused; 1 failed in EnergyPlus"
    elsewhere = Study(place.url, storage_options=place.options)
    assert elsewhere.status().states() == {"bad": "failed", "case-00": "ok", "case-01": "ok", "same": "ok"}
    summary = elsewhere.summary()
    assert list(summary.index) == ["bad", "case-00", "case-01", "same"]
    assert (
        summary.loc["case-00", "heating_gj"] == summary.loc["same", "heating_gj"] > summary.loc["case-01", "heating_gj"]
    )
    assert summary["insulation_m"].dropna().to_dict() == {"case-00": 0.05, "case-01": 0.060000000000000005}
    assert "invalid Construction Name" in summary.loc["bad", "message"]
    result = elsewhere.result("same")
    assert result.sql is not None
    assert result.sql.get_timeseries("Zone Mean Air Temperature", "ROOM").values
    assert str(elsewhere.run()) == "nothing to run"
