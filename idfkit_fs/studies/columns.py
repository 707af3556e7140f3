"""What jobs and outcomes say of many cases, as columns: 10,000 cases are a few lists, and not 10,000 objects."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from idfkit_fs.studies.job import Job, Measured, Outcome, Summary

__all__ = [
    "BUILDING_FIGURES",
    "COUNTS",
    "FIGURES",
    "HOURS_FIGURES",
    "ON_SITE_FIGURES",
    "Columns",
    "Row",
    "energy_column",
]

COUNTS = ("warnings", "severe_errors")
"""The fields of a summary that are counted."""
BUILDING_FIGURES = ("hours_simulated", "floor_area_m2", "site_energy_kwh", "source_energy_kwh", "eui_kwh_m2")
ON_SITE_FIGURES = ("net_site_energy_kwh", "on_site_electricity_kwh", "surplus_electricity_kwh")
HOURS_FIGURES = ("unmet_heating_hours", "unmet_cooling_hours")
FIGURES = (*BUILDING_FIGURES, *ON_SITE_FIGURES, *HOURS_FIGURES)
"""Its other fields of one number each."""
_SECONDS = "runtime_seconds"


@dataclass(frozen=True)
class Row:
    """What a job or an outcome says of one case.

    Attributes:
        parameters: The case's parameters.
        summary: The summary that its worker wrote; an empty one for a case without an outcome.
        runtime_seconds: Wall-clock time of EnergyPlus (s).
        message: The error of the case, and why figures are missing; None if there is nothing to say.
    """

    parameters: dict[str, JsonValue] = field(default_factory=dict)
    summary: Summary = field(default_factory=Summary)
    runtime_seconds: float | None = None
    message: str | None = None

    @classmethod
    def by(cls, source: Job | Outcome) -> Self:
        """What a job or an outcome says."""
        if isinstance(source, Job):
            return cls(source.parameters)
        summary = source.summary
        # A run that ended with an error need not explain what else is missing.
        said = [summary.message, *(summary.notes if source.state == "ok" else ())]
        message = "; ".join(filter(None, said)) or None
        return cls(source.parameters, summary, source.record.runtime_seconds, message)


def energy_column(end_use: str) -> str:
    """The column of an end use and its fuel, each on a line: ``"heating_natural_gas_kwh"``."""
    return f"{'_'.join(map(_word, end_use.splitlines()))}_kwh"


class Columns(BaseModel):
    """What is known of many cases; each list has an item for each case, None for what a case does not have.

    Attributes:
        parameters: The parameters of each case.
        metrics: The metrics that the worker wrote.
        measured: Metrics that were read from the tables of the run later, by what was asked for.
        messages: The error of the case, and why figures are missing.
        figures: The fields of a summary that are one number each, and the time that EnergyPlus took.
        counts: Those that are counted.
        end_uses: Energies, by end use and fuel, each on a line.
        peaks: Peak demands, by the names of their columns.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    parameters: list[dict[str, JsonValue]] = Field(default_factory=list)
    metrics: list[dict[str, Measured]] = Field(default_factory=list)
    measured: list[dict[str, Measured]] = Field(default_factory=list)
    messages: list[str | None] = Field(default_factory=list)
    figures: dict[str, list[float | None]] = Field(default_factory=dict)
    counts: dict[str, list[int | None]] = Field(default_factory=dict)
    end_uses: dict[str, list[float | None]] = Field(default_factory=dict)
    peaks: dict[str, list[float | None]] = Field(default_factory=dict)

    @classmethod
    def of(cls, rows: Collection[Row]) -> Self:
        """The columns of some rows."""
        summaries = [row.summary for row in rows]
        figures = {name: [getattr(summary, name) for summary in summaries] for name in FIGURES}
        return cls.model_construct(
            parameters=[row.parameters for row in rows],
            metrics=[summary.metrics for summary in summaries],
            measured=[{} for _ in rows],
            messages=[row.message for row in rows],
            figures=figures | {_SECONDS: [row.runtime_seconds for row in rows]},
            counts={name: [getattr(summary, name) for summary in summaries] for name in COUNTS},
            end_uses=_united([_end_uses(summary) for summary in summaries]),
            peaks=_united([_peaks(summary) for summary in summaries]),
        )

    def joined(self, other: Columns) -> Columns:
        """These rows, and those of another table below them."""
        above, below = ([None] * len(each.messages) for each in (self, other))

        def join(name: str) -> Any:
            one, two = getattr(self, name), getattr(other, name)
            if isinstance(one, list):
                return one + two
            return {key: one.get(key, above) + two.get(key, below) for key in one | two}

        return Columns.model_construct(**{name: join(name) for name in Columns.model_fields})

    def take(self, numbers: Sequence[int]) -> Columns:
        """Some rows, in an order, by their numbers."""
        if numbers == [*range(len(self.messages))]:
            return self

        def taken(name: str) -> Any:
            found = getattr(self, name)
            if isinstance(found, list):
                return [*map(found.__getitem__, numbers)]
            return {key: [*map(column.__getitem__, numbers)] for key, column in found.items()}

        return Columns.model_construct(**{name: taken(name) for name in Columns.model_fields})

    def lengths(self) -> set[int]:
        """The lengths of all lists, which are one in a table that is whole."""
        fields = [getattr(self, name) for name in Columns.model_fields]
        lists = [each for field in fields for each in ([field] if isinstance(field, list) else field.values())]
        return {*map(len, lists)}


def _united(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _end_uses(summary: Summary) -> dict[str, float]:
    uses = summary.end_uses_kwh
    return {f"{use}\n{fuel}": energy for use, fuels in uses.items() for fuel, energy in fuels.items()}


def _peaks(summary: Summary) -> dict[str, float]:
    return {f"peak_{_word(fuel)}_w": demand for fuel, demand in summary.peak_demand_w.items()}


@functools.lru_cache(maxsize=1024)  # the cases of a study have the same few, again and again
def _word(text: str) -> str:
    """A name of EnergyPlus as part of a column name: ``"District Heating Water"`` as ``district_heating_water``."""
    return re.sub(r"\W+", "_", text).strip("_").lower()
