"""The ``idfkit-fs`` command, as a shell sees it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from support.command import run_command as idfkit_fs

from idfkit_fs import FsspecFileSystem


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A cache of three files of 1000 bytes, the last of which this process uses."""
    url = f"simplecache::memory://{uuid.uuid4().hex}"
    directory = tmp_path / "kept"
    fs = FsspecFileSystem.from_url(url, simplecache={"cache_storage": str(directory)})
    for name in ("a.sql", "b.sql", "c.sql"):
        fs.write_bytes(name, name.encode() * 200)
        fs.read_bytes(name)
    fs.local_path("c.sql")
    return directory


def test_info_says_where_and_how_much(filled: Path) -> None:
    shown = idfkit_fs("cache", "info", "--cache-storage", str(filled))
    assert shown.returncode == 0
    assert str(filled) in shown.stdout
    assert "3 (1 in use)" in shown.stdout
    told = json.loads(idfkit_fs("cache", "info", "--json", "--cache-storage", str(filled)).stdout)
    assert told["files"] == 3
    assert told["in_use"] == 1
    assert 3000 <= told["bytes"] < 4000


def test_info_of_a_cache_that_is_not_there_makes_none(tmp_path: Path) -> None:
    shown = idfkit_fs("cache", "info", "--cache-storage", str(tmp_path / "none"))
    assert shown.returncode == 0
    assert "0 B of 10.7 GB" in shown.stdout
    assert not (tmp_path / "none").exists()


def test_prune_leaves_what_was_used_last(filled: Path) -> None:
    done = idfkit_fs("cache", "prune", "--max-bytes", "2500", "--cache-storage", str(filled))
    assert done.returncode == 0
    assert "2 files" in done.stdout
    assert {path.name for path in filled.glob("entries/*/*/*.sql")} == {"b.sql", "c.sql"}


def test_clear_leaves_what_is_in_use(filled: Path) -> None:
    done = idfkit_fs("cache", "clear", "--cache-storage", str(filled))
    assert done.returncode == 0
    assert "1 of them in use" in done.stdout
    assert {path.name for path in filled.glob("entries/*/*/*.sql")} == {"c.sql"}


@pytest.mark.parametrize("size", ["lots", "-1", "2 apples"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    done = idfkit_fs("cache", "prune", f"--max-bytes={size}")
    assert done.returncode == 1
    assert size in done.stderr
    assert "Traceback" not in done.stderr


def test_an_open_directory_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    done = idfkit_fs("cache", "info", "--cache-storage", str(tmp_path))
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr
    assert "chmod go-w" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_shows_examples() -> None:
    assert "idfkit-fs cache prune --max-bytes 2GB" in idfkit_fs("cache", "--help").stdout
