"""Measure idfkit-fs beside its peers and print one table: ``nox -s bench [-- publish scale ...] [--json FILE]``.

With ``--against OLD``, a file that ``--json`` wrote earlier, a second table shows what became worse since.

Peers are measured in turns with ours, round by round, so that whatever else the machine does meets both. The figures
are this machine's; only their ratios travel. Nothing is tested here: a missed target or a slower row does not fail.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Not the root itself: the installed wheel is to be measured, not the sources.
sys.path[:0] = [str(ROOT / name) for name in ("benchmarks", "tests", "examples")]

NAMES = ("publish", "cache", "memory", "adapter", "study", "scale", "collect", "readers", "import")


def main() -> None:
    """Run the benchmarks that the command line names, or all."""
    parser = argparse.ArgumentParser(description="Measure idfkit-fs beside its peers, and print a table.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; by default all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to a file, too")
    parser.add_argument("--against", type=Path, metavar="OLD", help="compare with a file that --json wrote earlier")
    given = parser.parse_args()
    if unknown := {*given.names} - {*NAMES}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(NAMES)}")
    show, compare = importlib.import_module("rows").show, importlib.import_module("compare")
    old = compare.read(given.against) if given.against else []  # before anything is measured
    rows = []
    for name in given.names or NAMES:
        start = time.perf_counter()
        rows += importlib.import_module(f"bench_{name}").measure()
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        if given.json:
            given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False), "utf-8")
    show(rows)
    if given.against:
        print()
        compare.show(old, rows)


if __name__ == "__main__":
    main()
