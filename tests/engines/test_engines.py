"""The examples of engines that are large to install, each in a process of its own: ``nox -s engines``."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support.killing import kill_a_worker, long_cases
from support.ledger import Ledger
from support.servers import Store
from support.variants import broken

from idfkit_fs import Study
from idfkit_fs.errors import IncompleteRunError

pytestmark = pytest.mark.engines

EXAMPLES = Path(__file__).parents[2] / "examples" / "engines"
MPI = [str(Path(sysconfig.get_path("scripts"), "mpiexec")), "-n", "3", sys.executable, "-m", "mpi4py.futures"]
COMMANDS = {
    "mpi": MPI,
    "parsl_pool": [sys.executable],
    "ray_executor": [sys.executable],
    "submitit_executor": [sys.executable],
}


class Engine:
    """An example, and a study for it."""

    def __init__(self, example: str, store: Store, directory: Path) -> None:
        url = f"{store.url}/{uuid.uuid4().hex}"
        self.study = Study(url, storage_options=store.storage_options)
        self.ledger = Ledger(store, self.study)
        arguments = ["local"] if example == "submitit_executor" else []
        self._command = [*COMMANDS[example], str(EXAMPLES / f"{example}.py"), url, *arguments]
        self._directory = directory
        self._mark = uuid.uuid4().hex
        self._environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": store.endpoint,
            "AWS_ACCESS_KEY_ID": store.storage_options["key"],
            "AWS_SECRET_ACCESS_KEY": store.storage_options["secret"],
            "IDFKIT_FS_TEST_MARK": self._mark,
            "PYTHONUNBUFFERED": "1",
        }

    def start(self) -> subprocess.Popen[str]:
        with (self._directory / "output.txt").open("a") as output:
            return subprocess.Popen(
                self._command,
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def said(self) -> str:
        return (self._directory / "output.txt").read_text()

    def processes(self, **_: bool) -> Iterator[psutil.Process]:
        """What the example started, wherever in the tree of processes it is."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("IDFKIT_FS_TEST_MARK") == self._mark:
                    yield process

    def end(self) -> None:
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()


@pytest.mark.parametrize(
    ("module", "name", "works"),
    [
        ("mpi4py.futures", "MPIPoolExecutor", True),
        ("parsl.concurrent", "ParslPoolExecutor", True),
        ("loky.process_executor", "ProcessPoolExecutor", True),
        ("distributed.cfexecutor", "ClientExecutor", True),
        ("distributed", "Client", False),
        ("submitit", "AutoExecutor", False),
        ("ray.util.multiprocessing", "Pool", False),
    ],
)
def test_which_executors_are_executors(module: str, name: str, works: bool) -> None:
    """What `Study.run` accepts, and what it refuses because it needs an adapter."""
    assert issubclass(getattr(importlib.import_module(module), name), Executor) == works


def test_a_loky_whose_worker_is_killed_is_reported_and_the_study_goes_on(seaweed: Store, epw: Path) -> None:
    study = Study(f"{seaweed.url}/{uuid.uuid4().hex}", storage_options=seaweed.storage_options)
    study.add_cases(long_cases(2, epw))
    loky = importlib.import_module("loky")
    pool = loky.get_reusable_executor(2)
    with ThreadPoolExecutor(1) as other:
        report = other.submit(study.run, executor=pool)
        kill_a_worker(psutil.Process().children)
        with pytest.raises(IncompleteRunError, match="A worker process managed by the executor was unexpectedly term"):
            report.result()
    assert study.status().pending
    study.run(executor=loky.get_reusable_executor(2))
    assert len(Ledger(seaweed, study).check()) == len(study.status().ok) == 2


def test_submitit_itself_is_refused_before_anything_is_submitted(seaweed: Store, tmp_path: Path, epw: Path) -> None:
    study = Study(f"{seaweed.url}/{uuid.uuid4().hex}", storage_options=seaweed.storage_options)
    study.add_cases(long_cases(1, epw))
    with pytest.raises(TypeError, match="must be a concurrent.futures.Executor, not submitit"):
        study.run(executor=importlib.import_module("submitit").AutoExecutor(folder=tmp_path / "jobs"))
    assert not list(tmp_path.rglob("*.pkl")) and study.status().pending == ("case-0",)


@pytest.fixture(params=COMMANDS)
def engine(request: pytest.FixtureRequest, seaweed: Store, tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(request.param, seaweed, tmp_path)
    yield engine
    engine.end()


def test_an_engine_runs_a_study(engine: Engine, epw: Path) -> None:
    engine.study.add_cases(long_cases(3, epw))
    engine.study.add("again", long_cases(1, epw)[0].model, epw, annual=True)
    engine.study.add("bad", broken(), epw)
    assert engine.start().wait(1200) == 0, engine.said()
    assert "5 cases: 4 simulated, 1 reused; 1 of them failed" in engine.said()
    assert len(engine.ledger.check()) == 5
    assert engine.study.status().failed == ("bad",)


def test_a_worker_that_is_killed_loses_no_case(engine: Engine, request: pytest.FixtureRequest, epw: Path) -> None:
    engine.study.add_cases(long_cases(3, epw))
    process = engine.start()

    def running(**_: bool) -> Iterator[psutil.Process]:
        assert process.poll() is None, engine.said()
        return engine.processes()

    kill_a_worker(running)
    code = process.wait(1200)
    engine.ledger.check()
    if "parsl" in request.node.name or "ray" in request.node.name:  # they run its case again
        assert code == 0, engine.said()
    else:
        assert code != 0 and engine.study.status().pending
        assert engine.start().wait(1200) == 0, engine.said()
    assert len(engine.ledger.check()) == len(engine.study.status().ok) == 3
