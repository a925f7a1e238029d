"""Whose credentials these are, the CDK bootstrap, and the state and version of the stack."""

from collections.abc import Iterator, Mapping
from typing import Any

from elasticrecode_client.doctor.check import check
from elasticrecode_client.doctor.deployment import Deployment, outputs_of
from elasticrecode_client.doctor.results import Finding, Verdict, failed, skipped, warning
from elasticrecode_client.version import __version__

LEAST_BOOTSTRAP = 6
"""The bootstrap version that templates of CDK's default synthesizer need."""
_BOOTSTRAP = "/cdk-bootstrap/hnb659fds/version"


@check("identity", "AWS credentials and Region")
def identity(deployment: Deployment) -> Verdict:
    """Whose credentials doctor has, and whether the deployment is of that account and Region."""
    caller = deployment.identity
    findings = []
    account, region = deployment.template.account, deployment.template.region
    if caller["Account"] != account or region != deployment.region:
        sentence = f"The stack is of account {account} in {region}; these credentials are of {caller['Account']}."
        findings.append(failed("credentials", sentence, "export AWS_PROFILE=… AWS_REGION=…   (those of the stack)"))
    if caller["Arn"].endswith(":root") and not deployment.is_embedded:
        sentence = "These are the credentials of the account's root user."
        findings.append(warning("credentials", sentence, "aws configure sso   (and use a role: docs/how-to/doctor.md)"))
    return Verdict.of(f"{caller['Arn']} in {deployment.region}", findings)


@check("bootstrap", "CDK bootstrap")
def bootstrap(deployment: Deployment) -> Verdict:
    """The version of the CDK bootstrap, which every deployment needs."""
    parameters = deployment.client("ssm")
    try:
        version = int(parameters.get_parameter(Name=_BOOTSTRAP)["Parameter"]["Value"])
    except parameters.exceptions.ParameterNotFound:
        version = 0
    remedy = f"npx cdk bootstrap aws://{deployment.template.account}/{deployment.region}"
    return Verdict.of(f"version {version}" if version else "none", judge_bootstrap(version, remedy))


def judge_bootstrap(version: int, remedy: str) -> Iterator[Finding]:
    """The faults of a bootstrap version; 0 stands for none."""
    if not version:
        yield warning(_BOOTSTRAP, "CDK has not been bootstrapped here, so the next deployment fails.", remedy)
    elif version < LEAST_BOOTSTRAP:
        sentence = f"The bootstrap has version {version}; deployments need {LEAST_BOOTSTRAP} or newer."
        yield failed(_BOOTSTRAP, sentence, remedy)


@check("stack", "CloudFormation stack")
def stack(deployment: Deployment) -> Verdict:
    """The state of the stack."""
    described = deployment.stack
    events = deployment.advice.cli(f"cloudformation describe-stack-events --stack-name {described['StackName']}")
    summary = f"{described['StackName']}: {described['StackStatus']}, {len(deployment.template.names)} resources"
    findings = [*judge_stack(described, events), *judge_address(deployment.options.url, outputs_of(described))]
    return Verdict.of(summary, findings)


def judge_address(url: str, outputs: Mapping[str, str]) -> Iterator[Finding]:
    """The fault of an address that is not the stack's; a stack without a front door does not know its own."""
    own = outputs.get("Url", "")
    if url and own and url.rstrip("/") != own.rstrip("/"):
        sentence = f"{url} is not the address of this stack, which is {own}."
        yield warning("address", sentence, f"elasticrecode doctor --url {own}   (or --stack NAME, --region)")


def judge_stack(described: Mapping[str, Any], events: str) -> Iterator[Finding]:
    """The faults of a described stack. `events` is the command that shows what happened to it."""
    name, state = described["StackName"], described["StackStatus"]
    reason = f": {described['StackStatusReason']}" if described.get("StackStatusReason") else ""
    if state.endswith("_IN_PROGRESS"):
        wait = "Wait until it has ended, and run doctor again."
        yield warning(name, f"The stack is changing ({state}).", f"{events}   {wait}")
    elif state == "UPDATE_ROLLBACK_FAILED":
        cause = f"aws cloudformation continue-update-rollback --stack-name {name}"
        yield failed(name, f"A rollback did not end{reason}.", f"{events}   then {cause}")
    elif "ROLLBACK" in state or "FAILED" in state:
        finding = failed if state in ("ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED") else warning
        yield finding(name, f"The latest deployment failed ({state}){reason}.", f"{events}   then make deploy")
    if not outputs_of(described):
        yield failed(name, "The stack has no outputs, so no part of it can be reached.", "make deploy")


@check("version", "Versions")
def version(deployment: Deployment) -> Verdict:
    """The version of the API beside that of this command, and of the commit in the stack."""
    answer = deployment.api.call("GET", "/v1")
    if answer.status != 200:
        public = deployment.api.call("GET", "/v1/health", anonymous=True)
        served = {"version": (public.content or {}).get("version", "") if public.status == 200 else ""}
    else:
        served = answer.content
    findings = list(judge_version(str(served.get("version") or ""), __version__))
    if answer.status != 200:
        findings.append(skipped("commit", "The API did not let this caller see its commit; see sign-in."))
    else:
        findings.extend(judge_commit(str(served.get("commit", "")), _expected_commit(deployment)))
    commit = str(served.get("commit", ""))[:12]
    return Verdict.of(f"API {served.get('version') or '?'} {commit}, this command v{__version__}", findings)


def _expected_commit(deployment: Deployment) -> str:
    """The commit that the template gives to its functions; "" where none tells."""
    environments = (each.properties["Environment"]["Variables"] for each in deployment.template.functions())
    return next((str(each["COMMIT"]) for each in environments if "COMMIT" in each), "")


def judge_version(served: str, own: str) -> Iterator[Finding]:
    """The faults of the API's version beside that of this command."""
    if not served:
        yield failed("API", "The API does not tell its version.", "elasticrecode doctor   (and see functions)")
    elif served.removeprefix("v").split(".")[:2] != own.split(".")[:2]:
        sentence = f"The API has {served}, and this command v{own}: they may not understand each other."
        yield warning("API", sentence, f"pip install 'elasticrecode=={served.removeprefix('v')}'   or   make deploy")


def judge_commit(served: str, expected: str) -> Iterator[Finding]:
    """The faults of the commit that the API runs beside that of the stack's template."""
    if expected and served != expected:
        sentence = f"The API runs commit {served[:12]}, and the stack was deployed from {expected[:12]}."
        yield warning("API", sentence, "make deploy   (someone has changed the function by hand)")
