"""What the page says when something fails, in Chinese."""

import re
from pathlib import Path

from playwright.sync_api import Route, expect

from tests.conftest import ROOT
from tests.e2e.conftest import TENANTS, wait_for
from tests.e2e.page.conftest import Opened
from tests.e2e.page.test_uploads import PARTS

BOB = TENANTS[1]
CHINESE = re.compile(r"[\u4e00-\u9fff]")
MODULES = ROOT / "web" / "static" / "page"
THROWN = re.compile(r"Error\(\s*([\"`])(.*?)\1")
UNSEEN = {"no picture"}
"""For the console alone."""


def test_a_server_that_is_away_for_a_while(opened: Opened) -> None:
    page = opened("/batches", BOB, locale="zh-CN")
    expect(page.get_by_role("heading", name="批次")).to_be_visible()
    page.route("**/api/v1/presets*", lambda route: route.abort())
    page.get_by_role("link", name="预设").click()
    expect(page.get_by_role("alert")).to_have_text("服务器没有应答。")
    page.unroute_all()
    expect(page.get_by_role("heading", name="内置")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_an_upload_that_s3_refuses(opened: Opened, tmp_path: Path) -> None:
    page = opened("/send", BOB, locale="zh-CN")
    page.clock.install()

    def refuse(route: Route) -> None:
        route.fulfill(status=403, headers={"Access-Control-Allow-Origin": "*"})

    page.route(PARTS, refuse)
    (tmp_path / "small.mp4").write_bytes(b"x")
    page.get_by_label("选择文件").set_input_files(str(tmp_path / "small.mp4"))
    expect(page.get_by_text("等待连接恢复")).to_be_visible()
    refusal = page.get_by_role("alert").filter(has_text="S3 拒绝了一个分片：HTTP 403。")

    def has_given_up() -> bool:
        page.clock.run_for(60_000)
        return refusal.is_visible()

    wait_for(has_given_up, "the end of the upload")


def test_a_browser_without_javascript(opened: Opened) -> None:
    page = opened("/", BOB, java_script_enabled=False)
    expect(page.locator("noscript")).to_contain_text("本页面需要 JavaScript", use_inner_text=True)


def test_no_error_is_typed_in_one_language_alone() -> None:
    """Texts of errors reach the screen: they come from `words`, unless they are names and numbers."""
    thrown = [text for path in MODULES.rglob("*.js") for _, text in THROWN.findall(path.read_text())]
    assert [text for text in thrown if re.search("[a-z]{2,}", re.sub(r"\$\{[^}]*\}", "", text))] == sorted(UNSEEN)


def test_each_text_has_its_chinese() -> None:
    """A pair of `words` has Chinese beside English, unless it is a name, or placeholders alone."""
    typed = [
        text
        for path in MODULES.rglob("*.js")
        for text in re.findall(r"words\(\{(.*?)\}\);", path.read_text(), re.DOTALL)
    ]
    pairs = [pair for text in typed for pair in re.findall(r'\["([^"]*)",\s+"([^"]*)"\]', text)]
    assert len(pairs) > 400
    same = {chinese for english, chinese in pairs if not CHINESE.search(chinese)}
    assert {text for text in same if re.search(r"\w", re.sub(r"\{\w+\}", "", text))} == {"VMAF"}
