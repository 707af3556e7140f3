"""Kill a worker while it runs a case."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil
from small_office import one_zone

from idfkit_fs import Case

__all__ = ["kill_a_worker", "long_cases"]

_PATIENCE = 600.0


def long_cases(count: int, weather: Path) -> list[Case]:
    """Cases of different models that run for more than a moment."""
    models = [one_zone() for _ in range(count)]
    for number, model in enumerate(models):
        model["Material"]["Insulation"].thickness = 0.1 + 0.01 * number
    return [Case(f"case-{number}", model, weather, options={"annual": True}) for number, model in enumerate(models)]


def kill_a_worker(processes: Callable[..., Iterable[psutil.Process]]) -> None:
    """Wait until one of these processes, or of what they started, is EnergyPlus; kill it and the worker that started it.

    It is halted first, so that the case cannot end before its worker does.
    """
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        for process in processes(recursive=True):
            with suppress(psutil.Error):
                if "energyplus" in process.name().lower():
                    process.suspend()
                    worker = process.parent()
                    assert worker is not None
                    worker.kill()
                    process.kill()
                    return
        time.sleep(0.1)  # looking more often would starve the workers
    raise AssertionError("EnergyPlus did not start")
