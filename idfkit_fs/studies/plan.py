"""Which cases ask for the same run, and where that run may exist already. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from idfkit_fs.studies.layout import short_key

__all__ = ["Group", "Planned", "Source", "make_plan"]


@dataclass(frozen=True)
class Source:
    """A run that a case may be copied from.

    Attributes:
        url: The run's URL.
        storage_options: The storage options for the URL; they may contain secrets.
    """

    url: str
    storage_options: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Planned:
    """A case to run.

    Attributes:
        case: The case's name.
        source: A run that may be copied instead; None to simulate.
        retry_failed: Whether to run the case again if it failed before.
    """

    case: str
    source: Source | None = None
    retry_failed: bool = False


Group = Sequence[Planned]
"""Cases that ask for the same run: one of them is simulated, and the others are copied from it."""


def make_plan(keys: Mapping[str, str], failed: Collection[str], sources: Mapping[str, Source]) -> list[Group]:
    """Group cases that ask for the same run.

    Args:
        keys: The hash of each case's job.
        failed: The cases that failed before.
        sources: Runs that exist already, by the beginnings of their jobs' hashes.

    Returns:
        The groups, in the order of the cases.

    Examples:
        >>> plan = make_plan({"a": "1", "b": "2", "c": "1"}, failed=["b"], sources={})
        >>> [[planned.case for planned in group] for group in plan]
        [['a', 'c'], ['b']]
    """
    groups: dict[str, list[Planned]] = {}
    for case, key in keys.items():
        groups.setdefault(key, []).append(Planned(case, sources.get(short_key(key)), case in failed))
    return list(groups.values())
