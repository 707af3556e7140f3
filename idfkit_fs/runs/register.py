"""The register of a run, ``run.json``: it says who writes the run's files, and, in the end, which run is complete.

It has three states. It is missing; it is a *claim*: a publisher writes the files, or was killed meanwhile; or it
is a *record*: the run is complete. Each change is made on condition that the register is still as it was read, so of
several publishers one goes on, and the others know. One that takes a claim over cannot know whether its publisher
still lives, and writes into a directory of its own; no publisher ever writes where another may be writing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.messages import redact
from idfkit_fs._util.versioned_json import READ_AT_MOST, VersionedJson
from idfkit_fs.errors import BucketNotFoundError, PermissionDeniedError, RecordError
from idfkit_fs.runs.record import RECORD_NAME, Generation, RunDirectory, RunId, RunPath, RunRecord, Sha256

__all__ = [
    "Claim",
    "Register",
    "Removal",
    "begin_removal",
    "drop_claim",
    "read_record",
    "read_register",
    "remove_claim",
    "remove_run",
]

# The job of a claim under which a study removes what is not a run of its cases: it shows that the claim is not that of
# another client's run.
_NO_JOB = "0" * 64


class Claim(VersionedJson):
    """The claim of a publisher: the URL has no complete run.

    Attributes:
        id: The id of the run that is being published.
        job: As in the run's record.
        attempt: Unique to this claim.
        directory: The directory of its files; empty for the run's own.
        contested: Whether an earlier publisher may still be writing into the run's own directory.
        generation: How many records have been written at this URL.
        files: The files that are being written, and what is left of earlier publications, from the run's URL on.
    """

    kind: ClassVar[str] = "the claim of a publisher"

    format: str = "idfkit-fs claim"
    id: RunId
    job: Sha256 | None = None
    attempt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] = Field(default_factory=lambda: uuid.uuid4().hex)
    directory: RunDirectory = ""
    contested: bool = False
    generation: Generation = 0
    files: tuple[RunPath, ...] = ()

    @property
    def own_files(self) -> set[str]:
        """The files that only the publisher of this claim writes; where it is contested, not those of others."""
        below = f"{self.directory}/"
        return {name for name in self.files if not self.contested or (self.directory and name.startswith(below))}


@dataclass(frozen=True)
class Register:
    """What ``run.json`` was when it was read.

    Attributes:
        tag: What distinguishes this version from every other; None if it was missing.
        record: The record, if it was one.
        claim: The claim, if it was one.
        damaged: Why it is neither.
        is_hidden: Whether it is unknown if it exists: the store hides missing files from a login that may not list.
    """

    tag: str | None = None
    record: RunRecord | None = None
    claim: Claim | None = None
    damaged: RecordError | None = None
    is_hidden: bool = False

    @property
    def files(self) -> set[str]:
        """All files that may exist because of it, from the run's URL on."""
        if self.record is not None:
            return self.record.paths
        return {*(self.claim.files if self.claim else ())}

    def claimed_by(self, run_id: str, job: str | None, names: set[str], *, in_place: bool = False) -> Claim:
        """The claim of a publisher that takes over from here.

        Args:
            run_id: The id of its run.
            job: The hash of the job that the run is the result of.
            names: The names of its files within the run.
            in_place: Whether the files are in the run's own directory already.
        """
        state = self.record or self.claim
        contested = state is not None and state.contested
        if self.claim is not None and self.claim.id != run_id:
            contested = True  # it is unknown whether that publisher lives
        attempt = uuid.uuid4().hex
        directory = f"_run-{attempt[:12]}" if contested and not in_place else ""
        own = {f"{directory}/{name}" if directory else name for name in names}
        return Claim(
            id=run_id,
            job=job,
            attempt=attempt,
            directory=directory,
            contested=contested,
            generation=state.generation if state else 0,
            files=tuple(sorted(own | self.files)),
        )


def read_register(fs: FsspecFileSystem) -> Register:
    """Read the register of the run at a filesystem's root.

    Raises:
        RecordError: If it is of a newer format.
        BucketNotFoundError: If the bucket does not exist.
        StoreError: If the store failed, refused access, or did not answer.
    """
    try:
        found = fs.read_tagged(RECORD_NAME)
    except PermissionDeniedError as exc:
        if not exc.may_be_missing:
            raise
        return Register(is_hidden=True)
    if found is None:
        return Register()
    data, tag = found
    try:
        content = _parse(data, redact(fs.url(RECORD_NAME)))
    except RecordError as exc:
        if exc.is_newer:  # a whole run, perhaps, which must not be replaced as a damaged one
            raise
        return Register(tag, damaged=exc)
    return Register(tag, record=content) if isinstance(content, RunRecord) else Register(tag, claim=content)


def _parse(data: bytes, url: str) -> RunRecord | Claim:
    """Parse ``run.json``.

    Raises:
        RecordError: If it is neither a record nor a claim, damaged, unsafe, or of a newer format.
    """
    try:
        return RunRecord.from_json(data, url)
    except RecordError as exc:
        try:
            return Claim.from_json(data, url)
        except RecordError as other:
            raise (other if other.is_newer else exc) from None


def read_record(fs: FsspecFileSystem) -> RunRecord | None:
    """Read the record of the run at a filesystem's root.

    Args:
        fs: The filesystem.

    Returns:
        The record that the store has now, never a local copy; None if it has none.

    Raises:
        RecordError: If the record is damaged, unsafe, or of a newer format.
        BucketNotFoundError: If the bucket does not exist.
        StoreError: If the store failed, refused access, or did not answer.
    """
    try:
        data = fs.fetch_start(RECORD_NAME, READ_AT_MOST)
    except BucketNotFoundError:
        raise
    except FileNotFoundError:
        return None
    content = _parse(data, redact(fs.url(RECORD_NAME)))
    return content if isinstance(content, RunRecord) else None


@dataclass(frozen=True)
class Removal:
    """A run that is being removed: its register is a claim, so no client writes among its files.

    Attributes:
        fs: A filesystem with the run's URL as its root.
        claim: The claim, with its tag; None if there is nothing to remove.
    """

    fs: FsspecFileSystem
    claim: tuple[Claim, str] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The files to remove."""
        return self.claim[0].files if self.claim else ()

    def finish(self) -> None:
        """Give the claim up, when the files have been removed."""
        if self.claim:
            _give_up(self.fs, *self.claim)


def begin_removal(fs: FsspecFileSystem, register: Register, others: Iterable[str] = ()) -> Removal | None:
    """Begin to remove a complete run, by a claim, so that its files are not those of a new run when they are removed.

    Args:
        fs: A filesystem with the run's URL as its root.
        register: The register as it was read. A claim of another client is left alone.
        others: Other files at the run's URL to remove.

    Returns:
        The removal: remove its files, then finish it. None if another client has changed the register meanwhile.
    """
    others = {*others} - {RECORD_NAME}
    if register.claim is not None or (register.tag is None and not others):
        return Removal(fs)
    job = register.record.job if register.record else None
    claim = register.claimed_by(uuid.uuid4().hex, job or _NO_JOB, set())
    claim = claim.model_copy(update={"files": tuple(sorted(others.union(claim.files)))})
    tag = fs.swap(RECORD_NAME, claim.to_json(), register.tag)
    return None if tag is None else Removal(fs, (claim, tag))


def remove_run(fs: FsspecFileSystem, register: Register) -> bool:
    """Remove a complete run; see [begin_removal][idfkit_fs.runs.register.begin_removal].

    Returns:
        Whether the run is gone; False if another client has changed the register meanwhile.
    """
    removal = begin_removal(fs, register)
    if removal is None:
        return False
    fs.remove_if_exists(removal.files)
    removal.finish()
    return True


def remove_claim(fs: FsspecFileSystem, register: Register) -> None:
    """Remove a claim with all its files, when it is certain that no client is writing them."""
    if register.claim is not None and register.tag is not None and fs.remove_tagged(RECORD_NAME, register.tag):
        fs.remove_if_exists(register.claim.files)


def drop_claim(fs: FsspecFileSystem, claim: Claim, tag: str) -> None:
    """Give a claim up, with its files. A contested one stays: it says that another client may still be writing."""
    fs.remove_if_exists(claim.own_files)
    _give_up(fs, claim, tag)


def _give_up(fs: FsspecFileSystem, claim: Claim, tag: str) -> None:
    if not claim.contested:
        fs.remove_tagged(RECORD_NAME, tag)
        return
    left = tuple(name for name in claim.files if name not in claim.own_files)
    fs.swap(RECORD_NAME, claim.model_copy(update={"attempt": uuid.uuid4().hex, "files": left}).to_json(), tag)
