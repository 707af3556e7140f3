"""EnergyPlus runs here; its inputs and results live at any URL that fsspec understands."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from idfkit_fs.aio import AsyncFsspecFileSystem
from idfkit_fs.builtin import AsyncS3FileSystem, LocalFileSystem, S3FileSystem
from idfkit_fs.errors import IdfkitFsError
from idfkit_fs.filesystem import FsspecFileSystem

if TYPE_CHECKING:
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

# Runs need pydantic and idfkit.simulation; a program that only moves files should not wait for them.
_LAZY = {
    "Case": "idfkit_fs.studies.prepare",
    "RunRecord": "idfkit_fs.runs.record",
    "RunResult": "idfkit_fs.runs.result",
    "async_simulate": "idfkit_fs.runs.simulate",
    "open_result": "idfkit_fs.runs.result",
    "publish": "idfkit_fs.runs.publish",
    "Study": "idfkit_fs.studies.study",
    "run_case": "idfkit_fs.studies.worker",
    "simulate": "idfkit_fs.runs.simulate",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("idfkit-fs")
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
