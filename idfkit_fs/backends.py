"""What single fsspec backends need to be told, kept in one place.

The rest of the package treats every fsspec filesystem alike; a fact that holds for one store only belongs here.
"""

from __future__ import annotations

import inspect
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import fsspec
from fsspec.core import url_to_fs
from fsspec.spec import AbstractFileSystem

from idfkit_fs.errors import (
    LocationError,
    MissingExtraError,
    StorageOptionsError,
    did_you_mean,
    redact,
    secrets_of,
    translate,
)
from idfkit_fs.location import chain_protocols

__all__ = [
    "cached_filesystem",
    "copied",
    "expected_size",
    "found_files",
    "in_memory",
    "is_file",
    "is_local",
    "is_object_store",
    "make_filesystem",
    "options_of",
    "protocols",
    "store_identity",
    "stripper",
    "tuned",
    "unfit",
    "url_protocols",
    "version_of",
]

_S3 = frozenset({"s3", "s3a"})
# Stores without directories: nothing to create before a write, and listing a whole tree is one request a thousand keys.
_OBJECT_STORES = frozenset(
    {*_S3, "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "r2", "tos", "http", "https"}
)

_CACHES = frozenset({"simplecache", "filecache", "blockcache", "cached"})

# Where a store is, as the environment says.
_PLACES = (
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE"),
    *("AZURE_STORAGE_ACCOUNT_NAME", "STORAGE_EMULATOR_HOST"),
)
_ACCOUNT = re.compile(r"(?:AccountName|Endpoint)=[^;]*")
# What tells nothing of which store it is: the login, which may be renewed, and what botocore changes as it connects.
_NO_PLACE = frozenset(
    {"aws_access_key_id", "aws_session_token", "config_kwargs", "credential", "key", "password", "secret", "token"}
)

_MIB = 2**20
# s3fs holds `chunksize * max_concurrency` bytes, and asks the size (one HEAD) before a `cat_file` that may be split.
_TUNED_S3FS: dict[str, dict[str, Any]] = {
    "cat_file": {"max_concurrency": 1},
    "put_file": {"chunksize": 8 * _MIB, "max_concurrency": 4},
    "get_file": {"chunksize": 4 * _MIB, "max_concurrency": 4},
    "open": {"block_size": 8 * _MIB},
}

# Other fields may change with the question: a redirect's signed URL, the time of the last access.
_VERSION_FIELDS = frozenset(
    {
        *("ETag", "etag", "VersionId", "version_id", "generation", "md5Hash", "crc32c", "content_md5", "checksum"),
        *("Last-Modified", "LastModified", "last_modified", "created", "modified", "mtime", "updated", "ino"),
    }
)

_INSTALL = {
    "s3": "idfkit-fs[s3]",
    "s3a": "idfkit-fs[s3]",
    "gs": "idfkit-fs[gcs]",
    "gcs": "idfkit-fs[gcs]",
    "az": "idfkit-fs[azure]",
    "abfs": "idfkit-fs[azure]",
    "abfss": "idfkit-fs[azure]",
    "adl": "idfkit-fs[azure]",
    "http": "fsspec[http]",
    "https": "fsspec[http]",
    "sftp": "fsspec[ssh]",
    "ssh": "fsspec[ssh]",
    "smb": "fsspec[smb]",
}
# Constructors of these packages end in **kwargs and drop what they do not know, so their signature is the whole truth.
_CHECKED_PACKAGES = frozenset({"fsspec", "s3fs", "gcsfs", "adlfs"})
# What their **kwargs do take: fsspec's own options, and aiobotocore's session for s3fs.
_BASE_OPTIONS = frozenset(
    {
        "asynchronous",
        "batch_size",
        "listings_expiry_time",
        "loop",
        "max_paths",
        "skip_instance_cache",
        "use_listings_cache",
    }
)
_EXTRA_OPTIONS = {
    "s3fs": frozenset({"profile", "target_options", "target_protocol"}),
    "gcsfs": frozenset({"experimental_zb_hns_support"}),
}


def protocols(fs: AbstractFileSystem) -> tuple[str, ...]:
    """A filesystem's own protocols."""
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def cached_filesystem(fs: AbstractFileSystem) -> AbstractFileSystem | None:
    """The filesystem behind one of fsspec's caches, which share its keys; None for anything else."""
    inner: AbstractFileSystem | None = _own(fs).get("fs") if _CACHES.intersection(protocols(fs)) else None
    return inner


def _own(fs: AbstractFileSystem) -> dict[str, Any]:
    """A filesystem's own attributes; fsspec's caches answer with those of the filesystem behind them."""
    attributes: dict[str, Any] = object.__getattribute__(fs, "__dict__")
    return attributes


def stripper(fs: AbstractFileSystem) -> Callable[[str], str]:
    """What turns a URL into a filesystem's key."""
    if "protocol" in _own(fs):
        # obstore's class serves every protocol, so its own `_strip_protocol` knows none of them.
        prefixes = tuple(f"{protocol}://" for protocol in protocols(fs))
        return lambda url: url.partition("://")[2] if url.startswith(prefixes) else url
    strip: Callable[[str], str] = fs._strip_protocol
    return strip


def found_files(listing: Any) -> list[str]:
    """The keys of the files in what ``find(detail=True)`` gave."""
    if not isinstance(listing, dict):
        return []  # adlfs, asked to look below a file
    # fsspec's own walk says nothing about a file that it was asked to look below.
    return [key for key, info in listing.items() if info and is_file(info)]


def is_file(info: Mapping[str, Any]) -> bool:
    """Whether one entry of a listing is a file, and no object that only marks a directory."""
    if info["type"] == "other":  # a link on the local disk
        return bool(info.get("islink")) and os.path.isfile(info["name"])
    return bool(info["type"] == "file") and not info["name"].endswith("/")


def url_protocols(fs: AbstractFileSystem) -> tuple[str, ...]:
    """Every protocol that a URL to this filesystem may name."""
    cached = cached_filesystem(fs)
    return protocols(fs) if cached is None else url_protocols(cached)


def is_local(fs: AbstractFileSystem) -> bool:
    """Whether the filesystem's keys are this machine's own paths."""
    return "file" in protocols(fs)


def in_memory(fs: AbstractFileSystem) -> bool:
    """Whether the filesystem is fsspec's memory, whose open files share one position."""
    return "memory" in protocols(fs)


def unfit(fs: AbstractFileSystem) -> tuple[str, ...]:
    """Texts that the filesystem's class reads as something else than part of a name."""
    return ("?versionId=",) if not _S3.isdisjoint(url_protocols(fs)) else ()


def is_object_store(fs: AbstractFileSystem) -> bool:
    """Whether the store is known to have keys only, and no directories."""
    inner = _own(fs).get("fs")
    if isinstance(inner, AbstractFileSystem):
        return is_object_store(inner)
    return not _OBJECT_STORES.isdisjoint(protocols(fs))


def options_of(fs: AbstractFileSystem) -> dict[str, Any]:
    """The storage options that would route a URL to a filesystem like this one."""
    cached = cached_filesystem(fs)
    if cached is None:
        return dict(fs.storage_options)
    target = {"fo", "fs", "target_options", "target_protocol"}
    own = {name: value for name, value in _own(fs)["storage_options"].items() if name not in target}
    return {protocols(fs)[0]: own, protocols(cached)[0]: options_of(cached)}


def store_identity(fs: AbstractFileSystem) -> str | None:
    """What tells apart the stores that one URL may lead to; None where that cannot be told.

    It is all plain options but the login, which may be renewed, and what the environment says in their stead.
    """
    options = _plain(fs.storage_options)
    unknown = type(fs).__module__.partition(".")[0] not in _CHECKED_PACKAGES | {"idfkit_fs"}
    if in_memory(fs) or unknown or options is None or fs.storage_args:
        return None
    environment = {name: os.environ[name] for name in _PLACES if name in os.environ}
    connection = fs.storage_options.get("connection_string") or os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    account = _ACCOUNT.findall(connection)
    return repr((options, environment, account, platform.node() if is_local(fs) else ""))


def _plain(options: Mapping[str, Any]) -> list[tuple[str, Any]] | None:
    """The options that can be told in text; None if there is one, and no login, that cannot."""
    secret = secrets_of(options)
    told: list[tuple[str, Any]] = []
    for name, value in sorted(options.items(), key=str):
        if name in _NO_PLACE | _BASE_OPTIONS or value is None:
            continue
        plain = _plain(value) if isinstance(value, dict) else value
        if plain is None or not isinstance(plain, (str, int, float, list)):
            return None
        if isinstance(plain, list) or plain not in secret:
            told.append((str(name), plain))
    return told


def expected_size(info: Mapping[str, Any]) -> int | None:
    """The size of a file as it will arrive, in bytes; None if the store does not tell."""
    # gcsfs unpacks what is stored packed.
    return None if info.get("contentEncoding") else info.get("size")


def version_of(info: Mapping[str, Any]) -> str | None:
    """What the store says of a file that changes with it, and with nothing else; None if it says no such thing."""
    told = {name: value for name, value in info.items() if name in _VERSION_FIELDS and value is not None}
    return repr((info.get("size"), sorted(told.items(), key=str))) if told else None


def copied(options: Mapping[str, Any]) -> dict[str, Any]:
    """A copy down to the values, which may be objects (sessions, credentials) that cannot be copied.

    botocore changes the dictionaries that it is given, and fsspec shares a filesystem by what its options were.
    """
    return {name: copied(value) if isinstance(value, dict) else value for name, value in options.items()}


def tuned(fs: AbstractFileSystem, method: str, size: int | None = None) -> Mapping[str, Any]:
    """Keyword arguments that keep one of fsspec's methods within few requests and little memory on this backend.

    Args:
        fs: The filesystem.
        method: The method's name.
        size: The size of the file that is to be fetched, if it is known.
    """
    if size and method == "get_file" and getattr(fs, "takes_size", False):
        return {"size": size}
    is_s3fs = any(cls.__module__.startswith("s3fs.") for cls in type(fs).__mro__)
    return _TUNED_S3FS.get(method, {}) if is_s3fs else {}


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
        msg = f"{redact(url)!r} names no store; simplecache:: goes before a URL, as in simplecache::s3://bucket/study"
        raise LocationError(msg)
    if chain[0] == "simplecache":
        return _behind_simplecache(url, chain, options)
    scheme = url.partition(":")[0]
    if chain == ("file",) and ":" in url and scheme in fsspec.available_protocols() and scheme != "file":
        msg = f"{redact(url)!r} is no URL, and would be taken for a local path; write {scheme}://"
        raise LocationError(msg)
    effective = _with_defaults(chain, options)
    for index, protocol in enumerate(chain):
        own = {name: value for name, value in effective.items() if name not in chain} if index == 0 else {}
        _check_options(_filesystem_class(protocol), protocol, {**own, **effective.get(protocol, {})}, chain)
    if _filesystem_class(chain[0]).__module__ == "s3fs.core":
        from idfkit_fs._s3 import QuickS3FileSystem

        flat = {**effective.pop(chain[0], {}), **effective}
        fs: AbstractFileSystem = QuickS3FileSystem(**copied(flat))
        return fs, fs._strip_protocol(url), flat
    handled = sys.exception()
    try:
        fs, key = url_to_fs(url, **copied(effective))
    except Exception as exc:  # noqa: BLE001 - each SDK has its own; the translator sorts them
        # gcsfs looks for credentials at once, on the network if need be.
        raise translate(exc, redact(url), secrets=secrets_of(effective), handled=handled)  # noqa: B904 - has its cause
    return fs, key, effective


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


def _filesystem_class(protocol: str) -> type[AbstractFileSystem]:
    try:
        cls: type[AbstractFileSystem] = fsspec.get_filesystem_class(protocol)
    except ImportError as exc:
        package = _INSTALL.get(protocol)
        remedy = f"pip install '{package}'" if package else str(exc)
        msg = f"{protocol}:// needs a package that is not installed: {remedy}"
        raise MissingExtraError(msg) from exc
    except ValueError as exc:
        msg = f"fsspec knows no protocol {protocol!r}"
        raise LocationError(msg) from exc
    return cls


def _with_defaults(chain: tuple[str, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's options, and what they left open where a backend's default would hurt."""
    effective = dict(options)
    store = chain[-1]
    if store not in _OBJECT_STORES or store in ("http", "https"):
        return effective
    nested = len(chain) > 1 or store in effective
    own = dict(effective.get(store, {})) if nested else effective
    # A cached listing hides what other machines wrote.
    own.setdefault("use_listings_cache", False)
    if store in _S3:
        own["config_kwargs"] = _s3_config(own)
    if nested:
        effective[store] = own
    return effective


def _s3_config(options: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("client_kwargs", "config_kwargs"):
        if not isinstance(options.get(name), Mapping | None):
            msg = f"s3:// takes a dictionary as {name}, not {type(options[name]).__name__}"
            raise StorageOptionsError(msg)
    config: dict[str, Any] = {"max_pool_connections": 50}
    client = options.get("client_kwargs") or {}
    configured = fsspec.config.conf.get("s3", {})
    environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if any((options.get("endpoint_url"), client.get("endpoint_url"), configured.get("endpoint_url"), environment)):
        # botocore's newer checksum trailers break several S3-compatible services; AWS itself is asked as usual.
        config["request_checksum_calculation"] = "when_required"
        config["response_checksum_validation"] = "when_required"
    return {**config, **configured.get("config_kwargs", {}), **(options.get("config_kwargs") or {})}


def _check_options(
    cls: type[AbstractFileSystem], protocol: str, options: Mapping[str, Any], chain: tuple[str, ...]
) -> None:
    package = cls.__module__.partition(".")[0]
    if package not in _CHECKED_PACKAGES:
        return
    known = _BASE_OPTIONS | _EXTRA_OPTIONS.get(package, frozenset()) | _parameters(cls)
    for name in options:
        if name in known:
            continue
        remedy = did_you_mean(name, known)
        if len(chain) > 1:
            remedy += f"; in a chained URL options go under their protocol, such as {chain[-1]}={{{name!r}: ...}}"
        msg = f"{protocol}:// knows no storage option {name!r}{remedy}"
        raise StorageOptionsError(msg)


def _parameters(cls: type) -> frozenset[str]:
    named: set[str] = set()
    for base in cls.__mro__:
        if base is AbstractFileSystem or "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        named |= {parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD}
    return frozenset(named - {"self", "args", "storage_options"})
