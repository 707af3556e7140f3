"""Publish a finished run: transfer its files in parallel, and write the record last."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from idfkit.simulation import SimulationResult

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.ending import Ending, read_local_ending
from idfkit_fs._outputs.sidecars import SIDECAR_PACKAGES, can_write
from idfkit_fs._util.messages import redact
from idfkit_fs._util.optional_deps import require
from idfkit_fs._util.progress import require_tqdm
from idfkit_fs._util.urls import Location, StrPath
from idfkit_fs.errors import DamagedRunError, LocationError, PublishError, RecordError, RunExistsError
from idfkit_fs.runs.contents import Contents, contents_of_directory, contents_of_run
from idfkit_fs.runs.draft import note_replaced, read_draft
from idfkit_fs.runs.record import RECORD_NAME, RunRecord
from idfkit_fs.runs.result import RunResult, open_result, read_record, result_of
from idfkit_fs.runs.selection import Selection, check_patterns
from idfkit_fs.runs.transfer import raise_if_stopped, transfer

__all__ = ["ExistingRun", "Publication", "ending_of", "publish", "publish_errors", "record_of"]

logger = logging.getLogger(__name__)


def publish(
    run: SimulationResult | StrPath,
    url: Location,
    *,
    storage_options: dict[str, Any] | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    overwrite: bool = False,
    sidecars: bool | None = None,
    progress: bool = False,
) -> RunResult:
    """Publish a run from a local directory at a URL.

    The files are uploaded in parallel. The record ``run.json`` is written last, so nobody can take an incomplete run
    for a complete one. EnergyPlus's own files are published with Parquet sidecars, which are made from its SQLite
    output: [RunResult.timeseries][idfkit_fs.RunResult.timeseries], pandas and other tools read them quickly.

    Args:
        run: A local result of idfkit, or the directory of a run. This is either a directory that a
            [PublishError][idfkit_fs.errors.PublishError] named (publishing is finished, and the directory removed), or
            any directory that EnergyPlus wrote to, or a published run on the local disk (the directory stays).
        url: The run's URL, a plain path, or a ``UPath``.
        storage_options: Options of the store's fsspec class.
        include: Glob patterns of the files to publish. By default all except the inputs (weather file, model).
        exclude: Glob patterns of files to leave out.
        overwrite: Whether to replace a run that exists at *url*.
        sidecars: Whether to write sidecars; None to write them if the packages for it are installed. *include* and
            *exclude* apply to them too. A run that EnergyPlus ended with an error gets none; nor does a run whose
            database cannot be read, which logs a warning. A published run is copied with the sidecars that it has.
        progress: Whether to show a progress bar.

    Returns:
        The published result.

    Raises:
        MissingExtraError: If *sidecars* is True and a package for it is missing, or *progress* is True and tqdm is.
        RunExistsError: If a run exists at *url* and *overwrite* is False.
        RunNotFoundError: If the directory *run* contains no run.
        DamagedRunError: If *run* is the directory of a published run, and a file differs from its record.
        LocationError: If *run* is a URL, or *url* is inside of *run*, or a pattern is invalid.
        TypeError: If *run* is a result that is not local, or *include* or *exclude* is a single string.
        PublishError: If publishing failed. The run stays in the directory that ``local_dir`` names; call this
            function again to finish.

    Examples:
        >>> publish("/tmp/idfkit-fs-run-k2x8", "s3://bucket/study-001/case-42")  # doctest: +SKIP
    """
    fs = FsspecFileSystem.from_url(url, **(storage_options or {}))
    publication = Publication(fs, include, exclude, overwrite, progress, sidecars)
    if isinstance(run, SimulationResult):
        if run.fs is not None or run.async_fs is not None:
            raise TypeError("publish() takes a result in a local directory, but this one is on another filesystem")
        return publication.send(Path(run.run_dir), record_of(run, ending_of(run)))
    directory = _local_directory(run)
    draft = read_draft(directory)
    if draft is not None:
        result = publication.send(directory, draft)
        shutil.rmtree(directory, ignore_errors=True)
        return result
    found = open_result(directory, require_record=False)
    return publication.send(directory, found.record or record_of(found, ending_of(found)))


def ending_of(result: SimulationResult) -> Ending:
    """Find out how the run of a result in a local directory ended, from its files and its exit code."""
    printed = f"{result.stdout}\n{result.stderr}"
    return read_local_ending(Path(result.run_dir), result.output_prefix, result.exit_code, printed)


def record_of(result: SimulationResult, ending: Ending, **facts: Any) -> RunRecord:
    """Make the record, without files, of a result.

    Args:
        result: The result.
        ending: How it ended.
        **facts: More fields of [RunRecord][idfkit_fs.RunRecord], which a result does not have.

    Returns:
        The record.
    """
    return RunRecord(
        success=ending.success,
        message=ending.message,
        exit_code=result.exit_code,
        runtime_seconds=None if math.isnan(result.runtime_seconds) else result.runtime_seconds,
        stdout=result.stdout,
        stderr=result.stderr,
        output_prefix=result.output_prefix,
        idfkit_version=version("idfkit"),
        finished=datetime.now(UTC),
        **facts,
    )


class ExistingRun(NamedTuple):
    """What exists at the URL where a run is to be published.

    Attributes:
        has_record: Whether a record exists.
        record: The record; None if none exists, or if it is damaged and may be replaced.
    """

    has_record: bool
    record: RunRecord | None

    @property
    def file_names(self) -> set[str]:
        """The files that the record lists."""
        return {entry.name for entry in self.record.files} if self.record else set()


@dataclass(frozen=True)
class Publication:
    """Where and how to publish a run; the arguments of [publish][idfkit_fs.publish], checked.

    Attributes:
        fs: A filesystem with the run's URL as its root.
        include: Glob patterns, or None for all except the inputs.
        exclude: Glob patterns.
        overwrite: Whether to replace a run that exists there.
        progress: Whether to show a bar.
        sidecars: Whether to write sidecars; None to write them if that is possible.

    Raises:
        TypeError: If *include* or *exclude* is a single string.
        LocationError: If a pattern is invalid.
        MissingExtraError: If a package for *sidecars* or *progress* is missing.
    """

    fs: FsspecFileSystem
    include: Sequence[str] | None
    exclude: Sequence[str]
    overwrite: bool
    progress: bool
    sidecars: bool | None = None

    def __post_init__(self) -> None:
        check_patterns(self.include, self.exclude)
        if self.progress:
            require_tqdm()
        if self.sidecars:
            for package in SIDECAR_PACKAGES:
                require(package, "pandas", "sidecars=True")

    @property
    def _selection(self) -> Selection:
        return Selection(self.include, self.exclude, can_write() if self.sidecars is None else self.sidecars)

    def find_existing(self, run_id: str = "") -> ExistingRun:
        """Look for a run that exists at the URL.

        Args:
            run_id: The id of the run to publish, which may exist there already.

        Returns:
            What exists there.

        Raises:
            RunExistsError: If another run exists there and may not be replaced.
            StoreError: If the store failed, refused access, or did not answer.
        """
        try:
            record = read_record(self.fs)
        except RecordError as exc:
            if self.overwrite:
                return ExistingRun(True, None)
            text = f"A run already exists, but its record cannot be used ({exc}); pass overwrite=True to replace it"
            raise RunExistsError.for_url(self.fs.url(), text) from exc
        if record is not None and record.id != run_id and not self.overwrite:
            raise RunExistsError.for_url(self.fs.url())
        return ExistingRun(record is not None, record)

    def send(
        self,
        directory: Path,
        record: RunRecord,
        stop: threading.Event | None = None,
        existing: ExistingRun | None = None,
    ) -> RunResult:
        """Publish a run from a local directory.

        Args:
            directory: The local directory of the run; it stays as it is.
            record: The run's record. A record without files is that of a new run, whose files are chosen; one with
                files is that of a published run, which is published again as the same run.
            stop: Set it from another thread to stop before the next file.
            existing: What [find_existing][idfkit_fs.runs.publish.Publication.find_existing] returned, if it was
                called already.

        Returns:
            The published result.

        Raises:
            RunExistsError: If another run exists at the URL and may not be replaced.
            DamagedRunError: If *record* lists files, and a file differs from it.
            LocationError: If the URL is inside of *directory*.
            PublishError: If publishing failed for any other reason, or *stop* was set.
        """
        stop = stop or threading.Event()
        _check_apart(directory, self.fs)
        with publish_errors(directory, self.fs.url()):
            existing = existing or self.find_existing(record.id)
            if existing.record is not None and existing.record.id == record.id:
                return result_of(self.fs, existing.record)
            selection, url = self._selection, self.fs.url()
            with contents_of_directory(directory, record, selection, url, self.progress, stop) as contents:
                replaced = note_replaced(directory, existing.file_names)
                return self._replace(existing, contents, replaced, stop)

    def copy(self, source: RunResult, existing: ExistingRun | None = None) -> RunResult:
        """Publish a copy of a run, made by the store itself if both are in the same one.

        Args:
            source: A run with a record.
            existing: As in [send][idfkit_fs.runs.publish.Publication.send].

        Returns:
            The published result, a run of its own.

        Raises:
            RunNotFoundError: If *source* has no record.
            RunExistsError: If a run exists at the URL and may not be replaced.
            DamagedRunError: If a file of *source* differs from its record, or another run was published over *source*
                in the meantime.
            StoreError: If the store failed, refused access, or did not answer.
        """
        existing = existing or self.find_existing()
        return self._replace(existing, contents_of_run(source, self.fs), existing.file_names, threading.Event())

    def _replace(
        self, existing: ExistingRun, contents: Contents, replaced: set[str], stop: threading.Event
    ) -> RunResult:
        """Remove an old record, transfer the files, write the record, remove leftovers."""
        if existing.has_record:
            self.fs.remove_if_exists([RECORD_NAME])
        record = self._transfer_and_record(contents, stop)
        _remove_leftovers(self.fs, replaced - {entry.name for entry in record.files})
        return result_of(self.fs, record)

    def _transfer_and_record(self, contents: Contents, stop: threading.Event) -> RunRecord:
        """Transfer the files, then write the record on condition that none exists.

        If one exists by then, somebody else published at the same time, and the files may be a mixture. Who has
        written a record writes nothing more, so everything is sent again until nobody else is left.
        """
        while True:
            files = transfer(contents.files, self.fs, stop, self.progress)
            contents.check()
            raise_if_stopped(stop)
            record = contents.record.model_copy(update={"files": files})
            if self.fs.create_exclusive(RECORD_NAME, record.to_json()):
                return record
            logger.warning("Replacing another run that was published at the same time: %s", redact(self.fs.url()))
            self.fs.remove_if_exists([RECORD_NAME])


def _local_directory(run: StrPath) -> Path:
    fs = FsspecFileSystem.from_url(run)
    if fs.local_root is None:
        raise LocationError(f"publish() takes the local directory of a run, not a URL; got {redact(fs.url())!r}")
    return Path(fs.local_root)


def _check_apart(directory: Path, fs: FsspecFileSystem) -> None:
    target = fs.local_root
    if target is not None and Path(target).resolve().is_relative_to(directory.resolve()):
        raise LocationError(f"a run cannot be published into its own directory ({directory})")


def _remove_leftovers(fs: FsspecFileSystem, names: set[str]) -> None:
    """Remove what is left of a replaced run."""
    for name in sorted(names):
        try:
            fs.remove_if_exists([name])
        except OSError as exc:
            logger.warning("A file of the replaced run could not be removed: %s", exc)


@contextlib.contextmanager
def publish_errors(directory: Path, url: str) -> Iterator[None]:
    """Turn errors while a local run is published into a PublishError that names its directory."""
    try:
        yield
    except RunExistsError as exc:
        exc.add_note(f"The new run is kept in {directory}")
        raise
    except DamagedRunError:
        raise
    except Exception as exc:
        reason = redact(str((exc.strerror if isinstance(exc, OSError) else None) or exc))
        shown = redact(url)
        text = (
            f"Publishing failed ({reason}); the run is kept in {directory}; "
            f"to finish, call idfkit_fs.publish({str(directory)!r}, {shown!r}) with the same options"
        )
        error = PublishError.for_url(url, text)
        error.local_dir, error.url = str(directory), shown
        raise error from exc
