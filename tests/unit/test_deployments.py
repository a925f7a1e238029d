"""Which Deployments are workers, and what kind."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elasticrecode.workers.deployments import FAMILY, Found, Page, Unread, read_page, worker
from elasticrecode.workers.fleet import Worker

OURS = "control_plane"
ENV = {"WORKER_TYPE": "ffmpeg", "QUEUE_NAME": "ffmpeg_job", "CONTROL_PLANE": OURS}
ELSEWHERE = {"valueFrom": {"configMapKeyRef": {"name": "video", "key": "queue"}}}


def deployment(env: dict[str, Any] | None = None, **annotations: str | None) -> dict[str, Any]:
    """A Deployment that is a worker of ours, but for what is given. A variable may be an object in `env`."""
    variables = ENV | (env or {})
    said = {"worker": "enable"} | {name.replace("_", "-"): value for name, value in annotations.items()}
    return {
        "metadata": {
            "name": "transcoder",
            "namespace": "video",
            "annotations": {FAMILY + name: value for name, value in said.items()},
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


def look(item: Any) -> Found | None:
    """What one Deployment is."""
    found = [worker(one, "prod", OURS) for one in page(item).deployments]
    assert len(found) <= 1
    return found[0] if found else None


def used(item: Any) -> Worker:
    """A worker without fault."""
    found = look(item)
    assert found
    assert found.worker
    assert found.faults == []
    return found.worker


def unusable(item: Any) -> str:
    """What is wrong with a worker that can't be used."""
    found = look(item)
    assert found
    assert found.worker is None
    assert all(fault.endswith(".") for fault in found.faults)
    return " ".join(found.faults)


def container(item: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = item["spec"]["template"]["spec"]["containers"][0]
    return first


def test_a_worker_with_everything_said() -> None:
    item = deployment(platform="gpu", priority="67-100", price_model="spot", weight="2.5", drain="enable")
    assert look(item) == Found(
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


def test_a_worker_with_nothing_said_has_the_defaults() -> None:
    found = used(deployment())
    assert (found.platform, found.price, found.priority, found.weight) == ("cpu", "normal", (0, 100), 1.0)
    assert not found.draining
    assert found.group == "cpu"


def test_empty_annotations_are_as_none() -> None:
    assert used(deployment(platform="", priority=" ", price_model="", weight="", drain="")) == used(deployment())


@pytest.mark.parametrize("value", ["enable", "Enable", "ENABLE", " enable "])
def test_case_does_not_matter_where_it_is_enabled(value: str) -> None:
    assert used(deployment(worker=value))


@pytest.mark.parametrize("value", ["disable", "", None, "true", "enabled"])
def test_what_is_not_enabled_is_no_worker(value: str | None) -> None:
    assert look(deployment(worker=value)) is None


def test_keys_are_exact() -> None:
    for key in ("elasticrecode.kubernetes.io/worker", FAMILY + "Worker", FAMILY.upper() + "worker"):
        item = deployment()
        item["metadata"]["annotations"] = {key: "enable"}
        assert look(item) is None


@pytest.mark.parametrize("control_plane", ["other", "CONTROL_PLANE", " control_plane", "", None, {}])
def test_other_control_planes_workers_are_none_of_ours(control_plane: Any) -> None:
    assert look(deployment({"CONTROL_PLANE": control_plane})) is None


def test_values_are_in_any_case() -> None:
    item = deployment({"WORKER_TYPE": "VMAF"}, platform="GPU", price_model="Spot", drain="Enable")
    found = used(item)
    assert (found.kind, found.platform, found.price, found.draining) == ("vmaf", "gpu", "spot", True)
    assert found.group == "vmaf"


# What is not there.


@pytest.mark.parametrize("empty", [{}, {"metadata": None}, {"metadata": {}}, {"metadata": {"annotations": None}}])
def test_deployments_that_say_nothing(empty: dict[str, Any]) -> None:
    assert look(empty) is None
    assert look(deployment() | {"metadata": None} | empty) is None


@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("key", ["spec", "template", "spec below", "containers", "env"])
def test_without_an_environment_it_is_nobodys(key: str, absent: bool) -> None:
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
    assert look(item) is None


def test_no_containers() -> None:
    item = deployment()
    item["spec"]["template"]["spec"]["containers"] = []
    assert look(item) is None


def test_only_the_first_container_counts() -> None:
    item = deployment()
    item["spec"]["template"]["spec"]["containers"].reverse()
    assert look(item) is None


@pytest.mark.parametrize(
    ("status", "ready"),
    [(None, 0), ({}, 0), ({"readyReplicas": None}, 0), ({"replicas": 9, "readyReplicas": 1}, 1), ({"replicas": 9}, 0)],
)
def test_ready_replicas_count(status: Any, ready: int) -> None:
    assert used(deployment() | {"status": status}).ready == ready


@pytest.mark.parametrize(("replicas", "desired"), [(None, 1), (0, 0), (7, 7)])
def test_one_replica_is_wished_for_by_default(replicas: int | None, desired: int) -> None:
    item = deployment()
    item["spec"]["replicas"] = replicas
    assert used(item).desired == desired
    del item["spec"]["replicas"]
    assert used(item).desired == 1


def test_names_are_told_apart_by_namespace_and_cluster() -> None:
    there = deployment()
    there["metadata"]["namespace"] = "other"
    read = page(deployment(), there).deployments
    found = [worker(one, cluster, OURS) for one in read for cluster in ("a", "b")]
    assert len({(one.cluster, one.namespace, one.name) for one in found if one}) == 4


def test_the_last_of_two_variables_counts() -> None:
    item = deployment()
    container(item)["env"] += [{"name": "QUEUE_NAME", "value": "late"}]
    assert used(item).queue == "late"
    container(item)["env"] += [{"name": "CONTROL_PLANE", "value": "other"}]
    assert look(item) is None


# What is wrong and essential.


def test_a_control_queue_from_elsewhere_is_told_of() -> None:
    value: dict[str, Any]
    for value in (ELSEWHERE, {"valueFrom": {}}):
        assert "CONTROL_PLANE comes from `valueFrom`" in unusable(deployment({"CONTROL_PLANE": value}))
    assert "CONTROL_PLANE refers to other variables" in unusable(deployment({"CONTROL_PLANE": "$(PREFIX)_plane"}))
    assert look(deployment({"CONTROL_PLANE": ELSEWHERE}, worker="disable")) is None


def test_a_control_queue_that_may_come_from_env_from_is_told_of() -> None:
    item = deployment()
    container(item)["envFrom"] = [{"configMapRef": {"name": "video"}}]
    assert used(item)
    container(item)["env"] = None
    assert "CONTROL_PLANE is not in `env` and may come from `envFrom`" in unusable(item)


@pytest.mark.parametrize("name", ["QUEUE_NAME", "WORKER_TYPE"])
def test_essentials_that_are_not_known(name: str) -> None:
    missing: Any
    for missing in (None, "", {}):
        assert f"{name} is not set in its first container" in unusable(deployment({name: missing}))
    assert f"{name} comes from `valueFrom`" in unusable(deployment({name: ELSEWHERE}))
    assert f"{name} refers to other variables" in unusable(deployment({name: "$(PREFIX)_job"}))


@pytest.mark.parametrize(
    "queue", ["ffmpeg job", "a.fifo", "arn:aws:sqs:us-east-1:1:q", "q" * 81, "schlüssel", "q\n", "x" * 100_000]
)
def test_a_queue_that_can_be_none(queue: str) -> None:
    said = unusable(deployment({"QUEUE_NAME": queue}))
    assert "QUEUE_NAME is " in said
    assert "can't be the name of an SQS queue" in said
    assert len(said) < 300


def test_a_worker_may_not_take_jobs_from_the_control_queue() -> None:
    assert "the same queue" in unusable(deployment({"QUEUE_NAME": OURS}))


@pytest.mark.parametrize("kind", ["painter", "ffmpeg ", "cpu"])
def test_an_unknown_worker_type(kind: str) -> None:
    assert f"WORKER_TYPE is {kind!r}, and must be one of ffmpeg, vmaf, debug." in unusable(
        deployment({"WORKER_TYPE": kind})
    )


@pytest.mark.parametrize("platform", ["tpu", "cpu,gpu", "GPU0"])
def test_an_unknown_platform(platform: str) -> None:
    assert f"Annotation {FAMILY}platform is {platform!r}, and must be cpu or gpu." in unusable(
        deployment(platform=platform)
    )


def test_every_fault_is_told() -> None:
    item = deployment(
        {"QUEUE_NAME": "", "WORKER_TYPE": "x"}, platform="x", priority="x", price_model="x", weight="x", drain="x"
    )
    item["metadata"]["name"] = None
    said = unusable(item)
    for what in ("QUEUE_NAME", "WORKER_TYPE", "platform", "priority", "price-model", "weight", "drain", "no name"):
        assert what in said


# What is wrong and can be done without.


@pytest.mark.parametrize(
    ("annotation", "value", "remedy"),
    [
        *(("priority", value, "like 67-100") for value in ("50", "100-67", "0-101", "-5-10", "a-b", "1-2-3", "٣-٤")),
        *(("price-model", value, "spot or normal") for value in ("on-demand", "cheap", "spot,normal")),
        *(("weight", value, "from 0") for value in ("-1", "nan", "inf", "1e3", "1_0", "heavy", "٣", "9999999", "1.")),
        *(("drain", value, "enable or disable") for value in ("true", "yes", "now")),
    ],
)
def test_wishes_that_are_wrong_are_told_of_and_not_fatal(annotation: str, value: str, remedy: str) -> None:
    found = look(deployment(None, **{annotation: value}))
    assert found
    assert found.worker == used(deployment())
    (fault,) = found.faults
    assert fault.startswith(f"Annotation {FAMILY}{annotation} is {value!r}, and must be ")
    assert remedy in fault


@pytest.mark.parametrize(
    ("value", "bounds"), [("0-100", (0, 100)), ("7-7", (7, 7)), (" 1 - 2 ", (1, 2)), ("007-08", (7, 8))]
)
def test_priorities(value: str, bounds: tuple[int, int]) -> None:
    assert used(deployment(priority=value)).priority == bounds


@pytest.mark.parametrize(("value", "weight"), [("0", 0.0), ("1", 1.0), (" 0.25 ", 0.25), ("999999", 999999.0)])
def test_weights(value: str, weight: float) -> None:
    assert used(deployment(weight=value)).weight == weight


# Pages.


def test_a_page_says_how_to_go_on() -> None:
    assert page(deployment(), **{"continue": "abc"}).more == "abc"
    assert page(deployment(), **{"continue": ""}).more == ""
    assert page(deployment(), resourceVersion="7").more == ""
    assert page(deployment(), **{"continue": None}).more == ""


@pytest.mark.parametrize("body", [b'{"items": null}', b'{"items": []}', b'{"items": [], "metadata": null}'])
def test_an_empty_page(body: bytes) -> None:
    assert read_page(body) == Page([], "")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"{}", b"[]", b"null", b'{"items": {}}', b'{"items": [', b"\xff", b'{"\xff": 1}'),
        b"[" * 100_000,
        b'{"items": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_page(body: bytes) -> None:
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
    {"metadata": {"annotations": {FAMILY + "worker": 1}}},
    {"metadata": {"annotations": {FAMILY + "worker": "disable"}}, "spec": 3},
    deployment({"WORKER_TYPE": "ffmpeg"}) | {"metadata": None, "status": 7},
]


def test_one_that_cannot_be_read_does_not_hide_the_others() -> None:
    found = [worker(one, "prod", OURS) for one in page(*ODD, deployment(), *ODD).deployments]
    assert [one.name for one in found if one] == ["transcoder"]


@pytest.mark.parametrize(
    ("where", "value"), [("spec", 7), ("spec", {"replicas": "two"}), ("status", []), ("status", {"readyReplicas": 0.5})]
)
def test_a_worker_that_cannot_be_read_is_told_of(where: str, value: Any) -> None:
    said = unusable(deployment() | {where: value})
    assert said.startswith("It can't be read: Expected")
    assert where in said


def test_a_variable_of_an_odd_type_is_told_of() -> None:
    assert "env" in unusable(deployment({"QUEUE_NAME": 7}))
    (unread,) = page(deployment({"QUEUE_NAME": 7})).deployments
    assert isinstance(unread, Unread)
    assert (unread.namespace, unread.name) == ("video", "transcoder")


def test_letters_that_are_none_do_not_hide_the_others() -> None:
    body = json.dumps({"items": [deployment(), {"metadata": {"name": "BROKEN"}}, deployment()]}).encode()
    assert len(read_page(body.replace(b"BROKEN", b"\xff\xfe")).deployments) == 2


def test_ten_thousand_deployments() -> None:
    managed = [{"manager": "kubectl", "fieldsV1": {f"f:{n}": {'k:{"name":"x"}': {".": {}}} for n in range(30)}}]
    strange = {"spec": "strange", "metadata": deployment()["metadata"]}
    kinds = [deployment(), deployment({"CONTROL_PLANE": "other"}), deployment(worker="no"), deployment(platform="x")]
    for item in kinds:
        item["metadata"]["managedFields"] = managed
    plain, odd = [page(*kinds * 125) for _ in range(20)], [page(*kinds * 125, strange) for _ in range(20)]
    for pages, unread in ((plain, 0), (odd, 20)):
        found = [worker(one, "prod", OURS) for each in pages for one in each.deployments]
        assert len(found) == 10_000 + unread
        assert sum(1 for one in found if one and one.worker) == 2500
        assert sum(1 for one in found if one and not one.worker) == 2500 + unread


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
    {FAMILY + "worker": perhaps(st.just("enable"))},
    optional={
        FAMILY + name: perhaps(texts) for name in ("platform", "priority", "price-model", "weight", "drain", "worker2")
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
def test_nothing_that_is_json_raises(items: list[Any]) -> None:
    read = page(*items, deployment())
    found = [worker(one, "prod", OURS) for one in read.deployments]
    assert found[-1]
    assert found[-1].worker, "the one that is right is always found"
    for one in found:
        assert one is None or one.worker or one.faults
        if one and one.worker:
            assert one.worker.ready >= 0
            assert one.worker.desired >= 0
            msgspec.convert(msgspec.to_builtins(one.worker), Worker)


@given(st.binary())
def test_nothing_at_all_raises_but_what_is_promised(body: bytes) -> None:
    for raw in (body, b'{"items": [' + body + b"]}"):
        try:
            read_page(raw)
        except msgspec.DecodeError:
            continue
