"""The rows of this run beside those of an earlier one: what became slower, or asks or takes more."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from rows import Row, table

# What two runs of the same code differ by on a machine that does other things too.
TOLERATED = 1.25
_FIGURE = re.compile(r"(best )?(\d[\d,]*(?:\.\d+)?)(?: (s CPU|s|ms|req|kB|MB|LIST|GET|HEAD|PUT|POST|DELETE)\b)?")
_REQUESTS = {"req", "LIST", "GET", "HEAD", "PUT", "POST", "DELETE"}
_SCALE = {"ms": ("s", 1e-3), "kB": ("MB", 1e-3)}
_SLOWER, _MORE = ("s", "best", "s CPU", ""), ("requests", "MB")


def figures(text: str) -> dict[str, float]:
    """The figures of one side of a row, by what they are: ``s``, ``best``, ``s CPU``, ``requests``, ``MB``.

    A figure without a unit, whose unit the row names, is under an empty name. How a time is made up, after ``=``, is
    left out.

    Examples:
        >>> figures("0.426 s, best 0.357, 24 req., 7.5 kB = 5.5 round trips x 30 ms + 261 ms")
        {'s': 0.426, 'best': 0.357, 'requests': 24.0, 'MB': 0.0075}
        >>> figures("22 LIST + 1 GET, 0.74 s CPU, 90 MB, 1.7 s")
        {'requests': 23.0, 's CPU': 0.74, 'MB': 90.0, 's': 1.7}
    """
    found: dict[str, float] = {"requests": 0.0} if "no requests" in text else {}
    for best, number, unit in _FIGURE.findall(text.partition(" = ")[0]):
        value = float(number.replace(",", ""))
        name, factor = _SCALE.get(unit, (unit, 1.0))
        name = "best" if best else "requests" if unit in _REQUESTS else name
        # Several kinds of requests are added up; of anything else, the first counts.
        if name == "requests":
            found[name] = found.get(name, 0.0) + value
        else:
            found.setdefault(name, value * factor)
    return found


def verdict(old: str, new: str) -> str:
    """What became worse from one side of a row to another, in words; empty if nothing did.

    A time counts as slower only if the best round became slower too: what else the machine does only adds.

    Examples:
        >>> verdict("1.0 s, best 0.9, 24 req.", "1.5 s, best 1.4, 24 req.")
        'SLOWER'
        >>> verdict("1.0 s, best 0.9, 24 req.", "1.5 s, best 0.9, 48 req.")
        'MORE requests'
    """
    before, now = figures(old), figures(new)
    worse = {name for name in before.keys() & now.keys() if now[name] > TOLERATED * before[name]}
    if "best" in before.keys() & now.keys() and not {"s", "best"} <= worse:
        worse -= {"s", "best"}
    words = ["SLOWER"] if worse & {*_SLOWER} else []
    return ", ".join([*words, *(f"MORE {name}" for name in _MORE if name in worse)])


def compare(old: Sequence[Row], new: Sequence[Row]) -> list[tuple[str, ...]]:
    """A line for each row of this run: what, the old figures, the new ones, their ratio, and what became worse."""
    known = {row.what: row.ours for row in old}
    lines: list[tuple[str, ...]] = []
    for row in new:
        before, now = known.get(row.what), row.ours
        beside = ("not measured", _short(now), "", "")
        if before is not None:
            beside = (_short(before), _short(now), _ratio(before, now), verdict(before, now))
        lines.append((row.what, *beside))
    return lines


def show(old: Sequence[Row], new: Sequence[Row]) -> None:
    """Print the comparison as a table."""
    table([("what", "old", "new", "new : old", "worse"), *compare(old, new)])


def read(path: Path) -> list[Row]:
    """The rows of a file that ``--json`` wrote."""
    return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def _short(side: str) -> str:
    return side.partition(" = ")[0]


def _ratio(old: str, new: str) -> str:
    """The ratio of the first figure that both have."""
    before, now = figures(old), figures(new)
    return next((f"{now[name] / before[name]:.2f}" for name in now if before.get(name)), "")
