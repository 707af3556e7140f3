"""Open a run at a URL, from any machine, and read of it only what is asked for."""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from idfkit.simulation import SimulationResult, SQLResult
from pydantic import ByteSize

from idfkit_fs._cache.store import LocalCopy, Version
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.sidecars import SIDECAR_PACKAGES
from idfkit_fs._util.messages import redact
from idfkit_fs._util.optional_deps import require
from idfkit_fs._util.urls import Location, to_text
from idfkit_fs.errors import BucketNotFoundError, RunNotFoundError
from idfkit_fs.runs.files import RunFileSystem
from idfkit_fs.runs.record import RECORD_NAME, RunRecord

if TYPE_CHECKING:
    import pandas as pd
    from idfkit.simulation import CSVResult, ErrorReport, ESOResult, HTMLResult, OutputVariableIndex

    from idfkit_fs._outputs.series import Names
    from idfkit_fs.runs.data import RunData

__all__ = ["RunResult", "open_result", "read_record", "result_of"]

_COMPLETED = b"EnergyPlus Completed Successfully"
_OUTPUT_SUFFIXES = (".err", ".end", ".sql", ".eso")


@dataclass(slots=True, eq=False, repr=False)
class RunResult(SimulationResult):
    """A [SimulationResult][idfkit.simulation.result.SimulationResult] at a URL.

    Its lazy properties (``sql``, ``errors``, ``csv``, ``html``, ``eso``, ``mtr``, ``variables``) and their ``async_``
    twins fetch just the file that they need. ``sql`` opens a local copy that is kept for the next time.

    Attributes:
        record: The run's record; None if it was opened without one.
    """

    record: RunRecord | None = None
    _cached_data: RunData | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """The run's URL."""
        return self.files.url()

    @property
    def files(self) -> RunFileSystem:
        """The run's files: each is checked against the record, and read through the cache."""
        return cast("RunFileSystem", self.fs)

    def __repr__(self) -> str:
        files = f", {len(self.record.files)} files" if self.record else ""
        return f"RunResult({redact(self.url)!r}, success={self.success}{files})"

    def __reduce__(self) -> Any:
        return result_of, (self.files, self.record, None if self.record else self.success, self.output_prefix)

    def _find_output_file(self, suffix: str) -> Path | None:
        if self.record is None:
            # No super(): a class with slots is made anew by the decorator.
            return SimulationResult._find_output_file(self, suffix)
        name = self.record.output(suffix)
        return None if name is None else self.run_dir / name

    @property
    def sql(self) -> SQLResult | None:
        """The SQLite output, opened read-only in a local copy; None if the run has none."""
        if not isinstance(self._cached_sql, SQLResult | None):
            self._cached_sql = _opened(self._leased_sql())
        opened: SQLResult | None = self._cached_sql
        return opened

    async def async_sql(self) -> SQLResult | None:
        """As ``sql``, fetched in a thread; it is opened in the caller's, for SQLite keeps to one."""
        if not isinstance(self._cached_sql, SQLResult | None):
            self._cached_sql = _opened(await asyncio.to_thread(self._leased_sql))
        return self.sql

    def timeseries(
        self,
        variables: Names = "*",
        *,
        keys: Names | None = None,
        frequency: str | None = None,
        environment: Names | None = None,
    ) -> pd.DataFrame:
        """What EnergyPlus reported over time.

        It is read from the run's sidecars, of which only these series are fetched; a run without such gives the same
        from its ``.sql``, which is fetched whole.

        Args:
            variables: Names of output variables and meters. In all names, case does not matter and ``*`` stands for
                any characters.
            keys: Key values, such as names of zones; None for all.
            frequency: The reporting frequency, such as ``"hourly"``, ``"timestep"`` or ``"detailed"``; None for the one
                at which they are reported.
            environment: Names of environments; None for the run periods, or for the sizing periods of a run that has
                no run period.

        Returns:
            One column a series, in the order asked for, named as in EnergyPlus's CSV with its units, such as
            ``"OFFICE:Zone Mean Air Temperature [C](Hourly)"``. The index is the end of each interval in local standard
            time, after the environment's name if there are several. ``attrs["units"]`` and ``attrs["keys"]`` tell the
            units and key values by these names; pandas does not change them when you rename columns or divide.

        Raises:
            NotReportedError: If there is no such variable, key or environment, and it lists the nearest; or if the run
                has no SQLite output.
            ValueError: If the variables are reported at several frequencies and none is given.
            MissingExtraError: If pandas or pyarrow is not installed.

        Examples:
            >>> frame = result.timeseries("Zone Mean Air Temperature", frequency="hourly")  # doctest: +SKIP
            >>> frame.rename(columns=frame.attrs["keys"]).plot(ylabel="C")  # doctest: +SKIP
            >>> result.timeseries("Electricity:Facility").sum() / 3.6e6  # kWh  # doctest: +SKIP
        """
        data = self.data
        series = data.find(variables, keys, frequency)
        from idfkit_fs._outputs.frames import series_frame

        at = series[0].frequency
        return series_frame(data.read(at, series, data.period(at, environment)))

    def tabular(self, report: str = "*", table: str = "*", row: str = "*", column: str = "*") -> pd.DataFrame:
        """The cells of EnergyPlus's tabular reports.

        Args:
            report: Such as ``"AnnualBuildingUtilityPerformanceSummary"``. In all names, case does not matter and ``*``
                stands for any characters.
            table: Such as ``"End Uses"``.
            row: Such as ``"Heating"``.
            column: Such as ``"District Heating Water"``.

        Returns:
            One row a cell, in EnergyPlus's order: ``report``, ``report_for``, ``table``, ``row``, ``column``,
            ``units``, ``value`` as EnergyPlus wrote it, and ``number``, which is NaN where it is none.

        Raises:
            NotReportedError: If there is no such cell, and it lists the nearest names; or if the run has no SQLite
                output.
            MissingExtraError: If pandas or pyarrow is not installed.

        Examples:
            >>> result.tabular("AnnualBuilding*", "End Uses", "Heating")  # doctest: +SKIP
        """
        cells = self.data.cells()
        from idfkit_fs._outputs.frames import chosen_cells

        return chosen_cells(cells, report=report, table=table, row=row, column=column)

    @property
    def data(self) -> RunData:
        """What the run reports, as NumPy has it."""
        if self._cached_data is None:
            for package in ("pandas", *SIDECAR_PACKAGES):
                require(package, "pandas", "reading results")
            from idfkit_fs.runs.data import RunData

            self._cached_data = RunData(self.files, self.record, to_text(self.sql_path) if self.sql_path else None)
        return self._cached_data

    def _repr_html_(self) -> str:
        rows = {"state": "ok" if self.success else "failed"}
        if self.record:
            size = sum(file.size for file in self.record.files)
            rows |= {
                "EnergyPlus": self.record.energyplus_version or "",
                "finished": f"{self.record.finished:%Y-%m-%d %H:%M} UTC",
                "runtime": f"{self.record.runtime_seconds:.1f} s",
                "flags": ", ".join(f"{name}={value}" for name, value in self.record.flags.items()),
                "files": f"{len(self.record.files)} ({ByteSize(size).human_readable(decimal=True, separator=' ')})",
            }
        body = "".join(f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in rows.items() if text)
        return f"<table><caption>{escape(f'RunResult({redact(self.url)!r})')}</caption><tbody>{body}</tbody></table>"

    def _leased_sql(self) -> LocalCopy | None:
        path = self.sql_path
        return None if path is None else self.files.local_copy(path)

    async def async_errors(self) -> ErrorReport:
        """As ``errors``, fetched in a thread."""
        return await asyncio.to_thread(lambda: self.errors)

    async def async_csv(self) -> CSVResult | None:
        """As ``csv``, fetched in a thread."""
        return await asyncio.to_thread(lambda: self.csv)

    async def async_html(self) -> HTMLResult | None:
        """As ``html``, fetched in a thread."""
        return await asyncio.to_thread(lambda: self.html)

    async def async_eso(self) -> ESOResult | None:
        """As ``eso``, fetched in a thread."""
        return await asyncio.to_thread(lambda: self.eso)

    async def async_mtr(self) -> ESOResult | None:
        """As ``mtr``, fetched in a thread."""
        return await asyncio.to_thread(lambda: self.mtr)

    async def async_variables(self) -> OutputVariableIndex | None:
        """As ``variables``, fetched in a thread."""
        return await asyncio.to_thread(lambda: self.variables)


def _opened(copy: LocalCopy | None) -> SQLResult | None:
    if copy is None:
        return None
    try:
        # idfkit puts the path into a file: URI as it is.
        opened = SQLResult(quote(copy.path.as_posix(), safe="/:"))
    except BaseException:
        copy.release()
        raise
    weakref.finalize(opened, lambda kept: kept.release(), copy)
    return opened


def open_result(
    url: Location,
    *,
    storage_options: dict[str, Any] | None = None,
    require_record: bool = True,
    immutable: bool = False,
) -> RunResult:
    """Open the run that was published at a URL.

    What is read of it is kept in the [cache][idfkit_fs.cache], by its hash in the run's record, so that reading it
    again asks nothing of the store. Opening asks for the record, which is small, to see that no other run stands
    there now.

    Args:
        url: The run's URL, a plain path, or a ``UPath``.
        storage_options: What the store's fsspec class takes.
        require_record: False to open a run without a record too, such as plain idfkit writes; its ``success`` is then
            read from what EnergyPlus says in its ``.end`` file, and ``exit_code`` is None.
        immutable: True if nothing is ever published over this run: a record that this machine has seen is then good
            for ever, and what was read once can be read without a network.

    Returns:
        The result. Only the record was read; files are fetched when they are asked for.

    Raises:
        FileNotFoundError: If no run is there; the message says what is.
        RecordError: If the record is damaged, unsafe, or of a newer format.
        PermissionError: If the store refuses access.
        ConnectionError: If the store does not answer.

    Examples:
        >>> open_result("s3://bucket/study-001/case-42").sql.get_timeseries(  # doctest: +SKIP
        ...     "Zone Mean Air Temperature", "OFFICE")
    """
    fs = FsspecFileSystem.from_url(url, **(storage_options or {}))
    known = _recall_record(fs) if immutable else None
    record = known or read_record(fs)
    if record is not None:
        if not known:
            _remember_record(fs, record)
        return result_of(fs, record)
    outputs = [name for name in fs.glob("", "*") if name.endswith(_OUTPUT_SUFFIXES)]
    if require_record or not outputs:
        raise RunNotFoundError(2, _what_is_there(fs, outputs), redact(fs.url()))
    return result_of(fs, None, *_how_it_ended(fs, outputs))


def read_record(fs: FsspecFileSystem) -> RunRecord | None:
    """The record of the run at a filesystem's root, or None if there is none."""
    try:
        data = fs.fetch(RECORD_NAME)  # never a copy
    except BucketNotFoundError:
        raise
    except FileNotFoundError:
        return None
    return RunRecord.from_json(data, redact(fs.url(RECORD_NAME)))


def _place_of_record(fs: FsspecFileSystem) -> Version | None:
    """Where this machine remembers the record of the run at a filesystem's root; None if it had better not."""
    store = None if fs.reads_in_place else fs.identity
    return None if store is None else Version(repr((store, fs.key(RECORD_NAME), "record")), RECORD_NAME)


def _recall_record(fs: FsspecFileSystem) -> RunRecord | None:
    """The record that this machine saw last at a filesystem's root."""
    place = _place_of_record(fs)
    data = place and fs.cache.recall(place)
    return RunRecord.from_json(data, redact(fs.url(RECORD_NAME))) if data else None


def _remember_record(fs: FsspecFileSystem, record: RunRecord) -> None:
    place = _place_of_record(fs)
    if place:
        fs.cache.remember(place, record.to_json())


def _how_it_ended(fs: FsspecFileSystem, outputs: list[str]) -> tuple[bool, str]:
    """Success and output prefix of a run without record, from EnergyPlus's own ``.end`` file."""
    ends = [name for name in outputs if name.endswith(".end")]
    first = min(ends or outputs, key=len)
    prefix = Path(first).stem
    return any(_COMPLETED in fs.read_bytes(name) for name in ends), prefix.removesuffix("out") or prefix


def _what_is_there(fs: FsspecFileSystem, outputs: list[str]) -> str:
    if outputs:
        return (
            "EnergyPlus outputs stand here without a run's record: plain idfkit wrote them, or publishing has not "
            "finished; open_result(..., require_record=False) opens them all the same"
        )
    if fs.exists(""):
        return "This directory holds no run; give the URL of the run itself, such as .../case-42"
    return "Nothing stands here; check the URL"


def result_of(
    fs: FsspecFileSystem, record: RunRecord | None, success: bool | None = None, output_prefix: str = "eplus"
) -> RunResult:
    """The result of a run whose record is known already; without one, *success* and *output_prefix* stand in."""
    files = RunFileSystem.of(fs, None if record is None else record.files)
    return RunResult(
        run_dir=Path(files.local_root or files.url()),
        success=bool(success) if record is None else record.success,
        exit_code=None if record is None else record.exit_code,
        stdout="" if record is None else record.stdout,
        stderr="" if record is None else record.stderr,
        runtime_seconds=0.0 if record is None else record.runtime_seconds,
        output_prefix=output_prefix if record is None else record.output_prefix,
        fs=files,
        record=record,
    )
