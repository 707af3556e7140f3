"""Read the summary of each case: from its outcome, and from its tables what the outcome does not have."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import progress_bar
from idfkit_fs._util.urls import last_name
from idfkit_fs.errors import CaseNotFoundError, IdfkitFsError, RecordError
from idfkit_fs.runs.result import RunResult
from idfkit_fs.studies.display import one_line
from idfkit_fs.studies.job import Measured, Metric, Outcome
from idfkit_fs.studies.layout import State
from idfkit_fs.studies.listing import Listing
from idfkit_fs.studies.rows import Row, row_of
from idfkit_fs.studies.stored import read_job, read_outcome
from idfkit_fs.studies.summary import cells_of, measure

__all__ = ["read_rows"]


def read_rows(
    fs: FsspecFileSystem,
    listing: Listing,
    metrics: Sequence[Metric],
    open_run: Callable[[str], RunResult],
    progress: bool,
) -> list[Row]:
    """Read the row of each case; see [Study.summary][idfkit_fs.Study.summary].

    Args:
        fs: The study.
        listing: Its listings.
        metrics: The study's metrics.
        open_run: Opens the run of a case.
        progress: Whether to show a bar.

    Returns:
        The rows, in the order of the cases.

    Raises:
        StoreError: If the store failed, refused access, or did not answer.
    """

    def read(case: str) -> Row:
        state = states[case]
        try:
            if state != "pending":
                with contextlib.suppress(FileNotFoundError):  # the case is being run again
                    outcome = read_outcome(fs, case, state, listing.ended[state][case])
                    return row_of(outcome, _measure(fs, outcome, metrics, open_run))
            return Row(case, "pending", read_job(fs, case).parameters)
        except (RecordError, CaseNotFoundError) as exc:
            return Row(case, "damaged", message=one_line(exc))

    states: dict[str, State] = listing.states()
    with progress_bar(len(states), f"Collecting {last_name(fs.url())}", "case", progress) as done:
        return parallel_map(read, states, done)


def _measure(
    fs: FsspecFileSystem, outcome: Outcome, metrics: Sequence[Metric], open_run: Callable[[str], RunResult]
) -> dict[str, Measured]:
    """The metrics that were added or changed after a case had ended, from its tables."""
    known = outcome.summary.metrics
    added = [each for each in metrics if each.name not in known or known[each.name].cell != each.cell]
    if not added or outcome.state != "ok":
        return {}
    if any(each.name in known for each in added):  # perhaps a metric of the case, which goes before the study's
        own = {each.name for each in read_job(fs, outcome.case).metrics}
        added = [each for each in added if each.name not in own]
    try:
        data = open_run(outcome.case).data
        cells = cells_of(data.cells())
        data.forget()
    except (IdfkitFsError, OSError) as exc:
        why = one_line(exc)
        return {each.name: each.missing(f"the tables of the run cannot be read: {why}") for each in added}
    return {each.name: measure(each, cells) for each in added}
