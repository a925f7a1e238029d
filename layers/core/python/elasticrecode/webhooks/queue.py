"""The queue of deliveries: SQS FIFO, with one message group for each webhook and job."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from elasticrecode.aws.clients import batched, client, refusals, side_by_side
from elasticrecode.aws.sqs import Message, Sender
from elasticrecode.jobs.events import Event
from elasticrecode.webhooks.webhook import Delivery, EventHead

_CALL_MESSAGES, _CALL_BYTES = 10, 240 * 1024


class Addressed(NamedTuple):
    """A delivery with its event, which gives the message its group and its deduplication id."""

    delivery: Delivery
    event: EventHead | Event

    def message(self, key: str, url: str) -> Message:
        """The message for the queue. SQS discards a second one for the same event within five minutes."""
        return Message(
            key,
            url,
            msgspec.json.encode(self.delivery).decode(),
            group=f"{self.delivery.webhookID}/{self.event.jobID}",
            deduplication=f"{self.delivery.webhookID}/{self.event.position}/{self.delivery.again}",
        )


class Deliveries:
    """Sends to the deliveries queue and puts received messages off."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sender = Sender()
        self._sqs = client("sqs")

    def send(self, deliveries: Mapping[str, Addressed]) -> dict[str, str]:
        """Send deliveries, each under any key. Returns key → reason of those that SQS did not take.

        The deliveries of one webhook and job go in the order of the mapping, each after SQS took the one before it; all
        that follow one that failed fail with it. Those of other webhooks and jobs go side by side, ten a call.
        """
        groups: dict[str, list[Message]] = {}
        for key, addressed in deliveries.items():
            message = addressed.message(key, self._url)
            groups.setdefault(message.group, []).append(message)
        failed: dict[str, str] = {}
        while groups:
            answers = side_by_side(self._sender.send, list(_calls([messages[0] for messages in groups.values()])))
            refused = {key: reason for answer in answers for key, reason in answer.items()}
            for messages in groups.values():
                reason = refused.get(messages[0].key)
                if reason is not None:
                    failed |= {message.key: reason for message in messages}
            groups = {
                group: messages[1:]
                for group, messages in groups.items()
                if len(messages) > 1 and messages[0].key not in refused
            }
        return failed

    def hide(self, seconds: Mapping[str, float]) -> None:
        """Set when received messages, named by receipt handle, can be received again: seconds from now, 0 for at once.

        Raises Unavailable when AWS refuses.
        """
        for some in batched(list(seconds.items()), _CALL_MESSAGES):
            entries = [
                {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": max(0, round(wait))}
                for n, (handle, wait) in enumerate(some)
            ]
            with refusals("putting deliveries off"):
                self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)


def _calls(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Runs of messages, each small enough for one call."""
    call: list[Message] = []
    size = 0
    for message in messages:
        bytes_ = len(message.body.encode())
        if call and (len(call) == _CALL_MESSAGES or size + bytes_ > _CALL_BYTES):
            yield call
            call, size = [], 0
        call.append(message)
        size += bytes_
    if call:
        yield call
