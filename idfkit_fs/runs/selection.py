"""Choose the files of a run to publish, by their names. No I/O."""

from __future__ import annotations

import glob
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from idfkit_fs._fs.globbing import matching
from idfkit_fs.runs.draft import DRAFT_NAME
from idfkit_fs.runs.record import INPUT_FILES, RECORD_NAME

__all__ = ["Selection", "check_patterns"]

_BOOKKEEPING = frozenset({RECORD_NAME, DRAFT_NAME, "_cache_meta.json"})
_INPUTS = ("*.epw", "*.stat", "*.idd", "Energy+.ini", "in.epJSON", "in.idf", "model.idf")


def check_patterns(include: Sequence[str] | None, exclude: Sequence[str]) -> None:
    """Check the glob patterns that choose files.

    Args:
        include: Glob patterns, or None.
        exclude: Glob patterns.

    Raises:
        TypeError: If either is a single string.
        LocationError: If a pattern is invalid.
    """
    for patterns in (include, exclude):
        if isinstance(patterns, str):
            raise TypeError(f"include and exclude take a sequence of patterns, such as [{patterns!r}]")
    matching((), [*(include or ()), *exclude])


class Selection(NamedTuple):
    """Which files of a run to publish.

    Attributes:
        include: Glob patterns of the files to publish; None for all except the inputs (weather file, model).
        exclude: Glob patterns of files to leave out.
        sidecars: Whether to write new sidecars.
    """

    include: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    sidecars: bool = True

    def choose(self, names: Iterable[str], inputs: Collection[str] = ()) -> list[str]:
        """Choose the files to publish.

        Args:
            names: Paths of files, relative to the run's directory.
            inputs: Those of them that the run read. They are never published, nor is what Python compiles beside them.

        Returns:
            The chosen names, sorted. The record and other files of this package's own are never among them.

        Examples:
            >>> Selection(exclude=["*.eso"]).choose(["eplus.sql", "eplus.eso", "in.idf", "run.json"])
            ['eplus.sql']
        """
        candidates = {*names} - _BOOKKEEPING - {*inputs}
        candidates = {name for name in candidates if not name.startswith(f"{INPUT_FILES}/")}
        if self.include is None:
            chosen = candidates - matching(candidates, _INPUTS)
        else:
            chosen = matching(candidates, self.include)
        return sorted(chosen - matching(chosen, self.exclude))

    def of_record(self, names: Iterable[str]) -> list[str]:
        """Choose from the files that a record lists, among which the inputs were published on purpose.

        Examples:
            >>> Selection().of_record(["eplus.sql", "model.idf"])
            ['eplus.sql', 'model.idf']
        """
        names = [*names]
        chosen = self if self.include is not None else self._replace(include=[glob.escape(name) for name in names])
        return chosen.choose(names)
