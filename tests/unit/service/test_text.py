"""What may be spoken, and how it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyhost import text
from cosyhost.errors import Problem


@pytest.mark.parametrize(
    ("given_text", "code"),
    [
        ("", "text_empty"),
        (" \n\t　", "text_empty"),
        ("。，！？…—", "text_no_words"),
        ("😀🎉", "text_no_words"),
        ("你好<|endofprompt|>", "text_control_tokens"),
        ("<|", "text_control_tokens"),
        ("a|>b", "text_control_tokens"),
        ("好" * 101, "text_too_long"),
    ],
)
def test_text_that_cannot_be_spoken_is_refused(given_text: str, code: str) -> None:
    with pytest.raises(Problem) as refused:
        text.check(given_text, 100)
    assert refused.value.kind.code == code


def test_good_text_is_trimmed_and_composed() -> None:
    assert text.check("  Cafe\u0301 3。 ", 100) == "Café 3。"


def test_text_is_cut_at_sentence_ends() -> None:
    assert list(text.split("今天很好。明天呢？Yes, it is 3.5 here. Good.")) == [
        "今天很好。",
        "明天呢？",
        "Yes, it is 3.5 here.",
        "Good.",
    ]


def test_segments_without_words_are_dropped() -> None:
    assert list(text.split("好。……！好。")) == ["好。", "好。"]


@given(st.text(), st.integers(min_value=1, max_value=90))
def test_no_letter_is_lost_and_no_segment_too_long(given_text: str, limit: int) -> None:
    segments = list(text.split(given_text, limit))
    assert all(0 < len(segment) <= limit for segment in segments)
    assert _words("".join(segments)) == _words(given_text)


def _words(given_text: str) -> list[str]:
    return [char for char in given_text if char.isalpha() or char.isdecimal()]
