"""No log line holds a secret, at the most verbose level."""

import logging
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from elasticrecode.api import http
from elasticrecode.contract import settings
from elasticrecode.contract.auth import Auth
from elasticrecode.contract.routes import ROUTES, SUBMIT
from elasticrecode.log import logger
from tests.aws.test_webhooks import WebhookStack, event
from tests.aws.test_webhooks import stack as webhooks
from tests.conftest import contract
from tests.fakes.receiver import running, status
from tests.fakes.stack import Stack
from tests.support import call

__all__ = ["webhooks"]

SECRET = "hush-4f1d"
"""A part of every secret below."""
TOKEN = f"eyJhbGciOiJub25lIn0.{SECRET}.c2ln"
SIGNED = f"https://media.s3.amazonaws.com/in/film.mov?X-Amz-Credential=AKIA&X-Amz-Signature={SECRET}"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Cookie": SECRET, "X-Amz-Security-Token": SECRET}
QUERY = {"ticket": SECRET, "X-Amz-Signature": SECRET}


class Lines(logging.Handler):
    """All log records, with their attributes and tracebacks, as text."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.getMessage()} {record.__dict__}"
        if record.exc_info and record.exc_info[1]:
            text += "".join(traceback.format_exception(record.exc_info[1]))
        self.texts.append(text)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The log with option `verbose`; loggers of other packages keep Lambda's default level."""
    lines, root, own = Lines(), logging.getLogger(), logging.getLogger("elasticrecode")
    before = root.level, own.level
    root.setLevel(logging.WARNING)
    logger.setLevel(logging.DEBUG)
    own.setLevel(logging.DEBUG)
    own.addHandler(lines)
    root.addHandler(lines)
    yield lines
    root.removeHandler(lines)
    own.removeHandler(lines)
    root.setLevel(before[0])
    own.setLevel(before[1])


def assert_silent(lines: Lines) -> None:
    assert lines.texts
    assert not [text for text in lines.texts if SECRET in text]


def test_debug_lines_of_the_sdk_are_not_logged(lines: Lines, stack: Stack) -> None:
    """They hold signatures and stored items."""
    for name in ("botocore", "urllib3", "boto3"):
        assert logging.getLogger(name).getEffectiveLevel() >= logging.WARNING
    call(stack.submit, SUBMIT, contract("job"))
    assert not [text for text in lines.texts if "botocore" in text]


def test_no_route_logs_credentials_or_bodies(lines: Lines, stack: Stack, webhooks: WebhookStack) -> None:
    handlers = {
        "schema": stack.schema, "submit": stack.submit, "vmaf": stack.vmaf, "logs": stack.logs, "jobs": stack.jobs,
        "batch": stack.batch, "workers": stack.workers, "presets": stack.presets, "webhooks": webhooks.api,
        "tickets": stack.build("tickets"), "plans": stack.build("plans"), "files": stack.build("files"),
    }  # fmt: skip
    assert handlers.keys() == ROUTES.keys()
    parameters = {
        "jobID": "j",
        "userID": "ann",
        "batchID": "b",
        "queue": "q",
        "webhookID": "w",
        "name": "n",
        "planID": "p",
        "uploadID": "u",
    }
    bodies: list[Any] = [
        None, SECRET, {"password": SECRET}, contract("job"), contract("job") | {"input": SIGNED},
        contract("job") | {"userid": SECRET, "input": SECRET},
        {"userID": "ann", "url": SIGNED, "actions": ["JobStart"]},
    ]  # fmt: skip
    for name, routes in ROUTES.items():
        for route in routes:
            for body in bodies:
                call(handlers[name], route, body, parameters, QUERY, HEADERS)
    assert_silent(lines)


def test_a_crash_logs_its_place_and_not_the_request(lines: Lines) -> None:
    def crash(request: http.Request) -> http.Response:
        raise KeyError(len(request.headers["authorization"]))

    handler = http.handler({"POST /v1/x": crash}, settings.ApiSettings())
    assert call(handler, "POST /v1/x", {"password": SECRET}, query=QUERY, headers=HEADERS).status == 500
    assert_silent(lines)


def test_neither_tokens_nor_tickets_are_logged(lines: Lines, stack: Stack) -> None:
    authorize = stack.build("authorize", issuer="https://issuer.example.com", jwks_url="https://127.0.0.1:9/")
    sockets = stack.build("sockets", auth=Auth("cognito"), socket_management_url="https://127.0.0.1:9/ws")
    context = {"connectionId": "c1", "eventType": "CONNECT", "requestId": "r1"}
    connecting: dict[str, Any] = {
        "methodArn": "arn:aws:execute-api:us-east-1:1:a/ws/$connect", "requestContext": context, "headers": {},
        "queryStringParameters": QUERY,
    }  # fmt: skip
    assert authorize(connecting, None)["policyDocument"]["Statement"][0]["Effect"] == "Deny"
    for headers in (HEADERS, {"Authorization": SECRET}):
        assert authorize(connecting | {"headers": headers}, None)["policyDocument"]["Statement"][0]["Effect"] == "Deny"
        with pytest.raises(Exception, match="Unauthorized"):
            authorize({"methodArn": "a", "requestContext": {}, "headers": headers}, None)
    context["authorizer"] = {"userID": "ann", "operator": "false", "expires": "9999999999"}  # type: ignore[assignment]
    for query, answered in (({"ticket": SECRET}, 200), ({"ticket": SECRET, "lastMod": SECRET}, 400), (QUERY, 400)):
        assert sockets(connecting | {"queryStringParameters": query}, None)["statusCode"] == answered
    assert_silent(lines)


def test_webhooks_log_neither_secrets_nor_urls(lines: Lines, webhooks: WebhookStack) -> None:
    with running() as receiver:
        receiver.always = lambda _: status(500)
        webhook = webhooks.add(f"{receiver.url}&key={SECRET}")
        webhooks.add(f"http://127.0.0.1:9/{SECRET}")
        webhooks.publish(event("e1"), event("e2", job=SECRET))
        webhooks.deliver(4)
        webhooks.waited = 2 * 86_400
        webhooks.deliver(4)
    assert_silent(lines)
    assert not [text for text in lines.texts if webhook["secret"] in text]
