"""The errors of idfkit-fs.

Each class is an [IdfkitFsError][idfkit_fs.errors.IdfkitFsError] and the built-in exception that Python programs already
catch, so ``except FileNotFoundError`` and ``except IdfkitFsError`` both work, whichever store answered.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar, Self

from idfkit_fs._util.messages import redact

__all__ = [
    "ArchivedError",
    "BucketNotFoundError",
    "CacheDirectoryError",
    "CacheUnusableError",
    "CaseExistsError",
    "CaseNotFoundError",
    "DamagedRunError",
    "ExistsError",
    "IdfkitFsError",
    "IncompleteRunError",
    "InterruptedTransferError",
    "IsDirectoryError",
    "LocationError",
    "MachineError",
    "MissingExtraError",
    "ModelError",
    "NotFoundError",
    "NotReportedError",
    "PermissionDeniedError",
    "PublishError",
    "RecordError",
    "RunExistsError",
    "RunNotFoundError",
    "SidecarError",
    "StorageOptionsError",
    "StoreError",
    "StoreFullError",
    "StudyNotFoundError",
    "UnfinishedRunError",
    "UnreachableError",
    "UnreadableDatabaseError",
    "UnsupportedError",
]


class IdfkitFsError(Exception):
    """Base class of every error that idfkit-fs raises on purpose."""


class LocationError(IdfkitFsError, ValueError):
    """A path or URL that cannot belong to the filesystem's root; raised before any I/O."""


class StorageOptionsError(IdfkitFsError, TypeError):
    """A storage option that the filesystem does not know, and would have ignored."""


class MissingExtraError(IdfkitFsError, ImportError):
    """A package that the URL's protocol needs is not installed; the message says what to install."""


class StoreError(IdfkitFsError, OSError):
    """The store refused or failed in a way that no narrower class describes.

    Attributes:
        number: The ``errno`` of the class.
        text: What the class says unless a caller gives more.
    """

    number: ClassVar[int] = errno.EIO
    text: ClassVar[str] = "The store failed"

    @classmethod
    def for_url(cls, url: str, text: str | None = None) -> Self:
        """The error about a URL.

        Args:
            url: The URL; passwords and signatures in it are not shown. It becomes ``filename``.
            text: What is wrong and what to do; the class's own text unless given. It becomes ``strerror``.

        Returns:
            The exception to raise.
        """
        return cls(cls.number, cls.text if text is None else text, redact(url))


class NotFoundError(StoreError, FileNotFoundError):
    """The file, or the bucket it should be in, does not exist."""

    number = errno.ENOENT
    text = "No such file"


class BucketNotFoundError(NotFoundError):
    """The bucket or container itself does not exist."""


class PermissionDeniedError(StoreError, PermissionError):
    """The store refused the credentials, or they do not allow the operation.

    Attributes:
        may_be_missing: Whether the file may just not exist: to a login that may not list, S3 and Google Cloud Storage
            say the same of a missing file.
    """

    number = errno.EACCES
    text = "The store refused access"
    may_be_missing: bool = False


class UnreachableError(StoreError, ConnectionError):
    """The store did not answer, or said that it cannot serve now (HTTP 429, 5xx).

    Attributes:
        permanent: Whether the same request can never succeed, as with a certificate that is not trusted or a host name
            that does not exist; it is not repeated then.
    """

    number = errno.ECONNREFUSED
    text = "The store did not answer"
    permanent: bool = False


class InterruptedTransferError(UnreachableError):
    """The connection broke while a file was being transferred."""

    number = errno.ECONNRESET
    text = "The connection broke during the transfer"


class ArchivedError(StoreError):
    """The file is in an archive tier (S3 Glacier, Azure archive), and must be restored before it can be read."""

    number = errno.ENODATA
    text = "The file is archived; restore it, then try again"


class StoreFullError(StoreError):
    """The store has no room left, or its quota is used up."""

    number = errno.EDQUOT
    text = "The store is full; remove files, or have the quota raised"


class MachineError(StoreError):
    """This machine failed, not the store: its disk is full or read-only, or the process has too many open files."""

    number = errno.ENOSPC
    text = "This machine failed, not the store"


class ExistsError(StoreError, FileExistsError):
    """A file or directory exists where none should."""

    number = errno.EEXIST
    text = "A file or directory already exists"


class IsDirectoryError(StoreError, IsADirectoryError):
    """The path is a directory, and a file was asked for."""

    number = errno.EISDIR
    text = "This is a directory, not a file"


class UnsupportedError(StoreError, NotImplementedError):
    """The backend cannot do this at all, such as write into an archive."""

    number = errno.ENOTSUP
    text = "The backend does not support this operation"


class RunNotFoundError(NotFoundError):
    """There is no record of a run at the URL."""

    text = "There is no run here; check the URL"


class RunExistsError(ExistsError):
    """A complete run already exists at the URL, and ``overwrite=True`` was not given."""

    text = "A run already exists; pass overwrite=True to replace it"


class UnfinishedRunError(StoreError):
    """The outputs of a run are cut: EnergyPlus was killed, the disk was full, or it is still running."""

    text = "This run is unfinished; run it again"


class RecordError(IdfkitFsError, ValueError):
    """A ``run.json`` or another JSON object that cannot be used: invalid, unsafe, or of a newer format.

    Attributes:
        is_newer: Whether a newer idfkit-fs wrote it, which can use it.
    """

    is_newer: bool = False


class DamagedRunError(StoreError):
    """A file of a run differs in size or hash from what the run's record says."""

    text = (
        "The file differs from the run's record; another run may have been published over it: "
        "open the result again, or run it again"
    )

    @classmethod
    def for_size(cls, url: str, size: int | None, expected: int | None) -> Self:
        """The error about a file, with its size in bytes and the recorded one where they are known and differ."""
        sizes = "" if size in (None, expected) else f" ({size} bytes instead of {expected})"
        return cls.for_url(url, cls.text.replace("record;", f"record{sizes};", 1))


class CacheDirectoryError(IdfkitFsError, PermissionError):
    """A cache directory that another user could change: it is refused, not used."""


class CacheUnusableError(IdfkitFsError, OSError):
    """The local cache cannot keep a copy: the disk is full or read-only, or the file changes during the download."""


class StudyNotFoundError(NotFoundError):
    """There is no study at the URL."""

    text = "There is no study here; check the URL, or add a case to start one"


class CaseNotFoundError(NotFoundError, KeyError):
    """The study has no case of that name."""


class CaseExistsError(ExistsError):
    """The study has another case of that name, or a run that it did not make, and ``overwrite=True`` was not given."""

    @classmethod
    def for_foreign_run(cls, url: str, case: str) -> Self:
        """The error about a run at a case's URL that the study did not make."""
        return cls.for_url(
            url,
            f"A run that this study did not make exists at the URL of case {case!r}; make a case of it with adopt(), "
            "move it away, or add the case with overwrite=True to replace it",
        )


class ModelError(IdfkitFsError, ValueError):
    """A model, a weather file, or a file that a model names, that cannot be run; the message says why."""


class NotReportedError(IdfkitFsError, LookupError):
    """The run does not report this output variable, key value, environment or cell; the message lists the nearest."""


class UnreadableDatabaseError(IdfkitFsError, ValueError):
    """A file that is not a complete SQLite output of EnergyPlus."""


class SidecarError(IdfkitFsError, ValueError):
    """A Parquet sidecar that cannot be used: truncated, invalid, or of another run."""


class IncompleteRunError(IdfkitFsError, RuntimeError):
    """Some cases could not be run, for a reason outside EnergyPlus; running the study again takes only these.

    Attributes:
        report: What happened to the other cases.
        errors: The errors, by case.
    """

    report: Any
    errors: dict[str, BaseException]


class PublishError(StoreError):
    """Publishing failed; the complete run is still in a local directory.

    Attributes:
        local_dir: The local directory with the run. Pass it to [publish][idfkit_fs.publish] to finish.
        url: The URL to which the run was being published.
    """

    local_dir: str
    url: str
