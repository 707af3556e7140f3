"""The main results of a run, read from its local files, so that collecting a study downloads no file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from idfkit_fs._outputs.database import Cell, Database
from idfkit_fs._outputs.ending import Ending
from idfkit_fs.errors import UnreadableDatabaseError
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


def _in_unit(cell: Cell, factors: dict[str, float]) -> float | None:
    """The cell's number in our unit; None if it has no number, or a unit of another kind."""
    return cell.number * factors[cell.units] if cell.number is not None and cell.units in factors else None


def summarise(sql: Path | None, ending: Ending, metrics: Sequence[Metric] = ()) -> Summary:
    """Summarise a run from its files.

    Args:
        sql: The run's SQLite output on this machine; None if the run has none.
        ending: How the run ended.
        metrics: Further cells to read.

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
        **_errors(ending),
    )


class _Cells:
    """The cells of some reports. Names are not unique in EnergyPlus's tables; the first cell of a name is used."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._cells = list(cells)
        self._by_place: dict[tuple[str, ...], Cell] = {}
        for cell in self._cells:
            self._by_place.setdefault((cell.report, cell.table, cell.row, cell.column), cell)

    def first(self, report: str, table: str, row: str, column: str, factors: dict[str, float]) -> float | None:
        cell = self._by_place.get((report, table, row, column))
        return _in_unit(cell, factors) if cell else None

    def value(self, metric: Metric) -> float | str | None:
        cell = self._by_place.get((metric.report, metric.table, metric.row, metric.column))
        return None if cell is None else cell.value if cell.number is None else cell.number

    def end_uses(self) -> dict[str, dict[str, float]]:
        uses: dict[str, dict[str, float]] = {}
        for cell in self._in(_ANNUAL):
            energy = _in_unit(cell, _TO_KWH)
            if energy and cell.row not in ("", _TOTAL):
                uses.setdefault(cell.row, {})[cell.column] = energy
        return uses

    def peaks(self) -> dict[str, float]:
        found = {cell.column: _in_unit(cell, _TO_W) for cell in self._in(_DEMAND) if cell.row == _TOTAL}
        return {fuel: demand for fuel, demand in found.items() if demand}

    def _in(self, report: str) -> Iterable[Cell]:
        return (cell for cell in self._by_place.values() if (cell.report, cell.table) == (report, "End Uses"))


def _read(sql: Path, reports: set[str]) -> list[Cell]:
    """The cells of some reports; an empty list if the database has no tables, because EnergyPlus did not get so far."""
    try:
        return Database(sql).cells(reports)
    except UnreadableDatabaseError:
        return []


def _errors(ending: Ending) -> dict[str, Any]:
    return {"warnings": ending.warnings, "severe_errors": ending.severe_errors, "message": ending.message}
