"""Peak memory of one large file up and down, beside idfkit's class, which holds the whole file."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rows import Row
from watch import Peak, done, peak, ready
from wire import Place, wire

from idfkit_fs import FsspecFileSystem

SIZE = 10**9
MIB = 2**20
TARGET = 128
NAME, SMALL = "large.bin", "small.bin"


def measure() -> list[Row]:
    """Move a file of 1 GB both ways, each time in a fresh process."""
    with TemporaryDirectory(prefix="idfkit-fs-bench-") as directory, wire("SeaweedFS") as link:
        here = Path(directory)
        _fill(here / NAME, SIZE)
        _fill(here / SMALL, MIB)
        os.environ["XDG_CACHE_HOME"] = str(here / "cache")
        peaks = {what: peak(_transfer, what, link.direct, here) for what in OPERATIONS}
    pairs = {
        "up, upload()": ("up", "idfkit up"),
        "down to the cache, local_path()": ("down", "idfkit down"),
        "read in pieces, open()": ("stream", "idfkit down"),
    }
    return [_row(what, peaks[ours], peaks[peer]) for what, (ours, peer) in pairs.items()]


def _row(what: str, ours: Peak, peer: Peak) -> Row:
    left, right = (f"{each.grown:.0f} MB, {each.seconds:.1f} s" for each in (ours, peer))
    ratio, target = f"{ours.grown / peer.grown:.2f}", f"<= {TARGET} MB"
    return Row(f"memory of 1 GB {what}: idfkit", left, right, ratio, target, ours.grown <= TARGET)


def _fill(path: Path, size: int) -> None:
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(block[: size - start])


def _transfer(what: str, place: Place, directory: Path, pipe: Connection) -> None:
    fs = place.idfkit("") if what.startswith("idfkit") else FsspecFileSystem.from_url(place.url, **place.options)
    go = OPERATIONS[what]
    if go is not _up and go is not _idfkit_up:
        fs.write_bytes(SMALL, (directory / SMALL).read_bytes())
    go(fs, directory, SMALL)
    ready(pipe)
    go(fs, directory, NAME)
    done(pipe)


def _up(fs: FsspecFileSystem, directory: Path, name: str) -> None:
    fs.upload(directory / name, name)


def _down(fs: FsspecFileSystem, _directory: Path, name: str) -> None:
    local = fs.local_path(name)
    local.unlink()


def _stream(fs: FsspecFileSystem, _directory: Path, name: str) -> None:
    with fs.open(name) as file:
        while file.read(MIB):
            pass


def _idfkit_up(fs: Any, directory: Path, name: str) -> None:
    fs.write_bytes(name, (directory / name).read_bytes())


def _idfkit_down(fs: Any, directory: Path, name: str) -> None:
    copy = directory / "copy.bin"
    copy.write_bytes(fs.read_bytes(name))
    copy.unlink()


OPERATIONS: dict[str, Callable[[Any, Path, str], None]] = {
    "up": _up,
    "down": _down,
    "stream": _stream,
    "idfkit up": _idfkit_up,
    "idfkit down": _idfkit_down,
}
