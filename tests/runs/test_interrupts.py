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
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from idfkit import IDFDocument, write_idf
from idfkit.simulation import EnergyPlusConfig, SimulationResult
from small_office import one_zone, small_office
from support.places import Place
from support.proxy import FaultProxy
from support.servers import BUCKET, Store
from support.signals import inherited_signals

from idfkit_fs import Study, async_simulate, open_result, publish

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no signals for one process alone")

MIB = 2**20

# What a user's program calls; afterwards it lives on, as a notebook does, and goes on using the store.
PROGRAM = """
import asyncio, json, sys
import idfkit_fs

def run_in_processes(study):
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(1) as pool:
        study.run(executor=pool)

url, options, what, *rest = json.loads(sys.argv[1])
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
if __name__ == "__main__":
    try:
        calls[what]()
    except KeyboardInterrupt as exc:
        kept = exc  # as a notebook keeps the last exception, and with it every frame
        print(json.dumps(getattr(exc, "__notes__", [])), flush=True)
        fs = idfkit_fs.FsspecFileSystem.from_url(url, **options)
        for number in range(20):
            fs.exists(f"asked-{number}")
        print("asked", flush=True)
        sys.stdin.read()
"""


class Watched(FaultProxy):
    """A proxy that does something as the first request of a kind arrives, and goes slowly from there."""

    _due: tuple[str, Callable[[], object]] | None = None

    def when(self, pattern: str, act: Callable[[], object]) -> None:
        self._due = pattern, act

    def _count(self, **seen: Any) -> None:
        super()._count(**seen)
        if self._due is not None and re.search(self._due[0], seen.get("line") or ""):
            act, self._due = self._due[1], None
            self.rate = 32 * MIB  # so that the file is not there before the signal is
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
    """A model that takes EnergyPlus ten seconds or more."""
    path = tmp_path_factory.mktemp("long") / "long.idf"
    path.write_text(str(write_idf(small_office(storeys=3, frequency="Timestep"))), encoding="utf-8")
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
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    env = {**os.environ, "TMPDIR": str(temporary)}
    with inherited_signals(**kwargs):
        return subprocess.Popen(command, env=env, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]


def program(temporary: Path, *arguments: Any) -> subprocess.Popen[str]:
    script = temporary.parent / "program.py"
    script.write_text(PROGRAM, encoding="utf-8")
    return started([sys.executable, str(script), json.dumps(arguments)], temporary)


def command(temporary: Path, *arguments: Any, options: dict[str, Any], **kwargs: Any) -> subprocess.Popen[str]:
    given = [part for name, value in options.items() for part in ("-o", f"{name}={json.dumps(value)}")]
    return started([sys.executable, "-m", "idfkit_fs", *map(str, arguments), *given], temporary, **kwargs)


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


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline() or pytest.fail(f"ended too early: {child.communicate()}")


def uploads(store: Store) -> list[Any]:
    """The uploads in parts that were begun and neither completed nor aborted."""
    client: Any = store.raw
    return client._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


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
    what: str, signals: list[signal.Signals], to_all: bool, tmp_path: Path, temporary: Path, long_model: Path, epw: Path
) -> None:
    url = tmp_path / "url"
    arguments = [str(long_model), str(epw)]
    if "simulate" not in what:
        arguments = []
        Study(url).add("long", long_model, epw, annual=True)
    with program(temporary, str(url), {}, what, *arguments) as child:
        wait_for(child, lambda: list(temporary.rglob("eplus.eso")))
        for number in signals:
            (os.killpg if to_all else os.kill)(child.pid, number)
        assert said(child) == "[]\n"
        assert living_in(temporary) == []
        assert list(temporary.iterdir()) == []
        child.communicate("")
    assert child.returncode == 0
    assert not url.exists() or {path.name for path in url.iterdir()} <= {"_study"}


@pytest.mark.parametrize("what", ["simulate", "Study.run in processes"])
def test_a_signal_that_ends_the_process_ends_energyplus_first(
    what: str, tmp_path: Path, temporary: Path, long_model: Path, epw: Path
) -> None:
    url = tmp_path / "url"
    arguments = [str(long_model), str(epw)] if what == "simulate" else []
    if not arguments:
        Study(url).add("long", long_model, epw, annual=True)
    with program(temporary, str(url), {}, what, *arguments) as child:
        wait_for(child, lambda: list(temporary.rglob("eplus.eso")))
        os.killpg(child.pid, signal.SIGTERM)
        child.communicate()
    assert child.returncode == -signal.SIGTERM
    assert living_in(temporary) == []
    assert [path.name for path in temporary.iterdir() if path.name.startswith("id")] == []


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
        while len(living_in(no_leftovers)) < 2:
            time.sleep(0.05)

    await asyncio.to_thread(wait_for_both)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert living_in(no_leftovers) == []


def test_a_shell_that_looks_at_the_outputs_lives_on(
    tmp_path: Path, temporary: Path, long_model: Path, epw: Path
) -> None:
    with program(temporary, str(tmp_path / "url"), {}, "simulate", str(long_model), str(epw)) as child:
        wait_for(child, lambda: list(temporary.rglob("eplus.eso")))
        (outputs,) = temporary.rglob("eplus.eso")
        with subprocess.Popen(["sleep", "300"], cwd=outputs.parent) as shell:
            child.send_signal(signal.SIGINT)
            assert said(child) == "[]\n"
            assert shell.poll() is None
            shell.kill()
        child.communicate("")


def test_an_ignored_interrupt_interrupts_nothing(tmp_path: Path, temporary: Path, epw: Path) -> None:
    """As in the background of a script, or under nohup."""
    Study(tmp_path / "study").add("quick", one_zone(), epw, annual=True)
    with command(temporary, "run", tmp_path / "study", options={}, ignored=signal.SIGINT) as child:
        wait_for(child, lambda: list(temporary.rglob("eplus.eso")))
        child.send_signal(signal.SIGINT)
        child.communicate()
    assert child.returncode == 0
    assert Study(tmp_path / "study").status().ok == ("quick",)


# Uploads and downloads.


@pytest.mark.parametrize("slow", ["moto", "seaweed"], indirect=True)
def test_an_interrupt_aborts_an_upload_in_parts(slow: tuple[Store, Watched], temporary: Path, large_run: Path) -> None:
    store, proxy = slow
    url, before = f"{store.url}/{temporary.parent.name}", {path.name for path in large_run.iterdir()}
    with program(temporary, url, store.through(proxy.endpoint).storage_options, "publish", str(large_run)) as child:
        proxy.when(r"^PUT .*partNumber=", lambda: child.send_signal(signal.SIGINT))
        assert said(child) == "[]\n"
        proxy.reset_counters()
        proxy.rate = None
        assert said(child) == "asked\n"
        assert not [line for line in proxy.request_lines if not re.match("GET|HEAD", line)]
        assert uploads(store) == []
        child.communicate("")
    assert child.returncode == 0
    assert list(temporary.iterdir()) == []
    assert {path.name for path in large_run.iterdir()} == before
    assert not [key for key in store.raw.keys("") if key.endswith(f"{temporary.parent.name}/run.json")]
    assert publish(large_run, url, storage_options=store.storage_options).success


@pytest.mark.parametrize(
    ("slow", "pattern"),
    [
        ("gcs", r"uploadType=resumable.*upload_id=|upload_id="),
        pytest.param("azurite_blob", r"^PUT .*comp=block&", marks=pytest.mark.azurite),
    ],
    indirect=["slow"],
)
def test_an_interrupt_ends_uploads_to_other_stores(
    slow: tuple[Store, Watched], pattern: str, temporary: Path, large_run: Path
) -> None:
    store, proxy = slow
    url = f"{store.url}/{temporary.parent.name}"
    with program(temporary, url, store.through(proxy.endpoint).storage_options, "publish", str(large_run)) as child:
        proxy.when(pattern, lambda: child.send_signal(signal.SIGINT))
        assert said(child) == "[]\n"
        proxy.reset_counters()
        proxy.rate = None
        assert said(child) == "asked\n"
        assert not [line for line in proxy.request_lines if not re.match("GET|HEAD", line)]
        child.communicate("")
    assert not [key for key in store.raw.keys("") if key.endswith((".bnd", "run.json"))]


def test_a_command_that_is_stopped_aborts_its_upload(moto: Store, temporary: Path, large_run: Path) -> None:
    url = f"{moto.url}/{temporary.parent.name}"
    with watched(moto) as proxy:
        options = moto.through(proxy.endpoint).storage_options
        with command(temporary, "publish", large_run, url, options=options) as child:
            proxy.when(r"^PUT .*partNumber=", child.terminate)
            _, errors = child.communicate()
    assert (child.returncode, errors) == (
        143,
        "Stopped by SIGTERM; the run was not published to the end; run the command again\n",
    )
    assert uploads(moto) == []
    assert list(temporary.iterdir()) == []


def test_a_finished_run_is_kept_when_its_upload_is_interrupted(
    s3_place: Place, moto: Store, temporary: Path, tmp_path: Path, model: IDFDocument, epw: Path
) -> None:
    (tmp_path / "model.idf").write_text(str(write_idf(model)), encoding="utf-8")
    with watched(moto) as proxy:
        options = moto.through(proxy.endpoint).storage_options
        arguments = [str(tmp_path / "model.idf"), str(epw)]
        with program(temporary, s3_place.url, options, "simulate", *arguments) as child:
            proxy.when(r"^PUT .*/eplus\.", lambda: child.send_signal(signal.SIGINT))
            (note,) = json.loads(said(child))
            child.communicate("")
    (kept,) = temporary.iterdir()
    assert str(kept) in note
    assert publish(kept, s3_place.url, storage_options=s3_place.options).success
    assert not kept.exists()


def test_an_interrupt_ends_a_download(moto: Store, s3_place: Place, temporary: Path, large_run: Path) -> None:
    publish(large_run, s3_place.url, storage_options=s3_place.options)
    target = temporary.parent / "target"
    with watched(moto) as proxy:
        options = moto.through(proxy.endpoint).storage_options
        with program(temporary, s3_place.url, options, "download", str(target)) as child:
            proxy.when(r"^GET .*/eplus\.bnd", lambda: child.send_signal(signal.SIGINT))
            assert said(child) == "[]\n"
            proxy.reset_counters()
            proxy.rate = None
            assert said(child) == "asked\n"
            assert not [line for line in proxy.request_lines if "eplus" in line]
            child.communicate("")
        with command(temporary, "get", s3_place.url, "--to", target, options=options) as child:
            proxy.when(r"^GET .*/eplus\.bnd", child.terminate)
            _, errors = child.communicate()
        assert (child.returncode, errors.partition(";")[0]) == (143, "Stopped by SIGTERM")
    assert not [path for path in target.rglob("*") if path.name.endswith(".tmp")]
    assert list(temporary.iterdir()) == []
    open_result(s3_place.url, storage_options=s3_place.options).download(target)
    assert open_result(target).success
