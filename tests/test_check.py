"""Every exercise: its solution passes, an empty cell is no error, and each wrong answer gets the message that names
its idea. A wrong answer is a function or class, and words that the verdict must contain."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from attn_lessons import check


# --------------------------------------------------------------------------------------- lesson 01, exercise 1
def weighted_average(values, scores):
    weights = torch.exp(scores - scores.max())
    return (weights / weights.sum()) @ values


def in_place_scores(values, scores):
    scores -= scores.max()
    return scores.softmax(0) @ values


WRONG_AVERAGES = {
    "raw scores": (lambda v, s: s @ v, "scores themselves"),
    "sigmoid gates": (lambda v, s: s.sigmoid() @ v, "sigmoid"),
    "exp, not divided": (lambda v, s: s.exp() @ v, "did not divide"),
    "scores over their sum": (lambda v, s: (s / s.sum()) @ v, "divided the scores by their sum"),
    "argmax": (lambda v, s: v[s.argmax()], "hard"),
    "plain mean": (lambda v, s: v.mean(0), "does not depend on the scores"),
    "not added up": (lambda v, s: s.softmax(0)[:, None] * v, "now add them up"),
    "added up over channels": (lambda v, s: (s.softmax(0)[:, None] * v).sum(1), "add up over the items"),
    "a single number": (lambda v, s: (s.softmax(0)[:, None] * v).sum(), "single number"),
    "mean of weighted": (lambda v, s: (s.softmax(0)[:, None] * v).mean(0), "number of items"),
    "overflow": (lambda v, s: s.exp() @ v / s.exp().sum(), "overflows"),
    "detached": (lambda v, s: s.detach().softmax(0) @ v, "gradient"),
    "upside down": (lambda v, s: (-s).softmax(0) @ v, "sign"),
    "weights only": (lambda v, s: s.softmax(0), "shape"),
    "temperature": (lambda v, s: (s / len(s) ** 0.5).softmax(0) @ v, "ratio of two weights"),
    "values softmaxed": (lambda v, s: s.softmax(0) @ v.softmax(0), "as they are"),
    "rounded": (lambda v, s: (s.softmax(0) @ v).round(decimals=2), "as they are"),
    "fixed shift": (lambda v, s: (s - 1000).exp() / (s - 1000).exp().sum() @ v, "*largest*"),
    "scores cut off": (lambda v, s: s.clamp(max=80).softmax(0) @ v, "cut scores off"),
    "shifted, not divided": (lambda v, s: (s - s.max()).exp() @ v, "right proportion"),
    "shifted above only": (lambda v, s: (s - s.max()).exp() / s.exp().sum() @ v, "right proportion"),
    "in place": (in_place_scores, "in place"),
    "no return": (lambda v, s: None, "return"),
    "wrong product": (lambda v, s: v @ s.softmax(0), "your code stopped"),
    "numpy": (lambda v, s: np.average(v.detach().numpy(), axis=0), "a single tensor"),
    "sigmoid, normalised": (lambda v, s: s.sigmoid() @ v / s.sigmoid().sum(), "exp(score)"),
    "softmax over the wrong axis": (lambda v, s: (s[None].softmax(0)[0]) @ v, "add up to"),
}


# --------------------------------------------------------------------------------------- lesson 01, exercise 2
def apply_gates(x, channel, place):
    return x * channel[:, :, None, None] * place[:, None]


def gates_in_place(x, channel, place):
    x *= channel[:, :, None, None]
    return x * place[:, None]


def c4(channel):
    return channel[:, :, None, None]


def p4(place):
    return place[:, None]


WRONG_GATES = {
    "channel only": (lambda x, c, p: x * c4(c), "place gates are missing"),
    "place only": (lambda x, c, p: x * p4(p), "channel gates are missing"),
    "gates added": (lambda x, c, p: x * (c4(c) + p4(p)), "you added where"),
    "gates added to x": (lambda x, c, p: x + c4(c) + p4(p), "a gate multiplies"),
    "two branches added": (lambda x, c, p: x * c4(c) + x * p4(p), "you added where"),
    "residual": (lambda x, c, p: x + apply_gates(x, c, p), "once more"),
    "sigmoid again": (lambda x, c, p: x * c4(c).sigmoid() * p4(p).sigmoid(), "no sigmoid"),
    "softmax over channels": (lambda x, c, p: x * c4(c.softmax(1)) * p4(p), "open gate lets everything through"),
    "batch average": (
        lambda x, c, p: apply_gates(x, c.mean(0, True).expand_as(c), p.mean(0, True).expand_as(p)),
        "batch",
    ),
    "no unsqueeze": (lambda x, c, p: x * c * p, "Broadcasting lines shapes up from the right"),
    "the larger gate": (lambda x, c, p: x * torch.maximum(c4(c), p4(p)), "larger of the two"),
    "height and width swapped": (
        lambda x, c, p: x * c4(c) * (p4(p).transpose(2, 3) if x.shape[2] == x.shape[3] else p4(p)),
        "swapped",
    ),
    "in place": (gates_in_place, "in place"),
    "averaged away": (lambda x, c, p: apply_gates(x, c, p).mean((2, 3)), "never how many"),
    "no return": (lambda x, c, p: None, "return"),
    "first picture's gates for all": (
        lambda x, c, p: apply_gates(x, c[:1].expand_as(c), p[:1].expand_as(p)),
        "in that picture alone",
    ),
    "one gate for the whole picture": (lambda x, c, p: x * c4(c).mean(1, True) * p4(p), "closing one channel"),
    "two tensors": (lambda x, c, p: (x * c4(c), x * p4(p)), "a single tensor"),
}


# --------------------------------------------------------------------------------------- lesson 02, exercise 1
def squeeze(x):
    return x.mean((2, 3))


WRONG_SQUEEZES = {
    "sum": (lambda x: x.sum((2, 3)), "without dividing"),
    "max": (lambda x: x.amax((2, 3)), "largest"),
    "median": (lambda x: x.flatten(2).median(2).values, "median"),
    "only W": (lambda x: x.mean(3), "squeezed W only"),
    "only H": (lambda x: x.mean(2), "squeezed H only"),
    "keepdim": (lambda x: x.mean((2, 3), keepdim=True), "keepdim"),
    "channels instead of places": (lambda x: x.mean(1), "SE does the reverse"),
    "everything": (lambda x: x.mean(), "everything"),
    "batch too": (lambda x: x.mean((0, 2, 3)), "pictures too"),
    "channels too": (lambda x: x.mean((1, 2, 3)), "channels too"),
    "corner": (lambda x: x[:, :, 0, 0], "corner"),
    "scrambled": (lambda x: x.reshape(len(x), -1, x.shape[1]).mean(1), "reshape"),
    "sigmoid": (lambda x: x.mean((2, 3)).sigmoid(), "sigmoid comes later"),
    "detached": (lambda x: x.detach().mean((2, 3)), "gradient"),
    "squeeze()": (lambda x: nn.functional.adaptive_avg_pool2d(x, 1).squeeze(), "axis of the single picture"),
    "first row": (lambda x: x[:, :, 0].mean(2), "shuffled"),
    "border left out": (
        lambda x: x[:, :, 1:-1, 1:-1].mean((2, 3)) if min(x.shape[2:]) > 2 else squeeze(x),
        "shuffled",
    ),
    "rms": (lambda x: x.square().mean((2, 3)), "squares"),
    "wrong axes": (lambda x: x.mean((1, 2)), "your result has shape"),
    "unbiased": (lambda x: x.sum((2, 3)) / max(1, x[0, 0].numel() - 1), "1 / (H·W)"),
}


# --------------------------------------------------------------------------------------- lesson 02, exercise 2
class SE(nn.Module):
    """The solution; the wrong answers below override one step of it each."""

    def __init__(self, channels, reduction):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.reduce = nn.Linear(channels, hidden, bias=False)
        self.expand = nn.Linear(hidden, channels, bias=False)

    def squeeze(self, x):
        return x.mean((2, 3))

    def gate(self, squeezed):
        return self.expand(self.reduce(squeezed).relu()).sigmoid()

    def forward(self, x):
        return x * self.gate(self.squeeze(x))[:, :, None, None]


def wrong_gate(formula):
    return type("MySE", (SE,), {"gate": formula})


def wrong_forward(formula):
    return type("MySE", (SE,), {"forward": formula})


def wrong_squeeze(formula):
    return type("MySE", (SE,), {"squeeze": formula})


def wrong_init(make):
    """`make(self, channels, reduction)` runs instead of the solution's layers."""

    def init(self, channels, reduction):
        nn.Module.__init__(self)
        make(self, channels, reduction)

    return type("MySE", (SE,), {"__init__": init})


def layers(self, channels, hidden, bias=False):
    self.reduce, self.expand = nn.Linear(channels, hidden, bias), nn.Linear(hidden, channels, bias)


def in_a_list(self, channels, reduction):
    self.all = [
        nn.Linear(channels, max(1, channels // reduction), False),
        nn.Linear(max(1, channels // reduction), channels, False),
    ]
    self.__dict__["reduce"], self.__dict__["expand"] = self.all


class RowsOnly(SE):
    """Squeezes over W only: a gate for every row of every channel."""

    def forward(self, x):
        return x * self.gate(x.mean(3).transpose(1, 2)).transpose(1, 2)[..., None]


class OnPixels(SE):
    """No squeeze at all: a gate for every pixel, from that pixel's channels."""

    def forward(self, x):
        return x * self.gate(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LinearOnWidth(SE):
    """The fault of the VGG19 tutorial: Linear acts on the last axis, W."""

    def forward(self, x):
        return x * self.gate(x)


class InPlace(SE):
    def forward(self, x):
        x *= self.gate(self.squeeze(x))[:, :, None, None]
        return x


class NoForward(nn.Module):
    def __init__(self, channels, reduction):
        super().__init__()
        layers(self, channels, max(1, channels // reduction))

    def foward(self, x):
        return x


class NotAModule:
    def __init__(self, channels, reduction):
        pass

    def __call__(self, x):
        return x


class WithNorm(SE):
    def __init__(self, channels, reduction):
        super().__init__(channels, reduction)
        self.norm = nn.BatchNorm1d(max(1, channels // reduction), affine=False)

    def gate(self, squeezed):
        return self.expand(self.norm(self.reduce(squeezed)).relu()).sigmoid()


WRONG_SES = {
    "no sigmoid": (wrong_gate(lambda m, s: m.expand(m.reduce(s).relu())), "no sigmoid"),
    "no relu": (wrong_gate(lambda m, s: m.expand(m.reduce(s)).sigmoid()), "no ReLU"),
    "softmax": (wrong_gate(lambda m, s: m.expand(m.reduce(s).relu()).softmax(1)), "compete"),
    "tanh": (wrong_gate(lambda m, s: m.expand(m.reduce(s).relu()).tanh()), "tanh"),
    "sigmoid in the middle": (wrong_gate(lambda m, s: m.expand(m.reduce(s).sigmoid())), "between the two layers"),
    "relu and sigmoid swapped": (wrong_gate(lambda m, s: m.expand(m.reduce(s).sigmoid()).relu()), "changed places"),
    "hard sigmoid": (
        wrong_gate(lambda m, s: nn.functional.hardsigmoid(m.expand(m.reduce(s).relu()))),
        "hard sigmoid",
    ),
    "detached": (wrong_gate(lambda m, s: SE.gate(m, s).detach()), "no gradient reaches your two layers"),
    "batch average": (wrong_gate(lambda m, s: SE.gate(m, s.mean(0, True))), "over the batch"),
    "batch norm": (WithNorm, "other pictures in its batch"),
    "returns the gates": (wrong_forward(lambda m, x: m.gate(m.squeeze(x))), "multiply x itself"),
    "adds the gates": (wrong_forward(lambda m, x: x + m.gate(m.squeeze(x))[:, :, None, None]), "scaling multiplies"),
    "residual": (wrong_forward(lambda m, x: x + SE.forward(m, x)), "residual"),
    "one minus gate": (wrong_forward(lambda m, x: x - SE.forward(m, x)), "turned round"),
    "max": (wrong_squeeze(lambda m, x: x.amax((2, 3))), "largest"),
    "sum": (wrong_squeeze(lambda m, x: x.sum((2, 3))), "dividing by H·W"),
    "gate ignores the picture": (wrong_squeeze(lambda m, x: torch.ones(x.shape[:2])), "do not depend on the picture"),
    "rows only": (RowsOnly, "both H and W"),
    "on pixels": (OnPixels, "both H and W"),
    "Linear on the width": (LinearOnWidth, "acts on the last axis"),
    "not unsqueezed": (wrong_forward(lambda m, x: x * m.gate(m.squeeze(x))), "Broadcasting"),
    "squeeze()": (wrong_squeeze(lambda m, x: nn.functional.adaptive_avg_pool2d(x, 1).squeeze()), "batch of one"),
    "scales the squeezed": (wrong_forward(lambda m, x: m.squeeze(x) * m.gate(m.squeeze(x))), "multiply x itself"),
    "relu6": (wrong_gate(lambda m, s: m.expand(nn.functional.relu6(m.reduce(s))).sigmoid()), "ReLU6"),
    "first picture's gates": (wrong_forward(lambda m, x: x * m.gate(m.squeeze(x))[:1, :, None, None]), "first one"),
    "hidden rounded up": (wrong_init(lambda m, c, r: layers(m, c, -(-c // r))), "hidden layer has"),
    "in place": (InPlace, "in place"),
    "reduction ignored": (wrong_init(lambda m, c, r: layers(m, c, c)), "hidden layer has"),
    "hidden = reduction": (wrong_init(lambda m, c, r: layers(m, c, r + 1)), "hidden layer has"),
    "biases": (wrong_init(lambda m, c, r: layers(m, c, max(1, c // r), bias=True)), "bias=False"),
    "hidden width 0": (wrong_init(lambda m, c, r: layers(m, c, c // r)), "no hidden unit"),
    "layers in a list": (wrong_init(in_a_list), "no parameters"),
    "no super().__init__()": (
        type("MySE", (SE,), {"__init__": lambda m, c, r: layers(m, c, c // r)}),
        "your code stopped",
    ),
    "one layer": (
        type("MySE", (SE,), {
            "__init__": lambda m, c, r: (nn.Module.__init__(m), setattr(m, "one", nn.Linear(c, c, bias=False)))[0],
            "gate": lambda m, s: m.one(s).sigmoid(),
        }),
        "SE has two",
    ),
    "forward misspelled": (NoForward, "no forward"),
    "no nn.Module": (NotAModule, "nn.Module"),
    "an instance": (SE(8, 2), "without (…)"),
    "no return": (wrong_forward(lambda m, x: None), "return"),
}  # fmt: skip

EXERCISES = {
    "weighted_average": (check.check_weighted_average, weighted_average, WRONG_AVERAGES),
    "apply_gates": (check.check_apply_gates, apply_gates, WRONG_GATES),
    "squeeze": (check.check_squeeze, squeeze, WRONG_SQUEEZES),
    "se": (check.check_se, SE, WRONG_SES),
}
CASES = [
    pytest.param(checker, wrong, words, id=f"{name}: {mistake}")
    for name, (checker, _, wrongs) in EXERCISES.items()
    for mistake, (wrong, words) in wrongs.items()
]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes(name):
    checker, solution, _ = EXERCISES[name]
    assert checker.verdict(solution).outcome == "passed", checker.verdict(solution)


@pytest.mark.parametrize(("checker", "wrong", "words"), CASES)
def test_a_wrong_answer_hears_which_idea_is_wrong(checker, wrong, words):
    verdict = checker.verdict(wrong)
    assert verdict.outcome == "not yet", verdict
    assert words in verdict.text, verdict
    assert "\n" not in verdict.text


@pytest.mark.parametrize("name", EXERCISES)
def test_at_least_eight_wrong_answers(name):
    assert len(EXERCISES[name][2]) >= 8


@pytest.mark.parametrize("name", EXERCISES)
def test_an_empty_cell_is_not_an_error(name, capsys):
    def empty(*arguments):
        raise NotImplementedError("your turn")

    class Empty(nn.Module):
        def __init__(self, channels, reduction):
            super().__init__()
            raise NotImplementedError("your turn")

    checker = EXERCISES[name][0]
    assert checker(Empty if name == "se" else empty) is None
    assert capsys.readouterr().out.startswith("○ not attempted yet")


def test_every_exported_check_is_tested():
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_check*.py"))
    assert [name for name in check.__all__ if name not in tests] == []


def test_checking_leaves_the_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    check.check_se.verdict(SE)
    assert torch.equal(torch.rand(1), expected)


def test_an_equal_solution_written_with_convolutions_passes():
    class Convolutions(nn.Module):
        def __init__(self, channels, reduction):
            super().__init__()
            if reduction > channels:
                raise ValueError("reduction is larger than channels")
            self.expand = nn.Conv2d(channels // reduction, channels, 1, bias=False)
            self.reduce = nn.Conv2d(channels, channels // reduction, 1, bias=False)

        def forward(self, x):
            squeezed = nn.functional.adaptive_avg_pool2d(x, 1)
            return x * torch.sigmoid(self.expand(torch.relu(self.reduce(squeezed))))

    assert check.check_se.verdict(Convolutions).outcome == "passed", check.check_se.verdict(Convolutions)
