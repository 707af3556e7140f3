"""What a run reports, and what its model could report: idfkit's property and a list of this package under one name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from idfkit.simulation import OutputVariableIndex

from idfkit_fs.errors import NotReportedError

if TYPE_CHECKING:
    import pandas as pd
    from idfkit.simulation.parsers.rdd import OutputMeter, OutputVariable

__all__ = ["RunVariables"]


class RunVariables(OutputVariableIndex):
    """The output variables and meters of a run: call it to list those that the run reports.

    Its attributes and methods are those of idfkit's
    [OutputVariableIndex][idfkit.simulation.outputs.OutputVariableIndex]: all that the model could report, by the
    ``.rdd`` and ``.mdd`` files, which are read when an attribute or a method needs them.

    Args:
        listed: Lists what the run reports.
        index: Reads the ``.rdd`` and ``.mdd`` files; None if the run has no ``.rdd`` file.

    Examples:
        >>> result.variables()  # doctest: +SKIP
        >>> result.variables.search("Air Temperature")  # doctest: +SKIP
    """

    __slots__ = ("_index", "_listed")
    _listed: Callable[[], pd.DataFrame]
    _index: Callable[[], OutputVariableIndex | None]

    def __init__(self, listed: Callable[[], pd.DataFrame], index: Callable[[], OutputVariableIndex | None]) -> None:
        # The base class is frozen.
        object.__setattr__(self, "_listed", listed)
        object.__setattr__(self, "_index", index)

    def __call__(self) -> pd.DataFrame:
        """List the series that the run reports; of its sidecars, only footers are read.

        Returns:
            One row a series: its ``variable`` (or meter), ``frequency``, ``units`` and ``key`` (empty for a meter), as
            [timeseries][idfkit_fs.RunResult.timeseries] takes them; variables first, then meters.

        Raises:
            NotReportedError: If the run has no SQLite output; or if EnergyPlus failed, and nothing is reported.
            MissingExtraError: If pandas or pyarrow is not installed.
            StoreError: If the store failed, refused access, or did not answer.

        Examples:
            >>> listed = result.variables()  # doctest: +SKIP
            >>> listed[listed["units"] == "C"]  # doctest: +SKIP
        """
        return self._listed()

    def __repr__(self) -> str:
        return "<RunVariables: call it to list what the run reports; search() finds what the model could report>"

    def __reduce__(self) -> Any:
        return RunVariables, (self._listed, self._index)

    @property
    def variables(self) -> tuple[OutputVariable, ...]:
        """The output variables that the model could report, from the ``.rdd`` file."""
        return self._read().variables

    @property
    def meters(self) -> tuple[OutputMeter, ...]:
        """The meters that the model could report, from the ``.mdd`` file."""
        return self._read().meters

    def _read(self) -> OutputVariableIndex:
        index = self._index()
        if index is None:
            raise NotReportedError(
                "The run has no .rdd file, which lists what its model could report: it was not published, or "
                "EnergyPlus did not write it; result.variables() lists what the run reports"
            )
        return index
