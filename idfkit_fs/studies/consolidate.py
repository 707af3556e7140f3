"""Keep what all jobs and outcomes of a study say in one object; see `consolidated`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.optional_deps import require
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import progress_bar
from idfkit_fs._util.urls import last_name
from idfkit_fs.errors import IdfkitFsError, NotFoundError, PermissionDeniedError, RecordError
from idfkit_fs.runs.result import RunResult
from idfkit_fs.studies.columns import Columns, Row
from idfkit_fs.studies.consolidated import Consolidated, pays, read_consolidated
from idfkit_fs.studies.consolidated_cells import consolidate_cells
from idfkit_fs.studies.display import one_line
from idfkit_fs.studies.listing import Listing, read_listing
from idfkit_fs.studies.stored import read_job, read_outcome

__all__ = ["consolidate_study", "keep", "keep_after_run", "read_row"]

logger = logging.getLogger(__name__)


def read_row(fs: FsspecFileSystem, listing: Listing, case: str) -> Row:
    """Read what the outcome of a case says, or, of a pending one, its job.

    Raises:
        FileNotFoundError: If there is no such outcome any more: the case is being run again, or was removed.
        CaseNotFoundError: If the study has no such case any more.
        RecordError: If the job or outcome is damaged, of a newer format, or of another case.
        StoreError: If the store failed, refused access, or did not answer.
    """
    state = listing.state(case)
    if state == "pending":
        return Row.by(read_job(fs, case))
    return Row.by(read_outcome(fs, case, state, listing.ended[state][case]))


def consolidate_study(
    fs: FsspecFileSystem, listing: Listing, open_run: Callable[[str], RunResult], tabular: bool, progress: bool
) -> int:
    """Write the consolidated objects; see [Study.consolidate][idfkit_fs.Study.consolidate]."""
    if tabular:
        require("pyarrow", "pandas", "consolidate(tabular=True)")
    known = read_consolidated(fs, listing)
    count = _write(known, _missing(known), progress)
    if tabular:
        consolidate_cells(fs, listing, open_run, progress)
    return count


def keep(known: Consolidated, cases: Sequence[str], columns: Columns, read: int) -> None:
    """Write the consolidated object if that pays and this login may; the caller has done its work already.

    Args:
        known: What the consolidated object had.
        cases: The cases to keep.
        columns: What is known of them.
        read: How many had to be read.
    """
    if known.is_worth_writing(read):
        with _quietly():
            known.write(cases, columns)


def keep_after_run(fs: FsspecFileSystem, ran: int) -> None:
    """Write the consolidated object after a run if that pays and this login may.

    Args:
        fs: The study.
        ran: How many cases were run.
    """
    if not pays(ran, ran):  # without a request
        return
    with _quietly():
        known = read_consolidated(fs, read_listing(fs))
        missing = _missing(known)
        if known.is_worth_writing(len(missing)):
            _write(known, missing, progress=False)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Nothing depends on the consolidated object, so nothing fails without it."""
    try:
        yield
    except PermissionDeniedError as exc:
        logger.debug("The outcomes are not consolidated: %s", one_line(exc))
    except (IdfkitFsError, OSError) as exc:
        logger.warning("The outcomes are not consolidated: %s", one_line(exc))


def _missing(known: Consolidated) -> list[str]:
    """The cases of which nothing is known, and something could be kept."""
    listing = known.listing
    return [case for case in listing.cases if case not in known.numbers and listing.told_by(case) in listing.versions]


def _write(known: Consolidated, cases: Sequence[str], progress: bool) -> int:
    """Read cases, and write the consolidated object if anything is new; returns of how many cases it has something."""

    def read(case: str) -> Row | None:
        try:
            return read_row(known.fs, known.listing, case)
        except (RecordError, NotFoundError):  # damaged, or it has changed since it was listed
            return None

    with progress_bar(len(cases), f"Consolidating {last_name(known.fs.url())}", "case", progress) as done:
        found = zip(cases, parallel_map(read, cases, done), strict=True)
        rows = {case: row for case, row in found if row is not None}
    if rows or known.is_stale or known.is_damaged:
        columns = known.columns.take([*known.numbers.values()]).joined(Columns.of(rows.values()))
        known.write([*known.numbers, *rows], columns)
    return len(known.numbers) + len(rows)
