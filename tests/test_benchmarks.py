"""The benchmarks import, and readers accept the studies that they fabricate: else a change of a format goes unseen."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from support.variants import variant

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
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


def test_figures_are_read_by_their_kind(load: Any) -> None:
    figures = load("compare").figures
    assert figures("0.426 s, best 0.357, 1,024 req., 7.5 kB = 5.5 round trips x 30 ms + 261 ms") == {
        "s": 0.426,
        "best": 0.357,
        "requests": 1024,
        "MB": 0.0075,
    }
    assert figures("22 LIST + 1 GET, 0.74 s CPU, 90 MB, 1.7 s") == {"requests": 23, "s CPU": 0.74, "MB": 90, "s": 1.7}
    assert figures("12") == {"": 12}
    assert figures("250 ms") == {"s": 0.25}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("1.0 s, best 0.9, 24 req.", "1.5 s, best 1.4, 24 req.", "SLOWER"),
        ("1.0 s, best 0.9, 24 req.", "1.5 s, best 0.9, 48 req.", "MORE requests"),
        ("1.0 s, best 0.9, 24 req.", "1.2 s, best 1.1, 25 req.", ""),
        ("1.0 s, best 0.9", "0.1 s, best 0.1", ""),
        ("0.5 s CPU, 100 MB, 2.0 s", "0.7 s CPU, 200 MB, 2.0 s", "SLOWER, MORE MB"),
        ("12", "20", "SLOWER"),
        ("no requests, 1.0 s CPU", "2 GET, 1.0 s CPU", "MORE requests"),
    ],
)
def test_what_became_worse_is_said(load: Any, old: str, new: str, said: str) -> None:
    assert load("compare").verdict(old, new) == said


def test_the_runner_compares_with_an_earlier_file(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "bench_tiny.py").write_text(
        "import os\n"
        "from rows import Row\n"
        "def measure():\n"
        "    rows = [Row('a thing: its peer', os.environ['TINY'], '9.0 s', '')]\n"
        "    return rows + [Row('a new thing', '1.0 s', '', '')] * (os.environ['TINY'] == '2.0 s')\n",
        encoding="utf-8",
    )
    run = load("run")
    monkeypatch.setattr(run, "NAMES", ("tiny",))
    for took, arguments in (("1.0 s", ["--json", "old.json"]), ("2.0 s", ["--against", "old.json"])):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("TINY", took)
        monkeypatch.setattr("sys.argv", ["run.py", *arguments])
        run.main()
    compared = capsys.readouterr().out.partition("worse\n")[2].splitlines()
    assert [re.split(r" {2,}", line) for line in compared] == [
        ["a thing: its peer", "1.0 s", "2.0 s", "2.00", "SLOWER"],
        ["a new thing", "not measured", "1.0 s"],
    ]


def test_plots_have_the_rows_with_two_figures(load: Any, tmp_path: Path) -> None:
    row = load("rows").Row
    rows = [
        row("read a thing, cold: a peer", "0.1 s, best 0.1, 2 req.", "12.0 s", ""),
        row("without a peer", "0.1 s, best 0.1", "", ""),
    ]
    plots = load("plots")
    assert [plots.of_row(each, "s") for each in rows] == [
        (["read a thing, cold"], ["beside a peer"], (0.1, 12.0)),
        None,
    ]
    plots.draw(rows, "s", tmp_path / "one.svg")
    assert (tmp_path / "one.svg").read_text(encoding="utf-8").count("<!-- read a thing, cold -->") == 1


@pytest.mark.parametrize("path", sorted((BENCHMARKS / "results").glob("*.json")), ids=lambda path: path.stem)
def test_results_that_are_kept_have_a_plot(load: Any, path: Path) -> None:
    plots, page = load("plots"), (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert path.stem in load("run").NAMES
    assert any(plots.of_row(row, plots.SHOWN.get(path.stem, "s")) for row in load("compare").read(path))
    image = f"images/performance-{path.stem}.svg"
    assert image in page and (ROOT / "docs" / image).is_file()
