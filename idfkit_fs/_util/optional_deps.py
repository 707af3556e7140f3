"""Import packages that only an extra installs."""

from __future__ import annotations

import importlib
from typing import Any

from idfkit_fs.errors import MissingExtraError

__all__ = ["require"]


def require(package: str, extra: str, what: str) -> Any:
    """Import an optional package.

    Args:
        package: Its import name.
        extra: The extra of idfkit-fs that installs it.
        what: What needs it, for the message.

    Returns:
        The module.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as exc:
        raise MissingExtraError(
            f"{what} needs a package that is not installed: pip install 'idfkit-fs[{extra}]'"
        ) from exc
