"""Runs as other programs leave them: EnergyPlus by its own command line, in each of its styles of names."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from idfkit import IDFDocument, write_idf
from idfkit.simulation import EnergyPlusConfig
from small_office import one_zone
from support.models import period

__all__ = ["Left"]

Left = Callable[..., Path]


def _short() -> IDFDocument:
    model = period(one_zone(), (1, 1), (1, 2))
    model.add("OutputControl:Files", output_csv="Yes")
    return model


@pytest.fixture(scope="session")
def _left(quick_energyplus: EnergyPlusConfig, epw: Path, tmp_path_factory: pytest.TempPathFactory) -> Left:
    """Runs EnergyPlus once for each prefix and style; the directory has its outputs and nothing else."""
    done: dict[tuple[str, str, bool], Path] = {}

    def run(prefix: str = "eplus", style: str = "L", fails: bool = False) -> Path:
        if (prefix, style, fails) not in done:
            home = tmp_path_factory.mktemp("left")
            text = write_idf(_short())
            (home / "in.idf").write_text(text.replace("Construction,", "Construction_,", 1) if fails else text)
            command = [
                quick_energyplus.executable,
                "-w",
                epw,
                "-d",
                home / "out",
                "-p",
                prefix,
                "-s",
                style,
                "-x",
                home / "in.idf",
            ]
            ended = subprocess.run([*map(str, command)], cwd=home, capture_output=True, check=False)
            assert (ended.returncode != 0) == fails, ended.stderr
            done[prefix, style, fails] = home / "out"
        return done[prefix, style, fails]

    return run


@pytest.fixture
def left(_left: Left, tmp_path: Path) -> Left:
    """What EnergyPlus left, copied into a directory of the test's own; several runs into one, if the name is the same."""

    def copy(prefix: str = "eplus", style: str = "L", *, fails: bool = False, into: str = "left") -> Path:
        return Path(shutil.copytree(_left(prefix, style, fails), tmp_path / into, dirs_exist_ok=True))

    return copy
