"""Read many runs of a study at once. A case without data is told of, and stops nobody."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from idfkit_fs.errors import (
    DamagedRunError,
    NotReportedError,
    RecordError,
    SidecarError,
    UnreadableDatabaseError,
)
from idfkit_fs.outputs.series import FREQUENCIES, Names, Series
from idfkit_fs.studies.layout import State, counted
from idfkit_fs.transfers import AT_ONCE, counter, side_by_side

if TYPE_CHECKING:
    from idfkit_fs.outputs.values import Period, Values
    from idfkit_fs.runs.data import RunData

__all__ = ["Collector", "Reading"]

T = TypeVar("T")
_NO_DATA = (
    DamagedRunError,
    FileNotFoundError,
    NotReportedError,
    RecordError,
    SidecarError,
    UnreadableDatabaseError,
)
_REASONS: dict[State, str] = {"failed": "EnergyPlus ended it with an error", "missing": "it has not been run"}
# Each holds all series that were asked for of a run in memory.
_READ_AT_ONCE = 8
_TOLD = 3


@dataclass(frozen=True)
class Reading:
    """The series of a case that a question means.

    Attributes:
        data: What the case's run reports.
        series: Series of one frequency.
        period: The periods that are meant.
    """

    data: RunData
    series: tuple[Series, ...]
    period: Period

    @property
    def frequency(self) -> str:
        """The reporting frequency."""
        return self.series[0].frequency

    def values(self) -> Values:
        """Read them."""
        return self.data.read(self.frequency, self.series, self.period)


class Collector:
    """Asks the cases of a study side by side, and remembers which have no data.

    Args:
        states: The cases, by their states.
        title: What a bar calls the study.
        progress: Whether to show bars.

    Attributes:
        without_data: Why a case has no data.
    """

    def __init__(self, states: Mapping[str, State], title: str, progress: bool) -> None:
        self.without_data = {case: _REASONS[state] for case, state in states.items() if state != "ok"}
        self._total = len(states)
        self._cases = [case for case, state in states.items() if state == "ok"]
        self._title = title
        self._progress = progress

    def ask(self, question: Callable[[str], T], doing: str, at_once: int = AT_ONCE) -> dict[str, T]:
        """What each case answers that has data.

        Args:
            question: What to ask, given the case's name.
            doing: What a bar says.
            at_once: How many are asked at once.

        Raises:
            NotReportedError: If none has data.
        """

        def answer(case: str) -> T | None:
            try:
                return question(case)
            except _NO_DATA as exc:
                self.without_data[case] = getattr(exc, "strerror", None) or str(exc)
                return None

        with counter(len(self._cases), f"{doing} {self._title}", "case", self._progress) as done:
            answers = dict(zip(self._cases, side_by_side(answer, self._cases, done, at_once), strict=True))
        found = {case: given for case, given in answers.items() if given is not None}
        self._cases = [*found]
        if not found:
            msg = f"None of {counted(self._total)} has data: {self.reasons()}" if self._total else "there is no case"
            raise NotReportedError(msg)
        return found

    def find(
        self,
        data_of: Callable[[str], RunData],
        variables: Names,
        keys: Names | None,
        frequency: str | None,
        environment: Names | None,
    ) -> dict[str, Reading]:
        """The series that a question means, of each case that has such.

        Raises:
            NotReportedError: If none has.
            ValueError: If they are not of one frequency.
        """

        def find(case: str) -> Reading:
            data = data_of(case)
            series = data.find(variables, keys, frequency)
            period = data.period(series[0].frequency, environment)
            data.forget()
            return Reading(data, tuple(series), period)

        readings = self.ask(find, "Opening")
        first_with = {reading.frequency: case for case, reading in reversed(readings.items())}
        if len(first_with) > 1:
            told = ", ".join(f"{name} in {first_with[name]!r}" for name in FREQUENCIES if name in first_with)
            msg = f"these are reported at several frequencies: {told}; choose one with frequency="
            raise ValueError(msg)
        return readings

    def read(self, readings: Mapping[str, Reading], use: Callable[[str, Values], T]) -> dict[str, T]:
        """What becomes of the values of each case."""
        return self.ask(lambda case: use(case, readings[case].values()), "Reading", _READ_AT_ONCE)

    def warn(self) -> None:
        """Tell which cases have no data."""
        if self.without_data:
            warnings.warn(
                f"{len(self.without_data)} of {counted(self._total)} have no data: {self.reasons()}", stacklevel=3
            )

    def reasons(self) -> str:
        """Why cases have no data, each reason once, with some of its cases; those that they share with others last."""
        cases_of: dict[str, list[str]] = {}
        for case, reason in sorted(self.without_data.items()):
            cases_of.setdefault(reason, []).append(case)
        ordered = sorted(cases_of.items(), key=lambda item: item[0] in _REASONS.values())
        told = [f"{_some(cases)}: {reason}" for reason, cases in ordered[:_TOLD]]
        more = len(ordered) - len(told)
        return "; ".join(told) + (f"; and {more} more reasons" if more else "")


def _some(names: list[str]) -> str:
    more = len(names) - _TOLD
    return ", ".join(names[:_TOLD]) + (f" and {more} more" if more > 0 else "")
