"""The ``idfkit-fs`` command in a process of its own, which does not have to import everything first."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.readers import CONTEXT

__all__ = ["run_command"]

_PATIENCE = 600.0


def run_command(
    *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command as a shell does, and wait for its end.

    It is a fork of a process that has imported the package, which saves a second of the processor's time, unless it is
    to find other modules than that one.

    Args:
        *arguments: Its arguments.
        env: What its environment has in addition.
        cwd: Its working directory, if that is another one.

    Returns:
        Its exit code and output.
    """
    given, environment = [*map(str, arguments)], {**os.environ, **(env or {})}
    if os.name == "nt" or any(name.startswith("PYTHON") for name in env or {}):
        return subprocess.run(
            [sys.executable, "-m", "idfkit_fs", *given],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
        )
    with tempfile.TemporaryDirectory(prefix="idfkit-fs-test-") as directory:
        texts = [Path(directory, name) for name in ("stdout", "stderr")]
        places = [os.devnull, *map(str, texts)]
        process = CONTEXT.Process(target=_be, args=(given, environment, str(cwd or Path.cwd()), places))
        process.start()
        process.join(_PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(given, _PATIENCE)
        stdout, stderr = (path.read_bytes().decode() for path in texts)
    return subprocess.CompletedProcess(given, process.exitcode, stdout, stderr)


def _be(arguments: Sequence[str], environment: Mapping[str, str], directory: str, places: Sequence[str]) -> None:
    """Be the command."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    for number, place in enumerate(places):
        opened = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    tempfile.tempdir = None
    sys.argv = ["idfkit-fs", *arguments]
    from idfkit_fs.__main__ import main

    main()
