"""Slides: nothing is given away before its time, nothing runs over the edge, nothing comes from elsewhere.

One deck is looked at in the browser; `make check-slides` looks at all of them.
"""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from html import escape
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools"
slides = pytest.importorskip(
    "slides", reason="nbconvert is not installed: `make setup` installs it", exc_type=ImportError
)

LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOOKED_AT = LESSONS if os.environ.get("SLIDES") == "all" else [path for path in LESSONS if path.name[:2] == "06"]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
NOTES = re.compile(r"<aside.*?</aside>", re.S)
lessons = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)

# Every slide, with the boxes that leave it, how far its figures are scaled, and how small its texts are made.
LOOK = """() => Reveal.getSlides().map((slide) => {
  const { h, v } = Reveal.getIndices(slide);
  Reveal.slide(h, v);
  const all = [...slide.querySelectorAll(".page *")].filter((e) => !e.closest(".codes, mjx-assistive-mml"));
  const out = all.map((e) => [e, e.getBoundingClientRect()])
    .filter(([e, box]) => box.width && (box.left < 0 || box.top < 0 || box.right > 1280.5 || box.bottom > 690.5));
  return {
    heading: slide.querySelector("h2").textContent,
    out: out.map(([e, box]) => `${e.tagName} ends at ${box.right | 0}, ${box.bottom | 0}`),
    small: [...slide.querySelectorAll("img")]
      .filter((i) => i.width < 1100 && i.height < 560 && i.width / i.naturalWidth < 0.75).length
      + all.filter((e) => e.style.zoom && e.style.zoom < 0.65).length,
    empty: !slide.querySelector(".page > :not(h2, .codes)") && !slide.querySelector(".page.title, .codes, aside"),
  };
})"""


@cache
def shown(path) -> list[tuple[str, str, str]]:
    """(heading, what the slide shows, its notes) of every slide."""
    parts = [
        (heading, "".join(blocks))
        for column in slides.columns(nbformat.read(path, as_version=4).cells)
        for heading, blocks in column
    ]
    return [(heading, NOTES.sub("", html), " ".join(NOTES.findall(html))) for heading, html in parts]


# ---------------------------------------------------------------------------------------------- what is on them
@lessons
def test_a_prediction_is_apart_from_what_follows_and_has_its_answer_in_the_notes(path):
    cells = nbformat.read(path, as_version=4).cells
    deck = shown(path)
    answers = [
        slides.notes(f"**Expected answer.** {cell.metadata.answer}") for cell in cells if "answer" in cell.metadata
    ]
    for answer in answers:
        (slide,) = [(html, notes) for _, html, notes in deck if answer in notes]
        assert "<img" not in slide[0] and 'class="output"' not in slide[0]
    assert len(answers) >= 1


@lessons
def test_solutions_hints_and_right_answers_are_in_the_notes_alone(path):
    text = "".join(html for _, html, _ in shown(path))
    notes = "".join(notes for _, _, notes in shown(path))
    given_away = ("<summary>Solution", "<summary>Hint", "quiz(", "<strong>Right:")
    assert not [words for words in given_away if words in text]
    assert notes.count("Solution</summary>") >= 1


@lessons
def test_every_figure_is_there_with_its_text(path):
    text = "".join(html for _, html, _ in shown(path))
    outputs = [o for cell in nbformat.read(path, as_version=4).cells for o in cell.get("outputs", [])]
    alts = [o.metadata[kind]["alt"] for o in outputs for kind in o.get("data", {}) if kind.startswith("image/")]
    assert all(f'alt="{escape(alt)}"' in text for alt in alts)
    assert text.count("<img") == len(alts)


def test_a_cells_own_slide_type_counts():
    def cell(source, kind):
        return new_markdown_cell(source, metadata={"slideshow": {"slide_type": kind}})

    cells = [
        new_markdown_cell("# T"),
        cell("a", "skip"),
        cell("b", "slide"),
        cell("c", "subslide"),
        cell("d", "fragment"),
    ]
    columns = slides.columns([*cells, cell("e", "notes")])
    assert [len(column) for column in columns] == [1, 2]
    ((_, b), (_, rest)) = columns[1]
    assert "<p>b</p>" in b[0] and "<p>c</p>" in rest[0]
    assert 'class="fragment"' in rest[1] and rest[2] == slides.notes("e")


def test_the_rules_for_code_and_prose():
    def code(source, *outputs, tags=()):
        outputs = [nbformat.v4.new_output("stream", name="stdout", text=text) for text in outputs]
        return slides.code(new_code_cell(source, outputs=outputs, metadata={"tags": list(tags)}))

    assert code("print(1)", "1").startswith('<div class="cell">')
    assert code("print(1)\n" * 20, "1").startswith('<details class="code">')
    assert code("x = 1").startswith('<details class="code">')
    assert not code("def f(x): ...", tags=["exercise"]).startswith("<details")
    long = "The first sentence is here. " + "And **one more** that says a little about it. " * 9
    assert NOTES.sub("", slides.prose(long)).count("little") < 9
    assert slides.prose(long).endswith(slides.notes(long.strip()))
    assert "aside" not in slides.prose(long[:60])
    assert slides.columns(new_notebook().cells) == []


# ---------------------------------------------------------------------------------------------- how they look
@pytest.fixture(scope="module")
def decks(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("slides")
    command = [sys.executable, TOOLS / "slides.py", target, *(path.stem for path in LOOKED_AT)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.stderr.startswith("vendor:"):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def browser():
    if not BROWSER:
        pytest.skip("no Chromium here: `sudo apt install chromium`, then run this again")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `make setup` installs it")
    with api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])


@pytest.mark.parametrize("path", LOOKED_AT, ids=lambda path: path.stem)
def test_no_slide_runs_over_its_edge_and_all_can_be_read(decks, browser, path):
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(f"file://{decks}/{path.stem}.html")
    page.wait_for_selector("body[data-ready]", timeout=120_000)
    seen = page.evaluate(LOOK)
    page.close()
    assert len(seen) > 30 and not errors
    assert not [slide for slide in seen if slide["out"] or slide["small"] or slide["empty"]]
    assert not [url for url in requests if not url.startswith(("file://", "data:"))]
