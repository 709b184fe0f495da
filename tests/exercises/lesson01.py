"""Answers to the exercises of lesson 01; what the names mean is said in __init__.py."""

import numpy as np
import torch

from attn_lessons import check


# --------------------------------------------------------------------------------------------------- exercise 1
def weighted_average(values, scores):
    weights = torch.exp(scores - scores.max())
    return (weights / weights.sum()) @ values


def in_place_scores(values, scores):
    scores -= scores.max()
    return scores.softmax(0) @ values


WRONG_AVERAGES = {
    "raw scores": (lambda v, s: s @ v, "scores themselves"),
    "sigmoid gates": (lambda v, s: s.sigmoid() @ v, "sigmoid"),
    "exp, not divided": (lambda v, s: s.exp() @ v, "did not divide"),
    "scores over their sum": (lambda v, s: (s / s.sum()) @ v, "divided the scores by their sum"),
    "argmax": (lambda v, s: v[s.argmax()], "hard"),
    "plain mean": (lambda v, s: v.mean(0), "does not depend on the scores"),
    "not added up": (lambda v, s: s.softmax(0)[:, None] * v, "now add them up"),
    "added up over channels": (lambda v, s: (s.softmax(0)[:, None] * v).sum(1), "add up over the items"),
    "a single number": (lambda v, s: (s.softmax(0)[:, None] * v).sum(), "single number"),
    "mean of weighted": (lambda v, s: (s.softmax(0)[:, None] * v).mean(0), "number of items"),
    "overflow": (lambda v, s: s.exp() @ v / s.exp().sum(), "overflows"),
    "detached": (lambda v, s: s.detach().softmax(0) @ v, "gradient"),
    "upside down": (lambda v, s: (-s).softmax(0) @ v, "sign"),
    "weights only": (lambda v, s: s.softmax(0), "shape"),
    "temperature": (lambda v, s: (s / len(s) ** 0.5).softmax(0) @ v, "ratio of two weights"),
    "values softmaxed": (lambda v, s: s.softmax(0) @ v.softmax(0), "as they are"),
    "rounded": (lambda v, s: (s.softmax(0) @ v).round(decimals=2), "as they are"),
    "fixed shift": (lambda v, s: (s - 1000).exp() / (s - 1000).exp().sum() @ v, "*largest*"),
    "scores cut off": (lambda v, s: s.clamp(max=80).softmax(0) @ v, "cut scores off"),
    "shifted, not divided": (lambda v, s: (s - s.max()).exp() @ v, "right proportion"),
    "shifted above only": (lambda v, s: (s - s.max()).exp() / s.exp().sum() @ v, "right proportion"),
    "in place": (in_place_scores, "in place"),
    "no return": (lambda v, s: None, "return"),
    "wrong product": (lambda v, s: v @ s.softmax(0), "your code stopped"),
    "numpy": (lambda v, s: np.average(v.detach().numpy(), axis=0), "a single tensor"),
    "sigmoid, normalised": (lambda v, s: s.sigmoid() @ v / s.sigmoid().sum(), "exp(score)"),
    "softmax over the wrong axis": (lambda v, s: (s[None].softmax(0)[0]) @ v, "add up to"),
}


# --------------------------------------------------------------------------------------------------- exercise 2
def apply_gates(x, channel, position):
    return x * channel[:, :, None, None] * position[:, None]


def gates_in_place(x, channel, position):
    x *= channel[:, :, None, None]
    return x * position[:, None]


def c4(channel):
    return channel[:, :, None, None]


def p4(position):
    return position[:, None]


WRONG_GATES = {
    "channel only": (lambda x, c, p: x * c4(c), "position gates are missing"),
    "position only": (lambda x, c, p: x * p4(p), "channel gates are missing"),
    "gates added": (lambda x, c, p: x * (c4(c) + p4(p)), "you added where"),
    "gates added to x": (lambda x, c, p: x + c4(c) + p4(p), "a gate multiplies"),
    "two branches added": (lambda x, c, p: x * c4(c) + x * p4(p), "you added where"),
    "residual": (lambda x, c, p: x + apply_gates(x, c, p), "once more"),
    "sigmoid again": (lambda x, c, p: x * c4(c).sigmoid() * p4(p).sigmoid(), "no sigmoid"),
    "softmax over channels": (lambda x, c, p: x * c4(c.softmax(1)) * p4(p), "open gate lets everything through"),
    "batch average": (
        lambda x, c, p: apply_gates(x, c.mean(0, True).expand_as(c), p.mean(0, True).expand_as(p)),
        "batch",
    ),
    "no unsqueeze": (lambda x, c, p: x * c * p, "Broadcasting lines shapes up from the right"),
    "the larger gate": (lambda x, c, p: x * torch.maximum(c4(c), p4(p)), "larger of the two"),
    "height and width swapped": (
        lambda x, c, p: x * c4(c) * (p4(p).transpose(2, 3) if x.shape[2] == x.shape[3] else p4(p)),
        "swapped",
    ),
    "in place": (gates_in_place, "in place"),
    "averaged away": (lambda x, c, p: apply_gates(x, c, p).mean((2, 3)), "never how many"),
    "no return": (lambda x, c, p: None, "return"),
    "first image's gates for all": (
        lambda x, c, p: apply_gates(x, c[:1].expand_as(c), p[:1].expand_as(p)),
        "in that image alone",
    ),
    "one gate for the whole image": (lambda x, c, p: x * c4(c).mean(1, True) * p4(p), "closing one channel"),
    "two tensors": (lambda x, c, p: (x * c4(c), x * p4(p)), "a single tensor"),
}


EXERCISES = {
    "weighted_average": (check.check_weighted_average, [weighted_average], WRONG_AVERAGES),
    "apply_gates": (check.check_apply_gates, [apply_gates], WRONG_GATES),
}
