"""`python -m attn_lessons.grade`: every submission has all its rows, whatever it does."""

import csv
import json
import re
from pathlib import Path

import pytest

from attn_lessons import check
from attn_lessons.check.grader import COLUMNS, EXERCISES, graded, main

RIGHT = "import torch\ndef pool_both(x):\n    return torch.cat([x.mean(3), x.mean(2)], 2)"
SUBMISSIONS = {  # of lesson 05, and the outcome and a word of the sentence of its first exercise
    "right, with magics and an endless cell": (["%matplotlib inline\n!ls", RIGHT, "while True: pass"], "passed", ""),
    "line left": (
        ['def pool_both(x):\n    raise NotImplementedError("your turn")\n    return x.mean(3)'],
        "not yet",
        "delete that line",
    ),
    "syntax": (["def pool_both(x)\n    return x"], "does not run", "SyntaxError"),
    "dies": (["import os\ndef pool_both(x):\n    os._exit(0)"], "does not run", "ended its process"),
    "endless": (["def pool_both(x):\n    while True: pass"], "does not end", "endless loop"),
    "changes the check": (
        [
            "from attn_lessons.check import core",
            "def pool_both(x):\n    core.same = lambda *a: True\n    return torch.cat([x.sum(3), x.sum(2)], 2)",
        ],
        "not own work",
        "changes the check",
    ),
    "the course's own": (
        ["from attn_lessons.attention.base import mean\ndef pool_both(x):\n    return mean(x, 2, 3), torch"],
        "not own work",
        "uses the course's own mean",
    ),
}


def notebook(path: Path, cells: list[str]) -> Path:
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": cell} for cell in cells]}))
    return path


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_a_submission_has_its_row(name, tmp_path, monkeypatch):
    cells, outcome, words = SUBMISSIONS[name]
    monkeypatch.setitem(EXERCISES, "05", {"pool_both": "check_pool_both"})  # one process each is enough
    ((exercise, said, sentence),) = graded(
        notebook(tmp_path / f"{name}.ipynb", cells), "05", seconds=8 if name == "endless" else 60
    )
    assert (exercise, said) == ("pool_both", outcome) and words in sentence


def test_a_folder_becomes_a_table(tmp_path, monkeypatch):
    monkeypatch.setitem(EXERCISES, "05", {"pool_both": "check_pool_both"})
    notebook(tmp_path / "anna.ipynb", [RIGHT])
    (tmp_path / "ben.py").write_text("x = 1")
    (tmp_path / "cleo.ipynb").write_text("no notebook")
    main([str(tmp_path), "--out", str(tmp_path / "marks.csv")])
    rows = list(csv.reader((tmp_path / "marks.csv").open(encoding="utf-8")))
    assert tuple(rows[0]) == COLUMNS and [row[0] for row in rows[1:]] == ["anna", "ben", "cleo"]
    assert [row[2] for row in rows[1:]] == ["passed", "not attempted yet", "does not run"]


def test_a_folder_without_submissions_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="has no notebooks"):
        main([str(tmp_path)])


def test_the_exercises_are_those_of_the_lessons():
    found = {}
    for path in sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb")):
        code = "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"])
        found[path.name[:2]] = {answer: name for name, answer in re.findall(r"^(check_\w+)\((\w+)\)$", code, re.M)}
    assert found == EXERCISES
    assert {name for answers in EXERCISES.values() for name in answers.values()} == set(check.__all__)
