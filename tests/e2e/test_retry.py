"""A job that is cancelled and retried at once: one attempt after another, and nothing of an earlier one is shown."""

import hashlib
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from elasticrecode.jobs.uris import MARK
from local.processes import programs
from tests.conftest import Tell
from tests.e2e.conftest import LEASE_SECONDS, LONG_LEASE_SECONDS, STALL_SECONDS, Deployed, wait_for
from tests.e2e.test_chaos import is_empty
from tests.e2e.test_deployed import PATIENCE, Clips, encoders, long_clip
from tests.sizes import sized

RETRIES = sized(4, 20, 20)
UPLOAD_SECONDS = sized(68, 136, 136)
"""Length of the video that is cancelled in its upload, at 12 Mbit/s: 100 or 200 MB."""
STOP_SECONDS = LEASE_SECONDS / 6 + 1
LONG_STOP_SECONDS = LONG_LEASE_SECONDS / 6 + 1
UPLOAD_STOP_SECONDS = 2.0
_JOB_SECONDS = 240
"""How long a job may take on a machine that runs other tests at the same time."""


@pytest.fixture
def two_workers(deployed: Deployed) -> Iterator[None]:
    """Another worker for the time of a test."""
    place = deployed.place._replace(workers=2, lease_seconds=LONG_LEASE_SECONDS)
    deployed.supervisor.keep(programs(place, deployed.stack))
    yield
    deployed.supervisor.keep(programs(deployed.place, deployed.stack))


class Encoders:
    """When each encoder of this environment was first and last seen, by its folder, which each attempt has anew."""

    def __init__(self, deployed: Deployed) -> None:
        self._scratch = str(deployed.place.scratch)
        self.seen: dict[str, list[float]] = {}

    def look(self) -> None:
        """Find the encoders that run now."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = path.read_bytes().decode(errors="replace").split("\0")
                output = words[-2] if len(words) > 1 else ""
                if "pipe:1" in words and self._scratch in output:
                    now = time.monotonic()
                    self.seen.setdefault(str(Path(output).parent), [now, now])[1] = now

    def outlive(self, moment: float) -> float:
        """Seconds for which the encoders that had begun by a moment were seen behind it; 0 when none was."""
        return max([last - moment for first, last in self.seen.values() if first < moment < last], default=0.0)


@contextmanager
def watched(encoders: Encoders) -> Iterator[None]:
    """Look for encoders all the time."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            encoders.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def followed(deployed: Deployed, job_id: str) -> Iterator[list[dict[str, Any]]]:
    """The live events of a job, as they come."""
    events: list[dict[str, Any]] = []
    with deployed.watch(f"lastMod=0&jobID={job_id}") as socket:

        def follow() -> None:
            with suppress(ConnectionClosed):
                while True:
                    events.append(json.loads(socket.recv()))

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        yield events
    thread.join()


def judge(events: list[dict[str, Any]], attempts: int) -> None:
    """Fail unless the events are those of one attempt after another, each with one start, and the last with the end."""
    once = {event["eventID"]: event for event in events}.values()  # the feed may push an event twice
    trail = [(event["action"], event.get("attempt", 0)) for event in once]
    floor, ended = 0, False
    for action, attempt in trail:
        if action == "JobRetried":
            floor, ended = floor + 1, False
        elif action != "JobSummit":
            assert not ended, trail
            assert action == "JobCancelled" or attempt >= floor, trail
            floor = max(floor, attempt)
            ended = action in ("JobCancelled", "JobFinished", "JobFailed")
    assert Counter(trail)["JobFinished", attempts] == 1, trail
    counts = Counter(action for action, _ in trail)
    assert (counts["JobStart"], counts["JobFinished"], counts["JobFailed"]) == (attempts, 1, 0), trail
    assert len({attempt for action, attempt in trail if action == "JobStart"}) == attempts, trail


def assert_object_fits(deployed: Deployed, record: dict[str, Any]) -> None:
    """Fail unless the objects are those that the record promises: the file, and its certificate."""
    assert [output["role"] for output in record["outputs"]] == ["file", "certificate", "certificate"]
    for output in record["outputs"]:
        key = output["uri"].split("/", 3)[3]
        found = deployed.s3.get_object(Bucket=deployed.bucket, Key=key)
        body = found["Body"].read()
        assert found["Metadata"][MARK] == record["jobID"]
        assert (len(body), hashlib.sha256(body).hexdigest()) == (output["bytes"], output["sha256"])


def ended(deployed: Deployed, job_id: str) -> dict[str, Any] | None:
    """The record of a job that has ended; None before."""
    record = deployed.record(job_id)
    return record if record["state"] in ("finished", "failed") else None


@pytest.mark.timeout(sized(600, 900, 900))
@pytest.mark.usefixtures("two_workers")
def test_a_job_that_is_cancelled_and_retried_again_and_again_runs_once_at_a_time(
    deployed: Deployed, clips: Clips, tell: Tell
) -> None:
    seen = Encoders(deployed)
    stops: list[float] = []
    pauses: list[float] = []
    # Slow, so that no attempt ends before its cancel.
    job_id = deployed.submit(long_clip(deployed, clips, "again"), "again/", scale="720p", codec="h265")
    with watched(seen), followed(deployed, job_id) as events:

        def encodes(attempt: int) -> bool:
            ticks = (event for event in list(events) if event["action"] == "JobProgress")
            return any(tick["attempt"] == attempt for tick in ticks)

        for attempt in range(1, RETRIES + 1):
            wait_for(lambda: encodes(attempt), f"progress of attempt {attempt}")  # noqa: B023
            assert deployed.call("DELETE", f"/api/v1/jobs/{job_id}")[0] == 202
            stops.append(time.monotonic())
            status, record, _ = deployed.call("POST", f"/api/v1/jobs/{job_id}/retry")
            pauses.append(time.monotonic() - stops[-1])
            assert (status, record["state"], record["progress"], record["error"]) == (202, "queued", None, None)
        record = wait_for(lambda: ended(deployed, job_id), "the end of the job", _JOB_SECONDS)
        wait_for(lambda: is_empty(deployed, "ControlQueue"), "the last event", 60)
        wait_for(lambda: any(event["action"] == "JobFinished" for event in list(events)), "the live end")
    assert (record["state"], record["attempt"], record["error"]) == ("finished", RETRIES + 1, None)
    judge(events, RETRIES + 1)
    listed = deployed.actions(job_id)
    assert (listed.count("JobStart"), listed.count("JobFinished")) == (RETRIES + 1, 1)
    assert {"JobFailed", "JobReturned", "JobLost"}.isdisjoint(listed)
    assert_object_fits(deployed, record)
    outlived = list(map(seen.outlive, stops))
    tell(
        "cancelled and retried at once",
        {
            "retries": RETRIES,
            "encoders": len(seen.seen),
            "ms between cancel and retry at most": round(1000 * max(pauses)),
            "ms an encoder outlived its cancel at most": round(1000 * max(outlived)),
        },
    )
    assert median(outlived) <= PATIENCE * LONG_STOP_SECONDS
    assert max(outlived) <= LONG_STOP_SECONDS + STALL_SECONDS


def uploads(deployed: Deployed, prefix: str) -> int:
    """How many uploads to a prefix are not completed and not aborted."""
    answer = deployed.s3.list_multipart_uploads(Bucket=deployed.bucket, Prefix=prefix)
    return len(answer.get("Uploads", ()))


def cancel_in_upload(deployed: Deployed, uri: str, prefix: str) -> tuple[str, float] | None:
    """Cancel a job while its worker uploads; its id, and the seconds until the upload was gone. None if too late.

    The worker is stopped for the request, which takes as long as an upload to the same machine.
    """
    worker = deployed.supervisor.pids()["worker-ffmpeg-0"]
    job_id = deployed.submit(uri, prefix, scale="240p", bitrate="15M", profile="latency")
    wait_for(lambda: uploads(deployed, prefix) or ended(deployed, job_id), "an upload", _JOB_SECONDS)
    os.kill(worker, signal.SIGSTOP)
    try:
        status, _, _ = deployed.call("DELETE", f"/api/v1/jobs/{job_id}")
    finally:
        os.kill(worker, signal.SIGCONT)
    cancelled = time.monotonic()
    wait_for(lambda: not uploads(deployed, prefix), "the end of the upload", 60)
    return (job_id, time.monotonic() - cancelled) if status == 202 else None


@pytest.mark.timeout(900)
def test_a_job_that_is_cancelled_in_its_upload_leaves_nothing_and_finishes_when_retried(
    deployed: Deployed, clips: Clips, tell: Tell
) -> None:
    source = ["-f", "lavfi", "-i", f"testsrc2=s=426x240:r=25:d={UPLOAD_SECONDS},noise=alls=100:allf=t"]
    clip = clips(f"noise-{UPLOAD_SECONDS}.mkv", *source, "-c:v", "libx264", "-preset", "ultrafast", "-qp", "20")
    uri = deployed.put(clip, "upload/noise.mkv")
    tries = ((f"upload-{n}/", cancel_in_upload(deployed, uri, f"upload-{n}/")) for n in range(5))
    prefix, (job_id, stopped) = next((prefix, caught) for prefix, caught in tries if caught)
    assert deployed.keys(prefix) == []
    assert deployed.call("POST", f"/api/v1/jobs/{job_id}/retry")[0] == 202
    record = wait_for(lambda: ended(deployed, job_id), "the end of the job", _JOB_SECONDS)
    assert (record["state"], record["attempt"]) == ("finished", 2)
    assert_object_fits(deployed, record)
    wait_for(lambda: is_empty(deployed, "ControlQueue"), "the last event")
    listed = deployed.actions(job_id)
    assert (listed.count("JobStart"), listed.count("JobFinished")) == (2, 1)
    assert (uploads(deployed, prefix), encoders(deployed)) == (0, 0)
    size = record["outputs"][0]["bytes"]
    tell("cancelled in the upload", {"bytes": size, "ms to stop": round(1000 * stopped)})
    assert stopped <= UPLOAD_STOP_SECONDS + STALL_SECONDS
