"""The record: what it keeps, and what it refuses to read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idfkit_fs.errors import RecordError
from idfkit_fs.runs.record import RecordedFile, RunRecord

SHA = "0" * 64


def record(**fields: Any) -> RunRecord:
    facts: dict[str, Any] = {
        "success": True,
        "exit_code": 0,
        "runtime_seconds": 1.5,
        "idfkit_version": "1.1.1",
        "idfkit_fs_version": "0.1.0",
    }
    return RunRecord(**{**facts, **fields})


def tampered(**fields: Any) -> bytes:
    return json.dumps({**json.loads(record().to_json()), **fields}).encode()


def files(*names: str) -> tuple[RecordedFile, ...]:
    return tuple(RecordedFile(name=name, size=1, sha256=SHA) for name in names)


def test_it_comes_back_as_it_went() -> None:
    written = record(
        stdout="é\n", flags={"annual": True, "extra_args": ["-x"]}, files=files("eplus.sql", "sub/a b#1.csv")
    )
    assert RunRecord.from_json(written.to_json(), "x") == written


def test_long_output_is_bounded_and_says_so() -> None:
    printed = "begin" + "x" * 1_000_000 + "end"
    kept = record(stdout=printed).stdout
    assert len(kept) < 70_000
    assert kept.startswith("begin") and kept.endswith("end") and "characters left out" in kept
    assert RunRecord.from_json(record(stdout=printed).to_json(), "x").stdout == kept


def test_a_newer_format_is_refused_with_the_remedy() -> None:
    with pytest.raises(RecordError, match="newer idfkit-fs.*pip install --upgrade"):
        RunRecord.from_json(tampered(version=2, idfkit_fs_version="9.0"), "s3://b/case/run.json")


def test_unknown_fields_of_this_format_are_passed_over() -> None:
    assert RunRecord.from_json(tampered(something_new=1), "x").success


@pytest.mark.parametrize(
    "name",
    ["../eplus.sql", "a/../../b", "/etc/passwd", "", ".", "a//b", "..\\x", "C:/x", "file:///x", "s3://b/x", "a\0b"],
)
def test_a_file_name_that_leaves_the_run_is_refused(name: str) -> None:
    with pytest.raises(RecordError, match="damaged record: files"):
        RunRecord.from_json(tampered(files=[{"name": name, "size": 1, "sha256": SHA}]), "x")


@pytest.mark.parametrize("name", ["a b", "é.sql", "a#1", "100%25", "what?.csv", "[1].txt", "sub/dir/x", "a+b&c", "..x"])
def test_any_name_within_the_run_is_fine(name: str) -> None:
    assert files(name)[0].name == name


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"format": "other"}',
        tampered(success="perhaps"),
        tampered(version=None),
        tampered(version="2"),
        tampered(version=2.0),
    ],
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(RecordError, match=r"s3://b/run\.json"):
        RunRecord.from_json(data, "s3://b/run.json")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_record_error(data: bytes) -> None:
    with pytest.raises(RecordError):
        RunRecord.from_json(data, "x")


@pytest.mark.parametrize(
    ("suffix", "names", "found"),
    [
        (".sql", ["eplus.sql"], "eplus.sql"),
        (".sql", ["eplusout.sql", "eplus.sql"], "eplusout.sql"),
        (".err", ["eplus.err", "eplusSqlite.err"], "eplus.err"),
        (".csv", ["eplusZsz.csv"], None),
        ("Table.htm", ["eplusTable.htm"], "eplusTable.htm"),
        (".htm", ["eplustbl.htm"], "eplustbl.htm"),
        (".htm", ["eplus-table.htm"], "eplus-table.htm"),
        (".sql", [], None),
    ],
)
def test_outputs_are_found_by_suffix(suffix: str, names: list[str], found: str | None) -> None:
    assert record(files=files(*names)).output(suffix) == found
