"""Which storage options a backend takes, and which names go where."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.nested import check_nested
from idfkit_fs._util.messages import did_you_mean, redact
from idfkit_fs.errors import LocationError, MissingExtraError, StorageOptionsError

__all__ = ["BASE_OPTIONS", "CHECKED_PACKAGES", "check_endpoint", "check_options", "filesystem_class"]

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
    "sftp": "idfkit-fs[sftp]",
    "ssh": "idfkit-fs[sftp]",
    "smb": "fsspec[smb]",
}
# Constructors of these packages end in **kwargs; what those take is listed here, and the rest they drop.
CHECKED_PACKAGES = frozenset({"fsspec", "s3fs", "gcsfs", "adlfs"})
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
    # adlfs hands them to azure-identity's DefaultAzureCredential, whose signature does not show them.
    "adlfs": frozenset(
        {
            *("authority", "managed_identity_client_id", "process_timeout", "workload_identity_client_id"),
            *("workload_identity_tenant_id", "shared_cache_username", "shared_cache_tenant_id"),
            *("exclude_cli_credential", "exclude_developer_cli_credential", "exclude_environment_credential"),
            *("exclude_interactive_browser_credential", "exclude_managed_identity_credential"),
            *("exclude_powershell_credential", "exclude_shared_token_cache_credential"),
            *("exclude_visual_studio_code_credential", "exclude_workload_identity_credential"),
        }
    ),
}
# Names of boto3, botocore and idfkit, and what to write for s3fs.
_S3_INSTEAD = {
    "aws_access_key_id": "key=...",
    "aws_secret_access_key": "secret=...",
    "aws_session_token": "token=...",
    "profile_name": "profile=...",
    "config": "config_kwargs={...}, with the arguments of botocore.config.Config",
    "boto_config": "config_kwargs={...}, with the arguments of botocore.config.Config",
    "aws_account_id": "client_kwargs={'aws_account_id': ...}",
    "api_version": "client_kwargs={'api_version': ...}",
    "region": "client_kwargs={'region_name': ...}",
    "region_name": "client_kwargs={'region_name': ...}",
    "verify": "client_kwargs={'verify': ...}",
    "verify_ssl": "client_kwargs={'verify': ...}",
    "connect_timeout": "config_kwargs={'connect_timeout': ...}",
    "read_timeout": "config_kwargs={'read_timeout': ...}",
    "retries": "config_kwargs={'retries': {...}}",
    "signature_version": "config_kwargs={'signature_version': ...}",
    "addressing_style": "config_kwargs={'s3': {'addressing_style': ...}}",
    "ServerSideEncryption": "s3_additional_kwargs={'ServerSideEncryption': ...}",
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


def check_endpoint(protocol: str, endpoint: str) -> None:
    """Refuse an endpoint that is not a URL, before a backend makes something else of it.

    Args:
        protocol: The protocol of the store's URLs, for the message.
        endpoint: The endpoint, from an option, the environment or a profile.

    Raises:
        StorageOptionsError: If it lacks `http://` or `https://`, or has no host.
    """
    if "://" not in endpoint:
        here = endpoint.startswith(("localhost", "127.", "[::1]"))
        wrong, instead = "lacks http:// or https://", f"{'http' if here else 'https'}://{endpoint}"
    elif not endpoint.lower().startswith(("http://", "https://")) or not urlsplit(endpoint).hostname:
        wrong, instead = "is not a URL of a host", "https://host:9000"
    else:
        return
    raise StorageOptionsError(
        f"{protocol}:// has an invalid endpoint_url, {redact(endpoint)!r}: it {wrong}; write {redact(instead)!r}"
    )


def check_options(
    cls: type[AbstractFileSystem], protocol: str, options: Mapping[str, Any], chain: tuple[str, ...]
) -> None:
    """Refuse the options that a backend would ignore, nested ones too.

    Args:
        cls: The filesystem's class.
        protocol: The protocol whose options they are.
        options: The options.
        chain: The protocols of the whole URL, outermost first.

    Raises:
        StorageOptionsError: If a name is unknown, or a nested option is not a dictionary. Values are never shown.
    """
    package = cls.__module__.partition(".")[0]
    if package not in CHECKED_PACKAGES:
        return
    own = _parameters(cls)  # type: ignore[arg-type]  # mypy finds a metaclass unhashable
    known = BASE_OPTIONS | _EXTRA_OPTIONS.get(package, frozenset()) | own | _forwarded(protocol, options)
    for name in options:
        if name not in known:
            hint = _hint(package, name, known, chain)
            raise StorageOptionsError(f"{protocol}:// has no storage option {name!r}{hint}")
    check_nested(package, protocol, options)


def _hint(package: str, name: str, known: Iterable[str], chain: tuple[str, ...]) -> str:
    instead = _S3_INSTEAD.get(name) if package == "s3fs" else None
    remedy = f"; pass {instead}" if instead else did_you_mean(name, known)
    if len(chain) > 1:
        remedy += f"; in a chained URL options go under their protocol, such as {chain[-1]}={{{name!r}: ...}}"
    return remedy


@functools.cache
def _parameters(cls: type) -> frozenset[str]:
    named: set[str] = set()
    for base in cls.__mro__:
        if base is AbstractFileSystem or "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        named |= {parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD}
    return frozenset(named - {"self", "args", "storage_options", "kwargs", "ssh_kwargs"})


def _forwarded(protocol: str, options: Mapping[str, Any]) -> frozenset[str]:
    """The options that fsspec's class hands on, by the signature of what takes them."""
    if not options:
        return frozenset()
    if protocol in ("sftp", "ssh"):
        from paramiko import SSHClient  # type: ignore[import-untyped]  # it has no types

        return _names(SSHClient.connect) - {"hostname"} | {"temppath", "host_key_policy"}
    if protocol in ("http", "https"):
        from aiohttp import ClientSession

        # What each request takes: only this method has it in its signature.
        return _names(ClientSession._request) - {"method", "str_or_url", "data", "json"}  # noqa: SLF001 - see above
    if protocol == "smb":
        return frozenset({"temppath"})
    return frozenset()


def _names(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters) - {"self"}
