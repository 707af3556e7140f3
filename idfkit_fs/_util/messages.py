"""Text for messages: spelling suggestions, and secrets taken out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["did_you_mean", "redact", "secrets_of"]

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
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def secrets_of(options: Mapping[str, Any]) -> frozenset[str]:
    """The values in storage options that must never be shown, found by the names of the options.

    Args:
        options: Storage options, nested as fsspec nests them for chained URLs.

    Returns:
        Every secret string of at least four characters.
    """
    found: set[str] = set()
    for name, value in options.items():
        if isinstance(value, Mapping):
            found |= secrets_of(value)
        elif _SECRET_OPTION.search(str(name)):
            values = value if isinstance(value, (list, tuple)) else (value,)
            found |= {text for text in values if isinstance(text, str) and len(text) >= 4}
    return frozenset(found)


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
