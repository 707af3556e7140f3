"""The reference has every public name."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "api"
MODULES = ("idfkit_fs", "idfkit_fs.errors", "idfkit_fs.cache", "idfkit_fs.testing", "idfkit_fs.xarray_engine")
SHOWN = [
    name
    for page in sorted(PAGES.glob("*.md"))
    for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize("module", MODULES)
def test_each_public_name_is_in_the_reference(module: str) -> None:
    if module in SHOWN:
        return  # with all of its names
    # A name that idfkit_fs has too is shown as that.
    shown = {name.rpartition(".")[2] for name in SHOWN if name.rpartition(".")[0] in {module, "idfkit_fs"}}
    assert set(importlib.import_module(module).__all__) - shown == set()


def test_each_name_is_shown_once() -> None:
    assert sorted(SHOWN) == sorted(set(SHOWN))
