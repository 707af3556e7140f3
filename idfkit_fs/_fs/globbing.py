"""Glob patterns by pathlib's rules. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from fsspec.utils import glob_translate

from idfkit_fs._util.urls import is_url
from idfkit_fs.errors import LocationError

__all__ = ["GlobPattern", "matching", "parse_glob"]


class GlobPattern(NamedTuple):
    """A parsed glob pattern.

    Attributes:
        segments: The pattern's segments.
        below: The first ones, which have no wildcard: a listing can begin below them.
        expression: The pattern as a regular expression.
    """

    segments: tuple[str, ...]
    below: tuple[str, ...]
    expression: re.Pattern[str]

    @property
    def recursive(self) -> bool:
        """Whether the pattern can match below the first level of that listing."""
        return len(self.segments) > len(self.below) + 1 or self.segments[-1] == "**"

    def matches(self, path: str) -> bool:
        """Whether a path, relative to the directory that is searched, matches the pattern."""
        return self.expression.fullmatch(path) is not None


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
    # Stars that are not a whole segment mean one star (pathlib, Python 3.13); fsspec would refuse them.
    segments = tuple(part if part == "**" else re.sub(r"\*+", "*", part) for part in segments)
    literal = next(
        (index for index, segment in enumerate(segments[:-1]) if re.search(r"[*?\[]", segment)), len(segments) - 1
    )
    return GlobPattern(segments, segments[:literal], re.compile(glob_translate("/".join(segments))))


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
