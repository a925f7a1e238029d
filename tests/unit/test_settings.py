"""What the stack writes into a function's environment is what the function reads."""

import json
import re

import pytest

from elasticrecode.contract import settings
from elasticrecode.contract.routes import ROUTES
from elasticrecode.contract.settings import DispatchSettings, LogsSettings, SubmitSettings, WatchersSettings
from tests.conftest import ROOT

QUEUES = {"cpu": {"a": "http://x/a"}, "gpu": {}, "vmaf": {}}


@pytest.mark.parametrize(
    "told",
    [
        SubmitSettings(
            jobs_table="t",
            registry_table="r",
            queues=QUEUES,
            presets={"a": {"vmaf": {"scale": "720p", "min": 90.5}}},
            user_prefixes=[{"prefix": "s3://b/{userID}/", "access": "read"}],
            retention_days=3,
            idempotency_days=1,
        ),
        LogsSettings(jobs_table="t", job_logs=False),
        DispatchSettings(jobs_table="t", registry_table="r", queues=QUEUES, tally_queue="http://q"),
        WatchersSettings(jobs_table="t", feed_table="f", connections_table="c", socket_management_url="http://x"),
    ],
)
def test_settings_come_back_as_they_were_written(told: settings.Settings) -> None:
    assert type(told).read(told.environ()) == told


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(KeyError, match="JOBS_TABLE"):
        DispatchSettings.read({"QUEUES": "{}"})


def test_no_route_is_answered_twice() -> None:
    routes = [route for served in ROUTES.values() for route in served]
    assert len(routes) == len(set(routes))


def test_every_option_is_explained_with_its_default() -> None:
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    rows = dict(
        re.findall(r"^\| `(\w+)` \| (.*?) \|", (ROOT / "docs" / "reference" / "options.md").read_text(), re.MULTILINE)
    )
    assert rows.keys() == {name for name in context if name.isalnum()}
    for name, told in rows.items():
        default = context[name]
        text = str(default).lower() if isinstance(default, bool) else str(default)
        assert told.strip("`") == (text or "none") or name in ("executeApi", "cognitoIdp")


def test_every_route_is_in_the_docs() -> None:
    told = (ROOT / "docs" / "reference" / "api.md").read_text()
    for route in (route for served in ROUTES.values() for route in served):
        path = "/api" + route.split(" ")[1].rstrip("/")
        assert f"`{path}" in told, route
