"""Text and HTML that people read: counts, short lists of cases, and one line for an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from idfkit_fs._util.messages import printable

__all__ = ["counted", "first_names", "html_counts", "one_line", "text_counts"]

_SHOWN = 3


def counted(count: int) -> str:
    """A number of cases, in words."""
    return "1 case" if count == 1 else f"{count} cases"


def first_names(names: Sequence[str]) -> str:
    """The first few names, and the number of the others.

    Examples:
        >>> first_names(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def text_counts(title: str, groups: Mapping[str, Sequence[str]], listed: Sequence[str]) -> str:
    """A few lines for a terminal: the size of each group of cases, and the first names of some groups.

    Args:
        title: The first line.
        groups: The names in each group.
        listed: The groups whose names are shown.
    """
    width = max(map(len, groups))
    digits = max(len(str(len(names))) for names in groups.values())
    lines = [
        f"  {group:{width}}  {len(names):{digits}}  {first_names(names) if group in listed else ''}".rstrip()
        for group, names in groups.items()
    ]
    return "\n".join([f"<{title}>", *lines])


def html_counts(title: str, groups: Mapping[str, Sequence[str]], listed: Sequence[str]) -> str:
    """The same as [text_counts][idfkit_fs.studies.display.text_counts], as an HTML table for a notebook."""
    rows = "".join(
        f"<tr><th>{escape(group)}</th><td>{len(names)}</td>"
        f"<td>{escape(first_names(names)) if group in listed else ''}</td></tr>"
        for group, names in groups.items()
    )
    return f"<table><caption>{escape(title)}</caption><tbody>{rows}</tbody></table>"


def one_line(error: BaseException) -> str:
    """The message of an error with its notes, in one line."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    return printable(" ".join("; ".join([text, *getattr(error, "__notes__", ())]).split()))
