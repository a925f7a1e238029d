"""The fleet on the page: operators see its queues and Deployments, and pause and resume a queue."""

from playwright.sync_api import Dialog, expect

from tests.e2e.conftest import TENANTS, Deployed, wait_for
from tests.e2e.page.conftest import Opened, violations

QUEUE = "vmaf_job"


def is_paused(deployed: Deployed) -> bool:
    queues = deployed.call("GET", "/api/v1/worker/backlog")[1]
    return bool(next(each["paused"] for each in queues if each["queue"] == QUEUE))


def test_an_operator_pauses_and_resumes_a_queue_after_a_question(opened: Opened, deployed: Deployed) -> None:
    page = opened("/fleet")
    asked = list[str]()

    def refuse(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.once("dialog", refuse)
    page.get_by_role("button", name=f"Pause {QUEUE}").click()
    assert f"Pause {QUEUE}? It gets no new jobs." in asked[0]
    assert not is_paused(deployed)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name=f"Pause {QUEUE}").click()
    expect(page.get_by_role("row", name=QUEUE).get_by_text("paused · drained")).to_be_visible()
    assert is_paused(deployed)
    page.get_by_role("button", name=f"Resume {QUEUE}").click()
    expect(page.get_by_role("button", name=f"Pause {QUEUE}")).to_be_visible()
    assert not is_paused(deployed)


def test_the_last_hour_queues_and_deployments_are_shown(opened: Opened, deployed: Deployed) -> None:
    wait_for(lambda: deployed.call("GET", "/api/v1/worker/history")[1], "a sample of the queues")
    page = opened("/fleet")
    expect(page.get_by_role("heading", name="Cluster local")).to_be_visible()
    expect(page.get_by_role("row", name="elasticrecode/worker-cpu")).to_be_visible()
    expect(page.get_by_role("img", name="expected wait: ")).to_be_visible()
    page.get_by_label("Show").select_option("waiting jobs")
    expect(page.get_by_role("img", name="waiting jobs: ")).to_be_visible()
    assert violations(page) == []


def test_users_are_not_led_there(opened: Opened) -> None:
    page = opened("/", TENANTS[0])
    expect(page.get_by_role("link", name="Webhooks")).to_be_visible()
    expect(page.get_by_role("link", name="Fleet")).to_have_count(0)
