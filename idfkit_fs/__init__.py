"""EnergyPlus runs here; its inputs and results live at any URL that fsspec understands."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idfkit_fs._cache.store import CacheInfo
    from idfkit_fs._doctor.doctor import doctor
    from idfkit_fs._doctor.report import Check, DoctorReport
    from idfkit_fs._fs.aio import AsyncFsspecFileSystem
    from idfkit_fs._fs.dropins import AsyncLocalFileSystem, AsyncS3FileSystem, LocalFileSystem, S3FileSystem
    from idfkit_fs._fs.sync import FsspecFileSystem
    from idfkit_fs._outputs.series import Names
    from idfkit_fs._util.urls import Location, StrPath
    from idfkit_fs.errors import IdfkitFsError
    from idfkit_fs.runs.installation import find_energyplus
    from idfkit_fs.runs.publish import publish
    from idfkit_fs.runs.record import RecordedFile, RunRecord
    from idfkit_fs.runs.result import RunResult, open_result
    from idfkit_fs.runs.simulate import ExternalFiles, JobOptions, SimulationOptions, async_simulate, simulate
    from idfkit_fs.studies.adopt import Adoption
    from idfkit_fs.studies.choose import Cases
    from idfkit_fs.studies.find import list_studies
    from idfkit_fs.studies.job import Metrics, Summary
    from idfkit_fs.studies.plan import Source
    from idfkit_fs.studies.prepare import Case
    from idfkit_fs.studies.report import CaseRun, RunReport
    from idfkit_fs.studies.status import StudyStatus
    from idfkit_fs.studies.study import Study
    from idfkit_fs.studies.verify import Finding, Verification
    from idfkit_fs.studies.worker import run_case

    __version__: str
    """The version of the installed package."""

__all__ = [
    "Adoption",
    "AsyncFsspecFileSystem",
    "AsyncLocalFileSystem",
    "AsyncS3FileSystem",
    "CacheInfo",
    "Case",
    "CaseRun",
    "Cases",
    "Check",
    "DoctorReport",
    "ExternalFiles",
    "Finding",
    "FsspecFileSystem",
    "IdfkitFsError",
    "JobOptions",
    "LocalFileSystem",
    "Location",
    "Metrics",
    "Names",
    "RecordedFile",
    "RunRecord",
    "RunReport",
    "RunResult",
    "S3FileSystem",
    "SimulationOptions",
    "Source",
    "StrPath",
    "Study",
    "StudyStatus",
    "Summary",
    "Verification",
    "__version__",
    "async_simulate",
    "doctor",
    "find_energyplus",
    "list_studies",
    "open_result",
    "publish",
    "run_case",
    "simulate",
]

# Each name is imported when it is first used: runs need pydantic and idfkit.simulation, which a program that only moves
# files should not wait for; and xarray imports this package, for its engine, in programs that never use it.
_MODULES = {
    "Adoption": "studies.adopt",
    "AsyncFsspecFileSystem": "_fs.aio",
    "AsyncLocalFileSystem": "_fs.dropins",
    "AsyncS3FileSystem": "_fs.dropins",
    "CacheInfo": "_cache.store",
    "Case": "studies.prepare",
    "CaseRun": "studies.report",
    "Cases": "studies.choose",
    "Check": "_doctor.report",
    "DoctorReport": "_doctor.report",
    "ExternalFiles": "runs.simulate",
    "Finding": "studies.verify",
    "FsspecFileSystem": "_fs.sync",
    "IdfkitFsError": "errors",
    "JobOptions": "runs.simulate",
    "LocalFileSystem": "_fs.dropins",
    "Location": "_util.urls",
    "Metrics": "studies.job",
    "Names": "_outputs.series",
    "RecordedFile": "runs.record",
    "RunRecord": "runs.record",
    "RunReport": "studies.report",
    "RunResult": "runs.result",
    "S3FileSystem": "_fs.dropins",
    "SimulationOptions": "runs.simulate",
    "Source": "studies.plan",
    "StrPath": "_util.urls",
    "Study": "studies.study",
    "StudyStatus": "studies.status",
    "Summary": "studies.job",
    "Verification": "studies.verify",
    "async_simulate": "runs.simulate",
    "doctor": "_doctor.doctor",
    "find_energyplus": "runs.installation",
    "list_studies": "studies.find",
    "open_result": "runs.result",
    "publish": "runs.publish",
    "run_case": "studies.worker",
    "simulate": "runs.simulate",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("idfkit-fs")
    if name in ("cache", "errors"):  # modules whose names people use as attributes
        return importlib.import_module(f"idfkit_fs.{name}")
    if name in _MODULES:
        return getattr(importlib.import_module(f"idfkit_fs.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
