"""(a) The handlers on moto beside a plain model: whatever comes in whatever order, both say the same of every job."""

import json
import uuid
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from moto import mock_aws

from elasticrecode.contract import routes
from elasticrecode.jobs.claims import Claim, Claims, Refusal
from elasticrecode.jobs.lifecycle import STATES
from tests.conftest import Tell, contract
from tests.fakes.clock import Clock
from tests.fakes.stack import Stack
from tests.fakes.turns import call_in_turn
from tests.sizes import SEED, sized
from tests.support import call

STEPS = sized(200, 600, 10_000)
STEPS_A_RUN = 50
MAX_STRIKES = 3
LEASE_SECONDS = 30
ACTIONS = ("JobStart", "JobFinished", "JobFailed", "JobReturned", "JobLost", "JobProgress", "JobNote")
USERS = ("ann", "bob")
counts: Counter[str] = Counter()


class Model:
    """One job as it ought to be. Times are in milliseconds."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.state = "queued"
        self.attempt = 0
        self.strikes = 0
        self.lease: int | None = None
        self.log: set[str] = set()

    def seen(self, now: int) -> str:
        """The state as users are told it."""
        return "queued" if self.state == "running" and self.lease is not None and self.lease < now else self.state

    def hear(self, said: dict[str, Any], now: int) -> None:
        """A worker's event, in plain words."""
        action, attempt = said["action"], said.get("attempt")
        mine = attempt is not None and self.lease is not None and attempt == self.attempt and self.state == "running"
        unclaimed = attempt is None and self.lease is None
        before = self.state, self.attempt
        if action == "JobStart" and unclaimed and self.state == "queued":
            self.begin(None)
        elif action in ("JobFinished", "JobFailed") and (mine or (unclaimed and self.state in ("queued", "running"))):
            self.end("finished" if action == "JobFinished" else "failed")
        elif action == "JobReturned" and mine:
            self.back(said, strike="error" in said and "fault" not in said)
        elif action == "JobLost" and mine and self.lease is not None and self.lease < now:
            self.back(said, strike=True)
        if action in ("JobStart", "JobNote") or (self.state, self.attempt) != before:
            self.log.add(said["eventID"])

    def back(self, said: dict[str, Any], *, strike: bool) -> None:
        """To its queue, or to its end when it went wrong too often."""
        self.strikes += strike
        self.end("failed" if strike and self.strikes == MAX_STRIKES else "queued")
        if self.state == "failed":
            self.log.add(f"{said['eventID']}-last")

    def begin(self, lease: int | None) -> None:
        """The next attempt."""
        counts["claimed" if lease else "started"] += 1
        self.state, self.lease, self.attempt = "running", lease, self.attempt + 1

    def end(self, state: str) -> None:
        """Nobody holds it any more."""
        counts[f"{self.state} to {state}"] += 1
        self.state, self.lease = state, None


class Life(RuleBasedStateMachine):
    """Requests, events, claims and time in any order."""

    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self._aws = mock_aws()
        self._aws.start()
        self.clock.ahead = 0.0
        self.stack = Stack()
        self.claims = Claims("jobs", LEASE_SECONDS)
        self.jobs: dict[str, Model] = {}
        self.keyed: dict[tuple[str, str], list[str]] = {}
        self.said: list[dict[str, Any]] = []
        self.touched: set[str] = set()

    def teardown(self) -> None:
        """The logs have what moved a job, and no end that moved none; every job has ended, or has or gets a message."""
        try:
            for job_id, model in self.jobs.items():
                listed = call(self.stack.logs, routes.JOB_EVENTS, parameters={"jobID": job_id}, query={"limit": "1000"})
                told_of = {event["eventID"]: event["action"] for event in listed.body}
                assert told_of.keys() >= model.log, (job_id, model.log - told_of.keys())
                ends = {event_id for event_id, action in told_of.items() if action in ("JobFinished", "JobLost")}
                assert ends <= model.log, (job_id, ends - model.log)
                assert [event["tsMs"] for event in listed.body[1:]] == sorted(
                    event["tsMs"] for event in listed.body[1:]
                )
            self.touched = set(self.jobs)
            self.agree()
        finally:
            self._aws.stop()

    @initialize()
    def one(self) -> None:
        """There is always a job."""
        self.submit("ann", 1, "")

    @rule(user=st.sampled_from(USERS), count=st.integers(1, 3), key=st.sampled_from(["", "", "k1", "k2"]))
    def submit(self, user: str, count: int, key: str) -> None:
        """A request; the same key stands for the same request."""
        count = len(self.keyed.get((user, key), ())) or count
        uris = [f"s3://bucket/{n}.mp4" for n in range(count)]
        body = contract("job_batch") | {"userid": user, "batchInputs": uris}
        answer = call(self.stack.submit, routes.SUBMIT, body, headers={"Idempotency-Key": key} if key else {})
        assert answer.status == 200, answer.body
        ids = [entry["jobid"] for entry in answer.body]
        if key and (user, key) in self.keyed:
            assert ids == self.keyed[user, key]
        else:
            assert not self.jobs.keys() & set(ids)
            self.jobs |= {job_id: Model(user) for job_id in ids}
            if key:
                self.keyed[user, key] = ids
        self.touched |= set(ids)

    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        """A worker takes a job and tells what comes of it, sooner or later than its lease ends."""
        job_id = self.some(data)
        self.claim(job_id)
        self.clock.ahead += data.draw(st.sampled_from([0, 0, 0, LEASE_SECONDS + 1]), "seconds")
        attempt = self.jobs[job_id].attempt or None
        self.hear([self.event(data, job_id, attempt) for _ in range(data.draw(st.integers(1, 3), "events"))])

    @rule(data=st.data(), size=st.integers(1, 4))
    def events(self, data: st.DataObject, size: int) -> None:
        """A batch of messages on the control queue: new ones, late ones, some a second time, in any order."""
        batch: list[dict[str, Any]] = []
        for _ in range(size):
            if self.said and data.draw(st.sampled_from([True, False]), "again"):
                batch.append(data.draw(st.sampled_from(self.said), "event"))
            else:
                job_id = self.some(data)
                attempts = [None, self.jobs[job_id].attempt, self.jobs[job_id].attempt, 1]
                batch.append(self.event(data, job_id, data.draw(st.sampled_from(attempts), "attempt")))
        self.hear(data.draw(st.permutations(batch), "order"))

    def some(self, data: st.DataObject) -> str:
        """One of the latest jobs."""
        return data.draw(st.sampled_from(list(self.jobs)[-3:]), "job")

    def event(self, data: st.DataObject, job_id: str, attempt: int | None) -> dict[str, Any]:
        now = self.clock.ms() + data.draw(st.integers(-3000, 3000), "skew")
        said: dict[str, Any] = contract("worker_event") | {
            "action": data.draw(st.sampled_from(ACTIONS), "action"),
            "eventID": str(uuid.UUID(int=data.draw(st.integers(0, 2**128 - 1), "id"))),
            "ts": now // 1000,
            "tsMs": now,
        }
        said["job"] = said["job"] | {"jobid": job_id, "userid": self.jobs[job_id].user}
        if attempt:
            said["attempt"] = attempt
        if said["action"] in ("JobReturned", "JobFailed") and data.draw(st.booleans(), "error"):
            said["error"] = {"code": "c", "message": "m", "log": []}
            if fault := data.draw(st.sampled_from(["", "service", "host"]), "fault"):
                said["fault"] = fault
        return said

    def hear(self, batch: list[dict[str, Any]]) -> None:
        """The consumer gets a batch; it takes each event once and those of a job in the order of their times."""
        now = self.clock.ms()
        assert self.stack.say(*batch) == []
        self.said += batch
        ranks = {"JobStart": 1, "JobFinished": 9, "JobFailed": 9}
        for said in sorted(batch, key=lambda said: (said["tsMs"], ranks.get(said["action"], 5), said["eventID"])):
            job_id = said["job"]["jobid"]
            self.jobs[job_id].hear(said, now)
            self.touched.add(job_id)

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        """A worker wants a job that it found on the queue."""
        self.claim(self.some(data))

    def claim(self, job_id: str) -> None:
        model, answer = self.jobs[job_id], self.claims.claim(job_id, "w")
        if model.state == "queued" or (model.state == "running" and model.lease is None):
            model.begin(self.clock.ms() + LEASE_SECONDS * 1000)
            assert answer == Claim(model.attempt)
        else:
            assert isinstance(answer, Refusal)
            assert (answer.state, answer.attempt) == (model.state, model.attempt)
        self.touched.add(job_id)

    @rule(data=st.data(), what=st.sampled_from(["release", "cancel", "retry", "retry_failed", "retry", "bury"]))
    def intervene(self, data: st.DataObject, what: str) -> None:
        """A user acts, or AWS does."""
        getattr(self, what)(data)

    @rule(data=st.data(), what=st.sampled_from([*["dispatch", "reconcile", "wait"] * 3, "expire"]))
    def meanwhile(self, data: st.DataObject, what: str) -> None:
        """What happens by itself."""
        getattr(self, what)(data)

    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        """A worker renews its claim, or the one it has lost."""
        job_id = self.some(data)
        model = self.jobs[job_id]
        attempt = max(1, model.attempt - data.draw(st.integers(0, 1), "behind"))
        holds = model.state == "running" and model.lease is not None and attempt == model.attempt
        assert (self.claims.renew(job_id, attempt) is None) == holds
        if holds:
            model.lease = self.clock.ms() + LEASE_SECONDS * 1000
        self.touched.add(job_id)

    def release(self, data: st.DataObject) -> None:
        """A worker that is told to terminate returns its job."""
        job_id = self.some(data)
        model = self.jobs[job_id]
        attempt = max(1, model.attempt - data.draw(st.integers(0, 1), "behind"))
        self.claims.release(job_id, attempt)
        if model.state == "running" and model.lease is not None and attempt == model.attempt:
            model.end("queued")
        self.touched.add(job_id)

    def cancel(self, data: st.DataObject) -> None:
        """Its user cancels it."""
        job_id = self.some(data)
        model = self.jobs[job_id]
        may = model.state in ("accepted", "queued", "running")
        assert call(self.stack.jobs, routes.CANCEL, parameters={"jobID": job_id}).status == (202 if may else 409)
        if may:
            model.end("cancelled")
        self.touched.add(job_id)

    def retry(self, data: st.DataObject) -> None:
        """Its user retries it."""
        job_id = self.some(data)
        model = self.jobs[job_id]
        may = model.state in ("failed", "cancelled")
        assert call(self.stack.jobs, routes.RETRY, parameters={"jobID": job_id}).status == (202 if may else 409)
        if may:
            model.end("queued")
            model.strikes = 0
        self.touched.add(job_id)

    def retry_failed(self, data: st.DataObject) -> None:
        """All that failed of one user, and of nobody else."""
        user = data.draw(st.sampled_from(USERS), "user")
        failed = {job_id for job_id, model in self.jobs.items() if model.user == user and model.state == "failed"}
        answer = call(self.stack.jobs, routes.RETRY_FAILED, {"userID": user})
        assert answer.body == {"retried": len(failed)}
        for job_id in failed:
            self.jobs[job_id].end("queued")
            self.jobs[job_id].strikes = 0
        self.touched |= failed

    def dispatch(self, _: st.DataObject | None = None) -> None:
        """The stream is read; the messages are in workers' hands."""
        self.stack.flow()
        self.stack.messages("ffmpeg_job")

    def reconcile(self, _: st.DataObject | None = None) -> None:
        """A minute is over. What it says of lost jobs comes by the control queue, like any event."""
        self.stack.flow()
        self.stack.messages("ffmpeg_job")
        self.stack.reconcile({}, None)
        self.hear_own()
        self.dispatch()

    def hear_own(self) -> None:
        """What `reconcile` said; it may still find a job that no read shows any more."""
        said = [json.loads(message["Body"]) for message in self.stack.messages("control_plane")]
        known = [event for event in said if event["job"]["jobid"] in self.jobs]
        if known:
            self.hear(known)

    def bury(self, data: st.DataObject) -> None:
        """A message was received too often."""
        job_id = self.some(data)
        model, now = self.jobs[job_id], self.clock.ms()
        body = contract("queue_message") | {"jobid": job_id, "userid": model.user}
        self.stack.sqs.send_message(QueueUrl=self.stack.queue["dead"], MessageBody=json.dumps(body))
        held = model.lease is not None and model.lease >= now
        may = model.state in ("accepted", "queued", "running") and not held
        if may:
            model.end("failed")
        self.reconcile()
        self.touched.add(job_id)

    def wait(self, data: st.DataObject) -> None:
        """Time passes; leases run out."""
        self.clock.ahead += data.draw(st.sampled_from([1, 25, 31, 61, 400]), "seconds")
        self.touched |= set(self.jobs)

    def expire(self, _: st.DataObject) -> None:
        """A week and a day pass: nothing is shown any more."""
        self.clock.ahead += 8 * 86_400
        for job_id in self.jobs:
            assert call(self.stack.jobs, routes.JOB_STATUS, parameters={"jobID": job_id}).status == 404
            assert call(self.stack.logs, routes.JOB_EVENTS, parameters={"jobID": job_id}).status == 404
        for user in USERS:
            assert call(self.stack.jobs, routes.JOBS, query={"userID": user}).body == []
        self.jobs.clear()
        self.keyed.clear()
        self.said.clear()
        self.touched.clear()
        self.submit("ann", 1, "")

    @invariant()
    def agree(self) -> None:
        """The product says of every job that was touched what the model says."""
        counts["steps"] += 1
        for job_id in sorted(self.touched):
            now, model = self.clock.ms(), self.jobs[job_id]
            record = call(self.stack.jobs, routes.JOB_STATUS, parameters={"jobID": job_id}).body
            assert record["state"] in STATES
            assert (record["state"], record["attempt"]) == (model.seen(now), model.attempt), job_id
        self.touched.clear()
        self.agree_on_lists()

    def agree_on_lists(self) -> None:
        """A list by state has the jobs that the model has in it: one user and state a step, in turn."""
        user, state = USERS[counts["steps"] % len(USERS)], STATES[counts["steps"] // len(USERS) % len(STATES)]
        query, now = {"userID": user, "state": state, "limit": "1000"}, self.clock.ms()
        listed = [record["jobID"] for record in call(self.stack.jobs, routes.JOBS, query=query).body]
        expected = [job_id for job_id, model in self.jobs.items() if (model.user, model.seen(now)) == (user, state)]
        assert sorted(listed) == sorted(expected), query
        counts["jobs listed by state"] += len(listed)


@pytest.mark.timeout(sized(300, 600, 7200))
def test_the_handlers_follow_the_model(clock: Clock, monkeypatch: pytest.MonkeyPatch, tell: Tell) -> None:
    call_in_turn(monkeypatch)
    Life.clock = clock
    counts.clear()
    while counts["steps"] < STEPS:
        run_state_machine_as_test(
            seed(SEED + counts["runs"])(Life),
            settings=settings(
                max_examples=max(1, (STEPS - counts["steps"]) // STEPS_A_RUN),
                stateful_step_count=STEPS_A_RUN,
                phases=[Phase.generate],
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        counts["runs"] += 1
    tell("model", counts)
