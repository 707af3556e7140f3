"""Read many runs of a study at once. A case without data is told of, and stops nobody."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from idfkit_fs._outputs.series import FREQUENCIES, Names, Series, as_names
from idfkit_fs._util.parallel import THREADS, parallel_map
from idfkit_fs._util.progress import progress_bar
from idfkit_fs.errors import DamagedRunError, NotReportedError, RecordError, SidecarError, UnreadableDatabaseError
from idfkit_fs.studies.layout import State, counted

if TYPE_CHECKING:
    from idfkit_fs._outputs.values import Period, Values
    from idfkit_fs.runs.data import RunData

__all__ = ["Collector", "Reading"]

S = TypeVar("S")
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
        try:
            return self.data.read(self.frequency, self.series, self.period)
        finally:
            self.data.forget()


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

    def ask(self, question: Callable[[str], T], doing: str) -> dict[str, T]:
        """What each case answers that has data.

        Args:
            question: What to ask, given the case's name.
            doing: What a bar says.

        Raises:
            NotReportedError: If none has data.
        """
        return self._ask(question, lambda _case, answer: answer, doing, THREADS)

    def _ask(self, question: Callable[[str], S], use: Callable[[str, S], T], doing: str, at_once: int) -> dict[str, T]:
        """What becomes of each answer; that a case has no data is for its answer to say, and not for what uses it.

        Args:
            question: What to ask, given the case's name.
            use: What to do with the answer.
            doing: What a bar says.
            at_once: How many are asked at once.

        Raises:
            NotReportedError: If none has data.
        """

        def answer(case: str) -> T | None:
            try:
                asked = question(case)
            except _NO_DATA as exc:
                self.without_data[case] = getattr(exc, "strerror", None) or str(exc)
                return None
            return use(case, asked)

        with progress_bar(len(self._cases), f"{doing} {self._title}", "case", self._progress) as done:
            answers = dict(zip(self._cases, parallel_map(answer, self._cases, done, at_once), strict=True))
        found = {case: given for case, given in answers.items() if given is not None}
        self._cases = [*found]
        if not found:
            raise NotReportedError(
                f"None of {counted(self._total)} has data: {self.reasons()}" if self._total else "there is no case"
            )
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
            ValueError: If they are not of one frequency, or a column is not the same in all cases.
        """
        variables, keys = as_names(variables), None if keys is None else as_names(keys)
        environment = None if environment is None else as_names(environment)
        shared: dict[tuple[Series, ...], tuple[Series, ...]] = {}

        def find(case: str) -> Reading:
            data = data_of(case)
            series = tuple(data.find(variables, keys, frequency))
            period = data.period(series[0].frequency, environment)
            data.forget()
            return Reading(data, shared.setdefault(series, series), period)

        readings = self.ask(find, "Opening")
        first_with = {reading.frequency: case for case, reading in reversed(readings.items())}
        if len(first_with) > 1:
            told = ", ".join(f"{name} in {first_with[name]!r}" for name in FREQUENCIES if name in first_with)
            raise ValueError(f"these are reported at several frequencies: {told}; choose one with frequency=")
        _check_columns(reading.series for reading in readings.values())
        return readings

    def read(self, readings: Mapping[str, Reading], use: Callable[[str, Values], T]) -> dict[str, T]:
        """What becomes of the values of each case."""
        return self._ask(lambda case: readings[case].values(), use, "Reading", _READ_AT_ONCE)

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
        return "; ".join(told) + (f"; and {more} more" if more else "")


def _check_columns(of_cases: Iterable[Sequence[Series]]) -> None:
    """Refuse to put series into one column that are reported by different schedules."""
    known: dict[str, Series] = {}
    for series in (each for of_case in of_cases for each in of_case):
        first = known.setdefault(series.column, series)
        if first != series:
            schedules = " and ".join(repr(each.schedule or "always") for each in (first, series))
            raise ValueError(
                f"{series.column!r} is not the same in all cases: it is reported by the schedules {schedules}"
            )


def _some(names: list[str]) -> str:
    more = len(names) - _TOLD
    return ", ".join(names[:_TOLD]) + (f" and {more} more" if more > 0 else "")
