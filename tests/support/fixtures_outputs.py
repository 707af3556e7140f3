"""Real runs of EnergyPlus, each made when the first test asks for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from idfkit.simulation import EnergyPlusConfig, SimulationResult, simulate
from support.models import MODELS, Ran, Twins, leap_weather

from idfkit_fs import RunResult, open_result, publish
from idfkit_fs.runs import data


@pytest.fixture(scope="session")
def ran(epw: Path, quick_energyplus: EnergyPlusConfig, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The run of a model by its name; a test that changes its files takes a copy."""
    done: dict[str, SimulationResult] = {}

    def run(name: str) -> SimulationResult:
        if name not in done:
            directory = tmp_path_factory.mktemp(name)
            weather = leap_weather(epw, directory / "leap.epw") if name.startswith(("leap", "meters")) else epw
            result = simulate(MODELS[name](), weather, output_dir=directory / "run", energyplus=quick_energyplus)
            assert result.success, result.errors.summary()
            done[name] = result
        return done[name]

    return run


@pytest.fixture(scope="session")
def twins(ran: Ran, tmp_path_factory: pytest.TempPathFactory) -> Twins:
    """A published run that can only be read from its sidecars, and the same that can only be read from its database."""
    places: dict[str, tuple[Path, Path]] = {}

    def published(name: str) -> tuple[RunResult, RunResult]:
        if name not in places:
            with_sidecars, without = (tmp_path_factory.mktemp(name) for _ in range(2))
            publish(ran(name), with_sidecars, sidecars=True, exclude=["*.sql"])
            publish(ran(name), without, sidecars=False)
            places[name] = with_sidecars, without
        with_sidecars, without = places[name]
        return open_result(with_sidecars), open_result(without)

    return published


@pytest.fixture(scope="session")
def whole(ran: Ran, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The directory of a published run with its database and its sidecars; a test that spoils it takes a copy."""
    places: dict[str, Path] = {}

    def published(name: str) -> Path:
        if name not in places:
            directory = tmp_path_factory.mktemp(f"whole-{name}")
            publish(ran(name), directory, exclude=["*.eso", "*.htm"])
            places[name] = directory
        return places[name]

    return published


@pytest.fixture(scope="session")
def large_run(whole: Callable[[str], Path]) -> Path:
    """Such a run with a sidecar that is larger than what is fetched whole."""
    directory = whole("large")
    assert (directory / "timeseries-timestep.parquet").stat().st_size > 2**20
    return directory


@pytest.fixture
def copied(ran: Ran, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a run's directory, for a test to spoil."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(ran(name).run_dir, tmp_path / f"copy-of-{name}"))

    return copy


@pytest.fixture(autouse=True)
def _no_times_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal times are read once in a process, so what one test has read another one would not read."""
    monkeypatch.setattr(data, "_recent_times", {})
