"""What must hold for any path, URL and pattern: found by hypothesis, not by us."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from idfkit_fs import LocalFileSystem
from idfkit_fs._fs.globbing import parse_glob
from idfkit_fs._fs.paths import Root
from idfkit_fs._util.urls import repair
from idfkit_fs.errors import LocationError

NAME = st.text(st.characters(blacklist_characters="/\\\0", blacklist_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)
PATH = st.lists(NAME, min_size=1, max_size=4).map("/".join)
WILD = st.lists(st.sampled_from(["a", "b", "..", ".", "", "c d", "..."]), max_size=6).map("/".join)
SCHEME = st.sampled_from(["s3", "gs", "abfs", "memory", "simplecache::s3", "filecache::gcs"])


def root(key: str = "bucket/study") -> Root:
    return Root(key, f"s3://{key}", ("s3", "s3a"), lambda url: url.partition("://")[2], False)


@given(SCHEME, PATH)
def test_repair_undoes_pathlib_and_repeats(scheme: str, path: str) -> None:
    assume(not path.startswith("."))
    url = f"{scheme}://{path}"
    collapsed = str(PurePosixPath(url))
    assert "://" not in collapsed
    assert repair(collapsed) == url
    assert repair(repair(collapsed)) == repair(url) == url


@given(st.text(max_size=30).filter(lambda text: "\0" not in text))
def test_repair_repeats(text: str) -> None:
    assert repair(repair(text)) == repair(text)


@given(WILD)
def test_key_never_leaves_the_root(path: str) -> None:
    try:
        key = root().to_key(path)
    except LocationError:
        assert ".." in path.split("/")
        return
    assert key == "bucket/study" or key.startswith("bucket/study/")
    assert ".." not in key.split("/")


@given(WILD, st.sampled_from(["s3://bucket", "s3:/bucket/study", "s3a://bucket/study", "s3://bucket/studio"]))
def test_key_of_a_url_never_leaves_the_root(path: str, base: str) -> None:
    try:
        key = root().to_key(f"{base}/{path}")
    except LocationError:
        return
    assert key == "bucket/study" or key.startswith("bucket/study/")
    assert ".." not in key.split("/")


@given(PATH)
def test_path_key_and_url_are_one(path: str) -> None:
    place = root()
    try:
        key = place.to_key(path)
    except LocationError:
        assume(False)
    assert place.relative(key) == path
    assert place.to_key(place.relative(key)) == key
    assert place.to_key(place.to_url(path)) == key
    assert place.to_key(str(PurePosixPath(place.to_url(path)))) == key


FILES = st.lists(st.sampled_from(["a", "b", "ab", "a.csv", "b.csv", ".h", "[a]", "c d"]), min_size=1, max_size=3).map(
    "/".join
)
PATTERN = st.lists(
    st.sampled_from(["*", "**", "?", "a*", "*.csv", "[ab]", "[!a]*", "a", "ab", "[[]a]"]), min_size=1, max_size=3
)


@settings(max_examples=40)
@given(st.sets(FILES, max_size=8), PATTERN)
def test_glob_matches_as_pathlib_does(files: set[str], segments: list[str]) -> None:
    assume(segments[-1] != "**")  # directories only, says pathlib before Python 3.13
    pattern = "/".join(segments)
    with tempfile.TemporaryDirectory() as directory:
        for file in sorted(files, key=len):
            path = Path(directory, file)
            if not any(parent.is_file() for parent in path.parents) and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        expected = {path.relative_to(directory).as_posix() for path in Path(directory).glob(pattern) if path.is_file()}
        assert LocalFileSystem(directory).glob("", pattern) == sorted(expected)


@given(st.text(st.sampled_from("a*?[]!/.-"), max_size=8), PATH)
def test_pattern_is_refused_or_decides(pattern: str, path: str) -> None:
    try:
        parsed = parse_glob(pattern)
    except LocationError:
        assert not pattern.strip("./") or pattern.startswith("/") or ".." in pattern.split("/")
        return
    assert parsed.matches(path) in (True, False)


@pytest.mark.skipif(os.name == "nt", reason="drive letters")
@given(PATH)
def test_local_path_is_taken_relative_or_absolute(path: str) -> None:
    fs = LocalFileSystem("/data/study")
    try:
        key = fs._root.to_key(path)
    except LocationError:
        assume(False)
    assert fs._root.to_key(f"/data/study/{path}") == key == f"/data/study/{path}"
