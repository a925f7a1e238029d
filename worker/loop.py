"""The worker's life: take a job, claim it, do it, tell of it, and only then delete its message."""

import logging
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import UNSET

from elasticrecode import wire
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.claims import Claim, Claims
from elasticrecode.jobs.events import JOB_FAILED, JOB_FINISHED, JOB_PROGRESS, JOB_START, Progress
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.lifecycle import ENDED, JOB_LOST, JOB_RETURNED
from worker.errors import ClaimLost, Hopeless, Passing, Stopping
from worker.job_role import JobRole
from worker.lease import Lease
from worker.log_format import printable
from worker.pipeline import perform, sweep
from worker.reporter import Reporter
from worker.sandbox import isolation
from worker.sandbox.runner import Work
from worker.settings import DEBUG, ConfigurationError, Settings
from worker.storage import Storage

_log = logging.getLogger(__name__)

_POLL_SECONDS = 20
_PAUSE_SECONDS = 2.0
_SOON_SECONDS = 2
_DELAY_SECONDS = 10
_LONGEST_DELAY_SECONDS = 900
_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=3, read_timeout=30)


class Terminated(BaseException):
    """Raised by the signal handler while the worker waits. Not an Exception: botocore would take it for its own."""


class Worker:
    """One worker on one queue."""

    def __init__(self, settings: Settings) -> None:
        """Touches nothing outside the process."""
        self._settings = settings
        self._sqs = boto3.client("sqs", config=_CONFIG)
        self._role = JobRole(settings.job_role, _CONFIG) if settings.job_role else None
        self._storage = Storage(partial(boto3.client, "s3", config=_CONFIG))
        self._claims = Claims(settings.jobs_table, settings.lease_seconds) if settings.jobs_table else None
        self._queue_url = self._control_url = ""
        self._stopping = threading.Event()
        self._work: Work | None = None

    def stop(self) -> None:
        """End soon: called by the signal handler, in the main thread."""
        self._stopping.set()
        if self._work:
            self._work.stop(Stopping("the worker was told to terminate"))
        else:
            raise Terminated

    def run(self) -> None:
        """Work until stopped. ConfigurationError when a queue does not exist, or the sandbox is less than required."""
        _tell_of_sandbox(self._settings.sandbox)
        sweep(self._settings)
        _log.info("taking %s jobs from %s", self._settings.kind, self._settings.queue)
        if self._settings.job_role:
            _log.info("reading and writing files as %s, each job its own", self._settings.job_role)
        else:
            _log.warning("JOB_ROLE is not set: this worker's own credentials read and write the files of all users")
        try:
            while not self._stopping.is_set():
                try:
                    self._take()
                except (BotoCoreError, ClientError, Unavailable) as error:
                    _log.warning("AWS refused, trying again: %s", error)
                    self._stopping.wait(_PAUSE_SECONDS)
        except Terminated:
            _log.info("told to terminate while idle")
        _log.info("ended")

    def _take(self) -> None:
        self._queue_url = self._queue_url or self._find(self._settings.queue)
        self._control_url = self._control_url or self._find(self._settings.control_queue)
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=_POLL_SECONDS,
            VisibilityTimeout=int(self._settings.lease_seconds),
            AttributeNames=["ApproximateReceiveCount"],
        )
        for message in answer.get("Messages", ()):
            self._work = Work(self._settings.limits, self._settings.sandbox)
            try:
                self._handle(message, self._work)
            finally:
                self._work = None

    def _handle(self, message: Mapping[str, Any], work: Work) -> None:
        body = message["Body"]
        lease = Lease(self._sqs, self._queue_url, message["ReceiptHandle"], self._settings.lease_seconds, work)
        if self._settings.kind == DEBUG:
            print(printable(body), flush=True)
        try:
            job = wire.decode(body, Job)
        except msgspec.DecodeError as error:
            if self._settings.kind == DEBUG:
                lease.settle()
                return
            _log.error("a message is no job and is left to the dead-letter queue: %s: %.500s", error, body)
            lease.come_back(_SOON_SECONDS)
            return
        reporter = Reporter(self._sqs, self._control_url, self._settings, body)
        tries = int(message["Attributes"]["ApproximateReceiveCount"])
        claimed = self._claim(self._claims, job, lease, reporter) if self._claims else job
        if claimed:
            with lease:
                self._do(claimed, lease, reporter, work, tries)

    def _claim(self, claims: Claims, job: Job, lease: Lease, reporter: Reporter) -> Job | None:
        """Claim the next attempt; the job as its record has it, for anybody may have sent the message.

        None where it can't be claimed: the message is left as the job's state has it.
        """
        answer = claims.claim(job.jobid, self._settings.pod)
        if isinstance(answer, Claim):
            reporter.attempt, reporter.job = answer.attempt, answer.job
            lease.hold(claims, job.jobid, answer.attempt)
            return msgspec.json.decode(answer.job, type=Job)
        if answer is None and not self._role:
            return job
        if answer is None:
            _log.error("job %s has no record that says whose it is, and is left to the dead-letter queue", job.jobid)
            lease.come_back(_SOON_SECONDS)
            return None
        _log.info("job %s can't be claimed: %s", job.jobid, answer)
        if answer.state in ENDED:
            lease.settle()
        elif answer.lost:
            reporter.send(JOB_LOST, msg="its lease ran out", attempt=answer.attempt)
            lease.come_back(_SOON_SECONDS)
        else:
            lease.come_back(self._settings.lease_seconds / 2)
        return None

    def _do(self, job: Job, lease: Lease, reporter: Reporter, work: Work, tries: int) -> None:
        def report(progress: Progress) -> None:
            try:
                reporter.send(JOB_PROGRESS, progress=progress)
            except (BotoCoreError, ClientError) as error:
                _log.warning("job %s: progress not sent: %s", job.jobid, error)

        delay = min(_LONGEST_DELAY_SECONDS, _DELAY_SECONDS * 2 ** (tries - 1))
        try:
            reporter.send(JOB_START)
            storage = Storage(partial(self._role.s3, job)) if self._role else self._storage
            result = perform(job, self._settings, storage, work, report, lease.renew)
            reporter.send(JOB_FINISHED, result=result)
            lease.settle()
            _log.info("job %s finished", job.jobid)
        except Hopeless as error:
            _log.info("job %s failed: %s: %s", job.jobid, error.failure.code, error)
            reporter.send(JOB_FAILED, msg=str(error), error=error.failure, result=error.result or UNSET)
            lease.settle()
        except Passing as error:
            _log.warning("job %s goes back for %s s: %s", job.jobid, delay, error)
            self._give_back(reporter, lease, delay, error)
        except ClaimLost as lost:
            _log.info("job %s dropped: %s", job.jobid, lost)
        except Stopping:
            _log.info("job %s goes back: told to terminate", job.jobid)
            reporter.send(JOB_RETURNED, msg="the worker was told to terminate")
            if self._claims and reporter.attempt:
                self._claims.release(job.jobid, reporter.attempt)
            lease.come_back(0)
        except (BotoCoreError, ClientError, Unavailable):
            raise
        except Exception as error:  # noqa: BLE001
            _log.exception("job %s goes back for %s s", job.jobid, delay)
            self._give_back(
                reporter, lease, delay, Passing("worker-error", f"The worker itself failed: {type(error).__name__}.")
            )

    def _give_back(self, reporter: Reporter, lease: Lease, delay: float, error: Passing) -> None:
        """Let the job be tried again later. Workers without claims say nothing: to them it has not failed."""
        if reporter.attempt:
            reporter.send(JOB_RETURNED, msg=str(error), error=error.failure)
        lease.come_back(delay)

    def _find(self, name: str) -> str:
        try:
            return str(self._sqs.get_queue_url(QueueName=name)["QueueUrl"])
        except self._sqs.exceptions.QueueDoesNotExist:
            raise ConfigurationError(f"there is no queue called {name}") from None


def _tell_of_sandbox(wanted: str) -> None:
    """Say what programs that read users' files can reach here. ConfigurationError when that must be less."""
    held = isolation.check() if wanted != "off" else isolation.Held(network=False, files=False)
    kept = {"the network": held.network, "files that are not the job's": held.files}
    free = " and ".join(name for name, is_kept in kept.items() if not is_kept)
    if not free:
        _log.info("programs that read users' files are kept from the network and from files that are not the job's")
    elif wanted == "required":
        raise ConfigurationError(f"SANDBOX is required, but here the kernel does not keep programs from {free}")
    else:
        why = "SANDBOX is off" if wanted == "off" else "this kernel, or the container's own filter, can't do it"
        _log.warning("programs that read users' files are NOT kept from %s: %s", free, why)
