"""Reading a real database of about 50 MB over a wire of 30 ms: again, for the first time, and in how much memory.

The peer of a warm open is idfkit itself, which downloads the database each time; that of a cold one is boto3's transfer
manager, which does nothing but download. The wire is as quick as the machine, or 1 Gbit/s: what the cache saves depends
on it, and on the machine's own wire the one round trip that a warm open takes is a good part of the whole download.
Targets are judged by the medians. The best rounds are shown beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from idfkit.simulation import SimulationResult, SQLResult, simulate
from rows import Row, ratio
from small_office import small_office, weather
from watch import done, peak, ready
from wire import Place, Side, Wire, cache_in, in_turns, wire

import idfkit_fs
from idfkit_fs import find_energyplus

DELAY = 0.015
RATES = {"": None, ", 1 Gbit/s": 125e6}
ROUNDS = 11
CASE = "case-42"
QUICKER = 10.0
SLOWER = 1.3
MEGABYTES = 16
# More than the run's record and the headers of its reply, and less than anything worth having of the database.
RECORD = 16_000

Query = Callable[[SQLResult], object]


def measure() -> list[Row]:
    """Publish one run, then read its database on each wire."""
    with TemporaryDirectory(prefix="idfkit-fs-bench-") as directory:
        here = Path(directory)
        run = _run(here / "run")
        rows = []
        for speed, rate in RATES.items():
            with wire("SeaweedFS", DELAY, rate) as link:
                idfkit_fs.publish(run, f"{link.direct.url}/{CASE}", storage_options=link.direct.options)
                what = f" of {_size(run) / 1e6:.1f} MB .sql{speed}"
                for name in QUERIES:
                    rows += _warm(name, what, link, here)
                rows.append(_cold(what, link, here))
                if rate is None:
                    rows.append(_memory(what, link, here))
        return rows


def _run(directory: Path) -> SimulationResult:
    """A year of three storeys, with series in quarters of an hour."""
    model = small_office(storeys=3, frequency="Timestep")
    result = simulate(model, weather(), output_dir=directory, energyplus=find_energyplus(), annual=True)
    if not result.success or not 45e6 < _size(result) < 55e6:
        raise SystemExit(f"expected a database of about 50 MB, got {_size(result)} bytes: {result.errors.summary()}")
    return result


def _size(run: SimulationResult) -> int:
    return run.sql_path.stat().st_size if run.sql_path else 0


def _warm(name: str, what: str, link: Wire, here: Path) -> list[Row]:
    """Open what was read before, and ask it one thing."""
    query, s3 = QUERIES[name], link.place.idfkit("")
    ours = Side(lambda _: _asked(_open(link.place), query))
    immutable = Side(lambda _: _asked(_open(link.place, immutable=True), query))
    peer = Side(lambda _: _asked(_open_idfkits(s3), query))
    with cache_in(here / "warm"):
        in_turns(link, ROUNDS, ours, immutable, peer)
    what = f"warm open{what}, {name}"
    return [
        _warm_row(f"{what}: idfkit", ours, peer, name, 1),
        _warm_row(f"{what}, immutable: idfkit", immutable, peer, name, 0),
    ]


def _warm_row(what: str, ours: Side, peer: Side, name: str, requests: int) -> Row:
    median = peer.median / ours.median
    target, met = f"{requests} req., no data", ours.requests <= requests and ours.down <= requests * RECORD
    if name == LIGHT:  # a longer query takes longer than the wire
        target, met = f">= {QUICKER:.0f}x, {target}", met and median >= QUICKER
    return Row(what, str(ours), str(peer), ratio(ours, peer), target, met)


def _cold(what: str, link: Wire, here: Path) -> Row:
    """Open what this machine never read, with clients that were used before."""
    client, bucket, copy = link.place.idfkit("")._client, link.place.url.partition("://")[2], here / "copy.sql"

    def download(_number: int) -> None:
        client.download_file(bucket, f"{CASE}/eplus.sql", str(copy))

    @contextmanager
    def fresh() -> Iterator[None]:
        yield
        copy.unlink()

    ours = Side(lambda _: _asked(_open(link.place), lambda _: None), lambda: cache_in(here / "cold"))
    peer = Side(download, fresh)
    in_turns(link, ROUNDS, ours, peer)
    slower = ours.median / peer.median
    text = f"{slower:.2f}, best {ours.best / peer.best:.2f}"
    what = f"cold open{what}: boto3 download_file"
    return Row(what, str(ours), str(peer), text, f"<= {SLOWER}", slower <= SLOWER)


def _memory(what: str, link: Wire, here: Path) -> Row:
    """What a warm open takes, in a process that has its packages and connections."""
    with cache_in(here / "memory"):
        _asked(_open(link.place), QUERIES[LIGHT]).close()
        ours, peer = (peak(_reader, link.place, idfkits).grown for idfkits in (False, True))
    what = f"memory of a warm open{what}, {LIGHT}: idfkit"
    target = f"<= {MEGABYTES} MB"
    return Row(what, f"{ours:.1f} MB", f"{peer:.1f} MB", f"{ours / peer:.2f}", target, ours <= MEGABYTES)


def _reader(place: Place, idfkits: bool, pipe: Connection) -> None:
    s3 = place.idfkit("") if idfkits else None

    def opened() -> SimulationResult:
        return _open(place) if s3 is None else _open_idfkits(s3)

    opened().errors.summary()
    ready(pipe)
    _asked(opened(), QUERIES[LIGHT]).close()
    done(pipe)


def _open(place: Place, *, immutable: bool = False) -> SimulationResult:
    return idfkit_fs.open_result(f"{place.url}/{CASE}", storage_options=place.options, immutable=immutable)


def _open_idfkits(s3: Any) -> SimulationResult:
    return SimulationResult.from_directory(CASE, fs=s3)


def _asked(result: SimulationResult, query: Query) -> SimulationResult:
    sql = result.sql
    if sql is None:
        raise SystemExit(f"no database in {result}")
    query(sql)
    return result


def _energy(sql: SQLResult) -> object:
    report, table = "AnnualBuildingUtilityPerformanceSummary", "Site and Source Energy"
    return sql.get_tabular_value(report, table, "Total Site Energy", "Energy Per Total Building Area")


def _temperature(sql: SQLResult) -> object:
    return sql.get_timeseries("Zone Mean Air Temperature", "OFFICE STORY 2 CORE")


LIGHT = "get_tabular_value"
QUERIES: dict[str, Query] = {LIGHT: _energy, "get_timeseries": _temperature}
