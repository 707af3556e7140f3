"""Cases are removed in few requests, whatever their names, and a removal that was cut off can be finished."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.made_cases import make_cases
from support.places import Place
from support.proxy import FaultProxy
from support.servers import Store

from idfkit_fs import Study
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._stores import conditional
from idfkit_fs.errors import CaseNotFoundError, PermissionDeniedError, RecordError
from idfkit_fs.runs.record import RECORD_NAME
from idfkit_fs.runs.register import read_register

NAMES = ["a b #1 [x] 100% é", "[ab]", "a", "ab", "50+50 & more", "=1+1"]


@pytest.fixture(params=["moto", "seaweed"])
def watched(request: pytest.FixtureRequest) -> Iterator[tuple[Store, FaultProxy]]:
    """A store, and the proxy before it."""
    store: Store = request.getfixturevalue(request.param)
    target = urlsplit(store.endpoint)
    with FaultProxy(str(target.hostname), int(target.port or 0)) as proxy:
        yield store, proxy


def study_at(store: Store, proxy: FaultProxy) -> Study:
    """A study behind a proxy."""
    return Study(f"{store.url}/{uuid.uuid4().hex}", storage_options=store.through(proxy.endpoint).storage_options)


def kinds(proxy: FaultProxy) -> Counter[str]:
    """How many requests of each kind were sent."""
    return Counter(
        "LIST" if "list-type" in line else "BATCH" if re.match(r"POST \S+\?delete", line) else line.split()[0]
        for line in proxy.request_lines
    )


def test_four_requests_a_case(watched: tuple[Store, FaultProxy], monkeypatch: pytest.MonkeyPatch) -> None:
    store, proxy = watched
    # As at Amazon, whose word is believed that it keeps conditions.
    monkeypatch.setattr(conditional, "_KNOWN_HOSTS", ("127.0.0.1",))
    for count in (1, 12):
        study = study_at(store, proxy)
        names = [f"case-{number:02}" for number in range(count)]
        make_cases(study.fs.write_bytes, names)
        make_cases(study.fs.write_bytes, ["bad"], success=False)
        make_cases(study.fs.write_bytes, ["pending"], ended=False)
        proxy.reset_counters()
        study.remove([*names, "bad", "pending"])
        # Of each case: the register is read, the outcome void, the URL claimed, the claim given up. A pending case has
        # its register read only. Jobs go by one request, and so do all files with the outcomes.
        ended = count + 1
        expected = {"GET": 1 + ended + 1, "LIST": 3 + 1, "PUT": 2 * ended, "DELETE": ended, "BATCH": 2}
        assert kinds(proxy) == expected
        assert study.fs.glob("", "**") == ["_study/study.json"]


def test_where_conditions_may_be_ignored_each_costs_a_request_more(watched: tuple[Store, FaultProxy]) -> None:
    store, proxy = watched
    study = study_at(store, proxy)
    make_cases(study.fs.write_bytes, [f"case-{number}" for number in range(8)])
    proxy.reset_counters()
    study.remove(study.cases())
    counts = kinds(proxy)
    assert counts["GET"] <= 2 + 8 * 3
    assert counts["PUT"] + counts["DELETE"] == 8 * 3
    assert study.fs.glob("", "**") == ["_study/study.json"]


def test_a_few_cases_of_many_are_listed_alone(moto: Store, proxy: FaultProxy) -> None:
    study = study_at(moto, proxy)
    make_cases(study.fs.write_bytes, [f"case-{number:03}" for number in range(120)], ended=False)
    make_cases(study.fs.write_bytes, ["one"], files=["eplus.err"])
    proxy.reset_counters()
    study.remove("one")
    listed = [line for line in proxy.request_lines if "list-type" in line]
    assert sum("%2Fone%2F" in line or "/one/" in line for line in listed) == 1
    assert len(listed) == 1 + 4  # s3fs asks twice about a directory that is empty, of failed cases
    assert "one" not in study.cases() and not study.fs.glob("one", "**")


@pytest.mark.parametrize("by_batches", [True, False])
def test_names_are_taken_literally(place: Place, by_batches: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not by_batches:
        monkeypatch.setattr("idfkit_fs._fs.sync.batches_of", lambda *_args: iter(()))
    study = Study(place.url, storage_options=place.options)
    make_cases(study.fs.write_bytes, NAMES, files=["eplus.err", "sub dir/[e]plus.csv"])
    study.fs.write_bytes("[ab]/notes of a user.txt", b"x")
    study.remove(["[ab]", NAMES[0]])
    assert study.cases() == sorted({*NAMES} - {"[ab]", NAMES[0]})
    assert sorted(study.status().ok) == study.cases()
    left = {path.partition("/")[0] for path in study.fs.glob("", "**")}
    assert left == {"_study", *study.cases()}
    study.remove(study.cases())
    assert study.fs.glob("", "**") == ["_study/study.json"]


@pytest.mark.faults
def test_a_thousand_cases(tmp_path: Path) -> None:
    study = Study(tmp_path)
    written: dict[str, bytes] = {}
    make_cases(written.__setitem__, [f"case-{number:04}" for number in range(1000)], files=["eplus.err"])
    for name, data in written.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    study.remove(study.cases()[:-1])
    assert study.status().states() == {"case-0999": "ok"}
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 1 + 1 + 1 + 2


class Killed(BaseException):
    """The process dies."""


@pytest.mark.parametrize("step", range(40))
def test_a_removal_that_was_killed_can_be_finished(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it ends, no case is ok without its run, and nothing is left in the end."""
    study = Study(f"memory://{uuid.uuid4().hex}")
    make_cases(study.fs.write_bytes, ["a", "b"], files=["eplus.err", "eplus.sql"])
    make_cases(study.fs.write_bytes, ["bad"], files=["eplus.err"], success=False)
    done = 0

    def dying(name: str) -> None:
        original = getattr(FsspecFileSystem, name)

        def step_of(self: FsspecFileSystem, *args: Any, **kwargs: Any) -> Any:
            nonlocal done
            done += 1
            if done > step:
                raise Killed
            return original(self, *args, **kwargs)

        patch.setattr(FsspecFileSystem, name, step_of)

    with monkeypatch.context() as patch:
        for name in ("write_bytes", "swap", "remove_tagged", "_remove_one"):
            dying(name)
        try:
            study.remove(["a", "b", "bad"])
        except Killed:
            pass
        else:
            assert step >= 15  # all steps were done before
    for case, state in study.status().states().items():
        if state != "pending":
            record = study.result(case).record
            assert record is not None and {*study.fs.glob(case, "*")} >= {f"{case}/{name}" for name in record.paths}
    # Added again, a case that lost its run is pending.
    study.remove(study.cases())
    study.verify(repair=True)
    assert study.fs.glob("", "**") == ["_study/study.json"]
    assert not study.verify().findings


def test_a_run_that_appears_while_its_case_is_removed_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(f"memory://{uuid.uuid4().hex}")
    make_cases(study.fs.write_bytes, ["a"])
    remove = FsspecFileSystem.remove_if_exists

    def then_it_is_run_again(self: FsspecFileSystem, paths: Any) -> None:
        monkeypatch.setattr(FsspecFileSystem, "remove_if_exists", remove)
        for path in self.glob("_study/ok", "*"):
            self.remove(path)
        make_cases(self.write_bytes, ["a"], files=["eplus.err", "eplus.new"])
        remove(self, paths)

    monkeypatch.setattr(FsspecFileSystem, "remove_if_exists", then_it_is_run_again)
    study.remove("a")
    found = study.fs.glob("", "**")
    # The outcome of a run that the listing has not shown is void, since its worker may still create it.
    assert [path for path in found if study.fs.read_bytes(path)] == ["_study/study.json"]
    assert study.cases() == []


def test_a_publisher_that_is_at_work_keeps_its_files() -> None:
    study = Study(f"memory://{uuid.uuid4().hex}")
    make_cases(study.fs.write_bytes, ["a", "b"])
    run_fs = study.fs.joinpath("a")
    register = read_register(run_fs)
    assert register.record is not None
    claim = register.claimed_by(uuid.uuid4().hex, register.record.job, {"eplus.err"})
    run_fs.swap(RECORD_NAME, claim.to_json(), register.tag)
    study.remove(["a", "b"])
    assert study.cases() == []
    assert read_register(run_fs).claim == claim and run_fs.glob("", "eplus.err")
    assert not study.fs.glob("b", "**")


def test_a_run_of_a_newer_format_leaves_all_cases_as_they_are() -> None:
    study = Study(f"memory://{uuid.uuid4().hex}")
    make_cases(study.fs.write_bytes, ["a", "b"])
    record = study.fs.read_text(f"b/{RECORD_NAME}")
    study.fs.write_text(f"b/{RECORD_NAME}", re.sub(r'"version": ?\d+', '"version":99', record, count=1))
    before = {path: study.fs.read_bytes(path) for path in study.fs.glob("", "**")}
    with pytest.raises(RecordError, match="newer"):
        study.remove(["a", "b"])
    assert {path: study.fs.read_bytes(path) for path in study.fs.glob("", "**")} == before


def test_a_case_that_is_missing_removes_nothing() -> None:
    study = Study(f"memory://{uuid.uuid4().hex}")
    make_cases(study.fs.write_bytes, ["a", "b"])
    with pytest.raises(CaseNotFoundError):
        study.remove(["a", "c"])
    assert study.status().ok == ("a", "b")


# Many files by one request.


def test_missing_files_are_skipped(place: Place) -> None:
    fs = FsspecFileSystem.from_url(place.url, **place.options)
    names = [f"runs/{name}" for name in ("a b#1.csv", "büro%20[x].csv", "b", "c&d<e>")]
    for name in names:
        fs.write_bytes(name, b"1")
    fs.write_bytes("runs/büro%20x.csv", b"1")
    fs.remove_if_exists([*names, "runs/missing", "elsewhere/missing"])
    assert fs.glob("", "**") == ["runs/büro%20x.csv"]
    fs.remove_if_exists([])


def test_a_thousand_files_a_request(moto: Store, proxy: FaultProxy) -> None:
    fs = study_at(moto, proxy).fs
    fs.write_bytes("1500.csv", b"1")
    proxy.reset_counters()
    fs.remove_if_exists(f"{number}.csv" for number in range(2100))
    assert kinds(proxy) == {"BATCH": 3}
    assert fs.glob("", "*") == []


def test_a_store_without_such_a_request(moto: Store, proxy: FaultProxy) -> None:
    fs = study_at(moto, proxy).fs
    for number in range(5):
        fs.write_bytes(f"{number}.csv", b"1")
    proxy.answer_status(501, count=None, on=r"^POST \S+\?delete")
    fs.remove_if_exists(f"{number}.csv" for number in range(5))
    assert fs.glob("", "*") == []


def test_what_a_batch_leaves_is_said(moto: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 answers 200, and names the files that it has not removed."""
    fs = FsspecFileSystem.from_url(f"{moto.url}/{uuid.uuid4().hex}", **moto.storage_options)
    for number in range(3):
        fs.write_bytes(f"{number}.csv", b"1")
    store: Any = fs.store
    call = store._call_s3

    async def refuse(method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "delete_objects":
            names = [entry["Key"] for entry in kwargs["Delete"]["Objects"]]
            return {"Errors": [{"Key": name, "Code": "AccessDenied", "Message": "no"} for name in names[1:]]}
        if method == "delete_object" and kwargs["Key"].endswith("2.csv"):
            raise PermissionError("Access Denied")
        return await call(method, *args, **kwargs)

    monkeypatch.setattr(store, "_call_s3", refuse)
    with pytest.raises(PermissionDeniedError) as caught:
        fs.remove_if_exists(f"{number}.csv" for number in range(3))
    assert str(caught.value.filename).endswith("2.csv")


def test_googles_batches(gcs: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator knows them too, although gcsfs sends it none."""
    from gcsfs.core import GCSFileSystem

    monkeypatch.setattr(GCSFileSystem, "on_google", True)
    fs = FsspecFileSystem.from_url(f"{gcs.url}/{uuid.uuid4().hex}", **gcs.storage_options)
    for name in ("a b.csv", "[x]/y.csv", "z.csv"):
        fs.write_bytes(name, b"1")
    fs.remove_if_exists(["a b.csv", "[x]/y.csv", "missing.csv"])
    assert fs.glob("", "**") == ["z.csv"]
