"""Exercises of lesson 01: a weighted average, and gates for channels and positions."""

from collections.abc import Callable
from functools import partial

import torch

from . import probes
from .core import WrongIdea, call, exercise, expect, same, shape_of
from .slips import slips
from .steps import explain
from .steps_weights import AVERAGE, AVERAGE_VALUES, AXES, GATED, GATED_VALUES, averaged, gated


def expect_gradients(attempt: Callable, reference: Callable, names: tuple[str, ...], *inputs: torch.Tensor) -> None:
    probes.expect_gradient(attempt, *inputs, names=names)
    probes.expect_same_gradient(attempt, reference, *inputs)
    probes.expect_dtype(attempt, *inputs)


# --------------------------------------------------------------------------------------------------- exercise 1
SHAPES = {  # N items, C channels
    "1C": "the axis of the items is still there, with size 1: leave out keepdim, or squeeze that axis.",
    "NC": "the items are weighted; now add them up.",
    "N": "that is one number per item: add up over the items, and keep the channels.",
    "NN": "every item met every other: each weight belongs to one item.",
}
SHIFTS = {  # what is subtracted from large scores, in place of the largest
    "with scores as large as 1000 or −1000 your result is not finite: exp overflows, or everything is 0 / 0. "
    "Subtracting the largest score from all of them changes no weight.": lambda s: 0 * s,
    "you subtract the mean of the scores, and exp still overflows: subtract the largest.": lambda s: s.mean(),
    "you subtract the smallest score, and exp overflows: subtract the largest.": lambda s: s.amin(),
    "you subtract the first score, which need not be the largest.": lambda s: s[0],
    "you subtract the largest absolute value: where all scores are negative, every exp is 0. Subtract the largest "
    "score, with its sign.": lambda s: s.abs().amax(),
}  # fmt: skip
LARGE = [[1000, 999, 0], [0, 999, 1000], [-1000, -999, -1002], [0, -1000, -999], [2000, 1999, 0], [90, 89, -20]]


@exercise("your weights add up to 1, follow the scores, and survive large ones: that is softmax attention.")
def check_weighted_average(attempt: Callable) -> None:
    """Check exercise 1 of lesson 01: ``weighted_average(values (N, C), scores (N,)) → (C,)``."""
    for n, channels in ((7, 5), (3, 6), (6, 6), (5, 1), (1, 3)):
        inputs = torch.randn(n, channels), torch.randn(n)
        result = call(attempt, *inputs, hints=probes.meetings({"items": n, "channels": channels}))
        ideas = probes.by_letter(SHAPES, N=n, C=channels)
        ideas[()] = "a single number is left: add up over the items only, and keep the channels, even a single one."
        otherwise = f"one number per channel, {shape_of(channels)}, is wanted: add up over the items."
        probes.expect_shape(result, (channels,), f"values of shape {shape_of(n, channels)}", ideas, otherwise)
        finite = "your result is not finite: is something divided by 0? Subtract the *largest* score, no fixed number."
        expect(result.isfinite().all(), finite)
        formula = "your weights add up to 1, but do not come from the scores as exp(score) / sum of exp: what happens "
        formula += "to the ratio of two weights when their scores differ by 1?"
        again = partial(probes.expect_same_again, attempt, result, *inputs)
        average = partial(expect_average, attempt, *inputs)
        explain(result, averaged, inputs, AVERAGE, formula, attempt, again, AVERAGE_VALUES, last=average)
    expect_large_scores(attempt)
    expect_gradients(attempt, averaged, ("the values", "the scores"), torch.randn(5, 3), torch.randn(5))


def expect_average(attempt: Callable, values: torch.Tensor, scores: torch.Tensor) -> None:
    probes.expect_dtype(attempt, values, scores)
    weights = call(attempt, torch.eye(len(scores)), scores)  # values that form the unit matrix give the weights
    total, none = weights.sum(), (weights == 0).sum()
    expect(none == 0, f"{none} of {len(scores)} items get no weight: does a loop, a slice or an index leave them out?")
    off = f"your weights add up to {total.item():.3g}, not to 1, so the result is no average: what do you divide by?"
    expect(same(total, torch.tensor(1.0)), off)


def expect_large_scores(attempt: Callable) -> None:
    """Scores of any size, the largest anywhere: nothing overflows, nothing is 0 / 0."""
    values, rows = torch.randn(3, 5), torch.tensor(LARGE, dtype=torch.float)
    result = torch.stack([call(attempt, values, row) for row in rows])
    if same(result, rows.softmax(1) @ values):
        return
    cut = "scores of 1000 and 999 get the same weight: you cut scores off at a limit. Subtract the largest instead."
    expect(not same(result[0], values[:2].mean(0)), cut)
    for idea, shift in SHIFTS.items():
        weights = torch.stack([(row - shift(row)).exp() for row in rows])
        mistaken = weights / weights.sum(1, True) @ values
        expect(not torch.allclose(result, mistaken, atol=1e-5, equal_nan=True), idea)
    expect(result.isfinite().all(), next(iter(SHIFTS)))
    raise WrongIdea(
        "scores 1000, 999 and 0 should give the weights 0.731, 0.269 and 0, and so should 0, −1 and −1000; yours "
        "differ: do you add something to the sum, or cut scores off? Subtract the largest score instead."
    )


# --------------------------------------------------------------------------------------------------- exercise 2
@exercise("every number is multiplied by its channel's gate and its position's gate, image by image.")
def check_apply_gates(attempt: Callable) -> None:
    """Check exercise 2 of lesson 01: ``apply_gates(x (B, C, H, W), channel (B, C), position (B, H, W))``."""
    for sizes in ((5, 5, 5, 5), (3, 6, 5, 7), (1, 6, 3, 7), (6, 3, 5, 5), (3, 1, 5, 1)):  # first where gates fit anyhow
        b, c, h, w = sizes
        inputs = torch.randn(sizes), 0.1 + 0.8 * torch.rand(b, c), 0.1 + 0.8 * torch.rand(b, h, w)
        result = call(attempt, *inputs, hints=probes.meetings(dict(zip(AXES, sizes, strict=True))))
        lost = "a gate changes how large a number is, never how many there are."
        probes.expect_shape(result, sizes, f"x of shape {shape_of(*sizes)}", {}, lost)
        plain = "each gate lands where it should, but the numbers differ: multiply x by both gates, and nothing else."
        again, closed = (partial(f, attempt, result, *inputs) for f in (probes.expect_same_again, expect_gated))
        both = {step: GATED[step] | slips(GATED_VALUES[step]) for step in ("channels", "positions")}  # a slip in each
        explain(result, gated, inputs, GATED | both, plain, attempt, again, GATED_VALUES, last=closed)
    expect_gradients(attempt, gated, ("x", "the channel gates", "the position gates"), *inputs)


def expect_gated(attempt: Callable, result: torch.Tensor, x: torch.Tensor, *gates: torch.Tensor) -> None:
    """Part of it may be right; where x is 0 or gates are closed, it must be."""
    probes.expect_dtype(attempt, x, *gates)
    probes.expect_whole((result - gated(x, *gates)).abs() < 1e-5, *AXES)
    channel, position = (torch.ones_like(gate) for gate in gates)
    one_channel, one_position = channel.clone(), position.clone()
    one_channel[0, -1], one_position[0, 0, -1] = 0, 0
    for inputs, idea in (
        ((0 * x, *gates), "where x is 0 your result is not: gates multiply x, and are not added."),
        ((x, one_channel, position), "closing one channel of the first image should silence that channel, at every "
         "position, in that image alone: what shape must (B, C) take to meet (B, C, H, W)?"),
        ((x, channel, one_position), "closing one position (first row, last column) of the first image should silence "
         "that position, in every channel, in that image alone: what shape must (B, H, W) take?"),
    ):  # fmt: skip
        expect(same(call(attempt, *inputs), gated(*inputs)), idea)
