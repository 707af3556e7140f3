"""The options of the local cache: those of fsspec's simplecache, and ``max_bytes``."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec

from idfkit_fs._cache.store import Cache
from idfkit_fs._util.messages import did_you_mean
from idfkit_fs._util.urls import is_url
from idfkit_fs.errors import StorageOptionsError

__all__ = ["open_cache", "parse_bytes"]

_DEFAULT_BOUND = 10 * 2**30  # bytes
_SIZE = re.compile(r"\d+(\.\d+)? ?[a-zA-Z]*")
_OPTIONS = frozenset({"cache_storage", "max_bytes", "same_names"})
_REFUSED = {
    "cache_check": "every read asks the store whether the file has changed",
    "cache_mapper": "copies are named by the version of the file",
    "cache_storage_mode": "the directory is always for its user alone",
    "check_files": "every read asks the store whether the file has changed",
    "compression": "copies are kept as the bytes that the store holds; decompress what you read",
    "expiry_time": "a copy is good as long as the store's file is the same; max_bytes bounds the cache",
    "fs": "chain the URL instead, such as safecache::s3://bucket/study",
    "target_options": "give them under the store's own protocol, such as s3={...}",
    "target_protocol": "chain the URL instead, such as safecache::s3://bucket/study",
}


def open_cache(options: Mapping[str, Any]) -> Cache:
    """The cache that simplecache's options describe; fsspec's configuration fills in what they leave open.

    Args:
        options: ``cache_storage`` (one directory, or ``"TMP"`` for one that ends with the process), ``max_bytes``
            (a number, or a text such as ``"20 GB"``), ``same_names`` (copies keep their names in either case).

    Returns:
        The cache. Nothing is created on disk yet.

    Raises:
        StorageOptionsError: For an option that is unknown, or that this cache cannot honour.
    """
    configured = {**fsspec.config.conf.get("simplecache", {}), **fsspec.config.conf.get("safecache", {})}
    for name, value in options.items():
        if name in _REFUSED and value and (name, value) != ("cache_storage_mode", 0o700):
            raise StorageOptionsError(f"The cache takes no {name!r} here: {_REFUSED[name]}")
        if name not in _OPTIONS and name not in _REFUSED:
            raise StorageOptionsError(
                f"The cache has no storage option {name!r}{did_you_mean(name, _OPTIONS)}; "
                f"the store's own options go under its protocol, such as s3={{{name!r}: ...}}"
            )
    # What is configured for fsspec's own cache, and has no meaning for this one, is not a mistake.
    options = {**{name: value for name, value in configured.items() if name in _OPTIONS}, **options}
    bound = options.get("max_bytes")
    return Cache(_directory(options.get("cache_storage")), _DEFAULT_BOUND if bound is None else parse_bytes(bound))


def _directory(cache_storage: Any) -> Path | None:
    """The directory that ``cache_storage`` names; None for one that ends with the process."""
    if isinstance(cache_storage, (list, tuple)):
        if len(cache_storage) != 1:
            raise StorageOptionsError("The cache takes one directory as 'cache_storage' here, not several")
        (cache_storage,) = cache_storage
    if cache_storage is None:
        return _user_directory()
    try:
        directory = Path(cache_storage).expanduser()
    except (TypeError, RuntimeError) as exc:
        raise StorageOptionsError(f"'cache_storage' must be a directory, not {cache_storage!r}") from exc
    if not os.fspath(cache_storage) or is_url(os.fspath(cache_storage)):
        raise StorageOptionsError(
            f"'cache_storage' must be a directory of this machine, not {os.fspath(cache_storage)!r}"
        )
    return None if os.fspath(cache_storage) == "TMP" else directory.absolute()


def _user_directory() -> Path | None:
    from platformdirs import user_cache_path

    try:
        directory = user_cache_path("idfkit-fs", appauthor=False, ensure_exists=False)
    except RuntimeError:
        return None  # a container's user may have no home
    return directory if directory.is_absolute() else None


def parse_bytes(size: Any) -> int:
    """A number of bytes, given as such or as a text with a unit.

    Examples:
        >>> parse_bytes("20 GB"), parse_bytes(512)
        (20000000000, 512)
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError  # slow to import, and seldom needed

    with contextlib.suppress(ValidationError):
        if _SIZE.fullmatch(str(size)):
            return int(TypeAdapter(ByteSize).validate_python(size))
    raise StorageOptionsError(f"{size!r} is not a size in bytes; give a number, or a text such as '20 GB'")
