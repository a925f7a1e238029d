"""Clocks: of this machine, AWS, the API, and of whoever lists workers."""

import time
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from elasticrecode_client.doctor.check import check
from elasticrecode_client.doctor.deployment import Deployment
from elasticrecode_client.doctor.results import Finding, Verdict, failed, skipped, warning

NOTICED_SECONDS = 5.0
REFUSED_SECONDS = 240.0
"""AWS refuses signatures, and webhooks' receivers events, that are 300 s old."""
_STALE_SECONDS = 300


@check("clocks", "Clocks")
def clocks(deployment: Deployment) -> Verdict:
    """The time of this machine beside that of AWS and of the API."""
    findings: list[Finding] = []
    parts = []
    before = time.time()
    headers = deployment.client("sts").get_caller_identity()["ResponseMetadata"]["HTTPHeaders"]
    middle = (before + time.time()) / 2
    aws = parsedate_to_datetime(headers["date"]).timestamp() if "date" in headers else None
    before = time.time()
    answer = deployment.api.call("GET", "/v1/health", anonymous=True)
    api = answer.server_time
    for name, served, here in (("AWS", aws, middle), ("API", api, (before + time.time()) / 2)):
        if served is None:
            findings.append(skipped(name, "The answer has no header Date."))
            continue
        # The header is in whole seconds, so the clock read half a second more on average.
        skew = here - served - 0.5
        parts.append(f"{name} {skew:+.1f} s")
        findings += judge_skew(name, skew)
    return Verdict.of(f"this machine beside {', '.join(parts)}", findings)


def judge_skew(name: str, seconds: float) -> Iterator[Finding]:
    """The faults of a clock that is so many seconds behind this machine's."""
    fast = "ahead of" if seconds > 0 else "behind"
    sentence = f"This machine's clock is {abs(seconds):.0f} s {fast} that of {name}."
    remedy = "timedatectl set-ntp true   (or date -u, to see which of them is wrong)"
    if abs(seconds) > REFUSED_SECONDS:
        yield failed(name, f"{sentence} AWS refuses signatures that are 5 minutes off.", remedy)
    elif abs(seconds) > NOTICED_SECONDS:
        yield warning(name, sentence, remedy)


@check("workers", "Workers seen lately")
def workers(deployment: Deployment) -> Verdict:
    """When discovery has last seen the Deployments of workers, and whether their Pods are ready."""
    answer = deployment.api.call("GET", "/v1/worker/deployments")
    if answer.status != 200:
        reason = skipped("workers", f"GET /v1/worker/deployments answers {answer.status}: {answer.detail}")
        return Verdict("not known", (reason,))
    listed = list(answer.content.values())
    now = answer.server_time or time.time()
    ready = sum(int(each.get("Replicas") or 0) for each in listed)
    summary = f"{len(listed)} Deployments, {ready} ready workers"
    return Verdict.of(summary, judge_workers(listed, now))


def judge_workers(listed: Iterable[Mapping[str, Any]], now: float) -> Iterator[Finding]:
    """The faults of Deployments of workers at the Unix second `now`."""
    for each in listed:
        where = f"Deployment {each.get('namespace')}/{each['name']} in {each.get('cluster')}"
        age = now - float(each.get("seenAt") or 0)
        place = f"kubectl -n {each.get('namespace')}"
        if each.get("stale") or age > _STALE_SECONDS:
            sentence = f"Discovery has last seen it {age / 60:.0f} minutes ago."
            yield failed(where, sentence, "elasticrecode doctor --only functions --only schedules --only eks")
        elif age < -NOTICED_SECONDS:
            yield warning(where, f"It was seen {-age:.0f} s in the future, so a clock is wrong.", "date -u")
        elif int(each.get("Replicas") or 0) < int(each.get("desiredReplicas") or 0):
            sentence = f"{each.get('Replicas')} of {each['desiredReplicas']} workers are ready."
            yield warning(where, sentence, f"{place} get pods; {place} describe deployment {each['name']}")
