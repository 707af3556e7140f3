"""Runs that end in each of the ways in which EnergyPlus ends, made by EnergyPlus itself."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from idfkit import IDFDocument, write_idf
from idfkit.simulation import EnergyPlusConfig
from small_office import failing_model, one_zone
from support.models import everything, period, silent
from support.signals import inherited_signals

__all__ = ["ENDINGS", "Ended", "end", "long_run", "only_on", "wrapped"]


class Ended(NamedTuple):
    """What EnergyPlus left: where, its exit code, and what it printed."""

    directory: Path
    exit_code: int
    printed: str


def end(
    model: IDFDocument,
    directory: Path,
    eplus: EnergyPlusConfig,
    *arguments: str,
    encoding: str = "utf-8",
    kill: tuple[str, signal.Signals] | None = None,
) -> Ended:
    """Run EnergyPlus, and kill it with a signal as soon as it prints a text."""
    directory.mkdir(parents=True, exist_ok=True)
    idf = directory / "model.idf"
    idf.write_bytes(write_idf(model).encode(encoding))
    command = [str(eplus.executable), "-d", str(directory), "-p", "eplus", "-s", "C", "-x", *arguments, str(idf)]
    printed: list[str] = []
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with inherited_signals(), subprocess.Popen(command, cwd=directory, **pipes) as process:
        for line in process.stdout:
            printed.append(line)
            if kill and kill[0] in line:
                process.send_signal(kill[1])
                kill = None
        exit_code = process.wait()
    return Ended(directory, exit_code, "".join(printed))


def long_run() -> IDFDocument:
    """A year with every output, which takes two seconds and writes 20 MB."""
    return period(everything(), (1, 1), (12, 31))


def without(*files: str, model: Callable[[], IDFDocument] = silent) -> IDFDocument:
    """A model that switches files off."""
    document = model()
    document.add("OutputControl:Files", **dict.fromkeys((f"output_{name}" for name in files), "No"))
    return document


def burning(watts: float) -> IDFDocument:
    """A zone that is heated so much that EnergyPlus finds it severe, or gives up."""
    model = silent()
    model.removeidfobjects(list(model["HVACTemplate:Zone:IdealLoadsAirSystem"]))
    (control,) = model["SimulationControl"]
    control.do_zone_sizing_calculation = "No"
    model.add(
        "OtherEquipment",
        "Fire",
        zone_or_zonelist_or_space_or_spacelist_name="Room",
        schedule_name="Occupancy",
        design_level_calculation_method="EquipmentLevel",
        design_level=watts,
    )
    return model


def mains() -> IDFDocument:
    """One severe error, of which EnergyPlus says that it can go on."""
    model = silent()
    model.add("Site:WaterMainsTemperature", calculation_method="CorrelationFromWeatherFile")
    return model


def umlaut() -> IDFDocument:
    """A construction that does not exist, with a name that is not ASCII."""
    model = failing_model()
    next(iter(model["BuildingSurface:Detailed"])).construction_name = "Mörtel"
    return model


_DESIGN_DAYS = ("-D",)
ENDINGS: dict[str, tuple[Callable[[], IDFDocument], tuple[str, ...]]] = {
    "completed": (silent, _DESIGN_DAYS),
    "series": (lambda: _design_days(one_zone()), _DESIGN_DAYS),
    "no end": (lambda: without("end"), _DESIGN_DAYS),
    "no sql": (lambda: without("sqlite"), _DESIGN_DAYS),
    "no end, no sql": (lambda: without("end", "sqlite"), _DESIGN_DAYS),
    "failed": (failing_model, _DESIGN_DAYS),
    "failed, no end": (lambda: without("end", model=failing_model), _DESIGN_DAYS),
    "no weather": (silent, ()),
    "one severe": (mains, _DESIGN_DAYS),
    "many severe": (lambda: burning(70_000.0), _DESIGN_DAYS),
    "burnt": (lambda: burning(130_000.0), _DESIGN_DAYS),
    "converted": (silent, ("--convert-only",)),
    "wrong argument": (silent, ("--nonsense",)),
}
"""Models and arguments by a name."""


def _design_days(model: IDFDocument) -> IDFDocument:
    model.add("OutputControl:Files", output_csv="Yes")
    return model


def only_on(directory: Path, *names: str) -> Path:
    """Leave nothing of a copied run but some files."""
    for path in directory.iterdir():
        if path.name not in names:
            path.unlink()
    return directory


def wrapped(eplus: EnergyPlusConfig, directory: Path, script: str) -> EnergyPlusConfig:
    """An installation whose program is a script, which finds EnergyPlus itself in ``$EPLUS``."""
    directory.mkdir()
    for path in eplus.install_dir.iterdir():
        if path != eplus.executable:
            (directory / path.name).symlink_to(path)
    program = directory / eplus.executable.name
    program.write_text(f"#!/bin/sh\nEPLUS={shlex.quote(os.fspath(eplus.executable))}\n{script}\n")
    program.chmod(0o755)
    return EnergyPlusConfig.from_path(directory)
