"""Checked by mypy, never run: each class is what idfkit's protocols say."""

from __future__ import annotations

from idfkit.simulation import AsyncFileSystem, FileSystem, SimulationResult

from idfkit_fs import (
    AsyncFsspecFileSystem,
    AsyncS3FileSystem,
    FsspecFileSystem,
    LocalFileSystem,
    RunResult,
    S3FileSystem,
)


def sync_adapters(
    adapter: FsspecFileSystem, s3: S3FileSystem, local: LocalFileSystem
) -> tuple[FileSystem, FileSystem, FileSystem]:
    return adapter, s3, local


def async_adapters(adapter: AsyncFsspecFileSystem, s3: AsyncS3FileSystem) -> tuple[AsyncFileSystem, AsyncFileSystem]:
    return adapter, s3


def result(published: RunResult) -> SimulationResult:
    return published
