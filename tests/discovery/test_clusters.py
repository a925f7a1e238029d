"""Listing the workers of clusters over real TLS and HTTP, from APIs that work and APIs that fail."""

import base64
import datetime as dt
import hashlib
import hmac
import logging
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self
from urllib.parse import parse_qsl, quote, urlsplit

import botocore.auth
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from moto.core.exceptions import JsonRESTError
from moto.eks.models import EKSBackend

from elasticrecode.workers import eks
from elasticrecode.workers.eks import Cluster, token
from elasticrecode.workers.kubernetes import ClusterUnreachable, Limits
from tests.fakes import kubernetes
from tests.fakes.kubernetes import HOST, PATIENT, Api, Discovery, deployment, fine, status

HURRIED = PATIENT._replace(read=1.5)
"""For an API that does not answer."""
LIST = "/apis/apps/v1/deployments"


@pytest.fixture(autouse=True)
def no_token_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail any test that logs a token."""
    caplog.set_level(logging.INFO)
    yield
    assert "k8s-aws-v1" not in caplog.text


@pytest.mark.parametrize("answer", [fine, status(401), status(500), kubernetes.cut])
def test_no_token_is_logged_at_debug_level(
    discovery: Discovery, api: Api, caplog: pytest.LogCaptureFixture, answer: kubernetes.Step
) -> None:
    caplog.set_level(logging.DEBUG)
    api.otherwise = answer
    api.deployments = [deployment("a")]
    with suppress(ClusterUnreachable):
        discovery.workers(api)
    assert caplog.records
    (bearer,) = {seen.headers["Authorization"].split()[1] for seen in api.seen}
    assert bearer not in caplog.text
    assert "k8s-aws-v1" not in caplog.text


def refused(discovery: Discovery, api: Api, limits: Limits = PATIENT) -> str:
    """The message for an unreachable cluster. Neither it nor its causes contain the token."""
    with pytest.raises(ClusterUnreachable) as caught:
        discovery.workers(api, limits)
    error: BaseException | None = caught.value
    while error:
        assert "k8s-aws-v1" not in repr(error)
        error = error.__cause__ or error.__context__
    message = str(caught.value)
    assert message.startswith("Cluster prod: ")
    assert message.endswith(".")
    return message


# Listing workers


def test_workers_are_found_among_other_deployments(discovery: Discovery, api: Api) -> None:
    api.deployments = [
        deployment("ours"),
        deployment("theirs", control_queue="other"),
        deployment("website", marked=False),
        {"metadata": None},
        {},
    ]
    discovery.eks.add("prod", api)
    (listed,) = discovery.clusters().workers(Cluster("prod", "prod", "us-east-1"))
    assert listed.worker
    assert (listed.worker.cluster, listed.worker.namespace, listed.worker.name) == ("prod", "video", "ours")
    assert (listed.worker.ready, listed.worker.desired, listed.worker.queue) == (1, 2, "ffmpeg_job")
    assert listed.faults == []


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (1, 1), (500, 1), (501, 2), (1500, 3), (10_000, 20)])
@pytest.mark.parametrize("answer", [fine, kubernetes.chunked], ids=["length", "chunked"])
def test_every_page_is_read_over_one_connection(
    discovery: Discovery, api: Api, count: int, pages: int, answer: kubernetes.Step
) -> None:
    api.deployments = [deployment(f"worker-{n}") for n in range(count)]
    api.otherwise = answer
    workers = discovery.workers(api)
    assert workers == [f"worker-{n}" for n in range(count)]
    assert [(seen.path, seen.query["limit"]) for seen in api.seen] == [(LIST, "500")] * pages
    given = [f"{500 * n}+/=" for n in range(1, pages)]
    assert [seen.query.get("continue") for seen in api.seen] == [None, *given]
    assert len({seen.connection for seen in api.seen}) == 1
    for seen in api.seen:
        assert seen.headers["Authorization"].startswith("Bearer k8s-aws-v1.")
        assert seen.headers["Accept"] == "application/json"
    assert discovery.pauses == []


def test_unusable_workers_are_listed_with_their_faults(discovery: Discovery, api: Api) -> None:
    wrong = deployment("wrong")
    wrong["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "painter"
    odd = deployment("odd")
    odd["spec"]["replicas"] = "two"
    api.deployments = [wrong, odd, deployment("right"), 7]  # type: ignore[list-item]
    discovery.eks.add("prod", api)
    workers = discovery.clusters().workers(Cluster("prod", "prod", "us-east-1"))
    assert {one.name: bool(one.worker) for one in workers} == {"wrong": False, "odd": False, "right": True}
    faults = {one.name: " ".join(one.faults) for one in workers}
    assert "painter" in faults["wrong"]
    assert "replicas" in faults["odd"]


def test_proxies_of_the_environment_are_not_used(
    discovery: Discovery, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.deployments = [deployment("a")]
    discovery.eks.add("prod", api)
    clusters = discovery.clusters()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{kubernetes.closed_port()}")
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{kubernetes.closed_port()}")
    assert len(clusters.workers(Cluster("prod", "prod", "us-east-1"))) == 1


def test_an_endpoint_may_have_a_path(discovery: Discovery, api: Api) -> None:
    discovery.eks.add("prod").endpoint = f"{api.url}/k8s/clusters/c-1/"
    discovery.workers(api)
    assert api.seen[0].path == f"/k8s/clusters/c-1{LIST}"


# Resolving clusters


def test_names_arns_and_tags_resolve_to_clusters(discovery: Discovery) -> None:
    discovery.eks.add("a", video="yes")
    discovery.eks.add("b", video="no")
    discovery.eks.add("c", video="yes")
    home, away = "arn:aws:eks:us-east-1:123456789012:cluster/a", "arn:aws-cn:eks:cn-north-1:123456789012:cluster/a"
    resolve = discovery.clusters().resolve
    assert resolve([]) == []
    assert resolve(["a", "b"]) == [Cluster("a", "a", "us-east-1"), Cluster("b", "b", "us-east-1")]
    assert resolve([home, away]) == [
        Cluster("a", "a", "us-east-1", home),
        Cluster("cn-north-1/a", "a", "cn-north-1", away),
    ]
    assert resolve(["a", home, "a"]) == [Cluster("a", "a", "us-east-1")], "a cluster named twice is resolved once"
    assert [cluster.name for cluster in resolve(["tag:video=yes"])] == ["a", "c"]
    assert resolve(["tag:video=perhaps"]) == []
    assert resolve(["tag:else=yes"]) == []


def test_a_tag_resolves_over_several_pages_of_eks(discovery: Discovery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moto.eks.responses.DEFAULT_MAX_RESULTS", 3)
    for n in range(7):
        discovery.eks.add(f"c{n}", video="yes")
    assert len(discovery.clusters().resolve(["tag:video=yes"])) == 7


def test_a_cluster_in_another_region_is_read_with_a_token_of_that_region(discovery: Discovery, api: Api) -> None:
    discovery.eks.add("prod", api, region="eu-west-1")
    api.deployments = [deployment("a")]
    clusters = discovery.clusters()
    (cluster,) = clusters.resolve(["arn:aws:eks:eu-west-1:123456789012:cluster/prod"])
    (listed,) = clusters.workers(cluster)
    assert listed.worker
    assert listed.worker.cluster == "eu-west-1/prod"
    url = urlsplit(decoded(api.seen[0].headers["Authorization"].removeprefix("Bearer ")))
    assert url.hostname == "sts.eu-west-1.amazonaws.com"
    assert "/eu-west-1/sts/aws4_request" in dict(parse_qsl(url.query))["X-Amz-Credential"]


@pytest.mark.parametrize("entry", ["", "a b", "../x", "tag:novalue", "arn:aws:eks:us-east-1:1:cluster/a", "x" * 101])
def test_an_entry_that_names_no_cluster_is_refused(discovery: Discovery, entry: str) -> None:
    clusters = discovery.clusters()
    (cluster,) = clusters.resolve([entry])
    with pytest.raises(ClusterUnreachable, match="neither a cluster's name or ARN nor tag:key=value"):
        clusters.workers(cluster)


def test_a_missing_cluster_is_unreachable(discovery: Discovery) -> None:
    with pytest.raises(
        ClusterUnreachable, match=r"us-east-1 has no cluster of this name. Correct the option `clusters`"
    ):
        discovery.clusters().workers(Cluster("gone", "gone", "us-east-1"))


def test_a_cluster_of_another_account_is_not_read(discovery: Discovery, api: Api) -> None:
    discovery.eks.add("prod", api)
    clusters = discovery.clusters()
    (cluster,) = clusters.resolve(["arn:aws:eks:us-east-1:999999999999:cluster/prod"])
    with pytest.raises(ClusterUnreachable, match="belongs to another account"):
        clusters.workers(cluster)
    assert api.seen == []


@pytest.mark.parametrize("state", ["CREATING", "DELETING", "FAILED", "PENDING", None])
def test_a_cluster_in_a_state_without_an_api_is_unreachable(discovery: Discovery, api: Api, state: str | None) -> None:
    discovery.eks.add("prod", api).status = state
    assert f"its state is {state}, in which its API does not answer" in refused(discovery, api)
    assert api.seen == []


def test_a_cluster_is_read_while_it_is_updated(discovery: Discovery, api: Api) -> None:
    discovery.eks.add("prod", api).status = "UPDATING"
    assert discovery.workers(api) == []


@pytest.mark.parametrize("endpoint", [None, "", "http://localhost:1", "https://", "localhost"])
def test_a_cluster_without_an_https_endpoint_is_unreachable(
    discovery: Discovery, api: Api, endpoint: str | None
) -> None:
    discovery.eks.add("prod").endpoint = endpoint
    assert "no https endpoint" in refused(discovery, api)


@pytest.mark.parametrize("certificate", [None, {}, {"data": ""}, {"data": "?"}, {"data": "AAAA"}, {"data": "aGVsbG8="}])
def test_an_unreadable_certificate_authority_is_reported(discovery: Discovery, api: Api, certificate: object) -> None:
    discovery.eks.add("prod", api).certificate_authority = certificate
    assert "certificate authority that EKS names for it can't be read" in refused(discovery, api)
    assert api.seen == []


@pytest.mark.parametrize(
    ("code", "remedy"), [("AccessDeniedException", "needs eks:DescribeCluster"), ("ClientException", "ClientException")]
)
def test_a_refusal_of_eks_names_the_missing_permission(
    discovery: Discovery, api: Api, monkeypatch: pytest.MonkeyPatch, code: str, remedy: str
) -> None:
    discovery.eks.add("prod", api)
    fail(monkeypatch, "describe_cluster", code, 400)
    assert remedy in refused(discovery, api)


def test_an_overloaded_eks_is_reported(discovery: Discovery, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    discovery.eks.add("prod", api)
    monkeypatch.setattr("time.sleep", lambda _: None)
    fail(monkeypatch, "describe_cluster", "ServerException", 500)
    assert "Try again in a moment" in refused(discovery, api)


def test_a_refused_search_by_tag_raises(discovery: Discovery, monkeypatch: pytest.MonkeyPatch) -> None:
    discovery.eks.add("a", video="yes")
    for operation, permission in (("describe_cluster", "eks:DescribeCluster"), ("list_clusters", "eks:ListClusters")):
        fail(monkeypatch, operation, "AccessDeniedException", 403)
        with pytest.raises(ClusterUnreachable, match=f"needs {permission}"):
            discovery.clusters().resolve(["tag:video=yes"])


def test_a_cluster_deleted_while_the_tags_are_read_is_left_out(
    discovery: Discovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    discovery.eks.add("a", video="yes")
    fail(monkeypatch, "describe_cluster", "ResourceNotFoundException", 404)
    assert discovery.clusters().resolve(["tag:video=yes"]) == []


def fail(monkeypatch: pytest.MonkeyPatch, operation: str, code: str, http_status: int) -> None:
    """Make an operation of moto's EKS fail."""
    failure = JsonRESTError(code, "no")
    failure.code = http_status

    def refuse(*_: object, **__: object) -> object:
        raise failure

    monkeypatch.setattr(EKSBackend, operation, refuse)


# APIs that refuse


def test_a_role_without_an_access_entry_is_told_to_get_one(discovery: Discovery, api: Api) -> None:
    api.otherwise = status(401, "Unauthorized")
    message = refused(discovery, api)
    assert "role needs an access entry in the cluster: aws eks create-access-entry" in message
    assert len(api.seen) == 1, "a retry would change nothing"


def test_a_role_that_may_not_list_is_told_what_to_apply(discovery: Discovery, api: Api) -> None:
    forbidden = (
        'deployments.apps is forbidden: User "arn:aws:sts::1:assumed-role/discovery/x" cannot list resource '
        '"deployments" in API group "apps" at the cluster scope'
    )
    api.otherwise = status(403, forbidden)
    message = refused(discovery, api)
    assert forbidden in message
    assert "Apply deploy/k8s/discovery there, which grants `list` on deployments" in message
    assert len(api.seen) == 1


def test_a_token_in_an_answer_is_masked(discovery: Discovery, api: Api) -> None:
    def echo(handler: kubernetes.Handler) -> None:
        status(403, f"bad\n\tword {handler.headers['Authorization']}" + "!" * 1000)(handler)

    api.otherwise = echo
    message = refused(discovery, api)  # which checks that the token is absent
    assert "bad word Bearer …!!" in message
    assert len(message) < 700


def test_a_redirect_is_not_followed(discovery: Discovery, api: Api, serve: Callable[..., Api]) -> None:
    elsewhere = serve()
    for code in (301, 302, 307, 308):
        api.otherwise = status(code, Location=f"{elsewhere.url}{LIST}")
        assert f"answers with a redirect ({code}), which was not followed" in refused(discovery, api)
    assert elsewhere.seen == []


def test_an_answer_that_is_no_list_is_reported(discovery: Discovery, api: Api) -> None:
    for body in (b"<html>Please log in</html>", b"", b"{}", b'{"kind": "Status"}', b"[]", b'"\xff"', b"[" * 100_000):
        api.otherwise = lambda handler, body=body: handler.answer(200, body)  # type: ignore[misc]
        message = refused(discovery, api)
        assert "its answer is not a list of Deployments" in message
        assert f"Check whether something else, such as a proxy, answers at {HOST}" in message


@pytest.mark.parametrize("code", [400, 404, 418, 501])
def test_other_refusals_are_reported_without_a_retry(discovery: Discovery, api: Api, code: int) -> None:
    api.otherwise = status(code, "the server could not find the requested resource")
    assert f"does not list Deployments ({code}, the server could not find" in refused(discovery, api)
    assert len(api.seen) == 1


# APIs that fail


@pytest.mark.parametrize(
    "trouble",
    [
        status(500),
        status(502),
        status(503),
        status(504),
        kubernetes.hang,
        kubernetes.cut,
        kubernetes.cut_chunk,
        kubernetes.cut_between,
        kubernetes.vanish,
    ],
    ids=["500", "502", "503", "504", "hang", "cut", "cut-chunk", "cut-between", "vanish"],
)
@pytest.mark.parametrize("page", [1, 2, 3])
def test_temporary_failures_are_retried(discovery: Discovery, api: Api, trouble: kubernetes.Step, page: int) -> None:
    api.deployments = [deployment(f"worker-{n}") for n in range(30)]
    hangs = trouble is kubernetes.hang
    troubles = 1 if hangs else 2  # an API on a machine that stalls may hang once more
    api.script.extend([fine] * (page - 1) + [trouble] * troubles)
    assert discovery.workers(api, (HURRIED if hangs else PATIENT)._replace(page=10)) == [
        f"worker-{n}" for n in range(30)
    ]
    assert len(api.seen) == 3 + len(discovery.pauses)
    assert len(discovery.pauses) >= troubles
    assert hangs or len(discovery.pauses) == troubles
    assert all(0.1 <= pause <= 1 for pause in discovery.pauses)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (status(500, "etcd is away"), "overloaded or broken (500, etcd is away)"),
        (status(429), "overloaded or broken (429)"),
        (kubernetes.hang, "broke off (it does not answer)"),
        (kubernetes.cut, "broke off (its answer was cut off)"),
        (kubernetes.cut_chunk, "broke off (its answer was cut off)"),
        (kubernetes.vanish, "broke off (Remote end closed connection without response)"),
    ],
    ids=["500", "429", "hang", "cut", "cut-chunk", "vanish"],
)
def test_lasting_failures_are_reported_after_three_tries(
    discovery: Discovery, api: Api, trouble: kubernetes.Step, words: str
) -> None:
    api.deployments = [deployment("a")]
    api.otherwise = trouble
    message = refused(discovery, api, HURRIED if trouble is kubernetes.hang else PATIENT)
    assert words in message
    assert "Discovery tries again in a minute" in message
    assert len(api.seen) == 3
    assert len(discovery.pauses) == 2


@pytest.mark.parametrize(
    ("retry_after", "waits"), [("1", 1.0), ("0", 0.0), ("3600", 5.0), (None, None), ("soon", None)]
)
def test_retry_after_is_heeded_up_to_five_seconds(
    discovery: Discovery, api: Api, retry_after: str | None, waits: float | None
) -> None:
    api.deployments = [deployment("a")]
    api.script.append(status(429, "too many requests", **({"Retry_After": retry_after} if retry_after else {})))
    assert discovery.workers(api) == ["a"]
    (pause,) = discovery.pauses
    assert pause == waits or (waits is None and 0.1 <= pause <= 1)


def test_no_pause_exceeds_the_deadline(discovery: Discovery, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elasticrecode.workers.kubernetes._LONGEST_PAUSE_SECONDS", 90.0)
    api.otherwise = status(429, Retry_After="90")
    assert "(429)" in refused(discovery, api, PATIENT._replace(cluster=80.0))
    assert discovery.pauses == []


@pytest.mark.parametrize("trouble", [kubernetes.hang, kubernetes.trickle])
def test_a_slow_answer_meets_the_deadline(discovery: Discovery, api: Api, trouble: kubernetes.Step) -> None:
    api.otherwise = trouble
    begun = time.monotonic()
    message = refused(discovery, api, PATIENT._replace(cluster=0.5))
    assert "it does not answer" in message or "its Deployments were not listed within 0.5 s" in message
    assert time.monotonic() - begun < PATIENT.read - 10


def test_endless_pages_meet_the_deadline(discovery: Discovery, api: Api) -> None:
    endless = b'{"items": [], "metadata": {"continue": "again"}}'
    api.otherwise = lambda handler: handler.answer(200, endless)
    message = refused(discovery, api, PATIENT._replace(cluster=0.5))
    assert "it does not answer" in message or "its Deployments were not listed within 0.5 s" in message


def test_an_expired_list_is_read_from_the_start(discovery: Discovery, api: Api) -> None:
    api.deployments = [deployment(f"worker-{n}") for n in range(25)]
    expired = status(410, "The provided continue parameter is too old")
    api.script.extend([fine, expired, fine, fine, expired])
    workers = discovery.workers(api, PATIENT._replace(page=10))
    assert workers == [f"worker-{n}" for n in range(25)], "each once"
    assert ["continue" in seen.query for seen in api.seen] == [False, True, False, True, True, False, True, True]


def test_a_list_that_expires_three_times_is_given_up(discovery: Discovery, api: Api) -> None:
    api.otherwise = status(410, "The provided continue parameter is too old")
    assert "expired 3 times while it was read" in refused(discovery, api)
    assert len(api.seen) == 3


def test_a_page_over_the_byte_limit_is_refused(discovery: Discovery, api: Api) -> None:
    api.deployments = [deployment(f"worker-{n}") for n in range(100)]
    for answer in (fine, kubernetes.chunked):
        api.otherwise = answer
        assert "larger than 10000 bytes" in refused(discovery, api, PATIENT._replace(page_bytes=10_000))


# TLS


def test_a_certificate_for_another_host_is_refused(discovery: Discovery, serve: Callable[..., Api]) -> None:
    api = serve(host="kubernetes.example")
    message = refused(discovery, api)
    assert "the certificate of localhost is not valid for it" in message
    assert HOST in message
    assert "No token was sent" in message
    assert api.seen == []
    assert discovery.pauses == [], "a retry would change nothing"


def test_a_certificate_of_another_authority_is_refused(discovery: Discovery, serve: Callable[..., Api]) -> None:
    api = serve(certified_by=trustme.CA())
    assert "the certificate of localhost is not valid for it" in refused(discovery, api)
    assert api.seen == []
    assert discovery.pauses == []


def test_authorities_of_this_machine_are_not_trusted(
    discovery: Discovery, serve: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = trustme.CA()
    api = serve(certified_by=other)
    with other.cert_pem.tempfile() as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        assert "the certificate of localhost is not valid for it" in refused(discovery, api)


def test_a_closed_port_is_reported_with_advice(discovery: Discovery, api: Api) -> None:
    cluster = discovery.eks.add("prod", api)
    cluster.endpoint = f"https://{HOST}:{kubernetes.closed_port()}"
    message = refused(discovery, api)
    assert f"{HOST} can't be reached" in message
    assert "If its endpoint is private, run discovery in a VPC that leads there" in message
    assert len(discovery.pauses) == 2


def test_a_server_without_tls_is_unreachable(discovery: Discovery, api: Api) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as plain:
        plain.daemon_threads = True
        thread = threading.Thread(target=plain.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        discovery.eks.add("prod", api).endpoint = f"https://{HOST}:{plain.server_address[1]}"
        assert f"{HOST} can't be reached" in refused(discovery, api)
        plain.shutdown()
        thread.join()


def test_an_authority_without_key_identifiers_is_accepted(discovery: Discovery, serve: Callable[..., Api]) -> None:
    """Python 3.13 requires by default key identifiers, which older authorities of EKS do not have."""
    old = OldAuthority()
    api = serve(certified_by=old)
    api.deployments = [deployment("a")]
    pem = old.pem(old.certificate)
    strict = ssl.create_default_context(cadata=pem)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    address = ("127.0.0.1", api.server_address[1])
    with socket.create_connection(address) as plain, pytest.raises(ssl.SSLCertVerificationError):
        strict.wrap_socket(plain, server_hostname=HOST)
    discovery.eks.add("prod", api).certificate_authority = {"data": base64.b64encode(pem.encode()).decode()}
    assert discovery.workers(api) == ["a"]


class OldAuthority:
    """An authority whose certificates have no key identifiers."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._certify("kubernetes", self._key, authority=True)

    def issue_cert(self, host: str) -> Self:
        """A certificate for a host, with the interface of trustme."""
        self._server_key = ec.generate_private_key(ec.SECP256R1())
        self._server = self._certify(host, self._server_key, authority=False)
        return self

    def configure_cert(self, tls: ssl.SSLContext) -> None:
        key = self._server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with tempfile.NamedTemporaryFile() as file:
            file.write(key + self.pem(self._server).encode())
            file.flush()
            tls.load_cert_chain(file.name)

    def pem(self, certificate: x509.Certificate) -> str:
        return certificate.public_bytes(Encoding.PEM).decode()

    def _certify(self, name: str, key: ec.EllipticCurvePrivateKey, authority: bool) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def test_an_unknown_host_is_unreachable(discovery: Discovery, api: Api) -> None:
    discovery.eks.add("prod", api).endpoint = "https://kubernetes.invalid"
    assert "kubernetes.invalid can't be reached" in refused(discovery, api)


# The token


class Credentials(NamedTuple):
    access_key: str
    secret_key: str
    token: str | None


def decoded(bearer: str) -> str:
    """The signed URL of a token."""
    text = bearer.removeprefix("k8s-aws-v1.")
    assert text != bearer
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


def presigned(name: str, host: str, region: str, credentials: Credentials, at: str) -> str:
    """The request signed as AWS documents it (Signature Version 4, in the query)."""
    day = at[:8]
    scope = f"{day}/{region}/sts/aws4_request"
    parameters = {
        "Action": "GetCallerIdentity",
        "Version": "2011-06-15",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": at,
        "X-Amz-Expires": "60",
        "X-Amz-SignedHeaders": "host;x-k8s-aws-id",
    }
    if credentials.token:
        parameters["X-Amz-Security-Token"] = credentials.token
    query = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in sorted(parameters.items()))
    canonical = (
        f"GET\n/\n{query}\nhost:{host}\nx-k8s-aws-id:{name}\n\nhost;x-k8s-aws-id\n" + hashlib.sha256().hexdigest()
    )
    to_sign = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (day, region, "sts", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    in_order = "&".join(f"{key}={quote(value, safe='')}" for key, value in parameters.items())
    return f"https://{host}/?{in_order}&X-Amz-Signature={signature}"


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sts.us-east-1.amazonaws.com", "us-east-1"),
        ("sts.eu-west-1.amazonaws.com", "eu-west-1"),
        ("sts.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("localhost:4566", "us-east-1"),
    ],
)
@pytest.mark.parametrize("session_token", [None, "IQoJb3JpZ2lu/+=="])
@pytest.mark.parametrize("name", ["a", "ab", "abc", "production_1-b"])
def test_the_token_is_signed_as_aws_documents(
    monkeypatch: pytest.MonkeyPatch, host: str, region: str, session_token: str | None, name: str
) -> None:
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", session_token)
    at = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: at)
    url = decoded(token(name, f"https://{host}", region, credentials))
    assert url == presigned(name, host, region, credentials, "20260102T030405Z")
    given = dict(parse_qsl(urlsplit(url).query))
    assert given["X-Amz-Expires"] == "60"
    assert "x-k8s-aws-id" in given["X-Amz-SignedHeaders"].split(";")
    assert given.get("X-Amz-Security-Token") == session_token


def test_the_token_uses_the_sts_endpoint_of_the_environment(
    discovery: Discovery, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    discovery.workers(api)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://localhost:4566")
    discovery.workers(api)
    usual, embedded = (decoded(seen.headers["Authorization"].removeprefix("Bearer ")) for seen in api.seen)
    assert usual.startswith("https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&")
    assert embedded.startswith("http://localhost:4566/?Action=GetCallerIdentity&")


def test_without_credentials_no_request_is_sent(
    discovery: Discovery, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters = discovery.clusters()
    discovery.eks.add("prod", api)
    clusters.resolve(["tag:video=yes"])
    monkeypatch.setattr(eks._session, "get_credentials", lambda: None)
    with pytest.raises(ClusterUnreachable, match="no AWS credentials"):
        clusters.workers(Cluster("prod", "prod", "us-east-1"))
    assert api.seen == []
