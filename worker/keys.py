"""The content key of an encrypted package: opened by KMS, or read from Secrets Manager. It is held in memory only."""

import base64
import binascii
import hashlib
import logging
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from elasticrecode.jobs.job import Job, encryption_of, key_context
from elasticrecode.media.formats import FORMATS
from elasticrecode.media.profiles import Package
from worker.aws_faults import job_error
from worker.errors import JobError, PermanentError, TransientError
from worker.job_role import JobRole
from worker.packaging.tracks import Encrypted
from worker.settings import Settings

_log = logging.getLogger(__name__)
_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=3, read_timeout=30)
_MISSING = {"ResourceNotFoundException", "NotFoundException"}
_UNUSABLE = {
    "InvalidCiphertextException", "IncorrectKeyException", "DisabledException", "KMSInvalidStateException",
    "InvalidRequestException", "DecryptionFailure",
}  # fmt: skip


def encrypted(job: Job, package: Package, settings: Settings) -> Encrypted | None:
    """How a job's package is encrypted; None for a plain one. Raises as `content_key`."""
    wish = package.encryption
    return Encrypted(wish.scheme, wish.keyUri, content_key(job, settings), key_id(job)) if wish else None


def content_key(job: Job, settings: Settings) -> bytes:
    """The 16 bytes that encrypt a job's package, which must ask for encryption.

    Raises PermanentError where there is no such key, or the worker may not or cannot use it; TransientError and
    HostError as accesses to S3 do.
    """
    encryption = encryption_of(job.profile)
    if not encryption:
        raise PermanentError("key-not-found", "The job asks for no encryption.")
    if encryption.sealedKey:
        return _opened(job, settings, encryption.sealedKey)
    if encryption.secretId:
        return _secret(job, settings, encryption.secretId)
    raise PermanentError("key-not-found", "The job names no key.")


def key_id(job: Job) -> bytes:
    """The 16 bytes that name the key in a package: those of the job, else ones that follow from the key's address."""
    encryption = encryption_of(job.profile)
    if encryption and encryption.keyId:
        return bytes.fromhex(encryption.keyId)
    return hashlib.sha256(f"elasticrecode key {encryption.keyUri if encryption else ''}".encode()).digest()[:16]


def _opened(job: Job, settings: Settings, sealed: str) -> bytes:
    place = "the job's sealed key"
    try:
        blob = base64.b64decode(sealed, validate=True)
    except binascii.Error as error:
        raise PermanentError("key-invalid", "The job's sealed key is no base64.") from error
    try:
        answer = _client("kms", job, settings).decrypt(CiphertextBlob=blob, EncryptionContext=key_context(job.userid))
    except Exception as error:
        raise _sorted(error, place) from error
    key: bytes = answer["Plaintext"]
    if len(key) != 16:
        raise PermanentError("key-invalid", f"{place.capitalize()} is not 16 bytes long.")
    return key


def _secret(job: Job, settings: Settings, name: str) -> bytes:
    try:
        answer = _client("secretsmanager", job, settings).get_secret_value(SecretId=name)
    except Exception as error:
        raise _sorted(error, f"the secret {name}") from error
    text = str(answer.get("SecretString", "")).strip()
    if not FORMATS["key"][0](text):
        raise PermanentError("key-invalid", f"The secret {name} does not hold 32 hexadecimal digits.")
    return bytes.fromhex(text)


def _client(service: str, job: Job, settings: Settings) -> Any:
    """A client with the rights of the job; with the worker's own where no role is set."""
    if settings.job_role:
        return JobRole(settings.job_role, _CONFIG).client(service, job)
    return boto3.client(service, config=_CONFIG)  # type: ignore[call-overload]


def _sorted(error: Exception, place: str) -> Exception:
    """The error of a job for an error of KMS or Secrets Manager; others stay as they are."""
    code = str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""
    _log.warning("cannot read %s: %s", place, code or type(error).__name__)
    if code in _MISSING:
        return PermanentError("key-not-found", f"There is no such key: {place} ({code}).")
    if code in _UNUSABLE:
        return PermanentError("key-invalid", f"AWS cannot use {place}: {code}.")
    if "AccessDenied" in code:
        return PermanentError("key-access-denied", f"This worker may not read {place}.")
    known = job_error(error, "input", place)
    if isinstance(known, PermanentError):
        return PermanentError("key-invalid", f"AWS refused {place}: {code or type(error).__name__}.")
    if isinstance(known, TransientError):
        return TransientError("storage-unavailable", f"AWS did not serve {place}: {code or type(error).__name__}.")
    return known if isinstance(known, JobError) else error
