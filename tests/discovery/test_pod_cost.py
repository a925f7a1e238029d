"""A worker's own pod on a Kubernetes API, well and badly behaved."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import trustme
import urllib3

from tests.e2e import conftest as e2e
from tests.fakes.kubernetes import Api, Step, closed_port, hang, status, vanish
from tests.fakes.pods import BUSY, COST, NAMESPACE, Pods, cost, pod
from tests.kit.manifests import KIT, objects
from worker import pod_cost
from worker.pod_cost import PodCost
from worker.settings import Settings

SETTLE, STEP = 0.2, 0.05
REQUIRED = {"WORKER_TYPE": "debug", "QUEUE_NAME": "q", "CONTROL_PLANE": "c", "POD_NAME": "worker-1"}


class Clock:
    """The worker's clock. It goes on only while a test waits for something, so that a slow machine delays nothing."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()


def wait_for(condition: Callable[[], Any], what: str) -> None:
    """Wait until the condition gives something, and let the worker's clock go on."""

    def look() -> Any:
        pod_cost.time.now += STEP  # type: ignore[attr-defined]
        return condition()

    e2e.wait_for(look, what)


@pytest.fixture
def pods(api: Api, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pods:
    """A cluster with the kit's grants and one pod, in which the test runs."""
    pods = Pods(api, objects(KIT / "scale-down.yaml"), tmp_path, authority.cert_pem.bytes())
    monkeypatch.setattr(pod_cost, "FOLDER", pods.add(pod("worker-1", "node-1")))
    monkeypatch.setattr(pod_cost, "SETTLE_SECONDS", SETTLE)
    monkeypatch.setattr(pod_cost, "TIMEOUT", urllib3.Timeout(connect=60, read=60))
    monkeypatch.setattr(pod_cost, "time", Clock())
    return pods


def settings(port: int, **more: str) -> Settings:
    address = {"KUBERNETES_SERVICE_HOST": "localhost", "KUBERNETES_SERVICE_PORT": str(port)}
    return Settings.read(REQUIRED | {"POD_NAMESPACE": NAMESPACE} | address | more)


class _Ended(Exception):
    """Ends the thread of a PodCost."""


class _Follower(PodCost):
    """A PodCost whose thread can end."""

    def _follow(self) -> None:
        with suppress(_Ended):
            super()._follow()

    def end(self) -> None:
        with self._changed:
            self._due = Mock(side_effect=_Ended)  # type: ignore[method-assign]
            self._changed.notify()
        for thread in _threads(self):
            thread.join()


@pytest.fixture
def follow(api: Api) -> Iterator[Callable[[Settings], PodCost]]:
    """Starts a worker's PodCost, whose thread ends with the test: a later test would see what it logs."""
    started = []

    def start(read: Settings) -> PodCost:
        follower = _Follower(read)
        follower.start()
        started.append(follower)
        return follower

    yield start
    api.over.set()
    for follower in started:
        follower.end()


Follow = Callable[[Settings], PodCost]


def costs(api: Api) -> list[str | None]:
    """The costs that the API was asked to set, in order."""
    return [json.loads(seen.body)["metadata"]["annotations"][COST] for seen in api.seen]


def test_the_pod_is_costly_while_a_job_runs_and_free_when_idle(api: Api, pods: Pods, follow: Follow) -> None:
    worker = follow(settings(api.server_port))
    before = pods.pods["worker-1"]
    with worker.busy():
        wait_for(lambda: cost(pods.pods["worker-1"]) > 0, "the cost")
        assert pods.pods["worker-1"]["metadata"]["labels"][BUSY] == "true"
    wait_for(lambda: costs(api)[-1] is None and len(costs(api)) == 2, "the end of the cost")
    wait_for(lambda: pods.pods["worker-1"] == before, "the pod of before")


def test_the_request_carries_the_token_of_the_pod_and_changes_an_annotation_and_a_label(
    api: Api, pods: Pods, follow: Follow
) -> None:
    token = (pod_cost.FOLDER / "token").read_text()
    worker = follow(settings(api.server_port))
    with worker.busy():
        wait_for(lambda: api.seen, "a request")
    (seen,) = api.seen
    assert seen.path == f"/api/v1/namespaces/{NAMESPACE}/pods/worker-1"
    assert seen.headers["Authorization"] == f"Bearer {token}"
    changed = {"annotations": {COST: costs(api)[0]}, "labels": {BUSY: "true" if costs(api)[0] else None}}
    assert json.loads(seen.body) == {"metadata": changed}


def test_short_jobs_cause_no_request(api: Api, pods: Pods, follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_cost, "SETTLE_SECONDS", 1.0)
    worker = follow(settings(api.server_port))
    wait_for(lambda: costs(api) == [None], "the first request, which says that the worker is idle")
    for _ in range(500):
        with worker.busy():
            pass
    with worker.busy():
        wait_for(lambda: len(api.seen) > 1, "the request of a long job")
    assert len(api.seen) == 2


def test_a_worker_that_goes_from_job_to_job_never_looks_idle_and_its_longer_jobs_cost_more(
    api: Api, pods: Pods, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, now = follow(settings(api.server_port)), time.time()
    asked: list[int] = []
    for number in range(4):
        monkeypatch.setattr(time, "time", lambda number=number: now + 60 * number)
        with worker.busy():
            wait_for(lambda: cost(pods.pods["worker-1"]) not in {0, *asked}, "the cost of this job")
        asked.append(cost(pods.pods["worker-1"]))
    assert costs(api) == [str(one) for one in asked], "not once the end of a cost"
    assert asked == sorted(set(asked), reverse=True), "the job that began last costs least"


def test_many_short_jobs_after_a_long_one_take_its_cost_back(
    api: Api, pods: Pods, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, now = follow(settings(api.server_port)), time.time()
    with worker.busy():
        wait_for(lambda: cost(pods.pods["worker-1"]), "the cost of the long job")
    monkeypatch.setattr(time, "time", lambda: now + 60)

    def free() -> bool:
        with worker.busy():
            pass
        return not cost(pods.pods["worker-1"])

    wait_for(free, "the end of the cost")
    assert len(api.seen) == 2


def test_the_cost_that_a_crashed_worker_left_is_taken_back(api: Api, pods: Pods, follow: Follow) -> None:
    pods.pods["worker-1"]["metadata"]["annotations"][COST] = "2000000000"
    follow(settings(api.server_port))
    wait_for(lambda: not cost(pods.pods["worker-1"]), "the end of the cost")


BAD: dict[str, Step] = {
    "401": status(401, "Unauthorized"),
    "403": status(403, 'pods "worker-1" is forbidden'),
    "404": status(404, 'pods "worker-1" not found'),
    "409": status(409, "the object has been modified"),
    "429": status(429, "too many requests", Retry_After="0"),
    "500": status(500, "etcd"),
    "503": lambda handler: handler.answer(503, b"<html>"),
    "redirect": status(302, "", Location="https://localhost:1/"),
    "silent": hang,
    "gone": vanish,
}


@pytest.mark.parametrize("step", BAD.values(), ids=BAD)
def test_a_failure_is_logged_once_and_the_request_repeated(
    api: Api,
    pods: Pods,
    follow: Follow,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    step: Step,
) -> None:
    caplog.set_level(logging.INFO)
    if step is hang:
        monkeypatch.setattr(pod_cost, "TIMEOUT", urllib3.Timeout(connect=60, read=0.3))
    api.script.extend([step, step])
    worker = follow(settings(api.server_port))
    with worker.busy():
        wait_for(lambda: len(caplog.records) == 2, "the lines of the log")
        assert cost(pods.pods["worker-1"])
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "a scale-down may end its job" in caplog.records[0].getMessage()


def test_no_job_waits_for_a_request(api: Api, pods: Pods, follow: Follow, caplog: pytest.LogCaptureFixture) -> None:
    api.script.append(hang)
    worker = follow(settings(api.server_port))
    wait_for(lambda: api.seen, "a request")
    for _ in range(100):
        with worker.busy():
            pass
    assert len(api.seen) == 1
    assert caplog.records == [], "the request goes on"


def test_the_log_names_the_refusal_and_the_remedy(
    api: Api, pods: Pods, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    pods.rotate("worker-1", "default")
    worker = follow(settings(api.server_port))
    with worker.busy():
        wait_for(lambda: caplog.records, "a line")
    line = caplog.records[0].getMessage()
    assert 'answers 403: pods "worker-1" is forbidden' in line
    assert line.endswith("Apply deploy/k8s/scale-down.yaml")


def test_the_token_of_a_pod_is_of_no_use_for_another_pod(
    api: Api, pods: Pods, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    pods.add(pod("worker-2", "node-1"))
    worker = follow(settings(api.server_port, POD_NAME="worker-2"))
    with worker.busy():
        wait_for(lambda: caplog.records, "a line")
    assert "a worker may change its own pod only" in caplog.text
    assert not cost(pods.pods["worker-2"])


def test_failures_are_repeated_ever_more_rarely_and_not_before_the_api_wants(
    api: Api, pods: Pods, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_cost, "SETTLE_SECONDS", 0.01)
    api.script.extend([status(503)] * 4 + [status(429, Retry_After="600")])
    worker = follow(settings(api.server_port))
    with worker.busy():
        wait_for(lambda: worker._pause in (0.08, 300.0), "the fourth pause, which is twice the third")
        wait_for(lambda: worker._pause == 300.0, "the pause that the API wants, but no longer than five minutes")
    assert len(api.seen) == 5


def test_a_token_that_kubernetes_has_replaced_is_read_again(api: Api, pods: Pods, follow: Follow) -> None:
    worker = follow(settings(api.server_port))
    with worker.busy():
        wait_for(lambda: cost(pods.pods["worker-1"]), "the cost")
        token = pods.rotate("worker-1")
    wait_for(lambda: not cost(pods.pods["worker-1"]), "the end of the cost")
    assert api.seen[-1].headers["Authorization"] == f"Bearer {token}"


def test_a_server_of_another_authority_gets_no_token(
    serve: Callable[..., Api], pods: Pods, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    other = serve(certified_by=trustme.CA())
    worker = follow(settings(other.server_port))
    with worker.busy():
        wait_for(lambda: caplog.records, "a line")
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text
    assert other.seen == []


def test_a_closed_port_is_logged(pods: Pods, follow: Follow, caplog: pytest.LogCaptureFixture) -> None:
    worker = follow(settings(closed_port()))
    with worker.busy():
        wait_for(lambda: caplog.records, "a line")
    assert "Connection refused" in caplog.text


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
def test_a_missing_file_is_logged(
    api: Api, pods: Pods, follow: Follow, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    worker = follow(settings(api.server_port))
    wait_for(lambda: api.seen, "the first request")
    (pod_cost.FOLDER / missing).unlink()
    with worker.busy():
        wait_for(lambda: caplog.records, "a line")
    assert "No such file" in caplog.text
    assert len(api.seen) == 1


@pytest.mark.parametrize(
    "left_out", [{"KUBERNETES_SERVICE_HOST": ""}, {"POD_NAMESPACE": ""}], ids=["no cluster", "no namespace"]
)
def test_nothing_happens_outside_kubernetes(api: Api, pods: Pods, follow: Follow, left_out: dict[str, str]) -> None:
    worker = follow(settings(api.server_port, **left_out))
    assert not _threads(worker)
    with worker.busy():
        assert api.seen == []


def test_nothing_happens_in_a_pod_without_a_token(
    api: Api, pods: Pods, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    (pod_cost.FOLDER / "token").unlink()
    worker = follow(settings(api.server_port))
    assert not _threads(worker)
    assert caplog.records == []


def test_an_address_of_version_6_is_put_in_brackets() -> None:
    read = Settings.read(REQUIRED | {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"})
    assert read.kubernetes == "https://[fd00::1]:443"


def _threads(worker: PodCost) -> list[Any]:
    return [thread for thread in threading.enumerate() if getattr(thread, "_target", None) == worker._follow]
