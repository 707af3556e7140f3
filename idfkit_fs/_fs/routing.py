"""From a URL with storage options, or a filesystem that was handed over, to what an adapter needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from fsspec.spec import AbstractFileSystem

from idfkit_fs._cache.filesystem import CACHE_PROTOCOL, CacheFileSystem
from idfkit_fs._cache.options import open_cache
from idfkit_fs._fs.paths import Root
from idfkit_fs._stores.access import store_url
from idfkit_fs._stores.backends import (
    cached_filesystem,
    is_archive,
    is_local,
    is_object_store,
    options_of,
    protocols,
    stripper,
    unfit,
    url_protocols,
)
from idfkit_fs._stores.identity import backend_package
from idfkit_fs._stores.make import make_filesystem
from idfkit_fs._stores.nested import check_nested
from idfkit_fs._util.messages import redact
from idfkit_fs._util.urls import Location, chain_protocols, is_url, repair, split_url
from idfkit_fs.errors import LocationError

__all__ = ["Route", "route_filesystem", "route_url"]

# In a URL that is given to this package, all of them mean the cache of this package.
_CACHE_NAMES = ("simplecache", CACHE_PROTOCOL)
_CACHE_PREFIXES = tuple(f"{name}::" for name in _CACHE_NAMES)


class Route(NamedTuple):
    """A filesystem and a root in it.

    Attributes:
        fs: The fsspec filesystem; a cached store is a CacheFileSystem.
        root: The root.
        options: The storage options that lead there, for other readers of the root's URL.
    """

    fs: AbstractFileSystem
    root: Root
    options: dict[str, Any]


def route_url(url: Location, options: Mapping[str, Any]) -> Route:
    """Route a URL to its store, as fsspec does.

    Raises:
        LocationError: If the URL has no bucket or directory.
        MissingExtraError: If the protocol's package is not installed.
        StorageOptionsError: If an option is unknown.
    """
    text = repair(url)
    prefix = next((prefix for prefix in _CACHE_PREFIXES if text.startswith(prefix)), "")
    behind = text.removeprefix(prefix)
    if not behind:  # fsspec would take the working directory
        raise LocationError(f"the URL {text!r} has no bucket or directory; write one, such as 's3://bucket/study'")
    if chain_protocols(behind)[0] in _CACHE_NAMES:
        raise LocationError(f"{redact(text)!r} has no store; write {CACHE_PROTOCOL}::s3://bucket/study")
    if prefix and not is_url(behind):
        behind = f"file://{os.path.abspath(behind)}"
    if not prefix:
        store, key, effective = make_filesystem(behind, options)
        return Route(store, _root(store, key, behind if is_url(behind) else None), effective)
    cache_options, store_options = _split_options(chain_protocols(behind), options)
    open_cache(cache_options)  # refuses those that only fsspec itself may pass
    store, key, effective = make_filesystem(behind, store_options)
    fs = CacheFileSystem(fs=store, **cache_options)
    chain = chain_protocols(behind)
    nested = {chain[0]: effective} if len(chain) == 1 else effective
    return Route(fs, _root(store, key, f"{CACHE_PROTOCOL}::{behind}"), {CACHE_PROTOCOL: cache_options, **nested})


def _split_options(chain: tuple[str, ...], options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the cache, and those of the store behind it; flat ones are the cache's, as in fsspec."""
    nested = {name: value for name, value in options.items() if name in chain}
    cache = {name: value for name, value in options.items() if name not in (*chain, *_CACHE_NAMES)}
    for name in _CACHE_NAMES:
        cache.update(options.get(name, {}))
    return cache, nested.get(chain[0], {}) if len(chain) == 1 else nested


def route_filesystem(fs: AbstractFileSystem, root: str, options: dict[str, Any] | None = None) -> Route:
    """Take a filesystem that was handed over, with a root in it.

    Args:
        fs: Any fsspec filesystem. Of fsspec's simplecache, the filesystem behind it is read through our own cache.
        root: A path or full URL in it.
        options: The storage options that lead to it; its own unless given.

    Raises:
        LocationError: If *root* is empty, or a URL of another filesystem.
        StorageOptionsError: If the filesystem has nested options that its SDK does not know.
        ValueError: If *fs* was made with ``asynchronous=True``.
    """
    if getattr(fs, "asynchronous", False):
        raise ValueError(
            f"{type(fs).__name__} was made with asynchronous=True and works in its own event loop only; "
            "make it without: neither adapter blocks your loop with it"
        )
    text = repair(root)
    behind = fs.store if isinstance(fs, CacheFileSystem) else cached_filesystem(fs)
    store = fs if behind is None else behind
    check_nested(backend_package(type(store)), protocols(store)[0], store.storage_options)
    parts = split_url(text)
    if parts and parts.protocol not in url_protocols(store):
        known = ", ".join(url_protocols(store))
        raise LocationError(f"{redact(text)!r} is not a URL of {type(fs).__name__} ({known})")
    options = options_of(fs) if options is None else options
    if behind is None:
        return Route(fs, _root(fs, text, None), options)
    if not isinstance(fs, CacheFileSystem):
        # Only its options: fsspec's own cache shows files of which it has a part, or an old version.
        cache_options = options.get("simplecache", {})
        fs = CacheFileSystem(fs=store, **cache_options)
        options = {
            CACHE_PROTOCOL: cache_options,
            **{name: value for name, value in options.items() if name != "simplecache"},
        }
    return Route(fs, _root(store, text, None, f"{CACHE_PROTOCOL}::"), options)


def _root(store: AbstractFileSystem, root: str, url: str | None, prefix: str = "") -> Root:
    """The root of an adapter.

    Args:
        store: The store's own filesystem.
        root: A key or URL in it.
        url: The URL as it was given; None to ask the filesystem for it.
        prefix: What goes before a URL that the filesystem gives.
    """
    key = _root_key(store, root)
    head, tail = _split_archive(url) if url and is_archive(store) else (url, "")
    head = prefix + store_url(store, key) if head is None else head
    if not head.endswith("://"):
        head = head.rstrip("/")
    return Root(key, head, url_protocols(store), stripper(store), is_local(store), unfit(store), tail)


def _split_archive(url: str) -> tuple[str, str]:
    """The URL of a path in an archive, up to that path and from there on; ``zip::x`` is ``zip://::x``."""
    prefix = next((prefix for prefix in _CACHE_PREFIXES if url.startswith(prefix)), "")
    inside, separator, archive = url.removeprefix(prefix).partition("::")
    return prefix + (inside if "://" in inside else f"{inside}://"), separator + archive


def _root_key(fs: AbstractFileSystem, root: str) -> str:
    """The root in the filesystem's own form, normalised."""
    if is_local(fs):
        key: str = os.path.abspath(stripper(fs)(root)).replace("\\", "/")
    else:
        key = stripper(fs)(root) if is_url(root) else root
    protocol, separator, rest = key.rpartition("://")
    rooted = fs.root_marker == "/" or (rest.startswith("/") and not is_object_store(fs))
    segments = [part for part in rest.split("/") if part not in ("", ".")]
    if is_archive(fs) and ".." not in segments:
        return "/".join(segments)  # an archive may be the root itself
    if not segments or ".." in segments or not root.strip("/"):
        raise LocationError(
            f"the root {redact(root)!r} has no bucket or directory; write one, such as 's3://bucket/study'"
        )
    anchor = "/" if rooted and not os.path.splitdrive(key)[0] else ""
    return protocol + separator + anchor + "/".join(segments)
