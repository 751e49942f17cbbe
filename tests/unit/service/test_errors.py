"""Every kind of failure is complete in both languages."""

from __future__ import annotations

import pickle
import re

import pytest

from cosyhost.errors import KINDS, PROMPT_TOO_SHORT, Kind, Problem

FIELD = re.compile(r"\{(\w+)")


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_each_kind_speaks_both_languages(kind: Kind) -> None:
    assert re.fullmatch(r"[a-z][a-z_]+[a-z]", kind.code)
    assert 400 <= kind.status < 600
    assert re.search(r"[\u4e00-\u9fff]", kind.zh)
    assert re.search(r"[\u4e00-\u9fff]", kind.hint_zh)
    assert kind.en.isascii()
    assert kind.hint_en.isascii()
    assert set(FIELD.findall(kind.zh)) == set(FIELD.findall(kind.en))
    assert set(FIELD.findall(kind.hint_zh)) == set(FIELD.findall(kind.hint_en))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_each_kind_can_be_shown_with_the_figures_it_is_raised_with(kind: Kind) -> None:
    """`retry_after_s` is the one figure that every problem has by itself."""
    assert "retry_after_s" not in FIELD.findall(kind.en + kind.zh)
    figures = set(FIELD.findall(kind.en + kind.zh + kind.hint_en + kind.hint_zh))
    figures -= {"retry_after_s"}
    problem = Problem(kind, retry_after_s=5, **dict.fromkeys(figures, 1))
    for sentence in (*problem.document().values(), problem.sentence("zh"), problem.sentence("en")):
        assert "{" not in str(sentence)


def test_a_problem_survives_the_way_between_processes() -> None:
    problem = pickle.loads(pickle.dumps(Problem(PROMPT_TOO_SHORT, seconds=1.2, low=3.0)))
    assert problem.document()["detail"] == (
        "The prompt audio lasts 1.2 s; at least 3 s are needed."
    )
