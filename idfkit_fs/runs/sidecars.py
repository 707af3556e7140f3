"""Write the sidecars of a run while its other files are published, in a temporary directory."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from idfkit_fs._outputs.parquet import packed_end
from idfkit_fs._outputs.sidecars import ENVIRONMENT, TABULAR, TIME, write_sidecars
from idfkit_fs._util.interrupts import current_stop, stopped_by
from idfkit_fs._util.messages import redact
from idfkit_fs._util.progress import progress_bar
from idfkit_fs._util.urls import last_name
from idfkit_fs.runs.transfer import LocalFile, raise_if_stopped

__all__ = ["TEMPORARY_PREFIX", "Sidecars", "WrittenSidecars", "writing_sidecars"]

logger = logging.getLogger(__name__)

TEMPORARY_PREFIX = ".idfkit-fs-sidecars-"
"""How the name of the temporary directory begins."""
# In characters, of which a series takes some 250.
_ENDS = 2**16


@dataclass(frozen=True)
class WrittenSidecars:
    """Sidecars that were written.

    Attributes:
        files: The files; none if the database cannot be read.
        sql_sha256: The SHA-256 of the database that they were made from; None if there are none.
        footers: The SHA-256 of the footer of each, by name, for the run's record.
        ends: The end of each, if it is short, by name, for the run's record.
    """

    files: Sequence[LocalFile] = ()
    sql_sha256: str | None = None
    footers: Mapping[str, str] = field(default_factory=dict)
    ends: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sidecars:
    """Sidecars that another thread writes.

    Attributes:
        names: The names that they may have; those of series that the database has no values for are not written.
    """

    names: frozenset[str]
    _written: Future[WrittenSidecars]
    _abandoned: threading.Event

    def written(self) -> WrittenSidecars:
        """Wait until they are written.

        Raises:
            InterruptedError: If that was stopped.
        """
        return self._written.result()

    def files(self) -> Sequence[LocalFile]:
        """Wait until they are written; raises as `written`."""
        return self.written().files

    def abandon(self) -> None:
        """Write no more of them: they are not needed any more."""
        self._abandoned.set()


@contextlib.contextmanager
def writing_sidecars(
    sql: Path,
    sha256: Callable[[], str],
    wanted: Collection[str],
    parent: Path | None,
    url: str,
    progress: bool,
    stop: threading.Event,
) -> Iterator[Sidecars]:
    """Begin to write sidecars in another thread; it has ended, and they are removed, at the end of the ``with`` block.

    They only make reading quicker: if the database cannot be read, there are none, and a warning says why.

    Args:
        sql: The SQLite output that they are made from.
        sha256: Gives its SHA-256.
        wanted: The names of the sidecars to write.
        parent: Where the temporary directory is created; None for the system's place for such.
        url: The run's URL, for messages.
        progress: Whether to show a bar.
        stop: Set it from another thread to stop.

    Yields:
        The sidecars, which may not be written yet.
    """
    abandoned = threading.Event()
    with contextlib.ExitStack() as stack:

        def write() -> WrittenSidecars:
            def count(values: int) -> None:
                raise_if_stopped(stop)
                raise_if_stopped(abandoned)
                advance(values)

            try:
                temporary = TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=parent, ignore_cleanup_errors=True)
                directory = Path(stack.enter_context(temporary))
                with progress_bar(None, f"Preparing {last_name(url)}", "value", progress) as advance:
                    footers = write_sidecars(sql, sha256(), directory, wanted, count)
                files = [LocalFile(name, directory / name) for name in footers]
                return WrittenSidecars(files, sha256(), footers, _ends(files))
            except InterruptedError:
                raise
            except Exception as exc:  # noqa: BLE001 - the run matters more than any of these
                logger.warning("Publishing %s without sidecars: %s", redact(url), exc)
                return WrittenSidecars()

        # Before the directory is removed, the pool waits for the thread.
        with ThreadPoolExecutor(1, thread_name_prefix="idfkit-fs-sidecars") as pool:
            try:
                yield Sidecars(frozenset(wanted), pool.submit(stopped_by(current_stop(), write)), abandoned)
            finally:
                abandoned.set()


def _ends(files: Sequence[LocalFile]) -> dict[str, str]:
    """The ends of sidecars of series, the shortest ones first, as far as the record is to grow."""
    packed = {file.name: packed_end(file.path, (TIME, ENVIRONMENT)) for file in files if file.name != TABULAR}
    ends, left = {}, _ENDS
    for name, end in sorted(packed.items(), key=lambda item: len(item[1])):
        left -= len(end)
        if left >= 0:
            ends[name] = end
    return ends
