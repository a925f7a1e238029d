"""Keeps a job while the worker runs it: extends the message's visibility timeout and renews the claim."""

import logging
import threading
import time
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from elasticrecode.errors import Unavailable
from elasticrecode.jobs.claims import Claims
from elasticrecode.jobs.lifecycle import CANCELLED
from worker.errors import ClaimLost
from worker.sandbox.runner import Runner

_log = logging.getLogger(__name__)

_RENEWALS = 6
"""Renewals per lease. A cancelled job's encoder stops at the next one."""


class Lease:
    """The lease of one message, `seconds` long, and of its job's claim once attached.

    As a context manager it renews both in a thread. When the claim is lost, it stops the runner at once.
    """

    def __init__(self, sqs: Any, queue_url: str, receipt: str, seconds: float, runner: Runner) -> None:
        self._sqs = sqs
        self._message = {"QueueUrl": queue_url, "ReceiptHandle": receipt}
        self._seconds = seconds
        self._runner = runner
        self._claim: tuple[Claims, str, int] | None = None
        self._expires = time.monotonic() + seconds
        self._exited = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_exit, name="lease", daemon=True)

    def attach_claim(self, claims: Claims, job_id: str, attempt: int) -> None:
        """Renew this claim too, from now on. Call it before entering."""
        self._claim = claims, job_id, attempt

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._exited.set()
        self._thread.join()

    def renew(self) -> None:
        """Renew now. Raises ClaimLost if this worker does not hold the job any more, or cannot find out."""
        try:
            if self._claim:
                claims, job_id, attempt = self._claim
                state = claims.renew(job_id, attempt)
                if state:
                    raise ClaimLost(f"the claim is lost: the job is {state}", cancelled=state == CANCELLED)
            self._sqs.change_message_visibility(VisibilityTimeout=int(self._seconds), **self._message)
            self._expires = time.monotonic() + self._seconds
        except (Unavailable, BotoCoreError, ClientError) as error:
            if time.monotonic() > self._expires:
                raise ClaimLost("the lease expired while AWS could not be reached") from error
            _log.warning("cannot renew the lease, trying again: %s", error)

    def return_after(self, seconds: float) -> None:
        """Let the message become visible to other workers after so many seconds."""
        self._sqs.change_message_visibility(VisibilityTimeout=int(seconds), **self._message)

    def delete_message(self) -> None:
        """Delete the message: no worker has to do anything for it any more."""
        self._sqs.delete_message(**self._message)

    def _renew_until_exit(self) -> None:
        while not self._exited.wait(self._seconds / _RENEWALS):
            try:
                self.renew()
            except ClaimLost as lost:
                self._runner.stop(lost)
                return
