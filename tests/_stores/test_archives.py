"""Runs inside an archive: read, listed, and never written to."""

from __future__ import annotations

import io
import tarfile
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from idfkit.simulation import SimulationResult
from support.servers import Store

from idfkit_fs import FsspecFileSystem, open_result, publish
from idfkit_fs.errors import IdfkitFsError, NotFoundError

FILES = 40


def _zip(directory: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(directory).as_posix())
    return buffer.getvalue()


def _tar(directory: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            archive.add(path, path.relative_to(directory).as_posix())
    return buffer.getvalue()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A directory with one published run in it."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "eplus.end").write_text(
        "EnergyPlus Completed Successfully-- 0 Warning; 0 Severe Errors; Elapsed Time=00hr"
    )
    (source / "eplus.err").write_text("Program Version,EnergyPlus\n************* EnergyPlus Completed Successfully")
    for number in range(FILES):
        (source / f"zone-{number}.csv").write_bytes(bytes([number]) * 50_000)
    run = SimulationResult(source, success=True, exit_code=0, stdout="out", stderr="", runtime_seconds=1.0)
    publish(run, str(tmp_path / "runs" / "case-1"))
    return tmp_path / "runs"


@pytest.fixture(params=["zip-local", "zip-moto", "tar-local", "tar-moto"])
def archive(request: pytest.FixtureRequest, runs: Path, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """The protocol and URL of the archive, and the options."""
    kind, _, server = request.param.partition("-")
    data = {"zip": _zip, "tar": _tar}[kind](runs)
    name = f"{uuid.uuid4().hex}.{kind}"
    if server == "local":
        (tmp_path / name).write_bytes(data)
        return f"{kind}://{{}}::file://{tmp_path / name}", {}
    store: Store = request.getfixturevalue(server)
    store.raw.put(name, data)
    return f"{kind}://{{}}::{store.url}/{name}", {"s3": store.storage_options}


def test_a_run_inside_an_archive_opens(archive: tuple[str, dict[str, Any]]) -> None:
    url, options = archive
    result = open_result(url.format("case-1"), storage_options=options)
    assert (result.success, result.stdout) == (True, "out")


def test_an_archive_is_read_and_listed(archive: tuple[str, dict[str, Any]]) -> None:
    url, options = archive
    inside = FsspecFileSystem.from_url(url.format("case-1"), **options)
    names = {f"zone-{number}.csv" for number in range(FILES)}
    assert names < set(inside.glob("", "*"))
    bare = FsspecFileSystem.from_url(url.format(""), **options)
    assert f"case-1/{min(names)}" in bare.glob("", "**/*.csv")
    assert bare.exists("case-1") is True and bare.exists("case-2") is False
    with pytest.raises(NotFoundError):
        inside.read_bytes("missing.csv")


def test_many_threads_read_an_archive(archive: tuple[str, dict[str, Any]]) -> None:
    url, options = archive
    fs = FsspecFileSystem.from_url(url.format("case-1"), **options)
    with ThreadPoolExecutor(16) as pool:
        read = list(pool.map(lambda number: fs.read_bytes(f"zone-{number}.csv"), range(FILES)))
    assert read == [bytes([number]) * 50_000 for number in range(FILES)]


def test_writing_into_an_archive_is_an_error_of_ours(archive: tuple[str, dict[str, Any]]) -> None:
    url, options = archive
    fs = FsspecFileSystem.from_url(url.format("case-1"), **options)
    for write in (
        lambda: fs.write_bytes("new.csv", b"1"),
        lambda: fs.remove("zone-1.csv"),
        lambda: fs.copy("zone-1.csv", "new.csv"),
    ):
        with pytest.raises(IdfkitFsError):
            write()
    assert fs.read_bytes("zone-1.csv") == bytes([1]) * 50_000 and fs.exists("new.csv") is False
