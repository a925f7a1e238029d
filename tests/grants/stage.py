"""The deployed stack as exercises see it: state is prepared and looked at with the account's rights."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import msgspec

from elasticrecode.batches.store import BatchesTable
from elasticrecode.contract import settings
from elasticrecode.jobs.events import Event, control_event
from elasticrecode.jobs.items import Accepted
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.placement import Choice
from elasticrecode.jobs.store import JobsTable
from elasticrecode.lists.pages import JobLists
from elasticrecode.runtime import S
from elasticrecode.watch.connections import ConnectionsTable
from elasticrecode.watch.feed import Feed
from elasticrecode.webhooks.store import WebhooksTable
from elasticrecode.workers.fleet import Snapshot
from elasticrecode.workers.registry import Registry
from local import users
from local.processes import AWS
from tests.conftest import contract
from tests.e2e.conftest import Deployed

_SECONDS = 8.0
"""So long an effect is waited for that comes by way of a queue or a stream; the embedded AWS looks each second."""
_LOGGED_SECONDS = 0.5
_KEPT = 86_400
_TAKEN_AWAY = ("/ministack-lambda-", "Failed to resolve layer", "Failed to extract layer")
"""One of these is in the fault of a function that was configured anew while the embedded AWS was starting it."""
_WORKERS = "worker-"


class Missed(AssertionError):
    """What should have come of an exercise did not."""


class Stage:
    """Calls functions, and has their tables and queues."""

    patience = 8
    """How many times as long as on an idle machine an effect is waited for. Where it is not to come, once is enough."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self.stack = deployed.stack
        self.sqs, self.s3, self.bucket = deployed.sqs, deployed.s3, deployed.bucket
        self._lambda = self._client("lambda")
        self.iam = self._client("iam")
        self.events = self._client("events")
        self.secrets = self._client("secretsmanager")
        self.functions = deployed.functions
        reconciling = self.settings("reconcile", settings.ReconcileSettings)
        watching = self.settings("push", settings.WatchersSettings)
        self.queues = reconciling.queues
        self.jobs = JobsTable(reconciling.jobs_table)
        self.lists = JobLists(reconciling.jobs_table)
        self.registry = Registry(reconciling.registry_table, self.queues)
        self.registry_table = reconciling.registry_table
        self.batches = BatchesTable(self.stack["BatchesTable"], _KEPT)
        self.feed = Feed(watching.feed_table, _KEPT)
        self.feed_table = watching.feed_table
        self.connections = ConnectionsTable(watching.connections_table)
        self.webhooks = WebhooksTable(self.settings("deliver", settings.DeliverSettings).webhooks_table)
        self.tallies = self.settings("expand", settings.ExpandSettings).tally_queue
        self.pages = self.settings("expand", settings.ExpandSettings).pages_queue
        self.surveys = self.settings("survey", settings.SurveySettings).surveys_queue

    def _client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self.deployed.place.aws_url)  # type: ignore[call-overload]

    def settings(self, function: str, kind: type[S]) -> S:
        """What a function was told."""
        found = self._lambda.get_function_configuration(FunctionName=self.functions[function])
        return kind.read(found["Environment"]["Variables"])

    def denied_since(self, size: int, role: str, action: str) -> bool:
        """Whether the embedded AWS has denied a role an action since its log had this size.

        The supervisor writes the log a moment later.
        """
        until = time.monotonic() + _LOGGED_SECONDS
        while True:
            with self.log.open(errors="replace") as log:
                log.seek(size)
                if f"denied: {role} may not {action} on " in log.read():
                    return True
            if time.monotonic() > until:
                return False
            time.sleep(0.1)

    @property
    def log(self) -> Path:
        """What the embedded AWS says."""
        return self.deployed.supervisor.log(AWS)

    # Functions

    def role(self, function: str) -> str:
        """The name of a function's role."""
        found = self._lambda.get_function_configuration(FunctionName=self.functions[function])
        return str(found["Role"].rsplit("/", 1)[-1])

    def cold(self, function: str) -> None:
        """Let a function remember nothing: what is configured anew starts anew."""
        name = self.functions[function]
        same = self._lambda.get_function_configuration(FunctionName=name)["MemorySize"]
        self._lambda.update_function_configuration(FunctionName=name, MemorySize=same)

    def invoke(self, function: str, event: Any) -> Any:
        """What a function answers. Missed when it fails."""
        answer = self._lambda.invoke(FunctionName=self.functions[function], Payload=json.dumps(event))
        content = json.load(answer["Payload"])
        if "FunctionError" not in answer:
            return content
        reason = str(content.get("errorMessage"))
        if any(fault in reason for fault in _TAKEN_AWAY):
            return self.invoke(function, event)
        raise Missed(f"{function} failed: {reason}")

    def hand(self, function: str, *bodies: Any, **attributes: str) -> None:
        """Give a function messages as SQS does. Missed when it fails, or wants them again."""
        attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": f"{now_ms()}"} | attributes
        records = [
            {
                "messageId": new(),
                "receiptHandle": "none",
                "body": body if isinstance(body, str) else msgspec.json.encode(body).decode(),
                "attributes": attributes,
            }
            for body in bodies
        ]
        answer = self.invoke(function, {"Records": records})
        if answer and answer["batchItemFailures"]:
            raise Missed(f"{function} wants {len(answer['batchItemFailures'])} of {len(bodies)} messages again")

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        user: str = users.OPERATOR,
    ) -> Any:
        """What the API answers a user. Missed unless it was done."""
        status, answer, _ = self.deployed.call(method, f"/api/v1{path}", body, headers, user=user)
        if status >= 400:
            raise Missed(f"{method} {path} answers {status}: {answer}")
        return answer

    # Jobs and events

    def request(self, user: str, **more: Any) -> dict[str, Any]:
        """A request for a job."""
        places = {"input": f"s3://{self.bucket}/none/in.mp4", "output": f"s3://{self.bucket}/none/out/"}
        request: dict[str, Any] = contract("job") | places | {"userid": user} | more
        return request

    def job(self, queue: str = "ffmpeg_job", user: str = "", job_id: str = "") -> Job:
        """A job that was accepted for a queue."""
        scoring = queue.startswith("vmaf")
        asked: dict[str, Any] = contract("queue_message") | {"jobid": job_id or new(), "userid": user or new()}
        if scoring:
            asked |= {"origin": asked["input"], "profile": {"vmaf": {"scale": "240:-2"}}}
        job = msgspec.convert(asked, Job)
        self.jobs.accept([Accepted(job, Choice(queue, "for an exercise"), now_ms())], _KEPT)
        return job

    def told(self, action: str, user: str) -> Event:
        """An event in the feed, of a job that has a record."""
        return control_event(action, user, self.job(user=user).jobid, now_ms())

    def chunk(self, event: Event) -> dict[str, Any]:
        """A record of the feed's stream, of a chunk that was written with an event."""
        self.feed.append([event])
        key = {"feed": {"S": "events"}, "seq": {"N": str(self.feed.head())}}
        item = self.deployed.dynamodb.get_item(TableName=self.feed_table, Key=key, ConsistentRead=True)["Item"]
        return {"Records": [{"dynamodb": {"SequenceNumber": "1", "NewImage": _wired(item)}}]}

    # Queues, and waiting

    def empty(self, url: str) -> None:
        """Take everything from a queue."""
        while letters := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get(
            "Messages"
        ):
            for letter in letters:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=letter["ReceiptHandle"])

    def held(self, url: str) -> int:
        """How many messages a queue holds, those in somebody's hands too."""
        held = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return int(held["ApproximateNumberOfMessages"]) + int(held["ApproximateNumberOfMessagesNotVisible"])

    def find(self, url: str, text: str) -> None:
        """Take messages from a queue until one has a text in it. Missed when none comes."""

        def found() -> bool:
            letters = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
            taken = letters.get("Messages", ())
            for letter in taken:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=letter["ReceiptHandle"])
            return any(text in letter["Body"] for letter in taken)

        self.until(found, f"a message with {text}", 2 * _SECONDS)

    def until(self, condition: Callable[[], Any], what: str, seconds: float = _SECONDS) -> Any:
        """Wait until the condition gives something. Missed when it does not in time."""
        until = time.monotonic() + seconds * self.patience
        while not (found := condition()):
            if time.monotonic() > until:
                raise Missed(f"{what} did not happen within {seconds * self.patience:.0f} s")
            time.sleep(0.05)
        return found

    def known(self) -> Snapshot:
        """What the registry has."""
        return self.registry.read()

    def forget(self, name: str) -> None:
        """Take a document out of the registry."""
        key = {"part": {"S": "registry"}, "name": {"S": name}}
        self.deployed.dynamodb.delete_item(TableName=self.registry_table, Key=key)

    @contextmanager
    def queue(self, name: str) -> Iterator[str]:
        """The URL of a queue that is there for a while."""
        url = str(self.sqs.create_queue(QueueName=name)["QueueUrl"])
        try:
            yield url
        finally:
            self.sqs.delete_queue(QueueUrl=url)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """No worker takes jobs meanwhile, and nothing runs each minute."""
        rules = [name for name in self.deployed.resources("AWS::Events::Rule").values() if "EveryMinute" in name]
        names_ = [name for name in self.deployed.supervisor.pids() if name.startswith(_WORKERS)]
        for name in rules:
            self.events.disable_rule(Name=name)
        for name in names_:
            self.deployed.supervisor._ask("stopProcess", name)
        try:
            yield
        finally:
            for group in self.queues.values():
                for url in group.values():
                    self.empty(url)
            for name in names_:
                self.deployed.supervisor._ask("startProcess", name)
            for name in rules:
                self.events.enable_rule(Name=name)


def new() -> str:
    """A name that nothing has."""
    return str(uuid.uuid4())


def now_ms() -> int:
    """The time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def _wired(item: dict[str, Any]) -> dict[str, Any]:
    """An item as a stream's record has it."""
    return {name: {"B": msgspec.to_builtins(value["B"])} if "B" in value else value for name, value in item.items()}
