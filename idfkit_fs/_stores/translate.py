"""Errors of stores and their SDKs, mapped to the errors of this package."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator, Mapping

from idfkit_fs._stores.reasons import REASONS, Reason, certificate_remedy
from idfkit_fs._stores.rights import MissingRight, missing_right
from idfkit_fs._util.files import room
from idfkit_fs._util.messages import printable, redact
from idfkit_fs.errors import (
    BucketNotFoundError,
    ExistsError,
    IdfkitFsError,
    InterruptedTransferError,
    IsDirectoryError,
    MachineError,
    NotFoundError,
    PermissionDeniedError,
    StoreError,
    UnreachableError,
    UnsupportedError,
)

__all__ = ["has_bare_status", "is_not_found", "refuses_condition", "service_code", "translate"]

# Class names rather than classes: naming the classes would import every SDK.
_UNREACHABLE = frozenset(
    {
        "ClientConnectionError",
        "ClientConnectorError",
        "ClientOSError",
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "EndpointConnectionError",
        "HTTPClientError",
        "NoValidConnectionsError",
        "ReadTimeoutError",
        "RequestException",
        "ServerDisconnectedError",
        "ServiceRequestError",
        "SSHException",
        "ServiceResponseError",
        "TransportError",
        *("error_proto", "error_reply", "error_temp"),  # of ftplib: no answer, or one that says "later"
    }
)
_CLOSED = frozenset({"ConnectionResetError", "ServerDisconnectedError", "ConnectionClosedError", "RemoteDisconnected"})
# The reply began, and its body did not come whole; what is silent in the middle of a body is among them for S3 only.
_INTERRUPTED = frozenset(
    {
        "AioReadTimeoutError",
        "ChecksumError",
        "ClientPayloadError",
        "IncompleteRead",
        "IncompleteReadError",
        "ResponseStreamingError",
    }
)
_DENIED = frozenset(
    {
        "AuthenticationException",
        "ClientAuthenticationError",
        "CredentialRetrievalError",
        "DefaultCredentialsError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "RefreshError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)
# What S3 says beside its code: the right region or endpoint, and both clocks.
_FACTS = ("Region", "Endpoint", "RequestTime", "ServerTime")
_SDK_PACKAGES = frozenset(
    {
        *("adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "ftplib", "gcsfs", "google", "obstore", "paramiko"),
        *("requests", "smbprotocol"),
    }
)
_FTP_DENIED = re.compile(r"5(?:30|32)|.*(?:permission|privilege|denied|not allowed|forbidden|read-only)", re.IGNORECASE)


def _causes(exc: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """An exception and what led to it, short of what the caller was handling before it called us."""
    seen = {id(handled)}
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _http_status(exc: BaseException) -> int | None:
    response = getattr(exc, "response", None)
    if isinstance(response, Mapping):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = getattr(exc, "status_code", None) or getattr(exc, "status", None) or getattr(exc, "code", None)
    try:
        return int(status)  # anything that is not a number ends in the except
    except (TypeError, ValueError):
        return None


def _service_code(exc: BaseException) -> str:
    """What the store calls the error: S3's and Azure's code, and the reason of Google's JSON API."""
    response = getattr(exc, "response", None)
    if isinstance(response, Mapping):
        return str(response.get("Error", {}).get("Code", ""))
    reply = getattr(exc, "_error_response", None)  # of gcsfs
    if isinstance(reply, Mapping):
        errors = reply.get("errors")
        first = errors[0] if isinstance(errors, list) and errors else None
        return str(first.get("reason", "")) if isinstance(first, Mapping) else ""
    code = getattr(exc, "error_code", "") or ""
    return str(getattr(code, "value", code))


def _words(exc: BaseException) -> set[str]:
    """The words of an exception by which the table of reasons knows it."""
    words = {_service_code(exc)} | _names(exc)
    if _is_sdk(exc):
        words.add(str(_http_status(exc)))
    if isinstance(exc, OSError) and not type(exc).__module__.startswith("smbprotocol"):  # whose disk is another's
        words.add(errno.errorcode.get(exc.errno or 0, ""))
    return words - {"", "Exception", "OSError"}


def _reason_of(chain: list[BaseException]) -> tuple[Reason, BaseException] | None:
    """The first row of the table that fits an exception of a chain, with that exception."""
    known = [(exc, _words(exc), str(exc)) for exc in chain]
    for reason in REASONS:
        for exc, words, text in known:
            if reason.fits(words, text):
                return reason, exc
    return None


def _is_sdk(exc: BaseException) -> bool:
    return any(cls.__module__.partition(".")[0] in _SDK_PACKAGES for cls in type(exc).__mro__)


def _names(exc: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(exc).__mro__}


def _class_for(exc: BaseException) -> type[StoreError] | None:
    """The narrowest class for one exception of a chain, or None if it does not say."""
    names = _names(exc)
    status = _http_status(exc) if _is_sdk(exc) else None
    if names & _DENIED or status in (401, 403):
        return PermissionDeniedError
    if isinstance(exc, IsADirectoryError):
        return IsDirectoryError
    if isinstance(exc, FileExistsError):
        return ExistsError
    if isinstance(exc, (FileNotFoundError, NotADirectoryError)) or status == 404:
        return NotFoundError
    if isinstance(exc, PermissionError) or (isinstance(exc, OSError) and str(exc).startswith("Forbidden:")):
        return PermissionDeniedError
    if names & _INTERRUPTED:
        return InterruptedTransferError
    if (
        isinstance(exc, (ConnectionError, TimeoutError, EOFError))
        or str(exc) == "Socket is closed"
        or names & _UNREACHABLE
    ):
        return UnreachableError
    if status == 501:
        return UnsupportedError
    if status is not None and (status in (408, 429) or status >= 500):
        return UnreachableError
    return _class_of_ftp_answer(str(exc)) if "error_perm" in names else None


def _class_of_ftp_answer(text: str) -> type[StoreError] | None:
    """The class for what an FTP server refuses, by the code and the text of its answer."""
    if _FTP_DENIED.match(text):
        return PermissionDeniedError
    if re.match(r"55[03].*exists", text, re.IGNORECASE):
        return ExistsError
    # The code for every file that the server does not give; nearly all say so of one that does not exist.
    return NotFoundError if text.startswith("550") else None


_ERRNO: dict[type[StoreError], int] = {
    NotFoundError: errno.ENOENT,
    BucketNotFoundError: errno.ENOENT,
    PermissionDeniedError: errno.EACCES,
    UnreachableError: errno.ECONNREFUSED,
    InterruptedTransferError: errno.ECONNRESET,
    ExistsError: errno.EEXIST,
    IsDirectoryError: errno.EISDIR,
    UnsupportedError: errno.ENOTSUP,
}


def _class_of_chain(chain: list[BaseException]) -> type[StoreError] | None:
    """The first class that a chain names; but fsspec's HTTP calls everything "not found", from what really happened."""
    found = [kind for kind in map(_class_for, chain) if kind is not None]
    if not found:
        return None
    causes = {id(exc.__cause__) for exc in chain}
    deeper = [_class_for(exc) for exc in chain if id(exc) in causes]
    truer = next(
        (kind for kind in deeper if kind in (PermissionDeniedError, UnreachableError, InterruptedTransferError)), None
    )
    return truer if found[0] is NotFoundError and truer else found[0]


def _class_if_conditional(chain: list[BaseException]) -> type[StoreError] | None:
    if any(_http_status(exc) == 412 and _service_code(exc) != "LeaseIdMissing" for exc in chain):
        return ExistsError
    return UnreachableError if any(_service_code(exc) == "ConditionalRequestConflict" for exc in chain) else None


def is_not_found(exc: Exception) -> bool:
    """Whether a store raised this because a file, directory or bucket is missing."""
    return isinstance(translate(exc, ""), NotFoundError)


def has_bare_status(exc: Exception) -> bool:
    """Whether S3 refused a request, and its reply had no body to say why: the status is in the place of the code."""
    return any(_service_code(cause) in ("400", "403") for cause in _causes(exc, None))


def service_code(exc: BaseException) -> str:
    """The code by which the store named an error, such as ``"SignatureDoesNotMatch"``, else its HTTP status or "".

    Args:
        exc: An error of a store, translated or not.
    """
    chain = list(_causes(exc, None))
    told = (*map(_service_code, chain), *(str(status) for cause in chain if (status := _http_status(cause))))
    return next(filter(None, told), "")


def refuses_condition(exc: Exception) -> bool:
    """Whether a store refuses a write because it has a condition, and not for the file or the login.

    S3-compatible stores that do not know ``If-None-Match`` reply 501, or 400 with one of two codes.
    """
    return any(_refuses_condition(cause) for cause in _causes(exc, None))


def _refuses_condition(exc: BaseException) -> bool:
    if not _is_sdk(exc):
        return isinstance(exc, (NotImplementedError, ValueError))  # of fsspec's own classes
    code = _service_code(exc)
    return (
        _http_status(exc) == 501 or code == "NotImplemented" or (_http_status(exc) == 400 and code == "InvalidArgument")
    )


def _detail(exc: BaseException, secrets: frozenset[str]) -> str:
    """What the store or its SDK said, in one line that shows no secret."""
    response = getattr(exc, "response", None)
    said = response.get("Error", {}) if isinstance(response, Mapping) else {}
    text = str(said.get("Message") or getattr(exc, "strerror", None) or exc)
    lines = redact(text, secrets).strip().splitlines()
    parts = [_service_code(exc) or type(exc).__name__, *(line[:300] for line in lines[:1])]
    facts = "".join(f"; {name} {redact(str(said[name]), secrets)[:100]}" for name in _FACTS if name in said)
    return printable(": ".join(parts) + facts)


def _explain_reason(reason: Reason, exc: BaseException, url: str, bucket: str, secrets: frozenset[str]) -> str:
    """The message for a row of the table: what is wrong, then what to do, then what the store said."""
    if reason.kind is BucketNotFoundError and not bucket:
        return "No such bucket or container; create it, or check the name and the endpoint"
    remedy = reason.remedy.format(certificate=certificate_remedy(url.partition(":")[0]))
    text = f"{reason.wrong.format(bucket=bucket)}; {remedy}"
    if reason.kind is BucketNotFoundError:
        return text
    if reason.kind is MachineError and isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
        path = exc.filename if isinstance(exc.filename, str) else url.partition("file://")[2]
        text += room(path)
    return f"{text} ({_detail(exc, secrets)})"


def _how_unreachable(chain: list[BaseException]) -> str:
    if any(_names(exc) & _CLOSED for exc in chain):
        closed = "The store closed the connection without an answer"
        return f"{closed}; check whether the endpoint takes http:// or https://, and the network"
    return "The store did not answer; check the endpoint and the network"


def _how_denied(right: MissingRight | None) -> str:
    if right is not None:
        return f"The login is not allowed to do this; have its owner allow {right.text}"
    return "The store refused access; check that the credentials are right, not expired, and allow this"


def _explain(
    kind: type[StoreError],
    chain: list[BaseException],
    bucket: str,
    secrets: frozenset[str],
    right: MissingRight | None,
) -> str:
    first = chain[0]
    detail = _detail(first, secrets)
    if kind is BucketNotFoundError:
        return f"No bucket or container named {bucket!r}: create it, or check the name"
    if kind is ExistsError:
        return "A file or directory already exists"
    if kind is IsDirectoryError:
        return "This is a directory, not a file"
    if kind is NotFoundError:
        return "A file exists where a directory is needed" if isinstance(first, NotADirectoryError) else "No such file"
    if kind is PermissionDeniedError:
        return f"{_how_denied(right)} ({detail})"
    if kind is InterruptedTransferError:
        return f"The connection broke during the transfer; check the network, then try again ({detail})"
    if kind is UnreachableError:
        return f"{_how_unreachable(chain)}, then try again ({detail})"
    if kind is UnsupportedError:
        return f"The backend does not support this operation ({detail})"
    if any(_http_status(exc) == 400 for exc in chain if _is_sdk(exc)):
        return (
            "The store called the request bad and did not say why; check whether the token has expired, the region, "
            "whether the object is encrypted with a key of yours (SSE-C), and whether the endpoint takes http:// or "
            f"https:// ({detail})"
        )
    return f"The store failed ({detail})"


def translate(
    exc: Exception,
    url: str,
    *,
    bucket: str = "",
    only_bucket: bool = False,
    conditional: bool = False,
    secrets: frozenset[str] = frozenset(),
    handled: BaseException | None = None,
) -> Exception:
    """Turn what a store or its SDK raised into this package's errors.

    Errors that are already translated come back as they are, and so do ``MemoryError`` and ``RecursionError``. Every
    other class becomes one of this package's: a backend that cannot do with a name, an option or an answer raises
    ``ValueError``, ``TypeError``, ``KeyError`` and the like, which say nothing of the store and its URL.

    Args:
        exc: The exception that an I/O call raised.
        url: The URL that the call was about; becomes ``filename``.
        bucket: Bucket or container, for the message when it is missing.
        only_bucket: Whether nothing but the bucket can be missing, as for a write to an object store.
        conditional: Whether the call was to write only where no file exists; then 412 says that one exists, and
            ConditionalRequestConflict that another client writes there now (S3 API, PutObject, If-None-Match).
        secrets: Values to keep out of the message.
        handled: What the caller was handling when it called; it says nothing about *exc*.

    Returns:
        The exception to raise. Its ``__cause__`` is *exc*, unless that shows a secret.
    """
    if isinstance(exc, IdfkitFsError):
        return exc
    chain = list(_causes(exc, handled))
    kind = _class_if_conditional(chain) if conditional else None
    found = None if kind else _reason_of(chain)
    kind = kind or (found[0].kind if found else _class_of_chain(chain))
    if kind is None:
        if isinstance(exc, (MemoryError, RecursionError)):
            return exc
        kind = UnsupportedError if isinstance(exc, NotImplementedError) else StoreError
    right = missing_right(chain, url) if kind is PermissionDeniedError else None
    if found and not (right and found[0].is_general):
        reason, told = found
        if isinstance(told, socket.gaierror):
            told = exc  # whose text names the host, where the name server's does not
        number = reason.number or getattr(told, "errno", None) or kind.number
        translated = kind(number, _explain_reason(reason, told, url, bucket, secrets), url)
        if isinstance(translated, UnreachableError):
            translated.permanent = reason.permanent
    else:
        if kind is NotFoundError and bucket and only_bucket:
            kind = BucketNotFoundError
        number = _ERRNO.get(kind) or (exc.errno if isinstance(exc, OSError) else None) or errno.EIO
        translated = kind(number, _explain(kind, chain, bucket, secrets, right), url)
    if isinstance(translated, PermissionDeniedError):
        translated.may_be_missing = right is not None and right.hides_missing
    leaks = any(redact(text, secrets) != text for cause in chain for text in (str(cause), repr(cause)))
    translated.__cause__ = None if leaks else exc
    translated.__suppress_context__ = True
    return translated
