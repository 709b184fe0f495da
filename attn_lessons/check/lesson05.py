"""Exercises of lesson 05: pooling along one axis at a time, and the whole coordinate attention module."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from . import core, probes
from .core import call, exercise, expect, expect_all, same, shape_of
from .steps import GATE, SCALE, SQUEEZE, Table, explain

STOPPED = {  # what torch says → what it means in this lesson
    "Sizes of tensors must match": "Tensors can be joined along an axis only if all other axes agree: the H row means "
    "and the W column means should lie along one and the same axis.",
    "stack expects each tensor": "stack makes a new axis and wants equal sizes: join along the axis they lie on.",
    "channels instead": "A convolution reads its channels from axis 1: Conv1d takes (B, C, n), Conv2d (B, C, n, 1).",
    "running_mean should contain": "Batch norm reads its channels from axis 1: (B, m, H + W).",
}


def both_or_one(table: Table, right: Callable) -> dict[str, tuple[Callable, Callable]]:
    """Each wrong variant in both directions, in the rows alone and in the columns alone."""
    rows = {f"for the rows, {idea}": (wrong, right) for idea, wrong in table.items()}
    columns = {f"for the columns, {idea}": (right, wrong) for idea, wrong in table.items()}
    return {idea: (wrong, wrong) for idea, wrong in table.items()} | rows | columns


# ------------------------------------------------------------------------------------------------ exercise 1
def each(squeeze: Callable) -> Callable:  # a wrong squeeze, done to each row (d = 3) or column (d = 2)
    return lambda x, d: torch.stack([squeeze(line.unsqueeze(5 - d)) for line in x.unbind(5 - d)], 2)


ALONG: Table = {idea.replace(" by H·W", ""): each(f) for idea, f in SQUEEZE.items() if "reshape" not in idea} | {
    "you take the mean of the whole image, which forgets where.": lambda x, d: (
        x.mean((2, 3), True).expand_as(x).mean(d)
    ),
    "you divide by the wrong length: a row has W numbers, a column H.": lambda x, d: x.sum(d) / x.shape[5 - d],
    "you divide by H·W: a row has W numbers, a column H.": lambda x, d: x.mean(d) / x.shape[5 - d],
    "you subtract the mean of the whole image: leave it in.": lambda x, d: x.mean(d) - x.mean((2, 3))[..., None],
    "you take the value at the far end: every position should count.": lambda x, d: x.select(d, -1),
    "their order is turned round: keep it.": lambda x, d: x.mean(d).flip(2),
    "view and reshape do not turn rows into columns: use transpose.": lambda x, d: x.reshape(x.mT.shape).mean(5 - d),
}
POOL = {idea: lambda x, f=f, g=g: (f(x, 3), g(x, 2)) for idea, (f, g) in both_or_one(ALONG, torch.mean).items()}
JOIN: Table = {  # (B, C, H), (B, C, W) → (B, C, H + W), in place of cat; several fit a square image only
    "the column means come first: rows first, then columns.": lambda r, c: torch.cat([c, r], 2),
    "you have the row means twice: the second half should be column means.": lambda r, c: torch.cat([r, r], 2),
    "you have the column means twice: the first half should be row means.": lambda r, c: torch.cat([c, c], 2),
    "row and column means alternate: first all rows, then all columns.": lambda r, c: torch.stack([r, c], 3).flatten(2),
    "joined along the channels, reshape mixes them.": lambda r, c: torch.cat([r, c], 1).reshape(*r.shape[:2], -1),
    "reshape swaps no axes: use transpose.": lambda r, c: torch.cat([r, c], 2).mT.reshape(*r.shape[:2], -1),
}
AFTER: Table = {  # the means, in place of nothing
    "the sigmoid comes later, when there are gates: only the means here.": torch.sigmoid,
    "you cut off the negative means: leave them as they are.": torch.relu,
    "rows and columns do not compete here: leave out the softmax.": lambda s: s.softmax(2),
}
SHAPES = {  # what is left of (B, C, H, W), where S = H + W and P = H·W → what is wrong
    "B,C B,C,1,1": "one number is left of each channel, SE's squeeze: pool along one axis at a time.",
    "B,C,H B,C,W B,C,H,1 B,C,1,W": "only one direction is there: H row means and W column means are wanted.",
    "B,C,S,1 B,C,1,S B,1,C,S": "the numbers may be right, but an axis of size 1 is left over.",
    "B,C,H+H": "you have the row means twice: the second half should be column means.",
    "B,C,W+W": "you have the column means twice: the first half should be row means.",
    "B,S,C": "rows and columns should lie along the last axis, channels in the middle: (B, C, H + W).",
    "B,2,C,H B,C,2,H B,C,H,2 2,B,C,H": "stack makes a new axis: put the means along the axis they lie on.",
    "B,C+C,H B+B,C,H": "you joined along the channels or the batch: put columns after rows, along the last axis.",
    "B,C,H,W B,C,P": "every position is still there: pool, and put the means side by side.",
    "B,S C,S": "you averaged over the channels or the images as well: each has row and column means of its own.",
    "B,C+H B,C+W B,H+H,W B,H,W+W B,H,C+W B,C+H,W": "the wrong dimension is gone: W for row means, H for column means.",
}


def pooled(x, pool=lambda x: (x.mean(3), x.mean(2)), join=lambda r, c: torch.cat([r, c], 2), after=lambda s: s):
    return after(join(*pool(x)))


@exercise("H row means, then W column means: each of them still knows where it comes from.")
def check_pool_both(attempt: Callable) -> None:
    """Check exercise 1 of lesson 05: ``pool_both(x (B, C, H, W)) → (B, C, H + W)``."""
    x = torch.randn(3, 6, 5, 5)
    added = same(call(attempt, x, hints=STOPPED), x.mean(3) + x.mean(2))
    expect(not added, "you added row means and column means to each other: put them side by side instead.")
    for b, c, h, w in ((3, 6, 5, 7), (5, 3, 9, 4), (3, 6, 5, 5), (1, 6, 1, 3), (1, 5, 3, 1)):
        x = torch.randn(b, c, h, w)
        result = call(attempt, x, hints=STOPPED, prefix="it works for a square image, but not for every other: ")
        sizes = {"B": b, "C": c, "H": h, "W": w, "1": 1, "2": 2, "S": h + w, "P": h * w}
        ideas = {}
        if b == 1:
            ideas[c, h + w] = "the axis of the single image is gone: squeeze() takes every axis of size 1."
        for shapes, idea in SHAPES.items():
            for shape in shapes.split():
                axes = tuple(sum(sizes[letter] for letter in axis.split("+")) for axis in shape.split(","))
                ideas.setdefault(axes, idea)
        otherwise = f"H + W numbers per channel and image, {shape_of(b, c, h + w)}, are wanted."
        probes.expect_shape(result, (b, c, h + w), f"x of shape {shape_of(b, c, h, w)}", ideas, otherwise)
        tables = {"join": JOIN, "pool": POOL, "after": AFTER}
        explain(result, pooled, (x,), tables, moved(attempt, x, result), attempt)
    probes.expect_same_gradient(attempt, pooled, torch.randn(3, 2, 5, 6))
    probes.expect_dtype(attempt, x)


def moved(attempt: Callable, x: torch.Tensor, result: torch.Tensor) -> str:
    """Change one number: one row mean and one column mean may change."""
    changed, wanted = x.clone(), torch.zeros_like(result, dtype=torch.bool)
    changed[0, 0, -1, -1] += 3
    wanted[0, 0, [x.shape[2] - 1, -1]] = True
    changes = ~torch.isclose(call(attempt, changed), result, atol=1e-4)
    one = "change one number, in the last row and column, by 3: "
    if (changes & ~wanted).any():
        return one + "other numbers of yours change than the means of these two."
    plain = "each of your numbers comes from the right row or column, but is not the plain mean of it."
    return plain if torch.equal(changes, wanted) else one + "the means of these two should change, and yours do not."


# ------------------------------------------------------------------------------------------------ exercise 2
ACT: Table = {  # in place of h-swish
    "that is ReLU after the batch norm, as in the popular tutorial; the recipe has h-swish.": torch.relu,
    "that is swish (SiLU), the smooth original; the recipe has h-swish, F.hardswish.": F.silu,
    "h-swish is x · ReLU6(x + 3) / 6: yours lacks the division by 6.": lambda v: v * F.relu6(v + 3),
    "h-swish is x · ReLU6(x + 3) / 6: yours has a ReLU without an upper end.": lambda v: v * F.relu(v + 3) / 6,
    "h-swish is x · ReLU6(x + 3) / 6: yours lacks the + 3.": lambda v: v * F.relu6(v) / 6,
    "h-swish is x · ReLU6(x + 3) / 6: in yours, + 3 comes after ReLU6.": lambda v: v * (F.relu6(v) + 3) / 6,
    "nothing bends between the layers: h-swish goes after the batch norm.": lambda v: v,
} | {
    f"{name} stands after the batch norm: h-swish (F.hardswish) goes there.": getattr(F, name)
    for name in ("gelu", "relu6", "hardsigmoid", "sigmoid", "tanh", "elu", "mish", "leaky_relu", "softplus")
}
ORDER: Table = {  # in place of act(norm(z)); norm follows the module's mode
    "h-swish comes before the batch norm: first normalise, then h-swish.": lambda z, norm, act, h: norm(act(z)),
    "your batch norm is built, but forward does not use it.": lambda z, norm, act, h: act(z),
    "your batch norm takes the batch's statistics in evaluation, too.": lambda z, norm, act, h: act(norm(z, True)),
    "in training, your batch norm stays in evaluation mode.": lambda z, norm, act, h: act(norm(z, False)),
    "in training, your batch norm gets rows and columns one after the other: normalise all H + W numbers together.":
        lambda z, norm, act, h: act(torch.cat([norm(z[..., :h]), norm(z[..., h:])], 2)),
}  # fmt: skip
SPLIT: Table = {  # (B, m, H + W) → (B, m, H), (B, m, W); all of these fit a square x only
    "rows and columns have changed places: gates from row means lie along the columns, and the other way round. For a "
    "square x nothing complains. A row's gate belongs at (B, C, H, 1).": lambda v, h: (v[..., -h:], v[..., :-h]),
    "the column gates are made from the row means, too: split.": lambda v, h: (v[..., :h], v[..., :h]),
    "the row gates are made from the column means, too: split.": lambda v, h: (v[..., h:], v[..., h:]),
    "you add rows and columns after the shared layer: split instead.": lambda v, h: (v[..., :h] + v[..., h:],) * 2,
}
BACK: Table = {  # rows, columns and their layers → scores
    "the first layer back makes all gates, the second none.": lambda r, c, one, two: (times(one, r), times(one, c)),
    "the second layer back makes all gates, the first none.": lambda r, c, one, two: (times(two, r), times(two, c)),
}
PAIR: Table = {  # the two gates (B, C, H, 1), (B, C, 1, W), in place of row · column
    "you add the two gates: a position counts only if its row and its column are open, so multiply.": torch.add,
    "you average the two gates: a position counts only if its row and its column are open.": lambda r, c: (r + c) / 2,
    "you take the larger of the two gates: multiply by both.": torch.maximum,
    "the column gates are missing: x is multiplied by the row gates only.": lambda r, c: r,
    "the row gates are missing: x is multiplied by the column gates only.": lambda r, c: c,
    "open and closed are turned round: multiply by each gate, not by 1 − gate.": lambda r, c: (1 - r) * (1 - c),
    "you halve the product: ** 1/2 is half of ** 1; leave it out.": lambda r, c: r * c / 2,
    "the product of the gates is averaged over the channels.": lambda r, c: (r * c).mean(1, True),
    "the column gates lie along the rows: their place is (B, C, 1, W).": lambda r, c: r * c.mT,
    "the row gates lie along the columns: their place is (B, C, H, 1).": lambda r, c: r.mT * c,
    "the row gates are averaged to one number: each row has its own.": lambda r, c: r.mean(2, True) * c,
    "the column gates are averaged to one number: each column has its own.": lambda r, c: r * c.mean(3, True),
    "your gates are averaged to one per channel, as in SE.": lambda r, c: r.mean(2, True) * c.mean(3, True),
}
ENTER: Table = {  # x, before everything else
    "you set negative values of x to 0: leave x as it is.": torch.relu,
    "you take absolute values of x: leave x as it is.": torch.abs,
}
GATES: Table = {  # scores (B, C, H, 1), (B, C, 1, W) → what x is multiplied by
    "a softmax makes positions compete for a sum of 1: take a sigmoid.": lambda r, c: r.softmax(2) * c.softmax(3),
    "a sigmoid of the product: squash each direction first, then multiply.": lambda r, c: (r * c).sigmoid(),
    "a sigmoid of the sum: squash each direction first, then multiply.": lambda r, c: (r + c).sigmoid(),
} | {idea: lambda r, c, f=f: f(r.sigmoid(), c.sigmoid()) for idea, f in PAIR.items()}
SIDED = {idea: gates for idea, gates in both_or_one(GATE, torch.sigmoid).items() if "s, you double" not in idea}
GATES |= {idea: lambda r, c, f=f, g=g: f(r) * g(c) for idea, (f, g) in SIDED.items()}
STEPS = {"split": SPLIT, "pool": {idea: POOL[idea] for idea in ALONG if "reshape" not in idea}, "order": ORDER}
STEPS |= {"enter": ENTER, "act": ACT, "back": BACK, "gates": GATES, "scale": SCALE}


def times(layer: tuple[torch.Tensor, torch.Tensor], z: torch.Tensor) -> torch.Tensor:
    """(B, in, n) → (B, out, n), for a weight in either orientation."""
    weight = layer[0].squeeze()
    return (weight if weight.shape[1] == z.shape[1] else weight.T) @ z + layer[1].reshape(-1, 1)


def ca(x, layers, train=False, enter=lambda x: x, pool=lambda x: (x.mean(3), x.mean(2)), act=F.hardswish,
       order=lambda z, norm, act, h: act(norm(z)), split=lambda v, h: (v[..., :h], v[..., h:]),
       back=lambda r, c, one, two: (times(one, r), times(two, c)), gates=lambda r, c: r.sigmoid() * c.sigmoid(),
       scale=torch.mul):  # fmt: skip
    """`layers`: the shared one, the one for rows and the one for columns, as (weight, bias), and the batch norm."""
    (shared, one, two, n), x = layers, enter(x)

    def norm(z, train=train):
        moments = (None, None) if train else (n.running_mean, n.running_var)
        return F.batch_norm(z, *moments, n.weight, n.bias, train, eps=n.eps)

    h = x.shape[2]
    rows, columns = back(*split(order(times(shared, torch.cat(pool(x), 2)), norm, act, h), h), one, two)
    return scale(x, gates(rows[..., None], columns[:, :, None]))


@exercise("one gate per row, one per column, from a layer they share: your module is coordinate attention.")
def check_ca(attempt: Callable) -> None:
    """Check exercise 2 of lesson 05: a class ``MyCA(channels, reduction)`` that keeps (B, C, H, W)."""
    for c, r, b, h, w in ((45, 4, 3, 6, 6), (45, 4, 3, 5, 7), (59, 5, 5, 9, 3), (20, 6, 3, 1, 5), (3, 1, 1, 1, 1)):
        module = core.build_module(attempt, c, r, given=f"channels={c}, reduction={r}")
        x = probes.away_from_zero(b, c, h, w)
        core.learned(module)
        run(module, x)  # before the layers are counted: what stops is the better message
        layers = fill(find(module, c, r), module.eval(), c)
        tested, result = partial(ca, layers=layers), run(module, x)
        expect(same(call(module, x), result), "two calls with the same x give two results: is there chance in it?")
        formula = "your gates come from another formula than the recipe's: go through its steps one by one."
        explain(result, tested, (x,), STEPS, formula, attempt, partial(expect_row_times_column, module, x, result))
        probes.expect_learning(module, x, "your layers")
        probes.expect_same_gradient(module, tested, x)
        probes.expect_one_image(module, x)
        result = call(module.train(), x)
        expect(same(call(module, x), result), "in training, two calls differ: is there dropout?")
        mode = "right in evaluation mode, but not in training: does the batch norm get all H + W numbers at once?"
        explain(result, partial(tested, train=True), (x,), {"order": ORDER}, mode, attempt)
        probes.expect_dtype(module.eval().double(), x)


def run(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    b, c, h, w = x.shape
    odd = "" if h == w else "it works for a square x, but not for every other (rows and columns, H and W?): "
    hints = STOPPED | {f"({h + w})": "All H + W numbers are still there: split rows from columns first."}
    result = call(module, x, hints=hints, prefix=odd)
    joined = "H + W numbers per channel are left: split them, and multiply x by both gates."
    probes.expect_scaled(result, x, "coordinate attention keeps the shape of x.", {(b, c, h + w): joined})
    return result


def find(module: nn.Module, c: int, r: int) -> tuple:
    """Shared layer, the two layers back, batch norm, by their sizes; says what is wrong with them."""
    m, kinds = max(8, c // r), (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
    norms = [layer for layer in module.modules() if isinstance(layer, kinds)]
    expect(norms, "there is no batch norm: nn.BatchNorm1d(m) or 2d stands between the shared layer and h-swish.")
    batch = isinstance(norms[0], nn.modules.batchnorm._BatchNorm)
    rest = [p for p in module.parameters() if not any(p is own for norm in norms for own in norm.parameters())]
    plain = all(getattr(layer, "groups", 1) == 1 for layer in module.modules())
    weights, biases = [[p for p in rest if (p.squeeze().dim() > 1) == many] for many in (True, False)]
    ends, starts = [[p for p in biases if p.numel() == size] for size in (c, m)]
    back, down = [[p for p in weights if (p.squeeze().shape[0] == c) == end] for end in (True, False)]
    if len(back) == 1 and len(ends) == 2:  # bare parameters, used as s @ W
        down, back = back, down
    width = down[0].numel() // c if down else 0
    has, wanted = sum(p.numel() for p in module.parameters()), 3 * c * m + 3 * m + 2 * c
    numbers = f"{has:,} parameters instead of 3·C·m + 3·m + 2·C = {wanted:,}"
    expect_all(
        (plain and all(p.squeeze().dim() == 2 for p in weights), "a convolution has groups, or a window "
         "larger than 1: it should mix all channels of one position."),
        (len(down) != 2, "rows and columns have a first layer each: they share one, applied to all H + W numbers."),
        (len(down) != 1 or len(back) != 1, "there is one layer back to C for both: each direction has its own."),
        (len(down) == 1 and len(back) == 2, f"one shared layer from {c} to m = max(8, C // r) = {m} channels and two "
         f"layers back are wanted; your weights: {', '.join(shape_of(*p.shape) for p in weights) or 'none'}."),
        (width == m, f"with channels={c}, reduction={r} m = max(8, C // r) is {m}, yours is {width}."),
        (batch, f"that is {type(norms[0]).__name__}; the recipe has batch normalisation."),
        (len(norms) == 1, f"there are {len(norms)} batch norms: one is enough, right after the shared layer."),
        (not batch or norms[0].num_features == m, f"batch norm has m = {m} channels, after the shared layer."),
        (len(biases) >= 3, f"{3 - len(biases)} of your three layers: no bias, {numbers}. The popular tutorial leaves "
         "them out; the recipe has them."),
        (has == wanted and len(starts) == 1 and batch and norms[0].running_mean is not None, f"your module has "
         f"{numbers}: is there more in it, or does the batch norm lack weights or running statistics?"),
        (not back or not back[0].any() or not torch.equal(back[0], back[-1]), "both layers back start with "
         "the same weights: is one a copy, or a seed set twice?"),
        (all(p.requires_grad for p in rest), "requires_grad is off for some parameters: they cannot learn."),
    )  # fmt: skip
    return (down[0], starts[0]), (back[0], ends[0]), (back[1], ends[1]), norms[0]


def fill(layers: tuple, module: nn.Module, c: int) -> tuple:
    """Weights far from 0, so that no gate can hide near 0.5; then see which layer makes the gates of the rows."""
    shared, rows, columns, norm = layers
    for weight, bias in (shared, rows, columns):
        weight.data = torch.randn_like(weight) * (bias.numel() / weight.numel()) ** 0.5
        bias.data = torch.randn_like(bias)
    norm.weight.data, norm.bias.data = 2 * torch.rand_like(norm.weight) + 2, torch.randn_like(norm.bias)
    norm.running_mean, norm.running_var = torch.randn_like(norm.bias.data), torch.rand_like(norm.bias.data) + 0.5

    def rows_only(weight):  # without this layer, do gates differ from row to row alone?
        kept, weight.data = weight.data, torch.zeros_like(weight)
        x = probes.away_from_zero(3, c, 6, 6)
        gate, weight.data = call(module, x) / x, kept
        return gate.std(3).mean() < 1e-3 * gate.std(2).mean()

    turned = rows_only(rows[0]) and not rows_only(columns[0])
    return (shared, columns, rows, norm) if turned else layers


def expect_row_times_column(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    gate, changed = result / x, x.clone()
    probes.expect_gates(gate)
    probes.expect_alone(module, x, result, "pool over H or W only.")
    changed[0, :, 0, 0] += torch.rand(x.shape[1])
    other = call(module, changed) / changed
    expect(
        torch.allclose(other[:, :, 1:, 1:], gate[:, :, 1:, 1:], atol=1e-3),
        "a gate changes with other rows and columns than its own.",
    )
