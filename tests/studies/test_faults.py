"""Faults of workers, stores, users and clients that write at the same time: no case is lost, none half done."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import idfkit.simulation
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from idfkit.simulation import EnergyPlusConfig
from support.endings import wrapped
from support.killing import Gate
from support.ledger import Ledger, numbers
from support.places import Place
from support.proxy import FaultProxy
from support.readers import Crowd
from support.servers import Store
from support.variants import HEATING, broken, cases, endless, variant
from support.workers import add, publish_one, run_it, started_worker

from idfkit_fs import Case, FsspecFileSystem, Study, open_result, run_case
from idfkit_fs._util import retry
from idfkit_fs.errors import (
    CaseExistsError,
    CaseNotFoundError,
    DamagedRunError,
    IncompleteRunError,
    LocationError,
    ModelError,
    RecordError,
    RunNotFoundError,
)
from idfkit_fs.studies.job import Job
from idfkit_fs.studies.layout import (
    JOBS,
    EndedRun,
    job_path,
    outcome_path,
    outcomes_directory,
    parse_jobs,
    parse_outcomes,
)

pytestmark = pytest.mark.faults
KILLS = 20
MANY = 10_000
NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a group of processes")


# What really exists in a store.


@pytest.fixture(scope="module")
def undisturbed(epw: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The numbers of twelve cases that were run without faults."""
    study = Study(tmp_path_factory.mktemp("undisturbed"))
    study.add_cases(cases(12, epw))
    study.run()
    return numbers(study)


@pytest.fixture(scope="module")
def pair() -> Iterator[Crowd]:
    with Crowd(2) as crowd:
        yield crowd


@pytest.fixture(params=["moto", "seaweed"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


# Stores that answer what they should not.

_CODES = {500: "InternalError", 503: "SlowDown", 403: "ExpiredToken"}


class Moody(FaultProxy):
    """A proxy that is given, for each request, what becomes of it: a status, ``"reset"``, ``"lose"``, or nothing."""

    mood: Callable[[str], int | str | None] = staticmethod(lambda _line: None)
    _fate: int | str | None = None

    def words(self, status: int) -> str:
        return f"<Error><Code>{_CODES[status]}</Code><Message>Please try again later.</Message></Error>"

    def _take(self, kind: str, line: str = "") -> int | None:
        if kind == "answer":
            self._fate = self.mood(line)
            return self._fate if isinstance(self._fate, int) else None
        return 0 if kind == self._fate else None

    def after(self, count: float, act: Callable[[], object]) -> None:
        """Do something as a request arrives after so many."""
        self.reset_counters()

        def mood(_line: str) -> None:
            if self.requests == count:
                act()

        self.mood = mood

    def once(self, pattern: str, act: Callable[[], object]) -> threading.Event:
        """Do something as the first request arrives whose line a pattern is found in, and hold everything meanwhile."""
        done = threading.Event()

        def mood(line: str) -> None:
            if re.search(pattern, line) and not done.is_set():
                done.set()
                act()

        self.mood = mood
        return done


@pytest.fixture
def moody(moto: Store) -> Iterator[Moody]:
    target = urlsplit(moto.endpoint)
    with Moody(str(target.hostname), int(target.port or 0)) as running:
        yield running


def behind(moody: Moody, moto: Store, study: Study, **options: Any) -> Study:
    """The same study, as it is reached through the proxy."""
    return Study(study.url, storage_options={**moto.through(moody.endpoint).storage_options, **options})


# Workers that die.


@NEEDS_FORK
@pytest.mark.usefixtures("real_energyplus")
def test_workers_that_are_killed_at_random_moments_lose_nothing(
    study: Study,
    moto: Store,
    moody: Moody,
    ledger: Ledger,
    epw: Path,
    undisturbed: pd.DataFrame,
    tmp_path: Path,
) -> None:
    """Some of the moments are drawn by the clock, most by the number of requests to the store.

    However late a clock or a worker is, each worker is killed after so many requests, so that work is left for the next.
    """
    study.add_cases(cases(12, epw))
    through = behind(moody, moto, study)
    seed = 20
    chance = Random(seed)
    moments: list[tuple[float, int]] = [(0.05 + 0.1 * number, 75) for number in range(KILLS * 3 // 10)]
    moments += [(_PATIENCE, chance.randrange(3, 75)) for _ in range(KILLS - len(moments))]
    chance.shuffle(moments)
    hits: Counter[str] = Counter()
    noted: set[str] = set()
    for number, (seconds, requests) in enumerate(moments):
        with started_worker(through.url, through.fs.storage_options, tmp_path) as worker:
            if number in _CERTAIN:
                killed = moody.once(_CERTAIN[number], worker.kill)
                assert worker.ends_within(_PATIENCE) and killed.is_set()
                hits["for certain"] += 1
            else:
                moody.after(requests, worker.kill)
                worker.ends_within(seconds)
                hits[step_of(moody.request_lines)] += 1
        before = noted
        ledger.check()
        names = ledger.names()
        begun = {name.partition("/")[0] for name in names} - {"_study"}
        recorded = {name.partition("/")[0] for name in names if name.endswith("/run.json")}
        noted = noted_in(names)
        assert before <= noted <= recorded <= begun
        ok, earlier = {*study.status().ok}, noted
        noted = noted_in(ledger.names())
        assert earlier <= ok <= noted  # the last request may still have been under way

    report = study.run(max_workers=2)

    assert {*report.ok} == {f"case-{number:02}" for number in range(12)} - noted
    assert len(ledger.check()) == len(study.status().ok) == 12
    pd.testing.assert_frame_equal(numbers(study), undisturbed)
    print(
        f"{KILLS} workers killed ({seed=}): {dict(hits)}; 12 cases, {len(noted)} of them done before the last kill; 0 lost"
    )


# Seconds that nothing takes, however busy the machine is: a wait so long is an error in a test.
_PATIENCE = 600.0
# Workers that are killed as the first request of a kind arrives: one prepares, one uploads, one notes how a case ended.
_CERTAIN = {1: r"^GET .*/_study/inputs/", 4: r"^PUT .*/eplus\.", 6: r"^PUT .*/_study/ok/"}


def noted_in(names: list[str]) -> set[str]:
    """The cases of which it is noted that they are ok."""
    return {name.rpartition("/")[2].rsplit(".", 3)[0] for name in names if name.startswith("_study/ok/")}


def step_of(lines: list[str]) -> str:
    """What a worker was about that sent these requests, or none."""
    line = lines[-1] if lines else ""
    if not line.startswith("PUT"):
        return "preparing or simulating"
    return "noting how it ended" if "/_study/" in line else "recording" if "/run.json" in line else "uploading"


@NEEDS_FORK
@pytest.mark.parametrize(
    ("moment", "fate"),
    [("eplus.sql", "reset"), *((moment, fate) for moment in ("run.json", "_study/ok/") for fate in ("reset", "lose"))],
)
def test_a_worker_that_is_killed_as_it_writes_loses_nothing(
    moment: str, fate: str, study: Study, moto: Store, moody: Moody, ledger: Ledger, epw: Path, tmp_path: Path
) -> None:
    """Whether what it was writing arrives or not."""
    study.add_cases(cases(1, epw))
    through = behind(moody, moto, study)
    with started_worker(through.url, through.fs.storage_options, tmp_path) as worker:
        lost: list[str] = []

        def mood(line: str) -> str | None:
            if moment not in line or not (lost or line.startswith("PUT")):
                return None
            # What is to arrive must have been sent whole, so its sender lives until it asks again without a reply.
            if fate == "lose" and not lost:
                lost.append(line)
                return "lose"
            worker.kill()
            return "reset"

        moody.mood = mood
        assert worker.ends_within(_PATIENCE)
    ledger.check()
    assert study.status().ok == (("case-00",) if (moment, fate) == ("_study/ok/", "lose") else ())
    study.run()
    assert ledger.check().keys() == {"case-00"}
    assert study.status().ok == ("case-00",)


# Stores that fail.


def test_a_store_that_fails_now_and_then_is_made_up_for(
    study: Study,
    moto: Store,
    moody: Moody,
    ledger: Ledger,
    epw: Path,
    undisturbed: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No request fails more often than it is repeated, and it does not matter how long the repetitions take."""
    monkeypatch.setattr(retry, "ENOUGH_SECONDS", _PATIENCE)
    chance, met, failed = Random(6), Counter[int | str](), Counter[str]()

    def mood(line: str) -> int | str | None:
        fate = chance.choice((500, 503, "reset", "lose")) if chance.random() < 0.1 and failed[line] < 3 else None
        failed[line] += fate is not None
        met[fate or "none"] += 1
        return fate

    moody.mood = mood
    config = {name: value for name, value in moto.storage_options["config_kwargs"].items() if name != "retries"}
    shaky = behind(moody, moto, study, config_kwargs=config)
    shaky.add_cases(cases(6, epw))

    assert len(shaky.run(max_workers=3).ok) == 6

    pd.testing.assert_frame_equal(numbers(shaky), undisturbed.iloc[:6])
    assert len(ledger.check()) == 6
    print(dict(met))
    assert all(met[fate] for fate in (500, 503, "reset", "lose"))


def test_access_that_expires_ends_the_run_at_once(
    study: Study, moto: Store, moody: Moody, ledger: Ledger, epw: Path, no_leftovers: Path
) -> None:
    study.add_cases(cases(8, epw))
    noted: list[str] = []
    refused: list[str] = []

    def mood(line: str) -> int | None:
        if len(noted) == 2:
            refused.append(line)
            return 403
        noted.extend([line] if line.startswith("PUT") and "/_study/ok/" in line else [])
        return None

    moody.mood = mood
    secrets = {"key": "AKIAEXAMPLE", "secret": "s3cr3t-of-mine", "token": "t0k3n-of-mine"}
    with pytest.raises(IncompleteRunError) as caught:
        behind(moody, moto, study, **secrets).run(max_workers=2)

    error = caught.value
    reasons = [error.__cause__, *error.errors.values()]
    assert all(any(isinstance(exc, PermissionError) for exc in chain_of(reason)) for reason in reasons)
    said = "".join(f"{exc} {exc!r}" for reason in [error, *reasons] for exc in chain_of(reason))
    assert not [secret for secret in secrets.values() if secret in said and secret != "AKIAEXAMPLE"]
    assert "credentials" in str(error)
    assert len(refused) < 60 and len(error.errors) <= 4  # the cases under way, not the others
    ledger.check()
    assert len(study.status().ok) == 2
    assert {run.case for run in error.report.runs} <= {*study.status().ok}

    for kept in no_leftovers.glob("idfkit-fs-run-*"):  # a run that could not be published
        shutil.rmtree(kept)
    assert len(study.run().ok) == 6
    assert len(ledger.check()) == 8


def chain_of(exc: BaseException | None) -> list[BaseException]:
    return [] if exc is None else [exc, *chain_of(exc.__cause__ or exc.__context__)]


# Cases that EnergyPlus ends with an error.


@pytest.mark.usefixtures("real_energyplus")
def test_a_case_that_fails_leaves_the_others_alone(study: Study, ledger: Ledger, epw: Path) -> None:
    study.add_cases([*cases(1, epw), Case("bad", broken(), epw)])
    study.add("slow", endless(), epw, annual=True, timeout=0.05)

    report = study.run()

    assert (report.ok, report.failed) == (("case-00",), ("bad", "slow"))
    assert study.status().states() == {"bad": "failed", "case-00": "ok", "slow": "failed"}
    summary = study.summary()
    assert "invalid Construction Name" in summary.loc["bad", "message"]
    assert summary.loc["bad", "severe_errors"] > 0
    assert "timed out after 0.05 seconds" in summary.loc["slow", "message"]
    assert study.result("bad").errors.fatal
    assert not study.result("slow").success
    ledger.check()

    before = ledger.check()
    assert str(study.run()) == "nothing to run"
    assert study.run(["case-00"]).runs[0].how == "found"
    again = study.run(states=("failed",))
    assert (again.failed, again.simulated) == (("bad", "slow"), ("bad", "slow"))
    after = ledger.check()
    assert [case for case in before if before[case]["id"] == after[case]["id"]] == ["case-00"]


def test_a_case_that_gets_more_time_is_run_again(
    study: Study, epw: Path, eplus: EnergyPlusConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(eplus, tmp_path / "gate")
    monkeypatch.setenv("ENERGYPLUS_DIR", gate.installation)
    study.add("slow", variant(), epw, timeout=0.05)
    assert study.run().failed == ("slow",)
    gate.open()
    study.add("slow", variant(), epw, timeout=600, overwrite=True)
    assert study.status().pending == ("slow",)
    assert study.run().ok == ("slow",)


# Two at once.


@NEEDS_FORK
def test_two_workers_on_one_case_leave_a_whole_run(
    pair: Crowd, store: Store, epw: Path, eplus: EnergyPlusConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hows: Counter[str] = Counter()
    for number in range(3):
        monkeypatch.setenv("ENERGYPLUS_DIR", meeting(eplus, tmp_path / f"meeting-{number}"))
        study = Study(f"{store.url}/{uuid.uuid4().hex}", storage_options=store.storage_options)
        study.add("one", variant(), epw)
        for state, how in pair.do(run_it, study.url, store.storage_options, "one"):
            assert state == "ok"
            hows[how] += 1
        ledger = Ledger(store, study)
        assert ledger.check().keys() == {"one"}
        assert len(ledger.names("_study/ok/")) == 1
        assert study.status().ok == ("one",)
        assert study.summary().loc["one", "state"] == "ok"
    assert hows == {"simulated": 6}  # else they did not meet


def meeting(eplus: EnergyPlusConfig, directory: Path) -> str:
    """An installation whose EnergyPlus begins when two have come to it."""
    directory.mkdir()
    here = shlex.quote(str(directory))
    script = (
        f'touch {here}/at-$$; until [ "$(ls {here} | grep -c at-)" -ge 2 ]; do sleep 0.05; done; exec "$EPLUS" "$@"'
    )
    return str(wrapped(eplus, directory / "installation", script).install_dir)


@NEEDS_FORK
def test_three_workers_on_one_case_leave_a_whole_run(study: Study, s3_place: Place, ledger: Ledger, epw: Path) -> None:
    study.add("one", variant(), epw)
    with Crowd(3) as crowd:
        assert {state for state, _ in crowd.do(run_it, s3_place.url, s3_place.options, "one")} == {"ok"}
    assert ledger.check().keys() == {"one"}
    assert study.status().ok == ("one",)


@NEEDS_FORK
def test_two_runs_published_at_one_url_leave_one_whole(
    pair: Crowd, store: Store, epw: Path, eplus: EnergyPlusConfig, tmp_path: Path
) -> None:
    directories = [str(tmp_path / name) for name in ("left", "right")]
    for number, directory in enumerate(directories):
        model = variant(0.1 + number)
        idfkit.simulation.simulate(model, epw, output_dir=directory, energyplus=eplus)
        Path(directory, "eplusown.csv").write_bytes(Random(number).randbytes(2**20))
    for _ in range(4):
        study = Study(f"{store.url}/{uuid.uuid4().hex}", storage_options=store.storage_options)
        published = pair.do(publish_one, f"{study.url}/run", store.storage_options, directories)
        assert any(published)
        records = Ledger(store, study).whole_runs()
        assert records.keys() == {"run"}
        assert open_result(f"{study.url}/run", storage_options=store.storage_options).errors.simulation_complete


@NEEDS_FORK
@pytest.mark.parametrize("place", ["local", "moto", "seaweed"], indirect=True)
def test_of_two_who_add_one_case_one_wins(pair: Crowd, place: Place) -> None:
    for number in range(4):
        here = place.joinpath(str(number))
        added = pair.do(add, here.url, here.options, "one", [0.1, 0.2])
        assert sorted(added) == [False, True]
        study = Study(here.url, storage_options=here.options)
        assert study.status().pending == ("one",)
        study.add("one", variant([0.1, 0.2][added.index(True)]), design_day=True)  # that is it
        with pytest.raises(CaseExistsError):
            study.add("one", variant([0.1, 0.2][added.index(False)]), design_day=True)
        assert pair.do(add, here.url, here.options, "same", [0.1, 0.1]) == [True, True]


# What cannot be read.

NEWER = {"version": 99, "idfkit_fs_version": "99.0"}


@pytest.fixture
def half_done(study: Study, ledger: Ledger, epw: Path) -> Study:
    """Two cases that were run, and one that was not."""
    study.add_cases(cases(2, epw))
    study.run()
    study.add("later", variant(0.3), epw)
    return study


def newer_or_damaged(ledger: Ledger, name: str) -> Iterator[tuple[str, str]]:
    """Put something else in an object's place: what, and what an error is to say of it."""
    good = json.dumps(ledger.read(name)).encode()
    url = name.replace(".", r"\.")
    ledger.edit(name, **NEWER)
    yield "newer", f"{url} .*newer idfkit-fs"
    for bad in (b"", b"{", b"null", b"[]", b"\xff\xfe", good[: len(good) // 2], b'{"format": "something else"}'):
        ledger.put(name, bad)
        yield "damaged", f"{url} is not"
    ledger.put(name, json.dumps({"format": json.loads(good)["format"], "version": 1}).encode())
    yield "damaged", f"{url} is a damaged record"
    ledger.put(name, good)


def test_a_study_of_a_newer_format_is_refused(half_done: Study, ledger: Ledger) -> None:
    for what, message in newer_or_damaged(ledger, "_study/study.json"):
        if what == "damaged" and "is a damaged" in message:
            continue  # a study without metrics needs nothing but its format
        calls: list[Callable[[], object]] = [
            half_done.status,
            half_done.run,
            half_done.summary,
            lambda: run_case(half_done.url, "later", half_done.fs.storage_options),
            lambda: half_done.add("another", variant()),
        ]
        for call in calls:
            with pytest.raises(RecordError, match=message) as caught:
                call()
            assert half_done.url in str(caught.value)
    assert len(half_done.status().ok) == 2


def test_a_job_of_a_newer_format_is_refused(half_done: Study, ledger: Ledger, epw: Path) -> None:
    half_done.add("bad", variant(0.4), epw)
    for _what, message in newer_or_damaged(ledger, "_study/jobs/bad.json"):
        with pytest.raises(RecordError, match=message):
            run_case(half_done.url, "bad", half_done.fs.storage_options)
        with pytest.raises((RecordError, IncompleteRunError), match=message):
            half_done.run(["bad"])
        with pytest.raises(RecordError, match=message):
            half_done.add("bad", variant())
        assert half_done.status().pending == ("bad", "later")
        summary = half_done.summary()
        assert summary["state"].to_dict() == {
            "bad": "damaged",
            "case-00": "ok",
            "case-01": "ok",
            "later": "pending",
        }
        assert "jobs/bad.json" in summary.loc["bad", "message"]
    half_done.add("bad", variant(0.4), epw, overwrite=True)
    assert half_done.run(["bad"]).ok == ("bad",)


def test_an_outcome_of_a_newer_format_is_a_damaged_row(half_done: Study, ledger: Ledger) -> None:
    good = half_done.summary()
    name = ledger.outcome("case-00")
    for _what, message in newer_or_damaged(ledger, name):
        if not ledger.raw.get(f"{ledger.prefix}/{name}"):  # void
            assert half_done.status().pending == ("case-00", "later")
            continue
        summary = half_done.summary()
        assert summary["state"].to_dict() == {"case-00": "damaged", "case-01": "ok", "later": "pending"}
        assert pd.Series([summary.loc["case-00", "message"]]).str.contains(message).all()
        assert summary.loc["case-01", "site_energy_kwh"] == good.loc["case-01", "site_energy_kwh"]
        assert half_done.status().ok == ("case-00", "case-01")
    pd.testing.assert_frame_equal(half_done.summary(), good)


def test_a_run_of_a_newer_format_is_refused(half_done: Study, ledger: Ledger) -> None:
    for _what, message in newer_or_damaged(ledger, "case-00/run.json"):
        with pytest.raises(RecordError, match=message):
            half_done.result("case-00")
        assert half_done.status().ok == ("case-00", "case-01")
        assert half_done.summary()["state"]["case-00"] == "ok"


def test_a_case_whose_record_is_damaged_is_run_again_when_it_is_asked_for(half_done: Study, ledger: Ledger) -> None:
    ledger.put("case-00/run.json", b"{")
    assert half_done.run(["case-00"]).simulated == ("case-00",)
    assert ledger.check().keys() == {"case-00", "case-01"}


# What cannot be added.

NO_NAMES = [
    *("", " ", ".", "..", ".hidden", " a", "a ", "a.", "_study", "_study2", "a/b", "/a", "a\\b", "a:b", "a|b", 'a"b'),
    *(
        "a*b",
        "a?b",
        "<a>",
        "a\nb",
        "a\x00b",
        "a\x7fb",
        "a\u200bb",
        "a\u2028b",
        "a" * 201,
        "é" * 101,
        "e\u0301",
        "a\ud800",
    ),
]


@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
def test_a_name_that_cannot_be_one_is_refused(name: str, tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    with pytest.raises(LocationError, match="cannot be the name of a case"):
        study.add(name, variant(), design_day=True)
    with pytest.raises(LocationError):
        run_case(study.url, name)
    with pytest.raises(LocationError):
        study.result(name)
    assert not (tmp_path / "study" / "_study" / "jobs").exists()


@pytest.mark.parametrize("name", [None, 3, Path("a"), b"a"])
def test_a_name_is_a_text(name: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="must be a str"):
        Study(tmp_path).add(name, variant(), design_day=True)


@settings(max_examples=300, deadline=None)
@given(st.text(min_size=1, max_size=220) | st.from_regex(r"[ -~]{1,12}(\.[0-9a-f]{16}\.json)?", fullmatch=True))
def test_any_name_that_is_accepted_can_be_found_again(name: str) -> None:
    key = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
    try:
        path = job_path_of(name)
    except LocationError:
        return
    assert parse_jobs([path]) == [name]
    run = EndedRun.of(key, uuid.uuid4().hex)
    assert parse_outcomes({outcome_path("ok", name, run).rpartition("/")[2]: 1}) == {name: {run}}
    with tempfile.TemporaryDirectory(prefix="idfkit-fs-test-") as directory:
        fs = FsspecFileSystem.from_url(directory)
        fs.write_bytes(path, b"x")
        fs.write_bytes(outcome_path("failed", name, run), b"x")
        fs.write_bytes(outcome_path("failed", name, EndedRun.of(key, "f" * 32)), b"")  # void
        fs.write_bytes(f"{name}/run.json", b"x")
        assert parse_jobs(fs.glob(JOBS, "*")) == [name]
        assert parse_outcomes(fs.list_sizes(outcomes_directory("failed"))) == {name: {run}}
        assert fs.read_bytes(path) == fs.read_bytes(f"{name}/run.json") == b"x"
        assert fs.glob(name, "**") == [f"{name}/run.json"]
        if os.name != "nt":
            assert sorted(os.listdir(directory)) == sorted(["_study", name])


def job_path_of(name: str) -> str:
    from idfkit_fs.studies.layout import check_case

    return job_path(check_case(name))


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ({"model": "garbage.idf"}, ModelError, "garbage.idf"),
        ({"model": "garbage.epJSON"}, ModelError, "garbage.epJSON"),
        ({"model": "missing.idf"}, ModelError, "missing.idf"),
        ({"model": "empty.idf"}, ModelError, "empty.idf"),
        ({"model": "binary.idf"}, ModelError, "binary.idf"),
        ({"model": "directory"}, ModelError, "directory"),
        ({"weather": "garbage.idf"}, ModelError, "not an EPW file"),
        ({"weather": "empty.idf"}, ModelError, "not an EPW file"),
        ({"weather": "missing.epw"}, ModelError, "missing.epw"),
        ({"weather": "directory"}, ModelError, "directory"),
        ({"anual": True}, TypeError, "did you mean 'annual'"),
        ({"energyplus": None}, TypeError, "worker"),
        ({"on_progress": print}, TypeError, "worker"),
        ({"include": "*.sql"}, TypeError, r"\['\*\.sql'\]"),
    ],
    ids=lambda value: next(iter(value.items())) if isinstance(value, dict) else "",
)
def test_what_cannot_be_a_case_is_not_added(
    what: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    (tmp_path / "garbage.idf").write_text("This is no model, but a sentence.\n")
    (tmp_path / "garbage.epJSON").write_text('{"Building": [1, 2')
    (tmp_path / "empty.idf").write_bytes(b"")
    (tmp_path / "binary.idf").write_bytes(Random(0).randbytes(4096))
    (tmp_path / "directory").mkdir()
    given: dict[str, Any] = {"model": variant(), "design_day": True, **what}
    for name in {"model", "weather"} & {*what}:
        given[name] = tmp_path / what[name]
    study = Study(tmp_path / "study")
    with pytest.raises(error, match=message):
        study.add("one", **given)
    assert not [path.name for path in (tmp_path / "study").rglob("*") if path.is_file()]


def test_numbers_of_numpy_are_accepted(tmp_path: Path) -> None:
    study = Study(tmp_path)
    numbers = {"a": np.float64(0.5), "b": np.int64(3), "c": np.bool_(True), "d": np.float32(0.25)}
    study.add("one", variant(), parameters=numbers, design_day=np.bool_(True))  # type: ignore[arg-type]  # on purpose
    summary = study.summary()
    assert summary[["a", "b", "c", "d"]].loc["one"].to_dict() == {"a": 0.5, "b": 3, "c": True, "d": 0.25}


# Many cases.


def test_thousands_of_cases_cost_a_few_listings(
    study: Study, moto: Store, moody: Moody, ledger: Ledger, epw: Path
) -> None:
    from moto.backends import get_backend  # two requests a case would take a minute, and prove nothing

    study.add("case-0000", variant(), epw)
    job = Job.from_json(json.dumps(ledger.read("_study/jobs/case-0000.json")).encode(), "")
    bucket, _, prefix = study.url.removeprefix("s3://").partition("/")
    backend = get_backend("s3")["123456789012"]["aws"]
    for number in range(MANY):
        case = f"case-{number:04}"
        done = outcome_path("ok" if number % 20 else "failed", case, EndedRun.of(job.key, uuid.uuid4().hex))
        for name in (job_path(case), done):
            backend.put_object(bucket, f"{prefix}/{name}", b"{}")

    through = behind(moody, moto, study)
    moody.reset_counters()
    status = through.status()

    assert str(status) == f"{MANY} cases: {MANY - MANY // 20} ok, {MANY // 20} failed, 0 pending"
    assert status.failed[:3] == ("case-0000", "case-0020", "case-0040")
    listings = [line for line in moody.request_lines if "list-type" in line]
    assert MANY // 500 + 1 <= len(listings) <= MANY // 500 + 5
    assert moody.requests <= len(listings) + 4


# Cases that are replaced, lost and removed.


def test_a_case_that_is_replaced_loses_its_run(study: Study, ledger: Ledger, epw: Path) -> None:
    study.add_cases(cases(2, epw))
    study.run()
    before = numbers(study)
    with pytest.raises(CaseExistsError, match="overwrite=True"):
        study.add("case-00", variant(0.3), epw)
    study.add("case-00", variant(0.3), epw, overwrite=True)
    assert study.status().states() == {"case-00": "pending", "case-01": "ok"}
    with pytest.raises(RunNotFoundError, match="has no run yet"):
        study.result("case-00")
    assert ledger.check().keys() == {"case-01"}

    assert study.run().simulated == ("case-00",)
    after = numbers(study)
    assert after.loc["case-00", "site_energy_kwh"] != before.loc["case-00", "site_energy_kwh"]
    assert ledger.check().keys() == {"case-00", "case-01"}
    assert len(ledger.names("_study/ok/")) == 2


def test_a_case_that_asks_for_the_same_keeps_its_run(study: Study, ledger: Ledger, epw: Path) -> None:
    study.add("one", variant(), epw, parameters={"x": 1})
    study.run()
    run = ledger.check()["one"]
    study.add("one", variant(), epw, parameters={"x": 2}, metrics={"heating_gj": HEATING}, overwrite=True)
    assert study.status().pending == ("one",)
    assert study.run().runs == (("one", "ok", "found"),)
    assert ledger.check()["one"] == run
    row = study.summary().loc["one"]
    assert row["x"] == 2 and row["heating_gj"] > 0


@pytest.mark.parametrize(
    ("how", "moment"),
    [
        *(("overwrite", moment) for moment in ("/one/eplus.err", "/one/run.json", "/_study/ok/")),
        *(("remove", moment) for moment in ("/one/run.json", "/_study/ok/")),
    ],
)
def test_a_run_of_a_case_that_was_replaced_meanwhile_is_not_taken_for_the_new_one(
    moment: str, how: str, study: Study, moto: Store, moody: Moody, ledger: Ledger, epw: Path
) -> None:
    study.add("one", variant(0.1), epw, parameters={"x": "old"})

    def replace() -> None:
        if how == "remove":
            study.remove("one")
        study.add("one", variant(0.3), epw, parameters={"x": "new"}, overwrite=how == "overwrite")

    stale = behind(moody, moto, study)
    done = moody.once(f"^PUT .*{moment}", replace)
    with suppress(IncompleteRunError):
        stale.run()
    assert done.is_set()

    assert study.status().pending == ("one",)
    assert study.summary().loc["one", ["state", "x"]].to_list() == ["pending", "new"]
    assert study.run().simulated == ("one",)
    assert study.status().ok == ("one",)
    assert study.summary().loc["one", ["state", "x"]].to_list() == ["ok", "new"]
    record = study.result("one").record
    assert record is not None and record.model_sha256 == ledger.read("_study/jobs/one.json")["model"]["sha256"]


def test_an_outcome_that_was_lost_is_made_again_from_the_run(study: Study, ledger: Ledger, epw: Path) -> None:
    study.add_cases([*cases(1, epw), Case("bad", broken(), epw)])
    study.run()
    before, summary = ledger.check(), study.summary()
    ledger.delete(ledger.outcome("case-00"))
    ledger.delete(ledger.outcome("bad", "failed"))
    assert study.status().pending == ("bad", "case-00")
    assert study.run().runs == (("bad", "failed", "found"), ("case-00", "ok", "found"))
    assert ledger.check() == before
    pd.testing.assert_frame_equal(study.summary(), summary)


@pytest.mark.parametrize("fault", ["changed", "removed"])
def test_a_run_that_is_no_longer_whole_is_made_again(fault: str, study: Study, ledger: Ledger, epw: Path) -> None:
    study.add_cases(cases(1, epw))
    study.run()
    ledger.delete(ledger.outcome("case-00"))
    if fault == "changed":
        ledger.put("case-00/eplus.err", b"something else")
    else:
        ledger.delete("case-00/eplus.err")
    assert study.run().simulated == ("case-00",)
    assert ledger.check().keys() == {"case-00"}


def test_a_run_that_was_lost_is_made_again_when_it_is_asked_for(study: Study, ledger: Ledger, epw: Path) -> None:
    """No listing tells that it is lost, so the case is ok until then."""
    study.add_cases(cases(1, epw))
    study.run()
    ledger.delete("case-00/run.json")
    assert study.status().ok == ("case-00",)
    with pytest.raises(RunNotFoundError, match="The run of case .case-00. is missing, although the case is ok"):
        study.result("case-00")
    assert study.run(["case-00"]).simulated == ("case-00",)
    assert study.result("case-00").success
    assert ledger.check().keys() == {"case-00"}


def test_a_file_that_was_changed_in_the_store_is_not_taken_for_the_run(study: Study, ledger: Ledger, epw: Path) -> None:
    study.add_cases(cases(1, epw))
    study.run()
    ledger.put("case-00/eplus.err", b"something else")
    with pytest.raises(DamagedRunError):
        _ = study.result("case-00").errors


def test_removing_a_case_leaves_nothing_of_it(study: Study, ledger: Ledger, epw: Path) -> None:
    study.add_cases([*cases(2, epw), Case("case-0", broken(), epw), Case("case-00.1", variant(), epw)])
    study.run()
    before = ledger.names()
    with pytest.raises(CaseNotFoundError, match="did you mean 'case-01'"):
        study.remove(["case-00", "case-1"])
    assert ledger.names() == before
    study.remove("case-00")
    gone = {name for name in before if name.startswith(("case-00/", "_study/ok/case-00.")) or "/case-00.json" in name}
    gone -= {ledger.outcome("case-00.1")}
    assert {*before} - {*ledger.names()} == gone
    assert len(gone) > 5
    assert study.status().states() == {"case-0": "failed", "case-00.1": "ok", "case-01": "ok"}
    study.remove(["case-0", "case-00.1", "case-01"])
    assert {name.split("/")[1] for name in ledger.names()} == {"inputs", "study.json"}
    assert study.cases() == []
    study.add_cases(cases(1, epw))
    assert study.status().pending == ("case-00",)
