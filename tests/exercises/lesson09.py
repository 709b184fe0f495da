"""Answers to the exercises of lesson 09; what the names mean is said in __init__.py."""

import torch
import torch.nn.functional as F

from attn_lessons import check


# --------------------------------------------------------------------------------------------------- exercise 1
def mask_of(images, top, left, size, height=None):
    row, column = torch.arange(images.shape[2]), torch.arange(images.shape[3])
    in_rows = (row >= top[:, None]) & (row < top[:, None] + (height or size))
    in_columns = (column >= left[:, None]) & (column < left[:, None] + size)
    return in_rows[:, :, None], in_columns[:, None, :]


def cut(images, top, left, size):
    rows, columns = mask_of(images, top, left, size)
    return images.masked_fill((rows & columns)[:, None], 0)


def with_where(images, top, left, size):
    y, x = torch.meshgrid(torch.arange(images.shape[2]), torch.arange(images.shape[3]), indexing="ij")
    dy, dx = y - top.view(-1, 1, 1, 1), x - left.view(-1, 1, 1, 1)
    inside = (dy >= 0) & (dy < size) & (dx >= 0) & (dx < size)
    return torch.where(inside, torch.zeros_like(images), images)


def with_product(images, top, left, size):
    rows, columns = mask_of(images, top, left, size)
    return images * ~(rows & columns)[:, None]


def with_clone(images, top, left, size):
    rows, columns = mask_of(images, top, left, size)
    out = images.clone()
    out[(rows & columns)[:, None].expand_as(out)] = 0
    return out


def with_subtraction(images, top, left, size):
    rows, columns = mask_of(images, top, left, size)
    return images - images * (rows & columns)[:, None].to(images.dtype)


def with_a_loop(images, top, left, size):
    out = images.clone()
    for i in range(len(out)):
        t, b = max(0, int(top[i])), max(0, int(top[i]) + size)
        a, c = max(0, int(left[i])), max(0, int(left[i]) + size)
        out[i, :, t:b, a:c] = 0
    return out


def by_slices(images, top, left, size):
    out = images.clone()
    for i in range(len(out)):
        out[i, :, top[i] : top[i] + size, left[i] : left[i] + size] = 0
    return out


def in_place(images, top, left, size):
    rows, columns = mask_of(images, top, left, size)
    return images.masked_fill_((rows & columns)[:, None], 0)


def either(images, top, left, size):
    rows, columns = mask_of(images, top, left, size)
    return images.masked_fill((rows | columns)[:, None], 0)


def first_channel(images, top, left, size):
    rows, columns = mask_of(images, top, left, size)
    out = images.clone()
    out[:, 0][rows & columns] = 0
    return out


def all_squares(images, top, left, size):
    rows, columns = mask_of(images, top, left, size)
    return images.masked_fill((rows & columns).any(0), 0)


def every_with_every(images, top, left, size):
    rows, columns = mask_of(images, top, left, size)
    return images[:, None, 0] * ~(rows & columns)[None]


def no_channel_axis(images, top, left, size):
    rows, columns = mask_of(images, top, left, size)
    return images.masked_fill(rows & columns, 0)


def keep_mask(images, top, left, size):
    rows, columns = mask_of(images, top, left, size)
    return (~(rows & columns)).float()


def filled(value):
    def fill(images, top, left, size):
        rows, columns = mask_of(images, top, left, size)
        return torch.where((rows & columns)[:, None], value(images), images)

    return fill


WRONG_CUTS = {
    "nothing cut": (lambda x, t, a, s: x.clone(), "nothing is cut"),
    "inverted": (lambda x, t, a, s: x - cut(x, t, a, s), "inside and outside"),
    "rows and columns swapped": (lambda x, t, a, s: cut(x, a, t, s), "changed places"),
    "first square for all": (lambda x, t, a, s: cut(x, t[:1], a[:1], s), "same pixels"),
    "too large": (lambda x, t, a, s: cut(x, t, a, s + 1), "too large"),
    "too small": (lambda x, t, a, s: cut(x, t, a, s - 1), "too small"),
    "starts one late": (lambda x, t, a, s: cut(x, t + 1, a + 1, s - 1), "too small"),
    "shifted by one": (lambda x, t, a, s: cut(x, t + 1, a + 1, s), "too low"),
    "centre": (lambda x, t, a, s: cut(x, t - s // 2, a - s // 2, s), "centre"),
    "rows or columns": (either, "whole stripes"),
    "rows only": (lambda x, t, a, s: cut(x, t, a * 0 - 50, 0) * ~mask_of(x, t, a, s)[0][:, None], "whole rows"),
    "columns only": (lambda x, t, a, s: x * ~mask_of(x, t, a, s)[1][:, None], "whole columns"),
    "first channel": (first_channel, "first channel"),
    "ones": (filled(torch.ones_like), "filled with 1"),
    "mean": (filled(lambda x: x.mean().expand_as(x)), "mean"),
    "mean of the image": (filled(lambda x: x.mean((2, 3), keepdim=True).expand_as(x)), "mean"),
    "pushed in": (lambda x, t, a, s: cut(x, t.clamp(0, x.shape[2] - s), a.clamp(0, x.shape[3] - s), s), "pushed in"),
    "negative pushed in": (lambda x, t, a, s: cut(x, t.clamp(min=0), a.clamp(min=0), s), "pushed in"),
    "slices in a loop": (by_slices, "less than|pushed"),
    "loop": (with_a_loop, "loop"),
    "in place": (in_place, "in place"),
    "all squares in all images": (all_squares, "same pixels"),
    "every with every": (every_with_every, "every image has met every square"),
    "no channel axis": (no_channel_axis, "your code stopped"),
    "mask": (keep_mask, "mask"),
    "float": (lambda x, t, a, s: cut(x.float(), t, a, s), "dtype"),
    "no return": (lambda x, t, a, s: None, "return"),
    "lower right corner": (lambda x, t, a, s: cut(x, t - s + 1, a - s + 1, s), "lower right"),
    "last square for all": (lambda x, t, a, s: cut(x, t[-1:], a[-1:], s), "same pixels"),
    "filled with −1": (filled(lambda x: -torch.ones_like(x)), "nothing is 0"),
    "twice as high": (lambda x, t, a, s: cut(cut(x, t, a, s), t + s, a, s), "more than the squares"),
    "channels lost": (lambda x, t, a, s: cut(x, t, a, s)[:, 0], "channels are gone"),
    "rest brightened": (lambda x, t, a, s: cut(x, t, a, s) * 1.1, "outside the squares have changed"),
    "random squares": (
        lambda x, t, a, s: cut(x, torch.randint(5, t.shape), torch.randint(5, a.shape), s),
        "than the squares is gone",
    ),
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


def by_torch(scores, labels, smoothing):
    return F.cross_entropy(scores, labels, label_smoothing=smoothing)


def hard(scores, labels):
    return F.one_hot(labels, scores.shape[1]).float()


def with_targets(targets, log=lambda scores: scores.log_softmax(1)):
    return lambda x, y, e: -(targets(hard(x, y), e, *x.shape) * log(x)).sum(1).mean()


def right_goals(h, e, n, k):
    return (1 - e) * h + e / k


WRONG_LOSSES = {
    "no smoothing": (lambda x, y, e: F.cross_entropy(x, y), "still hard"),
    "others only": (with_targets(lambda h, e, n, k: (1 - e) * h + e / (k - 1) * (1 - h)), "*other* classes"),
    "own share lost": (with_targets(lambda h, e, n, k: (1 - e) * h + e / k * (1 - h)), "lost its own share"),
    "not spread": (with_targets(lambda h, e, n, k: (1 - e) * h), "went nowhere"),
    "all of it each": (with_targets(lambda h, e, n, k: (1 - e) * h + e), "all of smoothing"),
    "right one keeps 1": (with_targets(lambda h, e, n, k: h + e / k), "kept all of its 1"),
    "swapped": (with_targets(lambda h, e, n, k: e * h + (1 - e) / k), "changed places"),
    "over images": (with_targets(lambda h, e, n, k: (1 - e) * h + e / n), "number of images"),
    "probabilities smoothed": (
        lambda x, y, e: -((1 - e) * (hard(x, y) * x.softmax(1)).sum(1) + e / x.shape[1]).log().mean(),
        "smoothed the probabilities",
    ),
    "sign": (lambda x, y, e: -by_torch(x, y, e), "sign"),
    "sum over images": (lambda x, y, e: by_torch(x, y, e) * len(x), "added up over the images"),
    "mean over classes": (lambda x, y, e: by_torch(x, y, e) / x.shape[1], "number of classes"),
    "softmax over images": (with_targets(right_goals, lambda x: x.log_softmax(0)), "over the images"),
    "no log": (with_targets(right_goals, lambda x: x.softmax(1)), "no log"),
    "raw scores": (with_targets(right_goals, lambda x: x), "raw scores"),
    "base 10": (with_targets(right_goals, lambda x: x.softmax(1).log10()), "base 10"),
    "argmax": (lambda x, y, e: by_torch(x, x.argmax(1), e), "depend on the labels"),
    "K − 1": (with_targets(lambda h, e, n, k: (1 - e) * h + e / (k - 1)), "not by K − 1"),
    "KL": (
        lambda x, y, e: F.kl_div(x.log_softmax(1), right_goals(hard(x, y), e, *x.shape), reduction="batchmean"),
        "KL divergence",
    ),
    "sigmoid": (with_targets(right_goals, lambda x: x.sigmoid().log()), "even with smoothing=0"),
    "base 2": (with_targets(right_goals, lambda x: x.softmax(1).log2()), "base 2"),
    "squared error": (lambda x, y, e: ((x.softmax(1) - right_goals(hard(x, y), e, *x.shape)) ** 2).mean(), "squared"),
    "binary": (
        lambda x, y, e: F.binary_cross_entropy_with_logits(x, right_goals(hard(x, y), e, *x.shape)),
        "yes-or-no",
    ),
    "one per image": (lambda x, y, e: F.cross_entropy(x, y, label_smoothing=e, reduction="none"), "one loss an image"),
    "always 0.1": (lambda x, y, e: F.cross_entropy(x, y, label_smoothing=0.1), "whatever smoothing says"),
    "softmax, then log": (with_targets(right_goals, lambda x: x.softmax(1).log()), "hundreds"),
    "detached": (lambda x, y, e: by_torch(x.detach(), y, e), "gradient"),
    "item": (lambda x, y, e: by_torch(x, y, e).item(), "a single tensor"),
    "three classes": (with_targets(lambda h, e, n, k: (1 - e) * h + e / 3), "targets of|K − 1"),
    "mean over everything": (
        lambda x, y, e: -(right_goals(hard(x, y), e, *x.shape) * x.log_softmax(1)).mean(),
        "number of classes",
    ),
    "only the right class": (lambda x, y, e: -((1 - e) * hard(x, y) * x.log_softmax(1)).sum(1).mean(), "went nowhere"),
    "no return": (lambda x, y, e: None, "return"),
    "softmax twice": (lambda x, y, e: by_torch(x.softmax(1), y, e), "twice"),
    "half the smoothing": (lambda x, y, e: by_torch(x, y, e / 2), "targets of one image"),
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


def with_numpy(ours, theirs, t):
    d = (ours - theirs).numpy()
    half = t * d.std(ddof=1) / d.size**0.5
    return d.mean(), d.mean() - half, d.mean() + half


def by_hand(ours, theirs, t):
    d = [a - b for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]
    mean = sum(d) / len(d)
    error = (sum((v - mean) ** 2 for v in d) / (len(d) - 1) / len(d)) ** 0.5
    return mean, mean - t * error, mean + t * error


def interval(half, middle=lambda d: d.mean()):
    def attempt(ours, theirs, t):
        d = ours - theirs
        return middle(d), middle(d) - half(d, t, ours, theirs), middle(d) + half(d, t, ours, theirs)

    return attempt


WRONG_PAIRS = {
    "low and high swapped": (lambda a, b, t: [paired(a, b, t)[i] for i in (0, 2, 1)], "low and high"),
    "low, mean, high": (lambda a, b, t: [paired(a, b, t)[i] for i in (1, 0, 2)], "order is mean"),
    "turned round": (lambda a, b, t: paired(b, a, t), "other way round"),
    "no root n": (interval(lambda d, t, a, b: t * d.std()), "left out √n"),
    "n": (interval(lambda d, t, a, b: t * d.std() / len(d)), "divided by n"),
    "no t": (interval(lambda d, t, a, b: d.std() / len(d) ** 0.5), "t is missing"),
    "1.96": (interval(lambda d, t, a, b: 1.96 * d.std() / len(d) ** 0.5), "1.96"),
    "variance": (interval(lambda d, t, a, b: t * d.var() / len(d) ** 0.5), "variance"),
    "variance over n": (interval(lambda d, t, a, b: t * d.var() / len(d)), "variance"),
    "over n inside": (interval(lambda d, t, a, b: t * d.std(correction=0) / len(d) ** 0.5), "divides by n"),
    "n − 1 twice": (interval(lambda d, t, a, b: t * d.std() / (len(d) - 1) ** 0.5), "√(n − 1)"),
    "half of it": (interval(lambda d, t, a, b: t * d.std() / len(d) ** 0.5 / 2), "half of the interval"),
    "unpaired": (interval(lambda d, t, a, b: t * ((a.var() + b.var()) / len(d)) ** 0.5), "pair by pair"),
    "sum of both sds": (interval(lambda d, t, a, b: t * (a.std() + b.std()) / len(d) ** 0.5), "pair by pair"),
    "difference of sds": (interval(lambda d, t, a, b: t * (a.std() - b.std()).abs() / len(d) ** 0.5), "pair by pair"),
    "sd of ours": (interval(lambda d, t, a, b: t * a.std() / len(d) ** 0.5), "pair by pair"),
    "all in one": (interval(lambda d, t, a, b: t * torch.cat([a, b]).std() / len(d) ** 0.5), "pair by pair"),
    "absolute": (lambda a, b, t: paired((a - b).abs(), 0 * b, t), "absolute"),
    "median": (interval(lambda d, t, a, b: t * d.std() / len(d) ** 0.5, torch.median), "median"),
    "sorted": (lambda a, b, t: paired(a.sort().values, b.sort().values, t), "sorted"),
    "extremes": (lambda a, b, t: ((a - b).mean(), (a - b).min(), (a - b).max()), "smallest and the largest"),
    "mean and half": (lambda a, b, t: paired(a, b, t)[:2], "three numbers"),
    "mean only": (lambda a, b, t: (a - b).mean(), "three numbers"),
    "differences": (lambda a, b, t: (a - b, a - b, a - b), "one number each"),
    "no return": (lambda a, b, t: None, "return"),
    "root of t": (interval(lambda d, t, a, b: (t / len(d)) ** 0.5 * d.std()), "twice the t"),
    "upper half only": (lambda a, b, t: (paired(a, b, t)[0], paired(a, b, t)[0], paired(a, b, t)[2]), "equally far"),
    "mean absolute deviation": (
        interval(lambda d, t, a, b: t * (d - d.mean()).abs().mean() / len(d) ** 0.5),
        "what t multiplies",
    ),
    "words": (lambda a, b, t: ("mean", "low", "high"), "are numbers"),
    "relative": (lambda a, b, t: paired(a / b, 0 * b + 1, t), "mean is another"),
    "sd of theirs": (interval(lambda d, t, a, b: t * b.std() / len(d) ** 0.5), "pair by pair|not"),
    "doubled": (interval(lambda d, t, a, b: 2 * t * d.std() / len(d) ** 0.5), "what t multiplies|twice"),
}


EXERCISES = {
    "cutout": (check.check_cutout, [cut, with_where, with_product, with_clone, with_subtraction], WRONG_CUTS),
    "smooth_cross_entropy": (
        check.check_smooth_cross_entropy,
        [smooth_cross_entropy, by_two_terms, by_scatter, by_torch],
        WRONG_LOSSES,
    ),
    "paired": (check.check_paired, [paired, as_one_tensor, as_numbers, with_numpy, by_hand], WRONG_PAIRS),
}
