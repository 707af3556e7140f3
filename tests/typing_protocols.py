"""Checked by mypy, never run: each class is what idfkit's protocols say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, assert_type

import pandas as pd
import xarray as xr
from idfkit import IDFDocument
from idfkit.simulation import AsyncFileSystem, FileSystem, SimulationResult

from idfkit_fs import (
    Adoption,
    AsyncFsspecFileSystem,
    AsyncS3FileSystem,
    CacheInfo,
    Case,
    CaseRun,
    Cases,
    DoctorReport,
    ExternalFiles,
    FsspecFileSystem,
    LocalFileSystem,
    RunRecord,
    RunReport,
    RunResult,
    S3FileSystem,
    Study,
    StudyStatus,
    Verification,
    async_simulate,
    cache,
    doctor,
    open_result,
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


def what_reading_returns(study: Study, local: RunResult) -> None:
    result = assert_type(open_result("s3://bucket/case"), RunResult)
    assert_type(result.success, bool)
    assert_type(result.message, str | None)
    assert_type(result.record, RunRecord | None)
    assert_type(result.timeseries("Zone*", keys=["OFFICE"], frequency="hourly"), pd.DataFrame)
    assert_type(result.tabular(row="Heating"), pd.DataFrame)
    assert_type(local.download("directory"), Path)
    assert_type(study.result("case"), RunResult)
    assert_type(study.results(), dict[str, RunResult])
    assert_type(study.summary(), pd.DataFrame)
    assert_type(study.timeseries("Zone*"), pd.DataFrame)
    assert_type(study.tabular(row="Heating"), pd.DataFrame)
    assert_type(study.to_xarray("Zone*"), xr.Dataset)


def what_studies_return(study: Study, rows: Mapping[str, Any]) -> None:
    assert_type(study.status(), StudyStatus)
    assert_type(study.verify(deep=True), Verification)
    report = assert_type(study.run(max_workers=2), RunReport)
    assert_type(report.runs, tuple[CaseRun, ...])
    assert_type(doctor("s3://bucket"), DoctorReport)
    assert_type(cache.info(), CacheInfo)
    study.add_cases(Case(name, "model.idf", parameters={"wwr": 0.4}, options={"annual": True}) for name in rows)


async def what_filesystems_return(fs: FsspecFileSystem, twin: AsyncFsspecFileSystem) -> None:
    assert_type(FsspecFileSystem.from_url("s3://bucket", key="k"), FsspecFileSystem)
    assert_type(S3FileSystem(bucket="bucket").joinpath("case"), S3FileSystem)
    assert_type(AsyncFsspecFileSystem.from_url("s3://bucket"), AsyncFsspecFileSystem)
    assert_type((fs.read_bytes("a"), await twin.read_bytes("a")), tuple[bytes, bytes])
    assert_type((fs.read_text("a"), await twin.read_text("a")), tuple[str, str])
    assert_type((fs.exists("a"), await twin.exists("a")), tuple[bool, bool])
    assert_type((fs.glob("a", "*"), await twin.glob("a", "*")), tuple[list[str], list[str]])
    assert_type(fs.open("a"), IO[Any])
    assert_type((fs.url("a"), fs.local_path(Path("a"))), tuple[str, Path])
    assert_type(fs.storage_options, dict[str, Any])
