"""Exercises of lesson 09: cutout for a batch, the cross-entropy with smoothed labels, and the paired difference."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from . import core
from .core import call, exercise, expect, named_mistake, same, shape_of


# --------------------------------------------------------------------------------------------------- exercise 1
@exercise("one square an image, cut off at the border, and no loop.")
def check_cutout(attempt: Callable) -> None:
    """Check exercise 1 of lesson 09: ``cut(images (n, C, H, W), top (n,), left (n,), size) → (n, C, H, W)``."""
    for n, c, h, w, size in ((5, 3, 9, 7, 3), (4, 2, 6, 8, 4), (1, 3, 5, 5, 2)):
        images = torch.rand(n, c, h, w) + 1  # nothing in it is 0
        for most in (0, size - 1):  # first squares that lie inside, then some that do not
            top = torch.randint(-most, h - size + most + 1, (n,))
            left = torch.randint(-most, w - size + most + 1, (n,))
            result = _cut(attempt, images, top, left, size, most > 0)
            core.expect_shape(
                result,
                (n, c, h, w),
                f"images of shape {shape_of(n, c, h, w)}",
                {(n, n, h, w): "every image has met every square: top and left need the axis of the images first."}
                | dict.fromkeys(((n, h, w), (n, 1, h, w)), "the channels are gone, or this is the mask alone."),
                "the images keep their shape.",
            )  # fmt: skip
            right = _squares(images, top, left, size)
            named_mistake(result, right, _cut_mistakes(images, top, left, size))
            holes, wanted = (result == 0).any(1), (right == 0).any(1)
            rest = (~wanted & ~holes)[:, None].expand_as(images)
            expect(same(result[rest], images[rest]), "pixels outside the squares have changed: they stay as they are.")
            where = ", if some of them lie partly outside the image" if most else ""
            expect(holes.any() or not wanted.any(), "nothing is 0 in your result: the squares should be.")
            one_for_all = n > 1 and (holes == holes[:1]).all()
            expect(not one_for_all, "every image lost the same pixels: each has a square of its own.")
            for inside, idea in (((holes & ~wanted).any(), "more"), ((wanted & ~holes).any(), "less")):
                expect(not inside, f"{idea} than the squares is gone{where}: rows top to top + size − 1, columns left "
                       "to left + size − 1.")  # fmt: skip
            expect(same(result, right), "a square is 0 in all channels, whole.")
    levels = torch.randint(1, 256, (3, 3, 8, 8), dtype=torch.uint8)
    top, left = torch.tensor([0, 2, 5]), torch.tensor([4, 1, 0])
    result = _cut(attempt, levels, top, left, 3)
    expect(result.dtype == torch.uint8, f"uint8 images came back as {result.dtype}: keep their dtype.")
    few, many = (_steps(attempt, n) for n in (2, 12))
    expect(
        many <= few,
        f"all zeros are where they should be, but 12 images take {many} torch calls and 2 take {few}: there is a "
        "loop over the images in it. Compare all rows with all tops at once.",
    )


def _cut(attempt: Callable, images: torch.Tensor, top: torch.Tensor, left: torch.Tensor, size: int, out: bool = False):
    outside = "where top or left is negative, a part of the square lies outside: " if out and top.min() < 0 else ""
    return call(lambda i, t, s: attempt(i, t, s, size), images, top, left, prefix=outside)


def _squares(images, top, left, size, height=None):
    rows, columns = torch.arange(images.shape[2]), torch.arange(images.shape[3])
    in_rows = (rows >= top[:, None]) & (rows < top[:, None] + (height or size))
    in_columns = (columns >= left[:, None]) & (columns < left[:, None] + size)
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None])[:, None], 0)


def _cut_mistakes(images, top, left, size) -> list[tuple[torch.Tensor, str]]:
    h, w = images.shape[2:]
    far = max(h, w) + 1
    right = _squares(images, top, left, size)
    rows, columns = _squares(images, top, left * 0, far, size), _squares(images, top * 0, left, size, far)
    rows = images.masked_fill((rows == 0).all(3, keepdim=True), 0)
    one_channel = torch.cat([right[:, :1], images[:, 1:]], 1)
    return [
        (images, "nothing is cut out: masked_fill, where and * give new images; return those."),
        (images - right, "inside and outside have changed places: the square is 0, the rest stays."),
        (_squares(images, left, top, size), "rows and columns have changed places: top counts rows, H comes before W."),
        (_squares(images, top - size + 1, left - size + 1, size), "you took (top, left) for the lower right corner; it "
         "is the upper left one."),
        (_squares(images, top, left, size + 1), "your squares are one pixel too large: row top + size is outside."),
        *[(_squares(images, top + by, left + by, size - 1), "your squares are one pixel too small: row top is inside, "
           "and so is row top + size − 1.") for by in (0, 1)],
        (_squares(images, top + 1, left + 1, size), "your squares lie one pixel too low: row top itself is inside."),
        *[(_squares(images, top - size // 2, left - size // 2, wide), "you took (top, left) for the centre; it is the "
           "upper left corner.") for wide in (size, 2 * (size // 2))],
        (torch.minimum(rows, columns), "you joined rows and columns with or: whole stripes are gone. A pixel must be "
         "in the rows *and* in the columns."),
        *[(lines, f"whole {name} are gone.") for lines, name in ((rows, "rows"), (columns, "columns"))],
        (one_channel, "only the first channel is cut: the mask needs an axis of size 1 for the channels."),
        *[(torch.where(right == 0, images.mean(over, keepdim=True) ** power, images), f"the squares are filled with "
           f"{value}: they should be 0.")
          for over, power, value in (((2, 3), 0, 1), ((2, 3), 1, "a mean"), ((0, 1, 2, 3), 1, "a mean"))],
        *[(_squares(images, top.clamp(0, h - room), left.clamp(0, w - room), size), "squares that lie partly outside "
           "were pushed in: only their part inside is cut.") for room in (size, 0)],
        (_squares(images, top % h, left % w, size), "a negative top or left counted from the other end."),
    ]  # fmt: skip


class Count(TorchFunctionMode):
    calls = 0

    def __torch_function__(self, function, types, arguments=(), options=None):
        self.calls += 1
        return function(*arguments, **(options or {}))


def _steps(attempt: Callable, n: int) -> int:
    """How many torch calls n images take."""
    images, corner = torch.rand(n, 3, 8, 8), torch.randint(6, (2, n))
    with Count() as count:
        attempt(images, corner[0], corner[1], 2)
    return count.calls


# --------------------------------------------------------------------------------------------------- exercise 2
@exercise("the cross-entropy with labels that leave every class its share.")
def check_smooth_cross_entropy(attempt: Callable) -> None:
    """Check exercise 2 of lesson 09: ``loss(scores (n, K), labels (n,), smoothing) → ()``."""
    for n, k, smoothing in ((5, 4, 0.0), (6, 4, 0.1), (3, 3, 0.3), (2, 10, 0.2)):
        scores, labels = 2 * torch.randn(n, k), torch.randint(k, (n,))
        result = call(lambda s, y, e=smoothing: attempt(s, y, e), scores, labels)
        core.expect_shape(
            result,
            (),
            f"scores of shape {shape_of(n, k)}",
            {(n,): "one loss an image is left: their mean is wanted.",
             (k,): "one number a class is left: add up over the classes, then take the mean over the images.",
             (n, k): "one number for each image and class is left: add up over the classes, then take the mean.",
             (1,): "the loss is a single number without any axis."},
            "a single number is wanted.",
        )  # fmt: skip
        right = F.cross_entropy(scores, labels, label_smoothing=smoothing)
        named_mistake(result, right, _loss_mistakes(scores, labels, smoothing))
        other = call(lambda x, y, e=smoothing: attempt(x, y, e), scores, (labels + 1) % k)
        expect(not same(result, other), "your loss does not depend on the labels.")
        expect(smoothing or same(result, right), "even with smoothing=0 the loss is another than the mean of −log p, "
               "where p is the softmax probability of the right class.")  # fmt: skip
        expect(same(result, right), f"right with smoothing=0, but not with smoothing={smoothing}: write down the "
               "targets of one image, K numbers that sum to 1, as in the example by hand.")  # fmt: skip
    large, labels = torch.tensor([[300.0, 0, -300], [0, 200, 100]]), torch.tensor([1, 0])
    result = call(lambda s, y: attempt(s, y, 0.1), large, labels)
    expect(
        result.isfinite() and same(result, F.cross_entropy(large, labels, label_smoothing=0.1)),
        f"for scores in the hundreds your loss is {result.item():g}: softmax gives an exact 0 there, and its log is "
        "lost. log_softmax does both in one step.",
    )
    scores, labels = torch.randn(3, 4), torch.tensor([0, 3, 1])
    core.expect_gradient(lambda s: attempt(s, labels, 0.1), scores, names=("scores",))


def _loss_mistakes(scores, labels, s) -> list[tuple[torch.Tensor, str]]:
    n, k = scores.shape
    log, hard = scores.log_softmax(1), F.one_hot(labels, k).float()
    smooth = (1 - s) * hard + s / k
    loss = -(smooth * log).sum(1).mean()
    alone = -(hard * log).sum(1).mean()

    def with_targets(targets, log=log):
        return -(targets * log).sum(1).mean()

    mistakes = [
        (-loss, "the sign is turned round: log p is negative, and a loss should fall as p rises."),
        (n * loss, "you added up over the images: take their mean."),
        (loss / k, "you divided by the number of classes as well: add up over the classes, mean over the images."),
        (with_targets(smooth, scores.log_softmax(0)), "your softmax goes over the images: classes compete, not they."),
        (-(smooth * scores.softmax(1)).sum(1).mean(), "there is no log."),
        (with_targets(smooth, scores), "these are raw scores: log_softmax makes log probabilities of them."),
        *[(with_targets(smooth, log / torch.tensor(base).log()), f"that is the logarithm to base {base:g}: take the "
           "natural one.") for base in (2.0, 10.0)],
        (with_targets(s * hard + (1 - s) / k), "smoothing and 1 − smoothing have changed places."),
        (F.cross_entropy(scores.softmax(1), labels, label_smoothing=s), "the softmax is applied twice."),
        (F.mse_loss(scores.softmax(1), smooth), "that is a squared error; the cross-entropy is −goal · log p."),
        (F.binary_cross_entropy_with_logits(scores, smooth), "every class is a yes-or-no question: use a softmax."),
    ]  # fmt: skip
    if s > 0:
        mistakes += [
            (alone, "smoothing changes nothing: the labels are still hard."),
            (with_targets((1 - s) * hard + s / (k - 1) * (1 - hard)), "only the *other* classes share smoothing: here "
             "all K do, the right one as well."),
            (with_targets((1 - s) * hard + s / k * (1 - hard)), "the right class lost its own share of smoothing."),
            (with_targets((1 - s) * hard), "what you took from the right class went nowhere: it is spread over all."),
            (with_targets((1 - s) * hard + s), "every class got all of smoothing: it is shared, smoothing / K each."),
            (with_targets(hard + s / k), "the right class kept all of its 1: an image's targets no longer sum to 1."),
            (with_targets((1 - s) * hard + s / (k - 1)), "smoothing is shared by all K classes, not by K − 1."),
            (loss + (smooth * smooth.log()).sum(1).mean(), "that is the KL divergence, less than is meant."),
            (with_targets((1 - s) * hard + s / n), "you divided smoothing by the number of images."),
            (-((1 - s) * (hard * scores.softmax(1)).sum(1) + s / k).log().mean(), "you smoothed the probabilities; the "
             "targets are smoothed: the log comes first."),
        ]  # fmt: skip
    if s != 0.1:
        tenth = F.cross_entropy(scores, labels, label_smoothing=0.1)
        mistakes.append((tenth, "you smooth by 0.1, whatever smoothing says."))
    return mistakes


# --------------------------------------------------------------------------------------------------- exercise 3
@exercise("a mean of differences and its interval: what the pairs can tell, and how well.")
def check_paired(attempt: Callable) -> None:
    """Check exercise 3 of lesson 09: ``paired(ours (n,), theirs (n,), t) → mean, low, high``."""
    for n, t in ((5, 2.776), (3, 4.303), (12, 2.201)):
        theirs = 70 + 3 * torch.randn(n)
        ours = theirs + 0.5 * torch.randn(n) - 0.4
        result = core.guarded(attempt, ours.clone(), theirs.clone(), t, given=f"two tensors of {n} accuracies")
        expect(result is not None, "your code returned None: does its last line say return?")
        several = isinstance(result, tuple | list) or (isinstance(result, torch.Tensor) and result.dim() == 1)
        expect(several and len(result) == 3, "three numbers are wanted, as in return mean, low, high.")
        expect(all(hasattr(value, "__float__") for value in result), "mean, low and high are numbers.")
        values = [torch.as_tensor(value, dtype=torch.float32) for value in result]
        expect(all(value.dim() == 0 for value in values), "mean, low and high are one number each.")
        values = torch.stack(values)
        right, mistakes = _paired_mistakes(ours, theirs, t)
        named_mistake(values, right, mistakes)
        expect(same(values[:1], right[:1]), "the mean is another: subtract pair by pair, average, do not round.")
        below, above = values[0] - values[1], values[2] - values[0]
        expect((below - above).abs() < 1e-3, "low and high should lie equally far from the mean.")
        wide = [torch.as_tensor(value, dtype=torch.float32) for value in attempt(ours.clone(), theirs.clone(), 2 * t)]
        expect((wide[2] - wide[0] - 2 * above).abs() < 1e-3, "twice the t should make the interval twice as wide.")
        expect(same(values, right), "the mean is right; what t multiplies is not the spread of a mean of differences.")


def _paired_mistakes(ours, theirs, t) -> tuple[torch.Tensor, list[tuple[torch.Tensor, str]]]:
    d, n = ours - theirs, len(ours)
    mean, sd = d.mean(), d.std()

    def interval(middle, half):
        return torch.stack([middle, middle - half, middle + half])

    right = interval(mean, t * sd / n**0.5)
    spread, (a, b) = (ours.var() + theirs.var()).sqrt(), (ours.std(), theirs.std())
    unpaired = (a, b, a + b, (a - b).abs(), torch.cat([ours, theirs]).std())
    return right, [
        (right[[0, 2, 1]], "low and high have changed places."),
        (right[[1, 0, 2]], "the order is mean, low, high."),
        (interval(-mean, t * sd / n**0.5), "you subtracted the other way round: it is ours − theirs."),
        (interval(mean, t * sd), "you left out √n: a mean of n differences is steadier than one of them."),
        (interval(mean, t * sd / n), "you divided by n: the spread of a mean falls with √n only."),
        (interval(mean, sd / n**0.5), "t is missing: it makes the interval wide enough for 95 %."),
        (interval(mean, 1.96 * sd / n**0.5), "you took 1.96, which is t for very many pairs: take the given t."),
        *[(interval(mean, t * sd**2 / root), "that is the variance: take its root.") for root in (n**0.5, n)],
        (interval(mean, t * d.std(correction=0) / n**0.5), "your standard deviation divides by n, not by n − 1."),
        (interval(mean, t * sd / (n - 1) ** 0.5), "√(n − 1) is in std() already; here it is √n."),
        (interval(mean, t * sd / n**0.5 / 2), "half of the interval is missing."),
        *[(interval(mean, t * apart), "that is the spread of the runs, not of the differences: subtract pair by pair "
           "first.") for apart in (spread, spread / n**0.5, *(sd / n**0.5 for sd in unpaired))],
        (interval(d.abs().mean(), t * d.abs().std() / n**0.5), "you took absolute values: signs must count."),
        (interval(d.median(), t * sd / n**0.5), "you took the median of the differences; the mean is meant."),
        (interval((ours.sort().values - theirs.sort().values).mean(), t * (ours.sort().values - theirs.sort().values)
         .std() / n**0.5), "you sorted the runs: then the pairs are no longer those of one seed."),
        (torch.stack([mean, d.min(), d.max()]), "low and high are the smallest and the largest difference."),
    ]  # fmt: skip
