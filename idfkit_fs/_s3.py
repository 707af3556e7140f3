"""s3fs with one round trip a PUT instead of two; imported only where a URL leads to S3."""

from __future__ import annotations

from typing import Any

import s3fs
from botocore.handlers import add_expect_header

__all__ = ["QuickS3FileSystem"]


class QuickS3FileSystem(s3fs.S3FileSystem):
    """An [S3FileSystem][s3fs.S3FileSystem] that sends a body at once, without asking leave by ``Expect: 100-continue``.

    Botocore asks leave so that a refused upload costs no bandwidth. Results are small and nearly always accepted, so
    the question costs a round trip for each file. What a refusal means does not change: the same status is answered,
    and bodies are rewound for a retry all the same.
    """

    _asks_no_leave: Any = None

    async def set_session(self, refresh: bool = False, kwargs: dict[str, Any] | None = None) -> Any:
        """Connect as s3fs does, then take the handler that adds the header off the new client."""
        client = await super().set_session(refresh=refresh, kwargs=kwargs or {})
        if client is not self._asks_no_leave:
            client.meta.events.unregister("before-call.s3", add_expect_header)
            self._asks_no_leave = client
        return client
