"""Recorded runs in EnergyPlus's place, stores in bad weather, and a line for each store at the end of the session."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from idfkit.simulation import EnergyPlusConfig
from support import servers
from support.recorded import Recorded
from support.servers import Store
from support.storm import Counts

_counts: dict[str, Counts] = {}


@pytest.fixture(scope="session")
def recorded(eplus: EnergyPlusConfig, epw: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Four real runs, and an installation that repeats them."""
    return Recorded(tmp_path_factory.mktemp("recorded"), eplus, epw, count=4)


@pytest.fixture
def repeats_runs(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """The same, as what this process finds for EnergyPlus."""
    monkeypatch.setenv("ENERGYPLUS_DIR", str(recorded.installation))
    return recorded


@pytest.fixture
def durable_gcs() -> Iterator[Store]:
    """fake-gcs-server, which keeps its objects when it is killed."""
    with servers.fake_gcs(on_disk=True) as store:
        yield store


@pytest.fixture
def durable_azurite() -> Iterator[Store]:
    """Azurite, which keeps its blobs when it is ended."""
    with servers.azurite(on_disk=True) as store:
        yield store


@pytest.fixture
def counts_of() -> dict[str, Counts]:
    """The counts by store, for the lines at the end of the session."""
    return _counts


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["storms"] = {name: counts.to_json() for name, counts in _counts.items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for name, counts in getattr(node, "workeroutput", {}).get("storms", {}).items():
        _counts[name] = Counts(**json.loads(counts))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, counts in sorted(_counts.items()):
        terminalreporter.write_line(f"faults on {name}: {counts.line()}")
