"""Read the summary of each case: from its outcome, and from its tables what the outcome does not have."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import progress_bar
from idfkit_fs._util.urls import last_name
from idfkit_fs.errors import CaseNotFoundError, IdfkitFsError, NotReportedError, RecordError
from idfkit_fs.runs.result import RunResult
from idfkit_fs.studies.columns import Columns, Row
from idfkit_fs.studies.consolidate import keep, read_row
from idfkit_fs.studies.consolidated import read_consolidated
from idfkit_fs.studies.display import one_line
from idfkit_fs.studies.job import Measured, Metric
from idfkit_fs.studies.layout import EndedRun, outcome_path
from idfkit_fs.studies.listing import Listing
from idfkit_fs.studies.stored import read_job
from idfkit_fs.studies.summary import cells_of, measure

__all__ = ["read_summary"]


def read_summary(
    fs: FsspecFileSystem,
    listing: Listing,
    metrics: Sequence[Metric],
    open_run: Callable[[str], RunResult],
    progress: bool,
) -> tuple[Sequence[str], Sequence[str], Columns]:
    """Read the cases of a study, their states, and what is known of them.

    Args:
        fs: The study.
        listing: Its listings.
        metrics: The study's metrics.
        open_run: Opens the run of a case.
        progress: Whether to show a bar.

    Raises:
        StoreError: If the store failed, refused access, or did not answer.
    """
    cases, states = listing.cases, dict[str, str](listing.states())
    known = read_consolidated(fs, listing)
    others = [case for case in cases if case not in known.numbers]

    def read(case: str) -> tuple[str, Row]:
        try:
            try:
                return states[case], read_row(fs, listing, case)
            except CaseNotFoundError:
                raise
            except FileNotFoundError:  # the case is being run again
                return "pending", Row(read_job(fs, case).parameters)
        except (RecordError, CaseNotFoundError) as exc:
            return "damaged", Row(message=one_line(exc))

    with progress_bar(len(cases), f"Collecting {last_name(fs.url())}", "case", progress) as done:
        done(len(cases) - len(others))
        answers = parallel_map(read, others, done)
    changed = {case: state for case, (state, _) in zip(others, answers, strict=True) if state != states[case]}
    states |= changed
    known_rows = len(known.columns.messages)
    numbers = known.numbers | {case: known_rows + number for number, case in enumerate(others)}
    found = known.columns.joined(Columns.of([row for _, row in answers])).take([numbers[case] for case in cases])
    measured = _measured(fs, states, found, metrics, functools.partial(_measure, fs, listing, open_run), progress)
    kept = [number for number, case in enumerate(cases) if case not in changed]
    keep(known, [cases[number] for number in kept], found.take(kept), len(others) - len(changed) + measured.read)
    return cases, [*states.values()], found.model_copy(update={"metrics": measured.metrics})


class _Measured(NamedTuple):
    """The metrics of all cases.

    Attributes:
        metrics: Those of the outcomes, and those that were added to the study, or changed, after a case had ended.
        read: Of how many cases metrics were read that can be kept.
    """

    metrics: list[dict[str, Measured]]
    read: int


def _measured(
    fs: FsspecFileSystem,
    states: Mapping[str, str],
    found: Columns,
    metrics: Sequence[Metric],
    measure_case: Callable[[str, Mapping[str, Measured], Sequence[Metric]], tuple[dict[str, Measured], bool]],
    progress: bool,
) -> _Measured:
    """Read the metrics that outcomes do not have, and note in *found* what can be kept."""
    cells, cases = {each.name: each.cell for each in metrics}, [*states]
    added: dict[int, dict[str, Metric]] = {}
    for number, (state, known) in enumerate(zip(states.values(), found.metrics, strict=True)):
        if state == "ok" and any(name not in known or known[name].cell != cell for name, cell in cells.items()):
            others = (each for each in metrics if each.name not in known or known[each.name].cell != each.cell)
            added[number] = {"\n".join((each.name, *each.cell)): each for each in others}
    lacking = [number for number, wanted in added.items() if not wanted.keys() <= found.measured[number].keys()]

    def read(number: int) -> tuple[dict[str, Measured], bool]:
        return measure_case(cases[number], found.metrics[number], [*added[number].values()])

    shows = progress and bool(lacking)
    with progress_bar(len(lacking), f"Measuring {last_name(fs.url())}", "case", shows) as done:
        answers = dict(zip(lacking, parallel_map(read, lacking, done), strict=True))
    united = [*found.metrics]
    for number, wanted in added.items():
        kept = found.measured[number]
        values, is_final = answers.get(number) or ({each.name: kept[asked] for asked, each in wanted.items()}, False)
        united[number] = united[number] | values
        if is_final:
            found.measured[number] = {asked: united[number][each.name] for asked, each in wanted.items()}
    return _Measured(united, sum(is_final for _, is_final in answers.values()))


def _measure(
    fs: FsspecFileSystem,
    listing: Listing,
    open_run: Callable[[str], RunResult],
    case: str,
    known: Mapping[str, Measured],
    added: Sequence[Metric],
) -> tuple[dict[str, Measured], bool]:
    """Metrics from the tables of a run; and whether they stay what they are, as long as the outcome does."""
    if any(each.name in known for each in added):  # perhaps a metric of the case, which goes before the study's
        own = {each.name for each in read_job(fs, case).metrics}
        added = [each for each in added if each.name not in own]
    if not added:
        return {}, True
    is_final = True
    try:
        result = open_run(case)
        record = result.record
        # The run that exists now may have replaced the one of the outcome.
        path = record and outcome_path("ok", case, EndedRun.of(record.job or "", record.id))
        is_final = path == listing.told_by(case)
        cells = cells_of(result.data.cells())
        result.data.forget()
    except (IdfkitFsError, OSError) as exc:
        why = f"the tables of the run cannot be read: {one_line(exc)}"
        return {each.name: each.missing(why) for each in added}, is_final and isinstance(exc, NotReportedError)
    return {each.name: measure(each, cells) for each in added}, is_final
