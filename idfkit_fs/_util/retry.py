"""The one retry policy of this package, for operations that the store's own SDK gives up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import stamina

__all__ = ["retry"]

T = TypeVar("T")

ATTEMPTS = 3
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0  # seconds


def retry(call: Callable[[], T]) -> T:
    """Call a function again, a few times, after a ``ConnectionError``.

    Args:
        call: What to call; it must do no harm when it is called twice.

    Returns:
        What *call* returned.

    Raises:
        ConnectionError: The last one, when every attempt failed.
    """
    patient = stamina.retry(
        on=ConnectionError, attempts=ATTEMPTS, timeout=None, wait_initial=FIRST_WAIT, wait_max=LONGEST_WAIT
    )
    return patient(call)()
