"""Stores that do not know conditional writes, or refuse them: a file is written without, unless it exists."""

from __future__ import annotations

import uuid

import pytest
from idfkit.simulation import SimulationResult
from support.places import Place
from support.proxy import FaultProxy
from support.servers import Store

from idfkit_fs import FsspecFileSystem, open_result, publish
from idfkit_fs.errors import PermissionDeniedError, RunExistsError, StoreError, UnreachableError

REFUSALS = pytest.mark.parametrize(
    ("status", "code"), [(501, "NotImplemented"), (400, "NotImplemented"), (400, "InvalidArgument")]
)


@pytest.fixture
def fs(shaky_place: Place) -> FsspecFileSystem:
    return FsspecFileSystem.from_url(shaky_place.url, **shaky_place.options)


@REFUSALS
def test_a_file_is_created_without_the_condition(
    fs: FsspecFileSystem, proxy: FaultProxy, status: int, code: str
) -> None:
    proxy.refuse_conditions(status, code)
    assert fs.create_exclusive("a/b.json", b"first")
    assert not fs.create_exclusive("a/b.json", b"second")
    assert fs.read_bytes("a/b.json") == b"first"


def test_a_refusal_is_not_repeated(fs: FsspecFileSystem, proxy: FaultProxy) -> None:
    fs.exists("a.json")
    proxy.refuse_conditions(501)
    proxy.reset_counters()
    assert fs.create_exclusive("a.json", b"first")
    methods = [line.split()[0] for line in proxy.request_lines]
    assert methods == ["GET", "PUT", "GET", "PUT"]


@REFUSALS
def test_a_run_is_published_without_conditions(
    shaky_place: Place, proxy: FaultProxy, local_run: SimulationResult, status: int, code: str
) -> None:
    proxy.refuse_conditions(status, code)
    url = f"{shaky_place.url}/case"
    publish(local_run, url, storage_options=shaky_place.options)
    assert open_result(url, storage_options=shaky_place.options).success
    with pytest.raises(RunExistsError):
        publish(local_run, url, storage_options=shaky_place.options)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "ExpiredToken", PermissionDeniedError),
        (400, "BadDigest", StoreError),
        (403, "AccessDenied", PermissionDeniedError),
        (503, "SlowDown", UnreachableError),
    ],
)
def test_another_refusal_is_an_error(
    fs: FsspecFileSystem, proxy: FaultProxy, status: int, code: str, error: type[StoreError]
) -> None:
    """Written without the condition it would succeed here, and could replace the file of another client."""
    proxy.refuse_conditions(status, code)
    with pytest.raises(error):
        fs.create_exclusive("a.json", b"first")
    proxy.heal()
    assert not fs.exists("a.json")


def test_a_store_that_cannot_answer_whether_the_file_exists(fs: FsspecFileSystem, proxy: FaultProxy) -> None:
    proxy.refuse_conditions(501)
    proxy.answer_status(403, count=None, on="^(HEAD|GET) ")
    with pytest.raises(PermissionDeniedError):
        fs.create_exclusive("a.json", b"first")
    proxy.heal()
    assert not fs.exists("a.json")


def test_obstore_overwrites_unless_asked_before(moto: Store) -> None:
    from obstore.fsspec import FsspecStore

    options = moto.storage_options
    store = FsspecStore(
        "s3",
        config={
            "aws_access_key_id": options["key"],
            "aws_secret_access_key": options["secret"],
            "aws_region": "us-east-1",
            "aws_endpoint": moto.endpoint,
        },
        client_options={"allow_http": True},
    )
    fs = FsspecFileSystem(store, f"{moto.url}/{uuid.uuid4().hex}")
    assert fs.create_exclusive("a.json", b"first")
    assert not fs.create_exclusive("a.json", b"second")
    assert fs.read_bytes("a.json") == b"first"
