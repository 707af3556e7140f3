"""What the doctor found: checks, as text, as JSON and as HTML."""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

__all__ = ["Check", "DoctorReport", "Status"]

Status = Literal["ok", "warning", "failed", "skipped"]

_WIDTH = 80
_INDENT = " " * 9


@dataclass(frozen=True)
class Check:
    """One thing that was checked, or could not be.

    Attributes:
        name: The check's name, such as ``"write"``; names do not change.
        status: ``"ok"``, ``"warning"`` (it works, with a limitation), ``"failed"``, or ``"skipped"``: not checked.
        detail: What was found, the cause of a failure, or why it was not checked.
        fix: What to do about it; empty if there is nothing to do.
        seconds: How long it took.
    """

    name: str
    status: Status
    detail: str
    fix: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class DoctorReport:
    """What works at a URL, and on this machine.

    Attributes:
        url: The URL that was checked, without secrets.
        checks: The checks of the URL, in their order.
        machine: The checks of this machine. None of them fails: a URL is fine without a cache or EnergyPlus here.
        left_behind: The URLs of what the doctor wrote and could not remove.
    """

    url: str
    checks: tuple[Check, ...]
    machine: tuple[Check, ...] = ()
    left_behind: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no check failed. A warning is not a failure, and neither is a check that was not made."""
        return not self.failed

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the checks that failed."""
        return tuple(check.name for check in self.checks if check.status == "failed")

    def __getitem__(self, name: str) -> Check:
        """The check of a name."""
        return next(check for check in (*self.checks, *self.machine) if check.name == name)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        return {"ok": self.ok, **dataclasses.asdict(self)}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{check.status}</td><th>{escape(check.name)}</th><td>{check.seconds:.2f} s</td>"
            f"<td>{escape(check.detail)}{f'<br><b>Fix:</b> {escape(check.fix)}' if check.fix else ''}</td></tr>"
            for check in (*self.checks, *self.machine)
        )
        return f"<table><caption>{escape(f'{self.url}: {self._counts()}')}</caption><tbody>{rows}</tbody></table>"

    def _lines(self) -> Iterator[str]:
        yield self.url
        for (status, detail), group in itertools.groupby(self.checks, lambda check: (check.status, check.detail)):
            first, *others = group
            if status == "skipped" and others:
                names = ", ".join(check.name for check in (first, *others))
                yield from _wrapped(f"{names}: {detail}", f"{status:7}  ", _INDENT)
            else:
                yield from itertools.chain.from_iterable(map(_lines, (first, *others)))
        if self.machine:
            yield "this machine"
        for check in self.machine:
            yield from _lines(check)
        for url in self.left_behind:
            yield f"left behind: {url}"
        yield self._counts()

    def _counts(self) -> str:
        found = [check.status for check in (*self.checks, *self.machine)]
        words: tuple[tuple[Status, str], ...] = (
            ("ok", "ok"),
            ("warning", "with a warning"),
            ("failed", "failed"),
            ("skipped", "skipped"),
        )
        return ", ".join(f"{found.count(status)} {word}" for status, word in words if status in found)


def _lines(check: Check) -> Iterator[str]:
    """A check for a terminal; in a fix, words stay whole, as they may be copied."""
    time = f"{check.seconds:6.2f} s" if check.status != "skipped" else ""
    head = f"{check.status:7}  {check.name:10} {time:8}  "
    yield from _wrapped(check.detail, head, " " * len(head), break_long_words=True)
    if check.fix:
        yield from _wrapped(check.fix, f"{_INDENT}fix: ", f"{_INDENT}     ")


def _wrapped(text: str, first: str, following: str, break_long_words: bool = False) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=break_long_words,
        break_on_hyphens=False,
    )
