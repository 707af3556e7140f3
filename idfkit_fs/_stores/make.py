"""Make the fsspec filesystem of a URL, with defaults that suit results."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import fsspec
from fsspec.core import url_to_fs
from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.backends import HOSTS, OBJECT_STORES, S3, copied, split_host
from idfkit_fs._stores.options import check_options, filesystem_class
from idfkit_fs._stores.translate import translate
from idfkit_fs._util.messages import redact, secrets_of
from idfkit_fs._util.urls import chain_protocols
from idfkit_fs.errors import LocationError, StorageOptionsError

__all__ = ["make_filesystem"]


def make_filesystem(url: str, options: Mapping[str, Any]) -> tuple[AbstractFileSystem, str, dict[str, Any]]:
    """Route a URL to an fsspec filesystem, with defaults that suit results.

    Args:
        url: A URL (repaired), possibly chained, or a plain local path. ``simplecache::`` before it concerns the
            cache, not the store, and is left out.
        options: Storage options, as fsspec takes them.

    Returns:
        The store's filesystem, the URL's key in it, and the options that were used.

    Raises:
        MissingExtraError: If the protocol's package is not installed.
        StorageOptionsError: If an option is unknown and would be ignored.
        PermissionDeniedError: If credentials that are needed to begin with cannot be found.
        LocationError: If fsspec knows no such protocol, or the URL lacks its slashes.
    """
    chain = chain_protocols(url)
    if chain == ("simplecache",):
        raise LocationError(
            f"{redact(url)!r} names no store; simplecache:: goes before a URL, as in simplecache::s3://bucket/study"
        )
    if chain[0] == "simplecache":
        return _behind_simplecache(url, chain, options)
    scheme = url.partition(":")[0]
    if chain == ("file",) and ":" in url and scheme in fsspec.available_protocols() and scheme != "file":
        raise LocationError(f"{redact(url)!r} is no URL, and would be taken for a local path; write {scheme}://")
    effective = _with_defaults(chain, options)
    for index, protocol in enumerate(chain):
        own = {name: value for name, value in effective.items() if name not in chain} if index == 0 else {}
        check_options(filesystem_class(protocol), protocol, {**own, **effective.get(protocol, {})}, chain)
    if filesystem_class(chain[0]).__module__ == "s3fs.core":
        from idfkit_fs._stores.s3 import QuickS3FileSystem

        flat = {**effective.pop(chain[0], {}), **effective}
        fs: AbstractFileSystem = QuickS3FileSystem(**copied(flat))
        return fs, fs._strip_protocol(url), flat
    handled = sys.exception()
    try:
        server, key = split_host(url) if chain[0] in HOSTS else (url, "")
        fs, stripped = url_to_fs(server, **copied(effective))
    except Exception as exc:  # noqa: BLE001 - each SDK has its own; the translator sorts them
        # gcsfs looks for credentials at once, on the network if need be.
        raise translate(exc, redact(url), secrets=secrets_of(effective), handled=handled)  # noqa: B904 - has its cause
    return fs, key or stripped, effective


def _behind_simplecache(
    url: str, chain: tuple[str, ...], options: Mapping[str, Any]
) -> tuple[AbstractFileSystem, str, dict[str, Any]]:
    """Route the URL behind ``simplecache::``, which has the options of no other protocol, as in fsspec."""
    behind = chain[1:]
    cache = {name: value for name, value in options.items() if name not in behind and name != "simplecache"}
    cache.update(options.get("simplecache", {}))
    nested = {name: value for name, value in options.items() if name in behind}
    alone = len(behind) == 1
    fs, key, effective = make_filesystem(url.partition("::")[2], nested.get(behind[0], {}) if alone else nested)
    if "cache_storage" in cache:
        # Who shares the directory by these options, such as pandas, is not to make it open to others.
        cache.setdefault("cache_storage_mode", 0o700)
    return fs, key, {"simplecache": cache, **({behind[0]: effective} if alone else effective)}


def _with_defaults(chain: tuple[str, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's options, and what they left open where a backend's default would hurt."""
    effective = dict(options)
    store = chain[-1]
    if store not in OBJECT_STORES | {"ftp"} or store in ("http", "https"):
        return effective
    nested = len(chain) > 1 or store in effective
    own = dict(effective.get(store, {})) if nested else effective
    # A cached listing hides what other machines wrote.
    own.setdefault("use_listings_cache", False)
    if store in S3:
        own["config_kwargs"] = _s3_config(own)
    if nested:
        effective[store] = own
    return effective


def _s3_config(options: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("client_kwargs", "config_kwargs"):
        if not isinstance(options.get(name), Mapping | None):
            raise StorageOptionsError(f"s3:// takes a dictionary as {name}, not {type(options[name]).__name__}")
    config: dict[str, Any] = {"max_pool_connections": 50}
    client = options.get("client_kwargs") or {}
    configured = fsspec.config.conf.get("s3", {})
    environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if any((options.get("endpoint_url"), client.get("endpoint_url"), configured.get("endpoint_url"), environment)):
        # botocore's newer checksum trailers break several S3-compatible services; AWS itself is asked as usual.
        config["request_checksum_calculation"] = "when_required"
        config["response_checksum_validation"] = "when_required"
    return {**config, **configured.get("config_kwargs", {}), **(options.get("config_kwargs") or {})}
