"""Copy a published run to this machine."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from idfkit_fs._fs.globbing import matching
from idfkit_fs._util.files import write_atomically
from idfkit_fs._util.messages import redact
from idfkit_fs._util.urls import Location, is_url, to_text
from idfkit_fs.errors import LocationError, RunNotFoundError
from idfkit_fs.runs.files import RunFileSystem
from idfkit_fs.runs.record import RECORD_NAME, RecordedFile, RunRecord

__all__ = ["chosen_files", "local_directory", "save"]


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


def save(
    run: RunFileSystem,
    record: RunRecord | None,
    files: Sequence[RecordedFile],
    directory: Path,
    done: Callable[[int], Any],
) -> None:
    """Copy files of a run into a directory: each is checked and appears complete; the record comes last.

    Args:
        run: The run's files.
        record: The run's record.
        files: Which of its files to copy; the copied record lists only these.
        directory: The local directory; it is created if it is missing.
        done: Called with the number of bytes that were copied since the last call.

    Raises:
        RunNotFoundError: If the run has no record.
        DamagedRunError: If a file differs from the run's record.
        StoreError: If the store failed, refused access, or did not answer.
    """
    if record is None:
        raise RunNotFoundError.for_url(
            run.url(), "The run to download has no record; give it one with publish(url, url)"
        )
    for file in files:
        with run.local_copy(file.name) as local:
            write_atomically(directory / file.name, functools.partial(shutil.copyfile, local))
        done(file.size)
    record = record.model_copy(update={"files": tuple(files)})
    write_atomically(directory / RECORD_NAME, lambda target: target.write_bytes(record.to_json()))
