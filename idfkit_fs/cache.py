"""The local cache of results: look at it, make it smaller, empty it.

``docs/cache.md`` describes what it promises.
"""

from __future__ import annotations

import os

from idfkit_fs._cache.options import open_cache, parse_bytes
from idfkit_fs._cache.store import Cache, CacheInfo

__all__ = ["CacheInfo", "clear", "info", "prune"]


def info(cache_storage: str | os.PathLike[str] | None = None) -> CacheInfo:
    """What the cache of results holds.

    Args:
        cache_storage: The cache's directory; the user's own unless given.

    Returns:
        Counts and sizes.

    Raises:
        CacheDirectoryError: If the directory belongs to another user, or is writable by other users.

    Examples:
        >>> info().bytes <= info().max_bytes
        True
    """
    return _named(cache_storage).info()


def prune(max_bytes: int | str | None = None, cache_storage: str | os.PathLike[str] | None = None) -> int:
    """Remove the least recently used files, until the rest is within the bound. Files in use stay.

    Args:
        max_bytes: The bound, in bytes or as a text such as ``"2 GB"``; the cache's own unless given.
        cache_storage: The cache's directory; the user's own unless given.

    Returns:
        How many bytes were freed.

    Raises:
        CacheDirectoryError: If the directory belongs to another user, or is writable by other users.

    Examples:
        >>> prune("2 GB")
        0
    """
    cache = _named(cache_storage)
    return cache.prune(cache.max_bytes if max_bytes is None else parse_bytes(max_bytes))


def clear(cache_storage: str | os.PathLike[str] | None = None) -> int:
    """Remove every file that is not in use.

    Args:
        cache_storage: The cache's directory; the user's own unless given.

    Returns:
        How many bytes were freed.

    Raises:
        CacheDirectoryError: If the directory belongs to another user, or is writable by other users.
    """
    return _named(cache_storage).prune(-1)  # below zero, so that empty files are removed too


def _named(cache_storage: str | os.PathLike[str] | None) -> Cache:
    return open_cache({} if cache_storage is None else {"cache_storage": cache_storage})
