"""Answers to the exercises of lesson 09; what the names mean is said in __init__.py."""

import numpy as np
import torch
import torch.nn.functional as F

from attn_lessons import check
from attn_lessons.check.lesson09 import CUTOUT, PAIRED, SMOOTHED, cutout, interval, smoothed


# --------------------------------------------------------------------------------------------------- exercise 1
def mask_of(images, top, left, size):
    row, column = torch.arange(images.shape[2]), torch.arange(images.shape[3])
    in_rows = (row >= top[:, None]) & (row < top[:, None] + size)
    in_columns = (column >= left[:, None]) & (column < left[:, None] + size)
    return in_rows[:, :, None] & in_columns[:, None, :]


def cut(images, top, left, size):
    return images.masked_fill(mask_of(images, top, left, size)[:, None], 0)


def with_where(images, top, left, size):
    y, x = torch.meshgrid(torch.arange(images.shape[2]), torch.arange(images.shape[3]), indexing="ij")
    dy, dx = y - top.view(-1, 1, 1, 1), x - left.view(-1, 1, 1, 1)
    inside = (dy >= 0) & (dy < size) & (dx >= 0) & (dx < size)
    return torch.where(inside, torch.zeros_like(images), images)


def with_product(images, top, left, size):
    return images * ~mask_of(images, top, left, size)[:, None]


def with_clone(images, top, left, size):
    out = images.clone()
    out.permute(0, 2, 3, 1)[mask_of(images, top, left, size)] = 0
    return out


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


def loop_in_numpy(images, top, left, size):
    return torch.from_numpy(with_a_loop(images, top, left, size).numpy())


def returns_early(images, top, left, size):
    out = images.clone()
    for i in range(len(out)):
        out[i, :, top[i] : top[i] + size, left[i] : left[i] + size] = 0
        return out


def every_with_every(images, top, left, size):
    return images[:, None, 0] * ~mask_of(images, top, left, size)[None]


def fixed_size(images, top, left, size):
    return cut(images, top, left, 8)


LATER = torch.tensor([1, 0, 2])  # a global of "the notebook"
WRONG_CUTS = {  # beside those of the tables
    "loop": (with_a_loop, "there is a loop"),
    "loop in numpy": (loop_in_numpy, "there is a loop"),
    "list of images": (
        lambda x, t, a, s: torch.cat([cut(x[i : i + 1], t[i : i + 1], a[i : i + 1], s) for i in range(len(x))]),
        "there is a loop",
    ),
    "return in the loop": (returns_early, "return stands inside your loop"),
    "in place": (lambda x, t, a, s: x.masked_fill_(mask_of(x, t, a, s)[:, None], 0), "in place"),
    "corner in place": (lambda x, t, a, s: cut(x, t.clamp_(0), a, s), "in place|pushed in"),
    "every with every": (every_with_every, "every image met every square"),
    "no channel axis": (lambda x, t, a, s: x.masked_fill(mask_of(x, t, a, s), 0), "Broadcasting"),
    "mask": (lambda x, t, a, s: mask_of(x, t, a, s).float(), "mask"),
    "channels lost": (lambda x, t, a, s: cut(x, t, a, s)[:, 0], "channels are gone"),
    "float": (lambda x, t, a, s: cut(x.float(), t, a, s), "dtype"),
    "float at the end": (lambda x, t, a, s: (x * ~mask_of(x, t, a, s)[:, None]).float(), "dtype"),
    "fixed size": (fixed_size, "'size' is not used"),
    "global": (lambda x, t, a, s: cut(x, LATER, a, s), "stopped"),
    "last square for all": (lambda x, t, a, s: cut(x, t[-1:], a[-1:], s), "same pixels"),
    "twice as high": (lambda x, t, a, s: cut(cut(x, t, a, s), t + s, a, s), "your squares are others"),
    "rest brightened": (lambda x, t, a, s: cut(x, t, a, s) * 1.1, "outside the squares have changed"),
    "rounded": (lambda x, t, a, s: cut(x, t, a, s).round(), "outside the squares have changed"),
    "two mistakes": (lambda x, t, a, s: cut(x, a, t, s + 1), "changed places: .* And: |changed places"),
    "no return": (lambda x, t, a, s: None, "return"),
    "numpy array": (lambda x, t, a, s: cut(x, t, a, s).numpy(), "a single tensor"),
    "exit": (lambda x, t, a, s: exit(), "SystemExit"),
}


# --------------------------------------------------------------------------------------------------- exercise 2
def smooth_cross_entropy(scores, labels, smoothing):
    k = scores.shape[1]
    targets = (1 - smoothing) * F.one_hot(labels, k) + smoothing / k
    return -(targets * scores.log_softmax(1)).sum(1).mean()


def by_two_terms(scores, labels, smoothing):
    log_p = F.log_softmax(scores, dim=-1)
    own = -log_p[torch.arange(len(labels)), labels].mean()
    return (1 - smoothing) * own + smoothing * -log_p.mean()


def by_scatter(scores, labels, smoothing):
    targets = torch.full_like(scores, smoothing / scores.shape[1])
    targets.scatter_add_(1, labels[:, None], torch.full_like(scores[:, :1], 1 - smoothing))
    return torch.einsum("nk,nk->n", targets, scores.logsumexp(1, keepdim=True) - scores).mean()


def in_a_loop(scores, labels, smoothing):
    total = 0
    for row, label in zip(scores.log_softmax(1), labels, strict=True):
        total = total - (1 - smoothing) * row[label] - smoothing * row.mean()
    return total / len(scores)


def by_nll(scores, labels, smoothing):
    logs = nn_log(scores)
    return (1 - smoothing) * F.nll_loss(logs, labels) - smoothing * logs.mean()


nn_log = torch.nn.LogSoftmax(dim=1)


def by_torch(scores, labels, smoothing):
    return F.cross_entropy(scores, labels, label_smoothing=smoothing)


def with_log(log):
    return lambda x, y, e: smoothed(x, y, e, log=log)


def without_k(scores, labels, smoothing):
    k = scores.shape[1]
    return -(((1 - smoothing) * F.one_hot(labels) + smoothing / k) * scores.log_softmax(1)).sum(1).mean()


def only_first(scores, labels, smoothing):
    for i in range(len(scores)):
        return smooth_cross_entropy(scores[i : i + 1], labels[i : i + 1], smoothing) * 1.5


def ignores_smoothing(scores, labels, smoothing):
    return smoothed(scores, labels, 0.05) * 1.5


WRONG_LOSSES = {  # beside those of the tables
    "the library": (by_torch, "F.cross_entropy's"),
    "the library's module": (lambda x, y, e: torch.nn.CrossEntropyLoss(label_smoothing=e)(x, y), "F.cross_entropy's"),
    "one_hot without K": (without_k, "no image is of the last class"),
    "return in the loop": (only_first, "return stands inside your loop"),
    "smoothing unused": (ignores_smoothing, "'smoothing' is not used"),
    "argmax": (lambda x, y, e: smoothed(x, x.argmax(1), e), "largest score"),
    "one per image": (lambda x, y, e: F.cross_entropy(x, y, label_smoothing=e, reduction="none"), "one loss an image"),
    "one per class": (lambda x, y, e: (x.log_softmax(1) * F.one_hot(y, x.shape[1])).mean(0), "add up over the classes"),
    "an axis": (lambda x, y, e: smoothed(x, y, e)[None], "have no axis"),
    "sigmoid, then log": (with_log(lambda x: x.sigmoid().log()), "sigmoid"),
    "softmax, then log": (with_log(lambda x: x.softmax(1).log()), "softmax gives an exact 0"),
    "exp, sum, log": (with_log(lambda x: x - x.exp().sum(1, True).log()), "hundreds"),
    "log of p + small": (with_log(lambda x: (x.softmax(1) + 1e-8).log()), "hundreds"),
    "detached": (lambda x, y, e: smoothed(x.detach(), y, e), "gradient"),
    "half detached": (with_log(lambda x: x - x.logsumexp(1, True).detach()), "part of the gradient"),
    "item": (lambda x, y, e: smoothed(x, y, e).item(), "a single tensor"),
    "float": (lambda x, y, e: smoothed(x.float(), y, e), "dtype"),
    "three classes": (lambda x, y, e: smoothed(x, y, e, targets=lambda h, e, n, k: (1 - e) * h + e / 3), "targets of"),
    "smoothing squared": (lambda x, y, e: smoothed(x, y, e * e), "targets of"),
    "focal": (with_log(lambda x: x.log_softmax(1) * (1 - x.softmax(1)) ** 2), "with smoothing=0"),
    "two mistakes": (lambda x, y, e: -smoothed(x, y, e, log=lambda x: x.softmax(1)), "And: "),
    "in place": (lambda x, y, e: smoothed(x.sub_(x.amax(1, True)), y, e), "in place"),
    "no return": (lambda x, y, e: None, "return"),
}


# --------------------------------------------------------------------------------------------------- exercise 3
def paired(ours, theirs, t):
    d = ours - theirs
    half = t * d.std() / len(d) ** 0.5
    return d.mean(), d.mean() - half, d.mean() + half


def as_one_tensor(ours, theirs, t):
    return torch.stack(paired(ours, theirs, t))


def as_numbers(ours, theirs, t):
    return [value.item() for value in paired(ours, theirs, t)]


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
    "mean only": (lambda a, b, t: (a - b).mean(), "three numbers"),
    "a string": (lambda a, b, t: "abc", "three numbers"),
    "differences": (lambda a, b, t: (a - b, a - b, a - b), "one number each"),
    "words": (lambda a, b, t: ("mean", "low", "high"), "are numbers"),
    "no return": (lambda a, b, t: None, "return"),
    "in place": (lambda a, b, t: paired(a.sub_(b), 0 * b, t), "in place"),
    "global": (with_global, "reads 'LATER' of the notebook in place of your argument theirs"),
    "numpy's std": (lambda a, b, t: interval(a, b, t, spread=lambda d, *_: d.numpy().std()), "divides by n"),
    "skew": (lambda a, b, t: interval(a, b, t, order=lambda m, h, d: (m, m - h, m + 1.1 * h)), "equally far"),
    "absolute t": (lambda a, b, t: interval(a, b, t, factor=lambda t: t + 1), "t times something else"),
    "other mean": (lambda a, b, t: paired(a, b.flip(0) * 1.01, t), "mean is another"),
    "two mistakes": (lambda a, b, t: paired(b, a, 1.96), "And: "),
    "three mistakes": (lambda a, b, t: interval(b, a, 1.96, divisor=lambda n: 1), "mean is another"),
    "nan": (lambda a, b, t: (float("nan"),) * 3, "nan"),
    "crash": (lambda a, b, t: a.middle(), "your code stopped"),
}


def by_step(reference):
    return lambda **steps: lambda *arguments: reference(*arguments, **steps)


EXERCISES = {
    "cutout": (check.check_cutout, [cut, with_where, with_product, with_clone, with_numpy, with_vmap], WRONG_CUTS),
    "smooth_cross_entropy": (
        check.check_smooth_cross_entropy,
        [smooth_cross_entropy, by_two_terms, by_scatter, in_a_loop, by_nll],
        WRONG_LOSSES,
    ),
    "paired": (check.check_paired, [paired, as_one_tensor, as_numbers, as_one_array, by_hand], WRONG_PAIRS),
}
TABLES = {
    "cutout": (by_step(cutout), CUTOUT),
    "smooth_cross_entropy": (by_step(smoothed), SMOOTHED),
    "paired": (by_step(interval), PAIRED),
}
