"""Which cases are ok, which have failed, and which stay pending because this machine has cut their outputs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from idfkit import write_idf
from idfkit.exceptions import SimulationError
from idfkit.simulation import EnergyPlusConfig
from support import disks
from support.endings import long_run, wrapped
from support.readers import Crowd
from support.signals import inherited_signals
from support.variants import broken, endless, variant

from idfkit_fs import FsspecFileSystem, Study, open_result, simulate
from idfkit_fs.errors import IncompleteRunError

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="EnergyPlus is wrapped in a shell script"),
    pytest.mark.usefixtures("real_energyplus"),
]
# A file of several megabytes is a pipe that is not read to the end: EnergyPlus runs, and cannot end before the kill.
_MIDWAY = """
mkfifo eplus.eso
"$EPLUS" "$@" & pid=$!
exec 3<eplus.eso
head -c 1000 <&3 >/dev/null
kill -{signal} $pid
wait $pid
code=$?
rm eplus.eso
exit {code}
"""


@pytest.fixture
def shared(tmp_path: Path) -> Study:
    return Study(tmp_path / "study")


@pytest.fixture
def use(
    installed_energyplus: EnergyPlusConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], EnergyPlusConfig]:
    """Have workers find a script in place of EnergyPlus."""

    def wrap(script: str) -> EnergyPlusConfig:
        installation = wrapped(installed_energyplus, tmp_path / "installation", script)
        monkeypatch.setenv("ENERGYPLUS_DIR", str(installation.install_dir))
        return installation

    return wrap


def reasons(study: Study) -> list[str]:
    """Why cases could not be run."""
    with inherited_signals(), pytest.raises(IncompleteRunError) as caught:
        study.run()
    assert all(isinstance(reason, SimulationError) for reason in caught.value.errors.values())
    return [str(reason) for reason in caught.value.errors.values()]


# A full disk.


@pytest.fixture
def disk(tmp_path: Path) -> str:
    """Where a disk can be mounted; a machine without that right fails in CI, and skips elsewhere."""
    with Crowd(1) as alone:
        (why,) = alone.do(disks.can_mount, str(tmp_path / "trial"))
    if why:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    return str(tmp_path / "disk")


def on(disk: str, function: Callable[..., Any], **arguments: Any) -> Any:
    """What a function returns in a process of its own, whose temporary directory is the disk."""
    with Crowd(1) as alone:
        return alone.do(disks.with_mounts, disk, function, {"disk": disk, **arguments})[0]


def test_a_case_stays_pending_while_the_disk_is_full(shared: Study, disk: str, epw: Path) -> None:
    shared.add("case", long_run(), epw)
    said, states, left, ok = on(disk, disks.studied, url=shared.url)
    assert len(said) == 1 and f"The disk of {disk}" in said[0] and "set TMPDIR" in said[0] and "pending" in said[0]
    assert (states, left, ok) == ({"case": "pending"}, [], ("case",))
    assert shared.summary().loc["case", "state"] == "ok" and shared.result("case").success


def test_a_case_stays_pending_if_the_disk_was_full_for_a_moment(shared: Study, disk: str, epw: Path) -> None:
    """EnergyPlus ends with exit code 0 and says that it completed, but its database is cut."""
    shared.add("case", long_run(), epw)
    said, states, left, ok = on(disk, disks.studied_with_room_again, url=shared.url)
    assert len(said) == 1 and "eplus.sql is cut, because the disk was full" in said[0]
    assert (states, left, ok) == ({"case": "pending"}, [], ("case",))


def test_a_run_that_the_disk_cannot_hold_is_kept_and_named(tmp_path: Path, disk: str, epw: Path) -> None:
    (tmp_path / "model.idf").write_text(write_idf(long_run()))
    url = str(tmp_path / "published")
    said, files, directory = on(disk, disks.simulated, model=str(tmp_path / "model.idf"), weather=str(epw), url=url)
    assert "No space left" in said and directory in said
    assert "eplus.err" in files
    assert not FsspecFileSystem.from_url(url).exists("run.json")


# EnergyPlus is killed, or crashes.


@pytest.mark.parametrize(("signal", "name"), [("KILL", "SIGKILL"), ("TERM", "SIGTERM")])
def test_a_case_whose_energyplus_is_killed_stays_pending(
    shared: Study, use: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, epw: Path, signal: str, name: str
) -> None:
    shared.add("case", long_run(), epw)
    use(_MIDWAY.format(signal=signal, code="$code"))
    assert [f"was killed by {name}" in said and "run it again" in said for said in reasons(shared)] == [True]
    assert shared.status().pending == ("case",) and not list(Path(shared.url.removeprefix("file://")).glob("case"))
    monkeypatch.delenv("ENERGYPLUS_DIR")  # the package's own search finds the extra's
    assert shared.run().ok == ("case",)


def test_exit_code_0_without_completion_is_no_success(shared: Study, use: Callable[[str], Any], epw: Path) -> None:
    shared.add("case", long_run(), epw)
    use(_MIDWAY.format(signal="KILL", code="0"))
    (said,) = reasons(shared)
    assert "pending" in said and ("did not finish eplus.err" in said or "wrote no .end" in said)


def test_a_case_whose_energyplus_crashes_has_failed(shared: Study, use: Callable[[str], Any], epw: Path) -> None:
    shared.add("case", long_run(), epw)
    use(_MIDWAY.format(signal="SEGV", code="$code"))
    assert shared.run().failed == ("case",)
    assert shared.summary().loc["case", "message"] == "EnergyPlus was killed by SIGSEGV (exit code 139)"


def test_a_cut_run_outside_a_study_is_published_as_no_success(
    tmp_path: Path, use: Callable[[str], EnergyPlusConfig], epw: Path
) -> None:
    installation = use(_MIDWAY.format(signal="KILL", code="$code"))
    result = simulate(long_run(), epw, output_dir=tmp_path / "run", energyplus=installation)
    again = open_result(tmp_path / "run")
    assert not result.success and not again.success
    assert again.message == result.message == "EnergyPlus was killed by SIGKILL (exit code 137); run it again"
    assert "SIGKILL" in repr(again) and "SIGKILL" in again._repr_html_()


# EnergyPlus's own words.


def test_failed_cases_have_the_message_and_counts_of_energyplus(shared: Study, epw: Path) -> None:
    shared.add("bad", broken(), epw)
    shared.add("converted", variant(), epw, extra_args=["--convert-only"])
    shared.add("good", variant(), epw)
    shared.add("slow", endless(), epw, annual=True, timeout=0.05)
    report = shared.run()
    assert (report.ok, report.failed) == (("good",), ("bad", "converted", "slow"))
    summary = shared.summary()
    assert summary.loc["bad", "message"].startswith("GetSurfaceData: Errors discovered, program terminates")
    assert "NO SUCH CONSTRUCTION" in summary.loc["bad", "message"]
    assert "simulated nothing" in summary.loc["converted", "message"]
    assert "timed out after 0.05 seconds" in summary.loc["slow", "message"]
    assert summary.loc["good", "message"].startswith("eui_kwh_m2 is missing")
    assert dict(summary["severe_errors"].dropna()) == {"bad": 1, "converted": 0, "good": 0}
    for case in ("bad", "converted", "slow"):
        assert shared.result(case).message == summary.loc[case, "message"]

    # The outcomes can be made again from the published runs, and say the same.
    fs = FsspecFileSystem.from_url(shared.url)
    for path in fs.glob("_study/failed", "*") + fs.glob("_study/ok", "*"):
        fs.remove(path)
    assert {run.how for run in shared.run().runs} == {"found"}
    again = shared.summary()
    for column in ("state", "message", "warnings", "severe_errors"):
        assert summary[column].equals(again[column]), column
