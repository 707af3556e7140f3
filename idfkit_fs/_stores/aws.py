"""What botocore makes of options, environment and configuration files; imported only where a URL leads to S3."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiobotocore.config import AioConfig  # type: ignore[import-untyped]  # it has no types
from aiobotocore.session import AioSession  # type: ignore[import-untyped]  # it has no types
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES, ConfiguredEndpointProvider
from botocore.loaders import Loader, create_loader
from botocore.utils import is_valid_endpoint_url, is_valid_ipv6_endpoint_url

from idfkit_fs._stores.options import check_endpoint
from idfkit_fs._util.messages import redact
from idfkit_fs.errors import StorageOptionsError

__all__ = ["Settings", "check", "endpoint_source", "login_source", "pin", "session_of", "settings_of"]

_CHECKSUMS = ("request_checksum_calculation", "response_checksum_validation")
# What says where a session's requests go, and from which files its login comes.
_PINNED = ("profile", "config_file", "credentials_file", "region")


class Settings(NamedTuple):
    """Where S3 requests go, by everything that botocore reads.

    Attributes:
        endpoint: The custom endpoint; None for Amazon's own.
        profile: The profile's name; None if nothing names one.
        region: The region; None if nothing names one.
        checksums: Those of botocore's checksum settings that the user made in the environment or a file.
    """

    endpoint: str | None
    profile: str | None
    region: str | None
    checksums: frozenset[str]


@functools.lru_cache(maxsize=4)
def _loader(data_path: str | None) -> Loader:
    """The descriptions of Amazon's services, which take 11 MB and most of the time that a new client needs."""
    return create_loader(data_path)


def session_of(options: Mapping[str, Any]) -> AioSession:
    """A session for the options, fixed to the profile, the files and the region of this moment.

    s3fs makes its session only for the first request, and by then the environment may have changed.
    """
    if options.get("session") is not None:
        given: AioSession = options["session"]
        return given
    session = AioSession(profile=options.get("profile"))
    store = session.get_component("config_store")
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    for name in _PINNED:
        store.set_config_variable(name, session.get_config_variable(name))
    return session


def settings_of(session: AioSession, options: Mapping[str, Any]) -> Settings:
    """Resolve where requests go, as botocore's ``create_client`` does.

    Args:
        session: From [session_of][idfkit_fs._stores.aws.session_of], for the same options.
        options: s3fs's options, with fsspec's configuration.

    Raises:
        botocore.exceptions.BotoCoreError: If a profile or a ``services`` section is missing, or a file is invalid.
    """
    client, config = options.get("client_kwargs") or {}, options.get("config_kwargs") or {}
    scoped = session.get_scoped_config()
    ignored = config.get("ignore_configured_endpoint_urls")
    if ignored is None:
        ignored = session.get_config_variable("ignore_configured_endpoint_urls")
    endpoint = options.get("endpoint_url") or client.get("endpoint_url")
    if not endpoint and not ignored:
        endpoint = ConfiguredEndpointProvider(session.full_config, scoped, "s3").provide()
    made = frozenset(
        name for name in _CHECKSUMS if name in scoped or BOTOCORE_DEFAUT_SESSION_VARIABLES[name][1] in os.environ
    )
    region = client.get("region_name") or config.get("region_name") or session.get_config_variable("region")
    return Settings(endpoint, session.get_config_variable("profile"), region, made)


def pin(fs: Any, session: AioSession, settings: Settings) -> None:
    """Fix where a filesystem's requests go, even if the environment changes before it connects.

    Args:
        fs: A new s3fs filesystem, which has not connected.
        session: The session that its clients are made from.
        settings: What the session led to.
    """
    fs.session = session
    fs._session_is_owned = False  # noqa: SLF001 - else s3fs makes another session when it connects again
    if settings.endpoint is None:
        fs.config_kwargs = {**fs.config_kwargs, "ignore_configured_endpoint_urls": True}
    elif not fs.client_kwargs.get("endpoint_url"):
        fs.endpoint_url = settings.endpoint


def check(settings: Settings, config: Mapping[str, Any]) -> None:
    """Refuse settings that botocore would refuse later, at the first request, with an error of its own.

    Raises:
        StorageOptionsError: If the endpoint is not a URL, or ``config_kwargs`` are invalid.
    """
    endpoint = settings.endpoint
    if endpoint:
        check_endpoint("s3", endpoint)
        if not (is_valid_endpoint_url(endpoint) or is_valid_ipv6_endpoint_url(endpoint)):
            raise StorageOptionsError(
                f"s3:// has an invalid endpoint_url, {redact(endpoint)!r}; give a URL such as 'https://host:9000'"
            )
    try:
        AioConfig(**config)
    except Exception as exc:
        raise StorageOptionsError(f"s3:// has invalid config_kwargs: {exc}") from exc


def endpoint_source(session: AioSession, options: Mapping[str, Any]) -> str:
    """What named the custom endpoint: the name of an option, else a description of what else did.

    Args:
        session: From [session_of][idfkit_fs._stores.aws.session_of], for the same options.
        options: s3fs's options, with fsspec's configuration, that lead to a custom endpoint.
    """
    if options.get("endpoint_url"):
        return "endpoint_url"
    if (options.get("client_kwargs") or {}).get("endpoint_url"):
        return "client_kwargs"
    variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # in botocore's order; both before the profile
    variable = next((name for name in variables if os.environ.get(name)), None)
    return f"the variable {variable}" if variable else _profile(session)


def login_source(session: AioSession, method: str) -> str:
    """Where botocore found credentials, by the name that it has for it."""
    role = session.get_scoped_config().get("role_arn") or os.environ.get("AWS_ROLE_ARN") or ""
    name = f" {role.rpartition('/')[2]}" if role else ""
    return {
        "env": "the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "shared-credentials-file": _profile(session, "credentials_file"),
        "config-file": _profile(session),
        "assume-role": f"the role{name}, assumed by {_profile(session)}",
        "assume-role-with-web-identity": f"the role{name} and the token in AWS_WEB_IDENTITY_TOKEN_FILE",
        "container-role": "the role of this container",
        "iam-role": "the role of this machine",
        "sso": f"single sign-on of {_profile(session)}",
    }.get(method, f"{method} of {_profile(session)}")


def _profile(session: AioSession, file: str = "config_file") -> str:
    return f"the profile {session.get_config_variable('profile') or 'default'} in {session.get_config_variable(file)}"
