"""Every function, invoked so that it does nothing; and the latest errors in logs."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

from elasticrecode_client.doctor.advice import Advice
from elasticrecode_client.doctor.check import check
from elasticrecode_client.doctor.deployment import Deployment
from elasticrecode_client.doctor.results import Finding, Verdict, failed, warning
from elasticrecode_client.doctor.template import Resource

T = TypeVar("T")
R = TypeVar("R")

HEALTH_EVENT = {"elasticrecode": "health"}
"""Every function answers this event with its version, and does nothing (`elasticrecode.runtime` in the core)."""
_AT_ONCE = 4
_RECENT_SECONDS = 900
_PATTERN = '?"ERROR" ?"Task timed out" ?"Traceback"'


class Invoked(NamedTuple):
    """What came of an invocation: the answer, the error in words or "", and the version that was deployed."""

    answer: Any
    error: str
    status: int


@check("functions", "Functions answer", seconds=240)
def functions(deployment: Deployment) -> Verdict:
    """Invoke every function with an event that does nothing, and CDK's own functions as a dry run."""
    own, helpers = deployment.template.functions(), deployment.template.helpers()
    answers = side_by_side(lambda each: _invoke(deployment, each), own)
    findings = [
        finding
        for function, invoked in answers
        for finding in judge_answer(function, invoked, partial(last_error, deployment, function), deployment.advice)
    ]
    client = deployment.client("lambda")
    for helper in helpers:
        client.invoke(FunctionName=helper.name, InvocationType="DryRun")
    versions = {str(invoked.answer.get("version")) for _, invoked in answers if isinstance(invoked.answer, dict)}
    dry = f", {len(helpers)} of CDK by dry run" if helpers else ""
    well = len(own) - len({each.where for each in findings})
    return Verdict.of(f"{well} of {len(own)} answer ({', '.join(sorted(versions)) or 'no version'}){dry}", findings)


def _invoke(deployment: Deployment, function: Resource) -> Invoked:
    """What a function answers; tried twice, as one that is being replaced fails once."""
    client = deployment.client("lambda")
    for last in (False, True):
        try:
            answer = client.invoke(FunctionName=function.name, Payload=json.dumps(HEALTH_EVENT).encode())
        except client.exceptions.ResourceNotFoundException:
            return Invoked(None, "it does not exist", 404)
        content = json.loads(answer["Payload"].read() or b"null")
        if "FunctionError" not in answer:
            return Invoked(content, "", 200)
        if last:
            kind, text = content.get("errorType", answer["FunctionError"]), content.get("errorMessage", "")
            return Invoked(content, f"{kind}: {text}"[:300], 200)
        time.sleep(1)
    raise AssertionError


def judge_answer(function: Resource, invoked: Invoked, log: Callable[[], str], advice: Advice) -> Iterator[Finding]:
    """The faults of an invocation; `log` gives the last error of the function's log, "" for none."""
    where = f"function {function.label}"
    if invoked.error:
        line = log()
        sentence = f"The function does not work: {invoked.error}" + (f" Its log: {line}" if line else "")
        yield failed(where, sentence, remedy_of(invoked.error, function, advice))
    elif not isinstance(invoked.answer, dict) or invoked.answer.get("status") != "ok":
        sentence = f"It answered {json.dumps(invoked.answer)[:100]}, so its code is another version's."
        yield warning(where, sentence, "make deploy")


def remedy_of(error: str, function: Resource, advice: Advice) -> str:
    """What to type for an error of an invocation."""
    if "'requestContext'" in error or "'Records'" in error:
        return "make deploy   (its core is of a version before this command's, and does not know the health event)"
    if "ImportModule" in error or "No module named" in error or "layer" in error.lower():
        return "make deploy   (its code or its layers are not those of the stack)"
    settings = function.properties["Environment"]["Variables"]
    if "does not exist" in error or "ValidationError" in error or any(f"'{name}'" in error for name in settings):
        return advice.restore()
    if "timed out" in error:
        return advice.cli(f"logs tail {log_group(function)} --since 15m")
    return advice.cli(f"logs tail {log_group(function)} --since 15m") + "   shows why"


def log_group(function: Resource) -> str:
    """The log group of a function."""
    return str(function.properties.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{function.name}")


def last_error(deployment: Deployment, function: Resource) -> str:
    """The last line with an error in a function's log of the last quarter of an hour; "" for none."""
    client, since = deployment.client("logs"), int((time.time() - _RECENT_SECONDS) * 1000)
    try:
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=log_group(function), startTime=since, filterPattern=_PATTERN, PaginationConfig={"MaxItems": 50}
        )
        lines = [event["message"] for page in pages for event in page["events"]]
    except client.exceptions.ResourceNotFoundException:
        return ""
    return in_short(lines[-1]) if lines else ""


def in_short(line: str) -> str:
    """A log line in at most 200 characters; of a structured one its message and exception."""
    try:
        entry = json.loads(line)
    except ValueError:
        return " ".join(line.split())[:200]
    if not isinstance(entry, Mapping):
        return line[:200]
    parts = (entry.get("message") or entry.get("errorMessage"), entry.get("exception_name"))
    return " ".join(str(each) for each in parts if each)[:200] or line[:200]


@check("logs", "Errors in the logs of 15 minutes", seconds=120)
def logs(deployment: Deployment) -> Verdict:
    """The latest errors that functions have logged."""
    own = deployment.template.functions()
    lines = side_by_side(lambda each: last_error(deployment, each), own)
    findings = [
        warning(
            f"function {function.label}",
            f"It has logged an error: {line}",
            deployment.advice.cli(f"logs tail {log_group(function)} --since 15m"),
        )
        for function, line in lines
        if line
    ]
    return Verdict.of(f"{len(own)} logs read", findings)


def side_by_side(do: Callable[[T], R], each: Iterable[T]) -> list[tuple[T, R]]:
    """Each argument with its result, in order, several at once."""
    arguments = list(each)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(zip(arguments, pool.map(do, arguments), strict=True))
