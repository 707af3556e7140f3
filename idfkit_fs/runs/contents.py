"""Decide what to publish of a run: its files, and where each of them comes from."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.naming import output_name
from idfkit_fs._outputs.sidecars import SIDECARS
from idfkit_fs._util.messages import printable
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs.errors import DamagedRunError, RunNotFoundError
from idfkit_fs.runs.existing import Existing
from idfkit_fs.runs.record import RecordedFile, RunRecord, problem_of_names
from idfkit_fs.runs.register import read_record
from idfkit_fs.runs.result import RunResult
from idfkit_fs.runs.selection import Selection
from idfkit_fs.runs.sidecars import TEMPORARY_PREFIX, Sidecars, writing_sidecars
from idfkit_fs.runs.transfer import LocalFile, PublishedFile, SourceFile, UnrecordedFile

__all__ = ["Contents", "contents_of_directory", "contents_of_existing", "contents_of_run"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Contents:
    """What to publish of a run.

    Attributes:
        record: The record; the entries of its files are replaced by those of the files that are sent.
        files: The files, each of which knows where it comes from.
        sidecars: New sidecars, which may not be written yet.
        check: Call it when all files were sent; it raises an error if they are not those of one run.
    """

    record: RunRecord
    files: Sequence[SourceFile]
    sidecars: Sidecars | None = None
    check: Callable[[], None] = lambda: None

    @property
    def is_empty(self) -> bool:
        """Whether there is no file to publish."""
        return not self.files and (self.sidecars is None or not self.sidecars.files())

    def record_of(self, files: Sequence[RecordedFile], **facts: Any) -> RunRecord:
        """The record when all files were sent, with their entries."""
        written = None if self.sidecars is None else self.sidecars.written()
        if written is not None and written.files:
            facts |= {
                "sql_sha256": written.sql_sha256,
                "sidecar_footers": written.footers,
                "sidecar_ends": written.ends,
            }
        return self.record.model_copy(update={"files": tuple(files), **facts})

    def __post_init__(self) -> None:
        later = () if self.sidecars is None else self.sidecars.names
        problem = problem_of_names([*(file.name for file in self.files), *later])
        if problem is not None:
            raise ValueError(f"The run cannot be published: {problem}; rename the file, or leave it out with exclude")


@contextlib.contextmanager
def contents_of_directory(
    directory: Path, record: RunRecord, selection: Selection, url: str, progress: bool, stop: threading.Event
) -> Iterator[Contents]:
    """Decide what to publish of a local directory; its new sidecars are written within the ``with`` block.

    Args:
        directory: The directory.
        record: The run's record. One that lists files is that of a published run: of these files, the selected ones
            are taken, with the sidecars among them. One without files is that of a new run, which gets new sidecars.
        selection: Which files to publish.
        url: The URL to publish at, for messages.
        progress: Whether to show a bar while sidecars are written.
        stop: Set it from another thread to stop.

    Yields:
        What to publish.

    Raises:
        DamagedRunError: If *record* lists files, and one differs from it.
        ValueError: If the selection leaves nothing of a successful run.
        InterruptedError: If *stop* was set.
    """
    if record.files:
        yield _checked(Contents(record, _unchanged_files(directory, record, selection)), len(record.files))
        return
    found = _files_in(directory)
    inputs = [entry.name for entry in record.inputs]
    # Sidecars that exist already may be older than the database.
    files = [found[name] for name in selection.choose(found.keys() - SIDECARS, inputs)]
    name = output_name(found, record.output_prefix, ".sql")
    sql = (found[name].path, found[name]) if name else None
    # In a directory of our own, so that a process that is killed leaves nothing elsewhere.
    with _with_sidecars(record, files, sql, selection, directory, url, progress, stop) as contents:
        yield _checked(contents, len(found))


@contextlib.contextmanager
def contents_of_existing(
    existing: Existing, selection: Selection, target: FsspecFileSystem, progress: bool, stop: threading.Event
) -> Iterator[Contents]:
    """Decide what to publish of a run without a record; its new sidecars are written within the ``with`` block.

    Args:
        existing: The run.
        selection: Which files to publish. By default its outputs; what patterns name is taken from the whole directory,
            except for the outputs of other runs.
        target: The filesystem to publish to; if that is the run's own, only a record and sidecars are written.
        progress: Whether to show a bar while sidecars are written.
        stop: Set it from another thread to stop.

    Yields:
        What to publish.

    Raises:
        UnfinishedRunError: If the outputs are cut.
        ValueError: If the selection leaves nothing of the run.
        InterruptedError: If *stop* was set.
    """
    source, outputs = existing.fs, existing.outputs
    record = existing.record()
    everything = outputs.everything if selection.include is None else source.glob("", "**")
    candidates = outputs.names if selection.include is None else {*everything} - outputs.others - SIDECARS
    names = selection.choose(candidates)
    left_out = sorted({*everything}.difference(names))
    if left_out:
        logger.info(
            "Not published, because they are not outputs of this run, or not chosen: %s", printable(", ".join(left_out))
        )
    files = [existing.file(name) for name in names]
    parallel_map(lambda file: file.version, files)

    def check() -> None:
        if any(parallel_map(UnrecordedFile.has_changed, files)):
            text = "The run changed while it was published; publish it again when nobody writes to it"
            raise DamagedRunError.for_url(source.url(), text)

    sql = outputs.name(".sql")
    with contextlib.ExitStack() as stack:
        database = None
        if sql and selection.sidecars and record.success:
            database = (stack.enter_context(source.local_copy(sql)), existing.file(sql))
        contents = stack.enter_context(
            _with_sidecars(record, files, database, selection, None, target.url(), progress, stop)
        )
        if contents.is_empty:
            raise ValueError(f"include and exclude match none of the run's {len(candidates)} files")
        yield replace(contents, check=check)


@contextlib.contextmanager
def _with_sidecars(
    record: RunRecord,
    files: Sequence[SourceFile],
    sql: tuple[Path, LocalFile | UnrecordedFile] | None,
    selection: Selection,
    parent: Path | None,
    url: str,
    progress: bool,
    stop: threading.Event,
) -> Iterator[Contents]:
    """The files of a run, and new sidecars that are made from its database, if it is a success that has one."""
    wanted = selection.choose(SIDECARS) if record.success and selection.sidecars else []
    if not sql or not wanted:
        yield Contents(record, files)
        return
    path, file = sql
    with writing_sidecars(path, lambda: file.entry.sha256, wanted, parent, url, progress, stop) as sidecars:
        yield Contents(record, files, sidecars)


def contents_of_run(source: RunResult, target: FsspecFileSystem, selection: Selection, **facts: Any) -> Contents:
    """Decide what to publish of a run with a record.

    Args:
        source: The run to copy.
        target: The filesystem to copy to.
        selection: Which of its files to copy.
        **facts: Fields of the copied record that differ.

    Returns:
        What to publish.

    Raises:
        RunNotFoundError: If *source* has no record.
        ValueError: If the selection leaves nothing of a successful run.
    """
    files, record = source.files, source.record
    if record is None:
        raise RunNotFoundError.for_url(source.url, "The run to copy has no record; publish it first")
    same_store = files.is_same_store(target)

    def check() -> None:
        now = read_record(source.home)
        if now is None or now.id != record.id:
            text = "Another run was published over this one while it was copied; open the result again"
            raise DamagedRunError.for_url(source.url, text)

    entries = {entry.name: entry for entry in record.files}
    chosen = [PublishedFile(files, entries[name], same_store) for name in selection.of_record(entries)]
    return _checked(Contents(record.model_copy(update=facts), chosen, check=check), len(entries))


def _checked(contents: Contents, existing: int) -> Contents:
    """Refuse patterns that leave nothing of a successful run; a failed one may have no file that they name."""
    if contents.record.success and existing and contents.is_empty:
        raise ValueError(f"include and exclude match none of the run's {existing} files")
    return contents


def _files_in(directory: Path) -> dict[str, LocalFile]:
    """The files of a local directory, by their paths within it."""
    files = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
    return {name: LocalFile(name, path) for name, path in files.items() if not name.startswith(TEMPORARY_PREFIX)}


def _unchanged_files(directory: Path, record: RunRecord, selection: Selection) -> list[LocalFile]:
    """The selected files of a published run on this disk.

    Raises:
        DamagedRunError: If one differs from the record.
    """
    recorded = {entry.name: entry for entry in record.files}
    files = [LocalFile(name, directory / name) for name in selection.of_record(recorded)]
    for file in files:
        if not file.path.is_file() or file.entry != recorded[file.name]:
            text = "The file is missing, or it differs from the run's record; restore it, or exclude it"
            raise DamagedRunError.for_url(str(file.path), text)
    return files
