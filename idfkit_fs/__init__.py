"""EnergyPlus runs here; its inputs and results live at any URL that fsspec understands."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idfkit_fs.aio import AsyncFsspecFileSystem
    from idfkit_fs.builtin import AsyncS3FileSystem, LocalFileSystem, S3FileSystem
    from idfkit_fs.errors import IdfkitFsError
    from idfkit_fs.filesystem import FsspecFileSystem
    from idfkit_fs.runs.publish import publish
    from idfkit_fs.runs.record import RunRecord
    from idfkit_fs.runs.result import RunResult, open_result
    from idfkit_fs.runs.simulate import async_simulate, simulate
    from idfkit_fs.studies.prepare import Case
    from idfkit_fs.studies.study import Study
    from idfkit_fs.studies.worker import run_case

__all__ = [
    "AsyncFsspecFileSystem",
    "AsyncS3FileSystem",
    "Case",
    "FsspecFileSystem",
    "IdfkitFsError",
    "LocalFileSystem",
    "RunRecord",
    "RunResult",
    "S3FileSystem",
    "Study",
    "__version__",
    "async_simulate",
    "open_result",
    "publish",
    "run_case",
    "simulate",
]

# Each is imported when it is asked for: runs need pydantic and idfkit.simulation, for which a program that only moves
# files should not wait; and whoever uses xarray imports this package, for its engine.
_MODULES = {
    "AsyncFsspecFileSystem": "aio",
    "AsyncS3FileSystem": "builtin",
    "Case": "studies.prepare",
    "FsspecFileSystem": "filesystem",
    "IdfkitFsError": "errors",
    "LocalFileSystem": "builtin",
    "RunRecord": "runs.record",
    "RunResult": "runs.result",
    "S3FileSystem": "builtin",
    "Study": "studies.study",
    "async_simulate": "runs.simulate",
    "open_result": "runs.result",
    "publish": "runs.publish",
    "run_case": "studies.worker",
    "simulate": "runs.simulate",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("idfkit-fs")
    if name in _MODULES:
        return getattr(importlib.import_module(f"idfkit_fs.{_MODULES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
