"""Facts about single fsspec backends.

The rest of the package treats every fsspec filesystem alike; a fact about one store only belongs in this subpackage.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import Any

from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

__all__ = [
    "HOSTS",
    "OBJECT_STORES",
    "S3",
    "behind",
    "cached_filesystem",
    "copied",
    "expected_size",
    "found_files",
    "in_memory",
    "is_archive",
    "is_file",
    "is_local",
    "is_object_store",
    "is_plain_disk",
    "options_of",
    "protocols",
    "scan",
    "split_host",
    "stripper",
    "tuned",
    "unfit",
    "unstripped",
    "url_protocols",
    "version_of",
    "without_layers",
]

S3 = frozenset({"s3", "s3a"})
# Stores without directories: nothing to create before a write, and listing a whole tree is one request a thousand keys.
OBJECT_STORES = frozenset({*S3, "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "r2", "tos", "http", "https"})

_ARCHIVES = frozenset({"zip", "tar", "libarchive"})
# Servers of files: their URLs are a login, a host and a path.
HOSTS = frozenset({"sftp", "ssh", "ftp", "smb"})

_CACHES = frozenset({"simplecache", "filecache", "blockcache", "cached"})

_MIB = 2**20
# s3fs holds `chunksize * max_concurrency` bytes, and asks the size (one HEAD) before a `cat_file` that may be split.
_TUNED_S3FS: dict[str, dict[str, Any]] = {
    "cat_file": {"max_concurrency": 1},
    "put_file": {"chunksize": 8 * _MIB, "max_concurrency": 4},
    "get_file": {"chunksize": 4 * _MIB, "max_concurrency": 4},
    "open": {"block_size": 8 * _MIB},
}

# Other fields may change with the question: a redirect's signed URL, the time of the last access.
_VERSION_FIELDS = (
    *("ETag", "etag", "e_tag", "VersionId", "version_id", "generation", "md5Hash", "crc32c", "content_md5", "checksum"),
    *("Last-Modified", "LastModified", "last_modified", "created", "modified", "mtime", "updated", "ino"),
)


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


def behind(fs: AbstractFileSystem) -> tuple[AbstractFileSystem, ...]:
    """The filesystems that a filesystem reads from, the nearest first: behind a cache, ``dir::`` or an archive."""
    own = _own(fs)
    inner = own.get("fs", getattr(own.get("of"), "fs", None))
    return (inner, *behind(inner)) if isinstance(inner, AbstractFileSystem) else ()


def stripper(fs: AbstractFileSystem) -> Callable[[str], str]:
    """What turns a URL into a filesystem's key."""
    if "protocol" in _own(fs):
        # obstore's class serves every protocol, so its own `_strip_protocol` knows none of them.
        prefixes = tuple(f"{protocol}://" for protocol in protocols(fs))
        return lambda url: url.partition("://")[2] if url.startswith(prefixes) else url
    if not HOSTS.isdisjoint(protocols(fs)):
        return lambda url: split_host(url)[1]
    strip: Callable[[str], str] = fs._strip_protocol  # noqa: SLF001 - fsspec's own extension point
    return strip


def unstripped(fs: AbstractFileSystem, key: str) -> str:
    """The URL of a key; of a server of files with the host, which fsspec leaves out."""
    if not HOSTS.isdisjoint(protocols(fs)):
        return f"{protocols(fs)[0]}://{_own(fs)['host']}/{key.lstrip('/')}"
    url: str = fs.unstrip_protocol(key.lstrip("/") if fs.root_marker == "/" and not is_local(fs) else key)
    return url


def split_host(url: str) -> tuple[str, str]:
    """The URL of a server's root, and the path after it, of a URL of one of the `HOSTS`.

    fsspec reads ``#`` and ``?`` as the end of a path: it opens ``sftp://host/a?b`` as ``/a``, and passes the rest on as
    an option that no server knows. In names of files they are ordinary characters.

    Examples:
        >>> split_host("sftp://me@host:22/runs/case #1?")
        ('sftp://me@host:22/', '/runs/case #1?')
    """
    protocol, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return f"{protocol}://{host}/", f"/{path}"


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


def is_plain_disk(fs: AbstractFileSystem) -> bool:
    """Whether the filesystem is fsspec's own for this machine's disks, and nothing is changed in it."""
    return type(fs) is LocalFileSystem


def scan(directory: str) -> dict[str, tuple[int, str]]:
    """The files in a directory of this machine, with what `expected_size` and `version_of` say of them.

    fsspec lists the same, in ten times as much time of the processor.
    """
    found = {}
    try:
        entries = os.scandir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    with entries:
        for entry in entries:
            try:
                status = entry.stat()
            except FileNotFoundError:  # removed meanwhile, or a link that leads nowhere
                continue
            if stat.S_ISREG(status.st_mode):
                size, times = status.st_size, f"{status.st_ctime_ns} {status.st_mtime_ns}"
                found[entry.name] = (size, f"{size} {times} {status.st_ino}")
    return found


def is_archive(fs: AbstractFileSystem) -> bool:
    """Whether the filesystem is an archive file, whose root needs no name."""
    return not _ARCHIVES.isdisjoint(protocols(fs))


def in_memory(fs: AbstractFileSystem) -> bool:
    """Whether the filesystem is fsspec's memory, whose open files share one position."""
    return "memory" in protocols(fs)


def unfit(fs: AbstractFileSystem) -> tuple[str, ...]:
    """Texts that the filesystem's class reads as something else than part of a name."""
    return ("?versionId=",) if not S3.isdisjoint(url_protocols(fs)) else ()


def is_object_store(fs: AbstractFileSystem) -> bool:
    """Whether the store is known to have keys only, and no directories."""
    inner = _own(fs).get("fs")
    if isinstance(inner, AbstractFileSystem):
        return is_object_store(inner)
    return not OBJECT_STORES.isdisjoint(protocols(fs))


def without_layers(fs: AbstractFileSystem, key: str) -> tuple[AbstractFileSystem, str]:
    """The store's own filesystem and key, behind ``dir::`` and fsspec's caches."""
    inner = _own(fs).get("fs") if "dir" in protocols(fs) else cached_filesystem(fs)
    if inner is None:
        return fs, key
    return without_layers(inner, fs._join(key) if "dir" in protocols(fs) else key)  # noqa: SLF001 - fsspec's own


def options_of(fs: AbstractFileSystem) -> dict[str, Any]:
    """The storage options that would route a URL to a filesystem like this one."""
    cached = cached_filesystem(fs)
    if cached is None:
        return dict(fs.storage_options)
    target = {"fo", "fs", "target_options", "target_protocol"}
    own = {name: value for name, value in _own(fs)["storage_options"].items() if name not in target}
    return {protocols(fs)[0]: own, protocols(cached)[0]: options_of(cached)}


def expected_size(info: Mapping[str, Any]) -> int | None:
    """The size of a file as it will arrive, in bytes; None if the store does not report it."""
    # gcsfs unpacks what is stored packed.
    return None if info.get("contentEncoding") else info.get("size")


def version_of(info: Mapping[str, Any]) -> str | None:
    """What the store says of a file that changes with it, and with nothing else; None if it says no such thing."""
    told = [value for value in map(info.get, _VERSION_FIELDS) if value is not None]
    return repr((info.get("size"), told)) if told else None


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
