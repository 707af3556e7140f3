"""Progress bars."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from idfkit_fs._util.messages import printable
from idfkit_fs._util.optional_deps import require

__all__ = ["byte_progress_bar", "progress_bar", "require_tqdm"]


def progress_bar(
    total: int | None, description: str, unit: str, progress: bool
) -> AbstractContextManager[Callable[[int], Any]]:
    """A bar that counts things.

    Args:
        total: How many there are; None if it is not known.
        description: The text before the bar.
        unit: What one of them is called.
        progress: Whether to show a bar at all.

    Returns:
        A context manager; call its target with how many more are done.
    """
    form = _format(len(str(total))) if total else "{desc}: {n_fmt} {unit}s in {elapsed}"
    return _bar(progress, form, total=total, desc=printable(description), unit=unit)


def byte_progress_bar(total: int, description: str, progress: bool) -> AbstractContextManager[Callable[[int], Any]]:
    """A bar that counts bytes; see [progress_bar][idfkit_fs._util.progress.progress_bar]."""
    look = {"desc": printable(description), "unit": "B", "unit_scale": True, "unit_divisor": 1024}
    return _bar(progress, _format(len("1023M"), "B {rate_fmt:>9}"), total=total, **look)


def _format(digits: int, more: str = "") -> str:
    """How a bar looks: each part has a width of its own, so that the bar does not move."""
    counts = f"{{n_fmt:>{digits}}} of {{total_fmt}}{more}"
    return f"{{desc}} {{percentage:3.0f}}% |{{bar}}| {counts} {{elapsed:>5}}, {{remaining:>7}} left"


@contextlib.contextmanager
def _bar(progress: bool, form: str, **look: Any) -> Iterator[Callable[[int], Any]]:
    if not progress:
        yield lambda _count: None
        return
    tqdm = require_tqdm()
    in_notebook = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
    if not in_notebook and sys.stderr is not None and not sys.stderr.isatty():
        yield _Lines(look["desc"], look["total"]).update
        return
    with tqdm(**look, bar_format=form, dynamic_ncols=True) as bar:
        yield bar.update


class _Lines:
    """Progress in a log: a line for each tenth, because a bar would fill it with control characters."""

    def __init__(self, description: str, total: int | None) -> None:
        self._description, self._total = description, total or 0
        self._count = self._tenths = 0
        self._lock = threading.Lock()

    def update(self, count: int) -> None:
        with self._lock:
            self._count += count
            tenths = self._count * 10 // self._total if self._total else 0
            if tenths > self._tenths:
                print(f"{self._description}: {tenths * 10} %", file=sys.stderr, flush=True)
            self._tenths = tenths


def require_tqdm() -> Any:
    """The tqdm class that suits a terminal or a notebook.

    Raises:
        MissingExtraError: If tqdm is not installed.
    """
    return require("tqdm.auto", "progress", "progress=True").tqdm
