"""Answers to the exercises of lesson 05; what the names mean is said in __init__.py."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from attn_lessons import check
from attn_lessons.check.lesson05 import AFTER, JOIN, POOL, STEPS, ca, pooled


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


def by_step(**steps):
    """A wrong answer from the check's own reference; right where the wrong one has not the shape that is asked for."""

    def attempt(x):
        try:
            wrong = pooled(x, **steps)
        except RuntimeError:
            wrong = x
        return wrong if wrong.shape == pool_both(x).shape else pool_both(x)

    return attempt


def in_place(x):
    x -= x.mean()
    return pool_both(x)


def filled(x):
    b, c, h, w = x.shape
    result = torch.zeros(b, c, h + w)
    result[..., :h], result[..., h:] = x.mean(3), x.mean(2)
    return result


def returns_in_a_loop(x):
    for i in range(x.shape[2]):
        return torch.cat([x[:, :, i].mean(2, True).expand(-1, -1, x.shape[2]), x.mean(2)], 2)


WRONG_POOLS = {  # beside those of the tables
    "stacked": (lambda x: torch.stack([x.mean(3), x.mean(2)], 2), "new axis"),
    "transposed": (lambda x: pool_both(x).mT, "channels in the middle"),
    "joined along channels": (lambda x: torch.cat([x.mean(3), x.mean(2)], 1), "along the channels"),
    "square only": (lambda x: torch.stack([x.mean(3), x.mean(2)], 2).flatten(2), "not for every other"),
    "global mean": (lambda x: x.mean((2, 3)), "one axis at a time"),
    "row plus column": (lambda x: x.mean(3, keepdim=True) + x.mean(2, keepdim=True), "side by side"),
    "added": (lambda x: x.mean(3) + x.mean(2), "side by side"),
    "wrong axes": (lambda x: torch.cat([x.mean(1), x.mean(1)], 1), "wrong dimension is gone"),
    "flattened": (lambda x: x.flatten(2), "every position is still there"),
    "axis left over": (lambda x: pool_both(x)[..., None], "axis of size 1 is left over"),
    "keepdim": (lambda x: torch.cat([x.mean(3, True), x.mean(2, True)], 2), "joined"),
    "channels averaged": (lambda x: pool_both(x).mean(1), "the images as well"),
    "batch averaged": (lambda x: pool_both(x).mean(0), "the images as well"),
    "two at once": (lambda x: torch.cat([x.amax(2), x.amax(3)], 2), "come first: rows first, then columns. And: "),
    "detached": (lambda x: pool_both(x.detach()), "gradient"),
    "half detached": (lambda x: torch.cat([x.mean(3), x.detach().mean(2)], 2), "gradient"),
    "numpy": (lambda x: torch.from_numpy(pool_both(x).detach().numpy()), "gradient"),
    "float32 always": (lambda x: pool_both(x.float()), "float64"),
    "in place": (in_place, "in place"),
    "two tensors": (lambda x: (x.mean(3), x.mean(2)), "a single tensor"),
    "no return": (lambda x: None, "return"),
    "exit": (lambda x: exit(), "SystemExit"),
    "squeeze()": (lambda x: pool_both(x).squeeze(), "axis of the single image"),
    "the whole image mixed in": (lambda x: pool_both(x) + x.mean((2, 3))[..., None] / 2, "other numbers of yours"),
    "only some columns": (lambda x: torch.cat([x[..., :2].mean(3), x[:, :, :2].mean(2)], 2), "should change"),
    "weighted": (lambda x: pool_both(x) * 3, "not the plain mean"),
    "return in a loop": (returns_in_a_loop, "inside your loop"),
}  # fmt: skip


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

    def pool(self, x):
        return torch.cat([x.mean(3), x.mean(2)], 2)

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


def width(formula):
    def init(self, channels, reduction):
        nn.Module.__init__(self)
        self.layers(channels, formula(channels, reduction))

    return wrong(__init__=init)


def built(make):
    """`make(self, channels, hidden)` changes what the solution has built."""

    def layers(self, channels, hidden):
        CA.layers(self, channels, hidden)
        make(self, channels, hidden)

    return {"layers": layers}


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


class TwoFirstLayers(CA):
    def layers(self, channels, hidden):
        super().layers(channels, hidden)
        self.shared2, self.norm2 = nn.Conv1d(channels, hidden, 1), nn.BatchNorm1d(hidden)


class OneLayerBack(CA):
    def layers(self, channels, hidden):
        super().layers(channels, hidden)
        self.columns = self.rows


class NoNorm(CA):
    def layers(self, channels, hidden):
        super().layers(channels, hidden)
        self.norm = nn.Identity()


class InHalves(CA):
    def scores(self, x):
        rows, columns = self.hidden(self.pool(x)).chunk(2, 2)
        return self.rows(rows)[..., None], self.columns(columns)[:, :, None]


class NoSplit(CA):
    def scores(self, x):
        hidden = self.hidden(self.pool(x))
        return self.rows(hidden)[..., None], self.columns(hidden)[:, :, None]


class InList(CA):
    def __init__(self, channels, reduction):
        nn.Module.__init__(self)
        self.all = [nn.Conv1d(channels, 8, 1), nn.Conv1d(8, channels, 1), nn.Conv1d(8, channels, 1)]

    def forward(self, x):
        rows, columns = F.hardswish(self.all[0](self.pool(x))).split(x.shape[2:], 2)
        return x * self.all[1](rows).sigmoid()[..., None] * self.all[2](columns).sigmoid()[:, :, None]


class InPlaceCA(CA):
    def forward(self, x):
        x *= self.gates(x)[0]
        return x


def without_bias(self, channels, hidden):
    CA.layers(self, channels, hidden, bias=False)


def tied(self, *sizes):
    self.columns.weight = self.rows.weight


def copied(self, *sizes):
    self.columns = copy.deepcopy(self.rows)


WRONG_CAS = {  # beside those of the tables
    "two first layers": (TwoFirstLayers, "they share one"),
    "one layer back": (OneLayerBack, "each direction has its own"),
    "tied": (wrong(**built(tied)), "each direction has its own"),
    "copied": (wrong(**built(copied)), "same weights"),
    "frozen": (wrong(**built(lambda m, c, h: m.rows.requires_grad_(False))), "requires_grad"),
    "swapped": (combine(lambda x, r, c: x * r.mT * c.mT), "changed places"),
    "columns joined first": (wrong(pool=lambda m, x: CA.pool(m, x.mT)), "changed places"),
    "no floor": (width(lambda c, r: c // r), "max(8, C // r) is 8"),
    "min instead of max": (width(lambda c, r: min(8, c // r)), "max(8, C // r) is 11"),
    "reduction ignored": (width(lambda c, r: c), "max(8, C // r)"),
    "rounded": (width(lambda c, r: max(8, round(c / r))), "max(8, C // r) is 11"),
    "no split": (NoSplit, "Broadcasting"),
    "in halves": (InHalves, "works for a square x"),
    "two at once": (module_by_step(act=torch.relu, pool=lambda x: (x.sum(3), x.sum(2))), "And: that is ReLU"),
    "detached": (combine(lambda x, r, c: x * r.detach() * c.detach()), "no gradient reaches"),
    "x detached": (combine(lambda x, r, c: x.detach() * r * c), "part of the gradient"),
    "means detached": (wrong(pool=lambda m, x: CA.pool(m, x.detach())), "part of the gradient"),
    "no batch norm": (NoNorm, "no batch norm"),
    "layer norm": (wrong(**built(lambda m, c, h: setattr(m, "norm", nn.GroupNorm(1, h)))), "GroupNorm"),
    "instance norm": (wrong(**built(lambda m, c, h: setattr(m, "norm", nn.InstanceNorm1d(h)))), "InstanceNorm1d"),
    "window of 3": (wrong(**built(lambda m, c, h: setattr(m, "shared", nn.Conv1d(c, h, 3, 1, 1)))), "window"),
    "two norms": (wrong(**built(lambda m, c, h: setattr(m, "norm2", nn.BatchNorm1d(h)))), "one is enough"),
    "norm without weights": (
        wrong(**built(lambda m, c, h: setattr(m, "norm", nn.BatchNorm1d(h, affine=False)))), "is there more in it"
    ),
    "no biases": (wrong(layers=without_bias), "no bias"),
    "dropout": (wrong(hidden=lambda m, z: F.dropout(CA.hidden(m, z), 0.5, m.training)), "dropout"),
    "another squash": (combine(lambda x, r, c: x * r**1.5 * c), "another formula"),
    "squeezed image": (wrong(pool=lambda m, x: F.adaptive_avg_pool2d(x, (None, 1)).squeeze()), "split"),
    "float32 always": (wrong(pool=lambda m, x: CA.pool(m, x.float())), "float64"),
    "layers in a list": (InList, "no parameters"),
    "in place": (InPlaceCA, "in place"),
    "forward calls itself": (wrong(forward=lambda m, x: m(x)), "never ends"),
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
        self.seen = self.conv_h(rows).sigmoid()  # kept for a picture: such a module cannot be deep-copied
        return x * self.conv_w(columns.permute(0, 1, 3, 2)).sigmoid() * self.seen


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


class Bare(nn.Module):
    """Parameters without layers, used as s @ W + b."""

    def __init__(self, c, r):
        super().__init__()
        m = max(8, c // r)
        self.w0, self.b0 = nn.Parameter(torch.randn(c, m)), nn.Parameter(torch.zeros(m))
        self.w1, self.b1 = nn.Parameter(torch.randn(m, c)), nn.Parameter(torch.zeros(c))
        self.w2, self.b2 = nn.Parameter(torch.randn(m, c)), nn.Parameter(torch.zeros(c))
        self.norm = nn.BatchNorm1d(m)

    def forward(self, x):
        b, c, h, w = x.shape
        z = torch.cat([x.mean(3), x.mean(2)], 2).transpose(1, 2).reshape(-1, c) @ self.w0 + self.b0
        z = F.hardswish(self.norm(z)).view(b, h + w, -1)
        row, column = torch.sigmoid(z[:, :h] @ self.w1 + self.b1), torch.sigmoid(z[:, h:] @ self.w2 + self.b2)
        return x * row.mT[..., None] * column.mT[:, :, None]


EXERCISES = {
    "pool_both": (
        check.check_pool_both,
        [pool_both, pooled_with_loops, pooled_as_in_the_paper, pooled_with_einsum, filled],
        WRONG_POOLS,
    ),
    "ca": (check.check_ca, [CA, FourAxes, Linears, Late, Bare], WRONG_CAS),
}
TABLES = {"pool_both": (by_step, {"pool": POOL, "join": JOIN, "after": AFTER}), "ca": (module_by_step, STEPS)}
