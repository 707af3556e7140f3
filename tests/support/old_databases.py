"""Databases as old versions of EnergyPlus wrote them, filled with the values of a run of today.

The tables and columns are those that EnergyPlus's SQLiteProcedures of the versions creates:

- 8.0 to 8.2: output variables and meters in tables of their own; cells without an index; each text with its type; the
  row of a month with the last day of the next month.
- 8.3 to 8.8: one table of values, and cells with an index, as today; ``Time`` has no years, and there is nothing annual.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

__all__ = ["LAYOUTS", "old_database"]

_KINDS = (("Variable", 0), ("Meter", 1))
_WITHOUT_YEARS = """
    CREATE TABLE Time (TimeIndex INTEGER PRIMARY KEY, Month INTEGER, Day INTEGER, Hour INTEGER, Minute INTEGER,
        Dst INTEGER, Interval INTEGER, IntervalType INTEGER, SimulationDays INTEGER, DayType TEXT,
        EnvironmentPeriodIndex INTEGER, WarmupFlag INTEGER);
    INSERT INTO Time SELECT TimeIndex, Month, Day, Hour, Minute, Dst, Interval, IntervalType, SimulationDays, DayType,
        EnvironmentPeriodIndex, WarmupFlag FROM new.Time WHERE IntervalType < 5;
"""
_SHARED = """
    CREATE TABLE Simulations (SimulationIndex INTEGER PRIMARY KEY, EnergyPlusVersion TEXT, TimeStamp TEXT,
        NumTimestepsPerHour INTEGER, Completed BOOL, CompletedSuccessfully BOOL);
    INSERT INTO Simulations SELECT * FROM new.Simulations;
    CREATE TABLE EnvironmentPeriods (EnvironmentPeriodIndex INTEGER PRIMARY KEY, SimulationIndex INTEGER,
        EnvironmentName TEXT, EnvironmentType INTEGER);
    INSERT INTO EnvironmentPeriods SELECT * FROM new.EnvironmentPeriods;
    CREATE TABLE Strings (StringIndex INTEGER PRIMARY KEY, StringTypeIndex INTEGER, Value TEXT);
    INSERT INTO Strings SELECT * FROM new.Strings;
"""
_CELLS = "ReportNameIndex, ReportForStringIndex, TableNameIndex, SimulationIndex, RowNameIndex, ColumnNameIndex, RowId"
_VIEW = """
    CREATE VIEW TabularDataWithStrings AS SELECT td.Value Value, reportn.Value ReportName, fs.Value ReportForString,
        tn.Value TableName, rn.Value RowName, cn.Value ColumnName, u.Value Units, RowId FROM TabularData td
        INNER JOIN Strings reportn ON reportn.StringIndex=td.ReportNameIndex
        INNER JOIN Strings fs ON fs.StringIndex=td.ReportForStringIndex
        INNER JOIN Strings tn ON tn.StringIndex=td.TableNameIndex
        INNER JOIN Strings rn ON rn.StringIndex=td.RowNameIndex
        INNER JOIN Strings cn ON cn.StringIndex=td.ColumnNameIndex
        INNER JOIN Strings u ON u.StringIndex=td.UnitsIndex
        WHERE reportn.StringTypeIndex=1 AND fs.StringTypeIndex=2 AND tn.StringTypeIndex=3 AND
        rn.StringTypeIndex=4 AND cn.StringTypeIndex=5 AND u.StringTypeIndex=6;
"""
_OF_8_0 = (
    _SHARED
    + _WITHOUT_YEARS
    + "UPDATE Time SET Day = CASE Month WHEN 1 THEN 28 WHEN 12 THEN 7 ELSE 30 END WHERE IntervalType = 3;"
    + "".join(
        f"""
        CREATE TABLE Report{kind}DataDictionary (Report{kind}DataDictionaryIndex INTEGER PRIMARY KEY,
            VariableType TEXT, IndexGroup TEXT, TimestepType TEXT, KeyValue TEXT, VariableName TEXT,
            ReportingFrequency TEXT, ScheduleName TEXT, VariableUnits TEXT);
        INSERT INTO Report{kind}DataDictionary SELECT ReportDataDictionaryIndex, Type, IndexGroup, TimestepType,
            coalesce(KeyValue, ''), Name, ReportingFrequency, ScheduleName, Units FROM new.ReportDataDictionary
            WHERE IsMeter = {is_meter} AND ReportingFrequency <> 'Annual';
        CREATE TABLE Report{kind}Data (TimeIndex INTEGER, Report{kind}DataDictionaryIndex INTEGER, VariableValue REAL,
            ReportVariableExtendedDataIndex INTEGER);
        INSERT INTO Report{kind}Data SELECT TimeIndex, ReportDataDictionaryIndex, Value, NULL FROM new.ReportData
            WHERE ReportDataDictionaryIndex IN (SELECT Report{kind}DataDictionaryIndex FROM Report{kind}DataDictionary)
            ORDER BY ReportDataIndex;
        """
        for kind, is_meter in _KINDS
    )
    + f"""
    CREATE TABLE TabularData (ReportNameIndex INTEGER, ReportForStringIndex INTEGER, TableNameIndex INTEGER,
        SimulationIndex INTEGER, RowNameIndex INTEGER, ColumnNameIndex INTEGER, RowId INTEGER, ColumnId INTEGER,
        Value TEXT, UnitsIndex INTEGER);
    INSERT INTO TabularData SELECT {_CELLS}, ColumnId, Value, UnitsIndex FROM new.TabularData ORDER BY TabularDataIndex;
    {_VIEW}
    """
)
_OF_8_3 = (
    _SHARED
    + _WITHOUT_YEARS
    + """
    CREATE TABLE ReportDataDictionary (ReportDataDictionaryIndex INTEGER PRIMARY KEY, IsMeter INTEGER, Type TEXT,
        IndexGroup TEXT, TimestepType TEXT, KeyValue TEXT, Name TEXT, ReportingFrequency TEXT, ScheduleName TEXT,
        Units TEXT);
    INSERT INTO ReportDataDictionary SELECT * FROM new.ReportDataDictionary WHERE ReportingFrequency <> 'Annual';
    CREATE TABLE ReportData (ReportDataIndex INTEGER PRIMARY KEY, TimeIndex INTEGER, ReportDataDictionaryIndex INTEGER,
        Value REAL);
    INSERT INTO ReportData SELECT * FROM new.ReportData
        WHERE ReportDataDictionaryIndex IN (SELECT ReportDataDictionaryIndex FROM ReportDataDictionary);
    CREATE VIEW ReportVariableData AS SELECT * FROM ReportData;
    CREATE VIEW ReportMeterData AS SELECT * FROM ReportData;
    CREATE TABLE TabularData (TabularDataIndex INTEGER PRIMARY KEY, ReportNameIndex INTEGER,
        ReportForStringIndex INTEGER, TableNameIndex INTEGER, RowNameIndex INTEGER, ColumnNameIndex INTEGER,
        UnitsIndex INTEGER, SimulationIndex INTEGER, RowId INTEGER, ColumnId INTEGER, Value TEXT);
    """
    + f"""
    INSERT INTO TabularData (TabularDataIndex, {_CELLS}, ColumnId, Value, UnitsIndex)
        SELECT TabularDataIndex, {_CELLS}, ColumnId, Value, UnitsIndex FROM new.TabularData;
    """
)
LAYOUTS = {"8.0": _OF_8_0, "8.3": _OF_8_3}
"""By the first version that has it, the statements that fill a database from an attached one called ``new``."""


def old_database(sql: Path, target: Path, version: str, *changes: str) -> Path:
    """Write a run's database in the layout of an old version.

    Args:
        sql: The run's database.
        target: The file to write.
        version: One of `LAYOUTS`.
        *changes: Further statements.

    Returns:
        The file that was written.
    """
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(target)) as database:
        database.text_factory = bytes
        database.execute("ATTACH ? AS new", (str(sql),))
        database.executescript(LAYOUTS[version])
        for change in changes:
            database.execute(change)
        database.commit()
    return target
