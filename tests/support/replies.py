"""A server that says to every request what a test gave it: replies of stores that no test server gives by itself."""

from __future__ import annotations

import datetime as dt
import http.server
import ipaddress
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"


@dataclass
class Replies:
    """The server.

    Attributes:
        endpoint: Its URL.
        requests: The method of each request that it got.
        status: The status of each reply.
        headers: Further headers of each reply.
        body: Their body; a reply to HEAD has none.
    """

    endpoint: str = ""
    requests: list[str] = field(default_factory=list)
    status: int = 404
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@contextmanager
def replying(certificate: Path | None = None) -> Iterator[Replies]:
    """Run the server, with TLS if a certificate is given."""
    replies = Replies()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            replies.requests.append(self.command)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(replies.status)
            for name, value in replies.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(replies.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(replies.body)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_CONNECT = do_GET

        def log_message(self, *_args: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_args: object) -> None:
            pass  # a client that does not trust the certificate hangs up

    server = Server((HOST, 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # The handshake is left to the thread of each connection.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    replies.endpoint = f"{'https' if certificate else 'http'}://{HOST}:{server.server_address[1]}"
    try:
        yield replies
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_certificate(path: Path, *, host: str = HOST, days: int = 1) -> Path:
    """Write a self-signed certificate of a host with its key; it ends in so many days, or has ended if negative."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=10))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path
