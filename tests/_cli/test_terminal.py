"""What a terminal shows while a command works, and what a log gets instead."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.made_cases import make_cases
from support.terminal import at_terminal

from idfkit_fs import FsspecFileSystem, Study

BARS = """
import logging, warnings
from idfkit_fs._cli.commands import commands
from idfkit_fs._util.progress import byte_progress_bar, progress_bar

@commands.command()
def work():
    for total, bar in ((120, progress_bar(120, "Running study", "case", True)),
                       (3 * 10**9, byte_progress_bar(3 * 10**9, "Downloading study", True))):
        with bar as done:
            for number in range(12):
                done(total // 12)
                if number % 4 == 0:
                    logging.getLogger("idfkit_fs").warning("message %s of many", number)
                if number == 6:
                    warnings.warn("pass overwrite=True")
commands(["work"])
"""


@pytest.fixture
def made(tmp_path: Path) -> Path:
    make_cases(FsspecFileSystem.from_url(tmp_path / "study").write_bytes, [f"a-{number}" for number in range(6)])
    return tmp_path / "study"


def screen(sent: str) -> list[str]:
    """The lines that a terminal shows in the end, of what tqdm and a command send."""
    lines, at, column = [""], 0, 0
    for part in sent.replace("\x1b[A", "\x00"):
        if part == "\n":
            at, column = at + 1, 0
            lines += [""] * (at + 1 - len(lines))
        elif part == "\r":
            column = 0
        elif part == "\x00":
            at -= 1
        else:
            lines[at] = lines[at].ljust(column)[:column] + part + lines[at][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines if line.strip()]


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_bar_stays_where_it_is_while_messages_are_printed(columns: int) -> None:
    code, sent = at_terminal(columns=columns, program=("-c", BARS), env={"TQDM_MININTERVAL": "0"})
    assert code == 0
    for label in ("Running study", "Downloading study"):
        frames = [frame for frame in sent.replace("\n", "\r").split("\r") if frame.startswith(label)]
        assert len(frames) > 10
        assert {len(frame) for frame in frames} == {columns - 1}  # the cursor is after it
        assert len({tuple(at for at, each in enumerate(frame) if each == "|") for frame in frames}) == 1
    shown = screen(sent)
    before, after = ([f"Warning: message {number} of many" for number in numbers] for numbers in ((0, 4), (8,)))
    # Python gives a warning once.
    expected = [*before, "Warning: pass --overwrite", *after, *before, *after]
    assert [line for line in shown if line.startswith("Warning")] == expected
    bars = [line for line in shown if not line.startswith("Warning")]
    assert [line.split("%")[0].split() for line in bars] == [
        ["Running", "study", "100"],
        ["Downloading", "study", "100"],
    ]


def test_a_log_gets_plain_lines(made: Path) -> None:
    command = [sys.executable, "-m", "idfkit_fs", "verify", str(made), "--progress"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout == "6 cases checked: nothing is wrong\n"
    assert done.stderr.splitlines() == [f"Verifying study: {percent} %" for percent in (10, 30, 50, 60, 80, 100)]
    quiet = subprocess.run(command[:-1], capture_output=True, text=True, timeout=600, check=False)
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")


def test_a_question_is_asked_beside_the_json(made: Path) -> None:
    code, shown = at_terminal("rm", made, "a-0", "--json", "--no-progress", answer=b"y\n")
    question, _, answer = shown.removeprefix("y\n").partition("? [y/N]: ")  # the terminal shows what is typed
    assert code == 0 and question.startswith("Remove a-0 with all results from ")
    assert json.loads(answer) == {"removed": ["a-0"]}
    code, shown = at_terminal("rm", made, "a-*", answer=b"n\n")
    assert code == 1 and "Error: Nothing was removed" in shown
    assert len(Study(made).cases()) == 5
