"""Object keys that a path cannot name are never listed under another key's name."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.servers import Store

from idfkit_fs import FsspecFileSystem
from idfkit_fs._fs.paths import Root, is_nameable
from idfkit_fs.errors import LocationError

GOOD = ["a.csv", "deep/a.csv", "deep/er/a.csv"]
ODD = [
    *("/a.csv", "./a.csv", "../a.csv", "a\\b.csv", "deep//a.csv", "deep/./a.csv", "deep/../a.csv", "deep/er//a.csv"),
    *("deep/er/", "deep/er//", "empty/", "s3:/a.csv", "gs:/deep/a.csv"),
]


@pytest.fixture(params=["memory", "moto", "seaweed", "gcs"])
def filled(request: pytest.FixtureRequest) -> FsspecFileSystem:
    """A filesystem whose store holds every key that it accepted, with the key as content."""
    study = f"study-{uuid.uuid4().hex[:12]}"
    put: Callable[[str, bytes], object]
    if request.param == "memory":
        fs = FsspecFileSystem.from_url(f"memory://{study}")
        put = in_memory
    else:
        store: Store = request.getfixturevalue(request.param)
        fs = FsspecFileSystem.from_url(f"{store.url}/{study}", **store.storage_options)
        put = functools.partial(put_by_its_own_name, store)
    for key in [*ODD, *GOOD]:  # the good ones last: SeaweedFS puts some of the odd ones at their names
        try:
            put(f"{study}/{key}", key.encode())
        except Exception:  # noqa: BLE001 - each client has its own errors
            assert key in ODD  # the store itself refuses it
    return fs


def put_by_its_own_name(store: Store, key: str, data: bytes) -> None:
    """Put an object, and remove it if the server gives it another key, as SeaweedFS does for ``a\\b``."""
    store.raw.put(key, data)
    if key not in store.raw.keys(key.partition("/")[0]):
        store.raw.delete(key)


def in_memory(key: str, data: bytes) -> None:
    """Put a file that fsspec's own methods would put elsewhere."""
    fs = fsspec.filesystem("memory")
    fs.store[f"/{key}"] = MemoryFile(fs, f"/{key}", data)


@pytest.mark.parametrize(
    ("base", "pattern", "expected"),
    [
        ("", "*", ["a.csv"]),
        ("", "**", GOOD),
        ("", "**/*", GOOD),
        ("", "**/*.csv", GOOD),
        ("", "*/*", ["deep/a.csv"]),
        ("", "*/a.csv", ["deep/a.csv"]),
        ("deep", "*", ["deep/a.csv"]),
        ("deep", "**/*.csv", ["deep/a.csv", "deep/er/a.csv"]),
        ("deep/er", "*", ["deep/er/a.csv"]),
        ("deep/er", "**", ["deep/er/a.csv"]),
    ],
)
def test_a_key_is_listed_by_its_own_name_only(
    filled: FsspecFileSystem, base: str, pattern: str, expected: list[str]
) -> None:
    found = filled.glob(base, pattern)
    contents = {name: filled.read_bytes(name) for name in found}
    assert all(name.encode() == data for name, data in contents.items())
    assert found == expected


ROOTS = [
    Root("bucket/study", "s3://bucket/study", ("s3", "s3a"), lambda url: url.partition("://")[2], False),
    Root("/data/study", "file:///data/study", ("file", "local"), lambda url: url.partition("://")[2], True),
    Root("", "zip://", ("zip",), lambda url: url.partition("://")[2], False, (), "::s3://bucket/x.zip"),
]
NAME = st.one_of(
    st.lists(
        st.sampled_from(["a", "b.csv", "", ".", "..", "...", "s3:", "zip:", "a\\b", " ", "a::b", "~"]), min_size=1
    ).map("/".join),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12),
).filter(bool)


@settings(max_examples=300, deadline=None)
@given(NAME, st.sampled_from(ROOTS))
def test_a_name_is_nameable_if_it_means_its_own_key(name: str, root: Root) -> None:
    try:
        means_itself = root.to_key(name) == (f"{root.key}/{name}" if root.key else name)
    except LocationError:
        means_itself = False
    assert is_nameable(name) == means_itself
