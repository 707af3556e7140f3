"""Real runs of EnergyPlus, made once a session, and fresh places to publish them to."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import idfkit.simulation
import pytest
from idfkit import IDFDocument
from idfkit.simulation import EnergyPlusConfig, SimulationResult
from small_office import failing_model, one_zone, weather
from support.places import Place
from support.proxy import FaultProxy
from support.servers import Store


@pytest.fixture(scope="session")
def eplus(quick_energyplus: EnergyPlusConfig) -> EnergyPlusConfig:
    """For tests in which it does not matter how long EnergyPlus takes."""
    return quick_energyplus


@pytest.fixture(scope="session")
def model() -> IDFDocument:
    """The quickest model, which has EnergyPlus write its CSV itself: not every installation has ReadVarsESO."""
    document = one_zone()
    document.add("OutputControl:Files", output_csv="Yes")
    return document


@pytest.fixture(scope="session")
def bad_model() -> IDFDocument:
    return failing_model()


@pytest.fixture(scope="session")
def epw() -> Path:
    # The real one, whichever EnergyPlus was found when it was asked for first.
    return weather().resolve()


@pytest.fixture(scope="session")
def _finished(
    model: IDFDocument, epw: Path, eplus: EnergyPlusConfig, tmp_path_factory: pytest.TempPathFactory
) -> SimulationResult:
    directory = tmp_path_factory.mktemp("finished") / "run"
    return idfkit.simulation.simulate(model, epw, output_dir=directory, annual=True, energyplus=eplus)


@pytest.fixture
def local_run(_finished: SimulationResult, tmp_path: Path) -> SimulationResult:
    """A finished run of plain idfkit in a directory of the test's own."""
    directory = tmp_path / "local-run"
    shutil.copytree(_finished.run_dir, directory)
    return SimulationResult(
        run_dir=directory,
        success=_finished.success,
        exit_code=_finished.exit_code,
        stdout=_finished.stdout,
        stderr=_finished.stderr,
        runtime_seconds=_finished.runtime_seconds,
    )


@pytest.fixture
def s3_place(moto: Store) -> Place:
    return Place(f"{moto.url}/{uuid.uuid4().hex}", dict(moto.storage_options))


@pytest.fixture(
    params=[
        "local",
        "memory",
        "moto",
        "seaweed",
        "rclone_s3",
        "gcs",
        "azurite_blob",
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A fresh place on each store."""
    if request.param == "local":
        return Place(str(tmp_path / "results"))
    if request.param == "memory":
        return Place(f"memory://{uuid.uuid4().hex}")
    store: Store = request.getfixturevalue(request.param)
    return Place(f"{store.url}/{uuid.uuid4().hex}", dict(store.storage_options))


@pytest.fixture
def proxy(moto: Store) -> Iterator[FaultProxy]:
    target = urlsplit(moto.endpoint)
    with FaultProxy(str(target.hostname), int(target.port or 0)) as running:
        yield running


@pytest.fixture
def shaky_place(moto: Store, proxy: FaultProxy) -> Place:
    """A place behind a proxy that makes faults."""
    return Place(f"{moto.url}/{uuid.uuid4().hex}", dict(moto.through(proxy.endpoint).storage_options))


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What one test has fetched must not save another one a request: all publish the same run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "idfkit-fs"


@pytest.fixture(autouse=True)
def no_leftovers(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Temporary files go to a directory that must be empty again after each test.

    But for what lasts longer than a test: a server that starts meanwhile, and the temporary cache of this process.
    """
    directory = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield directory
    lasting = ("idfkit-fs-test-", f"idfkit-fs-cache-{os.getpid()}-")

    def left() -> list[str]:
        return [path.name for path in directory.iterdir() if not path.name.startswith(lasting)]

    # The thread of a call that was cancelled, or a process that was told to end, may just be ending.
    until = time.monotonic() + 30
    while left() and time.monotonic() < until:
        time.sleep(0.05)
    assert left() == []
