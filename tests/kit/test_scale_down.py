"""What deploy/k8s/scale-down.yaml lets a worker change, by the kit's own expressions under Google's CEL."""

import copy
from typing import Any

import pytest

from local.cluster import merged
from tests.fakes.pods import BUSY, COST, NAMESPACE, Admission, pod, user_name
from tests.kit.manifests import KIT, WORKERS, Json, objects, rendered, settings, worker
from worker import pod_cost

ROLE, BINDING, POLICY, BOUND = objects(KIT / "scale-down.yaml")
ADMISSION = Admission(POLICY)
every = pytest.mark.parametrize("kind", WORKERS)


def user(of: Json, account: str = "worker") -> Json:
    """The user that the API server makes of the token in a pod."""
    extra = {"authentication.kubernetes.io/pod-name": [of["metadata"]["name"]]}
    extra["authentication.kubernetes.io/pod-uid"] = [of["metadata"]["uid"]]
    return {"username": user_name(account), "extra": extra}


def refusal(change: Json, old: Json | None = None, by: Json | None = None) -> str:
    """Why the worker in a pod may not make a change to it."""
    before = old or pod("worker-1", "node-1")
    return ADMISSION.refusal(by or user(before), before, merged(copy.deepcopy(before), change))


def metadata(**fields: Any) -> Json:
    return {"metadata": fields}


COSTLY = metadata(annotations={COST: "2117650000"})


def test_a_worker_may_set_change_and_remove_the_cost_of_its_pod_and_the_label() -> None:
    free = pod("worker-1", "node-1")
    costly = merged(copy.deepcopy(free), COSTLY)
    bare = merged(copy.deepcopy(free), metadata(annotations=None))
    assert COST in costly["metadata"]["annotations"]
    for old in (free, costly, bare):
        for value in ("1", None):
            assert refusal(metadata(annotations={COST: value}), old) == ""
            assert refusal(metadata(annotations={COST: value}, labels={BUSY: value}), old) == ""
    assert refusal(metadata(annotations=None), merged(bare, COSTLY)) == "", "the last annotation goes with its map"


@pytest.mark.parametrize(
    "change",
    [
        metadata(annotations={"karpenter.sh/do-not-disrupt": "false"}),
        metadata(annotations={"karpenter.sh/do-not-disrupt": None}),
        metadata(annotations={"other": "1", COST: "1"}),
        metadata(annotations=None),
    ],
)
def test_a_worker_may_change_no_other_annotation(change: Json) -> None:
    assert "no annotation but" in refusal(change)


@pytest.mark.parametrize(
    "change",
    [
        metadata(labels={"app.kubernetes.io/name": "other"}),
        metadata(labels={"app.kubernetes.io/name": None}),
        metadata(labels={"other": "1", BUSY: "true"}),
        metadata(labels=None),
    ],
)
def test_a_worker_may_change_no_other_label(change: Json) -> None:
    assert "no label but" in refusal(change)
    assert "no label but" in refusal(merged(copy.deepcopy(change), COSTLY))


@pytest.mark.parametrize(
    "change",
    [
        metadata(finalizers=["mine/forever"]),
        metadata(ownerReferences=[]),
        metadata(ownerReferences=None),
        {"spec": {"containers": [{"name": "worker", "image": "evil"}]}},
        {"spec": {"activeDeadlineSeconds": 1}},
        {"spec": {"tolerations": [{"operator": "Exists"}]}},
    ],
)
def test_a_worker_may_change_nothing_else_of_its_pod(change: Json) -> None:
    assert "nothing of its pod but" in refusal(change)
    assert "nothing of its pod but" in refusal(merged(copy.deepcopy(change), COSTLY))


def test_a_worker_may_not_change_another_pod() -> None:
    assert "its own pod only" in refusal(COSTLY, by=user(pod("worker-2")))


@pytest.mark.parametrize("extra", [None, {}, {"authentication.kubernetes.io/pod-name": []}])
def test_a_token_that_no_pod_holds_may_change_nothing(extra: Json | None) -> None:
    caller = {"username": user_name("worker")} | ({} if extra is None else {"extra": extra})
    assert "its own pod only" in refusal(COSTLY, by=caller)


def test_the_policy_minds_workers_only() -> None:
    old = pod("worker-1")
    for name in (user_name("default"), user_name("worker", "other"), "admin"):
        assert refusal(metadata(labels=None), old, user(old) | {"username": name}) == ""


def test_the_grant_and_the_policy_meet_in_one_account_and_one_request() -> None:
    assert ROLE["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}]
    assert BINDING["roleRef"]["name"] == ROLE["metadata"]["name"]
    (subject,) = BINDING["subjects"]
    (account,) = (item for item in objects(KIT / "identity.yaml") if item["kind"] == "ServiceAccount")
    assert (subject["name"], subject["namespace"]) == (account["metadata"]["name"], account["metadata"]["namespace"])
    (condition,) = POLICY["spec"]["matchConditions"]
    assert repr(user_name(subject["name"], subject["namespace"])) in condition["expression"]
    (rule,) = POLICY["spec"]["matchConstraints"]["resourceRules"]
    assert rule == {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["pods"]}
    assert POLICY["spec"]["failurePolicy"] == "Fail"
    assert BOUND["spec"] == {"policyName": POLICY["metadata"]["name"], "validationActions": ["Deny"]}
    assert {item["metadata"]["namespace"] for item in (ROLE, BINDING)} == {NAMESPACE}


def test_the_kit_grants_this_and_the_list_of_deployments_alone() -> None:
    grants = [item for item in rendered(settings()) if item["apiVersion"].startswith("rbac.")]
    assert sorted((item["kind"], item["metadata"]["name"]) for item in grants) == [
        ("ClusterRole", "elasticrecode-discovery"),
        ("ClusterRoleBinding", "elasticrecode-discovery"),
        ("Role", "worker"),
        ("RoleBinding", "worker"),
    ]


@every
def test_every_worker_finds_its_token_and_the_authority_of_the_api(kind: str) -> None:
    spec = worker(kind)["spec"]["template"]["spec"]
    (volume,) = (one for one in spec["volumes"] if "projected" in one)
    mount = {"name": volume["name"], "mountPath": str(pod_cost.FOLDER), "readOnly": True}
    assert mount in spec["containers"][0]["volumeMounts"]
    token, authority = volume["projected"]["sources"]
    # Without an audience, the token is for the API server itself.
    assert token == {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    assert authority == {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    assert len(spec["volumes"]) == len(spec["containers"][0]["volumeMounts"]) == 2
