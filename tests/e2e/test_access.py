"""Who may what, tried on the deployed stack: every route by everybody, and two users with the same rights.

The table stands in docs/explanation/security.md; ACCESS=write writes it there again.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from elasticrecode.access.callers import Caller
from elasticrecode.access.tickets import key
from elasticrecode.contract import routes
from elasticrecode.contract.tables import CONNECTIONS_KEYS, TTL
from local import users
from tests.conftest import ROOT, contract
from tests.e2e.conftest import Deployed, wait_for

DOCS = ROOT / "docs" / "explanation" / "security.md"
BEGIN, END = "<!-- access -->\n", "<!-- /access -->\n"
ANN, BOB = "ann", "bob"
ROLES: dict[str, str | None] = {"nobody": None, "another user": BOB, "the user": ANN, "an operator": users.OPERATOR}
YES = "yes"
pytestmark = pytest.mark.timeout(900)
"""The first test of all waits for the stack, too."""
_OF_A_USER = (routes.JOBS, routes.OVERVIEW, routes.BATCHES, routes.WEBHOOKS)
"""Routes whose query names a user."""
_PRESET = {"profile": {"vmaf": {"scale": "720p"}}}


class Things(NamedTuple):
    """What is ann's."""

    job: str
    batch: str
    plan: str


class Access:
    """Each route's request about what is ann's, made anew for each who tries it."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self.missing = f"s3://{deployed.bucket}/none/missing.mp4"
        job = deployed.call("POST", "/api/v1/jobs", self.job(ANN), user=ANN)[1][0]["jobid"]
        plan = deployed.call("POST", "/api/v1/plans", self.job(ANN), user=ANN)[1]["planID"]
        batch = deployed.call("POST", "/api/v1/batches", self.batch(ANN), user=ANN)[1]["batchID"]
        self.things = Things(job, batch, plan)
        deployed.until(job, "failed")
        wait_for(lambda: deployed.call("GET", f"/api/v1/batches/{batch}")[1]["state"] == "finished", "the batch's end")

    def job(self, user: str) -> dict[str, Any]:
        output = f"s3://{self.deployed.bucket}/access/{user}/"
        return {**contract("job"), "userid": user, "input": self.missing, "output": output}

    def batch(self, user: str) -> dict[str, Any]:
        body = self.job(user)
        return {"inputs": [body.pop("input")], **body}

    def score(self, user: str) -> dict[str, Any]:
        output = f"s3://{self.deployed.bucket}/access/{user}/"
        uris = {"input": self.missing, "origin": f"{self.missing}.origin.mp4", "output": output}
        return {**contract("vmaf"), **uris, "userid": user}

    def webhook(self, user: str) -> dict[str, Any]:
        return {"userID": user, "url": "http://127.0.0.1:9/", "actions": ["JobFinished"]}

    def upload(self, user: str) -> dict[str, Any]:
        return {"userID": user, "name": "film.mov", "bytes": 10}

    def request(self, route: str) -> tuple[str, Any]:
        """Path with its query, and body, of a request to a route."""
        path = "/api" + route.split(" ")[1].rstrip("/")
        names = {
            "jobID": self.things.job,
            "batchID": self.things.batch,
            "planID": self.things.plan,
            "userID": ANN,
            "queue": "vmaf_job",
        }
        if "{webhookID}" in path:
            made = self.deployed.call("POST", "/api/v1/webhooks", self.webhook(ANN), user=ANN)[1]
            names["webhookID"] = made["webhookID"]
        if "{uploadID}" in path:
            names["uploadID"] = self.deployed.call("POST", "/api/v1/uploads", self.upload(ANN), user=ANN)[1]["uploadID"]
        if "{name}" in path:
            names["name"] = "access"
            self.deployed.call("PUT", "/api/v1/presets/access", _PRESET)
        body = {
            routes.SUBMIT: self.job(ANN),
            routes.SUBMIT_VMAF: self.score(ANN),
            routes.SUBMIT_PLAN: self.job(ANN),
            routes.SUBMIT_BATCH: self.batch(ANN),
            routes.RETRY_FAILED: {"userID": ANN},
            routes.PACKAGE_LINKS: {"uris": [self.missing]},
            routes.ADD_UPLOAD: self.upload(ANN),
            routes.UPLOAD_LINKS: {"parts": [1]},
            routes.ADD_WEBHOOK: self.webhook(ANN),
            routes.PUT_PRESET: _PRESET,
        }.get(route)
        query = f"?userID={ANN}" if route in _OF_A_USER else ""
        return path.format(**names) + query, body

    def clear(self) -> None:
        """Leave no webhook behind, of which a user has at most twenty."""
        for made in self.deployed.call("GET", f"/api/v1/webhooks?userID={ANN}")[1]:
            self.deployed.call("DELETE", f"/api/v1/webhooks/{made['webhookID']}")


@pytest.fixture(scope="module")
def access(deployed: Deployed) -> Iterator[Access]:
    made = Access(deployed)
    yield made
    made.clear()


def test_the_documented_table_of_permissions_holds(access: Access) -> None:
    """The table of docs/explanation/security.md, each cell tried."""
    deployed = access.deployed
    rows = []
    for route in (route for served in routes.ROUTES.values() for route in served):
        cells = []
        for user in ROLES.values():
            path, body = access.request(route)
            status, answer, _ = deployed.call(route.split(" ")[0], path, body, user=user)
            assert status < 500, (route, user, answer)
            cells.append(str(status) if status in (401, 403, 404) else YES)
        rows.append(f"| {route.replace('/v1', '/api/v1')} | {' | '.join(cells)} |\n")
        access.clear()
    deployed.call("DELETE", "/api/v1/presets/access")
    assert deployed.call("POST", "/api/v1/worker/queues/vmaf_job/resume")[0] == 200
    table = f"| route | {' | '.join(ROLES)} |\n|---|{'---|' * len(ROLES)}\n{''.join(rows)}"
    text = DOCS.read_text()
    before, _, rest = text.partition(BEGIN)
    written, _, after = rest.partition(END)
    if os.environ.get("ACCESS") == "write":
        DOCS.write_text(f"{before}{BEGIN}{table}{END}{after}")
        written = table
    assert written == table


def test_another_user_can_neither_read_nor_change_a_users_things(access: Access) -> None:
    """The other's answers to every route that names something of ann's, which nothing else changes meanwhile."""
    access = Access(access.deployed)
    deployed, things = access.deployed, access.things
    mine = {
        path: deployed.call("GET", path, user=ANN)[1]
        for path in (f"/api/v1/jobs/{things.job}", f"/api/v1/batches/{things.batch}", f"/api/v1/webhooks?userID={ANN}")
    }
    crossings = []
    for route in (route for served in routes.ROUTES.values() for route in served):
        path, body = access.request(route)
        mine_named = [ANN if word == "{userID}" else word for word in route.split("/")]
        status, answer, _ = deployed.call(route.split(" ")[0], path, body, user=BOB)
        names_mine = (body and ANN in json.dumps(body)) or "?" in path or any("ID}" in word for word in mine_named)
        # What is public is the same for everybody, and may hold this word.
        named = re.search(rf"\b{ANN}\b", json.dumps(answer))
        shows_mine = route not in routes.PUBLIC_ROUTES and status < 300 and named
        if (names_mine and status not in (403, 404)) or shows_mine:
            crossings.append((route, status))
    access.clear()
    assert crossings == []
    assert {path: deployed.call("GET", path, user=ANN)[1] for path in mine} == mine


def test_the_overview_of_all_users_is_for_operators(deployed: Deployed) -> None:
    assert deployed.call("GET", "/api/v1/overview", user=ANN)[0] == 403
    assert deployed.call("GET", "/api/v1/overview")[0] == 200


def test_idempotency_keys_belong_to_one_user(access: Access) -> None:
    deployed, told = access.deployed, {"Idempotency-Key": f"access-{time.time_ns()}"}
    first = deployed.call("POST", "/api/v1/jobs", access.job(ANN), told, user=ANN)[1]
    assert deployed.call("POST", "/api/v1/jobs", access.job(ANN), told, user=BOB)[0] == 403
    others = deployed.call("POST", "/api/v1/jobs", access.job(BOB), told, user=BOB)[1]
    assert others[0]["jobid"] != first[0]["jobid"]
    assert deployed.call("POST", "/api/v1/jobs", access.job(ANN), told, user=ANN)[1] == first


def actions(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["action"] for frame in frames]


def until_event(socket: ClientConnection, job_id: str) -> None:
    """Read until an event of the job comes."""
    while json.loads(socket.recv(timeout=150))["jobID"] != job_id:
        pass


def until_pong(socket: ClientConnection) -> None:
    """Send a text, and read until its answer: behind what still comes of earlier jobs."""
    socket.send("there?")
    while socket.recv(timeout=60) != "pong":
        pass


def test_watchers_see_only_their_own_events_with_any_query(access: Access) -> None:
    deployed, things = access.deployed, access.things
    with pytest.raises(InvalidStatus):
        deployed.watch(f"userID={ANN}", user=BOB)
    asked = ("lastMod=0", "", f"lastMod=1&jobID={things.job}", f"lastMod=1&batchID={things.batch}")
    with ExitStack() as opened:
        sockets = [opened.enter_context(deployed.watch(query, user=BOB)) for query in asked]
        (own,) = deployed.call("POST", "/api/v1/jobs", access.job(ANN), user=ANN)[1]
        deployed.until(own["jobid"], "failed")
        (bobs,) = deployed.call("POST", "/api/v1/jobs", access.job(BOB), user=BOB)[1]
        seen: list[list[dict[str, Any]]] = [[] for _ in sockets]
        for socket, events in zip(sockets[:2], seen[:2], strict=True):  # until bob's own has come, ann's would have
            while not (events and events[-1]["action"] == "JobFailed" and events[-1]["jobID"] == bobs["jobid"]):
                events.append(json.loads(socket.recv(timeout=60)))
        for socket, events in zip(sockets[2:], seen[2:], strict=True):
            socket.send("anybody there?")
            events.append({"action": socket.recv(timeout=60), "userID": BOB})
            assert actions(events) == ["pong"]
    assert {event["userID"] for events in seen for event in events} == {BOB}


def test_a_socket_opens_with_a_token_or_with_a_ticket_that_works_once(deployed: Deployed) -> None:
    with pytest.raises(InvalidStatus) as refused:
        deployed.watch("lastMod=0", user=None)
    assert refused.value.response.status_code in (401, 403)
    ticket = deployed.call("POST", "/api/v1/socket-tickets", user=BOB)[1]["ticket"]
    with deployed.watch(f"ticket={ticket}", user=None) as socket:
        until_pong(socket)
    for wrong in (ticket, "x", "", "x" * 5000):
        with pytest.raises(InvalidStatus):
            deployed.watch(f"ticket={wrong}", user=None)
    stolen = deployed.call("POST", "/api/v1/socket-tickets", user=BOB)[1]["ticket"]
    with pytest.raises(InvalidStatus):
        deployed.watch(f"userID={ANN}&ticket={stolen}", user=None)


def test_a_connection_gets_no_event_after_its_token_expires_and_is_closed(access: Access) -> None:
    """A ticket carries the end of the token that it was bought with to the connection, whose end then is now."""
    deployed, ends = access.deployed, int(time.time()) + 600
    item = {
        **key("soon-over"),
        "caller": {"M": {name: {"S": value} for name, value in Caller(ANN, expires=ends).context().items()}},
        TTL: {"N": str(ends)},
    }
    table = deployed.stack["ConnectionsTable"]
    deployed.dynamodb.put_item(TableName=table, Item=item)
    with deployed.watch("ticket=soon-over", user=None) as short, deployed.watch("", user=ANN) as long:
        until_pong(short)
        rows = deployed.dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]
        (row,) = [row for row in rows if row[TTL]["N"] == str(ends)]
        deployed.dynamodb.update_item(
            TableName=table,
            Key={name: row[name] for name in CONNECTIONS_KEYS},
            UpdateExpression="SET #end = :now",
            ExpressionAttributeNames={"#end": TTL},
            ExpressionAttributeValues={":now": {"N": str(int(time.time()))}},
        )
        job = deployed.call("POST", "/api/v1/jobs", access.job(ANN), user=ANN)[1][0]["jobid"]
        until_event(long, job)
        deployed.invoke("disconnect")  # as a rule does each minute
        with pytest.raises(ConnectionClosed):  # and no event of this job before that
            until_event(short, job)


def test_invalid_tokens_are_refused(deployed: Deployed) -> None:
    good = deployed.signed(BOB)["Authorization"]
    head, payload, signature = good.split(".")
    for wrong in ("", "Bearer", "Bearer x", f"{head}.{payload}.", f"{head}.{payload[:-2]}AA.{signature}", "Basic YTpi"):
        assert deployed.call("GET", "/api/v1/schema", headers={"Authorization": wrong}, user=None)[0] == 401, wrong
    assert deployed.call("GET", "/api/v1/schema", headers={"Authorization": good}, user=None)[0] == 200


def test_the_openapi_document_is_public_and_says_where_people_sign_in(deployed: Deployed) -> None:
    status, content, _ = deployed.call("GET", "/api/v1/openapi.json", user=None)
    assert status == 200
    sign_in = content["components"]["securitySchemes"]["token"].pop("x-cognito")
    assert sign_in["clientId"] == deployed.stack["UserPoolClient"]
    assert sign_in["url"].startswith("http")
    assert content == json.loads((ROOT / "docs" / "openapi.json").read_text())
