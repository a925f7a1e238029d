"""Webhooks on the page: added with a secret shown once, tried, and their failures sent again."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from standardwebhooks import Webhook

from tests.e2e.conftest import TENANTS, Deployed, wait_for
from tests.e2e.page.conftest import Opened, keep_texts, violations, wait_for_text
from tests.fakes.receiver import Receiver, running, status

ANN = TENANTS[0]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running() as server:
        yield server


def test_a_webhook_is_added_tested_and_removed(opened: Opened, deployed: Deployed, receiver: Receiver) -> None:
    page = opened("/webhooks", ANN)
    page.get_by_label("url").fill("https://user:word@example.com/")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_label("url")).to_be_focused()
    page.get_by_label("url").fill(receiver.url)
    page.get_by_label("JobCancelled").check()
    page.get_by_role("button", name="Add").click()
    secret = page.get_by_text("whsec_").inner_text()
    (listed,) = deployed.call("GET", f"/api/v1/webhooks?userID={ANN}", user=ANN)[1]
    assert set(listed["actions"]) == {"JobCancelled", "JobFailed", "JobFinished"}
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text("It answered 200 in")).to_be_visible()
    (post,) = receiver.taken
    assert Webhook(secret).verify(post.body, post.headers)["action"] == "WebhookTest"
    page.get_by_role("button", name="I have kept it").click()
    expect(page.get_by_text("whsec_")).to_have_count(0)
    page.get_by_role("button", name="Failures").click()
    expect(page.get_by_text("No delivery has failed for good.")).to_be_visible()
    assert violations(page) == []
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No webhook gets this user's events yet.")).to_be_visible()
    assert deployed.call("GET", f"/api/v1/webhooks?userID={ANN}", user=ANN)[1] == []


def test_failures_are_listed_and_sent_again(opened: Opened, deployed: Deployed, receiver: Receiver) -> None:
    receiver.answers = [status(410)]
    body = {"userID": ANN, "url": receiver.url, "actions": ["JobFailed"]}
    path = f"/api/v1/webhooks/{deployed.call('POST', '/api/v1/webhooks', body)[1]['webhookID']}"
    job_id = deployed.call(
        "POST",
        "/api/v1/jobs",
        {"userid": ANN, "input": f"s3://{deployed.bucket}/{ANN}/none.mp4", "profile": {"preset": "h264-360p"}}
        | {"output": f"s3://{deployed.bucket}/{ANN}/out/"},
    )[1][0]["jobid"]
    deployed.until(job_id, "failed")
    wait_for(lambda: deployed.call("GET", f"{path}/failures")[1], "a delivery that failed for good")
    page = opened("/webhooks", ANN)
    expect(page.get_by_text("disabled")).to_be_visible()
    page.get_by_role("button", name="Failures").click()
    expect(page.get_by_role("row", name=job_id[:8])).to_contain_text("410")
    keep_texts(page)
    page.get_by_role("button", name="Send all again").click()
    wait_for_text(page, "Deliveries that go again: 1.")
    wait_for(lambda: len(receiver.posts) > 1, "the delivery sent again")
    deployed.call("DELETE", path)
