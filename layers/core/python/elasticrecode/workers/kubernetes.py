"""HTTP client of one cluster's Kubernetes API: lists Deployments within a deadline, and explains why it could not."""

import ssl
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from random import SystemRandom
from typing import NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from elasticrecode import wire
from elasticrecode.errors import ElasticRecodeError
from elasticrecode.workers.deployments import Deployment, UnreadableDeployment, read_page

T = TypeVar("T")

_PATH = "/apis/apps/v1/deployments"
_TRIES = 3
_RESTARTS = 2
_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_READ_BYTES = 1 << 18
_SERVER_ERRORS = {500, 502, 503, 504}
_RNG = SystemRandom()
_RETRIED = "Discovery tries again in a minute"


class ClusterUnreachable(ElasticRecodeError):
    """The workers of a cluster could not be listed. The text names the cluster, the reason and the remedy."""


class Limits(NamedTuple):
    """Time limits in seconds of a connection, a read and a whole cluster, and the size of a page.

    `page` is the number of Deployments requested at once, `page_bytes` the largest body that is read.
    """

    connect: float = 3.0
    read: float = 10.0
    cluster: float = 25.0
    page: int = 500
    page_bytes: int = 64 << 20


class Endpoint(NamedTuple):
    """Where a cluster's API is, the certificate authority that it is verified with, and the bearer token to send.

    `label` names the cluster in messages.
    """

    label: str
    url: str
    trust: ssl.SSLContext
    bearer: str


class _Answer(NamedTuple):
    status: int
    retry_after: str
    body: bytes


class _Status(Struct):
    """The part of a Kubernetes Status that explains a refusal."""

    message: str = ""


class KubernetesApi:
    """One connection to a cluster's API, opened at the first request and closed by `close`.

    It uses http.client rather than urllib3: a read returns what has arrived instead of waiting for the whole buffer,
    so a body that trickles in meets the deadline; it knows no proxies and follows no redirects; and every Lambda
    runtime has the same version of it.
    """

    def __init__(
        self, endpoint: Endpoint, limits: Limits, deadline: float, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        address = urlsplit(endpoint.url)
        self._host = address.hostname or ""
        self._connected = False
        self._label = endpoint.label
        self._base = address.path.rstrip("/")
        self._bearer = endpoint.bearer
        self._limits = limits
        self._deadline = deadline
        self._sleep = sleep
        self._connection = HTTPSConnection(
            self._host, address.port or 443, timeout=limits.connect, context=endpoint.trust
        )

    def close(self) -> None:
        """Close the connection. A later request opens another one."""
        self._connection.close()

    def list_deployments(self, read: Callable[[Deployment | UnreadableDeployment], T | None]) -> list[T]:
        """The result of `read` for each Deployment of the cluster, in the order of the API; None is left out.

        Raises ClusterUnreachable when the API can't be reached, refuses, or is not done before the deadline.
        """
        results: list[T] = []
        token, restarts = "", 0
        while True:
            answer = self._page(token)
            if answer.status == 410:
                # The continue token has expired: the next pages would show another moment than those already read.
                if restarts == _RESTARTS:
                    raise self._unreachable(
                        f"its list of Deployments expired {restarts + 1} times while it was read",
                        f"Check the load of its API server. {_RETRIED}",
                    )
                results, token, restarts = [], "", restarts + 1
                continue
            try:
                page = read_page(answer.body)
            except msgspec.DecodeError as error:
                raise self._unreachable(
                    f"its answer is not a list of Deployments ({error})",
                    f"Check whether something else, such as a proxy, answers at {self._host}",
                ) from error
            results += [result for deployment in page.deployments if (result := read(deployment)) is not None]
            if not page.continue_token:
                return results
            token = page.continue_token

    def _page(self, token: str) -> _Answer:
        """The answer to the request for a page, with status 200 or 410, after up to _TRIES tries."""
        path = f"{_PATH}?limit={self._limits.page}" + (f"&continue={quote(token, safe='')}" if token else "")
        tried = 0
        while True:
            tried += 1
            pause = _RNG.uniform(0.5, 1) * _PAUSE_SECONDS * 2**tried
            try:
                answer = self._get(path)
            except (OSError, HTTPException) as error:
                failure = self._failure(error)
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise failure from error
                failure.__cause__ = error
            else:
                if answer.status in (200, 410):
                    return answer
                failure = self._refusal(answer)
                if answer.status == 429:
                    seconds = float(answer.retry_after) if answer.retry_after.isdecimal() else pause
                    pause = min(seconds, _LONGEST_PAUSE_SECONDS)
                elif answer.status not in _SERVER_ERRORS:
                    raise failure
            if tried == _TRIES or pause >= self._remaining():
                raise failure
            self._sleep(pause)

    def _get(self, path: str) -> _Answer:
        """One try. OSError or HTTPException when no whole answer came; the next try opens a new connection then."""
        try:
            self._connection.timeout = self._patience(self._limits.connect)
            if self._connection.sock is None:
                self._connected = False
                self._connection.connect()
                self._connected = True
            self._set_read_timeout()
            headers = {"Authorization": f"Bearer {self._bearer}", "Accept": "application/json"}
            self._connection.request("GET", self._base + path, headers=headers)
            with self._connection.getresponse() as response:
                body = self._read(response)
                return _Answer(response.status, response.headers.get("Retry-After", ""), body)
        except BaseException:
            self.close()
            raise

    def _read(self, response: HTTPResponse) -> bytes:
        expected = response.length
        body = bytearray()
        while not response.isclosed():
            self._set_read_timeout()
            part = response.read1(_READ_BYTES if expected is None else min(_READ_BYTES, expected - len(body)))
            if not part:
                break
            body += part
            if len(body) > self._limits.page_bytes:
                raise self._unreachable(
                    f"a page of {self._limits.page} Deployments is larger than {self._limits.page_bytes} bytes",
                    "Look for a Deployment of unusual size",
                )
            if len(body) == expected:
                break
        if expected is not None and len(body) < expected:
            raise IncompleteRead(bytes(body), expected - len(body))
        return bytes(body)

    def _remaining(self) -> float:
        """Seconds until the deadline of the cluster."""
        return self._deadline - time.monotonic()

    def _set_read_timeout(self) -> None:
        patience = self._patience(self._limits.read)
        if self._connection.sock:
            self._connection.sock.settimeout(patience)

    def _patience(self, limit: float) -> float:
        """Seconds that the next step may take: `limit`, or the time left until the deadline."""
        remaining = self._remaining()
        if remaining <= 0:
            raise self._unreachable(
                f"its Deployments were not listed within {self._limits.cluster:g} s",
                "Check whether its API server is overloaded, or far away",
            )
        return min(limit, remaining)

    def _unreachable(self, reason: str, remedy: str) -> ClusterUnreachable:
        return ClusterUnreachable(f"Cluster {self._label}: {reason}. {remedy}.")

    def _failure(self, error: Exception) -> ClusterUnreachable:
        """The error for a try without a whole answer."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._unreachable(
                f"the certificate of {self._host} is not valid for it ({error.verify_message})",
                "No token was sent. Find out which server answers there",
            )
        if self._connected:
            return self._unreachable(f"its API broke off ({_reason(error)})", _RETRIED)
        return self._unreachable(
            f"{self._host} can't be reached ({_reason(error)})",
            "If its endpoint is private, run discovery in a VPC that leads there; if it is public, let its list of "
            "addresses include discovery",
        )

    def _refusal(self, answer: _Answer) -> ClusterUnreachable:
        """The error for an answer with a status other than 200 and 410."""
        status, message = answer.status, self._message(answer.body)
        if status == 401:
            return self._unreachable(
                "its API does not know the caller (401)",
                "Discovery's role needs an access entry in the cluster: aws eks create-access-entry",
            )
        if status == 403:
            return self._unreachable(
                f"discovery's role may not list Deployments (403{message})",
                "Apply deploy/k8s/discovery there, which grants `list` on deployments, and name its group in the "
                "access entry of the role",
            )
        if 300 <= status < 400:
            return self._unreachable(
                f"{self._host} answers with a redirect ({status}), which was not followed",
                "Check whether something else, such as a proxy, answers there",
            )
        if status == 429 or status in _SERVER_ERRORS:
            return self._unreachable(f"its API is overloaded or broken ({status}{message})", _RETRIED)
        return self._unreachable(
            f"its API does not list Deployments ({status}{message})",
            f"Check that the Kubernetes API of EKS answers at {self._host}",
        )

    def _message(self, body: bytes) -> str:
        """The message of a Kubernetes Status behind ", ", on one line of at most 400 characters, without the token."""
        try:
            message = wire.decode(body, _Status).message
        except msgspec.DecodeError:
            return ""
        text = " ".join(message.replace(self._bearer, "…").split())
        return f", {text[:400]}" if text else ""


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, IncompleteRead):
        return "its answer was cut off"
    return str(error) or type(error).__name__
