"""The AsyncAPI document is complete, valid and equal to the code and to the wire contract."""

import json
import re
from typing import Any

import jsonschema_rs
import pytest

from elasticrecode.contract import routes
from elasticrecode.contract.auth import Kind
from elasticrecode.errors import BadParameter
from elasticrecode.jobs.events import Action
from elasticrecode.watch import subscription
from infra.asyncapi import messages
from infra.asyncapi.document import document
from local.place import ROOT
from tests import described
from tests.conftest import contract
from tests.fakes.wiring import build
from tests.support import call

RULES = ROOT / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0-without-$id.json"
QUERY = document("none")["channels"]["watch"]["bindings"]["ws"]["query"]


@pytest.mark.skipif(not RULES.exists(), reason="npm ci has not run: `make quick` needs no npm")
@pytest.mark.parametrize("auth", ["none", "cognito", "jwt", "iam"])
def test_the_document_is_valid_by_the_rules_of_asyncapi(auth: Kind) -> None:
    rules = jsonschema_rs.validator_for(json.loads(RULES.read_text()))
    content = json.loads(json.dumps(document(auth)))
    rules.validate(content)
    del content["operations"]["sendJobs"]["channel"]
    assert not rules.is_valid(content)


@pytest.mark.parametrize("auth", ["none", "cognito", "jwt", "iam"])
def test_every_reference_leads_somewhere(auth: Kind) -> None:
    content = document(auth)
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(content)))
    assert references
    for reference in references:
        target: Any = content
        for name in reference.split("/"):
            target = target[name]


def test_it_has_every_action_once_and_says_of_each_what_the_docs_say() -> None:
    assert set(messages.SENT) == set(Action) - {Action.WEBHOOK_TEST}
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", (ROOT / "docs" / "reference" / "events.md").read_text(), re.MULTILINE)
    stated = dict(rows)
    for action, text in messages.SENT.items():
        assert text.rstrip(".").lower() == stated[action].lower()
    assert set(messages.frames()) >= {action.value for action in messages.SENT}


def test_the_parameters_of_a_connection_are_those_that_it_takes() -> None:
    assert tuple(QUERY["properties"]) == subscription.PARAMETERS


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"lastMod": "0"},
        {"lastMod": "1588730504.25"},
        {"after": "17.3"},
        {"after": "17"},
        {"userID": "ann", "jobID": "j", "batchID": "b"},
        {"actions": "JobStart,JobFinished"},
        {"pack": "1"},
        {"pack": "0"},
        {"ticket": "t"},
    ],
)
def test_a_query_that_is_described_is_taken(query: dict[str, str]) -> None:
    assert jsonschema_rs.is_valid(QUERY, query)
    subscription.read(query)


@pytest.mark.parametrize(
    "query",
    [
        {"since": "1"},
        {"lastMod": "yesterday"},
        {"lastMod": "-1"},
        {"after": "1.2.3"},
        {"userID": "two words"},
        {"jobID": "j" * 129},
        {"actions": "Job-Start"},
        {"actions": ",".join(["A" * n for n in range(1, subscription.ACTIONS_LIMIT + 2)])},
        {"pack": "2"},
    ],
)
def test_a_query_that_is_not_described_is_refused(query: dict[str, str]) -> None:
    assert not jsonschema_rs.is_valid(QUERY, query)
    with pytest.raises(BadParameter):
        subscription.read(query)


def test_the_wire_contract_is_described() -> None:
    described.job(json.dumps(contract("queue_message")))
    described.report(json.dumps(contract("worker_event")))
    content = document("none")["components"]["messages"]
    assert content["Job"]["examples"][0]["payload"] == contract("queue_message")
    assert content["WorkerJobStart"]["examples"][0]["payload"] == contract("worker_event")


def test_what_is_not_described_is_noticed() -> None:
    for changes in ({"lag": 1}, {"ts": "now"}, {"action": ""}):
        with pytest.raises((AssertionError, jsonschema_rs.ValidationError)):
            described.report(json.dumps(contract("worker_event") | changes))
    with pytest.raises(AssertionError):
        described.frames([json.dumps({"action": Action.GAP, "cursor": "1"})])


@pytest.mark.parametrize(("auth", "schemes"), [("none", []), ("cognito", ["token", "ticket"]), ("iam", ["ticket"])])
def test_it_says_how_watchers_prove_who_they_are(auth: Kind, schemes: list[str]) -> None:
    content = document(auth)
    security = content["servers"]["front"].get("security", [])
    assert [each["$ref"].rsplit("/", 1)[1] for each in security] == schemes
    assert "security" not in content["servers"]["queues"]


def test_schema_serves_it() -> None:
    assert call(build("schema"), routes.ASYNCAPI).body == json.loads(json.dumps(document("none")))
