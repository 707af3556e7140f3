"""Many calls in parallel threads, bounded in number and in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from idfkit_fs._util.interrupts import current_stop, stopped_by

__all__ = ["THREADS", "parallel_map"]

S = TypeVar("S")
T = TypeVar("T")

THREADS = 32


def parallel_map(
    function: Callable[[S], T],
    items: Iterable[S],
    done: Callable[[int], Any] = lambda _count: None,
    threads: int = THREADS,
) -> list[T]:
    """Call a function for each item, in parallel threads, because it waits for a store.

    Args:
        function: What to call.
        items: The items; an iterator is asked for the next one only when a thread will soon take it.
        done: Called with the number of items that have been finished since the last call.
        threads: The number of threads.

    Returns:
        What the function returned, in the order of the items.

    Raises:
        BaseException: The first error. No further item is started after it, and no call is running when it is raised.
    """
    futures: list[Future[T]] = []
    waiting: set[Future[T]] = set()
    stop = current_stop()

    def collect(finished: set[Future[T]]) -> None:
        for future in finished:
            future.result()
            done(1)

    with ThreadPoolExecutor(threads, thread_name_prefix="idfkit-fs") as pool:
        try:
            for item in items:
                futures.append(pool.submit(stopped_by(stop, function, item)))
                waiting.add(futures[-1])
                if len(waiting) >= 2 * threads:  # items that wait in the queue take memory
                    finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    collect(finished)
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                collect(finished)
        except BaseException as exc:
            if not isinstance(exc, Exception):  # an interrupt: what is under way is not waited for
                stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]
