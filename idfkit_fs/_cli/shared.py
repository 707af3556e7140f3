"""What the commands of several modules share: arguments, options, and how they print."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterable
from typing import Any

import click
from pydantic import ByteSize

from idfkit_fs._util.messages import printable, redact
from idfkit_fs.errors import IdfkitFsError
from idfkit_fs.runs.register import read_record
from idfkit_fs.runs.result import RunResult, result_of
from idfkit_fs.studies.display import one_line
from idfkit_fs.studies.report import RunReport
from idfkit_fs.studies.study import Study

__all__ = [
    "FAILED",
    "PENDING",
    "echo",
    "echo_json",
    "echo_lines",
    "echo_report",
    "json_option",
    "open_study",
    "parse_options",
    "progress_option",
    "run_at",
    "size_text",
    "storage_options",
    "url_argument",
]

# Exit codes.
FAILED, PENDING = 3, 4


def parse_options(given: Iterable[str]) -> dict[str, Any]:
    """Parse the storage options of a command line. Messages show names only, because values may be secrets.

    Args:
        given: Texts such as ``key=value``. A value that is valid JSON is read as JSON; dots in a key nest.

    Returns:
        The options.

    Raises:
        ValueError: If an option has no name or no value, or two options contradict each other.

    Examples:
        >>> parse_options(["anon=true", "client_kwargs.region_name=eu-west-1"])
        {'anon': True, 'client_kwargs': {'region_name': 'eu-west-1'}}
    """
    options: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        *parents, last = name.split(".")
        if not equals or not all((*parents, last)):
            raise ValueError(
                "A storage option must be KEY=VALUE, such as anon=true or client_kwargs.region_name=eu-west-1"
            )
        inner: Any = options
        for parent in parents:
            inner = inner.setdefault(parent, {}) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or last in inner:
            raise ValueError(f"The storage option {name!r} is given twice, or contradicts another one")
        inner[last] = _value(value)
    return options


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _options_of(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    try:
        return parse_options(given)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc


def _shows_progress(_context: click.Context, _parameter: click.Parameter, wanted: bool | None) -> bool:
    return sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None if wanted is None else wanted


url_argument = click.argument("url")
storage_options = click.option(
    "-o",
    "--option",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_options_of,
    help="A storage option, such as anon=true. A VALUE that is valid JSON is read as JSON; dots in KEY nest, as in "
    "client_kwargs.region_name=eu-west-1. Repeatable. Other users can see the command line: keep secrets in the "
    "environment or in the configuration of your store's tools.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
progress_option = click.option(
    "--progress/--no-progress",
    default=None,
    callback=_shows_progress,
    help="Show a progress bar; by default if stderr is a terminal.",
)


def echo_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1))


def echo(text: str, err: bool = False) -> None:
    """Print a text; what a terminal would obey is escaped, because names and messages may be anybody's."""
    click.echo(printable(text, "\n"), err=err)


def echo_lines(lines: Iterable[Any]) -> None:
    for line in lines:
        echo(printable(str(line)))


def size_text(count: int) -> str:
    return ByteSize(count).human_readable(decimal=True, separator=" ")


def open_study(url: str, options: dict[str, Any]) -> Study:
    """The study at a URL; what is wrong with the options is said without their values."""
    try:
        return Study(url, storage_options=options)
    except IdfkitFsError:
        raise
    except (AttributeError, TypeError, ValueError):
        raise click.ClickException(
            f"The storage options {', '.join(options)} are invalid for {redact(url)}; check the types of their values"
        ) from None  # the cause could show a value


def run_at(url: str, options: dict[str, Any]) -> RunResult | None:
    """The run at a URL, known by its record; None if there is none."""
    fs = open_study(url, options).fs
    record = read_record(fs)
    return None if record is None else result_of(fs, record)


def echo_report(report: RunReport, errors: dict[str, BaseException], as_json: bool) -> None:
    """Print how cases were run, or taken in."""
    if as_json:
        names = ("simulated", "reused", "adopted", "found", "failed")
        cases = {name: getattr(report, name) for name in names}
        echo_json({**cases, "errors": {case: one_line(exc) for case, exc in errors.items()}})
        return
    if report.runs or not errors:
        echo(str(report))
    if len(errors) > 1:  # of one alone, the error of the command says it
        for case, exc in errors.items():
            echo(f"{case}: {one_line(exc)}", err=True)
