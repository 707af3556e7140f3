"""File objects: read by ranges, or written to a temporary file that is stored when it is closed."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from collections.abc import Callable
from typing import IO, Any

from idfkit_fs._util.files import temporary_errors

__all__ = ["open_reader", "open_writer", "parse_mode"]


def parse_mode(mode: str, text_options: dict[str, Any]) -> tuple[str, bool]:
    """Whether to read (``"r"``) or write (``"w"``), and whether as text.

    Raises:
        ValueError: For a mode that is not supported, or options for text with a binary mode.
    """
    kind = mode.replace("b", "").replace("t", "")
    if kind not in ("r", "w") or ("b" in mode and ("t" in mode or text_options)):
        raise ValueError(f"mode must be 'rb', 'r', 'wb' or 'w' (encoding with text only), not {mode!r}")
    return kind, "b" not in mode


def open_reader(file: Any, call: Callable[[Callable[[], Any]], Any], name: str, text: dict[str, Any] | None) -> IO[Any]:
    """A file object for reading, whose errors are mapped.

    Args:
        file: The file object of the fsspec filesystem.
        call: Calls a function, and maps the errors of the store.
        name: The file's URL, for its ``name``.
        text: ``encoding`` and the like for text; None for bytes.
    """
    binary = io.BufferedReader(_Reader(file, call, name), 2**20)
    return binary if text is None else _as_text(io.TextIOWrapper, binary, text)


def open_writer(store: Callable[[str], None], name: str, text: dict[str, Any] | None) -> IO[Any]:
    """A file object for writing. Nothing is stored if its ``with`` block raises, or it is never closed.

    Args:
        store: Called when the file is closed, with the path of the local temporary file.
        name: The file's path, for warnings.
        text: As in ``open_reader``.
    """
    binary = _Writer(store, name)
    if text is None:
        return binary
    try:
        return _as_text(_TextWriter, binary, text)
    except BaseException:
        binary.abandoned = True
        binary.close()
        raise


def _as_text(wrapper: type[io.TextIOWrapper], binary: Any, text: dict[str, Any]) -> IO[str]:
    try:
        return wrapper(binary, **{"encoding": "utf-8", **text})
    except BaseException:
        if wrapper is io.TextIOWrapper:
            binary.close()
        raise


class _Reader(io.RawIOBase):
    """A file of an fsspec filesystem, whose errors while reading are mapped too."""

    def __init__(self, file: Any, call: Callable[[Callable[[], Any]], Any], name: str) -> None:
        super().__init__()
        self._file = file
        self._call = call
        self.name = name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        position = self._file.tell()

        def read() -> bytes:
            self._file.seek(position)  # where it was, if this is another attempt
            data: bytes = self._file.read(len(buffer))
            return data

        data = self._call(read)
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position: int | None = self._file.seek(offset, whence)
        return self.tell() if position is None else position

    def tell(self) -> int:
        position: int = self._file.tell()
        return position

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _TemporaryFile(io.FileIO):
    """A local temporary file, whose disk may become full."""

    def write(self, data: Any) -> int:
        with temporary_errors():
            return super().write(data)


class _Writer(io.BufferedWriter):
    """A local temporary file that is stored when it is closed."""

    def __init__(self, store: Callable[[str], None], name: str) -> None:
        with temporary_errors():
            handle, self._temporary = tempfile.mkstemp(prefix="idfkit-fs-")
        super().__init__(_TemporaryFile(handle, "w"))
        self._store = store
        self._path = name
        self.abandoned = False

    def __exit__(self, exc_type: object, *_exc: object) -> None:
        self.abandoned = exc_type is not None
        self.close()

    def __del__(self) -> None:
        if not self.closed:
            self.abandoned = True  # it may contain a part
            warnings.warn(
                f"{self._path!r} was opened for writing and never closed; it is not stored", ResourceWarning, 2
            )
            self.close()

    def close(self) -> None:
        """Store the file."""
        if self.closed:
            return
        try:
            super().close()
            if not self.abandoned:
                self._store(self._temporary)
        finally:
            os.unlink(self._temporary)


class _TextWriter(io.TextIOWrapper):
    """Text on a binary writer, which must know whether the block raised before it is closed."""

    buffer: _Writer

    def __exit__(self, exc_type: object, *_exc: object) -> None:
        self.buffer.abandoned = exc_type is not None
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(ValueError):  # from one that was never made, for an invalid encoding
            if not self.closed:
                self.buffer.__del__()
