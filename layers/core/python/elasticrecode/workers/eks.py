"""EKS clusters: which there are, and what workers run in them, asked of the Kubernetes API itself."""

import base64
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from random import SystemRandom
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import botocore.session
import msgspec
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import ClientError
from msgspec import Struct

from elasticrecode import wire
from elasticrecode.aws.clients import refusals, side_by_side
from elasticrecode.errors import ElasticRecodeError, Unavailable
from elasticrecode.workers.deployments import Found, read_page, worker

_NAME = re.compile(r"[0-9A-Za-z][\w-]{0,99}", re.ASCII)
_ARN = re.compile(r"arn:aws[a-z-]*:eks:([a-z0-9-]+):\d{12}:cluster/([0-9A-Za-z][\w-]{0,99})", re.ASCII)
_TAG = re.compile(r"tag:([^=]+)=(.*)")
_SERVING = ("ACTIVE", "UPDATING")
"""States of a cluster in which its API answers; an update of Kubernetes takes long, and is rolled through."""

_PATH = "/apis/apps/v1/deployments"
_TRIES = 3
_RESTARTS = 2
_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_CHUNK = 1 << 18
_TOKEN_SECONDS = 60
_BROKEN = {500, 502, 503, 504}
_RNG = SystemRandom()

_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 3},
    connect_timeout=2,
    read_timeout=5,
    parameter_validation=False,
)

_session = botocore.session.get_session()
# Before 2025 botocore's default was the global endpoint, which signs for us-east-1 only.
_session.set_config_variable("sts_regional_endpoints", "regional")
_lock = threading.Lock()
"""Held while the session is used: it is not made for several threads, its clients are."""


class ClusterUnreachable(ElasticRecodeError):
    """What runs in a cluster could not be found out. The text says of which one, why, and what to do."""


class Cluster(NamedTuple):
    """A cluster to look at. `label` tells it from every other; `arn` is empty where it was named by its name."""

    label: str
    name: str
    region: str
    arn: str = ""


class Limits(NamedTuple):
    """Patience in seconds, for one connection, one read and a whole cluster, and how much is asked for at once."""

    connect: float = 3.0
    read: float = 10.0
    cluster: float = 25.0
    page: int = 500
    page_bytes: int = 64 << 20


class Clusters:
    """Looks into clusters for workers of the control plane that listens on `control_queue`."""

    def __init__(
        self, control_queue: str, limits: Limits | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._control_queue = control_queue
        self._limits = limits or Limits()
        self._sleep = sleep
        self._clients: dict[tuple[str, str], Any] = {}

    def find(self, named: Sequence[str]) -> list[Cluster]:
        """The clusters that names, ARNs and `tag:key=value` stand for; by tag those of this region.

        ClusterUnreachable when AWS does not tell which have the tag. A name that stands for nothing is found out by
        looking. It uses `side_by_side`.
        """
        home: str = _session.get_config_variable("region") or ""
        found: dict[tuple[str, str], Cluster] = {}
        for entry in named:
            arn, tag = _ARN.fullmatch(entry), _TAG.fullmatch(entry)
            if tag:
                clusters = [Cluster(name, name, home) for name in self._tagged(home, tag[1], tag[2])]
            elif arn:
                clusters = [Cluster(arn[2] if arn[1] == home else f"{arn[1]}/{arn[2]}", arn[2], arn[1], entry)]
            else:
                clusters = [Cluster(entry, entry, home)]
            for cluster in clusters:
                found.setdefault((cluster.region, cluster.name), cluster)
        return list(found.values())

    def look(self, cluster: Cluster) -> list[Found]:
        """The Deployments of a cluster that say they are workers of this control plane. ClusterUnreachable."""
        deadline = time.monotonic() + self._limits.cluster
        if not _NAME.fullmatch(cluster.name):
            raise ClusterUnreachable(
                f"{cluster.name!r} in the option `clusters` is neither a cluster's name or ARN nor tag:key=value."
            )
        endpoint, trust = _address(cluster, self._describe(cluster))
        with closing(_Api(cluster.label, endpoint, trust, self._token(cluster), self._limits, deadline)) as api:
            return self._list(cluster, api)

    def _list(self, cluster: Cluster, api: "_Api") -> list[Found]:
        found: list[Found] = []
        more, restarts = "", 0
        while True:
            status, body = self._page(api, more)
            if status == 410:
                # The page token has expired; what was listed is of another moment than what would follow.
                if restarts == _RESTARTS:
                    raise api.unreachable(
                        "its list of Deployments expired while it was read, again and again",
                        "Is its API overloaded? It is tried again at the next look",
                    )
                found, more, restarts = [], "", restarts + 1
                continue
            try:
                page = read_page(body)
            except msgspec.DecodeError as error:
                raise api.unreachable(
                    f"its answer is no list of Deployments ({error})",
                    f"Is something else answering at {api.host}, such as a proxy?",
                ) from error
            mine = (worker(deployment, cluster.label, self._control_queue) for deployment in page.deployments)
            found += [one for one in mine if one]
            if not page.more:
                return found
            more = page.more

    def _page(self, api: "_Api", more: str) -> tuple[int, bytes]:
        """Status, 200 or 410, and body of a page, after as many tries as it is worth."""
        path = f"{_PATH}?limit={self._limits.page}" + (f"&continue={quote(more, safe='')}" if more else "")
        attempt = 0
        while True:
            attempt += 1
            pause = _RNG.uniform(0.5, 1) * _PAUSE_SECONDS * 2**attempt
            try:
                answer = api.get(path)
            except (OSError, HTTPException) as error:
                failure = api.failure(error)
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise failure from error
                failure.__cause__ = error
            else:
                if answer.status in (200, 410):
                    return answer.status, answer.body
                failure = api.refusal(answer)
                if answer.status == 429:
                    told = float(answer.retry_after) if answer.retry_after.isdecimal() else pause
                    pause = min(told, _LONGEST_PAUSE_SECONDS)
                elif answer.status not in _BROKEN:
                    raise failure
            if attempt == _TRIES or pause >= api.left():
                raise failure
            self._sleep(pause)

    def _tagged(self, region: str, key: str, value: str) -> list[str]:
        eks = self._client("eks", region)
        with _told(f"The clusters with the tag {key}={value} can't be found", "eks:ListClusters"):
            pages = eks.get_paginator("list_clusters").paginate()
            names = [name for page in pages for name in page["clusters"]]
        described = side_by_side(lambda name: self._describe_any(name, region, name), names)
        return [
            name
            for name, about in zip(names, described, strict=True)
            if about and about.get("tags", {}).get(key) == value
        ]

    def _describe(self, cluster: Cluster) -> dict[str, Any]:
        about = self._describe_any(cluster.name, cluster.region, cluster.label)
        if about is None:
            raise ClusterUnreachable(
                f"Cluster {cluster.label}: there is none of this name in {cluster.region}. Mend the option `clusters`."
            )
        if cluster.arn and about.get("arn", cluster.arn) != cluster.arn:
            raise ClusterUnreachable(
                f"Cluster {cluster.label}: {cluster.arn} is of another account, where discovery can't look. "
                "Mend the option `clusters`."
            )
        return about

    def _describe_any(self, name: str, region: str, label: str) -> dict[str, Any] | None:
        """What EKS says of a cluster, None when there is no such one."""
        eks = self._client("eks", region)
        with _told(f"Cluster {label}: EKS does not describe it", "eks:DescribeCluster"):
            try:
                about: dict[str, Any] = eks.describe_cluster(name=name)["cluster"]
            except eks.exceptions.ResourceNotFoundException:
                return None
        return about

    def _token(self, cluster: Cluster) -> str:
        sts = self._client("sts", cluster.region)
        with _lock:
            credentials = _session.get_credentials()
        if credentials is None:
            raise ClusterUnreachable(
                f"Cluster {cluster.label}: there are no AWS credentials to ask it with. Give some."
            )
        with _told(f"Cluster {cluster.label}: there are no AWS credentials to ask it with"):
            return token(cluster.name, sts.meta.endpoint_url, cluster.region, credentials.get_frozen_credentials())

    def _client(self, service: str, region: str) -> Any:
        with _lock:
            client = self._clients.get((service, region))
            if client is None:
                with _told(f"There is no client of {service} for the region {region or '(none)'}"):
                    client = _session.create_client(service, region_name=region or None, config=_CONFIG)
                self._clients[service, region] = client
            return client


def token(name: str, sts_url: str, region: str, credentials: Any) -> str:
    """A bearer token for a cluster: a request that STS would answer with who we are, signed and good for a minute."""
    request = AWSRequest(
        "GET", f"{sts_url.rstrip('/')}/?Action=GetCallerIdentity&Version=2011-06-15", headers={"x-k8s-aws-id": name}
    )
    SigV4QueryAuth(credentials, "sts", region, expires=_TOKEN_SECONDS).add_auth(request)
    return "k8s-aws-v1." + base64.urlsafe_b64encode(str(request.url).encode()).decode().rstrip("=")


class _Answer(NamedTuple):
    status: int
    retry_after: str
    body: bytes


class _Message(Struct):
    message: str = ""


class _Api:
    """One connection to a cluster's API, opened when it is needed.

    http.client rather than urllib3: it reads what has come instead of waiting for as much as was asked, so a body that
    trickles meets the deadline; it knows no proxies and follows no redirects; and each runtime of Lambda has it alike.
    """

    def __init__(
        self, label: str, endpoint: str, trust: ssl.SSLContext, bearer: str, limits: Limits, deadline: float
    ) -> None:
        address = urlsplit(endpoint)
        self.host = address.hostname or ""
        self.connected = False
        self._label = label
        self._base = address.path.rstrip("/")
        self._bearer = bearer
        self._limits = limits
        self._deadline = deadline
        self._connection = HTTPSConnection(self.host, address.port or 443, timeout=limits.connect, context=trust)

    def close(self) -> None:
        """Close the connection; asking again opens another."""
        self._connection.close()

    def left(self) -> float:
        """Seconds until the deadline of the cluster."""
        return self._deadline - time.monotonic()

    def get(self, path: str) -> _Answer:
        """One try. OSError or HTTPException when there is no whole answer; the next try has a fresh connection then."""
        try:
            self._connection.timeout = self._patience(self._limits.connect)
            if self._connection.sock is None:
                self.connected = False
                self._connection.connect()
                self.connected = True
            self._wait()
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
            self._wait()
            some = response.read1(_CHUNK if expected is None else min(_CHUNK, expected - len(body)))
            if not some:
                break
            body += some
            if len(body) > self._limits.page_bytes:
                raise self.unreachable(
                    f"a page of its Deployments is larger than {self._limits.page_bytes} bytes", "What runs there?"
                )
            if len(body) == expected:
                break
        if expected is not None and len(body) < expected:
            raise IncompleteRead(bytes(body), expected - len(body))
        return bytes(body)

    def _wait(self) -> None:
        """Let the socket wait as long as there is patience left."""
        patience = self._patience(self._limits.read)
        if self._connection.sock:
            self._connection.sock.settimeout(patience)

    def _patience(self, most: float) -> float:
        left = self.left()
        if left <= 0:
            raise self.unreachable(
                f"it was not through after {self._limits.cluster:g} s", "Is its API overloaded, or far away?"
            )
        return min(most, left)

    def unreachable(self, what: str, remedy: str) -> ClusterUnreachable:
        """The error that says so."""
        return ClusterUnreachable(f"Cluster {self._label}: {what}. {remedy}{'' if remedy.endswith('?') else '.'}")

    def failure(self, error: Exception) -> ClusterUnreachable:
        """What to say when there was no whole answer."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return self.unreachable(
                f"{self.host} shows a certificate that is not its own ({error.verify_message})",
                "No token was sent. Find out what answers there",
            )
        if self.connected:
            return self.unreachable(f"its API broke off ({_reason(error)})", "It is tried again at the next look")
        return self.unreachable(
            f"{self.host} can't be reached ({_reason(error)})",
            "If its endpoint is private, discovery must run in a VPC that leads there; if it is public, its list of "
            "allowed addresses must let discovery in",
        )

    def refusal(self, answer: _Answer) -> ClusterUnreachable:
        """What to say of an answer that is no list."""
        said = self._said(answer.body)
        if answer.status == 401:
            return self.unreachable(
                "its API does not know who asks (401)",
                "Discovery's role needs an access entry in the cluster: aws eks create-access-entry",
            )
        if answer.status == 403:
            return self.unreachable(
                f"discovery's role may not list Deployments (403{said})",
                "Apply deploy/k8s/discovery there, which grants `list` on deployments, and name its group in the "
                "access entry of the role",
            )
        if 300 <= answer.status < 400:
            return self.unreachable(
                f"{self.host} answers with a redirect ({answer.status}), which was not followed",
                "Is something else answering there, such as a proxy?",
            )
        if answer.status == 429 or answer.status in _BROKEN:
            return self.unreachable(
                f"its API is overloaded or broken ({answer.status}{said})", "It is tried again at the next look"
            )
        return self.unreachable(f"its API does not list Deployments ({answer.status}{said})", "Is it EKS?")

    def _said(self, body: bytes) -> str:
        """The message of a Kubernetes Status, bounded, on one line and without the token, whoever wrote it."""
        try:
            message = wire.decode(body, _Message).message
        except msgspec.DecodeError:
            return ""
        text = " ".join(message.replace(self._bearer, "…").split())
        return f", {text[:400]}" if text else ""


def _address(cluster: Cluster, about: dict[str, Any]) -> tuple[str, ssl.SSLContext]:
    """Where a cluster's API is, and what trusts its authority and no other."""
    state, endpoint = about.get("status"), about.get("endpoint") or ""
    if state not in _SERVING:
        raise ClusterUnreachable(f"Cluster {cluster.label}: it is {state}. It is tried again at the next look.")
    if not endpoint.startswith("https://") or not urlsplit(endpoint).hostname:
        raise ClusterUnreachable(
            f"Cluster {cluster.label}: it has no https endpoint ({endpoint or 'none'}). "
            "It is tried again at the next look."
        )
    # Not create_default_context: from Python 3.13 on it sets VERIFY_X509_STRICT, which older authorities of EKS fail.
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        trust.load_verify_locations(cadata=base64.b64decode(about["certificateAuthority"]["data"]).decode())
    except (KeyError, TypeError, ValueError, ssl.SSLError) as error:
        raise ClusterUnreachable(
            f"Cluster {cluster.label}: the certificate authority that EKS names for it can't be read. "
            "Look at it with `aws eks describe-cluster`."
        ) from error
    return endpoint, trust


@contextmanager
def _told(trouble: str, permission: str = "") -> Iterator[None]:
    """Turn AWS's refusals into ClusterUnreachable."""
    try:
        with refusals("asking for a cluster"):
            yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        remedy = f" Discovery's role needs {permission}." if code.startswith("AccessDenied") else ""
        raise ClusterUnreachable(f"{trouble}: {code}, {error.response['Error'].get('Message')}.{remedy}") from error
    except Unavailable as error:
        raise ClusterUnreachable(f"{trouble}: {error}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, IncompleteRead):
        return "its answer was cut off"
    return str(error) or type(error).__name__
