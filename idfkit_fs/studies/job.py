"""What a case is to run, and how it ended: the JSON objects of a study."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import idfkit.simulation
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, field_validator

from idfkit_fs._util.messages import did_you_mean
from idfkit_fs._util.versioned_json import VersionedJson
from idfkit_fs.runs.record import RecordedFile, RunRecord, Sha256
from idfkit_fs.runs.selection import check_patterns
from idfkit_fs.runs.simulate import SHAPING, JobOptions
from idfkit_fs.studies.layout import Ended, check_case, outcome_path

__all__ = ["Job", "Metric", "Metrics", "Outcome", "StudyFile", "Summary", "make_job", "parse_metrics"]


class Metric(BaseModel):
    """A cell of a tabular report that a study keeps for each case.

    Attributes:
        name: Its column in the summary.
        report: Such as ``"AnnualBuildingUtilityPerformanceSummary"``.
        table: Such as ``"End Uses"``.
        row: Such as ``"Heating"``.
        column: Such as ``"District Heating Water"``.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    report: str
    table: str
    row: str
    column: str

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """The metric as it is given."""
        return (self.report, self.table, self.row, self.column)


Metrics = Mapping[str, Sequence[str]] | Iterable[Sequence[str]]
"""Cells as ``(report, table, row, column)``, or a mapping of the names of their columns to them."""


def parse_metrics(metrics: Metrics) -> tuple[Metric, ...]:
    """Check what a user gave as metrics.

    Args:
        metrics: Cells as ``(report, table, row, column)``, which are then named ``"table, row, column"``; or a mapping
            of names to them.

    Returns:
        The metrics.

    Raises:
        ValueError: If a cell is not of four texts, or two have one name.

    Examples:
        >>> cell = ("AnnualBuildingUtilityPerformanceSummary", "End Uses", "Heating", "District Heating Water")
        >>> [metric.name for metric in parse_metrics([cell])]
        ['End Uses, Heating, District Heating Water']
        >>> [metric.name for metric in parse_metrics({"heating_gj": cell})]
        ['heating_gj']
    """
    named = list(metrics.items()) if isinstance(metrics, Mapping) else [(None, cell) for cell in metrics]
    found = []
    for name, cell in named:
        if isinstance(cell, str) or len(cell) != 4 or not all(isinstance(part, str) for part in cell):
            raise ValueError(f"a metric is a tuple (report, table, row, column), not {cell!r}")
        found.append(
            Metric(name=name or ", ".join(cell[1:]), report=cell[0], table=cell[1], row=cell[2], column=cell[3])
        )
    names = [metric.name for metric in found]
    if len({*names}) < len(names) or {*names} & _COLUMNS:
        taken = next(name for name in names if names.count(name) > 1 or name in _COLUMNS)
        raise ValueError(f"two columns of the summary would be called {taken!r}")
    return tuple(found)


class Summary(BaseModel):
    """What is worth knowing of a run without opening it; a row of [Study.summary][idfkit_fs.Study.summary].

    Energies are per year of the run period, and site energies unless said otherwise; from EnergyPlus's
    AnnualBuildingUtilityPerformanceSummary and DemandEndUseComponentsSummary (Input Output Reference,
    Output:Table:SummaryReports). What the run does not tell is None.

    Attributes:
        floor_area_m2: Total building area (m2).
        site_energy_kwh: Total site energy (kWh).
        source_energy_kwh: Total source energy (kWh).
        eui_kwh_m2: Site energy per total building area (kWh/m2).
        end_uses_kwh: Energy by end use and fuel (kWh), zeros left out.
        peak_demand_w: Peak demand by fuel (W), zeros left out.
        unmet_heating_hours: Hours in which heating did not reach the setpoint while occupied.
        unmet_cooling_hours: Likewise for cooling.
        warnings: Number of warnings in the ``.err`` file.
        severe_errors: Number of severe and fatal errors.
        message: The first severe or fatal error; None without one.
        metrics: The values of the user's metrics: numbers where they are numbers, else texts.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    floor_area_m2: float | None = None
    site_energy_kwh: float | None = None
    source_energy_kwh: float | None = None
    eui_kwh_m2: float | None = None
    end_uses_kwh: dict[str, dict[str, float]] = Field(default_factory=dict)
    peak_demand_w: dict[str, float] = Field(default_factory=dict)
    unmet_heating_hours: float | None = None
    unmet_cooling_hours: float | None = None
    warnings: int | None = None
    severe_errors: int | None = None
    message: str | None = None
    metrics: dict[str, float | str | None] = Field(default_factory=dict)


_COLUMNS = frozenset({"case", "state", "runtime_seconds", *Summary.model_fields})


def _json(value: object) -> object:
    """A value as JSON has it: NumPy's numbers and arrays are none, nor are NaN and infinity."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and infinity are no JSON")
    if isinstance(value, Mapping):
        return {name: _json(inner) for name, inner in value.items()}
    return [_json(inner) for inner in value] if isinstance(value, list | tuple) else value


_Parameters = dict[str, Annotated[JsonValue, BeforeValidator(_json)]]


class StudyFile(VersionedJson):
    """What holds for a whole study.

    Attributes:
        metrics: Cells that every case's summary has.
    """

    kind: ClassVar[str] = "the description of a study"

    format: str = "idfkit-fs study"
    metrics: tuple[Metric, ...] = ()


class Job(VersionedJson):
    """What one case is to run.

    Attributes:
        case: The case's name.
        model: The model as IDF text, by its name among the study's inputs.
        weather: The weather file likewise; None for a run without one.
        options: Keywords for idfkit that differ from its defaults.
        include: Glob patterns of the files to publish; None for all but the inputs.
        exclude: Glob patterns of files to leave out.
        parameters: What the user wants to remember of the case.
        metrics: Cells that this case's summary has beside the study's own.
    """

    kind: ClassVar[str] = "the job of a case"

    format: str = "idfkit-fs job"
    case: str
    model: RecordedFile
    weather: RecordedFile | None = None
    options: dict[str, JsonValue] = Field(default_factory=dict)
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    parameters: _Parameters = Field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()

    @field_validator("options")
    @classmethod
    def _stay_inside(cls, options: dict[str, Any]) -> dict[str, Any]:
        """EnergyPlus writes where the prefix leads, and a job may come from anybody's bucket."""
        for name in options.keys() - _defaults():
            raise ValueError(f"{name!r} is no keyword of a case")
        prefix = str(options.get("output_prefix", ""))
        if prefix.startswith(".") or {*prefix} & {*"/\\:"}:
            raise ValueError(f"{prefix!r} is no beginning of a file's name")
        return options

    @property
    def key(self) -> str:
        """SHA-256 of whatever shapes the run: model, weather, flags, and the choice of files."""
        flags = {name: value for name, value in self.options.items() if name in SHAPING or name == "auto_migrate"}
        weather = self.weather and self.weather.sha256
        shaping = [self.model.sha256, weather, flags, self.include, self.exclude]
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()

    def asks_for_same(self, other: Job) -> bool:
        """Whether two jobs are one, whichever release wrote them."""
        return self.model_copy(update={"idfkit_fs_version": other.idfkit_fs_version}) == other

    def outcome_path(self, state: Ended) -> str:
        """Where it stands how this job ended."""
        return outcome_path(state, self.case, self.key)


class Outcome(VersionedJson):
    """How a case ended.

    Attributes:
        case: The case's name.
        state: Whether EnergyPlus ended it well.
        key: The job's hash.
        parameters: The job's parameters.
        record: The run's record, without files.
        summary: What is worth knowing of it.
    """

    kind: ClassVar[str] = "the outcome of a case"

    format: str = "idfkit-fs outcome"
    case: str
    state: Ended
    key: Sha256
    parameters: _Parameters = Field(default_factory=dict)
    record: RunRecord
    summary: Summary


def make_job(
    case: str,
    model: RecordedFile,
    weather: RecordedFile | None,
    parameters: Mapping[str, Any],
    metrics: Metrics,
    include: Sequence[str] | None,
    exclude: Sequence[str],
    options: Mapping[str, Any],
) -> Job:
    """Check what a user gave for a case.

    Raises:
        LocationError: If the name cannot be one, or a pattern is none.
        TypeError: For a keyword that idfkit does not know, or that a job cannot hold.
        ValueError: If a value cannot be stored as JSON, or a parameter has the name of a column of the summary.
    """
    check_case(case)
    parsed = parse_metrics(metrics)
    taken = sorted({*map(str, parameters)} & {*_COLUMNS, *(metric.name for metric in parsed)})
    if taken:
        raise ValueError(
            f"case {case!r}: the summary has a column {taken[0]!r} of its own; call the parameter otherwise"
        )
    check_patterns(include, exclude)
    try:
        return Job(
            case=case,
            model=model,
            weather=weather,
            options=_normal(options),
            include=None if include is None else tuple(include),
            exclude=tuple(exclude),
            parameters=dict(parameters),
            metrics=parsed,
        )
    except ValidationError as exc:
        first = exc.errors()[0]
        raise ValueError(f"case {case!r}: {' '.join(str(part) for part in first['loc'])}: {first['msg']}") from exc


@functools.cache
def _defaults() -> dict[str, Any]:
    known = inspect.signature(idfkit.simulation.simulate).parameters
    return {name: known[name].default for name in JobOptions.__annotations__}


def _normal(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords for idfkit, without those that are its defaults anyway."""
    known = _defaults()
    for name in options:
        if name not in known:
            elsewhere = name in inspect.signature(idfkit.simulation.simulate).parameters
            hint = ": it is a matter of the worker's" if elsewhere else did_you_mean(name, known)
            raise TypeError(f"a case takes no keyword {name!r}{hint}")
    chosen = {name: _json(value) for name, value in options.items()}
    return {name: value for name, value in chosen.items() if value != known[name]}
