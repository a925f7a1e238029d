"""Uploads from browsers, part by part."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from moto import mock_aws

from elasticrecode.access import prefixes
from elasticrecode.contract import routes
from elasticrecode.contract.auth import Auth
from elasticrecode.files import uploads
from elasticrecode.files.uploads import PARTS_LIMIT, UPLOAD_BYTES, Upload, is_file_name, place
from elasticrecode.jobs.uris import is_object
from tests.aws.test_links import as_user
from tests.conftest import contract
from tests.fakes.stack import Stack
from tests.fakes.turns import answer_in_turn, call_in_turn
from tests.fakes.wiring import Handler
from tests.support import Answer, call

MIB = 2**20
PART = 8 * MIB
SIZE = 2 * PART + 5


class Browser:
    """Uploads a file through the API and by its links."""

    def __init__(self, stack: Stack, **changes: Any) -> None:
        self.stack, self.files = stack, stack.build("files", **changes)

    def begin(self, size: int = SIZE, name: str = "film.mov", user: str = "ann") -> dict[str, Any]:
        """A new upload."""
        answer = call(self.files, routes.ADD_UPLOAD, {"userID": user, "name": name, "bytes": size})
        assert answer.status == 201, answer
        begun: dict[str, Any] = answer.body
        return begun

    def call(self, route: str, upload: dict[str, Any], body: Any = None) -> Answer:
        """The answer to a request about an upload."""
        return call(self.files, route, body, {"uploadID": upload["uploadID"]})

    def send(self, upload: dict[str, Any], *parts: int, filled: bytes = b"x") -> None:
        """Send parts by their links."""
        answer = self.call(routes.UPLOAD_LINKS, upload, {"parts": list(parts)})
        assert answer.status == 200, answer
        assert list(answer.body["urls"]) == [str(part) for part in parts]
        for part, url in answer.body["urls"].items():
            size = min(upload["partBytes"], upload["bytes"] - (int(part) - 1) * upload["partBytes"])
            assert requests.put(url, data=filled * size, timeout=30).status_code == 200

    def uploaded(self, upload: dict[str, Any]) -> list[int]:
        """The parts that S3 has."""
        parts: list[int] = self.call(routes.UPLOAD, upload).body["uploaded"]
        return parts

    def key(self, upload: dict[str, Any]) -> str:
        """The key of its file."""
        key: str = upload["uri"].removeprefix("s3://media/")
        return key


@pytest.fixture
def browser(stack: Stack) -> Browser:
    return Browser(stack)


def test_a_file_is_uploaded_in_parts_of_which_one_is_repeated_after_a_break(browser: Browser) -> None:
    upload = browser.begin()
    assert (upload["bytes"], upload["partBytes"], upload["parts"]) == (SIZE, PART, 3)
    browser.send(upload, 3, 1)
    assert browser.uploaded(upload) == [1, 3]
    browser.send(upload, 1, filled=b"y")
    early = browser.call(routes.COMPLETE_UPLOAD, upload)
    assert (early.status, early.body["detail"]) == (
        409, "Parts are missing: 2. Send them, then complete the upload.",
    )  # fmt: skip
    browser.send(upload, 2)
    assert browser.call(routes.COMPLETE_UPLOAD, upload).body == {"uri": upload["uri"]}
    read = browser.stack.s3.get_object(Bucket="media", Key=browser.key(upload))
    assert read["Body"].read() == b"y" * PART + b"x" * PART + b"x" * 5
    assert (read["ContentType"], read["ContentDisposition"]) == ("application/octet-stream", "attachment")


def test_completing_twice_gives_the_same_answer_and_a_complete_upload_takes_no_parts(browser: Browser) -> None:
    upload = browser.begin(10)
    browser.send(upload, 1)
    answers = [browser.call(routes.COMPLETE_UPLOAD, upload) for _ in range(2)]
    assert [(each.status, each.body) for each in answers] == [(200, {"uri": upload["uri"]})] * 2
    assert browser.uploaded(upload) == [1]
    assert browser.call(routes.UPLOAD_LINKS, upload, {"parts": [1]}).status == 409
    assert browser.call(routes.CANCEL_UPLOAD, upload).status == 409
    assert browser.stack.s3.get_object(Bucket="media", Key=browser.key(upload))["Body"].read() == b"x" * 10


@pytest.mark.parametrize("route", [routes.COMPLETE_UPLOAD, routes.UPLOAD, routes.CANCEL_UPLOAD])
def test_an_upload_that_was_completed_by_an_invocation_that_died_is_complete(browser: Browser, route: str) -> None:
    """S3 has joined the parts, and the table does not have that yet."""
    upload = browser.begin(10)
    browser.send(upload, 1)
    before = [item for item in browser.stack.items() if item["item"]["S"] == "upload"]
    browser.call(routes.COMPLETE_UPLOAD, upload)
    browser.stack.dynamodb.put_item(TableName="jobs", Item=before[0])
    assert browser.call(route, upload).status == (409 if route == routes.CANCEL_UPLOAD else 200)
    assert browser.uploaded(upload) == [1]
    assert browser.call(routes.UPLOAD_LINKS, upload, {"parts": [1]}).status == 409


def test_a_cancelled_upload_leaves_nothing(browser: Browser) -> None:
    upload = browser.begin()
    browser.send(upload, 1)
    answer = browser.files(
        {
            "httpMethod": "DELETE", "resource": "/v1/uploads/{uploadID}", "path": "/", "requestContext": {},
            "pathParameters": {"uploadID": upload["uploadID"]},
        },
        None,
    )  # fmt: skip
    assert (answer["statusCode"], answer["body"]) == (204, "")
    assert "Content-Type" not in answer["headers"]
    assert "Uploads" not in browser.stack.s3.list_multipart_uploads(Bucket="media")
    assert browser.stack.items() == []
    for route in (routes.UPLOAD, routes.COMPLETE_UPLOAD, routes.CANCEL_UPLOAD):
        assert browser.call(route, upload).status == 404


def test_an_upload_that_s3_has_removed_is_gone(browser: Browser) -> None:
    upload = browser.begin()
    (begun,) = browser.stack.s3.list_multipart_uploads(Bucket="media")["Uploads"]
    browser.stack.s3.abort_multipart_upload(Bucket="media", Key=begun["Key"], UploadId=begun["UploadId"])
    for route in (routes.UPLOAD, routes.COMPLETE_UPLOAD, routes.CANCEL_UPLOAD):
        assert browser.call(route, upload).status == 404


def test_an_upload_ends_after_two_days(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    upload, clock = browser.begin(), time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 2 * 86_400 - 60)
    assert browser.call(routes.UPLOAD, upload).status == 200
    monkeypatch.setattr(time, "time", lambda: clock() + 2 * 86_400 + 60)
    assert browser.call(routes.UPLOAD, upload).status == 404


def test_a_part_sent_anew_while_the_upload_is_completed_is_not_lost(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ETags that are joined are those of before."""
    upload = browser.begin(10)
    browser.send(upload, 1)
    listed = Upload.missing

    def sent_meanwhile(self: Upload, stored: uploads.Stored) -> str:
        browser.send(upload, 1, filled=b"y")
        return listed(self, stored)

    monkeypatch.setattr(Upload, "missing", sent_meanwhile)
    assert browser.call(routes.COMPLETE_UPLOAD, upload).status == 409
    monkeypatch.undo()
    assert browser.call(routes.COMPLETE_UPLOAD, upload).status == 200


def test_a_link_is_for_one_part_of_one_size_for_fifteen_minutes(browser: Browser) -> None:
    upload, asked = browser.begin(), time.time()
    answer = browser.call(routes.UPLOAD_LINKS, upload, {"parts": [2]})
    assert asked + 890 < answer.body["expiresAt"] <= time.time() + 900
    url = urlsplit(answer.body["urls"]["2"])
    query = parse_qs(url.query)
    assert (url.netloc, url.path) == ("media.s3.us-east-1.amazonaws.com", f"/{browser.key(upload)}")
    assert query["partNumber"] == ["2"]
    assert query["X-Amz-Expires"] == ["900"]
    assert query["X-Amz-SignedHeaders"] == ["content-length;host"]
    assert not [name for name in query if "checksum" in name.lower()]


def test_requests_for_wrong_parts_are_refused_with_every_fault(browser: Browser) -> None:
    upload = browser.begin()

    def pointers(parts: Any) -> list[str]:
        answer = browser.call(routes.UPLOAD_LINKS, upload, {"parts": parts})
        assert answer.status == 422
        return [fault["pointer"] for fault in answer.body["errors"]]

    assert pointers([1, 4, 3, 10_000]) == ["/parts/1", "/parts/3"]
    assert pointers([0, -1, "1", 10_001]) == ["/parts/0", "/parts/1", "/parts/2", "/parts/3"]
    assert pointers([]) == pointers([1] * 101) == pointers(1) == ["/parts"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"bytes": 0}, "/bytes"), ({"bytes": UPLOAD_BYTES + 1}, "/bytes"), ({"bytes": 1.5}, "/bytes"),
        ({"bytes": "9"}, "/bytes"), ({"name": ""}, "/name"), ({"name": "é" * 128}, "/name"), ({"name": 1}, "/name"),
        ({"userID": "a b"}, "/userID"), ({"key": "in/"}, "/key"),
    ],
)  # fmt: skip
def test_wrong_uploads_are_refused_and_nothing_begins(browser: Browser, changes: dict[str, Any], pointer: str) -> None:
    body = {"userID": "ann", "name": "film.mov", "bytes": 9} | changes
    answer = call(browser.files, routes.ADD_UPLOAD, body)
    assert (answer.status, [fault["pointer"] for fault in answer.body["errors"]]) == (422, [pointer])
    assert "Uploads" not in browser.stack.s3.list_multipart_uploads(Bucket="media")


# Whose uploads


def as_called(files: Handler, user: str, route: str, upload_id: str, body: Any = None) -> int:
    """The status of a user's request about an upload."""
    method, resource = route.split(" ")
    event = {
        "httpMethod": method, "resource": resource, "path": "/", "pathParameters": {"uploadID": upload_id},
        "body": json.dumps(body), "requestContext": as_user(user),
    }  # fmt: skip
    status: int = files(event, None)["statusCode"]
    return status


def test_only_its_user_and_operators_reach_an_upload(browser: Browser) -> None:
    upload = browser.begin(10)
    files = browser.stack.build("files", auth=Auth("cognito"))
    own: dict[str, Any] = {"userID": "ann", "name": "a", "bytes": 1}
    assert as_called(files, "bob", routes.ADD_UPLOAD, "", own) == 403
    assert as_called(files, "ann", routes.ADD_UPLOAD, "", own) == 201
    upload_id = upload["uploadID"]
    for route in (routes.UPLOAD, routes.UPLOAD_LINKS, routes.COMPLETE_UPLOAD, routes.CANCEL_UPLOAD):
        assert as_called(files, "bob", route, upload_id, {"parts": [1]}) == 404
    assert as_called(files, "ann", routes.UPLOAD_LINKS, upload_id, {"parts": [1]}) == 200


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A deployment with user prefixes, among them that of uploads, as the options have it."""
    answer_in_turn(monkeypatch)
    call_in_turn(monkeypatch)
    given = [prefixes.UserPrefix(prefix="users/{userID}/"), prefixes.UPLOADS]
    with mock_aws():
        yield Stack(
            [{"prefix": each.prefix, "access": each.access} for each in (one.with_bucket("media") for one in given)]
        )


def test_with_user_prefixes_a_users_own_uploads_are_inputs_of_jobs(kept: Stack) -> None:
    uri = Browser(kept).begin(10)["uri"]
    order = contract("job") | {"userid": "ann", "input": uri, "output": "s3://media/users/ann/out/"}
    assert call(kept.submit, routes.SUBMIT, order).status == 200
    theirs = call(kept.submit, routes.SUBMIT, order | {"userid": "bob", "output": "s3://media/users/bob/"})
    assert [fault["pointer"] for fault in theirs.body["errors"]] == ["/input"]
    onto = call(kept.submit, routes.SUBMIT, order | {"output": "s3://media/uploads/ann/"})
    assert [fault["pointer"] for fault in onto.body["errors"]] == ["/output"]


@pytest.mark.parametrize("user", ["auth0|5f", "日本", "..", "a*"])
def test_with_user_prefixes_an_id_that_iam_cannot_tag_cannot_upload(kept: Stack, user: str) -> None:
    answer = call(Browser(kept).files, routes.ADD_UPLOAD, {"userID": user, "name": "a.mp4", "bytes": 1})
    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, "/userID")
    assert "Uploads" not in kept.s3.list_multipart_uploads(Bucket="media")


# Names

ODD = [
    "film.mov", "日本 の 映画.mp4", "it's \"quoted\".mp4", "100% #1 ?a=b&c+d.mp4", "%2e%2e%2f.mp4", " spaces .mp4",
    "*${aws:username}.mp4", "🎬.mp4", "e\u0301.mp4",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_a_file_keeps_its_name(browser: Browser, name: str) -> None:
    upload = browser.begin(3, name)
    assert upload["uri"].rpartition("/")[2] == name
    browser.send(upload, 1)
    assert browser.call(routes.COMPLETE_UPLOAD, upload).status == 200
    assert browser.stack.s3.get_object(Bucket="media", Key=browser.key(upload))["Body"].read() == b"xxx"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a\nb\r.mp4", "a_b_.mp4"), ("../../etc/a.mp4", ".._.._etc_a.mp4"), ("..", "__"), (".", "_"), ("/", "_"),
        ("a\\b.mp4", "a_b.mp4"), ("\0\x1b[31m.mp4", "__[31m.mp4"), ("gpj.\u202e4pm", "gpj._4pm"), ("...", "..."),
    ],
)  # fmt: skip
def test_a_name_that_is_no_line_or_a_path_is_changed(name: str, kept: str) -> None:
    key = place("ann", "u", name)
    assert key == f"uploads/ann/u/{kept}"
    assert is_object(f"s3://media/{key}")


@pytest.mark.parametrize(("user", "folder"), [("..", "%2E%2E"), (".", "%2E"), ("a..b", "a..b"), ("日本", "日本")])
def test_no_users_id_leads_out_of_the_uploads(user: str, folder: str) -> None:
    assert place(user, "u", "a.mp4") == f"uploads/{folder}/u/a.mp4"


def test_the_longest_names_and_ids_fit_into_a_key() -> None:
    name = "𝄞" * 63 + "mp4"
    assert is_file_name(name)
    assert not is_file_name(name + "x")
    assert is_object(f"s3://media/{place('𝄞' * 128, 'u' * 36, name)}")


# Sizes


@pytest.mark.parametrize(
    ("size", "part", "parts"),
    [
        (1, PART, 1), (PART, PART, 1), (PART + 1, PART, 2), (PARTS_LIMIT * PART, PART, PARTS_LIMIT),
        (PARTS_LIMIT * PART + 1, 9 * MIB, 8889), (2**40, 105 * MIB, 9987), (UPLOAD_BYTES, 525 * MIB, 9987),
    ],
)  # fmt: skip
def test_parts_grow_so_that_s3_takes_their_number(size: int, part: int, parts: int) -> None:
    upload = Upload("u", "ann", "media", "k", size, "t")
    assert (upload.part_bytes, upload.parts) == (part, parts)
    assert 0 < upload.size(parts) <= part
    assert (parts - 1) * part + upload.size(parts) == size


def test_a_part_of_another_size_or_number_does_not_count() -> None:
    upload = Upload("u", "ann", "media", "k", SIZE, "t")
    stored = {1: (PART, "a"), 2: (PART - 1, "b"), 3: (5, "c"), 4: (5, "d")}
    assert upload.whole(stored) == [1, 3]
    assert upload.missing(stored) == "2"
    assert upload.missing({}) == "1, 2, 3"
    large = Upload("u", "ann", "media", "k", UPLOAD_BYTES, "t")
    assert large.missing({}) == "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 9977 more"


def test_an_idempotency_key_gives_the_same_upload(browser: Browser) -> None:
    body = {"userID": "ann", "name": "film.mov", "bytes": SIZE}

    def begin(key: str = "k", **changes: Any) -> dict[str, Any]:
        answer = call(browser.files, routes.ADD_UPLOAD, body | changes, headers={"Idempotency-Key": key})
        assert answer.status == 201, answer
        begun: dict[str, Any] = answer.body
        return begun

    upload = begin()
    browser.send(upload, 1, 3)
    assert begin() == upload
    assert browser.uploaded(upload) == [1, 3]
    browser.send(upload, 2)
    assert browser.call(routes.COMPLETE_UPLOAD, upload).status == 200
    assert begin() == upload
    assert browser.uploaded(upload) == [1, 2, 3]
    others = [begin("other"), begin(name="b.mov"), begin(bytes=SIZE - 1), begin(userID="bob")]
    assert len({each["uri"] for each in (upload, *others)}) == 5


def test_a_file_is_not_uploaded_again_after_the_record_of_its_upload_has_ended(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, key = {"userID": "ann", "name": "film.mov", "bytes": 5}, {"Idempotency-Key": "k"}
    upload = call(browser.files, routes.ADD_UPLOAD, body, headers=key).body
    browser.send(upload, 1)
    browser.call(routes.COMPLETE_UPLOAD, upload)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + uploads.UPLOAD_SECONDS + 1)
    again = call(browser.files, routes.ADD_UPLOAD, body, headers=key).body
    assert again == upload
    assert browser.call(routes.COMPLETE_UPLOAD, again).body == {"uri": upload["uri"]}


def test_a_file_that_was_removed_is_uploaded_again(browser: Browser) -> None:
    body, key = {"userID": "ann", "name": "film.mov", "bytes": 5}, {"Idempotency-Key": "k"}
    upload = call(browser.files, routes.ADD_UPLOAD, body, headers=key).body
    browser.send(upload, 1)
    browser.call(routes.COMPLETE_UPLOAD, upload)
    browser.stack.s3.delete_object(Bucket="media", Key=browser.key(upload))
    assert call(browser.files, routes.ADD_UPLOAD, body, headers=key).body == upload
    assert browser.uploaded(upload) == []
    browser.send(upload, 1)
    assert browser.call(routes.COMPLETE_UPLOAD, upload).body == {"uri": upload["uri"]}


@pytest.mark.parametrize("has_file", [False, True])
def test_an_upload_whose_parts_s3_has_no_more_begins_anew_or_is_complete(browser: Browser, has_file: bool) -> None:
    body, key = {"userID": "ann", "name": "film.mov", "bytes": 5}, {"Idempotency-Key": "k"}
    upload = call(browser.files, routes.ADD_UPLOAD, body, headers=key).body
    s3 = browser.stack.s3
    (begun,) = s3.list_multipart_uploads(Bucket="media")["Uploads"]
    s3.abort_multipart_upload(Bucket="media", Key=begun["Key"], UploadId=begun["UploadId"])
    if has_file:
        s3.put_object(Bucket="media", Key=browser.key(upload), Body=b"-" * 5)
    assert call(browser.files, routes.ADD_UPLOAD, body, headers=key).body == upload
    assert browser.uploaded(upload) == ([1] if has_file else [])
    if not has_file:
        browser.send(upload, 1)
    assert browser.call(routes.COMPLETE_UPLOAD, upload).body == {"uri": upload["uri"]}


def test_of_two_requests_with_one_key_the_first_begins_the_upload(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, key = {"userID": "ann", "name": "film.mov", "bytes": 5}, {"Idempotency-Key": "k"}
    first = call(browser.files, routes.ADD_UPLOAD, body, headers=key).body
    browser.send(first, 1)
    monkeypatch.setattr("elasticrecode.files.store.UploadsTable.get", lambda *_: None)  # as if it were not there yet
    assert call(browser.files, routes.ADD_UPLOAD, body, headers=key).body == first
    monkeypatch.undo()
    assert browser.uploaded(first) == [1]
    assert len(browser.stack.s3.list_multipart_uploads(Bucket="media").get("Uploads", [])) == 1
