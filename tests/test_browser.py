"""A lesson as a learner meets it: all its cells in JupyterLab, and its sliders, quiz and exercises in a browser.

Three lessons, which have all kinds of controls between them. Their networks take a few steps instead of their
training, and what they reach is not asserted (`HURRIED`): nbval trains and asserts in full. `make browser` takes every
lesson, trained in full, too. What the browser showed is kept in build/browser/.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hurried import HURRIED
from nbformat.v4 import new_code_cell

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `make setup` installs it")
expect = playwright.expect

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHOTS = ROOT / "build" / "browser"
FULL = os.environ.get("BROWSER_LESSONS") == "all"
# Sliders over whole numbers and powers of ten; menus of words and of numbers; sliders over fractions.
LOOKED_AT = LESSONS if FULL else [path for path in LESSONS if path.name[:2] in ("06", "08", "09")]
MINUTE = 60_000  # milliseconds: what a step may take on a busy machine
SECOND = 1_000  # asked at every frame, the default, a waiting page is drawn 60 times a second: a core of its own
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium here: `sudo apt install chromium`")

READY = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
RUN = "() => { jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.ran = true }) }"
CELLS = "jupyterapp.shell.currentWidget.model.toJSON().cells"
GO_TO = """position => {
    const notebook = jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = position;
    notebook.scrollToItem(position, 'start');
}"""


# ---------------------------------------------------------------------------------------------- the room
@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of one JupyterLab, started as `make lab` does, on copies of the lessons without their outputs."""
    folder = tmp_path_factory.mktemp("lab")
    for path in LOOKED_AT:
        lesson = nbformat.read(path, as_version=4)
        for cell in lesson.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        if not FULL:
            lesson.cells.insert(0, new_code_cell(HURRIED))
        nbformat.write(lesson, folder / path.name)
    env = dict(os.environ, JUPYTER_CONFIG_DIR=str(folder / ".jupyter"), JUPYTER_PREFER_ENV_PATH="1")
    command = [sys.executable, ROOT / "tools" / "lab.py", "--no-browser", "--expose-app-in-browser"]
    log_file = folder / ".lab.log"
    with log_file.open("w") as log:
        server = subprocess.Popen(
            [*command, f"--ServerApp.root_dir={folder}"], env=env, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        address = re.search(r"http://\S+", server.stdout.readline())
        assert address, log_file.read_text()
        yield address[0]
    finally:
        server.terminate()
        server.communicate(timeout=60)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as tools:
        yield tools.chromium.launch(executable_path=BROWSER)


@pytest.fixture
def page(browser, lab, request):
    """The lesson, all of whose cells have run."""
    path = request.param
    SHOTS.mkdir(parents=True, exist_ok=True)
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    page.set_default_timeout(MINUTE)
    expect.set_options(timeout=MINUTE)
    # A workspace of its own: JupyterLab would open the lesson before it again.
    page.goto(lab.replace("/lab?", f"/lab/workspaces/{path.stem}/tree/{path.name}?"))
    page.wait_for_function(READY, polling=SECOND)
    page.evaluate(RUN)
    page.wait_for_function("window.ran", timeout=10 * MINUTE, polling=SECOND)
    yield page
    page.screenshot(path=SHOTS / f"{path.stem}-end.png")
    page.evaluate("jupyterapp.serviceManager.sessions.shutdownAll()")
    page.close()


def tagged(page, tag):
    """Position → code cell with this tag."""
    cells = enumerate(page.evaluate(CELLS))
    return {i: c for i, c in cells if c["cell_type"] == "code" and tag in c["metadata"].get("tags", [])}


def go_to(page, position):
    page.evaluate(GO_TO, position)
    return page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{position}"]')


# ---------------------------------------------------------------------------------------------- what a learner does
@pytest.mark.parametrize("page", LOOKED_AT, ids=lambda path: path.stem, indirect=True)
def test_a_lesson_in_the_browser(page, request):
    shot = lambda what: page.screenshot(path=SHOTS / f"{request.node.callspec.id}-{what}.png")  # noqa: E731
    every_cell_ran_without_an_error(page)
    for position in tagged(page, "explore"):
        each_control_changes_the_image(page, go_to(page, position))
        shot(f"explore-{position}")
    (position,) = tagged(page, "quiz")
    each_answer_opens_its_feedback(go_to(page, position))
    shot("quiz")
    solutions = [c["source"] for c in page.evaluate(CELLS) if "solution" in c["metadata"].get("tags", [])]
    for (position, empty), solution in zip(tagged(page, "exercise").items(), solutions, strict=True):
        expect(go_to(page, position + 1)).to_contain_text("○ not attempted yet")
        attempt(page, position, empty["source"].replace('raise NotImplementedError("your turn")', "pass"), "✗ not yet")
        shot(f"exercise-{position}-wrong")
        attempt(page, position, re.search(r"```python\n(.*?)```", solution, re.S)[1], "✓ passed")
        shot(f"exercise-{position}-solved")


def every_cell_ran_without_an_error(page):
    for position, cell in enumerate(page.evaluate(CELLS)):
        if cell["cell_type"] == "code":
            errors = [output for output in cell["outputs"] if output["output_type"] == "error"]
            assert not errors and cell["execution_count"], (position, cell["source"], errors)


def each_control_changes_the_image(page, cell):
    image = cell.locator(".jp-RenderedImage img")
    controls = cell.locator(".noUi-handle, select, input[type=checkbox]")
    expect(controls.first).to_be_visible()
    assert controls.count() == cell.locator(".widget-vbox > .jupyter-widgets").count()
    for control in controls.all():
        before = image.get_attribute("src")
        if control.get_attribute("type") == "checkbox":
            control.click()
        elif menu := control.locator("option").all_inner_texts():
            control.select_option(index=(menu.index(control.locator("option:checked").inner_text()) + 1) % len(menu))
        else:
            now, most = (control.get_attribute(f"aria-value{which}") for which in ("now", "max"))
            control.press("ArrowLeft" if now == most else "ArrowRight")
        expect(image).not_to_have_attribute("src", before)


def each_answer_opens_its_feedback(cell):
    answers = cell.locator("details")
    expect(answers.first).to_be_visible()
    for answer in answers.all():
        expect(answer.locator("p")).to_be_hidden()
        answer.locator("summary").click()
        expect(answer.locator("p")).to_be_visible()
        expect(answer.locator("p")).to_contain_text(re.compile(r"^(✓ Right\.|✗ Not quite\.) \S"))


def attempt(page, position, answer, verdict):
    """Type an answer, run it and the check below it with Shift+Enter, and read the verdict."""
    go_to(page, position).locator(".cm-content").click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(answer)
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    expect(page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{position + 1}"]')).to_contain_text(verdict)
