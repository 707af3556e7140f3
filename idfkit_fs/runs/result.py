"""Open a run at a URL, from any machine, and fetch only what is read."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from idfkit.simulation import SimulationResult, SQLResult
from pydantic import ByteSize

from idfkit_fs._cache.store import LocalCopy, Version
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.ending import Ending
from idfkit_fs._outputs.naming import stems_in
from idfkit_fs._outputs.sidecars import SIDECAR_PACKAGES
from idfkit_fs._outputs.sqlite_file import connect, problem_of_shape, why_not
from idfkit_fs._util.interrupts import run_stoppable
from idfkit_fs._util.messages import printable, redact
from idfkit_fs._util.optional_deps import require
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import byte_progress_bar
from idfkit_fs._util.urls import Location, last_name, to_text
from idfkit_fs.errors import NotReportedError, PermissionDeniedError, RunNotFoundError, UnreadableDatabaseError
from idfkit_fs.runs.download import check_chosen, chosen_files, local_directory, save
from idfkit_fs.runs.existing import find_existing, find_outputs
from idfkit_fs.runs.files import RunFileSystem
from idfkit_fs.runs.record import RECORD_NAME, RunRecord
from idfkit_fs.runs.register import read_record
from idfkit_fs.runs.variables import RunVariables

if TYPE_CHECKING:
    import pandas as pd
    from idfkit.simulation import CSVResult, ErrorReport, ESOResult, HTMLResult, OutputVariableIndex

    from idfkit_fs._outputs.series import Names
    from idfkit_fs.runs.data import RunData

__all__ = ["STUDY_FILE", "RunResult", "open_result", "open_run", "result_of", "what_exists"]

STUDY_FILE = "_study/study.json"  # studies are built on runs, so their own constant cannot be imported here
_SUBDIRECTORIES = 32


@dataclass(slots=True, eq=False, repr=False)
class RunResult(SimulationResult):
    """The ``SimulationResult`` of idfkit at a URL.

    The lazy properties (``sql``, ``errors``, ``csv``, ``html``, ``eso``, ``mtr``, ``variables``) and the ``async_``
    methods of the same names fetch only the file that they need. ``sql`` opens a local copy, which the cache keeps.
    ``variables()`` and [reports][idfkit_fs.RunResult.reports] list what the run reports.

    Attributes:
        record: The run's record; None if the run was opened without one.
        message: Why the run is not a success, in EnergyPlus's own words if it has any; None for a successful run.
        home: A filesystem with the run's URL as its root.
    """

    record: RunRecord | None = None
    message: str | None = None
    home: FsspecFileSystem = field(kw_only=True)
    _cached_data: RunData | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """The run's URL."""
        return self.home.url()

    @property
    def files(self) -> RunFileSystem:
        """The run's files; each is checked against the record and read through the cache."""
        return cast("RunFileSystem", self.fs)

    def __repr__(self) -> str:
        files = f", {len(self.record.files)} files" if self.record else ""
        message = f", message={shorten(self.message, 200)!r}" if self.message else ""
        return f"RunResult({redact(self.url)!r}, success={self.success}{message}{files})"

    def __reduce__(self) -> Any:
        ending = None if self.record else Ending(self.success, False, self.message, None, None)
        return result_of, (self.home, self.record, ending, self.output_prefix)

    def _find_output_file(self, suffix: str) -> Path | None:
        if self.record is None:
            outputs = find_outputs(self.files, self.output_prefix)
            name = None if outputs is None else outputs.name(suffix)
        else:
            name = self.record.output(suffix)
        return None if name is None else self.run_dir / name

    @property
    def sql(self) -> SQLResult | None:
        """The SQLite output, opened read-only in a local copy; None if a successful run has none.

        Raises:
            NotReportedError: If EnergyPlus failed, and the run has none.
            UnreadableDatabaseError: If it is not an output of EnergyPlus: damaged, or with views, triggers or computed
                columns that EnergyPlus does not write.
        """
        if not isinstance(self._cached_sql, SQLResult | None):
            self._cached_sql = self._open_sql(self.local_sql())
        opened: SQLResult | None = self._cached_sql
        return opened

    def _open_sql(self, copy: LocalCopy | None) -> SQLResult | None:
        if copy is None and not self.success:
            raise NotReportedError(f"{self._failure()} (The run has no SQLite output)")
        return _opened(copy, redact(self.url))

    def _failure(self) -> str:
        """How EnergyPlus failed, and where to read more; empty for a successful run."""
        if self.success:
            return ""
        err = self._find_output_file(".err")
        more = "" if err is None else f"; read {redact(self.files.url(err))}"
        return f"EnergyPlus failed: {shorten(self.message or 'it did not complete', 300)}{more}"

    async def async_sql(self) -> SQLResult | None:
        """Open the SQLite output without blocking the event loop.

        The file is fetched in a thread. It is opened in the thread of the caller, because a SQLite connection belongs
        to one thread.

        Returns:
            The SQLite output, opened read-only in a local copy; None if a successful run has none.

        Raises:
            NotReportedError: If EnergyPlus failed, and the run has none.
            DamagedRunError: If the file differs from the run's record.
            StoreError: If the store failed, refused access, or did not answer.

        Examples:
            >>> sql = await result.async_sql()  # doctest: +SKIP
            >>> sql.get_timeseries("Zone Mean Air Temperature", "OFFICE")  # doctest: +SKIP
        """
        if not isinstance(self._cached_sql, SQLResult | None):
            self._cached_sql = self._open_sql(await asyncio.to_thread(self.local_sql))
        return self.sql

    def timeseries(
        self,
        variables: Names = "*",
        *,
        keys: Names | None = None,
        frequency: str | None = None,
        environment: Names | None = None,
    ) -> pd.DataFrame:
        """Read time series of output variables and meters.

        They are read from the run's sidecars, of which only these series are fetched. A run without sidecars gives the
        same values from its ``.sql``, which is fetched whole.

        Args:
            variables: Names of output variables and meters. In all names, case does not matter and ``*`` matches any
                characters.
            keys: Key values, such as names of zones; None for all.
            frequency: The reporting frequency, such as ``"hourly"``, ``"timestep"`` or ``"detailed"``; None if the
                variables are reported at one frequency only.
            environment: Names of environments; None for the run periods, or for the sizing periods if the run has no
                run period.

        Returns:
            One column a series, in the order of *variables*, named as in EnergyPlus's CSV with its units, such as
            ``"OFFICE:Zone Mean Air Temperature [C](Hourly)"``. The index is the end of each interval in local standard
            time; with several environments, their names are the first level of the index. ``attrs["units"]`` and
            ``attrs["keys"]`` map the column names to units and key values; pandas does not update them when you rename
            or convert columns.

        Raises:
            NotReportedError: If the run does not report such a variable, key or environment (the message lists the
                nearest), or has no SQLite output. If EnergyPlus failed, the message begins with its error.
            ValueError: If the variables are reported at several frequencies and *frequency* is None.
            MissingExtraError: If pandas or pyarrow is not installed.
            StoreError: If the store failed, refused access, or did not answer.

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
        """Read cells of EnergyPlus's tabular reports.

        Args:
            report: Name of the report, such as ``"AnnualBuildingUtilityPerformanceSummary"``. In all names, case does
                not matter and ``*`` matches any characters.
            table: Name of the table, such as ``"End Uses"``.
            row: Name of the row, such as ``"Heating"``.
            column: Name of the column, such as ``"District Heating Water"``.

        Returns:
            One row a cell, in EnergyPlus's order: ``row``, ``column``, ``number`` (NaN if the text is not a number),
            ``report``, ``report_for``, ``table``, ``units`` and ``value`` (the text that EnergyPlus wrote). A narrow
            terminal leaves out columns in the middle.

        Raises:
            NotReportedError: If the run has no such cell (the message lists the nearest names), or no SQLite output.
                If EnergyPlus failed, the message begins with its error.
            MissingExtraError: If pandas or pyarrow is not installed.
            StoreError: If the store failed, refused access, or did not answer.

        Examples:
            >>> result.tabular("AnnualBuilding*", "End Uses", "Heating")  # doctest: +SKIP
        """
        cells = self.data.cells()
        from idfkit_fs._outputs.frames import chosen_cells

        with self.data.explaining("result.reports() lists the reports and tables"):
            chosen = chosen_cells(cells, report=report, table=table, row=row, column=column)
        return chosen.to_pandas(use_threads=False)

    @property
    def variables(self) -> RunVariables:
        """The output variables and meters: call it to list those that the run reports.

        ``result.variables()`` returns one row a series, and reads no values. As idfkit's property, it also has
        ``variables``, ``meters`` and ``search()``: all that the model could report, by the ``.rdd`` and ``.mdd`` files.

        Examples:
            >>> result.variables()  # doctest: +SKIP
            >>> result.variables.search("Air Temperature")  # doctest: +SKIP
        """
        return RunVariables(self._list_variables, self._available)

    def _list_variables(self) -> pd.DataFrame:
        catalog = self.data.catalog()
        if not catalog and not self.success:
            raise NotReportedError(f"{self._failure()} (The run reports no output variables and no meters)")
        from idfkit_fs._outputs.frames import variables_frame

        return variables_frame(catalog)

    def _available(self) -> OutputVariableIndex | None:
        index: OutputVariableIndex | None = SimulationResult.variables.__get__(self)
        return index

    def reports(self) -> pd.DataFrame:
        """List the tables of EnergyPlus's tabular reports.

        Of a run with sidecars, ``tabular.parquet`` is read, which is small; otherwise the ``.sql`` is fetched.

        Returns:
            One row a table, in EnergyPlus's order: its ``report``, ``report_for`` (such as ``"Entire Facility"``, or a
            zone), the numbers of its ``rows`` and ``columns``, and ``table``; as [tabular][idfkit_fs.RunResult.tabular]
            takes them.

        Raises:
            NotReportedError: If the run has no tabular reports, or no SQLite output.
            MissingExtraError: If pandas or pyarrow is not installed.
            StoreError: If the store failed, refused access, or did not answer.

        Examples:
            >>> listed = result.reports()  # doctest: +SKIP
            >>> listed[listed["table"].str.contains("Peak")]  # doctest: +SKIP
        """
        cells = self.data.cells()
        from idfkit_fs._outputs.frames import reports_frame

        return reports_frame(cells)

    def download(
        self,
        directory: Location,
        *,
        include: Sequence[str] = ("**",),
        overwrite: bool = False,
        progress: bool = False,
    ) -> Path:
        """Download the run. Each file is checked against the run's record, and written through no link.

        Args:
            directory: A local directory, which [open_result][idfkit_fs.open_result] then opens without a network. One
                that has files of the same run keeps them.
            include: Glob patterns of the files to download.
            overwrite: Whether to replace files in *directory* that differ from the run's.
            progress: Whether to show a progress bar.

        Returns:
            The directory.

        Raises:
            RunNotFoundError: If the run has no record.
            RunExistsError: If another run was downloaded into *directory* before.
            ExistsError: If *directory* has a file that is not the run's, or a link where a directory is needed; a
                ``FileExistsError``. Then nothing is downloaded.
            NotFoundError: If *include* matches none of the files.
            DamagedRunError: If a file differs from the run's record.
            LocationError: If *directory* is a URL, or a pattern is invalid.
            StoreError: If the store failed, refused access, or did not answer.

        Examples:
            >>> result.download("results/case-42", include=["*.sql", "*.err"])  # doctest: +SKIP
            PosixPath('results/case-42')
        """
        target = local_directory(directory)
        include = [include] if isinstance(include, str) else include
        files = chosen_files(self.record, include)
        check_chosen(self.url, include, len(self.record.files if self.record else ()), len(files))
        total = sum(file.size for file in files)
        with byte_progress_bar(total, f"Downloading {last_name(self.url)}", progress) as done:
            run_stoppable(lambda: save(self.files, self.record, files, target, done, overwrite=overwrite))
        return target

    @property
    def data(self) -> RunData:
        """The run's series and cells as NumPy and Arrow arrays, for this package's own use."""
        if self._cached_data is None:
            for package in ("pandas", *SIDECAR_PACKAGES):
                require(package, "pandas", "reading results")
            from idfkit_fs.runs.data import RunData

            sql = to_text(self.sql_path) if self.sql_path else None
            self._cached_data = RunData(self.files, self.record, sql, self._failure())
        return self._cached_data

    def _repr_html_(self) -> str:
        rows = {"state": "ok" if self.success else "failed", "message": self.message or ""}
        if self.record:
            size = sum(file.size for file in self.record.files)
            rows |= {
                "EnergyPlus": self.record.energyplus_version or "",
                "finished": f"{self.record.finished:%Y-%m-%d %H:%M} UTC" if self.record.finished else "",
                "started": f"{started:%Y-%m-%d %H:%M} (local time)" if (started := self.record.started_local) else "",
                "runtime": f"{self.record.runtime_seconds:.1f} s" if self.record.runtime_seconds is not None else "",
                "flags": ", ".join(f"{name}={value}" for name, value in self.record.flags.items()),
                "files": f"{len(self.record.files)} ({ByteSize(size).human_readable(decimal=True, separator=' ')})",
            }
        shown = {name: escape(printable(text, "\n")) for name, text in rows.items() if text}
        body = "".join(f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in shown.items())
        return f"<table><caption>{escape(f'RunResult({redact(self.url)!r})')}</caption><tbody>{body}</tbody></table>"

    def local_sql(self) -> LocalCopy | None:
        """Get a local copy of the SQLite output.

        Returns:
            The copy, which stays until it is released: a context manager that gives its path. None if the run has no
            SQLite output.

        Raises:
            DamagedRunError: If the file differs from the run's record.
            StoreError: If the store failed, refused access, or did not answer.
        """
        path = self.sql_path
        return None if path is None else self.files.local_copy(path)

    async def async_errors(self) -> ErrorReport:
        """Read EnergyPlus's error report (``.err``) without blocking the event loop.

        Returns:
            The warnings and errors; an empty report if the run has no ``.err`` file.

        Raises:
            DamagedRunError: If the file differs from the run's record.
            StoreError: If the store failed, refused access, or did not answer.
        """
        return await asyncio.to_thread(lambda: self.errors)

    async def async_csv(self) -> CSVResult | None:
        """Read the CSV of the output variables without blocking the event loop.

        Returns:
            The CSV; None if the run has none.

        Raises:
            DamagedRunError: If the file differs from the run's record.
            StoreError: If the store failed, refused access, or did not answer.
        """
        return await asyncio.to_thread(lambda: self.csv)

    async def async_html(self) -> HTMLResult | None:
        """Read the HTML of the tabular reports without blocking the event loop.

        Returns:
            The tables; None if the run has no HTML.

        Raises:
            DamagedRunError: If the file differs from the run's record.
            StoreError: If the store failed, refused access, or did not answer.
        """
        return await asyncio.to_thread(lambda: self.html)

    async def async_eso(self) -> ESOResult | None:
        """Read the output variables from the ``.eso`` file without blocking the event loop.

        Returns:
            The output variables; None if the run has no ``.eso`` file.

        Raises:
            DamagedRunError: If the file differs from the run's record.
            StoreError: If the store failed, refused access, or did not answer.
        """
        return await asyncio.to_thread(lambda: self.eso)

    async def async_mtr(self) -> ESOResult | None:
        """Read the meters from the ``.mtr`` file without blocking the event loop.

        Returns:
            The meters; None if the run has no ``.mtr`` file.

        Raises:
            DamagedRunError: If the file differs from the run's record.
            StoreError: If the store failed, refused access, or did not answer.
        """
        return await asyncio.to_thread(lambda: self.mtr)

    async def async_variables(self) -> OutputVariableIndex | None:
        """Read which output variables and meters are available (``.rdd``, ``.mdd``) without blocking the event loop.

        Returns:
            The index of output variables and meters; None if the run has no ``.rdd`` file.

        Raises:
            DamagedRunError: If a file differs from the run's record.
            StoreError: If the store failed, refused access, or did not answer.
        """
        return await asyncio.to_thread(self._available)


def _opened(copy: LocalCopy | None, name: str) -> SQLResult | None:
    if copy is None:
        return None
    try:
        with contextlib.closing(connect(copy.path)) as connection:
            problem = problem_of_shape(connection)
        if problem:
            raise UnreadableDatabaseError(f"{name} cannot be read as an SQLite output of EnergyPlus: {problem}")
        # idfkit inserts the path into a file: URI without quoting.
        opened = SQLResult(quote(copy.path.as_posix(), safe="/:"))
    except sqlite3.DatabaseError as exc:
        copy.release()
        why = why_not(exc)
        raise UnreadableDatabaseError(f"{name} cannot be read as an SQLite output of EnergyPlus: {why}") from exc
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

    Opening reads only the record, which is small, to find out which run exists there now. Other files are fetched when
    they are read. They are kept in the [cache][idfkit_fs.cache] by their hashes in the record, so reading them again
    needs no request to the store.

    Args:
        url: The run's URL, a plain path, or a ``UPath``.
        storage_options: Options of the store's fsspec class.
        require_record: False to open a run without a record too, such as plain idfkit writes. Its ``success`` is then
            what EnergyPlus's ``.end``, ``.err`` and ``.sql`` say, and its ``exit_code`` is None.
        immutable: True if no other run is ever published at this URL. A record that this machine has read before is
            then used without asking the store, so what was read once can be read again without a network.

    Returns:
        The result.

    Raises:
        RunNotFoundError: If no run exists at the URL; a ``FileNotFoundError``. The message says what exists there:
            nothing, a study, a directory of runs, EnergyPlus outputs without a record, or other files.
        BucketNotFoundError: If the bucket does not exist; a ``FileNotFoundError``.
        RecordError: If the record is damaged, unsafe, or of a newer format.
        PermissionDeniedError: If the store refuses access; a ``PermissionError``.
        UnreachableError: If the store does not answer; a ``ConnectionError``.

    Examples:
        >>> open_result("s3://bucket/study-001/case-42").sql.get_timeseries(  # doctest: +SKIP
        ...     "Zone Mean Air Temperature", "OFFICE")
    """
    fs = FsspecFileSystem.from_url(url, **(storage_options or {}))
    recalled = _recall_record(fs) if immutable else None
    if recalled is not None:
        return result_of(fs, recalled)
    result = open_run(fs, require_record=require_record)
    if result.record is not None:
        _remember_record(fs, result.record)
    return result


def open_run(fs: FsspecFileSystem, *, require_record: bool = True) -> RunResult:
    """Open the run at a filesystem's root, as [open_result][idfkit_fs.open_result] does.

    Args:
        fs: The filesystem.
        require_record: False to open a run without a record too.

    Returns:
        The result.
    """
    record = read_record(fs)
    if record is not None:
        return result_of(fs, record)
    existing = None if require_record else find_existing(fs)
    if existing is None:
        raise RunNotFoundError.for_url(fs.url(), what_exists(fs))
    return result_of(fs, None, existing.ending, existing.outputs.prefix)


def _cached_record(fs: FsspecFileSystem) -> Version | None:
    """Under which key the cache keeps the record of the run at a filesystem's root; None if it keeps none."""
    store = None if fs.reads_in_place else fs.identity
    return None if store is None else Version(repr((store, fs.key(RECORD_NAME), "record")), RECORD_NAME)


def _recall_record(fs: FsspecFileSystem) -> RunRecord | None:
    """The record that this machine read last at a filesystem's root."""
    key = _cached_record(fs)
    data = None if key is None else fs.cache.recall(key)
    return RunRecord.from_json(data, redact(fs.url(RECORD_NAME))) if data else None


def _remember_record(fs: FsspecFileSystem, record: RunRecord) -> None:
    key = _cached_record(fs)
    if key is not None:
        fs.cache.remember(key, record.to_json())


def what_exists(fs: FsspecFileSystem) -> str:
    """Say what exists at a URL that has no record, and what to do.

    Args:
        fs: A filesystem with the URL as its root.

    Returns:
        The text of an error.
    """
    try:
        names = fs.glob("", "*")
    except PermissionDeniedError as exc:
        return f"No run's record exists here, and the login may not see what else does; check the URL ({exc.strerror})"
    if stems_in(names):
        return (
            "EnergyPlus outputs exist here without a run's record: plain idfkit wrote them, or they are not completely "
            "published; pass require_record=False to open them, or give them a record with publish(url, url)"
        )
    if fs.call(fs.key(""), lambda store: store.isfile(fs.key(""))):
        return "This is a file; give the directory of the run"
    if fs.exists(STUDY_FILE):
        return "This is a study, not a run; open it with idfkit_fs.Study, or give the URL of one of its cases"
    if not fs.exists(""):
        return "Nothing exists here; check the URL"
    run = _a_run_below(fs)
    if run is not None:
        return f"This directory holds runs, but is not a run itself; give the URL of one of them, such as .../{run}"
    return "This directory holds no run: it has no record and no EnergyPlus outputs; check the URL"


def _a_run_below(fs: FsspecFileSystem) -> str | None:
    """The name of a run in a directory; only the first few subdirectories are looked at, for there may be thousands."""
    try:
        entries = fs.store.ls(fs.key(""), detail=True)
        directories = [
            entry["name"].rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory"
        ]
        looked_at = directories[:_SUBDIRECTORIES]
        has_run = parallel_map(lambda name: _is_run(fs.joinpath(name).glob("", "*")), looked_at)
    except Exception:  # noqa: BLE001 - it would only make the message more precise
        return None
    return next((name for name, has in zip(looked_at, has_run, strict=True) if has), None)


def _is_run(names: Sequence[str]) -> bool:
    return RECORD_NAME in names or bool(stems_in(names))


def result_of(
    fs: FsspecFileSystem, record: RunRecord | None, ending: Ending | None = None, output_prefix: str = "eplus"
) -> RunResult:
    """Make the result of a run whose record was read already.

    Args:
        fs: A filesystem with the run's URL as its root.
        record: The record; None for a run without one.
        ending: How a run without a record ended.
        output_prefix: Prefix of the output files of a run without a record.

    Returns:
        The result.
    """
    directory = "" if record is None else record.directory
    files = RunFileSystem.of(fs.joinpath(directory) if directory else fs, None if record is None else record.files)
    seconds = None if record is None else record.runtime_seconds
    return RunResult(
        run_dir=Path(files.local_root or files.url()),
        success=record.success if record else ending is not None and ending.success,
        exit_code=None if record is None else record.exit_code,
        stdout="" if record is None else record.stdout,
        stderr="" if record is None else record.stderr,
        runtime_seconds=math.nan if seconds is None else seconds,
        output_prefix=output_prefix if record is None else record.output_prefix,
        fs=files,
        record=record,
        message=record.message if record else ending and ending.message,
        home=fs,
    )
