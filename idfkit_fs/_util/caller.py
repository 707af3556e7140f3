"""Warnings that point at the line of the caller's program, not at ours."""

from __future__ import annotations

import inspect
import warnings

from idfkit_fs._util.messages import printable

__all__ = ["warn_caller"]

_PACKAGE = __name__.partition(".")[0]


def warn_caller(message: str) -> None:
    """Warn, with the file and line of the nearest caller outside of this package.

    Python 3.12 has ``skip_file_prefixes`` for it.

    Args:
        message: What the warning says; a ``UserWarning``.
    """
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame, level = frame.f_back, level + 1
    warnings.warn(printable(message), stacklevel=level)
