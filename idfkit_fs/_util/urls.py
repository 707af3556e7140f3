"""URLs and paths as users write them: recognise, repair and name them. No I/O."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import Any, NamedTuple, Protocol, runtime_checkable

from idfkit_fs._util.messages import redact
from idfkit_fs.errors import LocationError

__all__ = [
    "Location",
    "StrPath",
    "UPathLike",
    "UrlParts",
    "chain_protocols",
    "is_url",
    "last_name",
    "repair",
    "split_url",
    "to_text",
]

StrPath = str | os.PathLike[str]


@runtime_checkable
class UPathLike(Protocol):
    """The part of a ``UPath`` (universal-pathlib) that is used here; the package need not be installed."""

    fs: Any
    path: str
    storage_options: Mapping[str, Any]
    parent: Any
    name: str


Location = StrPath | UPathLike
"""A URL, a plain path, or a ``UPath``."""

# A protocol has at least two letters, so that a Windows drive (C:/x) is not one.
_URL = re.compile(r"(?P<chain>(?:[A-Za-z0-9_]+::)*)(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]+):/+(?P<rest>.*)", re.DOTALL)


class UrlParts(NamedTuple):
    """The parts of a URL.

    Attributes:
        chain: The protocols before it, such as ``"simplecache::"``; often empty.
        protocol: The store's own protocol, such as ``"s3"``.
        rest: Everything after the slashes.
    """

    chain: str
    protocol: str
    rest: str


def split_url(text: str) -> UrlParts | None:
    """The parts of a URL, collapsed by ``pathlib`` or not; None for a plain path."""
    match = _URL.fullmatch(text)
    return None if match is None else UrlParts(match["chain"], match["scheme"], match["rest"])


def to_text(path: Location) -> str:
    """A path as text with forward slashes.

    A backslash is always a separator, so that a study written from Windows reads the same elsewhere.

    Args:
        path: A string, or anything with ``__fspath__`` such as ``pathlib.Path``; `UPath` objects, which have none,
            by their ``str``.

    Returns:
        The text.

    Raises:
        LocationError: If the path contains a NUL character.
        TypeError: If *path* is neither a string nor path-like.
    """
    if isinstance(path, str):
        text = path
    elif isinstance(path, os.PathLike | UPathLike):
        text = str(path)
    else:
        raise TypeError(f"a path must be a str or os.PathLike, not {type(path).__name__}")
    if "\0" in text:
        raise LocationError(f"a path cannot contain a NUL character: {text!r}")
    return text.replace("\\", "/")


def is_url(text: str) -> bool:
    """Whether a text names a protocol, collapsed by ``pathlib`` or not.

    Examples:
        >>> is_url("s3:/bucket/x"), is_url("simplecache::gs://bucket"), is_url("C:/data"), is_url("case-1")
        (True, True, False, False)
    """
    return split_url(text) is not None


def repair(url: Location) -> str:
    """Undo what ``pathlib`` does to a URL: ``s3:/bucket/x`` is ``s3://bucket/x`` again.

    Args:
        url: A URL or a plain path.

    Returns:
        The URL with two slashes after the protocol (three for ``file``, whose paths are absolute); a plain path with
        forward slashes.

    Examples:
        >>> repair("simplecache::s3:/bucket/case-1")
        'simplecache::s3://bucket/case-1'
        >>> repair("file:/data/study")
        'file:///data/study'
    """
    text = to_text(url)
    parts = split_url(text)
    if parts is None:
        return text
    slash = "/" if parts.protocol in ("file", "local") and not PureWindowsPath(parts.rest).drive else ""
    return f"{parts.chain}{parts.protocol}://{slash}{parts.rest}"


def chain_protocols(url: str) -> tuple[str, ...]:
    """The protocols of a URL, outermost first; ``("file",)`` for a plain path.

    Examples:
        >>> chain_protocols("simplecache::s3://bucket/x")
        ('simplecache', 's3')
        >>> chain_protocols("zip://case-42::s3://bucket/runs.zip")
        ('zip', 's3')
    """
    parts = split_url(url)
    if parts is None:
        return ("file",)
    behind = parts.rest.partition("::")[2]  # of an archive: zip://inside::s3://bucket/runs.zip
    inner = chain_protocols(behind) if is_url(behind) else ()
    return (*(name for name in parts.chain.split("::") if name), parts.protocol, *inner)


def last_name(url: str) -> str:
    """The last segment of a URL: a short name for messages and progress bars.

    Examples:
        >>> last_name("s3://bucket/study-001/case-42")
        'case-42'
    """
    return redact(url).rstrip("/").rpartition("/")[2]
