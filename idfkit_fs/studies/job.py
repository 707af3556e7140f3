"""The JSON objects of a study: its description, and the job and the outcome of each case."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

import idfkit.simulation
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from idfkit_fs._util.messages import did_you_mean
from idfkit_fs._util.versioned_json import VersionedJson
from idfkit_fs.runs.record import INPUT_FILES, RecordedFile, RunPath, RunRecord, Sha256
from idfkit_fs.runs.selection import check_patterns
from idfkit_fs.runs.simulate import SHAPING, ExternalFiles, JobOptions
from idfkit_fs.studies.layout import Ended, check_case, outcome_path

__all__ = ["Job", "Metric", "Metrics", "Outcome", "StudyFile", "Summary", "make_job", "parse_metrics", "stat_name"]


class Metric(BaseModel):
    """A cell of a tabular report that a study keeps for each case.

    Attributes:
        name: Its column in the summary.
        report: The report's name, such as ``"AnnualBuildingUtilityPerformanceSummary"``.
        table: The table's name, such as ``"End Uses"``.
        row: The row's name, such as ``"Heating"``.
        column: The column's name, such as ``"District Heating Water"``.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    report: str
    table: str
    row: str
    column: str

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """The cell, as the user gave it."""
        return (self.report, self.table, self.row, self.column)


Metrics = Mapping[str, Sequence[str]] | Iterable[Sequence[str]]
"""Cells of tabular reports as ``(report, table, row, column)``, or a mapping of column names to such cells."""


def parse_metrics(metrics: Metrics) -> tuple[Metric, ...]:
    """Check the metrics that a user gives.

    Args:
        metrics: Cells as ``(report, table, row, column)``, which are then named ``"table, row, column"``; or a mapping
            of names to such cells.

    Returns:
        The metrics.

    Raises:
        ValueError: If a cell is not four strings, or a name is used twice.

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
            raise ValueError(f"A metric must be a tuple (report, table, row, column), not {cell!r}")
        found.append(
            Metric(name=name or ", ".join(cell[1:]), report=cell[0], table=cell[1], row=cell[2], column=cell[3])
        )
    names = [metric.name for metric in found]
    if len({*names}) < len(names) or {*names} & _COLUMNS:
        taken = next(name for name in names if names.count(name) > 1 or name in _COLUMNS)
        raise ValueError(f"The summary would have two columns {taken!r}; give the metric another name")
    return tuple(found)


class Summary(BaseModel):
    """The main results of a run, readable without opening it; a row of [Study.summary][idfkit_fs.Study.summary].

    The values come from EnergyPlus's AnnualBuildingUtilityPerformanceSummary and DemandEndUseComponentsSummary (Input
    Output Reference, Output:Table:SummaryReports). Energies are of the whole run period, and site energies unless a
    name says otherwise. A value that the run does not report is None.

    Attributes:
        floor_area_m2: Total building area (m2).
        site_energy_kwh: Total site energy (kWh).
        source_energy_kwh: Total source energy (kWh).
        eui_kwh_m2: Site energy per total building area (kWh/m2).
        end_uses_kwh: Energy by end use and fuel (kWh), zeros left out.
        peak_demand_w: Peak demand by fuel (W), zeros left out.
        unmet_heating_hours: Hours in which heating did not reach the setpoint while occupied.
        unmet_cooling_hours: Hours in which cooling did not reach the setpoint while occupied.
        warnings: Number of warnings, as EnergyPlus counts them; None if it is unknown.
        severe_errors: Number of severe errors, as EnergyPlus counts them; None if it is unknown.
        message: Why the run is no success; None for a success.
        metrics: The values of the user's metrics: numbers, or strings where a cell is not a number.
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
    """A value that JSON can hold: NumPy's numbers and arrays are converted, NaN and infinity are refused."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and infinity are not valid JSON")
    if isinstance(value, Mapping):
        return {name: _json(inner) for name, inner in value.items()}
    return [_json(inner) for inner in value] if isinstance(value, list | tuple) else value


_Parameters = dict[str, Annotated[JsonValue, BeforeValidator(_json)]]


class StudyFile(VersionedJson):
    """The description of a whole study.

    Attributes:
        metrics: Cells of tabular reports for the summary of every case.
    """

    kind: ClassVar[str] = "the description of a study"

    format: str = "idfkit-fs study"
    metrics: tuple[Metric, ...] = ()


class Job(VersionedJson):
    """What one case runs.

    Attributes:
        case: The case's name.
        model: The model as IDF text, by its file name among the study's inputs; None for an adopted case.
        weather: The weather file, by its file name among the study's inputs; None for a design-day run.
        files: Every other file that the model reads: for its path beside the model, its file name among the study's
            inputs.
        external_files: What was done with the files that the model reads when the case was added.
        options: Keywords for idfkit that differ from its defaults.
        include: Glob patterns of the files to publish; None for all output files.
        exclude: Glob patterns of files to leave out.
        parameters: JSON values that describe the case.
        metrics: Cells for this case's summary, in addition to the study's metrics.
        adopted: Hash of the outputs of the run, for a case that was made of a run that existed already.
    """

    kind: ClassVar[str] = "the job of a case"

    format: str = "idfkit-fs job"
    case: str
    model: RecordedFile | None
    weather: RecordedFile | None = None
    files: dict[RunPath, RecordedFile] = Field(default_factory=dict)
    external_files: ExternalFiles = "copy"
    options: dict[str, JsonValue] = Field(default_factory=dict)
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    parameters: _Parameters = Field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    adopted: Sha256 | None = None

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if (self.model is None) == (self.adopted is None):
            raise ValueError("a job has either a model or the hash of an adopted run")
        return self

    @field_validator("files")
    @classmethod
    def _stay_apart(cls, files: dict[str, RecordedFile], info: ValidationInfo) -> dict[str, RecordedFile]:
        """Refuse an input that could be taken for an output: anybody may have written the job."""
        weather = info.data.get("weather")
        for name in files:
            if not name.startswith(f"{INPUT_FILES}/") and not (weather and name == stat_name(weather)):
                raise ValueError(f"{name!r} is not the path of an input file")
        return files

    @field_validator("options")
    @classmethod
    def _stay_inside(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Refuse a prefix that leads EnergyPlus out of its directory: anybody may have written the job."""
        for name in options.keys() - _defaults():
            raise ValueError(f"{name!r} is not a keyword of a case")
        prefix = str(options.get("output_prefix", ""))
        if prefix.startswith(".") or {*prefix} & {*"/\\:"}:
            raise ValueError(f"output_prefix={prefix!r} cannot begin a file name")
        return options

    @property
    def key(self) -> str:
        """SHA-256 of everything that shapes the run: model, weather and other files, flags, and the choice of files.

        Nobody knows what a case read whose files were left where they are, so its key is that of no other case. Nor is
        it known whether an adopted run is what a model would give.
        """
        flags = {name: value for name, value in self.options.items() if name in SHAPING or name == "auto_migrate"}
        if self.model is None:
            return hashlib.sha256(f"adopted {self.adopted}".encode()).hexdigest()
        weather = self.weather and self.weather.sha256
        files = {name: file.sha256 for name, file in self.files.items()}
        alone = self.case if self.external_files == "leave" else None
        shaping = [self.model.sha256, weather, files, alone, flags, self.include, self.exclude]
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()

    def asks_for_same(self, other: Job) -> bool:
        """Whether two jobs are the same, apart from the release that wrote them."""
        return self.model_copy(update={"idfkit_fs_version": other.idfkit_fs_version}) == other

    def outcome_path(self, state: Ended) -> str:
        """The path of this job's outcome."""
        return outcome_path(state, self.case, self.key)


class Outcome(VersionedJson):
    """How a case ended.

    Attributes:
        case: The case's name.
        state: ``"ok"`` if EnergyPlus completed the case, ``"failed"`` if EnergyPlus ended it with an error.
        key: The job's hash.
        parameters: The job's parameters.
        record: The run's record, without its list of files.
        summary: The main results of the run.
    """

    kind: ClassVar[str] = "the outcome of a case"

    format: str = "idfkit-fs outcome"
    case: str
    state: Ended
    key: Sha256
    parameters: _Parameters = Field(default_factory=dict)
    record: RunRecord
    summary: Summary


def stat_name(weather: RecordedFile) -> str:
    """The name of the statistics beside a weather file: EnergyPlus looks for them under the weather file's name."""
    return f"{weather.sha256}.stat"


def make_job(
    case: str,
    model: RecordedFile | None,
    weather: RecordedFile | None,
    parameters: Mapping[str, Any],
    metrics: Metrics,
    include: Sequence[str] | None,
    exclude: Sequence[str],
    options: Mapping[str, Any],
    files: Mapping[str, RecordedFile] | None = None,
    external_files: ExternalFiles = "copy",
    adopted: str | None = None,
) -> Job:
    """Check what a user gives for a case, and make its job.

    Raises:
        LocationError: If the name cannot be the name of a case, or a pattern is invalid.
        TypeError: If idfkit does not know a keyword, or a keyword belongs to the worker.
        ValueError: If a value is not valid JSON, or a parameter has the name of a column of the summary.
    """
    check_case(case)
    parsed = parse_metrics(metrics)
    taken = sorted({*map(str, parameters)} & {*_COLUMNS, *(metric.name for metric in parsed)})
    if taken:
        raise ValueError(
            f"Case {case!r}: the summary has a column {taken[0]!r} already; give the parameter another name"
        )
    check_patterns(include, exclude)
    try:
        return Job(
            case=case,
            model=model,
            weather=weather,
            files=dict(files or {}),
            external_files=external_files,
            options=_normal(options),
            include=None if include is None else tuple(include),
            exclude=tuple(exclude),
            parameters=dict(parameters),
            metrics=parsed,
            adopted=adopted,
        )
    except ValidationError as exc:
        first = exc.errors()[0]
        raise ValueError(f"Case {case!r}: {' '.join(str(part) for part in first['loc'])}: {first['msg']}") from exc


@functools.cache
def _defaults() -> dict[str, Any]:
    known = inspect.signature(idfkit.simulation.simulate).parameters
    return {name: known[name].default for name in JobOptions.__annotations__}


def _normal(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords for idfkit, without those that have the default value."""
    known = _defaults()
    for name in options:
        if name not in known:
            of_worker = name in inspect.signature(idfkit.simulation.simulate).parameters
            hint = "; the worker sets it" if of_worker else did_you_mean(name, known)
            raise TypeError(f"A case takes no keyword {name!r}{hint}")
    chosen = {name: _json(value) for name, value in options.items()}
    return {name: value for name, value in chosen.items() if value != known[name]}
