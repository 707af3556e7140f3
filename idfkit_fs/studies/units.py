"""The units of EnergyPlus's tables, with the factors that EnergyPlus itself used when it wrote them.

OutputControl:Table:Style chooses the units. EnergyPlus's factors are not those of a physics book: its kBtu is 3.41442
to the kWh, and its ft2 10.764961 to the m2 (OutputReportTabular.cc, SetupUnitConversions). Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["AREAS_M2", "ENERGIES_KWH", "POWERS_W", "converted"]

ENERGIES_KWH: Mapping[str, float] = {
    "J": 1 / 3.6e6,
    "MJ": 1 / 3.6,
    "GJ": 1 / 0.0036,
    "Wh": 1e-3,
    "kWh": 1.0,
    "kBtu": 1 / 3.41442,
    "therm": 100 / 3.41442,
    "MMBtu": 1000 / 3.41442,
}
POWERS_W: Mapping[str, float] = {"W": 1.0, "kW": 1e3, "Btu/h": 1 / 3.412, "kBtuh": 1 / 0.00341442}
AREAS_M2: Mapping[str, float] = {"m2": 1.0, "ft2": 1 / 10.764961}
_KINDS = (ENERGIES_KWH, POWERS_W, AREAS_M2)


def converted(number: float, units: str, wanted: str) -> float | None:
    """A number in other units, by EnergyPlus's own factors; None if the units are not of one kind.

    Examples:
        >>> converted(3.41442, "kBtu", "kWh"), converted(20.0, "C", "F")
        (1.0, None)
    """
    if units == wanted:
        return number
    kind = next((kind for kind in _KINDS if units in kind and wanted in kind), None)
    return None if kind is None else number * kind[units] / kind[wanted]
