"""The discovery function, from a cluster's API to the answers of the routes about workers."""

import json
import random
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from elasticrecode.contract import routes
from elasticrecode.contract.metrics import CLUSTERS_UNREACHABLE
from elasticrecode.workers import fleet
from tests.conftest import contract
from tests.fakes.kubernetes import Api, Eks, deployment, status
from tests.fakes.stack import Stack
from tests.support import call

Serve = Callable[..., Api]


class Plane:
    """A stack, and discovery over its registry."""

    def __init__(self, allowed: list[str] | None = None) -> None:
        self.stack = Stack()
        self.allowed = ["ffmpeg*", "vmaf*"] if allowed is None else allowed

    def discover(self, *clusters: str) -> dict[str, Any]:
        """The answer of a new container of the function."""
        discover = self.stack.build(
            "discover", clusters=list(clusters or ("prod",)), allowed=self.allowed, reserved=["ffmpeg_dead"]
        )
        answer: dict[str, Any] = discover({}, None)
        return answer

    def get(self, route: str, **query: str) -> Any:
        answer = call(self.stack.workers, route, query=query or None)
        assert answer.status == 200, answer
        return answer.body

    def deployments(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.get(routes.WORKER_DEPLOYMENTS)
        return answer

    def backlog(self, queue: str) -> dict[str, Any]:
        (only,) = [entry for entry in self.get(routes.WORKER_BACKLOG) if entry["queue"] == queue]
        return dict(only)


def worker(name: str, ready: int = 1, namespace: str = "video", **env: str) -> dict[str, Any]:
    """A Deployment of workers."""
    item = deployment(name)
    item["metadata"]["namespace"] = namespace
    item["status"]["readyReplicas"] = ready
    variables = item["spec"]["template"]["spec"]["containers"][0]["env"]
    for variable in variables:
        variable["value"] = env.get(variable["name"], variable["value"])
    return item


def annotate(item: dict[str, Any], **annotations: str) -> dict[str, Any]:
    item["metadata"]["annotations"] |= {f"elastirecord.kubernetes.io/{k}": v for k, v in annotations.items()}
    return item


@pytest.fixture
def plane(eks: Eks, api: Api) -> Plane:
    eks.add("prod", api)
    return Plane()


def test_deployments_are_answered_as_documented(plane: Plane, api: Api) -> None:
    api.deployments = [worker("ffmpeg-worker")]
    assert plane.discover() == {"clusters": 1, "workers": 1, "unreachable": {}}
    answered = plane.deployments()
    for name, documented in contract("deployments.response").items():
        assert {key: answered[name][key] for key in documented} == documented
    added = {"namespace": "video", "cluster": "prod", "workerType": "ffmpeg", "desiredReplicas": 2, "stale": False}
    assert {key: answered["ffmpeg-worker"][key] for key in added} == added
    assert plane.get(routes.WORKER_QUEUES) == contract("queues.response")


def test_changes_are_seen_by_the_next_run(plane: Plane, api: Api) -> None:
    api.deployments = [worker("a", 3), worker("b", 2)]
    plane.discover()
    assert plane.backlog("ffmpeg_job")["readyReplicas"] == 5
    api.deployments = [worker("a", 1)]
    plane.discover()
    assert list(plane.deployments()) == ["a"]
    assert plane.backlog("ffmpeg_job")["readyReplicas"] == 1


def test_deployments_of_one_name_get_keys_with_namespace_and_cluster(plane: Plane, eks: Eks, serve: Serve) -> None:
    other = serve()
    eks.add("other", other)
    other.deployments = [worker("w", 7, "video"), worker("alone")]
    plane_api = [worker("w", 1, "video"), worker("w", 2, "film")]
    first = serve()
    eks.add("first", first)
    first.deployments = plane_api
    plane.discover("first", "other")
    answered = plane.deployments()
    assert set(answered) == {"alone", "film/w", "first/video/w", "other/video/w"}
    assert [answered[key]["Replicas"] for key in ("film/w", "first/video/w", "other/video/w")] == [2, 1, 7]
    assert all(entry["Name"] == key.split("/")[-1] for key, entry in answered.items())
    assert plane.backlog("ffmpeg_job")["readyReplicas"] == 11


def test_an_unreachable_cluster_keeps_its_workers_for_kept_seconds_and_holds_up_no_other(
    plane: Plane, api: Api, eks: Eks, serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = serve()
    eks.add("other", other)
    api.deployments, other.deployments = [worker("a", 3)], [worker("b", 1)]
    plane.discover("prod", "other")
    api.otherwise = status(403, 'User "discovery" cannot list resource "deployments"')
    other.deployments = [worker("b", 2)]
    answer = plane.discover("prod", "other")
    assert set(answer["unreachable"]) == {"prod"}
    assert "cannot list" in answer["unreachable"]["prod"]
    assert "cannot list" in caplog.text
    answered = plane.deployments()
    assert (answered["a"]["stale"], answered["a"]["Replicas"]) == (True, 3)
    assert (answered["b"]["stale"], answered["b"]["Replicas"]) == (False, 2)

    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + fleet.KEPT_SECONDS + 1)
    plane.discover("prod", "other")
    assert set(plane.deployments()) == {"b"}
    api.otherwise = other.otherwise
    plane.discover("prod", "other")
    assert set(plane.deployments()) == {"a", "b"}


def test_unreachable_clusters_are_counted_as_a_metric(
    plane: Plane, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.otherwise = status(401)
    plane.discover()
    emitted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    assert [entry[CLUSTERS_UNREACHABLE] for entry in emitted] == [[1.0]]


def test_workers_become_stale_and_then_disappear_without_runs(
    plane: Plane, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.deployments = [worker("a")]
    plane.discover()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + fleet.FRESH_SECONDS + 1)
    assert plane.deployments()["a"]["stale"]
    monkeypatch.setattr(time, "time", lambda: now + fleet.KEPT_SECONDS + 1)
    assert plane.deployments() == {}


def test_a_cluster_that_is_not_configured_any_more_is_removed(plane: Plane, api: Api, eks: Eks, serve: Serve) -> None:
    other = serve()
    eks.add("other", other)
    api.deployments, other.deployments = [worker("a")], [worker("b")]
    plane.discover("prod", "other")
    plane.discover("other")
    assert set(plane.deployments()) == {"b"}


def test_clusters_are_selected_by_tag(plane: Plane, eks: Eks, serve: Serve) -> None:
    for name, tag in (("mine", "enable"), ("theirs", "disable")):
        api = serve()
        api.deployments = [worker(f"in-{name}")]
        eks.add(name, api, elasticrecode=tag)
    plane.discover("tag:elasticrecode=enable")
    assert set(plane.deployments()) == {"in-mine"}


def test_discovered_queues_serve_beside_configured_ones(plane: Plane, api: Api) -> None:
    plane.stack.sqs.create_queue(QueueName="ffmpeg_gpu")
    api.deployments = [annotate(worker("g", QUEUE_NAME="ffmpeg_gpu"), platform="gpu")]
    plane.discover()
    assert plane.get(routes.WORKER_QUEUES) == {"cpu": ["ffmpeg_job"], "gpu": ["ffmpeg_gpu"], "vmaf": ["vmaf_job"]}
    job = contract("job")
    job["profile"]["ffmpeg"]["platform"] = "gpu"
    assert call(plane.stack.submit, routes.SUBMIT, job).status == 200
    plane.stack.flow()
    url = plane.stack.sqs.get_queue_url(QueueName="ffmpeg_gpu")["QueueUrl"]
    assert plane.stack.sqs.receive_message(QueueUrl=url)["Messages"]


@pytest.mark.parametrize(
    ("queue", "reason"),
    [
        ("ffmpeg_none", "no such queue"),
        ("control_dead", "option discoveredQueues"),
        ("ffmpeg_dead", "something other than jobs"),
        ("vmaf_job", "configured for vmaf jobs"),
    ],
)
def test_an_unusable_queue_is_answered_with_its_fault_and_gets_no_jobs(
    plane: Plane, api: Api, queue: str, reason: str
) -> None:
    for name in ("control_dead", "ffmpeg_dead"):
        plane.stack.sqs.create_queue(QueueName=name)
    api.deployments = [worker("a", 50, QUEUE_NAME=queue), worker("b", 1)]
    plane.discover()
    faults = [entry["fault"] for entry in plane.get(routes.WORKER_BACKLOG) if entry["queue"] == queue]
    assert [fault for fault in faults if fault and reason in fault]
    for _ in range(20):
        call(plane.stack.submit, routes.SUBMIT, contract("job"))
    assert {item["queue"]["S"] for item in plane.stack.items()} == {"ffmpeg_job"}


def test_a_configured_queue_that_does_not_exist_has_a_fault(plane: Plane) -> None:
    plane.stack.sqs.delete_queue(QueueUrl=plane.stack.queue["ffmpeg_job"])
    assert plane.backlog("ffmpeg_job")["fault"] == "there is no such queue"


def test_a_draining_deployment_gets_no_new_jobs(plane: Plane, api: Api) -> None:
    plane.stack.sqs.create_queue(QueueName="ffmpeg_two")
    api.deployments = [annotate(worker("a", 9), drain="enable"), worker("b", 1, QUEUE_NAME="ffmpeg_two")]
    plane.discover()
    assert plane.backlog("ffmpeg_job")["paused"]
    for _ in range(20):
        call(plane.stack.submit, routes.SUBMIT, contract("job"))
    assert {item["queue"]["S"] for item in plane.stack.items()} == {"ffmpeg_two"}


def test_ten_thousand_workers_are_registered_and_get_jobs(plane: Plane, api: Api) -> None:
    api.deployments = [
        worker(f"transcoder-{n:05d}-of-team-{n % 97}", n % 7, f"team-{n % 97}", QUEUE_NAME=f"ffmpeg_{n % 20}")
        for n in range(10_000)
    ]
    for n in range(20):
        plane.stack.sqs.create_queue(QueueName=f"ffmpeg_{n}")
    assert plane.discover()["workers"] == 10_000
    first = call(plane.stack.workers, routes.WORKER_DEPLOYMENTS)
    assert len(first.body) == 1000
    assert 'rel="next"' in first.headers["Link"]
    assert call(plane.stack.submit, routes.SUBMIT, contract("job")).status == 200


def test_faults_of_a_deployment_are_logged(plane: Plane, api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.deployments = [worker("broken", QUEUE_NAME="a queue"), worker("fine")]
    assert plane.discover()["workers"] == 1
    (record,) = [record for record in caplog.records if "a Deployment of workers has faults" in record.message]
    assert record.__dict__["deployment"] == "video/broken"
    assert "QUEUE_NAME" in record.__dict__["faults"][0]


def test_workers_of_a_server_with_a_false_certificate_are_not_registered(eks: Eks, serve: Serve) -> None:
    liar = serve(certified_by=trustme.CA())
    eks.add("prod", liar)
    liar.deployments = [worker("a")]
    plane = Plane()
    assert "certificate" in plane.discover()["unreachable"]["prod"]
    assert plane.deployments() == {}


def test_queues_get_no_jobs_before_their_lookup_and_each_has_its_turn(plane: Plane, api: Api) -> None:
    plane.stack.sqs.create_queue(QueueName="ffmpeg_z")
    ghosts = [worker(f"g{n}", 3, QUEUE_NAME=f"ffmpeg_ghost{n:03}") for n in range(150)]
    api.deployments = [*ghosts, worker("z", 50, QUEUE_NAME="ffmpeg_z")]
    for _ in range(3):
        plane.discover()
        call(plane.stack.submit, routes.SUBMIT, contract("job"))
        assert {item["queue"]["S"] for item in plane.stack.items()} <= {"ffmpeg_job", "ffmpeg_z"}
    assert plane.backlog("ffmpeg_z")["fault"] is None
    api.deployments = []
    plane.discover()
    assert {entry["queue"] for entry in plane.get(routes.WORKER_BACKLOG)} == {"ffmpeg_job", "vmaf_job"}


def test_a_queue_that_no_pattern_allows_any_more_gets_a_fault(plane: Plane, api: Api) -> None:
    plane.stack.sqs.create_queue(QueueName="ffmpeg_two")
    api.deployments = [worker("w", QUEUE_NAME="ffmpeg_two")]
    plane.discover()
    assert plane.backlog("ffmpeg_two")["fault"] is None
    plane.allowed = ["vmaf*"]
    plane.discover()
    assert "discoveredQueues" in plane.backlog("ffmpeg_two")["fault"]


def test_a_queue_with_workers_of_two_groups_gets_a_fault(plane: Plane, api: Api) -> None:
    plane.stack.sqs.create_queue(QueueName="ffmpeg_both")
    api.deployments = [
        worker("a", QUEUE_NAME="ffmpeg_both"),
        annotate(worker("b", QUEUE_NAME="ffmpeg_both"), platform="gpu"),
    ]
    plane.discover()
    answered = {
        entry["platform"]: entry["fault"]
        for entry in plane.get(routes.WORKER_BACKLOG)
        if entry["queue"] == "ffmpeg_both"
    }
    assert answered == {
        "cpu": "workers for gpu jobs take from it, too",
        "gpu": "workers for cpu jobs take from it, too",
    }


def test_a_large_cluster_is_stored_in_several_items_and_answered_in_pages(plane: Plane, api: Api) -> None:
    random.seed(1)
    api.deployments = [
        worker("".join(random.choices("abcdefghijklmnopqrstuvwxyz-0123456789", k=253)), namespace=f"n{n:062}")
        for n in range(4000)
    ]
    assert plane.discover()["workers"] == 4000
    query, seen = {"limit": "1000"}, 0
    while True:
        answer = call(plane.stack.workers, routes.WORKER_DEPLOYMENTS, query=query)
        assert answer.status == 200, answer
        seen += len(answer.body)
        if "Link" not in answer.headers:
            break
        query["after"] = parse_qs(urlsplit(answer.headers["Link"][1:].split(">")[0]).query)["after"][0]
    assert seen == 4000


@pytest.mark.parametrize("name", ["loads", "queues", "cluster#prod", "cluster#odd"])
@pytest.mark.parametrize("document", [{"B": b"garbage"}, {"S": "text"}, None])
def test_a_damaged_document_counts_as_absent_and_is_replaced(
    plane: Plane, api: Api, name: str, document: dict[str, Any] | None
) -> None:
    api.deployments = [worker("a")]
    plane.discover()
    damaged: dict[str, Any] = {"part": {"S": "registry"}, "name": {"S": name}, "parts": {"N": "1"}}
    damaged |= {"document": document} if document else {}
    plane.stack.dynamodb.put_item(TableName="registry", Item=damaged)
    assert call(plane.stack.submit, routes.SUBMIT, contract("job")).status == 200
    plane.discover()
    assert list(plane.deployments()) == ["a"]
    assert plane.backlog("ffmpeg_job")["readyReplicas"] == 1
