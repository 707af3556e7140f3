"""Packages that come with an extra, and are asked for when something needs them."""

from __future__ import annotations

import importlib
from typing import Any

from idfkit_fs.errors import MissingExtraError

__all__ = ["require"]


def require(package: str, extra: str, what: str) -> Any:
    """Import a package that not everybody has.

    Args:
        package: Its name.
        extra: The extra of this package that brings it.
        what: What needs it, for the message.

    Returns:
        The package.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as exc:
        msg = f"{what} needs a package that is not installed: pip install 'idfkit-fs[{extra}]'"
        raise MissingExtraError(msg) from exc
