"""The table of stores says what the contract suites found and what the package does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import fsspec
from _fs.test_contract_azure import Azure
from _fs.test_contract_gcs import Gcs
from _fs.test_contract_local import Local, Memory
from _fs.test_contract_s3 import Moto, Obstore, Rclone, Seaweed, SimpleCache
from _fs.test_contract_sftp_ftp import Files, Ftp
from custom_backend import SqliteFileSystem
from fsspec.spec import AbstractFileSystem
from support.servers import AZURE_KEY
from test_custom_backend import Sqlite

from idfkit_fs import FsspecFileSystem
from idfkit_fs._stores.backends import in_memory, is_local
from idfkit_fs._stores.conditional import conditional_object
from idfkit_fs._stores.removal import batches_of
from idfkit_fs._stores.threads import one_at_a_time
from idfkit_fs.testing import FileSystemContract

PAGE = Path(__file__).parents[2] / "docs" / "stores.md"
BEGIN, END = '<div class="matrix" markdown>\n\n', "\n</div>"


class Row(NamedTuple):
    """A backend, the suites that it passes, and a filesystem of it that asks no server."""

    name: str
    checked_with: str
    suites: tuple[type, ...]
    store: Callable[[Path], AbstractFileSystem]
    notes: Mapping[str, int] = MappingProxyType({})  # of a column
    ignores_conditions: bool = False


def at(url: str, **options: Any) -> Callable[[Path], AbstractFileSystem]:
    return lambda _directory: FsspecFileSystem.from_url(url, **options).store


def unconnected(protocol: str) -> Callable[[Path], AbstractFileSystem]:
    """A filesystem whose class would connect when it is made."""
    cls = fsspec.get_filesystem_class(protocol)
    quiet = type(cls.__name__, (cls,), {"__del__": lambda _fs: None})  # which FTP's closes its connection in
    return lambda _directory: object.__new__(quiet)


def by_obstore(_directory: Path) -> AbstractFileSystem:
    from obstore.fsspec import FsspecStore

    return FsspecStore("s3")


ROWS = [
    Row("local disk", "the disk", (Local,), lambda directory: at(str(directory))(directory)),
    Row("memory", "this process", (Memory,), at("memory://b"), {"after a fork": 1, "in other processes": 1}),
    Row("S3, by s3fs", "moto, SeaweedFS", (Moto, Seaweed), at("s3://b", anon=True), {"conditional writes": 2}),
    Row(
        "S3, by s3fs",
        "`rclone serve s3`",
        (Rclone,),
        at("s3://b", anon=True),
        {"directory markers": 3, "conditional writes": 2},
        ignores_conditions=True,
    ),
    Row("S3, through the cache", "SeaweedFS", (SimpleCache,), at("simplecache::s3://b", s3={"anon": True})),
    Row("S3, by obstore", "moto", (Obstore,), by_obstore, {"directory markers": 4, "after a fork": 5}),
    Row("Google Cloud Storage, by gcsfs", "fake-gcs-server", (Gcs,), at("gs://b", token="anon")),
    Row(
        "Azure Blob Storage, by adlfs",
        "Azurite",
        (Azure,),
        at("az://b", account_name="account", account_key=AZURE_KEY),
        {"directory markers": 4},
    ),
    Row("SFTP, by fsspec and paramiko", "asyncssh", (Files,), unconnected("sftp")),
    Row("FTP, by fsspec", "pyftpdlib", (Ftp,), unconnected("ftp")),
    Row("your own, by fsspec", "SQLite", (Sqlite,), lambda directory: SqliteFileSystem(str(directory / "results.db"))),
]


def flag(row: Row, name: str) -> bool:
    """What all suites of a row say of the backend."""
    (value,) = {getattr(suite, name, getattr(FileSystemContract, name)) for suite in row.suites}
    return value


def markers(row: Row, _store: AbstractFileSystem) -> bool | None:
    return None if flag(row, "has_directories") else flag(row, "has_markers")


def conditions(row: Row, store: AbstractFileSystem) -> bool | str:
    if conditional_object(store, "b/key") is not None:
        return "ignored" if row.ignores_conditions else True
    return "by a lock" if is_local(store) or in_memory(store) else False


COLUMNS: dict[str, Callable[[Row, AbstractFileSystem], bool | str | None]] = {
    "real directories": lambda row, _store: flag(row, "has_directories"),
    "directory markers": markers,
    "files replaced whole": lambda row, _store: flag(row, "writes_whole"),
    "conditional writes": conditions,
    "many files removed at once": lambda _row, store: next(batches_of(store, ["b/key"]), None) is not None,
    "calls in parallel": lambda _row, store: isinstance(one_at_a_time(store), contextlib.nullcontext),
    "after a fork": lambda row, _store: flag(row, "may_fork"),
    "in other processes": lambda row, _store: flag(row, "is_shared"),
}
WORDS: dict[bool | str | None, str] = {True: "yes", False: "no", None: "-"}


def matrix(directory: Path) -> str:
    """The table, as Markdown."""
    lines = [["backend", "checked with", *COLUMNS], ["---"] * (len(COLUMNS) + 2)]
    for row in ROWS:
        store = row.store(directory)
        cells = [
            WORDS.get(answer := told(row, store), str(answer))
            + (f" ({row.notes[column]})" if column in row.notes else "")
            for column, told in COLUMNS.items()
        ]
        lines.append([row.name, row.checked_with, *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def test_the_page_has_the_table_of_today(tmp_path: Path) -> None:
    table = matrix(tmp_path)
    shown = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert shown == table, f"paste this into docs/stores.md:\n\n{table}"
