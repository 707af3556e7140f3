"""Encryption by storage options, and keys in nested options, which are never shown."""

from __future__ import annotations

import base64
import uuid
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.servers import BUCKET, Store

from idfkit_fs import FsspecFileSystem
from idfkit_fs._util.messages import redact, secrets_of
from idfkit_fs.errors import NotFoundError, StorageOptionsError, StoreError

VALUE = "a-value-that-is-never-shown"
KEY = bytes(range(200, 232))


@pytest.fixture
def client(moto: Store) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=moto.endpoint,
        aws_access_key_id=moto.storage_options["key"],
        aws_secret_access_key=moto.storage_options["secret"],
        region_name="us-east-1",
    )


def test_objects_are_stored_encrypted(moto: Store, client: Any, tmp_path: Path) -> None:
    root = f"{moto.url}/{uuid.uuid4().hex}"
    fs = FsspecFileSystem.from_url(
        root, **moto.storage_options, s3_additional_kwargs={"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "my-key"}
    )
    big = tmp_path / "big.sql"
    big.write_bytes(b"b" * 12_000_000)  # in parts
    fs.write_bytes("small.csv", b"1")
    fs.create_exclusive("exclusive.json", b"1")
    assert fs.swap("swapped.json", b"2", fs.swap("swapped.json", b"1", None))
    fs.upload(str(big), "big.sql")
    fs.copy("small.csv", "copied.csv")
    with fs.open("opened.csv", "wb") as file:
        file.write(b"1")
    for name in ("small.csv", "exclusive.json", "swapped.json", "big.sql", "copied.csv", "opened.csv"):
        head = client.head_object(Bucket=BUCKET, Key=fs.key(name).partition("/")[2])
        assert (head.get("ServerSideEncryption"), head.get("SSEKMSKeyId")) == ("aws:kms", "my-key"), name
    assert fs.read_bytes("small.csv") == b"1"


@pytest.mark.parametrize(
    "key", [KEY, "0123456789-abcdef-0123456789-abc", bytearray(KEY)], ids=["bytes", "str", "bytearray"]
)
def test_a_key_of_nested_options_is_never_shown(moto: Store, key: Any) -> None:
    options = {
        **moto.storage_options,
        "s3_additional_kwargs": {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key},
    }
    fs = FsspecFileSystem.from_url(f"{moto.url}/{uuid.uuid4().hex}", **options)
    shown = [repr(fs), str(fs)]
    with pytest.raises(NotFoundError) as missing:
        fs.read_bytes("missing.csv")
    with pytest.raises(StorageOptionsError) as refused:
        FsspecFileSystem.from_url(moto.url, **{**options, "s3_additional_kwargs": {"SSECustomerKeey": key}})
    with pytest.raises(StorageOptionsError) as invalid:
        FsspecFileSystem.from_url(moto.url, **{**options, "s3_additional_kwargs": key})
    for caught in (missing, refused, invalid):
        shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    for form in _forms(key):
        assert not [text for text in shown if form in text]


def test_a_key_of_the_wrong_type_is_not_shown(moto: Store) -> None:
    """botocore's own error quotes the value."""
    wrong = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": [VALUE]}
    options = {**moto.storage_options, "s3_additional_kwargs": wrong}
    fs = FsspecFileSystem.from_url(f"{moto.url}/{uuid.uuid4().hex}", **options)
    with pytest.raises((StoreError, StorageOptionsError)) as caught:
        fs.write_bytes("a.csv", b"1")
    assert VALUE not in str(caught.value) + repr(caught.value) + repr(caught.value.__cause__)


def test_secrets_of_nested_options() -> None:
    options = {
        "s3_additional_kwargs": {
            "SSECustomerKey": KEY,
            "CopySourceSSECustomerKey": "copy-source-key",
            "ACL": "private",
        },
        "client_kwargs": {"aws_secret_access_key": "nested-secret", "region_name": "eu-west-1"},
    }
    secrets = secrets_of(options)
    assert {"copy-source-key", "nested-secret"} < secrets and not {"private", "eu-west-1"} & secrets
    for form in _forms(KEY):
        assert redact(f"before {form} after", secrets) == "before *** after"


def _forms(key: Any) -> list[str]:
    if isinstance(key, str):
        return [key]
    return [repr(bytes(key))[2:-1], base64.b64encode(key).decode(), bytes(key).hex()]
