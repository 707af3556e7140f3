"""The cells of tabular reports of all cases, sorted so that one cell of all cases is read at once.

They are in parts: Parquet objects that never change, and whose names have their hash. An index says which cells are in
which part, and of which outcomes. It is replaced when all parts exist, so a reader finds the parts of one index.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import itertools
import logging
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, Field

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.parquet import decoded, read_whole
from idfkit_fs._outputs.series import matcher, not_reported
from idfkit_fs._util.bounds import CONSOLIDATED_BYTES
from idfkit_fs._util.messages import redact
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.progress import progress_bar
from idfkit_fs._util.urls import last_name
from idfkit_fs.errors import (
    IdfkitFsError,
    NotFoundError,
    NotReportedError,
    PermissionDeniedError,
    RecordError,
    SidecarError,
)
from idfkit_fs.runs.result import RunResult
from idfkit_fs.studies.display import one_line
from idfkit_fs.studies.layout import CONSOLIDATED, CONSOLIDATED_CELLS, EndedRun, outcome_path, parse_parts, part_path
from idfkit_fs.studies.listing import Listing
from idfkit_fs.studies.packed import pack, read_packed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

__all__ = ["KeptCells", "consolidate_cells", "read_cells", "remove_lost_parts"]

logger = logging.getLogger(__name__)

_NAME = ("report", "table", "row", "column")
# One part is read for one cell, and is some 5 bytes a row.
_ROWS_OF_PART = 2**18
# The cells of so many cases are in memory at the same time, and twice as many while they are sorted.
_CASES_AT_ONCE = 64
_LAYOUTS = 64
_UPLOADS = 4


class KeptCells(NamedTuple):
    """The cells of one case that match, from the consolidated ones.

    Attributes:
        table: The cells, with the columns of [RunResult.tabular][idfkit_fs.RunResult.tabular]; None if none matches.
        reason: Why there are none.
    """

    table: pa.Table | None
    reason: str = ""

    def cells(self) -> pa.Table:
        """The cells.

        Raises:
            NotReportedError: If no cell matches.
        """
        if self.table is None:
            raise NotReportedError(self.reason)
        return self.table


class _Index(BaseModel):
    """What the index says.

    Attributes:
        places: The cells that exist, as report, table, row, column and part.
        versions: The version of each outcome whose cells exist, by its path.
    """

    places: list[tuple[str, str, str, str, str]] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def parts(self) -> set[str]:
        return {place[-1] for place in self.places}


def _read_index(fs: FsspecFileSystem) -> _Index:
    return read_packed(fs, CONSOLIDATED_CELLS, _Index)


def read_cells(fs: FsspecFileSystem, listing: Listing, cases: Sequence[str], *names: str) -> dict[str, KeptCells]:
    """Read cells of cases from the consolidated ones, where these are current.

    Args:
        fs: The study.
        listing: Its listings.
        cases: Names of cases.
        *names: The names to match: report, table, row and column.

    Returns:
        The cells, by case. Other cases have to be read themselves.

    Raises:
        ConnectionError: If the store does not answer.
    """
    if importlib.util.find_spec("pyarrow") is None:  # opening a run says so
        return {}
    try:
        index = _read_index(fs)
        listed = listing.versions
        outcomes = {case: listing.told_by(case) or "" for case in cases if listing.state(case) == "ok"}
        covered = [case for case, path in outcomes.items() if index.versions.get(path, 0) == listed.get(path)]
        if not covered:
            return {}
        try:
            places = _matching(index.places, names)
        except NotReportedError as exc:
            return {case: KeptCells(None, str(exc)) for case in covered}
        parts = sorted({place[-1] for place in places})
        if len(parts) > 2 * len(covered):  # a run takes two requests
            return {}
        import pyarrow as pa
        import pyarrow.compute as pc

        from idfkit_fs._outputs.frames import CELL_COLUMNS

        found = pa.concat_tables(
            parallel_map(lambda part: _read_part(fs, part, places, covered), parts, threads=_UPLOADS)
        )
    except (NotFoundError, PermissionDeniedError):  # also of a part, if another client consolidates
        return {}
    except (RecordError, SidecarError) as exc:
        logger.warning("Reading the cells of each case, because the consolidated ones cannot be used: %s", exc)
        return {}
    found = found.sort_by([("case", "ascending"), ("position", "ascending")])
    counts = pc.value_counts(found.column("case")).to_pylist()  # in their order
    stops = itertools.accumulate(each["counts"] for each in counts)
    cells = found.select(CELL_COLUMNS)
    tables = {
        each["values"]: cells.slice(stop - each["counts"], each["counts"])
        for each, stop in zip(counts, stops, strict=True)
    }
    none = KeptCells(None, f"It has no cell of the names {', '.join(map(repr, names))}")
    return {case: KeptCells(tables[case]) if case in tables else none for case in covered}


def _matching(places: Sequence[tuple[str, ...]], names: Sequence[str]) -> Sequence[tuple[str, ...]]:
    """The places of the cells that match.

    Raises:
        NotReportedError: If no cell matches; it lists the nearest names.
    """
    for number, (part, name) in enumerate(zip(_NAME, names, strict=True)):
        matches, known = matcher(name), dict.fromkeys(place[number] for place in places)
        found = {text for text in known if matches(text)}
        if not found:
            raise not_reported(name, known, part)
        places = [place for place in places if place[number] in found]
    return places


def _read_part(fs: FsspecFileSystem, part: str, places: Sequence[tuple[str, ...]], cases: Sequence[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    table = decoded(read_whole(_fetch_part(fs, part)))
    expected = _part_schema()
    if table.schema.names != expected.names or table.schema.types != expected.types:
        raise SidecarError(f"the columns of {part} are other than those of consolidated cells")
    wanted = {name: [*{place[number] for place in places}] for number, name in enumerate(_NAME)} | {"case": [*cases]}
    for name, texts in wanted.items():
        table = table.filter(pc.is_in(table.column(name), pa.array(texts, pa.string())))
    return table


def _fetch_part(fs: FsspecFileSystem, part: str) -> bytes:
    path = part_path(part)
    data = fs.fetch_start(path, CONSOLIDATED_BYTES + 1)
    if hashlib.sha256(data).hexdigest() != part.rpartition("-")[2]:
        raise RecordError(f"{redact(fs.url(path))} is damaged: it has another hash than its name")
    return data


def _part_schema() -> pa.Schema:
    import pyarrow as pa

    texts = ("report", "report_for", "table", "row", "column", "units", "value")
    fields = [(name, pa.string()) for name in texts]
    return pa.schema([*fields, ("number", pa.float64()), ("case", pa.string()), ("position", pa.int32())])


def consolidate_cells(
    fs: FsspecFileSystem, listing: Listing, open_run: Callable[[str], RunResult], progress: bool
) -> int:
    """Write all cells of all cases that are ok; see [Study.consolidate][idfkit_fs.Study.consolidate].

    Args:
        fs: The study.
        listing: Its listings.
        open_run: Opens the run of a case.
        progress: Whether to show a bar.

    Returns:
        Of how many cases there are cells. Cases whose cells cannot be read are left out.

    Raises:
        StoreError: If the store failed, refused access, or did not answer.
        OSError: If the temporary directory has no free space.
    """
    before = fs.read_tagged(CONSOLIDATED_CELLS)
    try:
        old = _read_index(fs)
    except (NotFoundError, RecordError):
        old = _Index()
    versions = {listing.told_by(case) or "": case for case in listing.cases if listing.state(case) == "ok"}
    wanted = {path: listing.versions[path] for path in versions if path in listing.versions}
    if before and old.versions == wanted and old.parts <= {*parse_parts(fs.list_sizes(CONSOLIDATED))}:
        return len(wanted)
    token = uuid.uuid4().hex[:12]
    with tempfile.TemporaryDirectory(prefix="idfkit-fs-") as directory:
        merge = _Merge(Path(directory))
        paths = sorted(wanted)
        with progress_bar(len(paths), f"Consolidating {last_name(fs.url())}", "case", progress) as done:
            kept = list(merge.take([(path, versions[path]) for path in paths], open_run, done))

        def upload(piece: tuple[bytes, list[tuple[str, ...]]]) -> list[tuple[str, ...]]:
            data, places = piece
            part = f"{token}-{hashlib.sha256(data).hexdigest()}"
            fs.write_bytes(part_path(part), data)
            return [(*place, part) for place in places]

        written = parallel_map(upload, merge.parts(), threads=_UPLOADS)
    places = [*dict.fromkeys(itertools.chain.from_iterable(written))]
    data = pack(_Index.model_construct(places=places, versions={path: wanted[path] for path in kept}))
    won = data is not None and fs.swap(CONSOLIDATED_CELLS, data, before and before[1])
    # The client that was quicker has removed the old ones.
    useless = old.parts if won else {place[-1] for place in places}
    try:
        fs.remove_if_exists(map(part_path, useless))
    except PermissionDeniedError as exc:
        logger.debug("Consolidated cells that are not used any more stay: %s", one_line(exc))
    return len(kept)


def remove_lost_parts(fs: FsspecFileSystem, *, deep: bool, repair: bool) -> Iterator[str]:
    """Find consolidated cells that cannot be used, and parts that no index names; while no client consolidates.

    Args:
        fs: The study.
        deep: Whether to read every part.
        repair: Whether to remove them.

    Yields:
        What is wrong.
    """
    parts, known = {*parse_parts(fs.list_sizes(CONSOLIDATED))}, set()
    try:
        known = _read_index(fs).parts
        problem = "parts of the consolidated cells are missing" if known - parts else None
        if deep and not problem:
            for part in sorted(known):
                _fetch_part(fs, part)
    except NotFoundError:
        problem = None
    except RecordError as exc:
        if exc.is_newer:
            return
        problem = one_line(exc)
    if problem:
        yield problem
        known = set()
        if repair:
            fs.remove_if_exists([CONSOLIDATED_CELLS])
    lost = sorted(parts - known)
    if lost:
        yield f"consolidated cells that are not used: {len(lost)} parts"
        if repair:
            fs.remove_if_exists(map(part_path, lost))


class _Merge:
    """Sorts the cells of many cases in bounded memory: in batches on the local disk, which are merged then.

    A cell is a number here, since the same few thousand names are in each case.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers: dict[tuple[str, ...], int] = {}
        self._layouts: dict[str, npt.NDArray[np.int32]] = {}
        self._lock = threading.Lock()
        self._batches: list[Path] = []
        self._cases: list[str] = []

    def take(
        self, cases: Sequence[tuple[str, str]], open_run: Callable[[str], RunResult], done: Callable[[int], Any]
    ) -> Iterator[str]:
        """Read the cells of cases, given as path of the outcome and name; gives the paths of those that were read."""

        def read(item: tuple[str, str]) -> pa.Table | None:
            try:
                result = open_run(item[1])
                if not _is_run_of(result, *item):
                    return None
                table = self._numbered(decoded(result.data.cells()))
                result.data.forget()
            except (IdfkitFsError, OSError) as exc:
                if isinstance(exc, ConnectionError | PermissionError):
                    raise
                return None
            return table

        for start in range(0, len(cases), _CASES_AT_ONCE):
            batch = cases[start : start + _CASES_AT_ONCE]
            tables = []
            for (path, case), table in zip(batch, parallel_map(read, batch, done), strict=True):
                if table is not None:
                    tables.append(_with_constant(table, "case", len(self._cases)))
                    self._cases.append(case)
                    yield path
            if tables:
                self._spill(tables)

    def _numbered(self, table: pa.Table) -> pa.Table:
        """The cells with a number instead of their names."""
        import numpy as np
        import pyarrow as pa

        names = table.select(["report", "table", "row", "column", "report_for"]).combine_chunks()
        layout = hashlib.sha256()
        for chunk in (chunk for column in names.columns for chunk in column.chunks):
            layout.update(
                f"{chunk.offset} {len(chunk)} {[buffer and buffer.size for buffer in chunk.buffers()]}".encode()
            )
            for buffer in filter(None, chunk.buffers()):
                layout.update(buffer)
        numbers = self._layouts.get(layout.hexdigest())
        if numbers is None:
            cells = list(zip(*(column.to_pylist() for column in names.columns), strict=True))
            with self._lock:
                found = [self._numbers.setdefault(cell, len(self._numbers)) for cell in cells]
                if len(self._layouts) >= _LAYOUTS:
                    self._layouts.clear()
                numbers = self._layouts[layout.hexdigest()] = np.array(found, np.int32)
        values = table.select(["units", "value", "number"]).combine_chunks()
        return values.append_column("cell", pa.array(numbers)).append_column(
            "position", pa.array(np.arange(len(numbers), dtype=np.int32))
        )

    def _ranks(self) -> npt.NDArray[np.int64]:
        """The place of each number in the order of the names, which more names do not change."""
        import numpy as np

        ordered = sorted(self._numbers)
        ranks = np.empty(len(ordered), np.int64)
        ranks[[self._numbers[cell] for cell in ordered]] = np.arange(len(ordered))
        return ranks

    def _spill(self, tables: Sequence[pa.Table]) -> None:
        import numpy as np
        import pyarrow as pa

        table = pa.concat_tables(tables)
        order = np.argsort(self._ranks()[table.column("cell").to_numpy()], kind="stable")
        path = self._directory / f"{len(self._batches)}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table.take(pa.array(order)).combine_chunks())
        self._batches.append(path)

    def parts(self) -> Iterator[tuple[bytes, list[tuple[str, ...]]]]:
        """The cells of all cases as Parquet files, each with the names of its cells; all cells of a name are in one."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._batches:
            return
        ranks, names = self._ranks(), sorted(self._numbers)
        with _Files(self._batches) as batches:
            # Where the rows of each cell begin in each batch, which is in this order.
            begins = [
                np.searchsorted(ranks[batch.column("cell").to_numpy()], np.arange(len(names) + 1)) for batch in batches
            ]
            counts = np.sum([np.diff(each) for each in begins], axis=0).tolist()
            cases = pa.array(self._cases, pa.string())
            for first, stop in _ranges(counts):
                slices = [
                    batch.slice(begin[first], begin[stop] - begin[first])
                    for batch, begin in zip(batches, begins, strict=True)
                ]
                table = pa.concat_tables(slices).combine_chunks()
                rank = ranks[table.column("cell").to_numpy()]
                order = np.argsort(rank, kind="stable")  # the cases are in order already
                table, rank = table.take(pa.array(order)), rank[order] - first
                texts = zip(*names[first:stop], strict=True)
                columns = {
                    name: pa.array(list(of_name), pa.string()).take(pa.array(rank))
                    for name, of_name in zip((*_NAME, "report_for"), texts, strict=True)
                }
                columns |= {name: table.column(name) for name in ("units", "value", "number", "position")}
                columns["case"] = cases.take(table.column("case"))
                schema = _part_schema()
                file = io.BytesIO()
                pq.write_table(
                    pa.table([columns[name] for name in schema.names], schema=schema),
                    file,
                    compression="zstd",
                    row_group_size=_ROWS_OF_PART,
                )
                yield file.getvalue(), list(dict.fromkeys(name[:4] for name in names[first:stop]))


class _Files:
    """Files of Arrow tables, which take no memory of their own."""

    def __init__(self, paths: Sequence[Path]) -> None:
        import pyarrow as pa

        self._files = [pa.memory_map(str(path)) for path in paths]

    def __enter__(self) -> list[pa.Table]:
        import pyarrow as pa

        return [pa.ipc.open_file(file).read_all() for file in self._files]

    def __exit__(self, *_exc: object) -> None:
        for file in self._files:
            file.close()


def _ranges(counts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of cells that together have as many rows as a part may have; or one cell that has more."""
    first = rows = 0
    for number, count in enumerate(counts):
        if rows and rows + count > _ROWS_OF_PART:
            yield first, number
            first, rows = number, 0
        rows += count
    yield first, len(counts)


def _is_run_of(result: RunResult, path: str, case: str) -> bool:
    """Whether a run is the one of an outcome, and not one that has replaced it since it was listed."""
    record = result.record
    return record is not None and path == outcome_path("ok", case, EndedRun.of(record.job or "", record.id))


def _with_constant(table: pa.Table, name: str, value: int) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    return table.append_column(name, pa.array(np.full(table.num_rows, value, np.int32)))
