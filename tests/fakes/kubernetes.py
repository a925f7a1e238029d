"""A Kubernetes API on loopback with a certificate of a private authority, for a cluster that moto's EKS describes."""

import base64
import json
import ssl
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs, urlsplit

import trustme
from moto.eks.models import eks_backends

from elasticrecode.workers.eks import Cluster, Clusters
from elasticrecode.workers.kubernetes import Limits
from tests.e2e.conftest import free_ports

CONTROL_QUEUE = "control_plane"
HOST = "localhost"
PATIENT = Limits(connect=60.0, read=60.0, cluster=120.0)
"""No slow machine reaches these."""


class Authority(Protocol):
    """Issues certificates for servers."""

    def issue_cert(self, host: str, /) -> Any: ...


class Seen(NamedTuple):
    """A request that the server received. `connection` is the client's port."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    connection: int
    body: bytes = b""


class Handler(BaseHTTPRequestHandler):
    """Answers as a Kubernetes API does, unless the script has a step for the request."""

    protocol_version = "HTTP/1.1"
    server: "Api"

    def setup(self) -> None:
        # In the connection's own thread: a client that does not finish its handshake must not hold up the others.
        self.request.settimeout(60)
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def do_GET(self) -> None:
        self._answer(b"")

    def do_PATCH(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.server.seen.append(Seen(url.path, query, dict(self.headers), self.client_address[1], body))
        script = self.server.script
        (script.popleft() if script else self.server.otherwise)(self)

    def page(self) -> dict[str, Any]:
        """The requested page. A continue token is the index of its first Deployment."""
        query = self.server.seen[-1].query
        start = int(query.get("continue", "0").removesuffix("+/="))
        end = start + int(query["limit"])
        metadata: dict[str, Any] = {"resourceVersion": "7"}
        if end < len(self.server.deployments):
            metadata["continue"] = f"{end}+/="
        return {
            "kind": "DeploymentList",
            "apiVersion": "apps/v1",
            "metadata": metadata,
            "items": self.server.deployments[start:end],
        }

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


Step = Callable[[Handler], None]


class Api(ThreadingHTTPServer):
    """A server. It answers the next requests by the steps of `script`, later ones by `otherwise`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tls = tls
        self.deployments: list[dict[str, Any]] = []
        self.script: deque[Step] = deque()
        self.otherwise: Step = fine
        self.seen: list[Seen] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that hang up."""

    def shutdown_request(self, request: Any) -> None:
        # The TLS socket owns the plain one.
        self.close_request(request)


def fine(handler: Handler) -> None:
    handler.answer(200, json.dumps(handler.page()).encode())


def chunked(handler: Handler) -> None:
    """The page in chunks, as Kubernetes sends long answers."""
    body = json.dumps(handler.page()).encode()
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for start in range(0, len(body), 1000):
        part = body[start : start + 1000]
        handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


def status(code: int, message: str = "", **headers: str) -> Step:
    """Answer with a Kubernetes Status."""
    body = {"kind": "Status", "status": "Failure", "message": message, "code": code}
    return lambda handler: handler.answer(code, json.dumps(body).encode(), **headers)


def hang(handler: Handler) -> None:
    """Send nothing until the test is over."""
    handler.server.over.wait(120)
    handler.close_connection = True


def trickle(handler: Handler) -> None:
    """Send a byte now and then, each before the read timeout."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.close_connection = True
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b" ")


def cut(handler: Handler) -> None:
    """Send half of the announced length."""
    body = json.dumps(handler.page()).encode()
    handler.answer(200, body[: len(body) // 2], Content_Length=str(len(body)))
    handler.close_connection = True


def cut_chunk(handler: Handler) -> None:
    """Break off inside a chunk."""
    handler.answer(200, b'ffff\r\n{"items": [', Content_Length="", Transfer_Encoding="chunked")
    handler.close_connection = True


def cut_between(handler: Handler) -> None:
    """Break off between two chunks, after a complete JSON document."""
    handler.answer(200, b'd\r\n{"items": []}\r\n', Content_Length="", Transfer_Encoding="chunked")
    handler.close_connection = True


def vanish(handler: Handler) -> None:
    """Hang up without an answer."""
    handler.close_connection = True


class Eks:
    """EKS as moto keeps it."""

    def __init__(self, authority: trustme.CA) -> None:
        self._authority = authority.cert_pem.bytes()

    def add(self, name: str, api: Api | None = None, region: str = "us-east-1", **tags: str) -> Any:
        """Create a cluster whose API is `api`; answers moto's own object."""
        cluster = eks_backends["123456789012"][region].create_cluster(
            name=name,
            role_arn="arn:aws:iam::123456789012:role/cluster",
            resources_vpc_config={"subnetIds": ["subnet-1"]},
            tags=tags,
        )
        if api:
            cluster.endpoint = api.url
        cluster.certificate_authority = {"data": base64.b64encode(self._authority).decode()}
        return cluster


class Discovery:
    """Discovery without sleeping: `pauses` are the seconds that it would have slept."""

    def __init__(self, eks: Eks) -> None:
        self.eks = eks
        self.pauses: list[float] = []

    def clusters(self, limits: Limits = PATIENT) -> Clusters:
        return Clusters(CONTROL_QUEUE, limits, self.pauses.append)

    def workers(self, api: Api, limits: Limits = PATIENT) -> list[str]:
        """The names of the workers in the cluster `prod`, whose API is `api`."""
        if "prod" not in eks_backends["123456789012"]["us-east-1"].clusters:
            self.eks.add("prod", api)
        workers = self.clusters(limits).workers(Cluster("prod", "prod", "us-east-1"))
        return [worker.name for worker in workers]


def closed_port() -> int:
    """A port without a listener."""
    return free_ports(1)[0]


def deployment(name: str, control_queue: str = CONTROL_QUEUE, marked: bool = True) -> dict[str, Any]:
    """A Deployment of workers as Kubernetes lists it."""
    env = {"WORKER_TYPE": "ffmpeg", "QUEUE_NAME": "ffmpeg_job", "CONTROL_PLANE": control_queue}
    return {
        "metadata": {
            "name": name,
            "namespace": "video",
            "uid": "5c2d",
            "annotations": {"elastirecord.kubernetes.io/worker": "enable"} if marked else None,
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:metadata": {"f:annotations": {".": {}}}}}],
        },
        "spec": {
            "replicas": 2,
            "template": {"spec": {"containers": [{"env": [{"name": k, "value": v} for k, v in env.items()]}]}},
        },
        "status": {"replicas": 2, "readyReplicas": 1},
    }
