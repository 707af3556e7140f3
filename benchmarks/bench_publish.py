"""Publishing a real run over a wire of 30 ms: beside idfkit's own upload, and beside fsspec's bulk `put`.

The target is judged by the medians. The best rounds are shown beside them: other work of the machine only adds time,
and adds most to the side that works in parallel, its server and wire being on the same cores.
"""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from idfkit.simulation import SimulationResult, simulate
from idfkit.simulation._common import upload_results
from rows import Row, ratio
from small_office import small_office, weather
from wire import SPAWN, Place, Side, Wire, in_turns, limit, wire

import idfkit_fs
from idfkit_fs import find_energyplus
from idfkit_fs.runs.publish import publish

DELAY = 0.015
ROUNDS = 11
COLD_ROUNDS = 4
# On a store that takes its time; moto's own time is a good part of each side's.
TARGETS = {"SeaweedFS": 7.5, "moto": 6.0}


def measure() -> list[Row]:
    """Publish the same 16 files to each server, with warm and with cold clients."""
    with TemporaryDirectory(prefix="idfkit-fs-bench-") as directory:
        run = _run(Path(directory))
        rows = []
        for server in ("SeaweedFS", "moto"):
            with wire(server, DELAY) as link:
                rows += _warm(server, link, run)
                rows.append(_cold(server, link, run))
        return rows


def _run(directory: Path) -> SimulationResult:
    """A year of the small office, with daily series: 16 files, model and weather file included."""
    model = small_office(frequency="Daily")
    model.add("OutputControl:Files", output_mtd="No", output_shd="No")
    result = simulate(model, weather(), output_dir=directory, energyplus=find_energyplus(), annual=True)
    count = len(list(directory.iterdir()))
    if not result.success or count != 16:
        raise SystemExit(f"expected a run of 16 files, got {count}: {result.errors.summary()}")
    return result


def _warm(server: str, link: Wire, run: SimulationResult) -> list[Row]:
    """Clients that were used before, their connections open."""
    import s3fs  # here, so that a cold process does not find it imported

    place = link.place
    files = sorted(run.run_dir.iterdir())
    theirs, plain = place.idfkit("idfkit"), s3fs.S3FileSystem(**place.options, skip_instance_cache=True)

    def put(case: str) -> None:
        base = f"{place.url}/s3fs/{case}"
        plain.put([str(file) for file in files], [f"{base}/{file.name}" for file in files])
        plain.pipe_file(f"{base}/run.json", bytes(4096))

    ours = Side(lambda number: _publish(place, run, f"warm-{number}"))
    idfkit = Side(lambda number: upload_results(run.run_dir, Path(f"warm-{number}"), theirs))
    bulk = Side(lambda number: put(f"warm-{number}"))
    in_turns(link, ROUNDS, ours, idfkit, bulk)
    target = TARGETS[server]
    met = idfkit.median / ours.median >= target
    left = str(ours) if met else limit(link, ours, DELAY, ROUNDS + 1)
    what = f"publish 16 files, {server}, warm: "
    return [
        Row(f"{what}idfkit", left, str(idfkit), ratio(ours, idfkit), f">= {target:.1f}x", met),
        Row(f"{what}s3fs.put + record", str(ours), str(bulk), ratio(ours, bulk)),
    ]


def _cold(server: str, link: Wire, run: SimulationResult) -> Row:
    """The first run that a process publishes: its clients are made and their packages imported on the way."""
    ours, theirs = Side(print), Side(print)
    for number in range(COLD_ROUNDS):
        for side, idfkit in ((ours, False), (theirs, True)):
            here, there = SPAWN.Pipe()
            process = SPAWN.Process(target=_first, args=(link.place, run, f"cold-{number}", idfkit, there))
            process.start()
            there.close()
            side.seconds.append(here.recv())
            process.join()
    what = f"publish 16 files, {server}, cold process: idfkit"
    return Row(what, str(ours), str(theirs), ratio(ours, theirs))


def _first(place: Place, run: SimulationResult, case: str, idfkit: bool, pipe: Connection) -> None:
    start = time.perf_counter()
    if idfkit:
        upload_results(run.run_dir, Path(case), place.idfkit("idfkit"))
    else:
        _publish(place, run, case)
    pipe.send(time.perf_counter() - start)


def _publish(place: Place, run: SimulationResult, case: str) -> idfkit_fs.RunResult:
    return publish(run, f"{place.url}/ours/{case}", storage_options=place.options, include=["**"])
