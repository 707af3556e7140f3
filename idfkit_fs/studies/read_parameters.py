"""Read the parameters of many cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs.errors import CaseNotFoundError, RecordError
from idfkit_fs.studies.consolidated import read_consolidated
from idfkit_fs.studies.listing import Listing
from idfkit_fs.studies.stored import read_job

__all__ = ["Parameters", "read_parameters"]


class Parameters(NamedTuple):
    """The parameters of cases.

    Attributes:
        found: The parameters, by case.
        lost: Why there are none, by case: its job cannot be read, or was removed meanwhile.
    """

    found: dict[str, dict[str, Any]]
    lost: dict[str, CaseNotFoundError | RecordError]


def read_parameters(
    fs: FsspecFileSystem, listing: Listing, cases: Iterable[str], done: Callable[[int], Any] = lambda _count: None
) -> Parameters:
    """Read the parameters of cases: from the consolidated outcomes where they are current, else from the jobs.

    Args:
        fs: The study.
        listing: Its listings.
        cases: Names of cases.
        done: Called with the number of cases that have been read since the last call.

    Raises:
        StoreError: If the store failed, refused access, or did not answer.
    """
    names = [*cases]
    known = read_consolidated(fs, listing).parameters(names)

    def read(case: str) -> dict[str, Any] | CaseNotFoundError | RecordError:
        try:
            return read_job(fs, case).parameters
        except (CaseNotFoundError, RecordError) as exc:
            return exc

    others = [case for case in names if case not in known]
    done(len(names) - len(others))
    answers: dict[str, dict[str, Any] | CaseNotFoundError | RecordError] = {**known}
    answers |= zip(others, parallel_map(read, others, done), strict=True)
    ordered = [(case, answers[case]) for case in names]
    return Parameters(
        {case: answer for case, answer in ordered if isinstance(answer, dict)},
        {case: answer for case, answer in ordered if not isinstance(answer, dict)},
    )
