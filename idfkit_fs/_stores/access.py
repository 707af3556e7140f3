"""Single calls to a store that the adapter and the cache both need, and the context that maps their errors."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.backends import tuned, unstripped
from idfkit_fs._stores.translate import translate
from idfkit_fs._util.messages import redact, secrets_of
from idfkit_fs._util.urls import repair

__all__ = ["forget_listing", "fresh_info", "read_file", "store_url", "translated"]


def store_url(fs: AbstractFileSystem, key: str) -> str:
    """The URL of a key in a filesystem."""
    return repair(unstripped(fs, key))


@contextlib.contextmanager
def translated(fs: AbstractFileSystem, key: str) -> Iterator[None]:
    """Map what the store raises to the errors of this package, about the URL of a key."""
    handled = sys.exception()
    try:
        yield
    except Exception as exc:  # noqa: BLE001 - each SDK has its own classes; the translator sorts them
        secrets = secrets_of(fs.storage_options)
        url = redact(store_url(fs, key), secrets)
        raise translate(exc, url, secrets=secrets, handled=handled)  # noqa: B904 - sets its cause


def forget_listing(fs: AbstractFileSystem, key: str) -> None:
    """Make the filesystem ask the store about a key, and not an old listing."""
    fs.invalidate_cache(key)
    fs.invalidate_cache(fs._parent(key))  # noqa: SLF001 - fsspec's own extension point


def fresh_info(fs: AbstractFileSystem, key: str) -> dict[str, Any]:
    """What the store reports about a key now."""
    forget_listing(fs, key)
    info: dict[str, Any] = fs.info(key)
    return info


def read_file(fs: AbstractFileSystem, key: str, count: int | None = None) -> bytes:
    """Read a whole file, or its first *count* bytes, in as few requests as the backend allows."""
    if count is not None:
        first: bytes = fs.cat_file(key, start=0, end=count)
        return first[:count]  # a server without ranges sends the whole file
    data: bytes = fs.cat_file(key, **tuned(fs, "cat_file"))
    return data
