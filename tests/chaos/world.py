"""A small world: clients, workers, streams, queues and time, with AWS calls that fail in every way.

Faults come between the product and AWS: a call is refused, or made and its answer lost, or it succeeds in part, or the
process that makes it dies before or after it. What AWS does about that is done here: a stream delivers again and in
order, a message comes back when its visibility timeout ends, a client with an Idempotency-Key asks again.
"""

import random
import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from elasticrecode.aws import clients as product
from elasticrecode.contract import routes
from elasticrecode.errors import Unavailable
from elasticrecode.jobs import streams
from elasticrecode.jobs.commits import Ending
from elasticrecode.jobs.events import Action, Output, Progress, Result
from elasticrecode.jobs.job import Job, products
from elasticrecode.jobs.lifecycle import COMMIT, ENDED, MOVES
from tests.conftest import contract
from tests.fakes.clock import Clock
from tests.fakes.faults import Faults
from tests.fakes.memory import Aws
from tests.fakes.stack import Stack, selected
from tests.fakes.turns import InTurn
from tests.support import call
from worker import loop, publication
from worker.errors import PermanentError, ShuttingDown, TransientError
from worker.publication import Publication
from worker.sandbox.runner import Runner
from worker.settings import Settings

LEGAL = {(source, move.target) for move in MOVES for source in move.sources}
LEASE_SECONDS = 30
_VISIBILITY_SECONDS = 360
_BATCH = 40
_PATIENCE = 400
_STORM = 30
_RATE = 0.04
_EXPECTED = (Unavailable, ClientError, BotoCoreError, RuntimeError)
"""What a handler may end with when AWS fails: Lambda takes note and delivers again."""
_OUTPUT = Output(uri="s3://b/x.mp4", bytes=1, duration=1.0, width=2, height=2, videoCodec="h264", bitrate=1, frames=1)


class World:
    """One deployment with its clients and workers."""

    def __init__(self, rng: random.Random, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rng, self.clock = rng, clock
        self.faults = Faults(rng)
        self.counts: Counter[str] = Counter()
        self.accepted: set[str] = set()
        self.busy = 0
        self.wrong: dict[str, Any] = {"moves": [], "published": [], "answers": []}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.undelivered: list[dict[str, Any]] = []
        self.states: dict[str, str] = {}
        self.finished: Counter[str] = Counter()
        aws = Aws(rng)
        monkeypatch.setattr(BaseClient, "_make_api_call", lambda *asked: aws(*asked))
        self.stack = Stack()
        own = (self.stack.dynamodb, self.stack.sqs, self.stack._streams)

        def make(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
            return (aws if client in own else partial(self.faults, aws))(client, operation, arguments)

        monkeypatch.setattr(BaseClient, "_make_api_call", make)
        monkeypatch.setattr(product, "_threads", InTurn())
        monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=rng.getrandbits(128), version=4))
        random.seed(rng.random())
        monkeypatch.setattr(loop, "_POLL_SECONDS", 0)
        monkeypatch.setattr(loop, "run_job", self.perform)
        monkeypatch.setattr(publication, "_WAIT_SECONDS", 0)
        monkeypatch.setattr(publication, "_PATIENCE_SECONDS", 0)
        self.worker_settings = Settings.read(
            {
                "WORKER_TYPE": "ffmpeg",
                "CORE": "CPU",
                "QUEUE_NAME": "ffmpeg_job",
                "CONTROL_PLANE": "control_plane",
                "JOBS_TABLE": "jobs",
                "LEASE_SECONDS": str(LEASE_SECONDS),
                "POD_NAME": "w",
            }
        )
        self.workers: list[loop.Worker | None] = [loop.Worker(self.worker_settings) for _ in range(3)]

    # What happens

    def live(self, jobs: int) -> None:
        """Things happen in any order until so many jobs were asked for; then all are brought to an end in peace."""
        asked = 0
        self.faults.rate = _RATE
        while asked < jobs:
            asked += self.submit()
            for _ in range(20):
                self.step()
        for turn in range(_PATIENCE):
            self.faults.rate = _RATE if turn < _STORM else 0.0
            self.answer_all()
            self.dispatch()
            self.work()
            self.consume()
            self.reconcile()
            self.clock.ahead += 31
            if not self.unfinished() and not self.requests and not self.undelivered:
                break

    def step(self) -> None:
        """One thing happens."""
        weights = {self.work: 3, self.dispatch: 3, self.consume: 3, self.reconcile: 1, self.wait: 2, self.cancel: 1,
                   self.retry: 1, self.answer_all: 1}  # fmt: skip
        (act,) = self.rng.choices(list(weights), list(weights.values()))
        act()

    def submit(self) -> int:
        """A client asks for a few jobs under a key, and asks again until it has an answer."""
        count = self.rng.choice((1, 1, 10, 60))
        uris = [f"s3://bucket/{n}.mp4" for n in range(count)]
        self.requests.append((f"key-{self.rng.random()}", contract("job_batch") | {"batchInputs": uris}))
        self.answer_all()
        return count

    def answer_all(self) -> None:
        """Clients whose request was not answered try again."""
        for request in list(self.requests):
            key, body = request
            with self.faults.process():
                answer = call(self.stack.submit, routes.SUBMIT, body, headers={"Idempotency-Key": key})
                if answer.status == 200:
                    self.requests.remove(request)
                    took = {entry["jobid"] for entry in answer.body if entry["status"]["status"] == "success"}
                    self.accepted |= took
                    self.counts["accepted"] += len(took)
                elif answer.status not in (409, 503):
                    self.wrong["answers"].append(answer)

    def dispatch(self) -> None:
        """The stream delivers; what its reader did not finish comes again, in order."""
        self.look()
        batch = self.undelivered[: self.rng.randint(1, 500)]
        chosen = selected(batch, streams.DISPATCH)
        done = not chosen
        if chosen:
            with self.faults.process():
                try:
                    self.stack._dispatch({"Records": chosen}, None)
                    done = True
                except _EXPECTED:
                    self.counts["failed invocations"] += 1
        if done:
            del self.undelivered[: len(batch)]

    def look(self) -> None:
        """Read the stream, and judge every change of state."""
        records = self.stack.changes()
        self.undelivered += records
        for record in records:
            stored = record["dynamodb"]
            if stored["Keys"]["item"]["S"] != "job":
                continue
            job_id, new = stored["Keys"]["jobID"]["S"], stored["NewImage"]["state"]["S"]
            self.states[job_id] = new
            if "OldImage" not in stored:
                continue
            old = stored["OldImage"]["state"]["S"]
            attempts = int(stored["NewImage"]["attempt"]["N"]) - int(stored["OldImage"]["attempt"]["N"])
            if old != new:
                self.counts["moves"] += 1
                adopted = new == "running" and COMMIT in stored["OldImage"]
                self.counts["adopted"] += adopted
                if (old, new) not in LEGAL or attempts != (new == "running" and not adopted):
                    self.wrong["moves"].append((job_id, old, new, attempts))
                self.finished[job_id] += new == "finished"

    def consume(self) -> None:
        """The control queue's consumer gets what is there; what it did not finish comes back later."""
        messages = self.receive("control_plane")
        if not messages:
            return
        records = [{"messageId": message["MessageId"], "body": message["Body"]} for message in messages]
        with self.faults.process():
            try:
                answer = self.stack._events({"Records": records}, None)
            except _EXPECTED:
                self.counts["failed invocations"] += 1
                return
            again = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
            for message in messages:
                if message["MessageId"] not in again:
                    self.delete("control_plane", message)

    def work(self) -> None:
        """The workers take jobs until there is none, or they have had enough; a dead one is replaced."""
        for _ in range(_BATCH):
            place = self.rng.randrange(len(self.workers))
            self.workers[place] = worker = self.workers[place] or loop.Worker(self.worker_settings)
            alive, busy = False, self.busy
            with self.faults.process():
                try:
                    worker.poll()
                except _EXPECTED:
                    self.counts["worker errors"] += 1
                alive = True
            if not alive:
                self.workers[place] = None
            elif self.busy == busy:
                break

    def perform(
        self,
        job: Job,
        settings: Settings,
        storage: object,
        runner: Runner,
        report: Callable[[Progress], None],
        publication: Publication,
    ) -> Ending:
        """What the encoder does: it takes a while, goes wrong or right, and commits to an output of no bytes."""
        self.busy += 1
        assert publication._keys
        publication._keys.reserve(products(publication._job))
        report(Progress(percent=50.0))
        chance = self.rng.random()
        if chance < 0.02:
            raise PermanentError("input-corrupt", "not a video")
        if chance < 0.05:
            raise TransientError("storage-unavailable", "slow down")
        if chance < 0.08:
            runner.stop(ShuttingDown("scale-down"))
        if chance > 0.97:
            self.clock.ahead += LEASE_SECONDS + 5  # the machine slept
        runner.check()
        result = Result(outputs=[_OUTPUT])
        ending = publication.publish([], lambda _: Ending(Action.JOB_FINISHED, result=result))
        self.counts["published"] += 1
        if self.finished[job.jobid]:
            self.wrong["published"].append(job.jobid)
        return ending

    def reconcile(self) -> None:
        """A minute is over."""
        with self.faults.process():
            try:
                self.stack.reconcile({}, None)
            except _EXPECTED:
                self.counts["failed invocations"] += 1

    def wait(self) -> None:
        """Time passes."""
        self.clock.ahead += self.rng.choice((0.1, 1, 5, 31))

    def cancel(self) -> None:
        """A user cancels some job."""
        self.change(routes.CANCEL)

    def retry(self) -> None:
        """A user retries some job."""
        self.change(routes.RETRY)

    def change(self, route: str) -> None:
        """Ask for a change of a job and look at the kind of answer only."""
        if not self.accepted:
            return
        job_id = self.rng.choice(sorted(self.accepted))
        with self.faults.process():
            answer = call(self.stack.jobs, route, parameters={"jobID": job_id})
            if answer.status not in (202, 409, 503):
                self.wrong["answers"].append(answer)

    # What has come of it

    def unfinished(self) -> set[str]:
        """Accepted jobs that have not ended."""
        self.look()
        return {job_id for job_id in self.accepted if self.states.get(job_id) not in ENDED}

    def judged(self) -> Counter[str]:
        """The counts, with those that must be zero among them."""
        there = {item["jobID"]["S"] for item in self.stack.items() if "state" in item}
        self.wrong |= {
            "lost": self.accepted - there,
            "stuck": self.unfinished() & there,
            "finished twice": {job_id for job_id, times in self.finished.items() if times > 1},
            "made, but not told to the client": there - self.accepted,
        }
        self.counts["lost"] += len(self.wrong["lost"])
        self.counts["stuck"] += len(self.wrong["stuck"])
        self.counts["doubled"] += len(self.wrong["finished twice"]) + len(
            self.wrong["made, but not told to the client"]
        )
        self.counts["illegal"] += len(self.wrong["moves"])
        self.counts["wrong answers"] += len(self.wrong["answers"])
        self.counts["published after the end"] += len(self.wrong["published"])
        self.counts["finished"] += sum(self.finished.values())
        return self.counts + self.faults.counts

    # AWS itself

    def receive(self, queue: str) -> list[dict[str, Any]]:
        """Up to a hundred messages, in the consumer's hands for a while."""
        taken: list[dict[str, Any]] = []
        while len(taken) < 100:
            answer = self.stack.sqs.receive_message(
                QueueUrl=self.stack.queue[queue], MaxNumberOfMessages=10, VisibilityTimeout=_VISIBILITY_SECONDS
            )
            if not answer.get("Messages"):
                break
            taken += [dict(message) for message in answer["Messages"]]
        return taken

    def delete(self, queue: str, message: dict[str, Any]) -> None:
        """Lambda's own deletion of what was consumed."""
        self.stack.sqs.delete_message(QueueUrl=self.stack.queue[queue], ReceiptHandle=message["ReceiptHandle"])
