"""What players get of the media bucket, from the deployed stack."""

import urllib.request
import uuid
from http.client import HTTPResponse

import pytest

from tests.e2e.conftest import Deployed

ORIGIN = "https://player.example.com"


@pytest.fixture(scope="module")
def playlist(deployed: Deployed) -> str:
    """The key of an object of 1000 bytes."""
    key = f"out/{uuid.uuid4()}/master.m3u8"
    deployed.s3.put_object(
        Bucket=deployed.bucket, Key=key, Body=bytes(1000), ContentType="application/vnd.apple.mpegurl"
    )
    return key


def request(deployed: Deployed, key: str, method: str = "GET", **headers: str) -> HTTPResponse:
    """S3's answer to a page's request of a signed URL."""
    operation = "head_object" if method == "HEAD" else "get_object"
    url = deployed.s3.generate_presigned_url(operation, Params={"Bucket": deployed.bucket, "Key": key})
    sent = {"Origin": ORIGIN} | {name.replace("_", "-"): value for name, value in headers.items()}
    answer: HTTPResponse = urllib.request.urlopen(urllib.request.Request(url, method=method, headers=sent))
    return answer


def test_a_player_of_any_page_reads_a_range_and_its_place_in_the_file(deployed: Deployed, playlist: str) -> None:
    with request(deployed, playlist, Range="bytes=100-299") as answer:
        assert (answer.status, len(answer.read())) == (206, 200)
        assert answer.headers["Content-Range"] == "bytes 100-299/1000"
        assert answer.headers["Content-Type"] == "application/vnd.apple.mpegurl"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        exposed = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
        assert {"Content-Length", "Content-Range", "ETag"} <= exposed


def test_a_browser_is_allowed_to_send_a_range(deployed: Deployed, playlist: str) -> None:
    asks = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "range"}
    with request(deployed, playlist, "OPTIONS", **asks) as answer:
        assert answer.status == 200
        assert "GET" in answer.headers["Access-Control-Allow-Methods"]
        assert "range" in answer.headers["Access-Control-Allow-Headers"].lower()


def test_a_player_reads_the_length_by_head(deployed: Deployed, playlist: str) -> None:
    with request(deployed, playlist, "HEAD") as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, "1000")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
