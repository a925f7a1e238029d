"""SQS queues: sending, receiving and deleting messages, ten a call."""

import hashlib
import logging
import random
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from elasticrecode.aws.clients import PARALLEL, batched, client, code, refusals, side_by_side
from elasticrecode.errors import Unavailable

_log = logging.getLogger(__name__)

_CALL_MESSAGES = 10
_ROUNDS = 4
_BACKOFF_SECONDS = 0.05
_VISIBLE = "ApproximateNumberOfMessages"
_DELAYED = "ApproximateNumberOfMessagesDelayed"
_IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"
_ESCAPED = {0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}
"""Characters that SQS takes in no message, as JSON may say them, which all messages are."""
_FIFO_ID = re.compile(r"[\w!-/:-@[-`{-~]{1,128}", re.ASCII)
"""A MessageGroupId or MessageDeduplicationId: 1 to 128 ASCII letters, digits and punctuation marks."""


class Message(NamedTuple):
    """A message for a queue; `key` is the sender's own name for it.

    Of the messages on a queue those whose `group` has few in workers' hands come first: SQS's fair queues.
    """

    key: str
    url: str
    body: str
    attributes: Mapping[str, str] = {}
    group: str = ""
    deduplication: str = ""
    """For a FIFO queue: within five minutes it takes one message of a group with this id."""


class Sender:
    """Sends messages to any number of queues."""

    def __init__(self) -> None:
        self._sqs = client("sqs")

    def send(self, messages: Sequence[Message]) -> dict[str, str]:
        """Send, ten a call, several calls at once. Key → reason of the messages that retries could not send."""
        by_queue: dict[str, list[Message]] = {}
        for message in messages:
            by_queue.setdefault(message.url, []).append(message)
        calls = [call for url in by_queue for call in batched(by_queue[url], _CALL_MESSAGES)]
        return {key: reason for failed in side_by_side(self._send_call, calls) for key, reason in failed.items()}

    def hand(self, url: str, documents: Sequence[Struct], group: str = "") -> None:
        """Send documents as JSON to one queue, all of them. Unavailable when some could not be sent."""
        messages = [
            Message(str(n), url, msgspec.json.encode(document).decode(), group=group)
            for n, document in enumerate(documents)
        ]
        reasons = sorted(set(self.send(messages).values()))
        if reasons:
            raise Unavailable(f"AWS could not take it while sending: {reasons[0]}. Try again in a moment.")

    def _send_call(self, messages: Sequence[Message]) -> dict[str, str]:
        waiting = dict(enumerate(messages))
        reasons: dict[str, str] = {}
        for round_ in range(_ROUNDS):
            try:
                with refusals("sending"):
                    answer = self._sqs.send_message_batch(
                        QueueUrl=messages[0].url, Entries=[_entry(n, message) for n, message in waiting.items()]
                    )
            except (Unavailable, self._sqs.exceptions.ClientError) as error:
                _log.exception("a queue takes no messages", extra={"queue": messages[0].url})
                return {message.key: code(error) for message in waiting.values()} | reasons
            failed = {int(entry["Id"]): entry for entry in answer.get("Failed", ())}
            reasons |= {waiting[n].key: entry["Code"] for n, entry in failed.items() if entry["SenderFault"]}
            waiting = {n: waiting[n] for n, entry in failed.items() if not entry["SenderFault"]}
            if not waiting:
                return reasons
            time.sleep(random.uniform(0.5, 1) * _BACKOFF_SECONDS * 2**round_)  # noqa: S311
        return {message.key: failed[n]["Code"] for n, message in waiting.items()} | reasons


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

    def counts(self, url: str) -> tuple[int, int] | None:
        """About how many messages wait on a queue, and how many are in flight; None when there is no such queue."""
        with refusals("looking at a queue"), suppress(self._sqs.exceptions.QueueDoesNotExist):
            answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[_VISIBLE, _DELAYED, _IN_FLIGHT])
            held = {name: int(count) for name, count in answer["Attributes"].items()}
            return held[_VISIBLE] + held[_DELAYED], held[_IN_FLIGHT]
        return None

    def url(self, name: str) -> str:
        """The URL of a queue of this account; empty when there is none."""
        with refusals("looking for a queue"), suppress(self._sqs.exceptions.QueueDoesNotExist):
            return str(self._sqs.get_queue_url(QueueName=name)["QueueUrl"])
        return ""

    def drain(self, url: str, limit: int) -> Iterator[list[Letter]]:
        """Up to about `limit` messages of a queue that nobody else reads, ten at a time, until it has none to give.

        They stay hidden for the queue's visibility timeout, unless they are removed.
        """
        for _ in range(-(-limit // _CALL_MESSAGES)):
            letters = self._receive(url, _CALL_MESSAGES)
            if not letters:
                return
            yield letters

    def take(self, url: str, limit: int, hidden_seconds: int) -> list[Letter]:
        """Up to `limit` messages of a queue, hidden for `hidden_seconds` unless they are removed or shown again."""
        counts = [
            min(_CALL_MESSAGES, limit - first)
            for first in range(0, min(limit, PARALLEL * _CALL_MESSAGES), _CALL_MESSAGES)
        ]
        taken = side_by_side(lambda count: self._receive(url, count, VisibilityTimeout=hidden_seconds), counts)
        return [letter for letters in taken for letter in letters]

    def remove(self, url: str, letters: Sequence[Letter]) -> None:
        """Delete messages. One that AWS keeps comes again; settling a letter twice is harmless."""
        with refusals("removing messages"):
            side_by_side(
                lambda some: self._sqs.delete_message_batch(QueueUrl=url, Entries=_handles(some)),
                list(batched(letters, _CALL_MESSAGES)),
            )

    def hide(self, url: str, handle: str, seconds: int) -> None:
        """Hide a message from other receivers for `seconds` from now."""
        with refusals("keeping a message"):
            self._sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=seconds)

    def show(self, url: str, letters: Sequence[Letter]) -> None:
        """Let messages be received again at once. One that AWS keeps hidden comes when its time is over."""
        with refusals("showing messages again"):
            side_by_side(
                lambda some: self._sqs.change_message_visibility_batch(
                    QueueUrl=url, Entries=[entry | {"VisibilityTimeout": 0} for entry in _handles(some)]
                ),
                list(batched(letters, _CALL_MESSAGES)),
            )

    def _receive(self, url: str, limit: int, **hidden: int) -> list[Letter]:
        with refusals("receiving"):
            answer = self._sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=0,
                MessageAttributeNames=["All"],
                AttributeNames=["ApproximateReceiveCount"],
                **hidden,
            )
        return [_letter(message) for message in answer.get("Messages", ())]


def failed_items(message_ids: Iterable[str]) -> dict[str, Any]:
    """A Lambda handler's answer that has SQS deliver these messages of its event again, and delete the others."""
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in message_ids]}


def _handles(letters: Sequence[Letter]) -> list[dict[str, Any]]:
    return [{"Id": str(n), "ReceiptHandle": letter.handle} for n, letter in enumerate(letters)]


def _letter(message: Mapping[str, Any]) -> Letter:
    given = message.get("MessageAttributes", {})
    attributes = {name: value["StringValue"] for name, value in given.items() if "StringValue" in value}
    receives = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
    return Letter(message["ReceiptHandle"], message["Body"], attributes, receives)


def _entry(number: int, message: Message) -> dict[str, Any]:
    attributes = {name: {"DataType": "String", "StringValue": text} for name, text in message.attributes.items()}
    ids = {"MessageGroupId": message.group, "MessageDeduplicationId": message.deduplication}
    body = message.body.translate(_ESCAPED)
    given = {name: _fifo_id(text) for name, text in ids.items() if text}
    return {"Id": str(number), "MessageBody": body, "MessageAttributes": attributes, **given}


def _fifo_id(text: str) -> str:
    """A MessageGroupId or MessageDeduplicationId for a text: the text itself where SQS takes it, else its hash."""
    return text if _FIFO_ID.fullmatch(text) else hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
