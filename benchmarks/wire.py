"""A store behind a slow wire, in a process of its own: neither may take the client's time or count as its memory."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rows import Timed
from support import servers
from support.proxy import FaultProxy

SPAWN = multiprocessing.get_context("spawn")


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


class Wire:
    """A running store and the proxy in front of it.

    Attributes:
        place: The bucket as it is reached through the proxy.
        direct: The bucket as it is reached without.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.place, self.direct = pipe.recv()

    def requests(self) -> int:
        """How many requests went through the proxy since the last call."""
        return self.traffic()[0]

    def traffic(self) -> tuple[int, int]:
        """How many requests went through the proxy since the last call, and how many bytes came down."""
        self._pipe.send(None)
        counts: tuple[int, int] = self._pipe.recv()
        return counts


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
    """

    go: Callable[[int], Any]
    around: Callable[[], AbstractContextManager[None]] = nullcontext
    scale: int = 1
    requests: int = 0
    down: int = 0

    def turn(self, link: Wire, number: int) -> None:
        """Go once."""
        with self.around():
            link.traffic()
            start = time.perf_counter()
            done = self.go(number)
            self.seconds.append(self.scale * (time.perf_counter() - start))
            self.requests, self.down = (self.scale * count for count in link.traffic())
            getattr(done, "close", lambda: None)()

    def __str__(self) -> str:
        median, best = (f"{seconds:.3f}" if seconds < 10 else f"{seconds:.1f}" for seconds in (self.median, self.best))
        down = f"{self.down / 1e6:,.1f} MB" if self.down >= 1e5 else f"{self.down / 1e3:.1f} kB"
        asked = f"{self.requests:,} req., {down}" if self.requests else "no requests"
        return f"{median} s, best {best}, {asked}"


def in_turns(link: Wire, rounds: int, *sides: Side) -> None:
    """Let the sides go round by round. The first round opens connections, and does not count."""
    for number in range(rounds + 1):
        for side in sides:
            side.turn(link, number)
            if not number:
                side.seconds.clear()


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
            shutil.rmtree(directory)


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
                pipe.recv()
            except EOFError:
                return
            pipe.send((proxy.requests, proxy.bytes_down))
            proxy.reset_counters()
