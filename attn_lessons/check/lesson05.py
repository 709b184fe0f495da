"""Exercises of lesson 05: pooling along one axis at a time, and the whole coordinate attention module."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import nn

from . import core
from .core import WrongIdea, call, exercise, expect, named_mistake, same, shape_of

STOPPED = {  # what torch says → what it means in this lesson
    "Sizes of tensors must match": "Two tensors can be joined along an axis only if all other axes agree: the H row "
    "means and the W column means should lie along one and the same axis.",
    "stack expects each tensor": "stack makes a new axis and wants equal sizes, but H and W differ here: join the "
    "numbers along the axis they lie on.",
    "split_with_sizes": "The pieces must add up to the H + W numbers you joined.",
}


# --------------------------------------------------------------------------------------------------- exercise 1
@exercise("H row means, then W column means: each of them still knows where it comes from.")
def check_pool_both(attempt: Callable) -> None:
    """Check exercise 1 of lesson 05: ``pool_both(x (B, C, H, W)) → (B, C, H + W)``."""
    x = torch.randn(2, 3, 4, 4)
    result = call(attempt, x, hints=STOPPED)
    expect(
        not any(same(result, x.mean(3) + sign * x.mean(2)) for sign in (1, -1)),
        "you added row means and column means to each other: put them side by side instead.",
    )
    _check_pooled_shape(result, 2, 3, 4, 4)
    for b, c, h, w in ((2, 3, 4, 6), (2, 3, 4, 4), (3, 2, 5, 3), (1, 4, 1, 3), (1, 2, 3, 1)):
        x = torch.randn(b, c, h, w)
        odd = "it works for a square image, but not for every other: " if h != w else ""
        result = call(attempt, x, hints=STOPPED, prefix=odd)
        _check_pooled_shape(result, b, c, h, w)
        right = torch.cat([x.mean(3), x.mean(2)], 2)
        named_mistake(result, right, _pooling_mistakes(x))
        _check_what_moves(attempt, x, result)
        expect(
            same(result, right),
            "each of your numbers comes from the right row or column, but it is not the plain mean of it.",
        )
    core.expect_gradient(attempt, torch.randn(1, 2, 3, 4), names=("x",))


def _check_what_moves(attempt: Callable, x: torch.Tensor, result: torch.Tensor) -> None:
    """Change one number: one row mean and one column mean may change."""
    h, w = x.shape[2:]
    for name, position in (("first", 0), ("last", -1)):
        changed = x.clone()
        changed[0, 0, position, position] += 3
        moved = ~torch.isclose(call(attempt, changed, hints=STOPPED), result, atol=1e-4)
        expected = torch.zeros_like(moved)
        expected[0, 0, [position % h, h + position % w]] = True
        expect(
            not (moved & ~expected).any(),
            f"change one number, in the {name} row and {name} column of one channel: other numbers of yours change "
            "than the mean of that row and the mean of that column.",
        )
        expect(
            torch.equal(moved, expected),
            f"change one number, in the {name} row and {name} column: the mean of that row (among the first H) "
            "and the mean of that column (among the last W) should both change, and yours do not.",
        )


def _pooling_mistakes(x: torch.Tensor) -> Iterator[tuple[torch.Tensor, str]]:
    b, c, h, w = x.shape
    rows, columns, everything = x.mean(3), x.mean(2), x.mean((2, 3))[..., None]
    both, turned = torch.cat([rows, columns], 2), x.reshape(b, c, w, h)
    scrambled = "view and reshape cut the numbers in another order and do not turn rows into columns: average along "
    scrambled += "the dimension H itself, or use transpose."
    for parts, idea in (
        (
            (columns, rows),
            "the column means come first: rows first, then columns. (Is it dim=3 that runs along a row?)",
        ),
        ((x.sum(3), x.sum(2)), "you added up without dividing: a wider image gets larger numbers."),
        ((x.sum(3) / h, x.sum(2) / w), "a row has W numbers and a column H: you divided by the other."),
        ((x.amax(3), x.amax(2)), "you took the largest value of each row and column: take the mean."),
        ((x.amin(3), x.amin(2)), "you took the smallest value of each row and column: take the mean."),
        ((x.median(3)[0], x.median(2)[0]), "you took the median of each row and column: take the mean."),
        ((x.abs().mean(3), x.abs().mean(2)), "you took absolute values first: signs should stay."),
        ((x.square().mean(3), x.square().mean(2)), "you squared first: leave the values as they are."),
        ((rows, rows), "you have the row means twice: the second half should be column means."),
        ((columns, columns), "you have the column means twice: the first half should be row means."),
        ((rows.flip(2), columns), "the rows come from the bottom up: keep their order."),
        ((rows, columns.flip(2)), "the columns come from right to left: keep their order."),
        ((rows, turned.mean(3)), scrambled),
        ((turned.mean(2), columns), scrambled),
        ((turned.mean(2), turned.mean(3)), scrambled),
    ):
        yield torch.cat(parts, 2), idea
    if h == w:
        alternate = "row and column means alternate: first all rows, then all columns."
        yield torch.stack([rows, columns], 3).flatten(2), alternate
    whole = "all H + W numbers of a channel are its mean over the whole image: SE's squeeze, which forgets where."
    yield everything.expand(b, c, h + w), whole
    yield both - everything, "you took the mean of the whole image off: only the means here."
    yield both.sigmoid(), "the sigmoid comes later, when there are gates: only the means here."
    yield both.relu(), "you cut off the negative values: only the means here."
    yield both.softmax(2), "rows and columns do not compete here: leave out the softmax."
    yield both.mean(0, keepdim=True).expand_as(both), "you averaged over the batch: each image has its own means."
    yield both.mean(1, keepdim=True).expand_as(both), "you averaged over the channels: each channel has its own means."
    yield both.mT.reshape(b, c, h + w), scrambled


def _check_pooled_shape(result: torch.Tensor, b: int, c: int, h: int, w: int) -> None:
    ideas = {}
    for idea, *shapes in (
        ("one number is left of each channel: that is SE's squeeze. Pool along one axis at a time.",
         (b, c), (b, c, 1, 1)),
        ("only one direction is there: H row means and W column means are wanted.", (b, c, h), (b, c, w)),
        ("the numbers may be right, but an axis of size 1 is left over.", (b, c, h + w, 1), (b, c, 1, h + w)),
        ("you have the row means twice: the second half should be column means.", (b, c, 2 * h)),
        ("you have the column means twice: the first half should be row means.", (b, c, 2 * w)),
        ("rows and columns should lie along the last axis, channels in the middle: (B, C, H + W).", (b, h + w, c)),
        ("stack makes a new axis; put the column means behind the row means, along the axis they lie on.",
         (b, 2, c, h), (b, c, 2, h), (b, c, h, 2), (2, b, c, h)),
        ("you joined along the channels: put the columns behind the rows, along the last axis.", (b, 2 * c, h)),
        ("you joined along the batch: put the columns behind the rows, along the last axis.", (2 * b, c, h)),
        ("you combined each row with each column, or did not pool at all: put the means side by side.", (b, c, h, w)),
        ("every position is still there: pool before you join.", (b, c, h * w)),
        ("you averaged over the channels as well: each channel has its own row and column means.", (b, h + w)),
        ("you averaged over the images as well: each image has its own row and column means.", (c, h + w)),
        ("one number is left per channel and direction: average over one dimension only.", (b, c + c), (b, c, 2)),
        ("you averaged over the wrong dimensions: W goes for the row means, H for the column means.", (b, c + h)),
        ("you averaged over the channels: W goes for the row means, H for the column means.",
         (b, 2 * h, w), (b, h, 2 * w), (b, h, c + w)),
        ("keep the channels apart: (B, C, H + W).", (b, c * (h + w))),
    ):  # fmt: skip
        ideas |= dict.fromkeys(shapes, idea)
    if b == 1:
        ideas[c, h + w] = "the axis of the single image is gone: squeeze() takes every axis of size 1."
    otherwise = f"H + W numbers per channel and image, {shape_of(b, c, h + w)}, are wanted."
    core.expect_shape(result, (b, c, h + w), f"x of shape {shape_of(b, c, h, w)}", ideas, otherwise)


# --------------------------------------------------------------------------------------------------- exercise 2
SIZES = ((32, 4, 3, 6, 6), (48, 4, 2, 5, 7), (40, 2, 2, 7, 4), (64, 16, 2, 3, 8), (32, 4, 2, 1, 3), (32, 4, 1, 1, 1))


@exercise("one gate per row, one per column, from a layer they share: your module is coordinate attention.")
def check_ca(attempt: Callable) -> None:
    """Check exercise 2 of lesson 05: a class ``MyCA(channels, reduction)`` that keeps (B, C, H, W)."""
    for channels, reduction, b, h, w in SIZES:
        module = core.build_module(attempt, channels, reduction, given=f"channels={channels}, reduction={reduction}")
        core.learned(module)
        x = torch.rand(b, channels, h, w) + 0.5  # positive, so that gate = result / x is safe
        _run(module, x)  # before the layers are counted: what stops is the better message
        layers = _Layers(module, channels, reduction)
        layers.shuffle_()
        module.eval()
        result, right = _run(module, x), [x * row * column for row, column in _gates(x, layers)]
        if not any(same(result, one) for one in right):
            named_mistake(result, right[0], _module_mistakes(x, layers))
        _check_gate(module, x, result)
        expect(
            any(same(result, one) for one in right),
            "one gate per row times one per column, as it should be, but from another formula than shared layer → "
            "batch norm → h-swish → a layer per direction → sigmoid: go through it step by step.",
        )
        _check_training(module, x, layers)
        core.expect_learning(module, x, "your layers")


def _run(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    b, c, h, w = x.shape
    odd = "" if h == w else "it works for a square x, but not for every other (rows and columns, H and W?): "
    result = call(module, x, hints=STOPPED, prefix=odd)
    joined = {(b, c, h + w): "H + W numbers per channel are left: split them, and multiply x by both gates."}
    core.expect_scaled(result, x, "coordinate attention weights x, and keeps its shape.", joined)
    return result


class _Layers:
    """The learner's three layers and batch norm, found by their sizes; says what is wrong with them."""

    def __init__(self, module: nn.Module, channels: int, reduction: int):
        hidden = max(8, channels // reduction)
        found = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
        sizes = ", ".join(f"{m.weight.shape[1]} → {m.weight.shape[0]}" for m in found) or "none"
        first = [m for m in found if m.weight.shape[1] == channels and m.weight.shape[0] != channels]
        back = [m for m in found if m.weight.shape[0] == channels]
        core.expect_all(
            (all(getattr(m, "groups", 1) == 1 for m in found), "one of your convolutions has groups: the layers mix "
             "all channels."),
            (all(m.weight[0, 0].numel() == 1 for m in found), "one of your convolutions has a window larger than 1: "
             "rows and columns are not neighbours here, so use kernel size 1."),
            (len(first) != 2, "rows and columns have a first layer each: they share one, applied to all H + W numbers "
             "side by side."),
            (len(first) != 1 or len(back) != 1, "there is one layer back to C for both directions: each direction has "
             "its own."),
            (first or len(back) not in (1, 2), f"your layers go {sizes}: first down to m = max(8, C // r) = {hidden} "
             "channels, shared, and then back."),
            (len(found) == 3 and len(first) == 1 and len(back) == 2, "one shared layer C → m and two layers m → C are "
             f"wanted; yours go {sizes}."),
        )  # fmt: skip
        width, given = first[0].weight.shape[0], f"with channels={channels} and reduction={reduction}"
        norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        core.expect_all(
            (width != channels // reduction or width >= 8, f"{given}, C // r leaves {width} hidden channels; the "
             "recipe keeps at least 8."),
            (width != min(8, channels // reduction) or width == hidden, f"{given} you have {width} hidden channels: m "
             "is the larger of 8 and C // r, not the smaller."),
            (width == hidden, f"{given}, m = max(8, C // r) is {hidden}; your shared layer has {width} channels."),
        )  # fmt: skip
        for m in module.modules():
            other = type(m).__module__.startswith("torch.nn") and "Norm" in type(m).__name__ and m not in norms
            expect(not other, f"that is {type(m).__name__}; the recipe has batch normalisation.")
        widths, bare = [m.num_features for m in norms], [m for m in found if m.bias is None]
        wanted, has = 3 * channels * hidden + 3 * hidden + 2 * channels, sum(p.numel() for p in module.parameters())
        numbers = f"{has:,} parameters instead of 3·C·m + 3·m + 2·C = {wanted:,}"
        core.expect_all(
            (norms, "there is no batch norm: it stands between the shared layer and h-swish, nn.BatchNorm1d(m) or 2d."),
            (len(norms) == 1, f"there are {len(norms)} batch norms: one is enough, right behind the shared layer, for "
             "rows and columns together."),
            (widths == [hidden], f"your batch norm has {widths} channels: it stands right behind the shared layer, "
             f"where there are m = {hidden}."),
            (not bare, f"{len(bare)} of your three layers: no bias, {numbers}. The popular tutorial leaves them out; "
             "the recipe has them."),
            (has == wanted and all(m.running_mean is not None for m in norms), f"your module has {numbers}: is there "
             "more in it than three layers and a batch norm, or has the batch norm no weights of its own?"),
        )  # fmt: skip
        self.reduce, self.expands, self.norm = first[0], back, norms[0]

    @torch.no_grad()
    def shuffle_(self) -> None:
        """Weights far from 0, so that no gate can hide near 0.5, and each idea below leaves a trace."""
        for layer in (self.reduce, *self.expands):
            layer.weight.copy_(torch.randn_like(layer.weight) / layer.weight.shape[1] ** 0.5)
            layer.bias.copy_(torch.randn_like(layer.bias))
        self.norm.weight.copy_(2 * torch.rand_like(self.norm.weight) + 2)
        self.norm.bias.copy_(torch.randn_like(self.norm.bias))
        self.norm.running_mean.copy_(torch.randn_like(self.norm.running_mean))
        self.norm.running_var.copy_(torch.rand_like(self.norm.running_var) + 0.5)

    def normalise(self, values: torch.Tensor, train: bool = False) -> torch.Tensor:
        n = self.norm
        mean, var = n.running_mean, n.running_var
        if train:
            mean, var = values.mean((0, 2)), values.var((0, 2), unbiased=False)
        scale = n.weight / (var + n.eps).sqrt()
        return (values - mean[:, None]) * scale[:, None] + n.bias[:, None]

    @staticmethod
    def times(layer: nn.Module, values: torch.Tensor) -> torch.Tensor:
        weight = layer.weight.detach().flatten(1)
        return torch.einsum("oi,bil->bol", weight, values) + layer.bias.detach()[:, None]


@torch.no_grad()
def _scores(x, layers, activation=F.hardswish, pool=None, train=False, order="norm first"):
    """Before the sigmoids: (rows (B, C, H), columns (B, C, W)) for either order of the two expanding layers."""
    rows, columns = (x.mean(3), x.mean(2)) if pool is None else pool(x)
    hidden = layers.times(layers.reduce, torch.cat([rows, columns], 2))  # (B, m, H + W)
    if order == "norm first":
        hidden = activation(layers.normalise(hidden, train))
    elif order == "activation first":
        hidden = layers.normalise(activation(hidden), train)
    elif order == "no norm":
        hidden = activation(hidden)
    elif order == "apart":
        parts = hidden.split([rows.shape[2], columns.shape[2]], 2)
        hidden = activation(torch.cat([layers.normalise(part, train) for part in parts], 2))
    parts = hidden.split([rows.shape[2], columns.shape[2]], 2)
    for a, b in (layers.expands, layers.expands[::-1]):
        yield layers.times(a, parts[0]), layers.times(b, parts[1])


def _gates(x, layers, **options):
    for rows, columns in _scores(x, layers, **options):
        yield rows.sigmoid()[..., None], columns.sigmoid()[:, :, None]


def _module_mistakes(x: torch.Tensor, layers: _Layers) -> Iterator[tuple[torch.Tensor, str]]:
    b, c, h, w = x.shape
    for rows, columns in _scores(x, layers):
        yield from _mixing_mistakes(x, rows[..., None], columns[:, :, None])
    for activation, idea in (
        (torch.relu, "that is ReLU behind the batch norm, as in the popular tutorial; the recipe has h-swish."),
        (F.silu, "that is swish (SiLU), the smooth original; the recipe has h-swish, F.hardswish."),
        (F.hardsigmoid, "that is h-sigmoid; h-swish is x times it, F.hardswish."),
        (F.relu6, "that is ReLU6; the recipe has h-swish, which is x · ReLU6(x + 3) / 6."),
        (F.gelu, "that is GELU; the recipe has h-swish, F.hardswish."),
        (torch.sigmoid, "a sigmoid stands behind the batch norm: h-swish goes there, the sigmoids to the end."),
        (torch.tanh, "tanh stands behind the batch norm: h-swish goes there."),
        (F.leaky_relu, "that is a leaky ReLU; the recipe has h-swish, F.hardswish."),
        (lambda v: v, "nothing bends between the layers: h-swish goes behind the batch norm."),
        (lambda v: F.hardswish(F.hardswish(v)), "h-swish is applied twice."),
    ):
        for row, column in _gates(x, layers, activation=activation):
            yield x * row * column, idea
    for order, idea in (
        ("activation first", "h-swish comes before the batch norm: first normalise, then h-swish."),
        ("no norm", "your batch norm is built, but forward does not use it."),
    ):
        for row, column in _gates(x, layers, order=order):
            yield x * row * column, idea
    mean = x.mean((2, 3))[..., None]
    for pool, idea in (
        (lambda x: (x.amax(3), x.amax(2)), "you pool by the largest value: take the mean of each row and column."),
        (lambda x: (x.sum(3), x.sum(2)), "you add up rows and columns without dividing: take the mean."),
        (lambda x: (mean.expand(b, c, h), mean.expand(b, c, w)), "every row and column got the mean of the whole "
         "image, which forgets where: pool along one axis only."),
        (lambda x: tuple(v.mean(0, keepdim=True).expand_as(v) for v in (x.mean(3), x.mean(2))), "you averaged over "
         "the batch: each image has gates of its own."),
        (lambda x: (x.reshape(b, c, w, h).mean(2), x.reshape(b, c, w, h).mean(3)), "view and reshape scramble rows "
         "and columns: average along the dimension itself, or use transpose."),
        (lambda x: (x.mean(3), x.reshape(b, c, w, h).mean(3)), "view and reshape scramble rows "
         "and columns: average along the dimension itself, or use transpose."),
    ):  # fmt: skip
        for row, column in _gates(x, layers, pool=pool):
            yield x * row * column, idea


def _mixing_mistakes(x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> list[tuple[torch.Tensor, str]]:
    """From the scores of rows (B, C, H, 1) and columns (B, C, 1, W) on."""
    row, column = rows.sigmoid(), columns.sigmoid()
    added, upside_down = (
        "you added the gates to x: a gate multiplies.",
        "open and closed are turned round: multiply by ",
    )
    upside_down += "the gate, not 1 − gate."
    compete = "your gates come from a softmax, so {} compete for a sum of 1; a sigmoid opens and closes each by itself."
    one_row, one_column = row.mean(2, keepdim=True), column.mean(3, keepdim=True)
    mistakes = [
        (x * (row + column), "you added the two gates: a position counts only if its row *and* its column are open."),
        (x * (row + column) / 2, "you averaged the two gates: a position counts if its row *and* its column are open."),
        (x * torch.maximum(row, column), "you took the larger of the two gates: multiply by both."),
        (x * torch.minimum(row, column), "you took the smaller of the two gates: multiply by both."),
        (x * row, "the column gates are missing: x is multiplied by the row gates only."),
        (x * column, "the row gates are missing: x is multiplied by the column gates only."),
        (x + x * row * column, "you added x once more (a residual): here x is only scaled."),
        (x + row * column, added),
        (x + row + column, added),
        ((row * column).expand_as(x), "you return the gates themselves: multiply x by them."),
        (x * (1 - row) * (1 - column), upside_down),
        (x * (1 - row * column), upside_down),
        (x * one_row * column, "the row gates are averaged to one number: each row has its own."),
        (x * row * one_column, "the column gates are averaged to one number: each has its own."),
        (x * one_row * one_column, "your gates are averaged to one number per channel, as in SE: each row and each "
         "column has its own."),
        (x * row[:1] * column[:1], "every image got the gates of the first one: each has gates of its own."),
        (x * (row * column) ** 2, "the gates are applied twice."),
        (x * row.mean(1, keepdim=True) * column.mean(1, keepdim=True), "your gates are averaged over the channels: "
         "each channel has gates of its own."),
        (x * rows * columns, "there is no sigmoid: your gates can be negative or larger than 1."),
        (x * row * columns, "there is no sigmoid on the column gates."),
        (x * rows * column, "there is no sigmoid on the row gates."),
        (x * (rows * columns).sigmoid(), "a sigmoid of the product: squash each direction first, then multiply."),
        (x * (rows + columns).sigmoid(), "a sigmoid of the sum: squash each direction first, then multiply."),
        (x * rows.softmax(2) * columns.softmax(3), compete.format("rows (and columns)")),
        (x * rows.softmax(1) * columns.softmax(1), compete.format("channels")),
    ]  # fmt: skip
    for squash, idea in (
        (lambda v: v.sigmoid().sigmoid(), "the sigmoid is applied twice."),
        (lambda v: v.relu().sigmoid(), "a ReLU stands before the sigmoids: no gate can go below 0.5. Leave it out."),
        (torch.relu, "a ReLU has no upper end: a sigmoid keeps the gates in (0, 1)."),
        (torch.tanh, "tanh may be negative: a sigmoid keeps the gates in (0, 1)."),
        (lambda v: v.clamp(0, 1), "you cut the gates off at 0 and 1, where no gradient gets through: a sigmoid is "
         "smooth everywhere."),
        (F.hardsigmoid, "that is the hard sigmoid; the recipe has h-swish in the middle and the smooth sigmoid at the "
         "end."),
    ):  # fmt: skip
        mistakes.append((x * squash(rows) * squash(columns), idea))
    if x.shape[2] == x.shape[3]:
        turned = "the gates have changed places: those made from row means are laid along the columns, and the other "
        turned += "way round. For a square x nothing complains. A row's gate belongs at (B, C, H, 1)."
        both = (rows.mT + columns).sigmoid()
        mixed = "you mixed rows and columns after the shared layer: split, and give each direction its own."
        mistakes += [(x * row.mT * column.mT, turned), (x * both * both.mT, mixed)]
    return mistakes


def _check_gate(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    _, c, h, w = x.shape
    gate = result / x
    core.expect_gates(gate)
    core.expect_alone(module, x, result, "pool over H or W only. (This is evaluation mode, without batch statistics.)")
    if h < 2 or w < 2:
        return
    expect(
        not core.even(gate, 2, 3, tolerance=1e-3),
        "all positions of a channel get the same gate, as in SE: pool along one axis at a time, so that the other one "
        "still says where.",
    )
    for axis, name in ((2, "row"), (3, "column")):
        alike = core.even(gate, axis, tolerance=1e-3)
        expect(not alike, f"all {name}s get the same gate: the {name} gates are missing or averaged away.")
    across = gate[:, :, :-1, :-1] * gate[:, :, 1:, 1:] - gate[:, :, :-1, 1:] * gate[:, :, 1:, :-1]
    expect(
        across.abs().max() < 1e-3,
        "within a channel, your gate is not one number per row times one number per column: how do you combine the "
        "two directions?",
    )
    changed = x.clone()
    changed[0, :, 0, 0] += torch.rand(c)
    other = call(module, changed) / changed
    core.expect_all(
        (torch.allclose(other[:, :, 1:, 1:], gate[:, :, 1:, 1:], atol=1e-3), "change the upper left position, and "
         "gates change that belong to other rows and columns: does each row's gate come from that row alone, and each "
         "column's from that column?"),
        (not torch.allclose(other, gate, atol=1e-4), "your gates do not depend on the image: its row and column "
         "means must go through the layers."),
    )  # fmt: skip


def _check_training(module: nn.Module, x: torch.Tensor, layers: _Layers) -> None:
    module.train()
    result = call(module, x, hints=STOPPED)
    right = [x * row * column for row, column in _gates(x, layers, train=True)]
    apart = [x * row * column for row, column in _gates(x, layers, train=True, order="apart")]
    if not any(same(result, one) for one in right):
        expect(
            not any(same(result, one) for one in apart),
            "in training, your batch norm sees rows and columns one after the other: join them first, so that it "
            "normalises all H + W numbers together.",
        )
        raise WrongIdea(
            "right in evaluation mode, but in training mode the result is another one: is the batch norm fed with all "
            "H + W numbers at once, and is there dropout?"
        )
    module.eval()
