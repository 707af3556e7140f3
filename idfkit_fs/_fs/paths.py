"""Arithmetic between paths, keys and URLs below one root. No I/O."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from idfkit_fs._util.messages import redact
from idfkit_fs._util.urls import StrPath, chain_protocols, is_url, repair, split_url, to_text
from idfkit_fs.errors import LocationError

__all__ = ["Root"]


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
            LocationError: For a foreign bucket or protocol, or a path that leaves the root.
        """
        text = to_text(path)
        for part in self.unfit:
            if part in text:
                raise LocationError(f"{redact(text)!r}: a name cannot hold {part!r} here")
        if is_url(text):
            return self._key_of_url(text)
        if self.is_local and os.path.isabs(text):
            return self._below(self.clean(text), text)
        return self._join(_segments(text, text))

    def to_file_key(self, path: StrPath) -> str:
        """As [to_key][idfkit_fs._fs.paths.Root.to_key], for what must name a file.

        Raises:
            LocationError: Also when the path names the root itself.
        """
        key = self.to_key(path)
        if key == self.key:
            raise LocationError(f"{to_text(path)!r} names the root {redact(self.url)!r}, not a file in it")
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
            raise LocationError(f"{redact(url)!r} is of another filesystem ({scheme}) than {redact(self.url)!r}")
        mine, theirs = _authority(self.url), _authority(url)
        if mine and theirs and not _same_authority(mine, theirs):
            raise LocationError(f"{redact(url)!r} is in another bucket or on another host than {redact(self.url)!r}")
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
        raise LocationError(f"{redact(shown)!r} is not below {redact(self.url)!r}")

    @staticmethod
    def _anchor(key: str) -> str:
        """What a key begins with that is no segment: a slash, or the protocol and host of an HTTP URL."""
        match = re.match(r"[a-z][a-z0-9+.\-]+://|/", key)
        return match[0] if match else ""


def _unchained(url: str) -> str:
    """A URL without the wrappers before it; a name in it may hold ``::`` too."""
    return url.removeprefix("::".join((*chain_protocols(url)[:-1], "")))


def _authority(url: str) -> str:
    parts = split_url(url)
    return "" if parts is None or parts.protocol in ("file", "local") else parts.rest.partition("/")[0]


def _same_authority(mine: str, theirs: str) -> bool:
    """Whether two hosts are one; Azure names a container with or without its account (``box@account.host``)."""
    if mine == theirs:
        return True
    one_is_short = ("@" in mine) != ("@" in theirs)
    return one_is_short and mine.partition("@")[0] == theirs.partition("@")[0]
