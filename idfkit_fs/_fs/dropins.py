"""Drop-ins for idfkit's own classes: the same names and arguments, the adapter's behaviour."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any, Self

from fsspec.implementations.local import LocalFileSystem as FsspecLocalFileSystem
from fsspec.spec import AbstractFileSystem

from idfkit_fs._fs.adapter import Adapter
from idfkit_fs._fs.aio import AsyncFsspecFileSystem
from idfkit_fs._fs.paths import Root
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._stores.make import make_filesystem
from idfkit_fs._util.urls import StrPath, is_url, to_text

__all__ = ["AsyncLocalFileSystem", "AsyncS3FileSystem", "LocalFileSystem", "S3FileSystem"]


class _S3(Adapter):
    """A bucket and a key prefix, by the arguments of idfkit's S3 classes.

    Credentials that are not given are found by botocore's chain: environment, shared files and profiles, container or
    instance role.

    Args:
        bucket: Bucket name.
        prefix: Key prefix that all paths are below, such as ``"project-x/batch-42/"``.
        region_name: AWS region, such as ``"ca-central-1"``.
        endpoint_url: Endpoint of an S3-compatible service (MinIO, LocalStack, ...).
        aws_access_key_id: Access key, where the chain is not to be asked.
        aws_secret_access_key: Its secret.
        aws_session_token: Its session token, for temporary credentials.
        profile_name: Profile of the shared credentials and config files.
        config: A ``botocore.config.Config``.
        verify: False to not verify TLS certificates, or the path of a CA bundle.
        use_ssl: False for plain HTTP.

    Raises:
        MissingExtraError: If s3fs is not installed.
        LocationError: If *bucket* is empty.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
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
    ) -> None:
        client = {"region_name": region_name, "verify": verify}
        options = {
            "endpoint_url": endpoint_url,
            "key": aws_access_key_id,
            "secret": aws_secret_access_key,
            "token": aws_session_token,
            "profile": profile_name,
            "use_ssl": use_ssl,
            "client_kwargs": {name: value for name, value in client.items() if value is not None} or None,
            # botocore has no public way to ask a Config for just what its caller set.
            "config_kwargs": dict(config._user_provided_options) if config is not None else None,
        }
        given = {name: value for name, value in options.items() if value is not None}
        place = "/".join(part for part in (bucket, prefix.strip("/")) if part) if bucket else ""
        fs, key, effective = make_filesystem(f"s3://{place}", given)
        self._bind(fs, key, None, effective)


class S3FileSystem(_S3, FsspecFileSystem):
    __doc__ = f"""Drop-in for [idfkit's S3FileSystem][idfkit.simulation.fs.S3FileSystem].

    {(_S3.__doc__ or "").strip()}

    Examples:
        >>> fs = S3FileSystem("my-bucket", prefix="project-x/batch-42/", region_name="ca-central-1")
        >>> fs.url("case-1/eplus.sql")
        's3://my-bucket/project-x/batch-42/case-1/eplus.sql'
    """


class AsyncS3FileSystem(_S3, AsyncFsspecFileSystem):
    __doc__ = f"""Drop-in for [idfkit's AsyncS3FileSystem][idfkit.simulation.fs.AsyncS3FileSystem].

    Works with and without ``async with``; leaving the block closes nothing, for fsspec shares connections.

    {(_S3.__doc__ or "").strip()}

    Examples:
        >>> AsyncS3FileSystem("my-bucket", prefix="batch-42")
        AsyncS3FileSystem('s3://my-bucket/batch-42')
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        return None


class LocalFileSystem(FsspecFileSystem):
    """Drop-in for [idfkit's LocalFileSystem][idfkit.simulation.fs.LocalFileSystem].

    Args:
        root: Directory that all paths are below. Without it, as in idfkit, relative paths are relative to the working
            directory, and absolute paths lead anywhere.

    Examples:
        >>> LocalFileSystem("/data/study-001").url("case-42/eplus.sql")
        'file:///data/study-001/case-42/eplus.sql'
    """

    def __init__(self, root: StrPath | None = None) -> None:
        self._bind(FsspecLocalFileSystem(), "/" if root is None else to_text(root), None, {})

    def _bind(self, fs: AbstractFileSystem, root: str, url: str | None, options: dict[str, Any]) -> None:
        super()._bind(fs, os.getcwd() if root == "/" else root, url, options)
        if root == "/":
            self._root = _WholeDisk("/", "file://", self._root.protocols, self._root.strip, True)


class _WholeDisk(Root):
    """All of this machine's paths, relative ones from the working directory of the moment."""

    def clean(self, path: StrPath) -> str:
        """The path as ``pathlib`` would show it."""
        shown = str(PurePosixPath(to_text(path)))
        return super().clean(path) if is_url(shown) else "" if shown == "." else shown

    def to_key(self, path: StrPath) -> str:
        """The absolute path."""
        text = to_text(path)
        return super().to_key(text) if is_url(text) else os.path.abspath(text).replace("\\", "/")


class AsyncLocalFileSystem(AsyncFsspecFileSystem):
    """Drop-in for [idfkit's AsyncLocalFileSystem][idfkit.simulation.fs.AsyncLocalFileSystem]."""
