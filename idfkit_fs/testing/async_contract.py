"""The contract for async filesystems: the same tests on a loop in another thread, and what only async can promise."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from idfkit_fs.testing.contract import FileSystemContract

__all__ = ["AsyncFileSystemContract"]


class _Blocking:
    """The methods of an async filesystem as blocking calls, all on one event loop, from any thread."""

    def __init__(self, fs: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._fs = fs
        self._loop = loop

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._fs, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(method(*args, **kwargs), self._loop).result()

        return call


class AsyncFileSystemContract(FileSystemContract):
    """Tests that every async filesystem passes.

    They are those of [FileSystemContract][idfkit_fs.testing.FileSystemContract], with the same hooks and flags, and
    some that only concern async. Where the filesystem is an async context manager, they run inside its ``async with``.
    """

    @pytest.fixture
    def files(self, fs: Any) -> Iterator[Any]:
        """The filesystem's methods as blocking calls."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        blocking = _Blocking(fs, loop)
        managed = hasattr(fs, "__aenter__")
        try:
            if managed:
                blocking.__getattr__("__aenter__")()
            yield blocking
            if managed:
                blocking.__getattr__("__aexit__")(None, None, None)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def test_satisfies_the_protocol(self, fs: Any) -> None:
        from idfkit.simulation import AsyncFileSystem

        assert isinstance(fs, AsyncFileSystem)

    @staticmethod
    def _within(fs: Any, body: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        """Run a coroutine function in a loop of its own."""

        async def main() -> Any:
            async with fs if hasattr(fs, "__aenter__") else nullcontext(fs):
                return await body(fs)

        return asyncio.run(main())

    def test_many_at_once(self, fs: Any) -> None:
        async def body(fs: Any) -> None:
            paths = [f"case-{number % 5}/{number:03}.csv" for number in range(50)]
            await asyncio.gather(*(fs.write_bytes(path, path.encode()) for path in paths))
            assert await asyncio.gather(*map(fs.read_bytes, paths)) == [path.encode() for path in paths]
            assert all(await asyncio.gather(*map(fs.exists, paths)))
            assert await fs.glob("", "**/*") == sorted(paths)
            await asyncio.gather(*map(fs.remove, paths))
            assert await fs.glob("", "**/*") == []

        self._within(fs, body)

    def test_one_failure_of_many_leaves_the_others(self, fs: Any) -> None:
        async def body(fs: Any) -> None:
            await fs.write_bytes("a.csv", b"1")
            calls = [fs.read_bytes("a.csv"), fs.read_bytes("missing.csv"), fs.read_bytes("a.csv")]
            first, failed, third = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(failed, FileNotFoundError)
            assert first == third == b"1"

        self._within(fs, body)

    @pytest.mark.parametrize("method", ["write_bytes", "read_bytes", "exists", "glob", "copy", "remove"])
    def test_other_tasks_go_on(self, fs: Any, method: str) -> None:
        """A call that did its I/O on the caller's loop would return without ever giving way."""
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def body(fs: Any) -> None:
            await fs.write_bytes("a.csv", b"x" * 100_000)
            calls: dict[str, Callable[[], Awaitable[Any]]] = {
                "write_bytes": lambda: fs.write_bytes("b.csv", b"x" * 100_000),
                "read_bytes": lambda: fs.read_bytes("a.csv"),
                "exists": lambda: fs.exists("missing.csv"),
                "glob": lambda: fs.glob("", "**/*"),
                "copy": lambda: fs.copy("a.csv", "c.csv"),
                "remove": lambda: fs.remove("a.csv"),
            }
            counter = asyncio.create_task(count())
            await asyncio.sleep(0)
            before = turns
            await calls[method]()
            after = turns
            counter.cancel()
            assert after > before

        self._within(fs, body)

    def test_cancelled_call_leaves_the_others(self, fs: Any) -> None:
        async def body(fs: Any) -> None:
            await fs.write_bytes("a.csv", b"1")
            task = asyncio.create_task(fs.read_bytes("a.csv"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await fs.read_bytes("a.csv") == b"1"

        self._within(fs, body)

    def test_in_one_loop_after_another(self, fs: Any) -> None:
        async def body(fs: Any) -> bool:
            await fs.write_bytes("a.csv", b"1")
            there: bool = await fs.exists("a.csv")
            return there

        assert self._within(fs, body) is self._within(fs, body) is True
