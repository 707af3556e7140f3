"""Every operation of the package on a run or a study, each prepared by a login that may do everything."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idfkit import IDFDocument
from support.servers import Store

from idfkit_fs import FsspecFileSystem, Study, open_result, publish, run_case, simulate

__all__ = ["FILES", "OPERATIONS", "Attempt", "World"]

TEMPERATURE = "Zone Mean Air Temperature"
# Few files: each is sent again for every attempt.
FILES = ("eplus.end", "eplus.err", "eplus.sql", "*.parquet")
Attempt = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class World:
    """What operations work on.

    Attributes:
        store: The store, with a login that may do everything.
        model: A model that is quick to run.
        run: A published run, on this disk.
        study_directory: A study of the cases ``base`` and ``other``, which were run, and ``pending``, on this disk.
    """

    store: Store
    model: IDFDocument
    run: Path
    study_directory: Path

    def place(self) -> str:
        """A free URL."""
        return f"{self.store.url}/{uuid.uuid4().hex[:12]}"

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.store.storage_options)

    def published(self) -> str:
        """The URL of a run that is published."""
        url = self.place()
        publish(self.run, url, storage_options=self.options)
        return url

    def study(self) -> Study:
        """A study of a case that was run, ``base``, and of one that is pending, as another machine has made it."""
        study = Study(self.place(), storage_options=self.options)
        for path in self.study_directory.rglob("*"):
            name = path.relative_to(self.study_directory).as_posix()
            if path.is_file() and "other" not in name:
                study.fs.upload(path, name)
        return study


def _read_file(world: World) -> Attempt:
    url = world.published()
    return lambda options: FsspecFileSystem.from_url(url, **options).read_bytes("eplus.err")


def _write_file(world: World) -> Attempt:
    url = world.place()
    return lambda options: FsspecFileSystem.from_url(url, **options).write_bytes("notes.txt", b"south facade")


def _list_files(world: World) -> Attempt:
    url = world.published()
    return lambda options: FsspecFileSystem.from_url(url, **options).glob("", "*")


def _remove_file(world: World) -> Attempt:
    url = world.published()
    return lambda options: FsspecFileSystem.from_url(url, **options).remove("eplus.err")


def _copy_file(world: World) -> Attempt:
    url = world.published()
    return lambda options: FsspecFileSystem.from_url(url, **options).copy("eplus.err", "copy.err")


def _open(world: World) -> Attempt:
    url = world.published()

    def attempt(options: dict[str, Any]) -> Any:
        result = open_result(url, storage_options=options)
        series, cells = result.timeseries(TEMPERATURE, frequency="hourly"), result.tabular()
        assert result.sql is not None
        return len(series), len(cells), len(result.sql.list_variables()), result.errors.summary()

    return attempt


def _download(world: World) -> Attempt:
    url = world.published()

    def attempt(options: dict[str, Any]) -> Any:
        with tempfile.TemporaryDirectory() as directory:
            open_result(url, storage_options=options).download(directory)
            return sorted(path.name for path in Path(directory).iterdir())

    return attempt


def _publish(world: World) -> Attempt:
    url = world.place()
    return lambda options: _names(publish(world.run, url, storage_options=options))


def _publish_over(world: World) -> Attempt:
    url, other = world.published(), world.study_directory / "other"
    return lambda options: _names(publish(other, url, storage_options=options, overwrite=True, exclude=["*.parquet"]))


def _publish_copy(world: World) -> Attempt:
    source, url = world.published(), world.place()
    return lambda options: _names(publish(source, url, storage_options=options))


def _simulate(world: World) -> Attempt:
    url = world.place()
    return lambda options: _names(
        simulate(world.model, None, output_dir=url, storage_options=options, include=FILES, design_day=True)
    )


def _names(result: Any) -> Any:
    return result.success, sorted(entry.name for entry in result.record.files)


def _add_first(world: World) -> Attempt:
    url = world.place()
    return lambda options: Study(url, storage_options=options).add("one", world.model, include=FILES, design_day=True)


def _add(world: World) -> Attempt:
    url = world.study().url
    return lambda options: Study(url, storage_options=options).add("one", world.model, include=FILES, design_day=True)


def _run_case(world: World) -> Attempt:
    url = world.study().url
    return lambda options: tuple(run_case(url, "pending", options))


def _run(world: World) -> Attempt:
    url = world.study().url
    return lambda options: str(Study(url, storage_options=options).run(max_workers=1, reuse=False))


def _run_again(world: World) -> Attempt:
    url = world.study().url
    return lambda options: tuple(run_case(url, "base", options))


def _on_study(ask: Callable[[Study], Any]) -> Callable[[World], Attempt]:
    def operation(world: World) -> Attempt:
        url = world.study().url
        return lambda options: ask(Study(url, storage_options=options))

    return operation


def _consolidate(world: World) -> Attempt:
    url = world.study().url
    return lambda options: Study(url, storage_options=options).consolidate(tabular=True)


def _adopt(world: World) -> Attempt:
    url, other = world.study().url, world.study_directory / "other"
    return lambda options: Study(url, storage_options=options).adopt("old", other)


# By name; beside each, whether it leaves everything as it is.
OPERATIONS: dict[str, tuple[Callable[[World], Attempt], bool]] = {
    "`fs.read_bytes`, `fs.open` to read": (_read_file, True),
    "`fs.write_bytes`, a new file": (_write_file, False),
    "`fs.glob`": (_list_files, True),
    "`fs.copy`, to a new file": (_copy_file, False),
    "`fs.remove`": (_remove_file, False),
    "`open_result`; series, tables and files of the run": (_open, True),
    "`RunResult.download`": (_download, True),
    "`publish` a directory": (_publish, False),
    "`publish(overwrite=True)` over another run": (_publish_over, False),
    "`publish` a copy within the store": (_publish_copy, False),
    "`simulate`": (_simulate, False),
    "`Study.add`, the first case": (_add_first, False),
    "`Study.add`, another case": (_add, False),
    "`run_case` of a case that is pending": (_run_case, False),
    "`run_case` of a case that has ended": (_run_again, True),
    "`Study.run` in this process": (_run, False),
    "`Study.status`, `cases`": (_on_study(lambda study: study.status().states()), True),
    "`Study.summary`": (_on_study(lambda study: study.summary_rows()), True),
    "`Study.consolidate`, the first time": (_consolidate, False),
    "`Study.result`": (_on_study(lambda study: _names(study.result("base"))), True),
    "`Study.results`, `download`": (
        _on_study(lambda study: {case: _names(run) for case, run in study.results().items()}),
        True,
    ),
    "`Study.timeseries`, `tabular`, `to_xarray`": (
        _on_study(lambda study: (len(study.timeseries(cases=["base"])), len(study.tabular(cases=["base"])))),
        True,
    ),
    "`Study.adopt` a local directory": (_adopt, False),
    "`Study.remove`": (_on_study(lambda study: study.remove("base")), False),
}
