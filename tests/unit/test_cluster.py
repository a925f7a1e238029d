"""The stand-in for an EKS cluster: over real TLS, and what the embedded AWS knows of it."""

import asyncio
import base64
import json
import os
import re
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import yaml
from aiohttp import web
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

from local.cluster import KIT, Cluster, Deployments, administrator_token, kit, prepare
from local.embedded_aws import know_cluster
from local.place import TOOLS, Place

ALL = "/apis/apps/v1/deployments"
WORKERS = "/apis/apps/v1/namespaces/elasticrecode/deployments"
CPU = WORKERS + "/worker-cpu"
ARN = "arn:aws:sts::000000000000:assumed-role/discovery/function"
CREDENTIALS = Credentials("AKIDEXAMPLE", "secret", "session")
FIELDS = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
OLD = datetime.now(UTC) - timedelta(minutes=16)


def signed(url: str, cluster: str, at: datetime | None = None) -> str:
    """A request to STS, signed as EKS wants it."""
    request = AWSRequest("GET", url, headers={"x-k8s-aws-id": cluster})
    signer = SigV4QueryAuth(CREDENTIALS, "sts", "us-east-1", expires=60)
    with pytest.MonkeyPatch.context() as patch:
        if at:
            patch.setattr("botocore.auth.get_current_datetime", lambda remove_tzinfo=True: at.replace(tzinfo=None))
        signer.add_auth(request)
    return str(request.url)


def token(url: str) -> str:
    """A request to STS as a bearer token."""
    return "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


class Sts:
    """Says who signed a request, when its signature fits, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        sts = self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sts.asked.append(self.path)
                date = parse_qs(urlsplit(self.path).query)["X-Amz-Date"][0]
                at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                url = f"http://{self.headers['Host']}/?{urlencode(FIELDS)}"
                again = signed(url, self.headers["x-k8s-aws-id"], at)
                fits = parse_qs(urlsplit(again).query) == parse_qs(urlsplit(self.path).query)
                self.send_response(200 if fits else 403)
                self.end_headers()
                self.wfile.write(f"<Arn>{ARN}</Arn>".encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.url = f"http://localhost:{self.server.server_address[1]}"

    def token(self, cluster: str = "local", at: datetime | None = None) -> str:
        return token(signed(f"{self.url}/?{urlencode(FIELDS)}", cluster, at))


@pytest.fixture
def sts() -> Iterator[Sts]:
    found = Sts()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


@contextmanager
def serving(app: web.Application, certificate: Path) -> Iterator[str]:
    """The application on a free port; where it is."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(certificate)
    runner = web.AppRunner(app)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=trust).start()
        return int(runner.addresses[0][1])

    try:
        yield f"https://localhost:{asyncio.run_coroutine_threadsafe(start(), loop).result(10)}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place.read({"LOCAL_DIR": str(tmp_path)})
    prepare(found)
    return found


@pytest.fixture
def ask(place: Place, sts: Sts) -> Iterator[Ask]:
    """Asks the cluster, as its administrator where no token is given."""
    administrator = administrator_token(place)
    deployments = Deployments(kit(KIT, {"ffmpeg_job": 2, "vmaf_job": 1}))
    trust = ssl.create_default_context(cafile=place.cluster_authority)
    app = Cluster(deployments, administrator, URL(sts.url)).application()
    with serving(app, place.cluster_certificate) as base:

        def asked(
            method: str, path: str, body: Any = None, bearer: str = administrator, kind: str = ""
        ) -> tuple[int, Any]:
            kind = kind or ("application/merge-patch+json" if method == "PATCH" else "application/json")
            data = None if body is None else json.dumps(body).encode()
            headers = {"Authorization": f"Bearer {bearer}", "Content-Type": kind}
            request = urllib.request.Request(base + path, data, headers, method=method)
            try:
                answer = urllib.request.urlopen(request, timeout=10, context=trust)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                return answer.status, json.load(answer)

        yield asked


def replicas(ask: Ask) -> dict[str, tuple[int, int]]:
    """Name → replicas wished for and ready."""
    listed = ask("GET", ALL)[1]["items"]
    return {
        found["metadata"]["name"]: (found["spec"]["replicas"], found["status"].get("readyReplicas", 0))
        for found in listed
    }


def test_the_kit_is_there_scaled_to_what_runs(ask: Ask) -> None:
    assert replicas(ask) == {
        "worker-cpu": (2, 2),
        "worker-vmaf": (1, 1),
        "worker-gpu": (0, 0),
        "worker-spot": (0, 0),
    }


def test_an_administrator_scales_and_deletes(ask: Ask) -> None:
    assert ask("PATCH", CPU, {"spec": {"replicas": 5}})[0] == 200
    assert replicas(ask)["worker-cpu"] == (5, 5)
    assert ask("PATCH", CPU + "/status", {"status": {"readyReplicas": 3}})[0] == 200
    assert replicas(ask)["worker-cpu"] == (5, 3)
    assert ask("PATCH", CPU, {"metadata": {"annotations": {"note": "x"}}})[1]["status"]["readyReplicas"] == 3
    assert ask("PATCH", CPU + "/scale", {"spec": {"replicas": 0}})[1]["spec"] == {"replicas": 0}
    assert "readyReplicas" not in ask("GET", CPU)[1]["status"], "Kubernetes leaves a 0 out"
    assert ask("DELETE", CPU)[1]["status"] == "Success"
    assert ask("GET", CPU)[1]["reason"] == "NotFound"
    assert "worker-cpu" not in replicas(ask)


def test_an_administrator_makes_and_replaces(ask: Ask) -> None:
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "more"}, "spec": {"template": {}}}
    status, created = ask("POST", WORKERS, made)
    assert (status, created["spec"]["replicas"], created["status"]["readyReplicas"]) == (201, 1, 1)
    assert ask("POST", WORKERS, made)[1]["reason"] == "AlreadyExists"
    status, replaced = ask("PUT", WORKERS + "/more", created | {"spec": {"replicas": 4}})
    assert (status, replaced["status"]["readyReplicas"], replaced["metadata"]["generation"]) == (200, 4, 2)
    assert "template" not in replaced["spec"]
    assert ask("PUT", WORKERS + "/more", created)[1]["reason"] == "Conflict", "it was changed since"
    assert ask("PUT", WORKERS + "/other", replaced)[1]["reason"] == "NotFound"
    assert ask("PUT", CPU, made)[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("GET", "/apis/apps/v1/statefulsets", None, 404, "NotFound"),
        ("GET", ALL + "?watch=true", None, 405, "MethodNotAllowed"),
        ("GET", ALL + "?limit=x", None, 400, "BadRequest"),
        ("GET", ALL + "?continue=x", None, 400, "BadRequest"),
        ("GET", ALL + "?labelSelector=x", None, 400, "BadRequest"),
        ("PATCH", CPU, {"spec": {"replicas": -1}}, 422, "Invalid"),
        ("PATCH", CPU, {"spec": {"replicas": True}}, 422, "Invalid"),
        ("PATCH", CPU + "/scale", {"spec": {"replicas": "2"}}, 422, "Invalid"),
        ("PATCH", CPU + "/status", [], 400, "BadRequest"),
        ("PATCH", CPU, {"metadata": {"name": "other"}}, 400, "BadRequest"),
        ("PATCH", CPU, "x", 400, "BadRequest"),
        ("POST", WORKERS, {"kind": "Pod"}, 400, "BadRequest"),
        ("POST", ALL, {}, 405, "MethodNotAllowed"),
    ],
)
def test_what_it_can_not_do_is_told(ask: Ask, method: str, path: str, body: Any, status: int, reason: str) -> None:
    got, told = ask(method, path, body)
    assert (got, told["kind"], told["reason"], told["code"]) == (status, "Status", reason, status)
    assert replicas(ask)["worker-cpu"] == (2, 2)


def test_only_merge_patches(ask: Ask) -> None:
    assert ask("PATCH", CPU, {}, kind="application/strategic-merge-patch+json")[1]["reason"] == "UnsupportedMediaType"


def test_a_list_comes_in_pages(ask: Ask, sts: Sts) -> None:
    names, path = [], f"{ALL}?limit=3"
    status, page = ask("GET", path, bearer=sts.token())
    assert (status, page["kind"], page["metadata"]["remainingItemCount"]) == (200, "DeploymentList", 1)
    names += [found["metadata"]["name"] for found in page["items"]]
    ask("DELETE", f"{WORKERS}/{names[-1]}")
    _, page = ask("GET", f"{path}&continue={page['metadata']['continue']}", bearer=sts.token())
    names += [found["metadata"]["name"] for found in page["items"]]
    assert names == ["worker-cpu", "worker-gpu", "worker-spot", "worker-vmaf"]
    assert "continue" not in page["metadata"]


def test_a_token_that_sts_knows_lists(ask: Ask, sts: Sts) -> None:
    assert ask("GET", ALL, bearer=sts.token())[0] == 200
    assert len(sts.asked) == 1


def test_a_token_for_another_cluster_is_nobodys(ask: Ask, sts: Sts) -> None:
    assert ask("GET", ALL, bearer=sts.token("other"))[1]["reason"] == "Unauthorized"
    assert len(sts.asked) == 1


def test_a_token_for_another_host_goes_nowhere(ask: Ask, sts: Sts) -> None:
    other = Sts()
    try:
        other.server.timeout = 0
        for bearer in (
            other.token(),
            token(signed(f"{sts.url}@{other.url.removeprefix('http://')}/?{urlencode(FIELDS)}", "local")),
        ):
            status, told = ask("GET", ALL, bearer=bearer)
            assert (status, told["reason"], told["kind"]) == (401, "Unauthorized", "Status")
            other.server.handle_request()
        assert not other.asked
        assert not sts.asked
    finally:
        other.server.server_close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda url: url.replace("http://", "https://"),
        lambda url: url.replace("/?", "/other?"),
        lambda url: url.replace("GetCallerIdentity", "GetSessionToken"),
        lambda url: url.replace("x-k8s-aws-id", "x-other"),
        lambda url: url + "&Action=GetCallerIdentity",
        lambda url: url + "&Other=1",
        lambda url: url + "#x",
        lambda url: url + "&Version=2011\r\nHost: other",
        lambda url: re.sub("X-Amz-Date=[^&]+", "X-Amz-Date=now", url),
        lambda url: "http://[",
        lambda url: "",
    ],
)
def test_what_is_no_token_is_not_asked_about(ask: Ask, sts: Sts, spoil: Callable[[str], str]) -> None:
    bearer = token(spoil(signed(f"{sts.url}/?{urlencode(FIELDS)}", "local")))
    assert ask("GET", ALL, bearer=bearer)[0] == 401
    assert not sts.asked


@pytest.mark.parametrize("bearer", ["", "x", "k8s-aws-v1.", "k8s-aws-v1.%%%", "k8s-aws-v1.é", "k8s-aws-v1.AAAAA"])
def test_nor_is_what_does_not_look_like_one(ask: Ask, sts: Sts, bearer: str) -> None:
    assert ask("GET", ALL, bearer=bearer)[0] == 401
    assert not sts.asked


def test_a_token_that_is_old_is_nobodys(ask: Ask, sts: Sts) -> None:
    assert ask("GET", ALL, bearer=sts.token(at=OLD))[0] == 401
    assert not sts.asked


@pytest.mark.parametrize(
    ("method", "path", "sentence"),
    [
        (
            "GET",
            CPU,
            f'deployments.apps "worker-cpu" is forbidden: User "{ARN}" cannot get resource "deployments" '
            'in API group "apps" in the namespace "elasticrecode"',
        ),
        (
            "GET",
            ALL + "?watch=1",
            f'deployments.apps is forbidden: User "{ARN}" cannot watch resource "deployments" '
            'in API group "apps" at the cluster scope',
        ),
        (
            "PATCH",
            CPU + "/scale",
            f'deployments.apps "worker-cpu" is forbidden: User "{ARN}" cannot patch resource "deployments/scale" '
            'in API group "apps" in the namespace "elasticrecode"',
        ),
        (
            "POST",
            WORKERS,
            f'deployments.apps is forbidden: User "{ARN}" cannot create resource "deployments" '
            'in API group "apps" in the namespace "elasticrecode"',
        ),
        (
            "GET",
            "/api/v1/secrets",
            f'secrets is forbidden: User "{ARN}" cannot list resource "secrets" in API group "" at the cluster scope',
        ),
        ("GET", "/metrics", f'forbidden: User "{ARN}" cannot get path "/metrics"'),
    ],
)
def test_discovery_may_only_list(ask: Ask, sts: Sts, method: str, path: str, sentence: str) -> None:
    status, told = ask(method, path, None if method == "GET" else {}, bearer=sts.token())
    assert (status, told["reason"], told["message"]) == (403, "Forbidden", sentence)


def test_discovery_may_not_delete(ask: Ask, sts: Sts) -> None:
    assert ask("DELETE", CPU, bearer=sts.token())[0] == 403
    assert replicas(ask)["worker-cpu"] == (2, 2)


def test_only_its_authority_is_trusted(place: Place, sts: Sts) -> None:
    app = Cluster(Deployments(), administrator_token(place), URL(sts.url)).application()
    with (
        serving(app, place.cluster_certificate) as base,
        pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        urllib.request.urlopen(f"{base}/readyz", timeout=10, context=ssl.create_default_context())


def test_what_was_made_once_is_kept(place: Place) -> None:
    names = ("ca.pem", "server.pem", "kubeconfig")
    before = [(place.cluster / name).read_bytes() for name in names]
    prepare(place)
    assert [(place.cluster / name).read_bytes() for name in names] == before
    prepare(place._replace(k8s_port=7000))
    known = yaml.safe_load(place.kubeconfig.read_text())
    (server,) = (found["cluster"]["server"] for found in known["clusters"])
    assert server == "https://localhost:7000"
    assert known == yaml.safe_load(before[2]) | {"clusters": known["clusters"]}
    assert all((place.cluster / name).stat().st_mode & 0o077 == 0 for name in ("server.pem", "kubeconfig"))


_DESCRIBE = """
import json
from ministack.core.persistence import load_state, save_state
from ministack.services import eks
eks.load_persisted_state(load_state("eks"))
found = json.loads(eks._describe_cluster("local")[2])["cluster"]
tags = json.loads(eks._list_tags(found["arn"])[2])["tags"]
print(json.dumps([found, tags, json.loads(eks._list_clusters({})[2])["clusters"]]))
eks._untag_resource(found["arn"], {"tagKeys": ["elasticrecode"]})
save_state("eks", eks.get_state())
"""


def test_the_embedded_aws_knows_the_cluster(tmp_path: Path) -> None:
    def told() -> Any:
        program: list[str | Path] = [TOOLS / "aws" / "bin" / "python", "-c", _DESCRIBE]
        kept = {"PERSIST_STATE": "1", "STATE_DIR": str(tmp_path), "PATH": os.defpath}
        return json.loads(subprocess.run(program, env=kept, check=True, capture_output=True).stdout)

    know_cluster(tmp_path, 7000, b"authority")
    cluster, tags, names = told()
    assert names == ["local"]
    assert (cluster["status"], cluster["endpoint"]) == ("ACTIVE", "https://localhost:7000")
    assert cluster["arn"] == "arn:aws:eks:us-east-1:000000000000:cluster/local"
    assert base64.b64decode(cluster["certificateAuthority"]["data"]) == b"authority"
    assert cluster["tags"] == tags == {"elasticrecode": "enable"}
    know_cluster(tmp_path, 7001, b"another")
    again, tags, names = told()
    assert names == ["local"]
    assert again["endpoint"] == "https://localhost:7001"
    assert base64.b64decode(again["certificateAuthority"]["data"]) == b"another"
    assert again["createdAt"] == cluster["createdAt"]
    assert tags == {}, "what somebody changed stays so"
