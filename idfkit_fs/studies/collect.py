"""Read many runs of a study in parallel. Cases without data are left out, with the reason for each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from idfkit_fs._outputs.series import FREQUENCIES, Names, Series, as_names
from idfkit_fs._outputs.sidecars import when_digests
from idfkit_fs._util.parallel import THREADS, parallel_map
from idfkit_fs._util.progress import progress_bar
from idfkit_fs.errors import DamagedRunError, NotReportedError, RecordError, SidecarError, UnreadableDatabaseError
from idfkit_fs.studies.display import counted, first_names
from idfkit_fs.studies.layout import State

if TYPE_CHECKING:
    from idfkit_fs._outputs.values import Period, Values
    from idfkit_fs.runs.data import RunData
    from idfkit_fs.runs.result import RunResult

__all__ = [
    "NO_DATA",
    "READING_THREADS",
    "REASONS",
    "Collector",
    "Found",
    "Reading",
    "Selection",
    "described",
    "reason_of",
]

S = TypeVar("S")
T = TypeVar("T")
NO_DATA = (
    DamagedRunError,
    FileNotFoundError,
    NotReportedError,
    RecordError,
    SidecarError,
    UnreadableDatabaseError,
)
REASONS: dict[str, str] = {"failed": "EnergyPlus ended it with an error", "pending": "it has not been run"}
"""Why cases of these states have no data."""
# Each thread holds all selected series of a run in memory.
READING_THREADS = 8
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
    """The selected series of one case; it can be pickled, and read by another process.

    Attributes:
        data: What the case's run reports.
        series: The series, all of one frequency.
        period: The selected periods.
        rows: The number of values of each series.
        size: About how many bytes the series take when they are compressed.
    """

    data: RunData
    series: tuple[Series, ...]
    period: Period
    rows: int
    size: int

    @property
    def frequency(self) -> str:
        """The reporting frequency."""
        return self.series[0].frequency

    def values(self) -> Values:
        """Read the series.

        Raises:
            DamagedRunError: If a file differs from the run's record.
            FileNotFoundError: If the run does not exist any more.
        """
        try:
            return self.data.read(self.frequency, self.series, self.period)
        finally:
            self.data.forget()


class Found(NamedTuple):
    """What was found in the cases that have data.

    Attributes:
        readings: The selected series, by case.
        when: The times and environments of each case's values, without series; cases with equal ones share them.
    """

    readings: dict[str, Reading]
    when: dict[str, Values]

    def of(self, cases: Iterable[str]) -> Found:
        """What was found in some of the cases."""
        names = [*cases]
        return Found({case: self.readings[case] for case in names}, {case: self.when[case] for case in names})


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
        title: The study's name in progress bars.
        progress: Whether to show progress bars.
    """

    def __init__(
        self,
        states: Mapping[str, State],
        open_run: Callable[[str], RunResult],
        parameters_of: Callable[[str], dict[str, Any]],
        title: str,
        progress: bool,
    ) -> None:
        self.without_data = {case: REASONS[state] for case, state in states.items() if state != "ok"}
        self._total = len(states)
        self._cases = [case for case, state in states.items() if state == "ok"]
        self._open_run = open_run
        self._parameters_of = parameters_of
        self.title = title
        self.progress = progress

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
            except NO_DATA as exc:
                self.without_data[case] = reason_of(exc)
                return None
            return use(case, asked)

        with progress_bar(len(self._cases), f"{doing} {self.title}", "case", self.progress) as done:
            answers = dict(zip(self._cases, parallel_map(answer, self._cases, done, threads), strict=True))
        self.leave_out({})
        return {case: given for case, given in answers.items() if given is not None}

    def leave_out(self, reasons: Mapping[str, str]) -> None:
        """Leave out cases that have no data.

        Args:
            reasons: The reason for each case, in addition to those that are known.

        Raises:
            NotReportedError: If no case has data.
        """
        self.without_data |= reasons
        self._cases = [case for case in self._cases if case not in self.without_data]
        if not self._cases:
            if self._total == 0:
                raise NotReportedError("The study has no cases")
            raise NotReportedError(f"None of {counted(self._total)} has data: {self.reasons()}")

    def find(self, selection: Selection) -> Found:
        """Find the selected series in each case that has data, with the times of their values.

        Raises:
            NotReportedError: If no case reports such series.
            ValueError: If the series have several frequencies, or a column is not the same in all cases.
        """
        variables = as_names(selection.variables)
        keys, environment = (
            None if names is None else as_names(names) for names in (selection.keys, selection.environment)
        )
        shared: dict[Any, Any] = {}  # thousands of cases have equal series, periods and times: each is kept once

        def find(run: RunResult) -> tuple[Reading, Values]:
            data = run.data
            try:
                series = tuple(data.find(variables, keys, selection.frequency))
                frequency = series[0].frequency
                period = data.period(frequency, environment)
                when = data.read(frequency, (), period)
                size = data.size(frequency, series, period)
            finally:
                data.forget()
            key = (*when_digests(when.times, when.environments),)
            series, period = shared.setdefault(series, series), shared.setdefault(period, period)
            rows = len(when.times)
            return Reading(data.only(frequency), series, period, rows, size), shared.setdefault(key, when)

        answers = self.ask(find, "Opening")
        readings = {case: reading for case, (reading, _) in answers.items()}
        first_with = {reading.frequency: case for case, reading in reversed(readings.items())}
        if len(first_with) > 1:
            found = ", ".join(f"{name} in {first_with[name]!r}" for name in FREQUENCIES if name in first_with)
            raise ValueError(f"The series are reported at several frequencies: {found}; choose one with frequency=")
        _check_columns(dict.fromkeys(reading.series for reading in readings.values()))
        return Found(readings, {case: when for case, (_, when) in answers.items()})

    def read(self, readings: Mapping[str, Reading], use: Callable[[str, Values], None]) -> list[str]:
        """Read the values of each case, and use them; the names of the cases that had them."""

        def take(case: str, values: Values) -> bool:
            use(case, values)
            return True

        return [*self._ask(lambda case: readings[case].values(), take, "Reading", READING_THREADS)]

    def warn(self) -> None:
        """Warn about the cases without data, where `Study`'s caller is."""
        if self.without_data:
            warnings.warn(
                f"{len(self.without_data)} of {counted(self._total)} have no data: {self.reasons()}", stacklevel=4
            )

    def reasons(self) -> str:
        """Why cases have no data, as [described][idfkit_fs.studies.collect.described] says it."""
        return described(self.without_data)


def described(without_data: Mapping[str, str]) -> str:
    """Why cases have no data: each reason once, with the first cases; reasons that `status` shows come last."""
    cases_of: dict[str, list[str]] = {}
    for case, reason in sorted(without_data.items()):
        cases_of.setdefault(reason, []).append(case)
    ordered = sorted(cases_of.items(), key=lambda item: item[0] in REASONS.values())
    shown = [f"{first_names(cases)}: {reason}" for reason, cases in ordered[:_REASONS_SHOWN]]
    more = len(ordered) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def reason_of(error: BaseException) -> str:
    """Why a case has no data, as an error says."""
    return getattr(error, "strerror", None) or str(error)


def _check_columns(of_cases: Iterable[Sequence[Series]]) -> None:
    """Check that series with the same column name have the same reporting schedule."""
    known: dict[str, Series] = {}
    for series in (each for of_case in of_cases for each in of_case):
        first = known.setdefault(series.column, series)
        if first != series:
            schedules = " and ".join(repr(each.schedule or "always") for each in (first, series))
            raise ValueError(f"{series.column!r} is not the same in all cases: its reporting schedules are {schedules}")
