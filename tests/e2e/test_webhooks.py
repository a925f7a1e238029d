"""Webhooks on the deployed stack: a real receiver hears of a job, signed, in order, and again after it failed."""

from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.conftest import contract
from tests.e2e.conftest import Deployed, wait_for
from tests.fakes.receiver import Receiver, running, status


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running() as server:
        yield server


def watch(deployed: Deployed, user: str, url: str) -> dict[str, Any]:
    body = {"userID": user, "url": url, "actions": ["JobSummit", "JobStart", "JobFailed"]}
    status, made, _ = deployed.call("POST", "/api/v1/webhooks", body)
    assert status == 201, made
    return dict(made)


def ask(deployed: Deployed, user: str) -> str:
    missing = {"input": f"s3://{deployed.bucket}/none/hook.mp4", "output": f"s3://{deployed.bucket}/none/out/"}
    status, answer, _ = deployed.call("POST", "/api/v1/jobs", contract("job") | missing | {"userid": user})
    assert status == 200, answer
    return str(answer[0]["jobid"])


def test_a_receiver_gets_signed_events_of_its_user_and_a_failed_one_again(
    deployed: Deployed, receiver: Receiver
) -> None:
    receiver.answers = [status(500)]
    made = watch(deployed, "hooked", receiver.url)
    job_id = ask(deployed, "hooked")
    ask(deployed, "somebody-else")
    wait_for(lambda: len({post.headers["webhook-id"] for post in receiver.taken}) == 3, "three events")
    seen: dict[str, dict[str, Any]] = {}
    for post in receiver.taken:
        event = Webhook(made["secret"]).verify(post.body, post.headers)
        assert post.headers["webhook-id"] == event["eventID"]
        seen.setdefault(event["eventID"], event)
    assert {event["jobID"] for event in seen.values()} == {job_id}
    assert {event["action"] for event in seen.values()} == {"JobSummit", "JobStart", "JobFailed"}
    assert len(receiver.posts) > 3
    (listed,) = deployed.call("GET", "/api/v1/webhooks?userID=hooked")[1]
    assert listed["webhookID"] == made["webhookID"]
    assert "secret" not in listed
    assert deployed.call("DELETE", f"/api/v1/webhooks/{made['webhookID']}")[0] == 200
    assert deployed.call("GET", "/api/v1/webhooks?userID=hooked")[1] == []


def test_a_receiver_gets_a_signed_test_at_once(deployed: Deployed, receiver: Receiver) -> None:
    receiver.answers = [status(500)]
    made = watch(deployed, "tested", receiver.url)
    path = f"/api/v1/webhooks/{made['webhookID']}/test"
    outcomes = [deployed.call("POST", path) for _ in range(2)]
    assert [(code, answer["status"], answer["error"]) for code, answer, _ in outcomes] == [
        (200, 500, "it answered 500"),
        (200, 200, None),
    ]
    (post,) = receiver.taken
    assert Webhook(made["secret"]).verify(post.body, post.headers)["action"] == "WebhookTest"
    (listed,) = deployed.call("GET", "/api/v1/webhooks?userID=tested")[1]
    assert listed["lastFailureMs"] is None
    assert deployed.call("DELETE", f"/api/v1/webhooks/{made['webhookID']}")[0] == 200


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "https://10.0.0.1/x", "https://[fd00:ec2::254]/"])
def test_private_addresses_are_refused(deployed: Deployed, url: str) -> None:
    body = {"userID": "hooked", "url": url, "actions": ["JobStart"]}
    status, problem, _ = deployed.call("POST", "/api/v1/webhooks", body)
    assert status == 422
    assert [fault["pointer"] for fault in problem["errors"]] == ["/url"]
