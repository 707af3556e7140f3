"""What this machine has for runs and for the cache. Nothing here fails: a URL is fine without it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from idfkit.exceptions import EnergyPlusNotFoundError
from pydantic import ByteSize

from idfkit_fs._cache.store import Cache
from idfkit_fs._doctor.report import Check
from idfkit_fs.runs.installation import find_installation

__all__ = ["check_machine"]

_ENOUGH = 2 * 10**9  # bytes; an annual run with hourly outputs takes up to 0.5 GB


class _ProblemError(Exception):
    """What is wrong, and what to do about it."""


def check_machine(cache: Cache) -> tuple[Check, ...]:
    """Check the cache's directory, the temporary directory, and EnergyPlus.

    Args:
        cache: The cache that copies of results go to.
    """
    return (
        _checked("cache", lambda: _cache(cache)),
        _checked("temporary", _temporary),
        _checked("energyplus", _energyplus),
    )


def _checked(name: str, look: Callable[[], str]) -> Check:
    started = time.perf_counter()
    problem: tuple[str, str] | None = None
    try:
        detail = look()
    except _ProblemError as exc:
        problem = exc.args[0], exc.args[1]
    except OSError as exc:  # of a directory on the way, such as another user's
        problem = f"{exc.strerror}: {exc.filename}", "run as a user who may read it"
    seconds = round(time.perf_counter() - started, 3)
    return Check(name, "warning", *problem, seconds) if problem else Check(name, "ok", detail, "", seconds)


def _cache(cache: Cache) -> str:
    other = "choose another directory (the option cache_storage)"
    try:
        directory = cache.directory
        found = cache.info()
    except OSError as exc:  # those of the cache too
        raise _ProblemError(f"{exc.strerror}: {exc.filename}", other) from exc
    parent = next((path for path in (directory, *directory.parents) if path.exists()), directory)
    if not os.access(parent, os.W_OK | os.X_OK):
        raise _ProblemError(f"{directory} cannot be written to", f"make it writable, or {other}")
    return f"{directory}, {_size(found.bytes)} of {_size(found.max_bytes)}; {_free(parent)}"


def _temporary() -> str:
    directory = Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"x")
            file.flush()
    except OSError as exc:
        raise _ProblemError(f"{directory} cannot be written to ({exc.strerror})", _ELSEWHERE) from exc
    return f"{directory}; {_free(directory)}"


_ELSEWHERE = "free space, or set TMPDIR to a directory on another disk"


def _free(directory: Path) -> str:
    free = shutil.disk_usage(directory).free
    if free < _ENOUGH:
        raise _ProblemError(f"{directory} has {_size(free)} free; a large run needs more", _ELSEWHERE)
    return f"{_size(free)} free"


def _energyplus() -> str:
    try:
        found = find_installation()
    except EnergyPlusNotFoundError as exc:
        raise _ProblemError(
            "EnergyPlus was not found; only machines that simulate need it",
            "pip install 'idfkit-fs[energyplus]', or set ENERGYPLUS_DIR",
        ) from exc
    return f"{'.'.join(map(str, found.version))} in {found.install_dir}"


def _size(count: int) -> str:
    return ByteSize(count).human_readable(decimal=True, separator=" ")
