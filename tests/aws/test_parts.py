"""Parts of a job: whatever worker stops, freezes or dies when, each part has one result and the job has all of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from botocore.client import BaseClient
from msgspec import structs

from elasticrecode import clock
from elasticrecode.aws.dynamodb import Conflict, Item, Table
from elasticrecode.contract import routes
from elasticrecode.errors import Unavailable
from elasticrecode.ids import part_id
from elasticrecode.jobs.claims import Claim, Claims
from elasticrecode.jobs.commits import NotRunning
from elasticrecode.jobs.items import new_events
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.record import Division
from elasticrecode.parts.part import Part, PartFile, PartJob, PartResult
from elasticrecode.parts.store import PartsTable
from tests.aws.test_publication import cancel, record, submitted
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.support import call
from worker import holding, loop, parts
from worker.errors import ClaimLost, Interrupted, PermanentError
from worker.holding import Encoded, Holder
from worker.lease import Lease
from worker.parts import Helper, Parts, Place
from worker.sandbox.runner import Runner
from worker.settings import Settings
from worker.storage import Storage

LEASE_SECONDS = 60
COSTS = [45.0, 25.0, 15.0, 8.0]
NAMES = ["h264-1080p", "h264-720p", "h264-480p", "h264-360p"]


class Killed(Interrupted):
    """A process that is killed: nothing of it runs any more."""


@pytest.fixture(autouse=True)
def at_once(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for others to take messages, AWS's clock starts right, and there is a bucket for results."""
    monkeypatch.setattr(holding, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(parts, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(clock._correction, "seconds", 0.0)
    stack.s3.create_bucket(Bucket="parts")


class Fleet:
    """Workers on one stack, and what each has encoded: pairs of a worker and a part's number."""

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stack, self.folder, self._patch = stack, folder, monkeypatch
        self.encoded: list[tuple[str, int]] = []
        self.claims, self.table = Claims("jobs", LEASE_SECONDS), PartsTable("jobs")

    def holder(self, worker: str, job_id: str, attempt: int) -> Holder:
        """A worker that has claimed an attempt of a job or a part."""
        runner = Runner()
        lease = Lease(boto3.client("sqs"), self.stack.queue["ffmpeg_job"], "receipt", LEASE_SECONDS, runner)
        lease.attach_claim(self.claims, job_id, attempt)
        lease._has_message = False
        return Holder(worker, self.table, self.claims, lease, Storage(lambda: boto3.client("s3")), runner)

    def encode(self, worker: str, first: Callable[[], object] = lambda: None) -> Any:
        """An encoder, which lets others act before it encodes for the first time."""
        actions = [first]

        def encode(numbers: Sequence[int]) -> Mapping[int, Encoded]:
            while actions:
                actions.pop()()
            self.encoded += [(worker, number) for number in numbers]
            return {number: self._file(worker, number) for number in numbers}

        return encode

    def _file(self, worker: str, number: int) -> Encoded:
        file = self.folder / f"{worker}-{number}.mp4"
        file.write_bytes(f"rung {number}".encode())
        return Encoded((file,), {"cpuSeconds": COSTS[number]})

    def whole(self, worker: str, job_id: str) -> Parts:
        """A worker that claims the whole job."""
        claim = self.claims.claim(job_id, worker)
        assert isinstance(claim, Claim)
        job = msgspec.json.decode(claim.job, type=Job)
        place = Place("ffmpeg_job", "s3://parts/")
        return Parts(self.holder(worker, job_id, claim.attempt), job, claim, place, lambda _: None, self.report_lost)

    def divided(self, worker: str = "w0") -> tuple[str, Parts]:
        """A job that a worker has claimed and divided; the messages of its parts are sent."""
        job_id = submitted(self.stack)
        whole = self.whole(worker, job_id)
        whole.divide("rung", NAMES, COSTS, 240.0, "It takes long.")
        self.stack.flow()
        return job_id, whole

    def helper(self, worker: str, job_id: str, number: int, attempt: int = 1) -> Helper:
        """A worker that claims a part of which it has the message."""
        part = part_id(job_id, attempt, number)
        claim = self.claims.claim(part, worker)
        assert isinstance(claim, Claim)
        job = msgspec.json.decode(claim.job, type=PartJob)
        return Helper(self.holder(worker, part, claim.attempt), job, claim.attempt)

    def report_lost(self, part: PartJob, attempt: int) -> None:
        """`consume` reads that a part is lost."""
        event = contract("worker_event") | {"action": "JobLost", "attempt": attempt, "job": msgspec.to_builtins(part)}
        now = clock.now_ms()
        assert self.stack.say(event | {"eventID": f"{part.jobid}-{attempt}-{now}", "tsMs": now}) == []

    def pass_lease(self) -> None:
        """Let all leases run out."""
        self._patch.setattr(clock._correction, "seconds", clock._correction.seconds + LEASE_SECONDS + 1)

    def objects(self) -> list[str]:
        """The keys of the results that are stored."""
        return [each["Key"] for each in self.stack.s3.list_objects_v2(Bucket="parts").get("Contents", ())]

    def listed(self, job_id: str) -> list[dict[str, Any]]:
        """The parts as the API lists them."""
        body: list[dict[str, Any]] = call(self.stack.jobs, routes.JOB_PARTS, parameters={"jobID": job_id}).body
        return body

    def states(self, job_id: str) -> list[str]:
        """The states of the parts."""
        return [each["state"] for each in self.listed(job_id)]


@pytest.fixture
def fleet(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return Fleet(stack, tmp_path, monkeypatch)


def run_whole(whole: Parts, fleet: Fleet) -> None:
    """Have all parts encoded, as the worker of the whole job does."""
    with whole.cleaned():
        whole.run(fleet.encode("w0"), fleet.folder)


def assert_whole(results: Mapping[int, Encoded]) -> None:
    """All results are there, each with the content and the figures of its part."""
    assert sorted(results) == list(range(len(COSTS)))
    for number, encoded in results.items():
        assert encoded.files[0].read_bytes() == f"rung {number}".encode()
        assert encoded.figures == {"cpuSeconds": COSTS[number]}


def test_parts_are_sent_as_jobs_and_shown_nowhere_else(fleet: Fleet, stack: Stack) -> None:
    job_id, _ = fleet.divided()
    bodies = [msgspec.json.decode(message["Body"]) for message in stack.messages("ffmpeg_job")]
    ids = [part_id(job_id, 1, number) for number in range(4)]
    assert sorted(body["jobid"] for body in bodies if "part" in body) == ids
    listed = call(stack.jobs, routes.JOBS, query={"userID": "ann"}).body
    assert [each["jobID"] for each in listed] == [job_id]
    for state in ("queued", "running"):
        query = {"userID": "ann", "state": state}
        assert {each["jobID"] for each in call(stack.jobs, routes.JOBS, query=query).body} <= {job_id}
    for route in (routes.JOB_STATUS, routes.JOB_PARTS):
        assert call(stack.jobs, route, parameters={"jobID": ids[0]}).status == 404
    assert call(stack.jobs, routes.CANCEL, parameters={"jobID": ids[0]}).status == 404
    assert {event.jobID for change in stack.changes() for event in new_events(change)} <= {job_id}
    assert record(stack, job_id)["division"] == {
        "parts": 4,
        "kind": "rung",
        "estimatedSeconds": 240.0,
        "reason": "It takes long.",
        "attempt": 1,
    }
    assert [(each["part"], each["name"], each["kind"]) for each in fleet.listed(job_id)] == [
        (number, name, "rung") for number, name in enumerate(NAMES)
    ]


def test_a_job_that_is_not_divided_says_why_and_has_no_parts(fleet: Fleet, stack: Stack) -> None:
    job_id = submitted(stack)
    assert record(stack, job_id)["division"] is None
    fleet.whole("w0", job_id).undivided(14.0, "It is short.")
    division = record(stack, job_id)["division"]
    assert (division["parts"], division["kind"], division["reason"]) == (0, None, "It is short.")
    assert fleet.listed(job_id) == []


@pytest.mark.parametrize(("early", "order"), [(False, [3, 2, 1, 0]), (True, [0, 1, 2, 3])])
def test_chunks_are_encoded_the_longest_first_but_in_film_order_where_the_film_plays_early(
    fleet: Fleet, stack: Stack, early: bool, order: list[int]
) -> None:
    profile = {"package": {"early": True}} if early else {"package": {}}
    job_id = submitted(stack, profile=profile)
    whole = fleet.whole("w0", job_id)
    whole.divide("chunk", NAMES, COSTS[::-1], 240.0, "It takes long.")
    run_whole(whole, fleet)
    assert [number for _, number in fleet.encoded] == order


def test_workers_share_the_parts_and_each_is_encoded_once(fleet: Fleet) -> None:
    job_id, whole = fleet.divided()
    helper = fleet.helper("w1", job_id, 1)
    results = whole.run(fleet.encode("w0", lambda: helper.work(fleet.encode("w1"))), fleet.folder)
    assert_whole(results)
    assert sorted(number for _, number in fleet.encoded) == [0, 1, 2, 3]
    assert sorted(number for worker, number in fleet.encoded if worker == "w0") == [0]
    assert fleet.states(job_id) == ["finished"] * 4
    whole.clean()
    assert fleet.objects() == []


def test_a_frozen_worker_replaces_no_result(fleet: Fleet, stack: Stack) -> None:
    job_id, whole = fleet.divided()
    helper = fleet.helper("w1", job_id, 0)
    results: dict[int, Encoded] = {}

    def frozen() -> None:
        fleet.pass_lease()
        again = fleet.claims.renew(job_id, 1)
        assert again is None
        results.update(whole.run(fleet.encode("w0"), fleet.folder))

    before: list[str] = []

    def encode(numbers: Sequence[int]) -> Mapping[int, Encoded]:
        frozen()
        before[:] = fleet.objects()
        encoded: Mapping[int, Encoded] = fleet.encode("w1")(numbers)
        return encoded

    helper.work(encode)
    assert_whole(results)
    assert {worker for worker, _ in fleet.encoded[:4]} == {"w0"}
    assert fleet.objects() == before
    assert {each["worker"] for each in fleet.listed(job_id)} == {"w0"}


def test_a_cancelled_job_stops_its_parts_and_leaves_nothing(fleet: Fleet, stack: Stack) -> None:
    job_id, whole = fleet.divided()
    helper = fleet.helper("w1", job_id, 3)
    seen: list[Exception] = []

    def cancelled() -> None:
        assert cancel(stack, job_id).status == 202
        with pytest.raises(ClaimLost) as lost:
            helper._holder.lease.renew()
        seen.append(lost.value)

    def encode(numbers: Sequence[int]) -> Mapping[int, Encoded]:
        cancelled()
        raise seen[0]

    with pytest.raises(ClaimLost):
        helper.work(encode)
    with pytest.raises(ClaimLost):
        run_whole(whole, fleet)
    assert fleet.states(job_id) == ["cancelled"] * 4
    assert fleet.objects() == []
    assert fleet.encoded == []


def test_a_part_that_fails_fails_the_job_with_its_name(fleet: Fleet, stack: Stack) -> None:
    job_id, whole = fleet.divided()
    part = fleet.helper("w1", job_id, 2)._job
    event = contract("worker_event") | {"action": "JobFailed", "attempt": 1, "job": msgspec.to_builtins(part)}
    event |= {"error": {"code": "encoder-failed", "message": "It broke."}, "eventID": "e", "tsMs": clock.now_ms()}
    assert stack.say(event) == []
    with pytest.raises(PermanentError, match="Part h264-480p: It broke") as failed:
        run_whole(whole, fleet)
    assert failed.value.failure.code == "encoder-failed"
    assert fleet.states(job_id) == ["cancelled", "cancelled", "failed", "cancelled"]


def test_a_part_that_kills_its_workers_fails_the_job(fleet: Fleet, stack: Stack) -> None:
    job_id, whole = fleet.divided()
    for _ in range(3):
        part = fleet.helper("w1", job_id, 2)
        fleet.pass_lease()
        fleet.report_lost(part._job, part._attempt)
    assert fleet.claims.renew(job_id, 1) is None
    with pytest.raises(PermanentError) as failed:
        run_whole(whole, fleet)
    assert failed.value.failure.code == "attempts-exhausted"


def test_a_worker_that_has_lost_the_job_divides_nothing(fleet: Fleet, stack: Stack) -> None:
    job_id = submitted(stack)
    whole = fleet.whole("w0", job_id)
    cancel(stack, job_id)
    with pytest.raises(ClaimLost):
        whole.divide("rung", NAMES, COSTS, 240.0, "It takes long.")
    assert [item for item in stack.items() if item["jobID"]["S"].startswith(f"{job_id}.")] == []


def test_a_retried_job_is_divided_anew(fleet: Fleet, stack: Stack) -> None:
    job_id, whole = fleet.divided()
    run_whole(whole, fleet)
    cancel(stack, job_id)
    assert call(stack.jobs, routes.RETRY, parameters={"jobID": job_id}).status == 202
    again = fleet.whole("w1", job_id)
    assert again.division is None
    again.divide("rung", NAMES, COSTS, 240.0, "It takes long.")
    assert fleet.states(job_id) == ["queued"] * 4


MANY = 120


def film(job_id: str) -> tuple[Division, list[Part]]:
    """A film's division into more chunks than one transaction takes, by the first attempt."""
    prefix = f"s3://parts/{job_id}/1/"
    parts = [Part(number=n, kind="chunk", name=f"chunk {n}", cost=2.0 * MANY - n, prefix=prefix) for n in range(MANY)]
    return Division(parts=MANY, kind="chunk", estimatedSeconds=9000.0, reason="It takes long.", attempt=1), parts


def transactions(monkeypatch: pytest.MonkeyPatch, then: Mapping[int, Callable[[], object]]) -> list[list[Any]]:
    """The writes of each transaction from now on. `then` acts behind the nth, from 1."""
    real, seen = Table.transact, list[list[Any]]()

    def transact(table: Table, writes: Sequence[Any], doing: str) -> None:
        real(table, writes, doing)
        seen.append(list(writes))
        then.get(len(seen), lambda: None)()

    monkeypatch.setattr(Table, "transact", transact)
    return seen


def killed() -> None:
    raise Killed


def test_many_chunks_are_stored_by_several_transactions_the_costliest_first(
    fleet: Fleet, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submitted(stack)
    whole = fleet.whole("w0", job_id)
    division, parts = film(job_id)
    seen = transactions(monkeypatch, {})
    fleet.table.divide(whole._job, 1, division, parts[::-1], "ffmpeg_job")
    assert [len(writes) for writes in seen] == [100, 22]
    assert fleet.table.whole(job_id).division == division
    stored = fleet.table.read(job_id, division)[1]
    assert [each.part for each in stored] == parts
    first = {writes["Update"]["Key"]["jobID"]["S"] for writes in seen[0][1:]}
    assert first == {part_id(job_id, 1, n) for n in range(99)}
    fleet.table.divide(whole._job, 1, division, parts, "ffmpeg_job")
    assert len(seen) == 2


def test_a_division_that_broke_off_is_completed_and_parts_in_work_stay(
    fleet: Fleet, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submitted(stack)
    whole = fleet.whole("w0", job_id)
    division, parts = film(job_id)
    with monkeypatch.context() as patch:
        transactions(patch, {1: killed})
        with pytest.raises(Killed):
            fleet.table.divide(whole._job, 1, division, parts, "ffmpeg_job")
    stack.flow()
    assert len(fleet.table.read(job_id, division)[1]) == 99
    for number in (3, 7):
        assert isinstance(fleet.claims.claim(part_id(job_id, 1, number), "w1"), Claim)
    assert fleet.table.finish(part_id(job_id, 1, 7), 1, PartResult([PartFile("s3://parts/x", 1, "a")]), "w1")
    before = fleet.table.read(job_id, division)[1]
    fleet.pass_lease()
    event = contract("worker_event") | {"action": "JobLost", "attempt": 1, "tsMs": clock.now_ms()}
    assert stack.say(event | {"job": msgspec.to_builtins(whole._job), "eventID": "lost"}) == []
    again = fleet.claims.claim(job_id, "w2")
    assert isinstance(again, Claim)
    assert (again.attempt, again.division) == (2, division)
    fleet.table.divide(whole._job, 2, division, parts, "ffmpeg_job")
    after = fleet.table.read(job_id, division)[1]
    assert [each.part for each in after] == parts
    assert after[:99] == before
    assert [each.state for each in after[:8]] == [*["queued"] * 3, "running", *["queued"] * 3, "finished"]
    with pytest.raises(NotRunning):
        fleet.table.divide(whole._job, 1, structs.replace(division, reason="Another."), parts, "ffmpeg_job")


def test_a_job_that_is_cancelled_while_it_is_divided_gets_no_more_parts(
    fleet: Fleet, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submitted(stack)
    whole = fleet.whole("w0", job_id)
    division, parts = film(job_id)
    transactions(monkeypatch, {1: lambda: cancel(stack, job_id)})
    with pytest.raises(NotRunning):
        fleet.table.divide(whole._job, 1, division, parts, "ffmpeg_job")
    assert len(fleet.table.read(job_id, division)[1]) == 99


def test_a_lost_answer_to_a_transaction_stores_no_part_twice(
    fleet: Fleet, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submitted(stack)
    whole = fleet.whole("w0", job_id)
    division, parts = film(job_id)

    def lose() -> None:
        raise Conflict("the answer is lost, and the same writes are sent again")

    seen = transactions(monkeypatch, {1: lose})
    fleet.table.divide(whole._job, 1, division, parts, "ffmpeg_job")
    assert [len(writes) for writes in seen] == [100, 22]
    assert len(fleet.table.read(job_id, division)[1]) == MANY


def test_finished_parts_are_not_read_again(fleet: Fleet, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, whole = fleet.divided()
    run_whole(whole, fleet)
    division = fleet.table.whole(job_id).division
    assert division
    _, parts = fleet.table.read(job_id, division)
    keys: list[int] = []
    real = Table.get_all

    def get_all(table: Table, some: Sequence[Item], doing: str) -> list[Item]:
        keys.append(len(some))
        return real(table, some, doing)

    monkeypatch.setattr(Table, "get_all", get_all)
    assert fleet.table.read(job_id, division, parts)[1] == parts
    assert fleet.table.read(job_id, division, parts[:2])[1] == parts
    assert keys == [1, 3]


def test_the_message_of_a_part_that_another_holds_is_deleted_and_the_part_watched(fleet: Fleet, stack: Stack) -> None:
    job_id, _ = fleet.divided()
    for number in range(4):
        fleet.helper("w1", job_id, number)
    environment = {"WORKER_TYPE": "ffmpeg", "QUEUE_NAME": "ffmpeg_job", "CONTROL_PLANE": "control_plane"}
    worker = loop.Worker(Settings.read(environment | {"JOBS_TABLE": "jobs", "POD_NAME": "w2"}))
    for _ in range(5):
        worker.poll()
    counts = stack.sqs.get_queue_attributes(QueueUrl=stack.queue["ffmpeg_job"], AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == "0"
    fleet.pass_lease()
    assert fleet.claims.renew(job_id, 1) is None
    stack.messages("control_plane")
    stack.reconcile({}, None)
    lost = [msgspec.json.decode(message["Body"]) for message in stack.messages("control_plane")]
    assert sorted(each["job"]["jobid"] for each in lost) == [part_id(job_id, 1, number) for number in range(4)]


def killed_at(monkeypatch: pytest.MonkeyPatch, call_number: int, runner: Runner, *, after: bool) -> Callable[[], bool]:
    """Kill the process at a call to AWS, before or after AWS makes it. Returns whether it came that far."""
    real, left = BaseClient._make_api_call, [call_number]  # type: ignore[attr-defined]

    def make(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        left[0] -= 1
        if left[0] > 0 or (left[0] == 0 and after):
            answer = real(client, operation, arguments)
        if left[0] > 0:
            return answer
        runner.stop(Killed())  # its other threads end as well
        raise Killed

    monkeypatch.setattr(BaseClient, "_make_api_call", make)
    return lambda: left[0] <= 0


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("victim", ["helper", "whole"])
def test_a_worker_killed_at_any_call_costs_its_own_parts_alone(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, victim: str, after: bool
) -> None:
    """At every twelfth call to AWS the worker is killed, its leases run out, and another has the whole in the end.

    Each case begins at another call.
    """
    number, came_so_far = -11 + 3 * after + 5 * (victim == "whole"), True
    while came_so_far:
        number += 12
        fleet.encoded.clear()
        job_id, whole = fleet.divided()
        helper = fleet.helper("w1", job_id, 1) if victim == "helper" else None
        with monkeypatch.context() as patch:
            runner = (helper or whole)._holder.runner
            has_come = killed_at(patch, number, runner, after=after)
            try:
                if helper:
                    helper.work(fleet.encode("w1"))
                else:
                    run_whole(whole, fleet)
                    whole.clean()
            except Killed:
                pass
            came_so_far = has_come()
        finished = {each["part"] for each in fleet.listed(job_id) if each["state"] == "finished"}
        fleet.pass_lease()
        if victim == "helper":
            assert fleet.claims.renew(job_id, 1) is None
            survivor = whole
        else:
            event = contract("worker_event") | {"action": "JobLost", "attempt": 1, "tsMs": clock.now_ms()}
            event |= {"job": msgspec.to_builtins(whole._job), "eventID": f"lost-{job_id}"}
            assert fleet.stack.say(event) == []
            survivor = fleet.whole("w2", job_id)
        again = len(fleet.encoded)
        assert_whole(survivor.run(fleet.encode("w2"), fleet.folder))
        if victim == "helper":
            assert not finished & {part for _, part in fleet.encoded[again:]}
        assert fleet.states(job_id) == ["finished"] * 4 or victim == "whole"
    assert number > 10


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload", "CreateMultipartUpload"])
def test_s3_that_refuses_a_result_leaves_the_part_to_others(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    job_id, whole = fleet.divided()
    helper = fleet.helper("w1", job_id, 1)
    real = BaseClient._make_api_call  # type: ignore[attr-defined]

    def make(client: Any, name: str, arguments: dict[str, Any]) -> Any:
        if name == operation:
            raise Unavailable("S3 is away")
        return real(client, name, arguments)

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", make)
        with pytest.raises(Unavailable):
            helper.work(fleet.encode("w1"))
    assert fleet.states(job_id).count("running") == 1  # that of the message, which the loop returns
    fleet.pass_lease()
    assert fleet.claims.renew(job_id, 1) is None
    assert_whole(whole.run(fleet.encode("w0"), fleet.folder))
