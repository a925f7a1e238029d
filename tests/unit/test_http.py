"""Answers: pages, problems, crashes."""

import logging
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from elasticrecode.access.callers import ANYBODY, Caller
from elasticrecode.api import http
from elasticrecode.contract.auth import Auth
from elasticrecode.contract.settings import ApiSettings
from elasticrecode.errors import TooManyRequests, Unavailable
from tests.support import call


def paged(request: http.Request) -> http.Response:
    limit, after = request.page()
    return http.Response([limit, after], headers=request.next_link("a#1 b"))


def crash(_: http.Request) -> http.Response:
    raise RuntimeError("secret-in-a-message")


def busy(_: http.Request) -> http.Response:
    raise Unavailable("AWS could not take it.")


handler = http.handler({"GET /v1/x": paged, "GET /v1/crash": crash, "GET /v1/busy": busy}, ApiSettings())


def test_a_link_leads_to_the_next_page_and_keeps_the_query() -> None:
    answer = call(handler, "GET /v1/x", query={"limit": "7", "state": "failed"})
    link = answer.headers["Link"]
    assert link.endswith('; rel="next"')
    url = urlsplit(link[1 : link.index(">")])
    assert url.path == "/api/v1/x"
    assert parse_qs(url.query) == {"limit": ["7"], "state": ["failed"], "after": ["a#1 b"]}


def test_a_page_has_100_entries_by_default() -> None:
    assert call(handler, "GET /v1/x").body == [100, ""]


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "ten", "", "1.5", "٣"])
def test_a_limit_out_of_range_is_a_problem(limit: str) -> None:
    answer = call(handler, "GET /v1/x", query={"limit": limit})
    assert answer.status == 400
    assert "limit" in answer.body["detail"]


@pytest.mark.parametrize("where", ["parameters", "query"])
def test_a_parameter_too_long_to_be_a_key_is_a_problem(where: str) -> None:
    handler = http.handler({"GET /v1/{jobID}": lambda _: http.Response("ok")}, ApiSettings())
    given: dict[str, Any] = {"parameters": {"jobID": "j"}, "query": None}
    assert call(handler, "GET /v1/{jobID}", **given).status == 200
    answer = call(handler, "GET /v1/{jobID}", **given | {where: {"jobID": "j" * 257}})
    assert answer.status == 400
    assert "jobID has 257 characters" in answer.body["detail"]


def test_a_problem_has_the_five_members() -> None:
    answer = call(handler, "GET /v1/busy")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert set(answer.body) == {"type", "title", "status", "detail", "instance"}
    assert (answer.status, answer.body["status"], answer.body["instance"]) == (503, 503, "request-1")
    assert answer.headers["Retry-After"].isdigit()


def test_a_crash_is_logged_and_its_answer_has_no_details(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = call(handler, "GET /v1/crash")
    assert answer.status == 500
    assert "secret" not in str(answer.body)
    assert "secret-in-a-message" in caplog.text
    assert "request-1" in caplog.text


APP, OTHER = "https://app.example.com", "https://app.example.com.evil.example"


@pytest.mark.parametrize(
    ("named", "origin", "allowed"),
    [
        ((), APP, None),
        ((), "", None),
        ((APP,), APP, APP),
        (("https://else.example", APP), APP, APP),
        ((APP,), OTHER, None),
        ((APP,), "null", None),
        ((APP,), "", None),
        (("*",), OTHER, "*"),
        (("*",), "", "*"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_only_pages_of_allowed_origins_get_cors_headers(
    named: tuple[str, ...], origin: str, allowed: str | None, method: str
) -> None:
    handler = http.handler({"GET /v1/x": paged}, ApiSettings(cors=named))
    answer = call(handler, f"{method} /v1/x", headers={"Origin": origin} if origin else None)
    assert answer.status == (200 if method == "GET" else 204)
    assert answer.headers.get("Access-Control-Allow-Origin") == allowed
    assert answer.headers.get("Vary") == ("Origin" if named not in ((), ("*",)) else None)
    if method == "OPTIONS":
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        assert not answer.body


def test_a_preflight_request_reaches_no_endpoint_and_is_not_counted() -> None:
    def never(_: Any) -> Any:
        raise AssertionError

    handler = http.handler({"POST /v1/x": never}, ApiSettings(cors=("*",)), never)
    assert call(handler, "OPTIONS /v1/x").status == 204


@pytest.mark.parametrize("route", ["GET /v1/x", "GET /v1/crash", "GET /v1/busy"])
def test_every_answer_has_security_headers_and_is_not_cached(route: str) -> None:
    answer = call(handler, route)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


def test_only_changing_requests_count_against_the_allowance() -> None:
    counted: list[Caller] = []

    def full(caller: Caller) -> None:
        counted.append(caller)
        raise TooManyRequests("Enough.", 7)

    routes = {"GET /v1/x": paged, "POST /v1/x": paged, "DELETE /v1/x": paged}
    handler = http.handler(routes, ApiSettings(), full)
    assert call(handler, "GET /v1/x").status == 200
    assert not counted
    for route in ("POST /v1/x", "DELETE /v1/x"):
        answer = call(handler, route)
        assert (answer.status, answer.headers["Retry-After"], answer.body["detail"]) == (429, "7", "Enough.")
    assert counted == [ANYBODY, ANYBODY]


def test_a_base64_body_is_decoded_and_measured() -> None:
    def size(request: http.Request) -> http.Response:
        return http.Response(len(request.body(10)))

    def post(text: str | None, base64: bool) -> Any:
        event: dict[str, Any] = {
            "httpMethod": "POST", "resource": "/v1/x", "path": "/v1/x", "body": text, "isBase64Encoded": base64,
            "requestContext": {},
        }  # fmt: skip
        return http.handler({"POST /v1/x": size}, ApiSettings())(event, None)["statusCode"]

    assert post("aGVsbG8=", True) == 200
    assert post("hello", False) == 200
    assert post("x" * 11, False) == 413
    assert post("", False) == 400
    assert post(None, False) == 400
    assert post("!", True) == 400


@pytest.mark.parametrize("after", ["zzz", "log#1", "0" * 14, "'; --"])
def test_a_cursor_of_another_form_is_a_problem(after: str) -> None:
    answer = call(handler, "GET /v1/x", query={"after": after})
    assert answer.status == 400
    assert "Link" in answer.body["detail"]


def test_a_link_is_plain_ascii_whatever_the_path() -> None:
    request = http.Request("r", '/api/v1/<x>"\\é/jobs', {}, {}, {}, None, base64=False)
    (link,) = request.next_link("job").values()
    assert link.isascii()
    assert link.count("<") == link.count(">") == 1


def test_a_method_that_a_path_does_not_have_gets_405_and_the_methods() -> None:
    def never(_: Any) -> Any:
        raise AssertionError

    handler = http.handler({"GET /v1/jobs": never}, ApiSettings(auth=Auth("cognito")), never)
    answer = call(handler, "PATCH /v1/jobs")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_repeated_query_parameter_is_a_problem() -> None:
    event: dict[str, Any] = {
        "httpMethod": "GET", "resource": "/v1/x", "path": "/v1/x", "requestContext": {},
        "queryStringParameters": {"limit": "2"}, "multiValueQueryStringParameters": {"limit": ["1", "2"]},
    }  # fmt: skip
    answer = handler(event, None)
    assert answer["statusCode"] == 400
    assert "limit is given 2 times" in answer["body"]


@pytest.mark.parametrize("sent", ["a%40b%20%C3%A9", "a@b é"])
def test_path_parameters_are_decoded_once_or_not_at_all(sent: str) -> None:
    handler = http.handler({"GET /v1/{userID}": lambda request: http.Response(dict(request.parameters))}, ApiSettings())
    assert call(handler, "GET /v1/{userID}", parameters={"userID": sent}).body == {"userID": "a@b é"}
