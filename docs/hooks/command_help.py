"""Puts the help of each command, as it is printed, into the page of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from idfkit_fs._cli.commands import commands

PLACE = "<!-- the help of each command -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the place by a section for each command."""
    return markdown.replace(PLACE, "\n".join(sections(commands, "idfkit-fs", None))) if PLACE in markdown else markdown


def sections(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    """A heading, and what ``--help`` prints, of a command and those below it."""
    context = click.Context(command, info_name=name, parent=parent, terminal_width=80, **command.context_settings)
    path = context.command_path
    yield f"### {path} {{ #{path.replace(' ', '-')} data-toc-label='{path.removeprefix('idfkit-fs ')}' }}"
    yield f"\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            below = command.get_command(context, each)
            if below is not None and not below.hidden:
                yield from sections(below, each, context)
