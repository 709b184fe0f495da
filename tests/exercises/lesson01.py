"""Answers to the exercises of lesson 01; what the names mean is said in __init__.py."""

import math

import torch
from torch.nn.functional import dropout

from attn_lessons import check
from attn_lessons.check.lesson01 import SHIFTS
from attn_lessons.check.steps_weights import AVERAGE, AVERAGE_VALUES, GATED, GATED_VALUES, averaged, gated


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


def shift(by):
    """The average with other numbers subtracted from the scores than the largest."""

    def attempt(values, scores):
        weights = (scores - by(scores)).exp()
        return weights / weights.sum() @ values

    return attempt


def in_place(values, scores):
    scores -= scores.max()
    return scores.softmax(0) @ values


def returns_in_loop(values, scores):
    average = 0
    for weight, value in zip(scores.softmax(0), values, strict=True):
        average = average + weight * value
        return average


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
    "a single number": (lambda v, s: (s.softmax(0)[:, None] * v).sum(), "single number"),
    "keepdim": (lambda v, s: (s.softmax(0)[:, None] * v).sum(0, keepdim=True), "keepdim"),
    "squeeze()": (lambda v, s: (s.softmax(0)[None] @ v).squeeze(), "even a single one"),
    "two at once": (lambda v, s: s.sigmoid() @ v.softmax(0), "sigmoid gates|And: a softmax stands on the values"),
    "with math": (with_math, "overflows"),
    "fixed shift": (shift(lambda s: 1000), "*largest*"),
    "scores cut off": (lambda v, s: s.clamp(max=80).softmax(0) @ v, "at a limit"),
    "epsilon in the sum": (lambda v, s: s.exp() @ v / (s.exp().sum() + 1e-8), "overflows"),
    "detached": (lambda v, s: s.detach().softmax(0) @ v, "gets back to the scores"),
    "sum detached": (half_detached, "part of the gradient"),
    "through numpy": (lambda v, s: torch.from_numpy(s.softmax(0).numpy()) @ v, "a gradient is lost"),
    "float()": (lambda v, s: s.float().softmax(0) @ v.float(), "float64"),
    "dropout": (lambda v, s: dropout(s.softmax(0)) @ v, "chance"),
    "in place": (in_place, "in place"),
    "return in the loop": (returns_in_loop, "return stands inside your loop"),
    "scores of the notebook": (notebook_scores, "'kept' of the notebook"),
    "no return": (lambda v, s: None, "return"),
    "wrong product": (lambda v, s: v @ s.softmax(0), "the last axis of the left factor"),
    "weights on channels": (lambda v, s: (v * s.softmax(0)).sum(0), "channels meet items"),
    "last item left out": (lambda v, s: s[:-1].softmax(0) @ v[:-1], "1 of 7 items"),
} | {idea[:40]: (shift(by), idea) for idea, by in SHIFTS.items()}  # fmt: skip


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


def first_image_only(x, channel, position):
    for i in range(len(x)):
        return x[i : i + 1] * channel[i][:, None, None] * position[i]


def tiled(x, channel, position):
    return x * channel.repeat(1, x[0, 0].numel()).view(x.shape) * position[:, None]


def square_only(x, channel, position):
    return torch.cat([apply_gates(x, channel, position)[..., : x.shape[2]], x[..., x.shape[2] :]], 3)


WRONG_GATES = {  # beside those of the tables
    "gates added to x": (lambda x, c, p: x + c[..., None, None] + p[:, None], "And: you add the gate to x"),
    "only the first image": (lambda x, c, p: torch.cat([apply_gates(x, c, p)[:1], x[1:]]), "1 of 5 images"),
    "only the first columns": (square_only, "5 of 7 columns"),
    "channel times, position plus": (lambda x, c, p: x * c[..., None, None] + p[:, None], "not added"),
    "no unsqueeze": (lambda x, c, p: x * c * p, "lie along rows, columns"),
    "no axis for channels": (lambda x, c, p: x * c[..., None, None] * p[..., None], "lie along images, channels, rows"),
    "repeat in place of repeat_interleave": (tiled, "lie along images, columns"),
    "squeeze()": (lambda x, c, p: apply_gates(x, c, p).squeeze(), "squeeze() takes"),
    "both gates of the first image": (lambda x, c, p: apply_gates(x, c[:1], p[:1]), "of the first one"),
    "return in the loop": (first_image_only, "return stand inside your loop"),
    "gates detached": (lambda x, c, p: apply_gates(x, c.detach(), p), "gets back to the channel gates"),
}  # fmt: skip

EXERCISES = {
    "weighted_average": (check.check_weighted_average, [weighted_average, library, loop, columns], WRONG_AVERAGES),
    "apply_gates": (check.check_apply_gates, [apply_gates, einsum, image_by_image, repeated], WRONG_GATES),
}
TABLES = {
    "weighted_average": (lambda **steps: lambda v, s: averaged(v, s, **steps), AVERAGE, averaged, AVERAGE_VALUES),
    "apply_gates": (lambda **steps: lambda x, c, p: gated(x, c, p, **steps), GATED, gated, GATED_VALUES),
}
