"""Files as a browser reaches them on the deployed stack: uploads, and links to the files of a job."""

import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import contract
from tests.e2e.conftest import TENANTS, Deployed

ANN, BOB = TENANTS
PAGE = "http://localhost"


def fetch(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> HTTPResponse:
    """S3's answer to a page's request; `Content_Range` stands for that header."""
    sent = {"Origin": PAGE} | {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        answer: HTTPResponse = urllib.request.urlopen(
            urllib.request.Request(url, body, sent, method=method), timeout=60
        )
    except urllib.error.HTTPError as error:
        return error  # type: ignore[return-value]  # it is an answer, too
    return answer


def submit(deployed: Deployed, uri: str, output: str, **profile: Any) -> str:
    """The id of a job of ann's."""
    body = contract("job") | {"userid": ANN, "input": uri, "output": f"s3://{deployed.bucket}/{output}"}
    body["profile"] = profile or {"ffmpeg": {"codec": "h264", "scale": "240p", "bitrate": "1M"}}
    status, answer, _ = deployed.call("POST", "/api/v1/jobs", body, user=ANN)
    assert status == 200, answer
    job_id: str = answer[0]["jobid"]
    return job_id


@pytest.fixture(scope="module")
def clip(clips: Callable[..., Path]) -> Path:
    return clips("files.mp4", "-f", "lavfi", "-i", "testsrc=s=320x240:d=2:r=10", "-pix_fmt", "yuv420p")


def test_a_browser_reads_a_package_by_links_and_nobody_else_gets_them(deployed: Deployed, clip: Path) -> None:
    uri = deployed.put(clip, "in/files é 100%.mp4")
    job_id = submit(deployed, uri, "linked/", package={"formats": ["hls"]})
    deployed.until(job_id, "finished")
    path = f"/api/v1/jobs/{job_id}/links"
    status, content, _ = deployed.call("GET", path, user=ANN)
    assert status == 200
    by_role = {link["role"]: link for link in content["links"]}
    with fetch(by_role["input"]["url"], Range="bytes=4-7") as answer:
        assert (answer.status, answer.read()) == (206, b"ftyp")
        assert answer.headers["Content-Disposition"].startswith("attachment;")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    master = next(link for link in content["links"] if link["uri"].endswith("master.m3u8"))
    with fetch(master["url"]) as answer:
        lines = answer.read().decode().splitlines()
    named = [line for line in lines if line and not line.startswith("#")]
    uris = [master["uri"].rpartition("/")[0] + "/" + name for name in named]
    status, content, _ = deployed.call("POST", path, {"uris": uris}, user=ANN)
    assert status == 200, content
    for link in content["links"]:
        with fetch(link["url"]) as answer:
            assert answer.read().startswith(b"#EXTM3U")
    assert deployed.call("GET", path, user=BOB)[0] == 404
    assert deployed.call("POST", path, {"uris": uris}, user=BOB)[0] == 404
    assert deployed.call("POST", path, {"uris": [uri]}, user=ANN)[0] == 422
    with fetch(content["links"][0]["url"].replace("linked/", "linked2/")) as refused:
        assert refused.status == 403  # the signature is for one key


@pytest.fixture(scope="module")
def film(clips: Callable[..., Path]) -> bytes:
    """A clip of 12 MB: two parts."""
    noise = ["-f", "lavfi", "-i", "testsrc=s=640x360:d=2:r=10,noise=alls=100:allf=t"]
    clip = clips("upload.mp4", *noise, "-c:v", "libx264", "-crf", "0", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    content = clip.read_bytes()
    free = 12_000_000 - len(content)
    assert free > 8, len(content)
    return content + free.to_bytes(4) + b"free" + bytes(free - 8)


def test_a_browser_uploads_a_film_in_parts_and_its_job_reads_it(deployed: Deployed, film: bytes) -> None:
    """A part is sent twice, and the upload goes on in another session."""
    body = {"userID": ANN, "name": 'Ein "Film"\n 日本 100%.mp4', "bytes": len(film)}
    assert deployed.call("POST", "/api/v1/uploads", body, user=BOB)[0] == 403
    status, upload, _ = deployed.call("POST", "/api/v1/uploads", body, user=ANN)
    assert (status, upload["parts"], upload["bytes"]) == (201, 2, 12_000_000)
    path, size = f"/api/v1/uploads/{upload['uploadID']}", upload["partBytes"]

    def send(part: int, content: bytes) -> int:
        status, answer, _ = deployed.call("POST", f"{path}/links", {"parts": [part]}, user=ANN)
        assert status == 200
        with fetch(answer["urls"][str(part)], "PUT", content) as stored:
            assert stored.status >= 400 or stored.headers["Access-Control-Allow-Origin"] == "*"
            return stored.status

    assert send(1, bytes(size)) == 200
    assert send(1, film[: size - 1]) == 403  # not what the link was signed for
    assert send(1, film[:size]) == 200
    assert deployed.call("GET", path, user=ANN)[1]["uploaded"] == [1]
    assert deployed.call("POST", f"{path}/complete", user=ANN)[0] == 409
    assert send(2, film[size:]) == 200
    for method, below in (("GET", ""), ("POST", "/links"), ("POST", "/complete"), ("DELETE", "")):
        asked = {"parts": [1]} if below == "/links" else None
        assert deployed.call(method, path + below, asked, user=BOB)[0] == 404
    status, answer, _ = deployed.call("POST", f"{path}/complete", user=ANN)
    assert (status, answer["uri"]) == (200, upload["uri"])
    assert answer["uri"].endswith(f'/uploads/{ANN}/{upload["uploadID"]}/Ein "Film"_ 日本 100%.mp4')

    job_id = submit(deployed, upload["uri"], "uploaded/")
    assert deployed.until(job_id, "finished", "failed")["state"] == "finished"
    links = deployed.call("GET", f"/api/v1/jobs/{job_id}/links", user=ANN)[1]["links"]
    urls = {link["role"]: link["url"] for link in links}
    with fetch(urls["input"], Range="bytes=11999000-") as read:
        assert (read.status, read.headers["Content-Range"]) == (206, "bytes 11999000-11999999/12000000")
        assert read.read() == film[-1000:]
    with fetch(urls["file"], Range="bytes=4-7") as read:
        assert (read.status, read.read()) == (206, b"ftyp")
    assert deployed.call("GET", f"/api/v1/jobs/{job_id}/links", user=BOB)[0] == 404


def test_a_browser_may_send_parts_from_any_page(deployed: Deployed) -> None:
    body = {"userID": ANN, "name": "film.mov", "bytes": 9}
    upload = deployed.call("POST", "/api/v1/uploads", body, user=ANN)[1]
    path = f"/api/v1/uploads/{upload['uploadID']}"
    url = deployed.call("POST", f"{path}/links", {"parts": [1]}, user=ANN)[1]["urls"]["1"]
    asks = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "content-type"}
    with fetch(url, "OPTIONS", None, **asks) as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
        assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    assert deployed.call("DELETE", path, user=ANN)[0] == 204
    with fetch(url, "PUT", b"123456789") as refused:
        assert refused.status == 404


def test_the_page_may_load_from_the_embedded_aws_and_from_nowhere_else(deployed: Deployed) -> None:
    with urllib.request.urlopen(deployed.place.url) as answer:
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["media-src"] == f"blob: {deployed.place.aws_url}"
    assert policy["img-src"] == policy["connect-src"] == f"'self' {deployed.place.aws_url}"
