"""Consuming events: AWS calls, DynamoDB write units and CPU an event, beside a plain consumer.

Ours is the `consume` handler and, once a batch, `append` with the stored events and `push` with their chunk. The plain
one is Powertools' batch utility and boto3's client on the same table: it reads the connections once a batch, puts every
event and posts it to every connection. It keeps no job's state, so it has less to do.

A slice is 100 events of workers in steady work, each at another point of a job's life: start, eight progresses a second
apart, finish. 10 jobs at a time say that in ten seconds, as after a stall, and the latest progress stands for those
before it; 100 jobs say it in one second, and nothing is left out. The last mix has starts and finishes only. Batches
are of 1, 10 and 100 events; nobody watches unless it is said.

A tick is one conditional write, so that none goes back: docs/decisions/order-of-events.md. As a put in a batch it took
a twenty-fifth of a call.

Every request is answered after a few milliseconds, behind all that botocore does with it: threads that are answered at
once would only fight for the interpreter. Sockets and TLS are left out, which flatters who calls more. CPU is that of
all threads; slices in turn, medians. A write takes a unit a KiB begun, in the table and in each index it shows in.
"""

import json
import math
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple
from unittest import mock

import boto3
import msgspec
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.httpsession import URLLib3Session
from moto import mock_aws
from msgspec import Raw, structs
from urllib3 import HTTPResponse

from benchmarks.prices import PRICES, charged, puts
from elasticrecode.aws.dynamodb import Item
from elasticrecode.contract import tables
from elasticrecode.jobs.claims import Claims
from elasticrecode.jobs.events import Action, Output, Progress, Result, StartReference, WorkerEvent, read
from elasticrecode.jobs.items import Accepted
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.lifecycle import LATEST, LATEST_AT
from elasticrecode.jobs.placement import Choice
from elasticrecode.jobs.store import JobsTable
from elasticrecode.watch.sockets import Outcome, Poster
from elasticrecode.watch.subscription import EVERYTHING, LIVE
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.fakes.wiring import build

_ROUNDS = 11
_EVENTS = 100
_ANSWER_SECONDS = 0.004
_DAY = 86_400
_POD = "ffmpeg-worker-95d8865bb-gtpnv"
_MANAGEMENT_URL = "http://localhost/ws"
_JOB: Job = msgspec.convert(contract("queue_message"), Job)
_LIFE = (Action.JOB_START, *[Action.JOB_PROGRESS] * 8, Action.JOB_FINISHED)

Handler = Callable[[dict[str, Any], Any], Any]


class _Mix(NamedTuple):
    """Where events come from: jobs that run at a time, and what each goes through."""

    name: str
    jobs: int
    life: Sequence[str] = _LIFE


class _Limits(NamedTuple):
    """The most an event may take; CPU as a share of the plain consumer's."""

    calls: float = math.inf
    units: float = math.inf
    cpu: float = math.inf


_TEN, _HUNDRED, _WORST = (
    _Mix("10 jobs", 10),
    _Mix("100 jobs", 100),
    _Mix("no progress", 100, (Action.JOB_START, Action.JOB_FINISHED)),
)
_PROMISED = _Limits(calls=1.1, units=1.9, cpu=1.0)


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """Calls, write units and CPU an event; for CPU the value is the share of the plain consumer's."""
    for size in (1, 10, 100):
        yield from _compare(_TEN, size, _PROMISED if size == 100 else _Limits())
    yield from _compare(_HUNDRED, 100, _PROMISED)
    yield from _compare(_WORST, 100, _Limits())
    yield from _compare(_HUNDRED, 100, _Limits(), watchers=1)
    for watchers in (0, 1, 100):
        yield _cost(watchers)


def _compare(mix: _Mix, size: int, limits: _Limits, watchers: int = 0) -> Iterator[tuple[str, str, str, float, float]]:
    scenario = f"{mix.name}, by {size}" + (", watched" if watchers else "")
    network = _Network(watchers)
    with mock.patch.object(URLLib3Session, "send", network.send), mock.patch.object(Poster, "post", network.post):
        sides = _ours(network), _plain()
        ours, plain = (_spend(side, network, mix, size) for side in sides)  # warms both up, too
        pairs = [[_spend(side, network, mix, size).cpu for side in sides] for _ in range(_ROUNDS)]

    calls, theirs = (len(spent.requests) / _EVENTS for spent in (ours, plain))
    yield f"calls an event, {scenario}", f"{calls:.2f}", f"plain {theirs:.2f}", calls, limits.calls
    if not watchers:
        units, theirs = (_units(spent) / _EVENTS for spent in (_without_feed(ours), plain))
        yield f"write units an event, {scenario}", f"{units:.2f}", f"plain {theirs:.2f}", units, limits.units
        both = _units(ours) / _EVENTS
        yield f"… and with its place in the feed, {scenario}", f"{both:.2f}", f"without {units:.2f}", both, math.inf
    cpu, theirs = (statistics.median(side) / _EVENTS * 1e6 for side in zip(*pairs, strict=True))
    share = statistics.median(mine / other for mine, other in pairs)
    yield f"CPU an event, {scenario}", f"{cpu:.0f} us", f"plain {theirs:.0f} us", share, limits.cpu


def _without_feed(spent: "_Spent") -> "_Spent":
    return spent._replace(requests=[request for request in spent.requests if not _is_of_feed(*request)])


def _is_of_feed(operation: str, body: Any) -> bool:
    """Whether a request writes chunks of the feed, in a transaction with its head."""
    return operation == "TransactWriteItems" and body["TransactItems"][0]["Update"]["TableName"] == "feed"


def _cost(watchers: int) -> tuple[str, str, str, float, float]:
    """Dollars a million events of steady work, in batches of 100, from what is called and the CPU that is spent."""
    network = _Network(watchers)
    with mock.patch.object(URLLib3Session, "send", network.send), mock.patch.object(Poster, "post", network.post):
        side = _ours(network)
        _spend(side, network, _HUNDRED, 100)
        spent = _spend(side, network, _HUNDRED, 100)
    posts = sum(operation == "PostToConnection" for operation, _ in spent.requests)
    requests = [body for operation, body in spent.requests if operation == "BatchGetItem"]
    reads = sum(len(keys["Keys"]) for body in requests for keys in body["RequestItems"].values())
    reads += sum(operation == "Query" for operation, _ in spent.requests) * max(1, watchers // 20)
    on_bus = sum(action != Action.JOB_PROGRESS for action in _LIFE) / len(_LIFE)  # progress is not for the bus
    amounts = {
        "write": (_units(spent) + len(spent.jobs) + 1) / _EVENTS,  # with the history index: by job and user
        "read": reads / _EVENTS,
        "sqs": 1.3,  # sent once; received and deleted in batches of ten
        "invocation": 4 / _EVENTS,
        "gb-second": spent.cpu / _EVENTS,
        "message": posts / _EVENTS,
        "bus": on_bus,
    }
    dollars = {name: amount * PRICES[name] for name, amount in amounts.items()}
    most = ", ".join(f"{name} {dollars[name]:.2f}" for name in sorted(dollars, key=dollars.__getitem__)[:-4:-1])
    total = sum(dollars.values())
    return f"$ a million events, {watchers} watchers", f"${total:.2f}", most, total, math.inf


# What is consumed


class _Slice(NamedTuple):
    """100 events as Lambda gives them, in batches, and the jobs they are of."""

    jobs: list[Job]
    batches: list[dict[str, Any]]


def _slice(mix: _Mix, size: int) -> _Slice:
    jobs: dict[tuple[int, int], Job] = {}
    records = []
    for second in range(_EVENTS // mix.jobs):
        for worker in range(mix.jobs):
            nth, step = divmod(second + worker, len(mix.life))
            job = jobs.setdefault((worker, nth), structs.replace(_JOB, jobid=str(uuid.uuid4())))
            body = _message(job, mix.life[step], second)
            records.append({"messageId": str(uuid.uuid4()), "body": body, "eventSource": "aws:sqs"})
    return _Slice(list(jobs.values()), [{"Records": records[n : n + size]} for n in range(0, _EVENTS, size)])


def _message(job: Job, action: str, second: int) -> str:
    now = time.time_ns() // 1_000_000 + 1000 * second
    event = WorkerEvent(
        workerType="ffmpeg",
        nodeName="ip-192-168-63-212.ec2.internal",
        podName=_POD,
        action=action,
        job=Raw(msgspec.json.encode(job)),
        ts=now // 1000,
        eventID=str(uuid.uuid4()),
        tsMs=now,
        attempt=1,
        start=StartReference("95d8865b-e6a5-4a1f-95d8-865be6a54a1f", now),
    )
    if action == Action.JOB_PROGRESS:
        event.progress = Progress(percent=41.7, frame=100, fps=29.3, speed=0.98, etaSeconds=4.8)
    if action == Action.JOB_FINISHED:
        event.result = Result([Output(f"{job.output}example.mp4", 1_034_512, 8.0, 1920, 1080, "h264", 1_034_512, 240)])
    return msgspec.json.encode(event).decode()


# Who consumes it


class _Network:
    """Answers every request in its time, and keeps it."""

    def __init__(self, watchers: int) -> None:
        self.requests: list[tuple[str, Any]] = []
        self._topic = f"{EVERYTHING}/0"
        later = {tables.TTL: {"N": str(10**10)}}
        keys = tables.CONNECTIONS_KEYS
        self._watchers = [
            {
                keys[0]: {"S": self._topic},
                keys[1]: {"S": f"c{n}="},
                "watch": {"S": "{}"},
                "state": {"S": LIVE},
                "at": {"S": "1"},
                "connected": {"N": "1"},
                **later,
            }
            for n in range(watchers)
        ]
        self._present = [{keys[0]: {"S": "present"}, keys[1]: {"S": self._topic}, **later}] if watchers else []
        self._jobs: list[Item] = []

    def begin(self, jobs: Sequence[Job]) -> None:
        """Forget the requests so far, and know these jobs."""
        self.requests.clear()
        self._jobs = [{"jobID": {"S": job.jobid}, "job": {"S": msgspec.json.encode(job).decode()}} for job in jobs]

    def record(self, job_id: str) -> Item:
        """What a change of a job's record has of it."""
        (job,) = (item for item in self._jobs if item["jobID"]["S"] == job_id)
        return job | {"userID": {"S": _JOB.userid}}

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Stand in for botocore's own."""
        target: Any = request.headers.get("X-Amz-Target", b"PostToConnection")
        operation = target.decode().rpartition(".")[2]
        self.requests.append((operation, request.body))
        time.sleep(_ANSWER_SECONDS)
        body = BytesIO(json.dumps(self._answer(operation, request.body)).encode())
        return AWSResponse(request.url, 200, HTTPHeaders(), HTTPResponse(body, preload_content=False))

    def post(self, frames: Mapping[str, Sequence[bytes]], *_: object) -> dict[str, Outcome]:
        """Stand in for the poster: what posts cost is the section `push`'s matter."""
        self.requests += (("PostToConnection", b"{}") for posted in frames.values() for _ in posted)
        return {connection_id: Outcome(len(posted), "") for connection_id, posted in frames.items()}

    def _answer(self, operation: str, body: Any) -> dict[str, Any]:
        match operation:
            case "BatchWriteItem":
                return {"UnprocessedItems": {}}
            case "UpdateItem":
                return {"Attributes": {LATEST_AT: {"N": "1"}}}
            case "Query":
                return {"Items": self._watchers, "Count": len(self._watchers)}
            case "BatchGetItem":
                (table,) = json.loads(body)["RequestItems"]
                return {"Responses": {table: self._jobs if table == "jobs" else self._present}, "UnprocessedKeys": {}}
        return {}


class _Spent(NamedTuple):
    """CPU seconds and requests of a slice, and the jobs it is of."""

    cpu: float
    requests: list[tuple[str, Any]]
    jobs: list[Job]


def _spend(side: Callable[[dict[str, Any]], float], network: _Network, mix: _Mix, size: int) -> _Spent:
    given = _slice(mix, size)
    network.begin(given.jobs)
    cpu = sum(side(batch) for batch in given.batches)
    return _Spent(cpu, [(operation, json.loads(body)) for operation, body in network.requests], given.jobs)


def _ours(network: _Network) -> Callable[[dict[str, Any]], float]:
    consume, append, push = (
        build(name, event_retention_seconds=_DAY, socket_management_url=_MANAGEMENT_URL)
        for name in ("consume", "append", "push")
    )

    def side(batch: dict[str, Any]) -> float:
        cpu = 0.0
        for handler in (consume, append, push):
            before = len(network.requests)
            cpu += _cpu(handler, batch)
            wrote = network.requests[before:]
            items = [
                item for operation, body in wrote for item in puts(operation, json.loads(body)) if "last" not in item
            ]
            batch = {"Records": [{"eventName": "INSERT", "dynamodb": {"NewImage": item}} for item in items]}
            batch["Records"] += [_changed(network, json.loads(body)) for name, body in wrote if name == "UpdateItem"]
        return cpu

    return side


def _changed(network: _Network, body: Any) -> Any:
    """The stream's record of an update that shows an event on the record of its job."""
    values = [value["S"] for value in body["ExpressionAttributeValues"].values() if "S" in value]
    latest = [value for value in values if value.startswith("[1")]
    image = network.record(body["Key"]["jobID"]["S"]) | ({LATEST: {"S": latest[0]}} if latest else {})
    return {"eventName": "MODIFY", "dynamodb": {"NewImage": image, "OldImage": {"jobID": image["jobID"]}}}


def _plain() -> Callable[[dict[str, Any]], float]:
    dynamodb = boto3.client("dynamodb")
    management = boto3.client("apigatewaymanagementapi", endpoint_url=_MANAGEMENT_URL)
    processor = BatchProcessor(EventType.SQS)

    def consume(batch: dict[str, Any], context: Any) -> Any:
        watching = dynamodb.query(
            TableName="connections",
            KeyConditionExpression="topic = :topic",
            ExpressionAttributeValues={":topic": {"S": "everything"}},
        )["Items"]

        def store(record: SQSRecord) -> None:
            event = record.json_body
            job = event["job"]
            if not (event["action"] and job["userid"] and job["jobid"]):
                raise ValueError("it names no action or no job")
            position = f"{event['tsMs']}#{event['eventID']}"
            dynamodb.put_item(
                TableName="jobs",
                Item={
                    "jobID": {"S": job["jobid"]},
                    "item": {"S": position},
                    "userID": {"S": job["userid"]},
                    "at": {"S": position},
                    "event": {"S": record.body},
                    tables.TTL: {"N": str(event["ts"] + _DAY)},
                },
            )
            for row in watching:
                management.post_to_connection(ConnectionId=row["connectionID"]["S"], Data=record.body)

        return process_partial_response(batch, store, processor)

    return lambda batch: _cpu(consume, batch)


def _cpu(handler: Handler, event: dict[str, Any]) -> float:
    """CPU seconds of an invocation, all threads together."""
    started = time.process_time()
    answer = handler(event, None)
    spent = time.process_time() - started
    if answer and answer["batchItemFailures"]:
        raise RuntimeError(f"not consumed: {answer}")
    return spent


# What DynamoDB asks for it


def _units(spent: _Spent) -> int:
    """Write units of the requests. Updates are made on moto, where they must hold, to see what the record becomes."""
    units = 0
    with mock_aws():
        dynamodb = Stack().dynamodb
        JobsTable("jobs").accept(
            [Accepted(job, Choice("ffmpeg_job", ""), time.time_ns() // 1_000_000) for job in spent.jobs], _DAY
        )
        claims = Claims("jobs", lease_seconds=30)
        starting = {
            body["Key"]["jobID"]["S"] for name, body in spent.requests if name == "UpdateItem" and _starts(body)
        }
        for job in spent.jobs:
            claims.claim(job.jobid, _POD)
            if job.jobid not in starting:
                JobsTable("jobs").show(read(_message(job, Action.JOB_START, -3600).encode()))
        for operation, body in spent.requests:
            in_transaction = operation == "TransactWriteItems"
            units += sum(charged({}, item, transacted=in_transaction) for item in puts(operation, body))
            if _is_of_feed(operation, body):
                units += 2  # its head
            elif operation == "UpdateItem" or in_transaction:
                update = body["TransactItems"][0]["Update"] if in_transaction else body
                record: Any = dynamodb.get_item(TableName="jobs", Key=update["Key"])["Item"]
                attributes: Any = dynamodb.update_item(**update | {"ReturnValues": "ALL_NEW"})["Attributes"]
                units += charged(record, attributes, transacted=in_transaction)
    return units


def _starts(body: Any) -> bool:
    """Whether an update shows a JobStart."""
    return any(Action.JOB_START in value.get("S", "") for value in body["ExpressionAttributeValues"].values())
