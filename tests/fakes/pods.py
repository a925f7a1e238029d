"""Pods of a cluster: the tokens in them, who may patch which of their fields, and which of them a scale-down ends.

It follows Kubernetes' own code: `ActivePodsWithRanks` of `k8s.io/kubernetes/pkg/controller` for the order of a
scale-down, and the stages of a request: authentication, authorization, validation, admission. Google's CEL evaluates
admission policies.
"""

import json
import math
import secrets
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext.ext_optional import ExtOptional

from local.cluster import merged
from tests.fakes.kubernetes import Api, Handler, status

Json = dict[str, Any]

NAMESPACE = "elasticrecode"
COST = "controller.kubernetes.io/pod-deletion-cost"
BUSY = "elastirecord.kubernetes.io/busy"
_PHASES = ("Pending", "Unknown", "Running")


def cost(pod: Json) -> int:
    """A pod's deletion cost."""
    return int((pod["metadata"].get("annotations") or {}).get(COST, "0"))


def selected(pods: list[Json], selector: str) -> list[str]:
    """The names of the pods that a label selector selects."""
    wanted = dict(term.split("=") for term in selector.split(","))
    return [one["metadata"]["name"] for one in pods if wanted.items() <= (one["metadata"].get("labels") or {}).items()]


def pod(name: str, node: str = "", phase: str = "Running", restarts: int = 0, age: float = 3600.0) -> Json:
    """A pod as Kubernetes keeps it. It became ready as it was created; a pod that is not running is not ready."""
    created = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    ready = "True" if phase == "Running" else "False"
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": created,
            "labels": {"app.kubernetes.io/name": "worker-cpu"},
            "annotations": {"karpenter.sh/do-not-disrupt": "true"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "worker-cpu-5c2d", "controller": True}],
        },
        "spec": {"nodeName": node, "containers": [{"name": "worker", "image": "elasticrecode-worker:1.0.0"}]},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": created}],
            "containerStatuses": [{"name": "worker", "restartCount": restarts}],
        },
    }


def first_to_end(pods: list[Json]) -> list[Json]:
    """The pods of a ReplicaSet in the order in which it ends them."""
    now = datetime.now(UTC)
    on_node = Counter(one["spec"]["nodeName"] for one in pods)

    def age(moment: str) -> int:
        """The order of magnitude of an age, which is all that Kubernetes compares."""
        nanoseconds = (now - datetime.fromisoformat(moment)) / timedelta(microseconds=1) * 1000
        return int(math.log2(nanoseconds)) if nanoseconds > 0 else -1

    def order(one: Json) -> tuple[Any, ...]:
        (ready,) = (entry for entry in one["status"]["conditions"] if entry["type"] == "Ready")
        return (
            bool(one["spec"]["nodeName"]),
            _PHASES.index(one["status"]["phase"]),
            ready["status"] == "True",
            cost(one),
            -on_node[one["spec"]["nodeName"]],
            age(ready["lastTransitionTime"]),
            -max(entry["restartCount"] for entry in one["status"]["containerStatuses"]),
            age(one["metadata"]["creationTimestamp"]),
        )

    return sorted(pods, key=order)


class Admission:
    """A ValidatingAdmissionPolicy that is bound."""

    def __init__(self, policy: Json) -> None:
        """Compile the policy's expressions; CEL's error names a wrong one."""
        names = ("object", "oldObject", "request", "variables")
        env = cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN), extensions=[ExtOptional()])
        spec = policy["spec"]
        self._name = policy["metadata"]["name"]
        self._conditions = [env.compile(one["expression"]) for one in spec["matchConditions"]]
        self._variables = {one["name"]: env.compile(one["expression"]) for one in spec["variables"]}
        self._validations = [(env.compile(one["expression"]), one["message"]) for one in spec["validations"]]

    def refusal(self, user: Json, old: Json, new: Json) -> str:
        """Why a user may not make this change; empty if the policy does not mind."""
        data = {"object": new, "oldObject": old, "request": {"userInfo": user, "name": old["metadata"]["name"]}}
        data["variables"] = {}
        if not all(condition.eval(data=data).plain_value() for condition in self._conditions):
            return ""
        data["variables"] = {name: one.eval(data=data).plain_value() for name, one in self._variables.items()}
        for expression, message in self._validations:
            # An error of an expression is no `true`: failurePolicy is Fail.
            if expression.eval(data=data).plain_value() is not True:
                return f"ValidatingAdmissionPolicy '{self._name}' denied request: {message}"
        return ""


def user_name(account: str, namespace: str = NAMESPACE) -> str:
    """The name by which the API knows a service account."""
    return f"system:serviceaccount:{namespace}:{account}"


class Pods:
    """The pods that an API serves. `kit` holds the grants and policies of the cluster; `root` the folders of tokens."""

    def __init__(self, api: Api, kit: list[Json], root: Path, authority: bytes) -> None:
        self.pods: dict[str, Json] = {}
        self._users: dict[str, Json] = {}
        self._root, self._authority = root, authority
        roles = {one["metadata"]["name"]: one["rules"] for one in kit if one["kind"] == "Role"}
        self._grants = [
            (user_name(subject["name"], subject["namespace"]), binding["metadata"]["namespace"], rule)
            for binding in kit
            if binding["kind"] == "RoleBinding"
            for subject in binding["subjects"]
            for rule in roles[binding["roleRef"]["name"]]
        ]
        bound = {one["spec"]["policyName"] for one in kit if one["kind"] == "ValidatingAdmissionPolicyBinding"}
        self._policies = [
            Admission(one)
            for one in kit
            if one["kind"] == "ValidatingAdmissionPolicy" and one["metadata"]["name"] in bound
        ]
        api.otherwise = self.patch

    def add(self, one: Json, account: str = "worker") -> Path:
        """Start a pod. Returns the folder that is mounted in it, with its token and the authority of the API."""
        name = one["metadata"]["name"]
        self.pods[name] = one
        folder: Path = self._root / name
        folder.mkdir()
        (folder / "ca.crt").write_bytes(self._authority)
        self.rotate(name, account)
        return folder

    def rotate(self, name: str, account: str = "worker") -> str:
        """Replace the token in a pod by another; the API knows the earlier one no longer."""
        metadata = self.pods[name]["metadata"]
        extra = {"authentication.kubernetes.io/pod-name": [name]}
        extra["authentication.kubernetes.io/pod-uid"] = [metadata["uid"]]
        self._users = {
            token: user
            for token, user in self._users.items()
            if user["extra"] != extra or user["username"] != user_name(account)
        }
        token = secrets.token_urlsafe(24)
        self._users[token] = {"username": user_name(account), "extra": extra}
        (self._root / name / "token").write_text(token)
        return token

    def scale(self, count: int) -> list[str]:
        """End pods until `count` are left. Returns their names."""
        active = list(self.pods.values())
        names = [one["metadata"]["name"] for one in first_to_end(active)[: max(0, len(active) - count)]]
        for name in names:
            del self.pods[name]
        return names

    def patch(self, handler: Handler) -> None:
        """Answer a PATCH of a pod."""
        code, message = self._refusal(handler)
        if code != 200:
            status(code, message)(handler)
            return
        name, new = self._patched(handler)
        self.pods[name] = new
        handler.answer(200, json.dumps(new).encode())

    def _patched(self, handler: Handler) -> tuple[str, Json]:
        seen = handler.server.seen[-1]
        name = seen.path.rpartition("/")[2]
        return name, merged(self.pods[name], json.loads(seen.body))

    def _refusal(self, handler: Handler) -> tuple[int, str]:
        """The status of the answer, and the message of one other than 200."""
        seen = handler.server.seen[-1]
        parts = seen.path.split("/")[1:]
        if parts[:3] != ["api", "v1", "namespaces"] or parts[4] != "pods" or len(parts) != 6:
            return 404, "the server could not find the requested resource"
        namespace, name = parts[3], parts[5]
        user = self._users.get(handler.headers.get("Authorization", "").removeprefix("Bearer "))
        if not user:
            return 401, "Unauthorized"
        if not any(
            (user["username"], namespace) == (granted, place)
            and "patch" in rule["verbs"]
            and "pods" in rule["resources"]
            for granted, place, rule in self._grants
        ):
            return 403, f'pods "{name}" is forbidden: User "{user["username"]}" cannot patch resource "pods"'
        if handler.headers["Content-Type"] != "application/merge-patch+json":
            return 415, "the body of the request was in an unknown format"
        if name not in self.pods or namespace != NAMESPACE:
            return 404, f'pods "{name}" not found'
        old, (_, new) = self.pods[name], self._patched(handler)
        if not -(2**31) <= cost(new) < 2**31:
            return 422, f'Pod "{name}" is invalid: metadata.annotations[{COST}]: Invalid value'
        for policy in self._policies:
            reason = policy.refusal(user, old, new)
            if reason:
                return 403, f'pods "{name}" is forbidden: {reason}'
        return 200, ""
