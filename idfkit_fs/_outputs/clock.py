"""The times of EnergyPlus's values: the database's time steps as timestamps, for each period. No I/O.

A timestamp is the end of its interval, in local standard time, as EnergyPlus reports it (Output Details and Examples,
"eplusout.eso"): daylight saving time shifts schedules, not the clock of the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from idfkit_fs._outputs.series import FREQUENCIES, Environment

__all__ = ["Steps", "Timeline", "Times", "timelines"]

Times = npt.NDArray[np.datetime64]
_Numbers = npt.NDArray[np.float64]
_Flags = npt.NDArray[np.bool_]

# EnergyPlus reports no year for a design day. idfkit uses this one too.
_YEAR_OF_NO_YEAR = 2017
_HALF_A_DAY = np.timedelta64(12, "h")
_STEPS_AND_DAYS, _MONTH, _RUN_PERIOD, _ANNUAL = (-1, 0, 1, 2), 3, 4, 5
_UNKNOWN = Environment("", False)


class Steps(NamedTuple):
    """The columns of the database's table ``Time``, in the order of its rows; NaN for NULL."""

    number: _Numbers
    year: _Numbers
    month: _Numbers
    day: _Numbers
    hour: _Numbers
    minute: _Numbers
    interval: _Numbers
    interval_type: _Numbers
    days: _Numbers
    environment: _Numbers
    warmup: _Numbers


@dataclass(frozen=True)
class Timeline:
    """The rows of one table of series.

    Attributes:
        times: The end of each interval; NaT if EnergyPlus does not report it.
        environments: The environment of each row, as an index into *names*.
        names: The environments' names.
        row_of: For each ``TimeIndex`` the row, or -1; the last element is for all larger ones.
    """

    times: Times
    environments: npt.NDArray[np.int32]
    names: tuple[str, ...]
    row_of: npt.NDArray[np.int64]

    def rows(self, indexes: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
        """The row of each ``TimeIndex``, or -1."""
        return self.row_of.take(indexes, mode="clip")

    @property
    def environment_names(self) -> npt.NDArray[np.object_]:
        """The name of the environment of each row."""
        return np.array(self.names, dtype=object)[self.environments]


def timelines(
    rows: Sequence[Sequence[Any]], timestep: float, environments: Mapping[int, Environment]
) -> dict[tuple[str, bool], Timeline]:
    """The rows of each table that a database has, by frequency and whether it is for sizing periods.

    Warm-up days, which EnergyPlus reports only on request (Output:Diagnostics, ReportDuringWarmup), are left out.

    Args:
        rows: The table ``Time`` in the order of its index, with the columns of
            [Steps][idfkit_fs._outputs.clock.Steps].
        timestep: Minutes of a zone time step; 0 if unknown.
        environments: The environments by their index in the database.

    Returns:
        Timelines that have at least one row.
    """
    steps = Steps(*np.array(rows, dtype=float).reshape(len(rows), len(Steps._fields)).T)
    times = _times(steps)
    real = ~_warming_up(steps, times)
    sizing = np.array([environments.get(int(index), _UNKNOWN).sizing for index in np.nan_to_num(steps.environment)])
    found = {}
    for name in FREQUENCIES:
        reported = real & _at(steps, name, timestep)
        for is_sizing in (False, True):
            chosen = np.flatnonzero(reported & (sizing == is_sizing))
            if len(chosen):
                found[name, is_sizing] = _timeline(steps, times, chosen, environments)
    return found


def _at(steps: Steps, frequency: str, timestep: float) -> _Flags:
    """Which steps are reported at a frequency."""
    of_kind: _Flags = np.isin(steps.interval_type, FREQUENCIES[frequency].intervals)
    if frequency == "timestep" and timestep:
        # Steps of the HVAC system have the same type, but may be shorter.
        of_kind &= steps.interval == timestep
    return of_kind


def _timeline(
    steps: Steps, times: Times, chosen: npt.NDArray[np.intp], environments: Mapping[int, Environment]
) -> Timeline:
    # If HVAC steps are shorter than the zone's, the last of them ends at the same time as the zone's; this is one row.
    moments = np.stack([np.nan_to_num(steps.environment[chosen]), times[chosen].astype(np.int64)], axis=1)
    distinct, first, row = np.unique(moments.astype(np.int64), axis=0, return_index=True, return_inverse=True)
    indexes, numbers = np.unique(distinct[:, 0], return_inverse=True)
    row_of = np.full(int(steps.number.max()) + 2, -1)
    row_of[steps.number[chosen].astype(int)] = row.reshape(-1)
    names = tuple(environments.get(int(index), _UNKNOWN).name for index in indexes)
    return Timeline(times[chosen][first], numbers.reshape(-1).astype(np.int32), names, row_of)


def _times(steps: Steps) -> Times:
    year = np.where(np.nan_to_num(steps.year) > 0, steps.year, _YEAR_OF_NO_YEAR).astype(int)
    month, day, hour, minute = (
        np.nan_to_num(part, nan=1.0).astype(int) for part in (steps.month, steps.day, steps.hour, steps.minute)
    )
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    minutes = (((day - 1) * 24 + hour) * 60 + minute).astype("timedelta64[m]")
    times: Times = (months.astype("datetime64[m]") + minutes).astype("datetime64[us]")
    times[np.isnan(steps.month)] = np.datetime64("NaT", "us")
    annual = steps.interval_type == _ANNUAL
    times[annual] = (year[annual] + 1 - 1970).astype("datetime64[Y]").astype(times.dtype)
    for index in np.flatnonzero(steps.interval_type == _RUN_PERIOD):
        # It has no date of its own: use the last step, day or month of its environment, if one is reported.
        mine = steps.environment == steps.environment[index]
        for kinds in (_STEPS_AND_DAYS, (_MONTH,)):
            within = mine & np.isin(steps.interval_type, kinds)
            if within.any():
                times[index] = times[within].max()
                break
    return times


def _warming_up(steps: Steps, times: Times) -> _Flags:
    """Which steps belong to warm-up days: those that are marked, and those before the count of days starts again."""
    warming: _Flags = np.nan_to_num(steps.warmup) == 1
    for environment in np.unique(steps.environment[~np.isnan(steps.environment)]):
        for kind in _STEPS_AND_DAYS:
            chosen = np.flatnonzero((steps.environment == environment) & (steps.interval_type == kind))
            days = np.diff(steps.days[chosen])
            again = np.flatnonzero((days < 0) | ((days == 0) & (np.diff(times[chosen]) < -_HALF_A_DAY)))
            if len(again):
                warming[chosen[: again[-1] + 1]] = True
    return warming
