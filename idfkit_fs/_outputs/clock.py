"""The times of EnergyPlus's values: the database's time steps as timestamps, for each period. No I/O.

A timestamp is the end of its interval, in local standard time, as EnergyPlus reports it (Output Details and Examples,
"eplusout.eso"): daylight saving time shifts schedules, not the clock of the outputs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from idfkit_fs._outputs.series import FREQUENCIES, Environment

__all__ = ["Clock", "Reported", "Steps", "Timeline", "Times", "read_clock"]

Times = npt.NDArray[np.datetime64]
_Numbers = npt.NDArray[np.float64]
_Flags = npt.NDArray[np.bool_]

# EnergyPlus reports no year for a design day, and before version 8.9 none at all. idfkit uses this one too.
_YEAR_OF_NO_YEAR, _LEAP_YEAR_OF_NO_YEAR = 2017, 2016
# EnergyPlus 8.9 counts years from 0 if a run period is repeated.
_FIRST_YEAR = 1000
_HALF_A_DAY = np.timedelta64(12, "h")
_STEPS_AND_DAYS, _MONTH, _RUN_PERIOD, _ANNUAL = (-1, 0, 1, 2), 3, 4, 5
_UNKNOWN = Environment("", False)
# What the intervals of these frequencies end with.
_ENDS_WITH = {"hourly": "h", "daily": "D", "monthly": "M", "annual": "Y"}


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


class Reported(NamedTuple):
    """What the series of a frequency have values for.

    Attributes:
        variables: Whether any of them is an output variable.
        meters: The ``TimeIndex`` of each value of the meters.
    """

    variables: bool
    meters: Collection[int]


@dataclass(frozen=True)
class Clock:
    """Where the values of a database belong.

    Attributes:
        timelines: The rows of each table of series, by frequency and whether it is for sizing periods; those that have
            at least one row.
        warmup: For each ``TimeIndex`` whether it is of a day of warm-up; the last element is for all larger ones.
    """

    timelines: Mapping[tuple[str, bool], Timeline]
    warmup: _Flags

    def placed(self, frequency: str) -> _Flags:
        """For each ``TimeIndex`` whether a value of a frequency has a row, or is left out with the warm-up days."""
        placed = self.warmup.copy()
        for sizing in (False, True):
            if timeline := self.timelines.get((frequency, sizing)):
                placed |= timeline.row_of >= 0
        return placed


def read_clock(
    rows: Sequence[Sequence[Any]],
    timestep: float,
    environments: Mapping[int, Environment],
    reported: Mapping[str, Reported],
) -> Clock:
    """Find the rows of each table of series.

    A frequency is that of a series in the dictionary, not that of the time step that its value belongs to: EnergyPlus
    often writes no time step for a meter where it has just written one of a finer frequency for something else. Version
    25.2 does so with Output:Meter:MeterFileOnly and cumulative meters, version 9.4 with all.

    Warm-up days, which EnergyPlus reports only on request (Output:Diagnostics, ReportDuringWarmup), are left out.

    Args:
        rows: The table ``Time`` in the order of its index, with the columns of
            [Steps][idfkit_fs._outputs.clock.Steps].
        timestep: Minutes of a zone time step; 0 if unknown.
        environments: The environments by their index in the database.
        reported: What is reported, by frequency.

    Returns:
        The timelines.
    """
    steps = Steps(*np.array(rows, dtype=float).reshape(len(rows), len(Steps._fields)).T)
    times, ends = _times(steps)
    warming = _warming_up(steps, times)
    sizing = np.array([environments.get(int(index), _UNKNOWN).sizing for index in np.nan_to_num(steps.environment)])
    size = int(steps.number.max(initial=-1)) + 2
    found = {}
    for name, (has_variables, of_meters) in reported.items():
        among = np.isin(steps.number, np.fromiter(of_meters, float))
        if has_variables:
            among |= _at(steps, name, timestep)
        for is_sizing in (False, True):
            chosen = np.flatnonzero(among & ~warming & (sizing == is_sizing))
            if len(chosen):
                when = _rounded_up(ends if name == "runperiod" else times, name)
                found[name, is_sizing] = _timeline(steps, when, chosen, environments, size)
    warmup = np.zeros(size, bool)
    warmup[steps.number[warming].astype(int)] = True
    return Clock(found, warmup)


def _at(steps: Steps, frequency: str, timestep: float) -> _Flags:
    """Which steps EnergyPlus writes for output variables of a frequency."""
    of_kind: _Flags = np.isin(steps.interval_type, FREQUENCIES[frequency].intervals)
    if frequency == "timestep" and timestep:
        # Steps of the HVAC system have the same type, but may be shorter.
        of_kind &= steps.interval == timestep
    return of_kind


def _rounded_up(times: Times, frequency: str) -> Times:
    """The ends of the intervals of a frequency in which times are; the step that a value belongs to may be finer."""
    unit = _ENDS_WITH.get(frequency)
    if unit is None:
        return times
    begins = times.astype(f"datetime64[{unit}]")
    return np.where(begins == times, times, (begins + 1).astype(times.dtype))


def _timeline(
    steps: Steps, times: Times, chosen: npt.NDArray[np.intp], environments: Mapping[int, Environment], size: int
) -> Timeline:
    # If HVAC steps are shorter than the zone's, the last of them ends at the same time as the zone's; this is one row.
    moments = np.stack([np.nan_to_num(steps.environment[chosen]), times[chosen].astype(np.int64)], axis=1)
    distinct, first, row = np.unique(moments.astype(np.int64), axis=0, return_index=True, return_inverse=True)
    indexes, numbers = np.unique(distinct[:, 0], return_inverse=True)
    row_of = np.full(size, -1)
    row_of[steps.number[chosen].astype(int)] = row.reshape(-1)
    names = tuple(environments.get(int(index), _UNKNOWN).name for index in indexes)
    return Timeline(times[chosen][first], numbers.reshape(-1).astype(np.int32), names, row_of)


def _times(steps: Steps) -> tuple[Times, Times]:
    """The end of each step, and the last end that is reported of its environment; NaT if it is unknown."""
    year = _years(steps)
    month, day, hour, minute = (
        np.nan_to_num(part, nan=1.0).astype(int) for part in (steps.month, steps.day, steps.hour, steps.minute)
    )
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    minutes = (((day - 1) * 24 + hour) * 60 + minute).astype("timedelta64[m]")
    times: Times = (months.astype("datetime64[m]") + minutes).astype("datetime64[us]")
    # Some old versions write the last day of the next month into a month's row.
    of_month = steps.interval_type == _MONTH
    times[of_month] = (months[of_month] + 1).astype(times.dtype)
    times[np.isnan(steps.month)] = np.datetime64("NaT", "us")
    annual = steps.interval_type == _ANNUAL
    times[annual] = (year[annual] + 1 - 1970).astype("datetime64[Y]").astype(times.dtype)
    ends = np.full(len(times), np.datetime64("NaT", "us"))
    for environment in np.unique(steps.environment[~np.isnan(steps.environment)]):
        mine = steps.environment == environment
        for kinds in (_STEPS_AND_DAYS, (_MONTH,)):
            within = mine & np.isin(steps.interval_type, kinds)
            if within.any():
                ends[mine] = times[within].max()
                break
    # A run period's step has no date of its own.
    of_period = steps.interval_type == _RUN_PERIOD
    times[of_period] = ends[of_period]
    return times, ends


def _years(steps: Steps) -> npt.NDArray[np.int64]:
    """The year of each step. Where EnergyPlus reports none, years are counted: a new one begins when dates go back."""
    year = np.nan_to_num(steps.year).astype(np.int64)
    missing = year < _FIRST_YEAR
    dated = missing & ~np.isnan(steps.month)
    year[missing] = _YEAR_OF_NO_YEAR
    for environment in np.unique(steps.environment[dated]):
        mine = np.flatnonzero(dated & (steps.environment == environment))
        of_month = steps.interval_type[mine] == _MONTH
        if of_month.all():
            begins = np.diff(steps.month[mine], prepend=0) <= 0
        else:
            # Days of warm-up repeat one date; the row of a month comes after its last step, and is of the same year.
            date = np.where(of_month, np.nan, steps.month[mine] * 31 + steps.day[mine])
            known = np.flatnonzero(~of_month)
            begins = np.zeros(len(mine), bool)
            begins[known] = np.diff(date[known], prepend=0) < 0
        count = np.cumsum(begins)
        leap = (steps.month[mine] == 2) & (steps.day[mine] == 29) & ~of_month
        first = _LEAP_YEAR_OF_NO_YEAR - count[leap][0] if leap.any() else _YEAR_OF_NO_YEAR
        year[mine] = first + count
    return year


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
