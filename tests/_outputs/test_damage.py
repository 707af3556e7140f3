"""Databases and sidecars that are cut, old, wrong or odd: equal values from what is whole, else a clear error."""

from __future__ import annotations

import json
import operator
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from idfkit import IDFDocument
from idfkit.simulation import EnergyPlusConfig, simulate
from support.models import METER, OUTDOORS, TEMPERATURE, Ran, Twins, publish_as
from support.places import Place

from idfkit_fs import FsspecFileSystem, RunResult, open_result, publish
from idfkit_fs._outputs.sidecars import Contents, write_sidecars
from idfkit_fs._util.files import digest_of
from idfkit_fs.errors import (
    DamagedRunError,
    NotReportedError,
    SidecarError,
    UnfinishedRunError,
    UnreadableDatabaseError,
)

HOURLY, LARGE, TABLES = "timeseries-hourly.parquet", "timeseries-timestep.parquet", "tabular.parquet"
Copied = Callable[[str], Path]


@contextmanager
def edited(directory: Path) -> Iterator[sqlite3.Connection]:
    """A run's database, to be changed."""
    with closing(sqlite3.connect(directory / "eplus.sql")) as database:
        yield database
        database.commit()


def both(directory: Path, tmp_path: Path) -> tuple[RunResult, RunResult]:
    """That run by its sidecars alone and by its database alone."""
    return (
        publish(directory, tmp_path / "by-sidecars", sidecars=True, exclude=["*.sql"]),
        publish(directory, tmp_path / "by-database", sidecars=False),
    )


def has_sidecars(result: RunResult) -> bool:
    assert result.record is not None
    return any(file.name.endswith(".parquet") for file in result.record.files)


# --- databases -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 99, 1000, 4096, 0.25, 0.9, -4096, -1])
def test_a_database_that_was_cut(copied: Copied, tmp_path: Path, length: float) -> None:
    directory = copied("everything")
    whole = (directory / "eplus.sql").read_bytes()
    size = int(length * len(whole)) if 0 < length < 1 else int(length)
    (directory / "eplus.sql").write_bytes(whole[:size])
    with pytest.raises(UnfinishedRunError, match=r"eplus\.sql is cut or damaged"):
        publish(directory, tmp_path / "run")
    result = publish_as(False, directory, tmp_path / "run")
    assert (tmp_path / "run" / "eplus.sql").stat().st_size == len(whole[:size])
    assert not has_sidecars(result)
    for read in (result.timeseries, result.tabular):
        with pytest.raises(
            UnreadableDatabaseError, match=r"eplus\.sql cannot be read as an SQLite output of EnergyPlus"
        ):
            read()


@pytest.mark.parametrize("content", [b"Hello, World! " * 1000, b"SQLite format 3\0" + bytes(4080), b"PAR1" * 10])
def test_a_file_that_is_no_database(copied: Copied, tmp_path: Path, content: bytes) -> None:
    directory = copied("everything")
    (directory / "eplus.sql").write_bytes(content)
    with pytest.raises(UnfinishedRunError, match=r"eplus\.sql is cut or damaged"):
        publish(directory, tmp_path / "run", sidecars=True)
    result = publish_as(True, directory, tmp_path / "run", sidecars=True)
    assert not has_sidecars(result)
    for read in (result.timeseries, result.tabular):
        with pytest.raises(UnreadableDatabaseError, match=r"eplus\.sql cannot be read") as caught:
            read()
        assert isinstance(caught.value, ValueError)


def test_a_database_of_something_else(copied: Copied, tmp_path: Path) -> None:
    directory = copied("everything")
    (directory / "eplus.sql").unlink()
    with edited(directory) as database:
        database.execute("CREATE TABLE Time (TimeIndex INTEGER)")
    result = publish_as(True, directory, tmp_path / "run")
    with pytest.raises(UnreadableDatabaseError, match="it has no table"):
        result.timeseries()


@pytest.mark.filterwarnings("ignore:Reading the whole database")
def test_a_database_without_tabular_reports(twins: Twins, ran: Ran) -> None:
    assert ran("series_alone").sql.list_variables()  # type: ignore[union-attr]  # it exists
    for result in twins("series_alone"):
        assert len(result.timeseries(TEMPERATURE)) == 24
        with pytest.raises(NotReportedError, match="give Output:SQLite the option SimpleAndTabular"):
            result.tabular()


def test_texts_that_are_not_utf_8(copied: Copied, tmp_path: Path) -> None:
    directory = copied("everything")
    with edited(directory) as database:
        # As bytes of Latin-1, which EnergyPlus writes for what it read so; and some that are UTF-8.
        database.execute("UPDATE Strings SET Value = CAST(x'B0432064E97369' AS TEXT) WHERE Value = 'Heating'")
        database.execute("UPDATE Strings SET Value = 'Kühlung °C ✓' WHERE Value = 'Cooling'")
        database.execute("UPDATE ReportDataDictionary SET KeyValue = CAST(x'42DC524F' AS TEXT) WHERE KeyValue = 'ROOM'")
        database.execute("UPDATE ReportDataDictionary SET Units = CAST(x'B043' AS TEXT) WHERE Units = 'C'")
    frames = []
    for result in both(directory, tmp_path):
        cells = result.tabular(table="End Uses", row="°c dési")
        assert len(cells) > 5 and set(cells["row"]) == {"°C dési"}
        assert len(result.tabular(table="End Uses", row="kühlung*"))
        frames.append(result.timeseries(TEMPERATURE, keys="BÜRO", frequency="daily"))
        assert [*frames[-1]] == [f"BÜRO:{TEMPERATURE} [°C](Daily)"]
        with pytest.raises(NotReportedError, match="'BÜRO'"):
            result.timeseries(TEMPERATURE, keys="BURO", frequency="daily")
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def test_one_key_and_a_thousand(copied: Copied, tmp_path: Path) -> None:
    directory = copied("office")
    with edited(directory) as database:
        database.execute(
            """
            WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 1000)
            INSERT INTO ReportDataDictionary
                (ReportDataDictionaryIndex, IsMeter, Type, IndexGroup, TimestepType, KeyValue, Name,
                 ReportingFrequency, Units)
            SELECT 100000 + 7 * n, 0, 'Avg', 'Zone', 'Zone', printf('SURFACE %d', n), 'Surface Temperature',
                'Hourly', 'C' FROM number
            """
        )
        (last,) = database.execute("SELECT max(ReportDataIndex) FROM ReportData").fetchone()
        # In the order of time, as EnergyPlus does; each with values of its own, and some without any.
        database.execute(
            """
            INSERT INTO ReportData (ReportDataIndex, TimeIndex, ReportDataDictionaryIndex, Value)
            SELECT ? + row_number() OVER (ORDER BY TimeIndex, ReportDataDictionaryIndex), TimeIndex,
                ReportDataDictionaryIndex, ReportDataDictionaryIndex + TimeIndex / 7.0
            FROM Time, ReportDataDictionary
            WHERE IntervalType = 1 AND Name = 'Surface Temperature' AND ReportDataDictionaryIndex % 10 != 0
            """,
            (last,),
        )
    frames = []
    for result in both(directory, tmp_path):
        frame = result.timeseries("surface*")
        assert frame.shape == (72, 1000)
        assert frame.notna().all().sum() == 900 and frame.isna().all().sum() == 100
        assert frame["SURFACE 1:Surface Temperature [C](Hourly)"].iloc[0] == 100007 + 1 / 7.0
        one = result.timeseries("surface temperature", keys="surface 999")
        assert one.equals(frame[[*one]]) and one.shape == (72, 1)
        assert result.timeseries(OUTDOORS).shape == (72, 1)
        frames.append(result.timeseries())
    assert frames[0].equals(frames[1])


def test_values_that_are_no_numbers(copied: Copied, tmp_path: Path) -> None:
    directory = copied("everything")
    with edited(directory) as database:
        (index,) = database.execute(
            "SELECT ReportDataDictionaryIndex FROM ReportDataDictionary WHERE Name = ? AND ReportingFrequency = 'Hourly'",
            (OUTDOORS,),
        ).fetchone()
        rows = [
            row
            for (row,) in database.execute(
                "SELECT ReportDataIndex FROM ReportData WHERE ReportDataDictionaryIndex = ? ORDER BY 1 DESC LIMIT 4",
                (index,),
            )
        ]
        for row, value in zip(rows, [None, float("inf"), float("-inf"), 1e-320], strict=True):
            database.execute("UPDATE ReportData SET Value = ? WHERE ReportDataIndex = ?", (value, row))
    for result in both(directory, tmp_path):
        last = result.timeseries(OUTDOORS, frequency="hourly").iloc[-4:, 0].tolist()
        assert last[:3] == [1e-320, float("-inf"), float("inf")] and np.isnan(last[3])


def test_values_that_are_not_in_the_order_of_time(
    copied: Copied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """EnergyPlus writes them so; of a database that does not, no sidecars are written in parts."""
    directory = copied("office")
    expected = publish(directory, tmp_path / "before").timeseries()
    with edited(directory) as database:
        database.execute("UPDATE ReportData SET ReportDataIndex = -ReportDataIndex")
    whole = publish(directory, tmp_path / "whole", exclude=["*.sql"])
    pd.testing.assert_frame_equal(whole.timeseries(), expected, check_exact=True)
    monkeypatch.setattr("idfkit_fs._outputs.sidecars._HELD", 100)
    monkeypatch.setattr("idfkit_fs._outputs.database._BATCH", 50)
    result = publish(directory, tmp_path / "parts")
    assert not has_sidecars(result) and "not in the order of time" in caplog.text
    pd.testing.assert_frame_equal(result.timeseries(), expected, check_exact=True)


# --- runs that EnergyPlus ended with an error ------------------------------------------------------------------------


def test_a_run_that_ended_with_an_error(
    bad_model: IDFDocument, epw: Path, eplus: EnergyPlusConfig, s3_place: Place, tmp_path: Path
) -> None:
    failed = simulate(bad_model, epw, output_dir=tmp_path / "failed", energyplus=eplus)
    assert not failed.success
    result = publish(failed, s3_place.url, storage_options=s3_place.options, sidecars=True)
    assert not result.success and not has_sidecars(result)
    with pytest.raises(NotReportedError, match=rf"^EnergyPlus failed: .*/eplus\.err \(.*'{TEMPERATURE}'"):
        result.timeseries(TEMPERATURE)
    with pytest.raises(NotReportedError, match=r"^EnergyPlus failed: .*/eplus\.err \(.*no tabular reports"):
        result.tabular("Annual")
    (tmp_path / "failed" / "eplus.sql").unlink()
    result = publish(failed, s3_place.joinpath("without").url, storage_options=s3_place.options)
    for read in (result.timeseries, result.tabular):
        with pytest.raises(NotReportedError, match=r"^EnergyPlus failed: .*/eplus\.err \(.*no SQLite output"):
            read()


def test_a_run_without_a_record_is_read_from_its_database(ran: Ran, twins: Twins, tmp_path: Path) -> None:
    """Sidecars that lie beside it are not proved to belong to it."""
    directory = Path(shutil.copytree(twins("everything")[1].run_dir, tmp_path / "run"))
    (directory / "run.json").unlink()
    for path in Path(twins("office")[0].run_dir).glob("*.parquet"):
        shutil.copy(path, directory)
    result = open_result(directory, require_record=False)
    assert result.record is None
    expected = twins("everything")[0].timeseries(METER, frequency="hourly")
    pd.testing.assert_frame_equal(result.timeseries(METER, frequency="hourly"), expected, check_exact=True)


# --- sidecars --------------------------------------------------------------------------------------------------------


def spoil(directory: Path, how: str, name: str, other: Path) -> None:
    path = directory / name
    if how == "missing":
        path.unlink()
    elif how == "cut":
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "another run's":
        shutil.copy(other / name, path)
    elif how == "foreign":
        path.write_bytes(os.urandom(path.stat().st_size))
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 1
        path.write_bytes(data)


SPOILT = ["missing", "cut", "empty", "another run's", "foreign", "one bit"]


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("with_database", [True, False], ids=["with the database", "without"])
def test_a_sidecar_that_was_spoilt(
    whole: Callable[[str], Path], twins: Twins, tmp_path: Path, how: str, with_database: bool
) -> None:
    source = whole("everything") if with_database else twins("everything")[0].run_dir
    run = Path(shutil.copytree(source, tmp_path / "run"))
    for name in (HOURLY, TABLES):
        spoil(run, how, name, Path(twins("office")[0].run_dir))
    for read in (operator.methodcaller("timeseries", frequency="hourly"), operator.methodcaller("tabular")):
        result = open_result(run)
        if with_database:
            with pytest.warns(UserWarning, match="Reading the whole database of file://.*/run: "):
                found = read(result)
            pd.testing.assert_frame_equal(found, read(twins("everything")[0]), check_exact=True)
        else:
            with pytest.raises((DamagedRunError, SidecarError, FileNotFoundError)):
                read(result)
    # What is whole is read as ever.
    expected = twins("everything")[0].timeseries(frequency="daily")
    pd.testing.assert_frame_equal(open_result(run).timeseries(frequency="daily"), expected, check_exact=True)


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("where", ["here", "in a store"])
def test_a_large_sidecar_that_was_spoilt(
    large_run: Path, twins: Twins, s3_place: Place, tmp_path: Path, how: str, where: str
) -> None:
    """Of which parts alone are read, so that its hash in the record does not show it."""
    expected = open_result(large_run).timeseries()
    run = Path(shutil.copytree(large_run, tmp_path / "run"))
    place = s3_place if where == "in a store" else Place(str(run))
    if place is s3_place:
        publish(run, place.url, storage_options=place.options)
    result = open_result(place.url, storage_options=place.options)
    spoil(run, how, LARGE, Path(twins("storeys")[0].run_dir))
    if place is s3_place:
        fs = FsspecFileSystem.from_url(place.url, **place.options)
        fs.remove(LARGE) if how == "missing" else fs.upload(run / LARGE, LARGE)
    with pytest.warns(UserWarning, match="Reading the whole database of "):
        found = result.timeseries()
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_a_sidecar_of_a_former_database_is_not_used(whole: Callable[[str], Path], twins: Twins, tmp_path: Path) -> None:
    """The writer of the record did not check: it names both, but the one was not made from the other."""
    run = Path(shutil.copytree(whole("everything"), tmp_path / "run"))
    with edited(run) as database:
        database.execute("UPDATE ReportData SET Value = Value + 1")
    path = run / "run.json"
    record = json.loads(path.read_text())
    (entry,) = [file for file in record["files"] if file["name"] == "eplus.sql"]
    entry["size"], entry["sha256"] = digest_of(run / "eplus.sql")
    record["sql_sha256"] = entry["sha256"]
    path.write_text(json.dumps(record))
    with pytest.warns(UserWarning, match=r"-hourly\.parquet was not made from the run's .sql file"):
        found = open_result(run).timeseries(METER, frequency="hourly")
    expected = twins("everything")[0].timeseries(METER, frequency="hourly")
    pd.testing.assert_frame_equal(found, expected + 1, check_exact=True)
    with pytest.warns(UserWarning, match=r"tabular\.parquet was not made from the run's .sql file"):
        assert len(open_result(run).tabular())


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"sql_sha256": 1}',
        json.dumps({"sql_sha256": "", "environments": 1, "sidecars": 2, "digests": 3}).encode(),
    ],
)
def test_metadata_that_are_not_ours(told: bytes) -> None:
    assert Contents.of({b"idfkit_fs": told}) is None
    assert Contents.of(None) is None and Contents.of({b"pandas": b"{}"}) is None


def test_writing_sidecars_by_hand(ran: Ran, twins: Twins, tmp_path: Path) -> None:
    sql = ran("everything").sql_path
    counted: list[int] = []
    wanted = ["sizing-detailed.parquet", "timeseries-detailed.parquet"]
    names = write_sidecars(Path(str(sql)), "0" * 64, tmp_path, wanted, counted.append)
    assert sorted(names) == wanted
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    with closing(sqlite3.connect(str(sql))) as database:
        assert database.execute("SELECT count(*) FROM ReportData").fetchone() == (sum(counted),)
