"""Whether the deployment lets in whom it should, and nobody else."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from elasticrecode_client.doctor.advice import Advice
from elasticrecode_client.doctor.api import Answer
from elasticrecode_client.doctor.check import check
from elasticrecode_client.doctor.deployment import Deployment
from elasticrecode_client.doctor.results import Finding, Verdict, failed, warning

_SIGN_IN = {
    "none": "",
    "cognito": "elasticrecode login   (or aws cognito-idp initiate-auth, docs/start/aws.md)",
    "jwt": "export ELASTICRECODE_TOKEN=…   (a token of your issuer for the option jwtAudience)",
    "iam": "Allow your role execute-api:Invoke on the API, and use its URL (output RestUrl), not CloudFront's.",
}


@check("reach", "API answers")
def reach(deployment: Deployment) -> Verdict:
    """Whether the API answers the public health route."""
    api = deployment.api
    try:
        answer = api.call("GET", "/v1/health", anonymous=True)
    except httpx.HTTPError as error:
        return Verdict(api.base, (failed(api.base, f"The API does not answer: {error}.", _start(deployment)),))
    summary = f"{api.base} in {answer.seconds * 1000:.0f} ms"
    if answer.status != 200 or not isinstance(answer.content, dict) or answer.content.get("status") != "ok":
        sentence = f"GET {api.base}/v1/health answers {answer.status}: {answer.detail}"
        remedy = "make up" if deployment.is_embedded else "elasticrecode doctor --only functions --only configuration"
        return Verdict(summary, (failed(api.base, sentence, remedy),))
    return Verdict(summary)


def _start(deployment: Deployment) -> str:
    if deployment.is_embedded:
        return "make up"
    return f"elasticrecode doctor --url …   (output Url: {deployment.outputs.get('Url', '-')})"


@check("sign-in", "Sign-in")
def sign_in(deployment: Deployment) -> Verdict:
    """Whether the credentials of this command are taken, and whether anyone gets in without any."""
    api = deployment.api
    kind = kind_of(deployment)
    nobody, caller = api.call("GET", "/v1", anonymous=True), api.call("GET", "/v1")
    findings = [*judge_nobody(kind, nobody.status), *judge_caller(kind, caller, deployment.is_embedded)]
    if kind == "cognito":
        findings += _pool(deployment)
    content = caller.content if caller.status == 200 and isinstance(caller.content, dict) else {}
    role = "operator" if content.get("operator") else "user"
    return Verdict.of(f"auth={kind}, {role} {content.get('userID') or '-'}" if content else f"auth={kind}", findings)


def kind_of(deployment: Deployment) -> str:
    """How callers authenticate: the option `auth` that is deployed."""
    for function in deployment.template.functions():
        text = function.properties["Environment"]["Variables"].get("AUTH")
        if text:
            return str(json.loads(text)["kind"])
    return "none"


def judge_nobody(kind: str, status: int) -> Iterator[Finding]:
    """The faults of the answer to a caller without credentials."""
    if kind == "none":
        sentence = "Anyone who reaches the API can submit, see and cancel every job (option auth=none)."
        yield warning("API", sentence, 'make deploy ARGS="-c auth=cognito"   (on one machine: make up AUTH=cognito)')
    elif status == 200:
        yield failed("API", f"The API lets in callers without credentials, though auth is {kind}.", "make deploy")
    elif status not in (401, 403):
        yield failed(
            "API", f"A caller without credentials gets {status}, not 401.", "elasticrecode doctor --only reach"
        )


def judge_caller(kind: str, answer: Answer, is_embedded: bool) -> Iterator[Finding]:
    """The faults of the answer to the caller's own credentials."""
    if answer.status in (401, 403) and kind != "none":
        remedy = _SIGN_IN[kind]
        if is_embedded and kind == "cognito":
            remedy = "export ELASTICRECODE_TOKEN=$(make -s token)"
        sentence = f"The API does not take these credentials ({answer.status}: {answer.detail})."
        yield failed("credentials", sentence, remedy)
    elif answer.status != 200:
        yield failed("credentials", f"GET /v1 answers {answer.status}: {answer.detail}", "elasticrecode doctor")
    elif isinstance(answer.content, dict) and not answer.content.get("operator") and kind != "none":
        sentence = "This caller is no operator, so workers and queues are not checked by their load."
        yield warning("credentials", sentence, "Sign in as an operator (docs/start/aws.md#add-users).")


def _pool(deployment: Deployment) -> Iterator[Finding]:
    """The faults of the user pool."""
    outputs, client = deployment.outputs, deployment.client("cognito-idp")
    pool = outputs["UserPool"]
    try:
        client.describe_user_pool(UserPoolId=pool)
        given = client.describe_user_pool_client(UserPoolId=pool, ClientId=outputs["UserPoolClient"])["UserPoolClient"]
        users = client.list_users(UserPoolId=pool, Limit=1)["Users"]
        operators = client.list_users_in_group(UserPoolId=pool, GroupName="operators", Limit=1)["Users"]
    except client.exceptions.ResourceNotFoundException as error:
        yield failed(f"user pool {pool}", str(error), deployment.advice.restore())
        return
    yield from judge_pool(pool, given, bool(users), bool(operators), deployment.advice)


def judge_pool(
    pool: str, client: Mapping[str, Any], has_users: bool, has_operators: bool, advice: Advice
) -> Iterator[Finding]:
    """The faults of a user pool with its client."""
    where = f"user pool {pool}"
    flows = set(client.get("ExplicitAuthFlows", ()))
    if not flows & {"ALLOW_USER_PASSWORD_AUTH", "USER_PASSWORD_AUTH"}:
        yield failed(where, "Its client does not allow sign-in by password.", advice.restore())
    create = f"cognito-idp admin-create-user --user-pool-id {pool} --username ann"
    group = f"cognito-idp admin-add-user-to-group --user-pool-id {pool} --username ann --group-name operators"
    if not has_users:
        yield warning(where, "Nobody can sign in: the pool has no users.", advice.cli(create))
    elif not has_operators:
        yield warning(where, "No user is an operator, so nobody may pause queues.", advice.cli(group))
