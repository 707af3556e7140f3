"""Which right each check needs, in the words of the store that grants it."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["consequence", "right_for"]

_S3 = {
    "bucket": "s3:ListBucket on arn:aws:s3:::{bucket}",
    "list": "s3:ListBucket on arn:aws:s3:::{bucket}",
    "write": "s3:PutObject on arn:aws:s3:::{prefix}/*",
    "read": "s3:GetObject on arn:aws:s3:::{prefix}/*",
    "copy": "s3:GetObject and s3:PutObject on arn:aws:s3:::{prefix}/*",
    "multipart": "s3:PutObject and s3:AbortMultipartUpload on arn:aws:s3:::{prefix}/*",
    "delete": "s3:DeleteObject on arn:aws:s3:::{prefix}/*",
}
# Overwriting an object needs the right to delete it.
_GCS = {
    "bucket": "storage.buckets.get on {bucket}",
    "list": "storage.objects.list on {bucket} (in roles/storage.objectViewer)",
    "write": "storage.objects.create on {bucket} (in roles/storage.objectUser)",
    "read": "storage.objects.get on {bucket} (in roles/storage.objectViewer)",
    "overwrite": "storage.objects.delete on {bucket} (in roles/storage.objectUser)",
    "copy": "storage.objects.get and storage.objects.create on {bucket} (in roles/storage.objectUser)",
    "delete": "storage.objects.delete on {bucket} (in roles/storage.objectUser)",
}
_AZURE = {
    "bucket": "read access to the container {bucket}",
    "list": "l (list) in the SAS, or the role Storage Blob Data Reader, on {bucket}",
    "write": "c and w (create, write) in the SAS, or the role Storage Blob Data Contributor, on {bucket}",
    "read": "r (read) in the SAS, or the role Storage Blob Data Reader, on {bucket}",
    "copy": "r, c and w in the SAS, or the role Storage Blob Data Contributor, on {bucket}",
    "delete": "d (delete) in the SAS, or the role Storage Blob Data Contributor, on {bucket}",
}
_FILES = {
    "bucket": "search permission (x) on the directories above {prefix}",
    "list": "read permission (r) on the directory {prefix}",
    "write": "write permission (w) on the directory {prefix}",
    "read": "read permission (r) on the files in {prefix}",
    "delete": "write permission (w) on the directory {prefix}",
}
_RIGHTS: Mapping[str, Mapping[str, str]] = {"s3fs": _S3, "gcsfs": _GCS, "adlfs": _AZURE}
# Checks that need what another one needs.
_SAME = {"range": "read", "overwrite": "write", "create": "write", "copy": "write", "multipart": "write"}
_CONSEQUENCES = {
    "list": "status, summaries, glob and consolidating do not work, and a missing file is reported as refused",
    "write": "nothing can be published or added; reading works",
    "read": "results cannot be read, and workers cannot fetch their inputs",
    "overwrite": "runs cannot be replaced",
    "copy": "equal cases are simulated instead of copied",
    "multipart": "large files cannot be published",
    "delete": "replacing and removing runs, and the clean-up of interrupted work, do not work",
}


def right_for(package: str, check: str, bucket: str, prefix: str) -> str:
    """The right that a check needs.

    Args:
        package: The backend's package.
        check: The check's name.
        bucket: The bucket or container.
        prefix: The root, with its bucket.

    Examples:
        >>> right_for("s3fs", "range", "results", "results/study-001")
        's3:GetObject on arn:aws:s3:::results/study-001/*'
    """
    rights = _RIGHTS.get(package, _FILES)
    return rights.get(check, rights.get(_SAME.get(check, check), "")).format(bucket=bucket, prefix=prefix)


def consequence(check: str) -> str:
    """What of this package does not work where a check fails; empty if that is clear."""
    return _CONSEQUENCES.get(check, "")
