"""Storage options: what a backend would drop is refused, what it hands on is taken, and values are never shown."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import uuid
from typing import Any

import pytest
from support import servers
from support.servers import Store

from idfkit_fs import FsspecFileSystem
from idfkit_fs._stores.options import check_options, filesystem_class
from idfkit_fs.errors import StorageOptionsError, StoreError

VALUE = "a-value-that-is-secret"


def check(protocol: str, **options: Any) -> None:
    check_options(filesystem_class(protocol), protocol, options, (protocol,))


@pytest.mark.parametrize(
    ("protocol", "options", "hint"),
    [
        ("s3", {"s3_additional_kwargs": {"ServerSideEncription": VALUE}}, "ServerSideEncryption"),
        ("s3", {"s3_additional_kwargs": {"SSECustomerKeys": VALUE}}, "SSECustomerKey"),
        ("s3", {"s3_additional_kwargs": {"Bucket": VALUE}}, "s3_additional_kwargs"),
        ("s3", {"s3_additional_kwargs": VALUE}, "dictionary"),
        ("s3", {"client_kwargs": {"region": VALUE}}, "region_name"),
        ("s3", {"client_kwargs": {"config": VALUE}}, "client_kwargs"),
        ("s3", {"config_kwargs": {"signature_versio": VALUE}}, "signature_version"),
        ("gs", {"session_kwargs": {"trust_envv": VALUE}}, "trust_env"),
        ("https", {"client_kwargs": {"heders": VALUE}}, "headers"),
        ("https", {"heders": VALUE}, "headers"),
        ("sftp", {"usernme": VALUE}, "username"),
        ("sftp", {"key_file": VALUE}, "key_file"),
        ("ftp", {"usernme": VALUE}, "username"),
        ("abfs", {"exclude_managed_identity_credentials": VALUE}, "exclude_managed_identity_credential"),
    ],
)
def test_a_misspelt_option_is_refused(protocol: str, options: dict[str, Any], hint: str) -> None:
    with pytest.raises(StorageOptionsError) as caught:
        check(protocol, **options)
    assert hint in str(caught.value)
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        ("s3", {"s3_additional_kwargs": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "x", "StorageClass": "x"}}),
        ("s3", {"s3_additional_kwargs": {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": VALUE}}),
        ("s3", {"s3_additional_kwargs": {}, "client_kwargs": None, "config_kwargs": {}}),
        ("s3", {"client_kwargs": {"region_name": "x", "verify": False, "aws_access_key_id": "x"}}),
        ("s3", {"config_kwargs": {"retries": {}, "s3": {}, "connector_args": {}, "max_pool_connections": 9}}),
        ("gs", {"session_kwargs": {"trust_env": True, "headers": {}}}),
        ("https", {"headers": {}, "ssl": False, "client_kwargs": {"auth": None, "timeout": None}}),
        ("sftp", {"host": "x", "username": "x", "port": 22, "key_filename": "x", "password": "x", "passphrase": "x"}),
        ("sftp", {"host_key_policy": "reject", "look_for_keys": False}),
        ("ftp", {"username": "x", "password": "x", "port": 21, "tls": True, "timeout": 3}),
        ("abfs", {"exclude_managed_identity_credential": True, "managed_identity_client_id": "x"}),
    ],
)
def test_what_a_backend_hands_on_is_taken(protocol: str, options: dict[str, Any]) -> None:
    check(protocol, **options)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("region_name", "client_kwargs={'region_name': ...}"),
        ("aws_access_key_id", "key=..."),
        ("aws_secret_access_key", "secret=..."),
        ("aws_session_token", "token=..."),
        ("profile_name", "profile=..."),
        ("verify", "client_kwargs={'verify': ...}"),
        ("config", "config_kwargs={...}"),
        ("boto_config", "config_kwargs={...}"),
        ("ServerSideEncryption", "s3_additional_kwargs={'ServerSideEncryption': ...}"),
    ],
)
def test_a_name_of_boto3_says_where_it_goes(name: str, instead: str) -> None:
    with pytest.raises(StorageOptionsError) as caught:
        FsspecFileSystem.from_url("s3://bucket/x", **{name: VALUE})
    assert f"s3:// has no storage option {name!r}; pass {instead}" in str(caught.value)
    assert VALUE not in str(caught.value)


def test_the_names_are_looked_up_only_if_there_are_nested_options() -> None:
    program = """
import sys
from idfkit_fs._stores.nested import check_nested
check_nested("s3fs", "s3", {"key": "x", "client_kwargs": None, "config_kwargs": {}})
check_nested("gcsfs", "gs", {"token": "anon"})
print([name for name in ("botocore", "aiobotocore", "aiohttp") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "[]"


def test_an_encryption_by_the_customers_key_is_never_shown(moto: Store) -> None:
    secret = base64.b64encode(os.urandom(32)).decode()
    encryption = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": secret}
    options = {**moto.storage_options, "s3_additional_kwargs": encryption}
    fs = FsspecFileSystem.from_url(f"{moto.url}/{uuid.uuid4().hex}", **options)
    fs.write_bytes("a.csv", b"1")
    assert fs.read_bytes("a.csv") == b"1"
    with pytest.raises(StoreError) as caught:
        fs.read_bytes("missing.csv")
    assert secret not in repr(fs) + str(caught.value) + repr(caught.value) + repr(caught.value.__cause__)


def test_an_encryption_that_is_spelt_right_is_used(moto: Store) -> None:
    options = {**moto.storage_options, "s3_additional_kwargs": {"ServerSideEncryption": "AES256"}}
    prefix = uuid.uuid4().hex
    fs = FsspecFileSystem.from_url(f"{moto.url}/{prefix}", **options)
    fs.write_bytes("a.csv", b"1")
    client = servers.boto_client("s3", moto.endpoint, "testing", "testing")
    answer = client.head_object(Bucket=servers.BUCKET, Key=f"{prefix}/a.csv")
    assert answer["ServerSideEncryption"] == "AES256"
