"""Which names of files are safe on every system, even if another user chose them. No I/O."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PureWindowsPath

from idfkit_fs._util.bounds import NAME_BYTES, PATH_BYTES
from idfkit_fs._util.urls import is_url

__all__ = ["is_device", "problem_of_path", "problem_of_paths"]

# With and without an extension, in any case, and with blanks before the dot (Microsoft, Naming Files).
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|clock\$|com[\d¹²³]|lpt[\d¹²³])\s*([.:].*)?", re.IGNORECASE)
# Names that need no closer look, as those of EnergyPlus's outputs: each record of a study has some twenty.
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-]")
# Control characters, those that change the direction of a text or are not seen, halves of pairs, and ends of lines.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def is_device(name: str) -> bool:
    """Whether Windows takes a name for a device.

    Examples:
        >>> is_device("COM1.txt"), is_device("nul"), is_device("console")
        (True, True, False)
    """
    return _DEVICE.fullmatch(name) is not None


def problem_of_path(path: str) -> str | None:
    """Why a relative path cannot be that of a file in a directory; None if it can.

    Examples:
        >>> problem_of_path("sub/eplus.sql"), problem_of_path("../eplus.sql")
        (None, "it has the part '..'")
    """
    if _PLAIN.fullmatch(path) and not is_device(path):
        return None
    parts = path.split("/")
    unseen = next((character for character in path if unicodedata.category(character) in _UNSEEN), None)
    if unseen is not None:
        return f"it contains the character U+{ord(unseen):04X}"
    checks = (
        (next((part for part in parts if part in ("", ".", "..")), None), "it has the part {!r}"),
        ("\\" if "\\" in path else None, "it contains {!r}"),
        (path if PureWindowsPath(path).drive or is_url(path) else None, "{!r} is not relative"),
        (":" if ":" in path else None, "it contains {!r}, which means a stream on Windows"),
        (next((part for part in parts if part[-1:] in (" ", ".")), None), "{!r} ends with a dot or a space"),
        (next(filter(is_device, parts), None), "Windows reserves {!r} for a device"),
        (
            next((part for part in parts if len(part.encode()) > NAME_BYTES), None),
            f"a name is longer than {NAME_BYTES}",
        ),
        (path if len(path.encode()) > PATH_BYTES else None, f"it is longer than {PATH_BYTES} bytes"),
    )
    return next((text.format(found) for found, text in checks if found is not None), None)


def problem_of_paths(paths: Iterable[str]) -> str | None:
    """Why paths cannot all be in one directory, on a disk that ignores case; None if they can.

    Examples:
        >>> problem_of_paths(["y", "y/x"])
        "'y' is a file and the directory of 'y/x'"
    """
    files: dict[str, str] = {}
    for path in paths:
        folded = _folded(path)
        if folded in files:
            twice = files[folded] == path
            return f"{path!r} is listed twice" if twice else f"{files[folded]!r} and {path!r} differ by case only"
        files[folded] = path
    for folded, path in files.items():
        parts = folded.split("/")
        above = next((files[each] for each in map("/".join, _beginnings(parts)) if each in files), None)
        if above is not None:
            return f"{above!r} is a file and the directory of {path!r}"
    return None


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _beginnings(parts: list[str]) -> Iterable[list[str]]:
    return (parts[:count] for count in range(1, len(parts)))
