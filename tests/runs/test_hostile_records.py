"""Records, jobs and outcomes that an attacker wrote: each is refused soon, with an error that says why."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.places import Place
from support.proxy import FaultProxy

from idfkit_fs import FsspecFileSystem, Study, open_result, publish
from idfkit_fs._util.bounds import JSON_BYTES, JSON_DEPTH, JSON_VALUES
from idfkit_fs._util.names import problem_of_path, problem_of_paths
from idfkit_fs._util.versioned_json import parse_json
from idfkit_fs.errors import RecordError, StudyNotFoundError
from idfkit_fs.runs.record import RecordedFile, RunRecord
from idfkit_fs.studies.job import Job, Outcome, StudyFile

TEN_GB = 10 * 10**9
SHA = "0" * 64


def record(**fields: Any) -> RunRecord:
    return RunRecord(**{"success": True, "exit_code": 0, "runtime_seconds": 1.5, **fields})


def tampered(**fields: Any) -> bytes:
    return json.dumps({**json.loads(record().to_json()), **fields}).encode()


def files(*names: str) -> tuple[RecordedFile, ...]:
    return tuple(RecordedFile(name=name, size=1, sha256=SHA) for name in names)


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    inner = f"{opening * depth}1{closing * depth}" if opening == "[" else '{"a":' * depth + "1" + "}" * depth
    return tampered(flags={"a": 0}).replace(b'"flags": {"a": 0}', b'"flags": {"a": ' + inner.encode() + b"}")


@pytest.mark.parametrize("kind", [RunRecord, Job, Outcome, StudyFile])
@pytest.mark.parametrize("depth", [JSON_DEPTH, 900, 100_000], ids=str)
@pytest.mark.parametrize("opening", ["[", "{"])
def test_deep_nesting_is_refused(kind: type[RunRecord], depth: int, opening: str) -> None:
    data = nested(depth, opening).replace(b"idfkit-fs run", kind.model_fields["format"].default.encode())
    with pytest.raises(RecordError, match="nested deeper than 80"):
        kind.from_json(data, "x")


def test_nesting_as_deep_as_parameters_may_be_is_read() -> None:
    assert RunRecord.from_json(nested(JSON_DEPTH - 2), "x").flags["a"]


def test_deep_nesting_is_refused_from_a_deep_stack_too() -> None:
    """Where Python itself gives up before we count."""

    def down(levels: int) -> None:
        if levels:
            down(levels - 1)
        else:
            RunRecord.from_json(nested(900), "x")

    with pytest.raises(RecordError, match="nested deeper"):
        down(300)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ('{"b": {"a": 1, "a": 1}}', "the key 'a' is given twice"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": Infinity}', "Infinity is not a number"),
        ('{"a": [-Infinity]}', "-Infinity is not a number"),
        ('{"a": 1e999}', "a number is too large"),
        ('{"a": 0.' + "1" * 5000 + "}", "a number is too large"),
        ('{"a": ' + "9" * 5000 + "}", "a number has more than 400 digits"),
        ('{"a": -' + "9" * 5_000_000 + "}", "a number has more than 400 digits"),
        (r'{"a": "\ud800"}', "surrogates not allowed"),
        (r'{"\udfff": 1}', "surrogates not allowed"),
        ('{"a": [' + "1," * JSON_VALUES + "1]}", "more than 1,048,576 values"),
        ('{"a": [' + "[]," * JSON_VALUES + "1]}", "more than 1,048,576 values"),
        ('{"a": "' + "x" * JSON_BYTES + '"}', "larger than 16,777,216 bytes"),
    ],
    ids=range(14),
)
def test_json_that_means_two_things_or_too_much_is_refused(flags: str, why: str) -> None:
    data = tampered(flags="@").replace(b'"@"', flags.encode())
    with pytest.raises(RecordError, match=why) as caught:
        RunRecord.from_json(data, "x")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig", "latin-1"])
def test_json_in_another_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(RecordError):
        RunRecord.from_json(tampered(message="@").replace(b"@", b"\xc3\xa9").decode().encode(encoding), "x")


@pytest.mark.parametrize(
    "fields",
    [
        {"success": 2},
        {"exit_code": "zero"},
        {"exit_code": 10**30, "files": 1},
        {"runtime_seconds": -1},
        {"flags": []},
        {"files": {}},
        {"files": [{"name": "a", "size": 2**63, "sha256": SHA}]},
        {"files": [{"name": "a", "size": -1, "sha256": SHA}]},
        {"files": [{"name": "a", "size": 1, "sha256": "x" * 1_000_000}]},
        {"files": [{"name": ["a"], "size": 1, "sha256": SHA}]},
        {"x" * 1_000_000: 1, "files": 1},
        {"version": 10**300},
        {"version": 9, "idfkit_fs_version": "9" * 1_000_000},
        {"finished": 1e300},
        {"generation": 2**31},
        {"sidecar_footers": {"a": "b"}},
    ],
    ids=range(16),
)
def test_wrong_types_are_refused_in_a_short_message(fields: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as caught:
        RunRecord.from_json(tampered(**fields), "x")
    assert len(str(caught.value)) < 1000


REFUSED = [
    *("run.json", "RUN.json", "_study/study.json", "_Study/ok/a.json", "_study", ".idfkit-fs-unpublished.json"),
    *(
        "sub/.idfkit-fs-0.tmp",
        "case-7/run.json",
        "study-001/_study/jobs/case-7.json",
        "CON",
        "nul.txt",
        "a/COM1.csv",
        "lpt9",
        "aux .txt",
        "com¹",
        "CONIN$",
        "a:b",
        "eplus.sql:x",
    ),
    *(
        "a.",
        "a ",
        "sub./x",
        "sub /x",
        "a\x1b[2Jb",
        "a\nb",
        "a\x7f",
        "a\x9b1m",
        "a\u202egpj.exe",
        "a\u2066b",
        "a\u200bb",
    ),
    *("a\ud800b", "/a", "..", "a/../b", "a\\b", "a//b", "a/", "x" * 256, "é" * 128, "/".join(["x" * 200] * 6)),
]


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_names_that_are_reserved_or_mislead_are_refused(name: str) -> None:
    with pytest.raises(RecordError, match="damaged record: files|surrogates not allowed") as caught:
        RunRecord.from_json(tampered(files=[{"name": name, "size": 1, "sha256": SHA}]), "x")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


@pytest.mark.parametrize("where", ["model", "weather", "files"])
def test_a_job_with_such_a_name_is_refused(where: str) -> None:
    good = {"name": "m.idf", "size": 1, "sha256": SHA}
    bad = {**good, "name": "a\u202eb"}
    fields: dict[str, Any] = {"format": "idfkit-fs job", "version": 1, "case": "a", "model": good, "weather": good}
    assert Job.from_json(json.dumps(fields).encode(), "x").case == "a"
    fields[where] = {"input-files/x": bad} if where == "files" else bad
    with pytest.raises(RecordError, match=f"damaged record: {where}"):
        Job.from_json(json.dumps(fields).encode(), "x")


@pytest.mark.parametrize(
    "names", [("y", "y/x"), ("y/x", "y"), ("a/b/c/d", "A/B"), ("a", "a"), ("a", "A"), ("é", "e\u0301")]
)
@pytest.mark.parametrize("field", ["files", "inputs"])
def test_files_that_take_each_others_place_are_refused(names: tuple[str, str], field: str) -> None:
    listed = [{"name": name, "size": 1, "sha256": SHA} for name in names]
    with pytest.raises(RecordError, match=f"damaged record: {field}: .*(twice|case only|directory of)"):
        RunRecord.from_json(tampered(**{field: listed}), "x")


def test_files_beside_and_in_a_directory_are_fine() -> None:
    names = ("y/x", "y/z", "y.x", "yy", "x/y/z")
    assert record(files=files(*names)).files == files(*names)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=30))
def test_a_name_that_passes_stays_in_its_directory(name: str) -> None:
    if problem_of_path(name) is None:
        path = os.path.normpath(os.path.join("/base", name))
        assert path == f"/base/{name}"
        assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in name)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("aAb/", min_size=1, max_size=5), max_size=5))
def test_paths_that_pass_make_as_many_files(paths: list[str]) -> None:
    good = [path for path in paths if problem_of_path(path) is None]
    if problem_of_paths(good) is None:
        folded = {path.casefold() for path in good}
        assert len(folded) == len(good)
        assert not any(one != other and one.startswith(f"{other}/") for one in folded for other in folded)


@settings(max_examples=50, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=20))
def test_whatever_is_parsed_can_be_written_again(value: object) -> None:
    data = json.dumps({"a": value}).encode()
    try:
        parsed = parse_json(data)
    except ValueError:
        return
    assert parse_json(json.dumps(parsed, allow_nan=False, ensure_ascii=False).encode()) == parsed


def test_a_record_that_no_reader_would_take_is_not_written() -> None:
    with pytest.raises(RecordError, match=r"cannot be stored: it has more than 1,048,576 values"):
        record(flags={"a": [0] * JSON_VALUES}).to_json()


# --- large objects, which are not downloaded ---------------------------------------------------------------------------


@pytest.fixture
def sparse(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a file of ten gigabytes that takes no space."""

    def make(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(record().to_json())
            file.truncate(TEN_GB)
        return path

    return make


def test_a_sparse_record_of_ten_gigabytes_is_refused(sparse: Callable[[str], Path]) -> None:
    path = sparse("case/run.json")
    tracemalloc.start()
    try:
        with pytest.raises(RecordError, match="larger than 16,777,216 bytes"):
            open_result(path.parent)
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("chain", ["", "simplecache::"])
def test_sparse_objects_of_a_study_are_refused(sparse: Callable[[str], Path], tmp_path: Path, chain: str) -> None:
    study = Study(f"{chain}file://{tmp_path}")
    sparse("_study/study.json")
    with pytest.raises(RecordError, match="larger than"):
        study.status()
    (tmp_path / "_study/study.json").write_bytes(StudyFile().to_json())
    sparse("_study/jobs/a.json")
    sparse("_study/jobs/b.json")
    sparse(f"_study/ok/b.{'0' * 16}.json")
    rows = study.summary_rows()[1]
    assert [row["state"] for row in rows] == ["damaged", "damaged"]
    assert all("larger than" in row["message"] for row in rows)


def test_a_sparse_draft_and_a_sparse_record_in_the_target_are_refused(
    sparse: Callable[[str], Path], local_run: Any, tmp_path: Path
) -> None:
    draft = sparse("local-run/.idfkit-fs-unpublished.json")
    with pytest.raises(RecordError, match="larger than"):
        publish(draft.parent, tmp_path / "published")


def test_a_large_record_in_a_bucket_is_not_downloaded(shaky_place: Place, proxy: FaultProxy) -> None:
    FsspecFileSystem.from_url(shaky_place.url, **shaky_place.options).write_bytes("run.json", bytes(64 * 2**20))
    proxy.reset_counters()
    with pytest.raises(RecordError, match="larger than 16,777,216 bytes"):
        open_result(shaky_place.url, storage_options=shaky_place.options)
    assert proxy.requests == 1 and proxy.bytes_down < 20 * 2**20


def test_an_empty_record_is_refused_on_every_store(place: Place) -> None:
    FsspecFileSystem.from_url(place.url, **place.options).write_bytes("run.json", b"")
    with pytest.raises(RecordError, match="it is not JSON"):
        open_result(place.url, storage_options=place.options)


def test_no_study_is_still_no_study(place: Place) -> None:
    FsspecFileSystem.from_url(place.url, **place.options).write_bytes("x.txt", b"x")
    with pytest.raises(StudyNotFoundError):
        Study(place.url, storage_options=place.options).status()
