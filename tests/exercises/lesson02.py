"""Answers to the exercise of lesson 02; what the names mean is said in __init__.py."""

import torch
from torch import nn

from attn_lessons import check
from attn_lessons.check import lesson02


def squeeze(x):
    return x.mean((2, 3))


class SE(nn.Module):
    """The solution; the wrong answers below override one step of it each."""

    def __init__(self, channels, reduction):
        super().__init__()
        self.layers(channels, max(1, channels // reduction))

    def layers(self, channels, hidden, bias=False):
        self.reduce, self.expand = nn.Linear(channels, hidden, bias), nn.Linear(hidden, channels, bias)

    def squeeze(self, x):
        return x.mean((2, 3))

    def gate(self, squeezed):
        return self.expand(self.reduce(squeezed).relu()).sigmoid()

    def forward(self, x):
        return x * self.gate(self.squeeze(x))[:, :, None, None]


def changed(**methods):
    return type("MySE", (SE,), methods)


def by_step(**steps):
    """The solution with wrong steps, from the check's own reference."""
    return changed(forward=lambda m, x: lesson02.se(x, m.reduce.weight, m.expand.weight, **steps))


def widths(make):
    """``make(c, r)`` hidden units."""
    return changed(__init__=lambda m, c, r: (nn.Module.__init__(m), m.layers(c, make(c, r)))[0])


def in_a_list(self, channels, hidden):
    self.all = [nn.Linear(channels, hidden, bias=False), nn.Linear(hidden, channels, bias=False)]
    self.__dict__["reduce"], self.__dict__["expand"] = self.all


def zeros(self, channels, hidden):
    SE.layers(self, channels, hidden)
    nn.init.zeros_(self.reduce.weight)
    nn.init.zeros_(self.expand.weight)


def one_layer(self, channels, hidden):
    self.reduce, self.expand = nn.Linear(channels, channels, bias=False), nn.Identity()


def in_place(self, x):
    x *= self.gate(self.squeeze(x))[:, :, None, None]
    return x


def kept(self, x):
    if not hasattr(self, "seen"):
        self.seen = self.gate(self.squeeze(x))[:, :, None, None]
    return x * self.seen if self.seen.shape[0] == len(x) else SE.forward(self, x)


WRONG_SES = {  # beside those of the tables
    "detached": (changed(gate=lambda m, s: SE.gate(m, s).detach()), "no gradient reaches your two layers"),
    "detached squeeze": (changed(squeeze=lambda m, x: x.detach().mean((2, 3))), "part of the gradient"),
    "batch statistics": (changed(squeeze=lambda m, x: squeeze(x) / squeeze(x).std(0)), "other images in its batch"),
    "dropout": (changed(squeeze=lambda m, x: nn.functional.dropout(squeeze(x), 0.5, m.training)), "two calls"),
    "gates returned": (changed(forward=lambda m, x: m.gate(m.squeeze(x))), "multiply x itself"),
    "gates kept": (changed(forward=kept), "keeps 'seen' from an earlier call"),
    "softmax, gates returned": (
        changed(forward=lambda m, x: m.expand(m.reduce(squeeze(x)).relu()).softmax(1)[..., None, None].expand_as(x)),
        "multiply x itself",
    ),
    "image ignored": (changed(squeeze=lambda m, x: torch.ones(x.shape[:2])), "do not depend on the image"),
    "no squeeze": (changed(forward=lambda m, x: x * m.gate(x.mT.transpose(1, 3)).transpose(1, 3).mT), "both H and W"),
    "Linear on the width": (changed(forward=lambda m, x: x * m.gate(x)), "acts on the last axis"),  # a VGG19 tutorial
    "axes missing": (changed(forward=lambda m, x: x * m.gate(m.squeeze(x))), "Broadcasting"),
    "squeeze()": (changed(squeeze=lambda m, x: nn.functional.adaptive_avg_pool2d(x, 1).squeeze()), "batch of one"),
    "ReLU too late": (by_step(between=lambda v: v, scores=torch.relu), "no ReLU between the two layers"),
    "hidden rounded up": (widths(lambda c, r: -(-c // r)), "hidden layer has"),
    "hidden width 0": (widths(lambda c, r: c // r), "no hidden unit"),
    "biases": (changed(layers=lambda m, c, h: SE.layers(m, c, h, bias=True)), "bias=False"),
    "a list": (changed(layers=in_a_list), "no parameters"),
    "lazy": (changed(layers=lambda m, c, h: SE.layers(m, c, h) or setattr(m, "reduce", nn.LazyLinear(h))), "lazy"),
    "zeros": (changed(layers=zeros), "start at 0"),
    "one layer": (changed(layers=one_layer), "two weight matrices"),
    "no super().__init__()": (changed(__init__=lambda m, c, r: m.layers(c, c // r)), "your code stopped"),
    "in place": (changed(forward=in_place), "in place"),
    "no forward": (lambda channels, reduction: nn.Module(), "no forward"),
    "no nn.Module": (lambda channels, reduction: squeeze, "nn.Module"),
    "an instance": (SE(8, 2), "without (…)"),
    "no return": (changed(forward=lambda m, x: None), "return"),
}


class Convolutions(nn.Module):
    """The second layer is made first, and a small C is refused."""

    def __init__(self, channels, reduction):
        super().__init__()
        if reduction > channels:
            raise ValueError("reduction is larger than channels")
        self.expand = nn.Conv2d(channels // reduction, channels, 1, bias=False)
        self.reduce = nn.Conv2d(channels, channels // reduction, 1, bias=False)

    def forward(self, x):
        squeezed = nn.functional.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.expand(torch.relu(self.reduce(squeezed))))


class Bare(SE):
    """Two bare parameters, used as s @ W."""

    def layers(self, channels, hidden):
        self.down, self.up = nn.Parameter(torch.randn(channels, hidden)), nn.Parameter(torch.randn(hidden, channels))

    def gate(self, squeezed):
        return torch.sigmoid(torch.relu(squeezed @ self.down) @ self.up)


class SameShape(Bare):
    """Two matrices of one shape: W @ s, and then h @ W."""

    def layers(self, channels, hidden):
        self.down, self.up = (nn.Parameter(torch.randn(hidden, channels)) for _ in range(2))

    def gate(self, squeezed):
        return torch.sigmoid(torch.relu(squeezed @ self.down.T) @ self.up)


EXERCISES = {"se": (check.check_se, [SE, Convolutions, Bare, SameShape], WRONG_SES)}
TABLES = {"se": (by_step, lesson02.SE, lesson02.se, lesson02.SE_VALUES)}
