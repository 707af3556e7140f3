"""A study on bad days, for minutes: ``nox -s soak -- MINUTES [--seed N]``.

Workers run a study on SeaweedFS behind a proxy that makes faults, and are killed again and again; so is the server.
Cases are added, replaced and removed meanwhile. A process that lives as long as the soak reads them, and knows what has
to come out. Most cases repeat recorded runs, some are simulated. The exit code is 1 if anything is lost, wrong or left
over, if something was never done, or if the reading process keeps growing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing.util
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

os.environ.update({"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"})
sys.path.append(str(Path(__file__).parents[1] / "examples"))

from small_office import weather
from support import servers
from support.readers import CONTEXT
from support.recorded import VARIABLE, Recorded, Truth, cell, recorded_model
from support.servers import BUCKET, Store
from support.storm import Counts, Storm, differences
from support.variants import variant

from idfkit_fs import Case, Study, cache, find_energyplus
from idfkit_fs.errors import CaseNotFoundError, IdfkitFsError, UnreachableError

CASES = [f"case-{number:02}" for number in range(24)]
WORKERS = 2
READERS = 2
SAMPLES = 60
# What a process that goes on forever may need more in the last third of the time than in the second one.
MAY_GROW_MB = 30
MAY_OPEN = 15
HEATING = "heating_district_heating_water_kwh"
TO_DO = ("add", "replace", "remove", "run in peace", "kill a worker", "status", "summary", "series", "cell", "sql")


class Turns:
    """What each case has been, and is: shared with the process that reads.

    A turn is odd while a case is away, or is being added, replaced or removed; with each of its even turns the case has
    another model. A reader that notes the turn before and after reading knows what could be read.

    Args:
        truths: What comes out of the models.
    """

    def __init__(self, truths: list[Truth]) -> None:
        self.truths = truths
        self._turns = CONTEXT.Array("i", [1] * len(CASES))

    def __getitem__(self, name: str) -> int:
        return int(self._turns[CASES.index(name)])

    def all(self) -> dict[str, int]:
        return dict(zip(CASES, self._turns, strict=True))

    def next(self, name: str) -> None:
        self._turns[CASES.index(name)] += 1

    def number(self, name: str, turn: int) -> int:
        """The number of the run that a case has in an even turn."""
        return (CASES.index(name) + turn // 2) % len(self.truths)

    def possible(self, name: str, since: int) -> list[Truth]:
        """What could be read of a case since a turn."""
        return [self.truths[self.number(name, turn)] for turn in range(since - since % 2, self[name] + 2, 2)]


class Reader:
    """Reads whatever a study has, in every way, and knows what has to come out.

    Args:
        study: The study.
        turns: What its cases are.
        seed: What all chance begins with.
    """

    def __init__(self, study: Study, turns: Turns, seed: int) -> None:
        self.study, self.turns, self.seed = study, turns, seed
        self.counts = Counts()
        self.done: Counter[str] = Counter()
        self.known_ok: dict[str, int] = {}

    def attempt(self, kind: str, call: Callable[[], Any]) -> tuple[Any, Exception | None]:
        found, error = self.counts.attempt(kind, call)
        self.done[kind if error is None else f"{kind}: {type(error).__name__}"] += 1
        return found, error

    def read(self, number: int, over: Any) -> None:
        """Read all that exists, until the test ends."""
        chance = Random(f"{self.seed} read {number}")
        ways = [self.read_status, self.read_summary, self.read_series, self.read_cell, self.read_sql, self.forget]
        while not over.is_set():
            chance.choice(ways)(chance)

    def read_status(self, _chance: Random) -> None:
        known, turns = dict(self.known_ok), self.turns.all()
        status, _ = self.attempt("status", self.study.status)
        if status is None:
            return
        self.counts.check(not status.failed, f"status: {status.failed} failed")
        now = self.turns.all()
        for name, turn in known.items():
            if name not in status.ok and now[name] == turn:
                self.counts.lost.append(f"{name} was ok, and is so no more")
        for name in status.ok:
            if turns[name] % 2 == 0 and turns[name] == now[name] and self.known_ok.get(name) != now[name]:
                self.known_ok[name] = now[name]
                self.done["case that became ok"] += 1

    def read_summary(self, _chance: Random) -> None:
        turns = self.turns.all()
        frame, _ = self.attempt("summary", self.study.summary)
        for name, row in () if frame is None else frame.iterrows():
            possible = self.turns.possible(name, turns[name])
            if row["state"] == "ok":
                right = any(abs(row[HEATING] - truth.summary[HEATING]) < 1e-9 for truth in possible)
                right = right and self.turns.truths[int(row["number"])] in possible
                self.counts.check(right, f"summary of {name}: {row.to_dict()}")
                self.done["row of a summary"] += 1
            elif row["state"] != "pending":
                self.counts.check(len(possible) > 1, f"summary of {name}: {row.to_dict()}")

    def read_series(self, chance: Random) -> None:
        self.ask("series", chance, lambda run: run.timeseries(VARIABLE), lambda truth: truth.series)

    def read_cell(self, chance: Random) -> None:
        self.ask("cell", chance, cell, lambda truth: truth.heating)

    def read_sql(self, chance: Random) -> None:
        (zone,) = self.turns.truths[0].series.attrs["keys"].values()

        def values(run: Any) -> list[float]:
            with run.sql as sql:
                return [*sql.get_timeseries(VARIABLE, zone, environment="annual").values]

        self.ask("sql", chance, values, lambda truth: truth.series.iloc[:, 0].to_list())

    def ask(self, kind: str, chance: Random, question: Callable[[Any], Any], right: Callable[[Truth], Any]) -> None:
        """Ask a run that is known to exist; what is said must be right, whatever happens to the case meanwhile."""
        now = self.turns.all()
        known = [name for name, turn in self.known_ok.items() if now[name] == turn]
        if not known:
            time.sleep(0.1)
            return
        name = chance.choice(known)
        found, error = self.attempt(kind, lambda: question(self.study.result(name)))
        if error is None:
            same = any(_same(found, right(truth)) for truth in self.turns.possible(name, now[name]))
            self.counts.check(same, f"{kind} of {name}: {found}")
        elif not isinstance(error, UnreachableError) and self.turns[name] == now[name]:
            self.counts.lost.append(f"{kind} of {name}: {error!r}")

    def forget(self, _chance: Random) -> None:
        """So that files are read again."""
        self.attempt("clear the cache", cache.clear)


def _same(found: Any, expected: Any) -> bool:
    return bool(found.equals(expected) if hasattr(found, "equals") else found == expected)


class Soak:
    """A study, who runs it, who changes it, and who reads it.

    Args:
        store: The store.
        storm: The proxy before it.
        recorded: The runs that most cases repeat.
        home: A directory for everything local.
        seed: What all chance begins with.
    """

    def __init__(self, store: Store, storm: Storm, recorded: Recorded, home: Path, seed: int) -> None:
        self.store, self.storm, self.recorded, self.home, self.seed = store, storm, recorded, home, seed
        self.options = dict(store.through(storm.endpoint).storage_options)
        self.url = f"{store.url}/study"
        self.study = Study(self.url, storage_options=self.options)
        self.turns = Turns(recorded.truths)
        self.counts = Counts()
        self.done: Counter[str] = Counter()
        self.over = CONTEXT.Event()

    def case(self, name: str) -> Case:
        """The case of the next even turn; every second one has a model of its own, the others are copied."""
        number = self.turns.number(name, self.turns[name] + 1)
        is_real = number == len(self.recorded.truths) - 1
        model = variant(0.3) if is_real else recorded_model(number)
        if CASES.index(name) % 2:
            building = next(iter(model["Building"]))
            building.name = f"{building.name} {name}"
        return Case(name, model, self.recorded.weather, {"number": number})

    def attempt(self, kind: str, call: Callable[[], Any]) -> tuple[Any, Exception | None]:
        found, error = self.counts.attempt(kind, call)
        self.done[kind if error is None else f"{kind}: {type(error).__name__}"] += 1
        return found, error

    # Those who change it.

    def change(self) -> None:
        """Add all cases, and then replace and remove them, and add them again, until it is over."""
        chance = Random(f"{self.seed} change")
        self.add(CASES, "add")
        while not self.over.wait(chance.uniform(1, 4)):
            name = chance.choice(CASES)
            if self.turns[name] % 2:
                self.add([name], "add")
            elif chance.random() < 0.6:
                self.turns.next(name)
                self.add([name], "replace")
            else:
                self.turns.next(name)
                self.until("remove", lambda name=name: self.remove(name))

    def add(self, names: list[str], kind: str) -> None:
        # What a killed worker has left at the URL of a case that was removed since has no owner, so `overwrite`.
        cases = [self.case(name) for name in names]
        self.until(kind, lambda: self.study.add_cases(cases, overwrite=True))
        for name in names:
            self.turns.next(name)

    def remove(self, name: str) -> None:
        with suppress(CaseNotFoundError):  # the reply was lost
            self.study.remove(name)

    def until(self, kind: str, call: Callable[[], Any]) -> None:
        """Do something until it is done."""
        for _ in range(100):
            _, error = self.attempt(kind, call)
            if error is None:
                return
        raise AssertionError(f"{kind} failed 100 times") from error

    def kill(self) -> None:
        """Start workers, and kill each at some moment."""
        chance = Random(f"{self.seed} kill")
        with ExitStack() as stack:
            workers = [self.start(stack, number) for number in range(WORKERS)]
            while not self.over.is_set():
                # As many uploads as one to ten cases take, however quick this machine is.
                uploads = chance.randrange(20, 200)
                self.storm.reset_counters()
                while not self.over.wait(0.1) and self.uploads() < uploads:
                    pass
                number = chance.randrange(WORKERS)
                _end(workers[number])
                self.done["kill a worker"] += 1
                workers[number] = self.start(stack, number)

    def uploads(self) -> int:
        """How many were begun since the counters were reset."""
        return sum(line.startswith("PUT") for line in list(self.storm.request_lines))

    def start(self, stack: ExitStack, number: int) -> Any:
        home = self.home / f"worker-{number}"
        shutil.rmtree(home, ignore_errors=True)  # what a killed process could not remove
        home.mkdir()
        process = CONTEXT.Process(target=_work, args=(self.url, self.options, str(home), self.recorded.installation))
        process.start()
        stack.callback(_end, process)
        return process

    def restart(self) -> None:
        """Kill the server now and then."""
        chance = Random(f"{self.seed} restart")
        assert self.store.restart is not None
        while not self.over.wait(chance.uniform(15, 45)):
            self.done["kill the server"] += 1
            self.store.restart()

    # All of it.

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """A process that reads until it is over, and hands its counts in; it is then counted with the rest."""
        home = self.home / "reader"
        home.mkdir()
        here, there = CONTEXT.Pipe()
        arguments = (self.url, self.options, str(home), self.turns, self.seed, self.over, there)
        process = CONTEXT.Process(target=_read, args=arguments)
        process.start()
        there.close()  # so that its end is seen here
        try:
            yield process
            counts, done = here.recv()
            self.done.update(done)
            for name, value in json.loads(counts).items():
                setattr(self.counts, name, getattr(self.counts, name) + value)
        finally:
            process.join()
        self.counts.left_over += [str(path) for path in (home / "temporary").iterdir()]

    def run(self, seconds: float) -> list[tuple[int, int]]:
        """Go on for a while; the memory (MB) and descriptors of the process that reads, every few seconds."""
        threads = [
            threading.Thread(target=self.guarded, args=(call,)) for call in (self.change, self.kill, self.restart)
        ]
        samples = []
        with self.reading() as reader:
            for thread in threads:
                thread.start()
            end = time.monotonic() + seconds
            while time.monotonic() < end and not self.over.wait(seconds / SAMPLES):
                samples.append(_memory_and_descriptors(reader.pid))
            self.over.set()
            for thread in threads:
                thread.join()
        return samples

    def guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as exc:  # noqa: BLE001 - ends the soak, and its exit code is 1
            self.counts.other_errors.append(f"the soak itself: {exc!r} from {exc.__cause__!r}")
            self.over.set()

    def settle(self) -> None:
        """With neither faults nor kills: add what is away, run what is pending, and look at everything."""
        self.storm.calm = True
        self.counts.faults = self.storm.met.total()
        for name in CASES:
            if self.turns[name] % 2:
                self.add([name], "add")
        study = Study(self.url, storage_options=dict(self.store.storage_options))
        os.environ["ENERGYPLUS_DIR"] = str(self.recorded.installation)
        report, _ = self.attempt("run in peace", study.run)
        print(f"a run in peace: {report}")
        for finding in study.verify(deep=True).findings:
            # What a killed worker has left may lie there; but what a case counts as must be so.
            print(f"afterwards: {finding.case}: {finding.problem}")
            self.counts.check("not published to the end" in finding.problem, f"{finding}")
        self.counts.check(study.verify(deep=True, repair=True).ok, "something could not be repaired")
        self.counts.check(not study.verify(deep=True).findings, "something is still to be repaired")
        self.counts.check(study.status().ok == tuple(CASES), f"at the end: {study.status()}")
        for name in CASES:
            self.look(study, name, self.recorded.truths[self.turns.number(name, self.turns[name])])
        missing, left_over = differences(self.store.raw, "study")
        self.counts.lost += missing
        self.counts.left_over += left_over
        uploads = self.store.raw._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        self.counts.left_over += [f"upload of {upload['Key']}" for upload in uploads]

    def look(self, study: Study, name: str, truth: Truth) -> None:
        """Compare a case with what it has to be."""
        try:
            run = study.result(name)
            self.counts.check(cell(run) == truth.heating, f"cell of {name}")
            self.counts.check(run.timeseries(VARIABLE).equals(truth.series), f"series of {name}")
        except IdfkitFsError as exc:
            self.counts.lost.append(f"{name}: {exc!r}")


def _read(url: str, options: dict[str, Any], home: str, turns: Turns, seed: int, over: Any, results: Any) -> None:
    """Read a study until it is over, and send what was counted."""
    os.environ["XDG_CACHE_HOME"] = home
    tempfile.tempdir = str(Path(home, "temporary"))
    os.mkdir(tempfile.tempdir)
    warnings.simplefilter("ignore")
    reader = Reader(Study(url, storage_options=options), turns, seed)

    def read(number: int) -> None:
        try:
            reader.read(number, over)
        except Exception as exc:  # noqa: BLE001 - ends the soak, and its exit code is 1
            reader.counts.other_errors.append(f"the soak itself: {exc!r}")
            over.set()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.send((reader.counts.to_json(), reader.done))


def _work(url: str, options: dict[str, Any], home: str, installation: Path) -> None:
    """Run a study again and again."""
    os.setsid()
    os.environ |= {"XDG_CACHE_HOME": home, "ENERGYPLUS_DIR": str(installation)}
    tempfile.tempdir = home
    warnings.simplefilter("ignore")
    study = Study(url, storage_options=options)
    while True:
        with suppress(IdfkitFsError, ExceptionGroup):
            study.run(max_workers=1)
        time.sleep(0.1)


def _end(process: Any) -> None:
    """Kill a worker, and EnergyPlus with it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it has not got so far as to be a group
        process.kill()
    process.join()


def _memory_and_descriptors(pid: int) -> tuple[int, int]:
    """The resident memory of a process (MB), and how many descriptors it has open."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20, len(os.listdir(f"/proc/{pid}/fd"))


def _print_growth(samples: list[tuple[int, int]]) -> bool:
    """Print how much the process needed that read, by thirds of the time; whether it goes on growing."""
    third = len(samples) // 3
    first, second, last = (
        tuple(map(max, zip(*part, strict=True)))
        for part in (samples[:third], samples[third : 2 * third], samples[2 * third :])
    )
    print(f"{'a process that reads':22}{'start':>8}{'middle':>8}{'end':>8}   at most, by thirds of the time")
    for index, kind in enumerate(("memory (MB)", "descriptors")):
        at = [samples[where][index] for where in (0, len(samples) // 2, -1)]
        print(f"{kind:22}{at[0]:8}{at[1]:8}{at[2]:8}   {first[index]}, {second[index]}, {last[index]}")
    return last[0] - second[0] > MAY_GROW_MB or last[1] - second[1] > MAY_OPEN


def main() -> int:
    """Soak, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=2.0)
    parser.add_argument("--seed", type=int, default=Random().randrange(2**32))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    warnings.simplefilter("ignore", UserWarning)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="idfkit-fs-soak-")))
        multiprocessing.util.get_temp_dir()  # it stays until this process ends
        tempfile.tempdir = str(home / "temporary")
        os.mkdir(tempfile.tempdir)
        os.environ["XDG_CACHE_HOME"] = str(home / "cache")
        recorded = Recorded(home / "recorded", find_energyplus(), weather(), count=4)
        recorded.truths.append(recorded.truth_of(variant(0.3), "simulated"))
        store = stack.enter_context(servers.seaweedfs())
        target = urlsplit(store.endpoint)
        storm = stack.enter_context(Storm(str(target.hostname), int(target.port or 0), given.seed))
        soak = Soak(store, storm, recorded, home, given.seed)
        samples = soak.run(given.minutes * 60)
        soak.settle()
        left = [path.name for path in Path(tempfile.gettempdir()).iterdir() if "idfkit-fs-run-" in path.name]
        soak.counts.left_over += left
    counts = soak.counts
    for name, times in sorted(soak.done.items()):
        print(f"{times:7} {name}")
    print(f"faults: {dict(sorted(storm.met.items()))}")
    for name in ("other_errors", "lost", "wrong", "left_over"):
        for each in getattr(counts, name)[:20]:
            print(f"{name}: {each}")
    never = [name for name in TO_DO if not soak.done[name]]
    if never:
        print(f"never done: {', '.join(never)}")
    grows = _print_growth(samples)
    print(f"{given.minutes:g} minutes, seed {given.seed}: {counts.line()}")
    return 0 if counts.is_good and not never and not grows else 1


if __name__ == "__main__":
    sys.exit(main())
