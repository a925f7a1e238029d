"""Each grant of the stack's roles, tried with IAM's policy simulator, which knows boundaries and organizations.

Where the simulator may not be called, the statements of each role's policies are compared with the template's.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import unquote

from elasticrecode_client.doctor.advice import Advice
from elasticrecode_client.doctor.check import check
from elasticrecode_client.doctor.checks.functions import side_by_side
from elasticrecode_client.doctor.deployment import Deployment, explained
from elasticrecode_client.doctor.results import Finding, Verdict, failed, skipped, warning
from elasticrecode_client.doctor.template import UNKNOWN, Grant, Resource

_VARIABLE = re.compile(r"\$\{(aws:[\w/]+)\}")
_NAME = "doctor"
"""Stands for a wildcard in a resource, and for a variable of a policy."""
_BY_SIMULATOR, _BY_DOCUMENTS = "IAM's policy simulator", "the text of the policies"


class Tried(NamedTuple):
    """A grant that was tried: the actions that are denied, and why not tried, or ""."""

    grant: Grant
    denied: tuple[tuple[str, str, str], ...]
    reason: str = ""


@check("grants", "Grants of roles", seconds=240)
def grants(deployment: Deployment) -> Verdict:
    """Whether each role may do what the template grants it."""
    listed = deployment.template.grants()
    roles = [each for each in listed if each.holder.kind == "AWS::IAM::Role"]
    policies = {each.holder.name: each.holder for each in listed if each.holder.kind == "AWS::IAM::ManagedPolicy"}
    findings: list[Finding] = []
    for arn, policy in policies.items():
        holders, faults = _holders(deployment, arn, policy)
        findings += faults
        roles += [each._replace(holder=holder) for each in listed if each.holder.name == arn for holder in holders]
    way = _way(deployment, roles)
    tried = side_by_side(lambda each: _try(deployment, each, way), roles)
    findings += [finding for _, one in tried for finding in judge_grant(one, deployment.advice)]
    count = sum(len(each.actions) * len(each.resources) for each in roles)
    return Verdict.of(f"{count} grants of {len({each.holder.name for each in roles})} roles, by {way}", findings)


def _holders(deployment: Deployment, arn: str, policy: Resource) -> tuple[list[Resource], list[Finding]]:
    """The roles that a managed policy is attached to, and its faults."""
    iam = deployment.client("iam")
    try:
        pages = iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=arn, EntityFilter="Role")
        names = [each["RoleName"] for page in pages for each in page["PolicyRoles"]]
    except iam.exceptions.NoSuchEntityException:
        return [], [failed(policy.label, f"The policy {arn} does not exist.", deployment.advice.restore())]
    if not names:
        sentence = "No role has the policy of workers, so no worker can take a job."
        attach = f"aws iam attach-role-policy --role-name YOUR_WORKERS_ROLE --policy-arn {arn}"
        return [], [warning(policy.label, sentence, attach)]
    return [Resource("AWS::IAM::Role", policy.logical, name, f"workers' role {name}", {}) for name in names], []


def _way(deployment: Deployment, grants: Sequence[Grant]) -> str:
    """How grants are tried: by the simulator, unless it may not be called."""
    if not grants:
        return _BY_SIMULATOR
    try:
        _simulate(deployment, grants[0].holder.name, grants[0].actions[:1], ["*"])
    except Exception as error:  # noqa: BLE001 - whatever refuses the simulator, the documents are there
        refused = explained(error)
        if refused and "NoSuchEntity" not in str(refused):
            return _BY_DOCUMENTS
    return _BY_SIMULATOR


def _try(deployment: Deployment, grant: Grant, way: str) -> Tried:
    resources = [concrete(each) for each in grant.resources if UNKNOWN not in each]
    if not resources:
        return Tried(grant, (), f"the resource of {', '.join(grant.actions)} is not known")
    iam = deployment.client("iam")
    try:
        if way == _BY_DOCUMENTS:
            documents = _documents(deployment, grant.holder.name)
            pairs = ((action, each) for each in resources for action in grant.actions)
            denied = [(*pair, "no policy allows it") for pair in pairs if not allowed_by(documents, *pair)]
        else:
            denied = list(_denied(deployment, grant, resources))
    except iam.exceptions.NoSuchEntityException:
        return Tried(grant, tuple((each, grant.resources[0], "the role does not exist") for each in grant.actions[:1]))
    return Tried(grant, tuple(denied))


def _denied(deployment: Deployment, grant: Grant, resources: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """The actions that the simulator denies, each with its resource and the reason.

    The embedded AWS simulates the first resource alone, so each is sent by itself.
    """
    for resource in resources:
        for result in _simulate(deployment, grant.holder.name, grant.actions, [resource]):
            if result["EvalDecision"] == "allowed":
                continue
            yield result["EvalActionName"], resource, reason_of(result)


def reason_of(result: Mapping[str, Any]) -> str:
    """Why the simulator denies an action, in words."""
    if not result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True):
        return "a policy of your AWS organization denies it"
    if not result.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary", True):
        return "the permissions boundary of the role does not allow it"
    return "a policy denies it" if result["EvalDecision"] == "explicitDeny" else "no policy allows it"


def _simulate(
    deployment: Deployment, role: str, actions: Sequence[str], resources: Sequence[str]
) -> list[Mapping[str, Any]]:
    partition, account = deployment.template.partition, deployment.template.account
    tags = {"ContextKeyName": "aws:PrincipalTag/userID", "ContextKeyValues": [_NAME], "ContextKeyType": "string"}
    pages = deployment.client("iam").get_paginator("simulate_principal_policy")
    source = f"arn:{partition}:iam::{account}:role/{role}"
    answers = pages.paginate(
        PolicySourceArn=source, ActionNames=list(actions), ResourceArns=list(resources), ContextEntries=[tags]
    )
    return [result for page in answers for result in page["EvaluationResults"]]


def concrete(resource: str) -> str:
    """A resource of a policy as one that a request could name: `*` alone stays, other wildcards get a name."""
    if resource == "*":
        return resource
    return _VARIABLE.sub(_NAME, resource).replace("*", _NAME)


def _documents(deployment: Deployment, role: str) -> list[Mapping[str, Any]]:
    """The statements of all policies of a role."""

    def read() -> list[Mapping[str, Any]]:
        iam = deployment.client("iam")
        inline = iam.list_role_policies(RoleName=role)["PolicyNames"]
        documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in inline]
        for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
            arn = attached["PolicyArn"]
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            documents.append(iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])
        texts = [json.loads(unquote(each)) if isinstance(each, str) else each for each in documents]
        return [statement for each in texts for statement in _listed(each["Statement"])]

    return deployment.once(f"documents {role}", read)


def allowed_by(statements: Iterable[Mapping[str, Any]], action: str, resource: str) -> bool:
    """Whether statements, whose conditions are taken as met, allow an action on a resource."""
    matching = [
        each["Effect"]
        for each in statements
        if any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _listed(each.get("Action", ())))
        and any(fnmatchcase(resource, _VARIABLE.sub(_NAME, pattern)) for pattern in _listed(each.get("Resource", ())))
    ]
    return "Allow" in matching and "Deny" not in matching


def judge_grant(tried: Tried, advice: Advice) -> Iterator[Finding]:
    """The faults of a grant that was tried."""
    where = f"role {tried.grant.holder.label}"
    if tried.reason:
        yield skipped(where, f"Not tried, as {tried.reason}; see streams.")
    by_resource: dict[tuple[str, str], list[str]] = {}
    for action, resource, reason in tried.denied:
        by_resource.setdefault((resource, reason), []).append(action)
    for (resource, reason), actions in by_resource.items():
        sentence = f"It may not {', '.join(actions)} on {resource}: {reason}."
        yield failed(where, sentence, remedy_of(reason, tried.grant, advice))


def remedy_of(reason: str, grant: Grant, advice: Advice) -> str:
    """What to type for a grant that is denied."""
    if "organization" in reason:
        return "Ask the administrator of your AWS organization to allow these actions in its service control policies."
    if "boundary" in reason:
        role = grant.holder.name
        return f"aws iam delete-role-permissions-boundary --role-name {role}   (or add the actions to the boundary)"
    statement = {"Effect": "Allow", "Action": list(grant.actions), "Resource": list(grant.resources)}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    name, role = f"doctor-{grant.actions[0].replace(':', '-')}", grant.holder.name
    by_hand = f"aws iam put-role-policy --role-name {role} --policy-name {name} --policy-document '{document}'"
    return f"{by_hand}   or all that was changed:   {advice.restore()}"


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
