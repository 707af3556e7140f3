"""idfkit's own filesystems under the same contract: what they keep, and the faults that the drop-ins fix."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar

import botocore.loaders
import pytest
from idfkit.simulation import AsyncLocalFileSystem, AsyncS3FileSystem, LocalFileSystem, S3FileSystem
from support.contracts import InDirectory, OnServer

from idfkit_fs.testing import AsyncFileSystemContract, FileSystemContract

BACKSLASH = "a Windows path is one odd name elsewhere"
LISTS_DIRECTORIES = "glob lists directories too, in no order"
LEAVES_BASE = "a glob pattern may climb out of its base"
NO_SUCH_KEY = "a missing key raises botocore's own class"
REMOVES_NOTHING = "removing what is not there says nothing"
ANY_KEY = "whatever was asked for becomes a key: dots, doubled slashes and backslashes stay in it"
# A session of botocore parses a megabyte of JSON again, and idfkit's async class makes one for each filesystem.
create_loader = functools.cache(botocore.loaders.create_loader)
CROSSES = "glob's * crosses directories, and **/ needs one; keys come in the store's order"


class MakingParents(LocalFileSystem):
    """idfkit asks for the directory before each write, and so do these tests; else there would be little to test."""

    def write_bytes(self, path: str | Path, data: bytes) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        super().write_bytes(path, data)

    def write_text(self, path: str | Path, text: str, encoding: str = "utf-8") -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        super().write_text(path, text, encoding)

    def copy(self, src: str | Path, dst: str | Path) -> None:
        Path(dst).parent.mkdir(parents=True, exist_ok=True)
        super().copy(src, dst)


class Local(InDirectory):
    has_directories = True
    is_rooted = False
    is_value = False
    takes_urls = False
    writes_whole = False  # writes into the very file that others read
    plain: Any
    deviations: ClassVar[dict[str, str]] = {
        "test_path_in_every_spelling[PureWindowsPath]": BACKSLASH,
        "test_path_in_every_spelling[backslashes]": BACKSLASH,
        "test_text_keeps_encoding_and_newlines": "text mode turns \\r\\n and \\r into \\n when reading",
        "test_parents_appear": "a write needs its directory to be there",
        "test_nothing_else_is_left": LISTS_DIRECTORIES,
        "test_makedirs": LISTS_DIRECTORIES,
        "test_copy_to_itself_changes_nothing": "shutil raises SameFileError",
        "test_glob": LISTS_DIRECTORIES,
        "test_glob_results_fit_every_method": LISTS_DIRECTORIES,
        "test_glob_pattern_stays_below_its_base[../*]": LEAVES_BASE,
        "test_glob_pattern_stays_below_its_base[sub/../../*]": LEAVES_BASE,
    }

    def making_parents(self) -> Any:
        raise NotImplementedError

    @pytest.fixture
    def fs(self, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
        monkeypatch.chdir(self.root)
        return self.plain() if request.node.name == "test_parents_appear" else self.making_parents()


class TestIdfkitLocal(Local, FileSystemContract):
    plain = LocalFileSystem

    def making_parents(self) -> Any:
        return MakingParents()


class TestIdfkitLocalAsync(Local, AsyncFileSystemContract):
    deviations: ClassVar[dict[str, str]] = {**Local.deviations, "test_many_at_once": LISTS_DIRECTORIES}
    plain = AsyncLocalFileSystem

    def making_parents(self) -> Any:
        fs = AsyncLocalFileSystem()
        fs._sync = MakingParents()
        return fs


class S3(OnServer):
    server = "moto"
    is_value = False
    takes_urls = False
    sees_directories = False
    own: Any
    deviations: ClassVar[dict[str, str]] = {
        "test_path_in_every_spelling[PureWindowsPath]": ANY_KEY,
        "test_path_in_every_spelling[backslashes]": ANY_KEY,
        "test_path_in_every_spelling[dots]": ANY_KEY,
        "test_path_in_every_spelling[doubled slash]": ANY_KEY,
        "test_path_cannot_leave_the_root": ANY_KEY,
        "test_root_is_no_file": ANY_KEY,
        "test_missing_file_raises": NO_SUCH_KEY,
        "test_missing_file_raises[remove]": REMOVES_NOTHING,
        "test_directory_is_no_file": NO_SUCH_KEY,
        "test_directory_is_no_file[remove]": REMOVES_NOTHING,
        "test_foreign_changes_are_seen_after": NO_SUCH_KEY,
        "test_copy_of_a_missing_file_keeps_the_target": NO_SUCH_KEY,
        "test_glob": CROSSES,
        "test_glob_results_fit_every_method": CROSSES,
        "test_glob_base_is_literal": CROSSES,
        "test_glob_pattern_stays_below_its_base": "any pattern is taken, and matches nothing",
        "test_remove": REMOVES_NOTHING,
    }

    @pytest.fixture
    def fs(self, place: str, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr("botocore.session.create_loader", create_loader)
        bucket, prefix = place.removeprefix("s3://").split("/", 1)
        return self.own(
            bucket,
            prefix,
            endpoint_url=self.store.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )


@pytest.mark.servers
class TestIdfkitS3(S3, FileSystemContract):
    own = S3FileSystem


@pytest.mark.servers
class TestIdfkitS3Async(S3, AsyncFileSystemContract):
    own = AsyncS3FileSystem
    deviations: ClassVar[dict[str, str]] = {**S3.deviations, "test_one_failure_of_many_leaves_the_others": NO_SUCH_KEY}
