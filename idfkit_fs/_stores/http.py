"""fsspec's HTTP with bounded waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import ClientTimeout
from fsspec.implementations.http import HTTPFileSystem

from idfkit_fs._stores.limits import CONNECT_SECONDS, SILENCE_SECONDS
from idfkit_fs._util.interrupts import unless_stopped

__all__ = ["BoundedHTTPFileSystem"]


class BoundedHTTPFileSystem(HTTPFileSystem):
    """An ``fsspec.implementations.http.HTTPFileSystem`` that bounds silence, not a whole transfer.

    aiohttp's own default cuts every transfer after five minutes, and reports a silent server no sooner.
    """

    def __init__(self, *args: Any, client_kwargs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Take fsspec's arguments; a timeout among them stays as it is."""
        bounds = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        super().__init__(*args, client_kwargs={"timeout": bounds, **(client_kwargs or {})}, **kwargs)

    async def _cat_file(self, *args: Any, **kwargs: Any) -> Any:
        return await unless_stopped(super()._cat_file(*args, **kwargs))

    async def _get_file(self, *args: Any, **kwargs: Any) -> Any:
        return await unless_stopped(super()._get_file(*args, **kwargs))
