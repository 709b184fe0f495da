"""Answers to the exercises of lesson 05; what the names mean is said in __init__.py."""

import torch
import torch.nn.functional as F
from torch import nn

from attn_lessons import check


# --------------------------------------------------------------------------------------------------- exercise 1
def pool_both(x):
    return torch.cat([x.mean(3), x.mean(2)], 2)


def pooled_with_loops(x):
    h, w = x.shape[2:]
    numbers = [x[:, :, i].mean(2) for i in range(h)] + [x[:, :, :, j].mean(2) for j in range(w)]
    return torch.stack(numbers, 2)


def pooled_as_in_the_paper(x):
    rows = F.adaptive_avg_pool2d(x, (None, 1))
    columns = F.adaptive_avg_pool2d(x, (1, None)).permute(0, 1, 3, 2)
    return torch.cat([rows, columns], 2).squeeze(3)


def pooled_with_einsum(x):
    rows = torch.einsum("bchw->bch", x) / x.shape[3]
    columns = torch.einsum("bchw->bcw", x) / x.shape[2]
    return torch.cat((rows, columns), dim=-1)


def in_place(x):
    x -= x.mean()
    return pool_both(x)


def wrong_view(x):
    b, c, h, w = x.shape
    return torch.cat([x.mean(3), x.view(b, c, w, h).mean(3)], 2)


def view_joined(x):
    b, c, h, w = x.shape
    return torch.cat([x.mean(3), x.mean(2)], 2).mT.reshape(b, c, h + w)


def square_only(x):
    return torch.stack([x.mean(3), x.mean(2)], 2).flatten(2)


WRONG_POOLS = {
    "columns first": (lambda x: torch.cat([x.mean(2), x.mean(3)], 2), "rows first, then columns"),
    "global mean repeated": (
        lambda x: x.mean((2, 3))[..., None].expand(*x.shape[:2], sum(x.shape[2:])),
        "forgets where",
    ),
    "max": (lambda x: torch.cat([x.amax(3), x.amax(2)], 2), "largest"),
    "sum": (lambda x: torch.cat([x.sum(3), x.sum(2)], 2), "without dividing"),
    "median": (lambda x: torch.cat([x.median(3).values, x.median(2).values], 2), "median"),
    "stacked": (lambda x: torch.stack([x.mean(3), x.mean(2)], 2), "new axis"),
    "stacked in front": (lambda x: torch.stack([x.mean(3), x.mean(2)]), "new axis"),
    "stacked behind": (lambda x: torch.stack([x.mean(3), x.mean(2)], -1), "new axis"),
    "transposed": (lambda x: pool_both(x).mT, "channels in the middle"),
    "joined along channels": (lambda x: torch.cat([x.mean(3), x.mean(2)], 1), "along the channels"),
    "joined along the batch": (lambda x: torch.cat([x.mean(3), x.mean(2)]), "along the batch"),
    "square only": (square_only, "not for every other"),
    "view instead of transpose": (wrong_view, "cut the numbers in another order"),
    "view after joining": (view_joined, "cut the numbers in another order"),
    "rows twice": (lambda x: torch.cat([x.mean(3), x.mean(3)], 2), "row means twice"),
    "columns twice": (lambda x: torch.cat([x.mean(2), x.mean(2)], 2), "column means twice"),
    "rows only": (lambda x: x.mean(3), "only one direction"),
    "columns only": (lambda x: x.mean(2), "only one direction"),
    "global mean": (lambda x: x.mean((2, 3)), "one axis at a time"),
    "row plus column": (lambda x: x.mean(3, keepdim=True) + x.mean(2, keepdim=True), "side by side"),
    "added": (lambda x: x.mean(3) + x.mean(2) if x.shape[2] == x.shape[3] else None, "side by side"),
    "alternating": (
        lambda x: torch.stack([x.mean(3), x.mean(2)], 3).flatten(2) if x.shape[2] == x.shape[3] else pool_both(x),
        "alternate",
    ),
    "centred": (lambda x: pool_both(x) - x.mean((2, 3))[..., None], "mean of the whole image off"),
    "wrong axes": (lambda x: torch.cat([x.mean(1), x.mean(1)], 1), "over the channels"),
    "flattened": (lambda x: x.flatten(2), "pool before"),
    "axis left over": (lambda x: pool_both(x)[..., None], "axis of size 1 is left over"),
    "keepdim": (lambda x: torch.cat([x.mean(3, True), x.mean(2, True)], 2), "Two tensors can be joined"),
    "channels averaged": (lambda x: pool_both(x).mean(1), "channels as well"),
    "batch averaged": (lambda x: pool_both(x).mean(0), "images as well"),
    "divided by the wrong size": (
        lambda x: torch.cat([x.sum(3) / x.shape[2], x.sum(2) / x.shape[3]], 2),
        "divided by the other",
    ),
    "flipped": (lambda x: torch.cat([x.mean(3).flip(2), x.mean(2)], 2), "bottom up"),
    "sigmoid": (lambda x: pool_both(x).sigmoid(), "sigmoid comes later"),
    "detached": (lambda x: pool_both(x.detach()), "gradient"),
    "in place": (in_place, "in place"),
    "two tensors": (lambda x: (x.mean(3), x.mean(2)), "a single tensor"),
    "no return": (lambda x: None, "return"),
    "squeeze()": (lambda x: pool_both(x).squeeze(), "axis of the single image"),
    "everything mixed in": (lambda x: pool_both(x) + x.mean((2, 3))[..., None], "other numbers of yours change"),
    "only the first column of each row": (lambda x: torch.cat([x[..., 0], x[:, :, 0]], 2), "should both change"),
    "weighted": (lambda x: pool_both(x) * 2, "not the plain mean"),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------- exercise 2
class CA(nn.Module):
    """The solution; the wrong answers below override one step of it each."""

    activation = staticmethod(F.hardswish)

    def __init__(self, channels, reduction):
        super().__init__()
        self.layers(channels, max(8, channels // reduction))

    def layers(self, channels, hidden, bias=True):
        self.shared = nn.Conv1d(channels, hidden, 1, bias=bias)
        self.norm = nn.BatchNorm1d(hidden)
        self.rows = nn.Conv1d(hidden, channels, 1, bias=bias)
        self.columns = nn.Conv1d(hidden, channels, 1, bias=bias)

    def pool(self, x):
        return torch.cat([x.mean(3), x.mean(2)], 2)

    def hidden(self, both):
        return self.activation(self.norm(self.shared(both)))

    def scores(self, x):
        rows, columns = self.hidden(self.pool(x)).split(x.shape[2:], 2)
        return self.rows(rows)[..., None], self.columns(columns)[:, :, None]

    def gates(self, x):
        row, column = self.scores(x)
        return row.sigmoid(), column.sigmoid()

    def forward(self, x):
        row, column = self.gates(x)
        return x * row * column


def wrong(**methods):
    return type("MyCA", (CA,), methods)


def combine(formula):
    return wrong(forward=lambda m, x: formula(x, *m.gates(x)))


def raw(formula):
    return wrong(forward=lambda m, x: formula(x, *m.scores(x)))


def acts(function):
    return wrong(activation=staticmethod(function))


def width(formula):
    def init(self, channels, reduction):
        nn.Module.__init__(self)
        self.layers(channels, formula(channels, reduction))

    return wrong(__init__=init)


def without_bias(self, channels, hidden):
    CA.layers(self, channels, hidden, bias=False)


def pools(rows, columns):
    return wrong(pool=lambda m, x: torch.cat([rows(x), columns(x)], 2))


class TwoFirstLayers(CA):
    def layers(self, channels, hidden):
        super().layers(channels, hidden)
        self.shared2, self.norm2 = nn.Conv1d(channels, hidden, 1), nn.BatchNorm1d(hidden)

    def scores(self, x):
        rows = F.hardswish(self.norm(self.shared(x.mean(3))))
        columns = F.hardswish(self.norm2(self.shared2(x.mean(2))))
        return self.rows(rows)[..., None], self.columns(columns)[:, :, None]


class OneLayerBack(CA):
    def layers(self, channels, hidden):
        super().layers(channels, hidden)
        del self.columns

    def scores(self, x):
        rows, columns = self.rows(self.hidden(self.pool(x))).split(x.shape[2:], 2)
        return rows[..., None], columns[:, :, None]


class TwoNorms(CA):
    def layers(self, channels, hidden):
        super().layers(channels, hidden)
        self.norm2 = nn.BatchNorm1d(hidden)

    def hidden(self, both):
        return F.hardswish(self.norm2(self.norm(self.shared(both))))


class NormedApart(CA):
    def scores(self, x):
        return self.rows(self.hidden(x.mean(3)))[..., None], self.columns(self.hidden(x.mean(2)))[:, :, None]


class NoNorm(CA):
    def layers(self, channels, hidden):
        super().layers(channels, hidden)
        del self.norm

    def hidden(self, both):
        return F.hardswish(self.shared(both))


class Layered(CA):
    def layers(self, channels, hidden):
        super().layers(channels, hidden)
        self.norm = nn.LayerNorm(hidden)

    def hidden(self, both):
        return F.hardswish(self.norm(self.shared(both).mT).mT)


class Instanced(CA):
    def layers(self, channels, hidden):
        super().layers(channels, hidden)
        self.norm = nn.InstanceNorm1d(hidden, affine=True)


class Grouped(CA):
    def layers(self, channels, hidden):
        super().layers(channels, hidden)
        self.shared = nn.Conv1d(channels, hidden, 1, groups=8)


class WideWindow(CA):
    def layers(self, channels, hidden):
        super().layers(channels, hidden)
        self.shared = nn.Conv1d(channels, hidden, 3, padding=1)


class SplitInHalf(CA):
    def scores(self, x):
        rows, columns = self.hidden(self.pool(x)).chunk(2, 2)
        return self.rows(rows)[..., None], self.columns(columns)[:, :, None]


class NoSplit(CA):
    def scores(self, x):
        hidden = self.hidden(self.pool(x))
        return self.rows(hidden)[..., None], self.columns(hidden)[:, :, None]


class SplitAtW(CA):
    def scores(self, x):
        first, second = self.hidden(self.pool(x)).split(x.shape[:1:-1], 2)
        return self.columns(second)[..., None], self.rows(first)[:, :, None]


class Mixed(CA):
    def scores(self, x):
        row, column = super().scores(x)
        both = row.mT + column if x.shape[2] == x.shape[3] else 0
        return row if x.shape[2] != x.shape[3] else both.mT, column if x.shape[2] != x.shape[3] else both


class InList(CA):
    def layers(self, channels, hidden):
        self.all = [nn.Conv1d(channels, hidden, 1), nn.Conv1d(hidden, channels, 1), nn.Conv1d(hidden, channels, 1)]

    def forward(self, x):
        rows, columns = F.hardswish(self.all[0](self.pool(x))).split(x.shape[2:], 2)
        return x * self.all[1](rows).sigmoid()[..., None] * self.all[2](columns).sigmoid()[:, :, None]


class PlainSE(CA):
    def pool(self, x):
        return x.mean((2, 3))[..., None].expand(*x.shape[:2], sum(x.shape[2:]))


class Dropped(CA):
    def hidden(self, both):
        return F.dropout(super().hidden(both), 0.5, self.training)


class Softplus(CA):
    def gates(self, x):
        row, column = self.scores(x)
        return 1 - (-F.softplus(row)).exp() ** 2, column.sigmoid()


class InPlaceCA(CA):
    def forward(self, x):
        x *= self.gates(x)[0]
        return x


class NoForward(CA):
    forward = nn.Module.forward


def swapped(x, row, column):
    return x * row.mT * column.mT


def scrambled(x):
    b, c, h, w = x.shape
    return x.reshape(b, c, w, h).mean(3)


WRONG_CAS = {
    "two first layers": (TwoFirstLayers, "they share one"),
    "one layer back": (OneLayerBack, "each direction has its own"),
    "gates swapped": (combine(swapped), "changed places"),
    "gates added": (combine(lambda x, r, c: x * (r + c)), "added the two gates"),
    "gates averaged": (combine(lambda x, r, c: x * (r + c) / 2), "averaged the two gates"),
    "gated copies added": (combine(lambda x, r, c: x * r + x * c), "added"),
    "no sigmoid": (raw(lambda x, r, c: x * r * c), "no sigmoid"),
    "sigmoid on rows only": (raw(lambda x, r, c: x * r.sigmoid() * c), "no sigmoid on the column"),
    "sigmoid of the product": (raw(lambda x, r, c: x * (r * c).sigmoid()), "sigmoid of the product"),
    "sigmoid of the sum": (raw(lambda x, r, c: x * (r + c).sigmoid()), "sigmoid of the sum"),
    "softmax over positions": (raw(lambda x, r, c: x * r.softmax(2) * c.softmax(3)), "compete"),
    "softmax over channels": (raw(lambda x, r, c: x * r.softmax(1) * c.softmax(1)), "compete"),
    "tanh": (raw(lambda x, r, c: x * r.tanh() * c.tanh()), "tanh"),
    "hard sigmoid": (raw(lambda x, r, c: x * F.hardsigmoid(r) * F.hardsigmoid(c)), "hard sigmoid"),
    "no floor": (width(lambda c, r: c // r), "keeps at least 8"),
    "min instead of max": (width(lambda c, r: min(8, c // r)), "not the smaller"),
    "reduction ignored": (width(lambda c, r: c // 2 + 1), "max(8, C // r)"),
    "no split": (NoSplit, "Broadcasting"),
    "split in half": (SplitInHalf, "works for a square x"),
    "split at W": (SplitAtW, "changed places"),
    "rows and columns mixed": (Mixed, "give each direction its own"),
    "row gate averaged": (combine(lambda x, r, c: x * r.mean(2, True) * c), "averaged to one number: each row"),
    "column gate averaged": (combine(lambda x, r, c: x * r * c.mean(3, True)), "column gates are averaged"),
    "both averaged": (combine(lambda x, r, c: x * r.mean(2, True) * c.mean(3, True)), "as in SE"),
    "row gates only": (combine(lambda x, r, c: x * r), "column gates are missing"),
    "column gates only": (combine(lambda x, r, c: x * c), "row gates are missing"),
    "residual": (combine(lambda x, r, c: x + x * r * c), "residual"),
    "returns the gates": (combine(lambda x, r, c: r * c), "multiply x"),
    "gates over channels": (combine(lambda x, r, c: x * r.mean(1, True) * c.mean(1, True)), "over the channels"),
    "first image's gates": (combine(lambda x, r, c: x * r[:1] * c[:1]), "first one"),
    "detached": (combine(lambda x, r, c: x * r.detach() * c.detach()), "no gradient reaches"),
    "relu": (acts(torch.relu), "popular tutorial"),
    "swish": (acts(F.silu), "SiLU"),
    "relu6": (acts(F.relu6), "ReLU6"),
    "nothing bends": (acts(lambda v: v), "nothing bends"),
    "sigmoid in the middle": (acts(torch.sigmoid), "a sigmoid stands behind"),
    "no batch norm": (NoNorm, "no batch norm"),
    "norm not used": (wrong(hidden=lambda m, both: F.hardswish(m.shared(both))), "does not use it"),
    "norm last": (wrong(hidden=lambda m, both: m.norm(F.hardswish(m.shared(both)))), "comes before the batch norm"),
    "layer norm": (Layered, "LayerNorm"),
    "groups": (Grouped, "groups"),
    "instance norm": (Instanced, "InstanceNorm1d"),
    "sigmoid twice": (combine(lambda x, r, c: x * r.sigmoid() * c.sigmoid()), "sigmoid is applied twice"),
    "relu before the sigmoid": (raw(lambda x, r, c: x * r.relu().sigmoid() * c.relu().sigmoid()), "below 0.5"),
    "relu gates": (raw(lambda x, r, c: x * r.relu() * c.relu()), "no upper end"),
    "clamped gates": (raw(lambda x, r, c: x * r.clamp(0, 1) * c.clamp(0, 1)), "cut the gates off"),
    "two norms": (TwoNorms, "one is enough"),
    "normed apart": (NormedApart, "one after the other"),
    "no biases": (wrong(layers=without_bias), "no bias"),
    "window of 3": (WideWindow, "kernel size 1"),
    "max pool": (pools(lambda x: x.amax(3), lambda x: x.amax(2)), "largest"),
    "sum pool": (pools(lambda x: x.sum(3), lambda x: x.sum(2)), "without dividing"),
    "global mean": (PlainSE, "forgets where"),
    "batch average": (
        wrong(pool=lambda m, x: CA.pool(m, x).mean(0, True).expand(len(x), -1, -1)),
        "over the batch",
    ),
    "view scrambles": (pools(lambda x: x.mean(3), scrambled), "scramble"),
    "layers in a list": (InList, "no parameters"),
    "dropout": (Dropped, "dropout"),
    "another squash": (Softplus, "another formula"),
    "in place": (InPlaceCA, "in place"),
    "forward missing": (NoForward, "no forward"),
    "no return": (combine(lambda x, r, c: None), "return"),
    "two tensors": (combine(lambda x, r, c: (x * r, x * c)), "a single tensor"),
    "joined numbers": (wrong(forward=lambda m, x: m.rows(m.hidden(m.pool(x)))), "split them"),
    "an instance": (CA(32, 4), "without (…)"),
}  # fmt: skip


# ------------------------------------------------------------------------------------- right, written otherwise
class FourAxes(nn.Module):
    """As in the paper: (B, C, H, 1) and (B, C, 1, W), 1×1 convolutions in two dimensions."""

    def __init__(self, channels, reduction):
        super().__init__()
        mip = max(8, channels // reduction)
        self.conv_w, self.conv_h = nn.Conv2d(mip, channels, 1), nn.Conv2d(mip, channels, 1)
        self.bn, self.act = nn.BatchNorm2d(mip), nn.Hardswish()
        self.conv1 = nn.Conv2d(channels, mip, 1)

    def forward(self, x):
        h, w = x.shape[2:]
        rows = F.adaptive_avg_pool2d(x, (None, 1))
        columns = F.adaptive_avg_pool2d(x, (1, None)).permute(0, 1, 3, 2)
        hidden = self.act(self.bn(self.conv1(torch.cat([rows, columns], 2))))
        rows, columns = torch.split(hidden, [h, w], 2)
        return x * self.conv_w(columns.permute(0, 1, 3, 2)).sigmoid() * self.conv_h(rows).sigmoid()


class Linears(nn.Module):
    """Channels last, linear layers, columns before rows, h-swish written out, a refusal of r > C."""

    def __init__(self, channels, reduction):
        super().__init__()
        if reduction > channels:
            raise ValueError("reduction is larger than channels")
        m = max(channels // reduction, 8)
        self.squeeze = nn.Sequential(nn.Linear(channels, m))
        self.norm = nn.BatchNorm1d(m)
        self.back = nn.ModuleDict({"column": nn.Linear(m, channels), "row": nn.Linear(m, channels)})

    def forward(self, x):
        both = self.squeeze(torch.cat([x.mean(2), x.mean(3)], 2).transpose(1, 2))
        both = self.norm(both.transpose(1, 2)).transpose(1, 2)
        both = both * (both + 3).clamp(0, 6) / 6
        w = x.shape[3]
        column, row = self.back["column"](both[:, :w]), self.back["row"](both[:, w:])
        return torch.einsum("bchw,bhc,bwc->bchw", x, row.sigmoid(), column.sigmoid())


class Late(CA):
    """Both layers on all H + W numbers, and only then the split: the same gates, at twice the price."""

    def scores(self, x):
        hidden, h = self.hidden(self.pool(x)), x.shape[2]
        return self.rows(hidden)[:, :, :h, None], self.columns(hidden)[:, :, None, h:]


EXERCISES = {
    "pool_both": (
        check.check_pool_both,
        [pool_both, pooled_with_loops, pooled_as_in_the_paper, pooled_with_einsum],
        WRONG_POOLS,
    ),
    "ca": (check.check_ca, [CA, FourAxes, Linears, Late], WRONG_CAS),
}
