"""The series and cells of a run: from its sidecars if it has them, otherwise from its ``.sql`` file."""

from __future__ import annotations

import contextlib
import functools
import operator
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from idfkit_fs._outputs.database import NO_DATABASE, Database, no_tables
from idfkit_fs._outputs.parquet import (
    arrow_schema,
    compressed_size,
    footer_of,
    read_columns,
    read_end,
    read_whole,
    start_of,
    unpacked_end,
    with_end,
)
from idfkit_fs._outputs.series import FREQUENCIES, Environment, Names, Series, as_names, choose, parse_frequency
from idfkit_fs._outputs.sidecars import (
    ENVIRONMENT,
    SIDECARS,
    TABULAR,
    TIME,
    Contents,
    check_cells,
    column_digests,
    series_name,
    series_of,
    when_digests,
)
from idfkit_fs._outputs.source import DatabaseSource, Source
from idfkit_fs._outputs.values import Period, Values, choose_period
from idfkit_fs._util.bounds import TABULAR_BYTES
from idfkit_fs._util.caller import warn_caller
from idfkit_fs._util.messages import redact
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs.errors import DamagedRunError, NotReportedError, SidecarError, UnreadableDatabaseError
from idfkit_fs.runs.files import RunFileSystem
from idfkit_fs.runs.ranges import fetching_ranges
from idfkit_fs.runs.record import RecordedFile, RunRecord

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["RunData"]

T = TypeVar("T")
_UNUSABLE = (DamagedRunError, FileNotFoundError, SidecarError)


class RunData:
    """What a run reports.

    Args:
        files: The run's files.
        record: The run's record; None for a run without one, whose sidecars cannot be verified and are not used.
        sql: The name of its ``.sql`` file; None if it has none.
        failure: How EnergyPlus failed, with which errors begin; empty for a successful run.
    """

    def __init__(self, files: RunFileSystem, record: RunRecord | None, sql: str | None, failure: str = "") -> None:
        self._files, self._record, self._sql, self._failure = files, record, sql, failure
        self._sidecars = (
            _Sidecars(files, record) if record and any(file.name in SIDECARS for file in record.files) else None
        )

    def __reduce__(self) -> Any:
        return RunData, (self._files, self._record, self._sql, self._failure)

    @property
    def url(self) -> str:
        """The URL of the run's files."""
        return self._files.url()

    def find(self, variables: Names, keys: Names | None = None, frequency: str | None = None) -> list[Series]:
        """The series that match; arguments and errors as in [choose][idfkit_fs._outputs.series.choose]."""
        wanted = None if frequency is None else parse_frequency(frequency)
        variables, keys = as_names(variables), None if keys is None else as_names(keys)
        catalog = self.catalog(wanted)
        with self.explaining("result.variables() lists what the run reports"):
            try:
                return choose(catalog, variables, keys, wanted)
            except NotReportedError:
                if wanted is None:
                    raise
                # Choose again from all frequencies, so that the message names those that are reported.
                return choose(self.catalog(), variables, keys, wanted)

    def catalog(self, frequency: str | None = None) -> Sequence[Series]:
        """All series of one frequency; None for all frequencies."""
        return self._ask(lambda source: source.series(frequency))

    def period(self, frequency: str, environment: Names | None) -> Period:
        """The periods that match; see [choose_period][idfkit_fs._outputs.values.choose_period]."""
        return choose_period(self._ask(lambda source: source.environments(frequency)), environment)

    def read(self, frequency: str, series: Sequence[Series], period: Period) -> Values:
        """Read series of one frequency; without any series, only their times.

        Raises:
            NotReportedError: If nothing is reported at this frequency in the period.
        """
        values = self._ask(lambda source: source.read(frequency, series, period))
        if not len(values.times):
            names = ", ".join(map(repr, sorted(period.names)))
            raise NotReportedError(f"Nothing is reported at the frequency {frequency!r} for {names}")
        return values

    def cells(self) -> pa.Table:
        """All cells of the tabular reports.

        Raises:
            NotReportedError: If the run has none.
        """
        return self._ask(operator.methodcaller("cells"))

    @contextlib.contextmanager
    def explaining(self, remedy: str = "") -> Iterator[None]:
        """Say with an error about something that is missing that EnergyPlus failed; otherwise what to do.

        Args:
            remedy: What to do if the run is a successful one.
        """
        try:
            yield
        except (NotReportedError, UnreadableDatabaseError) as exc:
            if not self._failure:
                if not remedy or isinstance(exc, UnreadableDatabaseError):
                    raise
                raise type(exc)(f"{exc}; {remedy}") from exc
            if str(exc).startswith(self._failure):
                raise
            raise type(exc)(f"{self._failure} ({exc})") from exc

    def only(self, frequency: str) -> RunData:
        """The same run without what only other frequencies need: thousands are kept, and sent to other processes."""
        record = self._record
        if record is None:
            return RunData(self._files, None, self._sql, self._failure)
        sidecars = () if self._sidecars is None else _both(frequency)
        wanted = {record.output(".sql"), *sidecars}
        files = tuple(file for file in record.files if file.name in wanted)
        less = record.model_copy(
            update={
                "files": files,
                "inputs": (),
                "flags": {},
                "stdout": "",
                "stderr": "",
                "sidecar_footers": {name: record.sidecar_footers.get(name, "") for name in sidecars},
            }
        )
        return RunData(RunFileSystem.of(self._files, files), less, self._sql, self._failure)

    def size(self, frequency: str, series: Sequence[Series], period: Period) -> int:
        """About how many bytes series take when they are compressed; without sidecars, how many they take at all."""
        if self._sidecars is None:
            return 8 * len(series) * len(self.read(frequency, (), period).times)
        return self._sidecars.size(frequency, series, period)

    def forget(self) -> None:
        """Close what is open: with thousands of runs, it takes memory, and room in the cache."""
        self.__dict__.pop("_database", None)
        if self._sidecars is not None:
            self._sidecars.opened.clear()

    def _ask(self, question: Callable[[Source], T]) -> T:
        sidecars = self._sidecars  # another thread may set it to None
        with self.explaining():
            if sidecars is not None:
                try:
                    return question(sidecars)
                except _UNUSABLE as exc:
                    if self._sql is None:
                        raise
                    warn_caller(f"Reading the whole database of {redact(self._files.url())}: {exc}")
                    self._sidecars = None
            return question(self._database)

    @functools.cached_property
    def _database(self) -> DatabaseSource:
        if self._sql is None:
            published = "" if self._record is None else "; or include and exclude kept it and its sidecars out"
            raise NotReportedError(f"{NO_DATABASE}{published}")
        copy = self._files.local_copy(self._sql)
        return DatabaseSource(Database(copy.path, redact(self._files.url(self._sql))), copy)


class _Opened(NamedTuple):
    """A sidecar of series, of which only the end has been read: the footer, and the times before it."""

    end: bytes
    footer: pq.FileMetaData
    contents: Contents
    series: tuple[Series, ...]


class _Sidecars:
    """The sidecars of a run, read by ranges.

    Nothing that is read is trusted before it is checked against the record: of a sidecar of series, the record has the
    hash of the footer, and the footer has the digest of each column; ``tabular.parquet`` is read whole, and the record
    has its hash. The record has short footers themselves, with the times before them. A sidecar that was made from
    another ``.sql`` file than the run's is not used.
    """

    def __init__(self, files: RunFileSystem, record: RunRecord) -> None:
        self._files = files
        self._known = {file.name: file for file in record.files if file.name in SIDECARS}
        self._run, self._footers, self._sql_sha256 = record.id, record.sidecar_footers, record.sql_sha256
        self._ends = record.sidecar_ends
        self._has_database = record.output(".sql") is not None
        self.opened: dict[str, _Opened] = {}

    def series(self, frequency: str | None) -> Sequence[Series]:
        names = []
        for each in FREQUENCIES if frequency is None else (frequency,):
            reported = self._reported(each)
            published = [name for name in reported if name in self._known]
            # With the .sql file, a sidecar that was not published leads to it; without, the published ones must do.
            names += (reported if self._has_database or (frequency and not published) else published)[:1]
        opened = parallel_map(self._open, names) if len(names) > 1 else map(self._open, names)
        return [series for each in opened for series in each.series]

    def environments(self, frequency: str) -> Sequence[Environment]:
        return self._open(self._nearest(frequency)).contents.environments

    def read(self, frequency: str, series: Sequence[Series], period: Period) -> Values:
        parts = [self._read(name, series) for name in self._in(frequency, period)]
        return Values.joined(series, parts).of(period.names)

    def size(self, frequency: str, series: Sequence[Series], period: Period) -> int:
        columns = [each.column for each in series]
        return sum(compressed_size(self._open(name).footer, columns) for name in self._in(frequency, period))

    def _in(self, frequency: str, period: Period) -> list[str]:
        """The sidecars with the values of a frequency in a period."""
        wanted = [series_name(frequency, sizing) for sizing in period.kinds]
        return [name for name in self._reported(frequency) if name in wanted]

    def cells(self) -> pa.Table:
        file = self._file(TABULAR)
        if file.size > TABULAR_BYTES:
            raise SidecarError(f"{TABULAR} cannot be used: it is larger than {TABULAR_BYTES:,} bytes")
        try:
            table = read_whole(self._files.read_bytes(file.name))
            check_cells(table.schema)
        except SidecarError as exc:
            raise SidecarError(f"{TABULAR} cannot be used: {exc}") from exc
        contents = self._checked(TABULAR, Contents.of(table.schema.metadata))
        if not table.num_rows:
            raise NotReportedError(no_tables(contents.has_cells))
        return table.replace_schema_metadata(None)

    def _reported(self, frequency: str) -> list[str]:
        """The sidecars of a frequency that the ``.sql`` file has values for, published or not; run periods first."""
        reported = self._open(self._nearest(frequency)).contents.sidecars
        return [name for name in _both(frequency) if name in reported]

    def _nearest(self, frequency: str) -> str:
        """A published sidecar: of this frequency if possible, otherwise an open one, otherwise one of series."""
        opened = list(self.opened)  # a copy, because another thread may open one
        others = sorted(self._known, key=lambda name: name == TABULAR)
        return next(name for name in (*_both(frequency), *opened, *others) if name in self._known)

    def _open(self, name: str) -> _Opened:
        """Read a sidecar's footer.

        Raises:
            SidecarError: If it was not published, or is not the run's.
        """
        opened = self.opened.get(name)
        if opened is None:
            file, sha256 = self._file(name), self._footers.get(name, "")
            with fetching_ranges(self._files, self._run, file, [sha256]) as fetch:
                try:
                    packed = self._ends.get(name)
                    end = read_end(file.size, fetch) if packed is None else unpacked_end(packed)
                    footer = footer_of(end, sha256)
                    frequency = name.partition("-")[2].removesuffix(".parquet")
                    series = [] if name == TABULAR else series_of(arrow_schema(footer), frequency)
                    start = start_of(footer, (TIME, ENVIRONMENT))
                except SidecarError as exc:
                    raise SidecarError(f"{name} cannot be used: {exc}") from exc
                contents = self._checked(name, Contents.of(footer.metadata))
            opened = _Opened(end[max(len(end) - file.size + start, 0) :], footer, contents, tuple(series))
            self.opened[name] = opened
        return opened

    def _file(self, name: str) -> RecordedFile:
        file = self._known.get(name)
        if file is None:
            raise SidecarError(f"{name} was not published")
        return file

    def _checked(self, name: str, contents: Contents | None) -> Contents:
        if contents is None or contents.sql_sha256 != self._sql_sha256:
            raise SidecarError(f"{name} was not made from the run's .sql file")
        return contents

    def _read(self, name: str, series: Sequence[Series]) -> Values:
        opened = self._open(name)
        every = [TIME, ENVIRONMENT, *(each.column for each in opened.series)]
        known = dict(zip(every, opened.contents.digests, strict=False))
        when = self._times(name, (known.get(TIME, ""), known.get(ENVIRONMENT, "")))
        wanted = [each.column for each in series]
        if not wanted:
            return when

        def decode(table: pa.Table) -> tuple[list[npt.NDArray[np.float64]], list[str]]:
            columns = [table.column(column).to_numpy() for column in wanted]
            return columns, column_digests(columns)

        columns = self._columns(name, wanted, [known.get(column, "") for column in wanted], decode)
        if any(len(column) != len(when.times) for column in columns):
            raise SidecarError(f"{name} cannot be used: its values and times are not of one length")
        return replace(when, series=tuple(series), columns=tuple(columns))

    def _times(self, name: str, key: tuple[str, str]) -> Values:
        """The times and environments, which come with the footer; without any series."""
        found = _recent_times.get(key)
        if found is not None:
            return found

        def decode(table: pa.Table) -> tuple[Values, list[str]]:
            when = Values((), table.column(TIME).to_numpy(), _texts(table.column(ENVIRONMENT)), ())
            return when, when_digests(when.times, when.environments)

        when = self._columns(name, [TIME, ENVIRONMENT], [*key], decode)
        _keep_times(key, when)
        return when

    def _columns(
        self, name: str, columns: Sequence[str], digests: list[str], decode: Callable[[pa.Table], tuple[T, list[str]]]
    ) -> T:
        """Read columns, and check them against their digests.

        Args:
            name: The sidecar.
            columns: The names of the columns.
            digests: What their digests are in the footer.
            decode: Gives what the columns say, and their digests.

        Raises:
            SidecarError: If they cannot be read, or have other digests.
        """
        opened, file = self._open(name), self._file(name)
        with fetching_ranges(self._files, self._run, file, digests) as fetch:
            try:
                table = read_columns(file.size, with_end(fetch, file.size, opened.end), opened.footer, columns)
            except SidecarError as exc:
                raise SidecarError(f"{name} cannot be used: {exc}") from exc
            found, theirs = decode(table)
            if theirs != digests:
                raise SidecarError(f"{name} cannot be used: its values differ from the run's record")
        return found


# The times and environments of most cases of a study are the same. A digest proves a column of the run that is read, so
# what was read of another run with the same digests is used for it: it is read once, and is in memory once.
_recent_times: dict[tuple[str, str], Values] = {}
_recent_lock = threading.Lock()
_RECENT, _RECENT_ROWS = 8, 2**20


def _keep_times(key: tuple[str, str], when: Values) -> None:
    """Keep times and environments that were checked against their digests."""
    with _recent_lock:
        if key not in _recent_times and len(when.times) <= _RECENT_ROWS:
            when.times.flags.writeable = when.environments.flags.writeable = False
            if len(_recent_times) >= _RECENT:
                del _recent_times[next(iter(_recent_times))]
            _recent_times[key] = when


def _texts(column: pa.ChunkedArray) -> npt.NDArray[np.object_]:
    """A column of few different texts, each of which is in memory once."""
    import numpy as np

    chunks = [
        np.array([*chunk.dictionary.to_pylist(), None], dtype=object)[chunk.indices.fill_null(-1).to_numpy()]
        for chunk in column.chunks
    ]
    return np.concatenate(chunks) if chunks else np.array([], dtype=object)


def _both(frequency: str) -> tuple[str, str]:
    """The names of the sidecars of a frequency: of run periods, and of sizing periods."""
    return series_name(frequency), series_name(frequency, sizing=True)
