"""Write a deck of slides per lesson into dist/slides: `make slides`. They need no network; open index.html.

The decks are made from the lessons as committed. The metadata of a cell may say what becomes of it:
`slideshow.slide_type` is slide, subslide, fragment, skip or notes. For all other cells:

heading     # and ## begin a column of slides, ### a slide below; a heading is repeated on each slide of its section
prose       the first sentences of a long paragraph, with the whole of it in the speaker notes (key S)
code        shown where it is short and prints something; folded behind a button where it draws, or is long or silent
outputs     all of them; a figure is as large as a reader in the last row needs it
set-up, check: left out
predict     a slide of its own, with the expected answer in its notes; what comes next is on another slide
exercise    its task and its stub; hints and solution in the notes
quiz        a slide per question, the right answer in its notes; the source stays hidden

What does not fit on a slide of 1280 × 720 goes on to the next one: docs/slides/deck.js measures it in the browser.
"""

import re
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from shutil import copytree, rmtree
from string import Template

import nbformat
from pygments.formatters import HtmlFormatter

from blocks import code, html, notes, only_imports, prose, questions, tags
from links import BADGES
from vendor import vendor

ROOT = Path(__file__).resolve().parent.parent
PARTS = ROOT / "docs" / "slides"
HEADING = re.compile(r"(#{1,4}) (.+)\n*")


def left_out(cells) -> set[int]:
    """Where the set-up section lies: from the heading above the cell tagged `setup` to the next one."""
    headings = [i for i, cell in enumerate(cells) if cell.cell_type == "markdown" and HEADING.match(cell.source)]
    found = next((i for i, cell in enumerate(cells) if "setup" in tags(cell)), -1)
    if found < 0:
        return set()
    start = max((i for i in headings if i < found), default=found)
    return set(range(start, min((i for i in headings if i > found), default=found + 1)))


def columns(cells) -> list[list[tuple[str, list[str]]]]:
    """The deck: columns of slides, each with its heading and its blocks of HTML."""
    deck, heading, skipped, begin = [], "", left_out(cells), False
    for i, cell in enumerate(cells):
        kind = cell.metadata.get("slideshow", {}).get("slide_type", "-")
        if kind == "skip" or (kind == "-" and i in skipped):
            continue
        source, tagged, level = BADGES.sub("", cell.source).strip(), tags(cell), 0
        if kind == "notes" or (kind == "-" and tagged & {"hint", "solution"}):
            deck[-1][-1][1].append(notes(source.replace("<details>", "<details open>")))
            continue
        if cell.cell_type == "markdown" and (found := HEADING.match(source)):
            level, heading, source = len(found[1]), html(found[2]).strip()[3:-4], source[found.end() :]
        if kind == "slide" or 0 < level < 3 or not deck:
            deck.append([(heading, [])])
        elif kind == "subslide" or level or begin or "objectives" in tagged:
            deck[-1].append((heading, []))
        if begin and not level:
            heading = deck[-1][0][0]
            deck[-1][-1] = (heading, [])
        blocks, begin = deck[-1][-1][1], "predict" in tagged
        if cell.cell_type == "code":
            if "quiz" in tagged:
                deck[-1].extend((heading, question) for question in questions(cell))
            elif not {"check", "claims"} & tagged and not only_imports(cell.source):
                blocks.append(code(cell))
        elif "quiz" not in tagged:
            whole = tagged & {"predict", "exercise", "objectives", "pitfalls", "references"}
            text = html(source) if whole else prose(source)
            blocks.append(f'<div class="fragment">{text}</div>' if kind == "fragment" else text)
        if "answer" in cell.metadata:
            blocks.append(notes(f"**Expected answer.** {cell.metadata.answer}"))
    return [column for column in ([s for s in column if any(s[1]) or s is deck[0][0]] for column in deck) if column]


def deck(lesson, name: str) -> str:
    slides = []
    for column in columns(lesson.cells):
        sections = (f"<section><h2>{heading}</h2>{''.join(blocks)}</section>" for heading, blocks in column)
        slides += ["<section>", *sections, "</section>"]
    text = re.sub(r'(href="[\w]+)\.ipynb', r"\1.html", "\n".join(slides))
    title = HEADING.match(lesson.cells[0].source)[2]
    math = '<script src="mathjax/es5/tex-svg.js"></script>' if re.search(r"\$[^$\n]+\$", text) else ""
    colours = HtmlFormatter().get_style_defs(".highlight")
    return Template((PARTS / "deck.html").read_text(encoding="utf-8")).substitute(
        title=escape(title), name=name, slides=text, math=math, colours=colours
    )


def write(target: Path, only: Sequence[str] = ()) -> list[Path]:
    """The decks of all lessons, or only of those with these names: target/lesson.html, and target/index.html."""
    rmtree(target, ignore_errors=True)
    for package in ("reveal.js", "mathjax"):
        copytree(vendor(package), target / package)
    copytree(PARTS, target / "deck", ignore=lambda *_: ["deck.html", "index.html"])
    lessons = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if not only or path.stem in only]
    entries, written = [], []
    for path in lessons:
        lesson = nbformat.read(path, as_version=4)
        written.append(target / f"{path.stem}.html")
        written[-1].write_text(deck(lesson, path.stem), encoding="utf-8")
        title = HEADING.match(lesson.cells[0].source)[2]
        entries.append(f'<p><a href="{path.stem}.html">{escape(title)}</a></p>')
    index = Template((PARTS / "index.html").read_text(encoding="utf-8")).substitute(decks="\n".join(entries))
    (target / "index.html").write_text(index, encoding="utf-8")
    return written


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist" / "slides"
    print(
        f"{len(write(target, sys.argv[2:]))} decks: {target / 'index.html'}. Keys: S notes, O overview, F full screen."
    )
