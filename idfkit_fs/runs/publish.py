"""Publish a finished run: files side by side, the record last."""

from __future__ import annotations

import glob
import json
import logging
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from fsspec.callbacks import Callback
from idfkit.simulation import SimulationResult

from idfkit_fs._fs.globbing import matching
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.sidecars import SIDECAR_PACKAGES, SIDECARS, can_write, write_sidecars
from idfkit_fs._util.files import digest_of
from idfkit_fs._util.messages import redact
from idfkit_fs._util.optional_deps import require
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import byte_progress_bar, progress_bar, require_tqdm
from idfkit_fs._util.retry import retry
from idfkit_fs._util.urls import Location, StrPath, last_name, to_text
from idfkit_fs.errors import DamagedRunError, LocationError, PublishError, RecordError, RunExistsError, RunNotFoundError
from idfkit_fs.runs.files import RunFileSystem
from idfkit_fs.runs.record import RECORD_NAME, RecordedFile, RunRecord, output_name
from idfkit_fs.runs.result import RunResult, open_result, read_record, result_of

__all__ = ["DRAFT_NAME", "Publication", "Standing", "check_patterns", "publish", "record_of"]

logger = logging.getLogger(__name__)

DRAFT_NAME = ".idfkit-fs-unpublished.json"
"""The record of a run that is not published yet, beside its files in the local directory."""

_REPLACES_NAME = ".idfkit-fs-replaces.json"
_ASIDE = ".idfkit-fs-sidecars-"
_BOOKKEEPING = frozenset({RECORD_NAME, DRAFT_NAME, _REPLACES_NAME, "_cache_meta.json"})
_INPUTS = ("*.epw", "*.idd", "Energy+.ini", "in.epJSON", "in.idf", "model.idf")
_WORKERS = 16
# Each upload holds up to this much of a file in memory; larger files are sent in parts, one file at a time.
_LARGE = 4 * 2**20


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
    """Publish a run that stands in a local directory.

    Files go up side by side; the record ``run.json`` goes last, so nobody ever takes half a run for a whole one.
    Beside EnergyPlus's own files go Parquet sidecars, made from its SQLite output: they are what
    [RunResult.timeseries][idfkit_fs.RunResult.timeseries], pandas and the like read quickly.

    Args:
        run: A local result of idfkit, or the directory of a run: one that a failed publishing named (it is finished,
            and the directory removed), or any directory that EnergyPlus wrote to (it is left as it is).
        url: Where to: a URL, a plain path, or a ``UPath``.
        storage_options: What the store's fsspec class takes.
        include: Glob patterns of the files to publish. By default all but the inputs (weather file, model).
        exclude: Glob patterns of files to leave out.
        overwrite: Whether a run that stands at *url* may be replaced.
        sidecars: Whether to write sidecars; None to do so where the packages for it are installed. *include* and
            *exclude* choose among them too. A run that EnergyPlus ended with an error gets none; nor does one whose
            database cannot be read, of which a warning is logged. The directory of a published run goes as it is.
        progress: Whether to show a progress bar.

    Returns:
        The published result.

    Raises:
        MissingExtraError: If *sidecars* is True and they cannot be written here.
        RunExistsError: If a run stands at *url* and *overwrite* is False.
        RunNotFoundError: If *run* is a directory without a run.
        DamagedRunError: If *run* is the directory of a published run, and a file differs from its record.
        PublishError: If publishing broke off. The run stays in the directory that ``local_dir`` names; call this
            function again to finish.

    Examples:
        >>> publish("/tmp/idfkit-fs-run-k2x8", "s3://bucket/study-001/case-42")  # doctest: +SKIP
    """
    fs = FsspecFileSystem.from_url(url, **(storage_options or {}))
    publication = Publication(fs, include, exclude, overwrite, progress, sidecars)
    if isinstance(run, SimulationResult):
        if run.fs is not None or run.async_fs is not None:
            raise TypeError("publish() takes a result in a local directory; this one is on another filesystem already")
        return publication.send(Path(run.run_dir), record_of(run))
    directory = Path(run)
    draft = directory / DRAFT_NAME
    if draft.exists():
        result = publication.send(directory, RunRecord.from_json(draft.read_bytes(), to_text(draft)))
        shutil.rmtree(directory, ignore_errors=True)
        return result
    found = open_result(directory, require_record=False)
    if found.record is None:
        return publication.send(directory, record_of(found))
    return publication.mirror(directory, found.record)


def record_of(result: SimulationResult, **facts: Any) -> RunRecord:
    """The record, without files, of a result.

    Args:
        result: The result.
        **facts: Fields of [RunRecord][idfkit_fs.RunRecord] that a result does not tell.

    Returns:
        The record.
    """
    return RunRecord(
        success=result.success,
        exit_code=result.exit_code,
        runtime_seconds=result.runtime_seconds,
        stdout=result.stdout,
        stderr=result.stderr,
        output_prefix=result.output_prefix,
        idfkit_version=version("idfkit"),
        **facts,
    )


class Standing(NamedTuple):
    """What stands where a run is to be published.

    Attributes:
        is_record: Whether a record does.
        record: The record; None for one that is damaged and may be replaced.
    """

    is_record: bool
    record: RunRecord | None


@dataclass(frozen=True)
class Publication:
    """Where and how a run is published; the arguments of [publish][idfkit_fs.publish], checked.

    Attributes:
        fs: A filesystem with the run's URL as its root.
        include: Glob patterns, or None for all but the inputs.
        exclude: Glob patterns.
        overwrite: Whether a run that stands there may be replaced.
        progress: Whether to show a bar.
        sidecars: Whether to write sidecars; None to do so where that is possible.
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

    def standing(self, run_id: str = "") -> Standing:
        """What stands at the URL.

        Args:
            run_id: A run that may stand there, because it is this one.

        Returns:
            What stands there.

        Raises:
            RunExistsError: If a run stands there and may not be replaced.
        """
        try:
            record = read_record(self.fs)
        except RecordError:
            if not self.overwrite:
                raise
            return Standing(True, None)
        if record is not None and record.id != run_id and not self.overwrite:
            raise RunExistsError(17, "A run stands here already; overwrite=True replaces it", redact(self.fs.url()))
        return Standing(record is not None, record)

    def select(self, names: Iterable[str]) -> list[str]:
        """Which files of a run's directory to publish, by their paths within it; sorted."""
        wanted = set(names) - _BOOKKEEPING
        kept = wanted - matching(wanted, _INPUTS) if self.include is None else matching(wanted, self.include)
        return sorted(kept - matching(wanted, self.exclude))

    def send(
        self,
        directory: Path,
        record: RunRecord,
        stop: threading.Event | None = None,
        standing: Standing | None = None,
    ) -> RunResult:
        """Upload a directory and, last, its record.

        Args:
            directory: The local directory of the run; left as it is.
            record: The run's record, without files.
            stop: Set it from another thread to break off before the next file.
            standing: What [standing][idfkit_fs.runs.publish.Publication.standing] said, if it was asked already.

        Returns:
            The published result.

        Raises:
            RunExistsError: As [publish][idfkit_fs.publish].
            PublishError: Likewise.
        """
        stop = stop or threading.Event()
        self._keep_apart(directory)
        found = (path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
        files = [name for name in found if not name.startswith(_ASIDE)]
        # Sidecars that nobody vouches for may be older than the database.
        recorded = {file.name for file in record.files}
        names = self.select(name for name in files if name in recorded or name not in SIDECARS)
        try:
            with ExitStack() as stack:
                stands, old = standing or retry(lambda: self.standing(record.id))
                if old is not None and old.id == record.id:
                    return result_of(self.fs, old)
                sources = {name: directory / name for name in names}
                if not recorded:
                    record, sidecars = self._write_sidecars(directory, files, record, stack, stop)
                    sources |= sidecars
                if record.success and files and not sources:
                    raise ValueError(f"include and exclude leave none of the run's {len(files)} files")
                leftovers = self._replaced(directory, old) - sources.keys()
                if stands:
                    self.fs.remove_if_exists([RECORD_NAME])
                record = self._commit(record, lambda: self._upload_all(sources, stop), stop)
        except RunExistsError as exc:
            exc.add_note(f"The new run is kept in {directory}")
            raise
        except Exception as exc:
            raise self._broken_off(directory, exc) from exc
        self._remove_leftovers(leftovers)
        return result_of(self.fs, record)

    def _write_sidecars(
        self, directory: Path, files: Sequence[str], record: RunRecord, stack: ExitStack, stop: threading.Event
    ) -> tuple[RunRecord, dict[str, Path]]:
        """The sidecars of a run, where they stay until the stack is closed, and the record that tells of them."""
        sql = output_name(files, record.output_prefix, ".sql")
        wanted = {name for name in SIDECARS if self.select([name])}
        can = can_write() if self.sidecars is None else self.sidecars
        if not (sql and wanted and record.success and can):
            return record, {}
        try:
            # In a directory of ours, so that a process that is killed leaves no other behind.
            place = directory if DRAFT_NAME in files else None
            aside = Path(stack.enter_context(TemporaryDirectory(prefix=_ASIDE, dir=place, ignore_cleanup_errors=True)))
            with progress_bar(None, f"Preparing {last_name(self.fs.url())}", "value", self.progress) as counted:

                def done(count: int) -> None:
                    _raise_if(stop.is_set())
                    counted(count)

                _, sha256 = digest_of(directory / sql)
                footers = write_sidecars(directory / sql, sha256, aside, wanted, done)
        except InterruptedError:
            raise
        except Exception as exc:  # noqa: BLE001 - they only make reading quicker, so the run is published without
            logger.warning("the sidecars of %s could not be written: %s", redact(self.fs.url()), exc)
            return record, {}
        complete = record.model_copy(update={"sql_sha256": sha256, "sidecar_footers": footers})
        return complete, {name: aside / name for name in footers}

    def _commit(
        self, record: RunRecord, transfer: Callable[[], tuple[RecordedFile, ...]], stop: threading.Event
    ) -> RunRecord:
        """Transfer the files, then write the record where none stands.

        If one stands by then, somebody published at the same time, and some of its files are ours now. Whoever has
        written a record writes nothing more, so all is sent again until nobody else is left.
        """
        while True:
            complete = record.model_copy(update={"files": transfer()})
            _raise_if(stop.is_set())
            if self.fs.create_exclusive(RECORD_NAME, complete.to_json()):
                return complete
            logger.warning("another run was published at the same time and is replaced: %s", redact(self.fs.url()))
            self.fs.remove_if_exists([RECORD_NAME])

    def mirror(self, directory: Path, record: RunRecord) -> RunResult:
        """Publish the directory of a run that is published there already, whole and as the same run.

        Raises:
            DamagedRunError: If a file differs from the record.
        """
        wanted = [glob.escape(entry.name) for entry in record.files] if self.include is None else self.include
        chosen = replace(self, include=wanted)
        for name in chosen.select(entry.name for entry in record.files):
            entry, local = record.file(name), directory / name
            if entry is None or not local.is_file() or digest_of(local) != (entry.size, entry.sha256):
                raise DamagedRunError(5, "The file is not the one that the run's record names", str(local))
        return chosen.send(directory, record)

    def copy(self, source: RunResult, standing: Standing | None = None) -> RunResult:
        """Publish a copy of a run, within the store where both are in one.

        Args:
            source: A run with a record.
            standing: As in [send][idfkit_fs.runs.publish.Publication.send].

        Returns:
            The published result, a run of its own.

        Raises:
            RunExistsError: As [publish][idfkit_fs.publish].
            DamagedRunError: If another run was published over *source* meanwhile.
        """
        files, original = source.files, source.record
        if original is None:
            raise RunNotFoundError(2, "The run to copy has no record", redact(source.url))
        record = original.model_copy(update={"id": uuid.uuid4().hex})
        stands, old = standing or retry(lambda: self.standing(record.id))
        if stands:
            self.fs.remove_if_exists([RECORD_NAME])

        def transfer() -> tuple[RecordedFile, ...]:
            parallel_map(lambda entry: self._copy_file(files, entry), record.files)
            now = read_record(files)
            if now is None or now.id != original.id:
                raise DamagedRunError(5, "Another run was published over the one that is being copied", source.url)
            return record.files

        complete = self._commit(record, transfer, threading.Event())
        self._remove_leftovers(
            {entry.name for entry in (old.files if old else ())} - {file.name for file in record.files}
        )
        return result_of(self.fs, complete)

    def _copy_file(self, source: RunFileSystem, entry: RecordedFile) -> None:
        name = entry.name
        if source.fs == self.fs.fs:
            self.fs.copy_from(source, name, name)
            size = self.fs.version(name).size
            if size not in (None, entry.size):
                raise source._damaged(name, entry.size, size)
            return
        with source.local_copy(name) as local:
            self.fs.upload(local, name)

    def _keep_apart(self, directory: Path) -> None:
        target = self.fs.local_root
        if target is not None and Path(target).resolve().is_relative_to(directory.resolve()):
            raise LocationError(f"a run cannot be published into its own directory ({directory})")

    @staticmethod
    def _replaced(directory: Path, old: RunRecord | None) -> set[str]:
        """The files of the run that is being replaced; noted, for publishing may break off after its record is gone."""
        note = directory / _REPLACES_NAME
        names: set[str] = set(json.loads(note.read_text(encoding="utf-8"))) if note.exists() else set()
        names |= {entry.name for entry in old.files} if old else set()
        if names and (directory / DRAFT_NAME).exists():
            note.write_text(json.dumps(sorted(names)), encoding="utf-8")
        return names

    def _upload_all(self, sources: Mapping[str, Path], stop: threading.Event) -> tuple[RecordedFile, ...]:
        sizes = {name: local.stat().st_size for name, local in sources.items()}
        errors: list[BaseException] = []
        with (
            byte_progress_bar(sum(sizes.values()), f"Publishing {last_name(self.fs.url())}", self.progress) as meter,
            ThreadPoolExecutor(_WORKERS, thread_name_prefix="idfkit-fs-publish") as pool,
        ):

            def upload(name: str) -> RecordedFile | None:
                try:
                    return _upload(sources[name], name, self.fs, meter, lambda: stop.is_set() or bool(errors))
                except BaseException as exc:  # noqa: BLE001 - raised below, when no upload is under way any more
                    errors.append(exc)
                    return None

            small = [pool.submit(upload, name) for name in sources if sizes[name] <= _LARGE]
            large = [upload(name) for name in sources if sizes[name] > _LARGE]
        if errors:
            raise errors[0]
        entries = [entry for entry in (*large, *(future.result() for future in small)) if entry is not None]
        return tuple(sorted(entries, key=lambda entry: entry.name))

    def _remove_leftovers(self, names: set[str]) -> None:
        for name in sorted(names):
            try:
                self.fs.remove(name)
            except FileNotFoundError:
                continue
            except OSError as exc:
                logger.warning("a file of the replaced run could not be removed: %s", exc)

    def _broken_off(self, directory: Path, exc: Exception) -> PublishError:
        url = redact(self.fs.url())
        number, said = (exc.errno or 5, exc.strerror or exc) if isinstance(exc, OSError) else (5, exc)
        message = (
            f"Publishing broke off ({redact(str(said))}); the run is kept in {directory}; "
            f"finish with idfkit_fs.publish({str(directory)!r}, {url!r}) and the same options"
        )
        error = PublishError(number, message, url)
        error.local_dir, error.url = str(directory), url
        return error


def check_patterns(include: Sequence[str] | None, exclude: Sequence[str]) -> None:
    """Refuse what cannot choose files.

    Raises:
        TypeError: If either is a single text.
        LocationError: If a pattern is none.
    """
    for option in (include, exclude):
        if isinstance(option, str):
            raise TypeError(f"include and exclude take a sequence of patterns, such as [{option!r}]")
    matching((), [*(include or ()), *exclude])


def _upload(
    local: Path, name: str, fs: FsspecFileSystem, meter: Callable[[int], None], stopped: Callable[[], bool]
) -> RecordedFile:
    counted = _Counted(meter)

    def attempt() -> None:
        _raise_if(stopped())
        counted.rewind()
        fs.upload(local, name, callback=counted)

    _raise_if(stopped())
    size, digest = digest_of(local)
    retry(attempt)
    meter(size - counted.value)
    return RecordedFile(name=name, size=size, sha256=digest)


def _raise_if(stopped: bool) -> None:
    if stopped:
        raise InterruptedError("stopped before all was sent")


class _Counted(Callback):
    """Passes on the bytes of one file as they go, and takes them back when the file is sent again."""

    def __init__(self, meter: Callable[[int], None]) -> None:
        super().__init__()
        self._meter = meter

    def rewind(self) -> None:
        self.absolute_update(0)

    def relative_update(self, inc: int = 1) -> None:
        self.value += inc
        self._meter(inc)

    def absolute_update(self, value: int) -> None:
        self.relative_update(value - self.value)
