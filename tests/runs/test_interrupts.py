"""Interrupts, signals and cancelled tasks: what they must have ended before anything else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from idfkit import IDFDocument, write_idf
from idfkit.simulation import EnergyPlusConfig, SimulationResult
from small_office import one_zone
from support.killing import Gate
from support.places import Place
from support.proxy import FaultProxy
from support.servers import BUCKET, S3Raw, Store
from support.signals import inherited_signals
from support.variants import endless

from idfkit_fs import Study, async_simulate, open_result, publish
from idfkit_fs._util import interrupts
from idfkit_fs._util.interrupts import Stop, sheltered, stopped_by, unless_stopped

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(os.name == "nt", reason="no signals for one process alone"),
]

MIB = 2**20

# A user's program; after an interrupt it lives on, as a notebook does, and goes on using the store.
PROGRAM = """
import asyncio, json, signal, sys, tempfile
import idfkit_fs
from idfkit_fs._util import interrupts

interrupts._GRACE_SECONDS = 600.0  # a busy machine takes its time

def run_in_processes(study):
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(1) as pool:
        study.run(executor=pool)

def call(what, url, options, *rest):
    there = dict(output_dir=url, storage_options=options, annual=True)
    calls = {
        "simulate": lambda: idfkit_fs.simulate(*rest, **there),
        "simulate with progress": lambda: idfkit_fs.simulate(*rest, **there, progress=True),
        "async_simulate": lambda: asyncio.run(idfkit_fs.async_simulate(*rest, **there)),
        "run_case": lambda: idfkit_fs.run_case(url, "long", options),
        "Study.run": lambda: idfkit_fs.Study(url, storage_options=options).run(),
        "Study.run in processes": lambda: run_in_processes(idfkit_fs.Study(url, storage_options=options)),
        "publish": lambda: idfkit_fs.publish(*rest, url, storage_options=options),
        "download": lambda: idfkit_fs.open_result(url, storage_options=options).download(*rest),
    }
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        try:
            calls[what]()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one may be late, and is no part of what follows
    except KeyboardInterrupt as exc:
        kept.append(exc)  # as a notebook keeps the last exception, and with it every frame
        print(json.dumps(getattr(exc, "__notes__", [])), flush=True)
        sys.stdin.readline()
        fs = idfkit_fs.FsspecFileSystem.from_url(url, **options)
        for number in range(20):
            fs.exists(f"asked-{number}")
        print("asked", flush=True)
    else:
        print("ended without an interrupt", flush=True)

kept = []
if __name__ == "__main__":
    for line in sys.stdin:
        tempfile.tempdir, *arguments = json.loads(line)
        call(*arguments)
"""


# The command, which does not give up what it takes back either.
COMMAND = """
from idfkit_fs._cli import stopping
from idfkit_fs._util import interrupts
stopping._GRACE_SECONDS = interrupts._GRACE_SECONDS = 600.0
from idfkit_fs.__main__ import main
main()
"""


class Watched(FaultProxy):
    """A proxy that does something as the first request of a kind arrives, and goes slowly from there."""

    window = 4
    _due: tuple[str, Callable[[], object], float] | None = None

    def when(self, pattern: str, act: Callable[[], object], rate: float = 4 * MIB) -> None:
        """As the first such request arrives, act; the rate is so slow that the file is not there before a signal is."""
        self._due = pattern, act, rate

    def fast(self) -> None:
        """Go fast again."""
        self.rate = None

    def at_last(self) -> list[str]:
        """What was sent while the program went on; a proxy on a busy machine may read late what was sent before."""
        first = next(number for number, line in enumerate(self.request_lines) if "asked-9" in line)
        return self.request_lines[first:]

    def _count(self, **seen: Any) -> None:
        super()._count(**seen)
        if self._due is not None and re.search(self._due[0], seen.get("line") or ""):
            (_, act, self.rate), self._due = self._due, None
            act()


@contextlib.contextmanager
def watched(store: Store) -> Iterator[Watched]:
    target = urlsplit(store.endpoint)
    with Watched(str(target.hostname), int(target.port or 0)) as running:
        yield running


@pytest.fixture
def slow(request: pytest.FixtureRequest) -> Iterator[tuple[Store, Watched]]:
    """A store by its name, and a proxy in front of it."""
    store: Store = request.getfixturevalue(request.param)
    with watched(store) as running:
        yield store, running


@pytest.fixture(scope="module")
def long_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that no test waits for."""
    path = tmp_path_factory.mktemp("long") / "long.idf"
    path.write_text(str(write_idf(endless())), encoding="utf-8")
    return path


@pytest.fixture
def large_run(local_run: SimulationResult) -> Path:
    """A run with a file that is uploaded in parts."""
    directory = Path(local_run.run_dir)
    with (directory / "eplus.bnd").open("ab") as file:
        file.truncate(40 * MIB)
    return directory


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    directory = tmp_path / "temporary"
    directory.mkdir()
    return directory


def started(command: list[str], temporary: Path, **kwargs: Any) -> subprocess.Popen[str]:
    pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    env = {**os.environ, "TMPDIR": str(temporary)}
    with inherited_signals(**kwargs):
        return subprocess.Popen(command, env=env, text=True, start_new_session=True, **pipes)


class Notebook:
    """A program that makes one call after the other, each in a directory for temporary files of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._child: subprocess.Popen[str] | None = None
        self.is_idle, self.is_interrupted = True, False

    @property
    def child(self) -> subprocess.Popen[str]:
        """The program, which is started when it is needed."""
        if self._child is None:
            script = self._directory / "program.py"
            script.write_text(PROGRAM, encoding="utf-8")
            self._child = started([sys.executable, str(script)], self._directory)
        return self._child

    def call(self, temporary: Path, what: str, url: str | Path, options: dict[str, Any], *rest: str | Path) -> None:
        """Begin a call."""
        self.is_idle = False
        line = json.dumps([str(temporary), what, str(url), options, *map(str, rest)])
        print(line, file=self.child.stdin, flush=True)

    def interrupt(self) -> None:
        self.child.send_signal(signal.SIGINT)

    def said(self) -> str:
        """The next line of what the program says; after an interrupt it goes on when it is asked for one more."""
        assert self.child.stdout is not None
        if self.is_interrupted:
            print(file=self.child.stdin, flush=True)
        line = self.child.stdout.readline().strip() or pytest.fail(f"ended: {self.child.communicate()}")
        self.is_idle = line in ("asked", "ended without an interrupt")
        self.is_interrupted = not self.is_idle
        return line

    def end(self) -> None:
        if self._child is not None:
            if not self.is_idle:
                self._child.kill()
            self._child.communicate()
            self._child, self.is_idle, self.is_interrupted = None, True, False


@pytest.fixture(scope="module")
def _notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    notebook = Notebook(tmp_path_factory.mktemp("notebook"))
    yield notebook
    notebook.end()


@pytest.fixture
def notebook(_notebook: Notebook) -> Iterator[Notebook]:
    """A program that lives on from test to test; after one that failed, another."""
    yield _notebook
    if not _notebook.is_idle:
        _notebook.end()


def command(temporary: Path, *arguments: Any, options: dict[str, Any], **kwargs: Any) -> subprocess.Popen[str]:
    given = [part for name, value in options.items() for part in ("-o", f"{name}={json.dumps(value)}")]
    return started([sys.executable, "-c", COMMAND, *map(str, arguments), *given], temporary, **kwargs)


def wait_for(child: subprocess.Popen[str], condition: Callable[[], Any]) -> None:
    while not condition():
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=0.05)
            pytest.fail(f"ended too early: {child.communicate()}")


def living_in(directory: Path) -> list[str]:
    """The processes that work in a directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(directory):
                found.append(process.name())
    return found


def left_in(temporary: Path) -> list[str]:
    """The temporary files that are left, but for the temporary cache of a process that lives on."""
    return [path.name for path in temporary.iterdir() if not path.name.startswith("idfkit-fs-cache-")]


def uploads(store: Store, url: str) -> list[Any]:
    """The uploads in parts that were begun on S3 below a URL, and neither completed nor aborted."""
    if not isinstance(store.raw, S3Raw):
        return []
    found = store.raw._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    return [upload for upload in found if upload["Key"].startswith(f"{url.removeprefix(f'{store.url}/')}/")]


# EnergyPlus.


@pytest.mark.parametrize(
    ("what", "signals", "to_all"),
    [
        ("simulate", [signal.SIGINT], False),
        ("simulate with progress", [signal.SIGINT, signal.SIGINT], False),
        ("async_simulate", [signal.SIGINT], False),
        ("run_case", [signal.SIGINT, signal.SIGINT], False),
        ("Study.run", [signal.SIGINT], True),  # as a terminal does
    ],
)
def test_an_interrupt_ends_energyplus(
    notebook: Notebook,
    what: str,
    signals: list[signal.Signals],
    to_all: bool,
    tmp_path: Path,
    temporary: Path,
    long_model: Path,
    epw: Path,
) -> None:
    url = tmp_path / "url"
    arguments = [long_model, epw]
    if "simulate" not in what:
        arguments = []
        Study(url).add("long", long_model, epw, annual=True)
    notebook.call(temporary, what, url, {}, *arguments)
    wait_for(notebook.child, lambda: list(temporary.rglob("eplus.eso")))
    # A shell that looks at the outputs lives on.
    with subprocess.Popen(["sleep", "300"], cwd=next(temporary.rglob("eplus.eso")).parent) as shell:
        for number in signals:
            (os.killpg if to_all else os.kill)(notebook.child.pid, number)
        assert notebook.said() == "[]"
        assert shell.poll() is None
        shell.kill()
    assert living_in(temporary) == []
    assert left_in(temporary) == []
    assert notebook.said() == "asked"
    assert not url.exists() or {path.name for path in url.iterdir()} <= {"_study"}


@pytest.mark.parametrize("what", ["simulate", "Study.run in processes"])
def test_a_signal_that_ends_the_process_ends_energyplus_first(
    what: str, tmp_path: Path, temporary: Path, long_model: Path, epw: Path
) -> None:
    url, notebook = tmp_path / "url", Notebook(tmp_path)
    if what == "simulate":
        notebook.call(temporary, what, url, {}, long_model, epw)
    else:
        Study(url).add("long", long_model, epw, annual=True)
        notebook.call(temporary, what, url, {})
    with notebook.child as child:
        wait_for(child, lambda: list(temporary.rglob("eplus.eso")))
        os.killpg(child.pid, signal.SIGTERM)
        child.communicate()
    assert child.returncode == -signal.SIGTERM
    assert living_in(temporary) == []
    assert [name for name in left_in(temporary) if name.startswith("id")] == []


async def test_nothing_runs_in_a_directory_that_is_removed(
    tmp_path: Path, model: IDFDocument, epw: Path, eplus: EnergyPlusConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[list[str]] = []
    remove = shutil.rmtree

    def watch(directory: Any, *args: Any, **kwargs: Any) -> None:
        if "idfkit-fs-run-" in str(directory):
            removed.append(living_in(Path(directory).resolve()))
        remove(directory, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", watch)

    async def cancel(turns: int) -> None:
        begun = asyncio.Event()
        options: dict[str, Any] = {"energyplus": eplus, "annual": True, "on_progress": lambda _event: begun.set()}
        task = asyncio.create_task(async_simulate(model, epw, output_dir=tmp_path / "x", **options))
        await begun.wait()
        for _ in range(3):  # each after so many more turns of the loop
            task.cancel()
            for _turn in range(turns):
                await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task

    for turns in range(6):
        await cancel(turns)
    assert removed == [[]] * 6


async def test_what_energyplus_started_is_ended_too(
    tmp_path: Path, model: IDFDocument, epw: Path, eplus: EnergyPlusConfig, no_leftovers: Path
) -> None:
    installation = tmp_path / "EnergyPlus"
    installation.mkdir()
    shutil.copy(str(shutil.which("sleep")), installation / "ExpandObjects")
    shutil.copy(eplus.idd_path, installation)
    script = installation / "energyplus"
    # It has lost its parent, as when the system kills EnergyPlus.
    script.write_text(f'#!/bin/sh\n("{installation}/ExpandObjects" 300 &)\nexec sleep 300\n')
    script.chmod(0o755)
    config = replace(eplus, executable=script, install_dir=installation)
    task = asyncio.create_task(async_simulate(model, epw, output_dir=tmp_path / "x", energyplus=config))

    def wait_for_both() -> None:
        while sorted(living_in(no_leftovers)) != ["ExpandObjects", "sleep"]:
            time.sleep(0.05)

    await asyncio.to_thread(wait_for_both)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert living_in(no_leftovers) == []


def test_an_ignored_interrupt_interrupts_nothing(
    tmp_path: Path, temporary: Path, epw: Path, eplus: EnergyPlusConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the background of a script, or under nohup."""
    gate = Gate(eplus, tmp_path / "gate")
    monkeypatch.setenv("ENERGYPLUS_DIR", gate.installation)
    Study(tmp_path / "study").add("quick", one_zone(), epw, annual=True)
    with command(temporary, "run", tmp_path / "study", options={}, ignored=signal.SIGINT) as child:
        wait_for(child, lambda: gate.is_reached)
        child.send_signal(signal.SIGINT)
        gate.open()
        child.communicate()
    assert child.returncode == 0
    assert Study(tmp_path / "study").status().ok == ("quick",)


# Uploads and downloads.


@pytest.mark.parametrize(
    ("slow", "pattern"),
    [
        ("moto", r"^PUT .*partNumber="),
        ("seaweed", r"^PUT .*partNumber="),
        ("gcs", r"^POST .*upload_id="),
        ("azurite_blob", r"^PUT .*/eplus\.bnd"),
    ],
    indirect=["slow"],
)
def test_an_interrupt_takes_an_upload_back(
    notebook: Notebook, slow: tuple[Store, Watched], pattern: str, temporary: Path, large_run: Path
) -> None:
    store, proxy = slow
    name, before = uuid.uuid4().hex, {path.name for path in large_run.iterdir()}
    url, options = f"{store.url}/{name}", store.through(proxy.endpoint).storage_options
    proxy.when(pattern, notebook.interrupt)
    notebook.call(temporary, "publish", url, options, large_run)
    assert notebook.said() == "[]"
    proxy.fast()
    assert notebook.said() == "asked"
    assert not [line for line in proxy.at_last() if not re.match("GET|HEAD", line)]
    assert store.raw.keys(f"{name}/") == []
    assert uploads(store, url) == []
    assert left_in(temporary) == []
    assert {path.name for path in large_run.iterdir()} == before
    assert publish(large_run, url, storage_options=store.storage_options).success


def test_a_second_interrupt_ends_what_the_first_one_takes_back(
    notebook: Notebook, moto: Store, s3_place: Place, temporary: Path, large_run: Path
) -> None:
    with watched(moto) as proxy:
        interrupted: list[float] = []

        def interrupt() -> None:
            interrupted.append(time.monotonic())
            notebook.interrupt()
            proxy.when("^DELETE .*uploadId=", interrupt, rate=1)

        proxy.when(r"^PUT .*partNumber=", interrupt, rate=1)
        notebook.call(temporary, "publish", s3_place.url, moto.through(proxy.endpoint).storage_options, large_run)
        assert notebook.said() == "[]"
        assert time.monotonic() - interrupted[1] < 500  # else it was the end of the grace
        proxy.fast()
        assert notebook.said() == "asked"
    (upload,) = uploads(moto, s3_place.url)
    moto.raw._client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    assert publish(large_run, s3_place.url, storage_options=s3_place.options).success


def test_a_command_that_is_stopped_aborts_its_upload(moto: Store, temporary: Path, large_run: Path) -> None:
    url = f"{moto.url}/{temporary.parent.name}"
    with watched(moto) as proxy:
        options = moto.through(proxy.endpoint).storage_options
        started_command: Future[subprocess.Popen[str]] = Future()
        proxy.when(r"^PUT .*partNumber=", lambda: started_command.result(600).terminate())
        with command(temporary, "publish", large_run, url, options=options) as child:
            started_command.set_result(child)
            _, errors = child.communicate()
    assert (child.returncode, errors) == (
        143,
        "Stopped by SIGTERM; the run was not published to the end; run the command again\n",
    )
    assert uploads(moto, url) == []
    assert list(temporary.iterdir()) == []


def test_a_second_stop_ends_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, begun = Stop(), threading.Event()

    async def silent() -> None:
        begun.set()
        await asyncio.Event().wait()

    def take_back() -> None:
        with sheltered():
            asyncio.run(unless_stopped(silent(), needed=True))

    monkeypatch.setattr(interrupts, "_GRACE_SECONDS", 600.0)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(stopped_by(stop, take_back))
        assert begun.wait(500)
        stop.set()
        stop.set()
        with pytest.raises(InterruptedError):
            running.result(500)  # less than the grace of a first stop


def test_a_finished_run_is_kept_when_its_upload_is_interrupted(
    notebook: Notebook, s3_place: Place, moto: Store, temporary: Path, tmp_path: Path, model: IDFDocument, epw: Path
) -> None:
    (tmp_path / "model.idf").write_text(str(write_idf(model)), encoding="utf-8")
    with watched(moto) as proxy:
        proxy.stall(600, None, on=r"^PUT .*/eplus\.")  # so that nothing is published before the interrupt
        proxy.when(r"^PUT .*/eplus\.", notebook.interrupt)
        options = moto.through(proxy.endpoint).storage_options
        notebook.call(temporary, "simulate", s3_place.url, options, tmp_path / "model.idf", epw)
        (note,) = json.loads(notebook.said())
        assert notebook.said() == "asked"
    (kept,) = left_in(temporary)
    assert str(temporary / kept) in note
    assert publish(temporary / kept, s3_place.url, storage_options=s3_place.options).success
    assert left_in(temporary) == []


def test_an_interrupt_ends_a_download(
    notebook: Notebook, moto: Store, s3_place: Place, tmp_path: Path, temporary: Path, large_run: Path
) -> None:
    publish(large_run, s3_place.url, storage_options=s3_place.options)
    target = tmp_path / "target"
    with watched(moto) as proxy:
        proxy.when(r"^GET .*/eplus\.bnd", notebook.interrupt)
        options = moto.through(proxy.endpoint).storage_options
        notebook.call(temporary, "download", s3_place.url, options, target)
        assert notebook.said() == "[]"
        proxy.fast()
        assert notebook.said() == "asked"
        assert not [line for line in proxy.at_last() if "eplus" in line]
    assert not [path for path in target.rglob("*") if path.name.endswith(".tmp")]
    assert left_in(temporary) == []
    open_result(s3_place.url, storage_options=s3_place.options).download(target)
    assert open_result(target).success
