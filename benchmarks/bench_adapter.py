"""What the adapter adds to the raw fsspec calls of a careful user, on a filesystem that costs next to nothing."""

from __future__ import annotations

import asyncio
import fnmatch
import timeit
from collections.abc import Callable

import fsspec
from rows import Row

from idfkit_fs import AsyncFsspecFileSystem, FsspecFileSystem

ROOT = "/bench/study"
NUMBER = 1000
REPEAT = 9
TARGET = 50.0


def measure() -> list[Row]:
    """Call each method beside its raw counterpart; the best of several rounds counts."""
    raw = fsspec.filesystem("memory")
    ours = FsspecFileSystem(raw, ROOT)
    data = bytes(1000)
    names = [f"case-1/file-{number}.csv" for number in range(16)]
    for name in names:
        ours.write_bytes(name, data)
    name, key, copy, gone = names[3], f"{ROOT}/{names[3]}", f"{ROOT}/case-1/copy", f"{ROOT}/case-1/gone"

    def raw_glob() -> list[str]:
        return sorted(key for key in raw.ls(f"{ROOT}/case-1", detail=False) if fnmatch.fnmatchcase(key, "*.csv"))

    def raw_remove() -> None:
        raw.pipe_file(gone, data)
        raw.rm_file(gone)

    def our_remove() -> None:
        raw.pipe_file(gone, data)
        ours.remove("case-1/gone")

    methods: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "read_bytes": (lambda: ours.read_bytes(name), lambda: raw.cat_file(key)),
        "write_bytes": (lambda: ours.write_bytes(name, data), lambda: raw.pipe_file(key, data)),
        "exists": (lambda: ours.exists(name), lambda: raw.exists(key)),
        "glob": (lambda: ours.glob("case-1", "*.csv"), raw_glob),
        "copy": (lambda: ours.copy(name, "case-1/copy"), lambda: raw.cp_file(key, copy)),
        "remove": (our_remove, raw_remove),
        "makedirs": (lambda: ours.makedirs("case-1", exist_ok=True), lambda: raw.makedirs(f"{ROOT}/case-1", True)),
    }
    rows = []
    for method, (our_call, raw_call) in methods.items():
        best, least = _best(our_call, raw_call)
        added = best - least
        ratio = f"+{added:.0f} us"
        what = f"adapter {method}, us a call: raw fsspec"
        rows.append(Row(what, f"{best:.0f}", f"{least:.0f}", ratio, f"< +{TARGET:.0f} us", added < TARGET))
    best, (least,) = _best_async(name), _best(lambda: raw.cat_file(key))
    what = "adapter async read_bytes, us a call: raw sync"
    rows.append(Row(what, f"{best:.0f}", f"{least:.0f}", f"+{best - least:.0f} us"))
    raw.rm(ROOT, recursive=True)
    return rows


def _best(*calls: Callable[[], object]) -> list[float]:
    """The least microseconds a call of each, measured in turns."""
    rounds = [[timeit.timeit(call, number=NUMBER) for call in calls] for _ in range(REPEAT)]
    return [min(times) / NUMBER * 1e6 for times in zip(*rounds, strict=True)]


def _best_async(name: str) -> float:
    fs = AsyncFsspecFileSystem(fsspec.filesystem("memory"), ROOT)

    async def many() -> float:
        start = timeit.default_timer()
        for _ in range(NUMBER):
            await fs.read_bytes(name)
        return timeit.default_timer() - start

    return min(asyncio.run(many()) for _ in range(3)) / NUMBER * 1e6
