"""Write the editions of every lesson into dist/: `make editions`.

learner     as committed
student     without solutions, outputs and expected answers; exercises, hints and checks stay
instructor  exercises solved, solutions open, expected answers below predictions and the quiz

The only source is notebooks/: an edition leaves cells out, fills them in, or opens what is folded.
"""

import ast
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell

ROOT = Path(__file__).resolve().parent.parent
CODE_BLOCK = re.compile(r"```python\n(.*?)```", re.S)


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def learner(lesson):
    return lesson


def student(lesson):
    lesson.cells = [cell for cell in lesson.cells if "solution" not in tags(cell)]
    for cell in lesson.cells:
        cell.metadata.pop("answer", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return lesson


def instructor(lesson):
    solutions = (CODE_BLOCK.search(cell.source)[1] for cell in lesson.cells if "solution" in tags(cell))
    cells = []
    for cell in lesson.cells:
        cells.append(cell)
        if cell.cell_type == "code" and {"exercise", "check"} & tags(cell):
            cell.outputs, cell.execution_count = [], None  # they are of a lesson with nothing attempted
        if cell.cell_type == "code" and "exercise" in tags(cell):
            cell.source = next(solutions).strip()
        elif "solution" in tags(cell):
            cell.source = cell.source.replace("<details>", "<details open>")
        elif "answer" in cell.metadata:
            cells.append(below(cell, f"**Expected answer.** {cell.metadata.answer}"))
        elif cell.cell_type == "code" and "quiz" in tags(cell):
            right = [f"{i}. **{answer}** {why}" for i, (answer, why) in enumerate(right_answers(cell.source), 1)]
            cells.append(below(cell, "**Right answers**\n\n" + "\n".join(right)))
    lesson.cells = cells
    return lesson


def below(cell, text: str):
    """A cell for the instructor alone, right below this one; its id is the same in every run."""
    return new_markdown_cell(text, id=f"{cell.id}-answer", metadata={"tags": ["instructor"]})


def right_answers(source: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Question":
            yield ast.literal_eval(next(keyword.value for keyword in node.keywords if keyword.arg == "right"))


EDITIONS = {"learner": learner, "student": student, "instructor": instructor}


def write(target: Path, source: Path = ROOT / "notebooks") -> list[Path]:
    """All lessons in all editions: target/edition/lesson.ipynb. What an earlier call wrote there is replaced."""
    written = []
    for edition, make in EDITIONS.items():
        shutil.rmtree(target / edition, ignore_errors=True)
        (target / edition).mkdir(parents=True)
        for path in sorted(source.glob("*.ipynb")):
            lesson = make(nbformat.read(path, as_version=4))
            nbformat.validate(lesson)
            written.append(target / edition / path.name)
            nbformat.write(lesson, written[-1])
    return written


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist"
    count = len(write(target)) // len(EDITIONS)
    print(f"{count} lessons in {len(EDITIONS)} editions: {target}. Hand out a folder as it is; none needs the network.")
