"""Every function takes what AWS itself hands it: the samples in `payloads/`, filled with a test's own names."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import boto3
import pytest

from elasticrecode.contract import routes
from elasticrecode.contract.auth import Auth
from elasticrecode.jobs.streams import DISPATCH, FEED
from elasticrecode.watch.streams import CHUNKS, REPLAY
from tests.aws.test_authorize import issuer
from tests.aws.test_batches import ORDER
from tests.aws.test_path import actions, event, status, submitted
from tests.aws.test_sockets import gateway
from tests.aws.test_webhooks import LOOPBACK, WebhookStack
from tests.aws.test_webhooks import event as feed_event
from tests.conftest import contract
from tests.fakes.gateway import Gateway
from tests.fakes.issuer import AUDIENCE, Issuer
from tests.fakes.receiver import running
from tests.fakes.stack import Stack, selected
from tests.fakes.wiring import Handler
from tests.unit.test_drops import given_drop

__all__ = ["gateway", "issuer"]

PAYLOADS = Path(__file__).parent / "payloads"
RESTS = ("rest", "rest_base64", "rest_nulls", "rest_cognito")
PARAMETERS = {
    "jobID": "j", "userID": "ann", "batchID": "b", "queue": "q", "webhookID": "w", "name": "n", "planID": "p",
    "uploadID": "u",
}  # fmt: skip
Json = dict[str, Any]


def payload(name: str) -> Json:
    """One of AWS's samples."""
    found: Json = json.loads((PAYLOADS / f"{name}.json").read_text())
    return found


def rest(
    sample: str,
    route: str,
    body: Any = None,
    parameters: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    authorizer: Any = None,
) -> Json:
    """A sample of a REST request, for a route."""
    asked = payload(sample)
    method, resource = route.split(" ")
    path = resource.format(**(parameters or {}))
    context = asked["requestContext"] | {"resourcePath": resource, "httpMethod": method, "path": f"/api{path}"}
    if authorizer is not None:
        context["authorizer"] = authorizer
    text = None if body is None else json.dumps(body)
    if text and asked.get("isBase64Encoded"):
        text = base64.b64encode(text.encode()).decode()
    if "multiValueQueryStringParameters" in asked:
        asked["multiValueQueryStringParameters"] = query and {name: [value] for name, value in query.items()}
    return asked | {
        "resource": resource, "path": path, "httpMethod": method, "pathParameters": parameters or None,
        "queryStringParameters": query, "body": text, "requestContext": context,
    }  # fmt: skip


def ask(handler: Handler, asked: Json) -> tuple[int, Any]:
    """Status and content of a function's answer to a REST request, in the form that API Gateway takes."""
    answer = handler(asked, None)
    assert set(answer) == {"statusCode", "headers", "body"}
    assert all(isinstance(value, str) for value in (answer["body"], *answer["headers"].values()))
    return answer["statusCode"], json.loads(answer["body"] or "null")


def messages(sample: str, *bodies: str) -> Json:
    """A batch of a queue, with these bodies."""
    (record,) = payload(sample)["Records"]
    return {"Records": [record | {"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]}


def as_streamed(records: list[Json], sample: str = "stream") -> Json:
    """Records of a stream with what a sample's have around keys and images."""
    around = payload(sample)["Records"][-1]
    dressed = []
    for record in records:
        own = {
            name: record["dynamodb"][name] for name in ("Keys", "NewImage", "OldImage") if name in record["dynamodb"]
        }
        bare = {name: around["dynamodb"][name] for name in around["dynamodb"].keys() - {"Keys", "NewImage", "OldImage"}}
        bare["SequenceNumber"] = record["dynamodb"]["SequenceNumber"]
        bare["ApproximateCreationDateTime"] = float(record["dynamodb"]["ApproximateCreationDateTime"])
        dressed.append(around | {"eventName": record["eventName"], "dynamodb": _in_json(own) | bare})
    return {"Records": dressed}


def _in_json(value: Any) -> Any:
    """A value with bytes as Lambda writes them."""
    if isinstance(value, dict):
        return {name: _in_json(each) for name, each in value.items()}
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize("sample", RESTS)
def test_a_job_is_submitted_by_every_shape_of_a_rest_request(stack: Stack, sample: str) -> None:
    code, (taken,) = ask(stack.submit, rest(sample, routes.SUBMIT, contract("job")))
    assert code == 200
    assert status(stack, taken["jobid"])["state"] == "queued"


@pytest.mark.parametrize("sample", RESTS)
def test_no_route_fails_at_any_shape_of_a_rest_request(
    stack: Stack, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhooks = WebhookStack(monkeypatch)
    for name, served in routes.ROUTES.items():
        handler = webhooks.api if name == "webhooks" else stack.build(name)
        for route in served:
            for body, query in ((None, None), (contract("job"), {"userID": "ann"})):
                code, content = ask(handler, rest(sample, route, body, PARAMETERS, query))
                assert code != 500, (route, content)


@pytest.mark.parametrize(
    ("groups", "operator"),
    [
        ("operators", True), ("a,operators", True), ("[a operators]", True), ("[operators]", True),
        ("a, operators", True), (["a", "operators"], True), ("a", False), ("", False), (None, False), ([], False),
    ],
)  # fmt: skip
def test_cognitos_claims_name_the_caller_in_every_form_of_groups(stack: Stack, groups: Any, operator: bool) -> None:
    claims = payload("rest_cognito")["requestContext"]["authorizer"]["claims"]
    claims |= {"cognito:username": "ann"} | ({} if groups is None else {"cognito:groups": groups})
    job = submitted(stack, userid="bob")
    jobs = stack.build("jobs", auth=Auth("cognito"))
    code, _ = ask(
        jobs, rest("rest_cognito", routes.JOB_STATUS, parameters={"jobID": job}, authorizer={"claims": claims})
    )
    assert code == (200 if operator else 404)


@pytest.mark.parametrize("kind", ["cognito", "jwt", "iam"])
@pytest.mark.parametrize("authorizer", [{}, {"claims": None, "scopes": None}, {"principalId": "admin", "clientId": 1}])
def test_a_request_whose_context_names_no_caller_is_not_authorized(stack: Stack, kind: Any, authorizer: Any) -> None:
    jobs = stack.build("jobs", auth=Auth(kind))
    asked = rest("rest_nulls", routes.JOB_STATUS, parameters={"jobID": "j"}, authorizer=authorizer)
    assert ask(jobs, asked)[0] == 401
    del asked["requestContext"]["authorizer"]
    assert ask(jobs, asked)[0] == 401


def flow(stack: Stack, sample: str) -> None:
    """Hand what the jobs table's stream has to `dispatch`, as a sample has it."""
    batch = selected(stack.changes(), DISPATCH)
    stack.build("dispatch")(as_streamed(batch, sample), None)


@pytest.mark.parametrize("sample", ["stream", "stream_modify"])
def test_a_job_passes_streams_and_queues(stack: Stack, sample: str) -> None:
    job = submitted(stack)
    flow(stack, sample)
    (message,) = stack.messages("ffmpeg_job")
    assert json.loads(message["Body"])["jobid"] == job
    consume = stack.build("consume")
    told = [json.dumps(event(job, action)) for action in ("JobStart", "JobFinished")]
    assert consume(messages("sqs", *told), None) == {"batchItemFailures": []}
    assert status(stack, job)["state"] == "finished"
    assert sorted(actions(stack, job)) == ["JobFinished", "JobStart", "JobSummit"]
    flow(stack, sample)


def test_an_expired_record_is_removed_by_dynamodb_itself(stack: Stack) -> None:
    """Its stream record names the service as the one who removed it, and has no new image."""
    submitted(stack)
    (record,) = selected(stack.changes(), DISPATCH)
    image = record["dynamodb"].pop("NewImage")
    removed = as_streamed([record | {"eventName": "REMOVE"}])
    removed["Records"][0] |= {"userIdentity": payload("stream")["Records"][0]["userIdentity"]}
    removed["Records"][0]["dynamodb"]["OldImage"] = image
    stack.build("dispatch")(removed, None)
    assert stack.messages("ffmpeg_job") == []


def test_a_batch_passes_its_queues(stack: Stack) -> None:
    asked = rest("rest", routes.SUBMIT_BATCH, ORDER | {"inputs": ["s3://media/a.mp4", "s3://media/b.mp4"]})
    code, taken = ask(stack.batch, asked)
    assert code == 202, taken
    for queue, name in (("surveys", "survey"), ("pages", "expand"), ("tallies", "tally")):
        for message in stack.messages(queue):
            stack.build(name)(messages("sqs", message["Body"]), None)
    flow(stack, "stream")
    for message in stack.messages("tallies"):
        assert stack.build("tally")(messages("sqs", message["Body"]), None) == {"batchItemFailures": []}
    _, shown = ask(stack.batch, rest("rest", routes.BATCH, parameters={"batchID": taken["batchID"]}))
    assert shown["queued"] == 2


@pytest.mark.parametrize(
    ("sample", "key", "encoded"),
    [
        ("s3", "in/Happy Face.jpg.mp4", "in/Happy%20Face.jpg.mp4"),
        ("s3", "in/a+b c.mp4", "in/a%2Bb+c.mp4"),
        ("s3_versioned", "in/a.mp4", "in/a.mp4"),
    ],
)
def test_a_file_becomes_a_job_by_s3s_notification(stack: Stack, sample: str, key: str, encoded: str) -> None:
    boto3.client("s3").put_object(Bucket="media", Key=key, Body=b"film")
    notified = payload(sample)
    notified["Records"][0]["s3"]["bucket"]["name"] = "media"
    notified["Records"][0]["s3"]["object"]["key"] = encoded
    collect = stack.build("collect", drops=[given_drop(bucket="media", output="s3://media/out/")])
    bodies = (json.dumps(notified), json.dumps(payload("s3_test")))
    assert collect(messages("sqs", *bodies), None) == {"batchItemFailures": []}
    (job,) = [json.loads(item["job"]["S"]) for item in stack.items() if "job" in item]
    assert job["input"] == f"s3://media/{key}"


def test_a_webhook_is_delivered_from_a_fifo_queue(monkeypatch: pytest.MonkeyPatch, stack: Stack) -> None:
    hooks = WebhookStack(monkeypatch)
    with running() as receiver:
        hooks.add(receiver.url, "JobStart")
        published = hooks.record(1, feed_event("e1"))
        assert hooks.publish_records(_with_envelope(published)) == []
        (message,) = hooks.sqs.receive_message(QueueUrl=hooks.queue, AttributeNames=["All"])["Messages"]
        record = messages("sqs_fifo", message["Body"])["Records"][0]
        record["receiptHandle"] = message["ReceiptHandle"]
        record["attributes"] |= {"SentTimestamp": str(int(time.time() * 1000))}
        deliver = stack.build("deliver", deliveries_queue=hooks.queue, networks=LOOPBACK)
        assert deliver({"Records": [record]}, None) == {"batchItemFailures": []}
        assert receiver.events() == ["e1"]


def _with_envelope(record: Json) -> Json:
    around: Json = payload("stream")["Records"][-1]
    return around | {"eventName": "INSERT", "dynamodb": around["dynamodb"] | _in_json(record["dynamodb"])}


def test_a_watcher_connects_is_answered_and_goes(stack: Stack, gateway: Gateway) -> None:
    submitted(stack, userid="ann")
    wiring = {"socket_management_url": gateway.url, "auth": Auth("cognito")}
    sockets = stack.build("sockets", **wiring)
    connect, message, leave = (payload(f"socket_{kind}") for kind in ("connect", "message", "disconnect"))
    for asked in (connect, message, leave):
        asked["requestContext"]["connectionId"] = "R1kmxc2VNjMCFIA="
    connect["queryStringParameters"] = {"userID": "ann"}
    connect["requestContext"]["authorizer"] = {
        "userID": "ann", "operator": "false", "expires": "9999999999", "principalId": "ann", "integrationLatency": 12,
    }  # fmt: skip
    assert sockets(connect, None) == {"statusCode": 200}
    stack.build("append")(as_streamed(selected(stack.changes(), FEED)), None)
    stack.build("push", **wiring)(as_streamed(selected(stack.changes("feed"), CHUNKS)), None)
    stack.build("replay", **wiring)(as_streamed(selected(stack.changes("connections"), REPLAY)), None)
    assert "JobSummit" in str(gateway.frames["R1kmxc2VNjMCFIA%3D"])
    assert sockets(message, None) == {"statusCode": 200}
    assert sockets(leave, None) == {"statusCode": 200}
    left = stack.dynamodb.scan(TableName="connections")["Items"]
    assert [item for item in left if item["topic"]["S"] != "present"] == []


@pytest.mark.parametrize("name", ["reconcile", "disconnect", "discover"])
def test_the_clock_runs_a_function(stack: Stack, gateway: Gateway, name: str) -> None:
    stack.build(name, socket_management_url=gateway.url)(payload("schedule"), None)


@pytest.mark.parametrize("spelling", ["Authorization", "authorization", "AUTHORIZATION"])
def test_the_authorizer_reads_a_rest_request(stack: Stack, issuer: Issuer, spelling: str) -> None:
    authorize = stack.build("authorize", issuer=issuer.url, audience=[AUDIENCE])
    asked = payload("authorizer_rest")
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        authorize(asked, None)
    asked["headers"][spelling] = f"Bearer {issuer.token(sub='ann')}"
    asked["multiValueHeaders"][spelling] = [asked["headers"][spelling]]
    policy = authorize(asked, None)
    assert policy["context"]["userID"] == "ann"
    (statement,) = policy["policyDocument"]["Statement"]
    assert (statement["Effect"], statement["Resource"]) == (
        "Allow", "arn:aws:execute-api:us-east-1:123456789012:s4x3opwd6i/test/*",
    )  # fmt: skip


def test_the_authorizer_reads_a_new_websocket(stack: Stack, issuer: Issuer) -> None:
    authorize = stack.build("authorize", issuer=issuer.url, audience=[AUDIENCE])
    asked = payload("authorizer_socket")
    assert authorize(asked, None)["policyDocument"]["Statement"][0]["Effect"] == "Deny"
    asked["headers"]["Authorization"] = issuer.token(sub="ann")
    allowed = authorize(asked, None)["policyDocument"]["Statement"][0]
    assert allowed["Effect"] == "Allow"
    assert allowed["Resource"] == "arn:aws:execute-api:us-east-1:123456789012:abcdef123/default/*"
