"""(c) Workers freeze and are killed, clocks are wrong, AWS refuses, answers late or dies, and messages come twice."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.deployment import wait_for_aws
from local.processes import AWS, programs
from tests.conftest import Tell, contract
from tests.e2e.conftest import LEASE_SECONDS, Deployed, wait_for
from tests.e2e.hindered import NOISE, Hindered, Judged, all_ended, seconds_since
from tests.e2e.test_deployed import Clips, encoders
from tests.fakes.proxy import Call, Proxy, at_random
from tests.sizes import SEED, sized

pytestmark = pytest.mark.alone

JOBS, BLOWS, WORKERS = sized((10, 5, 3), (200, 40, 4), (200, 60, 4))
SKEWS = [-600.0, 600.0, -60.0, 75.0][:WORKERS]
"""Seconds by which the clocks of the workers are wrong."""
RATES = {"s3": 0.12, "sqs": 0.08, "sts": 0.15, "dynamodb": 0.05}
"""The shares of the calls of each service that go wrong."""
FREEZES = 0.08
"""The share of the calls that publish at which the worker freezes."""
PUBLISHING = ("CreateMultipartUpload", "UploadPart", "TransactWriteItems", "CompleteMultipartUpload")
LONGEST_FREEZE_SECONDS = 2.5 * LEASE_SECONDS
_TOGETHER = 10
_RARE, _RARELY = "aws restarts", 10
"""Every tenth blow: it costs all workers their leases, so that more of them would leave no job enough attempts."""


def asked_until_answered(deployed: Deployed, key: str, uris: list[str]) -> list[str]:
    """A client that does not give up: the same Idempotency-Key until there is an answer; the ids of its jobs."""
    body = contract("job_batch") | {"batchInputs": uris, "output": f"s3://{deployed.bucket}/chaos/{key}/"}
    body["profile"]["ffmpeg"] |= {"scale": "240p", "bitrate": "15M"}

    def ask() -> list[str] | None:
        try:
            status, answer, _ = deployed.call("POST", "/api/v1/jobs", body, {"Idempotency-Key": key})
        except OSError:
            return None
        return [entry["jobid"] for entry in answer] if status == 200 else None

    found: list[str] = wait_for(ask, "an answer", 120)
    return found


def restart_aws(deployed: Deployed) -> None:
    """Stop the embedded AWS, wait a moment, start it again."""
    deployed.supervisor._ask("stopProcess", AWS)
    wait_for(lambda: deployed.supervisor.state(AWS) == "STOPPED", "the end of the embedded AWS", 30)
    deployed.supervisor._ask("startProcess", AWS)
    wait_for_aws(deployed.place, deployed.supervisor)


@pytest.fixture
def hindered(deployed: Deployed, tmp_path: Path) -> Iterator[Hindered]:
    """Workers with wrong clocks behind a proxy that breaks their requests, for the time of a test."""
    with Proxy(deployed.place.aws_url).serving() as proxy:
        workers = Hindered(deployed, proxy, tmp_path)
        yield workers
        (tmp_path / "proxy.log").write_text("\n".join(proxy.log))  # pytest keeps this folder
        proxy.verdict, proxy.on_call = lambda _: None, lambda _: None
        workers.thaw_all()
        deployed.supervisor.keep(programs(deployed.place, deployed.stack))


class Storm:
    """What happens to the workers, by chance: blows one after another, and freezes in the middle of publishing."""

    def __init__(self, workers: Hindered) -> None:
        self.workers, self.rng = workers, random.Random(SEED)
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.blows: dict[str, Callable[[], object]] = {
            "aws restarts": lambda: restart_aws(workers.deployed),
            "frozen": lambda: self.freeze(self.some()),
            "frozen, encoder running": lambda: self.freeze(self.some(), alone=True),
            "killed": lambda: workers.strike(self.some(), signal.SIGKILL),
            "terminated": lambda: workers.strike(self.some(), signal.SIGTERM),
        }

    def some(self) -> str:
        """One of the workers."""
        return self.rng.choice(self.workers.names)

    def freeze(self, name: str, *, alone: bool = False) -> None:
        """Freeze a worker for a while, which may be longer than its lease, or not."""
        self.workers.freeze(name, self.rng.uniform(0.2, LONGEST_FREEZE_SECONDS), alone=alone)

    def seen(self, call: Call) -> None:
        """A worker that publishes may freeze; its call comes to AWS all the same."""
        rng = random.Random(f"{SEED} frozen {call.worker} {call.operation} {call.n}")
        if call.operation in PUBLISHING and rng.random() < FREEZES:
            seconds = rng.uniform(0.5, LONGEST_FREEZE_SECONDS)
            if self.workers.freeze(call.worker, seconds, alone=rng.random() < 0.5):
                with self._lock:
                    self.counts[f"frozen at {call.operation}"] += 1

    def blow(self, n: int) -> None:
        """The nth blow, after a moment."""
        others = [name for name in self.blows if name != _RARE]
        name = _RARE if n % _RARELY == 0 else others[n % len(others)]
        time.sleep(self.rng.uniform(0.2, 2.0))  # chance, not a condition: it decides what the workers are doing
        self.blows[name]()
        self.counts[name] += 1


@pytest.mark.timeout(sized(600, 2400, 3600))
def test_every_job_ends_once_with_the_bytes_of_its_record(hindered: Hindered, clips: Clips, tell: Tell) -> None:
    deployed, proxy, storm = hindered.deployed, hindered.proxy, Storm(hindered)
    keys = submitted(deployed, clips)
    ids = list(keys)
    proxy.verdict, proxy.on_call = at_random(SEED, RATES), storm.seen
    began = time.monotonic()
    hindered.keep(SKEWS)
    for n in range(BLOWS):
        wait_for(lambda: encoders(deployed) > 0 or all_ended(deployed, ids), "work", 180)
        storm.blow(n)
    wait_for(lambda: all_ended(deployed, ids), "the end of all jobs", sized(400, 2000, 2400))
    wait_for(lambda: is_empty(deployed, "ControlQueue"), "the last event", 300)
    proxy.verdict, proxy.on_call = lambda _: None, lambda _: None
    hindered.thaw_all()
    settle(hindered)
    judged = Judged(deployed)
    for job_id, key in keys.items():
        judged.judge(job_id, [key, *(f"{key}.certificate.{kind}" for kind in ("json", "html"))])
    judged.wrong["doubled"] += [] if len(set(ids)) == JOBS else [("jobs", len(ids))]
    left = judged.uploads("chaos/")
    faults = {name: count for name, count in proxy.counts.items() if " " not in name}
    counts = {**judged.counts, **storm.counts, **faults, "uploads left": len(left)}
    tell("chaos", {"seconds": seconds_since(began), **counts})
    assert judged.faults == {}
    assert len(left) <= excused(storm, proxy), left
    wait_for(lambda: encoders(deployed) == 0, "the end of encoders whose worker was killed", 120)


def submitted(deployed: Deployed, clips: Clips) -> dict[str, str]:
    """Jobs by their ids, each with its output's key. Some outputs are uploaded in more than one part."""
    short, long = (clips(f"noise-{seconds}.mp4", *[each.format(seconds) for each in NOISE]) for seconds in (1, 5))
    keys: dict[str, str] = {}
    with ThreadPoolExecutor(4) as threads:
        put = [(long if n % _TOGETHER == 0 else short, f"chaos-in/{SEED}/{n}.mp4") for n in range(JOBS)]
        uris = list(threads.map(lambda each: deployed.put(*each), put))
    for first in range(0, JOBS, _TOGETHER):
        key = f"{SEED}-{first}"
        some = uris[first : first + _TOGETHER]
        for job_id, uri in zip(asked_until_answered(deployed, key, some), some, strict=True):
            keys[job_id] = f"chaos/{key}/{uri.rpartition('/')[2]}"
    return keys


def settle(hindered: Hindered) -> None:
    """Wait until every worker has come to the end of what it was doing, and asks for work."""
    polls = {name: hindered.proxy.count(name, "ReceiveMessage") for name in hindered.names}
    for name, before in polls.items():
        wait_for(lambda: hindered.proxy.count(name, "ReceiveMessage") > before + 1, f"{name} at rest", 120)  # noqa: B023


def excused(storm: Storm, proxy: Proxy) -> int:
    """How many uploads may stay: of workers that were killed, of answers that got lost, and of an AWS that was away."""
    killed = storm.counts["killed"] + WORKERS * storm.counts["aws restarts"]
    unknown = ("CreateMultipartUpload", "AbortMultipartUpload", "TransactWriteItems")
    return killed + sum(proxy.counts[f"{operation} {fault}"] for operation in unknown for fault in LOSING)


LOSING = ("throttle", "error", "reset", "lost", "cut", "late")


def is_empty(deployed: Deployed, queue: str) -> bool:
    """Whether a queue holds nothing: what a consumer had in its hands when AWS died comes back after a while."""
    found = deployed.sqs.get_queue_attributes(QueueUrl=deployed.stack[queue], AttributeNames=["All"])["Attributes"]
    return found["ApproximateNumberOfMessages"] == found["ApproximateNumberOfMessagesNotVisible"] == "0"
