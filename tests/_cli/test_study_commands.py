"""The commands of a study, as a shell and a scheduler see them."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import botocore.session
import botocore.validate
import pandas as pd
import psutil
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from small_office import weather
from support.command import run_command as idfkit_fs
from support.places import Place
from support.proxy import FaultProxy
from support.signals import inherited_signals
from support.terminal import at_terminal
from support.variants import broken, cases, endless

from idfkit_fs import Study
from idfkit_fs._cli.shared import parse_options
from idfkit_fs._cli.table import as_text
from idfkit_fs.studies.prepare import Case
from idfkit_fs.studies.rows import as_csv
from idfkit_fs.studies.share import Share, find_share

T = TypeVar("T")
ARRAY_JOBS = Path(__file__).parents[2] / "examples" / "array_jobs"
EXAMPLE_URL = "s3://my-bucket/study-001"
STATES = {"bad": "failed", "case-00": "ok", "case-01": "ok"}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("prepared") / "study"
    Study(directory).add_cases([*cases(2, weather()), Case("bad", broken(), weather())])
    return directory


@pytest.fixture(scope="module")
def ran(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose cases have been run; not to be changed."""
    directory = tmp_path_factory.mktemp("ran") / "study"
    shutil.copytree(pristine, directory)
    Study(directory).run()
    return directory


@pytest.fixture
def prepared(pristine: Path, tmp_path: Path) -> Path:
    """A study of two good cases and a bad one, all pending."""
    return Path(shutil.copytree(pristine, tmp_path / "study"))


@pytest.fixture
def changeable(ran: Path, tmp_path: Path) -> Path:
    """The same, run."""
    return Path(shutil.copytree(ran, tmp_path / "study"))


# What is decided before anything is asked.


@given(st.lists(st.text(min_size=1), unique=True), st.integers(1, 12), st.randoms(use_true_random=False))
def test_every_case_is_in_one_share_whatever_the_order(names: list[str], count: int, random: Any) -> None:
    shares = [Share(index, count).of(names) for index in range(count)]
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    random.shuffle(names)
    assert [Share(index, count).of(names) for index in range(count)] == shares


BATCH = {"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "2"}


def in_slurm(task: int, tasks: int, first: int, last: int, step: int = 1) -> dict[str, str]:
    """What SLURM sets for a task of an array."""
    numbers = {"ID": task, "COUNT": tasks, "MIN": first, "MAX": last, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(number) for name, number in numbers.items()}


@pytest.mark.parametrize(
    ("environ", "index", "count", "share"),
    [
        ({}, None, None, None),
        ({}, 0, 1, Share(0, 1)),
        (in_slurm(7, 3, 1, 7), 2, 9, Share(2, 9)),
        (BATCH, None, None, Share(0, 2)),
        (BATCH, None, 2, Share(0, 2)),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "1"}, None, 2, Share(1, 2)),
        (in_slurm(1, 1, 1, 1), None, None, Share(0, 1)),
        (in_slurm(7, 4, 1, 7, 2), None, None, Share(3, 4)),
        (in_slurm(7, 4, 5, 8), None, None, Share(2, 4)),
        (in_slurm(7, 3, 1, 7), None, 10, Share(7, 10)),
        (in_slurm(2, 3, 0, 2), None, 3, Share(2, 3)),
        ({"JOB_COMPLETION_INDEX": "4"}, None, 5, Share(4, 5)),
    ],
)
def test_a_share_comes_from_the_command_line_or_the_scheduler(
    environ: dict[str, str], index: int | None, count: int | None, share: Share | None
) -> None:
    assert find_share(environ, index, count) == share


@pytest.mark.parametrize(
    ("environ", "index", "count", "words"),
    [
        ({}, 1, None, ["--index needs --of"]),
        ({}, None, 3, ["--of needs --index", "JOB_COMPLETION_INDEX"]),
        ({}, 3, 3, ["--index", "3 of 3"]),
        ({"JOB_COMPLETION_INDEX": "0"}, None, None, ["JOB_COMPLETION_INDEX", "--of"]),
        ({"JOB_COMPLETION_INDEX": "5"}, None, 5, ["JOB_COMPLETION_INDEX", "5 of 5"]),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "1"}, None, None, ["AWS_BATCH_JOB_ARRAY_SIZE", "--of"]),
        ({**BATCH, "AWS_BATCH_JOB_ARRAY_INDEX": "-1"}, None, None, ["INDEX='-1'"]),
        ({**BATCH, "AWS_BATCH_JOB_ARRAY_SIZE": "two"}, None, None, ["SIZE='two'"]),
        ({**BATCH, "AWS_BATCH_JOB_ARRAY_SIZE": "0"}, None, None, ["0 of 0"]),
        (BATCH, None, 3, ["--of is 3", "AWS_BATCH_JOB_ARRAY_SIZE is 2", "leave out --of"]),
        ({"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MAX": "2"}, None, None, ["SLURM_ARRAY_TASK_MIN", "--index"]),
        ({"SLURM_ARRAY_TASK_ID": ""}, None, None, ["SLURM_ARRAY_TASK_ID=''"]),
        (in_slurm(1, 3, 1, 7), None, None, ["has gaps", "SLURM_ARRAY_TASK_ID=1", "--array=0-2", "--of"]),
        (in_slurm(2, 2, 2, 3, 0), None, None, ["steps of 0"]),
        (in_slurm(1, 10, 1, 10), None, 10, ["last task of this array is 10", "--of is 10", "from 0 to 9"]),
    ],
)
def test_what_makes_no_share_is_refused(
    environ: dict[str, str], index: int | None, count: int | None, words: list[str]
) -> None:
    with pytest.raises(ValueError) as told:
        find_share(environ, index, count)
    assert all(word in str(told.value) for word in words)


@given(st.sets(st.integers(0, 40), min_size=1, max_size=12), st.integers(1, 4), st.none() | st.integers(1, 45))
def test_no_array_of_slurm_leaves_a_share_out_unsaid(numbers: set[int], step: int, count: int | None) -> None:
    shares, refused = set(), 0
    for number in numbers:
        try:
            shares.add(find_share(in_slurm(number, len(numbers), min(numbers), max(numbers), step), count=count))
        except ValueError:
            refused += 1
    if count is None:
        assert refused or shares == {Share(index, len(numbers)) for index in range(len(numbers))}
    else:
        assert shares == (set() if max(numbers) >= count else {Share(number, count) for number in numbers})


def test_storage_options_are_json_or_text_and_nest() -> None:
    given = ["anon=true", "key=a=b", 'id="1"', "kw.region=x", "kw.retries=3", 's3={"key":"k"}', "s3.secret="]
    assert parse_options(given) == {
        "anon": True,
        "key": "a=b",
        "id": "1",
        "kw": {"region": "x", "retries": 3},
        "s3": {"key": "k", "secret": ""},
    }


@pytest.mark.parametrize("given", [["hunter2"], ["=hunter2"], ["a..b=hunter2"], ["a=hunter2", "a.b=1"], ["a=1", "a=2"]])
def test_a_storage_option_that_is_none_is_refused_without_its_value(given: list[str]) -> None:
    with pytest.raises(ValueError) as told:
        parse_options(given)
    assert "hunter2" not in str(told.value)


def test_tables_are_aligned_and_round_trip() -> None:
    columns = ["case", "area", "layers"]
    rows = [{"case": "a", "area": 12345.678, "layers": ["brick", "air"]}, {"case": "long", "area": 0.05000001}]
    assert as_text(columns, rows).splitlines() == [
        "case   area  layers",
        'a     12346  ["brick", "air"]',
        "long   0.05",
    ]
    first, second = csv.DictReader(as_csv(columns, rows).splitlines())
    assert float(first["area"]) == 12345.678 and json.loads(first["layers"]) == ["brick", "air"]
    assert second["layers"] == ""
    assert as_text(columns, []) == "case  area  layers"


# The commands.


def test_status_tells_by_its_exit_code_what_is_left(changeable: Path) -> None:
    done = idfkit_fs("status", changeable)
    assert (done.returncode, done.stdout) == (3, "3 cases: 2 ok, 1 failed, 0 pending\n")
    told = json.loads(idfkit_fs("status", changeable, "--json").stdout)
    assert told == {"total": 3, "ok": 2, "failed": 1, "pending": 0, "cases": STATES}
    Study(changeable).remove("bad")
    assert idfkit_fs("status", changeable).returncode == 0
    Study(changeable).add("new", broken(), weather())
    assert idfkit_fs("status", changeable).returncode == 4


def test_a_study_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = idfkit_fs("status", tmp_path / "none")
    assert done.returncode == 1
    assert "There is no study here" in done.stderr and done.stderr.count("\n") == 1


def test_run_runs_what_it_is_told(prepared: Path) -> None:
    first = idfkit_fs("run", prepared, "--case", "case-00", "--json", env={"SLURM_ARRAY_TASK_ID": "nonsense"})
    assert first.returncode == 0
    told = {"simulated": ["case-00"], "reused": [], "adopted": [], "found": [], "failed": [], "errors": {}}
    assert json.loads(first.stdout) == told
    rest = idfkit_fs("run", prepared, "--max-workers", 2)
    assert (rest.returncode, rest.stdout) == (3, "2 cases: 2 simulated; 1 of them failed\n")
    again = idfkit_fs("run", prepared)
    assert (again.returncode, again.stdout) == (0, "nothing to run\n")
    Study(prepared).add("case-01", broken(), weather(), overwrite=True, annual=True)
    assert json.loads(idfkit_fs("run", prepared, "--failed", "--json").stdout)["failed"] == ["bad"]
    both = json.loads(idfkit_fs("run", prepared, "--failed", "--pending", "--json").stdout)
    assert both["failed"] == ["bad", "case-01"]


def test_run_copies_from_another_study(prepared: Path, ran: Path) -> None:
    done = idfkit_fs("run", prepared, "--reuse", ran, "--case", "case-00", "--case", "case-01", "--json")
    assert json.loads(done.stdout)["reused"] == ["case-00", "case-01"]


def test_run_copies_nothing_if_told_so(prepared: Path, ran: Path) -> None:
    done = idfkit_fs("run", prepared, "--no-reuse", "--reuse", ran)
    assert done.returncode == 2 and "--reuse cannot be combined with --no-reuse" in done.stderr
    Study(prepared).add_cases(replace(case, name="twin") for case in cases(1, weather()))
    done = idfkit_fs("run", prepared, "--no-reuse", "--case", "case-00", "--case", "twin", "--json")
    assert json.loads(done.stdout)["simulated"] == ["case-00", "twin"]


def test_what_could_not_be_run_is_told_after_the_rest(prepared: Path) -> None:
    job = json.loads((prepared / "_study" / "jobs" / "case-00.json").read_text())
    (prepared / "_study" / "inputs" / job["model"]["name"]).unlink()
    done = idfkit_fs("run", prepared, "--case", "case-00", "--case", "case-01", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["simulated"] == ["case-01"]
    assert "No such file" in told["errors"]["case-00"]
    assert "case-00" in done.stderr and done.stderr.count("\n") == 1
    assert idfkit_fs("run", prepared, "--case", "case-00").stdout == ""


def test_a_run_that_could_not_be_published_is_kept(prepared: Path, tmp_path: Path) -> None:
    (prepared / "case-00").write_text("in the way")
    (tmp_path / "tmp").mkdir()
    done = idfkit_fs("run", prepared, "--case", "case-00", env={"TMPDIR": str(tmp_path / "tmp")})
    assert done.returncode == 1
    (kept,) = (tmp_path / "tmp").glob("*/*")
    assert str(kept) in done.stderr and (kept / "eplus.sql").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--case", "bad", "--failed"], "--case"),
        (["--case", "bad", "--index", "0", "--of", "2"], "--case"),
        (["--of", "2"], "--of needs --index"),
        (["--index", "-1", "--of", "2"], "--index"),
        (["-o", "hunter2"], "KEY=VALUE"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(prepared: Path, arguments: list[str], words: str) -> None:
    done = idfkit_fs("run", prepared, *arguments)
    assert done.returncode == 2
    assert words in done.stderr and "hunter2" not in done.stderr


@pytest.mark.parametrize("option", ["secrte=hunter2", 'client_kwargs="hunter2"'])
def test_storage_options_that_do_not_fit_are_told_without_their_values(option: str) -> None:
    done = idfkit_fs("status", "s3://bucket/study", "-o", option)
    assert done.returncode == 1
    assert option.partition("=")[0] in done.stderr and done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr + done.stdout


def test_summary_in_every_form(ran: Path, tmp_path: Path) -> None:
    lines = idfkit_fs("summary", ran).stdout.splitlines()
    assert lines[0].split()[:2] == ["case", "state"] and len(lines) == 4
    assert "invalid Construction Name" in lines[1]
    rows = json.loads(idfkit_fs("summary", ran, "--json").stdout)
    assert [row["case"] for row in rows] == [*STATES]
    printed = idfkit_fs("summary", ran, "--csv").stdout
    assert [row["state"] for row in csv.DictReader(printed.splitlines())] == [*STATES.values()]
    for suffix in (".csv", ".json", ".parquet"):
        assert idfkit_fs("summary", ran, "--output", tmp_path / f"summary{suffix}").returncode == 0
    assert (tmp_path / "summary.csv").read_text() == printed
    assert json.loads((tmp_path / "summary.json").read_text()) == rows
    table = pd.read_parquet(tmp_path / "summary.parquet")
    assert table.index.tolist() == [*STATES]
    assert table.loc["case-00", "site_energy_kwh"] == rows[1]["site_energy_kwh"]


def test_summary_says_what_it_lacks(ran: Path, tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("raise ImportError('no pandas')")
    done = idfkit_fs("summary", ran, "--output", tmp_path / "s.parquet", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "idfkit-fs[pandas]" in done.stderr and done.stderr.count("\n") == 1
    assert idfkit_fs("summary", ran, "--output", tmp_path / "s.xlsx").returncode == 2
    assert idfkit_fs("summary", ran, "--output", tmp_path / "s.csv", "--csv").returncode == 2
    nowhere = idfkit_fs("summary", ran, "--output", tmp_path / "none" / "s.csv")
    assert nowhere.returncode == 1 and "Traceback" not in nowhere.stderr


def test_ls_lists_cases_and_files(ran: Path) -> None:
    assert idfkit_fs("ls", ran).stdout.splitlines() == ["failed   bad", "ok       case-00", "ok       case-01"]
    assert json.loads(idfkit_fs("ls", ran, "--json").stdout) == STATES
    sizes = json.loads(idfkit_fs("ls", ran, "case-00", "--json").stdout)
    assert sizes["eplus.err"] == (ran / "case-00" / "eplus.err").stat().st_size
    assert "  eplus.sql" in idfkit_fs("ls", ran, "case-00").stdout
    assert "did you mean 'case-0" in idfkit_fs("ls", ran, "case-0").stderr


def test_a_worker_that_cannot_write_sidecars_says_so_once(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['adbc_driver_sqlite'] = None")
    done = idfkit_fs("run", prepared, env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (3, "3 cases: 3 simulated; 1 of them failed\n")
    assert done.stderr.count("without sidecars") == 1
    assert "pip install 'idfkit-fs[pandas]'" in done.stderr and "Traceback" not in done.stderr
    assert not list(prepared.rglob("*.parquet")) and list(prepared.rglob("eplus.sql"))
    assert Study(prepared).status().states() == STATES


def test_get_copies_what_is_asked_for(ran: Path, tmp_path: Path) -> None:
    done = idfkit_fs("get", ran, "case-00", "--include", "*.err", "--include", "*.end", "--to", tmp_path / "one")
    assert done.stdout == f"{tmp_path / 'one' / 'case-00'}\n"
    assert {path.name for path in (tmp_path / "one" / "case-00").iterdir()} >= {"eplus.err", "eplus.end", "run.json"}
    assert not (tmp_path / "one" / "case-00" / "eplus.sql").exists()
    assert idfkit_fs("get", ran, "--all", "--include", "*.err", "--to", tmp_path / "all").returncode == 0
    assert {path.name for path in (tmp_path / "all").iterdir()} == {*STATES}
    assert idfkit_fs("get", ran).returncode == idfkit_fs("get", ran, "bad", "--all").returncode == 2


def test_rm_asks_first(changeable: Path) -> None:
    assert idfkit_fs("rm", changeable, "bad").returncode == 1
    assert Study(changeable).cases() == [*STATES]
    done = idfkit_fs("rm", changeable, "bad", "case-00", "--yes")
    assert (done.returncode, done.stdout) == (0, "Removed bad, case-00.\n")
    assert Study(changeable).cases() == ["case-01"]


def test_storage_options_reach_the_store(s3_place: Place, epw: Path) -> None:
    study = Study(s3_place.url, storage_options=s3_place.options)
    study.add_cases(cases(1, epw))
    options = [part for name, value in s3_place.options.items() for part in ("-o", f"{name}={json.dumps(value)}")]
    done = idfkit_fs("run", s3_place.url, *options)
    assert (done.returncode, done.stdout) == (0, "1 case: 1 simulated\n")
    assert study.status().ok == ("case-00",)


def test_a_terminal_shows_a_bar(ran: Path) -> None:
    code, shown = at_terminal("summary", ran, columns=100)
    assert code == 0 and "Collecting study" in shown
    assert idfkit_fs("summary", ran).stderr == ""
    assert "Collecting study" in idfkit_fs("summary", ran, "--progress").stderr


@pytest.mark.parametrize("command", ["status", "run", "summary", "ls", "get", "rm"])
def test_help_shows_examples_on_lines_of_their_own(command: str) -> None:
    assert f"\n    idfkit-fs {command} s3://my-bucket/study-001" in idfkit_fs(command, "--help").stdout


# Schedulers: the files in examples/array_jobs, with the environment that each sets.


def _aws_batch(_url: str, _directory: Path) -> tuple[list[str], int, Callable[[int], dict[str, str]]]:
    job = json.loads((ARRAY_JOBS / "aws_batch.json").read_text())
    definition = json.loads((ARRAY_JOBS / "aws_batch_definition.json").read_text())
    assert job["jobDefinition"] == definition["jobDefinitionName"]
    service = botocore.session.get_session().get_service_model("batch")
    for operation, parameters in (("SubmitJob", job), ("RegisterJobDefinition", definition)):
        wanted = service.operation_model(operation).input_shape
        assert botocore.validate.ParamValidator().validate(parameters, wanted).generate_report() == ""
        assert {*parameters} <= {*wanted.members}  # the validator passes over what it does not know
    assert {"onExitCode": "3", "action": "EXIT"} in job["retryStrategy"]["evaluateOnExit"]
    size = job["arrayProperties"]["size"]
    return (
        job["containerOverrides"]["command"],
        size,
        lambda index: {"AWS_BATCH_JOB_ARRAY_INDEX": str(index), "AWS_BATCH_JOB_ARRAY_SIZE": str(size)},
    )


def _kubernetes(_url: str, _directory: Path) -> tuple[list[str], int, Callable[[int], dict[str, str]]]:
    job = yaml.safe_load((ARRAY_JOBS / "kubernetes.yaml").read_text())["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert job["completionMode"] == "Indexed" and pod["restartPolicy"] == "Never"
    ends = [rule for rule in job["podFailurePolicy"]["rules"] if rule["action"] == "FailIndex"]
    assert ends[0]["onExitCodes"] == {"containerName": container["name"], "operator": "In", "values": [2, 3]}
    return container["command"], job["completions"], lambda index: {"JOB_COMPLETION_INDEX": str(index)}


def _slurm(url: str, directory: Path) -> tuple[list[str], int, Callable[[int], dict[str, str]]]:
    text = (ARRAY_JOBS / "slurm.sh").read_text()
    script = directory / "slurm.sh"
    script.write_text(text.replace(EXAMPLE_URL, url))
    _script(directory / "srun", 'shift\nexec "$@"')
    array = re.search(r"^#SBATCH --array=(\d+)-(\d+)$", text, re.MULTILINE)
    assert array is not None
    first, last = array.groups()
    count = int(last) - int(first) + 1
    return (
        ["bash", str(script)],
        count,
        lambda index: {
            "SLURM_ARRAY_TASK_ID": str(int(first) + index),
            "SLURM_ARRAY_TASK_COUNT": str(count),
            "SLURM_ARRAY_TASK_MIN": first,
            "SLURM_ARRAY_TASK_MAX": last,
            "SLURM_ARRAY_TASK_STEP": "1",
            "SLURM_CPUS_PER_TASK": "2",
        },
    )


def _script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("scheduler", [_aws_batch, _kubernetes, _slurm])
def test_array_jobs_run_each_case_once(scheduler: Callable[..., Any], tmp_path: Path, epw: Path) -> None:
    url, path = tmp_path / "study", tmp_path / "bin"
    path.mkdir()
    study = Study(url)
    study.add_cases(cases(4, epw))
    command, count, environment = scheduler(str(url), path)
    _script(path / "idfkit-fs", f'exec "{sys.executable}" -m idfkit_fs "$@"')
    assert count == 3
    said = []
    for index in reversed(range(count)):
        env = {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}", **environment(index)}
        arguments = [str(url) if argument == EXAMPLE_URL else argument for argument in command]
        done = subprocess.run(arguments, env=env, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        assert f"Share {index} of 3" in done.stderr
        said.append(done.stdout)
    assert said == ["1 case: 1 simulated\n", "1 case: 1 simulated\n", "2 cases: 2 simulated\n"]
    assert len(study.status().ok) == 4


# Signals.


def _wait_for(process: subprocess.Popen[str], condition: Callable[[], T]) -> T:
    while not (found := condition()):
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"ended too early: {process.communicate()}")
    return found


def _soon(stopped: Callable[[Path], float], directory: Path) -> bool:
    """Whether what a function does, in a new directory each time, ends soon: of a few times, a busy machine allows one.

    Schedulers kill after 30 seconds.
    """
    for number in range(3):
        place = directory / str(number)
        place.mkdir()
        if stopped(place) < 20:
            return True
    return False


def _energyplus(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        found = psutil.Process(process.pid).children(recursive=True)
        return [child for child in found if "energyplus" in child.name().lower()]
    except psutil.NoSuchProcess:
        return []


@pytest.fixture(scope="module")
def long_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("long") / "study"
    Study(directory).add("long", endless(), weather(), annual=True)
    return directory


@pytest.mark.parametrize(
    ("signals", "ignored", "to_all", "code"),
    [
        ([signal.SIGTERM], None, False, 143),
        ([signal.SIGHUP, signal.SIGTERM], signal.SIGHUP, False, 143),  # as nohup has it
        ([signal.SIGTERM, signal.SIGTERM, signal.SIGTERM], None, False, 143),
        ([signal.SIGTERM], None, True, 143),  # as Slurm does
        ([signal.SIGHUP], None, False, 129),  # as a terminal that is lost
        ([signal.SIGINT], None, True, 130),  # as a terminal does
    ],
    ids=["one", "nohup", "impatient", "slurm", "lost", "ctrl-c"],
)
def test_a_signal_leaves_nothing_behind(
    long_study: Path,
    tmp_path: Path,
    signals: list[signal.Signals],
    ignored: signal.Signals | None,
    to_all: bool,
    code: int,
) -> None:
    def stopped(directory: Path) -> float:
        url, temporary = directory / "study", directory / "tmp"
        shutil.copytree(long_study, url)
        temporary.mkdir()
        with inherited_signals(ignored=ignored):
            process = subprocess.Popen(
                [sys.executable, "-m", "idfkit_fs", "run", str(url)],
                env={**os.environ, "TMPDIR": str(temporary)},
                start_new_session=True,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        running = _wait_for(process, lambda: _energyplus(process))
        _wait_for(process, lambda: list(temporary.rglob("eplus.eso")))

        sent = time.monotonic()
        for number in signals:
            (os.killpg if to_all else os.kill)(process.pid, number)
        _, said = process.communicate(timeout=600)
        took = time.monotonic() - sent

        assert process.returncode == code
        assert said == f"Stopped by {signal.Signals(code - 128).name}; the cases that were running are still pending\n"
        assert psutil.wait_procs(running, timeout=600)[1] == []
        assert list(temporary.iterdir()) == []
        assert {path.name for path in url.iterdir()} == {"_study"}
        assert Study(url).status().pending == ("long",)
        return took

    assert _soon(stopped, tmp_path)


def test_an_upload_that_hangs_delays_no_signal(
    shaky_place: Place, proxy: FaultProxy, tmp_path: Path, epw: Path
) -> None:
    study = Study(shaky_place.url, storage_options=shaky_place.options)
    study.add_cases(cases(1, epw))
    options = [part for name, value in shaky_place.options.items() for part in ("-o", f"{name}={json.dumps(value)}")]
    upload = r"PUT \S*/case-00/eplus\."
    proxy.stall(600, None, on=upload)

    def stopped(temporary: Path) -> float:
        proxy.reset_counters()
        with inherited_signals():
            process = subprocess.Popen(
                [sys.executable, "-m", "idfkit_fs", "run", shaky_place.url, *options],
                env={**os.environ, "TMPDIR": str(temporary)},
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        _wait_for(process, lambda: any(re.match(upload, line) for line in proxy.request_lines))

        sent = time.monotonic()
        process.terminate()
        process.communicate(timeout=600)
        took = time.monotonic() - sent

        assert process.returncode == 143
        assert list(temporary.iterdir()) == []
        return took

    assert _soon(stopped, tmp_path)
    proxy.heal()
    assert study.status().pending == ("case-00",)
