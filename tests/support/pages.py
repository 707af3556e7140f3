"""Snippets of the pages: which there are, and whether they print what the pages show."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest
from support.world import World

__all__ = ["PAGES", "ROOT", "SNIPPETS", "of_another_store", "prints", "run_page", "shown_outputs"]

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
SNIPPETS = ROOT / "docs" / "snippets"
# A block of output follows the block of the snippet that prints it.
_OUTPUT = re.compile(
    r"""--8<-- "(?P<file>docs/snippets/[^":]+)"\n *```\n\s*```text title="Output"\n(?P<text>.*?)\n *```""", re.DOTALL
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def of_another_store(page: str) -> bool:
    """Whether snippets need another store than S3: the name of their directory says so."""
    return page.endswith(("-gcs", "-azure"))


def run_page(page: str, world: World) -> None:
    """Run the snippets of a page, each of which must end well, and print what the page shows."""
    outputs = shown_outputs()
    for file in sorted((SNIPPETS / page).iterdir()):
        if file.suffix in {".py", ".sh"}:
            printed = world.run(file)
            for shown in outputs.get(file, ()):
                assert prints(printed, shown), f"{file.name} printed\n{printed}\nwhere the page shows\n{shown}"


def shown_outputs() -> dict[Path, list[str]]:
    """The outputs that pages show, in blocks ``text title="Output"``, by the snippets that print them."""
    outputs: dict[Path, list[str]] = {}
    for page in PAGES:
        for found in _OUTPUT.finditer(page.read_text(encoding="utf-8")):
            outputs.setdefault(ROOT / found["file"], []).append(dedent(found["text"]))
    return outputs


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
