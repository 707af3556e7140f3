"""adlfs with bounded waits; imported only where a URL leads to Azure."""

from __future__ import annotations

from typing import Any

from adlfs import AzureBlobFileSystem

from idfkit_fs._stores.limits import CONNECT_SECONDS, SILENCE_SECONDS
from idfkit_fs._util.interrupts import unless_stopped
from idfkit_fs._util.retry import ATTEMPTS

__all__ = ["BoundedAzureBlobFileSystem"]


class BoundedAzureBlobFileSystem(AzureBlobFileSystem):
    """An [AzureBlobFileSystem][adlfs.AzureBlobFileSystem] that reports a dead or silent endpoint soon.

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
        policy.initial_backoff, policy.increment_base, policy.random_jitter_range = 0, 1.3, 0.5  # 1.3 to 2.9 seconds
        transport = self.service_client._pipeline._transport  # noqa: SLF001 - of the blobs' clients too
        send = transport.send

        async def send_unless_stopped(*args: Any, **kwargs: Any) -> Any:
            return await unless_stopped(send(*args, **kwargs))

        transport.send = send_unless_stopped
