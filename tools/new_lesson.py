"""Begin a lesson: `make new-lesson NAME=14_simam TITLE="SimAM: each position against its channel"`.

What it writes has every part that tests/test_lessons.py asks for, and runs. The text is in template/lesson.txt; each
"replace this" in it says what belongs there.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import links

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = Path(__file__).resolve().parent / "template" / "lesson.txt"
CELL = re.compile(r"^=== (text|code) ?([\w,-]*) ?(\{.*\})?$", re.M)
MAKE = {"text": new_markdown_cell, "code": new_code_cell}
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}  # on Colab, in JupyterLab
CORE, MINUTES = 25, 25  # of the template; `make notebooks` writes them anew


def refusal(name: str, title: str, folder: Path) -> str:
    """Why there can be no such lesson, in one sentence; empty where there can."""
    example = 'for instance `make new-lesson NAME=14_simam TITLE="SimAM: each position against its channel"`'
    if not re.fullmatch(r"[0-9]{2}_[a-z0-9]+(_[a-z0-9]+)*", name):
        return f"NAME={name!r} is not two digits, an underscore and a name in lower-case letters; {example}."
    if not title:
        return f"TITLE is missing; {example}."
    if (folder / f"{name}.ipynb").exists():
        return f"notebooks/{name}.ipynb exists already: edit it, or choose another NAME."
    same = sorted(folder.glob(f"{name[:2]}_*.ipynb"))
    if same:
        return f"the number {name[:2]} belongs to notebooks/{same[0].name}: choose another NAME."
    return ""


def cells(text: str, number: str) -> Iterator[dict]:
    """The cells of a text in the format of the template; their ids say what they are."""
    parts = iter(CELL.split(text)[1:])
    for i, (kind, tags, more, source) in enumerate(zip(parts, parts, parts, parts, strict=True)):
        tags = tags.split(",") if tags else []
        folded = FOLDED if {"claims", "quiz", "hide-input"} & set(tags) and kind == "code" else {}
        tags += ["hide-input"] * (bool(folded) and "hide-input" not in tags)
        cell = MAKE[kind](source.strip("\n"), id="-".join([number, f"{i:02}", *tags[:1]]))
        cell.metadata.update({"tags": tags} if tags else {}, **folded, **json.loads(more or "{}"))
        yield cell


def main(arguments: list[str], root: Path = ROOT) -> int:
    name, title = (" ".join(argument.split()) for argument in (*arguments, "", "")[:2])
    problem = refusal(name, title, root / "notebooks")
    if problem:
        print(f"new-lesson: {problem}")
        return 1
    number, path = name[:2], root / "notebooks" / f"{name}.ipynb"
    words = {"number": number, "title": title, "core": CORE, "minutes": MINUTES}
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(words)
    lesson = new_notebook(cells=list(cells(text, number)))
    lesson.metadata.attn_lessons = {"lesson": int(number), "core": CORE, "minutes": MINUTES}
    nbformat.validate(lesson)
    nbformat.write(lesson, path)
    address = links.ADDRESS.search((root / "pyproject.toml").read_text(encoding="utf-8"))[2]
    path.write_text(links.linked_notebook(path, address, []), encoding="utf-8")
    print(f"notebooks/{name}.ipynb is written. Run `make notebooks ONLY={name}`: from then on `make test` passes.")
    print('Then replace what says "replace this", part by part; "Add a lesson" in CONTRIBUTING.md has the rest.')
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
