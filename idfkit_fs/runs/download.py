"""Copy a published run to this machine."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from idfkit_fs._fs.globbing import matching
from idfkit_fs._util.files import digest_of, local_errors, read_start, write_atomically
from idfkit_fs._util.interrupts import current_stop
from idfkit_fs._util.messages import redact
from idfkit_fs._util.urls import Location, is_url, to_text
from idfkit_fs._util.versioned_json import READ_AT_MOST
from idfkit_fs.errors import ExistsError, LocationError, NotFoundError, RecordError, RunExistsError, RunNotFoundError
from idfkit_fs.runs.files import RunFileSystem
from idfkit_fs.runs.record import RECORD_NAME, RecordedFile, RunRecord
from idfkit_fs.runs.transfer import raise_if_stopped

__all__ = ["check_chosen", "chosen_files", "local_directory", "save"]

_ELSEWHERE = "download into a directory of another disk"


def local_directory(directory: Location) -> Path:
    """The local directory to download to.

    Raises:
        LocationError: If *directory* is a URL.
    """
    text = to_text(directory)
    if is_url(text):
        raise LocationError(f"download() needs a local directory, not {redact(text)!r}")
    return Path(text)


def chosen_files(record: RunRecord | None, include: Sequence[str]) -> list[RecordedFile]:
    """Choose files of a run by glob patterns.

    Args:
        record: The run's record; None for a run without one.
        include: Glob patterns.

    Returns:
        The files whose names match one of the patterns; none for a run without a record.

    Raises:
        LocationError: If a pattern is invalid.
    """
    files = record.files if record else ()
    chosen = matching((file.name for file in files), include)
    return [file for file in files if file.name in chosen]


def check_chosen(url: str, include: Sequence[str], files: int, chosen: int) -> None:
    """Refuse patterns that match nothing at all.

    Args:
        url: What to download from.
        include: The glob patterns.
        files: The number of files that there are.
        chosen: The number of files that match.

    Raises:
        NotFoundError: If there are files, and none of them matches.
    """
    if files and not chosen:
        text = f"None of the {files} files matches {', '.join(map(repr, include))}; check the patterns"
        raise NotFoundError.for_url(url, text)


def save(
    run: RunFileSystem,
    record: RunRecord | None,
    files: Sequence[RecordedFile],
    directory: Path,
    done: Callable[[int], Any],
    *,
    below: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Copy files of a run into a directory: each is checked and appears complete; the record comes last.

    A directory that has files of the same run keeps them. Nothing is written through a link, because the names of the
    files were chosen by the publisher of the run.

    Args:
        run: The run's files.
        record: The run's record.
        files: Which of its files to copy; the copied record lists these, and those that the directory has already.
        directory: The local directory; it is created if it is missing.
        done: Called with the number of bytes that were copied since the last call.
        below: The directory that the user chose, if it is not *directory* itself.
        overwrite: Whether to replace files that differ from the run's.

    Raises:
        RunNotFoundError: If the run has no record.
        RunExistsError: If *directory* has the record of another run; nothing is copied.
        ExistsError: If a file exists that is not the run's and *overwrite* is False, or a directory is a link; nothing
            is copied.
        DamagedRunError: If a file differs from the run's record.
        StoreError: If the store failed, refused access, or did not answer.
    """
    if record is None:
        raise RunNotFoundError.for_url(
            run.url(), "The run to download has no record; give it one with publish(url, url)"
        )
    base = below or directory
    for name in (RECORD_NAME, *(file.name for file in files)):
        _check_directories(base, directory / name)
    names = {file.name for file in (*files, *_files_of_same_run(directory, record))}
    missing = [file for file in files if overwrite or not _exists(directory / file.name, file)]
    done(sum(file.size for file in files) - sum(file.size for file in missing))
    for file in missing:
        raise_if_stopped(current_stop())
        with run.local_copy(file.name) as local, local_errors(directory, _ELSEWHERE):
            write_atomically(directory / file.name, functools.partial(shutil.copyfile, local))
        done(file.size)
    kept = tuple(file for file in record.files if file.name in names)
    record = record.model_copy(update={"files": kept, "directory": "", "contested": False})
    with local_errors(directory, _ELSEWHERE):
        write_atomically(directory / RECORD_NAME, lambda target: target.write_bytes(record.to_json()))


def _check_directories(base: Path, path: Path) -> None:
    """Check that the directories between a directory and a file below it do not lead elsewhere."""
    for directory in path.parents:
        if directory == base:
            return
        if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
            text = "This is a link, or no directory; remove it, or download into another directory"
            raise ExistsError.for_url(str(directory), text)


def _exists(path: Path, file: RecordedFile) -> bool:
    """Whether a file exists already as the record says; one that differs is an error."""
    if not os.path.lexists(path):
        return False
    if path.is_symlink() or not path.is_file() or digest_of(path) != (file.size, file.sha256):
        text = "A file that is not the run's exists here; pass overwrite=True to replace it"
        raise ExistsError.for_url(str(path), text)
    return True


def _files_of_same_run(directory: Path, record: RunRecord) -> tuple[RecordedFile, ...]:
    """The files of a run that a directory has by its record there; one of another run would be mixed with it."""
    path = directory / RECORD_NAME
    try:
        if not path.is_file():  # nothing waits for a pipe
            return ()
        existing = RunRecord.from_json(read_start(path, READ_AT_MOST), str(path))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except RecordError:
        existing = None
    if existing is None or existing.id != record.id:
        text = "This directory has another run; remove it, or download into another directory"
        raise RunExistsError.for_url(str(directory), text)
    return existing.files
