"""What EnergyPlus reports over time: frequencies, the names of series, and which of them a question means. No I/O."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from idfkit_fs._util.messages import did_you_mean
from idfkit_fs.errors import NotReportedError

__all__ = [
    "FREQUENCIES",
    "Environment",
    "Frequency",
    "Names",
    "Series",
    "as_names",
    "choose",
    "headed",
    "matcher",
    "not_reported",
    "parse_frequency",
    "stored_frequency",
]

# How many names a message lists.
_TOLD = 3

Names = str | Iterable[str]
"""A name, or several; case does not matter, and ``*`` stands for any characters, as in EnergyPlus."""


class Frequency(NamedTuple):
    """A reporting frequency (Input Output Reference, Output:Variable).

    Attributes:
        name: Our word for it, which is that of Output:Variable in lower case.
        stored: What the database calls it.
        label: What the headings of EnergyPlus's CSV call it.
        intervals: The database's ``IntervalType`` of its time steps.
    """

    name: str
    stored: str
    label: str
    intervals: tuple[int, ...]


_TIMESTEPS = (-1, 0)
FREQUENCIES = {
    frequency.name: frequency
    for frequency in (
        Frequency("detailed", "HVAC System Timestep", "Each Call", _TIMESTEPS),
        Frequency("timestep", "Zone Timestep", "TimeStep", _TIMESTEPS),
        Frequency("hourly", "Hourly", "Hourly", (1,)),
        Frequency("daily", "Daily", "Daily", (2,)),
        Frequency("monthly", "Monthly", "Monthly", (3,)),
        Frequency("runperiod", "Run Period", "RunPeriod", (4,)),
        Frequency("annual", "Annual", "Annual", (5,)),
    )
}
"""By name, the finest first."""


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]", "", text).lower()


_NAMES = {_plain(word): frequency.name for frequency in FREQUENCIES.values() for word in frequency[:3]}
_NAMES["environment"] = "runperiod"


def parse_frequency(text: str) -> str:
    """Our name of a reporting frequency, whether it is spelt as in a model, in a CSV heading or in the database.

    Args:
        text: Such as ``"Hourly"``, ``"TimeStep"``, ``"Zone Timestep"`` or ``"RunPeriod"``.

    Returns:
        One of ``detailed``, ``timestep``, ``hourly``, ``daily``, ``monthly``, ``runperiod``, ``annual``.

    Raises:
        ValueError: If there is none of that name.

    Examples:
        >>> parse_frequency("Zone Timestep"), parse_frequency("RunPeriod")
        ('timestep', 'runperiod')
    """
    name = _NAMES.get(_plain(text)) if isinstance(text, str) else None
    if name is None:
        known = ", ".join(FREQUENCIES)
        raise ValueError(
            f"frequency must be one of {known}, not {text!r}{did_you_mean(str(text).lower(), FREQUENCIES)}"
        )
    return name


def stored_frequency(text: str) -> str | None:
    """Our name of what the database calls a frequency; None for one that is not known."""
    return _NAMES.get(_plain(text))


class Environment(NamedTuple):
    """A period that EnergyPlus simulated.

    Attributes:
        name: Its name, in upper case as EnergyPlus writes it.
        sizing: Whether it is for sizing, such as a design day, and no run period.
    """

    name: str
    sizing: bool


@dataclass(frozen=True, slots=True)
class Series:
    """One output variable or meter of one key, at one frequency.

    Attributes:
        variable: Name of the output variable or meter, such as ``"Zone Mean Air Temperature"``.
        key: The key value, such as ``"OFFICE"``; empty for a meter.
        units: Units, such as ``"C"`` or ``"J"``.
        frequency: The reporting frequency, as in [FREQUENCIES][idfkit_fs._outputs.series.FREQUENCIES].
        is_meter: Whether it is a meter.
        averaged: Whether a value is the mean over its interval, and not the sum.
        schedule: The schedule that says when it is reported; empty for always.
        column: The heading of its column.
    """

    variable: str
    key: str
    units: str
    frequency: str
    is_meter: bool = False
    averaged: bool = True
    schedule: str = ""
    column: str = ""

    def heading(self, note: str = "") -> str:
        """The heading as in EnergyPlus's CSV; *note* tells it from another one that would be the same."""
        separator = " " if self.is_meter else ":"  # "Cumulative Electricity:Facility"
        before = f"{self.key}{separator}" if self.key else ""
        return f"{before}{self.variable} [{self.units}]({FREQUENCIES[self.frequency].label}{note})"


def headed(found: Iterable[Series]) -> list[Series]:
    """Name the columns, each differently: of equal ones the schedule is told, else a number."""
    columns: dict[str, Series] = {}
    for series in found:
        told = ("", *([f":{series.schedule}"] if series.schedule else ()))
        headings = (series.heading(note) for note in itertools.chain(told, (f" #{n}" for n in itertools.count(2))))
        heading = next(heading for heading in headings if heading not in columns)
        columns[heading] = replace(series, column=heading)
    return list(columns.values())


def matcher(name: str) -> Callable[[str], bool]:
    """What tells whether a text is meant by a name: case does not matter, and ``*`` stands for any characters.

    Examples:
        >>> means = matcher("zone*temperature")
        >>> means("Zone Mean Air Temperature"), means("Zone Air Relative Humidity")
        (True, False)
    """
    if not isinstance(name, str):
        raise TypeError(f"a name must be a str, not {type(name).__name__}")
    meant = ".*".join(map(re.escape, name.strip().split("*")))
    pattern = re.compile(rf"\s*{meant}\s*", re.IGNORECASE | re.DOTALL)
    return lambda text: pattern.fullmatch(text) is not None


def not_reported(name: str, known: Iterable[str], what: str) -> NotReportedError:
    """What to say of a name that is not there: the nearest ones that are, or some of them.

    Args:
        name: The name.
        known: The names that are there.
        what: What it should be the name of.

    Returns:
        The error to raise.
    """
    spelt = {text.lower(): text for text in known if text}
    near = difflib.get_close_matches(name.lower(), list(spelt), n=_TOLD, cutoff=0.5)
    near += [text for text in spelt if name.strip("* ").lower() in text and text not in near][: _TOLD - len(near)]
    shown = [repr(spelt[text]) for text in near or [*spelt][:_TOLD]]
    verb, more = "is" if len(shown) == 1 else "are", len(spelt) - len(shown)
    others = f"; {'the nearest' if near else 'there'} {verb} {', '.join(shown)}" if shown else ", nor any other"
    return NotReportedError(f"There is no {what} {name!r}{others}{'' if near or more <= 0 else f' and {more} more'}")


def choose(
    catalog: Sequence[Series], variables: Names, keys: Names | None = None, frequency: str | None = None
) -> list[Series]:
    """The series that a question means, in its order: by variable, then by key.

    Args:
        catalog: What there is.
        variables: Names of output variables and meters.
        keys: Key values; None for all.
        frequency: The reporting frequency; None for the one at which the named variables are reported.

    Returns:
        Series of one frequency.

    Raises:
        NotReportedError: If a variable or a key is not there; it lists the nearest ones.
        ValueError: If the variables are reported at several frequencies, and none was given; or if nothing is named.
    """
    wanted = None if frequency is None else parse_frequency(frequency)
    named = _of_variables(catalog, as_names(variables), wanted)
    found = _of_keys(named, as_names("*" if keys is None else keys))
    frequencies = [name for name in FREQUENCIES if any(series.frequency == name for series in found)]
    if len(frequencies) > 1:
        raise ValueError(
            f"these are reported at several frequencies: {', '.join(frequencies)}; choose one with frequency="
        )
    return found


def as_names(names: Names) -> tuple[str, ...]:
    """Names that can be gone through more than once.

    Raises:
        ValueError: If there is none.
    """
    listed = (names,) if isinstance(names, str) else tuple(names)
    if not listed:
        raise ValueError("an empty list names nothing; leave the argument out for all")
    return tuple(str(name) if isinstance(name, str) else name for name in listed)  # NumPy has texts of its own


def _of_variables(catalog: Sequence[Series], names: Sequence[str], frequency: str | None) -> list[list[Series]]:
    """For each name, what is reported of it."""
    found = []
    for name in names:
        means = matcher(name)
        everywhere = [series for series in catalog if means(series.variable)]
        found.append([series for series in everywhere if frequency in (None, series.frequency)])
        if not found[-1]:
            if everywhere:
                raise _at_other_frequencies(name, everywhere, frequency)
            raise not_reported(name, (series.variable for series in catalog), "output variable or meter")
    return found


def _of_keys(named: list[list[Series]], keys: Sequence[str]) -> list[Series]:
    """Those of some keys, each once."""
    matchers = {key: matcher(key) for key in keys}
    every = [series for of_name in named for series in of_name]
    for key, means in matchers.items():
        if not any(means(series.key) for series in every):
            raise not_reported(key, (series.key for series in every), "key value")
    return list(
        dict.fromkeys(
            series for of_name in named for means in matchers.values() for series in of_name if means(series.key)
        )
    )


def _at_other_frequencies(name: str, elsewhere: list[Series], frequency: str | None) -> NotReportedError:
    others = ", ".join(each for each in FREQUENCIES if any(series.frequency == each for series in elsewhere))
    return NotReportedError(f"{name!r} is not reported {frequency}, but {others}")
