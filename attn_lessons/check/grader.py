"""Marks for a folder of submissions: ``python -m attn_lessons.grade FOLDER``.

A submission is a notebook or a Python file. Of its code, only imports, functions, classes and constants at the top
level are run; nothing is trained or drawn. Each exercise is checked in a process of its own, by the checks of this
installation, so a submission that exits, hangs or changes a check loses that exercise and no other.

It runs other people's code: do it as a user without rights, or in a container.
"""

import argparse
import ast
import csv
import inspect
import json
import linecache
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from ..progress import progress_bar

EXERCISES = {  # lesson → what a learner defines → its check
    "01": {"weighted_average": "check_weighted_average", "apply_gates": "check_apply_gates"},
    "02": {"MySE": "check_se"},
    "03": {"MyChannelAttention": "check_channel_attention", "MySpatialAttention": "check_spatial_attention"},
    "04": {"MyECA": "check_eca", "adaptive_kernel": "check_adaptive_kernel"},
    "05": {"pool_both": "check_pool_both", "MyCA": "check_ca"},
    "06": {"self_attend": "check_self_attend", "linear_attend": "check_linear_attend",
           "MyLinearAttention": "check_repaired"},
    "07": {"bilinear": "check_bilinear", "reference_grid": "check_reference_grid",
           "sample_groups": "check_sample_groups"},
    "08": {"vgg_features": "check_vgg_features", "with_attention": "check_with_attention",
           "initialise_attention": "check_initialise_attention"},
    "09": {"cut": "check_cutout", "smooth_cross_entropy": "check_smooth_cross_entropy", "paired": "check_paired"},
    "10": {"grad_cam": "check_grad_cam", "repaired_cam": "check_repaired_cam", "point": "check_point"},
    "11": {"decide": "check_decide", "cause": "check_cause", "attach_to": "check_attach_to"},
}  # fmt: skip
COLUMNS = ("student", "exercise", "outcome", "sentence")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m attn_lessons.grade", description=__doc__.split("\n\n")[1])
    parser.add_argument("folder", type=Path, help="of notebooks (.ipynb) and Python files (.py), one per student")
    parser.add_argument("--lesson", choices=list(EXERCISES), help="default: the one whose answers a file defines most")
    parser.add_argument("--seconds", type=int, default=60, help="per exercise (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="a CSV file (default: the screen)")
    options = parser.parse_args(arguments)
    files = sorted(path for path in options.folder.glob("*") if path.suffix in (".ipynb", ".py"))
    if not files:
        sys.exit(f"attn_lessons.grade: {options.folder} has no notebooks (.ipynb) and no Python files (.py).")
    rows = []
    with progress_bar(len(files), "submissions", show=options.out is not None) as bar:
        for path in files:
            rows += [(path.stem, *row) for row in graded(path, options.lesson, options.seconds)]
            bar.update()
    with open(options.out, "w", newline="", encoding="utf-8") if options.out else sys.stdout as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def graded(path: Path, lesson: str | None, seconds: int) -> list[tuple[str, str, str]]:
    """(exercise, outcome, sentence) for every exercise of the lesson."""
    try:
        cells = code_of(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [("", "does not run", f"{path.name} is not a notebook that can be read ({error}).")]
    defined = "\n".join(cells)
    found = {number: sum(is_defined(name, defined) for name in answers) for number, answers in EXERCISES.items()}
    lesson = lesson or max(found, key=found.get)
    if not found[lesson]:
        return [("", "not attempted yet", f"{path.name} defines none of the course's exercises.")]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "cells.json").write_text(json.dumps(cells), encoding="utf-8")
        return [(answer, *checked(answer, check, folder, seconds)) for answer, check in EXERCISES[lesson].items()]


def code_of(path: Path) -> list[str]:
    """The code cells of a submission; a Python file is one cell."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return [text]
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]


def is_defined(name: str, code: str) -> bool:
    return any(f"{kind} {name}" in code for kind in ("def", "class")) or f"\n{name} =" in f"\n{code}"


def checked(answer: str, check: str, folder: str, seconds: int) -> tuple[str, str]:
    """Outcome and sentence of one exercise, from a process of its own."""
    token, result = secrets.token_hex(16), Path(folder, f"{answer}.json")
    command = [sys.executable, "-c", "from attn_lessons.check.grader import one; one()"]
    job = json.dumps({"answer": answer, "check": check, "token": token, "result": str(result)})
    try:
        done = subprocess.run(command, input=job, cwd=folder, timeout=seconds, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return "does not end", f"{answer} was stopped after {seconds} seconds: is there an endless loop?"
    said = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    if said.get("token") != token:
        return "does not run", f"{answer} ended its process (exit code {done.returncode}) before the check did."
    return said["outcome"], said["sentence"]


def one() -> None:
    """In the process of one exercise: run the submission's definitions, check one of them, write what came out."""
    job = json.loads(sys.stdin.read())
    cells = json.loads(Path("cells.json").read_text(encoding="utf-8"))
    from attn_lessons import check
    from attn_lessons.check import core

    ours = [function for function in vars(core).values() if inspect.isfunction(function)]
    before = [function.__code__ for function in ours]
    names, wrong = definitions(cells)
    outcome, sentence = core.NOT_YET, f"{job['answer']} is not defined."
    if job["answer"] in names:
        verdict = getattr(check, job["check"]).verdict(names[job["answer"]])
        outcome, sentence = verdict.outcome, verdict.text
        if course := of_the_course(names[job["answer"]], names):
            outcome, sentence = "not own work", f"{job['answer']} uses the course's own {course}."
        if before != [vars(core)[function.__name__].__code__ for function in ours]:
            outcome, sentence = "not own work", f"{job['answer']} changes the check."
    elif wrong:
        outcome, sentence = "does not run", wrong
    said = {"token": job["token"], "outcome": outcome, "sentence": sentence}
    Path(job["result"]).write_text(json.dumps(said), encoding="utf-8")


def definitions(cells: list[str]) -> tuple[dict[str, object], str]:
    """What imports, functions, classes and constants of the cells define; and what is wrong with a cell, if any is."""
    names: dict[str, object] = {"__name__": "submission"}
    wrong = ""
    for number, cell in enumerate(cells, 1):
        lines = ["" if line.lstrip().startswith(("%", "!", "?")) else line for line in cell.splitlines()]  # magics
        try:
            tree = ast.parse("\n".join(lines))
        except SyntaxError as error:
            wrong = f"SyntaxError in line {error.lineno} of a cell: {error.msg}."
            continue
        file = f"<cell {number}>"
        linecache.cache[file] = (
            len(cell),
            None,
            [f"{line}\n" for line in lines],
            file,
        )  # for sentences that quote a line
        for statement in tree.body:
            if is_definition(statement):
                try:
                    exec(compile(ast.Module([statement], []), file, "exec"), names)
                except BaseException as error:  # also SystemExit
                    wrong = f"{type(error).__name__} in a definition: {error}."
    return names, wrong


def is_definition(statement: ast.stmt) -> bool:
    """Whether it may be run: not what trains, draws, prints or changes something else."""
    if isinstance(statement, ast.Assign):  # a constant, another name, a lambda
        named = all(isinstance(target, ast.Name) for target in statement.targets)
        calls = any(isinstance(node, ast.Call) for node in ast.walk(statement.value))
        return named and (isinstance(statement.value, ast.Lambda) or not calls)
    return isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)


def of_the_course(answer: object, names: dict[str, object]) -> str:
    """The name of what the answer takes from the course in place of its own work, if it does."""
    classes = answer.__mro__ if isinstance(answer, type) else (answer,)
    for part in classes:
        if getattr(part, "__module__", "").startswith("attn_lessons."):
            return part.__name__
    functions = [part for kind in classes for part in vars(kind).values() if inspect.isfunction(part)]
    functions += [answer] if inspect.isfunction(answer) else []
    for function in functions:
        for name in function.__code__.co_names:
            module = getattr(names.get(name), "__module__", None) or ""
            if module.startswith(("attn_lessons.attention", "attn_lessons.check")):
                return name
    return ""
