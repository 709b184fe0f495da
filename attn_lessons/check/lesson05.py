"""Exercises of lesson 05: pooling along one axis at a time, and the whole coordinate attention module."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from . import core, probes
from .core import call, exercise, expect, expect_all, same, shape_of
from .steps import explain
from .steps_lines import JOIN, ORDER, POOL, STEPS, ca, pooled

STOPPED = {  # what torch says → what it means in this lesson
    "Sizes of tensors must match": "Tensors can be joined along an axis only if all other axes agree: the H row means "
    "and the W column means should lie along one and the same axis.",
    "stack expects each tensor": "stack makes a new axis and wants equal sizes: join along the axis they lie on.",
    "channels instead": "A convolution reads its channels from axis 1: Conv1d takes (B, C, n), Conv2d (B, C, n, 1).",
    "running_mean should contain": "Batch norm reads its channels from axis 1: (B, m, H + W).",
}
SHAPES = {  # what is left of (B, C, H, W), where S = H + W, P = H·W, h = 2H, and so on → what is wrong
    "BC BC11": "one number is left of each channel, SE's squeeze: pool along one axis at a time.",
    "BCH BCW BCH1 BC1W": "only one direction is there: H row means and W column means are wanted.",
    "BCS1 BC1S B1CS": "the numbers may be right, but an axis of size 1 is left over.",
    "BCh BCw": "you have one kind of means twice: row means first, then column means.",
    "BSC": "rows and columns should lie along the last axis, channels in the middle: (B, C, H + W).",
    "BCHW BCP": "every position is still there: pool, and put the means side by side.",
    "BS BHw BhW": "the axis of the channels is gone: W should go for row means, H for column means.",
    "CS": "the axis of the images is gone: each has means of its own. (squeeze() takes every axis of size 1.)",
}
POOLED = {"join": JOIN, "pool": POOL}
POOL_VALUES = {"enter": "x, BCHW", "rows": "the row means, BCH", "columns": "the column means, BCW",
               "join": "the means, BCN"}  # fmt: skip
VALUES = {"enter": "x, B", "join": "the means, BCN", "order": "the hidden units, B", "scores": "the scores, B",
          "gates": "the gates, BCHW", "scale": "the result, B"}  # fmt: skip
FORMULA = "your gates come from another formula than the recipe's: go through its steps one by one."
TRAINING = "right in evaluation mode, but not in training: does the batch norm get all H + W numbers at once?"


@exercise("H row means, then W column means: each of them still shows where it comes from.")
def check_pool_both(attempt: Callable) -> None:
    """Check exercise 1 of lesson 05: ``pool_both(x (B, C, H, W)) → (B, C, H + W)``."""
    x = torch.randn(3, 6, 5, 5)
    added = same(call(attempt, x, hints=STOPPED), x.mean(3) + x.mean(2))
    expect(not added, "you added row means and column means to each other: put them side by side instead.")
    for b, c, h, w in ((3, 6, 5, 7), (5, 3, 9, 4), (3, 6, 5, 5), (1, 6, 1, 3), (1, 5, 3, 1)):
        x = torch.randn(b, c, h, w)
        result = call(attempt, x, hints=STOPPED, prefix="it works for a square image, but not for every other: ")
        ideas = probes.by_letter(SHAPES, B=b, C=c, H=h, W=w, S=h + w, P=h * w, h=2 * h, w=2 * w)
        otherwise = f"H + W numbers per channel and image, {shape_of(b, c, h + w)}, are wanted."
        probes.expect_shape(result, (b, c, h + w), f"x of shape {shape_of(b, c, h, w)}", ideas, otherwise)
        plain = "each number is the plain mean of one row or of one column, and yours are not."
        explain(result, pooled, (x,), POOLED, plain, attempt, values=POOL_VALUES, last=partial(expect_means, x, result))
    probes.expect_same_gradient(attempt, pooled, torch.randn(3, 2, 5, 6))
    probes.expect_dtype(attempt, x)


def expect_means(x: torch.Tensor, result: torch.Tensor) -> None:
    probes.expect_whole(torch.isclose(result.double(), pooled(x).double(), atol=1e-5), "images", "channels", "means")
    sizes = x.shape[2:]
    for name, yours, right in zip(("row", "column"), result.split(sizes, 2), pooled(x).split(sizes, 2), strict=True):
        probes.expect_no_multiple(yours, right, f"your {name} means are")


@exercise("one gate per row, one per column, from a layer they share: your module is coordinate attention.")
def check_ca(attempt: Callable) -> None:
    """Check exercise 2 of lesson 05: a class ``MyCA(channels, reduction)`` that keeps (B, C, H, W)."""
    for c, r, b, h, w in ((45, 4, 3, 6, 6), (45, 4, 3, 5, 7), (59, 5, 5, 9, 3), (20, 6, 3, 1, 5), (3, 1, 1, 1, 1)):
        module = core.build_module(attempt, c, r, given=f"channels={c}, reduction={r}")
        x = probes.away_from_zero(b, c, h, w)
        core.learned(module)
        run(module, x)  # before the layers are counted: what stops is the better message
        layers = fill(find(module, c, r), module.eval(), c)
        for train, steps, otherwise in ((False, STEPS, FORMULA), (True, {"order": ORDER}, TRAINING)):
            result, tested = run(module.train(train), x), partial(ca, layers=layers, train=train)
            probes.expect_same_again(module, result, x)
            last = partial(properties, module, x, result)
            explain(result, tested, (x,), steps, otherwise, attempt, values=VALUES, last=last)
        probes.expect_faithful(module.eval(), partial(ca, layers=layers), x, what="your layers")


def run(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    b, c, h, w = x.shape
    odd = "" if h == w else "it works for a square x, but not for every other (rows and columns, H and W?): "
    half = {f"({(h + w) // 2})": "Half of H + W is neither H nor W: split where the rows end."} if odd else {}
    hints = half | STOPPED | probes.meetings({"H rows": h, "W columns": w, "all H + W numbers": h + w})
    result = call(module, x, hints=hints, prefix=odd)
    joined = "H + W numbers per channel are left: split them, and multiply x by both gates."
    probes.expect_scaled(result, x, "coordinate attention keeps the shape of x.", {(b, c, h + w): joined})
    return result


def find(module: nn.Module, c: int, r: int) -> tuple:
    """Shared layer, the two layers back, batch norm, by their sizes; says what is wrong with them."""
    m, kinds = max(8, c // r), (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
    norms = [layer for layer in module.modules() if isinstance(layer, kinds)]
    rest = [p for p in module.parameters() if not any(p is own for norm in norms for own in norm.parameters())]
    plain = all(getattr(layer, "groups", 1) == 1 for layer in module.modules())
    weights, biases = [[p for p in rest if (p.squeeze().dim() > 1) == many] for many in (True, False)]
    back, down = [[p for p in weights if (p.squeeze().shape[0] == c) == end] for end in (True, False)]
    ends, starts = [[p for p in biases if p.numel() == size] for size in (c, m)]
    if len(back) == 1 and len(ends) == 2:  # bare parameters, used as s @ W
        down, back = back, down
    width = down[0].numel() // c if down else 0
    batch = len(norms) == 1 and isinstance(norms[0], nn.modules.batchnorm._BatchNorm) and norms[0].num_features == m
    has, wanted = sum(p.numel() for p in module.parameters()), 3 * c * m + 3 * m + 2 * c
    numbers = f"{has:,} parameters instead of 3·C·m + 3·m + 2·C = {wanted:,}"
    expect_all(
        (plain and all(p.squeeze().dim() == 2 for p in weights), "a convolution has groups, or a window "
         "larger than 1: it should mix all channels of one position."),
        (len(down) != 2, "rows and columns have a first layer each: they share one, applied to all H + W numbers."),
        (len(down) != 1 or len(back) != 1, "there is one layer back to C for both: each direction has its own."),
        (len(down) == 1 and len(back) == 2, f"one shared layer from {c} to m = max(8, C // r) = {m} channels and two "
         f"layers back are wanted; yours: {', '.join(shape_of(*p.shape) for p in weights) or 'none'} "
         "(without those in a list, or made in forward)."),
        (width == m, f"with channels={c}, reduction={r}, m = max(8, C // r) is {m}, yours is {width}."),
        (batch and norms[0].affine and norms[0].running_mean is not None, f"one batch norm over m = {m} channels, with "
         "weights and running statistics, goes between the shared layer and h-swish; yours: "
         f"{', '.join(map(str, norms)) or 'none'}."),
        (len(biases) >= 3, f"biases in your three layers: {len(biases)} instead of 3 ({numbers}). The popular tutorial "
         "leaves them out; the recipe has them."),
        (has == wanted and len(starts) == 1, f"your module has {numbers}: is there more in it?"),
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


def properties(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    probes.expect_gates(result / x)
    if not module.training:
        probes.expect_alone(module, x, result, "pool over H or W only.")
