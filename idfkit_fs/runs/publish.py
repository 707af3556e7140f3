"""Publish a finished run: files side by side, the record last."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import stamina
from fsspec.callbacks import Callback
from idfkit.simulation import SimulationResult

from idfkit_fs.errors import MissingExtraError, PublishError, RecordError, RunExistsError, redact
from idfkit_fs.filesystem import FsspecFileSystem
from idfkit_fs.location import Location, StrPath, parse_glob, to_text
from idfkit_fs.runs.record import RECORD_NAME, RecordedFile, RunRecord
from idfkit_fs.runs.result import RunResult, open_result, read_record, result_of

__all__ = ["DRAFT_NAME", "Publication", "publish", "record_of", "require_tqdm"]

logger = logging.getLogger(__name__)

DRAFT_NAME = ".idfkit-fs-unpublished.json"
"""The record of a run that is not published yet, beside its files in the local directory."""

_BOOKKEEPING = frozenset({RECORD_NAME, DRAFT_NAME, "_cache_meta.json"})
_INPUTS = ("*.epw", "*.idd", "Energy+.ini", "in.epJSON", "in.idf", "model.idf")
_WORKERS = 16
# Each upload holds up to this much of a file in memory; larger files are sent in parts, one file at a time.
_LARGE = 4 * 2**20


def publish(
    run: SimulationResult | StrPath,
    url: Location,
    *,
    storage_options: dict[str, Any] | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = False,
) -> RunResult:
    """Publish a run that stands in a local directory.

    Files go up side by side; the record ``run.json`` goes last, so nobody ever takes half a run for a whole one.

    Args:
        run: A local result of idfkit, or the directory of a run: one that a failed publishing named (it is finished,
            and the directory removed), or any directory that EnergyPlus wrote to (it is left as it is).
        url: Where to: a URL, a plain path, or a ``UPath``.
        storage_options: What the store's fsspec class takes.
        include: Glob patterns of the files to publish. By default all but the inputs (weather file, model).
        exclude: Glob patterns of files to leave out.
        overwrite: Whether a run that stands at *url* may be replaced.
        progress: Whether to show a progress bar.

    Returns:
        The published result.

    Raises:
        RunExistsError: If a run stands at *url* and *overwrite* is False.
        RunNotFoundError: If *run* is a directory without a run.
        PublishError: If publishing broke off. The run stays in the directory that ``local_dir`` names; call this
            function again to finish.

    Examples:
        >>> publish("/tmp/idfkit-fs-run-k2x8", "s3://bucket/study-001/case-42")  # doctest: +SKIP
    """
    fs = FsspecFileSystem.from_url(url, **(storage_options or {}))
    publication = Publication(fs, include, exclude, overwrite, progress)
    if isinstance(run, SimulationResult):
        if run.fs is not None or run.async_fs is not None:
            msg = "publish() takes a result in a local directory; this one is on another filesystem already"
            raise TypeError(msg)
        return publication.send(Path(run.run_dir), record_of(run))
    directory = Path(run)
    draft = directory / DRAFT_NAME
    if not draft.exists():
        return publication.send(directory, record_of(open_result(directory, require_record=False)))
    result = publication.send(directory, RunRecord.from_json(draft.read_bytes(), to_text(draft)))
    shutil.rmtree(directory, ignore_errors=True)
    return result


def record_of(result: SimulationResult, **facts: Any) -> RunRecord:
    """The record, without files, of a result.

    Args:
        result: The result.
        **facts: Fields of [RunRecord][idfkit_fs.RunRecord] that a result does not tell.

    Returns:
        The record.
    """
    return RunRecord(
        success=result.success,
        exit_code=result.exit_code,
        runtime_seconds=result.runtime_seconds,
        stdout=result.stdout,
        stderr=result.stderr,
        output_prefix=result.output_prefix,
        idfkit_version=version("idfkit"),
        idfkit_fs_version=version("idfkit-fs"),
        **facts,
    )


@dataclass(frozen=True)
class Publication:
    """Where and how a run is published; the arguments of [publish][idfkit_fs.publish], checked.

    Attributes:
        fs: A filesystem with the run's URL as its root.
        include: Glob patterns, or None for all but the inputs.
        exclude: Glob patterns.
        overwrite: Whether a run that stands there may be replaced.
        progress: Whether to show a bar.
    """

    fs: FsspecFileSystem
    include: Sequence[str] | None
    exclude: Sequence[str]
    overwrite: bool
    progress: bool

    def __post_init__(self) -> None:
        for option in (self.include, self.exclude):
            if isinstance(option, str):
                msg = f"include and exclude take a sequence of patterns, such as [{option!r}]"
                raise TypeError(msg)
        self.select([])
        if self.progress:
            require_tqdm()

    def standing(self) -> RunRecord | None:
        """The record that stands at the URL.

        Returns:
            The record; None if there is none, or one that is damaged and may be replaced.

        Raises:
            RunExistsError: If one stands there and may not be replaced.
        """
        try:
            record = read_record(self.fs)
        except RecordError:
            if not self.overwrite:
                raise
            return None
        if record is not None and not self.overwrite:
            raise RunExistsError(17, "A run stands here already; overwrite=True replaces it", redact(self.fs.url()))
        return record

    def select(self, names: Iterable[str]) -> list[str]:
        """Which files of a run's directory to publish, by their paths within it; sorted."""
        wanted = set(names) - _BOOKKEEPING
        kept = wanted - _matching(wanted, _INPUTS) if self.include is None else _matching(wanted, self.include)
        return sorted(kept - _matching(wanted, self.exclude))

    def send(self, directory: Path, record: RunRecord, stop: threading.Event | None = None) -> RunResult:
        """Upload a directory and, last, its record.

        Args:
            directory: The local directory of the run; left as it is.
            record: The run's record, without files.
            stop: Set it from another thread to break off before the next file.

        Returns:
            The published result.

        Raises:
            RunExistsError: As [publish][idfkit_fs.publish].
            PublishError: Likewise.
        """
        stop = stop or threading.Event()
        names = self.select(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
        try:
            old = _patiently(self.standing)
            if old is not None:
                with contextlib.suppress(FileNotFoundError):
                    _patiently(lambda: self.fs.remove(RECORD_NAME))
            entries = self._upload_all(directory, names, stop)
            record = record.model_copy(update={"files": entries})
            _patiently(lambda: self.fs.write_bytes(RECORD_NAME, record.to_json()))
        except RunExistsError as exc:
            exc.add_note(f"The new run is kept in {directory}")
            raise
        except OSError as exc:
            raise self._broken_off(directory, exc) from exc
        if old is not None:
            self._remove_leftovers({entry.name for entry in old.files} - set(names))
        return result_of(self.fs, record)

    def _upload_all(self, directory: Path, names: list[str], stop: threading.Event) -> tuple[RecordedFile, ...]:
        sizes = {name: (directory / name).stat().st_size for name in names}
        with (
            _byte_meter(sum(sizes.values()), f"Publishing {Path(self.fs.url()).name}", self.progress) as meter,
            ThreadPoolExecutor(_WORKERS, thread_name_prefix="idfkit-fs-publish") as pool,
        ):

            def upload(name: str) -> RecordedFile:
                return _upload(directory / name, name, self.fs, meter, stop)

            try:
                small = [pool.submit(upload, name) for name in names if sizes[name] <= _LARGE]
                entries = [upload(name) for name in names if sizes[name] > _LARGE]
                entries += [future.result() for future in as_completed(small)]
            except BaseException:
                stop.set()
                raise
        return tuple(sorted(entries, key=lambda entry: entry.name))

    def _remove_leftovers(self, names: set[str]) -> None:
        for name in sorted(names):
            try:
                self.fs.remove(name)
            except FileNotFoundError:
                continue
            except OSError as exc:
                logger.warning("a file of the replaced run could not be removed: %s", exc)

    def _broken_off(self, directory: Path, exc: OSError) -> PublishError:
        url = redact(self.fs.url())
        message = (
            f"Publishing broke off ({exc.strerror or exc}); the run is kept in {directory}; "
            f"finish with idfkit_fs.publish({str(directory)!r}, {url!r})"
        )
        error = PublishError(exc.errno or 5, message, url)
        error.local_dir, error.url = str(directory), url
        return error


def _matching(names: set[str], patterns: Sequence[str]) -> set[str]:
    parsed = [parse_glob(pattern) for pattern in patterns]
    return {name for name in names if any(pattern.matches(name) for pattern in parsed)}


def _upload(
    local: Path, name: str, fs: FsspecFileSystem, meter: Callable[[int], None], stop: threading.Event
) -> RecordedFile:
    size = local.stat().st_size
    with local.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    counted = _Counted(meter)

    def attempt() -> None:
        if stop.is_set():
            msg = "stopped before all files were sent"
            raise InterruptedError(msg)
        counted.rewind()
        fs.upload(local, name, callback=counted)

    _patiently(attempt)
    meter(size - counted.value)
    return RecordedFile(name=name, size=size, sha256=digest)


def _patiently(call: Callable[[], Any]) -> Any:
    """Call again, a few times, where the store did not answer; fsspec's own retries do not cover every loss."""
    for attempt in stamina.retry_context(on=ConnectionError, attempts=3, timeout=60, wait_initial=0.2, wait_max=5):
        with attempt:
            outcome = call()
    return outcome


class _Counted(Callback):
    """Passes on the bytes of one file as they go, and takes them back when the file is sent again."""

    def __init__(self, meter: Callable[[int], None]) -> None:
        super().__init__()
        self._meter = meter

    def rewind(self) -> None:
        self.absolute_update(0)

    def relative_update(self, inc: int = 1) -> None:
        self.value += inc
        self._meter(inc)

    def absolute_update(self, value: int) -> None:
        self.relative_update(value - self.value)


@contextlib.contextmanager
def _byte_meter(total: int, description: str, progress: bool) -> Iterator[Callable[[int], None]]:
    if not progress:
        yield lambda _inc: None
        return
    with require_tqdm()(total=total, desc=description, unit="B", unit_scale=True, unit_divisor=1024) as bar:
        yield bar.update


def require_tqdm() -> Any:
    """The tqdm class that suits a terminal or a notebook.

    Raises:
        MissingExtraError: If tqdm is not installed.
    """
    try:
        from tqdm.auto import tqdm
    except ImportError as exc:
        msg = "progress=True needs a package that is not installed: pip install 'idfkit-fs[progress]'"
        raise MissingExtraError(msg) from exc
    return tqdm
