"""s3fs with fewer round trips and less memory; imported only where a URL leads to S3."""

from __future__ import annotations

import asyncio
import errno
from typing import IO, Any

import s3fs
from botocore.handlers import add_expect_header
from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from s3fs.core import S3_RETRYABLE_ERRORS

__all__ = ["QuickS3FileSystem"]

_MIB = 2**20
_RANGE = 8 * _MIB
_AT_ONCE = 8
_PIECE = _MIB // 4


class QuickS3FileSystem(s3fs.S3FileSystem):
    """An [S3FileSystem][s3fs.S3FileSystem] that sends a body at once, and fetches what it knows the size of in ranges.

    Botocore asks leave by ``Expect: 100-continue``, so that a refused upload costs no bandwidth. Results are small and
    nearly always accepted, so the question costs a round trip for each file. What a refusal means does not change: the
    same status is answered, and bodies are rewound for a retry all the same.
    """

    # `get_file` takes a size.
    takes_size = True

    _asks_no_leave: Any = None

    async def set_session(self, refresh: bool = False, kwargs: dict[str, Any] | None = None) -> Any:
        """Connect as s3fs does, then take the handler that adds the header off the new client."""
        client = await super().set_session(refresh=refresh, kwargs=kwargs or {})
        if client is not self._asks_no_leave:
            client.meta.events.unregister("before-call.s3", add_expect_header)
            self._asks_no_leave = client
        return client

    async def _get_file(
        self, rpath: str, lpath: str, callback: Callback = DEFAULT_CALLBACK, size: int | None = None, **kwargs: Any
    ) -> None:
        """Fetch a file as s3fs does; one whose size is known, in ranges side by side, without a request to learn it.

        Each piece is written as it arrives, so that no range is held in memory.
        """
        if not size:
            await super()._get_file(rpath, lpath, callback=callback, **kwargs)
            return
        callback.set_size(size)
        versions: set[str] = set()
        at_once = asyncio.Semaphore(_AT_ONCE)
        with open(lpath, "wb") as file:  # noqa: ASYNC230 - on fsspec's own loop, and as s3fs does

            async def fetch(start: int) -> None:
                async with at_once:
                    await self._fetch_range(rpath, file, start, min(start + _RANGE, size), versions, callback)

            tasks = [asyncio.ensure_future(fetch(start)) for start in range(0, size, _RANGE)]
            try:
                await asyncio.gather(*tasks)
            finally:
                # The file must not be closed under those that are left when one fails.
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch_range(
        self, rpath: str, file: IO[bytes], start: int, stop: int, versions: set[str], callback: Callback
    ) -> None:
        bucket, key, _ = self.split_path(rpath)
        failures = 0
        while start < stop:
            wanted, before = f"bytes={start}-{stop - 1}", start
            reply = await self._call_s3("get_object", Bucket=bucket, Key=key, Range=wanted, **self.req_kw)
            # Somebody may overwrite the file, and put it back before anybody looks again.
            versions.add(reply.get("ETag", ""))
            if len(versions) > 1:
                raise OSError(errno.EBUSY, "the file changes while it is fetched", rpath)
            try:
                async with reply["Body"] as body:
                    while piece := await body.read(_PIECE):
                        file.seek(start)
                        file.write(piece)
                        start += len(piece)
                        callback.relative_update(len(piece))
            except S3_RETRYABLE_ERRORS:
                if failures + 1 >= self.retries:
                    raise
            failures = failures + 1 if start == before else 0
            if failures >= self.retries:
                raise OSError(errno.EIO, "the store sends nothing of what was asked for", rpath)
