"""Snippets of the pages: which there are, and whether they print what the pages show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.world import World

__all__ = ["PAGES", "ROOT", "SNIPPETS", "of_another_store", "prints", "run_page"]

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
SNIPPETS = ROOT / "docs" / "snippets"
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def of_another_store(page: str) -> bool:
    """Whether snippets need another store than S3: the name of their directory says so."""
    return page.endswith(("-gcs", "-azure"))


def run_page(page: str, world: World) -> None:
    """Run the snippets of a page, each of which must end well, and print what its ``.txt`` file shows."""
    for file in sorted((SNIPPETS / page).iterdir()):
        if file.suffix in {".py", ".sh"}:
            printed, text = world.run(file), file.with_suffix(".txt")
            shown = text.read_text(encoding="utf-8") if text.exists() else "..."
            assert prints(printed, shown), f"{file.name} printed\n{printed}\nwhere the page shows\n{shown}"


def prints(printed: str, shown: str) -> bool:
    """Whether an output is the one that is shown: ``...`` is any text, and numbers may differ by a twentieth.

    Examples:
        >>> prints("17 files in 4.21 s", "17 files in 4.2 s"), prints("8 files", "17 files"), prints("a b c", "a ... c")
        (True, False, True)
    """
    pattern = re.escape(" ".join(shown.split())).replace(re.escape("..."), ".*?")
    found = re.fullmatch(_NUMBER.sub(r"(\\d+(?:\\.\\d+)?)", pattern.replace(r"\.", ".")), " ".join(printed.split()))
    if found is None:
        return False
    expected = [float(number) for number in _NUMBER.findall(shown)]
    return [float(number) for number in found.groups()] == pytest.approx(expected, rel=0.05)
