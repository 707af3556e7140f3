"""A disk of this machine that is full or read-only is not taken for an answer of the store."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from idfkit.simulation import SimulationResult
from support import disks, full_disks
from support.readers import Crowd

from idfkit_fs import publish

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts disks as Linux does")


def test_a_full_and_a_read_only_disk(local_run: SimulationResult, tmp_path: Path) -> None:
    with Crowd(1) as alone:
        (why,) = alone.do(disks.can_mount, str(tmp_path / "try"))
    if why:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    run = publish(local_run, (tmp_path / "run").as_uri()).url
    given = {"run": run, "directory": str(tmp_path)}
    with Crowd(1) as alone:
        ((found, warnings),) = alone.do(disks.with_mounts, str(tmp_path), full_disks.full_and_read_only, given)
    full, frozen = str(tmp_path / "full"), str(tmp_path / "frozen")

    kind, number, text, path = found["full write_bytes"]
    assert (kind, number, path) == ("MachineError", "ENOSPC", f"file://{full}/a.csv")
    assert text.startswith("The disk of this machine is full")
    assert "use a directory of another disk" in text
    assert f"{full} has 0.0 of 1.0 MB free" in text

    kind, number, text, path = found["full download"]
    assert (kind, number, path) == ("MachineError", "ENOSPC", f"{full}/copy")
    assert text.startswith("The disk is full; free space, or download into a directory of another disk")
    assert "0.0 of 1.0 MB free" in text

    assert found["read-only write_bytes"][:2] == ("MachineError", "EROFS")
    assert found["read-only write_bytes"][2].startswith("The disk of this machine is read-only; use a directory of")
    kind, number, text, path = found["read-only download"]
    assert (kind, number, path) == ("MachineError", "EROFS", f"{frozen}/copy")
    assert "download into a directory of another disk" in text

    kind, number, text, path = found["full temporary open"]
    assert (kind, number, path) == ("MachineError", "ENOSPC", full)
    assert "set TMPDIR to a directory with more room" in text
    assert found["nothing stored"][0] == "False"

    (warning,) = warnings
    assert "No space left on device" in warning
    assert "cache_storage" in warning and full in warning and "0.0 of 1.0 MB free" in warning
