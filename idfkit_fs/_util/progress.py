"""Progress bars."""

from __future__ import annotations

import contextlib
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
    return _bar(progress, total=total, desc=printable(description), unit=unit)


def byte_progress_bar(total: int, description: str, progress: bool) -> AbstractContextManager[Callable[[int], Any]]:
    """A bar that counts bytes; see [progress_bar][idfkit_fs._util.progress.progress_bar]."""
    return _bar(progress, total=total, desc=printable(description), unit="B", unit_scale=True, unit_divisor=1024)


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
