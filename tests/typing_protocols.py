"""Checked by mypy, never run: each class is what idfkit's protocols say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idfkit import IDFDocument
from idfkit.simulation import AsyncFileSystem, FileSystem, SimulationResult

from idfkit_fs import (
    Adoption,
    AsyncFsspecFileSystem,
    AsyncS3FileSystem,
    Case,
    Cases,
    ExternalFiles,
    FsspecFileSystem,
    LocalFileSystem,
    RunReport,
    RunResult,
    S3FileSystem,
    Study,
    async_simulate,
    publish,
    simulate,
)


def sync_adapters(
    adapter: FsspecFileSystem, s3: S3FileSystem, local: LocalFileSystem
) -> tuple[FileSystem, FileSystem, FileSystem]:
    return adapter, s3, local


def async_adapters(adapter: AsyncFsspecFileSystem, s3: AsyncS3FileSystem) -> tuple[AsyncFileSystem, AsyncFileSystem]:
    return adapter, s3


def result(published: RunResult) -> SimulationResult:
    return published


async def models(study: Study, model: str | Path | IDFDocument) -> tuple[RunResult, RunResult, Case]:
    study.add("case", model)
    return simulate(model, output_dir="run"), await async_simulate(model, output_dir="run"), Case("case", model)


def travelling(study: Study, model: IDFDocument, external_files: ExternalFiles) -> tuple[RunResult, Case]:
    study.add("case", model, external_files=external_files, annual=True)
    return simulate(model, output_dir="run", external_files="leave"), Case("case", model, external_files="copy")


def existing(study: Study, left: Path, of_idfkit: SimulationResult) -> tuple[RunResult, RunReport, Path, str | None]:
    published = publish(left, "s3://bucket/run", output_prefix="eplus", sidecars=False)
    study.adopt("case", of_idfkit, parameters={"wwr": 0.4}, metrics={"heating": ("report", "table", "row", "column")})
    study.adopt_many({path.name: path for path in left.iterdir()})
    report = study.adopt_many([Adoption("d", left, {"wwr": 0.4})], progress=True)
    return published, report, published.download(left, include=["*.sql"]), published.message


def reuse(study: Study) -> tuple[RunReport, ...]:
    return study.run(reuse=False), study.run(reuse=study), study.run(reuse="s3://bucket/other")


def chosen(study: Study, cases: Cases) -> tuple[RunReport, list[str]]:
    def is_wide(row: Mapping[str, Any]) -> bool:
        return bool(row["wwr"] > 0.3)

    study.remove({"wwr": [0.2, 0.4]})
    study.verify(["base", "wwr-*"])
    study.results(is_wide)
    return study.run(cases), study.cases({"case": "wwr-*", "wwr": lambda wwr: wwr > 0.3})


def tables(study: Study, rows: list[dict[str, Any]], model: IDFDocument) -> None:
    study.add_table(rows, lambda row: row["model"], weather=lambda row: row["epw"], name="{wwr}", annual=True)
    study.add_table(rows, lambda _row: model, weather="chicago.epw", external_files="leave")
