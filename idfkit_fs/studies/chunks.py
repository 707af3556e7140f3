"""How many cases a chunk of a dataset has. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

__all__ = ["Chunks", "cases_per_chunk", "check_chunks"]

Chunks = int | Literal["auto"] | Mapping[str, int | Literal["auto"]]
"""The number of cases in a chunk, -1 for all of them, ``"auto"``, or ``{"case": ...}`` with one of these."""

# In memory. Each thread of Dask's holds a few chunks, and a reduction has to stay far below a gigabyte.
_AUTO = 8 * 2**20


def check_chunks(chunks: Chunks) -> int | Literal["auto"]:
    """Check what was asked for, before anything is read.

    Returns:
        The number of cases in a chunk, -1 for all, or ``"auto"``.

    Raises:
        ValueError: If it is anything else, or another dimension than ``case``.

    Examples:
        >>> check_chunks({"case": 10}), check_chunks({})
        (10, 'auto')
    """
    asked: object = chunks
    if isinstance(chunks, Mapping):
        other = [name for name in chunks if name != "case"]
        if other:
            raise ValueError(
                f"chunks cannot divide the dimension {other[0]!r}: a chunk is one or more whole cases, such as "
                '{"case": 10}; divide it with Dataset.chunk() afterwards'
            )
        asked = chunks.get("case", "auto")
    if asked == "auto":
        return "auto"
    if isinstance(asked, int) and not isinstance(asked, bool) and (asked == -1 or asked > 0):
        return asked
    raise ValueError(f'chunks must be a number of cases, -1, "auto" or {{"case": ...}}, not {chunks!r}')


def cases_per_chunk(asked: int | Literal["auto"], cases: int, case_bytes: int) -> int:
    """How many cases each chunk has.

    Args:
        asked: What [check_chunks][idfkit_fs.studies.chunks.check_chunks] returned.
        cases: How many cases there are.
        case_bytes: How many bytes the largest variable takes for each case.

    Examples:
        >>> cases_per_chunk("auto", 1000, 8760 * 8), cases_per_chunk(-1, 1000, 8760 * 8)
        (119, 1000)
    """
    if asked == "auto":
        return min(cases, max(1, _AUTO // max(1, case_bytes)))
    return cases if asked == -1 else min(cases, asked)
