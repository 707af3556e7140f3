"""Every operation of the package on a run or a study, each prepared by a login that may do everything."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idfkit import IDFDocument
from idfkit.simulation import SimulationResult
from support.servers import Store

from idfkit_fs import FsspecFileSystem, Study, open_result, publish, run_case, simulate

__all__ = ["OPERATIONS", "World"]

TEMPERATURE = "Zone Mean Air Temperature"
Attempt = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class World:
    """What operations work on.

    Attributes:
        store: The store, with a login that may do everything.
        run: The directory of a finished run; it stays as it is.
        model: A model that is quick to run.
        case: A directory with a study of one case that was run, named ``base``, on this disk.
    """

    store: Store
    run: Path
    model: IDFDocument
    case: Path

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
        """A study of one case that was run, as another machine has made it."""
        study = Study(self.place(), storage_options=self.options)
        for path in self.case.rglob("*"):
            if path.is_file():
                study.fs.upload(path, path.relative_to(self.case).as_posix())
        return study

    def added(self) -> Study:
        """A study of one case that is pending, and one that was run."""
        study = self.study()
        study.add("pending", self.model, design_day=True)
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
    url = world.published()
    return lambda options: _names(publish(world.run, url, storage_options=options, overwrite=True, exclude=["*.mtd"]))


def _publish_copy(world: World) -> Attempt:
    source, url = world.published(), world.place()
    return lambda options: _names(publish(source, url, storage_options=options))


def _simulate(world: World) -> Attempt:
    url = world.place()
    return lambda options: _names(
        simulate(world.model, None, output_dir=url, storage_options=options, design_day=True)
    )


def _names(result: Any) -> Any:
    return result.success, sorted(entry.name for entry in result.record.files)


def _add_first(world: World) -> Attempt:
    url = world.place()
    return lambda options: Study(url, storage_options=options).add("one", world.model, design_day=True)


def _add(world: World) -> Attempt:
    url = world.study().url
    return lambda options: Study(url, storage_options=options).add("one", world.model, design_day=True)


def _run_case(world: World) -> Attempt:
    url = world.added().url
    return lambda options: tuple(run_case(url, "pending", options))


def _run(world: World) -> Attempt:
    url = world.added().url
    return lambda options: str(Study(url, storage_options=options).run(max_workers=1, reuse=False))


def _run_again(world: World) -> Attempt:
    url = world.study().url
    return lambda options: tuple(run_case(url, "base", options))


def _on_study(ask: Callable[[Study], Any]) -> Callable[[World], Attempt]:
    def operation(world: World) -> Attempt:
        url = world.added().url
        return lambda options: ask(Study(url, storage_options=options))

    return operation


def _adopt(world: World) -> Attempt:
    url = world.study().url
    return lambda options: Study(url, storage_options=options).adopt("old", world.run)


OPERATIONS: dict[str, Callable[[World], Attempt]] = {
    "`fs.read_bytes`, `fs.open` to read": _read_file,
    "`fs.write_bytes`, a new file": _write_file,
    "`fs.glob`": _list_files,
    "`fs.copy`": _copy_file,
    "`fs.remove`": _remove_file,
    "`open_result`, and its series, tables and files": _open,
    "`RunResult.download`": _download,
    "`publish` a directory at a free URL": _publish,
    "`publish(overwrite=True)` over a run": _publish_over,
    "`publish` a run of the same store": _publish_copy,
    "`simulate` at a free URL": _simulate,
    "`Study.add`, the first case": _add_first,
    "`Study.add`, another case": _add,
    "`run_case`, as a worker": _run_case,
    "`run_case` of a case that has ended": _run_again,
    "`Study.run` in this process": _run,
    "`Study.status`, `cases`": _on_study(lambda study: study.status().states()),
    "`Study.summary`": _on_study(lambda study: study.summary_rows()),
    "`Study.result`": _on_study(lambda study: _names(study.result("base"))),
    "`Study.timeseries`, `tabular`, `to_xarray`": _on_study(
        lambda study: (len(study.timeseries(cases=["base"])), len(study.tabular(cases=["base"])))
    ),
    "`Study.adopt` a local directory": _adopt,
    "`Study.remove`": _on_study(lambda study: study.remove("base")),
}
