"""Which storage options a backend takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem

from idfkit_fs._util.messages import did_you_mean
from idfkit_fs.errors import LocationError, MissingExtraError, StorageOptionsError

__all__ = ["BASE_OPTIONS", "CHECKED_PACKAGES", "check_options", "filesystem_class"]

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
CHECKED_PACKAGES = frozenset({"s3fs", "gcsfs", "adlfs"})
# What their **kwargs do take: fsspec's own options, and aiobotocore's session for s3fs.
BASE_OPTIONS = frozenset(
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


def filesystem_class(protocol: str) -> type[AbstractFileSystem]:
    try:
        cls: type[AbstractFileSystem] = fsspec.get_filesystem_class(protocol)
    except ImportError as exc:
        package = _INSTALL.get(protocol)
        remedy = f"pip install '{package}'" if package else str(exc)
        raise MissingExtraError(f"{protocol}:// needs a package that is not installed: {remedy}") from exc
    except ValueError as exc:
        raise LocationError(f"fsspec knows no protocol {protocol!r}") from exc
    return cls


def check_options(
    cls: type[AbstractFileSystem], protocol: str, options: Mapping[str, Any], chain: tuple[str, ...]
) -> None:
    package = cls.__module__.partition(".")[0]
    if package not in CHECKED_PACKAGES:
        return
    known = BASE_OPTIONS | _EXTRA_OPTIONS.get(package, frozenset()) | _parameters(cls)
    for name in options:
        if name in known:
            continue
        remedy = did_you_mean(name, known)
        if len(chain) > 1:
            remedy += f"; in a chained URL options go under their protocol, such as {chain[-1]}={{{name!r}: ...}}"
        raise StorageOptionsError(f"{protocol}:// knows no storage option {name!r}{remedy}")


def _parameters(cls: type) -> frozenset[str]:
    named: set[str] = set()
    for base in cls.__mro__:
        if base is AbstractFileSystem or "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        named |= {parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD}
    return frozenset(named - {"self", "args", "storage_options"})
