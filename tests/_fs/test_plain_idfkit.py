"""Plain idfkit with the adapter: every function of it that takes a filesystem, with real EnergyPlus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from idfkit import IDFDocument, new_document
from idfkit.schedules import values
from idfkit.simulation import (
    AsyncFileSystem,
    EnergyPlusConfig,
    FileSystem,
    SimulationJob,
    SimulationResult,
    async_simulate,
    async_simulate_batch,
    async_simulate_batch_stream,
    simulate,
    simulate_batch,
)
from support.places import Place

from idfkit_fs import AsyncFsspecFileSystem, AsyncS3FileSystem, FsspecFileSystem, S3FileSystem

DESIGN_DAY: dict[str, Any] = {"design_day": True}


@pytest.fixture
def fs(s3_place: Place) -> FsspecFileSystem:
    return FsspecFileSystem.from_url(s3_place.url, **s3_place.options)


@pytest.fixture
def async_fs(s3_place: Place) -> AsyncFsspecFileSystem:
    return AsyncFsspecFileSystem.from_url(s3_place.url, **s3_place.options)


@pytest.fixture(autouse=True)
def no_leftovers() -> None:
    """Plain idfkit leaves its temporary directories behind; that is not ours to test."""


def jobs(model: IDFDocument, *labels: str) -> list[SimulationJob]:
    return [SimulationJob(model=model, label=label, output_dir=label, design_day=True) for label in labels]


def check(result: SimulationResult) -> None:
    assert result.success
    assert result.sql is not None and result.sql.list_variables()
    assert result.errors.simulation_complete
    assert (
        result.html is not None and result.eso is not None and result.mtr is not None and result.variables is not None
    )
    assert result.csv is not None
    result.close()


async def async_check(result: SimulationResult) -> None:
    assert result.success
    sql = await result.async_sql()
    assert sql is not None and sql.list_variables()
    assert (await result.async_errors()).simulation_complete
    assert await result.async_html() is not None and await result.async_variables() is not None
    assert await result.async_eso() is not None and await result.async_mtr() is not None
    assert await result.async_csv() is not None
    result.close()


def test_the_adapters_are_idfkits_protocols(fs: FsspecFileSystem, async_fs: AsyncFsspecFileSystem) -> None:
    assert isinstance(fs, FileSystem)
    assert isinstance(async_fs, AsyncFileSystem)
    assert issubclass(S3FileSystem, FsspecFileSystem) and issubclass(AsyncS3FileSystem, AsyncFsspecFileSystem)


def test_simulate_and_from_directory(place: Place, model: IDFDocument, quick_energyplus: EnergyPlusConfig) -> None:
    fs = FsspecFileSystem.from_url(place.url, **place.options)
    result = simulate(model, output_dir="case-1", energyplus=quick_energyplus, fs=fs, **DESIGN_DAY)
    check(result)
    check(SimulationResult.from_directory("case-1", fs=fs))
    check(SimulationResult.from_directory(fs.url("case-1"), fs=fs))


async def test_from_directory_async(
    fs: FsspecFileSystem, async_fs: AsyncFsspecFileSystem, model: IDFDocument, quick_energyplus: EnergyPlusConfig
) -> None:
    simulate(model, output_dir="case-1", energyplus=quick_energyplus, fs=fs, **DESIGN_DAY)
    await async_check(SimulationResult.from_directory("case-1", async_fs=async_fs))
    await async_check(SimulationResult.from_directory(Path(async_fs.url("case-1")), async_fs=async_fs))


def test_simulate_batch(fs: FsspecFileSystem, model: IDFDocument, quick_energyplus: EnergyPlusConfig) -> None:
    batch = simulate_batch(jobs(model, "a", "b"), energyplus=quick_energyplus, fs=fs)
    assert batch.all_succeeded
    for label, result in zip("ab", batch, strict=True):
        assert result.sql is not None
        assert fs.exists(f"{label}/eplus.sql")
        result.close()


async def test_async_simulate_with_both_adapters(
    fs: FsspecFileSystem, async_fs: AsyncFsspecFileSystem, model: IDFDocument, quick_energyplus: EnergyPlusConfig
) -> None:
    result = await async_simulate(model, output_dir="sync", energyplus=quick_energyplus, fs=fs, **DESIGN_DAY)
    check(result)
    result = await async_simulate(model, output_dir="async", energyplus=quick_energyplus, fs=async_fs, **DESIGN_DAY)
    await async_check(result)


async def test_async_batches(
    fs: FsspecFileSystem, async_fs: AsyncFsspecFileSystem, model: IDFDocument, quick_energyplus: EnergyPlusConfig
) -> None:
    batch = await async_simulate_batch(jobs(model, "a", "b"), energyplus=quick_energyplus, fs=async_fs)
    assert batch.all_succeeded
    streamed = [
        event.label
        async for event in async_simulate_batch_stream(jobs(model, "c"), energyplus=quick_energyplus, fs=async_fs)
    ]
    assert streamed == ["c"]
    assert fs.glob("", "*/eplus.sql") == ["a/eplus.sql", "b/eplus.sql", "c/eplus.sql"]


def test_the_drop_in_moves_a_program_over(
    s3_place: Place, model: IDFDocument, quick_energyplus: EnergyPlusConfig
) -> None:
    """The arguments of idfkit's own S3FileSystem, as its documentation shows them."""
    bucket, _, prefix = s3_place.url.removeprefix("s3://").partition("/")
    fs = S3FileSystem(
        bucket=bucket,
        prefix=f"{prefix}/",
        endpoint_url=s3_place.options["endpoint_url"],
        aws_access_key_id=s3_place.options["key"],
        aws_secret_access_key=s3_place.options["secret"],
    )
    result = simulate(model, output_dir="run-001", energyplus=quick_energyplus, fs=fs, **DESIGN_DAY)
    assert result.sql is not None
    result.close()


def test_a_schedule_file_is_read_through_the_adapter(fs: FsspecFileSystem) -> None:
    fs.write_text(
        "schedules/hourly.csv", "hour,value\n" + "\n".join(f"{hour},{hour % 24 / 24}" for hour in range(8760))
    )
    document = new_document(version=(25, 2, 0))
    schedule = document.add(
        "Schedule:File",
        "Hourly",
        file_name="schedules/hourly.csv",
        column_number=2,
        rows_to_skip_at_top=1,
        validate=False,
    )
    # Without base_path, idfkit looks in the working directory of this machine.
    for base_path in (".", fs.url()):
        hourly = values(schedule, year=2023, fs=fs, base_path=base_path)
        assert len(hourly) == 8760
        assert hourly[:3] == [0.0, 1 / 24, 2 / 24]
