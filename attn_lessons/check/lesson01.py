"""Exercises of lesson 01: a weighted average, and gates for channels and positions."""

from __future__ import annotations

from collections.abc import Callable

import torch

from . import core
from .core import call, exercise, expect, named_mistake, same, shape_of


def soft_average(values: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """The reference of exercise 1: (N, C), (N,) → (C,)."""
    return scores.softmax(0) @ values


@exercise("your weights add up to 1, follow the scores, and survive large ones: that is softmax attention.")
def check_weighted_average(attempt: Callable) -> None:
    """Check exercise 1 of lesson 01: ``weighted_average(values (N, C), scores (N,)) → (C,)``."""
    for n, channels in ((5, 3), (7, 2), (4, 4)):
        values, scores = torch.randn(n, channels), torch.randn(n)
        result = call(attempt, values, scores)
        _check_shape(result, n, channels)
        expect(
            result.isfinite().all(),
            "your result is not finite: is something divided by 0? Subtract the *largest* score, not a fixed number.",
        )
        expect(
            same(call(attempt, 2 * values, scores), 2 * result),
            "twice the values should give twice the average: weight them as they are, without softmax or rounding.",
        )
        _check_weights(attempt, scores)
        expect(
            same(result, soft_average(values, scores)),
            "your weights are positive and add up to 1, but do not come from the scores as exp(score) / sum of exp: "
            "what happens to the ratio of two weights when their scores differ by 1?",
        )
    values, scores = torch.randn(3, 2), torch.tensor([1000.0, 999.0, 0.0])
    result = call(attempt, values, scores)
    expect(
        result.isfinite().all(),
        "with scores as large as 1000 your result is not finite: exp(1000) overflows. Subtracting the largest score "
        "from all of them changes no weight.",
    )
    expect(
        same(result, soft_average(values, scores)),
        "scores 1000, 999 and 0 should give the weights 0.731, 0.269 and 0; yours differ: did you cut scores off? "
        "Subtract the largest instead.",
    )
    core.expect_gradient(attempt, torch.randn(4, 3), torch.randn(4), names=("the values", "the scores"))


def _check_shape(result: torch.Tensor, n: int, channels: int) -> None:
    core.expect_all(
        (result.shape != (n, channels) or n == channels == 1, f"your result still has one row per item, "
         f"{shape_of(n, channels)}: you weighted the items; now add them up."),
        (result.dim() > 0, "your result is a single number: add up over the items only, and keep the channels."),
        (result.shape == (channels,), f"for values {shape_of(n, channels)} your result has shape "
         f"{shape_of(*result.shape)}; one number per channel, {shape_of(channels)}, is wanted: add up over the items."),
    )  # fmt: skip


def _check_weights(attempt: Callable, scores: torch.Tensor) -> None:
    # Values that form the unit matrix give the weights themselves: one channel per item.
    n = len(scores)
    weights = call(attempt, torch.eye(n), scores)
    expect(
        not same(weights, torch.full((n,), 1 / n)), "your result does not depend on the scores: it is the plain mean."
    )
    hard = torch.nn.functional.one_hot(scores.argmax(), n).float()
    mistakes = [
        (scores, "you used the scores themselves as weights: they can be negative, and they do not add up to 1."),
        (scores.sigmoid(), "your weights are sigmoid gates: each lies in (0, 1), but they do not add up to 1."),
        (scores.exp(), "you took exp of the scores, but did not divide by the sum: the weights must add up to 1."),
        (scores / scores.sum(), "you divided the scores by their sum: they add up to 1, but some are negative, and a "
         "sum near 0 explodes. Make them positive first."),
        (hard, "your selection is hard: all the weight is on the best item. Soft selection leaves some for others."),
        (scores.softmax(0) / n, "you divided by the number of items as well: the softmax weights already add up to 1."),
        ((-scores).softmax(0), "the sign is turned round: the highest score gets the smallest weight."),
    ]  # fmt: skip
    named_mistake(weights, scores.softmax(0), mistakes)
    share = weights / scores.softmax(0)
    expect(
        same(weights.sum(), torch.tensor(1.0)) or not same(share, share.mean().expand(n)),
        f"your weights are in the right proportion, but add up to {weights.sum().item():.3g}: divide each by "
        "the sum of them all.",
    )
    expect((weights > -1e-6).all(), "some of your weights are negative: a weight says how much of an item to take.")
    expect(
        same(weights.sum(), torch.tensor(1.0)),
        f"your weights add up to {weights.sum().item():.3g}, not to 1: so the result is no average. "
        "Which dimension does your softmax or sum run over?",
    )


def gated(x: torch.Tensor, channel: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """The reference of exercise 2: (B, C, H, W), (B, C), (B, H, W) → (B, C, H, W)."""
    return x * channel[:, :, None, None] * position[:, None]


@exercise("every number is multiplied by its channel's gate and its position's gate, image by image.")
def check_apply_gates(attempt: Callable) -> None:
    """Check exercise 2 of lesson 01: ``apply_gates(x (B, C, H, W), channel (B, C), position (B, H, W))``."""
    for shape in ((2, 3, 4, 5), (3, 3, 3, 3), (1, 6, 2, 7)):
        b, c, h, w = shape
        x, channel, position = torch.randn(shape), torch.rand(b, c), torch.rand(b, h, w)
        result = call(attempt, x, channel, position)
        expect(
            result.shape == x.shape,
            f"for x of shape {shape_of(*shape)} your result has shape {shape_of(*result.shape)}: a gate changes "
            "how loud a number is, never how many there are.",
        )
        c4, p4 = channel[:, :, None, None], position[:, None]
        right = gated(x, channel, position)
        no_sigmoid = "these are gates already, between 0 and 1: no sigmoid is needed."
        mistakes = [
            (x * c4, "only the channel gates are applied: the position gates are missing."),
            (x * p4, "only the position gates are applied: the channel gates are missing."),
            (x * (c4 + p4), "you added where two gates meet: a closed channel stays closed at an open position."),
            (x + c4 + p4, "you added the gates to x: a gate multiplies."),
            (x * torch.maximum(c4, p4), "the larger of the two gates won: multiply by both."),
            (x * torch.minimum(c4, p4), "the smaller of the two gates won: multiply by both."),
            (x + right, "you added x once more: with all gates at 0 nothing may come through."),
            (x * (c4 * p4).sigmoid(), no_sigmoid),
            (x * c4.sigmoid() * p4.sigmoid(), no_sigmoid),
            (x * (c4 * p4).flatten(1).softmax(1).view_as(c4 * p4), "gates are not normalised: leave out the softmax."),
            (x * c4.mean(0) * p4.mean(0), "you averaged the gates over the batch: every image has its own."),
        ]
        if b == c == h == w:  # where all sizes agree, a wrong unsqueeze runs, and weights the wrong thing
            mistakes += [
                (x * channel * position, "where all sizes are equal your gates land on the wrong axes: channel must "
                 "become (B, C, 1, 1) and position (B, 1, H, W) before you multiply."),
                (x * c4 * position.transpose(1, 2)[:, None], "height and width are swapped in your position gates."),
            ]  # fmt: skip
        named_mistake(result, right, mistakes)
        _check_one_closed(attempt, x)
        expect(
            same(result, right),
            "each gate lands where it should, but the numbers differ: multiply x by both gates, and nothing else.",
        )


def _check_one_closed(attempt: Callable, x: torch.Tensor) -> None:
    """Close one gate, all others open: exactly its numbers must become 0."""
    b, c, h, w = x.shape
    channel, position = torch.ones(b, c), torch.ones(b, h, w)
    expect(
        same(call(attempt, x, channel, position), x),
        "with every gate at 1 your result is not x: an open gate lets everything through as it is.",
    )
    channel[0, c - 1] = 0
    closed = call(attempt, x, channel, position)
    expect(
        same(closed, gated(x, channel, position)),
        "closing one channel of the first image should silence that channel, at every position, in that image alone: "
        "what shape must (B, C) take to meet (B, C, H, W)?",
    )
    channel[0, c - 1], position[0, 0, w - 1] = 1, 0
    expect(
        same(call(attempt, x, channel, position), gated(x, channel, position)),
        "closing one position (first row, last column) of the first image should silence that position, in every "
        "channel, in that image alone: what shape must (B, H, W) take to meet (B, C, H, W)?",
    )
