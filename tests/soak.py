"""A study on bad days, for minutes: ``nox -s soak -- MINUTES [--seed N]``.

Workers run a study on SeaweedFS behind a proxy that makes faults, and are killed again and again; so is the server. Cases
are added and removed meanwhile. Readers in this process know what has to come out. Most cases repeat recorded runs, some
are simulated. The exit code is 1 if anything is lost, wrong or left over, or if this process keeps growing.
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
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

os.environ.update({"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"})
sys.path.append(str(Path(__file__).parents[1] / "examples"))

from small_office import energyplus, weather
from support import servers
from support.readers import CONTEXT
from support.recorded import VARIABLE, Recorded, Truth, cell, recorded_model
from support.servers import BUCKET, Store
from support.storm import Counts, Storm
from support.variants import variant

from idfkit_fs import Case, Study, cache
from idfkit_fs.errors import CaseExistsError, CaseNotFoundError, IdfkitFsError
from idfkit_fs.studies.job import Job

CASES = 24
WORKERS = 2
READERS = 2
# What a process that goes on for ever may need more in the second half of the time than in the first.
MAY_GROW_MB = 60
MAY_OPEN = 40
HEATING = "heating_district_heating_water_kwh"


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
        self.counts = Counts()
        self.done: Counter[str] = Counter()
        self.over = threading.Event()
        # How often a case was removed or added; odd while that is under way, or the case is away.
        self.changes = dict.fromkeys((f"case-{number:02}" for number in range(CASES)), 1)
        self.known_ok: dict[str, int] = {}

    def case(self, name: str) -> Case:
        number = self.number(name)
        model = variant(0.3) if number == len(self.recorded.truths) - 1 else recorded_model(number)
        return Case(name, model, self.recorded.weather, {"number": number})

    def number(self, name: str) -> int:
        """The number of the run that a case has to become."""
        return int(name[-2:]) % len(self.recorded.truths)

    def truth(self, name: str) -> Truth:
        return self.recorded.truths[self.number(name)]

    def attempt(self, kind: str, call: Callable[[], Any]) -> tuple[Any, Exception | None]:
        self.done[kind] += 1
        return self.counts.attempt(kind, call)

    # Those who change it.

    def change(self) -> None:
        """Remove cases and add them again, until it is over."""
        chance = Random(f"{self.seed} change")
        while not self.over.is_set():
            name = chance.choice([*self.changes])
            if self.changes[name] % 2:
                self.add(name)
            elif chance.random() < 0.25:
                self.changes[name] += 1
                self.known_ok.pop(name, None)
                self.until("remove", lambda name=name: self.study.remove(name), CaseNotFoundError)
            self.over.wait(chance.uniform(0.1, 0.6))

    def add(self, name: str) -> None:
        # What a killed worker has left at the URL of a case that was removed since is nobody's: hence `overwrite`.
        self.until("add", lambda: self.study.add_cases([self.case(name)], overwrite=True), CaseExistsError)
        self.changes[name] += 1

    def until(self, kind: str, call: Callable[[], Any], enough: type[Exception]) -> None:
        """Do something until it is done, or an error says that it is."""
        error: Exception | None = Exception()
        while error is not None and not isinstance(error, enough):
            _, error = self.attempt(kind, call)

    def kill(self) -> None:
        """Start workers, and kill each at some moment."""
        chance = Random(f"{self.seed} kill")
        with ExitStack() as stack:
            workers = [self.start(stack, number) for number in range(WORKERS)]
            while not self.over.is_set():
                # As many uploads as one to four cases take, however quick this machine is.
                uploads = chance.randrange(10, 60)
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

    # Those who read it.

    def read(self, number: int) -> None:
        """Read whatever there is, until it is over."""
        chance = Random(f"{self.seed} read {number}")
        ways = [self.read_status, self.read_summary, self.read_series, self.read_cell, self.read_sql, self.forget]
        while not self.over.is_set():
            chance.choice(ways)(chance)

    def read_status(self, _chance: Random) -> None:
        known, changes = dict(self.known_ok), dict(self.changes)
        status, _ = self.attempt("status", self.study.status)
        if status is None:
            return
        for name, when in known.items():
            if name not in status.ok and self.changes[name] == when:
                self.counts.lost.append(f"{name} was ok, and is so no more")
        for name in status.ok:
            if changes.get(name, 1) % 2 == 0 and changes[name] == self.changes[name]:
                self.known_ok.setdefault(name, changes[name])

    def read_summary(self, _chance: Random) -> None:
        changes = dict(self.changes)
        frame, _ = self.attempt("summary", self.study.summary)
        for name, row in () if frame is None else frame.iterrows():
            if row["state"] == "ok":
                self.check(abs(row[HEATING] - self.heating(name)) < 1e-9, f"summary of {name}: {row[HEATING]}")
            elif row["state"] != "pending":
                self.check(self.changes[name] != changes[name] or changes[name] % 2, f"{name}: {row.to_dict()}")

    def heating(self, name: str) -> float:
        return float(self.truth(name).summary[HEATING])

    def read_series(self, chance: Random) -> None:
        self.ask("series", chance, lambda run: run.timeseries(VARIABLE), lambda truth: truth.series)

    def read_cell(self, chance: Random) -> None:
        self.ask("cell", chance, cell, lambda truth: truth.heating)

    def read_sql(self, chance: Random) -> None:
        def last(run: Any) -> Any:
            key = self.truth("00").series.columns[0].partition(":")[0]
            with run.sql as sql:
                return sql.get_timeseries(VARIABLE, key).values[-1]

        self.ask("sql", chance, last, lambda truth: truth.series.iloc[-1, 0])

    def ask(self, kind: str, chance: Random, question: Callable[[Any], Any], right: Callable[[Truth], Any]) -> None:
        """Ask a run that is known to exist; what is said must be right, whatever happens to the case meanwhile."""
        known = dict(self.known_ok)
        if not known:
            return
        name = chance.choice(sorted(known))
        found, error = self.attempt(kind, lambda: question(self.study.result(name)))
        if error is None:
            expected = right(self.truth(name))
            same = found.equals(expected) if hasattr(found, "equals") else found == expected
            self.check(same, f"{kind} of {name}: {found}")
        elif isinstance(error, FileNotFoundError) and self.changes[name] == known[name]:
            self.counts.lost.append(f"{name}: {error}")

    def forget(self, _chance: Random) -> None:
        """So that files are read anew."""
        self.attempt("clear the cache", cache.clear)

    def check(self, right: object, what: str) -> None:
        self.counts.check(right, what)

    # All of it.

    def run(self, seconds: float) -> list[tuple[int, int]]:
        """Go on for a while; the memory (MB) and descriptors of this process, every few seconds."""
        calls = [self.change, self.kill, self.restart, *(lambda n=n: self.read(n) for n in range(READERS))]
        threads = [threading.Thread(target=self.guarded, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        samples = [_memory_and_descriptors()]
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.over.wait(seconds / 40):
            samples.append(_memory_and_descriptors())
        self.over.set()
        for thread in threads:
            thread.join()
        return [*samples, _memory_and_descriptors()]  # the workers' connections to the proxy are closed now

    def guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as exc:  # noqa: BLE001 - ends the soak, and its exit code is 1
            self.counts.other_errors.append(f"the soak itself: {exc!r}")
            self.over.set()

    def settle(self) -> None:
        """With neither faults nor kills: add what is away, run what is pending, and look at everything."""
        self.storm.calm = True
        self.counts.faults = self.storm.met.total()
        for name, changed in self.changes.items():
            if changed % 2:
                self.add(name)
        study = Study(self.url, storage_options=dict(self.store.storage_options))
        os.environ["ENERGYPLUS_DIR"] = str(self.recorded.installation)
        self.attempt("run in peace", study.run)
        ok = study.status().ok
        for name in self.changes:
            if name not in ok:
                self.counts.lost.append(f"{name} is not ok after a run in peace")
                continue
            run, error = self.attempt("look", lambda name=name: study.result(name))
            try:
                self.check(error is None and cell(run) == self.truth(name).heating, f"cell of {name}: {error}")
                self.check(run and run.timeseries(VARIABLE).equals(self.truth(name).series), f"series of {name}")
                for file in run.record.files:
                    run.files.fetch(file.name)  # compares its hash with the record
            except IdfkitFsError as exc:
                self.counts.lost.append(f"{name}: {exc}")
        self.counts.left_over += self.left_over()

    def left_over(self) -> list[str]:
        """What no record, job or outcome names, and uploads that were not ended."""
        raw: Any = self.store.raw
        keys = {*raw.keys()}
        named = {"study/_study/study.json"}
        for key in keys:
            if key.endswith("/run.json"):
                files = json.loads(raw.get(key))["files"]
                named |= {key, *(key.removesuffix("run.json") + file["name"] for file in files)}
            elif key.startswith("study/_study/jobs/"):
                job = Job.from_json(raw.get(key), key)
                inputs = [file.name for file in (job.model, job.weather, *job.files.values()) if file]
                named |= {key, f"study/{job.outcome_path('ok')}", *(f"study/_study/inputs/{name}" for name in inputs)}
        uploads = raw._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return [*sorted(keys - named), *(f"upload of {upload['Key']}" for upload in uploads)]


def _work(url: str, options: dict[str, Any], home: str, installation: Path) -> None:
    """Run a study again and again."""
    os.setsid()
    os.environ |= {"XDG_CACHE_HOME": home, "ENERGYPLUS_DIR": str(installation)}
    tempfile.tempdir = home
    warnings.simplefilter("ignore")
    study = Study(url, storage_options=options)
    while True:
        try:
            study.run(max_workers=1)
        except (IdfkitFsError, ExceptionGroup):
            time.sleep(0.1)


def _end(process: Any) -> None:
    """Kill a worker, and EnergyPlus with it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it has not got so far as to be a group
        process.kill()
    process.join()


def _memory_and_descriptors() -> tuple[int, int]:
    """The resident memory of this process (MB), and how many descriptors it has open."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20, len(os.listdir("/proc/self/fd"))


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
        recorded = Recorded(home / "recorded", energyplus(), weather(), count=4)
        recorded.truths.append(recorded.truth_of(variant(0.3), "simulated"))
        store = stack.enter_context(servers.seaweedfs())
        target = urlsplit(store.endpoint)
        storm = stack.enter_context(Storm(str(target.hostname), int(target.port or 0), given.seed))
        soak = Soak(store, storm, recorded, home, given.seed)
        samples = soak.run(given.minutes * 60)
        soak.settle()
        left = [path.name for path in Path(tempfile.gettempdir()).iterdir() if "idfkit-fs-run-" in path.name]
        soak.counts.left_over += left
    # The first half is for warming up: imports, connections, pools of threads.
    half = len(samples) // 2
    (memory, opened), (most_memory, most_opened) = (
        tuple(map(max, zip(*part, strict=True))) for part in (samples[:half], samples[half:])
    )
    print(f"operations: {dict(soak.done)}")
    print(f"faults: {dict(storm.met)}")
    for name in ("other_errors", "lost", "wrong", "left_over"):
        for each in getattr(soak.counts, name)[:20]:
            print(f"{name}: {each}")
    (first_memory, first_opened), (last_memory, last_opened) = samples[0], samples[-1]
    grown = most_memory - memory > MAY_GROW_MB or last_opened - opened > MAY_OPEN
    print(
        f"memory: {first_memory} MB at the start, {last_memory} MB at the end; at most {memory} MB in the first half,"
    )
    print(f"{most_memory} MB in the second; descriptors: {first_opened}, {last_opened}; {opened}, {most_opened}")
    print(f"{given.minutes:g} minutes, seed {given.seed}: {soak.counts.line()}")
    return 0 if soak.counts.is_good and not grown else 1


if __name__ == "__main__":
    sys.exit(main())
