"""What real servers refuse, or do not answer, arrives as this package's errors, without a secret in them."""

from __future__ import annotations

import asyncio
import socket
import traceback
from typing import Any

import pytest
from support.servers import AZURE_KEY, Store, free_ports

from idfkit_fs import AsyncFsspecFileSystem, FsspecFileSystem, IdfkitFsError
from idfkit_fs._util import retry
from idfkit_fs.testing.contract import CALLS, call

ADAPTERS = pytest.mark.parametrize("adapter", [FsspecFileSystem, AsyncFsspecFileSystem], ids=["sync", "async"])
# makedirs has nothing to ask an object store.
ASKING = {
    "read_bytes": ("a.csv",),
    "read_text": ("a.csv",),
    "write_bytes": ("a.csv", b"x"),
    "write_text": ("a.csv", "x"),
    "exists": ("a.csv",),
    "copy": ("a.csv", "b.csv"),
    "glob": ("", "*"),
    "remove": ("a.csv",),
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same attempts, without the waits between them."""
    from azure.storage.blob.aio import ExponentialRetry

    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(ExponentialRetry, "get_backoff_time", lambda *_args: 0)


def refused(fs: Any, method: str, kind: type[BaseException], *secrets: str) -> str:
    """Call a method that must fail, and return what it says."""
    with pytest.raises(kind) as caught:
        call(fs, method, *ASKING[method])
    exc = caught.value
    assert isinstance(exc, IdfkitFsError)
    assert type(exc).__module__ == "idfkit_fs.errors"
    shown = "".join(traceback.format_exception(exc)) + str(exc) + repr(exc) + repr(exc.__cause__)
    for secret in secrets:
        assert secret not in shown
    return str(exc)


# --- no such bucket --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["moto", "seaweed", "rclone_s3", "gcs", "azurite_blob"])
@ADAPTERS
@pytest.mark.parametrize("method", ASKING)
def test_missing_bucket_is_named(request: pytest.FixtureRequest, server: str, adapter: Any, method: str) -> None:
    store: Store = request.getfixturevalue(server)
    scheme = store.url.partition("://")[0]
    fs = adapter.from_url(f"{scheme}://no-such-bucket/study", **store.storage_options)
    if method == "exists":
        assert call(fs, "exists", "a.csv") is False
        return
    if method == "glob" and server == "gcs":
        assert call(fs, method, *ASKING[method]) == []  # fake-gcs-server lists a missing bucket as an empty one
        return
    said = refused(fs, method, FileNotFoundError)
    # What was not found, gcsfs never says, and adlfs not always.
    telling = {"gcs": ("write_bytes", "write_text"), "azurite_blob": ("read_bytes", "write_bytes", "glob")}
    if method in telling.get(server, ASKING):
        assert "No bucket or container named 'no-such-bucket'" in said
    assert "no-such-bucket/" in said


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["moto_auth", "seaweed", "rclone_s3"])
@pytest.mark.parametrize(
    "change", [{"key": "WRONGKEYWRONGKEY"}, {"secret": "wrong-secret-value"}], ids=["key", "secret"]
)
@ADAPTERS
@pytest.mark.parametrize("method", ASKING)
def test_wrong_credentials(
    request: pytest.FixtureRequest, server: str, change: dict[str, str], adapter: Any, method: str
) -> None:
    store: Store = request.getfixturevalue(server)
    store.raw.put("study/a.csv", b"x")
    options = {**store.storage_options, **change}
    fs = adapter.from_url(f"{store.url}/study", **options)
    said = refused(fs, method, PermissionError, options["secret"])
    assert "credentials" in said
    assert options["secret"] not in repr(fs)


@pytest.mark.parametrize("server", ["moto_auth", "seaweed"])
@ADAPTERS
@pytest.mark.parametrize("method", ASKING)
def test_garbage_session_token(request: pytest.FixtureRequest, server: str, adapter: Any, method: str) -> None:
    store: Store = request.getfixturevalue(server)
    store.raw.put("study/a.csv", b"x")
    fs = adapter.from_url(f"{store.url}/study", token="garbage-session-token", **store.storage_options)
    # moto says 400 to a HEAD, which has no body to say why: the store is asked again.
    said = refused(fs, method, PermissionError, store.storage_options["secret"], "garbage-session-token")
    assert "The credentials are wrong" in said


@ADAPTERS
@pytest.mark.parametrize("method", ASKING)
def test_wrong_azure_key(azurite_blob: Store, adapter: Any, method: str, impatient: None) -> None:
    azurite_blob.raw.put("study/a.csv", b"x")
    wrong = "AAAA" + AZURE_KEY[4:]
    text = azurite_blob.storage_options["connection_string"].replace(AZURE_KEY, wrong)
    fs = adapter.from_url(f"{azurite_blob.url}/study", **{**azurite_blob.storage_options, "connection_string": text})
    refused(fs, method, PermissionError, wrong)


# --- no answer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["moto", "gcs", "azurite_blob"])
@ADAPTERS
@pytest.mark.parametrize("method", ASKING)
def test_dead_endpoint(request: pytest.FixtureRequest, server: str, adapter: Any, method: str, impatient: None) -> None:
    store: Store = request.getfixturevalue(server)
    with socket.socket() as bound:  # but not listening: no other server can take the port meanwhile
        bound.bind(("127.0.0.1", 0))
        dead = store.through(f"http://127.0.0.1:{bound.getsockname()[1]}")
        fs = adapter.from_url(f"{store.url}/study", **dead.storage_options)
        secrets = [store.storage_options["secret"]] if "secret" in store.storage_options else [AZURE_KEY]
        said = refused(fs, method, ConnectionError, *(secrets if server != "moto" else []))
    assert "did not answer" in said


@pytest.mark.parametrize("server", ["moto", "gcs", "azurite_blob"])
@ADAPTERS
def test_wrong_path_asks_nobody(request: pytest.FixtureRequest, server: str, adapter: Any) -> None:
    """A dead endpoint would be noticed."""
    store: Store = request.getfixturevalue(server)
    (port,) = free_ports(1)
    fs = adapter.from_url(f"{store.url}/study", **store.through(f"http://127.0.0.1:{port}").storage_options)
    scheme = store.url.partition("://")[0]
    for path in ("../x", f"{scheme}://elsewhere/x", "ftp://host/x"):
        for name, method in CALLS.items():
            with pytest.raises(ValueError):
                _blocking(adapter, fs, name, method, path)


def _blocking(adapter: Any, fs: Any, _name: str, method: Any, path: str) -> None:
    result = method(fs, path)
    if adapter is AsyncFsspecFileSystem:
        asyncio.run(_awaited(result))


async def _awaited(result: Any) -> Any:
    return await result
