"""Lets Kubernetes end idle workers first: the worker marks its own pod while a job runs.

A ReplicaSet that needs fewer pods ends those with the lowest `controller.kubernetes.io/pod-deletion-cost` first. A pod
without the annotation costs 0. KEDA counts the pods with the label, so that there are never fewer pods than busy ones,
even when a job's message is gone. Outside Kubernetes, nothing happens.
"""

import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec
import urllib3
from msgspec import Struct
from urllib3.exceptions import HTTPError

from worker.log_format import printable
from worker.settings import Settings

_log = logging.getLogger(__name__)

ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
LABEL = "elastirecord.kubernetes.io/busy"
"""The spelling of the prefix is that of the first generation, as in the annotations that discovery reads."""
FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kit mounts the token of the service account and the certificate authority of the Kubernetes API."""
SETTLE_SECONDS = 10.0
"""So long a job, or a pause between jobs, lasts before the pod shows it: short jobs cause no request."""
TIMEOUT = urllib3.Timeout(connect=3.0, read=5.0)
LONGEST_PAUSE_SECONDS = 300.0
_HIGHEST = 2**31 - 1
_UNKNOWN = -1
_MESSAGE_BYTES = 4096


class _Status(Struct):
    """The part of a Kubernetes Status that explains a refusal."""

    message: str = ""


class _Failure(Exception):
    """A request that did not change the pod. `kind` is the same for failures that one line of the log covers."""

    def __init__(self, kind: str, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.kind = kind
        self.pause = pause


class PodCost:
    """The deletion cost of this worker's own pod.

    A thread of its own makes the requests, so that no job waits for them or fails with them. It makes at most one in
    SETTLE_SECONDS, and after failures waits longer each time.
    """

    def __init__(self, settings: Settings) -> None:
        """Make no request."""
        pod = f"/api/v1/namespaces/{quote(settings.namespace, safe='')}/pods/{quote(settings.pod, safe='')}"
        self._url = settings.kubernetes + pod if settings.kubernetes and settings.namespace else ""
        self._changed = threading.Condition()
        self._cost: int | None = None
        # A worker that crashed in this pod may have left its cost.
        self._shown: int | None = _UNKNOWN
        self._differs_since = self._job_since = time.monotonic()
        self._next_try = 0.0
        self._pause = 0.0
        self._logged: set[str] = set()

    def start(self) -> None:
        """Follow `busy` from now on, if this is a pod whose token is mounted."""
        if self._url and (FOLDER / "token").exists():
            threading.Thread(target=self._follow, name="pod-cost", daemon=True).start()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Mark the pod while a job runs: the longer it has run, the costlier."""
        self._set(_HIGHEST - int(time.time() // 60))
        try:
            yield
        finally:
            self._set(None)

    def _set(self, cost: int | None) -> None:
        with self._changed:
            now = time.monotonic()
            if self._cost == self._shown:
                self._differs_since = now
            if cost is not None:
                self._job_since = now
            self._cost = cost
            self._changed.notify()

    def _due(self) -> float:
        """When to make the next request, on the monotonic clock."""
        if self._cost == self._shown:
            return math.inf
        # A job that has just begun may be short, so a worker that goes from job to job waits with its next request.
        since = self._differs_since if self._cost is None else self._job_since
        return max(since + SETTLE_SECONDS, self._next_try)

    def _follow(self) -> None:
        while True:
            with self._changed:
                while (seconds := self._due() - time.monotonic()) > 0:
                    self._changed.wait(None if math.isinf(seconds) else seconds)
                cost = self._cost
            try:
                self._patch(cost)
            except _Failure as failure:
                self._failed(failure)
            else:
                self._succeeded(cost)

    def _succeeded(self, cost: int | None) -> None:
        if self._logged:
            _log.info("the deletion cost of this pod is up to date again")
            self._logged.clear()
        with self._changed:
            self._pause = 0.0
            self._shown = cost
            self._differs_since = time.monotonic()

    def _failed(self, failure: _Failure) -> None:
        if failure.kind not in self._logged:
            self._logged.add(failure.kind)
            _log.warning(
                "cannot tell Kubernetes whether this pod is busy, so a scale-down may end its job: %s",
                printable(str(failure)),
            )
        with self._changed:
            self._pause = min(LONGEST_PAUSE_SECONDS, max(2 * self._pause, SETTLE_SECONDS, failure.pause))
            self._next_try = time.monotonic() + self._pause

    def _patch(self, cost: int | None) -> None:
        """Set the annotation and the label, or remove them. Raises _Failure."""
        annotation, label = (None, None) if cost is None else (str(cost), "true")
        body = msgspec.json.encode({"metadata": {"annotations": {ANNOTATION: annotation}, "labels": {LABEL: label}}})
        try:
            # Kubernetes replaces both files from time to time. Requests are rare, so each reads them anew.
            headers = {
                "Authorization": f"Bearer {(FOLDER / 'token').read_text().strip()}",
                "Content-Type": "application/merge-patch+json",
                "User-Agent": "elasticrecode-worker",
            }
            with (
                urllib3.PoolManager(ca_certs=str(FOLDER / "ca.crt"), timeout=TIMEOUT, retries=False) as pool,
                pool.request(
                    "PATCH", self._url, body=body, headers=headers, redirect=False, preload_content=False
                ) as answer,
            ):
                if answer.status != 200:
                    raise _refusal(answer)
        except (HTTPError, OSError, ValueError) as error:
            raise _Failure(type(error).__name__, f"the request to {self._url} failed: {error}") from error


def _refusal(answer: urllib3.BaseHTTPResponse) -> _Failure:
    try:
        message = msgspec.json.decode(answer.read1(_MESSAGE_BYTES), type=_Status).message
    except (HTTPError, msgspec.DecodeError):
        message = ""
    reason = f"the Kubernetes API answers {answer.status}{message and ': '}{message}"
    if answer.status in (403, 422):
        reason += ". Apply deploy/k8s/scale-down.yaml"
    seconds = answer.headers.get("Retry-After", "")
    return _Failure(str(answer.status), reason, float(seconds) if seconds.isdecimal() else 0.0)
