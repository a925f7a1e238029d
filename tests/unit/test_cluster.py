"""The stand-in for an EKS cluster over TLS, and the embedded AWS's description of it."""

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
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from local.cluster import KIT, Cluster, administrator_token, kit, prepare
from local.embedded_aws import know_cluster
from local.place import TOOLS, Place
from tests.fakes.sts import Sts, presigned, token

ALL = "/apis/apps/v1/deployments"
WORKERS = "/apis/apps/v1/namespaces/elasticrecode/deployments"
CPU = WORKERS + "/worker-cpu"
OLD = datetime.now(UTC) - timedelta(minutes=16)


@pytest.fixture
def sts() -> Iterator[Sts]:
    with Sts().serving() as serving:
        yield serving


@contextmanager
def serving(app: web.Application, certificate: Path) -> Iterator[str]:
    """The URL of the application, which listens on a free port while in the context."""
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
        yield f"https://localhost:{asyncio.run_coroutine_threadsafe(start(), loop).result(60)}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    prepared = Place.read({"LOCAL_DIR": str(tmp_path)})
    prepare(prepared)
    return prepared


@pytest.fixture
def ask(place: Place, sts: Sts) -> Iterator[Ask]:
    """Sends a request to the cluster, as its administrator unless a token is given."""
    administrator = administrator_token(place)
    trust = ssl.create_default_context(cafile=place.cluster_authority)
    app = Cluster(kit(KIT, {"ffmpeg_job": 2, "vmaf_job": 1}), administrator, sts.port).application()
    with serving(app, place.cluster_certificate) as base:

        def send(
            method: str, path: str, body: Any = None, bearer: str = administrator, kind: str = ""
        ) -> tuple[int, Any]:
            kind = kind or ("application/merge-patch+json" if method == "PATCH" else "application/json")
            data = None if body is None else json.dumps(body).encode()
            headers = {"Authorization": f"Bearer {bearer}", "Content-Type": kind}
            request = urllib.request.Request(base + path, data, headers, method=method)
            try:
                answer = urllib.request.urlopen(request, timeout=60, context=trust)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                return answer.status, json.load(answer)

        yield send


def replicas(ask: Ask) -> dict[str, tuple[int, int]]:
    """Name → replicas in spec and status."""
    return {
        item["metadata"]["name"]: (item["spec"]["replicas"], item["status"].get("readyReplicas", 0))
        for item in ask("GET", ALL)[1]["items"]
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
    assert ask("PATCH", CPU + "/scale", {"spec": {"replicas": 0}})[1]["spec"] == {"replicas": 0}
    assert "readyReplicas" not in ask("GET", CPU)[1]["status"], "Kubernetes leaves a 0 out"
    assert ask("DELETE", CPU)[1]["status"] == "Success"
    status, answer = ask("GET", CPU)
    assert (status, answer["reason"], answer["message"]) == (
        404,
        "NotFound",
        'deployments.apps "worker-cpu" not found',
    )
    assert "worker-cpu" not in replicas(ask)


def test_an_administrator_creates_and_patches(ask: Ask) -> None:
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "more"}, "spec": {"template": {}}}
    status, created = ask("POST", WORKERS, manifest)
    assert (status, created["spec"]["replicas"], created["status"]["readyReplicas"]) == (201, 1, 1)
    assert ask("POST", WORKERS, manifest)[1]["reason"] == "AlreadyExists"
    status, patched = ask("PATCH", WORKERS + "/more", {"spec": {"replicas": 4, "template": None}})
    assert (status, patched["status"]["readyReplicas"]) == (200, 4)
    assert "template" not in patched["spec"]
    assert ask("GET", WORKERS + "/more")[1] == patched
    assert patched["metadata"]["resourceVersion"] != created["metadata"]["resourceVersion"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("GET", "/apis/apps/v1/statefulsets", None, 404, "NotFound"),
        ("GET", ALL + "?watch=true", None, 405, "MethodNotAllowed"),
        ("PATCH", WORKERS + "/none/scale", {"spec": {"replicas": 1}}, 404, "NotFound"),
        ("PATCH", CPU, {"spec": {"replicas": -1}}, 422, "Invalid"),
        ("PATCH", CPU, {"spec": {"replicas": True}}, 422, "Invalid"),
        ("PATCH", CPU + "/scale", {"spec": {"replicas": "2"}}, 422, "Invalid"),
        ("PATCH", CPU + "/scale", "x", 400, "BadRequest"),
        ("PATCH", CPU, {"metadata": {"name": "other"}}, 400, "BadRequest"),
        ("PATCH", CPU, "x", 400, "BadRequest"),
        ("POST", WORKERS, {"kind": "Pod"}, 400, "BadRequest"),
        ("POST", ALL, {}, 405, "MethodNotAllowed"),
    ],
)
def test_a_refusal_is_a_status_with_its_reason(
    ask: Ask, method: str, path: str, body: Any, status: int, reason: str
) -> None:
    got, answer = ask(method, path, body)
    assert (got, answer["kind"], answer["reason"], answer["code"]) == (status, "Status", reason, status)
    assert replicas(ask)["worker-cpu"] == (2, 2)


def test_only_merge_patches(ask: Ask) -> None:
    assert ask("PATCH", CPU, {}, kind="application/strategic-merge-patch+json")[1]["reason"] == "UnsupportedMediaType"


def test_a_caller_that_sts_knows_may_list(ask: Ask, sts: Sts) -> None:
    status, listed = ask("GET", f"{ALL}?limit=500", bearer=sts.token())
    assert (status, listed["kind"]) == (200, "DeploymentList")
    assert [item["metadata"]["name"] for item in listed["items"]] == [
        "worker-cpu",
        "worker-gpu",
        "worker-spot",
        "worker-vmaf",
    ]
    assert "continue" not in listed["metadata"]
    assert len(sts.requests) == 1


def test_a_token_for_another_cluster_is_refused(ask: Ask, sts: Sts) -> None:
    assert ask("GET", ALL, bearer=sts.token("other"))[1]["reason"] == "Unauthorized"
    assert len(sts.requests) == 1


def test_a_token_for_another_host_is_refused_and_that_host_gets_no_request(ask: Ask) -> None:
    with Sts().serving() as other:
        status, answer = ask("GET", ALL, bearer=other.token())
        assert (status, answer["reason"], answer["kind"]) == (401, "Unauthorized", "Status")
        assert not other.requests


@pytest.mark.parametrize(
    "spoil",
    [
        lambda url: url.replace("GetCallerIdentity", "GetSessionToken"),
        lambda url: url.replace("x-k8s-aws-id", "x-other"),
        lambda url: url + "&Action=GetSessionToken",
        lambda url: re.sub("X-Amz-Date=[^&]+", "X-Amz-Date=now", url),
        lambda url: "http://[",
        lambda url: "",
    ],
)
def test_a_malformed_token_is_refused_without_a_request_to_sts(ask: Ask, sts: Sts, spoil: Callable[[str], str]) -> None:
    assert ask("GET", ALL, bearer=token(spoil(presigned(sts.url))))[0] == 401
    assert not sts.requests


@pytest.mark.parametrize("bearer", ["", "x", "k8s-aws-v1.", "k8s-aws-v1.%%%", "k8s-aws-v1.é", "k8s-aws-v1.AAAAA"])
def test_a_word_that_is_no_token_is_refused_without_a_request_to_sts(ask: Ask, sts: Sts, bearer: str) -> None:
    assert ask("GET", ALL, bearer=bearer)[0] == 401
    assert not sts.requests


def test_an_expired_token_is_refused(ask: Ask, sts: Sts) -> None:
    assert ask("GET", ALL, bearer=sts.token(at=OLD))[0] == 401
    assert not sts.requests


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", CPU), ("PATCH", CPU + "/scale"), ("POST", WORKERS), ("DELETE", CPU), ("GET", "/apis"), ("GET", "/none")],
)
def test_discovery_may_only_list(ask: Ask, sts: Sts, method: str, path: str) -> None:
    body: Any = None if method in ("GET", "DELETE") else {}
    status, answer = ask(method, path, body, bearer=sts.token())
    assert (status, answer["reason"]) == (403, "Forbidden")
    assert answer["message"] == f"discovery cannot {method} {path}, only list deployments"
    assert replicas(ask)["worker-cpu"] == (2, 2)


def test_only_its_authority_is_trusted(place: Place, sts: Sts) -> None:
    app = Cluster([], administrator_token(place), sts.port).application()
    with (
        serving(app, place.cluster_certificate) as base,
        pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        urllib.request.urlopen(f"{base}/readyz", timeout=60, context=ssl.create_default_context())


def test_certificates_and_token_are_created_once(place: Place) -> None:
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
    def described() -> Any:
        program: list[str | Path] = [TOOLS / "aws" / "bin" / "python", "-c", _DESCRIBE]
        kept = {"PERSIST_STATE": "1", "STATE_DIR": str(tmp_path), "PATH": os.defpath}
        return json.loads(subprocess.run(program, env=kept, check=True, capture_output=True).stdout)

    know_cluster(tmp_path, 7000, b"authority")
    cluster, tags, names = described()
    assert names == ["local"]
    assert (cluster["status"], cluster["endpoint"]) == ("ACTIVE", "https://localhost:7000")
    assert cluster["arn"] == "arn:aws:eks:us-east-1:000000000000:cluster/local"
    assert base64.b64decode(cluster["certificateAuthority"]["data"]) == b"authority"
    assert cluster["tags"] == tags == {"elasticrecode": "enable"}
    know_cluster(tmp_path, 7001, b"another")
    again, tags, names = described()
    assert names == ["local"]
    assert again["endpoint"] == "https://localhost:7001"
    assert base64.b64decode(again["certificateAuthority"]["data"]) == b"another"
    assert again["createdAt"] == cluster["createdAt"]
    assert tags == {}, "a removed tag stays removed"
