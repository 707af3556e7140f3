"""`run.json` as a register: who may write, who has finished, and what is left."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from idfkit.simulation import SimulationResult
from support.places import Place

from idfkit_fs import FsspecFileSystem, open_result, publish
from idfkit_fs.errors import RunExistsError, RunNotFoundError
from idfkit_fs.runs import publish as publishing
from idfkit_fs.runs.check import damage_of
from idfkit_fs.runs.contents import Contents
from idfkit_fs.runs.register import Claim, Register, read_register, remove_run


def claim(fs: FsspecFileSystem, *names: str, **facts: Any) -> str:
    """What a publisher leaves that was killed: its claim, and its first file."""
    content = Claim(id="a" * 32, files=names, **facts)
    tag = fs.swap("run.json", content.to_json(), None)
    assert tag is not None
    for name in names[:1]:
        fs.write_bytes(name, b"of the one that was killed")
    return tag


def test_a_publisher_that_was_killed_blocks_nobody(s3_place: Place, local_run: SimulationResult) -> None:
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    claim(fs, "eplus.sql", "eplus.err", "eplus.rdd")
    with pytest.raises(RunNotFoundError):
        open_result(s3_place.url, storage_options=s3_place.options)
    published = publish(local_run, s3_place.url, storage_options=s3_place.options)
    again = open_result(s3_place.url, storage_options=s3_place.options)
    assert again.record == published.record and again.record is not None
    assert again.url == s3_place.url and again.record.directory.startswith("_run-") and again.record.contested
    assert damage_of(again, deep=True) == {} and again.sql is not None
    left = {path for path in fs.glob("", "**") if not path.startswith("_run-")}
    assert left == {"run.json"}  # what the other one left is gone


def test_the_files_stay_apart_while_the_other_may_live(s3_place: Place, local_run: SimulationResult) -> None:
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    claim(fs, "eplus.sql")
    publish(local_run, s3_place.url, storage_options=s3_place.options)
    publish(local_run, s3_place.url, storage_options=s3_place.options, overwrite=True)
    fs.write_bytes("eplus.sql", b"of one that was only slow")
    assert damage_of(open_result(s3_place.url, storage_options=s3_place.options), deep=True) == {}
    directories = {path.split("/")[0] for path in fs.glob("", "**") if path.startswith("_run-")}
    assert len(directories) == 1  # the replaced one is gone


@pytest.mark.parametrize("at", ["first file", "record"])
def test_the_first_that_finishes_wins(
    at: str, s3_place: Place, local_run: SimulationResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second publisher begins, and finishes, while the first one is between two of its steps."""
    owner, step = {"first file": (publishing, "transfer"), "record": (Contents, "record_of")}[at]
    real = getattr(owner, step)
    seconds: list[str] = []

    def after_another(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, step, real)
        other = publish(local_run, s3_place.url, storage_options=s3_place.options)
        assert other.record is not None
        seconds.append(other.record.id)
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, step, after_another)
    with pytest.raises(RunExistsError, match="at the same time, and is kept"):
        publish(local_run, s3_place.url, storage_options=s3_place.options)
    kept = open_result(s3_place.url, storage_options=s3_place.options)
    assert kept.record is not None and [kept.record.id] == seconds and damage_of(kept, deep=True) == {}
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    assert {*fs.glob("", "**")} == {"run.json", *kept.record.paths}


def test_who_was_taken_over_may_still_finish_first(
    s3_place: Place, local_run: SimulationResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = publishing.transfer
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)

    def after_another_begins(*args: Any, **kwargs: Any) -> Any:
        register = read_register(fs)
        taken = register.claimed_by("b" * 32, None, {"eplus.sql"})
        assert fs.swap("run.json", taken.to_json(), register.tag)
        fs.write_bytes(f"{taken.directory}/eplus.sql", b"of one that is killed now")
        return real(*args, **kwargs)

    monkeypatch.setattr(publishing, "transfer", after_another_begins)
    published = publish(local_run, s3_place.url, storage_options=s3_place.options)
    assert published.record is not None and published.record.directory == ""
    assert {*fs.glob("", "**")} == {"run.json", *published.record.paths}
    assert damage_of(open_result(s3_place.url, storage_options=s3_place.options), deep=True) == {}


def test_a_publication_that_is_stopped_leaves_nothing(
    s3_place: Place, local_run: SimulationResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    real = publishing.transfer

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        real(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(publishing, "transfer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(local_run, s3_place.url, storage_options=s3_place.options)
    assert fs.glob("", "**") == []


def test_a_run_in_place_is_not_recorded_while_somebody_may_write_it(
    s3_place: Place, local_run: SimulationResult
) -> None:
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    for path in Path(local_run.run_dir).iterdir():
        fs.write_bytes(path.name, path.read_bytes())
    claim(fs)
    with pytest.raises(RunExistsError, match="another publisher|Another publisher"):
        publish(s3_place.url, s3_place.url, storage_options=s3_place.options)
    published = publish(s3_place.url, s3_place.url, storage_options=s3_place.options, overwrite=True)
    assert published.record is not None and published.record.directory == "" and damage_of(published, deep=True) == {}


def test_removing_a_run_spares_a_newer_one(tmp_path: Path, local_run: SimulationResult) -> None:
    url = tmp_path / "run"
    publish(local_run, url)
    fs = FsspecFileSystem.from_url(url)
    old = read_register(fs)
    newer = publish(local_run, url, overwrite=True)
    assert not remove_run(fs, old)
    assert damage_of(open_result(url), deep=True) == {} and open_result(url).record == newer.record
    assert remove_run(fs, read_register(fs)) and fs.glob("", "**") == []
    assert remove_run(fs, Register())


def test_many_publishers_at_once(tmp_path: Path, local_run: SimulationResult) -> None:
    url = tmp_path / "run"
    errors: list[BaseException] = []

    def go() -> None:
        try:
            publish(local_run, url, overwrite=True)
        except RunExistsError as exc:
            errors.append(exc)

    threads = [threading.Thread(target=go) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) < len(threads)
    kept = open_result(url)
    assert kept.record is not None and damage_of(kept, deep=True) == {}
    assert {*FsspecFileSystem.from_url(url).glob("", "**")} == {"run.json", *kept.record.paths}
