"""`python -m local.cluster`: a stand-in for an EKS cluster, as far as discovery and `kubectl scale` need one.

It serves the Deployments of `deploy/k8s` over TLS and keeps changes in memory; a restart loads the files again. No
containers run: all replicas are ready at once. At the start each Deployment has as many replicas as this machine has
workers of its queue.

The administrator's token (in the kubeconfig) may do everything. Any caller with a token of EKS may list Deployments,
as discovery does: such a token is a presigned `GetCallerIdentity` request, which the embedded AWS must accept. Unlike
EKS, no access entries decide who may list; the embedded AWS checks signatures with `IAM=enforced` alone.
"""

import base64
import json
import logging
import os
import secrets
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import aiohttp
import trustme
import yaml
from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from local.place import CLUSTER_NAME, ROOT, Place
from local.processes import queue_name

Json = dict[str, Any]

KIT = ROOT / "deploy" / "k8s"
_ADMINISTRATOR = "kubernetes-admin"
_TOKEN_PREFIX = "k8s-aws-v1."  # noqa: S105
_TOKEN_LIFE = timedelta(minutes=15)
_HEALTH = "/readyz"
_DISCOVERY: dict[str, Json] = {
    _HEALTH: {},
    "/apis": {"groups": [{"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]}]},
    "/apis/apps/v1": {
        "groupVersion": "apps/v1",
        "resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": True, "verbs": ["get", "list", "patch"]},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": True, "verbs": ["patch"]},
        ],
    },
}
"""The API's description of itself, which kubectl reads first: path → answer."""
_log = logging.getLogger("cluster")


def prepare(place: Place) -> None:
    """Create the authority, the server's certificate and the administrator's token once; write the kubeconfig."""
    place.cluster.mkdir(parents=True, exist_ok=True)
    if not place.cluster_certificate.exists():
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(place.cluster_authority)
        _write_private(place.cluster_certificate, certificate.private_key_and_cert_chain_pem.bytes())
    token = administrator_token(place) if place.kubeconfig.exists() else secrets.token_urlsafe(32)
    data = base64.b64encode(place.cluster_authority.read_bytes()).decode()
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": CLUSTER_NAME, "cluster": {"server": place.kubernetes_url, "certificate-authority-data": data}}
        ],
        "users": [{"name": _ADMINISTRATOR, "user": {"token": token}}],
        "contexts": [{"name": CLUSTER_NAME, "context": {"cluster": CLUSTER_NAME, "user": _ADMINISTRATOR}}],
        "current-context": CLUSTER_NAME,
    }
    _write_private(place.kubeconfig, yaml.safe_dump(kubeconfig, sort_keys=False).encode())


def administrator_token(place: Place) -> str:
    """The administrator's token, from the kubeconfig."""
    return str(yaml.safe_load(place.kubeconfig.read_text())["users"][0]["user"]["token"])


def _write_private(path: Path, content: bytes) -> None:
    """Write a file atomically, readable by its owner alone."""
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    unfinished.replace(path)


def kit(folder: Path, running: Mapping[str, int]) -> list[Json]:
    """The Deployments in a folder's manifests, with the replicas of `running` (queue → workers), else 0."""
    return [
        manifest
        | {
            "metadata": {"namespace": "default"} | manifest["metadata"],
            "spec": manifest["spec"] | {"replicas": running.get(_queue(manifest), 0)},
        }
        for path in sorted(folder.rglob("*.yaml"))
        for manifest in yaml.safe_load_all(path.read_text())
        if isinstance(manifest, dict) and manifest.get("kind") == "Deployment"
    ]


def _queue(deployment: Json) -> str:
    """The queue of the Deployment's first container."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    names = (variable.get("value") for variable in container.get("env", ()) if variable["name"] == "QUEUE_NAME")
    return str(next(names, ""))


def sts_request(token: str, aws_port: int) -> URL | None:
    """The presigned GetCallerIdentity request in a token of EKS; None unless it is for the embedded AWS and in time."""
    try:
        url = urlsplit(base64.urlsafe_b64decode(token.removeprefix(_TOKEN_PREFIX) + "==").decode("ascii"))
        fields = dict(parse_qsl(url.query, strict_parsing=True))
        signed_at = datetime.strptime(fields["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except (ValueError, KeyError):
        return None
    valid = (
        token.startswith(_TOKEN_PREFIX)
        and url.netloc in (f"localhost:{aws_port}", f"127.0.0.1:{aws_port}")
        and fields.get("Action") == "GetCallerIdentity"
        and "x-k8s-aws-id" in fields.get("X-Amz-SignedHeaders", "").split(";")
        and datetime.now(UTC) - signed_at < _TOKEN_LIFE
    )
    return URL(f"http://{url.netloc}/?{urlencode(fields, quote_via=quote)}", encoded=True) if valid else None


class Cluster:
    """The Kubernetes API over Deployments by namespace and name."""

    def __init__(self, deployments: Iterable[Json], administrator: str, aws_port: int) -> None:
        self._deployments: dict[tuple[str, str], Json] = {}
        self._version = 0
        self._administrator = administrator
        self._aws_port = aws_port
        for deployment in deployments:
            self._keep(deployment["metadata"]["namespace"], deployment)

    def application(self) -> web.Application:
        """The API's routes."""
        app = web.Application(middlewares=[_as_status, self._authorize])
        for path, answer in _DISCOVERY.items():
            app.router.add_get(path, _constant(answer))
        collection = "/apis/apps/v1/namespaces/{namespace}/deployments"
        app.router.add_get("/apis/apps/v1/deployments", self._list)
        app.router.add_get(collection, self._list)
        app.router.add_post(collection, self._create)
        app.router.add_get(collection + "/{name}", self._get)
        app.router.add_patch(collection + "/{name}{part:(/scale)?}", self._patch)
        app.router.add_delete(collection + "/{name}", self._delete)
        return app

    @web.middleware
    async def _authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The administrator may do everything, a caller that STS knows may list."""
        if request.path == _HEALTH:
            return await handler(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not secrets.compare_digest(token.encode(errors="surrogateescape"), self._administrator.encode()):
            if not await self._is_known(token):
                raise web.HTTPUnauthorized(text="Unauthorized")
            if request.match_info.handler != self._list:
                raise web.HTTPForbidden(text=f"discovery cannot {request.method} {request.path}, only list deployments")
        return await handler(request)

    async def _is_known(self, token: str) -> bool:
        """Whether the embedded AWS accepts the presigned request, sent for this cluster's name."""
        url = sts_request(token, self._aws_port)
        if url is None:
            return False
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
                session.get(url, headers={"x-k8s-aws-id": CLUSTER_NAME}) as answer,
            ):
                if answer.status != 200:
                    _log.warning("STS refuses a token with %d: %s", answer.status, await answer.text())
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError) as error:
            _log.warning("STS does not answer, so a token is refused: %s", error)
            return False

    async def _list(self, request: web.Request) -> web.Response:
        """All Deployments, or those of a namespace. Like any Kubernetes API it may ignore `limit`, and does."""
        if request.query.get("watch", "false") not in ("false", "0"):
            raise web.HTTPMethodNotAllowed("GET", ["GET"], text="this stand-in cannot watch")
        namespace = request.match_info.get("namespace")
        items = [kept for key, kept in sorted(self._deployments.items()) if namespace in (None, key[0])]
        metadata = {"resourceVersion": str(self._version)}
        listed = {"kind": "DeploymentList", "apiVersion": "apps/v1", "metadata": metadata, "items": items}
        return web.json_response(listed)

    async def _create(self, request: web.Request) -> web.Response:
        namespace, deployment = request.match_info["namespace"], _checked(await _body(request))
        if (namespace, deployment["metadata"]["name"]) in self._deployments:
            message = f'deployments.apps "{deployment["metadata"]["name"]}" already exists'
            raise web.HTTPConflict(reason="AlreadyExists", text=message)
        return web.json_response(self._keep(namespace, deployment), status=201)

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._find(request))

    async def _patch(self, request: web.Request) -> web.Response:
        """Change a Deployment, or its Scale: a patch of that fits the Deployment too."""
        before = self._find(request)
        after = _checked(merged(before, await _body(request)))
        if after["metadata"]["name"] != before["metadata"]["name"]:
            raise web.HTTPBadRequest(text="metadata.name cannot be changed")
        kept = self._keep(request.match_info["namespace"], after)
        return web.json_response(_scale(kept) if request.match_info["part"] else kept)

    async def _delete(self, request: web.Request) -> web.Response:
        metadata = self._find(request)["metadata"]
        del self._deployments[metadata["namespace"], metadata["name"]]
        return web.json_response({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})

    def _find(self, request: web.Request) -> Json:
        """The Deployment of the path. 404 when there is none."""
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        try:
            return self._deployments[namespace, name]
        except KeyError:
            raise web.HTTPNotFound(text=f'deployments.apps "{name}" not found') from None

    def _keep(self, namespace: str, deployment: Json) -> Json:
        """Store a Deployment whose replicas are all ready."""
        self._version += 1
        metadata = deployment["metadata"] | {"namespace": namespace, "resourceVersion": str(self._version)}
        replicas = deployment["spec"].setdefault("replicas", 1)
        # Kubernetes leaves counts of 0 out.
        status = {"replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas} if replicas else {}
        kept = deployment | {"metadata": metadata, "status": status}
        self._deployments[namespace, metadata["name"]] = kept
        return kept


def merged(target: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386) applied."""
    if not isinstance(patch, dict):
        return patch
    before = target if isinstance(target, dict) else {}
    changed = {name: merged(before.get(name), value) for name, value in patch.items() if value is not None}
    return {name: value for name, value in before.items() if name not in patch} | changed


def _scale(deployment: Json) -> Json:
    """The Scale of a Deployment, for kubectl."""
    metadata = {name: deployment["metadata"][name] for name in ("name", "namespace", "resourceVersion")}
    spec = {"replicas": deployment["spec"]["replicas"]}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": spec}


def _checked(body: Any) -> Json:
    """The body, when it is a Deployment. 400 when it is not, 422 when its replicas are not a count."""
    match body:
        case {"kind": "Deployment", "metadata": {"name": str()}, "spec": dict(spec)}:
            replicas = spec.get("replicas", 1)
            if type(replicas) is not int or replicas < 0:
                raise web.HTTPUnprocessableEntity(reason="Invalid", text="spec.replicas must be a whole number >= 0")
            checked: Json = body
            return checked
    raise web.HTTPBadRequest(text="the body must be a Deployment of apps/v1 with a name and a spec")


async def _body(request: web.Request) -> Any:
    if request.method == "PATCH" and request.content_type != "application/merge-patch+json":
        raise web.HTTPUnsupportedMediaType(text="a patch must be application/merge-patch+json")
    try:
        return json.loads(await request.read())
    except ValueError:
        raise web.HTTPBadRequest(text="the body is not JSON") from None


def _constant(answer: Json) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.json_response(answer)

    return handle


@web.middleware
async def _as_status(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as the Status objects of Kubernetes."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        status: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": error.status}
        status |= {"message": error.text, "reason": error.reason.replace(" ", "")}
        return web.json_response(status, status=error.status)


def main() -> None:
    """Serve on loopback until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    place = Place.read()
    stack = place.stack()
    running = {queue_name(stack[queue]): place.workers for queue in ("CpuQueue", "VmafQueue")}
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(place.cluster_certificate)
    cluster = Cluster(kit(KIT, running), administrator_token(place), place.aws_port)
    app = cluster.application()
    web.run_app(app, host="127.0.0.1", port=place.k8s_port, ssl_context=context, print=None, shutdown_timeout=2)


if __name__ == "__main__":
    main()
