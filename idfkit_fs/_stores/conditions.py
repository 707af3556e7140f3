"""Stores that cannot write on the condition that no file exists."""

from __future__ import annotations

from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.translate import causes, http_status, service_code

__all__ = ["ignores_conditions", "refuses_conditions"]

# What a store answers 400 to for other reasons than the condition.
_OTHER_REASONS = frozenset(
    {
        *("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "RequestTimeout"),
        *("AuthorizationHeaderMalformed", "BadDigest", "EntityTooLarge", "InvalidBucketName", "InvalidDigest"),
        *("KeyTooLongError", "IncompleteBody", "XAmzContentSHA256Mismatch"),
    }
)


def refuses_conditions(exc: BaseException) -> bool:
    """Whether the error of a conditional write may mean that the store knows no conditions: 501, or a plain 400.

    A 400 may have another cause; a second write, without the condition, then fails by the same error.

    Args:
        exc: The error of a conditional write, translated or not.
    """
    for cause in causes(exc, None):
        status = http_status(cause)
        if status == 501 or service_code(cause) == "NotImplemented":
            return True
        if status == 400 and service_code(cause) not in _OTHER_REASONS:
            return True
    return False


def ignores_conditions(fs: AbstractFileSystem) -> bool:
    """Whether the class is known to take ``mode="create"`` and overwrite all the same, as `obstore.fsspec` does."""
    return any(cls.__module__.partition(".")[0] == "obstore" for cls in type(fs).__mro__)
