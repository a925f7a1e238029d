"""Frames are posted in order, to many at once, whatever the endpoint does, and signed as AWS wants it."""

import gc
import logging
import math
import ssl
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import botocore.session
import pytest
import trustme
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import NoRegionError
from hypothesis import given
from hypothesis import strategies as st

from elasticrecode.watch import sockets as posting
from elasticrecode.watch.signing import Signer, canonical, host_header
from elasticrecode.watch.sockets import Outcome, Poster
from tests.fakes.gateway import (
    DROP,
    FINE,
    HANG,
    REGION,
    SECRETS,
    TOKEN,
    Answer,
    ScriptedGateway,
    Seen,
    Steady,
    is_signed,
    shuffled,
    status,
)

ODD = "L0SM9cOFvHcCIhw="
PLENTY = 60.0
IDS = ("a", "b", "c", ODD, "+/=", "a b", "ü%3D", "~-._", "@:,;!*'()$&")


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDONE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRETS["AKIDONE"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)


@pytest.fixture
def gateway() -> Iterator[ScriptedGateway]:
    with ScriptedGateway() as server:
        yield server
        assert not server.faults


@pytest.fixture
def poster(gateway: ScriptedGateway) -> Iterator[Poster]:
    made = Poster(gateway.url)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer may take as long as it likes, so that none is posted again because this machine was busy."""
    monkeypatch.setattr(posting, "ANSWER_SECONDS", PLENTY)
    monkeypatch.setattr(posting, "_DELETE_SECONDS", PLENTY)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause ends within any time: what is posted again was posted again by libcurl, at once."""
    monkeypatch.setattr(posting, "_FIRST_PAUSE_SECONDS", math.inf)
    monkeypatch.setattr(posting, "_LONGEST_PAUSE_SECONDS", math.inf)


def test_each_connection_gets_its_frames_in_order(gateway: ScriptedGateway, poster: Poster) -> None:
    frames = shuffled(IDS, 20)
    assert poster.post(frames, PLENTY) == {key: Outcome(20, "") for key in IDS}
    assert {key: gateway.frames(key) for key in IDS} == frames
    assert {seen.method for seen in gateway.seen} == {"POST"}
    assert gateway.tokens == {TOKEN}


def test_nothing_to_post(gateway: ScriptedGateway, poster: Poster) -> None:
    assert poster.post({}, PLENTY) == {}
    assert poster.post({"a": []}, PLENTY) == {"a": Outcome(0, "")}
    assert gateway.seen == []


def test_a_large_frame_and_an_empty_one(gateway: ScriptedGateway, poster: Poster) -> None:
    frames = [b"x" * 128 * 1024, b"", bytes(range(256))]
    assert poster.post({"a": frames}, PLENTY) == {"a": Outcome(3, "")}
    assert gateway.frames("a") == frames


def test_connections_to_the_server_are_kept(gateway: ScriptedGateway, poster: Poster) -> None:
    for _ in range(3):
        assert poster.post({"a": [b"1", b"2", b"3"]}, PLENTY) == {"a": Outcome(3, "")}
    assert len({seen.port for seen in gateway.seen}) == 1


def test_a_thousand_at_once(gateway: ScriptedGateway, poster: Poster) -> None:
    gateway.otherwise = status(200, after=0.005)
    ids = [f"{n}=" for n in range(1000)]
    for _ in range(2):
        assert set(poster.post({key: [b"event"] for key in ids}, PLENTY).values()) == {Outcome(1, "")}
    assert Counter(seen.path for seen in gateway.seen) == {f"/ws/@connections/{n}%3D": 2 for n in range(1000)}
    assert 2 < gateway.most <= 128
    assert len({seen.port for seen in gateway.seen}) <= 128


def test_no_more_in_flight_than_allowed(gateway: ScriptedGateway) -> None:
    gateway.otherwise = status(200, after=0.1)
    poster = Poster(gateway.url, in_flight=3)
    poster.post(shuffled(IDS, 2), PLENTY)
    poster.close()
    assert gateway.most == 3


def test_a_closed_connection_is_reported_and_delays_no_other(gateway: ScriptedGateway, poster: Poster) -> None:
    gateway.told("gone", FINE, status(410, "GoneException"))
    assert poster.post(shuffled(["gone", "there"], 3), PLENTY) == {
        "gone": Outcome(1, "gone"),
        "there": Outcome(3, ""),
    }
    assert gateway.frames("gone") == [b"gone 0", b"gone 1"]


@pytest.mark.parametrize(
    "passing",
    [status(429, "LimitExceededException"), status(400, "ThrottlingException:http://aws/"), status(500), status(503)],
)
def test_what_passes_is_posted_again(gateway: ScriptedGateway, poster: Poster, passing: Answer) -> None:
    gateway.told("a", FINE, passing, passing, FINE, passing)
    assert poster.post(shuffled(["a", "b"], 3), PLENTY) == {"a": Outcome(3, ""), "b": Outcome(3, "")}
    assert gateway.frames("a") == [f"a {n}".encode() for n in (0, 1, 1, 1, 2, 2)]


def test_pauses_grow_to_a_limit_and_are_not_alike() -> None:
    drawn = [[posting._pause(failures) for failures in range(2000)] for _ in range(2)]
    assert drawn[0] != drawn[1]
    assert all(0.025 <= pauses[0] <= 0.05 and 0.4 <= pauses[4] <= 0.8 and 1 <= pauses[-1] <= 2 for pauses in drawn)


@pytest.mark.parametrize("failing", [status(500), status(429), DROP, HANG])
def test_one_that_fails_for_ever_is_late_and_harms_no_other(
    gateway: ScriptedGateway,
    poster: Poster,
    failing: Answer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(posting, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(posting, "time", Steady())
    gateway.told("a", FINE, *[failing] * 1000)
    started = time.monotonic()
    assert poster.post(shuffled(["a", "b"], 3), 3) == {"a": Outcome(1, "late"), "b": Outcome(3, "")}
    assert time.monotonic() - started < 20
    assert len(gateway.frames("a")) > 2
    assert "POST failed for 1 connections: " in caplog.text


def test_a_connection_gets_nothing_after_its_token_expires(
    gateway: ScriptedGateway, poster: Poster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock on which each frame takes a second."""
    clock = SimpleNamespace(monotonic=time.monotonic, time=lambda: 1000.0 + len(gateway.frames("a")))
    monkeypatch.setattr(posting, "time", clock)
    frames, end = shuffled(["a", "b"], 100), 1050.0
    outcomes = poster.post(frames, PLENTY, {"a": end, "c": 0})
    assert outcomes["b"] == Outcome(100, "")
    assert outcomes["a"].ended == "late"
    assert outcomes["a"].delivered == 50
    assert gateway.frames("a") == frames["a"][: outcomes["a"].delivered]
    assert poster.post(frames, PLENTY, {"a": end})["a"] == Outcome(0, "late")


@pytest.mark.parametrize("code", [301, 400, 403, 404, 413])
def test_refused_frames_are_not_retried(
    gateway: ScriptedGateway, poster: Poster, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.told("a", FINE, status(code, "SomeException"))
    assert poster.post(shuffled(["a", "b"], 3), PLENTY) == {"a": Outcome(1, "late"), "b": Outcome(3, "")}
    assert len(gateway.frames("a")) == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"POST failed for 1 connections: status {code} SomeException"
    ]


def test_the_log_has_one_line_for_all_that_failed_alike_and_no_secret(
    gateway: ScriptedGateway, poster: Poster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway.otherwise = status(403, "ForbiddenException")
    poster.post({key: [b"payload"] for key in IDS}, PLENTY)
    ours = [record for record in caplog.records if record.name == posting.__name__]
    assert [record.getMessage() for record in ours] == [
        f"POST failed for {len(IDS)} connections: status 403 ForbiddenException"
    ]
    assert not any(word in caplog.text for word in (TOKEN, SECRETS["AKIDONE"], "payload", "Signature="))


def test_hanging_connections_delay_no_other(
    gateway: ScriptedGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(posting, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(posting, "time", Steady())
    for key in ("h", "i", "j"):
        gateway.told(key, *[HANG] * 100)
    poster = Poster(gateway.url, in_flight=3)
    outcomes = poster.post(shuffled(["h", "i", "j", *IDS], 2), 5)
    poster.close()
    assert outcomes == dict.fromkeys("hij", Outcome(0, "late")) | dict.fromkeys(IDS, Outcome(2, ""))
    assert "in time" in caplog.text or "timed out" in caplog.text.lower()


def test_a_server_that_hangs_altogether(gateway: ScriptedGateway) -> None:
    gateway.otherwise = HANG
    poster = Poster(gateway.url, in_flight=2)
    started = time.monotonic()
    assert set(poster.post(shuffled(IDS, 2), 0.3).values()) == {Outcome(0, "late")}
    assert time.monotonic() - started < 20
    gateway.otherwise = FINE
    assert set(poster.post(shuffled(IDS, 2), PLENTY).values()) == {Outcome(2, "")}
    poster.close()


def test_no_time_at_all(gateway: ScriptedGateway, poster: Poster) -> None:
    assert poster.post({"a": [b"1"]}, 0) == {"a": Outcome(0, "late")}
    assert poster.post({"a": [b"1"]}, -1) == {"a": Outcome(0, "late")}
    assert gateway.seen == []


def test_slow_answers_are_waited_for(gateway: ScriptedGateway, poster: Poster) -> None:
    gateway.otherwise = status(200, after=0.15)
    assert poster.post(shuffled(IDS, 2), PLENTY) == dict.fromkeys(IDS, Outcome(2, ""))
    assert len(gateway.seen) == 2 * len(IDS)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nx: y\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(CHUNKED),
        Answer(b"HTTP/1.1 204 No Content\r\n\r\n"),
        Answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"),
        Answer(b"HTTP/1.1 200 OK\r\n\r\nuntil it closes", close=True),
        Answer(b"HTTP/1.0 200 OK\r\n\r\n", close=True),
        Answer(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", close=True),
        Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000),
        Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of the", close=True),
        Answer(CHUNKED[:-30], close=True),
    ],
)
def test_answers_of_every_shape(gateway: ScriptedGateway, poster: Poster, answer: Answer, no_pause: None) -> None:
    gateway.told("a", answer, answer)
    assert poster.post({"a": [b"1", b"2", b"3"]}, PLENTY) == {"a": Outcome(3, "")}
    assert gateway.frames("a") == [b"1", b"2", b"3"]


@pytest.mark.parametrize("data", [b"", b"HTTP/1.", b"garbage\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_empty_answer_is_retried(gateway: ScriptedGateway, poster: Poster, data: bytes) -> None:
    gateway.told("a", Answer(data, close=True), FINE, Answer(data, close=True))
    assert poster.post({"a": [b"1", b"2"]}, PLENTY) == {"a": Outcome(2, "")}
    assert gateway.frames("a") == [b"1", b"1", b"2", b"2"]


def test_a_kept_connection_that_closes_as_it_is_used_is_replaced_at_once(
    gateway: ScriptedGateway, poster: Poster, no_pause: None
) -> None:
    gateway.told("a", FINE, DROP)
    assert poster.post({"a": [b"1", b"2", b"3"]}, PLENTY) == {"a": Outcome(3, "")}
    assert gateway.frames("a") == [b"1", b"2", b"2", b"3"]


def test_kept_connections_that_were_closed_while_idle(gateway: ScriptedGateway, poster: Poster, no_pause: None) -> None:
    for _ in range(3):
        assert set(poster.post(shuffled(IDS, 2), PLENTY).values()) == {Outcome(2, "")}
        gateway.close_idle()
    assert len(gateway.seen) == 3 * 2 * len(IDS)


def test_a_server_that_was_started_again(gateway: ScriptedGateway, poster: Poster, no_pause: None) -> None:
    assert poster.post({"a": [b"1"]}, PLENTY) == {"a": Outcome(1, "")}
    gateway.stop()
    with ScriptedGateway(port=gateway.port) as again:
        assert poster.post({"a": [b"2"]}, PLENTY) == {"a": Outcome(1, "")}
        assert again.frames("a") == [b"2"]


def test_a_server_that_is_not_there(gateway: ScriptedGateway, poster: Poster, caplog: pytest.LogCaptureFixture) -> None:
    gateway.stop()
    assert poster.post({key: [b"1"] for key in IDS}, 3) == dict.fromkeys(IDS, Outcome(0, "late"))
    assert "connections: no answer (curl 7: " in caplog.text


def test_a_connection_is_ended(gateway: ScriptedGateway, poster: Poster, caplog: pytest.LogCaptureFixture) -> None:
    gateway.told(ODD, status(500), Answer(b"HTTP/1.1 204 No Content\r\n\r\n"), status(410))
    poster.delete(ODD)
    poster.delete(ODD)
    assert [(seen.method, seen.path, seen.body) for seen in gateway.seen] == [
        ("DELETE", "/ws/@connections/L0SM9cOFvHcCIhw%3D", b"")
    ] * 3
    assert poster.post({"a": [b"1"]}, PLENTY) == {"a": Outcome(1, "")}
    assert caplog.records == []


def test_ending_that_is_refused_is_logged(
    gateway: ScriptedGateway, poster: Poster, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.told("a", status(403))
    poster.delete("a")
    assert caplog.messages == ["DELETE failed for 1 connections: status 403"]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[ScriptedGateway]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with ScriptedGateway(tls=context, prefix="/_aws/execute-api/abc123/ws") as server:
        yield server
        assert not server.faults


@pytest.mark.parametrize("told_by", ["keyword", "environment"])
def test_https_with_a_private_authority(
    secure: ScriptedGateway, authority: trustme.CA, tmp_path: Path, told_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    if told_by == "environment":
        monkeypatch.setenv("AWS_CA_BUNDLE", str(path))
        poster = Poster(secure.url)
    else:
        poster = Poster(secure.url, authorities=str(path))
    for _ in range(2):
        assert poster.post(shuffled(IDS, 3), PLENTY) == dict.fromkeys(IDS, Outcome(3, ""))
    poster.close()
    assert len({seen.port for seen in secure.seen}) <= len(IDS)
    assert secure.seen[0].path.startswith("/_aws/execute-api/abc123/ws/@connections/")


def test_https_with_an_authority_nobody_trusts(secure: ScriptedGateway, caplog: pytest.LogCaptureFixture) -> None:
    poster = Poster(secure.url)
    assert poster.post({"a": [b"1"]}, PLENTY) == {"a": Outcome(0, "late")}
    poster.close()
    assert secure.seen == []
    assert "certificate" in caplog.text


def test_credentials_that_change_are_used_from_the_next_call(gateway: ScriptedGateway, poster: Poster) -> None:
    poster.post({"a": [b"1"]}, PLENTY)
    poster._session.set_credentials("AKIDTWO", SECRETS["AKIDTWO"], "another")
    poster.post({"a": [b"2"]}, PLENTY)
    poster._session.set_credentials("AKIDTWO", SECRETS["AKIDTWO"])
    poster.post({"a": [b"3"]}, PLENTY)
    assert [seen.headers.get("x-amz-security-token") for seen in gateway.seen] == [TOKEN, "another", None]


def test_a_call_that_was_cut_off_leaves_nothing_behind(gateway: ScriptedGateway, poster: Poster) -> None:
    gateway.told("a", HANG)
    answered = posting._Targets.answered

    def cut_off_once_it_hangs(*arguments: Any) -> None:
        if gateway.frames("a"):
            raise KeyboardInterrupt
        answered(*arguments)

    with mock.patch.object(posting._Targets, "answered", cut_off_once_it_hangs), pytest.raises(KeyboardInterrupt):
        poster.post(shuffled(["a", "b"], 1000), PLENTY)
    assert poster.post(shuffled(["a", "c"], 2), PLENTY) == {"a": Outcome(2, ""), "c": Outcome(2, "")}
    assert gateway.frames("a") == [b"a 0", b"a 0", b"a 1"]


def test_a_poster_nobody_holds_is_closed(gateway: ScriptedGateway) -> None:
    poster = Poster(gateway.url)
    poster.post({"a": [b"1"]}, PLENTY)
    held = weakref.ref(poster._requests)
    del poster
    gc.collect()
    assert held() is None


def test_closing_twice_and_unused(gateway: ScriptedGateway) -> None:
    poster = Poster(gateway.url)
    poster.close()
    poster.close()
    with pytest.raises(RuntimeError):
        poster.post({"a": [b"1"]}, PLENTY)


def test_no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(NoRegionError):
        Poster("http://localhost/ws")


# What is signed


def sent_by_botocore(url: str, connection_id: str, frame: bytes) -> Seen:
    """The request that botocore's own client makes."""
    sent: list[Any] = []

    def answer(request: Any, **_: Any) -> Any:
        sent.append(request)
        return AWSResponse(request.url, 200, HTTPHeaders(), mock.Mock(stream=lambda *_, **__: iter(())))

    client: Any = botocore.session.get_session().create_client("apigatewaymanagementapi", endpoint_url=url)
    client.meta.events.register("before-send", answer)
    client.post_to_connection(ConnectionId=connection_id, Data=frame)
    client.close()
    (request,) = sent
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
    }
    headers["host"] = host_header(url)
    return Seen(request.method, request.url.removeprefix(url[: url.index("/", 8)]), headers, request.body)


@pytest.mark.parametrize("connection_id", IDS)
def test_requests_are_those_of_botocore(gateway: ScriptedGateway, poster: Poster, connection_id: str) -> None:
    poster.post({connection_id: [b"frame"]}, PLENTY)
    (ours,) = gateway.seen
    theirs = sent_by_botocore(gateway.url, connection_id, b"frame")
    assert is_signed(theirs, SECRETS["AKIDONE"])
    assert (ours.method, ours.path, ours.body) == (theirs.method, theirs.path, theirs.body)
    assert ours.headers.keys() - {"content-length"} <= theirs.headers.keys()


TEXT = st.text(st.characters(codec="ascii", exclude_characters="\r\n \t", categories=("L", "N", "P")), min_size=1)


@given(
    connection_id=st.text(min_size=1).filter(lambda text: text.isprintable()),
    prefix=st.sampled_from(["", "/ws", "/_aws/execute-api/abc/ws", "/a%20b"]),
    frame=st.binary(),
    credentials=st.builds(Credentials, TEXT, TEXT, st.none() | TEXT),
    when=st.integers(1_500_000_000, 4_000_000_000),
    origin=st.sampled_from(
        ["http://localhost:4566", "https://a.execute-api.us-east-1.amazonaws.com", "http://[::1]:80"]
    ),
)
def test_signatures_are_those_of_botocore(
    connection_id: str, prefix: str, frame: bytes, credentials: Credentials, when: int, origin: str
) -> None:
    path = posting._Target(prefix, connection_id, (), math.inf).path
    request = AWSRequest("POST", origin + path, data=frame)
    moment = datetime.fromtimestamp(when, UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
        SigV4Auth(credentials, "execute-api", REGION).add_auth(request)
    frozen: ReadOnlyCredentials = credentials.get_frozen_credentials()
    with mock.patch.object(time, "time", return_value=when + 0.7):
        signer = Signer(frozen, REGION, host_header(origin))
        lines = signer.headers("POST", canonical(path), sha256(frame).hexdigest())
    ours = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert ours.pop("host") == host_header(origin)
    assert ours == {name.lower(): value for name, value in request.headers.items()}


def test_the_key_follows_the_day() -> None:
    signer = Signer(ReadOnlyCredentials("AKIDONE", SECRETS["AKIDONE"], None), REGION, "localhost")
    for second in (86_399, 86_400, 86_400, 86_401):
        with mock.patch.object(time, "time", return_value=second):
            lines = signer.headers("POST", "/", sha256(b"").hexdigest())
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        assert is_signed(Seen("POST", "/", headers, b""), SECRETS["AKIDONE"])


def test_what_was_changed_is_not_signed(gateway: ScriptedGateway, poster: Poster) -> None:
    poster.post({"a": [b"1"]}, PLENTY)
    (seen,) = gateway.seen
    assert is_signed(seen, SECRETS["AKIDONE"])
    assert not is_signed(seen, SECRETS["AKIDTWO"])
    assert not is_signed(seen._replace(body=b"2"), SECRETS["AKIDONE"])
    assert not is_signed(seen._replace(path="/ws/@connections/b"), SECRETS["AKIDONE"])
