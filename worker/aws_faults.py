"""Sorts errors of AWS: service faults, which pass; host faults; and those that no attempt can overcome. Pure.

    passes     5xx, throttling, time-outs, broken connections and answers, expired credentials, conflicts, and objects
               that are replaced while they are read                                       TransientError
    the host   refused or missing credentials, a wrong clock, a wrong configuration        HostError
    final      everything else, with a code that names the side and the cause              PermanentError

AWS's own messages name accounts, roles and addresses. They appear in the log only; users see AWS's code.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import boto3.exceptions
import s3transfer.exceptions
import urllib3.exceptions
from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError

from elasticrecode.service_faults import passes
from worker.errors import HostError, JobError, ObjectReplaced, PermanentError, TransientError
from worker.host_faults import host_error, host_failed
from worker.job_role import RoleNotAssumed

_log = logging.getLogger(__name__)

ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
"""Storage classes whose objects cannot be read before they are restored."""

_WITHOUT_CAUSE = "400"
"""Code of an answer to HEAD for expired credentials, among others. What is final shows in the next call."""
_REPLACED = {"PreconditionFailed", "412"}
_CREDENTIALS = {
    "AuthFailure", "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidIdentityToken",
    "InvalidSecurity", "InvalidSignatureException", "InvalidToken", "MissingAuthenticationToken",
    "MissingAuthenticationTokenException", "MissingSecurityHeader", "NotSignedUp", "OptInRequired",
    "RequestInTheFuture", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "UnrecognizedClientException",
}  # fmt: skip
_CLOCK = {"RequestInTheFuture", "RequestTimeTooSkewed"}
_MISSING = {"NoSuchKey", "NoSuchBucket", "NoSuchVersion", "InvalidBucketName", "NoSuchAccessPoint"}
_FORBIDDEN = {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "AccountProblem"}
_ARCHIVED = {"InvalidObjectState"}
_POLICY = {"PackedPolicyTooLarge", "MalformedPolicyDocument"}
"""STS's codes for a session policy, which is made of the job's keys."""

_BROKEN_ANSWERS = (
    botocore.HTTPClientError,
    botocore.ConnectionError,
    botocore.ChecksumError,
    botocore.FlexibleChecksumError,
    botocore.IncompleteReadError,
    botocore.MetadataRetrievalError,
    botocore.CapacityNotAvailableError,
    boto3.exceptions.RetriesExceededError,
    s3transfer.exceptions.RetriesExceededError,
    s3transfer.exceptions.S3ValidationError,
    ResponseParserError,
    urllib3.exceptions.HTTPError,
    ConnectionError,
    TimeoutError,
)
_NO_CREDENTIALS = (
    botocore.NoCredentialsError,
    botocore.PartialCredentialsError,
    botocore.CredentialRetrievalError,
    botocore.NoAuthTokenError,
    botocore.TokenRetrievalError,
    botocore.SSOError,
    botocore.LoginError,
)
_WRONG_NAMES = (
    botocore.ParamValidationError,
    botocore.ValidationError,
    botocore.InvalidDNSNameError,
    botocore.InvalidHostLabelError,
    botocore.UnsupportedS3ArnError,
    botocore.UnsupportedS3AccesspointConfigurationError,
    botocore.UnsupportedOutpostResourceError,
    botocore.EndpointProviderError,
    botocore.MissingDependencyException,
)
"""botocore's errors for buckets and keys that it cannot address."""


@contextmanager
def as_job_errors(side: str, uri: str) -> Iterator[None]:
    """Turn errors of AWS and of the host into JobErrors. `side` is `input`, `origin` or `output`, and begins codes."""
    try:
        yield
    except Exception as error:
        sorted_error = job_error(error, side, uri)
        if sorted_error is None:
            raise
        if not sorted_error.failure.code.endswith("-not-found"):  # nothing more to tell
            _log.warning("cannot access %s: %s", uri, error)
        raise sorted_error from error


def job_error(error: Exception, side: str, uri: str) -> JobError | None:
    """The error of a job that an exception of an access to `uri` stands for; None where AWS and the host have no part.

    boto3 and s3transfer wrap some errors, so that the cause may be another exception.
    """
    cause = _cause(error)
    if isinstance(cause, s3transfer.exceptions.S3DownloadFailedError):
        return replaced(uri)
    if isinstance(cause, RoleNotAssumed):
        return _refused_by_sts(cause.code, cause.status, side, uri)
    if isinstance(cause, botocore.ClientError):
        return _refused_by_s3(cause, side, uri)
    name = type(cause).__name__
    if isinstance(cause, _BROKEN_ANSWERS):
        return TransientError("storage-unavailable", f"S3 could not be reached for {uri}: {name}.")
    if isinstance(cause, _NO_CREDENTIALS):
        return _no_credentials(name)
    if isinstance(cause, _WRONG_NAMES):
        return PermanentError(f"{side}-refused", f"S3 cannot address {uri}: {name}.")
    if isinstance(cause, botocore.BotoCoreError):
        return host_failed(f"its AWS configuration is wrong ({name})")
    return host_error(cause)


def archived(side: str, uri: str, storage_class: str) -> PermanentError:
    """The error of an object in an archive, of which S3 gives the properties but not the bytes."""
    message = (
        f"{uri} is archived in {storage_class}. Restore it first, such as with `aws s3api restore-object`; when its "
        "restore has completed, retry the job."
    )
    return PermanentError(f"{side}-archived", message)


def replaced(uri: str) -> ObjectReplaced:
    """The error of an object that changed while it was read. The next attempt reads the new one."""
    return ObjectReplaced("storage-unavailable", f"{uri} was replaced while the worker read it.")


def input_replaced(uri: str) -> PermanentError:
    """The error of an input that is no longer the one of which parts of the job are encoded: they would not fit."""
    return PermanentError("input-replaced", f"{uri} was replaced while the job ran: send the job again.")


def _cause(error: Exception) -> Exception:
    """The error behind an error of the transfer manager."""
    if isinstance(error, boto3.exceptions.S3UploadFailedError):
        behind = error.__cause__ or error.__context__
        return behind if isinstance(behind, Exception) else error
    return error


def _refused_by_s3(error: botocore.ClientError, side: str, uri: str) -> JobError:
    """The error of S3's answer. An answer to HEAD has no body: its code is the status."""
    code = str(error.response["Error"]["Code"])
    message = str(error.response["Error"].get("Message", ""))
    status = int(code) if code.isdecimal() else error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    is_kms = code.startswith("KMS.")
    if code in _REPLACED:
        return replaced(uri)
    if code in _CREDENTIALS:
        return _no_credentials(code)
    if code == _WITHOUT_CAUSE or passes(code, status) or (status == 409 and not is_kms):
        return TransientError("storage-unavailable", f"S3 did not serve {uri}: {code}.")
    if code in _ARCHIVED:
        return archived(side, uri, str(error.response.get("StorageClass") or "an archive"))
    if is_kms or (code in _FORBIDDEN and "kms:" in message):
        return PermanentError(f"{side}-encrypted", f"The KMS key of {uri} cannot be used by this worker: {code}.")
    if status == 400 and "encrypt" in message.lower():
        hint = f"{uri} is encrypted with a key that S3 does not keep (SSE-C), and workers have none"
        return PermanentError(f"{side}-encrypted", f"{hint}: {code}. Store it with a key of S3 or KMS.")
    if code in _MISSING or status == 404:
        return PermanentError(f"{side}-not-found", f"{uri} does not exist.")
    if code in _FORBIDDEN or status in (401, 403):
        verb = "write" if side == "output" else "read"
        return PermanentError(f"{side}-access-denied", f"This worker may not {verb} {uri}.")
    return PermanentError(f"{side}-refused", f"S3 refused {uri}: {code}.")


def _refused_by_sts(code: str, status: int, side: str, uri: str) -> JobError:
    if passes(code, status):
        return TransientError("storage-unavailable", f"STS gave no credentials for {uri}: {code}.")
    if code in _POLICY:
        return PermanentError(f"{side}-refused", f"STS refused a policy for the job's objects, such as {uri}: {code}.")
    return _no_credentials(code)


def _no_credentials(code: str) -> HostError:
    reason = "its clock is wrong" if code in _CLOCK else "AWS refuses its credentials"
    return HostError("credentials-refused", f"The worker's host cannot run jobs: {reason} ({code}).")
