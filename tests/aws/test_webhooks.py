"""Webhooks: events go to users' addresses, signed, in order per job, again until they are taken or given up."""

import base64
import json
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import boto3
import pytest
import trustme
from moto import mock_aws
from standardwebhooks import Webhook as Verifier

from elasticrecode.contract import routes, settings, tables
from elasticrecode.webhooks import bus as buses
from elasticrecode.webhooks import courier as delivery
from elasticrecode.webhooks.addresses import networks
from elasticrecode.webhooks.bus import Bus, shortened
from elasticrecode.webhooks.courier import DAY_SECONDS, Courier, Limits, Undeliverable
from elasticrecode.webhooks.store import Webhook, is_secret, new
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
from tests.support import Answer, call, function

LOOPBACK = ["127.0.0.0/8", "::1/128"]
LIMITS = Limits(connect=0.5, total=0.7)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running() as server:
        yield server


def event(event_id: str, job: str = "j1", user: str = "ann", action: str = "JobStart", at: int = 0, **more: Any) -> Any:
    at = at or 1_700_000_000_000 + int("".join(filter(str.isdigit, event_id)) or 0)
    return {"ts": at // 1000, "userID": user, "jobID": job, "action": action, "job": {"jobid": job, "userid": user},
            "eventID": event_id, "tsMs": at, **more}  # fmt: skip


class Hooks:
    """The functions of webhooks over moto. `waited` is how old messages are made to look, in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dynamodb, self.sqs = boto3.client("dynamodb"), boto3.client("sqs")
        keys = list(zip(tables.WEBHOOKS_KEYS, ("HASH", "RANGE"), strict=True))
        self.dynamodb.create_table(
            TableName="webhooks",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],  # type: ignore[typeddict-item]
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        self.queue = self.sqs.create_queue(
            QueueName="deliveries.fifo",
            Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true", "DeduplicationScope": "messageGroup",
                        "FifoThroughputLimit": "perMessageGroupId", "VisibilityTimeout": "360"},
        )["QueueUrl"]  # fmt: skip
        told: dict[str, Any] = {"webhooks_table": "webhooks", "deliveries_queue": self.queue}
        self.api = function("webhooks").build(settings.WebhooksSettings(networks=LOOPBACK, **told))
        self.strict = function("webhooks").build(settings.WebhooksSettings(networks=[], **told))
        self._announce = function("announce").build(settings.AnnounceSettings(**told))
        deliver: ModuleType = function("deliver")
        monkeypatch.setattr(deliver, "Courier", lambda allowed: Courier(allowed, LIMITS))
        self._deliver = deliver.build(settings.DeliverSettings(networks=LOOPBACK, **told))
        self._strict_deliver = deliver.build(settings.DeliverSettings(networks=[], **told))
        self.waited = 0.0
        self.hidden: list[int] = []

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

    def announce(self, *events: Any) -> list[str]:
        records = [
            {"messageId": f"m{n}", "body": json.dumps({"source": settings.EVENT_SOURCE, "detail": event})}
            for n, event in enumerate(events)
        ]
        return [
            failure["itemIdentifier"] for failure in self._announce({"Records": records}, None)["batchItemFailures"]
        ]

    def deliver(self, times: int = 1, *, strict: bool = False) -> list[int]:
        """Let the queue be read so often, pauses being over each time; the pauses asked for, in seconds."""
        paused: list[int] = []
        for _ in range(times):
            answer = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, AttributeNames=["All"])
            messages = answer.get("Messages", [])
            if not messages:
                break
            records = [self._record(message) for message in messages]
            asked: dict[str, int] = {}

            def noted(operation: str, call: dict[str, Any], asked: dict[str, int] = asked) -> None:
                if operation == "ChangeMessageVisibilityBatch":
                    asked |= {entry["ReceiptHandle"]: entry["VisibilityTimeout"] for entry in call["Entries"]}

            with pytest.MonkeyPatch.context() as patch, every_call(noted, patch):
                left = (self._strict_deliver if strict else self._deliver)({"Records": records}, None)
            again = {failure["itemIdentifier"] for failure in left["batchItemFailures"]}
            for message in messages:
                if message["MessageId"] in again:
                    paused.append(asked[message["ReceiptHandle"]])
                    self.sqs.change_message_visibility(
                        QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
                    )
                else:
                    self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return paused

    def left(self) -> int:
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["ApproximateNumberOfMessages"])
        return int(attributes["Attributes"]["ApproximateNumberOfMessages"])

    def _record(self, message: Any) -> dict[str, Any]:
        attributes = dict(message["Attributes"])
        attributes["SentTimestamp"] = str(int(attributes["SentTimestamp"]) - int(1000 * self.waited))
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": attributes,
        }


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hooks]:
    with mock_aws():
        yield Hooks(monkeypatch)


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


def test_an_event_arrives_signed_as_standard_webhooks_has_it(hooks: Hooks, receiver: Receiver) -> None:
    webhook = hooks.add(receiver.url)
    sent = event("e1", result={"outputs": [{"uri": "s3://ä/ö"}]})
    assert hooks.announce(sent) == []
    assert hooks.deliver() == []
    (post,) = receiver.posts
    assert post.path == "/hook?a=b"
    assert Verifier(webhook["secret"]).verify(post.body, post.headers) == sent
    headers = post.headers
    assert headers["webhook-id"] == "e1"
    assert headers["content-type"] == "application/json"
    assert headers["host"] == f"127.0.0.1:{receiver.server_port}"
    assert hooks.left() == 0
    (listed,) = hooks.listed()
    assert listed["lastSuccessMs"]


def test_a_secret_that_is_given_signs(hooks: Hooks, receiver: Receiver) -> None:
    secret = "whsec_" + base64.b64encode(b"0123456789" * 5).decode()
    assert hooks.add(receiver.url, secret=secret)["secret"] == secret
    hooks.announce(event("e1"))
    hooks.deliver()
    Verifier(secret).verify(receiver.posts[0].body, receiver.posts[0].headers)


def test_only_events_of_the_user_and_the_actions_asked_for_are_sent(hooks: Hooks, receiver: Receiver) -> None:
    hooks.add(receiver.url, "JobFinished")
    hooks.add(receiver.url.replace("/hook", "/bob"), "JobStart", user="bob")
    hooks.announce(
        event("e1"), event("e2", action="JobFinished"), event("e3", user="bob", job="j2"), event("e4", user="cid")
    )
    hooks.deliver()
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
        (silence, "did not answer within 0.7 s"),
        (half_an_answer, "closed before its answer was complete"),
        (half_a_head, "closed before its answer was complete"),
        (half_a_chunk, "closed before its answer was complete"),
        (drip_head, "did not answer within 0.7 s"),
        (drip_body, "did not answer within 0.7 s"),
        (garbage, "closed before its answer was complete"),
    ],
)
def test_what_is_not_taken_comes_again_and_the_reason_is_told(
    hooks: Hooks, receiver: Receiver, answer: Answers, said: str
) -> None:
    hooks.add(receiver.url)
    receiver.answers = [answer]
    hooks.announce(event("e1"))
    began = time.monotonic()
    (pause,) = hooks.deliver()
    assert time.monotonic() - began < 1.4
    assert 4 <= pause <= 6
    (listed,) = hooks.listed()
    assert said in listed["lastFailure"]
    assert listed["failingSinceMs"]
    assert hooks.deliver() == []
    assert receiver.events() == ["e1", "e1"]
    assert hooks.left() == 0
    (listed,) = hooks.listed()
    assert listed["failingSinceMs"] is None


def test_of_an_endless_answer_only_so_much_is_read(hooks: Hooks, receiver: Receiver) -> None:
    hooks.add(receiver.url)
    receiver.answers = [huge]
    hooks.announce(event("e1"))
    assert hooks.deliver() == []


def test_nobody_listening_is_a_failure_like_others(hooks: Hooks) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        hooks.add(f"http://127.0.0.1:{held.getsockname()[1]}/")
        hooks.announce(event("e1"))
        assert len(hooks.deliver()) == 1
    assert "could not be connected to" in hooks.listed()[0]["lastFailure"]


def test_pauses_grow_with_the_time_a_delivery_has_been_waiting() -> None:
    tries, waited, pauses = 0, 0.0, []
    while waited < DAY_SECONDS:
        pauses.append(delivery.pause(waited))
        waited += pauses[-1]
        tries += 1
    assert 15 <= tries <= 26
    assert 4 <= pauses[0] <= 6
    assert max(pauses) <= 1.2 * 3 * 3600
    assert all(later > 1.2 * earlier for earlier, later in zip(pauses[1:8:3], pauses[4:11:3], strict=False))


@pytest.mark.parametrize(("waited", "low", "high"), [(0, 4, 6), (100, 80, 120), (3 * 3600, 8640, 12960)])
def test_the_queue_is_asked_for_those_pauses(
    hooks: Hooks, receiver: Receiver, waited: int, low: int, high: int
) -> None:
    hooks.add(receiver.url)
    receiver.answers = [status(500)]
    hooks.announce(event("e1"))
    hooks.waited = waited
    (pause,) = hooks.deliver()
    assert low <= pause <= high + 1


def test_the_last_try_is_when_the_day_is_over(hooks: Hooks, receiver: Receiver) -> None:
    hooks.add(receiver.url)
    receiver.answers = [status(500)]
    hooks.announce(event("e1"))
    hooks.waited = DAY_SECONDS - 600
    (pause,) = hooks.deliver()
    assert 595 <= pause <= 600


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(("asked", "low", "high"), [("90", 88, 90), ("999999", 3598, 3600), ("0", 4, 6)])
def test_retry_after_is_heeded_within_bounds_and_by_the_whole_webhook(
    hooks: Hooks, receiver: Receiver, code: int, asked: str, low: int, high: int
) -> None:
    hooks.add(receiver.url)
    receiver.answers = [status(code, Retry_After=asked)]
    hooks.announce(event("e1"))
    (pause,) = hooks.deliver()
    assert low <= pause <= high
    hooks.announce(event("e2", job="j2"))
    assert [low <= pause <= high for pause in hooks.deliver()] == [True, True]
    assert receiver.events() == ["e1"]


def test_retry_after_may_be_a_date_and_nonsense_is_passed_over(hooks: Hooks, receiver: Receiver) -> None:
    hooks.add(receiver.url)
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 300))
    receiver.answers = [status(429, Retry_After="soon"), status(429, Retry_After=date)]
    hooks.announce(event("e1"))
    assert 4 <= hooks.deliver()[0] <= 6
    assert 290 <= hooks.deliver()[0] <= 300


def test_410_disables_a_webhook_until_it_is_asked_to_send_again(hooks: Hooks, receiver: Receiver) -> None:
    webhook = hooks.add(receiver.url)
    receiver.answers = [status(410)]
    hooks.announce(event("e1"), event("e2", action="JobFinished"))
    assert hooks.deliver() == []
    (listed,) = hooks.listed()
    assert (listed["state"], listed["reason"]) == ("disabled", "it answered 410 Gone")
    assert receiver.events() == ["e1"]
    failures = hooks.failures(webhook).body
    assert [failure["event"]["eventID"] for failure in failures] == ["e1", "e2"]
    assert "410" in failures[0]["reason"]
    assert "disabled" in failures[1]["reason"]
    hooks.announce(event("e3"))
    hooks.deliver()
    assert receiver.events() == ["e1"]

    assert hooks.retry(webhook).body == {"sent": 2}
    hooks.deliver(3)
    assert receiver.events() == ["e1", "e1", "e2"]
    assert hooks.listed()[0]["state"] == "enabled"
    assert hooks.failures(webhook).body == []


# Order


def test_a_jobs_events_arrive_in_order_whatever_fails(hooks: Hooks, receiver: Receiver) -> None:
    hooks.add(receiver.url)
    receiver.answers = [status(500), half_an_answer, status(200), silence, status(502), status(200), status(500)]
    hooks.announce(event("e1"), event("e2"), event("e3"))
    hooks.deliver(12)
    order = list(dict.fromkeys(receiver.events()))
    assert order == ["e1", "e2", "e3"]
    assert receiver.events() == sorted(receiver.events())
    assert hooks.left() == 0


def test_what_the_bus_shuffled_is_put_in_order(hooks: Hooks, receiver: Receiver) -> None:
    hooks.add(receiver.url)
    hooks.announce(event("e3", action="JobFinished"), event("e1"), event("e2"))
    hooks.deliver(3)
    assert receiver.events() == ["e1", "e2", "e3"]


def test_what_came_apart_is_put_in_order_when_it_is_delivered(hooks: Hooks, receiver: Receiver) -> None:
    hooks.add(receiver.url)
    receiver.answers = [status(500)]
    for n in (3, 1, 2):
        hooks.announce(event(f"e{n}"))
    first, *later = hooks.deliver()
    assert sorted([first, *later])[:2] == [0, 0]
    hooks.deliver(3)
    assert receiver.events() == ["e1", "e1", "e2", "e3"]


def test_what_follows_a_failure_in_its_job_waits_for_it_alone(hooks: Hooks, receiver: Receiver) -> None:
    hooks.add(receiver.url)
    receiver.answers = [status(500)]
    hooks.announce(event("e1"), event("e2"), event("e3"))
    first, *later = hooks.deliver()
    assert 4 <= first <= 6
    assert later == [0, 0]


def test_a_receiver_that_is_slow_or_broken_delays_no_other(hooks: Hooks, receiver: Receiver) -> None:
    with running() as other:
        hooks.add(receiver.url)
        hooks.add(other.url)
        receiver.always = lambda post: silence
        hooks.announce(event("e1"), event("e2"), event("e3", job="j2"))
        began = time.monotonic()
        hooks.deliver()
        assert time.monotonic() - began < 1.4
        assert sorted(other.events()) == ["e1", "e2", "e3"]


def test_an_event_its_receiver_cannot_read_stops_its_job_and_no_other(hooks: Hooks, receiver: Receiver) -> None:
    hooks.add(receiver.url)
    receiver.always = lambda post: status(500) if post.event["eventID"] == "e1" else None
    hooks.announce(event("e1"), event("e2"))
    for n in range(10, 20):
        hooks.announce(event(f"e{n}", job=f"j{n}"))
        hooks.deliver(3)
    arrived = receiver.events()
    assert {f"e{n}" for n in range(10, 20)} <= set(arrived)
    assert "e2" not in arrived


def test_a_receiver_that_takes_nothing_is_left_alone_as_a_whole(hooks: Hooks, receiver: Receiver) -> None:
    hooks.add(receiver.url)
    receiver.always = lambda post: status(500)
    hooks.announce(*(event(f"e{n}", job=f"j{n}") for n in range(10)))
    hooks.deliver()
    tried = len(receiver.posts)
    hooks.announce(*(event(f"e{n}", job=f"j{n}") for n in range(10, 40)))
    for _ in range(4):
        hooks.deliver()
    assert tried <= len(receiver.posts) <= tried + 10
    assert hooks.listed()[0]["pausedUntilMs"]
    assert hooks.left() == 40


# Giving up


def test_after_a_day_a_delivery_is_listed_with_the_reason_and_can_be_sent_again(
    hooks: Hooks, receiver: Receiver
) -> None:
    webhook = hooks.add(receiver.url)
    receiver.answers = [status(500), status(503)]
    hooks.announce(event("e1"), event("e2"))
    hooks.deliver()
    assert hooks.failures(webhook).body == []
    hooks.waited = DAY_SECONDS + 1
    assert hooks.deliver() == []
    assert hooks.left() == 0
    assert receiver.events() == ["e1", "e1", "e2"]
    (failure,) = hooks.failures(webhook).body
    assert failure["event"] == event("e1")
    assert failure["reason"] == "it answered 503"
    assert failure["failedMs"] > 0

    hooks.waited = 0
    answer = hooks.retry(webhook)
    assert (answer.status, answer.body) == (202, {"sent": 1})
    hooks.deliver()
    assert receiver.events()[-1] == "e1"
    Verifier(webhook["secret"]).verify(receiver.posts[-1].body, receiver.posts[-1].headers)
    assert hooks.failures(webhook).body == []


def test_a_delivery_that_was_not_tried_for_its_receivers_sake_is_given_up_with_that_reason(
    hooks: Hooks, receiver: Receiver
) -> None:
    webhook = hooks.add(receiver.url)
    receiver.answers = [status(429, Retry_After="600")]
    hooks.announce(event("e1"))
    hooks.deliver()
    hooks.waited = DAY_SECONDS + 1
    hooks.deliver()
    (failure,) = hooks.failures(webhook).body
    assert failure["reason"] == "not tried, as its receiver takes nothing; last: it answered 429"
    assert len(receiver.posts) == 1


def test_failures_come_in_pages_by_the_time_of_their_events(hooks: Hooks, receiver: Receiver) -> None:
    webhook = hooks.add(receiver.url)
    receiver.always = lambda post: status(500)
    hooks.waited = DAY_SECONDS + 1
    hooks.announce(*(event(f"e{n:02}", job=f"j{n}") for n in range(12)))
    hooks.deliver(3)
    found, query = [], {"limit": "5"}
    while True:
        answer = hooks.failures(webhook, **query)
        found += [failure["event"]["eventID"] for failure in answer.body]
        if "Link" not in answer.headers:
            break
        after = answer.headers["Link"].split("after=")[1].split(">")[0].replace("%23", "#")
        query["after"] = after
    assert found == [f"e{n:02}" for n in range(12)]
    assert hooks.failures(webhook, after="nonsense").status == 400


def test_a_fault_of_our_own_loses_nothing(hooks: Hooks, receiver: Receiver) -> None:
    hooks.add(receiver.url)
    hooks.announce(event("e1"))

    def refuse(operation: str, asked: dict[str, Any]) -> Any:
        if operation == "GetItem":
            raise throttled(operation)

    with pytest.MonkeyPatch.context() as patch, every_call(refuse, patch):
        assert hooks.deliver() == [60]
    assert hooks.deliver() == []
    assert receiver.events() == ["e1"]


def test_an_event_that_the_queue_refuses_comes_again(hooks: Hooks, receiver: Receiver) -> None:
    hooks.add(receiver.url)

    def refuse(operation: str, asked: dict[str, Any]) -> Any:
        if operation == "SendMessageBatch":
            raise throttled(operation)

    with pytest.MonkeyPatch.context() as patch, every_call(refuse, patch):
        assert hooks.announce(event("e1"), event("e2"), event("e3", user="bob")) == ["m0", "m1"]
    hooks.announce(event("e1"), event("e2"))
    hooks.announce(event("e1"), event("e2"))
    hooks.deliver(3)
    assert receiver.events() == ["e1", "e2"]


def test_what_is_no_event_is_dropped(hooks: Hooks) -> None:
    assert hooks.announce({"no": "event"}, 5) == []


def test_what_is_on_its_way_to_a_webhook_that_was_removed_ends(hooks: Hooks, receiver: Receiver) -> None:
    webhook = hooks.add(receiver.url)
    hooks.announce(event("e1"))
    assert call(hooks.api, routes.REMOVE_WEBHOOK, parameters={"webhookID": webhook["webhookID"]}).status == 200
    assert hooks.deliver() == []
    assert receiver.posts == []
    assert hooks.left() == 0


# The routes


def test_a_webhook_is_made_listed_and_removed_and_its_secret_shown_once(hooks: Hooks, receiver: Receiver) -> None:
    made = hooks.add(receiver.url, "JobFinished", "JobFailed", "JobFinished")
    assert is_secret(made["secret"])
    (listed,) = hooks.listed()
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert (listed["state"], listed["reason"], listed["actions"]) == ("enabled", None, ["JobFailed", "JobFinished"])
    assert hooks.listed("bob") == []
    removed = call(hooks.api, routes.REMOVE_WEBHOOK, parameters={"webhookID": made["webhookID"]})
    assert (removed.status, removed.body) == (200, {"webhookID": made["webhookID"]})
    assert hooks.listed() == []
    for route in (routes.REMOVE_WEBHOOK, routes.WEBHOOK_FAILURES, routes.RETRY_WEBHOOK):
        assert call(hooks.api, route, parameters={"webhookID": made["webhookID"]}).status == 404


def test_every_fault_is_told_at_once_and_no_secret_with_it(hooks: Hooks) -> None:
    body = {
        "userID": "a b",
        "url": "https://u:p@example.com/",
        "actions": ["JobProgress"],
        "secret": "whsec_hush",
        "x": 1,
    }
    answer = call(hooks.api, routes.ADD_WEBHOOK, body)
    assert answer.status == 422
    assert [fault["pointer"] for fault in answer.body["errors"]] == ["/actions/0", "/secret", "/url", "/userID", "/x"]
    assert "hush" not in json.dumps(answer.body)
    missing = call(hooks.api, routes.ADD_WEBHOOK, {"actions": []})
    assert {fault["pointer"] for fault in missing.body["errors"]} == {"/userID", "/url", "/actions"}
    assert call(hooks.api, routes.ADD_WEBHOOK, "nonsense").status == 400
    assert call(hooks.api, routes.WEBHOOKS).status == 400


@pytest.mark.parametrize("secret", ["whsec_", "whsec_c2hvcnQ=", "nothing", "whsec_" + "A" * 200, "whsec_" + "*" * 40])
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    assert not is_secret(secret)


def test_a_user_has_so_many_webhooks(hooks: Hooks, receiver: Receiver) -> None:
    for _ in range(20):
        hooks.add(receiver.url)
    body = {"userID": "ann", "url": receiver.url, "actions": ["JobStart"]}
    assert call(hooks.api, routes.ADD_WEBHOOK, body).status == 409


def test_no_secret_is_in_what_is_logged_of_a_webhook() -> None:
    webhook: Webhook = new("ann", "https://example.com/", ["JobStart"])
    assert webhook.secret not in f"{webhook} {webhook!r} {[webhook]}"


# Where they may go


@pytest.mark.parametrize(
    ("url", "found", "said"),
    [
        ("https://127.0.0.1/", None, "no public address"),
        ("https://169.254.169.254/latest/", None, "no public address"),
        ("https://[::ffff:10.0.0.1]/", None, "no public address"),
        ("https://[fd00:ec2::254]/", None, "no public address"),
        ("https://2130706433/", None, "127.0.0.1, which is no public address"),
        ("https://0x7f.1/", None, "127.0.0.1, which is no public address"),
        ("https://inside.test/", ["10.1.2.3"], "10.1.2.3, which is no public address"),
        ("https://inside.test/", ["93.184.215.14", "192.168.0.1"], "192.168.0.1, which is no public address"),
        ("https://inside.test/", ["64:ff9b::a9fe:a9fe"], "no public address"),
        ("https://nowhere.test/", [], "can't be resolved"),
        ("http://outside.test/", ["93.184.215.14"], "use https"),
    ],
)
def test_an_address_that_is_not_public_is_refused_when_it_is_given(
    hooks: Hooks, resolver: dict[str, list[list[str]]], url: str, found: list[str] | None, said: str
) -> None:
    if found is not None:
        resolver[url.split("/")[2]] = [found]
    answer = call(hooks.strict, routes.ADD_WEBHOOK, {"userID": "ann", "url": url, "actions": ["JobStart"]})
    assert answer.status == 422
    (fault,) = answer.body["errors"]
    assert fault["pointer"] == "/url"
    assert said in fault["detail"]


def test_an_address_that_is_public_is_taken(hooks: Hooks, resolver: dict[str, list[list[str]]]) -> None:
    resolver["outside.test"] = [["93.184.215.14", "2606:4700::1"]]
    body = {"userID": "ann", "url": "https://outside.test/", "actions": ["JobStart"]}
    assert call(hooks.strict, routes.ADD_WEBHOOK, body).status == 201


def test_an_address_that_is_not_allowed_any_more_is_refused_at_delivery(hooks: Hooks, receiver: Receiver) -> None:
    hooks.add(receiver.url)
    hooks.announce(event("e1"))
    assert len(hooks.deliver(strict=True)) == 1
    assert receiver.posts == []
    assert "no public address" in hooks.listed()[0]["lastFailure"]


def test_a_name_that_is_led_elsewhere_in_between_gets_nothing(
    receiver: Receiver, resolver: dict[str, list[list[str]]]
) -> None:
    resolver["rebound.test"] = [["127.0.0.1"], ["10.0.0.1"], ["10.0.0.1"]]
    courier = Courier(networks(LOOPBACK), LIMITS)
    url = f"http://rebound.test:{receiver.server_port}/"
    courier.post(url, new("a", url, []).secret, "e1", b"{}")
    assert receiver.posts[0].headers["host"] == f"rebound.test:{receiver.server_port}"
    assert len(resolver["rebound.test"]) == 2  # it was asked once
    with pytest.raises(Undeliverable, match=r"10\.0\.0\.1, which is no public address"):
        courier.post(url, new("a", url, []).secret, "e1", b"{}")
    assert len(receiver.posts) == 1


def test_a_second_address_is_tried_where_the_first_does_not_answer(
    receiver: Receiver, resolver: dict[str, list[list[str]]]
) -> None:
    resolver["two.test"] = [["127.0.0.9", "127.0.0.1"]]
    url = f"http://two.test:{receiver.server_port}/"
    Courier(networks(LOOPBACK), LIMITS).post(url, new("a", url, []).secret, "e1", b"{}")
    assert len(receiver.posts) == 1


def test_a_certificate_is_verified_against_the_name_though_the_address_is_pinned(
    resolver: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver |= {"right.test": [["127.0.0.1"]], "wrong.test": [["127.0.0.1"]]}
    authority = trustme.CA()
    served, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("right.test").configure_cert(served)
    authority.configure_trust(trust)
    monkeypatch.setattr(delivery, "_trust", lambda: trust)
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


def test_events_are_put_ten_a_call_and_progress_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    events = [event(f"e{n}") for n in range(12)] + [event("p", action="JobProgress")]
    assert Bus("bus").put(encoded(*events)) == {}
    assert calls.told == [[f"e{n}" for n in range(10)], ["e10", "e11"]]
    entry = calls.sent[0][0]
    assert (entry["EventBusName"], entry["Source"], entry["DetailType"]) == ("bus", "elasticrecode", "JobStart")
    assert json.loads(entry["Detail"]) == events[0]


def test_entries_that_fail_are_put_again_and_those_that_never_can_told(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_user_that_is_called_like_a_webhook_stops_no_other(hooks: Hooks, receiver: Receiver) -> None:
    webhook = hooks.add(receiver.url)
    stranger = f"#{webhook['webhookID']}"
    assert call(hooks.api, routes.WEBHOOKS, query={"userID": stranger}).body == []
    assert hooks.announce(event("e1") | {"userID": stranger}, event("e2")) == []
    hooks.deliver()
    assert len(receiver.posts) == 1
