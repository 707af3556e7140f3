"""The async adapter: any fsspec filesystem as idfkit's ``AsyncFileSystem``."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from fsspec.asyn import AsyncFileSystem as FsspecAsyncFileSystem
from fsspec.spec import AbstractFileSystem

from idfkit_fs._fs.adapter import Adapter, Plan, Step
from idfkit_fs._util.urls import StrPath

__all__ = ["AsyncFsspecFileSystem"]

T = TypeVar("T")


class AsyncFsspecFileSystem(Adapter):
    """Any fsspec filesystem as [idfkit's AsyncFileSystem][idfkit.simulation.fs.AsyncFileSystem].

    The twin of [FsspecFileSystem][idfkit_fs.FsspecFileSystem]: the same constructors and methods, the same answers and
    errors. The caller's event loop never waits for I/O: filesystems with coroutines run on fsspec's own loop (or on the
    caller's, where they were made with ``asynchronous=True``), others in a thread.

    Args:
        fs: Any fsspec filesystem. It is borrowed: never closed, its options never changed.
        root: The place in it that paths are relative to, such as ``"bucket/study-001"``.

    Examples:
        >>> fs = AsyncFsspecFileSystem.from_url("memory://study-001")
        >>> asyncio.run(fs.exists("case-42"))
        False
    """

    async def _run(self, plan: Plan[T]) -> T:
        fs = self.fs
        handled = sys.exception()
        try:
            step = next(plan)
            while True:
                try:
                    outcome = await _perform(fs, step)
                except _CancelledError as exc:
                    # The plan must have in hand what it is to let go of when it is closed.
                    with contextlib.suppress(Exception):
                        plan.send(exc.outcome)
                    exc.outcome = None
                    raise
                except Exception as exc:  # noqa: BLE001 - each SDK has its own; the translator sorts them
                    step = plan.throw(self._translated(exc, step, handled))
                else:
                    step = plan.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            plan.close()

    async def read_bytes(self, path: StrPath) -> bytes:
        """See [FsspecFileSystem.read_bytes][idfkit_fs.FsspecFileSystem.read_bytes]."""
        return await self._run(self._read_bytes(path))

    async def write_bytes(self, path: StrPath, data: bytes) -> None:
        """See [FsspecFileSystem.write_bytes][idfkit_fs.FsspecFileSystem.write_bytes]."""
        await self._run(self._write_bytes(path, data))

    async def read_text(self, path: StrPath, encoding: str = "utf-8") -> str:
        """See [FsspecFileSystem.read_text][idfkit_fs.FsspecFileSystem.read_text]."""
        return (await self.read_bytes(path)).decode(encoding)

    async def write_text(self, path: StrPath, text: str, encoding: str = "utf-8") -> None:
        """See [FsspecFileSystem.write_text][idfkit_fs.FsspecFileSystem.write_text]."""
        await self.write_bytes(path, text.encode(encoding))

    async def exists(self, path: StrPath) -> bool:
        """See [FsspecFileSystem.exists][idfkit_fs.FsspecFileSystem.exists]."""
        return await self._run(self._exists(path))

    async def makedirs(self, path: StrPath, *, exist_ok: bool = False) -> None:
        """See [FsspecFileSystem.makedirs][idfkit_fs.FsspecFileSystem.makedirs]."""
        await self._run(self._makedirs(path, exist_ok))

    async def copy(self, src: StrPath, dst: StrPath) -> None:
        """See [FsspecFileSystem.copy][idfkit_fs.FsspecFileSystem.copy]."""
        await self._run(self._copy(src, dst))

    async def glob(self, path: StrPath, pattern: str) -> list[str]:
        """See [FsspecFileSystem.glob][idfkit_fs.FsspecFileSystem.glob]."""
        return await self._run(self._glob(path, pattern))

    async def remove(self, path: StrPath) -> None:
        """See [FsspecFileSystem.remove][idfkit_fs.FsspecFileSystem.remove]."""
        await self._run(self._remove(path))


async def _perform(fs: AbstractFileSystem, step: Step) -> Any:
    if step.call is time.sleep:
        return await asyncio.sleep(*step.args)
    if not isinstance(step.call, str):
        return await _in_thread(step.call, step)
    if not isinstance(fs, FsspecAsyncFileSystem):
        call = getattr(fs, step.call)
        # A download writes into a slot, which nobody else may enter meanwhile.
        writes_here = step.call == "get_file"
        return await (_in_thread(call, step) if writes_here else asyncio.to_thread(call, *step.args, **step.kwargs))
    coroutine = getattr(fs, f"_{step.call}")(*step.args, **step.kwargs)
    if fs.asynchronous:
        return await coroutine
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, fs.loop))


class _CancelledError(asyncio.CancelledError):
    """A task was cancelled while a step of its plan was under way in a thread, which has ended since."""

    def __init__(self, outcome: Any) -> None:
        super().__init__()
        self.outcome = outcome


async def _in_thread(call: Callable[..., Any], step: Step) -> Any:
    """Perform a step in a thread; one that is cancelled is waited for, since no plan may end while its step goes on."""
    running = asyncio.get_running_loop().run_in_executor(None, functools.partial(call, *step.args, **step.kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if running.exception() is not None:
            raise
        raise _CancelledError(running.result()) from None
