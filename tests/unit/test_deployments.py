"""Reading workers from the Deployments of a cluster."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elasticrecode.workers.deployments import (
    ANNOTATION_PREFIX,
    Page,
    UnreadableDeployment,
    WorkerDeployment,
    read_page,
    read_worker,
)
from elasticrecode.workers.fleet import Worker

OURS = "control_plane"
ENV = {"WORKER_TYPE": "ffmpeg", "QUEUE_NAME": "ffmpeg_job", "CONTROL_PLANE": OURS}
ELSEWHERE = {"valueFrom": {"configMapKeyRef": {"name": "video", "key": "queue"}}}


def deployment(env: dict[str, Any] | None = None, **annotations: str | None) -> dict[str, Any]:
    """A Deployment that is a worker of ours, with changed variables and annotations. A variable may be an object."""
    variables = ENV | (env or {})
    given = {"worker": "enable"} | {name.replace("_", "-"): value for name, value in annotations.items()}
    return {
        "metadata": {
            "name": "transcoder",
            "namespace": "video",
            "annotations": {ANNOTATION_PREFIX + name: value for name, value in given.items()},
        },
        "spec": {
            "replicas": 3,
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "worker",
                            "env": [
                                {"name": name} | (value if isinstance(value, dict) else {"value": value})
                                for name, value in variables.items()
                            ],
                        },
                        {"name": "sidecar", "env": [{"name": "QUEUE_NAME", "value": "another"}]},
                    ]
                }
            },
        },
        "status": {"replicas": 3, "readyReplicas": 2},
    }


def page(*items: Any, **metadata: Any) -> Page:
    return read_page(json.dumps({"kind": "DeploymentList", "metadata": metadata, "items": items}).encode())


def read(item: Any) -> WorkerDeployment | None:
    """The worker that one Deployment describes."""
    result = [read_worker(one, "prod", OURS) for one in page(item).deployments]
    assert len(result) <= 1
    return result[0] if result else None


def used(item: Any) -> Worker:
    """A worker without fault."""
    result = read(item)
    assert result
    assert result.worker
    assert result.faults == []
    return result.worker


def unusable(item: Any) -> str:
    """The faults of an unusable worker, joined."""
    result = read(item)
    assert result
    assert result.worker is None
    assert all(fault.endswith(".") for fault in result.faults)
    return " ".join(result.faults)


def container(item: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = item["spec"]["template"]["spec"]["containers"][0]
    return first


def test_a_worker_with_all_annotations() -> None:
    item = deployment(platform="gpu", priority="67-100", price_model="spot", weight="2.5", drain="enable")
    assert read(item) == WorkerDeployment(
        cluster="prod",
        namespace="video",
        name="transcoder",
        worker=Worker(
            cluster="prod",
            namespace="video",
            name="transcoder",
            queue="ffmpeg_job",
            kind="ffmpeg",
            platform="gpu",
            ready=2,
            desired=3,
            price="spot",
            priority=(67, 100),
            weight=2.5,
            draining=True,
        ),
        faults=[],
    )


def test_a_worker_without_annotations_has_the_defaults() -> None:
    result = used(deployment())
    assert (result.platform, result.price, result.priority, result.weight) == ("cpu", "normal", (0, 100), 1.0)
    assert not result.draining
    assert result.group == "cpu"


def test_empty_annotations_count_as_absent() -> None:
    assert used(deployment(platform="", priority=" ", price_model="", weight="", drain="")) == used(deployment())


@pytest.mark.parametrize("value", ["enable", "Enable", "ENABLE", " enable "])
def test_enable_is_read_in_any_case(value: str) -> None:
    assert used(deployment(worker=value))


@pytest.mark.parametrize("value", ["disable", "", None, "true", "enabled"])
def test_a_deployment_that_is_not_enabled_is_no_worker(value: str | None) -> None:
    assert read(deployment(worker=value)) is None


def test_annotation_keys_are_exact() -> None:
    for key in (
        "elasticrecode.kubernetes.io/worker",
        ANNOTATION_PREFIX + "Worker",
        ANNOTATION_PREFIX.upper() + "worker",
    ):
        item = deployment()
        item["metadata"]["annotations"] = {key: "enable"}
        assert read(item) is None


@pytest.mark.parametrize("control_plane", ["other", "CONTROL_PLANE", " control_plane", "", None, {}])
def test_workers_of_another_control_queue_are_ignored(control_plane: Any) -> None:
    assert read(deployment({"CONTROL_PLANE": control_plane})) is None


def test_annotation_values_are_read_in_any_case() -> None:
    item = deployment({"WORKER_TYPE": "VMAF"}, platform="GPU", price_model="Spot", drain="Enable")
    result = used(item)
    assert (result.kind, result.platform, result.price, result.draining) == ("vmaf", "gpu", "spot", True)
    assert result.group == "vmaf"


# Absent fields


@pytest.mark.parametrize("empty", [{}, {"metadata": None}, {"metadata": {}}, {"metadata": {"annotations": None}}])
def test_deployments_without_annotations_are_no_workers(empty: dict[str, Any]) -> None:
    assert read(empty) is None
    assert read(deployment() | {"metadata": None} | empty) is None


@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("key", ["spec", "template", "spec below", "containers", "env"])
def test_without_an_environment_a_deployment_is_ignored(key: str, absent: bool) -> None:
    item = deployment()
    template = item["spec"]["template"]
    holder = {
        "spec": item,
        "template": item["spec"],
        "spec below": template,
        "containers": template["spec"],
        "env": container(item),
    }[key]
    holder[key.split()[0]] = None
    if absent:
        del holder[key.split()[0]]
    assert read(item) is None


def test_a_deployment_without_containers_is_ignored() -> None:
    item = deployment()
    item["spec"]["template"]["spec"]["containers"] = []
    assert read(item) is None


def test_only_the_first_container_counts() -> None:
    item = deployment()
    item["spec"]["template"]["spec"]["containers"].reverse()
    assert read(item) is None


@pytest.mark.parametrize(
    ("status", "ready"),
    [(None, 0), ({}, 0), ({"readyReplicas": None}, 0), ({"replicas": 9, "readyReplicas": 1}, 1), ({"replicas": 9}, 0)],
)
def test_missing_ready_replicas_count_as_zero(status: Any, ready: int) -> None:
    assert used(deployment() | {"status": status}).ready == ready


@pytest.mark.parametrize(("replicas", "desired"), [(None, 1), (0, 0), (7, 7)])
def test_one_replica_is_desired_by_default(replicas: int | None, desired: int) -> None:
    item = deployment()
    item["spec"]["replicas"] = replicas
    assert used(item).desired == desired
    del item["spec"]["replicas"]
    assert used(item).desired == 1


def test_one_name_in_two_namespaces_and_clusters_is_four_workers() -> None:
    there = deployment()
    there["metadata"]["namespace"] = "other"
    listed = page(deployment(), there).deployments
    result = [read_worker(one, cluster, OURS) for one in listed for cluster in ("a", "b")]
    assert len({(one.cluster, one.namespace, one.name) for one in result if one}) == 4


def test_the_last_of_two_variables_counts() -> None:
    item = deployment()
    container(item)["env"] += [{"name": "QUEUE_NAME", "value": "late"}]
    assert used(item).queue == "late"
    container(item)["env"] += [{"name": "CONTROL_PLANE", "value": "other"}]
    assert read(item) is None


# Faults that make a worker unusable


def test_a_control_queue_from_a_reference_is_a_fault() -> None:
    value: dict[str, Any]
    for value in (ELSEWHERE, {"valueFrom": {}}):
        assert "CONTROL_PLANE comes from `valueFrom`" in unusable(deployment({"CONTROL_PLANE": value}))
    assert "CONTROL_PLANE refers to other variables" in unusable(deployment({"CONTROL_PLANE": "$(PREFIX)_plane"}))
    assert read(deployment({"CONTROL_PLANE": ELSEWHERE}, worker="disable")) is None


def test_a_control_queue_that_may_come_from_env_from_is_a_fault() -> None:
    item = deployment()
    container(item)["envFrom"] = [{"configMapRef": {"name": "video"}}]
    assert used(item)
    container(item)["env"] = None
    assert "CONTROL_PLANE is not in `env` and may come from `envFrom`" in unusable(item)


@pytest.mark.parametrize("name", ["QUEUE_NAME", "WORKER_TYPE"])
def test_unknown_queue_names_and_worker_types_are_faults(name: str) -> None:
    missing: Any
    for missing in (None, "", {}):
        assert f"{name} is not set in its first container" in unusable(deployment({name: missing}))
    assert f"{name} comes from `valueFrom`" in unusable(deployment({name: ELSEWHERE}))
    assert f"{name} refers to other variables" in unusable(deployment({name: "$(PREFIX)_job"}))


@pytest.mark.parametrize(
    "queue", ["ffmpeg job", "a.fifo", "arn:aws:sqs:us-east-1:1:q", "q" * 81, "schlüssel", "q\n", "x" * 100_000]
)
def test_an_impossible_queue_name_is_a_fault(queue: str) -> None:
    message = unusable(deployment({"QUEUE_NAME": queue}))
    assert "QUEUE_NAME is " in message
    assert "can't be the name of an SQS queue" in message
    assert len(message) < 300


def test_a_worker_may_not_take_jobs_from_the_control_queue() -> None:
    assert "the same queue" in unusable(deployment({"QUEUE_NAME": OURS}))


@pytest.mark.parametrize("kind", ["painter", "ffmpeg ", "cpu"])
def test_an_unknown_worker_type_is_a_fault(kind: str) -> None:
    assert f"WORKER_TYPE is {kind!r}, and must be one of ffmpeg, vmaf, debug." in unusable(
        deployment({"WORKER_TYPE": kind})
    )


@pytest.mark.parametrize("platform", ["tpu", "cpu,gpu", "GPU0"])
def test_an_unknown_platform_is_a_fault(platform: str) -> None:
    assert f"Annotation {ANNOTATION_PREFIX}platform is {platform!r}, and must be cpu or gpu." in unusable(
        deployment(platform=platform)
    )


def test_every_fault_is_listed() -> None:
    item = deployment(
        {"QUEUE_NAME": "", "WORKER_TYPE": "x"}, platform="x", priority="x", price_model="x", weight="x", drain="x"
    )
    item["metadata"]["name"] = None
    message = unusable(item)
    for name in ("QUEUE_NAME", "WORKER_TYPE", "platform", "priority", "price-model", "weight", "drain", "no name"):
        assert name in message


# Faults in optional annotations


@pytest.mark.parametrize(
    ("annotation", "value", "remedy"),
    [
        *(("priority", value, "like 67-100") for value in ("50", "100-67", "0-101", "-5-10", "a-b", "1-2-3", "٣-٤")),
        *(("price-model", value, "spot or normal") for value in ("on-demand", "cheap", "spot,normal")),
        *(("generation", value, "1 or 2") for value in ("3", "0", "two", "v2")),
        *(("weight", value, "from 0") for value in ("-1", "nan", "inf", "1e3", "1_0", "heavy", "٣", "9999999", "1.")),
        *(("drain", value, "enable or disable") for value in ("true", "yes", "now")),
    ],
)
def test_a_faulty_optional_annotation_is_reported_and_has_its_default(annotation: str, value: str, remedy: str) -> None:
    result = read(deployment(None, **{annotation: value}))
    assert result
    assert result.worker == used(deployment())
    (fault,) = result.faults
    assert fault.startswith(f"Annotation {ANNOTATION_PREFIX}{annotation} is {value!r}, and must be ")
    assert remedy in fault


@pytest.mark.parametrize(
    ("value", "bounds"), [("0-100", (0, 100)), ("7-7", (7, 7)), (" 1 - 2 ", (1, 2)), ("007-08", (7, 8))]
)
def test_priorities_are_two_bounds(value: str, bounds: tuple[int, int]) -> None:
    assert used(deployment(priority=value)).priority == bounds


@pytest.mark.parametrize(("value", "generation"), [(None, 1), ("", 1), ("1", 1), ("2", 2), (" 2 ", 2)])
def test_a_worker_is_of_the_first_generation_unless_it_says_otherwise(value: str | None, generation: int) -> None:
    assert used(deployment(generation=value)).generation == generation


@pytest.mark.parametrize(("value", "weight"), [("0", 0.0), ("1", 1.0), (" 0.25 ", 0.25), ("999999", 999999.0)])
def test_weights_are_numbers(value: str, weight: float) -> None:
    assert used(deployment(weight=value)).weight == weight


# Pages


def test_a_page_has_the_continue_token() -> None:
    assert page(deployment(), **{"continue": "abc"}).continue_token == "abc"
    assert page(deployment(), **{"continue": ""}).continue_token == ""
    assert page(deployment(), resourceVersion="7").continue_token == ""
    assert page(deployment(), **{"continue": None}).continue_token == ""


@pytest.mark.parametrize("body", [b'{"items": null}', b'{"items": []}', b'{"items": [], "metadata": null}'])
def test_an_empty_page_is_read(body: bytes) -> None:
    assert read_page(body) == Page([], "")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"{}", b"[]", b"null", b'{"items": {}}', b'{"items": [', b"\xff", b'{"\xff": 1}'),
        b"[" * 100_000,
        b'{"items": ' + b"[" * 100_000,
    ],
)
def test_other_bodies_raise_decode_error(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_page(body)


ODD: list[Any] = [
    None,
    7,
    "text",
    [],
    {"metadata": "text"},
    {"metadata": {"name": 5}},
    {"metadata": {"annotations": []}},
    {"metadata": {"annotations": {ANNOTATION_PREFIX + "worker": 1}}},
    {"metadata": {"annotations": {ANNOTATION_PREFIX + "worker": "disable"}}, "spec": 3},
    deployment({"WORKER_TYPE": "ffmpeg"}) | {"metadata": None, "status": 7},
]


def test_unreadable_items_do_not_hide_the_others() -> None:
    result = [read_worker(one, "prod", OURS) for one in page(*ODD, deployment(), *ODD).deployments]
    assert [one.name for one in result if one] == ["transcoder"]


@pytest.mark.parametrize(
    ("where", "value"), [("spec", 7), ("spec", {"replicas": "two"}), ("status", []), ("status", {"readyReplicas": 0.5})]
)
def test_an_unreadable_worker_is_reported(where: str, value: Any) -> None:
    message = unusable(deployment() | {where: value})
    assert message.startswith("It can't be read: Expected")
    assert where in message


def test_a_variable_of_a_wrong_type_is_reported() -> None:
    assert "env" in unusable(deployment({"QUEUE_NAME": 7}))
    (unread,) = page(deployment({"QUEUE_NAME": 7})).deployments
    assert isinstance(unread, UnreadableDeployment)
    assert (unread.namespace, unread.name) == ("video", "transcoder")


def test_invalid_utf8_in_one_item_does_not_hide_the_others() -> None:
    body = json.dumps({"items": [deployment(), {"metadata": {"name": "BROKEN"}}, deployment()]}).encode()
    assert len(read_page(body.replace(b"BROKEN", b"\xff\xfe")).deployments) == 2


def test_ten_thousand_deployments_are_read() -> None:
    managed = [{"manager": "kubectl", "fieldsV1": {f"f:{n}": {'k:{"name":"x"}': {".": {}}} for n in range(30)}}]
    strange = {"spec": "strange", "metadata": deployment()["metadata"]}
    kinds = [deployment(), deployment({"CONTROL_PLANE": "other"}), deployment(worker="no"), deployment(platform="x")]
    for item in kinds:
        item["metadata"]["managedFields"] = managed
    plain, odd = [page(*kinds * 125) for _ in range(20)], [page(*kinds * 125, strange) for _ in range(20)]
    for pages, unread in ((plain, 0), (odd, 20)):
        result = [read_worker(one, "prod", OURS) for each in pages for one in each.deployments]
        assert len(result) == 10_000 + unread
        assert sum(1 for one in result if one and one.worker) == 2500
        assert sum(1 for one in result if one and not one.worker) == 2500 + unread


texts = st.sampled_from(["enable", OURS, "QUEUE_NAME", "CONTROL_PLANE", "1-2", "", "$(x)"]) | st.text(max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def perhaps(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(strategy, strategy, strategy, anything)


variables = st.fixed_dictionaries(
    {}, optional={"name": perhaps(st.sampled_from(sorted(ENV))), "value": perhaps(texts), "valueFrom": anything}
)
annotations = st.fixed_dictionaries(
    {ANNOTATION_PREFIX + "worker": perhaps(st.just("enable"))},
    optional={
        ANNOTATION_PREFIX + name: perhaps(texts)
        for name in ("platform", "priority", "price-model", "weight", "drain", "worker2")
    },
)
containers = st.lists(perhaps(st.fixed_dictionaries({}, optional={"env": st.lists(variables), "envFrom": anything})))
pods = perhaps(st.fixed_dictionaries({"containers": containers}))
deployments = st.fixed_dictionaries(
    {},
    optional={
        "metadata": perhaps(
            st.fixed_dictionaries({}, optional={"name": perhaps(texts), "annotations": perhaps(annotations)})
        ),
        "spec": perhaps(
            st.fixed_dictionaries(
                {"template": perhaps(st.fixed_dictionaries({"spec": pods}))},
                optional={"replicas": perhaps(st.integers())},
            )
        ),
        "status": perhaps(st.fixed_dictionaries({}, optional={"readyReplicas": perhaps(st.integers())})),
    },
)


@given(st.lists(deployments | anything, max_size=4))
def test_no_json_raises(items: list[Any]) -> None:
    deployments = page(*items, deployment()).deployments
    result = [read_worker(one, "prod", OURS) for one in deployments]
    assert result[-1]
    assert result[-1].worker, "the valid one is always read"
    for one in result:
        assert one is None or one.worker or one.faults
        if one and one.worker:
            assert one.worker.ready >= 0
            assert one.worker.desired >= 0
            msgspec.convert(msgspec.to_builtins(one.worker), Worker)


@given(st.binary())
def test_no_bytes_raise_anything_but_decode_error(body: bytes) -> None:
    for raw in (body, b'{"items": [' + body + b"]}"):
        try:
            read_page(raw)
        except msgspec.DecodeError:
            continue
