"""What grows with the number of cases: requests, seconds of the processor and memory of each operation of a study.

Each operation runs in a fresh process that has its packages and connections, on fabricated studies of two sizes, of
which one is ten times the other: a row shows how much comes to ten times as much. Beside some operations is what a
careful user writes with s3fs and pandas, on the larger study.
"""

from __future__ import annotations

import io
import json
import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Never

from fabricated import CELL, Template, name_of, to_disk, to_store
from rows import Row, expect
from small_office import small_office
from watch import READY, Peak, done, peak, ready
from wire import Traffic, Wire, wire

from idfkit_fs import Study

if TYPE_CHECKING:
    import pandas as pd

DELAY = 0.015
MANY = (1_000, 10_000)
READ = (100, 1_000)
ON_DISK = 100_000
METER = "Electricity:Facility"
COLUMN = f"{METER} [J](Hourly)"
FILES = ("tabular.parquet", "timeseries-hourly.parquet")
# One hourly meter of all cases that are read, in MB.
VALUES = READ[1] * 8760 * 8 / 1e6
THREADS = 32


@dataclass(frozen=True)
class Cost:
    """What an operation took.

    Attributes:
        peak: Memory and seconds.
        traffic: What went over the wire; nothing on a local disk.
    """

    peak: Peak
    traffic: Traffic

    @property
    def single(self) -> int:
        """How many requests there were beside those that list."""
        return self.traffic.requests - self.traffic.kinds["LIST"]

    def __str__(self) -> str:
        took = f"{self.peak.processor:.2f} s CPU, {self.peak.grown:.0f} MB, {self.peak.seconds:.1f} s"
        return f"{self.traffic}, {took}" if self.traffic.requests else took


@dataclass(frozen=True)
class Operation:
    """One thing that is done to a study.

    Attributes:
        go: Does it.
        target: What is aimed at on the larger study.
        met: Whether it was reached.
        by_hand: What a careful user writes instead.
        prepare: Opens connections before the clock runs.
    """

    go: Callable[[Study], object]
    target: str = ""
    met: Callable[[Cost], bool] | None = None
    by_hand: Callable[[Study], object] | None = None
    prepare: Callable[[Study], object] = lambda study: study.fs.exists("nothing")


def measure() -> list[Row]:
    """Fabricate studies, and do everything to each."""
    with TemporaryDirectory(prefix="idfkit-fs-bench-") as directory:
        here = Path(directory)
        template = Template.of(small_office(), here)
        with wire("SeaweedFS", DELAY) as link:
            return [*_large(link, template, here), *_read(link, template, here), *_local(template, here)]


def _large(link: Wire, template: Template, here: Path) -> Iterator[Row]:
    """Operations that read little of each case; and planning, where no case has run."""
    for count in MANY:
        cases = range(count)
        to_store(link.direct, f"many-{count}", template.jobs(cases), template.outcomes(cases), template.runs(cases))
        to_store(link.direct, f"new-{count}", template.jobs(cases))
    yield from _grown(link, here, "many", MANY)
    yield from _grown(link, here, "new", MANY)


def _read(link: Wire, template: Template, here: Path) -> Iterator[Row]:
    """Operations that read the results of each case."""
    for count in READ:
        cases = range(count)
        runs = template.runs(cases, FILES, pending=0)
        to_store(link.direct, f"read-{count}", template.jobs(cases), template.outcomes(cases, pending=0), runs)
    yield from _grown(link, here, "read", READ)


def _local(template: Template, here: Path) -> Iterator[Row]:
    """A hundred thousand cases on a local disk."""
    cases = range(ON_DISK)
    study = to_disk(here / "local", template.jobs(cases), template.outcomes(cases))
    for name, operation in OPERATIONS["local"].items():
        cost = _cost(None, here, "local", name, study.url, {})
        met = operation.met and operation.met(cost)
        yield Row(f"{name}, {ON_DISK:,} cases on a local disk", str(cost), "", "", operation.target, met)


def _grown(link: Wire, here: Path, kind: str, sizes: tuple[int, int]) -> Iterator[Row]:
    """What each operation costs on the larger study, beside the smaller, and beside the same by hand."""
    for name, operation in OPERATIONS[kind].items():
        small, large = (_over_wire(link, here, kind, name, count) for count in sizes)
        growth = f"{_ratio(large.peak.processor, small.peak.processor)} CPU"
        if small.traffic.requests:
            growth = f"{_ratio(large.traffic.requests, small.traffic.requests)} requests, {growth}"
        met = operation.met and operation.met(large)
        yield Row(f"{name}, {sizes[1]:,} cases: {sizes[0]:,}", str(large), str(small), growth, operation.target, met)
        if operation.by_hand:
            peer = _over_wire(link, here, kind, name, sizes[1], by_hand=True)
            times = f"{_ratio(peer.peak.processor, large.peak.processor)} CPU"
            times += f", {_ratio(peer.peak.seconds, large.peak.seconds)} s"
            yield Row(f"{name}, {sizes[1]:,} cases: s3fs and pandas by hand", str(large), str(peer), times)


def _ratio(one: float, other: float) -> str:
    return f"{one / max(other, 0.01):.1f}x"


def _over_wire(link: Wire, here: Path, kind: str, name: str, count: int, *, by_hand: bool = False) -> Cost:
    place = link.place
    return _cost(link, here, kind, name, f"{place.url}/{kind}-{count}", place.options, by_hand)


def _cost(
    link: Wire | None, here: Path, kind: str, name: str, url: str, options: dict[str, Any], by_hand: bool = False
) -> Cost:
    begin = link.traffic if link else lambda: None
    with TemporaryDirectory(dir=here) as cache:
        taken = peak(_do, cache, kind, name, url, options, by_hand, at_start=begin, context=READY)
    return Cost(taken, link.traffic() if link else Traffic(Counter(), 0))


def _do(cache: str, kind: str, name: str, url: str, options: dict[str, Any], by_hand: bool, pipe: Connection) -> None:
    os.environ["XDG_CACHE_HOME"] = cache
    warnings.simplefilter("ignore")  # about the cases that are pending
    study, operation = Study(url, storage_options=options), OPERATIONS[kind][name]
    operation.prepare(study)
    ready(pipe)
    (operation.by_hand if by_hand and operation.by_hand else operation.go)(study)
    done(pipe)
    pipe.close()
    os._exit(0)  # without waiting for a thread that would not end


# What is done.


def _forget(study: Study) -> None:
    """Remove what was consolidated."""
    for path in study.fs.glob("_study/consolidated", "**"):
        study.fs.remove(path)


def _run_share(study: Study) -> None:
    """A task of an array job all of whose cases have ended."""
    from idfkit_fs._cli.commands import commands

    options = [f"-o{name}={json.dumps(value)}" for name, value in study.fs.storage_options.items()]
    with suppress(SystemExit), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        commands(["run", study.url, "--index=1", "--of=100", *options])


class _First(Executor):
    """Never runs anything."""

    def __init__(self) -> None:
        self.submitted = threading.Event()

    def submit(self, *_: Any, **__: Any) -> Never:
        self.submitted.set()
        threading.Event().wait()
        raise AssertionError


def _plan(study: Study) -> None:
    """Run all cases until the first one is handed to the engine."""
    first = _First()
    threading.Thread(target=study.run, kwargs={"executor": first}, daemon=True).start()
    first.submitted.wait()


def _reduce(study: Study) -> None:
    expect(
        study.to_xarray(METER, frequency="hourly", chunks={"case": 10})[METER].mean("time").compute().notnull().all()
    )


def _to_parquet(study: Study) -> None:
    url = f"{study.url}-parquet"
    study.to_parquet(url, METER, frequency="hourly", storage_options=study.fs.storage_options)


# By hand.


def _summary_by_hand(study: Study) -> pd.DataFrame:
    import pandas as pd

    fs = _s3fs(study)
    texts = fs.cat(fs.ls(f"{study.url}/_study/ok", detail=False))
    return pd.json_normalize([json.loads(text) for text in texts.values()])


def _tabular_by_hand(study: Study) -> pd.DataFrame:
    wanted = [*zip(("report", "table", "row", "column"), ("==",) * 4, CELL, strict=True)]
    return _parquet_by_hand(study, FILES[0], filters=wanted)


def _series_by_hand(study: Study) -> pd.DataFrame:
    return _parquet_by_hand(study, FILES[1], columns=["time", COLUMN])


def _parquet_by_hand(study: Study, name: str, **options: Any) -> pd.DataFrame:
    import pandas as pd

    fs = _s3fs(study)
    cases = [path for path in fs.ls(study.url, detail=False) if not path.endswith("_study")]

    def read(case: str) -> pd.DataFrame:
        return pd.read_parquet(f"{case}/{name}", filesystem=fs, **options)

    with ThreadPoolExecutor(THREADS) as pool:
        return pd.concat(dict(zip(cases, pool.map(read, cases), strict=True)))


def _s3fs(study: Study) -> Any:
    import s3fs

    return s3fs.S3FileSystem(**study.fs.storage_options)


# Operations of one kind of study, in the order in which they are done; a fresh process finds them here.
OPERATIONS: dict[str, dict[str, Operation]] = {
    "many": {
        "status()": Operation(
            lambda study: study.status(),
            "<= 22 LIST + 1 GET, 1.5 s CPU",
            lambda cost: cost.traffic.kinds["LIST"] <= 22 and cost.single <= 1 and cost.peak.processor <= 1.5,
        ),
        "summary(), the first": Operation(lambda study: study.summary(), by_hand=_summary_by_hand),
        "summary(), again": Operation(
            lambda study: study.summary(),
            "<= 22 LIST + 3, 0.5 s CPU",
            lambda cost: cost.traffic.kinds["LIST"] <= 22 and cost.single <= 3 and cost.peak.processor <= 0.5,
        ),
        "consolidate() from nothing": Operation(lambda study: study.consolidate(), prepare=_forget),
        "results()": Operation(lambda study: study.results(), "<= 1 GET a case", lambda cost: cost.single <= MANY[1]),
        "run --index, nothing to do": Operation(
            _run_share,
            "<= 22 LIST + 1 GET",
            lambda cost: cost.traffic.kinds["LIST"] <= 22 and cost.single <= 1,
        ),
        "remove() of one": Operation(
            lambda study: study.remove(name_of(1)), "<= 4 beside LIST", lambda cost: cost.single <= 4
        ),
        "remove() of 100": Operation(
            lambda study: study.remove([name_of(100 + number) for number in range(100)]),
            "<= 400 beside LIST",
            lambda cost: cost.single <= 400,
        ),
    },
    "new": {
        "run() until the first case starts": Operation(_plan, "<= 100 beside LIST", lambda cost: cost.single <= 100),
    },
    "read": {
        "tabular() of one cell": Operation(
            lambda study: study.tabular(*CELL),
            "<= 6 ms CPU a case",
            lambda cost: cost.peak.processor <= 0.006 * READ[1],
            by_hand=_tabular_by_hand,
        ),
        "timeseries() of one meter": Operation(
            lambda study: study.timeseries(METER, frequency="hourly"),
            f"<= 2.5 x {VALUES:.0f} MB",
            lambda cost: cost.peak.grown <= 2.5 * VALUES,
            by_hand=_series_by_hand,
        ),
        "to_xarray() of one meter": Operation(
            lambda study: study.to_xarray(METER, frequency="hourly"),
            f"<= 2.5 x {VALUES:.0f} MB",
            lambda cost: cost.peak.grown <= 2.5 * VALUES,
        ),
        "to_xarray(chunks=), mean of one meter": Operation(
            _reduce, "< 300 MB in all", lambda cost: cost.peak.total < 300
        ),
        "to_parquet() of one meter": Operation(_to_parquet),
        "consolidate(tabular=True)": Operation(lambda study: study.consolidate(tabular=True), prepare=_forget),
        "tabular() of one cell, consolidated": Operation(
            lambda study: study.tabular(*CELL), "<= 6 beside LIST", lambda cost: cost.single <= 6
        ),
    },
    "local": {
        "status()": Operation(lambda study: study.status(), "<= 10 s", lambda cost: cost.peak.seconds <= 10),
        "summary(), the first": Operation(lambda study: study.summary()),
        "summary(), again": Operation(lambda study: study.summary(), "<= 10 s", lambda cost: cost.peak.seconds <= 10),
    },
}
