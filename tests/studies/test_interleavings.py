"""Whatever the order of their steps, and whoever is killed: publishers, runners, adders and removers lose nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import interleavings
from support.recorded import record


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real runs of EnergyPlus, which take its place."""
    directory = tmp_path_factory.mktemp("recorded")
    record(directory)
    return directory


def explore(recorded: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, whose sets of texts have the same order each time."""
    command = [sys.executable, interleavings.__file__, *arguments, f"--recorded={recorded}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_invariant_holds_after_300_seeds(recorded: Path) -> None:
    ended = explore(recorded, "0", "300", "--processes=2")
    print(ended.stdout.splitlines()[-1:])
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_seed_replays_exactly(recorded: Path) -> None:
    """Of ten seeds with other seeds before them, and of one alone."""
    texts = [explore(recorded, "300", "10", "--verbose").stdout for _ in range(2)]
    plain = [re.sub(r"/\S*interleavings-\S*|\d+\.\d s", "", text) for text in texts]
    assert plain[0] == plain[1]
    alone = re.sub(r"/\S*interleavings-\S*", "", explore(recorded, "307", "--verbose").stdout)
    assert len(alone.splitlines()) > 10
    assert "\n".join(alone.splitlines()[:-1]) in plain[0]


def test_seeds_see_what_goes_wrong_without_conditional_writes(recorded: Path) -> None:
    ended = explore(recorded, "0", "100", "--unconditional")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert re.search(r"^I\d ", ended.stdout, re.MULTILINE)
    assert "To replay: python tests/support/interleavings.py" in ended.stdout
