"""What the other processes of these tests do: each function runs in a process of its own."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support.readers import CONTEXT
from support.variants import variant

from idfkit_fs import Study, publish, run_case
from idfkit_fs.errors import CaseExistsError, RunExistsError

__all__ = ["CONTEXT", "Worker", "add", "publish_one", "run_it", "started_worker"]

_PATIENCE = 600.0


class Worker:
    """A process, with whatever it starts, that runs a study and may be killed."""

    def __init__(self, process: Any) -> None:
        self._process = process

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends by itself before so many seconds are over."""
        self._process.join(seconds)
        return self._process.exitcode is not None

    def kill(self) -> None:
        """Kill it, and EnergyPlus with it; it may have ended just now."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


@contextmanager
def started_worker(url: str, options: dict[str, Any], home: Path) -> Iterator[Worker]:
    """A process that is connected to the store and begins to run a study just now; killed at the end."""
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_run_study, args=(url, options, str(home), os.environ["ENERGYPLUS_DIR"], there))
    process.start()
    worker = Worker(process)
    try:
        assert here.poll(_PATIENCE) and here.recv() == "ready"
        yield worker
    finally:
        if process.is_alive():
            worker.kill()
        process.join()
        here.close()
        there.close()


def _run_study(url: str, options: dict[str, Any], home: str, energyplus: str, ready: Any) -> None:
    os.setsid()
    os.environ |= {"XDG_CACHE_HOME": home, "ENERGYPLUS_DIR": energyplus}  # not that of the server of forks
    tempfile.tempdir = home
    study = Study(url, storage_options=options)
    study.status()
    ready.send("ready")
    study.run(max_workers=2)


def run_it(_number: int, url: str, options: dict[str, Any], case: str) -> tuple[str, str]:
    """Run a case: its state, and how."""
    run = run_case(url, case, options)
    return run.state, run.how


def publish_one(number: int, url: str, options: dict[str, Any], directories: list[str]) -> bool:
    """Publish a run, each process another one; whether it was published."""
    try:
        publish(directories[number], url, storage_options=options)
    except RunExistsError:
        return False
    return True


def add(number: int, url: str, options: dict[str, Any], name: str, thicknesses: list[float]) -> bool:
    """Add a case, each process with another thickness of the insulation; whether it was added."""
    try:
        Study(url, storage_options=options).add(name, variant(thicknesses[number]), design_day=True)
    except CaseExistsError:
        return False
    return True
