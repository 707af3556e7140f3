"""Turn a case, as the user describes it, into what a study stores: a job, and the input files that it names."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idfkit import IDFDocument
from idfkit.exceptions import EnergyPlusNotFoundError
from idfkit.simulation import EnergyPlusConfig, SimulationJob

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.files import digest_of
from idfkit_fs._util.urls import Location, to_text
from idfkit_fs.errors import LocationError, ModelError
from idfkit_fs.runs.external import External, gather, recorded, stat_beside
from idfkit_fs.runs.installation import find_installation
from idfkit_fs.runs.locate import check_weather, local_input
from idfkit_fs.runs.model import check_version, load_model, write_model
from idfkit_fs.runs.record import RecordedFile
from idfkit_fs.runs.simulate import ExternalFiles, JobOptions
from idfkit_fs.studies.job import Job, Metrics, checked, make_job, stat_name

__all__ = ["Case", "Inputs", "case_of_job"]

# A file up to this size is hashed and uploaded from the same bytes; a larger one is never held in memory.
_IN_MEMORY = 4 * 2**20


@dataclass(frozen=True)
class Case:
    """A case to add to a study.

    Attributes:
        name: The case's name, which becomes a directory of the study.
        model: An idfkit document; or a path, a URL or a ``UPath`` of an IDF, epJSON or macro file (``.imf``).
        weather: A path or URL of a weather file (EPW); None for a design-day run.
        parameters: What describes the case: a mapping, or a row of a DataFrame as it is. NaN and None are missing
            values; numbers of NumPy, times, paths and the like become JSON. They become columns of the summary.
        metrics: Cells of tabular reports for this case's summary, in addition to the study's metrics.
        include: Glob patterns of the files to publish; by default all output files.
        exclude: Glob patterns of files to leave out.
        options: Keywords of ``idfkit.simulation.simulate``.
        external_files: ``"copy"`` to store every other file that the model reads in the study; ``"leave"`` to leave
            their paths alone, for files that only the workers have.

    Raises:
        TypeError: If the parameters have no names.
        ValueError: If a metric is invalid, or a parameter cannot be JSON or has the name of another column.

    Examples:
        >>> Case("wwr-0.4", "office.idf", "chicago.epw", {"wwr": 0.4}, options={"annual": True}).parameters
        {'wwr': 0.4}
    """

    name: str
    model: IDFDocument | Location
    weather: Location | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Metrics = ()
    include: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    options: JobOptions = field(default_factory=JobOptions)
    external_files: ExternalFiles = "copy"

    def __post_init__(self) -> None:
        # Here, and not on a worker or in the middle of a thousand cases, the user can still correct them.
        parameters, metrics = checked(self.name, self.parameters, self.metrics)
        object.__setattr__(self, "metrics", {metric.name: metric.cell for metric in metrics})
        object.__setattr__(self, "parameters", parameters)


def case_of_job(job: SimulationJob, external_files: ExternalFiles = "copy") -> Case:
    """The case for a job of idfkit; the name is the job's label, or the last part of its output directory.

    Raises:
        LocationError: If the job has neither.
    """
    name = job.label or (Path(job.output_dir).name if job.output_dir else "")
    if not name:
        raise LocationError("A SimulationJob without a label cannot be a case; give it a label")
    options: Any = {option: getattr(job, option) for option in JobOptions.__annotations__ if hasattr(job, option)}
    model: Any = job.model  # idfkit declares it an object
    return Case(name, model, job.weather, options=options, external_files=external_files)


class Inputs:
    """The input files of the cases that are being added; each is uploaded once.

    Args:
        fs: The directory of the study's inputs.
        stored: The names of the inputs that the store has; new ones are added to this set.
    """

    def __init__(self, fs: FsspecFileSystem, stored: set[str]) -> None:
        self._fs = fs
        self._stored = stored
        self._weather: dict[Path, RecordedFile] = {}
        self._stats: dict[str, Path | None] = {}
        self._energyplus: dict[tuple[int, int, int], EnergyPlusConfig | None] = {}
        self._sending: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    def job_of(self, case: Case) -> tuple[Job, dict[str, bytes | Path]]:
        """The job of a case, and the contents of its inputs that the store does not have yet.

        Raises:
            ModelError: If the model, the weather file, or a file that the model names cannot be read.
        """
        try:
            text, external = self._model_of(case)
            local_weather = None if case.weather is None else self._local_weather(case.weather)
        except ModelError as exc:
            raise ModelError(f"Case {case.name!r}: {exc}") from exc
        model = _named(text, ".idf")
        contents: dict[str, bytes | Path] = {model.name: text}
        files = {}
        for entry in external.inputs:
            files[entry.name] = stored = _stored_as(entry)
            contents[stored.name] = external.files[entry.name]
        weather = None
        if case.weather is not None and local_weather is not None:
            weather = self._weather[local_weather]
            contents[weather.name] = local_weather
            statistics = self._statistics_of(case.weather)
            if statistics:
                files[stat_name(weather)] = stored = _stored_as(recorded(stat_name(weather), statistics))
                contents[stored.name] = statistics
        job = make_job(
            case.name,
            case.parameters,
            case.metrics,
            model=model,
            weather=weather,
            files=files,
            external_files=case.external_files,
            options=case.options,
            include=case.include,
            exclude=case.exclude,
        )
        return job, {name: data for name, data in contents.items() if name not in self._stored}

    def send(self, name: str, content: bytes | Path) -> None:
        """Upload an input, or wait for another thread that is uploading it.

        Raises:
            ModelError: If a local file has changed since it was hashed, or changes while it is uploaded.
        """
        with self._lock:
            known = self._sending.get(name)
            sending = self._sending.setdefault(name, Future())
        if known is None:
            try:
                self._upload(name, content)
                sending.set_result(None)
                self._stored.add(name)
            except BaseException as exc:  # noqa: BLE001 - raised below, in each thread that waits
                sending.set_exception(exc)
        sending.result()

    def _upload(self, name: str, content: bytes | Path) -> None:
        """Upload an input; its name begins with its hash, so the store must have these very bytes or nothing."""
        sha256 = name[:64]
        if isinstance(content, Path) and content.stat().st_size <= _IN_MEMORY:
            content = content.read_bytes()
            if hashlib.sha256(content).hexdigest() != sha256:
                raise ModelError("An input file changed while it was added; add the case again")
        if isinstance(content, bytes):
            self._fs.write_bytes(name, content)
            return
        self._fs.upload(content, name)
        if digest_of(content)[1] != sha256:
            self._fs.remove_if_exists([name])
            raise ModelError(f"{str(content)!r} changed while it was added; add the case again")

    def _statistics_of(self, weather: Location) -> Path | None:
        key = to_text(weather)
        if key not in self._stats:
            self._stats[key] = stat_beside(weather, self._fs)
        return self._stats[key]

    def _model_of(self, case: Case) -> tuple[bytes, External]:
        """The text of a model, and the files that it reads."""
        document, directory = load_model(case.model, self._fs)
        energyplus = self._energyplus_for(document.version)
        if energyplus:
            check_version(document, energyplus, case.options)
        external = External(document)
        if case.external_files == "copy":
            external = gather(document, directory, self._fs, energyplus.install_dir if energyplus else None)
        return write_model(external.document, case.model).text, external

    def _energyplus_for(self, version: tuple[int, int, int]) -> EnergyPlusConfig | None:
        if version not in self._energyplus:
            try:
                self._energyplus[version] = find_installation(version)
            except EnergyPlusNotFoundError:
                self._energyplus[version] = None
        return self._energyplus[version]

    def _local_weather(self, location: Location) -> Path:
        """The local copy of a weather file, whose entry is known from then on."""
        path = local_input(location, self._fs)
        if path not in self._weather:
            check_weather(path, location)
            entry = recorded("weather", path)
            self._weather[path] = entry.model_copy(update={"name": f"{entry.sha256}.epw"})
        return path


def _named(data: bytes, suffix: str) -> RecordedFile:
    digest = hashlib.sha256(data).hexdigest()
    return RecordedFile(name=f"{digest}{suffix}", size=len(data), sha256=digest)


def _stored_as(entry: RecordedFile) -> RecordedFile:
    """The entry of an input in the store, where its name is its hash."""
    suffix = Path(entry.name).suffix
    return entry.model_copy(update={"name": f"{entry.sha256}{suffix if suffix[1:].isalnum() else ''}"})
