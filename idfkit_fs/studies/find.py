"""Find the studies below a URL, without listing what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from idfkit_fs._fs.paths import is_nameable
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.parallel import parallel_map
from idfkit_fs._util.urls import Location
from idfkit_fs.errors import LocationError
from idfkit_fs.studies.layout import STUDY
from idfkit_fs.studies.study import Study

__all__ = ["list_studies"]


def list_studies(url: Location, storage_options: dict[str, Any] | None = None) -> list[Study]:
    """List the studies at and below a URL.

    Each directory is looked at, one level after the other and many at the same time. What is in a study is not listed,
    so it does not matter how many cases there are: a study takes one request, and another directory two.

    Args:
        url: The URL, a plain path, or a ``UPath``.
        storage_options: The storage options for the URL, as its fsspec filesystem takes them, and as the studies get
            them.

    Returns:
        The studies, sorted by their URLs; an empty list if there are none. Links of a local disk are not followed.

    Raises:
        NotFoundError: If nothing exists at the URL; a ``FileNotFoundError``.
        LocationError: If the URL is that of a file, or names no bucket or directory.
        StoreError: If the store failed, refused access, or did not answer.

    Examples:
        >>> list_studies("s3://my-bucket")  # doctest: +SKIP
        [Study('s3://my-bucket/glazing/2024'), Study('s3://my-bucket/windows')]
        >>> {study.url: len(study) for study in list_studies("s3://my-bucket")}  # doctest: +SKIP
    """
    root = FsspecFileSystem.from_url(url, **(storage_options or {}))
    found: list[FsspecFileSystem] = []
    level = [root]
    while level:
        is_study = dict(zip(level, parallel_map(lambda fs: fs.exists(STUDY), level), strict=True))
        found += [fs for fs in level if is_study[fs]]
        others = [fs for fs in level if not is_study[fs]]
        level = [below for directory in parallel_map(_directories_in, others) for below in directory]
    if not found:
        kind = root.call(root.key(""), lambda store: store.info(root.key(""))["type"])
        if kind == "file":
            raise LocationError(f"{root.url()} is a file; give the URL of a directory that has studies")
    studies = [Study(fs.url(), storage_options=fs.storage_options) for fs in found]
    return sorted(studies, key=lambda study: study.url)


def _directories_in(fs: FsspecFileSystem) -> list[FsspecFileSystem]:
    root = fs.local_root
    names = [name for name in fs.directories() if is_nameable(name)]
    return [fs.joinpath(name) for name in names if root is None or not Path(root, name).is_symlink()]
