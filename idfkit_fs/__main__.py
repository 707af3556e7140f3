"""The ``idfkit-fs`` command."""

from __future__ import annotations

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
    commands(prog_name="idfkit-fs")


if __name__ == "__main__":
    main()
