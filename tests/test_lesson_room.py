"""What the notebooks themselves need: a quiz without scripts, an image that moves, a start, and the house style."""

import base64
import hashlib
import sys
from dataclasses import dataclass, field
from xml.etree import ElementTree

import ipywidgets as widgets
import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

from attn_lessons import style
from attn_lessons.lesson import Question, code, diagram, explore, placements, questions, quiz, show_code, sliders, start
from attn_lessons.lesson.begin import gpu_hint

mpl.use("Agg")
ROOMS = (questions, sliders, style)


@dataclass
class Output:
    """Takes the position of `IPython.display.display`: one entry an output, and one handle that can change it."""

    shown: list[tuple[dict, dict]] = field(default_factory=list)
    updates: int = 0

    def __call__(self, data, metadata=None, raw=False, display_id=None):
        assert raw and isinstance(data, dict) and "text/plain" in data
        self.shown.append((data, metadata))
        if display_id:
            return Handle(self, len(self.shown) - 1)


@dataclass
class Handle:
    output: Output
    position: int

    def update(self, data, metadata=None, raw=False):
        assert raw
        self.output.shown[self.position] = data, metadata
        self.output.updates += 1


@pytest.fixture
def output(monkeypatch) -> Output:
    output = Output()
    for room in ROOMS:
        monkeypatch.setattr(room, "display", output)
    return output


@pytest.fixture(autouse=True)
def leave_the_settings_alone():
    threads = torch.get_num_threads()
    with mpl.rc_context():
        yield
    torch.set_num_threads(threads)
    plt.close("all")


# ------------------------------------------------------------------------------------------ quiz
GATES = Question("What is a <gate>?", ("a factor & more", "it multiplies"), {"a sum": "that adds", "a 'door'": "no"})
HEADS = Question("How many heads?", ("one", "count them"), {"two": "count again"})


def parsed(html: str) -> list[tuple[str, str]]:
    """(answer, feedback) of every <details>. Anything that is not well-formed is an error."""
    details = ElementTree.fromstring(f"<div>{html}</div>").iter("details")
    return [(entry.findtext("summary"), entry.findtext("p")) for entry in details]


def test_quiz_opens_the_feedback_of_every_answer(output):
    quiz(GATES, HEADS)
    ((data, _),) = output.shown
    assert sorted(parsed(data["text/html"])) == sorted([
        ("a factor & more", "✓ Right. it multiplies"),
        ("a sum", "✗ Not quite. that adds"),
        ("a 'door'", "✗ Not quite. no"),
        ("one", "✓ Right. count them"),
        ("two", "✗ Not quite. count again"),
    ])  # fmt: skip
    assert "<script" not in data["text/html"]
    titles = [title.text for title in ElementTree.fromstring(f"<div>{data['text/html']}</div>").iter("strong")]
    assert titles == ["1. What is a <gate>?", "2. How many heads?"]


def test_quiz_as_plain_text_gives_nothing_away(output):
    quiz(GATES, HEADS)
    text = output.shown[0][0]["text/plain"]
    for words in ("What is a <gate>?", "a factor & more", "a sum", "a 'door'", "How many heads?", "one", "two"):
        assert words in text
    for words in ("it multiplies", "that adds", "count", "Right", "Not quite", "✓", "✗"):
        assert words not in text


@pytest.mark.parametrize(
    "text", ["<b>bold</b>", "a < b && c > d", "\"quoted\" and 'quoted'", "softmax → Σ = 1 ✓", "</p>"]
)
def test_quiz_escapes_what_html_would_swallow(output, text):
    quiz(Question(text, (text, text), {text + "!": text}))
    found = dict(parsed(output.shown[0][0]["text/html"]))
    assert found == {text: f"✓ Right. {text}", text + "!": f"✗ Not quite. {text}"}
    assert text in output.shown[0][0]["text/plain"]


def test_answers_have_an_order_that_never_changes_and_gives_nothing_away():
    positions = []
    for number in range(40):
        wrong = {"no": "", "never": "", "perhaps": ""}
        question = Question(f"Question {number}?", ("yes", ""), wrong)
        turned = Question(f"Question {number}?", ("yes", ""), dict(reversed(wrong.items())))
        assert question.answers() == turned.answers()
        positions.append([is_right for _, is_right, _ in question.answers()].index(True))
    assert set(positions) == {0, 1, 2, 3}
    by_hand = sorted(["one", "two"], key=lambda answer: hashlib.sha256(b"How many heads?" + answer.encode()).digest())
    assert [answer for answer, _, _ in HEADS.answers()] == by_hand


# ------------------------------------------------------------------------------------------ explore
@pytest.fixture
def sliders(monkeypatch) -> dict[str, widgets.Widget]:
    """The controls that `explore` shows, by name."""
    found, box = {}, widgets.VBox

    def collect(children):
        found.update({child.description: child for child in children})
        return box(children)

    monkeypatch.setattr(widgets, "VBox", collect)
    return found


def draw(turns=2, colour="red"):
    return plt.figure(figsize=(0.5, 0.5)), f"{turns} turns in {colour}"


def alt_of(shown: tuple[dict, dict]) -> str:
    data, metadata = shown
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == f"[figure] {metadata['image/png']['alt']}"
    return metadata["image/png"]["alt"]


def test_explore_shows_the_defaults_as_an_ordinary_image(output, sliders):
    explore(draw, turns=(0, 5, 1), colour=["blue", "red"])
    controls, image = output.shown
    assert alt_of(image) == "2 turns in red"
    assert "application/vnd.jupyter.widget-view+json" in controls[0] and "turns, colour" in controls[0]["text/plain"]
    assert (sliders["turns"].min, sliders["turns"].max, sliders["turns"].value) == (0, 5, 2)
    assert not plt.get_fignums()


def test_moving_a_slider_redraws_the_same_image(output, sliders):
    explore(draw, turns=(0, 5, 1), colour=["blue", "red"])
    sliders["turns"].value = 4
    assert len(output.shown) == 2 and output.updates == 1 and alt_of(output.shown[1]) == "4 turns in red"
    sliders["colour"].value = "blue"
    assert len(output.shown) == 2 and output.updates == 2 and alt_of(output.shown[1]) == "4 turns in blue"
    assert not plt.get_fignums()


def test_explore_takes_a_menu_of_names_and_values(output, sliders):
    explore(draw, turns=[("once", 1), ("twice", 2)], colour=["red"])
    assert alt_of(output.shown[1]) == "2 turns in red"
    sliders["turns"].value = 1
    assert alt_of(output.shown[1]) == "1 turns in red"


def test_explore_takes_a_widget(output, sliders):
    explore(draw, turns=widgets.IntSlider(value=3), colour=["red"])
    assert alt_of(output.shown[1]) == "3 turns in red"


def test_explore_takes_a_widget_with_a_description_of_its_own(output, sliders):
    explore(draw, turns=widgets.IntSlider(value=3, description="How often"), colour=["red"])
    assert alt_of(output.shown[1]) == "3 turns in red"


def test_explore_hands_on_what_is_fixed(output, sliders):
    explore(draw, turns=(0, 5), colour=widgets.fixed("green"))
    assert alt_of(output.shown[1]) == "2 turns in green"


# ------------------------------------------------------------------------------------------ start
@pytest.fixture
def nowhere(monkeypatch):
    """Neither Colab nor Kaggle nor Binder, and no GPU."""
    for name in ("KAGGLE_KERNEL_RUN_TYPE", "BINDER_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("profile", ["fast", "", None])
def test_start_refuses_an_unknown_profile(profile):
    with pytest.raises(ValueError, match=r"profile=.*'quick', 'full'"):
        start(profile)


@pytest.mark.parametrize(("profile", "expected"), [("quick", 3), ("full", 30)])
def test_pick_takes_the_setting_of_the_profile(nowhere, profile, expected):
    lesson = start(profile)
    assert lesson.pick(quick=3, full=30) == expected
    assert lesson.profile == profile and lesson.device == torch.device("cpu")


def test_start_sets_the_seed_and_the_style_and_says_where_it_runs(nowhere, capsys):
    mpl.rcParams["image.cmap"] = "jet"
    start()
    first = torch.rand(3)
    start()
    assert torch.equal(torch.rand(3), first) and mpl.rcParams["image.cmap"] == style.HEAT
    line = capsys.readouterr().out.splitlines()[0]
    assert torch.__version__ in line and "CPU" in line


def test_full_without_a_gpu_says_how_to_get_one(nowhere, capsys):
    start("quick")
    assert "GPU" not in capsys.readouterr().out
    start("full")
    assert gpu_hint() in capsys.readouterr().out


def test_the_hint_speaks_of_the_platforms_own_menu(nowhere, monkeypatch):
    hints = {gpu_hint()}
    assert "profile='quick'" in gpu_hint()
    for name, words in (("BINDER_SERVICE_HOST", "Binder"), ("KAGGLE_KERNEL_RUN_TYPE", "Accelerator")):
        monkeypatch.setenv(name, "yes")
        assert words in gpu_hint()
        hints.add(gpu_hint())
    monkeypatch.setitem(sys.modules, "google.colab", object())
    assert "Change runtime type" in gpu_hint()
    assert len(hints | {gpu_hint()}) == 4


# ------------------------------------------------------------------------------------------ style
def test_show_gives_the_figure_its_text_and_closes_it(output):
    fig, ax = plt.subplots(figsize=(1, 1))
    ax.plot([0, 1])
    style.show(fig, "A line that rises.")
    assert len(output.shown) == 1 and alt_of(output.shown[0]) == "A line that rises."
    assert not plt.fignum_exists(fig.number)


RUNS = pd.DataFrame(
    {"variant": ["a", "b"] * 3, "data": ["x"] * 2 + ["y"] * 4, "accuracy": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}
)


@pytest.mark.parametrize(
    "paint",
    [
        lambda ax: style.show_image(torch.zeros(3, 4, 5, dtype=torch.uint8), ax, "title"),
        lambda ax: style.outline(torch.eye(4) > 0, ax),
        lambda ax: style.heat(torch.rand(3, 4, requires_grad=True), ax, "title"),
        lambda ax: style.numbers(torch.rand(2, 3), ax, "title"),
        lambda ax: style.numbers(torch.rand(3), ax),
        lambda ax: style.seeds(RUNS, ax),
        lambda ax: style.seeds(RUNS, ax, hue="data"),
    ],
    ids=["image", "outline", "heat", "numbers", "a row of numbers", "seeds", "seeds by colour"],
)
def test_a_style_function_draws_on_the_axes_it_was_given_and_returns_them(paint):
    fig, (ax, other) = plt.subplots(1, 2)
    assert paint(ax) is ax
    assert ax.images or ax.collections or ax.lines
    assert not (other.images or other.collections or other.lines or other.texts)
    fig.canvas.draw()


def test_numbers_are_written_in_their_cells():
    ax = style.numbers(torch.tensor([[1.0, 0.25], [3.0, 4.5]]), plt.figure().subplots())
    assert [text.get_text() for text in ax.texts] == ["1", "0.25", "3", "4.5"]


def test_heat_runs_from_0_to_the_largest_weight_unless_told():
    weights = torch.tensor([[0.25, 0.5]])
    assert style.heat(weights, plt.figure().subplots()).images[0].get_clim() == (0, 0.5)
    assert style.heat(weights, plt.figure().subplots(), low=0.1, high=1.0).images[0].get_clim() == (0.1, 1.0)


# --------------------------------------------------------------------------------------------------- diagrams, code
def test_a_diagram_has_its_boxes_arrows_and_shapes():
    boxes = {
        "x": (0, 0, "x", "data"),
        "a": (1, 1, "linear", "learned"),
        "b": (2, 1, "ReLU", "layer"),
        "t": (3, 0, "×", "layer"),
    }
    arrows = [("x", "a"), ("a", "b", "C"), ("b", "t", "C gates"), ("x", "t", "C × H × W"), ("t", "x", "again", "under")]
    (ax,) = diagram(boxes, arrows, (6, 3)).axes
    written = [text.get_text() for text in ax.texts]
    assert {"x", "linear", "ReLU", "×", "C", "C gates", "C × H × W", "again"} <= set(written)
    assert len(ax.patches) >= 4 and len(ax.lines) == 5
    (low, high), (left, right) = ax.get_ylim(), ax.get_xlim()
    assert low < -1.35 and high > 0 and left < 0 and right > 3 * 2.45


@pytest.mark.parametrize(
    ("where", "words"), [("branch", "before the addition"), ("3×3", "after the 3 × 3 convolution")]
)
def test_placements_show_three_families_and_say_so(where, words, output):
    placements("SE", where)
    ((data, metadata),) = output.shown
    assert metadata["image/png"]["alt"].startswith("Block diagrams of where SE stands") and words in data["text/plain"]


def test_placements_at_the_end_of_a_mobilenet_branch_with_a_title(output, monkeypatch):
    drawn = []
    monkeypatch.setattr("attn_lessons.style.show", lambda figure, alt: drawn.append((figure.axes[0], alt)))
    placements("ECA", mobilenet="branch", title="Before the addition")
    ((ax, alt),) = drawn
    assert ax.get_title() == "Before the addition" and "in a MobileNet block after the projection" in alt
    written = sorted((*text.get_position(), text.get_text()) for text in ax.texts if text.get_text())
    boxes = [text for _, y, text in written if y == min(y for _, y, _ in written)]
    assert boxes.index("ECA") == boxes.index("conv 1×1\nprojects") + 1 == boxes.index("+") - 1


def test_show_code_leaves_out_the_docstring(monkeypatch):
    shown = []
    monkeypatch.setattr(code, "display", lambda markdown: shown.append(markdown.data))
    show_code(Handle)
    show_code(Output)
    assert "def update" in shown[0]
    assert "Takes the position" not in shown[1] and shown[1].splitlines()[3].startswith("    shown: list")


def test_compared_shows_ceiling_baseline_and_gain():
    runs = pd.DataFrame({"variant": ["none", "SE"] * 2, "seed": [0, 0, 1, 1], "accuracy": [0.4, 0.6, 0.5, 0.6]})
    (ax,) = style.compared(runs, "none", 0.5, "title").axes
    assert "+0.15" in [text.get_text() for text in ax.texts] and ax.get_title() == "title"
    assert {"mean of none", "ceiling without the cue"} <= {text.get_text() for text in ax.get_legend().get_texts()}
