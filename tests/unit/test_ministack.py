"""Each patch of the embedded AWS: what ministack does without it, and what it does with it.

When a newer ministack behaves like AWS by itself, the test of the patch fails, and the patch can go.
"""

from functools import cache
from typing import Any

import pytest

from tests.support import in_the_embedded_aws

PROBES = """
import json, os, sys, tempfile, time, zipfile

if sys.argv[1] == "patched":
    sys.path.insert(0, sys.argv[-1])
    import ministack_patched

from ministack import app
from ministack.core import iam_actions, iam_evaluator, lambda_runtime, persistence
from ministack.core.iam_evaluator import EvalContext
from ministack.services import apigateway_v1, dynamodb, iam, lambda_svc, sqs, sts
from ministack.services.cloudformation import provisioners

ACCOUNT, REGION = "000000000000", "us-east-1"
app.AUTH = True
found = {}


def message(group, received):
    return {"group_id": group, "visible_at": time.time() + 60 if received else 0, "receive_count": received,
            "body": group, "first_receive_at": None}


queue = {"is_fifo": False, "attributes": {}, "messages": [message("many", 1), message("many", 0), message("one", 0)]}
found["fair"] = [each["group_id"] for each in sqs._collect_msgs(queue, 1, 30)]

target = {"x-amz-target": "AmazonSQS.SendMessageBatch"}
found["batch"] = iam_actions.extract_iam_action("sqs", "POST", "/", target, b"{}", {})

found["key"] = iam_actions.extract_resource_arn("s3", "GET", "/b/a//c", {}, b"", {}, REGION, ACCOUNT)

opening = b'{"EncryptionContext": {"userid": "ann"}}'
found["encryption context"] = iam_actions.request_tag_context("kms", "kms:Decrypt", opening, {})

def decision(resource, requested, **keys):
    policy = {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": resource}]}
    context = EvalContext("arn", "AssumedRole", ACCOUNT, "s3:GetObject", requested, REGION, principal_keys=keys)
    return iam_evaluator.evaluate(context, [iam_evaluator.parse_policy_document(json.dumps(policy))]).decision


tag = {"aws:principaltag/user": "ann"}
found["variable"] = decision("arn:aws:s3:::b/${aws:PrincipalTag/user}/*", "arn:aws:s3:::b/ann/x", **tag)
found["line break"] = decision("arn:aws:s3:::b/*", "arn:aws:s3:::b/a\\nb")

app.pin_request_origin("127.0.0.1", False)
found["loopback"] = iam_evaluator._request_origin.get()[1]

sts._sessions["ASIA"] = {"kept": True}
found["sessions"] = json.loads(json.dumps(sts.get_state()))
sts._sessions.clear()
sts.load_persisted_state(found["sessions"])
found["restored"] = list(sts._sessions)

stream = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/jobs/stream/now"
dynamodb._stream_records["jobs"] = [{"nth": n} for n in range(5)]
for name, read in (("ahead", 4), ("behind", 2)):
    lambda_svc._esms._data[ACCOUNT, REGION, name] = {"UUID": name, "EventSourceArn": stream}
    lambda_svc._dynamodb_stream_positions.set_scoped(ACCOUNT, REGION, name, read)
persistence.PERSIST_STATE, persistence.STATE_DIR = True, tempfile.mkdtemp()
persistence.save_state("dynamodb", dynamodb.get_state())
dynamodb._stream_records.clear()
dynamodb.load_persisted_state(persistence.load_state("dynamodb"))
found["unread"] = [each["nth"] for each in dynamodb.stream_live_records("jobs", account_id=ACCOUNT, region=REGION)]
lambda_svc._esms.clear()

source = f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue"
mapping = {"UUID": "1", "FunctionName": "f", "EventSourceArn": source}
lambda_svc._esms._data[ACCOUNT, REGION, "1"] = mapping
found["mappings"] = len(list(lambda_svc._iter_all_esms()))

with tempfile.TemporaryDirectory() as folder:
    tempfile.tempdir = folder
    with zipfile.ZipFile(f"{folder}/layer.zip", "w") as layer:
        layer.writestr("python/module.py", "")
    for name in ("a", "b"):
        os.makedirs(f"{folder}/{name}/layer_0")
        with lambda_runtime.zipfile.ZipFile(f"{folder}/layer.zip") as layer:
            layer.extractall(f"{folder}/{name}/layer_0")
    found["shared layer"] = os.path.samefile(*(f"{folder}/{name}/layer_0/python/module.py" for name in ("a", "b")))


def body(path):
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": "arn"}
    methods = {"x-amazon-apigateway-any-method": {"x-amazon-apigateway-integration": integration}}
    answers = {"THROTTLED": {"statusCode": "429", "responseTemplates": {"a/b": "c"}}}
    return {"Body": {"info": {"title": "Rest"}, "paths": {path: methods},
                     "x-amazon-apigateway-gateway-responses": answers}}


def methods(api):
    return {each["path"]: list(each["resourceMethods"]) for each in apigateway_v1._resources[api].values()}


handlers = provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::RestApi"]
api, _ = handlers["create"]("Rest", body("/old"), "stack")
found["any method"] = methods(api)["/old"]
found["own answers"] = list(apigateway_v1._gateway_responses[api])
updated, attributes = handlers["update"](api, body("/old"), body("/new"), "stack", "Rest")
found["updated body"] = [updated == api, "/old" in methods(updated), attributes["RestApiId"] == updated]

allowed = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]}


class Principal:
    type, account, keys, limits = "AssumedRole", ACCOUNT, {}, []
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/session"
    policies = [iam_evaluator.parse_policy_document(json.dumps(allowed))]


iam_evaluator.authenticate = lambda *_: None
iam_evaluator.resolve_principal = lambda *_: Principal
log = []
iam_evaluator.logging.getLogger("ministack").info = lambda text, *given: log.append(text % given)
request = dict(resource_arn="arn:role", service_context={"aws:TagKeys": ["user"]})
denied = iam_evaluator.enforce("AKIA", "sts:AssumeRole", "sts", REGION, **request)
found["tag session"] = denied and denied.decision
iam_evaluator.enforce("AKIA", "sqs:SendMessage", "sqs", REGION, resource_arn=source)
found["log"] = log
print(json.dumps(found))
"""


@cache
def probes(kind: str) -> dict[str, Any]:
    """The behaviour of ministack, `plain` or `patched`."""
    return in_the_embedded_aws(PROBES, kind)


@pytest.mark.parametrize(
    ("probe", "plain", "patched"),
    [
        ("fair", ["many"], ["one"]),
        ("batch", "sqs:SendMessageBatch", "sqs:SendMessage"),
        ("key", "arn:aws:s3:::b/a/c", "arn:aws:s3:::b/a//c"),
        ("encryption context", {}, {"kms:EncryptionContext:userid": "ann"}),
        ("variable", "ImplicitDeny", "Allow"),
        ("line break", "ImplicitDeny", "Allow"),
        ("loopback", False, True),
        ("sessions", {}, {"sessions": {"ASIA": {"kept": True}}}),
        ("restored", [], ["ASIA"]),
        ("unread", [], [2, 3, 4]),
        ("mappings", 1, 0),
        ("shared layer", False, True),
        ("any method", [], ["ANY"]),
        ("own answers", [], ["THROTTLED"]),
        ("updated body", [False, False, True], [True, False, True]),
        ("tag session", None, "ImplicitDeny"),
        (
            "log",
            [],
            [
                "denied: worker may not sts:TagSession on arn:role",
                "denied: worker may not sqs:SendMessage on arn:aws:sqs:us-east-1:000000000000:queue",
            ],
        ),
    ],
)
def test_each_patch_is_needed_and_works(probe: str, plain: Any, patched: Any) -> None:
    assert (probes("plain")[probe], probes("patched")[probe]) == (plain, patched)
