"""The table of reasons: docs/troubleshooting.md shows it as the code has it, and no row hides another."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

import idfkit_fs.errors
from idfkit_fs._stores.reasons import REASONS, Reason, certificate_remedy
from idfkit_fs.errors import StoreError, UnreachableError

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.partition("| repeated | words |\n")[2].partition("\n\n")[0].splitlines()[1:]
]


def test_every_row_is_on_the_page() -> None:
    assert [row[0] for row in ROWS] == [reason.wrong.replace("{bucket!r}", "*name*") for reason in REASONS]


@pytest.mark.parametrize(("row", "reason"), [*zip(ROWS, REASONS, strict=True)], ids=[r.wrong[:40] for r in REASONS])
def test_the_page_says_what_the_code_does(row: list[str], reason: Reason) -> None:
    _, remedy, kind, repeated, words = row
    assert remedy == reason.remedy.format(certificate="see [below](#certificates)")
    named = re.fullmatch(r"`(\w+)`, (.+)", kind)
    assert named is not None
    name, number = named.groups()
    assert getattr(idfkit_fs.errors, name) is reason.kind
    assert (0 if number == "its own" else getattr(errno, number)) == reason.number
    assert repeated == ("yes" if reason.kind is UnreachableError and not reason.permanent else "no")
    shown = {word: bool(text) for word, text in re.findall(r"`([^`]+)`( \(text\))?", words)}
    assert shown == {word: bool(pattern) for word, pattern in reason.told.items()}


CLASSES = [getattr(idfkit_fs.errors, name) for name in idfkit_fs.errors.__all__]


@pytest.mark.parametrize("kind", CLASSES, ids=[kind.__name__ for kind in CLASSES])
def test_every_class_is_on_the_page_with_what_it_is_and_says(kind: type[Exception]) -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{kind.__name__}`")]
    builtins = {base.__name__ for base in kind.__mro__[1:] if base.__module__ == "builtins"}
    assert builtins.intersection(re.findall(r"`(\w+)`", row.split("|")[1])) or kind is idfkit_fs.errors.IdfkitFsError
    if "text" in vars(kind):
        assert f'"{kind.text.partition(";")[0]}"' in row  # type: ignore[attr-defined]  # of a StoreError


def test_no_row_hides_what_a_later_one_says() -> None:
    plain: set[str] = set()
    for reason in REASONS:
        assert plain.isdisjoint(reason.told), (reason.wrong, plain & reason.told.keys())
        plain |= {word for word, pattern in reason.told.items() if not pattern}
        assert all(re.compile(pattern) for pattern in reason.told.values())


@pytest.mark.parametrize("reason", REASONS, ids=[r.wrong[:40] for r in REASONS])
def test_a_row_says_what_is_wrong_and_then_what_to_do(reason: Reason) -> None:
    assert issubclass(reason.kind, StoreError)
    assert reason.wrong[0].isupper() and not reason.wrong.endswith(".")
    assert reason.remedy[0].islower() and not reason.remedy.endswith(".")
    assert not reason.permanent or reason.kind is UnreachableError


@pytest.mark.parametrize("protocol", ["s3", "gs", "abfs", "https"])
def test_the_page_names_each_remedy_for_certificates(protocol: str) -> None:
    for name in re.findall(r"[A-Z_]{8,}", certificate_remedy(protocol)):
        assert f"`{name}`" in PAGE
