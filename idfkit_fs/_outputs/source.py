"""What series and cells are read from: EnergyPlus's database, or an object with the same methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from idfkit_fs._outputs.database import Database, no_tables
from idfkit_fs._outputs.series import Environment, Series
from idfkit_fs._outputs.sidecars import cells_table
from idfkit_fs._outputs.values import Period, Values
from idfkit_fs.errors import NotReportedError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DatabaseSource", "Source"]


class Source(Protocol):
    """What a run's series and cells are read from."""

    def series(self, frequency: str | None) -> Sequence[Series]:
        """All series of one frequency; None for all frequencies."""

    def environments(self, frequency: str) -> Sequence[Environment]:
        """The periods that were simulated, from the file that has the series of a frequency."""

    def read(self, frequency: str, series: Sequence[Series], period: Period) -> Values:
        """Read series of one frequency; without any series, only their times."""

    def cells(self) -> pa.Table:
        """All cells of the tabular reports.

        Raises:
            NotReportedError: If the database has none.
        """


class DatabaseSource:
    """Reads EnergyPlus's database itself.

    Args:
        database: The database.
        held: An object that keeps the local file in place as long as it is referenced.
    """

    def __init__(self, database: Database, held: object = None) -> None:
        self._database = database
        self._held = held

    def series(self, frequency: str | None) -> Sequence[Series]:
        """All series of one frequency; None for all frequencies."""
        reported = {name for name, _ in self._database.timelines}
        wanted = reported if frequency is None else reported & {frequency}
        return [series for series in self._database.series if series.frequency in wanted]

    def environments(self, frequency: str) -> Sequence[Environment]:  # noqa: ARG002 - the database has the same for all
        """The periods that were simulated."""
        return self._database.environments

    def read(self, frequency: str, series: Sequence[Series], period: Period) -> Values:
        """Read series of one frequency, in one pass over all values, because the database has no index for them."""
        timelines = [
            timeline for sizing in period.kinds if (timeline := self._database.timelines.get((frequency, sizing)))
        ]
        windows = [np.full((len(series), len(timeline.times)), np.nan) for timeline in timelines]
        counts = [np.zeros(len(series), int) for _ in timelines]
        for times, numbers, values in self._database.values(series) if series else ():
            for timeline, window, count in zip(timelines, windows, counts, strict=True):
                rows = timeline.rows(times)
                mine = rows >= 0
                window[numbers[mine], rows[mine]] = values[mine]
                count += np.bincount(numbers[mine], minlength=len(series))
        for window, count in zip(windows, counts, strict=True):
            doubled = np.flatnonzero(count != np.count_nonzero(~np.isnan(window), axis=1))
            if len(doubled):
                raise self._database.doubled(series[doubled[0]])
        parts = [
            Values(tuple(series), timeline.times, timeline.environment_names, tuple(window))
            for timeline, window in zip(timelines, windows, strict=True)
        ]
        return Values.joined(series, parts).of(period.names)

    def cells(self) -> pa.Table:
        """All cells of the tabular reports.

        Raises:
            NotReportedError: If the database has none.
        """
        cells = self._database.cells()
        if not cells:
            raise NotReportedError(no_tables(self._database.has_cells))
        return cells_table(cells)
