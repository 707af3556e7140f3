"""The command ``idfkit-fs doctor``."""
# ruff: noqa: D301 - click does not wrap what follows the character \b, so it must not be a backslash

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

import idfkit_fs
from idfkit_fs._cli.shared import echo, echo_json, json_option, storage_options, url_argument
from idfkit_fs._cli.wording import in_words_of_the_shell
from idfkit_fs.errors import LocationError

if TYPE_CHECKING:
    from idfkit_fs._doctor.report import Check

__all__ = ["doctor"]


@click.command()
@url_argument
@storage_options
@json_option
def doctor(url: str, options: dict[str, Any], as_json: bool) -> None:
    """Check what works at URL, and say how to fix the rest.

    Checked are the login, the endpoint, the rights, and what the store promises.

    A small directory, _doctor-<token>, is written below URL and removed again.

    The exit code is 0 if nothing fails (warnings included), 1 if something does, and 2 if URL or the options are no
    such thing.

    \b
    Examples:
      idfkit-fs doctor s3://my-bucket/study-001
      idfkit-fs doctor s3://my-bucket/study-001 -o endpoint_url=https://minio.example.org:9000
      idfkit-fs doctor gs://my-bucket/study-001 --json
    """
    try:
        with _terminable():
            report = idfkit_fs.doctor(url, storage_options=options)
    except LocationError as exc:
        raise click.UsageError(str(exc)) from exc
    except KeyboardInterrupt as exc:
        for note in getattr(exc, "__notes__", ()):
            click.echo(note, err=True)
        sys.exit(143 if exc.args else 130)
    report = replace(report, checks=_in_words(report.checks), machine=_in_words(report.machine))
    echo_json(report.to_dict()) if as_json else echo(str(report))
    sys.exit(0 if report.ok else 1)


def _in_words(checks: Iterable[Check]) -> tuple[Check, ...]:
    return tuple(
        replace(check, detail=in_words_of_the_shell(check.detail), fix=check.fix and in_words_of_the_shell(check.fix))
        for check in checks
    )


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: what was written is removed."""

    def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
