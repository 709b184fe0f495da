"""Answers to the exercises of lesson 05; what the names mean is said in __init__.py."""

import torch
import torch.nn.functional as F
from torch import nn

from attn_lessons import check
from attn_lessons.check.lesson05 import POOL_VALUES, POOLED, STEPS, VALUES, ca, pooled


# --------------------------------------------------------------------------------------------------- exercise 1
def pool_both(x):
    return torch.cat([x.mean(3), x.mean(2)], 2)


def as_in_the_paper(x):
    rows = F.adaptive_avg_pool2d(x, (None, 1))
    columns = F.adaptive_avg_pool2d(x, (1, None)).permute(0, 1, 3, 2)
    return torch.cat([rows, columns], 2).squeeze(3)


def filled(x):
    b, c, h, w = x.shape
    result = torch.zeros(b, c, h + w)
    result[..., :h], result[..., h:] = x.mean(3), torch.einsum("bchw->bcw", x) / h
    return result


def by_step(**steps):
    """A wrong answer from the check's own reference; right where the wrong one has not the shape that is wanted."""

    def attempt(x):
        try:
            wrong = pooled(x, **steps)
        except RuntimeError:
            wrong = x
        return wrong if wrong.shape == pool_both(x).shape else pool_both(x)

    return attempt


def returns_in_a_loop(x):
    for i in range(x.shape[2]):
        return torch.cat([x[:, :, i].mean(2, True).expand(-1, -1, x.shape[2]), x.mean(2)], 2)


WRONG_POOLS = {  # beside those of the tables
    "stacked": (lambda x: torch.stack([x.mean(3), x.mean(2)], 2), "new axis"),
    "square only": (lambda x: torch.stack([x.mean(3), x.mean(2)], 2).flatten(2), "not for every other"),
    "twice the rows": (lambda x: torch.cat([x.mean(3), x.mean(3)], 2), "means twice"),
    "added": (lambda x: x.mean(3) + x.mean(2), "side by side"),
    "two at once": (lambda x: torch.cat([x.amax(2), x.amax(3)], 2), "come first: rows first, then columns. And: "),
    "reversed, of maxima": (lambda x: torch.cat([x.amax(3), x.amax(2).flip(2)], 2), "And: you turn round the order"),
    "float32 always": (lambda x: pool_both(x.float()), "float64"),
    "squeeze()": (lambda x: pool_both(x).squeeze(), "axis of the images"),
    "last column left out": (lambda x: F.pad(pool_both(x)[..., :-1], (0, 1)), "11 of 12 means"),
    "return in a loop": (returns_in_a_loop, "inside your loop"),
}


# --------------------------------------------------------------------------------------------------- exercise 2
class CA(nn.Module):
    """The solution; the wrong answers below override one step of it each."""

    def __init__(self, channels, reduction):
        super().__init__()
        self.layers(channels, max(8, channels // reduction))

    def layers(self, channels, hidden, bias=True):
        self.shared = nn.Conv1d(channels, hidden, 1, bias=bias)
        self.norm = nn.BatchNorm1d(hidden)
        self.rows = nn.Conv1d(hidden, channels, 1, bias=bias)
        self.columns = nn.Conv1d(hidden, channels, 1, bias=bias)

    def hidden(self, both):
        return F.hardswish(self.norm(self.shared(both)))

    def split(self, hidden, h, w):
        return hidden.split([h, w], 2)

    def gates(self, x):
        rows, columns = self.split(self.hidden(pool_both(x)), *x.shape[2:])
        return self.rows(rows)[..., None].sigmoid(), self.columns(columns)[:, :, None].sigmoid()

    def forward(self, x):
        row, column = self.gates(x)
        return x * row * column


def wrong(**methods):
    return type("MyCA", (CA,), methods)


def combine(formula):
    return wrong(forward=lambda m, x: formula(x, *m.gates(x)))


def width(formula):
    def init(self, channels, reduction):
        nn.Module.__init__(self)
        self.layers(channels, formula(channels, reduction))

    return wrong(__init__=init)


def built(make):
    """`make(channels, hidden)` gives layers, by name, in place of the solution's."""

    def layers(self, channels, hidden):
        CA.layers(self, channels, hidden)
        for name, layer in make(channels, hidden).items():
            setattr(self, name, layer)

    return wrong(layers=layers)


def module_by_step(**steps):
    """The solution with wrong steps, from the check's own reference; right where these do not fit together."""

    def forward(self, x):
        layers = [(layer.weight, layer.bias) for layer in (self.shared, self.rows, self.columns)]
        try:
            result = ca(x, (*layers, self.norm), self.training, **steps)
        except (RuntimeError, ValueError):
            result = x[None]
        return result if result.shape == x.shape else CA.forward(self, x)

    return wrong(forward=forward)


WRONG_CAS = {  # beside those of the tables
    "two first layers": (built(lambda c, h: {"shared2": nn.Conv1d(c, h, 1)}), "they share one"),
    "one layer back": (built(lambda c, h: dict.fromkeys(("rows", "columns"), nn.Conv1d(h, c, 1))), "its own"),
    "swapped": (combine(lambda x, r, c: x * r.mT * c.mT), "changed places"),
    "no split": (wrong(split=lambda m, z, h, w: (z, z)), "Broadcasting"),
    "in halves": (wrong(split=lambda m, z, h, w: z.chunk(2, 2)), "works for a square x"),
    "two at once": (module_by_step(act=torch.relu, pool=lambda x: (x.sum(3), x.sum(2))), "And: that is ReLU"),
    "no batch norm": (built(lambda c, h: {"norm": nn.Identity()}), "yours: none"),
    "window of 3": (built(lambda c, h: {"shared": nn.Conv1d(c, h, 3, 1, 1)}), "window"),
    "no statistics": (built(lambda c, h: {"norm": nn.BatchNorm1d(h, track_running_stats=False)}), "stats=False"),
    "one more layer": (built(lambda c, h: {"more": nn.PReLU(h)}), "is there more in it"),
    "no biases": (wrong(layers=lambda m, c, h: CA.layers(m, c, h, bias=False)), "biases in your three layers: 0"),
    "dropout": (wrong(hidden=lambda m, z: F.dropout(CA.hidden(m, z), 0.5, m.training)), "dropout"),
    "another squash": (combine(lambda x, r, c: x * r**1.5 * c), "another formula"),
    "batch statistics": (combine(lambda x, r, c: x * r * c * r.var((0, 1)).sigmoid()), "other images in its batch"),
    "float32 always": (wrong(hidden=lambda m, z: CA.hidden(m, z.float())), "float64"),
    "joined numbers": (wrong(forward=lambda m, x: m.rows(m.hidden(pool_both(x)))), "split them"),
}


# ------------------------------------------------------------------------------------- right, written otherwise
class FourAxes(nn.Module):
    """As in the paper: (B, C, H, 1) and (B, C, 1, W), 1×1 convolutions in two dimensions."""

    def __init__(self, channels, reduction):
        super().__init__()
        mip = max(8, channels // reduction)
        self.conv_w, self.conv_h = nn.Conv2d(mip, channels, 1), nn.Conv2d(mip, channels, 1)
        self.bn, self.conv1 = nn.BatchNorm2d(mip), nn.Conv2d(channels, mip, 1)

    def forward(self, x):
        both = as_in_the_paper(x)[..., None]
        rows, columns = torch.split(F.hardswish(self.bn(self.conv1(both))), list(x.shape[2:]), 2)
        self.seen = self.conv_h(rows).sigmoid()  # kept for a picture: such a module cannot be deep-copied
        return x * self.conv_w(columns.permute(0, 1, 3, 2)).sigmoid() * self.seen


class Linears(nn.Module):
    """Channels last, linear layers, columns before rows, h-swish written out."""

    def __init__(self, channels, reduction):
        super().__init__()
        m = max(channels // reduction, 8)
        self.squeeze, self.norm = nn.Linear(channels, m), nn.BatchNorm1d(m)
        self.back = nn.ModuleDict({"column": nn.Linear(m, channels), "row": nn.Linear(m, channels)})

    def forward(self, x):
        both = self.squeeze(torch.cat([x.mean(2), x.mean(3)], 2).mT)
        both = self.norm(both.mT).mT
        both = both * (both + 3).clamp(0, 6) / 6
        column, row = both.split([x.shape[3], x.shape[2]], 1)
        column, row = self.back["column"](column).sigmoid(), self.back["row"](row).sigmoid()
        return torch.einsum("bchw,bhc,bwc->bchw", x, row, column)


class Bare(nn.Module):
    """Parameters without layers, used as s @ W + b; both layers on all H + W numbers, and only then the split."""

    def __init__(self, c, r):
        super().__init__()
        m = max(8, c // r)
        for name, given, made in (("shared", c, m), ("rows", m, c), ("columns", m, c)):
            self.register_parameter(f"{name}_weight", nn.Parameter(torch.randn(given, made)))
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(made)))
        self.norm = nn.BatchNorm1d(m)

    def forward(self, x):
        b, c, h, w = x.shape
        z = pool_both(x).mT.reshape(-1, c) @ self.shared_weight + self.shared_bias
        z = F.hardswish(self.norm(z)).view(b, h + w, -1)
        row = torch.sigmoid(z @ self.rows_weight + self.rows_bias)[:, :h].mT
        column = torch.sigmoid(z @ self.columns_weight + self.columns_bias)[:, h:].mT
        return x * row[..., None] * column[:, :, None]


EXERCISES = {
    "pool_both": (check.check_pool_both, [pool_both, as_in_the_paper, filled], WRONG_POOLS),
    "ca": (check.check_ca, [CA, FourAxes, Linears, Bare], WRONG_CAS),
}
TABLES = {"pool_both": (by_step, POOLED, pooled, POOL_VALUES), "ca": (module_by_step, STEPS, ca, VALUES)}
