"""zip and tar archives on a disk, on S3, and through the cache: read like any store, and never changed."""

from __future__ import annotations

import io
import pickle
import tarfile
import uuid
import zipfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import fsspec
import pytest
from idfkit.simulation import SimulationResult
from support.servers import Store

from idfkit_fs import FsspecFileSystem, open_result, publish
from idfkit_fs.errors import LocationError, NotFoundError, PublishError, UnsupportedError

CONTENT = {"study/a.csv": b"1", "study/zones/core.csv": b"2", "study/zones/a b.csv": b"3", "notes.txt": b"4"}


class Archive(NamedTuple):
    """An archive: what goes before and after the path inside, its options, and how to see its bytes."""

    prefix: str
    tail: str
    options: dict[str, object]
    file: Path | tuple[Store, str]

    def url(self, inside: str = "") -> str:
        return f"{self.prefix}{inside}{self.tail}"

    def put(self, data: bytes) -> None:
        if isinstance(self.file, Path):
            self.file.write_bytes(data)
        else:
            self.file[0].raw.put(self.file[1], data)

    def get(self) -> bytes:
        return self.file.read_bytes() if isinstance(self.file, Path) else self.file[0].raw.get(self.file[1])

    def adapter(self, inside: str = "") -> FsspecFileSystem:
        return FsspecFileSystem.from_url(self.url(inside), **self.options)


def packed(kind: str, content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, data in content.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture(params=["zip", "tar"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["local", "moto", "cached"])
def archive(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Archive:
    """An archive with `CONTENT` in it."""
    name = f"{uuid.uuid4().hex}.{kind}"
    if request.param == "local":
        made = Archive(f"{kind}://", f"::file://{tmp_path / name}", {}, tmp_path / name)
    else:
        moto: Store = request.getfixturevalue("moto")
        prefix = "simplecache::" if request.param == "cached" else ""
        options = {"s3": moto.storage_options}
        made = Archive(f"{prefix}{kind}://", f"::{moto.url}/{name}", options, (moto, name))
    made.put(packed(kind, CONTENT))
    return made


def test_files_are_read(archive: Archive) -> None:
    fs = archive.adapter("study")
    assert fs.read_bytes("a.csv") == fs.fetch("a.csv") == b"1"
    assert fs.read_text("zones/a b.csv") == "3"
    assert fs.read_ranges("zones/core.csv", [(0, 1)]) == [b"2"]
    assert (fs.exists("zones"), fs.exists("zones/core.csv"), fs.exists("notes.txt")) == (True, True, False)
    assert fs.local_path("zones/core.csv").read_bytes() == b"2"
    with fs.open("a.csv") as file:
        assert file.read() == b"1"
    with pytest.raises(NotFoundError):
        fs.read_bytes("missing.csv")


def test_files_are_listed(archive: Archive) -> None:
    fs = archive.adapter("study")
    assert fs.glob("", "*.csv") == ["a.csv"]
    assert fs.glob("", "**/*.csv") == ["a.csv", "zones/a b.csv", "zones/core.csv"]
    assert fs.glob("zones", "c*") == ["zones/core.csv"]
    assert fs.glob("missing", "*") == []


def test_the_archive_itself_may_be_the_root(archive: Archive) -> None:
    fs = archive.adapter()
    assert fs.read_bytes("notes.txt") == b"4"
    assert fs.glob("", "*") == ["notes.txt"]
    assert fs.glob("", "**/*") == sorted(CONTENT)
    assert fs.joinpath("study").read_bytes("a.csv") == b"1"


def test_the_url_comes_back_and_leads_there(archive: Archive) -> None:
    fs = archive.adapter("study")
    url = fs.url("zones/a b.csv")
    assert url.endswith(f"zip://study/zones/a b.csv{archive.tail}") or "tar://study/zones/a b.csv::" in url
    assert fs.read_bytes(url) == b"3"
    with fsspec.open(url, **fs.storage_options) as file:
        assert file.read() == b"3"
    assert FsspecFileSystem.from_url(fs.url("zones"), **fs.storage_options).read_bytes("core.csv") == b"2"


def test_paths_that_pathlib_joined_to_the_url(archive: Archive) -> None:
    fs = archive.adapter("study")
    assert fs.read_bytes(PurePosixPath(fs.url()) / "zones" / "core.csv") == b"2"
    assert fs.read_bytes(f"{fs.url()}/a.csv") == b"1"
    (found,) = fs.glob(PurePosixPath(fs.url()) / "zones", "c*")
    assert fs.read_bytes(found) == b"2"
    with pytest.raises(LocationError):
        fs.read_bytes(f"{fs.url()}/../notes.txt")


def test_pickle(archive: Archive) -> None:
    fs = archive.adapter("study")
    again = pickle.loads(pickle.dumps(fs))
    assert (again.url(), again.read_bytes("a.csv")) == (fs.url(), b"1")


def test_writes_are_refused_and_change_nothing(archive: Archive, tmp_path: Path, local_run: SimulationResult) -> None:
    before = archive.get()
    fs = archive.adapter("study")
    local = tmp_path / "local.csv"
    local.write_bytes(b"new")
    for write in (
        lambda: fs.write_bytes("a.csv", b"new"),
        lambda: fs.write_text("new/er/b.csv", "new"),
        lambda: fs.create_exclusive("b.csv", b"new"),
        lambda: fs.upload(local, "b.csv"),
        lambda: fs.copy("a.csv", "b.csv"),
        lambda: fs.remove("a.csv"),
    ):
        with pytest.raises(UnsupportedError, match="The backend does not support this operation"):
            write()
    with pytest.raises(PublishError, match="The backend does not support this operation"):
        publish(local_run, archive.url("study/run"), storage_options=archive.options)
    with pytest.raises(UnsupportedError), fs.open("b.csv", "wb") as file:
        file.write(b"new")
    assert archive.get() == before
    assert archive.adapter().glob("", "**/*") == sorted(CONTENT)


def test_a_run_is_opened(archive: Archive, kind: str, local_run: SimulationResult, tmp_path: Path) -> None:
    directory = tmp_path / "published"
    publish(local_run, directory / "case")
    archive.put(
        packed(kind, {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()})
    )
    result = open_result(archive.url("case"), storage_options=archive.options)
    there = open_result(directory / "case")
    assert result.success and result.record == there.record
    assert result.sql is not None and there.sql is not None
    assert result.sql.list_variables() == there.sql.list_variables()


def test_a_missing_archive(kind: str, moto: Store, tmp_path: Path) -> None:
    for where, options in ((f"file://{tmp_path}", {}), (moto.url, {"s3": moto.storage_options})):
        with pytest.raises(NotFoundError):
            FsspecFileSystem.from_url(f"{kind}://study::{where}/missing.{kind}", **options).read_bytes("a.csv")


def test_a_file_that_is_no_archive(kind: str, tmp_path: Path) -> None:
    (tmp_path / f"a.{kind}").write_bytes(b"text")
    with pytest.raises(OSError, match=f"a.{kind}|{kind}") as caught:
        FsspecFileSystem.from_url(f"{kind}://study::file://{tmp_path}/a.{kind}").read_bytes("a.csv")
    assert type(caught.value).__module__ == "idfkit_fs.errors"
