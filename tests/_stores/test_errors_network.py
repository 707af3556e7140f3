"""What lies below HTTP: certificates, TLS and plain ports, names of hosts, proxies, endpoints, and open files."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.replies import Replies, replying, write_certificate
from support.servers import AZURE_ACCOUNT, AZURE_KEY

from idfkit_fs import FsspecFileSystem
from idfkit_fs._util import retry
from idfkit_fs.errors import NotFoundError, StorageOptionsError, StoreError, UnreachableError

STORES = ["s3", "gs", "abfs", "http"]


def opened(store: str, endpoint: str, **more: Any) -> FsspecFileSystem:
    """A filesystem of a store at an endpoint."""
    if store == "s3":
        return FsspecFileSystem.from_url("s3://bucket/x", key="key", secret="a-secret", endpoint_url=endpoint, **more)
    if store == "gs":
        return FsspecFileSystem.from_url("gs://bucket/x", token="anon", project="p", endpoint_url=endpoint, **more)
    if store == "http":
        return FsspecFileSystem.from_url(f"{endpoint}/x", **more)
    connection = (
        f"DefaultEndpointsProtocol={endpoint.partition(':')[0]};AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};"
        f"BlobEndpoint={endpoint}/{AZURE_ACCOUNT};"
    )
    return FsspecFileSystem.from_url("abfs://bucket/x", connection_string=connection, **more)


def unreachable(call: Callable[[], Any], wrong: str, remedy: str, *, permanent: bool = True) -> UnreachableError:
    with pytest.raises(UnreachableError) as caught:
        call()
    exc = caught.value
    assert isinstance(exc, ConnectionError)
    assert str(exc.strerror).startswith(wrong)
    assert remedy in str(exc.strerror)
    assert exc.permanent is permanent
    assert AZURE_KEY not in repr(exc) and "a-secret" not in repr(exc)
    return exc


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits before another attempt, none of which takes any time."""
    from azure.storage.blob.aio import ExponentialRetry

    waits: list[float] = []

    def no_backoff(*_args: object) -> int:
        waits.append(0)
        return 0

    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(retry, "ENOUGH_SECONDS", 600.0)  # a slow machine makes all attempts too
    monkeypatch.setattr(ExponentialRetry, "get_backoff_time", no_backoff)
    monkeypatch.setattr(retry, "_report", lambda _exc, wait: waits.append(wait))
    return waits


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("ca") / "ca.pem")


@pytest.fixture(scope="module")
def secure(certificate: Path) -> Iterator[Replies]:
    """A server with a certificate of an unknown authority, which has no file."""
    with replying(certificate) as server:
        yield server


@pytest.fixture(scope="module")
def plain() -> Iterator[Replies]:
    with replying() as server:
        yield server


# --- certificates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
def test_a_certificate_that_is_not_trusted(store: str, secure: Replies, attempts: list[float]) -> None:
    remedy = "AWS_CA_BUNDLE" if store == "s3" else "SSL_CERT_FILE"
    fs = opened(store, secure.endpoint)
    for call in (lambda: fs.read_bytes("a.csv"), lambda: fs.write_bytes("a.csv", b"x"), lambda: fs.exists("a.csv")):
        if store == "http" and call.__code__.co_consts[-1] == b"x":
            continue
        unreachable(call, "The certificate of the store is not trusted", remedy)
    assert attempts == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"], ids=["expired", "other-host"])
def test_a_certificate_that_has_expired_or_is_of_another_host(tmp_path: Path, host: str) -> None:
    own = write_certificate(tmp_path / "own.pem", host=host, days=-1 if host == "127.0.0.1" else 1)
    with replying(own) as server:
        fs = opened("s3", server.endpoint, client_kwargs={"verify": str(own)})
        unreachable(
            lambda: fs.read_bytes("a.csv"),
            "The certificate of the store is not trusted",
            "expired or is of another host",
        )


def test_the_remedies_for_s3_work(secure: Replies, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError):  # an answer
        opened("s3", secure.endpoint, client_kwargs={"verify": str(certificate)}).read_bytes("a.csv")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    with pytest.raises(NotFoundError):
        opened("s3", secure.endpoint).read_bytes("a.csv")


PROGRAM = """
import os, sys
os.environ["SSL_CERT_FILE"] = sys.argv[2]
sys.path.insert(0, sys.argv[3])
import conftest
from _stores.test_errors_network import opened
for store in ("gs", "abfs", "http"):
    try:
        opened(store, sys.argv[1]).read_bytes("a.csv")
    except FileNotFoundError:
        print(store)
"""


def test_the_remedy_for_google_azure_and_http_works(secure: Replies, certificate: Path) -> None:
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", PROGRAM, secure.endpoint, str(certificate), tests]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split() == ["gs", "abfs", "http"], done.stderr


# --- TLS and plain ports ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
def test_https_of_a_plain_port(store: str, plain: Replies, attempts: list[float]) -> None:
    fs = opened(store, plain.endpoint.replace("http:", "https:"))
    unreachable(lambda: fs.read_bytes("a.csv"), "The endpoint does not speak TLS", "write http:// instead of https://")
    assert attempts == []


@pytest.mark.parametrize("store", STORES)
def test_http_of_a_port_with_tls(store: str, secure: Replies, attempts: list[float]) -> None:
    """Python's own server hangs up, which a network may do as well: it is tried again."""
    fs = opened(store, secure.endpoint.replace("https:", "http:"))
    exc = unreachable(
        lambda: fs.read_bytes("a.csv"), "The store closed the connection", "http:// or https://", permanent=False
    )
    assert len(attempts) == retry.ATTEMPTS - 1, exc


# botocore and fsspec's HTTP keep nothing but the status.
@pytest.mark.parametrize("store", ["gs", "abfs"])
@pytest.mark.parametrize(
    "said",
    [
        "Client sent an HTTP request to an HTTPS server.\n",  # Go (MinIO, SeaweedFS, rclone)
        "<html><center>The plain HTTP request was sent to HTTPS port</center></html>",  # nginx
        "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",  # Apache
    ],
    ids=["go", "nginx", "apache"],
)
def test_http_of_a_port_with_tls_whose_server_says_so(store: str, said: str, attempts: list[float]) -> None:
    with replying() as server:
        server.status, server.body, server.headers = 400, said.encode(), {"Content-Type": "text/plain"}
        fs = opened(store, server.endpoint)
        unreachable(lambda: fs.read_bytes("a.csv"), "The endpoint speaks TLS", "write https://")
    assert attempts == []


def test_a_bad_request_without_a_reason_may_be_of_the_wrong_scheme() -> None:
    with replying() as server:
        server.status, server.body = 400, b"Client sent an HTTP request to an HTTPS server.\n"
        with pytest.raises(StoreError, match="called the request bad and did not say why.*http:// or https://"):
            opened("s3", server.endpoint).read_bytes("a.csv")
        assert server.requests == ["GET"]


# --- names of hosts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
def test_a_host_that_does_not_exist(store: str, attempts: list[float]) -> None:
    fs = opened(store, "http://does-not-exist.invalid")
    with pytest.raises(UnreachableError) as caught:
        fs.read_bytes("a.csv")
    # A machine without a name server cannot know that the name does not exist.
    known = "The host name does not exist" in str(caught.value)
    assert known or str(caught.value.strerror).startswith("The host name cannot be looked up at this moment")
    if store == "s3":
        assert "does-not-exist.invalid" in str(caught.value)
    assert caught.value.permanent is known
    assert len(attempts) == (0 if known else retry.ATTEMPTS - 1)


@pytest.mark.parametrize(
    ("number", "text", "wrong", "permanent"),
    [
        (socket.EAI_NONAME, "Name or service not known", "The host name does not exist", True),
        (socket.EAI_AGAIN, "Temporary failure in name resolution", "The host name cannot be looked up", False),
    ],
    ids=["unknown", "no-name-server"],
)
@pytest.mark.parametrize("store", STORES)
def test_what_the_name_server_says(
    store: str, number: int, text: str, wrong: str, permanent: bool, attempts: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def asked(*_args: object, **_named: object) -> Any:
        raise socket.gaierror(number, text)

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    fs = opened(store, "http://store.example.test")
    unreachable(lambda: fs.read_bytes("a.csv"), wrong, "check the", permanent=permanent)
    assert len(attempts) == (0 if permanent else retry.ATTEMPTS - 1)


@pytest.mark.parametrize("protocol", ["sftp", "ftp"])
def test_a_server_of_files_whose_name_does_not_exist(protocol: str) -> None:
    with pytest.raises(UnreachableError, match="The host name"):
        FsspecFileSystem.from_url(f"{protocol}://does-not-exist.invalid/x").read_bytes("a.csv")


# --- proxies ---------------------------------------------------------------------------------------------------------


def test_a_proxy_that_nobody_runs(attempts: list[float]) -> None:
    with socket.socket() as bound:  # but not listening
        bound.bind(("127.0.0.1", 0))
        proxy = f"http://me:proxy-password@127.0.0.1:{bound.getsockname()[1]}"
        fs = opened("s3", "http://store.example.test", config_kwargs={"proxies": {"http": proxy}})
        exc = unreachable(lambda: fs.read_bytes("a.csv"), "The proxy refused", "NO_PROXY", permanent=False)
    assert "proxy-password" not in repr(exc) + repr(exc.__cause__)


def test_a_proxy_that_asks_for_a_login(attempts: list[float]) -> None:
    with replying() as server:
        server.status, server.headers = 407, {"Proxy-Authenticate": "Basic"}
        fs = opened("s3", "https://store.example.test", config_kwargs={"proxies": {"https": server.endpoint}})
        unreachable(lambda: fs.read_bytes("a.csv"), "The proxy asks for a login", "HTTPS_PROXY")
        assert server.requests == ["CONNECT"]


# --- endpoints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["s3", "gs"])
@pytest.mark.parametrize(
    ("endpoint", "instead"),
    [
        ("localhost:9000", "'http://localhost:9000'"),
        ("127.0.0.1:9000", "'http://127.0.0.1:9000'"),
        ("minio.example.org", "'https://minio.example.org'"),
        ("ftp://host", "'https://host:9000'"),
        ("http://", "'https://host:9000'"),
    ],
)
def test_an_endpoint_that_is_no_url(store: str, endpoint: str, instead: str) -> None:
    with pytest.raises(StorageOptionsError) as caught:
        opened(store, endpoint)
    assert str(caught.value).startswith(f"{store}:// has an invalid endpoint_url, {endpoint!r}")
    assert instead in str(caught.value)


def test_an_endpoint_without_scheme_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(StorageOptionsError, match="write 'http://localhost:9000'"):
        FsspecFileSystem.from_url("s3://bucket/x", key="k", secret="a-secret")


# --- open files ------------------------------------------------------------------------------------------------------


CROWDED = """
import os, resource, sys
sys.path.insert(0, sys.argv[2])
import conftest
from _stores.test_errors_network import opened
opened(sys.argv[3], sys.argv[1]).exists("a.csv")  # everything that is to be imported
fs = opened(sys.argv[3], sys.argv[1].replace("127.0.0.1", "localhost"))
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
try:
    fs.read_bytes("a.csv")
except Exception as exc:
    for number in held:
        os.close(number)
    print(type(exc).__name__, exc.errno, exc.strerror)
"""


@pytest.mark.parametrize("store", ["s3", "http"])
def test_too_many_open_files(store: str, plain: Replies) -> None:
    """In a process of its own, with a limit of its own."""
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", CROWDED, plain.endpoint, tests, store]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    said = f"MachineError {errno.EMFILE} Too many open files in this process; raise the limit (ulimit -n)"
    assert done.stdout.startswith(said), done.stderr
