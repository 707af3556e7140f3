"""Choose cases of a study: by their names, by patterns, or by their parameters.

Wherever cases are named, this decides which cases are meant. Only a choice by parameters reads anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Any, Self

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.messages import did_you_mean
from idfkit_fs.errors import CaseNotFoundError, RecordError
from idfkit_fs.studies.display import first_names
from idfkit_fs.studies.listing import Listing
from idfkit_fs.studies.parameters import json_value
from idfkit_fs.studies.read_parameters import read_parameters

__all__ = ["Cases", "Choice", "choose_cases", "is_pattern"]

Cases = str | Iterable[str] | Mapping[str, Any] | Callable[[Mapping[str, Any]], bool]
"""Which cases: a name, a pattern such as ``"wwr-*"``, or several of these; or a filter on the parameters.

In a pattern, ``*`` matches any characters, and ``?`` matches one; names of cases contain neither. A filter is a mapping
such as ``{"wwr": 0.4, "city": ["chicago", "miami"]}``, where each parameter must have the value, or one of the values;
or a function of the parameters, such as ``lambda row: row["wwr"] > 0.3``. A function can also stand for the value of a
single parameter: ``{"wwr": lambda wwr: wwr > 0.3}``; it is called for cases that have one. The name ``"case"`` is that
of the case itself: ``{"case": "wwr-*", "city": "chicago"}``. None as a value chooses cases without one.

Numbers are compared as numbers, and texts as texts: ``1`` equals ``1.0``, and not ``"1"``.
"""

_Condition = Callable[[Any], bool]
_CASE = "case"  # no parameter can have this name: it is a column of the summary


@dataclass(frozen=True)
class Choice:
    """What `Cases` say, checked.

    Attributes:
        names: Names and patterns; None for all cases.
        conditions: For each parameter, what its value must fulfil.
        accepts: What all parameters of a case must fulfil; None for anything.
    """

    names: tuple[str, ...] | None
    conditions: Mapping[str, _Condition]
    accepts: Callable[[Mapping[str, Any]], bool] | None = None

    @classmethod
    def of(cls, cases: Cases) -> Self:
        """Check what a user gives.

        Raises:
            TypeError: If it is neither names nor a filter.
            ValueError: If a filter has no conditions, or a value that no parameter can have.

        Examples:
            >>> Choice.of("wwr-*").among(["base", "wwr-1", "wwr-2"], "memory://s", lambda _cases: {})
            ['wwr-1', 'wwr-2']
        """
        if isinstance(cases, Mapping):
            if not cases:
                raise ValueError("The filter is empty, which would choose all cases; if that is meant, say '*'")
            given = dict(cases)
            names = _names(given.pop(_CASE)) if _CASE in given and not callable(given[_CASE]) else None
            return cls(names, {name: _condition(name, value) for name, value in given.items()})
        if callable(cases):
            return cls(None, {}, cases)
        return cls(_names(cases), {})

    @property
    def is_filter(self) -> bool:
        """Whether parameters decide."""
        return bool(self.conditions) or self.accepts is not None

    @property
    def named(self) -> tuple[str, ...]:
        """The cases that are named one by one, and not found by a pattern or a filter."""
        return () if self.is_filter else tuple(name for name in self.names or () if not is_pattern(name))

    @property
    def needs_listing(self) -> bool:
        """Whether the cases of the study must be known."""
        return self.is_filter or len(self.named) < len(self.names or ())

    def among(
        self,
        known: Sequence[str],
        url: str,
        parameters_of: Callable[[Sequence[str]], Mapping[str, Mapping[str, Any]]],
    ) -> list[str]:
        """Choose from the cases of a study.

        Args:
            known: The names of all cases.
            url: The study's URL, for messages.
            parameters_of: Returns the parameters of cases; called only for a filter.

        Returns:
            The names, each once: as given, or else in the order of *known*.

        Raises:
            CaseNotFoundError: If a name, a pattern or the filter fits no case.
        """
        names = [*known] if self.names is None else _match(self.names, known, url)
        if not self.is_filter:
            return names
        rows = {case: {**parameters, _CASE: case} for case, parameters in parameters_of(names).items()}
        no_case = "No case" if self.names is None else "No case of these names"
        existing = dict.fromkeys(name for row in rows.values() for name in row)
        for name in self.conditions:
            if rows and name not in existing:  # before anything fits: a misspelt name has no value in any case
                parameters = [each for each in existing if each != _CASE]
                near = did_you_mean(name, parameters) or _listed("; the parameters are", parameters)
                raise CaseNotFoundError.for_url(url, f"{no_case} has a parameter {name!r}{near}")
        chosen = [case for case in rows if self._fits(case, rows[case])]
        if not chosen:
            raise CaseNotFoundError.for_url(url, self._why_none(rows, no_case))
        return chosen

    def _fits(self, case: str, row: Mapping[str, Any]) -> bool:
        try:
            return all(holds(row.get(name)) for name, holds in self.conditions.items()) and (
                self.accepts is None or bool(self.accepts(row))
            )
        except Exception as exc:
            exc.add_note(f"The filter failed on case {case!r} with {row}; let it return False for such cases")
            raise

    def _why_none(self, rows: Mapping[str, Mapping[str, Any]], no_case: str) -> str:
        """Why no case fits: the first condition that none of them fulfils."""
        if not rows:
            return "The study has no cases" if self.names is None else "None of the named cases exists any more"
        for name, holds in self.conditions.items():
            if not any(holds(row.get(name)) for row in rows.values()):
                values = [repr(row[name]) for row in rows.values() if row.get(name) is not None]
                return f"{no_case} has such a value of {name!r}{_listed('; the values are', values)}"
        return f"{no_case} fits the filter" if self.accepts else f"{no_case} fits all conditions at the same time"


def choose_cases(fs: FsspecFileSystem, listing: Listing, cases: Cases | Choice) -> list[str]:
    """Choose cases of a study; the parameters are read if they decide.

    Raises:
        CaseNotFoundError: If a name, a pattern or the filter fits no case.
        RecordError: If a filter needs a job that is damaged, or of a newer format.
        TypeError: If *cases* are neither names nor a filter.
        ValueError: If a filter has no conditions, or a value that no parameter can have.
    """

    def parameters_of(names: Sequence[str]) -> dict[str, dict[str, Any]]:
        found, lost = read_parameters(fs, listing, names)
        for exc in lost.values():
            if isinstance(exc, RecordError):  # it is unknown whether it fits
                raise exc
        return found

    choice = cases if isinstance(cases, Choice) else Choice.of(cases)
    return choice.among(listing.cases, listing.url, parameters_of)


def is_pattern(name: str) -> bool:
    """Whether a text is a pattern; names of cases contain neither ``*`` nor ``?``, but may contain ``[``."""
    return "*" in name or "?" in name


def _names(cases: str | Iterable[str]) -> tuple[str, ...]:
    if not isinstance(cases, Iterable):
        raise TypeError(
            f"Cases are chosen by names, by a mapping of parameters, or by a function, not by {type(cases).__name__}"
        )
    names = (cases,) if isinstance(cases, str) else tuple(cases)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"Names of cases are texts, not {type(name).__name__}")
    return tuple(map(str, names))  # NumPy has a string type of its own


def _condition(name: str, value: Any) -> _Condition:
    if callable(value):
        return lambda found: found is not None and bool(value(found))
    is_one = isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable)
    try:
        wanted = [json_value(each) for each in ([value] if is_one else value)]
    except ValueError as exc:
        raise ValueError(f"No parameter can have this value of {name!r}: {exc}") from exc
    return lambda found: any(_same(found, each) for each in wanted)


def _same(found: Any, wanted: Any) -> bool:
    return isinstance(found, bool) is isinstance(wanted, bool) and bool(found == wanted)


def _match(names: Iterable[str], known: Sequence[str], url: str) -> list[str]:
    unique, found = dict.fromkeys(known), dict[str, None]()
    for name in names:
        matching: Iterable[str] = [name] if name in unique else []
        if is_pattern(name):
            matches = re.compile(translate(name.replace("[", "[[]"))).match
            matching = [case for case in unique if matches(case)]
        if not matching:
            near = did_you_mean(name, unique)
            what = repr(name) if not is_pattern(name) else f"that matches {name!r}"
            near = near or (_listed("; the cases are", unique) if is_pattern(name) else "")
            raise CaseNotFoundError.for_url(url, f"The study has no case {what}{near}")
        found.update(dict.fromkeys(matching))
    return [*found]


def _listed(text: str, names: Iterable[str]) -> str:
    unique = [*dict.fromkeys(names)]
    return f"{text} {first_names(unique)}" if unique else ""
