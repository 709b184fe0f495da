"""Answers to the exercises of lesson 09; what the names mean is said in __init__.py."""

import numpy as np
import torch
import torch.nn.functional as F

from attn_lessons import check
from attn_lessons.check import steps_training as steps

LATER = torch.tensor([1, 0, 2])  # a global of "the notebook"


# --------------------------------------------------------------------------------------------------- exercise 1
def mask_of(images, top, left, size):
    row, column = torch.arange(images.shape[2]), torch.arange(images.shape[3])
    in_rows = (row >= top[:, None]) & (row < top[:, None] + size)
    in_columns = (column >= left[:, None]) & (column < left[:, None] + size)
    return in_rows[:, :, None] & in_columns[:, None, :]


def cut(images, top, left, size):
    return images.masked_fill(mask_of(images, top, left, size)[:, None], 0)


def with_numpy(images, top, left, size):
    y, x = np.ogrid[: images.shape[2], : images.shape[3]]
    dy, dx = y - top.numpy()[:, None, None], x - left.numpy()[:, None, None]
    inside = (dy >= 0) & (dy < size) & (dx >= 0) & (dx < size)
    return torch.from_numpy(np.where(inside[:, None], np.zeros_like(images.numpy()), images.numpy()))


def with_vmap(images, top, left, size):
    def one(x, t, a):
        row, column = torch.arange(x.shape[1])[:, None], torch.arange(x.shape[2])
        return x * ~((row >= t) & (row < t + size) & (column >= a) & (column < a + size))

    return torch.vmap(one)(images, top, left)


def with_a_loop(images, top, left, size):
    out = images.clone()
    for x, t, a in zip(out, top.tolist(), left.tolist(), strict=True):
        x[:, max(0, t) : max(0, t + size), max(0, a) : max(0, a + size)] = 0
    return out


def returns_early(images, top, left, size):
    out = images.clone()
    for i in range(len(out)):
        out[i, :, top[i] : top[i] + size, left[i] : left[i] + size] = 0
        return out


def fixed_size(images, top, left, size):
    return cut(images, top, left, 8)


WRONG_CUTS = {  # beside those of the tables
    "loop": (with_a_loop, "there is a loop"),
    "loop in numpy": (lambda *given: torch.from_numpy(with_a_loop(*given).numpy()), "there is a loop"),
    "return in the loop": (returns_early, "return stands inside your loop"),
    "in place": (lambda x, t, a, s: x.masked_fill_(mask_of(x, t, a, s)[:, None], 0), "in place"),
    "every with every": (lambda x, t, a, s: x[:, None, 0] * ~mask_of(x, t, a, s)[None], "every image met every square"),
    "no channel axis": (lambda x, t, a, s: x.masked_fill(mask_of(x, t, a, s), 0), "images meet channels"),
    "mask": (lambda x, t, a, s: mask_of(x, t, a, s).float(), "mask"),
    "float at the end": (lambda x, t, a, s: (x * ~mask_of(x, t, a, s)[:, None]).float(), "dtype"),
    "fixed size": (fixed_size, "'size' is not used"),
    "global": (lambda x, t, a, s: cut(x, LATER, a, s), "stopped"),
    "twice as high": (lambda x, t, a, s: cut(cut(x, t, a, s), t + s, a, s), "your squares are others"),
    "two mistakes": (lambda x, t, a, s: cut(x, a, t, s + 1), "changed places: .* And: |changed places"),
}


# --------------------------------------------------------------------------------------------------- exercise 2
def smooth_cross_entropy(scores, labels, smoothing):
    k = scores.shape[1]
    targets = (1 - smoothing) * F.one_hot(labels, k) + smoothing / k
    return -(targets * scores.log_softmax(1)).sum(1).mean()


def by_scatter(scores, labels, smoothing):
    targets = torch.full_like(scores, smoothing / scores.shape[1])
    targets.scatter_add_(1, labels[:, None], torch.full_like(scores[:, :1], 1 - smoothing))
    return torch.einsum("nk,nk->n", targets, scores.logsumexp(1, keepdim=True) - scores).mean()


def in_a_loop(scores, labels, smoothing):
    total = 0
    for row, label in zip(scores.log_softmax(1), labels, strict=True):
        total = total - (1 - smoothing) * row[label] - smoothing * row.mean()
    return total / len(scores)


def with_log(log):
    return lambda x, y, e: steps.smoothed(x, y, e, log=log)


WRONG_LOSSES = {  # beside those of the tables
    "the library": (lambda x, y, e: F.cross_entropy(x, y, label_smoothing=e), "F.cross_entropy's"),
    "one_hot without K": (
        lambda x, y, e: -(((1 - e) * F.one_hot(y) + e / x.shape[1]) * x.log_softmax(1)).sum(1).mean(),
        "no image is of the last class",
    ),
    "one per image": (
        lambda x, y, e: F.cross_entropy(x, y, label_smoothing=e, reduction="none"),
        "one loss for each image",
    ),
    "an axis": (lambda x, y, e: steps.smoothed(x, y, e)[None], "axis of size 1"),
    "softmax, then log": (with_log(lambda x: x.softmax(1).log()), "softmax gives an exact 0"),
    "exp, sum, log": (with_log(lambda x: x - x.exp().sum(1, True).log()), "exp is too large"),
    "log of p + small": (with_log(lambda x: (x.softmax(1) + 1e-8).log()), "softmax gives an exact 0"),
    "half detached": (with_log(lambda x: x - x.logsumexp(1, True).detach()), "part of the gradient"),
    "item": (lambda x, y, e: steps.smoothed(x, y, e).item(), "no gradient gets through a plain number"),
    "float": (lambda x, y, e: steps.smoothed(x.float(), y, e), "float64"),
    "three classes": (lambda x, y, e: steps.smoothed(x, y, e, share=lambda e, n, k: e / 3), "targets of"),
    "two mistakes": (lambda x, y, e: -steps.smoothed(x, y, e, log=lambda x: x.softmax(1)), "And: |no log"),
    "in place": (lambda x, y, e: steps.smoothed(x.sub_(x.amax(1, True)), y, e), "in place"),
}


# --------------------------------------------------------------------------------------------------- exercise 3
def paired(ours, theirs, t):
    d = ours - theirs
    half = t * d.std() / len(d) ** 0.5
    return d.mean(), d.mean() - half, d.mean() + half


def as_one_array(ours, theirs, t):
    d = (ours - theirs).numpy()
    return d.mean() + np.array([0, -1, 1]) * t * d.std(ddof=1) / np.sqrt(d.size)


def by_hand(ours, theirs, t):
    d = [a - b for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]
    mean = sum(d) / len(d)
    error = (sum((v - mean) ** 2 for v in d) / (len(d) - 1) / len(d)) ** 0.5
    yield from (mean, mean - t * error, mean + t * error)


def with_global(ours, theirs, t):
    return paired(ours, LATER, t)


WRONG_PAIRS = {  # beside those of the tables
    "mean and half": (lambda a, b, t: paired(a, b, t)[:2], "three numbers"),
    "differences": (lambda a, b, t: (a - b, a - b, a - b), "three numbers"),
    "no return": (lambda a, b, t: None, "return"),
    "in place": (lambda a, b, t: paired(a.sub_(b), 0 * b, t), "in place"),
    "global": (with_global, "reads 'LATER' of the notebook in place of your argument theirs"),
    "numpy's std": (lambda a, b, t: steps.interval(a, b, t, spread=lambda d, *_: d.numpy().std()), "divides by n"),
    "skew": (lambda a, b, t: steps.interval(a, b, t, order=lambda m, h, *_: (m, m - h, m + 1.1 * h)), "equally far"),
    "absolute t": (lambda a, b, t: paired(a, b, t + 1.1), "t times something else"),
    "two mistakes": (lambda a, b, t: paired(b, a, 1.96), "And: "),
    "three mistakes": (lambda a, b, t: steps.interval(b, a, 1.96, divisor=lambda n: 1), "mean is another"),
}


def by_step(reference):
    return lambda **chosen: lambda *arguments: reference(*arguments, **chosen)


EXERCISES = {
    "cutout": (check.check_cutout, [cut, with_numpy, with_vmap], WRONG_CUTS),
    "smooth_cross_entropy": (
        check.check_smooth_cross_entropy,
        [smooth_cross_entropy, by_scatter, in_a_loop],
        WRONG_LOSSES,
    ),
    "paired": (check.check_paired, [paired, as_one_array, by_hand], WRONG_PAIRS),
}
TABLES = {
    "cutout": (by_step(steps.cutout), steps.CUTOUT, steps.cutout, steps.IMAGES),
    "smooth_cross_entropy": (by_step(steps.smoothed), steps.SMOOTHED, steps.smoothed, steps.SCORES),
    "paired": (by_step(steps.interval), steps.PAIRED, steps.interval, steps.ACCURACIES),
}
