"""(d) Publication, exhaustively: real workers interleaved at every call to AWS, frozen or dead anywhere.

The code of the worker and of the control plane runs against AWS in memory (`publishing`); `tests.fakes.steps` makes
every order of its calls. In each state that can be reached, a finished record names the bytes that are there, and no
object is there of a job that is cancelled.
"""

import random
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import boto3
import msgspec
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from elasticrecode.aws import clients
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.events import Action
from elasticrecode.jobs.job import Job
from elasticrecode.media.profiles import Ffmpeg, Profile
from tests.chaos.publishing import CONTROL, LEASE_SECONDS, QUEUE, TABLE, Law, packaged, produced, world
from tests.conftest import Tell
from tests.fakes.steps import Answer, Found, Program, Request, explore, in_steps
from tests.sizes import sized
from worker import lease, loop, pipeline, publication, uploads
from worker.produced import Produced
from worker.settings import Settings

PROFILE = Profile(ffmpeg=Ffmpeg(codec="libx264", scale="480:270", bitrate="1M", buffersize="2M", platform="cpu"))
FIRST = Job(userid="ann", jobid="first", input="s3://media/in/x.mp4", output="s3://media/out/", profile=PROFILE)
AGAIN = msgspec.structs.replace(FIRST, jobid="again")
"""The same user's, with the same sources: it may replace the output."""
RIVAL = msgspec.structs.replace(FIRST, jobid="rival", input="s3://media/other/x.mp4")
"""With other sources: it must not."""

Produce = Callable[[str, Job, Path], Produced]


class InTurn(threading.Thread):
    """A thread that runs when it starts, to its end."""

    def start(self) -> None:
        self.run()


class Still(threading.Thread):
    """A thread that never runs: the worker renews no lease, as if it were frozen all the time."""

    def start(self) -> None:
        """Do nothing."""

    def join(self, timeout: float | None = None) -> None:
        """Do nothing."""


class Seconds:
    """A clock for time limits: each reading is so much later."""

    def __init__(self, step: float) -> None:
        self._readings = count()
        self._step = step

    def monotonic(self) -> float:
        return next(self._readings) * self._step


@pytest.fixture(autouse=True)
def stepped(monkeypatch: pytest.MonkeyPatch, clock: object, tmp_path: Path) -> Iterator[None]:
    """Worker and control plane run in steps, without threads, waiting or chance."""
    known: dict[str, Any] = {}
    make = clients._session.create_client

    def cached(service: str, **_: Any) -> Any:
        if service not in known:
            known[service] = make(service)
        return known[service]

    monkeypatch.setattr(boto3, "client", cached)
    monkeypatch.setattr(clients._session, "create_client", cached)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(random, "randrange", lambda *_: 0)
    monkeypatch.setattr(random, "choice", lambda several: several[0])
    monkeypatch.setattr(uploads, "threading", SimpleNamespace(Thread=InTurn))
    monkeypatch.setattr(lease, "threading", SimpleNamespace(Thread=Still, Event=threading.Event))
    with in_steps():
        yield


def constant(request: Request) -> Answer | None:
    """Calls that change nothing that others see."""
    match request.operation:
        case "GetQueueUrl":
            return Answer({"QueueUrl": request.arguments["QueueName"]})
        case "ChangeMessageVisibility":
            return Answer()
        case "SendMessage":
            event = msgspec.json.decode(request.arguments["MessageBody"])
            return Answer() if event["action"] in (Action.JOB_START, Action.JOB_PROGRESS) else None
    return None


def worker(name: str, job: Job, polls: int, patch: pytest.MonkeyPatch, produce: Produce) -> Program:
    """A worker that looks so many times for the message of a job."""
    settings = Settings.read(
        {
            "WORKER_TYPE": "ffmpeg",
            "QUEUE_NAME": QUEUE,
            "CONTROL_PLANE": CONTROL,
            "JOBS_TABLE": TABLE,
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "POD_NAME": name,
            "REUSE": "off",  # there is no input to look at
        }
    )

    def body() -> None:
        runs, ids = count(1), count(1)
        patch.setattr(pipeline, "_produce", lambda at, *_: produce(f"{name} {next(runs)}", at.job, at.folder))
        patch.setattr(uuid, "uuid4", lambda: f"{name}-{next(ids)}")
        patch.setattr(publication, "time", SimpleNamespace(sleep=lambda _: None, monotonic=Seconds(40).monotonic))
        patch.setattr(lease, "time", Seconds(0))  # it never sees that it was frozen
        own = loop.Worker(settings)
        for _ in range(polls):
            try:
                own.poll()
            except (BotoCoreError, ClientError, Unavailable):  # as its loop does
                continue

    def known(request: Request) -> Answer | None:
        if request.operation == "ReceiveMessage":
            request.arguments["JobID"] = job.jobid
        return constant(request)

    return Program(name, body, known)


class Case(NamedTuple):
    """Who takes part: workers by name, job and number of polls; what else happens; how many calls go wrong.

    `produce` makes the outputs.
    """

    workers: tuple[tuple[str, Job, int], ...]
    law: Law = Law()
    faults: int = 0
    produce: Produce = produced


A, B, C = ("a", FIRST, 1), ("b", FIRST, 2), ("c", AGAIN, 1)
USER = Law(cancels=("first",), retries=("first",))
CASES = {
    "two attempts": Case((A, B)),
    "another job on the key": Case((A, C)),
    "a job with other sources on the key": Case((A, ("c", RIVAL, 1))),
    "cancelled and retried": Case((A, ("b", FIRST, 1)), USER),
    "a call that is lost or done twice": Case((A, ("b", FIRST, 1)), faults=1),
    "two attempts, every order": Case((A, B), Law(reduced=False)),
    "two attempts, an S3 that forgets": Case((A, B), Law(forgets=True)),
    "two attempts, cancelled and retried": Case((A, B), USER),
    "two attempts, a call that is lost or done twice": Case((A, B), faults=1),
    "a package, two attempts": Case((A, B), produce=packaged),
    "a package, another job on its keys": Case((A, C), produce=packaged),
    "a package, cancelled and retried": Case((A, ("b", FIRST, 1)), USER, produce=packaged),
    "a package, a call that is lost or done twice": Case((A, ("b", FIRST, 1)), faults=1, produce=packaged),
}
SAMPLE = ("two attempts", "a job with other sources on the key", "a package, two attempts")
"""What `make test` runs of them."""
BROKEN = {
    "of the attempt": Case((A, B), Law(unconditional="SET #commit")),
    "of the output key": Case((A, C), Law(unconditional="SET publisher")),
}


def explored(case: Case, patch: pytest.MonkeyPatch) -> Found:
    jobs = list({job.jobid: job for _, job, _ in case.workers}.values())
    programs = [worker(name, job, polls, patch, case.produce) for name, job, polls in case.workers]
    return explore(world(case.law, jobs), programs, case.faults)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", sized(SAMPLE, tuple(CASES), tuple(CASES)))
def test_no_order_of_calls_leaves_other_bytes_than_the_record_names(
    monkeypatch: pytest.MonkeyPatch, tell: Tell, name: str
) -> None:
    found = explored(CASES[name], monkeypatch)
    tell(f"publication, {name}", found.counts)
    assert not found.flaw, "\n".join([found.flaw, *found.story])


@pytest.mark.parametrize("condition", BROKEN)
def test_without_its_conditions_the_commit_lets_other_bytes_stand(
    monkeypatch: pytest.MonkeyPatch, tell: Tell, condition: str
) -> None:
    found = explored(BROKEN[condition], monkeypatch)
    tell(f"publication, without the condition {condition}", {**found.counts, "steps to the flaw": len(found.story)})
    assert "names other bytes" in found.flaw


def test_an_entry_file_that_appears_first_refers_to_files_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads.Uploads, "complete_all", lambda *_: None)
    found = explored(CASES["a package, two attempts"], monkeypatch)
    assert "refers to files that are not there" in found.flaw
