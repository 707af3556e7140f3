"""A run begins with its first case, reads each job once, and simulates one of those that ask for the same."""

from __future__ import annotations

import os
import threading
import uuid
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from click.testing import CliRunner
from support.made_cases import make_cases, make_job_of
from support.proxy import FaultProxy
from support.servers import Store

from idfkit_fs import FsspecFileSystem, Study
from idfkit_fs._cli.commands import commands
from idfkit_fs.errors import IncompleteRunError
from idfkit_fs.studies import engine
from idfkit_fs.studies.layout import job_path
from idfkit_fs.studies.plan import Planned
from idfkit_fs.studies.report import CaseRun
from idfkit_fs.studies.stored import read_job


class Recorder(Executor):
    """Says of each case what the test wants, and runs nothing."""

    def __init__(self, failing: tuple[str, ...] = ()) -> None:
        self.submitted: list[Planned] = []
        self.first = threading.Event()
        self._failing = failing

    def submit(self, _function: Any, /, *args: Any, **_kwargs: Any) -> Future[Any]:
        planned: Planned = args[-1]
        self.submitted.append(planned)
        self.first.set()
        future: Future[Any] = Future()
        state = "failed" if planned.case in self._failing else "ok"
        future.set_result(CaseRun(planned.case, state, "reused" if planned.source else "simulated"))
        return future


@pytest.fixture
def study() -> Study:
    return Study(f"memory://{uuid.uuid4().hex}")


def with_model(study: Study, models: dict[str, str]) -> None:
    """Pending cases, and the model of each."""
    make_cases(study.fs.write_bytes, models, ended=False)
    for case, model in models.items():
        study.fs.write_bytes(job_path(case), make_job_of(case, model).to_json())


def test_the_first_case_begins_before_the_last_job_is_read(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"case-{number:03}" for number in range(200)]
    make_cases(study.fs.write_bytes, names, ended=False)
    recorder = Recorder()

    def read(fs: FsspecFileSystem, case: str) -> Any:
        assert case < "case-100" or recorder.first.wait(600), "no case has begun, although 100 jobs were read"
        return read_job(fs, case)

    monkeypatch.setattr(engine, "read_job", read)
    report = study.run(executor=recorder)
    assert len(report.simulated) == 200
    assert sorted(planned.case for planned in recorder.submitted) == names


def test_of_cases_with_the_same_job_the_first_is_simulated(study: Study) -> None:
    with_model(study, {f"case-{number:02}": "same" for number in range(40)} | {"other": "other"})
    for _ in range(3):  # whichever job is read first
        recorder = Recorder()
        report = study.run(executor=recorder)
        assert report.simulated == ("case-00", "other")
        assert len(report.reused) == 39
        assert {planned.source.url for planned in recorder.submitted if planned.source} == {f"{study.url}/case-00"}


def test_one_that_failed_is_copied_by_nobody(study: Study) -> None:
    with_model(study, dict.fromkeys(("a", "b", "c", "d"), "same"))
    recorder = Recorder(failing=("a", "b"))
    report = study.run(executor=recorder)
    assert len(report.runs) == 4
    assert "a" in report.simulated
    # Which one follows the one that failed depends on whose job is read when.
    copied = {planned.source.url for planned in recorder.submitted if planned.source}
    assert copied in ({f"{study.url}/c"}, {f"{study.url}/d"})


def test_a_run_that_exists_is_a_source_for_all(study: Study) -> None:
    make_cases(study.fs.write_bytes, ["done"])
    with_model(study, {"a": "done", "b": "done", "c": "c"})
    recorder = Recorder()
    report = study.run(["a", "b", "c"], executor=recorder)
    assert (report.reused, report.simulated) == (("a", "b"), ("c",))


def test_nothing_is_read_or_copied_where_nothing_may_be(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    with_model(study, {"a": "same", "b": "same"})
    monkeypatch.setattr(engine, "read_job", lambda *_args: pytest.fail("a job was read"))
    assert study.run(executor=Recorder(), reuse=False).simulated == ("a", "b")


def test_a_job_that_cannot_be_read_does_not_hold_up_the_others(study: Study) -> None:
    with_model(study, {"a": "same", "b": "same", "c": "c"})
    study.fs.write_bytes(job_path("a"), b"damaged")
    assert {run.case for run in study.run(executor=Recorder()).runs} == {"a", "b", "c"}


def test_an_executor_that_is_broken_stops_the_run(study: Study) -> None:
    make_cases(study.fs.write_bytes, [f"case-{number:02}" for number in range(50)], ended=False)

    def fail(*_args: object) -> Future[Any]:
        raise RuntimeError("broken")

    recorder = Recorder()
    recorder.submit = fail  # type: ignore[method-assign]  # replaced on purpose
    with pytest.raises(IncompleteRunError) as caught:
        study.run(executor=recorder)
    assert len(caught.value.errors) >= 1


# What a task of an array job asks.


@pytest.mark.parametrize("server", ["moto", "seaweed"])
def test_a_task_with_nothing_to_do_lists_once(server: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(server)
    url = f"{store.url}/{uuid.uuid4().hex}"
    study = Study(url, storage_options=store.storage_options)
    make_cases(study.fs.write_bytes, ["a", "b"], files=[])
    make_cases(study.fs.write_bytes, ["c"], files=[], success=False)
    host, _, port = store.endpoint.removeprefix("http://").partition(":")
    with FaultProxy(host, int(port)) as proxy:
        reached = store.through(proxy.endpoint).storage_options
        options = [f"-o{name}={value}" for name, value in reached.items() if isinstance(value, str)]
        result = CliRunner().invoke(commands, ["run", url, "--index", "0", "--of", "2", *options])
        lines = list(proxy.request_lines)
    assert result.exit_code == 0, result.output
    assert "0 of 3 cases to run" in result.output
    assert sum("list-type" in line for line in lines) == 3
    assert len(lines) == 4  # and study.json


def test_results_make_no_filesystem_for_each_case(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cases(study.fs.write_bytes, [f"case-{number}" for number in range(5)])
    monkeypatch.setattr("idfkit_fs._fs.sync.route_url", lambda *_args: pytest.fail("a filesystem was made"))
    found = study.results()
    assert all(result.home.store is study.fs.store for result in found.values())
    assert found["case-3"].url == f"{study.url}/case-3" and os.fspath(found["case-3"].run_dir)
