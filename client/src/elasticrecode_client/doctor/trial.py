"""Jobs sent through a deployment: a clip is uploaded, each queue gets a job, and their events are awaited.

upload ─▶ submit ─▶ queues ─▶ workers ─▶ events ─▶ /ws and a webhook ─▶ all files are removed again
"""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from elasticrecode_client.doctor import clip
from elasticrecode_client.doctor.api import Api, Refused
from elasticrecode_client.doctor.deployment import Deployment
from elasticrecode_client.doctor.receiver import Receiver, listening
from elasticrecode_client.doctor.results import Finding
from elasticrecode_client.doctor.socket import Listener, watching
from elasticrecode_client.doctor.targets import Target, targets, targets_by_name
from elasticrecode_client.states import ENDED, ENDINGS

T = TypeVar("T")

_WEBHOOK_SECONDS = 5.5
"""A new webhook gets the events that happen so much later."""
_LAST_SECONDS = 20
"""How long the last events may take after a job has ended."""
_ROUNDS = 4
"""How often jobs are sent for queues that routing has not chosen yet."""
_ACTIONS = ["JobStart", "JobFinished", "JobFailed"]


@dataclass
class Sent:
    """A job: the queue it should reach, its id, its record, when it was sent (Unix seconds)."""

    target: Target
    job_id: str
    at: float
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def queue(self) -> str:
        """The queue that routing chose; "" before."""
        return str(self.record.get("queue") or "")

    @property
    def state(self) -> str:
        """The job's state."""
        return str(self.record.get("state") or "accepted")


@dataclass
class Hook:
    """The webhook of a trial. `way` is how it was tried: by a receiver here, by a given address, or not at all.

    `test` is the answer of the test route, `record` the webhook after the jobs.
    """

    way: str = "none"
    receiver: Receiver | None = None
    webhook_id: str = ""
    url: str = ""
    test: dict[str, Any] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def takes_events(self) -> bool:
        """Whether events of jobs may arrive: the test has."""
        return self.way in ("receiver", "address") and not self.error and not self.test.get("error")


@dataclass
class Trial:
    """What came of the jobs. `steps` are names of steps with their seconds; `error` is that of the step that failed."""

    user: str = ""
    uri: str = ""
    steps: list[tuple[str, float]] = field(default_factory=list)
    jobs: list[Sent] = field(default_factory=list)
    obstacles: list[Finding] = field(default_factory=list)
    untried: list[Target] = field(default_factory=list)
    listener: Listener = field(default_factory=Listener)
    hook: Hook = field(default_factory=Hook)
    left: list[str] = field(default_factory=list)
    removed: int = 0
    error: str = ""
    step: str = ""

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note how long a step takes."""
        self.step, started = step, time.monotonic()
        yield
        self.steps.append((step, time.monotonic() - started))


def run(deployment: Deployment) -> Trial:
    """Send the jobs, wait for them, and remove their files. An error ends the trial, which tells at which step."""
    trial, api = Trial(), deployment.api
    run_id = f"doctor-{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:
        output = ""
        try:
            with trial.timed("look at queues"):
                caller = api.must("GET", "/v1")
                trial.user = caller.get("userID") or "doctor"
                able = _targets(deployment, trial, operator=bool(caller.get("operator")))
            stack.callback(_end_webhook, api, trial)
            _begin_webhook(deployment, trial, stack)
            created = time.monotonic()
            with trial.timed("open /ws"):
                stack.enter_context(watching(api, trial.user, trial.listener))
            with trial.timed("upload"):
                trial.uri = _upload(api, trial.user, f"{run_id}.avi")
            output = _output(deployment, trial, run_id)
            if trial.hook.takes_events:
                time.sleep(max(0.0, created + _WEBHOOK_SECONDS - time.monotonic()))
            with trial.timed("jobs"):
                _send_all(deployment, trial, able, output)
                _wait(deployment, trial)
            with trial.timed("last events"):
                _wait_for_events(api, trial)
        except Exception as error:  # noqa: BLE001 - what was sent is judged, and removed, all the same
            trial.error = f"{error}" if isinstance(error, Refused) else f"{type(error).__name__}: {error}"[:300]
        finally:
            with trial.timed("remove"):
                _clean(deployment, trial, output)
    return trial


def _targets(deployment: Deployment, trial: Trial, *, operator: bool) -> list[Target]:
    api = deployment.api
    if not operator:
        return targets_by_name(api.must("GET", "/v1/worker/queues"))
    able, trial.obstacles = targets(
        api.must("GET", "/v1/worker/backlog"), "elasticrecode queues resume", deployment.advice.start_workers()
    )
    return able


# Files


def _upload(api: Api, user: str, name: str) -> str:
    """Upload a generated clip through the API; its URI."""
    content = clip.avi(seed=uuid.uuid4().int % 256)
    upload = api.must("POST", "/v1/uploads", {"userID": user, "name": name, "bytes": len(content)})
    path = f"/v1/uploads/{upload['uploadID']}"
    links = api.must("POST", f"{path}/links", {"parts": [1]})
    api.put(links["urls"]["1"], content)
    uri: str = api.must("POST", f"{path}/complete")["uri"]
    return uri


def _output(deployment: Deployment, trial: Trial, run_id: str) -> str:
    """A prefix of this run's outputs: in the bucket of uploads, where this user may write."""
    bucket = trial.uri.split("/")[2]
    with suppress(Exception):  # without rights to see the template, there are no prefixes to know
        for function in deployment.template.functions():
            prefixes = json.loads(function.properties["Environment"]["Variables"].get("USER_PREFIXES", "[]"))
            for each in prefixes:
                if each.get("access", "write") != "read":
                    prefix = each["prefix"].replace("{userID}", trial.user)
                    whole = prefix if prefix.startswith("s3://") else f"s3://{bucket}/{prefix}"
                    return f"{whole.rstrip('/')}/{run_id}/"
    return f"s3://{bucket}/doctor/{run_id}/"


def _clean(deployment: Deployment, trial: Trial, output: str) -> None:
    """Cancel jobs that run, and remove the clip and all outputs. What could not be removed is in `left`."""
    for job in trial.jobs:
        if job.state not in ENDED:
            with suppress(Exception):
                deployment.api.must("DELETE", f"/v1/jobs/{job.job_id}")
    for uri in filter(None, (trial.uri, output)):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            s3 = deployment.client("s3")
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
            for each in (entry["Key"] for page in pages for entry in page.get("Contents", ())):
                s3.delete_object(Bucket=bucket, Key=each)
                trial.removed += 1
        except Exception as error:  # noqa: BLE001 - the report names what is left
            trial.left.append(f"{uri} ({type(error).__name__}: {error})"[:200])


# Jobs


def _send_all(deployment: Deployment, trial: Trial, able: Sequence[Target], output: str) -> None:
    """Send a job for each queue, and again for those that routing has not chosen."""
    open_ = list(able)
    for n in range(_ROUNDS):
        sent = [_send(deployment.api, trial, target, f"{output}{n}-{target.queue}/") for target in open_]
        trial.jobs += sent
        _until(partial(_are_routed, deployment.api, sent), 15)
        reached = {job.queue for job in trial.jobs}
        open_ = [target for target in able if target.queue not in reached]
        if not open_:
            return
    trial.untried = open_


def _send(api: Api, trial: Trial, target: Target, output: str) -> Sent:
    places = {"input": trial.uri, "output": output}
    if target.group == "vmaf":
        places["origin"] = trial.uri
    body = {"userid": trial.user, **places, "priority": target.priority, "profile": target.profile()}
    sent_at = time.time()
    answer = api.must("POST", "/v1/vmaf" if target.group == "vmaf" else "/v1/jobs", body)
    entry = answer[0] if isinstance(answer, list) else answer
    return Sent(target, entry["jobid"], sent_at)


def _are_routed(api: Api, sent: Sequence[Sent]) -> bool:
    return all(_look(api, job).queue for job in sent)


def _look(api: Api, job: Sent) -> Sent:
    if job.state not in ENDED:
        job.record = api.must("GET", f"/v1/jobs/{job.job_id}/status")
    return job


def _wait(deployment: Deployment, trial: Trial) -> None:
    """Wait until all jobs have ended, as long as the options allow."""
    _until(lambda: all(_look(deployment.api, job).state in ENDED for job in trial.jobs), deployment.options.job_seconds)


def _wait_for_events(api: Api, trial: Trial) -> None:
    """Wait a little for the last events of the jobs that have ended."""
    ended = {job.job_id for job in trial.jobs if job.state in ("finished", "failed")}
    hook = trial.hook

    def arrived() -> bool:
        if not ended <= trial.listener.ended():
            return False
        if not hook.takes_events:
            return True
        if hook.receiver:
            return ended <= {each.event.get("jobID") for each in hook.receiver.deliveries if has_ended(each.event)}
        hook.record = _webhook(api, trial) or hook.record
        return bool(hook.record.get("lastSuccessMs") or hook.record.get("lastFailureMs"))

    if ended:
        _until(arrived, _LAST_SECONDS)


def has_ended(event: Mapping[str, Any]) -> bool:
    """Whether an event ends a job."""
    return event.get("action") in ENDINGS


# Webhooks


def _begin_webhook(deployment: Deployment, trial: Trial, stack: ExitStack) -> None:
    """Create the webhook: of the given address, of a receiver here, or of an address that answers no events."""
    hook, api = trial.hook, deployment.api
    actions = _ACTIONS
    if deployment.options.webhook_url:
        hook.way, hook.url = "address", deployment.options.webhook_url
    elif urlsplit(api.base).hostname in ("localhost", "127.0.0.1", "::1"):
        hook.way, hook.receiver = "receiver", stack.enter_context(listening())
        hook.url = hook.receiver.url
    else:  # only the test route posts to it, as no batch of this user is expected to end
        hook.way, hook.url, actions = "own", f"{api.base}/v1/health", ["BatchFinished"]
    with trial.timed("create a webhook"):
        try:
            body = {"userID": trial.user, "url": hook.url, "actions": actions}
            webhook = api.must("POST", "/v1/webhooks", body)
            hook.webhook_id = webhook["webhookID"]
            if hook.receiver:
                hook.receiver.secret = webhook.get("secret", "")
            hook.test = api.must("POST", f"/v1/webhooks/{hook.webhook_id}/test")
        except Refused as error:
            hook.error = str(error)


def _webhook(api: Api, trial: Trial) -> dict[str, Any] | None:
    listed = api.must("GET", f"/v1/webhooks?userID={trial.user}")
    return next((each for each in listed if each["webhookID"] == trial.hook.webhook_id), None)


def _end_webhook(api: Api, trial: Trial) -> None:
    if trial.hook.webhook_id:
        with suppress(Exception):
            trial.hook.record = _webhook(api, trial) or trial.hook.record
        try:
            api.must("DELETE", f"/v1/webhooks/{trial.hook.webhook_id}")
        except Exception as error:  # noqa: BLE001 - the report names what is left
            trial.left.append(f"webhook {trial.hook.webhook_id} ({error})"[:200])


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition holds within so many seconds."""
    until, pause = time.monotonic() + seconds, 0.2
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(pause)
        pause = min(2.0, pause * 1.5)
    return True
