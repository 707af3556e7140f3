"""Databases that an attacker made: a query ends, and what EnergyPlus does not write is refused."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from idfkit.simulation import SimulationResult
from support.old_databases import LAYOUTS, old_database

from idfkit_fs import RunResult, open_result, publish
from idfkit_fs._outputs.database import Database
from idfkit_fs._outputs.sqlite_file import connect, problem_of_shape, why_not
from idfkit_fs._util.files import digest_of
from idfkit_fs.errors import UnfinishedRunError, UnreadableDatabaseError
from idfkit_fs.runs.record import RecordedFile, RunRecord

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
VIEW = "DROP TABLE {0}; CREATE VIEW {0} AS " + ENDLESS + " SELECT {1} FROM c"
SHAPES = {
    "a view for a table": VIEW.format("ReportData", "x AS ReportDataIndex, 1 AS TimeIndex, 1 AS Value"),
    "a view for the cells": VIEW.format("TabularData", "x AS TabularDataIndex, 'x' AS Value"),
    "a view for the names": VIEW.format("Strings", "x AS StringIndex, 'x' AS Value"),
    "a recursive view": f"DROP VIEW TabularDataWithStrings; CREATE VIEW TabularDataWithStrings AS {ENDLESS} SELECT x FROM c",
    "a view that calls": "CREATE VIEW more AS SELECT randomblob(1000000000) FROM Time",
    "a view of pairs": "CREATE VIEW more AS SELECT a.Value FROM ReportData a, ReportData b, ReportData c",
    "a view of views": "CREATE VIEW more AS SELECT a.Value FROM ReportVariableData AS a",
    "a union": "CREATE VIEW more AS SELECT Value FROM Strings UNION ALL SELECT Value FROM Strings",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON Time BEGIN DELETE FROM Time; END",
    "a computed column": "ALTER TABLE Time ADD COLUMN more TEXT AS (printf('%.*c', 900000000, 'x'))",
    "a virtual table": "PRAGMA writable_schema = ON; INSERT INTO sqlite_master VALUES "
    "('table', 'more', 'more', 0, 'CREATE VIRTUAL TABLE more USING fts5(a)')",
}


@pytest.fixture
def run(local_run: SimulationResult, tmp_path: Path) -> Callable[..., RunResult]:
    """Makes a run of a database that is changed by statements, with a record that fits."""

    def make(*statements: str) -> RunResult:
        directory = tmp_path / "run"
        directory.mkdir()
        shutil.copy(local_run.run_dir / "eplus.sql", directory)
        with closing(sqlite3.connect(directory / "eplus.sql")) as database:
            for statement in statements:
                database.executescript(statement)
            database.commit()
        size, sha256 = digest_of(directory / "eplus.sql")
        entry = RecordedFile(name="eplus.sql", size=size, sha256=sha256)
        record = RunRecord(success=True, exit_code=0, runtime_seconds=1, files=(entry,))
        (directory / "run.json").write_bytes(record.to_json())
        return open_result(directory)

    return make


def test_an_honest_database_is_read(run: Callable[..., RunResult]) -> None:
    result = run()
    assert result.sql is not None and result.sql.list_reports()
    assert len(result.tabular()) and len(result.data.catalog())


@pytest.mark.parametrize("version", LAYOUTS)
def test_databases_of_old_versions_are_fine(local_run: SimulationResult, tmp_path: Path, version: str) -> None:
    path = old_database(local_run.run_dir / "eplus.sql", tmp_path / "old.sql", version)
    with closing(connect(path)) as database:
        assert problem_of_shape(database) is None


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_that_energyplus_does_not_write_is_refused(run: Callable[..., RunResult], shape: str) -> None:
    result = run(SHAPES[shape])
    for read in (result.timeseries, result.tabular, lambda: result.sql):
        with pytest.raises(UnreadableDatabaseError, match="cannot be read as an SQLite output of EnergyPlus: its? "):
            read()


def test_an_endless_query_ends(local_run: SimulationResult) -> None:
    with closing(connect(local_run.run_dir / "eplus.sql")) as database, pytest.raises(sqlite3.DatabaseError) as caught:
        database.execute(f"{ENDLESS} SELECT max(x) FROM c").fetchall()
    assert why_not(caught.value) == "a query takes too long for a file of this size"


def test_texts_without_end_are_refused(local_run: SimulationResult) -> None:
    with closing(connect(local_run.run_dir / "eplus.sql")) as database:
        with pytest.raises(sqlite3.DataError, match="its texts are larger"):
            database.execute(f"{ENDLESS} SELECT printf('%.*c', 10000000, 'x') FROM c").fetchall()
        with pytest.raises(sqlite3.DatabaseError, match="too big"):
            database.execute("SELECT zeroblob(20000000)").fetchall()


def test_names_that_are_there_a_thousand_times_make_no_more_cells(
    run: Callable[..., RunResult], local_run: SimulationResult
) -> None:
    """A join would find each of them a thousand times, six times over."""
    many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1000)"
    result = run(
        "DROP TABLE Strings; CREATE TABLE Strings (StringIndex INTEGER, StringTypeIndex INTEGER, Value TEXT)",
        f"INSERT INTO Strings {many} SELECT 1, 1, 'x' FROM c",
        "UPDATE TabularData SET ReportNameIndex = 1, ReportForStringIndex = 1, TableNameIndex = 1, RowNameIndex = 1, "
        "ColumnNameIndex = 1, UnitsIndex = 1",
    )
    with closing(sqlite3.connect(local_run.run_dir / "eplus.sql")) as database:
        (cells,) = database.execute("SELECT count(*) FROM TabularData").fetchone()
    assert result.tabular()["row"].tolist() == ["x"] * cells


def test_pages_that_lead_to_themselves_are_refused(local_run: SimulationResult) -> None:
    path = local_run.run_dir / "eplus.sql"
    data = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ReportData'").fetchone()
    size = int.from_bytes(data[16:18], "big")
    start = (root - 1) * size
    assert data[start] == 5  # an interior page of a table
    for entry in range(start + 12, start + 12 + 2 * int.from_bytes(data[start + 3 : start + 5], "big"), 2):
        pointer = start + int.from_bytes(data[entry : entry + 2], "big")
        data[pointer : pointer + 4] = root.to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(UnreadableDatabaseError):
        list(Database(path).values())


def test_more_values_than_the_file_has_room_for_are_refused(
    local_run: SimulationResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that lead to each other can give values forever; here, each is taken for a thousand bytes."""
    monkeypatch.setattr("idfkit_fs._outputs.database.SQL_BYTES_PER_ROW", 1000)
    with pytest.raises(UnreadableDatabaseError, match="more values than a file of its size can have"):
        list(Database(local_run.run_dir / "eplus.sql").values())


def test_an_endless_database_is_not_published(local_run: SimulationResult, tmp_path: Path) -> None:
    with closing(sqlite3.connect(local_run.run_dir / "eplus.sql")) as database:
        columns = "x AS Completed, x AS CompletedSuccessfully, x AS TimeStamp, x AS EnergyPlusVersion"
        database.executescript(f"DROP TABLE Simulations; CREATE VIEW Simulations AS {ENDLESS} SELECT {columns} FROM c")
    with pytest.raises(UnfinishedRunError, match="interrupted|takes too long"):
        publish(local_run.run_dir, tmp_path / "published")


def test_a_database_is_not_written_to(local_run: SimulationResult) -> None:
    path = local_run.run_dir / "eplus.sql"
    (local_run.run_dir / "eplus.sql-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(1000))
    before = digest_of(path)
    with closing(connect(path)) as database:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            database.execute("DELETE FROM Time")
        assert database.execute("SELECT count(*) FROM Time").fetchone() > (0,)
    assert digest_of(path) == before and (local_run.run_dir / "eplus.sql-journal").exists()
