"""How soon the command answers, and what a shell completes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Each of these takes a good part of the time in which help should be there.
HEAVY = {
    *("asyncio", "fsspec", "idfkit", "numpy", "pandas", "pyarrow", "pydantic", "psutil", "s3fs", "tqdm", "xarray"),
    *("idfkit_fs.cache", "idfkit_fs.runs.result", "idfkit_fs.studies.study"),
}
SHOW_MODULES = """
import json, sys
from idfkit_fs.__main__ import main
sys.argv[0] = "idfkit-fs"
try:
    main()
finally:
    print(json.dumps([*sys.modules]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("run", "--help"), ("summary", "--help"), ("cache", "prune", "--help"), ("runn",)],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", SHOW_MODULES, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == (2 if arguments == ("runn",) else 0)
    modules = {*json.loads(done.stderr.splitlines()[-1])}
    assert "click" in modules and modules & HEAVY == set()


def completion(shell: str, **variables: str) -> str:
    environment = {**os.environ, **variables, "_IDFKIT_FS_COMPLETE": shell}
    command = [sys.executable, "-m", "idfkit_fs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0 if "source" in shell else done.returncode, "")
    return done.stdout


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o nosort -F _idfkit_fs_completion idfkit-fs"),
        ("zsh", "compdef _idfkit_fs_completion idfkit-fs"),
        ("fish", "complete --no-files --command idfkit-fs"),
    ],
)
def test_each_shell_gets_its_script(shell: str, line: str) -> None:
    script = completion(f"{shell}_source")
    assert line in script and f"_IDFKIT_FS_COMPLETE={shell}_complete" in script


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("idfkit-fs con", {"consolidate"}),
        ("idfkit-fs cache p", {"prune"}),
        ("idfkit-fs run s3://my-bucket/study --fai", {"--failed"}),
        ("idfkit-fs s", {"show", "status", "studies", "summary"}),
    ],
)
def test_commands_and_options_are_completed(words: str, found: set[str]) -> None:
    in_bash = completion("bash_complete", COMP_WORDS=words, COMP_CWORD=str(words.count(" ")))
    assert {line.partition(",")[2] for line in in_bash.splitlines()} == found
    begun = words.rpartition(" ")
    in_fish = completion("fish_complete", COMP_WORDS=begun[0], COMP_CWORD=begun[2])
    assert {line.partition(",")[2].partition("\t")[0] for line in in_fish.splitlines()} == found
    in_zsh = completion("zsh_complete", COMP_WORDS=words, COMP_CWORD=str(words.count(" ")))
    assert found <= {*in_zsh.splitlines()}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_by_the_script(tmp_path: Path) -> None:
    program = tmp_path / "idfkit-fs"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m idfkit_fs "$@"\n')
    program.chmod(0o755)
    script = """
    eval "$(_IDFKIT_FS_COMPLETE=bash_source idfkit-fs)"
    COMP_WORDS=(idfkit-fs verify s3://b/study --dee) COMP_CWORD=3
    _idfkit_fs_completion idfkit-fs
    echo "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", script], capture_output=True, text=True, timeout=600, check=False, env=environment
    )
    assert (done.stdout, done.stderr) == ("--deep\n", "")
