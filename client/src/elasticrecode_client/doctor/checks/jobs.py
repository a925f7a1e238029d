"""A tiny job through every queue, its events over `/ws` and a webhook, and what is left of it."""

from collections.abc import Iterator, Mapping
from typing import Any

from elasticrecode_client.doctor.check import check
from elasticrecode_client.doctor.deployment import Deployment
from elasticrecode_client.doctor.results import Finding, Verdict, failed, skipped, warning
from elasticrecode_client.doctor.trial import Sent, Trial, has_ended
from elasticrecode_client.states import ENDED

_SECONDS = 300


@check("jobs", "A job through every queue", seconds=_SECONDS, after="functions", jobs=True)
def jobs(deployment: Deployment) -> Verdict:
    """Whether each queue's workers finish a job; with the seconds of each step."""
    trial = deployment.trial()
    parts = [f"{name} {seconds:.1f} s" for name, seconds in trial.steps]
    parts += [f"{job.queue or job.target.queue} {pace(job, trial)}" for job in trial.jobs]
    return Verdict.of(", ".join(parts), judge_jobs(trial, deployment.advice.start_workers(), deployment.is_embedded))


def pace(job: Sent, trial: Trial) -> str:
    """The seconds from the request to the start, and to the end, of a job; its state where it has not ended."""
    starts = [each.at for each in trial.listener.of(job.job_id) if each.event.get("action") == "JobStart"]
    ends = [each.at for each in trial.listener.of(job.job_id) if has_ended(each.event)]
    if starts and ends:
        return f"started {starts[0] - job.at:.1f} s, {job.state} {ends[-1] - job.at:.1f} s"
    return job.state


def judge_jobs(trial: Trial, start: str, is_embedded: bool) -> Iterator[Finding]:
    """The faults of a trial's jobs. `start` is what starts workers."""
    if trial.error:
        yield failed(f"step {trial.step}", trial.error, remedy_of_step(trial.step))
    yield from trial.obstacles
    if not trial.jobs and not trial.error and not trial.obstacles:
        yield failed("queues", "The deployment knows no queue of workers.", start)
    for job in trial.jobs:
        yield from judge_job(job, start, is_embedded)
    for target in trial.untried:
        sentence = "Routing sent no job of doctor to this queue, as others would finish it sooner."
        yield skipped(f"queue {target.queue}", sentence, "elasticrecode doctor --only jobs   (tries again)")


def judge_job(job: Sent, start: str, is_embedded: bool) -> Iterator[Finding]:
    """The faults of one job."""
    where, error = f"queue {job.queue or job.target.queue}", job.record.get("error") or {}
    if job.state == "failed":
        code = error.get("code", "unknown")
        sentence = f"Its worker failed the job: {code}: {error.get('message', '')}"[:300]
        yield failed(where, sentence, f"docs/reference/codes.md#{code}   has the cause and the cure of each code")
    elif job.state == "queued":
        yield failed(where, "No worker has taken the job, so none takes from this queue.", start)
    elif job.state == "accepted":
        reason = job.record.get("queueReason") or "no reason is known"
        remedy = "elasticrecode doctor --only sources --only functions   (dispatch sends the messages)"
        yield failed(where, f"The job was accepted and not sent to a queue: {reason}.", remedy)
    elif job.state not in ENDED:
        logs = "make logs" if is_embedded else "kubectl -n elasticrecode logs -l app.kubernetes.io/component=worker"
        yield failed(where, "A worker has begun the job, and has not finished it in time.", logs)


def remedy_of_step(step: str) -> str:
    """What to type for an error at a step."""
    if step == "upload":
        return "elasticrecode doctor --only grants   (the function files signs the links)"
    if step == "look at queues":
        return "elasticrecode doctor --only sign-in --only reach"
    return "elasticrecode doctor --only functions --only sources --only grants"


@check("socket", "Events over /ws", seconds=_SECONDS, after="functions", jobs=True)
def socket(deployment: Deployment) -> Verdict:
    """Whether the events of these jobs arrive over the WebSocket."""
    trial = deployment.trial()
    own = [each for job in trial.jobs for each in trial.listener.of(job.job_id)]
    waits = [each.at - each.event["ts"] for each in own if "ts" in each.event and has_ended(each.event)]
    late = f", {max(waits):.1f} s after they happened" if waits else ""
    return Verdict.of(f"{len(own)} events of {len(trial.jobs)} jobs{late}", judge_socket(trial))


def judge_socket(trial: Trial) -> Iterator[Finding]:
    """The faults of a trial's WebSocket."""
    if trial.listener.error:
        remedy = "elasticrecode doctor --only sign-in --only functions   (authorize and sockets open connections)"
        yield failed("/ws", f"No connection could be opened: {trial.listener.error}", remedy)
        return
    remedy = "elasticrecode doctor --only sources --only streams --only functions   (append and push send events)"
    for job in trial.jobs:
        if job.state in ("finished", "failed") and not any(
            has_ended(each.event) for each in trial.listener.of(job.job_id)
        ):
            yield failed("/ws", f"The end of job {job.job_id} has not arrived.", remedy)
    if not any(job.state in ("finished", "failed") for job in trial.jobs):
        yield skipped("/ws", "No job has ended, so there were no last events to receive; see jobs.")


@check("webhook", "Events to a webhook", seconds=_SECONDS, after="functions", jobs=True)
def webhook(deployment: Deployment) -> Verdict:
    """Whether a webhook gets a test, and the events of these jobs."""
    trial = deployment.trial()
    hook = trial.hook
    ways = {
        "receiver": "a receiver on this machine",
        "address": hook.url,
        "own": "the test route alone",
        "none": "not tried",
    }
    count = len(hook.receiver.deliveries) if hook.receiver else 0
    return Verdict.of(ways[hook.way] + (f", {count} deliveries" if count else ""), judge_webhook(trial))


def judge_webhook(trial: Trial) -> Iterator[Finding]:
    """The faults of a trial's webhook."""
    hook, test = trial.hook, trial.hook.test
    where = f"webhook {hook.url}"
    if hook.way == "none":
        yield skipped("webhook", "The trial ended before a webhook was created; see jobs.")
    elif hook.error:
        networks = 'make deploy ARGS="-c webhookNetworks=…"   allows addresses that are not public'
        yield failed(where, hook.error, networks)
    elif hook.way == "own":
        yield from _judge_own(hook.url, test)
    elif test.get("error") or not 200 <= (test.get("status") or 0) < 300:
        sentence = f"The test did not arrive: {test.get('error') or test.get('status')}."
        yield failed(where, sentence, f"curl -i -X POST {hook.url}   (must answer 2xx, from where the stack runs)")
    else:
        yield from _judge_deliveries(trial, where)


def _judge_own(url: str, test: Mapping[str, Any]) -> Iterator[Finding]:
    again = "elasticrecode doctor --webhook-url https://…   (a server of yours that answers 2xx)"
    if test.get("status"):
        sentence = f"Deliveries were not tried; the test route reached {url}, which answered {test['status']}."
        yield skipped("webhook", sentence, again)
    else:
        yield failed("webhook", f"The function webhooks reaches no public address: {test.get('error')}.", again)


def _judge_deliveries(trial: Trial, where: str) -> Iterator[Finding]:
    """The faults of the deliveries of jobs that have ended."""
    remedy = "elasticrecode doctor --only sources --only queues --only functions   (publish and deliver send events)"
    hook, ended = trial.hook, {job.job_id for job in trial.jobs if job.state in ("finished", "failed")}
    if not ended:
        yield skipped(where, "No job has ended, so there were no events to deliver; see jobs.")
    elif hook.receiver:
        ends = {str(each.event.get("jobID")) for each in hook.receiver.deliveries if has_ended(each.event)}
        for job_id in sorted(ended - ends):
            yield failed(where, f"The end of job {job_id} was not delivered.", remedy)
        if not all(each.is_signed for each in hook.receiver.deliveries):
            yield warning(where, "A delivery came with a signature that is not of the webhook's secret.", "make deploy")
    elif not hook.record.get("lastSuccessMs"):
        reason = hook.record.get("lastFailure") or "none was tried"
        yield failed(where, f"No event was delivered: {reason}.", remedy)


@check("cleanup", "Removed again", seconds=_SECONDS, after="functions", jobs=True)
def cleanup(deployment: Deployment) -> Verdict:
    """Whether all that doctor has put into the deployment is gone."""
    trial = deployment.trial()
    return Verdict.of(f"{trial.removed} objects removed", judge_cleanup(trial))


def judge_cleanup(trial: Trial) -> Iterator[Finding]:
    """What is left of a trial."""
    for each in trial.left:
        uri = each.split(" ")[0]
        remedy = f"aws s3 rm --recursive {uri}" if uri.startswith("s3://") else "elasticrecode webhooks remove ID"
        yield warning(uri, f"It could not be removed: {each}", remedy)
