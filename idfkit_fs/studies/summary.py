"""The main results of a run, read from its local files, so that collecting a study downloads no file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from idfkit_fs._outputs.database import NO_DATABASE, Cell, Database, no_tables
from idfkit_fs._outputs.ending import Ending
from idfkit_fs._outputs.series import matcher, not_reported
from idfkit_fs.errors import UnreadableDatabaseError
from idfkit_fs.studies.job import Measured, Metric, Summary
from idfkit_fs.studies.units import AREAS_M2, ENERGIES_KWH, POWERS_W

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["cells_of", "measure", "no_eui", "summarise"]

_ANNUAL = "AnnualBuildingUtilityPerformanceSummary"
_DEMAND = "DemandEndUseComponentsSummary"
_INPUTS = "InputVerificationandResultsSummary"
_ENERGY = "Site and Source Energy"
_LOADS = "Electric Loads Satisfied"
_UNMET = "Comfort and Setpoint Not Met Summary"
_TOTAL = "Total End Uses"
_HOURS = {"Hours": 1.0, "hr": 1.0, "hrs": 1.0}
_YEARS = (8760, 8784)
# End uses whose meters have other names (Input Output Reference, Output:Meter).
_METER_OF_USE = {
    "interiorlighting": "interiorlights",
    "exteriorlighting": "exteriorlights",
    "humidification": "humidifier",
    "generators": "cogeneration",
}


def summarise(sql: Path | None, ending: Ending, metrics: Sequence[Metric] = ()) -> Summary:
    """Summarise a run from its files.

    Args:
        sql: The run's SQLite output on this machine; None if the run has none.
        ending: How the run ended.
        metrics: Further cells to read.

    Returns:
        The summary.
    """
    errors = _errors(ending)
    if sql is None:
        return Summary(notes=(NO_DATABASE,), metrics=_measured(metrics, ()), **errors)
    try:
        database = Database(sql)
        # The names of a metric's report may be a pattern.
        cells = _Cells(database.cells(None if metrics else {_ANNUAL, _DEMAND, _INPUTS}))
        return Summary(**_figures(database, cells), metrics=_measured(metrics, cells.all), **errors)
    except UnreadableDatabaseError as exc:
        return Summary(notes=(f"The results are missing: {exc}",), metrics=_measured(metrics, ()), **errors)


def _figures(database: Database, cells: _Cells) -> dict[str, Any]:
    """The figures of a summary, and why some are missing."""
    hours = cells.first(_INPUTS, "General", "Hours Simulated", "Value", _HOURS)
    if hours is None:
        hours = database.hours_of_run_periods()
    area = cells.first(_ANNUAL, "Building Area", "Total Building Area", "Area", AREAS_M2)
    found: dict[str, Any] = {"hours_simulated": hours, "floor_area_m2": area}
    if not cells.all:
        return found | {"notes": (no_tables(database.has_cells),)}
    if not cells.has(_ANNUAL):
        return found | {"notes": (f"The results are missing: the model does not request the report {_ANNUAL}",)}
    if hours == 0:
        return found | {"notes": ("The results are missing: only sizing periods were simulated, and no run period",)}
    fine = _Meters(database, cells.fuels())
    site = fine.site(cells.number(_ANNUAL, _ENERGY, "Total Site Energy", "Total Energy"))
    onsite = fine.onsite(cells.number(_ANNUAL, _LOADS, "Total On-Site Electric Sources", "Electricity"))
    note = no_eui(hours, sum(not environment.sizing for environment in database.environments), area)
    return found | {
        "site_energy_kwh": site and site.energy,
        "source_energy_kwh": cells.first(_ANNUAL, _ENERGY, "Total Source Energy", "Total Energy", ENERGIES_KWH),
        "eui_kwh_m2": site.energy / area if site is not None and area and not note else None,
        "net_site_energy_kwh": _net(site, onsite, cells.number(_ANNUAL, _ENERGY, "Net Site Energy", "Total Energy")),
        "on_site_electricity_kwh": onsite and onsite.energy,
        "surplus_electricity_kwh": cells.first(
            _ANNUAL, _LOADS, "Surplus Electricity Going To Utility", "Electricity", ENERGIES_KWH
        ),
        "end_uses_kwh": fine.end_uses(cells.end_uses()),
        "peak_demand_w": cells.peaks(),
        "unmet_heating_hours": cells.first(
            _ANNUAL, _UNMET, "Time Setpoint Not Met During Occupied Heating", "Facility", _HOURS
        ),
        "unmet_cooling_hours": cells.first(
            _ANNUAL, _UNMET, "Time Setpoint Not Met During Occupied Cooling", "Facility", _HOURS
        ),
        "notes": (note,) if note else (),
    }


def no_eui(hours: float | None, run_periods: int, area: float | None) -> str | None:
    """Why there is no EUI: it means one year, and the tables add up all run periods; None if there is one."""
    if hours is None:
        return "eui_kwh_m2 is missing: it is unknown how many hours were simulated; request the report " + _INPUTS
    if run_periods != 1:
        return f"eui_kwh_m2 is missing: {run_periods} run periods of {hours:g} hours were simulated, and not one year"
    if hours not in _YEARS:
        return f"eui_kwh_m2 is missing: {hours:g} hours were simulated, and not a year of 8760 or 8784"
    if not area:
        return f"eui_kwh_m2 is missing: the floor area is {'unknown' if area is None else '0 m2'}"
    return None


def _net(site: _Rounded | None, onsite: _Rounded | None, table: _Rounded | None) -> float | None:
    """The site energy less the on-site electricity, or the table's own figure where that is more exact and agrees.

    It does not with InchPoundExceptElectricity, for which EnergyPlus subtracts kWh from kBtu.
    """
    if site is None or onsite is None:
        return None
    energy, error = site.energy - onsite.energy, site.error + onsite.error
    if table and table.error < error and abs(table.energy - energy) <= table.error + error:
        return table.energy
    return energy


def _measured(metrics: Iterable[Metric], cells: Sequence[Cell]) -> dict[str, Measured]:
    if not cells:  # the notes say why, once for all metrics
        return {metric.name: Measured(cell=metric.cell) for metric in metrics}
    return {metric.name: measure(metric, cells) for metric in metrics}


def measure(metric: Metric, cells: Sequence[Cell]) -> Measured:
    """The value of a metric among the cells of a run.

    Args:
        metric: The metric; its names match as those of [Study.tabular][idfkit_fs.Study.tabular] do.
        cells: All cells.

    Returns:
        The value; or why it is missing: no cell matches, or several cells match that differ.

    Examples:
        >>> cell = Cell("Report", "Entire Facility", "End Uses", "Heating", "Electricity", "GJ", "1.50")
        >>> measure(Metric(name="x", report="rep*", table="End Uses", row="heating", column="*"), [cell]).value
        1.5
        >>> measure(Metric(name="x", report="*", table="*", row="Heatin", column="*"), [cell]).problem
        "The metric 'x' has no value: There is no row 'Heatin'; the nearest is 'Heating'"
    """
    exact = [cell for cell in cells if (cell.report, cell.table, cell.row, cell.column) == metric.cell]
    found = exact or cells
    for part in () if exact else ("report", "table", "row", "column"):
        name, matches = getattr(metric, part), matcher(getattr(metric, part))
        known = {text: matches(text) for text in dict.fromkeys(getattr(cell, part) for cell in found)}
        if not any(known.values()):
            return metric.missing(str(not_reported(name, known, part)))
        found = [cell for cell in found if known[getattr(cell, part)]]
    # The same cell may be in a table twice; a name may be, too, and then it is unknown which one is meant.
    different = list(dict.fromkeys(found))
    if len(different) > 1:
        first, second = (", ".join((*cell[:5], f"{cell.value} {cell.units}".strip())) for cell in different[:2])
        return metric.missing(f"{len(different)} cells match, such as ({first}) and ({second}); name one of them")
    (cell,) = different
    return Measured(cell=metric.cell, value=cell.value if cell.number is None else cell.number, units=cell.units)


def cells_of(table: pa.Table) -> list[Cell]:
    """The cells of a table, as [RunData.cells][idfkit_fs.runs.data.RunData.cells] gives them."""
    return [Cell(*texts) for texts in zip(*(table.column(name).to_pylist() for name in Cell._fields), strict=True)]


class _Cells:
    """The cells of some reports. Names are not unique in EnergyPlus's tables; the first cell of a name is used."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self.all = list(cells)
        self._by_place: dict[tuple[str, ...], Cell] = {}
        for cell in self.all:
            self._by_place.setdefault((cell.report, cell.table, cell.row, cell.column), cell)

    def has(self, report: str) -> bool:
        return any(place[0] == report for place in self._by_place)

    def first(self, report: str, table: str, row: str, column: str, factors: Mapping[str, float]) -> float | None:
        """The cell's number in our unit; None if there is no such cell, no number, or a unit of another kind."""
        cell = self._by_place.get((report, table, row, column))
        return _in_unit(cell, factors) if cell else None

    def number(self, *place: str) -> _Rounded | None:
        """An energy, with its rounding."""
        cell = self._by_place.get(place)
        return _rounded(cell) if cell else None

    def end_uses(self) -> dict[tuple[str, str], _Rounded]:
        """Each energy of an end use and a fuel."""
        found = {(cell.row, cell.column): _rounded(cell) for cell in self._in(_ANNUAL) if cell.row not in ("", _TOTAL)}
        return {place: energy for place, energy in found.items() if energy is not None}

    def fuels(self) -> dict[str, float]:
        """The energy of each fuel."""
        found = {cell.column: _in_unit(cell, ENERGIES_KWH) for cell in self._in(_ANNUAL) if cell.row == _TOTAL}
        return {fuel: energy for fuel, energy in found.items() if energy is not None}

    def peaks(self) -> dict[str, float]:
        found = {cell.column: _in_unit(cell, POWERS_W) for cell in self._in(_DEMAND) if cell.row == _TOTAL}
        return {fuel: demand for fuel, demand in found.items() if demand}

    def _in(self, report: str) -> Iterable[Cell]:
        return (cell for cell in self._by_place.values() if (cell.report, cell.table) == (report, "End Uses"))


class _Rounded(NamedTuple):
    """An energy of a table in kWh, and the largest error that its rounding makes."""

    energy: float
    error: float


def _rounded(cell: Cell) -> _Rounded | None:
    energy = _in_unit(cell, ENERGIES_KWH)
    if energy is None:
        return None
    decimals = len(cell.value.lower().partition("e")[0].partition(".")[2])
    # EnergyPlus writes more than 9 digits as 0.123456E+12.
    exponent = int(cell.value.lower().partition("e")[2] or 0)
    step = 10.0 ** (exponent - decimals) * ENERGIES_KWH[cell.units]
    return _Rounded(energy, 0.5 * step + 1e-6 * abs(energy))


def _in_unit(cell: Cell, factors: Mapping[str, float]) -> float | None:
    return cell.number * factors[cell.units] if cell.number is not None and cell.units in factors else None


class _Meters:
    """Energies from meters that the model reports anyway: the tables have steps of 2.78 kWh, two decimals of GJ.

    A meter counts only where it agrees with the table to the table's rounding, so it can make a figure finer, and
    never another one.

    Args:
        database: The database.
        fuels: The energy of each fuel, in the tables.
    """

    def __init__(self, database: Database, fuels: Mapping[str, float]) -> None:
        self._fuels = fuels
        names = {_meter(fuel) for fuel in fuels}
        uses = {_meter(use) for use in _USES}
        wanted = {f"{fuel}:facility" for fuel in names} | {f"{use}:{fuel}" for use in uses for fuel in names}
        joules = database.totals(wanted | {"electricityproduced:facility"})
        self._kwh = {name: total * ENERGIES_KWH["J"] for name, total in joules.items()}

    def site(self, table: _Rounded | None) -> _Rounded | None:
        """The site energy: the sum of all fuels, if each that is used has a meter."""
        meters = {fuel: self._kwh.get(f"{_meter(fuel)}:facility") for fuel in self._fuels}
        known = [energy for energy in meters.values() if energy is not None]
        complete = known and all(energy == 0 or meters[fuel] is not None for fuel, energy in self._fuels.items())
        return _finer(table, sum(known) if complete else None)

    def onsite(self, table: _Rounded | None) -> _Rounded | None:
        return _finer(table, self._kwh.get("electricityproduced:facility"))

    def end_uses(self, table: Mapping[tuple[str, str], _Rounded]) -> dict[str, dict[str, float]]:
        uses: dict[str, dict[str, float]] = {}
        for (use, fuel), rounded in table.items():
            found = _finer(rounded, self._kwh.get(f"{_meter(use)}:{_meter(fuel)}"))
            if found and found.energy:
                uses.setdefault(use, {})[fuel] = found.energy
        return uses


_USES: Collection[str] = (
    "Heating",
    "Cooling",
    "Interior Lighting",
    "Exterior Lighting",
    "Interior Equipment",
    "Exterior Equipment",
    "Fans",
    "Pumps",
    "Heat Rejection",
    "Humidification",
    "Heat Recovery",
    "Water Systems",
    "Refrigeration",
    "Generators",
)


def _meter(name: str) -> str:
    """An end use or a fuel as the names of meters spell it, in lower case."""
    plain = name.replace(" ", "").lower()
    return _METER_OF_USE.get(plain, plain)


def _finer(table: _Rounded | None, meter: float | None) -> _Rounded | None:
    if table is None or meter is None or abs(meter - table.energy) > table.error:
        return table
    return _Rounded(meter, 0.0)


def _errors(ending: Ending) -> dict[str, Any]:
    return {"warnings": ending.warnings, "severe_errors": ending.severe_errors, "message": ending.message}
