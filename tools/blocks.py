"""What the cells of a lesson look like on slides: `make slides`. The rules are in slides.py."""

import ast
import re
from html import escape

from nbconvert.filters.markdown_mistune import markdown2html_mistune as html
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from editions import right_answers, tags

SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z`*\"“])")
LONG, SHORT, WIDE = 260, 14, 96  # characters of a paragraph, lines of code, characters of a line


def notes(text: str) -> str:
    return f'<aside class="notes">{html(text)}</aside>'


def prose(source: str) -> str:
    """Long plain paragraphs cut down to their first sentences, each with its full text in the notes."""
    blocks = []
    for block in re.split(r"\n{2,}(?!  )", source):
        first, *rest = SENTENCE.split(block)
        if len(block) <= LONG or not rest or "```" in source or re.match(r"[-<|>]|\d+\.", block):
            blocks.append(html(block))
            continue
        while rest and (len(first) + len(rest[0]) < LONG or first.count("**") % 2):
            first += " " + rest.pop(0)
        blocks.append(html(first) + (notes(block) if rest else ""))
    return "".join(blocks)


def image(data: str, kind: str, alt: str) -> str:
    return f'<img src="data:{kind};base64,{"".join(data.split())}" alt="{escape(alt)}">'


def code(cell) -> str:
    """A code cell with its outputs."""
    texts, images = [], []
    for output in cell.outputs:
        data = output.get("data", {"text/plain": output.get("text", "")})
        if kind := next((kind for kind in data if kind.startswith("image/")), None):
            images.append(image(data[kind], kind, output.metadata.get(kind, {}).get("alt", "")))
        elif "text/html" in data:
            texts.append(f'<div class="table">{data["text/html"]}</div>')
        elif "text/markdown" in data:
            texts.append(html(data["text/markdown"]))
        elif data["text/plain"].strip() and "explore" not in tags(cell):  # the image is all that can be shown of it
            texts.append(f'<pre class="output">{escape(data["text/plain"].strip(chr(10)))}</pre>')
    wide = max(map(len, cell.source.splitlines()), default=0) > WIDE
    text = re.sub(r" {3,}(?=# )", "  ", cell.source) if wide else cell.source
    source = highlight(text, PythonLexer(), HtmlFormatter())
    if (images or not texts or cell.source.count("\n") >= SHORT) and "exercise" not in tags(cell):
        return f'<details class="code"><summary>code</summary>{source}</details>' + "".join(texts + images)
    return f'<div class="cell">{source}{"".join(texts)}</div>'


def questions(cell) -> list[list[str]]:
    """The quiz, a slide a question: the outputs have the questions, the source has the answers."""
    shown = cell.outputs[0].data["text/plain"] if cell.outputs else ""
    texts = re.split(r"^\d+\. ", shown, flags=re.M)[1:]
    slides = []
    for text, (right, why) in zip(texts, right_answers(cell.source), strict=bool(shown)):
        question, *answers = (escape(line.strip()) for line in text.strip().splitlines())
        choices = "".join(f"<p class='choice'>{answer}</p>" for answer in answers)
        slides.append([f"<p><strong>{question}</strong></p>{choices}", notes(f"**Right: {right}** {why}")])
    return slides


def only_imports(source: str) -> bool:
    try:
        return all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.parse(source).body)
    except SyntaxError:  # %pip and its like
        return False
