"""The stores that compare before they write: requests with a condition, and the version from the same reply."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from fsspec.asyn import sync
from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.translate import translate
from idfkit_fs.errors import ExistsError, NotFoundError

__all__ = ["ConditionalObject", "conditional_object", "is_changed", "is_missing_file"]

# Their owners promise that a condition is kept. Others answer to the same requests, and some ignore conditions and
# say nothing: `rclone serve s3` all of them, fake-gcs-server those of a removal.
_KNOWN_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".googleapis.com")


class ConditionalObject(Protocol):
    """One object of a store that knows conditions. Errors are those of the store's SDK."""

    def keeps_conditions(self) -> bool:
        """Whether the store surely keeps or refuses a condition, and never ignores it."""
        ...

    def read(self) -> tuple[bytes, str]:
        """The bytes and their version, of one reply."""
        ...

    def write(self, data: bytes, *, match: str | None = None, missing: bool = False) -> str:
        """Write if the object has a version, or is missing, or in any case; the new version, of the same reply.

        Raises:
            FileExistsError: If the object is another version, or missing; a store may raise its own error for 412.
        """
        ...

    def remove(self, *, match: str | None = None) -> None:
        """Remove if the object has a version, or in any case; raises as `write`, or for a missing object."""
        ...


def conditional_object(fs: AbstractFileSystem, key: str) -> ConditionalObject | None:
    """The object of a key; None if the filesystem's class cannot send conditions."""
    packages = {cls.__module__.partition(".")[0] for cls in type(fs).__mro__}
    return next((kind(fs, key) for name, kind in _KINDS.items() if name in packages), None)


def is_missing_file(exc: Exception) -> bool:
    """Whether a store raised this because a file is missing, and not its bucket."""
    return _class_of(exc) is NotFoundError


def is_changed(exc: Exception) -> bool:
    """Whether a store raised this because the file is not what the condition says."""
    return _class_of(exc) is ExistsError


def _class_of(exc: Exception) -> type[Exception]:
    return type(translate(exc, "", bucket="-", conditional=True))


def _is_known(url: str) -> bool:
    return f".{urlsplit(url).hostname}".endswith(_KNOWN_HOSTS)


class _S3Object:
    """By s3fs's own call, which adds what the storage options say: encryption, who pays."""

    def __init__(self, fs: AbstractFileSystem, key: str) -> None:
        self._fs: Any = fs
        bucket, name, _ = fs.split_path(key)
        self._named = {"Bucket": bucket, "Key": name}

    def _call(self, method: str, **parameters: Any) -> Any:
        # Not `call_s3`, which is that of s3fs's own class, without what ours adds.
        return sync(self._fs.loop, self._fs._call_s3, method, **self._named, **parameters)  # noqa: SLF001 - as above

    def keeps_conditions(self) -> bool:
        client = sync(self._fs.loop, self._fs.set_session)
        return _is_known(client.meta.endpoint_url)

    def read(self) -> tuple[bytes, str]:
        reply = self._call("get_object")
        try:
            return sync(self._fs.loop, reply["Body"].read), reply["ETag"]
        finally:
            reply["Body"].close()

    def write(self, data: bytes, *, match: str | None = None, missing: bool = False) -> str:
        condition = {"IfMatch": match} if match else {"IfNoneMatch": "*"} if missing else {}
        try:
            version: str = self._call("put_object", Body=data, **condition)["ETag"]
        except Exception as exc:
            if match and is_missing_file(exc):
                raise FileExistsError("the object that was to be replaced is missing") from exc
            raise
        return version

    def remove(self, *, match: str | None = None) -> None:
        self._call("delete_object", **({"IfMatch": match} if match else {}))


class _GcsObject:
    """By gcsfs's own call of Google's JSON API."""

    def __init__(self, fs: AbstractFileSystem, key: str) -> None:
        self._fs: Any = fs
        self._key = key
        self._bucket, self._name, _ = fs.split_path(key)

    @property
    def _location(self) -> str:
        return str(self._fs._location)  # noqa: SLF001 - gcsfs names it nowhere else

    def keeps_conditions(self) -> bool:
        return _is_known(self._location)

    def read(self) -> tuple[bytes, str]:
        try:
            headers, data = self._fs.call("GET", self._fs.url(self._key))
        except FileNotFoundError:
            self._check_bucket()
            raise
        return data, headers["X-Goog-Generation"]

    def _check_bucket(self) -> None:
        """Raise if the bucket is missing, and not only the object: gcsfs drops the text that says which."""
        try:
            self._fs.call("GET", "b/{}/o", self._bucket, maxResults="1", fields="kind")
        except FileNotFoundError as exc:
            raise FileNotFoundError(f"the bucket does not exist: {self._bucket}") from exc
        except Exception:  # noqa: BLE001 - who may read may not be allowed to list
            return

    def write(self, data: bytes, *, match: str | None = None, missing: bool = False) -> str:
        description = json.dumps({"name": self._name})
        boundary = uuid.uuid4().hex
        body = b"\n".join(
            (
                f"--{boundary}\nContent-Type: application/json; charset=UTF-8\n\n{description}".encode(),
                f"--{boundary}\nContent-Type: application/octet-stream\n\n".encode() + data,
                f"--{boundary}--".encode(),
            )
        )
        reply = self._fs.call(
            "POST",
            f"{self._location}/upload/storage/v1/b/{quote(self._bucket)}/o",
            uploadType="multipart",
            headers={"Content-Type": f'multipart/related; boundary="{boundary}"'},
            data=body,
            json_out=True,
            ifGenerationMatch="0" if missing else match,
        )
        return str(reply["generation"])

    def remove(self, *, match: str | None = None) -> None:
        self._fs.call("DELETE", "b/{}/o/{}", self._bucket, self._name, ifGenerationMatch=match)


class _AzureObject:
    """By adlfs's own client of the Azure SDK."""

    def __init__(self, fs: AbstractFileSystem, key: str) -> None:
        self._fs: Any = fs
        container, name, _ = fs.split_path(key)
        self._named = {"container": container, "blob": name}

    def keeps_conditions(self) -> bool:
        return True

    def read(self) -> tuple[bytes, str]:
        async def read() -> tuple[bytes, str]:
            async with self._fs.service_client.get_blob_client(**self._named) as blob:
                stream = await blob.download_blob()
                return await stream.readall(), stream.properties.etag

        data, version = sync(self._fs.loop, read)
        return data, version

    def write(self, data: bytes, *, match: str | None = None, missing: bool = False) -> str:
        async def write() -> Any:
            async with self._fs.service_client.get_blob_client(**self._named) as blob:
                # adlfs marks its files by this.
                metadata = {"is_directory": "false"}
                return await blob.upload_blob(data, overwrite=not missing, metadata=metadata, **_if_match(match))

        try:
            return str(sync(self._fs.loop, write)["etag"])
        except Exception as exc:
            if missing and getattr(exc, "error_code", None) == "BlobAlreadyExists":  # with 409, and not 412
                raise FileExistsError("the object exists") from exc
            raise

    def remove(self, *, match: str | None = None) -> None:
        async def remove() -> None:
            async with self._fs.service_client.get_blob_client(**self._named) as blob:
                await blob.delete_blob(**_if_match(match))

        sync(self._fs.loop, remove)


def _if_match(version: str | None) -> dict[str, Any]:
    if version is None:
        return {}
    from azure.core import MatchConditions

    return {"etag": version, "match_condition": MatchConditions.IfNotModified}


_KINDS: Mapping[str, type[_S3Object | _GcsObject | _AzureObject]] = {
    "s3fs": _S3Object,
    "gcsfs": _GcsObject,
    "adlfs": _AzureObject,
}
