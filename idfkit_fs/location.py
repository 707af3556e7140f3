"""Paths and URLs: parse, repair, join and relativise them. Nothing here does I/O."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import PureWindowsPath
from typing import Any, NamedTuple, Protocol, runtime_checkable

from idfkit_fs.errors import LocationError, redact

__all__ = [
    "GlobPattern",
    "Location",
    "Root",
    "StrPath",
    "UPathLike",
    "chain_protocols",
    "is_url",
    "last_name",
    "matching",
    "parse_glob",
    "repair",
    "to_text",
]

StrPath = str | os.PathLike[str]


@runtime_checkable
class UPathLike(Protocol):
    """What is used of a ``UPath`` of universal-pathlib, which need not be installed."""

    fs: Any
    path: str
    storage_options: Mapping[str, Any]
    parent: Any
    name: str


Location = StrPath | UPathLike
"""A URL, a plain path, or a ``UPath``."""

# Two letters at least, so that a Windows drive (C:/x) is no scheme.
_URL = re.compile(r"(?P<chain>(?:[A-Za-z0-9_]+::)*)(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]+):/+(?P<rest>.*)", re.DOTALL)


def to_text(path: Location) -> str:
    """A path as text with forward slashes.

    A backslash is always a separator, so that a study written from Windows reads the same elsewhere.

    Args:
        path: A string, or anything with ``__fspath__`` such as [pathlib.Path][]; `UPath` objects, which have none,
            by their ``str``.

    Returns:
        The text.

    Raises:
        LocationError: If the path holds a NUL character.
        TypeError: If *path* is neither a string nor path-like.
    """
    if isinstance(path, str):
        text = path
    elif isinstance(path, os.PathLike | UPathLike):
        text = str(path)
    else:
        msg = f"a path must be a str or os.PathLike, not {type(path).__name__}"
        raise TypeError(msg)
    if "\0" in text:
        msg = f"a path cannot hold a NUL character: {text!r}"
        raise LocationError(msg)
    return text.replace("\\", "/")


def is_url(text: str) -> bool:
    """Whether a text names a protocol, collapsed by ``pathlib`` or not.

    Examples:
        >>> is_url("s3:/bucket/x"), is_url("simplecache::gs://bucket"), is_url("C:/data"), is_url("case-1")
        (True, True, False, False)
    """
    return _URL.fullmatch(text) is not None


def repair(url: Location) -> str:
    """Undo what ``pathlib`` does to a URL: ``s3:/bucket/x`` is ``s3://bucket/x`` again.

    Args:
        url: A URL or a plain path.

    Returns:
        The URL with two slashes behind the protocol (three for ``file``, whose paths are absolute); a plain path comes
        back with forward slashes.

    Examples:
        >>> repair("simplecache::s3:/bucket/case-1")
        'simplecache::s3://bucket/case-1'
        >>> repair("file:/data/study")
        'file:///data/study'
    """
    text = to_text(url)
    match = _URL.fullmatch(text)
    if match is None:
        return text
    slash = "/" if match["scheme"] in ("file", "local") and not PureWindowsPath(match["rest"]).drive else ""
    return f"{match['chain']}{match['scheme']}://{slash}{match['rest']}"


def chain_protocols(url: str) -> tuple[str, ...]:
    """The protocols of a URL, outermost first; ``("file",)`` for a plain path.

    Examples:
        >>> chain_protocols("simplecache::s3://bucket/x")
        ('simplecache', 's3')
    """
    match = _URL.fullmatch(url)
    if match is None:
        return ("file",)
    return (*(part for part in match["chain"].split("::") if part), match["scheme"])


def last_name(url: str) -> str:
    """What a person calls the place: the last segment of its URL.

    Examples:
        >>> last_name("s3://bucket/study-001/case-42")
        'case-42'
    """
    return redact(url).rstrip("/").rpartition("/")[2]


def _segments(text: str, shown: str) -> list[str]:
    kept: list[str] = []
    for segment in text.split("/"):
        if segment == "..":
            if not kept:
                msg = f"{redact(shown)!r} leaves the filesystem's root"
                raise LocationError(msg)
            kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    return kept


@dataclass(frozen=True, slots=True)
class Root:
    """Where a filesystem adapter lives, and the arithmetic between paths, keys and URLs below it.

    Attributes:
        key: The root in the fsspec filesystem's own form, without a trailing slash.
        url: The root as a URL, without a trailing slash.
        protocols: The protocols that a full URL may name.
        strip: The fsspec filesystem's ``_strip_protocol``: URL to key.
        is_local: Whether a leading slash means an absolute path of this machine rather than the root.
        unfit: Texts that no path may hold, because the filesystem would read them as something else.
    """

    key: str
    url: str
    protocols: tuple[str, ...]
    strip: Callable[[str], str]
    is_local: bool
    unfit: tuple[str, ...] = ()

    @property
    def bucket(self) -> str:
        """The first segment of the root: bucket or container; empty for local paths."""
        return "" if self.is_local else self.key.strip("/").partition("/")[0]

    def clean(self, path: StrPath) -> str:
        """Normalise a path: one kind of slash, no ``.``, no ``..``, no doubled slashes, the URL repaired.

        Args:
            path: Relative to the root, absolute, or a full URL.

        Returns:
            What stands for the same place: a relative path (empty for the root), an absolute local path, or a URL.

        Raises:
            LocationError: If the path leaves the root.
        """
        text = to_text(path)
        match = _URL.fullmatch(text)
        if match is not None:
            return repair(text).rstrip("/")
        joined = "/".join(_segments(text, text))
        return f"/{joined}" if self.is_local and text.startswith("/") else joined

    def to_key(self, path: StrPath) -> str:
        """The store's own key of a path.

        Args:
            path: Relative to the root, absolute, or a full URL below the root.

        Returns:
            A key that begins with the root's.

        Raises:
            LocationError: For a foreign bucket or protocol, or a path that leaves the root.
        """
        text = to_text(path)
        for part in self.unfit:
            if part in text:
                msg = f"{redact(text)!r}: a name cannot hold {part!r} here"
                raise LocationError(msg)
        if is_url(text):
            return self._key_of_url(text)
        if self.is_local and os.path.isabs(text):
            return self._below(self.clean(text), text)
        return self._join(_segments(text, text))

    def to_file_key(self, path: StrPath) -> str:
        """As [to_key][idfkit_fs.location.Root.to_key], for what must name a file.

        Raises:
            LocationError: Also when the path names the root itself.
        """
        key = self.to_key(path)
        if key == self.key:
            msg = f"{to_text(path)!r} names the root {redact(self.url)!r}, not a file in it"
            raise LocationError(msg)
        return key

    def to_url(self, path: StrPath = "") -> str:
        """The full URL of a path below the root."""
        relative = self.relative(self.to_key(path))
        return f"{self.url}/{relative}" if relative else self.url

    def relative(self, key: str) -> str:
        """The path below the root of one of the store's keys; empty for the root."""
        return key.removeprefix(self.key).strip("/")

    def _join(self, segments: list[str]) -> str:
        return "/".join([self.key.rstrip("/"), *segments]) if segments else self.key

    def _key_of_url(self, text: str) -> str:
        url = repair(text)
        scheme = chain_protocols(url)[-1]
        if scheme not in self.protocols:
            msg = f"{redact(url)!r} is of another filesystem ({scheme}) than {redact(self.url)!r}"
            raise LocationError(msg)
        mine, theirs = _authority(self.url), _authority(url)
        if mine and theirs and not _same_authority(mine, theirs):
            msg = f"{redact(url)!r} is in another bucket or on another host than {redact(self.url)!r}"
            raise LocationError(msg)
        bare, root = _unchained(url), _unchained(self.url)
        if bare.startswith(f"{root}/"):
            return self._join(_segments(bare.removeprefix(f"{root}/"), url))
        return self._below(self.strip(bare), url)

    def _below(self, key: str, shown: str) -> str:
        anchor = self._anchor(key)
        key = anchor + "/".join(_segments(key.removeprefix(anchor), shown))
        root = self.key.rstrip("/")
        if key == root or key.startswith(f"{root}/"):
            return key
        msg = f"{redact(shown)!r} is not below {redact(self.url)!r}"
        raise LocationError(msg)

    @staticmethod
    def _anchor(key: str) -> str:
        """What a key begins with that is no segment: a slash, or the protocol and host of an HTTP URL."""
        match = re.match(r"[a-z][a-z0-9+.\-]+://|/", key)
        return match[0] if match else ""


def _unchained(url: str) -> str:
    """A URL without the wrappers before it; a name in it may hold ``::`` too."""
    return url.removeprefix("::".join((*chain_protocols(url)[:-1], "")))


def _authority(url: str) -> str:
    match = _URL.fullmatch(url)
    if match is None or match["scheme"] in ("file", "local"):
        return ""
    return match["rest"].partition("/")[0]


def _same_authority(mine: str, theirs: str) -> bool:
    """Whether two hosts are one; Azure names a container with or without its account (``box@account.host``)."""
    if mine == theirs:
        return True
    one_is_short = ("@" in mine) != ("@" in theirs)
    return one_is_short and mine.partition("@")[0] == theirs.partition("@")[0]


class GlobPattern(NamedTuple):
    """A parsed glob pattern.

    Attributes:
        segments: The pattern's segments.
        below: Those that lead it and have no wildcard: where a listing can begin.
    """

    segments: tuple[str, ...]
    below: tuple[str, ...]

    @property
    def recursive(self) -> bool:
        """Whether the pattern can match below the first level of that listing."""
        return len(self.segments) > len(self.below) + 1 or self.segments[-1] == "**"

    def matches(self, path: str) -> bool:
        """Whether a path, relative to the directory that is searched, fits the pattern."""
        return _fits(self.segments, tuple(path.split("/")))


def _fits(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if not pattern or not path:
        return not pattern and not path
    head, rest = pattern[0], pattern[1:]
    if head == "**":
        return not rest or any(_fits(rest, path[skipped:]) for skipped in range(len(path)))
    return fnmatchcase(path[0], head) and _fits(rest, path[1:])


@lru_cache(maxsize=256)
def parse_glob(pattern: str) -> GlobPattern:
    """Parse a glob pattern by ``pathlib``'s rules.

    ``*``, ``?`` and ``[...]`` stay within a segment; a segment ``**`` stands for any number of them, none included.

    Args:
        pattern: The pattern, relative to the directory that is searched.

    Returns:
        The parsed pattern.

    Raises:
        LocationError: If the pattern is empty, absolute, a URL, or has a ``..`` segment.

    Examples:
        >>> parse_glob("zones/*.csv").matches("zones/core.csv"), parse_glob("**/*.csv").matches("zones/core.csv")
        (True, True)
    """
    text = pattern.replace("\\", "/")
    segments = tuple(segment for segment in text.split("/") if segment not in ("", "."))
    if not segments or text.startswith("/") or ".." in segments or is_url(text):
        msg = f"a glob pattern must be relative, without '..', and not empty; got {pattern!r}"
        raise LocationError(msg)
    literal = next(
        (index for index, segment in enumerate(segments[:-1]) if re.search(r"[*?\[]", segment)), len(segments) - 1
    )
    return GlobPattern(segments, segments[:literal])


def matching(names: Iterable[str], patterns: Sequence[str]) -> set[str]:
    """The names that match one of some glob patterns.

    Raises:
        LocationError: As [parse_glob][idfkit_fs.location.parse_glob].

    Examples:
        >>> sorted(matching(["eplus.sql", "eplus.err", "zones/core.csv"], ["*.sql", "zones/*"]))
        ['eplus.sql', 'zones/core.csv']
    """
    parsed = [parse_glob(pattern) for pattern in patterns]
    return {name for name in names if any(pattern.matches(name) for pattern in parsed)}
