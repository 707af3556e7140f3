"""Series that were read, from whichever file, and the periods that they are of."""

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
    """Series of one frequency, and when their values hold.

    Attributes:
        series: The series.
        times: The end of each interval.
        environments: The name of the environment of each row.
        columns: An array of the length of *times* for each series; NaN where nothing was reported.
    """

    series: tuple[Series, ...]
    times: Times
    environments: npt.NDArray[np.object_]
    columns: tuple[npt.NDArray[np.float64], ...]

    @property
    def has_several_environments(self) -> bool:
        """Whether they are of more than one environment."""
        return len({*self.environments}) > 1

    def of(self, names: frozenset[str]) -> Values:
        """Those of some environments."""
        if names.issuperset(self.environments):
            return self
        mine = np.array([name in names for name in self.environments], dtype=bool)
        return Values(
            self.series, self.times[mine], self.environments[mine], tuple(column[mine] for column in self.columns)
        )

    @classmethod
    def joined(cls, series: Sequence[Series], parts: Sequence[Values]) -> Values:
        """Values of some series, of periods one after the other, if there are any."""
        none = cls((), np.array([], "datetime64[us]"), np.array([], object), tuple(np.array([]) for _ in series))
        parts = [none, *parts]
        return cls(
            tuple(series),
            np.concatenate([part.times for part in parts]),
            np.concatenate([part.environments for part in parts]),
            tuple(np.concatenate(columns) for columns in zip(*(part.columns for part in parts), strict=True)),
        )


@dataclass(frozen=True)
class Period:
    """Which of the periods that were simulated a question is about.

    Attributes:
        names: The names of the environments.
        kinds: Whether they are for sizing: False, True, or both.
    """

    names: frozenset[str]
    kinds: tuple[bool, ...]


def choose_period(environments: Sequence[Environment], wanted: Names | None) -> Period:
    """The environments that a question means.

    Args:
        environments: Those that were simulated.
        wanted: Names; None for the run periods, or the sizing periods where there is no run period.

    Raises:
        NotReportedError: If there is none of a name; it lists the nearest.
        ValueError: If nothing is named.
    """
    if wanted is None:
        is_sizing = all(environment.sizing for environment in environments)
        chosen = [environment for environment in environments if environment.sizing == is_sizing]
    else:
        chosen = []
        for name in as_names(wanted):
            means = matcher(name)
            found = [environment for environment in environments if means(environment.name)]
            if not found:
                raise not_reported(name, (environment.name for environment in environments), "environment")
            chosen += found
    kinds = tuple(sorted({environment.sizing for environment in chosen}))
    return Period(frozenset(environment.name for environment in chosen), kinds or (False,))
