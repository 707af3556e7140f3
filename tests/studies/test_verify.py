"""`Study.verify`: what others did to the bucket, and what killed workers left, is found and repaired."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from idfkit.simulation import SimulationResult
from support.places import Place
from support.proxy import FaultProxy
from support.variants import cases, variant

from idfkit_fs import Case, Study, run_case
from idfkit_fs._cli.commands import commands
from idfkit_fs._util import retry
from idfkit_fs.errors import CaseNotFoundError, RecordError, UnreachableError
from idfkit_fs.runs.record import RunRecord
from idfkit_fs.runs.register import Claim
from idfkit_fs.studies.listing import read_listing
from idfkit_fs.studies.verify import verify_cases
from idfkit_fs.studies.writer import StudyWriter


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, epw: Path) -> Path:
    directory = tmp_path_factory.mktemp("verified") / "study"
    study = Study(directory)
    study.add_cases(cases(2, epw))
    study.run()
    return directory


@pytest.fixture
def directory(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "study")
    return tmp_path / "study"


def outcome_of(directory: Path, case: str) -> Path:
    return next((directory / "_study" / "ok").glob(f"{case}.*"))


def cut(directory: Path) -> None:
    file = directory / "case-00" / "eplus.err"
    file.write_bytes(file.read_bytes()[:-1])


def missing(directory: Path) -> None:
    (directory / "case-00" / "eplus.sql").unlink()


def no_run(directory: Path) -> None:
    shutil.rmtree(directory / "case-00")


def no_outcome(directory: Path) -> None:
    outcome_of(directory, "case-00").unlink()


def other_outcome(directory: Path) -> None:
    mine, other = outcome_of(directory, "case-00"), outcome_of(directory, "case-01")
    mine.write_bytes(other.read_bytes().replace(b"case-01", b"case-00"))


def no_json(directory: Path) -> None:
    (directory / "case-00" / "run.json").write_bytes(b"{")


def other_run(directory: Path) -> None:
    shutil.rmtree(directory / "case-00")
    shutil.copytree(directory / "case-01", directory / "case-00")


def claimed(directory: Path) -> None:
    shutil.rmtree(directory / "case-00")
    outcome_of(directory, "case-00").unlink()
    (directory / "case-00").mkdir()
    (directory / "case-00" / "run.json").write_bytes(Claim(id="a" * 32, files=("eplus.sql",)).to_json())
    (directory / "case-00" / "eplus.sql").write_bytes(b"a part")


def one_file_beside(directory: Path) -> None:
    """The run went into a directory of its own, because of another publisher, of which one file is left."""
    home = directory / "case-00"
    record = RunRecord.from_json((home / "run.json").read_bytes(), "run.json")
    record = record.model_copy(update={"directory": f"_run-{'a' * 12}", "contested": True})
    (home / record.directory).mkdir()
    for entry in record.files:
        (home / entry.name).rename(home / record.path(entry.name))
    (home / "run.json").write_bytes(record.to_json())
    (home / "eplus.mdd").write_bytes(b"")


def removed(directory: Path) -> None:
    (directory / "_study" / "jobs" / "case-00.json").unlink()


def half_removed(directory: Path) -> None:
    removed(directory)
    outcome_of(directory, "case-00").write_bytes(b"")


@pytest.mark.parametrize(
    ("harm", "problem", "pending"),
    [
        (cut, "eplus.err: it has .* bytes instead of", True),
        (missing, "eplus.sql: it is missing", True),
        (no_run, "counts as ok, but its run is missing", True),
        (no_outcome, "complete, but it counts as pending", False),
        (other_outcome, "its outcome is not that of its run", False),
        (no_json, "its record cannot be used", True),
        (other_run, "counts as ok, but its run is of another job", True),
        (claimed, "1 files of a run that was not published to the end", True),
        (one_file_beside, "1 files of a run that was not published to the end", False),
        (removed, "has an outcome, but no job", False),
        (half_removed, "has a run, or a part of one, but no job", False),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_wrong_is_found_and_repaired(
    directory: Path, harm: Callable[[Path], None], problem: str, pending: bool
) -> None:
    study = Study(directory)
    assert study.verify().ok and study.verify(deep=True).findings == ()
    harm(directory)
    found = study.verify()
    assert not found.ok and {each.case for each in found.findings} == {"case-00"}
    assert any(re.search(problem, each.problem) for each in found.findings), found
    assert study.verify().findings == found.findings  # nothing was changed
    repaired = study.verify(repair=True)
    assert repaired.ok and len(repaired.findings) >= len(found.findings)
    again = study.verify(deep=True)
    assert again.findings == (), again
    assert ("case-00" in study.status().pending) is pending
    if pending:
        assert study.run().simulated == ("case-00",)
        assert study.verify(deep=True).findings == () and study.status().ok == ("case-00", "case-01")


def test_changed_bytes_are_found_by_reading_them(directory: Path) -> None:
    file = directory / "case-01" / "eplus.err"
    file.write_bytes(b"x" + file.read_bytes()[1:])
    study = Study(directory)
    assert study.verify().ok
    found = study.verify(["case-01"], deep=True)
    assert [each.case for each in found.findings] == ["case-01"] and "eplus.err" in str(found)
    with pytest.raises(CaseNotFoundError):
        study.verify(["case-99"])


def test_a_damaged_case_is_run_again_by_name(directory: Path) -> None:
    cut(directory)
    study = Study(directory)
    report = study.run(["case-00", "case-01"])
    assert (report.simulated, report.found) == (("case-00",), ("case-01",))
    assert study.verify(deep=True).findings == ()
    missing(directory)
    assert run_case(directory, "case-00").how == "simulated"
    assert study.verify(deep=True).findings == ()


def test_a_damaged_run_that_was_adopted_is_not_thrown_away(tmp_path: Path, local_run: SimulationResult) -> None:
    study = Study(tmp_path / "study")
    study.adopt("case-00", local_run.run_dir)
    missing(tmp_path / "study")
    found = study.verify(repair=True)
    assert not found.ok and "adopt it again" in str(found)
    assert (tmp_path / "study" / "case-00" / "run.json").exists()
    with pytest.raises(FileNotFoundError):
        _ = study.result("case-00").sql
    study.adopt("case-00", local_run.run_dir, overwrite=True)
    assert study.verify(deep=True).findings == ()


@pytest.mark.parametrize(
    "refused", [r"^GET .*case-00/run\.json", r"^PUT .*_study/ok/", r"^DELETE .*replacing", r"^DELETE .*_study/ok/"]
)
def test_a_replacement_that_the_store_broke_off_is_finished_by_the_next_attempt(
    refused: str, shaky_place: Place, proxy: FaultProxy, epw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
    study = Study(shaky_place.url, storage_options=shaky_place.options)
    study.add_cases(cases(1, epw))
    study.run()
    new = Case("case-00", variant(0.2), epw, {"insulation_m": 0.2})
    proxy.answer_status(503, None, on=refused)
    with pytest.raises(UnreachableError):
        study.add_cases([new], overwrite=True)
    assert not study.status().ok  # the old run is not mistaken for that of the new job
    proxy.heal()
    study.add_cases([new], overwrite=True)
    assert study.verify(deep=True).findings == () and study.status().pending == ("case-00",)
    assert not study.fs.glob("case-00", "**")
    study.run()
    study.add_cases([new], overwrite=True)  # keeps the run
    assert study.status().ok == ("case-00",) and study.verify(deep=True).findings == ()
    assert len(study.fs.glob("_study", "ok/*")) == 1


def test_a_client_that_dies_while_it_replaces_a_job_hides_nothing(
    directory: Path, epw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_args: object) -> None:
        raise Killed

    study = Study(directory)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(StudyWriter, "_retire", killed)
        study.add("case-00", variant(0.9), epw, overwrite=True)
    assert study.status().pending == ("case-00",)  # the outcome exists, but is of the old job
    assert [each.case for each in study.verify().findings] == ["case-00"]
    assert study.run().simulated == ("case-00",)
    assert study.status().ok == ("case-00", "case-01")
    assert study.verify(repair=True).ok and study.verify(deep=True).findings == ()
    assert not [path for path in study.fs.glob("_study", "**") if path.endswith(".replacing")]


def test_parameters_that_a_client_was_replacing_when_it_died_are_written_by_the_next_run(
    directory: Path, epw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    study = Study(directory)
    job = study.summary_rows()[1][0]
    case = cases(1, epw)[0]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StudyWriter, "_retire", killed)
        study.add_cases([dataclasses.replace(case, parameters={"colour": "red"})], overwrite=True)
    assert study.status().pending == ("case-00",)
    assert study.run().found == ("case-00",)
    rows = {row["case"]: row for row in study.summary_rows()[1]}
    assert rows["case-00"]["colour"] == "red" and rows["case-00"]["site_energy_kwh"] == job["site_energy_kwh"]


def test_what_the_study_did_not_make_is_left_alone(directory: Path) -> None:
    """A copy of a case, a publication that is under way, and a case that was added since the study was listed."""
    study = Study(directory)
    shutil.copytree(directory / "case-00", directory / "backup")
    (directory / "mine").mkdir()
    (directory / "mine" / "run.json").write_bytes(Claim(id="a" * 32, files=("eplus.sql",)).to_json())
    found = study.verify(repair=True)
    assert [each.case for each in found.findings] == ["backup"] and not found.ok and "adopt it" in str(found)
    assert (directory / "backup" / "run.json").exists() and (directory / "mine" / "run.json").exists()
    listing = read_listing(study.fs)
    late = dataclasses.replace(listing, cases=("case-00",), ended={"ok": {}, "failed": {}})
    verify_cases(study.fs, late, None, deep=False, repair=True, progress=False)
    assert (directory / "case-01" / "run.json").exists()


def test_a_record_of_a_newer_format_is_kept(directory: Path) -> None:
    path = directory / "case-00" / "run.json"
    newer = path.read_bytes().replace(b'"version": 1', b'"version": 2', 1)
    path.write_bytes(newer)
    study = Study(directory)
    assert "verify the study with the newer idfkit-fs" in str(study.verify(repair=True))
    for refused in (lambda: run_case(directory, "case-00"), lambda: study.remove("case-00")):
        with pytest.raises(RecordError, match="pip install --upgrade"):
            refused()
    assert path.read_bytes() == newer


def test_the_command(directory: Path) -> None:
    def verify(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(commands, ["verify", str(directory), *options])
        return done.exit_code, done.output

    assert verify() == (0, "2 cases checked: nothing is wrong\n")
    cut(directory)
    code, text = verify()
    assert code == 1 and "case-00: its run is damaged: eplus.err" in text and "repair it" in text
    code, text = verify("--repair", "--deep", "--json")
    assert code == 0 and '"repaired": true' in text
    assert verify("case-00") == (0, "1 case checked: nothing is wrong\n")
