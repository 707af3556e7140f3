"""The series and cells of a run: from its sidecars where it has them, else from its database."""

from __future__ import annotations

import contextlib
import functools
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from idfkit_fs._cache.store import LocalCopy
from idfkit_fs._outputs.database import Database
from idfkit_fs._outputs.parquet import Fetch, Range, read_columns, read_footer
from idfkit_fs._outputs.series import FREQUENCIES, Environment, Names, Series, as_names, choose, parse_frequency
from idfkit_fs._outputs.sidecars import (
    ENVIRONMENT,
    SIDECARS,
    TABULAR,
    TIME,
    Contents,
    digests_of,
    series_name,
    series_of,
)
from idfkit_fs._outputs.source import DatabaseSource, Source
from idfkit_fs._outputs.values import Period, Values, choose_period
from idfkit_fs._util.messages import redact
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs.errors import DamagedRunError, NotReportedError, SidecarError
from idfkit_fs.runs.files import RunFileSystem
from idfkit_fs.runs.record import RecordedFile, RunRecord

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["RunData"]

T = TypeVar("T")
# A file up to this size is fetched whole, in one request, and checked by its hash.
_SMALL = 2**20
_UNUSABLE = (DamagedRunError, FileNotFoundError, SidecarError)


class RunData:
    """What a run reports.

    Args:
        files: The run's files.
        record: The run's record; None for a run without one, for whose sidecars nobody vouches.
        sql: The name of its database; None if it has none.
    """

    def __init__(self, files: RunFileSystem, record: RunRecord | None, sql: str | None) -> None:
        self._files, self._record, self._sql = files, record, sql
        self._sidecars = (
            _Sidecars(files, record) if record and any(file.name in SIDECARS for file in record.files) else None
        )

    def __reduce__(self) -> Any:
        return RunData, (self._files, self._record, self._sql)

    def find(self, variables: Names, keys: Names | None = None, frequency: str | None = None) -> list[Series]:
        """The series that a question means; see [choose][idfkit_fs._outputs.series.choose]."""
        wanted = None if frequency is None else parse_frequency(frequency)
        variables, keys = as_names(variables), None if keys is None else as_names(keys)
        try:
            try:
                return choose(self.catalog(wanted), variables, keys, wanted)
            except NotReportedError:
                if wanted is None:
                    raise
                # What is reported at another frequency is to be told of.
                return choose(self.catalog(), variables, keys, wanted)
        except NotReportedError as exc:
            if self._record is None or self._record.success:
                raise
            raise NotReportedError(f"{exc}; EnergyPlus ended the run with an error") from exc

    def catalog(self, frequency: str | None = None) -> Sequence[Series]:
        """What is reported, at one frequency or at all."""
        return self._ask(lambda source: source.series(frequency))

    def period(self, frequency: str, environment: Names | None) -> Period:
        """The periods that a question means; see [choose_period][idfkit_fs._outputs.values.choose_period]."""
        return choose_period(self._ask(lambda source: source.environments(frequency)), environment)

    def read(self, frequency: str, series: Sequence[Series], period: Period) -> Values:
        """Read series of a frequency; without any, when values hold.

        Raises:
            NotReportedError: If nothing is reported of the period at that frequency.
        """
        values = self._ask(lambda source: source.read(frequency, series, period))
        if not len(values.times):
            raise NotReportedError(f"Nothing is reported {frequency} of {', '.join(map(repr, sorted(period.names)))}")
        return values

    def cells(self) -> pa.Table:
        """All cells of the tabular reports."""
        return self._ask(operator.methodcaller("cells"))

    def forget(self) -> None:
        """Let go of what was opened: where thousands of runs are read, it takes memory, and room in the cache."""
        self.__dict__.pop("_database", None)
        if self._sidecars is not None:
            self._sidecars.opened.clear()

    def _ask(self, question: Callable[[Source], T]) -> T:
        sidecars = self._sidecars  # which another thread may find to be of no use
        if sidecars is not None:
            try:
                return question(sidecars)
            except _UNUSABLE as exc:
                if self._sql is None:
                    raise
                warnings.warn(f"Reading the whole database of {redact(self._files.url())}: {exc}", stacklevel=2)
                self._sidecars = None
        return question(self._database)

    @functools.cached_property
    def _database(self) -> DatabaseSource:
        if self._sql is None:
            ended = "" if self._record is None or self._record.success else "; EnergyPlus ended the run with an error"
            raise NotReportedError(
                f"{redact(self._files.url())} has no SQLite output{ended}: the model needs Output:SQLite, and include "
                "and exclude must leave the .sql file or the sidecars made from it"
            )
        copy = self._files.local_copy(self._sql)
        return DatabaseSource(Database(copy.path, redact(self._files.url(self._sql))), copy)


class _Opened(NamedTuple):
    """A sidecar of series of which only the footer was read."""

    footer: pq.ParquetFile
    contents: Contents
    series: tuple[Series, ...]


class _Sidecars:
    """The sidecars of a run, of which only what is asked for is fetched.

    Each is checked: one that was made from another database than the run's is not used.
    """

    def __init__(self, files: RunFileSystem, record: RunRecord) -> None:
        self._files = files
        self._known = {file.name: file for file in record.files if file.name in SIDECARS}
        self._sql_sha256 = record.sql_sha256
        self._has_database = record.output(".sql") is not None
        self.opened: dict[str, _Opened] = {}

    def series(self, frequency: str | None) -> Sequence[Series]:
        telling = []
        for each in FREQUENCIES if frequency is None else (frequency,):
            given = self._given(each)
            kept = [name for name in given if name in self._known]
            # Without a database, what was kept has to do.
            telling += (given if self._has_database or (frequency and not kept) else kept)[:1]
        opened = parallel_map(self._open, telling) if len(telling) > 1 else map(self._open, telling)
        return [series for each in opened for series in each.series]

    def environments(self, frequency: str) -> Sequence[Environment]:
        return self._open(self._at_hand(frequency)).contents.environments

    def read(self, frequency: str, series: Sequence[Series], period: Period) -> Values:
        wanted = [series_name(frequency, sizing) for sizing in period.kinds]
        parts = [self._read(name, series) for name in self._given(frequency) if name in wanted]
        return Values.joined(series, parts).of(period.names)

    def cells(self) -> pa.Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self._files.local_copy(self._file(TABULAR).name) as local:
            try:
                table = pq.ParquetFile(local).read()
            except (pa.ArrowException, OSError) as exc:
                raise SidecarError(str(exc)) from exc
        self._check(TABULAR, Contents.of(table.schema.metadata))
        return table.replace_schema_metadata(None)

    def _given(self, frequency: str) -> list[str]:
        """The sidecars of a frequency that the database gives, that of the run periods first."""
        given = self._open(self._at_hand(frequency)).contents.sidecars
        return [name for name in _both(frequency) if name in given]

    def _at_hand(self, frequency: str) -> str:
        """A sidecar that was kept: if possible one of a frequency, else one that was opened, else one of series."""
        opened = list(self.opened)  # at once: another thread may open one
        others = sorted(self._known, key=lambda name: name == TABULAR)
        return next(name for name in (*_both(frequency), *opened, *others) if name in self._known)

    def _open(self, name: str) -> _Opened:
        """Read a sidecar's footer.

        Raises:
            SidecarError: If it was left out, or is not the run's.
        """
        opened = self.opened.get(name)
        if opened is None:
            file = self._file(name)
            with self._fetching(file) as fetch:
                footer = read_footer(file.size, fetch)
                contents = self._check(name, Contents.of(footer.metadata.metadata))
            series = series_of(footer.schema_arrow, name.partition("-")[2].removesuffix(".parquet"))
            opened = self.opened[name] = _Opened(footer, contents, tuple(series))
        return opened

    def _file(self, name: str) -> RecordedFile:
        file = self._known.get(name)
        if file is None:
            raise SidecarError(f"{name} was left out")
        return file

    def _check(self, name: str, contents: Contents | None) -> Contents:
        if contents is None or contents.sql_sha256 != self._sql_sha256:
            raise SidecarError(f"{name} was not made from the run's database")
        return contents

    def _read(self, name: str, series: Sequence[Series]) -> Values:
        opened, file = self._open(name), self._file(name)
        columns = [TIME, ENVIRONMENT, *(each.column for each in series)]
        every = [TIME, ENVIRONMENT, *(each.column for each in opened.series)]
        known = dict(zip(every, opened.contents.digests, strict=False))
        with self._fetching(file) as fetch:
            table = read_columns(file.size, fetch, opened.footer, columns)
            times, names, *values = (table.column(column).to_numpy() for column in columns)
            environments = names.astype(object)
            if digests_of(times, environments, values) != [known.get(column) for column in columns]:
                raise SidecarError(f"{name} changed while it was read")
        return Values(tuple(series), times, environments, tuple(values))

    @contextlib.contextmanager
    def _fetching(self, file: RecordedFile) -> Iterator[Fetch]:
        here = self._files.local_root if self._files.reads_in_place else None
        if file.size > _SMALL and here is None:
            with self._files._ranged(file) as fetch:
                yield fetch
            return
        if here is None or file.size <= _SMALL:
            copy = self._files.local_copy(file.name)
        else:  # the columns that are read have hashes of their own
            copy = LocalCopy(Path(here, file.name))
        with copy as local, local.open("rb") as opened:

            def read(ranges: Sequence[Range]) -> list[bytes]:
                parts = []
                for start, stop in ranges:
                    opened.seek(start)
                    parts.append(opened.read(stop - start))
                return parts

            yield read


def _both(frequency: str) -> tuple[str, str]:
    """The names of the sidecars of a frequency: of run periods, and of sizing periods."""
    return series_name(frequency), series_name(frequency, sizing=True)
