"""A ``ValueError``, ``TypeError`` or ``KeyError`` of a backend's own never comes through."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from support.servers import AZURE_ACCOUNT, AZURE_KEY, Store

from idfkit_fs import FsspecFileSystem, IdfkitFsError
from idfkit_fs._stores.translate import translate
from idfkit_fs.errors import StoreError, UnsupportedError
from idfkit_fs.testing.contract import CALLS

AZURE = {"account_name": AZURE_ACCOUNT, "account_key": AZURE_KEY}
NAMES = ["Bad_Bucket!", "a", "UPPER", "with space", "é", "x" * 300, "a..b", "arn:aws:s3:nonsense"]


def fails_as_ours(url: str, options: dict[str, Any], method: Callable[[Any, str], Any]) -> None:
    with contextlib.suppress(IdfkitFsError):  # any other error fails the test
        method(FsspecFileSystem.from_url(url, **options), "a.csv")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", CALLS)
def test_s3(moto: Store, name: str, method: str) -> None:
    fails_as_ours(f"s3://{name}/x", moto.storage_options, CALLS[method])


def test_an_invalid_bucket_name_is_reported_with_its_url(moto: Store) -> None:
    fs = FsspecFileSystem.from_url("s3://Bad_Bucket!/x", **moto.storage_options)
    for method in (fs.read_bytes, lambda path: fs.write_bytes(path, b"1")):
        with pytest.raises(StoreError, match=r"s3://Bad_Bucket!/x/a\.csv"):
            method("a.csv")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", CALLS)
def test_gcs(gcs: Store, name: str, method: str) -> None:
    fails_as_ours(f"gs://{name}/x", gcs.storage_options, CALLS[method])


@pytest.mark.parametrize("name", ["UPPER", "with space", "a@b@c", "a@"])
def test_azure_refuses_urls_before_it_asks(name: str) -> None:
    with contextlib.suppress(IdfkitFsError):  # any other error fails the test
        FsspecFileSystem.from_url(f"abfs://{name}/x", **AZURE)


def test_azure_with_a_wrong_connection_string() -> None:
    with pytest.raises(IdfkitFsError) as caught:
        FsspecFileSystem.from_url("abfs://container/x", connection_string=f"nonsense;AccountKey={AZURE_KEY}")
    assert AZURE_KEY not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("url", ["http://[bad/x", "http://127.0.0.1:notaport/x", "http://:80/x", "https://a b/x"])
@pytest.mark.parametrize("method", CALLS)
def test_http(url: str, method: str) -> None:
    fails_as_ours(url, {}, CALLS[method])


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, AttributeError, IndexError, AssertionError])
def test_any_class_becomes_ours(error: type[Exception]) -> None:
    translated = translate(error("what a backend raised"), "s3://bucket/a.csv")
    assert type(translated) is StoreError
    assert "what a backend raised" in str(translated)
    assert "s3://bucket/a.csv" in str(translated)
    assert translated.__cause__ is not None


def test_what_a_backend_cannot_do_is_unsupported() -> None:
    assert type(translate(NotImplementedError("rename"), "x://a")) is UnsupportedError
