"""The last release, deployed and at work, is upgraded to this checkout by `make up`'s command: nothing is lost.

A worker of the release works on through the upgrade and beyond it. Another is replaced by one of this checkout.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from elasticrecode import __version__
from local import users
from local.place import TOOLS, Place
from local.processes import AWS, programs
from tests.conftest import ROOT, contract
from tests.e2e.conftest import Deployed, free_ports, wait_for
from tests.e2e.test_watching import Follower, names, place
from tests.fakes.receiver import Receiver, running
from tests.released import last_release
from tests.sizes import SIZE

pytestmark = pytest.mark.timeout(900)
ME = users.OPERATOR
KEPT_OUTPUTS = (
    "MediaBucket",
    "PartsBucket",
    "JobsTable",
    "ControlQueue",
    "CpuQueue",
    "VmafQueue",
    "UserPool",
    "RestUrl",
)
CLIP = ("-f", "lavfi", "-i", "testsrc2=duration=2:size=320x240:rate=25", "-pix_fmt", "yuv420p")
LONG = (
    "-f",
    "lavfi",
    "-i",
    "testsrc2=duration=90:size=1280x720:rate=30",
    "-pix_fmt",
    "yuv420p",
    "-preset",
    "ultrafast",
)
_VISITS = 25
OLD, NEW = "worker-of-the-release", "worker-ffmpeg-0"


class Upgrade:
    """One environment, which first the release and then this checkout runs."""

    def __init__(self, released: Path, state: Path) -> None:
        port, aws_port, k8s_port = free_ports(3)
        self.released = released
        self.environment = os.environ | {
            "LOCAL_DIR": str(state),
            "PORT": str(port),
            "AWS_PORT": str(aws_port),
            "K8S_PORT": str(k8s_port),
            "WORKERS": "1",
            "LEASE_SECONDS": "30",
            "AUTH": "cognito",
            "IAM": "open",
            "REUSE": "off",
        }

    def local(self, command: str, root: Path = ROOT) -> None:
        """What `make up` and `make clean` run in a checkout."""
        environment = self.environment | {"PYTHONPATH": f"{root / 'layers/core/python'}:{root}"}
        words = [sys.executable, "-m", "local", command]
        done = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def place(self) -> Place:
        return Place.read(self.environment)


@pytest.fixture(scope="module")
def upgrade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrade]:
    """The release, up."""
    released = tmp_path_factory.mktemp("released")
    last_release(released)
    state = Path(tempfile.mkdtemp(prefix="elasticrecode-upgrade-"))
    environment = Upgrade(released, state)
    try:
        environment.local("up", released)
        yield environment
    finally:
        environment.local("clean")
        shutil.rmtree(state, ignore_errors=True)


def old_worker(upgrade: Upgrade) -> subprocess.Popen[bytes]:
    """A second worker of the release, which nobody restarts."""
    (program,) = [one for one in programs(upgrade.place, upgrade.place.stack()) if one.name == NEW]
    root = upgrade.released
    environment = dict(program.environment) | {
        "PYTHONPATH": f"{root / 'layers/core/python'}:{root}",
        "PATH": f"{TOOLS / 'bin'}:{os.defpath}",
        "POD_NAME": OLD,
        "NODE_NAME": OLD,
        "TMPDIR": tempfile.mkdtemp(dir=upgrade.place.state),
    }
    command = [sys.executable, "-m", "worker"]
    with (upgrade.place.logs / f"{OLD}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log)


class Visitor:
    """A client that submits a job every three seconds, whatever happens, and repeats what failed under the same key.

    It begins when the release no longer answers: the embedded AWS of the release loses changes that nobody has read.
    """

    def __init__(self, deployed: Deployed, uri: str) -> None:
        self._deployed, self._uri = deployed, uri
        self.accepted: list[str] = []
        self.refused = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Visitor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(0.05) and self._answers():
            pass
        while number < _VISITS and not self._over.wait(3):
            body = order(self._deployed, self._uri, f"visited/{number}/")
            try:
                status, answer, _ = self._deployed.call(
                    "POST", "/api/v1/jobs", body, {"Idempotency-Key": f"visit-{number}"}
                )
            except (OSError, KeyError):  # nobody answers, not even to sign in
                status, answer = 0, None
            if status == 200:
                self.accepted.append(answer[0]["jobid"])
                number += 1
            else:
                assert status in (0, 429, 500, 502, 503, 504), answer
                self.refused += 1

    def _answers(self) -> bool:
        with suppress(OSError, KeyError):
            return self._deployed.call("GET", "/api/v1")[0] == 200
        return False


def order(deployed: Deployed, uri: str, output: str) -> dict[str, Any]:
    body: dict[str, Any] = contract("job") | {"userid": ME, "input": uri}
    body["output"] = f"s3://{deployed.bucket}/{output}"
    body["profile"]["ffmpeg"] |= {"scale": "240p"}
    return body


def submit(deployed: Deployed, uri: str, output: str, **more: Any) -> str:
    status, answer, _ = deployed.call("POST", "/api/v1/jobs", order(deployed, uri, output) | more)
    assert status == 200, answer
    job_id: str = answer[0]["jobid"]
    return job_id


def log_of(deployed: Deployed, job_id: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = deployed.call("GET", f"/api/v1/jobs/{job_id}")[1]
    return listed


def same(before: Any, after: Any, where: str = "") -> None:
    """Everything that was answered before is answered as before; new fields may come."""
    if isinstance(before, dict):
        for name, value in before.items():
            assert name in after, f"{where}/{name}"
            same(value, after[name], f"{where}/{name}")
    elif isinstance(before, list):
        assert len(before) == len(after), where
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            same(one, other, f"{where}/{number}")
    else:
        assert before == after, where


def test_an_upgrade_loses_nothing(upgrade: Upgrade, clips: Callable[..., Path]) -> None:
    old = Deployed(upgrade.place)
    assert old.call("GET", "/api/v1")[0] == 200
    clip, long = old.put(clips("short.mp4", *CLIP), "in/short.mp4"), old.put(clips("long.mp4", *LONG), "in/long.mp4")
    for number in range(4):
        old.put(clips("short.mp4", *CLIP), f"library/{number}.mp4")
    with ExitStack() as stack:
        receiver: Receiver = stack.enter_context(running())
        release_worker = stack.enter_context(old_worker(upgrade))
        stack.callback(release_worker.kill)
        log = upgrade.place.logs / f"{OLD}.log"  # else one worker might have done both long jobs
        wait_for(lambda: "taking ffmpeg jobs" in log.read_text(), "the start of the release's second worker")
        actions = ["JobFinished", "JobFailed", "BatchFinished"]
        hook = {"userID": ME, "url": receiver.url, "actions": actions}
        status, hook, _ = old.call("POST", "/api/v1/webhooks", hook)
        assert status == 201, hook
        profile = {"ffmpeg": {"codec": "h265", "scale": "240p", "bitrate": "1M", "profile": "quality"}}
        assert old.call("PUT", "/api/v1/presets/of-before", {"profile": profile})[0] in (200, 201)
        time.sleep(5.5)  # a new webhook gets what happens five seconds later

        done = submit(old, clip, "done/")
        old.until(done, "finished")
        wait_for(lambda: any(post.event["jobID"] == done for post in receiver.taken), "the webhook of the release")
        kept = {path: old.call("GET", path)[1] for path in (f"/api/v1/jobs/{done}", f"/api/v1/jobs/{done}/status")}
        follower = stack.enter_context(Follower(old, userID=ME))
        runs = [submit(old, long, f"long/{number}/") for number in range(2)]
        for job_id in runs:
            old.until(job_id, "running")
        waits = [submit(old, clip, f"waits/{number}/") for number in range(3)]
        batch = {name: contract("job_batch")[name] for name in ("priority", "profile")} | {
            "userid": ME,
            "prefix": f"s3://{old.bucket}/library/",
            "output": f"s3://{old.bucket}/library-out/",
        }
        status, batch, _ = old.call("POST", "/api/v1/batches", batch)
        assert status == 202, batch
        shown = f"/api/v1/batches/{batch['batchID']}"
        # All are there: the embedded AWS restarts, and what a function has in hand then comes back after minutes.
        # After a stall some may have ended.
        begun = ("queued", "running", "finished")
        wait_for(lambda: sum(old.call("GET", shown)[1][state] for state in begun) == 4, "the batch's jobs")
        followed(old, follower, [*runs, *waits])
        before = upgrade.place.stack()
        visitor = stack.enter_context(Visitor(old, clip))

        upgrade.local("up")

        new = Deployed(upgrade.place)
        after = upgrade.place.stack()
        assert {name: after[name] for name in KEPT_OUTPUTS} == {name: before[name] for name in KEPT_OUTPUTS}
        assert new.call("GET", "/api/v1")[1]["version"] == f"v{__version__}"
        assert new.call("GET", "/api/v1/overview?userID=" + ME)[0] == 200
        for path, answer in kept.items():
            same(answer, new.call("GET", path)[1], path)
        wait_for(lambda: len(visitor.accepted) > 2, "jobs submitted during and after the upgrade")
        visitor.__exit__()
        jobs = [done, *runs, *waits, *visitor.accepted]
        assert {new.until(job_id, "finished", "failed")["state"] for job_id in jobs} == {"finished"}
        wait_for(lambda: new.call("GET", shown)[1]["state"] == "finished", "the end of the batch")
        answer = new.call("GET", shown)[1]
        assert (answer["total"], answer["finished"]) == (4, 4)
        listed = new.call("GET", f"/api/v1/jobs?batchID={batch['batchID']}&userID={ME}")[1]
        jobs += [each["jobID"] for each in listed]

        ran_on = workers_of(new, runs)
        assert OLD in ran_on, "the worker of the release finishes what it had begun"
        old_then_new(upgrade, new, clip, release_worker, jobs)
        told_of_all(new, jobs, follower, receiver, hook["secret"], batch["batchID"])


def test_a_restart_amid_submissions_loses_no_event(upgrade: Upgrade) -> None:
    upgrade.local("up")
    new = Deployed(upgrade.place)
    accepted: list[str] = []

    def submit_until_nobody_answers() -> None:
        inputs = [f"s3://{new.bucket}/none/{number}.mp4" for number in range(100)]
        body = {**contract("job_batch"), "userid": ME, "batchInputs": inputs, "output": f"s3://{new.bucket}/none-out/"}
        with suppress(OSError):
            while (answer := new.call("POST", "/api/v1/jobs", body))[0] == 200:
                accepted.extend(entry["jobid"] for entry in answer[1])
            assert answer[0] >= 500, answer

    with Follower(new, userID=ME) as follower, ThreadPoolExecutor() as threads:
        submissions = [threads.submit(submit_until_nobody_answers) for _ in range(4)]
        wait_for(lambda: accepted or any(each.done() for each in submissions), "a first job")
        new.supervisor._ask("stopProcess", AWS)
        for each in submissions:
            each.result()
        new.supervisor._ask("startProcess", AWS)
        wait_for(lambda: set(accepted) <= set(follower.seen()), "an event of each job for the watcher")


def old_then_new(upgrade: Upgrade, new: Deployed, clip: str, worker: subprocess.Popen[bytes], jobs: list[str]) -> None:
    """After the upgrade the old worker does a job alone, then the new one, by a preset of before."""
    supervisor = new.supervisor
    supervisor._ask("stopProcess", NEW)
    jobs.append(submit(new, clip, "by-old/"))
    new.until(jobs[-1], "finished")
    assert workers_of(new, jobs[-1:]) == {OLD}
    worker.terminate()
    assert worker.wait(60) == 0
    supervisor._ask("startProcess", NEW)
    jobs.append(submit(new, clip, "by-new/", profile={"preset": "of-before"}))
    record = new.until(jobs[-1], "finished")
    assert workers_of(new, jobs[-1:]) == {NEW}
    assert record["outputs"][0]["videoCodec"] == "hevc"
    assert f"version {__version__}, taking" in (upgrade.place.logs / f"{NEW}.log").read_text()


def workers_of(deployed: Deployed, jobs: list[str]) -> set[str]:
    """The workers that finished jobs."""
    return {event["podName"] for job in jobs for event in log_of(deployed, job) if event["action"] == "JobFinished"}


def told_of_all(
    new: Deployed, jobs: list[str], follower: Follower, receiver: Receiver, secret: str, batch_id: str
) -> None:
    """Who watched from before the upgrade has each event behind its beginning, and so has the webhook."""
    followed(new, follower, jobs[1:])
    ends = {*jobs, batch_id}

    def delivered() -> set[str]:
        return ends & {post.event["jobID"] for post in receiver.taken}

    # The embedded AWS ends a function that is replaced, and what that had in hand comes back after six minutes.
    wait_for(lambda: len(delivered()) + undelivered(new) >= len(ends), "a webhook for each end")
    if SIZE != "sample":
        wait_for(lambda: delivered() == ends, "the webhooks that wait", 420)
    for post in receiver.taken:
        assert Webhook(secret).verify(post.body, post.headers)["action"] in ("JobFinished", "BatchFinished")


def followed(deployed: Deployed, follower: Follower, jobs: list[str]) -> None:
    """Wait until a watcher has each event of jobs, in the order of the feed."""

    def unlike() -> dict[str, Any]:
        """The jobs of which the watcher has seen other events, each with what it saw and its log, both sorted.

        A log is by the time of happening, the feed by the time of storing: the JobFinished of a worker that waits
        for the embedded AWS comes behind the JobLost of its lease, and is listed before it.
        """
        logs = {job_id: sorted(names(log_of(deployed, job_id))) for job_id in jobs}
        watched = {job_id: sorted(names(events)) for job_id, events in follower.seen().items()}
        return {job_id: (watched.get(job_id), log) for job_id, log in logs.items() if watched.get(job_id) != log}

    until = time.monotonic() + 120
    while (left := unlike()) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == {}  # asked anew, it might meet an event between the two reads
    for events in follower.seen().values():
        places = [place(event) for event in events]
        assert places == sorted(places)


def undelivered(new: Deployed) -> int:
    """How many deliveries wait for a webhook."""
    (queue,) = [url for key, url in new.resources("AWS::SQS::Queue").items() if key.startswith("WebhooksDeliveries")]
    wanted: list[Any] = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = new.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=wanted)["Attributes"]
    return sum(int(counts[name]) for name in wanted)
