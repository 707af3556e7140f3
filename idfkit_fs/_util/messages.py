"""Text for messages: spelling suggestions, and secrets taken out."""

from __future__ import annotations

import base64
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

__all__ = ["did_you_mean", "printable", "redact", "secrets_of"]

_SECRET_OPTION = re.compile(
    r"secret|token|passw|passphrase|\bpwd|auth|credential|sas|account_key|api_?key|connection_string|private"
    r"|customerkey(?!md5)",
    re.IGNORECASE,
)
# A password in a URL; and a user alone in one of a web server, who may be a token.
_USERINFO = re.compile(r"(://[^/@\s:'\"]*:|\bhttps?://(?=[^/@\s:'\"]+@))[^/\s'\"]+(?=@)", re.IGNORECASE)
_NAMES = (
    r"sig|signature|x-(?:amz|goog)-(?:signature|security-token|credential)|(?:aws_?)?session_?token|security_?token"
    r"|(?:access|refresh|id|auth|sas|bearer|api|oauth)?[-_]?token|account_?key|shared_?access_?(?:key|signature)"
    r"|client_?secret|(?:aws_?)?secret(?:_?access)?_?key|secret|api_?key|subscription-key|(?<=[?&])key|private_key"
    r"|pass(?:word|wd|phrase)?|pwd"
)
# Between a name and its value: in a query (also one that is quoted into another), in JSON, in Python's dictionaries.
_IS = r"(?:=|%3D|b?['\"]?\s*[:=,]\s*b?['\"])"
_VALUE = re.compile(
    rf"((?:(?<![A-Za-z0-9])|(?<=%3F)|(?<=%26))(?:{_NAMES}){_IS})(?!\*\*\*)(?:(?!%26)[^&\s'\"<>;,)\]}}])+", re.IGNORECASE
)
# Of a header, the whole line, or the whole text in quotes.
_HEADER_NAMES = (
    r"(?:proxy-)?authorization|(?:set-)?cookie|x-ms-copy-source-authorization"
    r"|x-(?:amz|goog)-(?:security-token|copy-source-server-side-encryption-customer-key|encryption-key"
    r"|server-side-encryption-customer-key)|x-ms-encryption-key|x-(?:auth|api|vault)-(?:token|key)|api-key"
)
_HEADER = re.compile(rf"(\b(?:{_HEADER_NAMES})(?:['\"]\s*[:,]\s*b?['\"]|\s*:\s*+))(?!\*\*\*)[^\r\n'\"]+", re.IGNORECASE)
_SCHEME = re.compile(r"(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/-]{8,}=*", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about a misspelt name: the nearest known name, or nothing."""
    by_lower_case = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), list(by_lower_case), n=1)
    return f"; did you mean {by_lower_case[near[0]]!r}?" if near else ""


def printable(text: str, keep: str = "") -> str:
    r"""A text that a terminal shows as it is: what could move the cursor, or turn or hide text, is escaped.

    Args:
        text: Any text, such as a name from another person's bucket.
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
    """A secret as messages show it: text in a URL, in Python's quotes or in JSON; bytes in base64 and in hex too."""
    if isinstance(secret, str):
        return {
            secret,
            quote(secret, safe=""),
            quote(secret),
            quote_plus(secret),
            repr(secret)[1:-1],
            json.dumps(secret)[1:-1],
        }
    if isinstance(secret, (bytes, bytearray)):
        data = bytes(secret)
        return {repr(data)[2:-1], base64.b64encode(data).decode(), data.hex(), data.decode(errors="replace")}
    return set()


def redact(text: str, secrets: frozenset[str] = frozenset()) -> str:
    """Replace passwords, tokens, signatures and known secret values in a text: in URLs, queries, JSON and headers.

    Args:
        text: Any text, such as a URL or an SDK's error message.
        secrets: Values to replace wherever they occur.

    Returns:
        The text with ``***`` in place of each secret.

    Examples:
        >>> redact("sftp://me:pass@host/x")
        'sftp://me:***@host/x'
    """
    for secret in sorted(secrets, key=len, reverse=True):  # one may be the beginning of another
        text = text.replace(secret, "***")
    for pattern in (_HEADER, _SCHEME, _VALUE):
        text = pattern.sub(r"\1***", text)
    return _USERINFO.sub(r"\1***", _JWT.sub("***", text))
