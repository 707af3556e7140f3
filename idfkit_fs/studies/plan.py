"""A case to run, and where its run may exist already. Nothing here does I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Planned", "Source"]


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
