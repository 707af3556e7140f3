"""What Parquet sidecars cost and give: writing them after a run, and reading results over a wire of 30 ms.

The peer of a read is idfkit's documented way, which downloads the whole database each time; the second peer is pandas,
which reads the same sidecar. The wire is as quick as the machine, 1 Gbit/s, or 100 Mbit/s. A peer that goes from case
to case is measured on a sample, and scaled to all of them; the row says so. Targets are judged by the medians. The best
rounds are shown beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fabricated import CELL, Template, name_of, to_store
from idfkit import IDFDocument
from idfkit.simulation import SimulationResult, simulate
from rows import Row, expect, ratio
from small_office import Frequency, one_zone, small_office, weather
from watch import done, peak, ready
from wire import Side, Wire, cache_in, in_turns, limit, wire

import idfkit_fs
from idfkit_fs import Study, find_energyplus
from idfkit_fs._outputs.sidecars import SIDECARS, TABULAR, TIME, write_sidecars
from idfkit_fs._util.files import digest_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

DELAY = 0.015
USUAL = ", 1 Gbit/s"
# How quick the wire is, in bytes a second, and how many rounds there are: of a slow one, the bytes are nearly all.
WIRES = {"": (None, 5), USUAL: (125e6, 5), ", 100 Mbit/s": (12.5e6, 3)}
CASE, PLAIN = "case-42", "without-sidecars"
VARIABLE, KEY = "Zone Mean Air Temperature", "OFFICE STORY 2 CORE"
COLUMN = f"{KEY}:{VARIABLE} [C](Hourly)"
# How many times idfkit's speed is aimed at.
QUICKER = {"": 3.0, USUAL: 8.0, ", 100 Mbit/s": 8.0}

CASES = 1_000
OPENED = 20
COLLECTED = 2

SURFACES = ("Surface Inside Face Temperature", "Surface Outside Face Temperature")
SHARE = 0.5
MEGABYTES = 600
WRITTEN = {"one zone": 3, "three storeys": 3, "seven storeys": 2}
MIDDLE = "three storeys"


def measure() -> list[Row]:
    """Run three models, read the middle one's series and a study's cells, and write the sidecars of all three."""
    with TemporaryDirectory(prefix="idfkit-fs-bench-") as directory:
        here = Path(directory)
        runs = {name: _run(model, here / name) for name, model in _models()}
        rows = []
        for speed, (rate, rounds) in WIRES.items():
            with wire("SeaweedFS", DELAY, rate) as link:
                rows += _series(speed, rounds, link, runs[MIDDLE], here)
                if speed == USUAL:
                    rows += [*_dataset(speed, rounds, link, here), _cells(speed, link, here)]
        return [*rows, *_writing(runs, here)]


def _models() -> Iterator[tuple[str, IDFDocument]]:
    yield "one zone", one_zone()
    yield "three storeys", _with_surfaces(3, "Hourly")
    yield "seven storeys", _with_surfaces(7, "Timestep")


def _with_surfaces(storeys: int, frequency: Frequency) -> IDFDocument:
    model = small_office(storeys=storeys, frequency=frequency)
    for variable in SURFACES:
        model.add("Output:Variable", key_value="*", variable_name=variable, reporting_frequency=frequency)
    return model


def _run(model: IDFDocument, directory: Path) -> SimulationResult:
    result = simulate(model, weather(), output_dir=directory, energyplus=find_energyplus(), annual=True)
    expect(result)
    return result


def _sql(run: SimulationResult) -> Path:
    if run.sql_path is None:
        raise SystemExit(f"no database in {run}")
    return run.sql_path


def _megabytes(run: SimulationResult) -> str:
    return f"{_sql(run).stat().st_size / 1e6:.1f} MB .sql"


# One series.


def _series(speed: str, rounds: int, link: Wire, run: SimulationResult, here: Path) -> list[Row]:
    """Read one series that this machine never read, or read before, with clients that were used before."""
    import pandas as pd  # here, so that a process that only writes does not hold it; xarray too

    _publish(link, run)
    place, s3 = link.place, link.place.idfkit("")

    def ours(case: str) -> pd.DataFrame:
        result = idfkit_fs.open_result(f"{place.url}/{case}", storage_options=place.options)
        return result.timeseries(VARIABLE, keys=KEY, frequency="hourly")

    def idfkits(_number: int) -> pd.DataFrame:
        with SimulationResult.from_directory(CASE, fs=s3) as result:
            return result.sql.get_timeseries(VARIABLE, KEY).to_dataframe()

    def pandas(_number: int) -> pd.DataFrame:
        url = f"{place.url}/{CASE}/timeseries-hourly.parquet"
        return pd.read_parquet(url, columns=[TIME, COLUMN], storage_options=place.options)

    with cache_in(here / "compared"):
        read = [ours(CASE)[COLUMN], ours(PLAIN)[COLUMN], pandas(0)[COLUMN], idfkits(0).iloc[:, 0]]
    expect(len(read[0]) == 8760 and all(each.tolist() == read[0].tolist() for each in read))

    sidecar = Side(lambda _: ours(CASE), lambda: cache_in(here / "cold"))
    again = Side(lambda _: ours(CASE), lambda: cache_in(here / "warm", keep=True))
    database = Side(lambda _: ours(PLAIN), lambda: cache_in(here / "cold"))
    whole, parquet = Side(idfkits), Side(pandas)
    in_turns(link, rounds, sidecar, again, database, whole, parquet)
    what = f"one hourly series of {_megabytes(run)}{speed}"
    return [
        _aimed(f"{what}, cold, sidecar: idfkit", speed, rounds, link, sidecar, whole),
        Row(f"{what}, cold, sidecar: pandas.read_parquet", str(sidecar), str(parquet), ratio(sidecar, parquet)),
        Row(f"{what}, warm, sidecar: idfkit", str(again), str(whole), ratio(again, whole)),
        Row(f"{what}, cold, no sidecars: idfkit", str(database), str(whole), ratio(database, whole)),
    ]


def _aimed(what: str, speed: str, rounds: int, link: Wire, ours: Side, peer: Side) -> Row:
    """A row that says, of an aim that is not reached, what the rest is made of."""
    target = QUICKER[speed]
    met = peer.median / ours.median >= target
    left = str(ours) if met else limit(link, ours, DELAY, rounds + 1)
    return Row(what, left, str(peer), ratio(ours, peer), f">= {target:.0f}x", met)


def _publish(link: Wire, run: SimulationResult) -> None:
    """Publish it twice: with sidecars and without."""
    for case, sidecars in ((CASE, True), (PLAIN, False)):
        url, options = f"{link.direct.url}/{case}", link.direct.options
        idfkit_fs.publish(run, url, storage_options=options, exclude=["*.eso"], sidecars=sidecars)


# As xarray has it.


def _dataset(speed: str, rounds: int, link: Wire, here: Path) -> list[Row]:
    """Open all hourly series lazily, and select one; beside idfkit, which lists what there is, and reads one."""
    import xarray as xr

    place, s3 = link.place, link.place.idfkit("")

    def dataset(_number: int) -> xr.Dataset:
        return xr.open_dataset(f"{place.url}/{CASE}", engine="energyplus", storage_options=place.options)

    def idfkits(_number: int) -> SimulationResult:
        result = SimulationResult.from_directory(CASE, fs=s3)
        result.sql.list_variables()
        return result

    opened: dict[str, Any] = {}

    @contextmanager
    def with_dataset() -> Iterator[None]:
        with cache_in(here / "xarray"), dataset(0) as opened["dataset"]:
            yield

    @contextmanager
    def with_database() -> Iterator[None]:
        with idfkits(0) as opened["result"]:
            yield

    lazy, whole = Side(dataset, lambda: cache_in(here / "xarray")), Side(idfkits)
    one = Side(lambda _: opened["dataset"][VARIABLE].sel(key=KEY).to_numpy(), with_dataset)
    other = Side(lambda _: opened["result"].sql.get_timeseries(VARIABLE, KEY), with_database)
    in_turns(link, rounds, lazy, whole, one, other)
    what = f"xarray.open_dataset(){speed}"
    return [
        _aimed(f"{what}, cold: idfkit's list_variables()", speed, rounds, link, lazy, whole),
        Row(f"{what}, then one key: idfkit, its database open", str(one), str(other), ratio(one, other)),
    ]


# One number of each case.


def _cells(speed: str, link: Wire, here: Path) -> Row:
    """Collect one cell of all cases; beside the loop of idfkit's documentation."""
    place, cases, sample = link.place, range(CASES), range(OPENED)
    template = Template.of(small_office(), here / "template")
    opened = template.runs(sample, files=None, pending=0)
    others = template.runs(range(OPENED, CASES), (TABULAR,), pending=0)
    to_store(link.direct, "cells", template.jobs(cases), template.outcomes(cases, pending=0), opened, others)
    study, s3 = Study(f"{place.url}/cells", storage_options=place.options), place.idfkit("cells")

    def collect(number: int) -> None:
        # Each cache stays until the end: what is removed in large numbers would slow down the disk for the next round.
        with cache_in(here / f"cells-{number}", keep=True):
            found = study.tabular(*CELL, cases=None if number else map(name_of, sample))
        expect(found["number"].notna().sum() == (CASES if number else OPENED))

    def loop(_number: int) -> None:
        for number in sample:
            with SimulationResult.from_directory(name_of(number), fs=s3) as result:
                expect(result.sql.get_tabular_value(*CELL))

    ours, peer = Side(collect), Side(loop, scale=CASES // OPENED)
    in_turns(link, COLLECTED, ours, peer)
    size = template.size("eplus.sql") / 1e6
    what = f"tabular(), one cell of {CASES:,} cases{speed}: idfkit's loop, {size:.1f} MB .sql each ({OPENED}, scaled)"
    return Row(what, str(ours), str(peer), ratio(ours, peer))


# Writing.


def _writing(runs: dict[str, SimulationResult], here: Path) -> list[Row]:
    """Write the sidecars in a process that has its packages; beside EnergyPlus, which wrote the database."""
    rows = []
    for name, rounds in WRITTEN.items():
        run = runs[name]
        peaks = [peak(_writer, _sql(runs["one zone"]), _sql(run), here) for _ in range(rounds)]
        seconds = [each.seconds for each in peaks]
        share, best = median(seconds) / run.runtime_seconds, min(seconds) / run.runtime_seconds
        what = f"write sidecars of {_megabytes(run)}, hash and all: EnergyPlus"
        ours, peer = f"{median(seconds):.2f} s, best {min(seconds):.2f}", f"{run.runtime_seconds:.1f} s"
        rows.append(Row(what, ours, peer, f"{share:.0%}, best {best:.0%}", f"< {SHARE:.0%}", share < SHARE))
    most = max(peaks, key=lambda each: each.total)
    what = f"memory of writing sidecars of {_megabytes(run)}, the process in all: the file"
    ours = f"{most.total:.0f} MB, {most.grown:.0f} of them to write"
    size = _sql(run).stat().st_size / 1e6
    rows.append(
        Row(what, ours, f"{size:.0f} MB", f"{most.total / size:.2f}", f"< {MEGABYTES} MB", most.total < MEGABYTES)
    )
    return rows


def _writer(small: Path, sql: Path, here: Path, pipe: Connection) -> None:
    with TemporaryDirectory(dir=here) as directory:
        _write(small, Path(directory))
        ready(pipe)
        _write(sql, Path(directory))
        done(pipe)


def _write(sql: Path, directory: Path) -> None:
    """As publishing does."""
    _, sha256 = digest_of(sql)
    expect(write_sidecars(sql, sha256, directory, SIDECARS))
