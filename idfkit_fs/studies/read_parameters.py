"""Read the parameters of many cases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs.errors import CaseNotFoundError, RecordError
from idfkit_fs.studies.consolidated import read_consolidated
from idfkit_fs.studies.listing import Listing
from idfkit_fs.studies.stored import read_job

__all__ = ["read_parameters"]


def read_parameters(fs: FsspecFileSystem, listing: Listing, cases: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read the parameters of cases: from the consolidated outcomes where they are current, else from the jobs.

    Args:
        fs: The study.
        listing: Its listings.
        cases: Names of cases.

    Returns:
        The parameters, by case. A case whose job cannot be read, or was removed meanwhile, is left out.

    Raises:
        StoreError: If the store failed, refused access, or did not answer.
    """
    names = [*cases]
    told = read_consolidated(fs, listing).told(names)

    def read(case: str) -> dict[str, Any] | None:
        try:
            return read_job(fs, case).parameters
        except (CaseNotFoundError, RecordError):
            return None

    others = [case for case in names if case not in told]
    found = {case: each.parameters for case, each in told.items()}
    found |= {
        case: of_job for case, of_job in zip(others, parallel_map(read, others), strict=True) if of_job is not None
    }
    return {case: found[case] for case in names if case in found}
