"""A proxy that makes faults by chance, and a count of what users met behind it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from random import Random
from typing import Any

from support.proxy import Ending, FaultProxy

from idfkit_fs.errors import IdfkitFsError, IncompleteRunError, NotReportedError, PublishError, RecordError
from idfkit_fs.runs.record import RunRecord
from idfkit_fs.studies.job import Job

__all__ = ["Counts", "Storm", "differences", "is_clear"]

_LOG = logging.getLogger("storm")
_REFUSED = {429: "TooManyRequests", 500: "InternalError", 503: "SlowDown"}
_UNSIZED = ("break_response", int(Ending.UNSIZED))
# What becomes of a request, with its share of all requests; the first three are 10 %.
_FATES: dict[tuple[str, int], float] = {
    ("answer", 429): 0.033,
    ("answer", 500): 0.033,
    ("answer", 503): 0.034,
    ("reset", 0): 0.015,
    ("break_request", 0): 0.015,
    ("lose", 0): 0.015,
    ("break_response", int(Ending.RESET)): 0.01,
    ("break_response", int(Ending.SHORT)): 0.01,
    _UNSIZED: 0.02,
    ("stall", 2): 0.006,
}
# These requests fail so often, as often as anything repeats them.
_CURSED = 0.006
_ATTEMPTS = 5
# What differs from session to session in the same request: ids of uploads, and blocks.
_CHANGING = re.compile(r"(?i)(uploadid|upload_id|blockid)=[^&\s]*")


class Storm(FaultProxy):
    """A proxy that draws what becomes of each request.

    The seed, the request's line and how often it was seen before decide, so that the order in which requests of
    several threads arrive changes nothing.

    Attributes:
        calm: Whether no faults are made.
        met: How many faults were made, by their kind.
    """

    def __init__(self, target_host: str, target_port: int, seed: int) -> None:
        super().__init__(target_host, target_port)
        self.calm = False
        self.met: Counter[str] = Counter()
        self._seed = seed
        self._seen: Counter[str] = Counter()
        self._fate: tuple[str, int] | None = None
        self._due: tuple[int, Callable[[], object]] | None = None
        self._acting: list[threading.Thread] = []
        self.failed: list[BaseException] = []

    @property
    def kinds(self) -> set[str]:
        """The kinds of faults that are made."""
        return {f"{kind} {value}" for kind, value in _FATES}

    def interrupt(self, seconds: float = 1.0) -> None:
        """Be a server that is away for a while."""
        self.refuse()
        time.sleep(seconds)
        self.heal()

    def after(self, requests: int, act: Callable[[], object]) -> None:
        """Do something in a thread of its own, as a request arrives after so many more."""
        self._due = (self.requests + requests, act)

    def join(self) -> None:
        """Wait for what was begun, and raise what it raised; what has not come about is forgotten."""
        self._due = None
        while self._acting:
            self._acting.pop().join()
        if self.failed:
            raise self.failed.pop()

    def words(self, status: int) -> str:
        """Say so as all stores do at once: S3 and Azure read XML, Google's API reads JSON and takes other text."""
        return f"<Error><Code>{_REFUSED[status]}</Code><Message>Please try again later.</Message></Error>"

    def _take(self, kind: str, line: str = "") -> int | None:
        if kind == "answer":  # asked for first
            self._act()
            self._fate = None if self.calm else self._draw(line)
        if self._fate is None or self._fate[0] != kind:
            return None
        self.met[f"{kind} {self._fate[1]}"] += 1
        return self._fate[1]

    def _draw(self, line: str) -> tuple[str, int] | None:
        line = _CHANGING.sub("", line)
        self._seen[line] += 1
        digest = hashlib.sha256(f"{self._seed} {self._seen[line]} {line}".encode()).digest()
        left = int.from_bytes(digest[:8]) / 2**64
        if self._seen[line] <= _ATTEMPTS and Random(f"{self._seed} {line}").random() < _CURSED:
            return "answer", 503
        for fate, share in _FATES.items():
            if left < share:
                # Only what is read can come without a length.
                return fate if fate != _UNSIZED or line.startswith("GET") else None
            left -= share
        return None

    def _act(self) -> None:
        if self._due is None or self.requests < self._due[0]:
            return
        act, self._due = self._due[1], None

        def run() -> None:
            try:
                act()
            except BaseException as exc:  # noqa: BLE001 - raised by join()
                self.failed.append(exc)

        self._acting.append(threading.Thread(target=run))
        self._acting[-1].start()


@dataclass
class Counts:
    """What was done to a store, and what became of it.

    Attributes:
        operations: Calls of this package.
        faults: Faults that were made meanwhile.
        clear_errors: Calls that raised an error of this package, which names a file or URL.
        other_errors: Calls that raised anything else.
        lost: What was acknowledged, and did not exist afterwards.
        wrong: What was read, or written, and differs from the truth.
        left_over: Files that belong to nothing after a clean run.
    """

    operations: int = 0
    faults: int = 0
    clear_errors: int = 0
    other_errors: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def attempt(self, name: str, call: Callable[[], Any]) -> tuple[Any, Exception | None]:
        """Call a function, and count how it ended; what it returned, and the error."""
        with self._lock:
            self.operations += 1
        try:
            return call(), None
        except Exception as exc:  # noqa: BLE001 - counted
            _LOG.info("%s: %s: %s", name, type(exc).__name__, exc)
            with self._lock:
                if is_clear(exc):
                    self.clear_errors += 1
                else:
                    self.other_errors.append(f"{name}: {exc!r} from {exc.__cause__!r}")
            return None, exc

    def until_done(self, name: str, call: Callable[[], Any], attempts: int = 20) -> Any:
        """Call a function until it raises no error."""
        for _ in range(attempts):
            result, error = self.attempt(name, call)
            if error is None:
                return result
        raise AssertionError(f"{name} failed {attempts} times") from error

    def check(self, right: object, what: str) -> None:
        """Count what is not right."""
        if not right:
            self.wrong.append(what)

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, wrong, left over, or unclear."""
        return not (self.other_errors or self.lost or self.wrong or self.left_over)

    def line(self) -> str:
        """The counts in words."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        numbers = {name: len(value) if isinstance(value, list) else value for name, value in values.items()}
        return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in numbers.items())

    def to_json(self) -> str:
        """The counts, to send them to another process."""
        return json.dumps({each.name: getattr(self, each.name) for each in fields(self)})


def is_clear(exc: BaseException) -> bool:
    """Whether an error is one of ours, and says what it is about."""
    if isinstance(exc, IncompleteRunError):
        return bool(exc.errors) and all(map(is_clear, exc.errors.values()))
    if not isinstance(exc, IdfkitFsError):
        return False
    if isinstance(exc, PublishError) and not Path(exc.local_dir).is_dir():
        return False
    return bool(exc.filename) if isinstance(exc, OSError) else "://" in str(exc) or isinstance(exc, NotReportedError)


def differences(raw: Any, study: str) -> tuple[list[str], list[str]]:
    """Compare what a bucket holds with what its records, its jobs and the study itself name.

    Args:
        raw: The bucket.
        study: The key of the study in it.

    Returns:
        What is missing; and what nothing names. The inputs of cases that were replaced or removed are kept.
    """
    keys = {*raw.keys()} - {".probe"}  # of `servers`, which SeaweedFS may have again after it was killed
    records = {}
    for key in keys:
        if key.endswith("/run.json"):
            with contextlib.suppress(RecordError):  # a claim, which no client should have left
                records[key] = RunRecord.from_json(raw.get(key), key)
    named = {f"{study}/_study/study.json", *records}
    for key, record in records.items():
        named |= {key.removesuffix("run.json") + path for path in record.paths}
    for key in keys:
        if key.startswith(f"{study}/_study/jobs/"):
            job = Job.from_json(raw.get(key), key)
            inputs = [file.name for file in (job.model, job.weather, *job.files.values()) if file]
            named |= {key, *(f"{study}/_study/inputs/{name}" for name in inputs)}
            of_case = f"{study}/{job.case}/run.json"
            named.add(f"{study}/{job.outcome_path(records[of_case])}" if of_case in records else of_case)
    inputs_kept = {
        key
        for key in keys
        if key.startswith(f"{study}/_study/inputs/")
        and key.rpartition("/")[2].startswith(hashlib.sha256(raw.get(key)).hexdigest())
    }
    return sorted(named - keys), sorted(keys - named - inputs_kept)
