"""Wait for what another thread or process does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self, TypeVar

__all__ = ["Pauses", "wait_until"]

_T = TypeVar("_T")


def wait_until(condition: Callable[[], _T], what: str, seconds: float = 300.0) -> _T:
    """Repeat a question until the answer is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.05)
    return found


class Pauses:
    """Measures how long this process did not run meanwhile, for tests of what depends on the clock.

    Attributes:
        longest: The longest pause, in seconds.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pauses", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._over.wait(0.01):
            before, last = time.monotonic(), before
            self.longest = max(self.longest, before - last)
        self.longest = max(self.longest, time.monotonic() - before)
