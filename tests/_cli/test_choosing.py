"""Names with wildcards and conditions on the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from support.command import run_command
from support.variants import broken, variant

from idfkit_fs import Case, Study
from idfkit_fs._cli.commands import commands
from idfkit_fs._cli.shared import chosen_by, parse_where


@pytest.fixture
def prepared(tmp_path: Path, epw: Path) -> Path:
    """Cases that are pending."""
    Study(tmp_path / "study").add_cases(
        [
            Case("base", variant(0.2), epw, {"city": "chicago"}),
            Case("wwr-0.2", variant(0.1), epw, {"wwr": 0.2, "city": "chicago", "zip": "0123"}),
            Case("wwr-0.4", variant(0.05), epw, {"wwr": 0.4, "city": "miami", "zip": "33101"}),
            Case("wwr-bad", broken(), epw, {"wwr": 0.6, "city": "miami", "zip": "33101"}),
        ]
    )
    return tmp_path / "study"


def quickly(*arguments: object) -> tuple[int, str]:
    """A command that handles no signals, in this process."""
    done = CliRunner().invoke(commands, [*map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def shell(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, env=variables)


def holds(condition: str, value: Any) -> bool:
    ((_, condition_of_value),) = parse_where([condition]).items()
    return bool(condition_of_value(value))


@pytest.mark.parametrize(
    ("condition", "fulfil", "fail"),
    [
        ("x=0.4", [0.4, "0.4"], [0.5, "0.40", True, None, [0.4]]),
        ("x == 1", [1, 1.0, "1"], [True, 2]),
        ("x!=1", [2, "2", True, [1]], [1, 1.0, "1"]),
        ("x<0.4", [0.3, -1, "0.3"], [0.4, 1, True, "0.4", [0]]),
        ("x<=0.4", [0.3, 0.4], [0.5, False]),
        ("x>9", [10, 9.5], [9, "10"]),
        ("x>=2026-02-01", ["2026-02-01", "2026-11-01"], ["2026-01-31", 2027, None]),
        ("x=chicago", ["chicago"], ["Chicago", "miami", 1]),
        ("x=0123", ["0123"], [123]),
        ("x=true", [True, "true"], [1, False, "True"]),
        ("x= a=b ", ["a=b"], ["a"]),
        ("x=", [""], [None, 0]),
        ("x=[1, 2]", [[1, 2]], [[1], "12"]),
        ("x>abc", ["abd"], [1, 0.4]),
    ],
)
def test_a_condition_compares_by_the_parameters_own_type(condition: str, fulfil: list[Any], fail: list[Any]) -> None:
    assert [value for value in [*fulfil, *fail] if holds(condition, value)] == fulfil


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_numbers_compare_as_numbers(value: float, other: float) -> None:
    text = repr(other).replace("inf", "Infinity")
    found = [holds(f"x{operator}{text}", value) for operator in ("<", "<=", "=", "==", "!=", ">=", ">")]
    assert found == [
        value < other,
        value <= other,
        *[value == other] * 2,
        value != other,
        value >= other,
        value > other,
    ]


def test_several_conditions_and_names_must_all_hold() -> None:
    where = parse_where(["wwr>0.2", "city=miami", "wwr<=0.5"])
    assert [wwr for wwr in (0.2, 0.4, 0.5, 0.6) if where["wwr"](wwr)] == [0.4, 0.5]
    assert chosen_by((), {}) is None
    assert chosen_by(("a*",), {}) == ("a*",)
    assert chosen_by(("a*",), where) == {"case": ("a*",), **where}
    assert chosen_by((), where) == where


@pytest.mark.parametrize("condition", ["wwr", "", "=0.4", "case=base"])
def test_what_is_no_condition_is_exit_code_2(tmp_path: Path, condition: str) -> None:
    code, printed = quickly("ls", tmp_path, "--where", condition)
    assert code == 2 and "--where" in printed


def test_ls_and_verify_take_patterns_and_conditions(prepared: Path) -> None:
    assert quickly("ls", prepared, "wwr-0.?") == (0, "pending  wwr-0.2\npending  wwr-0.4\n")
    assert quickly("ls", prepared, "--where", "zip=0123") == (0, "pending  wwr-0.2\n")
    code, printed = quickly("ls", prepared, "*b*", "--where", "city=miami", "--json")
    assert (code, json.loads(printed)) == (0, {"wwr-bad": "pending"})
    assert quickly("verify", prepared, "wwr-*", "--where", "wwr<0.5") == (0, "2 cases checked: nothing is wrong\n")
    for command in ("ls", "verify"):
        code, printed = quickly(command, prepared, "--where", "wwr>0.6")
        assert code == 1 and "No case has such a value of 'wwr'; the values are 0.2, 0.4, 0.6" in printed


def test_rm_says_what_it_would_remove(prepared: Path) -> None:
    code, printed = quickly("rm", prepared, "wwr-*", "--where", "city=miami")
    assert code == 1 and "Remove wwr-0.4, wwr-bad with all results" in printed
    code, printed = quickly("rm", prepared, "wwr-?", "--yes")
    assert code == 1 and "no case that matches 'wwr-?'" in printed
    assert quickly("rm", prepared, "--yes")[0] == 2
    assert len(Study(prepared).cases()) == 4
    assert quickly("rm", prepared, "--where", "city=miami", "--yes") == (0, "Removed wwr-0.4, wwr-bad.\n")
    assert Study(prepared).cases() == ["base", "wwr-0.2"]


def test_run_and_get_take_patterns_and_conditions(prepared: Path, tmp_path: Path) -> None:
    task = {
        f"SLURM_ARRAY_TASK_{name}": value for name, value in (("COUNT", "2"), ("MIN", "0"), ("MAX", "1"), ("STEP", "1"))
    }
    nothing = shell("get", prepared, "wwr-*", "--to", tmp_path)
    assert nothing.returncode == 1 and "None of the cases that were chosen has a run yet" in nothing.stderr
    # A task of an array job runs its share of what is chosen.
    first = shell("run", prepared, "--case", "wwr-*", "--where", "wwr<0.5", "--json", SLURM_ARRAY_TASK_ID="1", **task)
    assert json.loads(first.stdout)["simulated"] == ["wwr-0.4"]
    assert "Share 1 of 2: 1 of 2 cases to run" in first.stderr
    second = shell("run", prepared, "--case", "wwr-*", "--json")
    assert (second.returncode, json.loads(second.stdout)["simulated"]) == (3, ["wwr-0.2", "wwr-bad"])
    again = shell("run", prepared, "--where", "city=miami", "--failed", "--json")
    assert json.loads(again.stdout)["failed"] == ["wwr-bad"]
    got = shell("get", prepared, "wwr-*", "--where", "city=miami", "--include", "*.err", "--to", tmp_path / "runs")
    assert (got.returncode, len(got.stdout.splitlines())) == (0, 2)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"wwr-0.4", "wwr-bad"}
    assert shell("get", prepared, "x*", "--to", tmp_path).returncode == 1
