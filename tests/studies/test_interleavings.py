"""In every order of their steps, and with kills: publishers, runners, adders and removers lose nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import interleavings
from support.interleavings import Explorer, Seed
from support.scheduler import Actor, Fault, Kind, Scheduler
from support.tiny_runs import record

from idfkit_fs import run_case


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
    ended = explore(recorded, "0", "30", "--unconditional")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert re.search(r"^I\d ", ended.stdout, re.MULTILINE)
    assert "To replay: python tests/support/interleavings.py" in ended.stdout


# The two that were seen before there were seeds.


@pytest.fixture
def explorer(recorded: Path, tmp_path: Path) -> Iterator[Explorer]:
    with Explorer(recorded, tmp_path) as explorer:
        yield explorer


class _Overtaken(Scheduler):
    """The first actor takes some steps, then the second one takes all of its own, then the first one goes on."""

    first = 0

    def _choose(self, able: list[Actor]) -> Actor:
        slow, quick = self.actors
        return slow if slow in able and (slow.steps < self.first or quick not in able) else quick


def _runner(seed: Seed, index: int) -> Actor:
    return Actor(f"{index}", lambda _actor: run_case(f"{seed.base}/study", "a"), {"index": index})


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.faults)])
@pytest.mark.parametrize("kind", ["kill", "break"])
def test_a_slower_worker_that_dies_takes_nothing_from_the_winner(explorer: Explorer, kind: Kind, every: int) -> None:
    """It is overtaken at each of its steps, and dies at each, or every eighth, of those that are left."""
    tried = 0
    for overtaken_at in range(1, 14):
        for dies_at in range(overtaken_at + overtaken_at % every, 30, every):
            with explorer.seed(tried) as seed:
                seed.add(seed.study, "a", "good")
                slow, quick = seed.actors = [_runner(seed, index) for index in (0, 1)]
                scheduler = seed.scheduler = _Overtaken(seed.actors, seed.chance, [Fault(0, dies_at, kind)])
                scheduler.first = overtaken_at
                scheduler.run()
                if not slow.faults:
                    break
                assert quick.undisturbed, quick.error
                assert seed.study.status().ok == ("a",), f"{seed}"
                result = seed.study.result("a")
                assert result.record is not None
                for entry in result.record.files:
                    result.files.fetch(entry.name)  # raises if it is another file than the recorded one
                tried += 1
    assert tried > 100 // every


@pytest.mark.parametrize("damage", ["missing", "shorter"])
def test_a_damaged_run_is_run_again_when_it_is_named(explorer: Explorer, damage: str) -> None:
    with explorer.seed(0) as seed:
        study = seed.study
        seed.add(study, "a", "good")
        assert study.run().simulated == ("a",)
        if damage == "missing":
            study.fs.remove("a/eplus.err")
        else:
            study.fs.write_bytes("a/eplus.err", b"cut")

        assert study.run(["a"]).simulated == ("a",)
        assert study.status().ok == ("a",)
        assert study.verify(deep=True).findings == ()
        assert study.run(["a"]).found == ("a",)
