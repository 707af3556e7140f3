"""The benchmarks import, and readers accept the studies that they fabricate: else a change of a format goes unseen."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from support.variants import variant

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MODULES = sorted(path.stem for path in BENCHMARKS.glob("bench_*.py"))
CASES = range(100)
PENDING = 5  # one in 20


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the benchmarks, as their runner does."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.mark.parametrize("name", MODULES)
def test_each_benchmark_imports(load: Any, name: str) -> None:
    assert callable(load(name).measure)


def test_the_runner_knows_each_benchmark(load: Any) -> None:
    assert sorted(f"bench_{name}" for name in load("run").NAMES) == MODULES


@pytest.mark.filterwarnings("ignore:5 of 100 cases have no data")
@pytest.mark.filterwarnings("error:Reading the whole database:UserWarning")
def test_readers_accept_a_fabricated_study(load: Any, tmp_path: Path) -> None:
    made = load("fabricated")
    template = made.Template.of(variant(), tmp_path, annual=False)

    study = made.to_disk(
        tmp_path / "many", template.jobs(CASES), template.outcomes(CASES), template.runs(CASES, files=None)
    )

    assert str(study.status()) == "100 cases: 95 ok, 0 failed, 5 pending"
    summary = study.summary()
    assert summary["number"].tolist() == [*CASES]
    assert summary["site_energy_kwh"].nunique() == len(CASES) - PENDING
    assert not (summary["state"] == "damaged").any()
    assert len(study.tabular(*made.CELL)) == len(CASES) - PENDING
    series = study.timeseries("DistrictHeatingWater:Facility", cases=[made.name_of(1), made.name_of(2)])
    assert len(series) == 2 * 48
    # Sizes and hashes in the records, and the names that tie job, outcome and run together.
    assert study.verify([made.name_of(1)], deep=True).findings == ()
    assert study.verify().findings == ()


def test_requests_count_by_their_kind(load: Any) -> None:
    kind = load("wire").kind
    assert [kind(f"{line} HTTP/1.1") for line in (
        "GET /bucket?list-type=2&prefix=a%2F",
        "GET /bucket/study/_study/jobs/case.json",
        "HEAD /bucket/study/run.json",
        "POST /bucket?delete",
        "POST /bucket/large?uploads",
        "DELETE /bucket/a",
    )] == ["LIST", "GET", "HEAD", "DELETE", "POST", "DELETE"]  # fmt: skip
