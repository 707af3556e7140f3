"""gcsfs with bounded waits; imported only where a URL leads to Google Cloud Storage."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import ClientResponse, ClientTimeout
from gcsfs.core import GCSFileSystem

from idfkit_fs._stores.limits import CONNECT_SECONDS, SILENCE_SECONDS, check_sized, in_pieces, may_pass
from idfkit_fs._util.interrupts import unless_stopped
from idfkit_fs._util.retry import retry_request

__all__ = ["BoundedGCSFileSystem"]


class BoundedGCSFileSystem(GCSFileSystem):
    """A ``gcsfs.GCSFileSystem`` that reports a dead or silent endpoint soon, and logs nothing about it.

    gcsfs sends each request without any timeout unless `requests_timeout` is given, repeats it six times, which no
    option changes, and logs a traceback at the end. It is gcsfs's plain class: the one for zonal buckets, which gcsfs
    takes by default, asks over gRPC for the kind of bucket before anything else, for a minute if no server answers.
    """

    def __init__(
        self,
        *args: Any,
        requests_timeout: Any = None,
        session_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take gcsfs's arguments; a timeout among them stays as it is."""
        if requests_timeout is None:
            bounds = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
            requests_timeout = (session_kwargs or {}).get("timeout", bounds)
        session = {"raise_for_status": _raise_reason, **(session_kwargs or {})}
        super().__init__(*args, requests_timeout=requests_timeout, session_kwargs=session, **kwargs)

    async def _request(self, method: str, *args: Any, data: Any = None, **kwargs: Any) -> Any:
        async def request() -> Any:
            return await _REQUEST(self, method, *args, data=in_pieces(data), **kwargs)

        # gcsfs deletes the session of an upload that fails.
        reply = await unless_stopped(retry_request(request, may_pass), needed=method == "DELETE")
        if method.upper() == "GET":
            check_sized(reply[1], str(reply[2].url))
        return reply

    async def _get_file_request(self, *args: Any, **kwargs: Any) -> Any:
        return await unless_stopped(retry_request(functools.partial(_GET_FILE, self, *args, **kwargs), may_pass))

    async def _get_file_concurrent(self, *args: Any, **kwargs: Any) -> Any:
        return await _GET_FILE_IN_PARTS(self, *args, **kwargs)


class _RefusedError(OSError):
    """As gcsfs's own error for 403, which says the message only, with the reason that Google gives.

    Attributes:
        error_code: The reason, such as `retentionPolicyNotMet`.
    """

    error_code = ""


async def _raise_reason(response: ClientResponse) -> None:
    """Raise what gcsfs would make of a refusal or a missing file or bucket, before it drops what Google says of it."""
    if response.status not in (403, 404):
        return
    try:
        error = json.loads(await response.read())["error"]
        message, reason = str(error["message"]), str(error["errors"][0]["reason"])
    except (ValueError, LookupError, TypeError):
        return
    if response.status == 404:
        raise FileNotFoundError(message)
    refused = _RefusedError(f"Forbidden: {response.url.path}\n{message}")
    refused.error_code = reason
    raise refused


# As they are without gcsfs's own loop around them.
_REQUEST = inspect.unwrap(GCSFileSystem._request)  # noqa: SLF001 - gcsfs has no option for its retries
_GET_FILE = inspect.unwrap(GCSFileSystem._get_file_request)  # noqa: SLF001 - as above
_GET_FILE_IN_PARTS = inspect.unwrap(GCSFileSystem._get_file_concurrent)  # noqa: SLF001 - as above
