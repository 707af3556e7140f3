"""The object that has what many jobs and outcomes say, so that one request reads all of them.

It is derived. Nothing in it is believed unless the listings show an object of this name and this version.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import Field, model_validator

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs.errors import NotFoundError, PermissionDeniedError, RecordError
from idfkit_fs.studies.columns import Columns
from idfkit_fs.studies.display import one_line
from idfkit_fs.studies.layout import CONSOLIDATED_OUTCOMES
from idfkit_fs.studies.listing import Listing
from idfkit_fs.studies.packed import pack, read_packed

__all__ = ["Consolidated", "damage_of_consolidated", "pays", "read_consolidated"]

logger = logging.getLogger(__name__)

# So many objects are read in the time that one more object takes to write; and to read one takes as much time of the
# processor as to write so many rows.
_AT_LEAST, _SHARE = 100, 100


class _Stored(Columns):
    """The columns as they are stored.

    Attributes:
        objects: The path of the outcome that each row is of, or, of a pending case, of its job.
        versions: What the store said of each.
    """

    objects: list[str] = Field(default_factory=list)
    versions: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.lengths() | {len(self.versions)} != {len(self.objects)}:
            raise ValueError("its columns have different lengths")
        return self


@dataclass
class Consolidated:
    """What is known of the jobs and outcomes of a study without reading them.

    Attributes:
        fs: The study.
        listing: Its listings.
        columns: What they say.
        numbers: The row of each case whose job or outcome the listings show unchanged.
        is_damaged: Whether there is a consolidated object that cannot be used.
        is_newer: Whether it is of a newer release, which can use it.
    """

    fs: FsspecFileSystem
    listing: Listing
    columns: Columns = field(default_factory=Columns)
    numbers: dict[str, int] = field(default_factory=dict)
    is_damaged: bool = False
    is_newer: bool = False

    @property
    def is_stale(self) -> bool:
        """Whether it has rows that the listings do not show."""
        return len(self.numbers) < len(self.columns.messages)

    def parameters(self, cases: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The parameters of some cases; those of which nothing is known are left out."""
        return {case: self.columns.parameters[self.numbers[case]] for case in cases if case in self.numbers}

    def is_worth_writing(self, read: int) -> bool:
        """Whether so many jobs and outcomes had to be read that consolidating pays."""
        return (self.is_damaged or pays(read, len(self.listing.cases))) and not self.is_newer

    def write(self, cases: Sequence[str], columns: Columns) -> None:
        """Replace the consolidated object, unless it would be larger than readers accept.

        Args:
            cases: The cases to keep; those of which the store reports no version are left out.
            columns: What is known of them.

        Raises:
            StoreError: If the store failed, refused access, or did not answer.
        """
        listed = self.listing.versions
        paths = {number: self.listing.told_by(case) or "" for number, case in enumerate(cases)}
        kept = sorted((number for number, path in paths.items() if path in listed), key=paths.__getitem__)
        objects = [paths[number] for number in kept]
        versions = [listed[path] for path in objects]
        data = pack(_Stored.model_construct(objects=objects, versions=versions, **vars(columns.take(kept))))
        if data is not None:
            self.fs.write_bytes(CONSOLIDATED_OUTCOMES, data)


def pays(read: int, cases: int) -> bool:
    """Whether so many jobs and outcomes, of so many cases, had to be read that consolidating pays."""
    return read > _AT_LEAST + cases // _SHARE


def read_consolidated(fs: FsspecFileSystem, listing: Listing) -> Consolidated:
    """Read what is known of the jobs and outcomes of a study.

    Args:
        fs: The study.
        listing: Its listings.

    Returns:
        What is known: nothing if there is no consolidated object, or none that can be used.

    Raises:
        ConnectionError: If the store does not answer.
    """
    try:
        stored = read_packed(fs, CONSOLIDATED_OUTCOMES, _Stored)
    except (NotFoundError, PermissionDeniedError):
        return Consolidated(fs, listing)
    except RecordError as exc:
        level = logging.INFO if exc.is_newer else logging.WARNING
        logger.log(level, "Reading jobs and outcomes one by one, not consolidated: %s", one_line(exc))
        return Consolidated(fs, listing, is_damaged=not exc.is_newer, is_newer=exc.is_newer)
    listed = listing.versions
    unchanged = {
        path: number
        for number, (path, version) in enumerate(zip(stored.objects, stored.versions, strict=True))
        if listed.get(path) == version
    }
    told_by = ((case, listing.told_by(case)) for case in listing.cases)
    return Consolidated(fs, listing, stored, {case: unchanged[path] for case, path in told_by if path in unchanged})


def damage_of_consolidated(fs: FsspecFileSystem) -> str | None:
    """Why the consolidated object cannot be used; None if it can be, or is missing."""
    try:
        read_packed(fs, CONSOLIDATED_OUTCOMES, _Stored)
    except NotFoundError:
        return None
    except RecordError as exc:
        return None if exc.is_newer else one_line(exc)
    return None
