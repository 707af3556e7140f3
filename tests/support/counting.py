"""A count in a file that many change at once; importable by the processes that do."""

from __future__ import annotations

import uuid

from idfkit_fs import FsspecFileSystem


def count_up(fs: FsspecFileSystem, name: str, times: int) -> None:
    """Add one, again and again until no other write came between; each write has bytes of its own."""
    for _ in range(times):
        while True:
            found = fs.read_tagged(name)
            number = int(found[0].split()[0]) if found else 0
            mine = f"{number + 1} {uuid.uuid4().hex}".encode()
            if fs.swap(name, mine, found[1] if found else None) is not None:
                break
