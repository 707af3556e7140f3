"""A table of cases for a terminal: which columns fit, in which order, and how wide each character is."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from idfkit_fs._cli.shared import is_number
from idfkit_fs._util.messages import did_you_mean, printable

__all__ = ["as_text", "choose_columns", "fit", "sort_rows", "width_of"]

Row = Mapping[str, Any]

_GAP = "  "
_SHORTEST_MESSAGE = 24
_FIRST = ("case", "state")
_MESSAGE = "message"
# What people look for, after the parameters; then come the others, in the order of the summary.
_WANTED = ("eui_kwh_m2", "site_energy_kwh")


def choose_columns(text: str, names: Sequence[str]) -> list[str]:
    """The columns that a user names, in that order, with the case first.

    Args:
        text: Names and patterns such as ``heating_*``, with commas between them.
        names: The columns of the table.

    Raises:
        ValueError: If a name or pattern is that of no column.

    Examples:
        >>> choose_columns("peak_*,wwr", ["case", "wwr", "peak_gas_w", "peak_electricity_w"])
        ['case', 'peak_gas_w', 'peak_electricity_w', 'wwr']
    """
    chosen = {"case": None} if "case" in names else {}
    wanted = [each.strip() for each in text.split(",") if each.strip()]
    if text.strip() in names:  # a name may have a comma
        wanted = [text.strip()]
    for pattern in wanted:
        found = [name for name in names if name == pattern] or [
            name for name in names if fnmatchcase(name, pattern.replace("[", "[[]"))
        ]
        if not found:
            raise ValueError(f"The summary has no column {pattern!r}{_near(pattern, names)}")
        chosen.update(dict.fromkeys(found))
    return [*chosen]


def sort_rows(rows: Iterable[dict[str, Any]], by: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Sort rows by a column; numbers before texts, and those without a value last.

    Args:
        rows: The rows.
        by: The name of the column; with a minus before it, the largest come first.
        names: The columns of the table.

    Raises:
        ValueError: If there is no such column.

    Examples:
        >>> sort_rows([{"a": 1}, {}, {"a": 2}], "-a", ["a"])
        [{'a': 2}, {'a': 1}, {}]
    """
    downwards = by not in names and by.startswith("-")
    name = by[1:] if downwards else by
    if name not in names:
        raise ValueError(f"The summary has no column {name!r} to sort by{_near(name, names)}")
    with_value = [row for row in rows if row.get(name) is not None]
    without = [row for row in rows if row.get(name) is None]
    return [*sorted(with_value, key=lambda row: _order(row[name]), reverse=downwards), *without]


def _order(value: Any) -> tuple[int, Any]:
    if isinstance(value, (int, float)):
        return 0, value
    return 1, value if isinstance(value, str) else json.dumps(value)


def _near(name: str, names: Sequence[str]) -> str:
    containing = [each for each in names if name and name in each]
    if containing:
        return f"; did you mean {containing[0]!r}?"
    return did_you_mean(name, names) or f"; the columns are {', '.join(names)}"


def fit(names: Sequence[str], rows: Sequence[Row], headings: Mapping[str, str], width: int) -> list[str]:
    """The columns that fit: case, state, parameters, energy use, the message if there is any, then the others.

    Args:
        names: The columns of the table.
        rows: The rows; a column without any value is not shown.
        headings: What to write above each column.
        width: The number of characters in a line.

    Returns:
        The columns, in the order of *names*.
    """
    filled = [name for name in names if name in _FIRST or any(row.get(name) is not None for row in rows)]
    figures = names.index("hours_simulated") if "hours_simulated" in names else len(names)
    parameters = [name for name in filled if name not in _FIRST and names.index(name) < figures]
    message = [_MESSAGE] if _MESSAGE in filled else []
    wanted = dict.fromkeys(each for each in (*_FIRST, *parameters, *_WANTED, *message, *filled) if each in filled)
    chosen: list[str] = []
    left = width
    for name in wanted:
        needs = _SHORTEST_MESSAGE if name == _MESSAGE else min(_widest(name, rows, headings), _longest(width))
        needs += len(_GAP) if chosen else 0
        if needs <= left or not chosen:  # what a row is about is never left out
            chosen.append(name)
            left -= needs
    return [name for name in names if name in chosen]


def _longest(width: int) -> int:
    """To how many characters names and parameters are cut in a terminal that is too narrow for them."""
    return max(16, width // 4)


def _widest(name: str, rows: Sequence[Row], headings: Mapping[str, str]) -> int:
    return max(map(width_of, [printable(headings[name]), *(_shown(row.get(name)) for row in rows)]))


def as_text(
    names: Sequence[str],
    rows: Sequence[Row],
    headings: Mapping[str, str] | None = None,
    width: int | None = None,
) -> str:
    """A table for people to read: aligned columns, rounded numbers.

    Args:
        names: The columns.
        rows: The rows.
        headings: What to write above each column; by default its name.
        width: The number of characters in a line, to which long texts are cut; None to cut nothing.
    """
    above = {name: name for name in names} if headings is None else headings
    lines = [[printable(above[name]) for name in names], *([_shown(row.get(name)) for name in names] for row in rows)]
    numeric = [all(is_number(row.get(name, 0)) for row in rows) for name in names]
    widths = [max(map(width_of, column)) for column in zip(*lines, strict=True)]
    if width is not None:
        widths = _narrowed(names, widths, width)
    return "\n".join(
        _GAP.join(
            _padded(_cut(cell, wide), wide, right) for cell, wide, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def _narrowed(names: Sequence[str], widths: Sequence[int], width: int) -> list[int]:
    """Widths that fit: the message takes what the others leave, and they are cut only where it is needed."""
    room = width - len(_GAP) * (len(names) - 1)
    others = {name: wide for name, wide in zip(names, widths, strict=True) if name != _MESSAGE}
    if sum(others.values()) + (_SHORTEST_MESSAGE if _MESSAGE in names else 0) > room:
        others = {name: min(wide, _longest(width)) for name, wide in others.items()}
    left = max(1, room - sum(others.values()))
    return [min(others.get(name, left), wide, max(1, width)) for name, wide in zip(names, widths, strict=True)]


def width_of(text: str) -> int:
    """How many columns of a terminal a text takes: East Asian characters take two, combining marks none.

    Examples:
        >>> width_of("büro"), width_of("東京"), width_of("e\u0301")
        (4, 4, 1)
    """
    if text.isascii():
        return len(text)
    return sum(_wide(each) for each in text)


def _wide(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cut(text: str, width: int) -> str:
    """A text that is not wider, with an ellipsis where it was cut."""
    if width_of(text) <= width:
        return text
    kept, taken = [], 1  # the ellipsis
    for each in text:
        taken += _wide(each)
        if taken > width:
            break
        kept.append(each)
    return f"{''.join(kept)}\u2026"


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - width_of(text))
    return f"{space}{text}" if right else f"{text}{space}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    plain = json.dumps(value) if isinstance(value, (bool, list, dict)) else value
    return "" if value is None else printable(" ".join(str(plain).split()))
