"""`python -m local.cluster`: a stand-in for an EKS cluster, as far as discovery sees one.

It serves the kit's Deployments over TLS. Nothing runs in it: replicas are ready as soon as they are wished for, and at
the start those of each Deployment are as many as there are workers of its queue on this machine. What an administrator
changes is kept in memory; a restart loads the kit again.

It lets in whom EKS lets in. A token is a presigned request that asks STS who signed it; it is sent to the embedded AWS,
and whoever that names may list Deployments, as the kit's role for discovery allows. What falls short of EKS: everybody
is taken for discovery, and the embedded AWS does not check signatures.
"""

import base64
import json
import logging
import os
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

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
_TOKEN = re.compile(r"k8s-aws-v1\.([A-Za-z0-9_-]{1,16384})")
_TOKEN_LIFE = timedelta(minutes=15)
_CLOCK_SKEW = timedelta(minutes=5)
_TOKEN_FIELDS = {
    "Action", "Version", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Security-Token",
    "X-Amz-SignedHeaders", "X-Amz-Signature",
}  # fmt: skip
_ARN = re.compile(r"<Arn>(arn:[^<]+)</Arn>")
_RESOURCE = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/[^/]+(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<part>[^/]+))?"
)
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PUBLIC = ("/readyz", "/version")
_DISCOVERY: dict[str, Json] = {
    "/readyz": {},
    "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [{"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]}],
    },
    "/apis/apps/v1": {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": "apps/v1",
        "resources": [
            {"name": "deployments", "singularName": "deployment", "namespaced": True, "kind": "Deployment",
             "verbs": ["create", "delete", "get", "list", "patch", "update"], "shortNames": ["deploy"]},
            {"name": "deployments/status", "singularName": "", "namespaced": True, "kind": "Deployment",
             "verbs": ["get", "patch", "update"]},
            {"name": "deployments/scale", "singularName": "", "namespaced": True, "kind": "Scale",
             "group": "autoscaling", "version": "v1", "verbs": ["get", "patch", "update"]},
        ],
    },
}  # fmt: skip
"""What kubectl asks first: path → answer."""
_log = logging.getLogger("cluster")


def prepare(place: Place) -> None:
    """Make the authority, the server's certificate and the administrator's token once, and say where the cluster is."""
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
    """Write a file that is never seen half written, nor by other users."""
    written = path.with_suffix(".new")
    written.unlink(missing_ok=True)
    with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    written.replace(path)


def kit(folder: Path, running: Mapping[str, int]) -> list[Json]:
    """The kit's Deployments, scaled to what runs here: queue → its workers, none for any other."""
    return [
        found
        | {
            "metadata": {"namespace": "default"} | found["metadata"],
            "spec": found["spec"] | {"replicas": running.get(_queue(found), 0)},
        }
        for path in sorted(folder.rglob("*.yaml"))
        for found in yaml.safe_load_all(path.read_text())
        if isinstance(found, dict) and found.get("kind") == "Deployment"
    ]


def _queue(deployment: Json) -> str:
    """The queue that the Deployment's first container works on."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    names = (variable.get("value") for variable in container.get("env", ()) if variable["name"] == "QUEUE_NAME")
    return str(next(names, ""))


class Refused(Exception):
    """What Kubernetes answers when it doesn't do what was asked."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    def response(self) -> web.Response:
        """The same as Kubernetes' Status."""
        return web.json_response(
            {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Failure",
                "message": str(self),
                "reason": self.reason,
                "code": self.code,
            },
            status=self.code,
        )


class Key(NamedTuple):
    """What a Deployment is known by. Lists are in this order."""

    namespace: str
    name: str


class Deployments:
    """Deployments by namespace and name. What is handed out or taken in is never changed, only replaced."""

    def __init__(self, found: Iterable[Json] = ()) -> None:
        self._kept: dict[Key, Json] = {}
        self.version = 0
        for deployment in found:
            self.create(deployment["metadata"]["namespace"], deployment)

    def after(self, position: Key | None, namespace: str | None) -> list[Json]:
        """Those that come after a position, in one namespace or in all."""
        return [
            self._kept[key]
            for key in sorted(self._kept)
            if (position is None or key > position) and namespace in (None, key.namespace)
        ]

    def get(self, key: Key) -> Json:
        """One of them. Refused when there is none."""
        if key not in self._kept:
            raise Refused(404, "NotFound", f'deployments.apps "{key.name}" not found')
        return self._kept[key]

    def create(self, namespace: str, wanted: object) -> Json:
        """Add one."""
        asked = _deployment(wanted, Key(namespace, ""))
        key = Key(namespace, asked["metadata"]["name"])
        if key in self._kept:
            raise Refused(409, "AlreadyExists", f'deployments.apps "{key.name}" already exists')
        born = {"uid": str(uuid4()), "creationTimestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "generation": 1}
        return self._keep(key, asked | {"metadata": asked["metadata"] | born, "status": _all_ready(asked["spec"])})

    def replace(self, key: Key, wanted: object) -> Json:
        """Put another spec and other metadata in place of what there is. The replicas follow."""
        kept, asked = self.get(key), _deployment(wanted, key)
        seen = asked["metadata"].get("resourceVersion")
        if seen not in (None, kept["metadata"]["resourceVersion"]):
            raise Refused(
                409, "Conflict", f'deployments.apps "{key.name}" was modified; apply your changes to it as it is now'
            )
        meta = {name: kept["metadata"][name] for name in ("uid", "creationTimestamp", "generation")}
        if asked["spec"] != kept["spec"]:
            meta["generation"] += 1
        scaled = asked["spec"]["replicas"] != kept["spec"]["replicas"]
        status = _all_ready(asked["spec"]) if scaled else kept["status"]
        return self._keep(key, asked | {"metadata": asked["metadata"] | meta, "status": status})

    def set_status(self, key: Key, wanted: object) -> Json:
        """Put another status in place of what there is, until the Deployment is scaled again."""
        match wanted:
            case {"status": dict(status)}:
                return self._keep(key, self.get(key) | {"status": status})
        raise Refused(400, "BadRequest", "a status is needed")

    def delete(self, key: Key) -> Json:
        """Take one away; what it was."""
        found = self.get(key)
        del self._kept[key]
        self.version += 1
        return found

    def _keep(self, key: Key, deployment: Json) -> Json:
        self.version += 1
        metadata = deployment["metadata"] | {"namespace": key.namespace, "resourceVersion": str(self.version)}
        generation = {"observedGeneration": metadata["generation"]}
        self._kept[key] = deployment | {"metadata": metadata, "status": generation | deployment["status"]}
        return self._kept[key]


def _deployment(wanted: Any, key: Key) -> Json:
    """What was sent as a Deployment, its replicas filled in. Refused when it is none, or another's."""
    match wanted:
        case {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": str(name), **meta},
            "spec": dict(spec),
        }:
            pass
        case _:
            raise Refused(400, "BadRequest", "a Deployment of apps/v1 with a name and a spec is needed")
    if not name or name != (key.name or name) or meta.get("namespace", key.namespace) != key.namespace:
        raise Refused(400, "BadRequest", "the name and namespace of the object do not match those of the URL")
    replicas = spec.get("replicas", 1)
    if type(replicas) is not int or replicas < 0:
        raise Refused(422, "Invalid", "spec.replicas must be a whole number that is not negative")
    filled: Json = wanted | {"spec": spec | {"replicas": replicas}}
    return filled


def _all_ready(spec: Json) -> Json:
    """The status of a Deployment all of whose replicas are ready. Kubernetes leaves a 0 out."""
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return dict.fromkeys(counts, spec["replicas"]) if spec["replicas"] else {}


def merged(kept: object, patch: object) -> Any:
    """A JSON merge patch (RFC 7386) applied."""
    if not isinstance(patch, dict):
        return patch
    before = kept if isinstance(kept, dict) else {}
    changed = {name: merged(before.get(name), value) for name, value in patch.items() if value is not None}
    return {name: value for name, value in before.items() if name not in patch} | changed


def question(token: str, aws: URL) -> URL | None:
    """The request to STS that a token is, when it is for `aws` and not too old."""
    encoded = _TOKEN.fullmatch(token)
    if not encoded:
        return None
    try:
        text = base64.urlsafe_b64decode(encoded[1] + "=" * (-len(encoded[1]) % 4)).decode("ascii")
        parts = urlsplit(text)
        pairs = parse_qsl(parts.query, strict_parsing=True)
        fields = dict(pairs)
        signed_at = datetime.strptime(fields.get("X-Amz-Date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    # The token says where the request goes; it may go to one place only.
    here = (parts.scheme, parts.netloc) in ((aws.scheme, f"{host}:{aws.port}") for host in ("localhost", "127.0.0.1"))
    asks = (
        re.fullmatch(r"[!-~]+", text)
        and parts.path in ("", "/")
        and not parts.fragment
        and len(pairs) == len(fields)
        and fields.keys() <= _TOKEN_FIELDS
        and fields.get("Action") == "GetCallerIdentity"
        and "x-k8s-aws-id" in fields.get("X-Amz-SignedHeaders", "").split(";")
    )
    lives = -_CLOCK_SKEW < datetime.now(UTC) - signed_at < _TOKEN_LIFE
    return URL(text, encoded=True) if here and asks and lives else None


class Cluster:
    """The Kubernetes API of the stand-in."""

    def __init__(self, deployments: Deployments, administrator: str, aws: URL) -> None:
        self._deployments = deployments
        self._administrator = administrator
        self._aws = aws
        self._sessions: list[aiohttp.ClientSession] = []

    def application(self) -> web.Application:
        """Its routes."""
        app = web.Application(middlewares=[_as_status, self._guard])
        app.cleanup_ctx.append(self._session)
        for path, answer in _DISCOVERY.items():
            app.router.add_get(path, _answers(answer))
        everywhere, inside = "/apis/apps/v1/deployments", "/apis/apps/v1/namespaces/{namespace}/deployments"
        app.router.add_get(everywhere, self._list)
        app.router.add_get(inside, self._list)
        app.router.add_post(inside, self._create)
        app.router.add_delete(inside + "/{name}", self._delete)
        for method in ("GET", "PUT", "PATCH"):
            app.router.add_route(method, inside + "/{name}{part:(/status|/scale)?}", self._one)
        return app

    async def _session(self, _: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            self._sessions.append(session)
            yield

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let through who is known, to what they may do."""
        if request.path in _PUBLIC:
            return await handler(request)
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or not token.isascii():
            raise Refused(401, "Unauthorized", "Unauthorized")
        if secrets.compare_digest(token, self._administrator):
            return await handler(request)
        user = await self._caller(token)
        if not user:
            raise Refused(401, "Unauthorized", "Unauthorized")
        if request.match_info.handler != self._list or _watches(request):
            raise Refused(403, "Forbidden", _forbidden(request, user))
        return await handler(request)

    async def _caller(self, token: str) -> str | None:
        """Who STS says signed the token."""
        url = question(token, self._aws)
        if url is None:
            return None
        headers = {"x-k8s-aws-id": CLUSTER_NAME}  # a token for another cluster was signed with another name
        try:
            async with self._sessions[0].get(url, headers=headers, allow_redirects=False) as answer:
                said = _ARN.search(await answer.text()) if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError) as error:
            _log.warning("STS could not be asked who signed a token: %s", error)
            return None
        return said[1] if said else None

    async def _list(self, request: web.Request) -> web.Response:
        if _watches(request):
            raise Refused(405, "MethodNotAllowed", "this stand-in can't watch")
        if "labelSelector" in request.query:
            raise Refused(400, "BadRequest", "this stand-in can't select by label")
        limit = request.query.get("limit") or "0"
        if not re.fullmatch(r"[0-9]{1,9}", limit):
            raise Refused(400, "BadRequest", "limit must be a whole number")
        found = self._deployments.after(
            _position(request.query.get("continue", "")), request.match_info.get("namespace")
        )
        if selector := request.query.get("fieldSelector"):
            name = selector.removeprefix("metadata.name=")
            found = [each for each in found if each["metadata"]["name"] == name]
        page = found[: int(limit) or None]
        metadata: Json = {"resourceVersion": str(self._deployments.version)}
        if len(page) < len(found):
            last = page[-1]["metadata"]
            metadata["continue"] = _token(Key(last["namespace"], last["name"]))
            metadata["remainingItemCount"] = len(found) - len(page)
        # As in Kubernetes, what is in a list doesn't say again what it is.
        items = [{name: value for name, value in each.items() if name not in ("apiVersion", "kind")} for each in page]
        return web.json_response(
            {"kind": "DeploymentList", "apiVersion": "apps/v1", "metadata": metadata, "items": items}
        )

    async def _create(self, request: web.Request) -> web.Response:
        created = self._deployments.create(request.match_info["namespace"], await _body(request))
        return web.json_response(created, status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        gone = self._deployments.delete(_key(request))["metadata"]
        details = {"name": gone["name"], "group": "apps", "kind": "deployments", "uid": gone["uid"]}
        return web.json_response(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        )

    async def _one(self, request: web.Request) -> web.Response:
        """Read, replace or patch a Deployment, its status or its scale."""
        key = _key(request)
        read, write = {
            "": (self._deployments.get, self._deployments.replace),
            "/status": (self._deployments.get, self._deployments.set_status),
            "/scale": (self._scale, self._set_scale),
        }[request.match_info["part"]]
        if request.method == "GET":
            return web.json_response(read(key))
        wanted = await _body(request)
        if request.method == "PATCH":
            if request.content_type != "application/merge-patch+json":
                raise Refused(415, "UnsupportedMediaType", "a patch must be application/merge-patch+json")
            wanted = merged(read(key), wanted)
        return web.json_response(write(key, wanted))

    def _scale(self, key: Key) -> Json:
        found = self._deployments.get(key)
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {name: found["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")},
            "spec": {"replicas": found["spec"]["replicas"]},
            "status": {"replicas": found["status"].get("replicas", 0)},
        }

    def _set_scale(self, key: Key, wanted: object) -> Json:
        match wanted:
            case {"spec": {"replicas": replicas}}:
                scaled = merged(self._deployments.get(key), {"spec": {"replicas": replicas}})
                self._deployments.replace(key, scaled)
        return self._scale(key)


def _answers(answer: Json) -> Handler:
    async def answered(_: web.Request) -> web.Response:
        return web.json_response(answer)

    return answered


def _key(request: web.Request) -> Key:
    return Key(request.match_info["namespace"], request.match_info["name"])


async def _body(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError:
        raise Refused(400, "BadRequest", "the body is not JSON") from None


def _watches(request: web.Request) -> bool:
    return request.query.get("watch", "false") not in ("false", "0")


def _token(key: Key) -> str:
    """Where a page ends, as the token that asks for the next one."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _position(token: str) -> Key | None:
    """Where the page before ended. Refused when the token is none of ours."""
    if not token:
        return None
    try:
        namespace, name = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError):
        raise Refused(400, "BadRequest", "continue key is not valid") from None
    return Key(str(namespace), str(name))


def _forbidden(request: web.Request, user: str) -> str:
    """Kubernetes' sentence for what somebody may not do."""
    verb = _VERBS.get(request.method, request.method.lower())
    found = _RESOURCE.fullmatch(request.path)
    if not found:
        return f'forbidden: User "{user}" cannot {verb} path "{request.path}"'
    group, namespace, resource, name, part = found.group("group", "namespace", "resource", "name", "part")
    if verb == "get" and not name:
        verb = "watch" if _watches(request) else "list"
    what = f"{resource}.{group}" if group else resource
    named = f' "{name}"' if name else ""
    whole = f"{resource}/{part}" if part else resource
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    return (
        f'{what}{named} is forbidden: User "{user}" cannot {verb} resource "{whole}" '
        f'in API group "{group or ""}" {where}'
    )


@web.middleware
async def _as_status(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal is told as Kubernetes tells it."""
    try:
        return await handler(request)
    except Refused as refused:
        return refused.response()
    except web.HTTPNotFound:
        return Refused(404, "NotFound", "the server could not find the requested resource").response()
    except web.HTTPMethodNotAllowed:
        return Refused(405, "MethodNotAllowed", "the server does not allow this method here").response()


def main() -> None:
    """Serve on loopback until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    place = Place.read()
    stack = place.stack()
    running = {queue_name(stack[queue]): place.workers for queue in ("CpuQueue", "VmafQueue")}
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(place.cluster_certificate)
    cluster = Cluster(Deployments(kit(KIT, running)), administrator_token(place), URL(place.aws_url))
    web.run_app(
        cluster.application(),
        host="127.0.0.1",
        port=place.k8s_port,
        ssl_context=context,
        print=None,
        shutdown_timeout=2,
    )


if __name__ == "__main__":
    main()
