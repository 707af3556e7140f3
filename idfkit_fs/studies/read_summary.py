"""Read the summary of each case: from its outcome, and from its tables what the outcome does not have."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import progress_bar
from idfkit_fs._util.urls import last_name
from idfkit_fs.errors import CaseNotFoundError, IdfkitFsError, RecordError
from idfkit_fs.runs.result import RunResult
from idfkit_fs.studies.consolidate import keep, read_told
from idfkit_fs.studies.consolidated import Told, read_consolidated
from idfkit_fs.studies.display import one_line
from idfkit_fs.studies.job import Measured, Metric
from idfkit_fs.studies.listing import Listing
from idfkit_fs.studies.rows import Row, row_of
from idfkit_fs.studies.stored import read_job
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
    consolidated = read_consolidated(fs, listing)
    known = consolidated.told(listing.cases)
    told: dict[str, Told] = {}

    def read(case: str) -> Row:
        try:
            if case not in known:
                try:
                    told[case] = read_told(fs, listing, case)
                except CaseNotFoundError:
                    raise
                except FileNotFoundError:  # the case is being run again
                    return Row(case, "pending", read_job(fs, case).parameters)
            return row(case, known.get(case) or told[case])
        except (RecordError, CaseNotFoundError) as exc:
            return Row(case, "damaged", message=one_line(exc))

    def row(case: str, each: Told) -> Row:
        state = listing.state(case)
        if state == "pending":
            return Row(case, state, each.parameters)
        added = _added(each, metrics) if state == "ok" else []
        return row_of(case, state, each, _measure(fs, case, each, added, open_run) if added else {})

    def is_known(case: str) -> bool:
        return case in known and not (listing.state(case) == "ok" and _added(known[case], metrics))

    others = [case for case in listing.cases if not is_known(case)]
    with progress_bar(len(listing.cases), f"Collecting {last_name(fs.url())}", "case", progress) as done:
        done(len(listing.cases) - len(others))
        rows = dict(zip(others, parallel_map(read, others, done), strict=True))
    keep(consolidated, told)
    return [rows[case] if case in rows else row(case, known[case]) for case in listing.cases]


def _added(told: Told, metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics that were added or changed after a case had ended."""
    known = {} if told.summary is None else told.summary.metrics
    return [each for each in metrics if each.name not in known or known[each.name].cell != each.cell]


def _measure(
    fs: FsspecFileSystem, case: str, told: Told, added: Sequence[Metric], open_run: Callable[[str], RunResult]
) -> dict[str, Measured]:
    """Metrics that an outcome does not have, from the tables of the run."""
    known = {} if told.summary is None else told.summary.metrics
    if any(each.name in known for each in added):  # perhaps a metric of the case, which goes before the study's
        own = {each.name for each in read_job(fs, case).metrics}
        added = [each for each in added if each.name not in own]
    if not added:
        return {}
    try:
        data = open_run(case).data
        cells = cells_of(data.cells())
        data.forget()
    except (IdfkitFsError, OSError) as exc:
        why = one_line(exc)
        return {each.name: each.missing(f"the tables of the run cannot be read: {why}") for each in added}
    return {each.name: measure(each, cells) for each in added}
