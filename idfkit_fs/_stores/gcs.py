"""gcsfs with bounded waits; imported only where a URL leads to Google Cloud Storage."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from aiohttp import ClientTimeout
from gcsfs.core import GCSFileSystem

from idfkit_fs._stores.limits import CONNECT_SECONDS, SILENCE_SECONDS, may_pass
from idfkit_fs._util.interrupts import unless_stopped
from idfkit_fs._util.retry import retry_request

__all__ = ["BoundedGCSFileSystem"]


class BoundedGCSFileSystem(GCSFileSystem):
    """A [GCSFileSystem][gcsfs.GCSFileSystem] that reports a dead or silent endpoint soon, and logs nothing about it.

    gcsfs sends each request without any timeout unless `requests_timeout` is given, repeats it six times, which no
    option changes, and logs a traceback at the end. It is gcsfs's plain class: the one for zonal buckets, which gcsfs
    takes by default, asks over gRPC for the kind of bucket before anything else, for a minute if nobody answers.
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
        super().__init__(*args, requests_timeout=requests_timeout, session_kwargs=session_kwargs, **kwargs)

    async def _request(self, method: str, *args: Any, **kwargs: Any) -> Any:
        request = functools.partial(_REQUEST, self, method, *args, **kwargs)
        # gcsfs deletes the session of an upload that fails.
        return await unless_stopped(retry_request(request, may_pass), needed=method == "DELETE")

    async def _get_file_request(self, *args: Any, **kwargs: Any) -> Any:
        return await unless_stopped(retry_request(functools.partial(_GET_FILE, self, *args, **kwargs), may_pass))

    async def _get_file_concurrent(self, *args: Any, **kwargs: Any) -> Any:
        return await _GET_FILE_IN_PARTS(self, *args, **kwargs)


# As they are without gcsfs's own loop around them.
_REQUEST = inspect.unwrap(GCSFileSystem._request)  # noqa: SLF001 - gcsfs has no option for its retries
_GET_FILE = inspect.unwrap(GCSFileSystem._get_file_request)  # noqa: SLF001 - as above
_GET_FILE_IN_PARTS = inspect.unwrap(GCSFileSystem._get_file_concurrent)  # noqa: SLF001 - as above
