"""An EnergyPlus that gives back what the real one wrote, where the simulation itself is not the point."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import idfkit.simulation
import pandas as pd
from idfkit import IDFDocument
from idfkit.simulation import EnergyPlusConfig
from support.variants import HEATING, variant

from idfkit_fs import Study

__all__ = ["VARIABLE", "Recorded", "Truth", "cell", "recorded_model"]

VARIABLE = "Zone Mean Air Temperature"
# It finds out which run is asked for by the name of the building; any other model is really run.
_PROGRAM = """#!/bin/sh
for model; do :; done
number=$(grep -o 'recorded-[0-9]*' "$model" | head -n 1)
[ -n "$number" ] || exec "{energyplus}" "$@"
cp "{home}/$number"/eplus* . && echo 'EnergyPlus Completed Successfully.'
"""


def recorded_model(number: int) -> IDFDocument:
    """A model that has a recorded run; each has another insulation."""
    model = variant(round(0.05 + 0.05 * number, 2))
    building = next(iter(model["Building"]))
    building.name = f"recorded-{number}"
    return model


@dataclass(frozen=True)
class Truth:
    """What a reader of one recorded run has to find.

    Attributes:
        directory: The run's outputs.
        digests: The SHA-256 of each.
        heating: The cell that differs between the runs.
        series: The temperatures, as they are read from a local copy.
        summary: The row of a local study.
    """

    directory: Path
    digests: dict[str, str]
    heating: float
    series: pd.DataFrame
    summary: pd.Series[Any]


class Recorded:
    """Real runs, and an installation of EnergyPlus that repeats them.

    Args:
        home: A directory for both.
        energyplus: The real EnergyPlus.
        weather: The weather file.
        count: The number of runs.

    Attributes:
        truths: The runs, by their numbers.
        installation: What ``ENERGYPLUS_DIR`` is set to.
    """

    def __init__(self, home: Path, energyplus: EnergyPlusConfig, weather: Path, count: int = 3) -> None:
        self.weather = weather
        self.installation = home / "EnergyPlus"
        self.installation.mkdir(parents=True)
        os.symlink(energyplus.idd_path, self.installation / "Energy+.idd")
        program = self.installation / "energyplus"
        program.write_text(_PROGRAM.format(home=home, energyplus=energyplus.executable))
        program.chmod(0o755)
        self.home, self.energyplus = home, energyplus
        self.truths = [self.truth_of(recorded_model(number), f"recorded-{number}") for number in range(count)]

    def truth_of(self, model: IDFDocument, name: str) -> Truth:
        """Run a model for real, and read what a reader has to find."""
        directory = self.home / name
        result = idfkit.simulation.simulate(model, self.weather, output_dir=directory, energyplus=self.energyplus)
        assert result.success, result.errors.summary()
        for path in directory.iterdir():
            if not path.name.startswith("eplus"):
                path.unlink()
        study = Study(self.home / f"local-{name}")
        study.adopt("case", directory)
        local = study.result("case")
        digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}
        return Truth(directory, digests, cell(local), local.timeseries(VARIABLE), study.summary().loc["case"])


def cell(run: Any) -> float:
    """The heating energy of a run."""
    report, table, row, column = HEATING
    found = run.tabular(report=report, table=table, row=row, column=column)
    return float(found["value"].iloc[0])
