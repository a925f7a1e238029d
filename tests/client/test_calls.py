"""Every route is a method; lists are iterators; refusals are exceptions that say everything."""

import inspect
import json
from typing import Any

import pytest

from elasticrecode_client import AsyncClient, Client, Conflict, ConnectionFailed, Invalid, NotFound, Problem, problems
from elasticrecode_client.calls import Listing, Method
from elasticrecode_client.problems import TooManyRequests
from elasticrecode_client.routes import REPEATS, Repeat
from tests.client.conftest import Make
from tests.client.server import USER, Reply, Server, problem
from tests.conftest import ROOT

DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text())
ROUTES = {f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods}
METHODS = {name: member for name, member in inspect.getmembers(Client) if isinstance(member, Method | Listing)}
JOB = {"status": {"status": "success", "event": "JobSummit"}, "jobid": "j1", "userid": USER}


def described(name: str) -> Any:
    """The call that a method makes with a word for each of its required parameters."""
    describe = METHODS[name]._describe
    parameters = list(inspect.signature(describe).parameters.values())[1:]
    return describe(None, *("x" for one in parameters if one.default is one.empty and one.kind is not one.KEYWORD_ONLY))


def test_every_route_of_the_api_is_a_method_and_says_whether_it_may_be_repeated() -> None:
    assert {described(name).route for name in METHODS} == ROUTES - {"GET /"}
    assert set(REPEATS) == ROUTES - {"GET /"}


def test_every_parameter_of_a_list_is_one_of_its_method() -> None:
    for name, member in METHODS.items():
        method, path = described(name).route.split(" ")
        documented = {
            one["name"] for one in DOCUMENT["paths"][path][method.lower()].get("parameters", ()) if "name" in one
        }
        documented -= {"after"}  # the iterator's own
        call = described(name)
        assert documented == set(call.path) | set(call.query), name
        assert member.__doc__, name


def test_every_field_of_a_body_is_a_parameter_of_its_method() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for name in METHODS:
        method, path = described(name).route.split(" ")
        content = DOCUMENT["paths"][path][method.lower()].get("requestBody", {}).get("content")
        if not content:
            continue
        schema = content["application/json"]["schema"]
        allowed: set[str] = set()
        for one in schema.get("anyOf", [schema]):
            variants = schemas[one["$ref"].rsplit("/", 1)[1]]
            for variant in variants.get("anyOf", [variants]):
                allowed |= set(variant["properties"])
        assert set(described(name).body) <= allowed, name
    assert set(described("submit_batch").body) >= {"inputs", "manifest", "prefix", "suffixes"}


def test_only_requests_with_a_key_or_without_effect_are_repeated() -> None:
    keyed = {route for route, repeat in REPEATS.items() if repeat is Repeat.KEYED}
    with_key = {
        f"{method.upper()} {path}"
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
        if any("IdempotencyKey" in one.get("$ref", "") for one in operation.get("parameters", ()))
    }
    assert keyed == with_key


def test_both_clients_have_the_same_methods_and_signatures() -> None:
    for name in ("watch", "wait", "wait_for_plan", "upload", "download", "close"):
        assert inspect.signature(getattr(Client, name)).parameters.keys() == (
            inspect.signature(getattr(AsyncClient, name)).parameters.keys()
        )
    client = Client("http://localhost")
    assert list(inspect.signature(client.job).parameters) == ["job_id"]
    assert client.job.__doc__ == "The record of a job."
    client.close()


def test_a_job_is_submitted_for_the_caller_with_a_preset(client: Any, server: Server) -> None:
    server.always["POST /api/v1/jobs"] = [JOB]
    assert client.submit("s3://in/a.mov", "s3://out/", "h264-720p", priority=3)["jobid"] == "j1"
    request = server.requests("POST /api/v1/jobs")[0]
    assert request.json == {
        "userid": USER,
        "input": "s3://in/a.mov",
        "output": "s3://out/",
        "profile": {"preset": "h264-720p"},
        "priority": 3,
    }
    client.submit("s3://in/b.mov", "s3://out/", "h264-720p")
    assert len(server.requests("GET /api/v1")) == 1


def test_a_job_that_could_not_be_stored_is_a_problem(client: Any, server: Server) -> None:
    server.always["POST /api/v1/jobs"] = [JOB | {"status": {"status": "failed", "event": "JobSummit"}}]
    with pytest.raises(Problem, match="could not be stored"):
        client.submit("s3://in/a.mov", "s3://out/", "h264-720p")
    assert client.submit_many(["s3://in/a.mov"], "s3://out/", "h264-720p")[0]["status"]["status"] == "failed"


def test_a_list_follows_its_links_page_after_page_and_only_as_far_as_it_is_read(client: Any, server: Server) -> None:
    def link(after: str) -> dict[str, str]:
        return {"Link": f'<http://elsewhere.example/api/v1/jobs?userID=ann&after={after}>; rel="next"'}

    server.replies["GET /api/v1/jobs"] = [
        Reply(body=[{"jobID": "1"}, {"jobID": "2"}], headers=link("a%20b")),
        Reply(body=[], headers=link("c")),
        Reply(body=[{"jobID": "3"}]),
    ]
    records = client.jobs(state="failed", since=1.5, limit=2)
    assert next(records)["jobID"] == "1"
    assert len(server.requests("GET /api/v1/jobs")) == 1
    assert [record["jobID"] for record in records] == ["2", "3"]
    queries = [request.query for request in server.requests("GET /api/v1/jobs")]
    assert queries[0] == {"userID": USER, "state": "failed", "since": "1.500", "limit": "2"}
    assert queries[1] == {"userID": USER, "after": "a b"}


def test_a_list_by_name_has_names_with_its_entries(client: Any, server: Server) -> None:
    server.always["GET /api/v1/worker/deployments"] = {"cpu": {"queue": "q"}}
    assert list(client.deployments()) == [("cpu", {"queue": "q"})]


def test_a_problem_says_all_its_faults_and_the_request(client: Any, server: Server) -> None:
    faults = [{"pointer": "/input", "detail": "must be an s3:// URI"}, {"pointer": "/profile", "detail": "is required"}]
    server.replies["POST /api/v1/jobs"] = [problem(422, "The request is not valid", "2 faults.", errors=faults)]
    with pytest.raises(Invalid) as caught:
        client.submit("a.mov", "s3://out/", "h264-720p")
    assert caught.value.errors == (("/input", "must be an s3:// URI"), ("/profile", "is required"))
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (422, "invalid", "request-1")
    assert str(caught.value) == (
        "The request is not valid (422): 2 faults.\n  /input must be an s3:// URI\n  /profile is required\n"
        "  request request-1"
    )


@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (409, Conflict), (418, Problem), (500, Problem)])
def test_each_status_has_its_exception(client: Any, server: Server, status: int, kind: type[Problem]) -> None:
    server.always["DELETE /api/v1/jobs/j1"] = None
    server.replies["DELETE /api/v1/jobs/j1"] = [problem(status, "No", "never")]
    with pytest.raises(kind):
        client.cancel("j1")


def test_refusals_of_proxies_are_problems_too(client: Any, server: Server) -> None:
    server.replies["GET /api/v1/jobs/j/status"] = [
        Reply(403, {"message": "Forbidden"}, {"x-amzn-RequestId": "r7"}),
        Reply(400, b"<html>no</html>"),
        Reply(301, b"", {"Location": "https://elsewhere.example/"}),
        Reply(200, b"<html>a home page</html>", {"Content-Type": "text/html"}),
    ]
    with pytest.raises(problems.Forbidden, match=r"Forbidden\n  request r7"):
        client.job("j")
    with pytest.raises(problems.BadRequest, match=r"\(400\)"):
        client.job("j")
    with pytest.raises(Problem, match="https://elsewhere"):
        client.job("j")
    with pytest.raises(ConnectionFailed, match="text/html"):
        client.job("j")


def test_a_problem_cannot_move_the_cursor_of_a_terminal() -> None:
    text = str(problems.problem(404, json.dumps({"title": "a\x1b[2Jb\u202e", "detail": "c\rd"}).encode(), {}))
    assert text == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER} (404): c\N{REPLACEMENT CHARACTER}d"


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"1", b"{", b'{"errors": 5, "title": 3}', b'{"errors": [5]}', b"[" * 9999]
)
def test_no_answer_breaks_the_reading_of_problems(content: bytes) -> None:
    assert str(problems.problem(429, content, {})).startswith("Refused (429)")
    assert isinstance(problems.problem(429, content, {}), TooManyRequests)


@pytest.mark.parametrize("job_id", ["", ".", ".."])
def test_an_id_cannot_lead_to_another_path(make: Make, server: Server, job_id: str) -> None:
    with pytest.raises(problems.ElasticRecodeError):
        make(server.url).job(job_id)
    assert server.seen == []


def test_ids_are_quoted(client: Any, server: Server) -> None:
    with pytest.raises(NotFound):
        client.job("../a?b#c/é")
    assert server.seen[0].path == "/api/v1/jobs/../a?b#c/é/status"
