"""Execute lessons and write their outputs: `make notebooks`, or `make notebooks ONLY="02_se 04_eca"`.

A lesson is executed in memory and replaces its file only if every cell ran, so a failure leaves the file as it was.
What is written is normalised: two runs differ in nothing but what the cells themselves print or draw.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbstripout import strip_output

from reading import state_time

ROOT = Path(__file__).resolve().parent.parent
CELL_TIMEOUT = 300
WIDGET = "application/vnd.jupyter.widget-view+json"
# What the command nbstripout drops by default. metadata.widgets matters most: with it GitHub refuses to render.
DROPPED = ["metadata.signature", "metadata.widgets"]
DROPPED += [f"cell.metadata.{key}" for key in ("collapsed", "ExecuteTime", "execution", "hidden", "scrolled")]


class LessonError(Exception):
    """Carries the sentence to print about one lesson."""


def name_of(cell, index):
    return f"cell {index + 1} ({cell.source.strip().splitlines()[0][:60]!r})" if cell.source else f"cell {index + 1}"


def execute(nb, folder):
    for cell in nb.cells:
        if cell.cell_type == "code" and "skip-execution" not in cell.metadata.get("tags", []):
            cell.outputs, cell.execution_count = [], None
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # python3 means this interpreter, not a kernel in the home
    os.environ["ATTN_LESSONS_CLAIMS_STOP"] = "1"  # a reader goes on; what is committed keeps its promises
    started = []
    client = NotebookClient(
        nb,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # the kernel warns of its sockets; they are loopback ones
        coalesce_streams=True,
        record_timing=False,
        # nbclient hangs at random on `interact` (jupyter/nbclient#312) while it plays the front end of an Output
        # widget. Without one the plot of an `interact` becomes an ordinary output, which is what a static page needs.
        store_widget_state=False,
        on_cell_start=lambda cell, cell_index: started.append((cell, cell_index)),
    )
    client.widget_registry = {}
    try:
        client.execute()
    except CellExecutionError as error:
        raise LessonError(f"{name_of(*started[-1])}: {error.ename}: {error.evalue}") from error
    except CellTimeoutError as error:
        raise LessonError(f"{name_of(*started[-1])}: took longer than {CELL_TIMEOUT} s") from error
    except DeadKernelError as error:
        where = name_of(*started[-1]) if started else "at the start"
        raise LessonError(f"{where}: the kernel died") from error


def normalise(nb, seconds):
    strip_output(nb, keep_output=True, keep_count=True, keep_id=True, extra_keys=DROPPED)
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nb.metadata.language_info = {"name": "python"}
    about = nb.metadata.setdefault("attn_lessons", {})
    before = about.get("seconds", 0)
    if not before or abs(seconds - before) > max(1, 0.2 * before):  # a new figure only where it says something new
        about["seconds"] = max(1, round(seconds))
    count = 0
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        if cell.execution_count is not None:
            count += 1
            cell.execution_count = count
        for output in cell.outputs:
            output.get("data", {}).pop(WIDGET, None)  # a page that runs nothing cannot show it; text/plain stays
            if output.output_type == "execute_result":
                output.execution_count = cell.execution_count
        cell.outputs = [output for output in cell.outputs if output.get("data", True)]


def texts(output):
    yield output.get("text", "")
    yield from output.get("traceback", [])
    for kind, value in output.get("data", {}).items():
        if not kind.startswith("image/") or kind == "image/svg+xml":
            yield value if isinstance(value, str) else str(value)


def refuse_paths(nb):
    """A path of this machine in an output is of no use to a learner, and often a warning nobody has read."""
    folders = {str(ROOT), str(Path.home()), tempfile.gettempdir()} | {sys.prefix} - {"/usr", "/usr/local"}
    folders |= {os.path.realpath(folder) for folder in folders}
    found = re.compile(r"(?<![\w.-])(?:" + "|".join(re.escape(f) for f in folders if len(f) > 1) + r")(?![\w-])")
    for index, cell in enumerate(nb.cells):
        for output in cell.get("outputs", []):
            for text in texts(output):
                match = found.search(text)
                if match:
                    line = text[match.start() :].splitlines()[0][:80]
                    raise LessonError(f"{name_of(cell, index)}: its output shows a path of this machine: {line}")


def write(nb, path):
    text = nbformat.writes(nb) + "\n"
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)  # at once or not at all
    finally:
        temporary.unlink(missing_ok=True)


def renew(path):
    """Execute one lesson and write it; returns the seconds it took."""
    started = time.monotonic()
    try:
        nb = nbformat.v4.upgrade(nbformat.read(path, as_version=4))
    except Exception as error:  # nbformat raises a different error for each way a file can be broken
        raise LessonError(f"not a notebook: {error}") from error
    execute(nb, path.parent)
    seconds = time.monotonic() - started
    normalise(nb, seconds)
    state_time(nb)
    refuse_paths(nb)
    nbformat.validate(nb)
    write(nb, path)
    return seconds


def choose(names, folder):
    lessons = sorted(folder.glob("*.ipynb"))
    if not names:
        return lessons
    wanted = [Path(name).stem for name in names]
    known = {key: path for path in lessons for key in (path.stem, path.stem.split("_")[0])}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise LessonError(f"no such lesson: {', '.join(unknown)} (there are: {', '.join(p.stem for p in lessons)})")
    return [known[name] for name in wanted]


def main(names, folder=ROOT / "notebooks"):
    failures = 0
    try:
        for path in choose(names, folder):
            try:
                print(f"{path.stem:<28} {renew(path):6.1f} s", flush=True)
            except LessonError as error:
                failures += 1
                print(f"{path.stem:<28} FAILED, file left as it was: {error}", flush=True)
    except LessonError as error:
        print(error)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the lesson at work was left as it was.")
        return 130
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
