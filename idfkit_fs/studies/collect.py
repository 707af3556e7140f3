"""Read many runs of a study in parallel. Cases without data are left out, with the reason for each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from idfkit_fs._outputs.series import FREQUENCIES, Names, Series, as_names
from idfkit_fs._util.parallel import THREADS, parallel_map
from idfkit_fs._util.progress import progress_bar
from idfkit_fs.errors import DamagedRunError, NotReportedError, RecordError, SidecarError, UnreadableDatabaseError
from idfkit_fs.studies.display import counted, first_names
from idfkit_fs.studies.layout import State

if TYPE_CHECKING:
    from idfkit_fs._outputs.values import Period, Values
    from idfkit_fs.runs.data import RunData
    from idfkit_fs.runs.result import RunResult

__all__ = ["Collector", "Reading", "Selection"]

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
_REASONS: dict[State, str] = {"failed": "EnergyPlus ended it with an error", "pending": "it has not been run"}
# Each thread holds all selected series of a run in memory.
_READING_THREADS = 8
_REASONS_SHOWN = 3


class Selection(NamedTuple):
    """Which series to read.

    Attributes:
        variables: Names of output variables and meters.
        keys: Key values; None for all.
        frequency: The reporting frequency; None for the one at which they are reported.
        environment: Names of environments; None for the run periods.
    """

    variables: Names
    keys: Names | None
    frequency: str | None
    environment: Names | None


@dataclass(frozen=True)
class Reading:
    """The selected series of one case.

    Attributes:
        data: What the case's run reports.
        series: The series, all of one frequency.
        period: The selected periods.
    """

    data: RunData
    series: tuple[Series, ...]
    period: Period

    @property
    def frequency(self) -> str:
        """The reporting frequency."""
        return self.series[0].frequency

    def values(self) -> Values:
        """Read the series."""
        try:
            return self.data.read(self.frequency, self.series, self.period)
        finally:
            self.data.forget()


class Collector:
    """Reads the cases of a study in parallel, and keeps why a case has no data.

    Args:
        states: The cases, by their states.
        open_run: Opens the run of a case.
        parameters_of: Reads the parameters of a case.
        title: The study's name in progress bars.
        progress: Whether to show progress bars.

    Attributes:
        without_data: The reason for each case without data.
    """

    def __init__(
        self,
        states: Mapping[str, State],
        open_run: Callable[[str], RunResult],
        parameters_of: Callable[[str], dict[str, Any]],
        title: str,
        progress: bool,
    ) -> None:
        self.without_data = {case: _REASONS[state] for case, state in states.items() if state != "ok"}
        self._total = len(states)
        self._cases = [case for case, state in states.items() if state == "ok"]
        self._open_run = open_run
        self._parameters_of = parameters_of
        self._title = title
        self._progress = progress

    def ask(self, question: Callable[[RunResult], T], doing: str) -> dict[str, T]:
        """Ask the run of each case that has data.

        Args:
            question: What to ask.
            doing: The text of the progress bar.

        Returns:
            The answers, by case.

        Raises:
            NotReportedError: If no case has data.
        """
        return self.ask_of(lambda case: question(self._open_run(case)), doing)

    def ask_of(self, question: Callable[[str], T], doing: str) -> dict[str, T]:
        """As [ask][idfkit_fs.studies.collect.Collector.ask]; the question is given the case's name."""
        return self._ask(question, lambda _case, answer: answer, doing, THREADS)

    def parameters(self) -> dict[str, dict[str, Any]]:
        """The parameters of each case that has data."""
        return self._ask(self._parameters_of, lambda _case, answer: answer, "Describing", THREADS)

    def _ask(self, question: Callable[[str], S], use: Callable[[str, S], T], doing: str, threads: int) -> dict[str, T]:
        """Ask each case that has data, and use its answer.

        Args:
            question: What to ask, given the case's name; its errors may mean that the case has no data.
            use: What to do with the answer; its errors are raised.
            doing: The text of the progress bar.
            threads: The number of threads.

        Raises:
            NotReportedError: If no case has data.
        """

        def answer(case: str) -> T | None:
            try:
                asked = question(case)
            except _NO_DATA as exc:
                self.without_data[case] = getattr(exc, "strerror", None) or str(exc)
                return None
            return use(case, asked)

        with progress_bar(len(self._cases), f"{doing} {self._title}", "case", self._progress) as done:
            answers = dict(zip(self._cases, parallel_map(answer, self._cases, done, threads), strict=True))
        found = {case: given for case, given in answers.items() if given is not None}
        self._cases = [*found]
        if not found:
            if self._total == 0:
                raise NotReportedError("The study has no cases")
            raise NotReportedError(f"None of {counted(self._total)} has data: {self.reasons()}")
        return found

    def find(self, selection: Selection) -> dict[str, Reading]:
        """Find the selected series in each case that has data.

        Raises:
            NotReportedError: If no case reports such series.
            ValueError: If the series have several frequencies, or a column is not the same in all cases.
        """
        variables = as_names(selection.variables)
        keys, environment = (
            None if names is None else as_names(names) for names in (selection.keys, selection.environment)
        )
        shared: dict[tuple[Series, ...], tuple[Series, ...]] = {}

        def find(run: RunResult) -> Reading:
            data = run.data
            series = tuple(data.find(variables, keys, selection.frequency))
            period = data.period(series[0].frequency, environment)
            data.forget()
            return Reading(data, shared.setdefault(series, series), period)

        readings = self.ask(find, "Opening")
        first_with = {reading.frequency: case for case, reading in reversed(readings.items())}
        if len(first_with) > 1:
            found = ", ".join(f"{name} in {first_with[name]!r}" for name in FREQUENCIES if name in first_with)
            raise ValueError(f"The series are reported at several frequencies: {found}; choose one with frequency=")
        _check_columns(reading.series for reading in readings.values())
        return readings

    def read(self, readings: Mapping[str, Reading], use: Callable[[str, Values], T]) -> dict[str, T]:
        """Read the values of each case, and use them."""
        return self._ask(lambda case: readings[case].values(), use, "Reading", _READING_THREADS)

    def warn(self) -> None:
        """Warn about the cases without data, where `Study`'s caller is."""
        if self.without_data:
            warnings.warn(
                f"{len(self.without_data)} of {counted(self._total)} have no data: {self.reasons()}", stacklevel=4
            )

    def reasons(self) -> str:
        """Why cases have no data: each reason once, with the first cases; reasons that `status` shows come last."""
        cases_of: dict[str, list[str]] = {}
        for case, reason in sorted(self.without_data.items()):
            cases_of.setdefault(reason, []).append(case)
        ordered = sorted(cases_of.items(), key=lambda item: item[0] in _REASONS.values())
        shown = [f"{first_names(cases)}: {reason}" for reason, cases in ordered[:_REASONS_SHOWN]]
        more = len(ordered) - len(shown)
        return "; ".join(shown) + (f"; and {more} more" if more else "")


def _check_columns(of_cases: Iterable[Sequence[Series]]) -> None:
    """Check that series with the same column name have the same reporting schedule."""
    known: dict[str, Series] = {}
    for series in (each for of_case in of_cases for each in of_case):
        first = known.setdefault(series.column, series)
        if first != series:
            schedules = " and ".join(repr(each.schedule or "always") for each in (first, series))
            raise ValueError(f"{series.column!r} is not the same in all cases: its reporting schedules are {schedules}")
