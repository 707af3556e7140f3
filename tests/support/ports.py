"""Hold a port of this machine, so that no other program is given it."""

from __future__ import annotations

import os
import socket

__all__ = ["HOST", "bound"]

HOST = "127.0.0.1"


def bound(port: int = 0) -> socket.socket:
    """A socket that has a port of 127.0.0.1, any free one by default, and refuses connections until it listens."""
    sock = socket.socket()
    if os.name != "nt":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((HOST, port))
    return sock
