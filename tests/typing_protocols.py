"""Checked by mypy, never run: each class is what idfkit's protocols say."""

from __future__ import annotations

from pathlib import Path

from idfkit import IDFDocument
from idfkit.simulation import AsyncFileSystem, FileSystem, SimulationResult

from idfkit_fs import (
    AsyncFsspecFileSystem,
    AsyncS3FileSystem,
    Case,
    FsspecFileSystem,
    LocalFileSystem,
    RunResult,
    S3FileSystem,
    Study,
    async_simulate,
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
