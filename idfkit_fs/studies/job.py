"""The JSON objects of a study: its description, and the job and the outcome of each case."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
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
from idfkit_fs.studies.layout import Ended, EndedRun, check_case, outcome_path
from idfkit_fs.studies.parameters import json_value, parse_parameters

__all__ = [
    "Job",
    "Measured",
    "Metric",
    "Metrics",
    "Outcome",
    "StudyFile",
    "Summary",
    "checked",
    "columns_of_summary",
    "make_job",
    "parse_metrics",
    "stat_name",
    "state_of",
]


class Measured(BaseModel):
    """What a metric is in one case.

    Attributes:
        cell: The cell that was asked for: report, table, row and column.
        value: A number, or a string where the cell is not a number; None if there is no such cell.
        units: The units in which EnergyPlus wrote it, such as ``"GJ"``.
        problem: Why no value exists; None if one does.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    cell: tuple[str, str, str, str]
    value: float | str | None = None
    units: str = ""
    problem: str | None = None


class Metric(BaseModel):
    """A cell of a tabular report that a study keeps for each case.

    In the names of the cell, case does not matter and ``*`` matches any characters, as in
    [Study.tabular][idfkit_fs.Study.tabular]; they must match one cell.

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

    def missing(self, why: str) -> Measured:
        """This metric in a case that has no value for it."""
        return Measured(cell=self.cell, problem=f"The metric {self.name!r} has no value: {why}")


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
        TypeError: If a metric's name is not a text.
        ValueError: If a cell is not four names, or a metric's name is used twice.

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
        parts = tuple(cell) if isinstance(cell, Iterable) and not isinstance(cell, str) else ()
        if len(parts) != 4 or not all(isinstance(part, str) for part in parts):
            raise ValueError(f"A metric must be a tuple (report, table, row, column), not {cell!r}")
        if not (name is None or isinstance(name, str)):
            raise TypeError(f"The name of a metric must be a str, not {type(name).__name__}")
        report, table, row, column = (str(part).strip() for part in parts)
        if not (report and table and column):
            raise ValueError(
                f"The metric {cell!r} has an empty name, which matches no cell; name the report, the table and the "
                "column, or use '*'"
            )
        found.append(
            Metric(name=name or f"{table}, {row}, {column}", report=report, table=table, row=row, column=column)
        )
    names = [metric.name for metric in found]
    if len({*names}) < len(names) or {*names} & _COLUMNS:
        taken = next(name for name in names if names.count(name) > 1 or name in _COLUMNS)
        raise ValueError(f"The summary would have two columns {taken!r}; give the metric another name")
    return tuple(found)


class Summary(BaseModel):
    """The main results of a run, readable without opening it; a row of [Study.summary][idfkit_fs.Study.summary].

    The values come from EnergyPlus's AnnualBuildingUtilityPerformanceSummary, DemandEndUseComponentsSummary and
    InputVerificationandResultsSummary (Input Output Reference, Output:Table:SummaryReports). Energies are of all run
    periods together, *hours_simulated* hours, and site energies unless a name says otherwise. Design days and other
    sizing periods do not count. A value that the run does not report, or that would mislead, is None.

    Attributes:
        hours_simulated: Hours of all run periods; 0 if only sizing periods were simulated.
        floor_area_m2: Total building area (m2).
        site_energy_kwh: Total site energy (kWh).
        source_energy_kwh: Total source energy (kWh).
        eui_kwh_m2: Site energy per total building area (kWh/m2) and year; None unless the run is one run period of one
            year, 8760 or 8784 hours.
        net_site_energy_kwh: Site energy less the electricity from on-site sources (kWh).
        on_site_electricity_kwh: Electricity from on-site sources, such as photovoltaics, after conversion and storage
            losses (kWh).
        surplus_electricity_kwh: Electricity that goes to the utility (kWh).
        end_uses_kwh: Energy by end use and fuel (kWh), zeros left out.
        peak_demand_w: Peak demand by fuel (W), zeros left out.
        unmet_heating_hours: Hours in which heating did not reach the setpoint while occupied.
        unmet_cooling_hours: Hours in which cooling did not reach the setpoint while occupied.
        warnings: Number of warnings, as EnergyPlus counts them; None if it is unknown.
        severe_errors: Number of severe errors, as EnergyPlus counts them; None if it is unknown.
        message: Why the run is not a success; None for a success.
        notes: Why figures are missing, such as the EUI of a part of a year.
        metrics: The user's metrics, by name.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    hours_simulated: float | None = None
    floor_area_m2: float | None = None
    site_energy_kwh: float | None = None
    source_energy_kwh: float | None = None
    eui_kwh_m2: float | None = None
    net_site_energy_kwh: float | None = None
    on_site_electricity_kwh: float | None = None
    surplus_electricity_kwh: float | None = None
    end_uses_kwh: dict[str, dict[str, float]] = Field(default_factory=dict)
    peak_demand_w: dict[str, float] = Field(default_factory=dict)
    unmet_heating_hours: float | None = None
    unmet_cooling_hours: float | None = None
    warnings: int | None = None
    severe_errors: int | None = None
    message: str | None = None
    notes: tuple[str, ...] = ()
    metrics: dict[str, Measured] = Field(default_factory=dict)


_COLUMNS = frozenset({"case", "state", "runtime_seconds", *Summary.model_fields})


_Parameters = dict[str, Annotated[JsonValue, BeforeValidator(json_value)]]


def columns_of_summary(metrics: Iterable[Metric] = ()) -> dict[str, str]:
    """The names of the summary's columns that a parameter cannot have, each with what has it."""
    return dict.fromkeys(_COLUMNS, "of EnergyPlus's results") | {metric.name: "a metric" for metric in metrics}


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
        """Refuse an input that looks like an output: another user may have written the job."""
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

        It is unknown what a case read whose files were left where they are, so its key is that of no other case. Nor is
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

    def outcome_path(self, record: RunRecord) -> str:
        """The path of the outcome of a run of this job."""
        return outcome_path(state_of(record), self.case, EndedRun.of(self.key, record.id))


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


def state_of(record: RunRecord) -> Ended:
    """The state of a case that has this run."""
    return "ok" if record.success else "failed"


def stat_name(weather: RecordedFile) -> str:
    """The name of the statistics beside a weather file: EnergyPlus looks for them under the weather file's name."""
    return f"{weather.sha256}.stat"


def checked(case: str, parameters: Mapping[str, Any], metrics: Metrics) -> tuple[dict[str, Any], tuple[Metric, ...]]:
    """Check the parameters and metrics that a user gives for a case.

    Raises:
        TypeError: If the parameters have no names, or a metric's name is not a text.
        ValueError: If a metric is invalid, or a parameter cannot be JSON or has the name of another column.
    """
    parsed = parse_metrics(metrics)
    return parse_parameters(case, parameters, columns_of_summary(parsed)), parsed


def make_job(
    case: str,
    parameters: Mapping[str, Any],
    metrics: Metrics,
    *,
    model: RecordedFile | None = None,
    weather: RecordedFile | None = None,
    files: Mapping[str, RecordedFile] | None = None,
    external_files: ExternalFiles = "copy",
    options: Mapping[str, Any] | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    adopted: str | None = None,
) -> Job:
    """Check what a user gives for a case, and make its job; the arguments are the fields of it.

    Raises:
        LocationError: If the name cannot be the name of a case, or a pattern is invalid.
        TypeError: If idfkit does not know a keyword, or a keyword belongs to the worker.
        ValueError: If a value cannot be JSON, or a parameter has the name of a column of the summary.
    """
    check_case(case)
    parsed_parameters, parsed_metrics = checked(case, parameters, metrics)
    check_patterns(include, exclude)
    try:
        return Job(
            case=case,
            model=model,
            weather=weather,
            files=dict(files or {}),
            external_files=external_files,
            options=_normal(options or {}),
            include=None if include is None else tuple(include),
            exclude=tuple(exclude),
            parameters=parsed_parameters,
            metrics=parsed_metrics,
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
    chosen = {name: json_value(value) for name, value in options.items()}
    return {name: value for name, value in chosen.items() if value != known[name]}
