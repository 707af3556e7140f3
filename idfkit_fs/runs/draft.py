"""What is kept in a run's local directory until the run is published, so that an interrupted publication can go on."""

from __future__ import annotations

import json
from pathlib import Path

from idfkit_fs._util.files import read_start
from idfkit_fs._util.urls import to_text
from idfkit_fs._util.versioned_json import READ_AT_MOST
from idfkit_fs.runs.record import RunRecord

__all__ = ["DRAFT_NAME", "REPLACED_NAME", "note_replaced", "read_draft", "write_draft"]

DRAFT_NAME = ".idfkit-fs-unpublished.json"
"""The name of the draft: the record, without files, of a run that is not published yet."""

REPLACED_NAME = ".idfkit-fs-replaces.json"
"""The name of the note that lists the files of the run that this one replaces."""


def write_draft(directory: Path, record: RunRecord) -> None:
    """Write the draft of a run's record into the run's directory."""
    (directory / DRAFT_NAME).write_bytes(record.to_json())


def read_draft(directory: Path) -> RunRecord | None:
    """Read the draft in a run's directory.

    Args:
        directory: The local directory of a run.

    Returns:
        The record, without files; None if the directory has no draft.

    Raises:
        RecordError: If the draft is damaged, or of a newer format.
    """
    draft = directory / DRAFT_NAME
    return RunRecord.from_json(read_start(draft, READ_AT_MOST), to_text(draft)) if draft.exists() else None


def note_replaced(directory: Path, names: set[str]) -> set[str]:
    """Note the files of the run that is being replaced.

    The old run's record, which lists them, is removed before the new files are uploaded. If publishing is interrupted
    after that, the next attempt finds the names in this note. Only a directory with a draft gets one.

    Args:
        directory: The local directory of the new run.
        names: The files of the run that exists at the URL now.

    Returns:
        These names, and those that an earlier attempt noted.
    """
    note = directory / REPLACED_NAME
    if note.exists():
        names = names | set(json.loads(note.read_text(encoding="utf-8")))
    if names and (directory / DRAFT_NAME).exists():
        note.write_text(json.dumps(sorted(names)), encoding="utf-8")
    return names
