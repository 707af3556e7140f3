"""Why a store refused or failed, by what it said: one table of error codes, with what is wrong and what to do.

A row is found by *words* of an exception: the store's own code (``InvalidObjectState``), a reason of the Google JSON
API (``retentionPolicyNotMet``), the name of the exception's class, the HTTP status of an SDK's error, or the name of
its ``errno`` (``ENOSPC``). `docs/troubleshooting.md` shows the same table; a test compares them.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from idfkit_fs.errors import (
    ArchivedError,
    BucketNotFoundError,
    MachineError,
    PermissionDeniedError,
    StoreError,
    StoreFullError,
    UnreachableError,
)

__all__ = ["REASONS", "Reason", "certificate_remedy"]


@dataclass(frozen=True)
class Reason:
    """One row of the table.

    Attributes:
        wrong: What is wrong, as the message begins.
        remedy: What to do.
        kind: The class of the error.
        number: Its ``errno``; 0 to keep the one of the exception.
        told: The words, each with a pattern that the exception's text must match as well; an empty one fits any text.
        permanent: Of an `UnreachableError`: whether the same request can never succeed.
        is_general: Whether the row is for a refusal without a reason, so that the right that is missing says more.
    """

    wrong: str
    remedy: str
    kind: type[StoreError]
    number: int
    told: Mapping[str, str]
    permanent: bool = False
    is_general: bool = False

    def fits(self, words: Collection[str], text: str) -> bool:
        """Whether an exception with these words and this text is of this row."""
        flags = re.IGNORECASE | re.DOTALL
        return any(word in words and re.search(pattern, text, flags) for word, pattern in self.told.items())


def _told(words: str, **patterns: str) -> dict[str, str]:
    return {**dict.fromkeys(words.split(), ""), **patterns}


_CERTIFICATE_REMEDIES = {
    ("s3", "s3a"): "set AWS_CA_BUNDLE to the file, or pass client_kwargs={'verify': '/path/ca.pem'}",
    ("gs", "gcs"): "set SSL_CERT_FILE to the file, and REQUESTS_CA_BUNDLE for the login, before Python starts",
    (
        "abfs",
        "abfss",
        "az",
    ): "set SSL_CERT_FILE to the file, and REQUESTS_CA_BUNDLE for the login, before Python starts",
}


def certificate_remedy(protocol: str) -> str:
    """How the backend of a URL is given the certificate of an authority."""
    found = (text for protocols, text in _CERTIFICATE_REMEDIES.items() if protocol in protocols)
    return next(found, "set SSL_CERT_FILE to the file before Python starts")


_DENIED = errno.EACCES

# The first row that fits counts, so those that say more come first.
REASONS: tuple[Reason, ...] = (
    # --- this machine ---
    Reason(
        "The disk of this machine is full, or takes no file of this size",
        "free space, or use a directory of another disk",
        MachineError,
        0,
        _told("ENOSPC EDQUOT EFBIG"),
    ),
    Reason(
        "The disk of this machine is read-only",
        "use a directory of another disk",
        MachineError,
        0,
        _told("EROFS"),
    ),
    Reason(
        "Too many open files in this process",
        "raise the limit (ulimit -n), or use fewer workers",
        MachineError,
        0,
        _told("EMFILE ENFILE"),
    ),
    # --- below HTTP ---
    Reason(
        "The certificate of the store is not trusted",
        "if the store has a certificate authority of its own, name its certificate file: {certificate}; "
        "if the certificate has expired or is of another host, its owner must renew it, or the endpoint is wrong",
        UnreachableError,
        errno.ECONNREFUSED,
        _told("SSLCertVerificationError", RequestException="CERTIFICATE_VERIFY_FAILED"),
        permanent=True,
    ),
    Reason(
        "The endpoint does not speak TLS",
        "write http:// instead of https:// in the endpoint, or use the port for https",
        UnreachableError,
        errno.ECONNREFUSED,
        {"SSLError": "WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST|UNKNOWN_PROTOCOL|PACKET_LENGTH"},
        permanent=True,
    ),
    Reason(
        "The endpoint speaks TLS, and was asked in plain HTTP",
        "write https:// instead of http:// in the endpoint",
        UnreachableError,
        errno.ECONNREFUSED,
        # What Go's server, nginx and Apache answer, and the beginning of a TLS alert.
        dict.fromkeys(
            ("400", "ResponseParserError", "BadStatusLine", "HTTPClientError", "AzureError"),
            r"HTTP request to an HTTPS server|plain HTTP request was sent to HTTPS|speaking plain HTTP to an SSL"
            r"|\\x15\\x03",
        ),
        permanent=True,
    ),
    Reason(
        "The host name cannot be looked up at this moment: the name server (DNS) did not answer",
        "check the network, then try again",
        UnreachableError,
        errno.ECONNREFUSED,
        dict.fromkeys(("gaierror", "NameResolutionError"), "Errno -3|Temporary failure|Errno 11002|try again"),
    ),
    Reason(
        "The host name does not exist: the name server (DNS) does not know it",
        "check the endpoint and the URL for misspellings; inside a company, a VPN may be needed",
        UnreachableError,
        errno.ECONNREFUSED,
        _told("gaierror NameResolutionError"),
        permanent=True,
    ),
    Reason(
        "The proxy asks for a login",
        "put user and password into HTTPS_PROXY (http://user:password@host:port), or name the store's host in NO_PROXY",
        UnreachableError,
        errno.ECONNREFUSED,
        _told("407", ProxyConnectionError="407", ClientHttpProxyError="407", ProxyError="407"),
        permanent=True,
    ),
    Reason(
        "The proxy refused or did not answer",
        "check HTTPS_PROXY and HTTP_PROXY, or name the store's host in NO_PROXY",
        UnreachableError,
        errno.ECONNREFUSED,
        # gcsfs raises an empty ProxyError for a store's 502.
        _told("ProxyConnectionError ClientProxyConnectionError ClientHttpProxyError", ProxyError="."),
    ),
    Reason(
        "The key of the host is unknown or has changed",
        "compare it with the administrator's, then put it into known_hosts (ssh-keyscan), or correct the host",
        UnreachableError,
        errno.ECONNREFUSED,
        _told("BadHostKeyException", SSHException="not found in known_hosts"),
        permanent=True,
    ),
    # --- the file ---
    Reason(
        "The file is archived, and cannot be read before it is restored",
        "restore it (S3: restore-object, Azure: set-tier Hot), which takes minutes to days, then try again",
        ArchivedError,
        ArchivedError.number,
        _told("InvalidObjectState BlobArchived BlobBeingRehydrated RestoreAlreadyInProgress ObjectRestoreNotFinished"),
    ),
    Reason(
        "The file may not be changed or removed: a retention rule, a legal hold or a lease protects it",
        "wait until the rule ends, have the owner of the bucket lift it, or write to another path",
        PermissionDeniedError,
        errno.EPERM,
        _told(
            "retentionPolicyNotMet objectUnderActiveHold BlobImmutableDueToPolicy LeaseIdMissing ObjectLocked "
            "InvalidRetentionPeriod BlobOverwriteProhibited",
            AccessDenied=r"object lock|\bWORM\b|legal hold",
        ),
    ),
    Reason(
        "The file is too large for the store",
        "raise the limit of the store, or split the file",
        StoreError,
        errno.EFBIG,
        _told("EntityTooLarge MaxMessageLengthExceeded RequestBodyTooLarge BlockCountExceedsLimit uploadTooLarge 413"),
    ),
    Reason(
        "The name is too long for the store",
        "use shorter names of directories and cases",
        StoreError,
        errno.ENAMETOOLONG,
        _told("KeyTooLongError KeyTooLong ENAMETOOLONG", OutOfRangeInput="name"),
    ),
    # --- the key of an encryption ---
    Reason(
        "The encryption key service (KMS) is busy or failed",
        "try again",
        UnreachableError,
        errno.EAGAIN,
        _told(
            "KMS.ThrottlingException KMS.DependencyTimeoutException KMS.KMSInternalException "
            "KMS.KeyUnavailableException KMS.InternalException KMS.LimitExceededException"
        ),
    ),
    Reason(
        "The encryption key (KMS) of the file or bucket is disabled, missing, or not allowed to this login",
        "have its owner enable it, or allow its use (AWS: kms:Decrypt and kms:GenerateDataKey; Google: "
        "roles/cloudkms.cryptoKeyEncrypterDecrypter; Azure: wrapKey and unwrapKey)",
        PermissionDeniedError,
        _DENIED,
        _told(
            "KMS.DisabledException KMS.NotFoundException KMS.KMSInvalidStateException KMS.InvalidStateException "
            "KMS.AccessDeniedException KMS.InvalidKeyUsageException KMS.InvalidGrantTokenException "
            "KMS.IncorrectKeyException KMS.InvalidCiphertextException KMS.UnsupportedOperationException "
            "XMinioKMSKeyNotFoundException cloudKmsBadKey cloudKmsDisabledKey cloudKmsDecryptionKeyNotFound "
            "cloudKmsEncryptionKeyNotFound cloudKmsKeyLocationNotAllowed KeyVaultAccessTokenCannotBeAcquired "
            "KeyVaultEncryptionKeyNotFound KeyVaultVaultNotFound",
            AccessDenied=r"\bkms\b|customer master key",
            AccessDeniedException=r"\bkms\b|customer master key",
            forbidden="Cloud KMS",
            InvalidArgument=r"\bKMS\b.*key|KMS.NotFoundException",
        ),
    ),
    Reason(
        "The file is encrypted with a key of its owner (SSE-C), which was not given or is another one",
        "give the key that it was written with (S3: s3_additional_kwargs with SSECustomerKey and SSECustomerAlgorithm)",
        PermissionDeniedError,
        _DENIED,
        _told(
            "customerEncryptionKeyIsIncorrect resourceIsEncryptedWithCustomerEncryptionKey "
            "customerEncryptionKeySha256IsInvalid BlobUsesCustomerSpecifiedEncryption SSEEncryptedObject "
            "InvalidSSECustomerKey",
            InvalidRequest="server side encryption|customer.provided|SSE-C",
            InvalidArgument="customer.provided|secret key was invalid|SSE-C",
            AccessDenied="calculated MD5 hash of the key|provided encryption key",
        ),
    ),
    # --- the login ---
    Reason(
        "The clock of this machine is wrong: the store refuses requests of another time than its own",
        "set the clock (Linux: timedatectl set-ntp true, Windows: w32tm /resync), then try again",
        PermissionDeniedError,
        _DENIED,
        _told(
            "RequestTimeTooSkewed RequestInTheFuture",
            AuthenticationFailed="date header too old|date header.*(?:future|not valid)",
            AuthorizationFailure="date header too old",
            RefreshError="reasonable timeframe|iat.*future|token used too early",
            AccessDenied="request is not yet valid",
        ),
    ),
    Reason(
        "The credentials have expired",
        "log in again (aws sso login, gcloud auth application-default login, az login), or get a new token, SAS or URL",
        PermissionDeniedError,
        _DENIED,
        _told(
            "ExpiredToken ExpiredTokenException TokenRefreshRequired RequestExpired UnauthorizedSSOTokenError "
            "SSOTokenLoadError TokenExpired",
            AuthenticationFailed="expir|not valid in the specified time frame",
            AuthorizationFailure="expir",
            InvalidAuthenticationInfo="expir",
            AccessDenied="request has expired",
            RefreshError="expired|revoked|reauth",
        ),
    ),
    Reason(
        "The credentials are wrong: the store does not know this access key",
        "check the key, that it is active, and that the endpoint is of the store which it belongs to",
        PermissionDeniedError,
        _DENIED,
        _told("InvalidAccessKeyId InvalidSecurity XMinioInvalidAccessKeyId NoSuchAccessKey"),
    ),
    Reason(
        "The credentials are wrong: the session token is invalid",
        "get a new token; one belongs to its own key and secret only",
        PermissionDeniedError,
        _DENIED,
        _told("InvalidToken InvalidTokenId UnrecognizedClientException", InvalidAuthenticationInfo=""),
    ),
    Reason(
        "The credentials are wrong: the secret does not fit the access key or account",
        "copy the secret, account key or SAS again, with every character",
        PermissionDeniedError,
        _DENIED,
        _told(
            "SignatureDoesNotMatch AuthenticationFailed",
            AuthorizationFailure="signature",
            RefreshError="invalid jwt signature|invalid_client",
        ),
    ),
    Reason(
        "The account is disabled, or has a problem such as an open bill",
        "have its owner look at the account in the store's console",
        PermissionDeniedError,
        _DENIED,
        _told(
            "AccountProblem AllAccessDisabled NotSignedUp InvalidPayer AccountIsDisabled ContainerDisabled "
            "accountDisabled userProjectAccountProblem UserSuspended XMinioAccessKeyDisabled AccessKeyDisabled",
            forbidden="billing account .* disabled|account .* disabled",
            RefreshError="account.* (?:deleted|disabled|not found)",
        ),
    ),
    Reason(
        "The bucket makes its readers pay, and the request did not agree to that",
        "pass requester_pays=True (Google: or a project's name)",
        PermissionDeniedError,
        _DENIED,
        _told("userProjectMissing authenticationRequiredRequesterPays", ValueError="requester.pays"),
    ),
    Reason(
        "The account does not allow this kind of login",
        "log in as a user instead of by key (Azure: remove account_key and use az login), or come from a network "
        "or over https as the account asks",
        PermissionDeniedError,
        _DENIED,
        _told(
            "KeyBasedAuthenticationNotPermitted PublicAccessNotPermitted AuthorizationSourceIPMismatch "
            "AuthorizationProtocolMismatch AuthorizationFailure InsecureConnection countryBlocked sslRequired"
        ),
    ),
    # --- the store ---
    Reason(
        "The bucket is in another region, or the store has another one than this client",
        "pass client_kwargs={{'region_name': ...}} or set AWS_REGION to the region, and check the endpoint",
        StoreError,
        errno.EINVAL,
        _told(
            "PermanentRedirect TemporaryRedirect Redirect IllegalLocationConstraintException 301",
            AuthorizationHeaderMalformed="region",
            AuthorizationQueryParametersError="region",
        ),
    ),
    Reason(
        "The store is full, or its quota is used up",
        "remove files, or have the quota raised",
        StoreFullError,
        StoreFullError.number,
        _told(
            "QuotaExceeded QuotaExceededException ServiceQuotaExceeded ServiceQuotaExceededException "
            "InsufficientStorage InsufficientCapacity StorageFull "
            "XMinioStorageFull XMinioAdminBucketQuotaExceeded BucketQuotaExceeded "
            "XRgwQuotaExceeded AccountQuotaExceeded quotaExceeded storageQuotaExceeded ContainerQuotaExceeded 507",
            error_perm="^552",
            error_temp="^452",
            AccessDenied="quota|storage cap",
        ),
    ),
    Reason(
        "No bucket or container named {bucket!r}",
        "create it, or check the name and the endpoint",
        BucketNotFoundError,
        errno.ENOENT,
        _told(
            "NoSuchBucket ContainerNotFound ContainerBeingDeleted FilesystemNotFound",
            FileNotFoundError="bucket does not exist",
        ),
    ),
    Reason(
        "The name of the bucket or container is invalid",
        "use 3 to 63 lower-case letters, digits and hyphens, which are right everywhere",
        StoreError,
        errno.EINVAL,
        _told("InvalidBucketName InvalidResourceName", ParamValidationError="Invalid bucket name"),
    ),
    Reason(
        "The store is busy, or failed for a moment",
        "try again later, with fewer workers",
        UnreachableError,
        errno.EAGAIN,
        _told(
            "SlowDown ServiceUnavailable ServerBusy RequestTimeout InternalError InternalFailure OperationTimedOut "
            "OperationAborted BandwidthLimitExceeded RequestLimitExceeded Throttling ThrottlingException "
            "TooManyRequests RequestThrottled XMinioServerNotInitialized "
            "ServerNotInitialized rateLimitExceeded userRateLimitExceeded "
            "usageLimits.rateLimitExceeded backendError internalError gatewayTimeout 408 429 500 502 503 504"
        ),
    ),
    Reason(
        "The login is not allowed to do this",
        "have its owner allow it (S3: the action in a policy; Google: the role Storage Object User; Azure: the role "
        "Storage Blob Data Contributor, or the SAS's letters). Where a login may not list, S3 says the same of a "
        "missing file",
        PermissionDeniedError,
        _DENIED,
        _told(
            "AccessDenied AccessForbidden UnauthorizedAccess AuthorizationPermissionMismatch "
            "AuthorizationServiceMismatch AuthorizationResourceTypeMismatch InsufficientAccountPermissions "
            "UnauthorizedBlobOverwrite forbidden insufficientPermissions userProjectAccessDenied "
            "AccessDeniedException",
        ),
        is_general=True,
    ),
    Reason(
        "No credentials were found, or a part of them is missing",
        "give them by storage options, the environment or a profile, or pass anon=True for a public bucket "
        "(Google: the token 'anon')",
        PermissionDeniedError,
        _DENIED,
        _told(
            "NoCredentialsError PartialCredentialsError ProfileNotFound DefaultCredentialsError "
            "CredentialRetrievalError TokenRetrievalError NoAuthenticationInformation MissingSecurityHeader "
            "MissingAuthenticationToken"
        ),
    ),
)
