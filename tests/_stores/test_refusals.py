"""Stores that refuse conditional writes, and exceptions of a backend's own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from support.proxy import FaultProxy
from support.servers import Store

from idfkit_fs import FsspecFileSystem
from idfkit_fs._stores.conditions import ignores_conditions, refuses_conditions
from idfkit_fs._stores.translate import translate
from idfkit_fs.errors import IdfkitFsError, NotFoundError, StoreError, UnreachableError, UnsupportedError


@pytest.fixture(params=["moto", "gcs"])
def store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(request.param)


@pytest.fixture
def proxy(moto: Store) -> Iterator[FaultProxy]:
    address = urlsplit(moto.endpoint)
    with FaultProxy(str(address.hostname), int(address.port or 0)) as proxy:
        yield proxy


def create(fs: FsspecFileSystem, name: str) -> StoreError:
    with pytest.raises(StoreError) as caught:
        fs.create_exclusive(name, b"1")
    return caught.value


@pytest.mark.parametrize("status", [501, 400])
def test_a_refused_condition_is_known(moto: Store, proxy: FaultProxy, status: int) -> None:
    fs = FsspecFileSystem.from_url(f"{moto.url}/{uuid.uuid4().hex}", **moto.through(proxy.endpoint).storage_options)
    fs.write_bytes("other.csv", b"1")
    proxy.answer_status(status, count=None, on=r"^PUT .*a\.csv")
    assert refuses_conditions(create(fs, "a.csv"))


@pytest.mark.parametrize("status", [403, 404])
def test_other_errors_are_not_taken_for_it(moto: Store, proxy: FaultProxy, status: int) -> None:
    fs = FsspecFileSystem.from_url(f"{moto.url}/{uuid.uuid4().hex}", **moto.through(proxy.endpoint).storage_options)
    proxy.answer_status(status, count=None, on=r"^PUT .*a\.csv")
    assert not refuses_conditions(create(fs, "a.csv"))


def test_an_expired_token_is_not_taken_for_it() -> None:
    from botocore.exceptions import ClientError

    response = {"Error": {"Code": "ExpiredToken"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    assert not refuses_conditions(ClientError(response, "PutObject"))
    response["Error"]["Code"] = "InvalidArgument"
    assert refuses_conditions(ClientError(response, "PutObject"))


def test_obstore_ignores_conditions(moto: Store) -> None:
    import fsspec
    from obstore.fsspec import FsspecStore

    assert ignores_conditions(FsspecStore("s3", endpoint=moto.endpoint))
    assert not ignores_conditions(fsspec.filesystem("s3", **moto.storage_options))


# --- a backend's own exceptions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["read_bytes", "exists", "remove"])
@pytest.mark.parametrize("bucket", ["Bad_Bucket!", "b", "a..b", "x" * 80, "with space"])
def test_an_invalid_bucket_is_an_error_of_ours(store: Store, bucket: str, call: str) -> None:
    fs = FsspecFileSystem.from_url(f"{store.url.partition('://')[0]}://{bucket}/x", **store.storage_options)
    try:
        outcome = getattr(fs, call)("a.csv")
    except Exception as exc:  # noqa: BLE001 - which class it is, is what the test asks
        outcome = exc
    if call == "exists" and outcome is False:
        return
    assert isinstance(outcome, IdfkitFsError)
    assert bucket in str(outcome)


@pytest.mark.parametrize("raw", [ValueError("v"), TypeError("t"), KeyError("k"), AttributeError("a"), IndexError("i")])
def test_every_other_exception_becomes_ours(raw: Exception) -> None:
    error = translate(raw, "s3://bucket/x")
    assert isinstance(error, StoreError) and error.__cause__ is raw
    assert type(raw).__name__ in str(error) and error.filename == "s3://bucket/x"


def test_exhausted_memory_is_not_an_error_of_the_store() -> None:
    for raw in (MemoryError(), RecursionError()):
        assert translate(raw, "s3://bucket/x") is raw


def test_an_unsupported_operation_is_both() -> None:
    error = translate(NotImplementedError("no copy"), "http://host/x")
    assert isinstance(error, UnsupportedError) and isinstance(error, NotImplementedError)
    assert isinstance(error, OSError)


def test_answers_of_ftp() -> None:
    import ftplib

    assert isinstance(translate(ftplib.error_perm("550 No such file."), "ftp://host/x"), NotFoundError)
    assert isinstance(translate(ftplib.error_perm("550 Permission denied."), "ftp://host/x"), PermissionError)
    assert isinstance(translate(ftplib.error_perm("530 Login incorrect"), "ftp://host/x"), PermissionError)
    assert isinstance(translate(ftplib.error_perm("550 File exists"), "ftp://host/x"), FileExistsError)
    assert isinstance(translate(ftplib.error_temp("421 Timeout"), "ftp://host/x"), UnreachableError)
    assert isinstance(translate(EOFError(), "ftp://host/x"), UnreachableError)


def test_a_secret_in_a_raw_exception_is_not_shown() -> None:
    error = translate(ValueError("bad key my-secret-value"), "s3://b/x", secrets=frozenset({"my-secret-value"}))
    assert "my-secret-value" not in str(error) and error.__cause__ is None
