"""Read the parameters of many cases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs.errors import CaseNotFoundError, RecordError
from idfkit_fs.studies.listing import Listing
from idfkit_fs.studies.stored import read_job

__all__ = ["read_parameters"]


def read_parameters(
    fs: FsspecFileSystem,
    listing: Listing,  # noqa: ARG001 - says which parts of the consolidated object are current
    cases: Iterable[str],
) -> dict[str, dict[str, Any]]:
    """Read the parameters of cases.

    Args:
        fs: The study.
        listing: Its listings.
        cases: Names of cases.

    Returns:
        The parameters, by case. A case whose job cannot be read, or was removed meanwhile, is left out.

    Raises:
        StoreError: If the store failed, refused access, or did not answer.
    """

    def read(case: str) -> dict[str, Any] | None:
        try:
            return read_job(fs, case).parameters
        except (CaseNotFoundError, RecordError):
            return None

    names = [*cases]
    found = zip(names, parallel_map(read, names), strict=True)
    return {case: parameters for case, parameters in found if parameters is not None}
