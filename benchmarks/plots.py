"""Draw what ``--json`` wrote: ``python benchmarks/plots.py FILE ... [--to docs/images]``.

A file `study.json` becomes `performance-study.svg`: two bars a row, ours and the peer's.
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from compare import figures, read
from rows import Row

ROOT = Path(__file__).parents[1]
# What a plot shows of a row, where it is not the seconds.
SHOWN = {"memory": "MB", "collect": "MB", "scale": "s CPU"}
AXES = {"s": "seconds, the median of all rounds", "MB": "memory, MB", "s CPU": "seconds of the processor"}
OURS, PEER, QUIET = "#00796b", "#b0bec5", "#607d8b"
WIDTH = 66
LINEAR = 30  # beyond it, the axis is logarithmic


def main() -> None:
    """Draw the files that the command line names."""
    parser = argparse.ArgumentParser(description="Draw what benchmarks measured.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="what nox -s bench -- NAME --json wrote")
    parser.add_argument(
        "--to", type=Path, default=ROOT / "docs" / "images", metavar="DIR", help="by default %(default)s"
    )
    given = parser.parse_args()
    for file in given.files:
        target = given.to / f"performance-{file.stem}.svg"
        draw(read(file), SHOWN.get(file.stem, "s"), target)
        print(target)


def draw(rows: list[Row], shown: str, target: Path) -> None:
    """Draw the rows that have this figure on both sides."""
    import matplotlib as mpl

    mpl.use("Agg")  # draws to a file, without a display
    mpl.rcParams |= {"svg.hashsalt": target.name, "font.size": 8}  # the same rows make the same file
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter, NullLocator

    bars = [bar for row in rows if (bar := of_row(row, shown))]
    lines = [len(what) + len(peer) for what, peer, _ in bars]
    figure, axes = plt.subplots(figsize=(9, 0.9 + 0.2 * sum(lines)), layout="constrained")
    place = 0.0
    for (what, peer, values), height in zip(bars, lines, strict=True):
        place -= height
        middle = place + height / 2
        for value, colour, at in zip(values, (OURS, PEER), (middle + 0.35, middle - 0.35), strict=True):
            axes.barh(at, value, 0.6, color=colour)
            axes.annotate(written(value), (value, at), (3, 0), textcoords="offset points", va="center", fontsize=7)
        above, below = [*what, *[""] * len(peer)], [*[""] * len(what), *peer]
        for text, colour in ((above, "black"), (below, QUIET)):
            at = {"ha": "right", "va": "center", "transform": axes.get_yaxis_transform()}
            axes.text(-0.01, middle, "\n".join(text), color=colour, **at)
    every = [value for _, _, values in bars for value in values]
    low, high = (0.0, max(every) * 1.1) if max(every) < LINEAR * min(every) else (min(every) / 2, max(every) * 3)
    axes.set(xlim=(low, high), ylim=(place - 0.2, 0.2), yticks=[], xlabel=AXES[shown])  # room for the figures
    if low:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def of_row(row: Row, shown: str) -> tuple[list[str], list[str], tuple[float, float]] | None:
    """Lines that say what a row is about, lines that name its peer, and the two figures; None if one is missing."""
    ours, peer = figures(row.ours).get(shown), figures(row.peer).get(shown)
    if not ours or not peer:
        return None
    what, _, other = row.what.rpartition(": ")
    return textwrap.wrap(what, WIDTH), textwrap.wrap(f"beside {other}", WIDTH), (ours, peer)


def written(value: float) -> str:
    """A figure with two digits that count, or all before the point."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


if __name__ == "__main__":
    main()
