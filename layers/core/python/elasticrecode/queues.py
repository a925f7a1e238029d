"""SQS queues: sending, and draining dead letters, in batches."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from elasticrecode.aws import batched, client, refusals, side_by_side
from elasticrecode.errors import Unavailable

_BATCH = 10
_ROUNDS = 4
_BACKOFF_SECONDS = 0.05
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class Message(NamedTuple):
    """A message for a queue; `key` is the sender's own name for it."""

    key: str
    url: str
    body: str
    attributes: Mapping[str, str] = {}


class Sender:
    """Sends messages to any number of queues."""

    def __init__(self) -> None:
        self._sqs = client("sqs")

    def send(self, messages: Sequence[Message]) -> dict[str, str]:
        """Send, ten a call, several calls at once. Key → reason of what could not be sent after retries."""
        by_queue: dict[str, list[Message]] = {}
        for message in messages:
            by_queue.setdefault(message.url, []).append(message)
        batches = [batch for url in by_queue for batch in batched(by_queue[url], _BATCH)]
        return {key: reason for failed in side_by_side(self._send_batch, batches) for key, reason in failed.items()}

    def _send_batch(self, messages: Sequence[Message]) -> dict[str, str]:
        waiting = dict(enumerate(messages))
        reasons: dict[str, str] = {}
        for round_ in range(_ROUNDS):
            try:
                with refusals("sending"):
                    answer = self._sqs.send_message_batch(
                        QueueUrl=messages[0].url, Entries=[_entry(n, message) for n, message in waiting.items()]
                    )
            except (Unavailable, self._sqs.exceptions.ClientError) as error:
                return {message.key: str(error) for message in waiting.values()} | reasons
            failed = {int(entry["Id"]): entry for entry in answer.get("Failed", ())}
            reasons |= {waiting[n].key: _reason(entry) for n, entry in failed.items() if entry["SenderFault"]}
            waiting = {n: waiting[n] for n, entry in failed.items() if not entry["SenderFault"]}
            if not waiting:
                return reasons
            time.sleep(random.uniform(0.5, 1) * _BACKOFF_SECONDS * 2**round_)  # noqa: S311
        return {message.key: _reason(failed[n]) for n, message in waiting.items()} | reasons


class Letter(NamedTuple):
    """A message received; `receives` counts all receives of it, on the queue it came from too."""

    handle: str
    body: str
    attributes: Mapping[str, str]
    receives: int


class Receiver:
    """The receiving side of queues. Raises Unavailable when AWS refuses."""

    def __init__(self) -> None:
        self._sqs = client("sqs")

    def is_empty(self, url: str) -> bool:
        """Whether a queue holds nothing: no message that waits, is delayed or is in somebody's hands."""
        with refusals("looking at a queue"):
            answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS))
        return not any(int(answer["Attributes"][name]) for name in _COUNTS)

    def batches(self, url: str, limit: int) -> Iterator[list[Letter]]:
        """Up to about `limit` messages of a queue that nobody else reads, ten at a time, until it has none to give."""
        for _ in range(-(-limit // _BATCH)):
            with refusals("receiving"):
                answer = self._sqs.receive_message(
                    QueueUrl=url,
                    MaxNumberOfMessages=_BATCH,
                    WaitTimeSeconds=0,
                    MessageAttributeNames=["All"],
                    AttributeNames=["ApproximateReceiveCount"],
                )
            if not answer.get("Messages"):
                return
            yield [_letter(message) for message in answer["Messages"]]

    def remove(self, url: str, letters: Sequence[Letter]) -> None:
        """Delete messages. One that AWS keeps comes again; settling a letter twice is harmless."""
        entries = [{"Id": str(n), "ReceiptHandle": letter.handle} for n, letter in enumerate(letters)]
        with refusals("removing messages"):
            self._sqs.delete_message_batch(QueueUrl=url, Entries=entries)


def _letter(message: Mapping[str, Any]) -> Letter:
    given = message.get("MessageAttributes", {})
    attributes = {name: value["StringValue"] for name, value in given.items() if "StringValue" in value}
    receives = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
    return Letter(message["ReceiptHandle"], message["Body"], attributes, receives)


def _entry(number: int, message: Message) -> dict[str, Any]:
    attributes = {name: {"DataType": "String", "StringValue": text} for name, text in message.attributes.items()}
    return {"Id": str(number), "MessageBody": message.body, "MessageAttributes": attributes}


def _reason(entry: Mapping[str, Any]) -> str:
    return f"{entry['Code']}: {entry.get('Message', '')}"
