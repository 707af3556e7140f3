"""Fixtures that every test may use, and an environment in which no test can meet a developer's own account."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest


def _isolate_environment() -> None:
    """Take credentials away and name what the SDKs must not look for; before any of them is imported."""
    for name in list(os.environ):
        # AZURITE_BIN stays: it says where a test server is.
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "GCSFS_", "FSSPEC_", "MOTO_")) or name in _OTHER:
            del os.environ[name]
    nowhere = Path(__file__).parent / "no-such-directory"
    os.environ.update(
        {
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(nowhere / "aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(nowhere / "aws-credentials"),
            "FSSPEC_CONFIG_DIR": str(nowhere / "fsspec"),
            # Otherwise gcsfs asks Google over gRPC what kind of bucket this is, and each call stalls for a minute.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "NO_GCE_CHECK": "true",
            # A proxy that the machine needs for the internet must not be asked for the loopback.
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
    )


_OTHER = {"BOTO_CONFIG", "CLOUDSDK_CONFIG", "GCLOUD_PROJECT", "STORAGE_EMULATOR_HOST", "INITIAL_NO_AUTH_ACTION_COUNT"}
_isolate_environment()

# Only after the environment is set: these imports may read it.
pytest_plugins = [f"support.fixtures_{room}" for room in ("cache", "existing", "outputs", "runs", "storms", "studies")]
pytest.register_assert_rewrite("support")

from hypothesis import HealthCheck, settings
from idfkit.simulation import EnergyPlusConfig
from support import servers
from support.remembered import remembering
from support.servers import Store

from idfkit_fs import find_energyplus

# However slow the machine is.
settings.register_profile("quick", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quick")


# Servers beside moto, by the names of their fixtures: what needs them has a session of its own.
_AZURITE = {"azurite_blob", "durable_azurite"}
_SERVERS = {*_AZURITE, "durable_gcs", "ftp", "gcs", "other_gcs", "rclone_s3", "seaweed", "sftp"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the servers that they need: an argument, a parameter, or an attribute of the class names them."""
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        names = {name for name in parameters if isinstance(name, str)}
        names |= {*getattr(item, "fixturenames", ()), getattr(getattr(item, "cls", None), "server", "")}
        if names & _SERVERS:
            item.add_marker("servers")
        if names & _AZURITE:
            item.add_marker("azurite")


def pytest_collection_finish() -> None:
    """Keep the garbage collector from what lasts, modules and tests, which it would look through again and again."""
    gc.collect()
    gc.freeze()


@contextmanager
def _started(server: AbstractContextManager[Store]) -> Iterator[Store]:
    """Run a server; one that will not start fails the test in CI, and skips it elsewhere."""
    with ExitStack() as stack:
        try:
            store = stack.enter_context(server)
        except (servers.ServerError, ImportError) as exc:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(exc))
        yield store


@pytest.fixture(scope="session")
def moto() -> Iterator[Store]:
    """Moto, which takes any credentials."""
    with _started(servers.moto_server()) as store:
        yield store


@pytest.fixture(scope="session")
def moto_auth() -> Iterator[Store]:
    """Moto in a process of its own, which checks credentials."""
    with _started(servers.moto_server(check_auth=True)) as store:
        yield store


@pytest.fixture(scope="session")
def seaweed() -> Iterator[Store]:
    """SeaweedFS, a real S3 store."""
    with _started(servers.seaweedfs()) as store:
        yield store


@pytest.fixture(scope="session")
def rclone_s3() -> Iterator[Store]:
    """`rclone serve s3`, the odd dialect."""
    with _started(servers.rclone()) as store:
        yield store


@pytest.fixture(scope="session")
def gcs() -> Iterator[Store]:
    """fake-gcs-server."""
    with _started(servers.fake_gcs()) as store:
        yield store


@pytest.fixture(scope="session")
def azurite_blob() -> Iterator[Store]:
    """Azurite."""
    with _started(servers.azurite()) as store:
        yield store


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Local copies of results go to a directory of this session, never to the user's own cache."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def installed_energyplus() -> EnergyPlusConfig:
    """EnergyPlus as it is installed."""
    return find_energyplus()


@pytest.fixture(scope="session")
def quick_energyplus(
    installed_energyplus: EnergyPlusConfig, tmp_path_factory: pytest.TempPathFactory
) -> EnergyPlusConfig:
    """EnergyPlus, but it simulates nothing twice in a session."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return find_energyplus(path=remembering(installed_energyplus, shared))


@pytest.fixture(scope="module", autouse=True)
def _find_quick_energyplus(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever looks for EnergyPlus finds that one; but the examples and the pages are as they are."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.relative_to(Path(__file__).parent).parts[0] not in ("docs", "engines", "examples", "slurm"):
            found: EnergyPlusConfig = request.getfixturevalue("quick_energyplus")
            patch.setenv("ENERGYPLUS_DIR", str(found.install_dir))
        yield


@pytest.fixture
def real_energyplus(installed_energyplus: EnergyPlusConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which it matters how long EnergyPlus takes."""
    monkeypatch.setenv("ENERGYPLUS_DIR", str(installed_energyplus.install_dir))


@pytest.fixture(scope="session")
def sftp() -> Iterator[Store]:
    """An SFTP server with a password."""
    with _started(servers.sftp_server()) as store:
        yield store


@pytest.fixture(scope="session")
def ftp() -> Iterator[Store]:
    """An FTP server with a password."""
    with _started(servers.ftp_server()) as store:
        yield store
