"""Webhooks: events go to users' addresses, signed, in order per job, again until they are accepted or fail for good."""

import base64
import heapq
import json
import socket
import ssl
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import msgspec
import pytest
import trustme
from moto import mock_aws
from standardwebhooks import Webhook as Verifier

from elasticrecode.contract import routes, tables
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.events import Event
from elasticrecode.webhooks import bus as buses
from elasticrecode.webhooks import cache as caches
from elasticrecode.webhooks import courier as couriers
from elasticrecode.webhooks import store as stores
from elasticrecode.webhooks.addresses import networks
from elasticrecode.webhooks.bus import Bus, shortened
from elasticrecode.webhooks.cache import CACHED_SECONDS
from elasticrecode.webhooks.courier import DAY_SECONDS, Courier, Limits, Undeliverable
from elasticrecode.webhooks.webhook import Webhook, is_secret, new
from tests.aws.test_faults import every_call, throttled
from tests.fakes.receiver import (
    Answers,
    Receiver,
    drip_body,
    drip_head,
    garbage,
    half_a_chunk,
    half_a_head,
    half_an_answer,
    huge,
    running,
    silence,
    status,
)
from tests.fakes.turns import answer_in_turn
from tests.fakes.wiring import wired
from tests.support import Answer, call, function

MAX_RECEIVES = 300
LOOPBACK = ["127.0.0.0/8", "::1/128"]
LIMITS, HURRIED = Limits(connect=20, total=20), Limits(connect=2, total=2)
"""Of receivers that answer, and of those that do not."""
"""Longer than an answer takes on a busy machine."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running() as server:
        yield server


def event(event_id: str, job: str = "j1", user: str = "ann", action: str = "JobStart", at: int = 0, **more: Any) -> Any:
    at = at or 1_700_000_000_000 + int("".join(filter(str.isdigit, event_id)) or 0)
    return {"ts": at // 1000, "userID": user, "jobID": job, "action": action, "job": {"jobid": job, "userid": user},
            "eventID": event_id, "tsMs": at, **more}  # fmt: skip


class Clock:
    """The monotonic clock of `publish`: it stands still until a test sets it forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.ahead


class StandingClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.begin = self.now = time.time()

    def time(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1_000_000_000)

    def monotonic(self) -> float:
        return self.now


class BusCalls:
    """Notes, while it is entered, what is put on the event bus; with `fails` the bus takes nothing."""

    def __init__(self) -> None:
        self.fails = False
        self.calls = 0
        self.ids: list[str] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        def note(operation: str, asked: dict[str, Any]) -> None:
            if operation == "PutEvents":
                self.calls += 1
                if self.fails:
                    raise throttled(operation)
                self.ids += [json.loads(entry["Detail"])["eventID"] for entry in asked["Entries"]]

        with pytest.MonkeyPatch.context() as patch, every_call(note, patch):
            yield


class WebhookStack:
    """The functions of webhooks over moto.

    `waited` is added to the age of received messages, in seconds, and `receives` to how often they were received.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dynamodb, self.sqs, self.events = boto3.client("dynamodb"), boto3.client("sqs"), boto3.client("events")
        present = self.dynamodb.list_tables()["TableNames"]  # another fake may share this AWS
        needed = {"webhooks": tables.WEBHOOKS_KEYS, "jobs": tables.JOBS_KEYS, "feed": tables.FEED_KEYS}
        for name, attributes in ((name, keys) for name, keys in needed.items() if name not in present):
            keys = list(zip(attributes, ("HASH", "RANGE"), strict=True))
            self.dynamodb.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys],  # type: ignore[typeddict-item]
                AttributeDefinitions=[
                    {"AttributeName": key, "AttributeType": "N" if key == "seq" else "S"} for key, _ in keys
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        self.dead_letters = self._queue("dead.fifo")
        arn = self.sqs.get_queue_attributes(QueueUrl=self.dead_letters, AttributeNames=["QueueArn"])["Attributes"]
        redrive = {"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": MAX_RECEIVES}
        self.queue = self._queue("deliveries.fifo", RedrivePolicy=json.dumps(redrive))
        self.events.create_event_bus(Name="bus")
        strict = wired(deliveries_queue=self.queue)
        wiring = wired(deliveries_queue=self.queue, networks=LOOPBACK)
        self.api = function("webhooks").build(wiring.settings_of("webhooks"))
        self.strict = function("webhooks").build(strict.settings_of("webhooks"))
        publishing = function("publish")
        self.clock = Clock()
        self.publisher = publishing.build(wiring.settings_of("publish"))
        monkeypatch.setattr(publishing, "time", self.clock)
        monkeypatch.setattr(caches, "time", self.clock)
        self._deliver_module = deliver = function("deliver")
        self._couriers = list[Courier]()

        def courier(allowed: Any) -> Courier:
            self._couriers.append(Courier(allowed, LIMITS))
            return self._couriers[-1]

        monkeypatch.setattr(deliver, "Courier", courier)
        self._deliver = deliver.build(wiring.settings_of("deliver"))
        self._strict_deliver = deliver.build(strict.settings_of("deliver"))
        self.bus_calls = BusCalls()
        self.waited = 0.0
        self.receives = 0
        self.chunks = 0

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Give receivers little time."""
        for courier in self._couriers:
            courier._limits = HURRIED
        yield
        for courier in self._couriers:
            courier._limits = LIMITS

    def _queue(self, name: str, **attributes: str) -> str:
        fifo = {"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
        return self.sqs.create_queue(
            QueueName=name,
            Attributes=fifo | {"VisibilityTimeout": "360"} | attributes,  # type: ignore[arg-type]
        )["QueueUrl"]

    def add(self, url: str, *actions: str, user: str = "ann", **more: Any) -> dict[str, Any]:
        body = {"userID": user, "url": url, "actions": list(actions) or ["JobStart", "JobFinished"], **more}
        answer = call(self.api, routes.ADD_WEBHOOK, body)
        assert answer.status == 201, answer.body
        found: dict[str, Any] = answer.body
        return found

    def listed(self, user: str = "ann") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = call(self.api, routes.WEBHOOKS, query={"userID": user}).body
        return found

    def failures(self, webhook: dict[str, Any], **query: str) -> Answer:
        return call(self.api, routes.WEBHOOK_FAILURES, parameters={"webhookID": webhook["webhookID"]}, query=query)

    def retry(self, webhook: dict[str, Any]) -> Answer:
        return call(self.api, routes.RETRY_WEBHOOK, parameters={"webhookID": webhook["webhookID"]})

    def test(self, webhook: dict[str, Any]) -> Answer:
        return call(self.api, routes.TEST_WEBHOOK, parameters={"webhookID": webhook["webhookID"]})

    def publish(self, *events: Any) -> list[int]:
        """Hand events to `publish`, each in a chunk of its own; the `seq` of the first chunk that is to come again."""
        records = []
        for event in events:
            self.chunks += 1
            records.append(self.record(self.chunks, event))
        return self.publish_records(*records)

    def publish_records(self, *records: Any) -> list[int]:
        answer = self.publisher({"Records": list(records)}, None)
        return [int(failure["itemIdentifier"]) for failure in answer["batchItemFailures"]]

    def record(self, seq: int, *events: Any) -> Any:
        """A record of the feed's stream."""
        stored = msgspec.json.encode(msgspec.json.decode(json.dumps(events), type=list[Event]))
        image = {
            "feed": {"S": "events"},
            "seq": {"N": str(seq)},
            "before": {"N": str(seq - 1)},
            "document": {"B": zlib.compress(stored)},
            tables.TTL: {"N": "9999999999"},
        }
        return {"dynamodb": {"SequenceNumber": str(seq), "NewImage": image}}

    def deliver(self, times: int = 1, *, strict: bool = False) -> list[int]:
        """Let the queue be read so often, pauses being over each time; the pauses asked for, in seconds."""
        paused: list[int] = []
        for _ in range(times):
            answer = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, AttributeNames=["All"])
            messages = answer.get("Messages", [])
            if not messages:
                break
            records = [self._received(message) for message in messages]
            asked: dict[str, int] = {}

            def noted(operation: str, call: dict[str, Any], asked: dict[str, int] = asked) -> None:
                if operation == "ChangeMessageVisibilityBatch":
                    asked |= {entry["ReceiptHandle"]: entry["VisibilityTimeout"] for entry in call["Entries"]}

            with pytest.MonkeyPatch.context() as patch, every_call(noted, patch):
                left = (self._strict_deliver if strict else self._deliver)({"Records": records}, None)
            again = {failure["itemIdentifier"] for failure in left["batchItemFailures"]}
            for message in messages:
                if message["MessageId"] in again:
                    paused += [asked[handle] for handle in (message["ReceiptHandle"],) if handle in asked]
                    self.sqs.change_message_visibility(
                        QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
                    )
                else:
                    self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return paused

    def stand_still(self, monkeypatch: pytest.MonkeyPatch) -> StandingClock:
        """Let the time of pauses stand still; its clock."""
        clock = StandingClock()
        for module in (self._deliver_module, stores):
            monkeypatch.setattr(module, "time", clock)
        return clock

    def run_for_a_day(self, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
        """Deliver what is on the queue in its own time, for a day and an hour; how often each event was received."""
        answer = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, AttributeNames=["All"])
        clock = self.stand_still(monkeypatch)
        due = [(clock.now, n, message) for n, message in enumerate(answer["Messages"])]
        receives: Counter[str] = Counter()
        while due and due[0][0] < clock.begin + DAY_SECONDS + 3600:
            at, n, message = heapq.heappop(due)
            clock.now = max(clock.now, at)
            event_id = json.loads(message["Body"])["event"]["eventID"]
            receives[event_id] += 1
            record = self._received(message)
            record["attributes"] |= {
                "SentTimestamp": str(int(clock.begin * 1000)),
                "ApproximateReceiveCount": str(receives[event_id]),
            }
            wait, left = self._noted_deliver(record)
            if left:
                heapq.heappush(due, (clock.now + wait, n, message))
            else:
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return receives

    def _noted_deliver(self, record: dict[str, Any]) -> tuple[float, bool]:
        waits: list[float] = []

        def note(operation: str, call: dict[str, Any]) -> Any:
            if operation == "ChangeMessageVisibilityBatch":
                waits.extend(entry["VisibilityTimeout"] for entry in call["Entries"])
                return {"Successful": []}
            return None

        with pytest.MonkeyPatch.context() as patch, every_call(note, patch):
            left = self._deliver({"Records": [record]}, None)["batchItemFailures"]
        return sum(waits), bool(left)

    def left(self) -> int:
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["ApproximateNumberOfMessages"])
        return int(attributes["Attributes"]["ApproximateNumberOfMessages"])

    def _received(self, message: Any) -> dict[str, Any]:
        attributes = dict(message["Attributes"])
        attributes["SentTimestamp"] = str(int(attributes["SentTimestamp"]) - int(1000 * self.waited))
        attributes["ApproximateReceiveCount"] = str(int(attributes["ApproximateReceiveCount"]) + self.receives)
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": attributes,
        }


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebhookStack]:
    answer_in_turn(monkeypatch)
    with mock_aws():
        yield WebhookStack(monkeypatch)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """Names and what the resolver says of each, answer by answer, the last for ever; `asked` of them is taken off."""
    known: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host not in known:
            return real(host, port, *rest, **more)
        answers = known[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [entry for address in found for entry in real(address, port, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


# Deliveries


def test_an_event_arrives_with_a_standard_webhooks_signature(stack: WebhookStack, receiver: Receiver) -> None:
    webhook = stack.add(receiver.url)
    sent = event("e1", result={"outputs": [{"uri": "s3://ä/ö", "bytes": 1}]})
    assert stack.publish(sent) == []
    assert stack.deliver() == []
    (post,) = receiver.posts
    assert post.path == "/hook?a=b"
    assert Verifier(webhook["secret"]).verify(post.body, post.headers) == sent | {"cursor": "1.0"}
    headers = post.headers
    assert headers["webhook-id"] == "e1"
    assert headers["content-type"] == "application/json"
    assert headers["host"] == f"127.0.0.1:{receiver.server_port}"
    assert stack.left() == 0
    (listed,) = stack.listed()
    assert listed["lastSuccessMs"]


def test_a_secret_of_the_users_own_signs(stack: WebhookStack, receiver: Receiver) -> None:
    secret = "whsec_" + base64.b64encode(b"0123456789" * 5).decode()
    assert stack.add(receiver.url, secret=secret)["secret"] == secret
    stack.publish(event("e1"))
    stack.deliver()
    Verifier(secret).verify(receiver.posts[0].body, receiver.posts[0].headers)


def test_only_events_of_the_user_and_the_chosen_actions_are_sent(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url, "JobFinished")
    stack.add(receiver.url.replace("/hook", "/bob"), "JobStart", user="bob")
    stack.publish(
        event("e1"), event("e2", action="JobFinished"), event("e3", user="bob", job="j2"), event("e4", user="cid")
    )
    stack.deliver()
    assert {(post.path.split("?")[0], post.event["eventID"]) for post in receiver.posts} == {
        ("/hook", "e2"),
        ("/bob", "e3"),
    }


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (status(500), "answered 500"),
        (status(404), "answered 404"),
        (status(301, Location="/elsewhere"), "redirects are not followed"),
        (status(307, Location="http://169.254.169.254/latest/meta-data/"), "redirects are not followed"),
        (silence, "did not answer within 2 s"),
        (half_an_answer, "closed before its answer was complete"),
        (half_a_head, "closed before its answer was complete"),
        (half_a_chunk, "closed before its answer was complete"),
        (drip_head, "did not answer within 2 s"),
        (drip_body, "did not answer within 2 s"),
        (garbage, "closed before its answer was complete"),
    ],
)
def test_a_failed_delivery_comes_again_and_its_reason_is_shown(
    stack: WebhookStack, receiver: Receiver, answer: Answers, said: str
) -> None:
    stack.add(receiver.url)
    receiver.answers = [answer]
    stack.publish(event("e1"))
    began = time.monotonic()
    with stack.hurried() if "within 2 s" in said else nullcontext():
        (pause,) = stack.deliver()
    assert time.monotonic() - began < 20  # the receivers would hold it for ever
    assert 4 <= pause <= 6
    (listed,) = stack.listed()
    assert said in listed["lastFailure"]
    assert listed["failingSinceMs"]
    assert stack.deliver() == []
    assert receiver.events() == ["e1", "e1"]
    assert stack.left() == 0
    (listed,) = stack.listed()
    assert listed["failingSinceMs"] is None


def test_an_endless_answer_is_read_up_to_a_limit(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url)
    receiver.answers = [huge]
    stack.publish(event("e1"))
    assert stack.deliver() == []


def test_a_refused_connection_is_a_failure(stack: WebhookStack) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        stack.add(f"http://127.0.0.1:{held.getsockname()[1]}/")
        stack.publish(event("e1"))
        assert len(stack.deliver()) == 1
    assert "could not be connected to" in stack.listed()[0]["lastFailure"]


def test_pauses_grow_with_the_time_a_delivery_has_been_waiting() -> None:
    tries, waited, pauses = 0, 0.0, []
    while waited < DAY_SECONDS:
        pauses.append(couriers.pause(waited))
        waited += pauses[-1]
        tries += 1
    assert 15 <= tries <= 26
    assert 4 <= pauses[0] <= 6
    assert max(pauses) <= 1.2 * 3 * 3600
    assert all(later > 1.2 * earlier for earlier, later in zip(pauses[1:8:3], pauses[4:11:3], strict=False))


@pytest.mark.parametrize(("waited", "low", "high"), [(0, 4, 6), (100, 80, 120), (3 * 3600, 8640, 12960)])
def test_a_failed_delivery_is_hidden_for_the_pause(
    stack: WebhookStack, receiver: Receiver, waited: int, low: int, high: int
) -> None:
    stack.add(receiver.url)
    receiver.answers = [status(500)]
    stack.publish(event("e1"))
    stack.waited = waited
    (pause,) = stack.deliver()
    assert low <= pause <= high + 1


def test_the_last_try_is_at_the_end_of_the_day(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url)
    receiver.answers = [status(500)]
    stack.publish(event("e1"))
    stack.waited = DAY_SECONDS - 600
    (pause,) = stack.deliver()
    assert 595 <= pause <= 600


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(("asked", "low", "high"), [("90", 88, 90), ("999999", 3598, 3600), ("0", 4, 6)])
def test_retry_after_pauses_the_whole_webhook_within_bounds(
    stack: WebhookStack, receiver: Receiver, code: int, asked: str, low: int, high: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.stand_still(monkeypatch)
    stack.add(receiver.url)
    receiver.answers = [status(code, Retry_After=asked)]
    stack.publish(event("e1"))
    (pause,) = stack.deliver()
    assert low <= pause <= high
    stack.publish(event("e2", job="j2"))
    assert [low <= pause <= high for pause in stack.deliver()] == [True, True]
    assert receiver.events() == ["e1"]


def test_retry_after_may_be_a_date_and_is_ignored_when_invalid(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url)
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 300))
    receiver.answers = [status(429, Retry_After="soon"), status(429, Retry_After=date)]
    stack.publish(event("e1"))
    assert 4 <= stack.deliver()[0] <= 6
    assert 290 <= stack.deliver()[0] <= 300


def test_410_disables_a_webhook_until_a_retry_is_requested(stack: WebhookStack, receiver: Receiver) -> None:
    webhook = stack.add(receiver.url)
    receiver.answers = [status(410)]
    stack.publish(event("e1"), event("e2", action="JobFinished"))
    assert stack.deliver() == []
    (listed,) = stack.listed()
    assert (listed["state"], listed["reason"]) == ("disabled", "it answered 410 Gone")
    assert receiver.events() == ["e1"]
    failures = stack.failures(webhook).body
    assert [failure["event"]["eventID"] for failure in failures] == ["e1", "e2"]
    assert "410" in failures[0]["reason"]
    assert "disabled" in failures[1]["reason"]
    stack.clock.ahead = CACHED_SECONDS
    stack.publish(event("e3"))
    stack.deliver()
    assert receiver.events() == ["e1"]

    assert stack.retry(webhook).body == {"sent": 2}
    stack.deliver(3)
    assert receiver.events() == ["e1", "e1", "e2"]
    assert stack.listed()[0]["state"] == "enabled"
    assert stack.failures(webhook).body == []


# Order


def test_a_jobs_events_arrive_in_order_whatever_fails(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url)
    receiver.answers = [status(500), half_an_answer, status(200), silence, status(502), status(200), status(500)]
    stack.publish(event("e1"), event("e2"), event("e3"))
    stack.deliver(12)
    order = list(dict.fromkeys(receiver.events()))
    assert order == ["e1", "e2", "e3"]
    assert receiver.events() == sorted(receiver.events())
    assert stack.left() == 0


def test_a_jobs_events_arrive_in_the_order_of_the_feed(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url)
    stack.publish_records(stack.record(1, event("e1"), event("e2"), event("e3", action="JobFinished")))
    stack.publish_records(stack.record(2, event("e4")), stack.record(3, event("e5"), event("e6")))
    stack.deliver(6)
    assert receiver.events() == [f"e{n}" for n in range(1, 7)]


def test_an_event_that_fails_keeps_its_place_before_later_chunks(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url)
    receiver.answers = [status(500)]
    for n in (1, 2, 3):
        stack.publish(event(f"e{n}"))
    first, *later = stack.deliver()
    assert 4 <= first <= 6
    assert later == [0, 0]
    stack.deliver(3)
    assert receiver.events() == ["e1", "e1", "e2", "e3"]


@pytest.mark.parametrize("fails_at", range(1, 8))
def test_whatever_call_to_the_queue_fails_no_event_is_lost_or_swapped_or_sent_twice(
    stack: WebhookStack, receiver: Receiver, fails_at: int
) -> None:
    stack.add(receiver.url)
    stack.add(receiver.url.replace("/hook", "/other"))
    records = [
        stack.record(1, event("e1"), event("e2", job="j2")),
        stack.record(2, event("e3"), event("e4", job="j2"), event("e5")),
        stack.record(3, event("e6")),
    ]
    calls = 0

    def refuse(operation: str, asked: dict[str, Any]) -> Any:
        nonlocal calls
        calls += operation == "SendMessageBatch"
        if operation == "SendMessageBatch" and calls == fails_at:
            raise throttled(operation)

    with pytest.MonkeyPatch.context() as patch, every_call(refuse, patch):
        while records:
            again = stack.publish_records(*records)
            records = [record for record in records if again and int(record["dynamodb"]["SequenceNumber"]) >= again[0]]
    stack.deliver(12)
    for path in ("/hook", "/other"):
        posts = [post.event for post in receiver.posts if post.path.startswith(path)]
        by_job = {job: [post["eventID"] for post in posts if post["jobID"] == job] for job in ("j1", "j2")}
        assert by_job == {"j1": ["e1", "e3", "e5", "e6"], "j2": ["e2", "e4"]}


def test_an_event_that_is_in_the_feed_twice_is_delivered_once(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url)
    stack.publish(event("e1"), event("e1"), event("e2"))
    stack.publish(event("e1"))
    stack.deliver(4)
    assert receiver.events() == ["e1", "e2"]


def test_what_follows_a_failure_in_its_job_waits_for_it_alone(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url)
    receiver.answers = [status(500)]
    stack.publish(event("e1"), event("e2"), event("e3"))
    first, *later = stack.deliver()
    assert 4 <= first <= 6
    assert later == [0, 0]


def test_a_receiver_that_is_slow_or_broken_delays_no_other(stack: WebhookStack, receiver: Receiver) -> None:
    with running() as other:
        stack.add(receiver.url)
        stack.add(other.url)
        receiver.always = lambda post: silence
        stack.publish(event("e1"), event("e2"), event("e3", job="j2"))
        began = time.monotonic()
        with stack.hurried():
            stack.deliver()
        assert time.monotonic() - began < 20  # the receivers would hold it for ever
        assert sorted(other.events()) == ["e1", "e2", "e3"]


def test_an_event_its_receiver_cannot_read_stops_its_job_and_no_other(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url)
    receiver.always = lambda post: status(500) if post.event["eventID"] == "e1" else None
    stack.publish(event("e1"), event("e2"))
    for n in range(10, 20):
        stack.publish(event(f"e{n}", job=f"j{n}"))
        stack.deliver(3)
    arrived = receiver.events()
    assert {f"e{n}" for n in range(10, 20)} <= set(arrived)
    assert "e2" not in arrived


def test_a_webhook_pauses_as_a_whole_after_failures(
    stack: WebhookStack, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.stand_still(monkeypatch)
    stack.add(receiver.url)
    receiver.always = lambda post: status(500)
    stack.publish(*(event(f"e{n}", job=f"j{n}") for n in range(10)))
    stack.deliver()
    tried = len(receiver.posts)
    stack.publish(*(event(f"e{n}", job=f"j{n}") for n in range(10, 40)))
    for _ in range(4):
        stack.deliver()
    assert tried <= len(receiver.posts) <= tried + 10
    assert stack.listed()[0]["pausedUntilMs"]
    assert stack.left() == 40


# Giving up


def test_after_a_day_a_delivery_is_listed_with_the_reason_and_can_be_sent_again(
    stack: WebhookStack, receiver: Receiver
) -> None:
    webhook = stack.add(receiver.url)
    receiver.answers = [status(500), status(503)]
    stack.publish(event("e1"), event("e2"))
    stack.deliver()
    assert stack.failures(webhook).body == []
    stack.waited = DAY_SECONDS + 1
    assert stack.deliver() == []
    assert stack.left() == 0
    assert receiver.events() == ["e1", "e1", "e2"]
    (failure,) = stack.failures(webhook).body
    assert failure["event"] == event("e1") | {"cursor": "1.0"}
    assert failure["reason"] == "it answered 503"
    assert failure["failedMs"] > 0

    stack.waited = 0
    answer = stack.retry(webhook)
    assert (answer.status, answer.body) == (202, {"sent": 1})
    stack.deliver()
    assert receiver.events()[-1] == "e1"
    Verifier(webhook["secret"]).verify(receiver.posts[-1].body, receiver.posts[-1].headers)
    assert stack.failures(webhook).body == []


def test_a_delivery_held_back_by_a_pause_is_given_up_with_that_reason(stack: WebhookStack, receiver: Receiver) -> None:
    webhook = stack.add(receiver.url)
    receiver.answers = [status(429, Retry_After="600")]
    stack.publish(event("e1"))
    stack.deliver()
    stack.waited = DAY_SECONDS + 1
    stack.deliver()
    (failure,) = stack.failures(webhook).body
    assert failure["reason"] == "not tried, as the receiver accepts no deliveries; last: it answered 429"
    assert len(receiver.posts) == 1


def test_failures_come_in_pages_by_the_time_of_their_events(stack: WebhookStack, receiver: Receiver) -> None:
    webhook = stack.add(receiver.url)
    receiver.always = lambda post: status(500)
    stack.waited = DAY_SECONDS + 1
    stack.publish(*(event(f"e{n:02}", job=f"j{n}") for n in range(12)))
    stack.deliver(3)
    found, query = [], {"limit": "5"}
    while True:
        answer = stack.failures(webhook, **query)
        found += [failure["event"]["eventID"] for failure in answer.body]
        if "Link" not in answer.headers:
            break
        after = answer.headers["Link"].split("after=")[1].split(">")[0].replace("%23", "#")
        query["after"] = after
    assert found == [f"e{n:02}" for n in range(12)]
    assert stack.failures(webhook, after="nonsense").status == 400


def test_a_throttled_table_loses_no_delivery(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url)
    stack.publish(event("e1"))

    def refuse(operation: str, asked: dict[str, Any]) -> Any:
        if operation == "GetItem":
            raise throttled(operation)

    with pytest.MonkeyPatch.context() as patch, every_call(refuse, patch):
        assert stack.deliver() == [60]
    assert stack.deliver() == []
    assert receiver.events() == ["e1"]


def test_chunks_come_again_from_the_first_that_the_queue_refuses(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url)

    def refuse(operation: str, asked: dict[str, Any]) -> Any:
        if operation == "SendMessageBatch":
            raise throttled(operation)

    events = [event("e0", user="bob"), event("e1"), event("e2"), event("e3", user="bob")]
    with pytest.MonkeyPatch.context() as patch, every_call(refuse, patch):
        assert stack.publish(*events) == [2]
    stack.publish(*events[1:])
    stack.publish(*events[1:])
    stack.deliver(3)
    assert receiver.events() == ["e1", "e2"]


def test_no_event_is_dropped_when_the_table_of_webhooks_cannot_be_read(stack: WebhookStack) -> None:
    def refuse(operation: str, asked: dict[str, Any]) -> Any:
        if operation == "Query":
            raise throttled(operation)

    with pytest.MonkeyPatch.context() as patch, every_call(refuse, patch), pytest.raises(Unavailable):
        stack.publish(event("e1"))


# Messages that deliver cannot process


def test_a_message_that_is_no_delivery_ends_on_the_dead_letter_queue(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url)
    stack.sqs.send_message(QueueUrl=stack.queue, MessageBody="{", MessageGroupId="g", MessageDeduplicationId="d")
    stack.publish(event("e1"))
    stack.deliver()
    assert receiver.events() == ["e1"]
    stack.deliver(MAX_RECEIVES + 1)
    assert stack.left() == 0
    (message,) = stack.sqs.receive_message(QueueUrl=stack.dead_letters)["Messages"]
    assert message["Body"] == "{"


def test_a_delivery_whose_consumer_died_each_time_is_listed_among_the_failures(
    stack: WebhookStack, receiver: Receiver
) -> None:
    webhook = stack.add(receiver.url)
    stack.publish(event("e1"))
    stack.receives = 250
    assert stack.deliver() == []
    assert receiver.posts == []
    (failure,) = stack.failures(webhook).body
    assert failure["event"]["eventID"] == "e1"
    assert failure["reason"] == "250 tries were cut off before they ended"
    assert stack.left() == 0


@pytest.mark.parametrize("answer", [status(500), status(429, Retry_After="5")])
def test_the_pauses_of_a_day_make_fewer_receives_than_a_dead_letter(
    stack: WebhookStack, receiver: Receiver, answer: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A webhook with many jobs, all of them failing: each delivery is tried, or held back, at its own times."""
    stack.add(receiver.url)
    receiver.always = lambda post: answer
    jobs = 6
    stack.publish(*(event(f"e{n}", job=f"j{n}") for n in range(jobs)))
    receives = stack.run_for_a_day(monkeypatch)
    assert len(receives) == jobs
    assert max(receives.values()) <= 200
    assert stack.left() == 0


def test_deliveries_to_a_removed_webhook_end(stack: WebhookStack, receiver: Receiver) -> None:
    webhook = stack.add(receiver.url)
    stack.publish(event("e1"))
    assert call(stack.api, routes.REMOVE_WEBHOOK, parameters={"webhookID": webhook["webhookID"]}).status == 200
    assert stack.deliver() == []
    assert receiver.posts == []
    assert stack.left() == 0


# The routes


def test_a_webhook_is_created_listed_and_removed_and_its_secret_shown_once(
    stack: WebhookStack, receiver: Receiver
) -> None:
    made = stack.add(receiver.url, "JobFinished", "JobFailed", "JobFinished")
    assert is_secret(made["secret"])
    (listed,) = stack.listed()
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert (listed["state"], listed["reason"], listed["actions"]) == ("enabled", None, ["JobFailed", "JobFinished"])
    assert stack.listed("bob") == []
    removed = call(stack.api, routes.REMOVE_WEBHOOK, parameters={"webhookID": made["webhookID"]})
    assert (removed.status, removed.body) == (200, {"webhookID": made["webhookID"]})
    assert stack.listed() == []
    for route in (routes.REMOVE_WEBHOOK, routes.TEST_WEBHOOK, routes.WEBHOOK_FAILURES, routes.RETRY_WEBHOOK):
        assert call(stack.api, route, parameters={"webhookID": made["webhookID"]}).status == 404


def test_a_test_is_posted_at_once_and_signed_as_a_delivery_is(stack: WebhookStack, receiver: Receiver) -> None:
    webhook = stack.add(receiver.url, "JobFinished")
    answer = stack.test(webhook)
    assert (answer.status, answer.body["status"], answer.body["error"]) == (200, 200, None)
    assert 0 <= answer.body["seconds"] < 10
    (post,) = receiver.posts
    sent = Verifier(webhook["secret"]).verify(post.body, post.headers)
    assert (sent["action"], sent["userID"], sent["jobID"]) == ("WebhookTest", "ann", webhook["webhookID"])
    assert post.headers["webhook-id"] == sent["eventID"]
    msgspec.json.decode(post.body, type=Event)
    assert stack.test(webhook).body["status"] == 200
    assert len(set(receiver.events())) == 2


@pytest.mark.parametrize(
    ("answer", "status_", "error"),
    [
        (status(500), 500, "it answered 500"),
        (status(503, Retry_After="600"), 503, "it answered 503"),
        (status(302, Location="http://127.0.0.1:1/"), 302, "it answered 302; redirects are not followed"),
        (status(410), 410, "it answered 410 Gone"),
        (garbage, None, "the connection was closed before its answer was complete"),
        (half_an_answer, None, "the connection was closed before its answer was complete"),
    ],
)
def test_a_failed_test_has_the_reason_is_sent_once_and_changes_nothing(
    stack: WebhookStack, receiver: Receiver, answer: Answers, status_: int | None, error: str
) -> None:
    webhook = stack.add(receiver.url)
    before = stack.listed()
    receiver.always = lambda post: answer
    for _ in range(6):  # one more than the failures after which deliveries pause
        body = stack.test(webhook).body
        assert (body["status"], body["error"]) == (status_, error)
    assert len(receiver.posts) == 6
    assert stack.listed() == before
    assert stack.failures(webhook).body == []
    assert stack.left() == 0
    receiver.always = lambda post: None
    stack.publish(event("e1"))
    stack.deliver()
    assert [post.event["eventID"] for post in receiver.taken] == ["e1"]


def test_a_disabled_webhook_can_be_tested_and_stays_disabled(stack: WebhookStack, receiver: Receiver) -> None:
    webhook = stack.add(receiver.url)
    receiver.answers = [status(410)]
    stack.publish(event("e1"))
    stack.deliver()
    assert stack.test(webhook).body["status"] == 200
    (listed,) = stack.listed()
    assert listed["state"] == "disabled"


def test_the_addresses_of_a_test_are_checked(stack: WebhookStack, receiver: Receiver) -> None:
    webhook = stack.add(receiver.url)
    body = call(stack.strict, routes.TEST_WEBHOOK, parameters={"webhookID": webhook["webhookID"]}).body
    assert (body["status"], body["error"]) == (None, "127.0.0.1 is 127.0.0.1, which is not a public address")
    assert receiver.posts == []


def test_nobody_can_ask_for_test_events(stack: WebhookStack, receiver: Receiver) -> None:
    """So every one that a receiver gets was sent by a test of its own webhook."""
    body = {"userID": "ann", "url": receiver.url, "actions": ["WebhookTest"]}
    assert call(stack.api, routes.ADD_WEBHOOK, body).status == 422


def test_all_faults_are_listed_at_once_without_the_secret(stack: WebhookStack) -> None:
    body = {
        "userID": "a b",
        "url": "https://u:p@example.com/",
        "actions": ["JobProgress"],
        "secret": "whsec_hush",
        "x": 1,
    }
    answer = call(stack.api, routes.ADD_WEBHOOK, body)
    assert answer.status == 422
    assert [fault["pointer"] for fault in answer.body["errors"]] == ["/actions/0", "/secret", "/url", "/userID", "/x"]
    assert "hush" not in json.dumps(answer.body)
    missing = call(stack.api, routes.ADD_WEBHOOK, {"actions": []})
    assert {fault["pointer"] for fault in missing.body["errors"]} == {"/userID", "/url", "/actions"}
    assert call(stack.api, routes.ADD_WEBHOOK, "nonsense").status == 400
    assert call(stack.api, routes.WEBHOOKS).status == 400


@pytest.mark.parametrize("secret", ["whsec_", "whsec_c2hvcnQ=", "nothing", "whsec_" + "A" * 200, "whsec_" + "*" * 40])
def test_a_malformed_secret_is_refused(secret: str) -> None:
    assert not is_secret(secret)


def test_a_user_has_at_most_20_webhooks(stack: WebhookStack, receiver: Receiver) -> None:
    for _ in range(20):
        stack.add(receiver.url)
    body = {"userID": "ann", "url": receiver.url, "actions": ["JobStart"]}
    assert call(stack.api, routes.ADD_WEBHOOK, body).status == 409


def test_a_webhooks_representation_has_no_secret() -> None:
    webhook: Webhook = new("ann", "https://example.com/", ["JobStart"])
    assert webhook.secret not in f"{webhook} {webhook!r} {[webhook]}"


# Where they may go


@pytest.mark.parametrize(
    ("url", "found", "said"),
    [
        ("https://127.0.0.1/", None, "not a public address"),
        ("https://169.254.169.254/latest/", None, "not a public address"),
        ("https://[::ffff:10.0.0.1]/", None, "not a public address"),
        ("https://[fd00:ec2::254]/", None, "not a public address"),
        ("https://2130706433/", None, "127.0.0.1, which is not a public address"),
        ("https://0x7f.1/", None, "127.0.0.1, which is not a public address"),
        ("https://inside.test/", ["10.1.2.3"], "10.1.2.3, which is not a public address"),
        ("https://inside.test/", ["93.184.215.14", "192.168.0.1"], "192.168.0.1, which is not a public address"),
        ("https://inside.test/", ["64:ff9b::a9fe:a9fe"], "not a public address"),
        ("https://nowhere.test/", [], "can't be resolved"),
        ("http://outside.test/", ["93.184.215.14"], "use https"),
    ],
)
def test_a_webhook_at_a_private_address_is_refused(
    stack: WebhookStack, resolver: dict[str, list[list[str]]], url: str, found: list[str] | None, said: str
) -> None:
    if found is not None:
        resolver[url.split("/")[2]] = [found]
    answer = call(stack.strict, routes.ADD_WEBHOOK, {"userID": "ann", "url": url, "actions": ["JobStart"]})
    assert answer.status == 422
    (fault,) = answer.body["errors"]
    assert fault["pointer"] == "/url"
    assert said in fault["detail"]


def test_a_webhook_at_a_public_address_is_created(stack: WebhookStack, resolver: dict[str, list[list[str]]]) -> None:
    resolver["outside.test"] = [["93.184.215.14", "2606:4700::1"]]
    body = {"userID": "ann", "url": "https://outside.test/", "actions": ["JobStart"]}
    assert call(stack.strict, routes.ADD_WEBHOOK, body).status == 201


def test_addresses_are_checked_again_at_delivery(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url)
    stack.publish(event("e1"))
    assert len(stack.deliver(strict=True)) == 1
    assert receiver.posts == []
    assert "not a public address" in stack.listed()[0]["lastFailure"]


def test_a_name_that_resolves_elsewhere_later_gets_no_delivery(
    receiver: Receiver, resolver: dict[str, list[list[str]]]
) -> None:
    resolver["rebound.test"] = [["127.0.0.1"], ["10.0.0.1"], ["10.0.0.1"]]
    courier = Courier(networks(LOOPBACK), LIMITS)
    url = f"http://rebound.test:{receiver.server_port}/"
    courier.post(url, new("a", url, []).secret, "e1", b"{}")
    assert receiver.posts[0].headers["host"] == f"rebound.test:{receiver.server_port}"
    assert len(resolver["rebound.test"]) == 2  # it was asked once
    with pytest.raises(Undeliverable, match=r"10\.0\.0\.1, which is not a public address"):
        courier.post(url, new("a", url, []).secret, "e1", b"{}")
    assert len(receiver.posts) == 1


def test_the_second_address_is_tried_when_the_first_does_not_answer(
    receiver: Receiver, resolver: dict[str, list[list[str]]]
) -> None:
    resolver["two.test"] = [["127.0.0.9", "127.0.0.1"]]
    url = f"http://two.test:{receiver.server_port}/"
    Courier(networks(LOOPBACK), LIMITS).post(url, new("a", url, []).secret, "e1", b"{}")
    assert len(receiver.posts) == 1


def test_the_certificate_is_verified_against_the_name_not_the_address(
    resolver: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver |= {"right.test": [["127.0.0.1"]], "wrong.test": [["127.0.0.1"]]}
    authority = trustme.CA()
    served, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("right.test").configure_cert(served)
    authority.configure_trust(trust)
    monkeypatch.setattr(couriers, "_trust", lambda: trust)
    courier = Courier(networks(LOOPBACK), LIMITS)
    with running(served) as receiver:
        urls = [f"https://{name}.test:{receiver.server_port}/" for name in ("right", "wrong")]
        courier.post(urls[0], new("a", urls[0], []).secret, "e1", b"{}")
        assert len(receiver.posts) == 1
        with pytest.raises(Undeliverable, match="certificate can't be verified"):
            courier.post(urls[1], new("a", urls[1], []).secret, "e1", b"{}")
        assert len(receiver.posts) == 1


# The bus


class Calls:
    """PutEvents, answered as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[list[dict[str, Any]]] = []
        self.codes: list[Sequence[str]] = []
        monkeypatch.setattr(buses, "client", lambda service: self)
        monkeypatch.setattr(buses, "_BACKOFF_SECONDS", 0)
        self.exceptions = boto3.client("events").exceptions

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        self.sent.append(Entries)
        codes = self.codes.pop(0) if self.codes else [""] * len(Entries)
        return {"Entries": [{"ErrorCode": code} if code else {"EventId": "x"} for code in codes]}

    @property
    def told(self) -> list[list[str]]:
        return [[json.loads(entry["Detail"])["eventID"] for entry in entries] for entries in self.sent]


def encoded(*events: Any) -> list[bytes]:
    return [json.dumps(event).encode() for event in events]


def test_the_bus_gets_ten_events_a_call_and_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    events = [event(f"e{n}") for n in range(12)] + [event("p", action="JobProgress")]
    assert Bus("bus").put(encoded(*events)) == {}
    assert calls.told == [[f"e{n}" for n in range(10)], ["e10", "e11"]]
    entry = calls.sent[0][0]
    assert (entry["EventBusName"], entry["Source"], entry["DetailType"]) == ("bus", "elasticrecode", "JobStart")
    assert json.loads(entry["Detail"]) == events[0]


def test_failed_entries_are_put_again_and_final_ones_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    calls.codes = [["", "ThrottlingException", "MalformedDetail"], ["InternalFailure"], [""]]
    assert set(Bus("bus").put(encoded(event("e1"), event("e2"), event("e3")))) == {"e3"}
    assert calls.told == [["e1", "e2", "e3"], ["e2"], ["e2"]]
    calls.codes = [["ThrottlingException"]] * 9
    assert "Throttling" in Bus("bus").put(encoded(event("e4")))["e4"]


def test_calls_stay_within_their_size_and_large_events_are_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    log = ["x" * 1000] * 90
    failed = {"code": "encoder-failed", "message": "m", "log": log}
    events = [event(f"e{n}", error=failed) for n in range(5)]
    events.append(event("e5", error=failed) | {"job": {"jobid": "j1", "profile": "x" * 300_000}})
    assert Bus("bus").put(encoded(*events)) == {}
    assert all(sum(len(entry["Detail"]) for entry in entries) <= 256 * 1024 for entries in calls.sent)
    last = json.loads(calls.sent[-1][-1]["Detail"])
    assert last["shortened"] == ["job"]
    assert last["error"]["log"] == log

    both = event("e6", error=failed | {"log": ["x" * 300_000]}) | {"job": {"x": "x" * 300_000}}
    told = json.loads(shortened(encoded(both)[0]))
    assert told["shortened"] == ["job", "error.log"]
    assert told["error"] == {"code": "encoder-failed", "message": "m"}
    assert set(Bus("bus").put(encoded(event("e7", msg="x" * 300_000)))) == {"e7"}


# The copy for users' own rules


def test_every_event_but_progress_is_on_the_bus_whether_anyone_has_a_webhook(stack: WebhookStack) -> None:
    noted = stack.bus_calls
    progress = event("e3", action="JobProgress")
    with noted():
        stack.publish(event("e1"), event("e2", user="bob"), progress)
    assert noted.ids == ["e1", "e2"]
    assert stack.left() == 0


def test_a_bus_that_fails_holds_no_webhook_back_and_gets_the_events_later(
    stack: WebhookStack, receiver: Receiver
) -> None:
    stack.add(receiver.url)
    noted = stack.bus_calls
    noted.fails = True
    with noted():
        assert stack.publish(event("e1")) == []
        assert stack.publish(event("e2")) == []
        assert noted.calls == 1  # it is left alone for a while
        paused = stack.deliver(2)
        assert receiver.events() == ["e1", "e2"]
        assert all(4 <= pause <= 6 for pause in paused if pause)
        noted.fails = False
        stack.deliver(3)
        assert noted.ids == ["e1", "e2"]
        assert stack.left() == 0
        stack.clock.ahead = 30
        stack.publish(event("e3"))
        assert noted.ids == ["e1", "e2", "e3"]


def test_when_bus_and_queue_fail_the_stream_brings_the_events_again(stack: WebhookStack) -> None:
    def refuse(operation: str, asked: dict[str, Any]) -> Any:
        if operation in ("SendMessageBatch", "PutEvents"):
            raise throttled(operation)

    with pytest.MonkeyPatch.context() as patch, every_call(refuse, patch), pytest.raises(RuntimeError):
        stack.publish(event("e1"))


# What it costs


def test_a_webhook_gets_events_from_at_most_five_seconds_after_its_creation_on(
    stack: WebhookStack, receiver: Receiver
) -> None:
    stack.publish(event("e1"))
    stack.add(receiver.url)
    stack.publish(event("e2"))
    stack.clock.ahead = CACHED_SECONDS
    stack.publish(event("e3"))
    stack.deliver(3)
    assert receiver.events() == ["e3"]


def test_an_event_costs_a_fraction_of_a_call(stack: WebhookStack, receiver: Receiver) -> None:
    stack.add(receiver.url)
    calls: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch, every_call(lambda name, _: calls.update([name]), patch):
        for n in range(2):  # moto takes a minute for a thousand messages of a FIFO queue
            first = 100 * n
            stack.publish_records(
                stack.record(n + 1, *(event(f"e{m}", job=f"j{m}") for m in range(first, first + 100)))
            )
    written = {"BatchWriteItem": 2 * 5, "UpdateItem": 2}
    assert calls == {"Query": 1, "SendMessageBatch": 20, "PutEvents": 20} | written


def test_a_user_named_like_a_webhook_stops_no_other(stack: WebhookStack, receiver: Receiver) -> None:
    webhook = stack.add(receiver.url)
    stranger = f"#{webhook['webhookID']}"
    assert call(stack.api, routes.WEBHOOKS, query={"userID": stranger}).body == []
    assert stack.publish(event("e1") | {"userID": stranger}, event("e2")) == []
    stack.deliver()
    assert len(receiver.posts) == 1


def test_expired_failures_make_no_empty_page(stack: WebhookStack, receiver: Receiver) -> None:
    webhook, table = stack.add(receiver.url), stores.WebhooksTable("webhooks")
    bodies = [msgspec.json.encode(event(f"e{n}", at=n)) for n in range(9)]
    for body in bodies:
        table.give_up(webhook["webhookID"], body, "gone")
    rows = stack.dynamodb.scan(TableName="webhooks")["Items"]
    for row in sorted((row for row in rows if "failedMs" in row), key=lambda row: row["item"]["S"])[:6]:
        stack.dynamodb.put_item(TableName="webhooks", Item=row | {tables.TTL: {"N": "1"}})
    first = stack.failures(webhook, limit="2")
    assert len(first.body) == 2
    after = parse_qs(urlsplit(first.headers["Link"].split(">")[0].lstrip("<")).query)["after"][0]
    last = stack.failures(webhook, limit="2", after=after)
    assert (len(last.body), "Link" in last.headers) == (1, False)
