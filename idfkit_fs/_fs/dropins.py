"""Drop-ins for idfkit's own classes: the same names and arguments, the adapter's behaviour."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any, Self, TypedDict, Unpack

from idfkit_fs._fs.aio import AsyncFsspecFileSystem
from idfkit_fs._fs.paths import Root
from idfkit_fs._fs.routing import Route, route_url
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.urls import StrPath, is_url, to_text

__all__ = ["AsyncLocalFileSystem", "AsyncS3FileSystem", "LocalFileSystem", "S3FileSystem"]


class S3Arguments(TypedDict, total=False):
    """The keyword arguments of idfkit's S3 classes."""

    region_name: str | None
    endpoint_url: str | None
    aws_access_key_id: str | None
    aws_secret_access_key: str | None
    aws_session_token: str | None
    profile_name: str | None
    config: Any
    verify: bool | str | None
    use_ssl: bool


def _storage_options(
    *,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    aws_access_key_id: str | None = None,
    aws_secret_access_key: str | None = None,
    aws_session_token: str | None = None,
    profile_name: str | None = None,
    config: Any = None,
    verify: bool | str | None = None,
    use_ssl: bool = True,
) -> dict[str, Any]:
    """What s3fs calls the arguments of idfkit's S3 classes."""
    client = {"region_name": region_name, "verify": verify}
    options = {
        "endpoint_url": endpoint_url,
        "key": aws_access_key_id,
        "secret": aws_secret_access_key,
        "token": aws_session_token,
        "profile": profile_name,
        "use_ssl": use_ssl,
        "client_kwargs": {name: value for name, value in client.items() if value is not None} or None,
        "config_kwargs": dict(config._user_provided_options)  # noqa: SLF001 - botocore has no public way to get them
        if config is not None
        else None,
    }
    return {name: value for name, value in options.items() if value is not None}


class S3FileSystem(FsspecFileSystem):
    """Drop-in for idfkit's ``S3FileSystem``: a bucket and a key prefix.

    Credentials that are not given are found by botocore's chain: environment, shared files and profiles, container or
    instance role.

    Args:
        bucket: Bucket name.
        prefix: Key prefix that all paths are below, such as ``"project-x/batch-42/"``.
        **arguments: Those of idfkit's class: ``region_name``; ``endpoint_url`` of an S3-compatible service;
            ``aws_access_key_id``, ``aws_secret_access_key``, ``aws_session_token``, where the chain is not to be used;
            ``profile_name`` of the shared files; ``config``, a ``botocore.config.Config``; ``verify``, False to not
            verify TLS certificates, or the path of a CA bundle; ``use_ssl``, False for plain HTTP.

    Raises:
        MissingExtraError: If s3fs is not installed.
        LocationError: If *bucket* is empty.
        TypeError: For an unknown argument.

    Examples:
        >>> fs = S3FileSystem("my-bucket", prefix="project-x/batch-42/", region_name="ca-central-1")
        >>> fs.url("case-1/eplus.sql")
        's3://my-bucket/project-x/batch-42/case-1/eplus.sql'
    """

    def __init__(self, bucket: str, prefix: str = "", **arguments: Unpack[S3Arguments]) -> None:
        parts = [part for part in (bucket, prefix.strip("/")) if part] if bucket else []
        url, options = f"s3://{'/'.join(parts)}", _storage_options(**arguments)
        self._bind(route_url(url, options), (url, options))


class AsyncS3FileSystem(AsyncFsspecFileSystem):
    """Drop-in for idfkit's ``AsyncS3FileSystem``.

    It works with and without ``async with``; leaving the block closes nothing, because connections are shared.

    Args:
        bucket: Bucket name.
        prefix: Key prefix that all paths are below.
        **arguments: As in [S3FileSystem][idfkit_fs.S3FileSystem].

    Raises:
        MissingExtraError: If s3fs is not installed.
        LocationError: If *bucket* is empty.
        TypeError: For an unknown argument.

    Examples:
        >>> AsyncS3FileSystem("my-bucket", prefix="batch-42")
        AsyncS3FileSystem('s3://my-bucket/batch-42')
    """

    def __init__(self, bucket: str, prefix: str = "", **arguments: Unpack[S3Arguments]) -> None:
        self.sync = S3FileSystem(bucket, prefix, **arguments)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        return None


class LocalFileSystem(FsspecFileSystem):
    """Drop-in for idfkit's ``LocalFileSystem``.

    Args:
        root: Directory that all paths are below. Without it, as in idfkit, relative paths are relative to the working
            directory, and absolute paths lead anywhere.

    Examples:
        >>> LocalFileSystem("/data/study-001").url("case-42/eplus.sql")
        'file:///data/study-001/case-42/eplus.sql'
    """

    def __init__(self, root: StrPath | None = None) -> None:
        route = route_url(os.getcwd() if root is None else os.path.abspath(to_text(root)), {})
        if root is None:
            known = route.root
            whole = _WholeDisk("/", "file://", known.protocols, known.strip, True)
            route = Route(route.fs, whole, route.options)
        self._bind(route, None)

    def __reduce__(self) -> Any:
        return LocalFileSystem, (None if isinstance(self._root, _WholeDisk) else self._root.key,)


class AsyncLocalFileSystem(AsyncFsspecFileSystem):
    """Drop-in for idfkit's ``AsyncLocalFileSystem``.

    Args:
        root: As in [LocalFileSystem][idfkit_fs.LocalFileSystem].

    Examples:
        >>> AsyncLocalFileSystem("/data/study-001").url("case-42/eplus.sql")
        'file:///data/study-001/case-42/eplus.sql'
    """

    def __init__(self, root: StrPath | None = None) -> None:
        self.sync = LocalFileSystem(root)


class _WholeDisk(Root):
    """All of this machine's paths; relative ones start at the working directory of the moment."""

    def clean(self, path: StrPath) -> str:
        """The path as ``pathlib`` would show it."""
        shown = str(PurePosixPath(to_text(path)))
        return super().clean(path) if is_url(shown) else "" if shown == "." else shown

    def to_key(self, path: StrPath) -> str:
        """The absolute path."""
        text = to_text(path)
        return super().to_key(text) if is_url(text) else os.path.abspath(text).replace("\\", "/")
