"""Many requests side by side, again where the store did not answer, and a bar that shows how far they are."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import stamina

from idfkit_fs.extras import require
from idfkit_fs.filesystem import FsspecFileSystem

__all__ = ["byte_meter", "counter", "create", "discard", "patiently", "require_tqdm", "side_by_side"]

S = TypeVar("S")
T = TypeVar("T")

AT_ONCE = 32


def patiently(call: Callable[[], T]) -> T:
    """Call again, a few times, where the store did not answer; fsspec's own retries do not cover every loss."""
    patient = stamina.retry(on=ConnectionError, attempts=3, timeout=None, wait_initial=0.2, wait_max=5)(call)
    return patient()


def create(fs: FsspecFileSystem, path: str, data: bytes) -> bool:
    """Write a file where none stands; whether it is there now because of this."""
    return patiently(lambda: fs._run(fs._create(path, data)))


def discard(fs: FsspecFileSystem, paths: Iterable[str]) -> None:
    """Remove those of some files that are there, one after the other."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            patiently(functools.partial(fs.remove, path))


def side_by_side(
    function: Callable[[S], T],
    items: Iterable[S],
    done: Callable[[int], Any] = lambda _count: None,
    at_once: int = AT_ONCE,
) -> list[T]:
    """Call a function for each item, in threads, for it waits for a store.

    Args:
        function: What to call; it is called again where the store did not answer.
        items: The items, taken only as fast as they are worked on.
        done: Told how many more have been done.
        at_once: How many threads there are.

    Returns:
        What the function returned, in the order of the items.

    Raises:
        BaseException: The first error; nothing else is begun after it, and nothing is under way any more.
    """
    futures: list[Future[T]] = []
    waiting: set[Future[T]] = set()

    def settle(finished: set[Future[T]]) -> None:
        for future in finished:
            future.result()
            done(1)

    with ThreadPoolExecutor(at_once, thread_name_prefix="idfkit-fs") as pool:
        try:
            for item in items:
                future = pool.submit(patiently, lambda item=item: function(item))
                futures.append(future)
                waiting.add(future)
                if len(waiting) >= 2 * at_once:  # what waits in line is held in memory
                    finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    settle(finished)
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                settle(finished)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]


def counter(
    total: int | None, description: str, unit: str, progress: bool
) -> AbstractContextManager[Callable[[int], Any]]:
    """A bar that counts things.

    Args:
        total: How many there are; None if nobody knows.
        description: What stands before the bar.
        unit: What one of them is called.
        progress: Whether there is a bar at all.

    Returns:
        A context whose target is to be told how many more have been done.
    """
    return _bar(progress, total=total, desc=description, unit=unit)


def byte_meter(total: int, description: str, progress: bool) -> AbstractContextManager[Callable[[int], Any]]:
    """A bar that counts bytes; see [counter][idfkit_fs.transfers.counter]."""
    return _bar(progress, total=total, desc=description, unit="B", unit_scale=True, unit_divisor=1024)


@contextlib.contextmanager
def _bar(progress: bool, **look: Any) -> Iterator[Callable[[int], Any]]:
    if not progress:
        yield lambda _count: None
        return
    with require_tqdm()(**look) as bar:
        yield bar.update


def require_tqdm() -> Any:
    """The tqdm class that suits a terminal or a notebook.

    Raises:
        MissingExtraError: If tqdm is not installed.
    """
    return require("tqdm.auto", "progress", "progress=True").tqdm
