"""The one retry policy of this package: which failed call is repeated, how soon, and until when."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from idfkit_fs.errors import InterruptedTransferError

__all__ = ["ATTEMPTS", "ENOUGH_SECONDS", "FIRST_WAIT", "retry", "retry_request"]

T = TypeVar("T")

ATTEMPTS = 5
FIRST_WAIT = 0.3  # seconds; twice as long before each further attempt, and varied by half
ENOUGH_SECONDS = 20.0  # no third attempt begins this long after the first one

_LOG = logging.getLogger("idfkit_fs")


def retry(call: Callable[[], T], on: tuple[type[Exception], ...] = (InterruptedTransferError,)) -> T:
    """Call a function again, a few times, after an error that may pass.

    Args:
        call: What to call; it must do no harm when it is called twice.
        on: The errors that may pass; one that says that it is permanent is raised immediately. Requests that fail are
            repeated below this: see [retried_errors][idfkit_fs._stores.limits.retried_errors].

    Returns:
        What *call* returned.

    Raises:
        Exception: The last error, when every attempt failed; any other error immediately.

    Examples:
        >>> replies = iter([InterruptedTransferError.for_url("s3://bucket/a"), b"whole"])
        >>> def read():
        ...     reply = next(replies)
        ...     if isinstance(reply, Exception):
        ...         raise reply
        ...     return reply
        >>> retry(read)
        b'whole'
    """
    started = time.monotonic()
    for attempt in itertools.count():
        try:
            return call()
        except on as exc:
            wait = None if getattr(exc, "permanent", False) else _wait_after(attempt, started)
            if wait is None:
                raise
            _report(exc, wait)
        time.sleep(wait)
    raise AssertionError("unreachable")


async def retry_request(request: Callable[[], Awaitable[T]], may_pass: Callable[[Exception], bool]) -> T:
    """Send a request to a store again, a few times, after an error that may pass.

    Args:
        request: Sends the request, from its beginning each time.
        may_pass: Whether an error may pass.

    Returns:
        What *request* returned.

    Raises:
        Exception: The last error, when every attempt failed; any other error immediately.
    """
    started = time.monotonic()
    for attempt in itertools.count():
        try:
            return await request()
        except Exception as exc:
            wait = _wait_after(attempt, started) if may_pass(exc) else None
            if wait is None:
                raise
            _report(exc, wait)
        await asyncio.sleep(wait)
    raise AssertionError("unreachable")


def _wait_after(attempt: int, started: float) -> float | None:
    """Seconds to wait after an attempt (from 0) that failed; None if it was the last."""
    # The second attempt is always made: a long transfer may be interrupted near its end.
    if attempt + 1 >= ATTEMPTS or (attempt > 0 and time.monotonic() - started > ENOUGH_SECONDS):
        return None
    return FIRST_WAIT * float(2**attempt) * random.uniform(0.5, 1.5)  # noqa: S311 - no secret


def _report(exc: Exception, wait: float) -> None:
    # The error's own text may show a secret.
    _LOG.debug("%s; trying again in %.1f seconds", type(exc).__name__, wait)
