"""Run cases of a study that was listed: which runs they may be copied from, and what remains of those they replace."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Literal

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs.errors import CaseNotFoundError, IncompleteRunError, ModelError, PermissionDeniedError, RecordError
from idfkit_fs.studies.engine import run_cases
from idfkit_fs.studies.listing import Listing, read_listing
from idfkit_fs.studies.plan import Planned, Source
from idfkit_fs.studies.report import RunReport
from idfkit_fs.studies.stored import read_job

__all__ = ["check_models", "run_listed"]


def run_listed(
    fs: FsspecFileSystem,
    listing: Listing,
    cases: Sequence[str],
    *,
    executor: Executor | None = None,
    max_workers: int | None = None,
    reuse: FsspecFileSystem | Literal[False] | None = None,
    progress: bool = False,
) -> RunReport:
    """Run cases; see [Study.run][idfkit_fs.Study.run].

    Args:
        fs: The study.
        listing: What its listings show.
        cases: The cases to run.
        executor: Where to run them; None for this process.
        max_workers: The number of simulations at the same time in this process.
        reuse: Another study whose runs may be copied too; False to copy none.
        progress: Whether to show a progress bar.

    Returns:
        How each case was run.

    Raises:
        IncompleteRunError: If some cases could not be run, for a reason outside EnergyPlus.
    """
    sources = None if reuse is False else _runs_in(fs, listing)
    if sources is not None and reuse:
        sources = _runs_in(reuse, read_listing(reuse)) | sources
    failed = listing.ended["failed"]
    planned = [Planned(case, retry_failed=case in failed) for case in cases]
    try:
        report = run_cases(fs, planned, sources, executor, max_workers, progress)
    except IncompleteRunError as exc:
        _remove_outcomes(fs, listing, exc.report)
        raise
    _remove_outcomes(fs, listing, report)
    return report


def check_models(fs: FsspecFileSystem, listing: Listing, cases: Sequence[str]) -> None:
    """Refuse cases that failed and were adopted: they are named, and cannot be run again.

    Raises:
        ModelError: If there is one.
    """

    def is_adopted(case: str) -> bool:
        try:
            return read_job(fs, case).model is None
        except (CaseNotFoundError, RecordError):
            return False  # running the case reports the error, and the other cases go on

    failed = sorted(case for case in cases if case in listing.ended["failed"])
    for case, adopted in zip(failed, parallel_map(is_adopted, failed), strict=True):
        if adopted:
            text = f"Case {case!r} failed, and cannot be run again: it was adopted, and its model is unknown"
            raise ModelError(text)


def _runs_in(fs: FsspecFileSystem, listing: Listing) -> dict[str, Source]:
    """The successful runs of a study, by the beginnings of their jobs' hashes."""
    options = fs.storage_options
    return {run.key: Source(fs.url(case), options) for case, runs in listing.ended["ok"].items() for run in runs}


def _remove_outcomes(fs: FsspecFileSystem, listing: Listing, report: RunReport) -> None:
    """Remove the outcomes of the runs that were replaced: also of one whose record was lost."""
    replaced = [path for run in report.runs if run.how != "found" for path in listing.outcomes_of(run.case)]
    with contextlib.suppress(PermissionDeniedError):  # then they stay, void
        fs.remove_if_exists(replaced)
