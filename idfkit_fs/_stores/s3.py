"""s3fs with fewer round trips, less memory and bounded waits; imported only where a URL leads to S3."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Coroutine, Iterable, Mapping
from typing import IO, Any, TypeVar

import s3fs
from botocore.handlers import add_expect_header
from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from s3fs.core import S3_RETRYABLE_ERRORS

from idfkit_fs._stores.limits import CONNECT_SECONDS, SILENCE_SECONDS, check_sized, in_pieces, may_pass
from idfkit_fs._stores.translate import has_bare_status
from idfkit_fs._util.interrupts import unless_stopped
from idfkit_fs._util.retry import retry_request
from idfkit_fs.errors import InterruptedTransferError

__all__ = ["QuickS3FileSystem"]

T = TypeVar("T")

_MIB = 2**20
_RANGE = 8 * _MIB
_PARALLEL = 8
_PIECE = _MIB // 4
_PROGRESS = _MIB // 16  # bytes
_CUSTOMER_KEY = ("SSECustomerAlgorithm", "SSECustomerKey", "SSECustomerKeyMD5")
_METADATA = frozenset(
    {
        *("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Expires"),
        *("Metadata", "WebsiteRedirectLocation"),
    }
)
# For each HEAD, a request that asks for as little and has a body to say why it is refused.
_WITH_BODY: dict[str, tuple[str, dict[str, Any]]] = {
    "head_object": ("get_object", {"Range": "bytes=0-0"}),
    "head_bucket": ("list_objects_v2", {"MaxKeys": 1}),
}
# s3fs aborts an upload in parts that fails, if it knows its id by then.
_NEEDED = frozenset({"create_multipart_upload", "abort_multipart_upload"})


class QuickS3FileSystem(s3fs.S3FileSystem):
    """An ``s3fs.S3FileSystem`` with fewer round trips, and with one layer that repeats requests.

    - Uploads send their body without `Expect: 100-continue`. Botocore asks first, so that a refused upload costs no
      bandwidth; results are small and nearly always accepted, so the question costs a round trip for each file.
    - A download whose size is known runs in parallel ranges, without a request to learn the size.
    - s3fs repeats each request five times, and botocore five times within each. Here each request is repeated by
      [retry_request][idfkit_fs._util.retry.retry_request] alone, or by botocore alone if `config_kwargs` has `retries`.
    - What `s3_additional_kwargs` say of an object holds for copies too (see `_for_copies`).
    - A HEAD that is refused is followed by one GET, whose reply says why.
    - When a part of an upload fails, the other parts have ended before the upload is aborted: one that arrived
      afterwards would stay in the bucket, and cost money.
    """

    # `get_file` takes a size.
    takes_size = True
    # s3fs's own attempts.
    retries = 1

    _without_expect: Any = None

    def __init__(self, *args: Any, config_kwargs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Take s3fs's arguments; timeouts and retries among them stay as they are."""
        given = config_kwargs or {}
        self._botocore_repeats = "retries" in given
        bounds = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": SILENCE_SECONDS,
            "retries": {"total_max_attempts": 1},
        }
        super().__init__(*args, config_kwargs={**bounds, **given}, **kwargs)
        self._for_copies = _for_copies(self.s3_additional_kwargs)

    async def set_session(self, refresh: bool = False, kwargs: dict[str, Any] | None = None) -> Any:
        """Connect as s3fs does, then take the handler that adds `Expect` off the new client."""
        client = await super().set_session(refresh=refresh, kwargs=kwargs or {})
        if client is not self._without_expect:
            client.meta.events.unregister("before-call.s3", add_expect_header)
            self._without_expect = client
        return client

    async def _call_s3(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        if method in ("copy_object", "upload_part_copy"):
            akwarglist = (self._for_copies, *akwarglist)
        call_s3 = super()._call_s3

        async def request() -> Any:
            body = {"Body": in_pieces(kwargs["Body"])} if "Body" in kwargs else {}
            return await call_s3(method, *akwarglist, **{**kwargs, **body})

        try:
            call = request() if self._botocore_repeats else retry_request(request, may_pass)
            reply = await unless_stopped(call, needed=method in _NEEDED)
        except OSError as exc:
            if method not in _WITH_BODY or not has_bare_status(exc):
                raise
            refused = exc
        else:
            if method == "get_object":
                _check_body(reply, kwargs)
            return reply
        raise await self._reason_of(method, akwarglist, kwargs, refused)

    async def _reason_of(self, method: str, given: Any, named: dict[str, Any], refused: OSError) -> OSError:
        """Why the store refused a HEAD, whose reply has no body to say so: the error of a request that has one."""
        other, more = _WITH_BODY[method]
        try:
            reply = await super()._call_s3(other, *given, **named, **more)
        except Exception as exc:  # noqa: BLE001 - an error without the store's answer says less than the refusal
            if isinstance(exc, OSError) and not isinstance(exc, FileNotFoundError) and not has_bare_status(exc):
                return exc
            return refused
        if "Body" in reply:
            reply["Body"].close()
        return refused

    async def _upload_file_part_concurrent(
        self,
        bucket: str,
        key: str,
        mpu: Mapping[str, Any],
        f0: IO[bytes],
        chunksize: int,
        callback: Callback = DEFAULT_CALLBACK,
        max_concurrency: int | None = None,
    ) -> list[Any]:
        async def send(number: int, part: bytes) -> Any:
            where = {"Bucket": bucket, "Key": key, "UploadId": mpu["UploadId"], "PartNumber": number}
            reply = await self._call_s3("upload_part", **where, Body=part)
            callback.relative_update(len(part))
            return reply

        replies: list[Any] = []
        parallel = max_concurrency or self.max_concurrency
        while parts := [part for _ in range(parallel) if (part := f0.read(chunksize))]:
            replies += await _all(send(number, part) for number, part in enumerate(parts, len(replies) + 1))
        return replies

    async def _cat_file(self, *args: Any, **kwargs: Any) -> Any:
        return await unless_stopped(super()._cat_file(*args, **kwargs))

    async def _get_file(
        self, rpath: str, lpath: str, callback: Callback = DEFAULT_CALLBACK, size: int | None = None, **kwargs: Any
    ) -> None:
        """Download a file as s3fs does; one whose size is known in parallel ranges.

        Each piece is written as it arrives, so that no range is held in memory.
        """
        if not size:
            await unless_stopped(super()._get_file(rpath, lpath, callback=callback, **kwargs))
            return
        await unless_stopped(self._get_ranges(rpath, lpath, callback, size))

    async def _get_ranges(self, rpath: str, lpath: str, callback: Callback, size: int) -> None:
        callback.set_size(size)
        versions: set[str] = set()
        parallel = asyncio.Semaphore(_PARALLEL)
        with open(lpath, "wb") as file:  # noqa: ASYNC230 - on fsspec's own loop, and as s3fs does

            async def fetch(start: int) -> None:
                async with parallel:
                    await self._fetch_range(rpath, file, start, min(start + _RANGE, size), versions, callback)

            await _all(fetch(start) for start in range(0, size, _RANGE))

    async def _fetch_range(
        self, rpath: str, file: IO[bytes], start: int, stop: int, versions: set[str], callback: Callback
    ) -> None:
        """Download one range, and after an interruption what is left of it."""
        bucket, key, _ = self.split_path(rpath)

        async def fetch_rest() -> None:
            nonlocal start
            wanted = f"bytes={start}-{stop - 1}"
            reply = await self._call_s3("get_object", Bucket=bucket, Key=key, Range=wanted, **self.req_kw)
            # The file may be overwritten, and restored before anything looks at it again.
            versions.add(reply.get("ETag", ""))
            if len(versions) > 1:
                raise OSError(errno.EBUSY, "the file changes while it is downloaded", rpath)
            try:
                async with reply["Body"] as body:
                    while piece := await body.read(_PIECE):
                        file.seek(start)
                        file.write(piece)
                        start += len(piece)
                        callback.relative_update(len(piece))
            except S3_RETRYABLE_ERRORS as exc:
                raise ConnectionError(f"the transfer was interrupted ({type(exc).__name__})") from exc
            if start < stop:
                raise ConnectionError("the store sent less than the range that was requested")

        # A reply that brought a good part is followed by the next one: a slow line that breaks often gets there too.
        while True:
            before = start
            try:
                await fetch_rest()
            except ConnectionError:
                if start - before < _PROGRESS:
                    break
            else:
                return
        # `_call_s3` repeats its own requests, and raises no ConnectionError.
        await retry_request(fetch_rest, lambda exc: isinstance(exc, ConnectionError))


async def _all(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Await calls in parallel; when one fails, all have ended when its error is raised."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _for_copies(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a copy needs beside the parameters that every object gets.

    S3 takes tags and metadata from the source unless the request replaces them, and reads a source that is encrypted
    with a customer's key only with that key; the source has the same key, or it is not a copy within one store.
    """
    added = {f"CopySource{name}": given[name] for name in _CUSTOMER_KEY if name in given}
    if "Tagging" in given:
        added["TaggingDirective"] = "REPLACE"
    if not _METADATA.isdisjoint(given):
        added["MetadataDirective"] = "REPLACE"
    return {name: value for name, value in added.items() if name not in given}


def _check_body(reply: dict[str, Any], asked: dict[str, Any]) -> None:
    try:
        check_sized(reply["ResponseMetadata"]["HTTPHeaders"], f"s3://{asked['Bucket']}/{asked['Key']}")
    except InterruptedTransferError:
        reply["Body"].close()
        raise
