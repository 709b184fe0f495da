"""What people write in place of a step of lesson 09: cutout, the loss with smoothed labels, the paired difference."""

from functools import partial

import torch
import torch.nn.functional as F

from .steps import Table

# --------------------------------------------------------------------------------------------------- cutout
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
    "size counts once to either side of (top, left): it is the whole side.": lambda r, t, s: (r - t).abs() < s,
    "your squares are one pixel too large: row top + size is outside.": lambda r, t, s: square(r, t, s + 1),
    "your squares are one pixel too small: row top is inside.": lambda r, t, s: square(r, t + 1, s - 1),
    "your squares are one pixel too small: row top + size − 1 is inside.": lambda r, t, s: square(r, t, s - 1),
    "your squares lie one pixel too low: row top itself is inside.": lambda r, t, s: square(r, t + 1, s),
    "your squares end after half of size: size is the whole side.": lambda r, t, s: square(r, t, s // 2),
    "the last row or column stays: cut as far as the image goes.": lambda r, t, s: square(r, t, s) & (r < len(r) - 1),
    "squares partly outside are pushed in: cut the part inside.": lambda r, t, s: square(r, t.clamp(0, len(r) - s), s),
    "squares that begin outside are pushed in: cut their part inside.": lambda r, t, s: square(r, t.clamp(0), s),
    "what lies outside comes in again at the other end (%): cut it off.": lambda r, t, s: (r - t) % len(r) < s,
    "a negative top or left counts from the other end: it means outside.": lambda r, t, s: square(r, t % len(r), s),
    "in a slice, a negative beginning counts from the other end: compare positions instead.":
        lambda r, t, s: (r >= t + len(r) * (t < 0)) & (r < t + s + len(r) * (t + s < 0)),
}  # fmt: skip
ROWS, COLUMNS = ({f"{axis} only: {idea}": one for idea, one in INSIDE.items()} for axis in ("rows", "columns"))
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
    **{f"the squares hold the mean of {one}: set them to 0.": lambda x, m, axes=axes: x.where(~m, x.mean(axes, True))
       for one, axes in {"a channel": (2, 3), "an image": (1, 2, 3), "all images": (0, 1, 2, 3)}.items()},
    **{f"the squares are filled with {value}: set them to 0.": partial(torch.masked_fill, value=value)
       for value in (1, -1, 0.5, 127, 128, 255)},
}  # fmt: skip
CUTOUT = dict(corners=CORNERS, inside=INSIDE, rows=ROWS, columns=COLUMNS, join=JOIN, fill=FILL)
IMAGES = dict(fill="the images, BCHW")


def cutout(x, top, left, size, corners=lambda t, a: (t, a), inside=square, rows=None, columns=None,
           join=torch.logical_and, fill=lambda x, m: x.masked_fill(m, 0)):  # fmt: skip
    top, left = corners(top[:, None], left[:, None])
    in_rows = (rows or inside)(torch.arange(x.shape[2]), top, size)
    in_columns = (columns or inside)(torch.arange(x.shape[3]), left, size)
    return fill(x, join(in_rows[:, :, None], in_columns[:, None])[:, None])


# --------------------------------------------------------------------------------------------------- the loss
LOG: Table = {  # scores → log probabilities
    "your softmax goes over the images: the classes of one image compete.": lambda x: x.log_softmax(0),
    "there is no log: take the log of the probabilities.": lambda x: x.softmax(1),
    "these are raw scores: log_softmax makes log probabilities of them.": lambda x: x,
    "that is the logarithm to base 2: take the natural one.": lambda x: x.softmax(1).log2(),
    "you use a sigmoid, one class at a time: softmax lets the classes compete.": F.logsigmoid,
    "the largest score is subtracted in one of two places: in both, or in none.":
        lambda x: x.log_softmax(1) + x.amax(1, True),
}  # fmt: skip
AMOUNT: Table = {"smoothing and 1 − smoothing have changed places.": lambda e: torch.tensor(1 - e)}
SHARE: Table = {  # smoothing, n, K → what each class gets
    "smoothing is shared by all K classes, not by K − 1.": lambda e, n, k: e / (k - 1),
    "every class gets all of smoothing: it is shared, smoothing / K each.": lambda e, n, k: e,
    "you divide smoothing by the number of images: take the classes.": lambda e, n, k: e / n,
    "the even share is not multiplied by smoothing.": lambda e, n, k: 1 / k,
}
TARGETS: Table = {  # one-hot labels (n, K), smoothing, share → targets
    "smoothing changes nothing: the labels are still hard.": lambda y, e, s: y,
    "the right class lost its own share of smoothing.": lambda y, e, s: (1 - e) * y + s * (1 - y),
    "what you take from the right class goes nowhere: it is spread over all.": lambda y, e, s: (1 - e) * y,
    "the right class keeps all of its 1: an image's targets no longer sum to 1.": lambda y, e, s: y + s,
    "1 − smoothing, written into whole numbers (one_hot), becomes 0.": lambda y, e, s: ((1 - e) * y).floor() + s,
    "[:, labels] reads all labels for each image.": lambda y, e, s: (1 - e) * (0 * y + y.mean(0)) + s,
    "[:, labels] sets all labels for each image.": lambda y, e, s: (1 - e) * (0 * y + y.amax(0)) + s,
}
TOTAL: Table = {  # targets, log probabilities, scores → the loss
    "you add up over the images: take their mean.": lambda t, g, x: -(t * g).sum(),
    "you divide by the number of classes as well: add up over the classes.": lambda t, g, x: -(t * g).mean(),
    "every class is a yes-or-no question: use a softmax.": lambda t, g, x: F.binary_cross_entropy_with_logits(x, t),
    "you smooth the probabilities: smooth the targets.": lambda t, g, x: -(t * g.exp()).sum(1).log().mean(),
    "that is the KL divergence: leave out the targets' log.": lambda t, g, x: (t.xlogy(t) - t * g).sum(1).mean(),
}
SMOOTHED = dict(log=LOG, amount=AMOUNT, share=SHARE, targets=TARGETS, total=TOTAL)
SCORES = dict(total="the loss, ", amount="smoothing, ", enter="the scores, BK", log="the log probabilities, BK",
              targets="the targets, BK")  # fmt: skip


def smoothed(scores, labels, smoothing, enter=lambda x: x, log=lambda x: x.log_softmax(1), amount=torch.tensor,
             share=lambda e, n, k: e / k, targets=lambda y, e, s: (1 - e) * y + s,
             total=lambda t, g, x: -(t * g).sum(1).mean()):  # fmt: skip
    hard, e, x = F.one_hot(labels, scores.shape[1]).to(scores), amount(smoothing), enter(scores)
    return total(targets(hard, e, share(e, *scores.shape)), log(x), x)


# --------------------------------------------------------------------------------------------------- the difference
SUBTRACT: Table = {  # ours, theirs → the differences
    "you subtract the other way round: it is ours − theirs.": lambda a, b: b - a,
    "you sort the runs: then the pairs are no longer those of one seed.": lambda a, b: a.sort()[0] - b.sort()[0],
}
MIDDLE: Table = {"you take the median of the differences; the mean is meant.": torch.median}
SPREAD: Table = {  # differences, ours, theirs → in place of their standard deviation
    f"{what} is not what t is multiplied by: take the standard deviation (n − 1) of the differences.": spread
    for what, spread in {
        "the variance": lambda d, a, b: d.var(), "largest minus smallest": lambda d, a, b: d.max() - d.min(),
        "a standard deviation that divides by n": lambda d, a, b: d.std(correction=0),
        "1": lambda d, a, b: torch.ones(()), "the sum of both spreads": lambda d, a, b: a.std() + b.std(),
        "the spread of ours": lambda d, a, b: a.std(), "the spread of theirs": lambda d, a, b: b.std(),
        "the spread without pairing": lambda d, a, b: (a.var() + b.var()).sqrt(),
    }.items()
}  # fmt: skip
DIVISOR: Table = {  # n → in place of √n
    "you leave out √n: a mean of n differences scatters less than one.": lambda n: 1,
    "you divide by √(n − 1): n − 1 is in std already; here it is √n.": lambda n: (n - 1) ** 0.5,
    "you divide by √(2n): there are n differences.": lambda n: (2 * n) ** 0.5,
    "you multiply by √n: divide.": lambda n: n**-0.5,
    "you divide by √3, whatever n is: len(…) counts the differences.": lambda n: 3**0.5,
    "** comes before /: n ** 1/2 is n / 2. Put 1/2 in brackets.": lambda n: n / 2,
    "** comes before /: s / n ** 1/2 is s / n / 2. Put 1/2 in brackets.": lambda n: 2 * n,
    "you divide by n: the spread of a mean falls with √n.": lambda n: n,
}
FACTOR: Table = {
    f"you take {number} in place of t: half of the interval is t times the spread of the mean.":
        lambda t, number=number: torch.tensor(number) for number in (1, 1.96, 2, 4.303)
}  # fmt: skip
ORDER: Table = {  # mean, half of the interval, differences, ours → three numbers
    "low and high have changed places.": lambda m, half, d, a: (m, m + half, m - half),
    "the order is mean, low, high.": lambda m, half, d, a: (m - half, m, m + half),
    "low and high are distances from the mean: add it to both.": lambda m, half, d, a: (m, -half, half),
    "low and high are both half of the interval: go down and up from the mean.": lambda m, half, d, a: (m, half, half),
    "low and high are the smallest and the largest difference.": lambda m, half, d, a: (m, d.min(), d.max()),
    "the interval lies around the mean of ours: it is that of the differences.":
        lambda m, half, d, a: (m, a.mean() - half, a.mean() + half),
    **{f"you round to {n} decimals: leave the numbers as they are.":
       lambda m, half, d, a, n=n: [v.round(decimals=n) for v in (m, m - half, m + half)] for n in (0, 1, 2, 3)},
}  # fmt: skip
PAIRED = dict(subtract=SUBTRACT, middle=MIDDLE, spread=SPREAD, divisor=DIVISOR, factor=FACTOR, order=ORDER)
ACCURACIES = dict(subtract="the differences, ", middle="the mean, ", factor="t, ", spread="the standard deviation, ")


def interval(ours, theirs, t, subtract=torch.sub, middle=torch.mean, spread=lambda d, a, b: d.std(),
             divisor=lambda n: n**0.5, factor=torch.tensor,
             order=lambda m, half, d, a: (m, m - half, m + half)):  # fmt: skip
    d = subtract(ours, theirs)
    return torch.stack(order(middle(d), factor(t) * spread(d, ours, theirs) / divisor(len(ours)), d, ours))
