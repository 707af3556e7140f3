"""What the public API says when a disk of this machine is full or read-only; run with mounts of its own."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from support.disks import fill, make_read_only, mount, warned

from idfkit_fs import FsspecFileSystem, open_result

Said = tuple[str, str, str, str]


def _said(call: Callable[[], Any]) -> Said:
    """The class, the errno, the message and the path of the error that a call raises."""
    try:
        call()
    except OSError as exc:
        return type(exc).__name__, errno.errorcode[exc.errno or 0], str(exc.strerror), str(exc.filename)
    return "nothing", "", "", ""


def _download(run: str, directory: Path) -> None:
    open_result(run).download(directory)


def full_and_read_only(run: str, directory: str) -> tuple[dict[str, Said], list[str]]:
    """Write to a full disk in each way that there is, and to one that is read-only."""
    full, frozen = Path(directory, "full"), Path(directory, "frozen")
    mount(str(full), "size=1m")
    fill(str(full))
    frozen.mkdir()
    make_read_only(str(frozen))
    found: dict[str, Said] = {}
    for name, disk in (("full", full), ("read-only", frozen)):
        fs = FsspecFileSystem.from_url(str(disk))
        found[f"{name} write_bytes"] = _said(partial(fs.write_bytes, "a.csv", bytes(2**20)))
        found[f"{name} download"] = _said(partial(_download, run, disk / "copy"))
    cached = FsspecFileSystem.from_url(f"simplecache::{run}", simplecache={"cache_storage": str(full)})
    _, warnings = warned(lambda: cached.read_bytes("eplus.sql"))
    tempfile.tempdir = str(full)
    memory = FsspecFileSystem.from_url("memory://disk")

    def write() -> None:
        with memory.open("a.csv", "wb") as file:
            file.write(bytes(2**20))

    found["full temporary open"] = _said(write)
    found["nothing stored"] = (str(memory.exists("a.csv")), "", "", "")
    return found, warnings
