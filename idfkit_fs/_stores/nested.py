"""Options inside options: dictionaries that a backend hands on to its SDK.

s3fs drops each name in ``s3_additional_kwargs`` that a call does not know: with a misspelt ``ServerSideEncryption``,
objects are stored unencrypted. The names come from the SDK that takes them, which is imported only if such an option is
given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from idfkit_fs._util.messages import did_you_mean
from idfkit_fs.errors import StorageOptionsError

__all__ = ["check_nested"]

# The calls that s3fs makes for files. What only another call takes has no effect, so it is refused.
_S3_CALLS = (
    *("PutObject", "GetObject", "HeadObject", "CopyObject", "DeleteObject", "DeleteObjects", "ListObjectsV2"),
    *("CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload", "AbortMultipartUpload"),
)
# Each call sets them itself.
_S3_OWN = frozenset(
    {
        *("Body", "Bucket", "Key", "CopySource", "Delete", "UploadId", "PartNumber", "MultipartUpload", "Range"),
        *("Prefix", "Delimiter", "ContinuationToken", "StartAfter", "CopySourceRange", "ContentLength", "ContentMD5"),
        *("IfMatch", "IfNoneMatch", "VersionId"),
    }
)


def check_nested(package: str, protocol: str, options: Mapping[str, Any]) -> None:
    """Refuse names in nested options that the backend, or its SDK, does not know.

    Args:
        package: The backend's package.
        protocol: The protocol, for the message.
        options: The options of one protocol.

    Raises:
        StorageOptionsError: If a name is unknown, or the option is not a dictionary. Values are never shown.
    """
    for option, names in _CHECKS.get(package, {}).items():
        given = options.get(option)
        if given is None:
            continue
        if not isinstance(given, Mapping):
            # s3fs takes its own class for the parameters of an encryption too.
            if hasattr(given, "to_kwargs"):
                continue
            raise StorageOptionsError(f"{protocol}:// takes a dictionary as {option}, not {type(given).__name__}")
        known = names() if given else frozenset()
        for name in given:
            if name not in known:
                hint = did_you_mean(str(name), known)
                raise StorageOptionsError(f"{protocol}:// has no storage option {name!r} in {option}{hint}")


@lru_cache(maxsize=1)
def _s3_parameters() -> frozenset[str]:
    from botocore.session import Session

    model = Session().get_service_model("s3")
    shapes = (model.operation_model(call).input_shape for call in _S3_CALLS)
    return frozenset(name for shape in shapes if shape is not None for name in shape.members) - _S3_OWN


def _client_parameters() -> frozenset[str]:
    from botocore.session import Session

    # s3fs gives the configuration itself.
    return frozenset(inspect.signature(Session.create_client).parameters) - {"self", "service_name", "config"}


def _config_parameters() -> frozenset[str]:
    from aiobotocore.config import AioConfig  # type: ignore[import-untyped]  # it has no types
    from botocore.config import Config

    own = frozenset(inspect.signature(AioConfig.__init__).parameters) - {"self", "kwargs", "args"}
    return own | frozenset(Config.OPTION_DEFAULTS)


def _http_session_parameters() -> frozenset[str]:
    from aiohttp import ClientSession

    return frozenset(inspect.signature(ClientSession.__init__).parameters) - {"self"}


_CHECKS: dict[str, dict[str, Callable[[], frozenset[str]]]] = {
    "s3fs": {
        "s3_additional_kwargs": _s3_parameters,
        "client_kwargs": _client_parameters,
        "config_kwargs": _config_parameters,
    },
    "gcsfs": {"session_kwargs": _http_session_parameters},
    "fsspec": {"client_kwargs": _http_session_parameters},  # of http
}
