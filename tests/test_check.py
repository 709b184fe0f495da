"""Every exercise: right answers pass, wrong ones hear which idea is wrong, and an empty cell is no error.

The answers are in exercises/lessonNN.py; a new module there is found by itself.
"""

import importlib
from inspect import signature
from pathlib import Path

import pytest
import torch
from torch import nn

from attn_lessons import check
from attn_lessons.check.slips import slips
from attn_lessons.check.steps import then

HERE = Path(__file__).parent
LESSONS = {path.stem[-2:]: f"exercises.{path.stem}" for path in sorted((HERE / "exercises").glob("lesson*.py"))}
EXERCISES = {
    f"{number} {name}": exercise
    for number, module in LESSONS.items()
    for name, exercise in importlib.import_module(module).EXERCISES.items()
}
RIGHT = [
    pytest.param(checker, answer, id=f"{name}: {i} {getattr(answer, '__name__', '')}")
    for name, (checker, right, _) in EXERCISES.items()
    for i, answer in enumerate(right)
]
WRONG = [
    pytest.param(checker, answer, words, id=f"{name}: {mistake}")
    for name, (checker, _, wrong) in EXERCISES.items()
    for mistake, (answer, words) in wrong.items()
]
TABLES = {
    f"{number} {name}": tables
    for number, module in LESSONS.items()
    for name, tables in getattr(importlib.import_module(module), "TABLES", {}).items()
}
ROWS = [
    pytest.param(EXERCISES[name][0], build(**{step: wrong}), idea, id=f"{name}: {step}: {idea}")
    for name, (build, tables, *_) in TABLES.items()
    for step, table in tables.items()
    for idea, wrong in table.items()
]
every_exercise = pytest.mark.parametrize("name", EXERCISES)


@pytest.mark.parametrize(("checker", "answer"), RIGHT)
def test_a_right_answer_passes_however_it_is_written(checker, answer):
    assert checker.verdict(answer).outcome == "passed", checker.verdict(answer)


@pytest.mark.parametrize(("checker", "answer", "words"), WRONG)
def test_a_wrong_answer_hears_which_idea_is_wrong(checker, answer, words):
    verdict = checker.verdict(answer)
    assert verdict.outcome == "not yet", verdict
    assert any(word in verdict.text for word in words.split("|")), verdict
    assert "\n" not in verdict.text


@pytest.mark.parametrize(("checker", "answer", "idea"), ROWS)
def test_every_row_of_a_table_hears_its_own_sentence(checker, answer, idea):
    verdict = checker.verdict(answer)
    assert verdict.outcome == "not yet" and verdict.text == idea, verdict


@pytest.mark.parametrize("name", [name for name, (_, _, *values) in TABLES.items() if values])
def test_whatever_is_done_to_a_value_is_found(name):
    build, tables, reference, values = TABLES[name]
    right = {step: parameter.default for step, parameter in signature(reference).parameters.items()}
    heard, known = 0, {idea for table in tables.values() for idea in table}
    tried = [(step, idea, slip) for step, value in values.items() for idea, slip in slips(value).items()]
    known |= {idea for _, idea, _ in tried}
    for step, idea, slip in tried:
        verdict = EXERCISES[name][0].verdict(build(**{step: then(right[step], slip)}))
        heard += verdict.text == idea
        # It may change nothing (a ReLU on gates), and some property may be said first.
        assert verdict.outcome == "passed" or verdict.text in known or "your code stopped" not in verdict.text, verdict
    assert heard > 0.5 * len(tried), f"{heard} of {len(tried)}"


@every_exercise
def test_at_least_eight_wrong_answers(name):
    assert len(EXERCISES[name][2]) >= 8


@every_exercise
def test_an_empty_cell_is_not_an_error(name, capsys):
    checker, (solution, *_), _ = EXERCISES[name]

    def empty(*arguments, **options):
        raise NotImplementedError("your turn")

    attempts = [empty]
    if isinstance(solution, type):
        attempts = [type("Empty", (nn.Module,), {"__init__": empty}), type("Empty", (solution,), {"forward": empty})]
    for attempt in attempts:
        assert checker(attempt) is None
        assert capsys.readouterr().out.startswith("○ not attempted yet")


@pytest.mark.parametrize("seed", range(3))
@every_exercise
def test_the_verdict_on_the_solution_does_not_depend_on_luck(name, seed):
    torch.manual_seed(seed)
    checker, (solution, *_), _ = EXERCISES[name]
    assert checker.verdict(solution).outcome == "passed", checker.verdict(solution)


@every_exercise
def test_checking_leaves_the_random_numbers_alone(name):
    checker, (solution, *_), _ = EXERCISES[name]
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    checker.verdict(solution)
    assert torch.equal(torch.rand(1), expected)


def test_every_exported_check_is_tested():
    tested = {checker.__name__ for checker, _, _ in EXERCISES.values()}
    elsewhere = "".join(path.read_text(encoding="utf-8") for path in HERE.glob("test_check_lesson*.py"))
    assert [name for name in check.__all__ if name not in tested and name not in elsewhere] == []
