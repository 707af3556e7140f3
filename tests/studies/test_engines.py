"""Whatever runs the cases of a study: pools of processes, dask, a notebook's loop; and runs that are copied instead."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from dask.distributed import Client, LocalCluster
from idfkit.simulation import EnergyPlusConfig
from support.killing import Gate, kill_a_worker, long_cases
from support.ledger import Ledger, numbers
from support.places import Place
from support.servers import Store
from support.signals import inherited_signals
from support.variants import broken, cases, endless, variant
from support.workers import CONTEXT

from idfkit_fs import Case, Study, run_case
from idfkit_fs.errors import CaseNotFoundError, IncompleteRunError, RecordError, StudyNotFoundError


@pytest.fixture(scope="module")
def dask_executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    """Two worker processes."""
    directory = str(tmp_path_factory.mktemp("dask"))
    dask.config.set(temporary_directory=directory)
    cluster = LocalCluster(  # type: ignore[no-untyped-call]  # dask's types are partial
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
        local_directory=directory,
    )
    with cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]  # dask's types are partial
        yield client.get_executor()


@pytest.fixture(scope="module")
def process_executor() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, CONTEXT) as pool:
        yield pool


@pytest.fixture(scope="module")
def thread_executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(params=["process", "dask", "thread"])
def executor(request: pytest.FixtureRequest) -> Executor:
    found: Executor = request.getfixturevalue(f"{request.param}_executor")
    return found


# Engines.


def test_an_executor_runs_a_study(executor: Executor, study: Study, ledger: Ledger, epw: Path) -> None:
    study.add_cases([*cases(4, epw), Case("bad", broken(), epw)])
    study.add("case-03 again", variant(0.08), epw)

    report = study.run(executor=executor)

    assert str(report) == "6 cases: 5 simulated, 1 reused; 1 of them failed"
    assert (report.failed, report.reused) == (("bad",), ("case-03 again",))
    assert study.status().failed == ("bad",)
    assert len(ledger.check()) == len(study.summary()) == 6
    assert str(study.run(executor=executor)) == "nothing to run"
    assert study.result("case-03 again").success


def test_an_executor_passes_on_what_went_wrong(executor: Executor, study: Study, ledger: Ledger, epw: Path) -> None:
    study.add_cases(cases(2, epw))
    good = ledger.read("_study/jobs/case-01.json")
    ledger.put("_study/jobs/case-01.json", b"{")
    with pytest.raises(IncompleteRunError, match="case-01.*not JSON") as caught:
        study.run(executor=executor)
    assert isinstance(caught.value.__cause__, RecordError)
    assert (caught.value.report.ok, [*caught.value.errors]) == (("case-00",), ["case-01"])
    with pytest.raises(CaseNotFoundError, match="no case 'none'") as refused:
        executor.submit(run_case, study.url, "none", study.fs.storage_options).result()
    assert refused.value.filename == study.url

    ledger.put("_study/jobs/case-01.json", json.dumps(good).encode())
    assert study.run(executor=executor).ok == ("case-01",)
    assert len(ledger.check()) == 2


def test_cases_that_an_executor_cancels_are_reported(study: Study, ledger: Ledger, epw: Path) -> None:
    study.add_cases(cases(2, epw))
    released, queued = threading.Event(), threading.Semaphore(0)

    class Busy(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Any:
            future = super().submit(*args, **kwargs)
            queued.release()
            return future

    with Busy(1) as busy, ThreadPoolExecutor(1) as other:
        busy.submit(released.wait)
        report = other.submit(study.run, executor=busy)
        for _ in range(3):
            assert queued.acquire(timeout=600)
        busy.shutdown(wait=False, cancel_futures=True)
        released.set()
        with pytest.raises(IncompleteRunError, match="'case-00' and 1 more .*: the executor cancelled the case; run"):
            report.result()
    assert study.status().pending == ("case-00", "case-01")
    assert ledger.check() == {}


@pytest.fixture
def local_study(tmp_path: Path, epw: Path, no_leftovers: Path) -> Iterator[Study]:
    """Two cases on a local disk, whose server no busy test can starve."""
    study = Study(tmp_path / "study")
    study.add_cases(long_cases(2, epw))
    yield study
    for left in no_leftovers.glob("idfkit-fs-run-*"):  # a worker that was killed could not remove it
        shutil.rmtree(left)


@pytest.fixture
def gate(eplus: EnergyPlusConfig, tmp_path: Path) -> Iterator[Gate]:
    """An EnergyPlus that cannot end before a worker was killed."""
    gate = Gate(eplus, tmp_path / "gate")
    yield gate
    gate.open()


@pytest.mark.faults
@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_pool_whose_worker_is_killed_is_reported_and_the_study_goes_on(
    method: str, local_study: Study, gate: Gate
) -> None:
    context = multiprocessing.get_context(method)
    with ThreadPoolExecutor(1) as other, ProcessPoolExecutor(2, context, initializer=gate.use) as pool:
        report = other.submit(local_study.run, executor=pool)
        try:
            kill_a_worker(psutil.Process().children)
        finally:
            gate.open()
        with pytest.raises(
            IncompleteRunError,
            match=r"terminated abruptly.*(a worker was killed|run the study again to run these cases)",
        ):
            report.result()
    assert local_study.status().pending

    with ProcessPoolExecutor(2, context) as pool:
        local_study.run(executor=pool)
    assert local_study.status().ok == ("case-0", "case-1") and local_study.verify(deep=True).ok


@pytest.mark.faults
def test_dask_runs_the_case_of_a_killed_worker_again(dask_executor: Executor, local_study: Study, gate: Gate) -> None:
    client: Any = dask_executor._client  # type: ignore[attr-defined]  # that of Dask's executor
    client.run(gate.use)
    with ThreadPoolExecutor(1) as other:
        report = other.submit(local_study.run, executor=dask_executor)
        try:
            kill_a_worker(psutil.Process().children)
        finally:
            gate.open()
        assert str(report.result()) == "2 cases: 2 simulated"
    assert local_study.status().ok == ("case-0", "case-1") and local_study.verify(deep=True).ok


class Silent:
    """Looks like an executor, as submitit's do; its futures have no callbacks."""

    def __init__(self) -> None:
        self.submitted: list[Any] = []

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.submitted.append(args)
        return object()


class Adapted(Silent, Executor):
    """An adapter that forgot to make a future."""


def test_what_is_no_executor_is_refused_before_anything_is_submitted(study: Study, epw: Path) -> None:
    study.add_cases(cases(3, epw))
    silent = Silent()
    with pytest.raises(
        TypeError, match=r"must be a concurrent\.futures\.Executor, not .*Silent; .*docs/engines/other\.md"
    ):
        study.run(executor=silent)  # type: ignore[arg-type]  # that is the point
    assert silent.submitted == []

    adapted = Adapted()
    with pytest.raises(IncompleteRunError, match=r"submit\(\) returned object, and not a concurrent\.futures\.Future"):
        study.run(executor=adapted)
    assert len(adapted.submitted) == 1
    assert study.status().pending == ("case-00", "case-01", "case-02")


def test_a_run_inside_a_running_loop(study: Study, ledger: Ledger, epw: Path) -> None:
    """As in a notebook."""
    study.add_cases(cases(3, epw))

    async def cell() -> None:
        assert run_case(study.url, "case-00", study.fs.storage_options).how == "simulated"
        assert str(study.run()) == "2 cases: 2 simulated"
        with pytest.raises(CaseNotFoundError):
            run_case(study.url, "no such case", study.fs.storage_options)

    asyncio.run(cell())
    assert len(ledger.check()) == 3


def test_a_report_shows_in_a_bar(study: Study, epw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.add_cases(cases(2, epw), progress=True)
    study.run(progress=True)
    study.summary(progress=True)
    shown = capsys.readouterr().err
    name = study.url.rpartition("/")[2]
    assert all(f"{what} {name}: 100 %" in shown for what in ("Adding to", "Running", "Collecting"))


# Interrupts.

INTERRUPTED = """
import json, sys
from idfkit_fs import Study
try:
    Study(sys.argv[1], storage_options=json.loads(sys.argv[2])).run(max_workers=2)
except KeyboardInterrupt as exc:
    kept = exc  # as a notebook keeps the last exception, and with it every frame
    print("interrupted", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for one process alone")
def test_an_interrupt_stops_energyplus_and_publishes_nothing(
    study: Study, ledger: Ledger, epw: Path, tmp_path: Path
) -> None:
    for number in range(3):
        slow = endless()
        next(iter(slow["Building"])).name = f"Slow {number}"
        study.add(f"slow-{number}", slow, epw, annual=True)
    program = [sys.executable, "-c", INTERRUPTED, study.url, json.dumps(study.fs.storage_options)]
    with inherited_signals():
        child = subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
    with child:
        process = psutil.Process(child.pid)
        simulations: set[psutil.Process] = set()
        while len(simulations) < 2 and child.poll() is None:
            for found in process.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if "energyplus" in found.name().lower():
                        simulations.add(found)
        child.send_signal(signal.SIGINT)
        assert child.stdout is not None
        assert child.stdout.readline() == "interrupted\n"
        _, alive = psutil.wait_procs(simulations, timeout=600)
        assert alive == []
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith("idfkit-fs-run-")] == []
        child.communicate("")
    assert child.returncode == 0
    assert {name.partition("/")[0] for name in ledger.names()} == {"_study"}
    assert study.status().pending == ("slow-0", "slow-1", "slow-2")


# Runs that are copied.


@pytest.fixture
def other(moto: Store, epw: Path) -> Study:
    """Another study in the same store, which has been run."""
    found = Study(f"{moto.url}/{uuid.uuid4().hex}", storage_options=moto.storage_options)
    found.add_cases(cases(2, epw))
    found.run()
    return found


def renamed(count: int, epw: Path) -> list[Case]:
    """The cases by other names, with other parameters."""
    return [
        Case(f"copy-{number}", case.model, case.weather, {"number": number})
        for number, case in enumerate(cases(count, epw))
    ]


@pytest.mark.parametrize("place", ["moto", "seaweed", "local"], indirect=True)
def test_runs_of_another_study_are_copied(place: Place, other: Study, moto: Store, epw: Path) -> None:
    study = Study(place.url, storage_options=place.options)
    study.add_cases(renamed(3, epw))

    report = study.run(reuse=other)

    assert (report.reused, report.simulated) == (("copy-0", "copy-1"), ("copy-2",))
    theirs = {case: other.result(case).record for case in other.cases()}
    for number in range(2):
        copied = study.result(f"copy-{number}").record
        original = theirs[f"case-0{number}"]
        assert copied is not None and original is not None
        assert copied.id != original.id
        assert (copied.files, copied.job, copied.finished) == (original.files, original.job, original.finished)
        with study.result(f"copy-{number}") as result:
            assert all(result.files.read_bytes(entry.name) for entry in copied.files if entry.size)
    assert study.summary()["number"].to_list() == [0, 1, 2]
    ours, before = numbers(study).iloc[:2], numbers(other)
    assert ours["site_energy_kwh"].to_list() == before["site_energy_kwh"].to_list()
    assert {case: other.result(case).record for case in other.cases()} == theirs


def test_a_study_to_copy_from_may_be_a_url(study: Study, other: Study, ledger: Ledger, epw: Path) -> None:
    study.add_cases(renamed(2, epw))
    assert study.run(reuse=other.url).reused == ("copy-0", "copy-1")
    assert len(ledger.check()) == 2
    with pytest.raises(StudyNotFoundError):
        study.run(reuse=f"{other.url}-none")


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        *(("the same store", fault) for fault in ("no record", "no file", "a damaged record", "a changed file")),
        *((where, "a changed database") for where in ("the same study", "the same store", "another store")),
    ],
)
def test_a_run_that_is_no_longer_whole_is_not_copied(
    fault: str, where: str, moto: Store, seaweed: Store, epw: Path
) -> None:
    store = seaweed if where == "another store" else moto
    source = Study(f"{store.url}/{uuid.uuid4().hex}", storage_options=store.storage_options)
    source.add_cases(cases(1, epw))
    source.run()
    theirs = Ledger(store, source)
    if fault == "no record":
        theirs.delete("case-00/run.json")
    elif fault == "no file":
        theirs.delete("case-00/eplus.end")
    else:
        name = {"a damaged record": "run.json", "a changed file": "eplus.end", "a changed database": "eplus.sql"}[fault]
        theirs.put(f"case-00/{name}", b"something else")
    study = (
        source
        if where == "the same study"
        else Study(f"{moto.url}/{uuid.uuid4().hex}", storage_options=moto.storage_options)
    )
    study.add_cases(renamed(1, epw))

    report = study.run(reuse=source)

    assert report.simulated == ("copy-0",)
    with study.result("copy-0") as result:
        assert result.record is not None
        assert [
            entry.name for entry in result.record.files if len(result.files.read_bytes(entry.name)) != entry.size
        ] == []
    assert study.status().states()["copy-0"] == "ok"
