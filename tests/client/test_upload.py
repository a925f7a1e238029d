"""Uploads survive lost parts, ended links and broken processes, and send each part that S3 has once."""

import os
from pathlib import Path
from typing import Any

import pytest

from elasticrecode_client import TransferFailed
from elasticrecode_client.uploading import Sent
from tests.client.conftest import Make
from tests.client.server import PART, Reply, Server

CONTENT = os.urandom(10 * PART + 7)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film é.mov"
    path.write_bytes(CONTENT)
    return path


def parts_sent(server: Server) -> list[str]:
    return [request.path for request in server.seen if request.method == "PUT"]


def test_a_file_arrives_whole_and_its_progress_is_seen(client: Any, server: Server, film: Path) -> None:
    seen: list[Sent] = []
    assert client.upload(film, progress=seen.append) == "s3://media/film é.mov"
    assert server.content("u0") == CONTENT
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [one.sent for one in seen] == sorted(one.sent for one in seen)
    assert server.requests("POST /api/v1/uploads")[0].json == {
        "userID": "ann",
        "name": film.name,
        "bytes": len(CONTENT),
    }
    put = next(request for request in server.seen if request.method == "PUT")
    assert "authorization" not in put.headers
    assert "transfer-encoding" not in put.headers


def test_parts_are_sent_again_until_s3_has_them(client: Any, server: Server, film: Path) -> None:
    server.replies["PUT /s3/u0/2"] = [Reply(broken=True), Reply(503, b"<Code>SlowDown</Code>"), Reply(403, b"")]
    server.replies["PUT /s3/u0/11"] = [Reply(500, b"")]
    seen: list[Sent] = []
    client.upload(film, progress=seen.append)
    assert server.content("u0") == CONTENT
    assert parts_sent(server).count("/s3/u0/2") == 4
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    asked = [part for request in server.requests("POST /api/v1/uploads/u0/links") for part in request.json["parts"]]
    assert asked.count(2) > 1


def test_an_upload_goes_on_in_the_next_process_with_what_s3_lacks(make: Make, server: Server, film: Path) -> None:
    server.replies["PUT /s3/u0/7"] = [Reply(400, b"<Error><Code>EntityTooSmall</Code></Error>")]
    with pytest.raises(TransferFailed, match="Part 7 could not be sent: S3 answers 400 EntityTooSmall"):
        make(server.url).upload(film)
    have = set(server.uploads["u0"]["have"])
    assert have
    before = len(server.seen)
    seen: list[Sent] = []
    assert make(server.url).upload(film, progress=seen.append) == "s3://media/film é.mov"
    assert server.content("u0") == CONTENT
    again = {int(one.path.rsplit("/", 1)[1]) for one in server.seen[before:] if one.method == "PUT"}
    assert again.isdisjoint(have)
    assert seen[0].sent >= len(have - {11}) * PART
    assert len(server.uploads) == 1
    make(server.url).upload(film)
    assert len(server.uploads) == 2


def test_a_changed_file_is_another_upload(make: Make, server: Server, film: Path) -> None:
    server.replies["PUT /s3/u0/7"] = [Reply(400, b"")]
    with pytest.raises(TransferFailed):
        make(server.url).upload(film)
    film.write_bytes(CONTENT[:-1])
    make(server.url).upload(film)
    assert server.content("u1") == CONTENT[:-1]


def test_an_upload_that_the_api_has_forgotten_begins_anew(make: Make, server: Server, film: Path) -> None:
    server.replies["PUT /s3/u0/7"] = [Reply(400, b"")]
    with pytest.raises(TransferFailed):
        make(server.url).upload(film)
    server.uploads["u1"] = server.uploads.pop("u0")
    make(server.url).upload(film)
    assert len(server.requests("POST /api/v1/uploads")) == 2


def test_a_file_that_changes_meanwhile_is_not_completed(client: Any, server: Server, film: Path) -> None:
    def touch(sent: Sent) -> None:
        if sent.sent == sent.total:
            os.utime(film, (1, 1))

    with pytest.raises(TransferFailed, match="has changed"):
        client.upload(film, progress=touch)
    assert server.requests("POST /api/v1/uploads/u0/complete") == []


def test_a_lost_answer_to_the_last_request_is_asked_for_again(client: Any, server: Server, film: Path) -> None:
    server.replies["POST /api/v1/uploads/u0/complete"] = [Reply(broken=True), Reply(503, {})]
    assert client.upload(film) == "s3://media/film é.mov"


@pytest.mark.parametrize("name", ["nothing-here.mov", "."])
def test_what_is_no_file_is_refused_before_any_request(client: Any, server: Server, tmp_path: Path, name: str) -> None:
    with pytest.raises(TransferFailed):
        client.upload(tmp_path / name)
    assert server.seen == []


def test_an_exception_of_the_caller_ends_an_upload_at_once(client: Any, server: Server, film: Path) -> None:
    def stop(sent: Sent) -> None:
        if sent.sent:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.upload(film, progress=stop)
    assert len(parts_sent(server)) < 11
    assert client.upload(film) == "s3://media/film é.mov"
    assert server.content("u0") == CONTENT


def test_links_are_in_no_log(client: Any, film: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    client.upload(film)
    assert "X-Amz-Signature" not in caplog.text
    assert "secret-1" not in caplog.text


def test_a_key_gives_the_same_bytes_the_same_place(
    make: Make, server: Server, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = make(server.url).upload(film, key="the-key")
    sent = len(parts_sent(server))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache of another machine"))
    os.utime(film, (1, 1))
    assert make(server.url).upload(film, key="the-key") == uri
    assert (len(server.uploads), len(parts_sent(server))) == (1, sent)
    film.write_bytes(CONTENT[::-1])
    make(server.url).upload(film, key="the-key")
    make(server.url).upload(film, key="another-key")
    assert len(server.uploads) == 3
