"""What is worth knowing of a run: read where its files are local, so that collecting a study downloads none of them."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from idfkit.simulation import ErrorReport

from idfkit_fs.studies.job import Metric, Summary

__all__ = ["summarise"]

_ANNUAL = "AnnualBuildingUtilityPerformanceSummary"
_DEMAND = "DemandEndUseComponentsSummary"
_UNMET = "Comfort and Setpoint Not Met Summary"
_TOTAL = "Total End Uses"
# EnergyPlus writes its tables in the units that OutputControl:Table:Style asks for.
_TO_KWH = {"GJ": 1 / 0.0036, "MJ": 1 / 3.6, "J": 1 / 3.6e6, "kWh": 1.0, "kBtu": 0.29307107}
_TO_M2 = {"m2": 1.0, "ft2": 0.09290304}
_TO_W = {"W": 1.0, "kW": 1e3, "kBtuh": 293.07107, "Btu/h": 0.29307107}
_HOURS = {"Hours": 1.0, "hr": 1.0}


class _Cell(NamedTuple):
    report: str
    table: str
    row: str
    column: str
    units: str
    value: str

    def to(self, factors: dict[str, float]) -> float | None:
        """The cell's number in our unit; None if it has no number, or another kind of unit."""
        number = _number(self.value)
        return number * factors[self.units] if isinstance(number, float) and self.units in factors else None


def summarise(sql: Path | None, err: str | None, metrics: Sequence[Metric] = ()) -> Summary:
    """Summarise a run from its files.

    Args:
        sql: The run's SQLite output on this machine; None if it has none.
        err: The text of its ``.err`` file; None if it has none.
        metrics: Further cells to keep.

    Returns:
        The summary.
    """
    wanted = {_ANNUAL, _DEMAND, *(metric.report for metric in metrics)}
    cells = _Cells(_read(sql, wanted) if sql else ())
    area = cells.first(_ANNUAL, "Building Area", "Total Building Area", "Area", _TO_M2)
    site = cells.first(_ANNUAL, "Site and Source Energy", "Total Site Energy", "Total Energy", _TO_KWH)
    return Summary(
        floor_area_m2=area,
        site_energy_kwh=site,
        source_energy_kwh=cells.first(
            _ANNUAL, "Site and Source Energy", "Total Source Energy", "Total Energy", _TO_KWH
        ),
        eui_kwh_m2=site / area if site is not None and area else None,
        end_uses_kwh=cells.end_uses(),
        peak_demand_w=cells.peaks(),
        unmet_heating_hours=cells.first(
            _ANNUAL, _UNMET, "Time Setpoint Not Met During Occupied Heating", "Facility", _HOURS
        ),
        unmet_cooling_hours=cells.first(
            _ANNUAL, _UNMET, "Time Setpoint Not Met During Occupied Cooling", "Facility", _HOURS
        ),
        metrics={metric.name: cells.value(metric) for metric in metrics},
        **_errors(err),
    )


class _Cells:
    """The cells of some reports. Names are not unique in EnergyPlus's tables; the first one counts."""

    def __init__(self, cells: Iterable[_Cell]) -> None:
        self._cells = list(cells)
        self._by_place: dict[tuple[str, ...], _Cell] = {}
        for cell in self._cells:
            self._by_place.setdefault(cell[:4], cell)

    def first(self, report: str, table: str, row: str, column: str, factors: dict[str, float]) -> float | None:
        cell = self._by_place.get((report, table, row, column))
        return cell.to(factors) if cell else None

    def value(self, metric: Metric) -> float | str | None:
        cell = self._by_place.get((metric.report, metric.table, metric.row, metric.column))
        return _number(cell.value) if cell else None

    def end_uses(self) -> dict[str, dict[str, float]]:
        uses: dict[str, dict[str, float]] = {}
        for cell in self._in(_ANNUAL):
            energy = cell.to(_TO_KWH)
            if energy and cell.row not in ("", _TOTAL):
                uses.setdefault(cell.row, {})[cell.column] = energy
        return uses

    def peaks(self) -> dict[str, float]:
        found = {cell.column: cell.to(_TO_W) for cell in self._in(_DEMAND) if cell.row == _TOTAL}
        return {fuel: demand for fuel, demand in found.items() if demand}

    def _in(self, report: str) -> Iterable[_Cell]:
        return (cell for cell in self._by_place.values() if (cell.report, cell.table) == (report, "End Uses"))


def _read(sql: Path, reports: set[str]) -> list[_Cell]:
    """The cells of some reports; none if the file has no tables, as that of a run which broke off."""
    marks = ", ".join("?" * len(reports))
    query = f"""
        SELECT ReportName, TableName, RowName, ColumnName, Units, Value FROM TabularDataWithStrings
        WHERE ReportName IN ({marks}) ORDER BY TabularDataIndex
    """  # noqa: S608 - question marks alone
    uri = f"file:{quote(sql.as_posix(), safe='/:')}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        # EnergyPlus's texts are not always UTF-8: there is a Latin-1 degree sign in its climatic data.
        connection.text_factory = _decode
        try:
            return [_Cell(*(text or "" for text in row)) for row in connection.execute(query, sorted(reports))]
        except sqlite3.DatabaseError:
            return []


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _number(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text.strip()
    return number if math.isfinite(number) else text.strip()


def _errors(err: str | None) -> dict[str, Any]:
    if err is None:
        return {}
    report = ErrorReport.from_string(err)
    worst = [*report.severe, *report.fatal]
    return {
        "warnings": report.warning_count,
        "severe_errors": report.error_count,
        "message": worst[0].message if worst else None,
    }
