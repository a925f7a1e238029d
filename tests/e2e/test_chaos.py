"""(c) Workers are killed in the middle of work, and AWS itself stops and starts."""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from elasticrecode.jobs.lifecycle import ENDED
from local.deployment import wait_for_aws
from local.processes import AWS, programs
from tests.conftest import Tell, contract
from tests.e2e.conftest import Deployed, wait_for
from tests.e2e.test_deployed import MAX_ATTEMPTS, Clips, encoders, long_clip
from tests.sizes import SEED, sized

JOBS, BLOWS = sized((3, 3), (5, 4), (24, 24))
WORKERS = 2
_NEXT = {
    "JobSummit": {"JobStart", "JobLost"},
    "JobStart": {"JobFinished", "JobReturned", "JobLost"},
    "JobReturned": {"JobStart", "JobLost"},
    "JobLost": {"JobStart", "JobLost", "JobReturned", "JobFailed"},
    "JobFinished": set(),
    "JobFailed": set(),
}
"""What a log may tell next. A worker that is killed between its claim and JobStart is lost without a start."""


def asked_until_answered(deployed: Deployed, key: str, uri: str) -> str:
    """A client that does not give up: the same Idempotency-Key until there is an answer."""
    body = contract("job") | {"input": uri, "output": f"s3://{deployed.bucket}/chaos/{key}/"}
    body["profile"]["ffmpeg"] |= {"scale": "480p"}

    def ask() -> str | None:
        try:
            status, answer, _ = deployed.call("POST", "/api/v1/jobs", body, {"Idempotency-Key": key})
        except OSError:
            return None
        job_id: str | None = answer[0]["jobid"] if status == 200 else None
        return job_id

    found: str = wait_for(ask, "an answer", 120)
    return found


def restart_aws(deployed: Deployed, rng: random.Random) -> None:
    """Stop the embedded AWS, wait a moment, start it again."""
    deployed.supervisor._ask("stopProcess", AWS)
    wait_for(lambda: deployed.supervisor.state(AWS) == "STOPPED", "the end of the embedded AWS", 30)
    deployed.supervisor._ask("startProcess", AWS)
    wait_for_aws(deployed.place, deployed.supervisor)


def strike(deployed: Deployed, number: signal.Signals, rng: random.Random) -> None:
    """Send a signal to one of the workers; its supervisor starts it again."""
    name = f"worker-ffmpeg-{rng.randrange(WORKERS)}"
    pid = deployed.supervisor.pids().get(name)
    if pid:
        os.kill(pid, number)
        wait_for(lambda: deployed.supervisor.pids().get(name, pid) != pid, f"a new {name}", 60)


@pytest.fixture
def two_workers(deployed: Deployed) -> Any:
    """Another worker for the time of a test."""
    deployed.supervisor.keep(programs(deployed.place._replace(workers=WORKERS), deployed.stack))
    yield
    deployed.supervisor.keep(programs(deployed.place, deployed.stack))


@pytest.mark.timeout(sized(600, 600, 3600))
@pytest.mark.usefixtures("two_workers")
def test_no_job_is_lost_or_doubled_when_workers_and_aws_die(deployed: Deployed, clips: Clips, tell: Tell) -> None:
    rng = random.Random(SEED)
    counts: Counter[str] = Counter()
    uri = long_clip(deployed, clips, "chaos")
    ids = [asked_until_answered(deployed, f"{SEED}-{n}", uri) for n in range(JOBS - 1)]
    blows: list[tuple[str, Callable[[], None]]] = [
        ("killed", lambda: strike(deployed, signal.SIGKILL, rng)),
        ("terminated", lambda: strike(deployed, signal.SIGTERM, rng)),
        ("aws restarts", lambda: restart_aws(deployed, rng)),
    ]
    for n in range(BLOWS):
        wait_for(lambda: encoders(deployed) > 0 or all_ended(deployed, ids), "work", 120)
        name, blow = blows[n % len(blows)]
        blow()
        counts[name] += 1
        if name == "aws restarts" and len(ids) < JOBS:
            ids.append(asked_until_answered(deployed, f"{SEED}-{len(ids)}", uri))
    began = time.monotonic()
    wait_for(lambda: all_ended(deployed, ids), "the end of all jobs", sized(400, 400, 1200))
    wait_for(lambda: is_empty(deployed, "ControlQueue"), "the last event", 300)
    counts["seconds to the last end"] = round(time.monotonic() - began)
    for n, job_id in enumerate(ids):
        said, record = deployed.actions(job_id), deployed.record(job_id)
        unlucky = said.count("JobLost") == MAX_ATTEMPTS and said.count("JobFailed") == 1
        counts["killed too often"] += unlucky
        counts["lost"] += record["state"] != ("failed" if unlucky else "finished")
        counts["doubled"] += said.count("JobFinished") > 1 or said.count("JobFailed") > 1
        counts["doubled"] += deployed.keys(f"chaos/{SEED}-{n}/") != ([] if unlucky else [f"chaos/{SEED}-{n}/chaos.mp4"])
        counts["illegal"] += sum(after not in _NEXT[before] for before, after in pairwise(said))
        counts["attempts"] += record["attempt"]
    counts["doubled"] += len(ids) - len(set(ids))
    tell("workers and AWS killed", {"jobs": len(ids), **counts})
    bad = {name: counts[name] for name in ("lost", "doubled", "illegal") if counts[name]}
    assert bad == {}, [deployed.actions(job_id) for job_id in ids]
    wait_for(lambda: encoders(deployed) == 0, "the end of encoders whose worker was killed", 120)


def is_empty(deployed: Deployed, queue: str) -> bool:
    """Whether a queue holds nothing: what a consumer had in its hands when AWS died comes back after a while."""
    found = deployed.sqs.get_queue_attributes(QueueUrl=deployed.stack[queue], AttributeNames=["All"])["Attributes"]
    return found["ApproximateNumberOfMessages"] == found["ApproximateNumberOfMessagesNotVisible"] == "0"


def all_ended(deployed: Deployed, ids: list[str]) -> bool:
    """Whether every job has ended; False while nobody answers."""
    try:
        return all(deployed.record(job_id)["state"] in ENDED for job_id in ids)
    except (OSError, KeyError, json.JSONDecodeError):
        return False
