"""What the commands of several modules share: arguments, options, and how they print.

The modules of this subpackage import nothing heavy before a command runs, so that ``--help`` answers immediately.
"""

from __future__ import annotations

import importlib.util
import json
import math
import operator
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

import idfkit_fs
from idfkit_fs._cli.wording import in_words_of_the_shell
from idfkit_fs._util.messages import printable, redact
from idfkit_fs.errors import IdfkitFsError
from idfkit_fs.studies.display import one_line

if TYPE_CHECKING:
    from idfkit_fs.runs.result import RunResult
    from idfkit_fs.studies.choose import Cases
    from idfkit_fs.studies.report import RunReport
    from idfkit_fs.studies.study import Study

__all__ = [
    "FAILED",
    "PENDING",
    "chosen_by",
    "echo",
    "echo_json",
    "echo_lines",
    "echo_report",
    "is_number",
    "json_option",
    "json_text",
    "open_study",
    "parse_options",
    "parse_where",
    "progress_option",
    "run_at",
    "size_text",
    "storage_options",
    "told",
    "url_argument",
    "where_option",
]

# Exit codes.
FAILED, PENDING = 3, 4

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WHERE = re.compile(r"\s*(?P<name>.+?)\s*(?P<operator>[=!<>]=|[=<>])\s*(?P<value>.*?)\s*", re.DOTALL)


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


def parse_where(given: Iterable[str]) -> dict[str, Callable[[Any], bool]]:
    """Parse conditions on parameters; several on the same parameter must all hold.

    Args:
        given: Texts such as ``wwr>=0.4`` or ``city=chicago``, with one of ``= != < <= > >=``. A command line has no
            types, so those of the parameters count: numbers are compared as numbers, and texts as texts.

    Returns:
        The conditions as a filter for [Cases][idfkit_fs.Cases]: a case without the parameter fulfils none.

    Raises:
        ValueError: If a text is not a condition.

    Examples:
        >>> holds = parse_where(["wwr>0.3", "wwr<=0.5"])["wwr"]
        >>> holds(0.4), holds(0.6)
        (True, False)
    """
    conditions: dict[str, list[Callable[[Any], bool]]] = {}
    for text in given:
        match = _WHERE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a condition; write it as city=chicago or 'wwr>=0.4'")
        if match["name"] == "case":
            raise ValueError("Conditions are about parameters; give names of cases by themselves, as in 'wwr-*'")
        conditions.setdefault(match["name"], []).append(_comparison(_OPERATORS[match["operator"]], match["value"]))
    return {name: _all_of(of_name) for name, of_name in conditions.items()}


def _all_of(conditions: list[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    return lambda value: all(holds(value) for holds in conditions)


def _comparison(compare: Callable[[Any, Any], Any], text: str) -> Callable[[Any], bool]:
    given = _value(text)

    def holds(value: Any) -> bool:
        if isinstance(value, str):
            return bool(compare(value, text))
        if is_number(value) and is_number(given):
            return bool(compare(value, given))
        # Other values have no order, and equal their own kind only.
        equal = type(value) is type(given) and value == given
        return equal if compare is operator.eq else compare is operator.ne and not equal

    return holds


def is_number(value: Any) -> bool:
    """Whether a value is a number, which True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def chosen_by(names: Sequence[str], where: Mapping[str, Any]) -> Cases | None:
    """What a command line chooses: the cases of some names that fulfil conditions; None for all."""
    if where:
        return {"case": names, **where} if names else where
    return names or None


def _where_of(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    try:
        return parse_where(given)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc


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
where_option = click.option(
    "--where",
    metavar="CONDITION",
    multiple=True,
    callback=_where_of,
    help="Only cases whose parameters fulfil a condition, such as city=chicago or 'wwr>=0.4', with one of "
    "= != < <= > >=. Numbers are compared as numbers, texts as texts. Repeatable: all must hold.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
progress_option = click.option(
    "--progress/--no-progress",
    default=None,
    callback=_shows_progress,
    help="Show a progress bar; by default if stderr is a terminal.",
)


def echo_json(value: Any) -> None:
    """Print one JSON document. JSON has no NaN: it becomes null."""
    click.echo(json_text(value))


def json_text(value: Any) -> str:
    """A value as JSON, in which numbers that are not finite are null."""
    return json.dumps(_finite(value), indent=1, default=str, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value


def echo(text: str, err: bool = False) -> None:
    """Print a text; what a terminal would obey is escaped, because names and messages may be anybody's."""
    click.echo(printable(text, "\n"), err=err)


def echo_lines(lines: Iterable[Any]) -> None:
    for line in lines:
        echo(printable(str(line)))


def size_text(count: int) -> str:
    from pydantic import ByteSize

    return ByteSize(count).human_readable(decimal=True, separator=" ")


def told(exc: BaseException) -> str:
    """The message of an error in one line, in words of the command line."""
    return in_words_of_the_shell(one_line(exc))


def open_study(url: str, options: dict[str, Any]) -> Study:
    """The study at a URL; what is wrong with the options is said without their values."""
    try:
        return idfkit_fs.Study(url, storage_options=options)
    except IdfkitFsError:
        raise
    except (AttributeError, TypeError, ValueError):
        if not options:
            raise
        raise click.ClickException(
            f"The storage options {', '.join(options)} are invalid for {redact(url)}; check the types of their values"
        ) from None  # the cause could show a value


def run_at(study: Study) -> RunResult | None:
    """The run at the URL that was given for a study's, known by its record; None if none exists."""
    from idfkit_fs.runs.register import read_record
    from idfkit_fs.runs.result import result_of

    record = read_record(study.fs)
    return None if record is None else result_of(study.fs, record)


def echo_report(report: RunReport, errors: dict[str, BaseException], as_json: bool) -> None:
    """Print how cases were run, or taken in."""
    if as_json:
        names = ("simulated", "reused", "adopted", "found", "failed")
        cases = {name: getattr(report, name) for name in names}
        echo_json({**cases, "errors": {case: told(exc) for case, exc in errors.items()}})
        return
    if report.runs or not errors:
        echo(str(report))
    said = {case: told(exc) for case, exc in errors.items()}
    if len({*said.values()}) > 1:  # one reason alone, the error of the command says
        for case, text in said.items():
            echo(f"{case}: {text}", err=True)
