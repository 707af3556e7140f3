"""What the files around the package say of it is so: versions, sessions of nox, workflow files, names of functions."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

import idfkit_fs

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NOXFILE = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
WORKFLOWS = [*sorted((ROOT / ".github" / "workflows").glob("*.yml")), ROOT / ".gitlab-ci.yml"]
PAGES = [ROOT / ".ci" / "run", *sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PREPARATION = "python -m pip install nox uv"
NAMED = re.compile(r"nox -s ((?:[a-z][\w.-]*[ ]?)+)")


def pythons() -> list[str]:
    """The versions that noxfile.py lists."""
    values = [
        ast.literal_eval(node.value)
        for node in NOXFILE.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PYTHONS"
    ]
    return list(values[0])


def sessions() -> set[str]:
    """The sessions of noxfile.py."""
    functions = [node for node in NOXFILE.body if isinstance(node, ast.FunctionDef)]
    named = {
        node.name for node in functions for made in node.decorator_list if ast.unparse(made).startswith("nox.session")
    }
    return named | {f"tests-{python}" for python in pythons()}


VARIABLE = re.compile(r"\$\{\{ matrix\.(\w+) \}\}|\$(\w+)")


def matrix(job: dict[str, Any]) -> list[dict[str, str]]:
    """What a job's variables are, in each of its copies."""
    if "strategy" in job:
        return list(job["strategy"]["matrix"]["include"])
    rows = job.get("parallel", {}).get("matrix", [{}])
    return [{name: value} for row in rows for name, values in row.items() for value in values] or [{}]


def commands(path: Path) -> Iterator[str]:
    """What the jobs of a workflow file run, with their variables filled in."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, job in content.get("jobs", content).items():
        steps = [step["run"] for step in job.get("steps", ()) if "run" in step]
        written = [*steps, *job.get("before_script", ()), *job.get("script", ())]
        assert written or name in {"include", "stages"}, f"the job {name} of {path.name} does nothing"
        for command in written:
            for values in matrix(job):
                yield VARIABLE.sub(lambda hit: values[hit[1] or hit[2]], command)  # noqa: B023 - called in this turn


def test_the_version_is_in_one_place() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert PROJECT["project"]["version"] == version("idfkit-fs") == idfkit_fs.__version__
    assert headings[1:2] in ([], [idfkit_fs.__version__])


def test_the_same_pythons_everywhere() -> None:
    prefix = "Programming Language :: Python :: "
    classifiers = [text.removeprefix(prefix) for text in PROJECT["project"]["classifiers"] if text.startswith(prefix)]
    assert [text for text in classifiers if "." in text] == pythons()
    assert PROJECT["project"]["requires-python"] == f">={pythons()[0]}"
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{pythons()[0].replace('.', '')}"
    assert PROJECT["tool"]["mypy"]["python_version"] == pythons()[0]
    for path in WORKFLOWS:
        tested = re.findall(r"tests-(3\.\d+)", " ".join(commands(path)))
        assert tested == [] or tested == pythons(), path.name
    assert any("tests-" in command for path in WORKFLOWS for command in commands(path))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_sessions_that_exist_and_nothing_else(path: Path) -> None:
    run = set(commands(path))
    assert PREPARATION in run
    for command in run - {PREPARATION}:
        named = NAMED.match(command)
        assert named, f"{path.name} runs something else than nox: {command}"
        assert set(named[1].split()) <= sessions(), command


@pytest.mark.parametrize("host", [WORKFLOWS[:-1], WORKFLOWS[-1:]], ids=["github", "gitlab"])
def test_each_host_runs_what_ci_runs(host: list[Path]) -> None:
    named = NAMED.findall((ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    wanted = {session for each in named for session in each.split()} - {"tests"}  # it is run with each Python there
    run = {session for path in host for command in commands(path) for session in command.split()}
    assert wanted <= run


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_pages_name_sessions_that_exist(page: Path) -> None:
    for named in NAMED.findall(page.read_text(encoding="utf-8")):
        assert set(named.split()) <= sessions(), f"nox -s {named}"


def test_hooks_have_the_versions_of_the_sessions() -> None:
    content = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repository in content["repos"] for hook in repository["hooks"]]
    assert {hook["entry"].split()[0] for hook in hooks} == {"ruff", "codespell"}
    for hook in hooks:
        assert set(hook["additional_dependencies"]) <= set(PROJECT["dependency-groups"]["lint"])


def defined(path: Path) -> set[str]:
    """The functions and classes of a file, and the methods with their class."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return found


def test_the_walk_names_functions_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w.]+)`\s+\(`(idfkit_fs/[\w/]+\.py)`\)", text)
    assert len(named) > 15
    for name, path in named:
        assert name in defined(ROOT / path), f"{path} has no {name}"
    for path in re.findall(
        r"\b(?:idfkit_fs|tests|docs|benchmarks)/[\w/.]*[\w/]", text.replace("idfkit/idfkit-fs/", "")
    ):
        assert (ROOT / path).exists(), path
