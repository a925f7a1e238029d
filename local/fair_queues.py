"""The embedded AWS, run with standard queues that are fair as those of SQS are; under its own interpreter.

Where it enforces IAM (`AUTH=true`), resources in policies may hold variables, see `policy_patterns`.

SQS gives first what belongs to message groups that have few messages in consumers' hands, so that nobody's many
messages keep another's one waiting. ministack keeps the groups, but gives messages as they were sent.
"""

import sys
import time
from collections import Counter
from typing import Any

from policy_patterns import matches  # type: ignore[import-not-found]

sys.path.pop(0)  # this folder, which is none of ministack's

from ministack.app import main  # type: ignore[import-not-found]
from ministack.core import iam_evaluator  # type: ignore[import-not-found]
from ministack.services import sqs  # type: ignore[import-not-found]

_in_order = sqs._collect_msgs  # noqa: SLF001


def _fairly(queue: dict[str, Any], most: int, hidden_seconds: int) -> Any:
    """Up to so many messages, of groups with the fewest in flight first."""
    if queue["is_fifo"]:
        return _in_order(queue, most, hidden_seconds)
    now = time.time()
    messages = queue["messages"]
    in_flight = Counter(
        message.get("group_id") for message in messages if message["visible_at"] > now and message.get("receive_count")
    )
    in_flight[None] = 0
    ordered = sorted(messages, key=lambda message: in_flight[message.get("group_id")])
    return _in_order({**queue, "messages": ordered}, most, hidden_seconds)


def _first_match(asked: Any, statements: list[Any], effect: str) -> Any:
    """The first statement of a policy that is about a request, with the variables in its resources."""
    for each in statements:
        known = asked.principal_keys
        about = (
            matches(asked.resource_arn, each.resources, known)
            if each.resources
            else not matches(asked.resource_arn, each.not_resources, known)
        )
        if (
            each.effect == effect
            and about
            and iam_evaluator._action_matches(asked.action, each.actions, each.not_actions)  # noqa: SLF001
            and iam_evaluator._conditions_met(each.conditions, asked)  # noqa: SLF001
        ):
            return each
    return None


iam_evaluator._first_match = _first_match  # noqa: SLF001
sqs._collect_msgs = _fairly  # noqa: SLF001

if __name__ == "__main__":
    sys.exit(main())
