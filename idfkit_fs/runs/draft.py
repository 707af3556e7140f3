"""What is kept in a run's local directory until the run is published, so that an interrupted publication can go on."""

from __future__ import annotations

from pathlib import Path

from idfkit_fs._util.files import read_start
from idfkit_fs._util.urls import to_text
from idfkit_fs._util.versioned_json import READ_AT_MOST
from idfkit_fs.runs.record import RunRecord

__all__ = ["DRAFT_NAME", "read_draft", "write_draft"]

DRAFT_NAME = ".idfkit-fs-unpublished.json"
"""The name of the draft: the record, without files, of a run that is not published yet."""


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
