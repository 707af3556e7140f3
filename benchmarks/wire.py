"""A store behind a slow wire, in a process of its own: neither may take the client's time or count as its memory."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from rows import Timed
from support import servers
from support.proxy import FaultProxy

SPAWN = multiprocessing.get_context("spawn")
LIMIT_ROUNDS = 3


@dataclass(frozen=True)
class Place:
    """Where a bucket is, fit to be handed to another process.

    Attributes:
        url: Its fsspec URL.
        options: What fsspec needs to reach it.
    """

    url: str
    options: dict[str, Any]

    def idfkit(self, prefix: str) -> Any:
        """Idfkit's own S3 filesystem on the same bucket, its options left as a user of idfkit has them."""
        from idfkit.simulation import S3FileSystem

        return S3FileSystem(
            urlsplit(self.url).netloc,
            prefix,
            endpoint_url=self.options["endpoint_url"],
            aws_access_key_id=self.options["key"],
            aws_secret_access_key=self.options["secret"],
            region_name="us-east-1",
        )


class Traffic(NamedTuple):
    """What went over a wire.

    Attributes:
        kinds: How many requests of each kind: LIST, GET, HEAD, PUT, POST, or DELETE, which may be of many objects.
        down: How many bytes came down.
    """

    kinds: Counter[str]
    down: int

    @property
    def requests(self) -> int:
        """How many requests there were."""
        return self.kinds.total()

    def __str__(self) -> str:
        return " + ".join(f"{count:,} {kind}" for kind, count in self.kinds.most_common()) or "no requests"


class Wire:
    """A running store and the proxy in front of it.

    Attributes:
        place: The bucket as it is reached through the proxy.
        direct: The bucket as it is reached without.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.place, self.direct = pipe.recv()

    def traffic(self) -> Traffic:
        """What went through the proxy since the last call."""
        self._pipe.send(None)
        passed: Traffic = self._pipe.recv()
        return passed

    def set_delay(self, delay: float) -> None:
        """Change the one-way latency of the proxy, in seconds."""
        self._pipe.send(delay)
        self._pipe.recv()


@contextmanager
def wire(server: str, delay: float = 0.0, rate: float | None = None) -> Iterator[Wire]:
    """Run a store behind a proxy.

    Args:
        server: `"SeaweedFS"` or `"moto"`.
        delay: One-way latency of the proxy in seconds.
        rate: Bytes a second each way; None for what the machine gives.

    Yields:
        The wire.
    """
    _isolate()
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(server, delay, rate, there))
    process.start()
    there.close()
    try:
        yield Wire(here)
    finally:
        here.close()  # the other end reads an end of file, and leaves
        process.join(20)


@dataclass
class Side(Timed):
    """A contestant over a wire, what its rounds took, and what the last one asked of the wire.

    Attributes:
        go: Does it, for the round of this number. What it gives is closed when the clock has stopped.
        around: What each round happens in; the clock does not run before and after.
        scale: How many times a round's work is to be done for all of it.
        requests: Of the last round; None if they were not counted.
        down: Bytes that came down in the last round; None if they were not counted.
    """

    go: Callable[[int], Any]
    around: Callable[[], AbstractContextManager[None]] = nullcontext
    scale: int = 1
    requests: int | None = None
    down: int = 0

    def turn(self, link: Wire, number: int) -> None:
        """Go once."""
        with self.around():
            link.traffic()
            start = time.perf_counter()
            done = self.go(number)
            self.seconds.append(self.scale * (time.perf_counter() - start))
            passed = link.traffic()
            self.requests, self.down = self.scale * passed.requests, self.scale * passed.down
            getattr(done, "close", lambda: None)()

    def __str__(self) -> str:
        median, best = (f"{seconds:.3f}" if seconds < 10 else f"{seconds:.1f}" for seconds in (self.median, self.best))
        down = f"{self.down / 1e6:,.1f} MB" if self.down >= 1e5 else f"{self.down / 1e3:.1f} kB"
        asked = f", {self.requests:,} req., {down}" if self.requests else ", no requests"
        return f"{median} s, best {best}{'' if self.requests is None else asked}"


def in_turns(link: Wire, rounds: int, *sides: Side) -> None:
    """Let the sides go round by round. The first round opens connections, and does not count."""
    for number in range(rounds + 1):
        for side in sides:
            side.turn(link, number)
            if not number:
                side.seconds.clear()


def limit(link: Wire, side: Side, delay: float, number: int) -> str:
    """What a side took, and what that is made of: round trips one after the other, and the rest.

    The rest is what the best of three more rounds takes over a wire without delay.

    Args:
        link: The wire.
        side: A side that has had its turns.
        delay: The one-way latency of the wire in seconds.
        number: The number of the first round that the side has not had.
    """
    took, text, count = side.best, str(side), len(side.seconds)
    link.set_delay(0.0)
    for more in range(LIMIT_ROUNDS):
        side.turn(link, number + more)
    link.set_delay(delay)
    rest = min(side.seconds[count:])
    del side.seconds[count:]
    return f"{text} = {max(took - rest, 0) / (2 * delay):.1f} round trips x {2e3 * delay:.0f} ms + {1e3 * rest:.0f} ms"


@contextmanager
def cache_in(directory: Path, *, keep: bool = False) -> Iterator[None]:
    """Keep copies in a directory of their own, which goes when it is left unless it is to be kept."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(directory)
    try:
        yield
    finally:
        del os.environ["XDG_CACHE_HOME"]
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)  # it is made with the first copy


def _isolate() -> None:
    """Let no developer's account, region or proxy take part."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "FSSPEC_")):
            del os.environ[name]
    os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "AWS_EC2_METADATA_DISABLED": "true"}
    os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def _serve(server: str, delay: float, rate: float | None, pipe: Connection) -> None:
    # Python 3.11 logs each connection that is open when the proxy ends.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    # Moto in a process of its own, beside the proxy's, is the one that checks signatures, as a real store does.
    running = servers.seaweedfs() if server == "SeaweedFS" else servers.moto_server(check_auth=True)
    with running as store, FaultProxy("127.0.0.1", urlsplit(store.endpoint).port or 80) as proxy:
        proxy.delay, proxy.rate = delay, rate
        near = store.through(proxy.endpoint)
        pipe.send((Place(near.url, near.storage_options), Place(store.url, store.storage_options)))
        while True:
            try:
                asked = pipe.recv()
            except EOFError:
                return
            if asked is not None:
                proxy.delay = asked
            pipe.send(Traffic(Counter(map(kind, proxy.request_lines)), proxy.bytes_down))
            proxy.reset_counters()


def kind(line: str) -> str:
    """The kind of an S3 request, by its first line."""
    method, target = line.split(" ")[:2]
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    if method == "POST" and "delete" in query:
        return "DELETE"
    return "LIST" if method == "GET" and query.keys() & {"list-type", "prefix"} else method
