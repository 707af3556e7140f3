"""What `Study.run` and `Study.adopt_many` report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from idfkit_fs.errors import IncompleteRunError
from idfkit_fs.studies.display import counted, html_counts, one_line, text_counts
from idfkit_fs.studies.layout import Ended

__all__ = ["CaseRun", "How", "RunReport", "incomplete"]

How = Literal["simulated", "reused", "adopted", "found"]
_WORDS: dict[How, str] = {"simulated": "simulated", "reused": "reused", "adopted": "adopted", "found": "done before"}
_FAILED = "failed"


class CaseRun(NamedTuple):
    """How one case was run.

    Attributes:
        case: The case's name.
        state: ``"ok"`` if EnergyPlus completed the case, ``"failed"`` if EnergyPlus ended it with an error.
        how: ``"simulated"`` if EnergyPlus ran, ``"reused"`` if the run was copied from another case, ``"adopted"``
            if it was taken in with [Study.adopt][idfkit_fs.Study.adopt], ``"found"`` if the case had this run already.
    """

    case: str
    state: Ended
    how: How


@dataclass(frozen=True, repr=False)
class RunReport:
    """How the cases of [Study.run][idfkit_fs.Study.run] were run.

    ``print`` shows the counts in one line. An interactive session and a notebook also show the names of the first few
    failed cases.

    Attributes:
        runs: One entry for each case, in the order of their names.

    Examples:
        >>> print(RunReport((CaseRun("a", "ok", "simulated"), CaseRun("b", "failed", "simulated"))))
        2 cases: 2 simulated; 1 of them failed
    """

    runs: tuple[CaseRun, ...]

    @property
    def ok(self) -> tuple[str, ...]:
        """The cases that EnergyPlus completed."""
        return tuple(run.case for run in self.runs if run.state == "ok")

    @property
    def failed(self) -> tuple[str, ...]:
        """The cases that EnergyPlus ended with an error."""
        return tuple(run.case for run in self.runs if run.state == "failed")

    @property
    def simulated(self) -> tuple[str, ...]:
        """The cases for which EnergyPlus ran."""
        return self._cases("simulated")

    @property
    def reused(self) -> tuple[str, ...]:
        """The cases whose run was copied from another case."""
        return self._cases("reused")

    @property
    def adopted(self) -> tuple[str, ...]:
        """The cases that were made of runs that existed already."""
        return self._cases("adopted")

    @property
    def found(self) -> tuple[str, ...]:
        """The cases that had their run already."""
        return self._cases("found")

    def __str__(self) -> str:
        if not self.runs:
            return "nothing to run"
        counts = [f"{len(cases)} {word}" for word, cases in self._groups().items() if cases and word != _FAILED]
        failed = f"; {len(self.failed)} of them failed" if self.failed else ""
        return f"{counted(len(self.runs))}: {', '.join(counts)}{failed}"

    def __repr__(self) -> str:
        return text_counts(f"RunReport of {counted(len(self.runs))}", self._groups(), [_FAILED])

    def _repr_html_(self) -> str:
        return html_counts(f"RunReport of {counted(len(self.runs))}", self._groups(), [_FAILED])

    def _groups(self) -> dict[str, tuple[str, ...]]:
        groups = {word: self._cases(how) for how, word in _WORDS.items()}
        if not self.adopted:  # run() adopts nothing
            del groups[_WORDS["adopted"]]
        return {**groups, _FAILED: self.failed}

    def _cases(self, how: How) -> tuple[str, ...]:
        return tuple(run.case for run in self.runs if run.how == how)


def incomplete(report: RunReport, errors: dict[str, BaseException], problem: str, rest: str) -> IncompleteRunError:
    """The error to raise when there are errors of some cases.

    Args:
        report: What happened to the other cases.
        errors: The errors, by case; at least one.
        problem: What they have in common, such as ``"could not be run"``.
        rest: How the message goes on.
    """
    case, first = next(iter(errors.items()))
    more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
    error = IncompleteRunError(f"Case {case!r}{more} {problem}: {one_line(first).rstrip('.')}{rest}")
    error.report, error.errors = report, errors
    error.__cause__ = first
    return error
