"""What people write in place of a step, and what to tell them: one table per step, for all exercises that have it.

A mechanism is a pipeline of steps. An exercise has a reference whose steps can be exchanged by name; `explain` looks
for the wrong step, or the two wrong steps, that turn the reference into the learner's result. What people do to any
value (a ReLU too many, a softmax, a mean over an axis) is written down once, in `slips`; a table has the rest.
"""

from collections.abc import Callable, Sequence
from inspect import signature
from itertools import combinations, product

import torch
import torch.nn.functional as F

from .core import WrongIdea, expect, same
from .slips import Table, slips
from .source import reading


def keep(value):
    """A step that changes nothing."""
    return value


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
    "you add mean and maximum, as CBAM does: the mean alone is wanted.": lambda x: x.mean((2, 3)) + x.amax((2, 3)),
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
    "you cut the scores off at 0 and 1: a sigmoid squashes them smoothly.": lambda v: v.clamp(0, 1),
}
SCALE: Table = {  # x, gate → result, in place of x · gate
    "you add x once more (a residual): x is only scaled.": lambda x, g: x + x * g,
    "you add the gate to x: scaling multiplies.": lambda x, g: x + g,
    "you subtract the gate from x: scaling multiplies.": lambda x, g: x - g,
    "you divide by the gate: multiply by it.": lambda x, g: x / g,
    "you return the gates themselves: multiply x by them.": lambda x, g: g.expand_as(x),
    "you scale the squeezed numbers: multiply x itself.": lambda x, g: (x.mean((2, 3), True) * g).expand_as(x),
    "x comes back as it is: the gates are not used.": lambda x, g: x,
}
SCORES: Table = {  # q, k (…, N, d) → (…, N, N), in place of q kᵀ / √d
    "the scores are not divided by √d.": lambda q, k: q @ k.mT,
    "you divide the scores by d (or by √d twice): once by its square root.": lambda q, k: q @ k.mT / q.shape[-1],
    "** 1/2 is half of ** 1: set brackets, ** (1/2), or write ** 0.5.": lambda q, k: q @ k.mT / (q.shape[-1] / 2),
    "** 1/2 is no root: it leaves d, and divides by 2 as well. Set brackets, ** (1/2), or write ** 0.5.":
        lambda q, k: q @ k.mT / q.shape[-1] / 2,
    "you multiply the scores by √d: divide.": lambda q, k: q @ k.mT * q.shape[-1] ** 0.5,
    "you divide by √N: it is √d, the width of a query, that makes scores large.": lambda q, k: (
        q @ k.mT / q.shape[-2] ** 0.5
    ),
    "you divide by the root of the batch size: it is the width d of a query.": lambda q, k: q @ k.mT / len(q) ** 0.5,
    "queries and keys have changed places.": lambda q, k: k @ q.mT / q.shape[-1] ** 0.5,
    "the queries are compared with themselves: compare queries with keys.": lambda q, k: q @ q.mT / q.shape[-1] ** 0.5,
    "the keys are compared with themselves: compare queries with keys.": lambda q, k: k @ k.mT / q.shape[-1] ** 0.5,
    "reshape in place of a transpose mixes positions with channels: take .mT or transpose(-1, -2).": lambda q, k: (
        q @ k.reshape(len(k), k.shape[-1], k.shape[-2]) / q.shape[-1] ** 0.5
    ),
    "you divide queries and keys by their length (cosine): the plain dot product is meant.": lambda q, k: (
        F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT
    ),
    "you compare by distance: the score is a dot product.": lambda q, k: -torch.cdist(q, k),
    "each position looks at itself and at earlier ones only (a causal mask): an image has no before and after.":
        lambda q, k: (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(q.new_ones(2 * q.shape[-2:-1]).triu(1) > 0, -1e30),
    "a position leaves itself out: it may look at itself, too.":
        lambda q, k: (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(torch.eye(q.shape[-2]) > 0, -1e30),
}  # fmt: skip
NORMALISE: Table = {  # scores (…, N) → weights (…, N), in place of softmax(-1)
    "you use the scores themselves as weights: make them positive with exp, and divide by their sum.": lambda s: s,
    "your weights are sigmoid gates: each lies in (0, 1), but they do not add up to 1.": torch.sigmoid,
    "your weights come from a ReLU: negative scores get no weight at all, and the rest does not add up to 1.":
        torch.relu,
    "your weights come from tanh: they may be negative, and do not add up to 1.": torch.tanh,
    "you take exp of the scores, but do not divide by the sum: the weights must add up to 1.": torch.exp,
    "the largest exp is 1, but the weights do not add up to 1: divide by the sum of them all.":
        lambda s: (s - s.amax(-1, True)).exp(),
    "the largest score is subtracted above the fraction line only: use the same numbers below it.":
        lambda s: (s - s.amax(-1, True)).exp() / s.exp().sum(-1, True),
    "the largest score is subtracted below the fraction line only: use the same numbers above it.":
        lambda s: s.exp() / (s - s.amax(-1, True)).exp().sum(-1, True),
    "you divide the scores by their sum: some are negative, and a sum near 0 explodes. Make them positive first.":
        lambda s: s / s.sum(-1, True),
    "you divide exp by the sum of the scores: divide by the sum of the exp.": lambda s: s.exp() / s.sum(-1, True),
    "you divide by exp of the sum: divide by the sum of the exp.": lambda s: s.exp() / s.sum(-1, True).exp(),
    "you divide by the mean of the exp, not by their sum.": lambda s: s.softmax(-1) * s.shape[-1],
    "you divide by the length of the vector of exp: divide by their sum.": lambda s: F.normalize(s.exp(), dim=-1),
    "you add 1 to the sum you divide by, so weights add up to less than 1.":
        lambda s: s.exp() / (1 + s.exp().sum(-1, True)),
    "you take sigmoids and divide by their sum: softmax takes exp.": lambda s: F.normalize(s.sigmoid(), p=1, dim=-1),
    "you take absolute values and divide by their sum: low scores would count like high ones. Take exp.":
        lambda s: F.normalize(s.abs(), p=1, dim=-1),
    "you divide the scores by the sum of their absolute values: weights may be negative. Take exp.":
        lambda s: F.normalize(s, p=1, dim=-1),
    "you square the scores and divide by the sum: low scores would count like high ones. Take exp.":
        lambda s: s.square() / s.square().sum(-1, True),
    "you take a ReLU and divide by the sum: negative scores get no weight at all. Take exp.": lambda s: F.normalize(
        s.relu(), p=1, dim=-1
    ),
    "you take softplus and divide by the sum: softmax takes exp.": lambda s: F.normalize(F.softplus(s), p=1, dim=-1),
    "you take powers of 2: softmax takes powers of e, exp.": lambda s: (s * 0.6931472).softmax(-1),
    "you take powers of 10: softmax takes powers of e, exp.": lambda s: (s * 2.3025851).softmax(-1),
    "you shift the scores to start at 0 and divide by their sum: take exp.":
        lambda s: F.normalize(s - s.amin(-1, True), p=1, dim=-1),
    "you stretch the scores to 0 … 1: softmax takes exp, and divides by the sum.":
        lambda s: (s - s.amin(-1, True)) / (s.amax(-1, True) - s.amin(-1, True)),
    "you stretch the scores to 0 … 1 before the softmax: take them as they are.":
        lambda s: ((s - s.amin(-1, True)) / (s.amax(-1, True) - s.amin(-1, True))).softmax(-1),
    "you divide the scores by the largest one: subtract it.": lambda s: (s / s.amax(-1, True)).softmax(-1),
    "you divide the scores by their standard deviation: take them as they are.":
        lambda s: (s / s.std(-1, keepdim=True)).softmax(-1),
    "you divide the scores by √N: take them as they are.": lambda s: (s / s.shape[-1] ** 0.5).softmax(-1),
    "** 1/2 is no root, and divides by 2 as well; and scores need no division here: take them as they are.":
        lambda s: (s / s.shape[-1] / 2).softmax(-1),
    "you divide the scores by N: take them as they are.": lambda s: (s / s.shape[-1]).softmax(-1),
    "you take log_softmax: those are logarithms of the weights.": lambda s: s.log_softmax(-1),
    "your selection is hard: all the weight is on the highest score. Softmax leaves some for the others.":
        lambda s: F.one_hot(s.argmax(-1), s.shape[-1]).to(s),
    "all weights are equal: it is the plain mean, and the scores are not used.":
        lambda s: torch.full_like(s, 1 / s.shape[-1]),
    "all weights are 1, so you add up plainly: does your softmax run over an axis of size 1?": torch.ones_like,
}  # fmt: skip
NORMALISE_ROWS: Table = {  # (B, N, N) → (B, N, N): the axes, where each query has a row of scores
    "the softmax runs over the queries, so columns add up to 1: for each query, the weights of all positions should "
    "add up to 1. Over which axis?": lambda s: s.softmax(-2),
    "the softmax runs over the images of the batch: over the positions is meant.": lambda s: s.softmax(0),
    "your softmax runs over all pairs of positions at once: each row should add up to 1.":
        lambda s: s.flatten(-2).softmax(-1).view_as(s),
    "your matrix of weights is transposed before it meets the values.": lambda s: s.softmax(-1).mT,
    "you divide each row by the sum of its column.": lambda s: s.exp() / s.exp().sum(-2).unsqueeze(-1),
}  # fmt: skip
MIX: Table = {  # weights (…, N), values (…, N, c) → (…, c), in place of weights @ values
    "you take the mean of the weighted values: the weights add up to 1 already, so add the values up.":
        lambda w, v: w @ v / v.shape[-2],
    "the weights are sorted, and each meets the wrong value.": lambda w, v: w.sort(-1, descending=True).values @ v,
    "you take the largest of the weighted values: add them up.":
        lambda w, v: (w[..., None] * v.unsqueeze(-3)).amax(-2).reshape((w @ v).shape),
}  # fmt: skip
MIX_ROWS: Table = {  # (B, N, N), (B, N, c) → (B, N, c)
    "you add the values once more (a residual): only their mixture is wanted.": lambda w, v: v + w @ v,
    "the values come back as they were: nothing is mixed.": lambda w, v: v,
}  # fmt: skip


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
    values: dict[str, str] | None = None,
    others: Sequence[tuple] = (),
    last: Callable[[], None] = lambda: None,
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
    values : dict, optional
        Step → what it hands on, as in "the gates, BC": whatever people do to that (`slips`) is found, too.
    others : sequence of tuple, optional
        More inputs, where several fit: weights in another order, for example.
    last : callable, optional
        As `probes`, but after pairs and after what the source code gives away.

    Raises
    ------
    WrongIdea
        If the result is not that of the reference.
    """
    if any(same(result, reference(*given)) for given in (inputs, *others)):
        return
    wrong = [(idea, name, step) for name, table in steps.items() for idea, step in table.items()]
    slipped = [(idea, name, slip) for name, value in (values or {}).items() for idea, slip in slips(value).items()]
    right = {name: parameter.default for name, parameter in signature(reference).parameters.items()}

    def expect_other(idea: str, **chosen: Callable) -> None:
        for given in (inputs, *others):
            one = built(reference, given, chosen)
            expect(one is None or not same(result, one), idea)

    for idea, name, step in wrong:
        expect_other(idea, **{name: step})
    for idea, name, slip in slipped:
        expect_other(idea, **{name: then(right[name], slip)})
    probes()
    for (idea, name, step), (also, other, second) in combinations(wrong, 2):
        if name != other:
            expect_other(f"{idea} And: {also}", **{name: step, other: second})
    others = ()  # there are thousands of these
    for (idea, name, step), (also, other, slip) in product(wrong, slipped):
        expect_other(f"{idea} And: {also}", **{name: step, other: then(step if name == other else right[other], slip)})
    if told := reading(attempt):
        raise WrongIdea(told)
    last()
    raise WrongIdea(otherwise)


def then(first: Callable, second: Callable) -> Callable:
    return lambda *inputs: second(first(*inputs))


def built(reference: Callable, inputs: tuple, steps: dict[str, Callable]) -> torch.Tensor | None:
    """The reference with wrong steps; None where these do not fit together."""
    try:
        return reference(*inputs, **steps)
    except (RuntimeError, IndexError, ValueError, TypeError, AttributeError):
        return None
