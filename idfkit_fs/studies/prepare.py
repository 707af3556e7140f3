"""Turn a case, as the user describes it, into what a study stores: a job, and the input files that it names."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idfkit import IDFDocument, load_epjson, load_idf, write_idf
from idfkit.exceptions import IdfKitError
from idfkit.simulation import SimulationJob

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.messages import redact
from idfkit_fs._util.urls import Location, to_text
from idfkit_fs.errors import LocationError, ModelError
from idfkit_fs.runs.record import RecordedFile
from idfkit_fs.runs.simulate import ExternalFiles, JobOptions, local_input
from idfkit_fs.studies.job import Job, Metrics, columns_of_summary, make_job, parse_metrics
from idfkit_fs.studies.parameters import parse_parameters

__all__ = ["Case", "Inputs", "case_of_job"]


@dataclass(frozen=True)
class Case:
    """A case to add to a study.

    Attributes:
        name: The case's name, which becomes a directory of the study.
        model: An idfkit document, or a path or URL of an IDF or epJSON file.
        weather: A path or URL of a weather file (EPW); None for a design-day run.
        parameters: What describes the case: a mapping, or a row of a DataFrame as it is. NaN and None are missing
            values; numbers of NumPy, times, paths and the like become JSON. They become columns of the summary.
        metrics: Cells of tabular reports for this case's summary, in addition to the study's metrics.
        include: Glob patterns of the files to publish; by default all output files.
        exclude: Glob patterns of files to leave out.
        options: Keywords of [idfkit.simulation.simulate][idfkit.simulation.runner.simulate].
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
        metrics = parse_metrics(self.metrics)
        parameters = parse_parameters(self.name, self.parameters, columns_of_summary(metrics))
        object.__setattr__(self, "metrics", {metric.name: metric.cell for metric in metrics})
        object.__setattr__(self, "parameters", parameters)


def case_of_job(job: SimulationJob) -> Case:
    """The case for a job of idfkit; the name is the job's label, or the last part of its output directory.

    Raises:
        LocationError: If the job has neither.
    """
    name = job.label or (Path(job.output_dir).name if job.output_dir else "")
    if not name:
        raise LocationError("A SimulationJob without a label cannot be a case; give it a label")
    options: Any = {option: getattr(job, option) for option in JobOptions.__annotations__ if hasattr(job, option)}
    model: Any = job.model  # idfkit declares it an object
    return Case(name, model, job.weather, options=options)


class Inputs:
    """The models and weather files of the cases that are being added; each is uploaded once.

    Args:
        fs: The directory of the study's inputs.
        stored: The names of the inputs that the store has; new ones are added to this set.
    """

    def __init__(self, fs: FsspecFileSystem, stored: set[str]) -> None:
        self._fs = fs
        self._stored = stored
        self._weather: dict[Path, RecordedFile] = {}
        self._sending: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    def job_of(self, case: Case) -> tuple[Job, dict[str, bytes | Path]]:
        """The job of a case, and the contents of its inputs that the store does not have yet.

        Raises:
            ModelError: If the model or the weather file cannot be read.
        """
        text = _idf_of(case, self._fs)
        model = _named(text, ".idf")
        contents: dict[str, bytes | Path] = {model.name: text}
        weather = None
        if case.weather is not None:
            path = local_input(case.weather, self._fs)
            weather = self._weather_of(case, path)
            contents[weather.name] = path
        job = make_job(
            case.name, model, weather, case.parameters, case.metrics, case.include, case.exclude, case.options
        )
        return job, {name: data for name, data in contents.items() if name not in self._stored}

    def send(self, name: str, content: bytes | Path) -> None:
        """Upload an input, or wait for another thread that is uploading it."""
        with self._lock:
            known = self._sending.get(name)
            sending = self._sending.setdefault(name, Future())
        if known is None:
            try:
                data = content.read_bytes() if isinstance(content, Path) else content
                self._fs.write_bytes(name, data)
                sending.set_result(None)
                self._stored.add(name)
            except BaseException as exc:  # noqa: BLE001 - raised below, in each thread that waits
                sending.set_exception(exc)
        sending.result()

    def _weather_of(self, case: Case, path: Path) -> RecordedFile:
        if path not in self._weather:
            shown = redact(to_text(case.weather or ""))
            try:
                data = path.read_bytes()
            except OSError as exc:
                raise ModelError(
                    f"Case {case.name!r}: the weather file {shown!r} cannot be read: {exc.strerror}"
                ) from exc
            if not data.startswith(b"LOCATION,"):
                raise ModelError(f"Case {case.name!r}: {shown!r} is not an EPW file: it does not begin with LOCATION")
            self._weather[path] = _named(data, ".epw")
        return self._weather[path]


def _named(data: bytes, suffix: str) -> RecordedFile:
    digest = hashlib.sha256(data).hexdigest()
    return RecordedFile(name=f"{digest}{suffix}", size=len(data), sha256=digest)


def _idf_of(case: Case, fs: FsspecFileSystem) -> bytes:
    """The model as IDF text: the same text for the same model, whether given as a document, IDF or epJSON."""
    if isinstance(case.model, IDFDocument):
        return write_idf(case.model).encode()
    shown = redact(to_text(case.model))
    try:
        path = str(local_input(case.model, fs))
        load = load_epjson if shown.lower().endswith((".epjson", ".json")) else load_idf
        return write_idf(load(path)).encode()
    except (IdfKitError, ValueError, OSError) as exc:
        raise ModelError(f"Case {case.name!r}: the model {shown!r} cannot be read: {exc}") from exc
