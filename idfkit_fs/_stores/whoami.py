"""Where a filesystem's requests go, as whom, and what says so; no secret, and no request to the store."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Callable, Collection
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fsspec.asyn import sync
from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.access import translated
from idfkit_fs._stores.backends import HOSTS, protocols, unstripped
from idfkit_fs._stores.identity import backend_package
from idfkit_fs._util.messages import redact
from idfkit_fs.errors import PermissionDeniedError

__all__ = ["describe_endpoint", "describe_login", "describe_package", "masked"]

_SAS_RIGHTS = re.compile(r"\bsp=(\w+)")
_SAS_END = re.compile(r"\bse=([0-9TZ:%A-F-]+)")
_ACCOUNT = re.compile(r"\bAccountName=([^;]+)", re.IGNORECASE)


def masked(key: str) -> str:
    """The name of an access key, so that it is recognised and cannot be used.

    Examples:
        >>> masked("AKIAIOSFODNN7EXAM7Q"), masked("testing")
        ('AKIA****7Q', 'te****')
    """
    return f"{key[:4]}****{key[-2:]}" if len(key) >= 12 else f"{key[:2]}****"


def describe_package(cls: type[AbstractFileSystem]) -> str:
    """The package of a backend, with its version."""
    package = backend_package(cls)
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:  # a class of the user's own
        return f"{cls.__module__}.{cls.__qualname__}"


def describe_endpoint(fs: AbstractFileSystem, given: Collection[str]) -> str:
    """Where the requests of a filesystem go, and why.

    Args:
        fs: The store's filesystem.
        given: The names of the options that the caller gave.
    """
    describe = _ENDPOINTS.get(backend_package(type(fs)))
    return redact(_other_endpoint(fs) if describe is None else describe(fs, _by(given)))


def describe_login(fs: AbstractFileSystem, given: Collection[str]) -> str:
    """As whom the requests of a filesystem are made, and where that login comes from.

    Args:
        fs: The store's filesystem.
        given: The names of the options that the caller gave.

    Raises:
        PermissionDeniedError: If the store needs a login, and none was found, or it cannot be had.
    """
    describe = _LOGINS.get(backend_package(type(fs)))
    with translated(fs, ""):  # single sign-on may have expired, or a program that gives credentials may fail
        return _other_login(fs) if describe is None else describe(fs, _by(given))


_By = Callable[[str], str]


def _by(given: Collection[str]) -> _By:
    return lambda name: f"by the option {name}" if name in given else f"by fsspec's configuration of {name}"


def _s3_endpoint(fs: Any, by: _By) -> str:
    from idfkit_fs._stores.aws import endpoint_source, settings_of

    settings = settings_of(fs.session, fs.storage_options)
    if settings.endpoint is None:
        return f"Amazon S3, {f'region {settings.region}' if settings.region else 'no region is set'}"
    source = endpoint_source(fs.session, fs.storage_options)
    return f"{settings.endpoint}, {by(source) if source in ('endpoint_url', 'client_kwargs') else f'by {source}'}"


def _s3_login(fs: Any, by: _By) -> str:
    from idfkit_fs._stores.aws import login_source

    if fs.storage_options.get("anon"):
        return f"anonymous, {by('anon')}"
    if fs.storage_options.get("key"):
        return f"key {masked(str(fs.storage_options['key']))}, {by('key')}"
    found = sync(fs.loop, fs.session.get_credentials)
    if found is None:
        raise PermissionDeniedError(
            PermissionDeniedError.number,
            "No AWS credentials were found; set the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a "
            "profile (the option profile, or AWS_PROFILE), log in again (aws sso login), or give anon=true for a "
            "public bucket",
        )
    frozen = sync(fs.loop, found.get_frozen_credentials)
    account = getattr(frozen, "account_id", None)
    of_account = f" of account {account}" if account else ""
    return f"key {masked(frozen.access_key)}{of_account}, by {login_source(fs.session, found.method)}"


def _gcs_endpoint(fs: Any, by: _By) -> str:
    if fs.storage_options.get("endpoint_url"):
        return f"{fs.storage_options['endpoint_url']}, {by('endpoint_url')}"
    variables = ("STORAGE_EMULATOR_HOST", "GOOGLE_CLOUD_UNIVERSE_DOMAIN")
    variable = next((name for name in variables if os.environ.get(name)), None)
    if variable is None:
        return "Google Cloud Storage"
    return f"{fs._location}, by the variable {variable}"  # noqa: SLF001 - no public way


def _gcs_login(fs: Any, by: _By) -> str:
    found, method = fs.credentials, fs.credentials.method or fs.storage_options.get("token")
    token = fs.storage_options.get("token")
    if found.credentials is None:
        return f"anonymous, {by('token')}" if token else "anonymous, because no login was found (gcloud auth login)"
    account = getattr(found.credentials, "service_account_email", None) or type(found.credentials).__name__
    how = by("token") if token else {"google_default": "by the application default credentials"}.get(method, method)
    return f"{account}{f' in project {fs.project}' if fs.project else ''}, {how}"


def _azure_endpoint(fs: Any, by: _By) -> str:
    client = fs.service_client
    options = fs.storage_options
    names = ("connection_string", "account_host", "account_name")
    said = next((by(name) for name in names if options.get(name)), None)
    variables = ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME")
    said = said or next((f"by the variable {name}" for name in variables if os.environ.get(name)), "by the URL")
    return f"{client.scheme}://{client.primary_hostname}, {said}"


def _azure_login(fs: Any, by: _By) -> str:
    options = fs.storage_options

    def source(name: str) -> str:
        return by(name) if options.get(name) else f"by the variable AZURE_STORAGE_{name.upper()}"

    # In the order in which adlfs takes them.
    if fs.connection_string:
        account = _ACCOUNT.search(fs.connection_string)
        what = f"account {account[1]}" if account else "a shared access signature"
        return f"{what}{_sas_facts(fs.connection_string)}, {source('connection_string')}"
    account_name = f"account {fs.account_name}"
    if fs.credential is not None:
        kind = type(fs.credential).__name__
        return f"{account_name}, {by('credential') if options.get('credential') else f'by {kind} of azure-identity'}"
    if fs.account_key:
        return f"{account_name}, {source('account_key')}"
    if fs.sas_token:
        return f"{account_name}, a shared access signature{_sas_facts(fs.sas_token)}, {source('sas_token')}"
    return f"{account_name}, anonymous"


def _sas_facts(text: str) -> str:
    """What a shared access signature allows, and until when; neither is secret."""
    rights, end = _SAS_RIGHTS.search(text), _SAS_END.search(text)
    allows = f" that allows {rights[1]}" if rights else ""
    return f"{allows} until {end[1].replace('%3A', ':')}" if end else allows


def _other_endpoint(fs: AbstractFileSystem) -> str:
    names = protocols(fs)
    if not HOSTS.isdisjoint(names):
        port = fs.storage_options.get("port")
        return f"{unstripped(fs, '')}{f' port {port}' if port else ''}, by the URL"
    if "file" in names:
        return "this machine's file system"
    return "this process's memory" if "memory" in names else "as in the URL"


def _other_login(fs: AbstractFileSystem) -> str:
    names, options = protocols(fs), fs.storage_options
    if "file" in names:
        try:
            return f"user {getpass.getuser()}"
        except (ImportError, KeyError, OSError):  # a container's user may have no name
            return f"user {os.geteuid()}" if hasattr(os, "geteuid") else "the user of this process"
    if HOSTS.isdisjoint(names):
        return "none is needed" if "memory" in names else "none is known"
    how = next((f", with {name}" for name in ("password", "key_filename", "pkey") if options.get(name)), "")
    return f"user {options.get('username') or '(as the SSH configuration or the server says)'}{how}"


_ENDPOINTS: dict[str, Callable[[Any, _By], str]] = {
    "s3fs": _s3_endpoint,
    "gcsfs": _gcs_endpoint,
    "adlfs": _azure_endpoint,
}
_LOGINS: dict[str, Callable[[Any, _By], str]] = {"s3fs": _s3_login, "gcsfs": _gcs_login, "adlfs": _azure_login}
