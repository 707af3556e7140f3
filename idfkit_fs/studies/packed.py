"""Compressed JSON, which anybody may have damaged or written, in bounded memory."""

from __future__ import annotations

import json
import uuid
import zlib
from typing import TypeVar

from pydantic import BaseModel

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.bounds import CONSOLIDATED_BYTES, CONSOLIDATED_TEXT, CONSOLIDATED_VALUES
from idfkit_fs._util.messages import redact
from idfkit_fs._util.versioned_json import parse_json, problem_of_values
from idfkit_fs.errors import RecordError

__all__ = ["pack", "read_packed"]

M = TypeVar("M", bound=BaseModel)
_VERSION = 1
_GZIP = 31  # of zlib's "wbits": a header and a checksum around what is compressed


def pack(content: BaseModel) -> bytes | None:
    """The bytes to store; no two calls give the same. None if there are more than a reader accepts."""
    described = {"version": _VERSION, "id": uuid.uuid4().hex}
    text = f"{json.dumps(described)}\n{content.model_dump_json()}".encode()
    packer = zlib.compressobj(1, wbits=_GZIP)
    data = packer.compress(text) + packer.flush()
    return None if _problem_of(text) or len(data) > CONSOLIDATED_BYTES else data


def read_packed(fs: FsspecFileSystem, path: str, kind: type[M]) -> M:
    """Read what was packed.

    Args:
        fs: The study.
        path: Where the object is.
        kind: What it has.

    Raises:
        FileNotFoundError: If it is missing.
        RecordError: If it is damaged, or of a newer format.
        StoreError: If the store failed, refused access, or did not answer.
    """
    data, url = fs.fetch_start(path, CONSOLIDATED_BYTES + 1), redact(fs.url(path))
    try:
        text = _unpacked(data)
        described, _, content = text.partition(b"\n")
        if parse_json(described)["version"] > _VERSION:
            error = RecordError(f"{url} was written by a newer idfkit-fs: pip install --upgrade idfkit-fs")
            error.is_newer = True
            raise error
        return kind.model_validate_json(content)
    except (KeyError, TypeError, ValueError, zlib.error) as exc:
        if isinstance(exc, RecordError):
            raise
        raise RecordError(f"{url} is damaged: {str(exc)[:200]}") from exc


def _unpacked(data: bytes) -> bytes:
    if len(data) > CONSOLIDATED_BYTES:
        raise ValueError(f"it is larger than {CONSOLIDATED_BYTES:,} bytes")
    unpacker = zlib.decompressobj(_GZIP)
    text = unpacker.decompress(data, CONSOLIDATED_TEXT + 1)
    problem = _problem_of(text) or (None if unpacker.eof else "it is cut")
    if problem:
        raise ValueError(problem)
    return text


def _problem_of(text: bytes) -> str | None:
    if len(text) > CONSOLIDATED_TEXT:
        return f"it has more than {CONSOLIDATED_TEXT:,} bytes of text"
    return problem_of_values(text, CONSOLIDATED_VALUES)
