"""What the pages and the examples tell a reader to install exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXTRAS = {*tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]}
FILES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs" / "snippets").rglob("*.*")]
FILES += [
    path for path in (ROOT / "examples").rglob("*") if path.suffix in {".py", ".sh", ".yaml", ""} and path.is_file()
]


@pytest.mark.parametrize("file", sorted(FILES), ids=lambda file: str(file.relative_to(ROOT)))
def test_only_extras_that_exist_are_to_be_installed(file: Path) -> None:
    named = re.findall(r"idfkit-fs\[([^]]+)\]", file.read_text(encoding="utf-8"))
    assert EXTRAS.issuperset(extra.strip() for extras in named for extra in extras.split(","))
