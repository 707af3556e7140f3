"""What all outcomes say in one object: never believed over the listings, and never needed."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from support.fabricated import METRIC, add, end, many
from support.places import Place
from support.proxy import FaultProxy
from support.rights import gate_before
from support.servers import Store

from idfkit_fs import FsspecFileSystem, Study
from idfkit_fs._cli.commands import commands
from idfkit_fs.errors import MissingExtraError
from idfkit_fs.studies import consolidate as module
from idfkit_fs.studies import packed
from idfkit_fs.studies.consolidated import pays
from idfkit_fs.studies.layout import CONSOLIDATED_OUTCOMES as OBJECT
from idfkit_fs.studies.layout import job_path
from idfkit_fs.studies.listing import read_listing
from idfkit_fs.studies.read_parameters import read_parameters


def fabricated(place: Place | str, count: int = 6) -> Study:
    """A study whose cases are ok, failed and pending in turn."""
    url, options = (place, {}) if isinstance(place, str) else (place.url, place.options)
    study = Study(url, storage_options=options, metrics={METRIC.name: METRIC.cell})
    study.add_cases([])
    for number in range(count):
        job = add(study, f"case-{number}", number=number, city="Zürich")
        if number % 3 < 2:
            end(study, job, ("ok", "failed")[number % 3], energy=1000.0 + number / 7)
    return study


def read(study: Study, monkeypatch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, list[str]]:
    """The summary, and the jobs and outcomes that were read for it."""
    fetched: list[str] = []
    fetch = FsspecFileSystem.fetch_start

    def counted(fs: FsspecFileSystem, path: Any, count: int) -> bytes:
        fetched.append(str(path))
        return fetch(fs, path, count)

    with monkeypatch.context() as patch:
        patch.setattr(FsspecFileSystem, "fetch_start", counted)
        frame = study.summary()
    return frame, sorted(path for path in fetched if "/jobs/" in path or "/ok/" in path or "/failed/" in path)


def alone(study: Study) -> pd.DataFrame:
    """The summary without the consolidated object, which is put back."""
    data = study.fs.fetch(OBJECT) if study.fs.exists(OBJECT) else None
    study.fs.remove_if_exists([OBJECT])
    frame = study.summary()
    if data is not None:
        study.fs.write_bytes(OBJECT, data)
    return frame


def test_a_summary_from_one_object_is_the_one_from_all_outcomes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    study = fabricated(place)
    expected = study.summary()
    assert study.consolidate() == 6
    found, fetched = read(study, monkeypatch)
    pd.testing.assert_frame_equal(found, expected)
    assert fetched == []
    assert found.attrs == expected.attrs
    assert list(found["state"]) == ["ok", "failed", "pending"] * 2


def test_requests(shaky_place: Place, proxy: FaultProxy) -> None:
    study = fabricated(shaky_place, 40)
    study.consolidate()
    end(study, add(study, "new"))
    proxy.reset_counters()
    study.summary()
    assert Counter("LIST" if "list-type" in line else line.split()[0] for line in proxy.request_lines) == {
        "LIST": 3,
        "GET": 3,  # study.json, the consolidated object, and the outcome that is new
    }
    proxy.reset_counters()
    study.status()
    assert not any("consolidated" in line for line in proxy.request_lines)


def replaced_job(study: Study) -> list[str]:
    add(study, "case-2", number=99)
    return [job_path("case-2")]


def added(study: Study) -> list[str]:
    return [end(study, add(study, "case-9"), energy=5.0)]


def ran(study: Study) -> list[str]:
    return [end(study, add(study, "case-2", number=2, city="Zürich"), energy=7.0)]


def ran_again(study: Study) -> list[str]:
    (old,) = study.fs.glob("_study/ok", "case-0.*")
    study.fs.remove_if_exists([old])
    return [end(study, add(study, "case-0", number=0), energy=8.0, run="second")]


def written_again(study: Study) -> list[str]:
    """The same name, as after a repair."""
    job = add(study, "case-0", number=7)
    return [end(study, job, energy=9.0)]


def removed(study: Study) -> list[str]:
    study.fs.remove_if_exists([job_path("case-1"), *study.fs.glob("_study/failed", "case-1.*")])
    return []


def voided(study: Study) -> list[str]:
    (path,) = study.fs.glob("_study/ok", "case-0.*")
    study.fs.write_bytes(path, b"")
    return [job_path("case-0")]


def damaged(study: Study) -> list[str]:
    (path,) = study.fs.glob("_study/ok", "case-3.*")
    study.fs.write_bytes(path, study.fs.fetch(path)[:-30])
    return [path]


def newer(study: Study) -> list[str]:
    (path,) = study.fs.glob("_study/ok", "case-3.*")
    study.fs.write_bytes(path, json.dumps({**json.loads(study.fs.fetch(path)), "version": 2}).encode())
    return [path]


@pytest.mark.parametrize(
    "change", [replaced_job, added, ran, ran_again, written_again, removed, voided, damaged, newer]
)
def test_only_what_has_changed_is_read(
    s3_place: Place, monkeypatch: pytest.MonkeyPatch, change: Callable[[Study], list[str]]
) -> None:
    study = fabricated(s3_place)
    study.consolidate()
    before = study.summary()
    changed = change(study)
    found, fetched = read(study, monkeypatch)
    assert fetched == changed
    pd.testing.assert_frame_equal(found, alone(study))
    assert not found.equals(before)
    if change in (damaged, newer):
        assert found.loc["case-3", "state"] == "damaged"
        assert ("newer idfkit-fs" in found.loc["case-3", "message"]) == (change is newer)
        assert study.consolidate() == 5  # never of one that cannot be used
        assert read(study, monkeypatch)[1] == changed
    else:
        study.consolidate()
        assert read(study, monkeypatch)[1] == []


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 3
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _repacked(paths: list[str], versions: list[str], contents: list[str]) -> bytes:
    return packed.pack({"object": paths, "version": versions, "content": contents})


DAMAGES: dict[str, Callable[[bytes, list[list[str]]], bytes]] = {
    "empty": lambda _data, _rows: b"",
    "cut": lambda data, _rows: data[:-20],
    "another": lambda _data, _rows: b"PAR1 is no Parquet PAR1",
    "a bit": lambda data, _rows: _flipped(data),
    "columns": lambda _data, _rows: packed.pack({"object": [], "version": []}),
    "no JSON": lambda _data, rows: _repacked(rows[0], rows[1], ["{" for _ in rows[0]]),
    "other JSON": lambda _data, rows: _repacked(rows[0], rows[1], ['{"summary": 1}' for _ in rows[0]]),
    "several rows in one": lambda _data, rows: _repacked(rows[0], rows[1], ["{},{}" for _ in rows[0]]),
    "deep": lambda _data, rows: _repacked(
        rows[0], rows[1], ['{"parameters":{"a":' + "[" * 3000 + "]" * 3000 + "}}" for _ in rows[0]]
    ),
    "a bomb": lambda _data, rows: _repacked(
        rows[0], rows[1], ['{"parameters":{"a":[' + "[]," * 20_000 + "0]}}" for _ in rows[0]]
    ),
    "not finite": lambda _data, rows: _repacked(rows[0], rows[1], ['{"runtime_seconds":1e999}' for _ in rows[0]]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_object_is_ignored_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    study = fabricated(str(tmp_path))
    expected = study.summary()
    study.consolidate()
    rows = packed.read_packed(study.fs, OBJECT, ("object", "version", "content"))
    study.fs.write_bytes(OBJECT, DAMAGES[damage](study.fs.fetch(OBJECT), rows))
    (finding,) = study.verify().findings[-1:]
    assert finding.case == "_study/consolidated" and "damaged" in finding.problem
    with caplog.at_level(logging.WARNING):
        found, fetched = read(study, monkeypatch)
    pd.testing.assert_frame_equal(found, expected)
    assert len(fetched) == 6
    assert "one by one" in caplog.text
    assert read(study, monkeypatch)[1] == []  # it was written anew


def test_verify_removes_a_damaged_object(tmp_path: Path) -> None:
    study = fabricated(str(tmp_path), 0)
    study.consolidate()
    assert study.verify().ok
    study.fs.write_bytes(OBJECT, b"x")
    assert study.verify(repair=True).ok
    assert not study.fs.exists(OBJECT)


def test_an_object_of_a_newer_release_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    study = fabricated(str(tmp_path), 3)
    expected = study.summary()
    with monkeypatch.context() as patch:
        patch.setattr(packed, "_VERSION", 2)
        patch.setattr("idfkit_fs.studies.consolidated._COLUMNS", ("name", "version", "content"))
        study.consolidate()
    data = study.fs.fetch(OBJECT)
    monkeypatch.setattr("idfkit_fs.studies.consolidated._AT_LEAST", 0)
    with caplog.at_level(logging.WARNING):
        pd.testing.assert_frame_equal(study.summary(), expected)
    assert study.fs.fetch(OBJECT) == data
    assert not caplog.records and study.verify().findings == fabricated(str(tmp_path / "other"), 3).verify().findings


@pytest.mark.parametrize("count", [0, 1])
def test_a_study_of_none_and_of_one(tmp_path: Path, count: int) -> None:
    study = fabricated(str(tmp_path), count)
    expected = study.summary()
    assert study.consolidate() == count
    pd.testing.assert_frame_equal(study.summary(), expected)


def test_a_summary_consolidates_where_it_pays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [pays(100, 50), pays(101, 50), pays(200, 10_000), pays(201, 10_000)] == [False, True, False, True]
    study = fabricated(str(tmp_path), 101)
    _, fetched = read(study, monkeypatch)
    assert len(fetched) == 101
    assert not study.fs.exists(OBJECT)
    end(study, add(study, "another"))
    read(study, monkeypatch)
    assert read(study, monkeypatch)[1] == []


def test_a_login_that_may_not_write_sees_the_same(
    moto: Store, s3_place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("idfkit_fs.studies.consolidated._AT_LEAST", 3)
    expected = fabricated(s3_place).summary()
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    fs.remove_if_exists([OBJECT])
    with gate_before(moto) as gate:
        gate.reset(lambda need: need.right in {"get", "list"})
        reader = Study(s3_place.url, storage_options=dict(gate.store.storage_options))
        with caplog.at_level(logging.INFO):
            pd.testing.assert_frame_equal(reader.summary(), expected)
        assert not caplog.records
        with pytest.raises(PermissionError, match="s3:PutObject"):
            reader.consolidate()
    assert not fs.exists(OBJECT)


def test_a_summary_does_not_fail_when_the_object_cannot_be_written(
    shaky_place: Place, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    study = fabricated(shaky_place)
    expected = study.summary()
    monkeypatch.setattr("idfkit_fs.studies.consolidated._AT_LEAST", 3)
    proxy.answer_status(507, on="PUT")
    pd.testing.assert_frame_equal(study.summary(), expected)
    assert "not consolidated" in caplog.text
    proxy.heal()
    study.summary()
    assert study.fs.exists(OBJECT)


def test_after_a_run_of_all_cases_and_no_share_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = fabricated(str(tmp_path))
    monkeypatch.setattr("idfkit_fs.studies.consolidated._AT_LEAST", 1)
    module.keep_after_run(study.fs, 1)  # too few
    assert not study.fs.exists(OBJECT)
    module.keep_after_run(study.fs, 6)
    assert read(study, monkeypatch)[1] == []


def test_two_at_once(tmp_path: Path) -> None:
    study = fabricated(str(tmp_path), 30)
    expected = study.summary()
    errors: list[BaseException] = []

    def consolidate() -> None:
        try:
            for number in range(5):
                Study(str(tmp_path)).consolidate()
                end(study, add(study, f"case-{number}", number=number, city="Zürich"), energy=1000.0 + number / 7)
        except BaseException as exc:  # noqa: BLE001 - checked below
            errors.append(exc)

    threads = [threading.Thread(target=consolidate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    pd.testing.assert_frame_equal(study.summary(), alone(study))
    assert len(study.summary()) == len(expected)


def test_a_case_that_changes_while_it_is_consolidated_is_read_again(
    s3_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = fabricated(s3_place)
    read_told, changed = module.read_told, []

    def slow(fs: FsspecFileSystem, listing: Any, case: str) -> Any:
        if case == "case-0" and not changed:
            changed.extend(written_again(study))
        return read_told(fs, listing, case)

    monkeypatch.setattr(module, "read_told", slow)
    study.consolidate()
    found, fetched = read(study, monkeypatch)
    assert fetched == changed
    assert found.loc["case-0", "site_energy_kwh"] == 9.0


def test_parameters_of_many_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = fabricated(str(tmp_path))
    listing = read_listing(study.fs)
    expected = {case: {"name": case, "number": int(case[5:]), "city": "Zürich"} for case in listing.cases}
    assert read_parameters(study.fs, listing, listing.cases) == expected
    study.consolidate()
    replaced_job(study)
    listing = read_listing(study.fs)
    assert read_parameters(study.fs, listing, ["case-5", "case-2"]) == {
        "case-5": expected["case-5"],
        "case-2": {"name": "case-2", "number": 99},
    }
    study.fs.write_bytes(job_path("case-5"), b"{")
    assert read_parameters(study.fs, read_listing(study.fs), ["case-5", "case-4"]) == {"case-4": expected["case-4"]}


BLOCKED = """
import sys
sys.modules.update(dict.fromkeys(("pandas", "pyarrow", "numpy")))
from idfkit_fs import Study
from idfkit_fs.errors import MissingExtraError
from idfkit_fs.studies import consolidated
consolidated._AT_LEAST = 0
study = Study(sys.argv[1])
columns, rows = study.summary_rows()
print(len(rows), study.status())
try:
    study.consolidate()
except MissingExtraError as exc:
    print(exc)
"""


def test_a_machine_without_pyarrow(tmp_path: Path) -> None:
    fabricated(str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("6 ")
    assert last == "consolidate() needs a package that is not installed: pip install 'idfkit-fs[pandas]'"
    assert not (tmp_path / OBJECT).exists()


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.faults)])
def test_thousands_of_cases_of_which_half_failed(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(f"memory://{uuid.uuid4().hex}")
    study.add_cases([])
    many(study, count)
    expected = study.summary()
    found, fetched = read(study, monkeypatch)
    assert fetched == []
    pd.testing.assert_frame_equal(found, expected)
    assert found["state"].value_counts().to_dict() == {"ok": count // 2, "failed": count // 2}
    assert found.loc["case-00001", "message"] == "** Fatal ** case-00001 is wrong"


def test_the_command(tmp_path: Path) -> None:
    study = fabricated(str(tmp_path))
    done = CliRunner().invoke(commands, ["consolidate", study.url])
    assert (done.exit_code, done.output) == (0, "6 of 6 cases consolidated.\n")
    assert study.fs.exists(OBJECT)
    missing = CliRunner().invoke(commands, ["consolidate", str(tmp_path / "none")])
    assert missing.exit_code == 1 and "study" in missing.output


def test_without_the_package_only_the_call_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = fabricated(str(tmp_path))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="pandas"):
        study.consolidate()
