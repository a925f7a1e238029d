"""The worker's loop: receive a job, claim it, run it, report its end, and only then delete its message."""

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from elasticrecode import __version__, clock, wire
from elasticrecode.errors import Unavailable
from elasticrecode.ids import is_part
from elasticrecode.jobs.claims import Claim, Claims
from elasticrecode.jobs.commits import Ending, OutputKeys
from elasticrecode.jobs.events import Action, Failure, Progress
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.lifecycle import ENDED
from elasticrecode.jobs.versions import Versions
from elasticrecode.parts.part import PartJob
from elasticrecode.parts.store import PartsTable
from worker.aws_faults import job_error
from worker.errors import ClaimLost, HostError, JobError, PermanentError, ShuttingDown, TransientError, WorkerError
from worker.health import Health
from worker.holding import Holder
from worker.host_faults import host_error
from worker.job_role import JobRole
from worker.lease import Lease
from worker.log_format import printable
from worker.parts import Helper, Parts, Place
from worker.pipeline import remove_leftovers, run_job, run_part
from worker.pod_cost import PodCost
from worker.publication import Publication
from worker.reporter import Reporter
from worker.sandbox import isolation
from worker.sandbox.isolation import Isolation
from worker.sandbox.runner import Runner
from worker.settings import DEBUG, ConfigurationError, Settings
from worker.spending import Spending
from worker.storage import Storage
from worker.versions import VersionRemoval

_log = logging.getLogger(__name__)

_POLL_SECONDS = 20
_PAUSE_SECONDS = 2.0
_MAX_PAUSE_SECONDS = 30.0
_SHORT_DELAY_SECONDS = 2
_FIRST_DELAY_SECONDS = 10
_MAX_DELAY_SECONDS = 900
_HOSTS_AT_ONCE = 10
"""Receives of a job up to which a host fault sends it to the next host at once."""
CLIENT_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=3, read_timeout=30)


class Terminated(BaseException):
    """Raised by the signal handler while the worker is idle.

    It is a BaseException because botocore catches Exception and treats it as its own error.
    """


_UNCLAIMED = Claim(0)
"""Stands for a job that this worker runs without a claim, as a worker of the first generation does."""


class _Work(NamedTuple):
    """A job in this worker's hands."""

    message: Job
    claim: Claim
    lease: Lease
    reporter: Reporter
    runner: Runner

    @property
    def job(self) -> Job:
        """The job by its record where it has one, since anybody could have sent the message."""
        kind = PartJob if is_part(self.message.jobid) else Job
        return msgspec.json.decode(self.claim.job, type=kind) if self.claim.job else self.message


class Worker:
    """One worker on one queue."""

    def __init__(self, settings: Settings) -> None:
        """Create clients. Makes no request."""
        self._settings = settings
        self._sqs = boto3.client("sqs", config=CLIENT_CONFIG)
        clock.watch(self._sqs)
        self._role = JobRole(settings.job_role, CLIENT_CONFIG, settings.parts_bucket) if settings.job_role else None
        self._storage = Storage(partial(boto3.client, "s3", config=CLIENT_CONFIG))
        self._claims = Claims(settings.jobs_table, settings.lease_seconds) if settings.jobs_table else None
        self._versions = Versions(settings.jobs_table, settings.queue) if settings.jobs_table else None
        self._removal = VersionRemoval(self._versions, self._storage_of) if self._versions else None
        self._health = Health(settings, self._credentials_fault)
        self._queue_url = self._control_url = ""
        self._stopping = threading.Event()
        self._runner: Runner | None = None
        self._pod_cost = PodCost(settings)

    def stop(self) -> None:
        """Stop the current job and end `run`. Called by the signal handler, in the main thread."""
        self._stopping.set()
        if self._runner:
            self._runner.stop(ShuttingDown("the worker was asked to terminate"))
        else:
            raise Terminated

    def run(self) -> None:
        """Work until stopped. Raises ConfigurationError if a queue is missing, or the sandbox is weaker than required.

        Errors of AWS are logged, and the worker tries again. It takes no jobs while its host is not well.
        """
        try:
            self._pod_cost.start()
            self._health.wait_for_disk(self._stopping)
            check_sandbox(self._settings.sandbox)
            remove_leftovers(self._settings)
            _log.info("version %s, taking %s jobs from %s", __version__, self._settings.kind, self._settings.queue)
            if self._settings.job_role:
                _log.info("reading and writing files with the role %s, narrowed to each job", self._settings.job_role)
            else:
                _log.warning("JOB_ROLE is not set: this worker's own credentials read and write the files of all users")
            pause = _PAUSE_SECONDS
            while not self._stopping.is_set():
                self._health.wait(self._stopping)
                try:
                    if self._removal:
                        self._removal.sweep()
                    self.poll()
                    pause = _PAUSE_SECONDS
                except (BotoCoreError, ClientError, Unavailable) as error:
                    _log.warning("a request to AWS failed, trying again in %.0f s: %s", pause, error)
                    self._stopping.wait(pause)
                    pause = min(_MAX_PAUSE_SECONDS, 2 * pause)
        except Terminated:
            _log.info("asked to terminate while idle")
        _log.info("ended")

    def poll(self) -> None:
        """Wait up to 20 s for a message and handle it. Raises the errors of AWS."""
        self._queue_url = self._queue_url or self._url_of(self._settings.queue)
        self._control_url = self._control_url or self._url_of(self._settings.control_queue)
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=_POLL_SECONDS,
            VisibilityTimeout=int(self._settings.lease_seconds),
            AttributeNames=["ApproximateReceiveCount"],
        )
        for message in answer.get("Messages", ()):
            self._runner = Runner(self._settings.limits, self._settings.sandbox)
            try:
                with self._pod_cost.busy():
                    self._handle(message, self._runner)
            finally:
                self._runner = None

    def _handle(self, message: Mapping[str, Any], runner: Runner) -> None:
        body = message["Body"]
        lease = Lease(self._sqs, self._queue_url, message["ReceiptHandle"], self._settings.lease_seconds, runner)
        if self._settings.kind == DEBUG:
            print(printable(body), flush=True)
        try:
            job = wire.decode(body, Job)
        except msgspec.DecodeError as error:
            if self._settings.kind == DEBUG:
                lease.delete_message()
                return
            _log.error("a message is not a job and is left for the dead-letter queue: %s: %.500s", error, body)
            lease.return_after(_SHORT_DELAY_SECONDS)
            return
        reporter = Reporter(self._sqs, self._control_url, self._settings, body)
        receives = int(message["Attributes"]["ApproximateReceiveCount"])
        try:
            claim = self._claim(self._claims, job, lease, reporter) if self._claims else _UNCLAIMED
            if claim:
                with lease:
                    self._run(_Work(job, claim, lease, reporter, runner), receives)
        except (BotoCoreError, ClientError, Unavailable):
            self._put_back(job.jobid, reporter, lease, receives)
            raise

    def _claim(self, claims: Claims, job: Job, lease: Lease, reporter: Reporter) -> Claim | None:
        """Claim the next attempt, or adopt one that has committed its outputs.

        Returns None if the job cannot be claimed; the message is then deleted or returned, as the job's state requires.
        """
        answer = claims.claim(job.jobid, self._settings.pod)
        if isinstance(answer, Claim):
            reporter.attempt, reporter.job = answer.attempt, answer.job
            lease.attach_claim(claims, job.jobid, answer.attempt)
            return answer
        if answer is None and is_part(job.jobid):
            lease.delete_message()  # its record has expired, and its job with it
            return None
        if answer is None and not self._role:
            return _UNCLAIMED
        if answer is None:
            _log.error("job %s has no record of its owner and is left for the dead-letter queue", job.jobid)
            lease.return_after(_SHORT_DELAY_SECONDS)
            return None
        _log.info("job %s cannot be claimed: %s", job.jobid, answer)
        if answer.state in ENDED:
            lease.delete_message()
        elif answer.lost:
            reporter.send(Action.JOB_LOST, msg="its lease expired", attempt=answer.attempt)
            lease.return_after(_SHORT_DELAY_SECONDS)
        elif is_part(job.jobid) and claims.detach(job.jobid, answer.attempt):
            lease.delete_message()  # another worker took the part without it, and `reconcile` watches that
        else:
            lease.return_after(self._settings.lease_seconds / 2)
        return None

    def _run(self, work: "_Work", receives: int) -> None:
        """Run a job and report its end. `receives` counts deliveries of its message; retries wait longer each time."""
        if work.claim.attempt and not work.claim.commit:
            receives = min(receives, work.claim.attempt)  # most were refused while another worker had the job
        job, lease, reporter = work.job, work.lease, work.reporter
        delay = delay_seconds(receives)
        try:
            ending = self._finish(work)
            if not is_part(job.jobid):  # a part is finished by a write on its record, with its result
                reporter.send(ending.action, msg=ending.msg, result=ending.result, error=ending.error)
            lease.delete_message()
            _log.info("job %s ended: %s", job.jobid, ending.action)
        except PermanentError as error:
            if self._holds(work):
                _log.info("job %s failed: %s: %s", job.jobid, error.failure.code, error)
                reporter.send(Action.JOB_FAILED, msg=str(error), error=error.failure)
                lease.delete_message()
        except TransientError as error:
            if self._holds(work):
                _log.warning("job %s returned for %s s: %s", job.jobid, delay, error)
                self._return_job(reporter, lease, delay, error)
        except HostError as error:
            self._leave_to_another_host(work, error, receives)
        except ClaimLost as lost:
            _log.info("job %s dropped: %s", job.jobid, lost)
        except ShuttingDown:
            _log.info("job %s returned: asked to terminate", job.jobid)
            if reporter.attempt and self._release(job.jobid, reporter):
                reporter.send(Action.JOB_RETURNED, msg="the worker was asked to terminate")
            lease.return_after(0)
        except (BotoCoreError, ClientError, Unavailable):
            raise
        except Exception as error:  # noqa: BLE001
            if host := host_error(error) or (self._health.disk_fault() if isinstance(error, OSError) else None):
                self._leave_to_another_host(work, host, receives)
                return
            _log.exception("job %s returned for %s s", job.jobid, delay)
            place = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
            message = f"{place}The worker itself failed: {type(error).__name__}."
            if self._holds(work):
                self._return_job(reporter, lease, delay, WorkerError("worker-error", message))

    def _holds(self, work: "_Work") -> bool:
        """Whether the job is still this worker's, which reports nothing of one that it has lost."""
        try:
            work.lease.check()
        except ClaimLost as lost:
            _log.info("job %s dropped: %s", work.job.jobid, lost)
            return False
        return True

    def _finish(self, work: "_Work") -> Ending:
        """Do the work of a job, or what is left of it. Returns how it ends."""
        job, claim = work.job, work.claim

        def report(progress: Progress) -> None:
            work.lease.check()
            try:
                work.reporter.send(Action.JOB_PROGRESS, progress=progress)
            except (BotoCoreError, ClientError) as error:
                _log.warning("job %s: cannot send progress: %s", job.jobid, error)

        storage = self._storage_of(job)
        keys = OutputKeys(self._settings.jobs_table, job, claim.attempt, claim.expires) if claim.attempt else None
        publication = Publication(
            job, claim.attempt, storage, work.runner, keys, work.lease.watched_closely, self._versions
        )
        if claim.commit:
            _log.info("job %s: completing the publication of attempt %s", job.jobid, claim.attempt)
            ending = publication.resume(claim.commit)
            if claim.division and not is_part(job.jobid):
                self._parts(work, storage, report).clean()  # the worker that has committed may have died before it
            return ending
        if isinstance(job, PartJob):
            run_part(job, self._settings, storage, work.runner, Helper(self._holder(work, storage), job, claim.attempt))
            return Ending(Action.JOB_FINISHED)
        work.reporter.send(Action.JOB_START)
        can_divide = self._settings.parts_bucket and claim.attempt
        settings = self._settings
        with Spending(job, claim, settings.pod, settings.lease_seconds, work.lease, work.runner) as spending:
            if not (can_divide and (job.profile.package or job.profile.ffmpeg)):
                return run_job(job, settings, storage, work.runner, report, publication)
            parts = self._parts(work, storage, report)
            spending.parts = lambda: parts.stored
            return run_job(job, settings, storage, work.runner, report, publication, parts)

    def _holder(self, work: "_Work", storage: Storage) -> Holder:
        """This worker as one that holds parts of the job at hand."""
        settings = self._settings
        claims = self._claims or Claims(settings.jobs_table, settings.lease_seconds)
        table = PartsTable(settings.jobs_table)
        return Holder(settings.pod, table, claims, work.lease, storage, work.runner)

    def _parts(self, work: "_Work", storage: Storage, report: Callable[[Progress], None]) -> Parts:
        """The parts of the job at hand, which may be divided."""

        def lost(part: PartJob, attempt: int) -> None:
            reporter = Reporter(self._sqs, self._control_url, self._settings, msgspec.json.encode(part).decode())
            reporter.send(Action.JOB_LOST, msg="its lease expired", attempt=attempt)

        place = Place(self._settings.queue, f"s3://{self._settings.parts_bucket}/")
        return Parts(self._holder(work, storage), work.job, work.claim, place, report, lost)

    def _storage_of(self, job: Job) -> Storage:
        role = self._role
        storage = (
            Storage(partial(role.s3, job), wider=partial(role.s3, job)) if role else Storage(lambda: self._storage.s3)
        )
        return storage.pinned(job.input, job.plan.etag) if job.plan else storage

    def _return_job(self, reporter: Reporter, lease: Lease, delay: float, error: JobError) -> None:
        """Return the job for a later attempt. Without a claim no event is sent: such a job has not failed."""
        if reporter.attempt:
            reporter.send(Action.JOB_RETURNED, msg=str(error), error=error.failure, fault=error.fault)
        lease.return_after(delay)

    def _leave_to_another_host(self, work: "_Work", error: HostError, receives: int) -> None:
        """Return the job for another host to claim it, and take no more until this host is well.

        It goes back at once; if that did not help several times, after growing delays.
        """
        _log.warning("job %s returned: %s", work.job.jobid, error)
        self._health.suspect(error)
        delay = 0 if receives <= _HOSTS_AT_ONCE else delay_seconds(receives - _HOSTS_AT_ONCE)
        if self._release(work.job.jobid, work.reporter, error.failure):
            self._return_job(work.reporter, work.lease, delay, error)

    def _release(self, job_id: str, reporter: Reporter, failure: Failure | None = None) -> bool:
        """Let other workers claim the job at once. False when this worker had lost it, and must not report it."""
        if not self._claims or not reporter.attempt:
            return True
        return self._claims.release(job_id, reporter.attempt, failure)

    def _put_back(self, job_id: str, reporter: Reporter, lease: Lease, receives: int) -> None:
        """Return a job whose claim or report AWS did not take, as far as AWS takes that: it is no strike."""
        failure = Failure("aws-unavailable", "AWS did not take a claim or a report of the worker.")
        if self._claims and reporter.attempt and not reporter.has_ended:
            with suppress(Unavailable, BotoCoreError, ClientError):
                self._claims.release(job_id, reporter.attempt, failure, "service")
        with suppress(BotoCoreError, ClientError):
            lease.return_after(delay_seconds(receives))

    def _credentials_fault(self) -> HostError | None:
        """The host fault of this worker's credentials; None when AWS accepts them, or cannot tell now."""
        try:
            if self._role:
                self._role.check()
            else:
                boto3.client("sts", config=CLIENT_CONFIG).get_caller_identity()
        except (BotoCoreError, ClientError) as error:
            fault = job_error(error, "input", self._settings.job_role)
            return fault if isinstance(fault, HostError) else None
        return None

    def _url_of(self, queue: str) -> str:
        try:
            return str(self._sqs.get_queue_url(QueueName=queue)["QueueUrl"])
        except self._sqs.exceptions.QueueDoesNotExist:
            raise ConfigurationError(f"there is no queue called {queue}") from None


def delay_seconds(receives: int) -> int:
    """Seconds that a job waits after a fault, if its message has been received so often: longer each time."""
    return min(_MAX_DELAY_SECONDS, _FIRST_DELAY_SECONDS << min(receives - 1, 10))


def check_sandbox(sandbox: str) -> None:
    """Log how far programs that read users' files are isolated. `sandbox` is the value of SANDBOX.

    Raises ConfigurationError if it is `required` and the kernel cannot isolate them completely.
    """
    isolated = isolation.detect() if sandbox != "off" else Isolation(network=False, files=False)
    parts = {"the network": isolated.network, "files that are not the job's": isolated.files}
    reachable = " and ".join(part for part, is_isolated in parts.items() if not is_isolated)
    if not reachable:
        _log.info("programs that read users' files are isolated from the network and from files that are not the job's")
    elif sandbox == "required":
        raise ConfigurationError(f"SANDBOX is required, but this kernel does not isolate programs from {reachable}")
    else:
        reason = "SANDBOX is off" if sandbox == "off" else "this kernel, or the container's filter, does not support it"
        _log.warning("programs that read users' files are NOT isolated from %s: %s", reachable, reason)
