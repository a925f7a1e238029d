"""Quotas of the account beside what the deployment is configured to use."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from elasticrecode_client.doctor.advice import Advice
from elasticrecode_client.doctor.check import check
from elasticrecode_client.doctor.checks.sign_in import kind_of
from elasticrecode_client.doctor.deployment import Deployment, explained
from elasticrecode_client.doctor.results import Finding, Verdict, failed, skipped, warning
from elasticrecode_client.doctor.template import UNKNOWN, Resource

_REQUEST_SECONDS = 0.1
"""How long a function takes for a request, about."""
_TOKEN_SECONDS = 3600
_SIGN_INS = "UserAuthentication"
_ON_DEMAND_LEAST = 40_000


@check("lambda-quota", "Quota: Lambda")
def lambda_quota(deployment: Deployment) -> Verdict:
    """Concurrent executions of the account beside those that the stack may need."""
    client, template = deployment.client("lambda"), deployment.template
    limits = client.get_account_settings()["AccountLimit"]
    mappings = template.resources("AWS::Lambda::EventSourceMapping")
    at_once = [concurrency(each) for each in mappings]
    scheduled = sum(len(each.properties.get("Targets", ())) for each in template.resources("AWS::Events::Rule"))
    requests = rates(template.resources("AWS::ApiGateway::Stage"))
    need = sum(at_once) + scheduled + int(max(requests, default=0) * _REQUEST_SECONDS)
    least = len(mappings) + scheduled
    free, most = int(limits["UnreservedConcurrentExecutions"]), int(limits["ConcurrentExecutions"])
    raise_ = deployment.advice.cli(
        "service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384 "
        "--desired-value 1000"
    )
    summary = f"{free} of {most} concurrent executions free; this stack may use {need}"
    return Verdict.of(summary, judge_concurrency(free, least, need, raise_))


def concurrency(mapping: Resource) -> int:
    """How many invocations at once an event source may cause."""
    scaling = mapping.properties.get("ScalingConfig") or {}
    return int(scaling.get("MaximumConcurrency") or mapping.properties.get("ParallelizationFactor") or 10)


def rates(stages: Iterable[Resource]) -> list[float]:
    """The requests a second that stages of the REST API let in."""
    settings = (each for stage in stages for each in stage.properties.get("MethodSettings", ()))
    return [float(each["ThrottlingRateLimit"]) for each in settings if "ThrottlingRateLimit" in each]


def judge_concurrency(free: int, least: int, need: int, remedy: str) -> Iterator[Finding]:
    """The faults of a quota: `least` lets every event source run one function, `need` is the most of this stack."""
    if free < least:
        sentence = (
            f"{free} concurrent executions are free, and {least} functions run by themselves: they starve the API."
        )
        yield failed("Lambda", sentence, remedy)
    elif free < need:
        sentence = (
            f"{free} concurrent executions are free; under full load this stack may use {need}, and is throttled."
        )
        yield warning("Lambda", sentence, remedy)


@check("api-quota", "Quota: API Gateway")
def api_quota(deployment: Deployment) -> Verdict:
    """Requests a second of the account beside those of the stages, and the role that writes access logs."""
    account = deployment.client("apigateway").get_account()
    limit = float(account.get("throttleSettings", {}).get("rateLimit", 10_000))
    template = deployment.template
    sockets = template.resources("AWS::ApiGatewayV2::Stage")
    rest = rates(template.resources("AWS::ApiGateway::Stage"))
    web = [
        float((each.properties.get("DefaultRouteSettings") or {}).get("ThrottlingRateLimit") or 0) for each in sockets
    ]
    configured = max(rest, default=0) + max(web, default=0)
    logs = any(each.properties.get("AccessLogSettings") for each in sockets)
    has_role = bool(account.get("cloudwatchRoleArn")) or not logs
    summary = f"{configured:.0f} requests/s configured, {limit:.0f} allowed"
    return Verdict.of(summary, judge_api(configured, limit, has_role, deployment.advice))


def judge_api(configured: float, limit: float, has_role: bool, advice: Advice) -> Iterator[Finding]:
    """The faults of API Gateway's quota beside the configured rates of both APIs."""
    if configured > limit:
        sentence = f"The stages let in {configured:.0f} requests a second, the account {limit:.0f}."
        lower = f'make deploy ARGS="-c requestsPerSecond={int(limit // 2)}"'
        yield warning("API Gateway", sentence, f"{lower}   (or ask for a higher quota L-8A5B8E43)")
    if not has_role:
        sentence = "The account has no role with which API Gateway writes access logs."
        yield failed("API Gateway", sentence, advice.restore())


@check("table-quota", "Quota: DynamoDB")
def table_quota(deployment: Deployment) -> Verdict:
    """Capacity that DynamoDB allows a table on demand."""
    limits = deployment.client("dynamodb").describe_limits()
    least = min(int(limits[each]) for each in ("TableMaxReadCapacityUnits", "TableMaxWriteCapacityUnits"))
    return Verdict.of(f"{least} units a table", judge_capacity(least, deployment.advice))


def judge_capacity(least: int, advice: Advice) -> Iterator[Finding]:
    """The faults of a table's greatest capacity, in units a second."""
    if least < _ON_DEMAND_LEAST:
        sentence = f"A table may use {least} units a second; AWS gives new accounts {_ON_DEMAND_LEAST}."
        ask = "service-quotas list-service-quotas --service-code dynamodb"
        yield warning("DynamoDB", sentence, advice.cli(ask))


@check("sign-in-quota", "Quota: Cognito")
def sign_in_quota(deployment: Deployment) -> Verdict:
    """Sign-ins a second that Cognito allows, beside the users of the pool."""
    if kind_of(deployment) != "cognito":
        return Verdict("not used")
    pool = deployment.client("cognito-idp").describe_user_pool(UserPoolId=deployment.outputs["UserPool"])["UserPool"]
    users = int(pool.get("EstimatedNumberOfUsers") or 0)
    quota = _quota(deployment, "cognito-idp", _SIGN_INS)
    if quota is None:
        reason = "This account does not tell the quota of Cognito"
        where = (
            "the embedded AWS has no Service Quotas" if deployment.is_embedded else "servicequotas:ListServiceQuotas"
        )
        return Verdict.of(f"{users} users", (skipped("Cognito", f"{reason} ({where})."),))
    return Verdict.of(f"{users} users, {quota:.0f} sign-ins/s allowed", judge_sign_ins(users, quota, deployment.advice))


def judge_sign_ins(users: int, quota: float, advice: Advice) -> Iterator[Finding]:
    """The faults of a quota of sign-ins a second, for users who sign in anew each hour."""
    need = users / _TOKEN_SECONDS
    if need > quota / 2:
        sentence = f"{users} users sign in {need:.0f} times a second, on average; Cognito takes {quota:.0f}."
        ask = "service-quotas list-service-quotas --service-code cognito-idp"
        yield warning("Cognito", sentence, advice.cli(ask))


def _quota(deployment: Deployment, service: str, words: str) -> float | None:
    """The value of the first quota whose name contains `words`; None where it is not listed or may not be read."""
    try:
        pages = deployment.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode=service)
        quotas: Sequence[Mapping[str, Any]] = [each for page in pages for each in page["Quotas"]]
    except Exception as error:
        if explained(error):
            return None
        raise
    return next((float(each["Value"]) for each in quotas if words in each["QuotaName"]), None)


@check("eks", "EKS: discovery's access")
def eks(deployment: Deployment) -> Verdict:
    """Whether the clusters exist, and whether discovery's role has an access entry in each."""
    discover = next((each for each in deployment.template.functions() if each.label == "discover"), None)
    if discover is None:
        return Verdict("discovery is off")
    named = json.loads(discover.properties["Environment"]["Variables"].get("CLUSTERS", "[]"))
    clusters = [each.rsplit("/", 1)[-1] for each in named if not each.startswith("tag:") and UNKNOWN not in each]
    if not clusters:
        reason = "Clusters are chosen by a tag; discovery's log names those that it cannot reach."
        return Verdict("by tag", (skipped("EKS", reason, deployment.advice.cli("eks list-clusters")),))
    findings = [finding for each in clusters for finding in _cluster(deployment, each, discover)]
    return Verdict.of(", ".join(clusters), findings)


def _cluster(deployment: Deployment, name: str, discover: Resource) -> Iterator[Finding]:
    client = deployment.client("eks")
    try:
        cluster = client.describe_cluster(name=name)["cluster"]
        entries = client.list_access_entries(clusterName=name)["accessEntries"]
    except client.exceptions.ResourceNotFoundException:
        remedy = f'make deploy ARGS="-c clusters=…"   ({deployment.advice.cli("eks list-clusters")} names yours)'
        yield failed(f"cluster {name}", "There is no such cluster in this Region.", remedy)
        return
    if deployment.is_embedded:
        yield skipped(f"cluster {name}", "The stand-in cluster knows discovery without an access entry.")
        return
    yield from judge_cluster(cluster, entries, str(discover.properties["Role"]), deployment.advice)


def judge_cluster(cluster: Mapping[str, Any], entries: Sequence[str], role: str, advice: Advice) -> Iterator[Finding]:
    """The faults of a cluster, whose access entries are these principals, for discovery's role."""
    where = f"cluster {cluster['name']}"
    if cluster.get("status") != "ACTIVE":
        yield failed(where, f"The cluster is {cluster.get('status')}.", advice.cli("eks list-clusters"))
    mode = cluster.get("accessConfig", {}).get("authenticationMode", "CONFIG_MAP")
    if mode == "CONFIG_MAP":
        ask = (
            f"eks update-cluster-config --name {cluster['name']} --access-config authenticationMode=API_AND_CONFIG_MAP"
        )
        yield failed(where, "The cluster takes no access entries (authenticationMode CONFIG_MAP).", advice.cli(ask))
    elif role not in entries:
        create = (
            f"eks create-access-entry --cluster-name {cluster['name']} --principal-arn {role} "
            "--kubernetes-groups elasticrecode-discovery"
        )
        sentence = "Discovery's role has no access entry, so workers of this cluster are not found."
        yield failed(where, sentence, f"{advice.cli(create)}   (docs/how-to/eks.md)")
    if not cluster.get("resourcesVpcConfig", {}).get("endpointPublicAccess", True):
        yield failed(where, "Its API endpoint is private, and discovery runs outside its VPC.", "docs/how-to/eks.md")
