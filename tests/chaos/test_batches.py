"""(d) Batches keep their promises whichever invocation is killed at whichever AWS call.

Clients, workers, `survey`, `expand`, `tally`, `dispatch` and time take turns in any order, also one inside another:
before any AWS call another whole invocation may run. Then AWS works without faults until nothing is left to do.
"""

import json
import random
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import pytest
from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from elasticrecode import ids
from elasticrecode.aws import clients as product
from elasticrecode.aws import dynamodb
from elasticrecode.batches import counting, progress, survey
from elasticrecode.batches import store as batches_store
from elasticrecode.contract import routes
from elasticrecode.errors import Unavailable
from elasticrecode.jobs import items as table
from elasticrecode.jobs import streams
from elasticrecode.jobs.claims import Claims
from elasticrecode.jobs.lifecycle import ENDED, STATES
from tests.chaos.world import LEASE_SECONDS, LEGAL
from tests.conftest import Tell, contract
from tests.fakes.clock import Clock
from tests.fakes.faults import Faults
from tests.fakes.memory import Aws
from tests.fakes.stack import Stack, selected
from tests.sizes import SEED, sized
from tests.support import Answer, call

WORLDS = sized(20, 60, 3_000)
_AT_ONCE = 0.04
_SAME_AT_ONCE = 0.3
_STEPS_AT_ONCE = (1, 1, 3, 15)
_DEEP = 3
_AGAIN = 0.15
_PATIENCE = 60
_PAGE_SECONDS = 36
"""Longer than a page's lease."""
_TIME_LIMIT = 30
"""Seconds that a function may run; a page's lease is longer."""
_EXPECTED = (Unavailable, ClientError, BotoCoreError, RuntimeError)
"""Errors that an invocation may end with when AWS fails; its messages are delivered again."""
_CODES = ("input-corrupt", "encoder-failed", "disk-full")
_USER = contract("job")["userid"]
_ORDER = {name: contract("job_batch")[name] for name in ("userid", "profile", "priority")}
T = TypeVar("T")


class Invocation(Faults):
    """An invocation with a time limit and faults, such as a conditional write repeated after a lost answer."""

    def __init__(self, rng: random.Random, clock: Clock) -> None:
        super().__init__(rng)
        self._clock = clock
        self._until = clock.ahead + _TIME_LIMIT

    def __call__(self, real: Aws, client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        self._dead = self._dead or self._clock.ahead > self._until
        if "ConditionExpression" in arguments and not self._dead and self.rng.random() < self.rate:
            self.counts["writes made twice"] += 1
            real(client, operation, arguments)
        return super().__call__(real, client, operation, arguments)


class Broken(BaseException):
    """A promise was broken inside an invocation. A BaseException, so that the function does not handle it."""


class Submitted(NamedTuple):
    """A batch that was taken in, and the inputs that its jobs should have, by position."""

    id: str
    inputs: list[str]


class Message:
    """A message that stays on its queue until an invocation has handled it."""

    def __init__(self, received: dict[str, Any]) -> None:
        self.received = received
        self.receives = 0

    def delivered(self) -> dict[str, Any]:
        """The message as a function receives it, one receive later."""
        self.receives += 1
        return {
            "messageId": self.received["MessageId"],
            "receiptHandle": self.received["ReceiptHandle"],
            "body": self.received["Body"],
            "attributes": {"ApproximateReceiveCount": str(self.receives)},
        }


class World:
    """One deployment, with a few batches at once."""

    def __init__(self, rng: random.Random, clock: Clock, patch: pytest.MonkeyPatch) -> None:
        self.rng, self.clock = rng, clock
        self.counts: Counter[str] = Counter()
        self.rate = 0.0
        self.at_once = 0.0
        self.running: list[Invocation] = []
        self.at: list[tuple[str, list[Message]]] = []
        """The queues and messages that invocations are handling, the innermost last."""
        self.aws = Aws(rng)
        patch.setattr(BaseClient, "_make_api_call", lambda *arguments: self.call(*arguments))
        patch.setattr(product, "_threads", self)
        patch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=rng.getrandbits(128), version=4))
        random.seed(rng.random())
        patch.setattr(survey, "PAGE_JOBS", rng.randint(3, 10))
        patch.setattr(counting, "STRIP_SIZE", rng.randint(3, 15))
        patch.setattr(dynamodb, "_WRITE_LIMIT", rng.randint(2, 6))
        patch.setattr(batches_store, "_WRITE_LIMIT", rng.randint(1, 3))
        patch.setattr(progress, "_SAMPLE_MS", rng.choice((10_000, 10**9)))
        self.own: tuple[Any, ...] = ()
        self.stack = stack = Stack()
        self.own = (stack.dynamodb, stack.sqs, stack.s3, stack._streams)
        self.claims = Claims("jobs", LEASE_SECONDS)
        self.handlers: dict[str, Callable[[dict[str, Any], Any], Any]] = {
            "surveys": stack.survey,
            "pages": stack.expand,
            "tallies": stack.tally,
            "control_plane": stack._events,
        }
        self.inbox: dict[str, list[Message]] = {queue: [] for queue in self.handlers}
        self.pending: list[dict[str, Any]] = []
        self.past: list[dict[str, Any]] = []
        self.reading = False
        self.records: dict[str, dict[str, Any]] = {}
        self.sent: set[str] = set()
        self.retried: set[str] = set()
        self.retried_batches: set[str] = set()
        self.moved_again: Counter[str] = Counter()
        """Batch → how many of its jobs moved after they had ended."""
        self.cancelling: set[str] = set()
        """Batches whose cancellation was requested and not answered."""
        self.cancelled: set[str] = set()
        self.unanswered: set[str] = set()
        """Batches that may be cancelled or not, because a client got no answer."""
        self.batches: list[Submitted] = []
        for n in range(rng.randint(1, 2)):
            self.batches.append(self.submit(n))

    # Running invocations

    map = staticmethod(map)
    """Threads take turns, so that a seed always leads to the same world."""

    def call(self, client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        """An AWS call."""
        if not self.running or client in self.own:
            return self.aws(client, operation, arguments)
        faults = self.running[-1]
        if len(self.running) < _DEEP and not faults._dead and self.rng.random() < self.at_once:
            self.counts["at once"] += 1
            try:
                self.meanwhile()
            except AssertionError as error:
                raise Broken(str(error)) from error
        return faults(self.aws, client, operation, arguments)

    def meanwhile(self) -> None:
        """Take steps inside an invocation: any, or some on the messages that it handles or on the other ones."""
        if self.at and self.rng.random() < _SAME_AT_ONCE:
            queue, messages = self.at[-1]
            others = [message for message in self.inbox[queue] if message not in messages][:10]
            for message in self.rng.choice((messages, others)):
                self.deliver(queue, [message])
            for act in (self.dispatch, self.dispatch, self.work, self.hear, self.hear):
                self.read_all()
                act()
        else:
            for _ in range(self.rng.choice(_STEPS_AT_ONCE)):
                self.step()

    def run(self, do: Callable[[], T]) -> T | None:
        """Make a call that may fail or be killed; None when it is."""
        faults = Invocation(self.rng, self.clock)
        faults.rate, faults.counts = self.rate, self.counts
        self.running.append(faults)
        try:
            with faults.process():
                return do()
        except _EXPECTED:
            self.counts["failed invocations"] += 1
        finally:
            self.running.pop()
        return None

    def ask(self, handler: Callable[..., Any], route: str, body: Any = None, **more: Any) -> Answer | None:
        """A client's request; None when there is no answer."""
        answer = self.run(lambda: call(handler, route, body, **more))
        assert answer is None or answer.status in (200, 202, 404, 409, 503), answer
        return None if answer is None or answer.status == 503 else answer

    def read_all(self) -> None:
        """Read the stream, checking every change of a job, and the queues."""
        for record in self.stack.changes():
            self.pending.append(record)
            stored = record["dynamodb"]
            if stored["Keys"]["item"]["S"] == table.RECORD:
                self.check_move(stored["Keys"]["jobID"]["S"], stored.get("OldImage"), stored["NewImage"])
        for queue, inbox in self.inbox.items():
            inbox += map(Message, self.receive(queue))
        self.sent |= {json.loads(message["Body"])["jobid"] for message in self.receive("ffmpeg_job")}

    def receive(self, queue: str) -> list[dict[str, Any]]:
        """The new messages of a queue. They stay on it, in flight."""
        taken: list[dict[str, Any]] = []
        request: Any = {"QueueUrl": self.stack.queue[queue], "MaxNumberOfMessages": 10, "VisibilityTimeout": 10**8}
        while messages := self.stack.sqs.receive_message(**request).get("Messages"):
            taken += map(dict, messages)
        return taken

    def check_move(self, job_id: str, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
        """Check that a record changed by a legal move."""
        self.records[job_id] = new
        if old is None:
            assert "moves" not in new, f"{job_id} is new and has moved"
            return
        was, is_ = old["state"]["S"], new["state"]["S"]
        moves, attempts = (
            int(new.get(name, {"N": "0"})["N"]) - int(old.get(name, {"N": "0"})["N"]) for name in ("moves", "attempt")
        )
        story = f"{job_id} went from {was} to {is_} by {moves} moves and {attempts} attempts"
        assert new["job"] == old["job"], story
        assert (moves, attempts) in ((0, 0), (1, 0), (1, 1)), story
        assert was == is_ or (moves == 1 and (was, is_) in LEGAL), story
        if was in ENDED and moves:
            batch_id = ids.batch_of(job_id) or ""
            self.moved_again[batch_id] += 1
            assert job_id in self.retried or (was == "failed" and batch_id in self.retried_batches), story

    # Steps

    def live(self) -> None:
        """Take steps in any order, then bring everything to its end without faults."""
        self.rate = self.rng.choice((0.0, 0.01, 0.03, 0.1))
        self.at_once = self.rng.choice((0.0, _AT_ONCE, 3 * _AT_ONCE))
        for _ in range(self.rng.choice((30, 100, 300))):
            self.step()
        self.rate = self.at_once = 0.0
        self.finish()
        for batch in self.batches:
            self.check_batch(batch)
        self.check_overview()

    def step(self) -> None:
        """Take one step."""
        weights = {self.survey: 3, self.expand: 8, self.tally: 6, self.dispatch: 8, self.hear: 8, self.work: 20,
                   self.claim: 2, self.retry: 2, self.retry_batch: 1, self.cancel: 1, self.cancel_batch: 0.3,
                   self.show: 1, self.wait: 3, self.reconcile: 1, self.late: 0.5}  # fmt: skip
        (act,) = self.rng.choices(list(weights), list(weights.values()))
        self.read_all()
        act()

    def submit(self, n: int) -> Submitted:
        """Submit a batch under a key, repeatedly until there is an answer, with other steps in between."""
        uris = [f"s3://media/in{n}/{k:02d}.mp4" for k in range(self.rng.randint(3, 40))]
        source: dict[str, Any]
        kind = self.rng.choice(("inputs", "manifest", "prefix"))
        if kind == "inputs":
            uris += self.rng.sample(uris, self.rng.randint(0, 2))
            source = {"inputs": uris}
        elif kind == "manifest":
            lines = [line for uri in uris for line in (*self.rng.choice(((), ("",), ("no input",))), uri)]
            self.stack.s3.put_object(Bucket="media", Key=f"lists/{n}", Body="\n".join(lines).encode())
            source = {"manifest": f"s3://media/lists/{n}"}
        else:
            for uri in [*uris, f"s3://media/in{n}/07.txt"]:
                self.stack.s3.put_object(Bucket="media", Key=uri.removeprefix("s3://media/"), Body=b"")
            source = {"prefix": f"s3://media/in{n}/", "suffixes": [".mp4"]}
        self.rate, self.at_once = self.rng.choice(((0.0, 0.0), (0.05, 3 * _AT_ONCE)))
        body, key = _ORDER | {"output": f"s3://media/out{n}/"} | source, {"Idempotency-Key": f"key-{n}"}
        while True:
            answer = self.ask(self.stack.batch, routes.SUBMIT_BATCH, body, headers=key)
            if answer and answer.status == 202:
                self.counts[kind] += 1
                return Submitted(answer.body["batchID"], uris)
            self.counts["submissions repeated"] += 1
            self.clock.ahead += LEASE_SECONDS + 1
            for act in self.rng.choices(
                (self.survey, self.expand, self.dispatch, self.work, self.hear, self.tally), k=9
            ):
                self.read_all()
                act()

    def deliver(self, queue: str, messages: list[Message]) -> None:
        """Deliver messages to their function, sometimes again after they were handled."""
        if not messages:
            return
        event = {"Records": [message.delivered() for message in messages]}
        self.at.append((queue, messages))
        done = self.run(lambda: (self.handlers[queue](event, None),))
        self.at.pop()
        if done is None:
            return
        failed = {failure["itemIdentifier"] for failure in (done[0] or {}).get("batchItemFailures", ())}
        for message in messages:
            is_done = message.received["MessageId"] not in failed
            if is_done and message in self.inbox[queue] and not (self.rate and self.rng.random() < _AGAIN):
                self.inbox[queue].remove(message)

    def some(self, queue: str, most: int) -> list[Message]:
        """Some messages of a queue, in any order."""
        return self.rng.sample(self.inbox[queue], min(len(self.inbox[queue]), self.rng.randint(1, most)))

    def survey(self) -> None:
        self.deliver("surveys", self.some("surveys", 1))

    def expand(self) -> None:
        self.deliver("pages", self.some("pages", 1))

    def tally(self) -> None:
        self.deliver("tallies", self.some("tallies", 5))

    def hear(self) -> None:
        """Deliver worker events to their consumer."""
        self.deliver("control_plane", self.some("control_plane", 4))

    def dispatch(self) -> None:
        """Deliver records of the stream in order, one batch at a time; unfinished ones come again."""
        if self.reading:
            return
        some = self.pending[: self.rng.randint(1, 30)]
        self.reading = True
        done = self.hand(some)
        self.reading = False
        if done and not (self.rate and self.rng.random() < _AGAIN):
            self.past += some
            del self.pending[: len(some)]

    def late(self) -> None:
        """Deliver records of the stream again that were delivered before."""
        if self.past:
            start = self.rng.randrange(len(self.past))
            self.hand(self.past[start : start + 10])

    def hand(self, some: list[dict[str, Any]]) -> bool:
        chosen = selected(some, streams.DISPATCH)
        return not chosen or self.run(lambda: (self.stack._dispatch({"Records": chosen}, None),)) is not None

    def work(self) -> None:
        """Workers report on some jobs whose messages were sent."""
        for job_id in self.any_of(self.open() & self.sent, 4):
            self.report(job_id, self.rng.choice(("JobStart", "JobFinished", "JobFinished", "JobFailed", "JobReturned")))

    def report(self, job_id: str, action: str) -> None:
        """Send a worker event, sometimes twice; a worker that has claimed the job names its attempt."""
        record, code = self.records[job_id], self.rng.choice(_CODES)
        now = self.clock.ms()
        event = contract("worker_event") | {
            "action": action,
            "eventID": str(uuid.uuid4()),
            "ts": now // 1000,
            "tsMs": now,
            **({"attempt": int(record["attempt"]["N"])} if "lease" in record else {}),
            **({"error": {"code": code, "message": "m"}} if action in ("JobFailed", "JobReturned") else {}),
        }
        event["job"] = event["job"] | {"jobid": job_id}
        for _ in range(1 + (self.rate > 0 and self.rng.random() < _AGAIN)):
            self.stack.sqs.send_message(QueueUrl=self.stack.queue["control_plane"], MessageBody=json.dumps(event))

    def claim(self) -> None:
        """A worker claims a job, and reports on it later or never."""
        for job_id in self.any_of(self.open() & self.sent, 2):
            self.run(lambda job_id=job_id: self.claims.claim(job_id, "w"))  # type: ignore[misc]

    def retry(self) -> None:
        for job_id in self.any_of({i for i, item in self.records.items() if item["state"]["S"] in ENDED}, 1):
            self.retried.add(job_id)
            answer = self.ask(self.stack.jobs, routes.RETRY, parameters={"jobID": job_id})
            if answer and answer.status == 202:
                self.check_open(ids.batch_of(job_id) or "")

    def retry_batch(self) -> None:
        for batch_id in self.any_of({batch.id for batch in self.batches}, 1):
            self.retried_batches.add(batch_id)
            if self.ask(self.stack.jobs, routes.RETRY_FAILED, {"userID": _USER, "batchID": batch_id}):
                self.check_open(batch_id)

    def check_open(self, batch_id: str) -> None:
        """Check that a batch whose retry was answered has not finished, unless all its jobs have ended again."""
        others = self.counts["at once"]
        answer = self.ask(self.stack.batch, routes.BATCH, parameters={"batchID": batch_id})
        if answer and answer.status == 200 and self.counts["at once"] == others:
            self.read_all()
            left = [job_id for job_id in self.open() if ids.batch_of(job_id) == batch_id]
            assert answer.body["state"] != "finished" or not left, f"{batch_id} has finished without {left}"
            self.counts["batches shown after a retry"] += bool(left)

    def cancel(self) -> None:
        for job_id in self.any_of(self.open(), 1):
            self.ask(self.stack.jobs, routes.CANCEL, parameters={"jobID": job_id})

    def cancel_batch(self) -> None:
        for batch_id in self.any_of({batch.id for batch in self.batches}, 1):
            self.cancelling.add(batch_id)
            self.ask_to_cancel(batch_id)

    def ask_to_cancel(self, batch_id: str) -> None:
        answer = self.ask(self.stack.batch, routes.CANCEL_BATCH, parameters={"batchID": batch_id})
        if not answer:
            self.unanswered.add(batch_id)
        else:
            self.cancelling.discard(batch_id)
            assert answer.status in (202, 409), answer
            if answer.status == 202:
                assert answer.body["state"] == "cancelled"
                self.cancelled.add(batch_id)

    def show(self) -> None:
        """Show a batch, and check that it never has more jobs than its total."""
        for batch_id in self.any_of({batch.id for batch in self.batches}, 1):
            answer = self.ask(self.stack.batch, routes.BATCH, parameters={"batchID": batch_id})
            if answer:
                assert answer.status == 200
                assert answer.body["total"] is None or sum(map(answer.body.get, STATES)) <= answer.body["total"]
                assert answer.body["progress"]["percent"] <= 100
                if answer.body["state"] == "running":
                    jobs = self.ask(self.stack.jobs, routes.JOBS, query={"userID": _USER, "batchID": batch_id})
                    assert jobs is None or jobs.body, f"{batch_id} runs without jobs"

    def wait(self) -> None:
        self.clock.ahead += self.rng.choice((0.1, 1, 10, _PAGE_SECONDS))

    def reconcile(self) -> None:
        self.run(lambda: self.stack.reconcile({}, None))

    def open(self) -> set[str]:
        """Jobs that have not ended."""
        return {job_id for job_id, item in self.records.items() if item["state"]["S"] not in ENDED}

    def any_of(self, ids_: set[str], most: int) -> list[str]:
        """Some of the ids, at most `most`."""
        return self.rng.sample(sorted(ids_), min(len(ids_), self.rng.randint(1, most)))

    # The end

    def finish(self) -> None:
        """Handle everything once without faults. Cancelled batches end first, then workers end the remaining jobs."""
        for batch_id in sorted(self.cancelling):
            self.ask_to_cancel(batch_id)
        for turn in range(_PATIENCE):
            while self.settle():
                pass
            self.reconcile()
            self.clock.ahead += _PAGE_SECONDS
            if any(self.inbox.values()) or turn < 2:
                continue
            left = {job_id for job_id in self.open() if ids.batch_of(job_id) in self.cancelled} - self.retried
            assert not {i for i in left if ids.batch_of(i) not in self.retried_batches}, f"not cancelled: {left}"
            for job_id in sorted(self.open() & self.sent):
                self.report(job_id, self.rng.choice(("JobFinished", "JobFinished", "JobFailed")))
            self.read_all()
            if not self.open() and not self.pending and not any(self.inbox.values()):
                return
        raise AssertionError(f"jobs that never end: {self.open()}, {[(q, len(m)) for q, m in self.inbox.items()]}")

    def settle(self) -> bool:
        """Deliver every message and record once; answers whether that changed anything."""
        self.read_all()
        before = len(self.pending) + sum(map(len, self.inbox.values()))
        for queue, inbox in self.inbox.items():
            for message in self.rng.sample(inbox, len(inbox)):
                self.deliver(queue, [message])
        while self.pending:
            self.dispatch()
        self.read_all()
        return before > 0 and before != len(self.pending) + sum(map(len, self.inbox.values()))

    def check_overview(self) -> None:
        """Check that the overview has every job once, after reports that were doubled, late and cut off."""
        states = Counter(item["state"]["S"] for item in self.records.values())
        failed = [item["failure"]["S"] for item in self.records.values() if item["state"]["S"] == "failed"]
        for query in ({"userID": _USER}, {}):
            answer = self.ask(self.stack.jobs, routes.OVERVIEW, query=query)
            assert answer
            assert {state: jobs for state, jobs in answer.body["states"].items() if jobs} == states
            failures = {entry["code"]: entry["jobs"] for entry in answer.body["failures"]}
            assert failures == Counter(json.loads(failure)["code"] for failure in failed)
        self.counts["overviews"] += 1

    def check_batch(self, batch: Submitted) -> None:
        """Check the promises about a batch that is done."""
        records = {job_id: item for job_id, item in self.records.items() if ids.batch_of(job_id) == batch.id}
        states = Counter(item["state"]["S"] for item in records.values())
        answer = self.ask(self.stack.batch, routes.BATCH, parameters={"batchID": batch.id})
        assert answer
        shown = answer.body
        jobs = {ids.position(job_id): json.loads(item["job"]["S"]) for job_id, item in records.items()}
        inputs = dict(enumerate(batch.inputs))
        assert {n: job["input"] for n, job in jobs.items()} == {n: inputs.get(n) for n in jobs}
        for n, job in jobs.items():
            assert records[ids.job_id(batch.id, n)]["batchID"]["S"] == batch.id
            assert (job["userid"], job["profile"]) == (_USER, shown["profile"])
        is_failed = shown["error"] is not None
        is_cancelled = shown["state"] == "cancelled" if batch.id in self.unanswered else batch.id in self.cancelled
        assert shown["state"] == ("failed" if is_failed else "cancelled" if is_cancelled else "finished")
        if is_failed:
            self.counts["batches failed"] += 1
            assert (shown["error"]["code"], len(jobs)) == ("survey-failed", 0)
        elif not is_cancelled:
            assert jobs.keys() == inputs.keys(), "inputs without a job"
        assert {state: shown[state] for state in STATES} == {state: states[state] for state in STATES}
        assert shown["total"] == len(jobs)
        assert sum(states[state] for state in ENDED) == len(jobs)
        codes = [
            json.loads(item["failure"]["S"])["code"] for item in records.values() if item["state"]["S"] == "failed"
        ]
        assert shown["failures"] == dict(Counter(codes))
        assert shown["endedAt"] is not None
        assert shown["progress"]["percent"] == 100
        ends = {
            event["eventID"]: event["batch"]
            for item in self.stack.items()
            if item["jobID"]["S"] == batch.id and "event" in item
            for event in [json.loads(item["event"]["S"])]
        }
        stored = [item for item in self.stack.items() if item["jobID"]["S"] == batch.id]
        assert len(stored) == len(ends), "an end reported twice"
        assert sorted(ends) == sorted(f"{batch.id}-{n}" for n in range(len(ends)))
        assert 1 <= len(ends) <= 1 + self.moved_again[batch.id]
        last = ends[f"{batch.id}-{len(ends) - 1}"]
        assert {state: last[state] for state in STATES} == {state: states[state] for state in STATES}
        assert (last["total"], last["state"]) == (len(jobs), shown["state"])
        unsent = {job_id for job_id, item in records.items() if item["state"]["S"] != "cancelled"} - self.sent
        assert not unsent, f"never sent: {unsent}"
        self.counts["batches"] += 1
        self.counts["jobs"] += len(jobs)
        self.counts["ends"] += len(ends)
        self.counts["batches cancelled"] += is_cancelled
        self.counts["inputs without a job"] += len(inputs) - len(jobs)


@pytest.mark.timeout(sized(300, 600, 7200))
def test_batches_keep_their_promises_under_faults(clock: Clock, tell: Tell) -> None:
    counts: Counter[str] = Counter()
    for n in range(WORLDS):
        clock.ahead = 0.0
        with pytest.MonkeyPatch.context() as patch:
            try:
                world = World(random.Random(SEED + n), clock, patch)
                world.live()
            except BaseException as error:
                error.add_note(f"Reproduce it with SEED={SEED + n}")
                raise
            counts += world.counts
    tell("batches", {"worlds": WORLDS} | {name: counts[name] for name in sorted(counts)})
