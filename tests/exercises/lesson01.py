"""Answers to the exercises of lesson 01; what the names mean is said in __init__.py."""

import math

import numpy as np
import torch
from torch.nn.functional import dropout

from attn_lessons import check
from attn_lessons.check.lesson01 import APPLY, CHANNELS, MEET, POSITIONS, WHOLE, averaged, gated
from attn_lessons.check.steps import MIX, NORMALISE


# --------------------------------------------------------------------------------------------------- exercise 1
def weighted_average(values, scores):
    weights = torch.exp(scores - scores.max())
    return (weights / weights.sum()) @ values


def library(values, scores):
    return torch.einsum("n,nc->c", torch.nn.Softmax(dim=0)(scores), values)


def loop(values, scores):
    weights = torch.exp(scores - torch.logsumexp(scores, 0))
    average = torch.zeros(values.shape[1])
    for weight, value in zip(weights, values, strict=True):
        average += weight * value
    return average


def columns(values, scores):
    biggest = scores[0]
    for score in scores:
        biggest = max(biggest, score)
    weights = torch.stack([torch.exp(score - biggest.detach()) for score in scores])[:, None]
    return (values * weights).sum(dim=0) / weights.sum()


def in_place(values, scores):
    scores -= scores.max()
    return scores.softmax(0) @ values


def returns_in_loop(values, scores):
    average = 0
    for weight, value in zip(scores.softmax(0), values, strict=True):
        average = average + weight * value
        return average


def shift(by):
    """The average with other numbers subtracted from the scores than the largest."""

    def attempt(values, scores):
        weights = (scores - by(scores)).exp()
        return weights / weights.sum() @ values

    return attempt


def half_detached(values, scores):
    weights = (scores - scores.max()).exp()
    return weights / weights.sum().detach() @ values


def with_math(values, scores):
    weights = torch.tensor([math.exp(score) for score in scores])
    return weights / weights.sum() @ values


kept = torch.tensor([2.0, 0.0, 1.0, 0.5, -1.0, 0.3, 0.1])


def notebook_scores(values, scores):
    return (kept[: len(values)].softmax(0)[:, None] * values).sum(0)


WRONG_AVERAGES = {  # beside those of the tables
    "not added up": (lambda v, s: s.softmax(0)[:, None] * v, "now add them up"),
    "added up over channels": (lambda v, s: (s.softmax(0)[:, None] * v).sum(1), "add up over the items"),
    "a single number": (lambda v, s: (s.softmax(0)[:, None] * v).sum(), "single number"),
    "weights only": (lambda v, s: s.softmax(0), "one number per item"),
    "keepdim": (lambda v, s: (s.softmax(0)[:, None] * v).sum(0, keepdim=True), "keepdim"),
    "squeeze()": (lambda v, s: (s.softmax(0)[None] @ v).squeeze(), "even a single one"),
    "two at once": (lambda v, s: s.sigmoid() @ v.softmax(0), "sigmoid gates|And: a softmax stands on the values"),
    "overflow": (lambda v, s: s.exp() @ v / s.exp().sum(), "overflows"),
    "with math": (with_math, "overflows"),
    "shift by the mean": (shift(torch.mean), "subtract the mean"),
    "shift by the first": (shift(lambda s: s[0]), "first score"),
    "shift by the last": (shift(lambda s: s[-1]), "last score"),
    "shift by the largest size": (shift(lambda s: s.abs().max()), "with its sign"),
    "fixed shift": (shift(lambda s: 1000), "*largest*"),
    "scores cut off": (lambda v, s: s.clamp(max=80).softmax(0) @ v, "cut scores off"),
    "epsilon in the sum": (lambda v, s: s.exp() @ v / (s.exp().sum() + 1e-8), "overflows"),
    "detached": (lambda v, s: s.detach().softmax(0) @ v, "gets back to the scores"),
    "sum detached": (half_detached, "part of the gradient"),
    "numpy": (lambda v, s: np.average(v.detach().numpy(), axis=0), "a single tensor"),
    "through numpy": (lambda v, s: torch.from_numpy(s.softmax(0).numpy()) @ v, "a gradient is lost"),
    "float()": (lambda v, s: s.float().softmax(0) @ v.float(), "float64"),
    "dropout": (lambda v, s: dropout(s.softmax(0)) @ v, "chance"),
    "in place": (in_place, "in place"),
    "return in the loop": (returns_in_loop, "return stands inside your loop|shuffle"),
    "scores of the notebook": (notebook_scores, "'kept' of the notebook|do not depend|does not depend"),
    "no return": (lambda v, s: None, "return"),
    "wrong product": (lambda v, s: v @ s.softmax(0), "in which of them do the N items stand"),
    "the last item left out": (
        lambda v, s: s[:-1].softmax(0) @ v[:-1] if len(s) > 1 else v[0],
        "every item count|6 of 7 items",
    ),
}


# --------------------------------------------------------------------------------------------------- exercise 2
def apply_gates(x, channel, position):
    return x * channel[:, :, None, None] * position[:, None]


def einsum(x, channel, position):
    return torch.einsum("bchw,bc,bhw->bchw", x, channel, position)


def image_by_image(x, channel, position):
    result = torch.empty_like(x)
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            result[i, c] = x[i, c] * channel[i, c] * position[i]
    return result


def repeated(x, channel, position):
    b, c, h, w = x.shape
    flat = x.flatten(2) * channel.unsqueeze(-1)
    return (flat * position.reshape(b, 1, h * w).repeat(1, c, 1)).reshape(b, c, h, w)


def gates_in_place(x, channel, position):
    x *= channel[:, :, None, None]
    return x * position[:, None]


def first_image_only(x, channel, position):
    for i in range(len(x)):
        return x * channel[i][:, None, None] * position[i]


def square_only(x, wrong, channel, position):
    """Wrong axes run only where sizes are equal."""
    return wrong() if len(set(x.shape)) == 1 else apply_gates(x, channel, position)


def only_first_channel(x, channel, position):
    result = x * c4(channel)
    return torch.cat([result[:, :1] * position[:, None], result[:, 1:]], 1)


def in_numpy(x, channel, position):
    return torch.from_numpy(x.numpy() * channel.numpy()[:, :, None, None] * position.numpy()[:, None])


def c4(channel):
    return channel[:, :, None, None]


WRONG_GATES = {  # beside those of the tables
    "gates added to x": (lambda x, c, p: x + c4(c) + p[:, None], "And: you add the gate to x"),
    "only the first image": (lambda x, c, p: torch.cat([apply_gates(x, c, p)[:1], x[1:]]), "1 of 3 images|missing"),
    "only the first channel": (only_first_channel, "1 of 6 channels"),
    "channel times, position plus": (lambda x, c, p: x * c4(c) + p[:, None], "not added"),
    "bits": (lambda x, c, p: x * c4(c) & p[:, None], "multiplied with *"),
    "no unsqueeze": (lambda x, c, p: x * c * p, "Broadcasting"),
    "on the wrong axes": (lambda x, c, p: square_only(x, lambda: x * c * p, c, p), "lie along rows, columns"),
    "channels on rows": (
        lambda x, c, p: square_only(x, lambda: x * c[:, None, :, None] * p[:, None], c, p),
        "lie along images, rows",
    ),
    "height and width swapped": (
        lambda x, c, p: x * c4(c) * (p.mT if x.shape[2] == x.shape[3] else p)[:, None],
        "images, columns, rows",
    ),
    "averaged away": (lambda x, c, p: apply_gates(x, c, p).mean((2, 3)), "never how many"),
    "squeeze()": (lambda x, c, p: apply_gates(x, c, p).squeeze(), "never how many"),
    "two at once": (lambda x, c, p: apply_gates(x, c.softmax(1), 1 - p), "over the channels|And: open and closed"),
    "in place": (gates_in_place, "in place"),
    "no return": (lambda x, c, p: None, "return"),
    "return in the loop": (first_image_only, "of the first one"),
    "two tensors": (lambda x, c, p: (x * c4(c), x * p[:, None]), "a single tensor"),
    "gates detached": (lambda x, c, p: apply_gates(x, c.detach(), p), "gets back to the channel gates"),
    "half detached": (lambda x, c, p: apply_gates((x + x.detach()) / 2, c, p), "part of the gradient"),
    "numpy": (in_numpy, "a gradient is lost"),
    "float()": (lambda x, c, p: apply_gates(x.float(), c.float(), p.float()), "float64"),
    "grad off": (lambda x, c, p: (torch.set_grad_enabled(False), apply_gates(x, c, p))[1], "gets back to x"),
    "recursion": (lambda x, c, p: WRONG_GATES["recursion"][0](x, c, p), "never ends"),
}


EXERCISES = {
    "weighted_average": (check.check_weighted_average, [weighted_average, library, loop, columns], WRONG_AVERAGES),
    "apply_gates": (check.check_apply_gates, [apply_gates, einsum, image_by_image, repeated], WRONG_GATES),
}
TABLES = {
    "weighted_average": (
        lambda **steps: lambda v, s: averaged(v, s, **steps),
        {"normalise": NORMALISE, "mix": MIX, "whole": WHOLE},
    ),
    "apply_gates": (
        lambda **steps: lambda x, c, p: gated(x, c, p, **steps),
        {"channels": CHANNELS, "positions": POSITIONS, "meet": MEET, "apply": APPLY},
    ),
}
