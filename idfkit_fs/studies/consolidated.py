"""The object that has what many jobs and outcomes say, so that one request reads all of them.

It is derived. Nothing in it is believed unless the listings show an object of this name and this version.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.bounds import CONSOLIDATED_BYTES, CONSOLIDATED_ROW_BYTES, CONSOLIDATED_ROW_VALUES
from idfkit_fs._util.messages import redact
from idfkit_fs.errors import NotFoundError, PermissionDeniedError, RecordError
from idfkit_fs.studies.display import one_line
from idfkit_fs.studies.job import Job, Outcome, Summary
from idfkit_fs.studies.layout import CONSOLIDATED_OUTCOMES
from idfkit_fs.studies.listing import Listing
from idfkit_fs.studies.packed import can_pack, pack, read_packed

__all__ = ["Consolidated", "Told", "damage_of_consolidated", "pays", "read_consolidated"]

logger = logging.getLogger(__name__)

_COLUMNS = ("object", "version", "content")
# So many objects are read in the time that one more object takes to write; and to read one takes as much time of the
# processor as to write so many rows.
_AT_LEAST, _SHARE = 100, 100


class Told(BaseModel):
    """What a job or an outcome says that a table of the study needs.

    Attributes:
        parameters: The parameters of the case.
        summary: The summary that the case's worker wrote; None in a job.
        runtime_seconds: Wall-clock time of EnergyPlus (s).
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    summary: Summary | None = None
    runtime_seconds: float | None = None

    @classmethod
    def by(cls, source: Job | Outcome) -> Self:
        """What a job or an outcome says."""
        if isinstance(source, Job):
            return cls.model_construct(parameters=source.parameters)
        return cls.model_construct(
            parameters=source.parameters, summary=source.summary, runtime_seconds=source.record.runtime_seconds
        )


_LIST = TypeAdapter(list[Told])


@dataclass
class Consolidated:
    """What is known of the jobs and outcomes of a study without reading them.

    Attributes:
        fs: The study.
        listing: Its listings.
        contents: What each says as JSON, by its path; only of those that the listings show unchanged.
        is_damaged: Whether there is a consolidated object that cannot be used.
        is_newer: Whether it is of a newer release, which can use it.
        rows: How many rows it has, with those that the listings do not show.
    """

    fs: FsspecFileSystem
    listing: Listing
    contents: dict[str, str] = field(default_factory=dict)
    is_damaged: bool = False
    is_newer: bool = False
    rows: int = 0

    def told(self, cases: Collection[str]) -> dict[str, Told]:
        """What is known of some cases; those of which nothing is known are left out."""
        try:
            return self.parse(cases)
        except RecordError as exc:
            self.ignore(exc)
            return {}

    def parse(self, cases: Collection[str]) -> dict[str, Told]:
        """As told().

        Raises:
            RecordError: If it is something else.
        """
        texts = {case: self.contents.get(self.listing.told_by(case) or "") for case in cases}
        known = {case: text for case, text in texts.items() if text is not None}
        text = f"[{','.join(known.values())}]"
        try:
            if not _is_bounded(text, len(known)):
                raise ValueError("its rows are too large")
            return dict(zip(known, _LIST.validate_json(text), strict=True))
        except ValueError as exc:
            raise RecordError(f"{redact(self.fs.url(CONSOLIDATED_OUTCOMES))} is damaged: {exc}") from exc

    def ignore(self, why: RecordError) -> None:
        """Go on as if there were no such object."""
        self.contents, self.is_damaged, self.is_newer = {}, not why.is_newer, why.is_newer
        level = logging.INFO if why.is_newer else logging.WARNING
        logger.log(level, "Reading jobs and outcomes one by one, not consolidated: %s", one_line(why))

    def is_worth_writing(self, read: int) -> bool:
        """Whether so many jobs and outcomes had to be read that consolidating pays."""
        wanted = self.is_damaged or pays(read, len(self.listing.cases))
        return wanted and can_pack() and not self.is_newer

    def write(self, told: Mapping[str, Told]) -> int:
        """Replace the consolidated object.

        Args:
            told: What cases say that were read.

        Returns:
            Of how many cases it has what they say. It has nothing of those of which the store tells no version, and of
            those that say so much that they are better read by themselves.

        Raises:
            StoreError: If the store failed, refused access, or did not answer.
        """
        versions = self.listing.versions
        paths = {*self.contents}
        for case, each in told.items():
            text, path = each.model_dump_json(exclude_defaults=True), self.listing.told_by(case)
            if path is not None and path in versions and _is_bounded(text, 1):
                self.contents[path] = text
        if self.is_damaged or len(paths) != self.rows or {*self.contents} != paths:
            kept = sorted(self.contents)
            columns = kept, [versions[path] for path in kept], [self.contents[path] for path in kept]
            data = pack(dict(zip(_COLUMNS, columns, strict=True)))
            if len(data) <= CONSOLIDATED_BYTES:
                self.fs.write_bytes(CONSOLIDATED_OUTCOMES, data)
        return len(self.contents)


def pays(read: int, cases: int) -> bool:
    """Whether so many jobs and outcomes, of so many cases, had to be read that consolidating pays."""
    return read > _AT_LEAST + cases // _SHARE


def _is_bounded(text: str, rows: int) -> bool:
    values = sum(map(text.count, ",[{"))
    return len(text) <= CONSOLIDATED_ROW_BYTES * (rows + 1) and values <= CONSOLIDATED_ROW_VALUES * (rows + 1)


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
    found = Consolidated(fs, listing)
    if can_pack():
        try:
            return _read(fs, listing)
        except (NotFoundError, PermissionDeniedError):
            pass
        except RecordError as exc:
            found.ignore(exc)
    return found


def _read(fs: FsspecFileSystem, listing: Listing) -> Consolidated:
    found = Consolidated(fs, listing)
    paths, versions, contents = read_packed(fs, CONSOLIDATED_OUTCOMES, _COLUMNS)
    wanted = {listing.told_by(case) for case in listing.cases}
    listed = listing.versions
    found.rows = len(paths)
    found.contents = {
        path: content
        for path, version, content in zip(paths, versions, contents, strict=True)
        if path in wanted and listed.get(path) == version
    }
    return found


def damage_of_consolidated(fs: FsspecFileSystem, listing: Listing) -> str | None:
    """Why the consolidated object cannot be used; None if it can be, or is missing."""
    try:
        found = _read(fs, listing)
        found.parse(listing.cases)
    except NotFoundError:
        return None
    except RecordError as exc:
        return None if exc.is_newer else one_line(exc)
    return None
