"""The whole studio against the real service, as a person uses it: keys, phone, both languages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Page, Route, expect

from tests import prompts
from tests.browser import sounds
from tests.browser.conftest import PICTURES
from tests.unit.service.conftest import (  # noqa: F401
    config,
    config_path,
    service,
    start,
)

PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
TEXT = "The second best time is now."
CHUNKS = re.compile(r"/v1/uploads/")

Open = Callable[..., "Visitor"]


class Visitor:
    """A person at the studio's page."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.errors: list[str] = []
        self.outside: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._hear)
        page.on("request", lambda sent: self._look(sent.url, url))
        page.goto(url)
        self.settled()

    def _hear(self, said: ConsoleMessage) -> None:
        """What the page's policy forbids, the browser says aloud."""
        if "Content Security Policy" in said.text:
            self.errors.append(said.text)

    def _look(self, address: str, url: str) -> None:
        if not address.startswith((url, "data:", "blob:")):
            self.outside.append(address)

    def settled(self) -> None:
        """All places are filled, and the voices are known."""
        expect(self.page.locator("#generate")).to_be_visible(timeout=30_000)
        expect(self.page.locator(".cp")).to_be_attached()
        expect(self.page.locator("#library summary .cosy-small")).not_to_be_empty()

    def reload(self) -> None:
        """The same person, the page anew."""
        self.page.reload()
        self.settled()

    def gives(self, data: bytes | None = None, transcript: str = prompts.TRANSCRIPT) -> None:
        """A recording, and what it says."""
        payload = FilePayload(name="voice.wav", mimeType="audio/wav", buffer=data or sounds.wav(4))
        self.page.set_input_files("#cosy-prompt input[type=file]", payload)
        self.agrees()
        if transcript:
            self.page.get_by_label("Prompt text").fill(transcript)

    def agrees(self) -> None:
        """Tick that the voice may be used."""
        self.page.locator("#consent input").check()

    def writes(self, text: str = TEXT) -> None:
        """What is to be spoken."""
        self.page.locator("#text textarea").fill(text)

    def generate(self) -> None:
        """Press the button."""
        self.page.locator("#generate").click()

    def hears(self, seconds: str = "") -> None:
        """The job is done."""
        expect(self.page.locator("#cosy-job")).to_contain_text(f"Done: {seconds}", timeout=30_000)

    def refused(self, code: str) -> None:
        """The form says why not."""
        expect(self.page.get_by_role("alert").filter(has_text=code)).to_be_visible()

    def keeps(self, name: str) -> None:
        """Store the recording under a name."""
        self.page.get_by_text("Keep this recording as a voice").click()
        self.page.get_by_label("Name", exact=True).fill(name)
        self.page.get_by_role("button", name="Save voice").click()
        expect(self.page.locator(".cf-told")).to_have_text(f"Saved: {name}", timeout=15_000)

    def picture(self, name: str) -> None:
        """Keep a picture as a test artefact."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


@pytest.fixture
def visit(browser: Browser, service: httpx.Client) -> Iterator[Open]:  # noqa: F811
    """A function that opens the studio as a new person."""
    contexts = []
    visitors: list[Visitor] = []

    def open_one(locale: str = "en-GB", **options: Any) -> Visitor:
        context = browser.new_context(
            locale=locale, **{"viewport": {"width": 1280, "height": 1000}, **options}
        )
        contexts.append(context)
        visitors.append(Visitor(context.new_page(), str(service.base_url)))
        return visitors[-1]

    yield open_one
    for context in contexts:
        context.close()
    for voice in service.get("/v1/audio/voices").json()["voices"]:
        service.delete(f"/v1/audio/voices/{voice}")
    for visitor in visitors:
        assert visitor.errors == []
        assert visitor.outside == []


def posted(visitor: Visitor) -> list[Any]:
    """The wishes handed in from now on."""
    wishes: list[Any] = []

    def note(request: Any) -> None:
        if request.method == "POST" and request.url.endswith("/v1/jobs"):
            wishes.append(request.post_data_json)

    visitor.page.on("request", note)
    return wishes


def test_each_mode_asks_for_what_it_needs(visit: Open) -> None:
    visitor = visit()
    page = visitor.page
    wishes = posted(visitor)
    visitor.gives()
    page.get_by_role("group", name="Examples").get_by_role("button").last.click()
    visitor.generate()
    visitor.hears()
    page.get_by_text("Cross-lingual").click()
    expect(page.get_by_label("Prompt text")).to_be_hidden()
    page.get_by_role("group", name="Examples").get_by_role("button").first.click()
    visitor.generate()
    expect(page.locator(".cosy-history li")).to_have_count(2)
    visitor.hears()
    page.get_by_text("Natural-language control").click()
    page.get_by_label("Dialect or feeling").select_option(label="Sichuan")
    expect(page.get_by_label("Instruction, in plain words")).to_have_value("请用四川话表达。")
    page.get_by_label("Speed").fill("1.5")
    visitor.generate()
    expect(page.locator(".cosy-history li")).to_have_count(3)
    visitor.hears()
    assert [wish["mode"] for wish in wishes] == ["zero_shot", "cross_lingual", "instruct"]
    assert wishes[0]["ref_text"] == prompts.TRANSCRIPT
    assert wishes[0]["input"].startswith("The best time")
    assert "ref_text" not in wishes[1]
    assert wishes[1]["input"].startswith("Hello")
    assert (wishes[2]["instructions"], wishes[2]["speed"]) == ("请用四川话表达。", 1.5)


def test_what_lacks_is_said_where_it_lacks(visit: Open) -> None:
    visitor = visit()
    page = visitor.page
    wishes = posted(visitor)
    visitor.generate()
    visitor.refused("text_empty")
    expect(page.locator("#text textarea")).to_be_focused()
    visitor.writes()
    expect(page.locator("#status")).to_be_hidden()
    visitor.generate()
    visitor.refused("mode_needs_prompt_text")
    expect(page.get_by_label("Prompt text")).to_be_focused()
    page.get_by_label("Prompt text").fill("words")
    visitor.generate()
    visitor.refused("prompt_missing")
    page.get_by_text("Natural-language control").click()
    visitor.generate()
    visitor.refused("mode_needs_instructions")
    assert wishes == []
    page.locator("#language").click()
    expect(page.locator("#status")).to_contain_text("自然语言控制需要一句指令。")


def test_what_the_service_refuses_is_shown_in_its_words(visit: Open) -> None:
    visitor = visit("zh-CN")
    visitor.page.set_input_files(
        "#cosy-prompt input[type=file]",
        FilePayload(name="voice.wav", mimeType="audio/wav", buffer=sounds.wav(4)),
    )
    visitor.agrees()
    visitor.page.get_by_label("提示文本").fill("内容")
    visitor.writes("<|endofprompt|>你好")
    visitor.generate()
    alert = visitor.page.locator("#status")
    expect(alert).to_contain_text("text_control_tokens", timeout=15_000)
    expect(alert).to_contain_text("文字里含有模型的控制标记")
    expect(visitor.page.locator("#text textarea")).to_have_attribute("aria-invalid", "true")


def test_generate_waits_for_the_upload_also_over_a_reload(visit: Open) -> None:
    visitor = visit()
    page = visitor.page
    wishes = posted(visitor)
    line = {"down": True}

    def chunk(route: Route) -> None:
        if line["down"] and route.request.method == "PATCH":
            route.abort()
        else:
            route.continue_()

    page.route(CHUNKS, chunk)
    visitor.writes()
    visitor.gives()
    visitor.generate()
    expect(page.locator("#waiting")).to_contain_text("still on its way")
    page.locator("#generate").click()  # "Do not wait"
    expect(page.locator("#waiting")).to_be_hidden()
    expect(page.locator("#generate")).to_have_text("Generate")
    visitor.generate()
    expect(page.locator("#waiting")).to_contain_text("still on its way")
    visitor.reload()
    expect(page.locator("#waiting")).to_contain_text("still on its way")
    assert wishes == []
    line["down"] = False
    visitor.hears()
    assert len(wishes) == 1
    assert wishes[0]["input"] == TEXT
    assert wishes[0]["upload_s"] > 0.05
    size = len(sounds.wav(4))
    assert 1000 < wishes[0]["upload_bytes"] <= size, "what was sent while the user waited"
    rate = r"s: .* s of them your upload at [0-9.]+ Mbit/s"
    expect(page.locator("#cosy-job .cosy-spent p")).to_have_text(re.compile(rate))
    visitor.reload()
    page.wait_for_timeout(1000)
    assert len(wishes) == 1, "a job that was handed in is not handed in again"


def test_an_upload_the_service_forgot_is_sent_again(visit: Open) -> None:
    visitor = visit()
    page = visitor.page
    visitor.writes()
    visitor.gives()
    expect(page.locator(".cp[data-state=ready]")).to_be_visible(timeout=15_000)
    problem = {"code": "upload_unknown", "detail": "Nothing of this upload is here."}
    page.route("**/v1/jobs", lambda route: route.fulfill(status=404, json=problem), times=1)
    visitor.generate()
    visitor.hears()


def test_a_service_out_of_reach_is_said(visit: Open) -> None:
    visitor = visit()
    page = visitor.page
    visitor.writes()
    visitor.gives()
    page.route("**/v1/jobs", lambda route: route.abort(), times=1)
    visitor.generate()
    expect(page.locator("#status")).to_contain_text("The service was not reached.")
    visitor.generate()
    visitor.hears()


def test_a_voice_is_kept_heard_renamed_made_default_used_and_deleted(visit: Open) -> None:
    visitor = visit()
    page = visitor.page
    wishes = posted(visitor)
    page.get_by_text("Keep this recording as a voice").click()
    page.get_by_role("button", name="Save voice").click()
    expect(page.locator(".cf-told")).to_contain_text("prompt_missing")
    page.get_by_text("Keep this recording as a voice").click()
    visitor.gives()
    visitor.keeps("Anna B")
    library = page.locator("#library")
    library.locator("summary").click()
    expect(library).to_contain_text("Anna B")
    with page.expect_response("**/v1/audio/voices/Anna%20B/audio") as sound:
        library.get_by_role("button", name="Listen to Anna B").click()
    assert sound.value.ok
    library.get_by_role("button", name="Rename Anna B").click()
    page.keyboard.type("Berta")
    page.keyboard.press("Enter")
    expect(library.locator("[role=status]")).to_have_text("Renamed: Berta")
    begin = library.get_by_role("button", name="Begin with Berta")
    begin.click()
    expect(library.get_by_role("button", name="No longer begin")).to_have_attribute(
        "aria-pressed", "true"
    )
    visitor.reload()
    expect(page.locator("#voice select")).to_have_value("Berta")
    expect(page.locator("#cosy-prompt")).to_be_hidden()
    visitor.writes()
    visitor.generate()
    visitor.hears()
    assert wishes[0]["voice"] == "Berta"
    library.locator("summary").click()
    delete = library.get_by_role("button", name="Delete Berta")
    delete.click()
    page.keyboard.press("Escape")
    expect(library).to_contain_text("Berta")
    delete.click()
    delete.click()
    expect(library.locator("[role=status]")).to_have_text("Deleted: Berta")
    expect(page.locator("#voice select")).to_have_value("")
    expect(page.locator("#cosy-prompt")).to_be_visible()


def test_words_and_mode_outlive_a_reload_and_the_other_language(visit: Open) -> None:
    visitor = visit()
    page = visitor.page
    visitor.writes("stays")
    page.get_by_text("Natural-language control").click()
    page.get_by_label("Instruction, in plain words").fill("slowly")
    page.get_by_label("Speed").fill("0.8")
    page.locator("#language").click()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    expect(page.locator("#text")).to_contain_text("要朗读的文字")
    expect(page.locator(".cp")).to_contain_text("请选择、拖入、粘贴或录制")
    expect(page.locator(".cosy-history")).to_contain_text("还没有")
    expect(page.locator("#library")).to_contain_text("音色库")
    visitor.reload()
    expect(page.locator("#text")).to_contain_text("要朗读的文字")
    expect(page.locator("#text textarea")).to_have_value("stays")
    expect(page.get_by_label("指令")).to_have_value("slowly")
    expect(page.get_by_label("语速")).to_have_value("0.8")
    page.locator("#language").click()
    expect(page.locator("#text")).to_contain_text("Text to speak")


def test_the_page_of_the_api_is_a_key_away(visit: Open) -> None:
    visitor = visit("zh-CN")
    page = visitor.page
    expect(page.get_by_role("link", name="接口文档")).to_be_visible()
    page.locator("#language").click()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("link", name="API reference")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/docs$"))
    expect(page.get_by_text("Speak a text · 合成语音")).to_be_visible(timeout=30_000)


def test_all_of_it_by_keys_alone(visit: Open) -> None:
    visitor = visit()
    page = visitor.page
    visitor.gives()
    page.locator("#language").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Cross-lingual")).to_be_checked()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Text to speak")).to_be_focused()
    page.keyboard.type(TEXT)
    page.keyboard.press("Control+Enter")
    visitor.hears()
    row = page.locator(".cosy-history li").first
    row.get_by_role("button", name="Play").focus()
    page.keyboard.press("Enter")
    visitor.hears()


def test_a_screen_reader_has_a_name_for_everything(visit: Open) -> None:
    visitor = visit(**PHONE)
    page = visitor.page
    visitor.gives()
    visitor.keeps("Anna")
    visitor.writes()
    visitor.generate()
    visitor.hears()
    page.locator("#library summary").click()
    nameless = page.evaluate("""() => [...document.querySelectorAll(
        '#cosy-head, #cosy-form, #cosy-job, #cosy-history, #cosy-library')].flatMap((place) => [
        ...place.querySelectorAll('button, input, select, textarea, a, summary, [role=slider]'),
      ]).filter((node) => node.checkVisibility())
      .filter((node) => !(node.ariaLabel || node.labels?.[0]?.innerText || node.innerText)?.trim())
      .map((node) => node.outerHTML)""")
    assert nameless == []
    assert page.locator("h1").count() == 1
    for fieldset in page.locator("#cosy-form fieldset").all():
        assert fieldset.locator("legend").first.inner_text() or not fieldset.is_visible()


def test_a_phone_scrolls_one_way_and_has_room_for_thumbs(visit: Open) -> None:
    visitor = visit("zh-CN", **PHONE)
    page = visitor.page
    expect(page.locator("#generate")).to_be_in_viewport()  # at the bottom, whatever is in sight
    page.set_input_files(
        "#cosy-prompt input[type=file]",
        FilePayload(name="我的录音.wav", mimeType="audio/wav", buffer=sounds.wav(9)),
    )
    visitor.agrees()
    page.get_by_label("提示文本").fill(prompts.TRANSCRIPT)
    visitor.writes("今天的天气真好，我们一起去公园走走吧。")
    visitor.generate()
    expect(page.locator("#cosy-job")).to_contain_text("完成", timeout=30_000)
    expect(page.locator("#cosy-job .cosy-player")).to_be_in_viewport()  # brought into sight
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    small = page.evaluate("""() => [...document.querySelectorAll(
        '#cosy-head button, #cosy-form button, #cosy-job button, #cosy-job a, #cosy-history button,'
        + '#cosy-library summary')]
      .filter((node) => node.checkVisibility() && node.getBoundingClientRect().height < 36)
      .map((node) => node.outerHTML)""")
    assert small == []
    visitor.picture("studio_phone")


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_it_looks_like_one_page(visit: Open, locale: str) -> None:
    visitor = visit(locale)
    page = visitor.page
    page.set_input_files(
        "#cosy-prompt input[type=file]",
        FilePayload(name="voice.wav", mimeType="audio/wav", buffer=sounds.wav(8)),
    )
    visitor.agrees()
    page.locator("#prompt-text textarea").fill(prompts.TRANSCRIPT)
    page.locator("#examples button").nth(1 if locale == "en-GB" else 0).click()
    visitor.generate()
    expect(page.locator("#cosy-job")).to_contain_text(
        {"en-GB": "Done", "zh-CN": "完成"}[locale], timeout=30_000
    )
    edges = page.evaluate("""() => ['#mode', '#text', '.cosy-history', '#library'].map((at) => {
        const { left, right } = document.querySelector(at).getBoundingClientRect();
        return [Math.round(left), Math.round(right)]; })""")
    assert edges[0] == edges[1]
    assert edges[2] == edges[3]
    assert edges[1][1] < edges[2][0]
    visitor.picture(f"studio_{locale[:2]}")
