"""Which right a login lacks, in the store's own words: an S3 action, a GCS permission, the letter of an Azure SAS."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

__all__ = ["MissingRight", "missing_right"]

_S3_ACTIONS = {
    **dict.fromkeys(("GetObject", "HeadObject"), "s3:GetObject"),
    **dict.fromkeys(("ListObjectsV2", "ListObjects", "HeadBucket"), "s3:ListBucket"),
    **dict.fromkeys(
        ("PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload"),
        "s3:PutObject",
    ),
    **dict.fromkeys(("DeleteObject", "DeleteObjects"), "s3:DeleteObject"),
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
}
# A refusal for another reason, such as a wrong key or an expired token, has a code of its own; that to HEAD has none.
_S3_CODES = frozenset({"AccessDenied", "403"})
_AMAZON_SAYS = re.compile(r'not authorized to perform: (\w+:\w+)(?: on resource: "?([^\s"]+))?')
_GOOGLE_SAYS = re.compile(r"(?:does not have |Permission ')(storage\.\w+\.\w+)(?: access|' denied)")
_AZURE_CODES = frozenset({"AuthorizationPermissionMismatch"})
_AZURE_LETTERS = {
    "l": "'l' (list), or the role Storage Blob Data Reader",
    "r": "'r' (read), or the role Storage Blob Data Reader",
    "w": "'w' (write), or the role Storage Blob Data Contributor",
    "d": "'d' (delete), or the role Storage Blob Data Contributor",
}


class MissingRight(NamedTuple):
    """A right that a login lacks.

    Attributes:
        text: The right, and what it must be granted on.
        hides_missing: Whether the store says the same of a file that does not exist, since the login may not list.
    """

    text: str
    hides_missing: bool


def missing_right(chain: Iterable[BaseException], url: str) -> MissingRight | None:
    """Find the right that a refused request needs.

    Args:
        chain: An exception of a store's class, and what led to it.
        url: The URL that the call was about.

    Returns:
        The right; None if the store refused the login itself, or does not say.
    """
    for exc in chain:
        found = _of_s3(exc, url) or _of_google(exc, url) or _of_azure(exc)
        if found is not None:
            return found
    return None


def _of_s3(exc: BaseException, url: str) -> MissingRight | None:
    response = getattr(exc, "response", None)
    operation = getattr(exc, "operation_name", None)
    if not isinstance(response, Mapping) or response.get("Error", {}).get("Code") not in _S3_CODES:
        return None
    bucket, _, key = url.partition("://")[2].partition("/")
    action = _S3_ACTIONS.get(str(operation))
    arn = f"arn:aws:s3:::{bucket}"
    told = _AMAZON_SAYS.search(str(response["Error"].get("Message", "")))
    if told and told[1] != action:  # such as kms:GenerateDataKey
        return MissingRight(f"{told[1]} on {told[2] or arn}", False)
    if action == "s3:ListBucket":
        return MissingRight(f"{action} on {arn}, with the prefix {f'{key}/' if key else ''!r}", False)
    if action == "s3:GetObject":
        text = f"{action} on {arn}/{key}; or the file is missing: only a login with s3:ListBucket on {arn} can see that"
        return MissingRight(text, True)
    if operation in ("CopyObject", "UploadPartCopy"):
        return MissingRight(f"s3:GetObject on the source, and s3:PutObject on {arn}/{key}", False)
    return MissingRight(f"{action} on {arn}/{key}", False) if action else None


def _of_google(exc: BaseException, url: str) -> MissingRight | None:
    told = _GOOGLE_SAYS.search(str(exc))
    if told is None:
        return None
    permission = told[1]
    if permission == "storage.objects.get":
        text = f"{permission} on {url}; or the file is missing: only a login with storage.objects.list can see that"
        return MissingRight(text, True)
    # A file that is missing is looked for by a listing.
    bucket = "/".join(url.split("/")[:3])
    return MissingRight(f"{permission} on {bucket}", permission == "storage.objects.list")


def _of_azure(exc: BaseException) -> MissingRight | None:
    if getattr(exc, "error_code", None) not in _AZURE_CODES:
        return None
    request: Any = getattr(getattr(exc, "response", None), "request", None)
    if request is None:
        return None
    query = parse_qs(urlsplit(request.url).query)
    letter = {"PUT": "w", "DELETE": "d"}.get(request.method, "l" if query.get("comp") == ["list"] else "r")
    return MissingRight(f"the SAS letter {_AZURE_LETTERS[letter]}", False)
