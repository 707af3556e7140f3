"""Publish a finished run: transfer its files in parallel, and write the record last."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from idfkit.simulation import SimulationResult

from idfkit_fs._fs.beside import options_beside
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.sidecars import SIDECAR_PACKAGES, SIDECARS, can_write
from idfkit_fs._util.interrupts import Stop, current_stop, run_stoppable, sheltered, stopped_by
from idfkit_fs._util.messages import redact
from idfkit_fs._util.optional_deps import require
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import require_tqdm
from idfkit_fs._util.urls import Location, UPathLike, repair
from idfkit_fs._util.versions import installed_version
from idfkit_fs.errors import (
    CaseExistsError,
    DamagedRunError,
    ExistsError,
    LocationError,
    NotFoundError,
    PermissionDeniedError,
    PublishError,
    RunExistsError,
    RunNotFoundError,
    UnfinishedRunError,
)
from idfkit_fs.runs.contents import Contents, contents_of_directory, contents_of_existing, contents_of_run
from idfkit_fs.runs.draft import read_draft
from idfkit_fs.runs.existing import Existing, find_existing
from idfkit_fs.runs.record import RECORD_NAME, RunRecord, next_generation
from idfkit_fs.runs.register import Claim, Register, drop_claim, read_record, read_register
from idfkit_fs.runs.result import STUDY_FILE, RunResult, result_of, what_exists
from idfkit_fs.runs.selection import Selection, check_patterns
from idfkit_fs.runs.transfer import UnrecordedFile, raise_if_stopped, transfer

__all__ = ["Guard", "Publication", "publish", "publish_errors", "read_run"]

logger = logging.getLogger(__name__)

# Held forever once this process has said that it cannot write sidecars: once is enough for a thousand cases.
_NOT_SAID = threading.Lock()


def publish(
    run: SimulationResult | Location,
    url: Location,
    *,
    storage_options: dict[str, Any] | None = None,
    output_prefix: str | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    overwrite: bool = False,
    sidecars: bool | None = None,
    progress: bool = False,
) -> RunResult:
    """Publish a run that exists already, from a directory or from another URL, at a URL.

    The files are uploaded in parallel. The record ``run.json`` is written last, so an incomplete run is never taken
    for a complete one. EnergyPlus's own files are published with Parquet sidecars, which are made from its SQLite
    output: [RunResult.timeseries][idfkit_fs.RunResult.timeseries], pandas and other tools read them quickly.

    The outputs of EnergyPlus, OpenStudio, EP-Launch or plain idfkit can be published. Only the run's outputs are
    published, by the names that EnergyPlus gives them: no inputs, and no other files in the directory. The record has
    what these outputs say (how the run ended, version, elapsed time); what they do not say stays unknown.

    Args:
        run: The directory of a run, which stays as it is; a URL; a result of idfkit in a local directory; or a result
            that [open_result][idfkit_fs.open_result] returned. If it is the same place as *url*, the run gets its
            record, and sidecars, in place. A directory that a [PublishError][idfkit_fs.errors.PublishError] named is
            published to the end, and removed. A run with a record is copied as the same run.
        url: The run's URL, a plain path, or a ``UPath``.
        storage_options: The storage options for *url*, and for *run* if it is a URL on the same kind of store. Give
            ``open_result(run, storage_options=..., require_record=False)`` as *run* for a store with other options.
        output_prefix: The prefix of the outputs of the run, such as ``"eplus"``, if the directory has several runs;
            None for the only one that EnergyPlus finished.
        include: Glob patterns of the files to publish, in sub-directories too; by default the outputs. The outputs of
            other runs in the directory are never published.
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
        RunExistsError: If a run exists at *url* and *overwrite* is False, or if a study made it.
        ExistsError: If *url* is that of a study.
        RunNotFoundError: If *run* contains no run, or several and no *output_prefix*; the message lists them.
        UnfinishedRunError: If the outputs of the run are cut. A run that EnergyPlus ended with an error is published.
        DamagedRunError: If a file of *run* differs from its record, or changed meanwhile.
        LocationError: If *url* is inside of *run* and *include* is given, or a pattern is invalid.
        TypeError: If *run* is a result on a filesystem of another package, or *include* or *exclude* is a single
            string.
        PublishError: If publishing a local directory failed. The run stays in the directory that ``local_dir`` names;
            call this function again to finish.
        StoreError: If a store failed, refused access, or did not answer while a run at a URL was published.

    Examples:
        >>> publish("runs/office", "s3://bucket/study-001/case-42")  # doctest: +SKIP
        >>> publish("s3://bucket/run-of-idfkit", "s3://bucket/run-of-idfkit")  # in place  # doctest: +SKIP
    """
    fs = FsspecFileSystem.from_url(url, **(storage_options or {}))
    publication = Publication(fs, include, exclude, overwrite, progress, sidecars, outside_study=True)
    return run_stoppable(lambda: _publish(run, publication, output_prefix))


def _publish(run: SimulationResult | Location, publication: Publication, output_prefix: str | None) -> RunResult:
    fs = publication.fs
    if not isinstance(run, SimulationResult):
        directory = _at(run, fs).local_root
        draft = None if directory is None else read_draft(Path(directory))
        if directory is not None and draft is not None:
            result = replace(publication, outside_study=draft.job is None).send(Path(directory), draft)
            shutil.rmtree(directory, ignore_errors=True)
            return result
    found = read_run(run, fs, output_prefix)
    if isinstance(found, Existing):
        return publication.take_in(found)
    if found.record is None or fs.is_same_place(found.home):
        return found
    directory = found.files.local_root
    return publication.send(Path(directory), found.record) if directory else publication.copy(found, id=found.record.id)


def read_run(
    run: SimulationResult | Location, target: FsspecFileSystem, output_prefix: str | None = None
) -> RunResult | Existing:
    """Find a run that exists already.

    Args:
        run: As in [publish][idfkit_fs.publish].
        target: The filesystem to publish to, whose storage options are used for a URL on the same kind of store.
        output_prefix: As in [publish][idfkit_fs.publish].

    Returns:
        The result of a run with a record; else what was found.

    Raises:
        RunNotFoundError: As in [publish][idfkit_fs.publish].
        RecordError: If the run's record is damaged, or of a newer format.
        TypeError: If *run* is a result on a filesystem of another package.
        StoreError: If the store failed, refused access, or did not answer.
    """
    facts: dict[str, Any] = {}
    if isinstance(run, RunResult):
        if run.record is not None:
            return run
        fs: FsspecFileSystem = run.files
    elif isinstance(run, SimulationResult):
        fs = _filesystem_of(run)
        output_prefix = output_prefix or run.output_prefix
        # A result that idfkit made of a directory knows neither exit code nor time: it says 0 seconds.
        if run.runtime_seconds:
            facts = {name: getattr(run, name) for name in ("exit_code", "runtime_seconds", "stdout", "stderr")}
            facts["idfkit_version"] = installed_version("idfkit")
    else:
        fs = _at(run, target)
        record = read_record(fs)
        if record is not None and output_prefix in (None, record.output_prefix):
            return result_of(fs, record)
    existing = find_existing(fs, output_prefix, **facts)
    if existing is None:
        raise RunNotFoundError.for_url(fs.url(), what_exists(fs))
    return existing


def _at(run: Location, target: FsspecFileSystem) -> FsspecFileSystem:
    """The filesystem with a run as its root."""
    options = {} if isinstance(run, UPathLike) else options_beside(repair(run), target)
    return FsspecFileSystem.from_url(run, **options)


def _filesystem_of(result: SimulationResult) -> FsspecFileSystem:
    """The filesystem with a result of idfkit as its root."""
    if result.fs is None and result.async_fs is None:
        return FsspecFileSystem.from_url(result.run_dir)
    if isinstance(result.fs, FsspecFileSystem):
        return result.fs.joinpath(result.run_dir)
    raise TypeError("publish() cannot read the filesystem of this result; pass the URL of the run instead")


class Guard(Protocol):
    """What is to be respected by a publication into a study."""

    def will_do(self, record: RunRecord) -> bool:
        """Whether the run that another publisher has finished meanwhile is as good as the one to publish."""

    def retire(self, record: RunRecord) -> None:
        """Called before a complete run is replaced."""

    def check(self) -> None:
        """Raise an error if the run is not wanted any more; called before a run is replaced, and after each claim."""


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
        outside_study: Whether to refuse to write into a study, which alone knows what its cases ran.
        guard: What the study wants that the run is published into.

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
    outside_study: bool = False
    guard: Guard | None = None

    def __post_init__(self) -> None:
        check_patterns(self.include, self.exclude)
        if self.progress:
            require_tqdm()
        if self.sidecars:
            for package in SIDECAR_PACKAGES:
                require(package, "pandas", "sidecars=True")

    @property
    def _selection(self) -> Selection:
        sidecars = can_write() if self.sidecars is None else self.sidecars
        if self.sidecars is None and not sidecars and _NOT_SAID.acquire(blocking=False):
            logger.warning(
                "This process publishes runs without sidecars, so their series and tables are read from the whole "
                "database: pip install 'idfkit-fs[pandas]' where EnergyPlus runs, or pass sidecars=False"
            )
        return Selection(self.include, self.exclude, sidecars)

    def find_existing(self, run_id: str = "") -> Register:
        """Look for a run that exists at the URL.

        Args:
            run_id: The id of the run to publish, which may exist there already.

        Returns:
            What exists there.

        Raises:
            RunExistsError: If another run exists there and may not be replaced.
            ExistsError: If a study exists there and may not be written to.
            StoreError: If the store failed, refused access, or did not answer.
        """
        with ThreadPoolExecutor(1) as pool:
            study = pool.submit(stopped_by(current_stop(), self._is_study)) if self.outside_study else None
            register = read_register(self.fs)
        if study is not None and study.result():
            text = "A study exists here; publish the run at another URL, or make a case of it with Study.adopt()"
            raise ExistsError.for_url(self.fs.url(), text)
        record = register.record
        if register.damaged is not None and not self.overwrite:
            text = (
                f"A run already exists, but its record cannot be used ({register.damaged}); pass overwrite=True to "
                "replace it"
            )
            raise RunExistsError.for_url(self.fs.url(), text) from register.damaged
        if record is None or record.id == run_id:
            return register
        if not self.overwrite:
            raise RunExistsError.for_url(self.fs.url())
        if self.outside_study and self._is_of_study(record):
            text = "A study made this run, and has its summary; replace it with Study.adopt() or add(), overwrite=True"
            raise RunExistsError.for_url(self.fs.url(), text)
        return register

    def _is_study(self) -> bool:
        return self.fs.is_readable(STUDY_FILE)

    def _is_of_study(self, record: RunRecord) -> bool:
        """Whether the run at the URL is that of a case, and no copy of one elsewhere."""
        above = f"{self.fs.key('').rpartition('/')[0]}/{STUDY_FILE}"
        if record.job is None:
            return False
        try:
            return bool(self.fs.call(above, lambda store: store.info(above))["type"] == "file")
        except NotFoundError:
            return False

    def send(
        self,
        directory: Path,
        record: RunRecord,
        stop: Stop | None = None,
        existing: Register | None = None,
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
        stop = stop or current_stop()
        _check_apart(directory, self.fs)
        selection, url = self._selection, self.fs.url()
        with publish_errors(directory, url):
            if existing is None and record.files:  # which are all read when their contents are looked at
                existing = self.find_existing(record.id)
            if existing is None or existing.record is None or existing.record.id != record.id:
                # Its sidecars are written while the store is asked.
                with contents_of_directory(directory, record, selection, url, self.progress, stop) as contents:
                    return self._publish(existing or self.find_existing(record.id), contents, stop)
            return result_of(self.fs, existing.record)

    def take_in(self, run: RunResult | Existing, **facts: Any) -> RunResult:
        """Publish a run that exists already; in place if it is at this URL.

        Args:
            run: What [read_run][idfkit_fs.runs.publish.read_run] returned.
            **facts: Fields of the record that are known better.

        Returns:
            The published result.

        Raises:
            UnfinishedRunError: If the outputs of the run are cut.
            RunExistsError: If another run exists at the URL and may not be replaced.
            DamagedRunError: If a file of the run differs from its record, or changed meanwhile.
            PublishError: If publishing a local directory failed for any other reason.
            StoreError: If the store failed, refused access, or did not answer.
        """
        if isinstance(run, RunResult):
            return self._record_anew(run, facts) if self.fs.is_same_place(run.home) else self.copy(run, **facts)
        directory = Path(run.fs.local_root) if run.fs.reads_in_place and run.fs.local_root else None
        stop = current_stop()
        if directory is not None and self.include is not None and not self.fs.is_same_place(run.fs):
            _check_apart(directory, self.fs)
        errors = contextlib.nullcontext() if directory is None else publish_errors(directory, self.fs.url())
        with errors, ThreadPoolExecutor(1) as pool:
            existing = pool.submit(stopped_by(stop, self.find_existing))
            in_place = self.fs.is_same_place(run.fs)
            if in_place and existing.result().claim is not None and not self.overwrite:
                text = (
                    "Another publisher is writing this run, or was killed before it had finished; publish it again "
                    "there, or, if nobody writes to it, pass overwrite=True to record it as it is"
                )
                raise RunExistsError.for_url(self.fs.url(), text)
            if directory is None:
                existing.result()  # before files are fetched that are not needed
            with contents_of_existing(run, self._selection, self.fs, self.progress, stop) as contents:
                contents = replace(contents, record=contents.record.model_copy(update=facts))
                return self._publish(existing.result(), contents, stop, in_place=in_place)

    def _record_anew(self, run: RunResult, facts: dict[str, Any]) -> RunResult:
        """Change the record of the run that is at this URL already."""
        assert run.record is not None  # noqa: S101 - for the type checker
        record = run.record.model_copy(update=facts)
        register = read_register(self.fs)
        same = register.record is not None and register.record.id == run.record.id
        if not same or self.fs.swap(RECORD_NAME, record.to_json(), register.tag) is None:
            text = "Another run was published over this one meanwhile; open the result again"
            raise DamagedRunError.for_url(self.fs.url(), text)
        return result_of(self.fs, record)

    def copy(self, source: RunResult, existing: Register | None = None, **facts: Any) -> RunResult:
        """Publish a copy of a run, made by the store itself if both are in the same one.

        Args:
            source: A run with a record.
            existing: As in [send][idfkit_fs.runs.publish.Publication.send].
            **facts: Fields of the copied record that differ. With the same *id*, it is the same run; by default it is a
                run of its own.

        Returns:
            The published result, a run of its own.

        Raises:
            RunNotFoundError: If *source* has no record.
            RunExistsError: If a run exists at the URL and may not be replaced.
            DamagedRunError: If a file of *source* differs from its record, or another run was published over *source*
                in the meantime.
            StoreError: If the store failed, refused access, or did not answer.
        """
        facts = {"id": uuid.uuid4().hex, **facts}
        existing = existing or self.find_existing(facts["id"])
        if existing.record is not None and existing.record.id == facts["id"]:
            return result_of(self.fs, existing.record)
        contents = contents_of_run(source, self.fs, self._selection, **facts)
        return self._publish(existing, contents, current_stop())

    def _publish(self, register: Register, contents: Contents, stop: Stop, *, in_place: bool = False) -> RunResult:
        """Claim the URL, transfer the files, write the record, remove leftovers; again while others are quicker."""
        run_id = contents.record.id
        names = {file.name for file in contents.files if not (in_place and isinstance(file, UnrecordedFile))}
        names |= contents.sidecars.names if contents.sidecars else set()
        while True:
            record = register.record
            if record is not None:
                if record.id == run_id or (self.guard and self.guard.will_do(record)):
                    return result_of(self.fs, record)
                if self.guard:
                    self.guard.check()  # after the record was read: it may be the run of a newer job
                    self.guard.retire(record)
            claim = register.claimed_by(run_id, contents.record.job, names, in_place=in_place)
            with sheltered():  # a claim that is being written could not be taken back
                tag = self.fs.swap(RECORD_NAME, claim.to_json(), register.tag)
            if tag is not None:
                published = self._fill(claim, tag, contents, register, stop)
                if published is not None:
                    return result_of(self.fs, published)
            elif register.is_hidden:
                if self.overwrite:
                    self.fs.fetch(RECORD_NAME)  # says which right is missing
                raise RunExistsError.for_url(self.fs.url())
            register = self.find_existing(run_id)

    def _fill(self, claim: Claim, tag: str, contents: Contents, earlier: Register, stop: Stop) -> RunRecord | None:
        """Transfer the files, and turn the claim into the record; None if another publisher has finished before."""
        try:
            target = self.fs.joinpath(claim.directory) if claim.directory else self.fs
            with ThreadPoolExecutor(1) as pool:  # files of a run that is not wanted are removed with the claim
                wanted = pool.submit(stopped_by(stop, self.guard.check)) if self.guard else None
                files = transfer(contents.files, target, stop, self.progress, contents.sidecars)
            if wanted is not None:
                wanted.result()
            contents.check()
            raise_if_stopped(stop)
            record = contents.record_of(
                files,
                generation=next_generation(claim.generation),
                directory=claim.directory,
                contested=claim.contested,
            )
            # Of its own files, the claim names some that were not written.
            leftovers = earlier.files - record.paths
            if not claim.contested:  # later, they could be files of the next run
                # So did an earlier claim of this run; a login that may not delete need not.
                doubtful = leftovers & SIDECARS if earlier.claim else set()
                self.fs.remove_if_exists(leftovers - doubtful)
                with contextlib.suppress(PermissionDeniedError):
                    self.fs.remove_if_exists(doubtful)
                leftovers = set()
        except BaseException as exc:
            if not isinstance(exc, ConnectionError):  # else the store would not answer either
                with contextlib.suppress(Exception), sheltered():
                    drop_claim(self.fs, claim, tag)
            raise
        with sheltered():
            committed = self._commit(claim, tag, record)
        if committed is None:
            self.fs.remove_if_exists(claim.own_files)
            if self.guard is None:
                text = "Another run was published here at the same time, and is kept; publish again to replace it"
                raise RunExistsError.for_url(self.fs.url(), text)
            return None
        kept, others = committed
        _remove_leftovers(self.fs, leftovers | others)
        return kept

    def _commit(self, claim: Claim, tag: str, record: RunRecord) -> tuple[RunRecord, set[str]] | None:
        """Write the record instead of the claim.

        Returns:
            The record, and the files to remove, of publishers that were slower; None if another run was published
            before.
        """
        others: set[str] = set()
        while self.fs.swap(RECORD_NAME, record.to_json(), tag) is None:
            register = read_register(self.fs)
            if register.record is not None and register.record.id == record.id:
                # By another process, from the same directory.
                return register.record, claim.own_files - register.record.paths if claim.contested else set()
            other = register.claim
            if other is None or register.tag is None or other.generation != claim.generation:
                return None
            # Another publisher has taken over. It knows that, and writes elsewhere; the first that finishes wins.
            others |= other.own_files
            tag = register.tag
        return record, others - record.paths


def _check_apart(directory: Path, fs: FsspecFileSystem) -> None:
    target = fs.local_root
    if target is not None and Path(target).resolve().is_relative_to(directory.resolve()):
        raise LocationError(f"a run cannot be published into its own directory ({directory})")


def _remove_leftovers(fs: FsspecFileSystem, names: set[str]) -> None:
    """Remove what is left of a replaced run; a store that fails now and then is asked once more at the end."""

    def remove(name: str) -> OSError | None:
        try:
            fs.remove_if_exists([name])
        except OSError as exc:
            return exc
        return None

    ordered = sorted(names)
    refused = [name for name, exc in zip(ordered, parallel_map(remove, ordered), strict=True) if exc is not None]
    for exc in map(remove, refused):
        if exc is not None:
            logger.warning("A file of the replaced run could not be removed; remove it by hand: %s", exc)


@contextlib.contextmanager
def publish_errors(directory: Path, url: str) -> Iterator[None]:
    """Turn errors while a local run is published into a PublishError that names its directory."""
    try:
        yield
    except CaseExistsError:  # of a case that was replaced or removed; its worker removes the run
        raise
    except ExistsError as exc:
        exc.add_note(f"The new run is kept in {directory}")
        raise
    except (DamagedRunError, UnfinishedRunError):
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
