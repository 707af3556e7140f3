"""The states of a study's cases."""

from __future__ import annotations

from dataclasses import dataclass

from idfkit_fs.studies.display import counted, html_counts, text_counts
from idfkit_fs.studies.layout import State

__all__ = ["StudyStatus"]

_LISTED = ("failed", "pending")


@dataclass(frozen=True, repr=False)
class StudyStatus:
    """The cases of a study by their state.

    ``print`` shows the counts in one line. An interactive session and a notebook also show the names of the first few
    failed and pending cases.

    Attributes:
        ok: The cases that EnergyPlus completed.
        failed: The cases that EnergyPlus ended with an error.
        pending: The cases that have not been run yet.

    Examples:
        >>> print(StudyStatus(ok=("a", "b"), failed=(), pending=("c",)))
        3 cases: 2 ok, 0 failed, 1 pending
    """

    ok: tuple[str, ...]
    failed: tuple[str, ...]
    pending: tuple[str, ...]

    @property
    def total(self) -> int:
        """The number of all cases."""
        return len(self.ok) + len(self.failed) + len(self.pending)

    def states(self) -> dict[str, State]:
        """The state of each case, by name; sorted."""
        named: list[tuple[str, State]] = [
            *((case, "ok") for case in self.ok),
            *((case, "failed") for case in self.failed),
            *((case, "pending") for case in self.pending),
        ]
        return dict(sorted(named))

    def __str__(self) -> str:
        return f"{counted(self.total)}: {len(self.ok)} ok, {len(self.failed)} failed, {len(self.pending)} pending"

    def __repr__(self) -> str:
        return text_counts(f"StudyStatus of {counted(self.total)}", self._groups(), _LISTED)

    def _repr_html_(self) -> str:
        return self.html(f"StudyStatus of {counted(self.total)}")

    def html(self, title: str) -> str:
        """An HTML table of the states.

        Args:
            title: The caption.
        """
        return html_counts(title, self._groups(), _LISTED)

    def _groups(self) -> dict[str, tuple[str, ...]]:
        return {"ok": self.ok, "failed": self.failed, "pending": self.pending}
