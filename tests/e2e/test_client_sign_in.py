"""The client signs in with each `auth` on a stack of its own: it works as a user, and another user's job is refused."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import botocore.session
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from elasticrecode_client import Client, Cognito, ConnectionFailed, Forbidden, NotFound, Problem, SigV4, Token
from elasticrecode_client.auth import Auth
from local import __main__ as local
from local import aws
from local.place import REGION, Place
from local.processes import Supervisor
from tests.e2e.conftest import LEASE_SECONDS, PASSWORD, TENANTS, Deployed, free_ports

ANN, BOB = TENANTS
AUDIENCE = "elasticrecode"
FFMPEG: Any = {"ffmpeg": {"codec": "h264", "scale": "240p", "bitrate": "1M"}}
pytestmark = pytest.mark.timeout(900)


class Stack:
    """A stack with one kind of `auth`, and how users sign in. `addresses` are arguments of the client."""

    def __init__(self, kind: str, deployed: Deployed, auth_of: Callable[[str], Auth], **addresses: str) -> None:
        self.kind, self.deployed, self._auth_of, self._addresses = kind, deployed, auth_of, addresses

    def client(self, name: str = "", patience: float = 60) -> Client:
        """The client of a user, or of nobody."""
        return Client(auth=self._auth_of(name) if name else None, patience=patience, **self._addresses)  # type: ignore[arg-type]


class Issuer:
    """An OpenID issuer that signs tokens, with a certificate of the stack's own authority."""

    def __init__(self, port: int) -> None:
        self.url = f"https://localhost:{port}"
        self._port, self._key = port, generate_private_key(65537, 2048)

    @contextmanager
    def serving(self, certificate: Path) -> Iterator[Self]:
        """Answers with its OpenID document and its keys while in the context."""
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        document = {"jwks_uri": f"{self.url}/keys", "keys": [{**key, "kid": "k"}]}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(document).encode())

            def log_message(self, *_: Any) -> None: ...

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()

    def token(self, name: str) -> str:
        """A token of a user for ten minutes."""
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": name, "exp": time.time() + 600}
        return jwt.encode(claims, self._key, "RS256", {"kid": "k"})


@contextmanager
def deploying(folder: Path, **options: str) -> Iterator[Deployed]:
    """A stack with these options while in the context, with the rights of its roles enforced."""

    class Chosen(Place):
        def options(self) -> dict[str, str]:
            return {**super().options(), **options}

    ports = dict(zip(("PORT", "AWS_PORT", "K8S_PORT"), map(str, free_ports(3)), strict=True))
    chosen = {"LOCAL_DIR": str(folder), "WORKERS": "1", "LEASE_SECONDS": str(LEASE_SECONDS), "IAM": "enforced"}
    place = Chosen.read({**chosen, **ports, "REUSE": "off"})
    supervisor = Supervisor(place)
    try:
        local.up(place, supervisor)
        yield Deployed(place)
    finally:
        local.clean(place, supervisor)


@contextmanager
def with_jwt(folder: Path) -> Iterator[Stack]:
    (port,) = free_ports(1)
    issuer = Issuer(port)
    options = {"auth": "jwt", "jwtIssuer": issuer.url, "jwtAudience": AUDIENCE}
    with deploying(folder, **options) as deployed, issuer.serving(deployed.place.cluster_certificate):
        functions, name = aws.client(deployed.place, "lambda"), deployed.functions["authorize"]
        kept = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        trust = {"SSL_CERT_FILE": str(deployed.place.cluster_authority)}  # an issuer of the internet needs none
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": kept | trust})
        yield Stack("jwt", deployed, lambda name: Token(lambda: issuer.token(name)), url=deployed.place.url)


@contextmanager
def with_iam(folder: Path) -> Iterator[Stack]:
    with deploying(folder, auth="iam") as deployed:
        iam = aws.client(deployed.place, "iam")
        statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        keys = {}
        for name in TENANTS:
            iam.create_user(UserName=name)
            iam.put_user_policy(UserName=name, PolicyName="call", PolicyDocument=document)
            keys[name] = iam.create_access_key(UserName=name)["AccessKey"]

        def sign(name: str) -> Auth:
            session = botocore.session.Session()
            session.set_credentials(keys[name]["AccessKeyId"], keys[name]["SecretAccessKey"])
            return SigV4(session=session, region=REGION)

        yield Stack("iam", deployed, sign, url=deployed.stack["RestUrl"], socket_url=deployed.stack["SocketUrl"])


@pytest.fixture(scope="module", params=["cognito", "jwt", "iam"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with ExitStack() as kept:
        if request.param == "cognito":
            deployed: Deployed = request.getfixturevalue("deployed")
            yield Stack("cognito", deployed, lambda name: Cognito(name, PASSWORD), url=deployed.place.url)
        else:
            chosen = with_jwt if request.param == "jwt" else with_iam
            yield kept.enter_context(chosen(tmp_path_factory.mktemp(request.param)))


def test_a_user_works_and_another_users_job_is_refused(stack: Stack, clips: Callable[..., Path]) -> None:
    clip = clips("signed.mp4", "-f", "lavfi", "-i", "testsrc=s=320x240:d=2:r=10", "-pix_fmt", "yuv420p")
    with stack.client(ANN) as ann, stack.client(BOB, patience=5) as bob:
        caller = ann.version()
        assert (caller["userID"], caller["operator"]) == (ANN, False)
        job = ann.submit(ann.upload(clip), f"s3://{stack.deployed.bucket}/signed/", FFMPEG)["jobid"]
        with ann.watch(job, since=time.time() - 600) as watch:
            actions: list[str] = []
            while actions[-1:] != ["JobFinished"]:
                event = watch.next_event(150)
                assert event is not None, actions
                actions += [event["action"]] if event["action"] != "JobProgress" else []
        assert actions == ["JobSummit", "JobStart", "JobFinished"]
        assert [record["state"] for record in ann.wait(job, timeout=60)] == ["finished"]
        assert job in {record["jobID"] for record in ann.jobs()}

        assert job not in {record["jobID"] for record in bob.jobs()}
        for call in (bob.job, bob.cancel, bob.retry, bob.links, lambda job: list(bob.job_events(job))):
            with pytest.raises(NotFound):
                call(job)
        with pytest.raises(Forbidden):
            list(bob.jobs(user_id=ANN))
        with pytest.raises(ConnectionFailed), bob.watch(user_id=ANN) as watch:
            watch.next_event(30)


def test_nobody_is_refused(stack: Stack) -> None:
    with stack.client() as nobody, pytest.raises(Problem) as refused:
        nobody.version()
    # API Gateway answers a request without a signature as one to a path that does not exist
    assert refused.value.status == (404 if stack.kind == "iam" else 401)
