"""STS, which names the caller of a presigned request whose signature fits, and presigned requests as EKS tokens."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ARN = "arn:aws:sts::000000000000:assumed-role/discovery/function"
_CREDENTIALS = Credentials("AKIDEXAMPLE", "secret", "session")
_FIELDS = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}


def presigned(base: str, cluster: str = "local", at: datetime | None = None) -> str:
    """The URL of a GetCallerIdentity request at `base`, signed for a cluster's name."""
    request = AWSRequest("GET", f"{base}/?{urlencode(_FIELDS)}", headers={"x-k8s-aws-id": cluster})
    signer = SigV4QueryAuth(_CREDENTIALS, "sts", "us-east-1", expires=60)
    with pytest.MonkeyPatch.context() as patch:
        if at:
            patch.setattr("botocore.auth.get_current_datetime", lambda remove_tzinfo=True: at.replace(tzinfo=None))
        signer.add_auth(request)
    return str(request.url)


def token(url: str) -> str:
    """A presigned request as a bearer token of EKS."""
    return "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


class Sts:
    """Answers 200 when the signature fits, else 403. `requests` are the paths it has received."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        sts = self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sts.requests.append(self.path)
                received = parse_qs(urlsplit(self.path).query)
                at = datetime.strptime(received["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                expected = presigned(f"http://{self.headers['Host']}", self.headers["x-k8s-aws-id"], at)
                self.send_response(200 if parse_qs(urlsplit(expected).query) == received else 403)
                self.end_headers()
                self.wfile.write(f"<Arn>{ARN}</Arn>".encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.port = int(self._server.server_address[1])
        self.url = f"http://localhost:{self.port}"

    @contextmanager
    def serving(self) -> Iterator["Sts"]:
        """Answers while in the context."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def token(self, cluster: str = "local", at: datetime | None = None) -> str:
        """A token that this STS accepts."""
        return token(presigned(self.url, cluster, at))
