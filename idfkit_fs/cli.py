"""What the ``idfkit-fs`` command offers; each command is a few words over the library."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click
from pydantic import ByteSize

from idfkit_fs import cache
from idfkit_fs.errors import IdfkitFsError

__all__ = ["commands"]


class _Commands(click.Group):
    """Commands whose errors are messages, not tracebacks."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of this package ends it with exit code 1."""
        try:
            return super().invoke(ctx)
        except IdfkitFsError as exc:
            said = f"{exc.strerror}: {exc.filename}" if isinstance(exc, OSError) else str(exc)
            raise click.ClickException(said) from exc


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="idfkit-fs")
def commands() -> None:
    """EnergyPlus results at any URL."""


@commands.group(name="cache")
def cache_commands() -> None:
    r"""Look after the local cache of results.

    \b
    Examples:
      idfkit-fs cache info
      idfkit-fs cache prune --max-bytes 2GB
      idfkit-fs cache clear
    """


_cache_storage = click.option(
    "--cache-storage",
    type=click.Path(file_okay=False, path_type=Path),
    help="The cache's directory, if it is not the user's own.",
)


@cache_commands.command(name="info")
@_cache_storage
@click.option("--json", "as_json", is_flag=True, help="Print JSON, sizes in bytes.")
def cache_info(cache_storage: Path | None, as_json: bool) -> None:
    """Show where the cache is and what it holds."""
    found = cache.info(cache_storage)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), default=str, indent=1))
        return
    click.echo(f"directory  {found.directory}")
    click.echo(f"files      {found.files} ({found.in_use} in use)")
    click.echo(f"size       {_size(found.bytes)} of {_size(found.max_bytes)}")


@cache_commands.command(name="prune")
@_cache_storage
@click.option("--max-bytes", metavar="SIZE", help="What may stay, such as 2GB; the cache's own bound unless given.")
def cache_prune(cache_storage: Path | None, max_bytes: str | None) -> None:
    """Drop the least recently used files beyond a bound.

    Files that a running program uses stay.
    """
    _report(cache.prune(max_bytes, cache_storage), cache_storage)


@cache_commands.command(name="clear")
@_cache_storage
def cache_clear(cache_storage: Path | None) -> None:
    """Drop every file that no running program uses."""
    _report(cache.clear(cache_storage), cache_storage)


def _report(freed: int, cache_storage: Path | None) -> None:
    left = cache.info(cache_storage)
    in_use = f", {left.in_use} of them in use" if left.in_use else ""
    click.echo(f"Freed {_size(freed)}; {left.files} files ({_size(left.bytes)}) are left{in_use}.")


def _size(count: int) -> str:
    return ByteSize(count).human_readable(decimal=True, separator=" ")
