"""A loopback proxy that enforces access rights as a store does: what a request needs is read off the request itself.

moto and fake-gcs-server answer anybody, or know fewer rules than the real stores: none of them says 403 for a missing
file to a login that may not list, which is what S3 and Google do. The rules are those of the stores' documentation:

- Amazon S3, "Required permissions for Amazon S3 API operations";
- Google Cloud Storage, "IAM permissions for JSON methods";
- Azure, "Create a service SAS: specify permissions".
"""

from __future__ import annotations

import fnmatch
import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from support.servers import Store

__all__ = ["Gate", "Need", "gate_before", "policy"]


class Need(NamedTuple):
    """A right that a request needs.

    Attributes:
        right: ``list``, ``get``, ``put``, ``delete``, ``abort`` (a multipart upload), ``tag`` or ``acl``; ``bucket``
            for what is about the bucket itself.
        key: The key below the bucket, or the prefix of a listing.
    """

    right: str
    key: str


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def parts(self) -> list[str]:
        """The parts of the path, as they are quoted."""
        return self.path.strip("/").split("/")


# What a request needs, and the key that a reply of 404 is about.
_Rules = Callable[[_Request, Callable[[str], bool]], list[Need]]


def _of_s3(request: _Request, _exists: Callable[[str], bool]) -> list[Need]:
    key = unquote("/".join(request.parts[1:]))
    if not key:
        if request.method == "POST" and "delete" in request.query:
            return [Need("delete", key) for key in re.findall("<Key>([^<]*)</Key>", request.body.decode())]
        is_listing = request.method == "GET" and "list-type" in request.query
        return [Need("list", request.query.get("prefix", ""))] if is_listing else [Need("bucket", "")]
    if request.method in ("GET", "HEAD"):
        return [Need("get", key)]
    if request.method == "DELETE":
        return [Need("abort" if "uploadId" in request.query else "delete", key)]
    needs = [Need("put", key)]
    source = request.headers.get("x-amz-copy-source")
    needs += [Need("get", unquote(source).strip("/").partition("/")[2])] if source else []
    needs += [Need("tag", key)] if "x-amz-tagging" in request.headers else []
    return needs + ([Need("acl", key)] if "x-amz-acl" in request.headers else [])


def _of_gcs(request: _Request, exists: Callable[[str], bool]) -> list[Need]:
    parts = [unquote(part) for part in request.parts]
    after = parts[parts.index("b") + 2 :]  # after the bucket

    def written(key: str) -> list[Need]:
        replaces = request.query.get("ifGenerationMatch") != "0" and exists(key)
        return [Need("put", key), *([Need("delete", key)] if replaces else [])]

    if "upload" in parts:
        if "upload_id" in request.query:  # goes on with an upload that was allowed to begin
            return []
        named = request.query.get("name") or json.loads(re.findall(rb'\{"name".*?\}', request.body)[0])["name"]
        return written(named)
    if not after:
        return [Need("bucket", "")]
    if len(after) == 1:
        return [Need("list", request.query.get("prefix", ""))]
    if "rewriteTo" in after:
        return [Need("get", after[1]), *written(after[-1])]
    return [Need("delete" if request.method == "DELETE" else "get", after[1])]


def _of_azure(request: _Request, _exists: Callable[[str], bool]) -> list[Need]:
    key = unquote("/".join(request.parts[2:]))  # after account and container
    if request.query.get("comp") == "list":
        return [Need("list", request.query.get("prefix", ""))]
    if not key:
        return [Need("bucket", "")]
    if request.method in ("GET", "HEAD"):
        return [Need("get", key)]
    if request.method == "DELETE":
        return [Need("delete", key)]
    source = urlsplit(request.headers.get("x-ms-copy-source", "")).path
    return [Need("put", key), *([Need("get", unquote("/".join(source.strip("/").split("/")[2:])))] if source else [])]


def _s3_refusal(_need: Need) -> tuple[str, bytes]:
    return "application/xml", b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def _gcs_refusal(need: Need) -> tuple[str, bytes]:
    verb = {"put": "create", "bucket": "get"}.get(need.right, need.right)
    kind = "buckets" if need.right == "bucket" else "objects"
    text = f"tester does not have storage.{kind}.{verb} access to the Google Cloud Storage {kind[:-1]}."
    error = {"code": 403, "message": text, "errors": [{"message": text, "domain": "global", "reason": "forbidden"}]}
    return "application/json", json.dumps({"error": error}).encode()


def _azure_refusal(_need: Need) -> tuple[str, bytes]:
    code = "AuthorizationPermissionMismatch"
    text = "This request is not authorized to perform this operation using this permission."
    return "application/xml", f"<Error><Code>{code}</Code><Message>{text}</Message></Error>".encode()


class _Dialect(NamedTuple):
    rules: _Rules
    refusal: Callable[[Need], tuple[str, bytes]]
    hides_missing: bool  # whether 403 is the reply for a missing file to a login that may not list


_DIALECTS = {
    "s3": _Dialect(_of_s3, _s3_refusal, True),
    "gs": _Dialect(_of_gcs, _gcs_refusal, True),
    "abfs": _Dialect(_of_azure, _azure_refusal, False),
}


class Gate:
    """A proxy that lets pass what a login may do.

    Attributes:
        allows: Whether the login has a right; the default has all.
        used: The rights that requests needed since the last `reset`.
        refused: Those of them that the login does not have.
        seen: Method, path and headers of each request.
    """

    def __init__(self, store: Store) -> None:
        self.allows: Callable[[Need], bool] = lambda _need: True
        self.used: set[Need] = set()
        self.refused: list[Need] = []
        self.seen: list[tuple[str, str, Mapping[str, str]]] = []
        self._target = urlsplit(store.endpoint).netloc
        self._raw = store.raw
        self._dialect = _DIALECTS[store.url.partition("://")[0]]
        self._local = threading.local()
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                gate._answer(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

            def log_message(self, *_args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.store = store.through(f"http://127.0.0.1:{self._server.server_port}")

    def reset(self, allows: Callable[[Need], bool] | None = None) -> None:
        """Forget what was seen, and take another login."""
        self.allows = allows or (lambda _need: True)
        self.used, self.refused, self.seen = set(), [], []

    @contextmanager
    def running(self) -> Iterator[Gate]:
        """Serve in a thread."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="gate", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def _exists(self, key: str) -> bool:
        return key in self._raw.keys(key)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in handler.headers.items()}
        body = handler.rfile.read(int(headers.get("content-length", 0)))
        request = _Request(handler.command, url.path, query, headers, body)
        self.seen.append((handler.command, handler.path, headers))
        needs = self._dialect.rules(request, self._exists)
        self.used.update(needs)
        for need in needs:
            if not self.allows(need):
                self._refuse(handler, need)
                return
        status, reply_headers, reply = self._forward(handler.command, handler.path, headers, body)
        if status == 404 and self._dialect.hides_missing and needs and needs[-1].right == "get":
            listing = Need("list", needs[-1].key)
            self.used.add(listing)
            if not self.allows(listing):
                self._refuse(handler, listing)
                return
        handler.send_response(status)
        for name, value in reply_headers:
            if name.lower() not in ("connection", "transfer-encoding", "server", "date", "keep-alive"):
                handler.send_header(name, self._mine(value) if name.lower() == "location" else value)
        if "content-length" not in {name.lower() for name, _ in reply_headers} and status not in (204, 304):
            handler.send_header("Content-Length", str(len(reply)))
        handler.end_headers()
        handler.wfile.write(reply)

    def _mine(self, url: str) -> str:
        """The URL of a resumable upload leads through the proxy too."""
        return url.replace(f"//{self._target}/", f"//127.0.0.1:{self._server.server_port}/")

    def _refuse(self, handler: BaseHTTPRequestHandler, need: Need) -> None:
        self.refused.append(need)
        kind, text = self._dialect.refusal(need)
        handler.send_response(403)
        handler.send_header("Content-Type", kind)
        if handler.command == "HEAD":
            text = b""
            handler.send_header("x-ms-error-code", "AuthorizationPermissionMismatch")
        else:
            handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def _forward(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Sequence[tuple[str, str]], bytes]:
        for attempt in (1, 2):
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = http.client.HTTPConnection(self._target, timeout=60)
            try:
                connection.request(method, path, body or None, dict(headers))
                reply = connection.getresponse()
                return reply.status, reply.getheaders(), reply.read()
            except (http.client.HTTPException, OSError):  # the server has closed an idle connection
                connection.close()
                self._local.connection = None
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")


@contextmanager
def gate_before(store: Store) -> Iterator[Gate]:
    """A gate in front of a store; ``gate.store`` leads through it."""
    with Gate(store).running() as gate:
        yield gate


_ACTIONS = {
    "list": "s3:ListBucket",
    "get": "s3:GetObject",
    "put": "s3:PutObject",
    "delete": "s3:DeleteObject",
    "abort": "s3:AbortMultipartUpload",
    "tag": "s3:PutObjectTagging",
    "acl": "s3:PutObjectAcl",
    "bucket": "s3:ListBucket",
}


def policy(document: Mapping[str, Any], bucket: str) -> Callable[[Need], bool]:
    """What an IAM policy allows: its actions, resources, and conditions on the prefix of a listing."""

    def allows(need: Need) -> bool:
        about_bucket = need.right in ("list", "bucket")
        arn = f"arn:aws:s3:::{bucket}" if about_bucket else f"arn:aws:s3:::{bucket}/{need.key}"
        return any(_grants(each, _ACTIONS[need.right], arn, need.key) for each in document["Statement"])

    return allows


def _grants(statement: Mapping[str, Any], action: str, arn: str, prefix: str) -> bool:
    prefixes = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix", ["*"])
    return (
        statement["Effect"] == "Allow"
        and action in _listed(statement["Action"])
        and any(fnmatch.fnmatchcase(arn, pattern) for pattern in _listed(statement["Resource"]))
        and any(fnmatch.fnmatchcase(prefix, pattern) for pattern in _listed(prefixes))
    )


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
