"""Errors of S3 over the wire: service faults, host faults, and those that are final, with the cause in the code."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore import exceptions as botocore
from botocore.config import Config

from tests.fakes.s3 import S3, Refusal
from worker.aws_faults import job_error
from worker.errors import HostError, JobError, PermanentError, TransientError
from worker.job_role import RoleNotAssumed
from worker.sandbox.runner import Runner
from worker.storage import Storage
from worker.uploads import Uploads

URI = "s3://media/in/a.mp4"
KMS = "User: arn:aws:sts::123456789012:assumed-role/jobs/j is not authorized to perform: {} on resource: arn:aws:kms:x"
SSE_C = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided."


@pytest.fixture
def s3() -> Iterator[S3]:
    with S3().serving() as serving:
        yield serving


def download(s3: S3, folder: Path, side: str = "input") -> bytes:
    Storage(s3.client).download(URI, folder / "input", Runner(), side)
    return (folder / "input").read_bytes()


def failure(s3: S3, folder: Path, side: str = "input") -> JobError:
    """The error of a download, whose message names neither accounts nor roles."""
    with pytest.raises(JobError) as caught:
        download(s3, folder, side)
    assert "arn:" not in str(caught.value)
    return caught.value


PASSING = [
    *(Refusal(status, code) for status, code in (
        (500, "InternalError"), (502, "BadGateway"), (503, "SlowDown"), (503, "ServiceUnavailable"), (504, "x"),
        (400, "RequestTimeout"), (429, "TooManyRequests"), (429, "x"), (400, "Throttling"),
        (400, "ThrottlingException"), (400, "RequestLimitExceeded"), (403, "RequestThrottled"),
        (400, "KMS.ThrottlingException"), (500, "KMS.KMSInternalException"), (500, "KMS.KeyUnavailableException"),
        (400, "KMS.DependencyTimeoutException"),
        (400, "ExpiredToken"), (403, "ExpiredTokenException"), (403, "RequestExpired"), (400, "TokenRefreshRequired"),
        (412, "PreconditionFailed"), (409, "ConditionalRequestConflict"), (409, "OperationAborted"),
        (400, "IncompleteBody"), (400, "BadDigest"),
    )),
]  # fmt: skip
FINAL = [
    (Refusal(403, "InvalidObjectState", "The operation is not valid for the object's storage class"), "archived"),
    (Refusal(400, "InvalidRequest", SSE_C), "encrypted"),
    (Refusal(400, "KMS.DisabledException"), "encrypted"),
    (Refusal(400, "KMS.NotFoundException"), "encrypted"),
    (Refusal(409, "KMS.KMSInvalidStateException"), "encrypted"),
    (Refusal(403, "AccessDenied", KMS.format("kms:Decrypt")), "encrypted"),
    (Refusal(403, "AccessDenied", "Access Denied"), "access-denied"),
    (Refusal(403, "AllAccessDisabled"), "access-denied"),
    (Refusal(404, "NoSuchKey"), "not-found"),
    (Refusal(404, "NoSuchBucket"), "not-found"),
    (Refusal(400, "InvalidArgument"), "refused"),
    (Refusal(405, "MethodNotAllowed"), "refused"),
]
OF_THE_HOST = [
    (Refusal(403, "RequestTimeTooSkewed"), "its clock is wrong"),
    (Refusal(403, "InvalidAccessKeyId"), "AWS refuses its credentials"),
    (Refusal(403, "SignatureDoesNotMatch"), "AWS refuses its credentials"),
    (Refusal(400, "InvalidToken"), "AWS refuses its credentials"),
]


@pytest.mark.parametrize("refusal", PASSING, ids=lambda refusal: f"{refusal.status} {refusal.code}")
def test_what_passes_is_no_strike_against_the_job(s3: S3, tmp_path: Path, refusal: Refusal) -> None:
    s3.refusal = refusal
    error = failure(s3, tmp_path)
    assert isinstance(error, TransientError)
    assert (error.failure.code, error.fault) == ("storage-unavailable", "service")


@pytest.mark.parametrize(("refusal", "cause"), FINAL, ids=lambda value: getattr(value, "code", value))
@pytest.mark.parametrize("side", ["input", "origin"])
def test_everything_else_is_final_with_a_code_for_its_side_and_cause(
    s3: S3, tmp_path: Path, refusal: Refusal, cause: str, side: str
) -> None:
    s3.refusal = refusal
    error = failure(s3, tmp_path, side)
    assert isinstance(error, PermanentError)
    assert error.failure.code == f"{side}-{cause}"
    assert s3.requests.count("GET") <= 1


@pytest.mark.parametrize(("refusal", "reason"), OF_THE_HOST, ids=lambda value: getattr(value, "code", value))
def test_a_signature_that_aws_refuses_is_the_hosts(s3: S3, tmp_path: Path, refusal: Refusal, reason: str) -> None:
    s3.refusal = refusal
    error = failure(s3, tmp_path)
    assert isinstance(error, HostError)
    assert (error.failure.code, error.fault) == ("credentials-refused", "host")
    assert reason in str(error)


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (Refusal(404, "NoSuchBucket"), "output-not-found"),
        (Refusal(403, "AccessDenied"), "output-access-denied"),
        (Refusal(403, "AccessDenied", KMS.format("kms:GenerateDataKey")), "output-encrypted"),
        (Refusal(400, "KMS.DisabledException"), "output-encrypted"),
        (Refusal(400, "InvalidArgument"), "output-refused"),
        (Refusal(503, "SlowDown"), "storage-unavailable"),
        (Refusal(404, "NoSuchUpload"), "storage-unavailable"),
    ],
    ids=lambda value: getattr(value, "code", value),
)
def test_errors_of_writing_name_the_output(s3: S3, refusal: Refusal, code: str) -> None:
    s3.refusal = refusal
    with pytest.raises(JobError) as caught:
        Uploads(Storage(s3.client), "j", 1, Runner()).begin(URI, 4)
    assert caught.value.failure.code == code


@pytest.mark.parametrize("refusal", [Refusal(400, "ExpiredToken"), Refusal(400, "InvalidRequest", SSE_C)])
def test_an_answer_to_head_that_names_no_cause_is_not_final_for_an_output(s3: S3, refusal: Refusal) -> None:
    s3.refusal = refusal
    assert Uploads(Storage(s3.client), "j", 1, Runner()).present(URI) is None
    head = botocore.ClientError({"Error": {"Code": "400", "Message": "Bad Request"}}, "HeadObject")
    assert isinstance(job_error(head, "output", URI), TransientError)


def test_a_cause_that_passes_while_it_is_looked_for_ends_no_job(s3: S3, tmp_path: Path) -> None:
    def pass_after_head(method: str) -> None:
        s3.refusal = Refusal(403, "AccessDenied") if s3.requests == ["HEAD"] else None

    s3.before = pass_after_head
    assert download(s3, tmp_path) == b"film"


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_archived_input_is_final_before_any_byte_is_read(s3: S3, tmp_path: Path, storage_class: str) -> None:
    s3.headers = {"x-amz-storage-class": storage_class}
    error = failure(s3, tmp_path)
    assert error.failure.code == "input-archived"
    assert storage_class in str(error)
    assert "Restore it first" in str(error)
    assert s3.requests == ["HEAD"]


def test_an_archive_of_intelligent_tiering_is_final_too(s3: S3, tmp_path: Path) -> None:
    s3.headers = {"x-amz-storage-class": "INTELLIGENT_TIERING", "x-amz-archive-status": "DEEP_ARCHIVE_ACCESS"}
    assert failure(s3, tmp_path).failure.code == "input-archived"


def test_an_archived_input_that_is_still_being_restored_is_final(s3: S3, tmp_path: Path) -> None:
    s3.headers = {"x-amz-storage-class": "GLACIER", "x-amz-restore": 'ongoing-request="true"'}
    assert failure(s3, tmp_path).failure.code == "input-archived"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-storage-class": "GLACIER", "x-amz-restore": 'ongoing-request="false", expiry-date="Fri, 21 Dec 2040"'},
        {"x-amz-storage-class": "GLACIER_IR"},
        {"x-amz-storage-class": "INTELLIGENT_TIERING"},
    ],
    ids=["restored", "instant retrieval", "tiering"],
)
def test_an_archived_input_that_can_be_read_is_read(s3: S3, tmp_path: Path, headers: dict[str, str]) -> None:
    s3.headers = headers
    assert download(s3, tmp_path) == b"film"
    assert s3.requests == ["HEAD", "GET"]


@pytest.mark.parametrize("body", [b"movie", b"mov", b"fILM"], ids=["larger", "smaller", "of equal size"])
def test_an_input_that_is_replaced_after_its_head_is_read_again(s3: S3, tmp_path: Path, body: bytes) -> None:
    def replace(method: str) -> None:
        if method == "GET" and s3.etag == '"one"':
            s3.body, s3.etag = body, '"two"'

    s3.before = replace
    error = failure(s3, tmp_path)
    assert isinstance(error, TransientError)
    assert "was replaced" in str(error)
    assert download(s3, tmp_path) == body


def test_an_input_that_is_replaced_between_two_parts_is_never_a_mixture(s3: S3, tmp_path: Path) -> None:
    s3.body = b"1" * (20 << 20)

    def replace(method: str) -> None:
        if s3.requests.count("GET") == 2:
            s3.body, s3.etag = b"2" * (20 << 20), '"two"'

    s3.before = replace
    assert "was replaced" in str(failure(s3, tmp_path))


@pytest.mark.parametrize("body", [b"1" * 100_000, b"mov"], ids=["larger", "smaller"])
def test_a_store_without_conditions_gives_no_other_object_either(s3: S3, tmp_path: Path, body: bytes) -> None:
    def replace(method: str) -> None:
        if method == "GET":
            s3.body = body

    s3.before, s3.is_conditional = replace, False
    assert "was replaced" in str(failure(s3, tmp_path))


def test_an_answer_that_breaks_off_passes(s3: S3, tmp_path: Path) -> None:
    s3.cut = 2
    error = failure(s3, tmp_path)
    assert isinstance(error, TransientError)
    assert "could not be reached" in str(error)


def test_an_empty_input_is_not_read(s3: S3, tmp_path: Path) -> None:
    s3.body = b""
    assert failure(s3, tmp_path).failure.code == "input-empty"


def test_missing_credentials_are_the_hosts(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.session.Session().client("s3", endpoint_url=s3.url, config=Config(region_name="us-east-1"))
    with pytest.raises(HostError, match="NoCredentialsError"):
        Storage(lambda: client).download(URI, tmp_path / "input", Runner())


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (RoleNotAssumed("AccessDenied", 403), HostError, "credentials-refused"),
        (RoleNotAssumed("ValidationError", 400), HostError, "credentials-refused"),
        (RoleNotAssumed("InvalidIdentityToken", 400), HostError, "credentials-refused"),
        (RoleNotAssumed("ExpiredTokenException", 400), TransientError, "storage-unavailable"),
        (RoleNotAssumed("Throttling", 400), TransientError, "storage-unavailable"),
        (RoleNotAssumed("IDPCommunicationError", 400), TransientError, "storage-unavailable"),
        (RoleNotAssumed("InternalFailure", 500), TransientError, "storage-unavailable"),
        (RoleNotAssumed("PackedPolicyTooLarge", 400), PermanentError, "output-refused"),
        (botocore.ConnectTimeoutError(endpoint_url="x"), TransientError, "storage-unavailable"),
        (botocore.IncompleteReadError(actual_bytes=1, expected_bytes=2), TransientError, "storage-unavailable"),
        (botocore.FlexibleChecksumError(error_msg="x"), TransientError, "storage-unavailable"),
        (botocore.ParamValidationError(report="x"), PermanentError, "output-refused"),
        (botocore.NoRegionError(), HostError, "host-failed"),
        (OSError(28, "No space left on device"), HostError, "disk-full"),
    ],
    ids=str,
)
def test_errors_that_are_no_answers_have_their_kind_too(error: Exception, kind: type[JobError], code: str) -> None:
    sorted_error = job_error(error, "output", URI)
    assert type(sorted_error) is kind
    assert sorted_error.failure.code == code


def test_an_error_that_aws_has_no_part_in_is_left_alone() -> None:
    assert job_error(KeyError("x"), "input", URI) is None
