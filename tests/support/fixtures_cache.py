"""Stores behind proxies with caches in front of them, other processes, and a line at the end of the session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.readers import Crowd
from support.servers import Store
from support.shelves import Shelf, Tally, WatchedProxy

_tally = Tally()


@pytest.fixture
def tally() -> Tally:
    return _tally


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["cache_tally"] = vars(_tally)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for name, count in getattr(node, "workeroutput", {}).get("cache_tally", {}).items():
        setattr(_tally, name, getattr(_tally, name) + count)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _tally.reads:
        terminalreporter.write_line(
            f"cache: {_tally.reads} reads checked, {_tally.faults} faults injected, {_tally.wrong_reads} with wrong bytes"
        )


@contextmanager
def _watched(store: Store) -> Iterator[WatchedProxy]:
    target = urlsplit(store.endpoint)
    with WatchedProxy(str(target.hostname), int(target.port or 0)) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def _moto_proxy(moto: Store) -> Iterator[WatchedProxy]:
    with _watched(moto) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def _seaweed_proxy(seaweed: Store) -> Iterator[WatchedProxy]:
    with _watched(seaweed) as proxy:
        yield proxy


@contextmanager
def _shelf(store: Store, proxy: WatchedProxy, directory: Path) -> Iterator[Shelf]:
    # A client of s3fs takes a while to make, and is kept by its options: so the proxy outlives the test.
    proxy.heal()
    proxy.reset_counters()
    (directory / "temporary").mkdir(exist_ok=True)
    yield Shelf(store, proxy, directory / "copies", directory / "temporary")
    proxy.forget()
    proxy.heal()
    failed, proxy.failed = proxy.failed, []
    assert failed == []


@pytest.fixture
def moto_shelf(moto: Store, _moto_proxy: WatchedProxy, tmp_path: Path) -> Iterator[Shelf]:
    with _shelf(moto, _moto_proxy, tmp_path) as shelf:
        yield shelf


@pytest.fixture
def seaweed_shelf(seaweed: Store, _seaweed_proxy: WatchedProxy, tmp_path: Path) -> Iterator[Shelf]:
    with _shelf(seaweed, _seaweed_proxy, tmp_path) as shelf:
        yield shelf


@pytest.fixture
def shelf(moto_shelf: Shelf) -> Shelf:
    return moto_shelf


@pytest.fixture(params=["moto_shelf", "seaweed_shelf"])
def any_shelf(request: pytest.FixtureRequest) -> Shelf:
    found: Shelf = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    """Sixteen processes."""
    with Crowd(16) as running:
        yield running


@pytest.fixture
def somebody() -> Iterator[Crowd]:
    """One other process."""
    with Crowd(1) as running:
        yield running
