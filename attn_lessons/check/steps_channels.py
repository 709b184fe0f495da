"""What people write in place of a step of channel attention, as in SE and in CBAM: squeeze, MLP, a gate per channel."""

import torch

from .steps import BETWEEN, GATE, SCALE, SQUEEZE, Table
from .steps_maps import in_place_of

POOLED: Table = SQUEEZE | {
    "you take the standard deviation (that of N − 1): take the mean.": lambda x: x.std((2, 3)),
    "you divide by H · H: there are H · W positions.": lambda x: x.sum((2, 3)) / x.shape[2] ** 2,
    "you divide by W · W: there are H · W positions.": lambda x: x.sum((2, 3)) / x.shape[3] ** 2,
    "you divide by H alone: there are H · W positions.": lambda x: x.sum((2, 3)) / x.shape[2],
    "you divide by W alone: there are H · W positions.": lambda x: x.sum((2, 3)) / x.shape[3],
    "reshape to (C, B, …) mixes images and channels: it does not exchange two axes.":
        lambda x: x.reshape(x.shape[1], len(x), -1).mean(2).T,
}  # fmt: skip


def keep(v):
    return v


def squeezed(x):
    return x.mean((2, 3))


# ------------------------------------------------------------------------------------------------ SE
def se(x, w1, w2, squeeze=squeezed, between=torch.relu, scores=keep, gate=torch.sigmoid, scale=torch.mul):
    return scale(x, gate(scores(between(squeeze(x) @ w1.T) @ w2.T))[:, :, None, None])


SE = {"squeeze": POOLED, "between": BETWEEN, "gate": GATE, "scale": SCALE}
SE_VALUES = {"gate": "the gates, BC", "scores": "the scores, BC", "squeeze": "the means, BC",
             "scale": "the result, BCHW"}  # fmt: skip


# -------------------------------------------------------------------------------- the channel half of CBAM
def added(mean, most, mlp, gate):
    return gate(mlp(mean) + mlp(most))


def channel(
    x, w1, w2, mean=squeezed, most=lambda x: x.amax((2, 3)), between=torch.relu, answer=keep,
    answers=added, scores=keep, gate=torch.sigmoid, scale=torch.mul
):  # fmt: skip
    def mlp(v, between=between):
        return answer(between(v @ w1.T) @ w2.T)

    return scale(x, answers(mean(x), most(x), mlp, lambda v: gate(scores(v)))[:, :, None, None])


CHANNEL_VALUES = {"gate": "the gates, BC", "scores": "the sum of the answers, BC",
                  "answer": "the answers of the MLP, BC", "mean": "the means, BC", "most": "the maxima, BC",
                  "scale": "the result, BCHW"}  # fmt: skip
MEAN: Table = {f"for the mean, {idea}": step for idea, step in POOLED.items() if "CBAM" not in idea}
MOST: Table = in_place_of("maximum", lambda x: x.flatten(2)) | {
    "your maximum runs over the batch as well: each image has its own.": lambda x: x.amax((0, 2, 3)).expand(len(x), -1)
}
for d, one, other in ((2, "H", "W"), (3, "W", "H")):
    MOST |= {
        f"you take the maximum over {one}, then a mean over {other}: both axes want the maximum.":
            lambda x, d=d: x.amax(d).mean(2),
        f"you average over {one} before you take the maximum: take it over H and W.": lambda x, d=d: x.mean(d).amax(2),
    }  # fmt: skip
WAY = "the ReLU is missing on the {}'s way through the MLP: both ways are the same."
ONE = "the sigmoid squashes one of the two answers only: add both first (brackets)."
ANSWERS: Table = {  # mean, maximum, MLP, gate → gates, in place of `added`
    "only the mean goes through the MLP, and that is SE: the maximum counts as well.": lambda a, m, f, g: g(f(a)),
    "only the maximum goes through the MLP: the mean counts as well.": lambda a, m, f, g: g(f(m)),
    "mean and maximum go straight into the sigmoid: the two layers are not used.": lambda a, m, f, g: g(a + m),
    "two gates are added and squashed again: one sigmoid is enough.": lambda a, m, f, g: g(g(f(a)) + g(f(m))),
    "one gate follows the other: add the two answers of the MLP, then take one sigmoid.":
        lambda a, m, f, g: g(f(a)) * g(f(m * g(f(a)))),
    f"for the maximum, {ONE}": lambda a, m, f, g: f(a) + g(f(m)),
    f"for the mean, {ONE}": lambda a, m, f, g: g(f(a)) + f(m),
    WAY.format("maximum"): lambda a, m, f, g: g(f(a) + f(m, keep)),
    WAY.format("mean"): lambda a, m, f, g: g(f(a, keep) + f(m)),
}  # fmt: skip
JOINED = {  # in place of a sum
    "add": torch.add,
    "average": lambda one, two: (one + two) / 2,
    "average (without brackets)": lambda one, two: one + two / 2,
    "multiply": torch.mul,
    "subtract": torch.sub,
    "take the larger of": torch.maximum,
    "take the smaller of": torch.minimum,
}
for how, join in JOINED.items():
    if how != "add":
        instead = f"you {how} the two answers of the MLP: they are added."
        ANSWERS[instead] = lambda a, m, f, g, join=join: g(join(f(a), f(m)))
    if not how.startswith("take"):  # the larger of mean and maximum is the maximum
        early = f"you {how} mean and maximum before the MLP: each goes through it by itself, and the answers are added."
        ANSWERS[early] = lambda a, m, f, g, join=join: g(f(join(a, m)))
        late = f"you {how} two gates: add the two answers of the MLP first, then take one sigmoid."
        ANSWERS[late] = lambda a, m, f, g, join=join: join(g(f(a)), g(f(m)))
MAXIMA: Table = {"you scale the maxima: multiply x itself.": lambda x, g: (x.amax((2, 3), True) * g).expand_as(x)}
CHANNEL = {"mean": MEAN, "most": MOST, "between": BETWEEN, "answers": ANSWERS, "gate": GATE, "scale": SCALE | MAXIMA}
