"""Text in portions: none too long for the model, none lost."""

from __future__ import annotations

import pytest

from cosyhost.engines.segments import bounded, filled

CHINESE = "今天天气很好。我们去公园散步吧，看看花。" * 20
ENGLISH = "The weather is fine today. We walk to the park, and look at flowers. " * 20


def letters(words: str) -> str:
    return "".join(char for char in words if char.isalnum())


@pytest.mark.parametrize("words", [CHINESE, ENGLISH, CHINESE + ENGLISH, "好" * 500, "a" * 2000])
def test_nothing_is_lost_and_nothing_is_long(words: str) -> None:
    portions = list(filled(words))
    assert letters("".join(portions)) == letters(words)
    assert all(len(portion) <= 330 for portion in portions)
    assert all(sum(ord(char) > 0x2E80 for char in portion) <= 80 for portion in portions)


def test_short_sentences_are_spoken_together() -> None:
    assert list(filled("好。好。好。")) == ["好。好。好。"]
    assert list(filled("Yes. No. Maybe.")) == ["Yes. No. Maybe."]


def test_segments_of_the_front_end_stay_as_they_are_unless_far_too_long() -> None:
    fine = ["今天天气很好。", "The weather is fine today, and so am I."]
    assert list(bounded(fine)) == fine
    assert len(list(bounded(["好" * 500]))) > 5


def test_a_portion_of_punctuation_is_left_out() -> None:
    assert list(bounded(["……", "好。"])) == ["好。"]
