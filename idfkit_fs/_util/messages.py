"""Text for messages: spelling suggestions, and secrets taken out."""

from __future__ import annotations

import base64
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["did_you_mean", "printable", "redact", "secrets_of"]

_SECRET_OPTION = re.compile(
    r"secret|token|passw|passphrase|\bpwd|auth|credential|sas|account_key|api_?key|connection_string|private"
    r"|customerkey(?!md5)",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(://[^/@\s:]*:)[^/\s]*(?=@)")
_SIGNATURE = re.compile(
    r"(\b(?:sig|signature|X-Amz-Signature|X-Amz-Security-Token|X-Goog-Signature|AccountKey|SharedAccessSignature"
    r"|access_token|password)=)[^&\s'\"]+",
    re.IGNORECASE,
)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about a misspelt name: the nearest known name, or nothing."""
    by_lower_case = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), list(by_lower_case), n=1)
    return f"; did you mean {by_lower_case[near[0]]!r}?" if near else ""


def printable(text: str, keep: str = "") -> str:
    r"""A text that a terminal shows as it is: what could move the cursor, or turn or hide text, is escaped.

    Args:
        text: Any text, such as a name from somebody else's bucket.
        keep: Characters to leave as they are, such as the end of a line.

    Returns:
        The text, with an escape as Python writes it in place of each character that is not printable.

    Examples:
        >>> print(printable("case\x1b[2J\u202e"))
        case\x1b[2J\u202e
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else ascii(each)[1:-1] for each in text)


def secrets_of(options: Mapping[str, Any]) -> frozenset[str]:
    """The values in storage options that must never be shown, found by the names of the options.

    Args:
        options: Storage options, nested as fsspec nests them for chained URLs.

    Returns:
        Every secret string of at least four characters; of secret bytes, the forms that messages show.
    """
    found: set[str] = set()
    for name, value in options.items():
        if isinstance(value, Mapping):
            found |= secrets_of(value)
        elif _SECRET_OPTION.search(str(name)):
            values = value if isinstance(value, (list, tuple)) else (value,)
            found |= {text for secret in values for text in _forms(secret) if len(text) >= 4}
    return frozenset(found)


def _forms(secret: object) -> set[str]:
    """A secret as messages show it: bytes may appear as Python writes them, as base64, in hex or as text."""
    if isinstance(secret, str):
        return {secret}
    if isinstance(secret, (bytes, bytearray)):
        data = bytes(secret)
        return {repr(data)[2:-1], base64.b64encode(data).decode(), data.hex(), data.decode(errors="replace")}
    return set()


def redact(text: str, secrets: frozenset[str] = frozenset()) -> str:
    """Replace passwords, signatures and known secret values in a text.

    Args:
        text: Any text, such as a URL or an SDK's error message.
        secrets: Values to replace wherever they occur.

    Returns:
        The text with ``***`` in place of each secret.

    Examples:
        >>> redact("sftp://me:pass@host/x")
        'sftp://me:***@host/x'
    """
    for secret in secrets:
        text = text.replace(secret, "***")
    return _SIGNATURE.sub(r"\1***", _USERINFO.sub(r"\1***", text))
