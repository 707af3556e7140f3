"""How little is fetched for a series, and that parts of two versions of a file are never mixed."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
import uuid
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from support.models import TEMPERATURE, Ran
from support.places import Place
from support.proxy import FaultProxy
from support.servers import HOST, Store

from idfkit_fs import FsspecFileSystem, RunResult, open_result, publish
from idfkit_fs._outputs.parquet import Fetch
from idfkit_fs.errors import DamagedRunError, SidecarError
from idfkit_fs.runs.ranges import fetching_ranges

LARGE = "timeseries-timestep.parquet"
ROWS = 59 * 96
SERIES = {"variables": TEMPERATURE, "frequency": "timestep"}
INSIDE = {"variables": "surface inside face temperature", "frequency": "timestep"}


@pytest.fixture(params=["moto", "seaweed"])
def counted(request: pytest.FixtureRequest, large_run: Path) -> Iterator[tuple[Place, FaultProxy]]:
    """That run in a store, behind a proxy that counts."""
    store: Store = request.getfixturevalue(request.param)
    target = urlsplit(store.endpoint)
    with FaultProxy(str(target.hostname), int(target.port or 0)) as running:
        place = Place(f"{store.url}/{uuid.uuid4().hex}", dict(store.through(running.endpoint).storage_options))
        publish(large_run, place.url, storage_options=place.options, include=["*.parquet", "*.err"])
        yield place, running


@pytest.fixture
def large_place(large_run: Path, s3_place: Place) -> Place:
    """That run in a store, with its database."""
    publish(large_run, s3_place.url, storage_options=s3_place.options)
    return s3_place


def opened(place: Place) -> RunResult:
    return open_result(place.url, storage_options=place.options)


def asked(proxy: FaultProxy) -> list[str]:
    return [line.split()[1].rpartition("/")[2] for line in proxy.request_lines]


def test_a_series_costs_few_requests_and_few_bytes(counted: tuple[Place, FaultProxy], large_run: Path) -> None:
    place, proxy = counted
    size = (large_run / LARGE).stat().st_size
    expected = open_result(large_run).timeseries(**SERIES)

    proxy.reset_counters()
    frame = opened(place).timeseries(**SERIES)
    pd.testing.assert_frame_equal(frame, expected, check_exact=True)
    assert asked(proxy) == ["run.json", LARGE]  # times and footer come with the record
    assert proxy.bytes_down < size / 6

    proxy.reset_counters()
    pd.testing.assert_frame_equal(opened(place).timeseries(**SERIES), expected, check_exact=True)
    assert asked(proxy) == ["run.json"]


def test_series_cost_the_same_without_a_frequency(counted: tuple[Place, FaultProxy]) -> None:
    place, proxy = counted
    proxy.reset_counters()
    assert len(opened(place).timeseries(TEMPERATURE)) == ROWS
    assert asked(proxy) == ["run.json", LARGE]


def test_the_names_of_all_series_come_with_the_record(counted: tuple[Place, FaultProxy], large_run: Path) -> None:
    place, proxy = counted
    expected = open_result(large_run).data
    proxy.reset_counters()
    data = opened(place).data
    assert data.catalog("timestep") == expected.catalog("timestep")
    period = data.period("timestep", None)
    assert (data.read("timestep", (), period).times == expected.read("timestep", (), period).times).all()
    assert asked(proxy) == ["run.json"]


@pytest.mark.filterwarnings("error::UserWarning")
def test_footers_that_are_too_long_for_the_record_cost_one_request(
    ran: Ran, large_run: Path, shaky_place: Place, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idfkit_fs.runs.sidecars._ENDS", 1000)
    publish(ran("large"), shaky_place.url, storage_options=shaky_place.options, include=["*.parquet"])
    result = opened(shaky_place)
    assert result.record is not None and LARGE not in result.record.sidecar_ends
    proxy.reset_counters()
    pd.testing.assert_frame_equal(
        result.timeseries(**SERIES), open_result(large_run).timeseries(**SERIES), check_exact=True
    )
    assert asked(proxy) == [LARGE, LARGE]  # the footer with the times before it, and the series


def test_another_series_costs_what_is_not_here_yet(counted: tuple[Place, FaultProxy], large_run: Path) -> None:
    place, proxy = counted
    result = opened(place)
    result.timeseries(**SERIES)
    proxy.reset_counters()
    frame = result.timeseries(**INSIDE)
    pd.testing.assert_frame_equal(frame, open_result(large_run).timeseries(**INSIDE), check_exact=True)
    assert 1 <= proxy.requests <= 2  # no footer
    assert proxy.bytes_down < (large_run / LARGE).stat().st_size / 2


def test_an_immutable_run_needs_no_network_for_series_that_were_read(counted: tuple[Place, FaultProxy]) -> None:
    place, proxy = counted
    expected = opened(place).timeseries(**SERIES)
    cells = opened(place).tabular()
    proxy.refuse()
    result = open_result(place.url, storage_options=place.options, immutable=True)
    pd.testing.assert_frame_equal(result.timeseries(**SERIES), expected, check_exact=True)
    pd.testing.assert_frame_equal(result.tabular(), cells, check_exact=True)
    with pytest.raises(ConnectionError):
        result.timeseries(**INSIDE)


def test_small_sidecars_are_fetched_whole_and_once(ran: Ran, shaky_place: Place, proxy: FaultProxy) -> None:
    publish(ran("everything"), shaky_place.url, storage_options=shaky_place.options, exclude=["*.sql"])
    proxy.reset_counters()
    for _ in range(2):
        result = opened(shaky_place)
        result.timeseries(TEMPERATURE, frequency="daily", environment="*")
        result.tabular()
    names = asked(proxy)
    assert names.count("run.json") == 2
    assert {name: names.count(name) for name in {*names} - {"run.json"}} == {
        "timeseries-daily.parquet": 1,
        "sizing-daily.parquet": 1,
        "tabular.parquet": 1,
    }


def test_lost_connections_are_made_up_for(large_place: Place, large_run: Path, moto: Store, proxy: FaultProxy) -> None:
    place = Place(large_place.url, dict(moto.through(proxy.endpoint).storage_options))
    result = opened(place)
    proxy.answer_status(503, count=1, on=LARGE)
    proxy.cut_response_after(1000, count=1, on=LARGE)
    pd.testing.assert_frame_equal(
        result.timeseries(**SERIES), open_result(large_run).timeseries(**SERIES), check_exact=True
    )
    assert "eplus.sql" not in asked(proxy)


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_dead_store_is_no_reason_to_read_the_database(large_place: Place, moto: Store, proxy: FaultProxy) -> None:
    place = Place(large_place.url, dict(moto.through(proxy.endpoint).storage_options))
    result = opened(place)
    proxy.refuse()
    with pytest.raises(ConnectionError):
        result.timeseries(**SERIES)
    proxy.heal()
    assert len(result.timeseries(**SERIES)) == ROWS


@pytest.mark.filterwarnings("error::UserWarning")
def test_what_takes_several_requests(
    counted: tuple[Place, FaultProxy], large_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, proxy = counted
    expected = open_result(large_run).timeseries()
    monkeypatch.setattr("idfkit_fs._outputs.parquet._BLOCK", 2**18)
    proxy.reset_counters()
    try:
        frame = opened(place).timeseries()
    except SidecarError as exc:
        pytest.fail(str(exc))
    pd.testing.assert_frame_equal(frame, expected, check_exact=True)
    assert 5 < asked(proxy).count(LARGE) < 12


# --- another client overwrites what is being read --------------------------------------------------------------------


def other_version(large_run: Path, directory: Path, change: str) -> bytes:
    """The sidecar of another run, whose database differs from that run's by a statement."""
    shutil.copytree(large_run, directory, ignore=shutil.ignore_patterns("*.parquet", "run.json"))
    with closing(sqlite3.connect(directory / "eplus.sql")) as database:
        database.execute(change)
        database.commit()
    return (Path(publish(directory, directory.with_name("other")).run_dir) / LARGE).read_bytes()


HIGHER = "UPDATE ReportData SET Value = Value + 1"
# Not to a leap year: so the same values are laid out in the same way.
ANOTHER_YEAR = "UPDATE Time SET Year = Year + 4"


def test_an_overwrite_between_footer_and_values_is_noticed(
    large_place: Place, large_run: Path, tmp_path: Path, moto: Store
) -> None:
    expected = open_result(large_run).timeseries(**SERIES)
    result = opened(large_place)
    result.data.catalog("timestep")  # the footer is here
    key = f"{large_place.url.removeprefix(moto.url)}/{LARGE}".lstrip("/")
    moto.raw.put(key, other_version(large_run, tmp_path / "other-run", HIGHER))
    with pytest.warns(UserWarning, match="Reading the whole database of s3://"):
        pd.testing.assert_frame_equal(result.timeseries(**SERIES), expected, check_exact=True)
    # What was fetched and refused is not kept.
    moto.raw.put(key, (large_run / LARGE).read_bytes())
    with warnings.catch_warnings(action="error"):
        pd.testing.assert_frame_equal(opened(large_place).timeseries(**SERIES), expected, check_exact=True)


@pytest.mark.filterwarnings("error::UserWarning")
def test_an_overwrite_of_the_times_alone_changes_nothing(
    large_place: Place, large_run: Path, tmp_path: Path, moto: Store
) -> None:
    """The same model for another year: the same values, laid out in the same way. The times are the record's."""
    expected = open_result(large_run).timeseries(**SERIES)
    other = other_version(large_run, tmp_path / "other-run", ANOTHER_YEAR)
    assert len(other) == (large_run / LARGE).stat().st_size and other != (large_run / LARGE).read_bytes()
    moto.raw.put(f"{large_place.url.removeprefix(moto.url)}/{LARGE}".lstrip("/"), other)
    pd.testing.assert_frame_equal(opened(large_place).timeseries(**SERIES), expected, check_exact=True)


@pytest.mark.filterwarnings("ignore:Reading the whole database")
def test_readers_meet_a_writer_and_never_see_a_mixture(
    large_place: Place, large_run: Path, tmp_path: Path, moto: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = open_result(large_run).timeseries(**INSIDE)
    versions = [(large_run / LARGE).read_bytes(), other_version(large_run, tmp_path / "other-run", HIGHER)]
    key = f"{large_place.url.removeprefix(moto.url)}/{LARGE}".lstrip("/")
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            for version in versions:
                moto.raw.put(key, version)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache-{number}"))
            pd.testing.assert_frame_equal(opened(large_place).timeseries(**INSIDE), expected, check_exact=True)
    finally:
        done.set()
        writer.join()


# --- stores of other kinds -------------------------------------------------------------------------------------------


def test_one_series_from_every_store(place: Place, large_run: Path) -> None:
    publish(large_run, place.url, storage_options=place.options, exclude=["*.sql"])
    result = opened(place)
    for question in (SERIES, INSIDE):
        pd.testing.assert_frame_equal(
            result.timeseries(**question), open_result(large_run).timeseries(**question), check_exact=True
        )
    pd.testing.assert_frame_equal(result.tabular(), open_result(large_run).tabular(), check_exact=True)


@contextmanager
def web_server(directory: Path) -> Iterator[str]:
    """Python's own, which knows no ranges: it answers each request with the whole file."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", HOST]
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            port = process.stdout.readline().split()[5].decode()  # it serves, and says so
            yield f"http://{HOST}:{port}"
        finally:
            process.terminate()


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_store_that_answers_ranges_with_the_whole_file(large_run: Path) -> None:
    with web_server(large_run.parent) as url:
        result = open_result(f"{url}/{large_run.name}")
        pd.testing.assert_frame_equal(
            result.timeseries(**SERIES), open_result(large_run).timeseries(**SERIES), check_exact=True
        )


def test_ranges_are_kept_only_if_all_went_well(large_place: Place, large_run: Path) -> None:
    result = opened(large_place)
    assert result.record is not None
    file = result.record.file(LARGE)
    assert file is not None
    content = (large_run / LARGE).read_bytes()
    ranges = [(0, 4), (100, 100_000), (file.size - 8, file.size)]
    expected = [content[start:stop] for start, stop in ranges]

    class Doubt(Exception):
        pass

    def fetching(digest: str = "digest", run: str = result.record.id) -> AbstractContextManager[Fetch]:
        return fetching_ranges(result.files, run, file, [digest])

    with pytest.raises(Doubt), fetching() as fetch:
        assert fetch(ranges) == expected
        raise Doubt
    FsspecFileSystem.from_url(large_place.url, **large_place.options).write_bytes(LARGE, bytes(file.size))
    with fetching() as fetch:
        assert fetch(ranges) == [bytes(len(part)) for part in expected]  # asked for again, and kept now
    FsspecFileSystem.from_url(large_place.url, **large_place.options).write_bytes(LARGE, content)
    for others in ({"digest": "another"}, {"run": "another"}):
        with fetching(**others) as fetch:
            assert fetch(ranges) == expected
    with fetching() as fetch:
        assert fetch(ranges) == [bytes(len(part)) for part in expected]
        assert fetch([(4, 9)]) == [content[4:9]]
        for beyond in ((file.size - 1, file.size + 1), (file.size + 1, file.size + 5)):
            with pytest.raises(DamagedRunError):
                fetch([beyond])
