"""Copy a published run to this machine."""

from __future__ import annotations

import functools
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from idfkit_fs._fs.globbing import matching
from idfkit_fs._util.messages import redact
from idfkit_fs.errors import RunNotFoundError
from idfkit_fs.runs.record import RECORD_NAME, RecordedFile
from idfkit_fs.runs.result import RunResult

__all__ = ["chosen_files", "save"]


def chosen_files(result: RunResult, include: Sequence[str]) -> list[RecordedFile]:
    """The files of a run whose names match a pattern."""
    files = result.record.files if result.record else ()
    chosen = matching((file.name for file in files), include)
    return [file for file in files if file.name in chosen]


def save(result: RunResult, files: Sequence[RecordedFile], directory: Path, done: Callable[[int], Any]) -> None:
    """Copy files of a run into a directory, each checked and moved into place whole; the record comes last.

    Args:
        result: A run with a record.
        files: Which of its files; the copied record names just these.
        directory: Where to.
        done: Told how many more bytes have been copied.
    """
    if result.record is None:
        raise RunNotFoundError(2, "The run to copy has no record", redact(result.url))
    for file in files:
        with result.files.local_copy(file.name) as local:
            _place(directory / file.name, functools.partial(shutil.copyfile, local))
        done(file.size)
    record = result.record.model_copy(update={"files": tuple(files)})
    _place(directory / RECORD_NAME, lambda target: target.write_bytes(record.to_json()))


def _place(target: Path, write: Callable[[Path], Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        write(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
