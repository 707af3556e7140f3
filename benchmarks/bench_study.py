"""A study over a wire of 30 ms: how it stands, its summary, a case of it run, and a thousand cases prepared.

A peer that goes from case to case is measured on a sample, and scaled to all of them; the rows say so. Targets are
judged by the medians. The best rounds stand beside them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from idfkit import IDFDocument, write_idf
from idfkit.simulation import SimulationResult, simulate
from rows import Row, ratio
from small_office import energyplus, small_office, weather
from wire import Place, Side, Wire, in_turns, wire

from idfkit_fs import Case, Study, run_case
from idfkit_fs.studies.job import Job, Outcome
from idfkit_fs.studies.layout import job_path

DELAY = 0.015
RATE = 12.5e6
ROUNDS = 3
ADDED = 2
RUNS = 9
STANDING = 10_000
CASES = 1_000
LOOKS = 5
OPENED = 20
UPLOADED = 50
# Of a large study, one case in so many is still to be run.
PENDING = 20
CELL = ("AnnualBuildingUtilityPerformanceSummary", "Site and Source Energy", "Total Site Energy", "Total Energy")

REQUESTS = 25
QUICKER = 30.0
OVERHEAD = 0.10


def measure() -> list[Row]:
    """Run some cases, make large studies of what one of them left, and prepare new ones."""
    with TemporaryDirectory(prefix="idfkit-fs-bench-") as directory:
        here = Path(directory)
        with patch.dict(os.environ, XDG_CACHE_HOME=str(here / "cache")):
            with wire("SeaweedFS", DELAY) as link:
                running = _run(link, here)
                prepared = _Prepared(link.direct)
                rows = [_status(link), _summary(link), running, _prepare(link, prepared)]
            with wire("SeaweedFS", DELAY, RATE) as link:
                return [*rows, _narrow(link, prepared)]


# Running.


def _run(link: Wire, here: Path) -> Row:
    """Run a case as a worker does; beside idfkit, which is handed a model and leaves the same files on this disk.

    The weather file is in the worker's cache; each model is new to it.
    """
    place, installed, models = link.place, energyplus(), list(variants(RUNS + 1))
    study = Study(f"{place.url}/run", storage_options=place.options, metrics=[CELL])
    study.add_cases(cases_of(models))

    def work(number: int) -> None:
        expect(run_case(study.url, name_of(number), place.options) == (name_of(number), "ok", "simulated"))

    def plain(number: int) -> None:
        expect(simulate(models[number], weather(), output_dir=here / str(number), energyplus=installed, annual=True))

    ours, peer = Side(work), Side(plain)
    in_turns(link, RUNS, ours, peer)
    more = ours.median / peer.median - 1
    text = f"{more:+.1%}, best {ours.best / peer.best - 1:+.1%}"
    what = "run_case(), a year of the small office: idfkit's simulate() to disk"
    return Row(what, str(ours), str(peer), text, f"< {OVERHEAD:+.0%}", more < OVERHEAD)


def expect(done: Any) -> None:
    """End it all if something did not do what is measured."""
    if not getattr(done, "success", done):
        raise SystemExit(f"a case did not run: {getattr(done, 'errors', done)}")


# Looking, and collecting.


def _status(link: Wire) -> Row:
    """Ask how many cases stand; beside asking idfkit's filesystem of each whether its database is there."""
    pile_up(link.direct, "status", STANDING)
    study = Study(f"{link.place.url}/status", storage_options=link.place.options)
    s3, sample = link.place.idfkit("run"), [name_of(number) for number in range(RUNS + 1)] * LOOKS
    pending = len(range(0, STANDING, PENDING))
    ours = Side(lambda _: expect(str(study.status()) == _told(STANDING - pending, pending)))
    peer = Side(lambda _: [expect(s3.exists(f"{case}/eplus.sql")) for case in sample], scale=STANDING // len(sample))
    in_turns(link, ROUNDS, ours, peer)
    what = f"status() of {STANDING:,} cases: idfkit's exists() for each ({len(sample)}, scaled)"
    target, met = f"<= {REQUESTS} req.", ours.requests <= REQUESTS
    return Row(what, str(ours), str(peer), ratio(ours, peer), target, met)


def _told(ok: int, pending: int) -> str:
    return f"{ok + pending} cases: {ok} ok, 0 failed, {pending} pending"


def _summary(link: Wire) -> Row:
    """Make a table of all cases; beside the loop of idfkit's documentation, which gets one number of each."""
    pile_up(link.direct, "summary", CASES)
    sample = [name_of(number) for number in range(OPENED)]
    copy_run(link.direct, [f"summary/{case}" for case in sample])
    study = Study(f"{link.place.url}/summary", storage_options=link.place.options)
    s3 = link.place.idfkit("summary")

    def collect(_number: int) -> None:
        expect(study.summary()["site_energy_kwh"].notna().sum() == CASES - len(range(0, CASES, PENDING)))

    def loop(_number: int) -> None:
        for case in sample:
            with SimulationResult.from_directory(case, fs=s3) as result:
                expect(result.sql and result.sql.get_tabular_value(*CELL))

    ours, peer = Side(collect), Side(loop, scale=CASES // OPENED)
    in_turns(link, ROUNDS, ours, peer)
    what = f"summary() of {CASES:,} cases: idfkit's loop, one value of each .sql ({OPENED}, scaled)"
    met = peer.median / ours.median >= QUICKER
    return Row(what, str(ours), str(peer), ratio(ours, peer), f">= {QUICKER:.0f}x", met)


def pile_up(place: Place, name: str, count: int, pending: int = PENDING) -> None:
    """Put a large study there: the job and the outcome of a real case, again and again under other names.

    Args:
        place: Where the study `run` is, with that case.
        name: The new study's name.
        count: How many cases it has.
        pending: One case in so many is pending; 0 for none.
    """
    done = Study(f"{place.url}/run", storage_options=place.options).fs
    job = Job.from_json(done.read_bytes(job_path(name_of(1))), "")
    outcome = Outcome.from_json(done.read_bytes(job.outcome_path("ok")), "")
    Study(f"{place.url}/{name}", storage_options=place.options, metrics=[CELL]).add_cases([])

    def objects() -> Iterator[tuple[str, bytes]]:
        for number in range(count):
            sha256 = hashlib.sha256(str(number).encode()).hexdigest()
            model = job.model.model_copy(update={"name": f"{sha256}.idf", "sha256": sha256})
            named: dict[str, Any] = {"case": name_of(number), "parameters": {"number": number}}
            other = job.model_copy(update={**named, "model": model})
            yield job_path(other.case), other.to_json()
            if not pending or number % pending:
                yield other.outcome_path("ok"), outcome.model_copy(update={**named, "key": other.key}).to_json()

    s3 = place.idfkit(name)
    at_once(lambda item: s3.write_bytes(*item), objects())


def copy_run(place: Place, directories: list[str]) -> None:
    """Copy the files of a real case's run within the store."""
    client, bucket, source = place.idfkit("")._client, place.url.partition("://")[2], f"run/{name_of(1)}/"
    listed = client.list_objects_v2(Bucket=bucket, Prefix=source)["Contents"]
    keys = [(item["Key"], item["Key"].removeprefix(source)) for item in listed]
    copies = [(f"{bucket}/{key}", f"{directory}/{name}") for key, name in keys for directory in directories]
    at_once(lambda item: client.copy_object(Bucket=bucket, CopySource=item[0], Key=item[1]), copies)


def at_once(function: Callable[[Any], Any], items: Iterable[Any]) -> None:
    """Ten at a time: as many connections as boto3's clients keep."""
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(function, items))


# Preparing.


class _Prepared:
    """A thousand variants of one model, and what of them goes to a store."""

    def __init__(self, direct: Place) -> None:
        self.models = list(variants(CASES))
        job = Study(f"{direct.url}/run", storage_options=direct.options).fs.read_bytes(job_path(name_of(1)))
        texts = [write_idf(model).encode() for model in self.models]
        self.size = weather().stat().st_size + sum(map(len, texts)) + CASES * len(job)
        self.sample = [data for text in texts[:UPLOADED] for data in (text, job)]

    @property
    def what(self) -> str:
        return f"add_cases() of {CASES:,} variants, {self.size / 1e6:.0f} MB"

    def add(self, place: Place, number: int) -> None:
        """Add them to a new study; a few of them in the round that does not count."""
        study = Study(f"{place.url}/prepare-{number}", storage_options=place.options, metrics=[CELL])
        study.add_cases(cases_of(self.models if number else self.models[:UPLOADED]))


def _prepare(link: Wire, prepared: _Prepared) -> Row:
    """Add them; beside idfkit's filesystem, which is handed as many bytes and uploads them one after another."""
    s3 = link.place.idfkit("uploaded")

    def upload(_number: int) -> None:
        for index, data in enumerate(prepared.sample):
            s3.write_bytes(str(index), data)

    ours, peer = Side(lambda number: prepared.add(link.place, number)), Side(upload, scale=CASES // UPLOADED)
    in_turns(link, ADDED, ours, peer)
    what = f"{prepared.what}: idfkit's write_bytes, one by one ({UPLOADED} cases, scaled)"
    return Row(what, str(ours), str(peer), ratio(ours, peer))


def _narrow(link: Wire, prepared: _Prepared) -> Row:
    """Likewise where the wire is narrow; beside the time that the bytes alone take."""
    ours, alone = Side(lambda number: prepared.add(link.place, number)), prepared.size / RATE
    in_turns(link, 1, ours)
    what = f"{prepared.what}, 100 Mbit/s: the bytes alone"
    return Row(what, str(ours), f"{alone:.2f} s", f"{ours.median / alone:.2f}")


# Cases.


def name_of(number: int) -> str:
    """The name of the case of this number."""
    return f"case-{number:05}"


def variants(count: int) -> Iterator[IDFDocument]:
    """Models that differ in one number, as those of a parametric study do."""
    base = small_office()
    for number in range(count):
        model = base.copy()
        model["Material"]["Insulation"].thickness = round(0.05 + 0.0001 * number, 4)
        yield model


def cases_of(models: Iterable[IDFDocument]) -> Iterator[Case]:
    """Cases of these models, by their numbers."""
    for number, model in enumerate(models):
        yield Case(name_of(number), model, weather(), {"number": number}, options={"annual": True})
