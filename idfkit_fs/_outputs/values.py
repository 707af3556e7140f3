"""Series that were read, from a sidecar or a database, and the periods that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from idfkit_fs._outputs.clock import Times
from idfkit_fs._outputs.series import Environment, Names, Series, as_names, matcher, not_reported

__all__ = ["Period", "Values", "choose_period"]


@dataclass(frozen=True)
class Values:
    """Series of one frequency, with the times of their values.

    Attributes:
        series: The series.
        times: The end of each interval.
        environments: The name of the environment of each row.
        columns: One array for each series, as long as *times*; NaN where nothing was reported.
    """

    series: tuple[Series, ...]
    times: Times
    environments: npt.NDArray[np.object_]
    columns: tuple[npt.NDArray[np.float64], ...]

    @property
    def has_several_environments(self) -> bool:
        """Whether the rows belong to more than one environment."""
        return len({*self.environments}) > 1

    def of(self, names: frozenset[str]) -> Values:
        """The rows of some environments."""
        if names.issuperset(self.environments):
            return self
        mine = np.array([name in names for name in self.environments], dtype=bool)
        return Values(
            self.series, self.times[mine], self.environments[mine], tuple(column[mine] for column in self.columns)
        )

    @classmethod
    def joined(cls, series: Sequence[Series], parts: Sequence[Values]) -> Values:
        """Concatenate the values of the same series in several periods; there may be no period."""
        if len(parts) == 1:
            return parts[0]
        empty = cls((), np.array([], "datetime64[us]"), np.array([], object), tuple(np.array([]) for _ in series))
        parts = [empty, *parts]
        return cls(
            tuple(series),
            np.concatenate([part.times for part in parts]),
            np.concatenate([part.environments for part in parts]),
            tuple(np.concatenate(columns) for columns in zip(*(part.columns for part in parts), strict=True)),
        )


@dataclass(frozen=True)
class Period:
    """Which of the periods that were simulated are read.

    Attributes:
        names: The names of the environments.
        kinds: False for run periods, True for sizing periods, or both.
    """

    names: frozenset[str]
    kinds: tuple[bool, ...]


def choose_period(environments: Sequence[Environment], wanted: Names | None) -> Period:
    """Choose environments by name.

    Args:
        environments: All that were simulated.
        wanted: Names; None for the run periods, or for the sizing periods of a run that has no run period.

    Raises:
        NotReportedError: If no environment matches a name; it lists the nearest names.
        ValueError: If the list of names is empty.
    """
    if wanted is None:
        is_sizing = all(environment.sizing for environment in environments)
        chosen = [environment for environment in environments if environment.sizing == is_sizing]
    else:
        chosen = []
        for name in as_names(wanted):
            matches = matcher(name)
            found = [environment for environment in environments if matches(environment.name)]
            if not found:
                raise not_reported(name, (environment.name for environment in environments), "environment")
            chosen += found
    kinds = tuple(sorted({environment.sizing for environment in chosen}))
    return Period(frozenset(environment.name for environment in chosen), kinds or (False,))
