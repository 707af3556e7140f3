"""Make the fsspec filesystem of a URL, with defaults that suit results."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import Any

import fsspec
from fsspec.config import apply_config
from fsspec.core import url_to_fs
from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.backends import HOSTS, OBJECT_STORES, S3, copied, split_host, stripper
from idfkit_fs._stores.identity import backend_package, identity_by, s3_settings, surroundings
from idfkit_fs._stores.instances import made, shared
from idfkit_fs._stores.limits import bounded_class
from idfkit_fs._stores.options import check_endpoint, check_options, filesystem_class
from idfkit_fs._stores.translate import translate
from idfkit_fs._util.messages import redact, secrets_of
from idfkit_fs._util.urls import chain_protocols
from idfkit_fs.errors import IdfkitFsError, LocationError, StorageOptionsError

__all__ = ["make_filesystem"]

_CHAINED = re.compile(r"::[A-Za-z][A-Za-z0-9+.\-]+(?:::|://)")
_DICTIONARIES = ("client_kwargs", "config_kwargs")


def make_filesystem(url: str, options: Mapping[str, Any]) -> tuple[AbstractFileSystem, str, dict[str, Any]]:
    """Route a URL to an fsspec filesystem, with defaults that suit results.

    Args:
        url: A URL (repaired), possibly chained, or a plain local path, without a cache before it.
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
    scheme = url.partition(":")[0]
    if chain == ("file",) and ":" in url and scheme in fsspec.available_protocols() and scheme != "file":
        raise LocationError(f"{redact(url)!r} is not a URL, and would be taken for a local path; write {scheme}://")
    options = copied(options)  # kept, to make the filesystem again with
    if len(chain) > 1 or _CHAINED.search(url):
        # In zip://a.csv::s3://bucket/x.zip the outer protocol has a path of its own.
        return _chained(url, tuple(chain_protocols(part)[-1] for part in _parts(url)), options)
    protocol, cls = chain[0], filesystem_class(chain[0])
    given = {name: value for name, value in options.items() if name != protocol} | dict(options.get(protocol) or {})
    check_options(cls, protocol, given, chain)
    handled = sys.exception()
    try:
        around = surroundings(cls)
        effective = _with_defaults(chain, given, around)
        server = split_host(url)[0] if protocol in HOSTS else url
        own = _with_url(protocol, cls._get_kwargs_from_urls(server), effective)
        identity = identity_by(cls, own, around)
        fs = shared(
            cls,
            own,
            identity,
            lambda: _make(protocol, cls, own, around),
            lambda: make_filesystem(url, options)[0],
        )
    except Exception as exc:  # noqa: BLE001 - each SDK has its own; the translator sorts them
        # gcsfs looks for credentials immediately, on the network if necessary.
        raise _explained(exc, url, protocol, options, handled)  # noqa: B904 - has its cause
    return fs, stripper(fs)(url), effective


def _with_url(protocol: str, said: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with those that the URL itself holds, such as a host and a user's name."""
    for name, value in said.items():
        if options.get(name) not in (None, value):
            raise StorageOptionsError(
                f"The storage option {name!r} contradicts the {protocol}:// URL, which has another one; give it once"
            )
    return {**options, **said}


def _make(protocol: str, cls: type[AbstractFileSystem], options: Mapping[str, Any], around: str) -> AbstractFileSystem:
    """A new filesystem, whose requests go where the environment says now, and not when it connects."""
    own = {**copied(options), "skip_instance_cache": True}
    bounded = bounded_class(cls) or cls
    if backend_package(cls) == "s3fs" and protocol in S3:
        from idfkit_fs._stores.aws import check, pin, session_of

        resolved = apply_config(cls, dict(options))
        settings = s3_settings(resolved, around)
        check(settings, resolved.get("config_kwargs") or {})
        fs: AbstractFileSystem = bounded(**own)
        pin(fs, session_of(resolved), settings)
        return fs
    fs = bounded(**own)
    if backend_package(cls) == "gcsfs":
        # Else gcsfs reads STORAGE_EMULATOR_HOST before each request.
        check_endpoint(protocol, fs._location)  # noqa: SLF001 - as below
        fs._endpoint = fs._location  # noqa: SLF001 - gcsfs has no public way
    return fs


def _parts(url: str) -> list[str]:
    """The links of a chained URL; one that is only a protocol gets its slashes."""
    return [part if "://" in part else f"{part}://" for part in url.split("::")]


def _chained(
    url: str, chain: tuple[str, ...], options: Mapping[str, Any]
) -> tuple[AbstractFileSystem, str, dict[str, Any]]:
    """Route a chained URL, such as ``zip::s3://bucket/x.zip``: a filesystem of its own, not shared."""
    for index, protocol in enumerate(chain):
        flat = {name: value for name, value in options.items() if name not in chain} if index == 0 else {}
        check_options(filesystem_class(protocol), protocol, {**flat, **options.get(protocol, {})}, chain)
    handled = sys.exception()
    try:
        around = surroundings(filesystem_class(chain[-1]))
        effective = _with_defaults(chain, options, around)
        unshared = copied(effective)
        for protocol in chain:
            unshared[protocol] = {**unshared.get(protocol, {}), "skip_instance_cache": True}
        fs, key = url_to_fs(url, **unshared)
        made(fs, identity_by(type(fs), fs.storage_options), lambda: make_filesystem(url, options)[0])
    except Exception as exc:  # noqa: BLE001 - each SDK has its own; the translator sorts them
        raise _explained(exc, url, chain[0], options, handled)  # noqa: B904 - has its cause
    return fs, key, effective


def _explained(
    exc: Exception, url: str, protocol: str, options: Mapping[str, Any], handled: BaseException | None
) -> Exception:
    """This package's error for what a backend raised when it was made; it shows no secret."""
    secrets = secrets_of(options) | secrets_of(os.environ)
    if isinstance(exc, IdfkitFsError) or not isinstance(exc, (ValueError, TypeError, KeyError)):
        return translate(exc, redact(url), secrets=secrets, handled=handled)
    said = str(exc.args[0]) if exc.args else type(exc).__name__
    text = redact(said, secrets)
    known = (str(name) for name, value in options.items() if not isinstance(value, Mapping))
    about = next((name for name in known if re.search(rf"\b{re.escape(name)}\b", text)), None)
    what = f"the storage option {about!r}" if about else "these storage options"
    refused = StorageOptionsError(f"{protocol}:// does not accept {what}: {text}")
    refused.__cause__ = exc if text == said else None
    refused.__suppress_context__ = True
    return refused


def _with_defaults(chain: tuple[str, ...], options: Mapping[str, Any], around: str) -> dict[str, Any]:
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
        own["config_kwargs"] = _s3_config(own, around)
    if nested:
        effective[store] = own
    return effective


def _s3_config(options: Mapping[str, Any], around: str) -> dict[str, Any]:
    """What botocore's ``Config`` is made of: our defaults, fsspec's configuration, the caller's options."""
    resolved = apply_config(filesystem_class("s3"), dict(options))
    configured = fsspec.config.conf.get("s3", {}).get("config_kwargs")
    for name, value in (*((name, resolved.get(name)) for name in _DICTIONARIES), ("config_kwargs", configured)):
        if not isinstance(value, Mapping | None):
            raise StorageOptionsError(f"s3:// takes a dictionary as {name}, not {type(value).__name__}")
    config: dict[str, Any] = {"max_pool_connections": 50}
    settings = s3_settings(resolved, around)
    if settings.endpoint:
        # botocore's newer checksum trailers break several S3-compatible services; AWS itself is asked as usual.
        names = ("request_checksum_calculation", "response_checksum_validation")
        config |= {name: "when_required" for name in names if name not in settings.checksums}
    return {**config, **(configured or {}), **(options.get("config_kwargs") or {})}
