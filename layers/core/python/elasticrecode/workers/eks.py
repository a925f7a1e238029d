"""EKS clusters through AWS: which ones the option `clusters` names, their endpoints, and tokens for their APIs."""

import base64
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import botocore.session
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import ClientError

from elasticrecode.aws.clients import refusals, side_by_side
from elasticrecode.errors import Unavailable
from elasticrecode.workers.deployments import WorkerDeployment, read_worker
from elasticrecode.workers.kubernetes import ClusterUnreachable, Endpoint, KubernetesApi, Limits

_NAME = re.compile(r"[0-9A-Za-z][\w-]{0,99}", re.ASCII)
_ARN = re.compile(r"arn:aws[a-z-]*:eks:([a-z0-9-]+):\d{12}:cluster/([0-9A-Za-z][\w-]{0,99})", re.ASCII)
_TAG = re.compile(r"tag:([^=]+)=(.*)")
_SERVING = ("ACTIVE", "UPDATING")
"""States of a cluster in which its API answers. An update of Kubernetes takes long, and the API serves meanwhile."""
_TOKEN_SECONDS = 60

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
"""Held while the session is used: a session is not thread-safe, its clients are."""


class Cluster(NamedTuple):
    """A cluster to list workers of. `label` is unique among clusters; `arn` is empty where only the name was given."""

    label: str
    name: str
    region: str
    arn: str = ""


class Clusters:
    """Lists the workers, in EKS clusters, of the control plane whose control queue is `control_queue`."""

    def __init__(
        self, control_queue: str, limits: Limits | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._control_queue = control_queue
        self._limits = limits or Limits()
        self._sleep = sleep
        self._clients: dict[tuple[str, str], Any] = {}

    def resolve(self, entries: Sequence[str]) -> list[Cluster]:
        """The clusters that names, ARNs and `tag:key=value` stand for, each once; a tag selects in this Region only.

        A name is not verified here; `workers` raises for one that does not exist. Raises ClusterUnreachable when AWS
        does not list the clusters with a tag. It calls `side_by_side`, so it must not run inside of it.
        """
        home: str = _session.get_config_variable("region") or ""
        resolved: dict[tuple[str, str], Cluster] = {}
        for entry in entries:
            arn, tag = _ARN.fullmatch(entry), _TAG.fullmatch(entry)
            if tag:
                clusters = [Cluster(name, name, home) for name in self._tagged(home, tag[1], tag[2])]
            elif arn:
                clusters = [Cluster(arn[2] if arn[1] == home else f"{arn[1]}/{arn[2]}", arn[2], arn[1], entry)]
            else:
                clusters = [Cluster(entry, entry, home)]
            for cluster in clusters:
                resolved.setdefault((cluster.region, cluster.name), cluster)
        return list(resolved.values())

    def workers(self, cluster: Cluster) -> list[WorkerDeployment]:
        """The Deployments of a cluster that declare themselves workers of this control plane, usable or not.

        Raises ClusterUnreachable when they can't be listed within `limits.cluster` seconds.
        """
        deadline = time.monotonic() + self._limits.cluster
        if not _NAME.fullmatch(cluster.name):
            raise ClusterUnreachable(
                f"{cluster.name!r} in the option `clusters` is neither a cluster's name or ARN nor tag:key=value. "
                "Correct the option."
            )
        url, trust = _address(cluster, self._describe(cluster))
        endpoint = Endpoint(cluster.label, url, trust, self._token(cluster))
        with closing(KubernetesApi(endpoint, self._limits, deadline, self._sleep)) as api:
            return api.list_deployments(lambda deployment: read_worker(deployment, cluster.label, self._control_queue))

    def _tagged(self, region: str, key: str, value: str) -> list[str]:
        """The names of the clusters of a Region that have a tag."""
        eks = self._client("eks", region)
        with _as_unreachable(f"The clusters with the tag {key}={value} can't be listed", "eks:ListClusters"):
            pages = eks.get_paginator("list_clusters").paginate()
            names = [name for page in pages for name in page["clusters"]]
        descriptions = side_by_side(lambda name: self._describe_if_exists(name, region, name), names)
        return [
            name
            for name, description in zip(names, descriptions, strict=True)
            if description and description.get("tags", {}).get(key) == value
        ]

    def _describe(self, cluster: Cluster) -> dict[str, Any]:
        description = self._describe_if_exists(cluster.name, cluster.region, cluster.label)
        if description is None:
            raise ClusterUnreachable(
                f"Cluster {cluster.label}: {cluster.region} has no cluster of this name. Correct the option `clusters`."
            )
        if cluster.arn and description.get("arn", cluster.arn) != cluster.arn:
            raise ClusterUnreachable(
                f"Cluster {cluster.label}: {cluster.arn} belongs to another account, which discovery can't read. "
                "Correct the option `clusters`."
            )
        return description

    def _describe_if_exists(self, name: str, region: str, label: str) -> dict[str, Any] | None:
        """EKS's description of a cluster, None when the cluster does not exist."""
        eks = self._client("eks", region)
        with _as_unreachable(f"Cluster {label}: EKS does not describe it", "eks:DescribeCluster"):
            try:
                description: dict[str, Any] = eks.describe_cluster(name=name)["cluster"]
            except eks.exceptions.ResourceNotFoundException:
                return None
        return description

    def _token(self, cluster: Cluster) -> str:
        sts = self._client("sts", cluster.region)
        with _lock:
            credentials = _session.get_credentials()
        missing = f"Cluster {cluster.label}: discovery has no AWS credentials to sign a token with"
        if credentials is None:
            raise ClusterUnreachable(f"{missing}. Check the role of the function.")
        with _as_unreachable(missing):
            return token(cluster.name, sts.meta.endpoint_url, cluster.region, credentials.get_frozen_credentials())

    def _client(self, service: str, region: str) -> Any:
        with _lock:
            client = self._clients.get((service, region))
            if client is None:
                with _as_unreachable(f"No client of {service} can be created for the Region {region or '(none)'}"):
                    client = _session.create_client(service, region_name=region or None, config=_CONFIG)
                self._clients[service, region] = client
            return client


def token(name: str, sts_url: str, region: str, credentials: Any) -> str:
    """A bearer token for the API of the cluster `name`: a signed GetCallerIdentity request, valid for 60 seconds."""
    request = AWSRequest(
        "GET", f"{sts_url.rstrip('/')}/?Action=GetCallerIdentity&Version=2011-06-15", headers={"x-k8s-aws-id": name}
    )
    SigV4QueryAuth(credentials, "sts", region, expires=_TOKEN_SECONDS).add_auth(request)
    return "k8s-aws-v1." + base64.urlsafe_b64encode(str(request.url).encode()).decode().rstrip("=")


def _address(cluster: Cluster, description: dict[str, Any]) -> tuple[str, ssl.SSLContext]:
    """The URL of a cluster's API, and a context that trusts the cluster's certificate authority and no other."""
    state, url = description.get("status"), description.get("endpoint") or ""
    if state not in _SERVING:
        raise ClusterUnreachable(
            f"Cluster {cluster.label}: its state is {state}, in which its API does not answer. "
            "Discovery tries again in a minute."
        )
    if not url.startswith("https://") or not urlsplit(url).hostname:
        raise ClusterUnreachable(
            f"Cluster {cluster.label}: it has no https endpoint ({url or 'none'}). Discovery tries again in a minute."
        )
    # Not create_default_context: from Python 3.13 on it sets VERIFY_X509_STRICT, which older authorities of EKS fail.
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        trust.load_verify_locations(cadata=base64.b64decode(description["certificateAuthority"]["data"]).decode())
    except (KeyError, TypeError, ValueError, ssl.SSLError) as error:
        raise ClusterUnreachable(
            f"Cluster {cluster.label}: the certificate authority that EKS names for it can't be read. "
            "Look at it with `aws eks describe-cluster`."
        ) from error
    return url, trust


@contextmanager
def _as_unreachable(failure: str, permission: str = "") -> Iterator[None]:
    """Turn AWS's errors into ClusterUnreachable, whose text begins with `failure`."""
    try:
        with refusals("calling AWS for a cluster"):
            yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        remedy = f" Discovery's role needs {permission}." if code.startswith("AccessDenied") else ""
        raise ClusterUnreachable(f"{failure}: {code}, {error.response['Error'].get('Message')}.{remedy}") from error
    except Unavailable as error:
        raise ClusterUnreachable(f"{failure}: {error}") from error
