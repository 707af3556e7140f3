"""What the library says in words of Python, a command says in its own."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import idfkit_fs
from idfkit_fs._cli.commands import commands
from idfkit_fs._cli.wording import in_words_of_the_shell

PACKAGE = Path(idfkit_fs.__file__).parent
# An argument with a value, a call, or an attribute of this package.
PYTHON = re.compile(
    r"\b(?<!-)[a-z_]+=(True|False|None|\{|[\"']|$)|\w\(\)|\w\([\w, {}]*\)(?<!\(s\))|idfkit_fs\.[a-zA-Z]"
)
# What no command does: it reads no series and no cells, opens no file objects, and is given no Python objects.
NO_COMMAND = {
    *(
        "xarray_engine.py",
        "_fs/aio.py",
        "_fs/file_objects.py",
        "_fs/sync.py",
        "_outputs/series.py",
        "_outputs/database.py",
    ),
    *("studies/chunks.py", "studies/collect.py", "studies/export.py", "studies/lazy.py", "studies/tables.py"),
    *("studies/parameters.py", "studies/parametric.py", "_outputs/frames.py", "studies/units.py"),
    *("studies/plots.py", "runs/variables.py"),
}
NOT_SAID = {
    # Checks of what only Python can give.
    "adopt_many() takes a mapping or Adoption objects",
    "add_cases() takes Case objects",
    "executor must be a concurrent.futures.Executor",
    "the executor's submit() returned",
    "publish() cannot read the filesystem of this result",
    "simulate() got an unknown keyword argument",
    "open() has no option",
    "cache= cannot notice that a file has changed",
    "sidecars=True needs a package",
    # No messages.
    "RunResult(",
    ", message=",
    "multipart/related; boundary=",
    "s3 {} profile=",
    "gs {} {} requester=",
    "PRAGMA ",
    "[^A-Za-z0-9",
}


@functools.cache
def messages() -> tuple[tuple[str, str], ...]:
    """The texts in the package that may be shown, with the file of each; what is put into them is `{}`."""
    return tuple(_messages())


def _messages() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(("testing/", "_cli/")) or name in NO_COMMAND:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts, documentation = set(), set()
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts |= {id(each) for each in node.values}
            elif isinstance(node, ast.Expr):
                documentation.add(id(node.value))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
                yield name, f"{ast.literal_eval(node.args[2])} needs a package that is not installed"
            if isinstance(node, ast.JoinedStr):
                values = (each.value if isinstance(each, ast.Constant) else "{}" for each in node.values)
                yield name, "".join(map(str, values))
            elif (
                isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts | documentation
            ):
                text = node.value  # of str.format, if braces are doubled
                yield name, text.replace("{{", "{").replace("}}", "}") if "{{" in text else text


def is_said(text: str) -> bool:
    return " " in text and not text.startswith(tuple(NOT_SAID)) and bool(PYTHON.search(text))


def test_no_command_speaks_python() -> None:
    said = [(name, text) for name, text in messages() if is_said(text)]
    assert len(said) > 20  # the search finds them
    for name, text in said:
        words = in_words_of_the_shell(text)
        # What follows is done in Python, because no command does it.
        words = re.sub(r"in Python with (its model and )?\w+=(True|\"leave\")", "", words)
        assert not PYTHON.search(words), f"{name}: {words}"


def test_the_exceptions_are_still_needed() -> None:
    texts = [text for _, text in messages()]
    assert [start for start in NOT_SAID if not any(text.startswith(start) for text in texts)] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The study has another case 'a'; pass overwrite=True to replace it", "pass --overwrite to replace it"),
        ("Case 'a' could not be run: x; add these cases again with overwrite=True", "again in Python with overwrite=True"),
        ("choose one with output_prefix=", "choose one with --output-prefix="),
        ("pass client_kwargs={'region_name': ...} or set", "pass -o client_kwargs.region_name=... or set"),
        ("config_kwargs={'s3': {'addressing_style': ...}}", "-o config_kwargs.s3.addressing_style=..."),
        ("config_kwargs={'retries': {...}}", "-o config_kwargs.retries.NAME=..."),
        ("or pass client_kwargs={'verify': '/path/ca.pem'}", "-o client_kwargs.verify=/path/ca.pem"),
        ("or pass anon=True for a public bucket", "pass -o anon=true for"),
        ("to finish, call idfkit_fs.publish('/tmp/x y', 's3://b/r') with", "run idfkit-fs publish '/tmp/x y' 's3://b/r' with"),
        ("under its protocol, such as s3={'key': ...}", "such as -o s3.key=..."),
    ],
)  # fmt: skip
def test_python_becomes_options(text: str, words: str) -> None:
    assert words in in_words_of_the_shell(text)


def test_what_is_said_exists() -> None:
    """The commands and options that the words name."""
    options = {name for command in commands.commands.values() for each in command.params for name in each.opts}
    said = " ".join(in_words_of_the_shell(text) for _, text in messages() if is_said(text))
    named = {*re.findall(r"--[a-z][a-z-]+", said)}
    assert named and named <= options | {"--array"}
    assert {*re.findall(r"idfkit-fs ([a-z]+)", said)} <= {*commands.commands, "show,"}
