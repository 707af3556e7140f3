"""Columns of texts as one Parquet object, which anybody may have damaged or written."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._outputs.parquet import decoded, read_metadata, read_whole
from idfkit_fs._util.bounds import CONSOLIDATED_BYTES
from idfkit_fs._util.messages import redact
from idfkit_fs._util.versioned_json import parse_json
from idfkit_fs.errors import RecordError, SidecarError

__all__ = ["can_pack", "pack", "read_packed"]

_KEY, _VERSION = b"idfkit_fs", 1


def can_pack() -> bool:
    """Whether the package is installed that reads and writes Parquet."""
    return importlib.util.find_spec("pyarrow") is not None


def pack(columns: Mapping[str, Sequence[str]]) -> bytes:
    """The bytes to store; no two calls give the same."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    described = {"version": _VERSION, "id": uuid.uuid4().hex, "digest": _digest(columns.values())}
    table = pa.table({name: pa.array(texts, pa.string()) for name, texts in columns.items()})
    file = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({_KEY: json.dumps(described).encode()}),
        file,
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
    )
    return file.getvalue()


def read_packed(fs: FsspecFileSystem, path: str, columns: Sequence[str]) -> list[list[str]]:
    """Read the columns of an object.

    Args:
        fs: The study.
        path: Where the object is.
        columns: The names of its columns.

    Returns:
        The texts of each column.

    Raises:
        FileNotFoundError: If it is missing.
        RecordError: If it is damaged, or of a newer format.
        StoreError: If the store failed, refused access, or did not answer.
    """
    return _unpack(fs.fetch_start(path, CONSOLIDATED_BYTES + 1), columns, redact(fs.url(path)))


def _unpack(data: bytes, columns: Sequence[str], url: str) -> list[list[str]]:
    try:
        if len(data) > CONSOLIDATED_BYTES:
            raise ValueError(f"it is larger than {CONSOLIDATED_BYTES:,} bytes")
        described = parse_json(read_metadata(data)[_KEY])
        if described["version"] > _VERSION:
            error = RecordError(f"{url} was written by a newer idfkit-fs: pip install --upgrade idfkit-fs")
            error.is_newer = True
            raise error
        table = decoded(read_whole(data))
        if table.schema.names != [*columns] or any(str(kind) != "string" for kind in table.schema.types):
            raise ValueError("it has other columns")
        texts = [column.to_pylist() for column in table.columns]
        if _digest(texts) != described["digest"]:
            raise ValueError("its rows are not those that were written")
    except (KeyError, TypeError, ValueError, SidecarError) as exc:
        if isinstance(exc, RecordError):
            raise
        raise RecordError(f"{url} is damaged: {exc}") from exc
    return texts


def _digest(columns: Iterable[Iterable[str]]) -> str:
    """A digest of the rows: a bit that changed in the bytes of a page is no error of Parquet's."""
    found = hashlib.sha256()
    for texts in columns:
        joined = "\0".join(texts).encode()
        found.update(len(joined).to_bytes(8, "little") + joined)
    return found.hexdigest()
