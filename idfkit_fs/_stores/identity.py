"""Which store and which login a filesystem has: by its options, the environment and configuration files."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fsspec
from fsspec.config import apply_config
from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.options import BASE_OPTIONS, CHECKED_PACKAGES
from idfkit_fs._util.messages import redact, secrets_of

if TYPE_CHECKING:
    from idfkit_fs._stores.aws import Settings

__all__ = ["Identity", "backend_package", "fingerprint", "frozen", "identity_by", "s3_settings", "surroundings"]

# Fingerprints of logins are compared within this process only, and say nothing outside of it.
_SALT = secrets.token_bytes(16)

# The variables that a backend's SDK reads, by their first letters.
_ENVIRONMENT = {
    "s3fs": ("AWS_", "BOTO", "HOME", "USERPROFILE"),
    "gcsfs": (
        *("GOOGLE_", "GCS", "GCLOUD_", "CLOUDSDK_", "GCE_", "NO_GCE_CHECK", "STORAGE_EMULATOR_HOST", "BOTO_CONFIG"),
        *("HOME", "APPDATA"),
    ),
    "adlfs": ("AZURE_", "MSI_", "IDENTITY_", "IMDS_", "HOME", "USERPROFILE"),
}
# And any other backend's, by their last: those that can say which store, and those that can say who asks.
_WHERE = re.compile(
    r"(?:^|_)(?:ENDPOINT|URL|URI|HOST|PORT|REGION|PROJECT|ACCOUNT(?:_NAME|_ID)?|PROFILE|BUCKET)$", re.IGNORECASE
)
_WHO = re.compile(
    r"(?:^|_)(?:KEY|KEY_ID|SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|USER|USERNAME|CONNECTION_STRING|CREDENTIALS?|"
    r"CONFIG|FILE|NETRC|HOME)$",
    re.IGNORECASE,
)
# The files that logins are shared in, beside those that the environment names.
_FILES = {
    "s3fs": ("~/.aws/credentials", "~/.aws/config", "~/.aws/sso/cache/*.json"),
    "gcsfs": (
        *("~/.config/gcloud/application_default_credentials.json", "~/.config/gcloud/active_config"),
        *("~/.config/gcloud/configurations/*", "~/.gcs_tokens"),
    ),
    "adlfs": ("~/.azure/azureProfile.json", "~/.azure/msal_token_cache.*", "~/.azure/service_principal_entries.*"),
    "fsspec": ("~/.netrc", "~/.ssh/id_*"),
}
# Variables that name a file, or a directory in which an SDK looks for the files above.
_NAMES_FILE = re.compile(r"(?:_FILE|_PATH|_CREDENTIALS|_CONFIG|^NETRC)$")
_DIRECTORIES = {
    "CLOUDSDK_CONFIG": ("application_default_credentials.json", "active_config", "configurations/*"),
    "APPDATA": ("gcloud/application_default_credentials.json", "gcloud/active_config", "gcloud/configurations/*"),
    "AZURE_CONFIG_DIR": ("azureProfile.json", "msal_token_cache.*", "service_principal_entries.*"),
}
_OPTION_NAMES_FILE = frozenset({"key_filename", "token", "credential", "private_key", "client_keys", "cert"})

# Options that say who asks, or how, and not which store: they may be renewed, or differ, and it is the same store.
_NO_PLACE = frozenset({"credential", "key", "password", "secret", "token", "user_agent", *BASE_OPTIONS})
_AZURE_PLACE = re.compile(
    r"\b(AccountName|BlobEndpoint|BlobSecondaryEndpoint|EndpointSuffix|DefaultEndpointsProtocol|"
    r"UseDevelopmentStorage)=([^;?]*)",
    re.IGNORECASE,
)
_PLAIN = (str, bytes, int, float, bool, os.PathLike, type(None))


@dataclass(frozen=True)
class Identity:
    """Which store, and who asks it. Two filesystems are one only if these are equal.

    Attributes:
        place: Text that no other store has in this process. It holds no secret.
        login: A fingerprint of everything that the login can come from; it means nothing to another process.
        lasting: Whether *place* means the same store in every process on this machine.
    """

    place: str
    login: str
    lasting: bool = True

    @property
    def store(self) -> str | None:
        """Text that no other store has, in any process on this machine; None if that cannot be known."""
        return self.place if self.lasting else None


def backend_package(cls: type[AbstractFileSystem]) -> str:
    """The package that a filesystem's class comes from; for a class of ours, the one that it extends."""
    roots = (base.__module__.partition(".")[0] for base in cls.__mro__)
    return next(root for root in roots if root != "idfkit_fs")


def surroundings(cls: type[AbstractFileSystem]) -> str:
    """A fingerprint of what a backend may read beside its options: the environment and shared files.

    Configuration of fsspec's own is not in it: fsspec reads that once, and it comes with the options.
    """
    package = backend_package(cls)
    if _is_here(cls):
        return ""
    if (prefixes := _ENVIRONMENT.get(package)) is not None:
        found = _environment(lambda name: name.startswith(prefixes))
    else:
        found = _environment(lambda name: bool(_WHERE.search(name) or _WHO.search(name)))
    return fingerprint((sorted(found.items()), _stamps(_files(package, found))))


def _environment(wanted: Callable[[str], bool]) -> dict[str, str]:
    # Another thread may take a variable away meanwhile.
    return {name: os.environ.get(name, "") for name in list(os.environ) if wanted(name)}


def _is_here(cls: type[AbstractFileSystem]) -> bool:
    own = {cls.protocol} if isinstance(cls.protocol, str) else set(cls.protocol)
    return backend_package(cls) == "fsspec" and not own.isdisjoint({"file", "memory"})


def _files(package: str, environment: Mapping[str, str]) -> list[str]:
    """The files that a login may be read from; some are missing, and some names are patterns."""
    home = os.path.expanduser("~")
    found = [home + name[1:] for name in _FILES.get(package, ())]
    for name, value in environment.items():
        if value and _NAMES_FILE.search(name):
            found.append(os.path.expanduser(value))
        found += [os.path.join(value, file) for file in _DIRECTORIES.get(name, ()) if value]
    return found


def _stamps(paths: Iterable[str]) -> list[tuple[str, int, int, int]]:
    """What changes with each file that exists."""
    stamps = []
    for pattern in paths:
        for path in _matching(pattern) if "*" in pattern else (pattern,):
            try:
                stat = os.stat(path)
            except (OSError, ValueError):
                continue
            stamps.append((path, stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return sorted(stamps)


def _matching(pattern: str) -> list[str]:
    return glob.glob(pattern) if os.path.isdir(os.path.dirname(pattern)) else []


def fingerprint(value: object) -> str:
    """A fingerprint of a value by its ``repr``, for this process only; secrets cannot be found from it."""
    return hashlib.blake2b(repr(value).encode(errors="surrogatepass"), digest_size=16, key=_SALT).hexdigest()


def frozen(value: object) -> object:
    """Nested options as a value that can be compared: plain values by what they are, objects by which they are."""
    if isinstance(value, Mapping):
        return "dict", tuple((str(name), frozen(value[name])) for name in sorted(value, key=str))
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value).__name__, tuple(map(frozen, value))
    if isinstance(value, _PLAIN):
        return value
    return type(value).__name__, id(value)


def identity_by(
    cls: type[AbstractFileSystem],
    options: Mapping[str, Any],
    around: str | None = None,
    in_effect: Mapping[str, Any] | None = None,
) -> Identity:
    """The identity of the filesystem that a class makes of options here and now.

    Args:
        cls: The filesystem's class.
        options: Its options.
        around: The [surroundings][idfkit_fs._stores.identity.surroundings], if they are known already.
        in_effect: What a filesystem that exists goes by, where that differs from its options.

    Raises:
        botocore.exceptions.BotoCoreError: If AWS's configuration files are invalid.
    """
    if _is_here(cls):
        local = "memory" not in cls.protocol
        return Identity(f"file {platform.node()}" if local else "memory", "", lasting=local)
    around = surroundings(cls) if around is None else around
    resolved = apply_config(cls, dict(options))
    place, lasting = _place(cls, resolved if in_effect is None else in_effect, around)
    files = (value for name, value in resolved.items() if name in _OPTION_NAMES_FILE and isinstance(value, str))
    return Identity(place, fingerprint((around, frozen(resolved), _stamps(files))), lasting)


def _place(cls: type[AbstractFileSystem], options: Mapping[str, Any], around: str) -> tuple[str, bool]:
    """Which store it is, and whether another process would mean the same one by it."""
    package = backend_package(cls)
    if package == "s3fs":
        settings = s3_settings(options, around)
        # Amazon's regions share their names of buckets, but partitions (China, GovCloud) do not.
        where = settings.endpoint or f"region={settings.region or ''}"
        return f"s3 {redact(where)} profile={settings.profile or ''}", True
    if package == "gcsfs":
        endpoint = options.get("endpoint_url") or os.environ.get("STORAGE_EMULATOR_HOST")
        endpoint = endpoint or os.environ.get("GOOGLE_CLOUD_UNIVERSE_DOMAIN") or ""
        project = options.get("project") or os.environ.get("GOOGLE_CLOUD_PROJECT") or ""
        return f"gs {redact(str(endpoint))} {project} requester={options.get('requester_pays') or ''}", True
    if package == "adlfs":
        return f"az {_azure_account(options)} {options.get('location_mode') or 'primary'}", True
    return _other_place(cls, options, package)


def s3_settings(options: Mapping[str, Any], around: str) -> Settings:
    """Where S3 requests go by options and surroundings; remembered, as the answer takes milliseconds.

    Raises:
        botocore.exceptions.BotoCoreError: If AWS's configuration files are invalid.
    """
    client, config = options.get("client_kwargs") or {}, options.get("config_kwargs") or {}
    said = (
        *(options.get("session"), options.get("profile"), options.get("endpoint_url"), client.get("endpoint_url")),
        *(client.get("region_name"), config.get("region_name"), config.get("ignore_configured_endpoint_urls")),
    )
    key = fingerprint((around, frozen(said)))
    settings = _settings.get(key)
    if settings is None:
        from idfkit_fs._stores.aws import session_of, settings_of

        settings = settings_of(session_of(options), options)
        if options.get("session") is None:
            _settings[key] = settings
        while len(_settings) > _REMEMBERED:
            _settings.popitem(last=False)
    return settings


_REMEMBERED = 64
_settings: OrderedDict[str, Settings] = OrderedDict()


def _azure_account(options: Mapping[str, Any]) -> str:
    connection = options.get("connection_string") or os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    if connection:
        return repr(sorted((name.lower(), value) for name, value in _AZURE_PLACE.findall(str(connection))))
    account = options.get("account_name") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME") or ""
    return f"{account} {options.get('account_host') or ''}"


def _other_place(cls: type[AbstractFileSystem], options: Mapping[str, Any], package: str) -> tuple[str, bool]:
    """For a backend of which nothing is known: all its plain options but secrets."""
    own = {name: value for name, value in options.items() if not name.startswith("target_")}
    secret = secrets_of(options)
    told = repr(frozen({name: value for name, value in own.items() if name not in _NO_PLACE and value is not None}))
    for value in secret:
        told = told.replace(value, "***")
    place = f"{cls.__module__}.{cls.__qualname__} {redact(told)}"
    lasting = package in CHECKED_PACKAGES and _is_plain(own)
    if target := options.get("target_protocol"):
        inner = identity_by(fsspec.get_filesystem_class(target), options.get("target_options") or {})
        place, lasting = f"{place} of {inner.place}", lasting and inner.lasting
    if package not in CHECKED_PACKAGES:
        place += fingerprint(sorted(_environment(lambda name: bool(_WHERE.search(name))).items()))
    return place, lasting


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(item) for name, item in value.items() if name not in _NO_PLACE)
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)
