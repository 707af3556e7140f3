"""End what an interrupt, a signal or a cancelled task leaves under way, before anything else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import FrameType
from typing import Any, TypeVar

__all__ = [
    "Stop",
    "current_stop",
    "in_thread",
    "run_coroutine",
    "run_stoppable",
    "settled",
    "sheltered",
    "stopped_by",
    "unless_stopped",
]

T = TypeVar("T")
# The system may deliver a signal to another thread, which does not wake this one.
_POLL_SECONDS = 0.2
# For a request that takes back what was begun in a store, such as a multipart upload, whose parts cost money.
_GRACE_SECONDS = 10.0


class Stop(threading.Event):
    """Tells calls in other threads to stop: they look at it between their steps, and requests to a store are cancelled.

    The calls of a thread know it as [current_stop][idfkit_fs._util.interrupts.current_stop].
    """

    def __init__(self) -> None:
        super().__init__()
        self.times = 0
        self._cancels: set[Callable[[], Any]] = set()

    def set(self) -> None:
        """Stop the calls; a second time, also those that take back what was begun in a store."""
        self.times += 1
        super().set()
        for cancel in [*self._cancels]:
            cancel()

    @contextlib.contextmanager
    def cancelling(self, cancel: Callable[[], Any]) -> Iterator[None]:
        """Within the block, a stop calls *cancel*, in any thread."""
        self._cancels.add(cancel)
        try:
            if self.is_set():
                cancel()
            yield
        finally:
            self._cancels.discard(cancel)


_current: contextvars.ContextVar[Stop | None] = contextvars.ContextVar("idfkit_fs_stop", default=None)


def current_stop() -> Stop:
    """What stops the calls of this thread; one that is never set where nothing does."""
    return _current.get() or Stop()


def stopped_by(stop: Stop, call: Callable[..., T], *args: Any) -> Callable[[], T]:
    """A call as another thread is to make it, with *stop* to stop it, and with the context of this thread."""
    context = contextvars.copy_context()
    context.run(_current.set, stop)
    return functools.partial(context.run, call, *args)


async def unless_stopped(request: Coroutine[Any, Any, T], *, needed: bool = False) -> T:
    """Await a request to a store, unless the thread that asks for it is stopped.

    fsspec runs requests in an event loop of its own, in another thread, where they could not be cancelled.

    Args:
        request: The request.
        needed: Whether it takes back what was begun in the store: then it still has some seconds, until a second stop.

    Returns:
        What the request returns.

    Raises:
        InterruptedError: If the thread was stopped.
    """
    stop = _current.get()  # asyncio has copied the context of the thread that asks
    if stop is None:
        return await request
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(request)

    def cancel() -> None:
        seconds = _GRACE_SECONDS if needed and stop.times == 1 else 0
        loop.call_soon_threadsafe(lambda: loop.call_later(seconds, task.cancel))

    with stop.cancelling(cancel):
        try:
            return await task
        except asyncio.CancelledError:
            if not stop.is_set():
                raise
            raise InterruptedError("stopped before the store had answered") from None


async def settled(running: asyncio.Future[T], stop: Callable[[], Awaitable[Any]]) -> T:
    """Await something that must have ended before its task goes on, however often the task is cancelled.

    Args:
        running: What to await.
        stop: Called when the task is cancelled, and again until *running* has ended; it should make it end soon.

    Returns:
        The result of *running*.

    Raises:
        CancelledError: If the task was cancelled; *running* has ended.
    """
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError as exc:
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await stop()
        if not running.cancelled() and (error := running.exception()):  # so that it is not reported as not retrieved
            for note in getattr(error, "__notes__", ()):
                exc.add_note(note)
        raise


async def in_thread(call: Callable[..., T], *args: Any) -> T:
    """Run a call in a thread, and if the task is cancelled, stop the call and wait until it has ended.

    Args:
        call: What to call.
        *args: Its arguments.

    Returns:
        What *call* returns.
    """
    stop = Stop()
    running = asyncio.get_running_loop().run_in_executor(None, stopped_by(stop, call, *args))

    async def end() -> None:
        stop.set()
        await asyncio.wait([running])

    return await settled(running, end)


@contextlib.contextmanager
def sheltered() -> Iterator[None]:
    """Within the block, requests are made although this thread was stopped: for some seconds, or until a second stop.

    They bring to an end, or take back, what was begun in a store.
    """
    outer, stop = current_stop(), Stop()
    stop.times = 1  # when it stops, nothing within has a grace of its own
    timer = threading.Timer(_GRACE_SECONDS, stop.set)
    timer.daemon = True
    lock = threading.Lock()  # two threads may call this at the same time, as the block begins

    def limit() -> None:
        if outer.times > 1:
            stop.set()
            return
        with lock:
            if timer.ident is None:
                timer.start()

    token = _current.set(stop)
    try:
        with outer.cancelling(limit):
            yield
    finally:
        timer.cancel()
        _current.reset(token)


def run_stoppable(call: Callable[[], T]) -> T:
    """Run a call that an interrupt of the calling thread stops, so that nothing goes on behind the interrupt.

    Args:
        call: What to call, in another thread.

    Returns:
        What *call* returns.

    Raises:
        BaseException: As in [run_coroutine][idfkit_fs._util.interrupts.run_coroutine].
    """
    if _current.get() is not None:  # what runs this thread waits for it, and stops it
        return call()
    return run_coroutine(in_thread(call))


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop of its own, in another thread: a notebook's thread already runs a loop.

    A SIGTERM or SIGHUP that would end the process at once ends it when the coroutine has been cancelled.

    Args:
        coroutine: What to run.

    Returns:
        What the coroutine returns.

    Raises:
        BaseException: What the coroutine raises. Or what a signal raises in the calling thread, such as
            ``KeyboardInterrupt``: then the coroutine is cancelled first, and has ended. Each further signal cancels it
            again.
    """
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

    async def main() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        begun.set_result((asyncio.get_running_loop(), task))
        return await coroutine

    def cancel() -> None:
        either: list[Future[Any]] = [begun, running]
        wait(either, return_when=FIRST_COMPLETED)
        if begun.done():
            loop, task = begun.result()
            with contextlib.suppress(RuntimeError):  # the loop is closed: the coroutine has just ended
                loop.call_soon_threadsafe(task.cancel)

    with _terminations(), ThreadPoolExecutor(1, thread_name_prefix="idfkit-fs-loop") as pool:
        running = pool.submit(contextvars.copy_context().run, asyncio.run, main())
        try:
            _wait_for(running, cancel)
        except BaseException as exc:
            for note in getattr(running.exception() if not running.cancelled() else None, "__notes__", ()):
                exc.add_note(note)
            raise
        return running.result()


def _wait_for(running: Future[Any], cancel: Callable[[], Any]) -> None:
    try:
        while not wait([running], _POLL_SECONDS).done:
            pass
    except BaseException:
        cancel()
        _wait_for(running, cancel)  # a second Ctrl-C must not leave behind what the first one is ending
        raise


class _Terminated(BaseException):
    """A signal that ends the process."""


@contextlib.contextmanager
def _terminations() -> Iterator[None]:
    """Within the block, signals that would end this process raise an error; one that has done so ends it afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = ("SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) in (signal.SIG_DFL, _terminate)]
    received: list[int] = []
    _receiving[os.getpid()] = received
    for number in numbers:
        signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        if received:
            os.kill(os.getpid(), received[0])


_receiving: dict[int, list[int]] = {}


def _terminate(number: int, _frame: FrameType | None) -> None:
    received = _receiving.get(os.getpid())
    if received is None:  # a forked child has inherited this handler
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    received.append(number)
    raise _Terminated(number)
