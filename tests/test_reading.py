"""tools/reading.py: what a lesson costs to read, and where that is stated."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import reading

FIGURE = new_output("display_data", {"image/png": "", "text/plain": ""})


def text(source, *tags):
    return new_markdown_cell(source, metadata={"tags": list(tags)})


def code(source, *tags, outputs=()):
    return new_code_cell(source, metadata={"tags": list(tags)}, outputs=list(outputs))


def said(markdown):
    return new_output("display_data", {"text/markdown": markdown, "text/plain": ""})


@pytest.mark.parametrize(("cell", "minutes"), [
    (text("word " * 130), 1),
    (text("word " * 130, "hint"), 0),
    (text("[word word word](https://example.org/word)"), 0),
    (text("word " * 128 + "5 minutes", "exercise"), 6),
    (text("word " * 128 + "5 minutes"), 1),
    (text("word " * 130, "predict"), 2),
    (code("x = 1\n\ny = 2\n" * 30), 7),
    (code("x = 1\n" * 60, "hide-input"), 0),
    (code("x = 1\n" * 60, "claims"), 0),
    (code("", outputs=[FIGURE, FIGURE]), 1),
    (code("say()", "hide-input", outputs=[said("word " * 130)]), 1),
    (code("show_code()", "hide-input", outputs=[said("```python\n" + "x = 1\n" * 60 + "```")]), 7),
    (code("quiz()", "quiz", "hide-input"), 4),
])  # fmt: skip
def test_what_counts(cell, minutes):
    assert reading.minutes_of(cell) == pytest.approx(minutes)


def test_core_and_everything_are_stated_to_five_minutes_and_sections_to_one():
    lesson = new_notebook(metadata={"attn_lessons": {"lesson": 1}}, cells=[
        text("**Time** core 0 min, all 0 min · **Hardware** any", "objectives"),
        text("word " * 130 * 12),
        text("## Going deeper\n\n### One (9 min)", "deeper"),
        text("word " * 130 * 4),
        text("### Two (1 min)\n\n" + "word " * 130 * 5),
    ])  # fmt: skip
    reading.state_time(lesson)
    assert lesson.cells[0].source == "**Time** core 10 min, all 20 min · **Hardware** any"
    assert lesson.metadata.attn_lessons == {"lesson": 1, "core": 10, "minutes": 20}
    assert "### One (4 min)" in lesson.cells[2].source and lesson.cells[4].source.startswith("### Two (5 min)")


def test_a_lesson_that_states_nothing_stays_as_it_is():
    lesson = new_notebook(cells=[text("**Time** 40 minutes", "objectives")], metadata={"attn_lessons": {"minutes": 40}})
    reading.state_time(lesson)
    assert lesson.cells[0].source == "**Time** 40 minutes" and lesson.metadata.attn_lessons.minutes == 40


def test_words_to_avoid_are_counted():
    lesson = new_notebook(cells=[text("A picture in place of a place, in-place."), code("picture = 1")])
    assert reading.words_to_avoid(lesson) == {"picture": 1, "place": 2}
