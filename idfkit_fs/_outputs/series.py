"""What EnergyPlus reports over time: frequencies, the names of series, and which series match a name. No I/O."""

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
_LISTED = 3

Names = str | Iterable[str]
"""One name or several. Case does not matter, as in EnergyPlus, and ``*`` matches any characters."""


class Frequency(NamedTuple):
    """A reporting frequency (Input Output Reference, Output:Variable).

    Attributes:
        name: Its name in this package: that of Output:Variable, in lower case.
        stored: Its name in the database.
        label: Its name in the headings of EnergyPlus's CSV.
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
"""The reporting frequencies by name, the finest first."""


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]", "", text).lower()


_NAMES = {_plain(word): frequency.name for frequency in FREQUENCIES.values() for word in frequency[:3]}
_NAMES["environment"] = "runperiod"


def parse_frequency(text: str) -> str:
    """The name of a reporting frequency, from how a model, a CSV heading or the database spells it.

    Args:
        text: Such as ``"Hourly"``, ``"TimeStep"``, ``"Zone Timestep"`` or ``"RunPeriod"``.

    Returns:
        One of ``detailed``, ``timestep``, ``hourly``, ``daily``, ``monthly``, ``runperiod``, ``annual``.

    Raises:
        ValueError: If there is no such frequency.

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
    """The name of a frequency, from its name in the database; None if it is unknown."""
    return _NAMES.get(_plain(text))


class Environment(NamedTuple):
    """A period that EnergyPlus simulated.

    Attributes:
        name: Its name, in upper case as EnergyPlus writes it.
        sizing: True for a sizing period, such as a design day; False for a run period.
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
        averaged: Whether a value is the mean over its interval; otherwise it is the sum.
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
        """The heading as in EnergyPlus's CSV; a *note* makes it differ from an equal one."""
        separator = " " if self.is_meter else ":"  # "Cumulative Electricity:Facility"
        before = f"{self.key}{separator}" if self.key else ""
        return f"{before}{self.variable} [{self.units}]({FREQUENCIES[self.frequency].label}{note})"


def headed(found: Iterable[Series]) -> list[Series]:
    """Give each column its own heading: equal ones get their schedule, or else a number."""
    columns: dict[str, Series] = {}
    for series in found:
        notes = ("", *([f":{series.schedule}"] if series.schedule else ()))
        headings = (series.heading(note) for note in itertools.chain(notes, (f" #{n}" for n in itertools.count(2))))
        heading = next(heading for heading in headings if heading not in columns)
        columns[heading] = replace(series, column=heading)
    return list(columns.values())


def matcher(name: str) -> Callable[[str], bool]:
    """A function that returns whether a text matches a name: case does not matter, and ``*`` matches any characters.

    Raises:
        TypeError: If the name is not a ``str``.

    Examples:
        >>> matches = matcher("zone*temperature")
        >>> matches("Zone Mean Air Temperature"), matches("Zone Air Relative Humidity")
        (True, False)
    """
    if not isinstance(name, str):
        raise TypeError(f"A name must be a str, not {type(name).__name__}")
    parts = map(re.escape, name.strip().split("*"))
    pattern = re.compile(rf"\s*{'.*'.join(parts)}\s*", re.IGNORECASE | re.DOTALL)
    return lambda text: pattern.fullmatch(text) is not None


def not_reported(name: str, known: Iterable[str], what: str) -> NotReportedError:
    """The error for a name that is not found: it lists the nearest names, or some of them.

    Args:
        name: The name.
        known: The names that exist.
        what: What the name is of, such as ``"key value"``.

    Returns:
        The error to raise.
    """
    spelt = {text.lower(): text for text in known if text}
    near = difflib.get_close_matches(name.lower(), list(spelt), n=_LISTED, cutoff=0.5)
    near += [text for text in spelt if name.strip("* ").lower() in text and text not in near][: _LISTED - len(near)]
    shown = [repr(spelt[text]) for text in near or [*spelt][:_LISTED]]
    verb, more = "is" if len(shown) == 1 else "are", len(spelt) - len(shown)
    others = f"{'the nearest' if near else 'there'} {verb} {', '.join(shown)}" if shown else "none are reported"
    return NotReportedError(f"There is no {what} {name!r}; {others}{'' if near or more <= 0 else f' and {more} more'}")


def choose(
    catalog: Sequence[Series], variables: Names, keys: Names | None = None, frequency: str | None = None
) -> list[Series]:
    """The series that match, in the order of the arguments: by variable, then by key.

    Args:
        catalog: All series.
        variables: Names of output variables and meters.
        keys: Key values; None for all.
        frequency: The reporting frequency; None for the one at which the named variables are reported.

    Returns:
        Series of one frequency.

    Raises:
        NotReportedError: If a variable or a key value is not found; it lists the nearest ones.
        ValueError: If the variables are reported at several frequencies and none is given; or if a list of names is
            empty.
    """
    wanted = None if frequency is None else parse_frequency(frequency)
    named = _of_variables(catalog, as_names(variables), wanted)
    found = _of_keys(named, as_names("*" if keys is None else keys))
    frequencies = [name for name in FREQUENCIES if any(series.frequency == name for series in found)]
    if len(frequencies) > 1:
        raise ValueError(
            f"The variables are reported at several frequencies: {', '.join(frequencies)}; choose one with frequency="
        )
    return found


def as_names(names: Names) -> tuple[str, ...]:
    """One name or several, as a tuple.

    Raises:
        ValueError: If there are no names.
    """
    listed = (names,) if isinstance(names, str) else tuple(names)
    if not listed:
        raise ValueError("The list of names is empty; leave the argument out to select all")
    return tuple(str(name) if isinstance(name, str) else name for name in listed)  # NumPy has string types of its own


def _of_variables(catalog: Sequence[Series], names: Sequence[str], frequency: str | None) -> list[list[Series]]:
    """For each name, the series of the variables that match it."""
    found = []
    for name in names:
        matches = matcher(name)
        everywhere = [series for series in catalog if matches(series.variable)]
        found.append([series for series in everywhere if frequency in (None, series.frequency)])
        if not found[-1]:
            if everywhere:
                raise _at_other_frequencies(name, everywhere, frequency)
            raise not_reported(name, (series.variable for series in catalog), "output variable or meter")
    return found


def _of_keys(named: list[list[Series]], keys: Sequence[str]) -> list[Series]:
    """The series whose keys match, each once."""
    matchers = {key: matcher(key) for key in keys}
    every = [series for of_name in named for series in of_name]
    for key, matches in matchers.items():
        if not any(matches(series.key) for series in every):
            raise not_reported(key, (series.key for series in every), "key value")
    return list(
        dict.fromkeys(
            series for of_name in named for matches in matchers.values() for series in of_name if matches(series.key)
        )
    )


def _at_other_frequencies(name: str, elsewhere: list[Series], frequency: str | None) -> NotReportedError:
    others = ", ".join(each for each in FREQUENCIES if any(series.frequency == each for series in elsewhere))
    return NotReportedError(f"{name!r} is not reported at the frequency {frequency!r}; it is reported at {others}")
