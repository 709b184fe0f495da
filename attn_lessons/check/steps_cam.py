"""What people write in place of a step of Grad-CAM, of a scale for its maps, and of the pointing game."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, one_hot

from .steps import SQUEEZE, Table, keep


def by(top: Callable) -> Callable:
    """Maps that are divided by ``top(maps)``."""
    return lambda maps: maps / top(maps).clamp(min=1e-12)


def over(*dims: int) -> Callable:
    return lambda maps: maps.amax(dims, keepdim=True)


# ------------------------------------------------------------------------------------------------ one map per image
def cam(maps, gradients, features=keep, given=lambda m, g: (m, g), average=lambda g: g.mean((2, 3)),
        weigh=torch.mul, add=lambda v: v.sum(1), cut=torch.relu):  # fmt: skip
    maps, gradients = given(features(maps), gradients)
    alpha = average(gradients)
    return cut(add(weigh(alpha.reshape(alpha.shape + (1,) * (4 - alpha.dim())), maps)))


GIVEN: Table = {
    "maps and gradients have changed places: the *gradient* is averaged.": lambda m, g: (g, m),
    "the gradients do not enter: your map is the same for every class.": lambda m, g: (m, torch.ones_like(g)),
}
AVERAGE: Table = SQUEEZE | {  # gradients → (n, C)
    "you multiply each position by its own gradient (that is HiResCAM): average it first.": keep,
    "you multiply by the positive gradient at each position (that is LayerCAM): average it first.": torch.relu,
    "you average the gradient over the channels: average it over h and w.": lambda g: g.mean(1, True),
    "you average the gradient over h alone: over w as well.": lambda g: g.mean(2, True),
    "you average the gradient over w alone: over h as well.": lambda g: g.mean(3, True),
}
WEIGH: Table = {"you add the weights to the maps: multiply each map by its weight.": torch.add}
ADD: Table = {
    "you take the mean over the channels: the weighted maps are added up.": lambda v: v.mean(1),
    "the ReLU comes before the sum: then no channel can take anything away.": lambda v: v.relu().sum(1),
}
CUT: Table = {
    "the ReLU is missing: a map of what speaks *for* the class has nothing below 0.": keep,
    "you take the absolute value: what speaks against the class would be bright as well.": torch.abs,
    "you keep what is below 0: keep what is above.": lambda v: v.clamp(max=0),
    "you cut the map off at 1: it has no upper end.": lambda v: v.clamp(0, 1),
    "a leaky ReLU stands at the end, and lets something below 0 through: plain ReLU goes there.": leaky_relu,
    "you move each lowest value to 0: the ReLU is enough.": lambda v: v - v.amin((1, 2), True),
}
CAM = {"given": GIVEN, "average": AVERAGE, "weigh": WEIGH, "add": ADD, "cut": CUT}
CAM_VALUES = {"features": "the feature maps, B", "average": "the weights, BC", "cut": "the map, BHW"}


# ------------------------------------------------------------------------------------------------ and its scale
def own(scores: Tensor, labels: Tensor) -> Tensor:
    return scores.gather(1, labels[:, None])


def explained(maps, scores, labels, ask=own, average=lambda g: g.mean((2, 3)), stretch=by(over(1, 2)), **steps):  # noqa: B008
    (gradients,) = torch.autograd.grad(ask(scores, labels).sum(), maps, retain_graph=True)
    return stretch(cam(maps.detach(), gradients, average=average, **steps))


ASK: Table = {  # scores (n, K), labels (n,) → what is added up and differentiated
    "every image gets the classes of *all* images: which shape has scores[:, labels]?": lambda s, k: s[:, k],
    "scores[labels] picks rows, and a row is an image; the class is the column.": lambda s, k: s[k],
    "gather along dimension 0 picks among the images: the classes lie along dimension 1.":
        lambda s, k: s.gather(0, k[:, None]),
    "that is the network's own answer; the labels say which class is meant.": lambda s, k: s.amax(1),
    "all images get the class of the first one: each has a label of its own.": lambda s, k: s[:, k[0]],
    "each image gets the class before its own: labels count from 0.": lambda s, k: own(s.roll(1, 1), k),
    "all classes count at once: the labels do not enter.": lambda s, k: s,
    "other classes enter the probability and its logarithm: take the score.": lambda s, k: own(s.log_softmax(1), k),
    "the loss falls where the score rises: take the score.": lambda s, k: -own(s.log_softmax(1), k),
    "you take minus the score: your maps show what speaks against the class.": lambda s, k: -own(s, k),
}  # fmt: skip
STRETCH: Table = {  # in place of dividing each map by its highest value
    "the largest value is that of the whole batch: beside a bright image, another pales.": by(torch.max),
    "the maps are not stretched: each should have 1 at its highest position.": keep,
    "you also move each lowest value to 0: divide only.": lambda m: by(over(1, 2))(m - m.amin((1, 2), True)),
    "each map adds up to 1; it should have 1 at its highest position.": by(lambda m: m.sum((1, 2), True)),
    "the largest value is over the *images*, position by position: each map has its own.": by(over(0)),
    "the largest value is taken row by row: a map has one scale.": by(over(2)),
    "the largest value is taken column by column: a map has one scale.": by(over(1)),
}
REPAIR = {"ask": ASK, "stretch": STRETCH}
REPAIR_VALUES = {"average": "the weights, BC", "stretch": "the maps, BHW"}


# ------------------------------------------------------------------------------------------------ the pointing game
def pointed(maps, masks, objects=keep, mark=lambda m: m == over(1, 2)(m), hits=lambda a, t: (a * t).sum((1, 2)),
            count=lambda a, t: a.sum((1, 2)), share=torch.div, average=torch.mean):  # fmt: skip
    """One number for each of several batches."""

    def one(a, t):
        return average(share(hits(a, t), count(a, t)).nan_to_num())

    return torch.stack([one(mark(m), objects(t)) for m, t in zip(maps, masks.float(), strict=True)])


MARK: Table = {  # maps → what counts, in place of each map's highest positions
    "argmax picks a single one of the equally high positions, wherever it happens to lie: they share the point.":
        lambda m: one_hot(m.flatten(1).argmax(1), m[0].numel()).view_as(m),
    "you take the highest position of the whole batch: each map has its own.": lambda m: m == m.max(),
    "you take the *lowest* position of each map.": lambda m: m == m.amin((1, 2), True),
    "you take the highest position of every column: a map has one highest value.": lambda m: m == over(1)(m),
    "you take the highest position of every row: a map has one highest value.": lambda m: m == over(2)(m),
    "you compare the images with each other: look *within* each map.": lambda m: m == over(0)(m),
    "that is the energy inside: here only the highest positions count.": keep,
}  # fmt: skip
HITS: Table = {  # what counts, masks → how much of it is on the object, for each image
    "that is the share of misses: a map that never hits would win.": lambda a, t: (a * (1 - t)).sum((1, 2)),
    "| is or: only what is highest *and* on the object counts.": lambda a, t: (a + t > 0).sum((1, 2)),
}
COUNT: Table = {  # … → out of how many
    "you divide by the size of the object: divide by how many positions are highest.":
        lambda a, t: t.sum((1, 2)).clamp(min=1),
    "that is intersection over union: divide by how many positions are highest.": lambda a, t: (a + t > 0).sum((1, 2)),
    "you average over all positions: divide by how many are highest.": lambda a, t: t[0].numel(),
    "every highest position on the object counts in full: they share.": lambda a, t: 1,
}  # fmt: skip
SHARE: Table = {
    "any hit counts in full, so that a map without a preference always wins: equally high positions share the point.":
        lambda hits, count: (hits > 0).float(),
    "an image counts only if *all* its highest positions lie on the object: they share the point.":
        lambda hits, count: (hits == count).float(),
    "positions of all images are counted together: each *image* counts once.":
        lambda hits, count: hits.sum() / count.sum(),
}  # fmt: skip
OVER_IMAGES: Table = {
    "you add up over the images: take the mean.": torch.sum,
    "images without a hit are left out: they count as 0.": lambda shares: shares.sum() / (shares > 0).sum(),
}
POINT = {"mark": MARK, "hits": HITS, "count": COUNT, "share": SHARE, "average": OVER_IMAGES}
POINT_VALUES = {"objects": "the masks, B", "share": "the shares, B"}
