"""The commands that take in runs that exist already, and those that read the run at a URL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command import run_command as idfkit_fs
from support.fixtures_existing import Left

from idfkit_fs import Study, open_result, publish


def test_publish_tells_what_it_did(left: Left, tmp_path: Path) -> None:
    directory = left()
    (directory / "notes.txt").write_text("mine")
    done = idfkit_fs("publish", directory, tmp_path / "run")
    assert (done.returncode, done.stderr) == (0, "")
    run = open_result(tmp_path / "run")
    assert run.record is not None and run.record.file("notes.txt") is None
    assert done.stdout == f"Published {len(run.record.files)} files of a run (ok) at {run.url}\n"
    again = idfkit_fs("publish", left("office", "C", into="office"), tmp_path / "run")
    assert again.returncode == 1 and "pass --overwrite to" in again.stderr and again.stderr.count("\n") == 1
    less = ("--include", "*.err", "--include", "*.end", "--overwrite", "--json")
    replaced = idfkit_fs("publish", tmp_path / "office", tmp_path / "run", *less)
    assert json.loads(replaced.stdout) == {"url": run.url, "state": "ok", "files": 3}


def test_publish_of_a_failed_run_and_of_none(left: Left, tmp_path: Path) -> None:
    failed = idfkit_fs("publish", left(fails=True), tmp_path / "run")
    assert failed.returncode == 3 and "(failed)" in failed.stdout
    (tmp_path / "empty").mkdir()
    none = idfkit_fs("publish", tmp_path / "empty", tmp_path / "other")
    assert none.returncode == 1 and "holds no run" in none.stderr and none.stderr.count("\n") == 1
    directory = left("office", "C", into="two")
    left("tower", "C", into="two")
    several = idfkit_fs("publish", directory, tmp_path / "other")
    assert several.returncode == 1 and "'office', 'tower'" in several.stderr and "--output-prefix=" in several.stderr
    one = idfkit_fs("publish", directory, tmp_path / "other", "--output-prefix", "tower")
    assert one.returncode == 0 and open_result(tmp_path / "other").output_prefix == "tower"


def test_adopt_makes_cases_that_are_called_as_the_directories(left: Left, tmp_path: Path) -> None:
    left(into="runs/a")
    left("office", "C", into="runs/b")
    study = tmp_path / "study"
    done = idfkit_fs("adopt", study, "a", "./b/", cwd=tmp_path / "runs")
    assert (done.returncode, done.stdout) == (0, "2 cases: 2 adopted\n"), done.stderr
    left(fails=True, into="runs/c")
    (tmp_path / "runs" / "d").mkdir()
    more = idfkit_fs("adopt", study, *(tmp_path / "runs" / name for name in "abc"), "--json")
    assert more.returncode == 3
    found = json.loads(more.stdout)
    assert (found["adopted"], found["found"], found["failed"]) == (["c"], ["a", "b"], ["c"])
    part = idfkit_fs("adopt", study, tmp_path / "runs" / "a", tmp_path / "runs" / "d")
    assert part.returncode == 1 and "'d' could not be adopted" in part.stderr and "1 done before" in part.stdout
    assert Study(study).status().states() == {"a": "ok", "b": "ok", "c": "failed"}
    left(into="elsewhere/a")
    twice = idfkit_fs("adopt", study, tmp_path / "runs" / "a", tmp_path / "elsewhere" / "a")
    assert twice.returncode == 1 and "Two runs have the name 'a'" in twice.stderr


def test_ls_and_get_read_the_run_at_a_url(left: Left, tmp_path: Path) -> None:
    run = publish(left(), tmp_path / "run")
    assert run.record is not None
    listed = idfkit_fs("ls", tmp_path / "run", "--json")
    assert json.loads(listed.stdout) == {entry.name: entry.size for entry in run.record.files}
    got = idfkit_fs("get", tmp_path / "run", "--to", tmp_path / "mine", "--include", "*.sql")
    assert got.returncode == 0 and got.stdout == f"{tmp_path / 'mine' / 'run'}\n"
    mine = open_result(tmp_path / "mine" / "run")
    assert mine.record is not None and [entry.name for entry in mine.record.files] == ["eplusout.sql"]
    neither = idfkit_fs("get", tmp_path / "nothing", "--to", tmp_path)
    assert neither.returncode == 1 and "There is no study here" in neither.stderr


def test_a_run_is_not_taken_for_a_study_nor_a_study_for_a_run(left: Left, tmp_path: Path) -> None:
    run, study = left(), tmp_path / "study"
    publish(run, tmp_path / "run")
    Study(study).adopt("a", run)
    for command in ("status", "summary", "run"):
        done = idfkit_fs(command, tmp_path / "run")
        assert done.returncode == 1 and "This is a run, not a study" in done.stderr
    done = idfkit_fs("adopt", tmp_path / "run", run)
    assert done.returncode == 1 and "A run exists here" in done.stderr
    done = idfkit_fs("publish", run, study)
    assert done.returncode == 1 and "A study exists here" in done.stderr
    done = idfkit_fs("get", study)
    assert done.returncode == 2 and "Name the cases" in done.stderr


def test_what_the_disk_or_a_pattern_refuses_is_one_line(left: Left, tmp_path: Path) -> None:
    publish(left(), tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "run").write_text("a file")
    for arguments in (
        ("get", tmp_path / "run", "--to", tmp_path / "mine"),
        ("get", tmp_path / "run", "--to", tmp_path / "more", "--include", "*.nope"),
        ("publish", tmp_path / "run", "memory://copy", "--include", "*.nope"),
        ("publish", tmp_path / "left", "memory://copy", "--include", "*.nope"),
    ):
        done = idfkit_fs(*arguments)
        assert done.returncode == 1 and done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1, done.stderr


def test_each_run_that_cannot_be_adopted_is_told(left: Left, tmp_path: Path) -> None:
    left(into="runs/a")
    (tmp_path / "runs" / "empty").mkdir()
    done = idfkit_fs("adopt", tmp_path / "study", "a", "empty", "missing", cwd=tmp_path / "runs")
    empty, missing, error = done.stderr.splitlines()
    assert empty.startswith("empty: This directory holds no run") and missing.startswith("missing: Nothing exists here")
    assert "'empty' and 1 more could not be adopted" in error and done.stdout == "1 case: 1 adopted\n"


@pytest.mark.parametrize("command", ["publish", "adopt"])
def test_the_commands_explain_themselves(command: str) -> None:
    done = idfkit_fs(command, "--help")
    assert done.returncode == 0 and f"idfkit-fs {command}" in done.stdout and "--output-prefix" in done.stdout
