"""Exercises of lesson 09: cutout for a batch, the cross-entropy with smoothed labels, and the paired difference."""

import sys
from collections import Counter
from collections.abc import Callable
from functools import wraps

import torch
import torch.nn.functional as F

from . import probes
from .core import call, exercise, expect, guarded, run, same, shape_of
from .steps import explain
from .steps_training import ACCURACIES, CUTOUT, IMAGES, PAIRED, SCORES, SMOOTHED, cutout, interval, smoothed

HINTS = {
    "Boolean value of Tensor": "& binds before >= and <: put each comparison in brackets.",
    "converted to an index": "A slice takes one number: compare positions with all tops and lefts instead.",
    "for dimension 0": "[labels] picks rows, and these are images: the classes lie along the other axis.",
    "Class values": "There are scores.shape[1] classes.",
    "'list' object": "Subtract tensors as a whole: the difference is a tensor, too.",
}


def in_turn(reference: Callable) -> Callable:
    """The reference on several draws: a single number agrees by accident too easily."""
    return wraps(reference)(lambda draws, *rest, **steps: torch.stack([reference(*d, *rest, **steps) for d in draws]))


def events(function: Callable, *arguments) -> Counter:
    """How often each piece of Python code is entered or goes on to another line."""
    counted, before = Counter(), sys.gettrace()

    def trace(frame, event, argument):
        counted[frame.f_code] += 1
        return trace

    sys.settrace(trace)
    try:
        guarded(function, *arguments, given="another batch")
    finally:
        sys.settrace(before)
    return counted


# --------------------------------------------------------------------------------------------------- exercise 1
@exercise("one square for each image, cut off at the border, and no loop.")
def check_cutout(attempt: Callable) -> None:
    """Check exercise 1 of lesson 09: ``cut(images (n, C, H, W), top (n,), left (n,), size) → (n, C, H, W)``."""
    for n, c, h, w, size in ((7, 3, 13, 11, 6), (3, 3, 7, 7, 3), (1, 3, 5, 8, 5), (6, 1, 8, 5, 1)):
        x, hints = probes.away_from_zero(n, c, h, w), probes.meetings(dict(images=n, channels=c, rows=h, columns=w))
        ideas = {"nnhw": "every image met every square: top and left need the axis of the images first.",
                 "nhw n1hw": "the channels are gone, or this is the mask alone."}  # fmt: skip
        for most in (0, size - 1):  # first squares that lie inside, then some that do not
            top, left = (torch.linspace(-most, end - size + most, n).long()[torch.randperm(n)] for end in (h, w))
            outside = "where a part of the square lies outside: " if most else ""
            result = call(attempt, x, top, left, size, hints=HINTS | hints, prefix=outside)
            shapes = probes.by_letter(ideas, n=n, h=h, w=w)
            probes.expect_shape(result, x.shape, f"images of shape {shape_of(*x.shape)}", shapes, "it should stay.")
            otherwise = f"{outside}your squares are others: rows top … top + size − 1, columns left … left + size − 1."
            changed, hole = result != x, cutout(x, top, left, size) == 0
            if (changed & (result != 0) & ~hole).any():
                otherwise = "pixels outside the squares have changed: they stay as they are."
            elif (changed == hole).all():
                otherwise = "the squares are where they should be, but hold other numbers than 0."
            explain(result, cutout, (x, top, left, size), CUTOUT, otherwise, attempt, values=IMAGES)
    for dtype in (torch.uint8, torch.float64):
        x, corner = torch.randint(1, 256, (3, 3, 8, 8)).to(dtype), torch.tensor([0, 2, 5])
        result = call(attempt, x, corner, corner, 3, hints=HINTS)
        kept = result.dtype == dtype and same(result, cutout(x, corner, corner, 3))
        expect(kept, f"right for float32 images, but {dtype} comes back as {result.dtype}, or changed: keep the dtype.")
    few, many = (events(attempt, torch.rand(n, 3, 25, 25), *2 * [torch.arange(n)], n // 2).total() for n in (3, 23))
    expect(many < few + 10, "the zeros are right, but there is a loop: compare all rows with all tops at once.")


# --------------------------------------------------------------------------------------------------- exercise 3
LEFT = {"1": "leave out the axis of size 1.", "k nk": "add up over the classes, then take the mean over the images.",
        "n": "one loss for each image is left: take their mean."}  # fmt: skip


@exercise("the cross-entropy with labels that leave every class its share.")
def check_smooth_cross_entropy(attempt: Callable) -> None:
    """Check exercise 3 of lesson 09: ``loss(scores (n, K), labels (n,), smoothing) → ()``."""
    for n, k, e in ((5, 7, 0.0), (5, 7, 0.3), (9, 3, 0.15), (3, 3, 0.3), (1, 6, 0.2)):
        draws = [(2 * torch.randn(n, k), torch.arange(k - 1, k - 1 + n) % k) for _ in range(2)]  # all classes occur
        results = [call(attempt, *draw, e, hints=HINTS) for draw in draws]
        for result in results:
            shapes = probes.by_letter(LEFT, n=n, k=k)
            probes.expect_shape(result, (), f"scores of shape {shape_of(n, k)}", shapes, "a single number is wanted.")
        otherwise = "with smoothing=0 the loss is the mean of −log p, where p is the softmax of the right class."
        if e:
            otherwise = f"right with smoothing=0, not with {e}: write down the K targets of an image; they sum to 1."
        explain(torch.stack(results), in_turn(smoothed), (draws, e), SMOOTHED, otherwise, attempt, values=SCORES)
    scores, labels = torch.randn(4, 5), torch.tensor([1, 0, 3, 2])
    prefix = "no image is of the last class here, and there are scores.shape[1] classes nevertheless: "
    for large in (scores + 300, 300 * scores):
        result = call(attempt, large, labels, 0.1, hints=HINTS, prefix=prefix)
        told = f"for scores in the hundreds your loss is {result.item():g}: "
        told += "softmax gives an exact 0, and its log is lost" if large.min() < 0 else "exp is too large for a float"
        expect(same(result, smoothed(large, labels, 0.1)), f"{told}. log_softmax does both in one step.")
    probes.expect_same_gradient(lambda x: attempt(x, labels, 0.3), lambda x: smoothed(x, labels, 0.3), scores)
    probes.expect_dtype(lambda x: attempt(x, labels, 0.3), scores)
    library = F.cross_entropy.__code__ in events(attempt, scores, labels, 0.3)
    expect(not library, "the numbers are right, but they are F.cross_entropy's: write down its steps yourself.")


# --------------------------------------------------------------------------------------------------- exercise 2
@exercise("a mean of differences and its interval: what the pairs can tell, and how well.")
def check_paired(attempt: Callable) -> None:
    """Check exercise 2 of lesson 09: ``paired(ours (n,), theirs (n,), t) → mean, low, high``."""
    for n, t in ((7, 2.447), (3, 4.303), (12, 2.201)):
        theirs = 70 + 3 * torch.randn(2, n)
        draws = [*zip(theirs - 0.4 + 0.5 * torch.randn(2, n), theirs, strict=True)]
        result = torch.stack([three(attempt, *draw, t) for draw in draws])
        (mean, low, high), right = result[0], in_turn(interval)(draws, t)[0, 0]
        otherwise = "the mean is right; t times something else than the spread of a mean of differences is added."
        if not same(high - mean, mean - low):
            otherwise = "low and high should lie equally far from the mean."
        if not same(mean, right):
            otherwise = "the mean is another: average ours − theirs, do not round."
        explain(result, in_turn(interval), (draws, t), PAIRED, otherwise, attempt, values=ACCURACIES)


def three(attempt: Callable, ours: torch.Tensor, theirs: torch.Tensor, t: float) -> torch.Tensor:
    """The learner's three numbers, whatever holds them."""
    result = run(attempt, ours, theirs, t, hints=HINTS)
    try:
        numbers = [float(number) for number in result]
    except Exception:
        numbers = []
    expect(len(numbers) == 3, "three numbers are wanted, as in return mean, low, high.")
    return torch.tensor(numbers)
