"""Exercises of lesson 09: cutout for a batch, the cross-entropy with smoothed labels, and the paired difference."""

import sys
from collections import Counter
from collections.abc import Callable

import torch
import torch.nn.functional as F

from . import core, probes
from .core import WrongIdea, call, exercise, expect, same, shape_of
from .source import reading
from .steps import Table, explain

HINTS = {
    "Boolean value of Tensor": "& binds before >= and <: put each comparison in brackets.",
    "converted to an index": "A slice takes one number: compare positions with all tops and lefts instead.",
    "Class values": "There are scores.shape[1] classes.",
}


def run(attempt: Callable, function: Callable, *inputs: torch.Tensor, **words) -> torch.Tensor:
    """``call(function, …)``; where it stops, a global of the notebook explains more than torch's message."""
    try:
        return call(function, *inputs, hints=HINTS, **words)
    except WrongIdea as idea:
        told = reading(attempt) if "your code stopped" in str(idea) else ""
        raise WrongIdea(told if "of the notebook" in told else str(idea)) from None


def in_turn(reference: Callable) -> Callable:
    """The reference on several draws: a single number agrees by accident too easily."""
    return lambda draws, *rest, **steps: torch.stack([reference(*draw, *rest, **steps) for draw in draws])


def events(function: Callable, *arguments) -> Counter:
    """How often each piece of Python code is entered or goes on to another line."""
    counted, before = Counter(), sys.gettrace()

    def trace(frame, event, argument):
        counted[frame.f_code] += 1
        return trace

    sys.settrace(trace)
    try:
        core.guarded(function, *arguments, given="another batch")
    finally:
        sys.settrace(before)
    return counted


# --------------------------------------------------------------------------------------------------- exercise 1
CORNERS: Table = {  # top, left → the same
    "rows and columns have changed places: top counts rows, and H comes before W.": lambda t, a: (a, t),
    "top is used for the columns as well: they begin at left.": lambda t, a: (t, t),
    "every image loses the square of the first: each has its own.": lambda t, a: (0 * t + t[:1], 0 * a + a[:1]),
}


def square(r, t, s):
    return (r >= t) & (r < t + s)


INSIDE: Table = {  # positions, top or left, size → is it inside?
    "you take (top, left) for the lower right corner; it is upper left.": lambda r, t, s: square(r, t - s + 1, s),
    "you take (top, left) for the centre; it is the upper left corner.": lambda r, t, s: square(r, t - s // 2, s),
    "you take (top, left) for the middle; it is the upper left corner.": lambda r, t, s: (r - t).abs() <= s // 2,
    "size counts once to either side of (top, left): it is the whole side.": lambda r, t, s: (r - t).abs() < s,
    "your squares are one pixel too large: row top + size is outside.": lambda r, t, s: square(r, t, s + 1),
    "your squares are one pixel too small: row top is inside.": lambda r, t, s: square(r, t + 1, s - 1),
    "your squares are one pixel too small: row top + size − 1 is inside.": lambda r, t, s: square(r, t, s - 1),
    "your squares lie one pixel too low: row top itself is inside.": lambda r, t, s: square(r, t + 1, s),
    "squares partly outside are pushed in: cut the part inside.": lambda r, t, s: square(r, t.clamp(0, len(r) - s), s),
    "squares that begin outside are pushed in: cut their part inside.": lambda r, t, s: square(r, t.clamp(0), s),
    "the last row or column stays: cut as far as the image goes.": lambda r, t, s: square(r, t, s) & (r < len(r) - 1),
    "a negative top or left counts from the other end: it means outside.": lambda r, t, s: square(r, t % len(r), s),
    "in a slice, a negative beginning counts from the other end: compare positions instead.":
        lambda r, t, s: (r >= t + len(r) * (t < 0)) & (r < t + s + len(r) * (t + s < 0)),
}  # fmt: skip
JOIN: Table = {  # (n, H, 1), (n, 1, W) → (n, H, W), in place of and
    "you join rows and columns with or: a pixel must be in the rows *and* in the columns.": torch.logical_or,
    "whole rows are gone: a pixel must be in the columns, too.": lambda rows, columns: rows | columns & False,
    "whole columns are gone: a pixel must be in the rows, too.": lambda rows, columns: rows & False | columns,
    "every image loses all squares: each has its own.": lambda r, c: (r & c).any(0).expand(len(r), -1, -1),
}
FILL: Table = {  # images, mask (n, 1, H, W) → images
    "nothing is cut: masked_fill, where and * give new images; return those.": lambda x, m: x,
    "inside and outside have changed places: the square is 0, the rest stays.": lambda x, m: x * m,
    "only the first channel is cut: the mask needs an axis of size 1.": lambda x, m: x * ~(m & (x == x[:, :1])),
    "the squares hold the mean of a channel: set them to 0.": lambda x, m: x.where(~m, x.mean((2, 3), True)),
    "the squares hold the mean of an image: set them to 0.": lambda x, m: x.where(~m, x.mean((1, 2, 3), True)),
    **{f"the squares are filled with {value}: set them to 0.": lambda x, m, value=value: x.masked_fill(m, value)
       for value in (1, -1, 0.5, 127, 128, 255, -torch.inf)},
}  # fmt: skip
ROWS, COLUMNS = ({f"{axis} only: {idea}": one for idea, one in INSIDE.items()} for axis in ("rows", "columns"))
CUTOUT = dict(corners=CORNERS, inside=INSIDE, rows=ROWS, columns=COLUMNS, join=JOIN, fill=FILL)


def cutout(x, top, left, size, corners=lambda t, a: (t, a), inside=square, rows=None, columns=None,
           join=torch.logical_and, fill=lambda x, m: x.masked_fill(m, 0)):  # fmt: skip
    top, left = corners(top[:, None], left[:, None])
    in_rows = (rows or inside)(torch.arange(x.shape[2]), top, size)
    in_columns = (columns or inside)(torch.arange(x.shape[3]), left, size)
    return fill(x, join(in_rows[:, :, None], in_columns[:, None])[:, None])


@exercise("one square an image, cut off at the border, and no loop.")
def check_cutout(attempt: Callable) -> None:
    """Check exercise 1 of lesson 09: ``cut(images (n, C, H, W), top (n,), left (n,), size) → (n, C, H, W)``."""
    for n, c, h, w, size in ((5, 3, 13, 11, 6), (3, 3, 7, 7, 3), (1, 3, 5, 8, 5), (6, 1, 8, 5, 1)):
        x = probes.away_from_zero(n, c, h, w)
        ideas = {(n, n, h, w): "every image met every square: top and left need the axis of the images first."}
        ideas |= dict.fromkeys(((n, h, w), (n, 1, h, w)), "the channels are gone, or this is the mask alone.")
        for most in (0, size - 1):  # first squares that lie inside, then some that do not
            top, left = (torch.randint(-most, end - size + most + 1, (n,)) for end in (h, w))
            top[[0, n // 2, -1]] = torch.tensor([-most, 0, h - size + most])
            left[[n // 2, 0, -1]] = torch.tensor([-most, 0, w - size + most])
            outside = "where top or left is negative, a part of the square lies outside: " if most else ""
            result = run(attempt, lambda x, t, a, s=size: attempt(x, t, a, s), x, top, left, prefix=outside)
            probes.expect_shape(result, x.shape, f"images of shape {shape_of(*x.shape)}", ideas, "it should stay.")
            holes, stay = (result == 0).any(1, True), (cutout(x, top, left, size) != 0).all(1, True)
            otherwise = (
                outside + "your squares are others: rows top to top + size − 1, columns left to left + size − 1."
            )
            if n > 1 and (holes == holes[:1]).all():
                otherwise = "every image loses the same pixels: each has its own."
            if ((result != x) & stay & ~holes).any():
                otherwise = "pixels outside the squares have changed: they stay as they are."
            explain(result, cutout, (x, top, left, size), CUTOUT, otherwise, attempt)
    for dtype in (torch.uint8, torch.float64):
        x, corner = torch.randint(1, 256, (3, 3, 8, 8)).to(dtype), torch.tensor([0, 2, 5])
        result = run(attempt, lambda x, t: attempt(x, t, t, 3), x, corner)
        kept = result.dtype == dtype and same(result, cutout(x, corner, corner, 3))
        expect(kept, f"right for float32 images, but {dtype} comes back as {result.dtype}, or changed: keep the dtype.")
    few, many = (events(attempt, torch.rand(n, 3, 25, 25), *2 * [torch.arange(n)], n // 2).total() for n in (3, 23))
    expect(many < few + 10, "the zeros are right, but there is a loop: compare all rows with all tops at once.")


# --------------------------------------------------------------------------------------------------- exercise 2
LOG: Table = {  # scores → log probabilities
    "your softmax goes over the images: the classes of one image compete.": lambda x: x.log_softmax(0),
    "you subtract the largest score in one place of two.": lambda x: x.log_softmax(1) - x.amax(1, True),
    "there is no log: take the log of the probabilities.": lambda x: x.softmax(1),
    "these are raw scores: log_softmax makes log probabilities of them.": lambda x: x,
    "that is the logarithm to base 2: take the natural one.": lambda x: x.softmax(1).log2(),
    "the softmax is applied twice: once is enough.": lambda x: x.softmax(1).log_softmax(1),
    "you use a sigmoid, one class at a time: softmax lets the classes compete.": F.logsigmoid,
}
TARGETS: Table = {  # one-hot labels (n, K), smoothing, n, K → targets
    "smoothing changes nothing: the labels are still hard.": lambda y, e, n, k: y,
    "only the *other* classes share smoothing: all K do.": lambda y, e, n, k: (1 - e) * y + e / (k - 1) * (1 - y),
    "the right class lost its own share of smoothing.": lambda y, e, n, k: (1 - e) * y + e / k * (1 - y),
    "what you take from the right class goes nowhere: it is spread over all.": lambda y, e, n, k: (1 - e) * y,
    "every class gets all of smoothing: it is shared, smoothing / K each.": lambda y, e, n, k: (1 - e) * y + e,
    "the right class keeps all of its 1: an image's targets no longer sum to 1.": lambda y, e, n, k: y + e / k,
    "smoothing is shared by all K classes, not by K − 1.": lambda y, e, n, k: (1 - e) * y + e / (k - 1),
    "you divide smoothing by the number of images: take the classes.": lambda y, e, n, k: (1 - e) * y + e / n,
    "smoothing and 1 − smoothing have changed places.": lambda y, e, n, k: e * y + (1 - e) / k,
    "labels are off by one: classes count from 0.": lambda y, e, n, k: (1 - e) * y.roll(1, 1) + e / k,
    "the even share is not multiplied by smoothing.": lambda y, e, n, k: (1 - e) * y + 1 / k,
    "[:, labels] reads all labels for each image.": lambda y, e, n, k: (1 - e) * (0 * y + y.mean(0)) + e / k,
    "[:, labels] sets all labels for each image.": lambda y, e, n, k: (1 - e) * (0 * y + y.amax(0)) + e / k,
    "you mix in the next image's label: every class has a share.": lambda y, e, n, k: (1 - e) * y + e * y.roll(-1, 0),
}  # fmt: skip
TOTAL: Table = {  # targets, log probabilities, scores → the loss
    "the sign is turned round: log p is negative, and the loss is not.": lambda t, g, x: (t * g).sum(1).mean(),
    "you add up over the images: take their mean.": lambda t, g, x: -(t * g).sum(),
    "you divide by the number of classes as well: add up over the classes.": lambda t, g, x: -(t * g).mean(),
    "that is a squared error: take −target · log p.": lambda t, g, x: F.mse_loss(g.exp(), t),
    "every class is a yes-or-no question: use a softmax.": lambda t, g, x: F.binary_cross_entropy_with_logits(x, t),
    "that is the KL divergence: leave out the targets' log.": lambda t, g, x: (t.xlogy(t) - t * g).sum(1).mean(),
    "you smooth the probabilities: smooth the targets.": lambda t, g, x: -(t * g.exp()).sum(1).log().mean(),
    "targets and probabilities have changed places.": lambda t, g, x: -(g.exp() * t.log()).sum(1).mean(),
    "you take the class with the largest score for the label.": lambda t, g, x: -g.amax(1).mean(),
}  # fmt: skip
SMOOTHED = {"log": LOG, "targets": TARGETS, "total": TOTAL}
LEFT = "add up over the classes, then take the mean over the images."


def smoothed(scores, labels, smoothing, log=lambda x: x.log_softmax(1), targets=lambda y, e, n, k: (1 - e) * y + e / k,
             total=lambda t, g, x: -(t * g).sum(1).mean()):  # fmt: skip
    return total(targets(F.one_hot(labels, scores.shape[1]).to(scores), smoothing, *scores.shape), log(scores), scores)


@exercise("the cross-entropy with labels that leave every class its share.")
def check_smooth_cross_entropy(attempt: Callable) -> None:
    """Check exercise 2 of lesson 09: ``loss(scores (n, K), labels (n,), smoothing) → ()``."""
    for n, k, e in ((5, 7, 0.0), (5, 7, 0.3), (9, 3, 0.15), (3, 3, 0.3), (1, 6, 0.2), (8, 10, 0.05)):
        draws = [(2 * torch.randn(n, k), torch.arange(k - 1, k - 1 + n) % k) for _ in range(2)]  # all classes occur
        results = [run(attempt, lambda x, y, e=e: attempt(x, y, e), *draw) for draw in draws]
        ideas = {(1,): "let it have no axis.", (k,): LEFT, (n, k): LEFT, (n,): "one loss an image is left: average."}
        for result in results:
            probes.expect_shape(result, (), f"scores of shape {shape_of(n, k)}", ideas, "a single number is wanted.")
        otherwise = "with smoothing=0 the loss is the mean of −log p, where p is the softmax of the right class."
        if e:
            otherwise = f"right with smoothing=0, not with {e}: write down the K targets of an image; they sum to 1."
        explain(torch.stack(results), in_turn(smoothed), (draws, e), SMOOTHED, otherwise, attempt)
    large, labels = torch.tensor([[300.0, 0, -300], [0, 200, 100]]), torch.tensor([1, 0])
    prefix = "no image is of the last class here, and there are scores.shape[1] classes nevertheless: "
    result = call(lambda x, y: attempt(x, y, 0.1), large, labels, prefix=prefix).sum()
    why = "exp is too large for a float" if result.isnan() else "softmax gives an exact 0, and its log is lost"
    told = f"for scores in the hundreds your loss is {result.item():g}: {why}. log_softmax does both in one step."
    expect(same(result, smoothed(large, labels, 0.1)), told)
    scores, labels = torch.randn(5, 7), torch.tensor([0, 3, 1, 6, 3])
    probes.expect_same_gradient(lambda x: attempt(x, labels, 0.3), lambda x: smoothed(x, labels, 0.3), scores)
    result = call(lambda x, y: attempt(x, y, 0.3), scores.double(), labels)
    expect(result.dtype == torch.float64, f"float64 scores give a loss of {result.dtype}: keep their dtype.")
    library = F.cross_entropy.__code__ in events(attempt, scores, labels, 0.3)
    expect(not library, "the numbers are right, but they are F.cross_entropy's: write down its steps yourself.")


# --------------------------------------------------------------------------------------------------- exercise 3
SUBTRACT: Table = {  # ours, theirs → the differences
    "you subtract the other way round: it is ours − theirs.": lambda a, b: b - a,
    "you take absolute values: signs must count.": lambda a, b: (a - b).abs(),
    "you sort the runs: then the pairs are no longer those of one seed.": lambda a, b: a.sort()[0] - b.sort()[0],
}
MIDDLE: Table = {
    "you take the median of the differences; the mean is meant.": torch.median,
    "you add up the differences: take their mean.": torch.sum,
}
SPREAD: Table = {  # differences, ours, theirs → in place of their standard deviation
    f"{what} is not the spread: take the standard deviation (n − 1) of the differences.": spread
    for what, spread in {
        "the variance": lambda d, a, b: d.var(), "that of absolute values": lambda d, a, b: d.abs().std(),
        "a standard deviation that divides by n": lambda d, a, b: d.std(correction=0),
        "a variance that divides by n": lambda d, a, b: d.var(correction=0),
        "the root of the standard deviation": lambda d, a, b: d.std().sqrt(),
        "the mean absolute deviation": lambda d, a, b: (d - d.mean()).abs().mean(),
        "largest minus smallest": lambda d, a, b: d.max() - d.min(), "the mean": lambda d, a, b: d.mean(),
        "that of ours": lambda d, a, b: a.std(), "that of theirs": lambda d, a, b: b.std(),
        "the sum of both": lambda d, a, b: a.std() + b.std(), "1": lambda d, a, b: torch.ones(()),
        "the difference of both": lambda d, a, b: a.std() - b.std(),
        "the absolute difference of both": lambda d, a, b: (a.std() - b.std()).abs(),
        "that without pairing": lambda d, a, b: (a.var() + b.var()).sqrt(),
        "that of all runs together": lambda d, a, b: torch.cat([a, b]).std(),
    }.items()
}  # fmt: skip
DIVISOR: Table = {  # n → in place of √n
    "you leave out √n: a mean of n differences scatters less than one.": lambda n: 1,
    "you divide by √(n − 1): n − 1 is in std already; here it is √n.": lambda n: (n - 1) ** 0.5,
    "** comes before /: n ** 1/2 is n / 2. Put 1/2 in brackets.": lambda n: n / 2,
    "** comes before /: s / n ** 1/2 is s / n / 2. Put 1/2 in brackets.": lambda n: 2 * n,
    "you divide by n: the spread of a mean falls with √n.": lambda n: n,
}
FACTOR: Table = {
    f"you take {what} in place of t: half of the interval is t times the spread of the mean.":
        lambda t, times=times, power=power: times * t**power
    for what, times, power in (("1", 1, 0), ("1.96", 1.96, 0), ("2", 2, 0), ("4.303, whatever t is,", 4.303, 0),
                               ("t / 2", 0.5, 1), ("2t", 2, 1), ("√t", 1, 0.5), ("t²", 1, 2))
}  # fmt: skip
ORDER: Table = {  # mean, half of the interval, differences → three numbers
    "low and high have changed places.": lambda m, half, d: (m, m + half, m - half),
    "the order is mean, low, high.": lambda m, half, d: (m - half, m, m + half),
    "low and high are distances from the mean: add it to both.": lambda m, half, d: (m, -half, half),
    "low and high are both half of the interval: go down and up from the mean.": lambda m, half, d: (m, half, half),
    "low is the mean itself: go down from it, too.": lambda m, half, d: (m, m, m + half),
    "low stops at 0: a difference may be negative.": lambda m, half, d: (m, (m - half).clamp(0), m + half),
    "low and high are the smallest and the largest difference.": lambda m, half, d: (m, d.min(), d.max()),
    **{f"you round to {n} decimals: leave the numbers as they are.":
       lambda m, half, d, n=n: [v.round(decimals=n) for v in (m, m - half, m + half)] for n in (0, 1, 2, 3)},
}  # fmt: skip
PAIRED = dict(subtract=SUBTRACT, middle=MIDDLE, spread=SPREAD, divisor=DIVISOR, factor=FACTOR, order=ORDER)


def interval(ours, theirs, t, subtract=torch.sub, middle=torch.mean, spread=lambda d, a, b: d.std(), divisor=lambda n:
             n**0.5, factor=lambda t: t, order=lambda m, half, d: (m, m - half, m + half)):  # fmt: skip
    d = subtract(ours, theirs)
    return torch.stack(order(middle(d), factor(t) * spread(d, ours, theirs) / divisor(len(ours)), d))


@exercise("a mean of differences and its interval: what the pairs can tell, and how well.")
def check_paired(attempt: Callable) -> None:
    """Check exercise 3 of lesson 09: ``paired(ours (n,), theirs (n,), t) → mean, low, high``."""
    for n, t in ((6, 2.571), (3, 4.303), (12, 2.201)):
        theirs = 70 + 3 * torch.randn(2, n)
        draws = [*zip(theirs - 0.4 + 0.5 * torch.randn(2, n), theirs, strict=True)]
        result = torch.stack([three(attempt, *draw, t) for draw in draws])
        (ours, theirs), (mean, low, high) = draws[0], result[0]
        otherwise = "the mean is right; t times something else than the spread of a mean of differences is added."
        if (high + low - 2 * mean).abs() > 1e-3:
            otherwise = "low and high should lie equally far from the mean."
        if result.isnan().any():
            otherwise = "a number is nan: is that the root of a negative one? Put n − 1 in brackets."
        elif not same(mean, (ours - theirs).mean()):
            otherwise = "the mean is another: average ours − theirs, do not round."
        explain(result, in_turn(interval), (draws, t), PAIRED, otherwise, attempt)


def three(attempt: Callable, ours: torch.Tensor, theirs: torch.Tensor, t: float) -> torch.Tensor:
    """The learner's three numbers, whatever holds them."""
    kept = []
    run(attempt, lambda a, b: (kept.append(attempt(a, b, t)), ours)[1], ours, theirs)
    expect(kept[0] is not None, "your code returned None: does its last line say return?")
    several = hasattr(kept[0], "__iter__") and getattr(kept[0], "ndim", 1) and not isinstance(kept[0], str | dict | set)
    numbers = core.guarded(list, kept[0], given="your result") if several else []
    expect(len(numbers) == 3, "three numbers are wanted, as in return mean, low, high.")
    expect(all(hasattr(number, "__float__") for number in numbers), "mean, low and high are numbers.")
    expect(all(getattr(number, "ndim", 0) == 0 for number in numbers), "mean, low and high are one number each.")
    return torch.tensor([core.guarded(float, number, given="mean, low and high") for number in numbers])
