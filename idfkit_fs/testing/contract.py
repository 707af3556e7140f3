"""What every filesystem must do, asserted through the nine methods of idfkit's protocol."""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, ClassVar, TypeVar

import pytest

__all__ = ["FileSystemContract"]

T = TypeVar("T")
_PATIENCE = 300.0  # seconds, after which another process hangs, however slow the machine is

NAMES = (
    "with space.csv",
    "hash#1.csv",
    "percent%20.csv",
    "percent%zz.csv",
    "question?.csv",
    "query?a=b.csv",
    "[1].csv",
    "star*.csv",
    "plus+.csv",
    "amp&.csv",
    "équerre-東京.csv",
    "quote'.csv",
    "brace{0}.csv",
    "at@2.csv",
    "equals=;comma,.csv",
    "colon:1.csv",
    "tilde~$.csv",
    ".hidden",
    "no-suffix",
)

# Every method that takes a path, so that a rule about paths is a rule about all of them.
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "read_bytes": lambda files, path: files.read_bytes(path),
    "read_text": lambda files, path: files.read_text(path),
    "write_bytes": lambda files, path: files.write_bytes(path, b"x"),
    "write_text": lambda files, path: files.write_text(path, "x"),
    "exists": lambda files, path: files.exists(path),
    "makedirs": lambda files, path: files.makedirs(path, exist_ok=True),
    "copy-from": lambda files, path: files.copy(path, "copied.txt"),
    "copy-to": lambda files, path: files.copy("kept.txt", path),
    "glob": lambda files, path: files.glob(path, "*"),
    "remove": lambda files, path: files.remove(path),
}
READS = ("read_bytes", "read_text", "copy-from", "remove")

TREE = ("b.csv", "a.csv", "ab.csv", "B.txt", ".h.csv", "sub/c.csv", "sub/deep/d.csv", "sub-2/e.csv", "z/deep/f.csv")
PATTERNS = {
    "*": (".h.csv", "B.txt", "a.csv", "ab.csv", "b.csv"),
    "*.csv": (".h.csv", "a.csv", "ab.csv", "b.csv"),
    "?.csv": ("a.csv", "b.csv"),
    "[ab].csv": ("a.csv", "b.csv"),
    "[!a].csv": ("b.csv",),
    "a*": ("a.csv", "ab.csv"),
    "a.csv": ("a.csv",),
    "missing.csv": (),
    "sub": (),
    "sub/*": ("sub/c.csv",),
    "sub*/*.csv": ("sub-2/e.csv", "sub/c.csv"),
    "*/deep/*": ("sub/deep/d.csv", "z/deep/f.csv"),
    "**/*.csv": (
        ".h.csv",
        "a.csv",
        "ab.csv",
        "b.csv",
        "sub-2/e.csv",
        "sub/c.csv",
        "sub/deep/d.csv",
        "z/deep/f.csv",
    ),
    "**/deep/*": ("sub/deep/d.csv", "z/deep/f.csv"),
    "sub/**/*.csv": ("sub/c.csv", "sub/deep/d.csv"),
}

# Ways to write a path; each must mean the same file to every method.
SPELLINGS: dict[str, Callable[[FileSystemContract, Any, str], Any]] = {
    "str": lambda _contract, _fs, path: path,
    "Path": lambda _contract, _fs, path: Path(path),
    "PurePosixPath": lambda _contract, _fs, path: PurePosixPath(path),
    "PureWindowsPath": lambda _contract, _fs, path: PureWindowsPath(path),
    "backslashes": lambda _contract, _fs, path: path.replace("/", "\\"),
    "dots": lambda _contract, _fs, path: f"./x/../{path}",
    "doubled slash": lambda _contract, _fs, path: path.replace("/", "//"),
    "absolute": lambda contract, fs, path: contract.absolute(fs, path),
}
URL_SPELLINGS: dict[str, Callable[[str], Any]] = {
    "str": lambda url: url,
    "in Path": Path,
    "collapsed": lambda url: str(PurePosixPath(url)),
}


def needs(*flags: str) -> Callable[[T], T]:
    """Mark a test that needs all of these flags of its class."""

    def mark(test: T) -> T:
        vars(test)["needed_flags"] = flags
        return test

    return mark


def call(fs: Any, method: str, *args: Any) -> Any:
    """Call a method of a sync or an async filesystem without fixtures, as in another process."""

    async def main() -> Any:
        async with fs if hasattr(fs, "__aenter__") else nullcontext(fs) as entered:
            return await getattr(entered, method)(*args)

    is_async = inspect.iscoroutinefunction(getattr(fs, method))
    return asyncio.run(main()) if is_async else getattr(fs, method)(*args)


class FileSystemContract:
    """Tests that every sync filesystem passes. Subclass it, and give it the hooks below.

    The filesystem under test must be empty and not used by other tests: make a new root for each test.

    Attributes:
        has_directories: The store has real directories: ``makedirs`` creates one that ``exists`` sees, and refuses to
            create it twice. Object stores only have keys.
        sees_directories: ``exists`` is True for a directory that is not empty.
        has_markers: A key that ends in a slash can be stored; some tools mark an empty directory with one.
        is_rooted: Paths stay below a root, and other URLs are refused. False for a filesystem that takes any path of
            the machine.
        takes_urls: A full URL below the root is a path; see the hook ``url``.
        visible_at_once: Every other client sees a write as soon as it returns.
        sees_foreign_changes: Writes and deletions by other clients are seen immediately.
        writes_whole: A reader sees the old bytes or the new while a file is replaced, never a part, nor a missing file.
        is_value: Can be pickled; equal, with the same hash, when the store, the root and the options are.
        is_shared: Another process that unpickles the filesystem sees the same files. False for stores in memory.
        may_fork: Works in a forked child (and is tested there).
        unfit_characters: Characters that a name cannot contain on this store.
        secrets: Texts that must never be shown, such as the password in use.
        deviations: Known faults, as test name (with or without its ``[parameters]``) and reason. Each of these tests
            must fail, so that the entry is removed when the fault is.
    """

    has_directories: ClassVar[bool] = False
    sees_directories: ClassVar[bool] = True
    has_markers: ClassVar[bool] = False
    is_rooted: ClassVar[bool] = True
    takes_urls: ClassVar[bool] = True
    visible_at_once: ClassVar[bool] = True
    sees_foreign_changes: ClassVar[bool] = True
    writes_whole: ClassVar[bool] = True
    is_value: ClassVar[bool] = True
    is_shared: ClassVar[bool] = True
    may_fork: ClassVar[bool] = True
    unfit_characters: ClassVar[str] = ""
    secrets: ClassVar[tuple[str, ...]] = ()
    deviations: ClassVar[Mapping[str, str]] = {}

    # Hooks.

    @pytest.fixture
    def fs(self) -> Any:
        """The filesystem under test."""
        raise NotImplementedError(f"{type(self).__name__} must define the fixture 'fs'")

    def put_raw(self, key: str, data: bytes) -> None:
        """Write a file behind the filesystem's back.

        Args:
            key: Path of the file, relative to the root.
            data: Its bytes.
        """
        raise NotImplementedError

    def get_raw(self, key: str) -> bytes:
        """Read a file behind the filesystem's back.

        Args:
            key: Path of the file, relative to the root.

        Returns:
            Its bytes.
        """
        raise NotImplementedError

    def delete_raw(self, key: str) -> None:
        """Delete a file behind the filesystem's back.

        Args:
            key: Path of the file, relative to the root.
        """
        raise NotImplementedError

    def url(self, fs: Any, path: str) -> str:
        """The full URL of a path below the root.

        Args:
            fs: The filesystem under test.
            path: Relative to the root; empty for the root itself.
        """
        url: str = fs.url(path)
        return url

    def absolute(self, fs: Any, path: str) -> str:  # noqa: ARG002 - a hook, whose overrides may need it
        """The path with a leading slash: for most stores the root follows, for a local one the root's own path."""
        return f"/{path}"

    # What the tests use.

    @pytest.fixture
    def files(self, fs: Any) -> Any:
        """The filesystem's methods as blocking calls; a sync filesystem has them already."""
        return fs

    @pytest.fixture(autouse=True)
    def _expect_deviations(self, request: pytest.FixtureRequest) -> None:
        node = request.node
        reason = self.deviations.get(node.name) or self.deviations.get(node.originalname)
        if reason:
            node.add_marker(pytest.mark.xfail(reason=reason, strict=True))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in dir(cls):
            if not all(getattr(cls, flag) for flag in getattr(getattr(cls, name), "needed_flags", ())):
                setattr(cls, name, None)  # pytest collects no None
        for name in cls.deviations:
            if getattr(cls, name.partition("[")[0], None) is None:
                raise TypeError(f"{cls.__name__}.deviations names no test: {name!r}")

    def _fit(self, name: str) -> str:
        for character in self.unfit_characters:
            if character in name:
                pytest.skip(f"the store cannot have {character!r} in a name")
        return name

    # Paths.

    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_path_in_every_spelling(self, fs: Any, files: Any, spelling: str) -> None:
        self._live(files, "case-1/zones/core.csv", lambda path: SPELLINGS[spelling](self, fs, path))

    @needs("takes_urls")
    @pytest.mark.parametrize("spelling", URL_SPELLINGS)
    def test_url_in_every_spelling(self, fs: Any, files: Any, spelling: str) -> None:
        self._live(files, "case-1/zones/core.csv", lambda path: URL_SPELLINGS[spelling](self.url(fs, path)))

    @pytest.mark.parametrize("name", NAMES)
    def test_name_is_literal(self, files: Any, name: str) -> None:
        self._live(files, f"{self._fit(name)}/{name}")

    @needs("takes_urls")
    @pytest.mark.parametrize("name", NAMES)
    def test_name_in_a_url_is_literal(self, fs: Any, files: Any, name: str) -> None:
        files.write_bytes(self.url(fs, f"{self._fit(name)}/{name}"), b"1")
        assert self.get_raw(f"{name}/{name}") == b"1"
        assert [files.read_bytes(path) for path in files.glob(self.url(fs, name), "*")] == [b"1"]
        assert files.exists(self.url(fs, f"{name}/{name}")) is True

    def _live(self, files: Any, path: str, spell: Callable[[str], Any] = lambda path: path) -> None:
        """Take a file from its making to its end through every method, beside one that a wildcard would match."""
        directory = path.rpartition("/")[0]
        twin = re.sub(r"\[1\]|[*?]", "1", path)
        if twin != path:
            files.write_bytes(twin, b"twin")
        assert files.exists(spell(path)) is False
        files.makedirs(spell(directory), exist_ok=True)
        files.write_bytes(spell(path), b"bytes")
        assert self.get_raw(path) == b"bytes"
        assert files.read_bytes(path) == files.read_bytes(spell(path)) == b"bytes"
        files.write_text(spell(path), "text")
        assert files.read_text(spell(path)) == "text"
        assert files.exists(spell(path)) is True
        assert files.exists(spell(directory)) is self.sees_directories
        files.copy(spell(path), spell(f"{path}.copy"))
        assert self.get_raw(f"{path}.copy") == b"text"
        assert [files.read_text(found) for found in files.glob(spell(directory), "*")] == ["text", "text"]
        self.put_raw(f"{path}.raw", b"raw")
        assert files.read_bytes(spell(f"{path}.raw")) == b"raw"
        files.remove(spell(f"{path}.raw"))
        files.remove(spell(f"{path}.copy"))
        files.remove(spell(path))
        assert files.exists(spell(path)) is False
        if twin != path:
            assert files.read_bytes(twin) == b"twin"

    @needs("is_rooted")
    @pytest.mark.parametrize("call", CALLS)
    def test_path_cannot_leave_the_root(self, files: Any, call: str) -> None:
        for path in ("../outside.txt", "a/../../outside.txt", "..", "..\\outside.txt", "/../outside.txt"):
            with pytest.raises(ValueError):
                CALLS[call](files, path)

    @needs("is_rooted", "takes_urls")
    @pytest.mark.parametrize("call", CALLS)
    def test_foreign_url_is_refused(self, fs: Any, files: Any, call: str) -> None:
        root = self.url(fs, "")
        scheme, _, place = root.partition("://")
        slash = "/" if place.startswith("/") else ""
        bucket = f"{scheme}://{slash}foreign-{place.lstrip('/')}"
        other = "sftp" if scheme == "ftp" else "ftp"
        for foreign in (f"{other}://{place}", f"{other}:/{place}", bucket, f"{root}-2", f"{root}/.."):
            with pytest.raises(ValueError):
                CALLS[call](files, f"{foreign}/x.txt")

    @pytest.mark.parametrize("call", ["write_bytes", "read_bytes", "remove"])
    def test_root_is_no_file(self, files: Any, call: str) -> None:
        files.write_bytes("kept.txt", b"kept")
        with pytest.raises((ValueError, OSError)):
            CALLS[call](files, "")
        assert self.get_raw("kept.txt") == b"kept"

    # Reading and writing.

    @pytest.mark.parametrize("call", READS)
    def test_missing_file_raises(self, files: Any, call: str) -> None:
        files.write_bytes("case-10/eplus.csv", b"x")
        for path in ("missing.txt", "missing/missing.txt", "case-1"):
            with pytest.raises(FileNotFoundError) as caught:
                CALLS[call](files, path)
            assert str(caught.value.filename).replace("\\", "/").endswith(path)

    @pytest.mark.parametrize("call", READS)
    def test_directory_is_no_file(self, files: Any, call: str) -> None:
        files.write_bytes("case-1/eplus.csv", b"x")
        with pytest.raises(OSError):
            CALLS[call](files, "case-1")
        assert self.get_raw("case-1/eplus.csv") == b"x"

    @pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
    def test_text_keeps_encoding_and_newlines(self, files: Any, encoding: str) -> None:
        text = "21 °C\r\nsecond\nthird\r\x0b\x0c end \n\n"
        files.write_text("notes.txt", text, encoding=encoding)
        assert self.get_raw("notes.txt") == text.encode(encoding)
        assert files.read_text("notes.txt", encoding=encoding) == text

    def test_text_is_utf8_unless_told(self, files: Any) -> None:
        files.write_text("notes.txt", "°")
        assert self.get_raw("notes.txt") == "°".encode()
        self.put_raw("latin.txt", b"\xb0")
        with pytest.raises(UnicodeDecodeError):
            files.read_text("latin.txt")

    @pytest.mark.parametrize(
        "data", [b"", b"\x00\xff\r\n", bytes(range(256)) * 12_288], ids=["empty", "binary", "3 MB"]
    )
    def test_bytes_come_back(self, files: Any, data: bytes) -> None:
        files.write_bytes("case-1/eplus.sql", data)
        assert self.get_raw("case-1/eplus.sql") == data
        assert files.read_bytes("case-1/eplus.sql") == data
        assert files.exists("case-1/eplus.sql") is True

    def test_overwriting_replaces(self, files: Any) -> None:
        for data in (b"first and longer", b"second", b"", b"third"):
            files.write_bytes("case-1/eplus.sql", data)
            assert self.get_raw("case-1/eplus.sql") == data
            assert files.read_bytes("case-1/eplus.sql") == data

    def test_parents_appear(self, files: Any) -> None:
        files.write_text("a/b/c/d.txt", "x")
        files.copy("a/b/c/d.txt", "e/f/g.txt")
        assert self.get_raw("e/f/g.txt") == b"x"

    def test_nothing_else_is_left(self, files: Any) -> None:
        files.write_bytes("case-1/a", b"1")
        files.write_bytes("case-1/a", b"2")
        files.copy("case-1/a", "case-1/b")
        assert files.glob("", "**/*") == ["case-1/a", "case-1/b"]

    @needs("writes_whole")
    def test_reader_never_sees_a_part(self, files: Any) -> None:
        versions = [bytes([number]) * 400_000 for number in (1, 2)]
        files.write_bytes("eplus.sql", versions[0])

        def write(number: int) -> None:
            files.write_bytes("eplus.sql", versions[number % 2])

        with ThreadPoolExecutor(2) as pool:
            writes = pool.map(write, range(10))
            reads = list(pool.map(lambda _number: files.read_bytes("eplus.sql"), range(10)))
            list(writes)
        assert all(read in versions for read in reads)

    # What other clients see, and what is seen of them.

    @needs("visible_at_once")
    def test_writes_are_seen_at_once(self, files: Any) -> None:
        files.write_bytes("case-1/a.csv", b"1")
        assert self.get_raw("case-1/a.csv") == b"1"
        files.write_bytes("case-1/a.csv", b"2")
        assert self.get_raw("case-1/a.csv") == b"2"
        files.remove("case-1/a.csv")
        with pytest.raises(Exception):  # noqa: B017 - whatever the raw client says of a missing file
            self.get_raw("case-1/a.csv")

    @needs("sees_foreign_changes")
    @pytest.mark.parametrize("pattern", ["", "*", "**/*"], ids=["exists", "glob", "recursive glob"])
    def test_foreign_changes_are_seen_after(self, files: Any, pattern: str) -> None:
        """Look, let another client change what was seen, and look again."""

        def look() -> None:
            for path in ("case-1/a.csv", "case-1", "", "case-2"):
                files.glob(path, pattern) if pattern else files.exists(path)

        files.write_bytes("case-1/kept.csv", b"kept")
        look()
        self.put_raw("case-1/a.csv", b"1")
        assert files.exists("case-1/a.csv") is True
        assert files.glob("case-1", "*.csv") == files.glob("case-1", "**/*.csv") == ["case-1/a.csv", "case-1/kept.csv"]
        assert files.read_bytes("case-1/a.csv") == b"1"
        look()
        self.put_raw("case-1/a.csv", b"longer than before")
        assert files.read_bytes("case-1/a.csv") == b"longer than before"
        look()
        self.delete_raw("case-1/a.csv")
        assert files.exists("case-1/a.csv") is False
        assert files.glob("case-1", "*.csv") == files.glob("case-1", "**/*.csv") == ["case-1/kept.csv"]
        with pytest.raises(FileNotFoundError):
            files.read_bytes("case-1/a.csv")
        look()
        self.put_raw("case-2/b.csv", b"2")
        assert files.exists("case-2") is self.sees_directories
        assert files.glob("case-2", "*") == ["case-2/b.csv"]

    def test_own_changes_are_seen_after_a_look(self, files: Any) -> None:
        files.write_bytes("case-1/a.csv", b"1")
        assert files.glob("case-1", "*") == ["case-1/a.csv"]
        files.write_bytes("case-1/b.csv", b"2")
        files.copy("case-1/b.csv", "case-1/c.csv")
        assert files.exists("case-1/b.csv") is files.exists("case-1/c.csv") is True
        assert files.glob("case-1", "*") == ["case-1/a.csv", "case-1/b.csv", "case-1/c.csv"]
        files.remove("case-1/a.csv")
        assert files.exists("case-1/a.csv") is False
        assert files.glob("case-1", "*") == ["case-1/b.csv", "case-1/c.csv"]

    # exists

    def test_exists(self, files: Any) -> None:
        assert files.exists("case-10/eplus.csv") is False
        files.write_bytes("case-10/zones/eplus.csv", b"x")
        assert files.exists("case-10/zones/eplus.csv") is True
        directories = ["case-10/zones", "case-10", "case-10/", ""]
        assert [files.exists(path) for path in directories] == [self.sees_directories] * len(directories)
        missing = ["case-1", "case", "case-10/zone", "case-10/zones/eplus", "case-10/zones/eplus.csv.bak", "zones"]
        assert [files.exists(path) for path in missing] == [False] * len(missing)

    def test_file_is_no_directory(self, files: Any) -> None:
        files.write_bytes("case-1", b"x")
        assert files.exists("case-1/eplus.csv") is False
        assert files.glob("case-1", "*") == files.glob("case-1", "**/*") == []

    # makedirs

    def test_makedirs(self, files: Any) -> None:
        files.makedirs("a/b/c")
        files.makedirs("a/b/c", exist_ok=True)
        files.write_bytes("a/b/c/d.txt", b"x")
        files.makedirs("a/b", exist_ok=True)
        assert files.glob("", "**/*") == ["a/b/c/d.txt"]

    @needs("has_directories")
    def test_makedirs_makes_real_ones(self, files: Any) -> None:
        files.makedirs("a/b")
        assert files.exists("a/b") is True
        with pytest.raises(FileExistsError):
            files.makedirs("a/b")
        files.write_bytes("file", b"x")
        with pytest.raises(OSError):
            files.makedirs("file", exist_ok=True)

    # copy

    def test_copy(self, files: Any) -> None:
        files.write_bytes("a.csv", b"1")
        files.write_bytes("b.csv", b"old and longer")
        for target in ("b.csv", "new/c.csv", Path("d.csv")):
            files.copy(Path("a.csv"), target)
            assert files.read_bytes(target) == b"1"
        assert files.read_bytes("a.csv") == b"1"

    def test_copy_to_itself_changes_nothing(self, files: Any) -> None:
        files.write_bytes("a.csv", b"1")
        files.copy("a.csv", "./a.csv")
        assert files.read_bytes("a.csv") == b"1"

    def test_copy_of_a_missing_file_keeps_the_target(self, files: Any) -> None:
        files.write_bytes("b.csv", b"1")
        with pytest.raises(FileNotFoundError):
            files.copy("missing.csv", "b.csv")
        assert files.read_bytes("b.csv") == b"1"

    def test_copy_is_independent(self, files: Any) -> None:
        files.write_bytes("a.csv", b"1")
        files.copy("a.csv", "b.csv")
        files.write_bytes("a.csv", b"2")
        assert files.read_bytes("b.csv") == b"1"

    # glob

    @pytest.mark.parametrize("base", ["", "case [1]"])
    def test_glob(self, files: Any, base: str) -> None:
        prefix = f"{base}/" if base else ""
        for key in TREE:
            self.put_raw(prefix + key, key.encode())
        found = {pattern: files.glob(base, pattern) for pattern in PATTERNS}
        assert found == {pattern: [prefix + key for key in keys] for pattern, keys in PATTERNS.items()}
        assert [files.read_text(path) for path in found["**/*.csv"]] == list(PATTERNS["**/*.csv"])

    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_glob_results_fit_every_method(self, fs: Any, files: Any, spelling: str) -> None:
        self._glob_and_use(files, SPELLINGS[spelling](self, fs, "case-1"))

    @needs("takes_urls")
    @pytest.mark.parametrize("spelling", URL_SPELLINGS)
    def test_glob_results_of_a_url_fit_every_method(self, fs: Any, files: Any, spelling: str) -> None:
        self._glob_and_use(files, URL_SPELLINGS[spelling](self.url(fs, "case-1")))

    def _glob_and_use(self, files: Any, base: Any) -> None:
        files.write_bytes("case-1/zones/a.csv", b"1")
        files.write_bytes("case-1/b.csv", b"1")
        assert len(files.glob(base, "*")) == len(files.glob(base, "zones/*")) == 1
        found = files.glob(base, "**/*")
        assert found == sorted([*files.glob(base, "*"), *files.glob(base, "zones/*")])
        for path in found:
            assert type(path) is str
            assert files.exists(Path(path)) is True
            assert files.read_bytes(path) == b"1"
            files.copy(path, f"{path}.copy")
            files.write_bytes(path, b"2")
            files.remove(path)
        assert files.glob("", "**/*") == ["case-1/b.csv.copy", "case-1/zones/a.csv.copy"]

    @pytest.mark.parametrize("base", ["missing", "case", "case-1/a.csv", "case-1/missing/deeper"])
    def test_glob_of_a_missing_directory_is_empty(self, files: Any, base: str) -> None:
        files.write_bytes("case-1/a.csv", b"x")
        assert files.glob(base, "*") == files.glob(base, "**/*") == files.glob(base, "sub/*") == []

    def test_glob_base_is_literal(self, files: Any) -> None:
        for directory in ("case [1]", "case 1", "case-1", "case-12"):
            files.write_bytes(f"{directory}/a.csv", b"x")
        assert files.glob("case [1]", "*") == files.glob("case [1]", "**/*") == ["case [1]/a.csv"]
        assert files.glob("case-1", "*") == files.glob("case-1", "**/*") == ["case-1/a.csv"]
        assert files.glob("case ?", "*") == files.glob("case*", "**/*") == []

    @pytest.mark.parametrize("pattern", ["", "/a.csv", "../*", "sub/../../*"])
    def test_glob_pattern_stays_below_its_base(self, files: Any, pattern: str) -> None:
        with pytest.raises((ValueError, NotImplementedError)):
            files.glob("case-1", pattern)

    @needs("has_markers")
    def test_directory_marker_is_no_file(self, files: Any) -> None:
        self.put_raw("case-1/", b"")
        self.put_raw("case-1/zones/", b"")
        assert files.glob("case-1", "*") == files.glob("", "**/*") == []
        self.put_raw("case-1/zones/a.csv", b"x")
        assert files.exists("case-1") is files.exists("case-1/zones") is self.sees_directories
        assert files.glob("case-1", "*") == []
        assert files.glob("", "**/*") == ["case-1/zones/a.csv"]

    # remove

    def test_remove(self, files: Any) -> None:
        for path in ("case-1/a", "case-1/ab", "case-1/a.csv"):
            files.write_bytes(path, b"x")
        files.remove(Path("case-1/a"))
        assert files.exists("case-1/a") is False
        assert files.glob("case-1", "*") == ["case-1/a.csv", "case-1/ab"]
        with pytest.raises(FileNotFoundError):
            files.remove("case-1/a")

    # As an object.

    def test_satisfies_the_protocol(self, fs: Any) -> None:
        from idfkit.simulation import FileSystem

        assert isinstance(fs, FileSystem)

    @needs("is_value")
    def test_pickle_round_trip(self, fs: Any, files: Any) -> None:
        files.write_bytes("a.csv", b"1")
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            other = pickle.loads(pickle.dumps(fs, protocol))
            assert other == fs
            assert hash(other) == hash(fs)
            assert repr(other) == repr(fs)
        assert fs != object()

    def test_repr_shows_no_secret(self, fs: Any) -> None:
        for secret in self.secrets:
            assert secret not in repr(fs)
            assert secret not in str(fs)

    def test_threads(self, files: Any) -> None:
        def work(number: int) -> None:
            own = f"case-{number}/eplus.csv"
            for turn in range(3):
                files.write_bytes(own, b"%d" % (number * turn))
                assert files.read_bytes(own) == b"%d" % (number * turn)
                assert files.exists(own) is True
                assert files.glob(f"case-{number}", "*") == [own]
            files.remove(own)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert files.glob("", "**/*.csv") == []

    @needs("writes_whole")
    def test_threads_write_one_file(self, files: Any) -> None:
        def work(_: int) -> None:
            files.write_bytes("shared/eplus.csv", b"shared")
            assert files.read_bytes("shared/eplus.csv") == b"shared"

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(24)))
        assert files.glob("", "**/*.csv") == ["shared/eplus.csv"]

    def test_in_a_running_event_loop(self, files: Any) -> None:
        """As in a notebook, where a loop runs already."""

        async def cell() -> bytes:
            files.write_bytes("a.csv", b"1")
            data: bytes = files.read_bytes("a.csv")
            assert files.glob("", "*") == ["a.csv"]
            return data

        assert asyncio.run(cell()) == b"1"

    @needs("may_fork")
    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork on this system")
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_after_fork(self, fs: Any, files: Any) -> None:
        files.write_bytes("parent.csv", b"parent")

        def child() -> None:
            assert call(fs, "read_bytes", "parent.csv") == b"parent"
            call(fs, "write_bytes", "child.csv", b"child")
            assert call(fs, "read_bytes", "child.csv") == b"child"

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join(_PATIENCE)
        if process.is_alive():
            process.kill()
            pytest.fail("the forked child hangs")
        assert process.exitcode == 0
        assert files.read_bytes("parent.csv") == b"parent"
        if self.is_shared:
            assert files.read_bytes("child.csv") == b"child"

    @needs("is_value", "is_shared")
    def test_in_another_process(self, fs: Any, files: Any) -> None:
        files.write_bytes("parent.csv", b"parent")
        program = (
            "import os, pickle, sys\n"
            "from idfkit_fs.testing.contract import call\n"
            "fs = pickle.load(sys.stdin.buffer)\n"
            "call(fs, 'write_bytes', 'child.csv', call(fs, 'read_bytes', 'parent.csv') + b' child')\n"
            # Threads of a filesystem's own, such as obstore's, may abort an interpreter that shuts down.
            "os._exit(0)\n"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=pickle.dumps(fs),
            capture_output=True,
            env=environment,
            timeout=_PATIENCE,
        )
        assert done.returncode == 0, done.stderr.decode()
        assert files.read_bytes("child.csv") == b"parent child"
