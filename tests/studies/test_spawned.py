"""A script that starts worker processes, and lacks the guard that they need."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
from support.made_cases import make_cases

from idfkit_fs import FsspecFileSystem, Study

SCRIPT = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from idfkit_fs import Study

pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context({method!r}))
Study({study!r}).run(executor=pool)
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_script_without_a_guard_is_told_once(tmp_path: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        method = "spawn"
    make_cases(FsspecFileSystem.from_url(tmp_path / "study").write_bytes, ["a", "b", "c"], ended=False)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(method=method, study=str(tmp_path / "study")))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("Traceback") == 1, done.stderr
    assert done.stderr.count("needs the line if __name__ == '__main__': above what it does") == 1
    assert Study(tmp_path / "study").status().pending == ("a", "b", "c")
