"""Versions of installed packages."""

from __future__ import annotations

import functools
from importlib.metadata import version

__all__ = ["installed_version"]


@functools.cache
def installed_version(package: str) -> str:
    """The version of an installed package, which is read from its metadata once.

    Args:
        package: Its name on the index.

    Raises:
        PackageNotFoundError: If it is not installed.

    Examples:
        >>> installed_version("idfkit-fs") == installed_version("idfkit-fs")
        True
    """
    return version(package)
