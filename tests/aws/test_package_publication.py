"""A package is there whole or not at all, whoever dies, and its old versions go when no player needs them any more."""

import re
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from botocore.exceptions import ClientError

from elasticrecode.clock import now_ms
from elasticrecode.jobs.commits import Ending
from elasticrecode.jobs.events import Output, Result
from elasticrecode.jobs.versions import GRACE_MS, Versions
from tests.aws.test_publication import Attempt, cancel, lose, published, record, submitted, uploads
from tests.fakes.multipart import answer_as_s3
from tests.fakes.stack import Stack
from worker import versions as worker_versions
from worker.errors import ClaimLost, PermanentError, TransientError
from worker.publication import Publication, Version
from worker.storage import Storage
from worker.versions import VersionRemoval

PACKAGE = "s3://media/out/x/"
TRACKS = ("h264-1080p.mp4", "h264-720p.mp4", "audio-en-stereo.mp4")
UNLISTED = ("h264-1080p.m3u8", "h264-720p.m3u8", "audio-en-stereo.m3u8", "subtitles-en.vtt", "sprite-0.jpg")
ENTRIES = ("manifest.mpd", "master.m3u8")
COMPLETIONS = 1 + len(TRACKS) + len(UNLISTED) + len(ENTRIES)


@pytest.fixture(autouse=True)
def s3_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 answers for uploads that are gone."""
    answer_as_s3(monkeypatch)


class Packager(Attempt):
    """A worker that has claimed a job, and publishes a package."""

    def __init__(self, stack: Stack, job_id: str, folder: Path, lease_seconds: float = 60) -> None:
        super().__init__(stack, job_id, folder, b"", lease_seconds)
        self.versions = Versions("jobs", "q")
        storage = Storage(lambda: self.s3)
        self.publication = Publication(
            self.job, self.claim.attempt, storage, self.runner, self.keys, versions=self.versions
        )
        self.folder = folder / f"{job_id}-{self.claim.attempt}-files"
        self.folder.mkdir(exist_ok=True)
        self.version = f"{PACKAGE}{self.publication.version_name}/"

    def _file(self, name: str) -> Path:
        """A local file; entry files name the version."""
        path = self.folder / name
        path.write_text(f"{self.version} {name}")
        return path

    def publish(self, unlisted: tuple[str, ...] = UNLISTED) -> None:
        """Publish the package, entry files first in the list, and report the end."""
        uris = [PACKAGE + name for name in reversed(ENTRIES)] + [self.version + name for name in TRACKS]
        files = [(self._file(uri.rpartition("/")[2]), Output(uri, 1)) for uri in uris]
        version = Version(self.version, [(self._file(name), self.version + name) for name in unlisted])
        conclude: Callable[[list[Output]], Ending] = lambda outputs: Ending("JobFinished", result=Result(outputs))  # noqa: E731
        self.report(self.publication.publish(files, conclude, version))


def names(stack: Stack) -> list[str]:
    """The keys of all objects of packages."""
    return [each["Key"] for each in stack.s3.list_objects_v2(Bucket="media", Prefix="out/").get("Contents", [])]


def whole(stack: Stack) -> int:
    """The number of entry files; fails where one refers to a file that is not there."""
    entries = [body for name in ENTRIES if (body := published(stack, f"out/x/{name}"))]
    for body in entries:
        folder = body.decode().split()[0].removeprefix("s3://media/")
        assert {folder + name for name in (*TRACKS, *UNLISTED)} <= set(names(stack))
    return len(entries)


def refused(operation: str) -> ClientError:
    answer: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    return ClientError(answer, operation)


def version_of(stack: Stack) -> str:
    body = published(stack, "out/x/master.m3u8")
    return body.decode().split()[0] if body else ""


def sweep(attempt: Attempt, monkeypatch: pytest.MonkeyPatch, after_ms: int = GRACE_MS + 1000) -> None:
    """A worker looks for versions to remove, so much later."""
    monkeypatch.setattr(worker_versions, "now_ms", lambda: now_ms() + after_ms)
    VersionRemoval(Versions("jobs", "q"), lambda _: Storage(lambda: attempt.s3)).sweep()


def die_at(attempt: Attempt, operation: str, nth: int, error: BaseException | None = None) -> None:
    """Let the n-th call of an operation, counted from 0, fail once S3 has done it, or with `error` before it does."""
    calls = count()  # files are completed several at a time

    def strike(**_: object) -> None:
        if next(calls) == nth:
            raise error or KeyboardInterrupt

    attempt.s3.meta.events.register(f"{'before' if error else 'after'}-call.s3.{operation}", strike)


def test_a_package_has_the_types_and_the_caching_that_players_and_cdns_need(stack: Stack, tmp_path: Path) -> None:
    attempt = Packager(stack, submitted(stack), tmp_path)
    attempt.publish()
    heads = {key.split("/")[-1]: stack.s3.head_object(Bucket="media", Key=key) for key in names(stack)}
    assert {name: head["ContentType"] for name, head in heads.items()} == {
        "master.m3u8": "application/vnd.apple.mpegurl",
        "manifest.mpd": "application/dash+xml",
        "h264-1080p.mp4": "video/mp4",
        "h264-720p.mp4": "video/mp4",
        "audio-en-stereo.mp4": "audio/mp4",
        "h264-1080p.m3u8": "application/vnd.apple.mpegurl",
        "h264-720p.m3u8": "application/vnd.apple.mpegurl",
        "audio-en-stereo.m3u8": "application/vnd.apple.mpegurl",
        "subtitles-en.vtt": "text/vtt",
        "sprite-0.jpg": "image/jpeg",
        "files.txt": "text/plain",
    }
    for name, head in heads.items():
        kept = "public, max-age=60" if name in ENTRIES else "public, max-age=31536000, immutable"
        assert head["CacheControl"] == kept, name


def test_the_record_lists_tracks_and_entry_files_with_checksums_and_no_unlisted_files(
    stack: Stack, tmp_path: Path
) -> None:
    attempt = Packager(stack, submitted(stack), tmp_path)
    attempt.publish()
    outputs = record(stack, attempt.job_id)["outputs"]
    assert [each["uri"].split("/")[-1] for each in outputs] == [*reversed(ENTRIES), *TRACKS]
    assert all(re.fullmatch("[0-9a-f]{64}", each["sha256"]) for each in outputs)
    assert uploads(stack) == []


@pytest.mark.parametrize("nth", range(COMPLETIONS))
def test_a_worker_killed_while_files_appear_leaves_a_whole_package_or_none_and_another_completes_it(
    stack: Stack, tmp_path: Path, nth: int
) -> None:
    first = Packager(stack, submitted(stack), tmp_path, lease_seconds=-1)
    die_at(first, "CompleteMultipartUpload", nth)
    with pytest.raises(KeyboardInterrupt):
        first.publish()
    assert whole(stack) == max(0, nth + 1 - (COMPLETIONS - 2))
    lose(first)
    Packager(stack, first.job_id, tmp_path).resume()
    assert whole(stack) == 2
    assert len(names(stack)) == COMPLETIONS
    assert record(stack, first.job_id)["state"] == "finished"
    assert uploads(stack) == []


@pytest.mark.parametrize("nth", [0, 3, COMPLETIONS - 2, COMPLETIONS - 1])
def test_where_s3_refuses_to_complete_a_file_the_package_stays_away_until_a_later_attempt_completes_it(
    stack: Stack, tmp_path: Path, nth: int
) -> None:
    first = Packager(stack, submitted(stack), tmp_path, lease_seconds=-1)
    denied = refused("Complete")
    die_at(first, "CompleteMultipartUpload", nth, denied)
    with pytest.raises(TransientError, match="may not"):
        first.publish()
    assert whole(stack) == max(0, nth - (COMPLETIONS - 2))
    lose(first)
    Packager(stack, first.job_id, tmp_path).resume()
    assert whole(stack) == 2


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart"])
@pytest.mark.parametrize("nth", [0, 5, COMPLETIONS - 1])
def test_where_s3_refuses_an_upload_nothing_is_left(stack: Stack, tmp_path: Path, operation: str, nth: int) -> None:
    attempt = Packager(stack, submitted(stack), tmp_path)
    denied = refused(operation)
    die_at(attempt, operation, nth, denied)
    with pytest.raises(PermanentError, match="may not write"):
        attempt.publish()
    assert (names(stack), uploads(stack)) == ([], [])


def test_a_job_that_is_cancelled_while_it_uploads_leaves_nothing(stack: Stack, tmp_path: Path) -> None:
    attempt = Packager(stack, submitted(stack), tmp_path)
    stop, one = list[Any](), Lock()

    def cancelled() -> None:
        with one:  # files are uploaded several at a time
            if not stop:
                stop.append(cancel(stack, attempt.job_id))

    attempt.freeze_at("UploadPart", cancelled)
    with pytest.raises(ClaimLost, match="cancelled"):
        attempt.publish()
    assert stop[0].status == 202
    assert (names(stack), uploads(stack)) == ([], [])


def test_a_rerun_replaces_the_package_and_the_old_version_goes_after_the_grace(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Packager(stack, submitted(stack), tmp_path)
    first.publish()
    second = Packager(stack, submitted(stack), tmp_path)
    second.publish()
    assert version_of(stack) == second.version
    sweep(second, monkeypatch, GRACE_MS - 60_000)
    assert len(names(stack)) == 2 * COMPLETIONS - 2, "a player of the old version goes on"
    sweep(second, monkeypatch)
    assert whole(stack) == 2
    assert len(names(stack)) == COMPLETIONS
    assert Versions("jobs", "q").due(now_ms() + 10 * GRACE_MS, 10) == []


def test_a_version_that_entry_files_refer_to_is_not_removed(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = Packager(stack, submitted(stack), tmp_path)
    attempt.publish()
    attempt.versions.retire(attempt.version, attempt.job, 0)
    sweep(attempt, monkeypatch)
    assert whole(stack) == 2
    assert len(names(stack)) == COMPLETIONS


def test_a_version_that_a_job_has_committed_to_is_not_removed(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Packager(stack, submitted(stack), tmp_path, lease_seconds=-1)
    die_at(first, "CompleteMultipartUpload", COMPLETIONS - 3)
    with pytest.raises(KeyboardInterrupt):
        first.publish()
    first.versions.retire(first.version, first.job, 0)
    sweep(first, monkeypatch)
    lose(first)
    Packager(stack, first.job_id, tmp_path).resume()
    assert whole(stack) == 2


def test_a_version_that_s3_does_not_let_go_is_removed_later(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Packager(stack, submitted(stack), tmp_path).publish()
    second = Packager(stack, submitted(stack), tmp_path)
    second.publish()
    denied = refused("Delete")
    die_at(second, "DeleteObjects", 0, denied)
    sweep(second, monkeypatch)
    assert len(names(stack)) == 2 * COMPLETIONS - 2
    sweep(second, monkeypatch, 2 * GRACE_MS)
    assert len(names(stack)) == COMPLETIONS


@pytest.mark.parametrize("gone", ["h264-720p.mp4", "files.txt", "subtitles-en.vtt"])
def test_a_withdrawn_package_leaves_no_version_and_the_one_before_stays(
    stack: Stack, tmp_path: Path, gone: str
) -> None:
    first = Packager(stack, submitted(stack), tmp_path)
    first.publish()
    second = Packager(stack, submitted(stack), tmp_path)
    aborted: list[str] = []

    def abort() -> None:
        for upload in uploads(stack):
            if upload["Key"].endswith(gone) and not aborted:
                aborted.append(upload["Key"])
                stack.s3.abort_multipart_upload(Bucket="media", Key=upload["Key"], UploadId=upload["UploadId"])

    second.freeze_at("CompleteMultipartUpload", abort)
    with pytest.raises(TransientError, match="aborted"):
        second.publish()
    assert aborted
    assert version_of(stack) == first.version
    assert whole(stack) == 2
    assert len(names(stack)) == COMPLETIONS
    assert uploads(stack) == []


def test_a_package_of_many_files_is_one_small_transaction_and_three_calls_a_file(stack: Stack, tmp_path: Path) -> None:
    attempt = Packager(stack, submitted(stack), tmp_path)
    calls: Counter[str] = Counter()
    sizes: list[int] = []
    attempt.s3.meta.events.register("before-call.s3.*", lambda model, **_: calls.update([model.name]))
    attempt.freeze_at("CompleteMultipartUpload", lambda: sizes.append(len(str(stack.items()))))
    many = tuple(f"subtitles-{n}.vtt" for n in range(170))
    attempt.publish(many)
    files = 1 + len(TRACKS) + len(many) + len(ENTRIES)
    assert len(names(stack)) == files
    assert {name: calls[name] for name in ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")} == {
        "CreateMultipartUpload": files,
        "UploadPart": files,
        "CompleteMultipartUpload": files,
    }
    assert calls["HeadObject"] == 3 * len(ENTRIES)
    assert calls["ListParts"] == 0
    assert max(sizes) < 200_000, "a record holds 400 KB"
