"""The promises of the Kubernetes manifests in deploy/k8s."""

from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate
import msgspec
import pytest

from elasticrecode.workers import deployments
from infra import options
from tests.conftest import ROOT
from tests.kit.manifests import CONTEXT, KIT, WORKERS, Json, Kind, files, leaves, objects, rendered, settings, worker
from worker import pod_cost
from worker.settings import Settings

KUBERNETES = ("1.30", "1.33", "1.37")
"""The oldest version that EKS and KEDA support, and newer ones."""
STOP_SECONDS = 10
"""A worker stops within this time (docs/reference/workers.md)."""

every = pytest.mark.parametrize("kind", WORKERS)


def strict(schema: Any) -> Any:
    """A CustomResourceDefinition's schema that rejects unknown fields, as `kubectl apply` does."""
    if isinstance(schema, list):
        return [strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: strict(value) for key, value in schema.items()}
    closed = isinstance(inner.get("properties"), dict) and inner.get("type") == "object"
    if inner.pop("x-kubernetes-int-or-string", False):
        inner["type"] = ["integer", "string"]
    return inner | {"additionalProperties": False} if closed else inner


def custom() -> dict[tuple[str, str], Any]:
    """Schemas of custom resources, by API version and kind."""
    entries = [entry for path in sorted((Path(__file__).parent / "crds").glob("*.yaml")) for entry in objects(path)]
    return {(entry["apiVersion"], entry["kind"]): strict(entry["schema"]) for entry in entries}


CUSTOM = custom()
OBJECTS = [
    pytest.param(item, id=f"{path.relative_to(KIT)}-{item['kind']}-{item['metadata']['name']}")
    for path in files()
    for item in objects(path)
]


def faults(item: Json) -> list[str]:
    """The errors with which the API server would reject an object."""
    schema = CUSTOM.get((item["apiVersion"], item["kind"]))
    if schema:
        validator = jsonschema_rs.Draft202012Validator(schema)
        return [f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(item)]
    errors = []
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            errors.append(f"{version}: {error.message}")
    return errors


@pytest.mark.parametrize("item", OBJECTS)
def test_the_api_server_accepts_every_object(item: Json) -> None:
    assert faults(item) == []


@pytest.mark.parametrize(
    ("kind", "of", "path", "value"),
    [
        ("cpu", "Deployment", ("spec", "template", "spec", "securitycontext"), {}),
        ("cpu", "Deployment", ("spec", "template", "spec", "terminationGracePeriodSeconds"), "soon"),
        ("cpu", "PodDisruptionBudget", ("spec", "minUnavailable"), 1),
        ("cpu", "ScaledObject", ("spec", "minReplicas"), 0),
        ("cpu", "ScaledObject", ("spec", "cooldownPeriod"), "5m"),
        ("cpu", "ScaledObject", ("spec", "advanced", "horizontalPodAutoscalerConfig", "behaviour"), {}),
        ("cpu", "ScaledObject", ("spec", "triggers"), None),
    ],
)
def test_the_schemas_reject_wrong_fields(kind: str, of: str, path: tuple[str, ...], value: Any) -> None:
    item = worker(kind, of)
    parent = item
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    assert faults(item)


@every
def test_a_worker_pod_has_least_privilege(kind: str) -> None:
    pod = worker(kind)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    dockerfile = (ROOT / "worker" / "Dockerfile").read_text()
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert f"USER {pod['securityContext']['runAsUser']}\n" in dockerfile
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
    (account,) = (item for item in objects(KIT / "identity.yaml") if item["kind"] == "ServiceAccount")
    assert pod["serviceAccountName"] == account["metadata"]["name"]


def environment(container: Json) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def reaches(policy: Json, address: str, port: int, protocol: str = "TCP") -> bool:
    """Whether the policy lets a pod connect to an address and port."""
    target = ip_address(address)
    return any(
        {"protocol": protocol, "port": port} in rule["ports"]
        and target in ip_network(block["ipBlock"]["cidr"])
        and not any(target in ip_network(excluded) for excluded in block["ipBlock"].get("except", ()))
        for rule in policy["spec"]["egress"]
        for block in rule["to"]
    )


def test_workers_connect_to_aws_only_and_accept_no_connections() -> None:
    (policy,) = (item for item in rendered(settings()) if item["kind"] == "NetworkPolicy")
    spec = policy["spec"]
    for kind in WORKERS:
        deployment = worker(kind)
        assert policy["metadata"]["namespace"] == deployment["metadata"]["namespace"]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert spec["ingress"] == []
    assert reaches(policy, "52.216.0.1", 443)
    assert reaches(policy, "172.20.0.1", 443), "the Kubernetes API"
    assert reaches(policy, "172.20.0.10", 53, "UDP")
    assert reaches(policy, "169.254.170.23", 80)
    for address, port in [("169.254.169.254", 80), ("169.254.169.254", 443), ("10.0.0.5", 5432), ("52.216.0.1", 80)]:
        assert not reaches(policy, address, port)
    assert not reaches(policy, "8.8.8.8", 53, "UDP")


@every
def test_a_job_writes_to_a_volume_of_its_own(kind: str) -> None:
    pod = worker(kind)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (volume,) = (one for one in pod["volumes"] if "emptyDir" in one)
    assert {"name": volume["name"], "mountPath": "/tmp"} in container["volumeMounts"]
    requests, limits = container["resources"]["requests"], container["resources"]["limits"]
    # The volume is as large as the node's reserved storage, and a job's limit is below it.
    assert int(environment(container)["MAX_DISK_BYTES"]) == 18 * 2**30
    assert volume["emptyDir"]["sizeLimit"] == "20Gi"
    assert volume["emptyDir"]["sizeLimit"] == requests["ephemeral-storage"]
    assert {name: requests[name] for name in ("cpu", "memory")} == {name: limits[name] for name in ("cpu", "memory")}
    assert limits.get("nvidia.com/gpu") == (1 if kind == "gpu" else None)


@every
def test_the_environment_is_complete_and_readable_by_discovery(kind: str) -> None:
    (container,) = worker(kind)["spec"]["template"]["spec"]["containers"]
    known = {"spec.nodeName": "node-1", "metadata.name": "pod-1", "metadata.namespace": "elasticrecode"}
    environ = {
        entry["name"]: entry["value"] if "value" in entry else known[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        for entry in container["env"]
    }
    read = Settings.read(environ)
    assert read.queue == WORKERS[kind].queue
    assert read.kind == ("vmaf" if kind == "vmaf" else "ffmpeg")
    assert read.core == ("GPU" if kind == "gpu" else "CPU")
    assert (read.node, read.pod, read.namespace) == ("node-1", "pod-1", "elasticrecode")
    assert (read.control_queue, read.jobs_table) == (CONTEXT["controlQueue"], CONTEXT["jobsTable"])
    assert (read.job_role, read.parts_bucket) == (settings()["jobRole"], settings()["partsBucket"])
    assert environ["AWS_REGION"] == settings()["region"]
    assert {entry["name"] for entry in container["env"] if "value" not in entry} == {
        "NODE_NAME",
        "POD_NAME",
        "POD_NAMESPACE",
    }
    assert "envFrom" not in container


@every
def test_its_workers_are_of_the_second_generation(kind: str) -> None:
    assert worker(kind)["metadata"]["annotations"]["elastirecord.kubernetes.io/generation"] == "2"


@every
def test_the_grace_period_is_between_stop_time_and_lease(kind: str) -> None:
    pod = worker(kind)["spec"]["template"]["spec"]
    environ = {entry["name"]: entry.get("value", "") for entry in pod["containers"][0]["env"]}
    assert STOP_SECONDS < pod["terminationGracePeriodSeconds"] <= Settings.read(environ).lease_seconds


@every
def test_keda_scales_a_worker_from_zero_by_its_own_queue(kind: str) -> None:
    deployment, scaled = worker(kind), worker(kind, "ScaledObject")
    values = settings()
    assert "replicas" not in deployment["spec"]
    assert scaled["metadata"]["namespace"] == deployment["metadata"]["namespace"]
    spec = scaled["spec"]
    assert spec["scaleTargetRef"] == {"name": deployment["metadata"]["name"]}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"] > 0) == (0, True)
    trigger, busy = spec["triggers"]
    assert trigger["type"] == "aws-sqs-queue"
    queue = f"https://sqs.{values['region']}.amazonaws.com/{values['account']}/{WORKERS[kind].queue}"
    assert trigger["metadata"] == {
        "queueURL": queue,
        "awsRegion": values["region"],
        "queueLength": "1",
        "activationQueueLength": "0",
        "scaleOnInFlight": "true",
    }
    (authentication,) = (item for item in objects(KIT / "identity.yaml") if item["kind"] == "TriggerAuthentication")
    app = deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
    assert busy == {
        "type": "kubernetes-workload",
        "metadata": {"podSelector": f"app.kubernetes.io/name={app},{pod_cost.LABEL}=true", "value": "1"},
    }
    assert trigger["authenticationRef"] == {"name": authentication["metadata"]["name"]}
    assert authentication["metadata"]["namespace"] == scaled["metadata"]["namespace"]


@every
def test_surplus_workers_end_after_the_counts_of_sqs_are_right_and_as_soon_as_all_workers_do(kind: str) -> None:
    spec = worker(kind, "ScaledObject")["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    # SQS's counts lag by up to a minute. Above 3600 s KEDA creates no autoscaler (kedacore/keda#4976).
    assert 60 < behavior["scaleDown"]["stabilizationWindowSeconds"] == spec["cooldownPeriod"] <= 3600
    assert set(behavior) == {"scaleDown"}
    assert spec["pollingInterval"] <= 15


@every
def test_a_disruption_budget_covers_its_own_pods_and_allows_drains(kind: str) -> None:
    budget = worker(kind, "PodDisruptionBudget")
    covered = {
        other
        for other in WORKERS
        if budget["spec"]["selector"]["matchLabels"].items()
        <= worker(other)["spec"]["template"]["metadata"]["labels"].items()
    }
    assert covered == {kind}
    assert budget["metadata"]["namespace"] == worker(kind)["metadata"]["namespace"]
    assert budget["spec"]["maxUnavailable"] not in (0, "0%")
    assert "minAvailable" not in budget["spec"]


@every
def test_nodes_with_running_jobs_are_not_consolidated(kind: str) -> None:
    annotations = worker(kind)["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {
        "karpenter.sh/do-not-disrupt": "true",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    }


def test_spot_workers_run_on_spot_capacity_only() -> None:
    pod = worker("spot")["spec"]["template"]["spec"]
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (pool,) = (item for item in objects(KIT / "nodes" / "auto-mode.yaml") if item["metadata"]["name"] == "spot")
    labels = {
        term["matchExpressions"][0]["key"]: term["matchExpressions"][0]["values"]
        for term in required["nodeSelectorTerms"]
    }
    assert labels == {"karpenter.sh/capacity-type": ["spot"], "eks.amazonaws.com/capacityType": ["SPOT"]}
    assert {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]} in pool["spec"]["template"][
        "spec"
    ]["requirements"]


@pytest.mark.parametrize("kind", ["gpu", "spot"])
def test_workers_tolerate_the_taints_of_their_node_pool(kind: str) -> None:
    (pool,) = (item for item in objects(KIT / "nodes" / "auto-mode.yaml") if item["metadata"]["name"] == kind)
    tolerated = {(entry["key"], entry["effect"]) for entry in worker(kind)["spec"]["template"]["spec"]["tolerations"]}
    assert {(taint["key"], taint["effect"]) for taint in pool["spec"]["template"]["spec"]["taints"]} == tolerated


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("vmaf", {"WORKER_TYPE", "QUEUE_NAME", "maxReplicaCount", "queueURL"}),
        (
            "gpu",
            {"platform", "CORE", "QUEUE_NAME", "NVIDIA_DRIVER_CAPABILITIES", "image", "memory", "gpu", "tolerations"}
            | {"maxReplicaCount", "queueURL"},
        ),
        (
            "spot",
            {"price-model", "priority", "QUEUE_NAME", "affinity", "tolerations", "topologySpreadConstraints"}
            | {"maxReplicaCount", "queueURL", "maxUnavailable"},
        ),
    ],
)
def test_kinds_of_workers_differ_only_in_the_listed_fields(kind: str, own: set[str]) -> None:
    name = f"worker-{kind}"
    fields, base = (
        {
            (item["kind"], path): str(value).replace(name, "worker-cpu")
            for item in objects(KIT / "workers" / f"{which}.yaml")
            for path, value in leaves(item)
        }
        for which in (kind, "cpu")
    )
    differing = {path for (_, path), _ in fields.items() ^ base.items()}
    assert {path for path in differing if not own & set(path.split("/"))} == set()


def test_objects_are_named_after_their_kind_of_worker() -> None:
    for kind in WORKERS:
        items = objects(KIT / "workers" / f"{kind}.yaml")
        assert [item["kind"] for item in items] == ["Deployment", "ScaledObject", "PodDisruptionBudget"]
        assert {item["metadata"]["name"] for item in items} == {f"worker-{kind}"}


def test_images_have_a_version() -> None:
    for kind in WORKERS:
        image = worker(kind)["spec"]["template"]["spec"]["containers"][0]["image"]
        assert image.rpartition(":")[2] == settings()["version"] != "latest"


def test_discovery_may_only_list_deployments() -> None:
    role, binding = objects(KIT / "discovery" / "rbac.yaml")
    assert role["kind"] == "ClusterRole"
    assert role["rules"] == [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list"]}]
    assert binding["kind"] == "ClusterRoleBinding"
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (subject,) = binding["subjects"]
    assert (subject["kind"], subject["name"]) == ("Group", "elasticrecode-discovery")


def test_discovery_finds_exactly_these_workers() -> None:
    listed = [item for item in rendered(settings()) if item["kind"] == "Deployment"]
    others: list[Json] = [{"metadata": {"name": "web", "namespace": "default"}, "spec": {}, "status": {}}]
    answer = {"kind": "DeploymentList", "metadata": {}, "items": [*others, *listed]}
    page = deployments.read_page(msgspec.json.encode(answer))
    read = [deployments.read_worker(deployment, "video", CONTEXT["controlQueue"]) for deployment in page.deployments]
    discovered = {one.name.removeprefix("worker-"): one for one in read if one}
    assert [fault for one in discovered.values() for fault in one.faults] == []
    assert {
        kind: Kind(one.worker.queue, str(one.worker.group), one.worker.price, one.worker.priority)
        for kind, one in discovered.items()
        if one.worker
    } == WORKERS
    patterns = options.listed(CONTEXT["discoveredQueues"])
    assert all(any(fnmatchcase(known.queue, pattern) for pattern in patterns) for known in WORKERS.values())
