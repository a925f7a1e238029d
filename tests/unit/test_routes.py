"""Every route has a method that answers it."""

import pytest

from elasticrecode.contract.routes import ROUTES
from tests.fakes.wiring import build
from tests.support import call

NOT_ALLOWED = 405


@pytest.mark.parametrize(("function", "route"), [(name, route) for name, served in ROUTES.items() for route in served])
def test_a_function_answers_its_routes(function: str, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any answer but 405 will do: without an AWS most routes answer that it cannot be reached."""
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", _refuse)
    parameters = dict.fromkeys(("jobID", "userID", "batchID", "queue", "webhookID", "name", "planID", "uploadID"), "x")
    assert call(build(function), route, {}, parameters).status != NOT_ALLOWED


def _refuse(*_: object) -> None:
    raise ConnectionError
