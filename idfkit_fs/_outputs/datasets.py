"""Series in the form of xarray: one array per variable, with the key values as a dimension."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from idfkit_fs._outputs.series import FREQUENCIES, Series

if TYPE_CHECKING:
    from idfkit_fs._outputs.clock import Times

__all__ = ["Array", "arrays_of", "coordinates_of", "keys_of"]

# EnergyPlus's units that UDUNITS, which CF refers to, spells differently: there, "C" is the coulomb.
_UNITS = {"": "1", "C": "degC", "deltaC": "K", "hr": "h", "kgWater/kgDryAir": "kg/kg", "ach": "1/h", "ppm": "1e-6"}
# Key values of which a building has just one; a variable with only these has no dimension "key".
_NO_KEYS = ("", "Environment")


@dataclass
class Array:
    """A variable of a dataset.

    Attributes:
        name: The name of the output variable or meter.
        series: Its series, by key value.
    """

    name: str
    series: dict[str, Series] = field(default_factory=dict)

    @property
    def has_keys(self) -> bool:
        """Whether it has the dimension ``key``."""
        return not all(key in _NO_KEYS for key in self.series)

    @property
    def attributes(self) -> dict[str, Any]:
        """Its attributes, as in the CF conventions (Climate and Forecast Metadata Conventions, 3.1, 3.2, 7.3)."""
        first = next(iter(self.series.values()))
        return {
            "units": _UNITS.get(first.units, first.units),
            "long_name": self.name,
            "cell_methods": f"time: {'mean' if first.averaged else 'sum'}",
            "reporting_frequency": FREQUENCIES[first.frequency].label,
        }


def arrays_of(series: Iterable[Series]) -> list[Array]:
    """Group series of one frequency by variable.

    If a variable is reported twice for one key, with different schedules, the second one gets a name of its own.
    """
    arrays: dict[str, Array] = {}
    for each in series:
        # EnergyPlus marks a cumulative meter by the key value "Cumulative".
        name, key = (f"{each.key} {each.variable}".strip(), "") if each.is_meter else (each.variable, each.key)
        if name in arrays and key in arrays[name].series:
            name = f"{name} ({each.schedule or each.column})"
        arrays.setdefault(name, Array(name)).series[key] = each
    return list(arrays.values())


def keys_of(arrays: Sequence[Array]) -> list[str]:
    """The key values of all variables with the dimension ``key``, each once."""
    return list(dict.fromkeys(key for array in arrays if array.has_keys for key in array.series))


def coordinates_of(times: Times, keys: Sequence[str]) -> dict[str, Any]:
    """The coordinate ``time``, and ``key`` if there are keys, in the form that xarray takes."""
    import numpy as np

    attributes = {"standard_name": "time", "long_name": "end of the interval, local standard time"}
    # Every release of xarray supports nanoseconds.
    coordinates: dict[str, Any] = {"time": ("time", times.astype("datetime64[ns]"), attributes)}
    if keys:
        coordinates["key"] = ("key", np.array(keys, dtype=object), {"long_name": "key value"})
    return coordinates
