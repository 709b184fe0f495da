"""The lesson contract, read from every notebook in the folder: a new lesson is covered without new code here."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

import links
import reading
from attn_lessons import check

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OLD = set()  # not yet rewritten: this list ends empty
SECTIONS = (
    *("title", "objectives", "setup", "question", "idea", "mechanism", "exercise", "train", "look", "summary"),
    *("quiz", "deeper", "references"),
)
OLD_SECTIONS = (
    *("title", "objectives", "setup", "question", "mechanism", "exercise", "ours", "measure", "train", "look"),
    *("explore", "pitfalls", "quiz", "summary", "references"),
)
SECONDS = 90  # of a whole lesson
CORE, EVERYTHING = 45, 90  # minutes
SHOWN, LONGEST, LONGEST_OLD = 180, 15, 25  # lines of code in a core, in a cell
WORDS = 5  # to avoid

lessons = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def cells(path, tag=None, kind=None):
    nb = nbformat.read(path, as_version=4)
    return [
        cell
        for cell in nb.cells
        if (tag is None or tag in cell.metadata.get("tags", [])) and (kind is None or cell.cell_type == kind)
    ]


def outputs(path):
    return [(cell, output) for cell in cells(path, kind="code") for output in cell.outputs]


def tags(path):
    return [tag for cell in cells(path) for tag in cell.metadata.get("tags", [])]


def is_old(path):
    return path.name[:2] in OLD


def shown(path):
    """The code that a reader sees before *Going deeper*."""
    return [cell for cell in reading.core(nbformat.read(path, as_version=4)) if reading.lines(cell)]


def test_there_are_lessons():
    assert LESSONS


# ---------------------------------------------------------------------------------------------- its parts
@lessons
def test_parts_come_in_order(path):
    seen, sections = tags(path), OLD_SECTIONS if is_old(path) else SECTIONS
    missing = [section for section in sections if section not in seen]
    assert not missing
    first = [seen.index(section) for section in sections]
    assert first == sorted(first), sorted(sections, key=lambda section: seen.index(section))


@lessons
def test_title_and_objectives(path):
    number, title = path.stem.split("_")[0], cells(path, "title")[0].source
    assert title.startswith(f"# {number} · ")
    objectives = cells(path, "objectives")[0].source
    for words in ("**You will**", "**You need**", "**Time**", "**Hardware**"):
        assert words in objectives
    about = nbformat.read(path, as_version=4).metadata["attn_lessons"]
    assert about["lesson"] == int(number)
    if is_old(path):
        assert 25 <= about["minutes"] <= 40 and f"{about['minutes']} minutes" in objectives


@lessons
def test_minutes_are_computed_stated_and_few(path):
    lesson = nbformat.read(path, as_version=4)
    core, everything = reading.minutes(lesson)
    if not is_old(path):
        assert core <= CORE and everything <= EVERYTHING, f"core {core:.0f} min, all {everything:.0f} min"
        stated = [5 * round(minutes / 5) for minutes in (core, everything)]
        assert [lesson.metadata["attn_lessons"][part] for part in ("core", "minutes")] == stated
        assert "**Time** core {} min, all {} min".format(*stated) in cells(path, "objectives")[0].source


@lessons
def test_the_readme_states_the_same_minutes(path):
    about = nbformat.read(path, as_version=4).metadata["attn_lessons"]
    stated = f"{about['core']}, {about['minutes']}" if "core" in about else f"{about['minutes']}"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| {path.name[:2]} \| .*", readme, re.MULTILINE)  # a new lesson has none yet
    assert row is None or f"| {stated} |" in row[0]


@lessons
def test_shown_code_teaches(path):
    """Of a core: little of it, in short cells; no assert, no two statements in a line, no hook before lesson 10."""
    code = [] if is_old(path) else shown(path)
    assert sum(map(reading.lines, code)) <= SHOWN
    for cell in code:
        assert reading.lines(cell) <= LONGEST, cell.source
        nodes = [*ast.walk(ast.parse(re.sub(r"(?m)^(\s*)%pip .*$", r"\1pass", cell.source)))]
        assert not any(isinstance(node, ast.Assert) for node in nodes), cell.source
        statements = [node.lineno for node in nodes if isinstance(node, ast.stmt)]
        assert len(statements) == len(set(statements)), cell.source
        assert path.name[:2] >= "10" or "hook(" not in cell.source, cell.source


@lessons
def test_a_diagram_and_an_equation_show_the_idea(path):
    if not is_old(path):
        alts = [
            output.metadata["image/png"]["alt"] for _, output in outputs(path) if "image/png" in output.get("data", {})
        ]
        assert any(alt.startswith("Block diagram") for alt in alts)
        assert any("$$" in cell.source for cell in cells(path, "idea"))


@lessons
def test_it_speaks_the_language_of_the_field(path):
    lesson = nbformat.read(path, as_version=4)
    if not is_old(path):
        avoid = reading.words_to_avoid(lesson)
        assert sum(avoid.values()) <= WORDS, avoid
        prose = " ".join(cell.source for cell in lesson.cells if cell.cell_type == "markdown").lower()
        bold = " ".join(re.findall(r"\*\*(.+?)\*\*", prose, re.S)).replace("\n", " ")
        missing = [term for term in glossary().get(path.name[:2], ()) if term.lower() not in bold]
        assert not missing, f"in bold, where they are introduced: {missing}"


def glossary():
    """Lesson → the terms it introduces; of "query, key, value" and "residual (skip) connection", each word counts."""
    terms = {}
    for row in (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\| ([^|]+) \| [^|]+ \| (\d\d) \| [^|]+ \|$", row):
            terms.setdefault(found[2], []).extend(re.sub(r" \(.*?\)", "", found[1]).split(", "))
    return terms


def test_the_glossary_is_sorted_by_lesson():
    assert list(glossary()) == sorted(glossary()) and sum(map(len, glossary().values())) > 60


@lessons
def test_predictions_have_an_answer_for_the_teacher_and_are_not_spoiled(path):
    predictions = cells(path, "predict", "markdown")
    assert len(predictions) >= (2 if is_old(path) else 1)
    assert all(len(cell.metadata.get("answer", "")) > 20 for cell in predictions)
    assert is_old(path) or any("Clear Outputs of All Cells" in cell.source for cell in cells(path, kind="markdown"))


@lessons
def test_exercises_have_check_hint_and_solution_below(path):
    order = [tag for tag in tags(path) if tag in ("exercise", "check", "hint", "solution")]
    assert order.count("check") >= (2 if is_old(path) else 1)
    assert order == ["exercise", "exercise", "check", "hint", "solution"] * order.count("check")
    for cell in cells(path, "exercise", "code"):
        assert 'raise NotImplementedError("your turn")' in cell.source
    for cell in cells(path, "check"):
        assert "not attempted yet" in cell.outputs[0].text
    for cell in cells(path, "solution") + cells(path, "hint"):
        assert cell.source.startswith("<details><summary>")


@lessons
def test_the_solutions_shown_pass_the_checks(path):
    imports = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
    for checked, solution in zip(cells(path, "check"), cells(path, "solution"), strict=True):
        name, answer = re.search(r"^(check_\w+)\((\w+)\)$", checked.source, re.M).groups()
        code = re.search(r"```python\n(.*?)```", solution.source, re.S)[1]
        namespace = {}
        exec(imports + code, namespace)
        verdict = getattr(check, name).verdict(namespace[answer])
        assert verdict.outcome == "passed", verdict


@lessons
def test_quiz_has_five_questions(path):
    (quiz,) = cells(path, "quiz", "code")
    assert quiz.metadata["jupyter"]["source_hidden"] and quiz.metadata["cellView"] == "form"  # it names the answers
    assert quiz.source.count("Question(") >= 5
    assert quiz.outputs[0].data["text/html"].count("✓ Right.") == quiz.source.count("Question(")


@lessons
def test_references_name_arxiv_ids_and_the_next_lesson(path):
    references = cells(path, "references")[-1].source
    assert "arxiv.org/abs/" in references and "**Next:**" in references
    for target in re.findall(r"\]\((\w+\.ipynb)\)", "".join(cell.source for cell in cells(path, kind="markdown"))):
        assert (path.parent / target).exists(), target


# ---------------------------------------------------------------------------------------------- its cells
@lessons
def test_code_cells_are_short_and_parse(path):
    for cell in cells(path, kind="code"):
        assert not is_old(path) or len(cell.source.splitlines()) <= LONGEST_OLD, cell.source
        assert all(len(line) <= 120 for line in cell.source.splitlines()), cell.source
        ast.parse(re.sub(r"(?m)^(\s*)%pip .*$", r"\1pass", cell.source))


@lessons
def test_executed_in_order_without_errors(path):
    assert [cell.execution_count for cell in cells(path, kind="code")] == list(
        range(1, len(cells(path, kind="code")) + 1)
    )
    assert not [output for _, output in outputs(path) if output.output_type == "error"]
    assert not [output for _, output in outputs(path) if output.get("name") == "stderr"]


@lessons
def test_what_is_not_compared_is_asserted_or_claimed(path):
    """Where versions are printed or times measured, nothing must hold."""
    everything = cells(path)
    for cell, after in zip(everything, [*everything[1:], None], strict=True):
        free = "lesson.start(" in cell.source or "latency(" in cell.source
        if "nbval-ignore-output" in cell.metadata.get("tags", []) and not free:
            promised = "claims" in (after or cell).metadata.get("tags", []) or "lesson.say(" in cell.source
            assert promised or "assert " in cell.source, cell.source


@lessons
def test_claims_are_folded_and_hold(path):
    for cell in cells(path, kind="code"):
        assert ("lesson.claim(" in cell.source) == ("claims" in cell.metadata.get("tags", [])), cell.source
    for cell in cells(path, "claims"):
        assert "hide-input" in cell.metadata.tags and cell.metadata["cellView"] == "form"
        assert cell.metadata["jupyter"]["source_hidden"] and not cell.outputs


@lessons
def test_every_image_has_its_text(path):
    dataset = [output for _, output in outputs(path) if "image/png" in output.get("data", {})]
    assert len(dataset) >= 5
    for output in dataset:
        assert len(output.metadata["image/png"]["alt"]) > 40


@lessons
def test_a_static_page_shows_what_can_be_moved(path):
    for cell in cells(path, "explore", "code"):
        assert any("image/png" in output.get("data", {}) for output in cell.outputs)


@lessons
def test_time_is_recorded_and_within_the_budget(path):
    assert 0 < nbformat.read(path, as_version=4).metadata["attn_lessons"]["seconds"] <= SECONDS


# ---------------------------------------------------------------------------------------------- its file
@lessons
def test_nothing_of_the_machine_it_was_made_on(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(root|home|work|tmp|Users)/\w", text)
    assert "widgets" not in nbformat.read(path, as_version=4).metadata
    assert "application/vnd.jupyter.widget" not in text
    assert path.stat().st_size < 2_000_000


def test_every_link_names_the_address_of_pyproject(capsys):
    assert links.main(["--check"]) == 0, capsys.readouterr().out


def test_all_lessons_together_fit_the_budget():
    seconds = [nbformat.read(path, as_version=4).metadata["attn_lessons"]["seconds"] for path in LESSONS]
    assert sum(seconds) <= 72 * len(LESSONS)  # twelve minutes for ten of them


# ---------------------------------------------------------------------------------------------- the instructor guide
def sections_of_the_guide():
    guide = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
    return {section[:2]: section for section in re.split(r"^### (?=\d\d · )", guide, flags=re.MULTILINE)[1:]}


def test_every_section_of_the_guide_has_its_lesson():
    assert set(sections_of_the_guide()) <= {path.name[:2] for path in LESSONS}


@lessons
def test_every_place_the_guide_names_is_in_the_lesson(path):
    # What begins a heading or a paragraph, without its marks.
    lines = "\n".join(cell.source for cell in cells(path, kind="markdown")).splitlines()
    lines = [re.sub(r'^#+ |[`*"]', "", line) for line in lines]

    section = sections_of_the_guide().get(path.name[:2], "")  # a new lesson has none yet
    board_and_questions = r"```.*?```|^- \*.+?\*|\*\*.+?\*\*"
    section = re.sub(board_and_questions, "", section, flags=re.DOTALL | re.MULTILINE)
    names = re.findall(r"\*([A-Z][^*]+)\*", section)  # positions are in italics and begin with a capital letter
    assert not section or len(names) > 5
    for name in names:
        name = re.sub(r"\s+", " ", name.replace("`", "")).rstrip(" …")
        assert any(line.startswith(name) for line in lines), f"the guide sends readers of {path.name} to {name!r}"
    assert {int(n) for n in re.findall(r"Predict (\d)", section)} <= {*range(1, tags(path).count("predict") + 1)}
