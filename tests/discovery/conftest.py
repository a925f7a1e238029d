"""A Kubernetes API and an EKS that describes it."""

import ssl
import threading
from collections.abc import Callable, Iterator

import pytest
import trustme
from moto import mock_aws

from tests.fakes.kubernetes import HOST, PATIENT, Api, Authority, Discovery, Eks


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster is out of reach of the function `discover` because this machine stalls."""
    monkeypatch.setattr("elasticrecode.workers.eks.Limits", lambda: PATIENT)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def serve(authority: trustme.CA) -> Iterator[Callable[..., Api]]:
    """Starts servers whose certificates, for `host`, are of `authority`."""
    running: list[tuple[Api, threading.Thread]] = []

    def start(host: str = HOST, certified_by: Authority = authority) -> Api:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certified_by.issue_cert(host).configure_cert(tls)
        api = Api(tls)
        thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((api, thread))
        return api

    yield start
    for api, thread in running:
        api.over.set()
        api.shutdown()
        api.server_close()
        thread.join()


@pytest.fixture
def api(serve: Callable[..., Api]) -> Api:
    return serve()


@pytest.fixture
def eks(authority: trustme.CA) -> Iterator[Eks]:
    with mock_aws():
        yield Eks(authority)


@pytest.fixture
def discovery(eks: Eks) -> Discovery:
    return Discovery(eks)
