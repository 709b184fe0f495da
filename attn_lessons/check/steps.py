"""What people write in place of a step, and what to tell them: one table per step, for all exercises that have it.

A mechanism is a pipeline of steps. An exercise has a reference whose steps can be exchanged by name; `explain` looks
for the wrong step, or the two wrong steps, that turn the reference into the learner's result.
"""

from collections.abc import Callable
from itertools import combinations

import torch
import torch.nn.functional as F

from .core import WrongIdea, expect, same
from .source import reading

Table = dict[str, Callable]

SQUEEZE: Table = {  # (B, C, H, W) → (B, C), in place of the mean over H and W
    "you add up without dividing by H·W: take the mean.": lambda x: x.sum((2, 3)),
    "you take the largest value: take the mean.": lambda x: x.amax((2, 3)),
    "you take the smallest value: take the mean.": lambda x: x.amin((2, 3)),
    "you take the median: take the mean.": lambda x: x.flatten(2).median(2).values,
    "you take absolute values first: signs should stay.": lambda x: x.abs().mean((2, 3)),
    "you take the mean of the squares: leave the values as they are.": lambda x: x.square().mean((2, 3)),
    "you take the root of the mean square: take the mean.": lambda x: x.square().mean((2, 3)).sqrt(),
    "you set negative values to 0 first: leave them as they are.": lambda x: x.relu().mean((2, 3)),
    "you take the standard deviation: take the mean.": lambda x: x.std((2, 3), correction=0),
    "you take the value at one corner: every position should count.": lambda x: x[:, :, 0, 0],
    "you take the value in the middle: every position should count.": lambda x: x[
        :, :, x.shape[2] // 2, x.shape[3] // 2
    ],
    "reshape mixes channels: average over H and W themselves.": lambda x: x.reshape(len(x), -1, x.shape[1]).mean(1),
    "you average over the batch as well: each image has its own.": lambda x: x.mean((0, 2, 3)).expand(len(x), -1),
    "you average over the channels as well: each has a number of its own.": lambda x: x.mean((1, 2, 3))[:, None].expand(
        -1, x.shape[1]
    ),
    "you add mean and maximum, as CBAM does: the mean alone is wanted.": lambda x: x.mean((2, 3)) + x.amax((2, 3)),
    "you divide the means by their length: leave them as they are.": lambda x: F.normalize(x.mean((2, 3)), dim=1),
    "you subtract the mean over the channels: give the plain means.": lambda x: (
        x.mean((2, 3)) - x.mean((1, 2, 3))[:, None]
    ),
}
BETWEEN: Table = {  # between two layers, in place of ReLU
    "there is no ReLU between the two layers: two linear layers in a row are a single one.": lambda v: v,
    "a sigmoid stands between the two layers: ReLU goes there.": torch.sigmoid,
    "a tanh stands between the two layers: ReLU goes there.": torch.tanh,
    "that is ReLU6, which stops at 6: plain ReLU goes between the layers.": F.relu6,
    "GELU stands between the two layers: ReLU goes there.": F.gelu,
    "SiLU stands between the two layers: ReLU goes there.": F.silu,
    "a leaky ReLU stands between the two layers: plain ReLU goes there.": F.leaky_relu,
    "h-swish stands between the two layers: ReLU goes there.": F.hardswish,
    "ELU stands between the two layers: ReLU goes there.": F.elu,
    "softplus stands between the two layers: ReLU goes there.": F.softplus,
    "a softmax stands between the two layers: ReLU goes there.": lambda v: v.softmax(1),
    "you take absolute values between the two layers: ReLU goes there.": torch.abs,
}
GATE: Table = {  # scores → gates, in place of the sigmoid
    "there is no sigmoid at the end: your gates can be negative or larger than 1.": lambda v: v,
    "your gates come from a ReLU and have no upper end: a sigmoid keeps them in (0, 1).": torch.relu,
    "your gates come from tanh and may be negative: a sigmoid keeps them in (0, 1).": torch.tanh,
    "your gates come from a softmax, so channels compete for a sum of 1: take a sigmoid.": lambda v: v.softmax(1),
    "that is the hard sigmoid; the smooth one is meant.": F.hardsigmoid,
    "a ReLU before the sigmoid keeps every gate above 1/2: leave it out.": lambda v: v.relu().sigmoid(),
    "the sigmoid is applied twice: one is enough.": lambda v: v.sigmoid().sigmoid(),
    "you double the sigmoid, so gates reach 2: leave out the factor.": lambda v: 2 * v.sigmoid(),
    "you divide the gates by their sum, so channels compete: leave them as they are.": lambda v: (
        v.sigmoid() / v.sigmoid().sum(1, keepdim=True)
    ),
    "you average the gates over the channels: each has its own.": lambda v: v.sigmoid().mean(1, True).expand_as(v),
}
SCALE: Table = {  # x, gate → result, in place of x · gate
    "the gate is applied twice.": lambda x, g: x * g * g,
    "every image gets the gates of the first one: each has its own.": lambda x, g: x * g[:1],
    "you average the gates over the batch: each image has its own.": lambda x, g: x * g.mean(0, True),
    "open and closed are turned round: multiply by the gate, not by 1 − gate.": lambda x, g: x * (1 - g),
    "you add x once more (a residual): x is only scaled.": lambda x, g: x + x * g,
    "you add the gate to x: scaling multiplies.": lambda x, g: x + g,
    "you subtract the gate from x: scaling multiplies.": lambda x, g: x - g,
    "you divide by the gate: multiply by it.": lambda x, g: x / g,
    "you return the gates themselves: multiply x by them.": lambda x, g: g.expand_as(x),
    "you scale the squeezed numbers: multiply x itself.": lambda x, g: (x.mean((2, 3), True) * g).expand_as(x),
    "x comes back as it is: the gates are not used.": lambda x, g: x,
    "the channels of the gates are in reverse order.": lambda x, g: x * g.flip(1),
}


def other_axes(x: torch.Tensor) -> Table:
    """A squeeze over the wrong two axes, wherever that gives the right shape: with sizes that are equal."""
    pairs = [pair for pair in combinations(range(4), 2) if x.mean(pair).shape == x.shape[:2] and pair != (2, 3)]
    return {
        f"you average over dimensions {pair}: H and W are others.": lambda x, pair=pair: x.mean(pair) for pair in pairs
    }


def explain(
    result: torch.Tensor,
    reference: Callable,
    inputs: tuple,
    steps: dict[str, Table],
    otherwise: str,
    attempt: Callable | None = None,
    probes: Callable[[], None] = lambda: None,
) -> None:
    """Say which one of the known wrong steps, or which two, give this result.

    Parameters
    ----------
    result : torch.Tensor
        What the learner's code gave for `inputs`.
    reference : callable
        ``reference(*inputs)`` is right; its keyword arguments are its steps.
    inputs : tuple
    steps : dict
        Step → its table.
    otherwise : str
        The sentence for a result that nothing explains.
    attempt : callable, optional
        The learner's code: how it reads may tell what its result does not.
    probes : callable, optional
        Raises `WrongIdea` for a property that is missing. It comes before pairs, which may agree by accident.

    Raises
    ------
    WrongIdea
        If the result is not that of the reference.
    """
    if same(result, reference(*inputs)):
        return
    wrong = [(name, step, idea) for name, table in steps.items() for idea, step in table.items()]
    for many in (1, 2):
        for chosen in combinations(wrong, many):
            if len({name for name, *_ in chosen}) == many:
                one = built(reference, inputs, {name: step for name, step, _ in chosen})
                expect(one is None or not same(result, one), " And: ".join(idea for *_, idea in chosen))
        if many == 1:
            probes()
    raise WrongIdea(reading(attempt) or otherwise)


def built(reference: Callable, inputs: tuple, steps: dict[str, Callable]) -> torch.Tensor | None:
    """The reference with wrong steps; None where these do not fit together."""
    try:
        return reference(*inputs, **steps)
    except (RuntimeError, IndexError, ValueError):
        return None
