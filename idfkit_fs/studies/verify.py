"""Check that the cases of a study are what their states say, and repair those that are not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import NamedTuple, get_args

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.naming import outputs_of, stems_in
from idfkit_fs._outputs.sidecars import SIDECARS
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import progress_bar
from idfkit_fs._util.urls import last_name
from idfkit_fs.errors import CaseNotFoundError, RecordError
from idfkit_fs.runs.check import damage_of
from idfkit_fs.runs.record import RECORD_NAME, RunRecord
from idfkit_fs.runs.register import Register, read_register, remove_claim, remove_run
from idfkit_fs.runs.result import result_of
from idfkit_fs.studies.choose import Cases, choose_cases
from idfkit_fs.studies.consolidated import damage_of_consolidated
from idfkit_fs.studies.consolidated_cells import remove_lost_parts
from idfkit_fs.studies.display import counted, one_line
from idfkit_fs.studies.job import Job, state_of
from idfkit_fs.studies.layout import (
    CONSOLIDATED,
    CONSOLIDATED_OUTCOMES,
    Ended,
    EndedRun,
    outcome_path,
    outcomes_directory,
)
from idfkit_fs.studies.listing import Listing
from idfkit_fs.studies.stored import read_job, read_outcome, retire
from idfkit_fs.studies.worker import finish_case

__all__ = ["Finding", "Verification", "verify_cases"]

_THREADS = 8  # each checks the files of its case in threads of its own
_SHOWN = 20


class Finding(NamedTuple):
    """What is wrong with a case.

    Attributes:
        case: The case's name.
        problem: What is wrong.
        remedy: What was done about it, or what to do.
        repaired: Whether it was repaired.
    """

    case: str
    problem: str
    remedy: str
    repaired: bool = False


@dataclass(frozen=True, repr=False)
class Verification:
    """What [Study.verify][idfkit_fs.Study.verify] found. ``print`` shows it in a few lines.

    Attributes:
        checked: The number of cases that were checked.
        findings: What is wrong, by case.

    Examples:
        >>> print(Verification(2, ()))
        2 cases checked: nothing is wrong
    """

    checked: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong any more."""
        return all(finding.repaired for finding in self.findings)

    def __str__(self) -> str:
        if not self.findings:
            return f"{counted(self.checked)} checked: nothing is wrong"
        repaired = sum(finding.repaired for finding in self.findings)
        lines = [f"{each.case}: {each.problem}; {each.remedy}" for each in self.findings[:_SHOWN]]
        more = len(self.findings) - len(lines)
        problems = "1 problem" if len(self.findings) == 1 else f"{len(self.findings)} problems"
        title = f"{counted(self.checked)} checked: {problems}, {repaired} repaired"
        return "\n".join([title, *lines, *([f"and {more} more"] if more else [])])

    def __repr__(self) -> str:
        return f"<{self}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def verify_cases(
    fs: FsspecFileSystem, listing: Listing, cases: Cases | None, deep: bool, repair: bool, progress: bool
) -> Verification:
    """Check cases; see [Study.verify][idfkit_fs.Study.verify]."""
    chosen = [*listing.cases] if cases is None else choose_cases(fs, listing, cases)

    def check(case: str) -> list[Finding]:
        return [*_Check(fs, listing, case, deep, repair).findings()]

    with progress_bar(len(chosen), f"Verifying {last_name(fs.url())}", "case", progress) as done:
        found = [each for of_case in parallel_map(check, chosen, done, threads=_THREADS) for each in of_case]
    if cases is None:
        found += _orphans(fs, listing, repair)
        found += _of_consolidated(fs, deep, repair)
        if repair:
            _remove_void(fs)
    return Verification(len(chosen), tuple(found))


@dataclass(frozen=True)
class _Check:
    fs: FsspecFileSystem
    listing: Listing
    case: str
    deep: bool
    repair: bool

    @property
    def run_fs(self) -> FsspecFileSystem:
        return self.fs.joinpath(self.case)

    def findings(self) -> Iterator[Finding]:
        """What is wrong with the case; each step is repaired before the next one is looked at."""
        try:
            job = read_job(self.fs, self.case)
        except RecordError as exc:
            yield Finding(self.case, one_line(exc), "add the case again with overwrite=True")
            return
        yield from self._of_marks()
        try:
            register = read_register(self.run_fs)
        except RecordError as exc:
            yield Finding(self.case, one_line(exc), "verify the study with the newer idfkit-fs")
            return
        yield from self._of_register(register)
        record = register.record
        yield from self._of_stale(job, record)
        if record is not None:
            yield from self._beside(record)
            if record.job == job.key:
                yield from self._of_run(job, record)

    def _of_marks(self) -> Iterator[Finding]:
        marks = self.listing.marks.get(self.case, ())
        if marks:
            if self.repair:
                self.fs.remove_if_exists(self.listing.void.get(self.case, ()))
                self.fs.remove_if_exists(marks)  # last: without them, the others would count
            yield self._finding("the replacement of its job was not finished, or is under way", "finished")

    def _of_register(self, register: Register) -> Iterator[Finding]:
        if register.damaged is not None:
            if self.repair and register.tag:
                self.run_fs.remove_tagged(RECORD_NAME, register.tag)
            yield self._finding(f"its record cannot be used ({one_line(register.damaged)})", "run the study again")
        if register.claim is not None:
            if self.repair:
                remove_claim(self.run_fs, register)
            left = f"{len(register.claim.files)} files of a run that was not published to the end"
            yield self._finding(f"{left}; a worker still runs, or was killed", "removed", "if none runs, repair it")

    def _of_stale(self, job: Job, record: RunRecord | None) -> Iterator[Finding]:
        """Outcomes that are not of the run that exists."""
        stale, wanted = self._runs(), record is not None and record.job == job.key
        if record is not None and wanted:
            stale.discard((state_of(record), EndedRun.of(job.key, record.id)))
        if stale:
            if self.repair:
                self.fs.remove_if_exists([outcome_path(state, self.case, run) for state, run in stale])
            states = ", ".join(sorted({state for state, _ in stale}))
            why = "missing" if record is None or wanted else "of another job"
            yield self._finding(f"it counts as {states}, but its run is {why}", "run the study again")

    def _runs(self) -> set[tuple[Ended, EndedRun]]:
        ended = self.listing.ended
        return {(state, run) for state in get_args(Ended) for run in ended[state].get(self.case, ())}

    def _of_run(self, job: Job, record: RunRecord) -> Iterator[Finding]:
        damage = damage_of(result_of(self.run_fs, record), deep=self.deep)
        if damage:
            name, wrong = next(iter(damage.items()))
            more = f", and {len(damage) - 1} more" if len(damage) > 1 else ""
            problem = f"its run is damaged: {name}: {wrong}{more}"
            if job.model is None:
                yield Finding(self.case, problem, "adopt it again with overwrite=True")
                return
            if self.repair:
                retire(self.fs, self.case, record)
                remove_run(self.run_fs, read_register(self.run_fs))
            yield self._finding(problem, "run the study again")
            return
        wrong_outcome = self._of_outcome(job, record)
        if wrong_outcome:
            if self.repair:
                finish_case(self.fs, self.case)
            yield self._finding(wrong_outcome, "its outcome was written again", "repair it, or run the study again")

    def _beside(self, record: RunRecord) -> Iterator[Finding]:
        """What a publisher left that was slower and was killed; in the run's own directory, EnergyPlus's files only."""
        names = [*self.run_fs.glob("", "**")]
        left = {name for name in names if name.startswith("_run-")}
        if record.contested:
            # A single file may be all that is left of a run, and names no stem.
            stems = {*stems_in(names), record.output_prefix, f"{record.output_prefix}out"}
            outputs = {name for stem in stems for name in outputs_of(names, stem, [stem])}
            left |= (outputs | SIDECARS).intersection(names)
        left -= record.paths
        if self.repair:
            self.run_fs.remove_if_exists(left)
            if record.contested:
                settled = record.model_copy(update={"contested": False})
                self.run_fs.swap(RECORD_NAME, settled.to_json(), read_register(self.run_fs).tag)
        if left:
            yield self._finding(f"{len(left)} files of a run that was not published to the end", "removed")

    def _of_outcome(self, job: Job, record: RunRecord) -> str | None:
        state, run = state_of(record), EndedRun.of(job.key, record.id)
        if (state, run) not in self._runs():
            return "its run is complete, but it counts as pending"
        try:
            outcome = read_outcome(self.fs, self.case, state, {run})
        except (RecordError, FileNotFoundError) as exc:
            problem = f"its outcome cannot be used ({one_line(exc)})"
        else:
            if outcome.record.id == record.id and outcome.parameters == job.parameters:
                return None
            problem = "its outcome is not that of its run"
        if self.repair:
            retire(self.fs, self.case, record)
        return problem

    def _finding(self, problem: str, repaired: str, remedy: str = "repair it") -> Finding:
        return Finding(self.case, problem, repaired if self.repair else remedy, self.repair)


def _orphans(fs: FsspecFileSystem, listing: Listing, repair: bool) -> list[Finding]:
    """Outcomes and runs of cases that do not exist; runs that the study did not make are ignored."""

    def run_of(case: str) -> Finding | None:
        run_fs = fs.joinpath(case)
        try:
            register = read_register(run_fs)
        except RecordError:
            return None
        run = register.record or register.claim
        if run is None or run.job is None or _has_job(fs, case):  # by now: it may be newer than the listing
            return None
        if register.record is not None and not _was_case(fs, case, register.record):
            return Finding(case, "it has a case's run, perhaps a copy, but no job", "adopt it, or remove the directory")
        if repair:
            if register.record is not None:  # its outcome would count if the case were added again
                retire(fs, case, register.record)
            remove_run(run_fs, register)
            remove_claim(run_fs, read_register(run_fs))  # of a contested URL it stays until no client writes there
        return Finding(case, "it has a run, or a part of one, but no job", "removed" if repair else "repair it", repair)

    others = [name for name in fs.directories() if name not in listing.cases and not name.startswith("_study")]
    found = [each for each in parallel_map(run_of, others) if each is not None]
    for case in sorted({case for runs in listing.ended.values() for case in runs}.difference(listing.cases)):
        if repair:
            fs.remove_if_exists(listing.outcomes_of(case))
        found.append(Finding(case, "it has an outcome, but no job", "removed" if repair else "repair it", repair))
    if repair:
        fs.remove_if_exists(mark for case in {*listing.marks}.difference(listing.cases) for mark in listing.marks[case])
    return found


def _of_consolidated(fs: FsspecFileSystem, deep: bool, repair: bool) -> Iterator[Finding]:
    """What is kept of many cases, and is not used where it is damaged."""
    problem = damage_of_consolidated(fs)
    if problem and repair:
        fs.remove_if_exists([CONSOLIDATED_OUTCOMES])
    problems = [problem, *remove_lost_parts(fs, deep=deep, repair=repair)]
    for problem in filter(None, problems):
        yield Finding(CONSOLIDATED, problem, "removed" if repair else "repair it", repair)


def _has_job(fs: FsspecFileSystem, case: str) -> bool:
    try:
        read_job(fs, case)
    except CaseNotFoundError:
        return False
    except RecordError:
        pass
    return True


def _was_case(fs: FsspecFileSystem, case: str, record: RunRecord) -> bool:
    """Whether the study made a run, and not who copied one there: an outcome is left, or what was made void of it."""
    job = record.job
    return job is not None and fs.exists(outcome_path(state_of(record), case, EndedRun.of(job, record.id)))


def _remove_void(fs: FsspecFileSystem) -> None:
    for state in get_args(Ended):
        directory = outcomes_directory(state)
        fs.remove_if_exists([f"{directory}/{name}" for name, size in fs.list_sizes(directory).items() if size == 0])
