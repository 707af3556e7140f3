"""How long a store may be silent, and who repeats a request that failed.

Each request is repeated in one layer. For a filesystem that this package makes from a URL, that is the filesystem's own
class, found here: it repeats single requests by the policy of [retry][idfkit_fs._util.retry], with the SDK's and
fsspec's own loops switched off. What such a class does not repeat, the adapter does (see `retried_errors`).

The bounds are on silence, never on the length of a transfer that moves. Storage options change them:

- `s3://`: `config_kwargs={"connect_timeout": 5, "read_timeout": 15}`, and `"retries": {"total_max_attempts": 3}` among
  them, with which botocore alone repeats;
- `gs://`: `requests_timeout=aiohttp.ClientTimeout(sock_connect=5, sock_read=15)`;
- `abfs://`: `connection_timeout=5`, `read_timeout=15`;
- `http://`: `client_kwargs={"timeout": aiohttp.ClientTimeout(sock_connect=5, sock_read=15)}`.
"""

from __future__ import annotations

import functools
import importlib
import io
from collections.abc import Mapping
from typing import Any

from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.translate import translate
from idfkit_fs.errors import InterruptedTransferError, UnreachableError

__all__ = [
    "CONNECT_SECONDS",
    "SILENCE_SECONDS",
    "bounded_class",
    "check_sized",
    "in_pieces",
    "is_permanent",
    "may_pass",
    "retried_errors",
]

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 15.0

_BOUNDED = {
    "s3fs": ("idfkit_fs._stores.s3", "QuickS3FileSystem"),
    "gcsfs": ("idfkit_fs._stores.gcs", "BoundedGCSFileSystem"),
    "adlfs": ("idfkit_fs._stores.azure", "BoundedAzureBlobFileSystem"),
    "fsspec.implementations.http": ("idfkit_fs._stores.http", "BoundedHTTPFileSystem"),
}
# Packages whose classes repeat single requests themselves.
_REPEATING = frozenset({"adlfs", "gcsfs", "obstore", "s3fs"})


def bounded_class(cls: type[AbstractFileSystem]) -> type[AbstractFileSystem] | None:
    """This package's class in place of one of fsspec's, which would wait or repeat too long; None to take that one."""
    name = _BOUNDED.get(cls.__module__) or _BOUNDED.get(cls.__module__.partition(".")[0])
    if name is None:
        return None
    bounded: type[AbstractFileSystem] = getattr(importlib.import_module(name[0]), name[1])
    return bounded


def in_pieces(body: Any) -> Any:
    """The body of a request so that aiohttp sends it in pieces, from its beginning: make a new one for each attempt.

    Bytes are handed to the connection at once, which goes on sending them when the request has been cancelled.
    """
    return _Pieces(body) if isinstance(body, bytes) else body


class _Pieces(io.BytesIO):
    """Bytes that are not copied when aiohttp asks how many they are."""

    def getbuffer(self) -> memoryview:
        return memoryview(self.getvalue())


def may_pass(exc: Exception) -> bool:
    """Whether the same request may succeed a moment later: the store was unreachable, busy or failed (HTTP 429, 5xx).

    A body that was interrupted is left to the adapter, which repeats it on every store.
    """
    known = translate(exc, "", conditional=True)
    unreachable = isinstance(known, UnreachableError) and not isinstance(known, InterruptedTransferError)
    return unreachable and not is_permanent(exc)


def is_permanent(exc: Exception) -> bool:
    """Whether a store cannot be reached for a reason that does not pass, such as a host name that does not exist."""
    return bool(getattr(translate(exc, ""), "permanent", False))


def check_sized(headers: Mapping[str, str], url: str) -> None:
    """Refuse a reply that ends where its connection ends: nothing distinguishes a whole body from one that was cut.

    S3, Google Cloud Storage and Azure always send a length, or a body in chunks; but something between may not.

    Args:
        headers: The reply's headers.
        url: What was read.

    Raises:
        InterruptedTransferError: If the reply has neither a length nor chunks.
    """
    if not {name.lower() for name in headers} & {"content-length", "transfer-encoding"}:
        text = "The store's reply has no length, so it may be cut; try again, or have proxies pass Content-Length on"
        raise InterruptedTransferError.for_url(url, text)


def retried_errors(fs: AbstractFileSystem) -> tuple[type[Exception], ...]:
    """The errors after which the adapter repeats a whole call, as nothing below it has done so.

    Args:
        fs: Any filesystem, made by this package or borrowed.

    Returns:
        Error classes of this package, for [retry][idfkit_fs._util.retry.retry]: `ConnectionError` where the
        filesystem's class repeats nothing (sftp, ftp, http, unknown classes), interrupted transfers where it repeats
        requests only. Azure's SDK repeats interrupted downloads too, but not listings and the replies to writes.
    """
    return _retried_errors(type(fs))  # type: ignore[arg-type]  # mypy finds a metaclass unhashable


@functools.cache
def _retried_errors(of: type[AbstractFileSystem]) -> tuple[type[Exception], ...]:
    packages = {cls.__module__.partition(".")[0] for cls in of.__mro__}
    return (InterruptedTransferError,) if packages & _REPEATING else (ConnectionError,)
