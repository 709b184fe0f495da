"""A promise of a lesson: silent where it holds, one sentence for a reader where it does not, an error under test."""

import pytest

from attn_lessons import lesson
from attn_lessons.lesson import claims


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, as Markdown."""
    shown = []
    monkeypatch.setattr(claims, "display", lambda markdown: shown.append(markdown.data))
    return shown


def test_a_claim_that_holds_says_nothing(shown):
    lesson.claim(0.6 > 0.5, "SE is above the ceiling.")
    assert not shown


def test_under_pytest_a_broken_claim_is_an_error():
    with pytest.raises(AssertionError, match=r"SE is above the ceiling\."):
        lesson.claim(0.4 > 0.5, "SE is above the ceiling.")


def test_a_reader_gets_one_sentence_and_goes_on(shown, monkeypatch):
    for variable in claims.STOPPING:
        monkeypatch.delenv(variable, raising=False)
    lesson.claim(0.4 > 0.5, "SE is above the ceiling.")
    assert shown[0].startswith("**Not on this machine:** SE is above the ceiling. ")


def test_text_that_is_said_carries_the_mark_that_keeps_nbval_from_comparing_it(shown):
    lesson.say(f"SE reached **{0.58:.2f}**.")
    assert shown == ["<!-- computed -->\nSE reached **0.58**."]
