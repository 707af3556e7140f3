"""Write series of many cases as a Parquet dataset: few large files, each with a row group a case."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.sidecars import TIME
from idfkit_fs._util.messages import redact
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import progress_bar
from idfkit_fs.errors import ExistsError, LocationError
from idfkit_fs.runs.record import RECORD_NAME
from idfkit_fs.studies.collect import NO_DATA, READING_THREADS, Collector, Reading, Selection, reason_of
from idfkit_fs.studies.engine import NO_WORKER
from idfkit_fs.studies.layout import STUDY

if TYPE_CHECKING:
    import pyarrow as pa

    from idfkit_fs._outputs.values import Values

__all__ = ["BYTES_PER_FILE", "files_of", "is_broken_off", "write_dataset"]

BYTES_PER_FILE = 128 * 2**20
"""About how large a file becomes."""

# pandas, Arrow and Dask do not read below directories whose names begin so.
_UNFINISHED = "_unfinished"
_NAME = re.compile(r"part-(?P<number>\d{5,})-of-(?P<count>\d{5,})\.parquet")
# How many bytes of values are in memory at the same time, unless one case has more.
_HELD = 64 * 2**20


def write_dataset(
    collector: Collector,
    selection: Selection,
    target: FsspecFileSystem,
    overwrite: bool,
    executor: Executor | None,
    bytes_per_file: int,
) -> None:
    """Write series of many cases as a Parquet dataset; see [Study.to_parquet][idfkit_fs.Study.to_parquet]."""
    if bytes_per_file < 1:
        raise ValueError(f"bytes_per_file must be at least 1, not {bytes_per_file}")
    if target.exists(RECORD_NAME) or target.exists(STUDY):
        raise LocationError(
            f"A run or a study exists at {redact(target.url())}; give the Parquet dataset a directory of its own"
        )
    existing = target.glob("", "*.parquet")
    if existing and not overwrite and not is_broken_off(existing):
        raise ExistsError.for_url(
            target.url(), f"{len(existing)} Parquet files already exist; pass overwrite=True to replace them"
        )
    readings = collector.find(selection).readings
    parameters = collector.parameters()
    from idfkit_fs.studies.tables import parquet_schema

    schema = parquet_schema((reading.series for reading in readings.values()), parameters)
    groups = files_of({case: readings[case].size for case in parameters}, bytes_per_file)
    names = [f"part-{number:05}-of-{len(groups):05}.parquet" for number in range(len(groups))]
    staging = target.joinpath(f"{_UNFINISHED}/{uuid.uuid4().hex}")
    files = [
        _File(staging, name, schema, tuple((case, readings[case], parameters[case]) for case in group))
        for name, group in zip(names, groups, strict=True)
    ]
    with progress_bar(len(parameters), f"Writing {collector.title}", "case", collector.progress) as done:
        left_out = _write_all(files, executor, done)
    collector.leave_out(left_out)
    _replace(target, existing, staging, names)
    collector.warn()


def files_of(sizes: Mapping[str, int], most: int) -> list[list[str]]:
    """Distribute cases among files, in their order.

    Args:
        sizes: The size of each case in bytes.
        most: The size of a file, which only a file of one case exceeds.

    Examples:
        >>> files_of({"a": 40, "b": 40, "c": 200, "d": 1}, 100)
        [['a', 'b'], ['c'], ['d']]
    """
    files: list[list[str]] = []
    total = 0
    for case, size in sizes.items():
        if not files or total + size > most:
            files.append([])
            total = 0
        files[-1].append(case)
        total += size
    return files


def is_broken_off(names: Iterable[str]) -> bool:
    """Whether files are those of a dataset of ours of which others are missing, because its writer was stopped.

    Examples:
        >>> is_broken_off(["part-00001-of-00002.parquet"])
        True
    """
    matches = [_NAME.fullmatch(name) for name in names]
    counts = {int(match["count"]) if match else 0 for match in matches}
    return len(counts) == 1 and len(matches) < counts.pop()


@dataclass(frozen=True, repr=False)
class _File:
    """A file of a dataset; it can be pickled.

    Attributes:
        target: The directory.
        name: The file's name.
        schema: The columns.
        cases: The name of each case, what to read of it, and its parameters.
    """

    target: FsspecFileSystem
    name: str
    schema: pa.Schema
    cases: tuple[tuple[str, Reading, Mapping[str, Any]], ...]

    def __repr__(self) -> str:  # executors log what they run
        return f"_File({self.name!r})"

    def write(self, done: Callable[[int], Any] = lambda _count: None) -> dict[str, str]:
        """Write the file; it appears when it is complete.

        Args:
            done: Called with the number of cases that have been written since the last call.

        Returns:
            The reasons why cases have no data any more, which are left out.
        """
        import pyarrow.parquet as pq

        from idfkit_fs.studies.tables import parquet_table

        left_out = {}
        series = [field.name for field in self.schema if field.metadata]
        encodings = {TIME: "DELTA_BINARY_PACKED", **dict.fromkeys(series, "BYTE_STREAM_SPLIT")}
        with (
            self.target.open(self.name, "wb") as file,
            pq.ParquetWriter(
                file,
                self.schema,
                compression="zstd",
                use_dictionary=[field.name for field in self.schema if field.name not in encodings],
                column_encoding=encodings,
            ) as writer,
        ):
            for batch in self._batches():
                read = parallel_map(lambda item: _values_of(item[1]), batch, threads=READING_THREADS)
                for (case, _, parameters), values in zip(batch, read, strict=True):
                    if isinstance(values, str):
                        left_out[case] = values
                    else:
                        table = parquet_table(case, values, parameters, self.schema)
                        writer.write_table(table, row_group_size=max(1, len(table)))
                    done(1)
        return left_out

    def _batches(self) -> Iterator[Sequence[tuple[str, Reading, Mapping[str, Any]]]]:
        """The cases in turns, as many as are read at the same time."""
        largest = max(8 * reading.rows * len(reading.series) for _, reading, _ in self.cases)
        count = min(READING_THREADS, max(1, _HELD // max(1, largest)))
        return (self.cases[start : start + count] for start in range(0, len(self.cases), count))


def _values_of(reading: Reading) -> Values | str:
    """The values of a case, or why it has none."""
    try:
        return reading.values()
    except NO_DATA as exc:
        return reason_of(exc)


def _write_all(files: Sequence[_File], executor: Executor | None, done: Callable[[int], Any]) -> dict[str, str]:
    """Write files, here or on an executor; the reasons why cases have no data any more."""
    left_out: dict[str, str] = {}
    if executor is None:
        for file in files:
            with _naming(file):
                left_out |= file.write(done)
        return left_out
    futures = {executor.submit(file.write): file for file in files}
    try:
        for future in as_completed(futures):
            with _naming(futures[future]):
                left_out |= future.result()
            done(len(futures[future].cases))
    finally:
        for future in futures:
            future.cancel()
    return left_out


@contextlib.contextmanager
def _naming(file: _File) -> Iterator[None]:
    """Name the file that an error is about."""
    try:
        yield
    except Exception as exc:
        exc.add_note(f"{file.name} was not written, and the dataset is as it was; call to_parquet() again")
        if isinstance(exc, BrokenExecutor):
            exc.add_note(NO_WORKER)
        raise


def _replace(
    target: FsspecFileSystem, existing: Sequence[str], staging: FsspecFileSystem, names: Sequence[str]
) -> None:
    """Replace a dataset by one that is complete.

    The old files are removed first. If this is broken off, the names show that files are missing; they never show files
    of two datasets as one.
    """
    target.remove_if_exists(existing)
    root = target.local_root
    if root is None:
        parallel_map(lambda name: target.copy(staging.url(name), name), names)
        target.remove_if_exists(target.glob(_UNFINISHED, "**"))
    else:  # no bytes are copied on a disk
        for name in names:
            os.replace(staging.key(name), os.path.join(root, name))
        shutil.rmtree(os.path.join(root, _UNFINISHED), ignore_errors=True)
    found = target.glob("", "*.parquet")
    if found != [*names]:
        raise ExistsError.for_url(
            target.url(), "Another client changed this dataset while it was written; call to_parquet() again alone"
        )
