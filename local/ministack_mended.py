"""The embedded AWS, run with what ministack does otherwise than AWS mended; under its own interpreter.

- Standard queues are fair as those of SQS are: what belongs to message groups with few messages in consumers' hands
  comes first, so that nobody's many messages keep another's one waiting. ministack gives messages as they were sent.
- A batch of messages takes the action of one message: `SendMessageBatch` is allowed by `sqs:SendMessage`. ministack
  asks for actions of that name, which IAM does not know.
- Lambda reads a queue or a stream for a function with the rights of the function's role. ministack asks for none.
- Credentials of a role are good until they expire. ministack forgets them when it stops.
- `*` in a policy stands for any characters. ministack's stops at the end of a line, which a key may have in it.
- Who takes a role with tags needs `sts:TagSession` too. ministack asks for it in the role's trust policy alone.
- What is denied is logged, as CloudTrail tells it on AWS. ministack says it to nobody but the caller.
- A key's folders may have no name: `a//b` is not `a/b`. ministack's policies take one for the other.
- Resources in policies may hold variables, such as tags of a session, and what stands for itself (`policy_patterns`).
- A loopback connection leaves no machine and can't be listened to, so it counts as encrypted: buckets refuse what is
  not (`aws:SecureTransport`), and ministack takes plain http here.
"""

import ipaddress
import json
import logging
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from policy_patterns import matches  # type: ignore[import-not-found]

sys.path.pop(0)  # this folder, which is none of ministack's

from ministack import app  # type: ignore[import-not-found]
from ministack.core import iam_actions, iam_evaluator  # type: ignore[import-not-found]
from ministack.services import iam, lambda_svc, sqs, sts  # type: ignore[import-not-found]

_BATCHES = {
    f"sqs:{action}Batch": f"sqs:{action}" for action in ("SendMessage", "DeleteMessage", "ChangeMessageVisibility")
}
_READING = {
    "sqs": ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
    "dynamodb": ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"),
}
_LISTING = {"dynamodb": "dynamodb:ListStreams"}
"""What Lambda asks for on its source, and on everything."""
_in_order = sqs._collect_msgs  # noqa: SLF001
_action, _resource = iam_actions.extract_iam_action, iam_actions.extract_resource_arn
_pin_origin = app.pin_request_origin
_sources, _enforce = lambda_svc._iter_all_esms, iam_evaluator.enforce  # noqa: SLF001
_log = logging.getLogger("ministack")
_told: dict[str, tuple[tuple[str, str], ...]] = {}
"""What was denied last of reading for an event source mapping."""


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


def _action_asked(*request: Any) -> Any:
    """The IAM action that a request needs."""
    action = _action(*request)
    return _BATCHES.get(action, action)


def _resource_asked(service: str, method: str, path: str, *request: Any) -> Any:
    """The ARN of what a request is about."""
    bucket, _, key = path.removeprefix("/").partition("/")
    if service == "s3" and key:
        return f"arn:aws:s3:::{bucket}/{key}"
    return _resource(service, method, path, *request)


@lru_cache(maxsize=4096)
def _pattern(text: str, ignore_case: bool) -> re.Pattern[str]:
    """A pattern of IAM as a regular expression."""
    words = {"*": ".*", "?": "."}
    regex = "".join(words.get(character) or re.escape(character) for character in text)
    return re.compile(rf"{regex}\Z", re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def _enforced(key: str, action: str, service: str, region: str, resource_arn: str = "*", **context: Any) -> Any:
    """Why a request is not allowed; None where it is."""
    denied = _enforce(key, action, service, region, resource_arn=resource_arn, **context)
    if denied is None and action == "sts:AssumeRole" and (context.get("service_context") or {}).get("aws:TagKeys"):
        return _enforced(key, "sts:TagSession", service, region, resource_arn, **context)
    if isinstance(denied, iam_evaluator.EvalResult):
        _tell_denied(denied.principal_arn.split("/")[-2:][0], action, resource_arn)
    return denied


def _tell_denied(who: str, action: str, resource: str) -> None:
    _log.info("denied: %s may not %s on %s", who, action, resource)


def _readable_sources() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The event source mappings whose function's role may read what they read, with account and region."""
    for account, region, mapping in _sources():
        if not app.AUTH or _may_read(account, region, mapping):
            yield account, region, mapping


def _may_read(account: str, region: str, mapping: dict[str, Any]) -> bool:
    function = lambda_svc._functions.get_scoped(account, region, mapping["FunctionName"])  # noqa: SLF001
    role = iam._roles.get_scoped(account, None, function["config"]["Role"].rsplit("/", 1)[-1]) if function else None  # noqa: SLF001
    if not role:
        return False
    documents = [*role.get("InlinePolicies", {}).values()]
    documents += [
        iam_evaluator._resolve_managed_policy_document(arn, account)  # noqa: SLF001
        for arn in role.get("AttachedPolicies", ())
    ]
    texts = tuple(text if isinstance(text, str) else json.dumps(text) for text in documents if text)
    denied = _denied_reading(texts, mapping["EventSourceArn"], account, region)
    if denied != _told.get(mapping["UUID"], ()):
        _told[mapping["UUID"]] = denied
        for action, resource in denied:
            _tell_denied(role["RoleName"], action, resource)
    return not denied


@lru_cache(maxsize=256)
def _denied_reading(documents: tuple[str, ...], source: str, account: str, region: str) -> tuple[tuple[str, str], ...]:
    """What policies do not allow of what Lambda asks for: actions, each with its resource."""
    policies = [iam_evaluator.parse_policy_document(document) for document in documents]
    service = source.split(":")[2]
    asked = [(action, source) for action in _READING.get(service, ())]
    asked += [(_LISTING[service], "*")] if service in _LISTING else []
    contexts = (iam_evaluator.EvalContext("", "AssumedRole", account, *each, region) for each in asked)
    return tuple(
        (context.action, context.resource_arn)
        for context in contexts
        if iam_evaluator.evaluate(context, policies).decision != "Allow"
    )


def _first_match(asked: Any, statements: list[Any], effect: str) -> Any:
    """The first statement of a policy that is about a request."""
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


def _pin(address: str, encrypted: bool) -> None:
    """Note where a request comes from, and whether nobody can have listened to it."""
    _pin_origin(address, encrypted or ipaddress.ip_address(address).is_loopback)


sqs._collect_msgs = _fairly  # noqa: SLF001
iam_evaluator._first_match = _first_match  # noqa: SLF001
iam_actions.extract_iam_action = _action_asked
iam_actions.extract_resource_arn = _resource_asked
iam_evaluator._fnmatch_compile = _pattern  # noqa: SLF001
iam_evaluator.enforce = _enforced
app.pin_request_origin = _pin
lambda_svc._iter_all_esms = _readable_sources  # noqa: SLF001
sts.get_state = lambda: {"sessions": sts._sessions}  # noqa: SLF001
sts.load_persisted_state = lambda kept: sts._sessions.update(kept.get("sessions", {}))  # noqa: SLF001

if __name__ == "__main__":
    sys.exit(app.main())
