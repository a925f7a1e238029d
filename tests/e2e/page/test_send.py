"""Work sent from the page: a form that the API's own description builds."""

import json
import re
import shlex
import subprocess

import pytest
from playwright.sync_api import Locator, Page, expect

from elasticrecode_client.command.submit import submit
from local.place import TOOLS
from tests.conftest import ROOT
from tests.e2e.conftest import TENANTS, Deployed
from tests.e2e.page.conftest import Opened, violations

ANN = TENANTS[0]
CLIP = TOOLS / "media" / "bigbuckbunny.mp4"
SMALL = {"codec": "h264", "scale": "240p", "bitrate": "1M", "speed": "fast"}


def field(page: Page, name: str) -> Locator:
    return page.get_by_label(name, exact=True)


def fill_own_profile(page: Page) -> None:
    field(page, "Preset").select_option("a profile of your own")
    for name in ("use audio", "use quality"):
        page.get_by_label(name).uncheck()
    field(page, "codec").select_option(SMALL["codec"])
    field(page, "scale").fill(SMALL["scale"])
    field(page, "bitrate").first.fill(SMALL["bitrate"])
    field(page, "speed").select_option(SMALL["speed"])
    field(page, "maxBitrate").fill("")
    field(page, "keyframeSeconds").fill("")


def request_of(page: Page) -> tuple[str, dict[str, object]]:
    """The address and the body of the command that stands beside the form, as a shell reads it."""
    command = page.locator(".beside pre").first.inner_text()
    assert command.startswith("curl -X POST ")
    words = shlex.split(command.replace("\\\n", " "))
    return words[3], json.loads(words[words.index("--data-raw") + 1])


def test_a_film_is_sent_by_a_preset_and_its_own_page_opens(opened: Opened, deployed: Deployed) -> None:
    uri = deployed.put(CLIP, f"{ANN}/sent.mp4")
    page = opened("/send", ANN)
    field(page, "input").fill(uri)
    field(page, "output").fill(f"s3://{deployed.bucket}/{ANN}/out/")
    field(page, "Preset").select_option("h264-360p")
    page.get_by_role("button", name="Send", exact=True).dblclick()
    page.wait_for_url("**/#/job/*")
    job_id = page.url.rsplit("/", 1)[1]
    record = deployed.until(job_id, "finished")
    assert record["userID"] == ANN
    assert record["input"] == uri
    listed = deployed.call("GET", f"/api/v1/jobs?userID={ANN}", user=ANN)[1]
    assert [job["jobID"] for job in listed if job["input"] == uri] == [job_id]


def test_a_lost_answer_makes_no_second_job(opened: Opened, deployed: Deployed) -> None:
    uri = f"s3://{deployed.bucket}/{ANN}/lost.mp4"
    page = opened("/send", ANN)
    lost = list[str]()

    def lose_first(route: object) -> None:
        if lost:
            route.continue_()  # type: ignore[attr-defined]
            return
        lost.append(route.fetch().text())  # type: ignore[attr-defined]
        route.abort()  # type: ignore[attr-defined]

    page.route("**/api/v1/jobs", lose_first)
    field(page, "input").fill(uri)
    field(page, "output").fill(f"s3://{deployed.bucket}/{ANN}/out/")
    page.get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url("**/#/job/*")
    assert json.loads(lost[0])[0]["jobid"] == page.url.rsplit("/", 1)[1]


def test_the_command_beside_the_form_is_what_a_shell_would_send(opened: Opened) -> None:
    page = opened("/send", ANN)
    odd = 's3://bucket/it\'s $HOME `id` "a" \\ !x 电影.mp4'
    field(page, "input").fill(odd)
    field(page, "output").fill("s3://bucket/out/")
    fill_own_profile(page)
    command = page.locator(".beside pre").first.inner_text()
    assert '-H "Authorization: Bearer $TOKEN"' in command
    script = f'curl() {{ printf "%s\\0" "$@"; }}\nTOKEN=mine\n{command}'
    sent = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout.split("\0")
    assert sent[2].endswith("/api/v1/jobs")
    assert "Authorization: Bearer mine" in sent
    body = json.loads(sent[sent.index("--data-raw") + 1])
    assert body == {"userid": ANN, "input": odd, "output": "s3://bucket/out/", "profile": {"ffmpeg": SMALL}}


def test_the_line_for_the_command_asks_for_the_same(opened: Opened) -> None:
    page = opened("/send", ANN)
    odd = "s3://bucket/it's $HOME `id` !x 电影.mp4"
    field(page, "input").fill(odd)
    field(page, "output").fill("s3://bucket/out/")
    field(page, "Preset").select_option("h264-360p")
    words = shlex.split(page.locator(".beside pre").nth(1).inner_text().replace("\\\n", " "))
    assert words[:6] == ["elasticrecode", "submit", odd, "--preset", "h264-360p", "--output"]
    with submit.make_context("submit", words[2:]) as context:
        assert (context.params["files"], context.params["preset"]) == ((odd,), "h264-360p")
    fill_own_profile(page)
    line = page.locator(".beside pre").nth(1).inner_text()
    script = f'elasticrecode() {{ cat; printf "\\0%s" "$@"; }}\n{line}'
    sent = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout.split("\0")
    assert json.loads(sent[0]) == request_of(page)[1]["profile"]
    assert sent[1:7] == ["submit", odd, "--profile", "-", "--output", "s3://bucket/out/"]


def test_faults_land_at_their_fields(opened: Opened) -> None:
    page = opened("/send", ANN)
    field(page, "input").fill("film.mp4")
    field(page, "output").fill("s3://bucket/out/")
    fill_own_profile(page)
    field(page, "end").fill("-1")
    page.get_by_text("more (", exact=False).nth(1).click()
    page.get_by_role("button", name="Send", exact=True).click()
    wrong, ended = field(page, "input"), field(page, "end")
    expect(wrong).to_have_attribute("aria-invalid", "true")
    expect(wrong).to_be_focused()
    expect(wrong).to_have_accessible_description(re.compile("must be an s3://bucket/key URI"))
    expect(ended).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("2 fields are marked")
    wrong.fill("s3://bucket/film.mp4")
    expect(wrong).not_to_have_attribute("aria-invalid", "true")
    assert violations(page) == []


@pytest.mark.parametrize(("kind", "preset"), [("Package", "hls"), ("Score", "vmaf-720p"), ("Batch", "web-720p")])
def test_each_kind_has_its_request(opened: Opened, kind: str, preset: str) -> None:
    page = opened("/send", ANN)
    page.get_by_label(kind).check()
    field(page, "Preset").select_option(preset)
    address, body = request_of(page)
    route = {"Package": "jobs", "Score": "vmaf", "Batch": "batches"}[kind]
    assert address.endswith(f"/api/v1/{route}")
    assert body == {"userid": ANN, "profile": {"preset": preset}}
    assert violations(page) == []


def test_every_field_of_the_api_has_its_place(opened: Opened) -> None:
    """Nothing is typed twice: names, words and ranges are those of the document."""
    page = opened("/send", ANN)
    schemas = json.loads((ROOT / "docs" / "openapi.json").read_text())["components"]["schemas"]
    field(page, "Preset").select_option("a profile of your own")
    while page.locator("details.more:not([open]) > summary").count():
        page.locator("details.more:not([open]) > summary").first.click()
    for part in ("package", "subtitles", "images", "vmaf", "ec2"):
        page.get_by_label(f"use {part}").check()
    while page.locator("details.more:not([open]) > summary").count():
        page.locator("details.more:not([open]) > summary").first.click()
    for group, name in (("ffmpeg", "Ffmpeg"), ("package", "Package"), ("vmaf", "Vmaf"), ("images", "Images")):
        for each in schemas[name]["properties"]:
            expect(page.locator(f"#field-profile-{group}-{each}")).to_be_visible()
    words = page.locator("#field-profile-ffmpeg-speed option").all_inner_texts()
    assert words == ["", *schemas["Ffmpeg"]["properties"]["speed"]["enum"]]


def test_a_list_becomes_a_batch(opened: Opened, deployed: Deployed) -> None:
    page = opened("/send", ANN)
    uris = [f"s3://{deployed.bucket}/{ANN}/{n}.mp4" for n in range(3)]
    rows = "id,uri,note\n" + "".join(f'{n},{uri},"a, b"\n' for n, uri in enumerate(uris))
    page.locator("input[type=file]").first.set_input_files(
        {"name": "films.csv", "mimeType": "text/csv", "buffer": rows.encode()}
    )
    expect(field(page, "inputs")).to_have_value("\n".join(uris))
    field(page, "output").fill(f"s3://{deployed.bucket}/{ANN}/listed/")
    page.get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url("**/#/batch/*")
    batch = deployed.call("GET", f"/api/v1/batches/{page.url.rsplit('/', 1)[1]}", user=ANN)[1]
    assert batch["userID"] == ANN
    assert batch["output"] == f"s3://{deployed.bucket}/{ANN}/listed/"


@pytest.mark.parametrize(
    ("name", "text", "inputs"),
    [
        ("a.txt", "\ufeffs3://b/1.mp4\r\n\r\n  s3://b/2.mp4 \n", ["s3://b/1.mp4", "s3://b/2.mp4"]),
        ("a.csv", 'name;uri\n"x; ""y""";"s3://b/a;1.mp4"\n', ["s3://b/a;1.mp4"]),
        ("a.csv", "s3://b/1.mp4,1\nno uri,2\n", ["s3://b/1.mp4", "no uri,2"]),
        ("a.tsv", "1\ts3://b/1,2.mp4\n", ["s3://b/1,2.mp4"]),
        (
            "a.jsonl",
            '{"id": 1, "input": "s3://b/1.mp4"}\n"s3://b/2.mp4"\n{"id": 2}\n{',
            ["s3://b/1.mp4", "s3://b/2.mp4", '{"id": 2}', "{"],
        ),
    ],
)
def test_lists_of_several_kinds_are_read(opened: Opened, name: str, text: str, inputs: list[str]) -> None:
    """A line without a URI is kept, so that the API reports it; the heading of a CSV file is not."""
    page = opened("/send", ANN)
    read = "async ([name, text]) => (await import('/static/page/form/manifest.js')).uris(name, text)"
    assert page.evaluate(read, [name, text]) == inputs


def test_a_plan_comes_before_the_job(opened: Opened, deployed: Deployed) -> None:
    uri = deployed.put(CLIP, f"{ANN}/planned.mp4")
    page = opened("/send", ANN)
    field(page, "input").fill(uri)
    field(page, "output").fill(f"s3://{deployed.bucket}/{ANN}/planned/")
    fill_own_profile(page)
    page.get_by_role("button", name="Plan it first").click()
    expect(page.get_by_text("Predicted VMAF")).to_be_visible(timeout=120_000)
    expect(page.get_by_text("Cost")).to_be_visible()
    page.get_by_role("button", name="Send by this plan").click()
    page.wait_for_url("**/#/job/*")
    record = deployed.record(page.url.rsplit("/", 1)[1])
    assert record["plan"].startswith("plan-")


def test_the_form_is_usable_on_a_phone_in_chinese_and_dark(opened: Opened) -> None:
    page = opened("/send", ANN, locale="zh-CN", color_scheme="dark", viewport={"width": 390, "height": 844})
    expect(page.get_by_role("heading", name="提交工作")).to_be_visible()
    page.get_by_label("预设").select_option("自定义配置")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []
