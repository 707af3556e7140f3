"""A root that a test may write below, and the storage options that reach it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Place:
    """A URL that is still free, and the options that reach it."""

    url: str
    options: dict[str, Any] = field(default_factory=dict)

    def joinpath(self, path: str) -> Place:
        return Place(f"{self.url}/{path}", self.options)
