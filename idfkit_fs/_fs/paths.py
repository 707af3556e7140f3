"""Arithmetic between paths, keys and URLs below one root. No I/O."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from idfkit_fs._util.messages import redact
from idfkit_fs._util.urls import StrPath, is_url, repair, split_url, to_text
from idfkit_fs.errors import LocationError

__all__ = ["Root", "is_nameable"]


@dataclass(frozen=True, slots=True)
class Root:
    """The root of a filesystem adapter.

    Attributes:
        key: The root in the fsspec filesystem's own form, without a trailing slash.
        url: The root as a URL, without a trailing slash; of an archive, up to the path inside.
        protocols: The protocols that a full URL may name.
        strip: The fsspec filesystem's ``_strip_protocol``: URL to key.
        is_local: Whether a leading slash means an absolute path of this machine rather than the root.
        forbidden: Texts that a path cannot contain, because the filesystem would read them as something else.
        tail: The URL of the archive that the files are in, such as ``"::s3://bucket/runs.zip"``; often empty.
    """

    key: str
    url: str
    protocols: tuple[str, ...]
    strip: Callable[[str], str]
    is_local: bool
    forbidden: tuple[str, ...] = ()
    tail: str = ""

    @property
    def bucket(self) -> str:
        """The first segment of the root: bucket or container; empty for local paths."""
        return "" if self.is_local else self.key.strip("/").partition("/")[0]

    def clean(self, path: StrPath) -> str:
        """Normalise a path: one kind of slash, no ``.``, no ``..``, no doubled slashes, the URL repaired.

        Args:
            path: Relative to the root, absolute, or a full URL.

        Returns:
            A relative path (empty for the root), an absolute local path, or a URL.

        Raises:
            LocationError: If the path leaves the root.
        """
        text = to_text(path)
        if is_url(text):
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
            LocationError: For another bucket or protocol, or a path that leaves the root.
        """
        text = to_text(path)
        for part in self.forbidden:
            if part in text:
                raise LocationError(f"{redact(text)!r}: a name cannot contain {part!r} on this store")
        if is_url(text):
            return self._key_of_url(text)
        if self.is_local and os.path.isabs(text):
            return self._below(self.clean(text), text)
        return self._join(_segments(text, text))

    def to_file_key(self, path: StrPath) -> str:
        """As [to_key][idfkit_fs._fs.paths.Root.to_key], for the path of a file.

        Raises:
            LocationError: Also for the root itself.
        """
        key = self.to_key(path)
        if key == self.key:
            raise LocationError(f"{to_text(path)!r} is the root {redact(self.to_url())!r}, not a file in it")
        return key

    def to_url(self, path: StrPath = "") -> str:
        """The full URL of a path below the root."""
        return self.url_of_key(self.to_key(path)) if path else self.url + self.tail

    def url_of_key(self, key: str) -> str:
        """The full URL of one of the store's keys below the root."""
        relative = self.relative(key)
        slash = "/" if relative and not self.url.endswith("/") else ""
        return f"{self.url}{slash}{relative}{self.tail}"

    def below(self, path: StrPath) -> Root:
        """A root further down.

        Raises:
            LocationError: If the path leaves this root.
        """
        key = self.to_key(path)
        return replace(self, key=key, url=self.url_of_key(key).removesuffix(self.tail))

    def relative(self, key: str) -> str:
        """The path below the root of one of the store's keys; empty for the root."""
        return key.removeprefix(self.key).strip("/")

    def _join(self, segments: list[str]) -> str:
        if not segments:
            return self.key
        return "/".join([self.key.rstrip("/"), *segments]) if self.key else "/".join(segments)

    def _key_of_url(self, text: str) -> str:
        below = self._joined_after_archive(text)
        if below is not None:
            return self._join(_segments(below, text))
        url = repair(text)
        if self.tail:
            url = url.removesuffix(self.tail)
        parts = split_url(url)
        protocol = parts.protocol if parts else ""
        if protocol not in self.protocols:
            raise LocationError(
                f"{redact(url)!r} belongs to another filesystem ({protocol}) than {redact(self.to_url())!r}"
            )
        mine, theirs = _authority(self.url), _authority(url)
        if mine and theirs and not _same_authority(mine, theirs):
            raise LocationError(
                f"{redact(url)!r} is in another bucket or on another host than {redact(self.to_url())!r}"
            )
        bare, root = _unchained(url), _unchained(self.url)
        if bare.startswith(f"{root}/"):
            return self._join(_segments(bare.removeprefix(f"{root}/"), url))
        return self._below(self.strip(bare), url)

    def _joined_after_archive(self, text: str) -> str | None:
        """The path that ``pathlib`` or a caller joined to the URL of a path in an archive, after the archive's URL.

        A run in an archive has such a URL as its ``run_dir``, and ``run_dir / "eplus.sql"`` means a file of the run.
        """
        if not self.tail:
            return None
        whole, joined = (re.sub(r"/+", "/", url) for url in (f"{self.url}{self.tail}/", text))
        return joined.removeprefix(whole) if joined.startswith(whole) else None

    def _below(self, key: str, shown: str) -> str:
        anchor = self._anchor(key)
        key = anchor + "/".join(_segments(key.removeprefix(anchor), shown))
        root = self.key.rstrip("/")
        if key == root or key.startswith(f"{root}/" if root else ""):
            return key
        raise LocationError(f"{redact(shown)!r} is not below {redact(self.to_url())!r}")

    @staticmethod
    def _anchor(key: str) -> str:
        """What a key begins with that is not a segment: a slash, or the protocol and host of an HTTP URL."""
        match = re.match(r"[a-z][a-z0-9+.\-]+://|/", key)
        return match[0] if match else ""


_NO_NAMES = frozenset({"", ".", ".."})


def is_nameable(name: str) -> bool:
    """Whether a path means just this key below the root.

    ``a//b`` would mean ``a/b``, a backslash is a separator, and ``s3:/a`` is a URL.

    Examples:
        >>> is_nameable("case-1/a.csv"), is_nameable("case-1//a.csv"), is_nameable("case-1/../a.csv")
        (True, False, False)
    """
    return "\\" not in name and _NO_NAMES.isdisjoint(name.split("/")) and (":" not in name or not is_url(name))


def _segments(text: str, shown: str) -> list[str]:
    kept: list[str] = []
    for segment in text.split("/"):
        if segment == "..":
            if not kept:
                raise LocationError(f"{redact(shown)!r} leaves the filesystem's root")
            kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    return kept


def _unchained(url: str) -> str:
    """A URL without the protocols that are chained before it; a name in it may contain ``::`` too."""
    parts = split_url(url)
    return url.removeprefix(parts.chain) if parts else url


def _authority(url: str) -> str:
    parts = split_url(url)
    return "" if parts is None or parts.protocol in ("file", "local") else parts.rest.partition("/")[0]


def _same_authority(mine: str, theirs: str) -> bool:
    """Whether two hosts are one; Azure names a container with or without its account (``box@account.host``)."""
    if mine == theirs:
        return True
    one_is_short = ("@" in mine) != ("@" in theirs)
    return one_is_short and mine.partition("@")[0] == theirs.partition("@")[0]
