"""Functions as Lambda has them, beside what the template says."""

from collections.abc import Iterator, Mapping
from typing import Any

from elasticrecode_client.doctor.check import check
from elasticrecode_client.doctor.deployment import Deployment
from elasticrecode_client.doctor.results import Finding, Verdict, failed, warning
from elasticrecode_client.doctor.template import UNKNOWN, Resource


@check("configuration", "Functions' settings")
def configuration(deployment: Deployment) -> Verdict:
    """Whether each function exists, can start, and has the settings of the template."""
    pages = deployment.client("lambda").get_paginator("list_functions").paginate()
    deployed = {each["FunctionName"]: each for page in pages for each in page["Functions"]}
    own = deployment.template.functions()
    findings = [
        finding
        for function in own
        for finding in judge_function(function, deployed.get(function.name), deployment.advice.restore())
    ]
    return Verdict.of(
        f"{len(own)} functions as the template says" if not findings else f"{len(own)} functions", findings
    )


def judge_function(function: Resource, deployed: Mapping[str, Any] | None, restore: str) -> Iterator[Finding]:
    """The faults of a function as Lambda lists it; None stands for one that does not exist."""
    where = f"function {function.label}"
    if deployed is None:
        yield failed(where, f"The function {function.name} does not exist.", restore)
        return
    if deployed.get("State", "Active") not in ("Active", "Inactive"):
        reason = deployed.get("StateReason") or deployed["State"]
        yield failed(where, f"Lambda cannot start it: {reason}.", restore)
    if deployed.get("LastUpdateStatus", "Successful") == "Failed":
        yield failed(where, f"Its latest update failed: {deployed.get('LastUpdateStatusReason', '')}.", restore)
    expected = function.properties["Environment"]["Variables"]
    actual = deployed.get("Environment", {}).get("Variables", {})
    if "Error" in deployed.get("Environment", {}):
        yield failed(where, f"Its settings cannot be read: {deployed['Environment']['Error'].get('Message')}.", restore)
        return
    missing = sorted(expected.keys() - actual.keys())
    if missing:
        yield failed(where, f"Its environment lacks {', '.join(missing)}.", restore)
    changed = sorted(
        name
        for name, value in expected.items()
        if name in actual and UNKNOWN not in str(value) and str(value) != actual[name]
    )
    if changed:
        sentence = f"Its environment has other values of {', '.join(changed)} than the stack gives."
        yield warning(where, sentence, restore)
    role = function.properties.get("Role", UNKNOWN)
    if UNKNOWN not in role and deployed.get("Role", role) != role:
        yield failed(where, f"It runs with the role {deployed['Role']}, not with {role}.", restore)
