"""Write the sidecars of a run that is about to be published, in a temporary directory."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from idfkit_fs._outputs.sidecars import write_sidecars
from idfkit_fs._util.messages import redact
from idfkit_fs._util.progress import progress_bar
from idfkit_fs._util.urls import last_name
from idfkit_fs.runs.transfer import LocalFile, raise_if_stopped

__all__ = ["TEMPORARY_PREFIX", "Sidecars", "written_sidecars"]

logger = logging.getLogger(__name__)

TEMPORARY_PREFIX = ".idfkit-fs-sidecars-"
"""How the name of the temporary directory begins."""


@dataclass(frozen=True)
class Sidecars:
    """Sidecars that were written.

    Attributes:
        files: The files.
        footers: The SHA-256 of the footer of each, by name, for the run's record.
    """

    files: list[LocalFile] = field(default_factory=list)
    footers: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def written_sidecars(
    sql: Path,
    sha256: str,
    wanted: Collection[str],
    parent: Path | None,
    url: str,
    progress: bool,
    stop: threading.Event,
) -> Iterator[Sidecars]:
    """Write sidecars; they are removed at the end of the ``with`` block.

    Args:
        sql: The SQLite output that they are made from.
        sha256: Its SHA-256.
        wanted: The names of the sidecars to write.
        parent: Where the temporary directory is created; None for the system's place for such.
        url: The run's URL, for messages.
        progress: Whether to show a bar.
        stop: Set it from another thread to stop.

    Yields:
        The sidecars; there are none if the database cannot be read: they only make reading quicker, so the run is
        published without them, with a warning.

    Raises:
        InterruptedError: If *stop* was set.
    """
    sidecars = Sidecars()
    with contextlib.ExitStack() as stack:
        try:
            temporary = TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=parent, ignore_cleanup_errors=True)
            directory = Path(stack.enter_context(temporary))
            advance = stack.enter_context(progress_bar(None, f"Preparing {last_name(url)}", "value", progress))

            def count(values: int) -> None:
                raise_if_stopped(stop)
                advance(values)

            footers = write_sidecars(sql, sha256, directory, wanted, count)
            sidecars = Sidecars([LocalFile(name, directory / name) for name in footers], footers)
        except InterruptedError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever it is, the run matters more
            logger.warning("Publishing %s without sidecars: %s", redact(url), exc)
        yield sidecars
