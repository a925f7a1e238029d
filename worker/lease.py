"""Keeping a job while it is worked on: its message stays invisible and its claim is renewed, or the work stops."""

import logging
import threading
import time
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from elasticrecode.errors import Unavailable
from elasticrecode.jobs.claims import Claims
from elasticrecode.jobs.lifecycle import CANCELLED
from worker.errors import ClaimLost
from worker.sandbox.runner import Work

_log = logging.getLogger(__name__)

_RENEWALS = 6
"""Renewals in the time of a lease, so that a cancelled job's encoder stops soon."""


class Lease:
    """Renews in a thread of its own from enter to exit. When the claim is lost, it stops the work at once."""

    def __init__(self, sqs: Any, queue_url: str, receipt: str, seconds: float, work: Work) -> None:
        self._sqs = sqs
        self._message = {"QueueUrl": queue_url, "ReceiptHandle": receipt}
        self._seconds = seconds
        self._work = work
        self._claim: tuple[Claims, str, int] | None = None
        self._until = time.monotonic() + seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def hold(self, claims: Claims, job_id: str, attempt: int) -> None:
        """Renew this claim too, from now on."""
        self._claim = claims, job_id, attempt

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def renew(self) -> None:
        """Renew now. ClaimLost when the job is not this worker's any more."""
        try:
            if self._claim:
                claims, job_id, attempt = self._claim
                state = claims.renew(job_id, attempt)
                if state:
                    raise ClaimLost(f"the claim is lost: the job is {state}", cancelled=state == CANCELLED)
            self._sqs.change_message_visibility(VisibilityTimeout=int(self._seconds), **self._message)
            self._until = time.monotonic() + self._seconds
        except (Unavailable, BotoCoreError, ClientError) as error:
            if time.monotonic() > self._until:
                raise ClaimLost("the lease ran out while AWS could not be reached") from error
            _log.warning("lease not renewed: %s", error)

    def come_back(self, seconds: float) -> None:
        """Let the message be received again after so many seconds."""
        self._sqs.change_message_visibility(VisibilityTimeout=int(seconds), **self._message)

    def settle(self) -> None:
        """Delete the message: the job is done with."""
        self._sqs.delete_message(**self._message)

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / _RENEWALS):
            try:
                self.renew()
            except ClaimLost as lost:
                self._work.stop(lost)
                return
