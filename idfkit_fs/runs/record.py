"""The record of a run, ``run.json``: written last, so a run is complete if and only if its record exists."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, NaiveDatetime

from idfkit_fs._outputs.naming import output_name
from idfkit_fs._util.bounds import NAME_BYTES
from idfkit_fs._util.names import problem_of_path, problem_of_paths
from idfkit_fs._util.versioned_json import VersionedJson

__all__ = [
    "INPUT_FILES",
    "RECORD_NAME",
    "Generation",
    "RecordedFile",
    "RunDirectory",
    "RunId",
    "RunPath",
    "RunRecord",
    "Sha256",
    "next_generation",
    "problem_of_names",
]

RECORD_NAME = "run.json"
INPUT_FILES = "input-files"
"""The directory of a run in which the files lie that the model reads."""
_TEXT_LIMIT = 64 * 1024
# Names that this package gives meaning to, at the URL of a run or a study, or of one further down: what a record or a
# claim lists is removed with it.
_OURS = re.compile(r"(.*/)?(run\.json|_study(/.*)?|\.idfkit-fs-[^/]*)", re.IGNORECASE)
_GENERATIONS = 2**31


def _safe_name(name: str) -> str:
    """Refuse a name that leaves the run's directory: the record may come from a bucket that anybody can write to."""
    problem = _problem_of_name(name)
    if problem is not None:
        raise ValueError(problem)
    return name


def _problem_of_name(name: str) -> str | None:
    problem = "idfkit-fs keeps the name for itself" if _OURS.fullmatch(name) else problem_of_path(name)
    if problem is None:
        return None
    shown = name if len(name) <= NAME_BYTES else f"{name[:NAME_BYTES]}..."
    return f"{shown!r} cannot be the name of a file of a run: {problem}"


def problem_of_names(names: Iterable[str]) -> str | None:
    """Why files with these names cannot be those of one run; None if they can."""
    listed = list(names)
    problem = next(filter(None, map(_problem_of_name, listed)), None)
    return problem or problem_of_paths(listed)


def _apart(files: tuple[RecordedFile, ...]) -> tuple[RecordedFile, ...]:
    """Refuse files of which one would take another's place in a directory, on a disk that ignores case too."""
    problem = problem_of_paths(file.name for file in files)
    if problem is not None:
        raise ValueError(problem)
    return files


def _bounded(text: object) -> object:
    if not isinstance(text, str) or len(text) <= _TEXT_LIMIT:
        return text
    half = _TEXT_LIMIT // 2 - 32  # the note fits too, so a bounded text is not bounded a second time
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


_BoundedText = Annotated[str, BeforeValidator(_bounded)]
RunPath = Annotated[str, AfterValidator(_safe_name)]
"""The path of a file within a run, with forward slashes."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Generation = Annotated[int, Field(ge=0, lt=_GENERATIONS)]
RunDirectory = Annotated[str, Field(pattern=r"^(_run-[0-9a-f]{12})?$")]
"""The directory of a run's files below its URL: empty, unless another publisher may still be writing there."""


def next_generation(generation: int) -> int:
    """The generation of a record that follows; one that readers accept, after any number that was read."""
    return (generation + 1) % _GENERATIONS


class RecordedFile(BaseModel):
    """One file of a run.

    Attributes:
        name: Path within the run, with forward slashes.
        size: Size in bytes.
        sha256: SHA-256 of its bytes, in hexadecimal.
    """

    model_config = ConfigDict(frozen=True)

    name: RunPath
    size: int = Field(ge=0, lt=2**63)
    sha256: Sha256


class RunRecord(VersionedJson):
    """How a run ended, which inputs it had, and which files it wrote.

    Attributes:
        id: Unique to this run.
        success: Whether EnergyPlus itself says that it completed, and nothing denies it.
        exit_code: Exit code of EnergyPlus; None if it is unknown.
        runtime_seconds: Wall-clock time of EnergyPlus, in seconds; None if it is unknown.
        stdout: What EnergyPlus printed to its standard output; the middle is left out beyond 64 Ki characters.
        stderr: What it printed to its standard error, bounded in the same way.
        message: Why the run is not a success, in EnergyPlus's own words if it has any; None for a successful run.
        output_prefix: Prefix of the output files' names.
        energyplus_version: Such as ``"25.2.0"``; None if it is unknown.
        idfkit_version: Version of idfkit that ran it; None if EnergyPlus was run by anything else, or it is unknown.
        job: SHA-256 of the job that the run is the result of; None outside of a study.
        model_sha256: SHA-256 of the model as IDF text; None if it is unknown.
        weather_sha256: SHA-256 of the weather file; None for a run without one, or if it is unknown.
        inputs: Every other file that the model reads, by its path beside the model.
        sql_sha256: SHA-256 of the ``.sql`` file that the sidecars were made from; None for a run without sidecars.
        sidecar_footers: SHA-256 of the footer of each sidecar, by name. Readers check the footer against it before
            they trust the digests in the footer, so that they need not fetch the whole file.
        sidecar_ends: The last bytes of sidecars, compressed: times and footer, so that they need not be asked for.
            Those of runs with very many series are left out.
        flags: Keyword arguments of the simulation that affect its results.
        finished: When the simulation ended (UTC); None if it is unknown.
        started_local: When a run that was taken in began, to the minute, by the clock of the machine that ran it, whose
            time zone EnergyPlus does not write; None if it is unknown, and for runs whose end is known.
        directory: The directory of the files below the run's URL: empty, unless another publisher was killed while it
            wrote to the URL, or may still be writing there.
        contested: Whether another publisher may still be writing into the run's own directory.
        generation: How many records have been written at the URL, with this one.
        files: The run's files, without the record itself.
    """

    kind: ClassVar[str] = "the record of a run"

    format: str = "idfkit-fs run"
    id: RunId = Field(default_factory=lambda: uuid.uuid4().hex)
    success: bool
    exit_code: int | None
    runtime_seconds: float | None = Field(ge=0, allow_inf_nan=False)
    stdout: _BoundedText = ""
    stderr: _BoundedText = ""
    message: _BoundedText | None = None
    output_prefix: str = "eplus"
    energyplus_version: str | None = None
    idfkit_version: str | None = None
    job: Sha256 | None = None
    model_sha256: Sha256 | None = None
    weather_sha256: Sha256 | None = None
    inputs: Annotated[tuple[RecordedFile, ...], AfterValidator(_apart)] = ()
    sql_sha256: Sha256 | None = None
    sidecar_footers: dict[str, Sha256] = Field(default_factory=dict)
    sidecar_ends: dict[str, str] = Field(default_factory=dict)
    flags: dict[str, Any] = Field(default_factory=dict)
    finished: datetime | None = None
    started_local: NaiveDatetime | None = None
    directory: RunDirectory = ""
    contested: bool = False
    generation: Generation = 0
    files: Annotated[tuple[RecordedFile, ...], AfterValidator(_apart)] = ()

    def path(self, name: str) -> str:
        """The path of a file from the run's URL on."""
        return f"{self.directory}/{name}" if self.directory else name

    @property
    def paths(self) -> set[str]:
        """The paths of all files from the run's URL on."""
        return {self.path(entry.name) for entry in self.files}

    def file(self, name: str) -> RecordedFile | None:
        """The entry of a file by its name within the run, or None."""
        return next((entry for entry in self.files if entry.name == name), None)

    def output(self, suffix: str) -> str | None:
        """The name of the output file with a suffix, as EnergyPlus names it.

        Args:
            suffix: Such as ``".sql"``, ``".err"`` or ``"Table.htm"``.

        Returns:
            ``{prefix}out{suffix}`` or ``{prefix}{suffix}`` if the run has it. The names of HTML tables vary with the
            output suffix, so the first HTML file is taken. Otherwise None: ``eplusZsz.csv`` is not the run's CSV.
        """
        return output_name([entry.name for entry in self.files], self.output_prefix, suffix)
