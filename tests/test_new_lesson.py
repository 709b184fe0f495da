"""`make new-lesson`: what it writes keeps the lesson contract once it is executed; what it cannot write it refuses."""

import inspect
import re
import shutil
from pathlib import Path

import nbformat
import pytest
import test_lessons as contract

import editions
import links
import new_lesson
import notebooks

ROOT = Path(__file__).resolve().parent.parent
NAME, TITLE = "14_simam", 'SimAM: each position\'s "distance" from its channel, for $0'
WALL_CLOCK = "test_time_is_recorded_and_within_the_budget"  # a busy machine lengthens that
RULES = [
    rule
    for name, rule in vars(contract).items()
    if name.startswith("test_") and name != WALL_CLOCK and list(inspect.signature(rule).parameters) == ["path"]
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("course")
    (root / "notebooks").mkdir()
    (root / "notebooks" / "01_concepts.ipynb").touch()
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


@pytest.fixture(scope="module")
def written(root):
    assert new_lesson.main([NAME, TITLE], root) == 0
    return root / "notebooks" / f"{NAME}.ipynb"


@pytest.fixture(scope="module")
def executed(written, tmp_path_factory):
    path = tmp_path_factory.mktemp("executed") / written.name
    shutil.copy(written, path)
    shutil.copy(written.with_name("01_concepts.ipynb"), path.parent)  # which the lesson links to
    notebooks.renew(path)
    return path


def test_it_carries_its_number_title_and_address(written):
    lesson = nbformat.read(written, as_version=4)
    assert lesson.cells[0].source.startswith(f"# 14 · {TITLE}\n")
    assert lesson.metadata.attn_lessons == {"lesson": 14, "core": 25, "minutes": 25}
    assert "check/lesson14.py" in "".join(cell.source for cell in lesson.cells)
    assert len({cell.id for cell in lesson.cells}) == len(lesson.cells)
    address, problems = links.ADDRESS.search((ROOT / "pyproject.toml").read_text())[2], []
    assert links.linked_notebook(written, address, problems) == written.read_text(encoding="utf-8")
    assert not problems and f"{address}/blob/main/notebooks/{NAME}.ipynb" in lesson.cells[0].source


def test_every_part_says_what_belongs_there(written):
    for cell in nbformat.read(written, as_version=4).cells:
        if set(cell.metadata.get("tags", [])) & set(contract.SECTIONS) and cell.cell_type == "markdown":
            known = {"title", "quiz"} & set(cell.metadata.tags)
            assert known or "eplace this:" in cell.source, cell.source


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_executed_it_keeps_the_lesson_contract(rule, executed):
    rule(executed)


def test_it_is_quick_and_its_time_is_recorded(executed):
    lesson = nbformat.read(executed, as_version=4)
    (quick,) = re.findall(r"quick=\((\d+), (\d+), (\d+)\)", "".join(cell.source for cell in lesson.cells))
    images, epochs, seeds = map(int, quick)
    assert images * epochs * seeds <= 2400  # seconds; counted, since a busy machine takes longer
    assert lesson.metadata.attn_lessons.seconds >= 1


def test_it_has_its_editions(executed, tmp_path):
    (tmp_path / "notebooks").mkdir()
    shutil.copy(executed, tmp_path / "notebooks")
    assert len(editions.write(tmp_path / "dist", tmp_path / "notebooks")) == len(editions.EDITIONS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "NAME='' is not"),
        (["simam", TITLE], "NAME='simam' is not"),
        (["14_SimAM", TITLE], "is not two digits"),
        (["../14_simam", TITLE], "is not two digits"),
        (["14_simam.ipynb", TITLE], "is not two digits"),
        (["12_simam", "  "], "TITLE is missing"),
        (["01_concepts", TITLE], "notebooks/01_concepts.ipynb exists already"),
        (["01_again", TITLE], "the number 01 belongs to notebooks/01_concepts.ipynb"),
    ],
)
def test_it_refuses_in_one_sentence_and_writes_nothing(arguments, words, root, capsys):
    before = sorted((root / "notebooks").iterdir())
    assert new_lesson.main(arguments, root) == 1
    out = capsys.readouterr().out
    assert words in out and out.count("\n") == 1
    assert sorted((root / "notebooks").iterdir()) == before


def test_it_says_what_to_do_next(tmp_path, capsys):
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert new_lesson.main(["12_bam", "BAM: both gates at once"], tmp_path) == 0
    assert "make notebooks ONLY=12_bam" in capsys.readouterr().out
