"""Kill a worker while it runs a case, or hold EnergyPlus until something else was done."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil
from idfkit.simulation import EnergyPlusConfig
from small_office import one_zone
from support.endings import wrapped

from idfkit_fs import Case

__all__ = ["Gate", "kill_a_worker", "long_cases"]

_PATIENCE = 600.0


class Gate:
    """An installation whose EnergyPlus does nothing before the gate is open.

    Args:
        energyplus: The real one.
        directory: A new directory for it.

    Attributes:
        installation: What ``ENERGYPLUS_DIR`` is to be.
    """

    def __init__(self, energyplus: EnergyPlusConfig, directory: Path) -> None:
        directory.mkdir()
        self._arrived, self._closed = directory / "arrived", directory / "closed"
        self._closed.touch()
        arrived, closed = (shlex.quote(str(path)) for path in (self._arrived, self._closed))
        script = f'touch {arrived}; while [ -e {closed} ]; do sleep 0.05; done; exec "$EPLUS" "$@"'
        self.installation = str(wrapped(energyplus, directory / "installation", script).install_dir)

    @property
    def is_reached(self) -> bool:
        """Whether an EnergyPlus waits, or has waited."""
        return self._arrived.exists()

    def open(self) -> None:
        """Let EnergyPlus begin."""
        self._closed.unlink(missing_ok=True)

    def use(self) -> None:
        """Have this process find that installation: what a worker calls first."""
        os.environ["ENERGYPLUS_DIR"] = self.installation


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
