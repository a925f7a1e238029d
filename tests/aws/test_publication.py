"""Outputs are published by the last attempt alone, and a finished record fits the object that is there."""

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from botocore.exceptions import ClientError

from elasticrecode.contract import routes
from elasticrecode.jobs.claims import Claim, Claims
from elasticrecode.jobs.commits import Ending, OutputKeys
from elasticrecode.jobs.events import Failure, Output, Result
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.uris import MARK
from tests.conftest import contract
from tests.e2e.conftest import STALL_SECONDS
from tests.fakes.multipart import answer_as_s3
from tests.fakes.stack import Stack
from tests.support import Answer, call
from worker.errors import ClaimLost, PermanentError, TransientError
from worker.publication import Publication
from worker.sandbox.runner import Runner
from worker.storage import Storage

MIB = 1 << 20
OUT = "s3://media/out/"


@pytest.fixture(autouse=True)
def s3_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 answers for uploads that are gone."""
    answer_as_s3(monkeypatch)


class Attempt:
    """A worker that has claimed a job, and what it publishes."""

    def __init__(self, stack: Stack, job_id: str, folder: Path, bytes_: bytes, lease_seconds: float = 60) -> None:
        self.stack, self.job_id = stack, job_id
        claim = Claims("jobs", lease_seconds).claim(job_id, "w")
        assert isinstance(claim, Claim)
        self.claim = claim
        self.job = msgspec.json.decode(claim.job, type=Job)
        self.runner = Runner()
        self.s3 = boto3.client("s3")
        self.keys = OutputKeys("jobs", self.job, claim.attempt, claim.expires)
        self.publication = Publication(self.job, claim.attempt, Storage(lambda: self.s3), self.runner, self.keys)
        self.file = folder / f"{job_id}-{claim.attempt}"
        self.file.write_bytes(bytes_)

    def publish(self) -> None:
        """Publish the file as the job's output, and report the end."""
        uri = f"{self.job.output}{self.job.input.rsplit('/', 1)[-1]}"
        files = [(self.file, Output(uri, self.file.stat().st_size))]
        self.report(self.publication.publish(files, lambda outputs: Ending("JobFinished", result=Result(outputs))))

    def resume(self) -> None:
        """Complete what another worker committed, and report the end."""
        assert self.claim.commit
        self.report(self.publication.resume(self.claim.commit))

    def report(self, ending: Ending) -> None:
        """Report the end to the control plane."""
        result = msgspec.to_builtins(ending.result)
        self.say(ending.action, result=result)

    def say(self, action: str, **more: Any) -> None:
        """Send an event of the attempt."""
        job = msgspec.to_builtins(self.job)
        event = contract("worker_event") | {"action": action, "attempt": self.claim.attempt, "job": job, **more}
        assert self.stack.say(event | {"eventID": f"{action}-{time.time_ns()}", "tsMs": time.time_ns() // 10**6}) == []

    def freeze_at(self, operation: str, then: Callable[[], object]) -> None:
        """Let others act while this worker is frozen right before a call to S3."""

        def freeze(**_: object) -> None:
            then()

        self.s3.meta.events.register_first(f"before-call.s3.{operation}", freeze)

    def fail_after(self, operation: str) -> None:
        """Let the worker die when S3 has done what it asks."""

        def die(**_: object) -> None:
            raise KeyboardInterrupt

        self.s3.meta.events.register(f"after-call.s3.{operation}", die)


def submitted(
    stack: Stack, uri: str = "s3://media/a/x.mp4", user: str = "ann", output: str = OUT, **changes: object
) -> str:
    body = contract("job") | {"userid": user, "input": uri, "output": output} | changes
    answer = call(stack.submit, routes.SUBMIT, body)
    job_id: str = answer.body[0]["jobid"]
    return job_id


def record(stack: Stack, job_id: str) -> dict[str, Any]:
    body: dict[str, Any] = call(stack.jobs, routes.JOB_STATUS, parameters={"jobID": job_id}).body
    return body


def cancel(stack: Stack, job_id: str) -> Answer:
    return call(stack.jobs, routes.CANCEL, parameters={"jobID": job_id})


def published(stack: Stack, key: str = "out/x.mp4") -> bytes | None:
    try:
        body: bytes = stack.s3.get_object(Bucket="media", Key=key)["Body"].read()
    except stack.s3.exceptions.NoSuchKey:
        return None
    return body


def uploads(stack: Stack) -> list[Any]:
    return list(stack.s3.list_multipart_uploads(Bucket="media").get("Uploads", []))


def fits(stack: Stack, job_id: str, key: str = "out/x.mp4") -> bool:
    """Whether the record of a finished job fits the object."""
    (output,) = record(stack, job_id)["outputs"]
    body = published(stack, key)
    return body is not None and (output["bytes"], output["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


def lose(attempt: Attempt) -> None:
    """The lease of an attempt, which was claimed with one in the past, runs out."""
    attempt.say("JobLost")


@pytest.mark.parametrize("size", [1, 8 * MIB, 8 * MIB + 1, 20 * MIB])
def test_a_finished_record_has_the_size_and_checksum_of_the_object(stack: Stack, tmp_path: Path, size: int) -> None:
    attempt = Attempt(stack, submitted(stack), tmp_path, bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    attempt.publication.prepare()
    attempt.publish()
    assert record(stack, attempt.job_id)["state"] == "finished"
    assert fits(stack, attempt.job_id)
    assert uploads(stack) == []


PLACES = ["HeadObject", "CreateMultipartUpload", "UploadPart"]


@pytest.mark.parametrize("place", PLACES)
def test_a_worker_frozen_before_its_commit_publishes_nothing_when_it_wakes(
    stack: Stack, tmp_path: Path, place: str
) -> None:
    first = Attempt(stack, submitted(stack), tmp_path, b"first", lease_seconds=-1)

    def others() -> None:
        lose(first)
        second = Attempt(stack, first.job_id, tmp_path, b"the second")
        second.publication.prepare()
        second.publish()

    if place == "HeadObject":
        first.publication.prepare()
        others()
    else:
        first.publication.prepare()
        first.freeze_at(place, others)
    with pytest.raises(ClaimLost, match="finished"):
        first.publish()
    assert published(stack) == b"the second"
    assert fits(stack, first.job_id)
    assert uploads(stack) == []


def test_a_worker_frozen_after_its_commit_is_completed_by_another_and_changes_nothing_when_it_wakes(
    stack: Stack, tmp_path: Path
) -> None:
    first = Attempt(stack, submitted(stack), tmp_path, b"first", lease_seconds=-1)

    def others() -> None:
        lose(first)
        second = Attempt(stack, first.job_id, tmp_path, b"unused")
        assert second.claim.attempt == 1
        second.resume()

    first.publication.prepare()
    first.freeze_at("CompleteMultipartUpload", others)
    first.publish()
    assert published(stack) == b"first"
    assert record(stack, first.job_id)["attempt"] == 1
    assert fits(stack, first.job_id)


@pytest.mark.parametrize("after", ["CompleteMultipartUpload", "HeadObject"])
def test_a_worker_that_died_after_its_commit_costs_no_second_encode(stack: Stack, tmp_path: Path, after: str) -> None:
    first = Attempt(stack, submitted(stack), tmp_path, b"first" * MIB, lease_seconds=-1)
    first.publication.prepare()
    first.fail_after(after)
    with pytest.raises(KeyboardInterrupt):
        first.publish()
    lose(first)
    Attempt(stack, first.job_id, tmp_path, b"unused").resume()
    assert published(stack) == b"first" * MIB
    assert fits(stack, first.job_id)


def test_a_committed_job_is_completed_however_often_its_workers_are_lost(stack: Stack, tmp_path: Path) -> None:
    first = Attempt(stack, submitted(stack), tmp_path, b"first", lease_seconds=-1)
    first.publication.prepare()
    first.fail_after("CompleteMultipartUpload")
    with pytest.raises(KeyboardInterrupt):
        first.publish()
    for _ in range(5):
        lose(first)
        lost = Attempt(stack, first.job_id, tmp_path, b"unused", lease_seconds=-1)
        assert lost.claim.commit
    lost.resume()
    assert record(stack, first.job_id)["state"] == "finished"
    assert fits(stack, first.job_id)


def test_a_job_that_is_being_published_cannot_be_cancelled_and_one_that_uploads_can(
    stack: Stack, tmp_path: Path
) -> None:
    first = Attempt(stack, submitted(stack), tmp_path, b"first")
    answers: list[Answer] = []
    first.publication.prepare()
    first.freeze_at("CompleteMultipartUpload", lambda: answers.append(cancel(stack, first.job_id)))
    first.publish()
    assert [answer.status for answer in answers] == [409]
    assert "being published" in answers[0].body["detail"]
    assert record(stack, first.job_id)["state"] == "finished"

    second = Attempt(stack, submitted(stack, "s3://media/b/y.mp4"), tmp_path, b"second")
    second.publication.prepare()
    second.freeze_at("UploadPart", lambda: answers.append(cancel(stack, second.job_id)))
    with pytest.raises(ClaimLost, match="cancelled"):
        second.publish()
    assert answers[1].status == 202
    assert published(stack, "out/y.mp4") is None
    assert uploads(stack) == []


def test_an_upload_that_others_aborted_after_the_commit_is_made_again(stack: Stack, tmp_path: Path) -> None:
    first = Attempt(stack, submitted(stack), tmp_path, b"first")

    def abort() -> None:
        (upload,) = uploads(stack)
        stack.s3.abort_multipart_upload(Bucket="media", Key=upload["Key"], UploadId=upload["UploadId"])

    first.publication.prepare()
    first.freeze_at("CompleteMultipartUpload", abort)
    with pytest.raises(TransientError, match="aborted"):
        first.publish()
    first.say("JobReturned")
    second = Attempt(stack, first.job_id, tmp_path, b"second")
    assert second.claim.commit is None
    second.publication.prepare()
    second.publish()
    assert published(stack) == b"second"
    assert fits(stack, first.job_id)


def test_an_upload_stops_within_two_seconds_of_a_lost_claim(stack: Stack, tmp_path: Path) -> None:
    attempt = Attempt(stack, submitted(stack), tmp_path, b"x" * (30 * MIB))
    release = threading.Event()
    attempt.publication.prepare()
    attempt.freeze_at("UploadPart", lambda: release.wait(20))
    stopper = threading.Timer(0.3, lambda: attempt.runner.stop(ClaimLost("gone")))
    stopper.start()
    began = time.monotonic()
    with pytest.raises(ClaimLost):
        attempt.publish()
    took = time.monotonic() - began - 0.3
    release.set()
    assert took < 2 + STALL_SECONDS < 20
    assert published(stack) is None


def test_a_job_of_another_input_cannot_take_the_key_of_a_running_or_finished_job(stack: Stack, tmp_path: Path) -> None:
    first = Attempt(stack, submitted(stack, "s3://media/a/x.mp4"), tmp_path, b"first")
    first.publication.prepare()
    second = Attempt(stack, submitted(stack, "s3://media/b/x.mp4"), tmp_path, b"second")
    with pytest.raises(PermanentError, match=f"the output of job {first.job_id}") as caught:
        second.publication.prepare()
    assert caught.value.failure.code == "output-taken"
    first.publish()
    third = Attempt(stack, submitted(stack, "s3://media/b/x.mp4"), tmp_path, b"third")
    with pytest.raises(PermanentError, match="output of job"):
        third.publication.prepare()
    assert published(stack) == b"first"


def test_the_key_of_another_users_job_is_refused_without_naming_the_job(stack: Stack, tmp_path: Path) -> None:
    first = Attempt(stack, submitted(stack), tmp_path, b"first")
    first.publication.prepare()
    second = Attempt(stack, submitted(stack, user="bob"), tmp_path, b"second")
    with pytest.raises(PermanentError, match="another user's job") as caught:
        second.publication.prepare()
    assert first.job_id not in str(caught.value)


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_the_key_of_a_job_that_published_nothing_is_free(stack: Stack, tmp_path: Path, end: str) -> None:
    first = Attempt(stack, submitted(stack, "s3://media/a/x.mp4"), tmp_path, b"first")
    first.publication.prepare()
    if end == "cancelled":
        assert cancel(stack, first.job_id).status == 202
    else:
        first.say("JobFailed")
    second = Attempt(stack, submitted(stack, "s3://media/b/x.mp4"), tmp_path, b"second")
    second.publication.prepare()
    second.publish()
    assert published(stack) == b"second"
    with pytest.raises(ClaimLost):
        first.publish()
    assert fits(stack, second.job_id)


def test_a_second_run_replaces_the_output_and_both_records_tell(stack: Stack, tmp_path: Path) -> None:
    first = Attempt(stack, submitted(stack), tmp_path, b"first")
    first.publication.prepare()
    first.publish()
    second = Attempt(stack, submitted(stack), tmp_path, b"second")
    second.publication.prepare()
    second.publish()
    assert published(stack) == b"second"
    assert record(stack, first.job_id)["replacedBy"] == second.job_id
    assert record(stack, second.job_id)["replaces"] == [first.job_id]
    assert record(stack, second.job_id)["replacedBy"] is None


def test_an_adopted_job_still_says_which_it_replaced(stack: Stack, tmp_path: Path) -> None:
    first = Attempt(stack, submitted(stack), tmp_path, b"first")
    first.publication.prepare()
    first.publish()
    second = Attempt(stack, submitted(stack), tmp_path, b"second", lease_seconds=-1)
    second.publication.prepare()
    second.fail_after("CompleteMultipartUpload")
    with pytest.raises(KeyboardInterrupt):
        second.publish()
    lose(second)
    Attempt(stack, second.job_id, tmp_path, b"unused").resume()
    assert record(stack, second.job_id)["replaces"] == [first.job_id]
    assert record(stack, first.job_id)["replacedBy"] == second.job_id


def test_a_withdrawn_commit_leaves_the_earlier_output_to_its_job(stack: Stack, tmp_path: Path) -> None:
    first = Attempt(stack, submitted(stack), tmp_path, b"first")
    first.publication.prepare()
    first.publish()
    second = Attempt(stack, submitted(stack), tmp_path, b"second")
    second.publication.prepare()

    def abort() -> None:
        (upload,) = uploads(stack)
        stack.s3.abort_multipart_upload(Bucket="media", Key=upload["Key"], UploadId=upload["UploadId"])

    second.freeze_at("CompleteMultipartUpload", abort)
    with pytest.raises(TransientError, match="aborted"):
        second.publish()
    second.say("JobReturned")
    assert cancel(stack, second.job_id).status == 202
    assert record(stack, first.job_id)["replacedBy"] is None
    assert fits(stack, first.job_id)
    bob = Attempt(stack, submitted(stack, "s3://media/b/x.mp4", user="bob"), tmp_path, b"bob's")
    with pytest.raises(PermanentError, match="another user's job"):
        bob.publication.prepare()


def test_outputs_that_a_failed_job_kept_stay_its_own_after_a_retry_and_a_cancel(stack: Stack, tmp_path: Path) -> None:
    kept = Attempt(stack, submitted(stack), tmp_path, b"kept")
    kept.publication.prepare()
    uri = f"{OUT}x.mp4"
    error = Failure("quality-below-minimum", "too low")
    files = [(kept.file, Output(uri, 4))]
    ending = kept.publication.publish(files, lambda outputs: Ending("JobFailed", "", Result(outputs), error))
    kept.say("JobFailed", error=msgspec.to_builtins(error), result=msgspec.to_builtins(ending.result))
    assert call(stack.jobs, routes.RETRY, parameters={"jobID": kept.job_id}).status == 202
    assert cancel(stack, kept.job_id).status == 202
    other = Attempt(stack, submitted(stack, "s3://media/b/x.mp4"), tmp_path, b"other")
    with pytest.raises(PermanentError, match="output of job"):
        other.publication.prepare()
    assert published(stack) == b"kept"


def test_a_source_that_is_a_copy_of_an_output_is_not_overwritten(stack: Stack, tmp_path: Path) -> None:
    first = Attempt(stack, submitted(stack), tmp_path, b"first")
    first.publication.prepare()
    first.publish()
    stack.s3.copy_object(Bucket="media", Key="masters/x.mp4", CopySource={"Bucket": "media", "Key": "out/x.mp4"})
    second = Attempt(stack, submitted(stack, "s3://media/b/x.mp4", output="s3://media/masters/"), tmp_path, b"second")
    with pytest.raises(PermanentError, match="no job wrote it"):
        second.publication.prepare()


def test_a_key_is_kept_as_long_as_the_record_of_any_of_its_jobs(stack: Stack, tmp_path: Path) -> None:
    newer = Attempt(stack, submitted(stack), tmp_path, b"newer")
    newer.publication.prepare()
    newer.publish()
    older = Attempt(stack, submitted(stack), tmp_path, b"older")
    older.keys._expires = older.claim.expires - 86_400
    older.publication.prepare()
    keys = [item for item in stack.items() if item["jobID"]["S"].startswith("output#")]
    assert len(keys) == 3  # the file, and both of its certificate
    assert all(int(key["expires"]["N"]) >= newer.claim.expires for key in keys)


def test_of_two_runs_at_once_the_last_to_commit_replaces_the_other(stack: Stack, tmp_path: Path) -> None:
    first = Attempt(stack, submitted(stack), tmp_path, b"first")
    second = Attempt(stack, submitted(stack), tmp_path, b"second")
    first.publication.prepare()
    second.publication.prepare()
    second.freeze_at("UploadPart", first.publish)
    second.publish()
    assert published(stack) == b"second"
    assert record(stack, first.job_id)["replacedBy"] == second.job_id
    assert fits(stack, second.job_id)


def test_a_job_waits_for_another_that_is_publishing_to_its_key(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Attempt(stack, submitted(stack), tmp_path, b"first")
    second = Attempt(stack, submitted(stack), tmp_path, b"second")
    first.publication.prepare()
    second.publication.prepare()
    first.fail_after("HeadObject")
    with pytest.raises(KeyboardInterrupt):
        first.publish()
    monkeypatch.setattr("worker.publication._PATIENCE_SECONDS", 0.0)
    with pytest.raises(TransientError, match="publishing to the same output"):
        second.publish()
    assert published(stack) == b"first"
    assert record(stack, first.job_id)["replacedBy"] is None


def test_an_object_that_no_job_wrote_is_not_overwritten(stack: Stack, tmp_path: Path) -> None:
    stack.s3.put_object(Bucket="media", Key="b/x.mp4", Body=b"a source")
    attempt = Attempt(stack, submitted(stack, output="s3://media/b/"), tmp_path, b"output")
    with pytest.raises(PermanentError, match="no job wrote it") as caught:
        attempt.publication.prepare()
    assert caught.value.failure.code == "output-exists"
    assert published(stack, "b/x.mp4") == b"a source"


def test_an_object_that_appears_during_the_upload_is_not_overwritten(stack: Stack, tmp_path: Path) -> None:
    attempt = Attempt(stack, submitted(stack), tmp_path, b"output")
    attempt.publication.prepare()

    def appear() -> None:
        stack.s3.put_object(Bucket="media", Key="out/x.mp4", Body=b"a source")

    attempt.freeze_at("CompleteMultipartUpload", appear)
    with pytest.raises(PermanentError, match="no job wrote it"):
        attempt.publish()
    assert published(stack) == b"a source"
    assert uploads(stack) == []
    attempt.say("JobFailed")
    assert record(stack, attempt.job_id)["state"] == "failed"


def test_an_output_is_marked_with_its_job_and_attempt(stack: Stack, tmp_path: Path) -> None:
    attempt = Attempt(stack, submitted(stack), tmp_path, b"output")
    attempt.publication.prepare()
    attempt.publish()
    head = stack.s3.head_object(Bucket="media", Key="out/x.mp4")
    place = hashlib.sha256(b"s3://media/out/x.mp4").hexdigest()
    marks = {MARK: attempt.job_id, "elasticrecode-attempt": "1", "elasticrecode-output": place}
    assert head["Metadata"] == marks
    assert head["ContentType"] == "video/mp4"


def test_an_upload_that_is_denied_leaves_nothing(stack: Stack, tmp_path: Path) -> None:
    attempt = Attempt(stack, submitted(stack), tmp_path, b"output")

    def deny() -> None:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "UploadPart")

    attempt.freeze_at("UploadPart", deny)
    with pytest.raises(PermanentError, match="may not write"):
        attempt.publish()
    assert uploads(stack) == []
