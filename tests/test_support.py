"""The tests' own servers and fault proxy do what the other tests rely on."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import fsspec
import pytest
from support.proxy import Ending, FaultProxy
from support.servers import Store, boto_client

WEIRD_KEY = "a b#1%20?[1]+&é/x.bin"
SERVERS = ["moto", "moto_auth", "seaweed", "rclone_s3", "gcs", "azurite_blob"]
BODY = b"x" * 100_000
Connect = Callable[[FaultProxy], http.client.HTTPConnection]


def filesystem(store: Store, **changes: Any) -> tuple[Any, str]:
    """Make the fsspec filesystem of a store, and the path of its bucket."""
    fs, root = fsspec.core.url_to_fs(store.url, skip_instance_cache=True, **{**store.storage_options, **changes})
    return fs, root


# --- servers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=SERVERS)
def store(request: pytest.FixtureRequest) -> Store:
    """Each server in turn, with a bucket of its own for these tests."""
    running: Store = request.getfixturevalue(request.param)
    return running.bucket("support-bucket")


def test_raw_client_and_fsspec_see_the_same_objects(store: Store) -> None:
    store.raw.put(WEIRD_KEY, b"from the raw client")
    fs, root = filesystem(store)
    assert fs.cat_file(f"{root}/{WEIRD_KEY}") == b"from the raw client"
    fs.pipe_file(f"{root}/back/{WEIRD_KEY}", b"from fsspec")
    assert store.raw.get(f"back/{WEIRD_KEY}") == b"from fsspec"
    written = {WEIRD_KEY, f"back/{WEIRD_KEY}"}
    assert written <= {*store.raw.keys()}
    assert store.raw.keys("a b#1%20?[1]+&é/") == [WEIRD_KEY]
    assert store.raw.keys("a b#1%20?1") == []
    for key in written:
        store.raw.delete(key)
    assert written.isdisjoint(store.raw.keys())


def test_missing_object_raises(store: Store) -> None:
    with pytest.raises(Exception, match=r"404|NoSuchKey|BlobNotFound|does not exist"):
        store.raw.get("missing")


def test_buckets_are_apart(store: Store) -> None:
    other = store.bucket("other-bucket")
    other.raw.put("only-here", b"1")
    assert "only-here" not in store.raw.keys("")
    fs, root = filesystem(other)
    assert root == "other-bucket"
    assert fs.cat_file(f"{root}/only-here") == b"1"


def test_store_can_be_reached_through_a_proxy(store: Store) -> None:
    store.raw.put("proxied", b"1")
    target = urlsplit(store.endpoint)
    with FaultProxy(str(target.hostname), int(target.port or 0)) as proxy:
        fs, root = filesystem(store.through(proxy.endpoint))
        assert fs.cat_file(f"{root}/proxied") == b"1"
        fs.pipe_file(f"{root}/put-proxied", BODY)
        assert proxy.requests > 0
        assert proxy.bytes_up > len(BODY)
    assert store.raw.get("put-proxied") == BODY


@pytest.mark.parametrize("server", ["moto_auth", "seaweed", "rclone_s3"])
@pytest.mark.parametrize(
    ("change", "code"),
    [({"key": "AKIAWRONGWRONGWRONG"}, "InvalidAccessKeyId"), ({"secret": "wrong" * 5}, "SignatureDoesNotMatch")],
)
def test_wrong_credentials_are_refused(
    request: pytest.FixtureRequest, server: str, change: dict[str, str], code: str
) -> None:
    store: Store = request.getfixturevalue(server)
    store.raw.put("secret", b"1")
    options = {**store.storage_options, **change}
    client = boto_client("s3", store.endpoint, options["key"], options["secret"])
    with pytest.raises(client.exceptions.ClientError, match=code) as caught:
        client.get_object(Bucket="test-bucket", Key="secret")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    fs, root = filesystem(store, **change)
    with pytest.raises(PermissionError):
        fs.cat_file(f"{root}/secret")


def test_garbage_session_token_is_refused(moto_auth: Store, seaweed: Store) -> None:
    for store, error in ((moto_auth, OSError), (seaweed, PermissionError)):
        store.raw.put("secret", b"1")
        fs, root = filesystem(store, token="garbage")
        with pytest.raises(error):
            fs.cat_file(f"{root}/secret")


def test_wrong_azure_key_is_refused(azurite_blob: Store) -> None:
    from azure.core.exceptions import HttpResponseError

    azurite_blob.raw.put("secret", b"1")
    text = azurite_blob.storage_options["connection_string"].replace("AccountKey=Eby8", "AccountKey=AAAA")
    fs, root = filesystem(azurite_blob, connection_string=text)
    with pytest.raises(HttpResponseError) as caught:
        fs.cat_file(f"{root}/secret")
    assert caught.value.status_code == 403


# --- proxy -----------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """Answers every request with `BODY`, and keeps what it received in the server's `received`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a request, after its body was read."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.received.append((self.command, self.path, len(body)))  # type: ignore[attr-defined]  # see below
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    do_PUT = do_GET  # the names are http.server's

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class QuietServer(ThreadingHTTPServer):
    """A server that takes broken connections calmly: the proxy breaks them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, str, int]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[QuietServer]:
    """A tiny web server of the test's own, which no request of another test can reach late."""
    server = QuietServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxy(web: QuietServer) -> Iterator[FaultProxy]:
    """A proxy without faults, in front of the web server."""
    with FaultProxy("127.0.0.1", web.server_port) as running:
        yield running


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make clients, which connect with their first request and are closed after the test."""
    with ExitStack() as stack:

        def make(proxy: FaultProxy) -> http.client.HTTPConnection:
            client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=600)
            stack.callback(client.close)
            return client

        yield make


def ask(
    client: http.client.HTTPConnection, method: str = "GET", path: str = "/key", body: bytes | None = None
) -> tuple[int, bytes]:
    """Send one request and read the whole reply."""
    client.request(method, path, body)
    response = client.getresponse()
    return response.status, response.read()


BROKEN = (ConnectionError, http.client.HTTPException)  # RemoteDisconnected is both, IncompleteRead is no OSError


def test_proxy_counts(proxy: FaultProxy, connect: Connect) -> None:
    client = connect(proxy)
    assert ask(client) == (200, BODY)
    assert ask(client, "PUT", "/a%20b", BODY) == (200, BODY)
    assert proxy.connections == 1
    assert proxy.request_lines == ["GET /key HTTP/1.1", "PUT /a%20b HTTP/1.1"]
    assert proxy.requests == 2
    assert proxy.bytes_up > len(BODY)
    assert proxy.bytes_down > 2 * len(BODY)
    proxy.reset_counters()
    assert (proxy.connections, proxy.requests, proxy.bytes_up, proxy.bytes_down) == (0, 0, 0, 0)


def test_proxy_delay_costs_round_trips_once_each(proxy: FaultProxy, connect: Connect) -> None:
    proxy.delay = 0.1
    client = connect(proxy)
    start = time.monotonic()
    ask(client)
    connected = time.monotonic()
    ask(client)
    assert connected - start >= 0.4, "the handshake's round trip and the request's"
    assert time.monotonic() - connected >= 0.2, "one round trip on an open connection"


def test_proxy_delay_costs_no_throughput(proxy: FaultProxy, connect: Connect) -> None:
    proxy.delay = 1.0
    start = time.monotonic()
    assert ask(connect(proxy), "PUT", "/big", b"x" * 16_000_000) == (200, BODY)
    # 16 MB are 240 chunks or more: one after the other they would take 240 s, and a busy machine takes no 120.
    assert time.monotonic() - start < 120


def test_proxy_rate_is_shared_by_connections(proxy: FaultProxy, connect: Connect) -> None:
    proxy.rate = 1_000_000
    threads = [threading.Thread(target=ask, args=(connect(proxy),)) for _ in range(3)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - start >= 3 * len(BODY) / 1_000_000


def test_proxy_refuses_until_healed(proxy: FaultProxy, connect: Connect) -> None:
    client = connect(proxy)
    ask(client)
    proxy.refuse()
    with pytest.raises(BROKEN):
        ask(client)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy).connect()
    proxy.heal()
    assert ask(connect(proxy)) == (200, BODY)


def test_proxy_refuses_some_connections(proxy: FaultProxy, connect: Connect) -> None:
    proxy.refuse(2)
    for _ in range(2):
        with pytest.raises(BROKEN):
            ask(connect(proxy))
    assert ask(connect(proxy)) == (200, BODY)
    assert proxy.connections == 3


def test_proxy_resets_a_request_before_the_server_sees_it(
    proxy: FaultProxy, web: QuietServer, connect: Connect
) -> None:
    client = connect(proxy)
    ask(client)
    proxy.reset(1)
    with pytest.raises(ConnectionResetError):
        ask(client, path="/lost")
    assert [path for _, path, _ in web.received] == ["/key"]
    assert ask(connect(proxy)) == (200, BODY)


def test_proxy_drops_idle_connections(proxy: FaultProxy, connect: Connect) -> None:
    client = connect(proxy)
    ask(client)
    proxy.drop()
    with pytest.raises(BROKEN):
        ask(client)


def test_proxy_cuts_a_response(proxy: FaultProxy, connect: Connect) -> None:
    proxy.cut_response_after(50_000, 1)
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(connect(proxy))
    assert 0 < len(caught.value.partial) < 50_000
    assert ask(connect(proxy)) == (200, BODY)


def test_proxy_cuts_a_request(proxy: FaultProxy, web: QuietServer, connect: Connect) -> None:
    proxy.cut_request_after(50_000, 1)
    with pytest.raises(BROKEN):
        ask(connect(proxy), "PUT", "/cut", BODY)
    assert ask(connect(proxy), "PUT", "/whole", BODY) == (200, BODY)
    assert ("PUT", "/cut", len(BODY)) not in web.received
    assert ("PUT", "/whole", len(BODY)) in web.received


def test_proxy_answers_itself(proxy: FaultProxy, web: QuietServer, connect: Connect) -> None:
    proxy.answer_status(503, 2)
    assert ask(connect(proxy), "PUT", "/a", BODY) == (503, b"")
    assert ask(connect(proxy)) == (503, b"")
    assert web.received == []
    assert ask(connect(proxy)) == (200, BODY)


def test_proxy_loses_a_reply_after_the_server_acted(proxy: FaultProxy, web: QuietServer, connect: Connect) -> None:
    proxy.lose_reply(1)
    with pytest.raises(ConnectionResetError):
        ask(connect(proxy), "PUT", "/done", BODY)
    assert web.received == [("PUT", "/done", len(BODY))]
    assert ask(connect(proxy)) == (200, BODY)


def test_proxy_breaks_a_request_in_its_body(proxy: FaultProxy, web: QuietServer, connect: Connect) -> None:
    proxy.break_request()
    assert ask(connect(proxy)) == (200, BODY)  # it has none
    with pytest.raises(BROKEN):
        ask(connect(proxy), "PUT", "/broken", BODY)
    assert ("PUT", "/broken", len(BODY)) not in web.received
    assert ask(connect(proxy), "PUT", "/whole", BODY) == (200, BODY)


@pytest.mark.parametrize("how", [Ending.RESET, Ending.SHORT])
def test_proxy_breaks_a_response_in_its_body(proxy: FaultProxy, connect: Connect, how: Ending) -> None:
    proxy.break_response(how=how)
    with pytest.raises(BROKEN):
        ask(connect(proxy))
    assert ask(connect(proxy)) == (200, BODY)


def test_proxy_breaks_a_response_so_that_a_client_cannot_know(proxy: FaultProxy, connect: Connect) -> None:
    proxy.break_response(how=Ending.UNSIZED)
    status, body = ask(connect(proxy))
    assert status == 200 and 0 < len(body) < len(BODY) and BODY.startswith(body)


def test_proxy_holds_a_reply(proxy: FaultProxy, web: QuietServer, connect: Connect) -> None:
    proxy.stall(1)
    start = time.monotonic()
    assert ask(connect(proxy), "PUT", "/late", BODY) == (200, BODY)
    assert time.monotonic() - start >= 1
    assert web.received == [("PUT", "/late", len(BODY))]


def test_proxy_faults_pick_their_requests(proxy: FaultProxy, connect: Connect) -> None:
    proxy.answer_status(500, 1, on=r"^PUT .*run\.json")
    client = connect(proxy)
    assert ask(client, "GET", "/run.json")[0] == 200
    assert ask(client, "PUT", "/other.json", b"1")[0] == 200
    assert ask(client, "PUT", "/case/run.json", b"1")[0] == 500
    assert ask(connect(proxy), "PUT", "/case/run.json", b"1")[0] == 200


def test_proxy_reports_a_dead_target_as_a_broken_connection(connect: Connect) -> None:
    with socket.socket() as held:  # so that no other program listens there meanwhile
        held.bind(("127.0.0.1", 0))
        with FaultProxy("127.0.0.1", held.getsockname()[1]) as proxy, pytest.raises(BROKEN):
            ask(connect(proxy))


@pytest.mark.parametrize("server", ["moto", "seaweed"])
def test_proxy_faults_reach_a_real_client(request: pytest.FixtureRequest, server: str) -> None:
    store: Store = request.getfixturevalue(server)
    target = urlsplit(store.endpoint)
    with FaultProxy(str(target.hostname), int(target.port or 0)) as proxy:
        client = boto_client("s3", proxy.endpoint, store.storage_options["key"], store.storage_options["secret"])
        place = {"Bucket": "test-bucket", "Key": f"fault-{server}"}
        client.put_object(Body=BODY, **place)  # botocore sends Expect: 100-continue with this one
        proxy.lose_reply(on="^PUT")
        with pytest.raises(Exception, match=r"Connection was closed|Connection reset|Connection aborted"):
            client.put_object(Body=b"replied to nobody", **place)
        assert store.raw.get(f"fault-{server}") == b"replied to nobody"
        proxy.answer_status(503, on="^PUT")
        with pytest.raises(client.exceptions.ClientError, match="503"):
            client.put_object(Body=b"never arrived", **place)
        assert client.get_object(**place)["Body"].read() == b"replied to nobody"
