"""What all outcomes say in one object: never believed over the listings, and never needed."""

from __future__ import annotations

import gzip
import json
import logging
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from support.fabricated import METRIC, add, cells_of, end, many
from support.places import Place
from support.proxy import FaultProxy
from support.rights import gate_before
from support.servers import Store

from idfkit_fs import FsspecFileSystem, Study
from idfkit_fs._cli.commands import commands
from idfkit_fs.errors import CaseNotFoundError, RecordError
from idfkit_fs.studies import consolidate as module
from idfkit_fs.studies import packed
from idfkit_fs.studies.consolidated import pays
from idfkit_fs.studies.job import Measured
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


@pytest.mark.parametrize("arguments", ["consolidate", "ls --where number>1", "rm case-0 --yes", "rm case-1"])
def test_commands_list_the_study_once(shaky_place: Place, proxy: FaultProxy, arguments: str) -> None:
    study = fabricated(shaky_place)
    proxy.reset_counters()
    command, *others = arguments.split()
    options = [f"-o{name}={json.dumps(value)}" for name, value in shaky_place.options.items()]
    done = CliRunner().invoke(commands, [command, study.url, *others, *options], input="y\n")
    assert done.exit_code == 0, done.output
    assert sum("list-type" in line and "_study%2Fjobs" in line for line in proxy.request_lines) == 1


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


def random_case(study: Study, case: str, random: Random) -> None:
    """A case of any state, in which any parameter, figure or metric may be missing, or unlike those of the others."""
    names = random.sample(["wwr", "city", "flag", "list", "none"], random.randrange(5))
    values = [0.4, 1, 2**70, "Zürich", True, [1, {"a": None}], None]
    job = add(study, case, **{name: random.choice(values) for name in names})
    state = random.choice(["ok", "ok", "ok", "failed", "pending"])
    if state == "pending":
        return
    summary: dict[str, Any] = {
        "end_uses_kwh": {use: {"Natural Gas": random.random()} for use in random.sample(["Heating", "Fans", "A b"], 2)},
        "peak_demand_w": random.choice([{}, {"Electricity": 1.5}]),
        "floor_area_m2": random.choice([None, 100.0]),
        "on_site_electricity_kwh": random.choice([None, 0.0, 7.0]),
        "warnings": random.choice([None, 3]),
        "notes": random.choice([(), ("a note",)]),
        "metrics": {
            name: random.choice(
                [
                    Measured(cell=METRIC.cell, value=random.random(), units=random.choice(["GJ", "kBtu", "C"])),
                    Measured(cell=METRIC.cell, value="a text"),
                    METRIC.missing("no such cell"),
                ]
            )
            for name in random.sample(["heating", "other"], random.randrange(3))
        },
    }
    end(study, job, "ok" if state == "ok" else "failed", run=str(random.random()), summary=summary)


@pytest.mark.parametrize("seed", range(12))
def test_any_mix_gives_the_frame_of_the_outcomes(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(seed)
    study = Study(str(tmp_path))
    study.add_cases([])
    names = [f"case-{number}" for number in range(20)]
    for case in names:
        random_case(study, case, random)
    for _ in range(3):
        study.consolidate()
        changed = random.sample(names, random.randrange(8))
        for case in changed:
            study.fs.remove_if_exists([*study.fs.glob("_study/ok", f"{case}.*"), job_path(case)])
            study.fs.remove_if_exists(study.fs.glob("_study/failed", f"{case}.*"))
            if random.random() < 0.8:
                random_case(study, case, random)
        for path in random.sample(study.fs.glob("_study/ok", "*"), 1):
            if random.random() < 0.3:
                study.fs.write_bytes(path, random.choice([b"{", b""]))
        found, fetched = read(study, monkeypatch)
        assert len(fetched) <= len(changed) + 1
        expected = alone(study)
        pd.testing.assert_frame_equal(found, expected)
        assert found.attrs == expected.attrs


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 3
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _with(**fields: Any) -> Callable[[bytes], bytes]:
    """The object with some fields replaced."""

    def changed(data: bytes) -> bytes:
        head, _, body = gzip.decompress(data).partition(b"\n")
        return gzip.compress(head + b"\n" + json.dumps({**json.loads(body), **fields}).encode())

    return changed


def _replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        text = gzip.decompress(data)
        assert old in text
        return gzip.compress(text.replace(old, new, 1))

    return changed


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _data: b"",
    "cut": lambda data: data[:-20],
    "another": lambda _data: b"PAR1 is no gzip PAR1",
    "a bit": _flipped,
    "no JSON": _replaced(b"}", b""),
    "no head": _replaced(b"\n", b" "),
    "no version": _replaced(b'"version"', b'"versio"'),
    "columns of several lengths": _with(messages=[]),
    "a figure of another length": _with(figures={"floor_area_m2": [1.0]}),
    "other JSON": _with(metrics=1),
    "a text for a figure": _with(figures={"floor_area_m2": ["x"] * 6}),
    "deep": _replaced(b'"city":"Z\xc3\xbcrich"', b'"a":' + b"[" * 3000 + b"]" * 3000),
    "a bomb": lambda _data: gzip.compress(b'{"version":1}\n' + b"[" * 2**21),
    "many values": lambda _data: gzip.compress(b'{"version":1}\n{"messages":[' + b"[]," * 2**15 + b"[]]}"),
    "not finite": _replaced(b"1.25", b"1e999"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_object_is_ignored_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    monkeypatch.setattr(packed, "CONSOLIDATED_TEXT", 2**20)
    monkeypatch.setattr(packed, "CONSOLIDATED_VALUES", 2**15)
    study = fabricated(str(tmp_path))
    expected = study.summary()
    study.consolidate()
    study.fs.write_bytes(OBJECT, DAMAGES[damage](study.fs.fetch(OBJECT)))
    (finding,) = study.verify().findings[-1:]
    assert finding.case == "_study/consolidated" and "damaged" in finding.problem
    with caplog.at_level(logging.WARNING):
        found, fetched = read(study, monkeypatch)
    pd.testing.assert_frame_equal(found, expected)
    assert len(fetched) == 6
    assert "one by one" in caplog.text
    assert read(study, monkeypatch)[1] == []  # it was written again


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


def test_metrics_that_were_added_later_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    monkeypatch.setattr("idfkit_fs.studies.consolidated._AT_LEAST", 2)
    study = Study(str(tmp_path), metrics={METRIC.name: METRIC.cell})
    study.add_cases([])
    for number in range(4):
        end(study, add(study, f"case-{number}"), cells=cells_of(number) if number else [])
    study.consolidate()
    wanted = {"cooling": ("Annual", "End Uses", "Cooling", "Natural Gas"), "typo": ("Annual", "End Use", "x", "y")}
    expected = Study(str(tmp_path), metrics=wanted).summary()
    assert sorted(opened) == [f"case-{number}" for number in range(4)]
    assert [*expected["cooling"].iloc[1:]] == [2.0, 3.0, 4.0]
    assert "There is no table 'End Use'" in expected.loc["case-3", "message"]
    assert "no tabular reports" in expected.loc["case-0", "message"]
    opened.clear()
    found = Study(str(tmp_path), metrics=wanted).summary()
    pd.testing.assert_frame_equal(found, expected)
    assert opened == []
    assert "cooling" not in study.summary()  # those of a reader are not those of the study
    other = Study(str(tmp_path), metrics={"cooling": ("Annual", "End Uses", "Heating", "Electricity")}).summary()
    assert [*other["cooling"].iloc[1:]] == [1.0, 2.0, 3.0]
    assert len(opened) == 4  # the same name asks for another cell
    opened.clear()
    path = end(study, add(study, "case-1"), cells=cells_of(50), run="second")
    study.fs.remove_if_exists([each for each in study.fs.glob("_study/ok", "case-1.*") if each != path])
    assert Study(str(tmp_path), metrics=wanted).summary().loc["case-1", "cooling"] == 51
    assert "case-1" in opened


def of_two(url: str) -> Study:
    """A study of two cases that ended, with tables."""
    study = Study(url)
    study.add_cases([])
    for number in range(2):
        end(study, add(study, f"case-{number}"), cells=cells_of(number))
    return study


def test_a_metric_of_another_run_than_the_listed_one_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    monkeypatch.setattr("idfkit_fs.studies.consolidated._AT_LEAST", 0)
    study = of_two(str(tmp_path))
    job = add(study, "case-1")
    study.fs.remove(end(study, job, cells=cells_of(50), run="second"))  # its worker has not written the outcome yet
    asking = Study(str(tmp_path), metrics={"cooling": ("Annual", "End Uses", "Cooling", "Natural Gas")})
    asking.summary()
    opened.clear()
    asking.summary()
    assert opened == ["case-1"]


def test_tables_that_cannot_be_read_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    monkeypatch.setattr("idfkit_fs.studies.consolidated._AT_LEAST", 0)
    study = of_two(str(tmp_path))
    kept = study.fs.fetch("case-1/tabular.parquet")
    study.fs.remove("case-1/tabular.parquet")
    asking = Study(str(tmp_path), metrics={"cooling": ("Annual", "End Uses", "Cooling", "Natural Gas")})
    assert "cannot be read" in asking.summary().loc["case-1", "message"]
    study.fs.write_bytes("case-1/tabular.parquet", kept)
    opened.clear()
    assert asking.summary().loc["case-1", "cooling"] == 2
    assert opened == ["case-1"]


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
    read_row, changed = module.read_row, []

    def slow(fs: FsspecFileSystem, listing: Any, case: str) -> Any:
        if case == "case-0" and not changed:
            changed.extend(written_again(study))
        return read_row(fs, listing, case)

    monkeypatch.setattr(module, "read_row", slow)
    study.consolidate()
    found, fetched = read(study, monkeypatch)
    assert fetched == changed
    assert found.loc["case-0", "site_energy_kwh"] == 9.0


def test_parameters_of_many_cases(tmp_path: Path) -> None:
    study = fabricated(str(tmp_path))
    listing = read_listing(study.fs)
    expected = {case: {"name": case, "number": int(case[5:]), "city": "Zürich"} for case in listing.cases}
    assert read_parameters(study.fs, listing, listing.cases) == (expected, {})
    study.consolidate()
    replaced_job(study)
    listing = read_listing(study.fs)
    found, lost = read_parameters(study.fs, listing, ["case-5", "case-2"])
    assert found == {"case-5": expected["case-5"], "case-2": {"name": "case-2", "number": 99}} and not lost
    study.fs.write_bytes(job_path("case-5"), b"{")
    study.fs.remove(job_path("case-2"))
    found, lost = read_parameters(study.fs, listing, ["case-5", "case-4", "case-2"])
    assert found == {"case-5": expected["case-5"], "case-4": expected["case-4"]}  # as when it was listed
    assert {case: type(why) for case, why in lost.items()} == {"case-2": CaseNotFoundError}
    found, lost = read_parameters(study.fs, read_listing(study.fs), ["case-5", "case-4"])
    assert found == {"case-4": expected["case-4"]}
    assert {case: type(why) for case, why in lost.items()} == {"case-5": RecordError}


BLOCKED = """
import sys
sys.modules.update(dict.fromkeys(("pandas", "pyarrow", "numpy")))
from idfkit_fs import Study
from idfkit_fs.errors import MissingExtraError
study = Study(sys.argv[1])
print(study.consolidate(), study.status())
columns, rows = study.summary_rows()
print(len(rows), rows[0]["heating"])
try:
    study.consolidate(tabular=True)
except MissingExtraError as exc:
    print(exc)
"""


def test_a_machine_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = fabricated(str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(tmp_path)], capture_output=True, text=True, timeout=600, check=True
    )
    assert done.stdout.splitlines() == [
        "6 6 cases: 2 ok, 2 failed, 2 pending",
        "6 500.0",
        "consolidate(tabular=True) needs a package that is not installed: pip install 'idfkit-fs[pandas]'",
    ]
    assert read(study, monkeypatch)[1] == []


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
