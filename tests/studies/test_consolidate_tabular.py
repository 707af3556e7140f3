"""All cells of all cases, sorted: the same cells as in each run, in few requests."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.fabricated import add, cells_of, end
from support.ledger import Ledger
from support.places import Place
from support.proxy import FaultProxy

from idfkit_fs import FsspecFileSystem, RunResult, Study
from idfkit_fs.errors import NotReportedError
from idfkit_fs.studies import consolidated_cells as module
from idfkit_fs.studies.layout import CONSOLIDATED, CONSOLIDATED_CELLS, job_path, parse_parts, part_path
from idfkit_fs.studies.packed import read_packed

NAMES = [
    ("Annual", "End Uses", "Heating", "Electricity"),
    ("ann*", "*", "*", "natural gas"),
    ("Zones", "*", "*", "*"),
    ("*", "*", "North", "*"),
    ("*", "*", "*", "*"),
]


def fabricated(place: Place | str, count: int = 6) -> Study:
    """A study of ok cases with cells, one that failed and one that is pending; the cases have different zones."""
    url, options = (place, {}) if isinstance(place, str) else (place.url, place.options)
    study = Study(url, storage_options=options)
    study.add_cases([])
    for number in range(count):
        zones = ("Core", "North") if number % 2 else ("Core", f"Zone {number}")
        end(study, add(study, f"case-{number}"), cells=cells_of(number, zones))
    end(study, add(study, "wrong"), "failed", cells=cells_of(0))
    add(study, "waiting")
    return study


def tabular(study: Study, *names: str, **options: Any) -> tuple[pd.DataFrame, dict[str, str]]:
    with pytest.warns(UserWarning, match="have no data"):
        frame = study.tabular(*names, **options)
    return frame, frame.attrs["without_data"]


def without(study: Study, *names: str) -> pd.DataFrame:
    """What the runs themselves say."""
    data = study.fs.fetch(CONSOLIDATED_CELLS)
    study.fs.remove_if_exists([CONSOLIDATED_CELLS])
    frame, _ = tabular(study, *names)
    study.fs.write_bytes(CONSOLIDATED_CELLS, data)
    return frame


def assert_same(study: Study, *names: str) -> None:
    found, expected = tabular(study, *names)[0], without(study, *names)
    found.attrs.clear()
    expected.attrs.clear()
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("rows", [2**18, 5], ids=["one part", "many parts"])
def test_the_cells_are_those_of_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str], rows: int
) -> None:
    monkeypatch.setattr(module, "_ROWS_OF_PART", rows)
    monkeypatch.setattr(module, "_CASES_AT_ONCE", 4)
    study = fabricated(str(tmp_path), 9)
    assert study.consolidate(tabular=True) == 11
    parts = parse_parts(study.fs.list_sizes(CONSOLIDATED))
    assert (len(parts) == 1) == (rows > 5)
    for names in NAMES:
        opened.clear()
        tabular(study, *names)
        assert opened == [] or len(parts) > 18
        assert_same(study, *names)


def test_on_each_store(place: Place, opened: list[str]) -> None:
    study = fabricated(place, 3)
    study.consolidate(tabular=True)
    opened.clear()
    tabular(study, *NAMES[0])
    assert opened == []
    assert_same(study, *NAMES[0])
    end(study, add(study, "case-1", changed=True), cells=cells_of(7), run="second")
    study.consolidate(tabular=True)
    assert len(parse_parts(study.fs.list_sizes(CONSOLIDATED))) == 1  # the old one is gone


def test_requests(shaky_place: Place, proxy: FaultProxy) -> None:
    study = fabricated(shaky_place, 30)
    study.consolidate(tabular=True)
    proxy.reset_counters()
    frame, _ = tabular(study, *NAMES[0])
    assert len(frame) == 30
    kinds = Counter("LIST" if "list-type" in line else line.split()[0] for line in proxy.request_lines)
    assert kinds == {"LIST": 3, "GET": 3}  # study.json, the index, and one part


def test_only_cases_that_have_changed_are_opened(tmp_path: Path, opened: list[str]) -> None:
    study = fabricated(str(tmp_path))
    study.consolidate(tabular=True)
    (old,) = study.fs.glob("_study/ok", "case-1.*")
    study.fs.remove_if_exists([old])
    end(study, add(study, "case-1"), cells=cells_of(100), run="second")
    study.fs.remove_if_exists([job_path("case-2"), *study.fs.glob("_study/ok", "case-2.*")])
    end(study, add(study, "new"), cells=cells_of(200))
    opened.clear()
    frame, reasons = tabular(study, *NAMES[0])
    assert sorted(opened) == ["case-1", "new"]
    assert frame["number"].to_dict() == {"case-0": 0, "case-1": 100, "case-3": 3, "case-4": 4, "case-5": 5, "new": 200}
    assert {*reasons} == {"waiting", "wrong"}
    assert_same(study, *NAMES[0])


def test_cells_that_some_or_all_cases_lack(tmp_path: Path, opened: list[str]) -> None:
    study = fabricated(str(tmp_path))
    study.consolidate(tabular=True)
    opened.clear()
    frame, reasons = tabular(study, "Zones", "Summary", "Zone 2", "Area")
    assert list(frame.index) == ["case-2"]
    assert "no cell of the names 'Zones'" in reasons["case-0"]
    with pytest.raises(NotReportedError, match="There is no row 'Heatin'; the nearest is 'Heating'"):
        study.tabular("Annual", "End Uses", "Heatin")
    assert opened == []


def test_a_case_without_cells_keeps_its_own_reason(tmp_path: Path) -> None:
    study = fabricated(str(tmp_path), 2)
    end(study, add(study, "bare"), cells=[])
    study.consolidate(tabular=True)
    _, reasons = tabular(study, *NAMES[0])
    assert "no tabular reports" in reasons["bare"]


def test_few_of_many_cases_are_read_from_their_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    monkeypatch.setattr(module, "_ROWS_OF_PART", 1)
    study = fabricated(str(tmp_path))
    study.consolidate(tabular=True)
    opened.clear()
    study.tabular(cases=["case-3"])
    assert opened == ["case-3"]


def _cut(study: Study, part: str) -> None:
    study.fs.write_bytes(part_path(part), study.fs.fetch(part_path(part))[:-1])


def _remove(study: Study, part: str) -> None:
    study.fs.remove_if_exists([part_path(part)])


def _no_index(study: Study, _part: str) -> None:
    study.fs.write_bytes(CONSOLIDATED_CELLS, b"PAR1")


@pytest.mark.parametrize("damage", [_cut, _remove, _no_index])
def test_what_is_damaged_is_ignored_and_made_anew(
    tmp_path: Path, opened: list[str], damage: Callable[[Study, str], None]
) -> None:
    study = fabricated(str(tmp_path))
    study.consolidate(tabular=True)
    expected, _ = tabular(study, *NAMES[0])
    (part,) = parse_parts(study.fs.list_sizes(CONSOLIDATED))
    damage(study, part)
    opened.clear()
    found, _ = tabular(study, *NAMES[0])
    assert len(opened) == 6
    pd.testing.assert_frame_equal(found, expected)
    assert [each.case for each in study.verify(deep=True).findings if "consolidated" in each.problem + each.case]
    study.verify(deep=True, repair=True)
    assert not [each for each in study.verify(deep=True).findings if "consolidated" in each.case]
    study.consolidate(tabular=True)
    opened.clear()
    tabular(study, *NAMES[0])
    assert opened == []


def test_one_that_is_killed_leaves_what_verify_removes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = fabricated(str(tmp_path))
    study.consolidate(tabular=True)
    expected = study.fs.fetch(CONSOLIDATED_CELLS)
    end(study, add(study, "new"), cells=cells_of(200))
    with monkeypatch.context() as patch:
        patch.setattr(FsspecFileSystem, "swap", lambda *_args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            study.consolidate(tabular=True)
    assert study.fs.fetch(CONSOLIDATED_CELLS) == expected
    assert tabular(study, *NAMES[0])[0].loc["new", "number"] == 200
    assert len(parse_parts(study.fs.list_sizes(CONSOLIDATED))) == 2
    (finding,) = [each for each in study.verify(repair=True).findings if "consolidated" in each.problem]
    assert finding.problem == "consolidated cells that are not used: 1 parts"
    assert len(parse_parts(study.fs.list_sizes(CONSOLIDATED))) == 1
    assert_same(study, *NAMES[0])


def test_of_two_at_once_one_stays(study: Study, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    study.add_cases([])
    for number in range(4):
        end(study, add(study, f"case-{number}"), cells=cells_of(number))
    barrier = threading.Barrier(2)
    swap = FsspecFileSystem.swap

    def together(fs: FsspecFileSystem, *args: Any) -> str | None:
        barrier.wait(600)
        return swap(fs, *args)

    monkeypatch.setattr(FsspecFileSystem, "swap", together)
    threads = [
        threading.Thread(
            target=Study(study.url, storage_options=study.fs.storage_options).consolidate, kwargs={"tabular": True}
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parts = read_packed(study.fs, CONSOLIDATED_CELLS, module._Index).parts
    assert {f"_study/consolidated/{part}.parquet" for part in parts} == {
        name for name in ledger.names(CONSOLIDATED) if "-" in name
    }
    assert study.tabular(*NAMES[0])["number"].to_list() == [0, 1, 2, 3]


def test_a_run_that_is_replaced_meanwhile_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = fabricated(str(tmp_path))
    result = Study.result

    def replaced(of: Study, case: str) -> RunResult:
        if case == "case-1":
            end(of, add(of, case), cells=cells_of(100), run="second")
        return result(of, case)

    with monkeypatch.context() as patch:
        patch.setattr(Study, "result", replaced)
        study.consolidate(tabular=True)
    assert len(read_packed(study.fs, CONSOLIDATED_CELLS, module._Index).versions) == 5


def test_nothing_is_written_where_nothing_has_changed(tmp_path: Path) -> None:
    study = fabricated(str(tmp_path))
    study.consolidate(tabular=True)
    before = {name: study.fs.fetch(f"{CONSOLIDATED}/{name}") for name in study.fs.list_sizes(CONSOLIDATED)}
    study.consolidate(tabular=True)
    assert {name: study.fs.fetch(f"{CONSOLIDATED}/{name}") for name in study.fs.list_sizes(CONSOLIDATED)} == before


def test_a_part_is_sorted_and_any_reader_reads_it(tmp_path: Path) -> None:
    study = fabricated(str(tmp_path))
    study.consolidate(tabular=True)
    (part,) = parse_parts(study.fs.list_sizes(CONSOLIDATED))
    table = pq.read_table(tmp_path / part_path(part)).to_pandas()
    ordered = table.sort_values(
        ["report", "table", "row", "column", "report_for", "case", "position"], ignore_index=True
    )
    pd.testing.assert_frame_equal(table, ordered)


@pytest.mark.parametrize("count", [0, 1])
def test_a_study_of_none_and_of_one(tmp_path: Path, count: int) -> None:
    study = Study(str(tmp_path))
    study.add_cases([])
    for number in range(count):
        end(study, add(study, f"case-{number}"), cells=cells_of(number))
    assert study.consolidate(tabular=True) == count
    if count:
        assert list(study.tabular(*NAMES[0])["number"]) == [0]
    else:
        with pytest.raises(NotReportedError, match="The study has no cases"):
            study.tabular()
