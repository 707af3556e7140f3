"""The page of promises names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = [
    line
    for line in (ROOT / "docs/security.md").read_text(encoding="utf-8").partition("## What is not")[0].splitlines()
    if line.startswith("| ") and not line.startswith(("| promise", "| **"))
]


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_there_are_promises() -> None:
    assert len(LINES) > 20


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_each_promise_has_tests_that_exist(line: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", line)
    assert named, f"no test shows this: {line}"
    for path, name in named:
        assert (ROOT / path).is_file() and name in names_in(ROOT / path), f"{path}::{name} does not exist"
