"""Exercises of lesson 01: a weighted average, and gates for channels and positions."""

from collections.abc import Callable
from functools import partial
from itertools import permutations

import torch

from . import core, probes
from .core import WrongIdea, call, exercise, expect, same, shape_of
from .steps import MIX, NORMALISE, SCALE, Table, explain

STOPPED = {  # what torch and Python say → what it means in this lesson
    "size mismatch": "In a @ b the last axis of a meets the first one of b: in which of them do the N items stand?",
    "math range error": "exp(1000) overflows. Subtract the largest score first: that changes no weight.",
    "Can't call numpy": "In numpy a gradient is lost: stay with torch's own functions.",
    "not implemented for 'Float'": "& and | work on bits: numbers are multiplied with *.",
    "view size is not compatible": "Take reshape, or index with None, in place of view.",
}
WHOLE: Table = {  # values, scores → average, in place of both steps
    "the softmax stands on scores × values: first weights from the scores alone, then the average.":
        lambda v, s: ((s[:, None] * v).softmax(0) * v).sum(0),
    "your weights come from the values: they should come from the scores.": lambda v, s: (v.softmax(0) * v).sum(0),
    "softmax and scores are on the wrong things: weights are the softmax of the scores, and they weight the values.":
        lambda v, s: s @ v.softmax(0),
    "you take exp of scores × values: first weights from the scores alone, then the average.":
        lambda v, s: (s[:, None] * v).exp().sum(0) / s.exp().sum(),
}  # fmt: skip
SHIFTS = {  # what is subtracted from large scores, in place of the largest
    "with scores as large as 1000 or −1000 your result is not finite: exp overflows, or everything is 0 / 0. "
    "Subtracting the largest score from all of them changes no weight.": lambda s: 0 * s,
    "you subtract the mean of the scores, and exp still overflows: subtract the largest.": lambda s: s.mean(),
    "you subtract the smallest score, and exp overflows: subtract the largest.": lambda s: s.amin(),
    "you subtract the first score, which need not be the largest.": lambda s: s[0],
    "you subtract the last score, which need not be the largest.": lambda s: s[-1],
    "you subtract the largest absolute value: where all scores are negative, every exp is 0. Subtract the largest "
    "score, with its sign.": lambda s: s.abs().amax(),
}  # fmt: skip
LARGE = [[1000, 999, 0], [0, 999, 1000], [-1000, -999, -1002], [0, -1000, -999], [2000, 1999, 0], [90, 89, -20]]


FORMULA = (
    "your weights add up to 1, but do not come from the scores as exp(score) / sum of exp: what happens to the ratio "
    "of two weights when their scores differ by 1?"
)


def averaged(values, scores, normalise=lambda s: s.softmax(0), mix=torch.matmul, whole=None):
    """(N, C), (N,) → (C,)."""
    return whole(values, scores) if whole else mix(normalise(scores), values)


@exercise("your weights add up to 1, follow the scores, and survive large ones: that is softmax attention.")
def check_weighted_average(attempt: Callable) -> None:
    """Check exercise 1 of lesson 01: ``weighted_average(values (N, C), scores (N,)) → (C,)``."""
    for n, channels in ((7, 5), (3, 6), (6, 6), (5, 1), (1, 3)):
        values, scores = torch.randn(n, channels), torch.randn(n)
        result = call(attempt, values, scores, hints=STOPPED)
        one_row = "the axis of the items is still there, with size 1: leave out keepdim, or squeeze that axis."
        ideas = {
            (n, channels): "the items are weighted; now add them up.",
            (n,): "that is one number per item: add up over the items, and keep the channels.",
            (): "a single number is left: add up over the items only, and keep the channels, even a single one.",
            (n, n): "every item met every other: each weight belongs to one item.",
        }
        otherwise = f"one number per channel, {shape_of(channels)}, is wanted: add up over the items."
        given = f"values of shape {shape_of(n, channels)}"
        probes.expect_shape(result, (channels,), given, {(1, channels): one_row} | ideas, otherwise)
        tables = {"normalise": NORMALISE, "mix": MIX, "whole": WHOLE}
        steady = partial(expect_steady, attempt, result, values, scores)
        average = partial(expect_average, attempt, result, values, scores)
        explain(result, averaged, (values, scores), tables, FORMULA, attempt, steady, last=average)
    expect_large_scores(attempt)
    expect_gradients(attempt, averaged, ("the values", "the scores"), torch.randn(5, 3), torch.randn(5))


def expect_steady(attempt: Callable, result: torch.Tensor, *inputs: torch.Tensor) -> None:
    """Finite, and the same in every call."""
    finite = "your result is not finite: is something divided by 0? Subtract the *largest* score, not a fixed number."
    expect(result.isfinite().all(), finite)
    again = [same(call(attempt, *inputs, hints=STOPPED), result) for _ in range(3)]
    expect(
        all(again),
        "two calls with the same input give two results: is there dropout or another source of chance in it?",
    )


def expect_gradients(attempt: Callable, reference: Callable, names: tuple[str, ...], *inputs: torch.Tensor) -> None:
    probes.expect_gradient(attempt, *inputs, names=names, hints=STOPPED)
    probes.expect_same_gradient(attempt, reference, *inputs)
    probes.expect_dtype(attempt, *inputs)


def expect_average(attempt: Callable, result: torch.Tensor, values: torch.Tensor, scores: torch.Tensor) -> None:
    """What every average by weights from the scores obeys."""
    probes.expect_dtype(attempt, values, scores)
    order, run = torch.randperm(len(scores)), partial(call, attempt, hints=STOPPED)
    weights = run(torch.eye(len(scores)), scores)  # values that form the unit matrix give the weights themselves
    total, share = weights.sum(), weights / scores.softmax(0)
    off, sum_is_1 = f"your weights add up to {total.item():.3g}, not to 1", same(total, torch.tensor(1.0))
    right = (share - 1).abs() < 1e-4
    core.expect_all(
        (len(scores) == 1 or not same(run(values, torch.randn_like(scores)), result), "your result does not depend on "
         "the scores: over which axis does your softmax run?"),
        (same(run(values, scores + 30), result), "with the same number added to all scores nothing should change; "
         "yours does: are your weights exp(score) / sum of exp, with the largest score subtracted, no fixed number?"),
        (not 0 < right.sum() < len(right), f"your weights are right for {right.sum()} of {len(right)} items only: "
         "does a loop, a slice or an index leave some out?"),
        (same(run(2 * values, scores), 2 * result), "twice the values should give twice the average: use them as they "
         "are, and keep them out of the weights."),
        (same(run(values[order], scores[order]), result), "shuffle the items, scores and values alike, and the average "
         "should stay; yours changes: does each weight meet its own value, and does every item count?"),
        (sum_is_1 or total == 0 or not same(share, share.mean().expand_as(share)), f"{off}, but they are in the right "
         "proportion: divide each by the sum of them all."),
        ((weights > -1e-6).all(), "some of your weights are negative: a weight says how much of an item to take."),
        (sum_is_1, f"{off}, so the result is no average: what do you divide by?"),
    )  # fmt: skip


def expect_large_scores(attempt: Callable) -> None:
    """Scores of any size, the largest anywhere: nothing overflows, nothing is 0 / 0."""
    values, rows = torch.randn(3, 5), torch.tensor(LARGE, dtype=torch.float)
    result = torch.stack([call(attempt, values, row, hints=STOPPED) for row in rows])
    if same(result, rows.softmax(1) @ values):
        return
    for idea, shift in SHIFTS.items():
        weights = torch.stack([(row - shift(row)).exp() for row in rows])
        mistaken = weights / weights.sum(1, True) @ values
        expect(not torch.allclose(result, mistaken, atol=1e-5, equal_nan=True), idea)
    expect(result.isfinite().all(), next(iter(SHIFTS)))
    raise WrongIdea(
        "scores 1000, 999 and 0 should give the weights 0.731, 0.269 and 0, and so should 0, −1 and −1000; yours "
        "differ: do you cut scores off, or add something to the sum? Subtract the largest score instead."
    )


# --------------------------------------------------------------------------------------------------- exercise 2
def gate_table(name: str, axes: dict[str, tuple[int, ...]]) -> Table:
    """What may go wrong with the gates of one kind, whose axes have these names."""
    table = {
        f"the {name} gates are missing: multiply by both kinds.": torch.ones_like,
        f"a sigmoid stands on the {name} gates: they are gates already, use them as they are.": torch.sigmoid,
        f"open and closed are turned round in the {name} gates: a gate of 1 lets all through.": lambda g: 1 - g,
        f"the {name} gates are applied twice.": torch.square,
        f"you add 1 to the {name} gates: a gate of 0 lets nothing through.": lambda g: 1 + g,
        f"you take exp of the {name} gates: use them as they are.": torch.exp,
        f"a tanh stands on the {name} gates: they are gates already, use them as they are.": torch.tanh,
        f"you round the {name} gates: they may be half open.": torch.round,
        f"every image gets the {name} gates of the first one: each has its own.": lambda g: g[:1].expand_as(g),
        f"you average the {name} gates over the batch: each image has its own.": lambda g: g.mean(0, True).expand_as(g),
        f"you add the {name} gates of all images: each has its own.": lambda g: g.sum(0, True).expand_as(g),
    }  # fmt: skip
    for axis, dim in axes.items():
        table |= {
            f"a softmax over the {axis} stands on the {name} gates: gates do not compete, use them as they are.":
                lambda g, dim=dim: g.exp() / g.exp().sum(dim, True),
            f"you divide the {name} gates by their sum over the {axis}: use them as they are.":
                lambda g, dim=dim: g / g.sum(dim, True),
            f"you add up the {name} gates over the {axis}: each has its own.":
                lambda g, dim=dim: g.sum(dim, True).expand_as(g),
            f"you average the {name} gates over the {axis}: each has its own.":
                lambda g, dim=dim: g.mean(dim, True).expand_as(g),
        }  # fmt: skip
    return table


CHANNELS = gate_table("channel", {"channels": (1,)})
POSITIONS = gate_table("position", {"positions": (1, 2), "rows": (1,), "columns": (2,)}) | {
    "reshape or view turns rows into columns in your position gates: it relabels numbers where they lie.":
        lambda p: p.mT.reshape(p.shape),
}  # fmt: skip
MEET: Table = {  # (B, C, 1, 1), (B, 1, H, W) → (B, C, H, W), in place of their product
    "you add where two gates meet: a closed channel stays closed at an open position. Multiply.": torch.add,
    "you average the two gates: multiply by both.": lambda c, p: (c + p) / 2,
    "the larger of the two gates wins: multiply by both.": torch.maximum,
    "the smaller of the two gates wins: multiply by both.": torch.minimum,
    "you take the root of the two gates' product: leave it as it is.": lambda c, p: (c * p).sqrt(),
    "one open gate is enough with your formula: multiply by both.": lambda c, p: c + p - c * p,
    "a gate that is half open counts as open or closed: use it as it is.": lambda c, p: (c * p > 0.5).to(c),
    "one gate is the other's exponent: multiply by both.": lambda c, p: c**p,
    "a sigmoid stands on the gates' product: they are gates already.": lambda c, p: (c * p).sigmoid(),
    "a sigmoid stands on the gates' sum: they are gates already, multiply them.": lambda c, p: (c + p).sigmoid(),
    "a softmax stands on the gates' product: gates do not compete.": lambda c, p: (c * p).exp() / (
        (c * p).exp().sum((1, 2, 3), True)),
}  # fmt: skip
APPLY = SCALE | {  # x, gate → result
    "you set negative results to 0: a gate scales, and keeps the sign.": lambda x, g: (x * g).relu(),
    "you take absolute values of x: a gate scales, and keeps the sign.": lambda x, g: x.abs() * g,
    "a sigmoid stands on x: multiply x itself.": lambda x, g: x.sigmoid() * g,
    "a sigmoid stands on the result: leave it out.": lambda x, g: (x * g).sigmoid(),
    "half of it is left; ** 1/2 halves, too: the result is x times both gates.": lambda x, g: x * g / 2,
    "you double the result: it is x times both gates.": lambda x, g: x * g * 2,
    "a softmax over the channels stands on the result: leave it out.": lambda x, g: (x * g).softmax(1),
}


AXES = "images", "channels", "rows", "columns"


def laid(gate: torch.Tensor, *axes: int) -> torch.Tensor:
    """Its axes become these of four, and the others get size 1."""
    return gate[(...,) + (None,) * (4 - len(axes))].movedim(tuple(range(len(axes))), axes)


def laid_wrong(name: str, right: tuple[int, ...], wanted: str) -> Table:
    """Gates on other axes, which runs where sizes are equal."""
    return {
        f"where sizes are equal, your {name} gates lie along {', '.join(AXES[a] for a in axes)}: they must become "
        f"{wanted} before you multiply.": lambda g, axes=axes: laid(g, *axes)
        for axes in permutations(range(4), len(right))
        if axes != right
    }


def gated(
    x, channel, position, channels=lambda c: c, positions=lambda p: p, lay_channels=lambda c: laid(c, 0, 1),
    lay_positions=lambda p: laid(p, 0, 2, 3), meet=torch.mul, apply=torch.mul,
):  # fmt: skip
    """(B, C, H, W), (B, C), (B, H, W) → (B, C, H, W)."""
    return apply(x, meet(lay_channels(channels(channel)), lay_positions(positions(position))))


TABLES = {
    "lay_channels": laid_wrong("channel", (0, 1), "(B, C, 1, 1)"),
    "lay_positions": laid_wrong("position", (0, 2, 3), "(B, 1, H, W)"),
    **{"channels": CHANNELS, "positions": POSITIONS, "meet": MEET, "apply": APPLY},
}


@exercise("every number is multiplied by its channel's gate and its position's gate, image by image.")
def check_apply_gates(attempt: Callable) -> None:
    """Check exercise 2 of lesson 01: ``apply_gates(x (B, C, H, W), channel (B, C), position (B, H, W))``."""
    for b, c, h, w in ((3, 6, 5, 7), (5, 5, 5, 5), (1, 6, 3, 7), (6, 3, 5, 5), (3, 1, 5, 1)):
        inputs = torch.randn(b, c, h, w), 0.1 + 0.8 * torch.rand(b, c), 0.1 + 0.8 * torch.rand(b, h, w)
        result = call(attempt, *inputs, hints=STOPPED)
        swapped = {(c, b, h, w): "images and channels have changed places.", (b, c, w, h): "rows and columns have "
                   "changed places."}  # fmt: skip
        lost = "a gate changes how large a number is, never how many there are."
        probes.expect_shape(result, (b, c, h, w), f"x of shape {shape_of(b, c, h, w)}", swapped, lost)
        plain = "each gate lands where it should, but the numbers differ: multiply x by both gates, and nothing else."
        steady, closed = (
            partial(expect_steady, attempt, result, *inputs),
            partial(expect_gated, attempt, result, *inputs),
        )
        explain(result, gated, inputs, TABLES, plain, attempt, steady, last=closed)
    expect_gradients(attempt, gated, ("x", "the channel gates", "the position gates"), *inputs)


def expect_gated(attempt: Callable, result: torch.Tensor, x: torch.Tensor, *gates: torch.Tensor) -> None:
    """Part of it may be right; where x or the gates are 0 or 1, it must be."""
    probes.expect_dtype(attempt, x, *gates)
    right = (result - gated(x, *gates)).abs() < 1e-5
    for axis, name in enumerate(AXES):
        every = right.transpose(0, axis).flatten(1).all(1)
        expect(
            not every.any(),
            f"your result is right for {every.sum()} of {len(every)} {name} only: does a loop or an index leave some "
            "out, or take the wrong gate?",
        )
    open_channel, open_position = (torch.ones_like(gate) for gate in gates)
    channel, position = open_channel.clone(), open_position.clone()
    channel[0, -1], position[0, 0, -1] = 0, 0
    for inputs, idea in (
        ((0 * x, *gates), "where x is 0 your result is not: gates multiply x, and are not added."),
        ((x, open_channel, open_position), "with every gate at 1 your result should be x, and is not: an open gate "
         "changes nothing. Is anything but the two gates applied to x, or does a reshape mix axes?"),
        ((x, open_channel / 2, open_position / 2), "with every gate at 1/2 a quarter of x should come through: use the "
         "gates as they are."),
        ((x, 0 * gates[0], 0 * gates[1]), "with every gate at 0 something comes through: multiply x by both gates."),
        ((x, channel, open_position), "closing one channel of the first image should silence that channel, at every "
         "position, in that image alone: what shape must (B, C) take to meet (B, C, H, W)?"),
        ((x, open_channel, position), "closing one position (first row, last column) of the first image should silence "
         "that position, in every channel, in that image alone: what shape must (B, H, W) take?"),
    ):  # fmt: skip
        expect(same(call(attempt, *inputs, hints=STOPPED), gated(*inputs)), idea)
