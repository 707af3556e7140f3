"""Studies as array jobs of a real SLURM, with the script of the examples: ``nox -s slurm``."""

from __future__ import annotations

import re
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from small_office import one_zone
from support.ledger import Ledger
from support.servers import Store
from support.slurm import Cluster, slurm_cluster
from support.variants import cases
from support.waiting import wait_until

from idfkit_fs import Study

pytestmark = pytest.mark.slurm

SCRIPT = Path(__file__).parents[2] / "examples" / "array_jobs" / "slurm.sh"
EXAMPLE_URL = "s3://my-bucket/study-001"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Without SLURM this session fails: it exists for nothing else."""
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as directory, slurm_cluster(Path(directory)) as found:
        yield found


class Desk:
    """Where a user submits jobs for one study."""

    def __init__(self, cluster: Cluster, seaweed: Store, directory: Path) -> None:
        url = f"{seaweed.url}/{uuid.uuid4().hex}"
        self.study = Study(url, storage_options=seaweed.storage_options)
        self.ledger = Ledger(seaweed, self.study)
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self._cluster = cluster
        self._directory = directory
        self._script = directory / "slurm.sh"
        self._script.write_text(SCRIPT.read_text().replace(EXAMPLE_URL, url))
        self._variables = {
            "AWS_ENDPOINT_URL": seaweed.endpoint,
            "AWS_ACCESS_KEY_ID": seaweed.storage_options["key"],
            "AWS_SECRET_ACCESS_KEY": seaweed.storage_options["secret"],
            "TMPDIR": str(self.temporary),
        }

    def add_of(self, option: str) -> None:
        """Give the command in the script another option."""
        self._script.write_text(self._script.read_text().replace("--max-workers", f"{option} --max-workers"))

    def submit(self, *options: str) -> str:
        """Submit the script; the job's number."""
        output = ["--open-mode=append", f"--output={self._directory}/%A_%a.out"]
        return self._cluster.run("sbatch", "--parsable", *output, *options, str(self._script), env=self._variables)

    def said(self, job: str) -> dict[int, str]:
        """What each task printed, in all its attempts."""
        return {int(path.stem.split("_")[1]): path.read_text() for path in self._directory.glob(f"{job}_*.out")}

    def halted_energyplus(self, task: int) -> psutil.Process:
        """Wait for the EnergyPlus of a task, and halt it, so that it cannot end before the test has done its worst."""

        def halt() -> psutil.Process | None:
            for process in self._cluster.processes(task, "energyplus"):
                process.suspend()
                return process
            return None

        found = wait_until(halt, f"EnergyPlus of task {task}")
        assert found is not None
        return found


@pytest.fixture
def desk(cluster: Cluster, seaweed: Store, tmp_path: Path) -> Desk:
    return Desk(cluster, seaweed, tmp_path)


@pytest.fixture
def slow_desk(desk: Desk, epw: Path) -> Desk:
    """Three cases, a case a task, that take more than a moment."""
    for number in range(3):
        model = one_zone()
        model["Material"]["Insulation"].thickness = 0.1 + 0.05 * number
        desk.study.add(f"case-{number}", model, epw, annual=True)
    return desk


def simulated(said: dict[int, str]) -> int:
    return sum(map(int, re.findall(r"(\d+) simulated", "".join(said.values()))))


def test_an_array_job_runs_each_case_once(cluster: Cluster, desk: Desk, epw: Path) -> None:
    desk.study.add_cases(cases(4, epw))
    job = desk.submit()
    assert cluster.wait(job) == dict.fromkeys(range(3), "COMPLETED")
    said = desk.said(job)
    assert [f"Share {task} of 3" in said[task] for task in range(3)] == [True] * 3
    assert simulated(said) == 4
    assert len(desk.ledger.check()) == len(desk.study.status().ok) == 4


def test_a_task_that_is_cancelled_publishes_nothing_and_the_study_goes_on(cluster: Cluster, slow_desk: Desk) -> None:
    desk = slow_desk
    job = desk.submit()
    running = desk.halted_energyplus(1)
    cluster.run("scancel", f"{job}_1")
    assert cluster.wait(job) == {0: "COMPLETED", 1: "CANCELLED", 2: "COMPLETED"}
    wait_until(lambda: not cluster.processes(1), "the end of all processes of the task")
    assert not running.is_running()
    assert "Stopped by SIGTERM; the cases that were running are still pending" in desk.said(job)[1]
    assert desk.study.status().states() == {"case-0": "ok", "case-1": "pending", "case-2": "ok"}
    assert desk.ledger.names("case-1/") == [] and list(desk.temporary.iterdir()) == []

    again = desk.submit()
    assert {*cluster.wait(again).values()} == {"COMPLETED"}
    assert simulated(desk.said(again)) == 1
    assert len(desk.ledger.check()) == len(desk.study.status().ok) == 3


def test_a_whole_job_that_is_cancelled_leaves_its_cases_pending(cluster: Cluster, slow_desk: Desk) -> None:
    desk = slow_desk
    job = desk.submit()
    for task in range(3):
        desk.halted_energyplus(task)
    cluster.run("scancel", job)
    assert {*cluster.wait(job).values()} == {"CANCELLED"}
    wait_until(lambda: not cluster.processes(), "the end of all processes of the job")
    assert {name.partition("/")[0] for name in desk.ledger.names()} == {"_study"}
    assert {*cluster.wait(desk.submit()).values()} == {"COMPLETED"}
    assert len(desk.ledger.check()) == len(desk.study.status().ok) == 3


def test_a_task_that_is_requeued_runs_its_case_again(cluster: Cluster, slow_desk: Desk) -> None:
    desk = slow_desk
    job = desk.submit()
    running = desk.halted_energyplus(2)
    cluster.run("scontrol", "requeue", f"{job}_2")
    psutil.wait_procs([running], timeout=30)
    assert {*cluster.wait(job).values()} == {"COMPLETED"}
    said = desk.said(job)
    assert "Stopped by SIGTERM" in said[2] and said[2].count("Share 2 of 3: 1 of 3 cases to run") == 2
    assert simulated(said) == 3
    assert len(desk.ledger.check()) == len(desk.study.status().ok) == 3


def test_tasks_survive_the_daemon_of_their_node(cluster: Cluster, slow_desk: Desk) -> None:
    desk = slow_desk
    job = desk.submit()
    running = desk.halted_energyplus(0)
    cluster.kill_node_daemon()
    cluster.start_node()
    running.resume()
    assert {*cluster.wait(job).values()} == {"COMPLETED"}
    assert simulated(desk.said(job)) == len(desk.ledger.check()) == len(desk.study.status().ok) == 3


def test_the_tasks_of_a_node_that_dies_are_run_again(cluster: Cluster, slow_desk: Desk) -> None:
    desk = slow_desk
    job = desk.submit()
    for task in range(3):
        desk.halted_energyplus(task)
    cluster.kill_node()
    assert desk.study.status().pending == ("case-0", "case-1", "case-2")
    cluster.start_node()
    assert {*cluster.wait(job).values()} == {"COMPLETED"}
    said = desk.said(job)
    assert Counter(text.count("1 of 3 cases to run") for text in said.values()) == {2: 3}
    assert simulated(said) == len(desk.ledger.check()) == len(desk.study.status().ok) == 3


@pytest.mark.parametrize("numbers", ["1", "5-7", "1-5:2"])
def test_an_array_may_begin_anywhere_and_take_steps(cluster: Cluster, desk: Desk, epw: Path, numbers: str) -> None:
    desk.study.add_cases(cases(3, epw))
    job = desk.submit(f"--array={numbers}")
    assert {*cluster.wait(job).values()} == {"COMPLETED"}
    assert simulated(desk.said(job)) == len(desk.ledger.check()) == 3


def test_an_array_with_gaps_is_refused_unless_the_number_of_shares_is_given(
    cluster: Cluster, desk: Desk, epw: Path
) -> None:
    desk.study.add_cases(cases(4, epw))
    job = desk.submit("--array=1,3,7")
    assert cluster.wait(job) == dict.fromkeys((1, 3, 7), "FAILED")
    assert all("has gaps: 3 tasks from 1 to 7" in text and "--array=0-2" in text for text in desk.said(job).values())
    assert desk.study.status().pending == tuple(desk.study.cases())

    desk.add_of("--of 4")
    job = desk.submit("--array=1,3")
    assert {*cluster.wait(job).values()} == {"COMPLETED"}
    assert desk.study.status().ok == ("case-01", "case-03")
