"""Decide what to publish of a run: its files, and where each of them comes from."""

from __future__ import annotations

import contextlib
import glob
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.ending import output_name
from idfkit_fs._outputs.sidecars import SIDECARS
from idfkit_fs.errors import DamagedRunError, RunNotFoundError
from idfkit_fs.runs.draft import DRAFT_NAME
from idfkit_fs.runs.record import RunRecord
from idfkit_fs.runs.result import RunResult, read_record
from idfkit_fs.runs.selection import Selection
from idfkit_fs.runs.sidecars import TEMPORARY_PREFIX, Sidecars, written_sidecars
from idfkit_fs.runs.transfer import LocalFile, PublishedFile, SourceFile

__all__ = ["Contents", "contents_of_directory", "contents_of_run"]


@dataclass(frozen=True)
class Contents:
    """What to publish of a run.

    Attributes:
        record: The record; the entries of its files are replaced by those of the files that are sent.
        files: The files, each of which knows where it comes from.
        check: Call it when all files were sent; it raises an error if they are not those of one run.
    """

    record: RunRecord
    files: Sequence[SourceFile]
    check: Callable[[], None] = lambda: None


@contextlib.contextmanager
def contents_of_directory(
    directory: Path, record: RunRecord, selection: Selection, url: str, progress: bool, stop: threading.Event
) -> Iterator[Contents]:
    """Decide what to publish of a local directory; its new sidecars exist until the end of the ``with`` block.

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
        yield Contents(record, _unchanged_files(directory, record, selection))
        return
    found = _files_in(directory)
    inputs = [entry.name for entry in record.inputs]
    # Sidecars that are there already may be older than the database.
    files = [found[name] for name in selection.choose(found.keys() - SIDECARS, inputs)]
    sql = output_name(found, record.output_prefix, ".sql")
    wanted = selection.choose(SIDECARS) if record.success and selection.sidecars else []
    with contextlib.ExitStack() as stack:
        sidecars = Sidecars()
        if sql and wanted:
            # In a directory of our own, so that a process that is killed leaves nothing elsewhere.
            parent = directory if DRAFT_NAME in found else None
            sidecars = stack.enter_context(written_sidecars(found[sql], wanted, parent, url, progress, stop))
            if sidecars.files:
                facts = {"sql_sha256": found[sql].entry.sha256, "sidecar_footers": sidecars.footers}
                record = record.model_copy(update=facts)
        if record.success and found and not (files or sidecars.files):
            raise ValueError(f"include and exclude match none of the run's {len(found)} files")
        yield Contents(record, [*files, *sidecars.files])


def contents_of_run(source: RunResult, target: FsspecFileSystem) -> Contents:
    """Decide what to publish of a run in a store: all of its files, as a run of its own.

    Args:
        source: The run to copy.
        target: The filesystem to copy to.

    Returns:
        What to publish.

    Raises:
        RunNotFoundError: If *source* has no record.
    """
    files, record = source.files, source.record
    if record is None:
        raise RunNotFoundError.for_url(source.url, "The run to copy has no record; publish it first")
    same_store = files.is_same_store(target)

    def check() -> None:
        now = read_record(files)
        if now is None or now.id != record.id:
            text = "Another run was published over this one while it was copied; open the result again"
            raise DamagedRunError.for_url(source.url, text)

    copied = record.model_copy(update={"id": uuid.uuid4().hex})
    return Contents(copied, [PublishedFile(files, entry, same_store) for entry in record.files], check)


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
    if selection.include is None:
        selection = selection._replace(include=[glob.escape(name) for name in recorded])
    files = [LocalFile(name, directory / name) for name in selection.choose(recorded)]
    for file in files:
        if not file.path.is_file() or file.entry != recorded[file.name]:
            text = "The file is missing, or it differs from the run's record; restore it, or exclude it"
            raise DamagedRunError.for_url(str(file.path), text)
    return files
