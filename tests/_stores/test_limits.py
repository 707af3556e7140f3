"""One layer repeats requests, and an endpoint that is dead, silent or half dead is reported soon, on every store."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import pickle
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

import aiohttp
import fsspec
import pytest
from support.proxy import Ending, FaultProxy
from support.servers import AZURE_KEY, Store
from support.waiting import Pauses, wait_until

from idfkit_fs import FsspecFileSystem, Study, open_result
from idfkit_fs._stores import limits
from idfkit_fs._stores.limits import CONNECT_SECONDS, SILENCE_SECONDS, may_pass, retried_errors
from idfkit_fs._stores.translate import translate
from idfkit_fs._util import retry as policy
from idfkit_fs._util.retry import retry, retry_request
from idfkit_fs.errors import InterruptedTransferError, NotFoundError, UnreachableError

STORES = pytest.mark.parametrize("server", ["moto", "gcs", "azurite_blob"])
KINDS = pytest.mark.parametrize("kind", ["s3", "gs", "abfs", "http"])
SHORT = 0.3  # seconds
CALLS = {
    "read_bytes": lambda fs: fs.read_bytes("a.csv"),
    "write_bytes": lambda fs: fs.write_bytes("a.csv", b"x"),
    "exists": lambda fs: fs.exists("a.csv"),
    "glob": lambda fs: fs.glob("", "*"),
    "copy": lambda fs: fs.copy("a.csv", "b.csv"),
    "open_result": lambda fs: open_result(fs.url("run"), storage_options=fs.storage_options),
    "status": lambda fs: Study(fs.url("study"), storage_options=fs.storage_options).status(),
}
LISTING_OR_READING = ("read_bytes", "glob", "open_result", "status")
EACH_CALL = pytest.mark.parametrize("call", CALLS)


class Endpoint:
    """Accepts connections and counts requests; it never answers, or stops in the middle of each body."""

    def __init__(self, half: bool = False) -> None:
        self.half = half
        self.requests: list[str] = []
        self._open: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        for sock in (self._socket, *self._open):
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            while data := client.recv(65536):
                if match := re.match(rb"([A-Z]+) (\S+) HTTP", data):
                    self.requests.append(match.group().decode())
                    if self.half and match[1] != b"HEAD":
                        client.sendall(_beginning(match[2]))
        except OSError:
            return


def _beginning(target: bytes) -> bytes:
    # Azure's client asks for a range of each blob.
    blob = b"devstoreaccount1" in target and b"comp=list" not in target
    first = b"206 Partial\r\nContent-Range: bytes 0-999/1000" if blob else b"200 OK"
    return b"HTTP/1.1 " + first + b'\r\nContent-Length: 1000\r\nETag: "x"\r\nx-ms-blob-type: BlockBlob\r\n\r\n0123'


def options(kind: str, endpoint: str, seconds: float | None = None) -> tuple[str, dict[str, Any]]:
    """A URL at an endpoint, and storage options for it; with bounds of so many seconds if they are given."""
    timeout = aiohttp.ClientTimeout(sock_connect=seconds, sock_read=seconds)
    if kind == "s3":
        bounds = {} if seconds is None else {"config_kwargs": {"connect_timeout": seconds, "read_timeout": seconds}}
        region = {"client_kwargs": {"region_name": "us-east-1"}}
        return "s3://bucket/study", {"key": "k", "secret": "s", "endpoint_url": endpoint, **region, **bounds}
    if kind == "gs":
        bounds = {} if seconds is None else {"requests_timeout": timeout}
        return "gs://bucket/study", {"token": "anon", "project": "test", "endpoint_url": endpoint, **bounds}
    if kind == "abfs":
        bounds = {} if seconds is None else {"connection_timeout": seconds, "read_timeout": seconds}
        account = f"AccountName=devstoreaccount1;AccountKey={AZURE_KEY};BlobEndpoint={endpoint}/devstoreaccount1;"
        return "abfs://bucket/study", {"connection_string": f"DefaultEndpointsProtocol=http;{account}", **bounds}
    return f"{endpoint}/study", {} if seconds is None else {"client_kwargs": {"timeout": timeout}}


def filesystem(kind: str, endpoint: str, seconds: float | None = None) -> FsspecFileSystem:
    url, storage_options = options(kind, endpoint, seconds)
    return FsspecFileSystem.from_url(url, **storage_options)


def through(store: Store, proxy: FaultProxy) -> FsspecFileSystem:
    return FsspecFileSystem.from_url(f"{store.url}/limits", **store.through(proxy.endpoint).storage_options)


@pytest.fixture
def closed() -> Iterator[str]:
    """An endpoint that refuses connections, on a port that no other server can take meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same attempts, without the waits between them."""
    monkeypatch.setattr(policy, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(policy, "ENOUGH_SECONDS", 600.0)  # a slow machine makes all attempts too
    from azure.storage.blob.aio import ExponentialRetry

    monkeypatch.setattr(ExponentialRetry, "get_backoff_time", lambda *_args: 0)


@pytest.fixture
def proxy(request: pytest.FixtureRequest) -> Iterator[FaultProxy]:
    store: Store = request.getfixturevalue(request.node.callspec.params["server"])
    store.raw.put("limits/a.csv", b"hour,degC\n" * 1000)
    with FaultProxy("127.0.0.1", int(store.endpoint.rpartition(":")[2])) as running:
        yield running


# --- the policy ------------------------------------------------------------------------------------------------------


def test_the_longest_wait_of_the_policy_is_within_the_bounds() -> None:
    waits = sum(policy.FIRST_WAIT * 2**attempt * 1.5 for attempt in range(policy.ATTEMPTS - 1))
    assert waits <= 10  # a refused connection itself takes no time: 15 seconds, less those to make a client
    # The second attempt is always made; a third does not begin after ENOUGH_SECONDS.
    assert max(2 * SILENCE_SECONDS, policy.ENOUGH_SECONDS + SILENCE_SECONDS) + waits <= 60
    assert policy.ENOUGH_SECONDS + CONNECT_SECONDS + waits <= 60


def test_a_call_that_works_is_made_once() -> None:
    calls = itertools.count(1)
    assert retry(lambda: next(calls)) == 1


def test_a_transfer_that_was_interrupted_is_made_again(quick: None) -> None:
    calls = itertools.count(1)

    def transfer() -> int:
        if (number := next(calls)) < policy.ATTEMPTS:
            raise InterruptedTransferError.for_url("s3://bucket/a")
        return number

    assert retry(transfer) == policy.ATTEMPTS


def test_the_last_error_is_raised(quick: None) -> None:
    calls = itertools.count(1)

    def transfer() -> None:
        raise InterruptedTransferError.for_url("s3://bucket/a", f"attempt {next(calls)}")

    with pytest.raises(InterruptedTransferError, match=f"attempt {policy.ATTEMPTS}"):
        retry(transfer)


@pytest.mark.parametrize("kind", [UnreachableError, NotFoundError])
def test_other_errors_are_raised_immediately(kind: Any) -> None:
    calls = itertools.count(1)

    def transfer() -> None:
        raise kind.for_url("s3://bucket/a", f"attempt {next(calls)}")

    with pytest.raises(kind, match="attempt 1"):
        retry(transfer)


def test_no_third_attempt_begins_after_enough_seconds(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "ENOUGH_SECONDS", -1.0)
    calls = itertools.count(1)

    async def request() -> None:
        raise ConnectionError(f"attempt {next(calls)}")

    with pytest.raises(ConnectionError, match="attempt 2"):
        asyncio.run(retry_request(request, may_pass))


# --- one layer -------------------------------------------------------------------------------------------------------


@STORES
@EACH_CALL
def test_a_request_that_fails_is_repeated_in_one_layer(
    server: str, call: str, request: pytest.FixtureRequest, proxy: FaultProxy, quick: None
) -> None:
    store: Store = request.getfixturevalue(server)
    fs = through(store, proxy)
    proxy.answer_status(503, count=None)
    with pytest.raises(ConnectionError):
        CALLS[call](fs)
    counts = {line: proxy.request_lines.count(line) for line in proxy.request_lines}
    assert max(counts.values()) <= policy.ATTEMPTS, counts


@STORES
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_store_is_asked_again(
    server: str, status: int, request: pytest.FixtureRequest, proxy: FaultProxy, quick: None
) -> None:
    store: Store = request.getfixturevalue(server)
    fs = through(store, proxy)
    for call in (lambda: fs.write_bytes("b.csv", b"x"), lambda: fs.fetch("b.csv"), lambda: fs.glob("", "b.*")):
        proxy.answer_status(status, count=policy.ATTEMPTS - 1)
        call()
    assert store.raw.get("limits/b.csv") == b"x"


@STORES
def test_a_lost_connection_is_opened_again(
    server: str, request: pytest.FixtureRequest, proxy: FaultProxy, quick: None
) -> None:
    store: Store = request.getfixturevalue(server)
    fs = through(store, proxy)
    for number in range(4):
        fs.write_bytes("c.csv", str(number).encode())
        proxy.drop()  # connections that are idle now
        assert fs.fetch("c.csv") == str(number).encode()
        proxy.drop()


@STORES
def test_a_body_that_breaks_is_an_interrupted_transfer(
    server: str, request: pytest.FixtureRequest, proxy: FaultProxy, quick: None
) -> None:
    store: Store = request.getfixturevalue(server)
    fs = through(store, proxy)
    proxy.cut_response_after(2000, on="^GET ")
    with pytest.raises(InterruptedTransferError, match="broke during the transfer"):
        fs.fetch("a.csv")


@STORES
def test_a_body_without_a_length_is_not_believed(
    server: str, request: pytest.FixtureRequest, proxy: FaultProxy, quick: None
) -> None:
    """It ends where the connection ends, so nothing tells that it was cut."""
    fs = through(request.getfixturevalue(server), proxy)
    for read in (lambda: fs.fetch("a.csv"), lambda: fs.read_ranges("a.csv", [(0, 5000)])[0]):
        proxy.break_response(count=1, on="^GET ", how=Ending.UNSIZED)
        assert len(read()) in (10_000, 5000)
        proxy.break_response(count=None, on="^GET ", how=Ending.UNSIZED)
        with pytest.raises(InterruptedTransferError):
            read()
        proxy.heal()


def test_botocore_repeats_alone_if_the_options_say_so(moto: Store, quick: None) -> None:
    with FaultProxy("127.0.0.1", int(moto.endpoint.rpartition(":")[2])) as proxy:
        given = moto.through(proxy.endpoint).storage_options
        config = {**given["config_kwargs"], "retries": {"total_max_attempts": 2}}
        fs = FsspecFileSystem.from_url(moto.url, **{**given, "config_kwargs": config})
        proxy.answer_status(503, count=None)
        with pytest.raises(ConnectionError):
            fs.exists("a.csv")
        assert proxy.requests == 2


def test_who_repeats_on_which_filesystem(closed: str) -> None:
    made = {kind: filesystem(kind, closed).fs for kind in ("s3", "gs", "abfs", "http")}
    for kind in ("s3", "gs", "abfs"):
        assert retried_errors(made[kind]) == (InterruptedTransferError,)
    assert retried_errors(made["http"]) == retried_errors(fsspec.filesystem("memory")) == (ConnectionError,)


def test_a_refusal_is_not_repeated() -> None:
    assert not may_pass(PermissionError("no"))
    assert not may_pass(FileNotFoundError("missing"))
    assert may_pass(ConnectionResetError("reset"))
    assert not may_pass(aiohttp.ClientPayloadError("half of it"))
    assert isinstance(translate(aiohttp.ClientPayloadError("half"), "gs://b/a"), InterruptedTransferError)


# --- dead, silent and half-dead endpoints ----------------------------------------------------------------------------


@KINDS
@EACH_CALL
def test_a_closed_port_is_reported(
    kind: str, call: str, closed: str, quick: None, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    fs = filesystem(kind, closed)
    gc.collect()  # what other tests left may complain as it goes
    caplog.clear()
    capfd.readouterr()
    with caplog.at_level(logging.WARNING), pytest.raises(ConnectionError):
        CALLS[call](fs)
    assert caplog.messages == []
    assert capfd.readouterr().err == ""


@KINDS
@EACH_CALL
def test_a_silent_endpoint_is_reported(kind: str, call: str, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "ENOUGH_SECONDS", 0.0)
    with Endpoint() as endpoint:
        fs = filesystem(kind, endpoint.url, SHORT)
        with pytest.raises(ConnectionError):
            CALLS[call](fs)
        wait_until(lambda: endpoint.requests, "the endpoint to see what the client sent before it gave up")


@pytest.mark.parametrize(
    ("kind", "call"),
    # HTTP has no request to list.
    [pair for pair in itertools.product(("s3", "gs", "abfs", "http"), LISTING_OR_READING) if pair != ("http", "glob")],
)
def test_a_body_that_stalls_is_reported(kind: str, call: str, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "ENOUGH_SECONDS", 0.0)
    with Endpoint(half=True) as endpoint:
        fs = filesystem(kind, endpoint.url, SHORT)
        with pytest.raises(ConnectionError):
            CALLS[call](fs)
        wait_until(lambda: endpoint.requests, "the endpoint to see what the client sent before it gave up")


@STORES
def test_a_slow_transfer_that_moves_is_not_cut(server: str, request: pytest.FixtureRequest, proxy: FaultProxy) -> None:
    store: Store = request.getfixturevalue(server)
    kind = store.url.partition(":")[0]
    _, bounds = options(kind, store.endpoint, 2.0)
    given = {**store.through(proxy.endpoint).storage_options}
    for name in ("requests_timeout", "connection_timeout", "read_timeout"):
        given.update({name: bounds[name]} if name in bounds else {})
    if kind == "s3":
        given["config_kwargs"] = {**given["config_kwargs"], **bounds["config_kwargs"]}
    fs = FsspecFileSystem.from_url(f"{store.url}/limits", **given)
    data = bytes(1_000_000)
    store.raw.put("limits/slow.bin", data)
    proxy.rate = 250_000  # four seconds, of which none is silent
    for _ in range(5):
        proxy.reset_counters()
        fetched = None
        with Pauses() as pauses, suppress(ConnectionError):
            fetched = fs.fetch("slow.bin")
        if pauses.longest < 0.5:  # else it may have been silent for too long
            assert fetched == data
            assert proxy.requests <= 2
            return
    assert fetched in (data, None)


# --- the defaults, and options that win ------------------------------------------------------------------------------


def _timeouts(fs: Any) -> tuple[float, float]:
    kind = type(fs).__name__
    if kind == "QuickS3FileSystem":
        config = fs.s3.meta.config
        return config.connect_timeout, config.read_timeout
    if kind == "BoundedAzureBlobFileSystem":
        connection = fs.service_client._config.transport.connection_config
        return connection.timeout, connection.read_timeout
    timeout = fs.requests_timeout if kind == "BoundedGCSFileSystem" else fs.client_kwargs["timeout"]
    assert timeout.total is None or timeout.total == aiohttp.ClientTimeout().total
    return timeout.sock_connect, timeout.sock_read


@KINDS
@pytest.mark.parametrize("pickled", [False, True])
def test_the_defaults_and_the_options(kind: str, pickled: bool, closed: str) -> None:
    for seconds, expected in ((None, (CONNECT_SECONDS, SILENCE_SECONDS)), (7, (7, 7))):
        fs = filesystem(kind, closed, seconds).fs
        assert _timeouts(pickle.loads(pickle.dumps(fs)) if pickled else fs) == expected


def test_azure_waits_within_the_bounds(closed: str) -> None:
    retries = filesystem("abfs", closed).fs.service_client._config.retry_policy
    longest = sum(
        retries.initial_backoff + retries.increment_base**count + retries.random_jitter_range
        for count in range(1, retries.total_retries + 1)
    )
    assert (retries.total_retries, retries.read_retries) == (policy.ATTEMPTS - 1, 1)
    assert longest <= 12
    # azure repeats a download three times after a silence in the body, one second apart.
    assert 3 * SILENCE_SECONDS + 2 <= 60


def test_a_borrowed_filesystem_keeps_its_settings() -> None:
    from gcsfs.core import GCSFileSystem

    borrowed = GCSFileSystem(token="anon", project="test", endpoint_url="http://127.0.0.1:9")
    assert FsspecFileSystem(borrowed, "bucket/study").fs is borrowed
    assert borrowed.requests_timeout is None
    assert limits.bounded_class(type(fsspec.filesystem("memory"))) is None
