"""A deterministic scheduler of actors: a seed decides which of them takes its next step over a store.

An actor is a function that runs in a thread of its own and calls the real code of the package. Each call of fsspec's
memory filesystem that a thread of an actor makes is one step: the thread waits at a gate until the scheduler lets it
pass. The scheduler waits until no thread of an actor can go on, before it lets the next one pass; so a seed gives the
same schedule each time, whatever the system's own scheduler does. Pools of threads run what they are given in the
thread that submits it, one after the other; what an event loop hands to its executor is a thread with its own gate.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import importlib.metadata
import random
import selectors
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from unittest import mock

from fsspec.implementations.memory import MemoryFileSystem

__all__ = ["Actor", "Fault", "Killed", "Scheduler", "StuckError", "at_gate", "gated", "shuffled"]

_PATIENCE = 120  # seconds without any progress, after which the harness itself is at fault

# What fsspec's memory filesystem is asked for; one call is one request.
_OPERATIONS = ("cat_file", "cp_file", "exists", "find", "get_file", "info", "ls", "pipe_file", "put_file", "rm_file")

Kind = Literal["kill", "cancel", "lose", "break", "refuse"]


class Killed(BaseException):
    """Raised in each thread of an actor that was killed, whenever it turns to the store."""


class StuckError(Exception):
    """The harness waits for a thread that neither comes to the gate nor ends."""


class Fault(NamedTuple):
    """What happens to an actor at one of its steps.

    Attributes:
        actor: The number of the actor.
        step: The number of the step, from 0, of this actor.
        kind: ``"kill"``: this step is not taken, nor any other. ``"cancel"``: the task is cancelled, or the thread gets
            a KeyboardInterrupt, and may clean up. ``"lose"``: the step is taken, and its reply is lost, so that the
            package repeats it. ``"break"``: the step is taken, and an error is reported. ``"refuse"``: the step is not
            taken, and an error is reported.
    """

    actor: int
    step: int
    kind: Kind


class Step(NamedTuple):
    """A step that was taken."""

    actor: str
    operation: str
    key: str
    fault: Kind | None

    def __str__(self) -> str:
        return f"{self.actor:24} {self.operation:10} {self.key}{f'   <- {self.fault}' if self.fault else ''}"


@dataclass(eq=False)
class _Waiting:
    """A thread that waits at the gate."""

    actor: Actor
    operation: str
    key: str
    passed: threading.Event = field(default_factory=threading.Event)
    verdict: Kind | None = None


@dataclass(eq=False)
class Actor:
    """One worker.

    Attributes:
        name: What it does.
        work: What it calls.
        data: The number of its local cache, and whatever else a scenario keeps with it.
        result: What *work* returned.
        error: What it raised.
        begun: When it took its first step, as the number of steps of all actors until then; None before that.
        ended: When it had ended; None before that.
        steps: How many steps it has taken.
        faults: Which faults it has met.
    """

    name: str
    work: Callable[[Actor], Any]
    data: dict[str, Any] = field(default_factory=dict)
    result: Any = None
    error: BaseException | None = None
    begun: int | None = None
    ended: int | None = None
    steps: int = 0
    faults: list[Kind] = field(default_factory=list)
    # Threads that neither wait at the gate nor for another thread; and calls that the loop has been handed, but has
    # not begun.
    running: int = 0
    handed: int = 0
    waiting: list[_Waiting] = field(default_factory=list)
    task: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
    scheduler: Scheduler | None = None

    @property
    def killed(self) -> bool:
        return "kill" in self.faults

    @property
    def undisturbed(self) -> bool:
        """Whether it returned what it should."""
        return self.ended is not None and self.error is None


class _Mine(threading.local):
    actor: Actor | None = None
    inside: bool = False


_mine = _Mine()


def current_actor() -> Actor | None:
    """The actor that this thread works for; None outside of a schedule."""
    return _mine.actor


class Scheduler:
    """Lets actors take their steps, one at a time.

    Args:
        actors: The actors.
        chance: Decides everything.
        faults: What happens to them.
    """

    def __init__(self, actors: Sequence[Actor], chance: random.Random, faults: Sequence[Fault] = ()) -> None:
        self.actors = actors
        self.chance = chance
        self.steps: list[Step] = []
        self.changed = threading.Condition()
        self._faults = {(fault.actor, fault.step): fault.kind for fault in faults}
        self._order = list(range(len(actors)))
        self._changes: set[int] = set()
        self._sticky = 0.0
        self._style = chance.choice(("uniform", "sticky", "priority", "priority"))
        if self._style == "sticky":
            self._sticky = chance.choice((0.7, 0.9, 0.97))
        elif self._style == "priority":
            # Of few changes between the actors, each at any moment: most faults need no more than two or three.
            chance.shuffle(self._order)
            self._changes = {chance.randrange(60) for _ in range(chance.randint(1, 5))}
        self._last: Actor | None = None

    def run(self) -> None:
        """Run all actors until each has ended."""
        for actor in self.actors:
            actor.scheduler = self
        threads: list[threading.Thread] = []
        unborn = list(self.actors)
        while True:
            self._settle()
            able = [actor for actor in self.actors if actor.waiting or actor in unborn]
            if not able:
                break
            actor = self._choose(able)
            if actor in unborn:
                unborn.remove(actor)
                actor.running, actor.begun = 1, len(self.steps)
                threads.append(threading.Thread(target=self._work, args=(actor,), name=actor.name, daemon=True))
                threads[-1].start()
                continue
            self._let_pass(actor)
        for thread in threads:
            thread.join(_PATIENCE)

    def _choose(self, able: list[Actor]) -> Actor:
        number = len(self.steps)
        if self._style == "priority":
            if number in self._changes:
                self._changes.discard(number)
                first = next(index for index in self._order if self.actors[index] in able)
                self._order.remove(first)
                self._order.append(first)
            return next(self.actors[index] for index in self._order if self.actors[index] in able)
        if self._last in able and self.chance.random() < self._sticky:
            assert self._last is not None
            return self._last
        self._last = self.chance.choice(able)
        return self._last

    def _let_pass(self, actor: Actor) -> None:
        fault = self._faults.pop((self.actors.index(actor), actor.steps), None)
        if fault:
            actor.faults.append(fault)
        if fault == "cancel" and actor.task is not None:
            # The thread stays at the gate, as a request that is under way does.
            loop, task = actor.task
            actor.steps += 1
            self.steps.append(Step(actor.name, "-", "task.cancel()", fault))
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(task.cancel)
            return
        waiting = actor.waiting[0] if len(actor.waiting) == 1 else self.chance.choice(actor.waiting)
        actor.steps += 1
        self.steps.append(Step(actor.name, waiting.operation, waiting.key, fault))
        with self.changed:
            passing = list(actor.waiting) if fault == "kill" else [waiting]
            for one in passing:
                actor.waiting.remove(one)
                one.verdict = fault
                actor.running += 1
                one.passed.set()

    def _settle(self) -> None:
        """Wait until no thread of any actor can go on by itself."""
        with self.changed:
            if not self.changed.wait_for(self._is_settled, _PATIENCE):
                text = ", ".join(f"{actor.name}: {actor.running} running" for actor in self.actors)
                raise StuckError(f"no step for {_PATIENCE} seconds ({text}); the last ones: {self.steps[-5:]}")

    def _is_settled(self) -> bool:
        return all(
            actor.begun is None
            or actor.ended is not None
            or (actor.running == 0 and actor.handed == 0 and bool(actor.waiting))
            for actor in self.actors
        )

    def _work(self, actor: Actor) -> None:
        _mine.actor = actor
        try:
            actor.result = actor.work(actor)
        except BaseException as exc:  # noqa: BLE001 - kept for the invariants
            actor.error = exc
        with self.changed:
            actor.running -= 1
            actor.ended = len(self.steps)
            self.changed.notify_all()

    def arrive(self, actor: Actor, operation: str, key: str) -> Kind | None:
        """Wait at the gate.

        Returns:
            What happens to this step.
        """
        if actor.killed:
            raise Killed
        waiting = _Waiting(actor, operation, key)
        with self.changed:
            actor.waiting.append(waiting)
            actor.running -= 1
            self.changed.notify_all()
        waiting.passed.wait()
        if waiting.verdict == "kill":
            raise Killed
        if waiting.verdict == "cancel":
            raise KeyboardInterrupt
        return waiting.verdict

    def enter(self, actor: Actor) -> None:
        """A thread of an actor can go on."""
        with self.changed:
            actor.running += 1

    def leave(self, actor: Actor) -> None:
        """A thread of an actor waits for another thread, or has ended."""
        with self.changed:
            actor.running -= 1
            self.changed.notify_all()


def at_gate(operation: str, key: str, perform: Callable[[], Any]) -> Any:
    """Perform one step when the scheduler lets this thread pass; immediately outside of a schedule."""
    actor = _mine.actor
    if actor is None or _mine.inside:
        return perform()
    assert actor.scheduler is not None
    verdict = actor.scheduler.arrive(actor, operation, key)
    if verdict == "refuse":
        raise OSError(errno.EIO, "The store failed")
    _mine.inside = True
    try:
        result = perform()
    finally:
        _mine.inside = False
    if verdict == "lose":
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    if verdict == "break":
        raise OSError(errno.EIO, "The store failed")
    return result


# What takes the place of pools and loops while a schedule runs.


class _Pool(ThreadPoolExecutor):
    """Runs what it is given in the thread that submits it; but for an actor's event loop, in a thread that it counts."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__(1)
        self._own: list[threading.Thread] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        actor = _mine.actor
        if actor is None or not _in_loop():
            _perform(future, fn, args, kwargs)
            return future
        scheduler = actor.scheduler
        assert scheduler is not None
        scheduler.enter(actor)

        def run() -> None:
            _mine.actor = actor
            try:
                _perform(future, fn, args, kwargs)
            finally:
                scheduler.leave(actor)

        self._own.append(threading.Thread(target=run, daemon=True))
        self._own[-1].start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            for thread in self._own:
                thread.join()


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _perform(future: Future[Any], fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
    try:
        result = fn(*args, **kwargs)
    except BaseException as exc:  # noqa: BLE001 - as an executor does
        future.set_exception(exc)
    else:
        future.set_result(result)


class _Selector(selectors.DefaultSelector):
    """Says when the loop waits."""

    actor: Actor

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        assert self.actor.scheduler is not None
        self.actor.scheduler.leave(self.actor)
        try:
            return super().select(timeout)
        finally:
            self.actor.scheduler.enter(self.actor)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop of an actor, which counts what other threads have handed to it."""

    def __init__(self, actor: Actor) -> None:
        selector = _Selector()
        selector.actor = self._actor = actor
        super().__init__(selector)
        self.set_default_executor(_Pool())

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        actor = self._actor
        scheduler = actor.scheduler
        assert scheduler is not None

        def begin() -> None:
            with scheduler.changed:
                actor.handed -= 1
                scheduler.changed.notify_all()
            callback(*args)

        with scheduler.changed:
            actor.handed += 1
        try:
            return super().call_soon_threadsafe(begin, context=context)
        except BaseException:
            with scheduler.changed:
                actor.handed -= 1
            raise


def _run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in this thread, which is the actor's."""
    actor = _mine.actor

    async def main() -> Any:
        if actor is not None:
            task = asyncio.current_task()
            assert task is not None
            actor.task = asyncio.get_running_loop(), task
        return await coroutine

    def loop() -> asyncio.AbstractEventLoop:
        if actor is not None:
            return _Loop(actor)
        plain = asyncio.new_event_loop()
        plain.set_default_executor(_Pool())
        return plain

    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(main())
    finally:
        if actor is not None:
            actor.task = None


def shuffled(items: Any) -> list[Any]:
    """What an actor would do in parallel, in an order that the seed decides."""
    items = list(items)
    actor = _mine.actor
    if actor is not None and actor.scheduler is not None:
        actor.scheduler.chance.shuffle(items)
    return items


def _map(function: Callable[[Any], Any], items: Any, done: Any = lambda _count: None, threads: int = 0) -> list[Any]:
    numbered = list(enumerate(items))
    results: dict[int, Any] = {}
    for number, item in shuffled(numbered):
        results[number] = function(item)
        done(1)
    return [results[number] for number, _ in numbered]


def _gate(method: str) -> Callable[..., Any]:
    original = getattr(MemoryFileSystem, method)

    @functools.wraps(original)
    def gated(self: MemoryFileSystem, *args: Any, **kwargs: Any) -> Any:
        if _mine.actor is None or _mine.inside:
            return original(self, *args, **kwargs)
        key = args[1] if method in ("put_file", "cp_file") and len(args) > 1 else args[0]
        mode = " (create)" if kwargs.get("mode") == "create" else ""
        return at_gate(method, f"{key}{mode}", lambda: original(self, *args, **kwargs))

    return gated


def _gate_step(operation: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a filesystem and a key that is one request, or stands for one."""
    return lambda fs, key, *args: at_gate(operation, key, lambda: function(fs, key, *args))


class _Clock:
    """The local cache's clock: a thread that waits for another one of its actor to fetch a file does not move."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        actor = _mine.actor
        if actor is None or actor.scheduler is None:
            time.sleep(seconds)
            return
        actor.scheduler.leave(actor)
        try:
            time.sleep(seconds)
        finally:
            actor.scheduler.enter(actor)


@contextlib.contextmanager
def gated() -> Iterator[None]:
    """Have fsspec's memory filesystem and the package's pools and loops obey a scheduler."""
    import idfkit_fs._fs.sync as adapter
    from idfkit_fs._cache import store
    from idfkit_fs._util import interrupts, parallel, retry
    from idfkit_fs.runs import installation

    instead = {
        id(ThreadPoolExecutor): _Pool,
        id(parallel.parallel_map): _map,
        id(interrupts.run_coroutine): _run_coroutine,
        # What stays the same, and takes a third of the time: the versions of packages, and where EnergyPlus is.
        id(importlib.metadata.version): functools.cache(importlib.metadata.version),
        id(installation.find_installation): functools.cache(installation.find_installation),
    }
    with contextlib.ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == "idfkit_fs":
                for attribute, value in list(vars(module).items()):
                    if not attribute.startswith("__") and id(value) in instead:
                        stack.enter_context(mock.patch.object(module, attribute, instead[id(value)]))
        for method in _OPERATIONS:
            stack.enter_context(mock.patch.object(MemoryFileSystem, method, _gate(method)))
        for name in ("swap_file", "remove_tagged"):
            function = getattr(adapter, name)
            stack.enter_context(mock.patch.object(adapter, name, _gate_step(name, function)))
        stack.enter_context(mock.patch.object(retry, "FIRST_WAIT", 0.0))
        stack.enter_context(mock.patch.object(store, "time", _Clock()))
        yield
