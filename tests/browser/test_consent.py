"""The tick by the recording: asked for once a voice, by keys too, in both languages, on a phone."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import FilePayload, Page, Route, expect

from cosyhost.web.policy import policy
from tests import prompts
from tests.browser import sounds
from tests.browser.test_studio import (  # noqa: F401
    PHONE,
    TEXT,
    Open,
    posted,
    visit,
)
from tests.unit.service.conftest import (  # noqa: F401
    config,
    config_path,
    service,
    start,
)

SAYS = {
    "en-GB": "I may use this voice: it is mine, or its owner agreed.",
    "zh-CN": "我可以使用这个声音：是我本人的，或其主人已同意。",
}
MISSING = {"en-GB": "To clone a voice, say first", "zh-CN": "克隆声音之前，需要确认"}


def choose(page: Page, seed: int = 1) -> None:
    """A recording, and nothing ticked."""
    payload = FilePayload(name="voice.wav", mimeType="audio/wav", buffer=sounds.wav(4, seed=seed))
    page.set_input_files("#cosy-prompt input[type=file]", payload)
    expect(page.locator(".cp[data-state=ready]")).to_be_visible(timeout=15_000)


@pytest.mark.parametrize("phone", [False, True])
@pytest.mark.parametrize("locale", SAYS)
def test_without_the_tick_nothing_is_cloned_and_it_is_said_beside_it(
    visit: Open,  # noqa: F811
    locale: str,
    phone: bool,
) -> None:
    visitor = visit(locale, **(PHONE if phone else {}))
    page = visitor.page
    wishes = posted(visitor)
    choose(page)
    visitor.writes()
    page.locator("#prompt-text textarea").fill(prompts.TRANSCRIPT)
    tick = page.get_by_role("checkbox", name=SAYS[locale])
    expect(tick).not_to_be_checked()
    visitor.generate()
    sentence = page.locator("#consent [role=alert]")
    expect(sentence).to_contain_text(MISSING[locale])
    expect(sentence).to_contain_text("consent_missing")
    expect(sentence).to_be_in_viewport()
    expect(page.locator("#status")).to_be_hidden()
    expect(tick).to_be_focused()
    assert tick.evaluate("tick => tick.ariaInvalid") == "true"
    assert tick.evaluate(
        "tick => document.getElementById(tick.getAttribute('aria-describedby')).innerText"
    )
    box, prompt = (
        page.locator(selector).bounding_box() for selector in ("#consent label", "#cosy-prompt")
    )
    assert box
    assert prompt
    assert 0 <= box["y"] - prompt["y"] - prompt["height"] < 30, "it is right below the recording"
    assert box["height"] >= (44 if phone else 36)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visitor.picture(f"consent_missing_{locale[:2]}{'_phone' if phone else ''}")
    assert wishes == []
    page.keyboard.press("Space")
    expect(tick).to_be_checked()
    expect(sentence).to_be_hidden()
    page.locator("#text textarea").press("Control+Enter")
    expect(page.locator(".cosy-history li")).to_have_count(1)
    assert [wish["consent"] for wish in wishes] == [SAYS[locale]]


def test_it_outlives_a_reload_and_no_other_recording(visit: Open) -> None:  # noqa: F811
    visitor = visit()
    page = visitor.page
    tick = page.locator("#consent input")
    visitor.agrees()  # before there is anything: it stays for the first recording
    choose(page)
    expect(tick).to_be_checked()
    end = page.get_by_role("slider", name="End of the part")
    end.focus()
    page.keyboard.press("ArrowLeft")  # a part of it is the same voice
    expect(page.locator(".cp[data-state=ready]")).to_be_visible(timeout=15_000)
    expect(tick).to_be_checked()
    visitor.reload()
    expect(page.locator(".cp[data-state=ready]")).to_be_visible(timeout=15_000)
    expect(tick).to_be_checked()
    choose(page, seed=2)
    expect(tick).not_to_be_checked()
    visitor.agrees()
    page.get_by_role("button", name="Remove").click()
    visitor.reload()
    expect(tick).not_to_be_checked()


def test_saving_a_voice_needs_it_and_a_saved_voice_keeps_it(
    visit: Open,  # noqa: F811
    service: httpx.Client,  # noqa: F811
) -> None:
    visitor = visit()
    page = visitor.page
    choose(page)
    page.get_by_label("Prompt text").fill(prompts.TRANSCRIPT)
    page.get_by_text("Keep this recording as a voice").click()
    page.get_by_label("Name", exact=True).fill("Anna")
    page.get_by_role("button", name="Save voice").click()
    expect(page.locator("#consent [role=alert]")).to_contain_text("consent_missing")
    expect(page.locator("#consent input")).to_be_focused()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Save voice").click()
    expect(page.locator(".cf-told")).to_have_text("Saved: Anna", timeout=15_000)
    (kept,) = service.get("/v1/audio/voices").json()["uploaded_voices"]
    assert kept["consent"] == SAYS["en-GB"]
    page.locator("#cf-voice").select_option("Anna")
    expect(page.locator("#consent")).to_be_hidden()
    visitor.writes()
    wishes = posted(visitor)
    visitor.generate()
    visitor.hears()
    assert "consent" not in wishes[0]


def test_a_stored_voice_without_it_is_asked_for(
    visit: Open,  # noqa: F811
    service: httpx.Client,  # noqa: F811
) -> None:
    for name in ("Anna", "Berta"):
        service.post(
            "/v1/audio/voices",
            data={"name": name, "ref_text": prompts.TRANSCRIPT},
            files={"audio_sample": ("a.wav", prompts.good())},
        ).raise_for_status()
    visitor = visit()
    page = visitor.page
    visitor.writes()
    page.locator("#cf-voice").select_option("Anna")
    visitor.generate()
    visitor.refused("consent_missing")
    visitor.agrees()
    page.locator("#cf-voice").select_option("Berta")
    expect(page.locator("#consent input")).not_to_be_checked()
    visitor.agrees()
    wishes = posted(visitor)
    visitor.generate()
    visitor.hears()
    assert wishes[0]["consent"] == SAYS["en-GB"]


def test_where_none_is_asked_for_there_is_no_tick(visit: Open) -> None:  # noqa: F811
    visitor = visit()
    page = visitor.page

    def unasked(route: Route) -> None:
        answer = route.fetch()
        text = answer.text()
        assert text.count("asksConsent") >= 1
        text = text.replace('asksConsent\\": true', 'x\\": 1')
        text = text.replace('asksConsent\\\\\\": true', 'x\\\\\\": 1')
        # Its policy names the page's scripts by their hashes.
        named = {"content-security-policy": policy(text.encode())}
        route.fulfill(response=answer, body=text, headers={**answer.headers, **named})

    for path in (page.url, f"{page.url}config*"):
        page.route(path, unasked)
    visitor.reload()
    choose(page)
    expect(page.locator("#consent")).to_be_hidden()
    page.locator("#prompt-text textarea").fill(prompts.TRANSCRIPT)
    visitor.writes(TEXT)
    wishes = posted(visitor)
    visitor.generate()
    visitor.hears()
    assert not wishes[0].get("consent")
