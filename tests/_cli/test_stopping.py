"""What a signal does to a command that does not end by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_HANGS = """
import os, signal, tempfile, threading
from idfkit_fs._cli.stopping import stoppable
with stoppable("nothing is lost"):
    tempfile.mkdtemp()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        threading.Event().wait()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that can be handled")
def test_a_command_that_hangs_is_ended_and_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HANGS],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (143, "Stopped by SIGTERM; nothing is lost\n")
    assert list(tmp_path.iterdir()) == []
