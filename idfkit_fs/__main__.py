"""The ``idfkit-fs`` command."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command, or exit with the name of the extra that it needs."""
    try:
        from idfkit_fs._cli.commands import commands
    except ModuleNotFoundError as exc:
        if exc.name != "click":
            raise
        sys.exit("The idfkit-fs command needs the extra 'cli': pip install 'idfkit-fs[cli]'")
    try:
        commands(prog_name="idfkit-fs")
    except OSError as exc:  # what cannot even be printed, such as the help on a full disk
        sys.exit(f"Error: {exc.strerror}")
    finally:
        _close_stdout()


def _close_stdout() -> None:
    """Leave nothing to write for the end of the process, where it would give a traceback and another exit code."""
    try:
        sys.stdout.flush()
    except (AttributeError, ValueError):  # stdout does not exist, or is closed
        return
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
