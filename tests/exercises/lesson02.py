"""Answers to the exercises of lesson 02; what the names mean is said in __init__.py."""

import torch
from torch import nn

from attn_lessons import check
from attn_lessons.check.lesson02 import VALUES, se, squeezed
from attn_lessons.check.steps import BETWEEN, GATE, SCALE, SQUEEZE


# --------------------------------------------------------------------------------------------------- exercise 1
def squeeze(x):
    return x.mean((2, 3))


WRONG_SQUEEZES = {  # beside those of the tables
    "only W": (lambda x: x.mean(3), "squeezed W only"),
    "only H": (lambda x: x.mean(2), "squeezed H only"),
    "keepdim": (lambda x: x.mean((2, 3), keepdim=True), "keepdim"),
    "channels instead of positions": (lambda x: x.mean(1), "SE does the reverse"),
    "everything": (lambda x: x.mean(), "everything"),
    "batch too": (lambda x: x.mean((0, 2, 3)), "images too"),
    "channels too": (lambda x: x.mean((1, 2, 3)), "channels too"),
    "detached": (lambda x: x.detach().mean((2, 3)), "gradient"),
    "half detached": (lambda x: (x.detach() + x).mean((2, 3)) / 2, "gradient"),
    "squeeze()": (lambda x: nn.functional.adaptive_avg_pool2d(x, 1).squeeze(), "axis of the single image"),
    "first row": (lambda x: x[:, :, 0].mean(2), "shuffled"),
    "border left out": (lambda x: x[:, :, 1:-1, 1:-1].mean((2, 3)) if min(x.shape[2:]) > 2 else squeeze(x), "shuffled"),
    "wrong axes": (lambda x: x.mean((1, 2)), "your result has shape"),
    "unbiased": (lambda x: x.sum((2, 3)) / max(1, x[0, 0].numel() - 1), "1 / (H·W)"),
    "two at once": (lambda x: x.sum((2, 3)).sigmoid(), "without dividing by H·W|And: the sigmoid"),
    "in place": (lambda x: x.abs_().mean((2, 3)), "in place"),
    "exit": (lambda x: exit(), "SystemExit"),
    "grad off": (lambda x: (torch.set_grad_enabled(False), x.mean((2, 3)))[1], "gradient"),
}


# --------------------------------------------------------------------------------------------------- exercise 2
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


def by_step(**steps):
    """The solution with wrong steps, from the check's own reference."""
    return wrong_forward(lambda m, x: se(x, m.reduce.weight, m.expand.weight, **steps))


WRONG_SES = {  # beside those of the tables
    "detached": (wrong_gate(lambda m, s: SE.gate(m, s).detach()), "no gradient reaches your two layers"),
    "detached squeeze": (wrong_squeeze(lambda m, x: x.detach().mean((2, 3))), "part of the gradient"),
    "batch norm": (WithNorm, "other images in its batch|evaluation mode"),
    "dropout in training": (
        wrong_gate(lambda m, s: SE.gate(m, nn.functional.dropout(s, 0.5, m.training))),
        "two calls|evaluation mode",
    ),
    "sigmoid, then ReLU": (by_step(between=torch.sigmoid, gate=torch.relu), "lie outside|And: "),
    "neither": (by_step(between=lambda v: v, gate=lambda v: v), "lie outside|And: "),
    "returns the gates": (wrong_forward(lambda m, x: m.gate(m.squeeze(x))), "multiply x itself"),
    "gate ignores the image": (wrong_squeeze(lambda m, x: torch.ones(x.shape[:2])), "do not depend on the image"),
    "rows only": (RowsOnly, "both H and W"),
    "on pixels": (OnPixels, "both H and W"),
    "Linear on the width": (LinearOnWidth, "acts on the last axis"),
    "not unsqueezed": (wrong_forward(lambda m, x: x * m.gate(m.squeeze(x))), "Broadcasting"),
    "squeeze()": (wrong_squeeze(lambda m, x: nn.functional.adaptive_avg_pool2d(x, 1).squeeze()), "batch of one"),
    "scales the squeezed": (wrong_forward(lambda m, x: m.squeeze(x) * m.gate(m.squeeze(x))), "multiply x itself"),
    "hidden rounded up": (wrong_init(lambda m, c, r: layers(m, c, -(-c // r))), "hidden layer has"),
    "hidden rounded": (wrong_init(lambda m, c, r: layers(m, c, round(c / r))), "hidden layer has"),
    "in place": (InPlace, "in place"),
    "reduction ignored": (wrong_init(lambda m, c, r: layers(m, c, c)), "hidden layer has"),
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
        "two weight matrices",
    ),
    "forward calls itself": (wrong_forward(lambda m, x: m(x)), "never ends"),
    "forward misspelled": (NoForward, "no forward"),
    "no nn.Module": (NotAModule, "nn.Module"),
    "an instance": (SE(8, 2), "without (…)"),
    "no return": (wrong_forward(lambda m, x: None), "return"),
}  # fmt: skip


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


class Bare(nn.Module):
    """Two bare parameters, used as s @ W."""

    def __init__(self, channels, reduction):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.down = nn.Parameter(torch.randn(channels, hidden))
        self.up = nn.Parameter(torch.randn(hidden, channels))

    def forward(self, x):
        return x * torch.sigmoid(torch.relu(x.mean((2, 3)) @ self.down) @ self.up)[:, :, None, None]


EXERCISES = {
    "squeeze": (check.check_squeeze, [squeeze], WRONG_SQUEEZES),
    "se": (check.check_se, [SE, Convolutions, Bare], WRONG_SES),
}
TABLES = {
    "squeeze": (lambda **steps: lambda x: squeezed(x, **steps), {"squeeze": SQUEEZE}, squeezed, {"squeeze": "the means, BC"}),
    "se": (by_step, {"squeeze": SQUEEZE, "between": BETWEEN, "gate": GATE, "scale": SCALE}, se, VALUES),
}
