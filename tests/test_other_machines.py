"""`make other-machines`: trainings begin a little off, nothing else in a lesson changes, a broken claim is reported."""

import os

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

other_machines = pytest.importorskip("other_machines", exc_type=ImportError)

FAILED = """
\x1b[31mAssertionError\x1b[39m: The weights have moved.
FAILED notebooks/01_toy.ipynb::Cell 1 - \x1b[91mNotebook cell execution failed\x1b[0m
"""
LESSON = """
import copy, torch
from attn_lessons import lesson
torch.manual_seed(0)
one = torch.nn.Linear(30, 30)
two, start, state = copy.deepcopy(one), one.weight.detach().clone(), torch.get_rng_state()
torch.optim.SGD([torch.nn.Parameter(torch.tensor(0.5))], lr=0.1)
for layer in (one, two):
    torch.optim.SGD(layer.parameters(), lr=0.1)
off = (one.weight / start - 1).abs().max().item()
assert torch.equal(one.weight, two.weight) and torch.equal(torch.get_rng_state(), state)
assert not {"Optimizer", "disturbed", "json"} & {*globals()}
""".strip()
CLAIMS = (
    "lesson.claim((one.weight / start - 1).abs().max() > 1e-9, 'Moved.'); lesson.claim(off < 1e-5, 'A little.')",
    "lesson.claim(off > 1, 'By more than all.')",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    cells = [new_code_cell(source) for source in (LESSON, *CLAIMS)]
    for number, cell in enumerate(cells, 1):
        cell.execution_count = number
    nbformat.write(new_notebook(cells=cells), folder / "01_toy.ipynb")
    return folder


def test_trainings_begin_off_equal_ones_equally_and_claims_leave_their_margins(folder, capsys):
    *_, passed, margins = other_machines.run(folder / "01_toy.ipynb", "disturbed 1", {"DISTURBED_SEED": "1"})
    said = " ".join(capsys.readouterr().out.split())
    assert said.endswith("FAILED: Cell 2 AssertionError: By more than all.") and not passed  # the last, and no other
    assert [row["claim"] for row in margins] == [
        "(one.weight / start - 1).abs().max() > 1e-09",
        "off < 1e-05",
        "off > 1",
    ]
    assert 1e-6 < margins[0]["margin"] < 1e-5


def test_the_exit_status_says_whether_all_runs_passed(folder, capsys, monkeypatch):
    monkeypatch.setenv("SEEDS", "2")
    monkeypatch.setattr(other_machines, "SETTINGS", {"SSE4.1": {}})
    for passed in (True, False):
        monkeypatch.setattr(
            other_machines, "run", lambda path, setting, _, p=passed: (path.stem, setting, p or setting != "SSE4.1", [])
        )
        assert other_machines.main([], folder) == (not passed)
        assert f"2 of 2 disturbed runs passed; SSE4.1 {'passed' if passed else 'FAILED'}" in capsys.readouterr().out


def test_the_line_of_a_failed_run_names_the_cell_and_the_promise():
    assert other_machines.reasons(FAILED) == "Cell 1\n    AssertionError: The weights have moved."


def test_close_calls_are_the_claims_within_four_standard_deviations():
    rows = [[{"claim": "safe", "margin": 1 + 0.01 * i}, {"claim": "close", "margin": 0.1 + 0.05 * i}] for i in range(3)]
    results = [("02_se", f"disturbed {i}", True, row) for i, row in enumerate(rows)]
    results += [("02_se", "SSE4.1", True, rows[0]), ("03_cbam", "disturbed 1", True, rows[0])]
    assert other_machines.close_calls("02_se", results) == [("close", pytest.approx(3))]


def test_an_unknown_lesson_is_one_sentence(folder, capsys):
    assert other_machines.main(["14"], folder) == 1
    assert "no such lesson: 14" in capsys.readouterr().out


def test_no_variable_of_this_run_disturbs_a_lesson():
    assert not {"DISTURBED_SEED", "DISTURBED_MARGINS"} & {*os.environ}
