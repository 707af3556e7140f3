"""Many files removed by one request, where a store has one for it.

Nothing here goes through fsspec's ``rm``, which takes ``*?[`` in names for patterns, and asks the store for the files
below each name; and s3fs's and gcsfs's own batches drop what the store says of the files that it has not removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from fsspec.asyn import sync
from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.backends import without_layers

__all__ = ["batches_of", "remove_batch"]


class _Remove(Protocol):
    def __call__(self, fs: Any, keys: Sequence[str]) -> list[str]: ...


def batches_of(fs: AbstractFileSystem, keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut keys into parts that `remove_batch` can remove; none if the store has no request for several files."""
    known = _kind_of(without_layers(fs, "")[0])
    if known is not None:
        most, _ = known
        for start in range(0, len(keys), most):
            yield keys[start : start + most]


def remove_batch(fs: AbstractFileSystem, keys: Sequence[str]) -> list[str]:
    """Remove files of one bucket by one request; those that are missing count as removed.

    Args:
        fs: The filesystem.
        keys: Their keys, taken literally, as many as `batches_of` gives.

    Returns:
        The keys that the store has not removed. To remove one alone says why.
    """
    inner = [without_layers(fs, key) for key in keys]
    store = inner[0][0]
    known = _kind_of(store)
    assert known is not None  # noqa: S101 - `batches_of` gave the keys
    _, remove = known
    own = {key: outer for outer, (_, key) in zip(keys, inner, strict=True)}
    left = {own[key] for key in remove(store, [*own])}
    for key in own:
        store.invalidate_cache(store._parent(key))  # noqa: SLF001 - fsspec's own extension point
    return [key for key in keys if key in left]


def _kind_of(fs: AbstractFileSystem) -> tuple[int, _Remove] | None:
    packages = {cls.__module__.partition(".")[0] for cls in type(fs).__mro__}
    if "gcsfs" in packages and not fs.on_google:  # its emulators know no batches
        return None
    return next((kind for name, kind in _KINDS.items() if name in packages), None)


def _from_s3(fs: Any, keys: Sequence[str]) -> list[str]:
    names = {fs.split_path(key)[1]: key for key in keys}
    bucket = fs.split_path(keys[0])[0]
    wanted = {"Objects": [{"Key": name} for name in names], "Quiet": True}
    # Not `call_s3`, which is that of s3fs's own class, without what ours adds.
    reply = sync(fs.loop, fs._call_s3, "delete_objects", Bucket=bucket, Delete=wanted)  # noqa: SLF001 - as above
    return [names[error["Key"]] for error in reply.get("Errors", ()) if error.get("Code") != "NoSuchKey"]


def _from_gcs(fs: Any, keys: Sequence[str]) -> list[str]:
    told = sync(fs.loop, fs._rm_files, [*keys])  # noqa: SLF001 - gcsfs's `rm` expands patterns
    removed = {each for each in told if isinstance(each, str)}  # of the others there is an exception without the key
    return [key for key in keys if key not in removed]


# The stores' own bounds: S3, DeleteObjects; Google, "Send a batch request". Azure's SDK has a batch too, which gave
# fewer replies than it was asked for files, so nothing says which are gone.
_KINDS: Mapping[str, tuple[int, _Remove]] = {
    "s3fs": (1000, _from_s3),
    "gcsfs": (100, _from_gcs),
}
