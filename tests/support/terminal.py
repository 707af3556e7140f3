"""A terminal of a given size, in which a command runs."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from collections.abc import Mapping

__all__ = ["at_terminal"]


def at_terminal(
    *arguments: object,
    columns: int = 80,
    lines: int = 24,
    answer: bytes = b"",
    env: Mapping[str, str] | None = None,
    program: tuple[str, ...] = ("-m", "idfkit_fs"),
) -> tuple[int, str]:
    """Run the command with a terminal as stdin, stdout and stderr; its exit code, and all that the terminal was sent.

    Args:
        *arguments: The arguments of the command.
        columns: The width of the terminal.
        lines: The height of the terminal.
        answer: What the user types.
        env: Variables of the environment, in addition to this process's.
        program: What this Python runs.
    """
    # These would go before the size of the terminal.
    without_size = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    ours, theirs = pty.openpty()
    try:
        termios.tcsetwinsize(theirs, (lines, columns))
        process = subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**without_size, "TERM": "xterm", **(env or {})},
        )
    finally:
        os.close(theirs)
    os.write(ours, answer)
    sent = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # no process holds the terminal any more
            break
        if not data:
            break
        sent += data
    os.close(ours)
    return process.wait(timeout=300), sent.decode().replace("\r\n", "\n")
