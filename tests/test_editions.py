"""Editions: the student's gives nothing away and runs; the instructor's has every exercise solved."""

from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

import editions

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))

lessons = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    written = editions.write(target)
    assert written == [target / edition / path.name for edition in editions.EDITIONS for path in LESSONS]
    return target


def read(path: Path) -> list:
    return nbformat.read(path, as_version=4).cells


def code(cells: list, without: str = "") -> list[str]:
    return [cell.source for cell in cells if cell.cell_type == "code" and without not in editions.tags(cell)]


@lessons
def test_the_learners_edition_is_the_lesson(dist, path):
    assert read(dist / "learner" / path.name) == read(path)


@lessons
def test_the_students_edition_gives_nothing_away(dist, path):
    cells = read(dist / "student" / path.name)
    assert not any("solution" in editions.tags(cell) or "answer" in cell.metadata for cell in cells)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert not any("<summary>Solution" in cell.source for cell in cells)


@lessons
def test_the_students_edition_runs_the_very_cells_that_are_tested_in_the_lesson(dist, path):
    """Nothing attempted, the lesson runs to its end: that is what nbval runs, cell for cell."""
    assert code(read(dist / "student" / path.name)) == code(read(path))
    assert any("raise NotImplementedError" in source for source in code(read(dist / "student" / path.name)))


@lessons
def test_the_instructors_edition_is_solved(dist, path):
    """The solutions pass the checks: tests/test_lessons.py runs these very blocks."""
    cells, lesson = read(dist / "instructor" / path.name), read(path)
    assert code(cells, without="exercise") == code(lesson, without="exercise")
    solved = [cell.source for cell in cells if cell.cell_type == "code" and "exercise" in editions.tags(cell)]
    shown = [editions.CODE_BLOCK.search(c.source)[1].strip() for c in lesson if "solution" in editions.tags(c)]
    assert solved == shown and len(solved) >= 1
    assert not any("your turn" in source for source in code(cells))
    assert all("<details open>" in cell.source for cell in cells if "solution" in editions.tags(cell))


@lessons
def test_the_instructor_has_the_answers_right_below_the_questions(dist, path):
    cells = read(dist / "instructor" / path.name)
    for question, answer in pairwise(cells):
        if "answer" in question.metadata:
            assert "instructor" in editions.tags(answer) and question.metadata.answer in answer.source
        if question.cell_type == "code" and "quiz" in editions.tags(question):
            assert "instructor" in editions.tags(answer)
            assert answer.source.count("\n") > question.source.count("Question(")
    assert sum("instructor" in editions.tags(cell) for cell in cells) >= 2


def test_an_older_edition_is_replaced(tmp_path):
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "99_old.ipynb").write_text("{}")
    editions.write(tmp_path)
    assert not (tmp_path / "student" / "99_old.ipynb").exists()
