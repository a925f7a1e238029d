"""Keeps a job while the worker runs it: extends the message's visibility timeout and renews the claims."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from elasticrecode.errors import Unavailable
from elasticrecode.ids import is_part
from elasticrecode.jobs.claims import Claims
from elasticrecode.jobs.events import Progress
from worker.errors import ClaimLost
from worker.sandbox.runner import Runner

_log = logging.getLogger(__name__)

RENEWALS = 6
"""Renewals per lease. A cancelled job's encoder stops at the next one."""
_CLOSE_SECONDS = 1.0
"""Time between renewals during an upload, which a cancel stops sooner than an encoder."""
_LATE_SECONDS = 1.0
"""How late a renewal may be before the worker reports nothing without one."""
_MESSAGE_GONE = {
    "AWS.SimpleQueueService.MessageNotInflight",
    "InvalidParameterValue",
    "MessageNotInflight",
    "ReceiptHandleIsInvalid",
}
"""SQS's codes for a message that it hides no longer: after 12 h, or after another worker received it."""


class Lease:
    """The lease of one message, `seconds` long, of its job's claim once attached, and of parts of a job.

    As a context manager it renews all in a thread. When the claim is lost, it stops the runner at once; of several
    parts, when the last one is lost. The claim decides who works on the job; the visibility timeout only keeps its
    message from other workers. So a job may run longer than SQS hides a message: then the worker has `reconcile` watch
    the job, and goes on. `progress` is stored with the parts at the next renewal.
    """

    progress: Progress | None = None
    spent: Callable[[], float] | None = None
    """The seconds that workers have spent on the whole job, where it has a budget: they are stored, too."""

    def __init__(self, sqs: Any, queue_url: str, receipt: str, seconds: float, runner: Runner) -> None:
        self._sqs = sqs
        self._message = {"QueueUrl": queue_url, "ReceiptHandle": receipt}
        self._seconds = seconds
        self._interval = seconds / RENEWALS
        self._runner = runner
        self._claim: tuple[Claims, str, int] | None = None
        self._held: dict[str, int] = {}
        self._check_whole: Callable[[], None] = lambda: None
        self._has_message = True
        self._renewed = time.monotonic()
        self._lost: ClaimLost | None = None
        self._exited = False
        self._changed = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_exit, name="lease", daemon=True)

    def attach_claim(self, claims: Claims, job_id: str, attempt: int) -> None:
        """Renew this claim too, from now on. Call it before entering."""
        self._claim = claims, job_id, attempt
        self._held[job_id] = attempt

    def hold(self, job_id: str, attempt: int) -> None:
        """Renew the claim of a part too, from now on."""
        self._held[job_id] = attempt

    def let_go(self, job_id: str) -> bool:
        """Renew the claim of a part no more; False when it was lost before."""
        return self._held.pop(job_id, None) is not None

    def watch(self, check: Callable[[], None]) -> None:
        """Call `check` at each renewal, which raises ClaimLost when the job that the parts belong to has ended."""
        self._check_whole = check

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._exited = True
        self._changed.set()
        self._thread.join()

    @contextmanager
    def watched_closely(self) -> Iterator[None]:
        """Renew every second, so that a lost claim stops the runner within two."""
        interval = self._interval
        self._interval = min(_CLOSE_SECONDS, interval)
        self._changed.set()
        try:
            yield
        finally:
            self._interval = interval

    def check(self) -> None:
        """Raise ClaimLost if this worker has lost the job. Renews first when that is late: it may have been frozen."""
        if self._lost:
            raise self._lost
        if time.monotonic() > self._renewed + self._interval + _LATE_SECONDS:
            self.renew()

    def renew(self) -> None:
        """Renew now. Raises ClaimLost if this worker does not hold the job any more, or cannot find out."""
        try:
            self._renew()
        except ClaimLost as lost:
            self._lost = lost
            raise

    def _renew(self) -> None:
        try:
            if self._claim:
                self._renew_claims(*self._claim[:2])
                self._renewed = time.monotonic()  # it holds, whatever SQS says of the message
                self._check_whole()
            self._extend_visibility()
            self._renewed = time.monotonic()
        except (Unavailable, BotoCoreError, ClientError) as error:
            if time.monotonic() > self._renewed + self._seconds:
                raise ClaimLost("the lease expired while AWS could not be reached") from error
            _log.warning("cannot renew the lease, trying again: %s", error)

    def _renew_claims(self, claims: Claims, main: str) -> None:
        """Renew all claims. Raises ClaimLost when that of a whole job is lost, or the last one."""
        for job_id, attempt in tuple(self._held.items()):
            spent_ms = int(1000 * self.spent()) if self.spent and job_id == main else None
            state = claims.renew(job_id, attempt, self.progress if is_part(job_id) else None, spent_ms)
            if state and self.let_go(job_id):
                if not is_part(job_id) or not self._held:
                    raise ClaimLost(f"the claim is lost: the job is {state}")
                _log.info("part %s is lost: it is %s", job_id, state)
                self._has_message = self._has_message and job_id != main

    def _extend_visibility(self) -> None:
        """Hide the message on. Where SQS hides it no longer and the claim holds, the job goes on without a message."""
        if not self._has_message:
            return
        try:
            self._sqs.change_message_visibility(VisibilityTimeout=int(self._seconds), **self._message)
        except ClientError as error:
            if not self._claim or error.response["Error"]["Code"] not in _MESSAGE_GONE:
                raise
            claims, job_id, attempt = self._claim
            claims.detach(job_id, attempt)
            self._has_message = False
            _log.info("job %s goes on without its message, which SQS hides no longer: %s", job_id, error)

    def return_after(self, seconds: float) -> None:
        """Let the message become visible to other workers after so many seconds."""
        if self._has_message:
            self._sqs.change_message_visibility(VisibilityTimeout=int(seconds), **self._message)

    def delete_message(self) -> None:
        """Delete the message: no worker has to do anything for it any more."""
        with suppress(self._sqs.exceptions.ReceiptHandleIsInvalid):  # received again since, and deleted by its receiver
            self._sqs.delete_message(**self._message)

    def _renew_until_exit(self) -> None:
        while not self._exited:
            changed = self._changed.wait(self._interval)
            self._changed.clear()
            if self._exited or changed:
                continue
            try:
                self.renew()
            except ClaimLost as lost:
                self._runner.stop(lost)
                return
