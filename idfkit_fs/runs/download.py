"""Copy a published run to this machine."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from idfkit_fs._fs.globbing import matching
from idfkit_fs._util.files import write_atomically
from idfkit_fs.errors import RunNotFoundError
from idfkit_fs.runs.record import RECORD_NAME, RecordedFile
from idfkit_fs.runs.result import RunResult

__all__ = ["chosen_files", "save"]


def chosen_files(result: RunResult, include: Sequence[str]) -> list[RecordedFile]:
    """Choose files of a run by glob patterns.

    Args:
        result: The run.
        include: Glob patterns.

    Returns:
        The files whose names match one of the patterns; none for a run without a record.

    Raises:
        LocationError: If a pattern is invalid.
    """
    files = result.record.files if result.record else ()
    chosen = matching((file.name for file in files), include)
    return [file for file in files if file.name in chosen]


def save(result: RunResult, files: Sequence[RecordedFile], directory: Path, done: Callable[[int], Any]) -> None:
    """Copy files of a run into a directory: each is checked and appears complete; the record comes last.

    Args:
        result: A run with a record.
        files: Which of its files to copy; the copied record lists only these.
        directory: The local directory; it is created if it is missing.
        done: Called with the number of bytes that were copied since the last call.

    Raises:
        RunNotFoundError: If the run has no record.
        DamagedRunError: If a file differs from the run's record.
        StoreError: If the store failed, refused access, or did not answer.
    """
    if result.record is None:
        raise RunNotFoundError.for_url(result.url, "The run to copy has no record; publish it first")
    for file in files:
        with result.files.local_copy(file.name) as local:
            write_atomically(directory / file.name, functools.partial(shutil.copyfile, local))
        done(file.size)
    record = result.record.model_copy(update={"files": tuple(files)})
    write_atomically(directory / RECORD_NAME, lambda target: target.write_bytes(record.to_json()))
