"""Build the course as a site into build/site: `make site`. It asks nothing of other hosts when it is read.

The lessons are taken as committed. What Sphinx reads is written to build/site-source: docs/*.md; the lessons without
the badges below their titles, since every page has a menu for that; a gallery of their figures; the reference of the
package. The slides are built with it.
"""

import base64
import re
import shutil
import sys
from html import escape
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell
from sphinx.cmd.build import main as sphinx

import slides
from links import BADGES
from vendor import vendor

ROOT = Path(__file__).resolve().parent.parent
HEADING = re.compile(r"#{1,4} (.+)")
LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
PACKAGES = ("attention", "models", "datasets", "training", "insight", "check", "lesson")  # what their __all__ names
MODULES = ("insight.cam", "insight.explanation", "measure", "results", "style")


def with_anchors(lesson, stem: str, figures: Path) -> list[str]:
    """Put an anchor above every figure of the lesson and write the figure to a file; its entries in the gallery."""
    cells, entries, heading = [], [], ""
    for cell in lesson.cells:
        if cell.cell_type == "markdown":
            cell.source = BADGES.sub("", cell.source)
            if found := HEADING.match(cell.source):
                heading = LINK.sub(r"\1", found[1]).replace("`", "").replace("*", "")
        for output in cell.get("outputs", []):
            for kind in (kind for kind in output.get("data", {}) if kind in ("image/png", "image/gif")):
                name, alt = f"figure-{len(entries) + 1}", output.metadata.get(kind, {}).get("alt", "")
                cell.metadata["mystnb"] = {"image": {"alt": alt}}  # where myst-nb looks for it
                file = figures / f"{stem}-{name}.{kind[-3:]}"
                file.write_bytes(base64.b64decode(output.data[kind]))
                cells.append(new_markdown_cell(f'<span id="{name}"></span>'))
                entries.append(
                    f'<a href="notebooks/{stem}.html#{name}"><img src="figures/{file.name}" alt="{escape(alt)}" '
                    f'loading="lazy"><span>{escape(heading)}</span></a>'
                )
        cells.append(cell)
    lesson.cells = cells
    return entries


def reference(module: str, options: str = "") -> str:
    return f"## {module}\n\n```{{eval-rst}}\n.. automodule:: attn_lessons.{module}\n{options}```"


def lay_out(source: Path, figures: Path) -> None:
    """Write what Sphinx reads to `source`, and the figures of the gallery to `figures`."""
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "docs", source, ignore=shutil.ignore_patterns("slides", "*.py", "__pycache__"))
    (source / "notebooks").mkdir()
    gallery, decks = [], []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        lesson = nbformat.read(path, as_version=4)
        title = HEADING.match(lesson.cells[0].source)[1]
        entries = with_anchors(lesson, path.stem, figures)
        nbformat.write(lesson, source / "notebooks" / path.name)
        gallery += [f"## {title}", '<div class="gallery">\n' + "\n".join(entries) + "\n</div>"]
        decks.append(f'<p><a href="slides/{path.stem}.html">{escape(title)}</a></p>')
    modules = [reference(name, "   :imported-members:\n") for name in PACKAGES] + [reference(name) for name in MODULES]
    for page, parts in (("gallery", gallery), ("presentations", decks), ("api", modules)):
        text = (source / f"{page}.md").read_text(encoding="utf-8")
        text = re.sub(r"<!-- (figures|decks|modules) -->", lambda _, parts=parts: "\n\n".join(parts), text)
        (source / f"{page}.md").write_text(text, encoding="utf-8")


def build(target: Path) -> int:
    shutil.rmtree(target, ignore_errors=True)
    (target / "figures").mkdir(parents=True)
    source = target.with_name(f"{target.name}-source")
    lay_out(source, target / "figures")
    shutil.copy(vendor("mathjax") / "es5" / "tex-svg.js", source / "static")
    options = ["-q", "-d", target.with_name(f"{target.name}-doctrees"), "-c", ROOT / "docs"]
    options += ["-D", f"html_static_path={source / 'static'}"]
    slides.write(target / "slides")
    return sphinx([str(part) for part in (*options, source, target)])


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "site").resolve()
    failed = build(target)
    if not failed:
        print(f"site: {target / 'index.html'}")
    sys.exit(failed)
