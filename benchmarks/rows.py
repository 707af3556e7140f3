"""What a benchmark hands back: one row of the table for each thing measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

HEAD = ("what", "ours", "peer", "ratio", "target", "met")


@dataclass(frozen=True)
class Row:
    """One thing measured beside its peer.

    Attributes:
        what: What was measured, and beside which peer.
        ours: Our figure, with its unit.
        peer: The peer's.
        ratio: Theirs and ours compared; its sense is that of the target.
        target: What was aimed at; empty for a row that only informs.
        met: Whether it was reached; None without a target.
    """

    what: str
    ours: str
    peer: str
    ratio: str
    target: str = ""
    met: bool | None = None


@dataclass
class Timed:
    """A contestant, by what its rounds took.

    Attributes:
        seconds: One for each round.
    """

    seconds: list[float] = field(default_factory=list, kw_only=True)

    @property
    def median(self) -> float:
        """Seconds of the middle round."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """Seconds of the quickest round."""
        return min(self.seconds)


def ratio(ours: Timed, peer: Timed) -> str:
    """How many times as quick ours is."""
    return f"{peer.median / ours.median:.1f}x, best {peer.best / ours.best:.1f}x"


def expect(done: Any) -> None:
    """End it all if something did not do what is measured."""
    if not getattr(done, "success", done):
        raise SystemExit(f"a case did not run: {getattr(done, 'errors', done)}")


def show(rows: list[Row]) -> None:
    """Print rows as a table."""
    met = {True: "yes", False: "no", None: ""}
    table([HEAD, *((row.what, row.ours, row.peer, row.ratio, row.target, met[row.met]) for row in rows)])


def table(lines: Sequence[Sequence[str]]) -> None:
    """Print lines of cells in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
