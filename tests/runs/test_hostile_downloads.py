"""Downloads of runs whose names and sizes an attacker chose."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from idfkit.simulation import SimulationResult
from support.places import Place
from support.proxy import FaultProxy

from idfkit_fs import FsspecFileSystem, RunResult, Study, open_result
from idfkit_fs.errors import DamagedRunError, ExistsError, RunExistsError
from idfkit_fs.runs.record import RecordedFile, RunRecord

FILES = {"a.txt": b"of the run", "sub/b.txt": b"of the run too"}


def put(place: Place, files: dict[str, bytes] = FILES, **sizes: int) -> Place:
    """Put a run with these files; *sizes* are what its record claims of files of these stems."""
    fs = FsspecFileSystem.from_url(place.url, **place.options)
    entries = []
    for name, data in files.items():
        fs.write_bytes(name, data)
        size = sizes.get(Path(name).stem, len(data))
        entries.append(RecordedFile(name=name, size=size, sha256=hashlib.sha256(data).hexdigest()))
    record = RunRecord(success=True, exit_code=0, runtime_seconds=1, files=tuple(entries))
    fs.write_bytes("run.json", record.to_json())
    return place


def opened(place: Place) -> RunResult:
    return open_result(place.url, storage_options=place.options)


@pytest.fixture
def result(tmp_path: Path) -> RunResult:
    return opened(put(Place(str(tmp_path / "published"))))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that no download may touch; a test that left something in it fails."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "a.txt").write_bytes(b"mine")
    return directory


def everything(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_a_second_download_writes_only_what_is_missing(result: RunResult, tmp_path: Path) -> None:
    target = tmp_path / "target"
    result.download(target)
    os.utime(target / "a.txt", (1, 1))
    (target / "sub/b.txt").unlink()
    result.download(target)
    assert (target / "a.txt").stat().st_mtime == 1 and (target / "sub/b.txt").read_bytes() == FILES["sub/b.txt"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_user_is_replaced_only_if_asked(result: RunResult, tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    (target / name).parent.mkdir(parents=True)
    (target / name).write_bytes(b"of the user")
    with pytest.raises(ExistsError, match="pass overwrite=True to replace it"):
        result.download(target)
    assert everything(target) == {name: b"of the user"}
    result.download(target, overwrite=True)
    assert everything(target).items() >= FILES.items()


@pytest.mark.parametrize("overwrite", [False, True])
def test_another_run_is_never_mixed_with_it(result: RunResult, tmp_path: Path, overwrite: bool) -> None:
    other = opened(put(Place(str(tmp_path / "other")), {"c.txt": b"c"})).download(tmp_path / "target")
    before = everything(other)
    with pytest.raises(RunExistsError):
        result.download(other, overwrite=overwrite)
    assert everything(other) == before


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_in_the_place_of_a_file_is_not_followed(
    result: RunResult, tmp_path: Path, outside: Path, dangling: bool
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "a.txt").symlink_to(outside / ("new.txt" if dangling else "a.txt"))
    with pytest.raises(ExistsError):
        result.download(target)
    result.download(target, overwrite=True)  # replaces the link itself
    assert everything(outside) == {"a.txt": b"mine"}
    assert not (target / "a.txt").is_symlink() and everything(target).items() >= FILES.items()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_in_the_place_of_a_directory_is_refused(
    result: RunResult, tmp_path: Path, outside: Path, overwrite: bool
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "sub").symlink_to(outside)
    with pytest.raises(ExistsError, match="link"):
        result.download(target, overwrite=overwrite)
    assert everything(outside) == {"a.txt": b"mine"} and [path.name for path in target.iterdir()] == ["sub"]


def test_the_directory_that_the_user_names_may_be_a_link(result: RunResult, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "target").symlink_to(tmp_path / "disk")
    result.download(tmp_path / "target")
    assert everything(tmp_path / "disk").items() >= FILES.items()


def test_a_link_in_the_place_of_the_record_is_not_followed(result: RunResult, tmp_path: Path, outside: Path) -> None:
    result.download(tmp_path / "target")
    shutil.move(tmp_path / "target/run.json", outside / "run.json")
    before = everything(outside)
    (tmp_path / "target/run.json").symlink_to(outside / "run.json")
    result.download(tmp_path / "target")
    assert everything(outside) == before and not (tmp_path / "target/run.json").is_symlink()


def test_a_link_with_the_name_of_a_case_is_refused(
    local_run: SimulationResult, tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case has the name of a link in the user's directory."""
    study = Study(tmp_path / "study")
    study.adopt("documents", local_run.run_dir)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/documents").symlink_to(outside)
    with pytest.raises(ExistsError, match="link"):
        study.download(["documents"], tmp_path / "home", include=["*.err"])
    assert everything(outside) == {"a.txt": b"mine"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_pipe_in_the_place_of_the_record_is_not_waited_for(result: RunResult, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    os.mkfifo(tmp_path / "target/run.json")
    result.download(tmp_path / "target")
    assert everything(tmp_path / "target").items() >= FILES.items()


# --- more than the record says ------------------------------------------------------------------------------------------


def reads(result: RunResult, directory: Path) -> list[Callable[[], object]]:
    return [
        lambda: result.download(directory),
        lambda: result.files.read_bytes("a.txt"),
        lambda: result.files.fetch("a.txt"),
        lambda: result.files.local_copy("a.txt"),
    ]


@pytest.mark.parametrize("number", range(4))
def test_a_file_that_is_larger_than_its_record_is_not_fetched(
    shaky_place: Place, proxy: FaultProxy, tmp_path: Path, number: int
) -> None:
    proxy.window = 4  # else it takes all that the server sends before a busy client has had a look at it
    result = opened(put(shaky_place, {"a.txt": bytes(32 * 2**20)}, a=1000))
    proxy.reset_counters()
    with pytest.raises(DamagedRunError, match="differs from the run's record"):
        reads(result, tmp_path / "target")[number]()
    assert proxy.bytes_down < 16 * 2**20  # what the network holds has been sent, whatever is read of it
    assert not (tmp_path / "target/a.txt").exists()


@pytest.mark.parametrize("chain", ["", "simplecache::"])
def test_a_sparse_file_on_this_disk_is_not_copied(tmp_path: Path, empty_cache: Path, chain: str) -> None:
    place = put(Place(f"{chain}file://{tmp_path}/run"), {"a.txt": b"x"})
    os.truncate(tmp_path / "run/a.txt", 10**12)
    for read in reads(opened(place), tmp_path / "target")[1:3]:
        with pytest.raises(DamagedRunError):
            read()
    if chain:
        with pytest.raises(DamagedRunError):
            opened(place).download(tmp_path / "target")


def test_a_larger_file_is_refused_on_every_store(place: Place, tmp_path: Path) -> None:
    result = opened(put(place, {"a.txt": b"x" * 100_000}, a=10))
    for read in reads(result, tmp_path / "target"):
        with pytest.raises(DamagedRunError):
            read()


@pytest.mark.parametrize("size", [0, 1, 2**20])
def test_an_honest_file_of_any_size_is_fetched(place: Place, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    result = opened(put(place, {"a.txt": data}))
    assert result.files.fetch("a.txt") == result.files.read_bytes("a.txt") == data
    assert (result.download(tmp_path / "target") / "a.txt").read_bytes() == data
