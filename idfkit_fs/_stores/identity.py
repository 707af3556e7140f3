"""Which store and login a filesystem stands for."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from typing import Any

from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.backends import in_memory, is_local
from idfkit_fs._stores.options import BASE_OPTIONS, CHECKED_PACKAGES
from idfkit_fs._util.messages import secrets_of

__all__ = ["store_identity"]

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


def store_identity(fs: AbstractFileSystem) -> str | None:
    """What tells apart the stores that one URL may lead to; None where that cannot be told.

    It is all plain options but the login, which may be renewed, and what the environment says in their stead.
    """
    options = _plain(fs.storage_options)
    unknown = type(fs).__module__.partition(".")[0] not in CHECKED_PACKAGES | {"idfkit_fs"}
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
        if name in _NO_PLACE | BASE_OPTIONS or value is None:
            continue
        plain = _plain(value) if isinstance(value, dict) else value
        if plain is None or not isinstance(plain, (str, int, float, list)):
            return None
        if isinstance(plain, list) or plain not in secret:
            told.append((str(name), plain))
    return told
