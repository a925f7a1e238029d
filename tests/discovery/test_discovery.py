"""The discovery function, from a cluster's API to what clients are told."""

import json
import random
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from elasticrecode.contract import routes, settings
from elasticrecode.contract.metrics import CLUSTERS_UNREACHABLE
from elasticrecode.workers import fleet
from tests.aws.conftest import Stack
from tests.conftest import contract
from tests.discovery.conftest import Api, Eks, deployment, status
from tests.support import call, function

Serve = Callable[..., Api]


class Plane:
    """A stack, and discovery over its registry."""

    def __init__(self, allowed: list[str] | None = None) -> None:
        self.stack = Stack()
        self.settings = settings.DiscoverySettings(
            registry_table="registry",
            queues=self.stack.queues,
            control_queue="control_plane",
            clusters=["prod"],
            allowed=["ffmpeg*", "vmaf*"] if allowed is None else allowed,
            reserved=["ffmpeg_dead"],
        )

    def discover(self, *clusters: str) -> dict[str, Any]:
        """What a new container of the function answers."""
        told = self.settings if not clusters else settings.DiscoverySettings.read(
            self.settings.environ() | {"CLUSTERS": json.dumps(clusters)}
        )  # fmt: skip
        found: dict[str, Any] = function("discovery").build(told)({}, None)
        return found

    def get(self, route: str, **query: str) -> Any:
        answer = call(self.stack.workers, route, query=query or None)
        assert answer.status == 200, answer
        return answer.body

    def deployments(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get(routes.WORKER_DEPLOYMENTS)
        return found

    def backlog(self, queue: str) -> dict[str, Any]:
        (found,) = [entry for entry in self.get(routes.WORKER_BACKLOG) if entry["queue"] == queue]
        return dict(found)


def worker(name: str, ready: int = 1, namespace: str = "video", **env: str) -> dict[str, Any]:
    """A Deployment of workers."""
    made = deployment(name)
    made["metadata"]["namespace"] = namespace
    made["status"]["readyReplicas"] = ready
    variables = made["spec"]["template"]["spec"]["containers"][0]["env"]
    for variable in variables:
        variable["value"] = env.get(variable["name"], variable["value"])
    return made


def annotate(made: dict[str, Any], **annotations: str) -> dict[str, Any]:
    made["metadata"]["annotations"] |= {f"elastirecord.kubernetes.io/{k}": v for k, v in annotations.items()}
    return made


@pytest.fixture
def plane(eks: Eks, api: Api) -> Plane:
    eks.add("prod", api)
    return Plane()


def test_deployments_are_told_as_documented(plane: Plane, api: Api) -> None:
    api.deployments = [worker("ffmpeg-worker")]
    assert plane.discover() == {"clusters": 1, "workers": 1, "unreachable": {}}
    told = plane.deployments()
    for name, documented in contract("deployments.response").items():
        assert {key: told[name][key] for key in documented} == documented
    added = {"namespace": "video", "cluster": "prod", "workerType": "ffmpeg", "desiredReplicas": 2, "stale": False}
    assert {key: told["ffmpeg-worker"][key] for key in added} == added
    assert plane.get(routes.WORKER_QUEUES) == contract("queues.response")


def test_what_changes_or_goes_is_seen_at_the_next_look(plane: Plane, api: Api) -> None:
    api.deployments = [worker("a", 3), worker("b", 2)]
    plane.discover()
    assert plane.backlog("ffmpeg_job")["readyReplicas"] == 5
    api.deployments = [worker("a", 1)]
    plane.discover()
    assert list(plane.deployments()) == ["a"]
    assert plane.backlog("ffmpeg_job")["readyReplicas"] == 1


def test_the_same_name_in_two_namespaces_and_clusters_stays_two(plane: Plane, eks: Eks, serve: Serve) -> None:
    other = serve()
    eks.add("other", other)
    other.deployments = [worker("w", 7, "video"), worker("alone")]
    plane_api = [worker("w", 1, "video"), worker("w", 2, "film")]
    first = serve()
    eks.add("first", first)
    first.deployments = plane_api
    plane.discover("first", "other")
    told = plane.deployments()
    assert set(told) == {"alone", "film/w", "first/video/w", "other/video/w"}
    assert [told[key]["Replicas"] for key in ("film/w", "first/video/w", "other/video/w")] == [2, 1, 7]
    assert all(entry["Name"] == key.split("/")[-1] for key, entry in told.items())
    assert plane.backlog("ffmpeg_job")["readyReplicas"] == 11


def test_a_cluster_that_cannot_be_looked_at_keeps_its_workers_for_a_while_and_stops_no_other(
    plane: Plane, api: Api, eks: Eks, serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = serve()
    eks.add("other", other)
    api.deployments, other.deployments = [worker("a", 3)], [worker("b", 1)]
    plane.discover("prod", "other")
    api.otherwise = status(403, 'User "discovery" cannot list resource "deployments"')
    other.deployments = [worker("b", 2)]
    said = plane.discover("prod", "other")
    assert set(said["unreachable"]) == {"prod"}
    assert "cannot list" in said["unreachable"]["prod"]
    assert "cannot list" in caplog.text
    told = plane.deployments()
    assert (told["a"]["stale"], told["a"]["Replicas"]) == (True, 3)
    assert (told["b"]["stale"], told["b"]["Replicas"]) == (False, 2)

    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + fleet.KEPT_SECONDS + 1)
    plane.discover("prod", "other")
    assert set(plane.deployments()) == {"b"}
    api.otherwise = other.otherwise
    plane.discover("prod", "other")
    assert set(plane.deployments()) == {"a", "b"}


def test_clusters_that_cannot_be_looked_at_are_counted(
    plane: Plane, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.otherwise = status(401)
    plane.discover()
    emitted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    assert [entry[CLUSTERS_UNREACHABLE] for entry in emitted] == [[1.0]]


def test_a_look_that_nobody_makes_any_more_is_stale_and_then_forgotten(
    plane: Plane, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.deployments = [worker("a")]
    plane.discover()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + fleet.FRESH_SECONDS + 1)
    assert plane.deployments()["a"]["stale"]
    monkeypatch.setattr(time, "time", lambda: now + fleet.KEPT_SECONDS + 1)
    assert plane.deployments() == {}


def test_a_cluster_that_is_not_named_any_more_is_forgotten(plane: Plane, api: Api, eks: Eks, serve: Serve) -> None:
    other = serve()
    eks.add("other", other)
    api.deployments, other.deployments = [worker("a")], [worker("b")]
    plane.discover("prod", "other")
    plane.discover("other")
    assert set(plane.deployments()) == {"b"}


def test_clusters_are_found_by_their_tag(plane: Plane, eks: Eks, serve: Serve) -> None:
    for name, tag in (("mine", "enable"), ("theirs", "disable")):
        made = serve()
        made.deployments = [worker(f"in-{name}")]
        eks.add(name, made, elasticrecode=tag)
    plane.discover("tag:elasticrecode=enable")
    assert set(plane.deployments()) == {"in-mine"}


def test_queues_that_workers_bring_along_serve_beside_those_named_by_hand(plane: Plane, api: Api) -> None:
    plane.stack.sqs.create_queue(QueueName="ffmpeg_gpu")
    api.deployments = [annotate(worker("g", QUEUE_NAME="ffmpeg_gpu"), platform="gpu")]
    plane.discover()
    assert plane.get(routes.WORKER_QUEUES) == {"cpu": ["ffmpeg_job"], "gpu": ["ffmpeg_gpu"], "vmaf": ["vmaf_job"]}
    asked = contract("job")
    asked["profile"]["ffmpeg"]["platform"] = "gpu"
    assert call(plane.stack.submit, routes.SUBMIT, asked).status == 200
    plane.stack.flow()
    url = plane.stack.sqs.get_queue_url(QueueName="ffmpeg_gpu")["QueueUrl"]
    assert plane.stack.sqs.receive_message(QueueUrl=url)["Messages"]


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        ("ffmpeg_none", "no such queue"),
        ("control_dead", "option discoveredQueues"),
        ("ffmpeg_dead", "for something else"),
        ("vmaf_job", "named for vmaf jobs"),
    ],
)
def test_a_queue_that_cannot_be_used_is_told_with_the_reason_and_gets_nothing(
    plane: Plane, api: Api, queue: str, said: str
) -> None:
    for name in ("control_dead", "ffmpeg_dead"):
        plane.stack.sqs.create_queue(QueueName=name)
    api.deployments = [worker("a", 50, QUEUE_NAME=queue), worker("b", 1)]
    plane.discover()
    faults = [entry["fault"] for entry in plane.get(routes.WORKER_BACKLOG) if entry["queue"] == queue]
    assert [fault for fault in faults if fault and said in fault]
    for _ in range(20):
        call(plane.stack.submit, routes.SUBMIT, contract("job"))
    assert {item["queue"]["S"] for item in plane.stack.items()} == {"ffmpeg_job"}


def test_a_queue_named_by_hand_that_is_not_there_is_told(plane: Plane) -> None:
    plane.stack.sqs.delete_queue(QueueUrl=plane.stack.queue["ffmpeg_job"])
    assert plane.backlog("ffmpeg_job")["fault"] == "there is no such queue"


def test_a_deployment_that_drains_gets_no_new_work(plane: Plane, api: Api) -> None:
    plane.stack.sqs.create_queue(QueueName="ffmpeg_two")
    api.deployments = [annotate(worker("a", 9), drain="enable"), worker("b", 1, QUEUE_NAME="ffmpeg_two")]
    plane.discover()
    assert plane.backlog("ffmpeg_job")["paused"]
    for _ in range(20):
        call(plane.stack.submit, routes.SUBMIT, contract("job"))
    assert {item["queue"]["S"] for item in plane.stack.items()} == {"ffmpeg_two"}


def test_ten_thousand_workers_are_kept_and_routed_to(plane: Plane, api: Api) -> None:
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


def test_discovery_says_what_is_wrong_with_a_deployment(
    plane: Plane, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.deployments = [worker("broken", QUEUE_NAME="a queue"), worker("fine")]
    assert plane.discover()["workers"] == 1
    (record,) = [record for record in caplog.records if "says it is a worker" in record.message]
    assert record.__dict__["deployment"] == "video/broken"
    assert "QUEUE_NAME" in record.__dict__["faults"][0]


def test_another_authority_is_not_believed(eks: Eks, serve: Serve) -> None:
    liar = serve(certified_by=trustme.CA())
    eks.add("prod", liar)
    liar.deployments = [worker("a")]
    plane = Plane()
    assert "certificate" in plane.discover()["unreachable"]["prod"]
    assert plane.deployments() == {}


def test_a_queue_that_was_not_looked_up_gets_nothing_and_each_has_its_turn(plane: Plane, api: Api) -> None:
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


def test_what_no_pattern_allows_any_more_gets_nothing(plane: Plane, api: Api) -> None:
    plane.stack.sqs.create_queue(QueueName="ffmpeg_two")
    api.deployments = [worker("w", QUEUE_NAME="ffmpeg_two")]
    plane.discover()
    assert plane.backlog("ffmpeg_two")["fault"] is None
    plane.settings = settings.DiscoverySettings.read(plane.settings.environ() | {"ALLOWED": '["vmaf*"]'})
    plane.discover()
    assert "discoveredQueues" in plane.backlog("ffmpeg_two")["fault"]


def test_a_queue_that_workers_of_two_groups_take_from_gets_nothing(plane: Plane, api: Api) -> None:
    plane.stack.sqs.create_queue(QueueName="ffmpeg_both")
    api.deployments = [
        worker("a", QUEUE_NAME="ffmpeg_both"),
        annotate(worker("b", QUEUE_NAME="ffmpeg_both"), platform="gpu"),
    ]
    plane.discover()
    told = {
        entry["platform"]: entry["fault"]
        for entry in plane.get(routes.WORKER_BACKLOG)
        if entry["queue"] == "ffmpeg_both"
    }
    assert told == {
        "cpu": "workers for gpu jobs take from it, too",
        "gpu": "workers for cpu jobs take from it, too",
    }


def test_long_names_lie_in_several_items_and_come_in_pages(plane: Plane, api: Api) -> None:
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
def test_a_damaged_document_stops_nothing_and_is_made_anew(
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
