"""What a store says beside its status decides the class, the errno, the message, and whether a request is repeated.

Real servers say what they can. The rest are the replies that the stores document, sent by a server on the loopback:

- S3: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
- Google: https://cloud.google.com/storage/docs/json_api/v1/status-codes
- Azure: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

from __future__ import annotations

import errno
import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from idfkit.simulation import SimulationResult
from support.replies import Replies, replying
from support.servers import AZURE_ACCOUNT, AZURE_KEY, BUCKET, Store

from idfkit_fs import FsspecFileSystem, IdfkitFsError, open_result, publish
from idfkit_fs._util import retry
from idfkit_fs.errors import (
    ArchivedError,
    BucketNotFoundError,
    ExistsError,
    NotFoundError,
    PermissionDeniedError,
    PublishError,
    StoreError,
    StoreFullError,
    UnreachableError,
)

SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"


@pytest.fixture
def replies() -> Iterator[Replies]:
    with replying() as server:
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same attempts, without the waits between them."""
    from azure.storage.blob.aio import ExponentialRetry

    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(retry, "ENOUGH_SECONDS", 600.0)  # a slow machine makes all attempts too
    monkeypatch.setattr(ExponentialRetry, "get_backoff_time", lambda *_args: 0)


def opened(store: str, endpoint: str) -> FsspecFileSystem:
    """A filesystem of a store at an endpoint."""
    url, options = place(store, endpoint)
    return FsspecFileSystem.from_url(url, **options)


def place(store: str, endpoint: str) -> tuple[str, dict[str, Any]]:
    if store == "s3":
        return "s3://bucket/run", {"key": "AKIAIOSFODNN7EXAMPLE", "secret": SECRET, "endpoint_url": endpoint}
    if store == "gs":
        return "gs://bucket/run", {"token": "anon", "project": "p", "endpoint_url": endpoint}
    connection = (
        f"DefaultEndpointsProtocol={endpoint.partition(':')[0]};AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};"
        f"BlobEndpoint={endpoint}/{AZURE_ACCOUNT};"
    )
    return "abfs://container/run", {"connection_string": connection}


def says(replies: Replies, store: str, status: int, code: str, message: str, more: str = "") -> None:
    """Have the server refuse everything in the words of a store; *more* is XML beside S3's and Azure's message."""
    replies.status, replies.requests[:] = status, []
    if store == "gs":
        # https://cloud.google.com/storage/docs/json_api/v1/status-codes, "Error response format"
        error = {
            "code": status,
            "message": message,
            "errors": [{"message": message, "domain": "global", "reason": code}],
        }
        replies.headers = {"Content-Type": "application/json; charset=UTF-8"}
        replies.body = json.dumps({"error": error}).encode()
        return
    request = "<RequestId>4442587FB7D0A2F9</RequestId>"
    replies.headers = {"Content-Type": "application/xml"}
    if store == "abfs":
        replies.headers |= {"x-ms-error-code": code, "x-ms-request-id": "4442587F", "x-ms-version": "2025-01-05"}
        message, request = f"{message}\nRequestId:4442587F\nTime:2026-01-01T00:00:00.0000000Z", ""
    replies.body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}{request}'
        "</Error>"
    ).encode()


def refused(call: Any, kind: type[BaseException] | tuple[type[BaseException], ...]) -> StoreError:
    """What a call that must fail raises; it shows no secret."""
    with pytest.raises(kind) as caught:
        call()
    exc = caught.value
    assert isinstance(exc, IdfkitFsError)
    shown = "".join(traceback.format_exception(exc)) + repr(exc)
    assert SECRET not in shown and AZURE_KEY not in shown
    assert isinstance(exc, StoreError)
    return exc


EACCES, EPERM = errno.EACCES, errno.EPERM
TOO_OLD = "<AuthenticationErrorDetail>Request date header too old: 'Thu, 01 Jan 2026 00:00:00 GMT'</AuthenticationErrorDetail>"
NO_AUTHENTICATION = (
    "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly "
    "including the signature."
)
SKEW = (
    "<RequestTime>20250901T162148Z</RequestTime><ServerTime>2025-09-03T16:21:50Z</ServerTime>"
    "<MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>"
)
# store, status, code, message, more, class, errno, how the message begins, a word of the remedy
HOPELESS: list[tuple[str, int, str, str, str, type[StoreError], int, str, str]] = [
    ("s3", 403, "InvalidObjectState", "The operation is not valid for the object's storage class", "<StorageClass>GLACIER</StorageClass>", ArchivedError, errno.ENODATA, "The file is archived", "restore-object"),
    ("s3", 403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", SKEW, PermissionDeniedError, EACCES, "The clock of this machine is wrong", "timedatectl"),
    ("s3", 403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", "<AWSAccessKeyId>AKIAIOSFODNN7EXAMPLE</AWSAccessKeyId>", PermissionDeniedError, EACCES, "The credentials are wrong: the store does not know this access key", "check the key"),
    ("s3", 403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.", "", PermissionDeniedError, EACCES, "The credentials are wrong: the secret does not fit", "copy the secret"),
    ("s3", 400, "ExpiredToken", "The provided token has expired.", "", PermissionDeniedError, EACCES, "The credentials have expired", "aws sso login"),
    ("s3", 400, "InvalidToken", "The provided token is malformed or otherwise not valid.", "", PermissionDeniedError, EACCES, "The credentials are wrong: the session token is invalid", "new token"),
    ("s3", 403, "AccountProblem", "There is a problem with your AWS account that prevents the operation from completing successfully.", "", PermissionDeniedError, EACCES, "The account is disabled", "console"),
    ("s3", 403, "AllAccessDisabled", "All access to this object has been disabled.", "", PermissionDeniedError, EACCES, "The account is disabled", "console"),
    ("s3", 403, "AccessDenied", "Access Denied", "", PermissionDeniedError, EACCES, "The login is not allowed to do this", "on arn:aws:s3:::bucket/run/a.csv"),
    ("s3", 403, "AccessDenied", "User: arn:aws:iam::1:user/u is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:eu-west-1:1:key/k because no identity-based policy allows the kms:Decrypt action", "", PermissionDeniedError, EACCES, "The encryption key (KMS)", "kms:Decrypt"),
    ("s3", 400, "KMS.DisabledException", "arn:aws:kms:us-east-1:1:key/k is disabled.", "", PermissionDeniedError, EACCES, "The encryption key (KMS)", "enable it"),
    ("s3", 400, "KMS.NotFoundException", "Key 'arn:aws:kms:us-east-1:1:key/k' does not exist", "", PermissionDeniedError, EACCES, "The encryption key (KMS)", "enable it"),
    ("s3", 400, "KMS.KMSInvalidStateException", "arn:aws:kms:us-east-1:1:key/k is pending deletion.", "", PermissionDeniedError, EACCES, "The encryption key (KMS)", "enable it"),
    ("s3", 400, "InvalidRequest", "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.", "", PermissionDeniedError, EACCES, "The file is encrypted with a key of its owner", "SSECustomerKey"),
    ("s3", 404, "NoSuchBucket", "The specified bucket does not exist", "<BucketName>bucket</BucketName>", BucketNotFoundError, errno.ENOENT, "No bucket or container named 'bucket'", "create it"),
    ("s3", 400, "AuthorizationHeaderMalformed", "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'", "<Region>eu-west-1</Region>", StoreError, errno.EINVAL, "The bucket is in another region", "AWS_REGION"),
    ("s3", 400, "IllegalLocationConstraintException", "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.", "", StoreError, errno.EINVAL, "The bucket is in another region", "region_name"),
    ("s3", 400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", "", StoreError, errno.EFBIG, "The file is too large for the store", "split"),
    ("s3", 400, "KeyTooLongError", "Your key is too long", "", StoreError, errno.ENAMETOOLONG, "The name is too long for the store", "shorter"),
    # Of Ceph (https://docs.ceph.com/en/latest/radosgw/s3/), MinIO (cmd/api-errors.go) and Ceph's own full disk.
    ("s3", 403, "QuotaExceeded", "Quota exceeded", "", StoreFullError, errno.EDQUOT, "The store is full, or its quota is used up", "remove files"),
    ("s3", 507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold. Please delete a few objects to proceed.", "", StoreFullError, errno.EDQUOT, "The store is full, or its quota is used up", "remove files"),
    ("s3", 507, "InsufficientStorage", "Insufficient storage", "", StoreFullError, errno.EDQUOT, "The store is full, or its quota is used up", "remove files"),
    ("gs", 403, "accountDisabled", "The billing account for the owning project is disabled in state closed", "", PermissionDeniedError, EACCES, "The account is disabled", "console"),
    ("gs", 403, "forbidden", "u@p.iam.gserviceaccount.com does not have storage.objects.get access to the Google Cloud Storage object.", "", PermissionDeniedError, EACCES, "The login is not allowed to do this", "storage.objects.get on gs://bucket"),
    ("gs", 403, "insufficientPermissions", "Insufficient Permission", "", PermissionDeniedError, EACCES, "The login is not allowed to do this", "Storage Object User"),
    ("gs", 403, "retentionPolicyNotMet", "Object 'bucket/run/a.csv' is subject to bucket's retention policy and cannot be deleted or overwritten until 2027-01-01", "", PermissionDeniedError, EPERM, "The file may not be changed or removed", "wait until"),
    ("gs", 403, "objectUnderActiveHold", "Object 'bucket/run/a.csv' is under active Temporary hold and cannot be deleted, overwritten or archived", "", PermissionDeniedError, EPERM, "The file may not be changed or removed", "wait until"),
    ("gs", 403, "quotaExceeded", "The quota of the project is exceeded.", "", StoreFullError, errno.EDQUOT, "The store is full, or its quota is used up", "remove files"),
    ("gs", 400, "cloudKmsDisabledKey", "Cloud KMS key is disabled.", "", PermissionDeniedError, EACCES, "The encryption key (KMS)", "cryptoKeyEncrypterDecrypter"),
    ("gs", 400, "resourceIsEncryptedWithCustomerEncryptionKey", "The target object is encrypted by a customer-supplied encryption key.", "", PermissionDeniedError, EACCES, "The file is encrypted with a key of its owner", "give the key"),
    ("gs", 400, "userProjectMissing", "Bucket is a requester pays bucket but no user project provided.", "", PermissionDeniedError, EACCES, "The bucket makes its readers pay", "requester_pays=True"),
    ("gs", 404, "notFound", "The specified bucket does not exist.", "", BucketNotFoundError, errno.ENOENT, "No bucket or container named 'bucket'", "create it"),
    ("gs", 413, "uploadTooLarge", "The object exceeds the maximum size.", "", StoreError, errno.EFBIG, "The file is too large for the store", "split"),
    ("abfs", 409, "BlobArchived", "This operation is not permitted on an archived blob.", "", ArchivedError, errno.ENODATA, "The file is archived", "set-tier"),
    ("abfs", 409, "BlobBeingRehydrated", "This operation is not permitted because the blob is being rehydrated.", "", ArchivedError, errno.ENODATA, "The file is archived", "minutes to days"),
    ("abfs", 403, "AuthenticationFailed", NO_AUTHENTICATION, "<AuthenticationErrorDetail>The MAC signature found in the HTTP request 'x' is not the same as any computed signature.</AuthenticationErrorDetail>", PermissionDeniedError, EACCES, "The credentials are wrong: the secret does not fit", "account key"),
    ("abfs", 403, "AuthenticationFailed", NO_AUTHENTICATION, TOO_OLD, PermissionDeniedError, EACCES, "The clock of this machine is wrong", "w32tm"),
    ("abfs", 403, "AuthenticationFailed", NO_AUTHENTICATION, "<AuthenticationErrorDetail>Signature not valid in the specified time frame: Start [Wed, 01 Jan 2025 00:00:00 GMT] - Expiry [Thu, 02 Jan 2025 00:00:00 GMT] - Current [Thu, 01 Jan 2026 00:00:00 GMT]</AuthenticationErrorDetail>", PermissionDeniedError, EACCES, "The credentials have expired", "SAS"),
    ("abfs", 403, "AuthorizationPermissionMismatch", "This request is not authorized to perform this operation using this permission.", "", PermissionDeniedError, EACCES, "The login is not allowed to do this", "or the role Storage Blob Data"),
    ("abfs", 403, "InsufficientAccountPermissions", "The account being accessed does not have sufficient permissions to execute this operation.", "", PermissionDeniedError, EACCES, "The login is not allowed to do this", "letters"),
    ("abfs", 403, "AuthorizationFailure", "This request is not authorized to perform this operation.", "", PermissionDeniedError, EACCES, "The account does not allow this kind of login", "network"),
    ("abfs", 403, "KeyBasedAuthenticationNotPermitted", "Key based authentication is not permitted on this storage account.", "", PermissionDeniedError, EACCES, "The account does not allow this kind of login", "az login"),
    ("abfs", 403, "AccountIsDisabled", "The specified account is disabled.", "", PermissionDeniedError, EACCES, "The account is disabled", "console"),
    ("abfs", 401, "NoAuthenticationInformation", "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.", "", PermissionDeniedError, EACCES, "No credentials were found", "environment"),
    ("abfs", 404, "ContainerNotFound", "The specified container does not exist.", "", BucketNotFoundError, errno.ENOENT, "No bucket or container named 'container'", "create it"),
    ("abfs", 409, "BlobImmutableDueToPolicy", "This operation is not permitted as the blob is immutable due to a policy.", "", PermissionDeniedError, EPERM, "The file may not be changed or removed", "wait until"),
    ("abfs", 413, "RequestBodyTooLarge", "The request body is too large and exceeds the maximum permissible limit.", "", StoreError, errno.EFBIG, "The file is too large for the store", "split"),
]  # fmt: skip
IDS = [f"{row[0]}-{row[2]}-{number}" for number, row in enumerate(HOPELESS)]


@pytest.mark.parametrize(
    ("store", "status", "code", "message", "more", "kind", "number", "wrong", "remedy"), HOPELESS, ids=IDS
)
def test_what_a_store_says_for_good(
    replies: Replies, store: str, status: int, code: str, message: str, more: str, kind: type[StoreError], number: int,
    wrong: str, remedy: str, impatient: None,
) -> None:  # fmt: skip
    says(replies, store, status, code, message, more)
    fs = opened(store, replies.endpoint)
    for call in (lambda: fs.read_bytes("a.csv"), lambda: fs.write_bytes("a.csv", b"x")):
        replies.requests.clear()
        exc = refused(call, kind)
        assert type(exc) is kind
        assert exc.errno == number
        assert str(exc.strerror).startswith(wrong)
        assert remedy in str(exc.strerror)
        # botocore itself asks once more for the region, which may be what is wrong.
        assert len(replies.requests) <= (2 if wrong.startswith("The bucket is in another region") else 1)


def test_both_clocks_are_shown(replies: Replies) -> None:
    says(replies, "s3", 403, "RequestTimeTooSkewed", "The difference is too large.", SKEW)
    exc = refused(lambda: opened("s3", replies.endpoint).read_bytes("a.csv"), PermissionError)
    assert "RequestTime 20250901T162148Z; ServerTime 2025-09-03T16:21:50Z" in str(exc)


def test_the_region_that_the_store_names_is_shown(replies: Replies) -> None:
    message = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'"
    says(replies, "s3", 400, "AuthorizationHeaderMalformed", message, "<Region>eu-west-1</Region>")
    exc = refused(lambda: opened("s3", replies.endpoint).exists("a.csv"), StoreError)
    assert "Region eu-west-1" in str(exc)


BUSY = [
    ("s3", 503, "SlowDown", "Please reduce your request rate."),
    ("s3", 500, "InternalError", "We encountered an internal error. Please try again."),
    ("s3", 400, "RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period."),
    ("s3", 400, "KMS.ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."),
    ("gs", 429, "rateLimitExceeded", "The object exceeded the rate limit for object mutation operations."),
    ("gs", 403, "userRateLimitExceeded", "User rate limit exceeded."),
    ("gs", 503, "backendError", "Backend Error"),
    ("gs", 502, "badGateway", "Bad Gateway"),
    ("abfs", 503, "ServerBusy", "The server is currently unable to receive requests. Please retry your request."),
    ("abfs", 500, "OperationTimedOut", "The operation could not be completed within the permitted time."),
]  # fmt: skip


@pytest.mark.parametrize(("store", "status", "code", "message"), BUSY, ids=[f"{row[0]}-{row[2]}" for row in BUSY])
def test_what_may_pass_is_asked_again(
    replies: Replies, store: str, status: int, code: str, message: str, impatient: None
) -> None:
    says(replies, store, status, code, message)
    exc = refused(lambda: opened(store, replies.endpoint).read_bytes("a.csv"), UnreachableError)
    assert isinstance(exc, ConnectionError)
    assert "try again" in str(exc)
    assert len(replies.requests) == retry.ATTEMPTS


# --- a HEAD, whose reply has no body to say why ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.csv", ""])
@pytest.mark.parametrize(
    ("status", "code", "wrong"),
    [
        (403, "RequestTimeTooSkewed", "The clock of this machine is wrong"),
        (400, "ExpiredToken", "The credentials have expired"),
        (403, "AccessDenied", "The login is not allowed"),
    ],
)
def test_s3_is_asked_why_it_refuses_a_head(replies: Replies, name: str, status: int, code: str, wrong: str) -> None:
    says(replies, "s3", status, code, "See the code.")
    fs = (
        FsspecFileSystem.from_url("s3://bucket/", **place("s3", replies.endpoint)[1])
        if not name
        else opened("s3", replies.endpoint)
    )
    exc = refused(lambda: fs.exists(name), PermissionError)
    assert str(exc.strerror).startswith(wrong)
    assert [replies.requests[0], replies.requests[-1], replies.requests.count("GET")] == ["HEAD", "GET", 1]


def test_a_head_that_is_refused_without_any_reason_stays_refused(replies: Replies) -> None:
    replies.status = 403
    exc = refused(lambda: opened("s3", replies.endpoint).exists("a.csv"), PermissionError)
    assert "have its owner allow s3:GetObject" in str(exc)
    assert replies.requests == ["HEAD", "GET"]


# --- the rest of the public API --------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["s3", "gs", "abfs"])
def test_open_result_glob_and_publish_say_it_too(
    replies: Replies, store: str, tmp_path: Path, local_run: SimulationResult
) -> None:
    code = {"s3": "AccountProblem", "gs": "accountDisabled", "abfs": "AccountIsDisabled"}[store]
    says(replies, store, 403, code, "The account is disabled.")
    url, options = place(store, replies.endpoint)
    for call in (
        lambda: open_result(url, storage_options=options),
        lambda: opened(store, replies.endpoint).glob("", "*.csv"),
        lambda: opened(store, replies.endpoint).remove("a.csv"),
    ):
        assert str(refused(call, PermissionError).strerror).startswith("The account is disabled")
    exc = refused(lambda: publish(local_run, url, storage_options=options), (PublishError, PermissionError))
    assert "The account is disabled" in str(exc)


# --- real servers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [False, True], ids=["plain", "cached"])
def test_glacier(moto: Store, cached: bool, tmp_path: Path) -> None:
    client = moto.raw._client  # type: ignore[attr-defined]  # S3Raw has it
    client.put_object(Bucket=BUCKET, Key="frozen/a.csv", Body=b"x", StorageClass="GLACIER")
    options: dict[str, Any] = moto.storage_options
    url = f"{moto.url}/frozen"
    if cached:
        url, options = f"simplecache::{url}", {"s3": options, "simplecache": {"cache_storage": str(tmp_path / "c")}}
    fs = FsspecFileSystem.from_url(url, **options)
    assert fs.exists("a.csv")
    exc = refused(lambda: fs.read_bytes("a.csv"), ArchivedError)
    assert str(exc.strerror).startswith("The file is archived, and cannot be read before it is restored; restore it")
    assert exc.filename.endswith("/frozen/a.csv")


@pytest.mark.parametrize("server", ["moto_auth", "seaweed", "rclone_s3"])
@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"key": "WRONGKEYWRONGKEY"}, "The credentials are wrong: the store does not know this access key"),
        ({"secret": SECRET}, "The credentials are wrong: the secret does not fit"),
    ],
    ids=["key", "secret"],
)
@pytest.mark.parametrize("method", ["read_bytes", "exists"])
def test_wrong_key_and_wrong_secret(
    request: pytest.FixtureRequest, server: str, change: dict[str, str], wrong: str, method: str
) -> None:
    store: Store = request.getfixturevalue(server)
    store.raw.put("said/a.csv", b"x")
    fs = FsspecFileSystem.from_url(f"{store.url}/said", **{**store.storage_options, **change})
    exc = refused(lambda: getattr(fs, method)("a.csv"), PermissionDeniedError)
    assert str(exc.strerror).startswith(wrong)


@pytest.mark.parametrize("server", ["moto_auth", "seaweed"])
def test_a_clock_that_is_an_hour_slow(
    request: pytest.FixtureRequest, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datetime as dt

    import botocore.auth

    store: Store = request.getfixturevalue(server)
    slow = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: slow.replace(tzinfo=None))
    fs = FsspecFileSystem.from_url(f"{store.url}/said", **store.storage_options)
    if server == "moto_auth":  # does not look at the clock
        assert fs.exists("nothing.csv") is False
        return
    exc = refused(lambda: fs.read_bytes("a.csv"), PermissionDeniedError)
    assert str(exc.strerror).startswith("The clock of this machine is wrong")


def test_azure_archive_tier(azurite_blob: Store) -> None:
    azurite_blob.raw.put("frozen/a.csv", b"x")
    blob = azurite_blob.raw._container.get_blob_client("frozen/a.csv")  # type: ignore[attr-defined]  # AzureRaw has it
    blob.set_standard_blob_tier("Archive")
    fs = FsspecFileSystem.from_url(f"{azurite_blob.url}/frozen", **azurite_blob.storage_options)
    assert fs.exists("a.csv")
    exc = refused(lambda: fs.read_bytes("a.csv"), ArchivedError)
    assert str(exc.strerror).startswith("The file is archived, and cannot be read before it is restored; restore it")
    assert fs.exists("missing.csv") is False


@pytest.mark.parametrize(
    ("wrong_key", "wrong"),
    [(True, "The credentials are wrong: the secret does not fit"), (False, "No bucket or container named 'nowhere'")],
    ids=["key", "container"],
)
def test_azure_refusals(azurite_blob: Store, wrong_key: bool, wrong: str) -> None:
    options = dict(azurite_blob.storage_options)
    url = azurite_blob.url if wrong_key else "abfs://nowhere"
    if wrong_key:
        options["connection_string"] = options["connection_string"].replace(AZURE_KEY, "AAAA" + AZURE_KEY[4:])
    fs = FsspecFileSystem.from_url(f"{url}/x", **options)
    exc = refused(lambda: fs.read_bytes("a.csv"), StoreError)
    assert str(exc.strerror).startswith(wrong)


def test_gcs_says_which_is_missing_the_bucket_or_the_file(gcs: Store) -> None:
    nowhere = FsspecFileSystem.from_url("gs://no-such-bucket/x", **gcs.storage_options)
    assert type(refused(lambda: nowhere.write_bytes("a.csv", b"x"), BucketNotFoundError)) is BucketNotFoundError
    here = FsspecFileSystem.from_url(f"{gcs.url}/x", **gcs.storage_options)
    assert type(refused(lambda: here.read_bytes("a.csv"), NotFoundError)) is NotFoundError
    assert here.create_exclusive("b.csv", b"1") is True
    assert here.create_exclusive("b.csv", b"2") is False
    assert issubclass(ExistsError, FileExistsError)
