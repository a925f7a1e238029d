"""Objects of S3 that are read by ranges: one version of them, with the errors of a download."""

import random
from pathlib import Path

import boto3
import pytest

from tests.fakes.stack import Stack
from worker.cuts.objects import Span, StoredObject
from worker.errors import JobError, PermanentError, TransientError
from worker.sandbox.limits import JobLimits
from worker.sandbox.runner import Runner
from worker.storage import Storage

CONTENT = random.Random(3).randbytes(6 << 20)


@pytest.fixture
def storage(stack: Stack) -> Storage:
    stack.s3.create_bucket(Bucket="films")
    stack.s3.put_object(Bucket="films", Key="x.mp4", Body=CONTENT)
    return Storage(lambda: boto3.client("s3"))


def test_ranges_have_the_bytes_of_the_object(storage: Storage, tmp_path: Path) -> None:
    film = StoredObject(storage, "s3://films/x.mp4", Runner())
    assert film.size == len(CONTENT)
    assert film.read(5_000_000, 70) == CONTENT[5_000_000:5_000_070]
    (tmp_path / "cut").write_bytes(b"")
    film.fetch([Span(7, 1000), Span(2_000_000, 3_000_000)], tmp_path / "cut", [0, 1000])
    assert (tmp_path / "cut").read_bytes() == CONTENT[7:1007] + CONTENT[2_000_000:5_000_000]
    assert film.bytes_read == 70 + 1000 + 3_000_000


def test_a_small_object_is_read_once(storage: Storage, stack: Stack) -> None:
    stack.s3.put_object(Bucket="films", Key="small.mp4", Body=CONTENT[:50_000])
    film = StoredObject(storage, "s3://films/small.mp4", Runner())
    assert film.read(10, 20) + film.read(49_990, 50) == CONTENT[10:30] + CONTENT[49_990:50_000]
    assert film.bytes_read == 50_000


def test_an_object_that_is_replaced_meanwhile_is_not_mixed(storage: Storage, stack: Stack, tmp_path: Path) -> None:
    film = StoredObject(storage, "s3://films/x.mp4", Runner())
    film.read(0, 10)
    stack.s3.put_object(Bucket="films", Key="x.mp4", Body=CONTENT[::-1])
    (tmp_path / "cut").write_bytes(b"")
    with pytest.raises(TransientError, match="replaced"):
        film.fetch([Span(place, 10) for place in range(0, 5_000_000, 200_000)], tmp_path / "cut", range(0, 250, 10))


def test_a_film_that_was_replaced_since_it_was_divided_fails_for_good(storage: Storage, stack: Stack) -> None:
    uri = "s3://films/x.mp4"
    divided = StoredObject(storage, uri, Runner())
    assert StoredObject(storage, uri, Runner(), etag=divided.etag).read(0, 10) == CONTENT[:10]
    stack.s3.put_object(Bucket="films", Key="x.mp4", Body=CONTENT[::-1])
    with pytest.raises(PermanentError) as opened:
        StoredObject(storage, uri, Runner(), etag=divided.etag)
    assert opened.value.failure.code == "input-replaced"
    assert opened.value.failure.message == f"{uri} was replaced while the job ran: send the job again."


def test_objects_that_cannot_be_read_fail_as_in_a_download(storage: Storage, stack: Stack, tmp_path: Path) -> None:
    stack.s3.put_object(Bucket="films", Key="empty.mp4", Body=b"")
    stack.s3.put_object(Bucket="films", Key="cold.mp4", Body=b"x", StorageClass="GLACIER")
    small = Runner(JobLimits(input_bytes=1000))
    for key, runner in (("none.mp4", Runner()), ("empty.mp4", Runner()), ("cold.mp4", Runner()), ("x.mp4", small)):
        uri = f"s3://films/{key}"
        with pytest.raises(JobError) as ranged:
            StoredObject(storage, uri, runner)
        with pytest.raises(PermanentError) as whole:
            storage.download(uri, tmp_path / "x", runner)
        assert ranged.value.failure == whole.value.failure
