"""Opening runs: only what is asked for is fetched, and what is not a run is recognised."""

from __future__ import annotations

import gc
import json
import pickle
import pydoc
import sqlite3
from pathlib import Path

import idfkit.simulation
import pytest
from idfkit.simulation import SimulationResult
from support.places import Place
from support.proxy import FaultProxy
from support.servers import Store

from idfkit_fs import FsspecFileSystem, RunResult, cache, open_result, publish
from idfkit_fs.errors import BucketNotFoundError, DamagedRunError, PermissionDeniedError, RecordError, RunNotFoundError


def test_opening_reads_the_record_and_nothing_else(
    shaky_place: Place, proxy: FaultProxy, local_run: SimulationResult
) -> None:
    publish(local_run, shaky_place.url, storage_options=shaky_place.options)
    proxy.reset_counters()
    result = open_result(shaky_place.url, storage_options=shaky_place.options)
    assert result.success and result.stdout and result.exit_code == 0 and result.runtime_seconds > 0
    assert [line.split()[0] for line in proxy.request_lines] == ["GET"]

    proxy.reset_counters()
    assert result.errors.simulation_complete
    assert [line.split()[0] for line in proxy.request_lines] == ["GET"]
    assert proxy.request_lines[0].split()[1].endswith("eplus.err")


def test_repeated_access_is_served_from_local_disk(
    shaky_place: Place, proxy: FaultProxy, local_run: SimulationResult
) -> None:
    publish(local_run, shaky_place.url, storage_options=shaky_place.options)
    proxy.reset_counters()
    for _ in range(3):
        with open_result(shaky_place.url, storage_options=shaky_place.options) as result:
            assert result.sql is not None and result.sql.list_variables()
    assert sum(line.startswith("GET") and "eplus.sql" in line for line in proxy.request_lines) == 1


def test_a_local_copy_that_went_bad_is_fetched_again(s3_place: Place, local_run: SimulationResult) -> None:
    result = publish(local_run, s3_place.url, storage_options=s3_place.options)
    assert isinstance(result.fs, FsspecFileSystem)
    copy = result.fs.local_path("eplus.sql")
    whole = copy.read_bytes()
    for bad in (whole[:1000], bytes(len(whole))):
        copy.write_bytes(bad)
        assert result.fs.local_path("eplus.sql").read_bytes() == whole


def test_a_result_can_be_pickled_with_its_database_open(s3_place: Place, local_run: SimulationResult) -> None:
    result = publish(local_run, s3_place.url, storage_options=s3_place.options)
    assert result.sql is not None
    copy = pickle.loads(pickle.dumps(result))
    assert copy.url == result.url and copy.record == result.record and copy.sql is not None
    copy.close()
    result.close()


def test_it_shows_itself_without_secrets(s3_place: Place, local_run: SimulationResult) -> None:
    result = publish(local_run, s3_place.url, storage_options=s3_place.options)
    assert result.record is not None
    assert repr(result) == f"RunResult('{s3_place.url}', success=True, {len(result.record.files)} files)"
    record = FsspecFileSystem.from_url(s3_place.url, **s3_place.options).read_text("run.json")
    assert s3_place.options["secret"] not in record + repr(result) + repr(result.fs)


def test_nothing_there(place: Place) -> None:
    with pytest.raises(RunNotFoundError, match="Nothing exists here") as caught:
        open_result(place.joinpath("case-1").url, storage_options=place.options)
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.filename.endswith("case-1")


def test_a_directory_that_is_no_run(place: Place) -> None:
    FsspecFileSystem.from_url(place.url, **place.options).write_text("case-1/notes.txt", "x")
    with pytest.raises(RunNotFoundError, match="holds no run"):
        open_result(place.url, storage_options=place.options)
    with pytest.raises(RunNotFoundError, match="holds no run"):
        open_result(place.url, storage_options=place.options, require_record=False)


def test_a_study_is_not_a_run(place: Place) -> None:
    FsspecFileSystem.from_url(place.url, **place.options).write_text("_study/study.json", "{}")
    with pytest.raises(RunNotFoundError, match="This is a study, not a run"):
        open_result(place.url, storage_options=place.options)


def test_a_directory_of_runs_names_one(place: Place) -> None:
    fs = FsspecFileSystem.from_url(place.url, **place.options)
    fs.write_text("notes/read me.txt", "x")
    fs.write_text("case #1/run.json", "{}")
    with pytest.raises(RunNotFoundError, match=r"holds runs.* such as \.\.\./case #1"):
        open_result(place.url, storage_options=place.options)


@pytest.mark.parametrize("name", ["sql", "errors", "csv", "html", "eso", "mtr", "variables"])
def test_help_of_an_async_method_says_what_it_does(name: str) -> None:
    described = pydoc.render_doc(getattr(RunResult, f"async_{name}"), renderer=pydoc.plaintext)
    assert "without blocking the event loop" in described and "Raises:" in described


def test_a_run_without_record_opens_only_when_asked(s3_place: Place, local_run: SimulationResult) -> None:
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    for path in Path(local_run.run_dir).iterdir():
        fs.upload(path, f"case-1/{path.name}")
    case = s3_place.joinpath("case-1")
    with pytest.raises(RunNotFoundError, match="require_record=False"):
        open_result(case.url, storage_options=case.options)
    result = open_result(case.url, storage_options=case.options, require_record=False)
    assert result.success and result.exit_code is None and result.record is None
    assert result.sql is not None and result.errors.simulation_complete
    result.close()


def test_success_of_a_run_without_record_is_what_energyplus_says(s3_place: Place) -> None:
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    fs.write_text("eplusout.end", "EnergyPlus Terminated--Fatal Error Detected. 0 Warning; 1 Severe Errors")
    fs.write_text("eplusout.err", "** Fatal ** x")
    result = open_result(s3_place.url, storage_options=s3_place.options, require_record=False)
    assert not result.success and result.output_prefix == "eplus"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (json.dumps({"format": "idfkit-fs run", "version": 99}).encode(), "newer"),
        (b"{}", "not the record"),
    ],
)
def test_a_record_that_cannot_be_used(s3_place: Place, content: bytes, message: str) -> None:
    FsspecFileSystem.from_url(s3_place.url, **s3_place.options).write_bytes("run.json", content)
    with pytest.raises(RecordError, match=message):
        open_result(s3_place.url, storage_options=s3_place.options)


def test_a_missing_bucket_is_named(moto: Store) -> None:
    with pytest.raises(BucketNotFoundError, match="'no-such-bucket'; create it"):
        open_result("s3://no-such-bucket/case", storage_options=moto.storage_options)


def test_a_refused_login_is_no_missing_run(seaweed: Store) -> None:
    options = {**seaweed.storage_options, "secret": "wrong-wrong-wrong"}
    with pytest.raises(PermissionDeniedError):
        open_result(f"{seaweed.url}/case", storage_options=options)


def test_idfkits_own_reader_reads_what_was_published(s3_place: Place, local_run: SimulationResult) -> None:
    publish(local_run, s3_place.joinpath("case-1").url, storage_options=s3_place.options)
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    result = idfkit.simulation.SimulationResult.from_directory("case-1", fs=fs)
    assert result.sql is not None and result.errors.simulation_complete
    result.close()


def requests(proxy: FaultProxy) -> list[str]:
    """Method and last part of the path of each request since the counters were reset."""
    return [f"{line.split()[0]} {line.split()[1].rpartition('/')[2]}" for line in proxy.request_lines]


def read_all(result: RunResult) -> None:
    assert result.sql is not None and result.sql.list_variables()
    assert result.errors.simulation_complete
    assert result.csv is not None and result.csv.columns


def test_opening_again_asks_for_the_record_and_reading_again_for_nothing(
    shaky_place: Place, proxy: FaultProxy, local_run: SimulationResult
) -> None:
    publish(local_run, shaky_place.url, storage_options=shaky_place.options)
    read_all(open_result(shaky_place.url, storage_options=shaky_place.options))
    for cached in ("", "simplecache::"):
        options = {"s3": shaky_place.options} if cached else shaky_place.options
        proxy.reset_counters()
        read_all(open_result(cached + shaky_place.url, storage_options=options))
        assert requests(proxy) == ["GET run.json"]


def test_an_immutable_run_needs_no_network_once_it_was_read(
    shaky_place: Place, proxy: FaultProxy, local_run: SimulationResult
) -> None:
    publish(local_run, shaky_place.url, storage_options=shaky_place.options)
    read_all(open_result(shaky_place.url, storage_options=shaky_place.options))
    proxy.reset_counters()
    proxy.refuse()
    result = open_result(shaky_place.url, storage_options=shaky_place.options, immutable=True)
    read_all(result)
    read_all(pickle.loads(pickle.dumps(result)))
    assert requests(proxy) == []
    with pytest.raises(ConnectionError):
        result.fs.read_bytes("eplus.eio")
    with pytest.raises(ConnectionError):
        open_result(shaky_place.url, storage_options=shaky_place.options)


def test_an_immutable_run_that_was_never_seen_is_asked_for(s3_place: Place, local_run: SimulationResult) -> None:
    with pytest.raises(RunNotFoundError):
        open_result(s3_place.url, storage_options=s3_place.options, immutable=True)
    publish(local_run, s3_place.url, storage_options=s3_place.options)
    read_all(open_result(s3_place.url, storage_options=s3_place.options, immutable=True))


def test_a_run_published_over_an_immutable_one_is_not_mixed_with_it(
    s3_place: Place, local_run: SimulationResult
) -> None:
    publish(local_run, s3_place.url, storage_options=s3_place.options)
    old = open_result(s3_place.url, storage_options=s3_place.options)
    kept = old.fs.read_bytes("eplus.err")
    for name in ("eplus.err", "eplus.eio"):
        path = local_run.run_dir / name
        path.write_bytes(b"another run\n" + path.read_bytes())
    publish(local_run, s3_place.url, storage_options=s3_place.options, overwrite=True)

    new = open_result(s3_place.url, storage_options=s3_place.options)
    assert new.fs.read_bytes("eplus.err") == b"another run\n" + kept
    assert old.fs.read_bytes("eplus.err") == kept
    for read in (old.fs.read_bytes, old.fs.open, old.fs.local_path):
        with pytest.raises(DamagedRunError, match="published over"):
            read("eplus.eio")


def test_a_directory_within_a_run_is_checked_too(s3_place: Place, local_run: SimulationResult) -> None:
    (local_run.run_dir / "zones").mkdir()
    (local_run.run_dir / "zones" / "core.csv").write_text("hour,degC")
    run = publish(local_run, s3_place.url, storage_options=s3_place.options, include=["**"]).fs
    assert isinstance(run, FsspecFileSystem)
    FsspecFileSystem.from_url(s3_place.url, **s3_place.options).write_text("zones/core.csv", "another run's")
    for below in (
        run.joinpath("zones"),
        pickle.loads(pickle.dumps(run.joinpath("zones"))),
        run.joinpath("").joinpath("zones"),
    ):
        with pytest.raises(DamagedRunError):
            below.read_bytes("core.csv")


def test_the_database_is_opened_in_place(
    s3_place: Place, local_run: SimulationResult, empty_cache: Path, no_leftovers: Path
) -> None:
    publish(local_run, s3_place.url, storage_options=s3_place.options)
    with open_result(s3_place.url, storage_options=s3_place.options) as result:
        (opened,) = [Path(file) for _, _, file in result.sql._conn.execute("pragma database_list")]
        assert opened.is_relative_to(empty_cache)
        assert opened.name == "eplus.sql"
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            result.sql._conn.execute("create table intruder (x)")
        assert cache.info().in_use == 1
        assert list(no_leftovers.iterdir()) == []
        cache.clear()
        assert opened.exists() and result.sql.list_variables()
    del result
    gc.collect()
    assert cache.info().in_use == 0
    cache.clear()
    assert not opened.exists()
