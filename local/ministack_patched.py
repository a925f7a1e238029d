"""The embedded AWS: ministack 1.5.33 with patches where it differs from AWS, under ministack's own interpreter.

Each patch names the page of AWS's documentation that it follows and the function of ministack
(https://github.com/ministackorg/ministack) that it replaces. tests/unit/test_ministack.py shows for each what ministack
does without it, and fails when a newer ministack no longer needs it.
"""

import hashlib
import ipaddress
import json
import logging
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ministack_logs  # type: ignore[import-not-found]  # noqa: F401
import ministack_queries  # type: ignore[import-not-found]  # noqa: F401
import ministack_streams  # type: ignore[import-not-found]  # noqa: F401
from policy_patterns import matches  # type: ignore[import-not-found]

sys.path.pop(0)  # this folder, whose modules are not ministack's

from ministack import app  # type: ignore[import-not-found]
from ministack.core import iam_actions, iam_evaluator, lambda_runtime  # type: ignore[import-not-found]
from ministack.services import apigateway_v1, iam, lambda_svc, sqs, sts  # type: ignore[import-not-found]
from ministack.services.cloudformation import provisioners  # type: ignore[import-not-found]

_BATCHES = {
    f"sqs:{action}Batch": f"sqs:{action}" for action in ("SendMessage", "DeleteMessage", "ChangeMessageVisibility")
}
_READING = {
    "sqs": ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
    "dynamodb": ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"),
}
_LISTING = {"dynamodb": "dynamodb:ListStreams"}
"""The actions that an event source mapping needs on its source, and on all resources."""
_collect = sqs._collect_msgs  # noqa: SLF001
_action, _resource = iam_actions.extract_iam_action, iam_actions.extract_resource_arn
_request_context = iam_actions.request_tag_context
_pin_origin = app.pin_request_origin
_mappings, _enforce = lambda_svc._iter_all_esms, iam_evaluator.enforce  # noqa: SLF001
_import_api, _import_path = apigateway_v1._import_rest_api, apigateway_v1._import_path_item  # noqa: SLF001
_update_api = provisioners._apigw_rest_api_update  # noqa: SLF001
_ANY_METHOD = "x-amazon-apigateway-any-method"
_log = logging.getLogger("ministack")
_logged: dict[str, tuple[tuple[str, str], ...]] = {}
"""Event source mapping → the denials last logged for it."""


def collect_fairly(queue: dict[str, Any], most: int, hidden_seconds: int) -> Any:
    """Up to `most` messages of a standard queue, those of the groups with the fewest messages in flight first.

    Fair queues: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html.
    `sqs._collect_msgs` takes the messages of standard queues in the order in which they were sent.
    """
    if queue["is_fifo"]:
        return _collect(queue, most, hidden_seconds)
    now = time.time()
    messages = queue["messages"]
    in_flight = Counter(
        message.get("group_id") for message in messages if message["visible_at"] > now and message.get("receive_count")
    )
    in_flight[None] = 0
    ordered = sorted(messages, key=lambda message: in_flight[message.get("group_id")])
    return _collect({**queue, "messages": ordered}, most, hidden_seconds)


def iam_action(*request: Any) -> Any:
    """The IAM action that a request needs: for a batch of messages, that of one message.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html.
    `iam_actions.extract_iam_action` makes up actions such as `sqs:SendMessageBatch`, which IAM does not have.
    """
    action = _action(*request)
    return _BATCHES.get(action, action)


def resource_arn(service: str, method: str, path: str, *request: Any) -> Any:
    """The ARN of a request's resource. A key of S3 may have empty parts: `a//b` is not `a/b`.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html.
    `iam_actions.extract_resource_arn` drops empty parts, so a policy for one key allows the other.
    """
    bucket, _, key = path.removeprefix("/").partition("/")
    if service == "s3" and key:
        return f"arn:aws:s3:::{bucket}/{key}"
    return _resource(service, method, path, *request)


def request_context(service: str, action: str, body: bytes, parameters: dict[str, Any]) -> dict[str, Any]:
    """The condition keys of a request: of one to KMS, those of its encryption context too.

    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-encryption-context.
    `iam_actions.request_tag_context` knows tags alone, so a policy that names an encryption context allows nothing.
    """
    context: dict[str, Any] = _request_context(service, action, body, parameters)
    if service == "kms":
        with suppress(ValueError, AttributeError):  # KMS itself refuses such a body
            given = json.loads(body or b"{}").get("EncryptionContext") or {}
            context |= {f"kms:EncryptionContext:{name}": value for name, value in given.items()}
    return context


def enforce(key: str, action: str, service: str, region: str, resource_arn: str = "*", **context: Any) -> Any:
    """The reason why a request is denied; None when it is allowed. Logs denials.

    A caller that assumes a role with session tags needs `sts:TagSession` in its own policy as well as in the role's
    trust policy: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_permissions-required.
    `sts` checks the trust policy alone. On AWS, CloudTrail records denials, so that an operator sees a missing grant:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html. ministack tells the caller alone.
    """
    denied = _enforce(key, action, service, region, resource_arn=resource_arn, **context)
    if denied is None and action == "sts:AssumeRole" and (context.get("service_context") or {}).get("aws:TagKeys"):
        return enforce(key, "sts:TagSession", service, region, resource_arn, **context)
    if isinstance(denied, iam_evaluator.EvalResult):
        _log_denied(denied.principal_arn.split("/")[-2:][0], action, resource_arn)
    return denied


def _log_denied(principal: str, action: str, resource: str) -> None:
    _log.info("denied: %s may not %s on %s", principal, action, resource)


def readable_mappings() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Account, region and event source mapping, for the mappings whose function's role may read their source.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions and
    https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-eventsourcemapping.html.
    `lambda_svc` reads queues and streams for any function, whatever its role allows.
    """
    for account, region, mapping in _mappings():
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
    if denied != _logged.get(mapping["UUID"], ()):
        _logged[mapping["UUID"]] = denied
        for action, resource in denied:
            _log_denied(role["RoleName"], action, resource)
    return not denied


@lru_cache(maxsize=256)
def _denied_reading(documents: tuple[str, ...], source: str, account: str, region: str) -> tuple[tuple[str, str], ...]:
    """The actions that reading a source needs and policies do not allow, each with its resource."""
    policies = [iam_evaluator.parse_policy_document(document) for document in documents]
    service = source.split(":")[2]
    needed = [(action, source) for action in _READING.get(service, ())]
    needed += [(_LISTING[service], "*")] if service in _LISTING else []
    contexts = (iam_evaluator.EvalContext("", "AssumedRole", account, *each, region) for each in needed)
    return tuple(
        (context.action, context.resource_arn)
        for context in contexts
        if iam_evaluator.evaluate(context, policies).decision != "Allow"
    )


class LinkedLayer(zipfile.ZipFile):
    """A zip file whose contents, those of a layer, are unpacked once and linked into each function's folder.

    Lambda unpacks a layer into /opt (https://docs.aws.amazon.com/lambda/latest/dg/chapter-layers.html), and no function
    writes there. `lambda_runtime.Worker._spawn` unpacks every layer for every function: 2.3 GB and 37,000 files for
    this stack, which take minutes to delete on a slow disk.
    """

    def extractall(self, path: Any = None, members: Any = None, pwd: bytes | None = None) -> None:
        """Unpack the layer into a shared folder, unless it is there, and link its entries into `path`."""
        folder = Path(path)
        if not folder.name.startswith("layer_"):
            super().extractall(path, members, pwd)
            return
        digest = hashlib.sha256(Path(str(self.filename)).read_bytes()).hexdigest()
        shared = Path(tempfile.gettempdir(), "layers", digest)
        if not shared.exists():
            shared.parent.mkdir(exist_ok=True)
            own = Path(tempfile.mkdtemp(dir=shared.parent))
            super().extractall(own, members, pwd)
            try:
                own.rename(shared)
            except OSError:  # another function was faster
                shutil.rmtree(own)
        for entry in shared.iterdir():
            (folder / entry.name).symlink_to(entry)


def first_match(request: Any, statements: list[Any], effect: str) -> Any:
    """The first statement with an effect that applies to a request; None when there is none.

    Resources may hold variables, such as session tags, and `*` stands for line breaks too (`policy_patterns`):
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html.
    `iam_evaluator._resource_matches` takes variables for plain text, and its `*` stops at a line break.
    """
    for each in statements:
        known = request.principal_keys
        applies = (
            matches(request.resource_arn, each.resources, known)
            if each.resources
            else not matches(request.resource_arn, each.not_resources, known)
        )
        if (
            each.effect == effect
            and applies
            and iam_evaluator._action_matches(request.action, each.actions, each.not_actions)  # noqa: SLF001
            and iam_evaluator._conditions_met(each.conditions, request)  # noqa: SLF001
        ):
            return each
    return None


def pin_origin(address: str, encrypted: bool) -> None:
    """Note where a request comes from, and whether it counts as encrypted: a loopback connection does.

    The stack's buckets deny requests without `aws:SecureTransport`:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-securetransport.
    The embedded AWS serves plain http on loopback, where nobody can listen; AWS serves https.
    """
    _pin_origin(address, encrypted or ipaddress.ip_address(address).is_loopback)


def sessions() -> dict[str, Any]:
    """The state of STS to keep over a restart: credentials of roles, which are valid until they expire.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp.html.
    `sts.get_state` keeps nothing, so that workers' credentials would end with every restart.
    """
    return {"sessions": sts._sessions}  # noqa: SLF001


def restore_sessions(state: dict[str, Any]) -> None:
    """Restore the state that `sessions` returned."""
    sts._sessions.update(state.get("sessions", {}))  # noqa: SLF001


def import_path(api: str, path: str, methods: dict[str, Any], *security: Any) -> None:
    """Import a path of an OpenAPI body with its method for all other methods.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-any-method.html.
    `apigateway_v1._import_path_item` leaves it out, so that wrong methods and preflight requests find nothing.
    """
    named = {"any" if name == _ANY_METHOD else name: operation for name, operation in methods.items()}
    _import_path(api, path, named, *security)


def import_api(body: dict[str, Any], *given: Any) -> Any:
    """Import an OpenAPI body with API Gateway's own answers; the API's id.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-gateway-responses.html.
    `apigateway_v1._import_rest_api` leaves them out, so that refusals have ministack's own form.
    """
    api = _import_api(body, *given)
    for kind, answer in body.get("x-amazon-apigateway-gateway-responses", {}).items():
        apigateway_v1._put_gateway_response(api, kind, answer)  # noqa: SLF001
    return api


def update_api(api: str, old: dict[str, Any], new: dict[str, Any], stack: str, logical_id: str | None = None) -> Any:
    """Update a REST API; with another body the API keeps its id and its stages.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-apigateway-restapi.html: `Body`
    is updated without interruption. `provisioners._apigw_rest_api_update` replaces the API, whose address changes.
    """
    if new.get("Body") and new["Body"] != old.get("Body"):
        imported = import_api(new["Body"])
        for contents in (
            apigateway_v1._resources,  # noqa: SLF001
            apigateway_v1._authorizers_v1,  # noqa: SLF001
            apigateway_v1._gateway_responses,  # noqa: SLF001
        ):
            contents[api] = contents.pop(imported)
        apigateway_v1._delete_rest_api(imported)  # noqa: SLF001
        old = {**old, "Body": new["Body"]}
    return _update_api(api, old, new, stack, logical_id)


sqs._collect_msgs = collect_fairly  # noqa: SLF001
apigateway_v1._import_path_item, apigateway_v1._import_rest_api = import_path, import_api  # noqa: SLF001
apigateway_v1._OPENAPI_HTTP_METHODS.add("any")  # noqa: SLF001
provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::RestApi"]["update"] = update_api  # noqa: SLF001
iam_evaluator._first_match = first_match  # noqa: SLF001
iam_evaluator.enforce = enforce
iam_actions.extract_iam_action = iam_action
iam_actions.extract_resource_arn = resource_arn
iam_actions.request_tag_context = request_context
app.pin_request_origin = pin_origin
lambda_svc._iter_all_esms = readable_mappings  # noqa: SLF001
lambda_runtime.zipfile = SimpleNamespace(**{**vars(zipfile), "ZipFile": LinkedLayer})
sts.get_state, sts.load_persisted_state = sessions, restore_sessions

if __name__ == "__main__":
    sys.exit(app.main())
