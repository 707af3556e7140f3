"""Publishing and running cases, with every step of two or three workers in an order that a seed decides.

``python tests/support/interleavings.py FIRST COUNT`` explores seeds; one that fails is printed with its schedule.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import hashlib
import logging
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from unittest import mock

if __name__ == "__main__":
    # Sets of texts are iterated in an order of their own in each process, unless it is told not to.
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
    tests = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(tests), str(tests.parent / "examples")]

import idfkit.simulation
from fsspec.implementations.memory import MemoryFileSystem
from idfkit import IDFDocument, new_document
from small_office import ENERGYPLUS_VERSION
from support.scheduler import Actor, Fault, Kind, Scheduler, at_gate, current_actor, gated
from support.tiny_runs import Recorded, record

import idfkit_fs.studies.study
from idfkit_fs import FsspecFileSystem, Study, open_result, publish, run_case
from idfkit_fs._cache.options import open_cache
from idfkit_fs.errors import IncompleteRunError, RunNotFoundError
from idfkit_fs.runs.record import RECORD_NAME
from idfkit_fs.runs.result import RunResult
from idfkit_fs.studies.job import Outcome
from idfkit_fs.studies.plan import Source
from idfkit_fs.studies.stored import read_job

__all__ = ["Broken", "Explorer", "Seed"]

CASES = ("a", "b")
# How a worker says that another one was in the way.
_IN_THE_WAY = {"CaseExistsError", "CaseNotFoundError", "DamagedRunError", "RunExistsError"}


class Broken(AssertionError):
    """An invariant does not hold.

    Attributes:
        invariant: Which.
    """

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant


def require(condition: object, invariant: str, text: str) -> None:
    if not condition:
        raise Broken(invariant, text)


@dataclass
class Seed:
    """One scenario.

    Attributes:
        number: The seed.
        home: A directory for everything local.
        recorded: Takes EnergyPlus's place.
        chance: Decides everything.
        actors: The workers.
        faults: What happens to them.
        scheduler: What has decided the order.
    """

    number: int
    home: Path
    recorded: Recorded
    chance: random.Random = field(init=False)
    actors: list[Actor] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    begun_with: str = ""
    scheduler: Scheduler | None = None
    made: list[tuple[Actor, Path]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.number)

    @property
    def base(self) -> str:
        return f"memory://seed-{self.number}"

    @property
    def study(self) -> Study:
        return Study(f"{self.base}/study")

    def __str__(self) -> str:
        lines = [f"seed {self.number}: at first {self.begun_with}"]
        for actor in self.actors:
            said = f"{type(actor.error).__name__}: {str(actor.error)[:300]}" if actor.error else repr(actor.result)
            lines.append(f"  {actor.name}: steps from {actor.begun} to {actor.ended}; {said}")
        if self.scheduler:
            prefix = f"/seed-{self.number}/"
            lines += [f"{number:4} {step}".replace(prefix, "") for number, step in enumerate(self.scheduler.steps)]
        return "\n".join(lines)

    # What the workers do.

    def prepare(self) -> None:
        """Make the study as it is at first, and choose the workers."""
        chance = self.chance
        self.begun_with = chance.choice(("pending", "pending", "ok", "ok", "another job", "failed", "published"))
        study = self.study
        first = "bad" if self.begun_with == "failed" else "good"
        for case in CASES:
            self.add(study, case, first)
        if self.begun_with in ("ok", "another job", "failed"):
            study.run(["a"])
        if self.begun_with == "another job":
            self.add(study, "a", "other")
        if self.begun_with == "published" or chance.random() < 0.3:
            publish(self.local_run(), f"{self.base}/plain", sidecars=False)
        kinds: list[Callable[[int], Actor]] = chance.choice(
            (
                [self.publisher, self.publisher, self.publisher],
                [self.runner, self.runner, self.runner, self.adder],
                [self.runner, self.adder, self.readder, self.remover, self.copier, self.runner],
                [self.runner, self.copier, self.copier, self.adder, self.remover],
                [self.runner, self.publisher_to_case, self.copier, self.adder],
                [self.runner, self.runner, self.remover, self.readder],
                [self.runner, self.adder, self.adder],
                [self.runner, self.adder, self.remover, self.verifier],
            )
        )
        count = chance.choice((2, 2, 3))
        self.actors = [kind(index) for index, kind in enumerate(chance.sample(kinds, count))]
        for _ in range(chance.choice((0, 0, 1, 1, 1, 2))):
            kind: Kind = chance.choice(("kill", "kill", "kill", "cancel", "lose", "break", "refuse"))
            step = chance.choice((chance.randrange(12), chance.randrange(25), chance.randrange(50)))
            self.faults.append(Fault(chance.randrange(count), step, kind))

    def local_run(self) -> Path:
        directory = self.home / f"local-{uuid.uuid4().hex[:8]}"
        directory.mkdir()
        self.recorded.write(directory)
        return directory

    def add(self, study: Study, case: str, model: str) -> None:
        study.add(case, MODELS[model], overwrite=True, design_day=True, parameters={"model": model})

    def publisher(self, index: int) -> Actor:
        directory, url = self.local_run(), f"{self.base}/plain"

        def work(_actor: Actor) -> RunResult:
            return publish(directory, url, overwrite=True, sidecars=False)

        return Actor(f"{index} publisher", work, {"index": index, "url": url})

    def publisher_to_case(self, index: int) -> Actor:
        directory, url = self.local_run(), f"{self.base}/study/a"

        def work(_actor: Actor) -> RunResult:
            return publish(directory, url, overwrite=True, sidecars=False)

        return Actor(f"{index} publisher to a", work, {"index": index, "url": url, "disturbs": "a"})

    def runner(self, index: int) -> Actor:
        how = self.chance.choice(("run_case", "run_case", "run([a])", "run()"))
        retry = self.chance.random() < 0.5

        def work(_actor: Actor) -> Any:
            url = f"{self.base}/study"
            if how == "run_case":
                return [run_case(url, "a", retry_failed=retry)]
            study = Study(url)
            return list((study.run(["a"]) if how == "run([a])" else study.run()).runs)

        return Actor(f"{index} runner {how}", work, {"index": index})

    def copier(self, index: int) -> Actor:
        how = self.chance.choice(("run_case", "run([b])", "run()"))

        def work(_actor: Actor) -> Any:
            url = f"{self.base}/study"
            if how == "run_case":
                return [run_case(url, "b", source=Source(f"{url}/a"))]
            study = Study(url)
            return list((study.run(["b"]) if how == "run([b])" else study.run()).runs)

        return Actor(f"{index} copier {how}", work, {"index": index})

    def adder(self, index: int) -> Actor:
        model = self.chance.choice(("good", "other", "other", "bad"))

        def work(_actor: Actor) -> None:
            self.add(self.study, "a", model)

        return Actor(f"{index} adder of {model}", work, {"index": index, "disturbs": "a", "adds": model})

    def remover(self, index: int) -> Actor:
        case = self.chance.choice(CASES)

        def work(_actor: Actor) -> None:
            self.study.remove(case)

        return Actor(f"{index} remover of {case}", work, {"index": index, "disturbs": case, "removes": case})

    def readder(self, index: int) -> Actor:
        model = self.chance.choice(("good", "other"))

        def work(_actor: Actor) -> None:
            self.study.remove("a")
            self.add(self.study, "a", model)

        return Actor(f"{index} remover, adder of {model}", work, {"index": index, "disturbs": "a", "adds": model})

    def verifier(self, index: int) -> Actor:
        def work(_actor: Actor) -> None:
            self.study.verify(deep=True)

        return Actor(f"{index} verifier", work, {"index": index})

    # What must hold.

    def check(self) -> None:
        """Check every invariant."""
        with self.as_client("reader"):
            self._check_errors()
            self._check_records()
            self._check_states()
            self._check_acknowledged()
            self._check_directories()
        with self.as_client("healer"):
            self._check_healing()
        with self.as_client("reader again"):
            self._check_records()
            self._check_states()
            self._check_jobs()
        with self.as_client("cleaner"):
            self._check_verification()
            self._check_records()
            self._check_states()
            self._check_leftovers()

    @contextlib.contextmanager
    def as_client(self, name: str) -> Iterator[None]:
        """Go on with an empty local cache."""
        with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": str(self.home / name)}):
            yield

    def _check_errors(self) -> None:
        """I0: who met no fault has succeeded, or says which other worker was in the way."""
        for actor in self.actors:
            if actor.faults or actor.error is None:
                continue
            errors = [actor.error]
            if isinstance(actor.error, IncompleteRunError):
                errors = [*actor.error.errors.values()]
            for error in errors:
                require(type(error).__name__ in _IN_THE_WAY, "I0 error", f"{actor.name}: {error!r}")

    def _check_files(self, result: RunResult, invariant: str) -> None:
        assert result.record is not None
        store = MemoryFileSystem.store
        for entry in result.record.files:
            key = result.files.key(entry.name)
            require(key in store, invariant, f"{key} is missing")
            data = store[key].getvalue()
            found = (len(data), hashlib.sha256(data).hexdigest())
            require(found == (entry.size, entry.sha256), invariant, f"{key} differs from its record")

    def _check_records(self) -> None:
        """I2: whatever calls itself a run has the files of one run."""
        prefix = f"/seed-{self.number}/"
        for key in [
            key for key in MemoryFileSystem.store if key.startswith(prefix) and key.endswith(f"/{RECORD_NAME}")
        ]:
            url = f"memory:/{key.removesuffix(f'/{RECORD_NAME}')}"
            try:
                result = open_result(url)
            except RunNotFoundError:
                continue
            self._check_files(result, "I2 mixture")

    def _outcomes(self, case: str, state: str) -> list[Outcome]:
        prefix = f"/seed-{self.number}/study/_study/{state}/{case}."
        found = [file.getvalue() for key, file in MemoryFileSystem.store.items() if key.startswith(prefix)]
        return [Outcome.from_json(data, "outcome") for data in found if data]

    def _check_states(self) -> None:
        """I1: what the status calls ok, or failed, opens, is what its job asks for, and equals its record."""
        study = self.study
        status = study.status()
        for case, state in status.states().items():
            if state == "pending":
                continue
            try:
                result = study.result(case)
            except Exception as exc:
                raise Broken(f"I1 {state} without a run", f"{case} does not open: {exc}") from exc
            assert result.record is not None
            self._check_files(result, f"I1 {state} but damaged")
            key = read_job(study.fs, case).key
            require(result.record.job == key, f"I1 {state} with another job's run", case)
            require(result.success == (state == "ok"), "I1 wrong state", case)
            ids = {outcome.record.id for outcome in self._outcomes(case, state) if outcome.key == key}
            require(result.record.id in ids, f"I1 {state} with another run's outcome", f"{case}: {ids}")

    def _disturbers(self, case: str, actor: Actor) -> list[Actor]:
        """Those who changed a case, or its run, after an actor began."""
        assert actor.begun is not None
        return [
            other
            for other in self.actors
            if other is not actor and other.data.get("disturbs") == case and (other.ended or 0) > actor.begun
        ]

    def _check_acknowledged(self) -> None:
        """I3: what was acknowledged is not lost."""
        states = self.study.status().states()
        for actor in self.actors:
            if not actor.undisturbed:
                continue
            if actor.data.get("url"):
                self._check_published(actor)
                continue
            for run in actor.result or ():
                if self._disturbers(run.case, actor):
                    continue
                # A failed case may be running again, which takes the run away that it has.
                others = [other for other in self.actors if other is not actor and other.error is not None]
                if run.state == "failed" and others:
                    continue
                require(states.get(run.case) == run.state, "I3 lost", f"{actor.name} said {run}: {states}")

    def _check_published(self, actor: Actor) -> None:
        url = actor.data["url"]
        others = [other for other in self.actors if other is not actor and other.data.get("url") == url]
        case = "a" if url.endswith("/study/a") else None
        if case and [other for other in self.actors if other is not actor]:
            return
        others = [other for other in others if (other.ended or 0) > (actor.begun or 0)]
        if any(not other.undisturbed for other in others):
            return
        try:
            result = open_result(url)
        except Exception as exc:
            raise Broken("I3 lost", f"{actor.name}: its run does not open: {exc}") from exc
        self._check_files(result, "I3 damaged")
        assert result.record is not None
        if not others:
            require(result.record.id == actor.result.record.id, "I3 lost", f"{actor.name}: another run exists")

    def _check_directories(self) -> None:
        """I5: no local directory stays but for one that an error names."""
        for actor, path in self.made:
            if actor.killed or not path.exists():
                continue
            said = f"{actor.error} {getattr(actor.error, '__notes__', '')}"
            errors = actor.error.errors.values() if isinstance(actor.error, IncompleteRunError) else ()
            said += "".join(f"{error} {getattr(error, '__notes__', '')}" for error in errors)
            require(str(path) in said, "I5 directory stays", f"{actor.name}: {path}; {said}")

    def _check_healing(self) -> None:
        """I4: a later run leaves no case pending, and has nothing to do the second time."""
        study = self.study
        foreign = {case for case in study.cases() if self._is_foreign(case)}
        for attempt in ("first", "second"):
            try:
                report = study.run()
            except IncompleteRunError as exc:
                for case, error in exc.errors.items():
                    require(case in foreign, "I4 not repaired", f"{case}: {error!r}")
                report = exc.report
            except Exception as exc:
                raise Broken("I4 not repaired", f"{exc!r}") from exc
            require(attempt == "first" or not report.runs, "I4 second run works", f"{report.runs}")
        pending = {*study.status().pending} - foreign
        require(not pending, "I4 pending", f"{pending}")

    def _check_verification(self) -> None:
        """I7: what killed workers left behind can be removed without a hand; then nothing is wrong."""
        study = self.study
        foreign = {case for case in study.cases() if self._is_foreign(case)}
        study.verify(repair=True)
        found = study.verify(deep=True)
        wrong = [finding for finding in found.findings if finding.case not in foreign]
        require(not wrong, "I7 not verified", f"{wrong}")

    def _check_leftovers(self) -> None:
        """I8: then nothing is left behind: every object is of a case, or of its run."""
        prefix = f"/seed-{self.number}/study/"
        study = self.study
        known = {f"{prefix}_study/study.json"}
        for case, state in study.status().states().items():
            known.add(f"{prefix}_study/jobs/{case}.json")
            if state == "pending":  # another client's run, which a study must not destroy
                known.update(key for key in MemoryFileSystem.store if key.startswith(f"{prefix}{case}/"))
                continue
            result = study.result(case)
            assert result.record is not None
            known.add(f"{prefix}{case}/{RECORD_NAME}")
            known.update(result.files.key(entry.name) for entry in result.record.files)
        found = {key for key in MemoryFileSystem.store if key.startswith(prefix)} - known
        left = sorted(
            key
            for key in found
            if not key.startswith((f"{prefix}_study/inputs/", f"{prefix}_study/ok/", f"{prefix}_study/failed/"))
        )
        left += sorted(
            key for key in found if key.startswith(f"{prefix}_study/") and not MemoryFileSystem.store[key].getvalue()
        )
        require(not left, "I8 left behind", f"{left}")

    def _is_foreign(self, case: str) -> bool:
        """Whether the run at a case's URL was published there by another client, which a study must not destroy."""
        try:
            result = open_result(f"{self.base}/study/{case}")
        except RunNotFoundError:
            return False
        return result.record is not None and result.record.job is None

    def _check_jobs(self) -> None:
        """I6: the case is what was acknowledged last."""
        study = self.study
        states = study.status().states()
        for actor in self.actors:
            model = actor.data.get("adds")
            if not model or not actor.undisturbed:
                continue
            others = [other for other in self._disturbers("a", actor) if not other.data.get("url")]
            if any(other.data.get("adds") != model or "remover" in other.name for other in others):
                continue
            require("a" in states, "I6 lost", f"{actor.name}: no such case")
            require(read_job(study.fs, "a").parameters["model"] == model, "I6 lost", f"{actor.name}: another job")


class Explorer:
    """Runs seeds, one after the other, while it is entered.

    Args:
        recorded: What was recorded of EnergyPlus.
        home: A directory for everything local.
    """

    def __init__(self, recorded: Path, home: Path) -> None:
        self._files = recorded
        self._home = home
        self._seed: Seed
        self._ids = random.Random(0)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            instead = (
                (idfkit.simulation, "async_simulate", self._simulate),
                (idfkit_fs._fs.sync, "open_cache", self._cache),
                (idfkit_fs.runs.publish, "can_write", lambda: False),
                (tempfile, "mkdtemp", self._mkdtemp),
                (tempfile, "tempdir", str(self._home)),
                (uuid, "uuid4", lambda: uuid.UUID(int=self._ids.getrandbits(128), version=4)),
            )
            for module, name, value in instead:
                stack.enter_context(mock.patch.object(module, name, value))
            stack.enter_context(gated())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def explore(self, number: int) -> tuple[Seed, BaseException | None]:
        """Run one seed.

        Returns:
            The scenario with its schedule; and what was wrong.
        """
        with self.seed(number) as seed:
            try:
                with seed.as_client("preparing"):
                    seed.prepare()
                seed.scheduler = Scheduler(seed.actors, seed.chance, seed.faults)
                seed.scheduler.run()
                seed.check()
            except Exception as exc:  # noqa: BLE001 - reported with the schedule
                return seed, exc
            return seed, None

    @contextlib.contextmanager
    def seed(self, number: int) -> Iterator[Seed]:
        """An empty store and an empty disk."""
        home = self._home / f"seed-{number}"
        home.mkdir()
        self._ids = random.Random(number)
        self._seed = Seed(number, home, Recorded(self._files))
        try:
            yield self._seed
        finally:
            for key in [key for key in MemoryFileSystem.store if key.startswith(f"/seed-{number}/")]:
                del MemoryFileSystem.store[key]
            shutil.rmtree(home, ignore_errors=True)

    async def _simulate(self, model: Any, _weather: Any, *, output_dir: Path, **_options: Any) -> Any:
        await asyncio.to_thread(at_gate, "energyplus", "", lambda: None)
        return self._seed.recorded.run(model, output_dir)

    def _cache(self, options: Any) -> Any:
        """A cache for each actor, as on a machine of its own."""
        actor = current_actor()
        mine = {} if actor is None else {"cache_storage": str(self._seed.home / f"cache-{actor.data['index']}")}
        return open_cache({**mine, **options})

    def _mkdtemp(self, suffix: str | None = None, prefix: str | None = None, dir: str | None = None) -> str:
        path = _MKDTEMP(suffix, prefix, dir or str(self._seed.home))
        actor = current_actor()
        if actor is not None:
            self._seed.made.append((actor, Path(path)))
        return path


_MKDTEMP = tempfile.mkdtemp
# Seeds that one process explores.
_TOGETHER = 500


def _model(name: str) -> IDFDocument:
    """As little as an IDF can have: EnergyPlus does not run it."""
    model = new_document(version=ENERGYPLUS_VERSION)
    for kind in list(model):
        model.removeidfobjects(list(model[kind]))
    model.add("Building", name)
    return model


MODELS = {"good": _model("One zone"), "other": _model("Another zone"), "bad": _model("Failing model")}


@contextlib.contextmanager
def without_conditions() -> Iterator[None]:
    """Have every conditional write succeed, as on a store that ignores conditions: the invariants must notice."""

    def write(fs: FsspecFileSystem, path: str, data: bytes, *_tag: Any) -> Any:
        fs.write_bytes(path, data)
        return hashlib.sha256(data).hexdigest()

    with (
        mock.patch.object(FsspecFileSystem, "create_exclusive", write),
        mock.patch.object(FsspecFileSystem, "swap", write),
    ):
        yield


def _explore_some(numbers: range, recorded: Path, verbose: bool, unconditional: bool) -> tuple[Counter[str], list[str]]:
    logging.disable(logging.CRITICAL)
    kinds: Counter[str] = Counter()
    texts: list[str] = []
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="interleavings-", dir=memory) as home,
        Explorer(recorded, Path(home)) as explorer,
        without_conditions() if unconditional else contextlib.nullcontext(),
    ):
        for number in numbers:
            seed, error = explorer.explore(number)
            kinds["steps"] += len(seed.scheduler.steps) if seed.scheduler else 0
            if error is None:
                kinds["ok"] += 1
            else:
                kinds[error.invariant if isinstance(error, Broken) else f"error {type(error).__name__}"] += 1
                shown = "".join(traceback.format_exception(error)) if not isinstance(error, Broken) else str(error)
                again = f"To replay: python tests/support/interleavings.py {number}{' --unconditional' * unconditional}"
                texts.append(f"{seed}\n{shown}\n{again}")
            if verbose:
                print(seed)
    return kinds, texts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int, nargs="?", default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--recorded", type=Path)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--unconditional", action="store_true", help="pretend that the store ignores conditions")
    parser.add_argument("--show", type=int, default=3)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        recorded = arguments.recorded
        if recorded is None:
            recorded = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            record(recorded)
        begun = time.monotonic()
        last = arguments.first + arguments.count
        parts = [range(start, min(start + _TOGETHER, last)) for start in range(arguments.first, last, _TOGETHER)]
        explore = functools.partial(
            _explore_some, recorded=recorded, verbose=arguments.verbose, unconditional=arguments.unconditional
        )
        found = []
        if len(parts) > 1:
            # A process keeps a file open for each cache that it has used, and each seed has caches of its own.
            pool = multiprocessing.get_context("spawn").Pool(arguments.processes, maxtasksperchild=1)
            ended = stack.enter_context(pool).imap_unordered(explore, parts)
        else:
            ended = map(explore, parts)
        for kinds, texts in ended:
            found.append((kinds, texts))
            print(f"{len(found)} of {len(parts)} parts: {dict(kinds)}", file=sys.stderr, flush=True)
            for text in texts:
                print(text.rpartition("\n")[2], file=sys.stderr, flush=True)
        total: Counter[str] = sum((one for one, _ in found), Counter())
        failed = [text for _, some in found for text in some]
        for text in sorted(failed, key=lambda text: text.count("\n"))[: arguments.show]:
            print(text, end="\n\n")
        print(f"{arguments.count} seeds in {time.monotonic() - begun:.1f} s: {dict(total)}")
        sys.exit(bool(failed))


if __name__ == "__main__":
    main()
