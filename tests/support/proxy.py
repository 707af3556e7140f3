"""A loopback TCP proxy that makes faults, so that tests can meet a bad network in front of a real server.

It moves bytes and understands just enough HTTP/1.1 to see where a request begins, so `Expect: 100-continue`, chunked
bodies and anything else pass untouched.

What it models: `delay` is the one-way latency of the wire in each direction (0.015 makes a 30 ms round trip). Chunks
get the time they are due when they arrive, and many are under way together, so a delay costs no throughput. A new
connection pays one round trip before its first byte leaves, as a TCP handshake does (the loopback's own handshake is
instant, so the first bytes pay that debt). `rate` is the bandwidth of one shared link per direction, whatever number of
connections share it. Loss, reordering, slow start and TLS are not modelled.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Self

from support.ports import bound

_CHUNK = 64 * 1024
_REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01]\r\n")
# `100 Continue` and its like: invitations to send the body, not yet the reply. moto sends two of them at once.
_INTERIM = re.compile(rb"(?:HTTP/1\.[01] 1\d\d [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n)+")
_HEAD_END = b"\r\n\r\n"
# What tells a client how long the body is, and that the connection stays open after it.
_LENGTH = re.compile(rb"(?i)\r\n(?:content-length|connection|keep-alive):[^\r\n]*")
_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)  # on, for no time
_Last = Callable[[], Awaitable[None]]


class Ending(IntEnum):
    """How a response ends that is broken in its body."""

    RESET = 0  # RST
    SHORT = 1  # FIN before as many bytes as the head promised
    UNSIZED = 2  # the same, but the head promised no length: the end of the connection is the end of the body


@dataclass
class _Fault:
    """One armed fault: which requests it meets, and how many are left (None: all of them)."""

    left: int | None
    pattern: str
    value: int = 0


class _Link:
    """One direction of the wire: hands out the time at which bytes arrive at the other end."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._free_at = 0.0

    def due(self, size: int, not_before: float) -> float:
        """Return the loop time at which `size` bytes, sent now, have arrived."""
        sent = max(asyncio.get_running_loop().time(), not_before)
        if rate := self._proxy.rate:
            sent = self._free_at = max(sent, self._free_at) + size / rate
        return sent + self._proxy.delay


class FaultProxy:
    r"""A proxy on a free port of 127.0.0.1 in front of one server; use it as a context manager.

    Every fault method may be called from any thread and replaces an earlier fault of its kind. `count` says how many
    connections or requests it meets (None: all until `heal()`), and `on` is a regular expression searched in the
    request line, such as `r"^PUT .*run\.json"`. A request that does not match uses up no count.

    Attributes:
        delay: One-way latency in seconds, in each direction.
        rate: Bytes per second of each direction, shared by all connections; None has no limit.
        connections: Connections accepted, those that were then refused included.
        request_lines: The first line of each HTTP request seen, such as `GET /bucket/key HTTP/1.1`.
        bytes_up: Bytes that clients sent.
        bytes_down: Bytes that the server sent.
        window: Chunks of 64 KiB under way in each direction of a connection.
    """

    window = 1024  # bounds memory, far above any bandwidth-delay product used in tests

    def __init__(self, target_host: str, target_port: int) -> None:
        self.delay = 0.0
        self.rate: float | None = None
        self.connections = self.bytes_up = self.bytes_down = 0
        self.request_lines: list[str] = []
        self.port = 0
        self._refusal = ""
        self._target = (target_host, target_port)
        self._lock = threading.Lock()
        self._faults: dict[str, _Fault] = {}
        self._open: set[_Connection] = set()
        self._up, self._down = _Link(self), _Link(self)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._closed: socket.socket | None = None  # has the port while no server listens

    @property
    def endpoint(self) -> str:
        """The URL that stands for the target's own endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> int:
        """How many HTTP requests were seen."""
        return len(self.request_lines)

    def __enter__(self) -> Self:
        """Start listening."""
        self._thread.start()
        self._call(self._listen)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Stop listening, drop what is open and end the thread."""
        self._call(self._stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def reset_counters(self) -> None:
        """Set all counters to zero."""
        with self._lock:
            self.connections = self.bytes_up = self.bytes_down = 0
            self.request_lines = []

    def heal(self) -> None:
        """Take away every fault, the delay and the rate; listen again after `refuse()`. Counters stay."""
        with self._lock:
            self._faults.clear()
            self.delay, self.rate = 0.0, None
        self._call(self._listen)

    def drop(self) -> None:
        """Reset every connection that is open now, idle ones in a client's pool too."""
        self._call(self._drop)

    def refuse(self, count: int | None = None) -> None:
        """Be a dead endpoint: no server listens (a real ECONNREFUSED) and open connections are reset.

        With `count`, the next `count` new connections are reset as they arrive, and open ones are left alone: how many
        clients met a closed port cannot be counted.
        """
        if count is None:
            self._call(self._close_listener)
        else:
            self._arm("refuse", _Fault(count, ""))

    def reset(self, count: int | None = None, on: str = "") -> None:
        """Reset (RST) the connection as a request arrives; the server sees nothing of it."""
        self._arm("reset", _Fault(count, on))

    def cut_request_after(self, size: int, count: int | None = None, on: str = "") -> None:
        """Pass `size` bytes of a request, its head included, then close both sides. A shorter request passes whole."""
        self._arm("cut_request", _Fault(count, on, size))

    def cut_response_after(self, size: int, count: int | None = None, on: str = "") -> None:
        """Pass `size` bytes of a response, its head included (`100 Continue` is not counted), then close both sides."""
        self._arm("cut_response", _Fault(count, on, size))

    def break_request(self, count: int | None = 1, on: str = "") -> None:
        """Pass about half of a request's body, then reset both sides. A request without a body is not met."""
        self._arm("break_request", _Fault(count, on))

    def break_response(self, count: int | None = 1, on: str = "", how: Ending = Ending.RESET) -> None:
        """Pass about half of a response's body, then end as `how` says. A response without a body passes whole."""
        self._arm("break_response", _Fault(count, on, how))

    def stall(self, seconds: int, count: int | None = 1, on: str = "") -> None:
        """Let a request be carried out, and hold the reply for some seconds."""
        self._arm("stall", _Fault(count, on, seconds))

    def answer_status(self, status: int = 503, count: int | None = 1, on: str = "") -> None:
        """Answer requests with `status` and what `words` says, then close; the server sees nothing of them."""
        self._arm("answer", _Fault(count, on, status))

    def words(self, status: int) -> str:
        """The body of an answer with `status`, for a subclass that speaks as a store does."""
        del status
        return ""

    def refuse_conditions(self, status: int = 501, code: str = "NotImplemented", count: int | None = None) -> None:
        """Answer requests that have a condition (If-Match, If-None-Match) as an S3 store without support for it."""
        self._refusal = code
        self._arm("condition", _Fault(count, r"(?i)\r\nif-(none-)?match:", status))

    def lose_reply(self, count: int | None = 1, on: str = "") -> None:
        """Let a request reach the server and be carried out, then reset the client instead of passing the reply."""
        self._arm("lose", _Fault(count, on))

    def _arm(self, kind: str, fault: _Fault) -> None:
        with self._lock:
            self._faults[kind] = fault

    def _take(self, kind: str, line: str = "") -> int | None:
        """Use up one of a fault's count where it applies, and return its value; None when it does not."""
        with self._lock:
            fault = self._faults.get(kind)
            if fault is None or fault.left == 0 or not re.search(fault.pattern, line):
                return None
            if fault.left is not None:
                fault.left -= 1
            return fault.value

    def _count(self, *, connections: int = 0, up: int = 0, down: int = 0, line: str | None = None) -> None:
        with self._lock:
            self.connections += connections
            self.bytes_up += up
            self.bytes_down += down
            if line is not None:
                self.request_lines.append(line)

    def _call(self, step: _Last) -> None:
        """Run one step in the proxy's own loop and wait for it."""

        async def run() -> None:
            await step()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(60)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, sock=self._closed or bound(self.port))
            self._closed = None
            self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count(connections=1)
        connection = _Connection(self, reader, writer)
        if self._take("refuse") is not None:
            return await connection.reset()
        self._open.add(connection)
        try:
            await connection.run(*self._target)
        except asyncio.CancelledError:
            return None  # asyncio would log a traceback for a connection that is open when the proxy stops
        finally:
            self._open.discard(connection)

    async def _drop(self) -> None:
        for connection in list(self._open):
            await connection.reset()

    async def _close_listener(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            self._closed = bound(self.port)  # or another program might be given the port
        await self._drop()

    async def _stop(self) -> None:
        await self._close_listener()
        if self._closed is not None:
            self._closed.close()
        tasks = asyncio.all_tasks() - {task for task in (asyncio.current_task(),) if task}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Connection:
    """One client's connection and its counterpart to the server, with the faults that the current request drew."""

    def __init__(self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = (reader, writer)
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._established = asyncio.get_running_loop().time() + 2 * proxy.delay
        self._request_left: int | None = None
        self._response_left: int | None = None
        self._lose = False
        self._cut_off: _Last = self.close
        self._broken: int | None = None  # an Ending
        self._inside = False  # a body, whose head has passed
        self._answering = False  # in the server's place, whose end is then not that of the client's connection
        self._late = 0.0  # seconds for which the next reply is held

    async def run(self, host: str, port: int) -> None:
        """Pump bytes both ways until both ends are done."""
        try:
            self._server = await asyncio.open_connection(host, port)
        except OSError:  # the server itself is away: all that a proxy can do is to end the connection
            return await self.reset()
        up = self._pump(self._client[0], self._server[1], self._request, self._proxy._up)
        down = self._pump(self._server[0], self._client[1], self._reply, self._proxy._down)
        await asyncio.gather(up, down)
        await self.close()

    async def close(self) -> None:
        """Close both sides in order (FIN)."""
        for _, writer in filter(None, (self._client, self._server)):
            writer.close()

    async def reset(self) -> None:
        """Abort both sides, with a RST rather than a FIN: SO_LINGER of zero seconds asks the kernel for one."""
        for _, writer in filter(None, (self._client, self._server)):
            if (sock := writer.get_extra_info("socket")) is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            writer.transport.abort()

    async def _answer(self, status: int, body: str = "") -> None:
        """Answer in the server's place, then read the rest of the request away: closing on unread bytes is a RST."""
        reader, writer = self._client
        self._answering = True
        if self._server is not None:
            self._server[1].transport.abort()
        await asyncio.sleep(2 * self._proxy.delay)
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Length: {len(body)}\r\n"
        head += ("Content-Type: application/xml\r\n" if body else "") + "Connection: close\r\n\r\n"
        try:
            writer.write((head + body).encode())
            writer.write_eof()
        except RuntimeError:  # the server had ended the connection before, and so this side was ended
            return await self.reset()
        while chunk := await reader.read(_CHUNK):
            self._proxy._count(up=len(chunk))
        return await self.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        inspect: Callable[[bytes], tuple[bytes, _Last | None]],
        link: _Link,
    ) -> None:
        """Move one direction's bytes, each chunk due at its own time, until the end of stream or a fault."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(self._proxy.window)
        sender = asyncio.create_task(_deliver(queue, writer))
        ending: _Last | None = None
        try:
            while ending is None and (chunk := await reader.read(_CHUNK)):
                chunk, ending = inspect(chunk)
                if chunk:
                    late = 0.0
                    if link is self._proxy._down:
                        late, self._late = self._late, 0.0
                    await queue.put((link.due(len(chunk), self._established) + late, chunk))
            await queue.put((link.due(0, self._established), b""))
            await sender
            if ending is not None:
                await ending()
            elif writer.can_write_eof() and not self._answering:
                writer.write_eof()
        except OSError:  # reset by a peer, or by a fault of the other direction
            await self.reset()
        finally:
            sender.cancel()

    def _request(self, chunk: bytes) -> tuple[bytes, _Last | None]:
        """Look at what a client sent: count it, draw faults where a request begins, cut it."""
        if match := _REQUEST_LINE.match(chunk):
            line = match.group().decode("latin-1").strip()
            self._proxy._count(line=line)
            if (status := self._proxy._take("answer", line)) is not None:
                self._proxy._count(up=len(chunk))
                return b"", partial(self._answer, status, self._proxy.words(status))
            if (status := self._proxy._take("condition", chunk.decode("latin-1"))) is not None:
                self._proxy._count(up=len(chunk))
                code = f"<Error><Code>{self._proxy._refusal}</Code><Message>See the code.</Message></Error>"
                return b"", partial(self._answer, status, code)
            if self._proxy._take("reset", line) is not None:
                return b"", self.reset
            self._request_left = self._proxy._take("cut_request", line)
            self._response_left = self._proxy._take("cut_response", line)
            self._lose = self._proxy._take("lose", line) is not None
            self._broken = self._proxy._take("break_response", line)
            self._inside = False
            self._late = self._proxy._take("stall", line) or 0.0
            self._cut_off = self.close
            if (middle := _middle_of_body(chunk)) and self._proxy._take("break_request", line) is not None:
                self._request_left, self._cut_off = middle, self.reset
        self._proxy._count(up=len(chunk))
        self._request_left, chunk, cut = _spend(self._request_left, chunk)
        return chunk, self._cut_off if cut else None

    def _reply(self, chunk: bytes) -> tuple[bytes, _Last | None]:
        """Look at what the server sent: count it, cut it or lose it."""
        self._proxy._count(down=len(chunk))
        interim = match.group() if (match := _INTERIM.match(chunk)) else b""
        reply = chunk[len(interim) :]
        if self._lose and reply:
            return interim, self.reset
        if self._broken is not None and reply:
            return self._break(interim, reply, Ending(self._broken))
        self._response_left, reply, cut = _spend(self._response_left, reply)
        return interim + reply, self.close if cut else None

    def _break(self, interim: bytes, reply: bytes, how: Ending) -> tuple[bytes, _Last | None]:
        """Pass a head, and half of what comes of the body with it or next."""
        head, body = b"", reply
        if not self._inside:
            head, end, body = reply.partition(_HEAD_END)
            self._inside = True
            if how is Ending.UNSIZED and _LENGTH.search(head):
                head = _LENGTH.sub(b"", head) + b"\r\nConnection: close"
            head += end
        if not body:
            return interim + head, None
        return interim + head + body[: len(body) // 2], self.reset if how is Ending.RESET else self.close


def _middle_of_body(chunk: bytes) -> int | None:
    """How many bytes of a request there are until the middle of its body; None if it has none of a known length."""
    head, end, _ = chunk.partition(_HEAD_END)
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if not end or length is None or int(length[1]) < 2:
        return None
    return len(head + end) + int(length[1]) // 2


def _spend(left: int | None, chunk: bytes) -> tuple[int | None, bytes, bool]:
    """Take a chunk from a budget of bytes: what is left then, what may pass, and whether that is the cut."""
    if left is None:
        return None, chunk, False
    return left - len(chunk), chunk[: max(left, 0)], len(chunk) > left


async def _deliver(queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    """Write each chunk when it is due; an empty one ends the task."""
    loop = asyncio.get_running_loop()
    while True:
        due, chunk = await queue.get()
        if (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        if not chunk:
            return
        if not writer.is_closing():  # else read on to nowhere, so that the reading side never waits for room
            writer.write(chunk)
            try:
                await writer.drain()
            except OSError:
                writer.transport.abort()
