"""adlfs with bounded waits; imported only where a URL leads to Azure."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from adlfs import AzureBlobFileSystem
from azure.core.pipeline.policies import AsyncHTTPPolicy

from idfkit_fs._stores.limits import CONNECT_SECONDS, SILENCE_SECONDS, check_sized, in_pieces, is_permanent
from idfkit_fs._util.interrupts import unless_stopped
from idfkit_fs._util.retry import ATTEMPTS

__all__ = ["BoundedAzureBlobFileSystem"]


class BoundedAzureBlobFileSystem(AzureBlobFileSystem):
    """An ``adlfs.AzureBlobFileSystem`` that reports a dead or silent endpoint soon.

    adlfs passes `connection_timeout` and `read_timeout` on for uploads and downloads only, and has no option for the
    waits of azure's retry policy: 15 to 24 seconds each.
    """

    def __init__(
        self, *args: Any, connection_timeout: float | None = None, read_timeout: float | None = None, **kwargs: Any
    ) -> None:
        """Take adlfs's arguments, and apply its two timeouts to every request."""
        connect = CONNECT_SECONDS if connection_timeout is None else connection_timeout
        silence = SILENCE_SECONDS if read_timeout is None else read_timeout
        super().__init__(*args, connection_timeout=connect, read_timeout=silence, **kwargs)
        config = self.service_client._config  # noqa: SLF001 - adlfs makes the client, and passes no policy to it
        config.transport.connection_config.timeout = connect
        config.transport.connection_config.read_timeout = silence
        policy = config.retry_policy
        policy.total_retries = policy.connect_retries = policy.status_retries = ATTEMPTS - 1
        policy.read_retries = 1  # after a silence, which was long enough
        policy.increment = functools.partial(_increment, policy.increment)
        policy.initial_backoff, policy.increment_base, policy.random_jitter_range = 0, 1.3, 0.5  # 1.3 to 2.9 seconds
        _send_through(self.service_client._pipeline._impl_policies, policy, _Replies())  # noqa: SLF001 - as above
        transport = self.service_client._pipeline._transport  # noqa: SLF001 - of the blobs' clients too
        send = transport.send

        async def send_unless_stopped(request: Any, **kwargs: Any) -> Any:
            body = request.data
            request.data = in_pieces(body)
            try:
                return await unless_stopped(send(request, **kwargs))
            finally:
                request.data = body

        transport.send = send_unless_stopped


def _increment(increment: Callable[..., bool], *args: Any, error: Exception | None = None, **kwargs: Any) -> bool:
    """Whether azure's policy sends a request again: not after an error that does not pass."""
    return not (error and is_permanent(error)) and increment(*args, error=error, **kwargs)


class _Replies(AsyncHTTPPolicy[Any, Any]):
    """Makes a 503 of a 429, which Azure's retry policy takes for an answer that will not change; refuses cut bodies."""

    async def send(self, request: Any) -> Any:
        reply = await self.next.send(request)
        if reply.http_response.status_code == 429:
            reply.http_response.status_code = 503
        if request.http_request.method == "GET":
            check_sized(reply.http_response.headers, request.http_request.url.partition("?")[0])
        return reply


def _send_through(policies: list[Any], before: Any, added: Any) -> None:
    """Insert a policy into a client's chain; those of containers and blobs are made from the same list."""
    policies.insert(policies.index(before) + 1, added)
    before.next, added.next = added, before.next
