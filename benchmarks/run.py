"""Measure idfkit-fs beside its peers and print one table: ``nox -s bench [-- publish cache memory study readers ...]``.

Peers are measured in turns with ours, round by round, so that whatever else the machine does meets both. The figures
are this machine's; only their ratios travel. Nothing is tested here: a missed target does not fail.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Not the root itself: the installed wheel is to be measured, not the sources.
sys.path[:0] = [str(ROOT / name) for name in ("benchmarks", "tests", "examples")]

NAMES = ("publish", "cache", "memory", "adapter", "study", "readers", "import")


def main(names: list[str]) -> None:
    """Run the benchmarks of these names, or all."""
    if unknown := set(names) - set(NAMES):
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(NAMES)}")
    show = importlib.import_module("rows").show
    rows = []
    for name in names or NAMES:
        start = time.perf_counter()
        rows += importlib.import_module(f"bench_{name}").measure()
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    show(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
