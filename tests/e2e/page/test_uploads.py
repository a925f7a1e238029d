"""Files sent from the page straight to S3: with progress, through lost connections, and on after a reload."""

import hashlib
import re
from collections import Counter
from pathlib import Path

from playwright.sync_api import Page, Route, expect

from local.place import TOOLS
from tests.e2e.conftest import TENANTS, Deployed, wait_for
from tests.e2e.page.conftest import Opened, violations

ANN = TENANTS[0]
CLIP = TOOLS / "media" / "bigbuckbunny.mp4"
PARTS = re.compile(r"partNumber=(\d+)")
BYTES = 45_000_000


def digest(deployed: Deployed, uri: str) -> str:
    bucket, key = uri.removeprefix("s3://").split("/", 1)
    return hashlib.sha256(deployed.s3.get_object(Bucket=bucket, Key=key)["Body"].read()).hexdigest()


def film(folder: Path) -> Path:
    """A file of several parts, none of them alike."""
    path = folder / "film of ann.mp4"
    path.write_bytes(b"".join(hashlib.sha256(n.to_bytes(4)).digest() for n in range(BYTES // 32)))
    return path


def stored_parts(deployed: Deployed, name: str) -> list[int]:
    """The parts that S3 has of ann's unfinished upload of a file."""
    listed = deployed.s3.list_multipart_uploads(Bucket=deployed.bucket, Prefix=f"uploads/{ANN}/")
    keys = {each["Key"]: each["UploadId"] for each in listed.get("Uploads", []) if each["Key"].endswith(f"/{name}")}
    parts = (deployed.s3.list_parts(Bucket=deployed.bucket, Key=key, UploadId=id_) for key, id_ in keys.items())
    return [part["PartNumber"] for found in parts for part in found.get("Parts", [])]


def choose(page: Page, *paths: Path) -> None:
    page.get_by_label("choose files").set_input_files([str(path) for path in paths])


def uri_of(page: Page) -> str:
    expect(page.get_by_label("input", exact=True)).to_have_value(re.compile("^s3://"), timeout=120_000)
    return page.get_by_label("input", exact=True).input_value()


def test_a_dropped_film_is_sent_and_becomes_a_job(opened: Opened, deployed: Deployed) -> None:
    page = opened("/send", ANN)
    expect(page.get_by_text("Drop films")).to_be_visible()
    data = page.evaluate_handle(
        """async (address) => { const data = new DataTransfer(); const film = await (await fetch(address)).blob();
        data.items.add(new File([film], "dropped.mp4", { type: "video/mp4" })); return data; }""",
        deployed.s3.generate_presigned_url(
            "get_object", Params={"Bucket": deployed.bucket, "Key": deployed.put(CLIP, "dropped.mp4").split("/", 3)[3]}
        ),
    )
    page.dispatch_event(".drop", "drop", {"dataTransfer": data})
    uri = uri_of(page)
    assert uri.startswith(f"s3://{deployed.bucket}/uploads/{ANN}/")
    assert digest(deployed, uri) == hashlib.sha256(CLIP.read_bytes()).hexdigest()
    expect(page.get_by_text("· sent")).to_be_visible()
    assert violations(page) == []
    page.get_by_label("Preset", exact=True).select_option("h264-360p")
    page.get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url("**/#/job/*")
    record = deployed.until(page.url.rsplit("/", 1)[1], "finished")
    assert record["input"] == uri


def test_parts_that_fail_are_sent_again(opened: Opened, deployed: Deployed, tmp_path: Path) -> None:
    path, failed = film(tmp_path), list[str]()

    def fail_once(route: Route) -> None:
        number = PARTS.search(route.request.url)
        if route.request.method != "PUT" or number is None or number[1] in failed:
            route.continue_()
            return
        failed.append(number[1])
        if len(failed) % 2:
            route.abort()
        else:
            route.fulfill(status=503, headers={"Access-Control-Allow-Origin": "*"})

    page = opened("/send", ANN)
    page.route(PARTS, fail_once)
    choose(page, path)
    assert digest(deployed, uri_of(page)) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(failed) == 6


def test_an_upload_goes_on_after_the_connection_was_lost(opened: Opened, deployed: Deployed, tmp_path: Path) -> None:
    path = film(tmp_path)
    page = opened("/send", ANN)

    def lose(route: Route) -> None:
        page.context.set_offline(True)
        route.abort()

    page.route(PARTS, lose, times=1)
    choose(page, path)
    expect(page.get_by_text("waiting for the connection")).to_be_visible()
    page.context.set_offline(False)
    assert digest(deployed, uri_of(page)) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_after_a_reload_only_missing_parts_are_sent(opened: Opened, deployed: Deployed, tmp_path: Path) -> None:
    path, sent = film(tmp_path), list[str]()
    page = opened("/send", ANN)
    page.on("dialog", lambda dialog: dialog.accept())
    page.route(re.compile("partNumber=[56]"), lambda route: route.abort())
    choose(page, path)
    wait_for(lambda: stored_parts(deployed, path.name) == [1, 2, 3, 4], "all other parts")
    expect(page.get_by_text(re.compile(r"^7\d"))).to_be_visible()
    page.reload()
    page.unroute_all(behavior="ignoreErrors")
    expect(page.get_by_text("Interrupted: film of ann.mp4.")).to_be_visible()
    page.on("request", lambda request: sent.extend(PARTS.findall(request.url) if request.method == "PUT" else []))
    choose(page, path)
    assert digest(deployed, uri_of(page)) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert set(sent) == {"5", "6"}


def test_a_part_that_s3_lacks_is_sent_before_the_upload_is_completed_once_more(
    opened: Opened, deployed: Deployed, tmp_path: Path
) -> None:
    path, answers, parts = film(tmp_path), list[int](), list[str]()

    def lose(route: Route) -> None:
        route.fulfill(status=200, headers={"Access-Control-Allow-Origin": "*"})

    page = opened("/send", ANN)
    page.on("response", lambda response: answers.append(response.status) if "/complete" in response.url else None)
    page.on("request", lambda request: parts.extend(PARTS.findall(request.url) if request.method == "PUT" else []))
    page.route(re.compile("partNumber=3"), lose, times=1)
    choose(page, path)
    assert digest(deployed, uri_of(page)) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert answers == [409, 200]
    assert {part: times for part, times in Counter(parts).items() if times > 1} == {"3": 2}


def test_an_abandoned_upload_leaves_nothing(opened: Opened, deployed: Deployed, tmp_path: Path) -> None:
    page = opened("/send", ANN)
    page.route(PARTS, lambda route: route.abort())
    choose(page, film(tmp_path))
    expect(page.get_by_text("waiting for the connection")).to_be_visible()
    page.get_by_role("button", name="Stop and remove").click()
    expect(page.get_by_text("waiting for the connection")).to_have_count(0)

    def is_gone() -> bool:
        return "Uploads" not in deployed.s3.list_multipart_uploads(Bucket=deployed.bucket, Prefix=f"uploads/{ANN}/")

    wait_for(is_gone, "the upload removed")


def test_several_films_become_a_batch(opened: Opened, deployed: Deployed, tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.mp4" for n in range(2)]
    for path in paths:
        path.write_bytes(CLIP.read_bytes())
    page = opened("/send", ANN)
    choose(page, *paths)
    expect(page.get_by_label("Batch")).to_be_checked()
    expect(page.get_by_label("inputs", exact=True)).to_have_value(re.compile(r"0\.mp4\ns3://.*1\.mp4$"))


def test_a_long_list_is_sent_as_a_manifest(opened: Opened, deployed: Deployed, tmp_path: Path) -> None:
    lines = [f"s3://{deployed.bucket}/{ANN}/{n}.mp4" for n in range(1500)]
    path = tmp_path / "long.txt"
    path.write_text("\r\n".join(lines))
    page = opened("/send", ANN)
    choose(page, path)
    expect(page.get_by_label("manifest", exact=True)).to_have_value(re.compile("^s3://"))
    uri = page.get_by_label("manifest", exact=True).input_value()
    assert digest(deployed, uri) == hashlib.sha256("\n".join(lines).encode()).hexdigest()
