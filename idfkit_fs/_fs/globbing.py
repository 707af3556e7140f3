"""Glob patterns by pathlib's rules. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

from idfkit_fs._util.urls import is_url
from idfkit_fs.errors import LocationError

__all__ = ["GlobPattern", "matching", "parse_glob"]


class GlobPattern(NamedTuple):
    """A parsed glob pattern.

    Attributes:
        segments: The pattern's segments.
        below: Those that lead it and have no wildcard: where a listing can begin.
    """

    segments: tuple[str, ...]
    below: tuple[str, ...]

    @property
    def recursive(self) -> bool:
        """Whether the pattern can match below the first level of that listing."""
        return len(self.segments) > len(self.below) + 1 or self.segments[-1] == "**"

    def matches(self, path: str) -> bool:
        """Whether a path, relative to the directory that is searched, fits the pattern."""
        return _fits(self.segments, tuple(path.split("/")))


def _fits(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if not pattern or not path:
        return not pattern and not path
    head, rest = pattern[0], pattern[1:]
    if head == "**":
        return not rest or any(_fits(rest, path[skipped:]) for skipped in range(len(path)))
    return fnmatchcase(path[0], head) and _fits(rest, path[1:])


@lru_cache(maxsize=256)
def parse_glob(pattern: str) -> GlobPattern:
    """Parse a glob pattern by ``pathlib``'s rules.

    ``*``, ``?`` and ``[...]`` stay within a segment; a segment ``**`` stands for any number of them, none included.

    Args:
        pattern: The pattern, relative to the directory that is searched.

    Returns:
        The parsed pattern.

    Raises:
        LocationError: If the pattern is empty, absolute, a URL, or has a ``..`` segment.

    Examples:
        >>> parse_glob("zones/*.csv").matches("zones/core.csv"), parse_glob("**/*.csv").matches("zones/core.csv")
        (True, True)
    """
    text = pattern.replace("\\", "/")
    segments = tuple(segment for segment in text.split("/") if segment not in ("", "."))
    if not segments or text.startswith("/") or ".." in segments or is_url(text):
        raise LocationError(f"a glob pattern must be relative, without '..', and not empty; got {pattern!r}")
    literal = next(
        (index for index, segment in enumerate(segments[:-1]) if re.search(r"[*?\[]", segment)), len(segments) - 1
    )
    return GlobPattern(segments, segments[:literal])


def matching(names: Iterable[str], patterns: Sequence[str]) -> set[str]:
    """The names that match one of some glob patterns.

    Raises:
        LocationError: As [parse_glob][idfkit_fs._fs.globbing.parse_glob].

    Examples:
        >>> sorted(matching(["eplus.sql", "eplus.err", "zones/core.csv"], ["*.sql", "zones/*"]))
        ['eplus.sql', 'zones/core.csv']
    """
    parsed = [parse_glob(pattern) for pattern in patterns]
    return {name for name in names if any(pattern.matches(name) for pattern in parsed)}
