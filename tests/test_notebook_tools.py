"""The two commands that write lessons: tools/notebooks.py (execute) and tools/links.py (public address)."""

import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import links
import notebooks

BADGES = "# A lesson\n<!-- badges -->\n<!-- /badges -->\nText."
PIP = "%pip install -q 'attn-lessons @ git+https://github.com/old/name@main'"


OTHER_KERNEL = {"name": "conda-base", "display_name": "Python (base)"}


def lesson(folder, *cells, **metadata):
    nb = new_notebook(cells=list(cells), metadata=metadata)
    folder.mkdir(exist_ok=True)
    path = folder / "01_first.ipynb"
    nbformat.write(nb, path)
    return path


def test_executes_and_normalises(tmp_path):
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell("print('a')\nprint('b')\n6 * 7", execution_count=9, metadata={"execution": {"iopub": "x"}}),
        new_code_cell("import ipywidgets\nipywidgets.interact(lambda x: print('x is', x), x=3);"),
        new_code_cell("ipywidgets.IntSlider()", metadata={"tags": ["nbval-ignore-output"]}),
        new_code_cell("open('here.txt', 'w').close()"),
    ]
    about = {"lesson": 1, "minutes": 35, "seconds": 900}
    path = lesson(tmp_path, *cells, attn_lessons=about, widgets={"state": {}}, kernelspec=OTHER_KERNEL)
    ids = [cell.id for cell in nbformat.read(path, as_version=4).cells]
    assert notebooks.main([], tmp_path) == 0

    text = path.read_text()
    nb = nbformat.read(path, as_version=4)
    assert notebooks.WIDGET not in text and "widgets" not in nb.metadata
    assert nb.metadata.kernelspec == {"name": "python3", "display_name": "Python 3", "language": "python"}
    assert nb.metadata.language_info == {"name": "python"}
    assert nb.metadata.attn_lessons.lesson == 1 and nb.metadata.attn_lessons.seconds != about["seconds"]
    assert [cell.id for cell in nb.cells] == ids
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4]
    assert "execution" not in code[0].metadata and code[2].metadata.tags == ["nbval-ignore-output"]
    assert code[0].outputs[0].text == "a\nb\n" and code[0].outputs[1].data == {"text/plain": "42"}
    assert [output.text for output in code[1].outputs if output.output_type == "stream"] == ["x is 3\n"]
    assert code[2].outputs[0].data == {"text/plain": "IntSlider(value=0)"}
    assert (tmp_path / "here.txt").exists()  # cells run in the folder of the lesson
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_failing_cell_and_a_path_leave_the_file_alone(tmp_path, capsys):
    failing = lesson(tmp_path, new_markdown_cell("# Title"), new_code_cell("1 / 0\n"))
    showing = failing.with_name("02_second.ipynb")
    nbformat.write(new_notebook(cells=[new_code_cell("import os\nprint('data in', os.getcwd())")]), showing)
    before = failing.read_bytes(), showing.read_bytes()
    assert notebooks.main([], tmp_path) == 1
    out = capsys.readouterr().out
    assert "01_first" in out and "cell 2 ('1 / 0'): ZeroDivisionError: division by zero" in out
    assert "02_second" in out and "cell 1 ('import os'): its output shows a path of this machine: " in out
    assert (failing.read_bytes(), showing.read_bytes()) == before


def test_paths_are_told_from_other_text(monkeypatch):
    monkeypatch.setattr(notebooks.Path, "home", lambda: Path("/home/ada"))

    def shows(**data):
        output = nbformat.v4.new_output("display_data", data=data)
        notebooks.refuse_paths(new_notebook(cells=[new_code_cell("x", outputs=[output])]))

    shows(**{"text/plain": "https://example.org/home/ada and /home/adam", "image/png": "/home/ada/"})
    for text in ("/home/ada/x.py", "file:///home/ada", "in '/home/ada'"):
        with pytest.raises(notebooks.LessonError, match="/home/ada"):
            shows(**{"text/html": text})


@pytest.mark.parametrize(("before", "now", "after"), [(0, 12.4, 12), (10, 11.9, 10), (10, 12.6, 13), (3, 3.9, 3)])
def test_seconds_change_only_when_they_say_something(before, now, after):
    nb = new_notebook(metadata={"attn_lessons": {"seconds": before}})
    notebooks.normalise(nb, now)
    assert nb.metadata.attn_lessons.seconds == after


def test_choosing_lessons(tmp_path, capsys):
    path = lesson(tmp_path)
    for name in ("01", "01_first", "01_first.ipynb", "notebooks/01_first.ipynb"):
        assert notebooks.choose([name], tmp_path) == [path]
    assert notebooks.main(["07"], tmp_path) == 1
    assert "no such lesson: 07 (there are: 01_first)" in capsys.readouterr().out


@pytest.fixture
def course(tmp_path):
    setup = new_code_cell(PIP, metadata={"tags": ["setup"]}, execution_count=1)
    setup.outputs = [nbformat.v4.new_output("stream", text="see https://github.com/old/name\n")]
    lesson(tmp_path / "notebooks", new_markdown_cell(BADGES), setup, new_code_cell("'git+https://github.com/not/this'"))
    (tmp_path / "README.md").write_text(BADGES)
    pyproject = '[project.urls]\n# Only here.\nRepository = "https://github.com/old/name"\n\n[tool.x]\ny = 1\n'
    (tmp_path / "pyproject.toml").write_text(pyproject)
    return tmp_path


def test_links_are_checked_and_written(course, capsys):
    before = {path: path.read_bytes() for path in course.rglob("*.*") if path.is_file()}
    assert links.main(["--check"], course) == 1
    out = capsys.readouterr().out
    assert "README.md: disagrees" in out and "01_first.ipynb: disagrees" in out and "pyproject" not in out
    assert before == {path: path.read_bytes() for path in before}

    assert links.main(["ada/lessons"], course) == 0
    assert links.main(["--check"], course) == 0
    assert links.main(["--check", "bob/lessons"], course) == 1
    pyproject = (course / "pyproject.toml").read_text()
    assert pyproject == before[course / "pyproject.toml"].decode().replace("old/name", "ada/lessons")

    path = course / "notebooks" / "01_first.ipynb"
    nb = nbformat.read(path, as_version=4)
    file = "ada/lessons/blob/main/notebooks/01_first.ipynb"
    for link in (
        f"(https://colab.research.google.com/github/{file})",
        f"(https://kaggle.com/kernels/welcome?src=https://github.com/{file})",
        "(https://mybinder.org/v2/gh/ada/lessons/main?labpath=notebooks%2F01_first.ipynb)",
        f"(https://github.com/{file})",
    ):
        assert link in nb.cells[0].source
    assert nb.cells[0].source.startswith("# A lesson\n<!-- badges -->\n[![Open in Colab](https://")
    assert nb.cells[0].source.endswith("\n<!-- /badges -->\nText.")
    assert nb.cells[1].source == "%pip install -q 'attn-lessons @ git+https://github.com/ada/lessons@main'"
    assert nb.cells[1].execution_count == 1 and "old/name" in nb.cells[1].outputs[0].text
    assert "not/this" in nb.cells[2].source
    assert (
        path.read_text()
        == json.dumps(json.loads(path.read_text()), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    )
    readme = (course / "README.md").read_text()
    assert "colab.research" in readme and "mybinder.org" in readme and "kaggle" not in readme


def test_missing_marks_and_wrong_names_are_reported(course, capsys):
    lesson(course / "notebooks", new_markdown_cell("# No badges"))
    (course / "README.md").write_text("# None here")
    assert links.main([], course) == 1
    out = capsys.readouterr().out
    assert "01_first.ipynb: its first text cell has no <!-- badges -->" in out
    assert "no code cell tagged `setup`" in out and "README.md: it has no <!-- badges -->" in out
    assert links.main(["https://github.com/ada/lessons"], course) == 1
    assert "owner/name" in capsys.readouterr().out
