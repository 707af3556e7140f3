"""The ``idfkit-fs`` command, or the word of what it lacks."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command."""
    try:
        from idfkit_fs._cli.commands import commands
    except ModuleNotFoundError as exc:
        if exc.name != "click":
            raise
        sys.exit("The idfkit-fs command needs the extra 'cli': pip install 'idfkit-fs[cli]'")
    commands(prog_name="idfkit-fs")


if __name__ == "__main__":
    main()
