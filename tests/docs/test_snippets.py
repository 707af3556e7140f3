"""Every block of code of the pages is a file, and runs from top to bottom as a reader would paste it.

A ``.txt`` file beside a snippet is what it prints, which a page shows.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.pages import PAGES, ROOT, SNIPPETS, of_another_store, run_page
from support.world import World

# Commands that install or that start a session of nox; the sessions and a fresh environment show these.
INSTALLS = ("pip install ", "python -m pip ", "python -m venv ", "pipx install ", "nox ", "git clone ", "cd ", "#")
BLOCK = re.compile(r"^( *)```(python|pycon|console|bash|sh|shell)\b[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def not_a_file(language: str, lines: list[str]) -> list[str]:
    """The lines of a block that are neither included from a file nor an installation."""
    kept = [line for line in lines if line.strip() and not line.strip().startswith("--8<--")]
    return kept if language == "python" else [line for line in kept if not line.strip().startswith(INSTALLS)]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT / "docs")) for page in PAGES])
def test_each_block_is_a_file(page: Path) -> None:
    for _, language, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        assert not_a_file(language, body.splitlines()) == [], f"a block of {page.name} is no file that the tests run"


@pytest.mark.parametrize(
    "page", sorted(path.name for path in SNIPPETS.iterdir() if path.is_dir() and not of_another_store(path.name))
)
def test_snippets_of_a_page_run_in_their_order(page: str, world: World) -> None:
    run_page(page, world)


def test_each_snippet_is_shown() -> None:
    shown = " ".join(page.read_text(encoding="utf-8") for page in PAGES)
    for file in sorted(SNIPPETS.rglob("*.*")):
        if file.suffix in {".py", ".sh", ".txt"}:
            assert str(file.relative_to(ROOT)) in shown, f"no page shows {file.relative_to(ROOT)}"
