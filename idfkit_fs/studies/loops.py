"""Run a coroutine from synchronous code, so that an interrupt cancels it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

__all__ = ["run_coroutine"]

T = TypeVar("T")
# The system may deliver a signal to another thread, which does not wake this one.
_POLL_SECONDS = 0.2


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop of its own, in another thread: a notebook's thread already runs a loop.

    Args:
        coroutine: What to run.

    Returns:
        What the coroutine returns.

    Raises:
        BaseException: What the coroutine raises. Or what a signal raises in the calling thread, such as
            ``KeyboardInterrupt``: then the coroutine is cancelled first, and has ended.
    """
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

    async def main() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        begun.set_result((asyncio.get_running_loop(), task))
        return await coroutine

    with ThreadPoolExecutor(1, thread_name_prefix="idfkit-fs-loop") as pool:
        running = pool.submit(asyncio.run, main())
        try:
            while not wait([running], _POLL_SECONDS).done:
                pass
        except BaseException:
            loop, task = begun.result()
            with contextlib.suppress(RuntimeError):  # the loop is closed: the coroutine has just ended
                loop.call_soon_threadsafe(task.cancel)
            raise
        return running.result()
