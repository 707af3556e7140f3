"""Large studies made of one real run: its job, outcome, record and files, under as many names as are wanted.

Every object is what the package itself writes, so readers accept it. Only what must differ from case to case does: the
names, the hashes that tie its objects together, a parameter, two results, and a few bytes of the sidecars, of which
the cache would otherwise fetch one copy for all.
"""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from idfkit import IDFDocument
from small_office import weather
from wire import Place

from idfkit_fs import Study, run_case
from idfkit_fs._outputs.parquet import unpacked_end
from idfkit_fs._outputs.sidecars import SIDECARS
from idfkit_fs.runs.record import RECORD_NAME, RecordedFile, RunRecord
from idfkit_fs.runs.register import read_record
from idfkit_fs.studies.job import Job, Outcome
from idfkit_fs.studies.layout import EndedRun, job_path, outcome_path
from idfkit_fs.studies.stored import read_job, read_outcome

# Of a large study, one case in so many is still to be run.
PENDING = 20
CELL = ("AnnualBuildingUtilityPerformanceSummary", "Site and Source Energy", "Total Site Energy", "Total Energy")

Objects = Iterable[tuple[str, bytes | Path]]
"""What a study holds: the contents of each object, or the file that has them, by its path from the study's URL on."""

# What the template's objects have where those of a case have something of their own: as long as what they have.
_NAME, _RUN, _KEY, _MODEL = "template", "a" * 32, "b" * 64, "c" * 64
_NUMBER, _ENERGY, _SECONDS = 9_876_543_210, 1234567.890625, 7654321.015625


@dataclass(frozen=True)
class Template:
    """One real run of a study on this disk, to be multiplied.

    Attributes:
        job: Its job.
        outcome: Its outcome.
        record: Its record.
        directory: Where its files are.
    """

    job: Job
    outcome: Outcome
    record: RunRecord
    directory: Path

    @classmethod
    def of(cls, model: IDFDocument, directory: Path, *, annual: bool = True) -> Template:
        """Run a model as a case of a study below a directory."""
        study = Study(directory / "study", metrics=[CELL])
        study.add(_NAME, model, weather(), parameters={"number": _NUMBER}, annual=annual)
        ended = run_case(study.url, _NAME)
        job, record = read_job(study.fs, _NAME), read_record(study.fs.joinpath(_NAME))
        if record is None or ended.state != "ok":
            raise SystemExit(f"the template did not run: {ended}")
        outcome = read_outcome(study.fs, _NAME, "ok", [EndedRun.of(job.key, record.id)])
        return cls(job, outcome, record, directory / "study" / _NAME)

    def jobs(self, numbers: Iterable[int]) -> Objects:
        """The jobs of the cases of these numbers."""
        for number in numbers:
            yield job_path(name_of(number)), _filled(self._job_text, number, "")

    def outcomes(self, numbers: Iterable[int], pending: int = PENDING) -> Objects:
        """Their outcomes, but for one in so many; 0 for none."""
        for number in numbers:
            if not pending or number % pending:
                key = self._key(number)
                path = outcome_path("ok", name_of(number), EndedRun.of(key, _run_of(number)))
                yield path, _filled(self._outcome_text, number, key)

    def runs(self, numbers: Iterable[int], files: Iterable[str] | None = (), pending: int = PENDING) -> Objects:
        """Their runs: the record, and of the files those of these names; None for all."""
        chosen = [file.name for file in self.record.files] if files is None else [*files]
        for number in numbers:
            if pending and not number % pending:
                continue
            case, record = name_of(number), self._record_text
            for name in chosen:
                file = self.directory / self.record.path(name)
                if name in SIDECARS:
                    data = _apart(file.read_bytes(), number)
                    record = record.replace(self._entries[name], _entry(len(data), hashlib.sha256(data).hexdigest()))
                    end = self.record.sidecar_ends.get(name)
                    if end is not None:
                        apart = _apart(unpacked_end(end), number)
                        record = record.replace(end.encode(), base64.b64encode(zlib.compress(apart, 1)))
                    yield f"{case}/{name}", data
                else:
                    yield f"{case}/{name}", file
            yield f"{case}/{RECORD_NAME}", _filled(record, number, self._key(number))

    def size(self, name: str) -> int:
        """The size of one of its files in bytes."""
        return (self.directory / self.record.path(name)).stat().st_size

    @cached_property
    def _job_text(self) -> bytes:
        return self._job(_MODEL).to_json()

    @cached_property
    def _outcome_text(self) -> bytes:
        summary = self.outcome.summary.model_copy(update={"site_energy_kwh": _ENERGY})
        ids = {"id": _RUN, "job": _KEY, "model_sha256": _MODEL, "runtime_seconds": _SECONDS}
        record = self.outcome.record.model_copy(update=ids)
        return self.outcome.model_copy(update={"key": _KEY, "record": record, "summary": summary}).to_json()

    @cached_property
    def _record_text(self) -> bytes:
        return self.record.model_copy(update={"id": _RUN, "job": _KEY, "model_sha256": _MODEL}).to_json()

    @cached_property
    def _entries(self) -> dict[str, bytes]:
        return {file.name: _entry(file.size, file.sha256) for file in self.record.files}

    def _job(self, sha256: str) -> Job:
        # Of its size nothing depends, so any will do.
        model = RecordedFile(name=f"{sha256}.idf", size=10_000, sha256=sha256)
        return self.job.model_copy(update={"model": model})

    def _key(self, number: int) -> str:
        return self._job(_sha256(number)).key


def to_disk(directory: Path, *objects: Objects) -> Study:
    """Make a study on this disk: files are linked, and nothing is flushed or written beside its place."""
    study = Study(directory, metrics=[CELL])
    study.add_cases([])
    made: set[str] = set()
    for path, content in (item for each in objects for item in each):
        target = f"{directory}/{path}"
        parent = target.rpartition("/")[0]
        if parent not in made:
            os.makedirs(parent, exist_ok=True)
            made.add(parent)
        if isinstance(content, Path):
            os.link(content, target)
        else:
            with open(target, "xb", buffering=0) as file:
                file.write(content)
    return study


def to_store(place: Place, name: str, *objects: Objects) -> Study:
    """Make a study in a store, around the proxy and the adapter."""
    study = Study(f"{place.url}/{name}", storage_options=place.options, metrics=[CELL])
    study.add_cases([])
    put = place.idfkit(name).write_bytes

    def write(item: tuple[str, bytes | Path]) -> None:
        path, content = item
        put(path, content.read_bytes() if isinstance(content, Path) else content)

    at_once(write, (item for each in objects for item in each))
    return study


def at_once(function: Callable[[Any], Any], items: Iterable[Any]) -> None:
    """Ten at a time: as many connections as boto3's clients keep."""
    with ThreadPoolExecutor(10) as pool:
        for batch in _batches(items, 1000):
            list(pool.map(function, batch))


def name_of(number: int) -> str:
    """The name of the case of this number."""
    return f"case-{number:06}"


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    yield batch


def _filled(text: bytes, number: int, key: str) -> bytes:
    """An object of the template as that of a case."""
    places = {
        f'"{_NAME}"': f'"{name_of(number)}"',
        _MODEL: _sha256(number),
        _KEY: key,
        _RUN: _run_of(number),
        str(_NUMBER): str(number),
        repr(_ENERGY): repr(10_000 + number / 7),
        repr(_SECONDS): repr(1 + number % 97 / 97),
    }
    for place, own in places.items():
        text = text.replace(place.encode(), own.encode())
    return text


def _sha256(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _run_of(number: int) -> str:
    return _sha256(number)[32:]


def _apart(parquet: bytes, number: int) -> bytes:
    """A Parquet file unlike that of any other number that says the same: before the footer may be anything."""
    footer = len(parquet) - 8 - int.from_bytes(parquet[-8:-4], "little")
    return parquet[:footer] + number.to_bytes(8, "little") + parquet[footer:]


def _entry(size: int, sha256: str) -> bytes:
    """How a record spells the size and hash of one of its files."""
    return f'"size": {size},\n   "sha256": "{sha256}"'.encode()
