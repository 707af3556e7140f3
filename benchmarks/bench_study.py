"""A study over a wire of 30 ms: its status and summary, cases that are run, and a thousand cases prepared.

A peer that goes from case to case is measured on a sample, and scaled to all of them; the rows say so. Targets are
judged by the medians. The best rounds are shown beside them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from fabricated import CELL, PENDING, Template, name_of, to_store
from idfkit import IDFDocument, write_idf
from idfkit.simulation import SimulationJob, SimulationResult, simulate, simulate_batch
from rows import Row, expect, ratio
from small_office import one_zone, small_office, weather
from wire import LIMIT_ROUNDS, Place, Side, Wire, in_turns, limit, wire

from idfkit_fs import Case, Study, find_energyplus, run_case

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
SHORT = 8
AT_ONCE = 2

REQUESTS = 25
QUICKER = 30.0
OVERHEAD = 0.15
SLOWER = 1.2


def measure() -> list[Row]:
    """Run some cases, make large studies of what one of them left, and prepare new ones."""
    with TemporaryDirectory(prefix="idfkit-fs-bench-") as directory:
        here = Path(directory)
        with patch.dict(os.environ, XDG_CACHE_HOME=str(here / "cache")):
            template = Template.of(next(variants(1)), here)
            prepared = _Prepared(template)
            with wire("SeaweedFS", DELAY) as link:
                running = [_run(link, here), *_whole(link, here)]
                rows = [_status(link, template), _summary(link, template), *running, _prepare(link, prepared)]
            with wire("SeaweedFS", DELAY, RATE) as link:
                return [*rows, _narrow(link, prepared)]


# Running.


def _run(link: Wire, here: Path) -> Row:
    """Run a case as a worker does; beside idfkit, which is handed a model and leaves the same files on this disk.

    The weather file is in the worker's cache; each model is new to it.
    """
    place, installed, models = link.place, find_energyplus(), list(variants(RUNS + 1 + LIMIT_ROUNDS))
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
    met = more < OVERHEAD
    left = str(ours) if met else limit(link, ours, DELAY, RUNS + 1)
    return Row(what, left, str(peer), text, f"< {OVERHEAD:+.0%}", met)


def _whole(link: Wire, here: Path) -> list[Row]:
    """Prepare and run a study of short runs; beside idfkit's batch, to this disk and to the store."""
    place, s3, installed, models = link.place, link.place.idfkit("batch"), find_energyplus(), list(_short(SHORT))

    def whole(number: int) -> None:
        study = Study(f"{place.url}/whole-{number}", storage_options=place.options, metrics=[CELL])
        study.add_cases(cases_of(models, annual=False))
        expect(len(study.run(max_workers=AT_ONCE).runs) == SHORT)

    def batch(number: int, fs: Any = None) -> None:
        top = "" if fs else f"{here}/"
        jobs = [
            SimulationJob(model, weather(), output_dir=f"{top}batch-{number}/{name_of(index)}")
            for index, model in enumerate(models)
        ]
        done = simulate_batch(jobs, energyplus=installed, max_workers=AT_ONCE, fs=fs)
        expect(all(result.success for result in done.results))

    ours, peer, remote = Side(whole), Side(batch), Side(lambda number: batch(number, s3))
    in_turns(link, ROUNDS, ours, peer, remote)
    slower = ours.median / peer.median
    text, met = f"{slower:.2f}, best {ours.best / peer.best:.2f}", slower <= SLOWER
    left = str(ours) if met else limit(link, ours, DELAY, ROUNDS + 1)
    what = f"a study of {SHORT} short runs, prepared and run, {AT_ONCE} at once: idfkit's simulate_batch()"
    return [
        Row(f"{what} to disk", left, str(peer), text, f"<= {SLOWER}", met),
        Row(f"{what} to S3", str(ours), str(remote), ratio(ours, remote)),
    ]


def _short(count: int) -> Iterator[IDFDocument]:
    """Models that EnergyPlus runs in 0.7 s: one zone, four months."""
    for number in range(count):
        model = one_zone()
        model["Material"]["Insulation"].thickness = round(0.05 + 0.01 * number, 4)
        period = next(iter(model["RunPeriod"]))
        period.end_month, period.end_day_of_month = 4, 30
        yield model


# Looking, and collecting.


def _status(link: Wire, template: Template) -> Row:
    """Ask how many cases are done; beside asking idfkit's filesystem whether each database exists."""
    cases = range(STANDING)
    to_store(link.direct, "status", template.jobs(cases), template.outcomes(cases))
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


def _summary(link: Wire, template: Template) -> Row:
    """Make a table of all cases; beside the loop of idfkit's documentation, which gets one number of each."""
    cases, sample = range(CASES), range(1, OPENED + 1)
    runs = template.runs(sample, files=None, pending=0)
    to_store(link.direct, "summary", template.jobs(cases), template.outcomes(cases), runs)
    study = Study(f"{link.place.url}/summary", storage_options=link.place.options)
    s3 = link.place.idfkit("summary")

    def collect(_number: int) -> None:
        expect(study.summary()["site_energy_kwh"].notna().sum() == CASES - len(range(0, CASES, PENDING)))

    def loop(_number: int) -> None:
        for number in sample:
            with SimulationResult.from_directory(name_of(number), fs=s3) as result:
                expect(result.sql and result.sql.get_tabular_value(*CELL))

    ours, peer = Side(collect), Side(loop, scale=CASES // OPENED)
    in_turns(link, ROUNDS, ours, peer)
    what = f"summary() of {CASES:,} cases: idfkit's loop, one value of each .sql ({OPENED}, scaled)"
    met = peer.median / ours.median >= QUICKER
    return Row(what, str(ours), str(peer), ratio(ours, peer), f">= {QUICKER:.0f}x", met)


# Preparing.


class _Prepared:
    """A thousand variants of one model, and what of them goes to a store."""

    def __init__(self, template: Template) -> None:
        self.models = list(variants(CASES))
        job = next(bytes(job) for _, job in template.jobs(range(1)))
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
    """The same on a slow network; beside the time that the bytes alone take."""
    ours, alone = Side(lambda number: prepared.add(link.place, number)), prepared.size / RATE
    in_turns(link, 1, ours)
    what = f"{prepared.what}, 100 Mbit/s: the bytes alone"
    return Row(what, str(ours), f"{alone:.2f} s", f"{ours.median / alone:.2f}")


# Cases.


def variants(count: int) -> Iterator[IDFDocument]:
    """Models that differ in one number, as those of a parametric study do."""
    base = small_office()
    for number in range(count):
        model = base.copy()
        model["Material"]["Insulation"].thickness = round(0.05 + 0.0001 * number, 4)
        yield model


def cases_of(models: Iterable[IDFDocument], *, annual: bool = True) -> Iterator[Case]:
    """Cases of these models, by their numbers."""
    for number, model in enumerate(models):
        yield Case(name_of(number), model, weather(), {"number": number}, options={"annual": annual})
